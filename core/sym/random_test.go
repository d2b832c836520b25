package sym

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// tree is an expression that is only evaluated as it is written, to compare with.
type tree struct {
	op   byte // n: number, s: symbol, else an operator
	val  int64
	a, b *tree
}

var treeSymbols = []string{"a0", "b", "c", "x y"}

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
	a, b := draw(s, symbols, depth-1), draw(s, symbols, depth-1)
	switch s.below(24) {
	case 0: // a quotient of multiples
		c := draw(s, symbols, 0)
		return &tree{op: "/%"[s.below(2)], a: &tree{op: '+', a: &tree{op: '*', a: a, b: c}, b: draw(s, symbols, 0)}, b: &tree{op: '*', a: b, b: c}}
	case 1: // a multiple of a quotient
		k := &tree{op: 'n', val: int64(2 + s.below(3))}
		return &tree{op: '*', a: &tree{op: '*', a: k, b: b}, b: &tree{op: '/', a: a, b: k}}
	}
	return &tree{op: "+++--***//%%mMcB"[s.below(16)], a: a, b: b}
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
		return Prod(a, b)
	case '/':
		return a.FloorDiv(b)
	case '%':
		return a.Mod(b)
	case 'm':
		return a.Min(b)
	case 'M':
		return a.Max(b)
	case 'B':
		return Broadcast(a, b)
	}
	return a.CeilDiv(b)
}

// eval is not ok where a divisor is 0, or dims do not broadcast. Operands are too small to
// overflow.
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
	case 'B':
		if a < 0 || b < 0 || a != b && a != 1 && b != 1 {
			return 0, false
		}
		if a == 1 {
			return b, true
		}
		return a, true
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
	case 'B':
		return fmt.Sprintf("broadcast(%s, %s)", t.a, t.b)
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
		if err != nil || !back.Equal(e) || back.Key() != e.Key() || back.Size() != e.Size() {
			t.Fatalf("%s is %s, which reads as %s, %v", w, e, back, err)
		}
		if n, err := e.Eval(func(string) (int64, bool) { return 0, false }); err == nil && len(e.Symbols()) > 0 {
			t.Fatalf("%s is %s, and %d without values for its symbols", w, e, n)
		}
		same, err := Parse(w.String())
		if !w.broadcasts() && (err != nil || !same.Equal(e)) { // there is no word for it
			t.Fatalf("%s is %s, but its text reads as %s, %v", w, e, same, err)
		}
	}
	code := e.Compile(treeSlot)
	over, whole := e, false
	if w.a != nil {
		over, whole = e.Over(w.a.expr())
	}
	quotient := over.Compile(treeSlot)
	grid(3, -2, 4, func(slots []int64) {
		want, ok := w.eval(slots)
		if !ok {
			return
		}
		if got, err := code.Eval(slots); err != nil || got != want {
			t.Fatalf("%s at %v is %d, its normal form %s is %d, %v", w, slots, want, e, got, err)
		}
		if got := Fold(e, numbers(slots)); e.Err() == nil && (!got.ok || got.n != want) {
			t.Fatalf("%s at %v is %d, folded it is %v", w, slots, want, got)
		}
		if whole {
			q, err := quotient.Eval(slots)
			d, _ := w.a.eval(slots)
			if err != nil || q*d != want {
				t.Fatalf("%s at %v is %d, and %s times %d, which is %s, %v", w, slots, want, over, d, w.a, err)
			}
		}
	})
}

func (t *tree) broadcasts() bool {
	return t != nil && (t.op == 'B' || t.a.broadcasts() || t.b.broadcasts())
}

// number is an integer, or not ok after a division by 0.
type number struct {
	n  int64
	ok bool
}

// numbers computes with the values of symbols.
func numbers(slots []int64) Algebra[number] {
	both := func(f func(a, b int64) int64) func(a, b number) number {
		return func(a, b number) number {
			if !a.ok || !b.ok {
				return number{}
			}
			return number{f(a.n, b.n), true}
		}
	}
	divided := func(op byte) func(a, b number) number {
		return func(a, b number) number {
			n, ok := (&tree{op: op, a: &tree{op: 'n', val: a.n}, b: &tree{op: 'n', val: b.n}}).eval(nil)
			return number{n, ok && a.ok && b.ok}
		}
	}
	return Algebra[number]{
		Const:    func(n int64) number { return number{n, true} },
		Symbol:   func(name string) number { return number{slots[treeSlot(name)], true} },
		Add:      both(func(a, b int64) int64 { return a + b }),
		Mul:      both(func(a, b int64) int64 { return a * b }),
		Min:      both(func(a, b int64) int64 { return min(a, b) }),
		Max:      both(func(a, b int64) int64 { return max(a, b) }),
		FloorDiv: divided('/'), Mod: divided('%'),
	}
}

