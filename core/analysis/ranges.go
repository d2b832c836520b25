package analysis

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
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

func (r Range) has(v float64) bool { return r.Lo <= v && v <= r.Hi }

func (r Range) infinite() bool { return math.IsInf(r.Lo, 0) || math.IsInf(r.Hi, 0) }

func (r Range) union(s Range) Range {
	if !r.Known() || !s.Known() {
		return Any
	}
	return Range{min(r.Lo, s.Lo), max(r.Hi, s.Hi)}
}

// Ranges gives the ranges of a program's results from those of its parameters: interval
// arithmetic over its expressions, with room for the rounding of its element types and of
// the functions that targets approximate. What may overflow has an infinite end.
func Ranges(ctx *sym.Context, p *ir.Program, params []Range) []Range {
	bufs := map[*ir.Buffer]Range{}
	for i, b := range p.Params {
		bufs[b] = params[i]
	}
	for _, s := range p.Stages {
		e := ranger{ctx: ctx, bufs: bufs, done: map[*ir.Scalar]Range{}}
		for i, r := range e.stage(s) {
			bufs[s.Outs[i]] = r
		}
	}
	out := make([]Range, len(p.Results))
	for i, b := range p.Results {
		out[i] = bufs[b]
	}
	return out
}

type ranger struct {
	ctx  *sym.Context
	bufs map[*ir.Buffer]Range
	done map[*ir.Scalar]Range
}

// stage gives the ranges of what a stage defines.
func (e *ranger) stage(s *ir.Stage) []Range {
	out := make([]Range, len(s.Outs))
	for i := range out {
		out[i] = Any
	}
	of, d := e.eval(s.Exprs[0]), s.Exprs[0].DType
	switch {
	case s.Kind == ir.MapStage:
		out[0] = of
	case s.Kind == ir.ScatterStage && s.Monoid == ir.Last:
		out[0] = e.bufs[s.Base].union(of)
	case s.Kind == ir.ScatterStage && s.Monoid == ir.Sum:
		n := e.count(s.Axes)
		out[0] = add(e.bufs[s.Base], summed(of, Range{0, n.Hi}, d), d)
	case s.Kind == ir.ScanStage && s.Monoid == ir.Sum:
		n := e.count([]*ir.Axis{s.ScanAxis})
		out[0] = summed(of, Range{0, n.Hi}, d)
	case s.Kind == ir.ReduceStage:
		e.reduced(s, of, out)
	}
	return out
}

func (e *ranger) reduced(s *ir.Stage, of Range, out []Range) {
	n, d := e.count(s.Red), s.Exprs[0].DType
	if !of.Known() && s.Monoid != ir.And && s.Monoid != ir.Or {
		return
	}
	switch s.Monoid {
	case ir.Sum:
		out[0] = summed(of, n, d)
	case ir.Max, ir.Min, ir.ArgMax, ir.ArgMin:
		if n.Lo >= 1 {
			out[0] = of
		}
		if len(out) > 1 {
			out[1] = Range{0, n.Hi}
		}
	case ir.And, ir.Or:
		if d == tensor.Bool {
			out[0] = truths
		}
	case ir.MeanVar:
		if of.Finite() && n.Lo >= 1 {
			width := Range{0, of.Hi - of.Lo}
			out[0], out[1] = rounded(of, d), summed(mul(width, width, d), n, d)
		}
	}
}

var truths = Range{0, 1}

// count is how many points axes have.
func (e *ranger) count(axes []*ir.Axis) Range {
	n := Range{1, 1}
	for _, a := range axes {
		lo, hi := e.ctx.Bounds(a.Extent)
		n.Lo *= float64(max(lo, 0))
		if hi == math.MaxInt64 {
			n.Hi = math.Inf(1)
		} else {
			n.Hi *= float64(max(hi, 0))
		}
	}
	if n.Hi != n.Hi { // none of an unlimited number
		n.Hi = 0
	}
	return n
}

// summed is the range of n numbers that are added up in any order. Where sums of some of them
// may be infinite in both directions, what becomes of them is NaN.
func summed(of, n Range, d tensor.DType) Range {
	if !of.Known() {
		return Any
	}
	times := func(v float64) float64 {
		if v == 0 || n.Hi == 0 {
			return 0
		}
		return v * n.Hi
	}
	sum := Range{min(times(of.Lo), 0), max(times(of.Hi), 0)} // of any of them
	if d.IsFloat() {
		slack := 1 + n.Hi*0x1p-22 // a rounding of each addition, and of the product in it
		sum = Range{sum.Lo * slack, sum.Hi * slack}
		if sum.Lo != sum.Lo || sum.Hi != sum.Hi {
			return Any
		}
	}
	sum = rounded(sum, d)
	if math.IsInf(sum.Lo, 0) && math.IsInf(sum.Hi, 0) {
		return Any
	}
	return sum
}

