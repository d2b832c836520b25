package cpu

import (
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// Masks of any kind: which tiles of scores, a panel of rows by a panel of keys, have anything that counts is found from
// the mask alone, once for all batches that have the same, and what counts nothing is not computed.

// hidden is what is known of masks, which workers share.
type hidden struct {
	words   int64           // of a panel
	panels  int64           // of a mask
	tiles   []uint32        // by mask, panel of rows, panel of keys: see tileBits
	moved   int64           // where tiles of panels in another order begin
	known   []atomic.Uint32 // by mask and block, which is named by its first panel: unknown, sought or found
	low     []float32       // likewise: what Upper is at most where the block's tiles say that it is masked
	line    int64           // words of a row of bits
	edges   []edge          // by tile: of those that bits tell of
	bits    []uint64        // by mask, row and key: whether the mask leaves it as it is, where tiles say that bits tell
	visited atomic.Int64    // tiles that were computed,
	of      atomic.Int64    // of so many,
	plain   atomic.Int64    // and of those so many without a look at the mask
}

// tileBits has a bit for each tile of a panel of rows.
type tileBits struct {
	counts []uint32 // anything counts
	open   []uint32 // the mask leaves all scores as they are
	told   []uint32 // it hides some, and leaves the others as they are, which bits tell
}

// edge is from which key of a tile to which any counts for its panel of rows.
type edge struct{ from, to uint8 }

func edgeOf(keys uint64) edge {
	return edge{uint8(bits.TrailingZeros64(keys)), uint8(bits.Len64(keys))}
}

// What is known of a block.
const (
	unknown = iota
	sought  // by a worker, for which others wait
	found
)

// masks is the number of different masks among the batches.
func (x *attention) masks() int64 {
	n := int64(1)
	for i, l := range x.qk.batch {
		if x.masksDiffer(i) {
			n = times(n, l.extent)
		}
	}
	return n
}

// differs says whether a mask may differ from batch to batch.
func (x *attention) differs() bool {
	for i := range x.qk.batch {
		if x.masksDiffer(i) {
			return true
		}
	}
	return false
}

// masksDiffer says whether a mask may differ along a loop of batches.
func (x *attention) masksDiffer(i int) bool {
	for _, l := range x.leaves {
		if l.batch[i] != 0 {
			return true
		}
		for _, n := range l.numbers {
			if n.batch[i] != 0 {
				return true
			}
		}
	}
	return false
}

// mostPanels is how many panels rows are cut into at most.
func (x *attention) mostPanels() int64 { return 2*x.rows.n + 2*ceilDiv(x.rows.rows, maskRows) + 2 }

func (h *hidden) open(a *attending) (err error) {
	x := a.x
	h.words, h.panels, h.line, h.bits = ceilDiv(ceilDiv(x.keys, int64(x.nr)), 32), x.mostPanels(), ceilDiv(x.keys, 64), nil
	if x.hidden == nil {
		return nil
	}
	masks := x.masks()
	n := 3 * masks * h.panels * h.words
	if h.moved = n; x.moving {
		n *= 2
	}
	if int64(len(h.tiles)) < n {
		h.tiles = make([]uint32, n)
	}
	if n := 32 * n / 3; x.tells && int64(len(h.edges)) < n {
		h.edges = make([]edge, n)
	}
	if n := masks * h.panels; int64(len(h.known)) < n {
		h.known, h.low = make([]atomic.Uint32, n), make([]float32, n)
	}
	for i := range h.known[:masks*h.panels] {
		h.known[i].Store(unknown)
	}
	h.bits, err = a.words(x.bitWords())
	return err
}

// words is room for some words.
func (a *attending) words(n int64) ([]uint64, error) {
	if n == 0 {
		return nil, nil
	}
	room, err := take[float32](&a.workspace, a.run.Tensor(a.x.pv.out), 2*n)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(&room[0])), n), nil
}

// bitWords is how many words masks have in bits: one for each row and 64 keys.
func (x *attention) bitWords() int64 {
	if !x.tells {
		return 0
	}
	return times(x.masks(), x.rows.rows, ceilDiv(x.keys, 64))
}

