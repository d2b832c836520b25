package emit

import (
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// All says whether a tier loads and stores elements of all types (kernel.Options.All): AVX2 has no
// masks for elements of less than four bytes.
func All(f x86.Features) bool { return f&x86.V4 != 0 }

// loadAs loads elements that are no f32.
func (e *emitter) loadAs(v *kernel.Value) x86.Reg {
	if !e.v4 {
		panic(unsupported(v.Buf.DType.String() + " in AVX2"))
	}
	r, m := e.New(x86.ZMM), e.memory(v)
	var into x86.Operand = r
	if e.tail != x86.NoReg {
		into = r.Z(e.tail)
	}
	d, one := v.Buf.DType, v.Access == kernel.One
	switch d {
	case tensor.F16:
		if one {
			half := e.New(x86.YMM)
			e.Emit(x86.VPBROADCASTW, half, m)
			e.Emit(x86.VCVTPH2PS, r, half)
		} else {
			e.Emit(x86.VCVTPH2PS, into, m)
		}
		return r
	case tensor.BF16:
		if one {
			e.Emit(x86.VPBROADCASTW, r, m)
		} else {
			e.Emit(x86.VPMOVZXWD, into, m)
		}
		s := e.New(x86.ZMM)
		e.Emit(x86.VPSLLD, s, r, x86.Imm(16))
		return s
	case tensor.I64:
		return e.loadI64(m, one)
	case tensor.I32:
		if one {
			e.Emit(x86.VBROADCASTSS, r, m)
		} else {
			e.Emit(x86.VMOVUPS, into, m)
		}
	default: // bytes
		op := x86.VPMOVZXBD
		if d == tensor.I8 {
			op = x86.VPMOVSXBD
		}
		if one {
			quarter := e.New(x86.XMM)
			e.Emit(x86.VPBROADCASTB, quarter, m)
			e.Emit(op, r, quarter)
		} else {
			e.Emit(op, into, m)
		}
		if d == tensor.Bool {
			k := e.New(x86.Mask)
			e.Emit(x86.VPTESTMD, k, r, r)
			return k
		}
	}
	f := e.New(x86.ZMM)
	e.Emit(x86.VCVTDQ2PS, f, r)
	return f
}

// loadI64 loads integers of 64 bits as f32, in two halves.
func (e *emitter) loadI64(m x86.Mem, one bool) x86.Reg {
	low, f := e.New(x86.ZMM), e.New(x86.YMM)
	if one {
		r := e.New(x86.ZMM)
		e.Emit(x86.VPBROADCASTQ, low, m)
		e.Emit(x86.VCVTQQ2PS, f, low)
		e.Emit(x86.VBROADCASTSS, r, f.As(x86.XMM))
		return r
	}
	high, g, r := e.New(x86.ZMM), e.New(x86.YMM), e.New(x86.ZMM)
	if e.tail == x86.NoReg {
		e.Emit(x86.VMOVDQU64, low, m)
		e.Emit(x86.VMOVDQU64, high, m.Plus(64))
	} else {
		upper := e.New(x86.Mask)
		e.Emit(x86.KSHIFTRW, upper, e.tail, x86.Imm(8))
		e.Emit(x86.VMOVDQU64, low.Z(e.tail), m)
		e.Emit(x86.VMOVDQU64, high.Z(upper), m.Plus(64))
	}
	e.Emit(x86.VCVTQQ2PS, f, low)
	e.Emit(x86.VCVTQQ2PS, g, high)
	e.Emit(x86.VINSERTF32X8, r, f.As(x86.ZMM), g, x86.Imm(1))
	return r
}

// storeAs stores elements that are no f32.
func (e *emitter) storeAs(v *kernel.Value) {
	if !e.v4 {
		panic(unsupported(v.Buf.DType.String() + " in AVX2"))
	}
	r, m := e.reg(v.Args[2]), e.memory(v)
	switch {
	case v.Access == kernel.One:
		one, first := e.New(x86.GP32), e.New(x86.Mask)
		e.Emit(x86.MOV, one, x86.Imm(1))
		e.Emit(x86.KMOVW, first, one)
		m = m.K(first)
	case e.tail != x86.NoReg:
		m = m.K(e.tail)
	}
	t := e.New(x86.ZMM)
	switch v.Buf.DType {
	case tensor.F16:
		e.Emit(x86.VCVTPS2PH, m, r, x86.Imm(0))
	case tensor.BF16:
		e.Emit(x86.VPSRLD, t, r, x86.Imm(16))
		e.Emit(x86.VPMOVDW, m, t)
	case tensor.Bool:
		e.Emit(x86.VBROADCASTSS, t.Z(r), e.U32(1))
		e.Emit(x86.VPMOVDB, m, t)
	case tensor.U8, tensor.I8:
		e.Emit(x86.VCVTPS2DQ, t, r)
		e.Emit(x86.VPMOVDB, m, t)
	default:
		panic(unsupported("a store of " + v.Buf.DType.String()))
	}
}

// half rounds to f16.
func (e *emitter) half(v *kernel.Value) x86.Reg {
	h, r := e.New(e.kind-1), e.New(e.kind)
	e.Emit(x86.VCVTPS2PH, h, e.reg(v.Args[0]), x86.Imm(0))
	e.Emit(x86.VCVTPH2PS, r, h)
	return r
}
