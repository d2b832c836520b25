package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestOptimizers(t *testing.T) {
	const ns = "ai.onnx.preview.training."
	r, first, later := tensor.Scalar(float32(0.5)), num(0), num(1)
	step := func(name string, as []any, args []tensor.Value, want ...tensor.Value) {
		t.Helper()
		check(t, ns+name, attrs(as...), args, want...)
	}
	momentum := []any{"alpha", 0.5, "beta", 0.25, "norm_coefficient", 0.0, "mode", "standard"}
	x, g, v := f32(1, 2), f32(4, 8), f32(2, 0)
	step("Momentum", momentum, list(r, first, x, g, v), f32(-1.5, -2), f32(5, 8)) // the whole gradient first
	step("Momentum", momentum, list(r, later, x, g, v), f32(0, 1), f32(2, 2))
	step("Momentum", append(momentum, "mode", "nesterov"), list(r, later, x, g, v), f32(-1.5, -2.5), f32(2, 2))
	step("Adagrad", []any{"epsilon", 0.0, "decay_factor", 1.0}, list(r, later, x, g, f32(9, 36)), f32(0.8, 1.8), f32(25, 100))
	step("Adam", []any{"alpha", 0.5, "beta", 0.75, "epsilon", 0.0, "norm_coefficient_post", 0.5}, list(r, first, x, g, f32(0, 0), f32(0, 0)),
		f32(0.25, 0.75), f32(2, 4), f32(4, 16))
	step("Adam", []any{"alpha", 0.5, "beta", 0.75, "epsilon", 0.0}, list(r, later, x, g, f32(0, 0), f32(0, 0)), f32(0.5, 1.5), f32(2, 4), f32(4, 16))
	// Two tensors, of different shapes and element types; their lists are interleaved by kind.
	y := tensor.Of([]float64{1}, 1, 1)
	gives(t, ns+"Momentum", attrs(momentum...), list(r, first, x, y, g, y, v, y), f32(-1.5, -2), tensor.Of([]float64{0.25}, 1, 1), f32(5, 8), tensor.Of([]float64{1.5}, 1, 1))
	refuse(t, ns+"Momentum", attrs(momentum...), list(r, first, x, g), "it takes 3")
	refuse(t, ns+"Momentum", attrs(momentum...), list(r, first, x, g, f32(1)), "belongs to a tensor")
	refuse(t, ns+"Momentum", attrs(append(momentum, "mode", "fast")...), list(r, first, x, g, v), "neither standard nor nesterov")
	refuse(t, ns+"Adam", nil, list(f32(1, 2), first, x, g, v, v), "it takes one element")
}

func TestLabels(t *testing.T) {
	const enc, cat = "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.CategoryMapper"
	nan := float32(math.NaN())
	equals(t, enc, attrs("keys_strings", []string{"a", "b", "a"}, "values_int64s", []int64{1, 2, 3}), list(words("a", "b", "")), ints(3, 2, -1))
	equals(t, enc, attrs("keys_floats", []float64{math.NaN(), 0.5}, "values_strings", []string{"none", "half"}), list(f32(nan, 0.5, 1)), words("none", "half", "_Unused"))
	equals(t, enc, attrs("keys_tensor", as(tensor.I16, ints(7), 1), "values_tensor", as(tensor.F64, f32(0.5), 1), "default_tensor", as(tensor.F64, f32(9), 1)),
		list(as(tensor.I16, ints(7, 8), 2)), as(tensor.F64, f32(0.5, 9), 2))
	equals(t, enc, attrs("keys_int64s", []int64{}, "values_int64s", []int64{}), list(num(3)), num(-1))
	refuse(t, enc, attrs("keys_int64s", []int64{1}, "values_int64s", []int64{}), list(num(3)), "1 keys and 0 values")
	refuse(t, enc, attrs("keys_int64s", []int64{1}, "values_int64s", []int64{1}), list(words("a")), "keys are i64")
	refuse(t, enc, attrs("keys_int64s", []int64{1}), list(num(3)), "one list of values")
	refuse(t, enc, attrs("keys_int64s", []int64{1}, "values_int64s", []int64{1}, "default_tensor", f32(1)), list(num(3)), "default_tensor")

	both := attrs("cats_int64s", []int64{5, 6}, "cats_strings", []string{"x", "y"})
	equals(t, cat, both, list(words("y", "z")), ints(6, -1))
	equals(t, cat, both, list(shaped(ints(5, 7), 1, 2)), wordTable(1, "x", "_Unused"))
	refuse(t, cat, attrs("cats_int64s", []int64{5}), list(words("y")), "1 cats_int64s and 0 cats_strings")
}

