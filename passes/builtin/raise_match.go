package builtin

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// match is a place in a module that a pattern fits.
type match struct {
	*terms
	rule  *rule
	b     *ir.Builder
	start *ir.Stmt // gives the first of the results that are wanted
	// The statements of its block before and behind it.
	before, rest []*ir.Stmt
	results      []*ir.Value         // what gives the results of the pattern; nil: nothing
	bound        map[*term]*term     // what holes and shared parts of the pattern stand for
	dims         map[string]sym.Expr // what symbols of the pattern's types stand for
	steps        int                 // of the search, so far

	reads  map[*ir.Value]int // how often the match reads a value
	wanted []*ir.Value       // the results that are read elsewhere
	with   []*ir.Value       // what takes their place
	// checked: what takes the place of results checks dims that it has not proved, and is of
	// their types where that goes well.
	checked bool
}

// maxSteps bounds the search for one match. Patterns have a handful of operands that can
// be exchanged; what needs more is a sum of hundreds of terms.
const maxSteps = 10000

// term is what a named value of the pattern stands for.
func (m *match) term(name string) *term {
	if t := m.bound[m.rule.names[name]]; t != nil {
		return t
	}
	return nil
}

// value is the value that a named value of the pattern stands for; it is computed where a
// hole stands for a part of a sum or a product. It is nil where the pattern has none of
// that name.
func (m *match) value(name string) *ir.Value {
	t := m.term(name)
	if t == nil {
		return nil
	}
	return m.materialise(t, m.out().DType)
}

// out is the type of the first result of the pattern that something gives.
func (m *match) out() ir.TensorType {
	for _, v := range m.results {
		if v != nil {
			t, _ := v.Tensor()
			return t
		}
	}
	return ir.TensorType{}
}

// number is the number that a hole for one stands for.
func (m *match) number(name string) (float64, bool) {
	t := m.term(name)
	if t == nil || t.kind != numberTerm {
		return 0, false
	}
	return t.c, true
}

// attr is a number as an attribute, which holds no more than an f32 does; exact says whether
// that is enough for the element type of the result.
func (m *match) attr(c float64) (v float64, exact bool) {
	v = float64(float32(c))
	return v, v == c || m.out().DType != tensor.F64
}

// stmt is the statement that an operator of the pattern stands for, by the name of one of its
// results.
func (m *match) stmt(name string) *ir.Stmt {
	p := m.rule.names[name]
	if p == nil {
		return nil
	}
	if t := m.bound[p]; t != nil && t.value != nil {
		return t.value.Def
	}
	return m.same(p)
}

// same is the statement that gives what a result of an operator in the pattern stands for, as
// other results of that have it.
func (m *match) same(p *term) *ir.Stmt {
	for q, g := range m.bound {
		if q.kind == operatorTerm && q.stmt == p.stmt {
			return g.value.Def
		}
	}
	return nil
}

// fits says whether a pattern's term is what a term of the module is; then is asked once
// it is, and may send the search on.
func (m *match) fits(p, g *term, then func() bool) bool {
	if m.steps++; m.steps > maxSteps {
		return false
	}
	if was := m.bound[p]; was != nil {
		return m.again(p, was, g, then)
	}
	switch p.kind {
	case numberTerm:
		return g.kind == numberTerm && m.near(p.c, g.c) && then()
	case leafTerm:
		return m.fill(p, g, then)
	case operatorTerm:
		return m.operator(p, g, then)
	case sharedTerm:
		return m.fits(p.args[0], g, then)
	}
	for _, t := range m.readings(g) {
		try := m.function
		switch {
		case p.kind == sumTerm:
			try = m.sum
		case p.kind == productTerm:
			try = m.product
		case t.kind != functionTerm:
			continue
		}
		if try(p, t, func() bool { return m.bind(p, g, then) }) {
			return true
		}
	}
	return false
}

// readings are a term and, where it is a value that others read too, what computes that.
func (m *match) readings(g *term) []*term {
	if g.kind == leafTerm && g.value != nil {
		if t := m.within(g.value); t != nil {
			return []*term{t, g}
		}
	}
	return []*term{g}
}

