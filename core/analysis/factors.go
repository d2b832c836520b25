package analysis

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
)

// MaskedFactor is the argument of a sum's product that is computed of a mask, or of whatever else may be full of zeros, and of
// another tensor: weights times their mask. It is -1 where there is none, or it is constant and so packed once. A stage may
// compute it ahead of the sum, over the axes in FactorOrder. The other factor is proved finite, or not.
func (c *CallFacts) MaskedFactor(s *ir.Stage, skips []Skip) (at int, finite bool) {
	if s.Exprs[0].Op != ir.OpMul {
		return -1, false
	}
	for i, x := range s.Exprs[0].Args {
		reads := func(k Skip) bool { return k.Why == "" && inTerm(x, k.Buffer) }
		alone := slices.ContainsFunc(skips, func(k Skip) bool { return reads(k) && k.Inverse })
		loads, ok := c.ahead(s, x)
		if ok && slices.ContainsFunc(skips, reads) && (alone || loads > 1 && combines(x)) {
			return i, c.ranges.ranger().eval(s.Exprs[0].Args[1-i]).Finite()
		}
	}
	return -1, false
}

// combines says whether a factor multiplies, or chooses, beside conversions.
func combines(x *ir.Scalar) bool {
	x = unconverted(x)
	return x.Op == ir.OpMul || x.Op == ir.OpSelect
}

// ahead says whether a factor of a sum can be computed ahead of it, at no more points than there are of it, and of how many
// tensors: it reads them at bare positions, goes along more than one axis and not along all, and is no constant.
func (c *CallFacts) ahead(s *ir.Stage, x *ir.Scalar) (loads int, ok bool) {
	var read []*ir.Buffer
	varies, plain := false, true
	x.Walk(func(y *ir.Scalar) bool {
		switch y.Op {
		case ir.OpGuard, ir.OpAxis, ir.OpBcast:
			plain = false
		case ir.OpLoad:
			if len(y.Args) > 0 && !slices.Contains(read, y.Buf) {
				read = append(read, y.Buf)
			}
			varies = varies || c.constant(y.Buf) == nil
			for _, ix := range y.Args {
				plain = plain && ix.Op == ir.OpAxis
			}
			return false
		}
		return plain
	})
	axes := FactorOrder(s, x)
	return len(read), plain && varies && len(axes) > 1 && len(axes) < len(s.AllAxes())
}

// FactorOrder is the axes of a stage that a factor depends on: in the order in which it reads a tensor that has all of them, if
// it does, so that the tensor is read as it lies.
func FactorOrder(s *ir.Stage, x *ir.Scalar) (out []*ir.Axis) {
	for _, a := range s.AllAxes() {
		found := false
		x.Walk(func(y *ir.Scalar) bool { found = found || y.Op == ir.OpAxis && y.Axis == a; return !found })
		if found {
			out = append(out, a)
		}
	}
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op != ir.OpLoad || len(y.Args) != len(out) {
			return true
		}
		var order []*ir.Axis
		for _, ix := range y.Args {
			if ix.Op == ir.OpAxis && !slices.Contains(order, ix.Axis) {
				order = append(order, ix.Axis)
			}
		}
		if len(order) == len(out) {
			out = order
		}
		return true
	})
	return out
}

// unconverted takes conversions from one float type to another off, to narrower ones, too.
func unconverted(x *ir.Scalar) *ir.Scalar {
	for x.Op == ir.OpCast && x.DType.IsFloat() && x.Args[0].DType.IsFloat() {
		x = x.Args[0]
	}
	return x
}
