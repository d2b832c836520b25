package op

import (
	endian "encoding/binary"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Gather takes slices along axis at the positions that operand 1 lists; negative
// ones count from the end.
var Gather = ir.Register(&ir.OpDef{
	Name: "onnx.Gather", Since: since(1, 11, 13), Doc: "slices along an axis, by position",
	In: ops(in("data", "T", anyTensor), in("indices", "I", indices)), Out: ops(in("output", "T", anyTensor)),
	Attrs: attrs(attr("axis", 0)),
	Deduce: func(c *ir.Call) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		d := c.Dims(0)
		out := append([]sym.Expr(nil), d[:a]...)
		out = append(out, c.Dims(1)...)
		c.SetOut(0, c.DType(0), append(out, d[a+1:]...)...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		r := c.Rank(1)
		at := wrapped(c, b, 1, ix[a:a+r], c.Dims(0)[a])
		src := append(append(append([]*ir.Scalar(nil), ix[:a]...), at), ix[a+r:]...)
		b.Map(b.Out(0), axes, ir.Load(b.In(0), src...))
		return nil
	},
})

// wrapped reads a position from index operand i; a negative one counts from the end
// of a dim. A constant operand without negative entries needs no test for them.
func wrapped(c *ir.Call, b *ir.Body, i int, ix []*ir.Scalar, dim sym.Expr) *ir.Scalar {
	p := b.LoadIx(b.In(i), ix...)
	if known, ok := c.Ints(i); ok {
		nonneg := true
		for _, e := range known {
			nonneg = nonneg && c.Syms.LE(sym.Const(0), e) == sym.True
		}
		if nonneg {
			return p
		}
	}
	return ir.Select(p.Lt(ir.IntLit(0)), p.Add(ir.SymVal(dim)), p)
}

// GatherElements takes, for each position of the indices, the element there with its
// coordinate along axis replaced.
var GatherElements = ir.Register(&ir.OpDef{
	Name: "onnx.GatherElements", Since: since(11, 13), Doc: "elements along an axis, by position",
	In: ops(in("data", "T", anyTensor), in("indices", "I", indices)), Out: ops(in("output", "T", anyTensor)),
	Attrs: attrs(attr("axis", 0)),
	Deduce: func(c *ir.Call) error {
		if c.Rank(0) != c.Rank(1) || c.Rank(0) == 0 {
			return c.Errorf("data of rank %d and indices of rank %d; they must have the same, at least 1", c.Rank(0), c.Rank(1))
		}
		c.SetOut(0, c.DType(0), c.Dims(1)...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		ix[a] = wrapped(c, b, 1, ir.Ix(axes), c.Dims(0)[a])
		b.Map(b.Out(0), axes, ir.Load(b.In(0), ix...))
		return nil
	},
})

// GatherND takes slices at index tuples, which lie along the last axis of operand 1.
var GatherND = ir.Register(&ir.OpDef{
	Name: "onnx.GatherND", Since: since(11, 12, 13), Doc: "slices at index tuples",
	In: ops(in("data", "T", anyTensor), in("indices", "", i64s)), Out: ops(in("output", "T", anyTensor)),
	Attrs: attrs(attr("batch_dims", 0)),
	Deduce: func(c *ir.Call) error {
		bd, k, err := tuples(c)
		if err != nil {
			return err
		}
		if k < 0 {
			c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
			return nil
		}
		ixDims := c.Dims(1)
		out := append([]sym.Expr(nil), ixDims[:len(ixDims)-1]...)
		c.SetOut(0, c.DType(0), append(out, c.Dims(0)[bd+k:]...)...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		bd, k, err := tuples(c)
		if err != nil {
			return err
		}
		axes := b.Axes(b.Out(0).Dims)
		lead := axes[:c.Rank(1)-1]
		src := make([]*ir.Scalar, 0, c.Rank(0))
		src = append(src, ir.Ix(axes[:bd])...)
		for i := range k {
			at := append(ir.Ix(lead), ir.IntLit(int64(i)))
			src = append(src, wrapped(c, b, 1, at, c.Dims(0)[bd+i]))
		}
		src = append(src, ir.Ix(axes[len(lead):])...)
		b.Map(b.Out(0), axes, ir.Load(b.In(0), src...))
		return nil
	},
})

// tuples gives batch_dims and the length of an index tuple, -1 where a run tells.
func tuples(c *ir.Call) (batch, k int, err error) {
	bd := c.Int("batch_dims")
	if c.Rank(1) < 1 || bd < 0 || bd >= int64(c.Rank(1)) || bd > int64(c.Rank(0)) {
		return 0, 0, c.Errorf("batch_dims %d for data of rank %d and indices of rank %d", bd, c.Rank(0), c.Rank(1))
	}
	n, ok := c.Dims(1)[c.Rank(1)-1].Int()
	if !ok {
		return int(bd), -1, nil
	}
	if n < 0 || n > int64(c.Rank(0))-bd {
		return 0, 0, c.Errorf("index tuples of %d entries for data of rank %d with %d batch dims", n, c.Rank(0), bd)
	}
	return int(bd), int(n), nil
}

// reduction attributes of the scatters.
var scatterMonoids = map[string]ir.Monoid{"none": ir.Last, "add": ir.Sum, "mul": ir.Prod, "max": ir.Max, "min": ir.Min}

func scatterMonoid(c *ir.Call) (ir.Monoid, error) {
	m, ok := scatterMonoids[c.Str("reduction")]
	if !ok {
		return 0, c.Errorf("reduction %q is none of none, add, mul, max, min", c.Str("reduction"))
	}
	return m, nil
}

// scatter adds the stage Y = data, then Y[at] = m(Y[at], updates[axes]). Small float
// types are combined in f32.
func scatter(b *ir.Body, m ir.Monoid, axes []*ir.Axis, at []*ir.Scalar, update *ir.Buffer) {
	data, Y := b.In(0), b.Out(0)
	d := Y.DType
	wide := d.Compute()
	if m == ir.Last || d == wide {
		b.Stage(&ir.Stage{Kind: ir.ScatterStage, Outs: []*ir.Buffer{Y}, Axes: axes, Monoid: m, Base: data, Index: at,
			Exprs: []*ir.Scalar{ir.Load(update, ir.Ix(axes)...)}})
		return
	}
	base := b.Axes(Y.Dims)
	t := b.Mapped(base, b.Load(data, ir.Ix(base)...))
	acc := b.Temp(wide, Y.Dims...)
	b.Stage(&ir.Stage{Kind: ir.ScatterStage, Outs: []*ir.Buffer{acc}, Axes: axes, Monoid: m, Base: t, Index: at,
		Exprs: []*ir.Scalar{b.Load(update, ir.Ix(axes)...)}})
	out := b.Axes(Y.Dims)
	b.Map(Y, out, ir.Load(acc, ir.Ix(out)...))
}

// ScatterElements writes updates at positions along axis.
var ScatterElements = ir.Register(&ir.OpDef{
	Name: "onnx.ScatterElements", Since: since(11, 13, 16, 18), Doc: "writes elements along an axis, by position",
	In:     ops(in("data", "T", anyTensor), in("indices", "I", indices), in("updates", "T", anyTensor)),
	Out:    ops(in("output", "T", anyTensor)),
	Attrs:  attrs(attr("axis", 0), attr("reduction", "none")),
	Deduce: sameAs(0),
	Body: func(c *ir.Call, b *ir.Body) error {
		m, err := scatterMonoid(c)
		if err != nil {
			return err
		}
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		if c.Rank(1) != c.Rank(0) || c.Rank(2) != c.Rank(0) {
			return c.Errorf("data, indices and updates of ranks %d, %d, %d; they must have the same", c.Rank(0), c.Rank(1), c.Rank(2))
		}
		axes := b.Axes(c.Dims(1))
		at := ir.Ix(axes)
		at[a] = wrapped(c, b, 1, ir.Ix(axes), c.Dims(0)[a])
		scatter(b, m, axes, at, b.In(2))
		return nil
	},
})

// ScatterND writes slices at index tuples.
var ScatterND = ir.Register(&ir.OpDef{
	Name: "onnx.ScatterND", Since: since(11, 13, 16, 18), Doc: "writes slices at index tuples",
	In:     ops(in("data", "T", anyTensor), in("indices", "", i64s), in("updates", "T", anyTensor)),
	Out:    ops(in("output", "T", anyTensor)),
	Attrs:  attrs(attr("reduction", "none")),
	Deduce: sameAs(0),
	Body: func(c *ir.Call, b *ir.Body) error {
		m, err := scatterMonoid(c)
		if err != nil {
			return err
		}
		if c.Rank(1) == 0 {
			return c.Errorf("indices is a scalar")
		}
		n, ok := c.Dims(1)[c.Rank(1)-1].Int()
		if !ok {
			return ir.ErrDynamic
		}
		lead := c.Rank(1) - 1
		if n < 0 || n > int64(c.Rank(0)) || c.Rank(2) != lead+c.Rank(0)-int(n) {
			return c.Errorf("indices %s and updates %s do not fit data %s", c.Tensor(1), c.Tensor(2), c.Tensor(0))
		}
		axes := b.Axes(c.Dims(2))
		var at []*ir.Scalar
		for i := range int(n) {
			ix := append(ir.Ix(axes[:lead]), ir.IntLit(int64(i)))
			at = append(at, wrapped(c, b, 1, ix, c.Dims(0)[i]))
		}
		at = append(at, ir.Ix(axes[lead:])...)
		scatter(b, m, axes, at, b.In(2))
		return nil
	},
})

// TensorScatter writes update into a cache along axis, from the position that
// write_indices holds for each batch; in mode circular positions wrap around.
var TensorScatter = ir.Register(&ir.OpDef{
	Name: "onnx.TensorScatter", Since: since(24), Doc: "writes new entries into a cache",
	In:    ops(in("past_cache", "T", anyTensor), in("update", "T", anyTensor), opt("write_indices", "", i64s)),
	Out:   ops(in("present_cache", "T", anyTensor)),
	Attrs: attrs(attr("axis", -2), attr("mode", "linear")),
	Deduce: func(c *ir.Call) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		if c.Rank(1) != c.Rank(0) || a == 0 {
			return c.Errorf("an update of rank %d, a cache of rank %d, axis %d; the ranks must agree and axis 0 is the batch", c.Rank(1), c.Rank(0), a)
		}
		if i := c.Dims(2); c.Has(2) && (len(i) != 1 || c.Syms.Equal(i[0], c.Dims(1)[0]) == sym.False) {
			return c.Errorf("write_indices of shape %s for a batch of %s", ir.ShapeString(i), c.Dims(1)[0])
		}
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		axes := b.Axes(c.Dims(1))
		at := ir.Ix(axes)
		if c.Has(2) {
			at[a] = at[a].Add(ir.Load(b.In(2), axes[0].Ix()))
		}
		switch c.Str("mode") {
		case "circular":
			at[a] = at[a].Mod(ir.SymVal(c.Dims(0)[a]))
		case "linear":
		default:
			return c.Errorf("mode %q is neither linear nor circular", c.Str("mode"))
		}
		scatter(b, ir.Last, axes, at, b.In(1))
		return nil
	},
})

// OneHot puts on_value where the position along axis equals the index, off_value
// elsewhere; a negative index counts from depth.
var OneHot = ir.Register(&ir.OpDef{
	Name: "onnx.OneHot", Since: since(9, 11), Doc: "on_value at the index, off_value elsewhere",
	In:    ops(in("indices", "I", numeric), in("depth", "D", numeric), in("values", "T", anyTensor)),
	Out:   ops(in("output", "T", anyTensor)),
	Attrs: attrs(attr("axis", -1)),
	Deduce: func(c *ir.Call) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0)+1)
		if err != nil {
			return err
		}
		if v := c.Dims(2); len(v) != 1 || c.Syms.Equal(v[0], sym.Const(2)) == sym.False {
			return c.Errorf("values of shape %s, it takes the off value and the on value", ir.ShapeString(v))
		}
		if err := single(c, 1); err != nil {
			return err
		}
		depth := oneHotDepth(c)
		if depth == nil {
			f := c.Fresh(nil)
			depth = &f
		}
		if _, hi := c.Syms.Bounds(*depth); hi < 0 {
			return c.Errorf("depth is %s", *depth)
		}
		d := c.Dims(0)
		out := append([]sym.Expr(nil), d[:a]...)
		c.SetOut(0, c.DType(2), append(append(out, *depth), d[a:]...)...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0)+1)
		if err != nil {
			return err
		}
		depth := oneHotDepth(c)
		if depth == nil {
			return ir.ErrDynamic
		}
		axes := b.Axes(b.Out(0).Dims)
		at := append(ir.Ix(axes[:a]), ir.Ix(axes[a+1:])...)
		p := b.LoadIx(b.In(0), at...)
		p = ir.Select(p.Lt(ir.IntLit(0)), p.Add(ir.SymVal(*depth)), p)
		on, off := ir.Load(b.In(2), ir.IntLit(1)), ir.Load(b.In(2), ir.IntLit(0))
		b.Map(b.Out(0), axes, ir.Select(p.Eq(axes[a].Ix()), on, off))
		return nil
	},
})

