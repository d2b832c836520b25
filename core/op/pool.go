package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

var poolAttrs = attrs(attr("auto_pad", "NOTSET"), attr("ceil_mode", 0), attrOpt("dilations", []int64(nil)),
	attrReq("kernel_shape", []int64(nil)), attrOpt("pads", []int64(nil)), attrOpt("strides", []int64(nil)))

// poolWindow is the window of a pooling: kernel_shape over the spatial dims.
func poolWindow(c *ir.Call) (*window, error) {
	d, k := c.Dims(0), c.IntList("kernel_shape")
	if len(d) < 3 || !kernelOf(k, len(d)-2) {
		return nil, c.Errorf("kernel_shape %v for an operand of rank %d", k, len(d))
	}
	return windowOf(c, d[2:], ir.Consts(k))
}

// kernelOf says whether k is the shape of a kernel with n spatial dims.
func kernelOf(k []int64, n int) bool {
	return len(k) == n && !slices.ContainsFunc(k, func(size int64) bool { return size < 1 })
}

func deducePool(c *ir.Call) error {
	w, err := poolWindow(c)
	if err != nil {
		return err
	}
	out := append(append([]sym.Expr(nil), c.Dims(0)[:2]...), w.out...)
	c.SetOut(0, c.DType(0), out...)
	c.SetOut(1, tensor.I64, out...)
	return nil
}

// pool starts the program of a pooling: axes of the result, of the kernel, and the
// element that a point of both reads.
func pool(c *ir.Call, b *ir.Body) (win *window, axes, red []*ir.Axis, ix []*ir.Scalar, inside *ir.Scalar, err error) {
	if win, err = poolWindow(c); err != nil {
		return
	}
	axes = b.Axes(b.Out(0).Dims)
	red = b.Axes(win.kernel)
	sp, inside := win.at(axes[2:], red)
	return win, axes, red, append(ir.Ix(axes[:2]), sp...), inside, nil
}

// lowest is the identity of max.
func lowest(d tensor.DType) *ir.Scalar {
	switch {
	case !d.IsInt():
		return ir.Lit(d, math.Inf(-1))
	case d.IsSigned():
		t := tensor.New(d)
		t.SetInt(0, -1<<(d.Bits()-1))
		return ir.LitOf(t, 0)
	}
	return ir.Lit(d, 0)
}

// MaxPool is the maximum over a window, and where it lies in the operand.
var MaxPool = ir.Register(&ir.OpDef{
	Name: "onnx.MaxPool", Since: since(1, 8, 10, 11, 12, 22), Doc: "maximum over a window",
	In:     ops(in("X", "T", append(bytes8[:2:2], floats...))),
	Out:    ops(in("Y", "T", nil), opt("Indices", "", i64s)),
	Attrs:  append(attrs(attr("storage_order", 0)), poolAttrs...),
	Deduce: deducePool,
	Body: func(c *ir.Call, b *ir.Body) error {
		_, axes, red, ix, inside, err := pool(c, b)
		if err != nil {
			return err
		}
		X := b.In(0)
		x := b.Load(X, ix...)
		x = guarded(inside, x, lowest(x.DType))
		if !c.Wants(1) {
			b.Reduce(b.Out(0), axes, ir.Max, red, x)
			return nil
		}
		// The position counts elements of the whole operand, columns first where
		// storage_order says so.
		order := append([]*ir.Scalar(nil), ix...)
		dims := append([]sym.Expr(nil), X.Dims...)
		if c.Flag("storage_order") {
			for i, j := 2, len(dims)-1; i < j; i, j = i+1, j-1 {
				order[i], order[j] = order[j], order[i]
				dims[i], dims[j] = dims[j], dims[i]
			}
		}
		val, at := b.Temp(x.DType, b.Out(0).Dims...), b.Temp(tensor.I64, b.Out(0).Dims...)
		b.Stage(&ir.Stage{Kind: ir.ReduceStage, Outs: []*ir.Buffer{val, at}, Axes: axes, Red: red, Monoid: ir.ArgMax,
			Exprs: []*ir.Scalar{x, flatten(order, dims)}})
		for i, t := range []*ir.Buffer{val, at} {
			out := b.Axes(t.Dims)
			b.Map(b.Out(i), out, ir.Load(t, ir.Ix(out)...))
		}
		return nil
	},
})

// AveragePool is the mean over a window; elements of the padding count only with
// count_include_pad, those beyond it never.
var AveragePool = ir.Register(&ir.OpDef{
	Name: "onnx.AveragePool", Since: since(1, 7, 10, 11, 19, 22), Doc: "mean over a window",
	In:     ops(in("X", "T", floats)),
	Out:    ops(in("Y", "T", floats)),
	Attrs:  append(attrs(attr("count_include_pad", 0)), poolAttrs...),
	Deduce: deducePool,
	Body: func(c *ir.Call, b *ir.Body) error {
		win, axes, red, ix, inside, err := pool(c, b)
		if err != nil {
			return err
		}
		x := b.Load(b.In(0), ix...)
		sum := b.Reduced(axes, ir.Sum, red, guarded(inside, x, x.Const(0)))
		out := b.Axes(b.Out(0).Dims)
		count := x.Const(1)
		for i := range win.in {
			count = count.Mul(win.count(i, out[2+i], c.Flag("count_include_pad")).To(x.DType))
		}
		b.Map(b.Out(0), out, ir.Load(sum, ir.Ix(out)...).Div(count))
		return nil
	},
})

