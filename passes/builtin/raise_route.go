package builtin

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// rewriteRoute makes one operator of the experts with the largest weights or logits, and of
// their weights. Which those are may hang on the last bit, so they are compared as the model
// compares them: nothing is rounded that it does not round, and the other way round.
func rewriteRoute(m *match) []*ir.Value {
	if s := m.stmt("share"); s != nil {
		return normalizedRoute(m, s)
	}
	softmax, w, e, top := m.stmt("p"), m.stmt("w"), m.stmt("e"), m.stmt("best")
	var x *ir.Value
	attrs := ir.Attrs{}
	switch {
	case top != nil: // the softmax of the chosen logits
		x = m.now(top.Args[0])
		if !m.widened(top.Results[0], w.Args[0]) {
			return nil
		}
		t, _ := w.Results[0].Tensor()
		x = m.as(x, t.DType)
		attrs = attrs.With("softmax", "chosen")
	case !m.widened(softmax.Results[0], w.Args[0]) || !m.widened(softmax.Results[0], e.Args[0]):
		return nil
	default:
		x = m.now(softmax.Args[0])
		if w == e {
			top = w
		}
	}
	t, ok := x.Tensor()
	if !ok || t.Unranked || t.Rank() == 0 {
		return nil
	}
	last := t.Rank() - 1
	if top != nil {
		c := m.d.Call(top)
		k, ok := c.ConstInts(1)
		if !ok || k[0] < 1 || !c.Flag("largest") || !m.lastAxis(top, "axis", last) {
			return nil
		}
		out := m.b.OpN(2, "pit.Route", []*ir.Value{x}, attrs.With("k", k[0]))
		return []*ir.Value{m.as(out[0], m.out().DType), out[1]}
	}
	// The maximum of no elements is something, and the first of no experts is not.
	if m.d.M.Syms.LE(sym.Const(1), t.Dims[last]) != sym.True || !m.overAxis(w, last) ||
		!m.lastAxis(e, "axis", last) || m.d.Call(e).Flag("select_last_index") {
		return nil
	}
	out := m.b.OpN(2, "pit.Route", []*ir.Value{x}, attrs.With("k", int64(1)))
	out[0] = m.as(out[0], m.out().DType)
	for i, s := range []*ir.Stmt{w, e} {
		if !m.d.Call(s).Flag("keepdims") {
			out[i] = m.b.Op("onnx.Squeeze", []*ir.Value{out[i], m.b.Ints(-1)})
		}
	}
	return out
}

// normalizedRoute has the weights of a route divided by their sum.
func normalizedRoute(m *match, route *ir.Stmt) []*ir.Value {
	sum := m.stmt("sum")
	share := route.Results[0]
	t, _ := share.Tensor()
	if m.d.Call(route).Flag("normalize") || m.now(sum.Args[0]) != share || m.out().DType != t.DType ||
		!m.overAxis(sum, t.Rank()-1) || !m.d.Call(sum).Flag("keepdims") {
		return nil
	}
	return m.b.OpN(2, "pit.Route", route.Args, route.Attrs.With("normalize", int64(1)))
}

// widened says whether a value is another one, cast to larger float types or not at all.
func (m *match) widened(from, v *ir.Value) bool {
	for v = m.now(v); v != from; v = m.now(v.Def.Args[0]) {
		if v.Def == nil || len(v.Def.Args) == 0 || m.points.of(v.Def).expr == nil {
			return false
		}
		is, ok := v.Tensor()
		was, ok2 := m.now(v.Def.Args[0]).Tensor()
		if !ok || !ok2 || is.DType != was.DType && is.DType != tensor.F64 && (is.DType != tensor.F32 || was.DType == tensor.F64) {
			return false
		}
	}
	return true
}

// overAxis says whether a reduction is over one axis.
func (m *match) overAxis(s *ir.Stmt, axis int) bool {
	c := m.d.Call(s)
	list, ok := c.ConstInts(1)
	if !ok || len(list) != 1 {
		return false
	}
	axes, err := c.Axes(list, axis+1)
	return err == nil && axes[0] == axis
}