func TestFeatures(t *testing.T) {
	const ml = "ai.onnx.ml."
	x := shaped(f32(1, -2, 3, 4), 2, 2)
	equals(t, ml+"Binarizer", attrs("threshold", 1.5), list(as(tensor.I64, x, 2, 2)), shaped(ints(0, 0, 1, 1), 2, 2))
	equals(t, ml+"ArrayFeatureExtractor", nil, list(x, shaped(ints(1, 0, 1), 1, 3)), shaped(f32(-2, 1, -2, 4, 3, 4), 2, 3))
	equals(t, ml+"ArrayFeatureExtractor", nil, list(words("a", "b"), num(1)), wordTable(1, "b"))
	refuse(t, ml+"ArrayFeatureExtractor", nil, list(x, ints(2)), "")
	equals(t, ml+"Scaler", attrs("offset", []float64{1, 0}, "scale", []float64{2}), list(x), shaped(f32(0, -4, 4, 8), 2, 2))
	equals(t, ml+"Scaler", nil, list(tensor.Scalar(int32(3))), tensor.Scalar(float32(3)))
	refuse(t, ml+"Scaler", attrs("scale", []float64{1, 2, 3}), list(x), "scale has 3 entries")
	equals(t, ml+"Imputer", attrs("imputed_value_floats", []float64{9, 8}, "replaced_value_float", -2.0), list(x), shaped(f32(1, 8, 3, 4), 2, 2))
	equals(t, ml+"Imputer", attrs("imputed_value_floats", []float64{9}, "replaced_value_float", math.NaN()), list(f32(1, float32(math.NaN()))), f32(1, 9))
	equals(t, ml+"Imputer", attrs("imputed_value_int64s", []int64{9}), list(num(0)), num(9))
	refuse(t, ml+"Imputer", attrs("imputed_value_int64s", []int64{9}), list(x), "imputed_value_floats has 0 entries")
	equals(t, ml+"Normalizer", nil, list(x), shaped(f32(1, -2, 0.75, 1), 2, 2))
	equals(t, ml+"Normalizer", attrs("norm", "L1"), list(as(tensor.I32, x, 2, 2)), shaped(f32(1./3, -2./3, 3./7, 4./7), 2, 2))
	check(t, ml+"Normalizer", attrs("norm", "L2"), list(f32(3, -4)), f32(0.6, -0.8))
	equals(t, ml+"Normalizer", attrs("norm", "L2"), list(f32(0, 0)), f32(0, 0))
	refuse(t, ml+"Normalizer", attrs("norm", "L3"), list(x), "none of MAX")
	equals(t, ml+"FeatureVectorizer", attrs("inputdimensions", []int64{2, 1}), list(x, shaped(f32(7, 8), 2, 1)), shaped(f32(1, -2, 7, 3, 4, 8), 2, 3))
	equals(t, ml+"FeatureVectorizer", nil, list(ints(1, 2), ints(3)), shaped(f32(1, 2, 3), 1, 3))
	refuse(t, ml+"FeatureVectorizer", attrs("inputdimensions", []int64{3}), list(x), "unsupported")
	refuse(t, ml+"FeatureVectorizer", nil, list(x, shaped(f32(1), 1, 1)), "rows")
	equals(t, ml+"OneHotEncoder", attrs("cats_int64s", []int64{3, 1}), list(f32(1.5, 2)), shaped(f32(0, 1, 0, 0), 2, 2))
	equals(t, ml+"OneHotEncoder", attrs("cats_strings", []string{"a"}), list(words("a", "b")), shaped(f32(1, 0), 2, 1))
	refuse(t, ml+"OneHotEncoder", attrs("cats_strings", []string{"a"}, "zeros", 0), list(words("a")), "unsupported")
	refuse(t, ml+"OneHotEncoder", attrs("cats_strings", []string{"a"}), list(x), "one list of categories")
}

