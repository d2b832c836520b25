package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

func TestReductions(t *testing.T) {
	x := shaped(f32(1, 2, 3, 4, 5, 6), 2, 3)
	check(t, "ReduceSum", nil, list(x), shaped(f32(21), 1, 1))
	check(t, "ReduceSum", attrs("keepdims", 0), list(x, ints(-1)), f32(6, 15))
	check(t, "ReduceSum", attrs("keepdims", 0), list(x), tensor.Scalar[float32](21))
	check(t, "ReduceSum", attrs("noop_with_empty_axes", 1), list(x, ints()), x)
	check(t, "ReduceSumSquare", attrs("noop_with_empty_axes", 1), list(f32(2, 3)), f32(4, 9))
	check(t, "ReduceMean", nil, list(x, ints(0)), shaped(f32(2.5, 3.5, 4.5), 1, 3))
	check(t, "ReduceMean", nil, list(ints(1, 2)), ints(1))
	check(t, "ReduceMax", nil, list(f32(1, nan, 3)), f32(nan))
	check(t, "ReduceMin", nil, list(tensor.Of([]bool{true, false})), tensor.Of([]bool{false}))
	check(t, "ReduceL1", nil, list(f32(-3, 4)), f32(7))
	check(t, "ReduceL2", nil, list(f32(-3, 4)), f32(5))
	check(t, "ReduceL2", nil, list(ints(-3, 4)), ints(5))
	check(t, "ReduceLogSum", nil, list(f32(1, math.E-1)), f32(1))
	check(t, "ReduceProd", nil, list(ints(2, 3, 7)), ints(42))
	check(t, "ReduceSum", nil, list(tensor.Scalar[float32](3)), tensor.Scalar[float32](3))
	refuse(t, "ReduceSum", nil, list(x, ints(2)), "valid axes are -2 to 1")
	refuse(t, "ReduceSum", nil, list(x, ints(1, -1)), "twice")
}

// Exponentials neither overflow nor turn infinities into NaN.
func TestLogSumExp(t *testing.T) {
	check(t, "ReduceLogSumExp", nil, list(f32(1000, 1000)), f32(1000+math.Ln2))
	check(t, "ReduceLogSumExp", nil, list(f32(-inf, -inf)), f32(-inf))
	check(t, "ReduceLogSumExp", nil, list(f32(inf, 1)), f32(inf))
	check(t, "ReduceLogSumExp", nil, list(f32(nan, 1)), f32(nan))
}

func TestReductionsOfNothing(t *testing.T) {
	x := tensor.New(tensor.F32, 2, 0)
	check(t, "ReduceSum", attrs("keepdims", 0), list(x, ints(1)), f32(0, 0))
	check(t, "ReduceProd", attrs("keepdims", 0), list(x, ints(1)), f32(1, 1))
	check(t, "ReduceMax", attrs("keepdims", 0), list(x, ints(1)), f32(-inf, -inf))
	check(t, "ReduceMin", attrs("keepdims", 0), list(tensor.New(tensor.I64, 1, 0), ints(1)), ints(math.MaxInt64))
	check(t, "ReduceMean", attrs("keepdims", 0), list(x, ints(1)), f32(nan, nan))
	check(t, "ReduceSum", attrs("keepdims", 0), list(x, ints(0)), tensor.New(tensor.F32, 0))
	check(t, "Softmax", nil, list(x), x)
	refuse(t, "ArgMax", attrs("axis", 1), list(x), "over nothing")
}

func TestExtremes(t *testing.T) {
	x := shaped(f32(3, 1, 3, 2, 2, 1), 2, 3)
	check(t, "ArgMax", attrs("axis", 1, "keepdims", 0), list(x), ints(0, 0))
	check(t, "ArgMax", attrs("axis", -1, "select_last_index", 1), list(x), shaped(ints(2, 1), 2, 1))
	check(t, "ArgMin", attrs("axis", 0, "keepdims", 0), list(x), ints(1, 0, 1))
	check(t, "ArgMax", attrs(), list(f32(1, nan, 2)), ints(1))
	check(t, "Hardmax", nil, list(x), shaped(f32(1, 0, 0, 1, 0, 0), 2, 3))
	check(t, "TopK", nil, list(x, ints(2)), shaped(f32(3, 3, 2, 2), 2, 2), shaped(ints(0, 2, 0, 1), 2, 2))
	check(t, "TopK", attrs("axis", 0, "largest", 0), list(x, ints(1)), shaped(f32(2, 1, 1), 1, 3), shaped(ints(1, 0, 1), 1, 3))
	check(t, "TopK", nil, list(f32(1, nan, -inf, inf), ints(3)), f32(nan, inf, 1), ints(1, 3, 0))
	check(t, "TopK", attrs("largest", 0), list(f32(1, nan, -inf), ints(3)), f32(-inf, 1, nan), ints(2, 0, 1))
	check(t, "TopK", nil, list(tensor.Of([]uint64{1, math.MaxUint64}), ints(1)), tensor.Of([]uint64{math.MaxUint64}), ints(1))
	check(t, "TopK", nil, list(x, ints(0)), tensor.New(tensor.F32, 2, 0), tensor.New(tensor.I64, 2, 0))
	refuse(t, "TopK", nil, list(x, ints(4)), "4 of the 3 elements")
	refuse(t, "TopK", nil, list(x, ints(-1)), "-1 of the 3 elements")
}

