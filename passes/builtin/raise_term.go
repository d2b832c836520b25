package builtin

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// term is what a value is computed as, in a normal form in which spellings that differ in
// the order, the grouping and the kind of arithmetic operators are the same: sums of
// products of powers. It is made from the scalar expressions of tensor programs, so
// Mul(x, x), Pow(x, 2) and a plugin's square are one term, and so are Sigmoid and what it
// is spelled out as.
//
// Arithmetic is taken to be that of real numbers: a regrouped product rounds otherwise in
// the last places. Nothing is cancelled: x-x and x/x stay, for what they make of NaN.
type term struct {
	kind  termKind
	value *ir.Value // that has exactly this value, where there is one
	c     float64   // number; constant part of a sum, coefficient of a product
	parts []part    // of a sum: coefficients and terms; of a product: exponents and bases
	op    string    // function: the scalar operation; operator: its name
	args  []*term   // of a function, and of an operator in a pattern (nil: left out)
	stmt  *ir.Stmt  // operator, in a pattern
	base  *term     // of a sum: that it is a multiple of, by times
	times float64
}

type termKind uint8

const (
	leafTerm     termKind = iota // a value that is not looked into, or a hole of a pattern
	numberTerm                   // one number
	sumTerm                      // c + n1*t1 + n2*t2 ...
	productTerm                  // c * t1^n1 * t2^n2 ...
	functionTerm                 // a scalar operation
	operatorTerm                 // an operator in a pattern; in a module it is a leaf
	sharedTerm                   // in a pattern what is read more than once, as it is in a module
)

type part struct {
	n float64
	t *term
}

func number(c float64) *term { return &term{kind: numberTerm, c: c} }

// asProduct reads a term as a product. A sum gives its largest coefficient as the product's,
// so that 2*(x+y) and 2*x+2*y are the same factor.
func asProduct(t *term) (c float64, parts []part) {
	switch t.kind {
	case numberTerm:
		return t.c, nil
	case productTerm:
		return t.c, t.parts
	case sumTerm:
		top := math.Abs(t.c)
		for _, p := range t.parts {
			top = max(top, math.Abs(p.n))
		}
		if top != 1 && top > 0 && !math.IsInf(top, 0) {
			return top, []part{{1, scaledSum(t, 1/top)}}
		}
	}
	return 1, []part{{1, t}}
}

// asSum reads a term as a sum.
func asSum(t *term) (c float64, parts []part) {
	switch t.kind {
	case numberTerm:
		return t.c, nil
	case sumTerm:
		return t.c, t.parts
	case productTerm:
		if t.c != 1 {
			return 0, []part{{t.c, product(1, t.parts)}}
		}
	}
	return 0, []part{{1, t}}
}

// scaledSum is a multiple of a sum; a multiple of a multiple that is the sum again is the
// value that the sum was.
func scaledSum(t *term, c float64) *term {
	if t.base != nil {
		t, c = t.base, c*t.times
	}
	if math.Abs(c-1) < 1e-12 {
		return t
	}
	out := &term{kind: sumTerm, c: t.c * c, base: t, times: c}
	for _, p := range t.parts {
		out.parts = append(out.parts, part{p.n * c, p.t})
	}
	return out
}

// collect puts equal terms together, adding up their numbers.
func collect(parts []part) []part {
	var out []part
	for _, p := range parts {
		if i := slices.IndexFunc(out, func(q part) bool { return sameTerm(p.t, q.t) }); i >= 0 {
			out[i].n += p.n
			continue
		}
		out = append(out, p)
	}
	return out
}

func product(c float64, parts []part) *term {
	parts = collect(parts)
	switch {
	case len(parts) == 0:
		return number(c)
	case len(parts) == 1 && parts[0].n == 1 && c == 1:
		return parts[0].t
	case len(parts) == 1 && parts[0].n == 1 && parts[0].t.kind == sumTerm:
		return scaledSum(parts[0].t, c)
	}
	return &term{kind: productTerm, c: c, parts: parts}
}

