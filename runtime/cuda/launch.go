package cuda

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
	"github.com/pitopt/pitopt/runtime/cuda/ptx"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// function is a kernel that the driver has compiled.
type function struct {
	code *ptx.Code
	o    ptx.Options
	fn   driver.Function
}

// inShared says whether the scratch of a block fits into the shared memory that every launch may take.
func (d *Device) inShared(b *kernel.Bound) bool {
	return ptx.Scratch(b)*int64(ptx.Vectors(b.Kernel)) <= int64(d.info.SharedPerBlock)
}

// function compiles a kernel, or gives what was made of an equal one.
func (d *Device) function(k *kernel.Kernel, code *ptx.Code, o ptx.Options) (*function, error) {
	d.compiling.Lock()
	defer d.compiling.Unlock()
	if f := d.kernels[code.Text]; f != nil {
		return f, nil
	}
	m, err := d.ctx.Load(code.Text)
	if err != nil {
		return nil, wrap(fmt.Errorf("kernel %s: %w", k.Name, err))
	}
	f := &function{code: code, o: o}
	if f.fn, err = d.ctx.Function(m, code.Entry); err != nil {
		return nil, wrap(err)
	}
	d.kernels[code.Text] = f
	d.order = append(d.order, code.Text)
	return f, nil
}

// blocksPerMultiprocessor is how many blocks there are at most, for each multiprocessor: as many as it can hold.
// Their warps take more than one piece where there are more.
const blocksPerMultiprocessor = 16

// launchOps is about how many operations of warps a launch computes at most, some ms of the device: between launches a run
// may be stopped.
const launchOps, emulatedLaunchOps = 1 << 32, 1 << 20

// launch computes the pieces of a kernel. failed says that the call has, as kernel.OpMust has it.
func (d *Device) launch(ctx context.Context, r *abroad, g *group, buffers []uint64) (failed bool, err error) {
	pieces, most := g.cut.Pieces(), float64(launchOps)
	if d.info.Emulated {
		most = emulatedLaunchOps
	}
	launches := int(min(float64(pieces), math.Ceil(g.cut.Total()/most)))
	each := (pieces + max(launches, 1) - 1) / max(launches, 1)
	vectors := ptx.Vectors(g.cut.Kernel)
	blocks := min((each+vectors-1)/vectors, blocksPerMultiprocessor*d.info.Multiprocessors)
	l := driver.Launch{Grid: driver.D(blocks), Block: driver.D(ptx.Lanes, ptx.Warps), Stream: r.stream}
	scratch := uint64(0)
	if n := ptx.Scratch(g.cut.Bound) * int64(vectors); n > 0 {
		if g.fn.o.Shared {
			l.Shared = int(n)
		} else {
			m, err := r.take(n * int64(blocks))
			if err != nil {
				return false, err
			}
			defer r.give(m)
			scratch = uint64(m.at)
		}
	}
	var word driver.Ptr
	if g.cut.MayFail {
		m, err := r.take(wordBytes)
		if err != nil {
			return false, err
		}
		defer r.give(m)
		word = m.at
		if err := d.ctx.Memset(word, 0, wordBytes, r.stream); err != nil {
			return false, wrap(err)
		}
	}
	for first := 0; first < pieces; first += each {
		if r.queued += g.cut.Total() / float64(max(launches, 1)); first > 0 || r.queued > most {
			r.queued = 0
			if err := d.ctx.Synchronize(r.stream); err != nil {
				return false, wrap(fmt.Errorf("kernel %s: %w", g.cut.Name, err))
			}
			if err := ctx.Err(); err != nil {
				return false, diag.Stopped(err)
			}
		}
		l.Params = ptx.Params(g.cut, first, min(first+each, pieces), buffers, scratch, uint64(word))
		if err := d.ctx.Launch(g.fn.fn, l); err != nil {
			return false, wrap(fmt.Errorf("kernel %s: %w", g.cut.Name, err))
		}
	}
	if !g.cut.MayFail {
		return false, nil
	}
	var set [wordBytes]byte
	if err := d.ctx.DtoH(set[:], word, r.stream); err != nil {
		return false, wrap(fmt.Errorf("kernel %s: %w", g.cut.Name, err))
	}
	return set != [wordBytes]byte{}, nil
}

// wordBytes is how long the word is that a kernel sets when its call fails.
const wordBytes = 4

// PTX are the kernels that programs have been made ready with, in that order.
func (d *Device) PTX() []string {
	d.compiling.Lock()
	defer d.compiling.Unlock()
	return slices.Clone(d.order)
}
