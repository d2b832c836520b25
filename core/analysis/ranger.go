package analysis

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// ranger evaluates expressions over ranges instead of numbers.
type ranger struct {
	bounds func(e sym.Expr) (lo, hi int64)
	load   func(x *ir.Scalar) Interval
	// known are nodes that are known to be within a range: a condition holds, or a rule knows more
	// of them than their operands say.
	known func(x *ir.Scalar) (Interval, bool)
	// decide takes one branch of a choice that is not decided; nil: either may be taken.
	decide func(x *ir.Scalar) (branch int, ok bool)
	// generic: integers that are different expressions are different.
	generic bool

	done map[*ir.Scalar]Interval
	deep int // conditions around
}

func (e *ranger) eval(x *ir.Scalar) Interval {
	if r, ok := e.done[x]; ok {
		return r
	}
	r := e.node(x)
	if e.known != nil {
		if k, ok := e.known(x); ok {
			r = r.within(k.Lo, k.Hi)
			r.NaN = r.NaN && k.NaN
		}
	}
	e.done[x] = r
	return r
}

func (e *ranger) node(x *ir.Scalar) Interval {
	if x.DType.IsComplex() || x.DType == tensor.String {
		for _, a := range x.Args {
			e.eval(a)
		}
		return anything
	}
	switch x.Op {
	case ir.OpLit:
		if v := x.Lit.Float(0); v == v {
			return number(x.DType, v)
		}
		return Anything(x.DType)
	case ir.OpLoad:
		return e.load(x)
	case ir.OpAxis:
		_, hi := e.bounds(x.Axis.Extent)
		return Interval{Lo: 0, Hi: max(float64(hi)-1, 0)}
	case ir.OpSym:
		lo, hi := e.bounds(x.Sym)
		return Interval{Lo: float64(lo), Hi: float64(hi)}
	case ir.OpBcast:
		return e.eval(x.Args[0]).Or(Interval{})
	case ir.OpGuard, ir.OpSelect:
		return e.choice(x)
	case ir.OpCast:
		return castInterval(x.Args[0].DType, x.DType, e.eval(x.Args[0]))
	case ir.OpReal, ir.OpImag, ir.OpComplex:
		return Anything(x.DType)
	}
	if of := x.Args[0].DType; of.IsComplex() || of == tensor.String {
		return Anything(x.DType)
	}
	if len(x.Args) == 1 {
		return unaryInterval(x.Op, x.DType, e.eval(x.Args[0]))
	}
	a, b := e.eval(x.Args[0]), e.eval(x.Args[1])
	switch {
	case x.Op == ir.OpMul && same(x.Args[0], x.Args[1]) && !a.none():
		return a.square().wider(x.DType)
	case e.generic && (x.Op == ir.OpEq || x.Op == ir.OpNe) && x.Args[0].DType.IsInt() && (a.Lo < a.Hi || b.Lo < b.Hi):
		return Exactly(truth(x.Op == ir.OpNe))
	}
	return binaryInterval(x.Op, x.Args[0].DType, a, b)
}

// choice is the range of the branches that may be taken, each where its condition holds.
func (e *ranger) choice(x *ir.Scalar) Interval {
	c := e.eval(x.Args[0])
	take := func(branch int) Interval { return e.where(x.Args[0], branch == 1, x.Args[branch]) }
	switch {
	case c.Lo > 0:
		return take(1)
	case c.Hi < 1:
		return take(2)
	}
	if e.decide != nil {
		if branch, ok := e.decide(x); ok {
			return take(branch)
		}
	}
	return take(1).Or(take(2))
}

// where evaluates an expression where a condition holds, or does not.
func (e *ranger) where(cond *ir.Scalar, holds bool, x *ir.Scalar) Interval {
	of, r, ok := e.condition(cond, holds)
	if !ok || e.deep > 8 {
		return e.eval(x)
	}
	in := *e
	in.deep++
	in.done = map[*ir.Scalar]Interval{}
	in.known = func(y *ir.Scalar) (Interval, bool) {
		k, found := Interval{}, false
		if e.known != nil {
			k, found = e.known(y)
		}
		if !same(y, of) {
			return k, found
		}
		if found {
			nan := r.NaN && k.NaN
			k = k.within(r.Lo, r.Hi)
			k.NaN = nan
			return k, true
		}
		return r, true
	}
	return in.eval(x)
}

// condition is what a condition says of an expression: the range that it is in.
func (e *ranger) condition(c *ir.Scalar, holds bool) (of *ir.Scalar, r Interval, ok bool) {
	switch c.Op {
	case ir.OpNot:
		if c.DType == tensor.Bool {
			return e.condition(c.Args[0], !holds)
		}
	case ir.OpIsNaN:
		if !holds {
			return c.Args[0], Interval{math.Inf(-1), math.Inf(1), false}, true
		}
	case ir.OpLt, ir.OpLe, ir.OpGt, ir.OpGe:
		a, b := c.Args[0], c.Args[1]
		less := c.Op == ir.OpLt || c.Op == ir.OpLe // a is at most b
		ra, rb := e.eval(a), e.eval(b)
		if rb.Lo != rb.Hi && ra.Lo == ra.Hi {
			a, rb, less = b, ra, !less
		}
		if !holds {
			less = !less
		}
		if rb.Lo != rb.Hi || rb.NaN {
			return nil, r, false
		}
		if less {
			return a, Interval{math.Inf(-1), rb.Hi, !holds}, true
		}
		return a, Interval{rb.Lo, math.Inf(1), !holds}, true
	}
	return nil, r, false
}
