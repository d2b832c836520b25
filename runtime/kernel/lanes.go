package kernel

import (
	"math"

	"github.com/pitopt/pitopt/core/tensor"
)

// lane computes one lane of an operation: bits of its kind of its operands'.
func lane(x *Value, a [3]uint64) (uint64, bool) {
	if x.Op == OpSelect {
		if a[0] != 0 {
			return a[1], true
		}
		return a[2], true
	}
	of := x.Kind
	if len(x.Args) > 0 {
		of = x.Args[0].Kind
	}
	bits32 := func(v float32, ok bool) (uint64, bool) { return uint64(math.Float32bits(v)), ok }
	bits64 := func(v float64, ok bool) (uint64, bool) { return math.Float64bits(v), ok }
	switch of {
	case F32:
		f, g, h := math.Float32frombits(uint32(a[0])), math.Float32frombits(uint32(a[1])), math.Float32frombits(uint32(a[2]))
		switch x.Op {
		case OpFma:
			return bits32(fma32(f, g, h), true)
		case OpNeg:
			return a[0] ^ 1<<31, true
		case OpAbs:
			return a[0] &^ (1 << 31), true
		case OpHalf:
			return bits32(float32(tensor.RoundTo(tensor.F16, float64(f), tensor.CastOpts{})), true)
		case OpScale:
			if len(x.Args) == 3 && a[2] == 0 {
				return 0, true
			}
			return bits32(float32(math.Ldexp(float64(f), int(math.Floor(float64(g))))), true)
		case OpBits:
			return a[0], true
		case OpNear:
			n := math.RoundToEven(float64(f))
			if !(n >= math.MinInt32 && n <= math.MaxInt32) {
				return 1 << 31, true
			}
			return uint64(uint32(int32(n))), true
		case OpWiden:
			return bits64(float64(f), true)
		case OpCut:
			return uint64(tensor.TruncateTo(tensor.I64, float64(f))), true
		}
		if t, ok := ordered(x.Op, f, g); ok {
			return t, true
		}
		if r, ok := round(x.Op, float64(f)); ok {
			return bits32(float32(r), true)
		}
		return bits32(arith(x.Op, f, g))
	case F64:
		f, g := math.Float64frombits(a[0]), math.Float64frombits(a[1])
		switch x.Op {
		case OpNeg:
			return a[0] ^ 1<<63, true
		case OpAbs:
			return a[0] &^ (1 << 63), true
		case OpBits:
			return a[0], true
		case OpShort:
			return bits32(float32(f), true)
		case OpCut:
			return uint64(tensor.TruncateTo(tensor.I64, f)), true
		}
		if t, ok := ordered(x.Op, f, g); ok {
			return t, true
		}
		if r, ok := round(x.Op, f); ok {
			return bits64(r, true)
		}
		return bits64(arith(x.Op, f, g))
	case I32:
		n, m := int32(a[0]), int32(a[1])
		switch x.Op {
		case OpBits:
			return a[0], true
		case OpFloat:
			if x.Kind == F64 {
				return bits64(float64(n), true)
			}
			return bits32(float32(n), true)
		case OpWiden:
			return uint64(int64(n)), true
		case OpRoot:
			return bits32(Roots[n&15], true)
		case OpShr:
			return uint64(uint32(n) >> x.N), true
		}
		if t, ok := compared(x.Op, n, m); ok {
			return t, true
		}
		r, ok := whole2(x.Op, n, m, x.N)
		return uint64(uint32(r)), ok
	case I64:
		n, m := int64(a[0]), int64(a[1])
		switch x.Op {
		case OpBits:
			return a[0], true
		case OpFloat:
			if x.Kind == F64 {
				return bits64(float64(n), true)
			}
			return bits32(float32(tensor.IntToFloat(tensor.F32, n)), true)
		case OpShort:
			return uint64(uint32(n)), true
		case OpShr:
			return uint64(n) >> x.N, true
		}
		if t, ok := compared(x.Op, n, m); ok {
			return t, true
		}
		r, ok := whole2(x.Op, n, m, x.N)
		return uint64(r), ok
	case Mask:
		switch x.Op {
		case OpAnd:
			return a[0] & a[1], true
		case OpOr:
			return a[0] | a[1], true
		case OpXor, OpNe:
			return a[0] ^ a[1], true
		case OpNot:
			return 1 - a[0], true
		case OpEq:
			return 1 - a[0] ^ a[1], true
		}
	}
	return 0, false
}

func truth(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}

// ordered are the comparisons.
func ordered[T float32 | float64 | int32 | int64](op Op, f, g T) (uint64, bool) {
	switch op {
	case OpEq:
		return truth(f == g), true
	case OpNe:
		return truth(f != g), true
	case OpLt:
		return truth(f < g), true
	case OpLe:
		return truth(f <= g), true
	case OpGt:
		return truth(f > g), true
	case OpGe:
		return truth(f >= g), true
	}
	return 0, false
}

func compared[T int32 | int64](op Op, n, m T) (uint64, bool) {
	if op == OpBelow {
		return truth(n >= 0 && n < m), true
	}
	return ordered(op, n, m)
}

// round are the ways to make a float whole, and the square root, which f64 has exactly enough for f32.
func round(op Op, f float64) (float64, bool) {
	switch op {
	case OpSqrt:
		return math.Sqrt(f), true
	case OpFloor:
		return math.Floor(f), true
	case OpCeil:
		return math.Ceil(f), true
	case OpRound:
		return math.RoundToEven(f), true
	case OpTrunc:
		return math.Trunc(f), true
	}
	return 0, false
}

// arith is the arithmetic of floats.
func arith[T float32 | float64](op Op, f, g T) (T, bool) {
	switch op {
	case OpAdd:
		return f + g, true
	case OpSub:
		return f - g, true
	case OpMul:
		return f * g, true
	case OpDiv:
		return f / g, true
	case OpLesser:
		if f < g {
			return f, true
		}
		return g, true
	case OpGreater:
		if f > g {
			return f, true
		}
		return g, true
	}
	return 0, false
}

// whole2 is the arithmetic of integers.
func whole2[T int32 | int64](op Op, n, m T, by int64) (T, bool) {
	switch op {
	case OpAdd:
		return n + m, true
	case OpSub:
		return n - m, true
	case OpMul:
		return n * m, true
	case OpAnd:
		return n & m, true
	case OpOr:
		return n | m, true
	case OpXor:
		return n ^ m, true
	case OpLesser:
		return min(n, m), true
	case OpGreater:
		return max(n, m), true
	case OpShl:
		return n << by, true
	case OpSar:
		return n >> by, true
	}
	return 0, false
}
