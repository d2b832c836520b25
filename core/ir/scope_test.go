package ir_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

func TestScope(t *testing.T) {
	for _, c := range []struct{ types, told string }{
		{"[n, 2] f32", "n"},
		{"[n, m] f32; [n] f32", "m n"},
		{"[2*n + 1] f32", "n"},
		{"[n + m] f32", ""},             // one equation
		{"[n + m, n] f32", "m n"},       // and another
		{"[n + m] f32; [n] f32", "m n"}, // also of a value behind it
		{"[a + b] f32; [b + c] f32; [c] f32", "a b c"},
		{"[n*m] f32", ""},
		{"[n*m, n] f32", "n"}, // n may be 0
		{"[n//2] f32", ""},    // two sizes have one half
		{"[n % 3] f32", ""},
		{"[max(n, 1)] f32", ""},
		{"[n**2] f32", ""},
		{"[n - m, m] f32", "m n"},
		{"[*] f32; seq([n] f32); optional([m] f32); [k] f32", "k"},
		{"[2] f32; [] f32; storage", ""},
	} {
		var s ir.Scope
		var types []ir.Type
		for _, x := range strings.Split(c.types, "; ") {
			types = append(types, typ(t, x))
		}
		s.Bind(types...)
		told := slices.Sorted(slices.Values(s.Since(0)))
		if got := strings.Join(told, " "); got != c.told {
			t.Errorf("%s tells %q, want %q", c.types, got, c.told)
		}
	}
	var s ir.Scope
	s.Bind(typ(t, "[n] f32"))
	mark := s.Mark()
	s.Bind(typ(t, "[n, m] f32"))
	nm := sym.Var("n").Mul(sym.Var("m"))
	if s.Missing(nm) != "" || !slices.Equal(s.Since(mark), []string{"m"}) {
		t.Errorf("missing %q, since the mark %v", s.Missing(nm), s.Since(mark))
	}
	s.Reset(mark)
	if s.Missing(nm) != "m" || !s.Has("n") || s.Has("m") {
		t.Error("Reset does not take back what came after the mark")
	}
}

// What Scope says is told, a run finds; and what it does not say, a run need not find.
func TestScopeIsWhatRunsFind(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 1))
	names := []string{"a", "b", "c"}
	expr := func() sym.Expr {
		x, y := sym.Var(names[rnd.IntN(3)]), sym.Var(names[rnd.IntN(3)])
		k := sym.Const(int64(rnd.IntN(3)))
		switch rnd.IntN(7) {
		case 0:
			return x
		case 1:
			return x.Add(y)
		case 2:
			return x.Mul(y)
		case 3:
			return x.Mul(sym.Const(3)).Add(k)
		case 4:
			return x.FloorDiv(sym.Const(2)).Add(y)
		case 5:
			return x.Max(y)
		}
		return x.Add(y.Mul(k)).Add(k)
	}
	told := 0
	for range 3000 {
		values := map[string]int64{}
		for _, s := range names {
			values[s] = int64(rnd.IntN(5))
		}
		var types []ir.Type
		var vals []tensor.Value
		for range 1 + rnd.IntN(3) {
			var dims []sym.Expr
			var shape []int64
			for range 1 + rnd.IntN(2) {
				e := expr()
				n, err := e.Eval(func(s string) (int64, bool) { return values[s], true })
				if err != nil {
					t.Fatal(err)
				}
				dims, shape = append(dims, e), append(shape, n)
			}
			types, vals = append(types, ir.TensorOf(tensor.Bool, dims...)), append(vals, tensor.New(tensor.Bool, shape...))
		}
		var s ir.Scope
		s.Bind(types...)
		e := ir.NewEnv(nil)
		if err := e.BindAll(types, vals, func(i int) string { return fmt.Sprint("value ", i) }); err != nil {
			t.Fatalf("%v with %v: %v", types, values, err)
		}
		for _, name := range names {
			n, ok := e.Lookup(name)
			if s.Has(name) {
				told++
			}
			if s.Has(name) && !ok || ok && s.Has(name) && n != values[name] {
				t.Fatalf("%v: %s is %d (%v), it must be %d", types, name, n, ok, values[name])
			}
		}
	}
	if told < 1000 {
		t.Errorf("only %d symbols were told: the test draws nothing of interest", told)
	}
}

