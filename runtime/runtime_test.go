package runtime_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
	"github.com/pitopt/pitopt/runtime/runtimetest"
)

func module(t testing.TB, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse("t", []byte(src), nil)
	if err == nil {
		err = ir.Verify(m)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return m
}

// load loads a module, and makes sure that no run leaves memory in use.
func load(t testing.TB, m *ir.Module, dev runtime.Device, o runtime.Options) *runtime.Executable {
	t.Helper()
	x, err := runtime.Load(m, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := x.InUse(); n != 0 {
			t.Errorf("%d bytes are in use after all runs", n)
		}
	})
	return x
}

func open(t testing.TB, src string) *runtime.Executable {
	return load(t, module(t, src), cpu.New(2), runtime.Options{})
}

// ramp is a list of whole numbers from 0 on.
func ramp(shape ...int64) *tensor.Tensor {
	x := tensor.New(tensor.F32, shape...)
	for i := range x.Len() {
		x.SetInt(i, i)
	}
	return x
}

func list(v ...float32) *tensor.Tensor { return tensor.Of(v) }

func equal(t testing.TB, got, want tensor.Value) {
	t.Helper()
	if err := tensor.Compare(got, want, tensor.Tolerance{}); err != nil {
		t.Error(err)
	}
}

func run(t testing.TB, x *runtime.Executable, inputs ...tensor.Value) []tensor.Value {
	t.Helper()
	out, err := x.Run(context.Background(), inputs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The suite, under a budget, with all memory given back after each case.
func TestSuite(t *testing.T) {
	runtimetest.Run(t, func(t testing.TB, m *ir.Module) runtimetest.Runner {
		return load(t, m, cpu.New(1), runtime.Options{MaxBytes: 1 << 30}).Run
	})
}

func TestLoadErrors(t *testing.T) {
	if _, err := runtime.Load(ir.NewModule("none"), cpu.New(1), runtime.Options{}); err == nil || !strings.Contains(err.Error(), "no function @main") {
		t.Errorf("got %v", err)
	}
}

// Results are the caller's alone: writing to them changes no constant, no input, no other
// result, and no later run.
func TestResultsAreTheCallersAlone(t *testing.T) {
	x := open(t, `module {
  const @w: [2] f32 = {1, 2}
  const @s: [1] str = {"a"}
  func @main(%x: [2] f32, %q: seq([*] f32)) -> ([2] f32, [2, 1] f32, [2] f32, [2] f32, [1] str, seq([*] f32)) {
    %v: [2, 1] f32 = vm.view(@w) {type = type [2, 1] f32}
    %y: [2] f32 = onnx.Relu(%x)
    return @w, %v, %y, %y, @s, %q
  }
}`)
	in, elem := list(3, 4), list(5)
	seq := &tensor.Sequence{Elems: []tensor.Value{elem, elem, in}}
	for range 2 {
		out := run(t, x, in, seq)
		equal(t, out[0], list(1, 2))
		equal(t, out[1], tensor.Of([]float32{1, 2}, 2, 1))
		equal(t, out[2], list(3, 4))
		equal(t, out[3], list(3, 4))
		equal(t, out[4], tensor.Of([]string{"a"}))
		equal(t, out[5], &tensor.Sequence{Elems: []tensor.Value{list(5), list(5), list(3, 4)}})
		n := 0
		for _, v := range append(out[:5], out[5].(*tensor.Sequence).Elems...) {
			if r := v.(*tensor.Tensor); r.DType() == tensor.F32 {
				n++
				for i := range r.Len() {
					if r.Float(i) < 0 {
						t.Errorf("result %d shares memory with one before", n)
					}
					r.SetFloat(i, -1)
				}
			} else {
				r.SetStr(0, "changed")
			}
		}
		if n != 7 {
			t.Fatalf("%d results were written to", n)
		}
	}
	equal(t, in, list(3, 4))
	equal(t, elem, list(5))
}

const chain = `module {
  func @main(%x: [n] f32) -> ([n] f32, [] f32) {
    %a: [n] f32 = onnx.Relu(%x)
    %b: [n] f32 = onnx.Neg(%a)
    vm.release(%a)
    %c: [n] f32 = onnx.Exp(%b)
    vm.release(%b)
    %d: [] f32 = onnx.ReduceSum(%c) {keepdims = 0}
    return %c, %d
  }
}`

// The budget is kept to the byte: two lists and a number at the same time.
func TestBudget(t *testing.T) {
	for _, c := range []struct {
		budget int64
		fails  string
	}{
		{0, ""},
		{8000, ""},
		{7999, "the run needs more than its budget of 7999 bytes: 4000 are in use, 4000 more are needed; raise `memory`"},
		{3999, "the run needs more than its budget of 3999 bytes: 0 are in use, 4000 more are needed"},
	} {
		x := load(t, module(t, chain), cpu.New(1), runtime.Options{MaxBytes: c.budget})
		for range 2 { // a run that failed leaves nothing behind
			out, stats, err := x.Call(context.Background(), []tensor.Value{ramp(1000)}, nil, nil)
			switch {
			case c.fails == "" && (err != nil || stats.PeakBytes != 8000 || len(out) != 2):
				t.Errorf("budget %d: got %d results, %d bytes, %v", c.budget, len(out), stats.PeakBytes, err)
			case c.fails != "" && (err == nil || out != nil || diag.CodeOf(err) != diag.Run || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("budget %d: got %v, %v", c.budget, out, err)
			case stats.PeakBytes > max(c.budget, 8000):
				t.Errorf("budget %d: %d bytes", c.budget, stats.PeakBytes)
			}
			if x.InUse() != 0 {
				t.Errorf("budget %d: %d bytes are in use", c.budget, x.InUse())
			}
		}
	}
}

// Whatever the budget, a run is right or says that the budget is too small.
func TestEveryBudget(t *testing.T) {
	m := module(t, `module {
  func @main(%x: [n, m] f32, %w: [m, n] f32, %c: [] bool) -> ([n, n] f32, [2, k] i64) {
    %y: [n, n] f32 = call @p[m, n](%x, %w)
    %z: [n, n] f32 = onnx.Softmax(%y)
    %i: [n, n] f32 = onnx.If(%c) { ()
      %t: [n, n] f32 = onnx.Transpose(%z) {perm = [1, 0]}
      yield %t
    } { ()
      yield %z
    }
    %k: [2, k] i64 = onnx.NonZero(%i)
    return %i, %k
  }
  program @p[m, n](X: [n, m] f32, W: [m, n] f32) -> (Y: [n, n] f32) {
    a[i < n, k < m] f32 = max(X[i, k], f32 0)
    Y[i < n, j < n] = sum(k < m) (guard(((k - 1) >= 0), a[i, (k - 1)], f32 0) * W[k, j])
  }
}`)
	inputs := []tensor.Value{ramp(20, 30), ramp(30, 20), tensor.Scalar(true)}
	want := run(t, load(t, m, cpu.New(2), runtime.Options{}), inputs...)
	failed, passed := 0, 0
	for budget := int64(100); budget < 100000; budget += 377 {
		x := load(t, m, cpu.New(2), runtime.Options{MaxBytes: budget})
		out, stats, err := x.Call(context.Background(), inputs, nil, nil)
		if stats.PeakBytes > budget {
			t.Errorf("%d bytes with a budget of %d", stats.PeakBytes, budget)
		}
		if err != nil {
			failed++
			if !strings.Contains(err.Error(), fmt.Sprintf("budget of %d bytes", budget)) {
				t.Errorf("budget %d: %v", budget, err)
			}
			continue
		}
		passed++
		equal(t, out[0], want[0])
		equal(t, out[1], want[1])
	}
	if failed == 0 || passed == 0 {
		t.Errorf("%d runs failed, %d passed", failed, passed)
	}
}

// What a region, a function or an expansion holds is given back when it ends, so that a
// loop runs any number of times in the same memory.
func TestLoopsNeedNoMoreMemory(t *testing.T) {
	m := module(t, `module {
  const @yes: [] bool = {true}
  const @k: [1] i64 = {1000}
  func @main(%trips: [] i64, %x: [1000] f32) -> ([1000] f32) {
    %r: [1000] f32 = onnx.Loop(%trips, _, %x) { (%i: [] i64, %keep: [] bool, %v: [1000] f32)
      %a: [1000] f32 = onnx.Neg(%v)
      %b: [1000] f32 = call @same(%a)
      %c: [1000] f32 = onnx.If(@yes) { ()
        %d: [1000] f32 = onnx.Neg(%b)
        yield %d
      } { ()
        yield %b
      }
      %e: [1000] f32, _ = onnx.TopK(%c, @k)
      %g: [1000] f32 = onnx.Elu(%e)
      yield %keep, %g
    }
    return %r
  }
  func @same(%v: [n] f32) -> ([n] f32) {
    %a: [n] f32 = onnx.Abs(%v)
    %b: [n] f32 = onnx.Neg(%a)
    return %b
  }
}`)
	var peaks []int64
	for _, trips := range []int64{3, 300} {
		x := load(t, m, cpu.New(1), runtime.Options{})
		_, stats, err := x.Call(context.Background(), []tensor.Value{tensor.Scalar(trips), ramp(1000)}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		peaks = append(peaks, stats.PeakBytes)
	}
	if peaks[0] != peaks[1] {
		t.Errorf("3 trips take %d bytes, 300 take %d", peaks[0], peaks[1])
	}
}

// A pool keeps what a run like the last one needs, and not more than a quarter above
// what was in use at the same time, whatever sizes come.
func TestPoolIsBounded(t *testing.T) {
	x := open(t, chain)
	run(t, x, ramp(1000))
	first, _ := x.Kept()
	for range 5 {
		run(t, x, ramp(1000))
	}
	if kept, _ := x.Kept(); kept > first || first == 0 {
		t.Errorf("%d bytes are kept after one run, %d after six", first, kept)
	}
	for n := int64(1); n < 3000; n += 61 {
		run(t, x, ramp(n*7919%3000))
		if kept, bound := x.Kept(); kept > bound {
			t.Fatalf("%d bytes are kept, at most %d should be", kept, bound)
		}
	}
	x.Trim()
	if kept, _ := x.Kept(); kept != 0 {
		t.Errorf("%d bytes are kept", kept)
	}
	run(t, x, ramp(1000))
}

// Runs of different sizes at the same time, some of them stopped, do not disturb each
// other.
func TestConcurrentRuns(t *testing.T) {
	x := open(t, `module {
  func @main(%x: [n, m] f32, %y: [m, n] f32) -> ([n, n] f32, [1, k] i64) {
    %z: [n, n] f32 = call @p[m, n](%x, %y)
    %s: [n, n] f32 = onnx.Softmax(%z)
    %f: [n*n] f32 = vm.view(%s) {type = type [n*n] f32}
    %k: [1, k] i64 = onnx.NonZero(%f)
    return %s, %k
  }
  program @p[m, n](X: [n, m] f32, Y: [m, n] f32) -> (Z: [n, n] f32) {
    Z[i < n, j < n] = sum(k < m) (X[i, k] * Y[k, j])
  }
}`)
	type one struct {
		inputs []tensor.Value
		want   []tensor.Value
	}
	var calls []one
	for n := range int64(6) {
		in := []tensor.Value{ramp(17*n, 40-n), ramp(40-n, 17*n)}
		calls = append(calls, one{in, run(t, x, in...)})
	}
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			c := calls[i%len(calls)]
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%5 == 4 {
				go cancel()
			}
			out, err := x.Run(ctx, c.inputs)
			if err != nil {
				if i%5 != 4 || diag.CodeOf(err) != diag.Interrupted {
					t.Error(err)
				}
				return
			}
			for j := range out {
				equal(t, out[j], c.want[j])
			}
		})
	}
	all.Wait()
}

func TestInputs(t *testing.T) {
	x := open(t, `module {
  func @main(%a: [n] f32, %"the b": seq([n] f32), %c: optional([n] i64)) -> ([n] f32) {
    return %a
  }
}`)
	seq, opt := &tensor.Sequence{}, &tensor.Optional{}
	for _, c := range []struct {
		inputs []tensor.Value
		want   string
	}{
		{[]tensor.Value{list(1), seq, opt}, ""},
		{[]tensor.Value{list(1), seq}, "2 operands for function @main, which takes 3"},
		{[]tensor.Value{nil, seq, opt}, `input "a" is missing; its type is [n] f32`},
		{[]tensor.Value{(*tensor.Tensor)(nil), seq, opt}, `input "a" is missing`},
		{[]tensor.Value{list(1), (*tensor.Sequence)(nil), opt}, `input "the b" is missing; its type is seq([n] f32)`},
		{[]tensor.Value{list(1), seq, (*tensor.Optional)(nil)}, `input "c" is missing`},
		{[]tensor.Value{list(1), &tensor.Sequence{Elems: []tensor.Value{nil}}, opt}, `element 0 of input "the b" is no tensor`},
		{[]tensor.Value{list(1), &tensor.Sequence{Elems: []tensor.Value{(*tensor.Tensor)(nil)}}, opt}, "the run failed"},
		{[]tensor.Value{seq, seq, opt}, `input "a" is no tensor`},
	} {
		out, err := x.Run(context.Background(), c.inputs)
		if c.want == "" && err == nil {
			continue
		}
		if out != nil || err == nil || !strings.Contains(err.Error(), c.want) || diag.CodeOf(err) != diag.Run {
			t.Errorf("got %v, %v; want %s", out, err, c.want)
		}
	}
}

// What is placed in a storage must fit it.
func TestStorageTooSmall(t *testing.T) {
	x := open(t, `module {
  func @main(%x: [n] f32, %y: [m] f32) -> ([n] f32) {
    %s: storage = vm.alloc() {bytes = "4*m"}
    %a: [n] f32 = call @inc[n](%x) in %s @ "node"
    %b: [n] f32 = call @inc[n](%a)
    return %b
  }
  program @inc[n](X: [n] f32) -> (Y: [n] f32) {
    Y[i < n] = (X[i] + f32 1)
  }
}`)
	_, err := x.Run(context.Background(), []tensor.Value{list(1, 2), list(1)})
	if err == nil || !strings.Contains(err.Error(), `node "node" (call @inc): a f32[2] does not fit its storage`) {
		t.Errorf("got %v", err)
	}
}

// Operators are made ready once for operands that are alike, a bounded number of times in
// all.
func TestInstances(t *testing.T) {
	x := open(t, `module {
  func @main(%x: [n] f32) -> ([n] f32) {
    %y: [n] f32 = onnx.Relu(%x)
    return %y
  }
}`)
	for range 3 {
		run(t, x, ramp(100))
	}
	if n := x.Instances(); n != 1 {
		t.Errorf("%d instances for one shape", n)
	}
	for i := range int64(4200) {
		equal(t, run(t, x, list(float32(i)))[0], list(float32(i)))
	}
	if n := x.Instances(); n > 4096 {
		t.Errorf("%d instances", n)
	}
}

// broken is a device that fails in ways that devices should not.
type broken struct{ fail func() error }

func (d broken) Target() *target.Target { return target.Interp() }
func (d broken) Close() error           { return nil }
func (d broken) Workspace(string, *ir.Program, []int64, func(int) bool) ([]int64, error) {
	return nil, nil
}
func (d broken) Run(_ context.Context, _ string, _ *ir.Program, _ []int64, _, _ []*tensor.Tensor, mem runtime.Memory) error {
	if _, err := mem.Alloc(tensor.F32, []int64{10}); err != nil { // and keeps it
		return err
	}
	return d.fail()
}

func TestBrokenDevice(t *testing.T) {
	m := module(t, chain)
	for _, c := range []struct {
		fail func() error
		want string
	}{
		{func() error { panic("out of order") }, `node "a" (Relu): it failed: out of order`},
		{func() error { return diag.New(diag.Run, "no power") }, `node "a" (Relu): no power`},
	} {
		x := load(t, m, broken{c.fail}, runtime.Options{})
		if _, err := x.Run(context.Background(), []tensor.Value{ramp(10)}); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
