package kernel

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Masking says where scores count nothing, whatever they are: where X is minus infinity, or so low that its exponential
// is 0 beside that of any X which is not.
//
// X is Upper and something that the score makes, whose absolute value is at most Slack. A point is masked where
// Upper is at most Masked.
type Masking struct {
	Upper *ir.Scalar // over the axes of Scores; it does not read them
	Slack Slack      // of X where it is masked
	Exact bool       // where Upper is minus infinity, X is, unless a score is infinite or NaN
	Needs []Need     // a point is masked where one of these is false
	Whole bool       // hardly anywhere else
	Open  *ir.Scalar // what X is where Upper is 0; nil: nothing that takes less
}

// Masked is what Upper is at most where a point is masked.
const Masked = -1000

// Need is a comparison that holds where a point is not masked. Elsewhere Upper is Low at most.
type Need struct {
	Cond *ir.Scalar
	Op   ir.ScalarOp // what Cond is to be with the sides as they are
	Low  float64
}

// Slack bounds what a score adds: Times the largest absolute value of a score, and Plus. Both are 0 where the score is
// not looked at.
type Slack struct{ Times, Plus float64 }

func (s Slack) plus(t Slack) Slack { return Slack{s.Times + t.Times, s.Plus + t.Plus} }

func (s Slack) or(t Slack) Slack { return Slack{max(s.Times, t.Times), max(s.Plus, t.Plus)} }

// by is what is left of it with a factor, which may be infinite: not known.
func (s Slack) by(f float64) (t Slack) {
	if s.Times > 0 {
		t.Times = s.Times * f
	}
	if s.Plus > 0 {
		t.Plus = s.Plus * f
	}
	return t
}

// Masking finds where X is masked; nil where it never is, or where nothing tells. Symbols give constants numbers: without
// them Slack is without meaning.
func (a *Attention) Masking(symbols func(string) (int64, bool)) *Masking {
	m := &masker{a: a, symbols: symbols}
	u, ok := m.upper(a.X)
	if !ok || !u.can {
		return nil
	}
	out := &Masking{Upper: u.x, Slack: u.masked, Open: u.open}
	if u.open != nil && same(u.open, a.X) {
		out.Open = nil
	}
	out.Exact = true // unless a sum is too large in one order, and not in another
	u.x.Walk(func(y *ir.Scalar) bool {
		out.Exact = out.Exact && (y.DType != tensor.F32 || y.Op == ir.OpLoad || y.Op == ir.OpLit || y.Op == ir.OpSelect || y.Op == ir.OpCast)
		return out.Exact && y.Op != ir.OpLoad && y.DType == tensor.F32
	})
	out.Needs, out.Whole = m.needs(u.x, Masked)
	return out
}

type masker struct {
	a       *Attention
	symbols func(string) (int64, bool)
}

// upper is what is known of a value: it is x, and something of the score, which is at most full. Where x is so low
// that a point is masked, it is at most masked.
type upper struct {
	x            *ir.Scalar
	open         *ir.Scalar // what the value is where x is 0; nil: not known
	full, masked Slack
	can          bool // be so low
}

func (m *masker) free(x *ir.Scalar) (free bool) {
	free = true
	x.Walk(func(y *ir.Scalar) bool {
		free = free && !m.a.isScore(y)
		return free
	})
	return free
}

// number is the value of a constant.
func (m *masker) number(x *ir.Scalar) (float64, bool) {
	if x.Op == ir.OpLit && !x.DType.IsComplex() && x.DType != tensor.String {
		switch {
		case x.DType == tensor.Bool:
			return 0, false
		case x.DType.IsInt():
			return float64(x.Lit.Int(0)), true
		}
		return x.Lit.Float(0), true
	}
	if e, ok := x.Symbolic(); ok {
		if m.symbols == nil {
			return 1, true
		}
		n, err := e.Eval(m.symbols)
		return float64(n), err == nil
	}
	var args []float64
	for _, y := range x.Args {
		v, ok := m.number(y)
		if !ok {
			return 0, false
		}
		args = append(args, v)
	}
	switch x.Op {
	case ir.OpCast:
		return args[0], x.DType.IsFloat()
	case ir.OpNeg:
		return -args[0], true
	case ir.OpSqrt:
		return math.Sqrt(args[0]), true
	case ir.OpAdd:
		return args[0] + args[1], true
	case ir.OpSub:
		return args[0] - args[1], true
	case ir.OpMul:
		return args[0] * args[1], true
	case ir.OpDiv:
		return args[0] / args[1], x.DType.IsFloat()
	}
	return 0, false
}

