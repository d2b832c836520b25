package op_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// shapeRule is what an operator does to sizes, said once more by counting (shapeRules).
type shapeRule struct {
	op string
	// draw makes a call: operands as ruleCall.operand takes them, and attributes.
	draw func(r *rand.Rand) ([]string, ir.Attrs)
	// count gives the shapes of results from the first on, nil where the call is not legal;
	// of a size that the data tell it gives -1.
	count func(x counted) [][]int64
}

// counted is a call at some values of its symbols: the shapes of operands, and the numbers
// that lists hold.
type counted struct {
	dims   [][]int64
	ints   [][]int64
	floats [][]float64
	attrs  ir.Attrs
}

func (x counted) attr(name string, or int64) int64 {
	if v, ok := x.attrs.Get(name).(int64); ok {
		return v
	}
	return or
}

func (x counted) list(name string, or ...int64) []int64 {
	if v, ok := x.attrs.Get(name).([]int64); ok {
		return v
	}
	return or
}

func (x counted) str(name string) string { s, _ := x.attrs.Get(name).(string); return s }

// one is the shape of a single result.
func one(dims ...int64) [][]int64 { return [][]int64{dims} }

// single is one for a shape that may be none.
func single(shape []int64) [][]int64 {
	if shape == nil {
		return nil
	}
	return [][]int64{shape}
}

// dim is a dim that is a number or an expression over the symbols n (to 5), m (to 4) and k
// (to 3).
func dim(r *rand.Rand) string {
	return oneOf(r, "n", "m", "k", "2", "n+1", "2*m", "1", "n+m")
}

