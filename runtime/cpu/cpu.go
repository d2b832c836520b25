// Package cpu is the CPU device. The sums of products of a program that is
// given to its kernel run as blocked matrix products, those in f32 on machine code where the processor
// is one that [x86] makes code for; every other stage runs on the closures of the reference
// interpreter, cut into parts for the threads. Bits do not depend on the number of
// threads: parts are cut by points of the result, and each point is summed up in an
// order that depends on sizes alone.
package cpu

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/reuse"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// Device is the CPU.
type Device struct {
	threads  int
	alone    int64 // points up to which a stage is not worth a second thread
	codes    codes
	team     *team
	machine  *machine
	watch    *watch
	err      error // what PITOPT_CPU says is not known
	runs     reuse.List[run]
	f32      reuse.List[multiplication[float32]]
	f64      reuse.List[multiplication[float64]]
	i32      reuse.List[multiplication[int32]]
	slides   reuse.List[slide]
	attends  reuse.List[attending]
	sparse   reuse.List[sparse]
	choosing reuse.List[choosing]
	listF32  reuse.List[listing[float32]]
	listF64  reuse.List[listing[float64]]
	listI32  reuse.List[listing[int32]]
	tiled    sync.Once
	table    *TileTable
	weigh    func(way) float64 // for tests: takes the place of what the table says
	decided  func(way)         // for tests: is told
}

// New makes a device with a number of threads; 0 takes all processors. It uses machine code where
// x86.Usable allows it; programs do not load where PITOPT_CPU is not understood.
func New(threads int) *Device {
	f, err := x86.Usable()
	d := newDevice(threads, f)
	if err != nil {
		d.err = diag.New(diag.Usage, "%v", err)
	}
	return d
}

// newDevice makes a device with machine code for some features.
func newDevice(threads int, f x86.Features) *Device {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	d := &Device{threads: threads, alone: 1 << 14, team: newTeam(threads), machine: newMachine(f)}
	runtime.AddCleanup(d, (*team).close, d.team) // where nobody closes it
	runtime.AddCleanup(d, (*machine).close, d.machine)
	return d
}

// Target tells what the device offers.
func (d *Device) Target() *target.Target {
	f := d.machine.features
	t := &target.Target{Name: "cpu", Threads: d.threads, Kernels: kernels(f), BoundedResult: 1 << 20}
	t.Cost = func(p *ir.Program, s target.Sizes) float64 { return stagesCost(p, s, f) }
	if f != 0 {
		t.Loops = kernel.Why
	}
	return t
}

// Close ends its threads and gives up memory. What runs later runs on its caller alone.
func (d *Device) Close() error {
	d.team.close()
	d.machine.close()
	d.codes.clear()
	d.runs.Clear()
	d.attends.Clear()
	d.f32.Clear()
	d.f64.Clear()
	d.i32.Clear()
	d.slides.Clear()
	d.sparse.Clear()
	d.choosing.Clear()
	d.listF32.Clear()
	d.listF64.Clear()
	d.listI32.Clear()
	return nil
}

// Workspace tells what products pack their factors into.
func (d *Device) Workspace(kernel string, p *ir.Program, bind []int64, constant func(param int) bool) ([]int64, error) {
	if d.err != nil {
		return nil, d.err
	}
	c, err := d.codes.get(d, kernel, p, bind)
	if err != nil {
		return nil, err
	}
	var out []int64
	for i, g := range c.products {
		if a := c.attentions[i]; a != nil {
			out = append(out, make([]int64, i-len(out))...)
			out = append(out, a.bytes(d))
			continue
		}
		if g != nil {
			out = append(out, make([]int64, i-len(out))...)
			out = append(out, g.bytes(d, constant))
		}
	}
	return out, nil
}

// run is a run of a program.
type run struct {
	d      *Device
	c      *code
	p      *ir.Program
	mem    rt.Memory
	x      *interp.Execution
	i      int                                    // the stage
	loops  *loops                                 // that are run; nil: the stage runs on closures
	calls  []*call                                // of them, by thread
	failed atomic.Bool                            // a piece of them has met an index that is out of its dim: closures tell which
	stage  func(x *interp.Execution, i int) error // r.compute
	rec    *rt.Recorder                           // nil: nobody asks
	zeros  rt.Zeros                               // of the product that was computed
	looked lookups                                // of the product that is computed
}

