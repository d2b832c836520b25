package cpu

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// A mask may leave something in every tile, and yet be sparse: with dilated attention, row i wants the keys j of which i - j
// is a multiple of a number. Attention is the same in any order of rows and of keys. So rows and keys that a mask connects,
// by way of any others, are put side by side, and tiles of what is not connected are hidden as a whole.

// order is one of the rows and keys of a mask that says of each key that it is masked or left as it is.
type order struct {
	on           bool
	batch        int64     // the first one that has this mask
	low          float64   // what Upper is at most where it is masked
	lows         []float32 // likewise, by chunk of rows; NaN: something is neither masked nor as it is
	keys         []int32   // by place
	rows         []int32
	rowA, rowC   []int // by place: where rows of queries and of the result begin
	blocks       []rowsBlock
	seen, placed []uint64 // bits of keys that are not masked: by row and key, by their places; in between what keys a component has
}

// orders are those of an attention's masks, which workers find together.
type orders struct {
	a      *attending
	list   []order
	chunks int64 // of rows of a mask; 0: each mask is one
	next   atomic.Int64
}

// orderChunk is how many rows of a mask are looked at at a time.
const orderChunk = 64

// moves says whether rows and keys may be in another order than they lie: all is read by lists of addresses, and X of what a
// mask leaves is the same function of scores everywhere.
func (x *attention) moves() bool {
	if x.mask == nil || x.mask.Whole || x.thin || x.code.shown == nil || x.code.widest == nil ||
		x.qk.a.buf == nil || x.qk.b.buf == nil || x.pv.b.buf == nil || x.rows.rows < 4*int64(x.mr) || x.keys < 4*int64(x.nr) {
		return false
	}
	differs := func(l *leaf) bool { return slices.ContainsFunc(l.row, func(n int64) bool { return n != 0 }) }
	for _, i := range x.code.reads {
		if l := &x.leaves[i]; l.key != 0 || differs(l) || len(l.numbers) > 0 {
			return false
		}
	}
	return slices.ContainsFunc(x.leaves, func(l leaf) bool { return !l.Position && l.key != 0 && differs(&l) })
}

// orderWords is how many words of bits are taken for orders, beside those of masks.
func (x *attention) orderWords() int64 {
	if !x.moving {
		return 0
	}
	return x.bitWords()
}

// of is the order of a mask; nil: as it lies.
func (o *orders) of(mask int64) *order {
	if mask < int64(len(o.list)) && o.list[mask].on {
		return &o.list[mask]
	}
	return nil
}

// close forgets what is the run's.
func (o *orders) close() {
	for i := range o.list {
		o.list[i].on, o.list[i].seen, o.list[i].placed = false, nil, nil
	}
	o.a = nil
}

// order finds orders of masks that are better than the one they lie in.
func (a *attending) order() error {
	x, o := a.x, &a.orders
	for i := range o.list {
		o.list[i].on = false
	}
	if !x.moving || len(a.parts) > 0 {
		return nil
	}
	if err := o.open(a); err != nil {
		return err
	}
	w, some := a.team[0], false
	for w.batch = 0; w.batch < total(x.qk.batch); w.batch++ {
		if one := &o.list[w.maskOf()]; one.batch < 0 {
			one.batch = w.batch
			one.on = w.scattered(one)
			some = some || one.on
		}
	}
	if !some {
		return nil
	}
	rec, what := rt.RecorderOf(a.run.Context()), a.run.Stages[x.Last].Out().Name
	o.chunks = ceilDiv(x.rows.rows, orderChunk)
	for range 2 { // rows by rows what is masked, then mask by mask what order is good
		o.next.Store(0)
		if err := a.d.parallel(rec, what, int(a.workers), o); err != nil {
			return err
		}
		o.chunks = 0
	}
	return nil
}

// open readies the orders of an attention.
func (o *orders) open(a *attending) error {
	x := a.x
	masks, rows := x.masks(), x.rows.rows
	o.a = a
	words, err := a.words(x.orderWords())
	if err != nil {
		return err
	}
	for int64(len(o.list)) < masks {
		o.list = append(o.list, order{})
	}
	for i := range o.list[:masks] {
		one := &o.list[i]
		one.batch, one.on = -1, false
		at := int64(i) * rows * a.hidden.line
		one.seen, one.placed = a.hidden.bits[at:][:rows*a.hidden.line], words[at:][:rows*a.hidden.line]
		one.rows, one.keys = slices.Grow(one.rows[:0], int(rows))[:rows], slices.Grow(one.keys[:0], int(x.keys))[:x.keys]
		one.rowA, one.rowC = slices.Grow(one.rowA[:0], int(rows))[:rows], slices.Grow(one.rowC[:0], int(rows))[:rows]
		one.lows = slices.Grow(one.lows[:0], int(ceilDiv(rows, orderChunk)))[:ceilDiv(rows, orderChunk)]
		one.blocks = slices.Grow(one.blocks[:0], int(x.mostPanels()))
	}
	return nil
}

