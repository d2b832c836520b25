package ptx

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/runtime/kernel"
)

// operand is a value as an operand: its register, or a number.
func (e *emitter) operand(v *kernel.Value) reg {
	if r, ok := e.regs[v]; ok {
		return r
	}
	switch v.Op {
	case kernel.OpConst:
		switch v.Kind {
		case kernel.F32:
			return reg(fmt.Sprintf("0f%08X", uint32(v.N)))
		case kernel.I32:
			return reg(fmt.Sprint(int32(v.N)))
		case kernel.Mask:
			p := e.new(predicate)
			e.ins("setp.ne.u32 %s, %d, 0", p, v.N)
			return p
		case kernel.FragC:
			return zeros
		}
		return reg(fmt.Sprint(v.N))
	case kernel.OpSize:
		if v.Kind == kernel.Int {
			return e.sizeArg(v.N)
		}
		r, ok := e.sizes[v.N]
		if !ok {
			r = e.new(float)
			e.sizes[v.N] = r
		}
		return r
	case kernel.OpLo, kernel.OpHi:
		return e.bound(v.Op, int(v.N))
	case kernel.OpBase:
		return e.base(v.Buf)
	}
	panic(fmt.Sprintf("ptx: %s has no register", v.Op)) // the verifier lets none through
}

// base is the address of a buffer.
func (e *emitter) base(b *kernel.Buffer) reg {
	for i, m := range e.k.Buffers {
		if m == b {
			return reg(fmt.Sprintf("%%arg%d", i))
		}
	}
	panic("ptx: a buffer is none of the kernel's")
}

// The instructions of operations. Those of floats round to nearest even.
var floats = map[kernel.Op]string{
	kernel.OpAdd: "add.rn.f32", kernel.OpSub: "sub.rn.f32", kernel.OpMul: "mul.rn.f32", kernel.OpDiv: "div.rn.f32", kernel.OpFma: "fma.rn.f32",
	kernel.OpNeg: "neg.f32", kernel.OpAbs: "abs.f32", kernel.OpSqrt: "sqrt.rn.f32",
	kernel.OpFloor: "cvt.rmi.f32.f32", kernel.OpCeil: "cvt.rpi.f32.f32", kernel.OpRound: "cvt.rni.f32.f32", kernel.OpTrunc: "cvt.rzi.f32.f32",
	kernel.OpFloat: "cvt.rn.f32.s32", kernel.OpBits: "mov.b32",
}
var words = map[kernel.Op]string{
	kernel.OpAdd: "add.s32", kernel.OpSub: "sub.s32", kernel.OpMul: "mul.lo.s32",
	kernel.OpAnd: "and.b32", kernel.OpOr: "or.b32", kernel.OpXor: "xor.b32",
	kernel.OpShl: "shl.b32", kernel.OpShr: "shr.u32", kernel.OpSar: "shr.s32", kernel.OpBits: "mov.b32",
}
var integers = map[kernel.Op]string{kernel.OpAdd: "add.s64", kernel.OpMul: "mul.lo.s64"}
var truths = map[kernel.Op]string{kernel.OpAnd: "and.pred", kernel.OpOr: "or.pred", kernel.OpXor: "xor.pred", kernel.OpNe: "xor.pred", kernel.OpNot: "not.pred"}

// The comparisons: of floats nothing is in order with NaN, which differs from everything.
var comparisons = map[kernel.Op]string{kernel.OpEq: "eq", kernel.OpNe: "ne", kernel.OpLt: "lt", kernel.OpLe: "le", kernel.OpGt: "gt", kernel.OpGe: "ge"}

// value makes a value.
func (e *emitter) value(v *kernel.Value) reg {
	switch v.Op {
	case kernel.OpMma:
		return e.mma(v)
	case kernel.OpLoad:
		return e.load(v)
	case kernel.OpIndex:
		return e.index(v)
	case kernel.OpSelect:
		return e.choose(v)
	case kernel.OpLesser, kernel.OpGreater:
		return e.extreme(v)
	case kernel.OpVector:
		r := e.new(integer)
		e.ins("cvt.u64.u32 %s, %%warp", r)
		return r
	case kernel.OpLane, kernel.OpSplat:
		r := e.new(word)
		e.ins("cvt.u32.u64 %s, %s", r, e.register(v.Args[0]))
		if v.Op == kernel.OpLane {
			e.ins("add.s32 %s, %s, %%lane", r, r)
		}
		return r
	case kernel.OpBelow:
		if v.Kind == kernel.Mask {
			r := e.new(predicate)
			e.ins("setp.lt.u32 %s, %s, %s", r, e.register(v.Args[0]), e.operand(v.Args[1])) // what is negative is large
			return r
		}
	case kernel.OpSwap:
		r := e.new(classOf(v.Kind))
		e.ins("shfl.sync.bfly.b32 %s, %s, %d, 31, -1", r, e.register(v.Args[0]), v.N)
		return r
	case kernel.OpNear:
		return e.near(v)
	case kernel.OpHalf:
		h, r := e.new(half), e.new(float)
		e.ins("cvt.rn.f16.f32 %s, %s", h, e.register(v.Args[0]))
		e.ins("cvt.f32.f16 %s, %s", r, h)
		return r
	case kernel.OpScale:
		return e.scale(v)
	}
	r := e.new(classOf(v.Kind))
	var name string
	switch v.Kind {
	case kernel.Int:
		name = integers[v.Op]
	case kernel.F32:
		name = floats[v.Op]
	case kernel.I32:
		name = words[v.Op]
	case kernel.Mask:
		return e.truth(v)
	}
	if name == "" {
		panic(unsupported(fmt.Sprintf("%s of %s", v.Op, v.Kind)))
	}
	args := []string{string(r)}
	for _, a := range v.Args {
		args = append(args, string(e.operand(a)))
	}
	switch v.Op {
	case kernel.OpShl, kernel.OpShr, kernel.OpSar:
		args = append(args, fmt.Sprint(v.N))
	}
	e.ins("%s %s", name, strings.Join(args, ", "))
	return r
}

