package runtime_test

import (
	"context"
	"fmt"
	gort "runtime"
	"sync"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// kept is what a run keeps tensors for: branches, values that a loop carries, swaps and hands on,
// slices that it stacks, its numbers carried and stacked, functions called twice, views, casts, a
// kernel that fills, and operators that become programs when they run.
const kept = `module {
  const @k: [1] i64 = {2}
  const @axes: [1] i64 = {0}
  func @main(%x: [n] f32, %y: [n] f32, %trips: [] i64, %c: [] bool) -> ("swapped": [n] f32, "other": [n] f32, "number": [] i64, "rows": [t, n] f32, "numbers": [t2] i64, "branch": [n] f32, "twice": [n] f32, "top": [2] f32, "at": [2] i64, "wide": [1, n] f32) {
    %a: [n] f32 = call @twice(%x)
    %b: [n] f32 = call @twice(%y)
    %zero: [] i64 = onnx.Sub(%trips, %trips)
    %p: [n] f32, %q: [n] f32, %last: [] i64, %rows: [t, n] f32, %numbers: [t2] i64 = onnx.Loop(%trips, %c, %a, %b, %zero) { (%i: [] i64, %on: [] bool, %u: [n] f32, %v: [n] f32, %was: [] i64)
      %w: [n] f32 = call @inc[n](%u)
      %z: [n] f32 = onnx.If(%on) { ()
        %t: [n] f32 = call @inc[n](%w)
        yield %t
      } { ()
        yield %w
      }
      %same: [n] f32 = match_cast(%z)
      yield %on, %v, %same, %i, %w, %i
    }
    %branch: [n] f32 = onnx.If(%c) { ()
      %s: [n] f32 = call @inc[n](%p)
      yield %s
    } { ()
      yield %x
    }
    %top: [2] f32, %at: [2] i64 = onnx.TopK(%q, @k)
    %wide: [1, n] f32 = onnx.Unsqueeze(%b, @axes)
    return %p, %q, %last, %rows, %numbers, %branch, %a, %top, %at, %wide
  }
  func @twice(%x: [n] f32) -> ([n] f32) {
    %y: [n] f32 = onnx.Add(%x, %x)
    return %y
  }
  program @inc[n](X: [n] f32) -> (Y: [n] f32) {
    Y[i < n] = (X[i] + f32 1)
  }
}`

// keptCall is inputs of the module, and tensors for its results.
func keptCall(n, trips int64, c bool) ([]tensor.Value, []*tensor.Tensor) {
	times := trips
	if !c {
		times = 0
	}
	y := ramp(n)
	y.SetFloat(0, 100)
	f := func(shape ...int64) *tensor.Tensor { return tensor.New(tensor.F32, shape...) }
	return []tensor.Value{ramp(n), y, tensor.Scalar(trips), tensor.Scalar(c)}, []*tensor.Tensor{f(n), f(n), tensor.New(tensor.I64), f(times, n),
		tensor.New(tensor.I64, times), f(n), f(n), f(2), tensor.New(tensor.I64, 2), f(1, n)}
}

// Values that share a tensor's place in a run are not mistaken for each other, in whichever order
// sizes and numbers of iterations come.
func TestKeptTensors(t *testing.T) {
	m := module(t, kept)
	x := load(t, m, cpu.New(1), runtime.Options{})
	for round := range 3 {
		for _, size := range []int64{5, 2, 9} {
			for _, trips := range []int64{0, 1, 2, 7, 4} {
				for _, c := range []bool{true, false} {
					in, out := keptCall(size, trips, c)
					want, err := interp.Run(context.Background(), m, in, interp.Options{})
					if err != nil {
						t.Fatal(err)
					}
					if err := x.RunInto(context.Background(), in, out); err != nil {
						t.Fatal(err)
					}
					got, err := x.Run(context.Background(), in)
					if err != nil {
						t.Fatal(err)
					}
					for i := range want {
						what := fmt.Sprintf("round %d, size %d, %d iterations, %v: result %d", round, size, trips, c, i)
						equalAs(t, what, out[i], want[i].(*tensor.Tensor))
						equalAs(t, what, got[i].(*tensor.Tensor), want[i].(*tensor.Tensor))
					}
				}
			}
		}
	}
}

func equalAs(t *testing.T, what string, got, want *tensor.Tensor) {
	t.Helper()
	if err := tensor.Compare(got, want, tensor.Tolerance{}); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// A run of sizes that were there takes nothing from Go, whatever it does, but for what operators
// make that no program computes.
func TestRunsTakeNothingFromGo(t *testing.T) {
	for _, threads := range []int{1, 2, -1} {
		m := module(t, kept)
		if threads < 0 {
			m, threads = inStorages(t, m), 1
		}
		x := load(t, m, cpu.New(threads), runtime.Options{})
		in, out := keptCall(1000, 5, true)
		in2, out2 := keptCall(40, 3, true)
		both := func() {
			for _, err := range []error{x.RunInto(context.Background(), in, out), x.RunInto(context.Background(), in2, out2)} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		both()
		n := testing.AllocsPerRun(20, both)
		for tries := 0; n > 0 && threads > 1 && tries < 20; tries++ { // until each thread has been at each stage
			n = testing.AllocsPerRun(20, both)
		}
		if n != 0 {
			t.Errorf("%d threads: %v allocations", threads, n)
		}
	}
}

// What sequences hold stays as it is, though the tensors that were put in are others by then.
func TestSequencesKeepWhatTheyHold(t *testing.T) {
	m := module(t, `module {
  func @main(%x: [n] f32, %trips: [] i64, %none: seq([k] f32)) -> (seq([k2] f32)) {
    %last: [n] f32, %all: seq([k2] f32) = onnx.Loop(%trips, _, %x, %none) { (%i: [] i64, %on: [] bool, %v: [n] f32, %s: seq([k3] f32))
      %w: [n] f32 = onnx.Add(%v, %v)
      %more: seq([k4] f32) = onnx.SequenceInsert(%s, %w)
      yield %on, %w, %more
    }
    return %all
  }
}`)
	x := load(t, m, cpu.New(1), runtime.Options{})
	in := []tensor.Value{ramp(3), tensor.Scalar(int64(4)), &tensor.Sequence{}}
	for range 2 {
		got, err := x.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		want, err := interp.Run(context.Background(), m, in, interp.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, b := got[0].(*tensor.Sequence).Elems, want[0].(*tensor.Sequence).Elems
		if len(a) != 4 || len(b) != 4 {
			t.Fatalf("%d and %d elements", len(a), len(b))
		}
		for i := range a {
			equalAs(t, fmt.Sprintf("element %d", i), a[i].(*tensor.Tensor), b[i].(*tensor.Tensor))
		}
	}
}

// After a run nothing holds on to what a caller gave: only the caller's own tensors keep it.
func TestNothingHoldsOnToTensors(t *testing.T) {
	x := load(t, module(t, kept), cpu.New(2), runtime.Options{})
	gone, n := make(chan string, 32), 2
	func() {
		in, out := keptCall(100, 3, true)
		for i, v := range in[:2] { // Go keeps what is small together with other things
			watch(v.(*tensor.Tensor), fmt.Sprintf("input %d", i), gone)
		}
		for i, o := range out[:8] {
			if len(o.Bytes()) >= 16 {
				watch(o, fmt.Sprintf("output %d", i), gone)
				n++
			}
		}
		if err := x.RunInto(context.Background(), in, out); err != nil {
			t.Fatal(err)
		}
	}()
	left := collect(gone, n)
	if len(left) > 0 {
		t.Errorf("collected are only %v", left)
	}
	in, out := keptCall(100, 3, true)
	if err := x.RunInto(context.Background(), in, out); err != nil {
		t.Fatal(err)
	}
}

// watch tells when the memory of a tensor is collected.
func watch(t *tensor.Tensor, name string, gone chan string) {
	gort.AddCleanup(&t.Bytes()[0], func(name string) { gone <- name }, name)
}

// collect waits until n things are collected, and gives what was where they are not.
func collect(gone chan string, n int) (seen []string) {
	for range 50 {
		gort.GC()
		for len(gone) > 0 {
			seen = append(seen, <-gone)
		}
		if len(seen) >= n {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return seen
}

// What an operator makes of constants alone is made once, also where runs at the same time want it first.
func TestConstantsAreAskedOnce(t *testing.T) {
	m := module(t, `module {
  const @w: [3] f32 = {1, -2, 3}
  func @main(%c: [] bool) -> ([] bool) {
    %y: [] bool = onnx.If(%c) { ()
      %is: [] bool = pit.Within(@w) {bounds = [3.0]}
      yield %is
    } { ()
      yield %c
    }
    return %y
  }
}`)
	for _, dev := range []runtime.Device{cpu.New(1), cpu.New(2)} {
		w := m.Consts[0].Tensor
		w.SetFloat(1, -2)
		x := load(t, m, dev, runtime.Options{})
		run := func(c, want bool) {
			out, err := x.Run(context.Background(), []tensor.Value{tensor.Scalar(c)})
			if err != nil || out[0].(*tensor.Tensor).Bool(0) != want {
				t.Errorf("%v, %v; want %v", out, err, want)
			}
		}
		run(false, false)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { run(true, true) })
		}
		wg.Wait()
		w.SetFloat(1, -4) // nobody looks
		run(true, true)
		run(false, false)
		in, out := []tensor.Value{tensor.Scalar(true)}, []*tensor.Tensor{tensor.Scalar(false)}
		if n := testing.AllocsPerRun(20, func() { _ = x.RunInto(context.Background(), in, out) }); n > 0 {
			t.Errorf("a run makes %v objects", n)
		}
	}
}

// A result that nobody asked for is not made, also where it is the only one.
func TestResultsThatNobodyAsksFor(t *testing.T) {
	m := module(t, `module {
  func @main(%x: [n] f32) -> ([n] f32) {
    _ = onnx.NonZero(%x)
    _ = pit.Within(%x) {bounds = [1.0]}
    return %x
  }
}`)
	in := []tensor.Value{tensor.Of([]float32{0, 2})}
	if _, err := interp.Run(context.Background(), m, in, interp.Options{}); err != nil {
		t.Error(err)
	}
	if _, err := load(t, m, cpu.New(1), runtime.Options{}).Run(context.Background(), in); err != nil {
		t.Error(err)
	}
}
