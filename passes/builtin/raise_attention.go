package builtin

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// rewriteAttention makes one operator of softmax(scale Q K' + mask) V, which gives the softmax,
// too, where that is read elsewhere. Numbers that Q and K
// are multiplied by go into the scale, the order of K's dims is put right, and keys and
// values that were copied for the heads of a group are taken from before they were.
func rewriteAttention(m *match) []*ir.Value {
	q, scale := m.unscaled(m.value("q"))
	k, c := m.unscaled(m.value("k"))
	scale *= c
	if c, ok := m.number("scale"); ok {
		scale *= c
	}
	v := m.value("v")
	out := m.out()
	if q == nil || k == nil || v == nil || !(scale >= 0) || math.IsInf(scale, 0) {
		return nil
	}
	mask := m.value("mask")
	if drop := m.value("drop"); drop != nil {
		mask = m.b.Op("onnx.Not", []*ir.Value{drop})
	}
	k, v = m.headsOf(k, true), m.headsOf(v, false)
	if k == nil || v == nil {
		return nil
	}
	d := out.DType
	q, v = m.as(q, d), m.as(v, d)
	k = m.as(k, d)
	q = m.headed(q)
	if mask != nil {
		if t, ok := mask.Tensor(); ok && t.Rank() == 3 && out.Rank() == 3 {
			mask = m.headed(mask)
		}
	}
	if !m.attends(q, k, v) {
		return nil
	}
	q, mask, ok := m.together(q, k, mask)
	if !ok {
		return nil
	}
	args := []*ir.Value{q, k, v}
	if mask != nil {
		args = append(args, mask)
	}
	scale, ok = m.attr(scale)
	op, attrs := "onnx.Attention", ir.MakeAttrs("scale", scale)
	if m.term("safe") != nil {
		op, attrs = "pit.Attention", attrs.With("safe", int64(1))
	}
	if c, given := m.number("masked"); given && !math.IsInf(c, -1) {
		c, exact := m.attr(c)
		ok = ok && exact
		op, attrs = "pit.Attention", attrs.With("masked", c)
	}
	if !ok {
		return nil
	}
	y, weight := &ir.Value{}, (*ir.Value)(nil)
	results := []*ir.Value{y}
	if is := m.wanted[1]; is != nil {
		if t, ok := is.Tensor(); !ok || t.DType != d {
			return nil // the operator rounds it to the type of what comes of it
		}
		weight = &ir.Value{}
		results = []*ir.Value{y, nil, nil, weight}
		attrs = attrs.With("qk_matmul_output_mode", int64(3))
	}
	m.b.Add(&ir.Stmt{Kind: ir.OpStmt, Op: m.b.M.Lookup(op), Args: args, Results: results, Attrs: attrs})
	return []*ir.Value{m.unheaded(y, out), m.unheaded(weight, out)}
}

// withoutHeads are the dims of [batch, head, token, feature] that a tensor of another rank
// lacks.
var withoutHeads = map[int][]int64{2: {0, 1}, 3: {1}}

// unheaded takes dims from a result that a type of what is to come of it lacks.
func (m *match) unheaded(v *ir.Value, out ir.TensorType) *ir.Value {
	if axes := withoutHeads[out.Rank()]; v != nil && axes != nil {
		return m.b.Op("onnx.Squeeze", []*ir.Value{v, m.b.Ints(axes...)})
	}
	return v
}

// headed gives an operand the dims that it lacks.
func (m *match) headed(v *ir.Value) *ir.Value {
	t, ok := v.Tensor()
	if axes := withoutHeads[t.Rank()]; ok && axes != nil {
		return m.b.Op("onnx.Unsqueeze", []*ir.Value{v, m.b.Ints(axes...)})
	}
	return v
}

// attends says whether operands are proved to be what attention takes: products of
// matrices broadcast where it does not.
func (m *match) attends(q, k, v *ir.Value) bool {
	tq, ok := q.Tensor()
	tk, ok2 := k.Tensor()
	tv, ok3 := v.Tensor()
	if !ok || !ok2 || !ok3 || tq.Rank() != 4 || tk.Rank() != 4 || tv.Rank() != 4 {
		return false
	}
	syms := m.d.M.Syms
	equal := func(a, b sym.Expr) bool { return syms.Equal(a, b) == sym.True }
	return equal(tq.Dims[0], tk.Dims[0]) && equal(tq.Dims[0], tv.Dims[0]) && equal(tk.Dims[1], tv.Dims[1]) &&
		equal(tk.Dims[2], tv.Dims[2]) && equal(tq.Dims[3], tk.Dims[3]) &&
		(equal(tq.Dims[1], tk.Dims[1]) || syms.Divides(tk.Dims[1], tq.Dims[1]) == sym.True)
}

