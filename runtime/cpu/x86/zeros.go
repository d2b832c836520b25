package x86

import (
	"fmt"
	"unsafe"
)

// Zeros looks at elements of f32 in lots of 64 that lie side by side. It tells which are zero, or, with
// Finite, whether one of them is infinite or no number.
type Zeros struct {
	Finite bool
}

// Within tells whether one of elements as of [Zeros] is infinite or no number, or becomes it times a number.
type Within struct{}

// ZerosLot is how many elements [Zeros] looks at in a turn.
const ZerosLot = 64

// ZerosArgs is the argument block of a [Zeros]' code.
type ZerosArgs struct {
	Lots int64 // at least 1
	From unsafe.Pointer

	// A word for each lot, whose bit i is 0 where element i is 0 or -0: NaN is not. With Finite it is
	// 16 f32, of which some are NaN where an element is infinite or NaN, and all are 0 otherwise.
	To unsafe.Pointer

	Scale float32 // of Within: what elements are multiplied by
}

// Program makes the code for a tier.
func (z Zeros) Program(f Features) (*Prog, error) { return z.program(f, false) }

// Program makes the code for a tier.
func (Within) Program(f Features) (*Prog, error) { return Zeros{Finite: true}.program(f, true) }

func (z Zeros) program(f Features, within bool) (*Prog, error) {
	if f&V3 == 0 {
		return nil, fmt.Errorf("x86: looking for zeros needs %s, and code is made for %q", V3, f)
	}
	kind, _ := vectors(f)
	name := "zeros"
	if z.Finite {
		name = "finite"
	}
	if within {
		name = "within"
	}
	p := NewProg(name)
	var args ZerosArgs
	n, from, to := p.load(unsafe.Offsetof(args.Lots)), p.load(unsafe.Offsetof(args.From)), p.load(unsafe.Offsetof(args.To))
	zero := p.New(kind)
	p.Emit(VXORPS, zero, zero, zero)
	size := kind.Bits() / 8
	var sums []Reg
	var scale Reg
	if within {
		scale = p.New(kind)
		p.Emit(VBROADCASTSS, scale, arg(unsafe.Offsetof(args.Scale)))
	}
	if z.Finite {
		for range 4 {
			r := p.New(kind)
			p.Emit(VXORPS, r, r, r)
			sums = append(sums, r)
		}
	}
	again := p.Label("again")
	p.Align(lineBytes)
	p.Bind(again)
	for at := 0; at < 4*ZerosLot; at += lineBytes {
		p.Emit(PREFETCHT0, At(from, zerosAhead+at))
	}
	switch {
	case z.Finite: // nothing but infinities and NaN times 0 is not 0
		for i := range 4 * ZerosLot / size {
			if !within {
				p.Emit(VFMADD231PS, sums[i%len(sums)], zero, At(from, i*size))
				continue
			}
			v := p.New(kind)
			p.Emit(VMULPS, v, scale, At(from, i*size))
			p.Emit(VFMADD231PS, sums[i%len(sums)], zero, v)
		}
	case kind == ZMM:
		var masks [4]Reg
		for i := range masks {
			masks[i] = p.New(Mask)
			p.Emit(VCMPPS, masks[i], zero, At(from, i*size), Imm(notEqual))
		}
		p.Emit(KUNPCKWD, masks[0], masks[1], masks[0])
		p.Emit(KUNPCKWD, masks[2], masks[3], masks[2])
		p.Emit(KUNPCKDQ, masks[0], masks[2], masks[0])
		p.Emit(KMOVQ, At(to, 0), masks[0])
		p.Emit(ADD, to, Imm(8))
	default:
		word := p.New(GP64)
		for i := range 8 {
			v, bits := p.New(kind), p.New(GP64)
			p.Emit(VCMPPS, v, zero, At(from, i*size), Imm(notEqual))
			p.Emit(VMOVMSKPS, bits.As(GP32), v)
			if i == 0 {
				p.Emit(MOV, word, bits)
				continue
			}
			p.Emit(SHL, bits, Imm(8*i))
			p.Emit(OR, word, bits)
		}
		p.Emit(MOV, At(to, 0), word)
		p.Emit(ADD, to, Imm(8))
	}
	p.Emit(ADD, from, Imm(4*ZerosLot))
	p.Emit(DEC, n)
	p.Emit(JNE, again)
	if z.Finite {
		p.Emit(VADDPS, sums[0], sums[0], sums[1])
		p.Emit(VADDPS, sums[2], sums[2], sums[3])
		p.Emit(VADDPS, sums[0], sums[0], sums[2])
		p.Emit(VMOVUPS, At(to, 0), sums[0])
		if kind == YMM {
			p.Emit(VMOVUPS, At(to, size), zero)
		}
	}
	p.Emit(RET)
	return p, nil
}

// notEqual is the predicate of a comparison that is true of NaN, too.
const notEqual = 4

// zerosAhead is how many bytes ahead elements are fetched.
const zerosAhead = 1024
