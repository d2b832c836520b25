package op

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// ONNX Runtime's attentions (domain com.microsoft), written as ONNX's Attention.

// Attributes that they share.
var contribAttention = []ir.AttrDef{attr("mask_filter_value", -10000.0), attrReq("num_heads", int64(0)), attrOpt("scale", 0.0), attr("unidirectional", 0)}

// padding is the mask of an Attention from one of padded words, of which there are total:
// [batch] numbers of words, or truth values, as integers, of [batch, words] or [batch,
// queries, words]. What is masked is not left out but gets a low score.
func (x composition) padding(i int, total sym.Expr) (*ir.Value, error) {
	if !x.Has(i) {
		return nil, nil
	}
	d := x.Dims(i)
	keep := x.args[i]
	zero := x.b.Const(tensor.New(x.DType(i)))
	axes := x.b.Ints(1)
	switch len(d) {
	case 1:
		if x.Syms.Equal(d[0], x.Dims(0)[0]) == sym.False {
			return nil, x.Unsupported("a mask %s that is more than the number of words", x.Tensor(i))
		}
		words := x.op("Range", x.scalar(0), x.reshape(x.b.Dims(total)), x.scalar(1))
		length := x.op("Unsqueeze", x.b.Op("onnx.Cast", x.args[i:i+1], "to", tensor.I64), x.b.Ints(1))
		keep, axes = x.op("Less", words, length), x.b.Ints(1, 2)
	case 2:
		keep, axes = x.op("Greater", keep, zero), x.b.Ints(1, 2)
	case 3:
		keep = x.op("Greater", keep, zero)
	default:
		return nil, x.Unsupported("a mask %s", x.Tensor(i))
	}
	number := func(v float64) *ir.Value {
		d := x.DType(0)
		if d.IsInt() {
			d = tensor.F32 // of a quantized input
		}
		t := tensor.New(d)
		t.SetFloat(0, v)
		return x.b.Const(t)
	}
	return x.op("Unsqueeze", x.op("Where", keep, number(0), number(x.Float("mask_filter_value"))), axes), nil
}

// attention is ONNX's Attention of queries, keys and values of rank 4, or of rank 3 with
// their numbers of heads, plus masks (nil: none) that are added up. It gives the result, the
// keys and the values with those of the past in front, and the products.
func (x composition) attention(q, k, v, pastKey, pastValue *ir.Value, heads int64, masks ...*ir.Value) []*ir.Value {
	as := ir.MakeAttrs("is_causal", x.Int("unidirectional"))
	if len(x.dims(q)) == 3 {
		as = as.With("q_num_heads", heads).With("kv_num_heads", heads)
	}
	if s := x.Float("scale"); s != 0 {
		as = as.With("scale", s)
	}
	var mask *ir.Value
	for _, m := range masks {
		switch {
		case mask == nil:
			mask = m
		case m != nil:
			mask = x.op("Add", mask, m)
		}
	}
	args := []*ir.Value{q, k, v, mask, pastKey, pastValue}
	for args[len(args)-1] == nil {
		args = args[:len(args)-1]
	}
	return x.b.OpN(4, "onnx.Attention", args, as)
}

