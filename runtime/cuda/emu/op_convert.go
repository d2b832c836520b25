package emu

import (
	"math"
	"math/big"
)

// decodeCvt decodes cvt and cvt.pack.
func decodeCvt(d *decoder) {
	if len(d.types) >= 3 {
		decodeCvtPack(d)
		return
	}
	to, from := d.typ(0, 2), d.typ(1, 2)
	for _, t := range []typ{to, from} {
		if t == pred || t == b8 || t == b16 || t == b32 || t == b64 || t == b128 {
			d.fail("type .%v is not one of its types", t)
			return
		}
	}
	how := d.oneOf("rni", "rzi", "rmi", "rpi", "rn", "rz", "rm", "rp", "rna")
	ftz, sat, relu := d.take("ftz"), d.take("sat"), d.take("relu")
	if s, two := smallOf(to); two {
		decodeCvtTwo(d, s, from, how, relu)
		return
	}
	if !d.operands(2, 2) {
		return
	}
	loose := !to.float() || to == tf32
	dstType := to
	if to == tf32 || to == bf16 || to == f16 {
		dstType = [...]typ{4: b32, 2: b16}[to.bytes()]
	}
	srcType := from
	if from == bf16 || from == f16 {
		srcType = b16
	}
	dst := d.result(&d.in.args[0], dstType, loose)
	src := d.value(&d.in.args[1], srcType, !from.float())
	if d.err != nil {
		return
	}
	integer := how == "rni" || how == "rzi" || how == "rmi" || how == "rpi"
	r := map[string]rounding{"": nearest, "rni": nearest, "rzi": toZero, "rmi": down, "rpi": up,
		"rn": nearest, "rz": toZero, "rm": down, "rp": up, "rna": nearestAway}[how]
	var f func(x uint64) uint64
	switch {
	case !from.float() && !to.float():
		if how != "" {
			d.fail("rounding between integers")
		}
		f = intToInt(from, to, sat)
	case !from.float():
		if how == "" || integer {
			d.fail("a rounding modifier such as .rn is needed")
		}
		f = intToFloat(from, to, r)
		if sat {
			f = after(f, saturate(to))
		}
	case !to.float():
		if !integer {
			d.fail("a rounding modifier such as .rzi is needed")
		}
		g := floatToInt(to, from, r)
		f = func(x uint64) uint64 { return g(widen(x, from, ftz)) }
	default:
		narrow := to.bytes() < from.bytes() || to == tf32 || to == bf16 && from == f16 || to == f16 && from == bf16
		switch {
		case narrow && (how == "" || integer):
			d.fail("a rounding modifier such as .rn is needed")
		case !narrow && how != "" && !integer:
			d.fail("a widening conversion does not round")
		case integer && to != from:
			d.fail("rounding to an integer is between equal types")
		}
		if to == tf32 {
			d.needs(80, 70)
		}
		f = func(x uint64) uint64 {
			v := widen(x, from, ftz)
			if integer {
				v = roundInt(v, r)
			}
			return narrowTo(v, to, r, ftz)
		}
		if to == from && how == "" {
			f = func(x uint64) uint64 { return narrowTo(widen(x, from, ftz), to, nearest, ftz) }
		}
		if sat {
			f = after(f, saturate(to))
		}
		if relu {
			sign := uint64(1) << (to.bits() - 1)
			f = after(f, func(v uint64) uint64 {
				if v&sign != 0 {
					return 0
				}
				return v
			})
		}
	}
	if !to.float() {
		// A wider register gets the value, with its sign.
		mask := width(&d.in.args[0])
		f = after(f, func(v uint64) uint64 { return as(v, to) & mask })
	}
	if d.err != nil {
		return
	}
	d.out.run = unary(dst, src, f)
}

func after(f, g func(uint64) uint64) func(uint64) uint64 {
	if f == nil {
		return nil
	}
	return func(x uint64) uint64 { return g(f(x)) }
}

// saturate clamps a float of type t to [0, 1].
func saturate(t typ) func(uint64) uint64 {
	return func(v uint64) uint64 {
		f := widen(v, t, false)
		switch {
		case f != f || f <= 0:
			return 0
		case f > 1:
			return narrowTo(1, t, nearest, false)
		}
		return v
	}
}

func intToInt(from, to typ, sat bool) func(uint64) uint64 {
	mask := to.mask()
	if !sat {
		return func(x uint64) uint64 { return as(x&from.mask(), from) & mask }
	}
	return func(x uint64) uint64 {
		x &= from.mask()
		v := as(x, from)
		negative := from.signed() && int64(v) < 0
		top := mask
		if to.signed() {
			top >>= 1
		}
		switch {
		case negative && !to.signed():
			return 0
		case negative:
			return uint64(max(int64(v), -int64(top)-1)) & mask
		}
		return min(v, top)
	}
}

