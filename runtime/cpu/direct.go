package cpu

import (
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// direct is how a product of few rows is computed without packing columns: as a convolution with a
// kernel for each plane is one. What a piece of the result needs of B is copied next to the processor,
// with zeros where the loads are not to take place; x86.Window computes the piece from it. Where
// columns are some elements apart in B, the copy has every so many of them side by side.
type direct struct {
	box                // for the first positions; its parts are what columns are apart in B
	first    []int64   // how far the box moves with the first loop of columns,
	batch    [][]int64 // and with the loops of the batch
	origin   int64     // of the first column, where steps along others are negative
	elements int64     // of the copy, with a vector of anything behind it
	band     int64     // positions of the first loop of columns that a piece has
	pieces   int64
	rowStep  int64 // from row to row in the copy

	list  []int32 // of taps: bytes in the copy
	taps  []int   // elements in A
	along bool    // those are one behind the other
}

// Rows and taps up to which a product is computed directly; elements of a copy, which stay near, and
// behind it; and vectors of results in registers.
const (
	directRows  = 4
	directTaps  = 1 << 10
	directCopy  = 1 << 14
	directSlack = 16
	directSums  = 8
)

// directly says how a product is computed directly; nil: it is not.
func (p *product) directly(s *interp.Stage) *direct {
	rows, taps, last := total(p.m), total(p.k), len(p.n)-1
	if p.out.DType != tensor.F32 || p.table != nil || p.a.buf == nil || p.b.buf == nil || p.a.pad != nil ||
		rows > directRows || taps > directTaps || last < 0 || p.n[last].out != 1 || len(p.b.index) == 0 {
		return nil
	}
	end := len(p.b.index) - 1
	phases := p.n[last].in(p.b.index[end])
	if phases < 1 {
		return nil
	}
	for i, l := range p.n {
		for j, f := range p.b.index {
			if (i == last) != (j == end) && l.in(f) != 0 {
				return nil
			}
		}
	}
	if !slices.ContainsFunc(p.b.index, func(f linearIndex) bool { return moves(p.n, f) && moves(p.k, f) }) {
		return nil // nothing slides: what a column reads is read by no other, and weights are read faster packed
	}
	x := &direct{}
	// The longest band whose copy is small.
	fit := func(band int64) bool {
		*x = direct{box: *newBox(s.Shape(p.b.buf), s.Room(p.b.buf)), band: band}
		x.phases = phases
		low := make([]int64, len(x.dims)) // of columns
		for j, f := range p.b.index {
			d := &x.dims[j]
			var batch []int64
			for _, l := range p.batch {
				batch = append(batch, l.in(f))
			}
			x.first, x.batch = append(x.first, p.n[0].in(f)), append(x.batch, batch)
			for i, l := range p.n {
				n := l.extent
				if i == 0 {
					n = band
				}
				reach := l.in(f) * (n - 1)
				low[j], d.size = low[j]+min(reach, 0), d.size+max(reach, -reach)
			}
			x.from[j] = f.c + low[j]
			for _, l := range p.k {
				reach := l.in(f) * (l.extent - 1)
				x.from[j], d.size = x.from[j]+min(reach, 0), d.size+max(reach, -reach)
			}
		}
		x.layout()
		for j, d := range x.dims {
			x.origin -= low[j] * d.stride
		}
		x.elements = x.size() + directSlack
		return x.size() <= directCopy
	}
	whole := p.n[0].extent
	if !fit(whole) {
		low, high := int64(0), whole // fits, does not
		for high-low > 1 {
			if mid := (low + high) / 2; fit(mid) {
				low = mid
			} else {
				high = mid
			}
		}
		if low == 0 {
			return nil
		}
		fit(ceilDiv(whole, ceilDiv(whole, low)))
	}
	x.pieces = ceilDiv(whole, x.band)
	if last > 0 {
		for i, f := range p.b.index {
			x.rowStep += p.n[last-1].in(f) * x.dims[i].stride
		}
	}
	x.tabulate(p)
	return x
}

// tabulate lists the taps.
func (x *direct) tabulate(p *product) {
	at := make([]int64, len(p.k))
	for range total(p.k) {
		offset, a := int64(0), int64(0)
		for j, f := range p.b.index {
			pos := int64(0)
			for i, l := range p.k {
				k := l.in(f)
				pos += k*at[i] - min(k*(l.extent-1), 0)
			}
			if j == len(x.dims)-1 {
				offset += pos%x.phases*x.part + pos/x.phases
			} else {
				offset += pos * x.dims[j].stride
			}
		}
		for i, l := range p.k {
			a += at[i] * l.a
		}
		x.list, x.taps = append(x.list, int32(4*offset)), append(x.taps, int(a))
		for i := len(at) - 1; i >= 0; i-- {
			if at[i]++; at[i] < p.k[i].extent {
				break
			}
			at[i] = 0
		}
	}
	x.along = straight(x.taps)
}

// moves says whether an index changes with one of the loops.
func moves(loops []loop, f linearIndex) bool {
	return slices.ContainsFunc(loops, func(l loop) bool { return l.in(f) != 0 })
}

// bytes is what the workers take from the workspace.
func (x *direct) bytes(d *Device, p *product) int64 {
	return x.workers(d, p) * (analysis.Aligned(4*x.elements) + analysis.Aligned(4*int64(len(x.taps))))
}

func (x *direct) workers(d *Device, p *product) int64 {
	if times(total(p.batch), total(p.m), total(p.n), total(p.k)) < 4*d.alone {
		return 1
	}
	return min(int64(d.threads), times(total(p.batch), x.pieces))
}

// slide is a product that is computed directly. Threads claim its pieces one by one.
type slide struct {
	workspace
	run     *interp.Execution
	p       *product
	machine *machine
	a, b, c []float32
	next    atomic.Int64
	workers []slider
}

// slider computes pieces on one thread.
type slider struct {
	copy, weights []float32
	from          []int64 // where the copy begins in B
	args          x86.WindowArgs
	shape         window // of code
	code          x86.Func
}

// slide computes a product directly, with the machine entered.
func (d *Device) slide(run *interp.Execution, p *product, room workspace) error {
	x := d.slides.Get()
	x.run, x.p, x.machine, x.mem, x.left = run, p, d.machine, room.mem, room.left
	defer func() {
		for i := range x.workers {
			w := &x.workers[i]
			w.copy, w.weights, w.args = nil, nil, x86.WindowArgs{}
		}
		x.run, x.p, x.machine, x.a, x.b, x.c = nil, nil, nil, nil, nil, nil
		x.free()
		d.slides.Put(x)
	}()
	out := run.Tensor(p.out)
	x.a, x.b, x.c = tensor.Data[float32](run.Tensor(p.a.buf)), tensor.Data[float32](run.Tensor(p.b.buf)), tensor.Data[float32](out)
	n := int(p.direct.workers(d, p))
	if len(x.workers) < n {
		x.workers = append(x.workers, make([]slider, n-len(x.workers))...)
	}
	for i := range x.workers[:n] {
		w := &x.workers[i]
		var err error
		if w.copy, err = take[float32](&x.workspace, out, p.direct.elements); err != nil {
			return err
		}
		if w.weights, err = take[float32](&x.workspace, out, int64(len(p.direct.taps))); err != nil {
			return err
		}
		if len(w.from) < len(p.direct.dims) {
			w.from = make([]int64, len(p.direct.dims))
		}
	}
	x.next.Store(0)
	return d.parallel(rt.RecorderOf(run.Context()), p.out.Name, n, x)
}

// part computes pieces as long as there are any.
func (x *slide) part(_, i int) error {
	w, v := &x.workers[i], x.p.direct
	end := total(x.p.batch) * v.pieces
	for {
		t := x.next.Add(1) - 1
		if t >= end {
			return nil
		}
		err := x.run.Context().Err()
		if err != nil {
			err = diag.Stopped(err)
		} else {
			from := t % v.pieces * v.band
			err = x.piece(w, t/v.pieces, from, min(from+v.band, x.p.n[0].extent))
		}
		if err != nil {
			x.next.Store(end) // the others need not go on
			return err
		}
	}
}

// piece computes positions from .. to of the first loop of columns, of one batch.
func (x *slide) piece(w *slider, batch, from, to int64) error {
	p, v := x.p, x.p.direct
	for j := range v.dims {
		w.from[j] = v.from[j] + v.first[j]*from
	}
	atA, atC := p.a.base, from*p.n[0].out
	for i, l := range slices.Backward(p.batch) {
		at := batch % l.extent
		batch /= l.extent
		atA, atC = atA+at*l.a, atC+at*l.out
		for j := range v.dims {
			w.from[j] += at * v.batch[j][i]
		}
	}
	fillBox(&v.box, w.from, w.copy, x.b, 0, 0, 0)
	for m := range total(p.m) {
		a, c := atA, atC
		for _, l := range slices.Backward(p.m) {
			at := m % l.extent
			m /= l.extent
			a, c = a+at*l.a, c+at*l.out
		}
		weights := x.a[a:]
		if !v.along {
			weights = w.weights
			for i, at := range v.taps {
				weights[i] = x.a[int(a)+at]
			}
		}
		w.args.Taps, w.args.List, w.args.Weights = int64(len(v.list)), unsafe.Pointer(&v.list[0]), unsafe.Pointer(&weights[0])
		if err := x.planes(w, 0, to-from, v.origin, c); err != nil {
			return err
		}
	}
	return nil
}

// planes goes over the loops of columns from loop i on, of which the first has n positions; columns
// begin at b in the copy, and at c.
func (x *slide) planes(w *slider, i int, n, b, c int64) error {
	loops, v := x.p.n, x.p.direct
	if i > 0 {
		n = loops[i].extent
	}
	switch len(loops) - i {
	case 1:
		return x.plane(w, 1, n, b, c, 0)
	case 2:
		return x.plane(w, n, loops[i+1].extent, b, c, loops[i].out)
	}
	step := int64(0)
	for j, f := range x.p.b.index {
		step += loops[i].in(f) * v.dims[j].stride
	}
	for at := range n {
		if err := x.planes(w, i+1, 0, b+at*step, c+at*loops[i].out); err != nil {
			return err
		}
	}
	return nil
}

// plane computes rows of columns.
func (x *slide) plane(w *slider, rows, cols, b, c, rowC int64) error {
	lanes := int64(panelCols(x.machine.features) / 2)
	vectors := ceilDiv(cols, lanes)
	vectors = ceilDiv(vectors, ceilDiv(vectors, directSums))
	high := int64(directSums)
	for high > 1 && (high*vectors > directSums || high > rows) {
		high /= 2
	}
	if shape := (window{Rows: int(high), Vectors: int(vectors)}); w.code.Addr() == 0 || w.shape != shape {
		f, err := x.machine.code(shape)
		if err != nil {
			return err
		}
		w.shape, w.code = shape, f
	}
	g, width := &w.args, vectors*lanes
	g.BRow, g.CRow, g.Count = 4*x.p.direct.rowStep, 4*rowC, min(cols, width)
	// Calls take some 50 µs at most; what is left of rows or columns is computed with those before.
	most := max(1, directCall/(high*vectors*g.Taps))
	for j := int64(0); j < cols; j += width {
		col := max(0, min(j, cols-width))
		for i := int64(0); i < rows; {
			row := min(i, rows-high)
			g.Turns = max(1, min((rows-row)/high, most))
			g.B, g.C = unsafe.Pointer(&w.copy[b+row*x.p.direct.rowStep+col]), unsafe.Pointer(&x.c[c+row*rowC+col])
			w.code.Call(unsafe.Pointer(g))
			i = row + g.Turns*high
		}
	}
	runtime.KeepAlive(x)
	return nil
}

// directCall are the multiplications of vectors in a call, at most.
const directCall = 1 << 16

// window is code.
type window x86.Window

func (w window) Program(f x86.Features) (*x86.Prog, error) { return x86.Window(w).Program(f) }
