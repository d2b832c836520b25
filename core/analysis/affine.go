package analysis

import (
	"slices"

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

// Injective says whether the index is proved to be another one at each position of its axes:
// it has one axis, or counts through several.
func (f Affine) Injective() bool {
	if len(f.Terms) == 1 {
		n, ok := f.Terms[0].K.Int()
		return ok && n != 0
	}
	step := sym.Const(1)
	for range f.Terms {
		i := slices.IndexFunc(f.Terms, func(t Term) bool { return t.K.Equal(step) })
		if i < 0 {
			return false
		}
		step = step.Mul(f.Terms[i].Axis.Extent)
	}
	return true
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
// proved to be a multiple and a remainder: (i*n + j)//n is i where j < n. Where only a part is,
// they get smaller: (i*n + j)//(n*m) is i//m. A quotient and its remainder that come together
// are what they are of: i//n*n + i%n is i.
func SimplifyIndex(ctx *sym.Context, x *ir.Scalar) *ir.Scalar {
	return x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
		switch {
		case y.DType != tensor.I64:
		case y.Op == ir.OpAdd:
			return rejoin(ctx, y)
		case y.Op == ir.OpFloorDiv || y.Op == ir.OpMod:
			return divided(ctx, y)
		}
		return y
	})
}

// divided simplifies a quotient or remainder.
func divided(ctx *sym.Context, y *ir.Scalar) *ir.Scalar {
	f, ok := AffineOf(y.Args[0])
	d, ok2 := y.Args[1].Symbolic()
	if !ok || !ok2 {
		return y
	}
	if q, r, ok := f.split(ctx, d); ok {
		if y.Op == ir.OpMod {
			return r.Scalar()
		}
		return q.Scalar()
	}
	for _, t := range f.Terms { // multiples of k, and what is less than k
		by, ok := d.Over(t.K)
		if lo, _ := ctx.Bounds(t.K); !ok || lo < 1 || t.K.IsInt(1) {
			continue
		}
		q, r, ok := f.split(ctx, t.K)
		switch {
		case !ok || !divides(ctx, by, y.Args[0]):
		case y.Op == ir.OpMod:
			return q.Scalar().Mod(ir.SymVal(by)).Mul(ir.SymVal(t.K)).Add(r.Scalar())
		default:
			return q.Scalar().FloorDiv(ir.SymVal(by))
		}
	}
	return y
}

// rejoin puts a quotient and its remainder in a sum together.
func rejoin(ctx *sym.Context, y *ir.Scalar) *ir.Scalar {
	type term struct {
		x *ir.Scalar
		k sym.Expr
	}
	var terms []term
	var collect func(x *ir.Scalar)
	collect = func(x *ir.Scalar) {
		if x.Op == ir.OpAdd {
			collect(x.Args[0])
			collect(x.Args[1])
			return
		}
		if x.Op == ir.OpMul {
			for i, a := range x.Args {
				if k, ok := a.Symbolic(); ok {
					terms = append(terms, term{x.Args[1-i], k})
					return
				}
			}
		}
		terms = append(terms, term{x, sym.Const(1)})
	}
	collect(y)
	for i, q := range terms {
		if q.x.Op != ir.OpFloorDiv {
			continue
		}
		d, ok := q.x.Args[1].Symbolic()
		for j, r := range terms {
			if !ok || r.x.Op != ir.OpMod || !q.k.Equal(r.k.Mul(d)) || !sameIndex(q.x.Args[0], r.x.Args[0]) || !sameIndex(q.x.Args[1], r.x.Args[1]) || !divides(ctx, d, q.x) {
				continue
			}
			out := q.x.Args[0].Mul(ir.SymVal(r.k))
			for n, t := range terms {
				if n != i && n != j {
					out = out.Add(t.x.Mul(ir.SymVal(t.k)))
				}
			}
			return out
		}
	}
	return y
}

// divides says whether an integer is not 0 where an index has a value: it is positive, or an
// axis of the index has no positions where it is 0.
func divides(ctx *sym.Context, d sym.Expr, x *ir.Scalar) bool {
	if lo, _ := ctx.Bounds(d); lo >= 1 {
		return true
	}
	found := false
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpAxis {
			_, ok := y.Axis.Extent.Over(d)
			found = found || ok
		}
		return !found
	})
	return found
}

// sameIndex says whether two indices are written alike.
func sameIndex(x, y *ir.Scalar) bool {
	if a, ok := x.Symbolic(); ok {
		b, ok := y.Symbolic()
		return ok && a.Equal(b)
	}
	return x == y || x.Op == y.Op && x.Axis == y.Axis && x.Buf == y.Buf && x.DType == y.DType && x.Op != ir.OpLit && x.Op != ir.OpCast &&
		slices.EqualFunc(x.Args, y.Args, sameIndex)
}

// Digit is the position along an axis in a mixed radix: (Axis // P) % M, all that is above
// where there is no M.
type Digit struct {
	Axis  *ir.Axis
	P, M  sym.Expr
	Upper bool // there is no M
}

// DigitOf gives the digit that an index is, which may be all of an axis.
func DigitOf(x *ir.Scalar) (d Digit, ok bool) {
	switch x.Op {
	case ir.OpAxis:
		return Digit{Axis: x.Axis, P: sym.Const(1), Upper: true}, true
	case ir.OpFloorDiv, ir.OpMod:
		d, ok = DigitOf(x.Args[0])
		k, ok2 := x.Args[1].Symbolic()
		if !ok || !ok2 || !d.Upper {
			return d, false
		}
		if x.Op == ir.OpMod {
			d.M, d.Upper = k, false
		} else {
			d.P = d.P.Mul(k)
		}
		return d, true
	}
	return d, false
}

// Spelled says whether digits of an axis tell all of its positions apart.
func Spelled(digits []Digit) bool {
	p := sym.Const(1)
	for range digits {
		i := slices.IndexFunc(digits, func(d Digit) bool { return d.P.Equal(p) })
		switch {
		case i < 0:
			return false
		case digits[i].Upper || p.Mul(digits[i].M).Equal(digits[i].Axis.Extent):
			return true
		}
		p = p.Mul(digits[i].M)
	}
	return false
}