// bind notes what a part of the pattern stands for, until the search comes back.
func (m *match) bind(p, g *term, then func() bool) bool {
	if was := m.bound[p]; was != nil {
		return m.again(p, was, g, then)
	}
	m.bound[p] = g
	if then() {
		return true
	}
	delete(m.bound, p)
	return false
}

// again says whether a part of the pattern stands for what it stood for before. A value is
// kept where one of the two is: else it would be computed anew.
func (m *match) again(p, was, g *term, then func() bool) bool {
	if !sameTerm(was, g) {
		return false
	}
	if was.value == nil && g.value != nil {
		m.bound[p] = g
		if then() {
			return true
		}
		m.bound[p] = was
		return false
	}
	return then()
}

// isNumber says whether a hole stands for a number: its type is that of a scalar.
func isNumber(p *term) bool {
	if p.kind != leafTerm || p.value.Const != nil {
		return false
	}
	t, ok := p.value.Tensor()
	return ok && !t.Unranked && len(t.Dims) == 0
}

// near says whether two numbers are one, as far as the element types of models tell.
func (m *match) near(p, g float64) bool {
	if p == g || math.IsNaN(p) && math.IsNaN(g) {
		return true
	}
	eps := 1e-6
	if d := m.out().DType; d == tensor.F16 || d == tensor.BF16 {
		eps = 1e-2
	}
	return math.Abs(p-g) <= eps*math.Abs(p)
}

// fill puts a term into a hole, if its type is right.
func (m *match) fill(p, g *term, then func() bool) bool {
	want, ok := p.value.Tensor()
	switch {
	case p.value.Const != nil: // a constant of the pattern that is no single number
		return g.value != nil && sameConst(p.value, g.value) && then()
	case isNumber(p):
		return g.kind == numberTerm && m.bind(p, g, then)
	case g.value == nil: // a part of a sum or a product, of the type of all of it
		return ok && want.Unranked && (want.DType.IsFloat() || want.DType == tensor.Invalid) && m.bind(p, g, then)
	}
	is, ok2 := g.value.Tensor()
	if !ok || !ok2 {
		return false
	}
	if d := want.DType; d != tensor.Invalid && d != is.DType && !(d.IsFloat() && is.DType.IsFloat()) {
		return false
	}
	if want.Unranked {
		return m.bind(p, g, then)
	}
	if is.Unranked || len(is.Dims) != len(want.Dims) {
		return false
	}
	var fresh []string
	ok = true
	for i, e := range want.Dims {
		name, bare := e.Symbol()
		if bare && !m.hasDim(name) {
			m.dims[name] = is.Dims[i]
			fresh = append(fresh, name)
			continue
		}
		e = e.Subst(func(s string) (sym.Expr, bool) { d, ok := m.dims[s]; return d, ok })
		ok = ok && m.d.M.Syms.Equal(e, is.Dims[i]) == sym.True
	}
	if ok && m.bind(p, g, then) {
		return true
	}
	for _, name := range fresh {
		delete(m.dims, name)
	}
	return false
}

func (m *match) hasDim(name string) bool { _, ok := m.dims[name]; return ok }

// sameConst says whether a constant of a pattern is that of a module, whatever its float
// type.
func sameConst(p, g *ir.Value) bool {
	if g.Const == nil {
		return false
	}
	a, b := p.Const.Tensor, g.Const.Tensor
	if a.DType() == b.DType() {
		return tensor.Equal(a, b)
	}
	if !a.DType().IsFloat() || !b.DType().IsFloat() || !slices.Equal(a.Shape(), b.Shape()) {
		return false
	}
	for i := range a.Len() {
		if a.Float(i) != b.Float(i) {
			return false
		}
	}
	return true
}

func (m *match) function(p, g *term, then func() bool) bool {
	if p.op != g.op || len(p.args) != len(g.args) {
		return false
	}
	if m.list(p.args, g.args, then) {
		return true
	}
	return len(p.args) == 2 && commutes(p.op) && m.list(p.args, []*term{g.args[1], g.args[0]}, then)
}

func (m *match) list(p, g []*term, then func() bool) bool {
	if len(p) == 0 {
		return then()
	}
	if p[0] == nil || g[0] == nil {
		return p[0] == g[0] && m.list(p[1:], g[1:], then)
	}
	return m.fits(p[0], g[0], func() bool { return m.list(p[1:], g[1:], then) })
}

