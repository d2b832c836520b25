package onnx

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// In the table of versions attributes come before they go, and inputs are bounded.
func TestSchemas(t *testing.T) {
	for op, versions := range schemas {
		has := map[string]bool{}
		last := int64(0)
		for _, v := range versions {
			if v.version <= last || v.least < 0 || v.most < v.least {
				t.Errorf("%s: version %d after %d, %d to %d inputs", op, v.version, last, v.least, v.most)
			}
			last = v.version
			for _, name := range strings.Fields(v.attrs) {
				name, gone := strings.CutPrefix(name, "-")
				if has[name] != gone {
					t.Errorf("%s, version %d: attribute %q is gone: %t, was there: %t", op, v.version, name, gone, has[name])
				}
				has[name] = !gone
			}
		}
	}
}

func TestFits(t *testing.T) {
	node := func(domain, op string, inputs int, attrs ...string) *wire.Node {
		n := &wire.Node{Domain: domain, OpType: op, Inputs: make([]string, inputs)}
		for _, name := range attrs {
			n.Attributes = append(n.Attributes, &wire.Attribute{Name: name})
		}
		return n
	}
	for _, c := range []struct {
		node        *wire.Node
		first, last int64 // sets it fits; none before, none after
	}{
		{node("", "Relu", 1), 1, MaxOpset},
		{node("ai.onnx", "Relu", 1), 1, MaxOpset},
		{node("", "Relu", 2), 0, 0},
		{node("", "Relu", 1, "unheard-of"), 1, MaxOpset},
		{node("", "Slice", 1, "starts"), 1, 9},
		{node("", "Slice", 3), 10, MaxOpset},
		{node("", "Clip", 1, "max"), 1, 10},
		{node("", "Clip", 2), 11, MaxOpset},
		{node("", "Split", 2), 1, 1},
		{node("", "Gemm", 2), 11, MaxOpset},
		{node("", "TopK", 2, "sorted"), 11, MaxOpset},
		{node("", "LayerNormalization", 2), 17, MaxOpset},
		{node("", "Frobnicate", 9, "much"), 1, MaxOpset},
		{node("com.acme", "Relu", 9), 1, MaxOpset},
		{node("ai.onnx.ml", "LabelEncoder", 1, "classes_strings"), 1, 1},
	} {
		for v := int64(1); v <= MaxOpset; v++ {
			want := v >= c.first && v <= c.last
			if c.node.OpType == "Split" && v >= 13 { // the operand came back
				want = true
			}
			if got := Fits(c.node, v); got != want {
				t.Errorf("%s of %d inputs in set %d: %t", c.node.OpType, len(c.node.Inputs), v, got)
			}
		}
	}
}

func TestDomainOf(t *testing.T) {
	for op, want := range map[string]string{"Relu": "", "LabelEncoder": "ai.onnx.ml", "Frobnicate": ""} {
		if got := DomainOf(op); got != want {
			t.Errorf("%s is of %q, want %q", op, got, want)
		}
	}
}
