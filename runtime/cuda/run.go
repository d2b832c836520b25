package cuda

import (
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// run is a run of a program.
type run struct {
	*abroad
	p   *ir.Program
	c   *code
	mem rt.Memory
}

// stage computes a stage, or those that are computed with it.
func (r *run) stage(x *interp.Execution, i int) error {
	if err := x.Context().Err(); err != nil {
		return diag.Stopped(err)
	}
	g := r.c.groups[i]
	if g == nil {
		return r.onHost(x, i, r.c.why[i])
	}
	stages := r.c.p.Stages[i : i+g.count]
	if g.fails() {
		if err := r.save(x, stages); err != nil {
			return err
		}
	}
	failed, err := r.launch(x, g)
	if !failed || err != nil {
		return err
	}
	for _, s := range stages {
		for _, b := range s.Outs {
			r.Over(x.Tensor(b).Bytes())
		}
	}
	for end := i + g.count; err == nil && i < end; i++ { // closures tell which index is out of its dim
		err = r.onHost(x, i, "an index is out of its dim")
	}
	return err
}

// save brings home what stages read where the results of the same stages will lie: the device has these in other
// memory, and forgets what was there; the host, which computes them again where a kernel fails, has one place.
func (r *run) save(x *interp.Execution, stages []*ir.Stage) error {
	for _, s := range stages {
		for _, b := range s.Reads() {
			read := x.Tensor(b).Bytes()
			for _, w := range stages {
				for _, o := range w.Outs {
					if o != b && meet(read, x.Tensor(o).Bytes()) {
						if err := r.Home(read); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	return nil
}

// onHost computes a stage on the closures of the interpreter, and notes why.
func (r *run) onHost(x *interp.Execution, i int, why string) error {
	s := r.c.p.Stages[i]
	for _, b := range s.Reads() {
		if err := r.home(x.Tensor(b)); err != nil {
			return err
		}
	}
	for _, b := range s.Outs {
		r.Over(x.Tensor(b).Bytes())
	}
	r.d.work.onHost(r.c.p, s, why)
	return x.Stage(i, 0, 1)
}

// home makes sure that the host has a tensor.
func (r *run) home(t *tensor.Tensor) error {
	if t == nil || len(t.Bytes()) == 0 {
		return nil
	}
	return r.Home(t.Bytes())
}

// launch starts a kernel, and those before it; failed says that it has met an index that is out of its dim.
func (r *run) launch(x *interp.Execution, g *group) (failed bool, err error) {
	if g.cut.Pieces() == 0 {
		return false, nil
	}
	var own map[*ir.Buffer]block // of these kernels alone
	if len(g.before) > 0 {
		own = map[*ir.Buffer]block{}
		defer func() {
			for _, m := range own {
				r.give(m)
			}
		}()
	}
	for _, b := range g.before {
		if failed, err = r.kernel(x, b, own); failed || err != nil {
			return failed, err
		}
	}
	if failed, err = r.kernel(x, g, own); failed || err != nil {
		return failed, err
	}
	r.d.work.onDevice(int64(g.count))
	for _, b := range g.cut.Buffers {
		if b.Written && !b.Scratch && r.c.early[r.c.number[b.Of]] {
			if err := r.home(x.Tensor(b.Of)); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// kernel starts one kernel.
func (r *run) kernel(x *interp.Execution, g *group, own map[*ir.Buffer]block) (failed bool, err error) {
	if g.cut.Pieces() == 0 {
		return false, nil
	}
	k := g.cut.Kernel
	buffers := make([]uint64, len(k.Buffers))
	for _, written := range []bool{false, true} { // what is written may lie where something is that is read
		for i, b := range k.Buffers {
			if b.Scratch || b.Written != written {
				continue
			}
			if _, ok := r.c.number[b.Of]; !ok {
				if own[b.Of].at == 0 {
					if own[b.Of], err = r.take(g.cut.Bytes(i)); err != nil {
						return false, err
					}
				}
				buffers[i] = uint64(own[b.Of].at)
				continue
			}
			if len(x.Tensor(b.Of).Bytes()) == 0 {
				continue
			}
			p, err := r.address(x, b.Of, written)
			if err != nil {
				return false, err
			}
			buffers[i] = uint64(p)
		}
	}
	if failed, err = r.d.launch(x.Context(), r.abroad, g, buffers); failed || err != nil {
		return failed, err
	}
	r.started()
	return false, nil
}

// address is where a buffer is on the device.
func (r *run) address(x *interp.Execution, b *ir.Buffer, written bool) (driver.Ptr, error) {
	m := x.Tensor(b).Bytes()
	if written {
		p, err := r.define(m)
		if err != nil {
			return 0, err
		}
		return p.at.at, nil
	}
	if n := r.c.number[b]; n < len(r.c.p.Params) && r.mem.Keep([]int{n}, "cuda") != nil {
		return r.d.kept.get(m, r.stream)
	}
	return r.read(m)
}
