package op_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestCenterCropPad(t *testing.T) {
	x := f32(1, 2, 3, 4)
	equals(t, "CenterCropPad", nil, list(x, ints(3)), f32(1, 2, 3))
	equals(t, "CenterCropPad", nil, list(x, tensor.Of([]int32{1}, 1)), f32(2))
	equals(t, "CenterCropPad", nil, list(x, ints(7)), f32(0, 1, 2, 3, 4, 0, 0))
	equals(t, "CenterCropPad", nil, list(x, ints(0)), f32())
	equals(t, "CenterCropPad", nil, list(f32(), ints(2)), f32(0, 0))
	equals(t, "CenterCropPad", attrs("axes", []int64{-1}), list(shaped(x, 2, 2), ints(3)), shaped(f32(1, 2, 0, 3, 4, 0), 2, 3))
	equals(t, "CenterCropPad", nil, list(shaped(x, 2, 2), ints(1, 3)), shaped(f32(1, 2, 0), 1, 3))
	equals(t, "CenterCropPad", nil, list(words("a"), ints(3)), words("", "a", ""))
	refuse(t, "CenterCropPad", nil, list(x, ints(-1)), "negative entry")
	refuse(t, "CenterCropPad", nil, list(x, ints(1, 1)), "for 1 axes")
	refuse(t, "CenterCropPad", attrs("axes", []int64{1}), list(x, ints(1)), "axis 1")
}

func TestCol2Im(t *testing.T) {
	// Windows of 2 with stride 1 over 3 elements: the middle one is in both.
	equals(t, "Col2Im", nil, list(shaped(f32(1, 2, 3, 4), 1, 2, 2), ints(3), ints(2)), shaped(f32(1, 5, 4), 1, 1, 3))
	equals(t, "Col2Im", attrs("strides", []int64{2}), list(shaped(f32(1, 2, 3, 4), 1, 2, 2), ints(4), ints(2)), shaped(f32(1, 3, 2, 4), 1, 1, 4))
	equals(t, "Col2Im", attrs("pads", []int64{1, 1}), list(shaped(ints(1, 2, 3, 4, 5, 6), 1, 2, 3), ints(2), ints(2)), shaped(ints(6, 8), 1, 1, 2))
	equals(t, "Col2Im", attrs("dilations", []int64{2}), list(shaped(f32(1, 2), 1, 2, 1), ints(3), ints(2)), shaped(f32(1, 0, 2), 1, 1, 3))
	equals(t, "Col2Im", nil, list(shaped(f32(), 0, 2, 2), ints(3), ints(2)), shaped(f32(), 0, 1, 3))
	refuse(t, "Col2Im", nil, list(shaped(f32(1, 2, 3, 4), 1, 2, 2), ints(4), ints(2)), "has 3 blocks")
	refuse(t, "Col2Im", nil, list(shaped(f32(1, 2, 3), 1, 3, 1), ints(2), ints(2)), "no multiple of a block's 2")
	refuse(t, "Col2Im", nil, list(shaped(f32(1, 2), 1, 2, 1), ints(2), ints(0)), "blocks of [0]")
	refuse(t, "Col2Im", nil, list(shaped(f32(1, 2), 1, 2, 1), ints(-2), ints(2)), "blocks of [2]")
	refuse(t, "Col2Im", nil, list(shaped(f32(1, 2), 1, 2, 1), ints(2, 2), ints(2)), "it takes [n, channels*block")
}

func TestQLinearConv(t *testing.T) {
	u8 := func(v ...float32) *tensor.Tensor { return as(tensor.U8, f32(v...), 1, 1, int64(len(v))) }
	one := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
	zero := func(v uint8) *tensor.Tensor { return tensor.Scalar(v) }
	w := as(tensor.I8, f32(1, -1), 2, 1, 1)
	// (x - 10) * w * scale of each filter, plus the bias, times 0.5, plus 100.
	args := list(u8(10, 12, 20), one(1), zero(10), w, f32(1, 2), as(tensor.I8, f32(0, 1), 2), one(2), zero(100), as(tensor.I32, f32(4, 0), 2))
	want, _ := as(tensor.U8, f32(102, 103, 107, 100, 96, 80), 6).View(1, 2, 3)
	equals(t, "QLinearConv", nil, args, want)
	refuse(t, "QLinearConv", nil, append(args[:8:8], as(tensor.I32, f32(4), 1)), "one element for each")
	refuse(t, "QLinearConv", nil, append(append(args[:1:1], f32(1, 1)), args[2:]...), "it takes one element")
}

