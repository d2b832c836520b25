package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

var (
	inf = float32(math.Inf(1))
	nan = float32(math.NaN())
)

func TestArithmetic(t *testing.T) {
	col, row := shaped(f32(1, 2), 2, 1), f32(10, 20, 30)
	check(t, "Add", nil, list(col, row), shaped(f32(11, 21, 31, 12, 22, 32), 2, 3))
	check(t, "Sub", nil, list(tensor.Scalar[float32](1), col), shaped(f32(0, -1), 2, 1))
	check(t, "Mul", nil, list(tensor.New(tensor.F32, 0, 3), row), tensor.New(tensor.F32, 0, 3))
	check(t, "Add", nil, list(tensor.New(tensor.F32, 0), f32(1)), tensor.New(tensor.F32, 0))
	check(t, "Div", nil, list(ints(7, -7, 7, 1), ints(2, 2, -2, 0)), ints(3, -3, -3, 0))
	check(t, "Add", nil, list(tensor.Of([]uint8{250}), tensor.Of([]uint8{10})), tensor.Of([]uint8{4}))
	check(t, "Mod", nil, list(ints(-7, 7), ints(3, -3)), ints(2, -2))
	check(t, "Mod", attrs("fmod", 1), list(f32(-7.5, 7.5), f32(3, -3)), f32(-1.5, 1.5))
	check(t, "Pow", nil, list(ints(2, 3), f32(3, 0.5)), ints(8, 1))
	check(t, "Pow", nil, list(f32(2, 4), ints(-1, 2)), f32(0.5, 16))
	check(t, "BitShift", attrs("direction", "LEFT"), list(tensor.Of([]uint8{3, 255}), tensor.Of([]uint8{1, 8})), tensor.Of([]uint8{6, 0}))
	refuse(t, "BitShift", attrs("direction", "UP"), list(tensor.Of([]uint8{3}), tensor.Of([]uint8{1})), "neither LEFT nor RIGHT")
	refuse(t, "Add", nil, list(f32(1, 2), f32(1, 2, 3)), "do not broadcast")
	refuse(t, "Add", nil, list(f32(1, 2), ints(1, 2)), "element type")
}

// One operator on a small float is computed in f32 and rounded once.
func TestSmallFloats(t *testing.T) {
	x := as(tensor.F16, f32(2048), 1)
	check(t, "Sum", nil, list(x, as(tensor.F16, f32(1), 1), as(tensor.F16, f32(1), 1)), as(tensor.F16, f32(2050), 1))
	check(t, "Mul", nil, list(as(tensor.BF16, f32(1.5, 300), 2), as(tensor.BF16, f32(3), 1)), as(tensor.BF16, f32(4.5, 900), 2))
}

func TestComparisonsAndChoice(t *testing.T) {
	check(t, "Less", nil, list(f32(1, nan, 3), f32(2)), tensor.Of([]bool{true, false, false}))
	check(t, "GreaterOrEqual", nil, list(ints(1, 2), ints(2)), tensor.Of([]bool{false, true}))
	check(t, "Equal", nil, list(tensor.Of([]string{"a", "b"}), tensor.Of([]string{"b"})), tensor.Of([]bool{false, true}))
	check(t, "Where", nil, list(shaped(tensor.Of([]bool{true, false}), 2, 1), f32(1, 2), tensor.Scalar[float32](9)), shaped(f32(1, 2, 9, 9), 2, 2))
	check(t, "Max", nil, list(f32(1, nan), f32(2), f32(0)), f32(2, nan))
	check(t, "Mean", nil, list(f32(1, 2), f32(4, 4), f32(1, 0)), f32(2, 2))
	refuse(t, "Sum", nil, nil, "at least one operand")
}