func TestLinearModels(t *testing.T) {
	const ml = "ai.onnx.ml."
	x := shaped(f32(1, 2, 3, -1), 2, 2)
	w := []float64{1, 0, 0, 1, 1, 1}
	equals(t, ml+"LinearRegressor", attrs("coefficients", w, "targets", 3, "intercepts", []float64{0, 0, 1}), list(x), shaped(f32(1, 2, 4, 3, -1, 3), 2, 3))
	equals(t, ml+"LinearRegressor", attrs("coefficients", []float64{1, 1}), list(as(tensor.I64, x, 2, 2)), shaped(f32(3, 2), 2, 1))
	check(t, ml+"LinearRegressor", attrs("coefficients", w[:4], "targets", 2, "post_transform", "SOFTMAX_ZERO"), list(shaped(f32(0, 0, 1, 0), 2, 2)),
		shaped(f32(0.5, 0.5, 1, 0), 2, 2))
	refuse(t, ml+"LinearRegressor", attrs("coefficients", w, "targets", 4), list(x), "6 coefficients for 4 scores")
	refuse(t, ml+"LinearRegressor", attrs("coefficients", w, "targets", 3, "intercepts", []float64{1}), list(x), "1 intercepts")
	refuse(t, ml+"LinearRegressor", attrs("coefficients", w, "targets", 3, "post_transform", "PROBIT"), list(x), "unsupported")
	refuse(t, ml+"LinearRegressor", attrs("coefficients", w), list(f32(1)), "it takes a matrix")

	gives(t, ml+"LinearClassifier", attrs("coefficients", w, "classlabels_strings", []string{"a", "b", "c"}, "intercepts", []float64{0, 0, -2}), list(x),
		words("b", "a"), shaped(f32(1, 2, 1, 3, -1, 0), 2, 3))
	// Two classes by one score.
	gives(t, ml+"LinearClassifier", attrs("coefficients", []float64{1, -1}, "classlabels_ints", []int64{7, 8}, "intercepts", []float64{0}), list(x),
		ints(7, 8), shaped(f32(1, -1, -4, 4), 2, 2))
	refuse(t, ml+"LinearClassifier", attrs("coefficients", w), list(x), "one list of labels")
	refuse(t, ml+"LinearClassifier", attrs("coefficients", w, "classlabels_ints", []int64{7}), list(x), "unsupported")
}

func TestTreeEnsemble(t *testing.T) {
	const name = "ai.onnx.ml.TreeEnsemble"
	u8 := func(v ...float32) *tensor.Tensor { return as(tensor.U8, f32(v...), int64(len(v))) }
	// Node 0 asks x0 <= 1 and leads to leaf 0 or node 1, which asks whether x1 is 2 or 5.
	trees := func(extra ...any) []any {
		return append([]any{"n_targets", 2, "tree_roots", []int64{0}, "nodes_modes", u8(0, 6), "nodes_splits", f32(1, 0), "nodes_featureids", []int64{0, 1},
			"nodes_truenodeids", []int64{0, 1}, "nodes_trueleafs", []int64{1, 1}, "nodes_falsenodeids", []int64{1, 2}, "nodes_falseleafs", []int64{0, 1},
			"membership_values", f32(2, 5, float32(math.NaN())), "leaf_targetids", []int64{0, 1, 1}, "leaf_weights", f32(10, 20, 30)}, extra...)
	}
	nan := float32(math.NaN())
	x := shaped(f32(1, 9, 2, 5, 2, 3, nan, 2), 4, 2)
	equals(t, name, attrs(trees()...), list(x), shaped(f32(10, 0, 0, 20, 0, 30, 0, 20), 4, 2))
	equals(t, name, attrs(trees("nodes_missing_value_tracks_true", []int64{1, 0})...), list(shaped(f32(nan, 2), 1, 2)), shaped(f32(10, 0), 1, 2))
	two := trees("tree_roots", []int64{0, 1})
	equals(t, name, attrs(append(two, "aggregate_function", 0)...), list(shaped(f32(1, 5), 1, 2)), shaped(f32(5, 10), 1, 2))
	equals(t, name, attrs(append(two, "aggregate_function", 3)...), list(shaped(f32(2, 5), 1, 2)), shaped(f32(-math.MaxFloat32, 20), 1, 2))
	equals(t, name, attrs(trees()...), list(shaped(f32(), 0, 2)), shaped(f32(), 0, 2))
	refuse(t, name, attrs(trees("nodes_falsenodeids", []int64{0, 2})...), list(x), "leads back to node 0")
	refuse(t, name, attrs(trees("nodes_falsenodeids", []int64{2, 2})...), list(x), "leads to 2 of 2")
	refuse(t, name, attrs(trees("membership_values", f32(2, 5))...), list(x), "membership_values end")
	refuse(t, name, attrs(trees("leaf_targetids", []int64{0, 1, 2})...), list(x), "of target 2")
	refuse(t, name, attrs(trees("tree_roots", []int64{2})...), list(x), "tree_roots has 2")
	refuse(t, name, attrs(trees("nodes_modes", u8(0))...), list(x), "not all of one length")
	refuse(t, name, attrs(trees("nodes_modes", u8(0, 7))...), list(x), "mode 7")
	refuse(t, name, attrs(trees("post_transform", 1)...), list(x), "unsupported")
	refuse(t, name, attrs(trees()...), list(shaped(f32(1), 1, 1)), "at least 2 features")
	refuse(t, name, attrs(trees("n_targets", 0)...), list(x), "n_targets is 0")
}

