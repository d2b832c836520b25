package sym

import (
	"math"
	"math/bits"
)

// wide is a 128-bit sum of 64-bit integers, so that only the result can overflow.
type wide struct {
	hi int64
	lo uint64
}

func (w *wide) add(v int64) {
	lo, carry := bits.Add64(w.lo, uint64(v), 0)
	w.lo = lo
	w.hi += v>>63 + int64(carry)
}

func (w *wide) int64() (int64, bool) { return int64(w.lo), w.hi == int64(w.lo)>>63 }

func addInt64(a, b int64) (int64, bool) {
	c := a + b
	return c, (a^c)&(b^c) >= 0
}

func mulInt64(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if (a < 0) != (b < 0) {
		return -int64(lo), hi == 0 && lo <= 1<<63
	}
	return int64(lo), hi == 0 && lo < 1<<63
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// floorDiv is a/b rounded down, for b not 0 and not MinInt64 / -1.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// floorMod has the sign of b.
func floorMod(a, b int64) int64 {
	if r := a % b; r != 0 && (r < 0) != (b < 0) {
		return r + b
	} else {
		return r
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// commonFactor is the greatest common divisor of coefficients, 0 of none. It is 1
// where it would not fit.
func commonFactor(ts []term) int64 {
	g := uint64(0)
	for _, t := range ts {
		g = gcd(magnitude(t.coef), g)
	}
	if g > math.MaxInt64 {
		return 1
	}
	return int64(g)
}

// divTerms divides every coefficient by g, which must divide them.
func divTerms(ts []term, g int64) Expr {
	out := make([]term, len(ts))
	for i, t := range ts {
		out[i] = term{t.coef / g, t.mono}
	}
	return fromTerms(out)
}
