package kernel

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// kinds are those that elements of buffers have in vectors. The small float types and bytes are f32
// of the same value there; their casts round.
var kinds = map[tensor.DType]Kind{tensor.F32: F32, tensor.F16: F32, tensor.BF16: F32, tensor.U8: F32, tensor.I8: F32, tensor.Bool: Mask,
	tensor.F64: F64, tensor.I32: I32, tensor.I64: I64}

// What operations of programs are in kernels.
var arithmetic = map[ir.ScalarOp]Op{ir.OpAdd: OpAdd, ir.OpSub: OpSub, ir.OpMul: OpMul, ir.OpDiv: OpDiv}
var unary = map[ir.ScalarOp]Op{ir.OpNeg: OpNeg, ir.OpAbs: OpAbs, ir.OpSqrt: OpSqrt, ir.OpFloor: OpFloor, ir.OpCeil: OpCeil, ir.OpRound: OpRound, ir.OpTrunc: OpTrunc}
var comparison = map[ir.ScalarOp]Op{ir.OpEq: OpEq, ir.OpNe: OpNe, ir.OpLt: OpLt, ir.OpLe: OpLe, ir.OpGt: OpGt, ir.OpGe: OpGe}
var logic = map[ir.ScalarOp]Op{ir.OpAnd: OpAnd, ir.OpOr: OpOr, ir.OpXor: OpXor, ir.OpNot: OpNot}

// integers are the operations of i32 and i64. Those of two operands that may wrap do so.
var integers = map[ir.ScalarOp]Op{ir.OpAdd: OpAdd, ir.OpSub: OpSub, ir.OpMul: OpMul, ir.OpMin: OpLesser, ir.OpMax: OpGreater,
	ir.OpAnd: OpAnd, ir.OpOr: OpOr, ir.OpXor: OpXor}

// value computes a node.
func (l *lowering) value(x *ir.Scalar) *Value {
	v := l.memo[x]
	if v == nil {
		v = l.node(x)
		l.memo[x] = v
	}
	return v
}

// node computes a node: a vector of the kind of its type, or of i32 where an i64 is known to fit that.
func (l *lowering) node(x *ir.Scalar) *Value {
	if why := refusesNode(x); why != "" {
		refuse("%s", why)
	}
	arg := func(i int) *Value { return l.value(x.Args[i]) }
	switch x.Op {
	case ir.OpLoad:
		return l.load(x)
	case ir.OpLit:
		return l.literal(x)
	case ir.OpGuard:
		return l.guarded(x)
	case ir.OpSelect:
		if x.DType == tensor.I64 {
			break
		}
		if c, a, b := arg(0), arg(1), arg(2); a.Kind != Mask {
			return l.op(OpSelect, a.Kind, c, a, b)
		} else {
			return l.op(OpOr, Mask, l.op(OpAnd, Mask, c, a), l.op(OpAnd, Mask, l.op(OpNot, Mask, c), b))
		}
	}
	kind := kinds[x.DType]
	switch {
	case x.DType == tensor.I64:
		return l.integer(x)
	case x.Op == ir.OpCast:
		return l.cast(x)
	case kind == I32 && (x.Op == ir.OpDiv || x.Op == ir.OpRem || x.Op == ir.OpFloorDiv || x.Op == ir.OpMod):
		return l.divide32(x, arg(0), arg(1))
	case kind == I32 && x.Op == ir.OpNeg:
		return l.op(OpSub, I32, l.i32(0), arg(0))
	case kind == I32:
		var b *Value
		if len(x.Args) > 1 {
			b = arg(1)
		}
		return l.arithmetic(x, arg(0), b)
	case kind == Mask:
		return l.truth(x)
	}
	switch x.Op {
	case ir.OpMin, ir.OpMax:
		return l.extreme(arg(0), arg(1), x.Op == ir.OpMax)
	case ir.OpPow:
		if squares(x) {
			return l.op(OpMul, kind, arg(0), arg(0))
		}
		return l.pow(arg(0), arg(1))
	}
	switch {
	case l.soft.below[x]:
		return l.decay(arg(0))
	case l.soft.shares[x]:
		return l.op(OpMul, F32, arg(0), l.op(OpDiv, F32, l.f32(1), arg(1)))
	}
	if op, ok := arithmetic[x.Op]; ok {
		return l.op(op, kind, arg(0), arg(1))
	}
	if op, ok := unary[x.Op]; ok {
		return l.op(op, kind, arg(0))
	}
	if fn := functions[x.Op]; fn != nil && kind == F32 {
		return fn(l.builder, arg(0))
	}
	panic(fmt.Sprintf("kernel: %s of %s", x.Op, x.DType)) // refusesNode is wrong
}

