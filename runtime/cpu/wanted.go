package cpu

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// Where a stage says which points of a product are wanted (ir.Stage.Wanted), by a mask, only those tiles are computed that
// have one: a tile is as many columns as a panel has, and rows that are wanted there, wherever they lie. They are gathered
// while they are packed, as in products of which terms are left out. Rows and columns may change places, so masks of
// blocks of either shape find their tiles. Other points are zero. Where that could make a difference, both factors are looked
// at first: if a sum of their products might be too large, all of the product is computed.

// wanted is the mask of a product.
type wanted struct {
	buf         *ir.Buffer
	any         bool // no matter how large what is left out is
	inverse     bool // where it is zero
	base        int64
	batch, m, n []loop  // whose steps through a are those through the mask
	other       product // with the factors in the other order
}

// ComputesAll says why all of a sum of products is computed whatever a mask says; empty: what is wanted can be computed alone.
func ComputesAll(s *ir.Stage, mask *ir.Buffer) string {
	f, why := recognise(s)
	switch {
	case why != "":
		return why
	case s.Out().DType != tensor.F32:
		return fmt.Sprintf("tiles of f32 are chosen, and none of %s", s.Out().DType)
	case !f.a.linear || !f.b.linear:
		return "a factor is converted or computed, and not read where it lies"
	case maskWord[mask.DType] == nil:
		return fmt.Sprintf("a mask of %s is not looked at", mask.DType)
	}
	return ""
}

// wantedOf is the mask that a stage is wanted by, nil where it is not told by elements of one.
func wantedOf(p *product, s *interp.Stage) *wanted {
	x := s.Wanted
	if x == nil || p.table != nil || p.direct != nil || p.out.DType != tensor.F32 || p.a.buf == nil || p.b.buf == nil || p.a.pad != nil || p.b.pad != nil {
		return nil
	}
	inverse := x.Op == ir.OpNot
	switch {
	case inverse:
		x = x.Args[0]
	case x.Op == ir.OpNe && x.Args[1].Op == ir.OpLit && x.Args[1].Lit.Float(0) == 0:
		if x = x.Args[0]; x.Op == ir.OpCast && x.DType == tensor.F32 && x.Args[0].DType.IsFloat() && x.Args[0].DType.Bits() < 32 {
			x = x.Args[0]
		}
	}
	a := accessOf(x)
	if !a.linear || maskWord[a.buf.DType] == nil {
		return nil
	}
	o, ok := loaded(s, a)
	q := p.other()
	if !ok || o.pad != nil || q == nil {
		return nil
	}
	for x := range o.step { // runs of which no loop is
		for _, l := range slices.Concat(p.batch, p.m, p.n) {
			if l.axis == x.axis && x.runs != 1 && x.runs != max(l.runs, -l.runs) {
				return nil
			}
		}
	}
	by := func(nest []loop) []loop {
		out := slices.Clone(nest)
		for i := range out {
			l := &out[i]
			one := o.step[along{l.axis, 1}]
			if l.a = one; l.runs > 1 {
				l.a = l.runs*one + o.step[along{l.axis, l.runs}]
			}
		}
		return out
	}
	return &wanted{buf: a.buf, any: s.Any, inverse: inverse, base: o.base, batch: by(p.batch), m: by(p.m), n: by(p.n), other: *q}
}

// choosing is a product of which what is wanted is computed, batch by batch.
type choosing struct {
	workspace
	d     *Device
	p, q  *product // as it is, and the way it is gone about: rows are gathered, columns come in panels
	mask  *wanted
	cut   *blocks
	run   *interp.Execution
	out   *tensor.Tensor
	table *TileTable
	size  sparse // for what tables say of a product of its size

	batch      int64
	bits       bitmap // of the mask: rows of the product as it is, along columns
	rowM, colM []int  // where they lie in the mask
	way        way
	share      float64 // of the mask that is not zero
	dense      float64 // what all of the product is expected to take, in nanoseconds

	rows, cols, depth int // of q
	rowA, rowC        []int
	data              []float32 // the factor that is gathered, whose rows lie side by side, or parts of them
	base, parts       int       // where it begins, and from one part of k to the next; 0: there is one
	step              int       // of k, in a pass over panels
	turn              x86.Func
	beside, bands     bool // columns of the result lie side by side; it is cleared where columns are computed

	workers  []*choosingWorker
	threads  int
	phase    choosingPhase
	next     atomic.Int64
	strips   int
	tooLarge atomic.Bool
	scale    float32 // that makes infinite what might be too large
}

