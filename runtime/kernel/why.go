package kernel

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Why says why a stage has no kernel, whatever the stages beside it are; "" if it has one. It
// looks at the stage alone, and makes nothing. all is Options.All.
func Why(s *ir.Stage, all bool) string {
	if why := refusesKind(s); why != "" {
		return why
	}
	for _, b := range s.Outs {
		if !has(b.DType, all) {
			return fmt.Sprintf("%s is %s", b.Name, b.DType)
		}
	}
	if d := s.Exprs[0].DType; s.Kind == ir.ReduceStage && d != tensor.F32 {
		return fmt.Sprintf("a reduction of %s", d)
	}
	why := ""
	note := func(w string) {
		if why == "" {
			why = w
		}
	}
	cast := map[*ir.Scalar]bool{} // loads that are converted
	for _, e := range s.Exprs {
		e.Walk(func(x *ir.Scalar) bool {
			if x.Op == ir.OpLoad {
				if !has(x.Buf.DType, all) && !cast[x] {
					note(fmt.Sprintf("%s is %s", x.Buf.Name, x.Buf.DType))
				} else if _, err := flat(x.Buf, withoutBcasts(x).Args); err != nil {
					note(err.Error())
				}
				return false
			}
			if x.Op == ir.OpCast && loadsAs(x, all) {
				cast[x.Args[0]] = true
				return true
			}
			note(refusesNode(x))
			return x.Op != ir.OpCast || x.Args[0].DType != tensor.I64
		})
	}
	return why
}

// withoutBcasts takes broadcasts out of indices: whether they repeat, they are linear.
func withoutBcasts(x *ir.Scalar) *ir.Scalar {
	return x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
		if y.Op == ir.OpBcast {
			return y.Args[0]
		}
		return y
	})
}

// refusesKind says what of a stage's form there is no schedule for.
func refusesKind(s *ir.Stage) string {
	switch {
	case s.Kind == ir.ScanStage:
		return "a scan has no schedule"
	case s.Kind == ir.ScatterStage:
		return "a scatter has no schedule"
	case s.Kind == ir.ReduceStage && !slices.Contains([]ir.Monoid{ir.Sum, ir.Prod, ir.Max, ir.Min}, s.Monoid):
		return fmt.Sprintf("a reduction by %s has no schedule", s.Monoid)
	}
	for _, b := range s.Outs {
		for i, d := range b.Dims {
			if !d.Equal(s.Axes[i].Extent) {
				return fmt.Sprintf("dim %d of %s is not the extent of its axis by its expression", i, b.Name)
			}
		}
	}
	return ""
}

// refusesNode says what of a node there is no operation for, its operands left aside.
func refusesNode(x *ir.Scalar) string {
	ok := false
	switch {
	case x.Op == ir.OpCast && x.DType == tensor.F32:
		_, size := x.Args[0].Symbolic()
		if d := x.Args[0].DType; !size && kinds[d] == None {
			return fmt.Sprintf("a conversion from %s to %s", x.Args[0].DType, x.DType)
		}
		ok = true
	case x.Op == ir.OpCast:
		if from := x.Args[0].DType; from != tensor.F32 {
			return fmt.Sprintf("a conversion from %s to %s", from, x.DType)
		}
		ok = kinds[x.DType] == F32
	case x.Op == ir.OpLit || x.Op == ir.OpSelect:
		ok = kinds[x.DType] != None
	case x.DType == tensor.F32:
		ok = x.Op == ir.OpMin || x.Op == ir.OpMax || arithmetic[x.Op] != 0 || unary[x.Op] != 0 || functions[x.Op] != nil || squares(x)
	case x.DType == tensor.Bool && (x.Op.Compares() || x.Op == ir.OpIsNaN):
		if d := x.Args[0].DType; d != tensor.F32 {
			return fmt.Sprintf("%s of %s", x.Op, d)
		}
		ok = true
	case x.DType == tensor.Bool:
		ok = logic[x.Op] != 0
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("%s of %s", x.Op, x.DType)
}

// squares says whether a power is a square.
func squares(x *ir.Scalar) bool {
	return x.Op == ir.OpPow && x.Args[1].Op == ir.OpLit && x.Args[1].Lit.Float(0) == 2
}
