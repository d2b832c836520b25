package sym

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestNormalForm(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"0", "0"},
		{"n - n", "0"},
		{"2*n - 1 + seq*batch", "batch*seq + 2*n - 1"},
		{"(n + 1)**2", "n**2 + 2*n + 1"},
		{"-n", "-n"},
		{"-(n // 4)", "-(n // 4)"},
		{"(4*n + 6) // 4", "n + 1"},
		{"(6*n) // 4", "n + n // 2"},
		{"(n // 2 + 1) // 3", "(n + 2) // 6"},
		{"(-n) // 4", "-((n + 3) // 4)"},
		{"n // -4", "-((n + 3) // 4)"},
		{"ceildiv(n, 4)", "(n + 3) // 4"},
		{"ceildiv(a, b)", "ceildiv(a, b)"},
		{"a - 2*m*ceildiv(a, b)", "-2*m*ceildiv(a, b) + a"},
		{"-7 // 2", "-4"},
		{"-7 % 3", "2"},
		{"7 % -3", "-2"},
		{"(n - 1) % 4", "(n + 3) % 4"},
		{"(-n) % 64", "(-n) % 64"},
		{"(2*n + 1) % 4", "2*(n % 2) + 1"},
		{"(n % 4 + 3) % 2", "(n + 1) % 2"},
		{"(4*n) // (2*m)", "(2*n) // m"},
		{"(4*n) % (2*m)", "2*((2*n) % m)"},
		{"(a*b) // b", "(a*b) // b"},
		{"min(a + 1, a + 2)", "a + 1"},
		{"max(a, min(b, c), a + 3)", "max(a + 3, min(b, c))"},
		{"min(min(a, b), c, a)", "min(a, b, c)"},
		{"max(n + 1, 1)", "max(n, 0) + 1"},
		{"max(2*a, 4*b)", "2*max(a, 2*b)"},
		{"min(-a, -b)", "-max(a, b)"},
		{"a * 9223372036854775807 * -1", "-9223372036854775807*a"},
		{"b - 9223372036854775807*a - a", "-9223372036854775808*a + b"},
		{"1 - 9223372036854775807*b - b + a", "a + -9223372036854775808*b + 1"},
		{"-9223372036854775808", "-9223372036854775808"},
		{`"batch size" + "min"`, `"batch size" + "min"`},
		{"(a // b)**2", "(a // b)**2"},
		{"(a // (b // c)) % d", "(a // (b // c)) % d"},
	} {
		e, err := Parse(test.in)
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		if got := e.String(); got != test.want {
			t.Errorf("%s prints as %s, want %s", test.in, got, test.want)
		}
		if back, err := Parse(e.String()); err != nil || !back.Equal(e) {
			t.Errorf("%s: read again as %s, %v", e, back, err)
		}
	}
}

func TestNoValue(t *testing.T) {
	n := Var("n")
	power := n.Add(Var("m")).Add(one)
	for range 10 {
		power = power.Mul(power)
	}
	deep := n
	for range 1000 {
		deep = deep.FloorDiv(Var("m")).Add(one)
	}
	wide := n
	for range 1000 {
		wide = wide.Min(wide.FloorDiv(Var("m")))
	}
	for _, test := range []struct {
		name string
		e    Expr
		want error
	}{
		{"sum", Const(math.MaxInt64).Add(one), errOverflow},
		{"product", n.Mul(Const(math.MaxInt64)).Mul(Const(2)), errOverflow},
		{"negative", Const(math.MinInt64).Neg(), errOverflow},
		{"quotient", Const(math.MinInt64).FloorDiv(Const(-1)), errOverflow},
		{"by zero", n.FloorDiv(Const(0)), errDivZero},
		{"mod zero", n.Mod(n.Sub(n)), errDivZero},
		{"power", power, errTooLarge},
		{"deep", deep, errTooLarge},
		{"wide", wide, errTooLarge},
	} {
		for _, e := range []Expr{test.e, test.e.Add(n), test.e.Mul(Expr{}), n.Max(test.e), n.Mod(test.e), test.e.FloorDiv(n), test.e.Neg()} {
			if !errors.Is(e.Err(), test.want) {
				t.Errorf("%s: %.40s has error %v, want %v", test.name, e, e.Err(), test.want)
			}
			if _, err := e.Eval(func(string) (int64, bool) { return 1, true }); !errors.Is(err, test.want) {
				t.Errorf("%s: evaluates with error %v, want %v", test.name, err, test.want)
			}
			if !strings.HasPrefix(e.String(), "invalid(") || !e.Equal(invalid(test.want)) {
				t.Errorf("%s prints as %s", test.name, e)
			}
			c := NewContext()
			if c.Equal(e, n) != Unknown || c.LE(e, n) != Unknown || c.Divides(e, n) != Unknown || c.AssumeLE(n, e) == nil || c.AssumeEqual(e, n) == nil {
				t.Errorf("%s: a proof about what has no value", test.name)
			}
			if lo, hi := c.Bounds(e); lo != math.MinInt64 || hi != Inf {
				t.Errorf("%s: bounds %d to %d", test.name, lo, hi)
			}
		}
	}
}

