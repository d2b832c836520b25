package x86

import (
	"encoding/binary"
	"fmt"
)

// Code is a program as bytes: instructions, then constants. It can lie at any address
// that is a multiple of 64.
type Code struct {
	Name    string
	Bytes   []byte
	Scratch int // bytes that it needs behind ScratchBase

	prog   *Prog
	pieces []piece
	text   int   // where constants start
	consts []int // where each lies
}

// piece is an instruction and where its bytes lie.
type piece struct {
	form     *Form
	fix      fixup
	at, size int
}

// Assemble encodes a program for a processor that has f. Its registers must be real ones.
func Assemble(p *Prog, f Features) (*Code, error) {
	c := &Code{Name: p.Name, Scratch: p.Scratch, prog: p, pieces: make([]piece, len(p.Insts))}
	if p.Scratch > MaxScratch {
		return nil, fmt.Errorf("x86: %s: it needs %d bytes of scratch, and there are %d", p.Name, p.Scratch, MaxScratch)
	}
	raw := make([]byte, 0, 8*len(p.Insts))
	places := make([]int, len(p.labels)) // which instruction a label stands before
	for i := range places {
		places[i] = -1
	}
	for i := range p.Insts {
		in, pc := &p.Insts[i], &c.pieces[i]
		fail := func(err error) error {
			return fmt.Errorf("x86: %s: instruction %d: %s: %w", p.Name, i, in.text(nil, nil), err)
		}
		if in.Op == nil {
			if len(in.Args) == 1 {
				l := in.Args[0].(Label)
				if places[l] >= 0 {
					return nil, fail(fmt.Errorf("the label %s stands twice", p.labels[l]))
				}
				places[l] = i
			}
			continue
		}
		for _, a := range in.Args {
			if r := firstVirtual(a); r != NoReg {
				return nil, fail(fmt.Errorf("register %s has no place yet: Allocate comes before Assemble", r))
			}
			if l, ok := a.(Label); ok && int(l) >= len(p.labels) {
				return nil, fail(fmt.Errorf("there is no label %d", l))
			}
		}
		form, err := in.Op.find(in.Args, f)
		if err != nil {
			return nil, fail(err)
		}
		for j := range form.args {
			if r, ok := in.Args[j].(Reg); ok && form.args[j].write && (r.whole() == RSP || r.whole() == RBP) {
				return nil, fail(fmt.Errorf("code leaves %s as it is (docs/abi.md)", r.whole()))
			}
		}
		pc.form, pc.at = form, len(raw)
		raw, pc.fix = form.encode(raw, in.Args)
		pc.size = len(raw) - pc.at
	}
	if err := c.relax(places); err != nil {
		return nil, err
	}
	c.place(raw)
	return c, c.patch(places)
}

// relax gives jumps the longer form until all reach their labels, and everything its place.
// From short to long only: so it ends.
func (c *Code) relax(places []int) error {
	p := c.prog
	starts := make([]int, len(p.Insts)+1)
	for changed := true; changed; {
		changed = false
		at := 0
		for i := range p.Insts {
			if a := p.Insts[i].align; a > 0 {
				c.pieces[i].size = -at & (a - 1)
			}
			starts[i] = at
			at += c.pieces[i].size
		}
		starts[len(p.Insts)] = at
		for i := range p.Insts {
			pc := &c.pieces[i]
			if pc.form == nil || pc.fix.sym >= 0 {
				continue
			}
			l := -pc.fix.sym - 1
			if places[l] < 0 {
				return fmt.Errorf("x86: %s: the label %s stands nowhere", p.Name, p.labels[l])
			}
			d := starts[places[l]] - starts[i+1]
			if pc.form.args[0].imm == rel8 && (d < -128 || d > 127) {
				pc.form = &p.Insts[i].Op.forms[1]
				b, fix := pc.form.encode(nil, p.Insts[i].Args)
				pc.size, pc.fix = len(b), fix
				changed = true
			}
		}
	}
	return nil
}

// place lays out bytes: those of raw, nops for alignments, jumps with their final form.
func (c *Code) place(raw []byte) {
	var out []byte
	for i := range c.pieces {
		pc := &c.pieces[i]
		from := pc.at
		pc.at = len(out)
		switch {
		case pc.form == nil:
			out = appendNops(out, pc.size)
		case pc.fix.sym < 0:
			out, _ = pc.form.encode(out, c.prog.Insts[i].Args)
		default:
			out = append(out, raw[from:from+pc.size]...)
		}
	}
	c.text = len(out)
	for _, k := range c.prog.consts {
		for len(out)%k.align != 0 {
			out = append(out, 0xCC)
		}
		c.consts = append(c.consts, len(out))
		out = append(out, k.data...)
	}
	c.Bytes = out
}

// patch fills in distances.
func (c *Code) patch(places []int) error {
	for i := range c.pieces {
		pc := &c.pieces[i]
		if pc.form == nil || pc.fix.sym == 0 {
			continue
		}
		end := pc.at + pc.size
		if pc.fix.sym < 0 {
			d := c.pieces[places[-pc.fix.sym-1]].at - end
			pc.fix.dist = d
			if pc.form.args[0].imm == rel8 {
				c.Bytes[end-1] = byte(d)
			} else {
				binary.LittleEndian.PutUint32(c.Bytes[end-4:], uint32(d))
			}
			continue
		}
		k := pc.fix.sym - 1
		if int(k) >= len(c.consts) {
			return fmt.Errorf("x86: %s: instruction %d reads a constant of another program", c.Name, i)
		}
		binary.LittleEndian.PutUint32(c.Bytes[pc.at+pc.fix.at:], uint32(int32(c.consts[k]-end)+pc.fix.disp))
	}
	return nil
}

// nops are the instructions that do nothing, by their lengths, as the manuals recommend them.
var nops = [...]string{"", "\x90", "\x66\x90", "\x0F\x1F\x00", "\x0F\x1F\x40\x00", "\x0F\x1F\x44\x00\x00", "\x66\x0F\x1F\x44\x00\x00",
	"\x0F\x1F\x80\x00\x00\x00\x00", "\x0F\x1F\x84\x00\x00\x00\x00\x00", "\x66\x0F\x1F\x84\x00\x00\x00\x00\x00"}

func appendNops(out []byte, n int) []byte {
	for n > 0 {
		k := min(n, len(nops)-1)
		out = append(out, nops[k]...)
		n -= k
	}
	return out
}

// firstVirtual gives a virtual register of an operand, if it has one.
func firstVirtual(o Operand) Reg {
	var rs [3]Reg
	switch o := o.(type) {
	case Reg:
		rs[0] = o
	case Masked:
		rs[0], rs[1] = o.Reg, o.Mask
	case Mem:
		rs[0], rs[1], rs[2] = o.Base, o.Index, o.Mask
	}
	for _, r := range rs {
		if r.Virtual() {
			return r
		}
	}
	return NoReg
}
