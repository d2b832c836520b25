package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// run1 is result 0 of an operator.
func run1(t *testing.T, name string, as []any, args ...tensor.Value) *tensor.Tensor {
	t.Helper()
	return each(t, name, attrs(as...), 1, args...)[0].(*tensor.Tensor)
}

func along(t *testing.T, x tensor.Value, axis, from, to int64) *tensor.Tensor {
	t.Helper()
	return run1(t, "Slice", nil, x, ints(from), ints(to), ints(axis))
}

func TestAttention(t *testing.T) {
	q, k, v := signal(tensor.F64, 2, 4, 3, 2), signal(tensor.F64, 2, 2, 5, 2), signal(tensor.F64, 2, 2, 5, 3)
	y := run1(t, "Attention", nil, q, k, v)
	repeat := func(x *tensor.Tensor) *tensor.Tensor { return run1(t, "Gather", []any{"axis", 1}, x, ints(0, 0, 1, 1)) }
	// Written out: heads share keys in order.
	score := run1(t, "MatMul", nil, q, run1(t, "Transpose", []any{"perm", []int64{0, 1, 3, 2}}, repeat(k)))
	scaled := run1(t, "Mul", nil, score, as(tensor.F64, f32(1), 1, 1, 1, 1))
	for i := range scaled.Len() {
		scaled.SetFloat(i, score.Float(i)/math.Sqrt2)
	}
	weight := run1(t, "Softmax", nil, scaled)
	check(t, "MatMul", nil, list(weight, repeat(v)), y)
	for mode, want := range []tensor.Value{scaled, nil, nil, weight} {
		if want != nil {
			got := each(t, "Attention", attrs("qk_matmul_output_mode", mode), 4, q, k, v)
			if err := tensor.Compare(got[3], want, tensor.DefaultTolerance(tensor.F64)); err != nil {
				t.Errorf("mode %d: %v", mode, err)
			}
		}
	}
	// Heads side by side.
	flat := func(x *tensor.Tensor) *tensor.Tensor {
		s := x.Shape()
		return shaped(run1(t, "Transpose", []any{"perm", []int64{0, 2, 1, 3}}, x), s[0], s[2], s[1]*s[3])
	}
	check(t, "Attention", attrs("q_num_heads", 4, "kv_num_heads", 2), list(flat(q), flat(k), flat(v)), flat(y))
	// A cache and what is new are all tokens.
	all := each(t, "Attention", nil, 3, q, along(t, k, 2, 3, 5), along(t, v, 2, 3, 5), nil, along(t, k, 2, 0, 3), along(t, v, 2, 0, 3))
	for i, want := range []tensor.Value{y, k, v} {
		if err := tensor.Compare(all[i], want, tensor.DefaultTolerance(tensor.F64)); err != nil {
			t.Errorf("with a cache, result %d: %v", i, err)
		}
	}
	// The first 2 keys alone: by a short mask of either kind, by their number.
	two := run1(t, "Attention", nil, q, along(t, k, 2, 0, 2), along(t, v, 2, 0, 2))
	check(t, "Attention", nil, list(q, k, v, as(tensor.F64, f32(0, 0), 1, 2)), two)
	check(t, "Attention", nil, list(q, k, v, tensor.Of([]bool{true, true, false, false, false}, 5)), two)
	check(t, "Attention", nil, list(q, k, v, nil, nil, nil, ints(2, 2)), two)
	// Causal: the first query sees the first key alone, and those of the cache.
	first := run1(t, "Attention", nil, along(t, q, 2, 0, 1), along(t, k, 2, 0, 1), along(t, v, 2, 0, 1))
	got := run1(t, "Attention", []any{"is_causal", 1}, q, k, v)
	check(t, "Slice", nil, list(got, ints(0), ints(1), ints(2)), first)
	check(t, "Attention", attrs("is_causal", 1), list(along(t, q, 2, 0, 1), along(t, k, 2, 3, 5), along(t, v, 2, 3, 5), nil, along(t, k, 2, 0, 3), along(t, v, 2, 0, 3)),
		run1(t, "Attention", nil, along(t, q, 2, 0, 1), along(t, k, 2, 0, 4), along(t, v, 2, 0, 4)))
	// A cap is applied before the mask; what is masked stays so.
	mask := as(tensor.F64, f32(0, 0, float32(math.Inf(-1)), float32(math.Inf(-1)), float32(math.Inf(-1))), 1, 5)
	check(t, "Attention", attrs("softcap", 0.5), list(q, k, v, mask), run1(t, "Attention", []any{"softcap", 0.5}, q, along(t, k, 2, 0, 2), along(t, v, 2, 0, 2)))
	none := run1(t, "Attention", nil, q, k, v, tensor.New(tensor.Bool, 1, 5))
	if !math.IsNaN(none.Float(0)) {
		t.Errorf("where nothing is attended to: %g", none.Float(0))
	}
	equals(t, "Attention", nil, list(tensor.New(tensor.F32, 1, 1, 0, 2), tensor.New(tensor.F32, 1, 1, 0, 2), tensor.New(tensor.F32, 1, 1, 0, 2)), tensor.New(tensor.F32, 1, 1, 0, 2))

	refuse(t, "Attention", nil, list(q, k, v, as(tensor.F64, f32(0), 1, 1)), "it could be broadcast or filled up")
	refuse(t, "Attention", nil, list(q, k, v, tensor.New(tensor.F64, 1, 6)), "a mask of shape [1, 6]")
	refuse(t, "Attention", nil, list(q, k, v, tensor.New(tensor.F64, 2, 5)), "a mask of shape [2, 5]")
	refuse(t, "Attention", nil, list(q, k, v, tensor.New(tensor.I64, 1, 5)), "element type i64, it takes")
	refuse(t, "Attention", nil, list(flat(q), flat(k), flat(v)), "take the number of heads")
	refuse(t, "Attention", nil, list(q, k, v, nil, k), "come together")
	refuse(t, "Attention", nil, list(q, k, v, nil, k, v, ints(1, 1)), "beside a cache")
	refuse(t, "Attention", nil, list(along(t, q, 1, 0, 3), k, v), "do not share")
	refuse(t, "Attention", nil, list(q, k, along(t, v, 2, 0, 1)), "do not fit")
	refuse(t, "Attention", attrs("qk_matmul_output_mode", 4), list(q, k, v), "it is 0 to 3")
	refuse(t, "Attention", attrs("scale", -1.0), list(q, k, v), "neither is negative")
	refuse(t, "Attention", attrs("softmax_precision", tensor.I64), list(q, k, v), "no element type that it takes")
}

