package analysis_test

import (
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
)

// Modules, and the results of the statements in them that only compute a shape.
var shapes = []struct {
	name, module string
	want         []string
}{
	{"a target of reshape, through other statements", `module {
  const @zero: [] i64 = {0}
  const @axes: [1] i64 = {0}
  const @two: [1] i64 = {2}
  func @main(%x: [n, 4] f32) -> ("y": [r, 2] f32) {
    %s: [2] i64 = onnx.Shape(%x)
    %n: [] i64 = onnx.Gather(%s, @zero)
    %m: [] i64 = onnx.Add(%n, %n)
    %v: [1] i64 = onnx.Unsqueeze(%m, @axes)
    %t: [2] i64 = onnx.Concat(%v, @two) {axis = 0}
    %y: [r, 2] f32 = onnx.Reshape(%x, %t)
    return %y
  }
}`, []string{"s", "n", "m", "t"}},
	{"one step from symbols is data where data are made of it, and shape where a shape is", `module {
  program @size[n]() -> (Y: [1] i64) {
    Y[i < 1] = {n}
  }
  func @main(%x: [n] f32) -> ("y": [1] i64, "z": [u] f32) {
    %a: [1] i64 = call @size[n]()
    %b: [1] i64 = call @size[n]()
    %z: [u] f32 = onnx.Expand(%x, %b)
    return %a, %z
  }
}`, []string{"b"}},
	{"large integers that are data", `module {
  const @zero: [] i64 = {0}
  const @one: [] i64 = {1}
  func @main(%x: [n] f32) -> ("y": [n] f32) {
    %s: [1] i64 = onnx.Shape(%x)
    %n: [] i64 = onnx.Gather(%s, @zero)
    %at: [n] i64 = onnx.Range(@zero, %n, @one)
    %y: [n] f32 = onnx.Gather(%x, %at)
    return %y
  }
}`, []string{"s", "n"}},
	{"what the data tell is no shape arithmetic", `module {
  const @zero: [] i64 = {0}
  const @one: [] i64 = {1}
  func @main(%x: [n] i64, %w: [k] f32) -> ("y": [u] i64) {
    %n: [] i64 = onnx.ReduceMax(%x) {keepdims = 0}
    %y: [u] i64 = onnx.Range(@zero, %n, @one)
    return %y
  }
}`, nil},
	{"a kernel's program, a region, and the end of a life", `module {
  program @twice[n](X: [1] i64) -> (Y: [1] i64) {
    Y[i < 1] = (X[i] + X[i])
  }
  kernel @test.twice = @twice
  func @main(%x: [n] f32, %c: [] bool) -> ("y": [u] f32) {
    %y: [u] f32 = onnx.If(%c) { ()
      %s: [1] i64 = onnx.Shape(%x)
      %t: [1] i64 = call kernel @test.twice[n](%s)
      %e: [v] f32 = onnx.Expand(%x, %t)
      vm.release(%t)
      yield %e
    } { ()
      yield %x
    }
    return %y
  }
}`, []string{"s", "t"}},
}

func TestShapeArithmetic(t *testing.T) {
	for _, c := range shapes {
		m := parse(t, c.module)
		before := m.Syms.Symbols()
		var got []string
		for _, s := range analysis.ShapeArithmetic(m) {
			got = append(got, s.Results[0].Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v only compute shapes, want %v", c.name, got, c.want)
		}
		if after := m.Syms.Symbols(); !slices.Equal(after, before) {
			t.Errorf("%s: the module has symbols %v, had %v", c.name, after, before)
		}
	}
}
