package onnxgo_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph/simple"
	gt "gorgonia.org/tensor"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/interop/onnxgo"
)

// unary is a model of one operator.
func unary(op string, attrs ...*wire.Attribute) *builder {
	b := newModel(11)
	b.input("x", tensor.F32, 2, 3)
	b.output("y", tensor.F32, 2, 3)
	b.node(op, "x", "y", attrs...)
	return b
}

// What a model or a program does wrong is an error of Run that names the place.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		model func() *builder
		set   func(m *onnx.Model)
		code  diag.Code
		says  []string
	}{
		{"no tensor for an input", func() *builder { return unary("Relu") }, nil, diag.Run, []string{`input "x" has no tensor yet`, "SetInput"}},
		{"a shape that does not go", func() *builder {
			b := unary("Relu")
			b.weight("w", 5, 2)
			b.output("z", tensor.F32, 2, 2)
			b.node("MatMul", "x w", "z")
			return b
		}, func(m *onnx.Model) { _ = m.SetInput(0, gorgonia(f32(2, 3))) }, diag.Malformed, []string{`node "z" (MatMul)`}},
		{"a value that nothing gives", func() *builder {
			b := unary("Relu")
			b.node("Add", "x nowhere", "z")
			return b
		}, func(m *onnx.Model) { _ = m.SetInput(0, gorgonia(f32(2, 3))) }, diag.Malformed, []string{`"nowhere"`, `node "z" (Add)`}},
		{"a value that needs itself", func() *builder {
			b := unary("Relu")
			b.node("Add", "x z", "z")
			return b
		}, func(m *onnx.Model) { _ = m.SetInput(0, gorgonia(f32(2, 3))) }, diag.Malformed, []string{`"z"`}},
		{"an attribute of another kind", func() *builder { return unary("Elu", stringAttr("alpha", "much")) },
			func(m *onnx.Model) { _ = m.SetInput(0, gorgonia(f32(2, 3))) }, diag.Malformed, []string{`node "y" (Elu)`, "alpha"}},
		{"too few inputs", func() *builder {
			b := unary("Relu")
			b.node("Conv", "x", "z")
			return b
		}, func(m *onnx.Model) { _ = m.SetInput(0, gorgonia(f32(2, 3))) }, diag.Malformed, []string{`node "z" (Conv)`}},
		{"a result that Gorgonia has no type for", func() *builder {
			b := newModel(11)
			b.input("x", tensor.F32, 2, 3)
			b.output("y", tensor.F32, 2, 3)
			b.node("Cast", "x", "y", intAttr("to", int64(tensor.F16.ONNX())))
			return b
		}, func(m *onnx.Model) { _ = m.SetInput(0, gorgonia(f32(2, 3))) }, diag.Run, []string{`node "y"`, "f16", "cast it"}},
		{"a masked tensor", func() *builder { return unary("Relu") }, func(m *onnx.Model) {
			_ = m.SetInput(0, gt.New(gt.WithShape(2, 3), gt.WithBacking(make([]float32, 6), make([]bool, 6))))
		}, diag.Run, []string{`node "x"`, "masked"}},
		{"no tensor at all", func() *builder { return unary("Relu") }, func(m *onnx.Model) { _ = m.SetInput(0, nil) }, diag.Run, []string{`node "x"`, "there is no tensor"}},
		{"a tensor that nobody made", func() *builder { return unary("Relu") }, func(m *onnx.Model) { _ = m.SetInput(0, new(gt.Dense)) }, diag.Run, []string{`node "x"`, "no element type"}},
		{"a shape that is larger than the memory", func() *builder { return unary("Relu") }, func(m *onnx.Model) {
			x := gt.New(gt.WithShape(2), gt.WithBacking([]float32{1, 2}))
			x.Init(gt.Shape{2, 3}, []int{3, 1})
			_ = m.SetInput(0, x)
		}, diag.Run, []string{`node "x"`, "[2 3]", "over 2 elements"}},
		{"addresses as elements", func() *builder { return unary("Relu") }, func(m *onnx.Model) {
			_ = m.SetInput(0, gt.New(gt.WithShape(2), gt.WithBacking(make([]uintptr, 2))))
		}, diag.Run, []string{`node "x"`, "uintptr"}},
		{"a run that fails", func() *builder {
			b := unary("Relu")
			b.input("shape", tensor.I64, 1)
			b.output("z", tensor.F32, 6)
			b.node("Reshape", "x shape", "z")
			return b
		}, func(m *onnx.Model) {
			_ = m.SetInput(0, gorgonia(f32(2, 3)))
			_ = m.SetInput(1, gorgonia(tensor.Of([]int64{7})))
		}, diag.Run, []string{`node "z" (Reshape)`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, g := decode(t, c.model().encode())
			if c.set != nil {
				c.set(m)
			}
			err := g.Run()
			if err == nil || diag.CodeOf(err) != c.code {
				t.Fatalf("code %d (%v), want %d", diag.CodeOf(err), err, c.code)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// SetInput counts weights that are among the inputs, and so sets one of them here. That
// another input is left without a tensor is told.
func TestSetInputOfAWeight(t *testing.T) {
	b := newModel(9)
	b.input("w", tensor.F32, 2)
	b.input("x", tensor.F32, 2)
	b.constant("w", f32(2))
	b.output("y", tensor.F32, 2)
	b.node("Mul", "x w", "y")
	m, g := decode(t, b.encode())
	if err := m.SetInput(0, gorgonia(f32(2))); err != nil {
		t.Fatal(err)
	}
	if err := g.Run(); err == nil || !strings.Contains(err.Error(), `input "x" has no tensor yet`) {
		t.Errorf("Run: %v", err)
	}
}

// What is not there is told by the error type that onnx-go's users look for, unwrapped.
func TestNotImplemented(t *testing.T) {
	m, g := decode(t, unary("Frobnicate").encode())
	set(t, m, "x", f32(2, 3))
	if e, ok := g.Run().(*onnx.ErrNotImplemented); !ok || e.Operator != "Frobnicate" {
		t.Errorf("an operator that is not there: %v", e)
	}

	// onnx-go refuses subgraphs itself; kinds of its own it could not hand over.
	b := unary("Relu", &wire.Attribute{Name: "body", Type: wire.AttrGraph, G: &wire.Graph{}})
	if _, ok := onnx.NewModel(onnxgo.NewGraph()).UnmarshalBinary(b.encode()).(*onnx.ErrNotImplemented); !ok {
		t.Error("a graph as an attribute is decoded")
	}
	other := onnxgo.NewGraph()
	y := addNode(other, "y")
	err := other.ApplyOperation(onnx.Operation{Name: "Relu", Attributes: map[string]any{"what": struct{}{}}}, y)
	if e, ok := err.(*onnx.ErrNotImplemented); !ok || e.Operator != "Relu" || e.AttributeName != "what" {
		t.Errorf("an attribute of no kind: %v", err)
	}
}

// A file that is none, and a graph that nothing was decoded into.
func TestBadModel(t *testing.T) {
	g := onnxgo.NewGraph()
	if err := onnx.NewModel(g).UnmarshalBinary([]byte("this is no model")); err == nil {
		t.Error("rubbish was decoded")
	}
	if err := g.Run(); err == nil || !strings.Contains(err.Error(), "no operations") {
		t.Errorf("Run of an empty graph: %v", err)
	}
}

// Graphs can be built by hand, and built wrongly.
func TestForeignNodes(t *testing.T) {
	g := onnxgo.NewGraph()
	y := addNode(g, "y")
	if err := g.ApplyOperation(onnx.Operation{Name: "Relu"}, y, simple.Node(7)); err == nil {
		t.Error("a node of another package is a result")
	}
	for _, weight := range []float64{-1, 0.5, 1e9} {
		g := onnxgo.NewGraph()
		x, y := addNode(g, "x"), addNode(g, "y")
		g.SetWeightedEdge(g.NewWeightedEdge(y, x, weight))
		apply(t, g, "Relu", y, x)
		var e *diag.Error
		if err := g.Run(); !errors.As(err, &e) || e.Code != diag.Malformed {
			t.Errorf("an edge of weight %g: %v", weight, err)
		}
	}
	g.SetWeightedEdge(g.NewWeightedEdge(y, simple.Node(7), 0))
	if err := g.Run(); err == nil {
		t.Error("a node of another package is an input")
	}
}

// A result that nobody declares, reads or asks for need not be one that can be had.
func TestResultThatNobodyWants(t *testing.T) {
	b := unary("Relu")
	b.node("Cast", "x", "half", intAttr("to", int64(tensor.F16.ONNX())))
	m, g := decode(t, b.encode())
	set(t, m, "x", f32(2, 3))
	run(t, g)
	same(t, m, "y", f32(2, 3))
}

// A result that can not be had leaves nothing behind.
func TestInnerValueFails(t *testing.T) {
	b := newModel(11)
	b.input("x", tensor.F32, 2)
	b.output("y", tensor.F32, 2)
	b.node("Cast", "x", "half", intAttr("to", int64(tensor.F16.ONNX())))
	b.node("Cast", "half", "y", intAttr("to", int64(tensor.F32.ONNX())))
	m, g := decode(t, b.encode())
	set(t, m, "x", f32(2))
	run(t, g)
	if v := node(t, m, "half").GetTensor(); v != nil {
		t.Errorf("f16 values came as %v", v)
	}
	run(t, g)
	same(t, m, "y", f32(2))
}
