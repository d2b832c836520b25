package cpu

import (
	"runtime"
	"sync"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// plan is the kernels of a program as machine code, for all sizes that make the same loops.
type plan struct {
	groups []kernel.Group
	funcs  []x86.Func
}

// planID says what a plan depends on: which stages are products, and which of the program's
// broadcasts repeat.
type planID struct {
	p                 *ir.Program
	products, repeats string
	alone             bool // kernel.Options.Alone
}

// loops are stages that machine code computes, for sizes.
type loops struct {
	of    *plan // whose code stays as long as it is here
	count int   // of stages
	fn    x86.Func
	bound *kernel.Bound
	cut   *kernel.Cut
}

// Stages of fewer points stay on closures: calls and code would cost more than they do. A piece of
// loops takes so many operations on vectors at most: 30 to 100 µs, in which the goroutine can
// not be preempted; a second thread is worth so many at least.
const (
	fewPoints = 64
	mostOps   = 1 << 15
	leastOps  = 1 << 12
)

// mostPut is for a piece of a scatter, which has all that comes to its columns: about a millisecond. Rows in many
// pieces would be read from beyond the caches a few lines at a time.
const mostPut = 16 * mostOps

// plan gives the stages of a program to machine code that it can compute.
func (d *Device) plan(c *code, p *ir.Program) {
	c.kernels = make([]*loops, len(c.Stages))
	f := d.machine.features
	if f == 0 || len(c.Stages) == 0 || !d.machine.enter() {
		return
	}
	defer d.machine.leave()
	repeats, ok := kernel.BroadcastsOf(p, c.Stages[0].Symbol)
	if !ok {
		return // the closures tell what does not broadcast
	}
	id := planID{p: p}
	taken := make([]byte, len(c.Stages))
	for i := range c.Stages {
		taken[i] = '0'
		if c.taken[i] {
			taken[i] = '1'
		}
	}
	id.products, id.repeats = string(taken), repeats.Key
	planned := func(alone bool) *plan {
		id.alone = alone
		return d.codes.plan(id, func() *plan {
			return d.newPlan(p, func(i int) bool { return c.taken[i] }, repeats.Repeats, alone)
		})
	}
	pl := planned(false)
	c.plans = append(c.plans, pl)
	c.alone = sync.OnceValue(func() []*loops { return d.singly(c, func() *plan { return planned(true) }) })
	for i, g := range pl.groups {
		l, ok := d.ready(c, pl, i)
		switch {
		case l != nil:
			c.kernels[g.First] = l
			c.Join(g.First, g.Count)
		case !ok && g.Count > 1:
			// Sizes are none that the stages can be computed for together, or a row is so long that it
			// would have to be cut.
			copy(c.kernels[g.First:g.First+g.Count], c.alone()[g.First:])
		}
	}
}

// singly makes the stages ready to be computed one by one, which run where they can not be computed
// together. A point has the same bits either way.
func (d *Device) singly(c *code, planned func() *plan) []*loops {
	out := make([]*loops, len(c.Stages))
	if !d.machine.enter() {
		return out
	}
	defer d.machine.leave()
	pl := planned()
	for i, g := range pl.groups {
		out[g.First], _ = d.ready(c, pl, i)
	}
	return out
}

// ready makes a group of a plan ready for sizes: it is false where machine code can not compute it in
// short calls, and gives nothing where it is for closures.
func (d *Device) ready(c *code, pl *plan, i int) (*loops, bool) {
	g, points := pl.groups[i], int64(0)
	for _, s := range c.Stages[g.First : g.First+g.Count] {
		points = max(points, s.Points())
	}
	if points < fewPoints && d.alone > 0 {
		return nil, true
	}
	bound, err := g.Kernel.Bind(c.Stages[g.First].Symbol)
	if err != nil || bound.Least() > 2*mostOps && !bound.VectorRange || c.Stages[g.First].Kind == ir.ScatterStage && bound.Least() > mostPut {
		return nil, false
	}
	l := &loops{of: pl, count: g.Count, fn: pl.funcs[i], bound: bound}
	most, least := float64(mostOps), float64(leastOps)
	if c.Stages[g.First].Kind == ir.ScatterStage {
		most = mostPut
	}
	if d.alone == 0 {
		least = 1
	}
	if d.threads > 1 {
		most = min(most, max(least, bound.Total()/float64(2*d.threads)))
	}
	l.cut = bound.Cut(most)
	return l, true
}

// plan gives a plan that is kept, or makes it.
func (c *codes) plan(id planID, make func() *plan) *plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.plans[id]; p != nil {
		return p
	}
	p := make()
	if c.plans == nil {
		c.plans = map[planID]*plan{}
	}
	c.plans[id] = p
	return p
}

