package analysis_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// demandOf is what is wanted of the gradient D, which stages read.
func demandOf(t *testing.T, stages string, inputs ...string) (*analysis.Demand, *ir.Program) {
	t.Helper()
	m, err := text.Parse("demand", []byte(`module {
  func @main(%x: [5, 4] f32, %g: [5, 3] f32, %m: [4, 3] f32, %w: [4, 3] f32, %b: [4, 3] bool, %r: [4] bool, %v: [] f32, %u: [4, 3] u8) -> ("c": [4, 3] f32) {
    %c: [4, 3] f32 = call @p(%x, %g, %m, %w, %b, %r, %v, %u)
    return %c
  }
  program @p(X: [5, 4] f32, G: [5, 3] f32, M: [4, 3] f32, W: [4, 3] f32, B: [4, 3] bool, R: [4] bool, V: [] f32, U: [4, 3] u8) -> (C: [4, 3] f32) {
    D[i < 4, j < 3] f32 = sum(k < 5) (X[k, i] * G[k, j])
`+stages+`
  }
}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(m); err != nil {
		t.Fatal(err)
	}
	var s *ir.Stmt
	m.Main().Walk(func(x *ir.Stmt) { s = x })
	c := analysis.NewFacts(m, 1<<20, inputs...).Call(s)
	return c.Demand(m.Programs[0].Stages[0]), m.Programs[0]
}

// What reads a sum goes by a mask, or does not.
func TestDemand(t *testing.T) {
	for _, c := range []struct{ name, stages, want string }{
		{"a product", "C[i < 4, j < 3] = (D[i, j] * M[i, j])", "(M[i, j] != f32 0)"},
		{"an update", "C[i < 4, j < 3] = (W[i, j] - ((D[i, j] * M[i, j]) * V[]))", "(M[i, j] != f32 0)"},
		{"scaled first", "C[i < 4, j < 3] = (W[i, j] - ((D[i, j] * f32 0.5) * M[i, j]))", "(M[i, j] != f32 0)"},
		{"scaled by anything first", "C[i < 4, j < 3] = (W[i, j] - ((D[i, j] * V[]) * M[i, j]))", "all"},
		{"squared first", "C[i < 4, j < 3] = ((D[i, j] * D[i, j]) * M[i, j])", "all"},
		{"a root first", "C[i < 4, j < 3] = (sqrt(D[i, j]) * M[i, j])", "all"},
		{"chosen", "C[i < 4, j < 3] = select(B[i, j], D[i, j], f32 0)", "B[i, j] any"},
		{"chosen by rows", "C[i < 4, j < 3] = select(R[i], D[i, j], W[i, j])", "R[i] any"},
		{"the other is chosen", "C[i < 4, j < 3] = select(B[i, j], f32 0, D[i, j])", "not(B[i, j]) any"},
		{"chosen by what is not", "C[i < 4, j < 3] = select(not(B[i, j]), D[i, j], f32 0)", "not(B[i, j]) any"},
		{"chosen by what is not not", "C[i < 4, j < 3] = select(not(B[i, j]), f32 0, D[i, j])", "B[i, j] any"},
		{"chosen where a number is not zero", "C[i < 4, j < 3] = select((M[i, j] == f32 0), f32 0, D[i, j])", "(M[i, j] != f32 0) any"},
		{"chosen by a number", "C[i < 4, j < 3] = select(bool(M[i, j]), D[i, j], f32 0)", "(M[i, j] != f32 0) any"},
		{"chosen where a number is zero", "C[i < 4, j < 3] = select((M[i, j] == f32 0), D[i, j], f32 0)", "all"},
		{"chosen where a number is one", "C[i < 4, j < 3] = select((M[i, j] == f32 1), D[i, j], f32 0)", "all"},
		{"multiplied by bytes", "C[i < 4, j < 3] = (D[i, j] * f32(U[i, j]))", "(U[i, j] != u8 0)"},
		{"multiplied by what is not", "C[i < 4, j < 3] = (D[i, j] * f32(not(B[i, j])))", "not(B[i, j])"},
		{"both are chosen", "C[i < 4, j < 3] = select(B[i, j], D[i, j], (D[i, j] * f32 2))", "all"},
		{"multiplied by a truth value", "C[i < 4, j < 3] = (D[i, j] * f32(B[i, j]))", "B[i, j]"},
		{"read twice", "E[i < 4, j < 3] f32 = (D[i, j] * M[i, j])\nC[i < 4, j < 3] = ((E[i, j] * E[i, j]) + (M[i, j] * D[i, j]))", "(M[i, j] != f32 0)"},
		{"read twice, once by another", "E[i < 4, j < 3] f32 = (D[i, j] * M[i, j])\nC[i < 4, j < 3] = (E[i, j] + select(B[i, j], D[i, j], f32 0))", "all"},
		{"read once more", "E[i < 4, j < 3] f32 = (D[i, j] * M[i, j])\nC[i < 4, j < 3] = (E[i, j] + D[i, j])", "all"},
		{"summed up", "E[j < 3] f32 = sum(i < 4) D[i, j]\nC[i < 4, j < 3] = (E[j] * M[i, j])", "all"},
		{"read elsewhere", "C[i < 4, j < 3] = (D[(3 - i), j] * M[i, j])", "all"},
		{"read broadcast", "C[i < 4, j < 3] = (D[0, j] * M[i, j])", "all"},
		{"a factor that is there for something else, too", "C[i < 4, j < 3] = (W[i, j] + (D[i, j] * W[i, j]))", "all"},
		{"a mask made later", "E[i < 4, j < 3] f32 = max(W[i, j], f32 0)\nC[i < 4, j < 3] = (D[i, j] * E[i, j])", "all"},
		{"not read", "C[i < 4, j < 3] = W[i, j]", "all"},
	} {
		got := "all"
		if d, _ := demandOf(t, c.stages); d != nil {
			if got = d.Cond.String(); d.Any {
				got += " any"
			}
		}
		if got != c.want {
			t.Errorf("%s: %s is wanted, not %s", c.name, got, c.want)
		}
	}
}

// All of a sum counts that is a result, too, whatever else reads it.
func TestDemandOfResult(t *testing.T) {
	for results, want := range map[string]bool{"(C: [4, 3] f32)": true, "(C: [4, 3] f32, D: [4, 3] f32)": false, "(D: [4, 3] f32, C: [4, 3] f32)": false} {
		is, names, values := "", "", strings.Count(results, ":")
		if values == 1 {
			is = " f32"
		}
		for i := range values {
			names += fmt.Sprintf(", %%r%d: [4, 3] f32", i)
		}
		m, err := text.Parse("demand", []byte(`module {
  func @main(%x: [5, 4] f32, %g: [5, 3] f32, %m: [4, 3] f32) -> ("c": [4, 3] f32) {
    `+names[2:]+` = call @p(%x, %g, %m)
    return %r0
  }
  program @p(X: [5, 4] f32, G: [5, 3] f32, M: [4, 3] f32) -> `+results+` {
    D[i < 4, j < 3]`+is+` = sum(k < 5) (X[k, i] * G[k, j])
    C[i < 4, j < 3] = (D[i, j] * M[i, j])
  }
}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		var s *ir.Stmt
		m.Main().Walk(func(x *ir.Stmt) { s = x })
		if got := analysis.NewFacts(m, 1<<20, "m").Call(s).Demand(m.Programs[0].Stages[0]) != nil; got != want {
			t.Errorf("%s: only a part of D is wanted: %t", results, got)
		}
	}
}

// A square is read as it is, or turned; where both are, no mask says of both what is wanted.
func TestDemandOfSquare(t *testing.T) {
	for x, want := range map[string]string{
		"(D[i, j] * M[i, j])":                         "(M[i, j] != f32 0)",
		"(D[j, i] * M[i, j])":                         "(M[j, i] != f32 0)",
		"((D[i, j] + D[j, i]) * M[i, j])":             "all",
		"((D[i, j] * M[i, j]) + (D[j, i] * M[j, i]))": "all",
	} {
		m, err := text.Parse("demand", []byte(`module {
  func @main(%x: [5, 4] f32, %g: [5, 4] f32, %m: [4, 4] f32) -> ("c": [4, 4] f32) {
    %c: [4, 4] f32 = call @p(%x, %g, %m)
    return %c
  }
  program @p(X: [5, 4] f32, G: [5, 4] f32, M: [4, 4] f32) -> (C: [4, 4] f32) {
    D[i < 4, j < 4] f32 = sum(k < 5) (X[k, i] * G[k, j])
    C[i < 4, j < 4] = `+x+`
  }
}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		var s *ir.Stmt
		m.Main().Walk(func(x *ir.Stmt) { s = x })
		got := "all"
		if d := analysis.NewFacts(m, 1<<20, "m").Call(s).Demand(m.Programs[0].Stages[0]); d != nil {
			got = d.Cond.String()
		}
		if got != want {
			t.Errorf("%s: %s is wanted, not %s", x, got, want)
		}
	}
}

// Where a sum is never zero, what is left out of it is: what reads it has to be finite there, too.
func TestDemandOfSumThatIsNeverZero(t *testing.T) {
	for x, want := range map[string]string{"(f32 1 / D[i, j])": "all", "log(D[i, j])": "all", "(f32 1 / (D[i, j] + f32 1))": "(M[i, j] != f32 0) any"} {
		m, err := text.Parse("demand", []byte(`module {
  func @main(%x: [5, 4] bool, %g: [5, 3] bool, %m: [4, 3] f32) -> ("c": [4, 3] f32) {
    %c: [4, 3] f32 = call @p(%x, %g, %m)
    return %c
  }
  program @p(X: [5, 4] bool, G: [5, 3] bool, M: [4, 3] f32) -> (C: [4, 3] f32) {
    D[i < 4, j < 3] f32 = sum(k < 5) ((f32(X[k, i]) + f32 1) * (f32(G[k, j]) + f32 1))
    C[i < 4, j < 3] = (`+x+` * M[i, j])
  }
}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		var s *ir.Stmt
		m.Main().Walk(func(x *ir.Stmt) { s = x })
		got := "all"
		if d := analysis.NewFacts(m, 1<<20, "m").Call(s).Demand(m.Programs[0].Stages[0]); d != nil {
			if got = d.Cond.String(); d.Any {
				got += " any"
			}
		}
		if got != want {
			t.Errorf("%s: %s is wanted, not %s", x, got, want)
		}
	}
}

// Whatever is computed of a sum, it is the same for zeros where the sum is not wanted.
func TestDemandOfExpressions(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var expr func(depth int, sum string) string
	expr = func(depth int, sum string) string {
		if depth == 0 || r.IntN(8) == 0 {
			return []string{sum, sum, sum, "M[i, j]", "W[i, j]", "V[]", "f32 0.5", "f32 0", "f32(B[i, j])"}[r.IntN(9)]
		}
		sub := func() string { return expr(depth-1, sum) }
		switch r.IntN(9) {
		case 0, 1:
			return fmt.Sprintf("(%s * M[i, j])", sub())
		case 2:
			return fmt.Sprintf("select(B[i, j], %s, %s)", sub(), sub())
		case 3:
			return fmt.Sprintf("(%s * %s)", sub(), sub())
		case 4:
			return fmt.Sprintf("(%s %s %s)", sub(), []string{"+", "-", "/"}[r.IntN(3)], sub())
		case 5:
			return fmt.Sprintf("%s(%s)", []string{"exp", "abs", "neg", "sqrt", "tanh"}[r.IntN(5)], sub())
		case 6:
			return fmt.Sprintf("max(%s, %s)", sub(), sub())
		case 7:
			return fmt.Sprintf("select((M[i, j] == f32 0), %s, %s)", sub(), sub())
		}
		return fmt.Sprintf("f32(f16(%s))", sub())
	}
	found := map[bool]int{}
	for range 4000 {
		seed := r.Uint64()
		stage := func(sum string) string {
			r = rand.New(rand.NewPCG(seed, 1))
			s := fmt.Sprintf("C[i < 4, j < 3] = %s\n", expr(1+r.IntN(4), sum))
			if r.IntN(3) == 0 {
				s = fmt.Sprintf("E[i < 4, j < 3] f32 = %s\nC[i < 4, j < 3] = (E[i, j] + %s)\n", expr(1+r.IntN(3), sum), expr(1+r.IntN(3), sum))
			}
			return s
		}
		d, _ := demandOf(t, stage("D[i, j]"), "m")
		if d == nil {
			continue
		}
		found[d.Any]++
		params := "D: [4, 3] f32, M: [4, 3] f32, W: [4, 3] f32, B: [4, 3] bool, V: [] f32"
		all := program(t, fmt.Sprintf("program @all(%s) -> (C: [4, 3] f32) {\n%s}", params, stage("D[i, j]")))
		some := program(t, fmt.Sprintf("program @some(%s) -> (C: [4, 3] f32) {\nZ[i < 4, j < 3] f32 = select(%s, D[i, j], f32 0)\n%s}", params, d.Cond, stage("Z[i, j]")))
		for range 8 {
			var args []*tensor.Tensor
			for _, b := range all.Params {
				shape := []int64{4, 3}[:len(b.Dims)]
				x := tensor.New(b.DType, shape...)
				for i := range x.Len() {
					switch {
					case b.DType == tensor.Bool:
						x.SetBool(i, r.IntN(2) == 0)
					case b.Name == "D" && !d.Any:
						x.SetFloat(i, (2*r.Float64()-1)*math.Exp2(float64(r.IntN(100))))
					default:
						x.SetFloat(i, []float64{0, math.Copysign(0, -1), 1, -2, 1e30, -3e38, math.Inf(1), math.NaN()}[r.IntN(8)])
					}
				}
				args = append(args, x)
			}
			want, err := interp.RunProgram(context.Background(), all, nil, args)
			if err != nil {
				t.Fatal(err)
			}
			got, err := interp.RunProgram(context.Background(), some, nil, args)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want[0].Len() {
				// The sign of a zero is lost, and with it that of what is divided by one.
				x, y := want[0].Float(i), got[0].Float(i)
				if x != y && (x == x || y == y) && !strings.Contains(stage("D[i, j]"), "/") {
					t.Fatalf("wanted %s, any %v: %v becomes %v of\n%s", d.Cond, d.Any, x, y, stage("D[i, j]"))
				}
			}
		}
	}
	t.Logf("of %d it is left out what is within bounds, of %d anything", found[false], found[true])
	if found[false] < 50 || found[true] < 50 {
		t.Error("there is too little to say anything")
	}
}
