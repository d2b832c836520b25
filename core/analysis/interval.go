package analysis

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Interval is where the elements of a tensor, or the values of an expression, are proved to
// lie: from Lo to Hi, both included; NaN says that they may be NaN. Truth values are 0 and 1.
// Bounds of floats are computed with some room for rounding; one value alone is exact.
type Interval struct {
	Lo, Hi float64
	NaN    bool
}

// Exactly is the interval of one value.
func Exactly(v float64) Interval {
	if v != v {
		return Interval{math.Inf(1), math.Inf(-1), true}
	}
	return Interval{v, v, false}
}

// number is a literal, or an element of a constant: of an integer that no float64 is, where that is about.
func number(d tensor.DType, v float64) Interval {
	r := Exactly(v)
	if d.IsInt() && math.Abs(v) >= exactInts {
		return r.widened(0x1p-52)
	}
	return r
}

// Anything is what is known of all values of a type.
func Anything(d tensor.DType) Interval {
	switch {
	case d == tensor.Bool:
		return Interval{0, 1, false}
	case d.IsInt():
		lo, hi := intRange(d)
		return Interval{lo, hi, false}
	}
	return Interval{math.Inf(-1), math.Inf(1), true}
}

// Finite says that the values are numbers, and none of them infinite.
func (r Interval) Finite() bool { return !r.NaN && r.Lo > math.Inf(-1) && r.Hi < math.Inf(1) }

// Value is the only value that there is; ok is false where there may be others.
func (r Interval) Value() (v float64, ok bool) { return r.Lo, r.Lo == r.Hi && !r.NaN }

// Zero says that all values are zero.
func (r Interval) Zero() bool { return r == Interval{} }

// Or is where the values of both lie.
func (r Interval) Or(s Interval) Interval {
	return Interval{min(r.Lo, s.Lo), max(r.Hi, s.Hi), r.NaN || s.NaN}
}

// none says that there are no numbers in it.
func (r Interval) none() bool { return r.Lo > r.Hi }

// largest is the largest absolute value.
func (r Interval) largest() float64 { return max(math.Abs(r.Lo), math.Abs(r.Hi)) }

func intRange(d tensor.DType) (lo, hi float64) {
	bits := d.Bits()
	if !d.IsSigned() {
		return 0, math.Ldexp(1, bits) - 1
	}
	return -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1) - 1
}

// largestOf is the largest finite value of a float type; ok is false for types that are not followed.
func largestOf(d tensor.DType) (v float64, ok bool) {
	switch d {
	case tensor.F16:
		return 65504, true
	case tensor.BF16:
		return math.Ldexp(255, 120), true
	case tensor.F32:
		return math.MaxFloat32, true
	case tensor.F64:
		return math.MaxFloat64, true
	}
	return 0, false
}

// leastOf is a size below which a float of the type may become 0, or is rounded by more than its size says.
func leastOf(d tensor.DType) float64 {
	if d == tensor.F16 {
		return 0x1p-14
	}
	return 1e-37
}

// fit brings what was computed to a type: what is too large for a float is infinite, and what is too large for an
// integer wraps.
func (r Interval) fit(d tensor.DType) Interval {
	switch {
	case d == tensor.Bool:
		return r
	case d.IsInt():
		if lo, hi := intRange(d); r.NaN || !(r.Lo >= lo && r.Hi <= hi) {
			return Interval{lo, hi, false}
		}
		return r
	}
	most, ok := largestOf(d)
	if !ok {
		return Anything(d)
	}
	if least := leastOf(d); r.Lo != r.Hi { // what is too small is 0
		if math.Abs(r.Lo) < least && r.Lo != 0 {
			r.Lo = min(0, -math.Copysign(least, -r.Lo))
		}
		if math.Abs(r.Hi) < least && r.Hi != 0 {
			r.Hi = max(0, math.Copysign(least, r.Hi))
		}
	}
	if r.Hi > most {
		r.Hi = math.Inf(1)
	}
	if r.Lo < -most {
		r.Lo = math.Inf(-1)
	}
	return r
}

