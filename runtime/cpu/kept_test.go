package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// Weights are packed once: for all sizes, for products that read them alike, and for runs at the same
// time. The bits are those of a run that packs them itself.
func TestWeightsArePackedOnce(t *testing.T) {
	src := "module {\n  const @w: [40, 70] f32 = {" + strings.TrimSuffix(strings.Repeat("1, ", 40*70), ", ") + `}
  func @main(%x: [n, 40] f32, %y: [n, 40] f32) -> ([n, 70] f32) {
    %a: [n, 70] f32 = call @mm[n](%x, @w)
    %b: [n, 70] f32 = call @mm[n](%y, @w)
    %c: [n, 70] f32 = call @add[n](%a, %b)
    return %c
  }
  program @mm[n](X: [n, 40] f32, W: [40, 70] f32) -> (Y: [n, 70] f32) {
    Y[i < n, j < 70] = sum(k < 40) (X[i, k] * W[k, j])
  }
  program @add[n](X: [n, 70] f32, Y: [n, 70] f32) -> (Z: [n, 70] f32) {
    Z[i < n, j < 70] = (X[i, j] + Y[i, j])
  }
}`
	m, err := text.Parse("kept.pit", []byte(src), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			d := tier.device(2)
			x := load(t, m, d)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for n := int64(1); n < 40; n += 6 {
						in := tensor.New(tensor.F32, n, 40)
						for i := range in.Len() {
							in.SetFloat(i, float64(i%7))
						}
						if _, err := x.Run(context.Background(), []tensor.Value{in, in}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			want := int64(0)
			if cut := d.blocks(tensor.F32, false); cut.code != nil {
				want = 4 * 40 * roundUp(70, int64(cut.nr))
			}
			if got := x.KeptBytes(); got != want {
				t.Errorf("%d bytes are kept, want %d", got, want)
			}
			if x.Trim(); x.KeptBytes() != 0 {
				t.Error("Trim keeps what was packed")
			}
		})
	}
}