// together gives queries and mask the dims that they have once they are added up. Attention
// repeats a mask that has one row, or one for all heads, where that is known; what only a
// run tells, since a model's declared shapes do not say that mask and tokens are of one
// length, is repeated before.
func (m *match) together(q, k, mask *ir.Value) (q2, mask2 *ir.Value, ok bool) {
	if mask == nil {
		return q, nil, true
	}
	t, ok := mask.Tensor()
	if !ok || t.Unranked || t.Rank() > 4 || t.Rank() == 0 {
		return nil, nil, false
	}
	tq, _ := q.Tensor()
	tk, _ := k.Tensor()
	scores := []sym.Expr{tq.Dims[0], tq.Dims[1], tq.Dims[2], tk.Dims[2]}
	dims := slices.Clone(t.Dims)
	known := true
	for i := range dims {
		at, dim := len(dims)-1-i, 3-i
		d, want := dims[at], scores[dim]
		equal := m.d.M.Syms.Equal(d, want)
		switch {
		case equal == sym.True || dim < 3 && d.IsInt(1):
		case equal == sym.False || dim < 2:
			return nil, nil, false
		case dim == 2:
			dims[at] = m.d.M.Syms.Simplify(sym.Broadcast(d, want))
			q = m.repeated(q, tq, []sym.Expr{tq.Dims[0], tq.Dims[1], dims[at], tq.Dims[3]})
			known = false
		default:
			dims[at], known = want, false
		}
	}
	if !known {
		mask = m.repeated(mask, t, dims)
	}
	return q, mask, true
}

// repeated broadcasts a value to dims.
func (m *match) repeated(v *ir.Value, t ir.TensorType, dims []sym.Expr) *ir.Value {
	m.checked = true
	v = m.b.Op("onnx.Expand", []*ir.Value{v, m.b.Dims(dims...)})
	if to := ir.TensorOf(t.DType, dims...); !m.d.Proves(v.Type, to) {
		v = m.b.MatchCast(v, to)
	}
	return v
}

// unscaled gives what a value is a multiple of, by a number, looking through what only
// moves elements.
func (m *match) unscaled(v *ir.Value) (*ir.Value, float64) {
	if v == nil || v.Def == nil {
		return v, 1
	}
	if w, c := m.multiple(v.Def); w != nil {
		w, d := m.unscaled(w)
		return w, c * d
	}
	if !m.moves(v) {
		return v, 1
	}
	s := v.Def
	w, c := m.unscaled(s.Args[0])
	if c == 1 {
		return v, 1
	}
	args := append([]*ir.Value{w}, s.Args[1:]...)
	return m.b.OpN(1, s.Op.Name, args, s.Attrs)[0], c
}

// multiple gives the operand that a statement multiplies by a number, and that; nil where
// it does something else.
func (m *match) multiple(s *ir.Stmt) (*ir.Value, float64) {
	p := m.points.of(s)
	if p.expr == nil {
		return nil, 1
	}
	t := termOf(p.expr, func(b *ir.Buffer) *term { return leafOf(s.Args[p.at[b]]) })
	if t == nil || t.kind != productTerm || len(t.parts) != 1 || t.parts[0].n != 1 || t.parts[0].t.kind != leafTerm {
		return nil, 1
	}
	return t.parts[0].t.value, t.c
}

// moves says whether a value has the elements of the operand of the statement that makes
// it, in another shape or order, or more than once.
func (m *match) moves(v *ir.Value) bool {
	s := v.Def
	if s == nil || s.Kind != ir.OpStmt || len(s.Args) == 0 || len(s.Results) != 1 {
		return false
	}
	_, ok := transposition(s)
	return ok || s.Op.View && !s.Op.IsView() || s.Op.Name == "onnx.Expand"
}

// atom is a dim of a tensor, a factor of one, or what was copied (axis < 0).
type atom struct {
	axis int
	size sym.Expr
}

// layout says for each dim of a value which dims of another it goes over, outermost first.
type layout [][]atom

