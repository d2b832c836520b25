package op

import (
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
		// bits reads integer number at of a row from bytes.
		bits := func(i int, per int64, at *scalar) *scalar {
			in := ir.IntLit(8 / m.bits) // integers in a byte
			shift := at.Mod(in).Mul(ir.IntLit(m.bits)).To(tensor.U8)
			x := ir.Binary(ir.OpShr, flat(i, per, at.FloorDiv(in)), shift)
			return ir.Binary(ir.OpAnd, x, x.Const(float64(int64(1)<<m.bits-1)))
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
