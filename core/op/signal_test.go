package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func num(v int64) *tensor.Tensor { return tensor.Scalar(v) }

func TestWindows(t *testing.T) {
	check(t, "HannWindow", nil, list(num(4)), f32(0, 0.5, 1, 0.5))
	check(t, "HannWindow", attrs("periodic", 0), list(num(3)), f32(0, 1, 0))
	check(t, "HammingWindow", attrs("periodic", 0, "output_datatype", tensor.F64), list(tensor.Scalar(int32(3))),
		tensor.Of([]float64{4.0 / 46, 1, 4.0 / 46}, 3))
	check(t, "BlackmanWindow", attrs("output_datatype", tensor.F16), list(ints(2)), as(tensor.F16, f32(0, 1), 2))
	equals(t, "HannWindow", nil, list(num(0)), f32())
	refuse(t, "HannWindow", nil, list(num(-1)), "at least 0")
	refuse(t, "HannWindow", nil, list(ints(1, 2)), "it takes one element")
	refuse(t, "HannWindow", attrs("output_datatype", tensor.String), list(num(1)), "no element type that it takes")
}

func TestMelWeightMatrix(t *testing.T) {
	// The edges are bins 0, 1, 2 of a spectrum of 3: one triangle.
	edges := func(bands, length, rate int64, high float32) []tensor.Value {
		return list(num(bands), num(length), num(rate), tensor.Scalar(float32(0)), tensor.Scalar(high))
	}
	got := each(t, "MelWeightMatrix", nil, 1, edges(2, 8, 16, 8)...)[0].(*tensor.Tensor)
	for i, n := range got.Shape() {
		if n != []int64{5, 2}[i] {
			t.Errorf("shape %v", got.Shape())
		}
	}
	for i := range got.Len() {
		if v := got.Float(i); !(v >= 0 && v <= 1) {
			t.Errorf("element %d is %g", i, v)
		}
	}
	equals(t, "MelWeightMatrix", nil, edges(0, 8, 16, 8), shaped(f32(), 5, 0))
	refuse(t, "MelWeightMatrix", nil, edges(-1, 8, 16, 8), "at least 0")
}

// sequence is a signal of n values without symmetry.
func signal(d tensor.DType, shape ...int64) *tensor.Tensor {
	x := tensor.New(d, shape...)
	for i := range x.Len() {
		x.SetFloat(i, math.Sin(float64(3*i+1))+float64(i%5)/4)
	}
	return x
}

func TestDFT(t *testing.T) {
	x := shaped(f32(1, 2, 3, 4), 1, 4, 1)
	check(t, "DFT", nil, list(x), shaped(f32(10, 0, -2, 2, -2, 0, -2, -2), 1, 4, 2))
	check(t, "DFT", attrs("onesided", 1), list(x), shaped(f32(10, 0, -2, 2, -2, 0), 1, 3, 2))
	check(t, "DFT", nil, list(x, num(2)), shaped(f32(3, 0, -1, 0), 1, 2, 2))                                       // cut
	check(t, "DFT", attrs("onesided", 1), list(shaped(f32(1), 1, 1, 1), num(3)), shaped(f32(1, 0, 1, 0), 1, 2, 2)) // filled up
	check(t, "DFT", nil, list(shaped(f32(1, 1), 1, 1, 2)), shaped(f32(1, 1), 1, 1, 2))
	// The inverse of the transform is the signal, along any axis, of even and odd lengths.
	for _, n := range []int64{1, 2, 5, 8} {
		x := signal(tensor.F64, 3, n, 2)
		y := each(t, "DFT", nil, 1, x, nil, num(1))[0]
		check(t, "DFT", attrs("inverse", 1), list(y, nil, num(-2)), x)
		y = each(t, "DFT", nil, 1, x, nil, num(0))[0]
		check(t, "DFT", attrs("inverse", 1), list(y, num(3), num(0)), x)
		x = signal(tensor.F64, 3, n, 1)
		y = each(t, "DFT", attrs("onesided", 1), 1, x)[0]
		check(t, "DFT", attrs("onesided", 1, "inverse", 1), list(y, num(n)), x)
	}
	equals(t, "DFT", nil, list(shaped(f32(), 0, 3, 1)), shaped(f32(), 0, 3, 2))
	refuse(t, "DFT", attrs("onesided", 1), list(shaped(f32(1, 2), 1, 1, 2)), "complex signal")
	refuse(t, "DFT", attrs("onesided", 1, "inverse", 1), list(x), "real and imaginary parts")
	refuse(t, "DFT", nil, list(shaped(f32(1, 2, 3), 1, 3)), "neither 1 (real)")
	refuse(t, "DFT", nil, list(x, num(0)), "at least 1")
	refuse(t, "DFT", nil, list(x, nil, num(2)), "that of real and imaginary parts")
	refuse(t, "DFT", nil, list(x, nil, num(3)), "axis 3")
	refuse(t, "DFT", nil, list(f32(1)), "rank 1")
}

func TestSTFT(t *testing.T) {
	x := signal(tensor.F64, 2, 9, 1)
	got := each(t, "STFT", nil, 1, x, num(3), nil, num(4))[0].(*tensor.Tensor)
	for f := range int64(2) { // each frame is the DFT of its samples
		part := each(t, "Slice", nil, 1, x, ints(3*f), ints(3*f+4), ints(1))[0]
		frame := each(t, "Slice", nil, 1, got, ints(f), ints(f+1), ints(1))[0].(*tensor.Tensor)
		frame, _ = frame.View(2, 3, 2)
		check(t, "DFT", attrs("onesided", 1), list(part), frame)
	}
	if n := got.Shape()[1]; n != 2 { // a third one would not fit
		t.Errorf("%d frames", n)
	}
	ones := as(tensor.F64, f32(1, 1, 1, 1), 4)
	check(t, "STFT", nil, list(x, num(3), ones), got)
	check(t, "STFT", nil, list(x, tensor.Scalar(int32(3)), ones, tensor.Scalar(int32(4))), got)
	refuse(t, "STFT", nil, list(x, num(3), ones, num(3)), "unsupported: a window")
	refuse(t, "STFT", nil, list(x, num(0), ones), "at least 1")
	refuse(t, "STFT", nil, list(x, num(1), nil, num(10)), "frames of 10 of a signal of 9")
	refuse(t, "STFT", nil, list(signal(tensor.F64, 1, 4, 2), num(1)), "complex signal")
	refuse(t, "STFT", nil, list(f32(1), num(1)), "it takes [batch, length")
}
