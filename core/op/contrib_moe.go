package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// ONNX Runtime's mixtures of experts (domain com.microsoft): a token goes to the k experts
// whose routing weights are the largest, and comes back as the sum of what they make of it,
// weighted. An expert is a product, an activation, and a product.
//
// It is written out for the tokens of all experts behind one another: those of an expert are
// gathered, multiplied by its weights, and added where they came from.

var moeAttrs = attrs(attr("activation_alpha", 1.0), attr("activation_beta", 0.0), attr("activation_type", "relu"), attr("k", 1),
	attr("normalize_routing_weights", 0), attr("swiglu_fusion", 0), attrOpt("swiglu_limit", 0.0), attr("use_sparse_mixer", 0))

// MoE takes weights [experts, out, in] and biases [experts, out].
var MoE = composed(&ir.OpDef{
	Name: "com.microsoft.MoE", Since: since(1), Doc: "mixture of experts",
	In: ops(in("input", "T", floats), in("router_probs", "T", floats), in("fc1_experts_weights", "T", floats), opt("fc1_experts_bias", "T", floats),
		in("fc2_experts_weights", "T", floats), opt("fc2_experts_bias", "T", floats), opt("fc3_experts_weights", "T", floats), opt("fc3_experts_bias", "T", floats)),
	Out: ops(in("output", "T", floats)), Attrs: moeAttrs,
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		var layers [3]moeLayer
		for i := range layers {
			layers[i] = moeLayer{x.arg(2 + 2*i), x.arg(3 + 2*i)}
		}
		return x.mixture(layers, x.Int("normalize_routing_weights"))
	}),
})

// QMoE takes weights [experts, out, in] of 4 or 8 bits, two of 4 to a byte, the low one first.
// Scales are [experts, out], or [experts, out, blocks] of block_size inputs each; zero points are
// packed as weights are, and half of the range where there are none. The weights of a token's
// experts always add up to 1: ONNX Runtime 1.31.1 takes no notice of normalize_routing_weights.
var QMoE = composed(&ir.OpDef{
	Name: "com.microsoft.QMoE", Since: since(1), Doc: "mixture of experts with weights of 4 or 8 bits",
	In: ops(in("input", "T", floats), in("router_probs", "T", floats),
		in("fc1_experts_weights", "", bytes8[1:]), opt("fc1_scales", "", floats), opt("fc1_experts_bias", "T", floats),
		in("fc2_experts_weights", "", bytes8[1:]), opt("fc2_scales", "", floats), opt("fc2_experts_bias", "T", floats),
		opt("fc3_experts_weights", "", bytes8[1:]), opt("fc3_scales", "", floats), opt("fc3_experts_bias", "T", floats),
		opt("fc1_zero_points", "", bytes8[1:]), opt("fc2_zero_points", "", bytes8[1:]), opt("fc3_zero_points", "", bytes8[1:])),
	Out: ops(in("output", "T", floats)),
	Attrs: append(moeAttrs[:len(moeAttrs):len(moeAttrs)], attr("expert_weight_bits", 4), attr("block_size", 0), attr("quant_type", "int"),
		attr("accuracy_level", 0), attr("weights_prepacked", -1)),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		bits := x.Int("expert_weight_bits")
		if bits != 4 && bits != 8 || x.Str("quant_type") != "int" || x.Int("block_size") < 0 || x.Int("weights_prepacked") > 0 {
			return nil, x.Unsupported("expert_weight_bits %d, quant_type %q, block_size %d, weights_prepacked %d",
				bits, x.Str("quant_type"), x.Int("block_size"), x.Int("weights_prepacked"))
		}
		var layers [3]moeLayer
		for i := range layers {
			if x.arg(2+3*i) == nil {
				continue
			}
			w, err := x.dequantized(2+3*i, 11+i, bits)
			if err != nil {
				return nil, err
			}
			layers[i] = moeLayer{w, x.arg(4 + 3*i)}
		}
		return x.mixture(layers, 1)
	}),
})

