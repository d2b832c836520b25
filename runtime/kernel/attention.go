package kernel

import (
	"bytes"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Attention is stages that sum up values which a softmax of scores weighs, over one axis, the keys:
//
//	S[r, k] = sum(f) Q * K
//	M[r]    = max(k) X            X is made of S[r, k] and what else is known of r and k
//	L[r]    = sum(k) exp(X - M[r])
//	O[r, d] = sum(k) exp(X - M[r]) / L[r] * V[k, d]
//
// in any number of stages, or with the division behind the sum. With any number m[r] in the place of the maximum the quotient
// is the same, and the division may come last; so sums over some keys after others can be kept, with the largest X so far as m
// and a factor that brings them to another one, and no row of S, X or the weights is needed as a
// whole (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al.,
// "FlashAttention", 2022). What a row becomes of which X is infinite or NaN is as in the stages. Where a weighed sum is
// larger than the largest number though the weights' sum is 1, it is infinite here.
type Attention struct {
	ir.Range
	Scores *ir.Stage  // S
	Out    *ir.Stage  // O
	X      *ir.Scalar // over the axes of Scores, where it loads S at the very axes
	Key    int        // which of them goes over keys
	At     []*ir.Axis // of Out, for each axis of Scores, that of keys reduced; nil for one position
	Value  *ir.Scalar // the factor V of Out
	Safe   bool       // a weight that is NaN counts 0

	Result *ir.Stage // the last stage: Out, or a map that moves what it has, or divides it
	To     []Place   // of each axis of Out
}

// Place says what a position along an axis is in the result: so many positions along an axis of that. No
// axis where there is one position.
type Place struct {
	Axis  *ir.Axis
	Times sym.Expr
}

// Attentions finds the attentions of a program whose stages stand beside each other and hand
// nothing but the result on.
func Attentions(p *ir.Program) (out []*Attention) {
	f := &finder{p: p, defs: map[*ir.Buffer]definition{}}
	for i, s := range p.Stages {
		scores := s.Kind == ir.ReduceStage && s.Monoid == ir.Sum && s.Exprs[0].Op == ir.OpMul
		for _, b := range s.Reads() {
			if d, ok := f.defs[b]; ok {
				scores = scores || f.scored[d.stage]
			}
		}
		for j, b := range s.Outs {
			f.defs[b] = definition{i, j}
		}
		f.scored = append(f.scored, scores)
	}
	for i := range p.Stages {
		if a := f.find(i); a != nil {
			f.place(a)
			out = append(out, a)
		}
	}
	return out
}

type definition struct{ stage, out int }

// finder looks for attentions in a program.
type finder struct {
	p      *ir.Program
	defs   map[*ir.Buffer]definition
	scored []bool       // stages that depend on a sum of products
	used   map[int]bool // stages of the attention
}

// find recognises stage i as the last one of an attention.
func (f *finder) find(i int) *Attention {
	s := f.p.Stages[i]
	if s.Kind != ir.ReduceStage || s.Monoid != ir.Sum || len(s.Red) != 1 || s.Exprs[0].Op != ir.OpMul || s.Out().DType != tensor.F32 {
		return nil
	}
	for n := range 2 {
		f.used = map[int]bool{}
		if a := f.weighed(i, s.Exprs[0].Args[n], s.Exprs[0].Args[1-n]); a != nil {
			return a
		}
	}
	return nil
}

// weighed recognises the factors of stage i as a weight and a value.
func (f *finder) weighed(i int, weight, value *ir.Scalar) *Attention {
	s := f.p.Stages[i]
	a := &Attention{Range: ir.Range{First: i, Last: i}, Out: s, Value: value}
	w := f.inline(weight)
	if w.Op == ir.OpSelect && w.Args[0].Op == ir.OpIsNaN && w.Args[1].Op == ir.OpLit && w.Args[1].Lit.Float(0) == 0 && same(w.Args[0].Args[0], w.Args[2]) {
		w, a.Safe = w.Args[2], true
	}
	e, key := w, s.Red[0]
	if w.Op == ir.OpDiv {
		e = w.Args[0]
	}
	if e.Op != ir.OpExp || e.Args[0].Op != ir.OpSub || e == w && a.Safe {
		return nil
	}
	x := e.Args[0].Args[0]
	if !f.reduces(e.Args[0].Args[1], ir.Max, key, x) {
		return nil
	}
	if e == w {
		if !f.divided(a, e) {
			return nil
		}
	} else if !f.reduces(w.Args[1], ir.Sum, key, e) {
		return nil
	}
	if !f.score(a, x) {
		return nil
	}
	for j := range f.used {
		a.First = min(a.First, j)
	}
	inside := f.p.Inside(a.Range)
	for j := a.First; j < a.Last; j++ {
		if j != i && !f.used[j] || slices.ContainsFunc(f.p.Stages[j].Outs, func(b *ir.Buffer) bool { return !slices.Contains(inside, b) }) {
			return nil
		}
	}
	alone := true
	value.Walk(func(y *ir.Scalar) bool {
		alone = alone && !(y.Op == ir.OpLoad && slices.Contains(inside, y.Buf))
		return alone
	})
	if !alone {
		return nil
	}
	return a
}

// divided recognises the stage that reads Out first as one that divides its sums by those of weights e, and maybe moves
// them.
func (f *finder) divided(a *Attention, e *ir.Scalar) bool {
	last := a.Last + 1
	for last < len(f.p.Stages) && !slices.Contains(f.p.Stages[last].Reads(), a.Out.Out()) {
		last++
	}
	if last == len(f.p.Stages) {
		return false
	}
	s := f.p.Stages[last]
	if s.Kind != ir.MapStage || len(s.Outs) != 1 || s.Out().DType != tensor.F32 {
		return false
	}
	y := f.inline(s.Exprs[0])
	var sum, by *ir.Scalar
	switch {
	case y.Op == ir.OpDiv:
		sum, by = y.Args[0], y.Args[1]
	case y.Op == ir.OpMul: // by the inverse
		for n := range 2 {
			if d := y.Args[n]; d.Op == ir.OpDiv && d.Args[0].Op == ir.OpLit && d.Args[0].Lit.Float(0) == 1 {
				sum, by = y.Args[1-n], d.Args[1]
			}
		}
	}
	if sum == nil || sum.Op != ir.OpLoad || sum.Buf != a.Out.Out() || by.Op != ir.OpLoad {
		return false
	}
	to, ok := places(s, a.Out, sum.Args)
	if !ok {
		return false
	}
	of := *by // over the axes of Out
	of.Args = nil
	for _, x := range by.Args {
		i := slices.IndexFunc(sum.Args, func(y *ir.Scalar) bool { return same(x, y) })
		if n, lit := x.AsInt(); lit && n == 0 {
			of.Args = append(of.Args, x)
		} else if i < 0 {
			return false
		} else {
			of.Args = append(of.Args, a.Out.Axes[i].Ix())
		}
	}
	if !f.reduces(&of, ir.Sum, a.Out.Red[0], e) {
		return false
	}
	a.Last, a.Result, a.To = last, s, to
	return true
}

// place finds where the result goes: a map behind it may say so.
func (f *finder) place(a *Attention) {
	if a.Result == nil {
		a.Result = a.Out
		for _, ax := range a.Out.Axes {
			a.To = append(a.To, Place{ax, sym.Const(1)})
		}
	}
	if a.Last+1 == len(f.p.Stages) || slices.ContainsFunc(a.To, func(p Place) bool { return p.Axis == nil || !p.Times.IsInt(1) }) {
		return
	}
	s, r := f.p.Stages[a.Last+1], ir.Range{First: a.First, Last: a.Last + 1}
	if s.Kind != ir.MapStage || len(s.Outs) != 1 || s.Exprs[0].Op != ir.OpLoad || s.Exprs[0].Buf != a.Result.Out() || !slices.Contains(f.p.Inside(r), a.Result.Out()) {
		return
	}
	to, ok := places(s, a.Result, s.Exprs[0].Args)
	if !ok {
		return
	}
	by, axes := a.To, a.Result.Axes
	a.Range, a.Result, a.To = r, s, nil
	for _, p := range by {
		a.To = append(a.To, to[slices.Index(axes, p.Axis)])
	}
}

// places says where the elements of a stage go that another one reads at an index; false unless
// each of them goes to one place. An axis may be two of the stage, of which one is inner.
func places(s, of *ir.Stage, index []*ir.Scalar) (out []Place, ok bool) {
	read := map[*ir.Axis]sym.Expr{} // how many positions are told apart
	for i, x := range index {
		n := of.Axes[i].Extent
		if lit, ok := x.AsInt(); ok && lit == 0 && n.IsInt(1) {
			out = append(out, Place{Times: sym.Const(0)})
			continue
		}
		p := Place{Times: sym.Const(1)}
		switch {
		case x.Op == ir.OpAxis:
			p.Axis = x.Axis
		case (x.Op == ir.OpFloorDiv || x.Op == ir.OpMod) && x.Args[0].Op == ir.OpAxis:
			by, ok := x.Args[1].Symbolic()
			if !ok || x.Op == ir.OpMod && !by.Equal(n) {
				return nil, false
			}
			if p.Axis = x.Args[0].Axis; x.Op == ir.OpFloorDiv {
				p.Times = by
			}
		default:
			return nil, false
		}
		if was, ok := read[p.Axis]; ok {
			n = n.Mul(was)
		}
		read[p.Axis] = n
		out = append(out, p)
	}
	for _, ax := range s.Axes {
		if n, ok := read[ax]; !(ok && n.Equal(ax.Extent)) && !(!ok && ax.Extent.IsInt(1)) {
			return nil, false
		}
	}
	// Both parts of an axis: how many positions the inner one has is what the outer one counts by.
	for i, p := range out {
		inner := sym.Const(1)
		for j, q := range out {
			if j != i && q.Axis == p.Axis && p.Axis != nil {
				if q.Times.Equal(p.Times) {
					return nil, false
				}
				if q.Times.IsInt(1) {
					inner = of.Axes[j].Extent
				}
			}
		}
		if p.Axis != nil && !p.Times.Equal(inner) {
			return nil, false
		}
	}
	return out, true
}

// reduces says whether x is a load of what a stage reduces expr to, along its axis that is key
// here.
func (f *finder) reduces(x *ir.Scalar, m ir.Monoid, key *ir.Axis, expr *ir.Scalar) bool {
	d, ok := f.defs[x.Buf]
	if x.Op != ir.OpLoad || !ok || slices.ContainsFunc(x.Args, func(i *ir.Scalar) bool { return along(i, key) }) {
		return false
	}
	s := f.p.Stages[d.stage]
	if s.Kind != ir.ReduceStage || s.Monoid != m || len(s.Red) != 1 || !s.Red[0].Extent.Equal(key.Extent) {
		return false
	}
	f.used[d.stage] = true
	return same(f.inline(at(s.Exprs[0], s, append(slices.Clone(x.Args), key.Ix()))), expr)
}

// score finds the one sum of products in x, and says it over its axes.
func (f *finder) score(a *Attention, x *ir.Scalar) bool {
	var load *ir.Scalar
	ok := true
	x.Walk(func(y *ir.Scalar) bool {
		if d, there := f.defs[y.Buf]; y.Op == ir.OpLoad && there && f.scored[d.stage] {
			ok = ok && (load == nil || same(load, y))
			load = y
			return false
		}
		return true
	})
	if !ok || load == nil {
		return false
	}
	d := f.defs[load.Buf]
	s := f.p.Stages[d.stage]
	if s.Kind != ir.ReduceStage || s.Monoid != ir.Sum || s.Exprs[0].Op != ir.OpMul || s.Out().DType != tensor.F32 {
		return false
	}
	f.used[d.stage] = true
	a.Scores, a.Key = s, -1
	to := map[*ir.Axis]*ir.Scalar{}
	for i, ix := range load.Args {
		switch n, lit := ix.AsInt(); {
		case lit && n == 0 && s.Axes[i].Extent.IsInt(1):
			a.At = append(a.At, nil)
			continue
		case ix.Op != ir.OpAxis || to[ix.Axis] != nil || !ix.Axis.Extent.Equal(s.Axes[i].Extent):
			return false
		case ix.Axis == a.Out.Red[0]:
			a.Key = i
		}
		to[ix.Axis] = s.Axes[i].Ix()
		a.At = append(a.At, ix.Axis)
	}
	a.X = x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
		if y.Op != ir.OpAxis {
			return y
		}
		if to[y.Axis] == nil {
			ok = false
			return y
		}
		return to[y.Axis]
	})
	return ok && a.Key >= 0
}

