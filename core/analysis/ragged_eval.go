package analysis

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// eval is where the values of an expression of a stage lie, where something is known of tokens.
func (a *RaggedProgram) eval(s *ir.Stage, x *ir.Scalar, at ...where) Interval {
	return a.evaluator(at).ranger.eval(x)
}

func (a *RaggedProgram) evaluator(at []where) *raggedEval {
	e := &raggedEval{a, at, &ranger{bounds: a.places, done: map[*ir.Scalar]Interval{}}}
	e.load, e.known = e.tokens, e.rule
	return e
}

// raggedEval evaluates an expression where something is known of tokens.
type raggedEval struct {
	*RaggedProgram
	at []where
	*ranger
}

// bounds are those of an expression: a sequence is no longer than [MaxSeq].
func (a *RaggedProgram) bounds(e sym.Expr) (lo, hi int64) {
	lo, hi = a.ctx.Bounds(e)
	if a.equal(e, a.Seq) {
		hi = min(hi, MaxSeq)
	}
	return lo, hi
}

// places are bounds in which there is room for places of tokens, too, where positions are: see [MaxTokens].
func (a *RaggedProgram) places(e sym.Expr) (lo, hi int64) {
	lo, hi = a.ctx.Bounds(e)
	if a.equal(e, a.Seq) {
		hi = MaxTokens
	}
	return lo, hi
}

// rule is what is known of a node beyond what its operands say.
func (e *raggedEval) rule(x *ir.Scalar) (Interval, bool) {
	if x.Op == ir.OpAxis {
		for _, w := range e.at {
			if w.first && w.Pos == x.Axis && w.Batch != w.Pos {
				return Exactly(0), true
			}
		}
	}
	if !x.DType.IsFloat() {
		return Interval{}, false
	}
	switch x.Op {
	case ir.OpSub:
		return Interval{math.Inf(-1), 0, true}, e.belowMax(x)
	case ir.OpCast:
		return Interval{-mostHalf, mostHalf, true}, e.fitsHalf(x)
	case ir.OpMul, ir.OpDiv:
		most, _, ok := e.normed(x)
		return Interval{-most, most, true}, ok
	}
	return Interval{}, false
}

// tokens is what is read, by the tokens where it is.
func (e *raggedEval) tokens(x *ir.Scalar) Interval {
	rows := e.Rows(x.Buf)
	is := rows.Any
	for _, r := range rows.Slots {
		t, ok := e.TokenOf(x, r.Slot)
		for _, w := range e.at {
			if !ok || w.Token != t {
				continue
			}
			known := r.Masked
			if w.valid {
				known = r.Valid
			}
			is = is.and(known)
		}
	}
	for _, p := range rows.Pairs {
		row, ok := e.TokenOf(x, p.Row)
		key, ok2 := e.TokenOf(x, p.Key)
		if ok && ok2 && e.knows(row, true) && e.knows(key, false) {
			is = is.and(p.Is)
		}
	}
	return is
}

// knows says whether it is known of a token that the mask is 1 there, or 0.
func (e *raggedEval) knows(t Token, valid bool) bool {
	return slices.ContainsFunc(e.at, func(w where) bool { return w.Token == t && w.valid == valid })
}

// and is what lies in both.
func (i Interval) and(j Interval) Interval {
	return Interval{max(i.Lo, j.Lo), min(i.Hi, j.Hi), i.NaN && j.NaN}
}

// same says whether two expressions are written alike.
func same(x, y *ir.Scalar) bool { return alike(x, nil, y) }

// alike says whether y is x with what stands for axes; those that stand for nothing yet stand
// for what is found in their place.
func alike(x *ir.Scalar, sub map[*ir.Axis]*ir.Scalar, y *ir.Scalar) bool {
	if x.Op == ir.OpAxis {
		is, ok := sub[x.Axis]
		switch {
		case !ok:
			return y.Op == ir.OpAxis && y.Axis == x.Axis
		case is == nil:
			sub[x.Axis] = y
			return y.Op == ir.OpAxis
		}
		return same(is, y)
	}
	if x == y && len(sub) == 0 {
		return true
	}
	if x.Op != y.Op || x.DType != y.DType || x.Buf != y.Buf || len(x.Args) != len(y.Args) || x.Cast != y.Cast {
		return false
	}
	switch x.Op {
	case ir.OpLit:
		return tensor.Equal(x.Lit, y.Lit)
	case ir.OpSym:
		return x.Sym.Equal(y.Sym)
	}
	for i := range x.Args {
		if !alike(x.Args[i], sub, y.Args[i]) {
			return false
		}
	}
	return true
}

// within says whether what was found in the place of a reduction's axes are positions that it goes over.
func within(s *ir.Stage, sub map[*ir.Axis]*ir.Scalar) bool {
	for _, r := range s.Red {
		if y := sub[r]; y == nil || !y.Axis.Extent.Equal(r.Extent) {
			return false
		}
	}
	return true
}