func oneHotDepth(c *ir.Call) *sym.Expr {
	if e, ok := c.Ints(1); ok && len(e) == 1 {
		return &e[0]
	}
	if t := c.Const(1); t != nil && t.Len() == 1 {
		e := sym.Const(int64(t.Float(0)))
		return &e
	}
	return nil
}

// NonZero lists the positions of elements that are not zero: one column each, in
// row-major order.
var NonZero = ir.Register(&ir.OpDef{
	Name: "onnx.NonZero", Since: since(9, 13), Doc: "positions of the elements that are not zero",
	In: ops(in("X", "T", anyTensor)), Out: ops(in("Y", "", i64s)),
	Deduce: func(c *ir.Call) error {
		size := c.Tensor(0).Size()
		c.SetOut(0, tensor.I64, sym.Const(int64(c.Rank(0))), c.Fresh(&size))
		return nil
	},
	Count: func(k *ir.KernelCall) (count int64, err error) {
		err = eachNonZero(k, func(int64) bool { count++; return true })
		return count, err
	},
	Fill: func(k *ir.KernelCall, out []*tensor.Tensor) error {
		if out[0].Len() == 0 {
			return nil
		}
		shape, y, count, c := k.Arg(0).Shape(), tensor.Data[int64](out[0]), out[0].Shape()[1], int64(0)
		return eachNonZero(k, func(i int64) bool {
			for d := len(shape) - 1; d >= 0; d-- {
				y[int64(d)*count+c] = i % shape[d]
				i /= shape[d]
			}
			c++
			return c < count
		})
	},
})

