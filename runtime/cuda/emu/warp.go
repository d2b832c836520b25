package emu

import (
	"math/bits"
)

// lanes is a register of a warp.
type lanes [32]uint64

// op does an instruction for the lanes of m.
type op func(w *warp, m uint32)

func (r *lanes) fill(v uint64) {
	for i := range r {
		r[i] = v
	}
}

// instr is a decoded instruction.
type instr struct {
	run   op
	kind  instrKind
	guard int32 // predicate, or -1
	not   bool
	// What run reads and writes: the warp checks that what is read was written.
	reads, preads   []int32
	writes, pwrites []int32
	member          int32 // slot of the mask of lanes of a warp-wide instruction; -1 for all lanes
	target          int32 // of a branch
	uniform         bool  // bra.uni
	bar             *barrierOp
	order           int32 // place in the order of the control flow
	line            int
}

type instrKind uint8

const (
	plain       instrKind = iota
	branchInstr           // to target
	exitInstr             // ret, exit
	warpInstr             // needs the lanes of member
	barInstr              // needs the threads of the block
)

// waiting says what a group of lanes waits for.
type waiting uint8

const (
	runs      waiting = iota
	forLanes          // for lanes that its instruction needs
	atBarrier         // for threads of other warps
)

// group is some lanes at one place of the code.
type group struct {
	pc   int
	mask uint32
	wait waiting
	bar  int // the barrier it waits at
}

// warp is 32 threads, or what is left of the block.
type warp struct {
	blk   *block
	index int
	full  uint32 // lanes that there are
	live  uint32 // lanes that have not exited

	regs    []lanes
	init    []uint32 // lanes whose register was written
	preds   []uint32
	predSet []uint32

	// The group that runs; mask is 0 if none does.
	pc     int
	mask   uint32
	others []group
	spent  int // instructions while another group could run, too
	keep   int // instructions that a group may run out of its turn

	clocks clocks
	async  asyncCopies
	local  []byte // of all lanes, one behind the other
	seen   []uint8
	addrs  [32]uint64 // of the access that runs
	steps  int64
	temp   [4]lanes // results that may overwrite what is still read
	stats  *Counters
}

// step runs until the warp has done n instructions, waits, or is done; it says whether it can go on.
func (w *warp) step(n int) bool {
	code := w.blk.fn.code
	for ; n > 0; n-- {
		if w.mask == 0 && !w.pick() {
			return false
		}
		in := &code[w.pc]
		m := w.mask
		w.steps++
		if g := in.guard; g >= 0 {
			if m&^w.predSet[g] != 0 {
				w.uninitPred(g, m)
			}
			if in.not {
				m &^= w.preds[g]
			} else {
				m &= w.preds[g]
			}
		}
		w.stats.Instructions++
		w.stats.ThreadInstructions += int64(bits.OnesCount32(m))
		switch in.kind {
		case plain:
			if m != 0 {
				w.exec(in, m)
			}
			w.pc++
		case branchInstr:
			w.branch(in, m)
		case exitInstr:
			w.live &^= m
			w.mask &^= m
			w.pc++
		case warpInstr:
			w.collective(in, m)
		case barInstr:
			w.barrier(in, m)
		}
		if len(w.others) != 0 {
			w.meet()
		}
	}
	return true
}

// exec runs an instruction for m, after it has looked whether what it reads is there.
func (w *warp) exec(in *instr, m uint32) {
	for _, r := range in.reads {
		if m&^w.init[r] != 0 {
			w.uninit(r, m)
		}
	}
	for _, p := range in.preads {
		if m&^w.predSet[p] != 0 {
			w.uninitPred(p, m)
		}
	}
	in.run(w, m)
	for _, r := range in.writes {
		w.init[r] |= m
	}
	for _, p := range in.pwrites {
		w.predSet[p] |= m
	}
}

func (w *warp) uninit(r int32, m uint32) {
	w.fault(Uninitialised, bits.TrailingZeros32(m&^w.init[r]), "reads register %s, which was not written", w.blk.fn.regNames[r])
}

func (w *warp) uninitPred(p int32, m uint32) {
	w.fault(Uninitialised, bits.TrailingZeros32(m&^w.predSet[p]), "reads predicate %s, which was not written", w.blk.fn.prdNames[p])
}

func (w *warp) branch(in *instr, m uint32) {
	switch {
	case m == w.mask:
		w.pc = int(in.target)
	case m == 0:
		w.pc++
	default:
		if in.uniform {
			w.fault(Divergence, bits.TrailingZeros32(m), "bra.uni is taken by lanes %#x of %#x", m, w.mask)
		}
		w.stats.DivergentBranches++
		w.others = append(w.others, group{pc: int(in.target), mask: m})
		w.mask &^= m
		w.pc++
	}
}