// defined gives the stage that defines what is loaded, and what stands for its axes at that
// point: its reduction axes are open.
func (a *RaggedProgram) defined(load *ir.Scalar) (s *ir.Stage, sub map[*ir.Axis]*ir.Scalar) {
	if load.Op != ir.OpLoad || a.defs[load.Buf] == nil || len(a.defs[load.Buf].Outs) != 1 {
		return nil, nil
	}
	s = a.defs[load.Buf]
	sub = map[*ir.Axis]*ir.Scalar{}
	for i, x := range s.Axes {
		sub[x] = load.Args[i]
	}
	for _, x := range s.Red {
		sub[x] = nil
	}
	return s, sub
}

// inline is what a load of a map is, in the place of the load.
func (a *RaggedProgram) inline(x *ir.Scalar) (*ir.Scalar, bool) {
	s, sub := a.defined(x)
	if s == nil || s.Kind != ir.MapStage {
		return x, false
	}
	return s.Exprs[0].Rewrite(func(y *ir.Scalar) *ir.Scalar {
		if y.Op == ir.OpAxis && sub[y.Axis] != nil {
			return sub[y.Axis]
		}
		return y
	}), true
}

// belowMax says whether x is a difference to the largest of what the minuend is one of.
func (a *RaggedProgram) belowMax(x *ir.Scalar) bool {
	s, sub := a.defined(x.Args[1])
	return s != nil && s.Kind == ir.ReduceStage && s.Monoid == ir.Max && alike(s.Exprs[0], sub, x.Args[0]) && within(s, sub)
}

// hasOne says whether one of the terms of a sum is 1: exponentials of differences to the largest
// along the axes of the sum.
func (a *RaggedProgram) hasOne(s *ir.Stage) bool {
	x, _ := a.inline(s.Exprs[0])
	if x.Op != ir.OpExp || x.Args[0].Op != ir.OpSub {
		return false
	}
	most, sub := a.defined(x.Args[0].Args[1])
	if most == nil || most.Kind != ir.ReduceStage || most.Monoid != ir.Max || len(most.Red) != len(s.Red) || !alike(most.Exprs[0], sub, x.Args[0].Args[0]) {
		return false
	}
	for _, k := range s.Red {
		found := false
		for _, m := range most.Red {
			found = found || sub[m] != nil && sub[m].Axis == k && m.Extent.Equal(k.Extent)
		}
		if !found {
			return false
		}
	}
	return true
}

// normed bounds a product or quotient d/√u, where u is no less than a part of the sum of the
// squares of which d's is one: what a normalisation makes of a row, whatever the row is. So it bounds the root of the sum
// of all of their squares, along the axes of the sum.
func (e *raggedEval) normed(x *ir.Scalar) (most float64, over []*ir.Axis, ok bool) {
	if x.Op == ir.OpDiv {
		return e.overRoot(x.Args[0], x.Args[1])
	}
	for i, f := range x.Args { // by a reciprocal
		if y, inlined := e.inline(f); inlined {
			f = y
		}
		if f.Op != ir.OpDiv {
			continue
		}
		if most, over, ok := e.overRoot(x.Args[1-i], f.Args[1]); ok {
			by := e.ranger.eval(f.Args[0])
			return most * by.largest(), over, by.Finite()
		}
	}
	return 0, nil, false
}

func (e *raggedEval) overRoot(d, root *ir.Scalar) (most float64, over []*ir.Axis, ok bool) {
	if y, inlined := e.inline(root); inlined {
		root = y
	}
	if root.Op != ir.OpSqrt {
		return 0, nil, false
	}
	part, over, ok := e.squares(root.Args[0], d, 1)
	return (1 + rounding) / math.Sqrt(part), over, ok
}

// squares says of which part of a sum of squares, one of which is d's, u is no less, and the axes that the sum goes over.
func (e *raggedEval) squares(u, d *ir.Scalar, depth int) (part float64, over []*ir.Axis, ok bool) {
	if depth > 8 {
		return 0, nil, false
	}
	if s, sub := e.defined(u); s != nil && s.Kind == ir.ReduceStage {
		x := s.Exprs[0]
		if s.Monoid != ir.Sum || x.Op != ir.OpMul || !same(x.Args[0], x.Args[1]) || !alike(x.Args[0], sub, d) || !within(s, sub) {
			return 0, nil, false
		}
		for _, r := range s.Red {
			over = append(over, sub[r].Axis)
		}
		return 1, over, true
	}
	if y, inlined := e.inline(u); inlined {
		return e.squares(y, d, depth+1)
	}
	switch u.Op {
	case ir.OpAdd, ir.OpMax:
		for i, x := range u.Args {
			if part, over, ok := e.squares(x, d, depth+1); ok {
				return part, over, u.Op == ir.OpMax || e.ranger.eval(u.Args[1-i]).Lo >= 0
			}
		}
	case ir.OpDiv, ir.OpMul:
		for i, x := range u.Args {
			by := e.ranger.eval(u.Args[1-i])
			part, over, ok := e.squares(x, d, depth+1)
			switch {
			case !ok || by.NaN || by.Lo <= 0 || math.IsInf(by.Hi, 1):
			case u.Op == ir.OpMul:
				return part * by.Lo, over, true
			case i == 0:
				return part / by.Hi, over, true
			}
		}
	}
	return 0, nil, false
}
