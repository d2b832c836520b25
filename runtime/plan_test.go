package runtime_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// planned is a module that the default pipeline has gone over, on the CPU.
func planned(t testing.TB, src string, o runtime.Options) (*runtime.Executable, *ir.Module) {
	t.Helper()
	m := module(t, src)
	steps, err := passes.Default().Assemble(builtin.Registry())
	if err != nil {
		t.Fatal(err)
	}
	dev := cpu.New(2)
	if err := (&pass.Manager{Target: dev.Target()}).Run(context.Background(), m, steps); err != nil {
		t.Fatal(err)
	}
	return load(t, m, dev, o), m
}

// attends is a block of a transformer, a branch, a loop and a size that the data tell, all
// with memory of their own in them. DIMS is what is known of its symbols.
const attends = `module {
  dims DIMS, k
  where k <= 8*batch*seq
  const @w: [8, 8] f32 = {WEIGHTS}
  func @main(%x: [batch, seq, 8] f32, %p: [] bool, %trips: [] i64) -> ([batch, seq, 8] f32, [batch, seq, 8] f32, [k, 2] f32) {
    %q: [batch, seq, 8] f32 = onnx.MatMul(%x, @w)
    %kt: [batch, 8, seq] f32 = onnx.Transpose(%x) {perm = [0, 2, 1]}
    %s: [batch, seq, seq] f32 = onnx.MatMul(%q, %kt)
    %a: [batch, seq, seq] f32 = onnx.Softmax(%s) {axis = -1}
    %v: [batch, seq, 8] f32 = onnx.MatMul(%a, %x)
    %r: [batch, seq, 8] f32 = onnx.Add(%v, %x)
    %i: [batch, seq, 8] f32 = onnx.If(%p) { ()
      %i1: [batch, seq, 8] f32 = onnx.MatMul(%r, @w)
      %i2: [batch, seq, 8] f32 = onnx.Softmax(%i1) {axis = 1}
      %i3: [batch, seq, 8] f32 = onnx.MatMul(%i2, @w)
      yield %i3
    } { ()
      %j1: [batch, seq, 8] f32 = onnx.Softmax(%r) {axis = 1}
      %j2: [batch, seq, 8] f32 = onnx.MatMul(%j1, @w)
      yield %j2
    }
    %l: [batch, seq, 8] f32 = onnx.Loop(%trips, _, %i) { (%at: [] i64, %on: [] bool, %was: [batch, seq, 8] f32)
      %l1: [batch, seq, 8] f32 = onnx.Softmax(%was) {axis = -1}
      %l2: [batch, seq, 8] f32 = onnx.MatMul(%l1, @w)
      %l3: [batch, seq, 8] f32 = onnx.Add(%l2, %r)
      yield %on, %l3
    }
    %flat: [8*batch*seq] f32 = vm.view(%l) {type = type [8*batch*seq] f32}
    %above: [1, k] i64 = onnx.NonZero(%flat)
    %turned: [k, 1] i64 = onnx.Transpose(%above) {perm = [1, 0]}
    %some: [k] f32 = onnx.GatherND(%flat, %turned)
    %column: [k, 1] f32 = vm.view(%some) {type = type [k, 1] f32}
    %two: [k, 2] f32 = onnx.Concat(%column, %column) {axis = 1}
    %z: [k, 2] f32 = onnx.Softmax(%two) {axis = 0}
    return %l, %i, %z
  }
}`

func attendsWith(dims string) string {
	weights := make([]string, 64)
	for i := range weights {
		weights[i] = []string{"-1", "-0.5", "0", "0.25", "1"}[i*7%5]
	}
	return strings.NewReplacer("DIMS", dims, "WEIGHTS", strings.Join(weights, ", ")).Replace(attends)
}

func attendsInputs(r *rand.Rand, batch, seq int64) []tensor.Value {
	x := tensor.New(tensor.F32, batch, seq, 8)
	for i := range x.Len() {
		x.SetFloat(i, r.NormFloat64())
	}
	return []tensor.Value{x, tensor.Scalar(r.IntN(2) == 0), tensor.Scalar(r.Int64N(4))}
}

