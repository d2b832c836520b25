package cpu

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/reuse"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// bytes is what a product takes from its workspace, where B is packed for all runs or not, or A is.
func (p *product) bytes(d *Device, constant func(param int) bool) int64 {
	if p.direct != nil && d.machine.features != 0 {
		return p.direct.bytes(d, p)
	}
	elem, cut := int64(p.out.DType.Bits()/8), d.blocks(p.out.DType, p.short)
	kept := p.keeps(constant) && cut.code != nil
	t := p.tiling(d, cut, kept)
	a, b := p.packs(cut, t, kept)
	if p.keepsRows(cut, constant) {
		a = 0
	}
	n := t.workers * (analysis.Aligned(a*elem) + analysis.Aligned(b*elem))
	if p.out.DType == tensor.F32 {
		for _, side := range p.sides {
			n = max(n, side.sparseBytes(d, side.keeps(constant)))
		}
		if p.wanted != nil {
			n = max(n, p.wanted.bytes(d, p))
		}
	}
	for _, o := range []*operand{&p.a, &p.b} {
		if o.pad != nil {
			n += analysis.Aligned(times(elem, o.pad.size()))
		}
	}
	return n
}

// product computes stage i of a program, which match recognised.
func (d *Device) product(x *interp.Execution, i int, p *product, looked *lookups, mem rt.Memory, zeros *rt.Zeros) error {
	room, err := mem.Workspace(i)
	if err != nil {
		return err
	}
	if p.wanted != nil {
		if done, err := d.wantedly(x, i, p, mem, room, zeros); done || err != nil {
			return err
		}
	}
	if p.sides != nil {
		if done, err := d.sparsely(x, i, p, mem, room, zeros); done || err != nil {
			return err
		}
	}
	space := workspace{mem: mem, left: room}
	switch p.out.DType {
	case tensor.F32:
		if p.direct != nil && d.machine.enter() {
			defer d.machine.leave()
			return d.slide(x, p, space)
		}
		return multiply(d, &d.f32, x, i, p, looked, space)
	case tensor.F64:
		return multiply(d, &d.f64, x, i, p, looked, space)
	}
	return multiply(d, &d.i32, x, i, p, looked, space)
}

// element is what products are computed in.
type element interface{ float32 | float64 | int32 }

// workspace hands out what was planned for a stage, and what goes beyond that from memory.
type workspace struct {
	mem  rt.Memory
	left []byte
	more []*tensor.Tensor
	size [1]int64
}

// take gives room for n elements of out's type, which hold anything.
func take[T element](w *workspace, out *tensor.Tensor, n int64) ([]T, error) {
	size, ok := out.DType().ByteLen(n)
	switch {
	case n == 0:
		return nil, nil
	case ok && analysis.Aligned(size) <= int64(len(w.left)):
		b := w.left[:size]
		w.left = w.left[analysis.Aligned(size):]
		return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n), nil
	}
	w.size[0] = n
	t, err := w.mem.Alloc(out.DType(), w.size[:])
	if err != nil {
		return nil, err
	}
	w.more = append(w.more, t)
	return tensor.Data[T](t), nil
}

// provide takes all that will be handed out at once, where nothing was planned: that is faster than piece by piece.
func (w *workspace) provide(out *tensor.Tensor, bytes int64) error {
	if len(w.left) > 0 || bytes == 0 {
		return nil
	}
	w.size[0] = ceilDiv(bytes, int64(out.DType().Bits()/8))
	t, err := w.mem.Alloc(out.DType(), w.size[:])
	if err != nil {
		return err
	}
	w.more, w.left = append(w.more, t), t.Bytes()
	return nil
}

// back takes back what was handed out since left was left and so many tensors were not planned.
func (w *workspace) back(left []byte, more int) {
	for _, t := range w.more[more:] {
		w.mem.Free(t)
	}
	clear(w.more[more:])
	w.left, w.more = left, w.more[:more]
}

