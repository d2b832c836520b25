package sym

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// Context is what is known of symbols. A nil Context and the zero value know only that
// symbols are at least 0. It may be read concurrently, not written. What would
// contradict is refused with an error and changes nothing.
type Context struct {
	// What was said.
	facts map[string]fact
	eqs   [][2]Expr
	les   [][2]Expr

	// What follows, in the form that proofs use.
	solved map[string]Expr     // symbols by equalities; none of them occurs in an expression here
	zeros  []zero              // equalities that solve no symbol
	nonneg []Expr              // what is at least 0
	ranges map[string]interval // of symbols, where narrower than what facts say

	used map[string]bool // names that Fresh does not give; true if it gave them
	next map[string]int  // what Fresh counts, by prefix

	memo *memo // answers that were given; nil while the context changes
}

// fact is what SetRange and SetMultiple said of a symbol.
type fact struct {
	interval
	multiple int64
}

var defaultFact = fact{naturals, 1}

// NewContext is an empty set of constraints.
func NewContext() *Context { return &Context{memo: &memo{}} }

// Clone is a copy that can be added to on its own. Until then it knows the same, and shares
// the answers.
func (c *Context) Clone() *Context {
	n := c.clone()
	n.memo = new(memo)
	if c != nil && c.memo != nil {
		n.memo = c.memo
	}
	return n
}

// clone is a copy that keeps no answers, so that it may change.
func (c *Context) clone() *Context {
	if c == nil {
		return &Context{}
	}
	return &Context{
		facts: maps.Clone(c.facts), eqs: slices.Clip(c.eqs), les: slices.Clip(c.les),
		solved: maps.Clone(c.solved), zeros: slices.Clip(c.zeros), nonneg: slices.Clip(c.nonneg),
		ranges: maps.Clone(c.ranges), used: maps.Clone(c.used), next: maps.Clone(c.next),
	}
}

// update makes a change to a copy, which becomes the context if nothing contradicts.
// The error says what was to be made true.
func (c *Context) update(change func(*Context) error, format string, args ...any) error {
	n := c.clone()
	err := change(n)
	if err == nil {
		err = n.propagate()
	}
	if err != nil {
		return fmt.Errorf("%s contradicts what is known: %w", fmt.Sprintf(format, args...), err)
	}
	n.memo = &memo{}
	*c = *n
	return nil
}

// set adds to a map that may not be there yet.
func set[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = v
}

func (c *Context) fact(name string) fact {
	if c != nil {
		if f, ok := c.facts[name]; ok {
			return f
		}
	}
	return defaultFact
}

// SetRange says lo <= name <= hi, beside what is known; Inf is no upper bound. A
// negative lo is heard only as the first thing said of a symbol: it makes it one that
// may be negative.
func (c *Context) SetRange(name string, lo, hi int64) error {
	return c.update(func(c *Context) error {
		f := c.fact(name)
		if lo < 0 && !slices.Contains(c.Symbols(), name) {
			f.interval = everything
		}
		if f.interval = f.and(interval{lo, hi}); f.empty() {
			return fmt.Errorf("symbol %q: no number is from %d to %d", name, f.lo, f.hi)
		}
		return c.setFact(name, f)
	}, "symbol %q in [%d, %d]", name, lo, hi)
}

// SetMultiple says that a symbol is a multiple of k > 0, beside what is known.
func (c *Context) SetMultiple(name string, k int64) error {
	if k < 1 {
		return fmt.Errorf("symbol %q: a multiple of %d is asked for, want one of 1 or more", name, k)
	}
	return c.update(func(c *Context) error { return c.setMultiple(name, k) }, "symbol %q a multiple of %d", name, k)
}

func (c *Context) setMultiple(name string, k int64) error {
	f := c.fact(name)
	m, ok := mulInt64(f.multiple/int64(gcd(uint64(f.multiple), uint64(k))), k)
	if !ok {
		return fmt.Errorf("symbol %q: multiples of both %d and %d do not fit 64 bits", name, f.multiple, k)
	}
	f.multiple = m
	return c.setFact(name, f)
}

