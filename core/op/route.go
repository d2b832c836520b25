package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Route tells to which k of E experts each token goes, and with which weights: the largest
// of its logits [..., E], best first, of equal ones the first; a NaN counts as the largest.
// Weights are a softmax over all experts, whose values are compared then, or over the chosen
// alone; where they are normalised they are divided by their sum.
//
// It is written out in the operators that exporters use, which are compared and rounded as
// theirs.
var Route = composed(&ir.OpDef{
	Name: "pit.Route", Doc: "the k experts that a token goes to, and their weights",
	In: ops(in("logits", "T", floats)), Out: ops(in("weights", "T", floats), in("experts", "", i64s)), // [..., k]
	Attrs: attrs(attr("k", 1), attr("normalize", 0), attr("softmax", "all")),
	Expand: expand(func(x composition) ([]*ir.Value, error) {
		over := x.Str("softmax")
		if x.Rank(0) == 0 || x.Int("k") < 1 || over != "all" && over != "chosen" {
			return nil, x.Errorf("logits %s, k %d and softmax %q", x.Tensor(0), x.Int("k"), over).
				Hint(`it takes logits [..., experts], a k of at least 1, and a softmax over "all" or "chosen"`)
		}
		scores := x.args[0]
		if over == "all" {
			scores = x.op("Softmax", scores)
		}
		weights, experts, err := x.best(scores)
		if err != nil {
			return nil, err
		}
		if over == "chosen" {
			weights = x.op("Softmax", weights)
		}
		if x.Flag("normalize") {
			weights = x.op("Div", weights, x.op("ReduceSum", weights, x.b.Ints(-1)))
		}
		return []*ir.Value{weights, experts}, nil
	}),
})

// best gives the k largest scores along the last dim, and where they are. One is found by
// reductions, which unlike a sort are programs, and go together with what is around them.
func (x composition) best(scores *ir.Value) (values, at *ir.Value, err error) {
	experts, k := x.Dims(0)[x.Rank(0)-1], x.Int("k")
	switch {
	case x.Syms.LE(sym.Const(k), experts) == sym.False:
		return nil, nil, x.Errorf("k is %d, of %s experts", k, experts)
	case k == 1 && x.Syms.LE(sym.Const(1), experts) == sym.True:
		return x.op("ReduceMax", scores, x.b.Ints(-1)), x.with("ArgMax", ir.MakeAttrs("axis", -1), scores), nil
	}
	top := x.b.OpN(2, "onnx.TopK", []*ir.Value{scores, x.b.Ints(k)}, nil)
	return top[0], top[1], nil
}
