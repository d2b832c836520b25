package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestNegativeLogLikelihoodLoss(t *testing.T) {
	x := shaped(f32(-1, -2, -3, -4, -5, -6), 2, 3)
	w := f32(1, 10, 100)
	none, sum := attrs("reduction", "none"), attrs("reduction", "sum")
	check(t, "NegativeLogLikelihoodLoss", none, list(x, ints(2, 0)), f32(3, 4))
	check(t, "NegativeLogLikelihoodLoss", none, list(x, ints(2, 0), w), f32(300, 4))
	check(t, "NegativeLogLikelihoodLoss", sum, list(x, ints(2, 0)), tensor.Scalar[float32](7))
	check(t, "NegativeLogLikelihoodLoss", nil, list(x, ints(2, 0)), tensor.Scalar[float32](3.5))
	check(t, "NegativeLogLikelihoodLoss", nil, list(x, ints(2, 0), w), tensor.Scalar[float32](304.0/101))
	// what is ignored need be no class
	ignore := attrs("ignore_index", -5)
	check(t, "NegativeLogLikelihoodLoss", ignore, list(x, ints(-5, 1)), tensor.Scalar[float32](5))
	check(t, "NegativeLogLikelihoodLoss", ignore, list(x, ints(-5, 1), w), tensor.Scalar[float32](5))
	check(t, "NegativeLogLikelihoodLoss", ignore.With("reduction", "none"), list(x, ints(-5, 1), w), f32(0, 50))
	check(t, "NegativeLogLikelihoodLoss", none, list(shaped(x, 1, 3, 2), shaped(ints(1, 2), 1, 2)), shaped(f32(3, 6), 1, 2))
	check(t, "NegativeLogLikelihoodLoss", none, list(tensor.New(tensor.F32, 0, 3), ints()), tensor.New(tensor.F32, 0))
	refuse(t, "NegativeLogLikelihoodLoss", nil, list(x, ints(3, 0)), "its dim is 3")
	refuse(t, "NegativeLogLikelihoodLoss", nil, list(x, ints(0)), "targets of shape [1]")
	refuse(t, "NegativeLogLikelihoodLoss", nil, list(x, ints(0, 0), f32(1)), "3 channels")
	refuse(t, "NegativeLogLikelihoodLoss", attrs("reduction", "max"), list(x, ints(0, 0)), `reduction "max"`)
}

func TestSoftmaxCrossEntropyLoss(t *testing.T) {
	x := shaped(f32(1000, 1000, 0, -inf), 2, 2)
	ln2 := float32(math.Ln2)
	logs := shaped(f32(-ln2, -ln2, 0, -inf), 2, 2)
	check(t, "SoftmaxCrossEntropyLoss", attrs("reduction", "none"), list(x, ints(0, 0)), f32(ln2, 0), logs)
	check(t, "SoftmaxCrossEntropyLoss", nil, list(x, ints(0, 1)), tensor.Scalar(inf))
	check(t, "SoftmaxCrossEntropyLoss", attrs("ignore_index", 1), list(x, ints(0, 1)), tensor.Scalar(ln2), logs)
}
