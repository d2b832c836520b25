package cpu

import (
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/reuse"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
)

// listing is a product in portable Go of which terms are left out: row by row of the factor that has the zeros, rows of
// the other one are added up where they lie.
type listing[T element] struct {
	p          *product
	run        *interp.Execution
	a, b, c    []T
	rows, cols int
	parts      int
	rowA, rowC []int
	kA, kB     []int
}

// list computes a product so, where enough of a is zero and the rows of b, which is finite, lie as those of the result do.
func list[T element](d *Device, idle *reuse.List[listing[T]], run *interp.Execution, stage int, s side, told *rt.Zeros) (done bool, err error) {
	p := s.product
	n := times(total(p.m), total(p.n), total(p.k))
	step := func(nest []loop, at func(loop) int64) bool { return beside(nest, at) }
	if p.a.buf == nil || p.a.pad != nil || p.b.buf == nil || p.b.pad != nil || n < 1<<12 || n >= far ||
		!step(p.n, func(l loop) int64 { return l.b }) || !step(p.n, func(l loop) int64 { return l.out }) {
		return false, nil
	}
	x := idle.Get()
	defer func() {
		x.p, x.run, x.a, x.b, x.c = nil, nil, nil, nil, nil
		idle.Put(x)
	}()
	x.p, x.run, x.rows, x.cols = p, run, int(total(p.m)), int(total(p.n))
	x.a, x.b, x.c = tensor.Data[T](run.Tensor(p.a.buf)), tensor.Data[T](run.Tensor(p.b.buf)), tensor.Data[T](run.Tensor(p.out))
	x.rowA, x.rowC = placesOf(x.rowA, p.m, stepA), placesOf(x.rowC, p.m, stepC)
	x.kA, x.kB = placesOf(x.kA, p.k, stepA), placesOf(x.kB, p.k, stepB)
	ones, all := 0, 0
	for _, v := range x.a {
		if all++; v != 0 {
			ones++
		}
	}
	*told = rt.Zeros{Operand: s.operand, Share: float64(ones) / float64(max(all, 1)), Way: way{dense: true}.name()}
	if 2*ones > all {
		return false, nil
	}
	if p.out.DType.IsFloat() && !s.finite {
		for _, v := range x.b {
			if v-v != 0 {
				told.Way = notFinite
				return false, nil
			}
		}
	}
	told.Way = way{list: true, wide: true}.name()
	x.parts = min(d.threads, max(x.rows, 1))
	if times(n, total(p.batch)) < 4*d.alone {
		x.parts = 1
	}
	return true, d.parallel(rt.RecorderOf(run.Context()), run.Stages[stage].Out().Name, x.parts, x)
}

// part computes some rows of all batches.
func (x *listing[T]) part(_, i int) error {
	w := worker[T]{lists: &lists{}, p: x.p}
	for batch := range total(x.p.batch) {
		w.stand(&segment{}, batch)
		for r := i * x.rows / x.parts; r < (i+1)*x.rows/x.parts; r++ {
			if err := x.run.Context().Err(); err != nil {
				return diag.Stopped(err)
			}
			out := x.c[w.batchC+x.rowC[r]:][:x.cols]
			clear(out)
			for k, at := range x.kA {
				v := x.a[w.batchA+x.rowA[r]+at]
				if v == 0 {
					continue
				}
				for j, y := range x.b[w.batchB+x.kB[k]:][:x.cols] {
					out[j] += v * y
				}
			}
		}
	}
	return nil
}
