package onnxgo_test

import (
	"math/rand/v2"
	"strings"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// builder writes a model with the project's own writer.
type builder struct {
	wire.Graph
	opset int64
	rng   *rand.Rand
}

func newModel(opset int64) *builder {
	return &builder{Graph: wire.Graph{Name: "test"}, opset: opset, rng: rand.New(rand.NewPCG(20, 26))}
}

func (b *builder) encode() []byte {
	return wire.Encode(&wire.Model{IRVersion: 7, ProducerName: "pitopt", Graph: &b.Graph, OpsetImport: []*wire.OperatorSet{{Version: b.opset}, {Domain: "ai.onnx.ml", Version: 1}}})
}

func declared(name string, d tensor.DType, dims []int64) *wire.ValueInfo {
	shape := &wire.Shape{}
	for _, n := range dims {
		shape.Dims = append(shape.Dims, &wire.Dim{HasValue: n >= 0, Value: max(n, 0)})
	}
	return &wire.ValueInfo{Name: name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: d.ONNX(), Shape: shape}}}
}

// input declares an input; a negative dim is one that is not known.
func (b *builder) input(name string, d tensor.DType, dims ...int64) {
	b.Inputs = append(b.Inputs, declared(name, d, dims))
}

func (b *builder) output(name string, d tensor.DType, dims ...int64) {
	b.Outputs = append(b.Outputs, declared(name, d, dims))
}

// constant adds an initializer.
func (b *builder) constant(name string, t *tensor.Tensor) {
	b.Initializers = append(b.Initializers, wire.NewTensor(name, t))
}

// weight adds an initializer, uniform in [-0.5, 0.5).
func (b *builder) weight(name string, shape ...int64) { b.constant(name, b.random(shape...)) }

func (b *builder) random(shape ...int64) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	for i := range t.Len() {
		t.SetFloat(i, b.rng.Float64()-0.5)
	}
	return t
}

// node adds a node. Its inputs and outputs are names with spaces between; "-" is one that
// is left out. An operator of ai.onnx.ml has that in front.
func (b *builder) node(op, inputs, outputs string, attrs ...*wire.Attribute) {
	names := func(s string) []string {
		list := strings.Fields(s)
		for i, name := range list {
			if name == "-" {
				list[i] = ""
			}
		}
		return list
	}
	domain := ""
	if ml, ok := strings.CutPrefix(op, "ai.onnx.ml."); ok {
		domain, op = "ai.onnx.ml", ml
	}
	b.Nodes = append(b.Nodes, &wire.Node{OpType: op, Domain: domain, Inputs: names(inputs), Outputs: names(outputs), Attributes: attrs})
}

func intAttr(name string, v int64) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrInt, I: v}
}

func intsAttr(name string, v ...int64) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrInts, Ints: v}
}

func floatAttr(name string, v float32) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrFloat, F: v}
}

func floatsAttr(name string, v ...float32) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrFloats, Floats: v}
}

func stringAttr(name, v string) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrString, S: []byte(v)}
}

func stringsAttr(name string, v ...string) *wire.Attribute {
	a := &wire.Attribute{Name: name, Type: wire.AttrStrings}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

func tensorAttr(name string, t *tensor.Tensor) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrTensor, T: wire.NewTensor("", t)}
}

// classifier is a small convolutional network over a picture of 8 by 8 points, whose
// weights are random: convolution, normalisation, pooling, and a linear layer.
func classifier() []byte {
	b := newModel(12)
	b.input("image", tensor.F32, 1, 1, 8, 8)
	b.output("probabilities", tensor.F32, 1, 3)
	b.weight("filters", 4, 1, 3, 3)
	b.weight("filter_bias", 4)
	b.constant("scale", tensor.Of([]float32{1, 0.5, 2, 1}))
	b.weight("shift", 4)
	b.weight("mean", 4)
	b.constant("variance", tensor.Of([]float32{0.5, 1, 2, 1}))
	b.weight("classes", 3, 4*4*4)
	b.weight("class_bias", 3)
	b.node("Conv", "image filters filter_bias", "conv", intsAttr("kernel_shape", 3, 3), intsAttr("pads", 1, 1, 1, 1))
	b.node("BatchNormalization", "conv scale shift mean variance", "norm", floatAttr("epsilon", 1e-5))
	b.node("Relu", "norm", "relu")
	b.node("MaxPool", "relu", "pool", intsAttr("kernel_shape", 2, 2), intsAttr("strides", 2, 2))
	b.node("Flatten", "pool", "flat")
	b.node("Gemm", "flat classes class_bias", "scores", intAttr("transB", 1))
	b.node("Softmax", "scores", "probabilities")
	return b.encode()
}
