package sym

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// tree is an expression that is only evaluated as it is written, to compare with.
type tree struct {
	op   byte // n: number, s: symbol, else an operator
	val  int64
	a, b *tree
}

var treeSymbols = []string{"a", "b", "c", "x y"}

// source makes choices: of random numbers, or of the bytes of a fuzzer.
type source interface{ below(n int) int }

type randomSource struct{ *rand.Rand }

func (r randomSource) below(n int) int { return r.IntN(n) }

type byteSource struct{ data []byte }

func (b *byteSource) below(n int) int {
	if len(b.data) == 0 {
		return 0
	}
	v := b.data[0]
	b.data = b.data[1:]
	return int(v) % n
}

// draw makes a tree over the first symbols of treeSymbols.
func draw(s source, symbols, depth int) *tree {
	if depth == 0 || s.below(5) == 0 {
		if s.below(3) == 0 {
			return &tree{op: 'n', val: int64(s.below(13)) - 4}
		}
		return &tree{op: 's', val: int64(s.below(symbols))}
	}
	op := "+++--***//%%mMc"[s.below(15)]
	return &tree{op: op, a: draw(s, symbols, depth-1), b: draw(s, symbols, depth-1)}
}

func (t *tree) expr() Expr {
	switch t.op {
	case 'n':
		return Const(t.val)
	case 's':
		return Var(treeSymbols[t.val])
	}
	a, b := t.a.expr(), t.b.expr()
	switch t.op {
	case '+':
		return a.Add(b)
	case '-':
		return a.Sub(b)
	case '*':
		return a.Mul(b)
	case '/':
		return a.FloorDiv(b)
	case '%':
		return a.Mod(b)
	case 'm':
		return a.Min(b)
	case 'M':
		return a.Max(b)
	}
	return a.CeilDiv(b)
}

// eval is not ok where a divisor is 0. Operands are too small to overflow.
func (t *tree) eval(slots []int64) (v int64, ok bool) {
	switch t.op {
	case 'n':
		return t.val, true
	case 's':
		return slots[t.val], true
	}
	a, ok1 := t.a.eval(slots)
	b, ok2 := t.b.eval(slots)
	if !ok1 || !ok2 {
		return 0, false
	}
	switch t.op {
	case '+':
		return a + b, true
	case '-':
		return a - b, true
	case '*':
		return a * b, true
	case 'm':
		return min(a, b), true
	case 'M':
		return max(a, b), true
	}
	if b == 0 {
		return 0, false
	}
	r := ((a % b) + b) % b // has the sign of b
	switch t.op {
	case '%':
		return r, true
	case '/':
		return (a - r) / b, true
	}
	if r != 0 {
		return (a-r)/b + 1, true
	}
	return a / b, true
}

func (t *tree) String() string {
	switch t.op {
	case 'n':
		return fmt.Sprint(t.val)
	case 's':
		return quoteName(treeSymbols[t.val])
	case 'm', 'M', 'c':
		name := map[byte]string{'m': "min", 'M': "max", 'c': "ceildiv"}[t.op]
		return fmt.Sprintf("%s(%s, %s)", name, t.a, t.b)
	case '/':
		return fmt.Sprintf("(%s // %s)", t.a, t.b)
	}
	return fmt.Sprintf("(%s %c %s)", t.a, t.op, t.b)
}

// grid calls f for all values of symbols from lo to hi.
func grid(symbols int, lo, hi int64, f func(slots []int64)) {
	slots := make([]int64, symbols)
	var fill func(int)
	fill = func(i int) {
		if i == symbols {
			f(slots)
			return
		}
		for v := lo; v <= hi; v++ {
			slots[i] = v
			fill(i + 1)
		}
	}
	fill(0)
}

func treeSlot(name string) int {
	for i, s := range treeSymbols {
		if s == name {
			return i
		}
	}
	panic("symbol " + name + " is not in the tree")
}

// checkAlgebra compares the normal form of a tree, and its text read again, with the
// tree itself.
func checkAlgebra(t *testing.T, w *tree) {
	e := w.expr()
	if e.Err() == nil {
		back, err := Parse(e.String())
		if err != nil || !back.Equal(e) || back.Key() != e.Key() {
			t.Fatalf("%s is %s, which reads as %s, %v", w, e, back, err)
		}
		same, err := Parse(w.String())
		if err != nil || !same.Equal(e) {
			t.Fatalf("%s is %s, but its text reads as %s, %v", w, e, same, err)
		}
	}
	code := e.Compile(treeSlot)
	grid(3, -2, 4, func(slots []int64) {
		want, ok := w.eval(slots)
		if !ok {
			return
		}
		if got, err := code.Eval(slots); err != nil || got != want {
			t.Fatalf("%s at %v is %d, its normal form %s is %d, %v", w, slots, want, e, got, err)
		}
	})
}

func TestAlgebraOfRandomExpressions(t *testing.T) {
	s := randomSource{rand.New(rand.NewPCG(1, 2))}
	for range 3000 {
		checkAlgebra(t, draw(s, 3, 1+s.below(4)))
	}
}

// constraint is one that a context was told, for brute force.
type constraint struct {
	text string
	add  func(*Context) error
	ok   func(slots []int64) bool
}