// count is how many kernel positions along spatial dim i count at output position o:
// those inside the operand, or inside the operand and its padding.
func (w *window) count(i int, o *ir.Axis, withPad bool) *ir.Scalar {
	start := o.Ix().Mul(ir.IntLit(w.stride[i])).Sub(ir.SymVal(w.begin[i]))
	lo, hi := ir.IntLit(0), ir.SymVal(w.in[i])
	if withPad {
		lo, hi = ir.SymVal(w.begin[i].Neg()), ir.SymVal(w.in[i].Add(w.end[i]))
	}
	d := ir.IntLit(w.dilation[i])
	one := ir.IntLit(1)
	// kernel positions k with lo <= start + k*d < hi, 0 <= k < kernel
	first := lo.Sub(start).Add(d).Sub(one).FloorDiv(d).Max(ir.IntLit(0))
	last := hi.Sub(start).Sub(one).FloorDiv(d).Add(one).Min(ir.SymVal(w.kernel[i]))
	return last.Sub(first).Max(one)
}

// LpPool is the p-norm over a window.
var LpPool = ir.Register(&ir.OpDef{
	Name: "onnx.LpPool", Since: since(1, 2, 11, 18, 22), Doc: "p-norm over a window",
	In:     ops(in("X", "T", floats)),
	Out:    ops(in("Y", "T", floats)),
	Attrs:  append(attrs(attr("p", 2)), poolAttrs...),
	Deduce: deducePool,
	Body: func(c *ir.Call, b *ir.Body) error {
		_, axes, red, ix, inside, err := pool(c, b)
		if err != nil {
			return err
		}
		x := b.Load(b.In(0), ix...)
		p := x.Const(float64(c.Int("p")))
		x = guarded(inside, x, x.Const(0)).Abs()
		sum := b.Reduced(axes, ir.Sum, red, x.Pow(p))
		out := b.Axes(b.Out(0).Dims)
		b.Map(b.Out(0), out, ir.Load(sum, ir.Ix(out)...).Pow(x.Const(1).Div(p)))
		return nil
	},
})

// MaxUnpool puts elements back where MaxPool found them, zeros elsewhere.
var MaxUnpool = ir.Register(&ir.OpDef{
	Name: "onnx.MaxUnpool", Since: since(9, 11, 22), Doc: "puts elements back where MaxPool found them",
	In:    ops(in("X", "T", floats), in("I", "", i64s), opt("output_shape", "", i64s)),
	Out:   ops(in("output", "T", floats)),
	Attrs: attrs(attrReq("kernel_shape", []int64(nil)), attrOpt("pads", []int64(nil)), attrOpt("strides", []int64(nil))),
	Deduce: func(c *ir.Call) error {
		d, k := c.Dims(0), c.IntList("kernel_shape")
		n := len(d) - 2
		if n < 1 || !kernelOf(k, n) {
			return c.Errorf("kernel_shape %v for an operand of rank %d", k, len(d))
		}
		if c.Rank(1) != len(d) {
			return c.Errorf("indices of shape %s for elements of shape %s", ir.ShapeString(c.Dims(1)), ir.ShapeString(d))
		}
		if c.Has(2) {
			shape, ok := c.Ints(2)
			if ok && len(shape) != len(d) {
				return c.Errorf("output_shape has %d entries for an operand of rank %d", len(shape), len(d))
			}
			if !ok {
				shape = make([]sym.Expr, len(d))
				for i := range shape {
					shape[i] = c.Fresh(nil)
				}
			}
			c.SetOut(0, c.DType(0), shape...)
			return nil
		}
		s, err := perDim(c, "strides", n)
		if err != nil {
			return err
		}
		pads := c.IntList("pads")
		if pads == nil {
			pads = make([]int64, 2*n)
		}
		if len(pads) != 2*n {
			return c.Errorf("%d pads for %d spatial dims", len(pads), n)
		}
		out := append([]sym.Expr(nil), d[:2]...)
		for i := range n {
			out = append(out, d[2+i].Sub(sym.Const(1)).Mul(sym.Const(s[i])).Add(sym.Const(k[i]-pads[i]-pads[n+i])))
		}
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		if c.Has(2) {
			if _, ok := c.Ints(2); !ok {
				return ir.ErrDynamic
			}
		}
		X, Y := b.In(0), b.Out(0)
		// Indices count elements of what the window alone gives; an output_shape keeps them.
		zero := b.Axes(Y.Dims)
		base := b.Mapped(zero, zeroOf(Y.DType))
		axes := b.Axes(X.Dims)
		at := unflatten(ir.Load(b.In(1), ir.Ix(axes)...), inferredUnpool(c))
		b.Stage(&ir.Stage{Kind: ir.ScatterStage, Outs: []*ir.Buffer{Y}, Axes: axes, Monoid: ir.Last, Base: base, Index: at,
			Exprs: []*ir.Scalar{ir.Load(X, ir.Ix(axes)...)}})
		return nil
	},
})

// inferredUnpool is the shape that window attributes alone give, in which the indices
// of MaxUnpool count.
func inferredUnpool(c *ir.Call) []sym.Expr {
	saved := c.In
	out := append([]ir.Type(nil), c.Out...)
	defer func() { c.In, c.Out = saved, out }()
	c.In = c.In[:2]
	if err := c.Op.Deduce(c); err != nil {
		return c.Dims(0)
	}
	t, _ := c.Out[0].(ir.TensorType)
	return t.Dims
}