// free gives back what was not planned.
func (w *workspace) free() {
	for _, t := range w.more {
		w.mem.Free(t)
	}
	clear(w.more)
	*w = workspace{more: w.more[:0]}
}

// addresses fills out with what positions from, from+1, ... of a nest of loops, the last
// one innermost, add to an address.
func addresses(out []int, nest []loop, from int64, at func(l *loop, pos int64) int64) {
	if len(nest) == 0 { // one position
		clear(out)
		return
	}
	last := &nest[len(nest)-1]
	first, by := int(at(last, 0)), 0
	if last.extent > 1 {
		by = int(at(last, 1)) - first
	}
	for pos := from % last.extent; len(out) > 0; pos = 0 {
		sum, row := 0, from/last.extent
		for i := len(nest) - 2; i >= 0; i-- {
			l := &nest[i]
			if l.extent > row {
				sum += int(at(l, row))
				break
			}
			sum += int(at(l, row%l.extent))
			row /= l.extent
		}
		run := out[:min(last.extent-pos, int64(len(out)))]
		if last.list == nil {
			sum += first + int(pos)*by
			for i := range run {
				run[i] = sum + i*by
			}
		} else {
			for i := range run {
				run[i] = sum + int(at(last, pos+int64(i)))
			}
		}
		out, from = out[len(run):], from+int64(len(run))
	}
}

func stepA(l *loop, pos int64) int64 { return pos * l.a }
func stepC(l *loop, pos int64) int64 { return pos * l.out }
func stepB(l *loop, pos int64) int64 {
	if l.list != nil {
		return l.list[pos]
	}
	return pos * l.b
}

// multiplication is a product that is being computed. Work is cut into tiles of rows and columns
// that threads claim one by one: each in a share of its own, where what one tile reads is what the one
// before has left near or fetched, and then in those of others.
type multiplication[T element] struct {
	workspace
	p          *product
	cut        *blocks
	rows, cols int64
	tiling     tiling
	segments   []segment
	filling    filling[T]
	workers    []*worker[T] // those in use first
	packs      []packs[T]   // theirs

	run          *interp.Execution
	looked       *lookups
	dataA, dataB []T    // nil: the factor is computed
	constant     bool   // B is
	whole        []byte // all of B, packed for all runs; nil: it is not
	wholeA       []T    // all of A, likewise
}

// packs is where a worker packs what it multiplies.
type packs[T element] struct{ a, b []T }

// share is tiles up to an end, of which the next is nobody's yet.
type share struct {
	next atomic.Int64
	end  int64
	_    [112]byte // so that no two are in one line of the cache
}

