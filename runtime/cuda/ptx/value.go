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
		case kernel.F64:
			return reg(fmt.Sprintf("0d%016X", uint64(v.N)))
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
			r = e.new(classOf(v.Kind))
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

// The instructions of operations by kinds. Those of floats round to nearest even; # is f32 or f64, s32 or s64, b32 or b64.
var instructions = map[kernel.Kind]map[kernel.Op]string{
	kernel.F32: floats("f32", "b32"), kernel.F64: floats("f64", "b64"), kernel.I32: integers("32"), kernel.I64: integers("64"),
	kernel.Int: {kernel.OpAdd: "add.s64", kernel.OpMul: "mul.lo.s64"},
}

func floats(f, b string) map[kernel.Op]string {
	return map[kernel.Op]string{
		kernel.OpAdd: "add.rn." + f, kernel.OpSub: "sub.rn." + f, kernel.OpMul: "mul.rn." + f, kernel.OpDiv: "div.rn." + f, kernel.OpFma: "fma.rn." + f,
		kernel.OpNeg: "neg." + f, kernel.OpAbs: "abs." + f, kernel.OpSqrt: "sqrt.rn." + f, kernel.OpBits: "mov." + b,
		kernel.OpFloor: "cvt.rmi." + f + "." + f, kernel.OpCeil: "cvt.rpi." + f + "." + f, kernel.OpRound: "cvt.rni." + f + "." + f, kernel.OpTrunc: "cvt.rzi." + f + "." + f,
	}
}

func integers(bits string) map[kernel.Op]string {
	return map[kernel.Op]string{
		kernel.OpAdd: "add.s" + bits, kernel.OpSub: "sub.s" + bits, kernel.OpMul: "mul.lo.s" + bits, kernel.OpLesser: "min.s" + bits, kernel.OpGreater: "max.s" + bits,
		kernel.OpAnd: "and.b" + bits, kernel.OpOr: "or.b" + bits, kernel.OpXor: "xor.b" + bits, kernel.OpBits: "mov.b" + bits,
		kernel.OpShl: "shl.b" + bits, kernel.OpShr: "shr.u" + bits, kernel.OpSar: "shr.s" + bits,
	}
}

// The instructions of OpFloat, OpWiden and OpShort, by what they convert.
var conversions = map[[2]kernel.Kind]string{
	{kernel.I32, kernel.F32}: "cvt.rn.f32.s32", {kernel.I64, kernel.F32}: "cvt.rn.f32.s64", {kernel.I32, kernel.F64}: "cvt.rn.f64.s32", {kernel.I64, kernel.F64}: "cvt.rn.f64.s64",
	{kernel.F32, kernel.F64}: "cvt.f64.f32", {kernel.F64, kernel.F32}: "cvt.rn.f32.f64", {kernel.I32, kernel.I64}: "cvt.s64.s32", {kernel.I64, kernel.I32}: "cvt.u32.u64",
}

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
		if v.Kind == kernel.F32 || v.Kind == kernel.F64 {
			return e.extreme(v)
		}
	case kernel.OpVector:
		r := e.new(integer)
		e.ins("cvt.u64.u32 %s, %%warp", r)
		return r
	case kernel.OpLane, kernel.OpSplat:
		if v.Kind == kernel.I64 {
			r := e.new(integer)
			e.ins("mov.u64 %s, %s", r, e.operand(v.Args[0]))
			return r
		}
		r := e.new(word)
		e.ins("cvt.u32.u64 %s, %s", r, e.register(v.Args[0]))
		if v.Op == kernel.OpLane {
			e.ins("add.s32 %s, %s, %%lane", r, r)
		}
		return r
	case kernel.OpClamp:
		r := e.new(integer)
		e.ins("selp.b64 %s, %s, 0, %s", r, e.operand(v.Args[0]), e.test(v))
		return r
	case kernel.OpQuo:
		return e.quotient(v)
	case kernel.OpSwap:
		return e.swap(v)
	case kernel.OpNear:
		return e.near(v)
	case kernel.OpCut:
		return e.cut(v)
	case kernel.OpHalf:
		h, r := e.new(half), e.new(float)
		e.ins("cvt.rn.f16.f32 %s, %s", h, e.register(v.Args[0]))
		e.ins("cvt.f32.f16 %s, %s", r, h)
		return r
	case kernel.OpScale:
		return e.scale(v)
	case kernel.OpRoot: // each lane has one, and takes that of another one
		e.roots = true
		r := e.new(float)
		e.ins("shfl.sync.idx.b32 %s, %%root, %s, 31, -1", r, e.register(v.Args[0]))
		return r
	case kernel.OpFloat, kernel.OpWiden, kernel.OpShort:
		r := e.new(classOf(v.Kind))
		e.ins("%s %s, %s", conversions[[2]kernel.Kind{v.Args[0].Kind, v.Kind}], r, e.register(v.Args[0]))
		return r
	}
	if v.Kind == kernel.Mask {
		return e.truth(v)
	}
	if v.Kind == kernel.Int && (v.Op == kernel.OpBelow || comparisons[v.Op] != "") {
		r := e.new(integer)
		e.ins("selp.b64 %s, 1, 0, %s", r, e.test(v))
		return r
	}
	r := e.new(classOf(v.Kind))
	name := instructions[v.Kind][v.Op]
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

