package interp

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Conversions mean what tensor.Convert does, element by element. A number comes as an
// int64 (u64 by its bits) where it is an integer or truth value, else as a float64, of
// a complex number the real part.
type number struct {
	ints   lanes[int64]
	floats lanes[float64]
}

func (intClass[T]) number(c *compiler, x *ir.Scalar) number {
	return number{ints: converted[int64](c, operand[T](c, x))}
}

func (boolClass) number(c *compiler, x *ir.Scalar) number {
	return number{ints: map1(c, operand[bool](c, x), func(v bool) int64 {
		if v {
			return 1
		}
		return 0
	})}
}

func (floatClass[T]) number(c *compiler, x *ir.Scalar) number {
	return number{floats: converted[float64](c, operand[T](c, x))}
}

func (complexClass[T, R]) number(c *compiler, x *ir.Scalar) number {
	return number{floats: map1(c, operand[T](c, x), func(v T) float64 { return real(complex128(v)) })}
}

func (stringClass) number(c *compiler, x *ir.Scalar) number {
	return number{floats: none[float64]()} // castText has taken what comes from strings
}

// converted converts lanes as Go does, which is what Convert does wherever neither type
// is a float and the other one an integer.
func converted[T, S numbers](c *compiler, v lanes[S]) lanes[T] {
	if same, ok := any(v).(lanes[T]); ok {
		return same
	}
	out := room[T](c)
	return func(f *frame, n int) []T {
		v := v(f, n)
		for i := range out[:n] {
			out[i] = T(v[i])
		}
		return out[:n]
	}
}

// numberOf compiles the operand of a cast.
func numberOf(c *compiler, x *ir.Scalar) number {
	return classOf(x.Args[0].DType).number(c, x.Args[0])
}

// floatOf compiles the operand of a cast to a float.
func floatOf(c *compiler, x *ir.Scalar) lanes[float64] {
	switch n := numberOf(c, x); {
	case n.ints == nil:
		return n.floats
	case x.Args[0].DType == tensor.U64:
		return map1(c, n.ints, func(v int64) float64 { return tensor.UintToFloat(x.DType, uint64(v)) })
	case x.Args[0].DType == tensor.I64:
		return map1(c, n.ints, func(v int64) float64 { return tensor.IntToFloat(x.DType, v) })
	default:
		return converted[float64](c, n.ints)
	}
}

func (floatClass[T]) cast(c *compiler, x *ir.Scalar) lanes[T] {
	to, v := x.DType, floatOf(c, x)
	if to == tensor.F32 || to == tensor.F64 {
		return converted[T](c, v)
	}
	return map1(c, v, func(v float64) T { return T(tensor.RoundTo(to, v, x.Cast)) })
}

func (intClass[T]) cast(c *compiler, x *ir.Scalar) lanes[T] {
	to := x.DType
	switch from := x.Args[0]; { // products of bytes are packed through this
	case to.IsSmall():
	case from.DType == tensor.U8:
		return converted[T](c, operand[uint8](c, from))
	case from.DType == tensor.I8:
		return converted[T](c, operand[int8](c, from))
	}
	n := numberOf(c, x)
	if n.ints == nil {
		n.ints = map1(c, n.floats, func(v float64) int64 { return tensor.TruncateTo(to, v) })
	}
	if !to.IsSmall() {
		return converted[T](c, n.ints)
	}
	unused := 64 - to.Bits()
	return map1(c, n.ints, func(v int64) T {
		if to.IsSigned() {
			return T(v << unused >> unused)
		}
		return T(uint64(v) << unused >> unused)
	})
}

func (boolClass) cast(c *compiler, x *ir.Scalar) lanes[bool] {
	switch v := x.Args[0]; v.DType {
	case tensor.C64:
		return map1(c, operand[complex64](c, v), func(z complex64) bool { return z != 0 })
	case tensor.C128:
		return map1(c, operand[complex128](c, v), func(z complex128) bool { return z != 0 })
	}
	n := numberOf(c, x)
	if n.ints != nil {
		return map1(c, n.ints, func(v int64) bool { return v != 0 })
	}
	return map1(c, n.floats, func(v float64) bool { return v != 0 })
}

func (complexClass[T, R]) cast(c *compiler, x *ir.Scalar) lanes[T] {
	switch v := x.Args[0]; v.DType {
	case tensor.C64:
		return map1(c, operand[complex64](c, v), func(z complex64) T { return T(z) })
	case tensor.C128:
		return map1(c, operand[complex128](c, v), func(z complex128) T { return T(z) })
	}
	return map1(c, floatOf(c, x), func(v float64) T { return T(complex(v, 0)) })
}

// castText converts from or to strings, a block at a time.
func castText[T tensor.Elem](c *compiler, x *ir.Scalar) lanes[T] {
	from, spill := x.Args[0].DType, classOf(x.Args[0].DType).spill(c, x.Args[0])
	out := room[T](c)
	return func(f *frame, n int) []T {
		t := tensor.New(from, int64(n))
		spill(f, t)
		r, err := tensor.Convert(t, x.DType, x.Cast)
		if err != nil {
			f.fail(c.errorf("%v", err))
			clear(out)
			return out[:n]
		}
		v := cellsOf[T](r)
		for i := range out[:n] {
			out[i] = v.get(int64(i))
		}
		return out[:n]
	}
}

// spill writes lanes to a tensor that holds just them.
func (e elems[T]) spill(c *compiler, x *ir.Scalar) func(f *frame, t *tensor.Tensor) {
	v := operand[T](c, x)
	return func(f *frame, t *tensor.Tensor) {
		to := cellsOf[T](t)
		to.put(0, 1, v(f, int(t.Len())))
	}
}
