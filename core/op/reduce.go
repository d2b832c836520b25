package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// reduction registers an operator that maps each element with pre, combines over axes
// with a monoid, and maps the result with post, which also gets the number of elements.
func reduction(name string, versions []int64, types []tensor.DType, doc string, m ir.Monoid, pre func(x *scalar) *scalar, post func(acc, n *scalar) *scalar) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Doc: doc, Since: versions,
		In: ops(in("data", "T", types), opt("axes", "", i64s)), Out: ops(in("reduced", "T", types)),
		Attrs:  attrs(attr("keepdims", 1), attr("noop_with_empty_axes", 0)),
		Deduce: deduceReduction,
		Body: func(c *call, b *ir.Body) error {
			over, ok, err := reducedAxes(c)
			if err != nil {
				return err
			}
			if !ok {
				return ir.ErrDynamic
			}
			p := newReducer(c, b, c.Dims(0), over)
			x := b.Load(b.In(0), p.index...)
			if pre != nil {
				x = pre(x)
			}
			if len(p.red) == 0 { // nothing to combine: still mapped
				n := x.Const(1)
				if post != nil {
					x = post(x, n)
				}
				b.Map(b.Out(0), p.axes, x)
				return nil
			}
			if post == nil {
				b.Reduce(b.Out(0), p.axes, m, p.red, x)
				return nil
			}
			acc := b.Reduced(p.axes, m, p.red, x)
			out := b.Axes(b.Out(0).Dims)
			n := ir.SymVal(p.count).To(x.DType)
			b.Map(b.Out(0), out, post(ir.Load(acc, ir.Ix(out)...), n))
			return nil
		},
	})
}

// reducer lays out a reduction: axes of the result, reduction axes, and the index of
// the operand at a point of both.
type reducer struct {
	axes, red []*ir.Axis
	index     []*scalar
	count     sym.Expr // elements that are combined
}

func newReducer(c *call, b *ir.Body, dims []sym.Expr, over []bool) *reducer {
	p := &reducer{axes: b.Axes(b.Out(0).Dims), count: sym.Const(1)}
	keep := len(b.Out(0).Dims) == len(dims)
	next := 0
	for i, d := range dims {
		switch {
		case over[i]:
			a := b.Axis(d)
			p.red = append(p.red, a)
			p.index = append(p.index, a.Ix())
			p.count = p.count.Mul(d)
			if keep {
				next++
			}
		default:
			p.index = append(p.index, p.axes[next].Ix())
			next++
		}
	}
	return p
}

// reducedAxes says which dims a reduction combines; ok is false where a run tells.
func reducedAxes(c *call) (over []bool, ok bool, err error) {
	over = make([]bool, c.Rank(0))
	var list []int64
	if c.Has(1) {
		if list, ok = c.ConstInts(1); !ok {
			return nil, false, nil
		}
	}
	if len(list) == 0 {
		for i := range over {
			over[i] = !c.Flag("noop_with_empty_axes")
		}
		return over, true, nil
	}
	axes, err := c.Axes(list, len(over))
	for _, a := range axes {
		over[a] = true
	}
	return over, true, err
}

func deduceReduction(c *call) error {
	over, ok, err := reducedAxes(c)
	if err != nil {
		return err
	}
	keep := c.Flag("keepdims")
	if n, static := c.Tensor(1).Static(); !ok && !keep {
		if static && len(n) == 1 && n[0] > 0 {
			return openRank(c, 1, -1)
		}
		c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
		return nil
	}
	var out []sym.Expr
	for i, d := range c.Dims(0) {
		switch {
		case !ok: // the dim, or 1
			most := c.Syms.Simplify(d.Max(sym.Const(1)))
			out = append(out, c.Fresh(&most))
		case !over[i]:
			out = append(out, d)
		case keep:
			out = append(out, sym.Const(1))
		}
	}
	c.SetOut(0, c.DType(0), out...)
	return nil
}

var (
	reducible  = slices.Concat([]tensor.DType{tensor.I32, tensor.I64, tensor.U32, tensor.U64}, floats)
	reducible8 = slices.Concat(reducible, bytes8)
	reduceVers = since(1, 11, 13, 18)
)