// setFact records what was said of a symbol, and what it means for the expression that
// an equality put in its place.
func (c *Context) setFact(name string, f fact) error {
	set(&c.facts, name, f)
	c.Reserve(name)
	if e, ok := c.solved[name]; ok {
		return c.transfer(f, e)
	}
	return c.narrow(name, f.interval)
}

// transfer records that e has the properties of a symbol that it takes the place of.
func (c *Context) transfer(f fact, e Expr) error {
	if f.multiple > 1 {
		d := c.cancelPositive(e.Mod(Const(f.multiple)))
		if name, k, ok := divisibility(d); !ok {
			c.addZero(d)
		} else if err := c.setMultiple(name, k); err != nil {
			return err
		}
	}
	if !isInf(f.lo) {
		c.addNonNegative(e.Sub(Const(f.lo)))
	}
	if !isInf(f.hi) {
		c.addNonNegative(Const(f.hi).Sub(e))
	}
	if r := f.and(c.rangeOf(e)); r.empty() {
		return fmt.Errorf("%s can not be from %d to %d", e, f.lo, f.hi)
	}
	return nil
}

// narrow makes the range of a symbol smaller, with ends that are multiples.
func (c *Context) narrow(name string, r interval) error {
	k := c.fact(name).multiple
	r = r.and(c.symbolRange(name))
	if k > 1 && !isInf(r.lo) {
		r.lo = mulEnd(-floorDiv(-r.lo, k), k)
	}
	if k > 1 && !isInf(r.hi) {
		r.hi = mulEnd(floorDiv(r.hi, k), k)
	}
	if r.empty() {
		return fmt.Errorf("symbol %q: no number that is a multiple of %d fits its bounds", name, k)
	}
	set(&c.ranges, name, r)
	return nil
}

// symbolRange is the narrowest known range of a symbol. It is the ranges of a context.
func (c *Context) symbolRange(name string) interval {
	if c != nil {
		if r, ok := c.ranges[name]; ok {
			return r
		}
	}
	return c.fact(name).interval
}

func (c *Context) rangeOf(e Expr) interval { return ranges(c.symbolRange).of(e) }

// AssumeEqual adds a = b.
func (c *Context) AssumeEqual(a, b Expr) error {
	if err := firstErr(a, b); err != nil {
		return err
	}
	switch c.Equal(a, b) {
	case True:
		return nil
	case False:
		return fmt.Errorf("%s = %s contradicts what is known: the sides differ", a, b)
	}
	return c.update(func(c *Context) error {
		c.eqs = append(c.eqs, [2]Expr{a, b})
		c.reserveAll(a, b)
		d := c.cancelPositive(c.Simplify(a.Sub(b)))
		if name, k, ok := divisibility(d); ok {
			return c.setMultiple(name, k)
		}
		if t, ok := c.solvable(d); ok {
			return c.solve(t.mono[0].name, d.Sub(t.expr()).scale(-t.coef))
		}
		c.addZero(d)
		return nil
	}, "%s = %s", a, b)
}

// divisibility recognises name mod k = 0.
func divisibility(d Expr) (name string, k int64, ok bool) {
	if ts := d.terms(); len(ts) == 1 && len(ts[0].mono) == 1 && ts[0].mono[0].kind == modAtom {
		a := ts[0].mono[0]
		name, isSymbol := a.args[0].Symbol()
		k, isConst := a.args[1].Int()
		return name, k, isSymbol && isConst && k > 0
	}
	return "", 0, false
}

// cancelPositive divides d by its common factors that are not 0, for d = 0 or d >= 0.
func (c *Context) cancelPositive(d Expr) Expr {
	ts := d.terms()
	if len(ts) == 0 {
		return d
	}
	for _, a := range slices.Clone(ts[0].mono) {
		if r := ranges(c.symbolRange).ofAtom(a); r.lo <= 0 {
			continue
		}
		if out, ok := divMono(ts, mono{a}); ok {
			ts = out
		}
	}
	if g := commonFactor(ts); g > 1 {
		return divTerms(ts, g)
	}
	return collect(slices.Clone(ts))
}