// choosingPhase is a part of the work that threads share, in strips.
type choosingPhase uint8

const (
	masking   choosingPhase = iota // bits of the mask
	boundingA                      // whether a factor is within bounds
	boundingB
	turning   // the factor that is gathered, so that its rows lie side by side
	clearing  // the result
	selecting // panels of columns
)

// choosingWorker is a thread's.
type choosingWorker struct {
	*worker[float32]
	zeros   x86.ZerosArgs
	sum     [16]float32
	lines   []int
	lists   [panelsTogether][]int32 // rows that are wanted in panels of a strip
	union   []uint64
	into    []unsafe.Pointer
	compact []float32
	gather  [partDepth]unsafe.Pointer
	deep    int
}

const (
	panelsTogether = 4       // of columns are a strip: those that want the same rows gather them once
	partDepth      = 64      // is how much of k lies side by side in rows of a factor that was turned
	mostGlanced    = 32      // tiles of a mask are looked at first
	maskLines      = 64      // of a mask, and lines of a factor, are a strip
	turnRows       = 512     // of a factor that is turned
	clearLot       = 1 << 16 // elements of the result
	mostStep       = 1024    // of k: a panel of so much stays near
)

// wantedly computes what is wanted of a product; it is not done where all of it is as fast, or what is left out might not
// be finite.
func (d *Device) wantedly(run *interp.Execution, i int, p *product, mem rt.Memory, room []byte, told *rt.Zeros) (done bool, err error) {
	if !d.machine.enter() {
		return false, nil
	}
	defer d.machine.leave()
	x := d.choosing.Get()
	defer func() {
		x.close()
		d.choosing.Put(x)
	}()
	x.workspace.mem, x.workspace.left = mem, room
	x.d, x.p, x.mask, x.cut, x.run, x.out, x.table = d, p, p.wanted, d.machine.blocks, run, run.Tensor(p.out), d.tiles()
	done, err = x.compute(i)
	*told = rt.Zeros{Operand: p.wanted.buf.Name, Unseen: x.dense == 0, Share: x.share, Way: x.way.name(), Expected: time.Duration(x.way.ns), Dense: time.Duration(x.dense)}
	if !done {
		told.Way, told.Expected = way{dense: true}.name(), told.Dense
		if x.tooLarge.Load() {
			told.Way = "dense: what is not wanted may be infinite"
		}
	}
	if d.decided != nil && x.dense > 0 {
		d.decided(x.way)
	}
	return done, err
}

// close drops what is of a run.
func (x *choosing) close() {
	for _, w := range x.workers {
		w.b.close()
		w.forget()
		clear(w.into)
		clear(w.gather[:])
		w.zeros, w.compact = x86.ZerosArgs{}, nil
	}
	x.free()
	x.p, x.q, x.mask, x.run, x.out, x.data, x.bits.bits = nil, nil, nil, nil, nil, nil, nil
}

