package emu

import "math/bits"

// Races are found by happens-before, as between threads: an access is before another of the same
// thread that follows, and before those of other threads that a barrier separates from it. Each warp
// has a clock that ticks when it arrives at a barrier (of the block, or bar.warp.sync), and knows up to which
// tick it has seen each other warp. Blocks are unordered, but for atomic operations behind a fence: they
// make a block see all that the blocks before it at the same address have done. Loads and stores that are
// volatile, relaxed, acquire or release count as atomic.
//
// Of the reads of a place since its last write two are kept, so a race of a write with a third
// may be missed.

// mode is how an access touches memory.
type mode uint8

const (
	reads mode = iota
	writes
	atomics
	strongReads
	strongWrites
)

func (m mode) write() bool  { return m == writes || m == atomics || m == strongWrites }
func (m mode) strong() bool { return m >= atomics }

// access is who touched a place last, and when.
type access struct {
	clock  uint32 // of the warp; 0 is no access
	rel    uint32 // releases of the block before it
	block  int32
	pc     int32
	thread int16
	strong bool
}

// cell is what is known of one or four bytes.
type cell struct {
	write access
	read  [2]access
}

const pageBytes = 4096

// page is the cells of pageBytes bytes, in a launch or a block.
type page struct {
	epoch int64
	fine  bool // a cell for each byte
	cells []cell
}

// shadow is the cells of an allocation, or of the shared memory of a block.
type shadow struct{ pages []*page }

func newShadow(bytes int) *shadow {
	return &shadow{pages: make([]*page, (bytes+pageBytes-1)/pageBytes)}
}

// races is what a launch knows of blocks.
type races struct {
	epoch    int64
	released map[uint64]map[int32]uint32 // by address of a synchronising variable: blocks, and how far they were
}

// blockRaces is what a block knows.
type blockRaces struct {
	l      *races
	epoch  int64
	shared *shadow
	rel    uint32           // how often it released
	seen   map[int32]uint32 // of other blocks
	fenced bool             // a fence was there
}

func newBlockRaces(l *launch) *blockRaces {
	return &blockRaces{l: l.races, shared: newShadow(l.sharedBytes)}
}

func (r *blockRaces) start(b *block) {
	r.epoch++
	r.rel, r.seen, r.fenced = 1, nil, false
}

// clocks is what a warp knows of the warps of its block.
type clocks struct {
	now  uint32
	seen []uint32
}

func (c *clocks) start(warps int) {
	if c.seen == nil {
		c.seen = make([]uint32, warps)
	}
	clear(c.seen)
	c.now = 1
}

// tick orders what the lanes of the warp did before what they do from now on.
func (c *clocks) tick(warp int) {
	if c.seen != nil {
		c.seen[warp] = c.now
		c.now++
	}
}

// release adds to a clock all that the warp has done and seen.
func (c *clocks) release(warp int, to []uint32) []uint32 {
	if to == nil {
		to = make([]uint32, len(c.seen))
	}
	c.tick(warp)
	for i, v := range c.seen {
		to[i] = max(to[i], v)
	}
	return to
}

func (c *clocks) acquire(from []uint32) {
	for i, v := range from {
		c.seen[i] = max(c.seen[i], v)
	}
}

// before says whether an access happens before what thread t of w does now.
func (w *warp) before(a *access, t int16) bool {
	if a.block != int32(w.blk.linear) {
		return a.rel <= w.blk.race.seen[a.block]
	}
	return a.thread == t || a.clock <= w.clocks.seen[a.thread>>5]
}

// touch records that a lane touches n bytes at off of what s shadows, and reports a race. same
// says that a write leaves the bytes as they are.
func (w *warp) touch(s *shadow, epoch int64, sp space, lane int, off, n uint64, m mode, same bool) {
	t := int16(w.index*32 + lane)
	now := access{clock: w.clocks.now, rel: w.blk.race.rel, block: int32(w.blk.linear), pc: int32(w.pc), thread: t, strong: m.strong()}
	for n > 0 {
		p := s.pages[off/pageBytes]
		if p == nil {
			p = &page{cells: make([]cell, pageBytes/4)}
			s.pages[off/pageBytes] = p
		}
		if p.epoch != epoch {
			clear(p.cells)
			p.epoch = epoch
		}
		in := off % pageBytes
		k := min(n, pageBytes-in)
		if (in|k)&3 != 0 && !p.fine {
			cells := make([]cell, pageBytes)
			for i := range cells {
				cells[i] = p.cells[i/4]
			}
			p.cells, p.fine = cells, true
		}
		lo, hi := in, in+k
		if !p.fine {
			lo, hi = lo/4, hi/4
		}
		for i := lo; i < hi; i++ {
			c := &p.cells[i]
			if a := &c.write; a.clock != 0 && !(a.strong && now.strong) && !w.before(a, t) {
				// All may write the same, by one instruction.
				if !(same && m.write() && a.pc == now.pc) {
					w.raced(a, sp, lane, "written", m)
				}
			}
			if !m.write() {
				r := &c.read
				switch {
				case r[0].thread == t && r[0].clock == now.clock && r[0].block == now.block && r[0].rel == now.rel && r[0].strong == now.strong:
				case r[0].clock == 0 || w.before(&r[0], t):
					r[0] = now
				default:
					r[1] = now
				}
				continue
			}
			for j := range c.read {
				if a := &c.read[j]; a.clock != 0 && !(a.strong && now.strong) && !w.before(a, t) {
					w.raced(a, sp, lane, "read", m)
				}
			}
			c.write = now
			c.read = [2]access{}
		}
		off += k
		n -= k
	}
}

func (w *warp) raced(a *access, sp space, lane int, did string, m mode) {
	b := w.blk
	what := "reads"
	if m.write() {
		what = "writes"
	}
	other := &b.fn.code[a.pc]
	msg := "%s %v memory that thread %s%s %s at line %d (%s), with no barrier between"
	where := ""
	if a.block != int32(b.linear) {
		g := b.l.cfg.Grid
		i := int(a.block)
		where = " of block " + dim(dimOf(i, g))
	}
	f := w.newFault(&b.fn.code[w.pc], Race, lane, msg, what, sp, dim(b.threadDim(int(a.thread))), where, did,
		other.line, sourceLine(b.l.text, other.line))
	f.Other = other.line
	panic(f)
}

// fence is a fence of at least the device.
func (w *warp) fence() {
	if r := w.blk.race; r != nil {
		r.fenced = true
	}
}

// synchronise is an atomic operation at an address, which orders blocks where a fence was before it.
func (w *warp) synchronise(addr uint64, m uint32, release bool) {
	r := w.blk.race
	if r == nil || m == 0 {
		return
	}
	at := r.l.released[addr]
	if r.fenced || release {
		if at == nil {
			at = map[int32]uint32{}
			r.l.released[addr] = at
		}
		for b, v := range r.seen {
			at[b] = max(at[b], v)
		}
		at[int32(w.blk.linear)] = r.rel
		r.rel++
	}
	for b, v := range at {
		if b != int32(w.blk.linear) {
			if r.seen == nil {
				r.seen = map[int32]uint32{}
			}
			r.seen[b] = max(r.seen[b], v)
		}
	}
}

// eachLane calls f for the lanes of m.
func eachLane(m uint32, f func(l int)) {
	for ; m != 0; m &= m - 1 {
		f(bits.TrailingZeros32(m))
	}
}
