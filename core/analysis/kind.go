// Package analysis finds out what passes and targets want to know of programs and blocks.
// Everything here is a pure function of the IR: nothing is written down for an operator.
package analysis

import "github.com/pitopt/pitopt/core/ir"

// Kind says how the points of a result depend on the points that are read. Kinds are
// ordered: the later, the less is known.
type Kind uint8

// The kinds.
const (
	Elementwise Kind = iota // each operand is read at the point that is computed
	Broadcast               // the same, with axes left out or repeated over a dim of 1
	Injective               // each point reads a few points, wherever they are
	Reduction               // a monoid over axes
	Contraction             // a sum of products of two operands, of which one lacks an axis of the result
	Opaque                  // points depend on the order of others: scans and scatters
)

var kindNames = [...]string{"elementwise", "broadcast", "injective", "reduction", "contraction", "opaque"}

func (k Kind) String() string { return kindNames[k] }

// StageKind is the kind of a stage.
func StageKind(s *ir.Stage) Kind {
	switch {
	case s.Kind == ir.ReduceStage && contracts(s):
		return Contraction
	case s.Kind == ir.ReduceStage:
		return Reduction
	case s.Kind != ir.MapStage:
		return Opaque
	}
	kind := Elementwise
	s.Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpLoad {
			kind = max(kind, loadKind(s, x))
		}
		return true
	})
	return kind
}

// ProgramKind is the weakest kind of a program's stages.
func ProgramKind(p *ir.Program) Kind {
	kind := Elementwise
	for _, s := range p.Stages {
		kind = max(kind, StageKind(s))
	}
	return kind
}

// loadKind says how a map stage reads one operand.
func loadKind(s *ir.Stage, load *ir.Scalar) Kind {
	same := len(load.Args) == len(s.Axes)
	next := 0 // the first axis that an index may still use
	for i, ix := range load.Args {
		if ix.Op != ir.OpAxis || !same || ix.Axis != s.Axes[i] {
			same = false
		}
		axis, ok := Bare(ix)
		switch {
		case !ok && load.Buf.Dims[i].IsInt(1):
			continue // the only point there is
		case !ok:
			return Injective
		}
		for next < len(s.Axes) && s.Axes[next] != axis {
			next++
		}
		if next == len(s.Axes) {
			return Injective
		}
		next++
	}
	if same {
		return Elementwise
	}
	return Broadcast
}

// Bare gives the axis that an index is, broadcast or not.
func Bare(ix *ir.Scalar) (*ir.Axis, bool) {
	if ix.Op == ir.OpBcast {
		ix = ix.Args[0]
	}
	return ix.Axis, ix.Op == ir.OpAxis
}

// contracts says whether a stage sums up products of two factors that both depend on a
// reduction axis, one of which lacks a spatial axis that the other has: where both have
// all of them, as in a sum of squares, no operand is used twice.
func contracts(s *ir.Stage) bool {
	x, y, ok := Factors(s)
	if !ok {
		return false
	}
	a, b := axesOf(x), axesOf(y)
	shared, reused := false, false
	for _, r := range s.Red {
		shared = shared || a[r] && b[r]
	}
	for _, o := range s.Axes {
		reused = reused || a[o] != b[o]
	}
	return shared && reused
}

// Factors gives the factors of a stage that sums up products of two.
func Factors(s *ir.Stage) (a, b *ir.Scalar, ok bool) {
	if s.Kind != ir.ReduceStage || s.Monoid != ir.Sum {
		return nil, nil, false
	}
	x := s.Exprs[0]
	for x.Op == ir.OpCast {
		x = x.Args[0]
	}
	if x.Op != ir.OpMul {
		return nil, nil, false
	}
	return x.Args[0], x.Args[1], true
}

// FactorAxes sorts the spatial axes of a contraction by the factors that depend on them:
// along those of both it is many contractions, each with operands of its own.
func FactorAxes(s *ir.Stage) (both, left, right []*ir.Axis) {
	x, y, ok := Factors(s)
	if !ok {
		return nil, nil, nil
	}
	a, b := axesOf(x), axesOf(y)
	for _, o := range s.Axes {
		switch {
		case a[o] && b[o]:
			both = append(both, o)
		case a[o]:
			left = append(left, o)
		case b[o]:
			right = append(right, o)
		}
	}
	return both, left, right
}

// axesOf gives the axes that the loads of an expression depend on.
func axesOf(x *ir.Scalar) map[*ir.Axis]bool {
	axes := map[*ir.Axis]bool{}
	x.Walk(func(l *ir.Scalar) bool {
		if l.Op == ir.OpLoad {
			l.Walk(func(y *ir.Scalar) bool {
				if y.Op == ir.OpAxis {
					axes[y.Axis] = true
				}
				return true
			})
		}
		return true
	})
	return axes
}