// bitsOf are those of a row of the batch's mask.
func (w *attender) bitsOf(row int64) []uint64 {
	h := w.hidden
	return h.bits[(w.mask*w.x.rows.rows+row)*h.line:][:h.line]
}

// toTell says whether bits of a mask are made: it is a number for each row and key, which several batches would read, or which may show
// that rows and keys are better put in another order.
func (x *attention) toTell() bool {
	if x.mask == nil || x.mask.Whole || x.thin || x.code.shown == nil || total(x.qk.batch) == x.masks() && !x.moves() {
		return false
	}
	return slices.ContainsFunc(x.leaves, func(l leaf) bool { return !l.Position && l.key != 0 && !still(l.row) })
}

// maskOf is the number of the batch's mask.
func (w *attender) maskOf() (n int64) {
	at := w.batch
	for i := len(w.x.qk.batch) - 1; i >= 0; i-- {
		w.spot[i] = at % w.x.qk.batch[i].extent
		at /= w.x.qk.batch[i].extent
	}
	for i, l := range w.x.qk.batch {
		if w.x.masksDiffer(i) {
			n = n*l.extent + w.spot[i]
		}
	}
	return n
}

// sample is how far blocks lie apart that are looked at to see whether a mask hides tiles at all.
const sample = 8

// hides says whether the mask of the batch hides tiles, or leaves them as they are, or bits tell of it, for what some blocks of rows show.
func (w *attender) hides() bool {
	if w.x.hidden == nil {
		return false
	}
	for i := 0; i < len(w.blocks); i += sample {
		b := &w.blocks[i]
		w.look(b)
		for p := b.from; p < b.to; p++ {
			t := w.tilesOf(b, p)
			if first, last := b.panels(w.x.nr); ones(t.counts) < last-first || ones(t.open)+ones(t.told) > 0 {
				return true
			}
		}
	}
	return false
}

// panels are the panels of keys that count for any row of a block, by comparisons.
func (b *rowsBlock) panels(nr int) (first, last int) {
	if b.keys.empty() {
		return 0, 0
	}
	return int(b.keys.from) / nr, int(ceilDiv(b.keys.to, int64(nr)))
}

// tilesOf are those of a panel of a block.
func (w *attender) tilesOf(b *rowsBlock, panel int64) tileBits {
	h := w.hidden
	at := 3 * (w.mask*h.panels + b.number + panel - b.from) * h.words
	if w.order != nil {
		at += h.moved
	}
	part := func(i int64) []uint32 { return h.tiles[at+i*h.words:][:h.words:h.words] }
	return tileBits{part(0), part(1), part(2)}
}

// edgesOf are those of a panel's tiles.
func (w *attender) edgesOf(b *rowsBlock, panel int64) []edge {
	h := w.hidden
	at := 32 * (w.mask*h.panels + b.number + panel - b.from) * h.words
	if w.order != nil {
		at += 32 * h.moved / 3
	}
	return h.edges[at:][:32*h.words]
}

// ones is how many bits are set.
func ones(words []uint32) (n int) {
	for _, v := range words {
		n += bits.OnesCount32(v)
	}
	return n
}

func has(words []uint32, k int) bool { return words[k/32]>>(k%32)&1 != 0 }

// look finds which tiles of a block have something that counts, and what the mask does to these.
func (w *attender) look(b *rowsBlock) {
	h := w.hidden
	at := w.mask*h.panels + b.number
	for !h.known[at].CompareAndSwap(unknown, sought) {
		if h.known[at].Load() == found {
			return
		}
		runtime.Gosched()
	}
	defer h.known[at].CompareAndSwap(sought, unknown) // where it panics, nobody waits for it
	low := float32(math.Inf(-1))
	rowless := w.x.rowless()
	for p := b.from; p < b.to; p++ {
		if t := w.tilesOf(b, p); rowless && p > b.from {
			was := w.tilesOf(b, b.from) // of which bits tell nothing
			copy(t.counts, was.counts)
			copy(t.open, was.open)
			clear(t.told)
			continue
		}
		low = max(low, w.lookAt(b, p))
	}
	h.low[at] = low
	h.known[at].Store(found)
}

