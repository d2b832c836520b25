package builtin

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
)

// maskedFactor is the argument of a sum's product that is computed of a mask, or of whatever else may be full of zeros, and of
// another tensor: weights times their mask. It is -1 where there is none, or it is constant and so packed once.
func maskedFactor(s *ir.Stage, sparse []ir.Sparse, constant func(*ir.Buffer) bool) int {
	if len(s.Exprs) != 1 || s.Exprs[0].Op != ir.OpMul {
		return -1
	}
	for i, x := range s.Exprs[0].Args {
		if x.Op != ir.OpMul && x.Op != ir.OpSelect {
			continue
		}
		var loads []*ir.Buffer
		marked, varies, plain := false, false, true
		x.Walk(func(y *ir.Scalar) bool {
			switch y.Op {
			case ir.OpGuard, ir.OpAxis, ir.OpBcast:
				plain = false
			case ir.OpLoad:
				if len(y.Args) > 0 && !slices.Contains(loads, y.Buf) {
					loads = append(loads, y.Buf)
				}
				marked = marked || slices.ContainsFunc(sparse, func(h ir.Sparse) bool { return h.Buffer == y.Buf })
				varies = varies || !constant(y.Buf)
				for _, ix := range y.Args {
					plain = plain && ix.Op == ir.OpAxis
				}
				return false
			}
			return plain
		})
		if axes := factorAxes(s, x); plain && marked && varies && len(loads) > 1 && len(axes) > 1 && len(axes) < len(s.AllAxes()) {
			return i
		}
	}
	return -1
}

// factorAxes are the axes of a stage that a factor depends on: in the order in which it reads a tensor that has all of them, if
// it does, so that the tensor is read as it lies.
func factorAxes(s *ir.Stage, x *ir.Scalar) (out []*ir.Axis) {
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
		axes := factorAxes(s, x)
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

// finiteBeside says whether the other factor of a sum's product is proved finite.
func finiteBeside(c *analysis.CallFacts, s *ir.Stage, factor int) bool {
	finite := true
	s.Exprs[0].Args[1-factor].Walk(func(y *ir.Scalar) bool {
		finite = finite && (y.Op == ir.OpAxis || y.Op == ir.OpLoad && c.Range(y.Buf).Finite())
		return false
	})
	return finite
}
