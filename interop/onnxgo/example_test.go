package onnxgo_test

import (
	"fmt"
	"log"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/pitopt/pitopt/interop/onnxgo" // with Gorgonia: github.com/owulveryck/onnx-go/backend/x/gorgonnx
)

// A program of onnx-go with pitopt as its backend. With Gorgonia the first line would be
// backend := gorgonnx.NewGraph(), and nothing else would differ.
func Example() {
	backend := onnxgo.NewGraph()
	model := onnx.NewModel(backend)

	b := classifier() // or read a file
	if err := model.UnmarshalBinary(b); err != nil {
		log.Fatal(err)
	}
	picture := tensor.New(tensor.WithShape(1, 1, 8, 8), tensor.WithBacking(tensor.Range(tensor.Float32, 0, 64)))
	if err := model.SetInput(0, picture); err != nil {
		log.Fatal(err)
	}
	if err := backend.Run(); err != nil {
		log.Fatal(err)
	}
	output, err := model.GetOutputTensors()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(output[0].Shape())
	fmt.Printf("%.3f\n", output[0].Data())
	// Output:
	// (1, 3)
	// [0.231 0.007 0.762]
}