// divMono divides every term by a monomial, if it divides all.
func divMono(ts []term, m mono) ([]term, bool) {
	out := make([]term, len(ts))
	for i, t := range ts {
		q, ok := t.mono.over(m)
		if !ok {
			return nil, false
		}
		out[i] = term{t.coef, q}
	}
	return out, true
}

// maxSolution bounds what takes the place of a symbol, so that substitution does not
// blow expressions up.
const maxSolution = 64

// blowsUp says whether e is too large to stand for a symbol.
func blowsUp(e Expr) bool { return e.Err() != nil || e.p != nil && e.p.size > maxSolution }

// solvable picks a term s or -s of d, with s a symbol that is nowhere else in d: rather
// one that Fresh made, then one whose solution subtracts nothing, then the last by name.
func (c *Context) solvable(d Expr) (best term, ok bool) {
	if d.p == nil || blowsUp(d) {
		return term{}, false
	}
	bestRank := -1
	for _, t := range d.terms() {
		if len(t.mono) != 1 || t.mono[0].kind != symbolAtom || t.coef != 1 && t.coef != -1 {
			continue
		}
		name := t.mono[0].name
		rest := d.Sub(t.expr())
		if rest.Uses(name) {
			continue
		}
		rank := 0
		if c.used[name] {
			rank += 2
		}
		if !slices.ContainsFunc(rest.terms(), func(u term) bool { return u.coef < 0 == (t.coef < 0) }) {
			rank++
		}
		if rank >= bestRank {
			best, bestRank = t, rank
		}
	}
	return best, bestRank >= 0
}

// solve puts e in the place of a symbol everywhere.
func (c *Context) solve(name string, e Expr) error {
	put := func(x Expr) Expr {
		return x.Subst(func(s string) (Expr, bool) { return e, s == name })
	}
	solved := map[string]Expr{name: e}
	for s, x := range c.solved {
		if solved[s] = put(x); blowsUp(solved[s]) {
			c.addZero(Var(name).Sub(e))
			return nil
		}
	}
	c.solved = solved
	f := fact{c.symbolRange(name), c.fact(name).multiple}
	zeros, nonneg := c.zeros, c.nonneg
	c.zeros, c.nonneg = nil, nil
	for _, z := range zeros {
		c.addZero(put(z.e))
	}
	for _, g := range nonneg {
		c.addNonNegative(put(g))
	}
	return c.transfer(f, e)
}

// zero is an equality e = 0 as a rule that rewrites its largest term. Sizes add up under
// multiplication, so rewriting ends.
type zero struct {
	e     Expr
	large term
}

func (m mono) size() int {
	n := 0
	for _, a := range m {
		n += a.size
	}
	return n
}

// addZero records e = 0.
func (c *Context) addZero(e Expr) {
	if e.p == nil || e.p.bad != nil || slices.ContainsFunc(c.zeros, func(z zero) bool { return z.e.Equal(e) }) {
		return
	}
	z := zero{e, e.terms()[0]}
	for _, t := range e.terms() {
		if t.mono.size() > z.large.mono.size() {
			z.large = t
		}
	}
	c.zeros = append(c.zeros, z)
}

// addNonNegative records e >= 0.
func (c *Context) addNonNegative(e Expr) {
	e = tighten(e)
	if e.Err() == nil && c.rangeOf(e).lo < 0 && !slices.ContainsFunc(c.nonneg, e.Equal) {
		c.nonneg = append(c.nonneg, e)
	}
}

// tighten divides e, for e >= 0, by the factor that its terms have in common beside the
// constant, which is rounded down: 2*n - 1 >= 0 means n - 1 >= 0.
func tighten(e Expr) Expr {
	ts, k := e.splitConst()
	g := commonFactor(ts)
	if g <= 1 {
		return e
	}
	return divTerms(ts, g).Add(Const(floorDiv(k, g)))
}

