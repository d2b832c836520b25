package interp

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// reducer accumulates what a reduction computes, for as many points at once as there
// are lanes.
type reducer interface {
	// reset starts n accumulators.
	reset(n int)
	// fold takes in the next n values: along the lanes all into accumulator 0 in
	// order, otherwise one into each.
	fold(f *frame, n int, along bool)
	// store writes n accumulators.
	store(f *frame, n int)
}

// reduceCode walks over the results; for each block of them, or for each one where the
// lanes run along the innermost reduction axis, over the reduction axes in order.
func (c *compiler) reduceCode() func(r *runner) {
	s := c.Stage
	if m := s.Monoid; m == ir.ArgMax || m == ir.ArgMin {
		for i := range s.Red {
			if n := len(s.Axes) + i; c.extents[n] == 0 {
				c.fail("%s over nothing: a reduced axis is empty", m)
			}
		}
	}
	acc := classOf(s.Exprs[0].DType).reduce(c)
	outer := c.axesBut(c.lane)
	var red []int
	for i := range s.Red {
		if n := len(s.Axes) + i; n != c.lane {
			red = append(red, n)
		}
	}
	if c.lane >= len(s.Axes) {
		return func(r *runner) {
			r.each(outer, func() bool {
				acc.reset(1)
				ok := r.each(red, func() bool {
					return r.blocks(func(n int) bool {
						r.step()
						acc.fold(r.frame, n, true)
						return r.done(n)
					})
				})
				acc.store(r.frame, 1)
				return ok
			})
		}
	}
	return func(r *runner) {
		r.each(outer, func() bool {
			return r.blocks(func(n int) bool {
				acc.reset(n)
				ok := r.each(red, func() bool {
					r.step()
					acc.fold(r.frame, n, false)
					return r.done(n)
				})
				acc.store(r.frame, n)
				return ok
			})
		})
	}
}

func (e elems[T]) reduce(c *compiler) reducer { return e.folder(c) }

func (e floatClass[T]) reduce(c *compiler) reducer {
	x := c.Exprs
	switch c.Monoid {
	case ir.ArgMax, ir.ArgMin:
		return newExtreme[T](c)
	case ir.MeanVar:
		return &moments[T]{v: operand[T](c, x[0]), mean: room[T](c), m2: room[T](c),
			outs: [2]func(*frame, []T){store[T](c, c.Outs[0]), store[T](c, c.Outs[1])}}
	case ir.SoftmaxSum:
		if x[1].DType == tensor.F64 {
			return newSoftmaxSum[T, float64](c)
		}
		return newSoftmaxSum[T, float32](c)
	}
	return e.folder(c)
}

func (e intClass[T]) reduce(c *compiler) reducer {
	switch c.Monoid {
	case ir.ArgMax, ir.ArgMin:
		return newExtreme[T](c)
	}
	return e.folder(c)
}

// folder is the reducer of the plain monoids.
type folder[T tensor.Elem] struct {
	monoid[T]
	v   lanes[T]
	acc []T
	out func(f *frame, v []T)
}

func (e elems[T]) folder(c *compiler) *folder[T] {
	return &folder[T]{monoid: e.monoidFor(c), v: operand[T](c, c.Exprs[0]), acc: room[T](c), out: store[T](c, c.Out())}
}

func (r *folder[T]) reset(n int) { fill(r.acc[:n], r.identity) }

func (r *folder[T]) fold(f *frame, n int, along bool) {
	if along {
		r.acc[0] = r.total(r.acc[0], r.v(f, n))
		return
	}
	r.zip(r.acc[:n], r.acc[:n], r.v(f, n))
}

func (r *folder[T]) store(f *frame, n int) { r.out(f, r.acc[:n]) }

// extreme finds the greatest or least value and the position that goes with it, the
// first of equals; NaN counts as the extreme.
type extreme[T numbers] struct {
	v       lanes[T]
	pos     lanes[int64]
	better  func(v, best T) bool
	best    []T
	at      []int64
	started []bool
	outV    func(f *frame, v []T)
	outAt   func(f *frame, v []int64)
}

func newExtreme[T numbers](c *compiler) reducer {
	s := c.Stage
	better := func(v, best T) bool { return v > best || v != v && best == best }
	if s.Monoid == ir.ArgMin {
		better = func(v, best T) bool { return v < best || v != v && best == best }
	}
	return &extreme[T]{v: operand[T](c, s.Exprs[0]), pos: numberLanes(c, s.Exprs[1]), better: better,
		best: room[T](c), at: room[int64](c), started: room[bool](c),
		outV: store[T](c, s.Outs[0]), outAt: storeNumbers(c, s.Outs[1])}
}

