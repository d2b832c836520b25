package x86

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

var sizeNames = map[int]string{8: "byte", 16: "word", 32: "dword", 64: "qword", 128: "xmmword", 256: "ymmword", 512: "zmmword"}

// Listing is the code in Intel's syntax, each instruction with its place, its bytes and its
// comment. GNU as reads it and makes the same bytes of it.
func (c *Code) Listing() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".intel_syntax noprefix\n# %s: %d bytes of code, %d of constants, %d of scratch\n", c.Name, c.text, len(c.Bytes)-c.text, c.Scratch)
	for i := range c.pieces {
		pc := &c.pieces[i]
		in := &c.prog.Insts[i]
		switch {
		case in.align > 0:
			if pc.size > 0 {
				fmt.Fprintf(&b, "    .byte %s # to a multiple of %d\n", hexBytes(c.Bytes[pc.at:pc.at+pc.size]), in.align)
			}
		case in.Op == nil && len(in.Args) == 1:
			fmt.Fprintf(&b, "%s:\n", labelName(c.prog, in.Args[0].(Label)))
		case in.Op == nil:
			fmt.Fprintf(&b, "    # %s\n", in.Comment)
		default:
			line := in.text(pc.form, c.prog)
			if d := pc.fix.dist; pc.fix.sym < 0 && pc.size > 2 && d >= -128 && d <= 127 {
				line = "{disp32} " + line // it grew when an alignment before it was larger
			}
			note := in.Comment
			if k := pc.fix.sym; k > 0 {
				note = strings.TrimPrefix(note+"; "+showConst(c.prog.consts[k-1].data), "; ")
			}
			fmt.Fprintf(&b, "    %s\n", strings.TrimRight(fmt.Sprintf("%-48s # %04x %-20x  %s", line, pc.at, c.Bytes[pc.at:pc.at+pc.size], note), " "))
		}
	}
	end := c.text
	for i, at := range c.consts {
		if at > end {
			fmt.Fprintf(&b, "    .byte %s\n", hexBytes(c.Bytes[end:at]))
		}
		data := c.prog.consts[i].data
		fmt.Fprintf(&b, "%s: .byte %s # %s\n", constName(sym(i+1)), hexBytes(data), showConst(data))
		end = at + len(data)
	}
	return b.String()
}

func hexBytes(b []byte) string {
	s := make([]string, len(b))
	for i, x := range b {
		s[i] = fmt.Sprintf("%#02x", x)
	}
	return strings.Join(s, ",")
}

// showConst says what is in a constant: as numbers, where they look like some, to eight of them.
func showConst(b []byte) string {
	if len(b)%4 != 0 {
		return fmt.Sprintf("%d bytes", len(b))
	}
	var s []string
	for i := 0; i < len(b) && i < 32; i += 4 {
		u := binary.LittleEndian.Uint32(b[i:])
		if e := u >> 23 & 255; u<<1 == 0 || e > 64 && e < 255 {
			s = append(s, fmt.Sprint(math.Float32frombits(u)))
		} else {
			s = append(s, fmt.Sprintf("%#x", u))
		}
	}
	if len(b) > 32 {
		s = append(s, "...")
	}
	return strings.Join(s, " ")
}

func labelName(p *Prog, l Label) string {
	if p == nil {
		return fmt.Sprintf(".L%d", l)
	}
	return fmt.Sprintf(".L%d_%s", l, p.labels[l])
}

func constName(s sym) string { return fmt.Sprintf(".LC%d", s-1) }

// String is the program in Intel's syntax, virtual registers as %r1, %z2, %k3.
func (p *Prog) String() string {
	var b strings.Builder
	for i := range p.Insts {
		in := &p.Insts[i]
		switch {
		case in.align > 0:
			fmt.Fprintf(&b, "    # to a multiple of %d\n", in.align)
		case in.Op == nil && len(in.Args) == 1:
			fmt.Fprintf(&b, "%s\n", in.text(nil, p))
		case in.Op != nil && in.Comment != "":
			fmt.Fprintf(&b, "    %-48s # %s\n", in.text(nil, p), in.Comment)
		default:
			fmt.Fprintf(&b, "    %s\n", in.text(nil, p))
		}
	}
	return b.String()
}

// String is the instruction in Intel's syntax.
func (i *Inst) String() string { return i.text(nil, nil) }

// text is the instruction in Intel's syntax, as the form has it. Without a form, it is the
// first one that takes the operands, or none: then sizes are not told.
func (i *Inst) text(f *Form, p *Prog) string {
	if i.Op == nil {
		if len(i.Args) == 1 {
			return labelName(p, i.Args[0].(Label)) + ":"
		}
		return "# " + i.Comment
	}
	if f == nil {
		f, _ = i.Op.find(i.Args, allFeatures)
	}
	var b strings.Builder
	if f != nil && f.named {
		b.WriteString("{vex} ")
	}
	b.WriteString(i.Op.Name)
	for n, a := range i.Args {
		if n == 0 {
			b.WriteByte(' ')
		} else {
			b.WriteString(", ")
		}
		var s *argSpec
		if f != nil {
			s = &f.args[n]
		}
		writeOperand(&b, a, s, i.Op != LEA, p)
	}
	return b.String()
}

func writeOperand(b *strings.Builder, a Operand, s *argSpec, sized bool, p *Prog) {
	switch o := a.(type) {
	case Reg:
		b.WriteString(o.String())
	case Masked:
		fmt.Fprintf(b, "%s{%s}", o.Reg, o.Mask)
		if o.Zero {
			b.WriteString("{z}")
		}
	case Imm:
		fmt.Fprintf(b, "%d", int64(o))
	case Label:
		b.WriteString(labelName(p, o))
	case Mem:
		if s != nil && sized {
			bits := s.mem
			if o.Bcast {
				bits = s.bcast
			}
			fmt.Fprintf(b, "%s ptr ", sizeNames[bits])
		}
		writeAddress(b, o)
		if o.Bcast && s != nil {
			fmt.Fprintf(b, "{1to%d}", s.mem/s.bcast)
		}
		if o.Mask != NoReg {
			fmt.Fprintf(b, "{%s}", o.Mask)
		}
	}
}

func writeAddress(b *strings.Builder, m Mem) {
	var parts []string
	switch {
	case m.sym > 0:
		parts = append(parts, "rip", constName(m.sym))
	case m.Base != NoReg:
		parts = append(parts, m.Base.String())
	}
	if m.Index != NoReg {
		parts = append(parts, fmt.Sprintf("%s*%d", m.Index, max(m.Scale, 1)))
	}
	if len(parts) == 0 {
		fmt.Fprintf(b, "ds:%d", m.Disp) // in brackets, as takes the number for one
		return
	}
	b.WriteByte('[')
	b.WriteString(strings.Join(parts, " + "))
	switch d := int64(m.Disp); {
	case d > 0:
		fmt.Fprintf(b, " + %d", d)
	case d < 0:
		fmt.Fprintf(b, " - %d", -d)
	}
	b.WriteByte(']')
}
