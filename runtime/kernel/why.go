package kernel

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Why says why a stage has no kernel, whatever the stages beside it are; "" if it has one. It
// looks at the stage alone, and makes nothing.
func Why(s *ir.Stage) string {
	why := refusesKind(s)
	for _, e := range s.Exprs {
		e.Walk(func(x *ir.Scalar) bool {
			if why == "" {
				why = refusesNode(x)
			}
			return why == ""
		})
	}
	return why
}

var goesAlong = map[ir.StageKind]string{ir.ReduceStage: "reduction", ir.ScanStage: "scan"}

// refusesKind says what of a stage's form there is no schedule for.
func refusesKind(s *ir.Stage) string {
	switch {
	case s.Kind == ir.ScatterStage:
		if why := refusesScatter(s); why != "" {
			return why
		}
	case (s.Kind == ir.ReduceStage || s.Kind == ir.ScanStage) && !slices.Contains([]ir.Monoid{ir.Sum, ir.Prod, ir.Max, ir.Min, ir.And, ir.Or, ir.ArgMax, ir.ArgMin}, s.Monoid):
		return fmt.Sprintf("a %s by %s has no schedule", goesAlong[s.Kind], s.Monoid)
	}
	if d := s.Exprs[0].DType; (s.Kind == ir.ReduceStage || s.Kind == ir.ScanStage) && (kinds[d] == None || kinds[d] == F32 && d != tensor.F32 || finds(s) && kinds[d] == Mask) {
		return fmt.Sprintf("a %s of %s", goesAlong[s.Kind], d)
	}
	if finds(s) && loads(s.Exprs[1]) {
		return fmt.Sprintf("%s of positions that memory tells", s.Monoid)
	}
	for _, b := range s.Outs {
		if kinds[b.DType] == None {
			return fmt.Sprintf("%s is %s", b.Name, b.DType)
		}
		for i, d := range b.Dims {
			if s.Kind != ir.ScatterStage && !d.Equal(s.Axes[i].Extent) {
				return fmt.Sprintf("dim %d of %s is not the extent of its axis by its expression", i, b.Name)
			}
		}
	}
	return ""
}

// refusesNode says what of a node there is no operation for, its operands left aside.
func refusesNode(x *ir.Scalar) string {
	kind := kinds[x.DType]
	of := func(d tensor.DType) string { return fmt.Sprintf("%s of %s", x.Op, d) }
	switch x.Op {
	case ir.OpLoad:
		if kind == None {
			return fmt.Sprintf("%s is %s", x.Buf.Name, x.DType)
		}
		return ""
	case ir.OpCast:
		if from := x.Args[0].DType; kind == None || kinds[from] == None || (x.DType == tensor.F16 || x.DType == tensor.BF16) && (kinds[from] == F64 || kinds[from] == I64 || kinds[from] == I32) {
			return fmt.Sprintf("a conversion from %s to %s", from, x.DType)
		}
		return ""
	case ir.OpLit, ir.OpSelect, ir.OpGuard, ir.OpAxis, ir.OpSym, ir.OpBcast:
		if kind == None {
			return of(x.DType)
		}
		return ""
	}
	ok := false
	switch {
	case x.Op.Compares() || x.Op == ir.OpIsNaN:
		if d := x.Args[0].DType; kinds[d] == None || kinds[d] == Mask && x.Op != ir.OpEq && x.Op != ir.OpNe || x.Op == ir.OpIsNaN && !d.IsFloat() {
			return of(d)
		}
		return ""
	case x.DType == tensor.F32 || x.DType == tensor.F64:
		ok = x.Op == ir.OpMin || x.Op == ir.OpMax || arithmetic[x.Op] != 0 || unary[x.Op] != 0 || (functions[x.Op] != nil || x.Op == ir.OpPow) && kind == F32 || squares(x)
	case x.DType == tensor.Bool:
		ok = logic[x.Op] != 0 || x.Op == ir.OpMin || x.Op == ir.OpMax
	case x.DType == tensor.I32:
		switch x.Op {
		case ir.OpDiv, ir.OpFloorDiv, ir.OpMod, ir.OpRem, ir.OpNeg, ir.OpAbs, ir.OpNot:
			ok = true
		}
		ok = ok || integers[x.Op] != 0
	case x.DType == tensor.I64:
		switch x.Op {
		case ir.OpDiv, ir.OpFloorDiv, ir.OpMod, ir.OpRem:
			if _, size := x.Args[1].Symbolic(); !size || !placed(x.Args[0]) {
				return fmt.Sprintf("%s of what memory tells", x.Op)
			}
			ok = true
		case ir.OpNeg, ir.OpAbs, ir.OpNot:
			ok = true
		}
		ok = ok || integers[x.Op] != 0
	}
	if ok {
		return ""
	}
	return of(x.DType)
}

// loads says whether an expression reads memory.
func loads(x *ir.Scalar) (found bool) {
	x.Walk(func(y *ir.Scalar) bool {
		found = found || y.Op == ir.OpLoad
		return !found
	})
	return found
}

// placed says whether an integer follows from positions and sizes, within a range that these tell.
func placed(x *ir.Scalar) bool { return spanOf(x) != nil }

// squares says whether a power is a square.
func squares(x *ir.Scalar) bool {
	return x.Op == ir.OpPow && x.Args[1].Op == ir.OpLit && x.Args[1].Lit.Float(0) == 2
}
