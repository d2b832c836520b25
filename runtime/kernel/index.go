package kernel

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Indices. What is linear in the axes is an address that grows from loop to loop, and what bounds it can be
// told before a call. Any other index is computed: as a single number where all lanes have the same, as a
// vector otherwise. It is held against its dim by the kernel itself, as is any index of a load that a
// condition guards: where the dim is exceeded nothing is read, and where the load is
// evaluated all the same the call has failed.

// flat is the part of an address in a buffer, in elements, that is linear in the axes; rest are the dims whose
// indices are not.
func flat(b *ir.Buffer, index []*ir.Scalar) (f analysis.Affine, rest []int) {
	dims := b.RoomDims()
	step := sym.Const(1)
	for i := len(dims) - 1; i >= 0; i-- {
		if g, ok := analysis.AffineOf(index[i]); ok {
			f = plus(f, g, step)
		} else {
			rest = append(rest, i)
		}
		step = step.Mul(dims[i])
	}
	return f, rest
}

// plus is f + k*g.
func plus(f, g analysis.Affine, k sym.Expr) analysis.Affine {
	f.C = f.C.Add(g.C.Mul(k))
	for _, t := range g.Terms {
		f.Terms = append(f.Terms, analysis.Term{Axis: t.Axis, K: t.K.Mul(k)})
	}
	return f
}

// coef is the step that an address takes along an axis.
func coef(f analysis.Affine, a *ir.Axis) (c sym.Expr) {
	for _, t := range f.Terms {
		if t.Axis == a {
			c = c.Add(t.K)
		}
	}
	return c
}

// whole says whether an index is an axis that is as long as the dim, or the one position of a dim of one.
func whole(x *ir.Scalar, dim sym.Expr) bool {
	f, ok := analysis.AffineOf(x)
	if !ok || !f.C.IsInt(0) {
		return false
	}
	return len(f.Terms) == 0 && dim.IsInt(1) || len(f.Terms) == 1 && f.Terms[0].K.IsInt(1) && f.Terms[0].Axis.Extent.Equal(dim)
}

// alone finds the axes whose positions a stage asks for by themselves, which are loops of their own.
func alone(st *stage) map[*ir.Axis]bool {
	out := map[*ir.Axis]bool{}
	seen := map[*ir.Scalar][2]bool{}
	var in func(x *ir.Scalar, guarded bool)
	in = func(x *ir.Scalar, guarded bool) {
		if s := seen[x]; s[b2i(guarded)] {
			return
		} else {
			s[b2i(guarded)] = true
			seen[x] = s
		}
		switch {
		case x.Op == ir.OpAxis:
			out[x.Axis] = true
		case x.Op == ir.OpGuard:
			in(x.Args[0], guarded)
			in(x.Args[1], true)
			in(x.Args[2], true)
		case x.Op == ir.OpLoad:
			for i, ix := range x.Args {
				if _, ok := analysis.AffineOf(ix); !ok || guarded && !whole(ix, x.Buf.Dims[i]) {
					in(ix, guarded)
				}
			}
		default:
			for _, a := range x.Args {
				in(a, guarded)
			}
		}
	}
	for _, e := range st.Exprs {
		in(e, false)
	}
	if st.Kind == ir.ScatterStage {
		in(ir.Load(st.Out(), st.Index...), false)
	}
	return out
}

// place is where an index lies: in the lanes as access says, some elements behind an address.
type place struct {
	addr, ix *Value
	access   Access
	n        int64
	mask     *Value // lanes that have an element; nil: all
	within   []Within
}

