package op

import (
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

// LayerNormalization normalises over the dims from axis on, then scales and shifts. Mean
// and inverse standard deviation are results too; all is computed in f32 (f64 for f64).
var LayerNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.LayerNormalization", Since: since(17), Doc: "normalises over the dims from axis on",
	In:    ops(in("X", "T", floats), in("Scale", "T", floats), opt("B", "T", floats)),
	Out:   ops(in("Y", "T", floats), opt("Mean", "", floats), opt("InvStdDev", "", floats)),
	Attrs: attrs(attr("axis", -1), attr("epsilon", float64(float32(1e-5))), attr("stash_type", 1)),
	Deduce: func(c *call) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		d := c.Dims(0)
		c.SetOut(0, c.DType(0), d...)
		stat := append([]sym.Expr(nil), d[:a]...)
		for range d[a:] {
			stat = append(stat, sym.Const(1))
		}
		for i := 1; i <= 2; i++ {
			c.SetOut(i, c.DType(0).Compute(), stat...)
		}
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		X := b.In(0)
		mean, variance := moments(b, X.Dims, a, func(ix []*scalar) *scalar { return b.Load(X, ix...) })
		inv := func(ix []*scalar) *scalar {
			v := ir.Load(variance, ix...)
			return v.Const(1).Div(v.Add(v.Const(c.Float("epsilon"))).Sqrt())
		}
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
	Attrs: attrs(attr("axis", -1), attr("epsilon", float64(float32(1e-5))), attr("stash_type", 1)),
	Deduce: func(c *call) error {
		_, err := c.Axis(c.Int("axis"), c.Rank(0))
		c.SetOut(0, c.DType(1), c.Dims(0)...)
		return err
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
	In:     ops(in("input", "T", floats), in("scale", "T", floats), in("B", "T", floats)),
	Out:    ops(in("output", "T", floats)),
	Attrs:  attrs(attr("epsilon", float64(float32(1e-5)))),
	Deduce: sameAs(0),
	Body: func(c *call, b *ir.Body) error {
		X := b.In(0)
		if len(X.Dims) < 2 {
			return c.Errorf("an operand of rank %d has no channels", len(X.Dims))
		}
		mean, variance := moments(b, X.Dims, 2, func(ix []*scalar) *scalar { return b.Load(X, ix...) })
		out := b.Axes(X.Dims)
		ix := ir.Ix(out)
		v := ir.Load(variance, ix[:2]...)
		y := b.Load(X, ix...).Sub(ir.Load(mean, ix[:2]...)).Div(v.Add(v.Const(c.Float("epsilon"))).Sqrt())
		b.Map(b.Out(0), out, y.Mul(b.Load(b.In(1), ix[1])).Add(b.Load(b.In(2), ix[1])))
		return nil
	},
})

// GroupNormalization normalises groups of channels, with a scale and shift per channel.
var GroupNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.GroupNormalization", Since: since(21), Doc: "normalises groups of channels",
	In:    ops(in("X", "T", floats), in("scale", "T", floats), in("bias", "T", floats)),
	Out:   ops(in("Y", "T", floats)),
	Attrs: attrs(attr("epsilon", float64(float32(1e-5))), attrReq("num_groups", int64(0)), attr("stash_type", 1)),
	Deduce: func(c *call) error {
		d, g := c.Dims(0), c.Int("num_groups")
		if len(d) < 2 || g < 1 || c.Syms.Divides(sym.Const(g), d[1]) == sym.False {
			return c.Errorf("%s in %d groups", c.Tensor(0), g)
		}
		return sameAs(0)(c)
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
		v := ir.Load(variance, g...)
		y := b.Load(X, ix...).Sub(ir.Load(mean, g...)).Div(v.Add(v.Const(c.Float("epsilon"))).Sqrt())
		b.Map(b.Out(0), out, y.Mul(b.Load(b.In(1), ix[1])).Add(b.Load(b.In(2), ix[1])))
		return nil
	},
})

