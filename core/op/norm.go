package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// moments computes mean and mean squared deviation of x over the dims from axis on,
// into temporaries that have the dims before. load reads x in the type to compute in.
func moments(b *ir.Body, dims []sym.Expr, axis int, load func(ix []*scalar) *scalar) (mean, variance *ir.Buffer) {
	n := func(x *scalar) *scalar { return ir.SymVal(sym.Prod(dims[axis:]...)).To(x.DType) }
	outer, red := b.Axes(dims[:axis]), b.Axes(dims[axis:])
	x := load(append(ir.Ix(outer), ir.Ix(red)...))
	sum := b.Reduced(outer, ir.Sum, red, x)
	outer = b.Axes(dims[:axis])
	s := ir.Load(sum, ir.Ix(outer)...)
	mean = b.Mapped(outer, s.Div(n(s)))
	outer, red = b.Axes(dims[:axis]), b.Axes(dims[axis:])
	d := load(append(ir.Ix(outer), ir.Ix(red)...)).Sub(ir.Load(mean, ir.Ix(outer)...))
	sum = b.Reduced(outer, ir.Sum, red, d.Mul(d))
	outer = b.Axes(dims[:axis])
	s = ir.Load(sum, ir.Ix(outer)...)
	variance = b.Mapped(outer, s.Div(n(s)))
	return mean, variance
}

// momentsOver are the moments of X over the dims that over marks.
func momentsOver(b *ir.Body, X *ir.Buffer, over []bool) (mean, variance *ir.Buffer) {
	var order []int // of dims: those that stay, then those that are combined
	for _, combined := range []bool{false, true} {
		for i, o := range over {
			if o == combined {
				order = append(order, i)
			}
		}
	}
	dims := make([]sym.Expr, len(order))
	stay := 0
	for i, d := range order {
		dims[i] = X.Dims[d]
		if !over[d] {
			stay++
		}
	}
	return moments(b, dims, stay, func(ix []*scalar) *scalar {
		at := make([]*scalar, len(ix))
		for i, d := range order {
			at[d] = ix[i]
		}
		return b.Load(X, at...)
	})
}

// inverseRoot is 1/sqrt(variance + epsilon).
func inverseRoot(c *call, variance *scalar) *scalar {
	return variance.Const(1).Div(variance.Add(variance.Const(c.Float("epsilon"))).Sqrt())
}

// stash is the element type that a normalisation gives its statistics in.
func stash(c *call) (tensor.DType, error) {
	d, _ := tensor.DTypeFromONNX(int32(c.Int("stash_type")))
	if !slices.Contains(floats, d) {
		return d, c.Errorf("stash_type %d is no float type", c.Int("stash_type"))
	}
	return d, nil
}

// perChannel checks that operands hold one element for each of n channels.
func perChannel(c *call, n sym.Expr, operands ...int) error {
	for _, i := range operands {
		if d := c.Dims(i); len(d) != 1 || c.Syms.Equal(d[0], n) == sym.False {
			o, _ := c.Op.Operand(i)
			return c.Errorf("operand %d (%s) has shape %s, it takes one element for each of %s channels", i, o.Name, ir.ShapeString(d), n)
		}
	}
	return nil
}