// eachNonZero goes through the elements of operand 0 that are not zero, as long as f wants more.
func eachNonZero(k *ir.KernelCall, f func(i int64) bool) error {
	x := k.Arg(0)
	n := x.Len()
	for from := int64(0); from < n; from += ctxStride {
		if err := k.Context.Err(); err != nil {
			return err
		}
		if !nonZerosIn(x, from, min(from+ctxStride, n), f) {
			return nil
		}
	}
	return nil
}

// nonZerosIn goes through some elements; it is false where f wants no more. Of masks, which have many and of them few that are set,
// those that are not are passed eight at a time.
func nonZerosIn(x *tensor.Tensor, from, to int64, f func(i int64) bool) bool {
	switch x.DType() {
	case tensor.Bool:
		bits := x.Bytes()
		for i := from; i < to; i++ {
			for i+8 <= to && endian.LittleEndian.Uint64(bits[i:]) == 0 {
				i += 8
			}
			if i < to && bits[i] != 0 && !f(i) {
				return false
			}
		}
	case tensor.I64:
		for i, v := range tensor.Data[int64](x)[from:to] {
			if v != 0 && !f(from+int64(i)) {
				return false
			}
		}
	default:
		for i := from; i < to; i++ {
			if nonZero(x, i) && !f(i) {
				return false
			}
		}
	}
	return true
}

