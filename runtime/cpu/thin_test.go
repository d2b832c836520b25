package cpu

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// In portable Go a row has the same bits whether there are few rows, so that weights are read where they
// lie, or more, so that they are packed: rows of weights, columns, and neither.
func TestThinRowsHaveTheBitsOfPackedOnes(t *testing.T) {
	const depth, cols = 2*256 + 37, 2*64 + 5
	thin := portable.thin
	r := rand.New(rand.NewPCG(1, 2))
	x, w := tensor.New(tensor.F32, thin+1, depth), tensor.New(tensor.F32, 2*depth*cols)
	for _, t := range []*tensor.Tensor{x, w} {
		for i := range tensor.Data[float32](t) {
			tensor.Data[float32](t)[i] = r.Float32() - 0.5
		}
	}
	for name, layout := range map[string][2]int64{"rows": {cols, 1}, "columns": {1, depth}, "neither": {2 * cols, 2}} {
		run := func(rows int64) []float32 {
			p, i, j, k := &ir.Program{Name: name}, &ir.Axis{Extent: sym.Const(rows)}, &ir.Axis{Extent: sym.Const(cols)}, &ir.Axis{Extent: sym.Const(depth)}
			buffer := func(name string, dims ...int64) *ir.Buffer {
				b := &ir.Buffer{Name: name, DType: tensor.F32}
				for _, n := range dims {
					b.Dims = append(b.Dims, sym.Const(n))
				}
				return b
			}
			a, b, out := buffer("x", rows, depth), buffer("w", 2*depth*cols), buffer("y", rows, cols)
			at := k.Ix().Mul(ir.IntLit(layout[0])).Add(j.Ix().Mul(ir.IntLit(layout[1])))
			p.Params, p.Results = []*ir.Buffer{a, b}, []*ir.Buffer{out}
			p.Stages = []*ir.Stage{{Kind: ir.ReduceStage, Monoid: ir.Sum, Axes: []*ir.Axis{i, j}, Red: []*ir.Axis{k},
				Outs: []*ir.Buffer{out}, Exprs: []*ir.Scalar{ir.Load(a, i.Ix(), k.Ix()).Mul(ir.Load(b, at))}}}
			p.Finish()
			given, err := tensor.FromBytes(tensor.F32, []int64{rows, depth}, x.Bytes()[:4*rows*depth])
			if err != nil {
				t.Fatal(err)
			}
			y := tensor.New(tensor.F32, rows, cols)
			d := newDevice(1, 0)
			if c, err := d.codes.get(d, kernelProduct, p, nil); err != nil || c.products[0] == nil || c.products[0].thin(&portable, rows) != (rows <= thin) {
				t.Fatalf("%s: the product of %d rows is not as it should be: %v", name, rows, err)
			}
			if err := d.Run(context.Background(), kernelProduct, p, nil, []*tensor.Tensor{given, w}, []*tensor.Tensor{y}, &heap{}); err != nil {
				t.Fatal(err)
			}
			return tensor.Data[float32](y)
		}
		few, more := run(thin), run(thin+1)
		for i, v := range few {
			if v != more[i] {
				t.Fatalf("%s: element %d is %g among %d rows, %g among %d", name, i, v, thin, more[i], thin+1)
			}
		}
	}
}
