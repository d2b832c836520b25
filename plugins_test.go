package pitopt_test

import (
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
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/passes"
)

// TestPlugin builds the example of a plugin in its own module, and compiles a model with
// its pass and its operator.
func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "strip-dropout"), ".")
	build.Dir = filepath.Join("examples", "plugin")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := passes.Default()
	f.Plugins = []passes.Plugin{{Name: "acme", Path: filepath.Join(dir, "strip-dropout")}}
	plugins, err := pitopt.OpenPlugins(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	m, err := text.Parse("model", []byte(`module {
  meta opset "" = 21, opset "com.example" = 1
  func @main(%x: [n, 2] f32) -> ("y": [n, 2] f32) {
    %0: [n, 2] f32 = onnx.Dropout(%x)
    %1: [n, 2] f32 = com.example.Square(%0)
    %2: [n, 2] f32 = onnx.Neg(%1)
    return %2
  }
}`), plugins[0].Lookup)
	plugins.Close()
	if err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(dir, "model.onnx")
	if err := onnx.ExportFile(model, m); err != nil {
		t.Fatal(err)
	}
	if _, err := pitopt.Load(model); diag.CodeOf(err) != diag.Unsupported {
		t.Fatalf("without the plugin: %v", err)
	}
	for _, target := range []string{"cpu", "interp"} {
		t.Run(target, func(t *testing.T) {
			pipeline(t, dir, `
[[plugin]]
name = "acme"
path = "./strip-dropout"

[[pass]]
name = "acme/strip-dropout"
after = "deduce"
`)
			var notes, ops []string
			m, err := pitopt.Load(model, pitopt.Target(target), pitopt.Observe(pitopt.Observer{
				Note: func(name, msg string) { notes = append(notes, name+": "+msg) },
				After: func(_ int, s pass.Step, m *ir.Module, _ time.Duration) error {
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
			if want := []string{"com.example.Square", "onnx.Neg"}; !slices.Equal(ops, want) {
				t.Errorf("after the pass there are %q, want %q", ops, want)
			}
			if !slices.Contains(notes, "acme/strip-dropout: 1 dropped") {
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
	pipeline(t, dir, "[[plugin]]\nname = \"acme\"\npath = \"./strip-drapout\"\n")
	_, err = pitopt.Load(model)
	if diag.CodeOf(err) != diag.Plugin || !strings.Contains(err.Error(), "pipeline.toml:3:") {
		t.Errorf("a plugin that is not there: %v", err)
	}
}

// pipeline writes the pipeline of the model in dir: the default one and what is given.
func pipeline(t *testing.T, dir, more string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "pipeline.toml"), []byte("version = 1\nextends = \"default\"\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
}
