package cpu

import (
	"fmt"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// kernelProduct computes the sums of products in a program by blocks, and its other stages
// on closures.
const kernelProduct = "product"

// kernels are those of a device with machine code for some features, for passes.
func kernels(f x86.Features) []target.Kernel {
	ranges := func(p *ir.Program) []ir.Range { return together(p, f) }
	return []target.Kernel{{Name: kernelProduct, Staged: true, Together: ranges, Takes: isProduct, Refuses: refuses, Cost: func(p *ir.Program, s target.Sizes) float64 {
		return productCost(p, s, f)
	}}}
}

// About what an evaluation of a stage's expression takes, on closures and on machine code, and
// a call beside its work; in nanoseconds, measured on one core of a server.
const (
	callCost    = 1000.0
	closureCost = 6.0
	loopCost    = 1.0

	tileColumns = 512.0 // the first factor is packed again for about so many columns of the other
)

// blockCost is about what a product and its sum takes in blocks, and what packing an element of a factor
// takes once.
func blockCost(d tensor.DType, short bool, f x86.Features) (multiply, pack float64) {
	switch {
	case d == tensor.I32 && short && f&x86.V4 != 0:
		return 0.006, 0.4
	case d == tensor.I32 && short && f != 0:
		return 0.015, 0.4
	case d != tensor.F32 || f == 0:
		return 0.5, 2
	case f&x86.V4 == 0:
		return 0.023, 0.4
	}
	return 0.0115, 0.4
}

// stagesCost is what a program takes stage by stage.
func stagesCost(p *ir.Program, s target.Sizes, f x86.Features) (ns float64) {
	ns = callCost
	for _, x := range p.Stages {
		ns += stageCost(x, s, f)
	}
	return ns
}

func isProduct(s *ir.Stage) bool {
	_, why := recognise(s)
	return why == ""
}

// stageCost is what a stage takes that is not computed in blocks. On machine code that pays less for
// products: loops go over both factors for each result.
func stageCost(x *ir.Stage, s target.Sizes, f x86.Features) float64 {
	if f != 0 && !isProduct(x) && kernel.Why(x) == "" {
		return loopCost * s.Points(x)
	}
	return closureCost * s.Points(x)
}

func productCost(p *ir.Program, s target.Sizes, features x86.Features) (ns float64) {
	ns = callCost
	for _, x := range p.Stages {
		f, why := recognise(x)
		if why != "" {
			ns += stageCost(x, s, features)
			continue
		}
		multiply, pack := blockCost(x.Out().DType, f.short(), features)
		// A second factor that is computed is most often made of constants, and packed once.
		ns += multiply*s.Points(x) + f.b.cost(x, s, pack, loopCost)
		columns := 1.0
		for _, ax := range x.Axes {
			if f.b.uses(ax) && !f.a.uses(ax) {
				columns *= max(s.Eval(ax.Extent), 0)
			}
		}
		ns += f.a.cost(x, s, pack, closureCost) * max(1, columns/tileColumns)
	}
	return ns
}

// cost is what packing a factor takes once, in nanoseconds: ns for each element that is loaded, or
// computed for each that is not just that.
func (a access) cost(x *ir.Stage, s target.Sizes, ns, computed float64) float64 {
	if !a.linear {
		ns = computed
	}
	for _, ax := range x.AllAxes() {
		if a.uses(ax) {
			ns *= max(s.Eval(ax.Extent), 0)
		}
	}
	return ns
}

// refuses says why a program has nothing for the kernel.
func refuses(p *ir.Program) string {
	reason := "nothing in it sums up"
	for _, s := range p.Stages {
		_, why := recognise(s)
		if why == "" {
			return ""
		}
		if s.Kind == ir.ReduceStage {
			reason = fmt.Sprintf("stage %s: %s", s.Out().Name, why)
		}
	}
	return reason
}

// form is what a sum of products is whatever the sizes are. Where rows look up what they are
// multiplied by, that is b; a may look up where its rows lie then.
type form struct {
	a, b              access
	grouped, gathered bool
}

// short says whether both factors are computed, and integers that fit i16.
func (f *form) short() bool {
	return !f.a.linear && !f.b.linear && fits16(f.a.expr) && fits16(f.b.expr)
}

// fits16 says whether an expression of i32 fits i16, whatever is loaded.
func fits16(x *ir.Scalar) bool {
	if x.DType != tensor.I32 {
		return false
	}
	r := analysis.RangeOf(x)
	return r.Lo >= math.MinInt16 && r.Hi <= math.MaxInt16
}

// access is a factor. It is linear where it is a load at an address that is linear in the
// axes, guarded or not: then it has the indices, and what is asked of them so that the load
// takes place; the value is 0 where it does not. Others are computed while they are packed.
type access struct {
	expr   *ir.Scalar
	linear bool
	buf    *ir.Buffer
	index  []linearForm
	guards []guard
	table  *lookup // an index that is looked up; such a load is linear where rows are grouped by it
}

// guard is a comparison: at least a bound, or below it.
type guard struct {
	of, bound linearForm
	below     bool
}

// linearForm is a sum of terms.
type linearForm []term

// term is a coefficient, times an axis where it has one, or times the number of a run of
// so many positions of it. It counts only where every dim under which it stands is as long as what it
// is broadcast to; elsewhere the dim is 1.
type term struct {
	axis  *ir.Axis // nil: none
	runs  sym.Expr // 0: of one position
	coef  sym.Expr
	under []bcast
}

type bcast struct{ dim, extent sym.Expr }

// recognise says what a stage is as a sum of products, or why it is none that the kernel
// computes.
func recognise(s *ir.Stage) (f form, why string) {
	d := s.Out().DType
	switch {
	case s.Kind != ir.ReduceStage || s.Monoid != ir.Sum:
		return f, "it is no sum"
	case d != tensor.F32 && d != tensor.F64 && d != tensor.I32:
		return f, fmt.Sprintf("it sums up %s; the kernel has f32, f64 and i32", d)
	case s.Exprs[0].Op != ir.OpMul:
		return f, "what it sums up is no product"
	}
	f.a, f.b = accessOf(s.Exprs[0].Args[0]), accessOf(s.Exprs[0].Args[1])
	if grouped(s, f.b, f.a) {
		f.a, f.b = f.b, f.a
	}
	f.grouped = grouped(s, f.a, f.b)
	f.b.linear = f.b.linear || f.grouped
	f.gathered = f.grouped && gathered(f.a, f.b)
	f.a.linear = f.a.linear || f.gathered
	if !slices.ContainsFunc(s.Axes, func(x *ir.Axis) bool { return f.a.uses(x) != f.b.uses(x) }) {
		why = "no factor is used for more than one element of the result"
	}
	return f, why
}

// uses says whether a factor differs along an axis.
func (a access) uses(x *ir.Axis) bool {
	if a.linear {
		return a.along(x)
	}
	found := false
	a.expr.Walk(func(y *ir.Scalar) bool {
		found = found || y.Op == ir.OpAxis && y.Axis == x
		return !found
	})
	return found
}

// along says whether the linear indices of a load go along an axis. An index that is looked up is none.
func (a access) along(x *ir.Axis) bool {
	return slices.ContainsFunc(a.index, func(f linearForm) bool {
		return slices.ContainsFunc(f, func(t term) bool { return t.axis == x })
	})
}

// accessOf looks at a factor. One of its indices may be looked up.
func accessOf(x *ir.Scalar) access {
	a, d := access{expr: x}, x.DType
	if x.Op == ir.OpGuard {
		if z := x.Args[2]; z.Op != ir.OpLit || z.Lit.Float(0) != 0 {
			return a
		}
		var ok bool
		if a.guards, ok = guardsOf(x.Args[0]); !ok {
			return a
		}
		x = x.Args[1]
	}
	if x.Op != ir.OpLoad || x.Buf.DType != d {
		return a
	}
	for i, ix := range x.Args {
		f, ok := linear(ix)
		if !ok && a.table == nil {
			if a.table, ok = lookupOf(ix); !ok {
				return a
			}
			a.table.dim, f = i, nil
		}
		if !ok {
			return a
		}
		a.index = append(a.index, f)
	}
	a.buf, a.linear = x.Buf, a.table == nil
	return a
}

// guardsOf recognises comparisons joined by "and".
func guardsOf(cond *ir.Scalar) ([]guard, bool) {
	switch cond.Op {
	case ir.OpAnd:
		a, ok := guardsOf(cond.Args[0])
		b, ok2 := guardsOf(cond.Args[1])
		return append(a, b...), ok && ok2
	case ir.OpGe, ir.OpLt:
		of, ok := linear(cond.Args[0])
		bound, ok2 := linear(cond.Args[1])
		return []guard{{of, bound, cond.Op == ir.OpLt}}, ok && ok2
	}
	return nil, false
}

// linear recognises an index that is linear in the axes.
func linear(x *ir.Scalar) (linearForm, bool) {
	if e, ok := x.Symbolic(); ok {
		return linearForm{{coef: e}}, true
	}
	switch x.Op {
	case ir.OpAxis:
		return linearForm{{axis: x.Axis, coef: sym.Const(1)}}, true
	case ir.OpBcast:
		dim, ok := x.Args[1].Symbolic()
		extent, ok2 := x.Args[2].Symbolic()
		of, ok3 := linear(x.Args[0])
		var out linearForm
		for _, t := range of {
			t.under = append(slices.Clone(t.under), bcast{dim, extent})
			out = append(out, t)
		}
		return out, ok && ok2 && ok3
	case ir.OpFloorDiv, ir.OpMod: // the group of a channel, and the channel in its group
		by, ok := x.Args[1].Symbolic()
		if !ok || x.Args[0].Op != ir.OpAxis {
			return nil, false
		}
		run := term{axis: x.Args[0].Axis, runs: by, coef: sym.Const(1)}
		if x.Op == ir.OpFloorDiv {
			return linearForm{run}, true
		}
		run.coef = by.Neg()
		return linearForm{{axis: run.axis, coef: sym.Const(1)}, run}, true
	case ir.OpAdd, ir.OpSub, ir.OpMul:
		a, ok := linear(x.Args[0])
		b, ok2 := linear(x.Args[1])
		if !ok || !ok2 {
			return nil, false
		}
		if x.Op == ir.OpMul {
			return a.times(b)
		}
		sign := sym.Const(1)
		if x.Op == ir.OpSub {
			sign = sym.Const(-1)
		}
		b, _ = b.times(linearForm{{coef: sign}})
		return append(slices.Clone(a), b...), true
	}
	return nil, false
}

// times multiplies forms of which one has no axes.
func (f linearForm) times(g linearForm) (out linearForm, ok bool) {
	for _, a := range f {
		for _, b := range g {
			t := term{axis: a.axis, runs: a.runs, coef: a.coef.Mul(b.coef), under: slices.Concat(a.under, b.under)}
			if b.axis != nil {
				if a.axis != nil {
					return nil, false
				}
				t.axis, t.runs = b.axis, b.runs
			}
			out = append(out, t)
		}
	}
	return out, true
}

// along is an axis position by position, or by runs of so many.
type along struct {
	axis *ir.Axis
	runs int64 // 1: of one position
}

// linearIndex is c + Σ k·along. All of its numbers are moderate.
type linearIndex struct {
	c int64
	k map[along]int64
}

// at is the form with the sizes of a stage; false where something is not moderate, or
// shapes do not broadcast.
func (f linearForm) at(s *interp.Stage) (out linearIndex, ok bool) {
terms:
	for _, t := range f {
		for _, b := range t.under {
			dim, err := b.dim.Eval(s.Symbol)
			extent, err2 := b.extent.Eval(s.Symbol)
			switch {
			case err != nil || err2 != nil:
				return out, false
			case dim == extent:
			case dim == 1:
				continue terms
			default:
				return out, false
			}
		}
		n, err := t.coef.Eval(s.Symbol)
		if err != nil || !moderate(n) {
			return out, false
		}
		if t.axis == nil {
			out.c += n
			continue
		}
		x := along{t.axis, 1}
		if !t.runs.IsInt(0) {
			if x.runs, err = t.runs.Eval(s.Symbol); err != nil || x.runs < 1 {
				return out, false
			}
		}
		if out.k == nil {
			out.k = map[along]int64{}
		}
		if out.k[x] += n; out.k[x] == 0 {
			delete(out.k, x)
		} else if !moderate(out.k[x]) {
			return out, false
		}
	}
	return out, moderate(out.c)
}
