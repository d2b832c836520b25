package op_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestQLinear(t *testing.T) {
	u8 := func(v ...uint8) *tensor.Tensor { return tensor.Of(v, int64(len(v))) }
	scale := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
	zero := func(v uint8) *tensor.Tensor { return tensor.Scalar(v) }
	a, b := shaped(u8(2, 4, 6, 8), 2, 2), u8(1, 3)
	equals(t, ms+"QLinearAdd", nil, list(a, scale(2), zero(2), b, scale(1), zero(1), scale(2), zero(5)), shaped(u8(5, 8, 9, 12), 2, 2))
	equals(t, ms+"QLinearMul", nil, list(a, scale(1), nil, b, scale(1), nil, f32(2)), shaped(u8(1, 6, 3, 12), 2, 2))
	equals(t, ms+"QLinearSoftmax", attrs("axis", 0, "opset", 13), list(u8(9, 9), scale(1), zero(9), scale(1.0/128), zero(1)), u8(65, 65))
	equals(t, ms+"QLinearConcat", attrs("axis", 0), list(scale(1), zero(1), b, scale(2), zero(0), u8(4), scale(1), zero(4)), u8(3, 7, 1))
	equals(t, ms+"QLinearWhere", nil, list(tensor.Of([]bool{true, false}), b, scale(1), zero(0), a, scale(1), zero(0), scale(1), zero(0)), shaped(u8(1, 4, 1, 8), 2, 2))
	equals(t, ms+"QLinearGlobalAveragePool", nil, list(shaped(u8(1, 2, 3, 6), 1, 2, 2), scale(2), zero(1), scale(1), zero(0)), shaped(u8(1, 7), 1, 2, 1)) // 0.5*2 and 3.5*2
	refuse(t, ms+"QLinearAdd", nil, list(a, f32(1, 2), zero(2), b, scale(1), zero(1), scale(2), zero(5)), "it takes one element")
	refuse(t, ms+"QLinearAdd", nil, list(a, scale(1), zero(2), u8(1, 2, 3), scale(1), zero(1), scale(2), zero(5)), "do not broadcast")
	refuse(t, ms+"QLinearSoftmax", attrs("axis", 0, "opset", 12), list(a, scale(1), zero(9), scale(1), zero(1)), "over several dims")
	refuse(t, ms+"QLinearGlobalAveragePool", attrs("channels_last", 1), list(shaped(u8(1, 2), 1, 2, 1), scale(2), zero(1), scale(1), zero(0)), "channels_last")

	x, w := shaped(u8(1, 2, 3, 4), 2, 2), shaped(u8(1, 0, 0, 2), 2, 2)
	equals(t, ms+"MatMulIntegerToFloat", nil, list(x, w, scale(2), f32(1, 10), zero(1), nil, f32(0, 1)), shaped(f32(0, 41, 4, 121), 2, 2))
	check(t, ms+"DynamicQuantizeMatMul", nil, list(shaped(f32(0, 255), 1, 2), w, scale(0.5), nil, f32(1, 0)), shaped(f32(1, 255), 1, 2))
}

func TestMatMulNBits(t *testing.T) {
	const name = "com.microsoft.MatMulNBits"
	form := attrs("K", 10, "N", 2, "bits", 4, "block_size", 8)
	// Two rows of two blocks of four bytes, the low half of a byte first; the second block
	// of a row has two integers.
	b := shaped(tensor.Of([]uint8{0x98, 0x88, 0x88, 0x78, 0x8a, 0, 0, 0, 0x00, 0x00, 0x00, 0x00, 0x21, 0, 0, 0}), 2, 2, 4)
	scales := shaped(f32(1, 10, 1, 10), 2, 2)
	x := shaped(f32(0, 1, 0, 0, 0, 0, 0, 1, 1, 0), 1, 10)
	equals(t, name, form, list(x, b, scales), shaped(f32(20, -16-70), 1, 2))
	flat := shaped(b, 16)
	equals(t, name, form, list(x, flat, shaped(scales, 4), nil, nil, f32(100, 0)), shaped(f32(120, -86), 1, 2))
	// Zero points of two blocks in a byte; or as floats.
	equals(t, name, form, list(x, b, scales, tensor.Of([]uint8{0x88, 0x10})), shaped(f32(20, 0), 1, 2))
	equals(t, name, form, list(x, b, scales, f32(8, 8, 0, 1)), shaped(f32(20, 0), 1, 2))
	// All positions in the second block.
	index := as(tensor.I32, ints(1, 1, 1, 1, 1, 1, 1, 1, 1, 1), 10)
	equals(t, name, form, list(x, b, scales, nil, index), shaped(f32(20, -160-70), 1, 2))
	equals(t, name, attrs("K", 8, "N", 1, "bits", 8, "block_size", 8), list(f32(1, 0, 0, 0, 0, 0, 0, 2), tensor.Of([]uint8{129, 0, 0, 0, 0, 0, 0, 126}), f32(1)), f32(1-4))
	refuse(t, name, attrs("K", 10, "N", 2, "bits", 3, "block_size", 8), list(x, b, scales), "bits is 2, 4 or 8")
	refuse(t, name, form, list(f32(1, 2), b, scales), "matrices of 10 columns")
	refuse(t, name, form, list(x, b, f32(1)), "it takes 4 elements")
	refuse(t, name, form, list(x, b, scales, nil, as(tensor.I32, ints(1), 1)), "g_idx of shape [1]")
}

func TestGatherBlockQuantized(t *testing.T) {
	const name = ms + "GatherBlockQuantized"
	// Two rows of six integers of four bits, in blocks of four.
	data := shaped(tensor.Of([]uint8{0x98, 0xa8, 0x79, 0x08, 0x88, 0x8f}), 2, 3)
	scales := shaped(f32(1, 10, 1, 100), 2, 2)
	form := attrs("block_size", 4)
	rows := [2][]float32{{0, 1, 0, 2, 10, -10}, {0, -8, 0, 0, 700, 0}}
	both := shaped(f32(append(rows[1], rows[0]...)...), 2, 6)
	equals(t, name, form, list(data, ints(1, 0), scales), both)
	equals(t, name, form, list(data, ints(-1, 0), scales), both)
	equals(t, name, form, list(data, shaped(ints(1)), scales), f32(rows[1]...))
	equals(t, name, form, list(data, ints(0), scales, shaped(tensor.Of([]uint8{0x98, 0x88}), 2, 1)), shaped(f32(0, 1, 0, 2, 0, -20), 1, 6))
	u4 := as(tensor.U4, ints(1, 2, 3, 15), 2, 2)
	equals(t, name, attrs("block_size", 2), list(u4, ints(1), shaped(f32(1, 2), 2, 1)), shaped(f32(6, 30), 1, 2))
	// Quantized along the rows, gathered along the columns.
	equals(t, name, attrs("block_size", 2, "quantize_axis", 0, "gather_axis", 1), list(u4, ints(1), shaped(f32(1, 2), 1, 2), as(tensor.U4, ints(0, 1), 1, 2)), shaped(f32(2, 28), 2, 1))
	refuse(t, name, form, list(data, ints(0), shaped(f32(1), 1, 1)), "it takes [2, 2]")
	refuse(t, name, attrs("quantize_axis", 0), list(data, ints(0), scales), "quantize_axis 0")
}
