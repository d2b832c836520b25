package kernel

import (
	"math"
	"math/big"
	"testing"
)

// The parts of 2/π add up to it, but for multiples of 4, and are as near as parts can be.
func TestQuarters(t *testing.T) {
	const bits = 700
	number := func(n int64) *big.Float { return new(big.Float).SetPrec(bits).SetInt64(n) }
	arctan := func(n int64) *big.Float { // of 1/n
		power, sum := new(big.Float).SetPrec(bits).Quo(number(1), number(n)), number(0)
		for k := int64(1); power.Sign() != 0 && power.MantExp(nil) > -bits; k += 2 {
			term := new(big.Float).SetPrec(bits).Quo(power, number(k))
			if k%4 == 3 {
				term.Neg(term)
			}
			sum.Add(sum, term)
			power.Quo(power, number(n*n))
		}
		return sum
	}
	quarter := new(big.Float).SetPrec(bits).Sub(new(big.Float).Mul(number(4), arctan(5)), arctan(239)) // π/4, as Machin has it
	inverse := new(big.Float).SetPrec(bits).Quo(number(1), new(big.Float).Mul(quarter, number(2)))
	for i, q := range quarters {
		w := new(big.Float).SetPrec(bits).SetMantExp(inverse, q.scale)
		if i > 0 {
			if want := 16*i - 8; q.scale != want {
				t.Errorf("the scale of %d is %d, want %d", i, q.scale, want)
			}
			n, _ := new(big.Float).SetMantExp(w, -2).Int(nil)
			w.Sub(w, new(big.Float).SetMantExp(new(big.Float).SetPrec(bits).SetInt(n), 2))
			if w.Cmp(number(2)) > 0 {
				w.Sub(w, number(4))
			}
		}
		for j, p := range q.parts {
			if v, _ := w.Float32(); v != p {
				t.Errorf("part %d of 2^%d * 2/π is %g, want %g", j, q.scale, p, v)
			}
			w.Sub(w, new(big.Float).SetFloat64(float64(p)))
		}
		if rest, _ := w.Float64(); math.Abs(rest) > 0x1p-97 {
			t.Errorf("2^%d * 2/π lacks %g", q.scale, rest)
		}
	}
}
