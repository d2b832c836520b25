package kernel

import "math"

// pow is x^y as 2^(y log2|x|), with the logarithm in f64: y makes its error up to 150 times as large, and what is left
// of that behind the integer part counts. Off by 0.9 units in the last place at most, denormal operands and results
// included. What is special is as IEEE 754 and Go's math.Pow have it.
func (b *builder) pow(x, y *Value) *Value {
	abs := b.op(OpAbs, F32, x)
	inf := float32(math.Inf(1))
	t := b.op(OpMul, F64, b.op(OpWiden, F64, y), b.log2(abs))
	t = b.op(OpGreater, F64, b.f64(-200), b.op(OpLesser, F64, b.f64(200), t)) // beyond, it is 0 and infinity
	n := b.op(OpRound, F64, t)
	r := b.op(OpShort, F32, b.op(OpMul, F64, b.op(OpSub, F64, t, n), b.f64(math.Ln2)))
	p := b.scale(b.exponential(r), b.op(OpShort, F32, n))

	whole := b.op(OpEq, Mask, b.op(OpTrunc, F32, y), y)
	half := b.op(OpMul, F32, y, b.f32(0.5))
	even := b.op(OpEq, Mask, b.op(OpTrunc, F32, half), half)
	odd := b.op(OpAnd, Mask, whole, b.op(OpNot, Mask, even))
	p = b.op(OpSelect, F32, odd, b.withSign(p, x), p)

	nan := b.op(OpOr, Mask, b.op(OpNe, Mask, x, x), b.op(OpNe, Mask, y, y))
	negative := b.op(OpAnd, Mask, b.op(OpLt, Mask, x, b.f32(0)), b.op(OpNot, Mask, b.op(OpEq, Mask, abs, b.f32(inf))))
	nan = b.op(OpOr, Mask, nan, b.op(OpAnd, Mask, negative, b.op(OpNot, Mask, whole)))
	one := b.op(OpAnd, Mask, b.op(OpEq, Mask, abs, b.f32(1)), b.op(OpEq, Mask, b.op(OpAbs, F32, y), b.f32(inf))) // 1^±inf, (-1)^±inf
	one = b.op(OpOr, Mask, one, b.op(OpOr, Mask, b.op(OpEq, Mask, x, b.f32(1)), b.op(OpEq, Mask, y, b.f32(0))))
	p = b.op(OpSelect, F32, nan, b.f32(float32(math.NaN())), p)
	p = b.op(OpSelect, F32, b.op(OpEq, Mask, y, b.f32(1)), x, p)
	return b.op(OpSelect, F32, one, b.f32(1), p)
}

// log2 is the logarithm of an f32 that is not negative, in f64, relatively off by 2^-38: e + log2(1+f), as in logarithm,
// and that by the series of the inverse hyperbolic tangent of s = f/(2+f), |s| < 0.172.
func (b *builder) log2(x *Value) *Value {
	tiny := b.op(OpLt, Mask, x, b.f32(0x1p-126))
	bits := b.op(OpBits, I32, b.op(OpSelect, F32, tiny, b.op(OpMul, F32, x, b.f32(0x1p24)), x))
	const root = 0x3F3504F3 // of 1/2
	e := b.opN(OpSar, I32, 23, b.op(OpSub, I32, bits, b.i32(root)))
	m := b.op(OpBits, F32, b.op(OpSub, I32, bits, b.opN(OpShl, I32, 23, e)))
	e = b.op(OpSub, I32, e, b.op(OpSelect, I32, tiny, b.i32(24), b.i32(0)))
	f := b.op(OpWiden, F64, b.op(OpSub, F32, m, b.f32(1)))
	s := b.op(OpDiv, F64, f, b.op(OpAdd, F64, f, b.f64(2)))
	z := b.op(OpMul, F64, s, s)
	p := b.f64(2 / math.Ln2 / 13)
	for k := 11; k > 0; k -= 2 {
		p = b.op(OpAdd, F64, b.op(OpMul, F64, p, z), b.f64(2/math.Ln2/float64(k)))
	}
	y := b.op(OpAdd, F64, b.op(OpMul, F64, s, p), b.op(OpFloat, F64, e))
	inf := math.Inf(1)
	y = b.op(OpSelect, F64, b.op(OpEq, Mask, x, b.f32(0)), b.f64(-inf), y)
	return b.op(OpSelect, F64, b.op(OpEq, Mask, x, b.f32(float32(inf))), b.f64(inf), y)
}