// A run goes on with the weights that it began with, though others are made ready for the next one in the meantime, and the
// memory of those that nobody uses is not Go's.
func TestWeightsStayForTheRun(t *testing.T) {
	const rows, depth, cols = 3, 1100, 1000 // larger than what Go is asked for
	m, err := text.Parse("kept.pit", fmt.Appendf(nil, `module {
  const @w: [%[2]d, %[3]d] f32 = {%[4]s}
  func @main(%%x: [%[1]d, %[2]d] f32) -> ([%[1]d, %[3]d] f32) {
    %%a: [%[1]d, %[3]d] f32 = call @mm(%%x, @w)
    return %%a
  }
  program @mm(X: [%[1]d, %[2]d] f32, W: [%[2]d, %[3]d] f32) -> (Y: [%[1]d, %[3]d] f32) {
    Y[i < %[1]d, j < %[3]d] = sum(k < %[2]d) (X[i, k] * W[k, j])
  }
}`, rows, depth, cols, strings.TrimSuffix(strings.Repeat("0, ", depth*cols), ", ")), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := tensor.Data[float32](m.Consts[0].Tensor)
	for i := range w {
		w[i] = float32(i%31) - 15
	}
	x := load(t, m, New(1))
	in := tensor.New(tensor.F32, rows, depth)
	for i := range in.Len() {
		in.SetFloat(i, float64(i%7))
	}
	first, err := x.Run(context.Background(), []tensor.Value{in})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 60 {
				if got, err := x.Run(context.Background(), []tensor.Value{in}); err != nil || !tensor.Equal(got[0], first[0]) {
					t.Errorf("another result, or %v", err)
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		default:
			x.Trim()
			runtime.GC()
		}
	}
}

// What is packed once has the bits of what each run packs where there is no room to keep it.
func TestKeptWeightsGiveTheSameBits(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(6, 7))
			devices := []*Device{tier.inParts(1), tier.inParts(3)}
			for round := range 60 {
				rows, depth, cols := 1+r.Int64N(60), 1+r.Int64N(900), 4+r.Int64N(200)
				if round%10 == 0 { // blocks of rows that threads share
					rows += 250
				}
				d := []tensor.DType{tensor.F32, tensor.F16, tensor.BF16}[r.IntN(3)]
				p, i, j, k := &ir.Program{Name: "p"}, &ir.Axis{Extent: sym.Const(rows)}, &ir.Axis{Extent: sym.Const(cols)}, &ir.Axis{Extent: sym.Const(depth)}
				batch := &ir.Axis{Extent: sym.Const(1 + r.Int64N(3))}
				n, _ := batch.Extent.Int()
				a := &ir.Buffer{Name: "a", DType: tensor.F32, Dims: ir.Consts([]int64{n, rows, depth})}
				b := &ir.Buffer{Name: "b", DType: d, Dims: ir.Consts([]int64{n, depth, cols})}
				c := &ir.Buffer{Name: "c", DType: tensor.F32, Dims: ir.Consts([]int64{n, rows, cols})}
				y := ir.Load(b, batch.Ix(), k.Ix(), j.Ix())
				if r.IntN(2) == 0 {
					b.Dims[1], b.Dims[2] = b.Dims[2], b.Dims[1]
					y = ir.Load(b, batch.Ix(), j.Ix(), k.Ix())
				}
				p.Params, p.Results = []*ir.Buffer{a, b}, []*ir.Buffer{c}
				p.Stages = []*ir.Stage{{Kind: ir.ReduceStage, Monoid: ir.Sum, Outs: []*ir.Buffer{c}, Axes: []*ir.Axis{batch, i, j}, Red: []*ir.Axis{k},
					Exprs: []*ir.Scalar{ir.Load(a, batch.Ix(), i.Ix(), k.Ix()).Mul(y.To(tensor.F32))}}}
				p.Finish()
				var args []*tensor.Tensor
				for _, b := range p.Params {
					shape, _ := b.Type().Static()
					x := tensor.New(b.DType, shape...)
					for i := range x.Len() {
						x.SetFloat(i, r.NormFloat64())
					}
					args = append(args, x)
				}
				var first *tensor.Tensor
				constants := map[int]bool{1: true}
				for _, d := range devices {
					for _, h := range []*heap{{constant: constants, room: -1 << 30}, {constant: constants, room: 1 << 30}} {
						for range 2 {
							got := tensor.New(tensor.F32, n, rows, cols)
							if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
								t.Fatal(err)
							}
							if first == nil {
								first = got
							}
							if !sameBits(got, first) {
								t.Fatalf("round %d: other bits with %d threads and %d bytes to keep:\n%s", round, d.threads, h.room, p)
							}
						}
						for _, k := range h.kept {
							if kept := k.Get() != nil; kept != (h.room > 0) {
								t.Errorf("round %d: with %d bytes to keep, weights are kept: %v", round, h.room, kept)
							}
							if got := k.Get(); got != nil && got.DType() != b.DType {
								t.Errorf("round %d: weights in %s are kept as %s", round, b.DType, got.DType())
							}
						}
					}
				}
			}
		})
	}
}

// What is packed of weights depends on how long the axes are that only the other factor goes along.
func TestWeightsAreKeptByLength(t *testing.T) {
	m, err := text.Parse("lengths.pit", fmt.Appendf(nil, `module {
  const @w: [12, 40] f32 = {%[1]s}
  const @v: [16, 12] f32 = {%[2]s}
  func @main(%%x: [n, 12, l] f32, %%y: [12, l, n] f32) -> ([n, 40] f32, [16, n] f32) {
    %%a: [n, 40] f32 = call @columns[n, l](%%x, @w)
    %%b: [16, n] f32 = call @rows[n, l](@v, %%y)
    return %%a, %%b
  }
  program @columns[n, l](X: [n, 12, l] f32, W: [12, 40] f32) -> (Y: [n, 40] f32) {
    Y[i < n, j < 40] = sum(k < 12, h < l) (X[i, k, h] * W[k, j])
  }
  program @rows[n, l](V: [16, 12] f32, X: [12, l, n] f32) -> (Y: [16, n] f32) {
    T[k < 12, h < l, j < n] f32 = (X[k, h, j] + X[k, h, j])
    Y[i < 16, j < n] = sum(k < 12, h < l) (V[i, k] * T[k, h, j])
  }
}`, strings.TrimSuffix(strings.Repeat("1, 2, 3, ", 12*40/3), ", "), strings.TrimSuffix(strings.Repeat("1, 2, 3, ", 16*12/3), ", ")), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			one := load(t, m, tier.device(1))
			for _, l := range []int64{1, 2, 7, 3} {
				var in []tensor.Value
				for _, shape := range [][]int64{{48, 12, l}, {12, l, 48}} {
					x := tensor.New(tensor.F32, shape...)
					for i := range x.Len() {
						x.SetFloat(i, float64(i%5))
					}
					in = append(in, x)
				}
				got, err := one.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				want, err := load(t, m, tier.device(1)).Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				for i := range want {
					if a, b := got[i].(*tensor.Tensor), want[i].(*tensor.Tensor); !slices.Equal(a.Bytes(), b.Bytes()) {
						t.Errorf("length %d, result %d: other bits than without those before", l, i)
					}
				}
			}
		})
	}
}

