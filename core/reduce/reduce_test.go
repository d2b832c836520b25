package reduce_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/reduce"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// shrink reduces a module as long as some statement does what op says.
func shrink(t *testing.T, src, op string, known map[string]*tensor.Tensor) string {
	t.Helper()
	m, err := text.Parse("m", []byte(src), nil)
	if err == nil {
		err = ir.Verify(m)
	}
	if err != nil {
		t.Fatal(err)
	}
	was := text.String(m)
	small := reduce.Module(context.Background(), m, reduce.Options{
		Fails: func(m *ir.Module) (found bool) {
			if err := ir.Verify(m); err != nil {
				t.Errorf("an invalid module was tried: %v", err)
			}
			m.Main().Walk(func(s *ir.Stmt) { found = found || s.OpName() == op })
			return found
		},
		Size:  func(string) int64 { return 1 },
		Known: func(name string) *tensor.Tensor { return known[name] },
	})
	if text.String(m) != was {
		t.Error("the module itself was changed")
	}
	if err := ir.Verify(small); err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(text.String(small))
}

func TestModule(t *testing.T) {
	for _, c := range []struct{ name, op, src, want string }{
		{"a chain", "onnx.Sqrt", `module "m" {
  dims n in [1, 8]
  func @main(%x: [n, 12] f32, %y: [m] f32) -> ("a": [n, 12] f32, "b": [m] f32) {
    %a: [n, 12] f32 = onnx.Abs(%x)
    %b: [n, 12] f32 = onnx.Sqrt(%a) @ "node"
    %c: [n, 12] f32 = onnx.Exp(%b)
    %d: [m] f32 = onnx.Exp(%y)
    return %c, %d
  }
}`, `module {

  func @main(%a: [1, 1] f32) -> ("b": [1, 1] f32) {
    %b: [1, 1] f32 = onnx.Sqrt(%a) @ "node"
    return %b
  }
}`},
		{"shapes that are computed become constants", "onnx.Reshape", `module {
  const @two: [1] i64 = {2}
  const @first: [1] i64 = {0}
  func @main(%x: [n, 6] f32) -> ("y": [n, 2, 3] f32) {
    %s: [2] i64 = onnx.Shape(%x)
    %f: [1] i64 = onnx.Gather(%s, @first) {axis = 0}
    %t: [3] i64 = onnx.Concat(%f, @two, @two) {axis = 0}
    %y: [n, 2, 3] f32 = onnx.Reshape(%x, %t)
    return %y
  }
}`, `module {

  const @t: [3] i64 = {1, 1, 1}

  func @main(%x: [1, 1] f32) -> ("y": [1, 1, 1] f32) {
    %y: [1, 1, 1] f32 = onnx.Reshape(%x, @t)
    return %y
  }
}`},
		{"in the branch of a conditional in a loop", "onnx.Sub", `module {
  func @main(%k: [] i64, %c: [] bool, %x: [n] f32) -> ("y": [n] f32) {
    %y: [n] f32 = onnx.Loop(%k, _, %x) { (%i: [] i64, %on: [] bool, %was: [n] f32)
      %z: [n] f32 = onnx.If(%c) { ()
        %e: [n] f32 = onnx.Exp(%was)
        %s: [n] f32 = onnx.Sub(%e, %x)
        yield %s
      } { ()
        yield %was
      }
      yield %on, %z
    }
    return %y
  }
}`, `module {

  func @main(%x: [1] f32, %e: [1] f32) -> ("y": [1] f32) {
    %y: [1] f32 = onnx.Loop(_, _, %x) { (%i: [] i64, %on: [] bool, %was: [1] f32)
      %s: [1] f32 = onnx.Sub(%e, %x)
      yield %on, %s
    }
    return %y
  }
}`},
		{"a call of a program", "call @f", `module {
  func @main(%x: [n, 8] f32, %w: [8] f32) -> ("y": [n, 8] f32) {
    %s: storage = vm.alloc() {bytes = "32*n"}
    %a: [n, 8] f32 = call @g[n](%x) in %s
    %y: [n, 8] f32 = call @f[n](%a, %w)
    vm.release(%a)
    return %y
  }
  program @g[m](X: [m, 8] f32) -> (Y: [m, 8] f32) {
    Y[i < m, j < 8] = abs(X[i, j])
  }
  program @f[m](X: [m, 8] f32, W: [8] f32) -> (Y: [m, 8] f32) {
    Y[i < m, j < 8] = exp((X[i, j] * W[j]))
  }
}`, `module {

  func @main(%a: [1, 1] f32) -> ("y": [1, 1] f32) {
    %y: [1, 1] f32 = call @f[1](%a)
    return %y
  }

  program @f[m](X: [m, 1] f32) -> (Y: [m, 1] f32) {
    Y[i < m, j < 1] = X[i, j]
  }
}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := map[string]*tensor.Tensor{"t": tensor.Of([]int64{1, 2, 3}, 3)}
			if got := shrink(t, c.src, c.op, known); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// A reduction that is stopped gives what it has.
func TestStops(t *testing.T) {
	m, err := text.Parse("m", []byte(`module {
  func @main(%x: [n] f32) -> ([n] f32) {
    %y: [n] f32 = onnx.Abs(%x)
    return %y
  }
}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if small := reduce.Module(ctx, m, reduce.Options{Fails: func(*ir.Module) bool { t.Error("it went on"); return true }}); small != m {
		t.Error("it gave something else")
	}
}