// A dim that can not be checked when its value comes in is checked when the others are
// there.
func TestBindAllChecksEveryDim(t *testing.T) {
	types := []ir.Type{typ(t, "[n + m] f32"), nil, typ(t, "[n] f32"), typ(t, "[m] f32")}
	bind := func(sum, n, m int64) error {
		vals := []tensor.Value{tensor.New(tensor.F32, sum), nil, tensor.New(tensor.F32, n), tensor.New(tensor.F32, m)}
		return ir.NewEnv(nil).BindAll(types, vals, func(i int) string { return fmt.Sprintf("input %d", i) })
	}
	if err := bind(5, 2, 3); err != nil {
		t.Error(err)
	}
	err := bind(6, 2, 3)
	for _, s := range []string{"dim 0 of input 0 is 6", "n + m is 5", "m = 3", "n = 2 bound by dim 0 of input 2"} {
		if diag.CodeOf(err) != diag.Run || !strings.Contains(fmt.Sprint(err), strings.ReplaceAll(s, "n + m", "m + n")) && !strings.Contains(fmt.Sprint(err), s) {
			t.Errorf("got %v, want %q", err, s)
		}
	}
}

func TestSubst(t *testing.T) {
	m := parse(t, whole)
	x := &ir.Subst{Values: map[*ir.Value]*ir.Value{value(m, "w"): value(m, "i"), value(m, "i"): value(m, "x")},
		Syms: map[string]sym.Expr{"n": sym.Var("k").Mul(sym.Const(2))}}
	for _, name := range []string{"s", "d", "v"} {
		x.Stmt(stmt(m, name))
	}
	d := stmt(m, "d")
	if d.Args[0] != value(m, "x") || ir.ShapeString(d.Bind) != "[2*k]" || d.Results[0].Type.String() != "[2*k, 2] f32" {
		t.Errorf("the call reads %%%s, binds %s and gives %s", d.Args[0].Name, ir.ShapeString(d.Bind), d.Results[0].Type)
	}
	if e := stmt(m, "e"); ir.ShapeString(e.Bind) != "[n]" {
		t.Errorf("another call binds %s", ir.ShapeString(e.Bind))
	}
	if bytes, _ := stmt(m, "s").AllocBytes(); bytes.String() != "16*k" {
		t.Errorf("the storage has %s bytes", bytes)
	}
	if got := stmt(m, "v").Attrs.Get("type").(ir.Type).String(); got != "[2, 2*k] f32" {
		t.Errorf("the view is %s", got)
	}
}

// Programs have one key where they are the same but for names.
func TestKeys(t *testing.T) {
	m := parse(t, `module {
  program @a[n, m](X: [n, m] f32) -> (Y: [n] f32) {
    Y[i < n] = sum(j < m) X[i, j]
  }
  program @same[p, q](U: [p, q] f32) -> (V: [p] f32) {
    V[r < p] = sum(s < q) U[r, s]
  }
  program @turned[m, n](X: [n, m] f32) -> (Y: [n] f32) {
    Y[i < n] = sum(j < m) X[i, j]
  }
  program @more[n, m, unused](X: [n, m] f32) -> (Y: [n] f32) {
    Y[i < n] = sum(j < m) X[i, j]
  }
  program @max[n, m](X: [n, m] f32) -> (Y: [n] f32) {
    Y[i < n] = max(j < m) X[i, j]
  }
  program @square[n](X: [n, n] f32) -> (Y: [n] f32) {
    Y[i < n] = sum(j < n) X[i, j]
  }
}`)
	key := m.Program("a").Key()
	for _, p := range m.Programs {
		if same := p.Key() == key; same != (p.Name == "a" || p.Name == "same") {
			t.Errorf("@%s has the key of @a: %v", p.Name, same)
		}
	}
}
