package emit

import (
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// mask makes truth values: a mask register in AVX-512, lanes of 32 bits, ones or zeros, in AVX2.
func (e *emitter) mask(v *kernel.Value) x86.Reg {
	deny := x86.Imm(0)
	if e.absorbed[v.Args[0]] {
		v, deny = v.Args[0], 4
	}
	of := v.Args[0].Kind
	if !e.v4 {
		if of.Wide() {
			return e.shorten(e.mask2(v, of, deny))
		}
		return e.mask2(v, of, deny)
	}
	r := e.New(x86.Mask)
	switch {
	case v.Op == kernel.OpNot:
		e.Emit(x86.KNOTW, r, e.reg(v.Args[0]))
	case of == kernel.Mask:
		e.Emit(maskwise[v.Op], r, e.reg(v.Args[0]), e.reg(v.Args[1]))
	case of == kernel.F32:
		e.Emit(x86.VCMPPS, r, e.reg(v.Args[0]), e.operand(v.Args[1]), predicates[v.Op]^deny)
	case of == kernel.F64:
		e.Emit(x86.VCMPPD, r, e.reg(v.Args[0]), e.operand(v.Args[1]), predicates[v.Op]^deny)
	default:
		op, p := [2][2]*x86.Op{{x86.VPCMPD, x86.VPCMPUD}, {x86.VPCMPQ, x86.VPCMPUQ}}[b2i(of.Wide())], integerPredicates[v.Op]
		if v.Op == kernel.OpBelow { // what is below 0 is a large number
			e.Emit(op[1], r, e.reg(v.Args[0]), e.operand(v.Args[1]), x86.Imm(1))
		} else {
			e.Emit(op[0], r, e.reg(v.Args[0]), e.operand(v.Args[1]), p)
		}
	}
	return r
}

// mask2 makes truth values in AVX2: in lanes as wide as those that are compared. Of floats deny changes the predicate.
func (e *emitter) mask2(v *kernel.Value, of kernel.Kind, deny x86.Imm) x86.Reg {
	wide, kind := of.Wide(), e.vector(of)
	r, a := e.New(kind), e.reg(v.Args[0])
	not := func(a x86.Reg) x86.Reg {
		m, n := e.New(kind), e.New(kind)
		e.Emit(x86.VPCMPEQD, m, m, m)
		e.Emit(x86.VPXOR, n, a, m)
		return n
	}
	if v.Op == kernel.OpNot {
		return not(a)
	}
	b := e.reg(v.Args[1])
	greater, equal := x86.VPCMPGTD, x86.VPCMPEQD
	if wide {
		greater, equal = x86.VPCMPGTQ, x86.VPCMPEQQ
	}
	switch {
	case of == kernel.F32:
		e.Emit(x86.VCMPPS, r, a, b, predicates[v.Op]^deny)
	case of == kernel.F64:
		e.Emit(x86.VCMPPD, r, a, b, predicates[v.Op]^deny)
	case of == kernel.Mask && (v.Op == kernel.OpNe || v.Op == kernel.OpXor):
		e.Emit(x86.VPXOR, r, a, b)
	case of == kernel.Mask && v.Op != kernel.OpEq:
		e.Emit(bitwise[v.Op][0], r, a, b)
	case v.Op == kernel.OpBelow:
		zero, negative, below := e.New(kind), e.New(kind), e.New(kind)
		e.Emit(x86.VPXOR, zero, zero, zero)
		e.Emit(greater, negative, zero, a)
		e.Emit(greater, below, b, a)
		e.Emit(x86.VPANDN, r, negative, below)
	case v.Op == kernel.OpEq:
		e.Emit(equal, r, a, b)
	case v.Op == kernel.OpNe:
		e.Emit(equal, r, a, b)
		return not(r)
	case v.Op == kernel.OpGt:
		e.Emit(greater, r, a, b)
	case v.Op == kernel.OpLt:
		e.Emit(greater, r, b, a)
	case v.Op == kernel.OpLe:
		e.Emit(greater, r, a, b)
		return not(r)
	case v.Op == kernel.OpGe:
		e.Emit(greater, r, b, a)
		return not(r)
	}
	return r
}
