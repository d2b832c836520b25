package cpu

import (
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// blocks says how products are cut, after Goto and van de Geijn, "Anatomy of High-Performance
// Matrix Multiplication" (ACM TOMS 2008). A panel is mr rows of A, or nr columns of B, packed
// element by element of k: so a block of C that fits the registers reads both one after the other.
// A panel of B stays in the first-level cache while panels of A go by, which stay in the second.
type blocks struct {
	mr, nr    int
	depth     int64    // of panels, at most
	panels    int64    // of A that are packed at a time
	wide, few int64    // columns of a tile, at most; with few rows
	thin      int64    // rows up to which B is not packed, and Go reads it where it lies
	code      *machine // that multiplies panels; nil: portable Go does
	pairs     bool     // of integers: what is packed is pairs of i16, of which a panel's depth counts one
}

const mr, nr = 4, 4 // of portable Go

var portable = blocks{mr: mr, nr: nr, depth: 256, panels: 16, wide: 512, few: 64, thin: 16}

// portableTiles are those of attentions in portable Go: panels of keys are as wide as few tiles of a mask are to be looked at.
var portableTiles = blocks{mr: mr, nr: 16, depth: 768, panels: 12, wide: 256, few: 128}

// tileBlocks are those of attentions.
func (d *Device) tileBlocks() *blocks {
	if d.machine.blocks != nil {
		return d.machine.blocks
	}
	return &portableTiles
}

// blocksFor are those for machine code.
func blocksFor(m *machine) *blocks {
	b := &blocks{mr: panelRows(m.features), nr: panelCols(m.features), depth: 768, wide: 256, few: 128, code: m}
	b.panels = 12
	if m.features&x86.V4 == 0 {
		b.panels = 28
	}
	return b
}

// blocks are those for products of an element type, of factors that fit i16 or not.
func (d *Device) blocks(t tensor.DType, short bool) *blocks {
	switch {
	case t == tensor.F32 && d.machine.blocks != nil:
		return d.machine.blocks
	case t == tensor.I32 && short && d.machine.pairs != nil:
		return d.machine.pairs
	}
	return &portable
}

// along is how deep panels are for so many terms of a sum.
func (b *blocks) along(k int64) int64 {
	if b.pairs {
		return ceilDiv(k, 2)
	}
	return k
}

// width is how many rows of A a panel of n has room for: machine code is made for each number, and
// portable Go multiplies by zeros.
func (b *blocks) width(n int) int {
	if b.code != nil {
		return n
	}
	return b.mr
}

// depthOf is the depth of panels for k elements of so many rows to sum up: all about the same. With
// few rows no panel of B comes back often, and less depth would only be more blocks.
func (b *blocks) depthOf(rows, k int64) int64 {
	most := b.depth
	switch {
	case b.code == nil || rows > 2*int64(b.mr):
	case rows > int64(b.mr):
		most *= 2
	default:
		most = b.deepest()
	}
	return roundUp(ceilDiv(k, max(ceilDiv(k, most), 1)), 4)
}

// deepest is the largest of all depths.
func (b *blocks) deepest() int64 { return 4 * b.depth }

// rowPanels are rows that are cut evenly: the first of them may have one row more. The cut
// depends on rows alone, and with it the order in which an element is summed up.
type rowPanels struct{ rows, n int64 }

func (b *blocks) panelsOf(rows int64) rowPanels { return rowPanels{rows, ceilDiv(rows, int64(b.mr))} }

// alike is how many panels from panel i on have as many rows.
func (p rowPanels) alike(i int64) int64 {
	if more := p.rows % p.n; i < more {
		return more - i
	}
	return p.n - i
}

// start is the first row of a panel.
func (p rowPanels) start(i int64) int64 { return i*(p.rows/p.n) + min(i, p.rows%p.n) }

// size is the rows of a panel.
func (p rowPanels) size(i int64) int64 { return p.start(i+1) - p.start(i) }

// next is the panel behind those of a block that begins at panel from of p0 .. p1: blocks
// are about the same, too.
func (b *blocks) next(p0, p1, from int64) int64 {
	n := ceilDiv(p1-p0, b.panels)
	i := ((from-p0)*n + p1 - p0 - 1) / (p1 - p0) // the block's number
	return p0 + (i+1)*(p1-p0)/n
}

// block is panels of rows, and columns, of one batch, to some depth.
type block struct {
	rowPanels
	batch      int64
	row0, col0 int64 // of its segment's rows, the first; of its columns
	from, to   int64
	cols       int
	k0         int64
	depth      int
}

// at moves the block along k.
func (b *block) at(k0, step, depth int64) { b.k0, b.depth = k0, int(max(min(step, depth-k0), 0)) }

// tiling is how a product is cut into tiles, which workers share.
type tiling struct {
	panels, cols   int64 // of a tile
	tiles, workers int64
}

// tileCols is the columns of a tile at most. With few rows what is packed of B is soon used
// up, so that there need not be much of it.
func (p *product) tileCols(cut *blocks, kept bool) int64 {
	if kept && p.align {
		return roundUp(total(p.n), int64(cut.nr))
	}
	if total(p.m) < 64 {
		return cut.few
	}
	return cut.wide
}

func (p *product) tiling(d *Device, cut *blocks, kept bool) tiling {
	rows, cols, batches := total(p.m), total(p.n), total(p.batch)
	panels := cut.panelsOf(rows).n
	// Rows per tile: enough that packing B pays, few enough that threads share the work. Each
	// element is summed up in the same order in any tile.
	t := tiling{panels: max(panels, 1), cols: p.tileCols(cut, kept), workers: int64(d.threads)}
	t.tiles = batches * ceilDiv(cols, t.cols)
	if times(batches, rows, cols, total(p.k)) < 4*d.alone { // points of a product are cheap
		t.workers = 1
	}
	if kept && t.workers > 1 {
		p.share(cut, &t)
	}
	if p.table != nil { // there are more by groups
		return t
	}
	if kept {
		t.workers = min(t.workers, t.tiles)
		return t
	}
	if t.tiles < 8 && t.workers > 1 { // few columns: cut rows too, each tile packing B for itself
		t.panels = cut.panels
		if p.b.buf == nil { // which costs more where B is computed
			t.panels = roundUp(ceilDiv(panels, t.workers), cut.panels)
		}
		t.tiles *= ceilDiv(panels, t.panels)
	}
	t.workers = min(t.workers, t.tiles)
	return t
}

// share cuts a product by packed columns for workers. All end at about the same time: a tile is a small part of the
// work, and worth what it costs to begin one. Those of the same rows, one behind the other, are multiplied by
// rows that stay packed.
func (p *product) share(cut *blocks, t *tiling) {
	rows, cols, depth := total(p.m), total(p.n), cut.along(total(p.k))
	panels := cut.panelsOf(rows).n
	down := ceilDiv(panels, max(min(cut.panels, mostHeld/max(depth*int64(cut.mr), 1)), 1))
	if panels >= 4*t.workers {
		down = roundUp(down, t.workers)
	}
	down = max(min(down, panels), 1)
	t.panels = max(ceilDiv(panels, down), 1)
	work := max(times(total(p.batch), max(rows, readRows), cols, depth)/(tilesEach*t.workers), leastTile)
	wide := max(roundUp(work/max(times(max(ceilDiv(rows, down), readRows), depth), 1), int64(cut.nr)), int64(cut.nr))
	across := ceilDiv(cols, min(wide, t.cols))
	t.cols = max(roundUp(ceilDiv(cols, across), int64(cut.nr)), int64(cut.nr))
	t.tiles = total(p.batch) * ceilDiv(cols, t.cols) * ceilDiv(panels, t.panels)
}

// A worker has about so many tiles, of so many products at least: some µs. Reading B takes as long as multiplying it by
// so many rows.
const tilesEach, leastTile, readRows = 24, 1 << 18, 3

// holds says whether a worker keeps what it has packed of A to its whole depth, for tiles with the
// same rows and other columns.
func (p *product) holds(cut *blocks, t tiling) bool {
	rows := min(t.panels, cut.panelsOf(total(p.m)).n) * int64(cut.mr)
	return cut.code != nil && t.cols < total(p.n) && t.panels <= cut.panels && times(rows, cut.along(total(p.k))) <= mostHeld
}

// mostHeld are elements of A that stay in the second-level cache.
const mostHeld = 1 << 18

// lies says whether rows of A are read where they lie when all of B is packed: packing them would be some percent of the
// product, and every thread packs the same ones. Only rows of a panel that push each other out of the first-level cache are packed.
func (p *product) lies(cut *blocks) bool {
	if cut.code == nil || cut.pairs || !p.rowLies || p.table != nil || p.from != nil {
		return false
	}
	rows := total(p.m)
	return rows == 1 || len(p.m) == 1 && inOneSet(min(rows, int64(cut.mr)), p.m[0].a) <= waysLie
}

// inOneSet is how many of some rows lie in the same set of the first-level cache, where rows begin so many elements apart.
func inOneSet(rows, apart int64) int64 { return ceilDiv(rows*min(apart&-apart, waySize), waySize) }

// The sets of a first-level cache go around after so many elements, and a set has eight lines or twelve, of which so many are rows'.
const waySize, waysLie = 1024, 4

// packs are the numbers of elements of A and of B that a worker packs at a time, where all of B
// is packed, or not.
func (p *product) packs(cut *blocks, t tiling, whole bool) (a, b int64) {
	rows, cols := total(p.m), min(p.tileCols(cut, whole), total(p.n))
	depth := cut.depthOf(rows, cut.along(total(p.k)))
	row := depth + cols // of a thin product, and its sums
	if p.thin(cut, rows) {
		return row, 0
	}
	if whole && p.lies(cut) {
		return 0, 0
	}
	b = roundUp(cols, int64(cut.nr)) * depth
	a = min(cut.panels, cut.panelsOf(rows).n) * int64(cut.mr)
	if p.holds(cut, t) {
		a = min(t.panels, cut.panelsOf(rows).n) * int64(cut.mr) * cut.along(total(p.k))
	} else {
		a *= depth
	}
	if p.table != nil { // a segment of fewer rows may be deeper, or thin
		for _, n := range []int64{int64(cut.mr), 2 * int64(cut.mr)} {
			a = max(a, min(rows, n)*cut.depthOf(n, cut.along(total(p.k))))
		}
		a = max(a, row)
	}
	if whole {
		return a, 0
	}
	return a, b
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func roundUp(n, to int64) int64 { return ceilDiv(n, to) * to }
