package analysis

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Demand says which points of a sum of products count: all that reads them multiplies them by a mask, or chooses by one
// whether to read them.
type Demand struct {
	Cond  *ir.Scalar // over the axes of the stage: ir.Stage.Wanted
	Mask  *ir.Buffer
	Zeros *Zeros // of the mask
	Any   bool   // whatever is left out; otherwise a run is to look whether it is within ±ir.UnwantedBound
	Open  string // what is not proved of that, in words
}

// Demand goes back from the stages that read a sum of products to a mask that they all go by; nil: all of the sum
// counts, as far as is known. At points that the mask hides, what reads them gives the same for whatever is there as for
// zero, but for the sign of a zero.
func (c *CallFacts) Demand(s *ir.Stage) *Demand {
	if _, _, product := Factors(s); !product || s.Out().DType.IsComplex() || slices.Contains(c.Program.Results, s.Out()) {
		return nil
	}
	at := slices.Index(c.Program.Stages, s)
	var all *need
	for _, r := range c.Program.Stages[at+1:] {
		n := c.needOf(r, s)
		switch {
		case n == nil:
			return nil
		case n.load == nil:
		case n.mask == nil, all != nil && !same(all.cond, n.cond):
			return nil
		case all == nil:
			all = n
		default:
			all.any = all.any && n.any
		}
	}
	if all == nil {
		return nil
	}
	d := &Demand{Cond: all.cond, Mask: all.mask.Buf, Zeros: all.zeros, Any: all.any}
	if !d.Any {
		d.Open = "the sum of products of the others may be large"
		for _, b := range s.Reads() {
			if !c.Range(b).Finite() {
				d.Open = c.open(s, nil)
				break
			}
		}
	}
	return d
}

// need is what an expression needs of a sum.
type need struct {
	load  *ir.Scalar // of the sum; nil: the expression does not read it
	mask  *ir.Scalar // the load that tells which points are needed; nil: all are
	cond  *ir.Scalar // in the axes of the sum
	zeros *Zeros
	any   bool // at other points whatever is there makes no difference
}

// needOf is what a stage needs of a sum; nil: it is not followed.
func (c *CallFacts) needOf(r, s *ir.Stage) *need {
	b := s.Out()
	switch {
	case !slices.Contains(r.Reads(), b):
		return &need{}
	case r.Kind != ir.MapStage || len(r.Axes) != len(s.Axes) || len(r.Exprs) != 1:
		return nil
	}
	d := &demand{c: c, s: s, r: r}
	n := d.walk(r.Exprs[0])
	if n == nil || n.load == nil || n.mask == nil {
		return nil
	}
	return n
}

// demand goes through the expression of a stage that reads a sum.
type demand struct {
	c    *CallFacts
	s, r *ir.Stage
	axes map[*ir.Axis]*ir.Axis // of the stage, those of the sum
}

// walk is what an expression needs of the sum; nil: it is not followed.
func (d *demand) walk(x *ir.Scalar) *need {
	if x.Op == ir.OpLoad {
		return d.load(x)
	}
	parts := make([]*need, len(x.Args))
	var some *need
	for i, a := range x.Args {
		if parts[i] = d.walk(a); parts[i] == nil {
			return nil
		}
		switch n := parts[i]; {
		case n.load == nil:
		case some == nil:
			some = n
		case some.mask == nil || n.mask == nil || !same(some.cond, n.cond): // all of it, by one of them
			some = &need{load: n.load}
		default:
			some.any = some.any && n.any
		}
	}
	if some == nil {
		return &need{}
	}
	if some.mask != nil {
		return some
	}
	switch x.Op {
	case ir.OpMul:
		for i, p := range parts {
			if p.load == nil && parts[1-i].load != nil {
				return d.masked(x.Args[1-i], x.Args[i], parts[1-i])
			}
		}
	case ir.OpSelect:
		if chosen, other := parts[1].load != nil, parts[2].load != nil; parts[0].load == nil && chosen != other {
			n := parts[1]
			if other {
				n = parts[2]
			}
			if n := d.by(x.Args[0], other, n); n != nil {
				n.any = true
				return n
			}
		}
	}
	return some
}

