package x86

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// evaluator runs programs of a part of the table, with virtual registers or real ones.
type evaluator struct {
	p       *Prog
	general map[int]uint64
	vector  map[int][16]uint32
	mask    map[int]uint64
	args    []byte // ArgBase points to its start
	scratch []byte
	equal   bool // flags: what jumps here look at
	less    bool
	below   bool
	steps   int
}

const argAddr, scratchAddr = 1 << 20, 1 << 30

func evaluate(p *Prog, args []byte) error {
	_, err := evaluateFor(p, args, 1e6)
	return err
}

// evaluateFor runs a program for so many instructions at most, and tells how many it took.
func evaluateFor(p *Prog, args []byte, most int) (int, error) {
	e := &evaluator{p: p, general: map[int]uint64{}, vector: map[int][16]uint32{}, mask: map[int]uint64{}, args: args, scratch: make([]byte, MaxScratch)}
	e.general[number(ArgBase)], e.general[number(ScratchBase)] = argAddr, scratchAddr
	for i := range e.scratch {
		e.scratch[i] = 0xA5
	}
	places := map[Label]int{}
	for i := range p.Insts {
		if in := &p.Insts[i]; in.Op == nil && len(in.Args) == 1 {
			places[in.Args[0].(Label)] = i
		}
	}
	for i := 0; ; i++ {
		if e.steps++; e.steps > most {
			return e.steps, fmt.Errorf("it does not end")
		}
		in := &p.Insts[i]
		if in.Op == nil {
			continue
		}
		if in.Op == RET {
			return e.steps, nil
		}
		if l, jumps, _ := in.target(); jumps {
			taken, ok := map[*Op]bool{JMP: true, JE: e.equal, JNE: !e.equal, JL: e.less, JGE: !e.less, JB: e.below, JAE: !e.below}[in.Op]
			if !ok {
				return e.steps, fmt.Errorf("%s is not known here", in.Op.Name)
			}
			if taken {
				i = places[l]
			}
			continue
		}
		if err := e.step(in); err != nil {
			return e.steps, fmt.Errorf("instruction %d: %s: %w", i, in.text(nil, nil), err)
		}
	}
}

// memory is n bytes at an operand's address.
func (e *evaluator) memory(m Mem, n int) ([]byte, error) {
	if m.sym > 0 {
		return e.p.consts[m.sym-1].data[m.Disp:][:n], nil
	}
	at := int64(e.general[number(m.Base)]) + int64(m.Disp)
	if m.Index != NoReg {
		at += int64(e.general[number(m.Index)]) * int64(max(m.Scale, 1))
	}
	return e.at(at, n)
}

func (e *evaluator) at(at int64, n int) ([]byte, error) {
	for base, mem := range map[int64][]byte{argAddr: e.args, scratchAddr: e.scratch} {
		if at >= base && at+int64(n) <= base+int64(len(mem)) {
			return mem[at-base:][:n], nil
		}
	}
	return nil, fmt.Errorf("address %#x", at)
}

func lanesOf(r Reg) int { return r.Kind().Bits() / 32 }

// get gives the lanes of an operand of as many lanes as the destination.
func (e *evaluator) get(o Operand, lanes int) (v [16]uint32, err error) {
	switch o := o.(type) {
	case Reg:
		v = e.vector[number(o)]
	case Mem:
		n := lanes
		if o.Bcast {
			n = 1
		}
		var b []byte
		if b, err = e.memory(o, 4*n); err != nil {
			return v, err
		}
		for i := range lanes {
			v[i] = binary.LittleEndian.Uint32(b[4*min(i, n-1):])
		}
	}
	return v, nil
}

// put writes lanes to a register, by its mask; the lanes behind become zero.
func (e *evaluator) put(o Operand, v [16]uint32) error {
	switch o := o.(type) {
	case Reg:
		clear(v[lanesOf(o):])
		e.vector[number(o)] = v
	case Masked:
		old := e.vector[number(o.Reg)]
		for i := range lanesOf(o.Reg) {
			if e.mask[number(o.Mask)]>>i&1 == 0 {
				v[i] = old[i]
				if o.Zero {
					v[i] = 0
				}
			}
		}
		clear(v[lanesOf(o.Reg):])
		e.vector[number(o.Reg)] = v
	}
	return nil
}