// part looks at rows, or finds orders, as long as there are any.
func (o *orders) part(_, i int) error {
	w, x := o.a.team[i], o.a.x
	each := max(o.chunks, 1)
	for {
		j := o.next.Add(1) - 1
		if j >= x.masks()*each {
			return nil
		}
		if err := w.qk.ctx.Err(); err != nil {
			return diag.Stopped(err)
		}
		one := &o.list[j/each]
		if !one.on {
			continue
		}
		if w.batch = one.batch; o.chunks == 0 {
			one.on = w.find(one)
			continue
		}
		chunk := j % each
		one.lows[chunk] = w.bits(chunk*orderChunk, min((chunk+1)*orderChunk, x.rows.rows))
	}
}

// bits finds which keys of some rows are as they are. It gives what Upper is at most where they are not, NaN where they are not masked.
func (w *attender) bits(from, to int64) float32 {
	x, low := w.x, float32(math.Inf(-1))
	panels := int(ceilDiv(x.keys, int64(x.nr)))
	w.mask = w.maskOf()
	for row := from; row < to; row += int64(x.mr) {
		end := min(row+int64(x.mr), to)
		for _, v := range w.largestIn(x.code.strict, x.strict, row, end, 0, panels) {
			if v > kernel.Masked {
				return float32(math.NaN())
			}
			low = max(low, v)
		}
		w.tell(row, end, 0, panels)
	}
	return low
}

// scattered says whether an order may pay, from some panels of rows: tiles that have something of a row have little of it.
func (w *attender) scattered(o *order) bool {
	x, nr := w.x, int64(w.x.nr)
	const samples = 4
	all, open := 0, int64(0)
	words := w.hidden.line
	for i := range int64(samples) {
		from := min((2*i+1)*x.rows.rows/(2*samples), x.rows.rows-int64(x.mr))
		if low := w.bits(from, from+int64(x.mr)); low != low {
			return false
		}
		for j := range words {
			any := uint64(0)
			for row := from; row < from+int64(x.mr); row++ {
				v := o.seen[row*words+j]
				all += bits.OnesCount64(v)
				any |= v
			}
			for ; any != 0; any >>= nr {
				if any&(1<<nr-1) != 0 {
					open += nr * int64(x.mr)
				}
			}
		}
	}
	return 3*int64(all) < 2*open
}

// sorter is what a worker finds an order with.
type sorter struct {
	owner  []int32 // by key: a row whose component it belongs to; -1: none
	parent []int32 // by row: one whose component it belongs to, itself if it stands for one
	class  []int32 // by row
	starts []int32 // by class
	places []int32 // by key
	counts []uint8 // by key
	dense  []uint64
}

func (s *sorter) fit(x *attention) {
	if !x.moving {
		return
	}
	rows, keys := int(x.rows.rows), int(roundUp(x.keys, 64))
	for _, l := range []*[]int32{&s.owner, &s.places} {
		*l = slices.Grow((*l)[:0], keys)[:keys]
	}
	for _, l := range []*[]int32{&s.parent, &s.class} {
		*l = slices.Grow((*l)[:0], rows)[:rows]
	}
	s.starts = slices.Grow(s.starts[:0], rows+3)[:rows+3]
	s.counts = slices.Grow(s.counts[:0], keys)[:keys]
	s.dense = slices.Grow(s.dense[:0], keys/64)[:keys/64]
}

// root is the row that stands for the component of one.
func (s *sorter) root(r int32) int32 {
	for s.parent[r] != r {
		s.parent[r] = s.parent[s.parent[r]]
		r = s.parent[r]
	}
	return r
}

