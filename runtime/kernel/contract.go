package kernel

import (
	"fmt"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Contractions: sums of products of two factors, in tiles. Vectors of a group compute a tile of the result
// together: each some rows of it, and of each row some vectors of columns, which it keeps in registers. A step
// along the axis that is summed up brings a tile of each factor to scratch, which the group shares, and multiplies
// them. Between the two there are barriers. What lies beyond the ends is not read: it is zero in scratch, and not stored.

// Blocks are tiles of contractions: of Group vectors, each of which has Rows rows of it and Columns vectors of columns.
type Blocks struct{ Group, Rows, Columns int }

// contraction is a stage that is one.
type contraction struct {
	*scheduler
	*builder
	st         *stage
	tile       Blocks
	a, b       factor
	out        analysis.Affine
	row, col   *ir.Axis // of the tile
	k          *ir.Axis
	outer, red []*ir.Axis // the other axes
	at         map[*ir.Axis]*Value
}

// factor is one of the two: a load.
type factor struct {
	load *ir.Scalar
	buf  *Buffer
	f    analysis.Affine
}

// contract makes the kernel of a stage that is a contraction; nil: it is none, or not one that pays in tiles.
func (s *scheduler) contract(st *stage) *Kernel {
	if s.Blocks == (Blocks{}) || st.refused != "" || st.Kind != ir.ReduceStage || st.Monoid != ir.Sum || st.Out().DType != tensor.F32 || len(st.red) == 0 {
		return nil
	}
	x := st.Exprs[0]
	if x.Op != ir.OpMul || x.Args[0].Op != ir.OpLoad || x.Args[1].Op != ir.OpLoad {
		return nil
	}
	c := &contraction{scheduler: s, st: st, tile: s.Blocks, at: map[*ir.Axis]*Value{}}
	c.a, c.b = factor{load: x.Args[0]}, factor{load: x.Args[1]}
	for _, f := range []*factor{&c.a, &c.b} {
		if f.load.Buf.DType != tensor.F32 {
			return nil
		}
		var rest []int
		if f.f, rest = flat(f.load.Buf, f.load.Args); len(rest) > 0 {
			return nil
		}
	}
	if !c.axes() {
		return nil
	}
	k := c.kernel()
	if err := k.Verify(nil); err != nil {
		panic(err) // a mistake of this package
	}
	if s.Takes != nil && s.Takes(k) != nil {
		return nil
	}
	return k
}

// axes finds those of the tile: the innermost one that goes along one factor alone has its columns, the innermost
// one that goes along the other its rows.
func (c *contraction) axes() bool {
	for i := len(c.st.axes) - 1; i >= 0; i-- {
		x := c.st.axes[i]
		a, b := !coef(c.a.f, x).IsInt(0), !coef(c.b.f, x).IsInt(0)
		switch {
		case a != b && c.col == nil:
			if c.col = x; a {
				c.a, c.b = c.b, c.a
			}
		case a != b && c.row == nil && !coef(c.a.f, x).IsInt(0):
			c.row = x
		default:
			c.outer = append([]*ir.Axis{x}, c.outer...)
		}
	}
	last := len(c.st.red) - 1
	c.k, c.red = c.st.red[last], c.st.red[:last]
	return c.row != nil && c.col != nil && !coef(c.a.f, c.k).IsInt(0) && !coef(c.b.f, c.k).IsInt(0)
}

// buffer is a buffer of the program in memory.
func (c *contraction) buffer(b *ir.Buffer, written bool) *Buffer {
	for _, m := range c.builder.k.Buffers {
		if m.Of == b {
			return m
		}
	}
	m := &Buffer{Of: b, DType: b.DType, Len: sym.Prod(b.RoomDims()...), Written: written}
	c.builder.k.Buffers = append(c.builder.k.Buffers, m)
	return m
}

// scratch is a tile that the group shares.
func (c *contraction) scratch(name string, n int) *Value {
	m := &Buffer{Of: &ir.Buffer{Name: name, DType: tensor.F32}, DType: tensor.F32, Len: sym.Const(int64(n)), Scratch: true, Written: true}
	c.builder.k.Buffers = append(c.builder.k.Buffers, m)
	return c.emit(&Value{Op: OpBase, Kind: Addr, Buf: m})
}

// blocksOf is how many tiles there are along an axis.
func blocksOf(e sym.Expr, n int) sym.Expr { return e.CeilDiv(sym.Const(int64(n))) }

func (c *contraction) kernel() *Kernel {
	k := &Kernel{Name: c.p.Name + "." + c.st.Out().Name, Lanes: c.Lanes, Group: c.tile.Group}
	c.builder = newBuilder(k)
	for _, f := range []*factor{&c.a, &c.b} {
		f.buf = c.buffer(f.load.Buf, false)
		for i, x := range f.load.Args {
			g, _ := analysis.AffineOf(x)
			check := rangeOf(g)
			check.Dim, check.Why = f.load.Buf.Dims[i], fmt.Sprintf("index %d of %s", i, f.load.Buf.Name)
			k.Checks = append(k.Checks, check)
		}
	}
	out := c.st.Out()
	c.out, _ = flat(out, outIndex(c.st))
	result := c.emit(&Value{Op: OpBase, Kind: Addr, Buf: c.buffer(out, true)})
	lanes, rows, cols, depth := c.Lanes, c.tile.Group*c.tile.Rows, c.tile.Columns*c.Lanes, c.Lanes
	for _, x := range []*ir.Axis{c.row, c.col, c.k} { // positions beyond the ends are numbers of 32 bits, too
		k.Checks = append(k.Checks, Check{Const: x.Extent, Dim: sym.Const(1<<31 - int64(max(rows, cols, depth))), Why: "the extent of " + x.Name})
	}
	ta, tb := c.scratch("tile."+c.a.load.Buf.Name, rows*depth), c.scratch("tile."+c.b.load.Buf.Name, depth*cols)

	for _, x := range c.outer {
		c.at[x] = c.rangeLoop(x.Extent)
	}
	i0 := c.mulInt(c.rangeLoop(blocksOf(c.row.Extent, rows)), c.int(int64(rows)))
	j0 := c.mulInt(c.rangeLoop(blocksOf(c.col.Extent, cols)), c.int(int64(cols)))
	which := c.op(OpVector, Int)
	first := c.addInt(i0, c.mulInt(which, c.int(int64(c.tile.Rows)))) // row of the vector
	row := func(r int) *Value { return c.addInt(first, c.int(int64(r))) }
	col := func(v int) *Value { return c.addInt(j0, c.int(int64(v*lanes))) }

	var sums []*Value
	for range c.tile.Rows * c.tile.Columns {
		sums = append(sums, c.f32(0))
	}
	for _, x := range c.red {
		loop, in := c.loop(c.int(0), c.size(x.Extent, Int), 1, false, x.Extent, sums...)
		c.at[x], sums = loop.Var, in
	}
	steps := blocksOf(c.k.Extent, depth)
	loop, sums := c.loop(c.int(0), c.size(steps, Int), 1, false, steps, sums...)
	k0 := c.mulInt(loop.Var, c.int(int64(depth)))
	c.opN(OpBarrier, None, 1) // the tiles of the step before are read
	c.epoch++
	each := depth / c.tile.Group // rows of B's tile that a vector brings
	c.stage(ta, c.a, c.row, c.k, c.mulInt(which, c.int(int64(c.tile.Rows))), depth, c.tile.Rows, 1, row, func(int) *Value { return k0 })
	k1 := c.addInt(k0, c.mulInt(which, c.int(int64(each))))
	c.stage(tb, c.b, c.k, c.col, c.mulInt(which, c.int(int64(each))), cols, each, c.tile.Columns, func(r int) *Value { return c.addInt(k1, c.int(int64(r))) }, col)
	c.opN(OpBarrier, None, 1)
	c.epoch++

	inner, in := c.loop(c.int(0), c.int(int64(depth)), 1, false, sym.Const(int64(depth)), sums...)
	var bs, next []*Value
	from := c.index(tb, c.mulInt(inner.Var, c.int(int64(cols))))
	for v := range c.tile.Columns {
		bs = append(bs, c.loadTile(Contiguous, from, v*lanes))
	}
	own := c.index(c.index(ta, c.mulInt(which, c.int(int64(c.tile.Rows*depth)))), inner.Var)
	for r := range c.tile.Rows {
		a := c.loadTile(One, own, r*depth)
		for v := range c.tile.Columns {
			next = append(next, c.op(OpFma, F32, a, bs[v], in[r*c.tile.Columns+v]))
		}
	}
	sums = c.close(next...)
	for range 1 + len(c.red) {
		sums = c.close(sums...)
	}

	to := c.address(result, c.out, c.row, c.col)
	for r := range c.tile.Rows {
		for v := range c.tile.Columns {
			mask, within := c.inside(c.out, pos{c.row, row(r), false}, pos{c.col, col(v), true})
			addr, access, n := c.lanes(to, c.out, pos{c.row, row(r), false}, pos{c.col, col(v), true})
			c.emit(&Value{Op: OpStore, Args: []*Value{addr, c.int(0), sums[r*c.tile.Columns+v], mask}, Buf: result.Buf, Access: access, N: n, Within: within})
		}
	}
	for range k.Ranges {
		c.close()
	}
	k.Work.Passes = []PassWork{{Extents: []sym.Expr{steps}, Vector: sym.Const(1), Ops: depth*(c.tile.Rows+1)*(c.tile.Columns+1) + 8*(each*c.tile.Columns+c.tile.Rows)}}
	for _, x := range c.red {
		k.Work.Passes[0].Extents = append(k.Work.Passes[0].Extents, x.Extent)
	}
	return k
}

// loadTile is a load of a tile in scratch, so many elements behind an address.
func (c *contraction) loadTile(a Access, addr *Value, n int) *Value {
	return c.emit(&Value{Op: OpLoad, Kind: F32, Args: []*Value{addr, c.int(int64(n))}, Buf: addr.Buf, Access: a})
}

// pos is a position along an axis of the tile, that of lane 0 where lanes go along.
type pos struct {
	axis *ir.Axis
	at   *Value
	lane bool
}

// stage brings rows of a factor to a tile in scratch, from its row first on, each as some vectors.
func (c *contraction) stage(tile *Value, f factor, rows, cols *ir.Axis, first *Value, width, n, vectors int, row, col func(int) *Value) {
	from := c.address(c.emit(&Value{Op: OpBase, Kind: Addr, Buf: f.buf}), f.f, rows, cols)
	to := c.index(tile, c.mulInt(first, c.int(int64(width))))
	var loaded []*Value
	for r := range n {
		for v := range vectors {
			at := []pos{{rows, row(r), false}, {cols, col(v), true}}
			mask, within := c.inside(f.f, at...)
			addr, access, size := c.lanes(from, f.f, at...)
			loaded = append(loaded, c.emit(&Value{Op: OpLoad, Kind: F32, Args: []*Value{addr, c.int(0), mask}, Buf: f.buf, Access: access, N: size, Within: within}))
		}
	}
	for i, x := range loaded {
		at := c.int(int64(i/vectors*width + i%vectors*c.Lanes))
		c.emit(&Value{Op: OpStore, Args: []*Value{to, at, x}, Buf: tile.Buf, Access: Contiguous})
	}
}

// address is what of an address does not go along the axes of the tile.
func (c *contraction) address(base *Value, f analysis.Affine, without ...*ir.Axis) *Value {
	addr := c.index(base, c.size(f.C, Int))
	for x, at := range c.positions() {
		if k := coef(f, x); !k.IsInt(0) && x != without[0] && x != without[1] {
			addr = c.index(addr, c.mulInt(at, c.size(k, Int)))
		}
	}
	return addr
}

// positions are those along the axes outside of the tile, in order.
func (c *contraction) positions() func(yield func(*ir.Axis, *Value) bool) {
	return func(yield func(*ir.Axis, *Value) bool) {
		for _, list := range [][]*ir.Axis{c.outer, c.red} {
			for _, x := range list {
				if c.at[x] != nil && !yield(x, c.at[x]) {
					return
				}
			}
		}
	}
}

// lanes is the address of positions in the tile, and how lanes lie.
func (c *contraction) lanes(addr *Value, f analysis.Affine, at ...pos) (*Value, Access, int64) {
	access, n := Contiguous, int64(0)
	for _, p := range at {
		k := coef(f, p.axis)
		addr = c.index(addr, c.mulInt(p.at, c.size(k, Int)))
		if p.lane && !k.IsInt(1) {
			access, n = Strided, c.sizeNumber(k, Int)
		}
	}
	return addr, access, n
}

// inside is the lanes whose positions there are, and what that makes sure of an address.
func (c *contraction) inside(f analysis.Affine, at ...pos) (mask *Value, within []Within) {
	for _, p := range at {
		op := OpSplat
		if p.lane {
			op = OpLane
		}
		x := c.op(op, I32, p.at)
		below := c.op(OpBelow, Mask, x, c.op(OpSplat, I32, c.size(p.axis.Extent, Int)))
		within = append(within, Within{Index: x, Below: below, Step: coef(f, p.axis)})
		if mask == nil {
			mask = below
		} else {
			mask = c.op(OpAnd, Mask, mask, below)
		}
	}
	return mask, within
}
