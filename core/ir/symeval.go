package ir

import (
	"math"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// EvalSym runs a small integer program over symbolic integers: the contents of its
// results follow from the contents of its parameters and what ctx knows. It gives up
// (ok is false) where a size, an index or a branch is not decided, or where it would
// need arithmetic other than on integers and truth values. bind has the values of the
// program's symbols; nil leaves them as they are.
func (p *Program) EvalSym(ctx *sym.Context, bind []sym.Expr, params [][]sym.Expr) (results [][]sym.Expr, ok bool) {
	return p.evalSym(&symEval{ctx: ctx}, bind, params)
}

func (p *Program) evalSym(e *symEval, bind []sym.Expr, params [][]sym.Expr) (results [][]sym.Expr, ok bool) {
	e.bufs, e.bound = map[*Buffer][]sym.Expr{}, func(x sym.Expr) sym.Expr { return x }
	if bind != nil {
		e.bound = func(x sym.Expr) sym.Expr { return p.bindDim(x, bind) }
	}
	for i, b := range p.Params {
		e.bufs[b] = params[i]
	}
	for _, s := range p.Stages {
		if !e.stage(s) {
			return nil, false
		}
	}
	for _, r := range p.Results {
		results = append(results, e.bufs[r])
	}
	return results, true
}

type symEval struct {
	ctx  *sym.Context
	bufs map[*Buffer][]sym.Expr
	at   map[*Axis]int64

	bound func(sym.Expr) sym.Expr

	// narrows: what only has to be small enough to fit its type counts as if it were, and is
	// kept in small.
	narrows bool
	small   []narrowed
}

// narrowed is an integer and the largest value that it must not be above.
type narrowed struct {
	e    sym.Expr
	most int64
}

func (e *symEval) stage(s *Stage) bool {
	if s.Kind == ScatterStage || s.Kind == ScanStage || len(s.Outs) != 1 {
		return false
	}
	if d := s.Out().DType; !d.IsInt() && d != tensor.Bool {
		return false
	}
	size, ok := e.bound(sym.Prod(s.Out().Dims...)).Int()
	if !ok || size < 0 || size > MaxKnown {
		return false
	}
	out := make([]sym.Expr, 0, size)
	e.at = map[*Axis]int64{}
	ok = e.each(s.Axes, func() bool {
		v, ok := e.point(s)
		out = append(out, v)
		return ok
	})
	e.bufs[s.Out()] = out
	return ok
}

func (e *symEval) point(s *Stage) (sym.Expr, bool) {
	if s.Kind == MapStage {
		return e.eval(s.Exprs[0])
	}
	var acc sym.Expr
	switch s.Monoid {
	case Sum:
	case Prod:
		acc = sym.Const(1)
	case Max, Min:
		first := true
		ok := e.each(s.Red, func() bool {
			v, ok := e.eval(s.Exprs[0])
			switch {
			case first:
				acc, first = v, false
			case s.Monoid == Max:
				acc = acc.Max(v)
			default:
				acc = acc.Min(v)
			}
			return ok
		})
		return acc, ok && !first
	default:
		return acc, false
	}
	ok := e.each(s.Red, func() bool {
		v, ok := e.eval(s.Exprs[0])
		if s.Monoid == Sum {
			acc = acc.Add(v)
		} else {
			acc = acc.Mul(v)
		}
		return ok
	})
	return acc, ok
}

// each runs f at every point of the axes, the last one innermost.
func (e *symEval) each(axes []*Axis, f func() bool) bool {
	if len(axes) == 0 {
		return f()
	}
	n, ok := e.bound(axes[0].Extent).Int()
	if !ok || n > MaxKnown {
		return false
	}
	for i := int64(0); i < n; i++ {
		e.at[axes[0]] = i
		if !e.each(axes[1:], f) {
			return false
		}
	}
	return true
}

func truth(t sym.Truth) (sym.Expr, bool) {
	switch t {
	case sym.True:
		return sym.Const(1), true
	case sym.False:
		return sym.Const(0), true
	}
	return sym.Expr{}, false
}

func not(x sym.Expr, ok bool) (sym.Expr, bool) { return sym.Const(1).Sub(x), ok }

// eval gives an integer, or a truth value as 0 or 1.
func (e *symEval) eval(x *Scalar) (sym.Expr, bool) {
	none := sym.Expr{}
	if x.DType != tensor.Bool && !x.DType.IsInt() {
		return none, false
	}
	switch x.Op {
	case OpLit:
		if x.DType == tensor.Bool {
			if x.Lit.Bool(0) {
				return sym.Const(1), true
			}
			return none, true
		}
		return sym.Const(x.Lit.Int(0)), true
	case OpAxis:
		return sym.Const(e.at[x.Axis]), true
	case OpSym:
		return e.bound(x.Sym), true
	case OpBcast:
		dim, _ := x.Args[1].Symbolic()
		switch one, ok := truth(e.ctx.Equal(e.bound(dim), sym.Const(1))); {
		case !ok:
			return none, false
		case one.IsInt(1):
			return none, true
		}
		return e.eval(x.Args[0])
	case OpLoad:
		return e.load(x)
	case OpGuard, OpSelect:
		c, ok := e.eval(x.Args[0])
		switch {
		case !ok: // the same either way?
			a, ok1 := e.eval(x.Args[1])
			b, ok2 := e.eval(x.Args[2])
			return a, ok1 && ok2 && e.ctx.Equal(a, b) == sym.True
		case c.IsInt(1):
			return e.eval(x.Args[1])
		}
		return e.eval(x.Args[2])
	case OpAnd, OpOr:
		if x.DType == tensor.Bool {
			return e.connective(x)
		}
	}
	a, ok := e.eval(x.Args[0])
	if !ok {
		return none, false
	}
	if x.Op.Arity() == 1 {
		return e.unary(x, a)
	}
	b, ok := e.eval(x.Args[1])
	if !ok {
		return none, false
	}
	return e.binary(x, a, b)
}

// connective needs one operand alone where that decides.
func (e *symEval) connective(x *Scalar) (sym.Expr, bool) {
	decides := sym.Const(0)
	if x.Op == OpOr {
		decides = sym.Const(1)
	}
	a, ok1 := e.eval(x.Args[0])
	b, ok2 := e.eval(x.Args[1])
	switch {
	case ok1 && a.Equal(decides) || ok2 && b.Equal(decides):
		return decides, true
	case x.Op == OpAnd:
		return a.Mul(b), ok1 && ok2
	}
	return a.Max(b), ok1 && ok2
}

func (e *symEval) load(x *Scalar) (sym.Expr, bool) {
	flat := int64(0)
	for i, arg := range x.Args {
		ix, ok := e.eval(arg)
		if !ok {
			return sym.Expr{}, false
		}
		n, ok := ix.Int()
		d, dok := e.bound(x.Buf.Dims[i]).Int()
		if !ok || !dok || n < 0 || n >= d {
			return sym.Expr{}, false
		}
		flat = flat*d + n
	}
	buf := e.bufs[x.Buf]
	if flat >= int64(len(buf)) {
		return sym.Expr{}, false
	}
	return buf[flat], true
}

// fits says whether v surely lies in the range of d, so that no wrap-around happens.
func (e *symEval) fits(v sym.Expr, d tensor.DType) bool {
	lo, hi := e.ctx.Bounds(v)
	return fitsDType(lo, hi, d)
}

// narrow takes a number that is not negative to fit a type of 32 bits. Sizes do: with those
// of a larger tensor the model could not compute. Smaller types are used for their remainders,
// too.
func (e *symEval) narrow(v sym.Expr, d tensor.DType) bool {
	lo, _ := e.ctx.Bounds(v)
	most := map[tensor.DType]int64{tensor.I32: math.MaxInt32, tensor.U32: math.MaxUint32}[d]
	if !e.narrows || lo < 0 || most == 0 {
		return false
	}
	e.small = append(e.small, narrowed{v, most})
	return true
}

func (e *symEval) unary(x *Scalar, a sym.Expr) (sym.Expr, bool) {
	switch x.Op {
	case OpCast:
		if x.DType == tensor.Bool {
			if x.Args[0].DType == tensor.Bool {
				return a, true
			}
			return not(truth(e.ctx.Equal(a, sym.Const(0))))
		}
		return a, e.fits(a, x.DType) || e.narrow(a, x.DType)
	case OpNeg:
		return a.Neg(), e.fits(a.Neg(), x.DType)
	case OpAbs:
		if lo, _ := e.ctx.Bounds(a); lo >= 0 {
			return a, true
		}
		return a.Max(a.Neg()), true
	case OpNot:
		if x.DType == tensor.Bool {
			return not(a, true)
		}
	}
	return sym.Expr{}, false
}

func (e *symEval) binary(x *Scalar, a, b sym.Expr) (sym.Expr, bool) {
	none := sym.Expr{}
	var r sym.Expr
	switch x.Op {
	case OpAdd:
		r = a.Add(b)
	case OpSub:
		r = a.Sub(b)
	case OpMul:
		r = a.Mul(b)
	case OpMin:
		r = a.Min(b)
	case OpMax:
		r = a.Max(b)
	case OpFloorDiv, OpMod, OpDiv, OpRem:
		lo, _ := e.ctx.Bounds(b)
		if lo <= 0 {
			return none, false
		}
		if x.Op == OpDiv || x.Op == OpRem { // these agree with floor semantics on what is not negative
			if lo, _ := e.ctx.Bounds(a); lo < 0 {
				return none, false
			}
		}
		if x.Op == OpDiv || x.Op == OpFloorDiv {
			r = a.FloorDiv(b)
		} else {
			r = a.Mod(b)
		}
	case OpEq:
		return truth(e.ctx.Equal(a, b))
	case OpNe:
		return not(truth(e.ctx.Equal(a, b)))
	case OpLe:
		return truth(e.ctx.LE(a, b))
	case OpLt:
		return truth(e.ctx.LT(a, b))
	case OpGe:
		return truth(e.ctx.LE(b, a))
	case OpGt:
		return truth(e.ctx.LT(b, a))
	default:
		return none, false
	}
	return e.ctx.Simplify(r), e.fits(r, x.DType) || e.narrow(r, x.DType)
}