// MultiHeadAttention takes queries, keys and values as [batch, words, heads*features], or
// packed into one or two tensors [batch, words, heads, 3 or 2, features], or keys and values
// of a cross attention as [batch, heads, words, features].
var MultiHeadAttention = composed(&ir.OpDef{
	Name: "com.microsoft.MultiHeadAttention", Since: since(1), Doc: "attention of several heads, as ONNX Runtime has it",
	In: ops(in("query", "T", floats), opt("key", "T", floats), opt("value", "T", floats), opt("bias", "T", floats), opt("key_padding_mask", "", indices[:1]),
		opt("attention_bias", "T", floats), opt("past_key", "T", floats), opt("past_value", "T", floats), opt("past_sequence_length", "", indices[:1]),
		opt("cache_indirection", "", indices[:1])),
	Out:   ops(in("output", "T", floats), opt("present_key", "T", floats), opt("present_value", "T", floats), opt("qk", "", floats)),
	Attrs: contribAttention,
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		if x.Has(8) || x.Has(9) {
			return nil, x.Unsupported("a cache that is longer than what it holds")
		}
		heads := x.Int("num_heads")
		q, k, v := x.args[0], x.arg(1), x.arg(2)
		// parts takes n tensors that are packed apart, each [batch, words, heads*features].
		parts := func(p *ir.Value, n int64) []*ir.Value {
			d := x.dims(p)
			var out []*ir.Value
			for i := range n {
				part := x.b.Op("onnx.Gather", []*ir.Value{p, x.scalar(i)}, "axis", 3)
				out = append(out, x.reshape(part, d[0], d[1], d[2].Mul(d[4])))
			}
			return out
		}
		packed := func(i int, n int64) bool {
			return x.Rank(i) == 5 && x.Syms.Equal(x.Dims(i)[3], sym.Const(n)) != sym.False
		}
		switch {
		case !x.Has(1) && !x.Has(2) && packed(0, 3):
			p := parts(q, 3)
			q, k, v = p[0], p[1], p[2]
		case x.Has(1) && !x.Has(2) && packed(1, 2):
			p := parts(k, 2)
			k, v = p[0], p[1]
		case !x.Has(1) || !x.Has(2) || x.Rank(0) != 3 || x.Rank(1) != x.Rank(2) || x.Rank(1) != 3 && x.Rank(1) != 4:
			return nil, x.Errorf("a query %s, %d more operands", x.Tensor(0), len(x.In)-1)
		}
		crossed := len(x.dims(k)) == 4
		if x.Has(3) {
			if crossed {
				return nil, x.Unsupported("a bias beside keys with heads")
			}
			at := sym.Const(0)
			for _, p := range []**ir.Value{&q, &k, &v} {
				d := x.dims(*p)
				end := at.Add(d[len(d)-1])
				*p = x.op("Add", *p, x.op("Slice", x.args[3], x.b.Dims(at), x.b.Dims(end)))
				at = end
			}
		}
		batch, words := x.dims(q)[0], x.dims(q)[1]
		if crossed {
			q = x.transpose(x.reshape(q, batch, words, sym.Const(heads), x.dims(k)[3]), 0, 2, 1, 3)
		}
		total := x.dims(k)[len(x.dims(k))-2]
		if x.Has(6) && x.Rank(6) == 4 {
			total = total.Add(x.Dims(6)[2])
		}
		mask, err := x.padding(4, total)
		if err != nil {
			return nil, err
		}
		out := x.attention(q, k, v, x.arg(6), x.arg(7), heads, mask, x.arg(5))
		if crossed {
			out[0] = x.reshape(x.transpose(out[0], 0, 2, 1, 3), batch, words, sym.Const(heads).Mul(x.dims(v)[3]))
		}
		return out, nil
	}),
})

// MicrosoftAttention projects its input to queries, keys and values, and attends.
var MicrosoftAttention = composed(&ir.OpDef{
	Name: "com.microsoft.Attention", Since: since(1), Doc: "projections and attention of several heads",
	In: ops(in("input", "T", floats), in("weights", "T", floats), opt("bias", "T", floats), opt("mask_index", "", indices[:1]), opt("past", "T", floats),
		opt("attention_bias", "T", floats), opt("past_sequence_length", "", indices[:1])),
	Out: ops(in("output", "T", floats), opt("present", "T", floats)),
	Attrs: append([]ir.AttrDef{attr("do_rotary", 0), attr("past_present_share_buffer", 0), attrOpt("qkv_hidden_sizes", []int64(nil)),
		attr("rotary_embedding_dim", 0)}, contribAttention...),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		if x.Flag("do_rotary") || x.Flag("past_present_share_buffer") || x.Has(6) {
			return nil, x.Unsupported("do_rotary, or a cache that is longer than what it holds")
		}
		if x.Rank(0) != 3 || x.Rank(1) != 2 {
			return nil, x.Errorf("an input %s and weights %s", x.Tensor(0), x.Tensor(1))
		}
		y := x.op("MatMul", x.args[0], x.args[1])
		return x.projected(x.plus(y, 2), 3, 4, 5)
	}),
})

// QAttention is Attention of a quantized input and quantized weights.
var QAttention = composed(&ir.OpDef{
	Name: "com.microsoft.QAttention", Since: since(1), Doc: "projections of quantized tensors and attention of several heads",
	In: ops(in("input", "T1", bytes8), in("weight", "T2", bytes8), in("bias", "T3", floats), in("input_scale", "T3", floats), in("weight_scale", "T3", floats),
		opt("mask_index", "", indices[:1]), opt("input_zero_point", "T1", bytes8), opt("weight_zero_point", "T2", bytes8), opt("past", "T3", floats)),
	Out:   ops(in("output", "T3", floats), opt("present", "T3", floats)),
	Attrs: append([]ir.AttrDef{attr("do_rotary", 0), attr("past_present_share_buffer", 0)}, contribAttention...),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		if x.Flag("do_rotary") || x.Flag("past_present_share_buffer") {
			return nil, x.Unsupported("do_rotary, or a cache that is longer than what it holds")
		}
		if x.Rank(0) != 3 || x.Rank(1) != 2 || x.DType(2) != tensor.F32 {
			return nil, x.Errorf("an input %s, weights %s and a bias %s", x.Tensor(0), x.Tensor(1), x.Tensor(2))
		}
		y := dequantizedProduct(x.b, x.args[0], x.args[1], x.args[3], x.args[4], x.arg(6), x.arg(7), x.args[2])
		return x.projected(y[0], 5, 8, -1)
	}),
})

