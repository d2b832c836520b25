package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/gomlx/backends"
	"github.com/pitopt/pitopt/bench/protocol"
	"github.com/pitopt/pitopt/core/tensor"
)

// A request for several sets of inputs runs each of them.
func TestSetsInTurn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "m.pit")
	src := `module {
  func @main(%x: [n] f32) -> ("y": [n] f32) {
    %y: [n] f32 = onnx.Mul(%x, %x)
    return %y
  }
}`
	if err := os.WriteFile(file, []byte(src), 0o666); err != nil {
		t.Fatal(err)
	}
	w := &worker{models: map[string]*model{}}
	var err error
	if w.backend, err = backends.NewWithConfig("go"); err != nil {
		t.Fatal(err)
	}
	ask := func(r protocol.Request) protocol.Answer {
		t.Helper()
		a, err := w.do(&r)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ask(protocol.Request{Op: "load", Model: "m", Path: file})
	sets := []string{"a", "b", "c"}
	for i, set := range sets {
		x := filepath.Join(dir, set+".npy")
		f, err := os.Create(x)
		if err != nil {
			t.Fatal(err)
		}
		if err := tensor.WriteNPY(f, tensor.Of([]float32{float32(i), 2}, 2)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		ask(protocol.Request{Op: "inputs", Model: "m", Set: set, Files: map[string]string{"x": x}})
	}
	ask(protocol.Request{Op: "run", Model: "m", Set: sets[0], More: sets[1:], N: 2})
	for _, set := range sets {
		if a := ask(protocol.Request{Op: "write", Model: "m", Set: set, Dir: dir}); a.Outputs != 1 {
			t.Errorf("set %s has %d results", set, a.Outputs)
		}
	}
}
