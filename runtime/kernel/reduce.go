package kernel

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
)

// A reduction has on its way one value, or where it finds a position three: the extreme, the number of its element in
// order, and what counts as its position. They begin with what is less than anything and the first element, so that there
// is a position where nothing is greater than that.

// finds says whether a stage finds the position of an extreme.
func finds(st *ir.Stage) bool { return st.Monoid == ir.ArgMax || st.Monoid == ir.ArgMin }

// width is how many values a reduction has on its way.
func width(st *stage) int {
	if finds(st.Stage) {
		return 3
	}
	return 1
}

// reduced is the kind that a reduction's values have on their way: truth values are 0 and 1.
func reduced(st *ir.Stage) Kind {
	if k := kinds[st.Exprs[0].DType]; k != Mask {
		return k
	}
	return I32
}

// identity is what a reduction starts with, at its first positions.
func (l *lowering) identity(st *stage) []*Value {
	kind := reduced(st.Stage)
	least := map[Kind]int64{F32: int64(math.Float32bits(float32(math.Inf(-1)))), F64: int64(math.Float64bits(math.Inf(-1))), I32: 1 << 31, I64: math.MinInt64}
	most := map[Kind]int64{F32: int64(math.Float32bits(float32(math.Inf(1)))), F64: int64(math.Float64bits(math.Inf(1))), I32: math.MaxInt32, I64: math.MaxInt64}
	one := map[Kind]int64{F32: int64(math.Float32bits(1)), F64: int64(math.Float64bits(1)), I32: 1, I64: 1}
	truth := kinds[st.Exprs[0].DType] == Mask
	switch m := st.Monoid; {
	case finds(st.Stage):
		v := l.opN(OpConst, kind, least[kind])
		if m == ir.ArgMin {
			v = l.opN(OpConst, kind, most[kind])
		}
		return append([]*Value{v}, l.found(st)...)
	case m == ir.Prod || m == ir.And || truth && m == ir.Min:
		return []*Value{l.opN(OpConst, kind, one[kind])}
	case truth || m == ir.Or || m == ir.Sum:
		return []*Value{l.zero(kind)}
	case m == ir.Max:
		return []*Value{l.opN(OpConst, kind, least[kind])}
	}
	return []*Value{l.opN(OpConst, kind, most[kind])}
}

// found is which element this is, and its position.
func (l *lowering) found(st *stage) []*Value {
	n := l.i32(0) // across lanes the first of equals is the one that is there
	if st.along {
		n = l.own32(l.value(st.red[0].Ix()))
	}
	return []*Value{n, l.own(l.value(st.Exprs[1]), st.Exprs[1])}
}

// own32 is an integer as an i32, which it fits.
func (l *lowering) own32(v *Value) *Value {
	if v.Kind == I64 {
		return l.op(OpShort, I32, v)
	}
	return v
}

// operand is what a reduction takes in at a point.
func (l *lowering) operand(st *stage) []*Value {
	v := l.value(st.Exprs[0])
	if v.Kind == Mask {
		return []*Value{l.op(OpSelect, I32, v, l.i32(1), l.i32(0))}
	}
	v = l.own(v, st.Exprs[0])
	if finds(st.Stage) {
		return append([]*Value{v}, l.found(st)...)
	}
	return []*Value{v}
}

// result is what a reduction gives in the end, by result of its stage.
func (l *lowering) result(st *stage, v []*Value) []*Value {
	switch {
	case finds(st.Stage):
		return []*Value{v[0], v[2]}
	case kinds[st.Exprs[0].DType] == Mask:
		return []*Value{l.op(OpNe, Mask, v[0], l.i32(0))}
	}
	return v
}

// combine is a stage's monoid, y being behind x.
func (l *lowering) combine(st *stage, x, y []*Value) []*Value {
	if finds(st.Stage) {
		return l.choose(l.beyond(st, x[0], y[0]), x, y)
	}
	return []*Value{l.plain(st, x[0], y[0])}
}

// merge is a stage's monoid, of elements that need not be in order.
func (l *lowering) merge(st *stage, x, y []*Value) []*Value {
	if !finds(st.Stage) {
		return l.combine(st, x, y)
	}
	equal := l.op(OpEq, Mask, x[0], y[0])
	if k := x[0].Kind; k == F32 || k == F64 {
		equal = l.op(OpOr, Mask, equal, l.op(OpAnd, Mask, l.op(OpNe, Mask, x[0], x[0]), l.op(OpNe, Mask, y[0], y[0])))
	}
	first := l.op(OpAnd, Mask, equal, l.op(OpLt, Mask, y[1], x[1]))
	return l.choose(l.op(OpOr, Mask, l.beyond(st, x[0], y[0]), first), x, y)
}

// beyond says where y is more of an extreme than x. Nothing is more than NaN.
func (l *lowering) beyond(st *stage, x, y *Value) *Value {
	more, most := OpGt, OpLe
	if st.Monoid == ir.ArgMin {
		more, most = OpLt, OpGe
	}
	if x.Kind == F32 || x.Kind == F64 {
		return l.op(OpAnd, Mask, l.op(OpNot, Mask, l.op(most, Mask, y, x)), l.op(OpEq, Mask, x, x))
	}
	return l.op(more, Mask, y, x)
}

func (l *lowering) choose(second *Value, x, y []*Value) (out []*Value) {
	for i := range x {
		out = append(out, l.op(OpSelect, x[i].Kind, second, y[i], x[i]))
	}
	return out
}

// plain is the monoid of one value.
func (l *lowering) plain(st *stage, x, y *Value) *Value {
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
