package pitopt_test

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
)

// A model is loaded once. Its inputs and outputs have names, and dims that are numbers or
// symbols: every call may bring other sizes.
func ExampleLoad() {
	m, err := pitopt.Load("examples/encoder/model.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for _, in := range m.Inputs() {
		fmt.Println("in ", in.Name, in.Type)
	}
	for _, out := range m.Outputs() {
		fmt.Println("out", out.Name, out.Type)
	}
	// Output:
	// in  input_ids [batch, seq] i64
	// in  attention_mask [batch, seq] i64
	// out embedding [batch, 64] f32
}

// A model that is part of a program is in memory. Options override the pipeline.
func ExampleLoadBytes() {
	data, err := os.ReadFile("examples/encoder/model.onnx")
	if err != nil {
		log.Fatal(err)
	}
	m, err := pitopt.LoadBytes("encoder", data, pitopt.Threads(2), pitopt.Memory(64<<20))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Println(m.TargetName(), m.Threads())
	// Output: cpu 2
}

// Tensors are made over slices of the caller, without a copy. Here two sentences are
// embedded, one of them shorter: its padding is masked and makes no difference.
func ExampleModel_Run() {
	m, err := pitopt.Load("examples/encoder/model.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	both, err := m.Run(context.Background(), map[string]*tensor.Tensor{
		"input_ids":      tensor.Of([]int64{11, 7, 42, 3, 9, 5, 0, 0}, 2, 4),
		"attention_mask": tensor.Of([]int64{1, 1, 1, 1, 1, 1, 0, 0}, 2, 4),
	})
	if err != nil {
		log.Fatal(err)
	}
	short, err := m.Run(context.Background(), map[string]*tensor.Tensor{
		"input_ids":      tensor.Of([]int64{9, 5}, 1, 2),
		"attention_mask": tensor.Of([]int64{1, 1}, 1, 2),
	})
	if err != nil {
		log.Fatal(err)
	}
	batch, alone := both["embedding"], short["embedding"]
	fmt.Println(batch.Shape(), alone.Shape())
	largest := 0.0
	for i, v := range tensor.Data[float32](alone) {
		largest = max(largest, math.Abs(float64(v-tensor.Data[float32](batch)[64+i])))
	}
	fmt.Println("the same:", largest < 1e-5)
	// Output:
	// [2 64] [1 64]
	// the same: true
}

// What can not be says so in the model's own names.
func ExampleModel_Run_errors() {
	m, err := pitopt.Load("examples/encoder/model.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	ids := tensor.New(tensor.I64, 2, 8)
	_, err = m.Run(context.Background(), map[string]*tensor.Tensor{"input_ids": ids})
	fmt.Println(err)
	_, err = m.Run(context.Background(), map[string]*tensor.Tensor{"input_ids": ids, "attention_mask": tensor.New(tensor.I64, 2, 7)})
	fmt.Println(err)
	// Output:
	// examples/encoder/model.onnx: input "attention_mask" is missing; its type is [batch, seq] i64
	// examples/encoder/model.onnx: dim 1 of input "attention_mask" is 7 (shape [2 7]), but "seq" is 8, bound by dim 1 of input "input_ids"
}

// RunInto writes results into memory of the caller, call after call.
func ExampleModel_RunInto() {
	m, err := pitopt.Load("examples/encoder/model.onnx")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	ids, mask := make([]int64, 3), []int64{1, 1, 1}
	embedding := make([]float32, 64)
	inputs := map[string]*tensor.Tensor{"input_ids": tensor.Of(ids, 1, 3), "attention_mask": tensor.Of(mask, 1, 3)}
	outputs := map[string]*tensor.Tensor{"embedding": tensor.Of(embedding, 1, 64)}
	sums := map[float32]bool{}
	for _, sentence := range [][]int64{{1, 2, 3}, {4, 5, 6}, {1, 2, 3}} {
		copy(ids, sentence)
		if err := m.RunInto(context.Background(), inputs, outputs); err != nil {
			log.Fatal(err)
		}
		sum := float32(0)
		for _, v := range embedding {
			sum += v
		}
		sums[sum] = true
	}
	fmt.Println("different results:", len(sums))
	// Output: different results: 2
}

// A pass of one's own stands among those of pitopt, where the pipeline says.
func ExamplePasses() {
	registry := builtin.Registry()
	err := registry.Add(&pass.Pass{
		Name: "count-products",
		Doc:  "Counts matrix products, as a pass that changes nothing.",
		Run: func(_ *pass.Context, m *ir.Module) error {
			n := 0
			m.Main().Walk(func(s *ir.Stmt) {
				if s.Op != nil && (s.Op.Name == "onnx.MatMul" || s.Op.Name == "onnx.Einsum") {
					n++
				}
			})
			fmt.Println(n, "matrix products")
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	pipeline, err := passes.Parse("mine", []byte(`
version = 1
extends = "default"

[[pass]]
name = "count-products"
before = "raise"
`))
	if err != nil {
		log.Fatal(err)
	}
	m, err := pitopt.Load("examples/encoder/model.onnx", pitopt.Passes(registry), pitopt.WithPipeline(pipeline))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	// Output: 18 matrix products
}
