package op_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

const ms = "com.microsoft."

// application is an operator applied to operands.
type application struct {
	name  string
	attrs ir.Attrs
	args  []tensor.Value
}

// alike checks that result i of both is the same.
func alike(t *testing.T, i int, a, b application) {
	t.Helper()
	got, want := each(t, a.name, a.attrs, i+1, a.args...)[i], each(t, b.name, b.attrs, i+1, b.args...)[i]
	if err := tensor.Compare(got, want, tensor.DefaultTolerance(tensor.F32)); err != nil {
		t.Errorf("result %d of %s and %s: %v", i, a.name, b.name, err)
	}
}

func TestContribActivations(t *testing.T) {
	x, bias := shaped(f32(-1, 0.5, 2, 3), 2, 2), f32(0.5, -1)
	sum := shaped(f32(-0.5, -0.5, 2.5, 2), 2, 2)
	tanh := attrs("approximate", "tanh")
	alike(t, 0, application{ms + "FastGelu", nil, list(x)}, application{"Gelu", tanh, list(x)})
	alike(t, 0, application{ms + "FastGelu", nil, list(x, bias)}, application{"Gelu", tanh, list(sum)})
	alike(t, 0, application{ms + "BiasGelu", nil, list(x, bias)}, application{"Gelu", nil, list(sum)})
	alike(t, 0, application{ms + "Gelu", nil, list(x)}, application{"Gelu", nil, list(x)})
	alike(t, 0, application{ms + "QuickGelu", nil, list(x)}, application{"Swish", attrs("alpha", 1.702), list(x)})
}

func TestContribNorms(t *testing.T) {
	x, skip, bias := shaped(f32(-1, 0.5, 2, 4), 2, 2), shaped(f32(1, 1, 0, 2), 2, 2), f32(0, 1)
	scale, shift := f32(1, 2), f32(3, 0)
	sum := shaped(f32(0, 2.5, 2, 7), 2, 2)
	eps := attrs("epsilon", 0.5)
	for i := range 3 {
		alike(t, i, application{ms + "SkipLayerNormalization", eps, list(x, skip, scale, shift, bias)}, application{"LayerNormalization", eps, list(sum, scale, shift)})
	}
	if got := each(t, ms+"SkipLayerNormalization", eps, 4, x, skip, scale, shift, bias)[3]; !tensor.Equal(got, sum) {
		t.Errorf("the sum is %v, want %v", got, sum)
	}
	alike(t, 0, application{ms + "SkipSimplifiedLayerNormalization", eps, list(x, skip, scale, bias)}, application{"RMSNormalization", eps, list(sum, scale)})
	alike(t, 0, application{"SimplifiedLayerNormalization", eps, list(sum, scale)}, application{"RMSNormalization", eps, list(sum, scale)})
	check(t, "SimplifiedLayerNormalization", attrs("epsilon", 0.0), list(shaped(f32(1, 7), 1, 2), f32(1, 1)), shaped(f32(0.2, 1.4), 1, 2), shaped(f32(0.2), 1, 1))
}

func TestEmbedLayerNormalization(t *testing.T) {
	i32 := func(x *tensor.Tensor) *tensor.Tensor { return as(tensor.I32, x, x.Shape()...) }
	words, positions, segments := shaped(f32(0, 0, 1, 2), 2, 2), shaped(f32(10, 0, 20, 0, 30, 0), 3, 2), shaped(f32(0, 5, 0, 7), 2, 2)
	ids, seg, mask := i32(shaped(ints(1, 0), 1, 2)), i32(shaped(ints(0, 1), 1, 2)), i32(shaped(ints(1, 0), 1, 2))
	sums := func(args ...tensor.Value) []tensor.Value {
		return each(t, ms+"EmbedLayerNormalization", nil, 3, args...)
	}
	got := sums(ids, seg, words, positions, segments, f32(1, 1), f32(0, 0), mask)
	if want := shaped(f32(11, 7, 20, 7), 1, 2, 2); !tensor.Equal(got[2], want) || !tensor.Equal(got[1], i32(ints(1))) {
		t.Errorf("sum %v and number of words %v", got[2], got[1])
	}
	alike(t, 0, application{ms + "EmbedLayerNormalization", nil, list(ids, seg, words, positions, segments, f32(1, 1), f32(0, 0), mask)},
		application{"LayerNormalization", attrs("epsilon", 1e-12), list(shaped(f32(11, 7, 20, 7), 1, 2, 2), f32(1, 1), f32(0, 0))})
	got = sums(ids, nil, words, positions, nil, f32(1, 1), f32(0, 0), nil, i32(shaped(ints(2, 0), 1, 2)))
	if want := shaped(f32(31, 2, 10, 0), 1, 2, 2); !tensor.Equal(got[2], want) || !tensor.Equal(got[1], i32(ints(0))) {
		t.Errorf("sum %v and number of words %v", got[2], got[1])
	}
	refuse(t, ms+"EmbedLayerNormalization", nil, list(ids, seg, words, positions, nil, f32(1, 1), f32(0, 0)), "come together")
}