func TestCausalConvWithState(t *testing.T) {
	x, w := signal(tensor.F32, 2, 3, 5), signal(tensor.F32, 3, 1, 3)
	whole := each(t, "CausalConvWithState", nil, 2, x, w, f32(1, 2, 3))
	// In two parts, the state carried over; the first part is shorter than the state.
	for _, cut := range []int64{1, 4} {
		head := each(t, "CausalConvWithState", nil, 2, along(t, x, 2, 0, cut), w, f32(1, 2, 3))
		tail := each(t, "CausalConvWithState", nil, 2, along(t, x, 2, cut, 5), w, f32(1, 2, 3), head[1])
		check(t, "Concat", attrs("axis", 2), list(head[0], tail[0]), whole[0])
		if !tensor.Equal(tail[1], whole[1]) {
			t.Errorf("state %v, want %v", tail[1], whole[1])
		}
	}
	one := shaped(f32(2), 1, 1, 1)
	gives(t, "CausalConvWithState", nil, list(shaped(f32(1, 2), 1, 1, 2), one), shaped(f32(2, 4), 1, 1, 2), shaped(f32(), 1, 1, 0))
	gives(t, "CausalConvWithState", nil, list(shaped(f32(), 1, 1, 0), shaped(f32(1, 2), 1, 1, 2), nil, shaped(f32(7), 1, 1, 1)), shaped(f32(), 1, 1, 0), shaped(f32(7), 1, 1, 1))
	check(t, "CausalConvWithState", attrs("activation", "swish"), list(shaped(f32(0.5), 1, 1, 1), one), shaped(f32(0.7310586), 1, 1, 1))
	refuse(t, "CausalConvWithState", attrs("activation", "relu"), list(x, w), "none of none, silu, swish")
	refuse(t, "CausalConvWithState", nil, list(x, w, f32(1)), "one element for each")
	refuse(t, "CausalConvWithState", nil, list(x, w, nil, tensor.New(tensor.F32, 2, 3, 3)), "a state of shape")
	refuse(t, "CausalConvWithState", nil, list(x, tensor.New(tensor.F32, 3, 1, 0)), "it takes [batch, channels, length]")
}

