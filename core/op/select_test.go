package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// gives runs an operator with every degree of knowledge and compares all results exactly.
func gives(t *testing.T, name string, attrs ir.Attrs, args []tensor.Value, want ...tensor.Value) {
	t.Helper()
	got := each(t, name, attrs, len(want), args...)
	for i, w := range want {
		if !tensor.Equal(got[i], w) {
			t.Errorf("%s %v: result %d is %v, want %v", name, attrs, i, got[i], w)
		}
	}
}

func TestUnique(t *testing.T) {
	x := f32(2, 1, 1, 3, 2)
	gives(t, "Unique", nil, list(x), f32(1, 2, 3), ints(1, 0, 3), ints(1, 0, 0, 2, 1), ints(2, 2, 1))
	gives(t, "Unique", attrs("sorted", 0), list(x), f32(2, 1, 3), ints(0, 1, 3), ints(0, 1, 1, 2, 0), ints(2, 2, 1))
	m := shaped(f32(1, 0, 1, 2, 0, 2), 2, 3)
	gives(t, "Unique", attrs("axis", -1), list(m), shaped(f32(0, 1, 0, 2), 2, 2), ints(1, 0), ints(1, 0, 1), ints(1, 2))
	gives(t, "Unique", attrs("axis", 0, "sorted", 0), list(m), m, ints(0, 1), ints(0, 1), ints(1, 1))
	gives(t, "Unique", nil, list(f32()), f32(), ints(), ints(), ints())
	gives(t, "Unique", attrs("axis", 1), list(shaped(f32(), 0, 2)), shaped(f32(), 0, 1), ints(0), ints(0, 0), ints(2))
	gives(t, "Unique", nil, list(tensor.Scalar(float32(5))), f32(5), ints(0), ints(0), ints(1))
	gives(t, "Unique", nil, list(words("b", "a", "b")), words("a", "b"), ints(1, 0), ints(1, 0, 1), ints(1, 2))
	gives(t, "Unique", nil, list(tensor.Of([]bool{true, false, true}, 3)), tensor.Of([]bool{false, true}, 2), ints(1, 0))
	nan := float32(math.NaN())
	gives(t, "Unique", nil, list(f32(nan, 1, nan)), f32(1, nan), ints(1, 0), ints(1, 0, 1), ints(1, 2))
	gives(t, "Unique", nil, list(tensor.Of([]uint64{1 << 63, 1}, 2)), tensor.Of([]uint64{1, 1 << 63}, 2))
	refuse(t, "Unique", attrs("axis", 1), list(x), "axis 1")
	if got := deduce(t, "Unique", nil, "[n, 3] f32"); got == "" {
		t.Error(got)
	}
}

func TestNonMaxSuppression(t *testing.T) {
	boxes := shaped(f32(0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 10, 1, 11), 1, 3, 4)
	scores := shaped(f32(0.9, 0.8, 0.7), 1, 1, 3)
	half := tensor.Scalar(float32(0.5))
	rows := func(v ...int64) *tensor.Tensor { return shaped(ints(v...), int64(len(v)/3), 3) }
	equals(t, "NonMaxSuppression", nil, list(boxes, scores, num(3), half), rows(0, 0, 0, 0, 0, 2))
	equals(t, "NonMaxSuppression", nil, list(boxes, scores, num(1), half), rows(0, 0, 0))
	equals(t, "NonMaxSuppression", nil, list(boxes, scores), rows())
	equals(t, "NonMaxSuppression", nil, list(boxes, scores, num(-3), half), rows())
	equals(t, "NonMaxSuppression", nil, list(boxes, scores, num(math.MaxInt64), tensor.Scalar(float32(1))), rows(0, 0, 0, 0, 0, 1, 0, 0, 2))
	equals(t, "NonMaxSuppression", nil, list(boxes, scores, num(3), half, tensor.Scalar(float32(0.7))), rows(0, 0, 0))
	// Corners in any order; equal scores in the order of boxes.
	turned := shaped(f32(1, 1, 0, 0, 1, 1.1, 0, 0.1, 1, 11, 0, 10), 1, 3, 4)
	equals(t, "NonMaxSuppression", nil, list(turned, shaped(f32(1, 1, 1), 1, 1, 3), num(3), half), rows(0, 0, 0, 0, 0, 2))
	centred := shaped(f32(0.5, 0.5, 1, 1, 0.6, 0.5, 1, 1, 10.5, 0.5, 1, 1), 1, 3, 4)
	equals(t, "NonMaxSuppression", attrs("center_point_box", 1), list(centred, scores, num(3), half), rows(0, 0, 0, 0, 0, 2))
	// A box without area overlaps none.
	equals(t, "NonMaxSuppression", nil, list(tensor.New(tensor.F32, 1, 3, 4), scores, num(3)), rows(0, 0, 0, 0, 0, 1, 0, 0, 2))
	equals(t, "NonMaxSuppression", nil, list(shaped(f32(), 1, 0, 4), shaped(f32(), 1, 2, 0), num(3)), rows())
	refuse(t, "NonMaxSuppression", nil, list(boxes, shaped(f32(1, 2), 1, 1, 2), num(3)), "it takes [batch, n, 4]")
	refuse(t, "NonMaxSuppression", attrs("center_point_box", 2), list(boxes, scores, num(3)), "it is 0 or 1")
}

func TestOneHotDepth(t *testing.T) {
	equals(t, "OneHot", nil, list(ints(0, -1), num(0), f32(0, 1)), shaped(f32(), 2, 0))
	refuse(t, "OneHot", nil, list(ints(0), num(-1), f32(0, 1)), "depth is -1")
}

// Positions in masks of any length, with a few elements that are set, none or all, are those in numbers that say the same.
func TestNonZero(t *testing.T) {
	for n := range int64(27) {
		for step := int64(1); step < 12; step++ {
			bits, numbers, counts := tensor.New(tensor.Bool, n), tensor.New(tensor.F32, n), tensor.New(tensor.I64, n)
			var at []int64
			for i := n % 5; i < n; i += step {
				at = append(at, i)
				bits.SetBool(i, true)
				numbers.SetFloat(i, math.Inf(-1))
				counts.SetInt(i, -1)
			}
			want := shaped(ints(at...), 1, int64(len(at)))
			for _, x := range []*tensor.Tensor{bits, numbers, counts} {
				equals(t, "NonZero", nil, list(x), want)
			}
		}
	}
	equals(t, "NonZero", nil, list(shaped(tensor.Of([]bool{false, true, true, false, false, true}, 6), 2, 3)), shaped(ints(0, 0, 1, 1, 2, 2), 2, 3))
}
