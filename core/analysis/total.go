package analysis

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Total says whether a program is proved to compute its results from any operands of the
// types that it declares: every index is in range, dims broadcast, nothing is the extreme of
// none, and no text is read as a number. Memory may still run out.
func Total(ctx *sym.Context, p *ir.Program) bool {
	for _, list := range [][]*ir.Buffer{p.Params, p.Results, p.Temps()} {
		for _, b := range list {
			if !Sizes(ctx, b.Dims) || b.Room != nil {
				return false
			}
		}
	}
	for _, s := range p.Stages {
		t := totality{ctx: ctx.Clone(), axes: map[*ir.Axis]sym.Expr{}, seen: map[*ir.Scalar]bool{}}
		if !t.stage(s) {
			return false
		}
	}
	return true
}

// Sizes says whether dims are proved to be sizes, whatever values their symbols have.
func Sizes(ctx *sym.Context, dims []sym.Expr) bool {
	for _, d := range dims {
		if !ctx.Defined(d) || ctx.LE(sym.Const(0), d) != sym.True {
			return false
		}
	}
	return true
}

// totality is what holds where a stage computes a point.
type totality struct {
	ctx  *sym.Context
	axes map[*ir.Axis]sym.Expr // positions, as symbols
	seen map[*ir.Scalar]bool   // nodes that are proved already
}

func (t *totality) stage(s *ir.Stage) bool {
	for _, a := range s.AllAxes() {
		if !t.ctx.Defined(a.Extent) {
			return false
		}
	}
	if s.Monoid == ir.ArgMax || s.Monoid == ir.ArgMin {
		for _, a := range s.Red {
			if t.ctx.LE(sym.Const(1), a.Extent) != sym.True {
				return false
			}
		}
	}
	for _, a := range s.AllAxes() {
		x := t.ctx.Fresh("at")
		if t.ctx.AssumeLE(x.Add(sym.Const(1)), a.Extent) != nil {
			return true // there are no points
		}
		t.axes[a] = x
	}
	if s.Base != nil && (len(s.Index) != len(s.Base.Dims) || !t.within(s.Index, s.Out().Dims)) {
		return false
	}
	for _, list := range [][]*ir.Scalar{s.Exprs, s.Index} {
		for _, x := range list {
			if !t.node(x) {
				return false
			}
		}
	}
	return true
}

// node says whether an expression has a value at every point.
func (t *totality) node(x *ir.Scalar) bool {
	if t.seen[x] {
		return true
	}
	switch x.Op {
	case ir.OpGuard:
		if !t.node(x.Args[0]) || !t.where(x.Args[0], true).node(x.Args[1]) || !t.where(x.Args[0], false).node(x.Args[2]) {
			return false
		}
		t.seen[x] = true
		return true
	case ir.OpLoad:
		if !t.within(x.Args, x.Buf.Dims) {
			return false
		}
	case ir.OpBcast:
		if _, ok := t.integer(x); !ok {
			return false
		}
	case ir.OpCast:
		if x.Args[0].DType == tensor.String && x.DType != tensor.String {
			return false
		}
	case ir.OpSym:
		if !t.ctx.Defined(x.Sym) {
			return false
		}
	}
	for _, a := range x.Args {
		if !t.node(a) {
			return false
		}
	}
	t.seen[x] = true
	return true
}

// within says whether an index is in range.
func (t *totality) within(index []*ir.Scalar, dims []sym.Expr) bool {
	for i, ix := range index {
		e, ok := t.integer(ix)
		if !ok || t.ctx.LE(sym.Const(0), e) != sym.True || t.ctx.LT(e, dims[i]) != sym.True {
			return false
		}
	}
	return true
}

// where is what holds besides where a condition holds, or does not.
func (t *totality) where(cond *ir.Scalar, holds bool) *totality {
	u := &totality{ctx: t.ctx.Clone(), axes: t.axes, seen: map[*ir.Scalar]bool{}}
	u.assume(cond, holds)
	return u
}

func (t *totality) assume(cond *ir.Scalar, holds bool) {
	switch cond.Op {
	case ir.OpAnd, ir.OpOr:
		if holds == (cond.Op == ir.OpAnd) {
			t.assume(cond.Args[0], holds)
			t.assume(cond.Args[1], holds)
		}
		return
	case ir.OpNot:
		t.assume(cond.Args[0], !holds)
		return
	case ir.OpLt, ir.OpLe, ir.OpGt, ir.OpGe:
	default:
		return
	}
	a, ok := t.integer(cond.Args[0])
	b, ok2 := t.integer(cond.Args[1])
	if !ok || !ok2 {
		return
	}
	op := cond.Op
	if op == ir.OpGt || op == ir.OpGe {
		a, b = b, a
	}
	strict := op == ir.OpLt || op == ir.OpGt
	if !holds { // a < b fails: b <= a
		a, b, strict = b, a, !strict
	}
	if strict {
		a = a.Add(sym.Const(1))
	}
	_ = t.ctx.AssumeLE(a, b) // what contradicts is never evaluated, and needs no proof
}

// integer is an i64 expression as one of symbols and positions; ok is false where it is
// none, or is not proved to have a value.
func (t *totality) integer(x *ir.Scalar) (e sym.Expr, ok bool) {
	if x.DType != tensor.I64 {
		return e, false
	}
	switch x.Op {
	case ir.OpLit:
		return sym.Const(x.Lit.Int(0)), true
	case ir.OpSym:
		return x.Sym, t.ctx.Defined(x.Sym)
	case ir.OpAxis:
		e, ok = t.axes[x.Axis]
		return e, ok
	case ir.OpBcast:
		dim, ok := x.Args[1].Symbolic()
		extent, ok2 := x.Args[2].Symbolic()
		switch {
		case !ok || !ok2:
			return e, false
		case t.ctx.Equal(dim, extent) == sym.True:
			return t.integer(x.Args[0])
		}
		return sym.Const(0), dim.IsInt(1)
	}
	if len(x.Args) != 2 {
		return e, false
	}
	a, ok := t.integer(x.Args[0])
	b, ok2 := t.integer(x.Args[1])
	if !ok || !ok2 {
		return e, false
	}
	switch x.Op {
	case ir.OpAdd:
		return a.Add(b), true
	case ir.OpSub:
		return a.Sub(b), true
	case ir.OpMul:
		return a.Mul(b), true
	case ir.OpMin:
		return a.Min(b), true
	case ir.OpMax:
		return a.Max(b), true
	case ir.OpFloorDiv, ir.OpMod:
		if t.ctx.LE(sym.Const(1), b) != sym.True {
			return e, false
		}
		if x.Op == ir.OpMod {
			return a.Mod(b), true
		}
		return a.FloorDiv(b), true
	}
	return e, false
}
