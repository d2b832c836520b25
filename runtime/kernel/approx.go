package kernel

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
)

// The functions of f32, as polynomials with fused multiplications. The coefficients were
// fitted by least squares, weighted again and again until the largest relative error was the
// least. The errors below are in units of the last place of the f32 nearest to the true value,
// the largest over all arguments; TestFunctions measures them.
//
//	exp 1, log 0.8, expm1 1.6, log1p 1, erf 1.1, tanh 1.9, sinh 1.6, cosh 1.5, asinh 2, acosh 2, atanh 2,
//	sin 1.1, cos 1.1, tan 2.8, asin 2.3, acos 1.5, atan 1.6; denormal arguments and results included
//
// Square roots and quotients are exact.

// functions has what can be computed, by operation.
var functions = map[ir.ScalarOp]func(b *builder, x *Value) *Value{
	ir.OpExp:  (*builder).exp,
	ir.OpLog:  (*builder).log,
	ir.OpTanh: (*builder).tanh,
	ir.OpErf:  (*builder).erf,
}

func (b *builder) fma(x, y, z *Value) *Value { return b.op(OpFma, F32, x, y, z) }

// horner is the polynomial with coefficients c, the highest first.
func (b *builder) horner(x *Value, c ...float32) *Value {
	p := b.f32(c[0])
	for _, k := range c[1:] {
		p = b.fma(p, x, b.f32(k))
	}
	return p
}

// exp cuts its argument where the result is infinite for sure. NaN goes through.
func (b *builder) exp(x *Value) *Value { return b.decay(b.op(OpLesser, F32, b.f32(89), x)) }

// decay is exp up to 89. It is not computed where it is 0 for sure: processors take some hundred cycles for what is
// too small, and masks of attention are made of that.
func (b *builder) decay(x *Value) *Value {
	some := b.op(OpNot, Mask, b.op(OpLt, Mask, x, b.f32(-104)))
	p, n := b.power(x)
	return b.op(OpScale, F32, p, n, some)
}

// power is exp as p * 2^floor(n), with n the sixteenth nearest to x/ln 2 and p = 2^(n - floor(n)) e^r for
// |r| <= ln 2 / 32: the root of two is looked up, and what is left takes three coefficients.
func (b *builder) power(x *Value) (p, n *Value) {
	r, n, m := b.rest(x, 16)
	root := b.op(OpRoot, F32, b.op(OpBits, I32, m))
	return b.fma(b.horner(r, 0.166669995, 0.500016212, 1), b.op(OpMul, F32, root, r), root), n
}

// rest is x - n ln 2, with n the nearest to x/ln 2 that is a whole number of parts of one; m has that number in its lowest bits.
func (b *builder) rest(x *Value, parts float32) (r, n, m *Value) {
	m = b.fma(x, b.f32(math.Log2E), b.f32(magic/parts))
	n = b.op(OpSub, F32, m, b.f32(magic/parts))
	const high = 0.693145751953125 // ln 2 to 16 bits: what is left of x is exact
	r = b.fma(n, b.f32(-high), x)
	return b.fma(n, b.f32(float32(high-math.Ln2)), r), n, m
}

// exponential is e^r for |r| <= ln 2 / 2.
func (b *builder) exponential(r *Value) *Value {
	return b.horner(r, 0.00138145988, 0.00836871658, 0.041668389, 0.16666522, 0.49999994, 1, 1)
}

// Roots are the powers 2^(k/16) that OpRoot looks up.
var Roots = func() (r [16]float32) {
	for k := range r {
		r[k] = float32(math.Exp2(float64(k) / 16))
	}
	return r
}()

func (b *builder) scale(p, n *Value) *Value { return b.op(OpScale, F32, p, n) }

// log is e ln 2 + log(1+f) with x = 2^e (1+f) and 1+f between the roots of 1/2 and 2.
func (b *builder) log(x *Value) *Value {
	tiny := b.op(OpLt, Mask, x, b.f32(0x1p-126))
	y := b.op(OpSelect, F32, tiny, b.op(OpMul, F32, x, b.f32(0x1p24)), x)
	y = b.logarithm(y, b.op(OpSelect, F32, tiny, b.f32(-24), b.f32(0)), nil)
	inf := float32(math.Inf(1))
	y = b.op(OpSelect, F32, b.op(OpLt, Mask, x, b.f32(inf)), y, x) // infinity, and NaN
	y = b.op(OpSelect, F32, b.op(OpEq, Mask, x, b.f32(0)), b.f32(-inf), y)
	return b.op(OpSelect, F32, b.op(OpLt, Mask, x, b.f32(0)), b.f32(float32(math.NaN())), y)
}

// logarithm is that of y, which is normal, times 2^bias, and something small beside it; nil: nothing.
func (b *builder) logarithm(y, bias, small *Value) *Value {
	bits := b.op(OpBits, I32, y)
	const root = 0x3F3504F3 // of 1/2
	e := b.opN(OpSar, I32, 23, b.op(OpSub, I32, bits, b.i32(root)))
	m := b.op(OpBits, F32, b.op(OpSub, I32, bits, b.opN(OpShl, I32, 23, e)))
	f := b.op(OpSub, F32, m, b.f32(1))
	n := b.op(OpAdd, F32, b.op(OpFloat, F32, e), bias)
	p := b.horner(f, 0.0691514835, -0.117901132, 0.118732296, -0.123843178, 0.142186224, -0.16669251, 0.20002228, -0.249999866, 0.333333105)
	z := b.op(OpMul, F32, f, f)
	const high = 0.693145751953125
	y = b.op(OpMul, F32, b.op(OpMul, F32, f, z), p)
	y = b.fma(n, b.f32(float32(math.Ln2-high)), y)
	y = b.fma(b.f32(-0.5), z, y)
	if small != nil {
		y = b.op(OpAdd, F32, y, small)
	}
	y = b.op(OpAdd, F32, f, y)
	return b.fma(n, b.f32(high), y)
}