func TestContribProducts(t *testing.T) {
	a, b := shaped(f32(1, 2, 3, 4, 5, 6), 2, 3), shaped(f32(1, 0, 0, 1), 2, 2)
	equals(t, ms+"FusedMatMul", attrs("transA", 1, "alpha", 2.0), list(a, b), shaped(f32(2, 8, 4, 10, 6, 12), 3, 2))
	equals(t, ms+"TransposeMatMul", attrs("transB", 1), list(a, shaped(f32(1, 0, 0), 1, 3)), shaped(f32(1, 4), 2, 1))
	// The first dim of A is the matrices' rows.
	equals(t, ms+"FusedMatMul", attrs("transBatchA", 1), list(shaped(f32(1, 2, 3, 4), 2, 2, 1), shaped(f32(1, 10), 2, 1, 1)), shaped(f32(1, 3, 20, 40), 2, 2, 1))
	equals(t, ms+"FusedGemm", attrs("activation", "LeakyRelu", "activation_alpha", 0.5), list(shaped(f32(-2, 1), 1, 2), b, f32(0, 1)), shaped(f32(-1, 2), 1, 2))
	x, w := shaped(f32(1, -2, 3), 1, 1, 3), shaped(f32(1), 1, 1, 1)
	equals(t, ms+"FusedConv", attrs("activation", "Relu"), list(x, w, f32(1), shaped(f32(0, 0, 10), 1, 1, 3)), shaped(f32(2, 0, 14), 1, 1, 3))
	equals(t, ms+"FusedConv", attrs("activation", "Clip", "activation_params", []float64{-1, 2}), list(x, w), shaped(f32(1, -1, 2), 1, 1, 3))
	refuse(t, ms+"FusedConv", attrs("activation", "Clip"), list(x, w), "Clip takes 2")
	refuse(t, ms+"FusedConv", attrs("activation", "Erf"), list(x, w), `activation "Erf"`)
}

func TestContribQuantize(t *testing.T) {
	i16 := tensor.Of([]int16{3})
	equals(t, ms+"QuantizeLinear", nil, list(f32(1, 1e9), f32(0.5), i16), tensor.Of([]int16{5, 32767}))
	equals(t, ms+"DequantizeLinear", nil, list(tensor.Of([]int16{5, -3}), f32(0.5), i16), f32(1, -3))
}

func TestContribRotary(t *testing.T) {
	cos, sin := shaped(f32(1, 0), 2, 1), shaped(f32(0, 1), 2, 1) // positions: no turn, a quarter turn
	x := shaped(f32(1, 2, 3, 4), 1, 1, 4)                        // two heads of one pair
	const name = ms + "RotaryEmbedding"
	equals(t, name, nil, list(x, shaped(ints(1), 1, 1), cos, sin), shaped(f32(-2, 1, -4, 3), 1, 1, 4))
	equals(t, name, attrs("num_heads", 2), list(x, shaped(ints(1), 1, 1), cos, sin), shaped(f32(-2, 1, -4, 3), 1, 1, 4))
	// The first word's position, of two words.
	equals(t, name, nil, list(shaped(f32(1, 2, 3, 4), 1, 2, 2), ints(0), cos, sin), shaped(f32(1, 2, -4, 3), 1, 2, 2))
	refuse(t, name, attrs("is_packed_batching", 1), list(x, ints(0), cos, sin), "is_packed_batching")
	refuse(t, name, nil, list(f32(1), ints(0), cos, sin), "operands")
}

