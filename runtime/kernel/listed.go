package kernel

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Products of a factor that is said to be full of zeros (ir.Sparse) go over lists. Kernels before find which positions along the sum
// have anything that is not zero, and which rows; another one counts them, each where the sum of those before it is, so lists are in
// order, whatever runs when. The product then reads rows and columns by the lists, and writes rows where they belong: rows that have nothing
// are the last of their list, and what they get is the zero that the sum begins with. A term counts, too, whose other factor is not proved
// to be finite, and is not.

// sparse makes the kernels of a contraction by lists, the product last; nil: there is nothing to leave out, or none of two sides.
func (c *contraction) sparse() []*Kernel {
	if len(c.st.Sparse) == 0 || len(c.outer) > 0 || len(c.red) > 0 || c.a.load.Buf == c.b.load.Buf {
		return nil
	}
	p := &ir.Program{Name: c.p.Name + ".zeros"}
	stage := func(name string, axes, red []*ir.Axis, x *ir.Scalar) *ir.Buffer {
		b := &ir.Buffer{Name: c.st.Out().Name + "." + name, DType: tensor.I32}
		for _, a := range axes {
			b.Dims = append(b.Dims, a.Extent)
		}
		s := &ir.Stage{Outs: []*ir.Buffer{b}, Axes: axes, Red: red, Exprs: []*ir.Scalar{x}}
		if len(red) > 0 {
			s.Kind, s.Monoid = ir.ReduceStage, ir.Max
		}
		p.Stages = append(p.Stages, s)
		return b
	}
	row, col, k := c.row.axis, c.col.axis, c.k.axis
	one, none := ir.Lit(tensor.I32, 1), ir.Lit(tensor.I32, 0)
	value := func(f factor) *ir.Scalar { return f.load.To(tensor.F32) }
	some := func(f factor) *ir.Scalar { return ir.Select(value(f).Ne(ir.Lit(tensor.F32, 0)), one, none) }
	odd := func(f factor) *ir.Scalar {
		return ir.Select(value(f).Sub(value(f)).Eq(ir.Lit(tensor.F32, 0)), none, one)
	}
	at := func(b *ir.Buffer, a *ir.Axis) *ir.Scalar { return ir.Load(b, a.Ix()) }
	along := []*ir.Axis{k}
	var keep, rows *ir.Scalar
	for _, h := range c.st.Sparse {
		own, other, side, beside := c.a, c.b, row, col
		if h.Buffer == c.b.load.Buf {
			own, other, side, beside = c.b, c.a, col, row
		}
		x := at(stage("some", along, []*ir.Axis{side}, some(own)), k)
		var r *ir.Scalar
		if h.Buffer == c.a.load.Buf {
			r = at(stage("rows", []*ir.Axis{row}, along, some(c.a)), row)
		}
		if !h.Finite {
			o := stage("odd", along, []*ir.Axis{beside}, odd(other))
			if x = x.Max(at(o, k)); r != nil {
				r = r.Max(ir.Load(stage("any", nil, along, at(o, k))))
			}
		}
		if r != nil {
			rows = r
		}
		if keep != nil {
			x = x.Min(keep)
		}
		keep = x
	}
	kept := stage("kept", along, nil, keep)
	p.Results = []*ir.Buffer{kept}
	if rows != nil {
		p.Results = append(p.Results, stage("keptrows", []*ir.Axis{row}, nil, rows))
	}
	p.Params = []*ir.Buffer{c.a.load.Buf, c.b.load.Buf}
	p.Finish()
	o := c.Options
	s := New(p, o)
	if len(s.Refused) > 0 {
		return nil
	}
	var out []*Kernel
	for _, g := range s.Groups {
		out = append(out, g.Kernel)
	}
	for i, b := range p.Results {
		list := &listed{
			ids:   &ir.Buffer{Name: b.Name + ".list", DType: tensor.I32, Dims: b.Dims},
			count: &ir.Buffer{Name: b.Name + ".count", DType: tensor.I64, Dims: []sym.Expr{sym.Const(1)}},
		}
		if out = append(out, c.list(b, list)); i == 0 {
			c.k.list = list
		} else {
			c.row.list = list
		}
	}
	return append(out, c.kernel())
}

// listed is the list of positions along a side, first those that count, and how many do.
type listed struct{ ids, count *ir.Buffer }

