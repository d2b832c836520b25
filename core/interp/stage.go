package interp

import (
	"context"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// checkEvery is the number of points after which a stage looks whether it is to stop.
const checkEvery = 1 << 16

// runner walks over the points of a stage.
type runner struct {
	*frame
	ctx    context.Context
	lane   int
	width  int
	points int // since the context was looked at

	box  []Span // what is walked over, along each axis
	emit any    // of a window: takes what is computed
}

// each runs body at every position along axes, the last one innermost, until it gives
// false.
func (r *runner) each(axes []int, body func() bool) bool {
	if len(axes) == 0 {
		return body()
	}
	for i := r.box[axes[0]].Lo; i < r.box[axes[0]].Hi; i++ {
		r.at[axes[0]] = i
		if !r.each(axes[1:], body) {
			return false
		}
	}
	return true
}

// blocks runs body for blocks of n points along the lane axis.
func (r *runner) blocks(body func(n int) bool) bool {
	if r.lane < 0 {
		return body(1)
	}
	lo, hi := r.box[r.lane].Lo, r.box[r.lane].Hi
	for ; lo < hi; lo += int64(r.width) {
		r.at[r.lane] = lo
		if !body(int(min(int64(r.width), hi-lo))) {
			return false
		}
	}
	return true
}

// done is called after n points were computed and says whether to go on.
func (r *runner) done(n int) bool {
	if r.points += n; r.points >= checkEvery {
		r.points = 0
		if err := r.ctx.Err(); err != nil && r.err == nil {
			r.err = diag.Stopped(err)
		}
	}
	return r.err == nil
}

// compiled is a stage that is compiled: closures, which keep values on their way in a
// scratch. It is for one goroutine at a time, which has the scratch.
type compiled struct {
	runner
	walk    func(r *runner)
	bound   []binding
	bytes   int64
	scratch *scratch
}

// compile compiles the stage along the axis that is best.
func (s *Stage) compile(mem *scratch) (*compiled, error) {
	c := s.newCompiler(mem)
	if c.err == nil {
		c.checkShapes()
	}
	if c.err != nil {
		return nil, c.err
	}
	return c.along(c.bestLane())
}

// nodeBytes is about what a node takes, beside lanes: measured over the encoder of the examples.
const nodeBytes = 700

// along compiles the stage with a lane axis.
func (c *compiler) along(lane int) (*compiled, error) {
	c.lane, c.width = lane, 1
	if lane >= 0 {
		c.width = int(max(1, min(maxLanes, c.extents[lane])))
	}
	clear(c.vary)
	walk := c.stageCode
	if c.window != nil {
		walk = func() func(*runner) { return c.window.code(c) }
	}
	run := walk()
	if c.err != nil {
		return nil, c.err
	}
	nodes := len(c.nodes)
	c.atoms, c.atomIDs, c.forms, c.loads, c.vary, c.nodes, c.uses, c.scope = nil, nil, nil, nil, nil, nil, nil, nil // closures have c
	return &compiled{runner: runner{frame: &frame{at: make([]int64, len(c.extents))}, box: make([]Span, len(c.extents)), lane: c.lane, width: c.width},
		walk: run, bound: c.bound, bytes: c.bytes + int64(nodes)*nodeBytes, scratch: c.scratch}, nil
}

// run computes part of parts of the stage.
func (k *compiled) run(x *Execution, s *Stage, part, parts int) error {
	for i := range s.Axes {
		if s.extents[i] == 0 { // no points; other axes may be long
			return nil
		}
	}
	for i, n := range s.extents {
		k.box[i] = Span{0, n}
	}
	if parts > 1 && !k.cut(s, part, parts) {
		return nil
	}
	if err := k.bind(x, s); err != nil {
		return err
	}
	k.walk(&k.runner)
	err := k.err
	k.unbind()
	return err
}

// bind readies the code for the tensors of an execution.
func (k *compiled) bind(x *Execution, s *Stage) error {
	k.ctx, k.err, k.points = x.ctx, nil, 0
	for _, b := range k.bound {
		t := x.tensors[b.buffer]
		if t == nil {
			return s.errorf("buffer %s is read before it is written", s.code.buffers[b.buffer].Name)
		}
		b.cells.bind(t)
	}
	return nil
}

// unbind lets go of what the code was bound to: it is not kept.
func (k *compiled) unbind() {
	for _, b := range k.bound {
		b.cells.bind(nil)
	}
	k.ctx, k.err = nil, nil
}

// checkShapes makes sure that axes and buffers agree: types say so, but some of it is
// only known now.
func (c *compiler) checkShapes() {
	if c.window != nil {
		return
	}
	for _, b := range c.Outs {
		for i, n := range c.Shape(b) {
			if c.Kind == ir.ScatterStage {
				if base := c.Shape(c.Base)[i]; base != n {
					c.fail("dim %d of %s is %d, that of its base %s is %d", i, b.Name, n, c.Base.Name, base)
				}
			} else if c.extents[i] != n {
				c.fail("dim %d of %s is %d, but its axis runs to %d", i, b.Name, n, c.extents[i])
			}
		}
	}
}

// stageCode compiles the stage.
func (c *compiler) stageCode() func(r *runner) {
	s := c.Stage
	switch s.Kind {
	case ir.ReduceStage:
		return c.reduceCode()
	case ir.ScanStage:
		return c.scanCode()
	case ir.ScatterStage:
		write := classOf(s.Exprs[0].DType).scatter(c)
		axes := c.axesBut(c.lane)
		return func(r *runner) {
			r.each(axes, func() bool {
				return r.blocks(func(n int) bool {
					r.step()
					write(r.frame, n)
					return r.done(n)
				})
			})
		}
	}
	writes := make([]func(*frame, int), len(s.Outs))
	for i, b := range s.Outs {
		writes[i] = classOf(b.DType).write(c, b, s.Exprs[i])
	}
	axes := c.axesBut(c.lane)
	return func(r *runner) {
		r.each(axes, func() bool {
			return r.blocks(func(n int) bool {
				r.step()
				for _, w := range writes {
					w(r.frame, n)
				}
				return r.done(n)
			})
		})
	}
}

// axesBut gives the spatial axes in order, without some.
func (c *compiler) axesBut(without ...int) []int {
	var out []int
next:
	for i := range c.Axes {
		for _, w := range without {
			if i == w {
				continue next
			}
		}
		out = append(out, i)
	}
	return out
}

// write stores a node.
func (e elems[T]) write(c *compiler, b *ir.Buffer, x *ir.Scalar) func(f *frame, n int) {
	v, store := operand[T](c, x), store[T](c, b)
	return func(f *frame, n int) { store(f, v(f, n)) }
}

// store puts lanes into a buffer whose dims are the stage's axes.
func store[T tensor.Elem](c *compiler, b *ir.Buffer) func(f *frame, v []T) {
	to, at := access[T](c, b), c.addressOf(c.outForm(b))
	return func(f *frame, v []T) { to.put(at.start(f), at.step, v) }
}

// outForm is the address in a buffer whose dims are the stage's axes.
func (c *compiler) outForm(b *ir.Buffer) form {
	index := make([]form, len(c.Axes))
	for i, a := range c.Axes {
		index[i] = c.axisForm(a)
	}
	return c.flat(c.Shape(b), index)
}

// Rough costs in nanoseconds, to choose the lane axis by.
const (
	callCost    = 20.0 // of a closure, for each block
	nearCost    = 0.2  // to read or write an element beside the last one
	stridedCost = 1.0  // one that lies a step away
	farCost     = 2.0  // one in another cache line
	pickedCost  = 4.0  // one whose address must be computed
	runCost     = 1.5  // a guard that differs between lanes
	chainCost   = 1.0  // a reduction along the lanes waits for each element
	farStep     = 16
)

// laneAxes gives the axes that can be the lane axis. Reductions keep their order: of
// the reduction axes it can only be the innermost one, and so it is with the updates of
// a scatter.
func (c *compiler) laneAxes() []int {
	s := c.Stage
	if s.window != nil {
		return s.window.lanes
	}
	if s.Kind == ir.ScatterStage {
		if len(s.Axes) == 0 {
			return nil
		}
		return []int{len(s.Axes) - 1}
	}
	axes := c.axesBut()
	if len(s.Red) > 0 {
		axes = append(axes, len(c.extents)-1)
	}
	return axes
}

// bestLane takes the lane axis that makes reading and writing cheapest; -1 where there
// is no axis.
func (c *compiler) bestLane() int {
	best, least := -1, 0.0
	for _, lane := range c.laneAxes() {
		if cost := c.laneCost(lane); best < 0 || cost < least {
			best, least = lane, cost
		}
	}
	return best
}

// laneCost is the cost of a point if an axis is the lane axis.
func (c *compiler) laneCost(lane int) float64 {
	c.lane = lane
	clear(c.vary)
	cost := 0.0
	access := func(f form) {
		step, picked := int64(0), false
		for _, t := range f.terms {
			switch x := c.atoms[t.atom]; {
			case x.kind == axisAtom && x.axis == lane:
				step = max(t.k, -t.k)
			case c.atomVaries(t.atom):
				picked = true
			}
		}
		switch {
		case picked:
			cost += pickedCost
		case step >= farStep:
			cost += farCost
		case step > 1:
			cost += stridedCost
		default:
			cost += nearCost
		}
	}
	for _, x := range c.nodes {
		switch x.Op {
		case ir.OpLoad:
			access(c.loadForm(x))
		case ir.OpGuard:
			if c.varies(x.Args[0]) {
				cost += runCost
			}
		}
	}
	if lane >= len(c.Axes) {
		cost += chainCost
	} else if c.Kind == ir.MapStage && c.window == nil {
		access(c.outForm(c.Out()))
	}
	n := max(1, min(maxLanes, c.extents[lane]))
	return cost + float64(1+len(c.nodes))*callCost/float64(n)
}

// loadForm is the address that a load reads.
func (c *compiler) loadForm(x *ir.Scalar) form {
	f, ok := c.loads[x]
	if !ok {
		index := make([]form, len(x.Args))
		for i, a := range x.Args {
			index[i] = c.formOf(a)
		}
		f = c.flat(c.Room(x.Buf), index)
		c.loads[x] = f
	}
	return f
}
