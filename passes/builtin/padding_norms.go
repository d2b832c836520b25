package builtin

import (
	"fmt"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// hugeNorm is what no norm is beyond, so that no element overflows where another makes a product small again.
const hugeNorm = 1e30

// normsHold says whether something holds, and products of vectors are no larger than they were taken for, by the norms of the matrices
// that made them. These are found in the first run that wants to know.
func (u *unpadding) normsHold(b *ir.Builder, holds *ir.Value) *ir.Value {
	p := u.program("products")
	args := []*ir.Value{holds}
	is := ir.Load(p.param("holds", holds))
	found := map[analysis.MatrixNorm]*ir.Buffer{}
	norm := func(m analysis.MatrixNorm) *ir.Scalar {
		if found[m] == nil {
			operands := []*ir.Value{m.Matrix, m.Gain}
			if m.Shift != nil {
				operands = append(operands, m.Shift)
			}
			out := b.OpN(2, "pit.Norm", operands, ir.MakeAttrs("axis", m.In, "part", m.Part))
			for i, v := range out {
				of := m
				of.Shifted = i == 1
				found[of] = p.param(fmt.Sprintf("norm%d", len(args)), v)
				args = append(args, v)
			}
		}
		return ir.Load(found[m])
	}
	number := func(v float64) *ir.Scalar { return ir.Lit(tensor.F64, v) }
	total := func(n analysis.Norm) *ir.Scalar {
		sum := number(0)
		for _, t := range n {
			x := number(t.By)
			for _, m := range t.Of {
				x = x.Mul(norm(m))
			}
			sum = sum.Add(x)
		}
		return sum
	}
	for _, x := range u.Products() {
		x, y, most := total(x.A), total(x.B), x.Most
		is = is.And(x.Le(number(hugeNorm))).And(y.Le(number(hugeNorm))).And(x.Mul(y).Le(number(most)))
	}
	return u.call(b, p.gives(p.each("C", nil, is)), args...)
}
