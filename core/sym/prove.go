package sym

import (
	"math"
	"slices"
)

// Truth is the answer of a proof.
type Truth int8

// Unknown is a normal answer: proofs are sound, not complete.
const (
	Unknown Truth = iota
	True
	False
)

func truth(isTrue, isFalse bool) Truth {
	switch {
	case isTrue:
		return True
	case isFalse:
		return False
	}
	return Unknown
}

var one = Const(1)

// Equal says whether a and b are equal: True if they are for all values of the symbols
// that the constraints allow and that both have a value for, False if for none.
func (c *Context) Equal(a, b Expr) Truth {
	if firstErr(a, b) != nil {
		return Unknown
	}
	if x, ok := a.Int(); ok {
		if y, ok := b.Int(); ok {
			return truth(x == y, x != y)
		}
	}
	if a.Equal(b) {
		return True
	}
	return c.equalTo(a, b, func() Truth {
		d := a.Sub(b)
		return remember(c, "equal", d, func() Truth { return c.isZero(d) })
	})
}

// isZero says whether d is 0.
func (c *Context) isZero(d Expr) Truth {
	d = c.Simplify(d)
	if d.Err() != nil {
		return Unknown
	}
	if n, ok := d.Int(); ok {
		return truth(n == 0, n != 0)
	}
	ts, k := d.splitConst()
	g := uint64(0)
	for _, t := range ts {
		g = gcd(magnitude(c.multipleOf(t)), g)
	}
	if magnitude(k)%g != 0 {
		return False
	}
	if c.zeroByEqualities(d) || c.prove(d) && c.prove(d.Neg()) {
		return True
	}
	if c.prove(d.Sub(one)) || c.prove(d.Neg().Sub(one)) {
		return False
	}
	if d.p.size > maxGoal {
		return Unknown
	}
	values, ok := c.newProof(d).enumerate()
	return truth(false, ok && !values.zero)
}

// LE says whether a <= b, for the values that Equal speaks of.
func (c *Context) LE(a, b Expr) Truth {
	if x, ok := a.Int(); ok {
		if y, ok := b.Int(); ok {
			return truth(x <= y, x > y)
		}
	}
	d := b.Sub(a)
	return remember(c, "at least 0", d, func() Truth {
		d := c.Simplify(d)
		return truth(c.prove(d), c.prove(d.Neg().Sub(one)))
	})
}

// Swallows says that a broadcast of dims a and s, where it is legal, is s: it could only be
// something else where s is 1 and a is not.
func (c *Context) Swallows(s, a Expr) bool {
	return remember(c, "swallows "+a.Key(), s, func() bool {
		switch c.Equal(s, one) {
		case True:
			return c.Equal(a, one) == True
		case False:
			return true
		}
		given := c.Clone()
		return given.AssumeEqual(s, one) != nil || given.Equal(a, one) == True
	})
}

// LT says whether a < b, for the values that Equal speaks of.
func (c *Context) LT(a, b Expr) Truth { return c.LE(a.Add(one), b) }

// Divides says whether e is a multiple of d, for the values that Equal speaks of. Of 0
// only 0 is a multiple.
func (c *Context) Divides(d, e Expr) Truth {
	d, e = c.Simplify(d), c.Simplify(e)
	if firstErr(d, e) != nil {
		return Unknown
	}
	if d.p == nil || e.p == nil {
		return c.Equal(e, Expr{})
	}
	if _, r := longDivision(e, d); r.p == nil {
		return True
	}
	if !c.nonzero(d) {
		return Unknown
	}
	return c.Equal(e.Mod(d), Expr{})
}

// Bounds gives an interval that e lies in, for the values that Equal speaks of;
// math.MinInt64 and Inf are no bound.
func (c *Context) Bounds(e Expr) (lo, hi int64) {
	r := remember(c, "bounds", e, func() interval {
		lo, hi := c.bounds(e)
		return interval{lo, hi}
	})
	return r.lo, r.hi
}

func (c *Context) bounds(e Expr) (lo, hi int64) {
	s := c.Simplify(e)
	if n, ok := s.Int(); ok {
		return n, n
	}
	r := c.rangeOf(s).and(c.rangeOf(e))
	if s.Err() != nil || r.lo == r.hi || s.p.size > maxGoal {
		return r.lo, r.hi
	}
	p := c.newProof(s)
	if values, ok := p.enumerate(); ok {
		return values.lo, values.hi
	}
	if lo := p.lower(Inf); lo > r.lo {
		r.lo = lo
	}
	if hi := mulEnd(c.newProof(s.Neg()).lower(Inf), -1); hi < r.hi {
		r.hi = hi
	}
	return r.lo, r.hi
}

