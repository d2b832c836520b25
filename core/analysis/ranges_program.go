package analysis

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// anything is what is known of nothing.
var anything = Anything(tensor.F64)

// most is what an axis is at most: memory is not larger.
const most = 1 << 48

// ranges are those of the buffers of a program, found when they are asked for.
type ranges struct {
	p      *ir.Program
	bounds func(e sym.Expr) (lo, hi int64)
	param  func(i int) Interval
	// constant gives a parameter that is a constant, nil otherwise; sums gives the largest sum of its
	// absolute values over some dims.
	constant func(b *ir.Buffer) *tensor.Tensor
	sums     func(t *tensor.Tensor, over []bool) (float64, bool)

	stage map[*ir.Buffer]*ir.Stage // that defines it
	done  map[*ir.Buffer]Interval
}

func newRanges(p *ir.Program, bounds func(e sym.Expr) (lo, hi int64), param func(i int) Interval) *ranges {
	f := &ranges{p: p, bounds: bounds, param: param, stage: map[*ir.Buffer]*ir.Stage{}, done: map[*ir.Buffer]Interval{}}
	for _, s := range p.Stages {
		for _, b := range s.Outs {
			f.stage[b] = s
		}
	}
	return f
}

// of is the range of a buffer.
func (f *ranges) of(b *ir.Buffer) Interval {
	if r, ok := f.done[b]; ok {
		return r
	}
	r := anything
	if s := f.stage[b]; s != nil {
		for i, o := range s.Outs {
			f.done[o] = f.define(s, i).fit(o.DType)
		}
		return f.done[b]
	}
	for i, o := range f.p.Params {
		if o == b {
			r = f.param(i)
		}
	}
	f.done[b] = r
	return r
}

// ranger evaluates expressions of the program's stages.
func (f *ranges) ranger() *ranger {
	e := &ranger{bounds: f.bounds, load: f.load, done: map[*ir.Scalar]Interval{}}
	e.known = func(x *ir.Scalar) (Interval, bool) { return f.rule(e, x) }
	return e
}

// load is the range of what is loaded: of a constant perhaps of one element alone.
func (f *ranges) load(x *ir.Scalar) Interval {
	if r, ok := f.element(x); ok {
		return r
	}
	return f.of(x.Buf)
}

// element is an element of a constant that is always the same.
func (f *ranges) element(x *ir.Scalar) (Interval, bool) {
	if f.constant == nil {
		return Interval{}, false
	}
	t := f.constant(x.Buf)
	if t == nil || t.Rank() != len(x.Args) || t.DType().IsComplex() || t.DType() == tensor.String {
		return Interval{}, false
	}
	at := make([]int64, len(x.Args))
	for i, ix := range x.Args {
		n, ok := ix.AsInt()
		if !ok || n < 0 || n >= t.Shape()[i] {
			return Interval{}, false
		}
		at[i] = n
	}
	if v := t.Float(t.At(at...)); v == v {
		return number(t.DType(), v), true
	}
	return anything, true
}

// count is how many points a list of axes has.
func (f *ranges) count(axes []*ir.Axis) (lo, hi float64) {
	lo, hi = 1, 1
	for _, a := range axes {
		l, h := f.bounds(a.Extent)
		lo *= max(float64(l), 0)
		hi *= min(max(float64(h), 0), most)
	}
	return lo, hi
}

// define is the range of a stage's i-th result.
func (f *ranges) define(s *ir.Stage, i int) Interval {
	e := f.ranger()
	x := e.eval(s.Exprs[0])
	d := s.Outs[i].DType
	switch s.Kind {
	case ir.MapStage:
		return x
	case ir.ReduceStage:
		lo, hi := f.count(s.Red)
		return f.reduced(e, s, i, x, lo, hi)
	case ir.ScanStage:
		_, n := f.bounds(s.ScanAxis.Extent)
		return f.reduced(e, s, i, x, 0, min(float64(n), most))
	}
	base := f.of(s.Base)
	switch s.Monoid {
	case ir.Sum:
		_, n := f.count(s.Axes)
		r := total(d, x, 0, n).sum(base)
		if d.IsFloat() { // each step is rounded, of the size of what is there
			r = r.widenedBy(r.largest() * min(1, n*epsOf(d)*4))
		}
		return r.whole(d)
	case ir.Last, ir.Max, ir.Min:
		return base.Or(x)
	}
	return Anything(d)
}

