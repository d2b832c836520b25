package cpu

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/kernel"
)

// Masks of any kind: which tiles of scores, a panel of rows by a panel of keys, have anything that counts is found from
// the mask alone, once for all batches that have the same, and what counts nothing is not computed.

// hidden is what is known of a mask, which workers share: two of them may find the same at the same time.
type hidden struct {
	words   int64           // of a panel
	panels  int64           // of a mask
	tiles   []atomic.Uint32 // by mask, panel of rows, panel of keys: whether anything counts; behind a panel's, whether all is open: the mask leaves scores as they are
	moved   int64           // where tiles of panels in another order begin
	known   []atomic.Uint32 // by mask and block, which is named by its first panel
	low     []atomic.Uint32 // likewise, f32: what Upper is at most in tiles of it where nothing does
	visited atomic.Int64    // tiles that were computed,
	of      atomic.Int64    // of so many,
	plain   atomic.Int64    // and of those so many without a look at the mask
}

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

func (h *hidden) open(x *attention) {
	h.words, h.panels = ceilDiv(ceilDiv(x.keys, int64(x.nr)), 32), x.mostPanels()
	if x.hidden == nil {
		return
	}
	masks := x.masks()
	n := 2 * masks * h.panels * h.words
	if h.moved = n; x.strict != nil {
		n *= 2
	}
	if int64(len(h.tiles)) < n {
		h.tiles = make([]atomic.Uint32, n)
	}
	if n := masks * h.panels; int64(len(h.known)) < n {
		h.known, h.low = make([]atomic.Uint32, n), make([]atomic.Uint32, n)
	}
	for i := range h.known[:masks*h.panels] {
		h.known[i].Store(0)
	}
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

// hides says whether the mask of the batch hides tiles, or leaves them as they are, for what some blocks of rows tell.
func (w *attender) hides() bool {
	if w.x.hidden == nil {
		return false
	}
	for i := 0; i < len(w.blocks); i += sample {
		b := &w.blocks[i]
		w.look(b)
		for p := b.from; p < b.to; p++ {
			if first, last := b.panels(w.x.nr); w.count(b, p) < last-first {
				return true
			}
			for i := range w.opensOf(b, p) {
				if w.opensOf(b, p)[i].Load() != 0 {
					return true
				}
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

// tilesOf and opensOf say of a panel's tiles where anything counts, and where all is open.
func (w *attender) tilesOf(b *rowsBlock, panel int64) []atomic.Uint32 {
	h := w.hidden
	at := 2 * (w.mask*h.panels + b.number + panel - b.from) * h.words
	if w.order != nil {
		at += h.moved
	}
	return h.tiles[at : at+h.words : at+2*h.words]
}

func (w *attender) opensOf(b *rowsBlock, panel int64) []atomic.Uint32 {
	tiles, n := w.tilesOf(b, panel), int(w.hidden.words)
	return tiles[n:][:n:n]
}

// count is how many tiles of a panel have something that counts.
func (w *attender) count(b *rowsBlock, panel int64) (n int) {
	for i := range w.tilesOf(b, panel) {
		n += bits.OnesCount32(w.tilesOf(b, panel)[i].Load())
	}
	return n
}

// look finds which tiles of a block have something that counts.
func (w *attender) look(b *rowsBlock) {
	h, nr := w.hidden, w.x.nr
	at := w.mask*h.panels + b.number
	if h.known[at].Load() != 0 {
		return
	}
	first, last := b.panels(nr)
	low := math.Inf(-1)
	rowless := w.x.rowless()
	for p := b.from; p < b.to; p++ {
		if rowless && p > b.from {
			w.asFirst(b, p)
			continue
		}
		most, shut := w.widest[:last-first], w.widest[len(w.widest)/2:][:last-first]
		w.lookAt(w.x.code.hidden, w.x.hidden, b, p, first, most)
		clear(w.next[:h.words])
		for i, v := range most {
			if k := first + i; v > kernel.Masked {
				w.next[k/32] |= 1 << (k % 32)
			} else {
				low = max(low, float64(v))
			}
		}
		tiles := w.tilesOf(b, p)
		for i := range tiles { // as another worker may do, and another one read
			tiles[i].Store(w.next[i])
		}
		clear(w.next[:h.words])
		for i, end := 0, 0; i < len(most) && w.x.closed != nil; i = end + 1 {
			for end = i; end < len(most) && most[end] > kernel.Masked; end++ {
			}
			if i == end {
				continue
			}
			w.lookAt(w.x.code.closed, w.x.closed, b, p, first+i, shut[i:end])
			for j, v := range shut[i:end] {
				if k := first + i + j; v == 0 {
					w.next[k/32] |= 1 << (k % 32)
				}
			}
		}
		for i := range w.opensOf(b, p) {
			w.opensOf(b, p)[i].Store(w.next[i])
		}
	}
	h.low[at].Store(math.Float32bits(float32(low)))
	h.known[at].Store(1)
}

// asFirst gives a panel what was found of the first one of a block.
func (w *attender) asFirst(b *rowsBlock, panel int64) {
	for i := range w.tilesOf(b, panel) {
		w.tilesOf(b, panel)[i].Store(w.tilesOf(b, b.from)[i].Load())
		w.opensOf(b, panel)[i].Store(w.opensOf(b, b.from)[i].Load())
	}
}

// rowless says whether a mask is the same for all rows, as one of keys is.
func (x *attention) rowless() bool {
	still := func(steps []int64) bool { return !slices.ContainsFunc(steps, func(s int64) bool { return s != 0 }) }
	for _, l := range x.leaves {
		if !still(l.row) || slices.ContainsFunc(l.numbers, func(n rowNumber) bool { return !still(n.row) }) {
			return false
		}
	}
	return true
}

// lookAt fills in what a kernel says of a panel's rows and of panels of keys from one on, at most.
func (w *attender) lookAt(code *codeOf, bound []*kernel.Bound, b *rowsBlock, panel int64, first int, most []float32) {
	for i := range most {
		most[i] = float32(math.Inf(-1))
	}
	row, end := b.row0+b.start(panel), b.row0+b.start(panel+1)
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
}

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
	tiles := w.tilesOf(b, panel)
	for i := range tiles {
		v := tiles[i].Load()
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
	w.wants, w.opens, w.uniform = w.wants[:int(b.to-b.from)*words], w.opens[:0], true
	if w.x.thin { // its few rows go over all that is listed
		w.wants = w.wants[:0]
		return
	}
	if seen {
		w.opens = w.opens[:len(w.wants)]
	}
	for p := b.from; p < b.to; p++ {
		to := w.wants[int(p-b.from)*words:][:words]
		clear(to)
		if seen {
			w.unite(to, nil, b, p)
			opens := w.opensOf(b, p)
			for i := range opens {
				w.opens[int(p-b.from)*words+i] = opens[i].Load()
			}
			w.uniform = w.uniform && slices.Equal(to, w.wants[:words]) && slices.Equal(w.opens[int(p-b.from)*words:][:words], w.opens[:words])
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

// visit counts the scores of a block that are computed.
func (w *attender) visit(b *block, rows int) {
	n, open := 0, 0
	if len(w.wants) == 0 {
		for _, r := range w.list {
			n += rows * r.n
		}
	} else {
		for p := b.from; p < b.to; p++ {
			at := int(p-b.from) * len(w.union)
			for i, v := range w.wants[at:][:len(w.union)] {
				n += int(b.size(p)) * w.keysIn(i, v)
				if len(w.opens) > 0 {
					open += int(b.size(p)) * w.keysIn(i, v&w.opens[at+i])
				}
			}
		}
	}
	w.hidden.visited.Add(int64(n))
	w.hidden.plain.Add(int64(open))
}

// keysIn is how many keys a word of tiles has.
func (w *attender) keysIn(word int, tiles uint32) int {
	n, nr := bits.OnesCount32(tiles)*w.x.nr, w.x.nr
	if last := int(w.x.keys) / nr; last/32 == word && tiles>>(last%32)&1 != 0 { // a short one
		n -= nr - int(w.x.keys)%nr
	}
	return n
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