// zeroByEqualities says whether d is a multiple of an equality, up to the others.
func (c *Context) zeroByEqualities(d Expr) bool {
	if c == nil {
		return false
	}
	for _, z := range c.zeros {
		for _, t := range d.terms() {
			for _, u := range z.e.terms() {
				if k, ok := t.over(u); ok && len(u.mono) > 0 {
					if r := c.reduce(d.Sub(k.expr().Mul(z.e))); r.p == nil {
						return true
					}
				}
			}
		}
	}
	return false
}

// prove says whether d >= 0 is proved. Nothing in d has a solution by an equality.
func (c *Context) prove(d Expr) bool {
	if d.Err() != nil {
		return false
	}
	if n, ok := d.Int(); ok {
		return n >= 0
	}
	if c.rangeOf(d).lo >= 0 {
		return true
	}
	if d.p.size > maxGoal {
		return false
	}
	p := c.newProof(d)
	if p.refuted() {
		return false
	}
	if p.lower(0) >= 0 || p.byResidues() {
		return true
	}
	values, ok := p.enumerate()
	return ok && values.lo >= 0
}

// proof is a question about the least value of goal. In it every symbol counts from the
// least value on that it may have, in steps of what it is a multiple of: so almost all
// are at least 0, and a term with a positive coefficient is too.
type proof struct {
	goal   Expr
	facts  []Expr // each at least 0
	within map[string]interval
	effort *int // terms that the search may still write
}

// Limits of a proof.
const (
	maxGoal   = 256  // size
	maxFacts  = 24   // constraints that take part
	maxChain  = 5    // constraints that are combined
	maxEffort = 2000 // terms that are written
	maxCases  = 512  // values of the symbols that are tried
)

func (c *Context) newProof(goal Expr) *proof {
	p := &proof{goal: goal, within: map[string]interval{}, effort: new(int)}
	*p.effort = maxEffort
	p.facts = c.related(goal)
	list := append([]Expr{goal}, p.facts...)
	shift := func(name string) (Expr, bool) {
		r, k := c.symbolRange(name), c.Multiple(name)
		x := Var(name)
		switch {
		case !isInf(r.lo): // name = lo + k*x
			p.within[name] = interval{0, addEnd(r.hi, -r.lo) / k}
			if isInf(r.hi) {
				p.within[name] = naturals
			}
			if r.lo == 0 && k == 1 { // it counts so by itself
				return x, false
			}
			return x.scale(k).Add(Const(r.lo)), true
		case !isInf(r.hi):
			p.within[name] = naturals
			return Const(r.hi).Sub(x.scale(k)), true
		}
		p.within[name] = everything
		return x.scale(k), true
	}
	for i, e := range list {
		list[i] = e.Subst(shift)
	}
	p.goal = list[0]
	p.facts = slices.DeleteFunc(list[1:], func(e Expr) bool { return e.Err() != nil || e.p != nil && e.p.size > maxGoal })
	return p
}

// related gives the constraints that share a symbol with e, or with another one that
// does. Of too many, those take part first that are of no other symbols than e.
func (c *Context) related(e Expr) []Expr {
	if c == nil || len(c.nonneg)+len(c.zeros) == 0 {
		return nil
	}
	var out []Expr
	all := slices.Clone(c.nonneg)
	for _, z := range c.zeros {
		all = append(all, z.e, z.e.Neg())
	}
	goal := e.Symbols()
	symbols := slices.Clone(goal)
	for changed := true; changed; {
		changed = false
		var left []Expr
		for _, g := range all {
			own := g.Symbols()
			if !slices.ContainsFunc(own, func(s string) bool { return slices.Contains(symbols, s) }) {
				left = append(left, g)
				continue
			}
			out, symbols, changed = append(out, g), append(symbols, own...), true
		}
		all = left
	}
	if len(out) > maxFacts {
		var near, far []Expr
		for _, g := range out {
			if slices.ContainsFunc(g.Symbols(), func(s string) bool { return !slices.Contains(goal, s) }) {
				far = append(far, g)
			} else {
				near = append(near, g)
			}
		}
		out = append(near, far...)[:maxFacts]
	}
	return out
}

func (p *proof) rangeOf(e Expr) interval { return ranges(p.symbolRange).of(e) }

func (p *proof) symbolRange(name string) interval {
	if r, ok := p.within[name]; ok {
		return r
	}
	return everything
}

// lower is a number that the goal is not below, math.MinInt64 if none is found. The
// search ends when it is at least want.
func (p *proof) lower(want int64) int64 {
	return p.byCases(p.goal, p.facts, want)
}

