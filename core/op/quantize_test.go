package op_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestQuantize(t *testing.T) {
	scale := tensor.Scalar[float32](2)
	u8 := func(v ...uint8) *tensor.Tensor { return tensor.Of(v, int64(len(v))) }
	// halves go to even before the zero point is added
	check(t, "QuantizeLinear", nil, list(f32(1, 3, 5, -1e9, 1e9), scale, tensor.Scalar[uint8](1)), u8(1, 3, 3, 0, 255))
	check(t, "QuantizeLinear", nil, list(f32(4, 1000), scale), u8(2, 255))
	i4 := attrs("output_dtype", tensor.I4)
	check(t, "QuantizeLinear", i4, list(f32(-100, -16, 7, 100), scale), as(tensor.I4, ints(-8, -8, 4, 7), 4))
	check(t, "QuantizeLinear", attrs("output_dtype", tensor.F8E4M3FN), list(f32(2, 1e6), scale), as(tensor.F8E4M3FN, f32(1, 448), 2))
	check(t, "QuantizeLinear", attrs("output_dtype", tensor.F8E4M3FN, "saturate", 0), list(f32(1e6), scale), as(tensor.F8E4M3FN, f32(nan), 1))
	// per axis, and in blocks of which the last is short
	x := shaped(f32(2, 4, 6, 8, 10, 12), 2, 3)
	check(t, "QuantizeLinear", attrs("axis", 0), list(x, f32(1, 2), u8(0, 1)), shaped(u8(2, 4, 6, 5, 6, 7), 2, 3))
	blocks := attrs("axis", 1, "block_size", 2)
	check(t, "QuantizeLinear", blocks, list(x, shaped(f32(1, 2, 2, 1), 2, 2), shaped(u8(0, 0, 0, 9), 2, 2)), shaped(u8(2, 4, 3, 4, 5, 21), 2, 3))
	// the quotient has the scale's type, or that of precision
	third, half := f32(1000.5), as(tensor.F16, f32(1), 1)
	u16 := attrs("output_dtype", tensor.U16)
	check(t, "QuantizeLinear", u16, list(third, half), tensor.Of([]uint16{1000}))
	big := f32(2049.25)
	check(t, "QuantizeLinear", u16, list(big, half), tensor.Of([]uint16{2050}))
	check(t, "QuantizeLinear", u16.With("precision", int64(1)), list(big, half), tensor.Of([]uint16{2049}))
	refuse(t, "QuantizeLinear", attrs("output_dtype", tensor.I8), list(f32(1), scale, tensor.Scalar[uint8](0)), "zero point's element type u8")
	refuse(t, "QuantizeLinear", attrs("axis", 0), list(x, f32(1, 2, 3)), "takes a scalar or [2]")
	refuse(t, "QuantizeLinear", blocks, list(x, shaped(f32(1, 2), 2, 1)), "takes a scalar or [2, 2]")
	refuse(t, "QuantizeLinear", attrs("output_dtype", tensor.F64), list(f32(1), scale), "output_dtype")
}

func TestDequantize(t *testing.T) {
	check(t, "DequantizeLinear", nil, list(tensor.Of([]uint8{0, 128, 255}), f32(2), tensor.Of([]uint8{128})), f32(-256, 0, 254))
	check(t, "DequantizeLinear", nil, list(tensor.Of([]int32{1 << 20}), tensor.Scalar[float32](0.5)), f32(1<<19))
	check(t, "DequantizeLinear", nil, list(as(tensor.I4, ints(-8, 7), 2), as(tensor.F16, f32(0.5), 1)), as(tensor.F16, f32(-4, 3.5), 2))
	check(t, "DequantizeLinear", attrs("output_dtype", tensor.F32), list(as(tensor.F4E2M1, f32(6), 1), as(tensor.F8E8M0, f32(4), 1)), f32(24))
	x := shaped(tensor.Of([]int8{1, 2, 3, 4}), 2, 2)
	check(t, "DequantizeLinear", attrs("axis", -1), list(x, f32(1, 10)), shaped(f32(1, 20, 3, 40), 2, 2))
	check(t, "DequantizeLinear", attrs("axis", 0, "block_size", 2), list(x, shaped(f32(1, 10), 1, 2)), shaped(f32(1, 20, 3, 40), 2, 2))
}

func TestDynamicQuantize(t *testing.T) {
	check(t, "DynamicQuantizeLinear", nil, list(f32(-1, 0, 4.1)), tensor.Of([]uint8{0, 50, 255}), tensor.Scalar[float32](0.02), tensor.Scalar[uint8](50))
	check(t, "DynamicQuantizeLinear", nil, list(f32(0, 0)), tensor.Of([]uint8{0, 0}), tensor.Scalar[float32](1.0/255), tensor.Scalar[uint8](0))
	check(t, "DynamicQuantizeLinear", nil, list(tensor.New(tensor.F32, 0)), tensor.New(tensor.U8, 0), tensor.Scalar[float32](1.0/255), tensor.Scalar[uint8](0))
}

func TestMatMulInteger(t *testing.T) {
	a, b := shaped(tensor.Of([]uint8{1, 2, 3, 4}), 2, 2), shaped(tensor.Of([]int8{1, -1, 2, 3}), 2, 2)
	i32 := func(v ...int32) *tensor.Tensor { return tensor.Of(v, 2, int64(len(v)/2)) }
	check(t, "MatMulInteger", nil, list(a, b), i32(5, 5, 11, 9))
	check(t, "MatMulInteger", nil, list(a, b, tensor.Scalar[uint8](1), tensor.Scalar[int8](-1)), i32(3, 4, 13, 12))
	check(t, "MatMulInteger", nil, list(a, b, tensor.Of([]uint8{1, 3}), tensor.Of([]int8{1, 3})), i32(1, 0, 1, 0))
	check(t, "MatMulInteger", nil, list(a, b, shaped(tensor.Of([]uint8{1, 3}), 2, 1), shaped(tensor.Of([]int8{1, 3}), 1, 2)), i32(1, 0, 1, 0))
	check(t, "MatMulInteger", nil, list(tensor.Of([]uint8{5}), tensor.Of([]uint8{7}), tensor.Of([]uint8{2})), tensor.Scalar[int32](21))
	refuse(t, "MatMulInteger", nil, list(a, b, tensor.Of([]uint8{1, 2, 3})), "does not broadcast")
	refuse(t, "MatMulInteger", nil, list(a, b, shaped(tensor.Of([]uint8{1, 2}), 1, 2)), "does not broadcast")
}

func TestQLinearMatMul(t *testing.T) {
	a, b := shaped(tensor.Of([]uint8{1, 2, 3, 4}), 2, 2), shaped(tensor.Of([]uint8{1, 1, 2, 3}), 2, 2)
	one, zero := tensor.Scalar[float32](1), tensor.Scalar[uint8](0)
	y := func(v ...uint8) *tensor.Tensor { return tensor.Of(v, 2, 2) }
	check(t, "QLinearMatMul", nil, list(a, one, zero, b, one, zero, f32(2), tensor.Of([]uint8{1})), y(3, 5, 7, 9)) // 2.5, 3.5, 5.5, 7.5
	check(t, "QLinearMatMul", nil, list(a, f32(1, 100), tensor.Of([]uint8{0, 1}), b, f32(1, 10), zero, one, zero), y(5, 70, 255, 255))
	refuse(t, "QLinearMatMul", nil, list(a, one, zero, b, one, zero, f32(1, 2), zero), "(y_scale) has shape [2], it takes one element")
}
