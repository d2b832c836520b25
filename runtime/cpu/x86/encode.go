package x86

import (
	"encoding/binary"
	"math/bits"
)

// fixup is a place in encoded bytes that depends on where something else lies: four
// bytes (one, in a short jump) that count from the end of the instruction.
type fixup struct {
	at   int // of the bytes, in the instruction
	sym  sym
	disp int32 // how far behind the symbol
	dist int   // how far a jump goes, once that is known
}

// encoding is what the fields of a form make of operands.
type encoding struct {
	reg, vvvv, rm int // numbers of registers; rm is -1 for memory
	mem           *Mem
	scale         int // what disp8 counts
	bcast, zero   bool
	mask          int
	reg8          bool // a byte register that only REX can name
	imm           int64
	immBytes      int
	is4           int // -1: none
	sym           sym
}

func b2i(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// encode appends the bytes of the form with operands that it matches.
func (f *Form) encode(dst []byte, args []Operand) ([]byte, fixup) {
	start := len(dst)
	e := encoding{is4: -1}
	for i := range f.args {
		a := &f.args[i]
		n := 0
		switch o := args[i].(type) {
		case Reg:
			n = o.Num()
			e.reg8 = e.reg8 || a.kind == GP8 && n >= 4
		case Masked:
			n, e.mask, e.zero = o.Reg.Num(), o.Mask.Num(), o.Zero
		case Mem:
			e.mem, e.scale, e.bcast = &o, a.memBytes(o.Bcast), o.Bcast
			if o.Mask != 0 {
				e.mask = o.Mask.Num()
			}
			n = -1
		case Imm:
			e.imm, e.immBytes = int64(o), a.imm.bytes()
		case Label:
			e.immBytes = a.imm.bytes()
			e.sym = -sym(o) - 1
		}
		switch a.field {
		case 'R':
			e.reg = n
		case 'V':
			e.vvvv = n
		case 'M', 'O':
			e.rm = n
		case 'L':
			e.is4 = n
		}
	}
	if f.digit >= 0 {
		e.reg = int(f.digit)
	}
	if f.disp8 != 0 && !e.bcast {
		e.scale = f.disp8
	}

	// The bits that registers have beyond three, inverted but in REX.
	r, x, b := e.reg>>3&1, 0, 0
	v4 := e.vvvv >> 4 & 1
	if e.mem == nil {
		x, b = e.rm>>4&1, e.rm>>3&1
	} else if e.mem.sym == 0 {
		b = e.mem.Base.Num() >> 3 & 1
		x = e.mem.Index.Num() >> 3 & 1
		if e.mem.Index.Class() == Vector {
			v4 = e.mem.Index.Num() >> 4 & 1
		}
	}
	switch f.space {
	case legacy:
		if p := [...]byte{0, 0x66, 0xF3, 0xF2}[f.prefix]; p != 0 {
			dst = append(dst, p)
		}
		rex := b2i(f.w)<<3 | byte(r)<<2 | byte(x)<<1 | byte(b)
		if rex != 0 || e.reg8 {
			dst = append(dst, 0x40|rex)
		}
		switch f.opmap {
		case 1:
			dst = append(dst, 0x0F)
		case 2:
			dst = append(dst, 0x0F, 0x38)
		}
	case vex:
		low := byte(^e.vvvv&15)<<3 | f.length<<2 | f.prefix
		if x == 0 && b == 0 && f.opmap == 1 && !f.w {
			dst = append(dst, 0xC5, byte(1-r)<<7|low)
		} else {
			dst = append(dst, 0xC4, byte(1-r)<<7|byte(1-x)<<6|byte(1-b)<<5|f.opmap, b2i(f.w)<<7|low)
		}
	case evex:
		r2 := e.reg >> 4 & 1
		dst = append(dst, 0x62,
			byte(1-r)<<7|byte(1-x)<<6|byte(1-b)<<5|byte(1-r2)<<4|f.opmap,
			b2i(f.w)<<7|byte(^e.vvvv&15)<<3|1<<2|f.prefix,
			b2i(e.zero)<<7|f.length<<5|b2i(e.bcast)<<4|byte(1-v4)<<3|byte(e.mask))
	}
	if len(f.args) > 0 && f.args[0].field == 'O' {
		dst = append(dst, f.code|byte(e.rm&7))
	} else {
		dst = append(dst, f.code)
	}
	fix := fixup{sym: e.sym, at: len(dst) - start}
	if f.modrm() {
		if e.mem == nil {
			dst = append(dst, 0xC0|byte(e.reg&7)<<3|byte(e.rm&7))
		} else {
			compress := 1
			if f.space == evex {
				compress = e.scale
			}
			dst = appendAddress(dst, byte(e.reg&7), e.mem, compress)
			if e.mem.sym != 0 {
				fix = fixup{at: len(dst) - start - 4, sym: e.mem.sym, disp: int32(e.mem.Disp)}
			}
		}
	}
	switch {
	case e.is4 >= 0:
		dst = append(dst, byte(e.is4)<<4)
	case e.immBytes == 1:
		dst = append(dst, byte(e.imm))
	case e.immBytes == 4:
		dst = binary.LittleEndian.AppendUint32(dst, uint32(e.imm))
	case e.immBytes == 8:
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.imm))
	}
	return dst, fix
}

// modrm tells whether the form has a ModRM byte.
func (f *Form) modrm() bool {
	if f.digit >= 0 {
		return true
	}
	for i := range f.args {
		if c := f.args[i].field; c == 'M' || c == 'R' {
			return true
		}
	}
	return false
}

// appendAddress appends ModRM, SIB and displacement. One byte of displacement counts
// multiples of n.
func appendAddress(dst []byte, reg byte, m *Mem, n int) []byte {
	reg <<= 3
	if m.sym != 0 {
		return append(dst, reg|5, 0, 0, 0, 0)
	}
	scale := byte(bits.TrailingZeros8(max(m.Scale, 1))) << 6
	index := byte(4) // none
	if m.Index != 0 {
		index = byte(m.Index.Num() & 7)
	}
	disp := binary.LittleEndian.AppendUint32(nil, uint32(m.Disp))
	if m.Base == 0 {
		// An absolute address, or an index alone: only SIB says that.
		return append(append(dst, reg|4, scale|index<<3|5), disp...)
	}
	base := byte(m.Base.Num() & 7)
	mod := byte(0x80)
	switch d := int(m.Disp); {
	case d == 0 && base != 5:
		mod, disp = 0, nil
	case d%n == 0 && d/n >= -128 && d/n <= 127:
		mod, disp = 0x40, []byte{byte(d / n)}
	}
	if m.Index == 0 && base != 4 {
		dst = append(dst, mod|reg|base)
	} else {
		dst = append(dst, mod|reg|4, scale|index<<3|base)
	}
	return append(dst, disp...)
}