func TestContribAttention(t *testing.T) {
	// One head of one feature: weights of keys are the softmax of query times key.
	q, k, v := shaped(f32(0, 1), 1, 2, 1), shaped(f32(0, 0, 1000), 1, 3, 1), shaped(f32(3, 5, 70), 1, 3, 1)
	head := attrs("num_heads", 1)
	const name = ms + "MultiHeadAttention"
	third := float32(78.0 / 3)
	check(t, name, head, list(q, k, v), shaped(f32(third, 70), 1, 2, 1))
	i32 := func(shape []int64, x ...int64) *tensor.Tensor { return as(tensor.I32, ints(x...), shape...) }
	low := attrs("num_heads", 1, "mask_filter_value", -1e9)
	for _, mask := range []*tensor.Tensor{i32([]int64{1}, 2), i32([]int64{1, 3}, 1, 1, 0), i32([]int64{1, 2, 3}, 1, 1, 0, 1, 1, 0)} {
		check(t, name, low, list(q, k, v, nil, mask), shaped(f32(4, 4), 1, 2, 1))
	}
	check(t, name, low, list(q, k, v, nil, nil, shaped(f32(0, -1e9, -1e9), 1, 1, 1, 3)), shaped(f32(3, 3), 1, 2, 1))
	check(t, name, low, list(q, k, v, nil, i32([]int64{1}, 2), shaped(f32(0, -1e9, 0), 1, 1, 1, 3)), shaped(f32(3, 3), 1, 2, 1))
	check(t, name, head.With("unidirectional", int64(1)), list(q, k, v), shaped(f32(3, 4), 1, 2, 1)) // k is longer: its first words count
	check(t, name, head, list(q, k, v, f32(0, -1000, 1)), shaped(f32(third+1, 71), 1, 2, 1))
	// Keys and values of the past, then with heads of their own, then packed.
	past := list(q, shaped(f32(1000), 1, 1, 1), shaped(f32(70), 1, 1, 1), nil, nil, nil, shaped(f32(0, 0), 1, 1, 2, 1), shaped(f32(3, 5), 1, 1, 2, 1))
	check(t, name, head, past, shaped(f32(third, 70), 1, 2, 1), shaped(k, 1, 1, 3, 1), shaped(v, 1, 1, 3, 1))
	check(t, name, head, list(q, shaped(k, 1, 1, 3, 1), shaped(v, 1, 1, 3, 1)), shaped(f32(third, 70), 1, 2, 1))
	check(t, name, head, list(q, shaped(f32(0, 3, 0, 5, 1000, 70), 1, 3, 1, 2, 1)), shaped(f32(third, 70), 1, 2, 1))
	check(t, name, head, list(shaped(f32(0, 0, 3, 1, 1000, 5), 1, 2, 1, 3, 1)), shaped(f32(4, 5), 1, 2, 1))
	refuse(t, name, head, list(q, k), "1 more operands")
	refuse(t, name, head, list(q, k, v, nil, i32([]int64{5}, 0, 0, 0, 0, 0)), "more than the number of words")
	refuse(t, name, head, append(past[:8:8], i32([]int64{1}, 2)), "longer than what it holds")

	// x times (1, 0, 2) are query, key and value.
	x, w := shaped(f32(1, 2, 3), 1, 3, 1), shaped(f32(1, 0, 2), 1, 3)
	check(t, ms+"Attention", head, list(x, w), shaped(f32(4, 4, 4), 1, 3, 1))
	check(t, ms+"Attention", head.With("unidirectional", int64(1)), list(x, w, f32(0, 0, 1)), shaped(f32(3, 4, 5), 1, 3, 1))
	cache := shaped(f32(0, 12), 2, 1, 1, 1, 1)
	check(t, ms+"Attention", head, list(x, w, nil, nil, cache), shaped(f32(6, 6, 6), 1, 3, 1), shaped(f32(0, 0, 0, 0, 12, 2, 4, 6), 2, 1, 1, 4, 1))
	check(t, ms+"Attention", low.With("qkv_hidden_sizes", []int64{1, 1, 1}), list(x, w, nil, i32([]int64{1, 3}, 0, 0, 1)), shaped(f32(6, 6, 6), 1, 3, 1))
	bytes := tensor.Of([]uint8{1, 2, 3})
	weights := tensor.Of([]int8{2, 0, 4})
	check(t, ms+"QAttention", head, list(shaped(bytes, 1, 3, 1), shaped(weights, 1, 3), f32(0, 0, 1), tensor.Scalar[float32](1), tensor.Scalar[float32](0.5)), shaped(f32(5, 5, 5), 1, 3, 1))
	check(t, ms+"QAttention", low, list(shaped(bytes, 1, 3, 1), shaped(weights, 1, 3), f32(0, 0, 0), tensor.Scalar[float32](1), tensor.Scalar[float32](0.5), i32([]int64{1, 3}, 0, 0, 1),
		tensor.Scalar[uint8](1)), shaped(f32(4, 4, 4), 1, 3, 1))
	refuse(t, ms+"Attention", head.With("do_rotary", int64(1)), list(x, w), "do_rotary")
}