func (m *masker) upper(x *ir.Scalar) (upper, bool) {
	if m.a.isScore(x) {
		return upper{x: ir.Lit(tensor.F32, 0), open: x, full: Slack{Times: 1}}, true
	}
	if m.free(x) {
		v, known := m.number(x)
		return upper{x: x, open: ir.Lit(x.DType, 0), can: !known || v <= Masked}, x.DType == tensor.F32
	}
	if x.DType != tensor.F32 {
		return upper{}, false
	}
	switch x.Op {
	case ir.OpSelect:
		if !m.free(x.Args[0]) {
			return upper{}, false
		}
		a, ok := m.upper(x.Args[1])
		b, ok2 := m.upper(x.Args[2])
		if !ok || !ok2 {
			return upper{}, false
		}
		u := upper{x: a.x, full: a.full.or(b.full), masked: a.masked.or(b.masked), can: a.can || b.can}
		if !same(a.x, b.x) {
			u.x = ir.Select(x.Args[0], a.x, b.x)
		}
		switch { // what is low is not 0 with any factor of f32 either, as a tiny number may be
		case m.most(b.x) <= Masked:
			u.open = a.open
		case m.most(a.x) <= Masked:
			u.open = b.open
		case a.open != nil && b.open != nil && same(a.open, b.open):
			u.open = a.open
		case a.open != nil && b.open != nil:
			u.open = ir.Select(x.Args[0], a.open, b.open)
		}
		return u, true
	case ir.OpAdd, ir.OpSub:
		a, ok := m.upper(x.Args[0])
		b, ok2 := m.upper(x.Args[1])
		if !ok || !ok2 {
			return upper{}, false
		}
		u := upper{full: a.full.plus(b.full), can: a.can || b.can}
		if x.Op == ir.OpSub && b.x.Op == ir.OpLit {
			b.x = b.x.Const(-b.x.Lit.Float(0))
		} else if x.Op == ir.OpSub {
			b.x, u.can = ir.Unary(ir.OpNeg, b.x), true
		}
		if both := m.most(a.x) <= 0 && m.most(b.x) <= 0; (both || zero(a.x) || zero(b.x)) && a.open != nil && b.open != nil {
			switch {
			case zero(b.open):
				u.open = a.open
			case x.Op == ir.OpAdd:
				u.open = m.sum(a.open, b.open)
			default:
				u.open = a.open.Sub(b.open)
			}
		}
		u.x = m.sum(a.x, b.x)
		if u.can {
			u.masked = u.full
		}
		return u, true
	case ir.OpMul, ir.OpDiv:
		a, by := x.Args[0], x.Args[1]
		if x.Op == ir.OpMul && m.free(a) {
			a, by = by, a
		}
		f, known := m.number(by)
		u, ok := m.upper(a)
		if !ok || !m.free(by) {
			return upper{}, false
		}
		if x.Op == ir.OpDiv {
			f = 1 / f
		}
		if !known || f != f {
			f = math.Inf(1)
		}
		if u.open != nil {
			y := *x
			y.Args = []*ir.Scalar{u.open, by}
			if x.Op == ir.OpMul && by == x.Args[0] {
				y.Args = []*ir.Scalar{by, u.open}
			}
			u.open = &y
		}
		if !zero(u.x) {
			if f <= 0 || math.IsInf(f, 0) || m.symbols == nil && by.Op != ir.OpLit { // a negative factor of something low, or what may be one
				return upper{}, false
			}
			y := *x
			y.Args = []*ir.Scalar{u.x, by}
			u.x = &y
			u.can = true
		}
		f = math.Abs(f)
		u.full, u.masked = u.full.by(f), u.masked.by(f)
		if u.can {
			u.masked = u.full
		}
		return u, true
	case ir.OpTanh:
		return upper{x: x.Const(0), open: x, full: Slack{Plus: 1}}, true
	}
	return upper{}, false
}

func zero(x *ir.Scalar) bool { return x.Op == ir.OpLit && x.Lit.Float(0) == 0 }

// sum adds without zeros.
func (m *masker) sum(a, b *ir.Scalar) *ir.Scalar {
	for _, p := range [2][2]*ir.Scalar{{a, b}, {b, a}} {
		if zero(p[0]) {
			return p[1]
		}
	}
	return a.Add(b)
}

// most is what an expression is at most, as far as its literals tell.
func (m *masker) most(x *ir.Scalar) float64 {
	switch x.Op {
	case ir.OpLit:
		if v := x.Lit.Float(0); v == v {
			return v
		}
	case ir.OpSelect:
		return max(m.most(x.Args[1]), m.most(x.Args[2]))
	case ir.OpAdd:
		return m.most(x.Args[0]) + m.most(x.Args[1])
	}
	return math.Inf(1)
}

// needs finds comparisons that hold where x is more than a bound; all says that it knows of nothing else that x
// takes for that.
func (m *masker) needs(x *ir.Scalar, bound float64) (out []Need, all bool) {
	switch x.Op {
	case ir.OpLit:
		return nil, x.Lit.Float(0) > bound
	case ir.OpSelect:
		for n := range 2 {
			if low := m.most(x.Args[2-n]); low <= bound {
				holds, whole := m.conjuncts(x.Args[0], n == 1)
				for i := range holds {
					holds[i].Low = low
				}
				more, all := m.needs(x.Args[1+n], bound)
				return append(holds, more...), whole && all
			}
		}
	case ir.OpAdd:
		all = true
		for n := range 2 {
			other := m.most(x.Args[1-n])
			if math.IsInf(other, 1) {
				return nil, false
			}
			some, whole := m.needs(x.Args[n], bound-other)
			for i := range some {
				some[i].Low += other
			}
			out, all = append(out, some...), all && whole
		}
		return out, all
	}
	return nil, false
}

var opposite = map[ir.ScalarOp]ir.ScalarOp{ir.OpEq: ir.OpNe, ir.OpNe: ir.OpEq, ir.OpLt: ir.OpGe, ir.OpGe: ir.OpLt, ir.OpLe: ir.OpGt, ir.OpGt: ir.OpLe}

// conjuncts are comparisons of integers that all hold where a condition does, or does not; whole says that there is no
// more to it.
func (m *masker) conjuncts(c *ir.Scalar, not bool) (out []Need, whole bool) {
	join := ir.OpAnd
	if not {
		join = ir.OpOr
	}
	switch {
	case c.Op == join:
		a, whole := m.conjuncts(c.Args[0], not)
		b, whole2 := m.conjuncts(c.Args[1], not)
		return append(a, b...), whole && whole2
	case c.Op == ir.OpNot:
		return m.conjuncts(c.Args[0], !not)
	case c.Op.Compares() && c.Args[0].DType == tensor.I64 && !m.a.ofKeys(c):
		op := c.Op
		if not {
			op = opposite[op]
		}
		return []Need{{Cond: c, Op: op}}, true
	}
	return nil, false
}