// AssumeLE adds a <= b.
func (c *Context) AssumeLE(a, b Expr) error {
	if err := firstErr(a, b); err != nil {
		return err
	}
	switch c.LE(a, b) {
	case True:
		return nil
	case False:
		return fmt.Errorf("%s <= %s contradicts what is known: the left side is larger", a, b)
	}
	return c.update(func(c *Context) error {
		c.les = append(c.les, [2]Expr{a, b})
		c.reserveAll(a, b)
		c.addNonNegative(c.cancelPositive(c.Simplify(b.Sub(a))))
		return nil
	}, "%s <= %s", a, b)
}

// propagate narrows the ranges of symbols by the constraints that they are in.
func (c *Context) propagate() error {
	const rounds = 4
	for range rounds {
		before := maps.Clone(c.ranges)
		for _, g := range c.nonneg {
			if err := c.narrowBy(g); err != nil {
				return err
			}
		}
		for _, z := range c.zeros {
			if err := c.narrowBy(z.e); err != nil {
				return err
			}
			if err := c.narrowBy(z.e.Neg()); err != nil {
				return err
			}
		}
		if maps.Equal(before, c.ranges) {
			break
		}
	}
	return nil
}

// narrowBy uses g >= 0 for each symbol s in a term k*s: it gives k*s >= -rest.
func (c *Context) narrowBy(g Expr) error {
	if g.Err() != nil || c.rangeOf(g).hi < 0 {
		return fmt.Errorf("%s can not be at least 0", g)
	}
	for _, t := range g.terms() {
		if len(t.mono) != 1 || t.mono[0].kind != symbolAtom {
			continue
		}
		name := t.mono[0].name
		rest := g.Sub(t.expr())
		most := c.rangeOf(rest).hi
		if isInf(most) || rest.Uses(name) {
			continue
		}
		r := everything
		if t.coef > 0 {
			r.lo = -floorDiv(most, t.coef)
		} else if t.coef != math.MinInt64 {
			r.hi = floorDiv(most, -t.coef)
		}
		if err := c.narrow(name, r); err != nil {
			return err
		}
	}
	return nil
}

// Reserve marks a name as used, so that Fresh does not give it.
func (c *Context) Reserve(name string) {
	if _, ok := c.used[name]; !ok {
		set(&c.used, name, false)
	}
}

func (c *Context) reserveAll(list ...Expr) {
	for _, e := range list {
		for _, name := range e.Symbols() {
			c.Reserve(name)
		}
	}
}

// Fresh is a symbol that was not used before: prefix0, prefix1 and so on. Names that
// stand in constraints or were reserved are used.
func (c *Context) Fresh(prefix string) Expr {
	for {
		n := c.next[prefix]
		set(&c.next, prefix, n+1)
		name := fmt.Sprintf("%s%d", prefix, n)
		if _, ok := c.used[name]; !ok {
			set(&c.used, name, true)
			return Var(name)
		}
	}
}

// Symbols gives every symbol with a constraint, sorted.
func (c *Context) Symbols() []string {
	if c == nil {
		return nil
	}
	all := map[string]bool{}
	for s := range c.facts {
		all[s] = true
	}
	for _, pair := range slices.Concat(c.eqs, c.les) {
		for _, e := range pair {
			for _, s := range e.Symbols() {
				all[s] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Range gives the bounds that SetRange gave a symbol, 0 and Inf by default. What the
// other constraints imply is in Bounds.
func (c *Context) Range(name string) (lo, hi int64) {
	f := c.fact(name)
	return f.lo, f.hi
}

// Multiple gives the number that a symbol is known to be a multiple of, 1 by default.
func (c *Context) Multiple(name string) int64 { return c.fact(name).multiple }

// Equalities gives the pairs that were assumed equal, in order.
func (c *Context) Equalities() [][2]Expr {
	if c == nil {
		return nil
	}
	return slices.Clone(c.eqs)
}

// LEs gives the pairs of which the first was assumed at most the second, in order.
func (c *Context) LEs() [][2]Expr {
	if c == nil {
		return nil
	}
	return slices.Clone(c.les)
}
