package runtime_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// On a row spans lie apart or inside one another, and those of a call tell of its stages.
func TestTimeline(t *testing.T) {
	x := load(t, module(t, kept), cpu.New(2), runtime.Options{})
	in, _ := keptCall(40000, 5, true)
	line := runtime.NewTimeline()
	ctx := runtime.Record(context.Background(), line)
	for range 2 {
		if _, err := x.Run(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	spans, dropped := line.Spans()
	if dropped != 0 {
		t.Errorf("%d are dropped", dropped)
	}
	runs, nodes, stages, open := 0, 0, 0, map[[2]int][]runtime.Span{}
	for _, s := range spans {
		row := [2]int{int(s.Track), s.Row}
		stack := open[row]
		for len(stack) > 0 && stack[len(stack)-1].Start+stack[len(stack)-1].Took <= s.Start {
			stack = stack[:len(stack)-1]
		}
		if n := len(stack); n > 0 && stack[n-1].Start+stack[n-1].Took < s.Start+s.Took {
			t.Errorf("%q ends after %q, in which it begins", s.Name, stack[n-1].Name)
		}
		open[row] = append(stack, s)
		switch {
		case s.Name == "run":
			runs++
		case s.Work != nil:
			stages++
			if s.Work.Program == "" || s.Work.Stages == "" || s.Work.By == "" || s.Work.Bytes <= 0 {
				t.Errorf("%q: %+v", s.Name, *s.Work)
			}
		case s.Track == runtime.Calls && strings.Contains(s.Name, "call @"):
			nodes++
		}
	}
	if runs != 2 || nodes == 0 || stages < nodes {
		t.Errorf("%d runs, %d calls, %d stages", runs, nodes, stages)
	}
}

// A stage tells what it computes, and what it reads and writes: of a table as much as it looks up.
func TestTimelineWork(t *testing.T) {
	m := module(t, `module {
  func @main(%a: [m, 64] f32, %b: [64, n] f32, %at: [m] i64) -> ([m, n] f32, [m, 64] f32) {
    %c: [m, n] f32 = call @product[m, n](%a, %b)
    %d: [m, 64] f32 = call @rows[m, n](%b, %at)
    return %c, %d
  }
  program @product[m, n](a: [m, 64] f32, b: [64, n] f32) -> (c: [m, n] f32) {
    c[i < m, j < n] = sum(k < 64) (a[i, k] * b[k, j])
  }
  program @rows[m, n](b: [64, n] f32, at: [m] i64) -> (d: [m, 64] f32) {
    d[i < m, j < 64] = exp((b[at[i], 0] + f32 2))
  }
}`)
	x := load(t, m, cpu.New(1), runtime.Options{})
	line := runtime.NewTimeline()
	_, err := x.Run(runtime.Record(context.Background(), line), []tensor.Value{tensor.New(tensor.F32, 3, 64), tensor.New(tensor.F32, 64, 1000), tensor.New(tensor.I64, 3)})
	if err != nil {
		t.Fatal(err)
	}
	spans, _ := line.Spans()
	got := map[string]runtime.Work{}
	for _, s := range spans {
		if s.Work != nil {
			got[s.Work.Program] = *s.Work
		}
	}
	for program, want := range map[string][2]float64{
		"product": {2 * 3 * 64 * 1000, 4 * (3*64 + 64*1000 + 3*1000)},
		"rows":    {2 * 3 * 64, 4*(3*64+3*64) + 8*3},
	} {
		if w := got[program]; w.Flops != want[0] || w.Bytes != want[1] {
			t.Errorf("%s: %v operations, %v bytes, not %v", program, w.Flops, w.Bytes, want)
		}
	}
}
