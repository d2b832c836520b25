package emu

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// place resolves the address of a lane in a space: it gives the bytes from there to the end of
// what the address lies in, and checks that n of them are there and aligned. sp becomes the space that
// a generic address is in.
func (w *warp) place(sp *space, lane int, addr, n uint64, m mode) (data []byte, off uint64, al *allocation) {
	if addr&(n-1) != 0 {
		w.fault(Misaligned, lane, "%s %d bytes at %v address %#x: not aligned to %d", verb(m), n, *sp, addr, n)
	}
	b := w.blk
	p := addr
	if *sp == generic {
		switch p >> windowBits {
		case sharedBase >> windowBits:
			*sp, p = shared, p-sharedBase
		case localBase >> windowBits:
			*sp, p = local, p-localBase
		case paramBase >> windowBits:
			*sp, p = param, p-paramBase
		default:
			*sp = global
		}
	}
	switch *sp {
	case shared:
		size := uint64(len(b.shared))
		if p > size || n > size-p {
			w.fault(OutOfBounds, lane, "%s %d bytes at %d of shared memory: the block has %d", verb(m), n, p, size)
		}
		return b.shared, p, nil
	case local:
		size := uint64(b.fn.localSize)
		if p > size || n > size-p {
			w.fault(OutOfBounds, lane, "%s %d bytes at %d of local memory: the thread has %d", verb(m), n, p, size)
		}
		return w.local[uint64(lane)*size : uint64(lane+1)*size], p, nil
	case param:
		size := uint64(len(b.l.params))
		if m.write() {
			w.fault(ReadOnly, lane, "writes a parameter")
		}
		if p > size || n > size-p {
			w.fault(OutOfBounds, lane, "reads %d bytes at %d of the parameters: there are %d", n, p, size)
		}
		return b.l.params, p, nil
	}
	a := b.l.mem.find(p)
	if why := outside(a, p, n); why != "" {
		w.fault(OutOfBounds, lane, "%s %d bytes at address %#x: %s", verb(m), n, addr, why)
	}
	if m.write() && (a.readOnly || *sp == constant) {
		w.fault(ReadOnly, lane, "writes constant memory")
	}
	return a.data, p - a.base, a
}

func verb(m mode) string {
	switch {
	case m == atomics:
		return "updates"
	case m.write():
		return "writes"
	}
	return "reads"
}

// note does what is to be done for n bytes that a lane touches: whether they were written, races.
func (w *warp) note(sp space, lane int, off, n uint64, al *allocation, m mode, same bool) {
	b := w.blk
	switch sp {
	case shared:
		w.mark(b.state[off:off+n], lane, sp, m)
		if b.race != nil {
			w.touch(b.race.shared, b.race.epoch, shared, lane, off, n, m, same)
		}
	case local:
		size := uint64(b.fn.localSize)
		w.mark(w.seen[uint64(lane)*size:][off:off+n], lane, sp, m)
	case param:
	default:
		if b.race != nil && !al.readOnly {
			if al.shadow == nil {
				al.shadow = newShadow(len(al.data))
			}
			w.touch(al.shadow, b.l.races.epoch, global, lane, off, n, m, same)
		}
	}
}

// mark checks and sets the states of bytes.
func (w *warp) mark(s []uint8, lane int, sp space, m mode) {
	for i := range s {
		switch s[i] {
		case written:
		case unwritten:
			if m != writes && m != strongWrites {
				w.fault(Uninitialised, lane, "%s %v memory that nothing has written", verb(m), sp)
			}
			s[i] = written
		case inFlight:
			w.fault(Race, lane, "%s shared memory that an asynchronous copy still writes: wait for it, and a barrier", verb(m))
		}
	}
}

func get(p []byte, n uint64) uint64 {
	switch n {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(p))
	case 4:
		return uint64(binary.LittleEndian.Uint32(p))
	}
	return binary.LittleEndian.Uint64(p)
}

