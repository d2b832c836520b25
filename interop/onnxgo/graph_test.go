package onnxgo_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/owulveryck/onnx-go"
	gt "gorgonia.org/tensor"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/interop/onnxgo"
)

// gorgonia and ours carry tensors of the types that the tests' models have from one side
// to the other.
func gorgonia(t *tensor.Tensor) gt.Tensor {
	shape := make([]int, t.Rank())
	for i, n := range t.Shape() {
		shape[i] = int(n)
	}
	var data any
	switch t.DType() {
	case tensor.F32:
		data = tensor.Data[float32](t)
	case tensor.I64:
		data = tensor.Data[int64](t)
	case tensor.Bool:
		data = tensor.Data[bool](t)
	}
	return gt.New(gt.WithShape(shape...), gt.WithBacking(data))
}

func ours(t *testing.T, g gt.Tensor) *tensor.Tensor {
	t.Helper()
	if g == nil {
		t.Fatal("there is no tensor")
	}
	shape := []int64{}
	for _, n := range g.Shape() {
		shape = append(shape, int64(n))
	}
	if n, ok := tensor.Count(shape); ok && n == 0 {
		// Gorgonia does not give the data of a tensor without elements.
		switch g.Dtype() {
		case gt.Float32:
			return tensor.Of([]float32{}, shape...)
		case gt.Int64:
			return tensor.Of([]int64{}, shape...)
		case gt.Bool:
			return tensor.Of([]bool{}, shape...)
		}
	}
	switch data := g.Data().(type) {
	case []float32:
		return tensor.Of(data, shape...)
	case []int64:
		return tensor.Of(data, shape...)
	case []bool:
		return tensor.Of(data, shape...)
	case float32:
		return view(tensor.Scalar(data), shape)
	case int64:
		return view(tensor.Scalar(data), shape)
	case bool:
		return view(tensor.Scalar(data), shape)
	}
	t.Fatalf("a tensor of %s", g.Dtype())
	return nil
}

func view(t *tensor.Tensor, shape []int64) *tensor.Tensor {
	v, err := t.View(shape...)
	if err != nil {
		panic(err)
	}
	return v
}

// decode brings a model into a new graph.
func decode(t *testing.T, model []byte, opts ...pitopt.Option) (*onnx.Model, *onnxgo.Graph) {
	t.Helper()
	g := onnxgo.NewGraph(opts...)
	m := onnx.NewModel(g)
	if err := m.UnmarshalBinary(model); err != nil {
		t.Fatal(err)
	}
	return m, g
}

func node(t *testing.T, m *onnx.Model, name string) *onnxgo.Node {
	t.Helper()
	n, ok := m.GetNodeByName(name)
	if !ok {
		t.Fatalf("there is no node %q", name)
	}
	return n.(*onnxgo.Node)
}

func set(t *testing.T, m *onnx.Model, name string, x *tensor.Tensor) {
	t.Helper()
	if err := node(t, m, name).SetTensor(gorgonia(x)); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, g *onnxgo.Graph) {
	t.Helper()
	if err := g.Run(); err != nil {
		t.Fatal(err)
	}
}

