package sym

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// constrain makes a context of lines such as "n in 1 8", "n by 4", "n <= m", "a == b*c".
func constrain(t testing.TB, text string) *Context {
	c := NewContext()
	for line := range strings.SplitSeq(text, ";") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := constrainBy(c, line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return c
}

func constrainBy(c *Context, line string) error {
	var name string
	var lo, hi int64
	if n, _ := fmt.Sscanf(line, "%s in %d %d", &name, &lo, &hi); n == 3 {
		return c.SetRange(name, lo, hi)
	}
	if n, _ := fmt.Sscanf(line, "%s in %d", &name, &lo); n == 2 {
		return c.SetRange(name, lo, Inf)
	}
	if n, _ := fmt.Sscanf(line, "%s by %d", &name, &lo); n == 2 {
		return c.SetMultiple(name, lo)
	}
	if a, b, ok := strings.Cut(line, " == "); ok {
		return c.AssumeEqual(ParseDim(a), ParseDim(b))
	}
	a, b, _ := strings.Cut(line, " <= ")
	return c.AssumeLE(ParseDim(a), ParseDim(b))
}

// holding calls f for small values of all symbols in c and list, where what c was told holds.
func holding(c *Context, list []Expr, f func(value func(Expr) (int64, bool))) {
	names := c.Symbols()
	for _, e := range list {
		names = append(names, e.Symbols()...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	values := map[string]int64{}
	value := func(e Expr) (int64, bool) {
		n, err := e.Eval(func(name string) (int64, bool) { n, ok := values[name]; return n, ok })
		return n, err == nil
	}
	most := []int64{9, 9, 9, 9, 5, 3, 2, 2, 2}[len(names)]
	var fill func(i int)
	fill = func(i int) {
		if i < len(names) {
			lo, hi := c.Range(names[i])
			for n := max(lo, -6); n <= min(hi, max(lo, 0)+most); n++ {
				if values[names[i]] = n; n%c.Multiple(names[i]) == 0 {
					fill(i + 1)
				}
			}
			return
		}
		for _, eq := range c.Equalities() {
			a, ok1 := value(eq[0])
			b, ok2 := value(eq[1])
			if !ok1 || !ok2 || a != b {
				return
			}
		}
		for _, le := range c.LEs() {
			a, ok1 := value(le[0])
			b, ok2 := value(le[1])
			if !ok1 || !ok2 || a > b {
				return
			}
		}
		f(value)
	}
	fill(0)
}

func TestSimplifyAgainstBruteForce(t *testing.T) {
	for _, test := range []struct{ given, in, want string }{
		{"", "max(n, 0)", "n"},
		{"", "max(2*n, 4*n)", "4*n"},
		{"", "min(1, n, 2*n + 1)", "min(n, 1)"},
		{"", "(a*b) // b", "(a*b) // b"},
		{"b in 1", "(a*b) // b", "a"},
		{"b in 1", "(a*b + c) // b", "a + c // b"},
		{"b in 1", "(a*b) % b", "0"},
		{"b in 1; c in 1", "(a*b) // (b*c)", "a // c"},
		{"b in 1; c in 1", "(a*b) % (b*c)", "b*(a % c)"},
		{"past in 1", "((past + seq)*heads) // (past + seq)", "heads"},
		{"n in 0 15", "n // 16", "0"},
		{"n in 0 15", "n % 16", "n"},
		{"m in 1; n <= m - 1", "n // m", "0"},
		{"m in 1; n <= m - 1", "(n + 2*m) % m", "n"},
		{"n by 4", "4*(n // 4)", "n"},
		{"n by 64", "n % 32 + m*(n // 64)*128", "2*m*n"},
		{"n by 4", "(n + m) // 4", "m // 4 + n // 4"},
		{"", "4*(n // 4) + n % 4", "n"},
		{"n in 5 5", "n*m", "5*m"},
		{"n == 2*m", "n // 2", "m"},
		{"heads*64 == 768", "batch*seq*heads*64", "768*batch*seq"},
		{"heads*dim == 768", "batch*seq*heads*dim", "768*batch*seq"},
		{"a in 1; b in 1", "min(1, a, b)*max(a, b)", "max(a, b)"},
		{"past <= total", "max(0, total - min(past, total))", "-past + total"},
		{"past <= total", "max(0, total - past)", "-past + total"},
		{"n in 1", "max(n, 1)", "n"},
		{"s == min(n, m); n <= m", "s + 1", "n + 1"},
		{"n % 8 == 0", "n % 4", "0"},
		{"n // 16 == 3", "n // 16 + 1", "4"},
		{"d in 1; (a*b) % d == 0", "c + (a*b) % d", "c"},
	} {
		c := constrain(t, test.given)
		e, err := Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		got := c.Simplify(e)
		if got.String() != test.want {
			t.Errorf("given %s, %s is %s, want %s", test.given, test.in, got, test.want)
		}
		holding(c, []Expr{e}, func(value func(Expr) (int64, bool)) {
			x, ok := value(e)
			if y, ok2 := value(got); ok && (!ok2 || x != y) {
				t.Fatalf("given %s, %s is %d, but %s is %d", test.given, test.in, x, got, y)
			}
		})
	}
}

func TestProofsAgainstBruteForce(t *testing.T) {
	for _, test := range []struct {
		given, in string
		want      Truth
	}{
		{"", "n == n + 1", False},
		{"", "-9223372036854775808 == 9223372036854775807", False},
		{"", "-9223372036854775808 <= 9223372036854775807", True},
		{"", "n == m", Unknown},
		{"", "n == 0", Unknown},
		{"n in 1", "n == 0", False},
		{"", "2*n == 2*m + 1", False},
		{"n by 4", "n == 2", False},
		{"", "n + m <= n", Unknown},
		{"", "n <= n + m", True},
		{"", "n + 1 <= n - m", False},
		{"n in 1", "m <= n*m", True},
		{"n in 0 64", "n*m <= 64*m", True},
		{"n in 2; m in 3", "6 <= n*m", True},
		{"n in 2; m in 3", "n + m <= n*m", True},
		{"n <= m", "n <= m + k", True},
		{"n <= m; m <= k", "n <= k", True},
		{"n <= m; m <= k; k <= n", "n <= k", True},
		{"n <= m; m + 1 <= k", "k <= n", False},
		{"n <= m", "n*k <= m*k", True},
		{"n <= batch*seq; batch in 1 64; seq in 1 512", "n <= 32768", True},
		{"2*n <= 3*m; 2*m <= k", "4*n <= 3*k", True},
		{"", "n // 2 <= n", True},
		{"", "2*(n // 2) <= n", True},
		{"", "n <= 2*(n // 2) + 1", True},
		{"", "n <= 2*(n // 2)", Unknown},
		{"b in 1", "b*(a // b) <= a", True},
		{"b in 1", "a % b <= a", True},
		{"b in 1", "a % b <= b - 1", True},
		{"b in 1", "b*(a // b) + a % b == a", True},
		{"", "n - n // 2 == (n + 1) // 2", True},
		{"", "n // 2 + (n + 1) // 2 == n", True},
		{"", "(3*n) // 4 - n == (-n) // 4", True},
		{"", "(n*n + n) % 2 == 0", True},
		{"", "n % 4 == 4", False},
		{"", "min(a, b) <= max(a, b)", True},
		{"", "min(a, b) + max(a, b) == a + b", True},
		{"", "a + b <= max(2*a, 2*b)", True},
		{"", "max(a, b) <= a + b", True},
		{"a <= c; b <= c", "max(a, b) <= c", True},
		{"c <= min(a, b)", "c <= a", True},
		{"", "max(h - 1, 0) // 2 <= h", True},
		{"h in 1", "(h - 1) // 2 + 1 <= h", True},
		{"total == past + seq", "past <= total", True},
		{"total == past + seq; total in 0 512", "past <= 512", True},
		{"total == past + seq; seq in 1", "total == past", False},
		{"n == m; n in 4 9", "m <= 9", True},
		{"n == m; n in 4 9", "m == 3", False},
		{"b*h*d == e; h*d == 768", "e == b*768", True},
		{"a*b == c*d", "2*a*b*n == 2*c*d*n", True},
		{"b*d == f*g; a*b == c*e", "c*e*d == a*f*g", True},
		{"a*b == c*e; b*d == f*g", "c*e*d == a*f*g", True},
		{"s == t*a + t*b + t*c + t*d + t*e; t == a*b + b*c + c*d + d*e + e*a + a*c", "t*n == (a*b + b*c + c*d + d*e + e*a + a*c)*n", True},
		{"n in 0 2", "(n + 3*m) // 4 <= m", True},
		{"n in 0 2", "(n + m) // 4 <= m // 4 + 1", True},
		{"n in 0 2", "(n + m) % 4 + (m + 3) % 4 <= 5", True},
		{"n in 1; n*a == n*b", "a == b", True},
		{"n in 1; n*a <= n*b", "a <= b", True},
		{"n in 0 3", "n*n <= 3*n", True},
		{"n in 0 3", "n*n == 5", False},
		{"n in 2 9; n by 4", "n <= 8", True},
		{"n in -5 5", "n <= 0", Unknown},
		{"n in -5 5", "0 <= n + 5", True},
		{"n in -5 5", "n*n <= 25", True},
		{"n in -5 5", "max(n, 0) == n", Unknown},
		{"n <= 0", "n == 0", True},
		{"", "8 | 16*n", True},
		{"", "8 | 16*n + 4", False},
		{"n by 8", "8 | 3*n", True},
		{"", "2 | n*(n + 1)", True},
		{"", "n | n*m", True},
		{"", "n + m | (n + m)*k", True},
		{"", "0 | n", Unknown},
		{"n in 1", "0 | n", False},
		{"n in 1 3", "4 | n", False},
		{"n in 1; m in 1; m + 1 <= n", "n | m", False},
		{"n == 4*m", "4 | n", True},
		{"n by 4; n == 2*m", "2 | m", True},
		{"n in 0 7; n by 4; m == n", "m == 0", Unknown},
		{"n in 1 7; n by 4; m == n", "m == 4", True},
	} {
		c := constrain(t, test.given)
		get := func(s string) Expr {
			e, err := Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		words := strings.Fields(strings.NewReplacer(" == ", "\t==\t", " <= ", "\t<=\t", " | ", "\t|\t", " ", "").Replace(test.in))
		a, b := get(words[0]), get(words[2])
		var got Truth
		var is func(x, y int64) bool
		switch words[1] {
		case "==":
			got, is = c.Equal(a, b), func(x, y int64) bool { return x == y }
			for _, c := range []*Context{c, c.clone()} { // the one has an answer, the other keeps none
				if again := c.Equal(a, b); again != got {
					t.Errorf("given %s: %s is %s, and when it is asked again %s", test.given, test.in, got, again)
				}
			}
		case "<=":
			got, is = c.LE(a, b), func(x, y int64) bool { return x <= y }
		case "|":
			got, is = c.Divides(a, b), func(x, y int64) bool { return x == 0 && y == 0 || x != 0 && y%x == 0 }
		}
		if got != test.want {
			t.Errorf("given %s: %s is %s, want %s", test.given, test.in, got, test.want)
		}
		holding(c, []Expr{a, b}, func(value func(Expr) (int64, bool)) {
			x, ok1 := value(a)
			y, ok2 := value(b)
			if ok1 && ok2 && test.want != Unknown && is(x, y) != (test.want == True) {
				t.Fatalf("given %s: %s is not %s for %d and %d", test.given, test.in, test.want, x, y)
			}
		})
	}
}

func TestBoundsAgainstBruteForce(t *testing.T) {
	for _, test := range []struct {
		given, in string
		lo, hi    int64
	}{
		{"", "n", 0, Inf},
		{"", "-n", math.MinInt64, 0},
		{"n in 1 8; m in 2 3", "n*m - n", 1, 16},
		{"n in 1 64; m in 1 4096", "n*m", 1, 64 * 4096},
		{"n in 1 64; m in 1 4096; k <= n*m", "k", 0, 64 * 4096},
		{"k <= n*m; n in 1 64; m in 1 4096", "k + 1", 1, 64*4096 + 1},
		{"k <= n", "n - k", 0, Inf},
		{"", "n - n // 2", 0, Inf},
		{"n in 0 1000000", "(n + 7) // 8", 0, 125000},
		{"n in 10 1000000; n by 64", "n % 1000", 0, 992},
		{"n in 10 999999; n by 64", "n", 64, 999936},
		{"n == m + 5; n in 0 1000", "m", 0, 995},
		{"n in 4 4611686018427387904", "n*n*n", 64, Inf},
		{"n in 1099511627776; m in 1099511627776", "n*m", Inf - 1, Inf},
		{"n in 1099511627776", "4 - n*n*n", math.MinInt64, 5 - Inf},
		{"n in -3 2", "n*n", 0, 9},
		{"d in 1", "n % d", 0, Inf},
		{"d in 1 6", "n % d", 0, 5},
		{"d in 2", "100 // d", 0, 50},
		{"n in 1 9", "min(n, m, 4)", 0, 4},
		{"n in 1 9", "max(n, m, 4)", 4, Inf},
	} {
		c := constrain(t, test.given)
		e, err := Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		if lo, hi := c.Bounds(e); lo != test.lo || hi != test.hi {
			t.Errorf("given %s: %s is from %d to %d, want %d to %d", test.given, test.in, lo, hi, test.lo, test.hi)
		}
		holding(c, []Expr{e}, func(value func(Expr) (int64, bool)) {
			if x, ok := value(e); ok && (x < test.lo || x > test.hi) {
				t.Fatalf("given %s: %s is %d, not from %d to %d", test.given, test.in, x, test.lo, test.hi)
			}
		})
	}
}

func TestContradictions(t *testing.T) {
	for _, test := range []struct{ given, add, want string }{
		{"n in 3 5", "n in 6 9", `symbol "n": no number is from 6 to 5`},
		{"n in 5 7", "n by 4", `symbol "n": no number that is a multiple of 4 fits its bounds`},
		{"", "n by 0", "a multiple of 0"},
		{"n by 4611686018427387905", "n by 4", "do not fit 64 bits"},
		{"", "n == n + 1", "n = n + 1 contradicts what is known: the sides differ"},
		{"", "n <= n - 1", "n <= n - 1 contradicts what is known: the left side is larger"},
		{"n in 1 2; m in 5 6", "n == m", "the sides differ"},
		{"n == m; n in 1 3", "m in 4 9", "no number"},
		{"n <= m; n in 5 9", "m in 0 4", "no number"},
		{"n == m + 1; n by 2", "m == 4", "m = 4 contradicts"},
		{"n*m == 12; n in 5 9", "m in 3 9", "can not be at least 0"},
		{"", "3*n == 7", "the sides differ"},
	} {
		c := constrain(t, test.given)
		before := describe(c)
		err := constrainBy(c, test.add)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("given %s, adding %s: error %v, want %s", test.given, test.add, err, test.want)
		}
		if after := describe(c); after != before {
			t.Errorf("given %s, adding %s changed the context: %s", test.given, test.add, after)
		}
	}
}

func describe(c *Context) string { return fmt.Sprintf("%+v", *c) }

func TestContextKeepsWhatWasSaid(t *testing.T) {
	c := constrain(t, "n in 1 8; n by 2; total == past + seq; k <= n*m; n in 0 7")
	if got := strings.Join(c.Symbols(), " "); got != "k m n past seq total" {
		t.Errorf("symbols %s", got)
	}
	if lo, hi := c.Range("n"); lo != 1 || hi != 7 || c.Multiple("n") != 2 {
		t.Errorf("n in [%d, %d], a multiple of %d", lo, hi, c.Multiple("n"))
	}
	if lo, hi := c.Range("x"); lo != 0 || hi != Inf || c.Multiple("x") != 1 {
		t.Errorf("x in [%d, %d], a multiple of %d", lo, hi, c.Multiple("x"))
	}
	if got := fmt.Sprint(c.Equalities(), c.LEs()); got != "[[total past + seq]] [[k m*n]]" {
		t.Errorf("constraints %s", got)
	}
	d := c.Clone()
	if err := d.SetRange("n", 4, 4); err != nil {
		t.Fatal(err)
	}
	if c.Equal(Var("n"), Const(4)) != Unknown || d.Equal(Var("n"), Const(4)) != True {
		t.Error("a clone is not its own")
	}
}

func TestFresh(t *testing.T) {
	c := NewContext()
	c.Reserve("u1")
	if err := c.AssumeLE(Var("u2"), Var("n")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		got = append(got, c.Fresh("u").String())
	}
	if s := strings.Join(got, " "); s != "u0 u3 u4" {
		t.Errorf("fresh symbols %s", s)
	}
	// a made symbol gives way to one of the model, whatever the names
	u := c.Fresh("a")
	if err := c.AssumeEqual(u, Var("zeta")); err != nil {
		t.Fatal(err)
	}
	if s := c.Simplify(u).String(); s != "zeta" {
		t.Errorf("%s is %s", u, s)
	}
}

func TestNilContext(t *testing.T) {
	var c *Context
	n := Var("n")
	if c.Equal(n, n) != True || c.LE(Const(0), n) != True || c.LT(n, n) != False || c.Divides(Const(2), n.Add(n)) != True {
		t.Error("proofs")
	}
	if lo, hi := c.Bounds(n); lo != 0 || hi != Inf {
		t.Errorf("bounds %d to %d", lo, hi)
	}
	if got := c.Simplify(n.Max(Const(0)).Mod(n.FloorDiv(Const(3)))); got.String() != "n % (n // 3)" {
		t.Errorf("simplified %s", got)
	}
	if c.Symbols() != nil || c.Equalities() != nil || c.LEs() != nil || c.Multiple("n") != 1 || c.Clone() == nil {
		t.Error("accessors")
	}
}