func TestAlgebraAgainstBruteForce(t *testing.T) {
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
	a, b *tree // what is compared
	eq   bool
}

// uses says whether a constraint is about a symbol.
func (c *constraint) uses(symbol int) bool {
	return c.a.expr().Uses(treeSymbols[symbol]) || c.b != nil && c.b.expr().Uses(treeSymbols[symbol])
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
			func(v []int64) bool { return lo <= v[i] && v[i] <= hi }, &tree{op: 's', val: int64(i)}, nil, false}
	case 1:
		k := int64(1 + s.below(4))
		return constraint{fmt.Sprintf("%s by %d", name, k),
			func(c *Context) error { return c.SetMultiple(name, k) },
			func(v []int64) bool { return v[i]%k == 0 }, &tree{op: 's', val: int64(i)}, nil, false}
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
			compare(func(x, y int64) bool { return x == y }), a, b, true}
	}
	return constraint{fmt.Sprintf("%s <= %s", a, b),
		func(c *Context) error { return c.AssumeLE(a.expr(), b.expr()) },
		compare(func(x, y int64) bool { return x <= y }), a, b, false}
}

// told is a context, and what it was told.
type told struct {
	*Context
	lowest [contextSymbols]int64 // of symbols that may be negative
	given  []constraint
}

const contextSymbols = 3

// satisfying calls f for all small values that satisfy what a context was told.
func (c *told) satisfying(f func(slots []int64)) {
	grid(contextSymbols, -3, 6, func(slots []int64) {
		for i, v := range slots {
			if v < c.lowest[i] {
				return
			}
		}
		for _, g := range c.given {
			if !g.ok(slots) {
				return
			}
		}
		f(slots)
	})
}

func (c *told) String() string {
	out := fmt.Sprintf("symbols from %v", c.lowest)
	for _, g := range c.given {
		out += "; " + g.text
	}
	return out
}

// tell adds a constraint; not ok where it contradicts, which no value may satisfy then.
func (c *told) tell(t *testing.T, g constraint) bool {
	err := g.add(c.Context)
	c.given = append(slices.Clip(c.given), g)
	if err != nil {
		c.satisfying(func(v []int64) { t.Fatalf("given %s: %v, but %v satisfies it", c, err, v) })
	}
	return err == nil
}

