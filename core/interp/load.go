package interp

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// check says that an index must lie in 0 .. dim-1. Where it is regular, testing the
// first and the last lane tests all.
type check struct {
	ix     *address
	dim    int64
	number int // which index it is
}

// strides are the steps of a row-major tensor, in elements.
func strides(shape []int64) []int64 {
	out := make([]int64, len(shape))
	n := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = n
		n *= shape[i]
	}
	return out
}

// flat is the address of an index in a row-major tensor.
func (c *compiler) flat(shape []int64, index []form) form {
	var f form
	for i, step := range strides(shape) {
		f = f.plus(index[i], step)
	}
	return c.join(f)
}

// checks compiles what must be tested of an index; where its range is known to be
// right that is nothing.
func (c *compiler) checks(shape []int64, index []*ir.Scalar) []check {
	var out []check
	for i, x := range index {
		if f := c.formOf(x); !c.span(f).within(shape[i]) {
			out = append(out, check{c.addressOf(f), shape[i], i})
		}
	}
	return out
}

// violation tests the index for n lanes and gives a value of it that is out of range.
func (k *check) violation(f *frame, n int, scratch []int64) (at int64, bad bool) {
	var lo, hi int64
	if k.ix.regular() {
		lo = k.ix.start(f)
		hi = lo + int64(n-1)*k.ix.step
	} else {
		k.ix.fill(f, scratch[:n])
		lo, hi = slices.Min(scratch[:n]), slices.Max(scratch[:n])
	}
	switch {
	case min(lo, hi) < 0:
		return min(lo, hi), true
	case max(lo, hi) >= k.dim:
		return max(lo, hi), true
	}
	return 0, false
}

// load reads a buffer.
func load[T tensor.Elem](c *compiler, x *ir.Scalar) lanes[T] {
	from, checks, at := access[T](c, x.Buf), c.checks(c.Shape(x.Buf), x.Args), c.addressOf(c.loadForm(x))
	out, scratch, regular := room[T](c), room[int64](c), at.regular()
	return func(f *frame, n int) []T {
		for i := range checks {
			k := &checks[i]
			if v, bad := k.violation(f, n, scratch); bad {
				f.fail(c.errorf("index %d of a load from %s is %d, its dim is %d", k.number, x.Buf.Name, v, k.dim))
				clear(out)
				return out[:n]
			}
		}
		if regular {
			return from.gather(at.start(f), at.step, out[:n])
		}
		at.fill(f, scratch[:n])
		return from.pick(scratch[:n], out)
	}
}
