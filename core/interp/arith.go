package interp

import (
	"math"
	"math/bits"
	"math/cmplx"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

type floats interface{ float32 | float64 }

type ints interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

type complexes interface{ complex64 | complex128 }

type numbers interface{ floats | ints }

// The kernels of arithmetic. Every result is rounded to T.

func add[T numbers | complexes](out, a, b []T) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		out[i] = a[i] + b[i]
	}
}

func sub[T numbers | complexes](out, a, b []T) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		out[i] = a[i] - b[i]
	}
}

func mul[T numbers | complexes](out, a, b []T) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		out[i] = a[i] * b[i]
	}
}

func div[T floats | complexes](out, a, b []T) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		out[i] = a[i] / b[i]
	}
}

func neg[T numbers | complexes](a T) T { return -a }

// The lesser and the greater; NaN if either operand is.
func lesser[T numbers](out, a, b []T) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		out[i] = min(a[i], b[i])
	}
}

func greater[T numbers](out, a, b []T) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		out[i] = max(a[i], b[i])
	}
}

func (k floatClass[T]) node(c *compiler, x *ir.Scalar) any {
	if fn := common[T](c, x); fn != nil {
		return fn
	}
	if fn, ok := floatFunctions[x.Op]; ok {
		return map1(c, operand[T](c, x.Args[0]), func(v T) T { return T(fn(float64(v))) })
	}
	if fn, ok := floatFunctions2[x.Op]; ok {
		return zip(c, x, each(func(a, b T) T { return T(fn(float64(a), float64(b))) }))
	}
	switch x.Op {
	case ir.OpCast:
		return k.cast(c, x)
	case ir.OpAdd:
		return zip(c, x, add[T])
	case ir.OpSub:
		return zip(c, x, sub[T])
	case ir.OpMul:
		return zip(c, x, mul[T])
	case ir.OpDiv:
		return zip(c, x, div[T])
	case ir.OpMin:
		return zip(c, x, lesser[T])
	case ir.OpMax:
		return zip(c, x, greater[T])
	case ir.OpNeg:
		return map1(c, operand[T](c, x.Args[0]), neg[T])
	case ir.OpAbs:
		switch x.Args[0].DType {
		case tensor.C64:
			return map1(c, operand[complex64](c, x.Args[0]), func(z complex64) T { return T(cmplx.Abs(complex128(z))) })
		case tensor.C128:
			return map1(c, operand[complex128](c, x.Args[0]), func(z complex128) T { return T(cmplx.Abs(z)) })
		}
		return map1(c, operand[T](c, x.Args[0]), func(v T) T { return T(math.Abs(float64(v))) })
	case ir.OpReal, ir.OpImag:
		part := func(z complex128) T { return T(real(z)) }
		if x.Op == ir.OpImag {
			part = func(z complex128) T { return T(imag(z)) }
		}
		switch x.Args[0].DType {
		case tensor.C64:
			return map1(c, operand[complex64](c, x.Args[0]), func(z complex64) T { return part(complex128(z)) })
		case tensor.C128:
			return map1(c, operand[complex128](c, x.Args[0]), part)
		}
	}
	return undefined[T](c, x)
}

// undefined reports an operation that its type does not have.
func undefined[T tensor.Elem](c *compiler, x *ir.Scalar) lanes[T] {
	c.fail("%s is not defined for %s", x.Op, x.DType)
	return none[T]()
}

