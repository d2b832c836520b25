package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
)

// TestCommitted: the files in the tree are those that the generator makes, the output but
// for rounding, which depends on the processor.
func TestCommitted(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.onnx", "test_data_set_0/input_0.pb", "test_data_set_0/input_1.pb"} {
		made, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, committed) {
			t.Errorf("%s is not what the generator makes: go run ./examples/encoder/gen", name)
		}
		if len(made) > 1<<20 {
			t.Errorf("%s has %d bytes, more than 1 MiB", name, len(made))
		}
	}
	const output = "test_data_set_0/output_0.pb"
	made, committed := value(t, filepath.Join(dir, output)), value(t, filepath.Join("..", output))
	if err := tensor.Compare(made, committed, tensor.Tolerance{RTol: 1e-5, ATol: 1e-6}); err != nil {
		t.Errorf("%s: %v", output, err)
	}
}

func value(t *testing.T, path string) tensor.Value {
	t.Helper()
	v, err := onnx.ReadValue(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestPadding: what stands where the mask is zero does not change what comes out, nor
// does more of it, on any target.
func TestPadding(t *testing.T) {
	const seq, wide = 9, 12
	inputs := exampleInputs()
	want, err := reference(committed(t), inputs)
	if err != nil {
		t.Fatal(err)
	}
	ids, mask := tensor.New(tensor.I64, 3, wide), tensor.New(tensor.I64, 3, wide)
	for i := range int64(3 * wide) {
		ids.SetInt(i, i%vocabulary)
	}
	for b := range int64(3) {
		for s := range int64(seq) {
			if inputs["attention_mask"].Bool(b*seq + s) {
				ids.SetInt(b*wide+s, inputs["input_ids"].Int(b*seq+s))
				mask.SetInt(b*wide+s, 1)
			}
		}
	}
	for _, target := range []string{"interp", "cpu"} {
		m, err := pitopt.LoadBytes("model.onnx", committed(t), pitopt.Target(target))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Run(context.Background(), map[string]*tensor.Tensor{"input_ids": ids, "attention_mask": mask})
		m.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := tensor.Compare(got["embedding"], want["embedding"], tensor.Tolerance{RTol: 1e-4, ATol: 1e-5}); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func committed(t *testing.T) []byte {
	t.Helper()
	model, err := os.ReadFile(filepath.Join("..", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return model
}
