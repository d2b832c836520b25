package analysis

import (
	"math"

	"github.com/pitopt/pitopt/core/tensor"
)

// ConstFacts is what is found in a constant by looking at it once.
type ConstFacts struct {
	Elements int64 // that were looked at: all, or of a large one pieces from all over
	Zeros    int64 // how many of these are zero
	Rows     int64 // along the first dim
	ZeroRows int64 // how many of the rows that were looked at have nothing but zeros
}

// Share is which part of the elements is zero.
func (c *ConstFacts) Share() float64 {
	if c.Elements == 0 {
		return 0
	}
	return float64(c.Zeros) / float64(c.Elements)
}

const (
	lookedAt = 16 << 10 // elements of a constant that is looked at as a whole, for zeros
	pieces   = 16       // of a larger one, and so many of its first rows
	piece    = 256      // elements
	beyond   = 6        // powers of two between what was seen and what is taken for granted
)

// countZeros counts the zeros of a constant, and its rows of nothing else.
func countZeros(t *tensor.Tensor) *ConstFacts {
	c := &ConstFacts{}
	n, shape := t.Len(), t.Shape()
	if n == 0 || t.DType() == tensor.String || t.DType().IsComplex() {
		return c
	}
	row := n
	if len(shape) > 1 {
		c.Rows = shape[0]
		row = n / max(c.Rows, 1)
	}
	span := func(from, to int64) {
		for from < to {
			end := min(to, from+row-from%row)
			zeros := zerosIn(t, from, end)
			c.Elements += end - from
			c.Zeros += zeros
			if c.Rows > 0 && end-from == row && zeros == row {
				c.ZeroRows++
			}
			from = end
		}
	}
	if n <= lookedAt {
		span(0, n)
		return c
	}
	span(0, min(n, pieces*row, lookedAt))
	eachPiece(n, span)
	return c
}

// eachPiece calls f for pieces from all over a tensor of n elements.
func eachPiece(n int64, f func(from, to int64)) {
	for i := range int64(pieces) {
		at := n / pieces * i
		f(at, min(n, at+piece))
	}
}

// likelyBound is a power of two that absolute values of floats hardly exceed, by what is in some pieces; false where these
// have nothing to tell.
func likelyBound(t *tensor.Tensor) (float64, bool) {
	most := 0.0
	eachPiece(t.Len(), func(from, to int64) {
		if t.DType() == tensor.F32 {
			for _, v := range tensor.Data[float32](t)[from:to] {
				most = max(most, math.Abs(float64(v)))
			}
			return
		}
		for i := from; i < to; i++ {
			most = max(most, math.Abs(t.Float(i)))
		}
	})
	if !(most > 0) || math.IsInf(most, 1) { // NaN is the largest of all
		return 0, false
	}
	_, exp := math.Frexp(most)
	return math.Ldexp(1, exp+beyond), true
}

// zerosIn counts the zeros of a part of a tensor.
func zerosIn(t *tensor.Tensor, from, to int64) (n int64) {
	if t.DType() == tensor.F32 {
		for _, v := range tensor.Data[float32](t)[from:to] {
			if v == 0 {
				n++
			}
		}
		return n
	}
	for i := from; i < to; i++ {
		if t.Float(i) == 0 {
			n++
		}
	}
	return n
}

// absSums is the largest sum of the absolute values along some dims.
func absSums(t *tensor.Tensor, over []bool) float64 {
	shape := t.Shape()
	strides := make([]int64, len(shape)) // in the sums
	n := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		if !over[i] {
			strides[i], n = n, n*shape[i]
		}
	}
	sums := make([]float64, n)
	at := make([]int64, len(shape))
	to := int64(0)
	f32 := t.DType() == tensor.F32
	var data []float32
	if f32 {
		data = tensor.Data[float32](t)
	}
	for i := range t.Len() {
		if f32 {
			sums[to] += math.Abs(float64(data[i]))
		} else {
			sums[to] += math.Abs(t.Float(i))
		}
		for d := len(shape) - 1; d >= 0; d-- { // the next place
			at[d]++
			to += strides[d]
			if at[d] < shape[d] {
				break
			}
			to -= strides[d] * shape[d]
			at[d] = 0
		}
	}
	largest := 0.0
	for _, s := range sums {
		if s > largest || s != s {
			largest = s
		}
	}
	return largest
}