// rounding is by how much bounds are widened, of their size: far more than a step of f32.
const rounding = 1e-6

// exactInts is below which integers and bounds of them are exact, and do not hide that they wrap.
const exactInts = 1 << 53

// wider is r with room for rounding: what floats are off by, or bounds of integers.
func (r Interval) wider(d tensor.DType) Interval {
	if !d.IsFloat() {
		return r.whole(d)
	}
	return r.widened(rounding).fit(d)
}

// added is r, a sum, as a float or integer is it: floats that are larger than the largest by less than half of its step are
// rounded to that, so what stands for minus infinity stays finite with a score on top.
func (r Interval) added(d tensor.DType) Interval {
	out := r.wider(d)
	if most, ok := largestOf(d); ok && d.IsFloat() {
		if near := most * (1 + 0x1p-26); r.Lo >= -near && !math.IsInf(r.Lo, 0) {
			out.Lo = max(out.Lo, -most)
		}
		if near := most * (1 + 0x1p-26); r.Hi <= near && !math.IsInf(r.Hi, 0) {
			out.Hi = min(out.Hi, most)
		}
	}
	return out
}

// whole is r, which was computed without rounding, or of integers so large that it may have been.
func (r Interval) whole(d tensor.DType) Interval {
	if d.IsInt() && !(r.largest() < exactInts) {
		return Anything(d)
	}
	return r.fit(d)
}

func (r Interval) widened(by float64) Interval {
	if !math.IsInf(r.Lo, 0) {
		r.Lo -= math.Abs(r.Lo) * by
	}
	if !math.IsInf(r.Hi, 0) {
		r.Hi += math.Abs(r.Hi) * by
	}
	return r
}

// widenedBy is r with so much room.
func (r Interval) widenedBy(v float64) Interval {
	if math.IsInf(v, 1) {
		return Interval{math.Inf(-1), math.Inf(1), r.NaN}
	}
	return Interval{r.Lo - v, r.Hi + v, r.NaN}
}

// exact is the value of an operation on known values, as the type rounds it.
func exact(d tensor.DType, v float64) Interval {
	if d == tensor.F32 {
		v = float64(float32(v))
	}
	return Exactly(v).fit(d)
}

// corners is where f lies over the corners of two intervals, for an f that is largest and smallest there.
// A corner that is no number is taken for any.
func corners(a, b Interval, f func(x, y float64) float64) Interval {
	out := Interval{math.Inf(1), math.Inf(-1), a.NaN || b.NaN}
	for _, x := range [2]float64{a.Lo, a.Hi} {
		for _, y := range [2]float64{b.Lo, b.Hi} {
			v := f(x, y)
			if v != v {
				return Interval{math.Inf(-1), math.Inf(1), true}
			}
			out.Lo, out.Hi = min(out.Lo, v), max(out.Hi, v)
		}
	}
	return out
}

// contains says whether v may be one of the values.
func (r Interval) contains(v float64) bool { return r.Lo <= v && v <= r.Hi }

// infinite says whether an end is.
func (r Interval) infinite() bool { return math.IsInf(r.Lo, 0) || math.IsInf(r.Hi, 0) }

// within is the part between two numbers; where there is none, nothing is left out.
func (r Interval) within(lo, hi float64) Interval {
	if lo, hi := max(r.Lo, lo), min(r.Hi, hi); lo <= hi {
		return Interval{lo, hi, r.NaN}
	}
	return r
}

// square is a value times itself.
func (r Interval) square() Interval {
	least := min(math.Abs(r.Lo), math.Abs(r.Hi))
	if r.contains(0) {
		least = 0
	}
	return Interval{least * least, r.largest() * r.largest(), r.NaN}
}

// sum is of two values, before rounding.
func (r Interval) sum(o Interval) Interval {
	up, low := math.Inf(1), math.Inf(-1)
	lo, hi := r.Lo+o.Lo, r.Hi+o.Hi
	if lo != lo {
		lo = low
	}
	if hi != hi {
		hi = up
	}
	return Interval{lo, hi, r.NaN || o.NaN || r.Hi == up && o.Lo == low || r.Lo == low && o.Hi == up}
}