func oneOf[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func between(x, lo, hi int64) int64 { return max(lo, min(x, hi)) }

// of is a tensor type.
func of(d string, dims ...any) string {
	s := make([]string, len(dims))
	for i, e := range dims {
		s[i] = fmt.Sprint(e)
	}
	return "[" + strings.Join(s, ", ") + "] " + d
}

func f32Of(dims ...any) string { return of("f32", dims...) }

// holds is a list of integers that is a constant, or computed of symbols; or one that only
// the run tells.
func holds(r *rand.Rand, list ...any) string {
	s := strings.TrimSuffix(fmt.Sprintln(list...), "\n")
	if r.IntN(4) == 0 {
		return "? " + s
	}
	return "= " + s
}

// What operators say of sizes is what counting gives, for every value of the symbols.
func TestShapeRules(t *testing.T) {
	for _, rule := range shapeRules {
		t.Run(rule.op, func(t *testing.T) {
			calls, sizes := 40, 25
			if ir.Lookup(fullName(rule.op)).Expand != nil { // many operators that run
				calls, sizes = 8, 12
			}
			r := rand.New(rand.NewPCG(1, 2))
			legal := 0
			for range calls {
				in, as := rule.draw(r)
				for range sizes {
					if rule.holds(t, in, as, map[string]int64{"n": r.Int64N(6), "m": r.Int64N(5), "k": r.Int64N(4)}, r) {
						legal++
					}
				}
			}
			if legal < calls {
				t.Errorf("%d of %d calls are legal", legal, calls*sizes)
			}
		})
	}
}

// ruleCall is a call that is being built, at some values of its symbols.
type ruleCall struct {
	*ir.Builder
	r       *rand.Rand
	symbols map[string]int64
	args    []*ir.Value
	inputs  []tensor.Value
	counted
}

func (c *ruleCall) at(name string) (int64, bool) { n, ok := c.symbols[name]; return n, ok }

// operand adds an operand: a type, whose elements are drawn; "= 1 n+1" or "? 1 n+1", a list
// of integers that is known while compiling, or not; "# n", a scalar; "~ 0.5 2", floats;
// "", none.
func (c *ruleCall) operand(t *testing.T, s string) {
	t.Helper()
	i := len(c.args)
	kind, text, _ := strings.Cut(s, " ")
	var dims, ints []int64
	var floats []float64
	var arg *ir.Value
	switch {
	case s == "":
	case kind == "~":
		var x []float32
		for _, w := range strings.Fields(text) {
			var f float32
			if _, err := fmt.Sscan(w, &f); err != nil {
				t.Fatal(err)
			}
			x, floats = append(x, f), append(floats, float64(f))
		}
		arg = c.Const(tensor.Of(x, int64(len(x))))
	case kind == "=" || kind == "?" || kind == "#":
		var list []sym.Expr
		for _, w := range strings.Fields(text) {
			e := expr(t, w)
			n, err := e.Eval(c.at)
			if err != nil {
				t.Fatal(err)
			}
			list, ints = append(list, e), append(ints, n)
		}
		shape := []int64{int64(len(list))}
		if kind == "#" {
			shape = nil
		}
		switch fixed := !slices.ContainsFunc(list, func(e sym.Expr) bool { _, ok := e.Int(); return !ok }); {
		case kind == "?":
			arg = c.Param(fmt.Sprintf("x%d", i), ir.TensorOf(tensor.I64, sym.Const(shape[0])))
			c.inputs = append(c.inputs, tensor.Of(slices.Clone(ints), shape...))
		case fixed:
			arg = c.Const(tensor.Of(slices.Clone(ints), shape...))
		default:
			arg, _ = c.Holding(ir.TensorOf(tensor.I64, ir.Consts(shape)...), list)
		}
		dims = shape
	default:
		typ := typed(t, s).(ir.TensorType)
		arg = c.Param(fmt.Sprintf("x%d", i), typ)
		for _, d := range typ.Dims {
			n, err := d.Eval(c.at)
			if err != nil {
				t.Fatal(err)
			}
			dims = append(dims, n)
		}
		x := tensor.New(typ.DType, dims...)
		for j := range x.Len() {
			switch typ.DType {
			case tensor.Bool:
				x.SetBool(j, c.r.IntN(2) == 0)
			case tensor.String:
				x.SetStr(j, oneOf(c.r, "", "a", "b c d", "c  d"))
			case tensor.I64:
			default:
				x.SetFloat(j, float64(c.r.IntN(3)))
			}
		}
		c.inputs = append(c.inputs, x)
	}
	c.args, c.dims, c.ints, c.floats = append(c.args, arg), append(c.dims, dims), append(c.ints, ints), append(c.floats, floats)
}

// holds runs a call at some sizes, and says whether it is legal there.
func (rule *shapeRule) holds(t *testing.T, in []string, as ir.Attrs, symbols map[string]int64, r *rand.Rand) bool {
	t.Helper()
	what := fmt.Sprintf("%s%q %v at %v", rule.op, in, as, symbols)
	m := ir.NewModule("test")
	f := &ir.Func{Name: "main"}
	m.Funcs = append(m.Funcs, f)
	c := &ruleCall{Builder: ir.NewBuilder(m, f), r: r, symbols: symbols, counted: counted{attrs: as}}
	c.Param("sizes", ir.TensorOf(tensor.U8, sym.Var("n"), sym.Var("m"), sym.Var("k"), sym.Const(0)))
	c.inputs = append(c.inputs, tensor.New(tensor.U8, symbols["n"], symbols["m"], symbols["k"], 0))
	for _, s := range in {
		c.operand(t, s)
	}
	want := rule.count(c.counted)
	results := max(len(want), 1)
	var regions []*ir.Block
	if f := ruleRegions[rule.op]; f != nil {
		regions = f(c)
	}
	y := c.OpN(results, fullName(rule.op), c.args, as, regions...)
	if err := c.Err(); err != nil {
		if want != nil {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
		return false
	}
	c.Return(y...)
	told := slices.ContainsFunc(want, func(d []int64) bool { return slices.Contains(d, -1) })
	out, err := interp.Run(context.Background(), m, c.inputs, interp.Options{})
	if want == nil || err != nil && told {
		return false // what is not legal fails when it runs, or is not asked about
	}
	if err != nil {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
	env := ir.NewEnv(nil)
	for name, n := range symbols {
		env.Set(name, n, "the test")
	}
	for j := range want {
		got := out[j].(*tensor.Tensor).Shape()
		if len(got) != len(want[j]) {
			t.Fatalf("%s: result %d is %v, want %v", what, j, got, want[j])
		}
		ty, _ := y[j].Tensor()
		for i, n := range want[j] {
			if n >= 0 && got[i] != n {
				t.Fatalf("%s: result %d is %v, want %v", what, j, got, want[j])
			}
		}
		if ty.Unranked {
			continue
		}
		for i, e := range ty.Dims { // symbols that only the run tells, within their bounds
			if name, bare := e.Symbol(); bare {
				if _, told := env.Lookup(name); !told {
					env.Set(name, got[i], "the data")
				}
			}
		}
		if err := env.Check(m.Syms); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for i, e := range ty.Dims {
			if v, err := env.Eval(e); err != nil || v != got[i] {
				t.Fatalf("%s: result %d: dim %d, %s, is %d, %v; it is %d", what, j, i, e, v, err, got[i])
			}
		}
	}
	return true
}

// A deduction is arithmetic where a dim of a result is neither a number nor a dim of an
// operand, but computed of such: an expression, or a new symbol with a bound. What all
// deductions in the tests of this package give is looked at, which is how an operator is
// found that has no rule in the table above. Beside the table there are those whose dims
//   - are what a rule of the table gives for the same operands and attributes, in every call,
//   - or follow from the operators that they are made of.
type shapeCoverage struct {
	mu       sync.Mutex
	rules    map[string]func(*ir.Call) error
	called   map[string]bool            // with a symbol in an operand
	computes map[string]string          // an example of arithmetic
	alike    map[string]map[string]bool // rules that gave the same, in every call
	composed map[string]int             // calls that gave what the operators gave that they are made of; -1: one did not
}

// watch makes the deductions of all operators tell what they give.
func watch() *shapeCoverage {
	w := &shapeCoverage{rules: map[string]func(*ir.Call) error{}, called: map[string]bool{}, computes: map[string]string{}, alike: map[string]map[string]bool{}, composed: map[string]int{}}
	for _, rule := range shapeRules {
		d := ir.Lookup(fullName(rule.op))
		if d == nil {
			panic("shapeRules has " + rule.op + ", which is no operator")
		}
		w.rules[d.Name] = d.Deduce
	}
	for _, d := range ir.Registered() {
		deduce := d.Deduce
		d.Deduce = func(c *ir.Call) error {
			err := deduce(c)
			if err == nil && w.mu.TryLock() { // not in what look itself deduces
				defer w.mu.Unlock()
				w.look(c)
			}
			return err
		}
	}
	return w
}

func (w *shapeCoverage) look(c *ir.Call) {
	name := c.Op.Name
	if withSymbols(c) {
		w.called[name] = true
	}
	example, found := computed(c)
	if !found || w.rules[name] != nil {
		return
	}
	if w.computes[name] == "" {
		w.computes[name] = example
		w.alike[name] = map[string]bool{}
		for r := range w.rules {
			w.alike[name][r] = true
		}
	}
	if same, ok := fromParts(c); ok {
		if !same {
			w.composed[name] = -1
		} else if w.composed[name] >= 0 {
			w.composed[name]++
		}
	}
	for r := range w.alike[name] {
		other := *c
		other.Syms = c.Syms.Clone()
		other.Out, other.Want = make([]ir.Type, len(c.Out)), slices.Clone(c.Want)
		if other.Op = ir.Lookup(r); !slices.ContainsFunc(other.Op.In, func(o ir.Operand) bool { return o.Variadic }) {
			other.In = c.In[:min(len(c.In), len(other.Op.In))] // what else there is says nothing of sizes
		}
		if !takes(other.Op, &other) || w.rules[r](&other) != nil || !sameDims(c, &other) {
			delete(w.alike[name], r)
		}
	}
}

// takes says whether a call has the operands and regions that an operator needs.
func takes(d *ir.OpDef, c *ir.Call) bool {
	for i, o := range d.In {
		if !o.Optional && !o.Variadic && !c.Has(i) {
			return false
		}
	}
	return len(d.Regions) == len(c.Regions)
}

// withSymbols says whether a call has a symbol, or a value with sizes of its own, among its
// operands or in a region, or no operand to have one.
func withSymbols(c *ir.Call) bool {
	found := len(c.In) == 0
	for _, r := range c.Regions {
		if r != nil {
			for _, v := range r.Results {
				ir.EachOwnDim(v.Type, func(e sym.Expr) { found = found || len(e.Symbols()) > 0 })
			}
		}
	}
	for i, t := range c.In {
		if _, ok := t.(ir.TensorType); t != nil && !ok {
			found = true
		}
		list, _ := c.Ints(i)
		for _, e := range slices.Concat(c.Dims(i), list) {
			_, fixed := e.Int()
			found = found || !fixed
		}
	}
	return found
}

func computed(c *ir.Call) (example string, found bool) {
	for _, o := range c.Out {
		t, _ := o.(ir.TensorType)
		for _, e := range t.Dims {
			if _, fixed := e.Int(); fixed || ofOperand(c, e) {
				continue
			}
			if name, bare := e.Symbol(); bare && !slices.ContainsFunc(c.Syms.LEs(), func(le [2]sym.Expr) bool { return le[0].Uses(name) }) {
				continue // only the run tells, and nothing is said of it
			}
			return e.String(), true
		}
	}
	return "", false
}

// ofOperand says whether a dim is one of an operand, or what one or an attribute holds.
func ofOperand(c *ir.Call, e sym.Expr) bool {
	for _, a := range c.Attrs {
		if t, ok := a.Value.(ir.TensorType); ok && slices.ContainsFunc(t.Dims, e.Equal) {
			return true
		}
	}
	for i := range c.In {
		list, _ := c.Ints(i)
		if slices.ContainsFunc(slices.Concat(c.Dims(i), list), e.Equal) {
			return true
		}
	}
	return false
}

func sameDims(a, b *ir.Call) bool {
	for i := range a.Out {
		if !a.Wants(i) {
			continue
		}
		x, ok1 := a.Out[i].(ir.TensorType)
		y, ok2 := b.Out[i].(ir.TensorType)
		if !ok1 || !ok2 || x.Unranked != y.Unranked || !slices.EqualFunc(x.Dims, y.Dims, func(e, f sym.Expr) bool {
			return e.Equal(f) || !ofOperand(a, e) && isSymbol(e) && isSymbol(f)
		}) {
			return false
		}
	}
	return true
}

func isSymbol(e sym.Expr) bool { _, ok := e.Symbol(); return ok }

// fromParts says whether the dims of a call are those that follow from the operators that
// it is made of; ok is false where it is not made of others, or only the run tells how.
func fromParts(c *ir.Call) (same, ok bool) {
	if c.Op.Expand == nil {
		return false, false
	}
	out, syms, err := op.WrittenOut(c, c.Op)
	if err != nil {
		return false, false
	}
	for i, v := range out {
		if v == nil || !c.Wants(i) {
			continue
		}
		x, ok1 := c.Out[i].(ir.TensorType)
		y, ok2 := v.Type.(ir.TensorType)
		if !ok1 || !ok2 || x.Unranked != y.Unranked || !slices.EqualFunc(x.Dims, y.Dims, func(e, f sym.Expr) bool {
			return syms.Equal(e, f) == sym.True || !ofOperand(c, e) && isSymbol(e)
		}) {
			return false, true
		}
	}
	return true, true
}

// untested lists the operators whose arithmetic nothing tests.
func (w *shapeCoverage) untested() []string {
	var out []string
	for _, d := range ir.Registered() {
		switch {
		case w.rules[d.Name] != nil || d.Name == "test":
		case !w.called[d.Name]:
			out = append(out, d.Name+" is never called with sizes that are symbols")
		case w.computes[d.Name] != "" && w.composed[d.Name] <= 0 && len(w.alike[d.Name]) == 0:
			out = append(out, fmt.Sprintf("%s computes %s, which no rule in shapeRules counts", d.Name, w.computes[d.Name]))
		}
	}
	return out
}

// TestMain runs all tests, and then looks whether they have shown all there is.
func TestMain(m *testing.M) {
	w := watch()
	code := m.Run()
	if f := flag.Lookup("test.run"); code == 0 && f.Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" && flag.Lookup("test.list").Value.String() == "" {
		for _, s := range w.untested() {
			fmt.Println("shape rules:", s)
			code = 1
		}
	}
	os.Exit(code)
}