var laneOps = map[*Op]func(a, b uint32) uint32{
	VPADDD:  func(a, b uint32) uint32 { return a + b },
	VPSUBD:  func(a, b uint32) uint32 { return a - b },
	VPMULLD: func(a, b uint32) uint32 { return a * b },
	VPMAXSD: func(a, b uint32) uint32 { return uint32(max(int32(a), int32(b))) },
	VPMINUD: func(a, b uint32) uint32 { return min(a, b) },
	VPXORD:  func(a, b uint32) uint32 { return a ^ b },
	VPXOR:   func(a, b uint32) uint32 { return a ^ b },
	VPSLLVD: func(a, b uint32) uint32 {
		if b > 31 {
			return 0
		}
		return a << b
	},
}

var generalOps = map[*Op]func(a, b uint64) uint64{
	ADD:  func(a, b uint64) uint64 { return a + b },
	SUB:  func(a, b uint64) uint64 { return a - b },
	AND:  func(a, b uint64) uint64 { return a & b },
	OR:   func(a, b uint64) uint64 { return a | b },
	XOR:  func(a, b uint64) uint64 { return a ^ b },
	IMUL: func(a, b uint64) uint64 { return a * b },
}

func (e *evaluator) value(o Operand) (uint64, error) {
	switch o := o.(type) {
	case Reg:
		return e.general[number(o)], nil
	case Imm:
		return uint64(o), nil
	case Mem:
		b, err := e.memory(o, 8)
		if err != nil {
			return 0, err
		}
		return binary.LittleEndian.Uint64(b), nil
	}
	return 0, fmt.Errorf("operand %v", o)
}

func (e *evaluator) setGeneral(o Operand, x uint64) error {
	if m, ok := o.(Mem); ok {
		b, err := e.memory(m, 8)
		if err == nil {
			binary.LittleEndian.PutUint64(b, x)
		}
		return err
	}
	e.general[number(o.(Reg))] = x
	return nil
}