func (r *extreme[T]) reset(n int) { clear(r.started[:n]) }

func (r *extreme[T]) fold(f *frame, n int, along bool) {
	v, pos := r.v(f, n), r.pos(f, n)
	for i := range n {
		to := i
		if along {
			to = 0
		}
		if !r.started[to] || r.better(v[i], r.best[to]) {
			r.started[to], r.best[to], r.at[to] = true, v[i], pos[i]
		}
	}
}

func (r *extreme[T]) store(f *frame, n int) {
	r.outV(f, r.best[:n])
	r.outAt(f, r.at[:n])
}

// numberLanes reads positions as int64.
func numberLanes(c *compiler, x *ir.Scalar) lanes[int64] {
	switch x.DType {
	case tensor.I64:
		return operand[int64](c, x)
	case tensor.I32:
		return map1(c, operand[int32](c, x), func(v int32) int64 { return int64(v) })
	}
	c.fail("a position is %s, it must be i32 or i64", x.DType)
	return none[int64]()
}

// storeNumbers writes positions.
func storeNumbers(c *compiler, b *ir.Buffer) func(f *frame, v []int64) {
	if b.DType == tensor.I64 {
		return store[int64](c, b)
	}
	out, narrow := store[int32](c, b), room[int32](c)
	return func(f *frame, v []int64) {
		for i, x := range v {
			narrow[i] = int32(x)
		}
		out(f, narrow[:len(v)])
	}
}

// moments gives mean and sum of squared deviations, one value at a time (Welford, "Note
// on a method for calculating corrected sums of squares and products", 1962).
type moments[T floats] struct {
	v        lanes[T]
	count    int64
	mean, m2 []T
	outs     [2]func(f *frame, v []T)
}

func (r *moments[T]) reset(n int) {
	r.count = 0
	clear(r.mean[:n])
	clear(r.m2[:n])
}

func (r *moments[T]) fold(f *frame, n int, along bool) {
	v := r.v(f, n)
	if !along {
		r.count++
	}
	for i, x := range v {
		to := i
		if along {
			to = 0
			r.count++
		}
		d := x - r.mean[to]
		r.mean[to] += d / T(r.count)
		r.m2[to] += T(d * (x - r.mean[to]))
	}
}

func (r *moments[T]) store(f *frame, n int) {
	r.outs[0](f, r.mean[:n])
	r.outs[1](f, r.m2[:n])
}

// softmaxSum gives the greatest score m, the sum of exp(score-m), and the sum of
// exp(score-m)*value, rescaling both sums when m grows (Milakov and Gimelshein,
// arXiv 1805.02867). While every score is -inf the sums are 0.
type softmaxSum[S, V floats] struct {
	score lanes[S]
	value lanes[V]
	top   []S
	sum   []V
	total []V
	outM  func(f *frame, v []S)
	outs  [2]func(f *frame, v []V)
}

func newSoftmaxSum[S, V floats](c *compiler) reducer {
	s := c.Stage
	return &softmaxSum[S, V]{score: operand[S](c, s.Exprs[0]), value: operand[V](c, s.Exprs[1]),
		top: room[S](c), sum: room[V](c), total: room[V](c),
		outM: store[S](c, s.Outs[0]), outs: [2]func(*frame, []V){store[V](c, s.Outs[1]), store[V](c, s.Outs[2])}}
}

func (r *softmaxSum[S, V]) reset(n int) {
	fill(r.top[:n], S(math.Inf(-1)))
	clear(r.sum[:n])
	clear(r.total[:n])
}

func (r *softmaxSum[S, V]) fold(f *frame, n int, along bool) {
	score, value := r.score(f, n), r.value(f, n)
	for i, s := range score {
		to := i
		if along {
			to = 0
		}
		m := max(r.top[to], s)
		if math.IsInf(float64(m), -1) {
			continue
		}
		if m != r.top[to] {
			scale := V(math.Exp(float64(r.top[to] - m)))
			r.sum[to] *= scale
			r.total[to] *= scale
			r.top[to] = m
		}
		e := V(math.Exp(float64(s - m)))
		r.sum[to] += e
		r.total[to] += V(e * value[i])
	}
}

func (r *softmaxSum[S, V]) store(f *frame, n int) {
	r.outM(f, r.top[:n])
	r.outs[0](f, r.sum[:n])
	r.outs[1](f, r.total[:n])
}
