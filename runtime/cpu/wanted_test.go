package cpu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// wantedForms are products of m rows and n columns over k elements that are wanted by a mask, in batches or not.
var wantedForms = []struct {
	name string
	src  func(m, k, n int64) string
	any  bool
}{
	{"gradient", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[2]d, %[1]d] f32, G: [%[2]d, %[3]d] f32, M: [%[1]d, %[3]d] f32, W: [%[1]d, %[3]d] f32) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[k, i] * G[k, j]) wanted(M[i, j] != f32 0)
C[i < %[1]d, j < %[3]d] = (W[i, j] - (D[i, j] * M[i, j]))
}`, m, k, n)
	}, false},
	{"rows of k, chosen", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[3]d, %[2]d] f32, M: [%[1]d, %[3]d] bool) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[i, k] * G[j, k]) wanted(M[i, j] any)
C[i < %[1]d, j < %[3]d] = select(M[i, j], D[i, j], f32 0)
}`, m, k, n)
	}, true},
	{"mask on its side", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[2]d, %[3]d] f32, M: [%[3]d, %[1]d] f32) -> (C: [%[3]d, %[1]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[i, k] * G[k, j]) wanted(M[j, i] != f32 0)
C[j < %[3]d, i < %[1]d] = (D[i, j] * M[j, i])
}`, m, k, n)
	}, false},
	{"batches", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [2, %[1]d, %[2]d] f32, G: [2, %[2]d, %[3]d] f32, M: [2, %[1]d, %[3]d] f32) -> (C: [2, %[1]d, %[3]d] f32) {
D[b < 2, i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[b, i, k] * G[b, k, j]) wanted(M[b, i, j] != f32 0)
C[b < 2, i < %[1]d, j < %[3]d] = (D[b, i, j] * M[b, i, j])
}`, m, k, n)
	}, false},
	{"a mask for all batches, k of two axes", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [3, %[2]d, 2, %[1]d] f32, G: [3, %[2]d, 2, %[3]d] f32, M: [%[1]d, %[3]d] f32) -> (C: [3, %[1]d, %[3]d] f32) {
D[b < 3, i < %[1]d, j < %[3]d] f32 = sum(l < %[2]d, k < 2) (X[b, l, k, i] * G[b, l, k, j]) wanted(M[i, j] != f32 0)
C[b < 3, i < %[1]d, j < %[3]d] = (D[b, i, j] * M[i, j])
}`, m, k, n)
	}, false},
	{"backwards", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[2]d, %[3]d] f32, M: [%[1]d, %[3]d] f32) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[(%[4]d - i), k] * G[(%[5]d - k), (%[6]d - j)]) wanted(M[(%[4]d - i), j] != f32 0)
C[i < %[1]d, j < %[3]d] = (D[i, j] * M[(%[4]d - i), j])
}`, m, k, n, m-1, k-1, n-1)
	}, false},
	{"a mask for pairs of rows", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[2]d, %[3]d] f32, M: [%[4]d, %[3]d] f32) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[i, k] * G[k, j]) wanted(M[(i // 2), j] != f32 0)
C[i < %[1]d, j < %[3]d] = (D[i, j] * M[(i // 2), j])
}`, m, k, n, (m+1)/2)
	}, false},
	{"a mask and a factor for pairs of batches", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [4, %[1]d, %[2]d] f32, G: [2, %[2]d, %[3]d] f32, M: [2, %[1]d, %[3]d] f32) -> (C: [4, %[1]d, %[3]d] f32) {
D[b < 4, i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[b, i, k] * G[(b // 2), k, j]) wanted(M[(b // 2), i, j] != f32 0)
C[b < 4, i < %[1]d, j < %[3]d] = (D[b, i, j] * M[(b // 2), i, j])
}`, m, k, n)
	}, false},
	{"chosen by what is not", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[2]d, %[3]d] f32, M: [%[1]d, %[3]d] bool) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[i, k] * G[k, j]) wanted(not(M[i, j]) any)
C[i < %[1]d, j < %[3]d] = select(M[i, j], f32 0, D[i, j])
}`, m, k, n)
	}, true},
	{"integers", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[2]d, %[3]d] f32, M: [%[1]d, %[3]d] i64) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[i, k] * G[k, j]) wanted((M[i, j] != 0) any)
C[i < %[1]d, j < %[3]d] = select((M[i, j] == 0), f32 0, D[i, j])
}`, m, k, n)
	}, true},
	{"bytes", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[2]d, %[3]d] f32, M: [%[1]d, %[3]d] u8) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[i, k] * G[k, j]) wanted(M[i, j] != u8 0)