// times is a product in which zero times infinity is the zero of finite numbers close by.
func times(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a * b
}

func (r Interval) product(o Interval) Interval {
	out := corners(r, o, times)
	out.NaN = out.NaN || r.contains(0) && o.infinite() || o.contains(0) && r.infinite()
	return out
}

// quotient is of two floats, before rounding.
func (r Interval) quotient(o Interval) Interval {
	nan := r.NaN || o.NaN || r.infinite() && o.infinite()
	switch v, one := r.Value(); {
	case o.contains(0) && one && v == 0:
		return Interval{0, 0, true}
	case o.contains(0):
		return Interval{math.Inf(-1), math.Inf(1), nan || r.contains(0)}
	}
	out := corners(r, o, func(a, b float64) float64 {
		if math.IsInf(b, 0) {
			return 0
		}
		return a / b
	})
	out.NaN = nan
	return out
}

// binaryInterval is what an operation makes of two values of a type.
func binaryInterval(op ir.ScalarOp, d tensor.DType, a, b Interval) Interval {
	if a.none() || b.none() { // NaN alone: comparisons are false, all else is NaN
		if op.Compares() {
			return Exactly(truth(op == ir.OpNe))
		}
		return Anything(d)
	}
	if x, ok := a.Value(); ok && d.IsFloat() {
		if y, ok := b.Value(); ok && !op.Compares() {
			if v, ok := binaryOf(op, x, y, true); ok && op != ir.OpPow && (op != ir.OpDiv || y != 0) { // which zero it is is not known
				return exact(d, v)
			}
		}
	}
	nan := a.NaN || b.NaN
	switch op {
	case ir.OpAdd:
		return a.sum(b).added(d)
	case ir.OpSub:
		return a.sum(Interval{-b.Hi, -b.Lo, b.NaN}).added(d)
	case ir.OpMul:
		return a.product(b).wider(d)
	case ir.OpDiv:
		switch {
		case d.IsFloat():
			return a.quotient(b).wider(d)
		case a.Lo >= 0 && b.Lo >= 0:
			return Interval{0, a.Hi, false}
		}
		return Interval{-a.largest(), a.largest(), false}.fit(d)
	case ir.OpMin:
		return Interval{min(a.Lo, b.Lo), min(a.Hi, b.Hi), nan}
	case ir.OpMax:
		return Interval{max(a.Lo, b.Lo), max(a.Hi, b.Hi), nan}
	case ir.OpPow:
		if d.IsFloat() {
			return powerInterval(a, b).wider(d)
		}
	case ir.OpAtan2:
		return Interval{-math.Pi, math.Pi, nan}.wider(d)
	case ir.OpMod:
		if d.IsInt() {
			return Interval{min(b.Lo, 0), max(b.Hi, 0), false}.fit(d)
		}
		return Interval{-b.largest(), b.largest(), nan || b.contains(0) || a.infinite()}
	case ir.OpRem:
		return Interval{-a.largest(), a.largest(), d.IsFloat() && (nan || b.contains(0) || a.infinite())}.fit(d)
	case ir.OpAnd, ir.OpOr, ir.OpXor:
		if d == tensor.Bool {
			return corners(a, b, func(x, y float64) float64 {
				return truth(op == ir.OpAnd && x*y != 0 || op == ir.OpOr && x+y != 0 || op == ir.OpXor && x != y)
			})
		}
	case ir.OpEq, ir.OpNe, ir.OpLt, ir.OpLe, ir.OpGt, ir.OpGe:
		return compareIntervals(op, a, b)
	}
	return Anything(d)
}

