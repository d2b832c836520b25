package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Operators that ONNX Runtime's optimizer puts in the place of several (domain
// com.microsoft); they are written out again.

// Activations with a bias.
var (
	FastGelu = composed(&ir.OpDef{
		Name: "com.microsoft.FastGelu", Since: since(1), Doc: "Gelu by tanh, of x plus a bias",
		In: ops(in("X", "T", floats), opt("bias", "T", floats)), Out: ops(in("Y", "T", floats)),
		Expand: expand(func(x composition) ([]*ir.Value, error) {
			return []*ir.Value{x.with("Gelu", ir.MakeAttrs("approximate", "tanh"), x.plus(x.args[0], 1))}, nil
		}),
	})
	BiasGelu = composed(&ir.OpDef{
		Name: "com.microsoft.BiasGelu", Since: since(1), Doc: "Gelu of x plus a bias",
		In: ops(in("A", "T", floats), in("B", "T", floats)), Out: ops(in("C", "T", floats)),
		Expand: expand(func(x composition) ([]*ir.Value, error) {
			return []*ir.Value{x.op("Gelu", x.plus(x.args[0], 1))}, nil
		}),
	})
	MicrosoftGelu = composed(&ir.OpDef{
		Name: "com.microsoft.Gelu", Since: since(1), Doc: "x * Φ(x)",
		In: ops(in("X", "T", floats)), Out: ops(in("Y", "T", floats)),
		Expand: expand(func(x composition) ([]*ir.Value, error) { return []*ir.Value{x.op("Gelu", x.args[0])}, nil }),
	})
	QuickGelu = composed(&ir.OpDef{
		Name: "com.microsoft.QuickGelu", Since: since(1), Doc: "x * sigmoid(alpha*x)",
		In: ops(in("X", "T", floats)), Out: ops(in("Y", "T", floats)), Attrs: attrs(attr("alpha", 1.702)),
		Expand: expand(func(x composition) ([]*ir.Value, error) {
			return []*ir.Value{x.with("Swish", ir.MakeAttrs("alpha", x.Float("alpha")), x.args[0])}, nil
		}),
	})
)

// epsilon is the attribute of normalisations.
func (x composition) epsilon() ir.Attrs { return ir.MakeAttrs("epsilon", x.Float("epsilon")) }

// SkipLayerNormalization normalises the sum of a tensor, a residual and a bias, and gives
// the sum, too.
var SkipLayerNormalization = composed(&ir.OpDef{
	Name: "com.microsoft.SkipLayerNormalization", Since: since(1), Doc: "LayerNormalization of a sum",
	In:    ops(in("input", "T", floats), in("skip", "T", floats), in("gamma", "T", floats), opt("beta", "T", floats), opt("bias", "T", floats)),
	Out:   ops(in("output", "T", floats), opt("mean", "", floats), opt("inv_std_var", "", floats), opt("input_skip_bias_sum", "T", floats)),
	Attrs: attrs(attr("epsilon", 1e-12)),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		sum := x.plus(x.plus(x.args[0], 1), 4)
		y := x.b.OpN(3, "onnx.LayerNormalization", []*ir.Value{sum, x.arg(2), x.arg(3)}, x.epsilon())
		return append(y, sum), nil
	}),
})

// inverseRMS is the inverse root mean square over the dims from axis on.
func (x composition) inverseRMS(v *ir.Value, axis int64) *ir.Value {
	rank := int64(len(x.dims(v)))
	if axis < 0 {
		axis += rank
	}
	var over []int64
	for a := axis; a < rank; a++ {
		over = append(over, a)
	}
	wide := x.b.Op("onnx.Cast", []*ir.Value{v}, "to", tensor.F32)
	mean := x.op("ReduceMean", x.op("Mul", wide, wide), x.b.Ints(over...))
	return x.op("Reciprocal", x.op("Sqrt", x.op("Add", mean, x.b.Const(tensor.Scalar(float32(x.Float("epsilon")))))))
}

