package onnxgo_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	gt "gorgonia.org/tensor"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/interop/onnxgo"
)

// identity makes a graph by hand that gives x back, and gives x's node.
func identity(t *testing.T) (g *onnxgo.Graph, x, y *onnxgo.Node) {
	t.Helper()
	g = onnxgo.NewGraph()
	x, y = addNode(g, "x"), addNode(g, "y")
	return g, x, y
}

func addNode(g *onnxgo.Graph, name string) *onnxgo.Node {
	n := g.NewNode().(*onnxgo.Node)
	n.SetName(name)
	g.AddNode(n)
	return n
}

func apply(t *testing.T, g *onnxgo.Graph, op string, y, x *onnxgo.Node) {
	t.Helper()
	g.SetWeightedEdge(g.NewWeightedEdge(y, x, 0))
	if err := g.ApplyOperation(onnx.Operation{Name: op}, y); err != nil {
		t.Fatal(err)
	}
}

// through sends a tensor through a graph, once as an input and once as a weight.
func through(t *testing.T, x gt.Tensor, then func(kind string, y gt.Tensor)) {
	t.Helper()
	for _, kind := range []string{"input", "weight"} {
		g, in, out := identity(t)
		if kind == "weight" {
			if err := in.SetTensor(x); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, g, "Identity", out, in)
		if kind == "input" {
			if err := in.SetTensor(x); err != nil {
				t.Fatal(err)
			}
		}
		run(t, g)
		then(kind, out.GetTensor())
	}
}

func elementType[T, Back comparable](t *testing.T, data []T, want []Back) {
	t.Helper()
	through(t, gt.New(gt.WithShape(1, len(data)), gt.WithBacking(data)), func(kind string, y gt.Tensor) {
		got, ok := y.Data().([]Back)
		if !ok || !slices.Equal(got, want) || !slices.Equal(y.Shape(), gt.Shape{1, len(data)}) {
			t.Errorf("%T as %s: %v of %s, shape %v; want %v", data, kind, y.Data(), y.Dtype(), y.Shape(), want)
		}
	})
	// Rank 0, and one element. Gorgonia gives the data of rank 0 as a value.
	for _, shape := range []gt.Shape{{}, {1}} {
		through(t, gt.New(gt.WithShape(shape...), gt.WithBacking(data[:1])), func(kind string, y gt.Tensor) {
			got, ok := y.Data().([]Back)
			if len(shape) == 0 {
				got = make([]Back, 1)
				got[0], ok = y.Data().(Back)
			}
			if !ok || len(got) != 1 || got[0] != want[0] || len(y.Shape()) != len(shape) {
				t.Errorf("%T of shape %v as %s: %v of %s, shape %v", data, shape, kind, y.Data(), y.Dtype(), y.Shape())
			}
		})
	}
	through(t, gt.New(gt.WithShape(2, 0), gt.WithBacking([]T{})), func(kind string, y gt.Tensor) {
		if !slices.Equal(y.Shape(), gt.Shape{2, 0}) {
			t.Errorf("%T without elements as %s: shape %v", data, kind, y.Shape())
		}
	})
}

func TestElementTypes(t *testing.T) {
	f32s := []float32{-1.5, 3, float32(math.Inf(1))}
	f64s := []float64{-1.5, math.MaxFloat64, 0}
	elementType(t, f32s, f32s)
	elementType(t, f64s, f64s)
	elementType(t, []int8{-128, 127}, []int8{-128, 127})
	elementType(t, []int16{-32768, 5}, []int16{-32768, 5})
	elementType(t, []int32{math.MinInt32, 5}, []int32{math.MinInt32, 5})
	elementType(t, []int64{math.MinInt64, 5}, []int64{math.MinInt64, 5})
	elementType(t, []int{math.MinInt32, 5}, []int64{math.MinInt32, 5})
	elementType(t, []uint8{255, 1}, []uint8{255, 1})
	elementType(t, []uint16{65535, 1}, []uint16{65535, 1})
	elementType(t, []uint32{math.MaxUint32, 1}, []uint32{math.MaxUint32, 1})
	elementType(t, []uint64{math.MaxUint64, 1}, []uint64{math.MaxUint64, 1})
	elementType(t, []uint{math.MaxUint32, 1}, []uint64{math.MaxUint32, 1})
	elementType(t, []bool{true, false}, []bool{true, false})
	elementType(t, []string{"a", ""}, []string{"a", ""})
	elementType(t, []complex64{1 - 2i, 3}, []complex64{1 - 2i, 3})
	elementType(t, []complex128{1 - 2i, 3}, []complex128{1 - 2i, 3})
}

// interval is a slice of a dim: from, to, step.
type interval [3]int

func (i interval) Start() int { return i[0] }
func (i interval) End() int   { return i[1] }
func (i interval) Step() int  { return i[2] }

func at(n int) gt.Slice                { return interval{n, n + 1, 0} }
func span(from, to, step int) gt.Slice { return interval{from, to, step} }