func intToFloat(from, to typ, r rounding) func(uint64) uint64 {
	return func(x uint64) uint64 {
		v := as(x&from.mask(), from)
		var f float64
		if from.signed() {
			f = float64(int64(v))
		} else {
			f = float64(v)
		}
		e := 0.0
		if from.bits() == 64 { // what f misses of v
			b := new(big.Float).SetPrec(64)
			if from.signed() {
				b.SetInt64(int64(v))
			} else {
				b.SetUint64(v)
			}
			e, _ = new(big.Float).Sub(b, new(big.Float).SetFloat64(f)).Float64()
		}
		switch to {
		case f64:
			return math.Float64bits(round64(f, e, r))
		case f32:
			return uint64(math.Float32bits(round32(f, e, r)))
		}
		s, _ := smallOf(to)
		return s.round(f, e, r)
	}
}

// widen gives the value of a float.
func widen(x uint64, t typ, ftz bool) float64 {
	switch t {
	case f64:
		return fromF64(x)
	case f32, tf32:
		if ftz {
			x = flush32(x)
		}
		return float64(fromF32(x))
	case f16:
		return half.get(x)
	}
	return brain.get(x)
}

func narrowTo(v float64, t typ, r rounding, ftz bool) uint64 {
	switch t {
	case f64:
		return toF64(v)
	case f32:
		x := toF32(round32(v, 0, r))
		if ftz {
			x = flush32(x)
		}
		return x
	case tf32:
		return tf32Round(toF32(float32(v)))
	}
	s, _ := smallOf(t)
	return s.round(v, 0, r)
}

func roundInt(v float64, r rounding) float64 {
	switch r {
	case toZero:
		return math.Trunc(v)
	case down:
		return math.Floor(v)
	case up:
		return math.Ceil(v)
	}
	return math.RoundToEven(v)
}

// floatToInt rounds and clamps. NaN becomes 0, and where one of the two has 64 bits the highest bit alone.
func floatToInt(to, from typ, r rounding) func(v float64) uint64 {
	mask, nan := to.mask(), uint64(0)
	if from == f64 || to.bits() == 64 {
		nan = 1 << (to.bits() - 1)
	}
	lo, hi := 0.0, math.Ldexp(1, to.bits())
	if to.signed() {
		hi /= 2
		lo = -hi
	}
	return func(v float64) uint64 {
		v = roundInt(v, r)
		switch {
		case v != v:
			return nan
		case v <= lo:
			return uint64(int64(lo)) & mask
		case v >= hi:
			if to.signed() {
				return mask >> 1
			}
			return mask
		case v < 0:
			return uint64(int64(v)) & mask
		}
		return uint64(v) & mask
	}
}

// decodeCvtTwo decodes conversions of two f32 to a pair: the first operand is the upper one.
func decodeCvtTwo(d *decoder, s *small, from typ, how string, relu bool) {
	if from != f32 || how != "rn" && how != "rz" {
		d.fail("only from .f32, with .rn or .rz")
		return
	}
	if !d.operands(3, 3) {
		return
	}
	d.needs(80, 70)
	r := nearest
	if how == "rz" {
		r = toZero
	}
	one := func(x uint64) uint64 {
		v := s.round(float64(fromF32(x)), 0, r)
		if relu && v>>15 != 0 {
			return 0
		}
		return v
	}
	d.out.run = binary2(d.dst(0, b32), d.src(1, f32), d.src(2, f32), func(x, y uint64) uint64 { return one(x)<<16 | one(y) })
}

// decodeCvtPack decodes cvt.pack.sat: two s32 to narrow integers, packed below a third operand.
func decodeCvtPack(d *decoder) {
	if !d.take("pack") || !d.take("sat") {
		d.fail("%d types", len(d.types))
		return
	}
	to, from := d.types[0], d.types[1]
	d.among(from, s32)
	d.among(to, u8, s8, u16, s16)
	n := 3
	if to.bits() == 8 {
		n = 4
	}
	if !d.operands(n, n) {
		return
	}
	clamp := intToInt(s32, to, true)
	c := int32(d.f.constSlot(0))
	if n == 4 {
		c = d.src(3, b32)
	}
	w := uint(to.bits())
	d.out.run = ternary(d.dst(0, b32), d.src(1, s32), d.src(2, s32), c, func(x, y, z uint64) uint64 {
		return (z<<(2*w) | clamp(x)<<w | clamp(y)) & 0xffffffff
	})
}