// lookAt finds what a mask does to the tiles of a panel, and gives what Upper is at most where they say that it is masked.
func (w *attender) lookAt(b *rowsBlock, panel int64) float32 {
	x, t, low := w.x, w.tilesOf(b, panel), float32(math.Inf(-1))
	first, last := b.panels(x.nr)
	from, to := b.row0+b.start(panel), b.row0+b.start(panel+1)
	clear(t.counts)
	clear(t.open)
	clear(t.told)
	for i, v := range w.largestIn(x.code.hidden, x.hidden, from, to, first, last) {
		if k := first + i; v > kernel.Masked {
			t.counts[k/32] |= 1 << (k % 32)
		} else {
			low = max(low, v)
		}
	}
	if x.closed == nil {
		return low
	}
	for k, end := first, first; k < last; k = end + 1 {
		for end = k; end < last && has(t.counts, end); end++ {
		}
		if k == end {
			continue
		}
		for i, v := range w.largestIn(x.code.closed, x.closed, from, to, k, end) {
			if v == 0 {
				t.open[(k+i)/32] |= 1 << ((k + i) % 32)
			}
		}
	}
	if !x.tells {
		return low
	}
	for k, end := first, first; k < last; k = end + 1 {
		for end = k; end < last && has(t.counts, end) && !has(t.open, end); end++ {
		}
		if k == end {
			continue
		}
		some := false
		for i, v := range w.largestIn(x.code.strict, x.strict, from, to, k, end) {
			if v <= kernel.Masked {
				t.told[(k+i)/32] |= 1 << ((k + i) % 32)
				low, some = max(low, v), true
			}
		}
		if some {
			w.tell(from, to, k, end)
		}
		for edges, tile := w.edgesOf(b, panel), k; some && tile < end; tile++ {
			keys, at := uint64(0), tile*x.nr
			for row := from; row < to; row++ {
				keys |= w.bitsOf(row)[at/64] >> (at % 64)
			}
			edges[tile] = edgeOf(keys & (1<<x.nr - 1))
		}
	}
	return low
}

// rowless says whether a mask is the same for all rows, as one of keys is.
func (x *attention) rowless() bool {
	return !slices.ContainsFunc(x.leaves, func(l leaf) bool {
		return !still(l.row) || slices.ContainsFunc(l.numbers, func(n rowNumber) bool { return !still(n.row) })
	})
}

func still(steps []int64) bool {
	return !slices.ContainsFunc(steps, func(s int64) bool { return s != 0 })
}

// largestIn is what a kernel says at most of some rows, as many as a panel has at most, and of each of some panels of keys.
func (w *attender) largestIn(code *codeOf, bound []*kernel.Bound, row, end int64, first, last int) []float32 {
	most := w.widest[:last-first]
	for i := range most {
		most[i] = float32(math.Inf(-1))
	}
	for row < end {
		run := w.stretch(row, int(end-row))
		w.aim(row, run)
		for k, nr := 0, w.x.nr; k < len(most); k += hiddenKeys / nr {
			some := most[k:min(k+hiddenKeys/nr, len(most))]
			for i, v := range w.largestOf(w.seen(code, bound[run], run, first+k, len(some)), len(some)) {
				some[i] = max(some[i], v)
			}
		}
		row += int64(run)
	}
	return most
}

// tell makes bits of the mask of some rows, and of some panels of keys: of all that are in the same words.
func (w *attender) tell(row, end int64, first, last int) {
	x, nr := w.x, w.x.nr
	from, to := first*nr/64, (last*nr+63)/64
	for ; row < end; row++ {
		w.aim(row, 1)
		for words, k := w.bitsOf(row)[from:to], from; len(words) > 0; {
			n := min(len(words), hiddenKeys/64)
			closed := w.seen(x.code.closed, x.closed[1], 1, k*64/nr, n*64/nr)
			for i := int(x.keys) - k*64; i < len(closed); i++ {
				closed[i] = 1
			}
			w.shut(words[:n], closed)
			for i, v := range words[:n] {
				words[i] = ^v
			}
			words, k = words[n:], k+n
		}
	}
}