// at is where an index of the stage that is lowered lies.
func (l *lowering) at(b *ir.Buffer, index []*ir.Scalar) place {
	m := l.buffer(b)
	p := place{addr: l.emit(&Value{Op: OpBase, Kind: Addr, Buf: m})}
	dims, index := l.dims(l.st, m, index)
	var f analysis.Affine
	var offset *Value // in lanes
	var reach []Check // of what it is
	step := sym.Const(1)
	room := b.RoomDims()
	if m.Scratch {
		room = dims
	}
	for i := len(dims) - 1; i >= 0; i-- {
		x, dim := index[i], dims[i]
		g, linear := analysis.AffineOf(x)
		switch v := l.single(x, linear && (l.guard == nil || whole(x, dim))); {
		case linear && (l.guard == nil || whole(x, dim)):
			f = plus(f, g, step)
		case v != nil:
			if !l.bounded(x, dim) {
				in := l.op(OpBelow, Int, v, l.size(dim, Int))
				l.must(l.op(OpNe, Mask, l.splat(in, I32), l.i32(0)), x)
			}
			l.k.Loops = append(l.k.Loops, dim)
			p.addr = l.index(p.addr, l.mulInt(l.op(OpClamp, Int, v, l.size(dim, Int)), l.size(step, Int)))
		default:
			v := l.value(x)
			below := l.below(v, dim)
			if !l.bounded(x, dim) {
				l.must(below, x)
			}
			if p.mask == nil {
				p.mask = below
			} else {
				p.mask = l.op(OpAnd, Mask, p.mask, below)
			}
			p.within = append(p.within, Within{v, below, step})
			if linear {
				f = plus(f, g, step)
				break
			}
			if !step.IsInt(1) {
				v = l.op(OpMul, v.Kind, v, l.splat(l.sized(step, v.Kind), v.Kind))
			}
			reach = spread(reach, []Check{{Terms: []Term{{step, dim}}}}, 1)
			offset = l.sum(offset, v)
		}
		step = step.Mul(room[i])
	}
	p.addr = l.index(p.addr, l.size(f.C, Int))
	along := func(levels []*level, axes []*ir.Axis) {
		for _, v := range levels {
			if c := coef(f, axes[v.last]); !c.IsInt(0) {
				p.addr = l.index(p.addr, l.mulInt(v.at, l.size(c, Int)))
			}
		}
	}
	along(l.rowLevels, l.rowAxes(l.st))
	inner := l.fused.inner(l.st)
	last := len(l.inner) - 1
	if last >= 0 {
		along(l.inner[:last], inner)
	}
	if l.red != nil {
		along(l.red, l.st.red)
	}
	p.ix, p.access = l.int(0), One
	var c, extent sym.Expr // of the lanes
	if last >= 0 {
		c, extent = coef(f, inner[l.inner[last].last]), l.inner[last].extent
	}
	switch {
	case offset != nil:
		p.access, p.ix = Listed, offset
		if !c.IsInt(0) {
			at := l.op(OpLane, I32, l.inner[last].at)
			l.fits([]Check{{Terms: []Term{{sym.Const(1), extent}}}}, "a position")
			if !c.IsInt(1) {
				at = l.op(OpMul, I32, at, l.splat(l.sized(c, I32), I32))
			}
			reach = spread(reach, []Check{{Terms: []Term{{c, extent}}}}, 1)
			p.ix = l.sum(offset, at)
		}
		if p.ix.Kind == I32 {
			l.fits(reach, "the address of an index of "+b.Name)
		}
	case c.IsInt(0) && p.mask != nil: // some lanes read nothing
		p.ix, p.access = l.i32(0), Listed
	case c.IsInt(0):
	case c.IsInt(1):
		p.ix, p.access = l.inner[last].at, Contiguous
	default:
		p.n, p.access = l.sizeNumber(c, Int), Strided
		if !slices.Contains(l.k.Steps, p.n) {
			l.k.Steps = append(l.k.Steps, p.n)
		}
		p.addr = l.index(p.addr, l.mulInt(l.inner[last].at, l.size(c, Int)))
	}
	return p
}

// dims are those that an address in memory has, and the indices along them: scratch has no rows.
func (l *lowering) dims(st *stage, m *Buffer, index []*ir.Scalar) (dims []sym.Expr, ix []*ir.Scalar) {
	if !m.Scratch {
		return m.Of.Dims, index
	}
	n := 0
	for i, d := range m.Of.Dims {
		if d.IsInt(1) {
			continue
		}
		if n >= l.rows {
			dims, ix = append(dims, d), append(ix, index[i])
		}
		n++
	}
	return dims, ix
}

// sum adds vectors of integers, nil: nothing.
func (l *lowering) sum(x, y *Value) *Value {
	if x == nil {
		return y
	}
	x, y = l.alike(x, y)
	return l.op(OpAdd, x.Kind, x, y)
}

// must says that the call fails where an index is out of its dim, in lanes in which it is asked for.
func (l *lowering) must(below *Value, x *ir.Scalar) {
	if l.guard != nil {
		below = l.op(OpOr, Mask, l.op(OpNot, Mask, l.guard), below)
	}
	l.emit(&Value{Op: OpMust, Args: []*Value{below}})
	for _, s := range []*ir.Scalar{x, l.condition} {
		if s != nil {
			l.noteLoads(s)
		}
	}
}

// noteLoads notes what the values of an expression that a failure depends on are read from.
func (l *lowering) noteLoads(x *ir.Scalar) {
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpLoad && !l.decides[y.Buf] {
			l.decides[y.Buf] = true
			if j, ok := l.of[y.Buf]; ok {
				for _, e := range l.list[j].Exprs {
					l.noteLoads(e)
				}
			}
		}
		return true
	})
}