// multiply computes all batches of stage i of a program.
func multiply[T element](d *Device, idle *reuse.List[multiplication[T]], run *interp.Execution, i int, p *product, looked *lookups, room workspace) (err error) {
	x := idle.Get()
	x.p, x.run, x.looked, x.mem, x.left = p, run, looked, room.mem, room.left
	if x.cut = d.blocks(p.out.DType, p.short); x.cut.code != nil {
		if x.cut.code.enter() {
			defer x.cut.code.leave()
		} else {
			x.cut = &portable
		}
	}
	defer func() {
		x.p, x.cut, x.run, x.looked, x.dataA, x.dataB, x.whole, x.wholeA = nil, nil, nil, nil, nil, nil, nil, nil
		clear(x.packs)
		x.free()
		idle.Put(x)
	}()
	out := run.Tensor(p.out)
	if x.dataA, err = x.operand(d, run, &p.a); err != nil {
		return err
	}
	if x.dataB, err = x.operand(d, run, &p.b); err != nil {
		return err
	}
	x.rows, x.cols = total(p.m), total(p.n)
	if x.constant, x.whole, err = x.packedB(run, room.mem); err != nil {
		return err
	}
	if x.whole == nil {
		if x.wholeA, err = x.packedA(run, room.mem, x.dataA); err != nil {
			return err
		}
	}
	x.tiling = p.tiling(d, x.cut, x.whole != nil)
	x.segments = p.segments(x.segments[:0], looked)
	if p.table != nil {
		x.tiling.tiles = 0
		for i := range x.segments {
			s := &x.segments[i]
			s.tile, s.cols = x.tiling.tiles, p.segmentCols(x.cut, x.tiling, s.to-s.from, x.whole != nil)
			x.tiling.tiles += ceilDiv(x.cols, s.cols) * ceilDiv(x.cut.panelsOf(s.to-s.from).n, x.tiling.panels)
		}
	}
	sizeA, sizeB := p.packs(x.cut, x.tiling, x.whole != nil)
	if x.wholeA != nil {
		sizeA = 0
	}
	n := x.tiling.workers
	for int64(len(x.workers)) < n {
		x.workers = append(x.workers, newWorker[T]())
	}
	for int64(len(x.packs)) < n {
		x.packs = append(x.packs, packs[T]{})
	}
	for i := range n {
		w := x.workers[i]
		w.share.next.Store(x.tiling.tiles * i / n)
		w.share.end = x.tiling.tiles * (i + 1) / n
		w.lists.fit(x.cut)
		if x.packs[i].a, err = take[T](&x.workspace, out, sizeA); err != nil {
			return err
		}
		if x.packs[i].b, err = take[T](&x.workspace, out, sizeB); err != nil {
			return err
		}
	}
	return d.parallel(rt.RecorderOf(run.Context()), run.Stages[i].Out().Name, int(n), x)
}

// open readies worker i, on the thread that it is to work on.
func (x *multiplication[T]) open(i int) (*worker[T], error) {
	w, p := x.workers[i], x.p
	w.ctx, w.p, w.cut, w.c = x.run.Context(), p, x.cut, tensor.Data[T](x.run.Tensor(p.out))
	w.rowsFrom = x.looked.from.list
	w.constant, w.whole, w.half = x.constant, x.whole, x86.WeightsF32
	w.lies = x.whole != nil && p.lies(x.cut)
	w.holds, w.held, w.wholeA = x.wholeA == nil && !w.lies && p.holds(x.cut, x.tiling), someRows{}, x.wholeA
	w.rowsOf = someRows{}
	w.packA, w.packB = x.packs[i].a, x.packs[i].b
	if x.whole != nil {
		w.half = p.half
	}
	if err := w.a.open(x.run, &p.a, x.dataA, x.cut.pairs); err != nil {
		return w, err
	}
	return w, w.b.open(x.run, &p.b, x.dataB, x.cut.pairs)
}

// operand gives the elements of a factor, nil where it is computed. One with a border is a copy.
func (x *multiplication[T]) operand(d *Device, run *interp.Execution, o *operand) ([]T, error) {
	if o.buf == nil {
		return nil, nil
	}
	in := run.Tensor(o.buf)
	data := tensor.Data[T](in)
	if o.pad == nil {
		return data, nil
	}
	copied, err := take[T](&x.workspace, run.Tensor(x.p.out), o.pad.size())
	if err == nil {
		err = x.filling.fill(d, o.pad, copied, data)
	}
	return copied, err
}

// part works on tiles as long as there are any.
func (x *multiplication[T]) part(_, i int) error {
	n := int(x.tiling.workers)
	w, err := x.open(i)
	defer w.close()
	if err != nil {
		return err
	}
	for o := range n {
		for share := &x.workers[(i+o)%n].share; ; {
			t := share.next.Add(1) - 1
			if t >= share.end {
				break
			}
			if err := x.tile(w, t); err != nil {
				for _, w := range x.workers[:n] { // the others need not go on
					w.share.next.Store(x.tiling.tiles)
				}
				return err
			}
		}
	}
	return nil
}