// checkContext compares what a context says with all small values that satisfy it: after
// what it is told, in a branch, and after the branch.
func checkContext(t *testing.T, s source) (answers int) {
	c := &told{Context: NewContext()}
	for i := range c.lowest { // a symbol may be negative only if that is the first thing said of it
		name := treeSymbols[i]
		switch s.below(8) {
		case 0, 1:
			c.lowest[i] = -2
		case 2:
			c.lowest[i] = -3
			hi := int64(s.below(4)) - 1
			if !c.tell(t, constraint{fmt.Sprintf("%s <= %d", name, hi), func(c *Context) error { return c.SetRange(name, math.MinInt64, hi) },
				func(v []int64) bool { return v[i] <= hi }, nil, nil, false}) {
				return 0
			}
			continue
		case 3:
			if i == 0 {
				c.Fresh("a")
			}
		case 4:
			c.lowest[i] = -3
			if err := c.SetRange(name, math.MinInt64, Inf); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if c.lowest[i] < 0 {
			if err := c.SetRange(name, c.lowest[i], Inf); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range s.below(5) {
		if !c.tell(t, drawConstraint(s, contextSymbols)) {
			return 0
		}
	}
	answers = c.check(t, s)
	if s.below(2) == 0 {
		return answers
	}
	condition, later := drawConstraint(s, contextSymbols), drawConstraint(s, contextSymbols)
	in := &told{lowest: c.lowest, given: c.given}
	ok := false
	branch := c.Branch(func(ctx *Context) { in.Context = ctx; ok = in.tell(t, condition) })
	if !ok {
		return answers
	}
	if answers += in.check(t, s); in.tell(t, later) {
		answers += in.check(t, s)
		branch.End()
		c.given = append(slices.Clip(c.given), later)
		answers += c.check(t, s)
	}
	return answers
}

// checkWithin is checkContext of a symbol that is only in a branch, below what others say.
func checkWithin(t *testing.T, s source) int {
	c := &told{Context: NewContext()}
	for range s.below(3) {
		if !c.tell(t, drawConstraint(s, contextSymbols-1)) {
			return 0
		}
	}
	last, most := contextSymbols-1, draw(s, contextSymbols-1, s.below(3))
	end := most.expr()
	branch := c.Within(treeSymbols[last], &end)
	in := &told{branch.Context, c.lowest, append(slices.Clip(c.given), constraint{text: fmt.Sprintf("%s < %s", treeSymbols[last], most),
		ok: func(v []int64) bool { n, ok := most.eval(v); return ok && v[last] < n }})}
	answers := in.check(t, s)
	if later := drawConstraint(s, contextSymbols); in.tell(t, later) {
		answers += in.check(t, s)
		branch.End()
		if !later.uses(last) { // it has a meaning outside
			c.given = append(slices.Clip(c.given), later)
		}
		answers += c.check(t, s)
	}
	return answers
}

// question draws two expressions; of an equality that was told, multiples of both sides.
func (c *told) question(s source) (p, q *tree) {
	p, q = draw(s, contextSymbols, 1+s.below(3)), draw(s, contextSymbols, s.below(3))
	if len(c.given) > 0 && s.below(4) == 0 {
		if g := c.given[s.below(len(c.given))]; g.eq {
			return &tree{op: '*', a: g.a, b: q}, &tree{op: '*', a: g.b, b: q}
		}
	}
	return p, q
}

// check asks, and compares the answers.
func (c *told) check(t *testing.T, s source) (answers int) {
	var points [][]int64
	c.satisfying(func(v []int64) { points = append(points, slices.Clone(v)) })
	for range 4 {
		p, q := c.question(s)
		a, b := p.expr(), q.expr()
		if firstErr(a, b) != nil {
			continue
		}
		equal, le, lt, divides := c.Equal(a, b), c.LE(a, b), c.LT(a, b), c.Divides(b, a)
		lo, hi := c.Bounds(a)
		simple, defined, swallows := c.Simplify(a), c.Defined(a), c.Swallows(a, b)
		if again := c.Simplify(simple); again.Err() != nil {
			t.Fatalf("given %s: %s simplifies to %s and then to %s", c, a, simple, again)
		}
		code, plain := simple.Compile(treeSlot), a.Compile(treeSlot)
		for _, v := range points {
			if _, err := plain.Eval(v); err != nil && defined {
				t.Fatalf("given %s: %s at %v is %v, it is said to be defined", c, a, v, err)
			}
			x, ok := p.eval(v)
			if !ok {
				continue
			}
			if y, err := code.Eval(v); err != nil || y != x {
				t.Fatalf("given %s: %s at %v is %d, simplified to %s it is %d, %v", c, a, v, x, simple, y, err)
			}
			if x < lo || x > hi {
				t.Fatalf("given %s: %s at %v is %d, bounds say %d to %d", c, a, v, x, lo, hi)
			}
			y, ok := q.eval(v)
			if !ok {
				continue
			}
			if swallows && x == 1 && y != 1 && y >= 0 {
				t.Fatalf("given %s: broadcasting %s and %s is said to give the first, not so at %v (%d, %d)", c, a, b, v, x, y)
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
					t.Fatalf("given %s: %s %s %s is said to be %s, not so at %v (%d, %d)", c, a, answer.what, b, answer.said, v, x, y)
				}
			}
		}
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
	const contexts = 200
	answers := 0
	for range contexts {
		answers += checkContext(t, s) + checkWithin(t, s)
	}
	if answers < contexts*2 { // of 16 questions each, and 16 after each of three steps in half of them
		t.Errorf("only %d answers in %d contexts", answers, contexts)
	}
	t.Logf("%d answers in %d contexts", answers, contexts)
}

// A size that is at most another one is so beside any number of others that are, too.
func TestManySizesAgainstBruteForce(t *testing.T) {
	c, n := NewContext(), Var("n").Mul(Var("m"))
	natural := func(e Expr) Expr {
		name, _ := e.Symbol()
		if err := c.SetRange(name, 0, Inf); err != nil {
			t.Fatal(err)
		}
		return e
	}
	natural(Var("n"))
	natural(Var("m"))
	parts := make([]Expr, 3*maxFacts)
	for i := range parts {
		parts[i] = natural(c.Fresh("u"))
		if err := c.AssumeLE(parts[i], n); err != nil {
			t.Fatal(err)
		}
	}
	one := n.Min(Const(1))
	for _, u := range parts {
		if !c.Swallows(u, one) {
			t.Fatalf("the broadcast of %v and %v is not %v", u, one, u)
		}
		name, _ := u.Symbol()
		grid(3, 0, 4, func(slots []int64) {
			at := map[string]int64{"n": slots[0], "m": slots[1], name: slots[2]}
			if slots[2] > slots[0]*slots[1] {
				return
			}
			got, err := Broadcast(u, one).Eval(func(name string) (int64, bool) { v, ok := at[name]; return v, ok })
			if err != nil || got != slots[2] {
				t.Fatalf("the broadcast of %v and %v with %v: %d, %v", u, one, at, got, err)
			}
		})
	}
}
