package tensor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The not-a-number that the text "nan" stands for; others are written as their bits.
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

// AppendText appends element i in a form that SetText reads back to the same bits:
// the shortest decimal number, nan, inf, true, a quoted string, (re, im) for complex
// numbers; 0x and the bits for what has no other name.
func (t *Tensor) AppendText(b []byte, i int64) []byte {
	d := t.dtype
	switch {
	case d == String:
		return strconv.AppendQuote(b, t.strs[i])
	case d == Bool:
		if v := t.data[i]; v > 1 {
			return appendBits(b, uint64(v))
		}
		return strconv.AppendBool(b, t.data[i] != 0)
	case d.IsInt() && d.IsSigned():
		return strconv.AppendInt(b, t.Int(i), 10)
	case d.IsInt():
		return strconv.AppendUint(b, t.Uint(i), 10)
	case d == C64:
		re, im := le.Uint32(t.data[8*i:]), le.Uint32(t.data[8*i+4:])
		b = appendF32(append(b, '('), re)
		return append(appendF32(append(b, ", "...), im), ')')
	case d == C128:
		re, im := le.Uint64(t.data[16*i:]), le.Uint64(t.data[16*i+8:])
		b = AppendFloatText(append(b, '('), math.Float64frombits(re))
		return append(AppendFloatText(append(b, ", "...), math.Float64frombits(im)), ')')
	case d == F64:
		return AppendFloatText(b, t.Float(i))
	case d == F32:
		return appendF32(b, uint32(t.bitsOf(i)))
	}
	raw := t.bitsOf(i)
	v := decodeSmall(d, uint16(raw))
	if v != v && raw != uint64(encodeSmall(d, math.NaN(), textCast)) {
		return appendBits(b, raw) // one of several NaNs
	}
	if v-v != 0 {
		return appendSpecial(b, v)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 32)
}

// textCast is how decimal numbers become small floats: what lies between two rounds to the
// nearer one, and infinities stay what they are.
var textCast = CastOpts{NoSaturate: true, RoundMode: "nearest"}

func appendBits(b []byte, raw uint64) []byte {
	return strconv.AppendUint(append(b, "0x"...), raw, 16)
}

func appendF32(b []byte, raw uint32) []byte {
	v := math.Float32frombits(raw)
	switch {
	case v != v && raw != nan32:
		return appendBits(b, uint64(raw))
	case v != v || math.IsInf(float64(v), 0):
		return appendSpecial(b, float64(v))
	}
	return strconv.AppendFloat(b, float64(v), 'g', -1, 32)
}

func appendSpecial(b []byte, v float64) []byte {
	switch {
	case v != v:
		return append(b, "nan"...)
	case v < 0:
		return append(b, "-inf"...)
	}
	return append(b, "inf"...)
}

// AppendFloatText appends v as an f64 element is written.
func AppendFloatText(b []byte, v float64) []byte {
	raw := math.Float64bits(v)
	switch {
	case v != v && raw != nan64:
		return appendBits(b, raw)
	case v != v || math.IsInf(v, 0):
		return appendSpecial(b, v)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// ParseFloatText reads what AppendFloatText writes.
func ParseFloatText(s string) (float64, error) {
	raw, err := floatBits(s, 64)
	return math.Float64frombits(raw), err
}

// floatBits gives the bits of an f32 or f64 from its text.
func floatBits(s string, size int) (uint64, error) {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		return strconv.ParseUint(hex, 16, size)
	}
	if s == "nan" {
		if size == 32 {
			return nan32, nil
		}
		return nan64, nil
	}
	v, err := strconv.ParseFloat(s, size)
	if size == 32 {
		return uint64(math.Float32bits(float32(v))), err
	}
	return math.Float64bits(v), err
}

// SetText stores what AppendText writes. Numbers that the element type has not are
// rounded; those beyond its range are errors.
func (t *Tensor) SetText(i int64, s string) error {
	d := t.dtype
	var raw uint64
	var err error
	switch hex, isHex := strings.CutPrefix(s, "0x"); {
	case d == String:
		t.strs[i], err = strconv.Unquote(s)
		return elemError(d, s, err)
	case d.IsComplex():
		return t.setComplexText(i, s)
	case isHex && (d == Bool || d.IsFloat()):
		raw, err = strconv.ParseUint(hex, 16, d.Bits())
	case d == Bool:
		var v bool
		if v, err = strconv.ParseBool(s); v {
			raw = 1
		}
	case d.IsInt() && d.IsSigned():
		var n int64
		n, err = strconv.ParseInt(s, 10, d.Bits())
		raw = uint64(n)
	case d.IsInt():
		raw, err = strconv.ParseUint(s, 10, d.Bits())
	case d == F32 || d == F64:
		raw, err = floatBits(s, d.Bits())
	default:
		var v float64
		if v, err = strconv.ParseFloat(s, 64); err == nil {
			raw = uint64(encodeSmall(d, v, textCast))
			if outOfRange(d, v) {
				err = strconv.ErrRange
			}
		}
	}
	if err != nil {
		return elemError(d, s, err)
	}
	t.setBits(i, raw)
	return nil
}

// outOfRange says whether a finite v lies beyond the values of a float of at most 16 bits.
func outOfRange(d DType, v float64) bool {
	if d == F4E2M1 {
		return math.Abs(v) >= 7 // halfway from 6 to what would be next
	}
	r := RoundTo(d, v, CastOpts{NoSaturate: true})
	finite, stays := v-v == 0, r-r == 0
	return finite && !stays && v != 0
}

func (t *Tensor) setComplexText(i int64, s string) error {
	re, im, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(s, "("), ")"), ",")
	if !ok || s[0] != '(' || s[len(s)-1] != ')' {
		return fmt.Errorf("%q is no complex number (re, im)", s)
	}
	half := t.dtype.Bits() / 2
	for j, part := range []string{re, im} {
		raw, err := floatBits(strings.TrimSpace(part), half)
		if err != nil {
			return elemError(t.dtype, s, err)
		}
		if half == 32 {
			le.PutUint32(t.data[8*i+4*int64(j):], uint32(raw))
		} else {
			le.PutUint64(t.data[16*i+8*int64(j):], raw)
		}
	}
	return nil
}

func elemError(d DType, s string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*strconv.NumError); ok {
		err = e.Err
	}
	return fmt.Errorf("%.40q is no %s: %w", s, d, err)
}
