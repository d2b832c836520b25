package op

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// matrixDims gives the dims in front of an operand's matrices, and those of a matrix.
func matrixDims(c *call) (batch []sym.Expr, rows, cols sym.Expr, err error) {
	d := c.Dims(0)
	n := len(d) - 2
	if n < 0 {
		return nil, rows, cols, c.Errorf("shape %s holds no matrix", ir.ShapeString(d))
	}
	return d[:n], d[n], d[n+1], nil
}

// Trilu keeps the part of each matrix on and above its k-th diagonal, or on and below it.
var Trilu = ir.Register(&ir.OpDef{
	Name: "onnx.Trilu", Since: since(14), Doc: "upper or lower triangle",
	In: ops(in("input", "T", anyTensor), opt("k", "", i64s)), Out: ops(in("output", "T", anyTensor)),
	Attrs: attrs(attr("upper", 1)),
	Deduce: func(c *call) error {
		if _, _, _, err := matrixDims(c); err != nil {
			return err
		}
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		return single(c, 1)
	},
	Body: func(c *call, b *ir.Body) error {
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		row, col := ix[len(ix)-2], ix[len(ix)-1]
		if c.Has(1) {
			if k, ok := c.Ints(1); ok && len(k) == 1 {
				row = row.Add(ir.SymVal(k[0]))
			} else {
				row = row.Add(loadSingle(b, 1))
			}
		}
		keep := col.Le(row)
		if c.Flag("upper") {
			keep = col.Ge(row)
		}
		b.Map(b.Out(0), axes, ir.Select(keep, ir.Load(b.In(0), ix...), zeroOf(c.DType(0))))
		return nil
	},
})

// EyeLike is 1 on the k-th diagonal of a matrix and 0 elsewhere, in the shape of its
// operand.
var EyeLike = ir.Register(&ir.OpDef{
	Name: "onnx.EyeLike", Since: since(9, 22), Doc: "ones on a diagonal, in the shape of the operand",
	In: ops(in("input", "", anyTensor)), Out: ops(in("output", "", nil)),
	Attrs: attrs(attrOpt("dtype", int64(0)), attr("k", 0)),
	Deduce: func(c *call) error {
		if c.Rank(0) != 2 {
			return c.Errorf("shape %s is no matrix", ir.ShapeString(c.Dims(0)))
		}
		d, err := dtypeAttr(c, "dtype", notString, c.DType(0))
		c.SetOut(0, d, c.Dims(0)...)
		return err
	},
	Body: func(c *call, b *ir.Body) error {
		axes := b.Axes(b.Out(0).Dims)
		on := axes[1].Ix().Eq(axes[0].Ix().Add(ir.IntLit(c.Int("k"))))
		d := b.Out(0).DType
		b.Map(b.Out(0), axes, ir.Select(on, ir.Lit(d, 1), ir.Lit(d, 0)))
		return nil
	},
})

// Det is the determinant of each square matrix.
var Det = ir.Register(&ir.OpDef{
	Name: "onnx.Det", Since: since(11, 22), Doc: "determinant",
	In: ops(in("X", "T", floats)), Out: ops(in("Y", "T", floats)),
	Deduce: func(c *call) error {
		batch, rows, cols, err := matrixDims(c)
		if err != nil {
			return err
		}
		if c.Syms.Equal(rows, cols) == sym.False {
			return c.Errorf("the matrices of %s are not square", ir.ShapeString(c.Dims(0)))
		}
		c.SetOut(0, c.DType(0), batch...)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x := k.Arg(0)
		r := x.Rank() - 2
		out, err := tensor.Make(x.DType(), x.Shape()[:r])
		if err != nil {
			return nil, err
		}
		n := x.Shape()[r]
		m := make([]float64, n*n)
		for i := range out.Len() {
			if err := k.Context.Err(); err != nil {
				return nil, err
			}
			for j := range m {
				m[j] = x.Float(i*n*n + int64(j))
			}
			out.SetFloat(i, determinant(m, int(n)))
		}
		return []tensor.Value{out}, nil
	},
})

// determinant eliminates with row pivots; m, an n by n matrix, is overwritten.
func determinant(m []float64, n int) float64 {
	det := 1.0
	for c := range n {
		pivot := c
		for r := c + 1; r < n; r++ {
			if math.Abs(m[r*n+c]) > math.Abs(m[pivot*n+c]) {
				pivot = r
			}
		}
		if m[pivot*n+c] == 0 {
			return 0
		}
		if pivot != c {
			det = -det
			for j := c; j < n; j++ {
				m[pivot*n+j], m[c*n+j] = m[c*n+j], m[pivot*n+j]
			}
		}
		det *= m[c*n+c]
		for r := c + 1; r < n; r++ {
			f := m[r*n+c] / m[c*n+c]
			for j := c; j < n; j++ {
				m[r*n+j] -= f * m[c*n+j]
			}
		}
	}
	return det
}
