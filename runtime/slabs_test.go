package runtime_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// told has sizes that the run tells one after the other, by the shapes that values turn out to
// have, before a loop and in it. What lives across these places is of all sizes.
const told = `module {
  func @main(%x: [n, 64] f32, %s1: [2] i64, %s2: [2] i64, %trips: [] i64) -> ([n, 64] f32, [a, b] f32, [c, d] f32) {
    %k: [n, 64] f32 = call @inc[n, 64](%x)
    %t1: [n, 64] f32 = call @turn[n, 64](%k)
    %t2: [n, 64] f32 = call @turn[n, 64](%t1)
    %t3: [n, 64] f32 = call @add[n, 64](%t1, %t2)
    %r1: [a, b] f32 = onnx.Reshape(%t3, %s1)
    %u1: [a, b] f32 = call @turn[a, b](%r1)
    %u2: [a, b] f32 = call @turn[a, b](%u1)
    %u3: [a, b] f32 = call @add[a, b](%u1, %u2)
    %r2: [c, d] f32 = onnx.Reshape(%u3, %s2)
    %v1: [c, d] f32 = call @turn[c, d](%r2)
    %v2: [c, d] f32 = call @add[c, d](%v1, %r2)
    %l: [c, d] f32 = onnx.Loop(%trips, _, %v2) { (%i: [] i64, %on: [] bool, %was: [c, d] f32)
      %w0: [c, d] f32 = call @turn[c, d](%was)
      %w1: [e, f] f32 = onnx.Reshape(%w0, %s1)
      %w2: [e, f] f32 = call @turn[e, f](%w1)
      %w3: [e, f] f32 = call @turn[e, f](%w2)
      %w4: [e, f] f32 = call @add[e, f](%w2, %w3)
      %w5: [g, h] f32 = onnx.Reshape(%w4, %s2)
      %w6: [c, d] f32 = match_cast(%w5)
      %w7: [c, d] f32 = call @add[c, d](%w6, %was)
      yield %on, %w7
    }
    %y3: [c, d] f32 = call @turn[c, d](%l)
    %y2: [a, b] f32 = call @add[a, b](%u3, %u1)
    %y1: [n, 64] f32 = call @add[n, 64](%k, %k)
    return %y1, %y2, %y3
  }
  program @inc[p, q](X: [p, q] f32) -> (Y: [p, q] f32) {
    Y[i < p, j < q] = (X[i, j] + f32 1)
  }
  program @add[p, q](A: [p, q] f32, B: [p, q] f32) -> (Y: [p, q] f32) {
    Y[i < p, j < q] = (A[i, j] + B[i, j])
  }
  program @turn[p, q](X: [p, q] f32) -> (Y: [p, q] f32) {
    Y[i < p, j < q] = X[(({p} - i) - 1), (({q} - j) - 1)]
  }
}`

func toldInputs(n, a, c, trips int64) []tensor.Value {
	all := n * 64
	return []tensor.Value{ramp(n, 64), tensor.Of([]int64{a, all / a}), tensor.Of([]int64{c, all / c}), tensor.Scalar(trips)}
}

// Sizes that become known late are placed among what is there, and nothing is written over that is
// read later, whatever sizes come in whatever order.
func TestSizesThatARunTells(t *testing.T) {
	m := module(t, told)
	x := load(t, inStorages(t, m), cpu.New(1), runtime.Options{})
	for range 2 {
		for _, n := range []int64{1, 7, 3} {
			for _, a := range []int64{1, 8, 64} {
				for _, c := range []int64{2, 16} {
					for trips := range int64(3) {
						in := toldInputs(n, a, c, trips)
						want, err := interp.Run(context.Background(), m, in, interp.Options{})
						if err != nil {
							t.Fatal(err)
						}
						got, err := x.Run(context.Background(), in)
						if err != nil {
							t.Fatal(err)
						}
						for i := range want {
							equalAs(t, fmt.Sprintf("n %d, a %d, c %d, %d iterations: result %d", n, a, c, trips, i), got[i].(*tensor.Tensor), want[i].(*tensor.Tensor))
						}
					}
				}
			}
		}
	}
}

// They lie where slabs that are in use have room, so that the plan takes what is in use at a time,
// and a run takes the plan and its results. It takes nothing from Go.
func TestLateSizesLieAmongEarlierOnes(t *testing.T) {
	x := load(t, inStorages(t, module(t, told)), cpu.New(1), runtime.Options{})
	const n = 64
	use, err := x.Memory(map[string]int64{"n": n, "a": 64, "b": n, "c": 16, "d": 4 * n, "e": 64, "f": n})
	if err != nil {
		t.Fatal(err)
	}
	if use.Planned > use.Largest {
		t.Errorf("the plan takes %d bytes, in use at a time are %d", use.Planned, use.Largest)
	}
	in := toldInputs(n, 64, 16, 3)
	out := []*tensor.Tensor{tensor.New(tensor.F32, n, 64), tensor.New(tensor.F32, 64, n), tensor.New(tensor.F32, 16, 4*n)}
	_, stats, err := x.Call(context.Background(), in, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	const scalars = 2 * 64 // of the loop: its number, and its condition
	if stats.PeakBytes > use.Planned+scalars {
		t.Errorf("the run takes %d bytes, its plan %d", stats.PeakBytes, use.Planned)
	}
	if got := testing.AllocsPerRun(10, func() {
		if err := x.RunInto(context.Background(), in, out); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations a run", got)
	}
}
