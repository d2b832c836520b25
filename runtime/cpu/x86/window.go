package x86

import (
	"fmt"
	"unsafe"
)

// Window is the micro-kernel of a convolution of one plane with one kernel, in f32: each element
// of C is the sum over taps of a weight and the element of B so far from its own. A turn computes
// a block of Rows rows and Vectors vectors of columns, which stay in registers while the taps go by.
type Window struct {
	Rows, Vectors int // 1, 2, 4 or 8 rows
}

// WindowArgs is the argument block of a [Window]'s code. The sums of an element are in the order of
// taps. B is read in whole vectors, so that there must be one vector of anything behind what counts.
type WindowArgs struct {
	Taps    int64
	List    unsafe.Pointer // so many numbers of 32 bits: bytes from an element to what a tap reads
	Weights unsafe.Pointer // so many numbers of f32
	B       unsafe.Pointer // of the first row and column
	BRow    int64          // bytes from row to row
	C       unsafe.Pointer
	CRow    int64
	Turns   int64 // of Rows rows each, 1 or more
	Count   int64 // columns: in the last vector there are as many as are left, 1 or more
}

// Check tells whether the block fits the registers of a tier.
func (w Window) Check(f Features) error {
	if f&V3 == 0 {
		return fmt.Errorf("x86: a window needs %s, and code is made for %q", V3, f)
	}
	_, n := vectors(f)
	if w.Rows != 1 && w.Rows != 2 && w.Rows != 4 && w.Rows != 8 || w.Vectors < 1 || w.Rows*w.Vectors > n/2 {
		return fmt.Errorf("x86: a window of %d rows and %d vectors: rows are 1, 2, 4 or 8, and there are registers for %d vectors", w.Rows, w.Vectors, n/2)
	}
	return nil
}

// Program makes the code for a tier.
func (w Window) Program(f Features) (*Prog, error) {
	if err := w.Check(f); err != nil {
		return nil, err
	}
	kind, _ := vectors(f)
	size := kind.Bits() / 8
	p := NewProg(fmt.Sprintf("window_%dx%d", w.Rows, w.Vectors))
	var args WindowArgs
	p.Comment("C[%d, %d] = Σ weight · B", w.Rows, w.Vectors*size/4)
	weights, b, c := p.load(unsafe.Offsetof(args.Weights)), p.load(unsafe.Offsetof(args.B)), p.load(unsafe.Offsetof(args.C))
	pitch, turns := p.load(unsafe.Offsetof(args.BRow)), p.load(unsafe.Offsetof(args.Turns))
	var pitch3 Reg
	if w.Rows > 2 {
		pitch3 = p.New(GP64)
		p.Emit(LEA, pitch3, AtIndex(pitch, pitch, 2, 0))
	}
	count := p.load(unsafe.Offsetof(args.Count))
	p.Emit(SUB, count, Imm((w.Vectors-1)*size/4))
	mask := first(p, kind, count)

	turn, tap := p.Label("turn"), p.Label("tap")
	p.Align(lineBytes)
	p.Bind(turn)
	sums := make([]Reg, w.Rows*w.Vectors)
	for i := range sums {
		sums[i] = p.New(kind)
		p.Emit(VXORPS, sums[i].As(XMM), sums[i].As(XMM), sums[i].As(XMM))
	}
	k, list := p.New(GP64), p.New(GP64)
	p.Emit(XOR, k, k)
	p.Emit(MOV, list, arg(unsafe.Offsetof(args.List)))
	p.Bind(tap)
	x := p.New(kind)
	p.Emit(VBROADCASTSS, x, AtIndex(weights, k, 4, 0))
	at := p.New(GP64)
	p.Emit(MOVSXD, at, AtIndex(list, k, 4, 0))
	p.Emit(ADD, at, b)
	w.rows(p, at, pitch, pitch3, func(i int, row Mem) {
		for j := range w.Vectors {
			p.Emit(VFMADD231PS, sums[i*w.Vectors+j], x, row.Plus(j*size))
		}
	})
	p.Emit(INC, k)
	p.Emit(CMP, k, arg(unsafe.Offsetof(args.Taps)))
	p.Emit(JL, tap)

	pitchC := p.load(unsafe.Offsetof(args.CRow))
	var pitchC3 Reg
	if w.Rows > 2 {
		pitchC3 = p.New(GP64)
		p.Emit(LEA, pitchC3, AtIndex(pitchC, pitchC, 2, 0))
	}
	to := p.New(GP64)
	p.Emit(MOV, to, c)
	w.rows(p, to, pitchC, pitchC3, func(i int, row Mem) {
		for j := range w.Vectors {
			m, r := row.Plus(j*size), sums[i*w.Vectors+j]
			switch {
			case j < w.Vectors-1:
				p.Emit(VMOVUPS, m, r)
			case kind == ZMM:
				p.Emit(VMOVUPS, m.K(mask), r)
			default:
				p.Emit(VMASKMOVPS, m, mask, r)
			}
		}
	})
	for range w.Rows {
		p.Emit(ADD, b, pitch)
		p.Emit(ADD, c, pitchC)
	}
	p.Emit(DEC, turns)
	p.Emit(JNE, turn)
	p.Emit(RET)
	return p, nil
}

// rows calls f with the memory of each row from an address on, which it may change.
func (w Window) rows(p *Prog, at, pitch, pitch3 Reg, f func(i int, row Mem)) {
	for i := range w.Rows {
		switch i % 4 {
		case 0:
			if i > 0 {
				p.Emit(LEA, at, AtIndex(at, pitch, 4, 0))
			}
			f(i, At(at, 0))
		case 3:
			f(i, AtIndex(at, pitch3, 1, 0))
		default:
			f(i, AtIndex(at, pitch, i%4, 0))
		}
	}
}

// first is a mask of the first n elements of f32: a mask register in AVX-512, a vector in AVX2.
func first(p *Prog, kind Kind, n Reg) Reg {
	if kind == ZMM {
		bits, mask := p.New(GP64), p.New(Mask)
		p.Emit(MOV, bits, Imm(-1))
		p.Emit(BZHI, bits, bits, n)
		p.Emit(KMOVW, mask, bits.As(GP32))
		return mask
	}
	mask := p.New(kind)
	p.Emit(VMOVD, mask.As(XMM), n.As(GP32))
	p.Emit(VPBROADCASTD, mask, mask.As(XMM))
	p.Emit(VPCMPGTD, mask, mask, p.U32(0, 1, 2, 3, 4, 5, 6, 7))
	return mask
}