// quotient divides by a size, as kernel.OpQuo has it.
func (e *emitter) quotient(v *kernel.Value) reg {
	q, ok := e.quos[v.N]
	if !ok {
		q = [2]reg{e.new(word), e.new(word)}
		e.quos[v.N] = q
	}
	a, r := e.register(v.Args[0]), e.new(integer)
	if v.Kind == kernel.Int {
		w := e.new(word)
		e.ins("cvt.u32.u64 %s, %s", w, a)
		a = w
	}
	e.ins("mul.wide.u32 %s, %s, %s", r, a, q[0])
	e.ins("shr.u64 %s, %s, %s", r, r, q[1])
	if v.Kind == kernel.Int {
		return r
	}
	w := e.new(word)
	e.ins("cvt.u32.u64 %s, %s", w, r)
	return w
}

// swap gives each lane what another one has; 64 bits in two halves.
func (e *emitter) swap(v *kernel.Value) reg {
	r, x := e.new(classOf(v.Kind)), e.register(v.Args[0])
	shuffle := func(r, x reg) { e.ins("shfl.sync.bfly.b32 %s, %s, %d, 31, -1", r, x, v.N) }
	switch {
	case v.Kind.Wide():
		low, high := e.new(word), e.new(word)
		e.ins("mov.b64 {%s, %s}, %s", low, high, x)
		shuffle(low, low)
		shuffle(high, high)
		e.ins("mov.b64 %s, {%s, %s}", r, low, high)
	case v.Kind == kernel.Mask:
		w := e.new(word)
		e.ins("selp.b32 %s, 1, 0, %s", w, x)
		shuffle(w, w)
		e.ins("setp.ne.u32 %s, %s, 0", r, w)
	default:
		shuffle(r, x)
	}
	return r
}

// must notes that the call fails where a lane that there is has no truth. Every thread that finds it writes the same.
func (e *emitter) must(v *kernel.Value) {
	p := e.new(predicate)
	e.ins("not.pred %s, %s", p, e.operand(v.Args[0]))
	if e.tail != "" {
		e.ins("and.pred %s, %s, %s", p, p, e.tail)
	}
	e.ins("@%s red.global.or.b32 [%s], 1", p, e.arg("failed"))
}

// test compares single integers.
func (e *emitter) test(v *kernel.Value) reg {
	p, how := e.new(predicate), comparisons[v.Op]
	if how == "" { // from 0 up to below: what is negative is large
		how = "lt.u64"
	} else {
		how += ".s64"
	}
	e.ins("setp.%s %s, %s, %s", how, p, e.register(v.Args[0]), e.operand(v.Args[1]))
	return p
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
	how, typ := comparisons[v.Op], map[kernel.Kind]string{kernel.F32: "f32", kernel.F64: "f64", kernel.I32: "s32", kernel.I64: "s64"}[of]
	switch {
	case v.Op == kernel.OpNe && (of == kernel.F32 || of == kernel.F64):
		how = "neu"
	case v.Op == kernel.OpBelow && (of == kernel.I32 || of == kernel.I64): // what is negative is large
		how, typ = "lt", "u"+typ[1:]
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
	if v.Kind == kernel.Int {
		t := e.new(predicate)
		e.ins("setp.ne.s64 %s, %s, 0", t, e.register(v.Args[0]))
		p = t
	}
	if v.Kind == kernel.Mask {
		e.chooseMask(r, p, yes, no)
		return r
	}
	typ := map[kernel.Kind]string{kernel.F32: "f32", kernel.F64: "f64", kernel.I32: "b32", kernel.I64: "b64", kernel.Int: "b64"}[v.Kind]
	e.ins("selp.%s %s, %s, %s, %s", typ, r, yes, no, p)
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
	p, r := e.new(predicate), e.new(classOf(v.Kind))
	x, y := e.register(v.Args[0]), e.operand(v.Args[1])
	e.ins("setp.%s.%s %s, %s, %s", how, v.Kind, p, x, y)
	e.ins("selp.%s %s, %s, %s, %s", v.Kind, r, x, y, p)
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

// cut is the nearest integer towards zero. PTX has another number than 0 for NaN.
func (e *emitter) cut(v *kernel.Value) reg {
	x, r, p := e.register(v.Args[0]), e.new(integer), e.new(predicate)
	of := v.Args[0].Kind
	e.ins("cvt.rzi.s64.%s %s, %s", of, r, x)
	e.ins("setp.num.%s %s, %s, %s", of, p, x, x)
	e.ins("selp.b64 %s, %s, 0, %s", r, r, p)
	return r
}

// scale multiplies by a power of two in two steps, of which only the second one can round where the
// operand is near to one, as in the functions.
func (e *emitter) scale(v *kernel.Value) reg {
	n, first, rest := e.new(word), e.new(word), e.new(word)
	e.ins("cvt.rmi.s32.f32 %s, %s", n, e.register(v.Args[1]))
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
