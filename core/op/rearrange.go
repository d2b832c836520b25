package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// CenterCropPad cuts dims that are longer than operand 1 says on both sides, and pads
// those that are shorter with zeros; what is left over of an odd difference is at the end.
var CenterCropPad = ir.Register(&ir.OpDef{
	Name: "onnx.CenterCropPad", Since: since(18), Doc: "cuts and pads around the centre",
	In: ops(in("input_data", "T", anyTensor), in("shape", "", indices)), Out: ops(in("output_data", "T", anyTensor)),
	Attrs: attrs(attrOpt("axes", []int64(nil))),
	Deduce: func(c *call) error {
		dims, err := centred(c)
		if err != nil {
			return err
		}
		if dims == nil {
			dims = slices.Clone(c.Dims(0))
			axes, _ := listedAxes(c)
			for _, a := range axes {
				dims[a] = c.Fresh(nil)
			}
		}
		c.SetOut(0, c.DType(0), dims...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		dims, err := centred(c)
		if err != nil {
			return err
		}
		if dims == nil {
			return ir.ErrDynamic
		}
		X := b.In(0)
		axes := b.Axes(b.Out(0).Dims)
		ix := ir.Ix(axes)
		var inside *scalar
		two, none := sym.Const(2), sym.Const(0)
		for i, d := range X.Dims {
			cut, pad := d.Sub(dims[i]).Max(none).FloorDiv(two), dims[i].Sub(d).Max(none).FloorDiv(two)
			ix[i] = ix[i].Add(ir.SymVal(c.Syms.Simplify(cut.Sub(pad))))
			if c.Syms.LE(dims[i], d) != sym.True {
				inside = both(inside, ix[i].Ge(ir.IntLit(0)).And(ix[i].Lt(ir.SymVal(d))))
			}
		}
		b.Map(b.Out(0), axes, guarded(inside, ir.Load(X, ix...), zeroOf(X.DType)))
		return nil
	},
})

// centred are the dims of the result; nil where only a run tells.
func centred(c *call) ([]sym.Expr, error) {
	axes, err := listedAxes(c)
	if err != nil {
		return nil, err
	}
	if d := c.Dims(1); len(d) != 1 || c.Syms.Equal(d[0], sym.Const(int64(len(axes)))) == sym.False {
		return nil, c.Errorf("a shape of shape %s for %d axes", ir.ShapeString(d), len(axes))
	}
	list, ok := c.Ints(1)
	if !ok || len(list) != len(axes) {
		return nil, nil
	}
	dims := slices.Clone(c.Dims(0))
	for i, a := range axes {
		if _, hi := c.Syms.Bounds(list[i]); hi < 0 {
			return nil, c.Errorf("shape %s has a negative entry", ir.ShapeString(list))
		}
		dims[a] = list[i]
	}
	return dims, nil
}

// Col2Im puts blocks, the columns of a matrix, back where a convolution's window reads
// them; where they overlap they add up.
var Col2Im = ir.Register(&ir.OpDef{
	Name: "onnx.Col2Im", Since: since(18), Doc: "adds blocks up to an image",
	In: ops(in("input", "T", numeric), in("image_shape", "", i64s), in("block_shape", "", i64s)), Out: ops(in("output", "T", numeric)),
	Attrs: attrs(attrOpt("dilations", []int64(nil)), attrOpt("pads", []int64(nil)), attrOpt("strides", []int64(nil))),
	Deduce: func(c *call) error {
		x, image, block := c.Dims(0), c.Dims(1), c.Dims(2)
		if len(x) != 3 || len(image) != 1 || len(block) != 1 || c.Syms.Equal(image[0], block[0]) == sym.False {
			return c.Errorf("operands %s, %s and %s, it takes [n, channels*block, blocks], [r] and [r]", c.Tensor(0), c.Tensor(1), c.Tensor(2))
		}
		w, err := imageWindow(c)
		if err != nil {
			return err
		}
		if w != nil {
			channels := c.Syms.Simplify(x[1].FloorDiv(sym.Prod(w.kernel...)))
			c.SetOut(0, c.DType(0), append([]sym.Expr{x[0], channels}, w.in...)...)
			return nil
		}
		r, ok := image[0].Int()
		if !ok {
			r, ok = block[0].Int()
		}
		if !ok || r > ir.MaxKnown {
			c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
			return nil
		}
		dims := []sym.Expr{x[0]}
		for range r + 1 {
			dims = append(dims, c.Fresh(nil))
		}
		c.SetOut(0, c.DType(0), dims...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		w, err := imageWindow(c)
		if err != nil {
			return err
		}
		if w == nil || c.Out[0].(ir.TensorType).Unranked {
			return ir.ErrDynamic
		}
		axes, red := b.Axes(b.Out(0).Dims), b.Axes(w.kernel)
		row, column := axes[1].Ix(), ir.IntLit(0)
		var inside *scalar
		for i, k := range red {
			p, in := w.source(i, axes[2+i].Ix(), k.Ix(), w.out[i])
			inside = both(inside, in)
			row = row.Mul(ir.SymVal(k.Extent)).Add(k.Ix())
			column = column.Mul(ir.SymVal(w.out[i])).Add(p)
		}
		x := b.Load(b.In(0), axes[0].Ix(), row, column)
		b.Reduce(b.Out(0), axes, ir.Sum, red, guarded(inside, x, x.Const(0)))
		return nil
	},
})

// imageWindow is the window whose columns a Col2Im puts back, over the image; nil where
// only a run tells.
func imageWindow(c *call) (*window, error) {
	image, ok := c.Ints(1)
	block, ok2 := c.ConstInts(2)
	if !ok || !ok2 {
		return nil, nil
	}
	if len(image) != len(block) || len(block) == 0 {
		return nil, c.Errorf("an image of %d dims and blocks of %d", len(image), len(block))
	}
	for i, k := range block {
		if _, hi := c.Syms.Bounds(image[i]); hi < 0 || k < 1 {
			return nil, c.Errorf("blocks of %v of an image %s", block, ir.ShapeString(image))
		}
	}
	w, err := windowOf(c, image, ir.Consts(block))
	if err != nil {
		return nil, err
	}
	x := c.Dims(0)
	if c.Syms.Divides(sym.Prod(w.kernel...), x[1]) == sym.False {
		return nil, c.Errorf("%s rows are no multiple of a block's %s elements", x[1], sym.Prod(w.kernel...))
	}
	if n := sym.Prod(w.out...); c.Syms.Equal(n, x[2]) == sym.False {
		return nil, c.Errorf("%s columns, an image %s has %s blocks", x[2], ir.ShapeString(image), n)
	}
	return w, nil
}
