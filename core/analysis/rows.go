package analysis

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// RowDim is the dim of a buffer or value that runs over rows: the one of that size. It is -1
// where there is none; ok is false where there are several, or one whose size depends on
// that number in another way.
func RowDim(dims []sym.Expr, rows string) (dim int, ok bool) {
	dim = -1
	for i, d := range dims {
		if name, bare := d.Symbol(); bare && name == rows {
			if dim >= 0 {
				return -1, false
			}
			dim = i
			continue
		}
		if slices.Contains(d.Symbols(), rows) {
			return -1, false
		}
	}
	return dim, true
}

// ByRows says whether a program computes every row of its results from the same row of its
// operands alone, wherever the row stands: then it may be run on some of the rows, or on
// those of several calls behind one another. Rows are what dims run over whose size is a
// symbol. It asks more than that the rows' axis is a PIT axis of every stage: nothing else
// that is read depends on where a row stands.
func ByRows(p *ir.Program, rows string) bool {
	// Sizes of operands without rows are what they are, however many rows there are.
	var fixed []sym.Expr
	for _, b := range p.Params {
		if at, ok := RowDim(b.Dims, rows); !ok || at < 0 {
			fixed = append(fixed, b.Dims...)
		}
	}
	for _, s := range p.Stages {
		if !stageByRows(s, rows, fixed) {
			return false
		}
	}
	return true
}

func stageByRows(s *ir.Stage, rows string, fixed []sym.Expr) bool {
	at, ok := RowDim(s.Out().Dims, rows)
	if !ok || s.Kind == ir.ScatterStage {
		return false
	}
	var row *ir.Axis
	if at >= 0 {
		if row = s.Axes[at]; row == s.ScanAxis {
			return false
		}
	}
	var check func(x *ir.Scalar) bool
	check = func(x *ir.Scalar) bool {
		switch x.Op {
		case ir.OpAxis:
			return x.Axis != row
		case ir.OpSym:
			return !slices.Contains(x.Sym.Symbols(), rows) || slices.ContainsFunc(fixed, x.Sym.Equal)
		case ir.OpBcast: // of a dim that is 1, the position is 0
			if d, ok := x.Args[1].Symbolic(); ok && d.IsInt(1) {
				return true
			}
			return check(x.Args[0])
		}
		dim := -1
		if x.Op == ir.OpLoad {
			// Of a buffer that is as large as rows in another way, anything is read: not by
			// where the row stands.
			if dim, _ = RowDim(x.Buf.Dims, rows); dim >= 0 {
				if a, bare := Bare(x.Args[dim]); !bare || a != row {
					return false
				}
			}
		}
		for i, a := range x.Args {
			if i != dim && !check(a) {
				return false
			}
		}
		return true
	}
	for _, e := range s.Exprs {
		if !check(e) {
			return false
		}
	}
	return true
}
