package builtin

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// rewriteRotaryEmbedding makes one operator of x*cos + turned(x)*sin, where turned is the
// second half of the features, negated, before the first.
func rewriteRotaryEmbedding(m *match) *ir.Value {
	x := m.value("x")
	t, ok := x.Tensor()
	if !ok || t.Unranked || t.Rank() == 0 {
		return nil
	}
	last := t.Rank() - 1
	size := t.Dims[last]
	syms := m.d.M.Syms
	half := syms.Simplify(size.FloorDiv(sym.Const(2)))
	if syms.Divides(sym.Const(2), size) != sym.True || !m.lastAxis(m.stmt("turned"), "axis", last) {
		return nil
	}
	if s := m.stmt("first"); s.Op.Name == "onnx.Split" {
		a, _ := m.term("first").value.Tensor()
		if !m.lastAxis(s, "axis", last) || syms.Equal(a.Dims[last], half) != sym.True {
			return nil
		}
	} else if !m.part(s, last, sym.Const(0), half, size) || !m.part(m.stmt("second"), last, half, size, size) {
		return nil
	}
	return m.b.Op("pit.RotaryEmbedding", []*ir.Value{x, m.value("cos"), m.value("sin")})
}

// lastAxis says whether an attribute is the last axis.
func (m *match) lastAxis(s *ir.Stmt, attr string, last int) bool {
	c := m.d.Call(s)
	axis, err := c.Axis(c.Int(attr), last+1)
	return err == nil && axis == last
}

// part says whether a slice goes from one place of an axis to another, of size in all.
func (m *match) part(s *ir.Stmt, axis int, from, to, size sym.Expr) bool {
	c := m.d.Call(s)
	known := func(i int) (e sym.Expr, ok bool) {
		if list, known := c.Ints(i); known && len(list) == 1 {
			return list[0], true
		}
		return e, false
	}
	syms := m.d.M.Syms
	start, ok := known(1)
	end, ok2 := known(2)
	if !ok || !ok2 || syms.Equal(start, from) != sym.True {
		return false
	}
	if a, ok := known(3); !ok || !a.IsInt(int64(axis)) && !a.IsInt(-1) {
		return false
	}
	if step, ok := known(4); c.Has(4) && (!ok || !step.IsInt(1)) {
		return false
	}
	if n, ok := end.Int(); ok && n >= 1<<31-1 {
		end = size // whatever there is
	}
	return syms.Equal(end, to) == sym.True
}
