package analysis

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Append recognises a program that puts one parameter behind another along an axis, and
// does nothing else: how a graph writes a cache that grows. old and added are the numbers
// of the parameters.
func Append(p *ir.Program) (old, added, axis int, ok bool) {
	if len(p.Stages) != 1 || p.Stages[0].Kind != ir.MapStage || len(p.Results) != 1 {
		return 0, 0, 0, false
	}
	s := p.Stages[0]
	e := s.Exprs[0]
	if e.Op != ir.OpGuard && e.Op != ir.OpSelect || e.Args[0].Op != ir.OpLt {
		return 0, 0, 0, false
	}
	at, ok := Bare(e.Args[0].Args[0])
	end, isDim := e.Args[0].Args[1].Symbolic()
	a, b := e.Args[1], e.Args[2]
	if axis = slices.Index(s.Axes, at); !ok || !isDim || axis < 0 || a.Op != ir.OpLoad || b.Op != ir.OpLoad {
		return 0, 0, 0, false
	}
	old, added = slices.Index(p.Params, a.Buf), slices.Index(p.Params, b.Buf)
	if old < 0 || added < 0 || len(a.Args) != len(s.Axes) || len(b.Args) != len(s.Axes) {
		return 0, 0, 0, false
	}
	for i, along := range s.Axes {
		x, ok := Bare(a.Args[i])
		if !ok || x != along {
			return 0, 0, 0, false
		}
		if i == axis {
			if !a.Buf.Dims[i].Equal(end) || !b.Buf.Dims[i].Add(end).Equal(along.Extent) || !behind(b.Args[i], along, end) {
				return 0, 0, 0, false
			}
			continue
		}
		y, ok := Bare(b.Args[i])
		if !ok || y != along || !a.Buf.Dims[i].Equal(along.Extent) {
			return 0, 0, 0, false
		}
	}
	return old, added, axis, true
}

// behind says whether an index is the position along an axis less end.
func behind(ix *ir.Scalar, along *ir.Axis, end sym.Expr) bool {
	if ix.Op != ir.OpSub {
		return false
	}
	x, ok := Bare(ix.Args[0])
	by, isDim := ix.Args[1].Symbolic()
	return ok && isDim && x == along && by.Equal(end)
}
