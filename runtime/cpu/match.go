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
	from  *table // where rows of A lie; nil: one behind the other

	kept      []int  // parameters of the program that B is made of; nil: it is made of something else, too
	keyB      string // tells what is packed of them
	keyFinite string // and whether all of it is finite
	rows      []int  // the parameter that A is, where B is made of something else; nil: it is none
	keyA      string
	align     bool        // columns of Out lie side by side
	half      x86.Weights // what is packed of B, where that is no f32: it is only widened

	rowLies bool // a row of A lies element by element of k, as it would be packed
	short   bool // factors are integers that fit i16, and are computed

	direct *direct // nil: it is computed in blocks
	sides  []side  // factors that may have many zeros
	wanted *wanted // which points of it are; nil: all
}

// loop is an axis of more than one position, or its runs, or the positions of a run of it; and the step it
// takes through A, B and Out.
type loop struct {
	axis      *ir.Axis
	runs      int64 // what the axis comes in: 1, or the loop is the runs of so many, or within: -1 times that
	extent    int64
	a, b, out int64
	inA, inB  bool // who uses it

	list []int64 // where positions are in B, instead of steps
}

// in is the step that a loop takes through an index.
func (l *loop) in(f linearIndex) int64 {
	one := f.k[along{l.axis, 1}]
	if l.runs > 1 {
		return l.runs*one + f.k[along{l.axis, l.runs}]
	}
	return one
}

// operand is a factor. Where it is a load, every axis takes part in its address linearly: it
// has a buffer and the address at the origin of all axes. Otherwise it is computed.
type operand struct {
	buf   *ir.Buffer // nil: it is computed
	base  int64
	step  map[along]int64 // of axes that it uses; 0 where it is computed
	index []linearIndex   // of buf
	pad   *box            // that is read instead; nil: loads are never outside

	expr   *ir.Scalar
	window any     // *interp.Window of expr; its axes are batch, rows (or columns), and k, in this order
	octets *octets // nil: its elements are not read where they lie
}

// match recognises a product of sizes that are worth its blocks.
func match(s *interp.Stage) (*product, bool) {
	f, why := recognise(s.Stage)
	if why != "" {
		return nil, false
	}
	of, from := f.tables(s)
	a, b := factor(s, f.a), factor(s, f.b)
	if from != nil {
		if a.buf != nil {
			a.step[along{f.a.table.row, 1}] = 0 // which goes along it by the table
		} else {
			from = nil
		}
	}
	p, ok := nest(s, a, b)
	if !ok { // runs of different lengths, or of a factor beside one that is computed
		of, from = nil, nil
		f.a.linear, f.b.linear = false, false
		a, b = factor(s, f.a), factor(s, f.b)
		p, ok = nest(s, a, b)
	}
	if ok && of != nil && (b.buf == nil || len(p.batch) > 0 || slices.ContainsFunc(p.m, func(l loop) bool { return l.axis != f.b.table.row })) { // it is computed
		of, from = nil, nil
		f.a.linear, f.b.linear = f.a.linear && !f.gathered, false
		a, b = factor(s, f.a), factor(s, f.b)
		p, ok = nest(s, a, b)
	}
	if ok {
		p.table, p.from = of, from
	}
	if ok && p.table == nil && p.turned() { // factors commute
		p, ok = nest(s, b, a)
	}
	if !ok {
		return nil, false
	}
	if p.direct = p.directly(s); p.direct == nil {
		p.unstride(s)
	}
	work := times(total(p.m), total(p.n), total(p.k))
	small := total(p.n) < nr || work < 512 && p.direct == nil || times(work, total(p.batch)) < 512 // the closures are as fast
	if small || times(work, total(p.batch)) >= far {
		return nil, false
	}
	if p.short = p.a.short() && p.b.short(); p.short {
		p.a.octets, p.b.octets = octetsOf(s, p.a.expr, p.batch, p.m, p.k), octetsOf(s, p.b.expr, p.batch, p.n, p.k)
	}
	p.rowLies = p.a.buf != nil
	step := int64(1)
	for _, l := range slices.Backward(p.k) {
		p.rowLies = p.rowLies && l.a == step
		step *= l.extent
	}
	p.a.through(s, p.batch, p.m, p.k)
	p.b.through(s, p.batch, p.n, p.k)
	return p, true
}

// short says whether a factor is computed, and integers that fit i16.
func (o *operand) short() bool {
	return o.buf == nil && fits16(o.expr)
}

// tables are those of a product by groups, with the sizes of a stage; nil where there is none. A
// factor whose table is none is computed.
func (f *form) tables(s *interp.Stage) (of, from *table) {
	if f.grouped {
		of = f.b.table.at(s, f.b.buf)
		f.b.linear = of != nil
	}
	if f.gathered {
		if of != nil {
			from = f.a.table.at(s, f.a.buf)
		}
		f.a.linear = from != nil
	}
	return of, from
}

// turned says whether a product is better computed with its factors in the other order: columns are
// to lie side by side in Out, and there are to be enough of them.
func (p *product) turned() bool {
	rows, cols := total(p.m), total(p.n)
	if p.a.buf == nil || p.b.buf == nil {
		return p.b.pad == nil && p.a.pad == nil && cols < nr
	}
	beside := func(l loop) bool { return l.out == 1 }
	switch {
	case cols >= fewColumns && slices.ContainsFunc(p.n, beside):
		return false
	case rows >= fewColumns && slices.ContainsFunc(p.m, beside):
		return true
	}
	return min(rows, manyColumns) > min(cols, manyColumns)
}

