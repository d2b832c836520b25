package sym

import "slices"

// Simplify rewrites e by what is known: equalities, minima and maxima that are decided,
// divisions that come out even or stay below their divisor.
func (c *Context) Simplify(e Expr) Expr {
	return remember(c, "simplify", e, func() Expr { return c.simplified(e) })
}

func (c *Context) simplified(e Expr) Expr {
	const rounds = 4
	for range rounds {
		s := c.simplify(c.apply(e))
		if s.Err() != nil || s.Equal(e) {
			break
		}
		e = s
	}
	return e
}

// apply puts what equalities and ranges say in the place of symbols.
func (c *Context) apply(e Expr) Expr {
	if c == nil || len(c.solved) == 0 && len(c.ranges) == 0 {
		return e
	}
	pinned := func(s string) (Expr, bool) {
		r := c.symbolRange(s)
		return Const(r.lo), r.lo == r.hi
	}
	out := e.Subst(func(s string) (Expr, bool) {
		if x, ok := c.solved[s]; ok {
			return x.Subst(pinned), true
		}
		return pinned(s)
	})
	if out.Err() != nil {
		return e
	}
	return out
}

// simplify does one round, from the inside out.
func (c *Context) simplify(e Expr) Expr {
	out := e.replace(func(a *atom) (Expr, bool) {
		if a.kind == symbolAtom {
			return Expr{}, false
		}
		if x, changed := a.mapArgs(c.simplify); changed {
			b := x.loneAtom()
			if b == nil || b.kind != a.kind {
				return x, true
			}
			a = b
		}
		return c.simplifyAtom(a), true
	})
	if out = c.joinRemainders(c.cancelQuotients(c.reduce(out))); out.Err() != nil || out.Equal(e) {
		return e
	}
	return out
}

func (c *Context) simplifyAtom(a *atom) Expr {
	known := c.rangeOf(ofAtom(a))
	pinned := known.lo == known.hi
	if a.kind == minAtom || a.kind == maxAtom {
		if pinned {
			return Const(known.lo)
		}
		return c.prune(a)
	}
	x, y := a.args[0], a.args[1]
	nonzero := c.nonzero(y)
	if nonzero && pinned {
		return Const(known.lo)
	}
	q, r := Expr{}, x
	if nonzero {
		q, r = c.multiples(x, y)
	}
	if nonzero && c.prove(r) && c.prove(y.Sub(r).Sub(Const(1))) { // 0 <= r < y
		if a.kind == floorDivAtom {
			return q
		}
		return r
	}
	r, y, m := c.cancelCommon(r, y)
	switch {
	case q.p == nil && len(m) == 0:
		return ofAtom(a)
	case a.kind == floorDivAtom:
		return q.Add(r.FloorDiv(y))
	}
	return r.Mod(y).Mul(fromTerms([]term{{1, m}}))
}

// prune drops operands of a minimum or maximum that another one decides.
func (c *Context) prune(a *atom) Expr {
	var keep []Expr
	for i, x := range a.args {
		beaten := func(by Expr) bool {
			if a.kind == minAtom {
				return c.prove(x.Sub(by))
			}
			return c.prove(by.Sub(x))
		}
		if !slices.ContainsFunc(keep, beaten) && !slices.ContainsFunc(a.args[i+1:], beaten) {
			keep = append(keep, x)
		}
	}
	if len(keep) == len(a.args) || len(keep) == 0 {
		return ofAtom(a)
	}
	return extreme(a.kind, keep)
}

// nonzero says whether d is known not to be 0.
func (c *Context) nonzero(d Expr) bool {
	r := c.rangeOf(d)
	return r.lo > 0 || r.hi < 0 || c.prove(d.Sub(Const(1)))
}

// multiples gives q and r with x = q*y + r, for y that is not 0. For a constant y the
// terms that it divides by what is known of their symbols go to q, as quotients.
func (c *Context) multiples(x, y Expr) (q, r Expr) {
	d, ok := y.Int()
	if !ok {
		return longDivision(x, y)
	}
	var rest []term
	for _, t := range x.terms() {
		if c.multipleOf(t)%d == 0 {
			q = q.Add(t.expr().FloorDiv(y))
		} else {
			rest = append(rest, t)
		}
	}
	return q, fromTerms(rest)
}