// dequantized gives the weights of operand i, whose scales are behind them, and whose zero
// points are operand z.
func (x composition) dequantized(i, z int, bits int64) (*ir.Value, error) {
	if x.Rank(i) != 3 || !x.Has(i+1) || x.Rank(i+1) != 2 && x.Rank(i+1) != 3 {
		return nil, x.Errorf("weights %s with scales %s", x.Tensor(i), x.Tensor(i+1))
	}
	d := x.DType(0)
	unpacked := func(v *ir.Value) *ir.Value { // as numbers of the element type of the tokens
		if bits == 4 {
			byteOf := func(n uint8) *ir.Value { return x.b.Const(tensor.Scalar(n)) }
			low, high := x.op("BitwiseAnd", v, byteOf(15)), x.with("BitShift", ir.MakeAttrs("direction", "RIGHT"), v, byteOf(4))
			dims := x.dims(v)
			last := len(dims) - 1
			pairs := x.with("Concat", ir.MakeAttrs("axis", -1), x.op("Unsqueeze", low, x.b.Ints(-1)), x.op("Unsqueeze", high, x.b.Ints(-1)))
			v = x.reshape(pairs, append(dims[:last:last], dims[last].Mul(sym.Const(2)))...)
		}
		return x.with("Cast", ir.MakeAttrs("to", d), v)
	}
	w, scales := unpacked(x.args[i]), x.with("Cast", ir.MakeAttrs("to", d), x.args[i+1])
	whole := x.dims(w)
	block := whole[2]
	if x.Rank(i+1) == 3 {
		if block = sym.Const(x.Int("block_size")); x.Int("block_size") == 0 {
			return nil, x.Errorf("scales %s and no block_size", x.Tensor(i+1))
		}
	}
	blocks := x.Syms.Simplify(whole[2].FloorDiv(block))
	if x.Syms.Divides(block, whole[2]) == sym.False {
		return nil, x.Unsupported("blocks of %s in rows of %s", block, whole[2])
	}
	w = x.reshape(w, whole[0], whole[1], blocks, block)
	zero := x.number(float64(int64(1) << (bits - 1)))
	if x.arg(z) != nil {
		points := unpacked(x.args[z])
		if x.Rank(z) == 2 { // one for a row
			points = x.reshape(points, whole[0], whole[1], sym.Const(1))
		}
		// Padded to whole bytes.
		points = x.op("Slice", points, x.b.Ints(0), x.b.Dims(blocks), x.b.Ints(2))
		zero = x.reshape(points, whole[0], whole[1], blocks, sym.Const(1))
	}
	w = x.op("Mul", x.op("Sub", w, zero), x.reshape(scales, whole[0], whole[1], blocks, sym.Const(1)))
	return x.reshape(w, whole...), nil
}

// expertActivation applies the activation of an expert.
func (x composition) expertActivation(v *ir.Value) (*ir.Value, error) {
	switch kind := x.Str("activation_type"); kind {
	case "identity":
		return v, nil
	case "relu":
		return x.op("Relu", v), nil
	case "gelu": // by tanh, as ONNX Runtime has it
		return x.with("Gelu", ir.MakeAttrs("approximate", "tanh"), v), nil
	case "silu":
		return x.op("Swish", v), nil
	case "swiglu":
		return x.swiglu(v)
	default:
		return nil, x.Unsupported("activation_type %q", kind)
	}
}