// projected is the attention of queries, keys and values that stand beside each other in the
// last dim. mask, past and bias are operands; a cache holds keys and values in one tensor.
func (x composition) projected(qkv *ir.Value, mask, past, bias int) ([]*ir.Value, error) {
	d := x.dims(qkv)
	third := d[2].FloorDiv(sym.Const(3))
	sizes := []sym.Expr{third, third, third}
	for i, n := range x.IntList("qkv_hidden_sizes") {
		if i < 3 && n > 0 {
			sizes[i] = sym.Const(n)
		}
	}
	parts := x.b.OpN(3, "onnx.Split", []*ir.Value{qkv, x.b.Dims(sizes...)}, ir.MakeAttrs("axis", -1))
	total := d[1]
	var cache [2]*ir.Value
	if x.Has(past) {
		if x.Rank(past) != 5 {
			return nil, x.Errorf("a cache %s", x.Tensor(past))
		}
		total = total.Add(x.Dims(past)[3])
		for i := range cache {
			cache[i] = x.op("Gather", x.args[past], x.scalar(int64(i)))
		}
	}
	padding, err := x.padding(mask, total)
	if err != nil {
		return nil, err
	}
	var scores *ir.Value
	if bias >= 0 {
		scores = x.arg(bias)
	}
	y := x.attention(parts[0], parts[1], parts[2], cache[0], cache[1], x.Int("num_heads"), padding, scores)
	out := []*ir.Value{y[0], nil}
	if x.Wants(1) {
		out[1] = x.b.Op("onnx.Concat", []*ir.Value{x.op("Unsqueeze", y[1], x.b.Ints(0)), x.op("Unsqueeze", y[2], x.b.Ints(0))}, "axis", 0)
	}
	return out, nil
}

