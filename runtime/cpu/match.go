package cpu

import (
	"maps"
	"slices"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// product is a stage that sums products of two factors, Out[b, m, n] = sum(k) A * B: matrix
// products of any layout, batched or not, and convolutions, whose rows are just another way
// to step through the operand. Axes that both factors use are batch (spatial) or k (reduced);
// those that one factor uses are rows m, of A, or columns n, of B.
type product struct {
	a, b  operand
	out   *ir.Buffer
	batch []loop
	m, n  []loop // spatial loops of A alone, of B alone
	k     []loop
	table *table // nil: all rows are multiplied by the same B

	kept  []int       // parameters of the program that B is made of; nil: it is made of something else, too
	keyB  string      // tells what is packed of them
	align bool        // columns of Out lie side by side
	half  x86.Weights // what is packed of B, where that is no f32: it is only widened
}

// loop is an axis of more than one position, and the step it takes through A, B and Out.
type loop struct {
	axis      *ir.Axis
	extent    int64
	a, b, out int64
	inB       bool // B uses it
}

// operand is a factor. Where it is a load, every axis takes part in its address linearly: it
// has a buffer and the address at the origin of all axes. Otherwise it is computed.
type operand struct {
	buf  *ir.Buffer // nil: it is computed
	base int64
	step map[*ir.Axis]int64 // of axes that it uses; 0 where it is computed
	pad  *padding           // nil: loads are never outside

	expr   *ir.Scalar
	window any // *interp.Window of expr; its axes are batch, rows (or columns), and k, in this order
}

// padding says that a load is guarded: outside the operand it counts as 0. lo and size
// are the range of positions along each dim that is read.
type padding struct{ lo, size []int64 }

// match recognises a product of sizes that are worth its blocks.
func match(s *interp.Stage) (*product, bool) {
	f, why := recognise(s.Stage)
	if why != "" {
		return nil, false
	}
	a, b := factor(s, f.a), factor(s, f.b)
	p, ok := nest(s, a, b)
	if ok && f.grouped && b.buf != nil {
		if p.table, ok = f.b.table.at(s, b.buf, total(p.m)); !ok || len(p.batch) > 0 || len(p.m) > 1 {
			f.b.linear = false // it is computed
			b = factor(s, f.b)
			p, ok = nest(s, a, b)
		}
	}
	if ok && p.table == nil && (b.pad != nil || a.pad == nil && total(p.n) < nr) { // factors commute
		p, ok = nest(s, b, a)
	}
	if !ok || p.b.pad != nil {
		return nil, false
	}
	work := times(total(p.m), total(p.n), total(p.k))
	small := total(p.n) < nr || work < 512 || total(p.batch) < 1 // the closures are as fast
	if small || times(work, total(p.batch)) >= far {
		return nil, false
	}
	p.a.through(s, p.batch, p.m, p.k)
	p.b.through(s, p.batch, p.n, p.k)
	return p, true
}

// through makes the window that a factor is computed through.
func (o *operand) through(s *interp.Stage, batch, own, k []loop) {
	if o.buf != nil {
		return
	}
	var axes, lanes []*ir.Axis
	for _, l := range slices.Concat(batch, own, k) {
		axes = append(axes, l.axis)
	}
	for _, nest := range [][]loop{own, k} {
		if len(nest) > 0 {
			lanes = append(lanes, nest[len(nest)-1].axis)
		}
	}
	for _, ax := range s.AllAxes() { // of one position
		if uses(*o, ax) && !slices.Contains(axes, ax) {
			axes = append(axes, ax)
		}
	}
	switch o.expr.DType {
	case tensor.F32:
		o.window = interp.NewWindow[float32](s, o.expr, axes, lanes)
	case tensor.F64:
		o.window = interp.NewWindow[float64](s, o.expr, axes, lanes)
	default:
		o.window = interp.NewWindow[int32](s, o.expr, axes, lanes)
	}
}

// nest sorts the axes by the factors that use them.
func nest(s *interp.Stage, a, b operand) (*product, bool) {
	p := &product{a: a, b: b, out: s.Out()}
	stride := int64(1)
	for i := len(s.Axes) - 1; i >= 0; i-- {
		ax := s.Axes[i]
		n, ok := extent(s, ax)
		if !ok || n != s.Shape(p.out)[i] {
			return nil, false
		}
		l := []loop{{ax, n, a.step[ax], b.step[ax], stride, uses(b, ax)}}
		if n == 1 {
			continue
		}
		switch inA, inB := uses(a, ax), uses(b, ax); {
		case inA && !inB:
			p.m = append(l, p.m...)
		case inB && !inA:
			p.n = append(l, p.n...)
		default:
			p.batch = append(l, p.batch...)
		}
		stride *= n
	}
	for _, ax := range s.Red {
		n, ok := extent(s, ax)
		if !ok {
			return nil, false
		}
		if n != 1 {
			p.k = append(p.k, loop{ax, n, a.step[ax], b.step[ax], 0, uses(b, ax)})
		}
	}
	return p, true
}

func uses(o operand, a *ir.Axis) bool { _, ok := o.step[a]; return ok }

// extent is the extent of an axis; false for one that is not moderate.
func extent(s *interp.Stage, a *ir.Axis) (int64, bool) {
	n, err := a.Extent.Eval(s.Symbol)
	return n, err == nil && moderate(n)
}

// far bounds the numbers in addresses: with less, nothing on the way overflows.
const far = 1 << 40

func moderate(n int64) bool { return -far <= n && n <= far }

// times is a product of numbers that are not negative, far at most.
func times(list ...int64) int64 {
	p := 1.0
	for _, n := range list {
		p *= float64(n)
	}
	return int64(min(p, far))
}

// total is the number of positions of a nest of loops, far at most.
func total(list []loop) int64 {
	n := int64(1)
	for _, l := range list {
		n = times(n, l.extent)
	}
	return n
}

// factor is a factor with the sizes of its stage.
func factor(s *interp.Stage, a access) operand {
	if a.linear {
		if o, ok := loaded(s, a); ok {
			return o
		}
	}
	o := operand{expr: a.expr, step: map[*ir.Axis]int64{}}
	a.expr.Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpAxis {
			o.step[x.Axis] = 0
		}
		return true
	})
	return o
}

