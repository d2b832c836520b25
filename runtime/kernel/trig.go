package kernel

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
)

// Functions of angles, for all f32. An angle is brought to quarter turns: y = x * 2/π is n + r with |r| <= 1/2, and of n
// only the two lowest bits count. So 2/π need be known to 2^-98 of four quarters, whatever x is: an angle of 2^31 and
// more is an integer times a power of two, and that power times 2/π counts without its multiples of four. Products with
// the parts of that number are exact as sums of two (Dekker, "A floating-point technique for extending the available
// precision", 1971; the range reduction is Payne and Hanek's of 1983, with floats).

// quarters are 2^scale * 2/π without multiples of 4, in parts; those after the first one for angles from 2^(scale+23) on.
var quarters = [...]struct {
	scale int
	parts [4]float32
}{
	{0, [4]float32{0.636619747, 2.5682553e-08, 2.93709548e-16, 6.07402663e-24}},
	{8, [4]float32{-1.02533829, 1.82227105e-08, 5.82658559e-16, 1.9703565e-23}},
	{24, [4]float32{-0.569118261, 4.92762853e-09, 1.01905257e-16, -2.3107219e-24}},
	{40, [4]float32{-1.73405206, -8.95540309e-10, 2.71704595e-17, -2.04026128e-25}},
	{56, [4]float32{1.16400385, -3.9157424e-08, 7.33666216e-16, 2.26524202e-23}},
	{72, [4]float32{0.153683782, -2.51305554e-09, 1.18928902e-17, -3.32050315e-25}},
	{88, [4]float32{-0.179852203, 6.92749103e-09, 3.58653304e-17, 2.18309466e-25}},
	{104, [4]float32{1.20650864, 5.10795743e-08, -1.42614524e-15, 1.34481268e-23}},
}

// turned is an angle in quarter turns: n of them, an i32 whose two lowest bits count, and r = high + low.
func (b *builder) turned(x *Value) (n, high, low *Value) {
	t, y := b.op(OpAbs, F32, x), b.f32(1)
	var w [4]*Value
	for i, q := range quarters {
		for j, p := range q.parts {
			if i == 0 {
				w[j] = b.f32(p)
			} else {
				w[j] = b.op(OpSelect, F32, b.op(OpGe, Mask, t, b.f32(float32(math.Ldexp(1, q.scale+23)))), b.f32(p), w[j])
			}
		}
		if i > 0 {
			y = b.op(OpSelect, F32, b.op(OpGe, Mask, t, b.f32(float32(math.Ldexp(1, q.scale+23)))), b.f32(float32(math.Ldexp(1, -q.scale))), y)
		}
	}
	y = b.op(OpMul, F32, x, y)
	times := func(w *Value) (p, e *Value) {
		p = b.op(OpMul, F32, y, w)
		return p, b.fma(y, w, b.op(OpNeg, F32, p))
	}
	rest := func(x *Value) *Value { // of a division by 4
		return b.fma(b.op(OpRound, F32, b.op(OpMul, F32, x, b.f32(0.25))), b.f32(-4), x)
	}
	p1, e1 := times(w[0])
	p2, e2 := times(w[1])
	p3, e3 := times(w[2])
	a := rest(p1)
	u, v := b.exactSum(rest(e1), rest(p2))
	k := b.op(OpRound, F32, b.op(OpAdd, F32, a, u))
	s, t1 := b.exactSum(b.op(OpSub, F32, a, k), u)
	s, t2 := b.exactSum(s, v)
	c, d := b.exactSum(e2, p3)
	s, t3 := b.exactSum(s, c)
	low = b.op(OpAdd, F32, b.op(OpAdd, F32, b.op(OpAdd, F32, t1, t2), t3), b.op(OpAdd, F32, d, b.fma(y, w[3], e3)))
	high = b.op(OpAdd, F32, s, low)
	return b.op(OpNear, I32, k), high, b.op(OpSub, F32, low, b.op(OpSub, F32, high, s))
}

// exactSum is x + y as the nearest f32 and what is missing (Knuth's).
func (b *builder) exactSum(x, y *Value) (s, rest *Value) {
	s = b.op(OpAdd, F32, x, y)
	z := b.op(OpSub, F32, s, x)
	return s, b.op(OpAdd, F32, b.op(OpSub, F32, x, b.op(OpSub, F32, s, z)), b.op(OpSub, F32, y, z))
}

// halves are sine and cosine of high + low quarter turns.
func (b *builder) halves(high, low *Value) (sin, cos *Value) {
	s := b.op(OpMul, F32, high, high)
	const quarter = math.Pi / 2
	q := b.horner(s, -0.00460515777, 0.0796815380, -0.645963669)
	rest := b.fma(high, b.f32(float32(quarter-float64(float32(quarter)))), b.op(OpMul, F32, low, b.f32(quarter)))
	sin = b.fma(high, b.f32(quarter), b.fma(b.op(OpMul, F32, high, s), q, rest))
	s = b.fma(b.op(OpAdd, F32, high, high), low, s)
	cos = b.fma(s, b.horner(s, 0.000903991400, -0.0208602753, 0.253669232, -1.23370051), b.f32(1))
	return sin, cos
}