// Run computes a program stage by stage; the kernel has another way for some stages.
func (d *Device) Run(ctx context.Context, kernel string, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem rt.Memory) error {
	if d.err != nil {
		return d.err
	}
	c, err := d.codes.get(d, kernel, p, bind)
	if err != nil {
		return err
	}
	r := d.runs.Get()
	if r.stage == nil {
		r.stage = r.compute
	}
	r.d, r.c, r.p, r.mem, r.rec, r.zeros = d, c, p, mem, rt.RecorderOf(ctx), rt.Zeros{}
	err = c.Run(ctx, args, results, mem, r.stage)
	r.d, r.c, r.p, r.mem, r.x, r.rec = nil, nil, nil, nil, nil, nil
	d.runs.Put(r)
	return err
}

// compute computes a stage, and those that are computed together with it.
func (r *run) compute(x *interp.Execution, i int) error {
	r.d.watch.stage(r.c, i)
	if a := r.c.attentions[i]; a != nil {
		return r.attend(x, a)
	}
	if g := r.c.products[i]; g != nil && g.look(x, &r.looked) {
		start := r.start()
		err := r.d.product(x, i, g, &r.looked, r.mem, &r.zeros)
		by := byTiles
		if r.d.blocks(g.out.DType, g.short).code == nil {
			by = byBlocks
		}
		r.record(start, by, i, 1)
		return err
	}
	r.x = x
	l := r.c.kernels[i]
	if l == nil {
		return r.closures(i)
	}
	if done, err := r.looped(x, i, l); done {
		return err
	}
	// Closures tell which index is out of its dim. Stages that memory does not let compute together
	// are computed one by one.
	singly := l.count > 1 && !r.failed.Load()
	for end := i + l.count; i < end; i++ {
		if singly {
			if one := r.c.alone()[i]; one != nil {
				if done, err := r.looped(x, i, one); done {
					if err != nil {
						return err
					}
					continue
				}
			}
		}
		if err := r.closures(i); err != nil {
			return err
		}
	}
	return nil
}

// looped computes stages by machine code, where memory and what indices are looked up allow that.
func (r *run) looped(x *interp.Execution, i int, l *loops) (done bool, err error) {
	r.failed.Store(false)
	if !l.apart(x) || !r.d.machine.enter() {
		return false, nil
	}
	defer r.d.machine.leave()
	start := r.start()
	r.loops = l
	l.ready(r)
	err = r.d.parallel(r.rec, x.Stages[i].Out().Name, l.cut.Pieces(), r)
	r.loops = nil
	r.record(start, byKernel, i, l.count)
	return err != nil || !r.failed.Load(), err
}

// attend computes the stages of an attention together, or one by one where there is no code any more
// or the result lies over what is still to be read, or sums of positions overflow.
func (r *run) attend(x *interp.Execution, a *attention) error {
	code := r.d.machine.enter()
	if code {
		defer r.d.machine.leave()
	}
	if (code || r.d.machine.features == 0) && a.apart(x) && a.moderate(x) {
		start, by := r.start(), byTiles
		if !code {
			by = byBlocks
		}
		err := r.d.attention(x, a, r.mem, &r.zeros)
		r.record(start, by, a.First, a.Last-a.First+1)
		return err
	}
	if err := x.Make(x.Stages[a.First : a.Last+1]); err != nil {
		return err
	}
	for i := a.First; i <= a.Last; i++ {
		r.x = x
		if err := r.closures(i); err != nil {
			return err
		}
	}
	return nil
}

// closures computes a stage on closures.
func (r *run) closures(i int) error {
	r.i = i
	start := r.start()
	err := r.d.parallel(r.rec, r.c.Stages[i].Out().Name, r.c.parts[i], r)
	r.record(start, byClosures, i, 1)
	return err
}

// part computes a part of a stage on closures, or a piece of loops.
func (r *run) part(thread, i int) error {
	if r.loops != nil {
		return r.loops.run(r, r.calls[thread], i)
	}
	return r.x.Stage(r.i, i, r.c.parts[r.i])
}
