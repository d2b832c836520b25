package runtime_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// inStorages places what a module computes.
func inStorages(t testing.TB, m *ir.Module) *ir.Module {
	t.Helper()
	m = m.Clone()
	if err := (&pass.Manager{}).Run(context.Background(), m, []pass.Step{{Pass: builtin.PlanMemory}, {Pass: builtin.Lower}}); err != nil {
		t.Fatal(err)
	}
	return m
}

const regionPrograms = `
  program @inc[n](X: [n] f32) -> (Y: [n] f32) {
    Y[i < n] = (X[i] + f32 1)
  }
  program @add[n](A: [n] f32, B: [n] f32) -> (Y: [n] f32) {
    Y[i < n] = (A[i] + B[i])
  }
  program @double[h, n](X: [h, n] f32) -> (Y: [h, n] f32) {
    Y[i < h, j < n] = (X[i, j] + X[i, j])
  }
  program @turn[n](X: [n] f32) -> (Y: [n] f32) {
    Y[i < n] = X[(({n} - i) - 1)]
  }
}`

// bodies of loops that carry two values and stack one, and branches, of which the memory is shared
// in one way or another. The loop's results and those of the branches are read afterwards.
var regions = map[string]string{
	"both computed": `
      %p: [n] f32 = call @add[n](%a, %b)
      %q: [n] f32 = call @turn[n](%a)
      yield %on, %p, %q, %p`,
	"swapped": `
      %p: [n] f32 = call @inc[n](%a)
      yield %on, %b, %p, %a`,
	"a sequence of sums": `
      %p: [n] f32 = call @add[n](%a, %b)
      yield %on, %b, %p, %b`,
	"one value twice": `
      %p: [n] f32 = call @turn[n](%a)
      yield %on, %p, %p, %p`,
	"one stays": `
      %p: [n] f32 = call @add[n](%b, %a)
      yield %on, %p, %b, %b`,
	"from around": `
      %p: [n] f32 = call @turn[n](%a)
      yield %on, %p, %x2, %x2`,
	"a branch in the loop": `
      %p: [n] f32 = onnx.If(%c) { ()
        %u: [n] f32 = call @turn[n](%a)
        %v: [n] f32 = call @add[n](%u, %b)
        yield %v
      } { ()
        %w: [n] f32 = call @inc[n](%b)
        yield %w
      }
      %q: [n] f32 = call @add[n](%p, %a)
      yield %on, %q, %p, %p`,
	"a branch that hands on": `
      %p: [n] f32 = onnx.If(%c) { ()
        %u: [n] f32 = call @turn[n](%a)
        yield %u
      } { ()
        yield %b
      }
      %q: [n] f32 = call @add[n](%p, %a)
      yield %on, %q, %p, %q`,
	"a loop in the loop": `
      %p: [n] f32 = onnx.Loop(%two, _, %a) { (%j: [] i64, %go: [] bool, %u: [n] f32)
        %v: [n] f32 = call @turn[n](%u)
        %w: [n] f32 = call @add[n](%v, %b)
        yield %go, %w
      }
      %q: [n] f32 = call @inc[n](%b)
      yield %on, %p, %q, %p`,
	"through views and casts": `
      %p: [n] f32 = call @add[n](%a, %b)
      %v: [n, 1] f32 = vm.view(%p) {type = type [n, 1] f32}
      %w: [n] f32 = vm.view(%v) {type = type [n] f32}
      %q: [n] f32 = call @turn[n](%w)
      %r: [n] f32 = match_cast(%q)
      yield %on, %w, %r, %r`,
	"it ends early": `
      %p: [n] f32 = call @add[n](%a, %b)
      %q: [n] f32 = call @turn[n](%a)
      %less: [] bool = onnx.Less(%i, %two)
      yield %less, %p, %q, %p`,
}

