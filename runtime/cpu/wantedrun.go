package cpu

import (
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// maskBase is where the mask of the batch begins.
func (x *choosing) maskBase() int { return int(x.mask.base) + batchAt(x.mask.batch, x.batch) }

// batchAt is where a batch begins in what the loops step through as a.
func batchAt(batches []loop, batch int64) (at int) {
	for i := len(batches) - 1; i >= 0; i-- {
		l := &batches[i]
		at += int(batch % l.extent * l.a)
		batch /= l.extent
	}
	return at
}

// word is the bits of up to 64 columns of a row of the mask.
func (x *choosing) word(row, col, n int) (word uint64) {
	t := x.run.Tensor(x.mask.buf)
	word = maskWord[t.DType()](t, x.maskBase()+x.rowM[row], x.colM[col:col+n])
	if x.mask.inverse {
		word ^= 1<<n - 1
	}
	return word
}

// maskWord says for up to 64 elements of a tensor whether they are something else than zero, by its type.
var maskWord = map[tensor.DType]func(t *tensor.Tensor, base int, at []int) uint64{
	tensor.F32: wordOf[float32], tensor.F64: wordOf[float64], tensor.Bool: wordOf[uint8],
	tensor.I8: wordOf[int8], tensor.U8: wordOf[uint8], tensor.I16: wordOf[int16], tensor.U16: wordOf[uint16],
	tensor.I32: wordOf[int32], tensor.U32: wordOf[uint32], tensor.I64: wordOf[int64], tensor.U64: wordOf[uint64],
	tensor.F16: wordOfHalves, tensor.BF16: wordOfHalves,
}

func wordOf[T int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64 | float32 | float64](t *tensor.Tensor, base int, at []int) (word uint64) {
	data := tensor.Data[T](t)
	for i, o := range at {
		if data[base+o] != 0 {
			word |= 1 << i
		}
	}
	return word
}

// wordOfHalves is wordOf of floats of 16 bits, whose first one is the sign.
func wordOfHalves(t *tensor.Tensor, base int, at []int) (word uint64) {
	data := tensor.Data[uint16](t)
	for i, o := range at {
		if data[base+o]<<1 != 0 {
			word |= 1 << i
		}
	}
	return word
}

// maskRows sets the bits of a strip of rows.
func (x *choosing) maskRows(w *choosingWorker, strip int) error {
	f, err := x.cut.code.code(zeros{})
	if err != nil {
		return err
	}
	t, n := x.run.Tensor(x.mask.buf), len(x.colM)
	side := straight(x.colM) && t.DType() == tensor.F32 && !x.mask.inverse
	for r := strip * maskLines; r < min((strip+1)*maskLines, len(x.rowM)); r++ {
		to, at := x.bits.of(r), 0
		if lots := n / x86.ZerosLot; side && lots > 0 {
			from := tensor.Data[float32](t)[x.maskBase()+x.rowM[r]+x.colM[0]:][:n]
			w.zeros = x86.ZerosArgs{Lots: int64(lots), From: unsafe.Pointer(&from[0]), To: unsafe.Pointer(&to[0])}
			f.Call(unsafe.Pointer(&w.zeros))
			at = lots * x86.ZerosLot
		}
		for ; at < n; at += 64 {
			to[at/64] = x.word(r, at, min(64, n-at))
		}
	}
	return nil
}

// bound looks whether a sum of products may be beyond what may be left out.
func (x *choosing) bound(rec *rt.Recorder, name string) error {
	// Both factors are below 2^e, and so are sums of products below depth * 2^2e.
	e := (int(math.Log2(ir.UnwantedBound)) - bits.Len(uint(x.size.depth))) / 2
	x.scale = float32(math.Ldexp(1, 128-e))
	if err := x.inStrips(rec, name, boundingA, x.linesOf(x.p)); err != nil || x.tooLarge.Load() {
		return err
	}
	return x.inStrips(rec, name, boundingB, x.linesOf(&x.mask.other))
}

// across says whether the rows of a product's first factor lie side by side, and not what is summed up.
func across(p *product) bool {
	step := func(l loop) int64 { return l.a }
	return !beside(p.k, step) && beside(p.m, step)
}

// linesOf is how many strips of lines the first factor has.
func (x *choosing) linesOf(p *product) int {
	n := int(total(p.m))
	if across(p) {
		n = int(total(p.k))
	}
	return (n + maskLines - 1) / maskLines
}

// look looks whether lines of the first factor of a product are within the bound.
func (x *choosing) look(w *choosingWorker, p *product, strip int) error {
	f, err := x.cut.code.code(within{})
	if err != nil {
		return err
	}
	lines, along := p.m, p.k
	if across(p) {
		lines, along = p.k, p.m
	}
	n := min(maskLines, int(total(lines))-strip*maskLines)
	size := int(total(along))
	data, base := tensor.Data[float32](x.run.Tensor(p.a.buf)), int(p.a.base)+batchAt(p.batch, x.batch) // lines may go backwards from there
	w.lines = slices.Grow(w.lines[:0], maskLines+size)[:maskLines+size]
	at, offs := w.lines[:n], w.lines[maskLines:]
	addresses(at, lines, int64(strip*maskLines), stepA)
	addresses(offs, along, 0, stepA)
	if !straight(offs) {
		for _, line := range at {
			for _, off := range offs {
				if v := data[base+line+off] * x.scale; v-v != 0 {
					x.tooLarge.Store(true)
					return nil
				}
			}
		}
		return nil
	}
	for i := 0; i < n; {
		end := i + 1 // of lines behind one another
		for ; end < n && at[end] == at[end-1]+size; end++ {
		}
		if !x.bounded(w, f, data[base+at[i]+offs[0]:][:(end-i)*size]) {
			x.tooLarge.Store(true)
			return nil
		}
		i = end
	}
	return nil
}

// bounded says whether all of a list is within the bound.
func (x *choosing) bounded(w *choosingWorker, f x86.Func, list []float32) bool {
	const most = 1 << 10 // lots of a call
	for len(list) >= x86.ZerosLot {
		lots := min(len(list)/x86.ZerosLot, most)
		w.zeros = x86.ZerosArgs{Lots: int64(lots), From: unsafe.Pointer(&list[0]), To: unsafe.Pointer(&w.sum[0]), Scale: x.scale}
		f.Call(unsafe.Pointer(&w.zeros))
		for _, v := range w.sum {
			if v != v {
				return false
			}
		}
		list = list[lots*x86.ZerosLot:]
	}
	for _, v := range list {
		if v *= x.scale; v-v != 0 {
			return false
		}
	}
	return true
}

// panels is how many panels of columns there are.
func (x *choosing) panels() int { return (x.cols + x.cut.nr - 1) / x.cut.nr }

// prepare readies the factors and the result for the way that was chosen.
func (x *choosing) prepare(rec *rt.Recorder, name string) (err error) {
	if x.q = x.p; x.way.across {
		x.q = &x.mask.other
	}
	q := x.q
	x.rows, x.cols, x.depth = int(total(q.m)), int(total(q.n)), int(total(q.k))
	x.rowA, x.rowC = placesOf(x.rowA, q.m, stepA), placesOf(x.rowC, q.m, stepC)
	x.beside = beside(q.n, func(l loop) int64 { return l.out })
	x.bands = !x.beside && straight(x.rowC) && total(q.batch) == 1
	x.step = evenly(x.depth, mostStep)
	turned, a, b, compact := x.mask.room(x.cut, q)
	for _, w := range x.workers[:x.threads] {
		w.p, w.lengthB, w.deep = q, 0, 0
		w.stand(&segment{}, x.batch)
		if err := w.b.open(x.run, &q.b, tensor.Data[float32](x.run.Tensor(q.b.buf)), false); err != nil {
			return err
		}
		if w.packA, err = x.take(a); err != nil {
			return err
		}
		if w.packB, err = x.take(b); err != nil {
			return err
		}
		if w.compact, err = x.take(compact); err != nil {
			return err
		}
		for n := 1; n <= x.cut.mr; n++ { // whichever groups there are now: others come in other runs
			if w.packs[n].Addr() == 0 {
				if w.packs[n], err = x.cut.code.code(x86.Pack{Rows: n}); err != nil {
					return err
				}
			}
			if err := w.ready(near, n); err != nil {
				return err
			}
		}
		if len(w.into) < x.rows {
			w.into = make([]unsafe.Pointer, x.rows)
		}
		for i := range w.lists {
			w.lists[i] = slices.Grow(w.lists[i][:0], x.rows)
		}
		w.union = slices.Grow(w.union[:0], x.bits.row)[:x.bits.row]
	}
	from := tensor.Data[float32](x.run.Tensor(q.a.buf))
	x.data, x.base, x.parts = from, int(q.a.base)+batchAt(q.batch, x.batch), 0
	if turned > 0 {
		n := (x.depth + partDepth - 1) / partDepth
		x.parts = x.rows * partDepth
		if x.turn, err = x.cut.code.code(x86.Pack{Rows: partDepth}); err != nil {
			return err
		}
		if x.data, err = x.take(turned); err != nil {
			return err
		}
		if err := x.inStrips(rec, name, turning, n*((x.rows+turnRows-1)/turnRows)); err != nil {
			return err
		}
		x.base = 0
		for i := range x.rowA {
			x.rowA[i] = i * partDepth
		}
	}
	if !x.bands && x.batch == 0 {
		return x.inStrips(rec, name, clearing, (len(tensor.Data[float32](x.out))+clearLot-1)/clearLot)
	}
	return nil
}

// turnRows has some rows of a factor lie side by side, over a part of k.
func (x *choosing) turnRows(w *choosingWorker, strip int) {
	each := (x.rows + turnRows - 1) / turnRows
	part, r0 := strip/each, strip%each*turnRows
	n, depth := min(turnRows, x.rows-r0), min(partDepth, x.depth-part*partDepth)
	from, base := tensor.Data[float32](x.run.Tensor(x.q.a.buf)), x.base
	w.lines = slices.Grow(w.lines[:0], depth)[:depth]
	addresses(w.lines, x.q.k, int64(part*partDepth), stepA)
	rows := x.rowA[r0 : r0+n]
	to := x.data[part*x.parts+r0*partDepth:]
	if straight(rows) {
		for i := range w.gather {
			w.gather[i] = unsafe.Pointer(&from[base+w.lines[min(i, depth-1)]+rows[0]])
		}
		w.packing = x86.PackArgs{K: int64(n), From: unsafe.Pointer(&w.gather[0]), To: unsafe.Pointer(&to[:n*partDepth][0])}
		x.turn.Call(unsafe.Pointer(&w.packing))
		return
	}
	for i, row := range rows {
		line := to[i*partDepth:][:partDepth]
		for k, at := range w.lines {
			line[k] = from[base+at+row]
		}
	}
}

// list finds the rows that are wanted in panels of columns.
func (x *choosing) list(w *choosingWorker, first, n int) {
	nr, b := x.cut.nr, &x.bits
	for i := range w.lists {
		w.lists[i] = w.lists[i][:0]
	}
	if !x.way.across {
		for r := range x.rows {
			for i := range n {
				if at := (first + i) * nr; b.bits[r*b.row+at/64]>>(at%64)&(1<<nr-1) != 0 {
					w.lists[i] = append(w.lists[i], int32(r))
				}
			}
		}
		return
	}
	for i := range n {
		clear(w.union)
		for c := (first + i) * nr; c < min((first+i+1)*nr, x.cols); c++ {
			for at, word := range b.of(c) {
				w.union[at] |= word
			}
		}
		for at, word := range w.union {
			for ; word != 0; word &= word - 1 {
				w.lists[i] = append(w.lists[i], int32(at*64+bits.TrailingZeros64(word)))
			}
		}
	}
}

// columns computes a strip of panels.
func (x *choosing) columns(w *choosingWorker, strip int) error {
	first := strip * panelsTogether
	n := min(panelsTogether, x.panels()-first)
	x.list(w, first, n)
	for i := 0; i < n; {
		end := i + 1
		for ; end < n && slices.Equal(w.lists[end], w.lists[i]); end++ {
		}
		if err := x.tiles(w, w.lists[i], (first+i)*x.cut.nr, end-i); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// tiles computes rows of some panels, from a column on.
func (x *choosing) tiles(w *choosingWorker, rows []int32, col, panels int) error {
	nr, width := x.cut.nr, panels*x.cut.nr
	cols := min(width, x.cols-col)
	addresses(w.colB[:cols], x.q.n, int64(col), stepB)
	addresses(w.colC[:cols], x.q.n, int64(col), stepC)
	if x.bands {
		for _, at := range w.colC[:cols] {
			clear(w.c[w.batchC+at+x.rowC[0]:][:x.rows])
		}
	}
	if len(rows) == 0 {
		return nil
	}
	for i, r := range rows {
		if x.beside {
			w.into[i] = unsafe.Pointer(&w.c[w.batchC+x.rowC[r]+w.colC[0]])
		} else {
			w.into[i] = unsafe.Pointer(&w.compact[i*width])
		}
	}
	even := rowPanels{int64(len(rows)), int64((len(rows) + x.cut.mr - 1) / x.cut.mr)}
	for k0 := 0; k0 < x.depth; k0 += x.step {
		b := block{k0: int64(k0), depth: min(x.step, x.depth-k0)}
		w.depthB(&b)
		if err := w.fillB(w.packB, nr*b.depth, x.batch, int64(col), cols, b.k0, b.depth); err != nil {
			return err
		}
		g := &w.args
		g.K, g.A, g.Accumulate, g.Panels = int64(b.depth), unsafe.Pointer(&w.packA[0]), min(b.k0, 1), 1
		for i := range even.n {
			at, size := int(even.start(i)), int(even.size(i))
			if w.deep += panels * b.depth; w.deep > someDepth {
				w.deep = 0
				if err := w.ctx.Err(); err != nil {
					return diag.Stopped(err)
				}
			}
			x.pack(w, rows[at:at+size], k0, b.depth)
			f := *w.worker.made(near, size)
			g.C = unsafe.Pointer(&w.into[at])
			for j := 0; j < cols; j += nr {
				g.B, g.COffset, g.Count = unsafe.Pointer(&w.packB[j*b.depth]), 4*int64(j), int64(nr)
				if x.beside {
					g.Count = int64(min(nr, cols-j))
				}
				f.Call(unsafe.Pointer(g))
			}
		}
	}
	if !x.beside {
		for c, at := range w.colC[:cols] {
			out, from := w.c[w.batchC+at:], w.compact[c:]
			for i, r := range rows {
				out[x.rowC[r]] = from[i*width]
			}
		}
	}
	return nil
}

// pack gathers rows.
func (x *choosing) pack(w *choosingWorker, rows []int32, k0, depth int) {
	n := len(rows)
	first, deep := x.base+k0, depth
	if x.parts > 0 {
		first, deep = k0/partDepth*x.parts, partDepth
	}
	for i, r := range rows {
		w.gather[i] = unsafe.Pointer(&x.data[first+x.rowA[r]])
	}
	g := &w.packing
	*g = x86.PackArgs{From: unsafe.Pointer(&w.gather[0])}
	for k := 0; k < depth; k += deep {
		g.K, g.To = int64(min(deep, depth-k)), unsafe.Pointer(&w.packA[k*n])
		w.packs[n].Call(unsafe.Pointer(g))
		g.Offset += int64(4 * x.parts)
	}
}
