package sym

import "math"

// Inf is no upper bound; math.MinInt64 is no lower one.
const Inf = math.MaxInt64

// interval is a set of integers without gaps. An end at math.MinInt64 or Inf is
// infinite, so that arithmetic that overflows stays sound.
type interval struct{ lo, hi int64 }

var (
	everything = interval{math.MinInt64, Inf}
	naturals   = interval{0, Inf}
)

func point(v int64) interval { return interval{v, v} }

func isInf(v int64) bool { return v == math.MinInt64 || v == Inf }

// saturate turns a result that did not fit into the infinity on its side.
func saturate(v int64, ok, negative bool) int64 {
	switch {
	case ok:
		return v
	case negative:
		return math.MinInt64
	}
	return Inf
}

// addEnd adds two ends of the same side; if one is infinite so is the sum.
func addEnd(a, b int64) int64 {
	switch {
	case isInf(a):
		return a
	case isInf(b):
		return b
	}
	s, ok := addInt64(a, b)
	return saturate(s, ok, a < 0)
}

func mulEnd(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	p, ok := mulInt64(a, b)
	return saturate(p, ok && !isInf(a) && !isInf(b), (a < 0) != (b < 0))
}

// span is the interval of two ends; one beyond int64 on the wrong side is as far as a
// finite end goes.
func span(lo, hi int64) interval { return interval{min(lo, Inf-1), max(hi, math.MinInt64+1)} }

func (x interval) add(y interval) interval { return span(addEnd(x.lo, y.lo), addEnd(x.hi, y.hi)) }

func (x interval) mul(y interval) interval {
	a, b, c, d := mulEnd(x.lo, y.lo), mulEnd(x.lo, y.hi), mulEnd(x.hi, y.lo), mulEnd(x.hi, y.hi)
	return span(min(a, b, c, d), max(a, b, c, d))
}

func (x interval) neg() interval { return span(mulEnd(x.hi, -1), mulEnd(x.lo, -1)) }

func (x interval) and(y interval) interval { return interval{max(x.lo, y.lo), min(x.hi, y.hi)} }

func (x interval) hull(y interval) interval { return interval{min(x.lo, y.lo), max(x.hi, y.hi)} }

func (x interval) empty() bool { return x.lo > x.hi }

// byDivisor computes a function of n and d where d is positive, on the parts of d that
// are not 0; for a negative d it takes -n and -d.
func byDivisor(n, d interval, positive func(n, d interval) interval, flip func(interval) interval) interval {
	out := interval{Inf, math.MinInt64}
	if pos := d.and(interval{1, Inf}); !pos.empty() {
		out = out.hull(positive(n, pos))
	}
	if neg := d.and(interval{math.MinInt64, -1}); !neg.empty() {
		out = out.hull(flip(positive(n.neg(), neg.neg())))
	}
	if out.empty() { // divided by 0 always
		return everything
	}
	return out
}

func (x interval) floorDiv(d interval) interval {
	div := func(n, d int64) int64 {
		switch {
		case isInf(n):
			return n
		case d == Inf && n < 0:
			return -1
		case d == Inf:
			return 0
		}
		return floorDiv(n, d)
	}
	return byDivisor(x, d, func(n, d interval) interval {
		return interval{min(div(n.lo, d.lo), div(n.lo, d.hi)), max(div(n.hi, d.lo), div(n.hi, d.hi))}
	}, func(q interval) interval { return q })
}

func (x interval) mod(d interval) interval {
	return byDivisor(x, d, func(n, d interval) interval {
		r := interval{0, addEnd(d.hi, -1)}
		switch {
		case isInf(n.lo):
		case d.lo == d.hi && !isInf(n.hi) && floorDiv(n.lo, d.lo) == floorDiv(n.hi, d.lo):
			r = interval{floorMod(n.lo, d.lo), floorMod(n.hi, d.lo)}
		case n.lo >= 0 && n.hi < d.lo:
			r = n
		case n.lo >= 0:
			r.hi = min(r.hi, n.hi)
		}
		return r
	}, interval.neg)
}

// ranges gives the interval of a symbol.
type ranges func(name string) interval

// of is an interval that e lies in.
func (r ranges) of(e Expr) interval {
	if e.Err() != nil {
		return everything
	}
	sum := point(0)
	for _, t := range e.terms() {
		sum = sum.add(point(t.coef).mul(r.ofMono(t.mono)))
	}
	return sum
}

func (r ranges) ofMono(m mono) interval {
	out := point(1)
	for i := 0; i < len(m); {
		x, n := r.ofAtom(m[i]), 1
		power := x
		for ; i+n < len(m) && compareAtom(m[i], m[i+n]) == 0; n++ {
			power = power.mul(x)
		}
		if n%2 == 0 {
			power.lo = max(power.lo, 0)
		}
		out = out.mul(power)
		i += n
	}
	return out
}

func (r ranges) ofAtom(a *atom) interval {
	if a.kind == symbolAtom {
		return r(a.name)
	}
	x := r.of(a.args[0])
	for _, arg := range a.args[1:] {
		y := r.of(arg)
		switch a.kind {
		case floorDivAtom:
			x = x.floorDiv(y)
		case modAtom:
			x = x.mod(y)
		case minAtom:
			x = interval{min(x.lo, y.lo), min(x.hi, y.hi)}
		case maxAtom:
			x = interval{max(x.lo, y.lo), max(x.hi, y.hi)}
		}
	}
	return x
}