func TestFunctions(t *testing.T) {
	check(t, "Sign", nil, list(f32(-2, 0, 3, nan)), f32(-1, 0, 1, nan))
	check(t, "Sign", nil, list(tensor.Of([]uint8{0, 9})), tensor.Of([]uint8{0, 1}))
	check(t, "Round", nil, list(f32(0.5, 1.5, 2.5, -0.5)), f32(0, 2, 2, 0))
	check(t, "Erf", nil, list(ints(0, 5)), ints(0, 0)) // erf(5) is a little below 1
	check(t, "IsInf", attrs("detect_negative", 0), list(f32(inf, -inf, nan, 1)), tensor.Of([]bool{true, false, false, false}))
	check(t, "IsNaN", nil, list(as(tensor.F8E4M3FN, f32(nan, 1), 2)), tensor.Of([]bool{true, false}))
	check(t, "Clip", nil, list(f32(-1, 5, nan), tensor.Scalar[float32](0), tensor.Scalar[float32](3)), f32(0, 3, nan))
	check(t, "Clip", nil, list(ints(-1, 5), nil, tensor.Scalar[int64](3)), ints(-1, 3))
	refuse(t, "Clip", nil, list(f32(1), f32(1, 2)), "takes one element")
	check(t, "Clip", nil, list(f32(1), tensor.Scalar[float32](4), tensor.Scalar[float32](3)), f32(3))
}

func TestActivations(t *testing.T) {
	x := f32(-2, 0, 2, inf, nan)
	check(t, "Relu", nil, list(x), f32(0, 0, 2, inf, nan))
	check(t, "LeakyRelu", nil, list(x), f32(-0.02, 0, 2, inf, nan))
	check(t, "HardSigmoid", nil, list(x), f32(0.1, 0.5, 0.9, 1, nan))
	check(t, "Sigmoid", nil, list(f32(-200, 0, 200)), f32(0, 0.5, 1))
	check(t, "Softplus", nil, list(f32(-200, 0, 200)), f32(0, math.Ln2, 200))
	check(t, "Gelu", nil, list(f32(-1, 0, 1)), f32(-0.15865526, 0, 0.8413447))
	check(t, "Gelu", attrs("approximate", "tanh"), list(f32(-1, 1)), f32(-0.158808, 0.841192))
	check(t, "ThresholdedRelu", attrs("alpha", 2.0), list(f32(1, 2, 3)), f32(0, 0, 3))
	check(t, "Shrink", attrs("lambd", 1.5, "bias", 1.5), list(f32(-2, -1, 1, 2)), f32(-0.5, 0, 0, 0.5))
	check(t, "Shrink", attrs("lambd", 1.5), list(ints(-2, 1, 2)), ints(-2, 0, 2))
	check(t, "PRelu", nil, list(shaped(f32(-1, 1, -2, -4), 2, 2), f32(0.5, 0.25)), shaped(f32(-0.5, 1, -1, -1), 2, 2))
	refuse(t, "PRelu", nil, list(f32(1, 2), shaped(f32(1, 2), 2, 1)), "does not broadcast")
}

func TestConversions(t *testing.T) {
	to := func(d tensor.DType) any { return d }
	check(t, "Cast", attrs("to", to(tensor.I32)), list(f32(-1.9, 1.9, nan)), tensor.Of([]int32{-1, 1, 0}))
	check(t, "Cast", attrs("to", to(tensor.U8)), list(ints(-1, 256, 7)), tensor.Of([]uint8{255, 0, 7}))
	check(t, "Cast", attrs("to", to(tensor.Bool)), list(f32(0, 0.5, nan)), tensor.Of([]bool{false, true, true}))
	check(t, "Cast", attrs("to", to(tensor.F32)), list(tensor.Of([]string{"1.5", "-INF", "7"})), f32(1.5, -inf, 7))
	check(t, "Cast", attrs("to", to(tensor.String)), list(f32(1.5, inf)), tensor.Of([]string{"1.5", "INF"}))
	check(t, "Cast", attrs("to", to(tensor.F8E5M2)), list(f32(1e6)), as(tensor.F8E5M2, f32(57344), 1))
	check(t, "Cast", attrs("to", to(tensor.F8E4M3FN), "saturate", 0), list(f32(1e6)), as(tensor.F8E4M3FN, f32(nan), 1))
	check(t, "CastLike", nil, list(f32(3.5), ints()), ints(3))
	check(t, "BitCast", attrs("to", to(tensor.I32)), list(f32(1, 0)), tensor.Of([]int32{0x3f800000, 0}))
	refuse(t, "BitCast", attrs("to", to(tensor.I64)), list(f32(1)), "none of the size of f32")
	refuse(t, "Cast", attrs("to", 99), list(f32(1)), "none of ONNX's")
	refuse(t, "Cast", attrs("to", to(tensor.F32)), list(tensor.Of([]string{"one"})), "no number")
	check(t, "Identity", nil, list(tensor.Of([]string{"x"})), tensor.Of([]string{"x"}))
}