// Weights that are computed where they are packed, of as many positions, but along another axis, are packed anew.
func TestWeightsAreKeptByAxis(t *testing.T) {
	m, err := text.Parse("axes.pit", fmt.Appendf(nil, `module {
  const @w: [4, 4, 40] f16 = {%s}
  func @main(%%x: [16, p, q] f32) -> ([16, 40] f32) {
    %%a: [16, 40] f32 = call @mm[p, q](%%x, @w)
    return %%a
  }
  program @mm[p, q](X: [16, p, q] f32, W: [4, 4, 40] f16) -> (Y: [16, 40] f32) {
    Y[i < 16, j < 40] = sum(a < p, b < q) (X[i, a, b] * f32(W[a, b, j]))
  }
}`, strings.TrimSuffix(strings.Repeat("1, 2, 3, 4, 5, ", 4*4*40/5), ", ")), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := m.Consts[0].Tensor
	for i := range w.Len() {
		w.SetFloat(i, float64(i%37))
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			one := load(t, m, tier.device(1))
			for _, shape := range [][]int64{{16, 1, 4}, {16, 4, 1}, {16, 2, 2}} {
				x := tensor.New(tensor.F32, shape...)
				for i := range x.Len() {
					x.SetFloat(i, float64(i%5))
				}
				got, err := one.Run(context.Background(), []tensor.Value{x})
				if err != nil {
					t.Fatal(err)
				}
				want, err := load(t, m, tier.device(1)).Run(context.Background(), []tensor.Value{x})
				if err != nil {
					t.Fatal(err)
				}
				if !tensor.Equal(got[0], want[0]) {
					t.Errorf("of %v, weights are others than without those before", shape)
				}
			}
		})
	}
}

// Weights that are computed where they are packed go by what the program says, and not by where it lies: another one may lie there
// when it is gone.
func TestWeightsAreKeptByProgram(t *testing.T) {
	x, w := tensor.New(tensor.F32, 16, 8), tensor.New(tensor.F16, 8, 40)
	for i := range x.Len() {
		x.SetFloat(i, float64(i%7))
	}
	for i := range w.Len() {
		w.SetFloat(i, float64(i%11))
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			h := &heap{constant: map[int]bool{1: true}, room: 1 << 30}
			run := func(by int, h *heap) *tensor.Tensor {
				p := kerneltest.Program(t, fmt.Sprintf("program @mm(X: [16, 8] f32, W: [8, 40] f16) -> (Y: [16, 40] f32) {\nY[i < 16, j < 40] = sum(k < 8) (X[i, k] * (f32(W[k, j]) * f32 %d))\n}", by))
				y := tensor.New(tensor.F32, 16, 40)
				if err := tier.device(1).Run(context.Background(), kernelProduct, p, nil, []*tensor.Tensor{x, w}, []*tensor.Tensor{y}, h); err != nil {
					t.Fatal(err)
				}
				return y
			}
			for round := range 40 {
				by := 1 + round%3
				if got, want := run(by, h), run(by, &heap{constant: h.constant}); !sameBits(got, want) {
					t.Fatalf("round %d has other weights", round)
				}
				runtime.GC()
			}
			if len(h.kept) > 3 {
				t.Errorf("weights of 3 programs are kept %d times", len(h.kept))
			}
		})
	}
}

