package tensor

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// CastOpts are the options of ONNX Cast.
type CastOpts struct {
	NoSaturate bool   // to an f8 type: what is too large becomes infinity or NaN
	RoundMode  string // to f8e8m0: "up" (the default), "down", "nearest"
}

// Convert is ONNX Cast: floats to integers truncate (NaN to 0, what does not fit wraps
// from the nearest 64-bit integer), integers wrap, anything to bool is "not zero", strings
// are parsed and formatted.
func Convert(t *Tensor, d DType, o CastOpts) (*Tensor, error) {
	if t.dtype == d {
		return t, nil
	}
	out, err := Make(d, t.shape)
	if err != nil {
		return nil, err
	}
	if d == Bool {
		for i := range t.len {
			out.SetBool(i, t.Bool(i))
		}
		return out, nil
	}
	for i := range t.len {
		if err := convertElem(out, t, i, o); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return out, nil
}

func convertElem(out, t *Tensor, i int64, o CastOpts) error {
	from, to := t.dtype, out.dtype
	switch {
	case from == String:
		s := strings.TrimSpace(t.strs[i])
		if to.IsInt() {
			if n, err := strconv.ParseInt(s, 10, 64); err == nil {
				out.SetInt(i, n)
				return nil
			} else if u, err := strconv.ParseUint(s, 10, 64); err == nil {
				out.SetInt(i, int64(u))
				return nil
			}
		}
		v := parseFloat(s)
		if math.IsNaN(v) && !strings.Contains(strings.ToLower(s), "nan") {
			return fmt.Errorf("%q is no number", s)
		}
		out.setFloat(i, v, o)
	case to == String:
		switch {
		case from.IsFloat():
			bits := 32
			if from == F64 {
				bits = 64
			}
			out.strs[i] = formatFloat(t.Float(i), bits)
		default:
			out.strs[i] = t.elem(i)
		}
	case from.IsComplex() && to.IsComplex():
		out.SetComplex(i, t.Complex(i))
	case from == U64 && to.IsFloat():
		out.setFloat(i, t.Float(i), o)
	case from.IsInt() || from == Bool:
		if to.IsInt() {
			out.SetInt(i, t.Int(i))
		} else {
			out.setFloat(i, t.Float(i), o)
		}
	default:
		out.setFloat(i, t.Float(i), o)
	}
	return nil
}

func parseFloat(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil && !math.IsInf(v, 0) {
		return math.NaN()
	}
	return v
}

func formatFloat(v float64, bits int) string {
	switch {
	case v != v:
		return "NaN"
	case math.IsInf(v, 1):
		return "INF"
	case math.IsInf(v, -1):
		return "-INF"
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}

// Equal says whether two values are the same: element types, shapes and bits, but
// for what a NaN carries.
func Equal(a, b Value) bool {
	switch a := a.(type) {
	case *Tensor:
		b, ok := b.(*Tensor)
		if !ok || a.dtype != b.dtype || !slices.Equal(a.shape, b.shape) {
			return false
		}
		if a.dtype == String {
			return slices.Equal(a.strs, b.strs)
		}
		if string(a.data) == string(b.data) {
			return true
		}
		for i := range a.len {
			if a.dtype == C128 || a.dtype == C64 {
				x, y := a.Complex(i), b.Complex(i)
				if !sameFloat(real(x), real(y)) || !sameFloat(imag(x), imag(y)) {
					return false
				}
			} else if a.bitsOf(i) != b.bitsOf(i) && !(a.dtype.IsFloat() && math.IsNaN(a.Float(i)) && math.IsNaN(b.Float(i))) {
				return false
			}
		}
		return true
	case *Sequence:
		b, ok := b.(*Sequence)
		return ok && slices.EqualFunc(a.Elems, b.Elems, Equal)
	case *Optional:
		b, ok := b.(*Optional)
		if !ok || (a.Elem == nil) != (b.Elem == nil) {
			return false
		}
		return a.Elem == nil || Equal(a.Elem, b.Elem)
	}
	return a == nil && b == nil
}

func sameFloat(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}
