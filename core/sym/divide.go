package sym

import "math"

// CeilDiv is e/f rounded up.
func (e Expr) CeilDiv(f Expr) Expr { return e.Neg().FloorDiv(f).Neg() }

// Over gives q with e = q*f, whatever the symbols are; ok is false where long division
// leaves something over.
func (e Expr) Over(f Expr) (q Expr, ok bool) {
	if firstErr(e, f) != nil || f.p == nil {
		return q, false
	}
	q, r := longDivision(e, f)
	return q, r.p == nil && r.Err() == nil && q.Err() == nil
}

// FloorDiv is e/f rounded down. Division by 0 has no value.
//
// The normal form of a quotient by a constant d > 0 has the multiples of d pulled out,
// no factor common to d and the coefficients, a constant in [0, d) and a positive first
// coefficient: (4*n + 6) // 4 is n + 1, (-n) // 4 is -((n + 3) // 4).
func (e Expr) FloorDiv(f Expr) Expr {
	if err := firstErr(e, f); err != nil {
		return invalid(err)
	}
	d, isConst := f.Int()
	if !isConst {
		return floorDivSymbolic(e, f)
	}
	n, numConst := e.Int()
	switch {
	case d == 0:
		return invalid(errDivZero)
	case d == -1:
		return e.Neg()
	case numConst:
		return Const(floorDiv(n, d))
	case d == math.MinInt64: // has no negative
		return newAtom(floorDivAtom, e, f)
	case d < 0:
		return e.Neg().FloorDiv(Const(-d))
	}
	ts, k := e.splitConst()
	if g := int64(gcd(uint64(commonFactor(ts)), uint64(d))); g > 1 {
		e, k, d = divTerms(ts, g).Add(Const(floorDiv(k, g))), floorDiv(k, g), d/g
		ts, _ = e.splitConst()
	}
	whole, rest := make([]term, 0, len(ts)+1), make([]term, 0, len(ts)+1)
	for _, t := range append(ts[:len(ts):len(ts)], term{coef: k}) {
		q, r := t.coef/d, t.coef%d
		if len(t.mono) == 0 {
			q, r = floorDiv(k, d), floorMod(k, d)
		}
		if q != 0 {
			whole = append(whole, term{q, t.mono})
		}
		if r != 0 {
			rest = append(rest, term{r, t.mono})
		}
	}
	return fromTerms(whole).Add(floorDivRest(fromTerms(rest), d))
}

// floorDivRest is r // d for r without multiples of d in it.
func floorDivRest(r Expr, d int64) Expr {
	ts, k := r.splitConst()
	switch {
	case len(ts) == 0:
		return Expr{}
	case ts[0].coef < 0: // floor(-x/d) = -floor((x + d-1)/d)
		return floorDivRest(Const(d-1).Sub(r), d).Neg()
	case len(ts) == 1 && ts[0].coef == 1 && len(ts[0].mono) == 1 && ts[0].mono[0].kind == floorDivAtom:
		a := ts[0].mono[0] // (x//b + k)//d = (x + k*b)//(b*d)
		if b, ok := a.args[1].Int(); ok && b > 0 {
			bd, ok1 := mulInt64(b, d)
			kb, ok2 := mulInt64(b, k)
			if x := a.args[0].Add(Const(kb)); ok1 && ok2 && x.Err() == nil {
				return x.FloorDiv(Const(bd))
			}
		}
	}
	return newAtom(floorDivAtom, r, Const(d))
}

// floorDivSymbolic divides by what is no constant: a constant common factor cancels,
// and the first coefficient of the divisor is made positive.
func floorDivSymbolic(e, f Expr) Expr {
	e, f, _ = cancelFactor(e, f)
	return newAtom(floorDivAtom, e, f)
}

// cancelFactor divides e and f by the constant g that is common to all coefficients,
// negative if the first coefficient of f is.
func cancelFactor(e, f Expr) (x, y Expr, g int64) {
	g = int64(gcd(uint64(commonFactor(e.terms())), uint64(commonFactor(f.terms()))))
	if f.terms()[0].coef < 0 {
		if n, m := e.Neg(), f.Neg(); firstErr(n, m) == nil {
			g = -g
		}
	}
	return divTerms(e.terms(), g), divTerms(f.terms(), g), g
}

// Mod is e - f*floor(e/f): it has the sign of f. Division by 0 has no value.
//
// The normal form of a remainder by a constant d > 0 has coefficients in (-d/2, d/2],
// a constant in [0, d), and no factor common to d and the coefficients.
func (e Expr) Mod(f Expr) Expr {
	if err := firstErr(e, f); err != nil {
		return invalid(err)
	}
	d, isConst := f.Int()
	if !isConst {
		x, y, g := cancelFactor(e, f)
		return newAtom(modAtom, x, y).scale(g)
	}
	n, numConst := e.Int()
	switch {
	case d == 0:
		return invalid(errDivZero)
	case d == 1 || d == -1:
		return Expr{}
	case numConst:
		return Const(floorMod(n, d))
	case d == math.MinInt64:
		return newAtom(modAtom, e, f)
	case d < 0:
		return e.Neg().Mod(Const(-d)).Neg()
	}
	if x := dropInnerMod(e, d); !x.Equal(e) {
		return x.Mod(f)
	}
	ts := make([]term, 0, len(e.terms()))
	for _, t := range e.terms() {
		r := floorMod(t.coef, d)
		if len(t.mono) > 0 && r > d/2 {
			r -= d
		}
		if r != 0 {
			ts = append(ts, term{r, t.mono})
		}
	}
	ts, k := fromTerms(ts).splitConst()
	if len(ts) == 0 {
		return Const(k)
	}
	g := int64(gcd(uint64(commonFactor(ts)), uint64(d)))
	// (g*x + g*a + b) mod (g*d) = g*((x + a) mod d) + b for b in [0, g)
	x := divTerms(ts, g).Add(Const(k / g))
	if g > 1 {
		return x.Mod(Const(d / g)).scale(g).Add(Const(k % g))
	}
	return newAtom(modAtom, x, f)
}

// dropInnerMod replaces c*(x mod b) by c*x where d divides c*b.
func dropInnerMod(e Expr, d int64) Expr {
	var list []Expr
	for _, t := range e.terms() {
		x := t.expr()
		if len(t.mono) == 1 && t.mono[0].kind == modAtom {
			a := t.mono[0]
			if b, ok := a.args[1].Int(); ok {
				if cb, ok := mulInt64(t.coef, b); ok && cb%d == 0 {
					if y := a.args[0].scale(t.coef); y.Err() == nil {
						x = y
					}
				}
			}
		}
		list = append(list, x)
	}
	if s := Sum(list...); s.Err() == nil {
		return s
	}
	return e
}
