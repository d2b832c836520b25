package interp

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Window is an expression of a stage that a runtime computes for a part of its points at a
// time, and puts where it wants it: a factor of a product that is packed block by block. Its
// elements are kept as T.
type Window[T tensor.Elem] struct{ stage *Stage }

// Span is a range of positions along an axis.
type Span struct{ Lo, Hi int64 }

// NewWindow makes a window of an expression over axes of a stage. Along those of lanes, which
// are some of them, more than one position is asked for at a time.
func NewWindow[T tensor.Elem](of *Stage, x *ir.Scalar, axes, lanes []*ir.Axis) *Window[T] {
	s := &Stage{Stage: &ir.Stage{Kind: ir.MapStage, Outs: of.Outs, Axes: axes, Exprs: []*ir.Scalar{x}}, code: of.code, err: of.err}
	all := of.AllAxes()
	for _, a := range axes {
		s.extents = append(s.extents, of.extents[slices.Index(all, a)])
	}
	s.window = &window{func(c *compiler) func(*runner) {
		v, outer, lane := operand[T](c, x), c.axesBut(c.lane), c.lane
		return func(r *runner) {
			emit := r.emit.(func([]int64, int, []T))
			r.each(outer, func() bool {
				return r.blocks(func(n int) bool {
					r.step()
					emit(r.at, lane, v(r.frame, n))
					return r.done(n)
				})
			})
		}
	}, nil}
	for _, a := range lanes {
		s.window.lanes = append(s.window.lanes, slices.Index(axes, a))
	}
	of.code.windows = append(of.code.windows, s)
	return &Window[T]{s}
}

// window says of a stage that it is one.
type window struct {
	code  func(c *compiler) func(*runner)
	lanes []int
}

// View is a window on the tensors of an execution, for one goroutine.
type View[T tensor.Elem] struct {
	stage *Stage
	code  *compiled
}

// Open gives a view, which is to be closed.
func (w *Window[T]) Open(x *Execution) (View[T], error) {
	k, err := w.stage.take()
	if err != nil {
		return View[T]{}, err
	}
	v := View[T]{w.stage, k}
	if err := k.bind(x, w.stage); err != nil {
		v.Close()
		return View[T]{}, err
	}
	return v, nil
}

// Opened says whether the view is one.
func (v View[T]) Opened() bool { return v.code != nil }

// Axes is the number of axes.
func (v View[T]) Axes() int { return len(v.code.box) }

// Each computes the points of a box, a span along each axis, and calls emit for each run of
// points that lie beside each other along the axis with number lane, with the position of the
// first. Both hold until emit returns.
func (v View[T]) Each(box []Span, emit func(at []int64, lane int, values []T)) error {
	copy(v.code.box, box)
	v.code.emit = emit
	v.code.walk(&v.code.runner)
	v.code.emit = nil
	return v.code.err
}

// Close gives the view back.
func (v View[T]) Close() {
	v.code.unbind()
	v.code.scratch.release()
	v.stage.mu.Lock()
	defer v.stage.mu.Unlock()
	v.stage.idle = append(v.stage.idle, v.code)
}