func put(p []byte, n, v uint64) {
	switch n {
	case 1:
		p[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(p, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(p, uint32(v))
	default:
		binary.LittleEndian.PutUint64(p, v)
	}
}

// memRef is an access as decoded.
type memRef struct {
	space space
	base  int32 // slot
	off   uint64
	typ   typ
	size  uint64 // of an element
	count int    // elements
	regs  []int32
	fixup func(v uint64) uint64 // what a register gets of an element, if it is not the same
	mode  mode
}

// quick finds the bytes of an access that is right and needs no further look: nil sends it the long way. It serves
// where races are not looked for.
func (b *block) quick(sp space, addr, n uint64, store bool) []byte {
	if addr&(n-1) != 0 {
		return nil
	}
	switch sp {
	case global:
		a := b.l.mem.find(addr)
		if a == nil || store && a.readOnly {
			return nil
		}
		if off := addr - a.base; off < uint64(len(a.data)) && n <= uint64(len(a.data))-off {
			return a.data[off:]
		}
	case shared:
		if addr > uint64(len(b.shared)) || n > uint64(len(b.shared))-addr {
			return nil
		}
		state := b.state[addr : addr+n]
		for k := uint64(0); k < n; k += 4 {
			if n < 4 {
				return nil
			}
			s := state[k : k+4]
			v := binary.LittleEndian.Uint32(s)
			switch {
			case v == 0x01010101*uint32(written):
			case store && v&(0x01010101*uint32(inFlight)) == 0:
				binary.LittleEndian.PutUint32(s, 0x01010101*uint32(written))
			default:
				return nil
			}
		}
		return b.shared[addr:]
	}
	return nil
}

// load32 loads words of 32 bits of shared and global memory, and gives the lanes that it left.
func (r *memRef) load32(w *warp, m uint32) uint32 {
	b := w.blk
	dst, base := &w.regs[r.regs[0]], &w.regs[r.base]
	var left uint32
	switch r.space {
	case shared:
		mem, state := b.shared, b.state
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			a := base[l] + r.off
			if a&3 != 0 || a+4 > uint64(len(mem)) || a+4 < a || binary.LittleEndian.Uint32(state[a:]) != 0x01010101*uint32(written) {
				left |= 1 << l
				continue
			}
			w.addrs[l] = a
			dst[l] = uint64(binary.LittleEndian.Uint32(mem[a:]))
		}
	case global:
		al := b.l.mem.find(base[bits.TrailingZeros32(m)&31] + r.off)
		if al == nil {
			return m
		}
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			a := base[l] + r.off
			off := a - al.base
			if a&3 != 0 || off+4 > uint64(len(al.data)) || off+4 < off {
				left |= 1 << l
				continue
			}
			w.addrs[l] = a
			dst[l] = uint64(binary.LittleEndian.Uint32(al.data[off:]))
		}
	default:
		return m
	}
	return left
}

// load reads into registers, one for each element; -1 is none.
func (r *memRef) load(w *warp, m uint32) {
	total := r.size * uint64(r.count)
	base := &w.regs[r.base]
	b := w.blk
	quick := b.race == nil && r.mode == reads
	left := m
	if quick && total == 4 && r.count == 1 && r.fixup == nil {
		left = r.load32(w, m)
	}
	for mm := left; mm != 0; mm &= mm - 1 {
		l := bits.TrailingZeros32(mm) & 31
		addr := base[l] + r.off
		w.addrs[l] = addr
		var data []byte
		if quick {
			data = b.quick(r.space, addr, total, false)
		}
		if data == nil {
			sp := r.space
			p, off, al := w.place(&sp, l, addr, total, r.mode)
			w.note(sp, l, off, total, al, r.mode, false)
			data = p[off:]
		}
		if r.count == 1 && r.fixup == nil {
			w.regs[r.regs[0]][l] = get(data, r.size)
			continue
		}
		for i, d := range r.regs {
			if d < 0 {
				continue
			}
			v := get(data[uint64(i)*r.size:], r.size)
			if r.fixup != nil {
				v = r.fixup(v)
			}
			w.regs[d][l] = v
		}
	}
	w.count(r.space, m, total, false)
	if r.mode == strongReads {
		for mm := m; mm != 0; mm &= mm - 1 {
			w.synchronise(w.addrs[bits.TrailingZeros32(mm)], 1, false)
		}
	}
}