// shut sets bits of what is not 0.
func (w *attender) shut(to []uint64, closed []float32) {
	if w.cut.code != nil {
		w.lots = x86.ZerosArgs{Lots: int64(len(to)), From: unsafe.Pointer(&closed[0]), To: unsafe.Pointer(&to[0])}
		w.zero.Call(unsafe.Pointer(&w.lots))
		return
	}
	for i := range to {
		word := uint64(0)
		for j, v := range closed[64*i:][:64] { // of 0 and 1
			word |= uint64(math.Float32bits(v)>>shutBit&1) << j
		}
		to[i] = word
	}
}

// shutBit is a bit of 1 that is none of 0.
const shutBit = 23

// aim goes to rows of a mask.
func (w *attender) aim(row int64, run int) {
	x := w.x
	for i := range x.leaves {
		if l := &x.leaves[i]; l.Position {
			w.rowNumbers(i, row, w.column[:run])
			for j, at := range w.column[:run] {
				w.position(i)[j] = float32(at)
			}
			w.at[slotLeaf+i] = unsafe.Pointer(&w.position(i)[0])
		}
	}
	w.stretch(row, run)
}

// seen is what a kernel says of the rows aimed at, as many as it is for, and of n panels of keys.
func (w *attender) seen(code *codeOf, bound *kernel.Bound, rows, panel, n int) (looked []float32) {
	x, nr := w.x, w.x.nr
	from := int64(panel * nr)
	keys := int(min(int64(n*nr), x.keys-from))
	for i := range x.leaves {
		if l := &x.leaves[i]; !l.Position {
			w.at[slotLeaf+i] = unsafe.Add(w.bases[i], (w.leafAt(i, from)-l.back*int64(rows-1))*l.elem)
		}
	}
	if len(w.iota) > 0 {
		w.at[slotIota] = unsafe.Pointer(&w.iota[from])
	}
	looked = w.looked[:n*nr]
	for i := keys; i < len(looked); i++ {
		looked[i] = float32(math.Inf(-1))
	}
	w.at[slotB] = unsafe.Pointer(&looked[0])
	w.call(code, bound, keys)
	return looked
}

// largestOf is what n panels of keys have at most.
func (w *attender) largestOf(looked []float32, n int) []float32 {
	w.at[slotB], w.at[slotA] = unsafe.Pointer(&looked[0]), unsafe.Pointer(&w.largest[0])
	w.call(w.x.code.widest, w.x.widest, n)
	return w.largest[:n]
}

// hiddenKeys is how many keys of a mask a call looks at.
const hiddenKeys = 4096

// perCall is what going over a block of keys costs beside its rows, in rows: scores become weights for all rows together, which
// takes an eighth of what products take, and these are computed panel by panel.
const perCall = 48

// listed makes the list of keys that a block goes over.
func (w *attender) listed(b *rowsBlock, tiles []uint32) {
	nr := w.x.nr
	w.list = w.list[:0]
	first, last := b.panels(nr)
	for k := first; k < last; k++ {
		if tiles != nil && tiles[k/32]>>(k%32)&1 == 0 {
			continue
		}
		from, to := k*nr, min((k+1)*nr, int(w.x.keys))
		if n := len(w.list); n > 0 && w.list[n-1].from+w.list[n-1].n == from {
			w.list[n-1].n += to - from
		} else {
			w.list = append(w.list, keyRun{from: from, n: to - from})
		}
	}
}

// split cuts a block of rows into such that go over about the same keys.
func (w *attender) split(of *rowsBlock, low float64) error {
	words := int(w.hidden.words)
	b := *of
	for from := of.from; from < of.to; from = b.to {
		b.from, b.to, b.number = from, from+1, of.number+from-of.from
		size := w.unite(w.union, nil, of, from)
		for b.to < of.to {
			alone := w.unite(w.next, nil, of, b.to)
			rows, more := int(b.start(b.to)-b.start(from)), int(b.size(b.to))
			both := w.unite(w.next, w.union, of, b.to)
			if (rows+more+perCall)*both > (rows+perCall)*size+(more+perCall)*alone {
				break
			}
			copy(w.union, w.next)
			size = both
			b.to++
		}
		if err := w.rows(&b, w.union[:words], low); err != nil {
			return err
		}
	}
	return nil
}