func TestWithin(t *testing.T) {
	is := func(v bool) tensor.Value { return tensor.Scalar(v) }
	bounds := func(v ...float64) ir.Attrs { return attrs("bounds", v) }
	check(t, "pit.Within", bounds(2, 1), list(f32(1, -2, 0, 2, -1), f32(float32(math.Copysign(0, -1)), 1)), is(true))
	check(t, "pit.Within", bounds(2, 0.5), list(f32(1, -2, 0, 2, -1), f32(1)), is(false))
	check(t, "pit.Within", bounds(1), list(as(tensor.F16, f32(1, -1), 2)), is(true))
	check(t, "pit.Within", bounds(1), list(as(tensor.BF16, f32(1, nan), 2)), is(false))
	check(t, "pit.Within", bounds(1), list(tensor.Of([]float64{1, 1 + 1e-12})), is(false))
	check(t, "pit.Within", bounds(0.1), list(tensor.Scalar[float32](0.1)), is(false)) // which is a little more
	check(t, "pit.Within", bounds(math.Inf(1)), list(f32(inf, -inf)), is(true))
	check(t, "pit.Within", bounds(math.Inf(1)), list(f32(nan)), is(false))
	check(t, "pit.Within", bounds(math.MaxFloat64), list(f32(-inf)), is(false))
	check(t, "pit.Within", bounds(-1, math.NaN()), list(f32(), tensor.New(tensor.F16, 0)), is(true))
	check(t, "pit.Within", bounds(-1), list(f32(0)), is(false))
	check(t, "pit.Within", bounds(math.NaN()), list(f32(0)), is(false))
	for _, d := range []tensor.DType{tensor.F16, tensor.BF16} { // and what is next to the bound
		x := as(d, f32(-1.5, float32(math.Copysign(0, -1)), 1e-7), 3)
		check(t, "pit.Within", bounds(1.5), list(x), is(true))
		check(t, "pit.Within", bounds(1.4999), list(x), is(false))
		check(t, "pit.Within", bounds(1.5001), list(x), is(true))
		check(t, "pit.Within", bounds(1e9), list(as(d, f32(inf), 1)), is(false))
		check(t, "pit.Within", bounds(math.Inf(1)), list(as(d, f32(-inf), 1)), is(true))
		check(t, "pit.Within", bounds(math.Inf(1)), list(as(d, f32(nan), 1)), is(false))
		check(t, "pit.Within", bounds(0), list(as(d, f32(0, float32(math.Copysign(0, -1))), 2)), is(true))
		check(t, "pit.Within", bounds(-1), list(as(d, f32(0), 1)), is(false))
	}
	refuse(t, "pit.Within", bounds(1), list(f32(0), f32(0)), "1 bounds for 2 operands")
	for n := 1; n < 40; n++ { // wherever it is
		for i := range n {
			x := tensor.New(tensor.F32, int64(n))
			x.SetFloat(int64(i), -3)
			check(t, "pit.Within", bounds(3), list(x), is(true))
			check(t, "pit.Within", bounds(2.5), list(x), is(false))
		}
	}
}

func TestScans(t *testing.T) {
	x := shaped(f32(1, 2, 3, 4, 5, 6), 2, 3)
	check(t, "CumSum", nil, list(x, tensor.Scalar[int64](1)), shaped(f32(1, 3, 6, 4, 9, 15), 2, 3))
	check(t, "CumSum", attrs("reverse", 1, "exclusive", 1), list(x, tensor.Scalar[int64](-1)), shaped(f32(5, 3, 0, 11, 6, 0), 2, 3))
	check(t, "CumProd", attrs("exclusive", 1), list(ints(2, 3, 4), tensor.Scalar[int64](0)), ints(1, 2, 6))
	x16 := as(tensor.F16, f32(2048, 1, 1), 3)
	check(t, "CumSum", nil, list(x16, tensor.Scalar[int64](0)), as(tensor.F16, f32(2048, 2049, 2050), 3))
	refuse(t, "CumSum", nil, list(x, tensor.Scalar[int64](2)), "valid axes")
}

func TestSoftmax(t *testing.T) {
	x := shaped(f32(1000, 1000, -inf, 0), 2, 2)
	check(t, "Softmax", nil, list(x), shaped(f32(0.5, 0.5, 0, 1), 2, 2))
	check(t, "LogSoftmax", nil, list(x), shaped(f32(-math.Ln2, -math.Ln2, -inf, 0), 2, 2))
	check(t, "Softmax", attrs("axis", 0), list(shaped(f32(0, 0), 2, 1)), shaped(f32(0.5, 0.5), 2, 1))
	check(t, "Softmax", nil, list(f32(-inf, -inf)), f32(nan, nan))
	refuse(t, "Softmax", attrs("axis", 2), list(x), "valid axes are -2 to 1")
	refuse(t, "Softmax", nil, list(tensor.Scalar[float32](1)), "rank-0")
}

func TestReductionTypes(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []string
		keep int
		want string
	}{
		{"ReduceSum", []string{"[n, 3, m] f32", "= 0 -1"}, 1, "[1, 3, 1] f32"},
		{"ReduceSum", []string{"[n, 3, m] f32", "= 0 -1"}, 0, "[3] f32"},
		{"ReduceSum", []string{"[n, m] f32"}, 0, "[] f32"},
		{"ReduceSum", []string{"[n, m] f32", "[1] i64"}, 1, "[u0, u1] f32"},
		{"ReduceSum", []string{"[n, m] f32", "[1] i64"}, 0, "[u0] f32"},
		{"ReduceSum", []string{"[n, m] f32", "[k] i64"}, 0, "[*] f32"},
		{"ReduceSum", []string{"[*] f32", "= 0"}, 1, "[*] f32"},
	} {
		if got := deduce(t, c.name, attrs("keepdims", c.keep), c.in...); got != c.want {
			t.Errorf("%s%q is %s, want %s", c.name, c.in, got, c.want)
		}
	}
}