// LayerNormalization normalises over the dims from axis on, then scales and shifts. Mean
// and inverse standard deviation are results too; all is computed in f32 (f64 for f64).
var LayerNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.LayerNormalization", Since: since(17), Doc: "normalises over the dims from axis on",
	In:    ops(in("X", "T", floats), in("Scale", "T", floats), opt("B", "T", floats)),
	Out:   ops(in("Y", "T", floats), opt("Mean", "", floats), opt("InvStdDev", "", floats)),
	Attrs: attrs(attr("axis", -1), attr("epsilon", 1e-5), attr("stash_type", 1)),
	Deduce: func(c *call) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		d := c.Dims(0)
		c.SetOut(0, c.DType(0), d...)
		stat := slices.Clone(d)
		for i := a; i < len(d); i++ {
			stat[i] = sym.Const(1)
		}
		t, err := stash(c)
		for i := 1; i <= 2; i++ {
			c.SetOut(i, t, stat...)
		}
		for i := 1; i <= 2 && err == nil; i++ {
			if c.Has(i) {
				err = broadcastsTo(c, i, d)
			}
		}
		return err
	},
	Body: func(c *call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		X := b.In(0)
		mean, variance := moments(b, X.Dims, a, func(ix []*scalar) *scalar { return b.Load(X, ix...) })
		inv := func(ix []*scalar) *scalar { return inverseRoot(c, ir.Load(variance, ix...)) }
		out := b.Axes(X.Dims)
		ix := ir.Ix(out)
		y := b.Load(X, ix...).Sub(ir.Load(mean, ix[:a]...)).Mul(inv(ix[:a]))
		y = y.Mul(b.LoadBcast(b.In(1), out))
		if c.Has(2) {
			y = y.Add(b.LoadBcast(b.In(2), out))
		}
		b.Map(b.Out(0), out, y)
		for i, stat := range []func([]*scalar) *scalar{func(ix []*scalar) *scalar { return ir.Load(mean, ix...) }, inv} {
			if c.Wants(1 + i) {
				out := b.Axes(b.Out(1 + i).Dims)
				b.Map(b.Out(1+i), out, stat(ir.Ix(out[:a])))
			}
		}
		return nil
	},
})

// RMSNormalization divides by the root of the mean square over the dims from axis on.
var RMSNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.RMSNormalization", Since: since(23), Doc: "divides by the root mean square over the dims from axis on",
	In:    ops(in("X", "T", floats), in("scale", "V", floats)),
	Out:   ops(in("Y", "V", floats)),
	Attrs: attrs(attr("axis", -1), attr("epsilon", 1e-5), attr("stash_type", 1)),
	Deduce: func(c *call) error {
		if _, err := c.Axis(c.Int("axis"), c.Rank(0)); err != nil {
			return err
		}
		if _, err := stash(c); err != nil {
			return err
		}
		c.SetOut(0, c.DType(1), c.Dims(0)...)
		return broadcastsTo(c, 1, c.Dims(0))
	},
	Body: func(c *call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		X := b.In(0)
		outer, red := b.Axes(X.Dims[:a]), b.Axes(X.Dims[a:])
		x := b.Load(X, append(ir.Ix(outer), ir.Ix(red)...)...)
		sum := b.Reduced(outer, ir.Sum, red, x.Mul(x))
		out := b.Axes(X.Dims)
		s := ir.Load(sum, ir.Ix(out[:a])...)
		n := ir.SymVal(sym.Prod(X.Dims[a:]...)).To(s.DType)
		y := b.Load(X, ir.Ix(out)...).Div(s.Div(n).Add(s.Const(c.Float("epsilon"))).Sqrt())
		scale := b.LoadBcast(b.In(1), out)
		b.Map(b.Out(0), out, y.To(scale.DType).Mul(scale))
		return nil
	},
})

// InstanceNormalization normalises each channel of each example over its spatial dims.
var InstanceNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.InstanceNormalization", Since: since(1, 6, 22), Doc: "normalises each channel over its spatial dims",
	In:    ops(in("input", "T", floats), in("scale", "T", floats), in("B", "T", floats)),
	Out:   ops(in("output", "T", floats)),
	Attrs: attrs(attr("epsilon", 1e-5)),
	Deduce: func(c *call) error {
		d := c.Dims(0)
		if len(d) < 2 {
			return c.Errorf("an operand of rank %d has no channels", len(d))
		}
		c.SetOut(0, c.DType(0), d...)
		return perChannel(c, d[1], 1, 2)
	},
	Body: func(c *call, b *ir.Body) error {
		X := b.In(0)
		mean, variance := moments(b, X.Dims, 2, func(ix []*scalar) *scalar { return b.Load(X, ix...) })
		out := b.Axes(X.Dims)
		ix := ir.Ix(out)
		y := b.Load(X, ix...).Sub(ir.Load(mean, ix[:2]...)).Mul(inverseRoot(c, ir.Load(variance, ix[:2]...)))
		b.Map(b.Out(0), out, y.Mul(b.Load(b.In(1), ix[1])).Add(b.Load(b.In(2), ix[1])))
		return nil
	},
})

