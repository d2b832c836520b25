package op_test

import (
	"context"
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// draw runs a random operator with a seed of the run.
func draw(t *testing.T, seed uint64, name string, attrs ir.Attrs, results int, args ...tensor.Value) []*tensor.Tensor {
	t.Helper()
	m, inputs, err := operator(symbolic, name, attrs, results, args)
	if err != nil {
		t.Fatal(err)
	}
	got, err := interp.Run(context.Background(), m, inputs, interp.Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]*tensor.Tensor, len(got))
	for i, v := range got {
		out[i] = v.(*tensor.Tensor)
	}
	return out
}

func moments(x *tensor.Tensor) (mean, deviation float64) {
	for i := range x.Len() {
		mean += x.Float(i) / float64(x.Len())
	}
	for i := range x.Len() {
		deviation += (x.Float(i) - mean) * (x.Float(i) - mean) / float64(x.Len())
	}
	return mean, math.Sqrt(deviation)
}

func TestDistributions(t *testing.T) {
	half := tensor.New(tensor.F32, 20000)
	for i := range half.Len() {
		half.SetFloat(i, 0.25)
	}
	for _, c := range []struct {
		name            string
		attrs           ir.Attrs
		args            []tensor.Value
		dtype           tensor.DType
		mean, deviation float64
	}{
		{"RandomUniform", attrs("shape", []int{20000}, "low", 1.0, "high", 3.0), nil, tensor.F32, 2, 2 / math.Sqrt(12)},
		{"RandomNormal", attrs("shape", []int{20000}, "mean", 5.0, "scale", 2.0, "dtype", tensor.F64), nil, tensor.F64, 5, 2},
		{"RandomUniformLike", attrs("dtype", tensor.F16), list(half), tensor.F16, 0.5, 1 / math.Sqrt(12)},
		{"RandomNormalLike", attrs("seed", 3.0), list(half), tensor.F32, 0, 1},
		{"Bernoulli", attrs("dtype", tensor.Bool), list(half), tensor.Bool, 0.25, math.Sqrt(0.25 * 0.75)},
		{"Multinomial", attrs("sample_size", 20000), list(shaped(f32(float32(math.Log(3)), 0, -inf), 1, 3)), tensor.I32, 0.25, math.Sqrt(0.25 * 0.75)},
	} {
		x := draw(t, 1, c.name, c.attrs, 1, c.args...)[0]
		mean, deviation := moments(x)
		if x.DType() != c.dtype || math.Abs(mean-c.mean) > 0.05 || math.Abs(deviation-c.deviation) > 0.05 {
			t.Errorf("%s: %s of mean %g and deviation %g, want %s of %g and %g", c.name, x.DType(), mean, deviation, c.dtype, c.mean, c.deviation)
		}
	}
	refuse(t, "RandomUniform", attrs("shape", []int{-1}), nil, "shape [-1]")
	refuse(t, "RandomUniformLike", nil, list(ints(1)), "results can not be i64")
	refuse(t, "Multinomial", nil, list(tensor.New(tensor.F32, 1, 0)), "no classes")
}

// Draws follow from the operator's seed where it has one, else from the run's.
func TestSeeds(t *testing.T) {
	shape := attrs("shape", []int{8})
	same := func(a, b *tensor.Tensor) bool { return tensor.Equal(a, b) }
	x, y, z := draw(t, 1, "RandomNormal", shape, 1)[0], draw(t, 1, "RandomNormal", shape, 1)[0], draw(t, 2, "RandomNormal", shape, 1)[0]
	if !same(x, y) || same(x, z) {
		t.Errorf("seed 1 gives %v and %v, seed 2 %v", x, y, z)
	}
	own := shape.With("seed", 4.0)
	x, y, z = draw(t, 1, "RandomNormal", own, 1)[0], draw(t, 2, "RandomNormal", own, 1)[0], draw(t, 1, "RandomNormal", own.With("seed", 5.0), 1)[0]
	if !same(x, y) || same(x, z) {
		t.Errorf("a seed of its own gives %v and %v, another one %v", x, y, z)
	}
}

func TestDropout(t *testing.T) {
	x := f32(1, 2, 3)
	ones := tensor.Of([]bool{true, true, true})
	half, on := tensor.Scalar[float32](0.5), tensor.Scalar(true)
	check(t, "Dropout", nil, list(x), x, ones)
	check(t, "Dropout", nil, list(x, half, tensor.Scalar(false)), x, ones)
	check(t, "Dropout", nil, list(x, tensor.Scalar[float32](0), on), x, ones)
	wide := tensor.New(tensor.F32, 1000)
	for i := range wide.Len() {
		wide.SetFloat(i, 3)
	}
	out := draw(t, 1, "Dropout", nil, 2, wide, half, on)
	kept := 0
	for i := range wide.Len() {
		want := 0.0
		if out[1].Bool(i) {
			kept++
			want = 6
		}
		if out[0].Float(i) != want {
			t.Fatalf("element %d is %g, its mask %v", i, out[0].Float(i), out[1].Bool(i))
		}
	}
	if kept < 400 || kept > 600 {
		t.Errorf("%d of 1000 are kept", kept)
	}
	refuse(t, "Dropout", nil, list(x, tensor.Scalar[float32](1), on), "must be in [0, 1)")
}