// operator fits an operator that is no arithmetic: the same one, with attributes that
// mean the same.
func (m *match) operator(p, g *term, then func() bool) bool {
	if g.value == nil || g.value.Def == nil {
		return false
	}
	s := g.value.Def
	if s.Kind != ir.OpStmt || s.Op.Name != p.op || g.value.Index != int(p.c) || !m.sameAttrs(p.stmt, s) {
		return false
	}
	n := max(len(s.Args), len(p.args))
	want, args := make([]*term, n), make([]*term, n)
	copy(want, p.args)
	for i, a := range s.Args {
		if a != nil {
			args[i] = m.of(a)
		}
	}
	return m.list(want, args, func() bool { return m.bind(p, g, then) })
}

// anyAttrs marks a statement of a pattern whose attributes are for the rewrite to judge.
const anyAttrs = "any attributes"

// sameAttrs says whether a statement has the attributes of one in a pattern, written out
// or by default; an axis may be counted from either end.
func (m *match) sameAttrs(p, s *ir.Stmt) bool {
	if p.Node == anyAttrs {
		return true
	}
	for _, def := range s.Op.Attrs {
		a, b := p.Attrs.Get(def.Name), s.Attrs.Get(def.Name)
		if a == nil {
			a = def.Default
		}
		if b == nil {
			b = def.Default
		}
		if ir.SameAttr(a, b) {
			continue
		}
		x, ok := a.(int64)
		y, ok2 := b.(int64)
		t, ok3 := s.Args[0].Tensor()
		if !ok || !ok2 || !ok3 || t.Unranked || def.Name != "axis" || (x-y)%int64(max(1, len(t.Dims))) != 0 {
			return false
		}
	}
	return true
}

// product fits factors in any order; a hole for a number takes the coefficient.
func (m *match) product(p, g *term, then func() bool) bool {
	pc, pp := asProduct(p)
	gc, gg := asProduct(g)
	holes, pp := split(pp)
	return m.unordered(pp, gg, 1, func(q, g part) (*term, bool) { return g.t, q.n == g.n }, func() bool {
		if len(holes) == 0 {
			return m.near(pc, gc) && then()
		}
		h := holes[0]
		return len(holes) == 1 && m.fits(h.t, number(math.Pow(gc/pc, 1/h.n)), then)
	})
}

// sum fits summands in any order; a hole for a number takes the constant part.
func (m *match) sum(p, g *term, then func() bool) bool {
	pc, pp := asSum(p)
	gc, gg := asSum(g)
	holes, pp := split(pp)
	return m.unordered(pp, gg, 0, func(q, g part) (*term, bool) {
		if q.n == g.n {
			return g.t, true
		}
		c, f := asProduct(g.t)
		return product(c*g.n/q.n, f), true
	}, func() bool {
		if len(holes) == 0 {
			return m.near(pc, gc) && then()
		}
		h := holes[0]
		return len(holes) == 1 && m.fits(h.t, number((gc-pc)/h.n), then)
	})
}

// split takes the holes for numbers out of parts.
func split(parts []part) (holes, rest []part) {
	for _, p := range parts {
		if isNumber(p.t) {
			holes = append(holes, p)
		} else {
			rest = append(rest, p)
		}
	}
	// Holes for values come last: they take whatever the others leave.
	slices.SortStableFunc(rest, func(a, b part) int { return holeLast(a.t) - holeLast(b.t) })
	return holes, rest
}

func holeLast(t *term) int {
	if t.kind == leafTerm {
		return 1
	}
	return 0
}

// unordered fits each part of the pattern with another part of the term. The last one, if
// it is a hole, takes all that is left. Neutral is 1 for factors and 0 for summands.
func (m *match) unordered(pp, gg []part, neutral float64, fit func(p, g part) (*term, bool), then func() bool) bool {
	if len(pp) > len(gg) {
		return false
	}
	if len(pp) == 0 {
		return len(gg) == 0 && then()
	}
	if len(pp) == 1 && len(gg) > 1 {
		if pp[0].n != 1 || pp[0].t.kind != leafTerm || m.bound[pp[0].t] != nil {
			return false
		}
		join := sum
		if neutral == 1 {
			join = product
		}
		return m.fits(pp[0].t, join(neutral, gg), then)
	}
	for i, g := range gg {
		t, ok := fit(pp[0], g)
		if !ok {
			continue
		}
		rest := slices.Concat(gg[:i], gg[i+1:])
		if m.fits(pp[0].t, t, func() bool { return m.unordered(pp[1:], rest, neutral, fit, then) }) {
			return true
		}
	}
	return false
}