func square(x *scalar) *scalar { return x.Mul(x) }

// Reductions over axes; without axes over all dims.
var (
	ReduceSum       = reduction("onnx.ReduceSum", since(1, 11, 13), reducible, "sum", ir.Sum, nil, nil)
	ReduceProd      = reduction("onnx.ReduceProd", reduceVers, reducible, "product", ir.Prod, nil, nil)
	ReduceMax       = reduction("onnx.ReduceMax", since(1, 11, 12, 13, 18, 20), slices.Concat(reducible8, bools), "maximum", ir.Max, nil, nil)
	ReduceMin       = reduction("onnx.ReduceMin", since(1, 11, 12, 13, 18, 20), slices.Concat(reducible8, bools), "minimum", ir.Min, nil, nil)
	ReduceMean      = reduction("onnx.ReduceMean", reduceVers, reducible, "mean", ir.Sum, nil, func(acc, n *scalar) *scalar { return acc.Div(n) })
	ReduceL1        = reduction("onnx.ReduceL1", reduceVers, reducible, "sum of absolute values", ir.Sum, (*scalar).Abs, nil)
	ReduceL2        = reduction("onnx.ReduceL2", reduceVers, reducible, "square root of the sum of squares", ir.Sum, square, func(acc, _ *scalar) *scalar { return asFloat(acc).Sqrt().To(acc.DType) })
	ReduceSumSquare = reduction("onnx.ReduceSumSquare", reduceVers, reducible, "sum of squares", ir.Sum, square, nil)
	ReduceLogSum    = reduction("onnx.ReduceLogSum", reduceVers, reducible, "logarithm of the sum", ir.Sum, nil, func(acc, _ *scalar) *scalar { return asFloat(acc).Log().To(acc.DType) })
)

// ReduceLogSumExp is log(sum(exp(x))), the maximum taken out so that it does not overflow.
var ReduceLogSumExp = ir.Register(&ir.OpDef{
	Name: "onnx.ReduceLogSumExp", Since: reduceVers, Doc: "logarithm of the sum of exponentials",
	In: ops(in("data", "T", reducible), opt("axes", "", i64s)), Out: ops(in("reduced", "T", reducible)),
	Attrs:  attrs(attr("keepdims", 1), attr("noop_with_empty_axes", 0)),
	Deduce: deduceReduction,
	Body: func(c *call, b *ir.Body) error {
		over, ok, err := reducedAxes(c)
		if err != nil {
			return err
		}
		if !ok {
			return ir.ErrDynamic
		}
		load := func() (*reducer, *scalar) {
			p := newReducer(c, b, c.Dims(0), over)
			return p, asFloat(b.Load(b.In(0), p.index...))
		}
		p, x := load()
		if len(p.red) == 0 {
			b.Map(b.Out(0), p.axes, x)
			return nil
		}
		m := b.Reduced(p.axes, ir.Max, p.red, x)
		p, x = load()
		shift := finite(ir.Load(m, ir.Ix(p.axes)...))
		sum := b.Reduced(p.axes, ir.Sum, p.red, x.Sub(shift).Exp())
		out := b.Axes(b.Out(0).Dims)
		at := ir.Ix(out)
		b.Map(b.Out(0), out, ir.Load(sum, at...).Log().Add(finite(ir.Load(m, at...))))
		return nil
	},
})

// finite is x, or 0 where x is infinite: a shift must not turn infinities into NaN.
func finite(x *scalar) *scalar {
	return ir.Select(x.Abs().Eq(x.Const(math.Inf(1))), x.Const(0), x)
}

