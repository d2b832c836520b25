package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

var matMulTypes = slices.Concat(floats, []tensor.DType{tensor.I32, tensor.I64, tensor.U32, tensor.U64})

// MatMul is NumPy's matmul: the last two dims are multiplied as matrices, those in
// front broadcast; a rank-1 operand is a row on the left, a column on the right.
var MatMul = ir.Register(&ir.OpDef{
	Name: "onnx.MatMul", Since: since(1, 9, 13), Doc: "matrix product, broadcast over leading dims",
	In:     ops(in("A", "T", matMulTypes), in("B", "T", matMulTypes)),
	Out:    ops(in("Y", "T", matMulTypes)),
	Deduce: deduceMatMul(func(c *ir.Call) tensor.DType { return c.DType(0) }),
	Body: func(c *ir.Call, b *ir.Body) error {
		return matMul(c, b, b.Load)
	},
})

// deduceMatMul is the shape rule of matrix products of operands 0 and 1.
func deduceMatMul(dtype func(*ir.Call) tensor.DType) func(*ir.Call) error {
	return func(c *ir.Call) error {
		x, y := c.Dims(0), c.Dims(1)
		if len(x) == 0 || len(y) == 0 {
			return c.Errorf("a scalar is no matrix: shapes %s", shapesString([][]sym.Expr{x, y}))
		}
		k1, k2 := x[len(x)-1], y[max(len(y)-2, 0)]
		if c.Syms.Equal(k1, k2) == sym.False {
			return c.Errorf("inner dims %s and %s differ: shapes %s", k1, k2, shapesString([][]sym.Expr{x, y}))
		}
		batch, err := broadcastDims(c, x[:max(len(x)-2, 0)], y[:max(len(y)-2, 0)])
		if err != nil {
			return err
		}
		if len(x) > 1 {
			batch = append(batch, x[len(x)-2])
		}
		if len(y) > 1 {
			batch = append(batch, y[len(y)-1])
		}
		c.SetOut(0, dtype(c), batch...)
		return nil
	}
}

// matMul is the program of a matrix product; load reads an operand's element in the
// type that products are formed in.
func matMul(c *ir.Call, b *ir.Body, load func(*ir.Buffer, ...*ir.Scalar) *ir.Scalar) error {
	A, B, Y := b.In(0), b.In(1), b.Out(0)
	axes := b.Axes(Y.Dims)
	k := b.Axis(A.Dims[len(A.Dims)-1])
	rows, cols := min(len(A.Dims)-1, 1), min(len(B.Dims)-1, 1)
	batch := axes[:len(axes)-rows-cols]
	lead := func(buf *ir.Buffer, n int) []*ir.Scalar {
		return ir.BcastIx(&ir.Buffer{Dims: buf.Dims[:n]}, batch)
	}
	ixA := lead(A, len(A.Dims)-1-rows)
	if rows == 1 {
		ixA = append(ixA, axes[len(batch)].Ix())
	}
	ixA = append(ixA, k.Ix())
	ixB := append(lead(B, len(B.Dims)-1-cols), k.Ix())
	if cols == 1 {
		ixB = append(ixB, axes[len(axes)-1].Ix())
	}
	b.Reduce(Y, axes, ir.Sum, []*ir.Axis{k}, load(A, ixA...).Mul(load(B, ixB...)))
	return nil
}
