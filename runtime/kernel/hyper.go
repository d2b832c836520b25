package kernel

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
)

// Exponentials less one, logarithms of one more, and what is made of them.

// expm1 is 2^n - 1 + 2^n p, with n the nearest to x/ln 2 and p = e^r - 1 for |r| <= ln 2 / 2: of half of it, as 2^128 is
// no f32.
func (b *builder) expm1(x *Value) *Value {
	t := b.op(OpGreater, F32, b.f32(-18), b.op(OpLesser, F32, b.f32(89), x))
	r, _, m := b.rest(t, 1)
	p := b.fma(b.horner(r, 0.00138825213, 0.00836652052, 0.0416672006, 0.166665435, 0.49999997), b.op(OpMul, F32, r, r), r)
	s := b.op(OpBits, F32, b.op(OpAdd, I32, b.opN(OpShl, I32, 23, b.op(OpBits, I32, m)), b.i32(126<<23))) // 2^(n-1)
	y := b.fma(s, p, b.op(OpSub, F32, s, b.f32(0.5)))
	return b.withSign(b.op(OpAdd, F32, y, y), x)
}

// log1p is the logarithm of u, the nearest to 1+x, and what that misses divided by u.
func (b *builder) log1p(x *Value) *Value {
	inf := float32(math.Inf(1))
	u := b.op(OpAdd, F32, x, b.f32(1))
	c := b.op(OpSub, F32, x, b.op(OpSub, F32, u, b.f32(1)))
	y := b.logarithm(u, b.f32(0), b.op(OpDiv, F32, c, u))
	y = b.op(OpSelect, F32, b.op(OpLt, Mask, x, b.f32(inf)), y, x) // infinity, and NaN
	y = b.op(OpSelect, F32, b.op(OpEq, Mask, x, b.f32(0)), x, y)
	y = b.op(OpSelect, F32, b.op(OpEq, Mask, x, b.f32(-1)), b.f32(-inf), y)
	return b.op(OpSelect, F32, b.op(OpLt, Mask, x, b.f32(-1)), b.f32(float32(math.NaN())), y)
}

// halfExp is exp(|x|)/2, which is finite where the hyperbolic functions are.
func (b *builder) halfExp(x *Value) *Value {
	r, n, _ := b.rest(b.op(OpLesser, F32, b.f32(90), b.op(OpAbs, F32, x)), 1)
	return b.scale(b.op(OpMul, F32, b.exponential(r), b.f32(0.5)), n)
}

func (b *builder) cosh(x *Value) *Value {
	e := b.halfExp(x)
	return b.op(OpAdd, F32, e, b.op(OpDiv, F32, b.f32(0.25), e))
}

func (b *builder) sinh(x *Value) *Value {
	e := b.halfExp(x)
	far := b.op(OpSub, F32, e, b.op(OpDiv, F32, b.f32(0.25), e))
	near := b.odd(x, b.op(OpMul, F32, x, x), 2.81695747e-06, 0.000198361580, 0.00833334960, 0.166666672)
	return b.op(OpSelect, F32, b.op(OpLt, Mask, b.op(OpAbs, F32, x), b.f32(1)), near, b.withSign(far, x))
}

// large is log1p(y), or where x is so large that its square may be too large log(2x).
func (b *builder) large(x, y *Value) *Value {
	large := b.op(OpGe, Mask, x, b.f32(0x1p27))
	y = b.log1p(b.op(OpSelect, F32, large, x, y))
	return b.op(OpAdd, F32, y, b.op(OpSelect, F32, large, b.f32(math.Ln2), b.f32(0)))
}

// asinh is log(t + sqrt(t²+1)), t = |x|, as log1p(t + t²/(1 + sqrt(t²+1))).
func (b *builder) asinh(x *Value) *Value {
	t := b.op(OpAbs, F32, x)
	s := b.op(OpMul, F32, t, t)
	root := b.op(OpSqrt, F32, b.fma(t, t, b.f32(1)))
	return b.withSign(b.large(t, b.op(OpAdd, F32, t, b.op(OpDiv, F32, s, b.op(OpAdd, F32, root, b.f32(1))))), x)
}

// acosh is log(x + sqrt(x²-1)), as log1p(t + sqrt(t²+2t)), t = x-1.
func (b *builder) acosh(x *Value) *Value {
	t := b.op(OpSub, F32, x, b.f32(1))
	root := b.op(OpSqrt, F32, b.fma(t, t, b.op(OpAdd, F32, t, t)))
	y := b.large(x, b.op(OpAdd, F32, t, root))
	return b.op(OpSelect, F32, b.op(OpLt, Mask, x, b.f32(1)), b.f32(float32(math.NaN())), y)
}

// atanh is half of log1p(2t/(1-t)), t = |x|.
func (b *builder) atanh(x *Value) *Value {
	t := b.op(OpAbs, F32, x)
	y := b.log1p(b.op(OpDiv, F32, b.op(OpAdd, F32, t, t), b.op(OpSub, F32, b.f32(1), t)))
	return b.withSign(b.op(OpMul, F32, y, b.f32(0.5)), x)
}

func init() {
	functions[ir.OpExpm1], functions[ir.OpLog1p] = (*builder).expm1, (*builder).log1p
	functions[ir.OpSinh], functions[ir.OpCosh] = (*builder).sinh, (*builder).cosh
	functions[ir.OpAsinh], functions[ir.OpAcosh], functions[ir.OpAtanh] = (*builder).asinh, (*builder).acosh, (*builder).atanh
}
