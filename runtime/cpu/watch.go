package cpu

import (
	"os"
	"sync"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// perfMap says that the names of all code are written where Linux's perf looks for them.
var perfMap = os.Getenv("PITOPT_PERF") != ""

// Use is a call of machine code.
type Use struct {
	Code   *x86.Code
	Stages []*ir.Stage // of a program, that it is called for: those of a kernel, or that of a product
}

// watch tells somebody of calls of machine code.
type watch struct {
	tell func(Use)

	mu     sync.Mutex
	stages []*ir.Stage // that are computed now
}

// Watch has f told of each call of machine code. It is for a device that nothing has run on yet, and that
// has one run at a time; code then carries the operations of its kernel as comments.
func (d *Device) Watch(f func(Use)) {
	w := &watch{tell: f}
	d.watch = w
	m := d.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	m.arena.Watch = w.called
	clear(m.funcs) // what is there already tells nobody
}

func (w *watch) called(c *x86.Code) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(Use{c, w.stages})
}

// stage says which stage is computed from now on.
func (w *watch) stage(c *code, i int) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 1
	if l := c.kernels[i]; l != nil {
		n = l.count
	}
	w.stages = w.stages[:0:0]
	for _, s := range c.Stages[i : i+n] {
		w.stages = append(w.stages, s.Stage)
	}
}

// newArena makes memory for code.
func (d *Device) newArena() *x86.Arena {
	a := &x86.Arena{PerfMap: perfMap}
	if d.watch != nil {
		a.Watch = d.watch.called
	}
	return a
}
