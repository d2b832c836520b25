// Package cuda is a device over a CUDA driver: one of a GPU, or the emulator. Stages of programs run as
// kernels (runtime/kernel) that ptx prints and the driver compiles; what has no kernel runs on the
// host, on the closures of the interpreter, and Division tells what that was.
//
// Tensors of the machine have their places in the host's memory. Constants are copied to the device once, and shared by
// all runs; what else a program reads is copied when its first kernel asks for it. What a kernel gives stays on the device until the run
// ends, its place on the host is written over, or the host asks for it: it is a result of the run, a stage has no kernel, or it decides
// what is to be computed.
//
//   - cuda.go: the device; code.go: programs made ready; run.go: a run of one; abroad.go: what a run has on the device
//   - launch.go: kernels; memory.go: the pool, constants
//   - work.go: what was done where
package cuda

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
	"github.com/pitopt/pitopt/runtime/cuda/ptx"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// Device is a CUDA device.
type Device struct {
	name  string
	ctx   driver.Context
	info  driver.Info
	codes codes
	pool  pool
	kept  constants
	work  work

	compiling sync.Mutex           // takes long: no run waits for it that has its kernels
	kernels   map[string]*function // by their text, which is all that they depend on
	order     []string

	mu      sync.Mutex
	streams []driver.Stream // that nobody uses

	closing sync.RWMutex // who runs holds it
	closed  bool
}

// Open opens the first device of the driver that open finds, as the target name.
func Open(name string, open func() (driver.Driver, error)) (*Device, error) {
	fail := func(err error) (*Device, error) {
		return nil, diag.New(diag.Run, "target %q: %v", name, err).Hint("-target cpu runs on the processor")
	}
	d, err := open()
	if err != nil {
		return fail(err)
	}
	n, err := d.Devices()
	switch {
	case err != nil:
		return fail(err)
	case n == 0:
		return fail(fmt.Errorf("there is no device"))
	}
	info, err := d.Info(0)
	if err != nil {
		return fail(err)
	}
	if have, need := 10*info.Major+info.Minor, 10*ptx.Major+ptx.Minor; have < need {
		return fail(fmt.Errorf("%s has compute capability %d.%d, and %d.%d is needed", info.Name, info.Major, info.Minor, ptx.Major, ptx.Minor))
	}
	ctx, err := d.Open(0)
	if err != nil {
		return fail(err)
	}
	return newDevice(name, ctx), nil
}

func newDevice(name string, ctx driver.Context) *Device {
	d := &Device{name: name, ctx: ctx, info: ctx.Info(), kernels: map[string]*function{}}
	d.pool.ctx = ctx
	d.kept.d = d
	return d
}

// options are those of the schedules.
func options() kernel.Options {
	return kernel.Options{Lanes: ptx.Lanes, Blocks: ptx.Blocks}
}

// Target tells what the device offers. A program's kernels are the device's affair: modules name none.
func (d *Device) Target() *target.Target {
	return &target.Target{Name: d.name, Threads: runtime.GOMAXPROCS(0), BoundedResult: 1 << 20,
		Loops: func(s *ir.Stage) string {
			return kernel.New(&ir.Program{Name: "stage", Results: s.Outs, Stages: []*ir.Stage{s}}, options()).Refused[0]
		}}
}

// Code says what kernels run on.
func (d *Device) Code() (string, error) {
	if d.info.Emulated {
		return "PTX, emulated", nil
	}
	return "PTX on " + d.info.Name, nil
}

// Workspace tells that stages need no memory of the host.
func (d *Device) Workspace(string, *ir.Program, []int64, func(int) bool) ([]int64, error) {
	return nil, nil
}

// enter says whether the device is there, which it then is until leave.
func (d *Device) enter() error {
	d.closing.RLock()
	if d.closed {
		d.closing.RUnlock()
		return diag.New(diag.Run, "the device %q is closed", d.name)
	}
	return nil
}

func (d *Device) leave() { d.closing.RUnlock() }

// Close gives up all that the device has, when no run uses it any more.
func (d *Device) Close() error {
	d.closing.Lock()
	defer d.closing.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.ctx.Close()
}

// Run computes a program.
func (d *Device) Run(ctx context.Context, _ string, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem rt.Memory) error {
	r := &run{p: p, mem: mem}
	if t, ok := mem.(rt.Traveller); ok {
		r.abroad, _ = t.Abroad().(*abroad)
	}
	if r.abroad != nil {
		return r.program(ctx, bind, args, results)
	}
	a, err := d.Enter() // the program is a run by itself
	if err != nil {
		return err
	}
	r.abroad = a.(*abroad)
	err = r.program(ctx, bind, args, results)
	for i := 0; err == nil && i < len(p.Results); i++ {
		err = r.home(results[i])
	}
	if e := a.Leave(); err == nil {
		err = e
	}
	return err
}

// program computes the program. Its results may be on the device alone afterwards.
func (r *run) program(ctx context.Context, bind []int64, args, results []*tensor.Tensor) (err error) {
	if r.c, err = r.d.codes.get(r.d, r.p, bind); err != nil {
		return err
	}
	for i, b := range r.c.p.Params {
		if r.c.early[r.c.number[b]] {
			if err := r.home(args[i]); err != nil {
				return err
			}
		}
	}
	return r.c.Run(ctx, args, results, r.mem, r.stage)
}

// stream gives a stream that nobody uses.
func (d *Device) stream() (driver.Stream, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.streams); n > 0 {
		s := d.streams[n-1]
		d.streams = d.streams[:n-1]
		return s, nil
	}
	s, err := d.ctx.NewStream()
	return s, wrap(err)
}

// wrap is an error of the driver as one of a run.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	return diag.As(err, diag.Run)
}
