package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// What experts have each, weights above all, is put into one value: it is what they were slices of,
// a constant, the same computed of operands that are put together, or they are joined.

// stack puts a value of each expert behind one another, in a new first dim; nil where they
// are not of one shape.
func (m *merge) stack(list []*ir.Value) *ir.Value {
	constants := true
	for _, v := range list {
		t, ok := v.Tensor()
		u, ok2 := list[0].Tensor()
		if !ok || !ok2 || t.DType != u.DType || t.DType == tensor.Invalid || !sameDims(v, list[0]) {
			return nil
		}
		constants = constants && v.Const != nil
	}
	if constants {
		return m.stackConstants(list)
	}
	if v := m.stackSlices(list); v != nil {
		return v
	}
	if v := m.stackPoints(list); v != nil {
		return v
	}
	parts := make([]*ir.Value, len(list))
	for i, v := range list {
		parts[i] = m.b.Op("onnx.Unsqueeze", []*ir.Value{v, m.b.Ints(0)})
	}
	return m.b.Op("onnx.Concat", parts, "axis", 0)
}

// inShape gives a value other dims.
func (m *merge) inShape(v *ir.Value, dims []sym.Expr) *ir.Value {
	if t := ir.TensorOf(tensor.I64, dims...); v.Const != nil {
		if shape, ok := t.Static(); ok {
			if view, err := v.Const.Tensor.View(shape...); err == nil {
				return m.b.Const(view)
			}
		}
	}
	return m.b.Op("onnx.Reshape", []*ir.Value{v, m.b.Dims(dims...)}, "allowzero", int64(1))
}

func (m *merge) stackConstants(list []*ir.Value) *ir.Value {
	first := list[0].Const.Tensor
	out, err := tensor.Make(first.DType(), append([]int64{int64(len(list))}, first.Shape()...))
	if err != nil {
		return nil
	}
	whole := first.DType().Bits()%8 == 0 && first.DType() != tensor.String
	for i, v := range list {
		if size := len(first.Bytes()); whole {
			copy(out.Bytes()[i*size:], v.Const.Tensor.Bytes())
			continue
		}
		for j := range first.Len() {
			tensor.CopyElem(out, int64(i)*first.Len()+j, v.Const.Tensor, j)
		}
	}
	return m.b.Const(out)
}

// stackSlices takes slices of one value along one axis from that.
func (m *merge) stackSlices(list []*ir.Value) *ir.Value {
	var of *ir.Value
	var axis int
	var at []int64
	for i, v := range list {
		if v.Def == nil || v.Def.Kind != ir.OpStmt || v.Def.Op.Name != "onnx.Gather" {
			return nil
		}
		c := m.Call(v.Def)
		k, ok := c.ConstInts(1)
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if !ok || c.Rank(1) != 0 || err != nil || i > 0 && (a != axis || v.Def.Args[0] != of) {
			return nil
		}
		of, axis, at = v.Def.Args[0], a, append(at, k[0])
	}
	t, _ := of.Tensor()
	if slices.Min(at) < 0 || m.M.Syms.LT(sym.Const(slices.Max(at)), t.Dims[axis]) != sym.True {
		return nil
	}
	inOrder := t.Dims[axis].IsInt(int64(len(at)))
	for i, k := range at {
		inOrder = inOrder && k == int64(i)
	}
	if !inOrder {
		of = m.b.Op("onnx.Gather", []*ir.Value{of, m.b.Ints(at...)}, "axis", axis)
	}
	if axis == 0 {
		return of
	}
	perm := []int64{int64(axis)}
	for i := range t.Rank() {
		if i != axis {
			perm = append(perm, int64(i))
		}
	}
	return m.b.Op("onnx.Transpose", []*ir.Value{of}, "perm", perm)
}

// stackPoints applies what is computed element by element to stacked operands.
func (m *merge) stackPoints(list []*ir.Value) *ir.Value {
	first := list[0].Def
	if first == nil || m.points.of(first).expr == nil {
		return nil
	}
	t, _ := list[0].Tensor()
	args := make([]*ir.Value, len(first.Args))
	for i := range args {
		of := make([]*ir.Value, len(list))
		same := true
		for e, v := range list {
			if v.Def == nil || v.Def.Op != first.Op || len(v.Def.Args) != len(args) || len(v.Def.Attrs) != len(first.Attrs) || v.Def.Args[i] == nil {
				return nil
			}
			for j, a := range v.Def.Attrs {
				if a.Name != first.Attrs[j].Name || !ir.SameAttr(a.Value, first.Attrs[j].Value) {
					return nil
				}
			}
			of[e] = v.Def.Args[i]
			same = same && sameValue(of[e], of[0])
		}
		in, ok := of[0].Tensor()
		if !ok || in.Unranked {
			return nil
		}
		if same {
			args[i] = of[0]
			continue
		}
		if args[i] = m.stack(of); args[i] == nil {
			return nil
		}
		if n := t.Rank() - in.Rank(); n > 0 { // dims between the experts and those of an operand
			ones := slices.Repeat([]sym.Expr{sym.Const(1)}, n)
			args[i] = m.inShape(args[i], slices.Concat([]sym.Expr{sym.Const(int64(m.n))}, ones, in.Dims))
		}
	}
	return m.b.OpN(1, first.Op.Name, args, first.Attrs)[0]
}
