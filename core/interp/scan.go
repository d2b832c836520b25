package interp

import "github.com/pitopt/pitopt/core/tensor"

// scanner accumulates along an axis and stores what is there on the way.
type scanner interface {
	reducer
	// sweep scans n lanes, from accumulator 0 on.
	sweep(f *frame, n int, exclusive, reverse bool)
}

// scanCode walks along the scan axis for blocks of points beside each other, or in
// blocks along the scan axis itself.
func (c *compiler) scanCode() func(r *runner) {
	s := c.Stage
	acc, axis := classOf(s.Exprs[0].DType).scan(c), c.axisIndex[s.ScanAxis]
	outer, extent := c.axesBut(c.lane, axis), c.extents[axis]
	if c.lane == axis {
		return func(r *runner) {
			r.each(outer, func() bool {
				acc.reset(1)
				for lo := range (extent + int64(r.width) - 1) / int64(r.width) {
					lo *= int64(r.width)
					n := min(int64(r.width), extent-lo)
					if s.Reverse {
						lo = extent - lo - n
					}
					r.at[axis] = lo
					r.step()
					acc.sweep(r.frame, int(n), s.Exclusive, s.Reverse)
					if !r.done(int(n)) {
						return false
					}
				}
				return true
			})
		}
	}
	return func(r *runner) {
		r.each(outer, func() bool {
			return r.blocks(func(n int) bool {
				acc.reset(n)
				for i := range extent {
					r.at[axis] = i
					if s.Reverse {
						r.at[axis] = extent - 1 - i
					}
					r.step()
					if s.Exclusive {
						acc.store(r.frame, n)
					}
					acc.fold(r.frame, n, false)
					if !s.Exclusive {
						acc.store(r.frame, n)
					}
					if !r.done(n) {
						return false
					}
				}
				return true
			})
		})
	}
}

func (e elems[T]) scan(c *compiler) scanner {
	return &sweeper[T]{e.folder(c), room[T](c)}
}

type sweeper[T tensor.Elem] struct {
	*folder[T]
	res []T
}

func (r *sweeper[T]) sweep(f *frame, n int, exclusive, reverse bool) {
	v, acc := r.v(f, n), r.acc[0]
	for i := range v {
		if reverse {
			i = n - 1 - i
		}
		next := r.op(acc, v[i])
		if r.res[i] = next; exclusive {
			r.res[i] = acc
		}
		acc = next
	}
	r.acc[0] = acc
	r.out(f, r.res[:n])
}