// swiglu is Swish of gates times linear parts, which take turns along the last dim, or stand
// behind each other.
func (x composition) swiglu(v *ir.Value) (*ir.Value, error) {
	d := x.dims(v)
	half := d[1].FloorDiv(sym.Const(2))
	var gate, linear *ir.Value
	switch x.Int("swiglu_fusion") {
	case 1:
		pairs := x.reshape(v, d[0], half, sym.Const(2))
		gate = x.b.Op("onnx.Gather", []*ir.Value{pairs, x.scalar(0)}, "axis", 2)
		linear = x.b.Op("onnx.Gather", []*ir.Value{pairs, x.scalar(1)}, "axis", 2)
	case 2:
		parts := x.b.OpN(2, "onnx.Split", []*ir.Value{v, x.b.Dims(half, half)}, ir.MakeAttrs("axis", 1))
		gate, linear = parts[0], parts[1]
	default:
		return nil, x.Unsupported("swiglu_fusion %d", x.Int("swiglu_fusion"))
	}
	if x.HasAttr("swiglu_limit") {
		high, low := x.number(x.Float("swiglu_limit")), x.number(-x.Float("swiglu_limit"))
		gate = x.op("Min", gate, high)
		linear = x.op("Clip", linear, low, high)
	}
	gate = x.with("Swish", ir.MakeAttrs("alpha", x.Float("activation_alpha")), gate)
	return x.op("Mul", gate, x.op("Add", linear, x.number(x.Float("activation_beta")))), nil
}

// number is a scalar of the element type of operand 0.
func (x composition) number(v float64) *ir.Value {
	t := tensor.New(x.DType(0))
	t.SetFloat(0, v)
	return x.b.Const(t)
}

// moeLayer is a product of all experts: weights [experts, out, in], and biases [experts, out] or
// nil.
type moeLayer struct{ weights, bias *ir.Value }

// mixture routes the tokens of operand 0 by the weights of operand 1 to experts of two layers
// and, where there is one, a third beside the first.
func (x composition) mixture(layers [3]moeLayer, normalize int64) ([]*ir.Value, error) {
	d := x.Dims(0)
	if len(d) < 2 || x.Rank(1) != 2 || x.Flag("use_sparse_mixer") || x.Int("k") < 1 {
		return nil, x.Unsupported("tokens %s, routing weights %s, k %d, use_sparse_mixer %d", x.Tensor(0), x.Tensor(1), x.Int("k"), x.Int("use_sparse_mixer"))
	}
	for _, l := range layers {
		if l.weights != nil && len(x.dims(l.weights)) != 3 {
			return nil, x.Errorf("weights of shape %s, they take [experts, out, in]", ir.ShapeString(x.dims(l.weights)))
		}
	}
	features := d[len(d)-1]
	tokens := x.reshape(x.args[0], sym.Prod(d[:len(d)-1]...), features)
	route := x.b.OpN(2, "pit.Route", x.args[1:2], ir.MakeAttrs("k", x.Int("k"), "normalize", normalize))
	weights, chosen := route[0], route[1] // [tokens, k]
	// Where each expert was chosen: expert, token, choice.
	experts := x.op("Range", x.scalar(0), x.op("Squeeze", x.b.Dims(x.dims(layers[0].weights)[0])), x.scalar(1))
	at := x.op("NonZero", x.op("Equal", chosen, x.op("Unsqueeze", experts, x.b.Ints(1, 2))))
	expert, rows := x.op("Gather", at, x.scalar(0)), x.op("Gather", at, x.scalar(1))
	linear := func(v *ir.Value, l moeLayer) *ir.Value {
		y := x.b.Op("pit.GroupedMatMul", []*ir.Value{v, l.weights, expert}, "transB", 1)
		if l.bias != nil {
			y = x.op("Add", y, x.op("Gather", l.bias, expert))
		}
		return y
	}
	in := x.op("Gather", tokens, rows)
	h, err := x.expertActivation(linear(in, layers[0]))
	if err != nil {
		return nil, err
	}
	if layers[2].weights != nil {
		h = x.op("Mul", h, linear(in, layers[2]))
	}
	share := x.op("GatherND", weights, x.transpose(x.op("Slice", at, x.b.Ints(1), x.b.Ints(3), x.b.Ints(0)), 1, 0))
	y := x.op("Mul", linear(h, layers[1]), x.op("Unsqueeze", share, x.b.Ints(1)))
	zeros := x.op("Expand", x.number(0), x.b.Dims(x.dims(tokens)...))
	out := x.with("ScatterND", ir.MakeAttrs("reduction", "add"), zeros, x.op("Unsqueeze", rows, x.b.Ints(1)), y)
	return []*ir.Value{x.reshape(out, d...)}, nil
}