func sum(c float64, parts []part) *term {
	parts = collect(parts)
	switch {
	case len(parts) == 0:
		return number(c)
	case len(parts) == 1 && c == 0 && parts[0].n == 1:
		return parts[0].t
	case len(parts) == 1 && c == 0:
		d, f := asProduct(parts[0].t)
		return product(parts[0].n*d, f)
	}
	return &term{kind: sumTerm, c: c, parts: parts}
}

func times(a, b *term) *term {
	ca, fa := asProduct(a)
	cb, fb := asProduct(b)
	return product(ca*cb, slices.Concat(fa, fb))
}

func plus(a, b *term) *term {
	ca, sa := asSum(a)
	cb, sb := asSum(b)
	return sum(ca+cb, slices.Concat(sa, sb))
}

// power is t^e. Exponents multiply where the outer one is whole: the root of a square is
// no power of what is squared.
func power(t *term, e float64) *term {
	c, parts := asProduct(t)
	if e == 1 {
		return t
	}
	if e != math.Trunc(e) && (c < 0 || slices.ContainsFunc(parts, func(p part) bool { return p.n != 1 })) {
		return product(1, []part{{e, t}})
	}
	out := make([]part, len(parts))
	for i, p := range parts {
		out[i] = part{p.n * e, p.t}
	}
	return product(math.Pow(c, e), out)
}

// sameTerm says whether two terms are the same expression of the same values.
func sameTerm(a, b *term) bool {
	switch {
	case a == b:
		return true
	case a.value != nil && b.value != nil && sameValue(a.value, b.value):
		return true
	case a.kind != b.kind || a.op != b.op || len(a.parts) != len(b.parts) || len(a.args) != len(b.args):
		return false
	case a.kind == leafTerm || a.kind == operatorTerm:
		return false
	case a.c != b.c:
		return false
	}
	for i, p := range a.parts {
		if p.n != b.parts[i].n || !sameTerm(p.t, b.parts[i].t) {
			return false
		}
	}
	for i, x := range a.args {
		if !sameTerm(x, b.args[i]) {
			return false
		}
	}
	return true
}

// sameValue says whether two values are one, or constants of the same elements.
func sameValue(a, b *ir.Value) bool {
	return a == b || a.Const != nil && b.Const != nil && a.Const.Tensor.Len() <= ir.MaxKnown && tensor.Equal(a.Const.Tensor, b.Const.Tensor)
}

// commutes says whether a scalar operation gives the same with its operands exchanged.
// Those of float arithmetic are sums and products, and need no saying.
func commutes(op string) bool {
	switch o, _ := ir.ScalarOpByName(op); o {
	case ir.OpAdd, ir.OpMul, ir.OpMin, ir.OpMax, ir.OpAnd, ir.OpOr, ir.OpXor, ir.OpEq, ir.OpNe:
		return true
	}
	return false
}

