package tensor

import "math"

// format describes a small float: sign bit (but for f8e8m0), exponent, mantissa.
type format struct {
	exp, man, bias int
	signed         bool
	inf            bool // the highest exponent is infinity and NaN, as in IEEE 754
	nan            uint16
	hasNaN         bool
	uz             bool // no negative zero: its pattern is the NaN
	max            float64
}

var formats = map[DType]*format{
	F16:        {exp: 5, man: 10, bias: 15, signed: true, inf: true, nan: 0x7e00, hasNaN: true, max: 65504},
	BF16:       {exp: 8, man: 7, bias: 127, signed: true, inf: true, nan: 0x7fc0, hasNaN: true, max: 0x1.fep127},
	F8E4M3FN:   {exp: 4, man: 3, bias: 7, signed: true, nan: 0x7f, hasNaN: true, max: 448},
	F8E4M3FNUZ: {exp: 4, man: 3, bias: 8, signed: true, uz: true, nan: 0x80, hasNaN: true, max: 240},
	F8E5M2:     {exp: 5, man: 2, bias: 15, signed: true, inf: true, nan: 0x7f, hasNaN: true, max: 57344},
	F8E5M2FNUZ: {exp: 5, man: 2, bias: 16, signed: true, uz: true, nan: 0x80, hasNaN: true, max: 57344},
	F4E2M1:     {exp: 2, man: 1, bias: 1, signed: true, max: 6},
	F8E8M0:     {exp: 8, man: 0, bias: 127, nan: 0xff, hasNaN: true, max: 0x1p127},
}

// decode gives the exact value of a bit pattern.
func (f *format) decode(b uint16) float64 {
	if !f.signed { // f8e8m0: powers of two
		if b == f.nan {
			return math.NaN()
		}
		return math.Ldexp(1, int(b)-f.bias)
	}
	sign := 1.0
	if b>>(f.exp+f.man)&1 != 0 {
		sign = -1
	}
	e := int(b>>f.man) & (1<<f.exp - 1)
	m := int(b) & (1<<f.man - 1)
	switch {
	case f.uz && b == f.nan:
		return math.NaN()
	case f.inf && e == 1<<f.exp-1:
		if m == 0 {
			return sign * math.Inf(1)
		}
		return math.NaN()
	case !f.inf && !f.uz && f.hasNaN && e == 1<<f.exp-1 && m == 1<<f.man-1:
		return math.NaN()
	case e == 0:
		return sign * math.Ldexp(float64(m), 1-f.bias-f.man)
	}
	return sign * math.Ldexp(float64(m|1<<f.man), e-f.bias-f.man)
}

// encode rounds to nearest, ties to even. What is beyond the largest finite value
// saturates where the format says so (o.NoSaturate not set, f8 and f4), else becomes
// infinity or NaN.
func (f *format) encode(v float64, d DType, o CastOpts) uint16 {
	if !f.signed {
		return f.encodeScale(v, o)
	}
	sign := uint16(0)
	if math.Signbit(v) {
		sign = 1 << (f.exp + f.man)
		v = -v
	}
	inf := uint16(1<<f.exp-1) << f.man
	ieee := d == F16 || d == BF16
	top := func(infinite bool) uint16 {
		switch {
		case ieee || f.inf && (o.NoSaturate):
			return sign | inf
		case !f.hasNaN, !o.NoSaturate:
			return f.biggest() | sign
		case f.uz:
			return f.nan
		}
		return f.nan | sign
	}
	switch {
	case v != v:
		if !f.hasNaN {
			return 0 // f4 has no NaN
		}
		if f.uz {
			return f.nan
		}
		return sign | f.nan
	case math.IsInf(v, 1):
		return top(true)
	case v == 0:
		if f.uz {
			return 0
		}
		return sign
	}
	_, e := math.Frexp(v) // v = x * 2^e, x in [0.5, 1)
	e--
	lsb := max(e, 1-f.bias) - f.man // exponent of the last mantissa bit
	q := math.RoundToEven(math.Ldexp(v, -lsb))
	r := math.Ldexp(q, lsb)
	if r > f.max {
		return top(false)
	}
	if r == 0 {
		if f.uz {
			return 0
		}
		return sign
	}
	_, e = math.Frexp(r)
	e--
	if e < 1-f.bias {
		return sign | uint16(math.Ldexp(r, f.bias-1+f.man))
	}
	m := uint16(math.Ldexp(r, f.man-e)) - 1<<f.man
	return sign | uint16(e+f.bias)<<f.man | m
}

// biggest is the pattern of the largest finite value.
func (f *format) biggest() uint16 {
	all := uint16(1)<<(f.exp+f.man) - 1
	switch {
	case f.inf:
		return all - 1<<f.man
	case f.uz || !f.hasNaN:
		return all
	}
	return all - 1
}

// encodeScale is for f8e8m0, whose values are powers of two. Rounding is up by default,
// or as o.RoundMode says.
func (f *format) encodeScale(v float64, o CastOpts) uint16 {
	switch {
	case v != v || math.IsInf(v, 0) && o.NoSaturate || v < 0:
		return 0xff
	case math.IsInf(v, 1):
		return 0xfe
	case v == 0:
		return 0
	}
	x, e := math.Frexp(v)
	e-- // v = 2x * 2^e
	x *= 2
	switch o.RoundMode {
	case "down":
	case "nearest":
		if x >= 1.5 {
			e++
		}
	default:
		if x > 1 {
			e++
		}
	}
	switch n := e + f.bias; {
	case n < 0:
		return 0
	case n > 0xfe:
		if o.NoSaturate {
			return 0xff
		}
		return 0xfe
	default:
		return uint16(n)
	}
}

// F16ToF32 and its likes are exact.
func F16ToF32(b uint16) float32 {
	e, m := uint32(b>>10)&31, uint32(b)&1023
	s := uint32(b&0x8000) << 16
	switch {
	case e == 31:
		return math.Float32frombits(s | 0xff<<23 | m<<13)
	case e != 0:
		return math.Float32frombits(s | (e+112)<<23 | m<<13)
	}
	f := float32(m) * 0x1p-24
	return math.Float32frombits(math.Float32bits(f) | s)
}

// F32ToF16 rounds to nearest, ties to even.
func F32ToF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b>>16) & 0x8000
	switch b &= 0x7fffffff; {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00
	case b >= 0x477ff000: // 65520, halfway beyond the largest, and above
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14 f16 counts in 2^-24, as f32 does from 0.5 on
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)&0xffff)
	}
	b += 0xfff + b>>13&1
	return sign | uint16((b-112<<23)>>13)
}

// F64ToF16 rounds once, to nearest, ties to even.
func F64ToF16(v float64) uint16 { return formats[F16].encode(v, F16, CastOpts{}) }

// BF16ToF32 is exact.
func BF16ToF32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// F32ToBF16 rounds to nearest, ties to even.
func F32ToBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if v != v {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// SmallToF32 gives the value of a bit pattern of an f8 or f4 type.
func SmallToF32(d DType, bits uint8) float32 { return float32(formats[d].decode(uint16(bits))) }

// F32ToSmall rounds to an f8 or f4 type.
func F32ToSmall(d DType, v float32, o CastOpts) uint8 {
	return uint8(formats[d].encode(float64(v), d, o))
}
