package emu

import "math/bits"

// asyncOps copy from global to shared memory while the thread goes on. A copy is done when its
// thread waits for it, and not before; what it writes must not be touched until then.
var asyncOps = map[string]func(d *decoder){"cp": decodeCp}

// asyncCopies are those of the threads of a warp that are not done.
type asyncCopies struct {
	list   []asyncCopy
	groups [32]int // that a lane has committed
}

type asyncCopy struct {
	lane  int
	group int // of its lane; -1 while it is not committed
	dst   uint64
	src   uint64
	n     uint64 // bytes of shared memory
	from  uint64 // bytes of global memory; what is left is zero
	pc    int
}

func (a *asyncCopies) reset() {
	a.list = a.list[:0]
	a.groups = [32]int{}
}

func decodeCp(d *decoder) {
	d.needs(80, 70)
	if !d.take("async") {
		d.fail("only cp.async is known")
		return
	}
	switch d.oneOf("commit_group", "wait_group", "wait_all", "ca", "cg") {
	case "commit_group":
		d.operands(0, 0)
		d.out.run = func(w *warp, m uint32) {
			a := &w.async
			for i := range a.list {
				c := &a.list[i]
				if c.group < 0 && m>>c.lane&1 != 0 {
					c.group = a.groups[c.lane]
				}
			}
			eachLane(m, func(l int) { a.groups[l]++ })
		}
	case "wait_group":
		if !d.operands(1, 1) {
			return
		}
		n := int(min(d.constant(0), 1<<30))
		d.out.run = func(w *warp, m uint32) {
			w.finish(m, func(c *asyncCopy) bool { return c.group >= 0 && c.group < w.async.groups[c.lane]-n })
		}
	case "wait_all":
		d.operands(0, 0)
		d.out.run = func(w *warp, m uint32) {
			w.finish(m, func(c *asyncCopy) bool { return true })
		}
	case "ca":
		decodeCopy(d, 4, 8, 16)
	case "cg":
		decodeCopy(d, 16)
	default:
		d.fail("one of .ca, .cg, .commit_group, .wait_group and .wait_all is needed")
	}
}

func decodeCopy(d *decoder, sizes ...uint64) {
	d.hints()
	if !(d.take("shared") || d.take("shared::cta")) || !d.take("global") {
		d.fail("it goes from .global to .shared")
	}
	if !d.operands(3, 4) {
		return
	}
	n := d.constant(2)
	ok := false
	for _, s := range sizes {
		ok = ok || s == n
	}
	if !ok {
		d.fail("copies of %d bytes: it takes %v", n, sizes)
	}
	for i, want := range []space{shared, global} {
		if o := &d.in.args[i]; o.kind == memOperand && o.base.kind == symOperand && o.base.sym.space != want {
			d.fail("variable %q is in space %v", o.base.sym.name, o.base.sym.space)
		}
	}
	dst, dOff := d.address(&d.in.args[0])
	src, sOff := d.address(&d.in.args[1])
	size, ignore, not := int32(-1), int32(-1), false
	if len(d.in.args) == 4 {
		if o := &d.in.args[3]; o.kind == regOperand && o.reg.typ == pred {
			ignore, not = d.predicate(o)
		} else {
			size = d.src(3, u32)
		}
	}
	d.out.run = func(w *warp, m uint32) {
		for mm := m; mm != 0; mm &= mm - 1 {
			l := bits.TrailingZeros32(mm)
			c := asyncCopy{lane: l, group: -1, dst: w.regs[dst][l] + dOff, src: w.regs[src][l] + sOff, n: n, from: n, pc: w.pc}
			if size >= 0 {
				if c.from = w.regs[size][l]; c.from > n {
					w.fault(OutOfBounds, l, "copies %d of %d bytes", c.from, n)
				}
			}
			if ignore >= 0 && flip(w.preds[ignore], not)>>l&1 != 0 {
				c.from = 0
			}
			sp := shared
			_, at, _ := w.place(&sp, l, c.dst, n, writes)
			if c.src&(n-1) != 0 {
				w.fault(Misaligned, l, "copies %d bytes from address %#x: not aligned", n, c.src)
			}
			if c.from > 0 {
				if why := outside(w.blk.l.mem.find(c.src), c.src, c.from); why != "" {
					w.fault(OutOfBounds, l, "copies %d bytes from address %#x: %s", c.from, c.src, why)
				}
			}
			// Others may still read what was there, up to a barrier.
			w.note(shared, l, at, n, nil, writes, false)
			for i := range w.blk.state[at : at+n] {
				w.blk.state[at+uint64(i)] = inFlight
			}
			w.addrs[l] = c.src
			w.async.list = append(w.async.list, c)
			w.stats.AsyncCopies++
		}
		w.count(global, m, n, false)
	}
}

// finish does the copies of the lanes of m that f says are done.
func (w *warp) finish(m uint32, f func(c *asyncCopy) bool) {
	left := w.async.list[:0]
	for _, c := range w.async.list {
		if m>>c.lane&1 == 0 || !f(&c) {
			left = append(left, c)
			continue
		}
		pc := w.pc
		w.pc = c.pc // faults are those of the copy
		sp := shared
		to, at, _ := w.place(&sp, c.lane, c.dst, c.n, writes)
		clear(to[at : at+c.n])
		if c.from > 0 {
			a := w.blk.l.mem.find(c.src)
			off := c.src - a.base
			w.note(global, c.lane, off, c.from, a, reads, false)
			copy(to[at:at+c.from], a.data[off:])
		}
		for i := range w.blk.state[at : at+c.n] {
			w.blk.state[at+uint64(i)] = written
		}
		w.note(shared, c.lane, at, c.n, nil, writes, false)
		w.pc = pc
	}
	w.async.list = left
}
