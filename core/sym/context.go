package sym

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// Truth is the answer of a proof.
type Truth int8

// Unknown is a normal answer: the prover is sound, not complete.
const (
	Unknown Truth = iota
	True
	False
)

func (t Truth) String() string { return [...]string{"unknown", "true", "false"}[t] }

// Inf is no upper bound.
const Inf = math.MaxInt64

// Context is what is known of symbols. A nil Context and the zero value know only that
// symbols are at least 0. It may be read concurrently, not written.
type Context struct {
	facts  map[string]*fact
	eqs    [][2]Expr
	les    [][2]Expr
	subst  map[string]Expr // symbols that an equality solves
	used   map[string]bool
	counts map[string]int
}

type fact struct {
	lo, hi int64
	mult   int64
}

// NewContext is an empty set of constraints.
func NewContext() *Context { return &Context{} }

// Clone is a copy to which more can be added.
func (c *Context) Clone() *Context {
	if c == nil {
		return NewContext()
	}
	n := &Context{eqs: slices.Clone(c.eqs), les: slices.Clone(c.les), facts: map[string]*fact{}, subst: map[string]Expr{}, used: map[string]bool{}, counts: map[string]int{}}
	for k, v := range c.facts {
		f := *v
		n.facts[k] = &f
	}
	for k, v := range c.subst {
		n.subst[k] = v
	}
	for k := range c.used {
		n.used[k] = true
	}
	for k, v := range c.counts {
		n.counts[k] = v
	}
	return n
}

func (c *Context) fact(name string) *fact {
	if c.facts == nil {
		c.facts = map[string]*fact{}
	}
	c.Reserve(name)
	f := c.facts[name]
	if f == nil {
		f = &fact{0, Inf, 1}
		c.facts[name] = f
	}
	return f
}

// SetRange bounds a symbol: lo <= name <= hi, together with what was known.
func (c *Context) SetRange(name string, lo, hi int64) error {
	f := c.fact(name)
	f.lo, f.hi = max(f.lo, lo), min(f.hi, hi)
	if f.lo > f.hi {
		return fmt.Errorf("symbol %q: nothing is in [%d, %d]", name, f.lo, f.hi)
	}
	return nil
}

// SetMultiple says that a symbol is a multiple of k > 0.
func (c *Context) SetMultiple(name string, k int64) error {
	if k < 1 {
		return fmt.Errorf("symbol %q: multiple of %d", name, k)
	}
	f := c.fact(name)
	m, ok := mulOK(f.mult/gcd(f.mult, k), k)
	if !ok {
		return fmt.Errorf("symbol %q: multiple of both %d and %d overflows", name, f.mult, k)
	}
	f.mult = m
	return nil
}

// AssumeEqual adds a = b.
func (c *Context) AssumeEqual(a, b Expr) error {
	switch c.Equal(a, b) {
	case True:
		return nil
	case False:
		return fmt.Errorf("%s can not be %s", a, b)
	}
	c.eqs = append(c.eqs, [2]Expr{a, b})
	a, b = c.apply(a), c.apply(b)
	if c.subst == nil {
		c.subst = map[string]Expr{}
	}
	d := a.Sub(b)
	for _, t := range d.terms() { // solve for a symbol that occurs once, with coefficient 1 or -1
		if len(t.mono) != 1 || t.mono[0].kind != symbolAtom || t.coef != 1 && t.coef != -1 {
			continue
		}
		name := t.mono[0].name
		rest := d.Sub(fromTerms([]term{t}))
		if rest.Uses(name) {
			continue
		}
		if t.coef == 1 {
			rest = rest.Neg()
		}
		lo, hi := c.Bounds(rest)
		if err := c.SetRange(name, max(lo, 0), hi); err != nil {
			return err
		}
		for k, v := range c.subst {
			c.subst[k] = v.Subst(func(s string) (Expr, bool) { return rest, s == name })
		}
		c.subst[name] = rest
		return nil
	}
	return nil
}

// AssumeLE adds a <= b.
func (c *Context) AssumeLE(a, b Expr) error {
	if c.LT(b, a) == True {
		return fmt.Errorf("%s can not be at most %s", a, b)
	}
	c.les = append(c.les, [2]Expr{a, b})
	if s, ok := a.Symbol(); ok {
		if _, hi := c.Bounds(b); hi < Inf {
			return c.SetRange(s, 0, hi)
		}
		c.fact(s)
	}
	return nil
}

// Reserve marks a name as used, so that Fresh does not give it.
func (c *Context) Reserve(name string) {
	if c.used == nil {
		c.used = map[string]bool{}
	}
	c.used[name] = true
}

