package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Movement: operators whose every result element is an element of an operand (or a
// fixed value), found by index arithmetic.

// Transpose permutes dims; without perm it reverses them.
var Transpose = ir.Register(&ir.OpDef{
	Name: "onnx.Transpose", Since: since(1, 13, 21, 23, 24, 25), Doc: "permutes dims",
	In: ops(in("data", "T", anyTensor)), Out: ops(in("transposed", "T", anyTensor)),
	Attrs: attrs(attrOpt("perm", []int64(nil))),
	Deduce: func(c *ir.Call) error {
		perm, err := permutation(c)
		if err != nil {
			return err
		}
		out := make([]sym.Expr, len(perm))
		for i, p := range perm {
			out[i] = c.Dims(0)[p]
		}
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		perm, err := permutation(c)
		if err != nil {
			return err
		}
		axes := b.Axes(b.Out(0).Dims)
		ix := make([]*ir.Scalar, len(perm))
		for i, p := range perm {
			ix[p] = axes[i].Ix()
		}
		b.Map(b.Out(0), axes, ir.Load(b.In(0), ix...))
		return nil
	},
})

func permutation(c *ir.Call) ([]int, error) {
	r := c.Rank(0)
	perm := make([]int, r)
	if !c.HasAttr("perm") {
		for i := range perm {
			perm[i] = r - 1 - i
		}
		return perm, nil
	}
	list := c.IntList("perm")
	if len(list) != r {
		return nil, c.Errorf("perm %v has %d entries for a rank-%d operand", list, len(list), r)
	}
	return c.Axes(list, r)
}

// Concat joins its operands along axis.
var Concat = ir.Register(&ir.OpDef{
	Name: "onnx.Concat", Since: since(1, 4, 11, 13), Doc: "joins tensors along an axis",
	In: ops(variadic("inputs", "T", anyTensor)), Out: ops(in("concat_result", "T", anyTensor)),
	Attrs:  attrs(attrReq("axis", int64(0))),
	Deduce: concatDims,
	Body:   concat,
})

func concatDims(c *ir.Call) error {
	if len(c.In) == 0 {
		return c.Errorf("it needs at least one operand")
	}
	axis, err := c.Axis(c.Int("axis"), c.Rank(0))
	if err != nil {
		return err
	}
	out := append([]sym.Expr(nil), c.Dims(0)...)
	for i := 1; i < len(c.In); i++ {
		d := c.Dims(i)
		if len(d) != len(out) {
			return c.Errorf("operands of rank %d and %d", len(out), len(d))
		}
		for j := range d {
			switch {
			case j == axis:
				out[j] = out[j].Add(d[j])
			case c.Syms.Equal(out[j], d[j]) == sym.False:
				return c.Errorf("dim %d is %s in one operand, %s in another", j, out[j], d[j])
			default:
				out[j] = simpler(out[j], d[j])
			}
		}
	}
	out[axis] = c.Syms.Simplify(out[axis])
	c.SetOut(0, c.DType(0), out...)
	return nil
}

func concat(c *ir.Call, b *ir.Body) error {
	axis, _ := c.Axis(c.Int("axis"), c.Rank(0))
	axes := b.Axes(b.Out(0).Dims)
	ends := make([]sym.Expr, len(c.In))
	var end sym.Expr
	for i := range c.In {
		end = end.Add(c.Dims(i)[axis])
		ends[i] = end
	}
	var e *ir.Scalar
	for i := len(c.In) - 1; i >= 0; i-- {
		ix := ir.Ix(axes)
		if i > 0 {
			ix[axis] = ix[axis].Sub(ir.SymVal(ends[i-1]))
		}
		x := ir.Load(b.In(i), ix...)
		if e == nil {
			e = x
		} else {
			e = ir.Guard(axes[axis].Ix().Lt(ir.SymVal(ends[i])), x, e)
		}
	}
	b.Map(b.Out(0), axes, e)
	return nil
}

// simpler gives the one of two dims that must be equal which says more: a constant,
// else one with fewer symbols.
func simpler(a, b sym.Expr) sym.Expr {
	if _, ok := a.Int(); ok {
		return a
	}
	if _, ok := b.Int(); ok || len(b.Symbols()) < len(a.Symbols()) {
		return b
	}
	return a
}

// Split cuts along axis: into the sizes of operand 1, or into as many parts as
// there are results (num_outputs), the last one smaller where it does not divide.
var Split = ir.Register(&ir.OpDef{
	Name: "onnx.Split", Since: since(1, 2, 11, 13, 18), Doc: "cuts a tensor along an axis",
	In: ops(in("input", "T", anyTensor), opt("split", "", i64s)), Out: ops(variadic("outputs", "T", anyTensor)),
	Attrs: attrs(attr("axis", 0), attrOpt("num_outputs", int64(0))),
	Deduce: func(c *ir.Call) error {
		axis, sizes, err := splitSizes(c)
		if err != nil {
			return err
		}
		for i := range c.Out {
			d := append([]sym.Expr(nil), c.Dims(0)...)
			if sizes != nil {
				d[axis] = sizes[i]
			} else {
				d[axis] = c.Fresh(&c.Dims(0)[axis])
			}
			c.SetOut(i, c.DType(0), d...)
		}
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		axis, sizes, err := splitSizes(c)
		if err != nil {
			return err
		}
		if sizes == nil {
			return ir.ErrDynamic
		}
		var start sym.Expr
		for i := range c.Out {
			if c.Wants(i) {
				axes := b.Axes(b.Out(i).Dims)
				ix := ir.Ix(axes)
				ix[axis] = ix[axis].Add(ir.SymVal(start))
				b.Map(b.Out(i), axes, ir.Load(b.In(0), ix...))
			}
			start = start.Add(sizes[i])
		}
		return nil
	},
})

// splitSizes gives the size of each part; nil where only a run tells.
func splitSizes(c *ir.Call) (axis int, sizes []sym.Expr, err error) {
	if axis, err = c.Axis(c.Int("axis"), c.Rank(0)); err != nil {
		return
	}
	d := c.Dims(0)[axis]
	n := int64(len(c.Out))
	if c.Has(1) {
		list, ok := c.Ints(1)
		if !ok {
			return axis, nil, nil
		}
		if len(list) != len(c.Out) {
			return 0, nil, c.Errorf("%d sizes for %d results", len(list), len(c.Out))
		}
		if sum := sym.Sum(list...); c.Syms.Equal(sum, d) == sym.False {
			return 0, nil, c.Errorf("the sizes %s add up to %s, the dim is %s", ir.ShapeString(list), sum, d)
		}
		for _, s := range list {
			if _, hi := c.Syms.Bounds(s); hi < 0 {
				return 0, nil, c.Errorf("the sizes %s have a negative one", ir.ShapeString(list))
			}
		}
		return axis, list, nil
	}
	if k := c.Int("num_outputs"); k != 0 && k != n {
		return 0, nil, c.Errorf("num_outputs is %d, it has %d results", k, n)
	}
	chunk := d.CeilDiv(sym.Const(n))
	left := d
	for i := int64(0); i < n; i++ {
		s := c.Syms.Simplify(chunk.Min(left).Max(sym.Const(0)))
		sizes = append(sizes, s)
		left = c.Syms.Simplify(left.Sub(s))
	}
	return axis, sizes, nil
}

// Expand broadcasts to the shape of operand 1, both ways.
var Expand = ir.Register(&ir.OpDef{
	Name: "onnx.Expand", Since: since(8, 13), Doc: "broadcasts to a shape",
	In: ops(in("input", "T", anyTensor), in("shape", "", i64s)), Out: ops(in("output", "T", anyTensor)),
	Deduce: func(c *ir.Call) error {
		shape, ok := c.Ints(1)
		if !ok {
			c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
			if n, ok := c.Tensor(1).Static(); ok && len(n) == 1 && n[0] <= 64 {
				unknown := make([]sym.Expr, n[0])
				for i := range unknown {
					unknown[i] = c.Fresh(nil)
				}
				dims, err := broadcastDims(c, c.Dims(0), unknown)
				if err != nil {
					return err
				}
				for i, d := range dims { // one symbol for what the operand's and the target's dims give
					if j := i - (len(dims) - len(unknown)); j >= 0 {
						if name, _ := unknown[j].Symbol(); d.Uses(name) {
							dims[i] = unknown[j]
						}
					}
				}
				c.SetOut(0, c.DType(0), dims...)
			}
			return nil
		}
		for i, d := range shape {
			if _, hi := c.Syms.Bounds(d); hi < 0 {
				return c.Errorf("dim %d of the shape is %s", i, d)
			}
		}
		dims, err := broadcastDims(c, c.Dims(0), shape)
		if err != nil {
			return err
		}
		c.SetOut(0, c.DType(0), dims...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		if _, ok := c.Ints(1); !ok {
			return ir.ErrDynamic
		}
		axes := b.Axes(b.Out(0).Dims)
		b.Map(b.Out(0), axes, ir.Load(b.In(0), ir.BcastIx(b.In(0), axes)...))
		return nil
	},
})

// Tile repeats the tensor along each dim as often as operand 1 says.
var Tile = ir.Register(&ir.OpDef{
	Name: "onnx.Tile", Since: since(1, 6, 13), Doc: "repeats a tensor along its dims",
	In: ops(in("input", "T", anyTensor), in("repeats", "", i64s)), Out: ops(in("output", "T", anyTensor)),
	Deduce: func(c *ir.Call) error {
		reps, ok := c.Ints(1)
		if ok && len(reps) != c.Rank(0) {
			return c.Errorf("%d repeats for a rank-%d operand", len(reps), c.Rank(0))
		}
		out := make([]sym.Expr, c.Rank(0))
		for i, d := range c.Dims(0) {
			if !ok {
				out[i] = c.Fresh(nil)
				continue
			}
			if _, hi := c.Syms.Bounds(reps[i]); hi < 0 {
				return c.Errorf("repeats %s has a negative entry", ir.ShapeString(reps))
			}
			out[i] = d.Mul(reps[i])
		}
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		reps, ok := c.Ints(1)
		if !ok {
			return ir.ErrDynamic
		}
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		for i, d := range c.Dims(0) {
			switch {
			case d.IsInt(1):
				ix[i] = ir.IntLit(0)
			case !reps[i].IsInt(1):
				ix[i] = ix[i].Mod(ir.SymVal(d))
			}
		}
		b.Map(b.Out(0), axes, ir.Load(b.In(0), ix...))
		return nil
	},
})

// DepthToSpace moves blocks of channels into height and width.
var DepthToSpace = ir.Register(&ir.OpDef{
	Name: "onnx.DepthToSpace", Since: since(1, 11, 13), Doc: "moves blocks of channels into space",
	In: ops(in("input", "T", anyTensor)), Out: ops(in("output", "T", anyTensor)),
	Attrs: attrs(attrReq("blocksize", int64(0)), attr("mode", "DCR")),
	Deduce: func(c *ir.Call) error {
		d, k, err := blocks(c)
		if err != nil {
			return err
		}
		if c.Syms.Divides(k.Mul(k), d[1]) == sym.False {
			return c.Errorf("%s channels are not a multiple of blocksize² = %s", d[1], k.Mul(k))
		}
		c.SetOut(0, c.DType(0), d[0], c.Syms.Simplify(d[1].FloorDiv(k.Mul(k))), d[2].Mul(k), d[3].Mul(k))
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		_, k, err := blocks(c)
		if err != nil {
			return err
		}
		axes := b.Axes(b.Out(0).Dims)
		n, ch, y, x := axes[0].Ix(), axes[1].Ix(), axes[2].Ix(), axes[3].Ix()
		bs := ir.SymVal(k)
		by, bx := y.Mod(bs), x.Mod(bs)
		var src *ir.Scalar
		if c.Str("mode") == "CRD" {
			src = ch.Mul(bs).Add(by).Mul(bs).Add(bx)
		} else {
			src = by.Mul(bs).Add(bx).Mul(ir.SymVal(axes[1].Extent)).Add(ch)
		}
		b.Map(b.Out(0), axes, ir.Load(b.In(0), n, src, y.FloorDiv(bs), x.FloorDiv(bs)))
		return nil
	},
})

// SpaceToDepth moves blocks of height and width into channels.
var SpaceToDepth = ir.Register(&ir.OpDef{
	Name: "onnx.SpaceToDepth", Since: since(1, 13), Doc: "moves blocks of space into channels",
	In: ops(in("input", "T", anyTensor)), Out: ops(in("output", "T", anyTensor)),
	Attrs: attrs(attrReq("blocksize", int64(0)), attr("mode", "DCR")),
	Deduce: func(c *ir.Call) error {
		d, k, err := blocks(c)
		if err != nil {
			return err
		}
		for _, e := range d[2:] {
			if c.Syms.Divides(k, e) == sym.False {
				return c.Errorf("height and width %s are not multiples of blocksize %s", ir.ShapeString(d[2:]), k)
			}
		}
		c.SetOut(0, c.DType(0), d[0], d[1].Mul(k).Mul(k), c.Syms.Simplify(d[2].FloorDiv(k)), c.Syms.Simplify(d[3].FloorDiv(k)))
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		_, k, err := blocks(c)
		if err != nil {
			return err
		}
		axes := b.Axes(b.Out(0).Dims)
		ch := axes[1].Ix()
		bs, depth := ir.SymVal(k), ir.SymVal(c.Dims(0)[1])
		var block, src *ir.Scalar
		if c.Str("mode") == "CRD" {
			src, block = ch.FloorDiv(bs.Mul(bs)), ch.Mod(bs.Mul(bs))
		} else {
			src, block = ch.Mod(depth), ch.FloorDiv(depth)
		}
		y := axes[2].Ix().Mul(bs).Add(block.FloorDiv(bs))
		x := axes[3].Ix().Mul(bs).Add(block.Mod(bs))
		b.Map(b.Out(0), axes, ir.Load(b.In(0), axes[0].Ix(), src, y, x))
		return nil
	},
})

func blocks(c *ir.Call) ([]sym.Expr, sym.Expr, error) {
	d, k := c.Dims(0), c.Int("blocksize")
	if len(d) != 4 || k < 1 {
		return nil, sym.Expr{}, c.Errorf("it takes a rank-4 operand and a positive blocksize, not rank %d and %d", len(d), k)
	}
	if m := c.Str("mode"); m != "DCR" && m != "CRD" {
		return nil, sym.Expr{}, c.Errorf("mode %q is neither DCR nor CRD", m)
	}
	return d, sym.Const(k), nil
}

// ReverseSequence reverses the first sequence_lens[b] elements of each batch b along
// the time axis.
var ReverseSequence = ir.Register(&ir.OpDef{
	Name: "onnx.ReverseSequence", Since: since(10), Doc: "reverses the start of each sequence of a batch",
	In:    ops(in("input", "T", anyTensor), in("sequence_lens", "", i64s)),
	Out:   ops(in("Y", "T", anyTensor)),
	Attrs: attrs(attr("batch_axis", 1), attr("time_axis", 0)),
	Deduce: func(c *ir.Call) error {
		if c.Rank(0) < 2 || c.Rank(1) != 1 {
			return c.Errorf("it takes an operand of rank 2 or more and a list of lengths, not rank %d and %d", c.Rank(0), c.Rank(1))
		}
		return sameAs(0)(c)
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		batch, err := c.Axis(c.Int("batch_axis"), c.Rank(0))
		if err != nil {
			return err
		}
		time, err := c.Axis(c.Int("time_axis"), c.Rank(0))
		if err != nil {
			return err
		}
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		n := ir.Load(b.In(1), ix[batch])
		t := ix[time]
		ix[time] = ir.Select(t.Lt(n), n.Sub(ir.IntLit(1)).Sub(t), t)
		b.Map(b.Out(0), axes, ir.Load(b.In(0), ix...))
		return nil
	},
})

// Shape is the shape of a tensor from dim start to before dim end, as a list.
var Shape = ir.Register(&ir.OpDef{
	Name: "onnx.Shape", Since: since(1, 13, 15, 19, 21, 23, 24, 25), Doc: "the shape, or a part of it",
	In: ops(in("data", "T", anyTensor)), Out: ops(in("shape", "", i64s)),
	Attrs:   attrs(attr("start", 0), attrOpt("end", int64(0))),
	AnyRank: true,
	Deduce: func(c *ir.Call) error {
		if c.Tensor(0).Unranked {
			c.SetOut(0, tensor.I64, c.Fresh(nil))
			return nil
		}
		c.SetOut(0, tensor.I64, sym.Const(int64(len(shapePart(c)))))
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		dims := shapePart(c)
		axes := b.Axes(b.Out(0).Dims)
		e := ir.IntLit(0)
		for i := len(dims) - 1; i >= 0; i-- {
			if i == len(dims)-1 {
				e = ir.SymVal(dims[i])
			} else {
				e = ir.Select(axes[0].Ix().Eq(ir.IntLit(int64(i))), ir.SymVal(dims[i]), e)
			}
		}
		b.Map(b.Out(0), axes, e)
		return nil
	},
})

func shapePart(c *ir.Call) []sym.Expr {
	d := c.Dims(0)
	r := int64(len(d))
	clamp := func(i int64) int64 {
		if i < 0 {
			i += r
		}
		return min(max(i, 0), r)
	}
	start, end := clamp(c.Int("start")), r
	if c.HasAttr("end") {
		end = clamp(c.Int("end"))
	}
	return d[start:max(start, end)]
}

// Size is the number of elements.
var Size = ir.Register(&ir.OpDef{
	Name: "onnx.Size", Since: since(1, 13, 19, 21, 23, 24, 25), Doc: "the number of elements",
	In: ops(in("data", "T", anyTensor)), Out: ops(in("size", "", i64s)),
	AnyRank: true,
	Deduce: func(c *ir.Call) error {
		c.SetOut(0, tensor.I64)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		b.Map(b.Out(0), nil, ir.SymVal(c.Tensor(0).Size()))
		return nil
	},
})