// literal is a constant.
func (l *lowering) literal(x *ir.Scalar) *Value {
	switch kinds[x.DType] {
	case F32:
		return l.f32(float32(x.Lit.Float(0)))
	case F64:
		return l.f64(x.Lit.Float(0))
	case I32:
		return l.i32(int32(x.Lit.Int(0)))
	case I64:
		return l.integer(x)
	}
	return l.truthOf(x.Lit.Bool(0))
}

// guarded computes what is asked for where a condition holds, and what elsewhere, each by itself: what is read
// in one is not there for the other.
func (l *lowering) guarded(x *ir.Scalar) *Value {
	cond := l.value(x.Args[0])
	side := func(x *ir.Scalar, cond *Value, condition *ir.Scalar, holds ...*ir.Scalar) *Value {
		memo, singles, guard, outer, held := l.memo, l.singles, l.guard, l.condition, l.holds
		defer func() { l.memo, l.singles, l.guard, l.condition, l.holds = memo, singles, guard, outer, held }()
		l.holds = slices.Concat(held, holds)
		l.memo, l.singles = maps.Clone(memo), maps.Clone(singles)
		if guard != nil {
			cond, condition = l.op(OpAnd, Mask, guard, cond), condition.And(outer)
		}
		l.guard, l.condition = cond, condition
		return l.value(x)
	}
	a, b := side(x.Args[1], cond, x.Args[0], conjuncts(x.Args[0])...), (*Value)(nil)
	if other := x.Args[2]; other.Op == ir.OpLit {
		b = l.value(other)
	} else {
		b = side(other, l.op(OpNot, Mask, cond), x.Args[0])
	}
	a, b = l.alike(a, b)
	if a.Kind == Mask {
		return l.op(OpOr, Mask, l.op(OpAnd, Mask, cond, a), l.op(OpAnd, Mask, l.op(OpNot, Mask, cond), b))
	}
	return l.op(OpSelect, a.Kind, cond, a, b)
}

// truth computes a truth value.
func (l *lowering) truth(x *ir.Scalar) *Value {
	if x.Op == ir.OpAnd {
		return l.all(x)
	}
	a := l.value(x.Args[0])
	switch x.Op {
	case ir.OpCast:
		if a.Kind == Mask {
			return a
		}
		return l.op(OpNe, Mask, a, l.zero(a.Kind))
	case ir.OpIsNaN:
		return l.op(OpNe, Mask, a, a)
	case ir.OpNot:
		return l.op(OpNot, Mask, a)
	}
	b := l.value(x.Args[1])
	if op, ok := comparison[x.Op]; ok {
		a, b = l.alike(a, b)
		return l.op(op, Mask, a, b)
	}
	switch x.Op {
	case ir.OpMin:
		return l.op(OpAnd, Mask, a, b)
	case ir.OpMax:
		return l.op(OpOr, Mask, a, b)
	}
	return l.op(logic[x.Op], Mask, a, b)
}

// arithmetic is an operation of integers of one kind.
func (l *lowering) arithmetic(x *ir.Scalar, a, b *Value) *Value {
	if b != nil {
		a, b = l.alike(a, b)
	}
	switch x.Op {
	case ir.OpAbs:
		a = l.own(a, x)
		return l.op(OpGreater, a.Kind, a, l.op(OpSub, a.Kind, l.zero(a.Kind), a))
	case ir.OpNot:
		a = l.own(a, x)
		return l.op(OpXor, a.Kind, a, l.allOnes(a.Kind))
	case ir.OpNeg:
		return l.op(OpSub, a.Kind, a, b) // 0 - x
	}
	op, ok := integers[x.Op]
	if !ok {
		panic(fmt.Sprintf("kernel: %s of %s", x.Op, x.DType))
	}
	return l.op(op, a.Kind, a, b)
}

// own is a value of the kind of its type.
func (l *lowering) own(v *Value, x *ir.Scalar) *Value {
	if x.DType == tensor.I64 {
		return l.long(v)
	}
	return v
}

// long is an i64, of an i32 if need be.
func (l *lowering) long(v *Value) *Value {
	if v.Kind != I32 {
		return v
	}
	if v.Op == OpConst {
		return l.opN(OpConst, I64, int64(int32(v.N)))
	}
	return l.op(OpWiden, I64, v)
}

