package x86

import (
	"bytes"
	"fmt"
	"slices"
)

// spill takes registers their place: where one is read it is loaded, where it is written it
// is stored, into a register that lives for that instruction alone. A constant is made again instead,
// and an operand that may be memory is.
func (a *allocator) spill(fl *flow, spilled []int) error {
	p := a.work
	gone := map[int]bool{}
	for _, k := range spilled {
		gone[k] = true
	}
	makers := a.makers(fl, gone)
	for _, k := range spilled {
		if makers[k] >= 0 {
			continue
		}
		if !a.scratch {
			return errNeedsScratch
		}
		n := a.kept[k].Bits() / 8
		a.size = (a.size + n - 1) &^ (n - 1)
		a.slots[k] = a.size
		a.size += n
	}
	var insts []Inst
	var sources []source
	add := func(in Inst, s source) { insts, sources = append(insts, in), append(sources, s) }
instructions:
	for i := range p.Insts {
		in, src := p.Insts[i], a.sources[i]
		var after []Inst
		for _, u := range uses(&in, fl.forms[i], gone) {
			k := number(u.r)
			maker := makers[k]
			switch {
			case maker == i:
				continue instructions // nobody reads what it makes here
			case u.read && !u.write && maker < 0 && a.fold(&in, u.r, func(*argSpec) (Mem, bool) { return At(ScratchBase, a.slots[k]), true }):
				continue
			case u.read && !u.write && maker >= 0 && a.foldConstant(&in, u.r, &p.Insts[maker]):
				a.made[k] = a.sources[maker].at
				continue
			}
			t := p.New(a.kept[k])
			a.stands[number(t)] = u.r
			a.kept = append(a.kept, a.kept[k])
			in.Args = replaced(in.Args, k, t)
			slot := At(ScratchBase, a.slots[k])
			switch {
			case u.read && maker >= 0:
				made := p.Insts[maker]
				made.Args = replaced(made.Args, k, t)
				add(made, source{at: a.sources[maker].at, kind: remade, reg: u.r})
			case u.read:
				add(Inst{Op: moves(a.kept[k]), Args: []Operand{t, slot}, Comment: fmt.Sprintf("%s, spilled", u.r)},
					source{at: src.at, kind: loaded, reg: u.r})
			}
			if u.write {
				after = append(after, Inst{Op: moves(a.kept[k]), Args: []Operand{slot, t}, Comment: fmt.Sprintf("spills %s", u.r)})
			}
		}
		add(in, src)
		for _, s := range after {
			add(s, source{at: src.at, kind: stored, reg: a.stands[number(s.Args[1].(Reg))]})
		}
	}
	p.Insts, a.sources = insts, sources
	return nil
}

// use is how an instruction uses a register.
type use struct {
	r           Reg
	read, write bool
}

// uses gives the uses of some registers, one for each.
func uses(in *Inst, form *Form, of map[int]bool) (u []use) {
	if form == nil {
		return nil
	}
	access(in, form, func(r Reg, read, write bool) {
		if !of[number(r)] {
			return
		}
		for j := range u {
			if number(u[j].r) == number(r) {
				u[j].read, u[j].write = u[j].read || read, u[j].write || write
				return
			}
		}
		u = append(u, use{r, read, write})
	})
	return u
}

// replaced is operands with a register in the place of another.
func replaced(args []Operand, k int, t Reg) []Operand {
	args = slices.Clone(args)
	for i := range args {
		args[i] = substitute(args[i], func(r Reg) Reg {
			if number(r) == k {
				return t.As(r.Kind())
			}
			return r
		})
	}
	return args
}

// moves is the instruction that loads and stores so much of a register.
func moves(k Kind) *Op {
	switch k.Class() {
	case General:
		return MOV
	case Masks:
		return KMOVQ
	}
	return VMOVUPS
}