// Trees by ids are the trees that TreeEnsemble has.
func TestTreeVotes(t *testing.T) {
	const reg, cls = "ai.onnx.ml.TreeEnsembleRegressor", "ai.onnx.ml.TreeEnsembleClassifier"
	// Tree 0: x0 <= 1 ? leaf 1 : (x1 > 2 ? leaf 3 : leaf 4); tree 5 is a leaf. Leaf 3 has two votes.
	nodes := func(extra ...any) []any {
		return append([]any{"nodes_treeids", []int64{0, 0, 0, 0, 0, 5}, "nodes_nodeids", []int64{0, 1, 2, 3, 4, 0}, "nodes_featureids", []int64{0, 0, 1, 0, 0, 0},
			"nodes_modes", []string{"BRANCH_LEQ", "LEAF", "BRANCH_GT", "LEAF", "LEAF", "LEAF"}, "nodes_values", []float64{1, 0, 2, 0, 0, 0},
			"nodes_truenodeids", []int64{1, 0, 3, 0, 0, 0}, "nodes_falsenodeids", []int64{2, 0, 4, 0, 0, 0}}, extra...)
	}
	leaves := func(prefix string, extra ...any) []any {
		return append(nodes(prefix+"_treeids", []int64{0, 0, 0, 0, 5}, prefix+"_nodeids", []int64{1, 3, 3, 4, 0}, prefix+"_ids", []int64{0, 0, 1, 1, 0},
			prefix+"_weights", []float64{10, 20, 30, 40, 1}), extra...)
	}
	x := shaped(f32(0, 0, 2, 3, 2, 2), 3, 2)
	target := leaves("target", "n_targets", 2)
	equals(t, reg, attrs(target...), list(x), shaped(f32(11, 0, 21, 30, 1, 40), 3, 2))
	equals(t, reg, attrs(target...), list(as(tensor.I64, x, 3, 2)), shaped(f32(11, 0, 21, 30, 1, 40), 3, 2))
	equals(t, reg, attrs(append(target, "aggregate_function", "AVERAGE", "base_values", []float64{100, 0})...), list(x), shaped(f32(105.5, 0, 110.5, 15, 100.5, 20), 3, 2))
	equals(t, reg, attrs(append(target, "aggregate_function", "MAX")...), list(along(t, x, 0, 1, 2)), shaped(f32(20, 30), 1, 2))
	equals(t, reg, attrs(append(target, "aggregate_function", "MIN")...), list(along(t, x, 0, 1, 2)), shaped(f32(1, 30), 1, 2))
	equals(t, reg, attrs(leaves("target", "n_targets", 2, "target_weights", []float64(nil), "target_weights_as_tensor", as(tensor.F64, f32(10, 20, 30, 40, 1), 5))...),
		list(as(tensor.F64, x, 3, 2)), shaped(f32(11, 0, 21, 30, 1, 40), 3, 2))
	refuse(t, reg, attrs(append(target, "nodes_truenodeids", []int64{9, 0, 3, 0, 0, 0})...), list(x), "which is not there")
	refuse(t, reg, attrs(append(target, "nodes_falsenodeids", []int64{0, 0, 4, 0, 0, 0})...), list(x), "root")
	refuse(t, reg, attrs(append(target, "nodes_falsenodeids", []int64{2, 0, 2, 0, 0, 0})...), list(x), "two roots")
	refuse(t, reg, attrs(append(target, "target_nodeids", []int64{2, 3, 3, 4, 0})...), list(x), "which is no leaf")
	refuse(t, reg, attrs(append(target, "target_ids", []int64{0, 0, 2, 1, 0})...), list(x), "a vote is for 2")
	refuse(t, reg, attrs(append(target, "base_values", []float64{1})...), list(x), "1 base_values")
	refuse(t, reg, attrs(append(target, "aggregate_function", "MEAN")...), list(x), "none of SUM")

	gives(t, cls, attrs(leaves("class", "classlabels_strings", []string{"a", "b"})...), list(x), words("a", "b", "b"), shaped(f32(11, 0, 21, 30, 1, 40), 3, 2))
	// Votes for the second class alone: the first one has what is left.
	one := leaves("class", "classlabels_int64s", []int64{7, 8}, "class_ids", []int64{1, 1, 1, 1, 1}, "class_weights", []float64{0.25, 0.5, 0.25, 0, 0})
	gives(t, cls, attrs(one...), list(x), ints(7, 8, 7), shaped(f32(0.75, 0.25, 0.25, 0.75, 1, 0), 3, 2))
	refuse(t, cls, attrs(append(one, "post_transform", "SOFTMAX")...), list(x), "unsupported")
	refuse(t, cls, attrs(leaves("class")...), list(x), "one list of labels")
}