// alike are two values of one kind.
func (l *lowering) alike(a, b *Value) (*Value, *Value) {
	if a.Kind == I64 || b.Kind == I64 {
		return l.long(a), l.long(b)
	}
	return a, b
}

func (l *lowering) zero(k Kind) *Value    { return l.opN(OpConst, k, 0) }
func (l *lowering) allOnes(k Kind) *Value { return l.opN(OpConst, k, ones(k)) }

func ones(k Kind) int64 {
	if k.Wide() {
		return -1
	}
	return math.MaxUint32
}

// divide32 divides integers of 32 bits as f64, which has their quotients exactly enough: by zero they give 0.
func (l *lowering) divide32(x *ir.Scalar, a, b *Value) *Value {
	f, g := l.op(OpFloat, F64, a), l.op(OpFloat, F64, b)
	q, round := l.op(OpDiv, F64, f, g), OpTrunc
	if x.Op == ir.OpFloorDiv || x.Op == ir.OpMod {
		round = OpFloor
	}
	n := l.op(OpShort, I32, l.op(OpCut, I64, l.op(round, F64, q)))
	if x.Op == ir.OpRem || x.Op == ir.OpMod {
		n = l.op(OpSub, I32, a, l.op(OpMul, I32, n, b))
	}
	return l.op(OpSelect, I32, l.op(OpEq, Mask, b, l.i32(0)), l.i32(0), n)
}

// cast converts.
func (l *lowering) cast(x *ir.Scalar) *Value {
	if e, ok := x.Args[0].Symbolic(); ok && x.Args[0].DType == tensor.I64 && (x.DType == tensor.F32 || x.DType == tensor.F64) {
		return l.size(e, kinds[x.DType])
	}
	a := l.value(x.Args[0])
	switch x.DType {
	case tensor.Bool:
		return l.truth(x)
	case tensor.F32, tensor.F64:
		return l.float(a, kinds[x.DType])
	case tensor.F16:
		return l.op(OpHalf, F32, l.float(a, F32))
	case tensor.BF16:
		return l.bf16(l.float(a, F32))
	case tensor.U8, tensor.I8:
		if a.Kind == F32 && x.Args[0].DType != tensor.U8 && x.Args[0].DType != tensor.I8 {
			return l.byte(a, x.DType == tensor.I8)
		}
		n := l.whole(a, x.Args[0], I32)
		if x.DType == tensor.I8 {
			n = l.opN(OpSar, I32, 24, l.opN(OpShl, I32, 24, n))
		} else {
			n = l.op(OpAnd, I32, n, l.i32(255))
		}
		return l.op(OpFloat, F32, n)
	}
	return l.whole(a, x.Args[0], kinds[x.DType])
}

// float is a value as f32 or f64.
func (l *lowering) float(a *Value, kind Kind) *Value {
	switch {
	case a.Kind == kind:
		return a
	case a.Kind == Mask && kind == F32:
		return l.op(OpSelect, F32, a, l.f32(1), l.f32(0))
	case a.Kind == Mask:
		return l.op(OpSelect, F64, a, l.f64(1), l.f64(0))
	case a.Kind == F32:
		return l.op(OpWiden, F64, a)
	case a.Kind == F64:
		return l.op(OpShort, F32, a)
	}
	return l.op(OpFloat, kind, a)
}

// whole is a value, of an expression, as i32 or i64.
func (l *lowering) whole(a *Value, of *ir.Scalar, kind Kind) *Value {
	bytes := of.DType == tensor.U8 || of.DType == tensor.I8
	switch {
	case a.Kind == Mask:
		one := l.i32(1)
		if kind == I64 {
			one = l.long(one)
		}
		return l.op(OpSelect, kind, a, one, l.zero(kind))
	case bytes:
		a = l.op(OpNear, I32, a)
	case a.Kind == F32 || a.Kind == F64:
		a = l.op(OpCut, I64, a)
	}
	switch {
	case a.Kind == kind:
		return a
	case kind == I64:
		return l.long(a)
	}
	return l.op(OpShort, I32, a)
}

func (l *lowering) load(x *ir.Scalar) *Value {
	if !l.inMemory(l.st, x) {
		if v := l.points[x.Buf]; v != nil {
			return v
		}
		return l.values[x.Buf]
	}
	p := l.at(x.Buf, x.Args)
	v := &Value{Op: OpLoad, Kind: kinds[x.Buf.DType], Args: []*Value{p.addr, p.ix}, Buf: p.addr.Buf, Access: p.access, N: p.n, Within: p.within}
	if p.mask != nil {
		v.Args = append(v.Args, p.mask)
	}
	return l.emit(v)
}
