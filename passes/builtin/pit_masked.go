package builtin

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// stageFactors makes stages of the factors that are computed of masks: all of such a factor is looked at for zeros, so it would
// have to be there anyway, and a loop computes it faster than what packs it.
func stageFactors(p *ir.Program, list []marks) {
	for i := len(list) - 1; i >= 0; i-- {
		at := list[i].factor
		if at < 0 {
			continue
		}
		s := p.Stages[i]
		x := s.Exprs[0].Args[at]
		var wider []tensor.DType // that it is converted to in the sum
		for x.Op == ir.OpCast && x.DType.IsFloat() && x.Args[0].DType.IsFloat() && x.DType.Bits() > x.Args[0].DType.Bits() {
			wider, x = append(wider, x.DType), x.Args[0]
		}
		axes := analysis.FactorOrder(s, x)
		buf := &ir.Buffer{Name: nameOfTemp(p), DType: x.DType}
		made := &ir.Stage{Kind: ir.MapStage, Outs: []*ir.Buffer{buf}}
		to := map[*ir.Axis]*ir.Axis{}
		var index []*ir.Scalar
		for _, a := range axes {
			to[a] = &ir.Axis{Name: a.Name, Extent: a.Extent}
			made.Axes = append(made.Axes, to[a])
			buf.Dims = append(buf.Dims, a.Extent)
			index = append(index, a.Ix())
		}
		made.Exprs = []*ir.Scalar{x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
			if y.Op == ir.OpAxis {
				return to[y.Axis].Ix()
			}
			return y
		})}
		args := slices.Clone(s.Exprs[0].Args)
		args[at] = ir.Load(buf, index...)
		for _, d := range slices.Backward(wider) {
			args[at] = args[at].To(d)
		}
		s.Exprs = []*ir.Scalar{ir.Binary(ir.OpMul, args[0], args[1])}
		s.Sparse = slices.DeleteFunc(s.Sparse, func(h ir.Sparse) bool { return !slices.Contains(s.Reads(), h.Buffer) })
		s.Sparse = append(s.Sparse, ir.Sparse{Buffer: buf, Finite: list[i].finite})
		p.Stages = slices.Insert(p.Stages, i, made)
		p.NameAxes()
	}
}

// nameOfTemp is a name for a buffer that no other has.
func nameOfTemp(p *ir.Program) string {
	taken := func(name string) bool {
		has := func(b *ir.Buffer) bool { return b.Name == name }
		return slices.ContainsFunc(p.Params, has) || slices.ContainsFunc(p.Results, has) || slices.ContainsFunc(p.Temps(), has)
	}
	for n := 1; ; n++ {
		if name := fmt.Sprintf("masked%d", n); !taken(name) {
			return name
		}
	}
}
