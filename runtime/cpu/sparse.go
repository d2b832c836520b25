package cpu

import (
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// Where a stage says that a factor may have many zeros (ir.Stage.Sparse), a run looks for them, as PIT does
// (Zheng et al., SOSP 2023): one pass over the factor gives a bit for each element; from these follow how many
// tiles of each shape cover what is not zero, and by what tiles cost, which of them is the fastest, or that all of
// the product is. Then what the tiles cover is gathered while it is packed, and rows of the result are written
// through pointers. Axes of a product may be permuted, so rows that have something in the same place make a dense
// tile wherever they lie.
//
// Terms are left out, so what they would have multiplied zero by has to be finite. It is proved, or looked
// at: constants once, others as they are packed; where it is not, the product is computed as if nothing was
// known.

// side is a product gone about from a factor that may have many zeros: a.
type side struct {
	*product
	finite  bool   // b is proved finite
	operand string // that the zeros are in
}

// sides are those of a product's stage.
func sides(p *product, s *interp.Stage) (out []side) {
	if p.table != nil || p.direct != nil {
		return nil
	}
	for _, h := range s.Sparse {
		if p.a.loads(h.Buffer) && p.once(&p.a, p.m, s) {
			out = append(out, side{p, h.Finite, h.Buffer.Name})
		}
		if q := p.other(); q != nil && p.b.loads(h.Buffer) && p.once(&p.b, p.n, s) {
			out = append(out, side{q, h.Finite, h.Buffer.Name})
		}
	}
	return out
}

// LooksAtNone says why no run looks for zeros in a buffer that a sum of products reads; empty: one may.
func LooksAtNone(s *ir.Stage, b *ir.Buffer) (why string) {
	if _, why := recognise(s); why != "" {
		return why
	}
	along := func(x *ir.Scalar, axes []*ir.Axis) (found bool) {
		x.Walk(func(y *ir.Scalar) bool {
			found = found || y.Op == ir.OpAxis && slices.Contains(axes, y.Axis) && !y.Axis.Extent.IsInt(1)
			return !found
		})
		return found
	}
	s.Exprs[0].Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpLoad && x.Buf == b && slices.ContainsFunc(x.Args, func(ix *ir.Scalar) bool { return along(ix, s.Axes) && along(ix, s.Red) }) {
			why = "a window reads each element several times, and zeros would be looked for as often"
		}
		return why == ""
	})
	return why
}

// once says whether the elements of a factor, over its rows or columns and k, are about as many as its buffer has: they
// are more in a convolution, and would be looked at time and again.
func (p *product) once(o *operand, own []loop, s *interp.Stage) bool {
	if o.buf == nil {
		return true
	}
	n := times(total(own), total(p.k))
	for _, l := range p.batch {
		if o == &p.a && l.inA || o == &p.b && l.inB {
			n = times(n, l.extent)
		}
	}
	return o.pad == nil && n <= times(s.Shape(o.buf)...)
}

// loads says whether a factor is made of a buffer, and does not only look up by it where it is.
func (o *operand) loads(b *ir.Buffer) bool {
	if o.buf != nil {
		return o.buf == b
	}
	found := false
	o.expr.Walk(func(x *ir.Scalar) bool {
		found = found || x.Op == ir.OpLoad && x.Buf == b
		return x.Op != ir.OpLoad
	})
	return found
}

// other is the product with its factors in the other order; nil where positions of one are listed.
func (p *product) other() *product {
	q := &product{a: p.b, b: p.a, out: p.out}
	turn := func(nest []loop) (out []loop) {
		for _, l := range nest {
			l.a, l.b, l.inA, l.inB = l.b, l.a, l.inB, l.inA
			out = append(out, l)
		}
		return out
	}
	for _, nest := range [][]loop{p.batch, p.m, p.n, p.k} {
		if slices.ContainsFunc(nest, func(l loop) bool { return l.list != nil }) {
			return nil
		}
	}
	q.batch, q.m, q.n, q.k = turn(p.batch), turn(p.n), turn(p.m), turn(p.k)
	return q
}

