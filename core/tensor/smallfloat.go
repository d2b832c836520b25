package tensor

import "math"

// format describes a float of at most 16 bits: sign, exponent, mantissa. Sources are IEEE
// 754 for f16, the OCP specifications of 8-bit floats and of microscaling formats for
// f8 and f4, and ONNX's Cast for what becomes of values beyond the largest.
type format struct {
	exp, man, bias int
	max            uint16 // the largest finite value
	over           uint16 // what is beyond it: infinity, or NaN where there is none
	nan            uint16
	saturates      bool // Cast gives max instead of over unless it is told not to
	uz             bool // no negative zero: its pattern is the NaN
}

// formats has the formats of small floats but f8e8m0, which is a bare exponent.
var formats = [numDTypes]format{
	F16:        {exp: 5, man: 10, bias: 15, max: 0x7bff, over: 0x7c00, nan: 0x7e00},
	BF16:       {exp: 8, man: 7, bias: 127, max: 0x7f7f, over: 0x7f80, nan: 0x7fc0},
	F8E4M3FN:   {exp: 4, man: 3, bias: 7, max: 0x7e, over: 0x7f, nan: 0x7f, saturates: true},
	F8E4M3FNUZ: {exp: 4, man: 3, bias: 8, max: 0x7f, over: 0x80, nan: 0x80, saturates: true, uz: true},
	F8E5M2:     {exp: 5, man: 2, bias: 15, max: 0x7b, over: 0x7c, nan: 0x7e, saturates: true},
	F8E5M2FNUZ: {exp: 5, man: 2, bias: 16, max: 0x7f, over: 0x80, nan: 0x80, saturates: true, uz: true},
	// f4 has neither infinity nor NaN: too large is the largest, and NaN is -0, as in the
	// cases of ONNX's suite.
	F4E2M1: {exp: 2, man: 1, bias: 1, max: 7, over: 7, nan: 8},
}

// decode gives the exact value of a bit pattern.
func (f *format) decode(b uint16) float64 {
	sign := 1.0
	if b>>(f.exp+f.man)&1 != 0 {
		sign = -1
	}
	mag := b & (1<<(f.exp+f.man) - 1)
	e := int(mag >> f.man)
	m := float64(mag & (1<<f.man - 1))
	switch {
	case f.uz && b == f.nan:
		return math.NaN()
	case mag > f.max && mag == f.over && f.over != f.nan:
		return math.Inf(int(sign))
	case mag > f.max:
		return math.NaN()
	case e == 0:
		return sign * math.Ldexp(m, 1-f.bias-f.man)
	}
	return sign * math.Ldexp(m+float64(int(1)<<f.man), e-f.bias-f.man)
}

// What an f64 is made of.
const (
	man64  = 52
	bias64 = 1023
	inf64  = 0x7ff << man64
)

// encode rounds to nearest, ties to even.
func (f *format) encode(v float64, o CastOpts) uint16 {
	b := math.Float64bits(v)
	sign := uint16(b>>63) << (f.exp + f.man)
	b &^= 1 << 63
	if b > inf64 {
		return sign | f.nan
	}
	e := int(b>>man64) - bias64 // zero and f64's own subnormals are far below every format's
	least := 1 - f.bias         // exponent of the smallest normal number
	last := max(e, least) - f.man
	// The value is m * 2^(e-52); mag is how often 2^last goes into it, rounded.
	mag := uint64(0)
	if shift := man64 - e + last; shift <= man64+1 {
		m := b&(1<<man64-1) | 1<<man64
		mag = m >> shift
		if rest, half := m&(1<<shift-1), uint64(1)<<(shift-1); rest > half || rest == half && mag&1 != 0 {
			mag++
		}
	}
	if e >= least { // mag has the leading one, which the pattern counts as one exponent more
		mag += uint64(e-least) << f.man
	}
	switch {
	case mag <= uint64(f.max):
		if f.uz && mag == 0 {
			return 0
		}
		return sign | uint16(mag)
	case f.saturates && !o.NoSaturate:
		return sign | f.max
	}
	return sign | f.over
}

// f8e8m0 has the powers of two from 2^-127 to 2^127, and a NaN.
const (
	biasE8M0 = 127
	maxE8M0  = 254
	nanE8M0  = 255
)

func decodeE8M0(b uint8) float64 {
	if b == nanE8M0 {
		return math.NaN()
	}
	return math.Ldexp(1, int(b)-biasE8M0)
}

// encodeE8M0 rounds as o.RoundMode says; a tie to nearest goes up. Beyond the range is
// the nearest value there is or, with o.NoSaturate, NaN; zero counts as below the range.
// What ONNX leaves open: negative values are NaN, -0 is as 0.
func encodeE8M0(v float64, o CastOpts) uint8 {
	if v < 0 || v != v {
		return nanE8M0
	}
	b := math.Float64bits(v)
	n := int(b>>man64)&0x7ff - bias64 + biasE8M0
	m := b & (1<<man64 - 1)
	switch o.RoundMode {
	case "down":
	case "nearest":
		if m >= 1<<(man64-1) {
			n++
		}
	default:
		if m != 0 {
			n++
		}
		if v > 0 {
			n = max(n, 0)
		}
	}
	if (n < 0 || n > maxE8M0) && o.NoSaturate {
		return nanE8M0
	}
	return uint8(min(max(n, 0), maxE8M0))
}

// smallValues has the values of all patterns of the f8 and f4 types.
var smallValues = func() (all [numDTypes]*[256]float32) {
	for d := F8E4M3FN; d <= F4E2M1; d++ {
		all[d] = new([256]float32)
		for b := range 1 << d.Bits() {
			if d == F8E8M0 {
				all[d][b] = float32(decodeE8M0(uint8(b)))
			} else {
				all[d][b] = float32(formats[d].decode(uint16(b)))
			}
		}
	}
	return all
}()

// decodeSmall gives the value of a bit pattern of a float of at most 16 bits.
func decodeSmall(d DType, b uint16) float64 {
	switch d {
	case F16:
		return float64(F16ToF32(b))
	case BF16:
		return float64(BF16ToF32(b))
	}
	return float64(smallValues[d][b])
}

// encodeSmall rounds to a float of at most 16 bits, once.
func encodeSmall(d DType, v float64, o CastOpts) uint16 {
	if d == F8E8M0 {
		return uint16(encodeE8M0(v, o))
	}
	return formats[d].encode(v, o)
}

// F16ToF32 is exact.
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

// F32ToF16 rounds to nearest, ties to even; beyond the largest value is infinity.
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

// F64ToF16 is F32ToF16 for an f64, rounded once.
func F64ToF16(v float64) uint16 { return formats[F16].encode(v, CastOpts{}) }

// BF16ToF32 is exact.
func BF16ToF32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// F32ToBF16 rounds to nearest, ties to even; beyond the largest value is infinity.
func F32ToBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if v != v {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// F64ToBF16 is F32ToBF16 for an f64, rounded once.
func F64ToBF16(v float64) uint16 { return formats[BF16].encode(v, CastOpts{}) }

// SmallToF32 gives the value of a bit pattern of an f8 or f4 type; it is exact.
func SmallToF32(d DType, bits uint8) float32 { return smallValues[d][bits] }

// F32ToSmall rounds to an f8 or f4 type: to nearest, ties to even, but for f8e8m0, and
// with what is too large as o says.
func F32ToSmall(d DType, v float32, o CastOpts) uint8 {
	return uint8(encodeSmall(d, float64(v), o))
}