C[i < %[1]d, j < %[3]d] = (D[i, j] * f32(M[i, j]))
}`, m, k, n)
	}, false},
	{"a mask in f16", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[2]d, %[3]d] f32, M: [%[1]d, %[3]d] f16) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[i, k] * G[k, j]) wanted(f32(M[i, j]) != f32 0)
C[i < %[1]d, j < %[3]d] = (D[i, j] * f32(M[i, j]))
}`, m, k, n)
	}, false},
	{"a mask in f64", func(m, k, n int64) string {
		return fmt.Sprintf(`program @p(X: [%[1]d, %[2]d] f32, G: [%[2]d, %[3]d] f32, M: [%[1]d, %[3]d] f64) -> (C: [%[1]d, %[3]d] f32) {
D[i < %[1]d, j < %[3]d] f32 = sum(k < %[2]d) (X[i, k] * G[k, j]) wanted((M[i, j] != f64 0) any)
C[i < %[1]d, j < %[3]d] = select((M[i, j] == f64 0), f32 0, D[i, j])
}`, m, k, n)
	}, true},
}

// wantedArgs draws arguments, and what a mask leaves in blocks.
func wantedArgs(r *rand.Rand, p *ir.Program, rows, cols int, left float64) (args []*tensor.Tensor) {
	for _, b := range p.Params {
		dims := make([]int64, len(b.Dims))
		for j, d := range b.Dims {
			dims[j], _ = d.Int()
		}
		a := normal(r, dims...)
		if b.Name == "M" {
			drawZeros(r, tensor.Data[float32](a), int(dims[len(dims)-1]), rows, cols, left)
			if b.DType != tensor.F32 {
				mask := tensor.New(b.DType, dims...)
				for i, x := range tensor.Data[float32](a) {
					switch {
					case b.DType == tensor.Bool:
						mask.SetBool(int64(i), x != 0)
					case x != 0:
						mask.SetFloat(int64(i), 1+float64(i%3))
					case b.DType.IsFloat():
						mask.SetFloat(int64(i), math.Copysign(0, -1))
					}
				}
				a = mask
			}
		}
		args = append(args, a)
	}
	return args
}

// runWanted runs a program on a device that takes a way where there is one, and gives what was decided.
func runWanted(t *testing.T, d *Device, p *ir.Program, args []*tensor.Tensor, to *tensor.Tensor, take func(way) bool) (taken []way) {
	t.Helper()
	d.weigh = func(w way) float64 {
		if take(w) {
			return 1
		}
		return 1e6
	}
	d.decided = func(w way) { taken = append(taken, w) }
	for i := range tensor.Data[float32](to) {
		tensor.Data[float32](to)[i] = float32(math.NaN())
	}
	h := &heap{room: 1 << 30}
	if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{to}, h); err != nil {
		t.Fatal(err)
	}
	if h.live.Load() != 0 {
		t.Fatalf("%d tensors were not given back", h.live.Load())
	}
	return taken
}

// What is wanted is what the interpreter gives, for masks of all kinds that change from call to call, gone about either way, with
// one thread and with more.
func TestWanted(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			one, many := tier.inParts(1), tier.inParts(3)
			defer one.Close()
			defer many.Close()
			used := [2]int{}
			for round, size := range [][3]int64{{1, 300, 190}, {64, 130, 96}, {150, 20, 270}, {7, 64, 33}, {33, 1, 1000}, {130, 1100, 70}, {0, 60, 70}, {70, 0, 60}} {
				for i, form := range wantedForms {
					if i >= 5 && round != 1 && (i >= 8 || round != 2) { // ways to read that sizes make little difference to
						continue
					}
					p := sparseProgram(t, form.src(size[0], size[1], size[2]))
					for pattern, block := range [][2]int{{1, 1}, {32, 64}, {64, 32}, {32, 1}, {1, 64}, {1, 1 << 20}, {1, 1}, {1, 1}} {
						if large := size[0]*size[1]*size[2] > 1<<21; large && (pattern != 1 && pattern != 3 || testing.Short() && i > 0) { // the interpreter takes long
							continue
						}
						if testing.Short() && i > 1 && pattern%3 != 0 {
							continue
						}
						left := []float64{0.1, 0.05, 0.3, 0.1, 0.1, 0.2, 0, 1}[pattern]
						args := wantedArgs(r, p, block[0], block[1], left)
						want, err := interp.RunProgram(context.Background(), p, nil, args)
						if err != nil {
							t.Fatal(err)
						}
						for across := range 2 {
							var bits *tensor.Tensor
							for _, d := range []*Device{one, many} {
								got := tensor.New(tensor.F32, want[0].Shape()...)
								for _, w := range runWanted(t, d, p, args, got, func(w way) bool { return w.wanted && w.across == (across == 1) }) {
									if w.wanted {
										used[across]++
									}
								}
								if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 1e-3, ATol: 1e-3}); err != nil {
									t.Fatalf("%s, round %d, pattern %d, %d threads: %v", form.name, round, pattern, d.threads, err)
								}
								if bits != nil && !sameBits(bits, got) {
									t.Fatalf("%s, round %d, pattern %d: other bits with %d threads", form.name, round, pattern, d.threads)
								}
								bits = got
							}
						}
					}
				}
			}
			if tier.features != 0 && (used[0] < 100 || used[1] < 100) {
				t.Errorf("tiles of what is wanted were taken %d times along, and %d times across", used[0], used[1])
			}
		})
	}
}