// list makes the kernel that lists where flags are set, and then where they are not: one vector goes along them, and each lane stores its
// position behind those of the lanes before.
func (c *contraction) list(flags *ir.Buffer, to *listed) *Kernel {
	k := &Kernel{Name: flags.Name, Lanes: c.Lanes}
	l := &contraction{scheduler: c.scheduler, builder: newBuilder(k)}
	base := func(b *ir.Buffer, written bool) *Value {
		return l.emit(&Value{Op: OpBase, Kind: Addr, Buf: l.buffer(b, written)})
	}
	from, ids, count := base(flags, false), base(to.ids, true), base(to.count, true)
	n := flags.Dims[0]
	lane, one := l.op(OpLane, I32, l.int(0)), l.i32(1)
	size := l.op(OpSplat, I32, l.size(n, Int))
	behind := l.i32(0)
	for _, pass := range []Op{OpNe, OpEq} {
		loop, in := l.loop(l.int(0), l.size(n, Int), int64(c.Lanes), true, n, behind)
		flag := l.emit(&Value{Op: OpLoad, Kind: I32, Args: []*Value{from, loop.Var}, Buf: from.Buf, Access: Contiguous})
		pos := l.op(OpLane, I32, loop.Var)
		set := l.op(OpAnd, Mask, l.op(pass, Mask, flag, l.i32(0)), l.op(OpBelow, Mask, pos, size)) // of lanes that there are
		// Of groups of lanes that are twice as many each time: how many are set, and how many of those before the lane.
		all := l.op(OpSelect, I32, set, one, l.i32(0))
		before := l.i32(0)
		for d := 1; d < c.Lanes; d *= 2 {
			other := l.opN(OpSwap, I32, int64(d), all)
			upper := l.op(OpNe, Mask, l.op(OpAnd, I32, lane, l.i32(int32(d))), l.i32(0))
			before = l.op(OpAdd, I32, before, l.op(OpSelect, I32, upper, other, l.i32(0)))
			all = l.op(OpAdd, I32, all, other)
		}
		at := l.op(OpAdd, I32, in[0], before)
		below := l.op(OpBelow, Mask, at, size)
		l.emit(&Value{Op: OpStore, Args: []*Value{ids, at, pos, l.op(OpAnd, Mask, set, below)}, Buf: ids.Buf, Access: Listed,
			Within: []Within{{Index: at, Below: below, Step: sym.Const(1)}}})
		end := l.close(l.op(OpAdd, I32, in[0], all))[0]
		if pass == OpNe { // lanes behind the end do not know the last sum, which all are told through memory
			l.emit(&Value{Op: OpStore, Args: []*Value{count, l.int(0), l.op(OpWiden, I64, end)}, Buf: count.Buf, Access: One})
			l.op(OpBarrier, None)
			l.epoch++
			behind = l.op(OpSplat, I32, l.emit(&Value{Op: OpLoad, Kind: Int, Args: []*Value{count, l.int(0)}, Buf: count.Buf, Access: One}))
		}
	}
	k.Checks = append(k.Checks, Check{Const: n, Dim: sym.Const(1 << 30), Why: "the length of a list"})
	k.Work.Passes = []PassWork{{Vector: n, Ops: 80}}
	if err := k.Verify(nil); err != nil {
		panic(err) // a mistake of this package
	}
	return k
}

// counted is how many positions of a side count: as many as there are, or as its list has.
func (c *contraction) counted(s side) *Value {
	if s.list == nil {
		return c.size(s.axis.Extent, Int)
	}
	n := c.emit(&Value{Op: OpBase, Kind: Addr, Buf: c.buffer(s.list.count, false)})
	x := c.emit(&Value{Op: OpLoad, Kind: Int, Args: []*Value{n, c.int(0)}, Buf: n.Buf, Access: One})
	return c.op(OpClamp, Int, x, c.size(s.axis.Extent.Add(sym.Const(1)), Int))
}

// steps is how many steps along the sum a tile takes: none, where its first row does not count.
func (c *contraction) steps(all sym.Expr) *Value {
	if c.k.list == nil {
		return c.size(all, Int)
	}
	n := c.addInt(c.counted(c.k), c.int(int64(c.k.n-1)))
	n = c.opN(OpQuo, Int, c.sizeNumber(sym.Const(int64(c.k.n)), Divisor), n)
	if c.row.list != nil {
		n = c.op(OpSelect, Int, c.op(OpLt, Int, c.row.at, c.counted(c.row)), n, c.int(0))
	}
	return n
}

// listedAt is where a position of a side is, by its list.
func (c *contraction) listedAt(s side, at *Value) *Value {
	ids := c.emit(&Value{Op: OpBase, Kind: Addr, Buf: c.buffer(s.list.ids, false)})
	n := c.size(s.axis.Extent, Int)
	x := c.emit(&Value{Op: OpLoad, Kind: Int, Args: []*Value{ids, c.op(OpClamp, Int, at, n)}, Buf: ids.Buf, Access: One})
	return c.op(OpClamp, Int, x, n)
}

// listedLanes is where the lanes from a position of a side on are, by its list, and a mask that bounds that.
func (c *contraction) listedLanes(s side, at *Value, step sym.Expr) (ix, mask *Value, w Within) {
	ids := c.emit(&Value{Op: OpBase, Kind: Addr, Buf: c.buffer(s.list.ids, false)})
	pos := c.inside(c.op(OpLane, I32, at), s.axis, sym.Const(1))
	mask = c.op(OpAnd, Mask, pos.Below, c.op(OpBelow, Mask, pos.Index, c.op(OpSplat, I32, c.counted(s))))
	x := c.emit(&Value{Op: OpLoad, Kind: I32, Args: []*Value{c.index(ids, at), c.int(0), mask}, Buf: ids.Buf, Access: Contiguous, Within: []Within{pos}})
	w = c.inside(x, s.axis, step)
	if ix = x; !step.IsInt(1) {
		ix = c.op(OpMul, I32, x, c.op(OpSplat, I32, c.size(step, Int)))
		c.builder.k.Checks = append(c.builder.k.Checks, Check{Const: sym.Const(1 << 30), Terms: []Term{{step, s.axis.Extent}}, Dim: sym.Const(1 << 31), Why: "an address by a list"})
	}
	return ix, c.op(OpAnd, Mask, mask, w.Below), w
}