// unite joins tiles of a panel with some, and counts them.
func (w *attender) unite(to, with []uint32, b *rowsBlock, panel int64) (n int) {
	for i, v := range w.tilesOf(b, panel).counts {
		if with != nil {
			v |= with[i]
		}
		to[i] = v
		n += bits.OnesCount32(v)
	}
	return n
}

// want finds which tiles count for each panel of a block alone: by what was seen of the mask, or by comparisons.
func (w *attender) want(b *rowsBlock, seen bool) {
	words := len(w.union)
	w.wants, w.opens, w.tells, w.uniform = w.wants[:int(b.to-b.from)*words], w.opens[:0], w.tells[:0], true
	if w.x.thin { // its few rows go over all that is listed
		w.wants = w.wants[:0]
		return
	}
	if seen {
		w.opens, w.tells = w.opens[:len(w.wants)], w.tells[:len(w.wants)]
	}
	for p := b.from; p < b.to; p++ {
		at := int(p-b.from) * words
		to := w.wants[at:][:words]
		clear(to)
		if seen {
			t := w.tilesOf(b, p)
			for _, part := range [...]struct{ to, from []uint32 }{{w.wants, t.counts}, {w.opens, t.open}, {w.tells, t.told}} {
				copy(part.to[at:][:words], part.from)
				w.uniform = w.uniform && slices.Equal(part.to[at:][:words], part.to[:words])
			}
			if w.x.tells {
				from, to := w.edgesOf(b, p), w.edges[32*at:][:32*words]
				for i, v := range t.told {
					for ; v != 0; v &= v - 1 {
						k := 32*i + bits.TrailingZeros32(v)
						to[k] = from[k]
						w.uniform = w.uniform && to[k] == w.edges[k]
					}
				}
			}
			continue
		}
		s := span{}
		for _, one := range w.spans[b.row0+b.start(p) : b.row0+b.start(p+1)] {
			s = s.or(one)
		}
		alone := *b
		alone.keys = s
		for k, last := alone.panels(w.x.nr); k < last; k++ {
			to[k/32] |= 1 << (k % 32)
		}
		w.uniform = w.uniform && slices.Equal(to, w.wants[:words])
	}
}

// counts says whether a tile counts for a panel of a block.
func (w *attender) counts(b *block, panel int64, k int) bool {
	return len(w.wants) == 0 || w.wants[int(panel-b.from)*len(w.union)+k/32]>>(k%32)&1 != 0
}

// open says whether a mask leaves a tile as it is.
func (w *attender) open(b *block, panel int64, k int) bool {
	return len(w.opens) > 0 && w.opens[int(panel-b.from)*len(w.union)+k/32]>>(k%32)&1 != 0
}

// told says whether bits tell where a mask leaves a tile as it is, and hides the rest.
func (w *attender) told(b *block, panel int64, k int) bool {
	return len(w.tells) > 0 && w.tells[int(panel-b.from)*len(w.union)+k/32]>>(k%32)&1 != 0
}

// wanted are the keys of a tile, from one to another, of which any counts for a panel.
func (w *attender) wanted(b *block, panel int64, k int) (from, to int) {
	if !w.counts(b, panel, k) {
		return 0, 0
	}
	if at := k * w.x.nr; w.told(b, panel, k) {
		e := w.edges[32*int(panel-b.from)*len(w.union)+k]
		return at + int(e.from), at + int(e.to)
	}
	return k * w.x.nr, min((k+1)*w.x.nr, int(w.x.keys))
}

// wantSame says whether two panels want the same keys of some tiles.
func (w *attender) wantSame(b *block, i, j int64, first, last int) bool {
	for k := first; k < last; k++ {
		f, t := w.wanted(b, i, k)
		if g, u := w.wanted(b, j, k); f != g || t != u {
			return false
		}
	}
	return true
}

