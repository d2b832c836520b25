package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Losses of classification: operand 0 holds classes along dim 1, operand 1 the number of
// the right class at each other position, operand 2 a weight for each class.

var lossAttrs = attrs(attrOpt("ignore_index", int64(0)), attr("reduction", "mean"))

func deduceLoss(c *call) error {
	x, target := c.Dims(0), c.Dims(1)
	ok := len(x) >= 2 && len(target) == len(x)-1
	for i, d := range target {
		ok = ok && c.Syms.Equal(d, without(x, 1)[i]) != sym.False
	}
	if !ok {
		return c.Errorf("classes of shape %s, targets of shape %s", ir.ShapeString(x), ir.ShapeString(target))
	}
	if c.Has(2) {
		if err := perChannel(c, x[1], 2); err != nil {
			return err
		}
	}
	switch r := c.Str("reduction"); r {
	case "none":
		c.SetOut(0, c.DType(0), target...)
	case "mean", "sum":
		c.SetOut(0, c.DType(0))
	default:
		return c.Errorf("reduction %q is none of none, sum and mean", r)
	}
	c.SetOut(1, c.DType(0), x...)
	return nil
}

// loss is the program of a loss; logp gives the logarithm of a class's probability at an
// index of operand 0. A target that is ignored need be no class at all.
func loss(c *call, b *ir.Body, logp func(ix []*scalar) *scalar) {
	target := b.In(1)
	// weighted gives the weight of a position, and what takes its loss times it.
	weighted := func(ix []*scalar) (weight, value *scalar) {
		class := b.LoadIx(target, ix...)
		p := logp(slices.Insert(slices.Clone(ix), 1, class))
		weight = p.Const(1)
		if c.Has(2) {
			weight = b.Load(b.In(2), class)
		}
		value = p.Neg().Mul(weight)
		if c.HasAttr("ignore_index") {
			counts := class.Ne(ir.IntLit(c.Int("ignore_index")))
			weight = ir.Guard(counts, weight, weight.Const(0))
			value = ir.Guard(counts, value, value.Const(0))
		}
		return weight, value
	}
	axes := b.Axes(target.Dims)
	_, value := weighted(ir.Ix(axes))
	switch c.Str("reduction") {
	case "none":
		b.Map(b.Out(0), axes, value)
	case "sum":
		b.Reduce(b.Out(0), nil, ir.Sum, axes, value)
	case "mean":
		total := ir.Load(b.Reduced(nil, ir.Sum, axes, value))
		count := ir.SymVal(sym.Prod(target.Dims...)).To(total.DType)
		if c.Has(2) || c.HasAttr("ignore_index") {
			axes = b.Axes(target.Dims)
			weight, _ := weighted(ir.Ix(axes))
			count = ir.Load(b.Reduced(nil, ir.Sum, axes, weight))
		}
		b.Map(b.Out(0), nil, total.Div(count))
	}
}

// NegativeLogLikelihoodLoss takes logarithms of probabilities.
var NegativeLogLikelihoodLoss = ir.Register(&ir.OpDef{
	Name: "onnx.NegativeLogLikelihoodLoss", Since: since(12, 13, 22), Doc: "minus the log probability of the right class",
	In:     ops(in("input", "T", floats), in("target", "", indices), opt("weight", "T", floats)),
	Out:    ops(in("loss", "T", floats)),
	Attrs:  lossAttrs,
	Deduce: deduceLoss,
	Body: func(c *call, b *ir.Body) error {
		loss(c, b, func(ix []*scalar) *scalar { return b.Load(b.In(0), ix...) })
		return nil
	},
})

// SoftmaxCrossEntropyLoss takes scores, and gives the logarithms of their softmax too.
var SoftmaxCrossEntropyLoss = ir.Register(&ir.OpDef{
	Name: "onnx.SoftmaxCrossEntropyLoss", Since: since(12, 13), Doc: "minus the log of the right class's softmax",
	In:     ops(in("scores", "T", floats), in("labels", "", indices), opt("weights", "T", floats)),
	Out:    ops(in("output", "T", floats), opt("log_prob", "T", floats)),
	Attrs:  lossAttrs,
	Deduce: deduceLoss,
	Body: func(c *call, b *ir.Body) error {
		e := newExponentials(b, b.In(0), 1, false)
		if c.Wants(1) {
			axes := b.Axes(c.Dims(0))
			b.Map(b.Out(1), axes, e.logSoftmax(b, ir.Ix(axes)))
		}
		if c.Wants(0) {
			loss(c, b, func(ix []*scalar) *scalar { return e.logSoftmax(b, ix) })
		}
		return nil
	},
})