// sparse is a product of which terms are left out, batch by batch.
type sparse struct {
	workspace
	d      *Device
	p      *product
	finite bool
	cut    *blocks
	run    *interp.Execution
	out    *tensor.Tensor
	table  *TileTable

	rows, cols, depth int
	dataA, dataB      []float32
	filling           filling[float32]
	constant          bool
	whole             []byte      // panels of b for all runs; nil: they are packed for this one
	half, lasting     x86.Weights // what is multiplied; what would be kept of it, which costs go by whether there is room or not

	batch                  int64
	at                     *worker[float32] // where the batch begins
	rowA, kA, kB           []int
	rowC                   []int
	bits, glanced          bitmap    // of all of a; of what is looked at first
	values                 []float32 // of that, where a is computed
	way                    way
	plan                   selection
	portion                portion   // that is gathered and computed
	gathered               []float32 // room for one
	packed                 []float32 // groups, one behind the other
	lists                  []int32
	strideB                int // from row to row of b, where it is one
	covers                 covers
	code                   [2][16]x86.Func // of groups, by reach and rows
	beside, alongK, across bool            // columns of the result lie side by side; elements of a do along k, or along rows

	workers   []*sparseWorker
	threads   int // of them that are in use
	phase     phase
	next      atomic.Int64
	strips    int // of the phase
	notFinite atomic.Bool

	share, dense float64 // of a that is not zero; what all of the product is expected to take, in nanoseconds
	looked       bool    // for zeros
	weighed      bool    // finite is known
	sole         bool    // side

	counts         []int32        // terms of rows that are multiplied one by one
	each, rowParts int            // elements of room that such a row has; parts of rows that threads share
	eachB          int            // bytes from row to row of b, of one of its panels; unless kB has them
	inPanels       bool           // b is read in panels
	far            bool           // b comes from memory
	first          int            // so many of them fetch from there what they read of b
	union          []uint64       // of the bits of rows
	sofar          []int          // how many positions each row and those before it name
	single         [2][2]x86.Func // by reach: of whole strips of columns of such rows, and of the last one

	stripCols, columnCount int  // columns of a strip, and strips
	fetches                bool // most of b is read, and comes from far
}

// phase is a part of the work that threads share, in strips.
type phase uint8

const (
	detecting phase = iota // strips of rows
	gathering              // groups
	computing              // strips of columns
	rowLists               // rows that are multiplied one by one
	rowSums                // strips of columns of a part of such rows
)

// sparseWorker is a thread's.
type sparseWorker struct {
	*worker[float32]
	zeros   x86.ZerosArgs
	words   []uint64 // of rows along which elements lie side by side
	sum     [16]float32
	into    []unsafe.Pointer // rows of C, of groups of a chunk, in order
	placed  *chunk           // which it is
	compact []float32        // columns of a panel of C
	left    int              // bytes of the strip to come that are to be fetched
}

