package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestAffineGrid(t *testing.T) {
	identity := shaped(f32(1, 0, 0, 0, 1, 0), 1, 2, 3)
	check(t, "AffineGrid", attrs("align_corners", 1), list(identity, ints(1, 1, 2, 2)), shaped(f32(-1, -1, 1, -1, -1, 1, 1, 1), 1, 2, 2, 2))
	check(t, "AffineGrid", nil, list(identity, ints(1, 1, 1, 2)), shaped(f32(-0.5, 0, 0.5, 0), 1, 1, 2, 2))
	check(t, "AffineGrid", attrs("align_corners", 1), list(identity, ints(1, 1, 1, 1)), shaped(f32(0, 0), 1, 1, 1, 2))
	equals(t, "AffineGrid", nil, list(identity, ints(1, 1, 0, 2)), shaped(f32(), 1, 0, 2, 2))
	refuse(t, "AffineGrid", nil, list(identity, ints(1, 1, 1)), "a size of 3 entries")
	refuse(t, "AffineGrid", nil, list(identity, ints(2, 1, 1, 1)), "for a batch of 2")
	refuse(t, "AffineGrid", nil, list(identity, ints(1, 1, -1, 1)), "negative entry")
}

func TestGridSample(t *testing.T) {
	x := shaped(f32(1, 2, 3, 4), 1, 1, 1, 4)
	// A grid of positions along the last dim, in elements: with align_corners 0 and 4
	// elements, position p is at (2p+1)/4-1.
	grid := func(p ...float32) *tensor.Tensor {
		out := tensor.New(tensor.F32, 1, 1, int64(len(p)), 2)
		for i, v := range p {
			out.SetFloat(int64(2*i), float64((2*v+1)/4-1))
		}
		return out
	}
	row := func(v ...float32) *tensor.Tensor { return shaped(f32(v...), 1, 1, 1, int64(len(v))) }
	inf := float32(math.Inf(1))
	check(t, "GridSample", nil, list(x, grid(0, 0.5, 3.5, -0.5, -1, 9)), row(1, 1.5, 2, 0.5, 0, 0))
	check(t, "GridSample", attrs("padding_mode", "border"), list(x, grid(0, 3.5, -9, inf)), row(1, 4, 1, 4))
	check(t, "GridSample", attrs("padding_mode", "reflection"), list(x, grid(-1, -2, 4, 5, 7, 8)), row(1, 2, 4, 3, 1, 1))
	check(t, "GridSample", attrs("mode", "nearest"), list(x, grid(0.4, 0.5, 1.5, -0.4, 4)), row(1, 1, 3, 1, 0))
	check(t, "GridSample", attrs("mode", "cubic", "padding_mode", "border"), list(x, grid(0, 1, 3, 1.5)), row(1, 2, 4, 2.5))
	check(t, "GridSample", nil, list(as(tensor.I32, f32(10, 20), 1, 1, 1, 2), tensor.New(tensor.F32, 1, 1, 1, 2)), as(tensor.I32, f32(15), 1, 1, 1, 1))
	words := wordTable(1, "a", "b", "c", "d")
	words, _ = words.View(1, 1, 1, 4)
	got, _ := wordTable(1, "a", "d", "").View(1, 1, 1, 3)
	equals(t, "GridSample", attrs("mode", "nearest"), list(words, grid(0, 3, 5)), got)
	refuse(t, "GridSample", nil, list(words, grid(0)), "unsupported")
	// Nothing to read: zeros.
	equals(t, "GridSample", attrs("padding_mode", "reflection"), list(shaped(f32(), 1, 1, 1, 0), grid(0)), row(0))
	// A dim of one element between centres.
	check(t, "GridSample", attrs("padding_mode", "reflection", "align_corners", 1), list(row(7), grid(0, 9)), row(7, 7))
	refuse(t, "GridSample", attrs("mode", "bilinear"), list(x, grid(0)), "none of nearest, linear, cubic")
	refuse(t, "GridSample", attrs("padding_mode", "wrap"), list(x, grid(0)), "padding_mode")
	refuse(t, "GridSample", nil, list(x, f32(1)), "it takes [n, c, r dims]")
	nan := grid(0)
	nan.SetFloat(0, math.NaN())
	each(t, "GridSample", attrs("mode", "nearest"), 1, x, nan)
	each(t, "GridSample", attrs("padding_mode", "reflection"), 1, x, nan)
}