// SkipSimplifiedLayerNormalization is SkipLayerNormalization by the root mean square.
var SkipSimplifiedLayerNormalization = composed(&ir.OpDef{
	Name: "com.microsoft.SkipSimplifiedLayerNormalization", Since: since(1), Doc: "RMSNormalization of a sum",
	In:    ops(in("input", "T", floats), in("skip", "T", floats), in("gamma", "T", floats), opt("bias", "T", floats)),
	Out:   ops(in("output", "T", floats), opt("mean", "", f32s), opt("inv_std_var", "", f32s), opt("input_skip_bias_sum", "T", floats)),
	Attrs: attrs(attr("epsilon", 1e-12)),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		if x.Wants(1) {
			return nil, x.Unsupported("a mean, which it does not compute")
		}
		sum := x.plus(x.plus(x.args[0], 1), 3)
		out := []*ir.Value{x.with("RMSNormalization", x.epsilon(), sum, x.args[2]), nil, nil, sum}
		if x.Wants(2) {
			out[2] = x.inverseRMS(sum, -1)
		}
		return out, nil
	}),
})

// SimplifiedLayerNormalization is RMSNormalization; it stands in ONNX's domain and is no
// operator of ONNX.
var SimplifiedLayerNormalization = composed(&ir.OpDef{
	Name: "onnx.SimplifiedLayerNormalization", Since: since(1), Doc: "RMSNormalization, as ONNX Runtime names it",
	In:    ops(in("X", "T", floats), in("scale", "V", floats)),
	Out:   ops(in("Y", "V", floats), opt("inv_std_var", "", f32s)),
	Attrs: attrs(attr("axis", -1), attr("epsilon", 1e-5), attr("stash_type", 1)),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		out := []*ir.Value{x.with("RMSNormalization", x.Attrs, x.args[0], x.args[1]), nil}
		if x.Wants(1) {
			out[1] = x.inverseRMS(x.args[0], x.Int("axis"))
		}
		return out, nil
	}),
})

// EmbedLayerNormalization normalises the sum of embeddings of words, of positions and of
// segments. It also tells how many words of each example a mask keeps.
var EmbedLayerNormalization = composed(&ir.OpDef{
	Name: "com.microsoft.EmbedLayerNormalization", Since: since(1), Doc: "LayerNormalization of a sum of embeddings",
	In: ops(in("input_ids", "", indices), opt("segment_ids", "", indices), in("word_embedding", "T", floats), in("position_embedding", "T", floats),
		opt("segment_embedding", "T", floats), in("gamma", "T", floats), in("beta", "T", floats), opt("mask", "", indices), opt("position_ids", "", indices)),
	Out:   ops(in("output", "T", floats), opt("mask_index", "", indices[:1]), opt("embedding_sum", "T", floats)),
	Attrs: attrs(attr("epsilon", 1e-12), attr("mask_index_type", 0)),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		ids := x.Dims(0)
		if len(ids) != 2 {
			return nil, x.Errorf("input_ids of shape %s, it takes [batch, words]", ir.ShapeString(ids))
		}
		position := x.op("Slice", x.args[3], x.b.Ints(0), x.b.Dims(ids[1]), x.b.Ints(0))
		if x.Has(8) {
			position = x.op("Gather", x.args[3], x.args[8])
		}
		sum := x.op("Add", x.op("Gather", x.args[2], x.args[0]), position)
		if x.Has(1) != x.Has(4) {
			return nil, x.Errorf("segment_ids and segment_embedding come together")
		}
		if x.Has(1) {
			sum = x.op("Add", sum, x.op("Gather", x.args[4], x.args[1]))
		}
		out := []*ir.Value{x.with("LayerNormalization", x.epsilon(), sum, x.args[5], x.args[6]), nil, sum}
		if x.Wants(1) {
			count := x.b.Const(tensor.New(tensor.I32, 1))
			if x.Has(7) {
				mask := x.b.Op("onnx.Cast", x.args[7:8], "to", tensor.I32)
				on := x.b.Op("onnx.Cast", []*ir.Value{x.op("Equal", mask, x.b.Const(tensor.Scalar(int32(1))))}, "to", tensor.I32)
				count = x.b.Op("onnx.ReduceSum", []*ir.Value{on, x.b.Ints(1)}, "keepdims", 0)
			}
			out[1] = x.op("Expand", count, x.b.Dims(ids[0]))
		}
		return out, nil
	}),
})

