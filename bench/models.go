package main

import (
	"math"
	"math/rand/v2"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// builder writes a small ONNX model: what the cases that are no real model run.
type builder struct {
	g    wire.Graph
	ms   bool // it has operators of com.microsoft
	rand *rand.Rand
}

func newBuilder() *builder {
	return &builder{g: wire.Graph{Name: "bench"}, rand: rand.New(rand.NewPCG(1, 2))}
}

// dim is a dim: a number, or the name of one that is known at run time.
type dim any

func info(name string, d tensor.DType, dims []dim) *wire.ValueInfo {
	s := &wire.Shape{}
	for _, x := range dims {
		if p, ok := x.(string); ok {
			s.Dims = append(s.Dims, &wire.Dim{Param: p})
		} else {
			s.Dims = append(s.Dims, &wire.Dim{HasValue: true, Value: int64(x.(int))})
		}
	}
	return &wire.ValueInfo{Name: name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: d.ONNX(), Shape: s}}}
}

func (b *builder) input(name string, d tensor.DType, dims ...dim) string {
	b.g.Inputs = append(b.g.Inputs, info(name, d, dims))
	return name
}

func (b *builder) output(name string, dims ...dim) {
	b.g.Outputs = append(b.g.Outputs, info(name, tensor.F32, dims))
}

func (b *builder) constant(name string, t *tensor.Tensor) string {
	b.g.Initializers = append(b.g.Initializers, wire.NewTensor(name, t))
	return name
}

// weights are drawn so that products of them stay of the same size.
func (b *builder) weights(name string, dims ...int64) string {
	return b.constant(name, normal(b.rand, 1/math.Sqrt(float64(dims[0])), dims...))
}

// node adds one with a single result, which has its name.
func (b *builder) node(op, name string, inputs []string, attrs ...*wire.Attribute) string {
	n := &wire.Node{Name: name, OpType: op, Inputs: inputs, Outputs: []string{name}, Attributes: attrs}
	if op == "MultiHeadAttention" || op == "MoE" {
		n.Domain, b.ms = "com.microsoft", true
	}
	b.g.Nodes = append(b.g.Nodes, n)
	return name
}

func integer(name string, v int64) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrInt, I: v}
}

func (b *builder) encode() []byte {
	m := &wire.Model{IRVersion: 8, ProducerName: "pitopt bench", Graph: &b.g, OpsetImport: []*wire.OperatorSet{{Version: 17}}}
	if b.ms {
		m.OpsetImport = append(m.OpsetImport, &wire.OperatorSet{Domain: "com.microsoft", Version: 1})
	}
	return wire.Encode(m)
}

func normal(r *rand.Rand, scale float64, dims ...int64) *tensor.Tensor {
	t := tensor.New(tensor.F32, dims...)
	x := tensor.Data[float32](t)
	for i := range x {
		x[i] = float32(r.NormFloat64() * scale)
	}
	return t
}