func TestRotaryEmbedding(t *testing.T) {
	cos, sin := shaped(f32(0, 1), 1, 1, 2), shaped(f32(1, 0), 1, 1, 2) // a quarter turn, and none
	x := shaped(f32(1, 2, 3, 4), 1, 1, 1, 4)
	equals(t, "RotaryEmbedding", nil, list(x, cos, sin), shaped(f32(-3, 2, 1, 4), 1, 1, 1, 4))
	equals(t, "RotaryEmbedding", attrs("interleaved", 1), list(x, cos, sin), shaped(f32(-2, 1, 3, 4), 1, 1, 1, 4))
	// Heads side by side; features that stay.
	y := shaped(f32(1, 2, 3, 4, 5, 6), 1, 1, 6)
	quarter := func(v float32) *tensor.Tensor { return shaped(f32(v), 1, 1, 1) }
	equals(t, "RotaryEmbedding", attrs("num_heads", 2, "rotary_embedding_dim", 2), list(y, quarter(0), quarter(1)), shaped(f32(-2, 1, 3, -5, 4, 6), 1, 1, 6))
	// Angles that come once for every example.
	equals(t, "RotaryEmbedding", nil, list(shaped(f32(1, 2, 3, 4, 5, 6, 7, 8), 2, 1, 1, 4), cos, sin), shaped(f32(-3, 2, 1, 4, -7, 6, 5, 8), 2, 1, 1, 4))
	refuse(t, "RotaryEmbedding", nil, list(x, shaped(f32(0, 1, 0, 1), 2, 1, 2), sin), "[batch or 1, tokens, pairs]")
	// Positions, the last one counted from the end.
	table, zeros := shaped(f32(1, 2, 3), 3, 1), shaped(f32(0, 0, 0), 3, 1)
	equals(t, "RotaryEmbedding", nil, list(shaped(f32(1, 1, 1, 1), 1, 1, 2, 2), table, zeros, shaped(ints(1, -1), 1, 2)), shaped(f32(2, 2, 3, 3), 1, 1, 2, 2))
	refuse(t, "RotaryEmbedding", nil, list(y, cos, sin), "num_heads")
	refuse(t, "RotaryEmbedding", attrs("rotary_embedding_dim", 6), list(x, cos, sin), "of 4 features")
	refuse(t, "RotaryEmbedding", attrs("rotary_embedding_dim", 3), list(x, cos, sin), "no pairs")
	refuse(t, "RotaryEmbedding", nil, list(x, table, zeros), "with position_ids it takes")
	refuse(t, "RotaryEmbedding", nil, list(x, table, zeros, shaped(ints(1, 1), 1, 2)), "position_ids of shape")
	refuse(t, "RotaryEmbedding", nil, list(f32(1), cos, sin), "rank 1")
}

func TestPitRotaryEmbedding(t *testing.T) {
	const name = "pit.RotaryEmbedding"
	x := shaped(f32(1, 2, 3, 4, 5, 6, 7, 8), 1, 2, 4)
	cos, sin := shaped(f32(1, 0, 2, 1), 1, 1, 4), shaped(f32(0, 1, 1, 10), 4)
	equals(t, name, nil, list(x, cos, sin), shaped(f32(1, -4, 7, 24, 5, -8, 19, 68), 1, 2, 4))
	equals(t, name, attrs("interleaved", 1), list(x, cos, sin), shaped(f32(1, 1, 2, 34, 5, 5, 6, 78), 1, 2, 4))
	// Angles for each pair, of each token or of all.
	cos, sin = shaped(f32(0, 1, 1, 0), 2, 2), shaped(f32(1, 0, 10, 1), 2, 2)
	equals(t, name, attrs("for_pairs", 1), list(x, cos, sin), shaped(f32(-3, 2, 1, 4, -65, -8, 57, 6), 1, 2, 4))
	equals(t, name, attrs("for_pairs", 1, "interleaved", 1), list(x, cos, sin), shaped(f32(-2, 1, 3, 4, -55, 56, -8, 7), 1, 2, 4))
	equals(t, name, attrs("for_pairs", 1), list(x, f32(0), f32(1)), shaped(f32(-3, -4, 1, 2, -7, -8, 5, 6), 1, 2, 4))
	equals(t, name, attrs("for_pairs", 1, "interleaved", 1), list(shaped(f32(), 2, 0), shaped(f32(), 2, 0), f32(1)), shaped(f32(), 2, 0))
	refuse(t, name, nil, list(x, cos, sin), "operand 1 (cos)")
	refuse(t, name, attrs("for_pairs", 1), list(x, f32(0), shaped(f32(1, 2, 3, 4), 4)), "operand 2 (sin)")
	refuse(t, name, nil, list(f32(1, 2, 3), f32(1), f32(1)), "no pairs")
}