// withSign is y with the sign of x.
func (b *builder) withSign(y, x *Value) *Value {
	sign := b.op(OpAnd, I32, b.op(OpBits, I32, x), b.i32(math.MinInt32))
	return b.op(OpBits, F32, b.op(OpOr, I32, b.op(OpAnd, I32, b.op(OpBits, I32, y), b.i32(math.MaxInt32)), sign))
}

// tanh is (E-1)/(E+1) with x's sign, E = exp(-2|x|): with -|x| = n/2 ln 2 + r and h = (exp(2r)-1)/2 both halves of
// that are 2^n h and a sum of powers of two, without cancellation. From 9.1 on it is 1. One constant for ln 2 is
// enough: where n is large the result hardly depends on it.
func (b *builder) tanh(x *Value) *Value {
	t := b.op(OpGreater, F32, b.f32(-9.1), b.op(OpBits, F32, b.op(OpOr, I32, b.op(OpBits, I32, x), b.i32(math.MinInt32)))) // -|x|
	m := b.fma(t, b.f32(2*math.Log2E), b.f32(magic))                                                                       // n in the lowest bits
	n := b.op(OpSub, F32, m, b.f32(magic))
	r := b.fma(n, b.f32(-math.Ln2/2), t)
	q := b.horner(r, 0.044424068, 0.13386433, 0.3333376, 0.66666174, 0.99999994)
	h := b.fma(q, b.op(OpMul, F32, r, r), r)
	s := b.op(OpBits, F32, b.op(OpAdd, I32, b.opN(OpShl, I32, 23, b.op(OpBits, I32, m)), b.i32(127<<23))) // 2^n
	y := b.op(OpDiv, F32, b.fma(s, h, b.fma(s, b.f32(0.5), b.f32(-0.5))), b.fma(s, h, b.fma(s, b.f32(0.5), b.f32(0.5))))
	return b.withSign(y, x)
}

// erf is 1 - exp(p(|x|)) with x's sign, and a polynomial near 0. From 4 on it is 1.
func (b *builder) erf(x *Value) *Value {
	t := b.op(OpAbs, F32, x)
	s := b.op(OpMul, F32, x, x)
	p := b.horner(s, 8.34522725e-05, -0.000813743798, 0.00520063424, -0.0268592704, 0.112836942, -0.376126349, 0.128379166)
	near := b.fma(p, x, x)
	c := b.op(OpLesser, F32, b.f32(4), t)
	q := b.horner(c, 0.000164415324, -0.00275598932, 0.0211634226, -0.101881593, -0.639354289, -1.12647486, -0.000466631551)
	far := b.op(OpSub, F32, b.f32(1), b.scale(b.power(q)))
	return b.op(OpSelect, F32, b.op(OpLt, Mask, t, b.f32(0.92)), near, b.withSign(far, x))
}

// extreme is the lesser or the greater: Go's min and max, NaN where either operand is, and -0 below 0.
func (b *builder) extreme(x, y *Value, greatest bool) *Value {
	pick, ties, kind, bitsKind := OpLesser, OpOr, x.Kind, I32
	if greatest {
		pick, ties = OpGreater, OpAnd
	}
	if kind == F64 {
		bitsKind = I64
	}
	if y.Op == OpConst {
		x, y = y, x
	}
	c := float64(math.Float32frombits(uint32(x.N)))
	if kind == F64 {
		c = math.Float64frombits(uint64(x.N))
	}
	if x.Op == OpConst && c == c {
		r := b.op(pick, kind, x, y) // y where either is NaN
		if c != 0 {
			return r
		}
	}
	bits := b.op(ties, bitsKind, b.op(OpBits, bitsKind, x), b.op(OpBits, bitsKind, y))
	r := b.op(OpSelect, kind, b.op(OpEq, Mask, x, y), b.op(OpBits, kind, bits), b.op(pick, kind, x, y))
	if x.Op == OpConst && c == c {
		return r
	}
	return b.op(OpSelect, kind, b.op(OpEq, Mask, x, x), r, x)
}

// bf16 is the nearest bf16, ties to even.
func (b *builder) bf16(x *Value) *Value {
	bits := b.op(OpBits, I32, x)
	odd := b.op(OpAnd, I32, b.opN(OpShr, I32, 16, bits), b.i32(1))
	up := b.op(OpAdd, I32, bits, b.op(OpAdd, I32, odd, b.i32(0x7FFF)))
	high := b.op(OpBits, F32, b.op(OpAnd, I32, up, b.i32(-0x10000)))
	nan := b.op(OpBits, F32, b.op(OpAnd, I32, b.op(OpOr, I32, bits, b.i32(0x400000)), b.i32(-0x10000)))
	return b.op(OpSelect, F32, b.op(OpEq, Mask, x, x), high, nan)
}

// byte is x cut to an integer of 64 bits, as near to it as there is one and 0 for NaN, and of that the
// lowest eight bits. Beyond 32 bits those of an f32 are 0.
func (b *builder) byte(x *Value, signed bool) *Value {
	n, most := b.op(OpNear, I32, b.op(OpTrunc, F32, x)), float32(255)
	if signed {
		n, most = b.opN(OpSar, I32, 24, b.opN(OpShl, I32, 24, n)), -1
	} else {
		n = b.op(OpAnd, I32, n, b.i32(255))
	}
	return b.op(OpSelect, F32, b.op(OpGe, Mask, x, b.f32(0x1p63)), b.f32(most), b.op(OpFloat, F32, n))
}
