package emu

import (
	"math"
	"math/big"

	"github.com/pitopt/pitopt/core/tensor"
)

// rounding is a rounding mode.
type rounding uint8

const (
	nearest rounding = iota // to even
	toZero
	down
	up
	nearestAway // ties away from zero
)

// The canonical NaNs, which instructions make.
const (
	nan32 = 0x7fffffff
	nan64 = 0x7fffffffffffffff
	nan16 = 0x7fff
)

func fromF32(v uint64) float32 { return math.Float32frombits(uint32(v)) }

func toF32(f float32) uint64 {
	if f != f {
		return nan32
	}
	return uint64(math.Float32bits(f))
}

func fromF64(v uint64) float64 { return math.Float64frombits(v) }

func toF64(f float64) uint64 {
	if f != f {
		return nan64
	}
	return math.Float64bits(f)
}

// flush32 makes zero of a denormal, with its sign.
func flush32(v uint64) uint64 {
	if v&0x7f800000 == 0 {
		return v & 0x80000000
	}
	return v
}

// saturate32 clamps to [0, 1]; NaN becomes 0.
func saturate32(v uint64) uint64 {
	f := fromF32(v)
	switch {
	case f != f || f <= 0:
		return 0
	case f > 1:
		return 0x3f800000
	}
	return v
}

// sum64 is the nearest to a + b, and what is missing.
func sum64(a, b float64) (s, e float64) {
	s = a + b
	t := s - a
	e = float64(a-(s-t)) + float64(b-t)
	if e != e { // of infinities
		e = 0
	}
	return s, e
}

// odd is v + e rounded so that what is cut off leaves the last bit set: rounding that to
// fewer bits is as rounding v + e.
func odd(v, e float64) float64 {
	if e == 0 || math.Float64bits(v)&1 != 0 || math.IsInf(v, 0) {
		return v
	}
	if e > 0 {
		return math.Nextafter(v, math.Inf(1))
	}
	return math.Nextafter(v, math.Inf(-1))
}

