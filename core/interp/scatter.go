package interp

import "github.com/pitopt/pitopt/core/ir"

// scatter compiles the writing of updates; Out holds Base already. Updates come in
// index order, which decides which of several to one place is the last.
func (e elems[T]) scatter(c *compiler) func(f *frame, n int) {
	s := c.Stage
	shape := c.Shape(s.Out())
	index := make([]form, len(s.Index))
	for i, x := range s.Index {
		index[i] = c.formOf(x)
	}
	to, v := access[T](c, s.Out()), operand[T](c, s.Exprs[0])
	checks, at, scratch := c.checks(shape, s.Index), c.addressOf(c.flat(shape, index)), room[int64](c)
	op, zip := func(_, v T) T { return v }, func(out, _, v []T) { copy(out, v) }
	if s.Monoid != ir.Last {
		m := e.monoidFor(c)
		op, zip = m.op, m.zip
	}
	beside := at.regular() && at.step == 1 && to.coded == nil // as rows are, which go somewhere as a whole
	return func(f *frame, n int) {
		for i := range checks {
			if w, bad := checks[i].violation(f, n, scratch); bad {
				f.fail(c.errorf("index %d of a scatter to %s is %d, its dim is %d", checks[i].number, s.Out().Name, w, checks[i].dim))
				return
			}
		}
		v := v(f, n)
		if beside {
			p := at.start(f)
			out := to.direct[p : p+int64(n)]
			zip(out, out, v)
			return
		}
		at.fill(f, scratch[:n])
		for i, p := range scratch[:n] {
			to.set(p, op(to.get(p), v[i]))
		}
	}
}
