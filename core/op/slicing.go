package op

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Slice takes starts, ends, axes and steps as operands, in the manner of Python:
// negative positions count from the end, those out of range are clamped.
var Slice = ir.Register(&ir.OpDef{
	Name: "onnx.Slice", Since: since(1, 10, 11, 13), Doc: "a range along each of some axes",
	In: ops(in("data", "T", anyTensor), in("starts", "I", indices), in("ends", "I", indices),
		opt("axes", "I", indices), opt("steps", "I", indices)),
	Out: ops(in("output", "T", anyTensor)),
	Deduce: func(c *ir.Call) error {
		out := append([]sym.Expr(nil), c.Dims(0)...)
		cuts, err := slicing(c)
		if err != nil {
			return err
		}
		for i := range out {
			switch {
			case cuts == nil:
				out[i] = c.Fresh(&out[i])
			case cuts[i].open:
				out[i] = c.Fresh(&out[i])
			default:
				out[i] = cuts[i].size
			}
		}
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		cuts, err := slicing(c)
		if err != nil {
			return err
		}
		if cuts == nil {
			return ir.ErrDynamic
		}
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		for i, cut := range cuts {
			if cut.open {
				return ir.ErrDynamic
			}
			ix[i] = ix[i].Mul(ir.IntLit(cut.step)).Add(ir.SymVal(cut.start))
		}
		b.Map(b.Out(0), axes, ir.Load(b.In(0), ix...))
		return nil
	},
})

// cut is what a slice does to one dim: element i of the result is element
// start + i*step of the operand.
type cut struct {
	start, size sym.Expr
	step        int64
	open        bool // only a run tells
}

// slicing gives the cut of every dim; nil where not even the axes are known.
func slicing(c *ir.Call) ([]cut, error) {
	d := c.Dims(0)
	starts, ok1 := c.Ints(1)
	ends, ok2 := c.Ints(2)
	var axes []int
	n, static := c.Tensor(1).Static()
	if c.Has(3) {
		list, ok := c.ConstInts(3)
		if !ok {
			return nil, nil
		}
		var err error
		if axes, err = c.Axes(list, len(d)); err != nil {
			return nil, err
		}
	} else {
		if !static || len(n) != 1 {
			return nil, nil
		}
		if n[0] > int64(len(d)) {
			return nil, c.Errorf("%d starts for a rank-%d operand", n[0], len(d))
		}
		for i := range n[0] {
			axes = append(axes, int(i))
		}
	}
	steps := make([]int64, len(axes))
	for i := range steps {
		steps[i] = 1
	}
	okSteps := true
	if c.Has(4) {
		steps, okSteps = c.ConstInts(4)
	}
	if ok1 && len(starts) != len(axes) || ok2 && len(ends) != len(axes) || okSteps && len(steps) != len(axes) {
		return nil, c.Errorf("starts, ends, axes and steps are not equally many")
	}
	cuts := make([]cut, len(d))
	for i := range cuts {
		cuts[i] = cut{size: d[i], step: 1}
	}
	for i, a := range axes {
		if !ok1 || !ok2 || !okSteps {
			cuts[a].open = true
			continue
		}
		if steps[i] == 0 {
			return nil, c.Errorf("the step along axis %d is 0", a)
		}
		cuts[a] = cutOf(c.Syms, d[a], starts[i], ends[i], steps[i])
	}
	return cuts, nil
}

func cutOf(ctx *sym.Context, d, start, end sym.Expr, step int64) cut {
	k := cut{step: step}
	lo, hi := sym.Const(0), d // a position is clamped to [lo, hi]
	if step < 0 {
		lo, hi = sym.Const(-1), d.Sub(sym.Const(1))
	}
	s, ok1 := position(ctx, d, start, sym.Const(0), hi)
	e, ok2 := position(ctx, d, end, lo, hi)
	if !ok1 || !ok2 {
		k.open = true
		return k
	}
	k.start = s
	if step > 0 {
		k.size = ctx.Simplify(e.Sub(s).CeilDiv(sym.Const(step)).Max(sym.Const(0)))
	} else {
		k.size = ctx.Simplify(s.Sub(e).CeilDiv(sym.Const(-step)).Max(sym.Const(0)))
	}
	return k
}

// position clamps p, counted from the end when negative, to [lo, hi]; false where its
// sign is not known.
func position(ctx *sym.Context, d, p, lo, hi sym.Expr) (sym.Expr, bool) {
	if n, ok := p.Int(); ok {
		// The extremes of the integer types mean "all the way".
		if n >= math.MaxInt32 {
			return hi, true
		}
		if n <= math.MinInt32 {
			return lo, true
		}
	}
	switch neg := ctx.LT(p, sym.Const(0)); neg {
	case sym.True:
		p = p.Add(d)
	case sym.Unknown:
		return p, false
	}
	return ctx.Simplify(p.Max(lo).Min(hi)), true
}