// newPlan makes the code of a program. What can not be made runs on closures.
func (d *Device) newPlan(p *ir.Program, taken func(int) bool, repeats func(*ir.Scalar) bool, alone bool) *plan {
	f, program := d.machine.features, emit.Program
	if d.watch != nil {
		program = emit.Annotated
	}
	out := &plan{}
	s := kernel.New(p, kernel.Options{Lanes: emit.Lanes(f), Wide: emit.Wide(f), Alone: alone, Scatters: true, Blocked: true, Squares: true, Taken: taken, Repeats: repeats})
	var codes []*x86.Code
	for _, g := range s.Groups {
		prog, err := program(g.Kernel, f)
		if err != nil {
			continue
		}
		code, err := x86.Compile(prog, f)
		if err != nil {
			continue
		}
		out.groups, codes = append(out.groups, g), append(codes, code)
	}
	arena := d.newArena()
	var err error
	if out.funcs, err = arena.Load(codes...); err != nil {
		return &plan{}
	}
	runtime.AddCleanup(out, func(a *x86.Arena) { a.Close() }, arena)
	return out
}

// apart says whether what the loops write lies apart from all else that they use, but for
// what may lie there. Stages one after the other may share memory that loops over
// several of them must not.
func (l *loops) apart(x *interp.Execution) bool {
	for _, w := range l.bound.Buffers {
		if !w.Written || w.Scratch {
			continue
		}
		a := x.Tensor(w.Of).Bytes()
		for _, o := range l.bound.Buffers {
			if o == w || o.Scratch {
				continue
			}
			b := x.Tensor(o.Of).Bytes()
			if len(a) == 0 || len(b) == 0 {
				continue
			}
			from, to := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
			if from >= to+uintptr(len(b)) || to >= from+uintptr(len(a)) {
				continue
			}
			if from != to || !w.MayShare(o) {
				return false
			}
		}
	}
	return true
}

// call is what one call of machine code needs.
type call struct {
	words   []int64
	scratch [][]byte // by buffer of the kernel
}

// ready makes what calls need on each thread, where there is none yet: a thread keeps its own, whose scratch
// is near it.
func (l *loops) ready(r *run) {
	b := l.bound
	n := emit.Words(b.Kernel)
	for len(r.calls) < r.d.threads {
		r.calls = append(r.calls, new(call))
	}
	for _, c := range r.calls {
		if len(c.words) < n {
			c.words = make([]int64, n)
		}
		for len(c.scratch) < len(b.Buffers) {
			c.scratch = append(c.scratch, nil)
		}
		for j, m := range b.Buffers {
			if !m.Scratch {
				continue
			}
			if n := scratch.round(b.Scratch[j]); int64(len(c.scratch[j])) < n {
				c.scratch[j] = scratch.make(n)
			}
		}
	}
}

// run computes a piece.
func (l *loops) run(r *run, c *call, i int) error {
	if err := r.x.Context().Err(); err != nil {
		return diag.Stopped(err)
	}
	b := l.bound
	n := emit.Words(b.Kernel)
	for j, m := range b.Buffers {
		if m.Scratch {
			n := scratch.round(b.Scratch[j])
			c.words[j] = int64(uintptr(unsafe.Pointer(unsafe.SliceData(c.scratch[j][int64(len(c.scratch[j]))-n:]))))
			continue
		}
		c.words[j] = int64(uintptr(unsafe.Pointer(unsafe.SliceData(r.x.Tensor(m.Of).Bytes()))))
	}
	at := len(b.Buffers) + copy(c.words[len(b.Buffers):], b.Numbers)
	l.cut.Piece(i, c.words[at:])
	c.words[n-1] = 0
	l.fn.Call(unsafe.Pointer(&c.words[0]))
	if c.words[n-1] != 0 {
		r.failed.Store(true)
	}
	runtime.KeepAlive(r)
	clear(c.words[:len(b.Buffers)])
	return nil
}