// BatchNormalization normalises channels by given statistics; in training mode by
// those of the batch, which it also mixes into running ones.
var BatchNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.BatchNormalization", Since: since(1, 6, 7, 9, 14, 15), Doc: "normalises channels by statistics",
	In: ops(in("X", "T", floats), in("scale", "T1", floats), in("B", "T1", floats), in("input_mean", "T2", floats),
		in("input_var", "T2", floats)),
	Out:   ops(in("Y", "T", floats), opt("running_mean", "T2", floats), opt("running_var", "T2", floats)),
	Attrs: attrs(attr("epsilon", float64(float32(1e-5))), attr("momentum", float64(float32(0.9))), attr("training_mode", 0)),
	Deduce: func(c *call) error {
		if c.Rank(0) < 1 {
			return c.Errorf("a scalar has no channels")
		}
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		for i := 1; i <= 2; i++ {
			c.SetOut(i, c.DType(3), c.Dims(3)...)
		}
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		X := b.In(0)
		wide := X.DType.Compute()
		channel := 1
		if len(X.Dims) == 1 {
			channel = 0
		}
		stat := func(i int, ch *scalar) *scalar { return b.Load(b.In(i), ch).To(wide) }
		mean := func(ch *scalar) *scalar { return stat(3, ch) }
		variance := func(ch *scalar) *scalar { return stat(4, ch) }
		if c.Flag("training_mode") {
			// channels first: one mean for all examples and positions
			dims := append([]sym.Expr{X.Dims[channel]}, X.Dims[:channel]...)
			dims = append(dims, X.Dims[channel+1:]...)
			m, v := moments(b, dims, 1, func(ix []*scalar) *scalar {
				at := append(append([]*scalar(nil), ix[1:1+channel]...), ix[0])
				return b.Load(X, append(at, ix[1+channel:]...)...)
			})
			mean = func(ch *scalar) *scalar { return ir.Load(m, ch) }
			variance = func(ch *scalar) *scalar { return ir.Load(v, ch) }
			for i, s := range []func(*scalar) *scalar{mean, variance} {
				if !c.Wants(1 + i) {
					continue
				}
				out := b.Axes(b.Out(1 + i).Dims)
				ch := out[0].Ix()
				old := stat(3+i, ch)
				mom := old.Const(c.Float("momentum"))
				b.Map(b.Out(1+i), out, old.Mul(mom).Add(s(ch).Mul(old.Const(1).Sub(mom))))
			}
		} else if c.Wants(1) || c.Wants(2) {
			return c.Unsupported("running statistics without training_mode")
		}
		out := b.Axes(X.Dims)
		ch := out[channel].Ix()
		x := b.Load(X, ir.Ix(out)...)
		inv := x.Const(1).Div(variance(ch).Add(x.Const(c.Float("epsilon"))).Sqrt())
		y := x.Sub(mean(ch)).Mul(inv).Mul(stat(1, ch)).Add(stat(2, ch))
		b.Map(b.Out(0), out, y)
		return nil
	},
})

// LpNormalization divides by the p-norm along an axis; where that is 0 it stays 0.
var LpNormalization = ir.Register(&ir.OpDef{
	Name: "onnx.LpNormalization", Since: since(1, 22), Doc: "divides by the p-norm along an axis",
	In: ops(in("input", "T", floats)), Out: ops(in("output", "T", floats)),
	Attrs:  attrs(attr("axis", -1), attr("p", 2)),
	Deduce: sameAs(0),
	Body: func(c *call, b *ir.Body) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		if p := c.Int("p"); p != 1 && p != 2 {
			return c.Errorf("p is %d, it takes 1 or 2", p)
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
		n := ir.Load(sum, append(append([]*scalar(nil), ix[:a]...), ix[a+1:]...)...)
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
	Attrs:  attrs(attr("alpha", float64(float32(1e-4))), attr("beta", 0.75), attr("bias", 1.0), attrReq("size", int64(0))),
	Deduce: sameAs(0),
	Body: func(c *call, b *ir.Body) error {
		X, size := b.In(0), c.Int("size")
		if len(X.Dims) < 2 || size < 1 {
			return c.Errorf("size %d over the channels of %s", size, c.Tensor(0))
		}
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
	Attrs:  attrs(attr("axes", []int64{0, 2, 3})),
	Deduce: sameAs(0),
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		x, axes := args[0], b.Ints(c.IntList("axes")...)
		mean := func(v *ir.Value) *ir.Value { return b.Op("onnx.ReduceMean", []*ir.Value{v, axes}) }
		d := b.Op("onnx.Sub", []*ir.Value{x, mean(x)})
		std := b.Op("onnx.Sqrt", []*ir.Value{mean(b.Op("onnx.Mul", []*ir.Value{d, d}))})
		eps := tensor.New(c.DType(0))
		eps.SetFloat(0, 1e-9)
		return []*ir.Value{b.Op("onnx.Div", []*ir.Value{d, b.Op("onnx.Add", []*ir.Value{std, b.Const(eps)})})}, nil
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