// register is a value in a register.
func (e *emitter) register(v *kernel.Value) reg {
	r := e.operand(v)
	if strings.HasPrefix(string(r), "%") {
		return r
	}
	c := e.new(classOf(v.Kind))
	e.move(v.Kind, c, r)
	return c
}

// truth makes a truth value.
func (e *emitter) truth(v *kernel.Value) reg {
	r, of := e.new(predicate), v.Args[0].Kind
	if of == kernel.Mask {
		if v.Op == kernel.OpEq {
			t := e.new(predicate)
			e.ins("xor.pred %s, %s, %s", t, e.operand(v.Args[0]), e.operand(v.Args[1]))
			e.ins("not.pred %s, %s", r, t)
			return r
		}
		name := truths[v.Op]
		if name == "" {
			panic(unsupported(fmt.Sprintf("%s of %s", v.Op, of)))
		}
		args := []string{string(r)}
		for _, a := range v.Args {
			args = append(args, string(e.operand(a)))
		}
		e.ins("%s %s", name, strings.Join(args, ", "))
		return r
	}
	how, typ := comparisons[v.Op], ""
	switch of {
	case kernel.F32:
		typ = "f32"
		if v.Op == kernel.OpNe {
			how = "neu"
		}
	case kernel.I32:
		typ = "s32"
	case kernel.Int:
		typ = "s64"
	}
	if how == "" || typ == "" {
		panic(unsupported(fmt.Sprintf("%s of %s", v.Op, of)))
	}
	e.ins("setp.%s.%s %s, %s, %s", how, typ, r, e.register(v.Args[0]), e.operand(v.Args[1]))
	return r
}

// choose is a select.
func (e *emitter) choose(v *kernel.Value) reg {
	p, yes, no := e.operand(v.Args[0]), e.operand(v.Args[1]), e.operand(v.Args[2])
	r := e.new(classOf(v.Kind))
	switch v.Kind {
	case kernel.F32:
		e.ins("selp.f32 %s, %s, %s, %s", r, yes, no, p)
	case kernel.I32:
		e.ins("selp.b32 %s, %s, %s, %s", r, yes, no, p)
	case kernel.Mask:
		e.chooseMask(r, p, yes, no)
	default:
		panic(unsupported("a choice of " + v.Kind.String()))
	}
	return r
}

// chooseMask is p and yes, or not p and no.
func (e *emitter) chooseMask(r, p, yes, no reg) {
	a, b := e.new(predicate), e.new(predicate)
	e.ins("and.pred %s, %s, %s", a, p, yes)
	e.ins("not.pred %s, %s", b, p)
	e.ins("and.pred %s, %s, %s", b, b, no)
	e.ins("or.pred %s, %s, %s", r, a, b)
}

// extreme is the first operand where it is less or greater, else the second one: of NaN and of
// zeros the second one, where min and max of PTX have ways of their own.
func (e *emitter) extreme(v *kernel.Value) reg {
	how := "lt"
	if v.Op == kernel.OpGreater {
		how = "gt"
	}
	p, r := e.new(predicate), e.new(float)
	x, y := e.register(v.Args[0]), e.operand(v.Args[1])
	e.ins("setp.%s.f32 %s, %s, %s", how, p, x, y)
	e.ins("selp.f32 %s, %s, %s, %s", r, x, y, p)
	return r
}

// near is the nearest integer. PTX takes the largest or least one where there is none.
func (e *emitter) near(v *kernel.Value) reg {
	x := e.register(v.Args[0])
	r, low, p := e.new(word), e.new(predicate), e.new(predicate)
	e.ins("cvt.rni.s32.f32 %s, %s", r, x)
	e.ins("setp.ge.f32 %s, %s, 0fCF000000", low, x) // -2^31
	e.ins("setp.lt.and.f32 %s, %s, 0f4F000000, %s", p, x, low)
	e.ins("selp.b32 %s, %s, -2147483648, %s", r, r, p)
	return r
}

// scale multiplies by a power of two in two steps, of which only the second one can round where the
// operand is near to one, as in the functions.
func (e *emitter) scale(v *kernel.Value) reg {
	n := e.register(v.Args[1])
	first, rest := e.new(word), e.new(word)
	e.ins("shr.s32 %s, %s, 1", first, n)
	e.ins("sub.s32 %s, %s, %s", rest, n, first)
	power := func(n reg) reg {
		w, f := e.new(word), e.new(float)
		e.ins("add.s32 %s, %s, 127", w, n)
		e.ins("shl.b32 %s, %s, 23", w, w)
		e.ins("mov.b32 %s, %s", f, w)
		return f
	}
	s, r := e.new(float), e.new(float)
	e.ins("mul.rn.f32 %s, %s, %s", s, e.operand(v.Args[0]), power(first))
	e.ins("mul.rn.f32 %s, %s, %s", r, s, power(rest))
	if len(v.Args) == 3 {
		e.ins("selp.f32 %s, %s, 0f00000000, %s", r, r, e.operand(v.Args[2]))
	}
	return r
}
