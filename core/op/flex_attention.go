package op

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// FlexAttention is softmax(scale Q K') V, where one graph may change the scores and
// another one the weights. It is written out where a module is built.
var FlexAttention = ir.Register(&ir.OpDef{
	Name: "ai.onnx.preview.FlexAttention", Since: since(1), Doc: "attention with graphs that change scores and weights",
	In: ops(in("Q", "T1", floats), in("K", "T1", floats), in("V", "T1", floats)), Out: ops(in("Y", "T1", floats)),
	Attrs:   attrs(attrOpt("scale", 0.0), attrOpt("softmax_precision", int64(0))),
	Regions: []string{"score_mod", "prob_mod"}, OptRegions: true,
	Deduce: func(c *call) error {
		a, err := flexOf(c)
		if err != nil {
			return err
		}
		c.SetOut(0, c.DType(0), a.q.batch, a.q.count, a.q.tokens, a.v.features)
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		for i := range 3 {
			if c.Tensor(i).Unranked {
				return nil, c.Unsupported("operand %d of unknown rank", i)
			}
		}
		a, err := flexOf(c)
		if err != nil {
			return nil, err
		}
		precision, err := dtypeAttr(c, "softmax_precision", floats, c.DType(0).Compute())
		if err != nil {
			return nil, err
		}
		op := func(name string, args ...*ir.Value) *ir.Value { return b.Op("onnx."+name, args) }
		cast := func(x *ir.Value, d tensor.DType) *ir.Value { return b.Op("onnx.Cast", []*ir.Value{x}, "to", d) }
		reshape := func(x *ir.Value, dims ...sym.Expr) *ir.Value {
			return b.Op("onnx.Reshape", []*ir.Value{x, b.Dims(dims...)}, "allowzero", 1)
		}
		// The scores come from an Attention that is asked for nothing else.
		scores := b.OpN(4, "onnx.Attention", []*ir.Value{cast(args[0], c.DType(0).Compute()), cast(args[1], c.DType(0).Compute()), cast(args[2], c.DType(0).Compute())},
			c.Attrs.Without("softmax_precision"))[3]
		modified := func(i int, x *ir.Value) (*ir.Value, error) {
			r := c.Regions[i]
			if r == nil {
				return x, nil
			}
			if len(r.Params) != 1 || len(r.Results) != 1 {
				return nil, c.Errorf("%s has %d parameters and %d results, it takes one of each", c.Op.Regions[i], len(r.Params), len(r.Results))
			}
			y := b.Inline(r, map[*ir.Value]*ir.Value{r.Params[0]: x})[0]
			if t, ok := y.Tensor(); !ok || t.DType != precision {
				return nil, c.Errorf("%s gives %s of %s", c.Op.Regions[i], y.Type, x.Type)
			}
			return b.MatchCast(y, x.Type), b.Err() // its shape must stay
		}
		x, err := modified(0, cast(scores, precision))
		if err != nil {
			return nil, err
		}
		if x, err = modified(1, op("Softmax", x)); err != nil {
			return nil, err
		}
		grouped := reshape(x, a.q.batch, a.k.count, a.shared.Mul(a.q.tokens), a.k.tokens)
		y := op("MatMul", grouped, cast(args[2], precision))
		return []*ir.Value{cast(reshape(y, a.q.batch, a.q.count, a.q.tokens, a.v.features), c.DType(0))}, nil
	},
})

// flexOf are the sizes of a FlexAttention: operands of rank 4 that make an attention.
func flexOf(c *call) (attention, error) {
	for i := range 3 {
		if c.Rank(i) != 4 {
			return attention{}, c.Errorf("operand %d has rank %d, it takes 4", i, c.Rank(i))
		}
	}
	if s := c.Float("scale"); math.IsNaN(s) {
		return attention{}, c.Errorf("scale is NaN")
	}
	return attentionOf(c)
}