func TestGroupQueryAttention(t *testing.T) {
	const name = ms + "GroupQueryAttention"
	i32 := func(x ...int64) *tensor.Tensor { return as(tensor.I32, ints(x...), int64(len(x))) }
	total := func(n int64) *tensor.Tensor { return shaped(i32(n)) }
	heads := attrs("num_heads", 2, "kv_num_heads", 1)
	zero := shaped(f32(0, 0, 0, 0), 1, 2, 2) // two words, two heads of one feature: all keys alike
	k, v := shaped(f32(1, 1), 1, 2, 1), shaped(f32(4, 8), 1, 2, 1)
	check(t, name, heads, list(zero, k, v, nil, nil, i32(1), total(2)), shaped(f32(4, 4, 6, 6), 1, 2, 2), shaped(k, 1, 1, 2, 1), shaped(v, 1, 1, 2, 1))
	check(t, name, heads, list(shaped(f32(0, 0, 1, 4, 0, 0, 1, 8), 1, 2, 4), nil, nil, nil, nil, i32(1), total(2)), shaped(f32(4, 4, 6, 6), 1, 2, 2))
	zero0, k0, v0 := zero, k, v
	// Two examples with caches that hold two words and one; there is room for three.
	zero, k, v = shaped(f32(0, 0, 0, 0), 2, 1, 2), shaped(f32(1, 1), 2, 1, 1), shaped(f32(9, 4), 2, 1, 1)
	cache := shaped(f32(3, 6, 2, 7), 2, 1, 2, 1)
	more := list(zero, k, v, cache, cache, i32(2, 1), total(3))
	check(t, name, heads, more, shaped(f32(6, 6, 3, 3), 2, 1, 2), shaped(f32(3, 6, 1, 2, 1, 0), 2, 1, 3, 1), shaped(f32(3, 6, 9, 2, 4, 0), 2, 1, 3, 1))
	check(t, name, heads.With("local_window_size", int64(2)), more, shaped(f32(7.5, 7.5, 3, 3), 2, 1, 2))
	bias := append(more[:7:7], nil, nil, nil, shaped(f32(-1e9, 0, 0), 1, 1, 1, 3))
	check(t, name, heads, bias, shaped(f32(7.5, 7.5, 4, 4), 2, 1, 2))
	check(t, name, heads.With("causal", int64(0)), list(zero0, k0, v0, nil, nil, i32(1), total(2)), shaped(f32(6, 6, 6, 6), 1, 2, 2))
	refuse(t, name, heads.With("smooth_softmax", int64(1)), more, "smooth_softmax")
	refuse(t, name, heads.With("do_rotary", int64(1)), more, "takes cos_cache and sin_cache")
	refuse(t, name, heads, list(zero, k, nil, nil, nil, i32(0, 0), total(1)), "6 more operands")
	// Heads of keys are normalised: the root of the mean square of 5 and 7.
	rms, ones := float32(1/6.0827625), f32(1, 1)
	two := attrs("num_heads", 1, "kv_num_heads", 1)
	one := shaped(f32(5, 7), 1, 1, 2)
	normed := each(t, name, two, 2, one, one, one, nil, nil, i32(0), total(1), nil, nil, nil, nil, nil, nil, nil, ones, ones)
	if err := tensor.Compare(normed[1], shaped(f32(5*rms, 7*rms), 1, 1, 1, 2), tensor.DefaultTolerance(tensor.F32)); err != nil {
		t.Errorf("keys: %v", err)
	}
	// Queries and keys are turned by their position: a quarter turn at the second one.
	turned := attrs("num_heads", 1, "kv_num_heads", 1, "do_rotary", 1)
	x := shaped(f32(5, 7), 1, 1, 2)
	got := each(t, name, turned, 2, x, x, x, shaped(f32(0, 0), 1, 1, 1, 2), shaped(f32(0, 0), 1, 1, 1, 2), i32(1), total(2), shaped(f32(1, 0), 2, 1), shaped(f32(0, 1), 2, 1))
	if want := shaped(f32(0, 0, -7, 5), 1, 1, 2, 2); !tensor.Equal(got[1], want) {
		t.Errorf("keys are %v, want %v", got[1], want)
	}
}