// Elements come in row-major order, however the tensor has them.
func TestLayouts(t *testing.T) {
	matrix := func() *gt.Dense { // 0 1 2 / 3 4 5
		return gt.New(gt.WithShape(2, 3), gt.WithBacking([]float32{0, 1, 2, 3, 4, 5}))
	}
	transposed := matrix()
	if err := transposed.T(); err != nil {
		t.Fatal(err)
	}
	moved := matrix()
	if err := moved.T(); err != nil {
		t.Fatal(err)
	}
	if err := moved.Transpose(); err != nil {
		t.Fatal(err)
	}
	slice := func(d gt.Tensor, s ...gt.Slice) gt.Tensor {
		v, err := d.Slice(s...)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	cube := gt.New(gt.WithShape(2, 3, 4), gt.WithBacking(gt.Range(gt.Float32, 0, 24)))
	turned := cube.Clone().(*gt.Dense)
	if err := turned.T(2, 0, 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		x    gt.Tensor
		want *tensor.Tensor
	}{
		{"in order", matrix(), tensor.Of([]float32{0, 1, 2, 3, 4, 5}, 2, 3)},
		{"transposed", transposed, tensor.Of([]float32{0, 3, 1, 4, 2, 5}, 3, 2)},
		{"transposed and moved", moved, tensor.Of([]float32{0, 3, 1, 4, 2, 5}, 3, 2)},
		{"columns", slice(matrix(), nil, span(1, 3, 1)), tensor.Of([]float32{1, 2, 4, 5}, 2, 2)},
		{"one column", slice(matrix(), nil, at(1)), tensor.Of([]float32{1, 4}, 2)},
		{"one row", slice(matrix(), at(1)), tensor.Of([]float32{3, 4, 5}, 3)},
		{"every other column", slice(matrix(), nil, span(0, 3, 2)), nil},
		{"one element", slice(matrix(), at(1), at(1)), tensor.Scalar(float32(4))},
		{"column-major", gt.New(gt.WithShape(2, 3), gt.AsFortran([]float32{0, 1, 2, 3, 4, 5})), tensor.Of([]float32{0, 1, 2, 3, 4, 5}, 2, 3)},
		{"column-major, one column", gt.New(gt.WithShape(3, 1), gt.AsFortran([]float32{0, 1, 2})), tensor.Of([]float32{0, 1, 2}, 3, 1)},
		{"three axes turned", turned, nil},
		{"sparse", gt.CSRFromCoord(gt.Shape{2, 3}, []int{0, 1}, []int{1, 2}, []float32{7, 8}), tensor.Of([]float32{0, 7, 0, 0, 0, 8}, 2, 3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == nil { // as the tensor itself has it, element by element
				want = byElement(t, c.x)
			}
			through(t, c.x, func(kind string, y gt.Tensor) {
				if got := ours(t, y); !tensor.Equal(got, want) {
					t.Errorf("as %s: %v, want %v", kind, got, want)
				}
			})
		})
	}
}

// byElement asks a tensor for its elements one by one.
func byElement(t *testing.T, x gt.Tensor) *tensor.Tensor {
	t.Helper()
	shape := make([]int64, len(x.Shape()))
	for i, n := range x.Shape() {
		shape[i] = int64(n)
	}
	out := tensor.New(tensor.F32, shape...)
	index := make([]int, len(shape))
	for i := range out.Len() {
		for d, rest := len(shape)-1, int(i); d >= 0; d-- {
			index[d], rest = rest%int(shape[d]), rest/int(shape[d])
		}
		v, err := x.At(index...)
		if err != nil {
			t.Fatal(err)
		}
		out.SetFloat(i, float64(v.(float32)))
	}
	return out
}

// A tensor of another element type than the model declares is taken if nothing is lost.
func TestDeclaredType(t *testing.T) {
	b := newModel(9)
	b.input("x", tensor.I64, 2)
	b.output("y", tensor.I64, 2)
	b.node("Add", "x x", "y")
	m, g := decode(t, b.encode())
	for _, x := range []any{[]int{1, -2}, []int32{1, -2}, []float32{1, -2}, []float64{1, -2}} {
		if err := m.SetInput(0, gt.New(gt.WithShape(2), gt.WithBacking(x))); err != nil {
			t.Fatal(err)
		}
		run(t, g)
		same(t, m, "y", tensor.Of([]int64{2, -4}))
	}
	for _, x := range []any{[]float32{1.5, 2}, []float64{math.NaN(), 2}, []uint64{1 << 63, 1}, []string{"1", "2"}} {
		if err := m.SetInput(0, gt.New(gt.WithShape(2), gt.WithBacking(x))); err != nil {
			t.Fatal(err)
		}
		if err := g.Run(); err == nil || !strings.Contains(err.Error(), "not all of whose elements") {
			t.Errorf("%v: %v", x, err)
		}
	}
}