func checkRun(t *testing.T, x *runtime.Executable, m *ir.Module, in []tensor.Value) {
	got, err := x.Run(context.Background(), in)
	if err != nil {
		t.Error(err)
		return
	}
	want, err := interp.Run(context.Background(), m, in, interp.Options{})
	if err != nil {
		t.Error(err)
		return
	}
	for i := range want {
		if err := tensor.Compare(got[i], want[i], tensor.DefaultTolerance(tensor.F32)); err != nil {
			t.Errorf("result %d of %v: %v", i, in[0].(*tensor.Tensor).Shape(), err)
		}
	}
}

// One executable takes 200 sizes in a row: nothing is compiled again, and once the largest
// was there memory does not grow. What is planned is what the run takes.
func TestManySizesInARow(t *testing.T) {
	x, m := planned(t, attendsWith("batch, seq"), runtime.Options{})
	m.Main().Walk(func(s *ir.Stmt) {
		for i, r := range s.Regions {
			if !slices.ContainsFunc(r.Stmts, func(s *ir.Stmt) bool { return s.Into != nil }) {
				t.Errorf("nothing is placed in region %d of %s", i, s.OpName())
			}
		}
	})
	reference := module(t, attendsWith("batch, seq"))
	r := rand.New(rand.NewPCG(1, 200))
	for _, branch := range []bool{true, false} {
		in := attendsInputs(r, 4, 48)
		in[1], in[2] = tensor.Scalar(branch), tensor.Scalar(int64(3))
		checkRun(t, x, reference, in)
	}
	_, largest := x.Held()
	sizes := map[[2]int64]bool{}
	for range 200 {
		batch, seq := r.Int64N(5), r.Int64N(49)
		sizes[[2]int64{batch, seq}] = true
		checkRun(t, x, reference, attendsInputs(r, batch, seq))
		held, used := x.Held()
		if used > largest {
			t.Fatalf("sizes %d, %d use %d bytes, the largest run %d", batch, seq, used, largest)
		}
		if held > largest+largest/4 {
			t.Fatalf("after sizes %d, %d there are %d bytes, %d were used by the largest run", batch, seq, held, largest)
		}
		if t.Failed() {
			return
		}
	}
	if n := x.Layouts(); n < len(sizes) || n > 4*len(sizes)+4 {
		t.Errorf("%d layouts for %d sets of sizes", n, len(sizes))
	}
	if n := x.InUse(); n != 0 {
		t.Errorf("%d bytes are still in use", n)
	}
}

