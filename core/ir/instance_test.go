package ir_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// instance readies an operator of a module for operands.
func instance(t *testing.T, src, result string, args ...tensor.Value) (*ir.Instance, error) {
	t.Helper()
	m := parse(t, "module {\n  func @main(%x: [*] f32, %y: [*] f32, %k: [*] i64) -> () {\n    "+src+"\n    return\n  }\n}")
	return ir.Instantiate(stmt(m, result), args)
}

// An instance is a program for just these sizes and contents, without symbols.
func TestInstanceIsAProgram(t *testing.T) {
	x := tensor.New(tensor.F32, 2, 6)
	in, err := instance(t, "%r: [*] f32 = onnx.Reshape(%x, %k)", "r", x, tensor.Of([]int64{3, -1}, 2))
	if err != nil {
		t.Fatal(err)
	}
	if in.Program == nil || in.Func != nil || in.Kernel || len(in.Program.Syms) > 0 || in.Out[0].String() != "[3, 4] f32" {
		t.Errorf("got %+v", in)
	}
	if !slices.Equal(in.Args, []int{0}) { // the shape was read already
		t.Errorf("parameters are operands %v", in.Args)
	}
	if err := ir.VerifyProgram(in.Program); err != nil {
		t.Error(err)
	}
	in, err = instance(t, "%r: [*] f32 = onnx.Clip(%x, _, %y)", "r", x, nil, tensor.Scalar(float32(1)))
	if err != nil || !slices.Equal(in.Args, []int{0, 2}) {
		t.Errorf("parameters are operands %v (%v): one is left out", in.Args, err)
	}
	in, err = instance(t, "_, %i: [*] i64 = onnx.MaxPool(%x) {kernel_shape = [2]}", "i", tensor.New(tensor.F32, 1, 1, 4))
	if err != nil || len(in.Out) != 1 || in.Out[0].String() != "[1, 1, 3] i64" {
		t.Errorf("results are %v (%v): one is not asked for", in.Out, err)
	}
}

// What no program says is the function that the operator stands for, or its reference
// implementation.
func TestInstanceIsAFunctionOrAKernel(t *testing.T) {
	x, w := tensor.New(tensor.F32, 3, 1, 2), tensor.New(tensor.F32, 1, 4, 2)
	r := tensor.New(tensor.F32, 1, 4, 4)
	in, err := instance(t, "%h: [*] f32, _ = onnx.RNN(%x, %y, %x) {hidden_size = 4}", "h", x, w, r)
	if err != nil {
		t.Fatal(err)
	}
	if in.Func == nil || in.Program != nil || in.Kernel || len(in.Func.Params) != 3 || in.Func.Params[0].Type.String() != "[3, 1, 2] f32" {
		t.Errorf("got %+v", in)
	}
	in.Module.Funcs = []*ir.Func{in.Func}
	if err := ir.Verify(in.Module); err != nil {
		t.Errorf("the function is not valid: %v", err)
	}
	in, err = instance(t, "%n: [*] i64 = onnx.NonZero(%x)", "n", x)
	if err != nil || !in.Kernel || in.Func != nil || in.Program != nil {
		t.Errorf("got %+v, %v", in, err)
	}
}

// Operands come with the run: what is wrong with them is a failed run, not a malformed
// model.
func TestInstanceErrors(t *testing.T) {
	x := tensor.New(tensor.F32, 2, 3)
	for _, c := range []struct {
		src  string
		args []tensor.Value
		code diag.Code
		says string
	}{
		{`%r: [*] f32 = onnx.MatMul(%x, %y) @ "layer/0"`, []tensor.Value{x, x}, diag.Run, `node "layer/0" (MatMul): inner dims 3 and 2`},
		{"%r: [*] f32 = onnx.Reshape(%x, %k)", []tensor.Value{x, tensor.Of([]int64{4}, 1)}, diag.Run, "Reshape"},
		{"%r: [*] f32 = onnx.Add(%x, %y)", []tensor.Value{x, tensor.New(tensor.F16, 3)}, diag.Run, "element type f16"},
		{"%r: [*] f32 = onnx.Add(%x, %y)", []tensor.Value{x, nil}, diag.Run, "is missing"},
		{"%r: [*] f32 = unknown 3 acme.Magic(%x)", []tensor.Value{x}, diag.Unsupported, "unsupported operator acme.Magic, version 3"},
	} {
		_, err := instance(t, c.src, "r", c.args...)
		if diag.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v (code %d), want %q", c.src, err, diag.CodeOf(err), c.says)
		}
	}
}
