package kernel

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/pitopt/pitopt/core/sym"
)

// Bound is a kernel for values of its program's symbols.
type Bound struct {
	*Kernel
	Numbers []int64 // Kernel.Sizes; of an F32 one, its bits
	Extents []int64 // of Ranges
	Scratch []int64 // bytes of each buffer that is scratch, 0 for others
	lens    []int64 // bytes of all buffers
	Point   float64 // operations on vectors for a point of the box, about
}

// Bind gives the kernel for values of the program's symbols. It is an error where an index
// can be out of bounds, or an inner loop is empty: then the kernel must not run.
func (k *Kernel) Bind(symbol func(string) (int64, bool)) (*Bound, error) {
	b := &Bound{Kernel: k, Numbers: make([]int64, len(k.Sizes)), Extents: make([]int64, len(k.Ranges)), Scratch: make([]int64, len(k.Buffers)), lens: make([]int64, len(k.Buffers))}
	var failed error
	eval := func(e sym.Expr) int64 {
		n, err := e.Eval(symbol)
		if err != nil && failed == nil {
			failed = err
		}
		return n
	}
	for i, s := range k.Sizes {
		n := eval(s.Expr)
		switch s.Kind {
		case F32:
			n = int64(floatBits(float32(n)))
		case F64:
			n = int64(math.Float64bits(float64(n)))
		case Divisor:
			if n < 1 || n > 1<<31 {
				return nil, fmt.Errorf("a division by %d", n)
			}
			n = divisor(uint64(n))
		}
		b.Numbers[i] = n
	}
	empty := false
	for i, r := range k.Ranges {
		b.Extents[i] = eval(r)
		empty = empty || b.Extents[i] <= 0
	}
	if empty || failed != nil {
		return b, failed
	}
	for _, l := range k.Loops {
		if n := eval(l); n <= 0 {
			return nil, fmt.Errorf("a loop inside is empty")
		}
	}
	for _, c := range k.Checks {
		lo, hi := eval(c.Const), eval(c.Const)
		for _, t := range c.Terms {
			if n := eval(t.Coef) * (eval(t.Extent) - 1); n < 0 {
				lo += n
			} else {
				hi += n
			}
		}
		if lo < 0 || hi >= eval(c.Dim) {
			return nil, fmt.Errorf("%s goes from %d to %d", c.Why, lo, hi)
		}
	}
	for _, n := range k.Steps {
		if s := b.Numbers[n]; max(s, -s) >= 1<<31/int64(4*k.Lanes) {
			return nil, fmt.Errorf("lanes lie %d elements apart", s)
		}
	}
	for i, m := range k.Buffers {
		if b.lens[i] = eval(m.Len) * int64(m.DType.Bits()) / 8; m.Scratch {
			b.Scratch[i] = b.lens[i]
		}
	}
	b.Point = float64(k.Work.Once)
	for _, p := range k.Work.Passes {
		n := float64(p.Ops) * max(1, float64(eval(p.Vector))/float64(k.Lanes))
		for _, e := range p.Extents {
			n *= float64(eval(e))
		}
		b.Point += n
	}
	return b, failed
}

// Bytes is how long a buffer is.
func (b *Bound) Bytes(buffer int) int64 { return b.lens[buffer] }

// divisor is how to divide by d, which is not 0 and 2^31 at most: a number below 2^31 times the low half, shifted by
// the high half (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994).
func divisor(d uint64) int64 {
	s := bits.Len64(d - 1)
	m := (1<<(31+s) + d - 1) / d
	return int64(m | uint64(31+s)<<32)
}

// Empty says whether the box has no points.
func (b *Bound) Empty() bool {
	for _, n := range b.Extents {
		if n <= 0 {
			return true
		}
	}
	return false
}

// Cut cuts the box into pieces of about most operations on vectors.
func (b *Bound) Cut(most float64) *Cut {
	c := &Cut{Bound: b, step: make([]int64, len(b.Extents)), count: 1}
	if b.Empty() {
		c.count = 0
		return c
	}
	block := b.block()
	inner := b.Point * float64(block)
	for i := len(b.Extents) - 1; i >= 0; i-- {
		one := inner // operations of a turn
		if i == b.vectorRange() {
			one = inner / float64(b.Extents[i])
		}
		if i == b.Inside-1 {
			inner /= float64(block)
			one = inner
		}
		c.step[i] = min(b.Extents[i], max(1, int64(most/one)))
		if i == b.vectorRange() { // whole lines of the cache
			line := int64(4 * b.Lanes)
			c.step[i] = min(b.Extents[i], (c.step[i]+line-1)/line*line)
		}
		if i == b.Inside-1 && c.step[i] < b.Extents[i] {
			c.step[i] = min(b.Extents[i], max(1, c.step[i]/insideTurns)*insideTurns)
		}
		if inner = one * float64(b.Extents[i]); c.step[i] < b.Extents[i] {
			most = 0 // loops outside are cut into single turns
		}
	}
	for i, s := range c.step {
		c.count *= (b.Extents[i] + s - 1) / s
	}
	return c
}

// Total is about how many operations on vectors the whole box takes.
func (b *Bound) Total() float64 {
	n := b.Point
	for i, e := range b.Extents {
		if i != b.vectorRange() {
			n *= float64(e)
		}
	}
	return n
}

// Least is about how many operations on vectors the smallest piece of the box takes.
func (b *Bound) Least() float64 {
	if i := b.vectorRange(); i >= 0 && !b.Empty() {
		return b.Point * float64(b.block()) * min(1, float64(4*b.Lanes)/float64(b.Extents[i]))
	}
	return b.Point * float64(b.block())
}

// insideTurns is how many turns of a loop inside of the vectors' one a piece has at least: so many that a processor sees in
// time that it goes along what it reads.
const insideTurns = 256

// block is how many turns of the loop inside of the vectors' one a piece has at least; 1: there is no such loop.
func (b *Bound) block() int64 {
	if b.Inside == 0 {
		return 1
	}
	return min(insideTurns, b.Extents[b.Inside-1])
}

// vectorRange is the range that is gone over by vectors, -1 where none is.
func (b *Bound) vectorRange() int {
	if len(b.Ranges) > 0 && b.VectorRange {
		return len(b.Ranges) - 1
	}
	return -1
}

// Cut is a box in pieces.
type Cut struct {
	*Bound
	step  []int64
	count int64
}

// Pieces is how many there are.
func (c *Cut) Pieces() int { return int(c.count) }

// Step is how long a piece is along a range.
func (c *Cut) Step(i int) int64 { return c.step[i] }

// Piece writes lo and hi of each range of piece i.
func (c *Cut) Piece(i int, ranges []int64) {
	for d := len(c.step) - 1; d >= 0; d-- {
		n := (c.Extents[d] + c.step[d] - 1) / c.step[d]
		at := int64(i) % n
		i /= int(n)
		ranges[2*d] = at * c.step[d]
		ranges[2*d+1] = min(c.Extents[d], (at+1)*c.step[d])
	}
}
