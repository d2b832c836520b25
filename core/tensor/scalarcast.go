package tensor

// RoundTo is v as an element of float type d holds it: what Convert makes of an f64.
func RoundTo(d DType, v float64, o CastOpts) float64 {
	switch d {
	case F64:
		return v
	case F32:
		return float64(float32(v))
	case F16:
		if w := float32(v); float64(w) == v {
			return float64(F16ToF32(F32ToF16(w)))
		}
	case BF16:
		if w := float32(v); float64(w) == v {
			return float64(BF16ToF32(F32ToBF16(w)))
		}
	}
	return formats[d].decode(formats[d].encode(v, d, o))
}

// TruncateTo is v as Convert gives it to integer type d: towards zero, NaN to 0, and
// before it wraps into d what does not fit 64 bits is the nearest bound. Unsigned values
// come by their bits.
func TruncateTo(d DType, v float64) int64 {
	if d != U64 || v != v || v < 0x1p63 {
		return truncate(v)
	}
	if v >= 0x1p64 {
		return -1
	}
	return int64(uint64(v))
}