// inline says an expression without the maps between it and a sum of products.
func (f *finder) inline(x *ir.Scalar) *ir.Scalar {
	return x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
		if y.Op != ir.OpLoad {
			return y
		}
		d, ok := f.defs[y.Buf]
		if !ok || !f.scored[d.stage] || f.p.Stages[d.stage].Kind != ir.MapStage {
			return y
		}
		f.used[d.stage] = true
		s := f.p.Stages[d.stage]
		return f.inline(at(s.Exprs[d.out], s, y.Args))
	})
}

// at is an expression of a stage at an index: of its axes, and behind them of the reduced ones.
func at(x *ir.Scalar, s *ir.Stage, index []*ir.Scalar) *ir.Scalar {
	axes := s.AllAxes()
	return x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
		if y.Op == ir.OpAxis {
			return index[slices.Index(axes, y.Axis)]
		}
		return y
	})
}

// along says whether an expression mentions an axis.
func along(x *ir.Scalar, a *ir.Axis) (found bool) {
	x.Walk(func(y *ir.Scalar) bool {
		found = found || y.Op == ir.OpAxis && y.Axis == a
		return !found
	})
	return found
}

// same says whether two expressions are one by their form.
func same(x, y *ir.Scalar) bool {
	type pair struct{ x, y *ir.Scalar }
	seen := map[pair]bool{}
	var is func(x, y *ir.Scalar) bool
	is = func(x, y *ir.Scalar) bool {
		if x == y || seen[pair{x, y}] {
			return true
		}
		if x.Op != y.Op || x.DType != y.DType || x.Axis != y.Axis || x.Buf != y.Buf || x.Cast != y.Cast || len(x.Args) != len(y.Args) ||
			x.Op == ir.OpSym && !x.Sym.Equal(y.Sym) || x.Op == ir.OpLit && !bytes.Equal(x.Lit.Bytes(), y.Lit.Bytes()) {
			return false
		}
		for i := range x.Args {
			if !is(x.Args[i], y.Args[i]) {
				return false
			}
		}
		seen[pair{x, y}] = true
		return true
	}
	return is(x, y)
}
