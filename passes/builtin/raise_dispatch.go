package builtin

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// rewriteBooleanPut makes x[mask] = rows of the same element by element, with a mask that was
// repeated along each row. What is put there must be rows, as many as the mask has: their
// number is that of positions of the same mask.
func rewriteBooleanPut(m *match) *ir.Value {
	rows, mask := m.value("rows"), m.value("mask")
	x, _ := m.value("x").Tensor()
	t, ok := rows.Tensor()
	if !ok || t.Unranked || len(t.Dims) != 2 || m.d.M.Syms.Equal(t.Dims[1], x.Dims[1]) != sym.True {
		return nil
	}
	if flat, ok := m.value("list").Tensor(); !ok || flat.Unranked || len(flat.Dims) != 1 {
		return nil
	}
	if width := m.value("width"); width != nil {
		if known, ok := m.d.Known(width); !ok || m.d.M.Syms.Equal(known[0], x.Dims[1]) != sym.True {
			return nil
		}
	}
	at := positionsOf(mask, rows)
	if at == nil {
		return nil
	}
	list := m.b.Op("onnx.Gather", []*ir.Value{at, m.b.Const(tensor.Scalar(int64(0)))})
	return m.b.Op("onnx.ScatterND", []*ir.Value{m.value("x"), m.b.Op("onnx.Unsqueeze", []*ir.Value{list, m.b.Ints(1)}), rows})
}

// rewriteGrouped makes a product of each row and a matrix that is copied for it one that looks
// the matrix up. Positions that count from the end are not looked up.
func rewriteGrouped(m *match) *ir.Value {
	group := m.value("group")
	if !(elements{m.d}).natural(group) {
		return nil
	}
	axis, swap := int64(1), int64(0)
	if m.stmt("y").Args[1] == m.value("x") { // a column
		axis, swap = 2, 1
	}
	rows := m.b.Op("onnx.Squeeze", []*ir.Value{m.value("x"), m.b.Ints(axis)})
	y := m.b.Op("pit.GroupedMatMul", []*ir.Value{rows, m.value("w"), group}, "transB", swap)
	return m.b.Op("onnx.Unsqueeze", []*ir.Value{y, m.b.Ints(axis)})
}

// positionsOf finds the positions of a mask that tell how many rows there are, among what the
// rows are computed from.
func positionsOf(mask, rows *ir.Value) *ir.Value {
	t, _ := rows.Tensor()
	seen := map[*ir.Stmt]bool{}
	var find func(v *ir.Value) *ir.Value
	find = func(v *ir.Value) *ir.Value {
		if v == nil || v.Def == nil || seen[v.Def] {
			return nil
		}
		s := v.Def
		seen[s] = true
		if s.Kind == ir.OpStmt && s.Op.Name == "onnx.NonZero" && s.Args[0] == mask {
			if n, ok := v.Tensor(); ok && len(n.Dims) == 2 && n.Dims[1].Equal(t.Dims[0]) {
				return v
			}
		}
		u, ok := v.Tensor()
		if !ok || u.Unranked {
			return nil
		}
		for _, a := range s.Args {
			if at := find(a); at != nil {
				return at
			}
		}
		return nil
	}
	return find(rows)
}