// makers tells for registers that lose their place the one instruction that makes them of
// constants alone, or -1.
func (a *allocator) makers(fl *flow, gone map[int]bool) map[int]int {
	m := map[int]int{}
	for k := range gone {
		m[k] = -1
	}
	writes := map[int]int{}
	for i, form := range fl.forms {
		if form == nil {
			continue
		}
		in := &a.work.Insts[i]
		reads, last := 0, 0
		access(in, form, func(r Reg, read, write bool) {
			if read {
				reads++
			}
			if k := number(r); write && gone[k] {
				writes[k]++
				last = k
			}
		})
		// Instructions on general registers other than MOV set flags.
		if last != 0 && reads == 0 && (form.space != legacy || in.Op == MOV) && a.sources[i].kind == original {
			if _, plain := in.Args[0].(Reg); plain {
				m[last] = i
			}
		}
	}
	for k, n := range writes {
		if n != 1 {
			m[k] = -1
		}
	}
	return m
}

// fold reads a register that lost its place as an operand in memory, if the instruction can.
func (a *allocator) fold(in *Inst, r Reg, memory func(s *argSpec) (Mem, bool)) bool {
	at := -1
	for i, o := range in.Args {
		switch o := o.(type) {
		case Reg:
			if number(o) == number(r) {
				if at >= 0 {
					return false
				}
				at = i
			}
		case Mem:
			return false
		case Masked:
			if number(o.Reg) == number(r) || number(o.Mask) == number(r) {
				return false
			}
		}
	}
	if at < 0 {
		return false
	}
	bits := in.Args[at].(Reg).Kind().Bits()
	forms := in.Op.Forms()
	for i := range forms {
		f := &forms[i]
		if f.Needs&^a.f != 0 || len(f.args) != len(in.Args) || f.args[at].kind != in.Args[at].(Reg).Kind() || f.args[at].mem > bits {
			continue
		}
		consts := len(a.work.consts)
		m, ok := memory(&f.args[at])
		if !ok {
			continue
		}
		args := slices.Clone(in.Args)
		args[at] = m
		if f.match(args) {
			in.Args = args
			return true
		}
		a.work.consts = a.work.consts[:consts] // it was laid out for nothing
	}
	return false
}

// foldConstant reads a constant where it lies: an element that is repeated, in AVX-512, or
// all of it, which is laid out for that.
func (a *allocator) foldConstant(in *Inst, r Reg, maker *Inst) bool {
	m, repeated := maker.constant()
	if m.sym == 0 {
		return false
	}
	written := maker.Args[0].(Reg).Kind().Bits()
	return a.fold(in, r, func(s *argSpec) (Mem, bool) {
		switch {
		case repeated > 0 && s.bcast == 8*repeated && s.mem <= written:
			return m.B(), true
		case s.mem >= 128:
			return a.work.Const(a.work.contents(maker, s.mem/8), s.mem/8), true
		}
		return m, repeated == 0 || s.mem <= 8*repeated
	})
}

// repeats are the instructions that repeat an element of so many bytes.
var repeats = map[*Op]int{VBROADCASTSS: 4, VPBROADCASTD: 4, VBROADCASTSD: 8, VPBROADCASTQ: 8}

// constant gives the memory of a constant that the instruction puts into a register, and how
// many bytes of it are repeated.
func (i *Inst) constant() (m Mem, repeated int) {
	if len(i.Args) == 2 && (repeats[i.Op] != 0 || copies[i.Op] != NoKind && i.Op != MOV) {
		if m, ok := i.Args[1].(Mem); ok && m.sym > 0 {
			return m, repeats[i.Op]
		}
	}
	return Mem{}, 0
}

// contents is the first n bytes of a register that holds a constant: zeros behind what
// is written.
func (p *Prog) contents(maker *Inst, n int) []byte {
	m, repeated := maker.constant()
	written := maker.Args[0].(Reg).Kind().Bits() / 8
	data := p.consts[m.sym-1].data[m.Disp:]
	if repeated > 0 {
		data = bytes.Repeat(data[:repeated], written/repeated)
	}
	return append(bytes.Clone(data[:min(n, written)]), make([]byte, max(0, n-written))...)
}
