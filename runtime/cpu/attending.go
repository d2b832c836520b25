package cpu

import (
	"iter"
	"math"
	"slices"
	"sync/atomic"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/interp"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// chunking is how an attention is cut for the threads: so many batches, each in so many chunks of
// blocks of rows.
type chunking struct{ workers, batches, chunks, blocks int64 }

func (x *attention) chunking(d *Device) chunking {
	p := chunking{workers: int64(d.threads), batches: total(x.qk.batch), chunks: 1, blocks: ceilDiv(x.rows.n, rowBlock)}
	if times(p.batches, total(x.qk.m), x.keys, total(x.qk.k)+total(x.pv.n)) < 4*d.alone {
		p.workers = 1
	}
	if p.workers > 1 && p.batches < 4*p.workers { // each chunk packs for itself
		p.chunks = min(p.blocks, ceilDiv(4*p.workers, p.batches))
	}
	p.workers = min(p.workers, p.batches*p.chunks)
	return p
}

// roomOf is how many elements a worker takes, for what.
type roomOf struct{ queries, keys, values, scores, sums, rows, zeros, positions, iota, widest, looked, largest, shown, scratch int64 }

func (x *attention) room() (r roomOf) {
	rows := x.mostRows()
	if !x.thin {
		r.queries = roundUp(roundUp(rows, int64(x.mr))*total(x.qk.k), int64(x.nr)) // Go has zeros for rows that are missing in a panel
		r.keys = roundUp(x.keys, int64(x.nr)) * total(x.qk.k)
		r.values = x.keys * x.lineV()
	}
	r.scores, r.sums, r.rows, r.zeros = rows*keyLine, rows*x.lineO(), rows, x.lineO()
	for _, l := range x.leaves {
		if l.Position {
			r.positions += roundUp(rows, 16)
			r.iota = x.keys
		}
	}
	if x.hidden != nil {
		r.widest, r.looked, r.largest = ceilDiv(x.keys, int64(x.nr)), min(hiddenKeys, roundUp(x.keys, 64)), hiddenKeys/int64(x.nr)
	}
	if x.tells {
		r.shown = rows * keyLine / 4 // of a byte
	}
	for b := range x.bounds() {
		n := int64(0)
		for _, s := range b.Scratch {
			n += roundUp(s, 64) / 4
		}
		r.scratch = max(r.scratch, n)
	}
	return r
}

// bounds are all kernels.
func (x *attention) bounds() iter.Seq[*kernel.Bound] {
	return func(yield func(*kernel.Bound) bool) {
		for _, list := range [][]*kernel.Bound{x.top, x.open, x.weights, x.first, x.scored, x.hidden, x.closed, x.strict, x.shown, {x.state, x.finish, x.widest, x.moved}} {
			for _, b := range list {
				if b != nil && !yield(b) {
					return
				}
			}
		}
		for _, b := range x.extents {
			if b != nil && !yield(b) {
				return
			}
		}
	}
}

func (r roomOf) each() []int64 {
	return []int64{r.queries, r.keys, r.values, r.scores, r.sums, r.rows, r.rows, r.rows, r.rows, r.rows, r.zeros, r.positions, r.iota, r.widest, r.looked, r.largest, r.shown, r.scratch}
}

// bytes is what an attention takes from its workspace.
func (x *attention) bytes(d *Device) (n int64) {
	for _, e := range x.room().each() {
		n += analysis.Aligned(4 * e)
	}
	return n*x.chunking(d).workers + analysis.Aligned(8*x.bitWords()) + analysis.Aligned(8*x.orderWords())
}

// attending is an attention that is being computed.
type attending struct {
	workspace
	d   *Device
	x   *attention
	run *interp.Execution
	chunking
	next   atomic.Int64
	team   []*attender
	hidden hidden
	orders orders
	parts  []part // of each batch; none: all of it is one
	failed atomic.Bool
}

// part is blocks of rows, and the keys that count for any of them, of which none does for rows of another part. So
// all batches of a part can be computed before those of the next one: what they read lies near.
type part struct {
	blocks span
	keys   span
}

// attention computes the stages of an attention.
func (d *Device) attention(run *interp.Execution, x *attention, mem rt.Memory, told *rt.Zeros) (err error) {
	room, err := mem.Workspace(x.First)
	if err != nil {
		return err
	}
	if overlap(run.Tensor(x.pv.out).Bytes(), room) {
		room = nil // it was planned for stages that are computed one by one
	}
	a := d.attends.Get()
	a.d, a.x, a.run, a.mem, a.left = d, x, run, mem, room
	a.chunking = x.chunking(d)
	n := int64(0)
	defer func() {
		for _, w := range a.team[:n] {
			w.close()
		}
		a.x, a.run = nil, nil
		a.orders.close()
		a.hidden.bits = nil
		a.free()
		d.attends.Put(a)
	}()
	if err := a.hidden.open(a); err != nil {
		return err
	}
	for n < a.workers {
		if int(n) == len(a.team) {
			a.team = append(a.team, newAttender())
		}
		w := a.team[n]
		n++
		if err := w.begin(a); err != nil {
			return err
		}
	}
	a.cut()
	if err := a.order(); err != nil {
		return err
	}
	if err := a.compute(); err != nil {
		return err
	}
	if len(a.parts) > 0 && a.doubtful() || a.failed.Load() {
		a.parts = a.parts[:0]
		a.orders.close()
		if err := a.compute(); err != nil {
			return err
		}
	}
	if computed, all := a.hidden.visited.Load(), a.hidden.of.Load(); computed < all {
		*told = rt.Zeros{Operand: x.Scores.Out().Name, Computed: float64(max(computed, 1)) / float64(all), Way: "tiles of scores"}
	}
	return nil
}

func (a *attending) compute() error {
	a.next.Store(0)
	a.failed.Store(false)
	a.hidden.visited.Store(0)
	a.hidden.of.Store(0)
	a.hidden.plain.Store(0)
	for _, w := range a.team[:a.workers] {
		w.batch, w.part = -1, part{keys: span{0, a.x.keys}}
		w.mostKey, w.mostQuery, w.margin = 0, 0, math.Inf(1)
	}
	return a.d.parallel(rt.RecorderOf(a.run.Context()), a.run.Stages[a.x.Last].Out().Name, int(a.workers), a)
}

// cut finds parts, where blocks are the same in all batches.
func (a *attending) cut() {
	x := a.x
	a.parts = a.parts[:0]
	if len(x.needs) == 0 || x.thin || x.differs() {
		return
	}
	a.parts = slices.Grow(a.parts, int(total(x.qk.m)/partRows+1))
	w := a.team[0]
	w.batch = 0
	w.plan()
	all := part{blocks: span{0, int64(len(w.blocks))}}
	one, rows := part{}, int64(0)
	for i := range w.blocks {
		b := &w.blocks[i]
		if rows >= partRows && b.keys.from >= one.keys.to {
			a.parts = append(a.parts, one)
			one, rows = part{blocks: span{int64(i), int64(i)}}, 0
		}
		if all.keys.or(b.keys).from < all.keys.from {
			break // they do not lie one behind the other
		}
		one.blocks.to, one.keys, all.keys = int64(i)+1, one.keys.or(b.keys), all.keys.or(b.keys)
		rows += b.start(b.to) - b.start(b.from)
	}
	if a.parts = append(a.parts, one); len(a.parts) < 2 || one.blocks.to != all.blocks.to {
		a.parts = a.parts[:0]
		return
	}
	for i := range a.parts[1:] {
		if a.parts[i].keys.to > a.parts[i+1].keys.from {
			a.parts = a.parts[:0]
			return
		}
		a.parts[i+1].keys.from = a.parts[i].keys.to // keys between them are looked at, too
	}
	a.parts[0].keys.from, a.parts[len(a.parts)-1].keys.to = 0, x.keys
}

// partRows is how many rows make a part.
const partRows = 192

// doubtful says whether something stands against what parts rely on: that keys of others count nothing for their rows.
func (a *attending) doubtful() bool {
	if a.failed.Load() {
		return true
	}
	key, query, margin := 0., 0., math.Inf(1)
	for _, w := range a.team[:a.workers] {
		key, query, margin = max(key, w.mostKey), max(query, w.mostQuery), min(margin, w.margin)
	}
	slack, ok := a.x.slack(key, query)
	return !ok || !(margin >= slack)
}

// part works on chunks as long as there are any.
func (a *attending) part(_, i int) error {
	p := a.chunking
	chunks := p.batches * p.chunks
	if len(a.parts) > 0 {
		chunks = p.batches * int64(len(a.parts))
	}
	for {
		j := a.next.Add(1) - 1
		if j >= chunks || a.failed.Load() {
			return nil
		}
		var err error
		if w := a.team[i]; len(a.parts) > 0 {
			err = w.chunk(j%p.batches, a.parts[j/p.batches], 0, 1)
		} else {
			err = w.chunk(j/p.chunks, part{keys: span{0, a.x.keys}}, j%p.chunks, p.chunks)
		}
		if err != nil {
			a.next.Store(chunks)
			return err
		}
	}
}