// ctxStride is after how many elements a long loop looks whether it is to stop.
const ctxStride = 1 << 20

func nonZero(x *tensor.Tensor, i int64) bool {
	switch d := x.DType(); {
	case d == tensor.String:
		return x.Str(i) != ""
	case d.IsComplex():
		return x.Complex(i) != 0
	case d.IsInt() || d == tensor.Bool:
		return x.Int(i) != 0
	}
	return x.Float(i) != 0
}

// Compress keeps the slices along axis (or, without one, the elements in row-major
// order) whose condition holds.
var Compress = ir.Register(&ir.OpDef{
	Name: "onnx.Compress", Since: since(9, 11), Doc: "keeps what a condition selects",
	In: ops(in("input", "T", anyTensor), in("condition", "", bools)), Out: ops(in("output", "T", anyTensor)),
	Attrs: attrs(attrOpt("axis", int64(0))),
	Deduce: func(c *ir.Call) error {
		if c.Rank(1) != 1 {
			return c.Errorf("the condition has rank %d, it must be a list", c.Rank(1))
		}
		bound := c.Dims(1)[0]
		if !c.HasAttr("axis") {
			c.SetOut(0, c.DType(0), c.Fresh(&bound))
			return nil
		}
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		out := append([]sym.Expr(nil), c.Dims(0)...)
		out[a] = c.Fresh(&bound)
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x, cond := k.Arg(0), tensor.Data[bool](k.Arg(1))
		a := 0
		if k.HasAttr("axis") {
			var err error
			if a, err = k.Axis(k.Int("axis"), x.Rank()); err != nil {
				return nil, err
			}
		} else {
			x, _ = x.View(x.Len())
		}
		var at []int64
		for i, on := range cond {
			if !on {
				continue
			}
			if int64(i) >= x.Shape()[a] {
				return nil, k.Errorf("the condition selects position %d of a dim of %d", i, x.Shape()[a])
			}
			at = append(at, int64(i))
		}
		y, err := takeAlong(k, x, a, at)
		return []tensor.Value{y}, err
	},
})

// takeAlong gives the slices of x along axis a at positions.
func takeAlong(k *ir.KernelCall, x *tensor.Tensor, a int, at []int64) (*tensor.Tensor, error) {
	shape := append([]int64(nil), x.Shape()...)
	shape[a] = int64(len(at))
	out, err := k.Make(x.DType(), shape)
	if err != nil {
		return nil, err
	}
	inner, outer := int64(1), int64(1)
	for _, n := range x.Shape()[a+1:] {
		inner *= n
	}
	for _, n := range x.Shape()[:a] {
		outer *= n
	}
	to := int64(0)
	for o := range outer {
		if err := k.Context.Err(); err != nil {
			return nil, err
		}
		for _, p := range at {
			from := (o*x.Shape()[a] + p) * inner
			for i := range inner {
				tensor.CopyElem(out, to, x, from+i)
				to++
			}
		}
	}
	return out, nil
}
