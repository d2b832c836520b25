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
//
// Products of f16 and of bf16 are of fragments (OpMma), where there are such. Then scratch has the elements as they are, and a tile lies
// there as its factor does in memory, rows or columns side by side. The sums go through scratch once more, to be vectors when they are
// stored.

// Blocks are tiles of contractions: of Group vectors, each of which has Rows rows of it and Columns vectors of columns.
type Blocks struct {
	Group, Rows, Columns int
	Fragments            bool // there is OpMma: products of two f16 or bf16 are by that, in FragmentRows rows a vector
}

// FragmentRows is how many rows of a tile a vector has that multiplies fragments.
const FragmentRows = 16

// rowGap is what rows of a tile have beside their elements, so that rows that are read at once lie in different banks
// of the memory that they are in.
const rowGap = fragmentRow

// contraction is a stage that is one.
type contraction struct {
	*scheduler
	*builder
	st         *stage
	tile       Blocks
	a, b       factor
	out        analysis.Affine
	row, col   side       // of the tile
	k          side       // of a step
	outer, red []*ir.Axis // the other axes
	at         map[*ir.Axis]*Value
	which      *Value // of the group's vectors
}

// factor is one of the two: a load, and its tile in scratch.
type factor struct {
	load        *ir.Scalar
	buf         *Buffer
	f           analysis.Affine
	tile        *Value
	outer, lane side // of the tile: lanes bring what lies along lane
	width       int  // elements from row to row of the tile
}

// side is a side of a tile: so many positions along an axis, from one on.
type side struct {
	axis *ir.Axis
	n    int
	at   *Value
	list *listed // positions are those of a list; nil: all there are
}

// factorOf is the load that a factor is: of an f32, or of what f32 has exactly.
func factorOf(x *ir.Scalar) *ir.Scalar {
	if x.Op == ir.OpCast && x.DType == tensor.F32 {
		x = x.Args[0]
	}
	if x.Op != ir.OpLoad || kinds[x.Buf.DType] != F32 {
		return nil
	}
	return x
}

// contract makes the kernel of a stage that is a contraction, and kernels that are to run before; nil: it is none, or not one that pays
// in tiles.
func (s *scheduler) contract(st *stage) (k *Kernel, before []*Kernel) {
	if s.Blocks == (Blocks{}) || st.refused != "" || st.Kind != ir.ReduceStage || st.Monoid != ir.Sum || st.Out().DType != tensor.F32 || len(st.red) == 0 {
		return nil, nil
	}
	x := st.Exprs[0]
	if x.Op != ir.OpMul {
		return nil, nil
	}
	c := &contraction{scheduler: s, st: st, tile: s.Blocks, at: map[*ir.Axis]*Value{}}
	c.a, c.b = factor{load: factorOf(x.Args[0])}, factor{load: factorOf(x.Args[1])}
	for _, f := range []*factor{&c.a, &c.b} {
		if f.load == nil {
			return nil, nil
		}
		var rest []int
		if f.f, rest = flat(f.load.Buf, f.load.Args); len(rest) > 0 {
			return nil, nil
		}
	}
	if !c.axes() {
		return nil, nil
	}
	d := c.a.load.Buf.DType
	if c.tile.Fragments = c.tile.Fragments && d == c.b.load.Buf.DType && (d == tensor.F16 || d == tensor.BF16); c.tile.Fragments {
		c.tile.Rows = FragmentRows
	}
	if list := c.sparse(); list != nil {
		k, before = list[len(list)-1], list[:len(list)-1]
	} else {
		k = c.kernel()
	}
	if err := k.Verify(nil); err != nil {
		panic(err) // a mistake of this package
	}
	return k, before
}

