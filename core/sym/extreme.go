package sym

import (
	"math"
	"slices"
)

// Min is the smaller one.
func (e Expr) Min(f Expr) Expr { return extreme(minAtom, []Expr{e, f}) }

// Max is the larger one.
func (e Expr) Max(f Expr) Expr { return extreme(maxAtom, []Expr{e, f}) }

// extreme is the minimum or maximum of a list that is not empty. In normal form the
// operands are flat, sorted, no two a constant apart, without a common addend or
// factor, and at least one begins with a positive coefficient.
func extreme(kind atomKind, list []Expr) Expr {
	if err := firstErr(list...); err != nil {
		return invalid(err)
	}
	args := nearest(kind, flatten(kind, list))
	if len(args) == 1 {
		return args[0]
	}
	if common := commonAddend(args); common.p != nil {
		rest := mapExprs(args, func(e Expr) Expr { return e.Sub(common) })
		return common.Add(extreme(kind, rest))
	}
	g := uint64(0)
	negative := true
	for _, e := range args {
		ts := e.terms()
		g = gcd(uint64(commonFactor(ts)), g)
		negative = negative && (len(ts) == 0 || ts[0].coef < 0)
	}
	if g > 1 {
		return extreme(kind, mapExprs(args, func(e Expr) Expr { return divTerms(e.terms(), int64(g)) })).scale(int64(g))
	}
	if negative { // min(-a, -b) = -max(a, b)
		other := minAtom + maxAtom - kind
		if neg := mapExprs(args, Expr.Neg); firstErr(neg...) == nil {
			return extreme(other, neg).Neg()
		}
	}
	slices.SortFunc(args, compareExpr)
	return newAtom(kind, args...)
}

func mapExprs(list []Expr, f func(Expr) Expr) []Expr {
	out := make([]Expr, len(list))
	for i, e := range list {
		out[i] = f(e)
	}
	return out
}

func flatten(kind atomKind, list []Expr) []Expr {
	var flat []Expr
	for _, e := range list {
		if a := e.loneAtom(); a != nil && a.kind == kind {
			flat = append(flat, a.args...)
		} else {
			flat = append(flat, e)
		}
	}
	return flat
}

// nearest keeps one of several operands that are a constant apart.
func nearest(kind atomKind, list []Expr) []Expr {
	slices.SortFunc(list, func(e, f Expr) int {
		a, j := e.splitConst()
		b, k := f.splitConst()
		switch c := compareTerms(a, b); {
		case c != 0:
			return c
		case j == k:
			return 0
		case (j < k) == (kind == minAtom):
			return -1
		}
		return 1
	})
	return slices.CompactFunc(list, func(e, f Expr) bool {
		a, _ := e.splitConst()
		b, _ := f.splitConst()
		return compareTerms(a, b) == 0
	})
}

// commonAddend has, of every monomial, as much as all operands share.
func commonAddend(args []Expr) Expr {
	common := args[0].terms()
	for _, e := range args[1:] {
		var both []term
		ts := e.terms()
		for _, t := range common {
			for len(ts) > 0 && compareMono(ts[0].mono, t.mono) < 0 {
				ts = ts[1:]
			}
			if len(ts) == 0 || compareMono(ts[0].mono, t.mono) != 0 || (t.coef < 0) != (ts[0].coef < 0) {
				continue
			}
			if t.coef < 0 {
				t.coef = max(t.coef, ts[0].coef)
			} else {
				t.coef = min(t.coef, ts[0].coef)
			}
			both = append(both, t)
		}
		common = both
	}
	if slices.ContainsFunc(common, func(t term) bool { return t.coef == math.MinInt64 }) {
		return Expr{} // it can not be subtracted
	}
	return fromTerms(common)
}

// Broadcast is the dim that broadcasting a and b gives, for every pair that may be
// broadcast: equal ones, and 1 with any, 0 included. Where one is what broadcasting others
// gave, it is that of all of them.
//
// Source: ONNX, Broadcasting in ONNX, multidirectional broadcasting.
func Broadcast(a, b Expr) Expr {
	switch {
	case a.Equal(b), b.IsInt(1):
		return a
	case a.IsInt(1):
		return b
	}
	if _, ok := a.Int(); ok {
		return a
	}
	if _, ok := b.Int(); ok {
		return b
	}
	list := a.BroadcastOf()
	for _, e := range b.BroadcastOf() {
		if !slices.ContainsFunc(list, e.Equal) {
			list = append(list, e)
		}
	}
	return extreme(maxAtom, slices.Clone(list)).Mul(extreme(minAtom, append(list, Const(1))))
}

// BroadcastOf gives the dims that e is the broadcast of, itself where it is none: it is
// max(a, b)*min(1, a, b) for a and b.
func (e Expr) BroadcastOf() []Expr {
	if len(e.terms()) == 0 {
		return []Expr{e}
	}
	for _, least := range e.terms()[0].mono {
		one := slices.IndexFunc(least.args, func(x Expr) bool { return x.IsInt(1) })
		if least.kind != minAtom || one < 0 {
			continue
		}
		list := slices.Delete(slices.Clone(least.args), one, one+1)
		if extreme(maxAtom, slices.Clone(list)).Mul(ofAtom(least)).Equal(e) {
			var all []Expr
			for _, x := range list {
				all = append(all, x.BroadcastOf()...)
			}
			return all
		}
	}
	return []Expr{e}
}