// byCases searches, and tells the operands of a minimum or maximum apart if that is not
// enough.
func (p *proof) byCases(goal Expr, facts []Expr, want int64) int64 {
	if goal.Err() != nil || *p.effort < 0 {
		return math.MinInt64
	}
	best := p.search(p.expand(goal), p.close(goal, facts), want, maxChain)
	a := innermostExtreme(goal)
	if best >= want || a == nil {
		return best
	}
	worst := int64(Inf)
	for i, x := range a.args {
		put := func(e Expr) Expr {
			return e.replace(func(b *atom) (Expr, bool) { return x, compareAtom(a, b) == 0 })
		}
		given := mapExprs(facts, put)
		for j, y := range a.args { // x is the extreme one
			switch {
			case j == i:
			case a.kind == minAtom:
				given = append(given, y.Sub(x))
			default:
				given = append(given, x.Sub(y))
			}
		}
		if worst = min(worst, p.byCases(put(goal), given, want)); worst < want && worst <= best {
			return best
		}
	}
	return max(best, worst)
}

// innermostExtreme finds a minimum or maximum in e without another one inside.
func innermostExtreme(e Expr) *atom {
	var found *atom
	e.eachAtom(func(a *atom) bool {
		if a.kind == minAtom || a.kind == maxAtom {
			found = a // what is inside of it comes later
			for _, x := range a.args {
				if b := innermostExtreme(x); b != nil {
					found = b
				}
			}
		}
		return found == nil
	})
	return found
}

// expand writes remainders as quotients, about which close has facts.
func (p *proof) expand(e Expr) Expr {
	out := e.replace(func(a *atom) (Expr, bool) {
		if a.kind != modAtom || p.rangeOf(a.args[1]).lo <= 0 {
			return Expr{}, false
		}
		return p.expand(a.args[0]).Sub(p.expand(a.args[1]).Mul(a.args[0].FloorDiv(a.args[1]))), true
	})
	if out.Err() != nil {
		return e
	}
	return out
}

// close adds what holds of the symbols and atoms in goal and facts by themselves.
func (p *proof) close(goal Expr, facts []Expr) []Expr {
	out := mapExprs(facts, p.expand)
	var seen []*atom
	add := func(e Expr) {
		*p.effort -= len(e.terms())
		if e.Err() == nil && len(out) < 4*maxFacts {
			out = append(out, e)
		}
	}
	about := func(a *atom) bool {
		if slices.ContainsFunc(seen, func(b *atom) bool { return compareAtom(a, b) == 0 }) {
			return true
		}
		seen = append(seen, a)
		x := ofAtom(a)
		switch a.kind {
		case symbolAtom:
			if r := p.symbolRange(a.name); !isInf(r.hi) {
				add(Const(r.hi).Sub(x))
			}
		case floorDivAtom, modAtom:
			n, d := a.args[0], a.args[1]
			if p.rangeOf(d).lo > 0 {
				rest := p.expand(n).Sub(p.expand(d).Mul(n.FloorDiv(d))) // in [0, d)
				add(rest)
				add(p.expand(d).Sub(one).Sub(rest))
			}
		case minAtom:
			for _, y := range a.args {
				add(p.expand(y).Sub(x))
			}
		case maxAtom:
			for _, y := range a.args {
				add(x.Sub(p.expand(y)))
			}
		}
		return true
	}
	goal.eachAtom(about)
	for _, g := range facts {
		g.eachAtom(about)
	}
	return slices.DeleteFunc(out, func(e Expr) bool { return e.Err() != nil })
}

// search subtracts facts times what is not negative, each so that a term goes, first those
// that have no lower bound: what is left is bounded by the bounds of its terms.
func (p *proof) search(d Expr, facts []Expr, want int64, chain int) int64 {
	best := p.rangeOf(d).lo
	if best >= want || chain == 0 || d.Err() != nil {
		return best
	}
	unbounded := isInf(best)
	for _, t := range d.terms() {
		own := point(t.coef).mul(ranges(p.symbolRange).ofMono(t.mono))
		if len(t.mono) == 0 || own.lo == own.hi || unbounded && !isInf(own.lo) {
			continue
		}
		for _, g := range facts {
			for _, u := range g.terms() {
				m, ok := t.mono.over(u.mono)
				if !ok || len(u.mono) == 0 || (t.coef < 0) != (u.coef < 0) || ranges(p.symbolRange).ofMono(m).lo < 0 {
					continue
				}
				if *p.effort < 0 {
					return best
				}
				// k*d = next + l*m*g, so d is at least next/k
				common := gcd(magnitude(t.coef), magnitude(u.coef))
				k, l := magnitude(u.coef)/common, magnitude(t.coef)/common
				if k > math.MaxInt64 || l > math.MaxInt64 {
					continue
				}
				next := d.scale(int64(k)).Sub(g.Mul(term{int64(l), m}.expr()))
				*p.effort -= len(next.terms()) + 1
				low := p.search(next, facts, addEnd(mulEnd(addEnd(want, -1), int64(k)), 1), chain-1)
				if !isInf(low) {
					low = -floorDiv(-low, int64(k))
				}
				if best = max(best, low); best >= want {
					return best
				}
			}
		}
		if unbounded { // this term had to go
			break
		}
	}
	return best
}
