package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// MatMulNBits multiplies A by the transpose of a matrix of N rows of K integers of 2, 4 or
// 8 bits. A row is quantized in blocks of block_size, each with a scale and a zero point,
// which is half of the range where there is none. Integers are packed into bytes, the low
// bits first; the zero points of a row too, unless they are of the scales' element type.
// g_idx gives a position's block where blocks are not contiguous.
var MatMulNBits = ir.Register(&ir.OpDef{
	Name: "com.microsoft.MatMulNBits", Since: since(1), Doc: "product with a matrix of 2-, 4- or 8-bit integers in blocks",
	In: ops(in("A", "T1", floats), in("B", "", bytes8[1:]), in("scales", "T1", floats), opt("zero_points", "", append(floats[:4:4], tensor.U8)),
		opt("g_idx", "", []tensor.DType{tensor.I32}), opt("bias", "T1", floats)),
	Out: ops(in("Y", "T1", floats)),
	Attrs: attrs(attrReq("K", int64(0)), attrReq("N", int64(0)), attr("bits", 4), attrReq("block_size", int64(0)), attr("accuracy_level", 0),
		attr("weight_prepacked", 0)),
	Deduce: func(c *call) error {
		m, err := nbitsOf(c)
		if err != nil {
			return err
		}
		x := c.Dims(0)
		if len(x) == 0 || c.Syms.Equal(x[len(x)-1], sym.Const(m.k)) == sym.False {
			return c.Errorf("operand %s for matrices of %d columns", c.Tensor(0), m.k)
		}
		c.SetOut(0, c.DType(0), append(append([]sym.Expr(nil), x[:len(x)-1]...), sym.Const(m.n))...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		m, err := nbitsOf(c)
		if err != nil {
			return err
		}
		d := c.DType(0).Compute()
		axes := b.Axes([]sym.Expr{sym.Const(m.k), sym.Const(m.n)})
		k, row := axes[0].Ix(), axes[1].Ix()
		block := k.FloorDiv(ir.IntLit(m.block))
		if c.Has(4) {
			block = wrapped(c, b, 4, []*scalar{k}, sym.Const(m.blocks))
		}
		flat := func(i int, per int64, at *scalar) *scalar { // element at of a row in a tensor with per elements to each
			ix := row.Mul(ir.IntLit(per)).Add(at)
			return b.Load(b.In(i), unflatten(ix, c.Dims(i))...)
		}
		bits := func(i int, per int64, at *scalar) *scalar { // integer number at of a row
			return unpacked(m.bits, at, func(at *scalar) *scalar { return flat(i, per, at) })
		}
		zero := ir.Lit(d, float64(int64(1)<<(m.bits-1)))
		switch {
		case c.Has(3) && c.DType(3) == tensor.U8:
			zero = bits(3, (m.blocks*m.bits+7)/8, block).To(d)
		case c.Has(3):
			zero = flat(3, m.blocks, block).To(d)
		}
		w := bits(1, m.blocks*m.block*m.bits/8, k).To(d).Sub(zero).Mul(flat(2, m.blocks, block).To(d))
		weights := b.Mapped(axes, w)

		X := b.In(0)
		out, red := b.Axes(b.Out(0).Dims), b.Axis(sym.Const(m.k))
		last := len(out) - 1
		product := b.Load(X, append(ir.Ix(out[:last]), red.Ix())...).Mul(ir.Load(weights, red.Ix(), out[last].Ix()))
		if !c.Has(5) {
			b.Reduce(b.Out(0), out, ir.Sum, []*ir.Axis{red}, product)
			return nil
		}
		sum := b.Reduced(out, ir.Sum, []*ir.Axis{red}, product)
		out = b.Axes(b.Out(0).Dims)
		b.Map(b.Out(0), out, ir.Load(sum, ir.Ix(out)...).Add(b.Load(b.In(5), out[last].Ix())))
		return nil
	},
})

// unpacked reads integer number at, of so many bits, from bytes that hold several.
func unpacked(bits int64, at *scalar, load func(at *scalar) *scalar) *scalar {
	in := ir.IntLit(8 / bits)
	shift := at.Mod(in).Mul(ir.IntLit(bits)).To(tensor.U8)
	x := ir.Binary(ir.OpShr, load(at.FloorDiv(in)), shift)
	return ir.Binary(ir.OpAnd, x, x.Const(float64(int64(1)<<bits-1)))
}

// nbits are the sizes of a MatMulNBits.
type nbits struct{ k, n, bits, block, blocks int64 }

func nbitsOf(c *call) (nbits, error) {
	m := nbits{k: c.Int("K"), n: c.Int("N"), bits: c.Int("bits"), block: c.Int("block_size")}
	if m.k < 1 || m.n < 1 || m.bits != 2 && m.bits != 4 && m.bits != 8 || m.block < 8 || m.block%8 != 0 {
		return m, c.Errorf("K %d, N %d, bits %d, block_size %d", m.k, m.n, m.bits, m.block).Hint("bits is 2, 4 or 8, a block a multiple of 8")
	}
	if c.Flag("weight_prepacked") {
		return m, c.Unsupported("weight_prepacked, a layout of one kind of GPU")
	}
	m.blocks = (m.k + m.block - 1) / m.block
	for _, s := range []struct {
		i     int
		size  int64
		holds bool
	}{
		{1, m.n * m.blocks * m.block * m.bits / 8, true},
		{2, m.n * m.blocks, true},
		{3, m.n * ((m.blocks*m.bits + 7) / 8), c.DType(3) == tensor.U8},
		{3, m.n * m.blocks, c.DType(3) != tensor.U8},
		{5, m.n, true},
	} {
		if s.holds && c.Has(s.i) && c.Syms.Equal(c.Tensor(s.i).Size(), sym.Const(s.size)) == sym.False {
			o, _ := c.Op.Operand(s.i)
			return m, c.Errorf("operand %d (%s) has shape %s, it takes %d elements", s.i, o.Name, ir.ShapeString(c.Dims(s.i)), s.size)
		}
	}
	if c.Has(4) && (c.Rank(4) != 1 || c.Syms.LE(sym.Const(m.k), c.Dims(4)[0]) == sym.False) {
		return m, c.Errorf("g_idx of shape %s for %d columns", ir.ShapeString(c.Dims(4)), m.k)
	}
	return m, nil
}

// GatherBlockQuantized is Gather of a tensor that is quantized in blocks along an axis, each
// with a scale and a zero point. Bytes hold integers of so many bits, packed along the last
// dim, whose zero point is half of their range where there is none.
var GatherBlockQuantized = ir.Register(&ir.OpDef{
	Name: "com.microsoft.GatherBlockQuantized", Since: since(1), Doc: "Gather of a tensor that is quantized in blocks",
	In: ops(in("data", "T1", []tensor.DType{tensor.U8, tensor.I4, tensor.U4}), in("indices", "", indices), in("scales", "T2", scales),
		opt("zero_points", "T1", []tensor.DType{tensor.U8, tensor.I4, tensor.U4})),
	Out:   ops(in("output", "T2", scales)),
	Attrs: attrs(attr("bits", 4), attr("block_size", 128), attr("gather_axis", 0), attr("quantize_axis", 1)),
	Deduce: func(c *call) error {
		dims, a, q, err := blockQuantized(c)
		if err != nil {
			return err
		}
		blocks := slices.Clone(dims)
		blocks[q] = dims[q].CeilDiv(sym.Const(c.Int("block_size")))
		for i := 2; i <= 3 && c.Has(i); i++ {
			want := slices.Clone(blocks)
			if i == 3 {
				want[len(want)-1] = packed(c, want[len(want)-1])
			}
			ok := c.Rank(i) == len(want)
			for j := 0; ok && j < len(want); j++ {
				ok = c.Syms.Equal(c.Dims(i)[j], want[j]) != sym.False
			}
			if !ok {
				o, _ := c.Op.Operand(i)
				return c.Errorf("operand %d (%s) has shape %s, it takes %s", i, o.Name, ir.ShapeString(c.Dims(i)), ir.ShapeString(want))
			}
		}
		c.SetOut(0, c.DType(2), slices.Concat(dims[:a], c.Dims(1), dims[a+1:])...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		dims, a, q, err := blockQuantized(c)
		if err != nil {
			return err
		}
		axes := b.Axes(b.Out(0).Dims)
		out, n := ir.Ix(axes), c.Rank(1)
		at := slices.Concat(out[:a], []*scalar{wrapped(c, b, 1, out[a:a+n], dims[a])}, out[a+n:])
		last, wide := len(at)-1, c.DType(2).Compute()
		read := func(i int, at []*scalar) *scalar {
			if c.DType(i) != tensor.U8 {
				return b.Load(b.In(i), at...).To(wide)
			}
			return unpacked(c.Int("bits"), at[last], func(byte *scalar) *scalar {
				return b.Load(b.In(i), append(slices.Clone(at[:last]), byte)...)
			}).To(wide)
		}
		block := slices.Clone(at)
		block[q] = at[q].FloorDiv(ir.IntLit(c.Int("block_size")))
		x := read(0, at)
		switch {
		case c.Has(3):
			x = x.Sub(read(3, block))
		case c.DType(0) == tensor.U8:
			x = x.Sub(x.Const(float64(int64(1) << (c.Int("bits") - 1))))
		}
		b.Map(b.Out(0), axes, x.Mul(b.Load(b.In(2), block...)))
		return nil
	},
})

// blockQuantized gives the dims of the tensor that a GatherBlockQuantized stands for, and
// the axes that are gathered along and quantized along.
func blockQuantized(c *call) (dims []sym.Expr, gather, quantize int, err error) {
	dims = slices.Clone(c.Dims(0))
	if gather, err = c.Axis(c.Int("gather_axis"), len(dims)); err != nil {
		return
	}
	if quantize, err = c.Axis(c.Int("quantize_axis"), len(dims)); err != nil {
		return
	}
	bits, last := c.Int("bits"), len(dims)-1
	if c.Int("block_size") < 1 || gather == quantize || c.DType(0) == tensor.U8 && (bits != 2 && bits != 4 && bits != 8 || quantize != last) {
		return nil, 0, 0, c.Errorf("bits %d, block_size %d, gather_axis %d, quantize_axis %d of %s", bits, c.Int("block_size"), gather, quantize, c.Tensor(0))
	}
	if c.DType(0) == tensor.U8 {
		dims[last] = dims[last].Mul(sym.Const(8 / bits))
	}
	return dims, gather, quantize, nil
}

// packed is the length of a last dim in the bytes of a GatherBlockQuantized.
func packed(c *call, d sym.Expr) sym.Expr {
	if c.DType(0) != tensor.U8 {
		return d
	}
	return d.CeilDiv(sym.Const(8 / c.Int("bits")))
}