// GroupNormalization normalises groups of channels, with a scale and shift per channel.
var GroupNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.GroupNormalization", Since: since(21), Doc: "normalises groups of channels",
	In:    ops(in("X", "T", floats), in("scale", "T", floats), in("bias", "T", floats)),
	Out:   ops(in("Y", "T", floats)),
	Attrs: attrs(attr("epsilon", 1e-5), attrReq("num_groups", int64(0)), attr("stash_type", 1)),
	Deduce: func(c *call) error {
		d, g := c.Dims(0), c.Int("num_groups")
		if len(d) < 2 || g < 1 || c.Syms.Divides(sym.Const(g), d[1]) == sym.False {
			return c.Errorf("the channels of %s in %d groups", c.Tensor(0), g)
		}
		if _, err := stash(c); err != nil {
			return err
		}
		c.SetOut(0, c.DType(0), d...)
		return perChannel(c, d[1], 1, 2)
	},
	Body: func(c *call, b *ir.Body) error {
		X := b.In(0)
		per := c.Syms.Simplify(X.Dims[1].FloorDiv(sym.Const(c.Int("num_groups"))))
		grouped := append([]sym.Expr{X.Dims[0], sym.Const(c.Int("num_groups")), per}, X.Dims[2:]...)
		mean, variance := moments(b, grouped, 2, func(ix []*scalar) *scalar {
			ch := ix[1].Mul(ir.SymVal(per)).Add(ix[2])
			return b.Load(X, append([]*scalar{ix[0], ch}, ix[3:]...)...)
		})
		out := b.Axes(X.Dims)
		ix := ir.Ix(out)
		g := []*scalar{ix[0], ix[1].FloorDiv(ir.SymVal(per))}
		y := b.Load(X, ix...).Sub(ir.Load(mean, g...)).Mul(inverseRoot(c, ir.Load(variance, g...)))
		b.Map(b.Out(0), out, y.Mul(b.Load(b.In(1), ix[1])).Add(b.Load(b.In(2), ix[1])))
		return nil
	},
})

// BatchNormalization normalises channels by given statistics; in training mode by
// those of the batch, which it also mixes into running ones. A list is a batch of
// examples of one channel.
var BatchNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.BatchNormalization", Since: since(1, 6, 7, 9, 14, 15), Doc: "normalises channels by statistics",
	In: ops(in("X", "T", floats), in("scale", "T1", floats), in("B", "T1", floats), in("input_mean", "T2", floats),
		in("input_var", "T2", floats)),
	Out:   ops(in("Y", "T", floats), opt("running_mean", "T2", floats), opt("running_var", "T2", floats)),
	Attrs: attrs(attr("epsilon", 1e-5), attr("momentum", 0.9), attr("training_mode", 0)),
	Deduce: func(c *call) error {
		d := c.Dims(0)
		if len(d) < 1 {
			return c.Errorf("a scalar has no channels")
		}
		channels := sym.Const(1)
		if len(d) > 1 {
			channels = d[1]
		}
		c.SetOut(0, c.DType(0), d...)
		for i := 1; i <= 2; i++ {
			if c.Wants(i) && !c.Flag("training_mode") {
				return c.Errorf("running statistics are results of training_mode alone")
			}
			c.SetOut(i, c.DType(3), channels)
		}
		return perChannel(c, channels, 1, 2, 3, 4)
	},
	Body: func(c *call, b *ir.Body) error {
		X := b.In(0)
		stat := func(i int, ch *scalar) *scalar { return b.Load(b.In(i), ch).To(X.DType.Compute()) }
		mean := func(ch *scalar) *scalar { return stat(3, ch) }
		variance := func(ch *scalar) *scalar { return stat(4, ch) }
		if c.Flag("training_mode") {
			m, v := channelMoments(b, X)
			mean = func(ch *scalar) *scalar { return ir.Load(m, ch) }
			variance = func(ch *scalar) *scalar { return ir.Load(v, ch) }
			for i, now := range []func(*scalar) *scalar{mean, variance} {
				if !c.Wants(1 + i) {
					continue
				}
				out := b.Axes(b.Out(1 + i).Dims)
				ch := out[0].Ix()
				old, momentum := stat(3+i, ch), c.Float("momentum")
				b.Map(b.Out(1+i), out, old.Mul(old.Const(momentum)).Add(now(ch).Mul(old.Const(1-momentum))))
			}
		}
		out := b.Axes(X.Dims)
		ch := ir.IntLit(0)
		if len(out) > 1 {
			ch = out[1].Ix()
		}
		y := b.Load(X, ir.Ix(out)...).Sub(mean(ch)).Mul(inverseRoot(c, variance(ch)))
		b.Map(b.Out(0), out, y.Mul(stat(1, ch)).Add(stat(2, ch)))
		return nil
	},
})

