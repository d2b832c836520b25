package cpu

import (
	"slices"
	"time"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	rt "github.com/pitopt/pitopt/runtime"
)

// parallel is parallel of the team, which tells of each part where somebody asks.
func (d *Device) parallel(rec *rt.Recorder, what string, n int, t task) error {
	if rec == nil {
		return d.team.parallel(n, t)
	}
	return d.team.parallel(n, &recorded{t, rec, what})
}

// recorded is a task that tells of its parts.
type recorded struct {
	task
	rec  *rt.Recorder
	what string
}

func (t *recorded) part(thread, i int) error {
	row := t.rec.Enter(rt.Threads)
	defer t.rec.Leave(rt.Threads, row)
	start := time.Now()
	err := t.task.part(thread, i)
	t.rec.Part(row, t.what, start)
	return err
}

// start is when something begins that record tells of.
func (r *run) start() (now time.Time) {
	if r.rec != nil {
		now = time.Now()
	}
	return now
}

// The ways in which stages are computed.
const (
	byTiles    = "tiles"       // products, by machine code
	byBlocks   = "tiles in Go" // products, where there is none
	byKernel   = "kernel"      // loops, by machine code
	byClosures = "closures"
)

// record tells that stages were computed, in a way.
func (r *run) record(start time.Time, by string, first, count int) {
	if r.rec == nil {
		return
	}
	w := rt.Work{Program: r.p.Name, By: by}
	if r.zeros.Way != "" {
		z := r.zeros
		w.Zeros, r.zeros = &z, rt.Zeros{}
	}
	inside := r.p.Inside(ir.Range{First: first, Last: first + count - 1}) // it may never be written
	own := map[*ir.Buffer]bool{}                                          // what is handed on inside
	for i := first; i < first+count; i++ {
		for _, b := range r.c.Stages[i].Outs {
			own[b] = true
		}
	}
	for i := first; i < first+count; i++ {
		s := r.c.Stages[i]
		if w.Stages != "" {
			w.Stages += ", "
		}
		w.Stages += s.Out().Name
		if p := r.c.products[i]; p != nil {
			w.Flops += 2 * float64(times(total(p.batch), total(p.m), total(p.n), total(p.k)))
		} else {
			w.Flops += float64(operations(s.Stage)) * float64(s.Points())
		}
		for _, b := range s.Reads() {
			if !own[b] {
				w.Bytes += bytesOf(s, b)
			}
		}
		for _, b := range s.Outs {
			if !slices.Contains(inside, b) {
				w.Bytes += bytesOf(s, b)
			}
		}
	}
	r.rec.Stage(start, w)
}

// bytesOf is what a stage reads or writes of a buffer: all of it, or, of one that it looks something
// up in, an element for each point.
func bytesOf(s *interp.Stage, b *ir.Buffer) float64 {
	return float64(min(times(s.Shape(b)...), s.Points())) * float64(b.DType.Bits()) / 8
}

// operations counts what a stage computes of floating-point numbers at a point: a function counts as
// one operation, and so does the step of a reduction.
func operations(s *ir.Stage) (n int) {
	float := func(x *ir.Scalar) bool { return x.DType.IsFloat() }
	s.Walk(func(x *ir.Scalar) bool {
		switch {
		case x.Op <= ir.OpCast: // moves, conversions
		case float(x) || x.Op.Compares() && float(x.Args[0]):
			n++
		}
		return true
	})
	if s.Kind != ir.MapStage && float(s.Exprs[0]) {
		n++
	}
	return n
}