func (e *ranger) eval(x *ir.Scalar) Range {
	r, ok := e.done[x]
	if !ok {
		if r = e.node(x); !r.Known() {
			r = Any
		}
		e.done[x] = r
	}
	return r
}

func (e *ranger) node(x *ir.Scalar) Range {
	if x.DType.IsComplex() || x.DType == tensor.String {
		return Any
	}
	switch x.Op {
	case ir.OpLit:
		v := x.Lit.Float(0)
		return Range{v, v}
	case ir.OpAxis:
		_, hi := e.ctx.Bounds(x.Axis.Extent)
		return Range{0, float64(hi)}
	case ir.OpSym:
		lo, hi := e.ctx.Bounds(x.Sym)
		return Range{float64(lo), float64(hi)}
	case ir.OpLoad:
		r, ok := e.bufs[x.Buf]
		if !ok {
			return Any
		}
		return r
	case ir.OpBcast:
		return e.eval(x.Args[0]).union(Range{0, 0})
	case ir.OpGuard, ir.OpSelect:
		switch c := e.eval(x.Args[0]); {
		case c.Known() && c.Lo > 0:
			return e.eval(x.Args[1])
		case c.Known() && c.Hi == 0:
			return e.eval(x.Args[2])
		}
		return e.eval(x.Args[1]).union(e.eval(x.Args[2]))
	case ir.OpCast:
		return cast(e.eval(x.Args[0]), x.Args[0].DType, x.DType)
	}
	if x.Op.Compares() || x.DType == tensor.Bool {
		return truths
	}
	a := e.eval(x.Args[0])
	if !a.Known() {
		return Any
	}
	if len(x.Args) == 1 {
		return unary(x.Op, a, x.DType)
	}
	b := e.eval(x.Args[1])
	if !b.Known() {
		return Any
	}
	switch x.Op {
	case ir.OpAdd:
		return add(a, b, x.DType)
	case ir.OpSub:
		return add(a, Range{-b.Hi, -b.Lo}, x.DType)
	case ir.OpMul:
		r := mul(a, b, x.DType)
		if r.Known() && sameScalar(x.Args[0], x.Args[1], 4) {
			r.Lo = max(r.Lo, 0)
		}
		return r
	case ir.OpDiv:
		return quotient(a, b, x.DType)
	case ir.OpMin:
		return Range{min(a.Lo, b.Lo), min(a.Hi, b.Hi)}
	case ir.OpMax:
		return Range{max(a.Lo, b.Lo), max(a.Hi, b.Hi)}
	case ir.OpPow:
		return power(a, b, x.DType)
	}
	return Any
}

// rounded is a range whose ends were computed, in an element type: wider, and infinite
// where it may overflow.
func rounded(r Range, d tensor.DType) Range {
	if !r.Known() {
		return Any
	}
	most, slack := math.MaxFloat64/2, 0x1p-20
	switch d {
	case tensor.F64:
	case tensor.F32:
		most = math.MaxFloat32 / 2
	default:
		if d.IsFloat() {
			return Any // no arithmetic has it
		}
		if lo, hi := limits(d); r.Lo < lo || r.Hi > hi { // it wraps around
			return Any
		}
		return r
	}
	r = Range{r.Lo - math.Abs(r.Lo)*slack, r.Hi + math.Abs(r.Hi)*slack}
	if r.Lo < -most {
		r.Lo = math.Inf(-1)
	}
	if r.Hi > most {
		r.Hi = math.Inf(1)
	}
	return r
}

// limits are numbers between which all are exact in float64 and in an integer type.
func limits(d tensor.DType) (lo, hi float64) {
	switch d {
	case tensor.Bool:
		return 0, 1
	case tensor.U8:
		return 0, math.MaxUint8
	case tensor.I8:
		return math.MinInt8, math.MaxInt8
	case tensor.U16:
		return 0, math.MaxUint16
	case tensor.I16:
		return math.MinInt16, math.MaxInt16
	case tensor.U32:
		return 0, math.MaxUint32
	case tensor.I32:
		return math.MinInt32, math.MaxInt32
	case tensor.U64:
		return 0, 1 << 53
	case tensor.I64:
		return -1 << 53, 1 << 53
	}
	return 0, 0
}

