package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Signals: windows, spectra.

// size is the one integer that operand i holds, at least lo; ok is false where only a run
// tells.
func size(c *call, i int, lo int64) (n sym.Expr, ok bool, err error) {
	if err := single(c, i); err != nil {
		return n, false, err
	}
	list, ok := c.Ints(i)
	if !ok || len(list) != 1 {
		return n, false, nil
	}
	if _, hi := c.Syms.Bounds(list[0]); hi < lo {
		o, _ := c.Op.Operand(i)
		return n, false, c.Errorf("operand %d (%s) is %s, it takes at least %d", i, o.Name, list[0], lo)
	}
	return list[0], true, nil
}

// cosineWindow registers a window function: a sum of cosines of 2 pi n/N, whose k-th one has
// the k-th weight. N is the size, or, where the window is symmetric, one less.
func cosineWindow(name, doc string, weights ...float64) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Since: since(17), Doc: doc,
		In: ops(in("size", "", indices)), Out: ops(in("output", "", numeric)),
		Attrs: attrs(attr("output_datatype", 1), attr("periodic", 1)),
		Deduce: func(c *call) error {
			d, err := dtypeAttr(c, "output_datatype", numeric, tensor.F32)
			if err != nil {
				return err
			}
			n, ok, err := size(c, 0, 0)
			if !ok {
				n = c.Fresh(nil)
			}
			c.SetOut(0, d, n)
			return err
		},
		Body: func(c *call, b *ir.Body) error {
			n, ok, err := size(c, 0, 0)
			if err != nil {
				return err
			}
			if !ok {
				return ir.ErrDynamic
			}
			if !c.Flag("periodic") {
				n = n.Sub(sym.Const(1))
			}
			axes := b.Axes(b.Out(0).Dims)
			turn := axes[0].Ix().To(tensor.F64).Div(ir.SymVal(n).To(tensor.F64)).Mul(ir.Lit(tensor.F64, 2*math.Pi))
			y := turn.Const(weights[0])
			for k, w := range weights[1:] {
				y = y.Add(turn.Const(w).Mul(ir.Unary(ir.OpCos, turn.Mul(turn.Const(float64(k+1))))))
			}
			b.Map(b.Out(0), axes, y)
			return nil
		},
	})
}

var (
	HannWindow     = cosineWindow("onnx.HannWindow", "a Hann window", 0.5, -0.5)
	HammingWindow  = cosineWindow("onnx.HammingWindow", "a Hamming window", 25.0/46, -21.0/46)
	BlackmanWindow = cosineWindow("onnx.BlackmanWindow", "a Blackman window", 0.42, -0.5, 0.08)
)

// MelWeightMatrix weighs the bins of a one-sided spectrum (rows) into bands (columns),
// triangles that stand at equal distances on the mel scale, 2595 log10(1 + f/700).
var MelWeightMatrix = ir.Register(&ir.OpDef{
	Name: "onnx.MelWeightMatrix", Since: since(17), Doc: "weights of spectral bins in mel bands",
	In: ops(in("num_mel_bins", "T1", indices), in("dft_length", "T1", indices), in("sample_rate", "T1", indices),
		in("lower_edge_hertz", "T2", floats), in("upper_edge_hertz", "T2", floats)),
	Out: ops(in("output", "", numeric)), Attrs: attrs(attr("output_datatype", 1)),
	Deduce: func(c *call) error {
		d, err := dtypeAttr(c, "output_datatype", numeric, tensor.F32)
		if err != nil {
			return err
		}
		bands, length, ok, err := melSizes(c)
		if err != nil {
			return err
		}
		bins := length.FloorDiv(sym.Const(2)).Add(sym.Const(1))
		if !ok {
			bands, bins = c.Fresh(nil), c.Fresh(nil)
		}
		c.SetOut(0, d, bins, bands)
		return single(c, 2, 3, 4)
	},
	Body: func(c *call, b *ir.Body) error {
		bands, length, ok, err := melSizes(c)
		if err != nil {
			return err
		}
		if !ok {
			return ir.ErrDynamic
		}
		f64 := func(e *scalar) *scalar { return e.To(tensor.F64) }
		mel := func(hertz *scalar) *scalar {
			return hertz.Div(hertz.Const(700)).Add(hertz.Const(1)).Log().Mul(hertz.Const(2595 / math.Ln10))
		}
		low, high := mel(f64(loadSingle(b, 3))), mel(f64(loadSingle(b, 4)))
		edge := b.Axes([]sym.Expr{bands.Add(sym.Const(2))}) // of the triangles
		step := high.Sub(low).Div(f64(ir.SymVal(edge[0].Extent)))
		at := f64(edge[0].Ix()).Mul(step).Add(low)
		hertz := at.Const(10).Pow(at.Div(at.Const(2595))).Sub(at.Const(1)).Mul(at.Const(700))
		bin := hertz.Mul(f64(ir.SymVal(length.Add(sym.Const(1))))).Div(f64(loadSingle(b, 2))).Floor()
		edges := b.Mapped(edge, bin)

		axes := b.Axes(b.Out(0).Dims)
		row := f64(axes[0].Ix())
		corner := func(i int64) *scalar { return ir.Load(edges, axes[1].Ix().Add(ir.IntLit(i))) }
		left, top, right := corner(0), corner(1), corner(2)
		zero := row.Const(0)
		rising := ir.Select(left.Eq(top), ir.Select(row.Eq(top), row.Const(1), zero), row.Sub(left).Div(top.Sub(left)))
		rising = ir.Select(row.Ge(left).And(row.Le(top)), rising, zero)
		falling := right.Sub(row).Div(right.Sub(top))
		b.Map(b.Out(0), axes, ir.Select(row.Ge(top).And(row.Lt(right)), falling, rising))
		return nil
	},
})