func TestDeformConv(t *testing.T) {
	x, w := signal(tensor.F32, 2, 4, 5, 6), signal(tensor.F32, 6, 2, 3, 2)
	as := []any{"group", 2, "pads", []int64{1, 0, 0, 1}, "strides", []int64{2, 1}, "dilations", []int64{1, 2}}
	plain := each(t, "Conv", attrs(as...), 1, x, w, f32(1, 2, 3, 4, 5, 6))[0].(*tensor.Tensor)
	h, v := plain.Shape()[2], plain.Shape()[3]
	// Without offsets it is a convolution.
	check(t, "DeformConv", attrs(append(as, "offset_group", 2)...), list(x, w, tensor.New(tensor.F32, 2, 24, h, v), f32(1, 2, 3, 4, 5, 6)), plain)
	// A mask of zeros leaves the bias.
	got := each(t, "DeformConv", attrs(as...), 1, x, w, tensor.New(tensor.F32, 2, 12, h, v), f32(1, 2, 3, 4, 5, 6), tensor.New(tensor.F32, 2, 6, h, v))[0].(*tensor.Tensor)
	for i := range got.Len() {
		if got.Float(i) != float64(i/(h*v)%6+1) {
			t.Fatalf("element %d is %g", i, got.Float(i))
		}
	}
	// Half an element to the right.
	offset := shaped(f32(0, 0, 0.5, 0.5), 1, 2, 1, 2)
	check(t, "DeformConv", nil, list(shaped(f32(1, 3), 1, 1, 1, 2), shaped(f32(1), 1, 1, 1, 1), offset), shaped(f32(2, 1.5), 1, 1, 1, 2))
	refuse(t, "DeformConv", nil, list(shaped(f32(1), 1, 1), shaped(f32(1), 1, 1), shaped(f32(), 1, 0)), "no spatial dims")
	refuse(t, "DeformConv", attrs("offset_group", 3), list(x, w, tensor.New(tensor.F32, 2, 12, h, v)), "")
	refuse(t, "DeformConv", attrs(as...), list(x, w, tensor.New(tensor.F32, 2, 11, h, v)), "it takes [2, 12")
}

// The number of samples of a region is the same said by an attribute or by its size.
func TestRoiAlign(t *testing.T) {
	x := signal(tensor.F32, 2, 3, 8, 9)
	rois := shaped(f32(1, 0.5, 6, 5.5, -2, -2, 3, 3, 7, 6, 12, 11), 3, 4) // 5 by 5: 2 samples in each of 3 bins
	batch := ints(1, 0, 1)
	for _, mode := range []string{"avg", "max"} {
		for _, coordinates := range []string{"half_pixel", "output_half_pixel"} {
			as := []any{"mode", mode, "coordinate_transformation_mode", coordinates, "output_height", 3, "output_width", 3}
			check(t, "RoiAlign", attrs(append(as, "sampling_ratio", 2)...), list(x, rois, batch), each(t, "RoiAlign", attrs(as...), 1, x, rois, batch)[0])
		}
	}
	check(t, "RoiAlign", nil, list(shaped(f32(1, 2, 3, 4), 1, 1, 2, 2), shaped(f32(0.5, 0.5, 1.5, 1.5), 1, 4), ints(0)), shaped(f32(2.5), 1, 1, 1, 1))
	equals(t, "RoiAlign", nil, list(x, shaped(f32(), 0, 4), ints()), shaped(f32(), 0, 3, 1, 1))
	refuse(t, "RoiAlign", nil, list(x, rois, ints(2, 0, 0)), "entry 2 of a batch of 2")
	refuse(t, "RoiAlign", attrs("sampling_ratio", 1), list(x, rois, ints(2, 0, 0)), "")
	refuse(t, "RoiAlign", nil, list(x, shaped(f32(0, 0, 1e30, 1), 1, 4), ints(0)), "samples in a bin")
	refuse(t, "RoiAlign", attrs("output_height", 0), list(x, rois, batch), "bins of 0 by 1")
	refuse(t, "RoiAlign", attrs("mode", "min"), list(x, rois, batch), "neither avg nor max")
	refuse(t, "RoiAlign", nil, list(x, rois, ints(0)), "it takes [n, c, h, w]")
}