// argExtreme registers ArgMax or ArgMin.
func argExtreme(name, doc string, m ir.Monoid) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Since: since(1, 11, 12, 13), Doc: doc,
		In: ops(in("data", "T", numeric)), Out: ops(in("reduced", "", i64s)),
		Attrs: attrs(attr("axis", 0), attr("keepdims", 1), attr("select_last_index", 0)),
		Deduce: func(c *call) error {
			a, err := c.Axis(c.Int("axis"), c.Rank(0))
			if err != nil {
				return err
			}
			out := slices.Clone(c.Dims(0))
			if c.Flag("keepdims") {
				out[a] = sym.Const(1)
			} else {
				out = without(out, a)
			}
			c.SetOut(0, tensor.I64, out...)
			return nil
		},
		Body: func(c *call, b *ir.Body) error {
			a, err := c.Axis(c.Int("axis"), c.Rank(0))
			if err != nil {
				return err
			}
			over := make([]bool, c.Rank(0))
			over[a] = true
			p := newReducer(c, b, c.Dims(0), over)
			last := ir.SymVal(c.Dims(0)[a]).Sub(ir.IntLit(1))
			if c.Flag("select_last_index") { // the first one from the end
				p.index[a] = last.Sub(p.index[a])
			}
			x := b.Load(b.In(0), p.index...)
			val := b.Temp(x.DType, b.Out(0).Dims...)
			b.Stage(&ir.Stage{Kind: ir.ReduceStage, Outs: []*ir.Buffer{val, b.Out(0)}, Axes: p.axes, Red: p.red, Monoid: m,
				Exprs: []*scalar{x, p.index[a]}})
			return nil
		},
	})
}

var (
	ArgMax = argExtreme("onnx.ArgMax", "position of the maximum", ir.ArgMax)
	ArgMin = argExtreme("onnx.ArgMin", "position of the minimum", ir.ArgMin)
)

// cumulative registers CumSum or CumProd.
func cumulative(name string, versions []int64, doc string, m ir.Monoid) *ir.OpDef {
	types := slices.Concat([]tensor.DType{tensor.I32, tensor.I64, tensor.U32, tensor.U64}, floats)
	return ir.Register(&ir.OpDef{
		Name: name, Since: versions, Doc: doc,
		In: ops(in("x", "T", types), in("axis", "", indices)), Out: ops(in("y", "T", types)),
		Attrs: attrs(attr("exclusive", 0), attr("reverse", 0)),
		Deduce: func(c *call) error {
			c.SetOut(0, c.DType(0), c.Dims(0)...)
			return single(c, 1)
		},
		Body: func(c *call, b *ir.Body) error {
			list, ok := c.ConstInts(1)
			if !ok {
				return ir.ErrDynamic
			}
			a, err := c.Axis(list[0], c.Rank(0))
			if err != nil {
				return err
			}
			axes := b.Axes(c.Dims(0))
			x := b.Load(b.In(0), ir.Ix(axes)...)
			dst := b.Out(0)
			if dst.DType != x.DType {
				dst = b.Temp(x.DType, c.Dims(0)...)
			}
			b.Stage(&ir.Stage{Kind: ir.ScanStage, Outs: []*ir.Buffer{dst}, Axes: axes, Exprs: []*scalar{x}, Monoid: m,
				ScanAxis: axes[a], Exclusive: c.Flag("exclusive"), Reverse: c.Flag("reverse")})
			if dst != b.Out(0) {
				out := b.Axes(c.Dims(0))
				b.Map(b.Out(0), out, ir.Load(dst, ir.Ix(out)...))
			}
			return nil
		},
	})
}

var (
	CumSum  = cumulative("onnx.CumSum", since(11, 14), "sums of all elements up to here", ir.Sum)
	CumProd = cumulative("onnx.CumProd", since(26), "products of all elements up to here", ir.Prod)
)

// keepsShape is the shape rule of operators along the dim that attribute axis names.
func keepsShape(c *call) error {
	_, err := c.Axis(c.Int("axis"), c.Rank(0))
	c.SetOut(0, c.DType(0), c.Dims(0)...)
	return err
}

// softmax registers a function over one axis of exponentials.
func softmax(name, doc string, keep bool, at func(*exponentials, *ir.Body, []*scalar) *scalar) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Since: since(1, 11, 13), Doc: doc,
		In: ops(in("input", "T", floats)), Out: ops(in("output", "T", floats)),
		Attrs:  attrs(attr("axis", -1)),
		Deduce: keepsShape,
		Body: func(c *call, b *ir.Body) error {
			a, err := c.Axis(c.Int("axis"), c.Rank(0))
			if err != nil {
				return err
			}
			e := newExponentials(b, b.In(0), a, keep)
			out := b.Axes(b.In(0).Dims)
			b.Map(b.Out(0), out, at(e, b, ir.Ix(out)))
			return nil
		},
	})
}