// channelMoments are the moments of each channel over all examples and positions.
func channelMoments(b *ir.Body, X *ir.Buffer) (mean, variance *ir.Buffer) {
	if len(X.Dims) == 1 {
		dims := append([]sym.Expr{sym.Const(1)}, X.Dims...)
		return moments(b, dims, 1, func(ix []*scalar) *scalar { return b.Load(X, ix[1:]...) })
	}
	over := make([]bool, len(X.Dims))
	for i := range over {
		over[i] = i != 1
	}
	return momentsOver(b, X, over)
}

// LpNormalization divides by the p-norm along an axis; where that is 0 it stays 0.
var LpNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.LpNormalization", Since: since(1, 22), Doc: "divides by the p-norm along an axis",
	In: ops(in("input", "T", floats)), Out: ops(in("output", "T", floats)),
	Attrs: attrs(attr("axis", -1), attr("p", 2)),
	Deduce: func(c *call) error {
		if p := c.Int("p"); p != 1 && p != 2 {
			return c.Errorf("p is %d, it takes 1 or 2", p)
		}
		return keepsShape(c)
	},
	Body: func(c *call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		X := b.In(0)
		sum := alongAxis(b, X.Dims, a, ir.Sum, func(ix []*scalar) *scalar {
			x := b.Load(X, ix...)
			if c.Int("p") == 1 {
				return x.Abs()
			}
			return x.Mul(x)
		})
		out := b.Axes(X.Dims)
		ix := ir.Ix(out)
		n := ir.Load(sum, without(ix, a)...)
		if c.Int("p") == 2 {
			n = n.Sqrt()
		}
		b.Map(b.Out(0), out, ir.Select(n.Eq(n.Const(0)), n.Const(0), b.Load(X, ix...).Div(n)))
		return nil
	},
})

// LRN divides by (bias + alpha/size * sum of squares over neighbouring channels)^beta.
var LRN = ir.Register(&ir.OpDef{
	Name: "onnx.LRN", Since: since(1, 13), Doc: "normalises over neighbouring channels",
	In: ops(in("X", "T", floats)), Out: ops(in("Y", "T", floats)),
	Attrs: attrs(attr("alpha", 1e-4), attr("beta", 0.75), attr("bias", 1.0), attrReq("size", int64(0))),
	Deduce: func(c *call) error {
		if c.Rank(0) < 2 || c.Int("size") < 1 {
			return c.Errorf("size %d over the channels of %s", c.Int("size"), c.Tensor(0))
		}
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		X, size := b.In(0), c.Int("size")
		axes, w := b.Axes(X.Dims), b.Axis(sym.Const(size))
		ix := ir.Ix(axes)
		ix[1] = ix[1].Add(w.Ix()).Sub(ir.IntLit((size - 1) / 2))
		inside := ix[1].Ge(ir.IntLit(0)).And(ix[1].Lt(ir.SymVal(X.Dims[1])))
		x := b.Load(X, ix...)
		x = ir.Guard(inside, x, x.Const(0))
		sum := b.Reduced(axes, ir.Sum, []*ir.Axis{w}, x.Mul(x))
		out := b.Axes(X.Dims)
		s := ir.Load(sum, ir.Ix(out)...)
		scale := s.Const(c.Float("bias")).Add(s.Mul(s.Const(c.Float("alpha") / float64(size))))
		b.Map(b.Out(0), out, b.Load(X, ir.Ix(out)...).Div(scale.Pow(s.Const(c.Float("beta")))))
		return nil
	},
})

