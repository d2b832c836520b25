package tensor

import (
	"fmt"
	"math"
	"math/cmplx"
	"slices"
)

// Tolerance says how close values must be: |got-want| <= ATol + RTol*|want| for every
// element; or, where they are set, a mean absolute error, or a cosine of every row of
// the last axis.
type Tolerance struct {
	RTol, ATol   float64
	Mean, Cosine float64 // 0: not used
}

// DefaultTolerance is the one table of tolerances between ways to compute the same: a
// fast runtime against the reference. Integers must be equal.
func DefaultTolerance(d DType) Tolerance {
	switch d {
	case F32, C64:
		return Tolerance{RTol: 1e-4, ATol: 1e-5}
	case F64, C128:
		return Tolerance{RTol: 1e-9, ATol: 1e-11}
	case F16:
		return Tolerance{RTol: 2e-3, ATol: 1e-4}
	case BF16:
		return Tolerance{RTol: 1.6e-2, ATol: 1e-3}
	case F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F4E2M1:
		return Tolerance{RTol: 0.13, ATol: 1e-2}
	}
	return Tolerance{}
}

// Compare says how got differs from want; nil when it is within the tolerance. NaN
// equals NaN, an infinity itself.
func Compare(got, want Value, tol Tolerance) error {
	switch w := want.(type) {
	case *Tensor:
		g, ok := got.(*Tensor)
		if !ok {
			return fmt.Errorf("got a %T, want a tensor", got)
		}
		return compareTensors(g, w, tol)
	case *Sequence:
		g, ok := got.(*Sequence)
		if !ok || len(g.Elems) != len(w.Elems) {
			return fmt.Errorf("got %v, want a sequence of %d", got, len(w.Elems))
		}
		for i := range w.Elems {
			if err := Compare(g.Elems[i], w.Elems[i], tol); err != nil {
				return fmt.Errorf("element %d of the sequence: %w", i, err)
			}
		}
	case *Optional:
		g, ok := got.(*Optional)
		if !ok {
			return Compare(got, w.Elem, tol)
		}
		if (g.Elem == nil) != (w.Elem == nil) {
			return fmt.Errorf("one optional is empty, the other is not")
		}
		if w.Elem != nil {
			return Compare(g.Elem, w.Elem, tol)
		}
	}
	return nil
}

func compareTensors(g, w *Tensor, tol Tolerance) error {
	if g.dtype != w.dtype || !slices.Equal(g.shape, w.shape) {
		return fmt.Errorf("got %s%v, want %s%v", g.dtype, g.shape, w.dtype, w.shape)
	}
	switch {
	case tol.Mean > 0:
		return compareMean(g, w, tol.Mean)
	case tol.Cosine > 0:
		return compareCosine(g, w, tol.Cosine)
	}
	bad, first, worst := 0, int64(0), 0.0
	for i := range w.len {
		diff, ok := elemDiff(g, w, i, tol)
		if ok {
			continue
		}
		if bad == 0 {
			first = i
		}
		bad++
		worst = math.Max(worst, diff)
	}
	if bad == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d elements differ (rtol %g, atol %g), the first at %v: got %s, want %s; the largest difference is %g",
		bad, w.len, tol.RTol, tol.ATol, w.index(first), g.elem(first), w.elem(first), worst)
}

// Distance is the largest difference between elements of tensors of one type and shape, and
// the largest relative to what is wanted, where that is not 0. It is infinite where one is a
// number and the other is none, and where texts differ.
func Distance(got, want *Tensor) (abs, rel float64) {
	for i := range want.len {
		diff, same := elemDiff(got, want, i, Tolerance{})
		if same {
			continue
		}
		var size float64
		switch {
		case want.dtype == String:
			diff = math.Inf(1)
		case want.dtype.IsComplex():
			size = cmplx.Abs(want.Complex(i))
		default:
			size = math.Abs(want.Float(i))
		}
		if diff != diff { // a NaN against a number
			diff = math.Inf(1)
		}
		abs = math.Max(abs, diff)
		if size > 0 && !math.IsInf(size, 0) {
			rel = math.Max(rel, diff/size)
		}
	}
	return abs, rel
}

func elemDiff(g, w *Tensor, i int64, tol Tolerance) (float64, bool) {
	switch d := w.dtype; {
	case d == String:
		return 0, g.strs[i] == w.strs[i]
	case d.IsComplex():
		a, b := g.Complex(i), w.Complex(i)
		diff := cmplx.Abs(a - b)
		return diff, a == b || cmplx.IsNaN(a) && cmplx.IsNaN(b) || diff <= tol.ATol+tol.RTol*cmplx.Abs(b)
	case d.IsInt() || d == Bool:
		a, b := g.Int(i), w.Int(i)
		diff := math.Abs(g.Float(i) - w.Float(i))
		return diff, a == b || diff <= tol.ATol+tol.RTol*math.Abs(w.Float(i))
	}
	a, b := g.Float(i), w.Float(i)
	if a == b || a != a && b != b {
		return 0, true
	}
	diff := math.Abs(a - b)
	return diff, !math.IsInf(b, 0) && diff <= tol.ATol+tol.RTol*math.Abs(b)
}

func (t *Tensor) index(flat int64) []int64 {
	ix := make([]int64, len(t.shape))
	for d := len(t.shape) - 1; d >= 0; d-- {
		ix[d] = flat % t.shape[d]
		flat /= t.shape[d]
	}
	return ix
}

func compareMean(g, w *Tensor, limit float64) error {
	sum := 0.0
	for i := range w.len {
		if a, b := g.Float(i), w.Float(i); a != b && !(a != a && b != b) {
			sum += math.Abs(a - b)
		}
	}
	if m := sum / math.Max(1, float64(w.len)); !(m <= limit) {
		return fmt.Errorf("the mean absolute error is %g, allowed is %g", m, limit)
	}
	return nil
}

func compareCosine(g, w *Tensor, limit float64) error {
	n := int64(1)
	if w.Rank() > 0 {
		n = w.shape[w.Rank()-1]
	}
	for row := int64(0); n > 0 && row < w.len/n; row++ {
		var ab, aa, bb float64
		for i := row * n; i < (row+1)*n; i++ {
			a, b := g.Float(i), w.Float(i)
			ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
		}
		if cos := ab / math.Sqrt(aa*bb); !(cos >= limit) && !(aa == 0 && bb == 0) {
			return fmt.Errorf("the cosine of row %d is %g, at least %g is asked for", row, cos, limit)
		}
	}
	return nil
}