// longDivision gives q and r with x = q*y + r, dividing by the first term of y, the one
// of highest degree, as long as fewer terms remain.
func longDivision(x, y Expr) (q, r Expr) {
	r = x
	for range x.terms() {
		var k term
		i := slices.IndexFunc(r.terms(), func(t term) (ok bool) { k, ok = t.over(y.terms()[0]); return })
		if i < 0 {
			break
		}
		next := r.Sub(k.expr().Mul(y))
		if next.Err() != nil || len(next.terms()) >= len(r.terms()) {
			break
		}
		q, r = q.Add(k.expr()), next
	}
	return q, r
}

// multipleOf is a number that divides a term whatever its symbols are.
func (c *Context) multipleOf(t term) int64 {
	k := t.coef
	for _, a := range t.mono {
		if a.kind == symbolAtom {
			if p, ok := mulInt64(k, c.Multiple(a.name)); ok {
				k = p
			}
		}
	}
	return k
}

// cancelCommon divides x and y by the monomial m of all atoms that are common to their
// terms and not 0.
func (c *Context) cancelCommon(x, y Expr) (Expr, Expr, mono) {
	if x.p == nil || y.p == nil {
		return x, y, nil
	}
	var m mono
	for _, a := range slices.Clone(y.terms()[0].mono) {
		if !c.nonzero(ofAtom(a)) {
			continue
		}
		xs, ok1 := divMono(x.terms(), mono{a})
		ys, ok2 := divMono(y.terms(), mono{a})
		if ok1 && ok2 {
			x, y, m = collect(xs), collect(ys), append(m, a)
		}
	}
	return x, y, m
}

// reduce rewrites by equalities that solve no symbol.
func (c *Context) reduce(e Expr) Expr {
	if c == nil || len(c.zeros) == 0 {
		return e
	}
	const steps = 64
	for range steps {
		next, ok := c.reduceOnce(e)
		if !ok {
			break
		}
		e = next
	}
	return e
}

func (c *Context) reduceOnce(e Expr) (Expr, bool) {
	for _, z := range c.zeros {
		for _, t := range e.terms() {
			if k, ok := t.over(z.large); ok {
				if next := e.Sub(k.expr().Mul(z.e)); next.Err() == nil {
					return next, true
				}
			}
		}
	}
	return e, false
}

// cancelQuotients rewrites d*(x // d) to x where d divides x.
func (c *Context) cancelQuotients(e Expr) Expr {
	var list []Expr
	for i, t := range e.terms() {
		for j, a := range t.mono {
			if a.kind != floorDivAtom {
				continue
			}
			d, ok := a.args[1].Int()
			if !ok || d <= 0 || t.coef%d != 0 || !c.dividesAll(d, a.args[0]) {
				continue
			}
			rest := slices.Delete(slices.Clone(t.mono), j, j+1)
			list = append(list, a.args[0].Mul(term{t.coef / d, rest}.expr()).Sub(fromTerms(e.terms()[i:i+1])))
			break
		}
	}
	if list == nil {
		return e
	}
	return Sum(append(list, e)...)
}

// dividesAll says whether d > 0 divides every term of e.
func (c *Context) dividesAll(d int64, e Expr) bool {
	return !slices.ContainsFunc(e.terms(), func(t term) bool { return c.multipleOf(t)%d != 0 })
}

// joinRemainders rewrites b*(a // b) + a % b to a.
func (c *Context) joinRemainders(e Expr) Expr {
	for _, t := range e.terms() {
		for _, a := range t.mono {
			if a.kind != modAtom {
				continue
			}
			x := e.replace(func(b *atom) (Expr, bool) {
				if b == a {
					return expandMod(a), true
				}
				return Expr{}, false
			})
			if x.Err() == nil && len(x.terms()) < len(e.terms()) {
				return x
			}
		}
	}
	return e
}

// expandMod is a - b*(a // b) for an atom a mod b.
func expandMod(m *atom) Expr {
	return m.args[0].Sub(m.args[1].Mul(m.args[0].FloorDiv(m.args[1])))
}