// powerInterval is a power of a base that is not negative, or to a whole number, before rounding.
func powerInterval(a, b Interval) Interval {
	if n, ok := b.Value(); ok && n == math.Trunc(n) && n > 0 && n < 64 {
		out := corners(a, b, math.Pow)
		if a.contains(0) {
			out = out.Or(Exactly(0))
		}
		return out
	}
	if a.Lo < 0 || b.infinite() || b.NaN {
		return Interval{math.Inf(-1), math.Inf(1), true}
	}
	out := corners(a, b, math.Pow)
	if a.contains(1) || b.contains(0) {
		out = out.Or(Exactly(1))
	}
	if a.contains(0) && b.Lo < 0 { // of -0
		out.Lo = math.Inf(-1)
	}
	return out
}

// compareIntervals decides a comparison where the intervals do not meet.
func compareIntervals(op ir.ScalarOp, a, b Interval) Interval {
	either := Interval{0, 1, false}
	if op == ir.OpGt || op == ir.OpGe {
		a, b = b, a
		op = map[ir.ScalarOp]ir.ScalarOp{ir.OpGt: ir.OpLt, ir.OpGe: ir.OpLe}[op]
	}
	always, never := false, false
	switch op {
	case ir.OpLt:
		always, never = a.Hi < b.Lo, a.Lo >= b.Hi
	case ir.OpLe:
		always, never = a.Hi <= b.Lo, a.Lo > b.Hi
	case ir.OpEq, ir.OpNe:
		x, one := a.Value()
		y, other := b.Value()
		always, never = one && other && x == y, a.Hi < b.Lo || b.Hi < a.Lo
		if op == ir.OpNe {
			always, never = never, always
		}
	}
	nan := a.NaN || b.NaN
	switch {
	case always && (!nan || op == ir.OpNe):
		return Exactly(1)
	case never && (!nan || op != ir.OpNe):
		return Exactly(0)
	}
	return either
}

// expIsZero is where exp is 0 in a float type, however it is computed.
func expIsZero(d tensor.DType) float64 {
	if d == tensor.F64 {
		return -1000
	}
	return -128
}

func unaryInterval(op ir.ScalarOp, d tensor.DType, a Interval) Interval {
	if op == ir.OpIsNaN {
		return Interval{truth(a.none()), truth(a.NaN), false}
	}
	if a.none() {
		return Anything(d)
	}
	rising := func(f func(float64) float64) Interval { return Interval{f(a.Lo), f(a.Hi), a.NaN}.wider(d) }
	switch op {
	case ir.OpNeg:
		return Interval{-a.Hi, -a.Lo, a.NaN}.whole(d)
	case ir.OpAbs:
		if a.contains(0) {
			return Interval{0, a.largest(), a.NaN}.whole(d)
		}
		return Interval{min(math.Abs(a.Lo), math.Abs(a.Hi)), a.largest(), a.NaN}.whole(d)
	case ir.OpSqrt, ir.OpLog, ir.OpLog1p, ir.OpAcosh:
		least := map[ir.ScalarOp]float64{ir.OpSqrt: 0, ir.OpLog: 0, ir.OpLog1p: -1, ir.OpAcosh: 1}[op]
		if a.Hi >= least && d.IsFloat() {
			f := unaries[op]
			return Interval{f(max(a.Lo, least)), f(a.Hi), a.NaN || a.Lo < least}.wider(d)
		}
	case ir.OpExpm1, ir.OpSinh, ir.OpAsinh, ir.OpAtan:
		if d.IsFloat() {
			return rising(unaries[op])
		}
	case ir.OpCosh:
		if d.IsFloat() {
			return Interval{1, math.Cosh(a.largest()), a.NaN}.wider(d)
		}
	case ir.OpAsin, ir.OpAcos:
		return Interval{-math.Pi / 2, math.Pi, a.NaN || a.Lo < -1 || a.Hi > 1}.wider(d)
	case ir.OpExp:
		if d.IsFloat() {
			return rising(func(x float64) float64 {
				if x <= expIsZero(d) {
					return 0
				}
				return math.Exp(x)
			})
		}
	case ir.OpTanh, ir.OpErf:
		if d.IsFloat() {
			return rising(unaries[op])
		}
	case ir.OpSin, ir.OpCos:
		return Interval{-1 - rounding, 1 + rounding, a.NaN || a.infinite()}
	case ir.OpFloor:
		return Interval{math.Floor(a.Lo), math.Floor(a.Hi), a.NaN}
	case ir.OpCeil:
		return Interval{math.Ceil(a.Lo), math.Ceil(a.Hi), a.NaN}
	case ir.OpRound:
		return Interval{math.RoundToEven(a.Lo), math.RoundToEven(a.Hi), a.NaN}
	case ir.OpTrunc:
		return Interval{math.Trunc(a.Lo), math.Trunc(a.Hi), a.NaN}
	case ir.OpNot:
		if d == tensor.Bool {
			return Interval{1 - a.Hi, 1 - a.Lo, false}
		}
	}
	return Anything(d)
}