// activation applies the activation that an attribute names; param gives its parameters.
func (x composition) activation(v *ir.Value, name string, param func(i int) float64) (*ir.Value, error) {
	switch name {
	case "":
		return v, nil
	case "Relu", "Tanh", "Sigmoid":
		return x.op(name, v), nil
	case "LeakyRelu":
		return x.with(name, ir.MakeAttrs("alpha", param(0)), v), nil
	case "HardSigmoid":
		return x.with(name, ir.MakeAttrs("alpha", param(0), "beta", param(1)), v), nil
	case "Clip":
		bound := func(i int) *ir.Value {
			t, _ := v.Tensor()
			c := tensor.New(t.DType)
			c.SetFloat(0, param(i))
			return x.b.Const(c)
		}
		return x.op(name, v, bound(0), bound(1)), nil
	}
	return nil, x.Unsupported("activation %q", name)
}

var fusedMatMul = []ir.AttrDef{attr("alpha", 1.0), attr("transA", 0), attr("transB", 0), attr("transBatchA", 0), attr("transBatchB", 0)}

// expandMatMul writes out a product of matrices that are transposed before, and scaled.
var expandMatMul = expand(func(x composition) ([]*ir.Value, error) {
	side := func(i int, swap, batch string) *ir.Value {
		rank := x.Rank(i)
		perm := make([]int64, rank)
		for j := range perm {
			perm[j] = int64(j)
		}
		if x.HasAttr(batch) && x.Flag(batch) && rank > 2 { // the first dim is one of the matrix
			copy(perm, perm[1:rank-1])
			perm[rank-2] = 0
		}
		if x.Flag(swap) && rank > 1 {
			perm[rank-1], perm[rank-2] = perm[rank-2], perm[rank-1]
		}
		if slices.IsSorted(perm) {
			return x.args[i]
		}
		return x.transpose(x.args[i], perm...)
	}
	y := x.op("MatMul", side(0, "transA", "transBatchA"), side(1, "transB", "transBatchB"))
	if a := x.Float("alpha"); a != 1 {
		t := tensor.New(x.DType(0))
		t.SetFloat(0, a)
		y = x.op("Mul", y, x.b.Const(t))
	}
	return []*ir.Value{y}, nil
})

// Products that are fused with what stands around them.
var (
	FusedMatMul = composed(&ir.OpDef{
		Name: "com.microsoft.FusedMatMul", Since: since(1), Doc: "product of matrices that are transposed before, scaled",
		In: ops(in("A", "T", floats), in("B", "T", floats)), Out: ops(in("Y", "T", floats)), Attrs: fusedMatMul, Expand: expandMatMul,
	})
	TransposeMatMul = composed(&ir.OpDef{
		Name: "com.microsoft.TransposeMatMul", Since: since(1), Doc: "product of matrices that are transposed before, scaled",
		In: ops(in("A", "T", floats), in("B", "T", floats)), Out: ops(in("Y", "T", floats)), Attrs: fusedMatMul[:3], Expand: expandMatMul,
	})
	FusedGemm = composed(&ir.OpDef{
		Name: "com.microsoft.FusedGemm", Since: since(1), Doc: "Gemm with an activation",
		In: Gemm.In, Out: Gemm.Out,
		Attrs: append(slices.Clone(Gemm.Attrs), attr("activation", ""), attr("activation_alpha", 0.0), attr("activation_beta", 0.0), attr("activation_gamma", 0.0)),
		Expand: expand(func(x composition) ([]*ir.Value, error) {
			as := x.Attrs.Without("activation").Without("activation_alpha").Without("activation_beta").Without("activation_gamma")
			y, err := x.activation(x.with("Gemm", as, x.args...), x.Str("activation"), func(i int) float64 {
				return x.Float([]string{"activation_alpha", "activation_beta"}[i])
			})
			return []*ir.Value{y}, err
		}),
	})
	// FusedConv adds a tensor to a convolution before its activation.
	FusedConv = composed(&ir.OpDef{
		Name: "com.microsoft.FusedConv", Since: since(1), Doc: "Conv plus a tensor, with an activation",
		In: append(slices.Clone(Conv.In), opt("Z", "T", floats)), Out: Conv.Out,
		Attrs: append(slices.Clone(Conv.Attrs), attr("activation", ""), attrOpt("activation_params", []float64(nil))),
		Expand: expand(func(x composition) ([]*ir.Value, error) {
			params := x.FloatList("activation_params")
			need := map[string]int{"LeakyRelu": 1, "Clip": 2, "HardSigmoid": 2}[x.Str("activation")]
			if len(params) < need {
				return nil, x.Errorf("%d activation_params, %s takes %d", len(params), x.Str("activation"), need)
			}
			y := x.with("Conv", x.Attrs.Without("activation").Without("activation_params"), x.args[:min(len(x.args), 3)]...)
			y, err := x.activation(x.plus(y, 3), x.Str("activation"), func(i int) float64 { return params[i] })
			return []*ir.Value{y}, err
		}),
	})
)

