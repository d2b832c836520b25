package emu

import "math/bits"

// maxLive is how much work to find what registers are in use is worth: words of sets.
const maxLive = 1 << 22

// pressure is how many registers of 32 bits are in use at once, at most: about what ptxas takes, which
// also needs some for itself, and may spend more to be faster.
func pressure(f *function) int {
	words := (f.slots + 63) / 64
	if words*len(f.code) > maxLive {
		return 255
	}
	wide := make([]bool, f.slots)
	named := make([]uint64, words)
	for s, name := range f.regNames {
		if name != "" {
			named[s/64] |= 1 << (s % 64)
		}
	}
	for _, in := range f.body {
		for i := range in.args {
			in.args[i].registers(func(r *reg) {
				if r.typ != pred && r.typ.bytes() == 8 {
					wide[r.slot] = true
				}
			})
		}
	}
	live := make([]uint64, words*len(f.code)) // before each instruction
	at := func(i int) []uint64 { return live[i*words : (i+1)*words] }
	now := make([]uint64, words)
	most := 0
	for pass := 0; pass < 64; pass++ {
		changed := false
		for i := len(f.code) - 1; i >= 0; i-- {
			in := &f.code[i]
			clear(now)
			if i+1 < len(f.code) && !(in.guard < 0 && (in.kind == branchInstr || in.kind == exitInstr)) {
				copy(now, at(i+1))
			}
			if in.kind == branchInstr {
				for k, v := range at(int(in.target)) {
					now[k] |= v
				}
			}
			if in.guard < 0 {
				for _, s := range in.writes {
					now[s/64] &^= 1 << (s % 64)
				}
			}
			for _, s := range in.reads {
				now[s/64] |= 1 << (s % 64)
			}
			for k, v := range now {
				if v &= named[k]; v != at(i)[k] {
					at(i)[k], changed = v, true
				}
			}
		}
		if !changed {
			break
		}
	}
	for i := range f.code {
		n := 0
		for k, v := range at(i) {
			for ; v != 0; v &= v - 1 {
				n++
				if wide[k*64+bits.TrailingZeros64(v)] {
					n++
				}
			}
		}
		most = max(most, n)
	}
	return min(most, 255)
}

// registers calls f for the registers in an operand.
func (o *operand) registers(f func(r *reg)) {
	if o.reg != nil {
		f(o.reg)
	}
	if o.base != nil {
		o.base.registers(f)
	}
	if o.pair != nil {
		o.pair.registers(f)
	}
	for i := range o.vec {
		o.vec[i].registers(f)
	}
}
