package emit

import (
	"math"

	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// The instructions of plain operations of two operands.
var floats = map[kernel.Op]*x86.Op{
	kernel.OpAdd: x86.VADDPS, kernel.OpSub: x86.VSUBPS, kernel.OpMul: x86.VMULPS, kernel.OpDiv: x86.VDIVPS,
	kernel.OpLesser: x86.VMINPS, kernel.OpGreater: x86.VMAXPS,
}
var doubles = map[kernel.Op]*x86.Op{
	kernel.OpAdd: x86.VADDPD, kernel.OpSub: x86.VSUBPD, kernel.OpMul: x86.VMULPD, kernel.OpDiv: x86.VDIVPD,
	kernel.OpLesser: x86.VMINPD, kernel.OpGreater: x86.VMAXPD,
}
var integers = map[kernel.Op]*x86.Op{
	kernel.OpAdd: x86.VPADDD, kernel.OpSub: x86.VPSUBD, kernel.OpMul: x86.VPMULLD, kernel.OpLesser: x86.VPMINSD, kernel.OpGreater: x86.VPMAXSD,
}
var longs = map[kernel.Op]*x86.Op{kernel.OpAdd: x86.VPADDQ, kernel.OpSub: x86.VPSUBQ}
var longs4 = map[kernel.Op]*x86.Op{kernel.OpMul: x86.VPMULLQ, kernel.OpLesser: x86.VPMINSQ, kernel.OpGreater: x86.VPMAXSQ} // AVX-512
var bitwise = map[kernel.Op][3]*x86.Op{                                                                                    // AVX2, AVX-512 for 32 and 64 bits
	kernel.OpAnd: {x86.VPAND, x86.VPANDD, x86.VPANDQ}, kernel.OpOr: {x86.VPOR, x86.VPORD, x86.VPORQ}, kernel.OpXor: {x86.VPXOR, x86.VPXORD, x86.VPXORQ},
}
var shifts = map[kernel.Op]*x86.Op{kernel.OpShl: x86.VPSLLD, kernel.OpShr: x86.VPSRLD, kernel.OpSar: x86.VPSRAD}
var maskwise = map[kernel.Op]*x86.Op{kernel.OpAnd: x86.KANDW, kernel.OpOr: x86.KORW, kernel.OpXor: x86.KXORW, kernel.OpNe: x86.KXORW, kernel.OpEq: x86.KXNORW}

// The predicates of comparisons: of floats ordered and quiet, but for "not equal", which
// holds of NaN; of integers AVX-512's. Another bit 2 is what holds where they do not.
var predicates = map[kernel.Op]x86.Imm{kernel.OpEq: 0, kernel.OpNe: 4, kernel.OpLt: 17, kernel.OpLe: 18, kernel.OpGt: 30, kernel.OpGe: 29}
var integerPredicates = map[kernel.Op]x86.Imm{kernel.OpEq: 0, kernel.OpNe: 4, kernel.OpLt: 1, kernel.OpLe: 2, kernel.OpGt: 6, kernel.OpGe: 5}

// The ways to round to an integer, without the inexact exception.
var rounding = map[kernel.Op]x86.Imm{kernel.OpRound: 8, kernel.OpFloor: 9, kernel.OpCeil: 10, kernel.OpTrunc: 11}

// value makes a value.
func (e *emitter) value(v *kernel.Value) x86.Reg {
	switch v.Op {
	case kernel.OpLoad:
		return e.load(v)
	case kernel.OpIndex:
		r := e.New(x86.GP64)
		base := e.reg(v.Args[0])
		size, n := v.Buf.DType.Bits()/8, v.Args[1]
		if n.Op == kernel.OpConst && n.N <= math.MaxInt32/int64(size) && n.N >= math.MinInt32/int64(size) {
			e.Emit(x86.LEA, r, x86.At(base, int(n.N)*size))
		} else {
			e.Emit(x86.LEA, r, x86.AtIndex(base, e.reg(n), size, 0))
		}
		return r
	}
	switch v.Kind {
	case kernel.Int:
		return e.integer(v)
	case kernel.Mask:
		return e.mask(v)
	}
	switch v.Op {
	case kernel.OpSelect:
		return e.choose(v)
	case kernel.OpSwap:
		return e.swap(v)
	case kernel.OpFma:
		return e.fma(v)
	case kernel.OpScale:
		return e.scale(v)
	case kernel.OpRoot:
		return e.root(v)
	case kernel.OpHalf:
		return e.half(v)
	case kernel.OpBits:
		return e.reg(v.Args[0])
	}
	if v.Op == kernel.OpQuo || v.Op == kernel.OpSplat || v.Op == kernel.OpLane {
		return e.index(v)
	}
	if fn := conversions[v.Op]; fn != nil {
		return fn(e, v)
	}
	r := e.New(e.vector(v.Kind))
	arg := v.Args[0]
	if op := shifts[v.Op]; op != nil && v.Kind == kernel.I32 {
		e.Emit(op, r, e.reg(arg), x86.Imm(v.N))
		return r
	}
	if op, ok := bitwise[v.Op]; ok {
		if e.v4 && v.Op == kernel.OpOr && e.absorbed[arg] {
			r = e.own(arg.Args[0])
			e.Emit(x86.VPTERNLOGD, r, e.reg(v.Args[1].Args[0]), e.operand(v.Args[1].Args[1]), x86.Imm(0xD8)) // of the second one where there is a bit
			return r
		}
		switch {
		case e.v4 && v.Kind.Wide():
			e.Emit(op[2], r, e.reg(arg), e.operand(v.Args[1]))
		case e.v4:
			e.Emit(op[1], r, e.reg(arg), e.operand(v.Args[1]))
		default:
			e.Emit(op[0], r, e.reg(arg), e.reg(v.Args[1]))
		}
		return r
	}
	plain := map[kernel.Kind]map[kernel.Op]*x86.Op{kernel.F32: floats, kernel.F64: doubles, kernel.I32: integers, kernel.I64: longs}[v.Kind][v.Op]
	if plain == nil && e.v4 && v.Kind == kernel.I64 {
		plain = longs4[v.Op]
	}
	if plain != nil {
		e.Emit(plain, r, e.reg(arg), e.operand(v.Args[1]))
		return r
	}
	switch v.Kind {
	case kernel.I64:
		return e.long(v)
	case kernel.I32:
		panic(unsupported(v.Op.String() + " of i32"))
	}
	wide := v.Kind.Wide()
	if n, ok := rounding[v.Op]; ok {
		op := [2][2]*x86.Op{{x86.VROUNDPS, x86.VROUNDPD}, {x86.VRNDSCALEPS, x86.VRNDSCALEPD}}[b2i(e.v4)][b2i(wide)]
		e.Emit(op, r, e.reg(arg), n)
		return r
	}
	switch {
	case v.Op == kernel.OpSqrt && wide:
		e.Emit(x86.VSQRTPD, r, e.reg(arg))
	case v.Op == kernel.OpSqrt:
		e.Emit(x86.VSQRTPS, r, e.reg(arg))
	case v.Op == kernel.OpNeg && wide:
		e.Emit(x86.VXORPD, r, e.reg(arg), e.operand(&kernel.Value{Op: kernel.OpConst, Kind: kernel.F64, N: math.MinInt64}))
	case v.Op == kernel.OpAbs && wide:
		e.Emit(x86.VANDPD, r, e.reg(arg), e.operand(&kernel.Value{Op: kernel.OpConst, Kind: kernel.F64, N: math.MaxInt64}))
	case v.Op == kernel.OpNeg:
		e.Emit(x86.VXORPS, r, e.reg(arg), e.bits(1<<31))
	case v.Op == kernel.OpAbs:
		e.Emit(x86.VANDPS, r, e.reg(arg), e.bits(1<<31-1))
	default:
		panic(unsupported(v.Op.String() + " of " + v.Kind.String()))
	}
	return r
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bits are the same bits in each lane, as the last operand.
func (e *emitter) bits(n uint32) x86.Operand {
	if e.v4 {
		return e.U32(n).B()
	}
	r := e.New(e.kind)
	e.Emit(x86.VBROADCASTSS, r, e.U32(n))
	return r
}

// choose is a select.
func (e *emitter) choose(v *kernel.Value) x86.Reg {
	m := e.reg(v.Args[0])
	if !e.v4 {
		r := e.New(e.vector(v.Kind))
		if v.Kind.Wide() {
			e.Emit(x86.VBLENDVPD, r, e.reg(v.Args[2]), e.reg(v.Args[1]), e.widen(m))
		} else {
			e.Emit(x86.VBLENDVPS, r, e.reg(v.Args[2]), e.reg(v.Args[1]), m)
		}
		return r
	}
	yes := e.operand(v.Args[1])
	r := e.own(v.Args[2])
	mem, constant := yes.(x86.Mem)
	mem.Bcast = false
	switch {
	case constant && v.Kind.Wide():
		e.Emit(x86.VBROADCASTSD, r.K(m), mem)
	case constant:
		e.Emit(x86.VBROADCASTSS, r.K(m), mem)
	default:
		e.blend(v.Kind, r, yes.(x86.Reg), m)
	}
	return r
}

// swap exchanges lanes that are N apart.
func (e *emitter) swap(v *kernel.Value) x86.Reg {
	r, a := e.New(e.vector(v.Kind)), e.reg(v.Args[0])
	bits := 32 * v.N
	if v.Kind.Wide() {
		bits *= 2
	}
	switch {
	case bits == 256:
		e.Emit(x86.VSHUFF32X4, r, a, a, x86.Imm(0x4E))
	case bits == 128 && r.Kind() == x86.ZMM:
		e.Emit(x86.VSHUFF32X4, r, a, a, x86.Imm(0xB1))
	case bits == 128:
		e.Emit(x86.VPERMPD, r, a, x86.Imm(0x4E))
	case bits == 64:
		e.Emit(x86.VPERMILPS, r, a, x86.Imm(0x4E))
	case bits == 32:
		e.Emit(x86.VPERMILPS, r, a, x86.Imm(0xB1))
	}
	return r
}

// fma takes the form that overwrites an operand that nobody needs any more.
func (e *emitter) fma(v *kernel.Value) x86.Reg {
	a, b, c := v.Args[0], v.Args[1], v.Args[2]
	free := func(x *kernel.Value) bool {
		_, ok := e.regs[x]
		return ok && e.uses[x] == 1
	}
	constant := func(x *kernel.Value) bool { _, ok := e.regs[x]; return !ok }
	if constant(a) || !free(a) && free(b) {
		a, b = b, a
	}
	switch {
	case free(c) && !free(a) || constant(b) && !constant(c):
		if constant(a) {
			a, b = b, a
		}
		r := e.own(c)
		e.Emit(x86.VFMADD231PS, r, e.reg(a), e.operand(b))
		return r
	default:
		r := e.own(a)
		e.Emit(x86.VFMADD213PS, r, e.reg(b), e.operand(c))
		return r
	}
}

// scale multiplies by a power of two: in AVX2 in two steps, of which only the second one can
// round. What a mask leaves out is not scaled: a result that is too small would take long.
func (e *emitter) scale(v *kernel.Value) x86.Reg {
	r, p, n := e.New(e.kind), e.reg(v.Args[0]), e.reg(v.Args[1])
	if e.v4 {
		var into x86.Operand = r
		if len(v.Args) == 3 {
			into = r.Z(e.reg(v.Args[2]))
		}
		e.Emit(x86.VSCALEFPS, into, p, n)
		return r
	}
	floor, exponent := e.New(e.kind), e.New(e.kind)
	e.Emit(x86.VROUNDPS, floor, n, rounding[kernel.OpFloor])
	e.Emit(x86.VCVTPS2DQ, exponent, floor)
	if len(v.Args) == 3 {
		some := e.reg(v.Args[2])
		q, m := e.New(e.kind), e.New(e.kind)
		e.Emit(x86.VPAND, q, p, some)
		e.Emit(x86.VPAND, m, exponent, some)
		p, exponent = q, m
	}
	half, rest := e.New(e.kind), e.New(e.kind)
	e.Emit(x86.VPSRAD, half, exponent, x86.Imm(1))
	e.Emit(x86.VPSUBD, rest, exponent, half)
	power := func(n x86.Reg) x86.Reg {
		p, q := e.New(e.kind), e.New(e.kind)
		bias := e.New(e.kind)
		e.Emit(x86.VBROADCASTSS, bias, e.U32(127))
		e.Emit(x86.VPADDD, p, n, bias)
		e.Emit(x86.VPSLLD, q, p, x86.Imm(23))
		return q
	}
	s := e.New(e.kind)
	e.Emit(x86.VMULPS, s, p, power(half))
	e.Emit(x86.VMULPS, r, s, power(rest))
	return r
}

// root looks up roots of two: in one register of AVX-512 or two of AVX2, whatever part of one the lanes are.
func (e *emitter) root(v *kernel.Value) x86.Reg {
	table := make([]uint32, len(kernel.Roots))
	for i, r := range kernel.Roots {
		table[i] = math.Float32bits(r)
	}
	r, n := e.New(e.kind), e.reg(v.Args[0])
	if e.v4 {
		e.Emit(x86.VPERMPS, r.As(x86.ZMM), n.As(x86.ZMM), e.U32(table...))
		return r
	}
	low, high, second := e.New(x86.YMM), e.New(x86.YMM), e.New(e.kind)
	e.Emit(x86.VPERMPS, low, n.As(x86.YMM), e.U32(table[:8]...))
	e.Emit(x86.VPERMPS, high, n.As(x86.YMM), e.U32(table[8:]...))
	e.Emit(x86.VPSLLD, second, n, x86.Imm(28)) // the sign says whether it is one of the others
	e.Emit(x86.VBLENDVPS, r, low.As(e.kind), high.As(e.kind), second)
	return r
}
