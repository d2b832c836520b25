package runtime_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// spy is a device that remembers where results lay.
type spy struct {
	runtime.Device
	wrote map[*byte]bool
}

func (d spy) Run(ctx context.Context, kernel string, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem runtime.Memory) error {
	for _, t := range results {
		if len(t.Bytes()) > 0 {
			d.wrote[&t.Bytes()[0]] = true
		}
	}
	return d.Device.Run(ctx, kernel, p, bind, args, results, mem)
}

const into = `module {
  const @w: [2] f32 = {1, 2}
  func @main(%x: [n] f32, %y: [n] f32) -> ("sum": [n] f32, "column": [n, 1] f32, "difference": [n] f32, "again": [n] f32, "w": [2] f32, "x": [n] f32) {
    %s: [n] f32 = onnx.Add(%x, %y)
    %d: [n] f32 = call @sub[n](%x, %y)
    %c: [n, 1] f32 = vm.view(%d) {type = type [n, 1] f32}
    %e: [n] f32 = match_cast(%s)
    %f: [n] f32 = onnx.Sub(%e, %y)
    return %e, %c, %d, %f, @w, %x
  }
  program @sub[n](X: [n] f32, Y: [n] f32) -> (Z: [n] f32) {
    Z[i < n] = (X[i] - Y[i])
  }
}`

// Results are computed where the caller wants them, through views and casts, too. What
// shares memory with something else gets there in the end.
func TestRunInto(t *testing.T) {
	d := spy{cpu.New(1), map[*byte]bool{}}
	x := load(t, module(t, into), d, runtime.Options{})
	outputs := []*tensor.Tensor{list(9, 9), tensor.New(tensor.F32, 2, 1), list(9, 9), list(9, 9), list(9, 9), list(9, 9)}
	a, b := list(10, 20), list(1, 2)
	for range 2 {
		if err := x.RunInto(context.Background(), []tensor.Value{a, b}, outputs); err != nil {
			t.Fatal(err)
		}
		for i, want := range []*tensor.Tensor{list(11, 22), tensor.Of([]float32{9, 18}, 2, 1), list(9, 18), list(10, 20), list(1, 2), list(10, 20)} {
			equal(t, outputs[i], want)
		}
	}
	for i, want := range []bool{true, true, false, true, false, false} {
		if got := d.wrote[&outputs[i].Bytes()[0]]; got != want {
			t.Errorf("output %d: computed in place is %v, want %v", i, got, want)
		}
	}
	if err := x.RunInto(context.Background(), []tensor.Value{tensor.New(tensor.F32, 0), tensor.New(tensor.F32, 0)},
		[]*tensor.Tensor{tensor.New(tensor.F32, 0), tensor.New(tensor.F32, 0, 1), tensor.New(tensor.F32, 0), tensor.New(tensor.F32, 0), list(0, 0), tensor.New(tensor.F32, 0)}); err != nil {
		t.Error(err)
	}
}

// Outputs may be inputs, and parts of each other.
func TestRunIntoSharedMemory(t *testing.T) {
	two := open(t, `module {
  func @main(%x: [n] f32, %y: [n] f32) -> ("y": [n] f32, "x": [n] f32) { return %y, %x }
}`)
	a, b := list(1, 2), list(3, 4)
	if err := two.RunInto(context.Background(), []tensor.Value{a, b}, []*tensor.Tensor{a, b}); err != nil {
		t.Fatal(err)
	}
	equal(t, a, list(3, 4))
	equal(t, b, list(1, 2))

	// The sum is written over an operand of the difference.
	sums := open(t, `module {
  func @main(%x: [n] f32, %y: [n] f32) -> ("s": [n] f32, "d": [n] f32) {
    %s: [n] f32 = onnx.Add(%x, %y)
    %d: [n] f32 = onnx.Sub(%x, %y)
    return %s, %d
  }
}`)
	if err := sums.RunInto(context.Background(), []tensor.Value{a, b}, []*tensor.Tensor{a, b}); err != nil {
		t.Fatal(err)
	}
	equal(t, a, list(4, 6))
	equal(t, b, list(2, 2))

	// Part of an input, shifted by one element.
	long := []float32{1, 2, 3, 4, 5, 0}
	shift := open(t, `module {
  func @main(%x: [n] f32) -> ("x": [n] f32) { return %x }
}`)
	if err := shift.RunInto(context.Background(), []tensor.Value{tensor.Of(long[:5])}, []*tensor.Tensor{tensor.Of(long[1:])}); err != nil {
		t.Fatal(err)
	}
	equal(t, tensor.Of(long), list(1, 1, 2, 3, 4, 5))

	// Two outputs in the same memory: the last one stays.
	one := list(0, 0)
	if err := sums.RunInto(context.Background(), []tensor.Value{list(5, 6), list(1, 1)}, []*tensor.Tensor{one, one}); err != nil {
		t.Fatal(err)
	}
	equal(t, one, list(4, 5))

	// One result in the memory of another one that is copied, strings among them.
	words := open(t, `module {
  func @main(%x: [n] str, %y: [n] str) -> ("y": [n] str, "x": [n] str, "z": [n, 1] str) {
    %z: [n, 1] str = vm.view(%x) {type = type [n, 1] str}
    return %y, %x, %z
  }
}`)
	s, u, w := tensor.Of([]string{"a", "b"}), tensor.Of([]string{"c", "d"}), tensor.New(tensor.String, 2, 1)
	if err := words.RunInto(context.Background(), []tensor.Value{s, u}, []*tensor.Tensor{s, u, w}); err != nil {
		t.Fatal(err)
	}
	equal(t, s, tensor.Of([]string{"c", "d"}))
	equal(t, u, tensor.Of([]string{"a", "b"}))
	equal(t, w, tensor.Of([]string{"a", "b"}, 2, 1))
}