func TestSVMRegressor(t *testing.T) {
	const name = "ai.onnx.ml.SVMRegressor"
	x := shaped(f32(1, 2, 0, 1), 2, 2)
	equals(t, name, attrs("coefficients", []float64{1, 2}, "rho", []float64{0.5}), list(x), shaped(f32(5.5, 2.5), 2, 1))
	sv := []any{"coefficients", []float64{1, -1}, "rho", []float64{0}, "n_supports", 2, "support_vectors", []float64{1, 0, 0, 1}, "kernel_params", []float64{0.5, 1, 2}}
	equals(t, name, attrs(sv...), list(x), shaped(f32(-1, -1), 2, 1))
	equals(t, name, attrs(append(sv, "kernel_type", "POLY")...), list(x), shaped(f32(2.25-4, 1-2.25), 2, 1))
	check(t, name, attrs(append(sv, "kernel_type", "RBF")...), list(x), shaped(f32(float32(math.Exp(-2)-math.Exp(-1)), float32(math.Exp(-1)-1)), 2, 1))
	check(t, name, attrs(append(sv, "kernel_type", "SIGMOID")...), list(x), shaped(f32(float32(math.Tanh(1.5)-math.Tanh(2)), float32(math.Tanh(1)-math.Tanh(1.5))), 2, 1))
	equals(t, name, attrs(append(sv, "one_class", 1)...), list(x), shaped(f32(-1, -1), 2, 1))
	refuse(t, name, attrs(append(sv, "kernel_type", "rbf")...), list(x), "none of LINEAR")
	refuse(t, name, attrs(append(sv, "n_supports", 3)...), list(x), "3 support vectors in 4 numbers")
	refuse(t, name, attrs("coefficients", []float64{1, 2}), list(x), "rho has 0 entries")
}

func TestMaxRoiPool(t *testing.T) {
	x := shaped(f32(1, 2, 3, 4, 5, 6, 7, 8, 9), 1, 1, 3, 3)
	roi := func(v ...float32) *tensor.Tensor { return shaped(f32(v...), 1, 5) }
	whole := attrs("pooled_shape", []int64{1, 1})
	equals(t, "MaxRoiPool", whole, list(x, roi(0, 0, 0, 1, 1)), shaped(f32(5), 1, 1, 1, 1))
	equals(t, "MaxRoiPool", whole, list(x, roi(0, 0.5, 0, 0.5, 0)), shaped(f32(2), 1, 1, 1, 1)) // halves away from 0
	equals(t, "MaxRoiPool", whole, list(x, roi(0, 5, 5, 6, 6)), shaped(f32(0), 1, 1, 1, 1))     // outside
	equals(t, "MaxRoiPool", attrs("pooled_shape", []int64{2, 2}), list(x, roi(0, 0, 0, 2, 2)), shaped(f32(5, 6, 8, 9), 1, 1, 2, 2))
	equals(t, "MaxRoiPool", attrs("pooled_shape", []int64{1, 1}, "spatial_scale", 0.5), list(x, roi(0, 0, 0, 4, 2)), shaped(f32(6), 1, 1, 1, 1))
	refuse(t, "MaxRoiPool", attrs("pooled_shape", []int64{2}), list(x, roi(0, 0, 0, 1, 1)), "pooled_shape [2]")
	refuse(t, "MaxRoiPool", whole, list(x, f32(1)), "it takes [n, c, h, w]")
	refuse(t, "MaxRoiPool", whole, list(x, roi(1, 0, 0, 1, 1)), "")
}