// quadrant is one of two values by the lowest bit of n, with the sign that bit 1 says.
func (b *builder) quadrant(n, even, odd *Value) *Value {
	bit := b.op(OpAnd, I32, n, b.i32(1))
	v := b.op(OpSelect, F32, b.op(OpEq, Mask, bit, b.i32(0)), even, odd)
	sign := b.opN(OpShl, I32, 30, b.op(OpAnd, I32, n, b.i32(2)))
	return b.op(OpBits, F32, b.op(OpXor, I32, b.op(OpBits, I32, v), sign))
}

// sin is x where that is nearest, which products with parts of 2/π would not keep of the smallest numbers.
func (b *builder) sin(x *Value) *Value {
	n, high, low := b.turned(x)
	s, c := b.halves(high, low)
	return b.small(x, b.quadrant(n, s, c))
}

func (b *builder) cos(x *Value) *Value {
	n, high, low := b.turned(x)
	s, c := b.halves(high, low)
	return b.quadrant(b.op(OpAdd, I32, n, b.i32(1)), s, c)
}

// tan is sine by cosine, or minus cosine by sine.
func (b *builder) tan(x *Value) *Value {
	n, high, low := b.turned(x)
	s, c := b.halves(high, low)
	even := b.op(OpEq, Mask, b.op(OpAnd, I32, n, b.i32(1)), b.i32(0))
	above := b.op(OpSelect, F32, even, s, b.op(OpNeg, F32, c))
	return b.small(x, b.op(OpDiv, F32, above, b.op(OpSelect, F32, even, c, s)))
}

// small is x where that is below 2^-12, else y.
func (b *builder) small(x, y *Value) *Value {
	return b.op(OpSelect, F32, b.op(OpLt, Mask, b.op(OpAbs, F32, x), b.f32(0x1p-12)), x, y)
}

// half and lower are π/2 in two parts.
const half = float32(math.Pi / 2)
const lower = float32(math.Pi/2 - float64(half))

// fromHalf is π/2 - x.
func (b *builder) fromHalf(x *Value) *Value {
	return b.op(OpSub, F32, b.f32(half), b.op(OpSub, F32, x, b.f32(lower)))
}

// odd is z + z*s*p(s) with s about z².
func (b *builder) odd(z, s *Value, c ...float32) *Value {
	return b.fma(b.op(OpMul, F32, z, s), b.horner(s, c...), z)
}

// atan beyond 1 is π/2 less that of 1/x.
func (b *builder) atan(x *Value) *Value {
	t := b.op(OpAbs, F32, x)
	far := b.op(OpGt, Mask, t, b.f32(1))
	z := b.op(OpSelect, F32, far, b.op(OpDiv, F32, b.f32(1), t), t)
	a := b.odd(z, b.op(OpMul, F32, z, z), -0.00179361552, 0.0109145800, -0.0311778001, 0.0579575485, -0.0840344802, 0.109521851, -0.142642409, 0.199985489, -0.333332986)
	return b.withSign(b.op(OpSelect, F32, far, b.fromHalf(a), a), x)
}

// arc is asin of |x| up to 1/2, and beyond of the root of (1-|x|)/2, which is half of what is missing to π/2.
func (b *builder) arc(x *Value) (a, far *Value) {
	t := b.op(OpAbs, F32, x)
	far = b.op(OpGt, Mask, t, b.f32(0.5))
	s := b.op(OpSelect, F32, far, b.op(OpMul, F32, b.op(OpSub, F32, b.f32(1), t), b.f32(0.5)), b.op(OpMul, F32, t, t))
	z := b.op(OpSelect, F32, far, b.op(OpSqrt, F32, s), t)
	return b.odd(z, s, 0.0421675257, 0.0241788458, 0.0454705022, 0.0749529675, 0.166667521), far
}

func (b *builder) asin(x *Value) *Value {
	a, far := b.arc(x)
	return b.withSign(b.op(OpSelect, F32, far, b.fromHalf(b.op(OpAdd, F32, a, a)), a), x)
}

func (b *builder) acos(x *Value) *Value {
	a, far := b.arc(x)
	near := b.fromHalf(b.withSign(a, x))
	two := b.op(OpAdd, F32, a, a)
	back := b.op(OpAdd, F32, b.f32(2*lower), b.op(OpSub, F32, b.f32(2*half), two))
	return b.op(OpSelect, F32, far, b.op(OpSelect, F32, b.op(OpLt, Mask, x, b.f32(0)), back, two), near)
}

func init() {
	functions[ir.OpSin], functions[ir.OpCos], functions[ir.OpTan] = (*builder).sin, (*builder).cos, (*builder).tan
	functions[ir.OpAsin], functions[ir.OpAcos], functions[ir.OpAtan] = (*builder).asin, (*builder).acos, (*builder).atan
}
