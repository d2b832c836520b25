package builtin

import (
	"maps"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Experts may be spelled densely: each gets every row, and what it makes of a row is
// multiplied by a weight, which is zero where the row is not meant for it. Such a sum is one
// of experts whose rows are chosen by their weights:
//
//	y = sum(e) expert_e(x) * w_e    =>    rows of x with w_e not 0, through expert_e, times w_e, added
//
// What is left out is zero if nothing that the zero is multiplied by is infinite or NaN. The
// programs of an expert tell up to which magnitude of its rows none of its values overflows,
// given the ranges of its weights; a row that goes beyond that, or has a NaN, is chosen for
// every expert, as are all rows for an expert of which nothing can be proved. So there is one
// way for all rows, and what it computes is what was spelled out.

// dense makes one of experts that get every row, of whose sum s is the last.
func (x *expertMerger) dense(b *ir.Builder, s *ir.Stmt) *ir.Value {
	if len(s.Results) != 1 || s.Results[0] == nil {
		return nil
	}
	t, ok := s.Results[0].Tensor()
	if !ok || t.Unranked || len(t.Dims) != 2 || !t.DType.IsFloat() || t.Dims[1].IsInt(1) {
		return nil
	}
	if x.addends(s.Results[0]) == nil || x.summedFurther(s.Results[0]) {
		return nil
	}
	list := x.flatten(s.Results[0], true)
	var onto *ir.Value
	var terms []*gatedTerm
	for i, v := range list {
		g := x.gated(v)
		switch {
		case g != nil:
			terms = append(terms, g)
		case i > 0:
			return nil
		default:
			onto = v
		}
	}
	if len(terms) < 2 {
		return nil
	}
	bound, proved := math.Inf(1), 0
	for _, g := range terms {
		isZero := func(r analysis.Range) bool { return r == analysis.Range{} }
		if g.bound = x.boundOf(g.v, g.cuts, map[*ir.Value]analysis.Range{g.gate: {}}, isZero); g.bound > 0 {
			bound = min(bound, g.bound)
			proved++
		}
	}
	if 2*proved <= len(terms) {
		return nil
	}
	if onto == nil {
		zero := b.Const(tensor.New(t.DType))
		onto = b.Op("onnx.Expand", []*ir.Value{zero, b.Dims(t.Dims...)})
	}
	return x.merge(b, len(terms)).routed(terms, t.Dims[0], bound, onto)
}

// addends are the operands of a value that is a sum of values of its own shape, nil for
// others.
func (x *expertMerger) addends(v *ir.Value) []*ir.Value {
	if v.Def == nil || v.Def.Kind != ir.OpStmt || len(v.Def.Args) < 2 {
		return nil
	}
	r := (elements{x.Deducer}).stageOf(v)
	if r == nil || r.s.Exprs[0].Op != ir.OpAdd || !r.s.Exprs[0].DType.IsFloat() {
		return nil
	}
	at := make([]sym.Expr, len(r.s.Axes))
	for i := range at {
		at[i] = positionOf(i)
	}
	var out []*ir.Value
	var add func(e *ir.Scalar) bool
	add = func(e *ir.Scalar) bool {
		if e.Op == ir.OpAdd {
			return add(e.Args[0]) && add(e.Args[1])
		}
		if e.Op != ir.OpLoad {
			return false
		}
		of, index := r.load(e, at)
		if of == nil || !sameDims(of, v) || !slices.EqualFunc(index, at, sym.Expr.Equal) {
			return false
		}
		out = append(out, of)
		return true
	}
	if !add(r.s.Exprs[0]) {
		return nil
	}
	return out
}

// positionOf stands for a position along an axis; no symbol of a module has such a name.
func positionOf(axis int) sym.Expr { return sym.Var("position along axis " + string(rune('0'+axis))) }

// flatten gives what a value adds up, through sums that are read by nothing else.
func (x *expertMerger) flatten(v *ir.Value, first bool) []*ir.Value {
	if !first && x.uses[v] != 1 {
		return []*ir.Value{v}
	}
	parts := x.addends(v)
	if parts == nil {
		return []*ir.Value{v}
	}
	if len(parts) == 2 && x.addends(parts[0]) == nil && x.addends(parts[1]) != nil {
		parts = []*ir.Value{parts[1], parts[0]}
	}
	var out []*ir.Value
	for _, p := range parts {
		out = append(out, x.flatten(p, false)...)
	}
	return out
}

// summedFurther says whether a value is part of a sum that goes on.
func (x *expertMerger) summedFurther(v *ir.Value) bool {
	s := x.users[v]
	if s == nil || x.uses[v] != 1 || len(s.Results) != 1 || s.Results[0] == nil || x.addends(s.Results[0]) == nil {
		return false
	}
	return slices.ContainsFunc(s.Args, func(a *ir.Value) bool { return a != v && a != nil && x.gated(a) != nil })
}

// gatedTerm is what an expert makes of all rows, times a weight for each.
type gatedTerm struct {
	v     *ir.Value
	gate  *ir.Value   // [rows, 1]
	cone  []*ir.Stmt  // that compute it, and nothing else
	cuts  []*ir.Value // rows that these are computed from
	bound float64     // magnitude of those up to which the term is zero where its gate is
}

// gated reads a value as such a term, nil where it is none.
func (x *expertMerger) gated(v *ir.Value) *gatedTerm {
	t, ok := v.Tensor()
	if !ok || t.Unranked || len(t.Dims) != 2 || v.Def == nil || v.Def.Kind != ir.OpStmt {
		return nil
	}
	for at := v; at.Def != nil && at.Def.Kind == ir.OpStmt && len(at.Def.Results) == 1; {
		var next *ir.Value
		for _, a := range at.Def.Args {
			if a == nil || a.Const != nil {
				continue
			}
			u, ok := a.Tensor()
			if !ok || u.Unranked || len(u.Dims) != 2 || !u.Dims[0].Equal(t.Dims[0]) {
				continue
			}
			if !u.Dims[1].IsInt(1) {
				next = a
			} else if x.vanishes(a, 0) {
				g := &gatedTerm{v: v, gate: a, cone: x.coneOf(v, a)}
				for _, s := range g.cone {
					for _, a := range s.Args {
						if a != nil && a != g.gate && (a.Def == nil || !slices.Contains(g.cone, a.Def)) && x.rowDim(g, a) >= 0 && !slices.Contains(g.cuts, a) {
							g.cuts = append(g.cuts, a)
						}
					}
				}
				return g
			}
		}
		if next == nil || x.uses[next] != 1 { // a weight may be inside, in front of the last product
			return nil
		}
		at = next
	}
	return nil
}

// coneOf finds the statements that compute a value and nothing else, up to its gate.
func (x *expertMerger) coneOf(v, gate *ir.Value) (cone []*ir.Stmt) {
	reads := map[*ir.Value]int{}
	var add func(s *ir.Stmt)
	add = func(s *ir.Stmt) {
		cone = append(cone, s)
		for _, a := range s.Args {
			if a != nil {
				reads[a]++
			}
		}
		for _, a := range s.Args {
			if a == nil || a == gate || a.Def == nil || slices.Contains(cone, a.Def) || !x.computes(a.Def) ||
				slices.ContainsFunc(a.Def.Results, func(r *ir.Value) bool { return r != nil && x.uses[r] != reads[r] }) {
				continue
			}
			add(a.Def)
		}
	}
	add(v.Def)
	return cone
}

// mostVanishing bounds how far is looked for what makes a zero.
const mostVanishing = 24

// vanishes says whether a value is exactly zero where something says so, and not just by
// chance: where a truth value is false, where nothing was put into zeros, or what is below
// zero was cut off.
func (x *expertMerger) vanishes(v *ir.Value, depth int) bool {
	if v.Const != nil || v.Def == nil || v.Def.Kind != ir.OpStmt || depth > mostVanishing {
		return v.Const != nil && !v.Const.Tensor.DType().IsFloat()
	}
	p, args, err := x.Call(v.Def).Program()
	if err != nil {
		return false
	}
	stages := map[*ir.Buffer]*ir.Stage{}
	for _, s := range p.Stages {
		for _, o := range s.Outs {
			stages[o] = s
		}
	}
	isZero := func(e *ir.Scalar) bool { return e.Op == ir.OpLit && e.Lit.Float(0) == 0 }
	var node func(e *ir.Scalar) bool
	buffer := func(b *ir.Buffer) bool {
		if i := slices.Index(p.Params, b); i >= 0 {
			a := v.Def.Args[args[i]]
			if a.Const != nil {
				return hasZero(a.Const.Tensor)
			}
			return x.vanishes(a, depth+1)
		}
		s := stages[b]
		if s.Kind == ir.ScatterStage {
			i := slices.Index(p.Params, s.Base)
			return i >= 0 && isZeros(v.Def.Args[args[i]])
		}
		return (s.Kind == ir.MapStage || s.Kind == ir.ReduceStage && s.Monoid != ir.ArgMax && s.Monoid != ir.ArgMin) && node(s.Exprs[0])
	}
	node = func(e *ir.Scalar) bool {
		switch {
		case e.DType == tensor.Bool && e.Op != ir.OpLoad, e.Op == ir.OpLit && isZero(e):
			return true
		}
		switch e.Op {
		case ir.OpLoad:
			return e.Buf.DType == tensor.Bool || buffer(e.Buf)
		case ir.OpCast, ir.OpNeg, ir.OpAbs, ir.OpSqrt, ir.OpDiv:
			return node(e.Args[0])
		case ir.OpMul:
			return node(e.Args[0]) || node(e.Args[1])
		case ir.OpAdd:
			return node(e.Args[0]) && node(e.Args[1])
		case ir.OpGuard, ir.OpSelect:
			return node(e.Args[1]) || node(e.Args[2])
		case ir.OpMax:
			return isZero(e.Args[0]) || isZero(e.Args[1])
		}
		return false
	}
	i := 0
	for _, r := range v.Def.Results[:v.Index] {
		if r != nil {
			i++
		}
	}
	return buffer(p.Results[i])
}

func hasZero(t *tensor.Tensor) bool {
	if t.Len() > ir.MaxKnown || t.DType() == tensor.String || t.DType().IsComplex() {
		return false
	}
	for i := range t.Len() {
		if t.Float(i) == 0 {
			return true
		}
	}
	return false
}

// boundOf finds a magnitude, a power of two, up to which a value is proved to be in a range
// that holds: of values that are no larger than that, and others of which a range is known. Their types
// have the magnitude; integers are not looked at in a run, and may be any. It is 0 where there is none.
func (x *expertMerger) boundOf(v *ir.Value, cuts []*ir.Value, known map[*ir.Value]analysis.Range, holds func(analysis.Range) bool) float64 {
	low, high := 6, 120
	var floats []*ir.Value
	for _, c := range append([]*ir.Value{v}, cuts...) {
		t, ok := c.Tensor()
		switch d := t.DType; {
		case !ok || d.IsFloat() && d.Bits() < 16:
			return 0
		case d == tensor.F16:
			high = 15
		}
		if t.DType.IsFloat() && c != v {
			floats = append(floats, c)
		}
	}
	within := func(k int) bool {
		ranges := maps.Clone(known)
		for _, c := range floats {
			ranges[c] = analysis.Range{Lo: -math.Ldexp(1, k), Hi: math.Ldexp(1, k)}
		}
		return holds(x.rangeOf(v, ranges))
	}
	if !within(low) {
		return 0
	}
	for low+1 < high {
		if k := (low + high) / 2; within(k) {
			low = k
		} else {
			high = k
		}
	}
	return math.Ldexp(1, low)
}

// rangeOf gives the range of a value, from those that are known and those of constants.
func (x *expertMerger) rangeOf(v *ir.Value, known map[*ir.Value]analysis.Range) analysis.Range {
	if v.Const != nil {
		return x.rangeOfConst(v)
	}
	r, ok := known[v]
	if ok {
		return r
	}
	known[v] = analysis.Any
	if v.Def == nil || v.Def.Kind != ir.OpStmt || len(v.Def.Regions) > 0 {
		return analysis.Any
	}
	if p, args, err := x.Call(v.Def).Program(); err == nil {
		params := make([]analysis.Range, len(args))
		for i, a := range args {
			params[i] = x.rangeOf(v.Def.Args[a], known)
		}
		list := analysis.Ranges(x.M.Syms, p, params)
		for _, r := range v.Def.Results {
			if r != nil {
				known[r], list = list[0], list[1:]
			}
		}
	}
	return known[v]
}

// rangeOfConst is what a constant is in, Any where there is a NaN or an infinity.
func (x *expertMerger) rangeOfConst(v *ir.Value) analysis.Range {
	if r, ok := x.ranges[v]; ok {
		return r
	}
	r := rangeOfTensor(v.Const.Tensor)
	x.ranges[v] = r
	return r
}

func rangeOfTensor(t *tensor.Tensor) analysis.Range {
	n := t.Len()
	if n == 0 || t.DType() == tensor.String || t.DType().IsComplex() {
		return analysis.Any
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	if t.DType() == tensor.F32 {
		for _, v := range tensor.Data[float32](t) {
			if v-v != 0 {
				return analysis.Any
			}
			lo, hi = min(lo, float64(v)), max(hi, float64(v))
		}
		return analysis.Range{Lo: lo, Hi: hi}
	}
	for i := range n {
		v := t.Float(i)
		if v-v != 0 {
			return analysis.Any
		}
		lo, hi = min(lo, v), max(hi, v)
	}
	return analysis.Range{Lo: lo, Hi: hi}
}

// rowDim is the dim of a value along which it has the rows that a term has, -1 where it has none.
func (x *expertMerger) rowDim(g *gatedTerm, v *ir.Value) int {
	of, _ := g.v.Tensor()
	t, ok := v.Tensor()
	if !ok || t.Unranked || v.Const != nil {
		return -1
	}
	return slices.IndexFunc(t.Dims, func(d sym.Expr) bool { return x.M.Syms.Equal(d, of.Dims[0]) == sym.True })
}

// routed makes one of what experts make of the rows that are chosen for them.
func (m *merge) routed(terms []*gatedTerm, rows sym.Expr, bound float64, onto *ir.Value) *ir.Value {
	all := make([]*routedTerm, len(terms))
	for e, g := range terms {
		list := m.b.Op("onnx.NonZero", []*ir.Value{m.b.Op("onnx.Cast", []*ir.Value{m.column(g.gate, rows)}, "to", tensor.Bool)})
		t, ok := list.Tensor()
		if !ok || t.Unranked {
			return nil
		}
		size, bare := t.Dims[1].Symbol()
		if !bare {
			return nil
		}
		r := &routedTerm{gatedTerm: g, m: m, u: size, made: map[*ir.Value]*ir.Value{}}
		r.at = m.b.Op("onnx.Gather", []*ir.Value{list, m.b.Const(tensor.Scalar(int64(0)))})
		r.made[g.gate] = m.b.Op("onnx.Gather", []*ir.Value{g.gate, r.at})
		m.lists, m.sizes, all[e] = append(m.lists, list), append(m.sizes, size), r
	}
	at, made, gates, shares := make([]*ir.Value, m.n), make([]*ir.Value, m.n), make([]*ir.Value, m.n), make([]*ir.Value, m.n)
	for e, r := range all {
		at[e], gates[e], shares[e] = r.at, r.gate, r.made[r.gate]
		if made[e] = r.route(r.v); made[e] == nil || m.b.Err() != nil {
			return nil
		}
	}
	gate := m.stackColumns(gates, rows) // [experts, rows]
	chosen := m.b.Op("onnx.Cast", []*ir.Value{gate}, "to", tensor.Bool)
	var cuts []*ir.Value
	for _, g := range terms {
		for _, c := range g.cuts {
			if !slices.Contains(cuts, c) {
				cuts = append(cuts, c)
			}
		}
	}
	for _, c := range cuts {
		if within := m.within(c, bound); within != nil {
			chosen = m.b.Op("onnx.Or", []*ir.Value{chosen, m.b.Op("onnx.Not", []*ir.Value{within})})
		}
	}
	always := tensor.New(tensor.Bool, int64(m.n), 1)
	needed := false
	for e, g := range terms {
		always.SetBool(int64(e), g.bound == 0)
		needed = needed || g.bound == 0
	}
	if needed {
		chosen = m.b.Op("onnx.Or", []*ir.Value{chosen, m.b.Const(always)})
	}
	m.all = m.b.Op("onnx.NonZero", []*ir.Value{chosen})
	to, ok := m.all.Tensor()
	if !ok || to.Unranked {
		return nil
	}
	m.rows, m.expert = to.Dims[1], m.row(0)
	positions := m.b.Op("onnx.Transpose", []*ir.Value{m.all}, "perm", []int64{1, 0})
	share := m.b.Op("onnx.Unsqueeze", []*ir.Value{m.b.Op("onnx.GatherND", []*ir.Value{gate, positions}), m.b.Ints(1)})
	m.made[shares[0]] = &merged{of: shares, kind: byRow, v: share}
	y := m.put(onto, at, made, "add", false)
	if m.groups == 0 {
		return nil
	}
	return y
}

// column is a value [rows, 1] as a list.
func (m *merge) column(v *ir.Value, rows sym.Expr) *ir.Value {
	return m.b.Op("onnx.Squeeze", []*ir.Value{v, m.b.Ints(1)})
}

// stackColumns puts columns [rows, 1] behind one another, as [columns, rows]. Columns of one
// matrix are its transpose.
func (m *merge) stackColumns(list []*ir.Value, rows sym.Expr) *ir.Value {
	if of := m.matrixOf(list); of != nil {
		return m.b.Op("onnx.Transpose", []*ir.Value{of}, "perm", []int64{1, 0})
	}
	flat := make([]*ir.Value, len(list))
	for i, v := range list {
		flat[i] = m.b.Op("onnx.Transpose", []*ir.Value{v}, "perm", []int64{1, 0})
	}
	return m.b.Op("onnx.Concat", flat, "axis", 0)
}

// matrixOf finds the matrix that has the columns, in order and no others.
func (m *merge) matrixOf(list []*ir.Value) *ir.Value {
	row := positionOf(0)
	var of *ir.Value
	for i, v := range list {
		at := []sym.Expr{row, sym.Const(0)}
		for {
			t, _ := v.Tensor()
			if len(at) == 2 && at[0].Equal(row) && at[1].IsInt(int64(i)) && t.Dims[1].IsInt(int64(len(list))) {
				break
			}
			if v, at = m.elements().source(v, at); v == nil {
				return nil
			}
		}
		if i > 0 && v != of {
			return nil
		}
		of = v
	}
	return of
}

// within says of which rows of a value all elements are at most of a magnitude; nil where
// that says nothing.
func (m *merge) within(v *ir.Value, bound float64) *ir.Value {
	t, _ := v.Tensor()
	if !t.DType.IsFloat() {
		return nil
	}
	k := tensor.New(t.DType)
	k.SetFloat(0, bound)
	largest := m.b.Op("onnx.Abs", []*ir.Value{v})
	if len(t.Dims) > 1 {
		axes := make([]int64, len(t.Dims)-1)
		for i := range axes {
			axes[i] = int64(i + 1)
		}
		largest = m.b.Op("onnx.ReduceMax", []*ir.Value{largest, m.b.Ints(axes...)}, "keepdims", int64(0))
	}
	return m.b.Op("onnx.LessOrEqual", []*ir.Value{largest, m.b.Const(k)})
}

// routedTerm is a term of the rows that are chosen for one expert. It is made to be merged
// with those of the others, and thrown away.
type routedTerm struct {
	*gatedTerm
	m    *merge
	u    string    // how many rows
	at   *ir.Value // which
	made map[*ir.Value]*ir.Value
}

// route gives the chosen rows of a value; nil where that does not go.
func (r *routedTerm) route(v *ir.Value) *ir.Value {
	if v == nil || r.made[v] != nil {
		return r.made[v]
	}
	m := r.m
	dim := m.rowDim(r.gatedTerm, v)
	if dim < 0 {
		return v
	}
	if v.Def == nil || !slices.Contains(r.cone, v.Def) {
		if dim != 0 {
			return nil
		}
		r.made[v] = m.b.Op("onnx.Gather", []*ir.Value{v, r.at})
		return r.made[v]
	}
	s := v.Def
	args := make([]*ir.Value, len(s.Args))
	for i, a := range s.Args {
		if a == nil {
			continue
		}
		if args[i] = r.route(a); args[i] == nil || s.Op.View && i == 0 && args[0] == a {
			return nil
		}
	}
	if s.Op.View {
		t, _ := v.Tensor()
		dims := slices.Clone(t.Dims)
		dims[dim] = sym.Var(r.u)
		r.made[v] = m.b.Op("onnx.Reshape", []*ir.Value{args[0], m.b.Dims(dims...)}, "allowzero", int64(1))
		return r.made[v]
	}
	for i, y := range m.b.OpN(len(s.Results), s.Op.Name, args, s.Attrs) {
		if s.Results[i] != nil {
			r.made[s.Results[i]] = y
		}
	}
	return r.made[v]
}