// regionModule has a loop with a body. What the loop gives is given, or only read.
func regionModule(body string, given bool) string {
	rows, results := "k", "%p, %q, %rows"
	if strings.Contains(body, "%less") {
		rows = "rows"
	}
	if !given {
		results = "%p2, %q2, %rows2"
	}
	body = regexp.MustCompile(`%([p-wj])\b`).ReplaceAllString(body, "%in_$1")
	return `module {
  const @one: [] i64 = {1}
  func @main(%x: [n] f32, %y: [n] f32, %t: [k] f32, %c: [] bool) -> ([n] f32, [n] f32, [` + rows + `, n] f32, [n] f32, [n] f32) {
    %trips: [] i64 = call @size[k]()
    %two: [] i64 = onnx.Add(@one, @one)
    %x1: [n] f32 = call @inc[n](%x)
    %x2: [n] f32 = call @turn[n](%y)
    %p: [n] f32, %q: [n] f32, %rows: [` + rows + `, n] f32 = onnx.Loop(%trips, _, %x1, %x2) { (%i: [] i64, %on: [] bool, %a: [n] f32, %b: [n] f32)` + body + `
    }
    %more: [n] f32 = call @inc[n](%p)
    %z: [n] f32, %same: [n] f32, %x3: [n] f32 = onnx.If(%c) { ()
      %u: [n] f32 = call @add[n](%p, %q)
      %v: [n] f32 = call @turn[n](%u)
      yield %v, %v, %x1
    } { ()
      %w: [n] f32 = call @turn[n](%q)
      yield %w, %w, %more
    }
    %p2: [n] f32 = call @turn[n](%p)
    %q2: [n] f32 = call @inc[n](%q)
    %rows2: [` + rows + `, n] f32 = call @double[` + rows + `, n](%rows)
    %m1: [n] f32 = call @add[n](%z, %more)
    %m2: [n] f32 = call @turn[n](%m1)
    %m3: [n] f32 = call @add[n](%m2, %q)
    %m4: [n] f32 = call @add[n](%m3, %same)
    %m5: [n] f32 = call @add[n](%m4, %x3)
    return ` + results + `, %m3, %m5
  }
  program @size[k]() -> (N: [] i64) {
    N[] = {k}
  }` + regionPrograms
}

// What regions compute where their statement's results are placed is what they compute elsewhere,
// with no iteration, with one, and with an even and an odd number of them.
func TestRegionsInPlace(t *testing.T) {
	placed := map[string][2]int{} // results of the loop and of the branches
	for name, body := range regions {
		m := inStorages(t, module(t, regionModule(body, false)))
		var n [2]int
		for _, s := range m.Main().Stmts {
			if len(s.Regions) == 0 {
				continue
			}
			for i, r := range s.Results {
				if i < len(s.Into) && s.Into[i] != nil && r != nil {
					n[len(s.Regions)-1]++
				}
			}
		}
		placed[name] = n
	}
	want := map[string][2]int{"both computed": {3, 1}, "swapped": {1, 1}, "a sequence of sums": {1, 1}, "one value twice": {1, 1}, "one stays": {2, 1}, "from around": {1, 1},
		"a branch in the loop": {3, 1}, "a branch that hands on": {1, 1}, "a loop in the loop": {3, 1}, "through views and casts": {3, 1}, "it ends early": {2, 1}}
	if !maps.Equal(placed, want) {
		t.Errorf("placed are results of loops and branches: %v", placed)
	}
	for name, body := range regions {
		for _, given := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " ", given), func(t *testing.T) { regionsInPlace(t, module(t, regionModule(body, given))) })
		}
	}
}

func regionsInPlace(t *testing.T, m *ir.Module) {
	x := load(t, inStorages(t, m), cpu.New(1), runtime.Options{})
	for _, trips := range []int64{0, 1, 2, 3, 6} {
		for _, n := range []int64{4, 1, 9, 0} {
			for _, c := range []bool{true, false} {
				y := ramp(n)
				if n > 0 {
					y.SetFloat(0, 50)
				}
				in := []tensor.Value{ramp(n), y, ramp(trips), tensor.Scalar(c)}
				want, err := interp.Run(context.Background(), m, in, interp.Options{})
				if err != nil {
					t.Fatal(err)
				}
				var into []*tensor.Tensor
				for _, v := range want {
					into = append(into, tensor.New(tensor.F32, v.(*tensor.Tensor).Shape()...))
				}
				if err := x.RunInto(context.Background(), in, into); err != nil {
					t.Fatal(err)
				}
				got, err := x.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				for i := range want {
					what := fmt.Sprintf("%d iterations, size %d, %v: result %d", trips, n, c, i)
					equalAs(t, what, got[i].(*tensor.Tensor), want[i].(*tensor.Tensor))
					equalAs(t, what+" into", into[i], want[i].(*tensor.Tensor))
				}
			}
		}
	}
}
