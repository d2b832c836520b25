package op

import (
	"errors"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Quantized tensors stand for (q - zero point) * scale, with one scale and zero point for
// the whole tensor, for each position along an axis, or for each block along it.

var (
	tinyInts   = []tensor.DType{tensor.I4, tensor.U4, tensor.I2, tensor.U2}
	quantized  = slices.Concat([]tensor.DType{tensor.I8, tensor.U8, tensor.I16, tensor.U16}, tinyInts, floats8, []tensor.DType{tensor.F4E2M1})
	quantized8 = slices.Concat(bytes8, floats8)
	scales     = []tensor.DType{tensor.F32, tensor.F16, tensor.BF16}
)

// grainOf checks the shape of operand i, a scale or zero point of operand x, which has
// attributes axis and block_size.
func grainOf(c *call, i, x int) error {
	d, of := c.Dims(i), c.Dims(x)
	if len(d) == 0 || len(d) == 1 && d[0].IsInt(1) {
		return nil
	}
	a, err := c.Axis(c.Int("axis"), len(of))
	if err != nil {
		if len(d) == 1 && c.Syms.Equal(d[0], sym.Const(1)) != sym.False {
			return nil // one element has no axis; the run tells
		}
		return err
	}
	want := []sym.Expr{of[a]}
	switch block := c.Int("block_size"); {
	case block < 0:
		return c.Errorf("block_size is %d", block)
	case block > 0:
		want = slices.Clone(of)
		want[a] = of[a].CeilDiv(sym.Const(block))
	}
	ok := len(d) == len(want)
	for j := 0; ok && j < len(d); j++ {
		ok = c.Syms.Equal(d[j], want[j]) != sym.False || len(d) == 1 && c.Int("block_size") == 0 && c.Syms.Equal(d[j], sym.Const(1)) != sym.False
	}
	if !ok {
		o, _ := c.Op.Operand(i)
		return c.Errorf("operand %d (%s) has shape %s, it takes a scalar or %s", i, o.Name, ir.ShapeString(d), ir.ShapeString(want))
	}
	return nil
}

// loadGrain reads operand i, a scale or zero point, at index ix of operand 0.
func loadGrain(c *call, b *ir.Body, i int, ix []*scalar) (*scalar, error) {
	p := b.In(i)
	if len(p.Dims) == 0 || len(p.Dims) == 1 && p.Dims[0].IsInt(1) {
		return loadSingle(b, i), nil
	}
	a, err := c.Axis(c.Int("axis"), len(ix))
	if err != nil {
		return nil, ir.ErrDynamic // deduction let it pass: it may be one element
	}
	block := c.Int("block_size")
	if block == 0 {
		return b.Load(p, ir.Bcast(ix[a], p.Dims[0], c.Dims(0)[a])), nil
	}
	at := slices.Clone(ix)
	at[a] = ix[a].FloorDiv(ir.IntLit(block))
	return b.Load(p, at...), nil
}

// quantize is q/scale rounded, plus the zero point, in element type d: x is q/scale in
// f32, zero the zero point or nil. Integers saturate; floats do as o says.
func quantize(x, zero *scalar, d tensor.DType, o tensor.CastOpts) *scalar {
	if !d.IsInt() {
		if zero != nil {
			x = x.Add(zero.To(x.DType))
		}
		return ir.Cast(x, d, o)
	}
	x = ir.Unary(ir.OpRound, x)
	if zero != nil {
		x = x.Add(zero.To(x.DType))
	}
	lo, hi := 0.0, float64(int64(1)<<d.Bits()-1)
	if d.IsSigned() {
		lo = -float64(int64(1) << (d.Bits() - 1))
		hi += lo
	}
	return x.Max(x.Const(lo)).Min(x.Const(hi)).To(d)
}

// QuantizeLinear is saturate(round(x/scale) + zero point). Its element type is the zero
// point's, else output_dtype, else u8; the quotient is formed in the type that precision
// names, else the scale's.
var QuantizeLinear = ir.Register(&ir.OpDef{
	Name: "onnx.QuantizeLinear", Since: since(10, 13, 19, 21, 23, 24, 25), Doc: "x/scale rounded, plus a zero point, saturated",
	In: ops(in("x", "", append(scales[:3:3], tensor.I32)), in("y_scale", "", append(scales[:3:3], tensor.I32, tensor.F8E8M0)),
		opt("y_zero_point", "T3", quantized)),
	Out:   ops(in("y", "T3", quantized)),
	Attrs: attrs(attr("axis", 1), attr("block_size", 0), attr("output_dtype", 0), attr("precision", 0), attr("saturate", 1)),
	Deduce: func(c *call) error {
		d, err := dtypeAttr(c, "output_dtype", quantized, tensor.U8)
		if err != nil {
			return err
		}
		if c.Has(2) {
			if c.Int("output_dtype") != 0 && d != c.DType(2) {
				return c.Errorf("output_dtype is %s, the zero point's element type %s", d, c.DType(2))
			}
			d = c.DType(2)
			if err := grainOf(c, 2, 0); err != nil {
				return err
			}
		}
		if _, err := dtypeAttr(c, "precision", floats, tensor.F32); err != nil {
			return err
		}
		c.SetOut(0, d, c.Dims(0)...)
		return grainOf(c, 1, 0)
	},
	Body: func(c *call, b *ir.Body) error {
		X, Y := b.In(0), b.Out(0)
		def := tensor.F32
		if slices.Contains(scales, c.DType(1)) {
			def = c.DType(1)
		}
		precision, err := dtypeAttr(c, "precision", floats, def)
		if err != nil {
			return err
		}
		axes := b.Axes(Y.Dims)
		ix := ir.Ix(axes)
		rounded := func(x *scalar) *scalar { return x.To(precision).To(precision.Compute()) }
		scale, err := loadGrain(c, b, 1, ix)
		if err != nil {
			return err
		}
		var zero *scalar
		if c.Has(2) {
			if zero, err = loadGrain(c, b, 2, ix); err != nil {
				return err
			}
		}
		quotient := rounded(b.Load(X, ix...)).Div(rounded(scale))
		b.Map(Y, axes, quantize(rounded(quotient), zero, Y.DType, castOpts(c)))
		return nil
	},
})

// dtypeAttr is the element type that an attribute names, one of types; def where it is 0.
func dtypeAttr(c *call, name string, types []tensor.DType, def tensor.DType) (tensor.DType, error) {
	n := c.Int(name)
	if n == 0 {
		return def, nil
	}
	d, ok := tensor.DTypeFromONNX(int32(n))
	if !ok || !slices.Contains(types, d) {
		return d, c.Errorf("%s = %d is no element type that it takes", name, n)
	}
	return d, nil
}

// DequantizeLinear is (x - zero point) * scale.
var DequantizeLinear = ir.Register(&ir.OpDef{
	Name: "onnx.DequantizeLinear", Since: since(10, 13, 19, 21, 23, 24, 25), Doc: "(x - zero point) * scale",
	In: ops(in("x", "T1", append(slices.Clone(quantized), tensor.I32)), in("x_scale", "", append(scales[:3:3], tensor.F8E8M0)),
		opt("x_zero_point", "T1", append(slices.Clone(quantized), tensor.I32))),
	Out:   ops(in("y", "", scales)),
	Attrs: attrs(attr("axis", 1), attr("block_size", 0), attr("output_dtype", 0)),
	Deduce: func(c *call) error {
		def := c.DType(1)
		if def == tensor.F8E8M0 {
			def = tensor.F32
		}
		d, err := dtypeAttr(c, "output_dtype", scales, def)
		if err != nil {
			return err
		}
		c.SetOut(0, d, c.Dims(0)...)
		if c.Has(2) {
			if err := grainOf(c, 2, 0); err != nil {
				return err
			}
		}
		return grainOf(c, 1, 0)
	},
	Body: func(c *call, b *ir.Body) error {
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		x := ir.Load(b.In(0), ix...).To(tensor.F32)
		if c.Has(2) {
			zero, err := loadGrain(c, b, 2, ix)
			if err != nil {
				return err
			}
			x = x.Sub(zero.To(tensor.F32))
		}
		scale, err := loadGrain(c, b, 1, ix)
		if err != nil {
			return err
		}
		b.Map(b.Out(0), axes, x.Mul(scale))
		return nil
	},
})

// DynamicQuantizeLinear quantizes to u8 with a scale and zero point from the range of x,
// widened to hold 0. Of nothing but zeros the scale is 1/255: as ONNX's reference has it.
var DynamicQuantizeLinear = ir.Register(&ir.OpDef{
	Name: "onnx.DynamicQuantizeLinear", Since: since(11), Doc: "quantizes to u8 by the range of x",
	In:  ops(in("x", "", []tensor.DType{tensor.F32})),
	Out: ops(in("y", "", bytes8[1:]), in("y_scale", "", []tensor.DType{tensor.F32}), in("y_zero_point", "", bytes8[1:])),
	Deduce: func(c *call) error {
		c.SetOut(0, tensor.U8, c.Dims(0)...)
		c.SetOut(1, tensor.F32)
		c.SetOut(2, tensor.U8)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		X := b.In(0)
		extreme := func(m ir.Monoid) *ir.Buffer { // of rows first, so that targets can share the work and compute both at once
			of := X
			if last := len(X.Dims) - 1; last > 0 {
				rows, row := b.Axes(X.Dims[:last]), b.Axis(X.Dims[last])
				of = b.Reduced(rows, m, []*ir.Axis{row}, ir.Load(X, append(ir.Ix(rows), row.Ix())...))
			}
			red := b.Axes(of.Dims)
			return b.Reduced(nil, m, red, ir.Load(of, ir.Ix(red)...))
		}
		high, low := ir.Load(extreme(ir.Max)), ir.Load(extreme(ir.Min))
		zero := high.Const(0)
		high, low = high.Max(zero), low.Min(zero)
		width := ir.Select(high.Eq(low), high.Const(1), high.Sub(low))
		b.Map(b.Out(1), nil, width.Div(high.Const(255)))
		scale := ir.Load(b.Out(1))
		b.Map(b.Out(2), nil, quantize(zero.Sub(low.Div(scale)), nil, tensor.U8, tensor.CastOpts{}))
		if c.Wants(0) {
			axes := b.Axes(X.Dims)
			q := ir.Load(X, ir.Ix(axes)...).Div(scale)
			b.Map(b.Out(0), axes, quantize(q, ir.Load(b.Out(2)), tensor.U8, tensor.CastOpts{}))
		}
		return nil
	},
})

// Zero points and scales of a matrix product's operands are scalars, lists (of rows on
// the left, of columns on the right), or tensors that broadcast to the operand and are
// the same along the dim that is summed over.

// side is an operand of a quantized matrix product: where it, its zero point and its
// scale (0: none) stand among the operands, and which dims of a matrix are its lanes and
// which one is summed over, counted from the end.
type side struct{ at, zero, scale, lane, inner int }

func leftSide(at, zero, scale int) side  { return side{at, zero, scale, 2, 1} }
func rightSide(at, zero, scale int) side { return side{at, zero, scale, 1, 2} }

// check checks the shapes of zero point and scale.
func (s side) check(c *call) error {
	x := c.Dims(s.at)
	for _, i := range []int{s.zero, s.scale} {
		if i == 0 || !c.Has(i) {
			continue
		}
		want := []sym.Expr{sym.Const(1)}
		switch {
		case len(x) > 1 && c.Rank(i) < 2:
			want[0] = x[len(x)-s.lane]
		case len(x) > 1:
			want = slices.Clone(x)
			want[len(x)-s.inner] = sym.Const(1)
		}
		if err := broadcastsTo(c, i, want); err != nil {
			return err
		}
	}
	return nil
}

// of reads a zero point or scale at index ix of the operand.
func (s side) of(b *ir.Body, i int, ix []*scalar) *scalar {
	p, x := b.In(i), b.In(s.at)
	at := origin(len(p.Dims))
	for j := range at {
		d := len(ix) - len(at) + j
		if len(at) == 1 {
			d = len(ix) - s.lane
		}
		if d >= 0 {
			at[j] = ir.Bcast(ix[d], p.Dims[j], x.Dims[d])
		}
	}
	return b.Load(p, at...)
}

// load reads the operand less its zero point: integers as i32, small floats as f32.
func (s side) load(c *call, b *ir.Body, ix []*scalar) *scalar {
	wide := func(x *scalar) *scalar {
		if x.DType.IsInt() {
			return x.To(tensor.I32)
		}
		return x
	}
	x := wide(b.Load(b.In(s.at), ix...))
	if c.Has(s.zero) {
		x = x.Sub(wide(s.of(b, s.zero, ix)))
	}
	return x
}

// MatMulInteger is a matrix product of 8-bit integers, less their zero points, in i32.
var MatMulInteger = ir.Register(&ir.OpDef{
	Name: "onnx.MatMulInteger", Since: since(10), Doc: "matrix product of 8-bit integers in i32",
	In:  ops(in("A", "T1", bytes8), in("B", "T2", bytes8), opt("a_zero_point", "T1", bytes8), opt("b_zero_point", "T2", bytes8)),
	Out: ops(in("Y", "", []tensor.DType{tensor.I32})),
	Deduce: func(c *call) error {
		if err := deduceMatMul(0, 1, func(*call) tensor.DType { return tensor.I32 })(c); err != nil {
			return err
		}
		return errors.Join(leftSide(0, 2, 0).check(c), rightSide(1, 3, 0).check(c))
	},
	Body: func(c *call, b *ir.Body) error {
		p := newProduct(b, 0, 1)
		x, y := leftSide(0, 2, 0).load(c, b, p.x), rightSide(1, 3, 0).load(c, b, p.y)
		b.Reduce(b.Out(0), p.axes, ir.Sum, p.red, x.Mul(y))
		return nil
	},
})

// QLinearMatMul multiplies quantized matrices and quantizes the product, with one scale
// and zero point.
var QLinearMatMul = ir.Register(&ir.OpDef{
	Name: "onnx.QLinearMatMul", Since: since(10, 21), Doc: "matrix product of quantized tensors, quantized",
	In: ops(in("a", "T1", quantized8), in("a_scale", "TS", scales), in("a_zero_point", "T1", quantized8),
		in("b", "T2", quantized8), in("b_scale", "TS", scales), in("b_zero_point", "T2", quantized8),
		in("y_scale", "TS", scales), in("y_zero_point", "T3", quantized8)),
	Out: ops(in("y", "T3", quantized8)),
	Deduce: func(c *call) error {
		if err := deduceMatMul(0, 3, func(c *call) tensor.DType { return c.DType(7) })(c); err != nil {
			return err
		}
		return errors.Join(leftSide(0, 2, 1).check(c), rightSide(3, 5, 4).check(c), single(c, 6, 7))
	},
	Body: func(c *call, b *ir.Body) error {
		if c.DType(0).IsInt() != c.DType(3).IsInt() {
			return c.Unsupported("%s times %s", c.DType(0), c.DType(3))
		}
		left, right := leftSide(0, 2, 1), rightSide(3, 5, 4)
		p := newProduct(b, 0, 3)
		sum := b.Reduced(p.axes, ir.Sum, p.red, left.load(c, b, p.x).Mul(right.load(c, b, p.y)))
		p = newProduct(b, 0, 3)
		p.x[len(p.x)-1], p.y[max(len(p.y)-2, 0)] = ir.IntLit(0), ir.IntLit(0) // nothing left to sum over
		acc := ir.Load(sum, ir.Ix(p.axes)...).To(tensor.F32)
		scale := left.of(b, 1, p.x).Mul(right.of(b, 4, p.y)).Div(loadSingle(b, 6))
		zero := loadSingle(b, 7)
		b.Map(b.Out(0), p.axes, quantize(acc.Mul(scale), zero, c.DType(7), tensor.CastOpts{}))
		return nil
	},
})

// QLinearConv is a convolution of 8-bit integers, less their zero points, in i32, with a
// bias, quantized. The weights' scale and zero point may be those of each filter.
var QLinearConv = ir.Register(&ir.OpDef{
	Name: "onnx.QLinearConv", Since: since(10), Doc: "convolution of quantized tensors, quantized",
	In: ops(in("x", "T1", bytes8), in("x_scale", "", f32s), in("x_zero_point", "T1", bytes8),
		in("w", "T2", bytes8), in("w_scale", "", f32s), in("w_zero_point", "T2", bytes8),
		in("y_scale", "", f32s), in("y_zero_point", "T3", bytes8), opt("B", "", []tensor.DType{tensor.I32})),
	Out:   ops(in("y", "T3", bytes8)),
	Attrs: convAttrs,
	Deduce: func(c *call) error {
		if err := deduceConvOf(c, c.DType(7), 3); err != nil {
			return err
		}
		filters := c.Dims(3)[:1]
		if c.Has(8) {
			if err := perChannel(c, filters[0], 8); err != nil {
				return err
			}
		}
		return errors.Join(single(c, 1, 2, 6, 7), broadcastsTo(c, 4, filters), broadcastsTo(c, 5, filters))
	},
	Body: func(c *call, b *ir.Body) error {
		axes, red, term, err := products(c, b, 3, func(x, w *ir.Buffer) (func(...*scalar) *scalar, func(...*scalar) *scalar) {
			return func(ix ...*scalar) *scalar { return lessZero(c, b, x, 2, nil, ix) },
				func(ix ...*scalar) *scalar { return lessZero(c, b, w, 5, ix[0], ix) }
		})
		if err != nil {
			return err
		}
		sum := b.Reduced(axes, ir.Sum, red, term)
		out := b.Axes(b.Out(0).Dims)
		acc := ir.Load(sum, ir.Ix(out)...)
		if c.Has(8) {
			acc = acc.Add(b.Load(b.In(8), out[1].Ix()))
		}
		s := b.In(4)
		at := origin(len(s.Dims))
		if len(at) > 0 {
			at[0] = ir.Bcast(out[1].Ix(), s.Dims[0], c.Dims(3)[0])
		}
		scale := loadSingle(b, 1).Mul(b.Load(s, at...)).Div(loadSingle(b, 6))
		b.Map(b.Out(0), out, quantize(acc.To(tensor.F32).Mul(scale), loadSingle(b, 7), c.DType(7), tensor.CastOpts{}))
		return nil
	},
})
