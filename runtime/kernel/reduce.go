package kernel

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
)

// reduced is the kind that a reduction's values have on their way: truth values are 0 and 1.
func reduced(st *ir.Stage) Kind {
	if k := kinds[st.Exprs[0].DType]; k != Mask {
		return k
	}
	return I32
}

// identity is what a reduction starts with.
func (l *lowering) identity(st *stage) *Value {
	kind := reduced(st.Stage)
	least := map[Kind]int64{F32: int64(math.Float32bits(float32(math.Inf(-1)))), F64: int64(math.Float64bits(math.Inf(-1))), I32: 1 << 31, I64: math.MinInt64}
	most := map[Kind]int64{F32: int64(math.Float32bits(float32(math.Inf(1)))), F64: int64(math.Float64bits(math.Inf(1))), I32: math.MaxInt32, I64: math.MaxInt64}
	one := map[Kind]int64{F32: int64(math.Float32bits(1)), F64: int64(math.Float64bits(1)), I32: 1, I64: 1}
	truth := kinds[st.Exprs[0].DType] == Mask
	switch m := st.Monoid; {
	case m == ir.Prod || m == ir.And || truth && m == ir.Min:
		return l.opN(OpConst, kind, one[kind])
	case truth || m == ir.Or || m == ir.Sum:
		return l.zero(kind)
	case m == ir.Max:
		return l.opN(OpConst, kind, least[kind])
	}
	return l.opN(OpConst, kind, most[kind])
}

// operand is what a reduction takes in at a point.
func (l *lowering) operand(st *stage) *Value {
	v := l.value(st.Exprs[0])
	if v.Kind == Mask {
		return l.op(OpSelect, I32, v, l.i32(1), l.i32(0))
	}
	return l.own(v, st.Exprs[0])
}

// result is what a reduction gives in the end.
func (l *lowering) result(st *stage, v *Value) *Value {
	if kinds[st.Exprs[0].DType] == Mask {
		return l.op(OpNe, Mask, v, l.i32(0))
	}
	return v
}

// combine is a stage's monoid.
func (l *lowering) combine(st *stage, x, y *Value) *Value {
	greatest := st.Monoid == ir.Max
	switch st.Monoid {
	case ir.Sum:
		return l.op(OpAdd, x.Kind, x, y)
	case ir.Prod:
		return l.op(OpMul, x.Kind, x, y)
	case ir.And:
		return l.op(OpAnd, x.Kind, x, y)
	case ir.Or:
		return l.op(OpOr, x.Kind, x, y)
	}
	switch {
	case (x.Kind == F32 || x.Kind == F64) && !l.AnyNaN && !l.isLoose(st):
		return l.extreme(x, y, greatest)
	case greatest:
		return l.op(OpGreater, x.Kind, x, y)
	}
	return l.op(OpLesser, x.Kind, x, y)
}
