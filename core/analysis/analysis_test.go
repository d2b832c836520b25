package analysis_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/text"
)

func parse(t *testing.T, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse("test", []byte(src), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// program parses one program.
func program(t *testing.T, src string) *ir.Program {
	t.Helper()
	m := parse(t, "module {\n"+src+"\n}")
	if err := ir.VerifyProgram(m.Programs[0]); err != nil {
		t.Fatal(err)
	}
	return m.Programs[0]
}

// stages are programs of one stage and what is to be found of it: its kind, its axes that
// may be permuted, and its zero rules.
var stages = []struct{ name, program, kind, axes, zero string }{
	{"relu", `program @p[n](X: [n, 4] f32) -> (Y: [n, 4] f32) {
		Y[i < n, j < 4] = max(X[i, j], f32 0)
	}`, "elementwise", "i j", "X"},
	{"gelu of a sum", `program @p[n](X: [n] f32, Z: [n] f32) -> (Y: [n] f32) {
		Y[i < n] = tanh((X[i] + Z[i]))
	}`, "elementwise", "i", ""},
	{"sigmoid", `program @p[n](X: [n] f32) -> (Y: [n] f32) {
		Y[i < n] = (f32 1 / (f32 1 + exp(neg(X[i]))))
	}`, "elementwise", "i", ""},
	{"silu", `program @p[n](X: [n] f32) -> (Y: [n] f32) {
		Y[i < n] = (X[i] * (f32 1 / (f32 1 + exp(neg(X[i])))))
	}`, "elementwise", "i", "X"},
	{"gate", `program @p[n](X: [n] f32, Z: [n] f32) -> (Y: [n] f32) {
		Y[i < n] = (X[i] * Z[i])
	}`, "elementwise", "i", "X(Z) Z(X)"},
	{"product with what may be infinite", `program @p[n](X: [n] f32, Z: [n] f32) -> (Y: [n] f32) {
		Y[i < n] = (X[i] * exp(Z[i]))
	}`, "elementwise", "i", ""},
	{"integer product", `program @p[n](X: [n] i32, Z: [n] i32) -> (Y: [n] i32) {
		Y[i < n] = (X[i] * (Z[i] + Z[i]))
	}`, "elementwise", "i", "X Z"},
	{"mask", `program @p[n](X: [n] f32, M: [n] bool) -> (Y: [n] f32) {
		Y[i < n] = select(M[i], X[i], f32 0)
	}`, "elementwise", "i", "M X"},
	{"mask with infinity", `program @p[n](X: [n] f32, M: [n] bool) -> (Y: [n] f32) {
		Y[i < n] = select(M[i], X[i], f32 -inf)
	}`, "elementwise", "i", ""},
	{"bias", `program @p[n](X: [n, 4] f32, B: [4] f32) -> (Y: [n, 4] f32) {
		Y[i < n, j < 4] = (X[i, j] + B[j])
	}`, "broadcast", "i j", ""},
	{"bias over a dim that may be 1", `program @p[n, m](X: [n] f32, B: [m] f32) -> (Y: [n] f32) {
		Y[i < n] = (X[i] + B[bcast(i, {m}, {n})])
	}`, "broadcast", "i", ""},
	{"a dim of 1", `program @p[n](X: [n] f32, B: [1] f32) -> (Y: [n] f32) {
		Y[i < n] = (X[i] * B[0])
	}`, "broadcast", "i", "X(B) B(X)"},
	{"transpose", `program @p[n, m](X: [n, m] f32) -> (Y: [m, n] f32) {
		Y[i < m, j < n] = X[j, i]
	}`, "injective", "i j", "X"},
	{"shift", `program @p[n](X: [n] f32) -> (Y: [n] f32) {
		Y[i < n] = guard((i >= 1), X[(i - 1)], f32 0)
	}`, "injective", "", "X"},
	{"gather", `program @p[n, m](X: [n, 4] f32, R: [m] i64) -> (Y: [m, 4] f32) {
		Y[i < m, j < 4] = X[R[i], j]
	}`, "injective", "i j", "X"},
	{"fill", `program @p[n]() -> (Y: [n] f32) {
		Y[i < n] = f32 1
	}`, "elementwise", "i", ""},
	{"row sums", `program @p[n, m](X: [n, m] f32) -> (Y: [n] f32) {
		Y[i < n] = sum(k < m) X[i, k]
	}`, "reduction", "i k", "X"},
	{"sum of squares", `program @p[n, m](X: [n, m] f32) -> (Y: [n] f32) {
		Y[i < n] = sum(k < m) (X[i, k] * X[i, k])
	}`, "reduction", "i k", "X"},
	{"row maxima", `program @p[n, m](X: [n, m] f32) -> (Y: [n] f32) {
		Y[i < n] = max(k < m) X[i, k]
	}`, "reduction", "i k", ""},
	{"matmul", `program @p[n, k, m](A: [n, k] f32, B: [k, m] f32) -> (C: [n, m] f32) {
		C[i < n, j < m] = sum(l < k) (A[i, l] * B[l, j])
	}`, "contraction", "i j l", "A(B) B(A)"},
	{"convolution", `program @p[n](X: [n, 3, 18] f32, W: [8, 3, 3] f32) -> (Y: [n, 8, 16] f32) {
		Y[b < n, f < 8, x < 16] = sum(c < 3, i < 3) (X[b, c, (x + i)] * W[f, c, i])
	}`, "contraction", "b f c", "X(W) W(X)"},
	{"running sum", `program @p[n](X: [n, 4] f32) -> (Y: [n, 4] f32) {
		Y[i < n, j < 4] = scan sum(i) X[i, j]
	}`, "opaque", "j", ""},
	{"scatter", `program @p[n, m](X: [n] f32, I: [m] i64, U: [m] f32) -> (Y: [n] f32) {
		Y[u < m] = scatter sum(X, [I[u]]) U[u]
	}`, "opaque", "u", ""},
	{"scatter of the last", `program @p[n, m](X: [n] f32, I: [m] i64, U: [m] f32) -> (Y: [n] f32) {
		Y[u < m] = scatter last(X, [I[u]]) U[u]
	}`, "opaque", "", ""},
}

func TestStages(t *testing.T) {
	for _, c := range stages {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			s := program(t, c.program).Stages[0]
			if got := analysis.StageKind(s).String(); got != c.kind {
				t.Errorf("kind %s, want %s", got, c.kind)
			}
			var axes []string
			for _, a := range analysis.PITAxes(s) {
				axes = append(axes, a.Name)
			}
			if got := strings.Join(axes, " "); got != c.axes {
				t.Errorf("axes %q, want %q", got, c.axes)
			}
			var rules []string
			for _, r := range analysis.ZeroRules(s) {
				rule := r.Buffer.Name
				for _, f := range r.Finite {
					rule += fmt.Sprintf("(%s)", f.Name)
				}
				rules = append(rules, rule)
			}
			if got := strings.Join(rules, " "); got != c.zero {
				t.Errorf("zero rules %q, want %q", got, c.zero)
			}
		})
	}
}