// Arithmetic of integers wraps around.
func (k intClass[T]) node(c *compiler, x *ir.Scalar) any {
	if x.DType == tensor.I64 { // index arithmetic goes by forms
		if f := c.formOf(x); len(f.terms) != 1 || c.atoms[f.terms[0].atom].expr != x {
			return c.formLanes(f)
		}
	}
	if fn := common[T](c, x); fn != nil {
		return fn
	}
	arg := func(i int) lanes[T] { return operand[T](c, x.Args[i]) }
	switch x.Op {
	case ir.OpCast:
		return k.cast(c, x)
	case ir.OpAdd:
		return zip(c, x, add[T])
	case ir.OpSub:
		return zip(c, x, sub[T])
	case ir.OpMul:
		return zip(c, x, mul[T])
	case ir.OpDiv:
		return zip(c, x, each(quo[T]))
	case ir.OpFloorDiv:
		return zip(c, x, each(floorQuo[T]))
	case ir.OpMod:
		return zip(c, x, each(modulo[T]))
	case ir.OpRem:
		return zip(c, x, each(rem[T]))
	case ir.OpPow:
		return zip(c, x, each(intPow[T]))
	case ir.OpMin:
		return zip(c, x, lesser[T])
	case ir.OpMax:
		return zip(c, x, greater[T])
	case ir.OpNeg:
		return map1(c, arg(0), neg[T])
	case ir.OpAbs:
		return map1(c, arg(0), magnitude[T])
	case ir.OpFloor, ir.OpCeil, ir.OpRound, ir.OpTrunc:
		return arg(0)
	case ir.OpAnd:
		return zip(c, x, and[T])
	case ir.OpOr:
		return zip(c, x, or[T])
	case ir.OpXor:
		return zip(c, x, each(func(a, b T) T { return a ^ b }))
	case ir.OpNot:
		return map1(c, arg(0), func(v T) T { return ^v })
	case ir.OpShl:
		return zip(c, x, each(func(a, b T) T { return a << uint64(b) })) // a negative distance is a large one
	case ir.OpShr:
		return zip(c, x, each(func(a, b T) T { return a >> uint64(b) }))
	}
	return undefined[T](c, x)
}

// magnitude is |v|; of the least integer, which has none, it is that integer.
func magnitude[T ints](v T) T {
	if v < 0 {
		return -v
	}
	return v
}

func and[T ints](out, a, b []T) {
	for i := range out {
		out[i] = a[i] & b[i]
	}
}

func or[T ints](out, a, b []T) {
	for i := range out {
		out[i] = a[i] | b[i]
	}
}

// The divisions of integers; by zero they give 0.

func quo[T ints](a, b T) T {
	if b == 0 {
		return 0
	}
	return a / b
}

func rem[T ints](a, b T) T {
	if b == 0 {
		return 0
	}
	return a % b
}

func floorQuo[T ints](a, b T) T {
	q := quo(a, b)
	if rem(a, b) != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func modulo[T ints](a, b T) T {
	r := rem(a, b)
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r
}

// intPow is a to the power b, wrapping; a negative power is the truncated reciprocal.
func intPow[T ints](a, b T) T {
	if b < 0 {
		switch one := T(1); {
		case a == one:
			return 1
		case a == -one && b&1 == 0:
			return 1
		case a == -one:
			return a
		}
		return 0
	}
	p := T(1)
	for n := bits.Len64(uint64(b)); n > 0; n-- {
		p *= p
		if b>>(n-1)&1 == 1 {
			p *= a
		}
	}
	return p
}

func (k complexClass[T, R]) node(c *compiler, x *ir.Scalar) any {
	if fn := common[T](c, x); fn != nil {
		return fn
	}
	if fn, ok := complexFunctions[x.Op]; ok {
		return map1(c, operand[T](c, x.Args[0]), func(v T) T { return T(fn(complex128(v))) })
	}
	switch x.Op {
	case ir.OpCast:
		return k.cast(c, x)
	case ir.OpAdd:
		return zip(c, x, add[T])
	case ir.OpSub:
		return zip(c, x, sub[T])
	case ir.OpMul:
		return zip(c, x, mul[T])
	case ir.OpDiv:
		return zip(c, x, div[T])
	case ir.OpPow:
		return zip(c, x, each(func(a, b T) T { return T(cmplx.Pow(complex128(a), complex128(b))) }))
	case ir.OpNeg:
		return map1(c, operand[T](c, x.Args[0]), neg[T])
	case ir.OpComplex:
		return zip(c, x, each(func(re, im R) T { return T(complex(float64(re), float64(im))) }))
	}
	return undefined[T](c, x)
}
