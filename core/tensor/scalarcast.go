package tensor

import (
	"math"
	"math/bits"
)

// RoundTo is v as an element of float type d holds it: what Convert makes of an f64.
func RoundTo(d DType, v float64, o CastOpts) float64 {
	switch d {
	case F64:
		return v
	case F32:
		return float64(float32(v))
	case F16, BF16:
		if w := float32(v); float64(w) == v { // an f32 takes the quick way
			if d == F16 {
				return float64(F16ToF32(F32ToF16(w)))
			}
			return float64(BF16ToF32(F32ToBF16(w)))
		}
	}
	return decodeSmall(d, encodeSmall(d, v, o))
}

// TruncateTo is v as Convert gives it to integer type d: towards zero, NaN to 0, and
// before it wraps into d what does not fit 64 bits is the nearest bound. Unsigned values
// come by their bits.
func TruncateTo(d DType, v float64) int64 {
	switch {
	case v != v:
		return 0
	case v < -0x1p63:
		return math.MinInt64
	case v < 0x1p63:
		return int64(v)
	case d != U64:
		return math.MaxInt64
	case v < 0x1p64:
		return int64(uint64(v))
	}
	return -1 // the largest u64
}

// IntToFloat is an f64 that rounds to d as v itself does. Where v does not fit 53 bits
// and d is narrower than f64, that is v rounded to odd: rounding to nearest first could
// make a tie of what is none.
func IntToFloat(d DType, v int64) float64 {
	if v < 0 {
		return -UintToFloat(d, -uint64(v))
	}
	return UintToFloat(d, uint64(v))
}

// UintToFloat is IntToFloat for unsigned v.
func UintToFloat(d DType, v uint64) float64 {
	unused := bits.Len64(v) - 53
	if unused <= 0 || d == F64 || d == C128 {
		return float64(v)
	}
	if lost := v & (1<<unused - 1); lost != 0 {
		v = v&^lost | 1<<unused
	}
	return float64(v)
}