// Pad adds elements around a tensor (or takes them away, where a pad is negative):
// a constant, or elements of the tensor itself.
var Pad = ir.Register(&ir.OpDef{
	Name: "onnx.Pad", Since: since(1, 2, 11, 13, 18, 19, 21, 23, 24, 25), Doc: "adds elements around a tensor",
	In: ops(in("data", "T", anyTensor), in("pads", "", i64s), opt("constant_value", "T", anyTensor),
		opt("axes", "I", indices)),
	Out:   ops(in("output", "T", anyTensor)),
	Attrs: attrs(attr("mode", "constant")),
	Deduce: func(c *ir.Call) error {
		before, after, err := padding(c)
		if err != nil {
			return err
		}
		out := make([]sym.Expr, c.Rank(0))
		for i, d := range c.Dims(0) {
			if before == nil {
				out[i] = c.Fresh(nil)
			} else {
				out[i] = c.Syms.Simplify(d.Add(before[i]).Add(after[i]))
				if _, hi := c.Syms.Bounds(out[i]); hi < 0 {
					return c.Errorf("pads %s and %s take more than dim %d, %s, has", before[i], after[i], i, d)
				}
			}
		}
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		before, _, err := padding(c)
		if err != nil {
			return err
		}
		if before == nil {
			return ir.ErrDynamic
		}
		mode := c.Str("mode")
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		var inside *ir.Scalar
		for i, d := range c.Dims(0) {
			if before[i].IsInt(0) && c.Syms.Equal(d, axes[i].Extent) == sym.True {
				continue
			}
			p := ix[i].Sub(ir.SymVal(before[i]))
			n := ir.SymVal(d)
			last := ir.SymVal(d.Sub(sym.Const(1)))
			switch mode {
			case "constant":
				ok := p.Ge(ir.IntLit(0)).And(p.Lt(n))
				if inside == nil {
					inside = ok
				} else {
					inside = inside.And(ok)
				}
			case "edge":
				p = p.Max(ir.IntLit(0)).Min(last)
			case "wrap":
				p = p.Mod(n)
			case "reflect": // a period of 2(d-1); a dim of 1 has but one element
				q := p.Mod(ir.SymVal(d.Sub(sym.Const(1)).Mul(sym.Const(2)).Max(sym.Const(1))))
				p = q.Min(last.Add(last).Sub(q)).Max(ir.IntLit(0))
			}
			ix[i] = p
		}
		x := ir.Load(b.In(0), ix...)
		if inside != nil {
			x = ir.Guard(inside, x, padValue(c, b))
		}
		b.Map(b.Out(0), axes, x)
		return nil
	},
})

func padValue(c *ir.Call, b *ir.Body) *ir.Scalar {
	if c.Has(2) {
		v := b.In(2)
		ix := make([]*ir.Scalar, len(v.Dims)) // some exporters give [1] for a scalar
		for i := range ix {
			ix[i] = ir.IntLit(0)
		}
		return ir.Load(v, ix...)
	}
	return zeroOf(c.DType(0))
}

// zeroOf is the literal 0, false or "".
func zeroOf(d tensor.DType) *ir.Scalar { return ir.LitOf(tensor.New(d), 0) }