func drawConstraint(s source, symbols int) constraint {
	i := s.below(symbols)
	name := treeSymbols[i]
	switch s.below(5) {
	case 0:
		lo := int64(s.below(6)) - 2
		hi := lo + int64(s.below(5))
		if s.below(3) == 0 {
			hi = Inf
		}
		return constraint{fmt.Sprintf("%s in [%d, %d]", name, lo, hi),
			func(c *Context) error { return c.SetRange(name, lo, hi) },
			func(v []int64) bool { return lo <= v[i] && v[i] <= hi }}
	case 1:
		k := int64(1 + s.below(4))
		return constraint{fmt.Sprintf("%s by %d", name, k),
			func(c *Context) error { return c.SetMultiple(name, k) },
			func(v []int64) bool { return v[i]%k == 0 }}
	}
	a, b := draw(s, symbols, s.below(3)), draw(s, symbols, s.below(3))
	compare := func(f func(x, y int64) bool) func([]int64) bool {
		return func(v []int64) bool {
			x, ok1 := a.eval(v)
			y, ok2 := b.eval(v)
			return ok1 && ok2 && f(x, y)
		}
	}
	if s.below(2) == 0 {
		return constraint{fmt.Sprintf("%s == %s", a, b),
			func(c *Context) error { return c.AssumeEqual(a.expr(), b.expr()) },
			compare(func(x, y int64) bool { return x == y })}
	}
	return constraint{fmt.Sprintf("%s <= %s", a, b),
		func(c *Context) error { return c.AssumeLE(a.expr(), b.expr()) },
		compare(func(x, y int64) bool { return x <= y })}
}

// checkContext compares what a context says with all small values that satisfy it.
func checkContext(t *testing.T, s source) (answers int) {
	const symbols = 3
	c := NewContext()
	var given []constraint
	// a symbol may be negative only if that is the first thing said of it
	negative := make([]bool, symbols)
	for i := range negative {
		if s.below(4) == 0 {
			negative[i] = true
			if err := c.SetRange(treeSymbols[i], -2, Inf); err != nil {
				t.Fatal(err)
			}
		}
	}
	satisfying := func(f func(slots []int64)) {
		grid(symbols, -2, 6, func(slots []int64) {
			for i, v := range slots {
				if v < 0 && !negative[i] {
					return
				}
			}
			for _, g := range given {
				if !g.ok(slots) {
					return
				}
			}
			f(slots)
		})
	}
	text := func() string {
		out := fmt.Sprintf("negative %v", negative)
		for _, g := range given {
			out += "; " + g.text
		}
		return out
	}
	for range s.below(5) {
		g := drawConstraint(s, symbols)
		err := g.add(c)
		given = append(given, g)
		if err != nil {
			satisfying(func(v []int64) { t.Fatalf("given %s: %v, but %v satisfies it", text(), err, v) })
			return 0
		}
	}
	for range 4 {
		p, q := draw(s, symbols, 1+s.below(3)), draw(s, symbols, s.below(3))
		a, b := p.expr(), q.expr()
		if firstErr(a, b) != nil {
			continue
		}
		equal, le, lt, divides := c.Equal(a, b), c.LE(a, b), c.LT(a, b), c.Divides(b, a)
		lo, hi := c.Bounds(a)
		simple := c.Simplify(a)
		if again := c.Simplify(simple); again.Err() != nil {
			t.Fatalf("given %s: %s simplifies to %s and then to %s", text(), a, simple, again)
		}
		code := simple.Compile(treeSlot)
		satisfying(func(v []int64) {
			x, ok := p.eval(v)
			if !ok {
				return
			}
			if y, err := code.Eval(v); err != nil || y != x {
				t.Fatalf("given %s: %s at %v is %d, simplified to %s it is %d, %v", text(), a, v, x, simple, y, err)
			}
			if x < lo || x > hi {
				t.Fatalf("given %s: %s at %v is %d, bounds say %d to %d", text(), a, v, x, lo, hi)
			}
			y, ok := q.eval(v)
			if !ok {
				return
			}
			for _, answer := range []struct {
				what string
				said Truth
				is   bool
			}{
				{"=", equal, x == y},
				{"<=", le, x <= y},
				{"<", lt, x < y},
				{"is a multiple of", divides, y == 0 && x == 0 || y != 0 && x%y == 0},
			} {
				if answer.said != Unknown && (answer.said == True) != answer.is {
					t.Fatalf("given %s: %s %s %s is said to be %s, not so at %v (%d, %d)", text(), a, answer.what, b, answer.said, v, x, y)
				}
			}
		})
		for _, said := range []Truth{equal, le, lt, divides} {
			if said != Unknown {
				answers++
			}
		}
	}
	return answers
}

func TestContextsAgainstBruteForce(t *testing.T) {
	s := randomSource{rand.New(rand.NewPCG(3, 4))}
	const contexts = 300
	answers := 0
	for range contexts {
		answers += checkContext(t, s)
	}
	if answers < contexts*2 { // of 16 questions each
		t.Errorf("only %d answers in %d contexts", answers, contexts)
	}
	t.Logf("%d answers to %d questions", answers, contexts*16)
}