// round32 rounds v + e, where e is less than v's last bit, to f32.
func round32(v, e float64, r rounding) float32 {
	if r == nearest {
		if e != 0 {
			v = odd(v, e)
		}
		return float32(v)
	}
	if v == 0 && e == 0 {
		return float32(v)
	}
	f := float32(v)
	d := v - float64(f) // what f misses
	if math.IsInf(v, 0) || v != v {
		return f
	}
	if math.IsInf(float64(f), 0) {
		d = -float64(f)
	}
	if d == 0 {
		d = e
	}
	negative := v < 0 || v == 0 && e < 0
	switch {
	case d == 0:
	case d > 0 && (r == up || r == toZero && negative):
		return math.Nextafter32(f, float32(math.Inf(1)))
	case d < 0 && (r == down || r == toZero && !negative):
		return math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

// round64 steps v, the nearest, to what r makes of v + e.
func round64(v, e float64, r rounding) float64 {
	if e == 0 || r == nearest || v != v {
		return v
	}
	if math.IsInf(v, 0) {
		e = -v
	}
	negative := v < 0 || v == 0 && e < 0
	switch {
	case e > 0 && (r == up || r == toZero && negative):
		return math.Nextafter(v, math.Inf(1))
	case e < 0 && (r == down || r == toZero && !negative):
		return math.Nextafter(v, math.Inf(-1))
	}
	return v
}

// add32 and the others compute in f32 with a rounding.
func add32(a, b float32, r rounding) float32 {
	if r == nearest {
		return a + b
	}
	s, e := sum64(float64(a), float64(b))
	if s == 0 && e == 0 && r == down && (a != 0 || math.Signbit(float64(a)) != math.Signbit(float64(b))) {
		return float32(math.Copysign(0, -1))
	}
	return round32(s, e, r)
}

func mul32(a, b float32, r rounding) float32 {
	if r == nearest {
		return a * b
	}
	return round32(float64(a)*float64(b), 0, r)
}

// fma32 is a*b + c with one rounding.
func fma32(a, b, c float32, r rounding) float32 {
	p := float64(a) * float64(b) // exact
	s := p + float64(c)
	if r == nearest {
		// To round s again goes wrong at a tie, or where the result is denormal, alone.
		if math.Float64bits(s)&0x1fffffff != 0x10000000 && (s >= 0x1p-126 || s <= -0x1p-126 || s == 0) {
			return float32(s)
		}
	}
	s, e := sum64(p, float64(c))
	if s == 0 && e == 0 && r == down && (p != 0 || math.Signbit(p) != math.Signbit(float64(c))) {
		return float32(math.Copysign(0, -1))
	}
	return round32(s, e, r)
}

func div32(a, b float32, r rounding) float32 {
	q := float64(a) / float64(b)
	if r == nearest || q != q || math.IsInf(q, 0) || math.IsInf(float64(b), 0) {
		return float32(q)
	}
	e := math.FMA(-q, float64(b), float64(a))
	if b < 0 {
		e = -e
	}
	return round32(q, e, r)
}

func sqrt32(a float32, r rounding) float32 {
	s := math.Sqrt(float64(a))
	if r == nearest || s != s || math.IsInf(s, 0) {
		return float32(s)
	}
	return round32(s, math.FMA(-s, s, float64(a)), r)
}

// exact64 computes in f64 with a rounding that is not to nearest.
func exact64(r rounding, v float64, f func(z *big.Float)) float64 {
	if v != v || math.IsInf(v, 0) && r == nearest {
		return v
	}
	z := new(big.Float).SetPrec(4400)
	f(z)
	if math.IsInf(v, 0) {
		// Infinite operands have no place in f: only an overflow gets here.
		return round64(v, 1, r)
	}
	e := new(big.Float).SetPrec(4400).Sub(z, new(big.Float).SetFloat64(v))
	return round64(v, float64(e.Sign()), r)
}

func finite(v ...float64) bool {
	for _, x := range v {
		if math.IsInf(x, 0) || x != x {
			return false
		}
	}
	return true
}

func add64(a, b float64, r rounding) float64 {
	v := a + b
	if r == nearest || !finite(a, b) {
		return v
	}
	if v == 0 {
		if r == down && (a != 0 || math.Signbit(a) != math.Signbit(b)) {
			return math.Copysign(0, -1)
		}
		return v
	}
	return exact64(r, v, func(z *big.Float) { z.Add(new(big.Float).SetFloat64(a), new(big.Float).SetFloat64(b)) })
}

func mul64(a, b float64, r rounding) float64 {
	v := a * b
	if r == nearest || !finite(a, b) || a == 0 || b == 0 {
		return v
	}
	return exact64(r, v, func(z *big.Float) { z.Mul(new(big.Float).SetFloat64(a), new(big.Float).SetFloat64(b)) })
}

func fma64(a, b, c float64, r rounding) float64 {
	v := math.FMA(a, b, c)
	if r == nearest || !finite(a, b, c) {
		return v
	}
	if a == 0 || b == 0 {
		return add64(a*b, c, r)
	}
	return exact64(r, v, func(z *big.Float) {
		z.Mul(new(big.Float).SetFloat64(a), new(big.Float).SetFloat64(b))
		z.Add(z, new(big.Float).SetFloat64(c))
	})
}

func div64(a, b float64, r rounding) float64 {
	v := a / b
	if r == nearest || !finite(a, b, v) || v == 0 {
		return v
	}
	e := math.FMA(-v, b, a)
	if b < 0 {
		e = -e
	}
	return round64(v, e, r)
}

func sqrt64(a float64, r rounding) float64 {
	v := math.Sqrt(a)
	if r == nearest || !finite(v) || v == 0 {
		return v
	}
	return round64(v, math.FMA(-v, v, a), r)
}

// small is a float of 16 bits.
type small struct {
	t    typ
	from func(h uint16) float32
	to   func(v float64) uint16
	nan  uint64
	inf  uint16
}

var (
	half  = &small{f16, tensor.F16ToF32, tensor.F64ToF16, nan16, 0x7c00}
	brain = &small{bf16, tensor.BF16ToF32, tensor.F64ToBF16, nan16, 0x7f80}
)

func (s *small) get(v uint64) float64 { return float64(s.from(uint16(v))) }

// round is v + e in 16 bits.
func (s *small) round(v, e float64, r rounding) uint64 {
	if v != v {
		return s.nan
	}
	if r == nearest {
		return uint64(s.to(odd(v, e)))
	}
	h := s.to(v)
	f := s.get(uint64(h))
	d := v - f
	if math.IsInf(v, 0) {
		return uint64(h)
	}
	if math.IsInf(f, 0) {
		d = -f
	}
	if d == 0 {
		d = e
	}
	negative := v < 0 || v == 0 && e < 0
	switch {
	case d > 0 && (r == up || r == toZero && negative):
		return uint64(s.step(h, true))
	case d < 0 && (r == down || r == toZero && !negative):
		return uint64(s.step(h, false))
	}
	return uint64(h)
}

// step is the next number above or below.
func (s *small) step(h uint16, above bool) uint16 {
	switch {
	case h&0x7fff == 0:
		if above {
			return 1
		}
		return 0x8001
	case (h&0x8000 == 0) == above:
		return h + 1
	}
	return h - 1
}

// tf32Round rounds f32 to the 10 bits of tf32, ties away from zero.
func tf32Round(v uint64) uint64 {
	if v&0x7f800000 == 0x7f800000 {
		if v&0x7fffff != 0 {
			return nan32
		}
		return v
	}
	return (v + 0x1000) &^ 0x1fff & 0xffffffff
}

// pairs applies an operation on 16 bits to both halves.
func pairs1(f func(x uint64) uint64) func(x uint64) uint64 {
	return func(x uint64) uint64 { return f(x&0xffff) | f(x>>16)<<16 }
}

func pairs2(f func(x, y uint64) uint64) func(x, y uint64) uint64 {
	return func(x, y uint64) uint64 { return f(x&0xffff, y&0xffff) | f(x>>16, y>>16)<<16 }
}

func pairs3(f func(x, y, z uint64) uint64) func(x, y, z uint64) uint64 {
	return func(x, y, z uint64) uint64 {
		return f(x&0xffff, y&0xffff, z&0xffff) | f(x>>16, y>>16, z>>16)<<16
	}
}
