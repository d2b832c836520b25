package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Sampling: values at positions between elements.

// AffineGrid gives the positions that affine maps send a grid to, which is spread over
// [-1, 1] in every spatial dim: to the centres of the outer elements, or to their edges. A
// dim of 1 between centres is at 0. Positions list the innermost dim first.
var AffineGrid = ir.Register(&ir.OpDef{
	Name: "onnx.AffineGrid", Since: since(20), Doc: "a grid of positions under affine maps",
	In: ops(in("theta", "T1", floats), in("size", "", i64s)), Out: ops(in("grid", "T1", floats)),
	Attrs: attrs(attr("align_corners", 0)),
	Deduce: func(c *call) error {
		t := c.Dims(0)
		if len(t) != 3 || c.Rank(1) != 1 || c.Syms.Equal(t[1].Add(sym.Const(1)), t[2]) == sym.False {
			return c.Errorf("maps of shape %s and a size of shape %s, it takes [batch, r, r+1] and [r+2]", ir.ShapeString(t), ir.ShapeString(c.Dims(1)))
		}
		r, ok := t[1].Int()
		if n, isConst := c.Dims(1)[0].Int(); isConst {
			if ok && r != n-2 || c.Syms.Equal(t[1], sym.Const(n-2)) == sym.False {
				return c.Errorf("maps of %s dims and a size of %d entries", t[1], n)
			}
			r, ok = n-2, true
		}
		if !ok {
			c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
			return nil
		}
		if r != 2 && r != 3 {
			return c.Errorf("a grid of %d dims, it makes those of 2 and 3", r)
		}
		list, known := c.Ints(1)
		if known && c.Syms.Equal(list[0], t[0]) == sym.False {
			return c.Errorf("%s maps for a batch of %s", t[0], list[0])
		}
		dims := []sym.Expr{t[0]}
		for i := range r {
			if !known {
				dims = append(dims, c.Fresh(nil))
				continue
			}
			if _, hi := c.Syms.Bounds(list[2+i]); hi < 0 {
				return c.Errorf("size %s has a negative entry", ir.ShapeString(list))
			}
			dims = append(dims, list[2+i])
		}
		c.SetOut(0, c.DType(0), append(dims, sym.Const(r))...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		if _, ok := c.Ints(1); !ok || c.Out[0].(ir.TensorType).Unranked {
			return ir.ErrDynamic
		}
		theta := b.In(0)
		d := theta.DType.Compute()
		axes := b.Axes(b.Out(0).Dims)
		r := len(axes) - 2
		entry := func(j int) *scalar { return b.Load(theta, axes[0].Ix(), axes[r+1].Ix(), ir.IntLit(int64(j))) }
		y := entry(r)
		for j := range r {
			a := axes[r-j]
			n := ir.SymVal(a.Extent).To(d)
			var p *scalar
			if c.Flag("align_corners") {
				p = a.Ix().To(d).Mul(n.Const(2)).Div(n.Sub(n.Const(1))).Sub(n.Const(1))
				p = ir.Select(n.Eq(n.Const(1)), n.Const(0), p)
			} else {
				p = a.Ix().To(d).Mul(n.Const(2)).Add(n.Const(1)).Div(n).Sub(n.Const(1))
			}
			y = y.Add(entry(j).Mul(p))
		}
		b.Map(b.Out(0), axes, y)
		return nil
	},
})

// taps are the elements around a position along one dim that an interpolation reads: from
// floor(x)+first on, count of them, each with a weight.
type taps struct {
	first, count int64
	weight       func(frac *scalar, tap *scalar) *scalar // of tap 0 .. count-1; frac is x - floor(x)
}

var linearTaps = taps{0, 2, func(frac, tap *scalar) *scalar {
	return ir.Select(tap.Eq(ir.IntLit(0)), frac.Const(1).Sub(frac), frac)
}}

// cubicTaps convolve with a cubic (a = -0.75).
var cubicTaps = taps{-1, 4, func(frac, tap *scalar) *scalar {
	const a = -0.75
	k := frac.Const
	s := frac.Sub(tap.To(frac.DType)).Add(k(1)).Abs() // distance from the tap
	near := s.Mul(k(a + 2)).Sub(k(a + 3)).Mul(s).Mul(s).Add(k(1))
	far := s.Mul(k(a)).Sub(k(5 * a)).Mul(s).Add(k(8 * a)).Mul(s).Sub(k(4 * a))
	return ir.Select(s.Le(k(1)), near, far)
}}

// element is the index floor(x)+first+tap as an i64 that is in range, and whether it was.
// x may be anything: what is far outside, or NaN, is no index.
func (t taps) element(x, tap *scalar, dim sym.Expr) (ix, inside *scalar) {
	n := ir.SymVal(dim)
	f := x.Floor().Max(x.Const(-8)).Min(n.To(x.DType).Add(x.Const(8)))
	ix = f.To(tensor.I64).Add(ir.IntLit(t.first)).Add(tap)
	return ix, x.IsNaN().Not().And(ix.Ge(ir.IntLit(0))).And(ix.Lt(n))
}

// GridSample samples the spatial dims of X at the positions that a grid lists, the
// innermost dim first, where -1 and 1 are the centres of the outer elements, or their
// edges. Positions outside read 0, the nearest element, or what is mirrored there.
var GridSample = ir.Register(&ir.OpDef{
	Name: "onnx.GridSample", Since: since(16, 20, 22), Doc: "samples at the positions of a grid",
	In: ops(in("X", "T1", anyTensor), in("grid", "T2", floats)), Out: ops(in("Y", "T1", anyTensor)),
	Attrs: attrs(attr("align_corners", 0), attr("mode", "linear"), attr("padding_mode", "zeros")),
	Deduce: func(c *call) error {
		x, g := c.Dims(0), c.Dims(1)
		r := len(x) - 2
		if r < 1 || len(g) != len(x) || c.Syms.Equal(g[len(g)-1], sym.Const(int64(r))) == sym.False || c.Syms.Equal(x[0], g[0]) == sym.False {
			return c.Errorf("data %s and a grid %s, it takes [n, c, r dims] and [n, r dims, r]", c.Tensor(0), c.Tensor(1))
		}
		switch mode, d := c.Str("mode"), c.DType(0); {
		case mode == "nearest":
		case mode != "linear" && mode != "cubic":
			return c.Errorf("mode %q is none of nearest, linear, cubic", mode)
		case !slices.Contains(numeric, d):
			return c.Unsupported("mode %s of %s", mode, d)
		}
		if p := c.Str("padding_mode"); p != "zeros" && p != "border" && p != "reflection" {
			return c.Errorf("padding_mode %q is none of zeros, border, reflection", p)
		}
		c.SetOut(0, c.DType(0), append(slices.Clone(x[:2]), g[1:len(g)-1]...)...)
		return nil
	},
	Body: gridSample,
})

func gridSample(c *call, b *ir.Body) error {
	X, G := b.In(0), b.In(1)
	r := len(X.Dims) - 2
	mode, padding := c.Str("mode"), c.Str("padding_mode")
	// Positions in elements, for each spatial dim from the outermost on.
	at := make([]*ir.Buffer, r)
	spread := func(d sym.Expr, x *scalar) (n, lo, hi *scalar) { // size and outer limits of a dim
		n = ir.SymVal(d).To(x.DType)
		if c.Flag("align_corners") {
			return n, x.Const(0), n.Sub(x.Const(1))
		}
		return n, x.Const(-0.5), n.Sub(x.Const(0.5))
	}
	for i := range r {
		axes := b.Axes(G.Dims[:r+1])
		p := b.Load(G, append(ir.Ix(axes), ir.IntLit(int64(r-1-i)))...)
		n, lo, hi := spread(X.Dims[2+i], p)
		x := p.Add(p.Const(1)).Mul(hi.Sub(lo)).Div(p.Const(2)).Add(lo)
		if mode == "nearest" {
			x = ir.Unary(ir.OpRound, x)
		}
		switch padding {
		case "border":
			x = x.Max(x.Const(0)).Min(n.Sub(x.Const(1)))
		case "reflection":
			x = reflected(x, lo, hi)
		}
		at[i] = b.Mapped(axes, x)
	}
	axes := b.Axes(b.Out(0).Dims)
	lead := append([]*scalar{axes[0].Ix()}, ir.Ix(axes[2:])...)
	ix := ir.Ix(axes[:2])
	var inside *scalar
	outer := func(p *scalar, d sym.Expr) *scalar { // where a tap outside is read
		switch padding {
		case "border":
			return p.Max(ir.IntLit(0)).Min(ir.SymVal(d).Sub(ir.IntLit(1)))
		case "reflection":
			f := p.To(tensor.F64)
			_, lo, hi := spread(d, f)
			return ir.Unary(ir.OpTrunc, reflected(f, lo, hi)).To(tensor.I64)
		}
		return p
	}
	if mode == "nearest" {
		for i := range r {
			p, in := taps{0, 1, nil}.element(ir.Load(at[i], lead...), ir.IntLit(0), X.Dims[2+i])
			q := outer(p, X.Dims[2+i])
			if padding != "zeros" {
				in = q.Ge(ir.IntLit(0)).And(q.Lt(ir.SymVal(X.Dims[2+i])))
			}
			ix, inside = append(ix, q), both(inside, in)
		}
		b.Map(b.Out(0), axes, ir.Guard(inside, ir.Load(X, ix...), zeroOf(X.DType)))
		return nil
	}
	kind := linearTaps
	if mode == "cubic" {
		kind = cubicTaps
	}
	wide := X.DType.Compute()
	if wide.IsInt() {
		wide = tensor.F64
	}
	red := make([]*ir.Axis, r)
	var weight *scalar
	for i := range r {
		red[i] = b.Axis(sym.Const(kind.count))
		x := ir.Load(at[i], lead...)
		w := kind.weight(x.Sub(x.Floor()), red[i].Ix()).To(wide)
		if weight == nil {
			weight = w
		} else {
			weight = weight.Mul(w)
		}
		p, in := kind.element(x, red[i].Ix(), X.Dims[2+i])
		q := outer(p, X.Dims[2+i])
		if padding != "zeros" {
			in = q.Ge(ir.IntLit(0)).And(q.Lt(ir.SymVal(X.Dims[2+i])))
		}
		ix, inside = append(ix, q), both(inside, in)
	}
	x := b.Load(X, ix...).To(wide)
	b.Reduce(b.Out(0), axes, ir.Sum, red, ir.Guard(inside, x, x.Const(0)).Mul(weight))
	return nil
}

// reflected is x mirrored at lo and hi until it lies between them.
func reflected(x, lo, hi *scalar) *scalar {
	below := x.Lt(lo)
	beyond := ir.Select(below, lo.Sub(x), x.Sub(hi))
	width := hi.Sub(lo)
	turns := beyond.Div(width).Floor()
	rest := beyond.Sub(turns.Mul(width))
	even := turns.Sub(turns.Div(turns.Const(2)).Floor().Mul(turns.Const(2))).Eq(turns.Const(0))
	up, down := lo.Add(rest), hi.Sub(rest)
	back := ir.Select(even, ir.Select(below, up, down), ir.Select(below, down, up))
	back = ir.Select(width.Gt(width.Const(0)), back, lo)
	return ir.Select(below.Or(x.Gt(hi)), back, x)
}

// DeformConv is a convolution whose kernel elements each read where an offset moves them
// to, between elements, times a mask. Outside is 0.
var DeformConv = ir.Register(&ir.OpDef{
	Name: "onnx.DeformConv", Since: since(19, 22), Doc: "convolution with moved kernel elements",
	In:  ops(in("X", "T", floats), in("W", "T", floats), in("offset", "T", floats), opt("B", "T", floats), opt("mask", "T", floats)),
	Out: ops(in("Y", "T", floats)),
	Attrs: attrs(attrOpt("dilations", []int64(nil)), attr("group", 1), attrOpt("kernel_shape", []int64(nil)), attr("offset_group", 1),
		attrOpt("pads", []int64(nil)), attrOpt("strides", []int64(nil))),
	Deduce: func(c *call) error {
		w, err := convWindow(c, 1)
		if err != nil {
			return err
		}
		x, k := c.Dims(0), c.Dims(1)
		r, groups := int64(len(w.out)), c.Int("offset_group")
		if r == 0 {
			return c.Errorf("an operand of rank %d has no spatial dims", len(x))
		}
		if groups < 1 || c.Syms.Divides(sym.Const(groups), x[1]) == sym.False {
			return c.Errorf("%s channels in %d offset groups", x[1], groups)
		}
		size := sym.Prod(k[2:]...).Mul(sym.Const(groups))
		for i, channels := range map[int]sym.Expr{2: size.Mul(sym.Const(r)), 4: size} {
			if !c.Has(i) {
				continue
			}
			want := append([]sym.Expr{x[0], channels}, w.out...)
			d := c.Dims(i)
			ok := len(d) == len(want)
			for j := 0; ok && j < len(d); j++ {
				ok = c.Syms.Equal(d[j], want[j]) != sym.False
			}
			if !ok {
				o, _ := c.Op.Operand(i)
				return c.Errorf("operand %d (%s) has shape %s, it takes %s", i, o.Name, ir.ShapeString(d), ir.ShapeString(want))
			}
		}
		c.SetOut(0, c.DType(0), append([]sym.Expr{x[0], k[0]}, w.out...)...)
		if c.Has(3) {
			return perChannel(c, k[0], 3)
		}
		return nil
	},
	Body: deformConv,
})

func deformConv(c *call, b *ir.Body) error {
	win, err := convWindow(c, 1)
	if err != nil {
		return err
	}
	X, W, Y := b.In(0), b.In(1), b.Out(0)
	r := len(win.out)
	// Columns: what each kernel element of each channel reads at each position.
	col := b.Axes(slices.Concat(X.Dims[:2], W.Dims[2:], win.out))
	n, ch, kernel, out := col[0], col[1], col[2:2+r], col[2+r:]
	perGroup := c.Syms.Simplify(X.Dims[1].FloorDiv(sym.Const(c.Int("offset_group"))))
	element := ch.Ix().FloorDiv(ir.SymVal(perGroup)) // of the kernel, counted through the offset groups
	for i, k := range kernel {
		element = element.Mul(ir.SymVal(W.Dims[2+i])).Add(k.Ix())
	}
	red := make([]*ir.Axis, r)
	ix := []*scalar{n.Ix(), ch.Ix()}
	var inside, weight *scalar
	for i := range r {
		red[i] = b.Axis(sym.Const(linearTaps.count))
		offset := b.Load(b.In(2), append([]*scalar{n.Ix(), element.Mul(ir.IntLit(int64(r))).Add(ir.IntLit(int64(i)))}, ir.Ix(out)...)...)
		start := out[i].Ix().Mul(ir.IntLit(win.stride[i])).Add(kernel[i].Ix().Mul(ir.IntLit(win.dilation[i]))).Sub(ir.SymVal(win.begin[i]))
		x := offset.Add(start.To(offset.DType))
		w := linearTaps.weight(x.Sub(x.Floor()), red[i].Ix())
		p, in := linearTaps.element(x, red[i].Ix(), win.in[i])
		if weight == nil {
			weight = w
		} else {
			weight = weight.Mul(w)
		}
		ix, inside = append(ix, p), both(inside, in)
	}
	x := b.Load(X, ix...)
	columns := b.Reduced(col, ir.Sum, red, ir.Guard(inside, x, x.Const(0)).Mul(weight))

	axes, in := b.Axes(Y.Dims), b.Axes(W.Dims[1:])
	channel := in[0].Ix()
	if g := c.Int("group"); g > 1 {
		filters := c.Syms.Simplify(W.Dims[0].FloorDiv(sym.Const(g)))
		channel = axes[1].Ix().FloorDiv(ir.SymVal(filters)).Mul(ir.SymVal(W.Dims[1])).Add(channel)
	}
	at := slices.Concat([]*scalar{axes[0].Ix(), channel}, ir.Ix(in[1:]), ir.Ix(axes[2:]))
	read := ir.Load(columns, at...)
	if c.Has(4) {
		perGroup := ir.SymVal(perGroup)
		element := channel.FloorDiv(perGroup)
		for i, k := range in[1:] {
			element = element.Mul(ir.SymVal(W.Dims[2+i])).Add(k.Ix())
		}
		read = read.Mul(b.Load(b.In(4), append([]*scalar{axes[0].Ix(), element}, ir.Ix(axes[2:])...)...))
	}
	w := b.Load(W, append([]*scalar{axes[1].Ix()}, ir.Ix(in)...)...)
	sum := b.Reduced(axes, ir.Sum, in, read.Mul(w))
	axes = b.Axes(Y.Dims)
	y := ir.Load(sum, ir.Ix(axes)...)
	if c.Has(3) {
		y = y.Add(b.Load(b.In(3), axes[1].Ix()))
	}
	b.Map(Y, axes, y)
	return nil
}