// GroupQueryAttention attends causally to a cache and to new words, whose heads of keys and
// values several heads of queries share. Operand seqlens_k has the number of words of each
// example, the new ones with it, less one; present_key and present_value have room for those
// of the past, and for total_sequence_length.
var GroupQueryAttention = composed(&ir.OpDef{
	Name: "com.microsoft.GroupQueryAttention", Since: since(1), Doc: "causal attention to a cache, with fewer heads of keys than of queries",
	In: ops(in("query", "T", floats), opt("key", "T", floats), opt("value", "T", floats), opt("past_key", "T", floats), opt("past_value", "T", floats),
		in("seqlens_k", "", indices[:1]), in("total_sequence_length", "", indices[:1]), opt("cos_cache", "T", floats), opt("sin_cache", "T", floats),
		opt("position_ids", "", i64s), opt("attention_bias", "T", floats), opt("head_sink", "T", floats), opt("k_scale", "", f32s), opt("v_scale", "", f32s),
		opt("q_norm_weight", "T", floats), opt("k_norm_weight", "T", floats)),
	Out: ops(in("output", "T", floats), opt("present_key", "T", floats), opt("present_value", "T", floats), opt("output_qk", "T", floats)),
	Attrs: attrs(attr("causal", 1), attr("do_rotary", 0), attr("k_quant_type", "NONE"), attr("kv_cache_bit_width", 0), attrReq("kv_num_heads", int64(0)), attr("local_window_size", -1),
		attrReq("num_heads", int64(0)), attr("qk_norm_epsilon", 1e-6), attr("qk_output", 0), attr("rotary_interleaved", 0),
		attrOpt("scale", 0.0), attr("sliding_window_cache", 0), attr("smooth_softmax", -1), attr("softcap", 0.0), attr("v_quant_type", "NONE")),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		if x.Has(11) || x.Has(12) || x.Has(13) || x.Int("smooth_softmax") > 0 || x.Flag("qk_output") || x.Wants(3) || x.Flag("sliding_window_cache") {
			return nil, x.Unsupported("head_sink, smooth_softmax, qk_output, sliding_window_cache, or a quantized cache")
		}
		heads, shared := sym.Const(x.Int("num_heads")), sym.Const(x.Int("kv_num_heads"))
		d := x.Dims(0)
		if len(d) != 3 || x.Has(1) != x.Has(2) || x.Has(3) != x.Has(4) || x.Has(3) && x.Rank(3) != 4 || x.Rank(5) > 2 {
			return nil, x.Errorf("a query %s, %d more operands", x.Tensor(0), len(x.In)-1)
		}
		batch, words := d[0], d[1]
		features := d[2].FloorDiv(heads)
		q, k, v := x.args[0], x.arg(1), x.arg(2)
		if !x.Has(1) { // all in one
			features = d[2].FloorDiv(heads.Add(shared).Add(shared))
			sizes := x.b.Dims(features.Mul(heads), features.Mul(shared), features.Mul(shared))
			parts := x.b.OpN(3, "onnx.Split", []*ir.Value{q, sizes}, ir.MakeAttrs("axis", -1))
			q, k, v = parts[0], parts[1], parts[2]
		}
		long := func(v *ir.Value) *ir.Value { return x.b.Op("onnx.Cast", []*ir.Value{v}, "to", tensor.I64) }
		count := func(e sym.Expr) *ir.Value { return x.reshape(x.b.Dims(e)) }
		// Numbers of words in the cache, [batch], and positions of the new words, [batch, words].
		past := x.op("Sub", x.op("Add", long(x.reshape(x.args[5], batch)), x.scalar(1)), count(words))
		past = x.op("Max", past, x.scalar(0)) // the first words may be padded
		at := x.op("Add", x.op("Unsqueeze", past, x.b.Ints(1)), x.op("Range", x.scalar(0), count(words), x.scalar(1)))
		normalized := func(v *ir.Value, i int, n sym.Expr) *ir.Value { // each head by itself
			if !x.Has(i) {
				return v
			}
			v = x.reshape(v, batch, words, n, features)
			v = x.with("RMSNormalization", ir.MakeAttrs("epsilon", x.Float("qk_norm_epsilon")), v, x.args[i])
			return x.reshape(v, batch, words, n.Mul(features))
		}
		q, k = normalized(q, 14, heads), normalized(k, 15, shared)
		if x.Flag("do_rotary") {
			if !x.Has(7) || !x.Has(8) || x.Rank(7) != 2 {
				return nil, x.Errorf("do_rotary takes cos_cache and sin_cache")
			}
			positions := at
			if x.Has(9) {
				positions = x.args[9]
			}
			as := ir.MakeAttrs("interleaved", x.Int("rotary_interleaved"))
			if n, ok := x.Dims(7)[1].Int(); ok && x.Syms.Equal(features, sym.Const(2*n)) != sym.True {
				as = as.With("rotary_embedding_dim", 2*n)
			}
			q = x.with("RotaryEmbedding", as.With("num_heads", x.Int("num_heads")), q, x.args[7], x.args[8], positions)
			k = x.with("RotaryEmbedding", as.With("num_heads", x.Int("kv_num_heads")), k, x.args[7], x.args[8], positions)
		}
		apart := func(v *ir.Value, n sym.Expr) *ir.Value {
			return x.transpose(x.reshape(v, batch, words, n, features), 0, 2, 1, 3)
		}
		q, k, v = apart(q, heads), apart(k, shared), apart(v, shared)
		total := x.reshape(long(x.args[6]))
		present := func(i int, new *ir.Value) *ir.Value {
			var cache, room *ir.Value
			if x.Has(i) {
				size := count(x.Dims(i)[2])
				cache, room = x.args[i], x.op("Sub", x.op("Max", total, size), size)
			} else {
				t, _ := new.Tensor()
				cache = x.op("Expand", x.b.Const(tensor.New(t.DType)), x.b.Dims(batch, shared, sym.Const(0), features))
				room = total
			}
			pads := x.b.Op("onnx.Concat", []*ir.Value{x.b.Ints(0, 0, 0, 0, 0, 0), x.op("Unsqueeze", room, x.b.Ints(0)), x.b.Ints(0)}, "axis", 0)
			return x.b.Op("onnx.TensorScatter", []*ir.Value{x.op("Pad", cache, pads), new, past}, "axis", 2)
		}
		k, v = present(3, k), present(4, v)
		// Which keys count for a word, [batch, 1, words, keys]: those up to it or all that there
		// are, in the window.
		keys := x.op("Range", x.scalar(0), count(x.dims(k)[2]), x.scalar(1))
		at = x.op("Unsqueeze", at, x.b.Ints(1, 3))
		mask := x.op("LessOrEqual", keys, at)
		if !x.Flag("causal") {
			mask = x.op("Less", keys, x.op("Unsqueeze", x.op("Add", past, count(words)), x.b.Ints(1, 2, 3)))
		}
		if w := x.Int("local_window_size"); w >= 0 {
			mask = x.op("And", mask, x.op("Greater", keys, x.op("Sub", at, x.scalar(w))))
		}
		if x.Has(10) {
			out := tensor.New(x.DType(0))
			out.SetFloat(0, math.Inf(-1))
			mask = x.op("Where", mask, x.args[10], x.b.Const(out))
		}
		as := ir.MakeAttrs("softcap", x.Float("softcap"))
		if s := x.Float("scale"); s != 0 {
			as = as.With("scale", s)
		}
		y := x.with("Attention", as, q, k, v, mask)
		return []*ir.Value{x.reshape(x.transpose(y, 0, 2, 1, 3), batch, words, features.Mul(heads)), k, v, nil}, nil
	}),
})