func TestRunIntoErrors(t *testing.T) {
	x := open(t, into)
	in := []tensor.Value{list(1, 2), list(3, 4)}
	good := func() []*tensor.Tensor {
		return []*tensor.Tensor{list(0, 0), tensor.New(tensor.F32, 2, 1), list(0, 0), list(0, 0), list(0, 0), list(0, 0)}
	}
	for _, c := range []struct {
		change func([]*tensor.Tensor) []*tensor.Tensor
		want   string
	}{
		{func(o []*tensor.Tensor) []*tensor.Tensor { return o[1:] }, "5 tensors for 6 results"},
		{func(o []*tensor.Tensor) []*tensor.Tensor { o[1] = nil; return o }, `output "column" is missing`},
		{func(o []*tensor.Tensor) []*tensor.Tensor { o[0] = list(1, 2, 3); return o }, `output "sum" is [2] f32, the tensor given for it is [3] f32`},
		{func(o []*tensor.Tensor) []*tensor.Tensor { o[1] = list(1, 2); return o }, `output "column" is [2, 1] f32, the tensor given for it is [2] f32`},
		{func(o []*tensor.Tensor) []*tensor.Tensor { o[3] = tensor.New(tensor.I32, 2); return o }, `output "again" is [2] f32, the tensor given for it is [2] i32`},
		{func(o []*tensor.Tensor) []*tensor.Tensor { o[5] = tensor.New(tensor.F32, 0); return o }, `output "x" is [2] f32, the tensor given for it is [0] f32`},
	} {
		if err := x.RunInto(context.Background(), in, c.change(good())); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if err := x.RunInto(context.Background(), in, good()); err != nil {
		t.Error(err)
	}
	seq := open(t, `module { func @main(%x: seq([*] f32)) -> (seq([*] f32)) { return %x } }`)
	if err := seq.RunInto(context.Background(), []tensor.Value{&tensor.Sequence{}}, []*tensor.Tensor{list(1)}); err == nil || !strings.Contains(err.Error(), "is seq(") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkRunInto is what the machine takes for a run of one statement.
func BenchmarkRunInto(b *testing.B) {
	x := load(b, module(b, `module {
  func @main(%x: [n] f32) -> ("y": [n] f32) {
    %y: [n] f32 = call @inc[n](%x)
    return %y
  }
  program @inc[n](X: [n] f32) -> (Y: [n] f32) {
    Y[i < n] = (X[i] + f32 1)
  }
}`), nothing{}, runtime.Options{})
	in, out := []tensor.Value{ramp(1000)}, []*tensor.Tensor{ramp(1000)}
	b.ReportAllocs()
	for b.Loop() {
		if err := x.RunInto(context.Background(), in, out); err != nil {
			b.Fatal(err)
		}
	}
}

// nothing is a device that computes nothing.
type nothing struct{ runtime.Device }

func (nothing) Workspace(string, *ir.Program, []int64, func(int) bool) ([]int64, error) {
	return nil, nil
}
func (nothing) Run(context.Context, string, *ir.Program, []int64, []*tensor.Tensor, []*tensor.Tensor, runtime.Memory) error {
	return nil
}