// tile computes tile t.
func (x *multiplication[T]) tile(w *worker[T], t int64) error {
	s, cols := &x.segments[0], x.tiling.cols
	if x.p.table != nil {
		at, _ := slices.BinarySearchFunc(x.segments, t+1, func(s segment, t int64) int { return cmp.Compare(s.tile, t) })
		s = &x.segments[at-1]
		t -= s.tile
		cols = s.cols
	}
	panels := x.cut.panelsOf(s.to - s.from)
	across, down := ceilDiv(x.cols, cols), ceilDiv(panels.n, x.tiling.panels)
	n0, i, batch := t%across*cols, t/across%down, t/across/down
	return w.tile(s, batch, panels, i*panels.n/down, (i+1)*panels.n/down, n0, min(n0+cols, x.cols))
}

// worker multiplies on one thread.
type worker[T element] struct {
	*lists
	share        share
	ctx          context.Context
	p            *product
	cut          *blocks
	a, b         *source[T]
	rowsFrom     []int64 // where rows of A lie, if a table says so
	c            []T
	packA, packB []T
	wholeA       []T      // all of A, packed for all runs; nil: it is not
	blockA       []T      // of the block
	lies         bool     // rows of A are read where they lie, and none is packed
	firstA       int      // where the first one begins in blockA
	strideA      int      // from one to the next
	holds        bool     // packA has room for all of a block's depth
	held         someRows // packed to their whole depth
	rowsOf       someRows // that are listed
	constant     bool
	whole        []byte // all of B, packed for all runs; nil: it is not

	slim    bool           // of the last panel of B no more than half is multiplied, and packed where B is packed for the tile
	panelsB unsafe.Pointer // of the block, for machine code
	strideB int            // bytes from one to the next
	nextB   uintptr        // panels of the block that comes next; 0: it is not known
	half    x86.Weights    // which they are
}

// close drops what the worker has of a run.
func (w *worker[T]) close() {
	w.a.close()
	w.b.close()
	w.lists.forget()
	w.lengthB = 0
	w.rowsFrom = nil
	w.ctx, w.p, w.cut, w.c, w.packA, w.packB, w.wholeA, w.blockA, w.whole, w.panelsB = nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
}

// lists are the addresses of the block that is being computed: element (m, k) of A lies
// at batchA + rowA[m] + kA[k], and so on.
type lists struct {
	batchA, batchB, batchC int
	first                  int // column
	rowA, rowC             []int
	colB, colC             []int
	kA, kB                 []int
	fromB                  int64 // of kB: the first row of B, and how many there are
	lengthB                int
	codeLists
}

func newWorker[T element]() *worker[T] {
	return &worker[T]{lists: new(lists), a: new(source[T]), b: new(source[T])}
}

// fit makes lists long enough.
func (l *lists) fit(cut *blocks) {
	rows, cols, depth := int(cut.panels)*cut.mr, int(cut.wide), int(cut.deepest())
	if len(l.rowA) < rows || len(l.colB) < cols || len(l.kA) < depth {
		l.rowA, l.rowC = make([]int, rows), make([]int, rows)
		l.colB, l.colC = make([]int, cols), make([]int, cols)
		l.kA, l.kB = make([]int, depth), make([]int, depth)
	}
	if cut.code != nil {
		l.codeLists.fit(cut)
	}
}