// padding gives the pads before and after each dim; nil where only a run tells.
func padding(c *ir.Call) (before, after []sym.Expr, err error) {
	switch mode := c.Str("mode"); mode {
	case "constant", "edge", "wrap", "reflect":
	default:
		return nil, nil, c.Errorf("mode %q is none of constant, edge, reflect, wrap", mode)
	}
	pads, ok := c.Ints(1)
	if !ok {
		return nil, nil, nil
	}
	r := c.Rank(0)
	axes := make([]int, r)
	for i := range axes {
		axes[i] = i
	}
	if c.Has(3) {
		list, ok := c.ConstInts(3)
		if !ok {
			return nil, nil, nil
		}
		if axes, err = c.Axes(list, r); err != nil {
			return nil, nil, err
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, nil, c.Errorf("%d pads for %d axes", len(pads), len(axes)).Hint("two for each axis: all before, then all after")
	}
	before, after = make([]sym.Expr, r), make([]sym.Expr, r)
	for i, a := range axes {
		before[a], after[a] = pads[i], pads[len(axes)+i]
	}
	return before, after, nil
}

// Range counts from start to before limit by delta.
var Range = ir.Register(&ir.OpDef{
	Name: "onnx.Range", Since: since(11, 27), Doc: "counts from start to limit by delta",
	In:    ops(in("start", "T", numeric), in("limit", "T", numeric), in("delta", "T", numeric)),
	Out:   ops(in("output", "T", numeric)),
	Attrs: attrs(attr("stash_type", 1)),
	Deduce: func(c *ir.Call) error {
		for i := range 3 {
			if n, ok := c.Tensor(i).Size().Int(); ok && n != 1 {
				return c.Errorf("operand %d has %d elements, it takes one", i, n)
			}
		}
		if d := c.DType(0); c.Int("stash_type") != 1 && d != d.Compute() {
			return c.Unsupported("stash_type %d for %s", c.Int("stash_type"), d)
		}
		n, err := rangeSize(c)
		if err != nil {
			return err
		}
		if n == nil {
			f := c.Fresh(nil)
			n = &f
		}
		c.SetOut(0, c.DType(0), *n)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		if n, err := rangeSize(c); err != nil {
			return err
		} else if n == nil {
			return ir.ErrDynamic
		}
		axes := b.Axes(b.Out(0).Dims)
		first := func(i int) *ir.Scalar {
			if s, ok := c.Ints(i); ok && c.DType(0) == tensor.I64 {
				return ir.SymVal(s[0])
			}
			buf := b.In(i)
			ix := make([]*ir.Scalar, len(buf.Dims))
			for j := range ix {
				ix[j] = ir.IntLit(0)
			}
			return b.Load(buf, ix...)
		}
		start, delta := first(0), first(2)
		b.Map(b.Out(0), axes, start.Add(axes[0].Ix().To(start.DType).Mul(delta)))
		return nil
	},
})

// rangeSize is max(ceil((limit-start)/delta), 0); nil where only a run tells.
func rangeSize(c *ir.Call) (*sym.Expr, error) {
	if c.DType(0).IsInt() {
		start, ok0 := c.Ints(0)
		limit, ok1 := c.Ints(1)
		delta, ok2 := c.Ints(2)
		if !ok0 || !ok1 || !ok2 {
			return nil, nil
		}
		d, by := limit[0].Sub(start[0]), delta[0]
		switch lo, hi := c.Syms.Bounds(by); {
		case lo == 0 && hi == 0:
			return nil, c.Errorf("delta is 0")
		case hi < 0:
			d, by = d.Neg(), by.Neg()
		case lo <= 0:
			return nil, nil
		}
		n := c.Syms.Simplify(d.CeilDiv(by).Max(sym.Const(0)))
		return &n, nil
	}
	start, limit, delta := c.Const(0), c.Const(1), c.Const(2)
	if start == nil || limit == nil || delta == nil {
		return nil, nil
	}
	n := math.Ceil((limit.Float(0) - start.Float(0)) / delta.Float(0))
	if math.IsNaN(n) || n > 1<<40 {
		return nil, c.Errorf("from %g to %g by %g is no finite range", start.Float(0), limit.Float(0), delta.Float(0))
	}
	e := sym.Const(int64(max(n, 0)))
	return &e, nil
}

// ConstantOfShape fills a tensor of the shape that operand 0 lists with one value,
// the f32 zero by default.
var ConstantOfShape = ir.Register(&ir.OpDef{
	Name: "onnx.ConstantOfShape", Since: since(9, 20, 21, 23, 24, 25), Doc: "a tensor of one value",
	In: ops(in("input", "", i64s)), Out: ops(in("output", "", anyTensor)),
	Attrs: attrs(attrOpt("value", (*tensor.Tensor)(nil))),
	Deduce: func(c *ir.Call) error {
		d := fillValue(c).DType
		shape, ok := c.Ints(0)
		if !ok {
			n, ok := c.Tensor(0).Static()
			if !ok || len(n) != 1 || n[0] > 64 {
				c.SetOutType(0, ir.UnrankedOf(d))
				return nil
			}
			shape = make([]sym.Expr, n[0])
			for i := range shape {
				shape[i] = c.Fresh(nil)
			}
		}
		for i, e := range shape {
			if _, hi := c.Syms.Bounds(e); hi < 0 {
				return c.Errorf("dim %d of the shape is %s", i, e)
			}
		}
		c.SetOut(0, d, shape...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		if _, ok := c.Ints(0); !ok {
			return ir.ErrDynamic
		}
		b.Map(b.Out(0), b.Axes(b.Out(0).Dims), fillValue(c))
		return nil
	},
})

func fillValue(c *ir.Call) *ir.Scalar {
	if t := c.TensorAttr("value"); t != nil && t.Len() > 0 {
		return ir.LitOf(t, 0)
	}
	return ir.Lit(tensor.F32, 0)
}
