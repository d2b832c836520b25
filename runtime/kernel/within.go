package kernel

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// What conditions say of indices: windows and borders read where an index is within its dim, so that it is is one
// comparison, which the load takes for its mask, and nothing needs to be held against the dim once more.

// conjuncts are what has to be true for a condition to be.
func conjuncts(x *ir.Scalar) []*ir.Scalar {
	if x.Op == ir.OpAnd && x.DType == tensor.Bool {
		return append(conjuncts(x.Args[0]), conjuncts(x.Args[1])...)
	}
	return []*ir.Scalar{x}
}

// upper finds, where c says that x is 0 at least, the condition among some that x is below a dim; nil: there is none. Of
// other numbers than dims it is not known that they are not negative, as an unsigned comparison wants.
func (l *lowering) upper(c *ir.Scalar, among []*ir.Scalar) (x *ir.Scalar, dim sym.Expr, other *ir.Scalar) {
	if c.Op != ir.OpGe || c.Args[0].DType != tensor.I64 || c.Args[1].Op != ir.OpLit || c.Args[1].Lit.Int(0) != 0 {
		return nil, dim, nil
	}
	for _, d := range among {
		if d.Op != ir.OpLt || d.Args[0].DType != tensor.I64 || !same(c.Args[0], d.Args[0]) {
			continue
		}
		e, ok := d.Args[1].Symbolic()
		if ok && slices.ContainsFunc(l.st.Reads(), func(b *ir.Buffer) bool { return slices.ContainsFunc(b.Dims, e.Equal) }) {
			return c.Args[0], e, d
		}
	}
	return nil, dim, nil
}

// bounded says whether an index is known to be within a dim where it is asked for.
func (l *lowering) bounded(x *ir.Scalar, dim sym.Expr) bool {
	return slices.ContainsFunc(l.holds, func(c *ir.Scalar) bool {
		y, d, _ := l.upper(c, l.holds)
		return y != nil && same(x, y) && d.Equal(dim)
	})
}

// below says where an index is from 0 up to below a dim.
func (l *lowering) below(v *Value, dim sym.Expr) *Value {
	return l.op(OpBelow, Mask, v, l.splat(l.sized(dim, v.Kind), v.Kind))
}

// all is a conjunction. That an index is within a dim is one comparison.
func (l *lowering) all(x *ir.Scalar) (out *Value) {
	and := func(v *Value) {
		if out == nil {
			out = v
		} else {
			out = l.op(OpAnd, Mask, out, v)
		}
	}
	rest := conjuncts(x)
	for _, c := range conjuncts(x) {
		if x, dim, other := l.upper(c, rest); x != nil {
			and(l.below(l.value(x), dim))
			rest = slices.DeleteFunc(rest, func(y *ir.Scalar) bool { return y == c || y == other })
		}
	}
	for _, c := range rest {
		and(l.value(c))
	}
	return out
}