// same holds a node's tensor against what it has to be.
func same(t *testing.T, m *onnx.Model, name string, want *tensor.Tensor) {
	t.Helper()
	got := ours(t, node(t, m, name).GetTensor())
	if err := tensor.Compare(got, want, tensor.DefaultTolerance(want.DType())); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// reference is what the root package makes of the same file.
func reference(t *testing.T, model []byte, inputs map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	t.Helper()
	m, err := pitopt.LoadBytes("reference", model, pitopt.Target("interp"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out, err := m.Run(context.Background(), inputs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// agree runs a model both ways and compares all outputs.
func agree(t *testing.T, model []byte, inputs map[string]*tensor.Tensor) {
	t.Helper()
	want := reference(t, model, inputs)
	m, g := decode(t, model)
	for name, x := range inputs {
		set(t, m, name, x)
	}
	run(t, g)
	got, err := m.GetOutputTensors()
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d outputs, want %d: %v", len(got), len(want), err)
	}
	for name, w := range want {
		same(t, m, name, w)
	}
}

func TestModel(t *testing.T) {
	agree(t, classifier(), map[string]*tensor.Tensor{"image": newModel(12).random(1, 1, 8, 8)})
}

// A real model that onnx-go can decode: a recogniser of text.
func TestRealModel(t *testing.T) {
	models := os.Getenv("PITOPT_MODELS")
	if models == "" {
		t.Skip("PITOPT_MODELS names no folder of real models")
	}
	dir := filepath.Join(models, "crnn_rec")
	model, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := os.ReadFile(filepath.Join(dir, "test_data_set_0", "input_0.pb"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := wire.DecodeTensor(picture)
	if err != nil {
		t.Fatal(err)
	}
	in, err := x.Tensor(nil)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, model, map[string]*tensor.Tensor{x.Name: in})
}

// f32 is a list 1, 2, ... of a shape.
func f32(shape ...int64) *tensor.Tensor {
	x := tensor.New(tensor.F32, shape...)
	for i := range x.Len() {
		x.SetFloat(i, float64(i+1))
	}
	return x
}

func TestOperators(t *testing.T) {
	for _, c := range []struct {
		name  string
		opset int64
		build func(b *builder)
		in    map[string]*tensor.Tensor
	}{
		{"one value twice", 9, func(b *builder) {
			b.output("y", tensor.F32, 2, 3)
			b.node("Mul", "x x", "y")
		}, map[string]*tensor.Tensor{"x": f32(2, 3)}},
		{"one value in three places", 11, func(b *builder) {
			b.output("y", tensor.F32, 6, 3)
			b.node("Concat", "x z x", "y", intAttr("axis", 0))
		}, map[string]*tensor.Tensor{"x": f32(2, 3), "z": newModel(1).random(2, 3)}},
		{"order of operands", 9, func(b *builder) {
			b.output("d", tensor.F32, 2, 3)
			b.output("e", tensor.F32, 2, 3)
			b.node("Sub", "z x", "d")
			b.node("Sub", "x z", "e")
		}, map[string]*tensor.Tensor{"x": f32(2, 3), "z": newModel(1).random(2, 3)}},
		{"two outputs", 11, func(b *builder) {
			b.output("b", tensor.F32, 2, 3)
			b.output("a", tensor.F32, 2, 1)
			b.node("Split", "x", "a b", intAttr("axis", 1), intsAttr("split", 1, 3))
		}, map[string]*tensor.Tensor{"x": f32(2, 4)}},
		{"two outputs by an operand", 13, func(b *builder) {
			b.constant("sizes", tensor.Of([]int64{3, 1}))
			b.output("a", tensor.F32, 2, 3)
			b.output("b", tensor.F32, 2, 1)
			b.node("Split", "x sizes", "a b", intAttr("axis", -1))
		}, map[string]*tensor.Tensor{"x": f32(2, 4)}},
		{"one of two outputs left out", 11, func(b *builder) {
			b.constant("k", tensor.Of([]int64{2}))
			b.output("where", tensor.I64, 2, 2)
			b.node("TopK", "x k", "- where")
		}, map[string]*tensor.Tensor{"x": f32(2, 4)}},
		{"an input left out", 11, func(b *builder) {
			b.constant("max", tensor.Scalar(float32(4)))
			b.output("y", tensor.F32, 2, 4)
			b.node("Clip", "x - max", "y")
		}, map[string]*tensor.Tensor{"x": f32(2, 4)}},
		{"attributes that became inputs", 6, func(b *builder) {
			b.output("y", tensor.F32, 2, 4)
			b.node("Clip", "x", "y", floatAttr("min", 2), floatAttr("max", 4))
		}, map[string]*tensor.Tensor{"x": f32(2, 4)}},
		{"inputs and outputs left out", 11, func(b *builder) {
			b.weight("w", 1, 12, 4)
			b.weight("r", 1, 12, 3)
			b.weight("h", 1, 2, 3)
			b.output("last", tensor.F32, 1, 2, 3)
			b.node("LSTM", "x w r - - h", "- last", intAttr("hidden_size", 3))
		}, map[string]*tensor.Tensor{"x": newModel(1).random(5, 2, 4)}},
		{"Gemm", 11, func(b *builder) {
			b.weight("w", 5, 3)
			b.weight("c", 5)
			b.output("y", tensor.F32, 2, 5)
			b.node("Gemm", "x w c", "y", intAttr("transB", 1), floatAttr("alpha", 0.5), floatAttr("beta", 2))
		}, map[string]*tensor.Tensor{"x": f32(2, 3)}},
		{"Gemm without a bias", 11, func(b *builder) {
			b.weight("w", 3, 5)
			b.output("y", tensor.F32, 2, 5)
			b.node("Gemm", "x w", "y")
		}, map[string]*tensor.Tensor{"x": f32(2, 3)}},
		{"Conv", 11, func(b *builder) {
			b.weight("w", 4, 1, 3, 3)
			b.output("y", tensor.F32, 1, 4, 3, 3)
			b.node("Conv", "x w", "y", intAttr("group", 2), intsAttr("strides", 2, 2), stringAttr("auto_pad", "SAME_UPPER"))
		}, map[string]*tensor.Tensor{"x": f32(1, 2, 5, 5)}},
		{"BatchNormalization", 9, func(b *builder) {
			for _, name := range []string{"scale", "shift", "mean"} {
				b.weight(name, 3)
			}
			b.constant("variance", f32(3))
			b.output("y", tensor.F32, 2, 3, 4)
			b.node("BatchNormalization", "x scale shift mean variance", "y", floatAttr("epsilon", 0.01))
		}, map[string]*tensor.Tensor{"x": f32(2, 3, 4)}},
		{"Softmax over all from axis on", 11, func(b *builder) {
			b.output("y", tensor.F32, 2, 3, 4)
			b.node("Softmax", "x", "y")
		}, map[string]*tensor.Tensor{"x": f32(2, 3, 4)}},
		{"Softmax over one axis", 13, func(b *builder) {
			b.constant("axes", tensor.Of([]int64{0}))
			b.output("y", tensor.F32, 1, 2, 3, 4)
			b.node("Softmax", "x", "s", intAttr("axis", 1))
			b.node("Unsqueeze", "s axes", "y")
		}, map[string]*tensor.Tensor{"x": f32(2, 3, 4)}},
		{"constants", 12, func(b *builder) {
			b.output("y", tensor.F32, 2)
			b.output("z", tensor.I64, 2)
			b.node("Constant", "", "f", floatAttr("value_float", 1.5))
			b.node("Constant", "", "fs", floatsAttr("value_floats", 2, 3))
			b.node("Constant", "", "i", intAttr("value_int", 7))
			b.node("Constant", "", "is", intsAttr("value_ints", 8, 9))
			b.node("Constant", "", "t", tensorAttr("value", tensor.Of([]float32{4, 5})))
			b.node("Add", "f fs", "a")
			b.node("Add", "a t", "b")
			b.node("Mul", "b x", "y")
			b.node("Add", "i is", "z")
		}, map[string]*tensor.Tensor{"x": f32(2)}},
		{"lists of strings as an attribute", 11, func(b *builder) {
			b.weight("w", 1, 2, 4)
			b.weight("r", 1, 2, 2)
			b.output("y", tensor.F32, 5, 1, 2, 2)
			b.node("RNN", "x w r", "y", intAttr("hidden_size", 2), stringsAttr("activations", "Relu"))
		}, map[string]*tensor.Tensor{"x": newModel(1).random(5, 2, 4)}},
		{"shapes by contents", 11, func(b *builder) {
			b.constant("shape", tensor.Of([]int64{0, -1}))
			b.constant("starts", tensor.Of([]int64{1}))
			b.constant("ends", tensor.Of([]int64{1 << 40}))
			b.output("y", tensor.F32, 2, 5)
			b.node("Reshape", "x shape", "flat")
			b.node("Slice", "flat starts ends starts", "y")
		}, map[string]*tensor.Tensor{"x": f32(2, 3, 2)}},
		{"scalars", 9, func(b *builder) {
			b.constant("two", tensor.Scalar(float32(2)))
			b.output("y", tensor.F32)
			b.node("Mul", "x two", "y")
		}, map[string]*tensor.Tensor{"x": tensor.Scalar(float32(3))}},
		{"an integer and a truth value", 9, func(b *builder) {
			b.output("y", tensor.Bool, 3)
			b.output("n", tensor.I64, 3)
			b.node("Not", "x", "y")
			b.node("Cast", "x", "n", intAttr("to", int64(tensor.I64.ONNX())))
		}, map[string]*tensor.Tensor{"x": tensor.Of([]bool{true, false, true})}},
		{"an operator of ai.onnx.ml", 11, func(b *builder) {
			b.output("y", tensor.F32, 2, 1)
			b.node("ai.onnx.ml.Scaler", "x", "s", floatsAttr("offset", 1, 2, 3), floatsAttr("scale", 2, 1, 0.5))
			b.node("ai.onnx.ml.LinearRegressor", "s", "y", floatsAttr("coefficients", 0.5, -1, 2), floatsAttr("intercepts", 3))
		}, map[string]*tensor.Tensor{"x": f32(2, 3)}},
		{"no elements", 11, func(b *builder) {
			b.output("y", tensor.F32, -1, 3)
			b.node("Relu", "x", "y")
		}, map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, 0, 3)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newModel(c.opset)
			for _, name := range []string{"x", "z"} {
				if x := c.in[name]; x != nil {
					b.input(name, x.DType(), anyDims(x)...)
				}
			}
			c.build(b)
			agree(t, b.encode(), c.in)
		})
	}
}

// anyDims are the dims of x as a declaration, with those of no elements left open: onnx-go
// can not make a placeholder for them.
func anyDims(x *tensor.Tensor) []int64 {
	dims := slices.Clone(x.Shape())
	for i, n := range dims {
		if n == 0 {
			dims[i] = -1
		}
	}
	return dims
}

// An input-less operation gets an input from onnx-go, which has the name of what other
// operations take.
func TestStandInHidesInput(t *testing.T) {
	b := newModel(9)
	b.input("/input", tensor.F32, 2)
	b.output("y", tensor.F32, 2)
	b.node("Constant", "", "c", tensorAttr("value", tensor.Of([]float32{4, 5})))
	b.node("Add", "c /input", "y")
	agree(t, b.encode(), map[string]*tensor.Tensor{"/input": f32(2)})
}

func TestRunAgain(t *testing.T) {
	b := newModel(11)
	b.input("x", tensor.F32, 1, 3)
	b.weight("w", 3, 2)
	b.output("y", tensor.F32, 1, 2)
	b.node("MatMul", "x w", "y")
	model := b.encode()
	loads := 0
	m, g := decode(t, model, pitopt.EditModel(func(*wire.Model) { loads++ }))
	check := func(rows, wantLoads int64) {
		t.Helper()
		x := b.random(rows, 3)
		set(t, m, "x", x)
		run(t, g)
		dynamic := newModel(11)
		dynamic.Graph = b.Graph
		dynamic.Inputs = []*wire.ValueInfo{declared("x", tensor.F32, []int64{-1, 3})}
		same(t, m, "y", reference(t, dynamic.encode(), map[string]*tensor.Tensor{"x": x})["y"])
		if int64(loads) != wantLoads {
			t.Errorf("with %d rows it was compiled %d times, want %d", rows, loads, wantLoads)
		}
	}
	check(1, 1)
	check(1, 1)
	check(4, 2) // rows became a symbol
	check(7, 2)
	check(1, 2)

	// Results are new tensors.
	first := node(t, m, "y").GetTensor()
	before := slices.Clone(first.Data().([]float32))
	check(1, 2)
	if !slices.Equal(first.Data().([]float32), before) {
		t.Error("a second run wrote into the result of the first")
	}

	// A weight that is set becomes an input.
	w := b.random(3, 2)
	set(t, m, "w", w)
	b.Initializers[0] = wire.NewTensor("w", w)
	check(2, 3)
}

// An input may be filled in place, before the first run and after.
func TestFillInPlace(t *testing.T) {
	b := newModel(9)
	b.input("x", tensor.F32, 2)
	b.output("y", tensor.F32, 2)
	b.node("Neg", "x", "y")
	m, g := decode(t, b.encode())
	x := m.GetInputTensors()[0].Data().([]float32)
	for _, v := range []float32{1, 2} {
		x[1] = v
		run(t, g)
		same(t, m, "y", tensor.Of([]float32{0, -v}))
	}
}

// What a program does to a result is its own affair.
func TestResultsAreCopies(t *testing.T) {
	b := newModel(9)
	b.input("x", tensor.F32, 2)
	b.constant("c", f32(2))
	b.output("y", tensor.F32, 2)
	b.output("z", tensor.F32, 2)
	b.node("Identity", "x", "y")
	b.node("Identity", "c", "z")
	m, g := decode(t, b.encode())
	x := f32(2)
	set(t, m, "x", x)
	for range 2 {
		run(t, g)
		for _, name := range []string{"y", "z"} {
			same(t, m, name, f32(2))
			node(t, m, name).GetTensor().Data().([]float32)[0] = 100
		}
	}
	if x.Float(0) != 1 {
		t.Error("a change of the result changed the input")
	}
}

// Outputs that operations read, inner values, and outputs that are inputs are had, too.
func TestOtherValues(t *testing.T) {
	b := newModel(9)
	b.input("x", tensor.F32, 2)
	b.ValueInfo = append(b.ValueInfo, declared("a", tensor.F32, []int64{2}), declared("c", tensor.F32, []int64{2}))
	b.output("x", tensor.F32, 2)
	b.output("b", tensor.F32, 2)
	b.output("c", tensor.F32, 2)
	b.node("Neg", "x", "a")
	b.node("Exp", "a", "b")
	b.node("Exp", "b", "c")
	model := b.encode()
	want := reference(t, model, map[string]*tensor.Tensor{"x": f32(2)})
	m, g := decode(t, model)
	set(t, m, "x", f32(2))
	run(t, g)
	outputs, err := m.GetOutputTensors()
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"x", "b", "c"} {
		if err := tensor.Compare(ours(t, outputs[i]), want[name], tensor.DefaultTolerance(tensor.F32)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	same(t, m, "a", tensor.Of([]float32{-1, -2}))
}

// A weight may be among the inputs, as it had to be before IR version 4.
func TestWeightsAmongInputs(t *testing.T) {
	b := newModel(9)
	b.input("x", tensor.F32, 2)
	b.input("w", tensor.F32, 2)
	b.constant("w", f32(2))
	b.output("y", tensor.F32, 2)
	b.node("Mul", "x w", "y")
	m, g := decode(t, b.encode())
	if err := m.SetInput(0, gorgonia(f32(2))); err != nil {
		t.Fatal(err)
	}
	run(t, g)
	same(t, m, "y", tensor.Of([]float32{1, 4}))
}

func TestSetOpset(t *testing.T) {
	b := newModel(13)
	b.input("x", tensor.F32, 2, 2, 2)
	b.output("y", tensor.F32, 2, 2, 2)
	b.node("Hardmax", "x", "y", intAttr("axis", 1))
	m, g := decode(t, b.encode())
	set(t, m, "x", f32(2, 2, 2))
	run(t, g)
	same(t, m, "y", tensor.Of([]float32{0, 0, 0, 1, 0, 0, 0, 1}, 2, 2, 2)) // as of 12
	g.SetOpset(13)
	run(t, g)
	same(t, m, "y", tensor.Of([]float32{0, 0, 1, 1, 0, 0, 1, 1}, 2, 2, 2))
}

// The graph can be walked: from a result to what it was made of.
func TestWalk(t *testing.T) {
	m, g := decode(t, classifier())
	n := node(t, m, "probabilities")
	var names []string
	for len(names) < 20 {
		from := g.From(n.ID())
		if !from.Next() {
			break
		}
		next := from.Node().(*onnxgo.Node)
		for from.Next() {
			if c := from.Node().(*onnxgo.Node); g.From(c.ID()).Len() > 0 || c.GetName() == "image" {
				next = c
			}
		}
		n = next
		names = append(names, n.GetName())
	}
	if want := []string{"scores", "flat", "pool", "relu", "norm", "conv", "image"}; !slices.Equal(names, want) {
		t.Errorf("from the output back: %q, want %q", names, want)
	}
}
