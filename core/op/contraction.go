package op

import (
	"math"
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
	Deduce: deduceMatMul(0, 1, func(c *ir.Call) tensor.DType { return c.DType(0) }),
	Body: func(_ *ir.Call, b *ir.Body) error {
		p := newProduct(b, 0, 1)
		b.Reduce(b.Out(0), p.axes, ir.Sum, p.red, b.Load(b.In(0), p.x...).Mul(b.Load(b.In(1), p.y...)))
		return nil
	},
})

// deduceMatMul is the shape rule of matrix products of operands i and j.
func deduceMatMul(i, j int, dtype func(*ir.Call) tensor.DType) func(*ir.Call) error {
	return func(c *ir.Call) error {
		x, y := c.Dims(i), c.Dims(j)
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

// product lays out a matrix product: axes of the result, the axis that is summed over,
// and the index of either operand at a point of them.
type product struct {
	axes, red []*ir.Axis
	x, y      []*ir.Scalar
}

// newProduct lays out the product of operands i and j as result 0.
func newProduct(b *ir.Body, i, j int) *product {
	X, Y := b.In(i), b.In(j)
	axes, k := b.Axes(b.Out(0).Dims), b.Axis(X.Dims[len(X.Dims)-1])
	rows, cols := min(len(X.Dims)-1, 1), min(len(Y.Dims)-1, 1)
	batch := axes[:len(axes)-rows-cols]
	lead := func(buf *ir.Buffer, n int) []*ir.Scalar {
		return ir.BcastIx(&ir.Buffer{Dims: buf.Dims[:n]}, batch)
	}
	p := &product{axes: axes, red: []*ir.Axis{k}, x: lead(X, len(X.Dims)-1-rows)}
	if rows == 1 {
		p.x = append(p.x, axes[len(batch)].Ix())
	}
	p.x = append(p.x, k.Ix())
	p.y = append(lead(Y, len(Y.Dims)-1-cols), k.Ix())
	if cols == 1 {
		p.y = append(p.y, axes[len(axes)-1].Ix())
	}
	return p
}

// Gemm is alpha*A*B + beta*C with A and B transposed on request; C broadcasts to the
// product.
var Gemm = ir.Register(&ir.OpDef{
	Name: "onnx.Gemm", Since: since(1, 6, 7, 9, 11, 13), Doc: "matrix product, scaled, plus a bias",
	In:    ops(in("A", "T", matMulTypes), in("B", "T", matMulTypes), opt("C", "T", matMulTypes)),
	Out:   ops(in("Y", "T", matMulTypes)),
	Attrs: attrs(attr("alpha", 1.0), attr("beta", 1.0), attr("transA", 0), attr("transB", 0)),
	Deduce: func(c *ir.Call) error {
		if c.Rank(0) != 2 || c.Rank(1) != 2 {
			return c.Errorf("shapes %s, it takes two matrices", shapesString([][]sym.Expr{c.Dims(0), c.Dims(1)}))
		}
		for _, f := range []string{"alpha", "beta"} {
			if v := c.Float(f); c.DType(0).IsInt() && v != math.Trunc(v) {
				return c.Unsupported("%s = %g for %s", f, v, c.DType(0))
			}
		}
		x, y := transposed(c.Dims(0), c.Flag("transA")), transposed(c.Dims(1), c.Flag("transB"))
		if c.Syms.Equal(x[1], y[0]) == sym.False {
			return c.Errorf("inner dims %s and %s differ: shapes %s", x[1], y[0], shapesString([][]sym.Expr{c.Dims(0), c.Dims(1)}))
		}
		c.SetOut(0, c.DType(0), x[0], y[1])
		if c.Has(2) {
			return broadcastsTo(c, 2, []sym.Expr{x[0], y[1]})
		}
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		axes, k := b.Axes(b.Out(0).Dims), b.Axis(transposed(c.Dims(0), c.Flag("transA"))[1])
		x := b.Load(b.In(0), transposed([]*ir.Scalar{axes[0].Ix(), k.Ix()}, c.Flag("transA"))...)
		y := b.Load(b.In(1), transposed([]*ir.Scalar{k.Ix(), axes[1].Ix()}, c.Flag("transB"))...)
		if c.Float("alpha") == 1 && !c.Has(2) {
			b.Reduce(b.Out(0), axes, ir.Sum, []*ir.Axis{k}, x.Mul(y))
			return nil
		}
		sum := b.Reduced(axes, ir.Sum, []*ir.Axis{k}, x.Mul(y))
		out := b.Axes(b.Out(0).Dims)
		r := scaled(ir.Load(sum, ir.Ix(out)...), c.Float("alpha"))
		if c.Has(2) {
			r = r.Add(scaled(b.LoadBcast(b.In(2), out), c.Float("beta")))
		}
		b.Map(b.Out(0), out, r)
		return nil
	},
})

// transposed swaps the entries of a pair on request.
func transposed[T any](pair []T, swap bool) []T {
	if swap {
		return []T{pair[1], pair[0]}
	}
	return pair
}

func scaled(x *ir.Scalar, f float64) *ir.Scalar {
	if f == 1 {
		return x
	}
	return x.Mul(x.Const(f))
}
