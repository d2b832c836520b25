package onnxgo

import (
	"testing"

	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

func TestGuessOpset(t *testing.T) {
	node := func(op string, inputs int, attrs ...string) *wire.Node {
		n := &wire.Node{OpType: op, Inputs: make([]string, inputs)}
		for _, name := range attrs {
			n.Attributes = append(n.Attributes, &wire.Attribute{Name: name})
		}
		return n
	}
	for _, c := range []struct {
		name  string
		nodes []*wire.Node
		want  int64
	}{
		{"nothing tells", []*wire.Node{node("Relu", 1), node("Softmax", 1)}, 12},
		{"an attribute that is gone", []*wire.Node{node("Relu", 1), node("Clip", 1, "min", "max")}, 10},
		{"an older one", []*wire.Node{node("Slice", 1, "starts", "ends")}, 9},
		{"another", []*wire.Node{node("Add", 2, "broadcast")}, 6},
		{"too few inputs", []*wire.Node{node("Resize", 2)}, 10},
		{"too many inputs", []*wire.Node{node("Squeeze", 2)}, 13},
		{"a newer operator", []*wire.Node{node("Softmax", 1), node("LayerNormalization", 3)}, 17},
		{"an attribute that is new", []*wire.Node{node("Split", 1, "num_outputs")}, 18},
		{"two that contradict", []*wire.Node{node("Squeeze", 2), node("Clip", 1, "min")}, 12},
		{"an operator of nobody's", []*wire.Node{node("Frobnicate", 3, "much")}, 12},
	} {
		if got := guessOpset(c.nodes, 12); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
