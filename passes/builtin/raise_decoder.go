package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// rewriteRotaryEmbedding makes one operator of features that are turned in pairs: what is the
// first of a pair and what is the second are halves of the features, or every other one.
// Angles are there for each feature, as in x*cos + turned(x)*sin, or for each pair, where the
// two features are computed apart.
func rewriteRotaryEmbedding(m *match) *ir.Value {
	x, from, step := m.features(m.value("first"))
	x2, from2, step2 := m.features(m.value("second"))
	if x == nil || x != x2 {
		return nil
	}
	attrs := ir.Attrs{}
	if m.term("x") == nil {
		attrs = attrs.With("for_pairs", int64(1))
	} else if m.value("x") != x {
		return nil
	}
	t, _ := x.Tensor()
	last := t.Rank() - 1
	half := m.d.M.Syms.Simplify(t.Dims[last].FloorDiv(sym.Const(2)))
	axis := last // that the parts are joined along
	begin, each := half, int64(1)
	if m.term("last") != nil {
		attrs = attrs.With("interleaved", int64(1))
		begin, each = sym.Const(1), 2
		if axis++; !m.overNew(m.stmt("turned").Args, axis) {
			return nil
		}
	}
	syms := m.d.M.Syms
	if step != each || step2 != each || !from.IsInt(0) || syms.Equal(from2, begin) != sym.True ||
		syms.Divides(sym.Const(2), t.Dims[last]) != sym.True || !m.lastAxis(m.stmt("turned"), "axis", axis) {
		return nil
	}
	return m.b.OpN(1, "pit.RotaryEmbedding", []*ir.Value{x, m.value("cos"), m.value("sin")}, attrs)[0]
}

// overNew says whether values have a dim of 1 in the place of an axis, which is their last.
func (m *match) overNew(list []*ir.Value, axis int) bool {
	for _, v := range list {
		t, ok := v.Tensor()
		if !ok || t.Unranked || t.Rank() != axis+1 || !t.Dims[axis].IsInt(1) {
			return false
		}
	}
	return true
}

// features gives the value of which another is half of the features, the last dim, and which
// half that is: from one on, in steps; nil where it is something else.
func (m *match) features(v *ir.Value) (x *ir.Value, from sym.Expr, step int64) {
	if v == nil || v.Def == nil || v.Def.Kind != ir.OpStmt || len(v.Def.Args) == 0 {
		return nil, from, 0
	}
	s := v.Def
	t, ok := s.Args[0].Tensor()
	is, ok2 := v.Tensor()
	if !ok || !ok2 || t.Unranked || is.Unranked || t.Rank() == 0 || is.Rank() == 0 {
		return nil, from, 0
	}
	syms := m.d.M.Syms
	last := t.Rank() - 1
	half := syms.Simplify(t.Dims[last].FloorDiv(sym.Const(2)))
	isHalf := syms.Equal(is.Dims[is.Rank()-1], half) == sym.True
	c := m.d.Call(s)
	known := func(i int) (n sym.Expr, ok bool) {
		if !c.Has(i) {
			return n, false
		}
		list, ok := c.Ints(i)
		if !ok || len(list) != 1 {
			return n, false
		}
		return list[0], true
	}
	switch s.Op.Name {
	case "onnx.Split":
		if len(s.Results) == 2 && isHalf && m.lastAxis(s, "axis", last) {
			return s.Args[0], half.Mul(sym.Const(int64(v.Index))), 1
		}
	case "onnx.Slice":
		from, ok = known(1)
		if n, negative := from.Int(); ok && negative && n < 0 {
			from = syms.Simplify(t.Dims[last].Add(from))
		}
		axis, ok2 := known(3)
		step, ok3 := sym.Const(1), true
		if c.Has(4) {
			step, ok3 = known(4)
		}
		n, ok4 := step.Int()
		if ok && ok2 && ok3 && ok4 && isHalf && (axis.IsInt(int64(last)) || axis.IsInt(-1)) {
			return s.Args[0], from, n
		}
	case "onnx.Gather": // of pairs that have a dim of their own
		pairs := s.Args[0].Def
		index, ok := known(1)
		if !ok || !m.lastAxis(s, "axis", last) || is.Rank() != last || !t.Dims[last].IsInt(2) ||
			pairs == nil || pairs.Kind != ir.OpStmt || !pairs.Op.View || pairs.Op.IsView() {
			break
		}
		x = pairs.Args[0]
		whole := ir.TensorOf(is.DType, append(slices.Clone(is.Dims[:last-1]), is.Dims[last-1].Mul(sym.Const(2)))...)
		if index.IsInt(-1) {
			index = sym.Const(1)
		}
		if m.d.Proves(x.Type, whole) {
			return x, index, 2
		}
	}
	return nil, from, 0
}

// lastAxis says whether an attribute is the last axis.
func (m *match) lastAxis(s *ir.Stmt, attr string, last int) bool {
	c := m.d.Call(s)
	axis, err := c.Axis(c.Int(attr), last+1)
	return err == nil && axis == last
}
