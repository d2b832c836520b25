package analysis

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Range is the numbers from Lo to Hi; either may be infinite. A NaN is in no range, and of
// what may be one there is none: see Any.
type Range struct{ Lo, Hi float64 }

// Any is what is not known, or may be NaN.
var Any = Range{math.NaN(), math.NaN()}

// Known says whether there is a range.
func (r Range) Known() bool { return r.Lo <= r.Hi }

// Finite says whether all numbers are proved to be finite.
func (r Range) Finite() bool { return r.Known() && !math.IsInf(r.Lo, 0) && !math.IsInf(r.Hi, 0) }

// RangeOf is where the values of an expression lie, whatever it loads and however large its axes are.
func RangeOf(x *ir.Scalar) Interval {
	e := &ranger{
		bounds: func(sym.Expr) (lo, hi int64) { return math.MinInt64, math.MaxInt64 },
		load:   func(x *ir.Scalar) Interval { return Anything(x.DType) },
		done:   map[*ir.Scalar]Interval{},
	}
	return e.eval(x)
}

// Ranges gives the ranges of a program's results from those of its parameters: interval
// arithmetic over its expressions, with room for the rounding of its element types and of
// the functions that targets approximate. What may overflow has an infinite end.
func Ranges(ctx *sym.Context, p *ir.Program, params []Range) []Range {
	f := newRanges(p, ctx.Bounds, func(i int) Interval {
		if !params[i].Known() {
			return Anything(p.Params[i].DType)
		}
		return Interval{params[i].Lo, params[i].Hi, false}
	})
	out := make([]Range, len(p.Results))
	for i, b := range p.Results {
		if r := f.of(b); r.NaN || r.none() {
			out[i] = Any
		} else {
			out[i] = Range{r.Lo, r.Hi}
		}
	}
	return out
}
