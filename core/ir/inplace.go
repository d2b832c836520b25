package ir

import (
	"slices"

	"github.com/pitopt/pitopt/core/sym"
)

// BytesOf is the size of a tensor in bytes; ok is false for what has none.
func BytesOf(t Type) (bytes sym.Expr, ok bool) {
	tt, ok := t.(TensorType)
	bits := int64(tt.DType.Bits())
	if !ok || tt.Unranked || bits == 0 {
		return sym.Expr{}, false
	}
	return tt.Size().Mul(sym.Const(bits)).CeilDiv(sym.Const(8)), true
}

// TypeOf is the type that a buffer of the program has in a call of it.
func (s *Stmt) TypeOf(b *Buffer) Type {
	p := programOf(s.Callee)
	dims := make([]sym.Expr, len(b.Dims))
	for i, d := range b.Dims {
		dims[i] = d.Subst(func(name string) (sym.Expr, bool) {
			if i := slices.Index(p.Syms, name); i >= 0 && i < len(s.Bind) {
				return s.Bind[i], true
			}
			return sym.Expr{}, false
		})
	}
	return TensorOf(b.DType, dims...)
}

// InPlace says whether the stage may write its only result over a buffer that it reads:
// every point is written where it alone reads, in elements of the same size, whatever order
// points are computed in. A scatter may write over its base, if it reads nothing else of it.
func (s *Stage) InPlace(b *Buffer) bool {
	if len(s.Outs) != 1 || b.Room != nil || b.DType.Bits() != s.Out().DType.Bits() || b.DType.Bits()%8 != 0 || b.DType.Bits() == 0 || len(b.Dims) != len(s.Out().Dims) {
		return false
	}
	for i, d := range b.Dims {
		if !d.Equal(s.Out().Dims[i]) {
			return false
		}
	}
	switch s.Kind {
	case MapStage:
		if s.Base == b {
			return false
		}
	case ScatterStage:
		if s.Base != b {
			return false
		}
	default:
		return false
	}
	good := true
	s.Walk(func(x *Scalar) bool {
		if x.Op == OpLoad && x.Buf == b {
			good = good && s.Kind == MapStage && s.atPoint(x)
		}
		return good
	})
	return good
}

// atPoint says whether a load reads at the point of the stage: its indices are the axes.
func (s *Stage) atPoint(load *Scalar) bool {
	if len(load.Args) != len(s.Axes) {
		return false
	}
	for i, ix := range load.Args {
		if ix.Op != OpAxis || ix.Axis != s.Axes[i] {
			return false
		}
	}
	return true
}