func TestProgramKind(t *testing.T) {
	p := program(t, `program @softmax[n, m](X: [n, m] f32) -> (Y: [n, m] f32) {
		M[i < n] f32 = max(k < m) X[i, k]
		Y[i < n, j < m] = exp((X[i, j] - M[i]))
	}`)
	if got := analysis.ProgramKind(p); got != analysis.Reduction {
		t.Errorf("got %s", got)
	}
}

func TestLives(t *testing.T) {
	m := parse(t, `module {
  func @main(%x: [n] f32, %c: [] bool) -> ("y": [n] f32) {
    %a: [n] f32 = onnx.Relu(%x)
    %b: [n] f32 = onnx.Neg(%a)
    %v: [n] f32 = match_cast(%b)
    %y: [n] f32 = onnx.If(%c) { ()
      %inner: [n] f32 = onnx.If(%c) { ()
        yield %a
      } { ()
        yield %v
      }
      yield %inner
    } { ()
      yield %x
    }
    return %y
  }
}`)
	f := m.Main()
	byName := map[string]*ir.Value{}
	for _, v := range f.Params {
		byName[v.Name] = v
	}
	for _, s := range f.Stmts {
		byName[s.Results[0].Name] = s.Results[0]
	}
	last := analysis.LastUses(&f.Block)
	for name, want := range map[string]int{"x": 3, "c": 3, "a": 3, "b": 2, "v": 3, "y": 4} {
		if got, ok := last[byName[name]]; !ok || got != want {
			t.Errorf("%s is read last at %d, want %d", name, got, want)
		}
	}
}

// What is computed in a branch, and read there, is in use no longer than that; what is read from
// around it is until the branch ends.
func TestLivesInBranches(t *testing.T) {
	m := parse(t, `module {
  func @main(%x: [n] f32, %c: [] bool) -> ("y": [n] f32) {
    %around: [n] f32 = call @neg[n](%x)
    %z: [n] f32 = onnx.If(%c) { ()
      %inner: [n] f32 = call @neg[n](%around)
      %second: [n] f32 = call @neg[n](%inner)
      %third: [n] f32 = call @neg[n](%second)
      yield %third
    } { ()
      yield %x
    }
    %y: [n] f32 = call @neg[n](%z)
    return %y
  }
  program @neg[n](X: [n] f32) -> (Y: [n] f32) {
    Y[i < n] = neg(X[i])
  }
}`)
	f := m.Main()
	lives := analysis.LivesOf(f)
	got := map[string]analysis.Life{}
	f.Walk(func(s *ir.Stmt) {
		for _, v := range s.Results {
			got[v.Name] = lives.Results[v]
		}
	})
	for name, want := range map[string]analysis.Life{"around": {From: 0, To: 4}, "inner": {From: 1, To: 2}, "second": {From: 2, To: 3}} {
		if got[name] != want {
			t.Errorf("%s lives from %d to %d, want %d to %d", name, got[name].From, got[name].To, want.From, want.To)
		}
	}
}