// With bounds everything is placed before the first run, in one piece, and each run takes
// that piece, whatever its sizes. Sizes beyond the bounds are refused.
func TestBoundsArePlacedOnce(t *testing.T) {
	const bounds = "batch in [0, 4], seq in [1, 24]"
	x, m := planned(t, attendsWith(bounds), runtime.Options{})
	reference := module(t, attendsWith("batch, seq"))
	use, err := x.Memory(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range x.Storages() {
		if _, most := m.Syms.Bounds(s.Bytes); s.Offset < 0 || s.Offset+most > use.Planned {
			t.Errorf("a storage of %s bytes at %d of %d", s.Bytes, s.Offset, use.Planned)
		}
	}
	if use.Largest > use.Planned || use.Planned >= use.Equal || use.Equal > use.Naive {
		t.Errorf("each its own %d, equal sizes %d, planned %d, in use at a time %d", use.Naive, use.Equal, use.Planned, use.Largest)
	}
	r := rand.New(rand.NewPCG(2, 2))
	for range 30 {
		checkRun(t, x, reference, attendsInputs(r, r.Int64N(5), 1+r.Int64N(24)))
	}
	if n := x.Layouts(); n != 0 {
		t.Errorf("%d layouts were made by runs", n)
	}
	if _, err := x.Run(context.Background(), attendsInputs(r, 5, 8)); err == nil || !strings.Contains(err.Error(), `"batch"`) {
		t.Errorf("a size beyond its bound: %v", err)
	}

	// Where the budget is narrow each call takes what it needs.
	narrow, _ := planned(t, attendsWith(bounds), runtime.Options{MaxBytes: use.Planned})
	checkRun(t, narrow, reference, attendsInputs(r, 1, 2))
	if n := narrow.Layouts(); n == 0 {
		t.Error("the budget is as narrow as the bounds are wide, and yet all is placed for those")
	}
}

// A run takes what is planned and what has memory of its own: results, and what a size that
// the data tell decides.
func TestRunTakesWhatIsPlanned(t *testing.T) {
	src := `module {
  func @main(%x: [n, 64] f32) -> ([n, 64] f32) {
    %a: [n, 64] f32 = onnx.Softmax(%x) {axis = -1}
    %b: [64, n] f32 = onnx.Transpose(%a) {perm = [1, 0]}
    %c: [64, n] f32 = onnx.Softmax(%b) {axis = -1}
    %d: [n, 64] f32 = onnx.Transpose(%c) {perm = [1, 0]}
    %e: [n, 64] f32 = onnx.Softmax(%d) {axis = -1}
    return %e
  }
}`
	for _, n := range []int64{1, 10, 100} {
		x, _ := planned(t, src, runtime.Options{})
		use, err := x.Memory(map[string]int64{"n": n})
		if err != nil {
			t.Fatal(err)
		}
		_, stats, err := x.Call(context.Background(), []tensor.Value{ramp(n, 64)}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if results := n * 64 * 4; stats.PeakBytes != use.Planned+results {
			t.Errorf("n = %d: the run takes %d bytes, %d are planned beside %d of results", n, stats.PeakBytes, use.Planned, results)
		}
		small, _ := planned(t, src, runtime.Options{MaxBytes: stats.PeakBytes - 1})
		if _, err := small.Run(context.Background(), []tensor.Value{ramp(n, 64)}); err == nil || !strings.Contains(err.Error(), "budget") {
			t.Errorf("n = %d: with a byte less it ends with %v", n, err)
		}
	}
}

// Callers at the same time have memory of their own, and share what is kept.
func TestPlansAtTheSameTime(t *testing.T) {
	x, _ := planned(t, attendsWith("batch, seq"), runtime.Options{})
	reference := module(t, attendsWith("batch, seq"))
	var callers sync.WaitGroup
	for c := range uint64(6) {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(c, 3))
			for range 15 {
				checkRun(t, x, reference, attendsInputs(r, 1+r.Int64N(3), 1+r.Int64N(20)))
			}
		})
	}
	callers.Wait()
	if n := x.InUse(); n != 0 {
		t.Errorf("%d bytes are still in use", n)
	}
	x.Trim()
	if held, _ := x.Held(); held != 0 {
		t.Errorf("%d bytes are kept", held)
	}
}

// What is written over in place, and a temporary that takes turns with an operand, is placed
// there: of five values of the same size two are there at a time.
func TestPlacedInPlace(t *testing.T) {
	x, m := planned(t, `module {
  const @axis: [] i64 = {0}
  func @main(%x: [n] f32, %y: [n, n] f32) -> ([n] f32) {
    %a: [n] f32 = onnx.CumSum(%x, @axis)
    %b: [n] f32 = onnx.MatMul(%a, %y)
    %c: [n] f32 = onnx.CumSum(%b, @axis)
    %d: [n] f32 = onnx.MatMul(%c, %y)
    %e: [n] f32 = onnx.CumSum(%d, @axis)
    return %e
  }
}`, runtime.Options{})
	use, err := x.Memory(map[string]int64{"n": 1024})
	if err != nil {
		t.Fatal(err)
	}
	if use.Planned-use.Workspace > 2*4096 || use.Planned < 2*4096 {
		t.Errorf("%d bytes are planned", use.Planned)
	}
	placed := 0
	m.Main().Walk(func(s *ir.Stmt) {
		placed += len(slices.DeleteFunc(slices.Clone(s.Into), func(v *ir.Value) bool { return v == nil }))
	})
	if placed < 4 {
		t.Errorf("%d values are placed", placed)
	}
}
