package analysis

import "github.com/pitopt/pitopt/core/ir"

// PITAxes gives the axes of a stage whose points may be taken in any order, or some of
// them left out, without changing what is computed for the others (permutation invariant
// axes: PIT, SOSP'23, section 3.1). An axis is one when it is spatial or its monoid
// commutes, and every index that depends on it is the axis itself, broadcast or not: a
// convolution reads at x+i, so that neither x nor i is one.
func PITAxes(s *ir.Stage) []*ir.Axis {
	bad := map[*ir.Axis]bool{}
	if s.Kind == ir.ScanStage {
		bad[s.ScanAxis] = true
	}
	index := func(ix *ir.Scalar) {
		if _, ok := Bare(ix); ok {
			return
		}
		ix.Walk(func(y *ir.Scalar) bool {
			if y.Op == ir.OpAxis {
				bad[y.Axis] = true
			}
			return y.Op != ir.OpLoad // an index tensor's own index is looked at by itself
		})
	}
	s.Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpLoad {
			for _, ix := range x.Args {
				index(ix)
			}
		}
		return true
	})
	for _, ix := range s.Index {
		index(ix)
	}
	var out []*ir.Axis
	for _, a := range s.Axes {
		if !bad[a] && (s.Kind != ir.ScatterStage || s.Monoid.Commutes()) {
			out = append(out, a)
		}
	}
	for _, a := range s.Red {
		if !bad[a] && s.Monoid.Commutes() {
			out = append(out, a)
		}
	}
	return out
}
