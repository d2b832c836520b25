package emit

import (
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// integer makes a single integer.
func (e *emitter) integer(v *kernel.Value) x86.Reg {
	r, a := e.New(x86.GP64), e.reg(v.Args[0])
	switch v.Op {
	case kernel.OpClamp:
		zero := e.New(x86.GP64)
		e.Emit(x86.XOR, zero.As(x86.GP32), zero.As(x86.GP32))
		e.Emit(x86.MOV, r, a)
		e.Emit(x86.CMP, r, e.reg(v.Args[1]))
		e.Emit(x86.CMOVAE, r, zero)
		return r
	case kernel.OpSelect:
		yes, no := e.reg(v.Args[1]), e.reg(v.Args[2])
		e.Emit(x86.MOV, r, no)
		e.Emit(x86.TEST, a, a)
		e.Emit(x86.CMOVNE, r, yes)
		return r
	case kernel.OpQuo:
		shift := e.New(x86.GP64)
		e.Emit(x86.MOV, r.As(x86.GP32), e.sizeArg(v.N))
		e.Emit(x86.MOV, shift.As(x86.GP32), e.sizeArg(v.N).Plus(4))
		e.Emit(x86.IMUL, r, a)
		e.Emit(x86.SHRX, r, r, shift)
		return r
	}
	if set := sets[v.Op]; set != nil {
		b := e.reg(v.Args[1])
		e.Emit(x86.XOR, r.As(x86.GP32), r.As(x86.GP32))
		e.Emit(x86.CMP, a, b)
		e.Emit(set, r.As(x86.GP8))
		return r
	}
	e.Emit(x86.MOV, r, a)
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

// sets make 1 of a comparison that holds.
var sets = map[kernel.Op]*x86.Op{kernel.OpEq: x86.SETE, kernel.OpNe: x86.SETNE, kernel.OpLt: x86.SETL, kernel.OpLe: x86.SETLE, kernel.OpGt: x86.SETG, kernel.OpGe: x86.SETGE,
	kernel.OpBelow: x86.SETB} // what is below 0 is a large number

// index makes vectors of positions.
func (e *emitter) index(v *kernel.Value) x86.Reg {
	r, a := e.New(e.vector(v.Kind)), v.Args[0]
	if v.Op == kernel.OpQuo {
		return e.quotient(v)
	}
	repeat, move, part := x86.VPBROADCASTD, x86.VMOVD, x86.GP32
	if v.Kind == kernel.I64 {
		repeat, move, part = x86.VPBROADCASTQ, x86.VMOVQ, x86.GP64
	}
	if _, ok := e.regs[a]; !ok && a.Op == kernel.OpSize {
		e.Emit(repeat, r, e.sizeArg(a.N))
	} else {
		x := e.New(x86.XMM)
		e.Emit(move, x, e.reg(a).As(part))
		e.Emit(repeat, r, x)
	}
	if v.Op == kernel.OpSplat {
		return r
	}
	l := e.New(e.kind)
	e.Emit(x86.VPADDD, l, r, e.iota())
	return l
}

// quotient divides lanes by a size: even lanes, then odd ones.
func (e *emitter) quotient(v *kernel.Value) x86.Reg {
	a := e.reg(v.Args[0])
	by, shift := e.New(e.kind), e.New(x86.XMM)
	e.Emit(x86.VPBROADCASTD, by, e.sizeArg(v.N))
	e.Emit(x86.VMOVD, shift, e.sizeArg(v.N).Plus(4))
	part := func(a x86.Reg) x86.Reg {
		p, q := e.New(e.kind), e.New(e.kind)
		e.Emit(x86.VPMULUDQ, p, a, by)
		e.Emit(x86.VPSRLQ, q, p, shift)
		return q
	}
	odd, up, r := e.New(e.kind), e.New(e.kind), e.New(e.kind)
	e.Emit(x86.VPSRLQ, odd, a, x86.Imm(32))
	e.Emit(x86.VPSLLQ, up, part(odd), x86.Imm(32))
	e.Emit(x86.VORPS, r, part(a), up)
	return r
}

// must notes that a call has failed.
func (e *emitter) must(v *kernel.Value) {
	good, bits := e.maskBits(e.reg(v.Args[0])), e.maskBits(e.tail)
	r := e.New(x86.GP64)
	e.Emit(x86.ANDN, r.As(x86.GP32), good.As(x86.GP32), bits.As(x86.GP32))
	e.Emit(x86.OR, e.arg(Words(e.k)-1), r)
}

// long makes integers of 64 bits that AVX2 has no instruction for.
func (e *emitter) long(v *kernel.Value) x86.Reg {
	a, b := e.reg(v.Args[0]), e.reg(v.Args[1])
	r := e.New(e.wide)
	switch v.Op {
	case kernel.OpMul:
		t := func(op *x86.Op, args ...x86.Operand) x86.Reg {
			r := e.New(e.wide)
			e.Emit(op, append([]x86.Operand{r}, args...)...)
			return r
		}
		cross := t(x86.VPADDQ, t(x86.VPMULUDQ, t(x86.VPSRLQ, a, x86.Imm(32)), b), t(x86.VPMULUDQ, t(x86.VPSRLQ, b, x86.Imm(32)), a))
		e.Emit(x86.VPADDQ, r, t(x86.VPMULUDQ, a, b), t(x86.VPSLLQ, cross, x86.Imm(32)))
	case kernel.OpLesser, kernel.OpGreater:
		m := e.New(e.wide)
		e.Emit(x86.VPCMPGTQ, m, a, b)
		if v.Op == kernel.OpLesser {
			a, b = b, a
		}
		e.Emit(x86.VBLENDVPD, r, b, a, m)
	default:
		panic(unsupported(v.Op.String() + " of i64"))
	}
	return r
}

// conversions between kinds.
var conversions = map[kernel.Op]func(e *emitter, v *kernel.Value) x86.Reg{
	kernel.OpFloat: (*emitter).float,
	kernel.OpWiden: (*emitter).widened,
	kernel.OpShort: (*emitter).shortened,
	kernel.OpCut:   (*emitter).cut,
	kernel.OpNear: func(e *emitter, v *kernel.Value) x86.Reg {
		r := e.New(e.kind)
		e.Emit(x86.VCVTPS2DQ, r, e.reg(v.Args[0]))
		return r
	},
}

func (e *emitter) float(v *kernel.Value) x86.Reg {
	r, a := e.New(e.vector(v.Kind)), e.reg(v.Args[0])
	wide, long := v.Kind == kernel.F64, v.Args[0].Kind == kernel.I64
	switch {
	case !long && !wide:
		e.Emit(x86.VCVTDQ2PS, r, a)
	case !long:
		e.Emit(x86.VCVTDQ2PD, r, a)
	case e.v4 && wide:
		e.Emit(x86.VCVTQQ2PD, r, a)
	case e.v4:
		e.Emit(x86.VCVTQQ2PS, r, a)
	default:
		e.Emit(x86.VMOVUPS, e.scratch(scratchElements), a)
		for i := range e.k.Lanes {
			x := e.New(x86.XMM)
			e.Emit(x86.VXORPS, x, x, x)
			n := e.New(x86.GP64)
			e.Emit(x86.MOV, n, e.scratch(scratchElements+8*i))
			if wide {
				e.Emit(x86.VCVTSI2SD, x, x, n)
				e.Emit(x86.VMOVSD, e.scratch(scratchPlaces+8*i), x)
			} else {
				e.Emit(x86.VCVTSI2SS, x, x, n)
				e.Emit(x86.VMOVSS, e.scratch(scratchPlaces+4*i), x)
			}
		}
		e.Emit(x86.VMOVUPS, r, e.scratch(scratchPlaces))
	}
	return r
}

func (e *emitter) widened(v *kernel.Value) x86.Reg {
	r := e.New(e.wide)
	op := x86.VPMOVSXDQ
	if v.Kind == kernel.F64 {
		op = x86.VCVTPS2PD
	}
	e.Emit(op, r, e.reg(v.Args[0]))
	return r
}

func (e *emitter) shortened(v *kernel.Value) x86.Reg {
	r, a := e.New(e.kind), e.reg(v.Args[0])
	switch {
	case v.Kind == kernel.F32:
		e.Emit(x86.VCVTPD2PS, r, a)
	case e.v4:
		e.Emit(x86.VPMOVQD, r, a)
	default:
		return e.shorten(a)
	}
	return r
}

// cut makes integers of 64 bits of floats: the instruction gives the least one for all that does not fit, and for NaN.
func (e *emitter) cut(v *kernel.Value) x86.Reg {
	n, a, from := e.New(e.wide), e.reg(v.Args[0]), v.Args[0].Kind
	wide := from == kernel.F64
	switch {
	case e.v4 && wide:
		e.Emit(x86.VCVTTPD2QQ, n, a)
	case e.v4:
		e.Emit(x86.VCVTTPS2QQ, n, a)
	default:
		e.Emit(x86.VMOVUPS, e.scratch(scratchPlaces), a)
		for i := range e.k.Lanes {
			t := e.New(x86.GP64)
			if wide {
				e.Emit(x86.VCVTTSD2SI, t, e.scratch(scratchPlaces+8*i))
			} else {
				e.Emit(x86.VCVTTSS2SI, t, e.scratch(scratchPlaces+4*i))
			}
			e.Emit(x86.MOV, e.scratch(scratchElements+8*i), t)
		}
		e.Emit(x86.VMOVUPS, n, e.scratch(scratchElements))
	}
	limit := int64(0x5F000000) // 1<<63
	if wide {
		limit = 0x43E0000000000000
	}
	constant := func(k kernel.Kind, n int64) *kernel.Value { return &kernel.Value{Op: kernel.OpConst, Kind: k, N: n} }
	mask := func(op kernel.Op, x *kernel.Value) x86.Reg {
		return e.mask(&kernel.Value{Op: op, Kind: kernel.Mask, Args: []*kernel.Value{v.Args[0], x}})
	}
	large, real := mask(kernel.OpGe, constant(from, limit)), mask(kernel.OpEq, v.Args[0])
	most, r := e.reg(constant(kernel.I64, 1<<63-1)), e.New(e.wide)
	if e.v4 {
		e.Emit(x86.VMOVAPD, n.K(large), most)
		e.Emit(x86.VMOVAPD, r.Z(real), n)
		return r
	}
	m := e.New(e.wide)
	e.Emit(x86.VBLENDVPD, m, n, most, e.widen(large))
	e.Emit(x86.VPAND, r, m, e.widen(real))
	return r
}