func melSizes(c *call) (bands, length sym.Expr, ok bool, err error) {
	bands, ok, err = size(c, 0, 0)
	if err != nil {
		return
	}
	var known bool
	length, known, err = size(c, 1, 0)
	return bands, length, ok && known, err
}

// DFT is the discrete Fourier transform along an axis. The last dim holds real and
// imaginary parts, or real ones alone. One-sided it gives the half of the spectrum that
// tells the other one; the inverse of that gives a real signal.
var DFT = ir.Register(&ir.OpDef{
	Name: "onnx.DFT", Since: since(17, 20), Doc: "discrete Fourier transform along an axis",
	In:    ops(in("input", "T1", floats), opt("dft_length", "T2", indices), opt("axis", "", i64s)),
	Out:   ops(in("output", "T1", floats)),
	Attrs: attrs(attr("inverse", 0), attr("onesided", 0)),
	Deduce: func(c *call) error {
		t, err := transformOf(c)
		if err != nil {
			return err
		}
		d := slices.Clone(c.Dims(0))
		last := len(d) - 1
		switch {
		case t == nil && !c.Has(1) && !c.Flag("onesided"): // whichever axis it is, the transform is as long
		case t == nil:
			for i := range d {
				d[i] = c.Fresh(nil)
			}
		default:
			d[t.axis] = t.out
		}
		d[last] = sym.Const(2)
		if c.Flag("inverse") && c.Flag("onesided") {
			d[last] = sym.Const(1)
		}
		c.SetOut(0, c.DType(0), d...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		t, err := transformOf(c)
		if err != nil {
			return err
		}
		if t == nil {
			return ir.ErrDynamic
		}
		X := b.In(0)
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		part := ix[len(ix)-1]
		w := waves(b, X.DType.Compute(), t.n)
		from := t.n // what is summed over
		realSignal := c.Flag("inverse") && c.Flag("onesided")
		if realSignal {
			from = half(t.n)
		}
		red := b.Axis(from)
		ix[t.axis] = red.Ix()
		inside := red.Ix().Lt(ir.SymVal(X.Dims[t.axis]))
		load := func(p int64) *scalar {
			ix := append(slices.Clone(ix[:len(ix)-1]), ir.IntLit(p))
			cond := inside
			if p > 0 {
				cond = cond.And(ir.SymVal(X.Dims[len(X.Dims)-1]).Gt(ir.IntLit(p)))
			}
			x := b.Load(X, ix...)
			return ir.Guard(cond, x, x.Const(0))
		}
		re, im := load(0), load(1)
		cos, sin := w.at(axes[t.axis].Ix(), red.Ix())
		if !c.Flag("inverse") {
			sin = sin.Neg()
		}
		var term *scalar
		if realSignal { // each bin but the first and the middle one stands for its mirror image too
			k := red.Ix()
			alone := k.Eq(ir.IntLit(0)).Or(k.Add(k).Eq(ir.SymVal(t.n)))
			term = re.Mul(cos).Sub(im.Mul(sin)).Mul(ir.Select(alone, re.Const(1), re.Const(2)))
		} else {
			first := part.Eq(ir.IntLit(0)) // the real part of the product, or the imaginary one
			term = re.Mul(ir.Select(first, cos, sin)).Add(im.Mul(ir.Select(first, sin.Neg(), cos)))
		}
		sum := b.Reduced(axes, ir.Sum, []*ir.Axis{red}, term)
		out := b.Axes(b.Out(0).Dims)
		y := ir.Load(sum, ir.Ix(out)...)
		if c.Flag("inverse") {
			y = y.Div(ir.SymVal(t.n).To(y.DType))
		}
		b.Map(b.Out(0), out, y)
		return nil
	},
})

// half is the number of bins of a one-sided spectrum.
func half(n sym.Expr) sym.Expr { return n.FloorDiv(sym.Const(2)).Add(sym.Const(1)) }

// transform is what a DFT does: along which axis, over n points, giving out of them.
type transform struct {
	axis   int
	n, out sym.Expr
}

// transformOf reads the operands of a DFT; nil where only a run tells.
func transformOf(c *call) (*transform, error) {
	d := c.Dims(0)
	if len(d) < 2 {
		return nil, c.Errorf("an operand of rank %d, it takes a signal and a last dim of real and imaginary parts", len(d))
	}
	one, two := c.Syms.Equal(d[len(d)-1], sym.Const(1)), c.Syms.Equal(d[len(d)-1], sym.Const(2))
	onesided, inverse := c.Flag("onesided"), c.Flag("inverse")
	switch {
	case one == sym.False && two == sym.False:
		return nil, c.Errorf("the last dim of %s is neither 1 (real) nor 2 (real and imaginary parts)", c.Tensor(0))
	case onesided && !inverse && two == sym.True:
		return nil, c.Errorf("a one-sided spectrum of a complex signal")
	case onesided && inverse && one == sym.True:
		return nil, c.Errorf("the inverse of a one-sided spectrum takes real and imaginary parts")
	}
	t := &transform{axis: len(d) - 2}
	if c.Has(2) {
		if err := single(c, 2); err != nil {
			return nil, err
		}
		a, ok := c.ConstInts(2)
		if !ok {
			return nil, nil
		}
		var err error
		if t.axis, err = c.Axis(a[0], len(d)); err != nil {
			return nil, err
		}
		if t.axis == len(d)-1 {
			return nil, c.Errorf("axis %d is that of real and imaginary parts", a[0])
		}
	}
	t.n = d[t.axis]
	if onesided && inverse {
		t.n = t.n.Sub(sym.Const(1)).Mul(sym.Const(2)).Max(sym.Const(0))
	}
	if c.Has(1) {
		n, ok, err := size(c, 1, 1)
		if !ok {
			return nil, err
		}
		t.n = n
	}
	t.n = c.Syms.Simplify(t.n)
	if t.out = t.n; onesided && !inverse {
		t.out = half(t.n)
	}
	return t, nil
}

// waveTable holds one turn of cosine and sine in n steps.
type waveTable struct {
	cos, sin *ir.Buffer
	n        sym.Expr
}

func waves(b *ir.Body, d tensor.DType, n sym.Expr) waveTable {
	table := func(op ir.ScalarOp) *ir.Buffer {
		axes := b.Axes([]sym.Expr{n})
		turn := axes[0].Ix().To(tensor.F64).Div(ir.SymVal(n).To(tensor.F64)).Mul(ir.Lit(tensor.F64, 2*math.Pi))
		return b.Mapped(axes, ir.Unary(op, turn).To(d))
	}
	return waveTable{table(ir.OpCos), table(ir.OpSin), n}
}

// at are cosine and sine of the angle of j k steps.
func (w waveTable) at(j, k *scalar) (cos, sin *scalar) {
	step := j.Mul(k).Mod(ir.SymVal(w.n))
	return ir.Load(w.cos, step), ir.Load(w.sin, step)
}

// STFT is the DFT of windowed frames of a signal, which start frame_step apart. Without a
// frame_length that is the window's, else the signal's.
var STFT = ir.Register(&ir.OpDef{
	Name: "onnx.STFT", Since: since(17), Doc: "Fourier transforms of the frames of a signal",
	In:  ops(in("signal", "T1", floats), in("frame_step", "T2", indices), opt("window", "T1", floats), opt("frame_length", "T2", indices)),
	Out: ops(in("output", "T1", floats)), Attrs: attrs(attr("onesided", 1)),
	Deduce: func(c *call) error {
		f, err := framesOf(c)
		if err != nil {
			return err
		}
		frames, bins := c.Fresh(nil), c.Fresh(nil)
		if f != nil {
			frames, bins = f.count, f.bins
		}
		c.SetOut(0, c.DType(0), c.Dims(0)[0], frames, bins, sym.Const(2))
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		f, err := framesOf(c)
		if err != nil {
			return err
		}
		if f == nil {
			return ir.ErrDynamic
		}
		X := b.In(0)
		w := waves(b, X.DType.Compute(), f.length)
		axes, red := b.Axes(b.Out(0).Dims), b.Axis(f.length)
		at := axes[1].Ix().Mul(ir.IntLit(f.step)).Add(red.Ix())
		re, im := b.Load(X, axes[0].Ix(), at, ir.IntLit(0)), b.Load(X, axes[0].Ix(), at, ir.IntLit(1))
		im = ir.Guard(ir.SymVal(X.Dims[2]).Gt(ir.IntLit(1)), im, im.Const(0))
		cos, sin := w.at(axes[2].Ix(), red.Ix())
		first := axes[3].Ix().Eq(ir.IntLit(0))
		term := re.Mul(ir.Select(first, cos, sin.Neg())).Add(im.Mul(ir.Select(first, sin, cos)))
		if c.Has(2) {
			term = term.Mul(b.Load(b.In(2), red.Ix()))
		}
		b.Reduce(b.Out(0), axes, ir.Sum, []*ir.Axis{red}, term)
		return nil
	},
})

// frames are those of an STFT.
type frames struct {
	step                int64
	length, count, bins sym.Expr
}

// framesOf reads the operands of an STFT; nil where only a run tells.
func framesOf(c *call) (*frames, error) {
	d := c.Dims(0)
	if len(d) != 3 {
		return nil, c.Errorf("a signal of shape %s, it takes [batch, length, 1 or 2]", ir.ShapeString(d))
	}
	one, two := c.Syms.Equal(d[2], sym.Const(1)), c.Syms.Equal(d[2], sym.Const(2))
	if one == sym.False && two == sym.False {
		return nil, c.Errorf("the last dim of %s is neither 1 (real) nor 2 (real and imaginary parts)", c.Tensor(0))
	}
	if two == sym.True && c.Flag("onesided") {
		return nil, c.Errorf("a one-sided spectrum of a complex signal")
	}
	f := &frames{length: d[1]}
	if c.Has(2) {
		w := c.Dims(2)
		if len(w) != 1 {
			return nil, c.Errorf("a window of shape %s, it takes a list", ir.ShapeString(w))
		}
		f.length = w[0]
	}
	if c.Has(3) {
		n, ok, err := size(c, 3, 1)
		if !ok {
			return nil, err
		}
		if c.Has(2) && c.Syms.Equal(n, f.length) == sym.False {
			return nil, c.Unsupported("a window of %s for frames of %s", f.length, n)
		}
		f.length = n
	}
	if _, _, err := size(c, 1, 1); err != nil {
		return nil, err
	}
	step, ok := c.ConstInts(1)
	if !ok {
		return nil, nil
	}
	f.step = step[0]
	if c.Syms.LE(f.length, d[1]) == sym.False {
		return nil, c.Errorf("frames of %s of a signal of %s", f.length, d[1])
	}
	f.count = c.Syms.Simplify(d[1].Sub(f.length).FloorDiv(sym.Const(f.step)).Add(sym.Const(1)).Max(sym.Const(0)))
	if f.bins = f.length; c.Flag("onesided") {
		f.bins = half(f.length)
	}
	return f, nil
}
