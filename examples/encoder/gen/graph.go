package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// graph builds an ONNX graph node by node. A node's first output has the node's name.
type graph struct {
	wire.Graph
	rng *rand.Rand
}

// node appends a node with one output and returns the output's name.
func (g *graph) node(name, op string, inputs []string, attrs ...*wire.Attribute) string {
	g.Nodes = append(g.Nodes, &wire.Node{Name: name, OpType: op, Inputs: inputs, Outputs: []string{name}, Attributes: attrs})
	return name
}

// constant adds an initializer.
func (g *graph) constant(name string, t *tensor.Tensor) string {
	g.Initializers = append(g.Initializers, wire.NewTensor(name, t))
	return name
}

// ints adds a list of integers.
func (g *graph) ints(name string, v ...int64) string { return g.constant(name, tensor.Of(v)) }

// weight adds random weights, uniform in [-limit, limit].
func (g *graph) weight(name string, limit float64, shape ...int64) string {
	n, ok := tensor.Count(shape)
	if !ok {
		panic(fmt.Sprintf("%s: shape %v", name, shape))
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32((2*g.rng.Float64() - 1) * limit)
	}
	return g.constant(name, tensor.Of(data, shape...))
}

// valueInfo declares a graph input or output: a dim is a name or a number.
func valueInfo(name string, d tensor.DType, dims ...any) *wire.ValueInfo {
	shape := &wire.Shape{}
	for _, dim := range dims {
		switch dim := dim.(type) {
		case string:
			shape.Dims = append(shape.Dims, &wire.Dim{Param: dim})
		case int:
			shape.Dims = append(shape.Dims, &wire.Dim{HasValue: true, Value: int64(dim)})
		default:
			panic(fmt.Sprintf("%s: dim %v is neither a name nor a number", name, dim))
		}
	}
	return &wire.ValueInfo{Name: name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: d.ONNX(), Shape: shape}}}
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

func stringAttr(name, v string) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrString, S: []byte(v)}
}