// castInterval is what a conversion makes of values.
func castInterval(from, to tensor.DType, a Interval) Interval {
	switch {
	case to == tensor.Bool:
		if !a.contains(0) {
			return Exactly(1)
		}
		if v, ok := a.Value(); ok && v == 0 {
			return Exactly(0)
		}
		return Interval{0, 1, false}
	case to.IsFloat():
		if v, ok := a.Value(); ok {
			if to == tensor.F32 || to == tensor.F64 {
				return exact(to, v)
			}
		}
		out := a.wider(to)
		if to == tensor.F16 || to == tensor.BF16 { // a step of theirs is larger
			out = out.widened(1.0 / 64).fit(to)
		}
		return out
	case to.IsInt():
		if a.NaN || a.none() {
			return Anything(to)
		}
		return Interval{math.Trunc(a.Lo), math.Trunc(a.Hi), false}.whole(to)
	}
	return Anything(to)
}

// intervalOf looks at all elements of a tensor.
func intervalOf(t *tensor.Tensor) Interval {
	d := t.DType()
	if d.IsComplex() || d.Bits() == 0 {
		return Anything(d)
	}
	out := Interval{math.Inf(1), math.Inf(-1), false}
	if d == tensor.F32 && t.Len() > 1<<12 { // the largest absolute value, which takes no time of its own
		if most := largestOf32(tensor.Data[float32](t)); most < math.Float32bits(float32(math.Inf(1))) {
			v := float64(math.Float32frombits(most))
			return Interval{-v, v, false}
		}
	}
	for i := range t.Len() {
		if v := t.Float(i); v == v {
			out.Lo, out.Hi = min(out.Lo, v), max(out.Hi, v)
		} else {
			out.NaN = true
		}
	}
	return out
}

// largestOf32 bounds absolute values of floats, as bits: those of NaN are larger than all others. All bits that
// some floats have together are such a bound, and found at the speed of memory; only where they could be those of
// something infinite is the largest one looked for.
func largestOf32(list []float32) (most uint32) {
	for len(list) > 0 {
		part := list[:min(len(list), 1<<10)]
		list = list[len(part):]
		var a, b, c, d uint32
		rest := part
		for ; len(rest) >= 8; rest = rest[8:] {
			p := (*[8]float32)(rest)
			a |= math.Float32bits(p[0]) | math.Float32bits(p[4])
			b |= math.Float32bits(p[1]) | math.Float32bits(p[5])
			c |= math.Float32bits(p[2]) | math.Float32bits(p[6])
			d |= math.Float32bits(p[3]) | math.Float32bits(p[7])
		}
		for _, v := range rest {
			a |= math.Float32bits(v)
		}
		all := (a | b | c | d) &^ (1 << 31)
		if all >= math.Float32bits(float32(math.Inf(1))) {
			all = 0
			for _, v := range part {
				all = max(all, math.Float32bits(v)&^(1<<31))
			}
		}
		most = max(most, all)
	}
	return most
}

// identityOf is what a reduction of nothing gives.
func identityOf(m ir.Monoid, d tensor.DType) Interval {
	all := Anything(d)
	switch m {
	case ir.Sum, ir.Or:
		return Exactly(0)
	case ir.Prod, ir.And:
		return Exactly(1)
	case ir.Max:
		return Exactly(all.Lo)
	case ir.Min:
		return Exactly(all.Hi)
	}
	return all
}