// Fresh is a symbol that was not used before: prefix0, prefix1, ...
func (c *Context) Fresh(prefix string) Expr {
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	for {
		name := fmt.Sprintf("%s%d", prefix, c.counts[prefix])
		c.counts[prefix]++
		if !c.used[name] {
			c.Reserve(name)
			return Var(name)
		}
	}
}

// Symbols gives every symbol with a range or multiple of its own, sorted.
func (c *Context) Symbols() []string {
	if c == nil {
		return nil
	}
	out := make([]string, 0, len(c.facts))
	for s := range c.facts {
		out = append(out, s)
	}
	sort.Strings(out)
	return out
}

// Range gives the bounds of a symbol.
func (c *Context) Range(name string) (lo, hi int64) {
	if c != nil {
		if f := c.facts[name]; f != nil {
			return f.lo, f.hi
		}
	}
	return 0, Inf
}

// Multiple gives the number that a symbol is known to be a multiple of.
func (c *Context) Multiple(name string) int64 {
	if c != nil {
		if f := c.facts[name]; f != nil {
			return f.mult
		}
	}
	return 1
}

// Equalities gives the pairs that were assumed equal.
func (c *Context) Equalities() [][2]Expr {
	if c == nil {
		return nil
	}
	return c.eqs
}

// LEs gives the pairs of which the first was assumed at most the second.
func (c *Context) LEs() [][2]Expr {
	if c == nil {
		return nil
	}
	return c.les
}

// apply puts what equalities say in the place of symbols.
func (c *Context) apply(e Expr) Expr {
	if c == nil || len(c.subst) == 0 {
		return e
	}
	return e.Subst(func(s string) (Expr, bool) { x, ok := c.subst[s]; return x, ok })
}

// Simplify rewrites e by what is known: equalities, minima and maxima that bounds
// decide, divisions that come out even.
func (c *Context) Simplify(e Expr) Expr { return c.simplify(c.apply(e), 0) }

func (c *Context) simplify(e Expr, depth int) Expr {
	if e.p == nil || e.p.bad != nil || depth > 20 {
		return e
	}
	changed := false
	var out Expr
	for _, t := range e.p.terms {
		x := Const(t.coef)
		for _, a := range t.mono {
			y := c.simplifyAtom(a, depth)
			if b, ok := y.loneAtom(); !ok || b.key != a.key {
				changed = true
			}
			x = x.Mul(y)
		}
		out = out.Add(x)
	}
	if !changed {
		return e
	}
	return c.simplify(out, depth+1)
}

func (c *Context) simplifyAtom(a *atom, depth int) Expr {
	if a.kind == symbolAtom {
		if lo, hi := c.Range(a.name); lo == hi {
			return Const(lo)
		}
		return ofAtom(a)
	}
	args := make([]Expr, len(a.args))
	for i, x := range a.args {
		args[i] = c.simplify(x, depth+1)
	}
	switch a.kind {
	case minAtom, maxAtom:
		var keep []Expr
		for i, x := range args {
			drop := false
			for j, y := range args {
				if i == j || drop {
					continue
				}
				le := c.nonNegative(y.Sub(x)) // x <= y
				if a.kind == minAtom {
					le = c.nonNegative(x.Sub(y))
				}
				// of two that are equal the first one stays
				drop = le && (j < i || !c.sameBoth(x, y))
			}
			if !drop {
				keep = append(keep, x)
			}
		}
		if len(keep) > 0 {
			args = keep
		}
		return extreme(a.kind, args...)
	}
	if q, ok := c.exactQuotient(args[0], args[1]); ok {
		if a.kind == modAtom {
			return Expr{}
		}
		return q
	}
	lo, hi := c.Bounds(args[0])
	dlo, _ := c.Bounds(args[1])
	if lo >= 0 && dlo > 0 && (hi < dlo || c.nonNegative(args[1].Sub(args[0]).Sub(Const(1)))) { // 0 <= e < d
		if a.kind == modAtom {
			return args[0]
		}
		return Expr{}
	}
	return build(a.kind, args)
}

func (c *Context) sameBoth(x, y Expr) bool {
	return c.nonNegative(x.Sub(y)) && c.nonNegative(y.Sub(x))
}

