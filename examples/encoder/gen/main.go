// The generator of the example model: a small transformer encoder that is written with
// the project's own writer, and one test case for it.
//
//	go run ./examples/encoder/gen            # writes examples/encoder
//	go run ./examples/encoder/gen -o /tmp/e  # writes elsewhere
//
//	pitopt test examples/encoder
//	pitopt -dim batch=3 -dim seq=9 examples/encoder/model.onnx
//
// The model has what pitopt is for: two dims known only at run time (batch and seq), a
// mask that says which tokens are padding, and a mixture of experts, most of whose work
// is multiplied by zero. Its weights are random, from a fixed seed: the same bytes come
// out on every machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

func main() {
	out := flag.String("o", filepath.Join("examples", "encoder"), "the `folder` to write to")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// write makes model.onnx and test_data_set_0 in dir.
func write(dir string) error {
	model := wire.Encode(encoder())
	inputs := exampleInputs()
	outputs, err := reference(model, inputs)
	if err != nil {
		return err
	}
	set := filepath.Join(dir, "test_data_set_0")
	if err := os.MkdirAll(set, 0o755); err != nil {
		return err
	}
	files := map[string][]byte{
		filepath.Join(dir, "model.onnx"):  model,
		filepath.Join(set, "input_0.pb"):  onnx.EncodeValue("input_ids", inputs["input_ids"]),
		filepath.Join(set, "input_1.pb"):  onnx.EncodeValue("attention_mask", inputs["attention_mask"]),
		filepath.Join(set, "output_0.pb"): onnx.EncodeValue("embedding", outputs["embedding"]),
	}
	for path, data := range files {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// exampleInputs are three sequences of 9, 5 and 7 tokens, padded with token 0.
func exampleInputs() map[string]*tensor.Tensor {
	const seq = 9
	lengths := []int{9, 5, 7}
	ids := make([]int64, len(lengths)*seq)
	mask := make([]int64, len(lengths)*seq)
	for b, n := range lengths {
		for s := range n {
			ids[b*seq+s] = int64(1 + (7*s+31*b)%(vocabulary-1))
			mask[b*seq+s] = 1
		}
	}
	return map[string]*tensor.Tensor{
		"input_ids":      tensor.Of(ids, int64(len(lengths)), seq),
		"attention_mask": tensor.Of(mask, int64(len(lengths)), seq),
	}
}

// reference runs the model with the reference interpreter.
func reference(model []byte, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	m, err := pitopt.LoadBytes("model.onnx", model, pitopt.Target("interp"))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.Run(context.Background(), inputs)
}