// compute computes all batches.
func (x *choosing) compute(stage int) (done bool, err error) {
	p := x.p
	m, n, depth := int(total(p.m)), int(total(p.n)), int(total(p.k))
	x.size.cut, x.size.rows, x.size.cols, x.size.depth = x.cut, m, n, depth
	x.tooLarge.Store(false)
	x.share, x.dense, x.way = 1, 0, way{dense: true}
	if !p.worthChoosing() {
		return false, nil
	}
	x.dense = x.table.denseCost(&x.size)
	x.rowM, x.colM = placesOf(x.rowM, x.mask.m, stepA), placesOf(x.colM, x.mask.n, stepA)
	x.bits.row = (n + 63) / 64
	x.batch = 0
	if x.d.weigh == nil && !x.glance() {
		return false, nil
	}
	x.hire()
	room, err := x.take(2 * int64(m) * int64(x.bits.row))
	if err != nil {
		return false, err
	}
	x.bits.bits = unsafe.Slice((*uint64)(unsafe.Pointer(&room[0])), m*x.bits.row)
	rec, name := rt.RecorderOf(x.run.Context()), x.run.Stages[stage].Out().Name
	left, more := x.left, len(x.more)
	for x.batch = range total(p.batch) {
		x.back(left, more)
		if err := x.inStrips(rec, name, masking, (m+maskLines-1)/maskLines); err != nil {
			return false, err
		}
		if x.choose(); x.way.dense {
			return false, nil
		}
		if !x.mask.any {
			if err := x.bound(rec, name); err != nil || x.tooLarge.Load() {
				return false, err
			}
		}
		if err := x.prepare(rec, name); err != nil {
			return false, err
		}
		if err := x.inStrips(rec, name, selecting, (x.panels()+panelsTogether-1)/panelsTogether); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (x *choosing) take(n int64) ([]float32, error) { return take[float32](&x.workspace, x.out, n) }

// worthChoosing says whether there is enough to a product that what is wanted may be computed alone.
func (p *product) worthChoosing() bool {
	rows, cols := total(p.m), total(p.n)
	return rows <= mostWide && cols <= mostWide && times(rows, cols, total(p.k)) >= 1<<14 && total(p.batch) > 0
}

// bytes is what a product takes from its workspace where what is wanted is computed, whichever way.
func (w *wanted) bytes(d *Device, p *product) (most int64) {
	cut := d.machine.blocks
	if cut == nil || !p.worthChoosing() {
		return 0
	}
	size := func(n int64) int64 { return analysis.Aligned(4 * n) }
	bits := size(2 * times(total(p.m), ceilDiv(total(p.n), 64)))
	for _, q := range []*product{p, &w.other} {
		turned, a, b, compact := w.room(cut, q)
		most = max(most, bits+size(turned)+int64(w.threads(d, p))*(size(a)+size(b)+size(compact)))
	}
	return most
}

// room is how many elements it takes to go about a product: of the factor that is gathered, if it is turned, and for each
// thread of what is packed, and of columns of the result that do not lie side by side.
func (w *wanted) room(cut *blocks, q *product) (turned, a, b, compact int64) {
	rows, depth := total(q.m), total(q.k)
	if !beside(q.k, func(l loop) int64 { return l.a }) {
		turned = times(rows, roundUp(depth, partDepth))
	}
	step := min(int64(evenly(int(depth), mostStep)), depth)
	a, b = int64(cut.mr)*step, panelsTogether*int64(cut.nr)*step
	if !beside(q.n, func(l loop) int64 { return l.out }) {
		compact = times(rows, panelsTogether*int64(cut.nr))
	}
	return turned, a, b, compact
}

// threads is how many work on a product.
func (w *wanted) threads(d *Device, p *product) int {
	if times(total(p.batch), total(p.m), total(p.n), total(p.k)) < 4*d.alone {
		return 1
	}
	return d.threads
}

// hire sees to it that there are workers.
func (x *choosing) hire() {
	x.threads = x.mask.threads(x.d, x.p)
	for len(x.workers) < x.threads {
		x.workers = append(x.workers, &choosingWorker{worker: &worker[float32]{lists: new(lists), a: new(source[float32]), b: new(source[float32])}})
	}
	for _, w := range x.workers[:x.threads] {
		w.worker.lists.fit(x.cut)
		w.ctx, w.cut, w.c = x.run.Context(), x.cut, tensor.Data[float32](x.out)
		w.constant, w.whole, w.half, w.slim = false, nil, x86.WeightsF32, false
	}
}

// inStrips has the workers go through the strips of a phase.
func (x *choosing) inStrips(rec *rt.Recorder, name string, p choosingPhase, strips int) error {
	if strips == 0 {
		return nil
	}
	x.phase, x.strips = p, strips
	x.next.Store(0)
	return x.d.parallel(rec, name, min(x.threads, strips), x)
}

// part works on strips as long as there are any.
func (x *choosing) part(_, i int) (err error) {
	w := x.workers[i]
	for err == nil {
		at := int(x.next.Add(1)) - 1
		if at >= x.strips {
			return nil
		}
		if err = w.ctx.Err(); err != nil {
			err = diag.Stopped(err)
			break
		}
		switch x.phase {
		case masking:
			err = x.maskRows(w, at)
		case boundingA:
			err = x.look(w, x.p, at)
		case boundingB:
			err = x.look(w, &x.mask.other, at)
		case turning:
			x.turnRows(w, at)
		case clearing:
			clear(w.c[at*clearLot : min((at+1)*clearLot, len(w.c))])
		default:
			err = x.columns(w, at)
		}
	}
	x.next.Store(int64(x.strips)) // the others need not go on
	return err
}

// glance says from some tiles of the mask whether it is worth looking at all of it. What it looks at depends on sizes alone.
func (x *choosing) glance() bool {
	m, n, nr := x.size.rows, x.size.cols, x.cut.nr
	high, wide := min(nr, m), min(64, n)
	tiles := min(mostGlanced, max(m*n/(high*wide), 1))
	rows, unions, ones := 0, 0, 0
	for i := range tiles {
		r0 := i * (m - high) / max(tiles-1, 1) / nr * nr
		c0 := 37 * 64 * i % (n - wide + 1) / 64 * 64
		union := uint64(0)
		for r := r0; r < r0+high; r++ {
			word := x.word(r, c0, wide)
			union |= word
			ones += bits.OnesCount64(word)
			rows += panelsOf(word, nr)
		}
		unions += bits.OnesCount64(union)
	}
	x.share = float64(ones) / float64(tiles*high*wide)
	scale := float64(m) * float64(n) / float64(tiles*high*wide)
	cost := min(x.cost(false, scale*float64(rows)), x.cost(true, scale*float64(unions)))
	return cost < chosenBelow*x.dense
}

// panelsOf counts the panels of nr columns that have something in a word of bits.
func panelsOf(word uint64, nr int) (n int) {
	for ; word != 0; word >>= nr {
		if word&(1<<nr-1) != 0 {
			n++
		}
	}
	return n
}

// cost is what it is expected to take to compute so many rows of panels of columns.
func (x *choosing) cost(across bool, some float64) float64 {
	t, depth, mr := x.table, float64(x.size.depth), x.cut.mr
	rows, cols := x.size.rows, x.size.cols
	if across {
		rows, cols = cols, rows
	}
	panels := float64((cols + x.cut.nr - 1) / x.cut.nr)
	ns := some/float64(mr)*depth*t.step(t.Step, mr) + (some/float64(mr)+min(panels, some))*t.Call
	ns += t.Pack * depth * (some + float64(rows) + float64(cols))
	if across == beside(x.p.n, func(l loop) int64 { return l.out }) {
		ns += t.Sum * some * float64(x.cut.nr)
	}
	if !x.mask.any {
		ns += t.Far * 4 * depth * float64(rows+cols)
	}
	return ns + 2*t.Far*4*float64(rows)*float64(cols) // the mask, and what is cleared
}

// choose counts what tiles there are to compute, and finds the way that is expected to take the least time.
func (x *choosing) choose() {
	m, n, nr := x.size.rows, x.size.cols, x.cut.nr
	rows, unions, ones := 0, 0, 0
	for r0 := 0; r0 < m; r0 += nr {
		for at := range x.bits.row {
			union := uint64(0)
			for r := r0; r < min(r0+nr, m); r++ {
				word := x.bits.bits[r*x.bits.row+at]
				union |= word
				ones += bits.OnesCount64(word)
				rows += panelsOf(word, nr)
			}
			unions += bits.OnesCount64(union)
		}
	}
	x.share = float64(ones) / (float64(m) * float64(n))
	x.way = way{dense: true, ns: x.dense}
	if x.d.weigh != nil {
		x.way.ns = x.d.weigh(x.way)
	}
	if x.batch > 0 { // the first one has decided
		x.way.ns = math.Inf(1)
	}
	for _, across := range []bool{false, true} {
		w := way{wanted: true, across: across, rows: x.cut.mr, depth: x.size.depth, ns: x.cost(across, float64(rows))}
		if across {
			w.ns = x.cost(across, float64(unions))
		}
		if x.d.weigh != nil {
			w.ns = x.d.weigh(w)
		}
		if w.ns < x.way.ns*chosenBelow {
			x.way = w
		}
	}
}