// exactQuotient gives e/d where every term divides and d is known to be positive.
func (c *Context) exactQuotient(e, d Expr) (Expr, bool) {
	if lo, _ := c.Bounds(d); lo <= 0 {
		return Expr{}, false
	}
	if len(d.terms()) == 1 {
		return c.termQuotient(e, d.terms()[0])
	}
	// e = k*d for a monomial k: compare leading terms
	if len(e.terms()) == 0 {
		return Expr{}, true
	}
	k, ok := c.termQuotient(fromTerms(e.terms()[:1]), d.terms()[0])
	if ok && k.Mul(d).Equal(e) {
		return k, true
	}
	return Expr{}, false
}

func (c *Context) termQuotient(e Expr, d term) (Expr, bool) {
	var out []term
	for _, t := range e.terms() {
		m := slices.Clone(t.mono)
		for _, a := range d.mono {
			i := slices.IndexFunc(m, func(b *atom) bool { return b.key == a.key })
			if i < 0 {
				return Expr{}, false
			}
			m = slices.Delete(m, i, i+1)
		}
		coef := t.coef
		if coef%d.coef != 0 {
			return Expr{}, false
		}
		out = append(out, newTerm(coef/d.coef, m))
	}
	return collect(out), true
}

// Equal says whether a and b are equal for all values that the constraints allow.
func (c *Context) Equal(a, b Expr) Truth {
	if a.bad() != nil || b.bad() != nil {
		return Unknown
	}
	if a.Equal(b) {
		return True
	}
	if x, ok := a.Int(); ok {
		if y, ok := b.Int(); ok && x != y {
			return False
		}
	}
	d := c.Simplify(a.Sub(b))
	if n, ok := d.Int(); ok {
		if n == 0 {
			return True
		}
		return False
	}
	lo, hi := c.Bounds(d)
	if lo > 0 || hi < 0 {
		return False
	}
	if c.nonNegative(d.Sub(Const(1))) || c.nonNegative(d.Neg().Sub(Const(1))) {
		return False
	}
	if c.zeroByProducts(d) {
		return True
	}
	if r, ok := c.byCases(d, func(v int64) bool { return v == 0 }); ok {
		return r
	}
	return Unknown
}

// zeroByProducts uses equalities that solve no symbol: d is 0 when it is a multiple
// of the difference of two sides.
func (c *Context) zeroByProducts(d Expr) bool {
	if c == nil {
		return false
	}
	for _, eq := range c.eqs {
		diff := c.Simplify(eq[0].Sub(eq[1]))
		for _, t := range d.terms() {
			for _, u := range diff.terms() {
				if len(u.mono) == 0 {
					continue
				}
				if k, ok := c.termQuotient(fromTerms([]term{t}), u); ok && d.Sub(k.Mul(diff)).p == nil {
					return true
				}
			}
		}
	}
	return false
}

// LE says whether a <= b.
func (c *Context) LE(a, b Expr) Truth {
	d := c.Simplify(b.Sub(a))
	if d.bad() != nil {
		return Unknown
	}
	if c.nonNegative(d) {
		return True
	}
	if c.nonNegative(d.Neg().Sub(Const(1))) {
		return False
	}
	if r, ok := c.byCases(d, func(v int64) bool { return v >= 0 }); ok {
		return r
	}
	return Unknown
}

// LT says whether a < b.
func (c *Context) LT(a, b Expr) Truth { return c.LE(a.Add(Const(1)), b) }

// nonNegative proves d >= 0 by bounds, after adding assumed inequalities.
func (c *Context) nonNegative(d Expr) bool {
	if lo, _ := c.Bounds(d); lo >= 0 && d.bad() == nil {
		return true
	}
	if c != nil {
		for _, le := range c.les {
			rest := d.Sub(le[1].Sub(le[0]))
			if lo, _ := c.Bounds(rest); lo >= 0 && rest.bad() == nil {
				return true
			}
		}
	}
	return false
}

// Divides says whether d divides e.
func (c *Context) Divides(d, e Expr) Truth {
	d, e = c.Simplify(d), c.Simplify(e)
	if e.IsInt(0) || d.IsInt(1) {
		return True
	}
	if m, ok := d.Int(); ok && m != 0 {
		if n, ok := e.Int(); ok {
			if n%m == 0 {
				return True
			}
			return False
		}
		all := true
		for _, t := range e.terms() {
			g := t.coef
			for _, a := range t.mono {
				if a.kind == symbolAtom {
					if p, ok := mulOK(g, c.Multiple(a.name)); ok {
						g = p
					}
				}
			}
			all = all && g%m == 0
		}
		if all {
			return True
		}
	}
	if _, ok := c.exactQuotient(e, d); ok {
		return True
	}
	return Unknown
}

