package x86

import (
	"fmt"
	"unsafe"
)

// Lines packs rows of B as a [Tile] reads them, where they lie at one distance from each other, and their elements side by side.
type Lines struct {
	Cols int // of a panel
}

// LinesArgs is the argument block of a [Lines]' code.
type LinesArgs struct {
	K      int64          // rows, at least one
	Panels int64          // in each of them, at least one
	From   unsafe.Pointer // the first row
	Step   int64          // bytes from row to row
	Ahead  int64          // bytes from what is read to what is fetched: where that is makes no difference but in time
	To     unsafe.Pointer // the first panel
	Apart  int64          // bytes from panel to panel
}

// Program makes the code for a tier.
func (l Lines) Program(f Features) (*Prog, error) {
	if f&V3 == 0 {
		return nil, fmt.Errorf("x86: packing needs %s, and code is made for %q", V3, f)
	}
	kind, _ := vectors(f)
	size := kind.Bits() / 8
	if l.Cols < 1 || 4*l.Cols%size != 0 || 4*l.Cols > 8*size {
		return nil, fmt.Errorf("x86: panels of %d columns: they are one to eight vectors", l.Cols)
	}
	p := NewProg(fmt.Sprintf("lines_%d", l.Cols))
	var args LinesArgs
	n, from, step, ahead := p.load(unsafe.Offsetof(args.K)), p.load(unsafe.Offsetof(args.From)), p.load(unsafe.Offsetof(args.Step)), p.load(unsafe.Offsetof(args.Ahead))
	to, apart := p.load(unsafe.Offsetof(args.To)), p.load(unsafe.Offsetof(args.Apart))
	at, dst, left := p.New(GP64), p.New(GP64), p.New(GP64)
	row, panel := p.Label("row"), p.Label("panel")
	p.Align(lineBytes)
	p.Bind(row)
	p.Emit(MOV, at, from)
	p.Emit(MOV, dst, to)
	p.Emit(MOV, left, arg(unsafe.Offsetof(args.Panels)))
	p.Bind(panel)
	for i := 0; i < 4*l.Cols; i += size {
		x := p.New(kind)
		p.Emit(VMOVUPS, x, At(at, i))
		if i%lineBytes == 0 {
			p.Emit(PREFETCHT0, AtIndex(at, ahead, 1, i))
		}
		p.Emit(VMOVUPS, At(dst, i), x)
	}
	p.Emit(ADD, at, Imm(4*l.Cols))
	p.Emit(ADD, dst, apart)
	p.Emit(DEC, left)
	p.Emit(JNE, panel)
	p.Emit(ADD, from, step)
	p.Emit(ADD, to, Imm(4*l.Cols))
	p.Emit(DEC, n)
	p.Emit(JNE, row)
	p.Emit(RET)
	return p, nil
}
