package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestLayerNormalization(t *testing.T) {
	x := shaped(f32(1, 3, 2, 6), 2, 2)
	// deviations are 1 and 2, so elements are -1 and 1 but for epsilon
	eps := attrs("epsilon", 0.0)
	check(t, "LayerNormalization", eps, list(x, f32(2, 10), f32(0, 5)),
		shaped(f32(-2, 15, -2, 15), 2, 2), shaped(f32(2, 4), 2, 1), shaped(f32(1, 0.5), 2, 1))
	check(t, "LayerNormalization", eps.With("axis", int64(0)), list(shaped(f32(1, 3), 2, 1), f32(1)), shaped(f32(-1, 1), 2, 1))
	x64 := as(tensor.F64, x, 2, 2)
	check(t, "LayerNormalization", eps, list(x64, as(tensor.F64, f32(1), 1)), as(tensor.F64, f32(-1, 1, -1, 1), 2, 2), shaped(f32(2, 4), 2, 1))
	rms := float32(math.Sqrt(12.5))
	check(t, "RMSNormalization", eps, list(shaped(f32(3, 4, 0, 0), 2, 2), f32(1, 5)), shaped(f32(3/rms, 20/rms, nan, nan), 2, 2))
	refuse(t, "LayerNormalization", nil, list(x, f32(1, 2, 3)), "does not broadcast")
	refuse(t, "LayerNormalization", nil, list(x, shaped(f32(1, 1, 1, 1), 1, 2, 2)), "does not broadcast")
	refuse(t, "LayerNormalization", attrs("stash_type", 7), list(x, f32(1)), "stash_type")
	refuse(t, "RMSNormalization", attrs("axis", 2), list(x, f32(1)), "valid axes")
}

func TestChannelNormalizations(t *testing.T) {
	// two channels of one example, means 2 and 20, deviations 1 and 10
	x := shaped(f32(1, 3, 10, 30), 1, 2, 2)
	eps := attrs("epsilon", 0.0)
	check(t, "InstanceNormalization", eps, list(x, f32(1, 2), f32(0, 1)), shaped(f32(-1, 1, -1, 3), 1, 2, 2))
	check(t, "GroupNormalization", eps.With("num_groups", int64(2)), list(x, f32(1, 2), f32(0, 1)), shaped(f32(-1, 1, -1, 3), 1, 2, 2))
	check(t, "GroupNormalization", eps.With("num_groups", int64(1)), list(shaped(f32(-1, 1), 1, 2), f32(1, 2), f32(0, 1)), shaped(f32(-1, 3), 1, 2))
	check(t, "MeanVarianceNormalization", attrs("axes", []int{2}), list(x), shaped(f32(-1, 1, -1, 1), 1, 2, 2))
	check(t, "MeanVarianceNormalization", attrs("axes", []int{-3}), list(shaped(f32(-5, 7), 2, 1, 1)), shaped(f32(-1, 1), 2, 1, 1))
	refuse(t, "GroupNormalization", attrs("num_groups", 3), list(x, f32(1, 2), f32(0, 1)), "in 3 groups")
	refuse(t, "InstanceNormalization", nil, list(x, f32(1), f32(0, 1)), "2 channels")
	refuse(t, "MeanVarianceNormalization", nil, list(x), "axis 3")
}

func TestBatchNormalization(t *testing.T) {
	x := shaped(f32(1, 10, 3, 30), 2, 2)
	eps := attrs("epsilon", 0.0)
	one, zero := f32(1, 1), f32(0, 0)
	check(t, "BatchNormalization", eps, list(x, f32(1, 2), f32(0, 1), f32(1, 10), f32(4, 100)), shaped(f32(0, 1, 1, 5), 2, 2))
	check(t, "BatchNormalization", eps.With("training_mode", int64(1)).With("momentum", 0.5), list(x, one, zero, f32(4, 0), f32(3, 0)),
		shaped(f32(-1, -1, 1, 1), 2, 2), f32(3, 10), f32(2, 50))
	check(t, "BatchNormalization", eps, list(f32(1, 3), f32(1), f32(0), f32(1), f32(4)), f32(0, 1)) // one channel
	check(t, "BatchNormalization", eps.With("training_mode", int64(1)), list(f32(1, 3), f32(1), f32(0), f32(1), f32(4)), f32(-1, 1))
	refuse(t, "BatchNormalization", nil, list(x, f32(1), f32(0), f32(0), f32(1)), "2 channels")
}

func TestLpAndLRN(t *testing.T) {
	check(t, "LpNormalization", nil, list(shaped(f32(3, 4, 0, 0), 2, 2)), shaped(f32(0.6, 0.8, 0, 0), 2, 2))
	check(t, "LpNormalization", attrs("p", 1, "axis", 0), list(f32(-1, 3)), f32(-0.25, 0.75))
	refuse(t, "LpNormalization", attrs("p", 3), list(f32(1)), "takes 1 or 2")
	// the window of an even size reaches further ahead
	check(t, "LRN", attrs("size", 2, "alpha", 2.0, "beta", 1.0, "bias", 0.0), list(shaped(f32(1, 2, 4), 1, 3)), shaped(f32(1.0/5, 2.0/20, 4.0/16), 1, 3))
	refuse(t, "LRN", attrs("size", 0), list(shaped(f32(1), 1, 1)), "size 0")
}

func TestGlobalPools(t *testing.T) {
	x := shaped(f32(3, -4, 1, 3), 1, 2, 2)
	check(t, "GlobalAveragePool", nil, list(x), shaped(f32(-0.5, 2), 1, 2, 1))
	check(t, "GlobalMaxPool", nil, list(x), shaped(f32(3, 3), 1, 2, 1))
	check(t, "GlobalLpPool", nil, list(x), shaped(f32(5, float32(math.Sqrt(10))), 1, 2, 1))
	check(t, "GlobalAveragePool", nil, list(tensor.New(tensor.F32, 1, 1, 0)), shaped(f32(nan), 1, 1, 1))
	refuse(t, "GlobalMaxPool", nil, list(f32(1)), "no channels")
}

func TestNormalizationTypes(t *testing.T) {
	for _, c := range []struct{ op, want string }{
		{"LayerNormalization", "[b, s, 8] f16"},
		{"RMSNormalization", "[b, s, 8] f16"},
	} {
		if got := deduce(t, c.op, nil, "[b, s, 8] f16", "[8] f16"); got != c.want {
			t.Errorf("%s is %s, want %s", c.op, got, c.want)
		}
	}
	if got := deduce(t, "GlobalMaxPool", nil, "[b, c, h, w] f32"); got != "[b, c, 1, 1] f32" {
		t.Error(got)
	}
}