// find finds an order, from the bits of a mask; false where it has none that is clearly better than the one it lies in.
func (w *attender) find(o *order) bool {
	x, s := w.x, &w.sorter
	w.mask, w.order = w.maskOf(), nil
	o.low = math.Inf(-1)
	for _, low := range o.lows {
		if low != low {
			return false
		}
		o.low = max(o.low, float64(low))
	}
	classes, empty := s.connect(o, w.hidden.line)
	if classes < 2 || empty && !(math.IsInf(o.low, -1) && x.mask.Exact) { // where all of a row is masked, all of it may count
		return false
	}
	s.sort(o, classes)
	s.place(o, w.hidden.line)
	for i, r := range o.rows {
		addresses(o.rowA[i:i+1], x.qk.m, int64(r), stepA)
		addresses(o.rowC[i:i+1], x.qk.m, int64(r), stepC)
	}
	w.plan()
	was := 0
	for i := range w.blocks {
		b := &w.blocks[i]
		for p := b.from; p < b.to; p++ {
			was += w.tilesIn(o.seen, b.row0+b.start(p), b.row0+b.start(p+1))
		}
	}
	// Panels end where classes do, unless there are too few rows.
	o.blocks = o.blocks[:0]
	now, number, from := 0, int64(0), int64(0)
	for to := int64(1); to <= x.rows.rows; to++ {
		if to < x.rows.rows && (s.class[o.rows[to]] == s.class[o.rows[to-1]] || to-from < int64(x.mr)) {
			continue
		}
		p := w.cut.panelsOf(to - from)
		for i := int64(0); i < p.n; i += rowBlock {
			b := rowsBlock{rowPanels: p, row0: from, from: i, to: min(i+rowBlock, p.n), number: number, keys: span{0, x.keys}}
			for j := b.from; j < b.to; j++ {
				now += w.tilesIn(o.placed, from+p.start(j), from+p.start(j+1))
				w.keep(o, &b, j)
			}
			number += b.to - b.from
			o.blocks = append(o.blocks, b)
		}
		from = to
	}
	return 4*now < 3*was
}

// connect finds components of rows and keys, beside rows that want about all keys and keys that about all rows want. Classes of rows
// are these, dense rows, and rows without keys, of which empty says whether there are any.
func (s *sorter) connect(o *order, words int64) (classes int32, empty bool) {
	rows := int64(len(o.rows))
	line := func(of []uint64, r int64) []uint64 { return of[r*words:][:words] }
	s.densely(o, words)
	for i := range s.owner {
		s.owner[i] = -1
	}
	const dense, none = -1, -2
	for r := range rows {
		bitsOf := line(o.seen, r)
		n, first := 0, int32(-1)
		for i, v := range bitsOf {
			n += bits.OnesCount64(v)
			if v &^= s.dense[i]; v != 0 && first < 0 {
				first = int32(64*i + bits.TrailingZeros64(v))
			}
		}
		switch {
		case n == 0:
			s.parent[r], empty = none, true
			continue
		case first < 0 || 4*n > 3*len(o.keys):
			s.parent[r] = dense
			continue
		}
		c := s.owner[first]
		if c < 0 {
			c = int32(r)
			clear(line(o.placed, r))
		} else {
			c = s.root(c)
		}
		s.parent[r] = c
		mine := line(o.placed, int64(c))
		for i, v := range bitsOf {
			v &^= s.dense[i]
			for rest := v &^ mine[i]; rest != 0; rest = v &^ mine[i] {
				at := bits.TrailingZeros64(rest)
				other := s.owner[64*i+at]
				if other < 0 {
					s.owner[64*i+at] = c
					mine[i] |= 1 << at
					continue
				}
				other = s.root(other)
				s.parent[other] = c
				for j, v := range line(o.placed, int64(other)) {
					mine[j] |= v
				}
			}
		}
	}
	for r := range s.class {
		s.class[r] = -1
	}
	for r := range s.parent { // by their first rows
		if s.parent[r] < 0 {
			continue
		}
		root := s.root(int32(r))
		if s.class[root] < 0 {
			s.class[root] = classes
			classes++
		}
		s.class[r] = s.class[root]
	}
	for r, p := range s.parent {
		switch p {
		case dense:
			s.class[r] = classes
		case none:
			s.class[r] = classes + 1
		}
	}
	return classes, empty
}

// densely finds keys that about all rows want, from rows that lie where no period is met.
func (s *sorter) densely(o *order, words int64) {
	clear(s.counts)
	clear(s.dense)
	rows := uint64(len(o.rows))
	n := min(rows, math.MaxUint8)
	for i := range n {
		r := i
		if n < rows {
			r = uint64(uint32(i*0x9e3779b1)) * rows >> 32
		}
		for j, v := range o.seen[int64(r)*words:][:words] {
			for k := range 8 {
				if b := uint8(v >> (8 * k)); b != 0 {
					at := (*[8]uint8)(s.counts[64*j+8*k:])
					binary.LittleEndian.PutUint64(at[:], binary.LittleEndian.Uint64(at[:])+spread[b])
				}
			}
		}
	}
	for i, c := range s.counts {
		if 4*uint64(c) > 3*n {
			s.dense[i/64] |= 1 << (i % 64)
		}
	}
}

