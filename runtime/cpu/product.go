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
)

// Blocking, after Goto and van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication" (ACM TOMS 2008): a panel of B of kc x nc stays in the second-level
// cache while mc rows of A, in panels of mr, go by.
const (
	mr  = 4
	nr  = 4
	kc  = 256
	nc  = 512
	few = 64 // in the place of nc for few rows
	mc  = 64
)

// bytes is what a product takes from its workspace.
func (p *product) bytes(d *Device) int64 {
	elem := int64(p.out.DType.Bits() / 8)
	a, b := p.packs()
	_, _, _, workers := p.tiling(d)
	n := workers * (analysis.Aligned(a*elem) + analysis.Aligned(b*elem))
	if p.a.pad != nil {
		n += analysis.Aligned(times(append([]int64{elem}, p.a.pad.size...)...))
	}
	return n
}

// product computes stage i of a program, which match recognised.
func (d *Device) product(x *interp.Execution, i int, p *product, mem rt.Memory) error {
	room, err := mem.Workspace(i)
	if err != nil {
		return err
	}
	space := workspace{mem: mem, left: room}
	switch p.out.DType {
	case tensor.F32:
		return multiply(d, &d.f32, x, i, p, space)
	case tensor.F64:
		return multiply(d, &d.f64, x, i, p, space)
	}
	return multiply(d, &d.i32, x, i, p, space)
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

// free gives back what was not planned.
func (w *workspace) free() {
	for _, t := range w.more {
		w.mem.Free(t)
	}
	clear(w.more)
	*w = workspace{more: w.more[:0]}
}

// fill copies an operand of a shape, which lies in a tensor of the shape room, into the middle of
// zeros: the range of positions that loads reach.
func fill[T element](out, in []T, shape, room []int64, pad *padding) {
	clear(out)
	fillDim(out, in, shape, room, pad, 0, 0, 0)
}

func fillDim[T element](out, in []T, shape, room []int64, pad *padding, dim int, from, to int64) {
	lo, hi := max(0, pad.lo[dim]), min(shape[dim], pad.lo[dim]+pad.size[dim])
	if dim == len(shape)-1 {
		if lo < hi {
			copy(out[to*pad.size[dim]+lo-pad.lo[dim]:][:hi-lo], in[from*room[dim]+lo:])
		}
		return
	}
	for i := lo; i < hi; i++ {
		fillDim(out, in, shape, room, pad, dim+1, from*room[dim]+i, to*pad.size[dim]+i-pad.lo[dim])
	}
}

// addresses fills out with what positions from, from+1, ... of a nest of loops, the last
// one innermost, add to an address.
func addresses(out []int, nest []loop, from int64, step func(*loop) int64) {
	if len(nest) == 0 { // one position
		clear(out)
		return
	}
	last := &nest[len(nest)-1]
	for len(out) > 0 {
		at, pos := int64(0), from
		for i := len(nest) - 1; i >= 0; i-- {
			at += pos % nest[i].extent * step(&nest[i])
			pos /= nest[i].extent
		}
		run := min(last.extent-from%last.extent, int64(len(out)))
		for i := range run {
			out[i] = int(at + i*step(last))
		}
		out, from = out[run:], from+run
	}
}

func stepA(l *loop) int64 { return l.a }
func stepB(l *loop) int64 { return l.b }
func stepC(l *loop) int64 { return l.out }

// multiplication is a product that is being computed. Work is cut into tiles of rows and columns
// that threads claim one by one.
type multiplication[T element] struct {
	workspace
	p                  *product
	rows, cols         int64
	tileRows, tileCols int64
	tiles              int64
	segments           []segment
	next               atomic.Int64
	workers            []*worker[T] // those in use first
}

// multiply computes all batches of stage i of a program.
func multiply[T element](d *Device, idle *reuse.List[multiplication[T]], run *interp.Execution, i int, p *product, room workspace) (err error) {
	x := idle.Get()
	x.p, x.mem, x.left = p, room.mem, room.left
	n := int64(0)
	defer func() {
		for _, w := range x.workers[:n] {
			w.a.close()
			w.b.close()
			*w = worker[T]{lists: w.lists, a: w.a, b: w.b}
		}
		x.p = nil
		x.free()
		idle.Put(x)
	}()
	out := run.Tensor(p.out)
	var dataA, dataB []T
	if p.a.buf != nil {
		a := run.Tensor(p.a.buf)
		dataA = tensor.Data[T](a)
		if p.a.pad != nil {
			if dataA, err = take[T](&x.workspace, out, times(p.a.pad.size...)); err != nil {
				return err
			}
			fill(dataA, tensor.Data[T](a), run.Stages[i].Shape(p.a.buf), a.Shape(), p.a.pad)
		}
	}
	if p.b.buf != nil {
		dataB = tensor.Data[T](run.Tensor(p.b.buf))
	}
	x.rows, x.cols = total(p.m), total(p.n)
	var workers int64
	x.tileRows, x.tileCols, x.tiles, workers = p.tiling(d)
	x.segments = p.segments(x.segments[:0], run)
	if p.table != nil {
		x.tiles = 0
		for i := range x.segments {
			s := &x.segments[i]
			s.tile = x.tiles
			x.tiles += ceilDiv(x.cols, x.tileCols) * ceilDiv(s.to-s.from, x.tileRows)
		}
	}
	x.next.Store(0)
	sizeA, sizeB := p.packs()
	for n < workers {
		if int(n) == len(x.workers) {
			x.workers = append(x.workers, &worker[T]{lists: new(lists), a: new(source[T]), b: new(source[T])})
		}
		w := x.workers[n]
		n++
		w.ctx, w.p, w.c = run.Context(), p, tensor.Data[T](out)
		if err = w.a.open(run, &p.a, dataA); err != nil {
			return err
		}
		if err = w.b.open(run, &p.b, dataB); err != nil {
			return err
		}
		if w.packA, err = take[T](&x.workspace, out, sizeA); err != nil {
			return err
		}
		if w.packB, err = take[T](&x.workspace, out, sizeB); err != nil {
			return err
		}
	}
	return d.team.parallel(int(workers), x)
}

// part works on tiles as long as there are any.
func (x *multiplication[T]) part(i int) error {
	for {
		t := x.next.Add(1) - 1
		if t >= x.tiles {
			return nil
		}
		s := &x.segments[0]
		if x.p.table != nil {
			at, _ := slices.BinarySearchFunc(x.segments, t+1, func(s segment, t int64) int { return cmp.Compare(s.tile, t) })
			s = &x.segments[at-1]
			t -= s.tile
		}
		across, down := ceilDiv(x.cols, x.tileCols), ceilDiv(s.to-s.from, x.tileRows)
		n0, m0, batch := t%across*x.tileCols, s.from+t/across%down*x.tileRows, t/across/down
		if err := x.workers[i].tile(s, batch, m0, min(m0+x.tileRows, s.to), n0, min(n0+x.tileCols, x.cols)); err != nil {
			x.next.Store(x.tiles) // the others need not go on
			return err
		}
	}
}

// tileCols is the columns of a tile at most. With few rows what is packed of B is soon used
// up, so that there need not be much of it.
func (p *product) tileCols() int64 {
	if total(p.m) < mc {
		return few
	}
	return nc
}

// tiling is the rows and columns of a tile, the number of tiles, and how many workers share
// them.
func (p *product) tiling(d *Device) (tileRows, tileCols, tiles, workers int64) {
	rows, cols, batches := total(p.m), total(p.n), total(p.batch)
	// Rows per tile: enough that packing B pays, few enough that threads share the work. Each
	// element is summed up in the same order in any tile.
	tileRows, tileCols = rows, p.tileCols()
	tiles = batches * ceilDiv(cols, tileCols)
	workers = int64(d.threads)
	if times(batches, rows, cols, total(p.k)) < 4*d.alone { // points of a product are cheap
		workers = 1
	}
	if p.table != nil { // there are more by groups
		return tileRows, tileCols, tiles, workers
	}
	if tiles < 8 { // few columns: cut rows too, each tile packing B for itself
		tileRows = mc
		if p.b.buf == nil { // which costs more where B is computed
			tileRows = roundUp(ceilDiv(rows, workers), mc)
		}
		tiles *= ceilDiv(rows, tileRows)
	}
	return tileRows, tileCols, tiles, min(workers, tiles)
}

// packs are the numbers of elements of A and of B that a worker packs at a time.
func (p *product) packs() (a, b int64) {
	depth, rows := min(kc, total(p.k)), total(p.m)
	row := depth + min(p.tileCols(), total(p.n)) // of a thin product, and its sums
	if p.thin(rows) {
		return row, 0
	}
	a, b = min(mc, roundUp(rows, mr))*depth, min(p.tileCols(), roundUp(total(p.n), nr))*depth
	if p.table != nil {
		a = max(a, row)
	}
	return a, b
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// worker multiplies on one thread.
type worker[T element] struct {
	*lists
	ctx          context.Context
	p            *product
	a, b         *source[T]
	c            []T
	packA, packB []T
}

// lists are the addresses of the block that is being computed: element (m, k) of A lies
// at batchA + rowA[m] + kA[k], and so on.
type lists struct {
	batchA, batchB, batchC int
	rowA, rowC             [mc]int
	colB, colC             [nc]int
	kA, kB                 [kc]int
}

func roundUp(n, to int64) int64 { return ceilDiv(n, to) * to }

// tile computes rows m0..m1 and columns n0..n1 of one batch, in a segment.
func (w *worker[T]) tile(s *segment, batch, m0, m1, n0, n1 int64) error {
	p, thin := w.p, w.p.thin(s.to-s.from)
	w.batchA, w.batchB, w.batchC = int(p.a.base), int(p.b.base+s.b), 0
	pos := batch
	for i := len(p.batch) - 1; i >= 0; i-- {
		l := &p.batch[i]
		at := pos % l.extent
		pos /= l.extent
		w.batchA, w.batchB, w.batchC = w.batchA+int(at*l.a), w.batchB+int(at*l.b), w.batchC+int(at*l.out)
	}
	cols := int(n1 - n0)
	addresses(w.colB[:cols], p.n, n0, stepB)
	addresses(w.colC[:cols], p.n, n0, stepC)
	for k0 := int64(0); k0 < total(p.k); k0 += kc {
		depth := int(min(kc, total(p.k)-k0))
		addresses(w.kA[:depth], p.k, k0, stepA)
		addresses(w.kB[:depth], p.k, k0, stepB)
		if !thin {
			if err := w.fillB(batch, n0, cols, k0, depth); err != nil {
				return err
			}
		}
		for i0 := m0; i0 < m1; i0 += mc {
			if err := w.ctx.Err(); err != nil {
				return diag.Stopped(err)
			}
			rows := int(min(mc, m1-i0))
			addresses(w.rowA[:rows], p.m, i0, stepA)
			addresses(w.rowC[:rows], p.m, i0, stepC)
			if thin {
				if err := w.thinBlock(batch, i0, rows, cols, k0, depth); err != nil {
					return err
				}
				continue
			}
			if err := w.fillA(batch, i0, rows, k0, depth); err != nil {
				return err
			}
			for j := 0; j < cols; j += nr {
				b := w.packB[j*depth : (j+nr)*depth]
				for i := 0; i < rows; i += mr {
					w.kernel(w.packA[i*depth:(i+mr)*depth], b, i, min(i+mr, rows), j, min(j+nr, cols), k0 == 0)
				}
			}
		}
	}
	return nil
}

// fillA lays rows out in panels of mr, element by element of k; rows that are missing at
// the end are 0.
func (w *worker[T]) fillA(batch, i0 int64, rows int, k0 int64, depth int) error {
	if w.a.computed() {
		return w.a.fill(w.packA, mr, w.p, batch, w.p.m, i0, rows, k0, depth)
	}
	a, offs := w.a.data, w.kA[:depth]
	for i := 0; i < rows; i += mr {
		panel := w.packA[i*depth : (i+mr)*depth]
		for r := range mr {
			if i+r >= rows {
				for k := range depth {
					panel[k*mr+r] = 0
				}
				continue
			}
			row := w.batchA + w.rowA[i+r]
			for k, off := range offs {
				panel[k*mr+r] = a[row+off]
			}
		}
	}
	return nil
}

// fillB lays columns out in panels of nr.
func (w *worker[T]) fillB(batch, j0 int64, cols int, k0 int64, depth int) error {
	if w.b.computed() {
		return w.b.fill(w.packB, nr, w.p, batch, w.p.n, j0, cols, k0, depth)
	}
	b, offs := w.b.data, w.kB[:depth]
	for j := 0; j < cols; j += nr {
		panel := w.packB[j*depth : (j+nr)*depth]
		if j+nr > cols {
			clear(panel)
		}
		list := w.colB[j:min(j+nr, cols)]
		for k, off := range offs {
			at := w.batchB + off
			for c, col := range list {
				panel[k*nr+c] = b[at+col]
			}
		}
	}
	return nil
}

// kernel adds a panel of A times a panel of B to mr x nr elements of C, in registers.
func (w *worker[T]) kernel(a, b []T, i0, i1, j0, j1 int, first bool) {
	var c [mr][nr]T
	var c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33 T
	for len(a) >= mr && len(b) >= nr {
		a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
		b0 := b[0]
		c00 += a0 * b0
		c10 += a1 * b0
		c20 += a2 * b0
		c30 += a3 * b0
		b0 = b[1]
		c01 += a0 * b0
		c11 += a1 * b0
		c21 += a2 * b0
		c31 += a3 * b0
		b0 = b[2]
		c02 += a0 * b0
		c12 += a1 * b0
		c22 += a2 * b0
		c32 += a3 * b0
		b0 = b[3]
		c03 += a0 * b0
		c13 += a1 * b0
		c23 += a2 * b0
		c33 += a3 * b0
		a, b = a[mr:], b[nr:]
	}
	c[0] = [nr]T{c00, c01, c02, c03}
	c[1] = [nr]T{c10, c11, c12, c13}
	c[2] = [nr]T{c20, c21, c22, c23}
	c[3] = [nr]T{c30, c31, c32, c33}
	out, cols := w.c, w.colC[j0:j1]
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
