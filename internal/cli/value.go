package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/tensor"
)

// describe shows a value to people, with at most max elements of a tensor.
func describe(v tensor.Value, max int) string {
	switch v := v.(type) {
	case *tensor.Tensor:
		return v.Format(max)
	case *tensor.Sequence:
		parts := make([]string, len(v.Elems))
		for i, e := range v.Elems {
			parts[i] = describe(e, max)
		}
		return "seq(" + strings.Join(parts, ", ") + ")"
	case *tensor.Optional:
		if v.Elem == nil {
			return "none"
		}
		return "optional(" + describe(v.Elem, max) + ")"
	}
	return fmt.Sprint(v)
}

// typeText is how types are written in results: f32[2, 64].
func typeText(t *tensor.Tensor) string { return t.DType().String() + shapeText(t.Shape()) }

func shapeText(shape []int64) string { return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ") }

// jsonValue is a value for programs: a tensor has dtype, shape and data, the elements in
// row-major order; a sequence has a list of values, an optional a value or null. Numbers
// that JSON does not have are the texts "nan", "inf" and "-inf"; complex numbers are
// [re, im].
func jsonValue(v tensor.Value, data bool) map[string]any {
	switch v := v.(type) {
	case *tensor.Tensor:
		x := map[string]any{"dtype": v.DType().String(), "shape": append([]int64{}, v.Shape()...)}
		if data {
			x["data"] = elements(v)
		}
		return x
	case *tensor.Sequence:
		list := make([]any, len(v.Elems))
		for i, e := range v.Elems {
			list[i] = jsonValue(e, data)
		}
		return map[string]any{"sequence": list}
	case *tensor.Optional:
		if v.Elem == nil {
			return map[string]any{"optional": nil}
		}
		return map[string]any{"optional": jsonValue(v.Elem, data)}
	}
	return map[string]any{"opaque": fmt.Sprint(v)}
}

// elements are those of a tensor as a JSON list.
func elements(t *tensor.Tensor) json.RawMessage {
	d := t.DType()
	b := []byte{'['}
	for i := range t.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case d == tensor.String:
			s, _ := json.Marshal(t.Strings()[i]) // text always can be
			b = append(b, s...)
		case d == tensor.Bool:
			b = strconv.AppendBool(b, t.Bool(i))
		case d.IsComplex():
			c := t.Complex(i)
			bits := d.Bits() / 2
			b = appendNumber(append(b, '['), real(c), bits)
			b = append(appendNumber(append(b, ','), imag(c), bits), ']')
		case d.IsInt():
			b = t.AppendText(b, i)
		case d == tensor.F64:
			b = appendNumber(b, t.Float(i), 64)
		default:
			b = appendNumber(b, t.Float(i), 32)
		}
	}
	return append(b, ']')
}

func appendNumber(b []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, `"nan"`...)
	case math.IsInf(v, 1):
		return append(b, `"inf"`...)
	case math.IsInf(v, -1):
		return append(b, `"-inf"`...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, bits)
}