// exponentials of a tensor less their maximum along an axis, so that none overflows, and
// their sum along it.
type exponentials struct {
	x, max, sum *ir.Buffer
	kept        *ir.Buffer // the exponentials; nil where they are computed when they are asked for
	axis        int
}

// newExponentials computes them once where they are kept: that costs less than to compute
// them for the sum and again.
func newExponentials(b *ir.Body, x *ir.Buffer, axis int, keep bool) *exponentials {
	e := &exponentials{x: x, axis: axis}
	e.max = alongAxis(b, x.Dims, axis, ir.Max, func(ix []*scalar) *scalar { return b.Load(x, ix...) })
	if keep {
		all := b.Axes(x.Dims)
		e.kept = b.Mapped(all, e.exp(b, ir.Ix(all)))
	}
	e.sum = alongAxis(b, x.Dims, axis, ir.Sum, func(ix []*scalar) *scalar { return e.exp(b, ix) })
	return e
}

func (e *exponentials) exp(b *ir.Body, ix []*scalar) *scalar {
	if e.kept != nil {
		return ir.Load(e.kept, ix...)
	}
	return e.shifted(b, ix).Exp()
}

func (e *exponentials) shifted(b *ir.Body, ix []*scalar) *scalar {
	return b.Load(e.x, ix...).Sub(ir.Load(e.max, without(ix, e.axis)...))
}

// softmax is the share that an element's exponential has in the sum.
func (e *exponentials) softmax(b *ir.Body, ix []*scalar) *scalar {
	return e.exp(b, ix).Div(ir.Load(e.sum, without(ix, e.axis)...))
}

// logSoftmax is the logarithm of softmax.
func (e *exponentials) logSoftmax(b *ir.Body, ix []*scalar) *scalar {
	return e.shifted(b, ix).Sub(ir.Load(e.sum, without(ix, e.axis)...).Log())
}

// without is a list less element i.
func without[T any](list []T, i int) []T { return slices.Delete(slices.Clone(list), i, i+1) }

// alongAxis reduces e over dim a of a shape, into a temporary without that dim.
func alongAxis(b *ir.Body, dims []sym.Expr, a int, m ir.Monoid, e func(ix []*scalar) *scalar) *ir.Buffer {
	axes := b.Axes(without(dims, a))
	red := b.Axis(dims[a])
	return b.Reduced(axes, m, []*ir.Axis{red}, e(slices.Insert(ir.Ix(axes), a, red.Ix())))
}

var (
	Softmax    = softmax("onnx.Softmax", "exponentials, normalised along an axis", true, (*exponentials).softmax)
	LogSoftmax = softmax("onnx.LogSoftmax", "logarithm of softmax", false, (*exponentials).logSoftmax)
)

// Hardmax is 1 at the first maximum along an axis, 0 elsewhere.
var Hardmax = ir.Register(&ir.OpDef{
	Name: "onnx.Hardmax", Since: since(1, 11, 13), Doc: "1 at the first maximum along an axis, else 0",
	In: ops(in("input", "T", floats)), Out: ops(in("output", "T", floats)),
	Attrs:  attrs(attr("axis", -1)),
	Deduce: keepsShape,
	Body: func(c *call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		X := b.In(0)
		outer := without(X.Dims, a)
		axes := b.Axes(outer)
		red := b.Axis(X.Dims[a])
		x := b.Load(X, slices.Insert(ir.Ix(axes), a, red.Ix())...)
		val, at := b.Temp(x.DType, outer...), b.Temp(tensor.I64, outer...)
		b.Stage(&ir.Stage{Kind: ir.ReduceStage, Outs: []*ir.Buffer{val, at}, Axes: axes, Red: []*ir.Axis{red}, Monoid: ir.ArgMax,
			Exprs: []*scalar{x, red.Ix()}})
		out := b.Axes(X.Dims)
		ix := ir.Ix(out)
		hit := ir.Load(at, without(ix, a)...).Eq(ix[a])
		b.Map(b.Out(0), out, ir.Select(hit, x.Const(1), x.Const(0)))
		return nil
	},
})
