package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// ONNX Runtime's mixture of experts (domain com.microsoft): a token goes to the k experts
// whose routing weights are the largest, and comes back as the sum of what they make of it,
// weighted. An expert is a product, an activation, and a product.
//
// It is written out expert by expert: the tokens of an expert are gathered, and what it makes
// of them is added where they came from.

var moeAttrs = attrs(attr("activation_alpha", 1.0), attr("activation_beta", 0.0), attr("activation_type", "relu"), attr("k", 1),
	attr("normalize_routing_weights", 0), attr("swiglu_fusion", 0), attrOpt("swiglu_limit", 0.0), attr("use_sparse_mixer", 0))

// MoE takes weights [experts, out, in] and biases [experts, out].
var MoE = composed(&ir.OpDef{
	Name: "com.microsoft.MoE", Since: since(1), Doc: "mixture of experts",
	In: ops(in("input", "T", floats), in("router_probs", "T", floats), in("fc1_experts_weights", "T", floats), opt("fc1_experts_bias", "T", floats),
		in("fc2_experts_weights", "T", floats), opt("fc2_experts_bias", "T", floats), opt("fc3_experts_weights", "T", floats), opt("fc3_experts_bias", "T", floats)),
	Out: ops(in("output", "T", floats)), Attrs: moeAttrs,
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		if x.Rank(2) != 3 || x.Rank(4) != 3 {
			return nil, x.Errorf("weights %s and %s", x.Tensor(2), x.Tensor(4))
		}
		// part is matrix or bias e of operand i, nil where the operand is left out.
		part := func(i int, e int64) *ir.Value {
			if !x.Has(i) {
				return nil
			}
			return x.op("Gather", x.args[i], x.scalar(e))
		}
		return x.mixture(x.Dims(2)[0], func(tokens *ir.Value, e int64) (*ir.Value, error) {
			linear := func(v *ir.Value, i int) *ir.Value {
				args := []*ir.Value{v, part(i, e)}
				if bias := part(i+1, e); bias != nil {
					args = append(args, bias)
				}
				return x.with("Gemm", ir.MakeAttrs("transB", 1), args...)
			}
			h, err := x.expertActivation(linear(tokens, 2))
			if err != nil {
				return nil, err
			}
			if x.Has(6) {
				h = x.op("Mul", h, linear(tokens, 6))
			}
			return linear(h, 4), nil
		})
	}),
})

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

// mixture routes the tokens of operand 0 by the weights of operand 1 to experts, of which
// there must be a number.
func (x composition) mixture(experts sym.Expr, expert func(tokens *ir.Value, e int64) (*ir.Value, error)) ([]*ir.Value, error) {
	n, ok := experts.Int()
	if !ok {
		return nil, x.Unsupported("a number of experts, %s, that only a run tells", experts)
	}
	d := x.Dims(0)
	if len(d) < 2 || x.Rank(1) != 2 || x.Flag("use_sparse_mixer") || x.Int("k") < 1 || x.Int("k") > n {
		return nil, x.Unsupported("tokens %s, routing weights %s, k %d, use_sparse_mixer %d", x.Tensor(0), x.Tensor(1), x.Int("k"), x.Int("use_sparse_mixer"))
	}
	features := d[len(d)-1]
	tokens := x.reshape(x.args[0], sym.Prod(d[:len(d)-1]...), features)
	route := x.b.OpN(2, "pit.Route", x.args[1:2], ir.MakeAttrs("k", x.Int("k"), "normalize", x.Int("normalize_routing_weights")))
	weights, chosen := route[0], route[1] // [tokens, k]
	out := x.op("Expand", x.number(0), x.b.Dims(x.dims(tokens)...))
	for e := range n {
		// Where the expert was chosen, as [rows, choices].
		at := x.op("NonZero", x.op("Equal", chosen, x.scalar(e)))
		rows := x.op("Gather", at, x.scalar(0))
		y, err := expert(x.op("Gather", tokens, rows), e)
		if err != nil {
			return nil, err
		}
		share := x.op("GatherND", weights, x.transpose(at, 1, 0))
		y = x.op("Mul", y, x.op("Unsqueeze", share, x.b.Ints(1)))
		out = x.with("ScatterND", ir.MakeAttrs("reduction", "add"), out, x.op("Unsqueeze", rows, x.b.Ints(1)), y)
	}
	return []*ir.Value{x.reshape(out, d...)}, nil
}
