// Package cpu is the CPU device in portable Go. The sums of products of a program that is
// given to its kernel run as blocked matrix products; every other stage runs on the closures of the reference
// interpreter, cut into parts for the threads. Bits do not depend on the number of
// threads: parts are cut by points of the result, and each point is summed up in an
// order that depends on sizes alone.
package cpu

import (
	"context"
	"runtime"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
)

// Device is the CPU.
type Device struct {
	threads int
	alone   int64 // points up to which a stage is not worth a second thread
	codes   codes
}

// New makes a device with a number of threads; 0 takes all processors.
func New(threads int) *Device {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Device{threads: threads, alone: 1 << 14}
}

// Target tells what the device offers.
func (d *Device) Target() *target.Target {
	return &target.Target{Name: "cpu", Threads: d.threads, Kernels: kernels, Cost: closuresCost, BoundedResult: 1 << 20}
}

// Close gives up nothing but memory.
func (d *Device) Close() error {
	d.codes.clear()
	return nil
}

// Workspace tells what products pack their factors into.
func (d *Device) Workspace(kernel string, p *ir.Program, bind []int64) ([]int64, error) {
	c, err := d.codes.get(d, kernel, p, bind)
	if err != nil {
		return nil, err
	}
	var out []int64
	for i, g := range c.products {
		if g != nil {
			out = append(out, make([]int64, i-len(out))...)
			out = append(out, g.bytes(d))
		}
	}
	return out, nil
}

// Run computes a program stage by stage; the kernel has another way for some stages.
func (d *Device) Run(ctx context.Context, kernel string, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem rt.Memory) error {
	c, err := d.codes.get(d, kernel, p, bind)
	if err != nil {
		return err
	}
	return c.Run(ctx, args, results, mem, func(x *interp.Execution, i int) error {
		if g := c.products[i]; g != nil {
			return d.product(x, i, g, mem)
		}
		if c.parts[i] == 1 {
			return x.Stage(i, 0, 1)
		}
		return parallel(c.parts[i], func(part int) error { return x.Stage(i, part, c.parts[i]) })
	})
}

// parallel runs f(0) .. f(n-1) at the same time, the first one here, and gives the first
// error.
func parallel(n int, f func(i int) error) error {
	if n <= 1 {
		return try(f, 0)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := 1; i < n; i++ {
		wg.Go(func() { errs[i] = try(f, i) })
	}
	errs[0] = try(f, 0)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// try makes an error of a panic: in a goroutine it would end the process.
func try(f func(i int) error, i int) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "it failed: %v", v)
		}
	}()
	return f(i)
}