// What is not wanted counts where it is infinite or no number, or may be as large, but where it is never read.
func TestWantedTooLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			d := tier.device(1)
			defer d.Close()
			for _, form := range wantedForms {
				p := sparseProgram(t, form.src(70, 40, 130))
				for _, bad := range [][2]float32{{inf, 0}, {-inf, 0}, {nan, 0}, {0, inf}, {0, -inf}, {0, nan}, {3e38, 1e30}, {1e20, 1e20}, {1e10, 1e12}} {
					args := wantedArgs(r, p, 32, 1, 0.1)
					for i, x := range bad {
						if data := tensor.Data[float32](args[i]); x != 0 {
							data[r.IntN(len(data))] = x
							data[r.IntN(len(data))] = x
						}
					}
					want, err := interp.RunProgram(context.Background(), p, nil, args)
					if err != nil {
						t.Fatal(err)
					}
					for across := range 2 {
						got := tensor.New(tensor.F32, want[0].Shape()...)
						runWanted(t, d, p, args, got, func(w way) bool { return w.wanted && w.across == (across == 1) })
						if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 1e-3, ATol: 1e-3}); err != nil {
							t.Fatalf("%s, with %v: %v", form.name, bad, err)
						}
					}
				}
			}
		})
	}
}

// By the table of a device, what is wanted is computed where a mask hides most, and all of the product where it hides little.
func TestWantedChoice(t *testing.T) {
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue
		}
		r := rand.New(rand.NewPCG(13, 14))
		d := tier.device(1)
		p := sparseProgram(t, wantedForms[0].src(512, 256, 768))
		for _, c := range []struct {
			rows, cols int
			left       float64
			want       string
		}{
			{32, 64, 0.1, "tiles that are wanted, across: false"},
			{32, 1, 0.1, "tiles that are wanted, across: true"},
			{32, 64, 0, "tiles that are wanted, across: false"},
			{1, 1, 0.5, "dense"},
			{1, 1, 1, "dense"},
		} {
			args, told := wantedArgs(r, p, c.rows, c.cols, c.left), ""
			d.decided = func(w way) { told = w.String() }
			got := tensor.New(tensor.F32, 512, 768)
			if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, &heap{room: 1 << 30}); err != nil {
				t.Fatal(err)
			}
			if told != c.want {
				t.Errorf("%s, blocks of %dx%d, %g left: %s, not %s", tier.name, c.rows, c.cols, c.left, told, c.want)
			}
		}
		d.Close()
	}
}

// Where all of a product is computed whatever is wanted, nothing is planned for a choice; elsewhere what is planned is enough.
func TestWantedIsPlanned(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // it takes none
		}
		one, many := tier.inParts(1), tier.inParts(3)
		needs := func(d *Device, src string) []int64 {
			t.Helper()
			list, err := d.Workspace(kernelProduct, sparseProgram(t, src), nil, func(int) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		src := wantedForms[0].src(mostWide+1, 8, 64)
		if with, without := needs(one, src), needs(one, strings.Replace(src, " wanted(M[i, j] != f32 0)", "", 1)); !slices.Equal(with, without) {
			t.Errorf("%s: %d bytes are planned, and %d where all is wanted", tier.name, with, without)
		}
		for _, form := range wantedForms[:5] {
			src := form.src(150, 70, 270)
			p := sparseProgram(t, src)
			args := wantedArgs(r, p, 32, 1, 0.2)
			want, err := interp.RunProgram(context.Background(), p, nil, args)
			if err != nil {
				t.Fatal(err)
			}
			for across := range 2 {
				for _, d := range []*Device{one, many} {
					d.weigh = func(w way) float64 {
						if w.wanted && w.across == (across == 1) {
							return 1
						}
						return 1e6
					}
					h := &counted{planned{heap{room: 1 << 30}, make([]byte, needs(d, src)[0])}, 0}
					got := tensor.New(tensor.F32, want[0].Shape()...)
					if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
						t.Fatal(err)
					}
					if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 1e-3, ATol: 1e-3}); err != nil {
						t.Errorf("%s, %s, %d threads: %v", tier.name, form.name, d.threads, err)
					}
					if h.times > 1 { // the sum itself is one
						t.Errorf("%s, %s, %d threads: %d tensors were not planned", tier.name, form.name, d.threads, h.times-1)
					}
				}
			}
		}
		one.Close()
		many.Close()
	}
}

// counted has what was planned, and counts what goes beyond it.
type counted struct {
	planned
	times int
}

func (c *counted) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	c.times++
	return c.planned.Alloc(d, shape)
}