// MeanVarianceNormalization normalises over axes, examples and space by default.
var MeanVarianceNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.MeanVarianceNormalization", Since: since(9, 13), Doc: "normalises to mean 0 and variance 1 over axes",
	In: ops(in("X", "T", floats)), Out: ops(in("Y", "T", floats)),
	Attrs: attrs(attr("axes", []int64{0, 2, 3})),
	Deduce: func(c *call) error {
		_, err := c.Axes(c.IntList("axes"), c.Rank(0))
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		return err
	},
	Body: func(c *call, b *ir.Body) error {
		axes, err := c.Axes(c.IntList("axes"), c.Rank(0))
		if err != nil {
			return err
		}
		X := b.In(0)
		over := make([]bool, len(X.Dims))
		for _, a := range axes {
			over[a] = true
		}
		mean, variance := momentsOver(b, X, over)
		out := b.Axes(X.Dims)
		var at []*scalar
		for i, a := range out {
			if !over[i] {
				at = append(at, a.Ix())
			}
		}
		sd := ir.Load(variance, at...).Sqrt()
		b.Map(b.Out(0), out, b.Load(X, ir.Ix(out)...).Sub(ir.Load(mean, at...)).Div(sd.Add(sd.Const(1e-9))))
		return nil
	},
})

// globalPool registers a pooling over all spatial dims, which stay as 1.
func globalPool(name string, versions []int64, doc string, m ir.Monoid, as []ir.AttrDef, pre func(c *call, x *scalar) *scalar, post func(c *call, acc, n *scalar) *scalar) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Since: versions, Doc: doc,
		In: ops(in("X", "T", floats)), Out: ops(in("Y", "T", floats)), Attrs: as,
		Deduce: func(c *call) error {
			if c.Rank(0) < 2 {
				return c.Errorf("an operand of rank %d has no channels", c.Rank(0))
			}
			out := append([]sym.Expr(nil), c.Dims(0)[:2]...)
			for range c.Dims(0)[2:] {
				out = append(out, sym.Const(1))
			}
			c.SetOut(0, c.DType(0), out...)
			return nil
		},
		Body: func(c *call, b *ir.Body) error {
			over := make([]bool, c.Rank(0))
			for i := 2; i < len(over); i++ {
				over[i] = true
			}
			p := newReducer(c, b, c.Dims(0), over)
			acc := b.Reduced(p.axes, m, p.red, pre(c, b.Load(b.In(0), p.index...)))
			out := b.Axes(b.Out(0).Dims)
			x := ir.Load(acc, ir.Ix(out)...)
			b.Map(b.Out(0), out, post(c, x, ir.SymVal(p.count).To(x.DType)))
			return nil
		},
	})
}

func itself(_ *call, x *scalar) *scalar { return x }

var (
	GlobalAveragePool = globalPool("onnx.GlobalAveragePool", since(1, 22), "mean over all of space", ir.Sum, nil, itself,
		func(_ *call, acc, n *scalar) *scalar { return acc.Div(n) })
	GlobalMaxPool = globalPool("onnx.GlobalMaxPool", since(1, 22), "maximum over all of space", ir.Max, nil, itself,
		func(_ *call, acc, _ *scalar) *scalar { return acc })
	GlobalLpPool = globalPool("onnx.GlobalLpPool", since(1, 2, 22), "p-norm over all of space", ir.Sum, attrs(attr("p", 2)),
		func(c *call, x *scalar) *scalar { return x.Abs().Pow(x.Const(float64(c.Int("p")))) },
		func(c *call, acc, _ *scalar) *scalar { return acc.Pow(acc.Const(1 / float64(c.Int("p")))) })
)