// loaded is a factor that is read at addresses that are linear in the axes of its stage; false
// where it is none with these sizes.
func loaded(s *interp.Stage, a access) (operand, bool) {
	o := operand{buf: a.buf, step: map[*ir.Axis]int64{}}
	shape := s.Shape(o.buf)
	forms := make([]linearIndex, len(shape))
	for i, ix := range a.index {
		f, ok := ix.at(s)
		if !ok {
			return o, false
		}
		forms[i] = f
	}
	lower, upper := make([]bool, len(shape)), make([]bool, len(shape))
	if !borders(s, a.guards, forms, shape, lower, upper) {
		return o, false
	}
	lo, size := make([]int64, len(shape)), make([]int64, len(shape))
	inside := true
	for i, f := range forms {
		least, most := f.c, f.c
		for ax, k := range f.k {
			n, ok := extent(s, ax)
			reach, ok2 := mul(k, n-1)
			if !ok || !ok2 || n < 1 {
				return o, false
			}
			least += min(reach, 0)
			most += max(reach, 0)
		}
		if least < 0 && !lower[i] || most >= shape[i] && !upper[i] { // out of range: who computes it says so
			return o, false
		}
		lo[i], size[i] = least, most-least+1
		inside = inside && least >= 0 && most < shape[i]
	}
	if !inside {
		if times(size...) > 1<<16+4*times(shape...) {
			return o, false // mostly border: not worth a copy
		}
		o.pad = &padding{lo, size}
	}
	room := s.Room(o.buf)
	if o.pad != nil {
		room = size
	}
	stride := int64(1)
	for i := len(room) - 1; i >= 0; i-- {
		c := forms[i].c
		if o.pad != nil {
			c -= lo[i]
		}
		o.base += c * stride
		for ax, k := range forms[i].k {
			o.step[ax] += k * stride
		}
		stride *= room[i]
	}
	return o, true
}

// borders says whether guards compare a load's own indices with 0 and with the extents of
// their dims. lower and upper tell which of these there are: outside of one of them the
// condition fails, inside of all it holds.
func borders(s *interp.Stage, guards []guard, forms []linearIndex, shape []int64, lower, upper []bool) bool {
	for _, g := range guards {
		of, ok := g.of.at(s)
		bound, ok2 := g.bound.at(s)
		i := slices.IndexFunc(forms, func(f linearIndex) bool { return f.c == of.c && maps.Equal(f.k, of.k) })
		if !ok || !ok2 || i < 0 || len(bound.k) > 0 {
			return false
		}
		if g.below {
			upper[i] = true
			ok = bound.c == shape[i]
		} else {
			lower[i] = true
			ok = bound.c == 0
		}
		if !ok {
			return false
		}
	}
	return true
}

// mul multiplies moderate numbers; it is false where the product is none.
func mul(a, b int64) (int64, bool) {
	p := float64(a) * float64(b)
	return a * b, -far <= p && p <= far
}