// termOf makes the term of a scalar expression; load gives that of an operand. It is nil
// for expressions with anything but arithmetic on operands, which depend on where they
// are computed.
func termOf(x *ir.Scalar, load func(*ir.Buffer) *term) *term {
	if x.Op == ir.OpLoad {
		return load(x.Buf)
	}
	if x.Op == ir.OpLit {
		if x.DType.IsFloat() || x.DType.IsInt() || x.DType == tensor.Bool {
			return number(x.Lit.Float(0))
		}
		return nil
	}
	if x.Op == ir.OpAxis || x.Op == ir.OpSym || x.Op == ir.OpBcast || x.Op == ir.OpGuard {
		return nil
	}
	args := make([]*term, len(x.Args))
	for i, a := range x.Args {
		if args[i] = termOf(a, load); args[i] == nil {
			return nil
		}
	}
	from := x.DType
	if len(x.Args) > 0 {
		from = x.Args[0].DType
	}
	if x.Op == ir.OpCast && x.DType.IsFloat() && (from.IsFloat() || args[0].kind == numberTerm) {
		return args[0]
	}
	if from.IsFloat() {
		switch x.Op {
		case ir.OpAdd:
			return plus(args[0], args[1])
		case ir.OpSub:
			return plus(args[0], times(number(-1), args[1]))
		case ir.OpMul:
			return times(args[0], args[1])
		case ir.OpDiv:
			return times(args[0], power(args[1], -1))
		case ir.OpNeg:
			return times(number(-1), args[0])
		case ir.OpSqrt:
			return power(args[0], 0.5)
		case ir.OpPow:
			if args[1].kind == numberTerm && args[1].c != 0 {
				return power(args[0], args[1].c)
			}
		}
	}
	op := x.Op
	switch op {
	case ir.OpGt:
		op, args = ir.OpLt, []*term{args[1], args[0]}
	case ir.OpGe:
		op, args = ir.OpLe, []*term{args[1], args[0]}
	}
	name := op.String()
	if op == ir.OpCast {
		name += " " + x.DType.String()
	}
	return &term{kind: functionTerm, op: name, args: args}
}

// maxTerm bounds the expressions that are looked into, in nodes.
const maxTerm = 64

// point is what an operator computes at a point from its operands at that point; expr is
// nil for operators that read other points, too.
type point struct {
	expr *ir.Scalar
	at   map[*ir.Buffer]int // which operand a buffer is
}

// points remembers what operators compute. It does not depend on shapes, so an operator
// with certain attributes and element types is looked at once, in a shape that stands for
// all.
type points map[string]point

var standIn = []sym.Expr{sym.Const(2), sym.Const(3), sym.Const(5)}

func (x points) of(s *ir.Stmt) point {
	if s.Kind != ir.OpStmt || s.Op.Body == nil || s.Op.Effect != ir.Pure || len(s.Regions) > 0 || len(s.Results) != 1 || s.Results[0] == nil {
		return point{}
	}
	c := &ir.Call{Op: s.Op, Attrs: s.Attrs, Syms: sym.NewContext(), In: make([]ir.Type, len(s.Args)), Want: []bool{true}}
	var key strings.Builder
	fmt.Fprintf(&key, "%p", s.Op)
	for _, a := range s.Attrs {
		if _, ok := a.Value.(*tensor.Tensor); ok {
			return point{}
		}
		fmt.Fprintf(&key, " %s=%#v", a.Name, a.Value)
	}
	for i, a := range s.Args {
		if a == nil {
			key.WriteString(" _")
			continue
		}
		t, ok := a.Tensor()
		if !ok || t.DType == tensor.Invalid {
			return point{}
		}
		fmt.Fprintf(&key, " %s", t.DType)
		c.In[i] = ir.TensorOf(t.DType, standIn...)
	}
	k := key.String()
	p, ok := x[k]
	if !ok {
		p = pointOf(c)
		x[k] = p
	}
	return p
}

func pointOf(c *ir.Call) point {
	if c.Infer() != nil {
		return point{}
	}
	p, args, err := c.Program()
	if err != nil || len(p.Stages) != 1 || p.Stages[0].Kind != ir.MapStage || analysis.StageKind(p.Stages[0]) != analysis.Elementwise {
		return point{}
	}
	size := 0
	s := p.Stages[0]
	s.Walk(func(x *ir.Scalar) bool {
		size++
		return x.Op != ir.OpLoad
	})
	if size > maxTerm {
		return point{}
	}
	at := map[*ir.Buffer]int{}
	for i, b := range p.Params {
		at[b] = args[i]
	}
	return point{s.Exprs[0], at}
}

// terms makes the terms of a module's values.
type terms struct {
	d      *ir.Deducer
	points points
	uses   map[*ir.Value]int
	made   map[*ir.Value]*term
	inner  map[*ir.Value]*term       // what a leaf is when it is looked into
	now    func(*ir.Value) *ir.Value // what stands for a value by now, where its reader has the old one
}

