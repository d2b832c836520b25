package op

import (
	"errors"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Convolutions and poolings are windows: output position o along a spatial dim reads
// input positions o*stride - pad + k*dilation for k in the kernel.

// window is what a windowed operator does along each spatial dim.
type window struct {
	kernel           []sym.Expr
	stride, dilation []int64
	begin, end       []sym.Expr // pads
	in, out          []sym.Expr // spatial sizes
	ceil             bool
}

// windowOf reads the attributes that all windowed operators share. spatial are the
// input's spatial dims.
func windowOf(c *ir.Call, spatial, kernel []sym.Expr) (*window, error) {
	n := len(spatial)
	w := &window{kernel: kernel, in: spatial, ceil: c.Flag("ceil_mode")}
	var err error
	if w.stride, err = perDim(c, "strides", n); err != nil {
		return nil, err
	}
	if w.dilation, err = perDim(c, "dilations", n); err != nil {
		return nil, err
	}
	pads := c.IntList("pads")
	if pads != nil && len(pads) != 2*n {
		return nil, c.Errorf("%d pads for %d spatial dims", len(pads), n).Hint("two for each: all before, then all after")
	}
	auto := c.Str("auto_pad")
	for i := range n {
		var p, q, o sym.Expr
		k := effective(kernel[i], w.dilation[i])
		s := sym.Const(w.stride[i])
		if pads != nil {
			p, q = sym.Const(pads[i]), sym.Const(pads[n+i])
		}
		switch auto {
		case "", "NOTSET", "VALID":
			if auto == "VALID" {
				p, q = sym.Expr{}, sym.Expr{}
			}
			room := spatial[i].Add(p).Add(q).Sub(k)
			if w.ceil {
				o = room.CeilDiv(s).Add(sym.Const(1))
				// A window that starts in the padding after the end is not counted.
				last := spatial[i].Add(p).Sub(sym.Const(1)).FloorDiv(s).Add(sym.Const(1))
				o = o.Min(last)
			} else {
				o = room.FloorDiv(s).Add(sym.Const(1))
			}
		case "SAME_UPPER", "SAME_LOWER":
			o = spatial[i].CeilDiv(s)
			total := c.Syms.Simplify(o.Sub(sym.Const(1)).Mul(s).Add(k).Sub(spatial[i]).Max(sym.Const(0)))
			half := total.FloorDiv(sym.Const(2))
			p, q = half, total.Sub(half)
			if auto == "SAME_LOWER" {
				p, q = q, p
			}
		default:
			return nil, c.Errorf("auto_pad %q is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER", auto)
		}
		o = c.Syms.Simplify(o)
		if _, hi := c.Syms.Bounds(o); hi < 0 {
			return nil, c.Errorf("a window of %s does not fit spatial dim %d of size %s", k, i, spatial[i])
		}
		w.begin, w.end, w.out = append(w.begin, p), append(w.end, q), append(w.out, o)
	}
	return w, nil
}

// effective is the extent of a dilated kernel.
func effective(kernel sym.Expr, dilation int64) sym.Expr {
	return kernel.Sub(sym.Const(1)).Mul(sym.Const(dilation)).Add(sym.Const(1))
}

// perDim reads an attribute with one positive number for each spatial dim, 1 by default.
func perDim(c *ir.Call, name string, n int) ([]int64, error) {
	list := c.IntList(name)
	if list == nil {
		list = make([]int64, n)
		for i := range list {
			list[i] = 1
		}
	}
	if len(list) != n {
		return nil, c.Errorf("%s has %d entries for %d spatial dims", name, len(list), n)
	}
	for _, v := range list {
		if v < 1 {
			return nil, c.Errorf("%s %v has an entry below 1", name, list)
		}
	}
	return list, nil
}

// at gives the input positions of a window: out and kernel positions to an index for
// each spatial dim, and the condition that it lies inside, nil where it always does.
func (w *window) at(out, kernel []*ir.Axis) (ix []*ir.Scalar, inside *ir.Scalar) {
	for i := range w.in {
		p := out[i].Ix().Mul(ir.IntLit(w.stride[i])).Add(kernel[i].Ix().Mul(ir.IntLit(w.dilation[i]))).Sub(ir.SymVal(w.begin[i]))
		if !w.begin[i].IsInt(0) {
			inside = both(inside, p.Ge(ir.IntLit(0)))
		}
		if !w.end[i].IsInt(0) || w.ceil {
			inside = both(inside, p.Lt(ir.SymVal(w.in[i])))
		}
		ix = append(ix, p)
	}
	return ix, inside
}

// source is the inverse of at along spatial dim i: which of n window positions has its
// kernel element k at position x, and the condition that there is one.
func (w *window) source(i int, x, k *ir.Scalar, n sym.Expr) (p, inside *ir.Scalar) {
	p = x.Add(ir.SymVal(w.begin[i])).Sub(k.Mul(ir.IntLit(w.dilation[i])))
	inside = p.Ge(ir.IntLit(0))
	if s := w.stride[i]; s > 1 {
		inside = inside.And(p.Mod(ir.IntLit(s)).Eq(ir.IntLit(0)))
		p = p.FloorDiv(ir.IntLit(s))
	}
	return p, inside.And(p.Lt(ir.SymVal(n)))
}

// polyphase says whether the kernel elements that meet position x along spatial dim i are every
// stride-th one from x mod stride on, and as many for each x. Were there one fewer for some, a
// position of the input would meet a 0 there, which with an infinite one is no 0.
func (w *window) polyphase(c *ir.Call, i int) bool {
	s := w.stride[i]
	return s > 1 && w.dilation[i] == 1 && c.Syms.Divides(sym.Const(s), w.kernel[i]) == sym.True
}

// taps is how many elements along dim i of a transposed window a position is to be held against.
func (w *window) taps(c *ir.Call, i int) sym.Expr {
	if w.polyphase(c, i) {
		return c.Syms.Simplify(w.kernel[i].FloorDiv(sym.Const(w.stride[i])))
	}
	return w.kernel[i]
}

// tap is what tap t of a transposed window reads for position x of its result: the position
// p of the input, the kernel element k, and the condition that there is such a position.
func (w *window) tap(c *ir.Call, i int, x, t *ir.Scalar) (p, k, inside *ir.Scalar) {
	if !w.polyphase(c, i) {
		p, inside = w.source(i, x, t, w.in[i])
		return p, t, inside
	}
	s := ir.IntLit(w.stride[i])
	if !w.begin[i].IsInt(0) {
		x = x.Add(ir.SymVal(w.begin[i]))
	}
	p, k = x.FloorDiv(s).Sub(t), x.Mod(s).Add(t.Mul(s))
	return p, k, p.Ge(ir.IntLit(0)).And(p.Lt(ir.SymVal(w.in[i])))
}

func both(a, b *ir.Scalar) *ir.Scalar {
	if a == nil {
		return b
	}
	return a.And(b)
}

// guarded is the load where inside holds, els elsewhere.
func guarded(inside, load, els *ir.Scalar) *ir.Scalar {
	if inside == nil {
		return load
	}
	return ir.Guard(inside, load, els)
}

var convAttrs = attrs(attr("auto_pad", "NOTSET"), attrOpt("dilations", []int64(nil)), attr("group", 1),
	attrOpt("kernel_shape", []int64(nil)), attrOpt("pads", []int64(nil)), attrOpt("strides", []int64(nil)))

// Conv is cross-correlation over any number of spatial dims: X [n, c, spatial...],
// W [f, c/group, kernel...], B [f].
var Conv = ir.Register(&ir.OpDef{
	Name: "onnx.Conv", Since: since(1, 11, 22), Doc: "convolution",
	In:     ops(in("X", "T", floats), in("W", "T", floats), opt("B", "T", floats)),
	Out:    ops(in("Y", "T", floats)),
	Attrs:  convAttrs,
	Deduce: deduceConv(func(c *ir.Call) tensor.DType { return c.DType(0) }),
	Body: func(c *ir.Call, b *ir.Body) error {
		return convBody(c, b, func(x, w *ir.Buffer) (func(...*ir.Scalar) *ir.Scalar, func(...*ir.Scalar) *ir.Scalar) {
			return func(ix ...*ir.Scalar) *ir.Scalar { return b.Load(x, ix...) },
				func(ix ...*ir.Scalar) *ir.Scalar { return b.Load(w, ix...) }
		})
	},
})

// convWindow is the window of a convolution of operands xi and wi.
func convWindow(c *ir.Call, wi int) (*window, error) {
	x, k := c.Dims(0), c.Dims(wi)
	if len(x) < 2 || len(k) != len(x) {
		return nil, c.Errorf("input %s and weights %s", c.Tensor(0), c.Tensor(wi)).Hint("both have rank 2 + spatial dims")
	}
	g := sym.Const(c.Int("group"))
	if c.Int("group") < 1 || c.Syms.Equal(x[1], k[1].Mul(g)) == sym.False || c.Syms.Divides(g, k[0]) == sym.False {
		return nil, c.Errorf("input %s and weights %s do not fit %s groups", c.Tensor(0), c.Tensor(wi), g)
	}
	if ks := c.IntList("kernel_shape"); ks != nil {
		if len(ks) != len(k)-2 {
			return nil, c.Errorf("kernel_shape %v for %d spatial dims", ks, len(k)-2)
		}
		for i, n := range ks {
			if c.Syms.Equal(k[2+i], sym.Const(n)) == sym.False {
				return nil, c.Errorf("kernel_shape %v, but the weights are %s", ks, c.Tensor(wi))
			}
		}
	}
	return windowOf(c, x[2:], k[2:])
}

// biased says whether a convolution has a bias: Conv alone has three operands.
func biased(c *ir.Call) bool { return len(c.Op.In) == 3 && c.Has(2) }

func deduceConv(dtype func(*ir.Call) tensor.DType) func(*ir.Call) error {
	return func(c *ir.Call) error { return deduceConvOf(c, dtype(c), 1) }
}

func deduceConvOf(c *ir.Call, d tensor.DType, wi int) error {
	w, err := convWindow(c, wi)
	if err != nil {
		return err
	}
	c.SetOut(0, d, append([]sym.Expr{c.Dims(0)[0], c.Dims(wi)[0]}, w.out...)...)
	if biased(c) {
		return perChannel(c, c.Dims(1)[0], 2)
	}
	return nil
}

// convBody is the program of a convolution of operand 0 with weights at operand 1 and
// a bias at operand 2. Factors are formed by the loads that loader gives; a position
// in the padding contributes nothing.
func convBody(c *ir.Call, b *ir.Body, loader func(x, w *ir.Buffer) (lx, lw func(...*ir.Scalar) *ir.Scalar)) error {
	axes, red, term, err := products(c, b, 1, loader)
	if err != nil {
		return err
	}
	Y := b.Out(0)
	if biased(c) {
		acc := b.Reduced(axes, ir.Sum, red, term)
		out := b.Axes(Y.Dims)
		b.Map(Y, out, ir.Load(acc, ir.Ix(out)...).Add(b.Load(b.In(2), out[1].Ix())))
		return nil
	}
	b.Reduce(Y, axes, ir.Sum, red, term)
	return nil
}

// products are the terms of a convolution, over the axes of its result and those that are
// summed over.
func products(c *ir.Call, b *ir.Body, wi int, loader func(x, w *ir.Buffer) (lx, lw func(...*ir.Scalar) *ir.Scalar)) (axes, red []*ir.Axis, term *ir.Scalar, err error) {
	win, err := convWindow(c, wi)
	if err != nil {
		return nil, nil, nil, err
	}
	X, W, Y := b.In(0), b.In(wi), b.Out(0)
	loadX, loadW := loader(X, W)
	axes = b.Axes(Y.Dims)
	ch := b.Axis(W.Dims[1])
	red = append([]*ir.Axis{ch}, b.Axes(W.Dims[2:])...)
	ix, inside := win.at(axes[2:], red[1:])
	group := ch.Ix()
	if g := c.Int("group"); g > 1 { // the channels of the group that filter f is in
		perGroup := c.Syms.Simplify(W.Dims[0].FloorDiv(sym.Const(g)))
		of := axes[1].Ix()
		if !perGroup.IsInt(1) {
			of = of.FloorDiv(ir.SymVal(perGroup))
		}
		group = of.Mul(ir.SymVal(W.Dims[1])).Add(group)
	}
	x := loadX(append([]*ir.Scalar{axes[0].Ix(), group}, ix...)...)
	x = guarded(inside, x, x.Const(0))
	w := loadW(append([]*ir.Scalar{axes[1].Ix()}, ir.Ix(red)...)...)
	return axes, red, x.Mul(w), nil
}

// ConvInteger is a convolution of 8-bit integers, less their zero points, into i32.
var ConvInteger = ir.Register(&ir.OpDef{
	Name: "onnx.ConvInteger", Since: since(10), Doc: "convolution of 8-bit integers into i32",
	In:    ops(in("x", "T1", bytes8), in("w", "T2", bytes8), opt("x_zero_point", "T1", bytes8), opt("w_zero_point", "T2", bytes8)),
	Out:   ops(in("y", "", []tensor.DType{tensor.I32})),
	Attrs: convAttrs,
	Deduce: func(c *ir.Call) error {
		if err := deduceConvOf(c, tensor.I32, 1); err != nil || !c.Has(3) {
			return errors.Join(err, single(c, 2))
		}
		return errors.Join(single(c, 2), broadcastsTo(c, 3, c.Dims(1)[:1]))
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		return convBody(c, b, func(x, w *ir.Buffer) (func(...*ir.Scalar) *ir.Scalar, func(...*ir.Scalar) *ir.Scalar) {
			return func(ix ...*ir.Scalar) *ir.Scalar { return lessZero(c, b, x, 2, nil, ix) },
				func(ix ...*ir.Scalar) *ir.Scalar { return lessZero(c, b, w, 3, ix[0], ix) }
		})
	},
})

var bytes8 = []tensor.DType{tensor.I8, tensor.U8}

// lessZero reads an 8-bit integer as i32, less the zero point at operand zi: a scalar,
// or one for each position row of the buffer's first dim.
func lessZero(c *ir.Call, b *ir.Body, buf *ir.Buffer, zi int, row *ir.Scalar, ix []*ir.Scalar) *ir.Scalar {
	x := ir.Load(buf, ix...).To(tensor.I32)
	if !c.Has(zi) {
		return x
	}
	z := b.In(zi)
	at := origin(len(z.Dims))
	if row != nil && len(at) > 0 {
		at[0] = ir.Bcast(row, z.Dims[0], buf.Dims[0])
	}
	return x.Sub(ir.Load(z, at...).To(tensor.I32))
}

// ConvTranspose is the gradient of a convolution by its input: X [n, c, spatial...],
// W [c, f/group, kernel...]. Output position o collects X[i] * W[k] for every
// i*stride + k*dilation - pad = o.
var ConvTranspose = ir.Register(&ir.OpDef{
	Name: "onnx.ConvTranspose", Since: since(1, 11, 22), Doc: "transposed convolution",
	In:    ops(in("X", "T", floats), in("W", "T", floats), opt("B", "T", floats)),
	Out:   ops(in("Y", "T", floats)),
	Attrs: append(attrs(attrOpt("output_padding", []int64(nil)), attrOpt("output_shape", []int64(nil))), convAttrs...),
	Deduce: func(c *ir.Call) error {
		w, err := transposedWindow(c)
		if err != nil {
			return err
		}
		f := c.Dims(1)[1].Mul(sym.Const(c.Int("group")))
		c.SetOut(0, c.DType(0), append([]sym.Expr{c.Dims(0)[0], f}, w.out...)...)
		if c.Has(2) {
			return perChannel(c, f, 2)
		}
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		win, err := transposedWindow(c)
		if err != nil {
			return err
		}
		X, W, Y := b.In(0), b.In(1), b.Out(0)
		axes := b.Axes(Y.Dims)
		g := c.Int("group")
		perGroup := c.Syms.Simplify(X.Dims[1].FloorDiv(sym.Const(g)))
		ch := b.Axis(perGroup)
		red := []*ir.Axis{ch}
		var inside *ir.Scalar
		var ix, kernel []*ir.Scalar
		for i := range win.in {
			tap := b.Axis(win.taps(c, i))
			p, k, in := win.tap(c, i, axes[2+i].Ix(), tap.Ix())
			red, ix, kernel, inside = append(red, tap), append(ix, p), append(kernel, k), both(inside, in)
		}
		filter, channel := axes[1].Ix(), ch.Ix()
		if g > 1 {
			f := ir.SymVal(W.Dims[1])
			channel = filter.FloorDiv(f).Mul(ir.SymVal(perGroup)).Add(channel)
			filter = filter.Mod(f)
		}
		x := b.Load(X, append([]*ir.Scalar{axes[0].Ix(), channel}, ix...)...)
		w := b.Load(W, append([]*ir.Scalar{channel, filter}, kernel...)...)
		acc := b.Reduced(axes, ir.Sum, red, guarded(inside, x, x.Const(0)).Mul(w))
		out := b.Axes(Y.Dims)
		y := ir.Load(acc, ir.Ix(out)...)
		if c.Has(2) {
			y = y.Add(b.Load(b.In(2), out[1].Ix()))
		}
		b.Map(Y, out, y)
		return nil
	},
})

func transposedWindow(c *ir.Call) (*window, error) {
	x, k := c.Dims(0), c.Dims(1)
	n := len(x) - 2
	g := c.Int("group")
	if n < 0 || len(k) != len(x) || g < 1 || c.Syms.Equal(x[1], k[0]) == sym.False || c.Syms.Divides(sym.Const(g), x[1]) == sym.False {
		return nil, c.Errorf("input %s and weights %s do not fit %d groups", c.Tensor(0), c.Tensor(1), g)
	}
	w := &window{kernel: k[2:], in: x[2:]}
	var err error
	if w.stride, err = perDim(c, "strides", n); err != nil {
		return nil, err
	}
	if w.dilation, err = perDim(c, "dilations", n); err != nil {
		return nil, err
	}
	list := func(name string, want int) ([]int64, error) {
		l := c.IntList(name)
		if l == nil {
			return make([]int64, want), nil
		}
		if len(l) != want {
			return nil, c.Errorf("%s has %d entries for %d spatial dims", name, len(l), n)
		}
		return l, nil
	}
	extra, err := list("output_padding", n)
	if err != nil {
		return nil, err
	}
	pads, err := list("pads", 2*n)
	if err != nil {
		return nil, err
	}
	shape := c.IntList("output_shape")
	if len(shape) == n+2 {
		shape = shape[2:]
	}
	if shape != nil && len(shape) != n {
		return nil, c.Errorf("output_shape has %d entries for %d spatial dims", len(shape), n)
	}
	auto := c.Str("auto_pad")
	for i := range n {
		s := sym.Const(w.stride[i])
		full := x[2+i].Sub(sym.Const(1)).Mul(s).Add(sym.Const(extra[i])).Add(effective(k[2+i], w.dilation[i]))
		p, q := sym.Const(pads[i]), sym.Const(pads[n+i])
		o := full.Sub(p).Sub(q)
		same := auto == "SAME_UPPER" || auto == "SAME_LOWER"
		if shape != nil || same {
			if o = x[2+i].Mul(s); shape != nil {
				o = sym.Const(shape[i])
			}
			total := c.Syms.Simplify(full.Sub(o).Max(sym.Const(0)))
			half := total.FloorDiv(sym.Const(2))
			if p, q = half, total.Sub(half); auto != "SAME_UPPER" {
				p, q = q, p
			}
		}
		o = c.Syms.Simplify(o)
		if _, hi := c.Syms.Bounds(o); hi < 0 {
			return nil, c.Errorf("spatial dim %d of the result would be %s", i, o)
		}
		w.begin, w.end, w.out = append(w.begin, p), append(w.end, q), append(w.out, o)
	}
	return w, nil
}
