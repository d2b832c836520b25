package testscripts

import (
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// models are graphs that the text form of a module does not show: what its exporter would
// not write.
var models = map[string]func() *wire.Graph{
	// Two dims without a name, and one that is an expression.
	"unnamed": func() *wire.Graph {
		return graph(node("Relu", "x", "y"), in("x", tensor.F32, "", 3, ""), out("y", tensor.F32, "", 3, ""))
	},
	"expression": func() *wire.Graph {
		return graph(node("Relu", "x", "y"), in("x", tensor.F32, "2*(n+1)"), in("k", tensor.F32, "n"), out("y", tensor.F32, "2*(n+1)"))
	},
	// Operators that are not there: of another domain, and of a version yet to come.
	"unsupported": func() *wire.Graph {
		g := graph(node("Relu", "x", "r"), in("x", tensor.F32, 2), out("y", tensor.F32, 2))
		for i, name := range []string{"first", "second"} {
			n := node("Frobnicate", "r", []string{"f", "y"}[i])
			n.Name, n.Domain = name, "com.acme"
			g.Nodes = append(g.Nodes, n)
		}
		return g
	},
	// A note: what the model declares of an output is not so.
	"declared": func() *wire.Graph {
		return graph(node("Relu", "x", "y"), in("x", tensor.F32, 2, 3), out("y", tensor.F32, 2, 4))
	},
}

func graph(parts ...any) *wire.Graph {
	g := &wire.Graph{}
	for _, p := range parts {
		switch p := p.(type) {
		case *wire.Node:
			g.Nodes = append(g.Nodes, p)
		case input:
			g.Inputs = append(g.Inputs, p.v)
		case output:
			g.Outputs = append(g.Outputs, p.v)
		}
	}
	return g
}

func node(op, in, out string) *wire.Node {
	return &wire.Node{OpType: op, Inputs: []string{in}, Outputs: []string{out}}
}

type (
	input  struct{ v *wire.ValueInfo }
	output struct{ v *wire.ValueInfo }
)

func in(name string, d tensor.DType, dims ...any) input   { return input{value(name, d, dims)} }
func out(name string, d tensor.DType, dims ...any) output { return output{value(name, d, dims)} }

// value declares a tensor; a dim is a size, or a text, which may be empty.
func value(name string, d tensor.DType, dims []any) *wire.ValueInfo {
	shape := &wire.Shape{}
	for _, dim := range dims {
		w := &wire.Dim{}
		switch dim := dim.(type) {
		case int:
			w.HasValue, w.Value = true, int64(dim)
		case string:
			w.Param = dim
		}
		shape.Dims = append(shape.Dims, w)
	}
	return &wire.ValueInfo{Name: name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: d.ONNX(), Shape: shape}}}
}
