package analysis

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Affine is an index of the form C + Σ K·axis. Axes of extent 1 take no part.
type Affine struct {
	C     sym.Expr
	Terms []Term // each axis once, K is not 0
}

// Term is an axis and the step that it takes.
type Term struct {
	Axis *ir.Axis
	K    sym.Expr
}

// AffineOf gives the affine form of an index; ok is false where it has none.
func AffineOf(x *ir.Scalar) (f Affine, ok bool) {
	if e, ok := x.Symbolic(); ok {
		return Affine{C: e}, true
	}
	switch x.Op {
	case ir.OpAxis:
		if !x.Axis.Extent.IsInt(1) {
			f.Terms = []Term{{x.Axis, sym.Const(1)}}
		}
		return f, true
	case ir.OpAdd, ir.OpSub, ir.OpMul:
		if x.DType != tensor.I64 {
			return f, false
		}
		a, ok := AffineOf(x.Args[0])
		b, ok2 := AffineOf(x.Args[1])
		switch {
		case !ok || !ok2:
			return f, false
		case x.Op == ir.OpAdd:
			return a.add(b, sym.Const(1)), true
		case x.Op == ir.OpSub:
			return a.add(b, sym.Const(-1)), true
		case len(b.Terms) == 0:
			return f.add(a, b.C), true
		case len(a.Terms) == 0:
			return f.add(b, a.C), true
		}
	}
	return f, false
}

// add is f + k·g.
func (f Affine) add(g Affine, k sym.Expr) Affine {
	out := Affine{C: f.C.Add(g.C.Mul(k))}
	out.Terms = append(out.Terms, f.Terms...)
next:
	for _, t := range g.Terms {
		step := t.K.Mul(k)
		for i, have := range out.Terms {
			if have.Axis == t.Axis {
				out.Terms[i].K = have.K.Add(step)
				continue next
			}
		}
		out.Terms = append(out.Terms, Term{t.Axis, step})
	}
	kept := out.Terms[:0]
	for _, t := range out.Terms {
		if !t.K.IsInt(0) {
			kept = append(kept, t)
		}
	}
	out.Terms = kept
	return out
}

// Scalar is the index as an expression.
func (f Affine) Scalar() *ir.Scalar {
	out := ir.IntLit(0)
	for _, t := range f.Terms {
		out = out.Add(t.Axis.Ix().Mul(ir.SymVal(t.K)))
	}
	return out.Add(ir.SymVal(f.C))
}

// split gives q and r with f = d·q + r and 0 <= r < d at all positions of the axes, where
// that is proved.
func (f Affine) split(ctx *sym.Context, d sym.Expr) (q, r Affine, ok bool) {
	most := sym.Const(1) // one more than r is at most
	part := func(k sym.Expr, add func(a *Affine, k sym.Expr), reach sym.Expr) bool {
		if by, ok := k.Over(d); ok {
			add(&q, by)
			return true
		}
		add(&r, k)
		most = most.Add(k.Mul(reach))
		lo, _ := ctx.Bounds(k)
		return lo >= 0
	}
	ok = part(f.C, func(a *Affine, k sym.Expr) { a.C = k }, sym.Const(1))
	for _, t := range f.Terms {
		ok = ok && part(t.K, func(a *Affine, k sym.Expr) { a.Terms = append(a.Terms, Term{t.Axis, k}) }, t.Axis.Extent.Sub(sym.Const(1)))
	}
	return q, r, ok && ctx.LE(most, d) == sym.True
}

// SimplifyIndex takes quotients and remainders out of an index where what they are of is
// proved to be a multiple and a remainder: (i*n + j)//n is i where j < n.
func SimplifyIndex(ctx *sym.Context, x *ir.Scalar) *ir.Scalar {
	return x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
		if y.Op != ir.OpFloorDiv && y.Op != ir.OpMod || y.DType != tensor.I64 {
			return y
		}
		f, ok := AffineOf(y.Args[0])
		d, ok2 := y.Args[1].Symbolic()
		if !ok || !ok2 {
			return y
		}
		q, r, ok := f.split(ctx, d)
		switch {
		case !ok:
			return y
		case y.Op == ir.OpMod:
			return r.Scalar()
		}
		return q.Scalar()
	})
}
