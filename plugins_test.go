package pitopt_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

var update = flag.Bool("update", false, "write examples/plugin/model.onnx")

// pluginModel is the model of examples/plugin: y = -x², with a Dropout that does nothing
// and an operator that nobody knows but the plugin.
func pluginModel() []byte {
	value := func(name string) *wire.ValueInfo {
		return &wire.ValueInfo{Name: name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: tensor.F32.ONNX(),
			Shape: &wire.Shape{Dims: []*wire.Dim{{Param: "n"}, {HasValue: true, Value: 2}}}}}}
	}
	return wire.Encode(&wire.Model{
		IRVersion:    10,
		OpsetImport:  []*wire.OperatorSet{{Version: 21}, {Domain: "com.example", Version: 1}},
		ProducerName: "pitopt",
		Graph: &wire.Graph{
			Name: "example",
			Nodes: []*wire.Node{
				{Name: "drop", OpType: "Dropout", Inputs: []string{"x"}, Outputs: []string{"kept"}},
				{Name: "square", Domain: "com.example", OpType: "Square", Inputs: []string{"kept"}, Outputs: []string{"squared"}},
				{Name: "neg", OpType: "Neg", Inputs: []string{"squared"}, Outputs: []string{"y"}},
			},
			Inputs:  []*wire.ValueInfo{value("x")},
			Outputs: []*wire.ValueInfo{value("y")},
		},
	})
}

func TestPluginModel(t *testing.T) {
	const path = "examples/plugin/model.onnx"
	want := pluginModel()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what this test makes (%v); go test . -run TestPluginModel -update writes it", path, err)
	}
}

// TestPlugin builds the example of a plugin in its own module, and compiles its model
// with its pass and its operator.
func TestPlugin(t *testing.T) {
	const example = "examples/plugin"
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, ".")
	build.Dir = example
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"model.onnx", "pipeline.toml"} {
		data, err := os.ReadFile(filepath.Join(example, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	model := filepath.Join(dir, "model.onnx")
	if _, err := pitopt.Load(filepath.Join(example, "model.onnx"), pitopt.Pipeline("pipeline.toml")); diag.CodeOf(err) != diag.Unsupported {
		t.Fatalf("without the plugin: %v", err)
	}
	for _, target := range []string{"cpu", "interp"} {
		t.Run(target, func(t *testing.T) {
			var notes, names, ops []string
			m, err := pitopt.Load(model, pitopt.Target(target), pitopt.Observe(pitopt.Observer{
				Note: func(name, msg string) { notes = append(notes, name+": "+msg) },
				After: func(_ int, s pass.Step, m *ir.Module, _ time.Duration) error {
					names = append(names, s.Pass.Name)
					if s.Pass.Name == "acme/strip-dropout" {
						m.Main().Walk(func(s *ir.Stmt) { ops = append(ops, s.OpName()) })
					}
					return nil
				},
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if i := slices.Index(names, "acme/strip-dropout"); i < 1 || names[i-1] != "deduce" || i+1 == len(names) {
				t.Errorf("the passes are %q", names)
			}
			if want := []string{"com.example.Square", "onnx.Neg"}; !slices.Equal(ops, want) {
				t.Errorf("after the pass there are %q, want %q", ops, want)
			}
			if !slices.Contains(notes, "acme/strip-dropout: 1 removed") {
				t.Errorf("notes %q", notes)
			}
			out, err := m.Run(t.Context(), map[string]*tensor.Tensor{"x": tensor.Of([]float32{1, 2, 3, 4}, 2, 2)})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(tensor.Data[float32](out["y"])); got != "[-1 -4 -9 -16]" {
				t.Errorf("got %s", got)
			}
		})
	}
	if err := os.Rename(filepath.Join(dir, "strip-dropout"), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	_, err := pitopt.Load(model)
	if diag.CodeOf(err) != diag.Plugin || !strings.Contains(err.Error(), "pipeline.toml:4:") {
		t.Errorf("a plugin that is not there: %v", err)
	}
}