// load is what a load needs: all, of the sum.
func (d *demand) load(x *ir.Scalar) *need {
	if x.Buf != d.s.Out() {
		for _, ix := range x.Args {
			if n := d.walk(ix); n == nil || n.load != nil {
				return nil
			}
		}
		return &need{}
	}
	axes := map[*ir.Axis]*ir.Axis{}
	for i, ix := range x.Args {
		if ix.Op != ir.OpAxis || axes[ix.Axis] != nil || !ix.Axis.Extent.Equal(d.s.Axes[i].Extent) {
			return nil
		}
		if d.axes != nil && d.axes[ix.Axis] != d.s.Axes[i] { // it is read in two ways
			return nil
		}
		axes[ix.Axis] = d.s.Axes[i]
	}
	d.axes = axes
	return &need{load: x}
}

// masked is what a product with something that does not read the sum needs: nothing where that is zero, as long as the
// other factor is finite.
func (d *demand) masked(x, by *ir.Scalar, n *need) *need {
	found := d.by(by, false, n)
	if found == nil {
		return n
	}
	if by.DType.IsInt() {
		found.any = true
		return found
	}
	within := func(r Interval) bool {
		e := d.c.ranges.ranger()
		e.load = func(y *ir.Scalar) Interval {
			if y.Buf == d.s.Out() {
				return r
			}
			return d.c.ranges.load(y)
		}
		return e.eval(x).Finite()
	}
	switch {
	case within(d.c.Range(d.s.Out()).Or(Exactly(0))): // which is there instead
		found.any = true
		return found
	case within(Interval{Lo: -ir.UnwantedBound, Hi: ir.UnwantedBound}):
		return found
	}
	return n
}

// test is the load whose elements tell whether an expression is zero, or false: where they are, or where they are not, if inverse;
// nil: there is none. compared says that it asks for nothing else.
func (d *demand) test(x *ir.Scalar) (load *ir.Scalar, inverse, compared bool) {
	for x = uncast(x); x.Op == ir.OpNot && x.DType == tensor.Bool; x = uncast(x.Args[0]) {
		inverse, compared = !inverse, true
	}
	if x.Op == ir.OpLoad {
		return x, inverse, compared
	}
	return d.c.nonzero(x), inverse != (x.Op == ir.OpEq), true
}

// by is what is needed where a mask, that goes by a load at the same positions that was there before the sum, is not zero, or
// where it is, if inverse; nil: it is no mask.
func (d *demand) by(x *ir.Scalar, inverse bool, n *need) *need {
	mask, not, compared := d.test(x)
	if mask == nil {
		return nil
	}
	inverse = inverse != not
	b := mask.Buf
	if b == d.s.Out() || len(mask.Args) == 0 || inverse && b.DType != tensor.Bool {
		return nil
	}
	if from := d.c.stage[b]; from != nil && slices.Index(d.c.Program.Stages, from) >= slices.Index(d.c.Program.Stages, d.s) {
		return nil
	}
	load := *mask
	load.Args = make([]*ir.Scalar, len(mask.Args))
	for i, ix := range mask.Args {
		a := d.axes[ix.Axis]
		if ix.Op != ir.OpAxis || a == nil || !b.Dims[i].Equal(a.Extent) {
			return nil
		}
		load.Args[i] = a.Ix()
	}
	z, zero := d.c.Zeros(b), "0"
	switch {
	case inverse:
		zero = "true"
	case b.DType == tensor.Bool:
		zero = "false"
	}
	switch {
	case z != nil && !inverse:
	case b.DType == tensor.Bool, (compared || b.DType.IsInt()) && d.c.input(b) != nil, b.DType.IsFloat() && d.c.gate(d.r, d.r.Exprs[0], b):
		z = &Zeros{Kind: Masked, Of: d.c.origin(b), Why: "where " + d.c.nameOf(b) + " is " + zero, Node: d.c.stmt.Place()}
	default:
		return nil
	}
	out := &need{load: n.load, mask: mask, zeros: z, cond: &load}
	switch {
	case inverse:
		out.cond = ir.Unary(ir.OpNot, &load)
	case b.DType != tensor.Bool:
		if b.DType.IsFloat() && b.DType.Bits() < 32 {
			out.cond = load.To(tensor.F32)
		}
		out.cond = ir.Binary(ir.OpNe, out.cond, out.cond.Const(0))
	}
	return out
}
