package onnxgo

import (
	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	pt "github.com/pitopt/pitopt/core/tensor"
)

var (
	_ onnx.Namer       = (*Node)(nil)
	_ onnx.DataCarrier = (*Node)(nil)
)

// Node is a value of the model: an input, a weight, or the result of an operation. A node
// without a name stands for an optional input or output that is left out.
type Node struct {
	id    int64
	graph *Graph
	value *value
}

// value is what all nodes of one name share: onnx-go makes two of a value that is both
// input and output, or both output and among the inner values whose types are declared.
type value struct {
	name     string
	id       int64 // of the first node
	tensor   tensor.Tensor
	declared int  // tensors that came while the model was decoded: a placeholder, a weight, or both
	touched  bool // the program set the tensor, or asked for it
	computed bool // it is the result of an operation
	read     bool // an operation reads it
	fetched  bool // it is no output, and the program asked for it all the same

	dtype pt.DType // the element type of the first tensor that came; Invalid when none did
	dims  []int64  // of an input: what it is compiled for, anySize where several sizes came; nil before
}

// ID is the node's number in the graph.
func (n *Node) ID() int64 { return n.id }

// SetName names the node. Nodes of one name are one value.
func (n *Node) SetName(name string) {
	if name == "" {
		return
	}
	if n.graph.values[name] == nil {
		n.value.name, n.value.id = name, n.id
		n.graph.values[name] = n.value
	}
	n.value = n.graph.values[name]
}

// GetName is the node's name.
func (n *Node) GetName() string { return n.value.name }

// SetTensor sets the tensor of an input or a weight. Every Run from then on reads it: in
// place if it is dense, in row-major order and of the element type that the model declares,
// else a copy of it.
func (n *Node) SetTensor(t tensor.Tensor) error {
	v := n.value
	v.tensor = t
	if len(n.graph.nodes) > 0 {
		v.touched = true
		return nil
	}
	v.declared++ // onnx-go brings all tensors before the first operation
	if d, err := dense(t); err == nil && v.declared == 1 {
		v.dtype = dtypes[d.Dtype().Kind()]
	}
	return nil
}

// GetTensor gives the tensor of an input or a weight, which may be filled in place; of a
// result what the last Run computed, before that an empty one of the declared type. Asked
// for a result that is neither an output nor was asked for before, it runs the graph again,
// with this result; nil says that it can not be had.
func (n *Node) GetTensor() tensor.Tensor {
	v, g := n.value, n.graph
	switch {
	case len(g.nodes) == 0:
	case !v.computed:
		v.touched = true
	case g.compiled != nil && !g.compiled.gives(v):
		_ = g.Close()
		if v.fetched = true; g.Run() != nil {
			_ = g.Close()
			v.fetched = false
			return nil
		}
	}
	return v.tensor
}
