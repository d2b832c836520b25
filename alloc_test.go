package pitopt_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// allocations of a call in steady state. With several threads that comes when each of them has
// been at each stage, which no run is sure to bring.
func allocations(t *testing.T, what string, threads int, call func() error) {
	t.Helper()
	one := func() {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	one()
	n := testing.AllocsPerRun(10, one)
	for tries := 0; n > 0 && threads > 1 && tries < 20; tries++ {
		n = testing.AllocsPerRun(10, one)
	}
	if n != 0 {
		t.Errorf("%s, %d threads: %v allocations a run", what, threads, n)
	}
}

// parsed loads a module in the text form; it is closed in the end.
func parsed(t *testing.T, src string, opts ...pitopt.Option) *pitopt.Model {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.pit")
	if err := os.WriteFile(file, []byte(src), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := pitopt.Load(file, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// sentence is a batch of ids, all of them words, and where the encoder of the examples writes.
func sentence(batch, seq int64) (in, out tensors) {
	in = tensors{"input_ids": tensor.New(tensor.I64, batch, seq), "attention_mask": tensor.New(tensor.I64, batch, seq)}
	for i := range batch * seq {
		in["input_ids"].SetInt(i, i%50)
		in["attention_mask"].SetInt(i, 1)
	}
	return in, tensors{"embedding": tensor.New(tensor.F32, batch, 64)}
}

// RunInto takes nothing from Go after the first run of some sizes, on one thread or several, and
// whatever sizes take turns.
func TestRunIntoAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	for _, threads := range []int{1, 3} {
		m, err := pitopt.Load(filepath.Join("examples", "encoder", "model.onnx"), pitopt.Threads(threads))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		in, out := sentence(2, 9)
		in2, out2 := sentence(3, 24)
		allocations(t, "one size", threads, func() error { return m.RunInto(ctx, in, out) })
		allocations(t, "two sizes", threads, func() error {
			if err := m.RunInto(ctx, in, out); err != nil {
				return err
			}
			return m.RunInto(ctx, in2, out2)
		})
	}
}

// Nor do products of few rows, of factors that come anew with each run.
func TestFewRowsAllocateNothing(t *testing.T) {
	ctx := context.Background()
	const src = `module {
  func @main(%x: [n, 64] f32, %w: [64, 384] f32) -> ("y": [n, 384] f32) {
    %y: [n, 384] f32 = onnx.MatMul(%x, %w)
    return %y
  }
}`
	for _, threads := range []int{1, 3} {
		m := parsed(t, src, pitopt.Threads(threads))
		for _, n := range []int64{1, 3, 7, 20, 40} {
			in, out := tensors{"x": tensor.New(tensor.F32, n, 64), "w": tensor.New(tensor.F32, 64, 384)}, tensors{"y": tensor.New(tensor.F32, n, 384)}
			allocations(t, fmt.Sprintf("%d rows", n), threads, func() error { return m.RunInto(ctx, in, out) })
		}
	}
}

// Nor does a step of a session of a length that was there before, whose cache is appended to and
// whose sum is handed on, in two sessions of other sizes in turn. A length that is new has programs
// made ready for it.
func TestSessionStepAllocatesNothing(t *testing.T) {
	const steps = 40
	ctx := context.Background()
	m := load(t, decoder())["cpu"]
	var turns []func(n int64) error
	for _, batch := range []int64{2, 3} {
		s, out := open(t, m, states(64)...), tensors{"y": tensor.New(tensor.F32, batch, 1, 8)}
		var in []tensors
		for n := range int64(steps) {
			in = append(in, step(batch, 1, n+1, 0))
		}
		turns = append(turns, func(n int64) error {
			if n == 0 {
				s.Reset()
			}
			return s.RunInto(ctx, in[n], out)
		})
	}
	all := func(n int64) {
		for _, turn := range turns {
			if err := turn(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		for n := range int64(steps) {
			all(n)
		}
	}
	all(0) // the caches begin again
	n := int64(0)
	if got := testing.AllocsPerRun(steps-3, func() { n++; all(n) }); got != 0 {
		t.Errorf("%v allocations a step", got)
	}
}

// Callers at the same time get what one gets.
func TestRunIntoAtTheSameTime(t *testing.T) {
	ctx := context.Background()
	m, err := pitopt.Load(filepath.Join("examples", "encoder", "model.onnx"), pitopt.Threads(2))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var callers sync.WaitGroup
	for i := range int64(6) {
		in, want := sentence(1+i%3, 9+7*i)
		if err := m.RunInto(ctx, in, want); err != nil {
			t.Fatal(err)
		}
		callers.Go(func() {
			_, out := sentence(1+i%3, 1)
			for range 10 {
				if err := m.RunInto(ctx, in, out); err != nil {
					t.Error(err)
				} else if err := tensor.Compare(out["embedding"], want["embedding"], tensor.Tolerance{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
}

// zeroPipeline says that an input may have zeros.
const zeroPipeline = `
version = 1
extends = "default"
[[pass]]
name = "pit"
inputs = ["x"]
`

// Nor does a product that leaves out zeros, which lie elsewhere in each run, in ways that differ.
func TestSparseProductAllocatesNothing(t *testing.T) {
	ctx := context.Background()
	f, err := passes.Parse("zeros", []byte(zeroPipeline))
	if err != nil {
		t.Fatal(err)
	}
	const src = `module {
  func @main(%x: [140, 512] f32, %w: [512, 384] f32) -> ("y": [140, 384] f32) {
    %y: [140, 384] f32 = onnx.MatMul(%x, %w)
    return %y
  }
}`
	for _, threads := range []int{1, 3} {
		m := parsed(t, src, pitopt.Threads(threads), pitopt.WithPipeline(f))
		in, out := tensors{"x": tensor.New(tensor.F32, 140, 512), "w": tensor.New(tensor.F32, 512, 384)}, tensors{"y": tensor.New(tensor.F32, 140, 384)}
		n := int64(0)
		allocations(t, "zeros", threads, func() error {
			n++
			clear(tensor.Data[float32](in["x"]))
			for i := range int64(140 * 8) {
				in["x"].SetFloat((i*37+n%5*11)%(140*512), 1)
			}
			return m.RunInto(ctx, in, out)
		})
		line := runtime.NewTimeline()
		if err := m.RunInto(runtime.Record(ctx, line), in, out); err != nil {
			t.Fatal(err)
		}
		spans, _ := line.Spans()
		if !slices.ContainsFunc(spans, func(s runtime.Span) bool {
			return s.Work != nil && s.Work.Zeros != nil && !strings.HasPrefix(s.Work.Zeros.Way, "dense")
		}) {
			t.Error("no zeros were left out")
		}
	}
}

// Nor does a batch of which padding is left out: how many tokens there are, each run counts.
func TestPaddingAllocatesNothing(t *testing.T) {
	const src = `module {
  const @table: [4, 2] f32 = {0, 4, 1, 1, 2, 10, 3, 12}
  const @w: [2, 2] f32 = {1, 0, 0, 1}
  func @main(%ids: [batch, seq] i64, %mask: [batch, seq] i64) -> ("y": [batch, 2] f32) {
    %x: [batch, seq, 2] f32 = onnx.Gather(@table, %ids)
    %h: [batch, seq, 2] f32 = onnx.MatMul(%x, @w)
    %m: [batch, seq] f32 = onnx.Cast(%mask) {to = 1}
    %m3: [batch, seq, 1] f32 = vm.view(%m) {type = type [batch, seq, 1] f32}
    %hm: [batch, seq, 2] f32 = onnx.Mul(%h, %m3)
    %y: [batch, 2] f32 = call @pool[batch, seq](%hm)
    return %y
  }
  program @pool[batch, seq](X: [batch, seq, 2] f32) -> (Y: [batch, 2] f32) {
    Y[i < batch, j < 2] = sum(k < seq) X[i, k, j]
  }
}`
	for _, threads := range []int{1, 3} {
		m := parsed(t, src, pitopt.Threads(threads))
		finds := false
		m.Module().Main().Walk(func(s *ir.Stmt) { finds = finds || s.Op != nil && s.Op.Name == "onnx.NonZero" })
		if !finds {
			t.Fatal("padding is left in")
		}
		in := tensors{"ids": tensor.New(tensor.I64, 5, 40), "mask": tensor.New(tensor.I64, 5, 40)}
		out := tensors{"y": tensor.New(tensor.F32, 5, 2)}
		call := 0
		run := func() error {
			call++
			for i := range int64(5 * 40) {
				in["ids"].SetInt(i, 3)
				in["mask"].SetInt(i, 0)
				if i%40 < 3+int64(call%4)+i/40 {
					in["mask"].SetInt(i, 1)
				}
			}
			err := m.RunInto(context.Background(), in, out)
			for b := range int64(5) {
				want := 3 * float64(3+int64(call%4)+b)
				if got := out["y"].Float(2 * b); err == nil && got != want {
					t.Errorf("sequence %d gives %g, not %g", b, got, want)
				}
			}
			return err
		}
		for range 4 { // of each number of tokens
			if err := run(); err != nil {
				t.Fatal(err)
			}
		}
		allocations(t, "padding", threads, run)
	}
}

// Products of which a mask says what is wanted take no memory either, where the mask is another one each time.
func TestAllocationsWanted(t *testing.T) {
	if f, err := x86.Usable(); err != nil || f&x86.V3 == 0 {
		t.Skip("without machine code all of a product is computed")
	}
	ctx := context.Background()
	const src = `module {
  func @main(%x: [128, 512] f32, %g: [128, 384] f32, %mask: [512, 384] f32) -> ("y": [512, 384] f32) {
    %t: [512, 128] f32 = onnx.Transpose(%x) {perm = [1, 0]}
    %d: [512, 384] f32 = onnx.MatMul(%t, %g)
    %y: [512, 384] f32 = onnx.Mul(%d, %mask)
    return %y
  }
}`
	for _, threads := range []int{1, 3} {
		m := parsed(t, src, pitopt.Threads(threads))
		in, out := tensors{"x": tensor.New(tensor.F32, 128, 512), "g": tensor.New(tensor.F32, 128, 384), "mask": tensor.New(tensor.F32, 512, 384)}, tensors{"y": tensor.New(tensor.F32, 512, 384)}
		n := int64(0)
		allocations(t, "wanted", threads, func() error {
			n++
			clear(tensor.Data[float32](in["mask"]))
			for i := range int64(512 * 384) {
				if (i/384/32+i%384+n%5)%29 == 0 {
					in["mask"].SetFloat(i, 1)
				}
			}
			return m.RunInto(ctx, in, out)
		})
		line := runtime.NewTimeline()
		if err := m.RunInto(runtime.Record(ctx, line), in, out); err != nil {
			t.Fatal(err)
		}
		spans, _ := line.Spans()
		if !slices.ContainsFunc(spans, func(s runtime.Span) bool {
			return s.Work != nil && s.Work.Zeros != nil && s.Work.Zeros.Way == "tiles that are wanted"
		}) {
			t.Error("all of the product was computed")
		}
	}
}
