package tensor

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// convertText is Convert from or to strings. A string is true unless it is empty, as in
// ONNX's reference implementation.
func convertText(out, t *Tensor, o CastOpts) error {
	if out.dtype == String {
		for i := range out.strs {
			out.strs[i] = t.castString(int64(i))
		}
		return nil
	}
	for i := range t.strs {
		if err := out.parse(int64(i), t.strs[i], o); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

// castString is element i as Cast writes it.
func (t *Tensor) castString(i int64) string {
	if t.dtype == Bool {
		if t.Bool(i) {
			return "True"
		}
		return "False"
	}
	if t.dtype.IsFloat() {
		return formatNumber(t.Float(i), t.dtype)
	}
	return t.elem(i)
}

// parse stores what a string says, as Cast reads it. For an integer type a float is
// truncated.
func (t *Tensor) parse(i int64, s string, o CastOpts) error {
	switch {
	case t.dtype == Bool:
		t.SetBool(i, s != "")
		return nil
	case t.dtype.IsComplex():
		z, err := strconv.ParseComplex(strings.TrimSpace(s), 128)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%.40q is no complex number", s)
		}
		t.SetComplex(i, z)
		return nil
	case t.dtype.IsInt():
		trimmed := strings.TrimSpace(s)
		if n, err := strconv.ParseInt(trimmed, 10, 64); err == nil {
			t.setBits(i, uint64(n))
			return nil
		}
		if n, err := strconv.ParseUint(trimmed, 10, 64); err == nil {
			t.setBits(i, n)
			return nil
		}
	}
	v, err := parseNumber(s, t.dtype)
	if err != nil {
		return err
	}
	t.setFloat(i, v, o)
	return nil
}

// parseNumber reads a decimal number, INF or NaN, in any case, with or without a sign, as
// the nearest value of d where d is f32, else of f64. What is too large is infinite.
func parseNumber(s string, d DType) (float64, error) {
	bits := 64
	if d == F32 {
		bits = 32
	}
	trimmed := strings.TrimSpace(s)
	switch strings.ToLower(trimmed) {
	case "nan", "+nan", "-nan":
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(trimmed, bits)
	if err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(trimmed, "xX_") { // Go reads hexadecimal, too
		return 0, fmt.Errorf("%.40q is no number", s)
	}
	return v, nil
}

// formatNumber writes a value of float type d as Cast to string does: with the fewest
// digits that tell it from other values of d, plain from 1e-4 to 1e16, and always as a
// float.
func formatNumber(v float64, d DType) string {
	switch {
	case v != v:
		return "NaN"
	case math.IsInf(v, 1):
		return "INF"
	case math.IsInf(v, -1):
		return "-INF"
	}
	bits := 64
	if d == F32 {
		bits = 32
	}
	w := fewDigits(v, d)
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(w, 'e', -1, bits)
	}
	s := strconv.FormatFloat(w, 'f', -1, bits)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// formatShort writes a value of float type d for people.
func formatShort(v float64, d DType) string {
	if d == F32 {
		return fmt.Sprint(float32(v))
	}
	return fmt.Sprint(fewDigits(v, d))
}

// fewDigits is the f64 with the fewest decimal digits that rounds to v in a float type d of
// at most 16 bits: for the f16 next to a tenth, 0.1. Of wider types it is v; strconv knows
// those.
func fewDigits(v float64, d DType) float64 {
	if d == F32 || d == F64 {
		return v
	}
	for digits := range 5 { // after the first; 5 of f16's digits tell all its values apart
		w, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', digits, 64), 64)
		if err == nil && RoundTo(d, w, CastOpts{}) == v {
			return w
		}
	}
	return v
}