// partOf is which columns of a tile of scores are computed for a panel: all of them, one half, or none.
func (w *attender) partOf(b *block, panel int64, k int) (at, width int) {
	nr := w.cut.nr
	from, to := w.wanted(b, panel, k)
	switch {
	case from == to:
		return 0, 0
	case to <= k*nr+nr/2:
		return 0, nr / 2
	case from >= k*nr+nr/2:
		return nr / 2, nr / 2
	}
	return 0, nr
}

// few is how many keys that count nothing cost less than what is computed between them in two parts.
const few = 8

// nextKeys finds the next keys that count for a panel, of some tiles, and at which tile to look for more.
func (w *attender) nextKeys(b *block, panel int64, k, last int) (from, to, next int) {
	for ; k < last; k++ {
		switch f, t := w.wanted(b, panel, k); {
		case from == to:
			from, to = f, t
		case f == t || f-to > few:
			return from, to, k
		default:
			to = t
		}
	}
	return from, to, k
}

// visit counts the scores of a block that are computed.
func (w *attender) visit(b *block, rows int) {
	n, open := 0, 0
	for _, r := range w.list {
		if len(w.wants) == 0 {
			n += rows * r.n
			continue
		}
		for p := b.from; p < b.to; p++ {
			for k := r.from / w.x.nr; k*w.x.nr < r.from+r.n; k++ {
				at, width := w.partOf(b, p, k)
				width = min(width, int(w.x.keys)-k*w.x.nr-at)
				n += int(b.size(p)) * width
				if w.open(b, p, k) {
					open += int(b.size(p)) * width
				}
			}
		}
	}
	w.hidden.visited.Add(int64(n))
	w.hidden.plain.Add(int64(open))
}

// finite says whether all values of the part are finite, and where keys are to be, these too.
func (w *attender) finite() bool {
	if w.clean == 0 {
		w.clean = -1
		x := w.x
		n := min(roundUp(w.part.keys.to, int64(x.nr)), x.keys) - w.base()
		ok := true
		for j := int64(0); j < x.lineV() && ok; j += int64(x.nr) {
			_, ok = w.extent(w.values[j*x.keys:][:n*int64(x.nr)])
		}
		if ok && x.mask != nil && x.mask.Slack != (kernel.Slack{}) {
			w.partKey, ok = w.extent(w.keys[:roundUp(n, int64(x.nr))*total(x.qk.k)])
			w.mostKey = max(w.mostKey, w.partKey)
		}
		if ok {
			w.clean = 1
		}
	}
	return w.clean > 0
}

// spares says whether keys may be left out of which comparisons say that they do not count, or a mask.
func (w *attender) spares(keys span) bool {
	x := w.x
	if !x.thin {
		return w.finite()
	}
	cols := total(x.pv.n)
	if x.mask.Slack != (kernel.Slack{}) || x.pv.k[0].b != cols { // all would have to be read, or number by number
		return false
	}
	nr := int64(x.nr)
	from, to := keys.from/nr*nr, min(roundUp(keys.to, nr), x.keys)
	if keys.empty() {
		from, to = 0, 0
	}
	if from == 0 && to == x.keys {
		return false
	}
	for _, s := range [...]span{{0, from}, {to, x.keys}} {
		v := w.pv.b.data[int64(w.pv.batchB)+s.from*cols:][:(s.to-s.from)*cols]
		if _, ok := w.extent(v); !ok {
			return false
		}
		for _, y := range v[len(v)/x.nr*x.nr:] {
			if y*0 != 0 {
				return false
			}
		}
	}
	return true
}

// extent is the largest absolute value of some numbers, panels of them; false where one is infinite or NaN.
func (w *attender) extent(v []float32) (most float64, finite bool) {
	if w.cut.code == nil {
		return extentInGo(v)
	}
	w.at[slotZeros], w.at[slotT] = unsafe.Pointer(&w.zeros[0]), unsafe.Pointer(&w.t[0])
	finite = true
	for i, n := range w.x.extentsOf() {
		for int64(len(v)) >= n && finite {
			w.at[slotB] = unsafe.Pointer(&v[0])
			w.call(w.x.code.extent, w.x.extents[i], 1)
			most, finite = max(most, float64(w.t[0])), w.zeros[0] == 0
			v = v[n:]
		}
	}
	w.zeros[0] = 0
	return most, finite
}