// sparsely computes a product by leaving out terms; it is not done where all of it is as fast, or a
// factor is not known to be finite.
func (d *Device) sparsely(run *interp.Execution, i int, p *product, mem rt.Memory, room []byte, told *rt.Zeros) (done bool, err error) {
	if p.out.DType != tensor.F32 || !d.machine.enter() {
		for _, side := range p.sides {
			switch p.out.DType {
			case tensor.F32:
				done, err = list(d, &d.listF32, run, i, side, told)
			case tensor.F64:
				done, err = list(d, &d.listF64, run, i, side, told)
			default:
				done, err = list(d, &d.listI32, run, i, side, told)
			}
			if done || err != nil {
				return done, err
			}
		}
		return false, nil
	}
	defer d.machine.leave()
	s := d.sparse.Get()
	defer func() {
		s.close()
		d.sparse.Put(s)
	}()
	begin := func(side side) {
		s.close()
		s.workspace.mem, s.workspace.left = mem, room
		s.d, s.p, s.finite, s.run, s.cut = d, side.product, side.finite, run, d.machine.blocks
		s.out, s.table, s.sole = run.Tensor(p.out), d.tiles(), len(p.sides) == 1
	}
	first, idle := 0, [2]bool{}              // sides that are not worth it
	if len(p.sides) == 2 && d.weigh == nil { // the better one first, by a glance
		var expected [2]float64
		for i, side := range p.sides {
			begin(side)
			worth, err := s.seen()
			if err != nil {
				return false, err
			}
			if expected[i], idle[i] = s.way.ns, !worth; !worth {
				s.tell(told, side.operand)
			}
		}
		if expected[1] < expected[0] {
			first = 1
		}
	}
	for n := range p.sides {
		at := (first + n) % len(p.sides)
		if at < len(idle) && idle[at] {
			continue
		}
		side := p.sides[at]
		begin(side)
		done, err = s.compute(i)
		if s.tell(told, side.operand); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// tell says what was decided.
func (s *sparse) tell(z *rt.Zeros, operand string) {
	*z = rt.Zeros{Operand: operand, Unseen: !s.looked, Share: s.share, Way: s.way.name(), Expected: time.Duration(s.way.ns), Dense: time.Duration(s.dense)}
	if s.notFinite.Load() {
		z.Way, z.Expected = notFinite, z.Dense
	}
	if s.d.decided != nil && s.looked {
		s.d.decided(s.way)
	}
}

// notFinite is the way in which a product is computed of which nothing may be left out.
const notFinite = "dense: what zeros are multiplied by is not finite"

// close drops what is of a run.
func (s *sparse) close() {
	for _, w := range s.workers {
		w.a.close()
		w.b.close()
		w.forget()
		clear(w.into)
		w.zeros, w.compact, w.placed = x86.ZerosArgs{}, nil, nil
	}
	s.free()
	s.p, s.run, s.out, s.dataA, s.dataB, s.whole, s.gathered, s.packed, s.lists, s.bits.bits = nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
}

// seen readies the first worker, and says whether a glance has seen that leaving out terms may be worth it.
func (s *sparse) seen() (worth bool, err error) {
	p := s.p
	s.rows, s.cols, s.depth = int(total(p.m)), int(total(p.n)), int(total(p.k))
	s.notFinite.Store(false)
	s.way, s.share, s.dense, s.looked, s.weighed = way{dense: true}, 1, 0, false, false
	if !p.worthLooking(s.cut) {
		return false, nil
	}
	if s.lasting = x86.WeightsF32; p.kept != nil {
		s.lasting = p.half // which weights looks into
	}
	s.lies()
	s.dense = s.table.denseCost(s)
	row := s.rows == 1 && s.sole && p.a.buf != nil && s.d.weigh == nil && s.widely() // to look at all of it takes no longer than a glance
	if s.tooLittle(row) {
		s.way.ns = s.dense
		return false, nil
	}
	s.looked = true
	s.hire(1)
	s.at = s.workers[0].worker
	if s.dataA, err = s.operand(&p.a); err != nil {
		return false, err
	}
	if row {
		s.way = way{rows: 1, depth: s.depth, list: true, wide: true}
		return true, nil
	}
	s.batch = 0
	if err := s.begin(); err != nil {
		return false, err
	}
	dense, err := s.glance()
	if dense || err != nil {
		s.way = way{dense: true, ns: s.dense}
	}
	return !dense, err
}

// compute computes all batches.
func (s *sparse) compute(stage int) (done bool, err error) {
	p := s.p
	if worth, err := s.seen(); !worth || err != nil {
		return false, err
	}
	if s.dataB, err = s.operand(&p.b); err != nil {
		return false, err
	}
	if ok, err := s.weights(); !ok || err != nil {
		s.notFinite.Store(!ok)
		return false, err
	}
	if err := s.staff(); err != nil {
		return false, err
	}
	s.places()
	rec := rt.RecorderOf(s.run.Context())
	name := s.run.Stages[stage].Out().Name
	if err := s.room(); err != nil {
		return false, err
	}
	single := s.way.wide && s.widely() // a glance has said so
	for s.batch = range total(p.batch) {
		s.stand()
		if err := s.inStrips(rec, name, detecting, s.detectStrips()); err != nil {
			return false, err
		}
		if single {
			s.count()
		} else {
			s.choose()
		}
		if s.batch == 0 && s.way.dense {
			return false, nil
		}
		if s.way.wide {
			s.unite()
			if err := s.singly(rec, name); err != nil || s.notFinite.Load() {
				return false, err
			}
			continue
		}
		s.fetches = s.whole != nil && s.covers.some > 0.5 && len(s.whole) > nearBytes
		s.columnStrips()
		s.plan.make(s)
		if err := s.ready(); err != nil {
			return false, err
		}
		for _, s.portion = range s.plan.portions {
			s.stow()
			if err := s.inStrips(rec, name, gathering, s.gatherStrips()); err != nil {
				return false, err
			}
			if err := s.inStrips(rec, name, computing, s.columnCount); err != nil {
				return false, err
			}
			if s.notFinite.Load() { // so zeros are not left out
				return false, nil
			}
		}
	}
	return true, nil
}

// operand gives the elements of a factor, nil where it is computed. One with a border is a copy.
func (s *sparse) operand(o *operand) ([]float32, error) {
	if o.buf == nil {
		return nil, nil
	}
	data := tensor.Data[float32](s.run.Tensor(o.buf))
	if o.pad == nil {
		return data, nil
	}
	copied, err := take[float32](&s.workspace, s.out, o.pad.size())
	if err == nil {
		err = s.filling.fill(s.d, o.pad, copied, data)
	}
	return copied, err
}

// weights finds what is packed of b for all runs, and whether b is finite where it is constant: false if it is not.
func (s *sparse) weights() (ok bool, err error) {
	p := s.p
	s.whole, s.constant, s.half, s.lasting, s.weighed, s.far = nil, false, x86.WeightsF32, x86.WeightsF32, true, false
	if p.kept == nil {
		return true, nil
	}
	if k := s.mem.Keep(p.kept, p.keyB); k != nil {
		s.far = k.Constants() > lastCache
	}
	x := s.d.f32.Get()
	defer s.d.f32.Put(x)
	x.p, x.cut, x.rows, x.cols = p, s.cut, int64(s.rows), int64(s.cols)
	s.constant, s.whole, err = x.packedB(s.run, s.mem)
	x.p, x.cut = nil, nil
	if err != nil || !s.constant {
		return true, err
	}
	if s.lasting = p.half; s.whole != nil {
		s.half = p.half
	}
	if s.finite || s.whole == nil && p.b.buf == nil { // what is computed is looked at when it is packed
		return true, nil
	}
	k := s.mem.Keep(p.kept, p.keyFinite)
	if k == nil {
		return false, nil
	}
	verdict := k.Get()
	if verdict == nil {
		verdict, err = k.Make(tensor.Bool, 1, func(t *tensor.Tensor) error {
			t.SetBool(0, s.finiteWeights())
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	s.finite = verdict.Bool(0) // there is always room for it
	return s.finite, nil
}

// staff readies workers.
func (s *sparse) staff() error {
	n := s.p.sparseThreads(s.d)
	s.hire(n)
	s.workers[0].a.close()
	for _, w := range s.workers[:n] {
		w.lists.fit(s.cut)
		w.ctx, w.p, w.cut, w.c = s.run.Context(), s.p, s.cut, tensor.Data[float32](s.out)
		w.constant, w.whole, w.half, w.slim, w.lengthB = s.constant, s.whole, s.half, false, 0
		if err := w.a.open(s.run, &s.p.a, s.dataA, false); err != nil {
			return err
		}
		if err := w.b.open(s.run, &s.p.b, s.dataB, false); err != nil {
			return err
		}
	}
	return nil
}

// begin readies the first worker to look at a.
func (s *sparse) begin() error {
	w := s.workers[0]
	w.p = s.p
	w.worker.stand(&segment{}, 0)
	if s.p.a.buf == nil {
		if err := w.a.open(s.run, &s.p.a, nil, false); err != nil {
			return err
		}
	}
	w.lists.fit(s.cut)
	return nil
}

// lies finds out what lies side by side.
func (s *sparse) lies() {
	s.beside = beside(s.p.n, func(l loop) int64 { return l.out })
	s.alongK = s.p.a.buf == nil || beside(s.p.k, func(l loop) int64 { return l.a })
	s.across = beside(s.p.m, func(l loop) int64 { return l.a })
}

// hire sees to it that there are workers.
func (s *sparse) hire(n int) {
	s.threads = n
	for len(s.workers) < n {
		s.workers = append(s.workers, &sparseWorker{worker: &worker[float32]{lists: new(lists), a: new(source[float32]), b: new(source[float32])}})
	}
}

// stand goes to a batch.
func (s *sparse) stand() {
	for _, w := range s.workers[:s.threads] {
		w.stand(&segment{}, s.batch)
		w.lengthB = 0
	}
}

// places finds where elements lie.
func (s *sparse) places() {
	p := s.p
	s.rowA, s.rowC = placesOf(s.rowA, p.m, stepA), placesOf(s.rowC, p.m, stepC)
	if p.a.buf == nil { // it is computed row by row
		for i := range s.rowA {
			s.rowA[i] = i * s.depth
		}
	}
	if s.kA = s.kA[:0]; !s.alongK {
		s.kA = placesOf(s.kA, p.k, stepA)
	}
	s.strideB = 0
	if len(p.k) == 1 {
		s.strideB = int(p.k[0].b)
	}
}

// placesOf gives the addresses of all positions of a nest.
func placesOf(to []int, nest []loop, at func(*loop, int64) int64) []int {
	n := int(total(nest))
	to = slices.Grow(to[:0], n)[:n]
	addresses(to, nest, 0, at)
	return to
}

// beside says whether what a nest goes over lies side by side.
func beside(nest []loop, step func(loop) int64) bool {
	want := int64(1)
	for i := len(nest) - 1; i >= 0; i-- {
		if step(nest[i]) != want {
			return false
		}
		want *= nest[i].extent
	}
	return true
}

// baseA is where a begins in its data.
func (s *sparse) baseA() int {
	if s.p.a.buf == nil {
		return 0
	}
	return s.at.batchA
}

// inStrips has the workers go through the strips of a phase.
func (s *sparse) inStrips(rec *rt.Recorder, name string, p phase, strips int) error {
	if strips == 0 {
		return nil
	}
	s.phase, s.strips = p, strips
	s.next.Store(0)
	return s.d.parallel(rec, name, min(s.threads, strips), s)
}

// part works on strips as long as there are any.
func (s *sparse) part(_, i int) (err error) {
	w := s.workers[i]
	if s.threads == 1 { // nobody else claims any
		for at := 0; at < s.strips && err == nil; at++ {
			err = s.strip(w, at)
		}
		return err
	}
	for err == nil {
		at := int(s.next.Add(1)) - 1
		if at >= s.strips {
			return nil
		}
		err = s.strip(w, at)
	}
	s.next.Store(int64(s.strips)) // the others need not go on
	return err
}

// strip does a strip of the phase.
func (s *sparse) strip(w *sparseWorker, at int) error {
	switch s.phase {
	case detecting:
		return s.detect(w, at)
	case gathering:
		return s.gather(w, at)
	case rowLists:
		return s.listRow(w, at)
	case rowSums:
		return s.addRows(w, at)
	}
	return s.columns(w, at)
}
