package cpu

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
)

// Where A is made of constants, and B is not, as with a convolution's weights, all of A is packed once for
// all runs: matrix by matrix, within them block by block of k, and there row by row of panels.

// identifyRows finds whether A is a constant where the program's parameters are, and a key that tells
// how it is packed.
func (p *product) identifyRows(program *ir.Program) {
	i := slices.Index(program.Params, p.a.buf)
	if p.kept != nil || p.table != nil || p.a.buf == nil || p.a.pad != nil || i < 0 {
		return
	}
	p.rows = []int{i}
	key := []byte("rows")
	add := func(n int64) { key = binary.AppendVarint(key, n) }
	add(int64(p.out.DType))
	add(p.a.base)
	for i, nest := range [][]loop{p.batch, p.m, p.k} {
		add(int64(len(nest)))
		for _, l := range nest {
			if l.inA || i == 2 { // as in identify
				add(l.extent)
				add(l.a)
			}
		}
	}
	p.keyA = string(key)
}

// keepsRows says whether A is packed for all runs.
func (p *product) keepsRows(cut *blocks, constant func(param int) bool) bool {
	return cut.code != nil && p.rows != nil && constant(p.rows[0])
}

// matrixA is which of A's matrices a batch has, and how many there are.
func (p *product) matrixA(batch int64) (at, n int64) {
	n = 1
	for _, l := range slices.Backward(p.batch) {
		if l.inA {
			at += batch % l.extent * n
			n = times(n, l.extent)
		}
		batch /= l.extent
	}
	return at, n
}

// packedA gives all of A as it is packed, where it is made of constants; nil: for this run it is not.
func (x *multiplication[T]) packedA(run *interp.Execution, mem rt.Memory, data []T) ([]T, error) {
	p := x.p
	if p.rows == nil || x.cut.code == nil {
		return nil, nil
	}
	k := mem.Keep(p.rows, p.keyA)
	if k == nil {
		return nil, nil
	}
	t := k.Get()
	if t == nil {
		_, n := p.matrixA(0)
		size := times(n, x.rows, total(p.k))
		if size >= far {
			return nil, nil
		}
		var err error
		t, err = k.Make(p.out.DType, size, func(t *tensor.Tensor) error {
			w := worker[T]{lists: new(lists), a: new(source[T]), ctx: run.Context(), p: p, cut: x.cut}
			if err := w.a.open(run, &p.a, data, x.cut.pairs); err != nil {
				return err
			}
			defer w.a.close()
			w.lists.fit(x.cut)
			return w.packRowsOf(w.ctx, tensor.Data[T](t))
		})
		if err != nil || t == nil {
			return nil, err
		}
	}
	return tensor.Data[T](t), nil
}

// packRowsOf packs all matrices of A.
func (w *worker[T]) packRowsOf(ctx context.Context, out []T) error {
	p := w.p
	rows, depth := total(p.m), total(p.k)
	panels, step := w.cut.panelsOf(rows), w.cut.depthOf(rows, depth)
	done := int64(0)
	for batch := range total(p.batch) {
		if m, _ := p.matrixA(batch); m != done { // a batch that A does not tell from another
			continue
		}
		w.stand(&segment{}, batch)
		w.wholeA = out
		b := block{rowPanels: panels, batch: batch}
		for b.at(0, step, depth); b.depth > 0; b.at(b.k0+step, step, depth) {
			addresses(w.kA[:b.depth], p.k, b.k0, stepA)
			for b.from = 0; b.from < panels.n; b.from = b.to {
				if err := ctx.Err(); err != nil {
					return diag.Stopped(err)
				}
				b.to = w.cut.next(0, panels.n, b.from)
				i0 := b.start(b.from)
				addresses(w.rowA[:b.start(b.to)-i0], p.m, i0, stepA)
				w.blockA = w.keptA(&b, i0)
				if err := w.fillA(batch, i0, b); err != nil {
					return err
				}
			}
		}
		done++
	}
	return nil
}

// keptA is where a block's rows lie in all of A.
func (w *worker[T]) keptA(b *block, i0 int64) []T {
	rows := total(w.p.m)
	matrix, _ := w.p.matrixA(b.batch)
	return w.wholeA[matrix*rows*total(w.p.k)+b.k0*rows+i0*int64(b.depth):]
}