// byCases tries all values of the symbols of d where they are few.
func (c *Context) byCases(d Expr, holds func(int64) bool) (Truth, bool) {
	names := d.Symbols()
	total := int64(1)
	for _, s := range names {
		lo, hi := c.Range(s)
		if hi == Inf || hi-lo > 512 {
			return Unknown, false
		}
		if total *= hi - lo + 1; total > 512 {
			return Unknown, false
		}
	}
	if len(names) == 0 {
		return Unknown, false
	}
	vals := map[string]int64{}
	yes, no := 0, 0
	var try func(i int) bool
	try = func(i int) bool {
		if i < len(names) {
			lo, hi := c.Range(names[i])
			for v := lo; v <= hi; v++ {
				if v%c.Multiple(names[i]) != 0 {
					continue
				}
				vals[names[i]] = v
				if !try(i + 1) {
					return false
				}
			}
			return true
		}
		v, err := d.Eval(func(s string) (int64, bool) { n, ok := vals[s]; return n, ok })
		if err != nil {
			return false
		}
		if holds(v) {
			yes++
		} else {
			no++
		}
		return true
	}
	switch ok := try(0); {
	case !ok || yes > 0 && no > 0:
		return Unknown, false
	case no == 0 && yes > 0:
		return True, true
	case yes == 0 && no > 0:
		return False, true
	}
	return Unknown, false
}

// Bounds gives an interval that e lies in; math.MinInt64 and Inf are none.
func (c *Context) Bounds(e Expr) (lo, hi int64) {
	if e.bad() != nil {
		return math.MinInt64, Inf
	}
	for _, t := range e.terms() {
		l, h := int64(1), int64(1)
		for i := 0; i < len(t.mono); {
			n := 1 // an even power is not negative
			for i+n < len(t.mono) && t.mono[i+n].key == t.mono[i].key {
				n++
			}
			al, ah := c.atomBounds(t.mono[i])
			for range n {
				l, h = mulBounds(l, h, al, ah)
			}
			if n == len(t.mono) && n%2 == 0 {
				l = max(l, 0)
			}
			i += n
		}
		l, h = mulBounds(l, h, t.coef, t.coef)
		lo, hi = satAdd(lo, l), satAdd(hi, h)
	}
	return lo, hi
}

func satAdd(a, b int64) int64 {
	switch {
	case a == Inf || b == Inf:
		return Inf
	case a == math.MinInt64 || b == math.MinInt64:
		return math.MinInt64
	}
	if s, ok := addOK(a, b); ok {
		return s
	}
	if a > 0 {
		return Inf
	}
	return math.MinInt64
}

func satMul(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	inf := func(x int64) bool { return x == Inf || x == math.MinInt64 }
	if !inf(a) && !inf(b) {
		if p, ok := mulOK(a, b); ok {
			return p
		}
	}
	if (a < 0) == (b < 0) {
		return Inf
	}
	return math.MinInt64
}

func mulBounds(al, ah, bl, bh int64) (int64, int64) {
	p := [4]int64{satMul(al, bl), satMul(al, bh), satMul(ah, bl), satMul(ah, bh)}
	return slices.Min(p[:]), slices.Max(p[:])
}

func (c *Context) atomBounds(a *atom) (lo, hi int64) {
	switch a.kind {
	case symbolAtom:
		return c.Range(a.name)
	case minAtom, maxAtom:
		lo, hi = c.Bounds(a.args[0])
		for _, x := range a.args[1:] {
			l, h := c.Bounds(x)
			if a.kind == minAtom {
				lo, hi = min(lo, l), min(hi, h)
			} else {
				lo, hi = max(lo, l), max(hi, h)
			}
		}
		return lo, hi
	}
	nl, nh := c.Bounds(a.args[0])
	dl, dh := c.Bounds(a.args[1])
	if dl <= 0 {
		return math.MinInt64, Inf
	}
	if a.kind == modAtom {
		hi = Inf
		if dh != Inf {
			hi = dh - 1
		}
		if nl >= 0 {
			hi = min(hi, nh)
		}
		return 0, hi
	}
	div := func(n, d int64) int64 {
		if n == Inf || n == math.MinInt64 {
			return n
		}
		return floorDiv(n, d)
	}
	// the quotient is monotone in n; in d towards 0
	q := []int64{div(nl, dl), div(nh, dl)}
	if dh == Inf {
		q = append(q, 0, -1)
		if nl >= 0 {
			q = q[:3]
		}
	} else {
		q = append(q, div(nl, dh), div(nh, dh))
	}
	return slices.Min(q), slices.Max(q)
}
