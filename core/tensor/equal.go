package tensor

import (
	"bytes"
	"math"
	"slices"
)

// Equal says whether two values are the same: element types, shapes and bits, but for
// what a NaN carries and for bits that belong to no element.
func Equal(a, b Value) bool {
	switch a := a.(type) {
	case *Tensor:
		b, ok := b.(*Tensor)
		return ok && equalTensors(a, b)
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

func equalTensors(a, b *Tensor) bool {
	if a.dtype != b.dtype || !slices.Equal(a.shape, b.shape) {
		return false
	}
	if a.dtype == String {
		return slices.Equal(a.strs, b.strs)
	}
	if bytes.Equal(a.data, b.data) {
		return true
	}
	for i := range a.len {
		if !equalElems(a, b, i) {
			return false
		}
	}
	return true
}

func equalElems(a, b *Tensor, i int64) bool {
	if a.dtype.IsComplex() {
		x, y := a.Complex(i), b.Complex(i)
		return sameFloat(real(x), real(y)) && sameFloat(imag(x), imag(y))
	}
	return a.bitsOf(i) == b.bitsOf(i) || a.dtype.IsFloat() && sameFloat(a.Float(i), b.Float(i))
}

func sameFloat(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}
