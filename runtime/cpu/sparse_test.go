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
		if tier.features > 0 { // without machine code there is one way, which TestSparseForms takes
			t.Run(tier.name, func(t *testing.T) { sparseProducts(t, tier) })
		}
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

// sparseCase runs a program of X and W on a device, where the first way in turn is taken that is not dense, and holds
// it against the interpreter.
func sparseCase(t *testing.T, d *Device, p *ir.Program, args []*tensor.Tensor, constant bool) (taken []string) {
	t.Helper()
	want, err := interp.RunProgram(context.Background(), p, nil, args)
	if err != nil {
		t.Fatal(err)
	}
	names, weigh := ways(d)
	for i := range names {
		d.weigh = weigh[i]
		d.decided = func(w way) { taken = append(taken, w.String()) }
		got := tensor.New(want[0].DType(), want[0].Shape()...)
		for i := range got.Len() { // which nobody has cleared
			got.SetFloat(i, math.NaN())
		}
		h := &heap{constant: map[int]bool{1: constant}, room: 1 << 30}
		if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
			t.Fatal(err)
		}
		if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 1e-4, ATol: 1e-4}); err != nil {
			t.Fatalf("%s, constant %v: %v\n%s", names[i], constant, err, p)
		}
	}
	return taken
}

// What is multiplied by a zero counts where it is not finite, and so does what is not finite itself.
func TestSparseNotFinite(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			d := tier.device(1)
			defer d.Close()
			for _, c := range []struct {
				of    tensor.DType
				depth int64
			}{{tensor.F32, 200}, {tensor.F32, 2051}, {tensor.F16, 200}, {tensor.BF16, 200}} { // 2051: more than is looked at in a call, and no whole number of lots
				of, depth := c.of, c.depth
				p := sparseProgram(t, fmt.Sprintf("program @p(X: [40, %d] f32, W: [%d, 64] %s) -> (Y: [40, 64] f32) {\nY[i < 40, j < 64] = sum(k < %d) (X[i, k] * %s) sparse(X)\n}", depth, depth, of, depth, map[bool]string{true: "W[k, j]", false: "f32(W[k, j])"}[of == tensor.F32]))
				for i, bad := range []float32{inf, -inf, nan} {
					for _, constant := range []bool{false, true} {
						x, w := normal(r, 40, depth), tensor.New(of, depth, 64)
						drawZeros(r, tensor.Data[float32](x), int(depth), 1, 64, 0.2)
						clear(tensor.Data[float32](x)[7*depth : 8*depth])
						for j := range w.Len() {
							w.SetFloat(j, r.NormFloat64())
						}
						at := []int64{100*64 + 3, 0, depth*64 - 1}[i]
						was := w.Float(at)
						w.SetFloat(at, float64(bad)) // rows of zeros become NaN
						sparseCase(t, d, p, []*tensor.Tensor{x, w}, constant)
						w = w.Clone()
						w.SetFloat(at, was)
						tensor.Data[float32](x)[7*depth+9] = bad
						if taken := sparseCase(t, d, p, []*tensor.Tensor{x, w}, constant); tier.features != 0 && len(taken) == 0 {
							t.Errorf("%s: nothing was decided", of)
						}
					}
				}
			}
		})
	}
}

