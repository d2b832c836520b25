package ir

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Trips tells how often a loop runs its body: at most so often, nil where no end is known,
// and whether nothing can end it earlier.
func (c *Call) Trips(body *Block) (most *sym.Expr, exact bool) {
	trips, ok := c.Ints(0)
	if !ok || len(trips) != 1 {
		return nil, false
	}
	n := c.Syms.Simplify(trips[0].Max(sym.Const(0)))
	always := func(t *tensor.Tensor) bool {
		return t != nil && t.DType() == tensor.Bool && t.Len() == 1 && t.Bool(0)
	}
	starts := !c.Has(1) || always(c.Const(1))
	goesOn := body.Results[0] == body.Params[1] || body.Results[0].Const != nil && always(body.Results[0].Const.Tensor)
	return &n, starts && goesOn
}

// A local symbol stands for what changes within a region, and has no value that a run could
// tell: the number of an iteration. It stands in contents alone; a dim that follows from
// such contents is a new symbol.

// iteration is the local symbol of a loop, inside of so many others.
func iteration(depth int) string { return fmt.Sprintf("#iteration%d", depth) }

func isLocal(symbol string) bool { return strings.HasPrefix(symbol, "#") }

func usesLocal(list ...sym.Expr) bool {
	return slices.ContainsFunc(list, func(e sym.Expr) bool { return slices.ContainsFunc(e.Symbols(), isLocal) })
}

// withoutLocals bounds a dim by what local symbols are at most, nil where there is no bound.
func (c *Call) withoutLocals(e sym.Expr) *sym.Expr {
	ctx, most := c.Syms, map[string]*sym.Expr{}
	for i, n := range c.iterations {
		most[iteration(i)] = n
	}
	for _, name := range e.Symbols() {
		if !isLocal(name) {
			continue
		}
		if !linearIn(e, name) {
			return bounded(ctx, e)
		}
		at := func(x sym.Expr) sym.Expr {
			return e.Subst(func(s string) (sym.Expr, bool) { return x, s == name })
		}
		zero, last := at(sym.Const(0)), most[name]
		switch k, _ := at(sym.Const(1)).Sub(zero).Int(); {
		case k < 0:
			e = zero
		case last == nil:
			return bounded(ctx, e)
		default:
			e = at(last.Sub(sym.Const(1)))
		}
	}
	if usesLocal(e) {
		return bounded(ctx, e)
	}
	e = ctx.Simplify(e)
	return &e
}

// bounded is a number that e is not above, nil where there is none.
func bounded(ctx *sym.Context, e sym.Expr) *sym.Expr {
	_, hi := ctx.Bounds(e)
	if hi == sym.Inf {
		return nil
	}
	n := sym.Const(max(hi, 0))
	return &n
}

// NoSlices is what a loop stacks in a result when there was no iteration: the type of the
// body's slices says its dims, and that of the result where the body's does not. eval gives
// the value of a dim, an error where it has none; such a dim is 0, as in ONNX Runtime.
func NoSlices(s *Stmt, result int, eval func(sym.Expr) (int64, error)) (tensor.DType, []int64) {
	d := tensor.F32
	shape := []int64{0}
	known := []bool{true}
	take := func(t TensorType, dims []sym.Expr) {
		d = t.DType
		for i, e := range dims {
			if len(shape) <= i+1 {
				shape, known = append(shape, 0), append(known, false)
			}
			if n, err := eval(e); err == nil && !known[i+1] {
				shape[i+1], known[i+1] = n, true
			}
		}
	}
	if t, ok := s.Regions[0].Results[1+result].Type.(TensorType); ok && !t.Unranked {
		take(t, t.Dims)
	}
	if result < len(s.Results) && s.Results[result] != nil {
		if t, ok := s.Results[result].Type.(TensorType); ok && !t.Unranked && len(t.Dims) > 0 && (len(shape) == 1 || len(shape) == len(t.Dims)) {
			take(t, t.Dims[1:])
		}
	}
	return d, shape
}
