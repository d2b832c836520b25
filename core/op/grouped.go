package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// GroupedMatMul multiplies each row of X by the matrix of its group: row i of
// X [rows, k] by W[group[i]], where W is [groups, k, n], or [groups, n, k] with transB.
// The experts of a mixture are groups, and a row is a token that goes to one. No matrix is
// copied for a row, whatever the order of the rows; rows of a group that stand side by side
// are one product.
var GroupedMatMul = ir.Register(&ir.OpDef{
	Name: "pit.GroupedMatMul", Doc: "product of each row and the matrix of its group",
	In:    ops(in("X", "T", floats), in("W", "T", floats), in("group", "", i64s)),
	Out:   ops(in("Y", "T", floats)),
	Attrs: attrs(attr("transB", 0)),
	Deduce: func(c *call) error {
		x, w, g := c.Dims(0), c.Dims(1), c.Dims(2)
		if len(x) != 2 || len(w) != 3 || len(g) != 1 {
			return c.Errorf("shapes %s, it takes [rows, k], [groups, k, n], [rows]", shapesString([][]sym.Expr{x, w, g}))
		}
		m := transposed(w[1:], c.Flag("transB"))
		if c.Syms.Equal(x[1], m[0]) == sym.False || c.Syms.Equal(x[0], g[0]) == sym.False {
			return c.Errorf("shapes %s do not fit", shapesString([][]sym.Expr{x, w, g}))
		}
		c.SetOut(0, c.DType(0), x[0], m[1])
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		axes, k := b.Axes(b.Out(0).Dims), b.Axis(c.Dims(0)[1])
		row, col := axes[0].Ix(), axes[1].Ix()
		at := transposed([]*scalar{k.Ix(), col}, c.Flag("transB"))
		group := b.LoadIx(b.In(2), row)
		b.Reduce(b.Out(0), axes, ir.Sum, []*ir.Axis{k}, b.Load(b.In(0), row, k.Ix()).Mul(b.Load(b.In(1), group, at[0], at[1])))
		return nil
	},
})