// layouts gives the values that a value is made of by moving elements alone, itself first,
// and how it goes over each; nil where that can not be told.
func (m *match) layouts(v *ir.Value) (from []*ir.Value, how []layout) {
	from = []*ir.Value{v}
	for w := v; m.moves(w); {
		w = w.Def.Args[0]
		from = append(from, w)
	}
	for n, base := range from {
		t, ok := base.Tensor()
		if !ok || t.Unranked {
			how = append(how, nil)
			continue
		}
		l := make(layout, len(t.Dims))
		for i, d := range t.Dims {
			l[i] = []atom{{i, d}}
		}
		for i := n - 1; i >= 0 && l != nil; i-- {
			l = m.moved(l, from[i])
		}
		how = append(how, l)
	}
	return from, how
}

// moved is a layout behind one more movement; nil where it can not be told.
func (m *match) moved(l layout, v *ir.Value) layout {
	t, ok := v.Tensor()
	if !ok || t.Unranked {
		return nil
	}
	if perm, ok := transposition(v.Def); ok {
		out := make(layout, len(perm))
		for i, p := range perm {
			out[i] = l[p]
		}
		return out
	}
	syms := m.d.M.Syms
	if v.Def.Op.Name == "onnx.Expand" {
		in, _ := v.Def.Args[0].Tensor()
		out := make(layout, len(t.Dims))
		for i, d := range t.Dims {
			j := i - (len(t.Dims) - len(in.Dims))
			switch {
			case j >= 0 && syms.Equal(in.Dims[j], d) == sym.True:
				out[i] = l[j]
			case j < 0 || in.Dims[j].IsInt(1):
				out[i] = []atom{{-1, d}}
			default:
				return nil
			}
		}
		return out
	}
	// A view: the same atoms in the same order, in other groups.
	var atoms []atom
	for _, list := range l {
		for _, a := range list {
			if !a.size.IsInt(1) {
				atoms = append(atoms, a)
			}
		}
	}
	out := make(layout, len(t.Dims))
	for i, d := range t.Dims {
		size := sym.Const(1)
		for syms.Equal(size, d) != sym.True {
			if len(atoms) == 0 {
				return nil
			}
			size = size.Mul(atoms[0].size)
			out[i] = append(out[i], atoms[0])
			atoms = atoms[1:]
		}
	}
	if len(atoms) > 0 {
		return nil
	}
	return out
}

// headsOf gives keys or values as [batch, head, token, feature], the heads before they were
// copied for the queries that share them. Keys come with their last dims exchanged.
func (m *match) headsOf(v *ir.Value, keys bool) *ir.Value {
	from, how := m.layouts(v)
	if len(how[0]) < 2 || len(how[0]) > 4 {
		return nil
	}
	var best *ir.Value
	var perm []int64
	least := math.MaxInt
	for n, l := range how {
		t, _ := from[n].Tensor()
		p, copied, ok := l.permutes(t.Dims)
		if !ok {
			continue
		}
		if last := len(p) - 1; keys {
			p[last-1], p[last] = p[last], p[last-1]
		}
		cost := 2 // what is left to do: heads that are there more than once, then a transpose
		if copied {
			cost = 0
		}
		if !slices.IsSorted(p) {
			cost++
		}
		if cost <= least {
			best, perm, least = from[n], p, cost
		}
	}
	if !slices.IsSorted(perm) {
		best = m.b.Op("onnx.Transpose", []*ir.Value{best}, "perm", perm)
	}
	return m.headed(best)
}

// permutes says in which order a layout goes over the dims of a tensor, each of them whole,
// and whether each element of dim 1 of 4 is there more than once.
func (l layout) permutes(dims []sym.Expr) (perm []int64, copied, ok bool) {
	if len(l) != len(dims) {
		return nil, false, false
	}
	used := make([]bool, len(dims))
	perm = make([]int64, len(l))
	for i, atoms := range l {
		perm[i] = -1
		if i == 1 && len(l) == 4 && len(atoms) == 2 && atoms[1].axis < 0 {
			atoms, copied = atoms[:1], true
		}
		switch {
		case len(atoms) == 0:
			continue
		case len(atoms) > 1 || atoms[0].axis < 0 || used[atoms[0].axis]:
			return nil, false, false
		}
		perm[i] = int64(atoms[0].axis)
		used[atoms[0].axis] = true
	}
	for i := range perm { // dims of 1, which views do not keep apart
		if perm[i] >= 0 {
			continue
		}
		j := slices.Index(used, false)
		for j >= 0 && j < len(dims) && (used[j] || !dims[j].IsInt(1)) {
			j++
		}
		if j < 0 || j == len(dims) {
			return nil, false, false
		}
		perm[i], used[j] = int64(j), true
	}
	return perm, copied, !slices.Contains(used, false)
}
