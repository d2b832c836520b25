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
	d      *Device
	c      *code
	mem    rt.Memory
	stream driver.Stream
	places []residence // by the number of a buffer
	taken  []block     // of the pool, until the run ends
}

// residence says where the contents of a buffer are.
type residence struct {
	at     driver.Ptr // on the device; 0: nowhere
	device bool       // they are there
	host   bool       // they are in the host's tensor
}

// stage computes a stage, or those that are computed with it.
func (r *run) stage(x *interp.Execution, i int) error {
	if err := x.Context().Err(); err != nil {
		return diag.Stopped(err)
	}
	if i == 0 {
		for n := range r.c.p.Params {
			r.places[n].host = true
		}
	}
	g := r.c.groups[i]
	if g == nil {
		return r.onHost(x, i, r.c.why[i])
	}
	failed, err := r.launch(x, g)
	for end := i + g.count; failed && err == nil && i < end; i++ { // closures tell which index is out of its dim
		err = r.onHost(x, i, "an index is out of its dim")
	}
	return err
}

// onHost computes a stage on the closures of the interpreter, and notes why.
func (r *run) onHost(x *interp.Execution, i int, why string) error {
	s := r.c.p.Stages[i]
	for _, b := range s.Reads() {
		if err := r.toHost(x, b); err != nil {
			return err
		}
	}
	r.d.work.onHost(r.c.p, s, why)
	if err := x.Stage(i, 0, 1); err != nil {
		return err
	}
	for _, b := range s.Outs {
		p := &r.places[r.c.number[b]]
		p.host, p.device = true, false
	}
	return nil
}

// launch starts a kernel; failed says that it has met an index that is out of its dim.
func (r *run) launch(x *interp.Execution, g *group) (failed bool, err error) {
	k := g.cut.Kernel
	if g.cut.Pieces() > 0 {
		buffers := make([]uint64, len(k.Buffers))
		for i, b := range k.Buffers {
			if b.Scratch {
				continue
			}
			p, err := r.onDevice(x, b.Of, !b.Written)
			if err != nil {
				return false, err
			}
			buffers[i] = uint64(p)
		}
		if failed, err = r.d.launch(x.Context(), r, g, buffers); failed || err != nil {
			return failed, err
		}
		r.d.work.onDevice(int64(g.count))
	}
	for _, b := range k.Buffers {
		if !b.Written || b.Scratch {
			continue
		}
		n := r.c.number[b.Of]
		r.places[n].device, r.places[n].host = true, false
		if r.c.early[n] {
			if err := r.toHost(x, b.Of); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// take gives so many bytes of the device, until the run ends.
func (r *run) take(n int64) (driver.Ptr, error) {
	m, err := r.d.pool.get(n)
	if err == nil {
		r.taken = append(r.taken, m)
	}
	return m.at, err
}

// onDevice is the memory of a buffer on the device, with its contents if it is read.
func (r *run) onDevice(x *interp.Execution, b *ir.Buffer, read bool) (driver.Ptr, error) {
	n := r.c.number[b]
	p, t := &r.places[n], x.Tensor(b)
	if size := int64(len(t.Bytes())); p.at == 0 && size > 0 {
		if n < len(r.c.p.Params) && read {
			if k := r.mem.Keep([]int{n}, "cuda"); k != nil {
				var err error
				if p.at, err = r.d.kept.get(t.Bytes(), r.stream); err != nil {
					return 0, err
				}
				p.device = true
				return p.at, nil
			}
		}
		var err error
		if p.at, err = r.take(size); err != nil {
			return 0, err
		}
	}
	if read && !p.device && p.at != 0 {
		if err := r.d.ctx.HtoD(p.at, t.Bytes(), r.stream); err != nil {
			return 0, wrap(err)
		}
		p.device = true
	}
	return p.at, nil
}

// toHost makes sure that the host has the contents of a buffer.
func (r *run) toHost(x *interp.Execution, b *ir.Buffer) error {
	p := &r.places[r.c.number[b]]
	if p.host || !p.device {
		return nil
	}
	p.host = true
	return r.fetch(x.Tensor(b), p.at)
}

func (r *run) fetch(t *tensor.Tensor, at driver.Ptr) error {
	if len(t.Bytes()) == 0 {
		return nil
	}
	return wrap(r.d.ctx.DtoH(t.Bytes(), at, r.stream))
}

// collect copies results to the host.
func (r *run) collect(results []*tensor.Tensor) error {
	for i := range r.c.p.Results {
		p := &r.places[len(r.c.p.Params)+i]
		if p.device && !p.host {
			if err := r.fetch(results[i], p.at); err != nil {
				return err
			}
		}
	}
	return nil
}

// end gives back what the run took, when the device does nothing with it any more.
func (r *run) end() error {
	err := r.d.ctx.Synchronize(r.stream)
	for _, m := range r.taken {
		r.d.pool.put(m)
	}
	r.d.mu.Lock()
	r.d.streams = append(r.d.streams, r.stream)
	r.d.mu.Unlock()
	return wrap(err)
}