func TestLinearAttention(t *testing.T) {
	// One head of one feature: S is a number.
	seq := func(v ...float32) *tensor.Tensor { return shaped(f32(v...), 1, int64(len(v)), 1) }
	state := func(v float32) *tensor.Tensor { return shaped(f32(v), 1, 1, 1, 1) }
	heads := []any{"q_num_heads", 1, "kv_num_heads", 1, "scale", 2.0}
	with := func(rule string) []any { return append(heads[:len(heads):len(heads)], "update_rule", rule) }
	q, k, v := seq(1, 1), seq(1, 2), seq(3, 4)
	results := func(rule string, y, s tensor.Value, args ...tensor.Value) {
		t.Helper()
		got := each(t, "LinearAttention", attrs(with(rule)...), 2, args...)
		for i, w := range []tensor.Value{y, s} {
			if err := tensor.Compare(got[i], w, tensor.DefaultTolerance(tensor.F32)); err != nil {
				t.Errorf("%s, result %d: %v", rule, i, err)
			}
		}
	}
	ln2 := float32(math.Ln2)
	results("linear", seq(6, 22), state(11), q, k, v)                                           // 3, 3+8
	results("linear", seq(8, 24), state(12), q, k, v, state(1))                                 // 4, 4+8
	results("gated", seq(6, 28), state(14), q, k, v, nil, seq(0, ln2))                          // 3, 6+8
	results("delta", seq(3, 4), state(2), q, k, v, nil, nil, seq(0.5, 0.25))                    // 1.5, 1.5+0.25*2*(4-3)
	results("gated_delta", seq(3, 4), state(2), q, k, v, nil, seq(7, ln2), seq(0.5, 0.25))      // 1.5, 3+0.25*2*(4-6)
	results("linear", tensor.New(tensor.F32, 1, 0, 1), state(5), seq(), seq(), seq(), state(5)) // no tokens
	half := func(x *tensor.Tensor) *tensor.Tensor { return as(tensor.F16, x, x.Shape()...) }
	results("linear", half(seq(6, 22)), state(11), half(q), half(k), half(v), state(0)) // a state of its own element type

	// Query heads share key heads in order; decay for each feature.
	x := signal(tensor.F32, 2, 3, 4*2)
	y, z, g := signal(tensor.F32, 2, 3, 2*2), signal(tensor.F32, 2, 3, 2*3), signal(tensor.F32, 2, 3, 2*2)
	got := each(t, "LinearAttention", attrs("q_num_heads", 4, "kv_num_heads", 2, "update_rule", "gated"), 2, x, y, z, nil, g)
	for head := range int64(4) {
		key := head / 2
		one := run1(t, "LinearAttention", []any{"q_num_heads", 1, "kv_num_heads", 1, "update_rule", "gated"}, along(t, x, 2, 2*head, 2*head+2),
			along(t, y, 2, 2*key, 2*key+2), along(t, z, 2, 3*key, 3*key+3), nil, along(t, g, 2, 2*key, 2*key+2))
		check(t, "Slice", nil, list(got[0], ints(3*head), ints(3*head+3), ints(2)), one)
	}
	refuse(t, "LinearAttention", attrs(with("gated")...), list(q, k, v), "takes decay: true")
	refuse(t, "LinearAttention", attrs(with("linear")...), list(q, k, v, nil, q), "takes decay: false")
	refuse(t, "LinearAttention", attrs(with("Delta")...), list(q, k, v), "none of linear")
	refuse(t, "LinearAttention", attrs("q_num_heads", 3, "kv_num_heads", 2), list(q, k, v), "do not share")
	refuse(t, "LinearAttention", attrs("q_num_heads", 2, "kv_num_heads", 2), list(q, k, v), "in 2 and 2 heads")
	refuse(t, "LinearAttention", attrs(with("linear")...), list(q, k, v, tensor.New(tensor.F32, 1, 1, 1, 2)), "a state of shape")
	refuse(t, "LinearAttention", attrs(with("delta")...), list(q, k, v, nil, nil, tensor.New(tensor.F32, 1, 2, 3)), "it takes [1, 2, 1")
}