// fewColumns leave a block about half empty, manyColumns fill it.
const fewColumns, manyColumns = 12, 32

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

// nest sorts the axes by the factors that use them. It is false where axes do not come apart.
func nest(s *interp.Stage, a, b operand) (*product, bool) {
	p := &product{a: a, b: b, out: s.Out()}
	stride := int64(1)
	for i := len(s.Axes) - 1; i >= 0; i-- {
		n, ok := extent(s, s.Axes[i])
		if !ok || n != s.Shape(p.out)[i] {
			return nil, false
		}
		list, ok := p.loops(s.Axes[i], n, stride)
		if !ok {
			return nil, false
		}
		for _, l := range slices.Backward(list) {
			to := &p.batch
			switch {
			case l.inA && !l.inB:
				to = &p.m
			case l.inB && !l.inA:
				to = &p.n
			}
			*to = append([]loop{l}, *to...)
		}
		stride *= n
	}
	for _, ax := range s.Red {
		n, ok := extent(s, ax)
		if !ok {
			return nil, false
		}
		list, ok := p.loops(ax, n, 0)
		if !ok {
			return nil, false
		}
		p.k = append(p.k, list...)
	}
	return p, true
}

// loops are those of an axis: one, none where it has one position, or two where a factor goes by runs
// of it.
func (p *product) loops(ax *ir.Axis, n, stride int64) (list []loop, ok bool) {
	runs := int64(1)
	for _, o := range []*operand{&p.a, &p.b} {
		for x := range o.step {
			if x.axis != ax || x.runs == 1 {
				continue
			}
			if runs != 1 && runs != x.runs || n%x.runs != 0 {
				return nil, false
			}
			runs = x.runs
		}
	}
	one, run := along{ax, 1}, along{ax, runs}
	if runs == 1 {
		l := loop{axis: ax, runs: 1, extent: n, a: p.a.step[one], b: p.b.step[one], out: stride}
		_, l.inA = p.a.step[one]
		_, l.inB = p.b.step[one]
		list = []loop{l}
	} else {
		if p.a.buf == nil || p.b.buf == nil {
			return nil, false
		}
		list = []loop{
			{axis: ax, runs: runs, extent: n / runs, a: runs*p.a.step[one] + p.a.step[run], b: runs*p.b.step[one] + p.b.step[run], out: runs * stride},
			{axis: ax, runs: -runs, extent: runs, a: p.a.step[one], b: p.b.step[one], out: stride},
		}
		for i := range list {
			list[i].inA, list[i].inB = list[i].a != 0, list[i].b != 0
		}
	}
	return slices.DeleteFunc(list, func(l loop) bool { return l.extent == 1 }), true
}

func uses(o operand, a *ir.Axis) bool {
	for x := range o.step {
		if x.axis == a {
			return true
		}
	}
	return false
}

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
	if len(list) == 1 {
		return min(list[0].extent, far)
	}
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
	o := operand{expr: a.expr, step: map[along]int64{}}
	a.expr.Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpAxis {
			o.step[along{x.Axis, 1}] = 0
		}
		return true
	})
	return o
}

// loaded is a factor that is read at addresses that are linear in the axes of its stage; false
// where it is none with these sizes.
func loaded(s *interp.Stage, a access) (operand, bool) {
	o := operand{buf: a.buf, step: map[along]int64{}}
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
	b := newBox(shape, s.Room(o.buf))
	inside, size := true, int64(1)
	for i, f := range forms {
		low, high, ok := f.reach(s)
		if !ok {
			return o, false
		}
		least, most := f.c+low, f.c+high
		if least < 0 && !lower[i] || most >= shape[i] && !upper[i] { // out of range: who computes it says so
			return o, false
		}
		b.from[i], b.dims[i].size = least, most-least+1
		size = times(size, b.dims[i].size)
		inside = inside && least >= 0 && most < shape[i]
	}
	if !inside {
		if size > 1<<16+4*times(shape...) {
			return o, false // mostly border: not worth a copy
		}
		b.layout()
		o.pad = b
	}
	o.index = forms
	for i, d := range b.dims {
		c, stride := forms[i].c, d.step
		if o.pad != nil {
			c, stride = c-b.from[i], d.stride
		}
		o.base += c * stride
		for x, k := range forms[i].k {
			o.step[x] += k * stride
		}
	}
	return o, true
}

// reach is how far an index goes below and above its constant; false where there is no position,
// or an axis does not come apart.
func (f linearIndex) reach(s *interp.Stage) (low, high int64, ok bool) {
	add := func(k, n int64) bool {
		by, ok := mul(k, n-1)
		low, high = low+min(by, 0), high+max(by, 0)
		return ok
	}
	for x, k := range f.k {
		n, ok := extent(s, x.axis)
		if !ok || n < 1 || n%x.runs != 0 {
			return 0, 0, false
		}
		one, both := f.k[along{x.axis, 1}], false
		for y := range f.k {
			both = both || y.axis == x.axis && y != x
		}
		switch {
		case x.runs > 1:
			ok = add(x.runs*one+k, n/x.runs) && add(one, x.runs)
		case !both:
			ok = add(k, n)
		}
		if !ok {
			return 0, 0, false
		}
	}
	return low, high, true
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
