package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// rewriteLayerNormalization makes one operator of a normalisation to mean 0 and variance 1
// over the last dims, and of a scale and a shift of one.
func rewriteLayerNormalization(m *match) *ir.Value {
	return normalization(m, "onnx.LayerNormalization")
}

// rewriteRMSNormalization makes one operator of a division by the root mean square over the
// last dims, and of a scale of one.
func rewriteRMSNormalization(m *match) *ir.Value { return normalization(m, "onnx.RMSNormalization") }

func normalization(m *match, op string) *ir.Value {
	out := m.out()
	if s := m.stmt("norm"); s != nil { // a scale or a shift of what is an operator already
		return moreOfNorm(m, s, out)
	}
	x, axis, ok := overLast(m)
	epsilon, ok2 := m.number("epsilon")
	epsilon, ok3 := m.attr(epsilon)
	if !ok || !ok2 || !ok3 || epsilon < 0 {
		return nil
	}
	scale := m.value("scale")
	d := out.DType
	if scale == nil {
		one := tensor.New(d, 1)
		one.SetFloat(0, 1)
		scale = m.b.Const(one)
	}
	if op == "onnx.LayerNormalization" { // one element type for all
		x = m.as(x, d)
	}
	args := []*ir.Value{x, m.as(scale, d)}
	if shift := m.value("shift"); shift != nil {
		if m.d.Proves(shift.Type, out) {
			return nil // a residual
		}
		args = append(args, m.as(shift, d))
	}
	return m.b.Op(op, args, "axis", axis, "epsilon", epsilon)
}

// overLast gives what is normalised, and the first of the last dims that its means are
// over. Sums of small floats that are rounded before they are divided are not what the
// operators compute.
func overLast(m *match) (x *ir.Value, axis int, ok bool) {
	x = m.value("x")
	t, ok := x.Tensor()
	if !ok || t.Unranked {
		return nil, 0, false
	}
	axis = -1
	for _, name := range []string{"mean", "variance", "square"} {
		s := m.stmt(name)
		if s == nil {
			continue
		}
		in, _ := s.Args[0].Tensor()
		c := m.d.Call(s)
		if in.DType != tensor.F32 && in.DType != tensor.F64 || !c.Flag("keepdims") || len(s.Args) < 2 || s.Args[1] == nil {
			return nil, 0, false
		}
		list, known := c.ConstInts(1)
		if !known || len(list) == 0 {
			return nil, 0, false
		}
		axes, err := c.Axes(list, t.Rank())
		if err != nil || slices.Max(axes) != t.Rank()-1 || slices.Min(axes) != t.Rank()-len(axes) {
			return nil, 0, false
		}
		axis = t.Rank() - len(axes)
	}
	return x, axis - t.Rank(), axis >= 0
}

// moreOfNorm gives a normalisation one more scale or shift. It has neither so far: its
// scale is the number 1.
func moreOfNorm(m *match, s *ir.Stmt, out ir.TensorType) *ir.Value {
	args := slices.Clone(s.Args)
	x, _ := args[0].Tensor()
	if v := m.value("more"); v != nil {
		if m.d.Proves(v.Type, out) {
			return nil // of the size of all of it: a gate
		}
		if c := args[1].Const; c == nil || c.Tensor.Len() != 1 || c.Tensor.Float(0) != 1 || len(args) > 2 && args[2] != nil {
			return nil
		}
		args[1] = m.as(v, out.DType)
	}
	if v := m.value("shift"); v != nil {
		if m.d.Proves(v.Type, out) {
			return nil // a residual
		}
		if len(args) > 2 && args[2] != nil {
			return nil
		}
		args = append(args[:2:2], m.as(v, out.DType))
	}
	if s.Op.Name == "onnx.LayerNormalization" && x.DType != out.DType {
		if x.DType.Compute() != x.DType && out.DType.Compute() == out.DType {
			return nil
		}
		args[0], args[1] = m.as(args[0], out.DType), m.as(args[1], out.DType)
	}
	return m.b.OpN(1, s.Op.Name, args, s.Attrs)[0]
}

// rewriteSwish makes one operator of x*sigmoid(alpha*x).
func rewriteSwish(m *match) *ir.Value {
	alpha, ok := m.number("alpha")
	alpha, ok2 := m.attr(alpha)
	if !ok || !ok2 {
		return nil
	}
	attrs := ir.Attrs{}
	if alpha != 1 {
		attrs = ir.MakeAttrs("alpha", alpha)
	}
	return m.b.OpN(1, "onnx.Swish", []*ir.Value{m.value("x")}, attrs)[0]
}