// tile computes panels p0..p1 of the rows of a segment, and columns n0..n1, of one batch.
func (w *worker[T]) tile(s *segment, batch int64, rows rowPanels, p0, p1, n0, n1 int64) error {
	p := w.p
	w.stand(s, batch)
	b := block{rowPanels: rows, batch: batch, row0: s.from, col0: n0, cols: int(n1 - n0)}
	w.first = int(n0)
	if w.whole == nil {
		addresses(w.colB[:b.cols], p.n, n0, stepB)
	}
	if w.whole == nil || !p.align {
		addresses(w.colC[:b.cols], p.n, n0, stepC)
	}
	together := total(p.m)
	if w.whole != nil {
		together = s.to - s.from // what is packed for a tile has one depth for all segments
	}
	depth := w.cut.along(total(p.k))
	step := w.cut.depthOf(together, depth)
	w.strideB = w.cut.nr * int(depth) * w.half.Bytes()
	listed, thin := w.whole == nil && w.listed(s, b.cols), p.thin(w.cut, s.to-s.from)
	w.slim = !listed && !thin && w.slimB(&b)
	if w.whole == nil && !listed && !thin { // rows go by what was packed of B
		for b.at(0, step, depth); b.depth > 0; b.at(b.k0+step, step, depth) {
			w.depthB(&b)
			if err := w.fillB(w.packB, w.cut.nr*b.depth, batch, n0, b.cols, b.k0, b.depth); err != nil {
				return err
			}
			w.panelsB, w.nextB, w.strideB = unsafe.Pointer(&w.packB[0]), 0, w.cut.nr*b.depth*4
			for b.from = p0; b.from < p1; b.from = b.to {
				b.to = w.cut.next(p0, p1, b.from)
				if err := w.block(&b, false, false); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for b.from = p0; b.from < p1; b.from = b.to {
		b.to = w.cut.next(p0, p1, b.from)
		for b.at(0, step, depth); b.depth > 0; b.at(b.k0+step, step, depth) {
			if w.whole != nil {
				after := s.b
				if b.to == p1 {
					after = s.next
				}
				w.panelsB, w.nextB = w.keptB(s, &b, after)
			} else {
				w.depthB(&b)
			}
			if err := w.block(&b, listed, thin); err != nil {
				return err
			}
		}
	}
	return nil
}

// depthB lists where the rows of B of a block lie, if the lists are not those already.
func (w *worker[T]) depthB(b *block) {
	if w.fromB == b.k0 && w.lengthB == b.depth {
		return
	}
	w.fromB, w.lengthB, w.short = b.k0, b.depth, false
	addresses(w.kB[:b.depth], w.p.k, b.k0, stepB)
	if w.cut.code != nil {
		w.short = shorten(w.list, w.kB[:b.depth])
	}
}

// slimB says whether half of the last panel of B is all that there is of it. Where B is packed for a tile, its panel has no
// more, unless it is computed. Bits do not depend on it.
func (w *worker[T]) slimB(b *block) bool {
	rest, half := b.cols%w.cut.nr, w.cut.nr/2
	return w.cut.code != nil && (w.whole != nil || !w.b.computed()) && rest > 0 && rest <= half &&
		(x86.Tile{Rows: int(b.rows / b.n), Cols: half}).Single(w.cut.code.features)
}

// block computes a block of C to some depth, or adds that to it.
func (w *worker[T]) block(b *block, listed, thin bool) error {
	if err := w.ctx.Err(); err != nil {
		return diag.Stopped(err)
	}
	i0 := b.row0 + b.start(b.from)
	count := int(b.row0 + b.start(b.to) - i0)
	these := someRows{b.batch, i0, count}
	w.listRows(these)
	if thin {
		addresses(w.kA[:b.depth], w.p.k, b.k0, stepA)
		return w.thinBlock(b.batch, i0, count, b.cols, b.k0, b.depth)
	}
	w.blockA = w.packA
	if w.holds {
		w.blockA = w.packA[count*int(b.k0):]
	}
	if w.wholeA != nil {
		w.blockA = w.keptA(b, i0)
	} else if w.lies {
		first, last := w.rowA[0], w.rowA[count-1]
		low := min(first, last)                                                     // rows may go backwards
		w.blockA = w.a.data[w.batchA+low+int(b.k0):][:max(first, last)-low+b.depth] // machine code does not look
		w.firstA, w.strideA = first-low, (last-first)/max(count-1, 1)
		w.args.Stride = int64(4 * w.strideA)
	} else if count == 1 && w.rowsLie() { // it is its own panel
		w.blockA = w.a.data[w.batchA+w.rowA[0]+int(b.k0):][:b.depth]
	} else if !w.holds || w.held != these {
		if !w.rowsLie() {
			addresses(w.kA[:b.depth], w.p.k, b.k0, stepA)
		}
		if err := w.fillA(b.batch, i0, *b); err != nil {
			return err
		}
		if w.holds && b.k0+int64(b.depth) == w.cut.along(total(w.p.k)) {
			w.held = these
		}
	}
	switch {
	case listed:
		return w.multiplyListed(*b)
	case w.cut.code != nil:
		return w.multiplyCode(*b)
	}
	w.multiply(*b)
	return nil
}

// rowsLie says whether machine code packs rows of A that lie element by element of k: there is no list of where those are.
func (w *worker[T]) rowsLie() bool { return w.p.rowLies && w.cut.code != nil }

// someRows are rows of a batch.
type someRows struct {
	batch, from int64
	count       int
}

// listRows lists where rows of A and C lie, unless those of the tile before were the same.
func (w *worker[T]) listRows(these someRows) {
	if w.rowsOf == these {
		return
	}
	w.rowsOf = these
	rowA, rowC := w.rowA[:these.count], w.rowC[:these.count]
	if t := w.p.from; t == nil {
		addresses(rowA, w.p.m, these.from, stepA)
	} else {
		for i := range rowA {
			rowA[i] = int(w.rowsFrom[these.from+int64(i)] * t.stride)
		}
	}
	addresses(rowC, w.p.m, these.from, stepC)
	if w.cut.code != nil {
		for i, at := range rowC {
			w.rows[i] = unsafe.Pointer(&w.c[w.batchC+at])
		}
	}
}

// stand goes to a batch and a segment.
func (w *worker[T]) stand(s *segment, batch int64) {
	p := w.p
	w.batchA, w.batchB, w.batchC = int(p.a.base), int(p.b.base+s.b), 0
	for i := len(p.batch) - 1; i >= 0; i-- {
		l := &p.batch[i]
		at := batch % l.extent
		batch /= l.extent
		w.batchA, w.batchB, w.batchC = w.batchA+int(at*l.a), w.batchB+int(at*l.b), w.batchC+int(at*l.out)
	}
}

// fillA packs the rows of a block in panels.
func (w *worker[T]) fillA(batch, i0 int64, b block) error {
	to, row := w.blockA, 0
	for i := b.from; i < b.to; {
		n := int(b.size(i))
		count := n // of as many panels as have this size
		j := i + 1
		for ; j < b.to && int(b.size(j)) == n; j++ {
			count += n
		}
		width := w.cut.width(n)
		size := int(j-i) * width * b.depth
		if w.a.computed() {
			// Rows that are missing at the end of a panel make it one by itself.
			each, lot := count, int(j-i)
			if width == n {
				lot = 1
			} else {
				each = n
			}
			for l := range lot {
				if err := w.a.fill(to[l*width*b.depth:], width, width*b.depth, w.p, batch, w.p.m, i0+int64(row+l*n), each, b.k0, b.depth); err != nil {
					return err
				}
			}
		} else {
			for l := 0; l < count; l += n {
				panel, rows := to[l/n*width*b.depth:], w.rowA[row+l:row+l+n]
				var err error
				if w.rowsLie() {
					err = w.transpose(panel, width, w.a.data, w.batchA+int(b.k0), rows, b.depth)
				} else {
					err = w.pack(panel, width, w.a.data, w.batchA, rows, w.kA[:b.depth])
				}
				if err != nil {
					return err
				}
			}
		}
		to, row, i = to[size:], row+count, j
	}
	return nil
}

// fillB packs columns in panels, which begin apart elements one after the other.
func (w *worker[T]) fillB(to []T, apart int, batch, j0 int64, cols int, k0 int64, depth int) error {
	if w.b.computed() {
		return w.b.fill(to, w.cut.nr, apart, w.p, batch, w.p.n, j0, cols, k0, depth)
	}
	from := 0
	if straight(w.colB[:cols]) {
		if from = cols; w.slim {
			from -= cols % w.cut.nr
		}
		if err := w.packRows(to, apart, w.batchB+w.colB[0], w.kB[:depth], from); err != nil {
			return err
		}
	}
	for j := from; j < cols; j += w.cut.nr {
		width := w.cut.nr
		if w.slim && cols-j < width {
			width /= 2
		}
		if err := w.pack(to[j/w.cut.nr*apart:], width, w.b.data, w.batchB, w.colB[j:min(j+width, cols)], w.kB[:depth]); err != nil {
			return err
		}
	}
	return nil
}

// multiply adds the products of packed panels to C.
func (w *worker[T]) multiply(b block) {
	for j := 0; j < b.cols; j += nr {
		panelB := w.packB[j*b.depth : (j+nr)*b.depth]
		row := 0
		for i := b.from; i < b.to; i++ {
			n := int(b.size(i))
			w.kernel(w.blockA[int(i-b.from)*mr*b.depth:int(i-b.from+1)*mr*b.depth], panelB, row, row+n, j, min(j+nr, b.cols), b.k0 == 0)
			row += n
		}
	}
}

// kernel adds a panel of A times a panel of B to mr x nr elements of C, two columns at a time: so many sums, and what
// they are made of, fit the registers of scalar code. Four steps of k at a time, what a step costs beside its
// multiply-adds is little.
func (w *worker[T]) kernel(a, b []T, i0, i1, j0, j1 int, first bool) {
	for h := 0; j0+h < j1; h += 2 {
		var c00, c01, c10, c11, c20, c21, c30, c31 T
		k := 0
		for ; k+4*mr <= len(a); k += 4 * mr {
			p, q := (*[4 * mr]T)(a[k:]), (*[3*nr + 2]T)(b[k+h:])
			b0, b1 := q[0], q[1]
			c00, c01 = c00+p[0]*b0, c01+p[0]*b1
			c10, c11 = c10+p[1]*b0, c11+p[1]*b1
			c20, c21 = c20+p[2]*b0, c21+p[2]*b1
			c30, c31 = c30+p[3]*b0, c31+p[3]*b1
			b0, b1 = q[4], q[5]
			c00, c01 = c00+p[4]*b0, c01+p[4]*b1
			c10, c11 = c10+p[5]*b0, c11+p[5]*b1
			c20, c21 = c20+p[6]*b0, c21+p[6]*b1
			c30, c31 = c30+p[7]*b0, c31+p[7]*b1
			b0, b1 = q[8], q[9]
			c00, c01 = c00+p[8]*b0, c01+p[8]*b1
			c10, c11 = c10+p[9]*b0, c11+p[9]*b1
			c20, c21 = c20+p[10]*b0, c21+p[10]*b1
			c30, c31 = c30+p[11]*b0, c31+p[11]*b1
			b0, b1 = q[12], q[13]
			c00, c01 = c00+p[12]*b0, c01+p[12]*b1
			c10, c11 = c10+p[13]*b0, c11+p[13]*b1
			c20, c21 = c20+p[14]*b0, c21+p[14]*b1
			c30, c31 = c30+p[15]*b0, c31+p[15]*b1
		}
		for ; k < len(a); k += mr {
			p, q := (*[mr]T)(a[k:]), (*[2]T)(b[k+h:])
			b0, b1 := q[0], q[1]
			c00, c01 = c00+p[0]*b0, c01+p[0]*b1
			c10, c11 = c10+p[1]*b0, c11+p[1]*b1
			c20, c21 = c20+p[2]*b0, c21+p[2]*b1
			c30, c31 = c30+p[3]*b0, c31+p[3]*b1
		}
		c := [mr][2]T{{c00, c01}, {c10, c11}, {c20, c21}, {c30, c31}}
		out, cols := w.c, w.colC[j0+h:min(j0+h+2, j1)]
		for i := i0; i < i1; i++ {
			row, v := w.batchC+w.rowC[i], &c[i-i0]
			for j, col := range cols {
				if first {
					out[row+col] = v[j]
				} else {
					out[row+col] += v[j]
				}
			}
		}
	}
}