func cast(r Range, from, to tensor.DType) Range {
	switch {
	case to == tensor.Bool:
		return truths // of a NaN, too
	case !r.Known():
		return Any
	case to == tensor.F32 || to == tensor.F64:
		return rounded(r, to)
	case to == tensor.F16 || to == tensor.BF16:
		most := 65504 / 2.0
		if to == tensor.BF16 {
			most = math.MaxFloat32 / 2
		}
		r = Range{r.Lo - math.Abs(r.Lo)*0x1p-7, r.Hi + math.Abs(r.Hi)*0x1p-7}
		if r.Lo < -most {
			r.Lo = math.Inf(-1)
		}
		if r.Hi > most {
			r.Hi = math.Inf(1)
		}
		return r
	case to.IsFloat():
		return Any // of which some have NaN in the place of what is too large
	case from.IsFloat() && !r.Finite():
		return Any
	}
	return rounded(Range{math.Floor(r.Lo), math.Ceil(r.Hi)}, to)
}

func add(a, b Range, d tensor.DType) Range {
	if !a.Known() || !b.Known() || math.IsInf(a.Lo, -1) && math.IsInf(b.Hi, 1) || math.IsInf(a.Hi, 1) && math.IsInf(b.Lo, -1) {
		return Any // infinity less infinity
	}
	return rounded(Range{a.Lo + b.Lo, a.Hi + b.Hi}, d)
}

func mul(a, b Range, d tensor.DType) Range {
	if !a.Known() || !b.Known() || a.has(0) && b.infinite() || b.has(0) && a.infinite() {
		return Any
	}
	v := [4]float64{a.Lo * b.Lo, a.Lo * b.Hi, a.Hi * b.Lo, a.Hi * b.Hi}
	return rounded(Range{min(v[0], v[1], v[2], v[3]), max(v[0], v[1], v[2], v[3])}, d)
}

func quotient(a, b Range, d tensor.DType) Range {
	if !d.IsFloat() || b.has(0) || a.infinite() && b.infinite() {
		return Any
	}
	v := [4]float64{a.Lo / b.Lo, a.Lo / b.Hi, a.Hi / b.Lo, a.Hi / b.Hi}
	return rounded(Range{min(v[0], v[1], v[2], v[3]), max(v[0], v[1], v[2], v[3])}, d)
}

// power has one exponent.
func power(a, b Range, d tensor.DType) Range {
	n := b.Lo
	if b.Hi != n || !d.IsFloat() || math.IsInf(n, 0) || n < 0 && a.has(0) || a.Lo < 0 && n != math.Trunc(n) {
		return Any
	}
	lo, hi := math.Pow(a.Lo, n), math.Pow(a.Hi, n)
	r := Range{min(lo, hi), max(lo, hi)}
	if a.has(0) {
		r = r.union(Range{0, 0})
	}
	return rounded(r, d)
}

// unary is a function of one number.
func unary(op ir.ScalarOp, a Range, d tensor.DType) Range {
	switch op {
	case ir.OpNeg:
		return rounded(Range{-a.Hi, -a.Lo}, d)
	case ir.OpAbs:
		r := Range{min(math.Abs(a.Lo), math.Abs(a.Hi)), max(math.Abs(a.Lo), math.Abs(a.Hi))}
		if a.has(0) {
			r.Lo = 0
		}
		return rounded(r, d)
	case ir.OpSin, ir.OpCos:
		if !a.Finite() {
			return Any
		}
		return rounded(Range{-1, 1}, d)
	}
	domain, grows := growing[op]
	if !grows || a.Lo < domain || !d.IsFloat() {
		return Any
	}
	lo, _ := unaryOf(op, a.Lo)
	hi, _ := unaryOf(op, a.Hi)
	r := rounded(Range{lo - math.Abs(lo)*0x1p-10, hi + math.Abs(hi)*0x1p-10}, d) // they are approximated
	if r.Known() && lo >= 0 {
		r.Lo = max(r.Lo, 0)
	}
	return r
}

// growing are functions that grow with what they are of, and from where on they are defined.
var growing = map[ir.ScalarOp]float64{
	ir.OpSqrt: 0, ir.OpExp: math.Inf(-1), ir.OpLog: 0, ir.OpLog1p: -1, ir.OpExpm1: math.Inf(-1), ir.OpTanh: math.Inf(-1), ir.OpErf: math.Inf(-1),
	ir.OpFloor: math.Inf(-1), ir.OpCeil: math.Inf(-1), ir.OpRound: math.Inf(-1), ir.OpTrunc: math.Inf(-1),
}

// sameScalar says whether expressions are written alike, down to some depth.
func sameScalar(a, b *ir.Scalar, depth int) bool {
	if a == b {
		return true
	}
	if depth == 0 || a.Op != b.Op || a.DType != b.DType || a.Axis != b.Axis || a.Buf != b.Buf || a.Cast != b.Cast || !a.Sym.Equal(b.Sym) ||
		(a.Lit == nil) != (b.Lit == nil) || a.Lit != nil && !tensor.Equal(a.Lit, b.Lit) {
		return false
	}
	return slices.EqualFunc(a.Args, b.Args, func(x, y *ir.Scalar) bool { return sameScalar(x, y, depth-1) })
}