// axes finds those of the tile: the innermost one that goes along one factor alone has its columns, the innermost
// one that goes along the other its rows.
func (c *contraction) axes() bool {
	for i := len(c.st.axes) - 1; i >= 0; i-- {
		x := c.st.axes[i]
		a, b := !coef(c.a.f, x).IsInt(0), !coef(c.b.f, x).IsInt(0)
		switch {
		case a != b && c.col.axis == nil:
			if c.col.axis = x; a {
				c.a, c.b = c.b, c.a
			}
		case a != b && c.row.axis == nil && !coef(c.a.f, x).IsInt(0):
			c.row.axis = x
		default:
			c.outer = append([]*ir.Axis{x}, c.outer...)
		}
	}
	last := len(c.st.red) - 1
	c.k.axis, c.red = c.st.red[last], c.st.red[:last]
	return c.row.axis != nil && c.col.axis != nil && !coef(c.a.f, c.k.axis).IsInt(0) && !coef(c.b.f, c.k.axis).IsInt(0)
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
func (c *contraction) scratch(name string, d tensor.DType, n int) *Value {
	m := &Buffer{Of: &ir.Buffer{Name: name, DType: d}, DType: d, Len: sym.Const(int64(n)), Scratch: true, Written: true}
	c.builder.k.Buffers = append(c.builder.k.Buffers, m)
	return c.emit(&Value{Op: OpBase, Kind: Addr, Buf: m})
}

// place decides how the tile of a factor lies in scratch, whose sides are outer and lane: those of a fragment may be the other way round,
// if elements lie side by side in memory so.
func (c *contraction) place(f *factor, outer, lane side) {
	one := func(s side) bool { return coef(f.f, s.axis).IsInt(1) }
	d := tensor.F32
	if c.tile.Fragments {
		d = f.load.Buf.DType
		if one(outer) && !one(lane) {
			outer, lane = lane, outer
		}
	}
	if f.outer, f.lane, f.width = outer, lane, lane.n; c.tile.Fragments {
		f.width += rowGap
	}
	f.tile = c.scratch("tile."+f.load.Buf.Name, d, outer.n*f.width)
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
	c.row.n, c.col.n, c.k.n = c.tile.Group*c.tile.Rows, c.tile.Columns*c.Lanes, c.Lanes
	for _, s := range []side{c.row, c.col, c.k} { // positions beyond the ends are numbers of 32 bits, too
		k.Checks = append(k.Checks, Check{Const: s.axis.Extent, Dim: sym.Const(1<<31 - int64(max(c.row.n, c.col.n, c.k.n))), Why: "the extent of " + s.axis.Name})
	}
	c.place(&c.a, c.row, c.k)
	c.place(&c.b, c.k, c.col)

	for _, x := range c.outer {
		c.at[x] = c.rangeLoop(x.Extent)
	}
	for _, s := range []*side{&c.row, &c.col} {
		s.at = c.mulInt(c.rangeLoop(blocksOf(s.axis.Extent, s.n)), c.int(int64(s.n)))
	}
	c.which = c.op(OpVector, Int)

	sums := c.zeros()
	for _, x := range c.red {
		loop, in := c.loop(c.int(0), c.size(x.Extent, Int), 1, false, x.Extent, sums...)
		c.at[x], sums = loop.Var, in
	}
	steps := blocksOf(c.k.axis.Extent, c.k.n)
	loop, sums := c.loop(c.int(0), c.steps(steps), 1, false, steps, sums...)
	c.k.at = c.mulInt(loop.Var, c.int(int64(c.k.n)))
	c.barrier() // the tiles of the step before are read
	c.stage(&c.a)
	c.stage(&c.b)
	c.barrier()
	sums = c.multiply(sums)
	for range 1 + len(c.red) {
		sums = c.close(sums...)
	}
	sums = c.vectors(sums)

	c.each(result, c.out, c.row, c.col, c.tile.Rows, func(r, v int, p place) {
		c.emit(&Value{Op: OpStore, Args: []*Value{p.addr, p.ix, sums[r*c.tile.Columns+v], p.mask}, Buf: result.Buf, Access: p.access, N: p.n, Within: p.within})
	})
	for range k.Ranges {
		c.close()
	}
	brought := (c.row.n + c.col.n) * c.k.n / c.Lanes / c.tile.Group // vectors
	work := c.k.n * (c.tile.Rows + 1) * (c.tile.Columns + 1)
	if c.tile.Fragments { // a product of fragments is 16 of vectors, and as fast as one
		work /= 16
	}
	k.Work.Passes = []PassWork{{Extents: []sym.Expr{steps}, Vector: sym.Const(1), Ops: work + 8*brought}}
	for _, x := range c.red {
		k.Work.Passes[0].Extents = append(k.Work.Passes[0].Extents, x.Extent)
	}
	return k
}

// barrier has the vectors of the group wait for each other.
func (c *contraction) barrier() {
	c.opN(OpBarrier, None, 1)
	c.epoch++
}

// along is a position of a side of which each vector has so many: that of one of its own.
func (c *contraction) along(s side, each, i int) *Value {
	return c.addInt(c.addInt(s.at, c.mulInt(c.which, c.int(int64(each)))), c.int(int64(i)))
}

// own is the address in a tile of what the vector has of its rows.
func (c *contraction) own(tile *Value, rows, width int) *Value {
	return c.index(tile, c.mulInt(c.which, c.int(int64(rows*width))))
}

// zeros are the sums at the beginning.
func (c *contraction) zeros() (sums []*Value) {
	if c.tile.Fragments {
		for range c.fragments() {
			sums = append(sums, c.opN(OpConst, FragC, 0))
		}
		return sums
	}
	for range c.tile.Rows * c.tile.Columns {
		sums = append(sums, c.f32(0))
	}
	return sums
}

// fragments is how many lie side by side in the rows of a vector.
func (c *contraction) fragments() int {
	_, columns := FragC.Fragment()
	return c.col.n / columns
}

// multiply adds the products of the tiles in scratch.
func (c *contraction) multiply(sums []*Value) []*Value {
	if c.tile.Fragments {
		return c.multiplyFragments(sums)
	}
	inner, in := c.loop(c.int(0), c.int(int64(c.k.n)), 1, false, sym.Const(int64(c.k.n)), sums...)
	var bs, next []*Value
	from := c.index(c.b.tile, c.mulInt(inner.Var, c.int(int64(c.b.width))))
	for v := range c.tile.Columns {
		bs = append(bs, c.loadTile(Contiguous, from, v*c.Lanes))
	}
	own := c.index(c.own(c.a.tile, c.tile.Rows, c.a.width), inner.Var)
	for r := range c.tile.Rows {
		a := c.loadTile(One, own, r*c.a.width)
		for v := range c.tile.Columns {
			next = append(next, c.op(OpFma, F32, a, bs[v], in[r*c.tile.Columns+v]))
		}
	}
	return c.close(next...)
}

// multiplyFragments does it with fragments, as many along the sum as a step has.
func (c *contraction) multiplyFragments(sums []*Value) []*Value {
	depth, columns := FragB.Fragment()
	load := func(kind Kind, f factor, addr *Value, row, col int) *Value {
		access, n := Rows, row*f.width+col
		if f.lane.axis != c.col.axis && kind == FragB || f.lane.axis != c.k.axis && kind == FragA {
			access, n = Columns, col*f.width+row
		}
		return c.emit(&Value{Op: OpLoad, Kind: kind, Args: []*Value{addr, c.int(int64(n))}, Buf: addr.Buf, Access: access, N: int64(f.width)})
	}
	own := c.own(c.a.tile, c.tile.Rows, c.a.width)
	if c.a.lane.axis != c.k.axis {
		own = c.own(c.a.tile, c.tile.Rows, 1)
	}
	for at := 0; at < c.k.n; at += depth {
		a := load(FragA, c.a, own, 0, at)
		next := make([]*Value, len(sums))
		for i := range next {
			next[i] = c.op(OpMma, FragC, a, load(FragB, c.b, c.b.tile, at, i*columns), sums[i])
		}
		sums = next
	}
	return sums
}

// vectors are the sums as vectors: the columns of each row.
func (c *contraction) vectors(sums []*Value) (out []*Value) {
	if !c.tile.Fragments {
		return sums
	}
	width := c.col.n + rowGap
	tile := c.scratch("sums", tensor.F32, c.row.n*width)
	own := c.own(tile, c.tile.Rows, width)
	_, columns := FragC.Fragment()
	c.barrier() // those of the tile before are read
	for i, x := range sums {
		c.emit(&Value{Op: OpStore, Args: []*Value{own, c.int(int64(i * columns)), x}, Buf: tile.Buf, Access: Rows, N: int64(width)})
	}
	c.barrier()
	for r := range c.tile.Rows {
		for v := range c.tile.Columns {
			out = append(out, c.loadTile(Contiguous, own, r*width+v*c.Lanes))
		}
	}
	return out
}

// loadTile is a load of a tile in scratch, so many elements behind an address.
func (c *contraction) loadTile(a Access, addr *Value, n int) *Value {
	return c.emit(&Value{Op: OpLoad, Kind: F32, Args: []*Value{addr, c.int(int64(n))}, Buf: addr.Buf, Access: a})
}

// stage brings a factor's tile to scratch, each vector some rows of it.
func (c *contraction) stage(f *factor) {
	for _, s := range []*side{&f.outer, &f.lane} {
		for _, of := range []side{c.row, c.col, c.k} {
			if of.axis == s.axis {
				s.at, s.list = of.at, of.list
			}
		}
	}
	each := f.outer.n / c.tile.Group
	to := c.own(f.tile, each, f.width)
	type one struct {
		x  *Value
		at int
	}
	var loaded []one
	c.each(c.emit(&Value{Op: OpBase, Kind: Addr, Buf: f.buf}), f.f, f.outer, f.lane, each, func(r, v int, p place) {
		x := c.emit(&Value{Op: OpLoad, Kind: F32, Args: []*Value{p.addr, p.ix, p.mask}, Buf: f.buf, Access: p.access, N: p.n, Within: p.within})
		loaded = append(loaded, one{x, r*f.width + v*c.Lanes})
	})
	for _, l := range loaded {
		c.emit(&Value{Op: OpStore, Args: []*Value{to, c.int(int64(l.at)), l.x}, Buf: f.tile.Buf, Access: Contiguous})
	}
}

// each goes over what a vector has of a tile in memory: so many rows, each as some vectors. The address goes from row to row, so that
// none waits for its turn in a register.
func (c *contraction) each(base *Value, f analysis.Affine, outer, lane side, rows int, do func(r, v int, p place)) {
	down, across := coef(f, outer.axis), coef(f, lane.axis)
	addr := c.address(base, f, outer, lane)
	if outer.list == nil {
		addr = c.index(addr, c.mulInt(c.along(outer, rows, 0), c.size(down, Int)))
	}
	if lane.list == nil {
		addr = c.index(addr, c.mulInt(lane.at, c.size(across, Int)))
	}
	p := place{access: Contiguous}
	if !across.IsInt(1) {
		p.access, p.n = Strided, c.sizeNumber(across, Int)
	}
	c.here = outer.list != nil || lane.list != nil // there is more of them
	defer func() { c.here = false }()
	for r := range rows {
		for v := range lane.n / c.Lanes {
			n := c.int(int64(v * c.Lanes))
			at := c.along(outer, rows, r)
			row := c.inside(c.op(OpSplat, I32, at), outer.axis, down)
			p.addr, p.within = addr, []Within{row}
			if outer.list != nil {
				p.addr, p.within = c.index(addr, c.mulInt(c.listedAt(outer, at), c.size(down, Int))), nil
				if outer.axis == c.k.axis { // rows of the result are all there, those that do not count behind the others
					row.Below = c.op(OpBelow, Mask, row.Index, c.op(OpSplat, I32, c.counted(outer)))
				}
			}
			if lane.list != nil {
				ix, mask, within := c.listedLanes(lane, c.addInt(lane.at, n), across)
				p.access, p.ix, p.n, p.mask, p.within = Listed, ix, 0, c.op(OpAnd, Mask, row.Below, mask), append(p.within, within)
				do(r, v, p)
				continue
			}
			if p.ix = n; p.access == Strided {
				p.addr, p.ix = c.index(p.addr, c.mulInt(c.size(across, Int), n)), c.int(0)
			}
			col := c.inside(c.op(OpLane, I32, c.addInt(lane.at, n)), lane.axis, across)
			p.mask, p.within = c.op(OpAnd, Mask, row.Below, col.Below), append(p.within, col)
			do(r, v, p)
		}
		if outer.list == nil {
			addr = c.index(addr, c.size(down, Int))
		}
	}
}

// inside is the lanes whose positions along an axis there are.
func (c *contraction) inside(at *Value, a *ir.Axis, step sym.Expr) Within {
	return Within{Index: at, Below: c.op(OpBelow, Mask, at, c.op(OpSplat, I32, c.size(a.Extent, Int))), Step: step}
}

// address is what of an address does not go along two sides of a tile.
func (c *contraction) address(base *Value, f analysis.Affine, without ...side) *Value {
	addr := c.index(base, c.size(f.C, Int))
	for x, at := range c.positions() {
		if k := coef(f, x); !k.IsInt(0) && x != without[0].axis && x != without[1].axis {
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
