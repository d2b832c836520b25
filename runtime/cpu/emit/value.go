package emit

import (
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// The instructions of plain operations of two operands.
var floats = map[kernel.Op]*x86.Op{
	kernel.OpAdd: x86.VADDPS, kernel.OpSub: x86.VSUBPS, kernel.OpMul: x86.VMULPS, kernel.OpDiv: x86.VDIVPS,
	kernel.OpLesser: x86.VMINPS, kernel.OpGreater: x86.VMAXPS,
}
var integers = map[kernel.Op]*x86.Op{kernel.OpAdd: x86.VPADDD, kernel.OpSub: x86.VPSUBD, kernel.OpMul: x86.VPMULLD}
var bitwise = map[kernel.Op][2]*x86.Op{ // AVX2, AVX-512
	kernel.OpAnd: {x86.VPAND, x86.VPANDD}, kernel.OpOr: {x86.VPOR, x86.VPORD}, kernel.OpXor: {x86.VPXOR, x86.VPXORD},
}
var shifts = map[kernel.Op]*x86.Op{kernel.OpShl: x86.VPSLLD, kernel.OpShr: x86.VPSRLD, kernel.OpSar: x86.VPSRAD}
var maskwise = map[kernel.Op]*x86.Op{kernel.OpAnd: x86.KANDW, kernel.OpOr: x86.KORW, kernel.OpXor: x86.KXORW, kernel.OpNe: x86.KXORW, kernel.OpEq: x86.KXNORW}

// The predicates of comparisons: of floats ordered and quiet, but for "not equal", which
// holds of NaN; of integers AVX-512's.
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
		if n := v.Args[1]; n.Op == kernel.OpConst {
			e.Emit(x86.LEA, r, x86.At(base, int(n.N)*v.Buf.DType.Bits()/8))
		} else {
			e.Emit(x86.LEA, r, x86.AtIndex(base, e.reg(n), v.Buf.DType.Bits()/8, 0))
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
	case kernel.OpHalf:
		return e.half(v)
	case kernel.OpBits:
		return e.reg(v.Args[0])
	}
	r := e.New(e.kind)
	arg := v.Args[0]
	if op := shifts[v.Op]; op != nil {
		e.Emit(op, r, e.reg(arg), x86.Imm(v.N))
		return r
	}
	if op, ok := bitwise[v.Op]; ok {
		if e.v4 {
			e.Emit(op[1], r, e.reg(arg), e.operand(v.Args[1]))
		} else {
			e.Emit(op[0], r, e.reg(arg), e.reg(v.Args[1]))
		}
		return r
	}
	if v.Kind == kernel.I32 {
		if op := integers[v.Op]; op != nil {
			e.Emit(op, r, e.reg(arg), e.operand(v.Args[1]))
			return r
		}
		if v.Op == kernel.OpNear {
			if e.unconverted(v) {
				return x86.NoReg
			}
			e.Emit(x86.VCVTPS2DQ, r, e.reg(arg))
			return r
		}
		panic(unsupported(v.Op.String() + " of i32"))
	}
	if op := floats[v.Op]; op != nil {
		e.Emit(op, r, e.reg(arg), e.operand(v.Args[1]))
		return r
	}
	if n, ok := rounding[v.Op]; ok {
		if e.v4 {
			e.Emit(x86.VRNDSCALEPS, r, e.reg(arg), n)
		} else {
			e.Emit(x86.VROUNDPS, r, e.reg(arg), n)
		}
		return r
	}
	switch v.Op {
	case kernel.OpSqrt:
		e.Emit(x86.VSQRTPS, r, e.reg(arg))
	case kernel.OpFloat:
		e.Emit(x86.VCVTDQ2PS, r, e.reg(arg))
	case kernel.OpNeg:
		e.Emit(x86.VXORPS, r, e.reg(arg), e.bits(1<<31))
	case kernel.OpAbs:
		e.Emit(x86.VANDPS, r, e.reg(arg), e.bits(1<<31-1))
	default:
		panic(unsupported(v.Op.String() + " of f32"))
	}
	return r
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

func (e *emitter) integer(v *kernel.Value) x86.Reg {
	r := e.New(x86.GP64)
	e.Emit(x86.MOV, r, e.reg(v.Args[0]))
	op := x86.ADD
	if v.Op == kernel.OpMul {
		op = x86.IMUL
	}
	switch n := v.Args[1]; {
	case n.Op == kernel.OpConst && n.N == int64(int32(n.N)) && op == x86.ADD:
		e.Emit(op, r, x86.Imm(n.N))
	case n.Op == kernel.OpSize:
		e.Emit(op, r, e.sizeArg(n.N))
	default:
		e.Emit(op, r, e.reg(n))
	}
	return r
}

// mask makes truth values: a mask register in AVX-512, lanes of ones or zeros in AVX2.
func (e *emitter) mask(v *kernel.Value) x86.Reg {
	of := v.Args[0].Kind
	if e.v4 {
		r := e.New(x86.Mask)
		switch {
		case v.Op == kernel.OpNot:
			e.Emit(x86.KNOTW, r, e.reg(v.Args[0]))
		case of == kernel.Mask:
			e.Emit(maskwise[v.Op], r, e.reg(v.Args[0]), e.reg(v.Args[1]))
		case of == kernel.F32:
			e.Emit(x86.VCMPPS, r, e.reg(v.Args[0]), e.operand(v.Args[1]), predicates[v.Op])
		default:
			e.Emit(x86.VPCMPD, r, e.reg(v.Args[0]), e.operand(v.Args[1]), integerPredicates[v.Op])
		}
		return r
	}
	r := e.New(e.kind)
	ones := func() x86.Reg { return e.constMask(true) }
	switch {
	case v.Op == kernel.OpNot:
		e.Emit(x86.VPXOR, r, e.reg(v.Args[0]), ones())
	case of == kernel.F32:
		e.Emit(x86.VCMPPS, r, e.reg(v.Args[0]), e.reg(v.Args[1]), predicates[v.Op])
	case of == kernel.Mask && (v.Op == kernel.OpNe || v.Op == kernel.OpXor):
		e.Emit(x86.VPXOR, r, e.reg(v.Args[0]), e.reg(v.Args[1]))
	case of == kernel.Mask && v.Op != kernel.OpEq:
		e.Emit(bitwise[v.Op][0], r, e.reg(v.Args[0]), e.reg(v.Args[1]))
	default:
		a, b := e.reg(v.Args[0]), e.reg(v.Args[1])
		op, not := x86.VPCMPGTD, false
		switch v.Op {
		case kernel.OpEq, kernel.OpNe:
			op, not = x86.VPCMPEQD, v.Op == kernel.OpNe
		case kernel.OpLt:
			a, b = b, a
		case kernel.OpGe:
			a, b, not = b, a, true
		case kernel.OpLe:
			not = true
		}
		e.Emit(op, r, a, b)
		if not {
			n := e.New(e.kind)
			e.Emit(x86.VPXOR, n, r, ones())
			return n
		}
	}
	return r
}

// choose is a select.
func (e *emitter) choose(v *kernel.Value) x86.Reg {
	m := e.reg(v.Args[0])
	if !e.v4 {
		r := e.New(e.kind)
		e.Emit(x86.VBLENDVPS, r, e.reg(v.Args[2]), e.reg(v.Args[1]), m)
		return r
	}
	yes := e.operand(v.Args[1])
	r := e.own(v.Args[2])
	if mem, ok := yes.(x86.Mem); ok {
		mem.Bcast = false
		e.Emit(x86.VBROADCASTSS, r.K(m), mem)
	} else {
		e.Emit(x86.VMOVAPS, r.K(m), yes)
	}
	return r
}

// swap exchanges lanes that are N apart.
func (e *emitter) swap(v *kernel.Value) x86.Reg {
	r, a := e.New(e.kind), e.reg(v.Args[0])
	switch v.N {
	case 8:
		e.Emit(x86.VSHUFF32X4, r, a, a, x86.Imm(0x4E))
	case 4:
		if e.v4 {
			e.Emit(x86.VSHUFF32X4, r, a, a, x86.Imm(0xB1))
		} else {
			e.Emit(x86.VPERM2F128, r, a, a, x86.Imm(1))
		}
	case 2:
		e.Emit(x86.VPERMILPS, r, a, x86.Imm(0x4E))
	case 1:
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
// round.
func (e *emitter) scale(v *kernel.Value) x86.Reg {
	r := e.New(e.kind)
	if e.v4 {
		f := e.New(e.kind)
		if e.unconverted(v.Args[1]) {
			f = e.reg(v.Args[1].Args[0])
		} else {
			e.Emit(x86.VCVTDQ2PS, f, e.reg(v.Args[1]))
		}
		e.Emit(x86.VSCALEFPS, r, e.reg(v.Args[0]), f)
		return r
	}
	n := e.reg(v.Args[1])
	half, rest := e.New(e.kind), e.New(e.kind)
	e.Emit(x86.VPSRAD, half, n, x86.Imm(1))
	e.Emit(x86.VPSUBD, rest, n, half)
	power := func(n x86.Reg) x86.Reg {
		p, q := e.New(e.kind), e.New(e.kind)
		bias := e.New(e.kind)
		e.Emit(x86.VBROADCASTSS, bias, e.U32(127))
		e.Emit(x86.VPADDD, p, n, bias)
		e.Emit(x86.VPSLLD, q, p, x86.Imm(23))
		return q
	}
	s := e.New(e.kind)
	e.Emit(x86.VMULPS, s, e.reg(v.Args[0]), power(half))
	e.Emit(x86.VMULPS, r, s, power(rest))
	return r
}

// unconverted says whether an integer is only used as the exponent of a scaling, which AVX-512 takes as an
// f32, and is one already.
func (e *emitter) unconverted(v *kernel.Value) bool {
	return e.v4 && v.Op == kernel.OpNear && !e.converts[v] && v.Args[0].Integral()
}
