package emu

import (
	"math/bits"
	"math/rand/v2"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// block runs the blocks of a launch, one after the other.
type block struct {
	l      *launch
	fn     *function
	id     driver.Dim
	linear int // number of the block in the grid

	shared []byte
	state  []uint8 // of each byte of shared memory
	warps  []*warp
	bars   [16]barrier
	race   *blockRaces // nil where races are not looked for
	rng    *rand.Rand  // nil where the order of warps is as they come
	stats  Counters
}

// The states of a byte of shared or local memory.
const (
	unwritten uint8 = iota
	written
	inFlight // an asynchronous copy writes it
)

// barrierOp is what a barrier instruction says.
type barrierOp struct {
	id, count int32 // slots; count is -1 for all threads
	arrive    bool  // does not wait
	aligned   bool
	red       byte  // of bar.red: '+' popc, '&', '|'; else 0
	src       int32 // predicate of bar.red
	srcNot    bool
	dst       int32
}

// barrier is one of the 16 of a block.
type barrier struct {
	expect  int // threads; 0 while nobody is there
	arrived int
	popc    int // of bar.red
	lanes   int
	red     []redWait
	clock   []uint32 // what happened before those who arrived
}

type redWait struct {
	w  *warp
	in *instr
	m  uint32
}

func newBlock(l *launch) *block {
	b := &block{l: l, fn: l.fn}
	n := l.cfg.Block.Count()
	b.shared = make([]byte, l.sharedBytes)
	b.state = make([]uint8, l.sharedBytes)
	if l.races != nil {
		b.race = newBlockRaces(l)
	}
	for i := 0; i*32 < n; i++ {
		w := &warp{blk: b, index: i, full: ^uint32(0), stats: &b.stats}
		if left := n - i*32; left < 32 {
			w.full = 1<<left - 1
		}
		w.regs = make([]lanes, l.fn.slots)
		w.init = make([]uint32, l.fn.slots)
		w.preds = make([]uint32, l.fn.preds)
		w.predSet = make([]uint32, l.fn.preds)
		w.local = make([]byte, 32*l.fn.localSize)
		w.seen = make([]uint8, 32*l.fn.localSize)
		for v, s := range l.fn.consts {
			w.regs[s].fill(v)
		}
		for k, s := range l.fn.syms {
			w.regs[s].fill(l.fn.addressOf(k.v) + uint64(k.off))
		}
		b.warps = append(b.warps, w)
	}
	return b
}

// start makes the state that a block begins with.
func (b *block) start(linear int) {
	g := b.l.cfg.Grid
	b.linear = linear
	b.id = driver.Dim{X: linear % g.X, Y: linear / g.X % g.Y, Z: linear / g.X / g.Y}
	clear(b.state)
	clear(b.bars[:])
	if b.l.opts.Seed != 0 {
		b.rng = rand.New(rand.NewPCG(b.l.opts.Seed, uint64(linear)))
	}
	if b.race != nil {
		b.race.start(b)
	}
	for _, w := range b.warps {
		w.live, w.mask, w.pc, w.others = w.full, w.full, 0, w.others[:0]
		w.spent, w.keep = 0, 0
		w.async.reset()
		clear(w.init)
		clear(w.predSet)
		clear(w.seen)
		for _, s := range b.fn.consts {
			w.init[s] = ^uint32(0)
		}
		for _, s := range b.fn.syms {
			w.init[s] = ^uint32(0)
		}
		for k, s := range b.fn.specials {
			w.init[s] = ^uint32(0)
			b.special(w, k, &w.regs[s])
		}
		if b.race != nil {
			w.clocks.start(len(b.warps))
		}
	}
}

// special fills in a special register.
func (b *block) special(w *warp, k special, r *lanes) {
	cfg := &b.l.cfg
	for l := range r {
		t := b.threadDim(w.index*32 + l)
		var v int
		switch k {
		case tidX:
			v = t.X
		case tidY:
			v = t.Y
		case tidZ:
			v = t.Z
		case ntidX:
			v = cfg.Block.X
		case ntidY:
			v = cfg.Block.Y
		case ntidZ:
			v = cfg.Block.Z
		case ctaidX:
			v = b.id.X
		case ctaidY:
			v = b.id.Y
		case ctaidZ:
			v = b.id.Z
		case nctaidX:
			v = cfg.Grid.X
		case nctaidY:
			v = cfg.Grid.Y
		case nctaidZ:
			v = cfg.Grid.Z
		case laneID:
			v = l
		case warpID:
			v = w.index
		case nwarpID:
			v = len(b.warps)
		case smID:
			v = b.linear % b.l.info.Multiprocessors
		case nsmID:
			v = b.l.info.Multiprocessors
		case gridID:
			v = b.l.number
		case lanemaskEQ:
			v = 1 << l
		case lanemaskLT:
			v = 1<<l - 1
		case lanemaskLE:
			v = 1<<(l+1) - 1
		case lanemaskGT:
			v = 1<<32 - 1<<(l+1)
		case lanemaskGE:
			v = 1<<32 - 1<<l
		case dynamicSmem:
			v = cfg.Shared
		case totalSmem:
			v = len(b.shared)
		}
		r[l] = uint64(v)
	}
}

// run runs a block to its end. It gives the fault that ended it.
func (b *block) run(linear int) (f *Fault) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if f, ok = r.(*Fault); !ok {
				panic(r)
			}
		}
	}()
	b.start(linear)
	b.stats.Blocks++
	order := make([]*warp, len(b.warps))
	copy(order, b.warps)
	for {
		left, moved := 0, false
		if b.rng != nil {
			b.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		}
		for _, w := range order {
			if w.live == 0 {
				continue
			}
			n := 1 << 14
			if b.rng != nil {
				n = 1 << b.rng.IntN(10)
			}
			before := w.steps
			w.step(n)
			if w.steps != before {
				moved = true
				b.l.spend(w, w.steps-before)
			}
			if w.live != 0 {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if !moved {
			b.deadlock()
		}
	}
}

// deadlock reports warps that wait at a barrier for what does not come.
func (b *block) deadlock() {
	msg := ""
	var args []any
	exited := 0
	var first *warp
	var at *instr
	var lane int
	for _, w := range b.warps {
		exited += bits.OnesCount32(w.full &^ w.live)
		for _, g := range w.others {
			in := &b.fn.code[g.pc]
			if first == nil {
				first, at, lane = w, in, bits.TrailingZeros32(g.mask)
			} else if in != at {
				msg += "; warp %d waits at line %d"
				args = append(args, w.index, in.line)
			}
		}
	}
	bar := &b.bars[0]
	for i := range b.bars {
		if b.bars[i].expect != 0 {
			bar = &b.bars[i]
			break
		}
	}
	head := []any{bar.arrived, bar.expect}
	if exited > 0 {
		msg += "; %d threads have exited"
		args = append(args, exited)
	}
	panic(first.newFault(at, Deadlock, lane, "%d of %d threads are at the barrier, and no others will come"+msg, append(head, args...)...))
}

// barrier has the lanes of m arrive at a barrier of the block.
func (w *warp) barrier(in *instr, m uint32) {
	b, o := w.blk, in.bar
	if m == 0 {
		w.pc++
		return
	}
	lane := bits.TrailingZeros32(m)
	if o.aligned {
		if w.live != w.full {
			w.fault(Divergence, lane, "lanes %#x of the warp have exited before the barrier", w.full&^w.live)
		}
		if m != w.full {
			w.hold(m, forLanes, 0)
			return
		}
	}
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
	id := w.regs[o.id][lane]
	expect := 32 * len(b.warps)
	if o.count >= 0 {
		expect = int(w.regs[o.count][lane])
		if expect <= 0 || expect%32 != 0 || expect > 32*len(b.warps) {
			w.fault(Divergence, lane, "a barrier of %d threads in a block of %d: it takes a multiple of 32", expect, b.l.cfg.Block.Count())
		}
	}
	if id > 15 {
		w.fault(Divergence, lane, "barrier %d: there are 0 to 15", id)
	}
	for mm := m; mm != 0; mm &= mm - 1 {
		l := bits.TrailingZeros32(mm)
		if w.regs[o.id][l] != id || o.count >= 0 && int(w.regs[o.count][l]) != expect {
			w.fault(Divergence, l, "lanes of a warp are at different barriers")
		}
	}
	bar := &b.bars[id]
	if bar.expect == 0 {
		bar.expect = expect
	} else if bar.expect != expect {
		w.fault(Divergence, lane, "barrier %d is for %d threads here, and for %d where others wait", id, expect, bar.expect)
	}
	b.stats.Barriers++
	bar.arrived += bits.OnesCount32(m)
	if m == w.full {
		bar.arrived += bits.OnesCount32(^w.full) // a warp counts whole
	}
	if b.race != nil {
		bar.clock = w.clocks.release(w.index, bar.clock)
	}
	if o.red != 0 {
		p := w.preds[o.src]
		if o.srcNot {
			p = ^p
		}
		bar.popc += bits.OnesCount32(p & m)
		bar.lanes += bits.OnesCount32(m)
		bar.red = append(bar.red, redWait{w, in, m})
	}
	if o.arrive {
		w.pc++
	} else {
		w.hold(m, atBarrier, int(id))
	}
	if bar.arrived > bar.expect {
		w.fault(Divergence, lane, "%d threads at a barrier for %d", bar.arrived, bar.expect)
	}
	if bar.arrived == bar.expect {
		b.release(int(id))
	}
}

// release lets go those who wait at a barrier.
func (b *block) release(id int) {
	bar := &b.bars[id]
	for _, r := range bar.red {
		r.w.barResult(r.in, r.m, bar)
	}
	for _, w := range b.warps {
		for i := range w.others {
			if g := &w.others[i]; g.wait == atBarrier && g.bar == id {
				g.wait = runs
				g.pc++
				w.clocks.acquire(bar.clock)
			}
		}
	}
	clear(bar.clock)
	*bar = barrier{clock: bar.clock, red: bar.red[:0]}
}

func (w *warp) barResult(in *instr, m uint32, bar *barrier) {
	o := in.bar
	switch o.red {
	case '+':
		for mm := m; mm != 0; mm &= mm - 1 {
			w.regs[o.dst][bits.TrailingZeros32(mm)] = uint64(bar.popc)
		}
		w.init[o.dst] |= m
		return
	case '&':
		w.setPred(o.dst, m, bar.popc == bar.lanes)
	case '|':
		w.setPred(o.dst, m, bar.popc > 0)
	}
	w.predSet[o.dst] |= m
}

func (w *warp) setPred(p int32, m uint32, v bool) {
	w.preds[p] &^= m
	if v {
		w.preds[p] |= m
	}
}