// spread is eight bits as bytes.
var spread = func() (t [256]uint64) {
	for b := range t {
		for i := range 8 {
			t[b] |= uint64(b>>i&1) << (8 * i)
		}
	}
	return t
}()

// sort sorts rows and keys by class, and in a class as they lie.
func (s *sorter) sort(o *order, classes int32) {
	ofKey := func(k int) int32 {
		switch {
		case s.dense[k/64]>>(k%64)&1 != 0:
			return classes
		case s.owner[k] < 0:
			return classes + 1
		}
		return s.class[s.root(s.owner[k])]
	}
	sort := func(to []int32, class func(int) int32) {
		starts := s.starts[:classes+3]
		clear(starts)
		for i := range to {
			starts[class(i)+1]++
		}
		for i := range starts[1:] {
			starts[i+1] += starts[i]
		}
		for i := range to {
			c := class(i)
			to[starts[c]] = int32(i)
			starts[c]++
		}
	}
	sort(o.keys, ofKey)
	sort(o.rows, func(r int) int32 { return s.class[r] })
	for i, k := range o.keys {
		s.places[k] = int32(i)
	}
}

// place puts bits where rows and keys have their places.
func (s *sorter) place(o *order, words int64) {
	var was []uint64
	for i, r := range o.rows {
		from, to := o.seen[int64(r)*words:][:words], o.placed[int64(i)*words:][:words]
		if was != nil && slices.Equal(from, was) { // rows of a component mostly want the same
			copy(to, o.placed[int64(i-1)*words:])
			continue
		}
		clear(to)
		for j, v := range from {
			for ; v != 0; v &= v - 1 {
				at := s.places[64*j+bits.TrailingZeros64(v)]
				to[at/64] |= 1 << (at % 64)
			}
		}
		was = from
	}
}

// tilesIn is how many tiles of rows have something, each as often as there are rows, and leaves in union and next which do and are open as
// a whole.
func (w *attender) tilesIn(of []uint64, from, to int64) (n int) {
	words, nr := w.hidden.line, w.x.nr
	clear(w.union)
	clear(w.next)
	for j := range words {
		some, all := uint64(0), ^uint64(0)
		for r := from; r < to; r++ {
			v := of[r*words+j]
			some, all = some|v, all&v
		}
		if rest := w.x.keys - 64*j; rest < 64 {
			all |= ^uint64(0) << rest
		}
		for at := 0; at < 64 && int64(at)+64*j < w.x.keys; at += nr {
			tile := uint64(1)<<nr - 1
			k := (int(64*j) + at) / nr
			if some>>at&tile != 0 {
				w.edges[k] = edgeOf(some >> at & tile)
				w.union[k/32] |= 1 << (k % 32)
				n += int(to - from)
			}
			if all>>at&tile == tile {
				w.next[k/32] |= 1 << (k % 32)
			}
		}
	}
	return n
}

// keep keeps what tilesIn found of a panel.
func (w *attender) keep(o *order, b *rowsBlock, panel int64) {
	w.order = o
	t := w.tilesOf(b, panel)
	copy(t.counts, w.union)
	copy(t.open, w.next)
	copy(t.told, w.union)
	copy(w.edgesOf(b, panel), w.edges)
	w.order = nil
}

// keysAt fills in where keys have their elements, from a place on.
func (w *attender) keysAt(out []int, nest []loop, k0 int64) {
	if w.order == nil {
		addresses(out, nest, k0, stepB)
		return
	}
	for i, k := range w.order.keys[k0:][:len(out)] {
		out[i] = int(stepB(&nest[0], int64(k)))
	}
}

// show fills in which of some keys are shown to rows.
func (w *attender) show(i0 int64, row, to int, keys keyRun) {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&w.shown[0])), 4*len(w.shown))
	for r := row; r < to; r++ {
		at := bytes[r*keyLine+keys.at:]
		var line []uint64
		if w.order != nil {
			line = w.order.placed[(i0+int64(r))*w.hidden.line:]
		} else {
			line = w.bitsOf(i0 + int64(r))
		}
		for k := 0; k < keys.n; {
			from := keys.from + k
			word := line[from/64] >> (from % 64)
			for end := min(k+64-from%64, keys.n); k < end; k += 8 {
				binary.LittleEndian.PutUint64(at[k:], spread[uint8(word)])
				word >>= 8
			}
		}
	}
}