// Batches, weights of 16 bits, factors that are computed, transposed or strided, and convolutions.
func TestSparseForms(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	forms := []struct{ name, src string }{
		{"f16", "program @p(X: [50, 190] f32, W: [190, 70] f16) -> (Y: [50, 70] f32) {\nY[i < 50, j < 70] = sum(k < 190) (X[i, k] * f32(W[k, j])) sparse(X)\n}"},
		{"bf16", "program @p(X: [50, 190] f32, W: [70, 190] bf16) -> (Y: [50, 70] f32) {\nY[i < 50, j < 70] = sum(k < 190) (X[i, k] * f32(W[j, k])) sparse(X)\n}"},
		{"batched", "program @p(X: [3, 40, 128] f32, W: [3, 128, 64] f32) -> (Y: [3, 40, 64] f32) {\nY[b < 3, i < 40, j < 64] = sum(k < 128) (X[b, i, k] * W[b, k, j]) sparse(X)\n}"},
		{"rows of two axes", "program @p(X: [3, 40, 128] f32, W: [128, 64] f32) -> (Y: [3, 40, 64] f32) {\nY[b < 3, i < 40, j < 64] = sum(k < 128) (X[b, i, k] * W[k, j]) sparse(X)\n}"},
		{"k of two axes", "program @p(X: [9, 40, 30] f32, W: [9, 30, 64] f32) -> (Y: [40, 64] f32) {\nY[i < 40, j < 64] = sum(g < 9, k < 30) (X[g, i, k] * W[g, k, j]) sparse(X)\n}"},
		{"strided", "program @p(X: [80, 260] f32, W: [130, 64] f32) -> (Y: [40, 64] f32) {\nY[i < 40, j < 64] = sum(k < 130) (X[(2 * i), (2 * k)] * W[k, j]) sparse(X)\n}"},
		{"masked", "program @p(X: [40, 130] f32, W: [130, 64] f32) -> (Y: [64, 40] f32) {\nY[j < 64, i < 40] = sum(k < 130) (select((X[i, k] > f32 1), X[i, k], f32 0) * W[k, j]) sparse(X)\n}"},
		{"weights", "program @p(X: [130, 64] f32, W: [40, 130] f32) -> (Y: [40, 64] f32) {\nY[i < 40, j < 64] = sum(k < 130) (W[i, k] * X[k, j]) sparse(X)\n}"},
		{"weights computed", "program @p(X: [130, 64] f32, W: [40, 130] f32) -> (Y: [40, 64] f32) {\nY[i < 40, j < 64] = sum(k < 130) (W[i, k] * select((X[k, j] > f32 1), X[k, j], f32 0)) sparse(X)\n}"},
		{"convolution 1x1", "program @p(X: [2, 64, 9, 11] f32, W: [40, 64] f32) -> (Y: [2, 40, 9, 11] f32) {\nY[n < 2, o < 40, y < 9, x < 11] = sum(c < 64) (X[n, c, y, x] * W[o, c]) sparse(X)\n}"},
		{"convolution 3x3", "program @p(X: [1, 24, 9, 18] f32, W: [40, 24, 3, 3] f32) -> (Y: [1, 40, 9, 18] f32) {\nY[n < 1, o < 40, y < 9, x < 18] = sum(c < 24, u < 3, v < 3) (guard((((((y + u) - 1) >= 0) & (((y + u) - 1) < 9)) & ((((x + v) - 1) >= 0) & (((x + v) - 1) < 18))), X[n, c, ((y + u) - 1), ((x + v) - 1)], f32 0) * W[o, c, u, v]) sparse(X)\n}"},
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			one, many := tier.inParts(1), tier.inParts(3)
			defer one.Close()
			defer many.Close()
			for _, f := range forms {
				p := sparseProgram(t, f.src)
				taken := map[string]bool{}
				for round := range 4 {
					var args []*tensor.Tensor
					for i, b := range p.Params {
						dims, cols := make([]int64, len(b.Dims)), 0
						for j, d := range b.Dims {
							dims[j], _ = d.Int()
							cols = int(dims[j])
						}
						a := normal(r, dims...)
						if i == 0 {
							block := [][2]int{{1, 1}, {1, 1 << 20}, {9, 1 << 20}, {16, 32}}[round]
							drawZeros(r, tensor.Data[float32](a), cols, block[0], block[1], []float64{0.2, 0.5, 0.3, 0.1}[round])
						} else if b.DType != tensor.F32 {
							half := tensor.New(b.DType, dims...)
							for j := range a.Len() {
								half.SetFloat(j, a.Float(j))
							}
							a = half
						}
						args = append(args, a)
					}
					for _, d := range []*Device{one, many} {
						for _, way := range sparseCase(t, d, p, args, round%2 == 0) {
							taken[way] = true
						}
					}
				}
				delete(taken, "dense")
				if f.name == "convolution 3x3" { // elements are read time and again, and not looked at
					if len(taken) > 0 {
						t.Errorf("%s: %v", f.name, taken)
					}
					continue
				}
				if tier.features != 0 && len(taken) < 3 {
					t.Errorf("%s: the ways that were taken are %v", f.name, taken)
				}
			}
		})
	}
}
