package onnx_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// BenchmarkImport512MiB reads a model of 512 MiB: a chain of 128 products with weights of
// 1024x1024 f32. Time and B/op are those of opening and importing; the file is mapped, and
// its weights are not touched.
func BenchmarkImport512MiB(b *testing.B) {
	const layers, n = 128, 1024
	dims := &wire.Shape{Dims: []*wire.Dim{{Param: "batch"}, {HasValue: true, Value: n}}}
	value := func(name string) *wire.ValueInfo {
		return &wire.ValueInfo{Name: name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: tensor.F32.ONNX(), Shape: dims}}}
	}
	g := &wire.Graph{Name: "chain", Inputs: []*wire.ValueInfo{value("x")}, Outputs: []*wire.ValueInfo{value(fmt.Sprintf("y%d", layers-1))}}
	weights := tensor.New(tensor.F32, n, n)
	last := "x"
	for i := range layers {
		w, y := fmt.Sprintf("w%d", i), fmt.Sprintf("y%d", i)
		g.Initializers = append(g.Initializers, wire.NewTensor(w, weights))
		g.Nodes = append(g.Nodes, &wire.Node{Name: fmt.Sprintf("MatMul_%d", i), OpType: "MatMul", Inputs: []string{last, w}, Outputs: []string{y}})
		last = y
	}
	path := filepath.Join(b.TempDir(), "chain.onnx")
	data := wire.Encode(&wire.Model{IRVersion: 10, OpsetImport: []*wire.OperatorSet{{Version: 21}}, Graph: g})
	if len(data) < 512<<20 {
		b.Fatalf("the model has %d bytes", len(data))
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f, err := wire.Open(path, wire.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		m, _, err := onnx.Import(f)
		if err != nil || len(m.Consts) != layers {
			b.Fatalf("%v, %d constants", err, len(m.Consts))
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