// single computes an integer or truth value (1 or 0) that is the same in all lanes as one number; nil: it is not, or
// is of something else. skip says that it is not asked for.
func (l *lowering) single(x *ir.Scalar, skip bool) (v *Value) {
	if skip || x.DType != tensor.I64 && x.DType != tensor.Bool {
		return nil
	}
	if v, ok := l.singles[x]; ok {
		return v
	}
	defer func() { l.singles[x] = v }()
	if e, ok := x.Symbolic(); ok {
		return l.size(e, Int)
	}
	args := func() (out []*Value) {
		for _, a := range x.Args {
			v := l.single(a, false)
			if v == nil {
				return nil
			}
			out = append(out, v)
		}
		return out
	}
	switch x.Op {
	case ir.OpAxis:
		if p := l.position(x.Axis); p != nil && !l.isLane(x.Axis) {
			return p
		}
	case ir.OpAdd, ir.OpMul:
		if a := args(); a != nil {
			if x.Op == ir.OpAdd {
				return l.addInt(a[0], a[1])
			}
			return l.mulInt(a[0], a[1])
		}
	case ir.OpSub:
		if a := args(); a != nil {
			return l.addInt(a[0], l.mulInt(a[1], l.int(-1)))
		}
	case ir.OpMin, ir.OpMax:
		if a := args(); a != nil && x.DType == tensor.I64 {
			return l.op(OpSelect, Int, l.op(OpLt, Int, a[0], a[1]), a[b2i(x.Op == ir.OpMax)], a[b2i(x.Op == ir.OpMin)])
		}
	case ir.OpSelect:
		if a := args(); a != nil {
			return l.op(OpSelect, Int, a...)
		}
	case ir.OpAnd, ir.OpOr:
		if a := args(); a != nil && x.DType == tensor.Bool {
			return l.op(OpSelect, Int, a[0], a[b2i(x.Op == ir.OpAnd)], a[b2i(x.Op == ir.OpOr)])
		}
	case ir.OpFloorDiv, ir.OpMod, ir.OpDiv, ir.OpRem:
		if l.single(x.Args[0], false) != nil && x.DType == tensor.I64 {
			return l.divide(x, Int)
		}
	case ir.OpCast:
		if a := x.Args[0]; x.DType == tensor.I64 && a.DType == tensor.I32 && a.Op == ir.OpLoad {
			return l.singleLoad(a)
		}
	case ir.OpLoad:
		if x.DType == tensor.I64 {
			return l.singleLoad(x)
		}
	}
	if x.Op.Compares() && x.Args[0].DType == tensor.I64 {
		if a := args(); a != nil {
			return l.op(comparison[x.Op], Int, a...)
		}
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// singleLoad loads one integer.
func (l *lowering) singleLoad(x *ir.Scalar) *Value {
	if !l.inMemory(l.st, x) || l.varies(x) {
		return nil
	}
	p := l.at(x.Buf, x.Args)
	if p.access != One {
		return nil
	}
	return l.emit(&Value{Op: OpLoad, Kind: Int, Args: []*Value{p.addr, p.ix}, Buf: p.addr.Buf, Access: One})
}

// varies says whether an expression may differ between lanes.
func (l *lowering) varies(x *ir.Scalar) (v bool) {
	x.Walk(func(y *ir.Scalar) bool {
		switch y.Op {
		case ir.OpAxis:
			v = v || l.isLane(y.Axis)
		case ir.OpLoad:
			v = v || !l.inMemory(l.st, y)
		}
		return !v
	})
	return v
}

// isLane says whether lanes go along an axis.
func (l *lowering) isLane(a *ir.Axis) bool {
	last := len(l.inner) - 1
	if last < 0 {
		return false
	}
	inner := l.fused.inner(l.st)
	first := 0
	if last > 0 {
		first = l.inner[last-1].last + 1
	}
	return slices.Contains(inner[first:l.inner[last].last+1], a)
}

// position is that along an axis that is a loop by itself, of lane 0.
func (l *lowering) position(a *ir.Axis) *Value {
	if a.Extent.IsInt(1) {
		return l.int(0)
	}
	for _, n := range []struct {
		levels []*level
		axes   []*ir.Axis
	}{{l.rowLevels, l.rowAxes(l.st)}, {l.inner, l.fused.inner(l.st)}, {l.red, l.st.red}} {
		for _, v := range n.levels {
			if n.axes[v.last] == a {
				return v.at
			}
		}
	}
	return nil
}

// spanOf is a range that an expression of positions and sizes alone is within: that of all of these together; nil: it
// reads memory, or is something else.
func spanOf(x *ir.Scalar) []Check { return spans{}.of(x) }

// spans are those of expressions, each found once: views of views divide the same number again and again.
type spans map[*ir.Scalar][]Check

func (s spans) of(x *ir.Scalar) []Check {
	span, ok := s[x]
	if !ok {
		span = s.find(x)
		s[x] = span
	}
	return span
}

func (s spans) find(x *ir.Scalar) []Check {
	if f, ok := analysis.AffineOf(x); ok {
		return []Check{rangeOf(f)}
	}
	if x.Op == ir.OpBcast {
		return s.of(x.Args[0])
	}
	if x.DType != tensor.I64 || x.Op == ir.OpLoad || len(x.Args) < 2 {
		return nil
	}
	a, b := s.of(x.Args[0]), s.of(x.Args[1])
	if x.Op == ir.OpSelect {
		a = s.of(x.Args[2])
	}
	if a == nil || b == nil {
		return nil
	}
	switch x.Op {
	case ir.OpAdd:
		return spread(a, b, 1)
	case ir.OpSub:
		return spread(a, b, -1)
	case ir.OpMin, ir.OpMax, ir.OpSelect:
		return append(slices.Clone(a), b...)
	case ir.OpFloorDiv, ir.OpDiv, ir.OpMod, ir.OpRem:
		d, ok := x.Args[1].Symbolic()
		if !ok {
			return nil
		}
		if x.Op == ir.OpMod || x.Op == ir.OpRem {
			return []Check{{Terms: []Term{{sym.Const(1), d}}}}
		}
		return append(slices.Clone(a), Check{})
	case ir.OpMul:
		if e, ok := x.Args[0].Symbolic(); ok {
			return spread(nil, b, 0, e)
		}
		if e, ok := x.Args[1].Symbolic(); ok {
			return spread(nil, a, 0, e)
		}
	}
	return nil
}

// rangeOf is that of an index that is linear in the axes.
func rangeOf(f analysis.Affine) Check {
	c := Check{Const: f.C}
	for _, t := range f.Terms {
		c.Terms = append(c.Terms, Term{t.K, t.Axis.Extent})
	}
	return c
}

// spread is the range of a sum of what is within a, and a multiple of what is within b.
func spread(a, b []Check, sign int64, by ...sym.Expr) (out []Check) {
	k := sym.Const(sign)
	if len(by) > 0 {
		k = by[0]
	}
	if a == nil {
		a = []Check{{}}
	}
	for _, x := range a {
		for _, y := range b {
			c := Check{Const: x.Const.Add(y.Const.Mul(k)), Terms: slices.Clone(x.Terms)}
			for _, t := range y.Terms {
				c.Terms = append(c.Terms, Term{t.Coef.Mul(k), t.Extent})
			}
			out = append(out, c)
		}
	}
	return out
}

// fits makes sure that a range is one of integers of 32 bits, with room for one more bit.
func (l *lowering) fits(r []Check, what string) {
	for _, c := range r {
		c.Const, c.Dim, c.Why = c.Const.Add(sym.Const(1<<30)), sym.Const(1<<31), what+" by 1<<30"
		l.check(c)
	}
}

// check notes what must hold of sizes.
func (l *lowering) check(c Check) {
	if n, ok := c.Const.Int(); ok && len(c.Terms) == 0 {
		if d, ok := c.Dim.Int(); ok && n >= 0 && n < d {
			return
		}
	}
	if !slices.ContainsFunc(l.k.Checks, func(d Check) bool {
		return c.Why == d.Why && c.Const.Equal(d.Const) && c.Dim.Equal(d.Dim) && slices.EqualFunc(c.Terms, d.Terms, func(x, y Term) bool {
			return x.Coef.Equal(y.Coef) && x.Extent.Equal(y.Extent)
		})
	}) {
		l.k.Checks = append(l.k.Checks, c)
	}
}

// splat is an integer in each lane.
func (l *lowering) splat(v *Value, kind Kind) *Value {
	if v.Op == OpConst {
		if kind == I32 {
			return l.i32(int32(v.N))
		}
		return l.opN(OpConst, kind, v.N)
	}
	return l.op(OpSplat, kind, v)
}

// sized is a size that lanes of a kind are to hold.
func (l *lowering) sized(e sym.Expr, kind Kind) *Value {
	if kind == I32 {
		l.fits([]Check{{Const: e}}, "a size")
	}
	return l.size(e, Int)
}

// integer computes an i64 in lanes: of 32 bits where positions and sizes tell that it fits.
func (l *lowering) integer(x *ir.Scalar) *Value {
	span := spanOf(x)
	if v := l.single(x, false); v != nil {
		if span != nil && !(v.Op == OpConst && (v.N >= 1<<30 || v.N < -1<<30)) {
			l.fits(span, "an index")
			return l.splat(v, I32)
		}
		return l.splat(v, I64)
	}
	if span != nil {
		l.fits(span, "an index")
		if f, ok := analysis.AffineOf(x); ok {
			return l.linear(f)
		}
	}
	arg := func(i int) *Value { return l.value(x.Args[i]) }
	switch x.Op {
	case ir.OpFloorDiv, ir.OpMod, ir.OpDiv, ir.OpRem:
		return l.divide(x, I32)
	case ir.OpNeg:
		return l.arithmetic(x, l.splat(l.int(0), I64), arg(0))
	case ir.OpSelect:
		a, b := l.alike(arg(1), arg(2))
		return l.op(OpSelect, a.Kind, arg(0), a, b)
	case ir.OpCast:
		return l.cast(x)
	case ir.OpAbs:
		return l.arithmetic(x, arg(0), nil)
	}
	if span == nil { // it may wrap
		return l.arithmetic(x, l.long(arg(0)), l.longOr(x, 1))
	}
	a, b := l.alike(arg(0), arg(1))
	return l.arithmetic(x, a, b)
}

func (l *lowering) longOr(x *ir.Scalar, i int) *Value {
	if i < len(x.Args) {
		return l.long(l.value(x.Args[i]))
	}
	return nil
}

// linear is an index that is linear in the axes, in lanes, whose range fits.
func (l *lowering) linear(f analysis.Affine) *Value {
	one, k := l.size(f.C, Int), l.int(0)
	for _, t := range f.Terms {
		if l.isLane(t.Axis) {
			k = l.size(t.K, Int)
			continue
		}
		one = l.addInt(one, l.mulInt(l.position(t.Axis), l.size(t.K, Int)))
	}
	at := l.inner[len(l.inner)-1].at
	if k.Op == OpConst && k.N == 1 {
		return l.op(OpLane, I32, l.addInt(at, one))
	}
	v := l.op(OpMul, I32, l.op(OpLane, I32, at), l.splat(k, I32))
	if one.Op == OpConst && one.N == 0 {
		return v
	}
	return l.op(OpAdd, I32, v, l.splat(one, I32))
}

// divide is a quotient or a remainder by a size, of what positions and sizes tell: a multiple of
// the size is added before where it may be negative.
func (l *lowering) divide(x *ir.Scalar, kind Kind) *Value {
	d, ok := x.Args[1].Symbolic()
	span := spanOf(x.Args[0])
	if !ok || span == nil {
		refuse("%s of what memory tells", x.Op)
	}
	up := sym.Const(0)
	if x.Op == ir.OpFloorDiv || x.Op == ir.OpMod {
		least := span[0].Const
		for _, t := range span[0].Terms {
			if n, ok := t.Coef.Int(); ok && n < 0 {
				least = least.Add(t.Coef.Mul(t.Extent.Sub(sym.Const(1))))
			}
		}
		switch lo, _ := sym.NewContext().Bounds(least); { // sizes are not negative
		case lo == math.MinInt64:
			up = least.Neg()
		case lo < 0:
			up = sym.Const(-lo)
		}
	}
	for _, c := range span {
		c.Const, c.Dim, c.Why = c.Const.Add(up.Mul(d)), sym.Const(1<<31), "what is divided"
		l.check(c)
	}
	var a, by, back *Value
	number := func(e sym.Expr) *Value {
		if kind == Int {
			return l.size(e, Int)
		}
		return l.splat(l.sized(e, I32), I32)
	}
	add, mul := func(x, y *Value) *Value { return l.op(OpAdd, I32, x, y) }, func(x, y *Value) *Value { return l.op(OpMul, I32, x, y) }
	if kind == Int {
		a, add, mul = l.single(x.Args[0], false), l.addInt, l.mulInt
	} else {
		a = l.value(x.Args[0])
	}
	by = number(d)
	if !up.IsInt(0) {
		a = add(a, number(up.Mul(d)))
		back = number(up.Neg())
	}
	q := l.opN(OpQuo, kind, l.sizeNumber(d, Divisor), a)
	if x.Op == ir.OpMod || x.Op == ir.OpRem {
		return add(a, mul(mul(q, by), number(sym.Const(-1))))
	}
	if back != nil {
		q = add(q, back)
	}
	return q
}