func TestMoE(t *testing.T) {
	const name = ms + "MoE"
	// Two experts of one feature: x times 2, and x times -3, each times 1; plus biases.
	x, router := shaped(f32(1, 2, 3), 3, 1), shaped(f32(9, 0, 0, 9, 0, 0), 3, 2)
	w1, w2 := shaped(f32(2, -3), 2, 1, 1), shaped(f32(1, 1), 2, 1, 1)
	b1, b2 := shaped(f32(0, 0.5), 2, 1), shaped(f32(0, 100), 2, 1)
	p := float32(0.9998766) // softmax of 9 against 0
	check(t, name, attrs("activation_type", "identity"), list(x, router, w1, b1, w2, b2), shaped(f32(2*p, 94.5*p, 3), 3, 1))
	check(t, name, nil, list(x, router, w1, nil, w2), shaped(f32(2*p, 0, 3), 3, 1))
	both := attrs("activation_type", "identity", "k", 2)
	check(t, name, both, list(x, router, w1, b1, w2, b2), shaped(f32(2*p+97.5*(1-p), 94.5*p+4*(1-p), 3+45.75), 3, 1))
	half := shaped(f32(0, 0), 1, 2)
	check(t, name, attrs("activation_type", "identity", "normalize_routing_weights", 1), list(shaped(x, 1, 3, 1), router, w1, b1, w2, b2), shaped(f32(2, 94.5, 6), 1, 3, 1))
	check(t, name, both, list(shaped(f32(2), 1, 1), half, w1, nil, w2, nil, w1), shaped(f32((4*4+6*6)/2), 1, 1)) // gated by itself
	// Gate and linear part side by side, and behind each other.
	wide, one := shaped(f32(1, 3), 1, 2, 1), shaped(f32(1), 1, 1, 1)
	silu := float32(0.7310586)
	swiglu := attrs("activation_type", "swiglu", "swiglu_fusion", 1, "activation_beta", 1.0)
	check(t, name, swiglu, list(shaped(f32(1), 1, 1), shaped(f32(1), 1, 1), wide, nil, one), shaped(f32(4*silu), 1, 1))
	check(t, name, swiglu.With("swiglu_fusion", int64(2)).With("swiglu_limit", 2.0), list(shaped(f32(1), 1, 1), shaped(f32(1), 1, 1), wide, nil, one), shaped(f32(3*silu), 1, 1))
	refuse(t, name, attrs("activation_type", "tanh"), list(x, router, w1, nil, w2), `activation_type "tanh"`)
	refuse(t, name, attrs("k", 3), list(x, router, w1, nil, w2), "k is 3")
	refuse(t, name, attrs("activation_type", "swiglu"), list(x, router, w1, nil, w2), "swiglu_fusion 0")
}

func TestQMoE(t *testing.T) {
	const name = ms + "QMoE"
	bytesOf := func(v ...uint8) *tensor.Tensor { return tensor.Of(v, int64(len(v))) }
	// Two experts of two features: weights of 4 bits around 8, so that the first one doubles
	// both, and the second one exchanges them.
	x, router := shaped(f32(1, 2, 3, 4), 2, 2), shaped(f32(9, 0, 0, 9), 2, 2)
	w1, s1 := shaped(bytesOf(0x8a, 0xa8, 0x98, 0x89), 2, 2, 1), shaped(f32(1, 1, 1, 1), 2, 2)
	w2, s2 := shaped(bytesOf(0x89, 0x98, 0x89, 0x98), 2, 2, 1), shaped(f32(1, 0.5, 1, 1), 2, 2)
	check(t, name, nil, list(x, router, w1, s1, nil, w2, s2), shaped(f32(2, 2, 4, 3), 2, 2))
	bias := shaped(f32(0, 1, 0, 0), 2, 2)
	check(t, name, nil, list(x, router, w1, s1, bias, w2, s2), shaped(f32(2, 2.5, 4, 3), 2, 2))
	// The same in blocks of one input, with zero points beside the middle: a byte for a row.
	blocks := shaped(f32(1, 1, 1, 1, 1, 1, 1, 1), 2, 2, 2)
	zeros := shaped(bytesOf(0x98, 0x88, 0x88, 0x88), 2, 2, 1)
	check(t, name, attrs("block_size", 1), list(x, router, w1, blocks, nil, w2, s2, nil, nil, nil, nil, zeros), shaped(f32(0, 2, 4, 3), 2, 2))
	eight := shaped(bytesOf(130, 128, 128, 130, 128, 129, 129, 128), 2, 2, 2)
	check(t, name, attrs("expert_weight_bits", 8), list(x, router, eight, s1, nil, eight, s2), shaped(f32(4, 4, 3, 4), 2, 2))
	refuse(t, name, attrs("expert_weight_bits", 3), list(x, router, w1, s1, nil, w2, s2), "expert_weight_bits 3")
	refuse(t, name, nil, list(x, router, w1, blocks, nil, w2, s2), "no block_size")
	refuse(t, name, nil, list(x, router, w1, nil, nil, w2, s2), "scales")
}