// computes says whether a statement applies an operator of which a result is read.
func (x *terms) computes(s *ir.Stmt) bool {
	return s.Kind == ir.OpStmt && s.Effect() == ir.Pure && len(s.Regions) == 0 &&
		slices.ContainsFunc(s.Results, func(v *ir.Value) bool { return v != nil && x.uses[v] > 0 })
}

func newTerms(m *ir.Module, known points, now func(*ir.Value) *ir.Value) terms {
	x := terms{points: known, uses: uses(m), now: now}
	x.forget()
	return x
}

// forget lets terms be made anew.
func (x *terms) forget() {
	x.made, x.inner = map[*ir.Value]*term{}, map[*ir.Value]*term{}
}

// of is the term of a value as an operand: what is used once is looked into.
func (x *terms) of(v *ir.Value) *term {
	v = x.now(v)
	if t := x.made[v]; t != nil {
		return t
	}
	var t *term
	if x.uses[v] == 1 {
		t = x.within(v)
	}
	if t == nil {
		t = leafOf(v)
	}
	x.made[v] = t
	return t
}

func leafOf(v *ir.Value) *term {
	if v.Const != nil && v.Const.Tensor.Len() == 1 {
		if d := v.Const.Tensor.DType(); d.IsFloat() || d.IsInt() || d == tensor.Bool {
			return &term{kind: numberTerm, value: v, c: v.Const.Tensor.Float(0)}
		}
	}
	return &term{kind: leafTerm, value: v}
}

// within is the term of what computes a value, nil where that is no arithmetic.
func (x *terms) within(v *ir.Value) *term {
	if t, ok := x.inner[v]; ok {
		return t
	}
	x.inner[v] = nil
	s := v.Def
	if s == nil {
		return nil
	}
	p := x.points.of(s)
	if p.expr == nil {
		return nil
	}
	t := termOf(p.expr, func(b *ir.Buffer) *term { return x.of(s.Args[p.at[b]]) })
	if t != nil && t.value == nil {
		t.value = v
	}
	x.inner[v] = t
	return t
}

// patternTerms makes the terms of a pattern: a function whose parameters are holes. Names
// are those of its values. What is used once is looked into, as in a module.
func patternTerms(x points, f *ir.Func) (results []*term, names map[string]*term) {
	made, shared, uses := map[*ir.Value]*term{}, map[*ir.Value]*term{}, map[*ir.Value]int{}
	for _, s := range f.Stmts {
		s.EachUse(func(v *ir.Value) { uses[v]++ })
	}
	for _, v := range f.Results {
		uses[v]++
	}
	of := func(v *ir.Value) *term {
		if v == nil {
			return nil
		}
		if v.Const != nil && made[v] == nil {
			made[v] = leafOf(v)
		}
		if t := made[v]; uses[v] > 1 && (t.kind == sumTerm || t.kind == productTerm) {
			if shared[v] == nil {
				shared[v] = &term{kind: sharedTerm, args: []*term{t}}
			}
			return shared[v]
		}
		return made[v]
	}
	for _, p := range f.Params {
		made[p] = &term{kind: leafTerm, value: p}
	}
	for _, s := range f.Stmts {
		var t *term
		if p := x.of(s); p.expr != nil {
			t = termOf(p.expr, func(b *ir.Buffer) *term { return of(s.Args[p.at[b]]) })
		}
		for i, r := range s.Results {
			if r == nil {
				continue
			}
			if t == nil || i > 0 {
				o := &term{kind: operatorTerm, op: s.Op.Name, stmt: s, c: float64(i), value: r}
				for _, a := range s.Args {
					o.args = append(o.args, of(a))
				}
				made[r] = o
				continue
			}
			if t.value == nil {
				t.value = r
			}
			made[r] = t
		}
	}
	names = map[string]*term{}
	for v, t := range made {
		if v.Const == nil {
			names[v.Name] = t
		}
	}
	for _, v := range f.Results {
		results = append(results, made[v])
	}
	return results, names
}
