package analysis

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// mostOnDiagonal bounds what is looked at to see whether a value is the same along a diagonal.
const mostOnDiagonal = 4096

// Diagonal says whether it is proved that a value is the same along the diagonal of two of its dims, whatever the indices in
// the others: what is looked up by how far two positions lie apart is, as a relative position bias is.
func Diagonal(v *ir.Value, p, q int) bool {
	t, ok := v.Tensor()
	if !ok || t.Unranked || p == q || !t.Dims[p].Equal(t.Dims[q]) {
		return false
	}
	axes := make([]*ir.Axis, len(t.Dims))
	for i, d := range t.Dims {
		axes[i] = &ir.Axis{Extent: d}
	}
	d := &diagonal{a: axes[p], b: axes[q], left: mostOnDiagonal, done: map[*ir.Scalar]bool{}}
	x, ok := d.element(v, ir.Ix(axes))
	return ok && d.same(x)
}

// diagonal looks at expressions over two axes.
type diagonal struct {
	a, b *ir.Axis
	left int
	done map[*ir.Scalar]bool
}

// same says whether an expression is the same where both axes are one further: they occur in their difference alone.
func (d *diagonal) same(x *ir.Scalar) bool {
	if is, ok := d.done[x]; ok {
		return is
	}
	is := d.alike(x)
	d.done[x] = is
	return is
}

func (d *diagonal) alike(x *ir.Scalar) bool {
	if d.left--; d.left < 0 {
		return false
	}
	if f, ok := AffineOf(x); ok {
		return along(f, d.a).Add(along(f, d.b)).IsInt(0)
	}
	return x.Op != ir.OpAxis && !slices.ContainsFunc(x.Args, func(y *ir.Scalar) bool { return !d.same(y) })
}

// along is how far an index goes with a step of an axis.
func along(f Affine, a *ir.Axis) sym.Expr {
	for _, t := range f.Terms {
		if t.Axis == a {
			return t.K
		}
	}
	return sym.Const(0)
}

// element is an element of a value as an expression of what it is computed from, as far as it goes: what is read at an index that
// is the same along the diagonal is read there.
func (d *diagonal) element(v *ir.Value, index []*ir.Scalar) (*ir.Scalar, bool) {
	if d.left--; d.left < 0 || v.Def == nil {
		return nil, false
	}
	switch p, ok := v.Def.Callee.(*ir.Program); {
	case v.Def.Kind == ir.OpStmt && v.Def.Op.IsView():
		from, ok := v.Def.Args[0].Tensor()
		to, ok2 := v.Tensor()
		if !ok || !ok2 || from.Unranked || to.Unranked {
			return nil, false
		}
		at, ok := withoutOnes(from.Dims, to.Dims, index)
		if !ok {
			return nil, false
		}
		return d.element(v.Def.Args[0], at)
	case !ok || v.Def.Kind != ir.CallStmt || len(p.Stages) != 1 || p.Stages[0].Kind != ir.MapStage || len(p.Stages[0].Outs) != 1:
		return nil, false
	default:
		p = Instance(v.Def, p)
		s := p.Stages[0]
		found := true
		x := s.Exprs[0].Rewrite(func(y *ir.Scalar) *ir.Scalar {
			switch {
			case y.Op == ir.OpAxis:
				return index[slices.Index(s.Axes, y.Axis)]
			case y.Op != ir.OpLoad || !slices.ContainsFunc(y.Args, func(i *ir.Scalar) bool { return !d.same(i) }):
				return y
			}
			z, ok := d.element(v.Def.Args[slices.Index(p.Params, y.Buf)], y.Args)
			if found = found && ok; !ok {
				return y
			}
			return z
		})
		return x, found
	}
}

// withoutOnes is the index at which a value is read that has the same dims as another one but for dims of 1.
func withoutOnes(from, to []sym.Expr, index []*ir.Scalar) (out []*ir.Scalar, ok bool) {
	i := 0
	for _, n := range from {
		if n.IsInt(1) {
			out = append(out, ir.IntLit(0))
			continue
		}
		for i < len(to) && to[i].IsInt(1) {
			i++
		}
		if i == len(to) || !to[i].Equal(n) {
			return nil, false
		}
		out = append(out, index[i])
		i++
	}
	for ; i < len(to); i++ {
		if !to[i].IsInt(1) {
			return nil, false
		}
	}
	return out, true
}
