package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// rewriteBatchedProduct multiplies matrices with the batch dims that they had before these
// were made one for it, and that what comes of it has again. Whatever the views say, they
// keep the order of elements, so that types tell where each matrix went.
func rewriteBatchedProduct(m *match) *ir.Value {
	dims := func(name string) (batch, matrix []sym.Expr) {
		t, ok := m.term(name).value.Tensor()
		if !ok || t.Unranked || t.Rank() < 3 {
			return nil, nil
		}
		return t.Dims[:t.Rank()-2], t.Dims[t.Rank()-2:]
	}
	batch, left := dims("a")
	same := func(a, b []sym.Expr) bool {
		return a != nil && b != nil && slices.EqualFunc(a, b, func(x, y sym.Expr) bool { return m.d.M.Syms.Equal(x, y) == sym.True })
	}
	batchB, right := dims("b")
	one, l := dims("x")
	oneB, r := dims("z")
	oneOut, p := dims("product")
	batchOut, out := dims("y")
	if !same(left, l) || !same(right, r) || !same(p, out) || !same(batch, batchB) || !same(batch, batchOut) || !same(one, oneB) || !same(one, oneOut) {
		return nil
	}
	return m.b.Op("onnx.MatMul", []*ir.Value{m.value("a"), m.value("b")})
}
