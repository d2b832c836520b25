package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
)

// Skip is a buffer that a sum of products reads in a factor, in which there may be many zeros: a term
// that has one adds nothing, and may be left out where all else in it is finite.
type Skip struct {
	Stage   *ir.Stage
	Buffer  *ir.Buffer
	Inverse bool // a term is zero where the buffer, a mask, is not, so that its factor has to be computed ahead (MaskedFactor)
	Zeros   *Zeros
	Axes    []*ir.Axis // along which positions without anything else than zeros may be left out
	Finite  bool       // all else in the terms is proved finite; a run is to look otherwise
	Open    string     // what is not proved finite, in words
	Why     string     // why nothing can be left out after all; empty: it can
}

// Skips tells of the buffers of a sum of products in which there may be many zeros.
func (c *CallFacts) Skips(s *ir.Stage) (out []Skip) {
	if _, _, product := Factors(s); !product || s.Out().DType.IsComplex() {
		return nil
	}
	for _, b := range s.Reads() {
		if !inTerm(s.Exprs[0], b) {
			continue // it says where something is
		}
		z := c.Zeros(b)
		if z == nil && b.DType.IsFloat() && c.gate(s, s.Exprs[0], b) {
			z = &Zeros{Kind: Masked, Of: c.origin(b), Why: fmt.Sprintf("where %s is 0", c.nameOf(b)), Node: c.stmt.Place()}
		}
		inverse := false
		if z == nil {
			z, inverse = c.switches(s, b)
		}
		if rows := c.rowsOf(s.Exprs[0], b); z == nil && rows != nil {
			z = rows[0].of
		}
		if z == nil {
			continue
		}
		k := Skip{Stage: s, Buffer: b, Zeros: z, Inverse: inverse}
		finite, ok := c.term(s, b)
		if inverse {
			finite, ok = c.inverse(s, b)
		}
		if !ok && z.Kind == Contained {
			continue // a bias, or what is chosen where a mask says
		}
		for _, a := range PITAxes(s) {
			if dependsOn(s, b, a) && !c.Say(a.Extent).IsInt(1) {
				k.Axes = append(k.Axes, a)
			}
		}
		switch {
		case !ok && inverse:
			k.Why = "it is no part of a factor that could be computed ahead"
		case !ok:
			k.Why = "a term is not zero where it is"
		case len(k.Axes) == 0:
			k.Why = "no axis that it has may be permuted"
			for _, a := range Axes(&ir.Program{Params: s.Reads(), Results: s.Outs, Stages: []*ir.Stage{s}}) {
				if a.Why != "" && slices.ContainsFunc(a.Stages, func(x StageAxis) bool { return dependsOn(s, b, x.Axis) }) {
					k.Why += ": " + a.Why
					break
				}
			}
		}
		if k.Finite = finite; !finite && k.Why == "" {
			k.Open = c.open(s, b)
		}
		out = append(out, k)
	}
	return out
}

// inTerm says whether a value of a buffer, and not only a position, is in an expression.
func inTerm(x *ir.Scalar, b *ir.Buffer) bool {
	found := false
	x.Walk(func(y *ir.Scalar) bool {
		found = found || y.Op == ir.OpLoad && y.Buf == b
		return y.Op != ir.OpLoad
	})
	return found
}

// switches says whether a truth value or an integer that a sum of products reads, or a number that is compared, makes
// its terms zero: where it is not zero, if inverse.
func (c *CallFacts) switches(s *ir.Stage, b *ir.Buffer) (z *Zeros, inverse bool) {
	for _, t := range c.masks(s.Exprs[0], b) {
		if r := c.try(s.Exprs[0], t); r.Lo == 0 && r.Hi == 0 {
			return c.zeroBy(s, s.Exprs[0], t), t.r.Lo != 0
		}
	}
	return nil, false
}

// inverse says whether a mask that is in one factor alone, which can be computed ahead, makes that zero where it is 1; finite, that
// the other one is proved finite.
func (c *CallFacts) inverse(s *ir.Stage, b *ir.Buffer) (finite, ok bool) {
	x, y, _ := Factors(s)
	if inTerm(y, b) {
		x, y = y, x
	}
	if _, ahead := c.ahead(s, x); !ahead || inTerm(y, b) || s.Exprs[0].Op != ir.OpMul {
		return false, false
	}
	if r := c.try(x, trial{b: b, r: Exactly(1), mask: true}); r.Lo != 0 || r.Hi != 0 {
		return false, false
	}
	return c.ranges.ranger().eval(y).Finite(), true
}

// term says what is left out of a sum of products where a buffer is zero: ok is false where the
// terms are not zero then. finite says that all else in them is proved finite.
func (c *CallFacts) term(s *ir.Stage, b *ir.Buffer) (finite, ok bool) {
	if s.Kind != ir.ReduceStage || s.Monoid != ir.Sum {
		return false, false
	}
	x := s.Exprs[0]
	if r := c.try(x, trial{b: b, r: Exactly(0)}); r.Lo != 0 || r.Hi != 0 {
		return false, false
	}
	var loads []*ir.Scalar // of b, at different places: one of them is zero
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpLoad && y.Buf == b && !slices.ContainsFunc(loads, func(l *ir.Scalar) bool { return same(l, y) }) {
			loads = append(loads, y)
		}
		return true
	})
	// A zero of one factor is one whatever made it, so that the other one has to be finite, which zeros of b may be all that says.
	l, r, _ := Factors(s)
	whole := c.ranges.ranger()
	finite = (!inTerm(l, b) || whole.eval(r).Finite()) && (!inTerm(r, b) || whole.eval(l).Finite())
	for _, l := range loads {
		e := c.ranges.ranger()
		e.load = func(y *ir.Scalar) Interval {
			if y.Buf == b && same(l, y) {
				return Interval{}
			}
			return c.ranges.load(y)
		}
		finite = finite && e.eval(x).Zero()
	}
	return finite, true
}

// dependsOn says whether what a stage reads of a buffer depends on the position along an axis.
func dependsOn(s *ir.Stage, b *ir.Buffer, a *ir.Axis) bool {
	found := false
	s.Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpLoad && x.Buf == b {
			x.Walk(func(y *ir.Scalar) bool { found = found || y.Op == ir.OpAxis && y.Axis == a; return !found })
		}
		return !found
	})
	return found
}

// open tells what else of a term is not proved finite.
func (c *CallFacts) open(s *ir.Stage, b *ir.Buffer) string {
	var names []string
	for _, o := range s.Reads() {
		if r := c.Range(o); o != b && !r.Finite() {
			what := "may be infinite"
			switch {
			case r == anything && c.constant(o) != nil:
				what = "is too large to be read while compiling"
			case r.NaN && r.infinite():
				what = "may be anything"
			case r.NaN:
				what = "may be no number"
			}
			names = append(names, fmt.Sprintf("%s %s", c.nameOf(o), what))
		}
	}
	if names == nil {
		return "the product of the others may overflow"
	}
	return strings.Join(names, ", ")
}