func TestEval(t *testing.T) {
	at := func(s string) (int64, bool) {
		v, ok := map[string]int64{"zero": 0, "n": 7, "big": 1 << 40, "low": -7}[s]
		return v, ok
	}
	for _, test := range []struct {
		in   string
		want int64
		err  string
	}{
		{"n // 2 + n % 4", 6, ""},
		{"low // 2", -4, ""},
		{"low % 4", 1, ""},
		{"n // low + n % low", -1, ""},
		{"max(n, low, 3) - min(n, low)", 14, ""},
		{"big*big", 0, "overflow"},
		{"zero*big*big", 0, ""},
		{"big*big*zero", 0, ""},
		{"n // zero", 0, "division by zero"},
		{"n % zero", 0, "division by zero"},
		{"n + unbound", 0, `"unbound" has no value`},
	} {
		e, err := Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Eval(at)
		if test.err == "" && (err != nil || got != test.want) || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s is %d, %v; want %d, %s", e, got, err, test.want, test.err)
		}
	}
	// the sum fits though a part of it does not
	e := Sum(Var("a"), Var("b"), Var("c"))
	got, err := e.Eval(func(s string) (int64, bool) {
		return map[string]int64{"a": math.MaxInt64, "b": 5, "c": -6}[s], true
	})
	if got != math.MaxInt64-1 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
}

func TestCompiledCodeAllocatesNothing(t *testing.T) {
	e, err := Parse("max(batch*seq // 16, 1) * ((n % 4) + min(n, seq, 3)) - 2")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"batch", "n", "seq"}
	code := e.Compile(func(s string) int {
		for i, name := range names {
			if s == name {
				return i
			}
		}
		t.Fatalf("no symbol %s", s)
		return 0
	})
	slots := []int64{4, 7, 100}
	var got int64
	if n := testing.AllocsPerRun(10, func() { got, err = code.Eval(slots) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got != 148 || err != nil {
		t.Errorf("%d, %v, want 148", got, err)
	}
}

func TestQueries(t *testing.T) {
	e := Var("b").Mul(Var("a").FloorDiv(Var("c"))).Add(Var("a"))
	if got := strings.Join(e.Symbols(), " "); got != "a b c" {
		t.Errorf("symbols %s", got)
	}
	if !e.Uses("c") || e.Uses("d") {
		t.Error("uses")
	}
	if name, ok := Var("x y").Symbol(); name != "x y" || !ok {
		t.Error("a symbol is none")
	}
	if _, ok := e.Symbol(); ok {
		t.Error("a sum is a symbol")
	}
	if !(Expr{}).IsInt(0) || (Expr{}).String() != "0" {
		t.Error("the zero value is not 0")
	}
	swapped := e.Subst(func(s string) (Expr, bool) {
		switch s {
		case "a":
			return Var("b"), true
		case "b":
			return Var("a"), true
		}
		return Expr{}, false
	})
	if got := swapped.String(); got != "a*(b // c) + b" {
		t.Errorf("a and b swapped: %s", got)
	}
	if Prod().String() != "1" || Sum().String() != "0" || Prod(Const(2), Var("n")).String() != "2*n" {
		t.Error("products and sums")
	}
}

func TestBroadcast(t *testing.T) {
	n, m := Var("n"), Var("m")
	for _, test := range []struct {
		a, b Expr
		want string
	}{
		{n, n, "n"}, {n, one, "n"}, {one, n, "n"}, {n, Const(5), "5"}, {Const(5), n, "5"}, {Const(0), n, "0"},
		{Const(3), Const(3), "3"}, {m, n, "min(m, n, 1)*max(m, n)"},
	} {
		if got := Broadcast(test.a, test.b).String(); got != test.want {
			t.Errorf("%s with %s is %s, want %s", test.a, test.b, got, test.want)
		}
	}
	for a := range int64(5) {
		for b := range int64(5) {
			want := max(a, b)
			switch {
			case a != b && a != 1 && b != 1:
				continue
			case a == 0 || b == 0:
				want = 0
			}
			for _, e := range []Expr{Broadcast(n, m), Broadcast(Const(a), m), Broadcast(n, Const(b)), Broadcast(Const(a), Const(b))} {
				got, err := e.Eval(func(s string) (int64, bool) { return map[string]int64{"n": a, "m": b}[s], true })
				if got != want || err != nil {
					t.Errorf("%d with %d is %d, %v by %s, want %d", a, b, got, err, e, want)
				}
			}
		}
	}
}

// What a quotient times its divisor is, is what was divided.
func TestOver(t *testing.T) {
	n, m := Var("n"), Var("m")
	for _, c := range []struct {
		e, f Expr
		ok   bool
	}{
		{n.Mul(m), m, true},
		{n.Mul(m).Add(m), m, true},
		{n.Mul(m).Add(n), m, false},
		{Const(6).Mul(n), Const(3), true},
		{Const(7).Mul(n), Const(3), false},
		{Expr{}, n, true},
		{n, Expr{}, false},
	} {
		q, ok := c.e.Over(c.f)
		if ok != c.ok || ok && !q.Mul(c.f).Equal(c.e) {
			t.Errorf("%s over %s: %s, %v", c.e, c.f, q, ok)
		}
	}
}

// What is broadcast once more is what it was.
func TestBroadcastOfBroadcasts(t *testing.T) {
	a, b, c := Var("a"), Var("b"), Var("past").Add(Var("c"))
	ab := Broadcast(a, b)
	for _, test := range []struct{ x, y, want Expr }{
		{ab, a, ab}, {b, ab, ab}, {ab, ab, ab}, {Broadcast(ab, c), a, Broadcast(a, Broadcast(c, b))},
	} {
		if got := Broadcast(test.x, test.y); !got.Equal(test.want) {
			t.Errorf("%s with %s is %s, want %s", test.x, test.y, got, test.want)
		}
	}
	if list := Broadcast(ab, c).BroadcastOf(); len(list) != 3 || len(a.BroadcastOf()) != 1 {
		t.Errorf("%s of %v, %v of itself", Broadcast(ab, c), list, a.BroadcastOf())
	}
}