// reduced is the range of what a monoid makes of at least lo and at most hi values.
func (f *ranges) reduced(e *ranger, s *ir.Stage, i int, x Interval, lo, hi float64) Interval {
	d := s.Outs[i].DType
	if d.IsComplex() {
		return anything
	}
	none := lo < 1
	switch s.Monoid {
	case ir.Sum:
		r := total(d, x, lo, hi)
		if by, ok := f.weighted(e, s); ok && s.Kind == ir.ReduceStage {
			r = Interval{max(r.Lo, -by), min(r.Hi, by), false}
		}
		return r
	case ir.Max, ir.Min:
		if none && d.IsFloat() {
			return x.Or(Exactly(math.Inf(map[ir.Monoid]int{ir.Max: -1, ir.Min: 1}[s.Monoid])))
		} else if none {
			return Anything(d)
		}
		return x
	case ir.And, ir.Or:
		return Anything(d)
	case ir.ArgMax, ir.ArgMin:
		if i == 1 {
			return e.eval(s.Exprs[1])
		}
		return x
	case ir.MeanVar:
		square := Interval{0, x.Hi - x.Lo, x.NaN || none || x.infinite()}
		if i == 1 {
			return square.square().product(Interval{0, hi, false})
		}
		x.NaN = square.NaN
		if none {
			x = x.Or(Exactly(0))
		}
		return x.wider(d)
	case ir.Prod:
		if !x.NaN && x.Lo >= -1 && x.Hi <= 1 {
			return Interval{min(x.Lo, 0), 1, false}
		}
	}
	return Anything(d)
}

// total is the range of a sum of at least lo and at most hi values, which is rounded at each step.
func total(d tensor.DType, x Interval, lo, hi float64) Interval {
	eps := epsOf(d)
	up := min(2, 1+hi*eps*4) // what rounding adds at most: then a number is too small to be added
	end := func(v float64) float64 {
		if v < 0 {
			return times(times(v, hi), up)
		}
		return times(v, lo) / up
	}
	r := Interval{end(x.Lo), -end(-x.Hi), x.NaN}
	if d.IsInt() {
		return r.whole(d)
	}
	if largest, ok := largestOf(d); ok && (r.Lo < -largest || r.Hi > largest) && x.Lo < 0 && x.Hi > 0 {
		return anything // infinite on the way, and then perhaps infinity minus infinity
	}
	return r
}

// epsOf is by how much a number is rounded at most, of its size.
func epsOf(d tensor.DType) float64 {
	switch {
	case d == tensor.F64:
		return 0x1p-52
	case d.IsFloat() && d.Bits() < 32:
		return 0x1p-7
	case d.IsFloat():
		return 0x1p-23
	}
	return 0
}