// Operators that ONNX has by now, with element types that it did not have.
var (
	MicrosoftQuantizeLinear = composed(&ir.OpDef{
		Name: "com.microsoft.QuantizeLinear", Since: since(1), Doc: "x/scale rounded, plus a zero point, saturated",
		In: QuantizeLinear.In, Out: QuantizeLinear.Out, Attrs: attrs(attr("axis", 1), attr("block_size", 0)), Expand: sameInONNX("QuantizeLinear"),
	})
	MicrosoftDequantizeLinear = composed(&ir.OpDef{
		Name: "com.microsoft.DequantizeLinear", Since: since(1), Doc: "(x - zero point) * scale",
		In: DequantizeLinear.In, Out: DequantizeLinear.Out, Attrs: attrs(attr("axis", 1), attr("block_size", 0)), Expand: sameInONNX("DequantizeLinear"),
	})
)

func sameInONNX(name string) func(*call, *ir.Builder, []*ir.Value) ([]*ir.Value, error) {
	return expand(func(x composition) ([]*ir.Value, error) { return []*ir.Value{x.with(name, x.Attrs, x.args...)}, nil })
}

// MicrosoftRotaryEmbedding has its operands in another order. One position is that of the
// first word of each example.
var MicrosoftRotaryEmbedding = composed(&ir.OpDef{
	Name: "com.microsoft.RotaryEmbedding", Since: since(1), Doc: "RotaryEmbedding, as ONNX Runtime has it",
	In:  ops(in("input", "T", floats), in("position_ids", "", i64s), in("cos_cache", "T", floats), in("sin_cache", "T", floats)),
	Out: ops(in("output", "T", floats)),
	Attrs: attrs(attr("interleaved", 0), attr("is_packed_batching", 0), attr("num_heads", 0), attr("rotary_embedding_dim", 0),
		attr("scale", 1.0)),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		if x.Flag("is_packed_batching") || x.Float("scale") != 1 {
			return nil, x.Unsupported("is_packed_batching or a scale")
		}
		d := x.Dims(0)
		if len(d) != 3 && len(d) != 4 || x.Rank(2) != 2 {
			return nil, x.Errorf("operands %s and %s", x.Tensor(0), x.Tensor(2))
		}
		as := ir.MakeAttrs("interleaved", x.Int("interleaved"), "rotary_embedding_dim", x.Int("rotary_embedding_dim"))
		in, heads := x.args[0], x.Int("num_heads")
		apart := len(d) == 3 && heads == 0 // each head has two features to a pair of the angles
		if apart {
			n := x.Dims(2)[1].Mul(sym.Const(2))
			in = x.transpose(x.reshape(in, d[0], d[1], d[2].FloorDiv(n), n), 0, 2, 1, 3)
		} else if len(d) == 3 {
			as = as.With("num_heads", heads)
		}
		at := x.args[1]
		if x.Rank(1) < 2 {
			words := d[len(d)-2]
			at = x.op("Add", x.op("Range", x.scalar(0), x.reshape(x.b.Dims(words)), x.scalar(1)), x.reshape(at, sym.Const(1), sym.Const(1)))
			at = x.op("Expand", at, x.b.Dims(d[0], words))
		}
		y := x.with("RotaryEmbedding", as, in, x.args[2], x.args[3], at)
		if apart {
			y = x.reshape(x.transpose(y, 0, 2, 1, 3), d...)
		}
		return []*ir.Value{y}, nil
	}),
})

func (x composition) scalar(n int64) *ir.Value { return x.b.Const(tensor.Scalar(n)) }