// materialise gives a value that is a term, adding operators for what no value is. New
// ones compute in element type d.
func (m *match) materialise(t *term, d tensor.DType) *ir.Value {
	if t.value != nil {
		return t.value
	}
	switch t.kind {
	case numberTerm:
		c := tensor.New(d)
		c.SetFloat(0, t.c)
		return m.b.Const(c)
	case sumTerm, productTerm:
		op, neutral := "onnx.Add", 0.0
		if t.kind == productTerm {
			op, neutral = "onnx.Mul", 1
		}
		var v *ir.Value
		join := func(x *ir.Value) {
			if v != nil {
				x = m.b.Op(op, []*ir.Value{v, x})
			}
			v = x
		}
		for _, p := range t.parts {
			x := m.as(m.materialise(p.t, d), d)
			if x == nil {
				return nil
			}
			if p.n != 1 && t.kind == productTerm {
				return nil // a hole takes no roots and quotients apart
			}
			if p.n != 1 {
				x = m.b.Op("onnx.Mul", []*ir.Value{x, m.materialise(number(p.n), d)})
			}
			join(x)
		}
		if t.c != neutral {
			join(m.materialise(number(t.c), d))
		}
		return v
	}
	return nil
}

// as gives a value in another element type.
func (m *match) as(v *ir.Value, d tensor.DType) *ir.Value {
	if v == nil {
		return nil
	}
	if t, ok := v.Tensor(); ok && t.DType != d {
		return m.b.Op("onnx.Cast", []*ir.Value{v}, "to", d)
	}
	return v
}

// output is a statement of a pattern that gives results of it.
type output struct {
	stmt    *ir.Stmt // nil: arithmetic, of this kind
	kind    termKind
	op      string
	results []int // which of the pattern's
}

// may says whether an operator's statement is of the kind.
func (o *output) may(x *terms, s *ir.Stmt) bool {
	if o.stmt != nil {
		return s.Op.Name == o.op
	}
	if len(s.Results) != 1 || s.Results[0] == nil {
		return false
	}
	t := x.within(s.Results[0])
	return t != nil && t.kind == o.kind && t.op == o.op
}

// outputsOf are the statements that give a pattern's results.
func outputsOf(results []*term) (list []*output) {
	for i, t := range results {
		if t.kind != operatorTerm {
			list = append(list, &output{kind: t.kind, op: t.op, results: []int{i}})
			continue
		}
		at := slices.IndexFunc(list, func(o *output) bool { return o.stmt == t.stmt })
		if at < 0 {
			at, list = len(list), append(list, &output{op: t.op, stmt: t.stmt})
		}
		list[at].results = append(list[at].results, i)
	}
	return list
}

// output fits a statement of the pattern that gives results with one of the module, and then
// what gives the others.
func (m *match) output(o *output, s *ir.Stmt, then func() bool) bool {
	if !o.may(m.terms, s) {
		return false
	}
	for _, i := range o.results {
		p, at := m.rule.results[i], 0
		if o.stmt != nil {
			at = int(p.c)
		}
		if at >= len(s.Results) || s.Results[at] == nil {
			continue
		}
		v := s.Results[at]
		g := leafOf(v)
		if o.stmt == nil {
			g = m.within(v)
		}
		m.results[i] = v
		if m.fits(p, g, func() bool { return m.others(0, then) }) {
			return true
		}
		m.results[i] = nil
		return false
	}
	return false
}