// weighted bounds a sum of products with a constant: by the largest sum of the constant's absolute
// values, times the largest of the other factor.
func (f *ranges) weighted(e *ranger, s *ir.Stage) (float64, bool) {
	x, y, ok := Factors(s)
	if !ok || f.constant == nil {
		return 0, false
	}
	for range 2 {
		x, y = y, x
		w := uncast(x)
		if w.Op != ir.OpLoad {
			continue
		}
		t := f.constant(w.Buf)
		if t == nil || t.Rank() != len(w.Args) {
			continue
		}
		over := make([]bool, t.Rank())
		rest := append([]*ir.Axis(nil), s.Red...)
		for d, ix := range w.Args {
			a, bare := bare(ix)
			for i, r := range rest {
				if bare && r == a {
					over[d] = true
					rest = append(rest[:i:i], rest[i+1:]...)
					break
				}
			}
		}
		l1, ok := f.sums(t, over)
		if !ok {
			continue
		}
		if slices.ContainsFunc(s.Red, func(r *ir.Axis) bool { return !slices.Contains(rest, r) && dependsElsewhere(w, over, r) }) {
			continue // as of a diagonal: it is no sum of the elements along the dims
		}
		_, n := f.count(rest)
		other := e.eval(y)
		if other.NaN || other.infinite() {
			return 0, false
		}
		eps := epsOf(s.Out().DType)
		_, all := f.count(s.Red)
		by := l1 * n * other.largest() * min(2, 1+all*eps*4)
		largest, ok := largestOf(s.Out().DType)
		return by, ok && by < largest
	}
	return 0, false
}

// dependsElsewhere says whether indices of a load depend on an axis, beside those of some dims.
func dependsElsewhere(load *ir.Scalar, dims []bool, a *ir.Axis) bool {
	found := false
	for d, ix := range load.Args {
		if !dims[d] {
			ix.Walk(func(y *ir.Scalar) bool { found = found || y.Op == ir.OpAxis && y.Axis == a; return !found })
		}
	}
	return found
}

// uncast takes conversions to wider types off, which round nothing.
func uncast(x *ir.Scalar) *ir.Scalar {
	for x.Op == ir.OpCast && x.DType.IsFloat() && (x.DType.Bits() > x.Args[0].DType.Bits() || x.DType == x.Args[0].DType) {
		x = x.Args[0]
	}
	return x
}

// inline gives what a load reads, where a map defines it; other expressions are themselves.
func (f *ranges) inline(x *ir.Scalar) *ir.Scalar {
	x = uncast(x)
	for range 8 {
		if x.Op != ir.OpLoad {
			return x
		}
		s := f.stage[x.Buf]
		if s == nil || s.Kind != ir.MapStage {
			return x
		}
		x = uncast(at(s, s.Exprs[0], x.Args))
	}
	return x
}

// at is an expression of a stage at a point.
func at(s *ir.Stage, x *ir.Scalar, index []*ir.Scalar) *ir.Scalar {
	by := map[*ir.Axis]*ir.Scalar{}
	for i, a := range s.Axes {
		by[a] = index[i]
	}
	return x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
		if y.Op == ir.OpAxis && by[y.Axis] != nil {
			return by[y.Axis]
		}
		return y
	})
}

// over says whether an expression is one of those that a reduction combines at the point where
// another load reads its result.
func over(s *ir.Stage, term *ir.Scalar, result, x *ir.Scalar) bool {
	as := map[*ir.Axis]*ir.Scalar{}
	for i, a := range s.Axes {
		as[a] = result.Args[i]
	}
	for _, r := range s.Red {
		as[r] = nil // whatever is in its place
	}
	if !alike(term, as, x) {
		return false
	}
	for _, r := range s.Red { // positions are some of the axis, and no other
		if y := as[r]; y == nil || y.Op != ir.OpAxis || !y.Axis.Extent.Equal(r.Extent) {
			return false
		}
	}
	return true
}

// reduction is the stage of a monoid whose result a load reads.
func (f *ranges) reduction(x *ir.Scalar, m ir.Monoid) *ir.Stage {
	if x.Op != ir.OpLoad {
		return nil
	}
	if s := f.stage[x.Buf]; s != nil && s.Kind == ir.ReduceStage && s.Monoid == m {
		return s
	}
	return nil
}