// store writes registers.
func (r *memRef) store(w *warp, m uint32) {
	total := r.size * uint64(r.count)
	base := &w.regs[r.base]
	b := w.blk
	for mm := m; mm != 0; mm &= mm - 1 {
		l := bits.TrailingZeros32(mm) & 31
		addr := base[l] + r.off
		w.addrs[l] = addr
		var data []byte
		if b.race == nil {
			data = b.quick(r.space, addr, total, true)
		}
		if data == nil {
			sp := r.space
			p, off, al := w.place(&sp, l, addr, total, r.mode)
			data = p[off:]
			same := b.race != nil
			if same {
				for i, s := range r.regs {
					same = same && get(data[uint64(i)*r.size:], r.size) == w.regs[s][l]&r.typ.mask()
				}
			}
			w.note(sp, l, off, total, al, r.mode, same)
		}
		for i, s := range r.regs {
			put(data[uint64(i)*r.size:], r.size, w.regs[s][l])
		}
	}
	w.count(r.space, m, total, true)
	if r.mode == strongWrites {
		for mm := m; mm != 0; mm &= mm - 1 {
			w.synchronise(w.addrs[bits.TrailingZeros32(mm)], 1, false)
		}
	}
}

// loadParam reads a parameter at a place that is known: the same for all lanes.
//
//go:noinline
func loadParam(off uint64, r *memRef) op {
	return func(w *warp, m uint32) {
		for i, d := range r.regs {
			if d < 0 {
				continue
			}
			v := get(w.blk.l.params[off+uint64(i)*r.size:], r.size)
			if r.fixup != nil {
				v = r.fixup(v)
			}
			dst := &w.regs[d]
			for mm := m; mm != 0; mm &= mm - 1 {
				dst[bits.TrailingZeros32(mm)] = v
			}
		}
	}
}

// count adds an access at w.addrs to the counters.
func (w *warp) count(sp space, m uint32, n uint64, store bool) {
	s := w.stats
	if sp == generic {
		switch w.addrs[bits.TrailingZeros32(m)] >> windowBits {
		case sharedBase >> windowBits:
			sp = shared
		case localBase >> windowBits, paramBase >> windowBits:
			return
		default:
			sp = global
		}
	}
	total := int64(bits.OnesCount32(m)) * int64(n)
	switch sp {
	case global, constant:
		if store {
			s.GlobalStores++
			s.GlobalStoreBytes += total
		} else {
			s.GlobalLoads++
			s.GlobalLoadBytes += total
		}
		s.GlobalSectors += w.sectors(m)
	case shared:
		if store {
			s.SharedStores++
		} else {
			s.SharedLoads++
		}
		s.SharedBytes += total
		s.BankConflicts += w.conflicts(m, n)
	}
}

// sectors counts the sectors of 32 bytes that the lanes touch.
func (w *warp) sectors(m uint32) int64 {
	var seen [32]uint64
	n := 0
next:
	for mm := m; mm != 0; mm &= mm - 1 {
		s := w.addrs[bits.TrailingZeros32(mm)] >> 5
		for i := n - 1; i >= 0; i-- {
			if seen[i] == s {
				continue next
			}
		}
		seen[n] = s
		n++
	}
	return int64(n)
}

// conflicts counts the passes beyond the first that an access of n bytes a lane to the 32 banks takes.
// An access of 8 bytes is done by halves of the warp, one of 16 by quarters.
func (w *warp) conflicts(m uint32, n uint64) int64 {
	part := 32
	if n > 4 {
		part = int(128 / n)
	}
	var extra int64
	for from := 0; from < 32; from += part {
		pm := m >> from
		if part < 32 {
			pm &= 1<<part - 1
		}
		if pm == 0 {
			continue
		}
		extra += w.worst(from, pm, n)
	}
	return extra
}

// worst counts the passes beyond the first for a part of the warp.
func (w *warp) worst(from int, pm uint32, n uint64) int64 {
	var first [32]uint64 // the word that a bank is asked for, and one
	clash := false
	for mm := pm; mm != 0; mm &= mm - 1 {
		a := w.addrs[(from+bits.TrailingZeros32(mm))&31] >> 2
		for k := uint64(0); 4*k < n; k++ {
			word := a + k
			f := &first[word&31]
			if *f == 0 {
				*f = word + 1
			}
			clash = clash || *f != word+1
		}
	}
	if !clash {
		return 0
	}
	var words [32][]uint64
	most := 1
	for mm := pm; mm != 0; mm &= mm - 1 {
		a := w.addrs[from+bits.TrailingZeros32(mm)] >> 2
		for word := a; 4*(word-a) < n; word++ {
			bank := &words[word&31]
			if !slices.Contains(*bank, word) {
				*bank = append(*bank, word)
				most = max(most, len(*bank))
			}
		}
	}
	return int64(most - 1)
}
