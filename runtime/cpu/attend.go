package cpu

import (
	"math"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// attender works on one thread.
type attender struct {
	x     *attention
	d     *Device
	cut   *blocks
	qk    *worker[float32] // packs queries and keys
	pv    *worker[float32] // packs values
	out   []float32
	batch int64  // whose keys and values are packed; -1: none
	order *order // they are packed in; nil: as they lie
	clean int8   // whether its values are finite: 0: not known; 1: they are; -1: they are not

	queries, keys, values, scores, sums, m, l, t, f, by, zeros, positions, iota, scratch []float32

	bases  []unsafe.Pointer // of leaves
	at     []unsafe.Pointer // by slot: where buffers of kernels lie
	rowS   []unsafe.Pointer // of scores
	rowO   []unsafe.Pointer // of sums
	rowsAt []int            // where rows of the result begin
	colsAt []int
	offs   []int32
	words  []int64
	memory []unsafe.Pointer // of a kernel in Go
	frame  kernel.Frame
	four   []float32 // weights of a panel of rows, packed
	args   x86.TileArgs

	first, second []x86.Func // by rows: tiles of scores, and of values
	halves        []x86.Func // as first, of half of the keys
	spot          []int64    // positions along the loops of rows

	numbers      []unsafe.Pointer // of rows
	blocks       []rowsBlock      // of the batch
	spans        []span           // of keys that count, by row
	column       []int64          // what a position is, by row
	key, planned []int64          // where what blocks depend on lies, of this batch and of that they are of
	begun        bool             // rows have sums of values
	list, group  []keyRun         // keys that a block goes over, and what of them at a time
	panels       int64            // of all blocks

	hidden                  *hidden
	orders                  *orders
	sorter                  sorter
	shown                   []float32 // bytes: whether keys of rows are, as scores lie
	mask                    int64     // of the batch
	hiding                  bool      // it hides tiles
	partKey                 float64   // the largest absolute value of the part's keys
	mostKey, mostQuery      float64   // of all keys that were looked at, and of queries
	margin                  float64   // how far rows are above what is left out, at least
	part                    part
	failed                  *atomic.Bool
	widest, looked, largest []float32
	union, next             []uint32 // tiles that count for some panels
	uniform                 bool     // it is the same for all panels of the block
	wants, opens, tells     []uint32 // by panel of the block: tiles that count for it alone; none: all do; those of which all is open, and of which bits tell; none: none is
	edges                   []edge   // by panel and tile
	zero                    x86.Func // finds zeros
	lots                    x86.ZerosArgs
}

// keyRun is keys that lie side by side: so many from one on, whose scores stand at a column.
type keyRun struct{ from, n, at int }

func newAttender() *attender {
	w := &attender{qk: new(worker[float32]), pv: new(worker[float32])}
	for _, p := range []*worker[float32]{w.qk, w.pv} {
		p.lists, p.a, p.b = new(lists), new(source[float32]), new(source[float32])
	}
	return w
}

// begin readies a worker.
func (w *attender) begin(a *attending) (err error) {
	x, cut := a.x, a.d.tileBlocks()
	w.x, w.d, w.cut, w.batch, w.clean, w.hidden, w.failed = x, a.d, cut, -1, 0, &a.hidden, &a.failed
	w.order, w.orders = nil, &a.orders
	out := a.run.Tensor(x.pv.out)
	w.out = tensor.Data[float32](out)
	to := []*[]float32{&w.queries, &w.keys, &w.values, &w.scores, &w.sums, &w.m, &w.l, &w.t, &w.f, &w.by, &w.zeros, &w.positions, &w.iota, &w.widest, &w.looked, &w.largest, &w.shown, &w.scratch}
	r := x.room()
	for i, n := range [...]int64{r.queries, r.keys, r.values, r.scores, r.sums, r.rows, r.rows, r.rows, r.rows, r.rows, r.zeros, r.positions, r.iota, r.widest, r.looked, r.largest, r.shown, r.scratch} {
		if *to[i], err = take[float32](&a.workspace, out, n); err != nil {
			return err
		}
	}
	for i := range w.iota {
		w.iota[i] = float32(i)
	}
	for _, p := range []*worker[float32]{w.qk, w.pv} {
		p.lists.fit(cut)
		p.ctx, p.cut = a.run.Context(), cut
	}
	w.qk.p, w.pv.p = x.qk, x.pv
	data := func(o *operand) []float32 {
		if o.buf == nil {
			return nil
		}
		return tensor.Data[float32](a.run.Tensor(o.buf))
	}
	if err := w.qk.a.open(a.run, &x.qk.a, data(&x.qk.a), false); err != nil {
		return err
	}
	if err := w.qk.b.open(a.run, &x.qk.b, data(&x.qk.b), false); err != nil {
		return err
	}
	if err := w.pv.b.open(a.run, &x.pv.b, data(&x.pv.b), false); err != nil {
		return err
	}
	rows := int(x.mostRows())
	w.rowS, w.rowO = w.rowS[:0], w.rowO[:0]
	for i := range rows {
		w.rowS = append(w.rowS, unsafe.Pointer(&w.scores[i*keyLine]))
		w.rowO = append(w.rowO, unsafe.Pointer(&w.sums[i*int(x.lineO())]))
	}
	if len(w.rowsAt) < rows {
		w.rowsAt = make([]int, rows)
	}
	if cols := int(total(x.pv.n)); len(w.colsAt) < cols {
		w.colsAt = make([]int, cols)
	}
	addresses(w.colsAt[:total(x.pv.n)], x.pv.n, 0, stepC)
	if depth := total(x.qk.k); !x.thin {
		addresses(w.qk.kA[:depth], x.qk.k, 0, stepA)
		addresses(w.qk.kB[:depth], x.qk.k, 0, stepB)
		addresses(w.pv.colB[:total(x.pv.n)], x.pv.n, 0, stepB)
	}
	w.bases = w.bases[:0]
	for _, l := range x.leaves {
		at := unsafe.Pointer(nil)
		if l.buf != nil {
			at = unsafe.Pointer(unsafe.SliceData(a.run.Tensor(l.buf).Bytes()))
		}
		w.bases = append(w.bases, at)
	}
	w.sorter.fit(x)
	w.numbers, w.blocks = w.numbers[:0], w.blocks[:0]
	if x.mask != nil { // as much as any data can ask for
		w.blocks, w.spans = slices.Grow(w.blocks, int(x.mostPanels())), slices.Grow(w.spans[:0], int(total(x.qk.m)))
		w.list, w.group = slices.Grow(w.list[:0], int(ceilDiv(x.keys, int64(x.nr)))), slices.Grow(w.group[:0], keyBlock/x.nr+1)
	}
	for _, l := range x.leaves {
		for _, n := range l.numbers {
			w.numbers = append(w.numbers, unsafe.Pointer(unsafe.SliceData(a.run.Tensor(n.buf).Bytes())))
		}
	}
	n := int(a.hidden.words)
	w.union, w.next = resized(w.union, n), resized(w.next, n)
	w.wants, w.opens, w.tells = resized(w.wants, rowBlock*n), resized(w.opens, rowBlock*n), resized(w.tells, rowBlock*n)
	if x.tells {
		w.edges = resized(w.edges, 32*rowBlock*n)
	}
	if w.zero = (x86.Func{}); x.tells && cut.code != nil {
		if w.zero, err = cut.code.code(zeros{}); err != nil {
			return err
		}
	}
	if len(w.column) < 128 {
		w.column = make([]int64, 128)
	}
	for len(w.at) < slotLeaf+len(x.leaves) {
		w.at = append(w.at, nil)
	}
	if len(w.first) <= cut.mr {
		w.first, w.second, w.halves = make([]x86.Func, cut.mr+1), make([]x86.Func, cut.mr+1), make([]x86.Func, cut.mr+1)
	}
	if len(w.offs) == 0 {
		w.offs = make([]int32, keyBlock+x86.TileAhead)
	}
	for len(w.spot) < len(x.qk.m)+len(x.qk.batch) {
		w.spot = append(w.spot, 0)
	}
	most := 0
	for b := range x.bounds() {
		most = max(most, emit.Words(b.Kernel))
	}
	if len(w.words) < most {
		w.words = make([]int64, most)
	}
	return nil
}

// resized is a list of so many elements, whatever is in them.
func resized[T any](list []T, n int) []T { return slices.Grow(list[:0], n)[:n] }

// close drops what is the run's.
func (w *attender) close() {
	for _, p := range []*worker[float32]{w.qk, w.pv} {
		p.a.close()
		p.b.close()
		p.lists.forget()
		*p = worker[float32]{lists: p.lists, a: p.a, b: p.b}
	}
	clear(w.bases)
	clear(w.at)
	clear(w.rowS)
	clear(w.rowO)
	clear(w.words)
	clear(w.memory)
	clear(w.numbers)
	keep := attender{qk: w.qk, pv: w.pv, first: w.first, second: w.second, halves: w.halves, bases: w.bases, at: w.at, rowS: w.rowS, rowO: w.rowO, rowsAt: w.rowsAt, colsAt: w.colsAt, offs: w.offs, words: w.words, memory: w.memory, frame: w.frame, four: w.four, spot: w.spot,
		numbers: w.numbers, blocks: w.blocks, spans: w.spans, column: w.column, key: w.key, planned: w.planned, list: w.list, group: w.group,
		union: w.union, next: w.next, wants: w.wants, opens: w.opens, tells: w.tells, edges: w.edges, sorter: w.sorter}
	*w = keep
}

// chunk computes a share of the blocks of rows of a batch.
func (w *attender) chunk(batch int64, of part, share, shares int64) error {
	x := w.x
	w.qk.stand(&segment{}, batch)
	w.pv.stand(&segment{}, batch)
	if w.batch != batch || w.part != of {
		w.batch, w.part, w.clean = batch, of, 0
		w.plan()
		w.mask = w.maskOf()
		if w.order = w.orders.of(w.mask); w.order != nil {
			w.hiding = true
			if err := w.pack(); err != nil {
				return err
			}
			if !w.finite() {
				w.order, w.clean = nil, 0
			}
		}
		if w.order == nil {
			w.hiding = w.hides()
			if !x.thin {
				if err := w.pack(); err != nil {
					return err
				}
			}
		}
	}
	list := w.blocks
	if w.order != nil {
		list = w.order.blocks
	}
	blocks := of.blocks
	if blocks.empty() {
		n := int64(len(list))
		blocks = span{n * share / shares, n * (share + 1) / shares}
	}
	// Workers begin at different ones, so that each finds something of the mask.
	n := blocks.to - blocks.from
	first := n * batch / total(x.qk.batch)
	for i := range n {
		if err := w.block(&list[blocks.from+(first+i)%n]); err != nil {
			return err
		}
	}
	return nil
}

// base is the key that is packed first.
func (w *attender) base() int64 { return w.part.keys.from / int64(w.x.nr) * int64(w.x.nr) }

// pack packs the keys and values of the batch.
func (w *attender) pack() error {
	x, depth, cols := w.x, int(total(w.x.qk.k)), int(total(w.x.pv.n))
	base, end := w.base(), min(roundUp(w.part.keys.to, int64(x.nr)), x.keys)
	for k0 := base; k0 < end; k0 += keyBlock {
		if err := w.qk.ctx.Err(); err != nil {
			return diag.Stopped(err)
		}
		n := int(min(keyBlock, end-k0))
		w.keysAt(w.qk.colB[:n], x.qk.n, k0)
		if err := w.qk.fillB(w.keys[(k0-base)*int64(depth):], w.cut.nr*depth, w.batch, k0, n, 0, depth); err != nil {
			return err
		}
		w.keysAt(w.pv.kB[:n], x.pv.k, k0)
		if err := w.pv.fillB(w.values[int(k0-base)*w.cut.nr:], w.cut.nr*int(x.keys), w.batch, 0, cols, k0, n); err != nil {
			return err
		}
	}
	return nil
}

// block computes some panels of rows.
func (w *attender) block(of *rowsBlock) error {
	x, low := w.x, math.Inf(-1)
	if of.keys != (span{0, x.keys}) {
		low = x.low
	}
	if w.order != nil {
		return w.split(of, w.order.low)
	}
	if w.hiding && w.finite() {
		w.look(of)
		low = max(low, float64(w.hidden.low[w.mask*w.hidden.panels+of.number]))
		return w.split(of, low)
	}
	return w.rows(of, nil, low)
}

// rows computes some panels of rows over the keys of tiles that have something that counts; where Upper is above low,
// something does.
func (w *attender) rows(of *rowsBlock, tiles []uint32, low float64) error {
	x, depth := w.x, int(total(w.x.qk.k))
	b := block{rowPanels: of.rowPanels, from: of.from, to: of.to, depth: depth}
	i0 := of.row0 + b.start(b.from)
	rows := int(b.start(b.to) - b.start(b.from))
	if o := w.order; o != nil {
		copy(w.qk.rowA[:rows], o.rowA[i0:])
		copy(w.rowsAt[:rows], o.rowC[i0:])
	} else {
		addresses(w.qk.rowA[:rows], x.qk.m, i0, stepA)
		addresses(w.rowsAt[:rows], x.qk.m, i0, stepC)
	}
	if !x.thin {
		w.qk.blockA = w.queries
		if err := w.qk.fillA(w.batch, i0, b); err != nil {
			return err
		}
	}
	for i := range x.leaves {
		if l := &x.leaves[i]; l.Position {
			w.rowNumbers(i, i0, w.column[:rows])
			for j, at := range w.column[:rows] {
				w.position(i)[j] = float32(at)
			}
		}
	}
	all := rowsBlock{keys: span{0, x.keys}}
	parts := w.part.keys != all.keys
	if (tiles != nil || of.keys != all.keys) && w.spares(of.keys) {
		if slack, ok := w.slack(&b, rows); ok {
			w.listed(of, tiles)
			w.want(of, tiles != nil)
			w.hidden.of.Add(int64(rows) * x.keys)
			if err := w.over(b, i0, rows); err != nil {
				return err
			}
			if w.beside(rows, low, slack) {
				return w.finish(i0, rows)
			}
		}
	}
	if parts || w.order != nil { // there are no other keys here, or not where X would read for them
		w.failed.Store(true)
		return nil
	}
	w.listed(&all, nil)
	w.wants, w.opens, w.tells = w.wants[:0], w.opens[:0], w.tells[:0]
	w.hidden.of.Add(int64(rows) * x.keys)
	if err := w.over(b, i0, rows); err != nil {
		return err
	}
	return w.finish(i0, rows)
}

// slack is how much scores of some rows can add to what Upper is; false where there is no bound.
func (w *attender) slack(b *block, rows int) (float64, bool) {
	if w.x.mask.Slack == (kernel.Slack{}) {
		return 0, true
	}
	if w.cut.code == nil { // panels with fewer rows have zeros
		rows = int(b.to-b.from) * w.cut.mr
	}
	n := int64(rows) * total(w.x.qk.k)
	all := w.queries[:roundUp(n, int64(w.x.nr))]
	clear(all[n:])
	most, finite := w.extent(all)
	w.mostQuery = max(w.mostQuery, most)
	slack, ok := w.x.slack(w.partKey, most)
	return slack, ok && finite
}

// slack is how much scores can add to what Upper is, of what keys and queries are at most.
func (x *attention) slack(key, query float64) (float64, bool) {
	most := 1.01 * (x.mask.Slack.Times*float64(total(x.qk.k))*key*query + x.mask.Slack.Plus)
	return most, most < 1e30
}

// position is what a leaf is at the first key, by row of the block.
func (w *attender) position(leaf int) []float32 {
	return w.positions[int64(w.x.leaves[leaf].at)*roundUp(w.x.mostRows(), 16):]
}

// over sums up values, over the listed keys.
func (w *attender) over(b block, i0 int64, rows int) error {
	x := w.x
	if x.thin || len(w.list) == 0 || w.cut.code == nil {
		clear(w.sums[:rows*int(x.lineO())])
	}
	for i := range rows {
		w.m[i], w.l[i] = float32(math.Inf(-1)), 0
	}
	w.visit(&b, rows)
	w.begun = x.thin
	for i, at := 0, 0; i < len(w.list); { // at: keys of a run that are done
		if err := w.qk.ctx.Err(); err != nil {
			return diag.Stopped(err)
		}
		w.group = w.group[:0]
		for n := 0; n < keyBlock && i < len(w.list); {
			r := w.list[i]
			some := min(keyBlock-n, r.n-at)
			w.group = append(w.group, keyRun{r.from + at, some, n})
			if n, at = n+some, at+some; at == r.n {
				i, at = i+1, 0
			}
		}
		var err error
		if x.thin {
			err = w.thinBlock(rows, int64(w.group[0].from), w.group[0].n)
		} else {
			err = w.tiles(b, i0, rows)
			w.begun = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tiles brings the sums of a block to what they are with some more keys, the group.
func (w *attender) tiles(b block, i0 int64, rows int) error {
	if w.cut.code == nil {
		w.tilesInGo(&b, i0, rows)
		return nil
	}
	x, g, nr, base := w.x, &w.args, w.cut.nr, int(w.base())
	g.K, g.Accumulate = int64(b.depth), 0
	for _, keys := range w.group {
		for j := 0; j < keys.n; j += nr {
			k := (keys.from + j) / nr
			for row, i := 0, b.from; i < b.to; {
				at, width := w.partOf(&b, i, k)
				size, count := w.alike(&b, i, func(j int64) bool {
					a, n := w.partOf(&b, j, k)
					return a == at && n == width
				})
				if width > 0 {
					kept, t := w.first, tile{Rows: size, Cols: width, Panels: true}
					if width < nr {
						kept, t.Of = w.halves, nr
					}
					f, err := w.tile(kept, t)
					if err != nil {
						return err
					}
					g.B, g.COffset = unsafe.Pointer(&w.keys[(keys.from-base+j)*b.depth+at]), int64(4*(keys.at+j+at))
					g.Count = int64(min(width, keys.n-j-at))
					g.A, g.C, g.Panels = unsafe.Pointer(&w.queries[row*b.depth]), unsafe.Pointer(&w.rowS[row]), int64(count)
					f.Call(unsafe.Pointer(g))
				}
				row, i = row+size*count, i+int64(count)
			}
		}
	}
	w.soften(&b, i0, rows)
	g.Count = int64(nr)
	for l, keys := range w.group {
		first, last := keys.from/nr, (keys.from+keys.n+nr-1)/nr
		for row, i := 0, b.from; i < b.to; {
			size, count := w.alike(&b, i, func(j int64) bool { return w.wantSame(&b, i, j, first, last) })
			f, err := w.tile(w.second, tile{Rows: size, Cols: nr, Stride: 4 * keyLine, Panels: true})
			if err != nil {
				return err
			}
			g.C, g.Panels = unsafe.Pointer(&w.rowO[row]), int64(count)
			if g.Accumulate = 1; !w.begun && l == 0 {
				g.Accumulate = 0
			}
			for k := first; k < last; {
				from, to, next := w.nextKeys(&b, i, k, last)
				if k = next; from == to {
					break
				}
				g.A, g.K = unsafe.Pointer(&w.scores[row*keyLine+keys.at+from-keys.from]), int64(to-from)
				for j := 0; j < int(x.lineV()); j += nr {
					g.B, g.COffset = unsafe.Pointer(&w.values[j*int(x.keys)+(from-base)*nr]), int64(4*j)
					f.Call(unsafe.Pointer(g))
				}
				g.Accumulate = 1
			}
			if g.Accumulate == 0 { // none counts
				clear(w.sums[row*int(x.lineO()):][:size*count*int(x.lineO())])
			}
			row, i = row+size*count, i+int64(count)
		}
	}
	return nil
}

// alike are the rows of a panel, and how many panels from it on have as many and are the same as it.
func (w *attender) alike(b *block, i int64, same func(j int64) bool) (size, count int) {
	size = int(b.size(i))
	for j := i + 1; j < b.to && int(b.size(j)) == size && (w.uniform || len(w.wants) == 0 || same(j)); j++ {
		count++
	}
	return size, count + 1
}

// tile is a micro-kernel, of those by rows.
func (w *attender) tile(kept []x86.Func, t tile) (x86.Func, error) {
	if kept[t.Rows].Addr() == 0 {
		f, err := w.cut.code.code(t)
		if err != nil {
			return f, err
		}
		kept[t.Rows] = f
	}
	return kept[t.Rows], nil
}

// thinBlock is tiles where keys and values are read where they lie.
func (w *attender) thinBlock(rows int, k0 int64, n int) error {
	x := w.x
	w.at[slotA] = unsafe.Pointer(&w.qk.a.data[w.qk.batchA])
	w.at[slotB] = unsafe.Pointer(&w.qk.b.data[w.qk.batchB+int(k0*x.qk.n[0].b)])
	w.at[slotScores] = unsafe.Pointer(&w.scores[0])
	w.call(x.code.scored, x.scored[x.which(int64(n))], rows)
	w.soften(&block{}, 0, rows)
	step := x.pv.k[0].b
	for i := range n {
		w.offs[i] = int32(4 * int64(i) * step)
	}
	g := &w.args
	g.A, g.List, g.C = unsafe.Pointer(&w.scores[0]), unsafe.Pointer(&w.offs[0]), unsafe.Pointer(&w.rowO[0])
	g.K, g.Accumulate = int64(n), 1
	cols := int(total(x.pv.n))
	for j := 0; j < cols; {
		width := w.cut.code.widthFor(rows, min(widest, cols-j))
		f, err := w.qk.wide(tile{Rows: rows, Cols: width, List: true, Stride: 4 * keyLine})
		if err != nil {
			return err
		}
		g.B, g.COffset, g.Count = unsafe.Pointer(&w.pv.b.data[w.pv.batchB+int(k0*step)+j]), int64(4*j), int64(width)
		f.Call(unsafe.Pointer(g))
		j += width
	}
	return nil
}

// soften makes weights of the scores of a group of keys, and brings the state of the rows along.
func (w *attender) soften(b *block, i0 int64, rows int) {
	x, n := w.x, 0
	for i := range rows {
		w.t[i] = float32(math.Inf(-1))
	}
	for _, keys := range w.group {
		n += keys.n
		if len(w.wants) == 0 {
			w.top(x.code.top, x.top, i0, 0, rows, keys)
			continue
		}
		nr := w.cut.nr
		first, last := keys.from/nr, (keys.from+keys.n+nr-1)/nr
		for i := b.from; i < b.to; { // panels for which it is the same with each tile
			end := i + 1
			for end < b.to && w.alikeIn(b, i, end, first, last) {
				end++
			}
			row, to := int(b.start(i)-b.start(b.from)), int(b.start(end)-b.start(b.from))
			for k := first; k < last; { // tiles side by side with which it is the same
				next := k + 1
				counts, open, told := w.counts(b, i, k), w.open(b, i, k), w.told(b, i, k)
				for next < last && w.counts(b, i, next) == counts && w.open(b, i, next) == open && w.told(b, i, next) == told {
					next++
				}
				at := (k - first) * nr
				some := keyRun{keys.from + at, min((next-k)*nr, keys.n-at), keys.at + at}
				switch {
				case !counts:
					for r := row; r < to; r++ {
						fill(w.scores[r*keyLine+some.at:][:some.n], float32(math.Inf(-1)))
					}
				case open:
					w.top(x.code.open, x.open, i0, row, to, some)
				case told:
					w.show(i0, row, to, some)
					w.top(x.code.shown, x.shown, i0, row, to, some)
				default:
					w.top(x.code.top, x.top, i0, row, to, some)
				}
				k = next
			}
			i = end
		}
	}
	if w.cut.code == nil {
		w.weightsInGo(rows, n)
		return
	}
	w.at[slotScores] = unsafe.Pointer(&w.scores[0])
	w.at[slotM], w.at[slotL] = unsafe.Pointer(&w.m[0]), unsafe.Pointer(&w.l[0])
	w.at[slotT], w.at[slotSums] = unsafe.Pointer(&w.t[0]), unsafe.Pointer(&w.sums[0])
	w.at[slotF], w.at[slotBy] = unsafe.Pointer(&w.f[0]), unsafe.Pointer(&w.by[0])
	w.call(x.code.state, x.state, rows)
	code, bound := x.code.weights, x.weights
	if !w.begun {
		code, bound = x.code.first, x.first
	}
	w.call(code, bound[x.which(int64(n))], rows)
}

// top makes X of the scores of some rows and keys, and brings the largest of the rows along.
func (w *attender) top(code *codeOf, bound []*kernel.Bound, i0 int64, row, to int, keys keyRun) {
	x := w.x
	if x.leaves != nil {
		w.at[slotIota] = unsafe.Pointer(unsafe.SliceData(w.iota[min(keys.from, len(w.iota)):]))
	}
	for r := row; r < to; {
		run := w.stretch(i0+int64(r), to-r)
		w.at[slotScores], w.at[slotT] = unsafe.Pointer(&w.scores[r*keyLine+keys.at]), unsafe.Pointer(&w.t[r])
		if len(w.shown) > 0 {
			w.at[slotShown] = unsafe.Add(unsafe.Pointer(&w.shown[0]), r*keyLine+keys.at)
		}
		for i := range x.leaves {
			l := &x.leaves[i]
			if l.Position {
				w.at[slotLeaf+i] = unsafe.Pointer(&w.position(i)[r])
			} else {
				w.at[slotLeaf+i] = unsafe.Add(w.bases[i], (w.leafAt(i, int64(keys.from))-l.back*(x.mostRows()-1))*l.elem)
			}
		}
		w.call(code, bound[x.which(int64(keys.n))], run)
		r += run
	}
}

func fill(v []float32, x float32) {
	for i := range v {
		v[i] = x
	}
}

// alikeIn says whether it is the same with some tiles of two panels.
func (w *attender) alikeIn(b *block, i, j int64, first, last int) bool {
	if w.uniform {
		return true
	}
	for k := first; k < last; k++ {
		if w.counts(b, i, k) != w.counts(b, j, k) || w.open(b, i, k) != w.open(b, j, k) || w.told(b, i, k) != w.told(b, j, k) {
			return false
		}
	}
	return true
}

// stretch is how many rows from one on, most at most, differ along the last loop of rows alone; it
// leaves the position of the first in spot, behind that of the batch.
func (w *attender) stretch(row int64, most int) int {
	x := w.x
	at := w.batch
	for i := len(x.qk.batch) - 1; i >= 0; i-- {
		w.spot[i] = at % x.qk.batch[i].extent
		at /= x.qk.batch[i].extent
	}
	n := len(x.qk.batch)
	for i := len(x.qk.m) - 1; i >= 0; i-- {
		w.spot[n+i] = row % x.qk.m[i].extent
		row /= x.qk.m[i].extent
	}
	if len(x.qk.m) < 2 {
		return most
	}
	last := len(x.qk.m) - 1
	return int(min(int64(most), x.qk.m[last].extent-w.spot[n+last]))
}

// leafAt is where a leaf has its element for the row in spot and a key, or what its position is.
func (w *attender) leafAt(i int, key int64) int64 {
	l := &w.x.leaves[i]
	at := l.base + l.key*key
	for j, s := range l.batch {
		at += s * w.spot[j]
	}
	for j, s := range l.row {
		at += s * w.spot[len(l.batch)+j]
	}
	return at
}

// finish writes the result of rows.
func (w *attender) finish(i0 int64, rows int) error {
	x := w.x
	clear(w.zeros)
	if x.Safe {
		for i := range rows {
			if m, l := w.m[i], w.l[i]; l != l || m < -math.MaxFloat32 || m != m {
				if err := w.timesZero(); err != nil {
					return err
				}
				break
			}
		}
	}
	if w.cut.code == nil {
		w.divideInGo(rows)
		w.place(rows)
		return nil
	}
	w.at[slotZeros] = unsafe.Pointer(&w.zeros[0])
	if w.order != nil {
		w.at[slotSums], w.at[slotA] = unsafe.Pointer(&w.sums[0]), unsafe.Pointer(&w.sums[0])
		w.at[slotM], w.at[slotL] = unsafe.Pointer(&w.m[0]), unsafe.Pointer(&w.l[0])
		w.call(x.code.finish, x.moved, rows)
		w.place(rows)
		return nil
	}
	for r := 0; r < rows; {
		run := w.stretch(i0+int64(r), rows-r)
		w.at[slotSums] = unsafe.Pointer(&w.sums[r*int(x.lineO())])
		w.at[slotM], w.at[slotL] = unsafe.Pointer(&w.m[r]), unsafe.Pointer(&w.l[r])
		if w.at[slotA] = w.at[slotSums]; x.direct {
			w.at[slotA] = unsafe.Pointer(&w.out[w.qk.batchC+w.rowsAt[r]])
		}
		w.call(x.code.finish, x.finish, run)
		r += run
	}
	if !x.direct {
		w.place(rows)
	}
	return nil
}

// place moves rows of the result from sums to where they belong.
func (w *attender) place(rows int) {
	cols, beside := w.colsAt[:total(w.x.pv.n)], w.x.pv.beside()
	for r, at := range w.rowsAt[:rows] {
		line := w.sums[r*int(w.x.lineO()):]
		if beside {
			copy(w.out[w.qk.batchC+at:][:len(cols)], line)
			continue
		}
		for c, col := range cols {
			w.out[w.qk.batchC+at+col] = line[c]
		}
	}
}

// timesZero fills zeros with what values times 0 sum up to.
func (w *attender) timesZero() error {
	x := w.x
	cols := int(total(x.pv.n))
	if x.thin {
		for k := range int(x.keys) {
			at := w.pv.batchB + k*int(x.pv.k[0].b)
			for c, v := range w.pv.b.data[at : at+cols] {
				w.zeros[c] += v * 0
			}
		}
		return nil
	}
	if w.finite() || w.part.keys != (span{0, x.keys}) {
		return nil
	}
	for c := range cols {
		panel := w.values[c/x.nr*x.nr*int(x.keys):]
		for k := range int(x.keys) {
			w.zeros[c] += panel[k*x.nr+c%x.nr] * 0
		}
	}
	return nil
}