// rule knows more of an expression than its operands say.
func (f *ranges) rule(e *ranger, x *ir.Scalar) (Interval, bool) {
	if !x.DType.IsFloat() {
		return Interval{}, false
	}
	switch x.Op {
	case ir.OpSub: // what is at most its largest
		return Interval{math.Inf(-1), 0, true}, f.belowMax(x)
	case ir.OpDiv:
		return f.share(e, x.Args[0], x.Args[1])
	case ir.OpMul:
		for i, a := range x.Args {
			if r := f.inline(a); r.Op == ir.OpDiv && e.eval(r.Args[0]) == (Interval{1, 1, false}) {
				if out, ok := f.share(e, x.Args[1-i], r.Args[1]); ok {
					return out, true
				}
			}
		}
	}
	return Interval{}, false
}

// belowMax recognises x - max(x).
func (f *ranges) belowMax(x *ir.Scalar) bool {
	largest := f.inline(x.Args[1])
	s := f.reduction(largest, ir.Max)
	return s != nil && (over(s, s.Exprs[0], largest, x.Args[0]) || over(s, s.Exprs[0], largest, f.inline(x.Args[0])))
}

// share knows of a quotient that the numerator is one of the terms that the denominator is made
// of: of their sum, or of the root of the sum of their squares.
func (f *ranges) share(e *ranger, x, y *ir.Scalar) (Interval, bool) {
	y = f.inline(y)
	if s := f.reduction(y, ir.Sum); s != nil {
		return f.shareOfSum(e, s, x, y)
	}
	if y.Op != ir.OpSqrt {
		return Interval{}, false
	}
	// sqrt(c*sum of squares + eps)
	y = f.inline(y.Args[0])
	eps := 0.0
	if y.Op == ir.OpAdd {
		for i, a := range y.Args {
			if r := e.eval(a); r.Lo == r.Hi && !r.NaN && r.Lo >= 0 {
				eps, y = r.Lo, f.inline(y.Args[1-i])
				break
			}
		}
	}
	c := 1.0
	switch y.Op {
	case ir.OpDiv:
		n := e.eval(y.Args[1])
		if n.Lo <= 0 || n.NaN {
			return Interval{}, false
		}
		c, y = 1/min(n.Hi, most), f.inline(y.Args[0])
	case ir.OpMul:
		for i, a := range y.Args {
			if r := e.eval(a); r.Lo > 0 && !r.NaN {
				c, y = r.Lo, f.inline(y.Args[1-i])
				break
			}
		}
	}
	s := f.reduction(y, ir.Sum)
	if s == nil {
		return Interval{}, false
	}
	q := squared(s.Exprs[0])
	if q == nil || !over(s, q, y, x) && !over(s, q, y, f.inline(x)) {
		return Interval{}, false
	}
	by := math.Sqrt(1/c) * 1.001
	r, sum := e.eval(x), f.of(y.Buf)
	return Interval{-by, by, r.NaN || r.infinite() || sum.NaN || eps == 0}, true
}

// squared gives what a square is of, nil of what is none.
func squared(x *ir.Scalar) *ir.Scalar {
	x = uncast(x)
	switch {
	case x.Op == ir.OpMul && same(x.Args[0], x.Args[1]):
		return x.Args[0]
	case x.Op == ir.OpPow && x.Args[1].Op == ir.OpLit && x.Args[1].Lit.Float(0) == 2:
		return x.Args[0]
	}
	return nil
}

// shareOfSum is a term of a sum of terms that are not negative, divided by it.
func (f *ranges) shareOfSum(e *ranger, s *ir.Stage, x, y *ir.Scalar) (Interval, bool) {
	term := s.Exprs[0]
	if !over(s, term, y, x) && !over(s, term, y, f.inline(x)) {
		return Interval{}, false
	}
	r := f.ranger().eval(term)
	if r.Lo < 0 {
		return Interval{}, false
	}
	sum := f.of(y.Buf)
	t := f.inline(term)
	one := t.Op == ir.OpExp && f.inline(t.Args[0]).Op == ir.OpSub && f.belowMax(f.inline(t.Args[0])) // of the largest it is 1
	return Interval{0, 1.001, r.NaN || math.IsInf(r.Hi, 1) || sum.NaN || !one && sum.Lo <= 0}, true
}