// patience is how many instructions a group runs before another gets a turn.
const patience = 1 << 14

// meet joins groups that are at the place of the one that runs, and lets the first in order run.
func (w *warp) meet() {
	code := w.blk.fn.code
	for i := 0; i < len(w.others); {
		g := &w.others[i]
		if w.mask != 0 && g.pc == w.pc && g.wait != atBarrier {
			w.mask |= g.mask
			w.others[i] = w.others[len(w.others)-1]
			w.others = w.others[:len(w.others)-1]
			continue
		}
		i++
	}
	if w.mask == 0 {
		return
	}
	if w.keep > 0 {
		w.keep--
		return
	}
	first, other := -1, -1
	at := code[w.pc].order
	for i := range w.others {
		if g := &w.others[i]; g.wait == runs {
			other = i
			if code[g.pc].order < at {
				first, at = i, code[g.pc].order
			}
		}
	}
	if first < 0 && other >= 0 {
		// Lanes that spin may wait for what others would do.
		if w.spent++; w.spent > patience {
			first, w.spent, w.keep = other, 0, patience/16
		}
	}
	if first >= 0 {
		g := &w.others[first]
		w.pc, w.mask, g.pc, g.mask = g.pc, g.mask, w.pc, w.mask
	}
}

// pick takes a group that can run where none does. It says whether there was one.
func (w *warp) pick() bool {
	code := w.blk.fn.code
	first := -1
	for i := range w.others {
		if g := &w.others[i]; g.wait == runs && (first < 0 || code[g.pc].order < code[w.others[first].pc].order) {
			first = i
		}
	}
	if first < 0 {
		w.stuck()
		return false
	}
	g := w.others[first]
	w.others[first] = w.others[len(w.others)-1]
	w.others = w.others[:len(w.others)-1]
	w.pc, w.mask = g.pc, g.mask
	w.meet()
	return true
}

// stuck reports groups that wait for lanes that will not come. Those at a barrier may go on later.
func (w *warp) stuck() {
	for _, g := range w.others {
		if g.wait == atBarrier {
			return
		}
	}
	if len(w.others) == 0 {
		return
	}
	g := w.others[0]
	in := &w.blk.fn.code[g.pc]
	lane := bits.TrailingZeros32(g.mask)
	msg := "lanes %#x are here, and it needs %#x"
	need := w.live
	if in.member >= 0 {
		need = uint32(w.regs[in.member][lane]) & w.full
	} else if in.kind == warpInstr || in.kind == barInstr {
		need = w.full
	}
	args := []any{g.mask, need}
	if gone := need &^ w.live; gone != 0 {
		msg += "; lanes %#x have exited"
		args = append(args, gone)
	}
	for _, o := range w.others[1:] {
		msg += "; lanes %#x wait at line %d"
		args = append(args, o.mask, w.blk.fn.code[o.pc].line)
	}
	panic(w.newFault(in, Divergence, lane, msg, args...))
}

// hold makes the lanes m wait at their instruction, while those that its guard leaves out go on.
func (w *warp) hold(m uint32, why waiting, bar int) {
	w.others = append(w.others, group{pc: w.pc, mask: m, wait: why, bar: bar})
	w.mask &^= m
	w.pc++
}

// collective runs an instruction of a warp when all the lanes are there that it needs. Lanes with
// different masks are sets by themselves.
func (w *warp) collective(in *instr, m uint32) {
	left := m
	for rest := m; rest != 0; {
		lane := bits.TrailingZeros32(rest)
		need, same := w.full, rest
		if in.member >= 0 {
			if m&^w.init[in.member] != 0 {
				w.uninit(in.member, m)
			}
			masks := &w.regs[in.member]
			need = uint32(masks[lane]) & w.full
			same = w.sameMask(masks, rest, uint32(masks[lane]))
			if same&^need != 0 {
				w.fault(Divergence, bits.TrailingZeros32(same&^need), "lanes %#x run it, but its mask is %#x", same, need)
			}
		} else if w.full != ^uint32(0) {
			w.fault(Divergence, lane, "it needs 32 threads; this warp has %d", bits.OnesCount32(w.full))
		}
		if same == need {
			w.exec(in, same)
			left &^= same
		}
		rest &^= same
	}
	if left != 0 {
		w.hold(left, forLanes, 0)
		return
	}
	w.pc++
}

func (w *warp) sameMask(masks *lanes, m, mask uint32) uint32 {
	var same uint32
	for b := m; b != 0; b &= b - 1 {
		l := bits.TrailingZeros32(b)
		if uint32(masks[l]) == mask {
			same |= 1 << l
		}
	}
	return same
}
