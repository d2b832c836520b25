package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Columns of packed weights that fill no more than half of their last panel have the bits that they have among more columns, and
// tiles multiply no more than that half.
func TestHalfOfTheLastPanel(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(16, 17))
			for _, threads := range []int{1, 3} {
				d := tier.inParts(threads)
				defer d.Close()
				nr := int64(portable.nr)
				if cut := d.blocks(tensor.F32, false); cut.code != nil {
					nr = int64(cut.nr)
				}
				for round := range 40 {
					rows, depth, of := 1+r.Int64N(70), 1+r.Int64N(900), []tensor.DType{tensor.F32, tensor.F16, tensor.BF16}[round%3]
					more := nr * (4 + r.Int64N(6))
					cols := more - nr*(1+r.Int64N(3)) + 1 + r.Int64N(nr/2)
					x, w := random(rows, depth), random(depth, more)
					few := tensor.New(tensor.F32, depth, cols)
					for k := range depth {
						copy(tensor.Data[float32](few)[k*cols:(k+1)*cols], tensor.Data[float32](w)[k*more:])
					}
					want, got := keptProduct(t, d, x, w, of), keptProduct(t, d, x, few, of)
					for i := range rows {
						if a, b := got[i*cols:(i+1)*cols], want[i*more:i*more+cols]; !slices.Equal(a, b) {
							t.Fatalf("%d x %d x %d of %d columns, %v: row %d is %v, want %v", rows, depth, cols, more, of, i, a, b)
						}
					}
				}
				half := 0
				for of := range d.machine.funcs {
					if x, ok := of.(tile); ok && x.Of == int(nr) {
						half++
					}
				}
				if wants := nr == 32; (half > 0) != wants { // tiles of AVX2 have so few rows that an element would have two sums
					t.Errorf("%d tiles of half a panel were made", half)
				}
			}
		})
	}
}

// keptProduct multiplies by weights of some type that are packed once.
func keptProduct(t *testing.T, d *Device, x, w *tensor.Tensor, of tensor.DType) []float32 {
	t.Helper()
	rows, depth, cols := x.Shape()[0], w.Shape()[0], w.Shape()[1]
	p, i, j, k := &ir.Program{Name: fmt.Sprintf("p%d", cols)}, &ir.Axis{Extent: sym.Const(rows)}, &ir.Axis{Extent: sym.Const(cols)}, &ir.Axis{Extent: sym.Const(depth)}
	a := &ir.Buffer{Name: "a", DType: tensor.F32, Dims: ir.Consts([]int64{rows, depth})}
	b := &ir.Buffer{Name: "b", DType: of, Dims: ir.Consts([]int64{depth, cols})}
	c := &ir.Buffer{Name: "c", DType: tensor.F32, Dims: ir.Consts([]int64{rows, cols})}
	w, err := tensor.Convert(w, of, tensor.CastOpts{})
	if err != nil {
		t.Fatal(err)
	}
	p.Params, p.Results = []*ir.Buffer{a, b}, []*ir.Buffer{c}
	p.Stages = []*ir.Stage{{Kind: ir.ReduceStage, Monoid: ir.Sum, Outs: []*ir.Buffer{c}, Axes: []*ir.Axis{i, j}, Red: []*ir.Axis{k},
		Exprs: []*ir.Scalar{ir.Load(a, i.Ix(), k.Ix()).Mul(ir.Load(b, k.Ix(), j.Ix()).To(tensor.F32))}}}
	p.Finish()
	h := &heap{constant: map[int]bool{1: true}, room: 1 << 30}
	out := []*tensor.Tensor{tensor.New(tensor.F32, rows, cols)}
	if err := d.Run(context.Background(), kernelProduct, p, nil, []*tensor.Tensor{x, w}, out, h); err != nil {
		t.Fatal(err)
	}
	return tensor.Data[float32](out[0])
}
