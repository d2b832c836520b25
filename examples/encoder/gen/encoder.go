package main

import (
	"math"
	"math/rand/v2"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// The sizes of the model.
const (
	vocabulary = 100
	positions  = 128 // the longest sequence
	hidden     = 64
	heads      = 4
	inner      = 128 // of the feed-forward networks
	experts    = 4
	chosen     = 2 // experts for each token
)

// encoder is the whole model: embeddings, two layers of attention and feed-forward
// network (the second one's is a mixture of experts), and the mean of all tokens that
// are not padding.
func encoder() *wire.Model {
	g := &graph{rng: rand.New(rand.NewPCG(20, 26))}
	g.Name = "encoder"
	g.Inputs = []*wire.ValueInfo{
		valueInfo("input_ids", tensor.I64, "batch", "seq"),
		valueInfo("attention_mask", tensor.I64, "batch", "seq"),
	}
	g.Outputs = []*wire.ValueInfo{valueInfo("embedding", tensor.F32, "batch", hidden)}

	real := g.node("mask/real", "Cast", []string{"attention_mask"}, intAttr("to", int64(tensor.Bool.ONNX())))
	bias := g.attentionBias(real)
	x := g.embed()
	for _, layer := range []struct {
		name string
		ffn  func(name, x string) string
	}{{"layer0", g.feedForward}, {"layer1", g.mixtureOfExperts}} {
		a := g.attention(layer.name+"/attention", x, bias)
		x = g.addNorm(layer.name+"/attention", x, a)
		f := layer.ffn(layer.name+"/ffn", x)
		x = g.addNorm(layer.name+"/ffn", x, f)
	}
	g.pool(x, real)
	return &wire.Model{
		IRVersion:    9,
		ProducerName: "pitopt",
		Doc:          "A 2-layer transformer encoder with a mixture of experts. The weights are random.",
		Graph:        &g.Graph,
		OpsetImport:  []*wire.OperatorSet{{Version: 20}},
	}
}

// attentionBias is what is added to the scores: 0 for real keys and, as exporters spell
// it, the smallest number for padding, as [batch, 1, 1, seq].
func (g *graph) attentionBias(real string) string {
	zero := g.constant("mask/zero", tensor.Scalar(float32(0)))
	lowest := g.constant("mask/lowest", tensor.Scalar(float32(-math.MaxFloat32)))
	bias := g.node("mask/bias", "Where", []string{real, zero, lowest})
	return g.node("mask/bias_keys", "Unsqueeze", []string{bias, g.ints("mask/key_axes", 1, 2)})
}

// embed looks tokens up and adds the rows of their positions: [batch, seq, hidden].
func (g *graph) embed() string {
	tokens := g.node("embed/tokens", "Gather", []string{g.weight("embed/token_table", 1, vocabulary, hidden), "input_ids"})
	seq := g.node("embed/seq", "Shape", []string{"input_ids"}, intAttr("start", 1), intAttr("end", 2))
	rows := g.node("embed/positions", "Slice", []string{g.weight("embed/position_table", 0.5, positions, hidden), g.ints("embed/first", 0), seq})
	sum := g.node("embed/sum", "Add", []string{tokens, rows})
	return g.norm("embed/norm", sum)
}

// norm is LayerNormalization over the last axis.
func (g *graph) norm(name, x string) string {
	ones := make([]float32, hidden)
	for i := range ones {
		ones[i] = 1
	}
	scale := g.constant(name+"/scale", tensor.Of(ones))
	bias := g.weight(name+"/bias", 0.1, hidden)
	return g.node(name, "LayerNormalization", []string{x, scale, bias}, intAttr("axis", -1), floatAttr("epsilon", 1e-5))
}

func (g *graph) addNorm(name, x, y string) string {
	return g.norm(name+"/norm", g.node(name+"/residual", "Add", []string{x, y}))
}

// linear is a matrix product and a bias over the last axis.
func (g *graph) linear(name, x string, in, out int64) string {
	w := g.weight(name+"/weight", fan(in), in, out)
	y := g.node(name+"/product", "MatMul", []string{x, w})
	return g.node(name, "Add", []string{y, g.weight(name+"/bias", 0.1, out)})
}

// fan is the limit of uniform weights that keep the variance over n terms.
func fan(n int64) float64 { return math.Sqrt(3 / float64(n)) }

// attention is multi-head self-attention: softmax(q kᵀ / √d + bias) v.
func (g *graph) attention(name, x, bias string) string {
	const size = hidden / heads
	split := g.ints(name+"/heads", 0, 0, heads, size)
	part := func(what string, perm ...int64) string {
		y := g.linear(name+"/"+what, x, hidden, hidden)
		y = g.node(name+"/"+what+"_split", "Reshape", []string{y, split})
		return g.node(name+"/"+what+"_heads", "Transpose", []string{y}, intsAttr("perm", perm...))
	}
	q := part("query", 0, 2, 1, 3)
	k := part("key", 0, 2, 3, 1)
	v := part("value", 0, 2, 1, 3)
	root := g.constant(name+"/root", tensor.Scalar(float32(math.Sqrt(size))))
	y := g.node(name+"/scores", "MatMul", []string{q, k})
	y = g.node(name+"/scaled", "Div", []string{y, root})
	y = g.node(name+"/masked", "Add", []string{y, bias})
	y = g.node(name+"/probabilities", "Softmax", []string{y}, intAttr("axis", -1))
	y = g.node(name+"/context", "MatMul", []string{y, v})
	y = g.node(name+"/context_tokens", "Transpose", []string{y}, intsAttr("perm", 0, 2, 1, 3))
	y = g.node(name+"/merged", "Reshape", []string{y, g.ints(name+"/tokens", 0, 0, hidden)})
	return g.linear(name+"/out", y, hidden, hidden)
}

// feedForward is two linear layers with GELU between.
func (g *graph) feedForward(name, x string) string {
	y := g.linear(name+"/up", x, hidden, inner)
	y = g.node(name+"/gelu", "Gelu", []string{y})
	return g.linear(name+"/down", y, inner, hidden)
}

// mixtureOfExperts sends each token to the experts with the highest scores. It is
// spelled densely, as GShard (arXiv 2006.16668) does: every expert computes every token,
// and gates, most of them zero, weigh the sum.
func (g *graph) mixtureOfExperts(name, x string) string {
	gates := g.gates(name+"/router", x)
	up := g.weight(name+"/up", fan(hidden), experts, hidden, inner)
	down := g.weight(name+"/down", fan(inner), experts, inner, hidden)
	y := g.node(name+"/inner", "Einsum", []string{x, up}, stringAttr("equation", "bsh,ehf->bsef"))
	y = g.node(name+"/gelu", "Gelu", []string{y})
	y = g.node(name+"/experts", "Einsum", []string{y, down}, stringAttr("equation", "bsef,efh->bseh"))
	return g.node(name, "Einsum", []string{y, gates}, stringAttr("equation", "bseh,bse->bsh"))
}

// gates are the weights of the experts: [batch, seq, experts], the chosen ones' sum to
// 1, the others' are zero.
func (g *graph) gates(name, x string) string {
	scores := g.node(name+"/scores", "MatMul", []string{x, g.weight(name+"/weight", 3*fan(hidden), hidden, experts)})
	p := g.node(name+"/probabilities", "Softmax", []string{scores}, intAttr("axis", -1))
	const top, index = "/top", "/index"
	g.Nodes = append(g.Nodes, &wire.Node{
		Name: name + top, OpType: "TopK",
		Inputs:     []string{p, g.ints(name+"/chosen", chosen)},
		Outputs:    []string{name + top, name + index},
		Attributes: []*wire.Attribute{intAttr("axis", -1)},
	})
	last := g.ints(name+"/last", -1)
	sum := g.node(name+"/sum", "ReduceSum", []string{name + top, last})
	share := g.node(name+"/share", "Div", []string{name + top, sum})
	column := g.node(name+"/share_column", "Unsqueeze", []string{share, last})
	depth := g.constant(name+"/experts", tensor.Scalar(int64(experts)))
	offOn := g.constant(name+"/off_on", tensor.Of([]float32{0, 1}))
	oneHot := g.node(name+"/one_hot", "OneHot", []string{name + index, depth, offOn})
	placed := g.node(name+"/placed", "Mul", []string{oneHot, column})
	return g.node(name+"/gates", "ReduceSum", []string{placed, g.ints(name+"/choices", -2)}, intAttr("keepdims", 0))
}

// pool is the mean of the real tokens: [batch, hidden].
func (g *graph) pool(x, real string) {
	weight := g.node("pool/weight", "Cast", []string{real}, intAttr("to", int64(tensor.F32.ONNX())))
	column := g.node("pool/column", "Unsqueeze", []string{weight, g.ints("pool/last", -1)})
	kept := g.node("pool/kept", "Mul", []string{x, column})
	tokens := g.ints("pool/tokens", 1)
	sum := g.node("pool/sum", "ReduceSum", []string{kept, tokens}, intAttr("keepdims", 0))
	count := g.node("pool/count", "ReduceSum", []string{column, tokens}, intAttr("keepdims", 0))
	one := g.constant("pool/one", tensor.Scalar(float32(1)))
	divisor := g.node("pool/divisor", "Max", []string{count, one})
	g.node("embedding", "Div", []string{sum, divisor})
}
