package cpu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// sparsity draws where a matrix has something: in blocks of some rows and columns, of which a part is left.
func drawZeros(r *rand.Rand, data []float32, cols, blockRows, blockCols int, left float64) {
	rows := len(data) / max(cols, 1)
	for i := 0; i < rows; i += blockRows {
		for j := 0; j < cols; j += blockCols {
			if r.Float64() < left {
				continue
			}
			for y := i; y < min(i+blockRows, rows); y++ {
				for x := j; x < min(j+blockCols, cols); x++ {
					data[y*cols+x] = 0
					if r.IntN(4) == 0 {
						data[y*cols+x] = float32(math.Copysign(0, -1))
					}
				}
			}
		}
	}
}

// ways are all that there are for a tier.
func ways(d *Device) (names []string, weigh []func(way) float64) {
	add := func(name string, is func(w way) bool) {
		names = append(names, name)
		weigh = append(weigh, func(w way) float64 {
			if is(w) {
				return 1
			}
			return 1e6
		})
	}
	for _, n := range d.tiles().Rows {
		add(fmt.Sprintf("lists of %d", n), func(w way) bool { return w.list && !w.wide && w.rows == n })
	}
	add("wide", func(w way) bool { return w.wide })
	for _, depth := range []int{32, 64, 256} {
		add(fmt.Sprintf("blocks of %d", depth), func(w way) bool { return !w.list && !w.dense && w.depth == depth })
	}
	add("rows", func(w way) bool { return !w.list && !w.dense && w.depth > 256 })
	return names, weigh
}

func sparseProgram(t testing.TB, src string) *ir.Program {
	t.Helper()
	m, err := text.Parse("t", []byte("module {\n"+src+"\n}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.VerifyProgram(m.Programs[0]); err != nil {
		t.Fatal(err)
	}
	return m.Programs[0]
}

func normal(r *rand.Rand, shape ...int64) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(r.NormFloat64())
	}
	return t
}

// Every way gives what the interpreter gives, for patterns of all kinds, with one thread and with more.
func TestSparseProducts(t *testing.T) {
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue
		}
		t.Run(tier.name, func(t *testing.T) { sparseProducts(t, tier) })
	}
}

func sparseProducts(t *testing.T, tier tier) {
	r := rand.New(rand.NewPCG(1, 2))
	one, many := tier.inParts(1), tier.inParts(3)
	names, weigh := ways(one)
	used := map[string]int{}
	for round, size := range [][3]int64{{1, 300, 768}, {64, 130, 96}, {150, 520, 70}, {7, 64, 33}, {0, 300, 64}, {33, 700, 160}} {
		m, k, n := size[0], size[1], size[2]
		for form, src := range []string{
			fmt.Sprintf("program @p(X: [%d, %d] f32, W: [%d, %d] f32) -> (Y: [%d, %d] f32) {\nY[i < %d, j < %d] = sum(k < %d) (X[i, k] * W[k, j]) sparse(X)\n}", m, k, k, n, m, n, m, n, k),
			fmt.Sprintf("program @p(X: [%d, %d] f32, W: [%d, %d] f32) -> (Y: [%d, %d] f32) {\nY[i < %d, j < %d] = sum(k < %d) (X[k, i] * W[j, k]) sparse(X finite)\n}", k, m, n, k, m, n, m, n, k),
			fmt.Sprintf("program @p(X: [%d, %d] f32, W: [%d, %d] f32) -> (Y: [%d, %d] f32) {\nY[i < %d, j < %d] = sum(k < %d) (max(X[i, k], f32 -0.5) * W[k, j]) sparse(X)\n}", m, k, k, n, m, n, m, n, k),
			fmt.Sprintf("program @p(W: [%d, %d] f32, X: [%d, %d] f32) -> (Y: [%d, %d] f32) {\nY[i < %d, j < %d] = sum(k < %d) (W[j, k] * X[i, k]) sparse(X, W)\n}", n, k, m, k, m, n, m, n, k),
		} {
			p := sparseProgram(t, src)
			for pattern, block := range [][2]int{{1, 1}, {1, 1 << 20}, {1 << 20, 1}, {32, 64}, {1, 64}, {32, 1}} {
				left := []float64{0.1, 0, 1, 0.05, 0.5}[(round+form+pattern)%5]
				args := make([]*tensor.Tensor, 2)
				for i, b := range p.Params {
					dims := make([]int64, len(b.Dims))
					for j, d := range b.Dims {
						dims[j], _ = d.Int()
					}
					if args[i] = normal(r, dims...); b.Name == "X" || form == 3 {
						drawZeros(r, tensor.Data[float32](args[i]), int(dims[1]), block[0], block[1], left)
					}
				}
				want, err := interp.RunProgram(context.Background(), p, nil, args)
				if err != nil {
					t.Fatal(err)
				}
				for w, name := range names {
					if (round+form+pattern+w)%4 != 0 {
						continue
					}
					var bits *tensor.Tensor
					for _, d := range []*Device{one, many} {
						d.weigh = func(x way) float64 {
							v := weigh[w](x)
							if v == 1 {
								used[name]++
							}
							return v
						}
						got := tensor.New(tensor.F32, m, n)
						for i := range tensor.Data[float32](got) {
							tensor.Data[float32](got)[i] = float32(math.NaN())
						}
						h := &heap{constant: map[int]bool{1: pattern%2 == 0}, room: 1 << 30}
						if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
							t.Fatal(err)
						}
						if h.live.Load() != 0 {
							t.Fatalf("%d tensors were not given back", h.live.Load())
						}
						if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 1e-4, ATol: 1e-4}); err != nil {
							t.Fatalf("%s, form %d, pattern %d, %v, left %g, %d threads: %v", name, form, pattern, size, left, d.threads, err)
						}
						if bits != nil && !sameBits(bits, got) {
							t.Fatalf("%s, form %d, pattern %d, %v: other bits with %d threads", name, form, pattern, size, d.threads)
						}
						bits = got
					}
				}
			}
		}
	}
	t.Logf("ways that were taken: %v", used)
	for _, name := range names {
		if used[name] == 0 {
			t.Errorf("%s: it was never taken", name)
		}
	}
}