func (e *evaluator) step(in *Inst) error {
	a := in.Args
	if f := laneOps[in.Op]; f != nil {
		d, ok := a[0].(Reg)
		if !ok {
			d = a[0].(Masked).Reg
		}
		x, err := e.get(a[1], lanesOf(d))
		if err != nil {
			return err
		}
		y, err := e.get(a[2], lanesOf(d))
		if err != nil {
			return err
		}
		for i := range x {
			x[i] = f(x[i], y[i])
		}
		return e.put(a[0], x)
	}
	if f := generalOps[in.Op]; f != nil {
		x, err := e.value(a[0])
		if err != nil {
			return err
		}
		y, err := e.value(a[1])
		if err != nil {
			return err
		}
		x = f(x, y)
		if r, ok := a[0].(Reg); ok && r.Kind() == GP32 {
			x = uint64(uint32(x))
		}
		return e.setGeneral(a[0], x)
	}
	switch in.Op {
	case MOV:
		x, err := e.value(a[1])
		if err != nil {
			return err
		}
		return e.setGeneral(a[0], x)
	case CQO:
		e.general[number(RDX)] = uint64(int64(e.general[number(RAX)]) >> 63)
		return nil
	case IDIV:
		x, err := e.value(a[0])
		if err != nil {
			return err
		}
		n, d := int64(e.general[number(RAX)]), int64(x)
		if d == 0 || e.general[number(RDX)] != uint64(n>>63) {
			return fmt.Errorf("%d / %d", n, d)
		}
		e.general[number(RAX)], e.general[number(RDX)] = uint64(n/d), uint64(n%d)
		return nil
	case MULX:
		x, err := e.value(a[2])
		if err != nil {
			return err
		}
		hi, lo := bits.Mul64(e.general[number(RDX)], x)
		e.general[number(a[1].(Reg))] = lo
		e.general[number(a[0].(Reg))] = hi // last: it wins where both are one register
		return nil
	case SETL, SETE:
		x := e.general[number(a[0].(Reg))] &^ 0xFF
		if in.Op == SETL && e.less || in.Op == SETE && e.equal {
			x |= 1
		}
		return e.setGeneral(a[0], x)
	case LEA:
		m := a[1].(Mem)
		x := uint64(int64(m.Disp))
		if m.Base != NoReg {
			x += e.general[number(m.Base)]
		}
		if m.Index != NoReg {
			x += e.general[number(m.Index)] * uint64(max(m.Scale, 1))
		}
		return e.setGeneral(a[0], x)
	case CMP, DEC:
		x, err := e.value(a[0])
		if err != nil {
			return err
		}
		y := uint64(1)
		if in.Op == CMP {
			if y, err = e.value(a[1]); err != nil {
				return err
			}
			e.below = x < y
		}
		e.equal, e.less = x == y, int64(x) < int64(y)
		if in.Op == DEC {
			return e.setGeneral(a[0], x-1)
		}
		return nil
	case POPCNT:
		x, err := e.value(a[1])
		if err != nil {
			return err
		}
		return e.setGeneral(a[0], uint64(bits.OnesCount64(x)))
	case VMOVUPS, VMOVDQU:
		if m, ok := a[0].(Mem); ok {
			r := a[1].(Reg)
			b, err := e.memory(m, 4*lanesOf(r))
			if err != nil {
				return err
			}
			for i := range lanesOf(r) {
				if m.Mask == NoReg || e.mask[number(m.Mask)]>>i&1 != 0 {
					binary.LittleEndian.PutUint32(b[4*i:], e.vector[number(r)][i])
				}
			}
			return nil
		}
		v, err := e.get(a[1], lanesOf(a[0].(Reg)))
		if err != nil {
			return err
		}
		return e.put(a[0], v)
	case VPBROADCASTD:
		m := a[1].(Mem)
		m.Bcast = true
		v, err := e.get(m, lanesOf(a[0].(Reg)))
		if err != nil {
			return err
		}
		return e.put(a[0], v)
	case VPBLENDVB: // on whole lanes: masks here are of whole lanes
		x, y, m := e.vector[number(a[1].(Reg))], [16]uint32{}, e.vector[number(a[3].(Reg))]
		y, err := e.get(a[2], lanesOf(a[0].(Reg)))
		if err != nil {
			return err
		}
		for i := range x {
			for b := range 4 {
				if m[i]>>(8*b+7)&1 != 0 {
					x[i] = x[i]&^(0xFF<<(8*b)) | y[i]&(0xFF<<(8*b))
				}
			}
		}
		return e.put(a[0], x)
	case VPCMPEQD:
		x, y := e.vector[number(a[1].(Reg))], [16]uint32{}
		y, err := e.get(a[2], lanesOf(a[1].(Reg)))
		if err != nil {
			return err
		}
		for i := range x {
			x[i] = -b32(x[i] == y[i])
		}
		return e.put(a[0], x)
	case VPCMPUD: // less than
		x := e.vector[number(a[1].(Reg))]
		y, err := e.get(a[2], lanesOf(a[1].(Reg)))
		if err != nil {
			return err
		}
		var k uint64
		for i := range lanesOf(a[1].(Reg)) {
			k |= uint64(b32(x[i] < y[i])) << i
		}
		if d, ok := a[0].(Masked); ok {
			e.mask[number(d.Reg)] = k & e.mask[number(d.Mask)]
		} else {
			e.mask[number(a[0].(Reg))] = k
		}
	case KMOVQ:
		switch d := a[0].(type) {
		case Mem:
			b, err := e.memory(d, 8)
			if err != nil {
				return err
			}
			binary.LittleEndian.PutUint64(b, e.mask[number(a[1].(Reg))])
		case Reg:
			var x uint64
			switch s := a[1].(type) {
			case Mem:
				b, err := e.memory(s, 8)
				if err != nil {
					return err
				}
				x = binary.LittleEndian.Uint64(b)
			case Reg:
				if x = e.mask[number(s)]; s.Class() == General {
					x = e.general[number(s)]
				}
			}
			if d.Class() == General {
				return e.setGeneral(d, x)
			}
			e.mask[number(d)] = x
		}
	case KANDQ, KXORQ:
		x, y := e.mask[number(a[1].(Reg))], e.mask[number(a[2].(Reg))]
		if in.Op == KANDQ {
			e.mask[number(a[0].(Reg))] = x & y
		} else {
			e.mask[number(a[0].(Reg))] = x ^ y
		}
	case VPGATHERDD:
		m := a[1].(Mem)
		var d, mask Reg
		on := func(i int) bool { return e.mask[number(mask)]>>i&1 != 0 }
		if k, ok := a[0].(Masked); ok {
			d, mask = k.Reg, k.Mask
		} else {
			d, mask = a[0].(Reg), a[2].(Reg)
			on = func(i int) bool { return e.vector[number(mask)][i]>>31 != 0 }
		}
		v, index := e.vector[number(d)], e.vector[number(m.Index)]
		for i := range lanesOf(d) {
			if on(i) {
				b, err := e.at(int64(e.general[number(m.Base)])+int64(m.Disp)+int64(int32(index[i]))*int64(m.Scale), 4)
				if err != nil {
					return err
				}
				v[i] = binary.LittleEndian.Uint32(b)
			}
		}
		if mask.Class() == Masks {
			e.mask[number(mask)] = 0
		} else {
			e.vector[number(mask)] = [16]uint32{}
		}
		return e.put(d, v)
	default:
		return fmt.Errorf("it is not known here")
	}
	return nil
}

func b32(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