// Rows are read where they lie, by products that have packed weights: they take no memory, and have the bits of rows
// that are packed. Those of which too many would share a set of the cache are packed.
func TestRowsAreReadWhereTheyLie(t *testing.T) {
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // portable Go packs no weights
		}
		t.Run(tier.name, func(t *testing.T) {
			d := tier.device(1)
			mr := int64(panelRows(tier.features))
			for _, depth := range []int64{37, 512, 1024, 3100} {
				for _, rows := range []int64{1, 2, 4, 5, 8, 9, 14, 31, 14*12 + 3} {
					const cols = 70
					w, x, turned := random(depth, cols), random(rows, depth), random(depth, rows)
					for i := range rows {
						for k := range depth {
							tensor.Data[float32](turned)[k*rows+i] = tensor.Data[float32](x)[i*depth+k]
						}
					}
					run := func(p *ir.Program, in *tensor.Tensor) (*tensor.Tensor, bool) {
						y, lent := random(rows, cols), &heap{constant: map[int]bool{1: true}, room: 1 << 30}
						if err := d.Run(context.Background(), kernelProduct, p, nil, []*tensor.Tensor{in, w}, []*tensor.Tensor{y}, lent); err != nil {
							t.Fatal(err)
						}
						sizes, err := d.Workspace(kernelProduct, p, nil, func(i int) bool { return i == 1 })
						if err != nil {
							t.Fatal(err)
						}
						return y, sizes[0] > 0
					}
					p := matmul(rows, depth, cols)
					got, packed := run(p, x)
					if want := depth == 512 && min(rows, mr) > 8 || depth == 1024 && rows > 4; packed != want {
						t.Errorf("%d rows of %d take memory: %t, want %t", rows, depth, packed, want)
					}
					across := matmul(rows, depth, cols)
					across.Params[0].Dims = ir.Consts([]int64{depth, rows})
					load := across.Stages[0].Exprs[0].Args[0]
					load.Args[0], load.Args[1] = load.Args[1], load.Args[0]
					if want, packed := run(across, turned); !tensor.Equal(got, want) || !packed && rows > 1 {
						t.Errorf("%d rows of %d have other bits than packed ones", rows, depth)
					}
					reversed := random(rows, depth)
					for i := range rows {
						copy(tensor.Data[float32](reversed)[i*depth:(i+1)*depth], tensor.Data[float32](x)[(rows-1-i)*depth:])
					}
					backwards := matmul(rows, depth, cols)
					load = backwards.Stages[0].Exprs[0].Args[0]
					load.Args[0] = ir.IntLit(rows - 1).Sub(load.Args[0])
					if want, _ := run(backwards, reversed); !tensor.Equal(got, want) {
						t.Errorf("%d rows of %d that are read backwards have other bits", rows, depth)
					}
				}
			}
		})
	}
}

// A row goes through packed weights two panels at a time, with the bits of one.
func TestARowHasTheBitsOfAnyColumns(t *testing.T) {
	const depth, cols = 145, 7*32 + 5
	x, w := random(1, depth), random(depth, cols)
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			d := tier.device(1)
			run := func(w *tensor.Tensor) []float32 {
				n := w.Shape()[1]
				y := random(1, n)
				if err := d.Run(context.Background(), kernelProduct, matmul(1, depth, n), nil, []*tensor.Tensor{x, w}, []*tensor.Tensor{y}, &heap{constant: map[int]bool{1: true}, room: 1 << 30}); err != nil {
					t.Fatal(err)
				}
				return tensor.Data[float32](y)
			}
			whole := run(w)
			for j := int64(0); j < cols; j += 32 {
				n := min(32, cols-j)
				part := tensor.New(tensor.F32, depth, n)
				for k := range int64(depth) {
					copy(tensor.Data[float32](part)[k*n:][:n], tensor.Data[float32](w)[k*cols+j:])
				}
				if got := run(part); !slices.Equal(got, whole[j:j+n]) {
					t.Errorf("columns from %d on are %v by themselves, among others %v", j, got, whole[j:j+n])
				}
			}
		})
	}
}