// others finds what gives the results from i on: a part of what is found, or a statement
// behind the first.
func (m *match) others(i int, then func() bool) bool {
	if i == len(m.results) {
		return then()
	}
	if m.results[i] != nil {
		return m.others(i+1, then)
	}
	if v, ok := m.found(m.rule.results[i]); ok {
		m.results[i] = v
		if m.others(i+1, then) {
			return true
		}
		m.results[i] = nil
		return false
	}
	at := slices.IndexFunc(m.rule.outputs, func(o *output) bool { return slices.Contains(o.results, i) })
	for _, s := range m.rest {
		if m.computes(s) && m.output(m.rule.outputs[at], s, then) {
			return true
		}
	}
	return false
}

// found is what a result of the pattern stands for that is a part of what is found, or that a
// statement gives which is; nil where the module has no such value.
func (m *match) found(p *term) (v *ir.Value, ok bool) {
	if g := m.bound[p]; g != nil {
		return g.value, true
	}
	s := m.same(p)
	if s != nil && int(p.c) < len(s.Results) {
		v = s.Results[int(p.c)]
	}
	return v, s != nil
}

// inside says whether everything between what holes stand for and the results is read there
// alone: else it would be computed beside what takes its place. What only moves elements may
// stay. It finds the results that are wanted: what is read there alone is none. What takes
// their place stands where the match starts, so none may come before.
func (m *match) inside() bool {
	stop := map[*ir.Value]bool{}
	var ends func(t *term)
	ends = func(t *term) {
		if t.value != nil {
			stop[t.value] = true
			return
		}
		for _, p := range t.parts {
			ends(p.t)
		}
		for _, a := range t.args {
			ends(a)
		}
	}
	for p, g := range m.bound {
		if p.kind == leafTerm {
			ends(g)
		}
	}
	here := map[*ir.Stmt]bool{}
	for _, s := range m.before {
		here[s] = true
	}
	behind := m.behind()
	cone := map[*ir.Stmt]bool{}
	m.reads = map[*ir.Value]int{}
	ok := true
	var walk func(s *ir.Stmt)
	walk = func(s *ir.Stmt) {
		if cone[s] {
			return
		}
		cone[s] = true
		for _, a := range s.Args {
			a = m.now(a)
			if a == nil || stop[a] || a.Const != nil {
				continue
			}
			m.reads[a]++
			if a.Def == nil || !here[a.Def] && !behind[a.Def] {
				ok = false
				continue
			}
			walk(a.Def)
		}
	}
	for _, v := range m.results {
		if v != nil {
			walk(v.Def)
		}
	}
	m.wanted = slices.Clone(m.results)
	first := false
	for i, v := range m.wanted {
		switch {
		case v == nil:
		case m.uses[v] <= m.reads[v]:
			m.wanted[i] = nil
		case !behind[v.Def]:
			return false
		default:
			first = first || v.Def == m.start
		}
	}
	for s := range cone {
		for _, r := range s.Results {
			if r != nil && m.uses[r] > m.reads[r] && !slices.Contains(m.wanted, r) && !m.moves(r) {
				ok = false
			}
		}
	}
	return ok && first
}

// behind are the statements that are not there yet where the match starts.
func (m *match) behind() map[*ir.Stmt]bool {
	behind := map[*ir.Stmt]bool{m.start: true}
	for _, s := range m.rest {
		behind[s] = true
	}
	return behind
}

// stands says whether statements that are new, and give what is to take the place of the
// results, may stand where the match starts, give what is of their types, and are not what
// was there.
func (m *match) stands(stmts []*ir.Stmt) bool {
	behind := m.behind()
	ok := true
	for _, s := range stmts {
		s.EachUse(func(v *ir.Value) { ok = ok && !behind[v.Def] })
	}
	if !ok {
		return false
	}
	other := false
	for i, v := range m.wanted {
		if v == nil {
			continue
		}
		w := m.with[i]
		if w == nil || behind[w.Def] || !m.typed(w, v) {
			return false
		}
		other = other || !sameStmt(w.Def, v.Def)
	}
	return other
}

// typed says whether a value is of the type of another that it takes the place of, or a cast
// may see to it.
func (m *match) typed(w, v *ir.Value) bool {
	if m.d.Proves(w.Type, v.Type) {
		return true
	}
	t, ok := v.Tensor()
	return m.checked && m.d.Compatible(w.Type, v.Type) && ok && (v.Def == m.start || visibleDims(m.d, t.Dims...))
}
