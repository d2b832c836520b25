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
}

const mr, nr = 4, 4 // of portable Go

var portable = blocks{mr: mr, nr: nr, depth: 256, panels: 16, wide: 512, few: 64, thin: 16}

// blocksFor are those for machine code.
func blocksFor(m *machine) *blocks {
	b := &blocks{mr: panelRows(m.features), nr: panelCols(m.features), depth: 384, wide: 512, few: 128, code: m}
	b.panels = 16
	if m.features&x86.V4 == 0 {
		b.panels = 36
	}
	return b
}

// blocks are those for products of an element type.
func (d *Device) blocks(t tensor.DType) *blocks {
	if t == tensor.F32 && d.machine.blocks != nil {
		return d.machine.blocks
	}
	return &portable
}

// width is how many rows of A a panel of n has room for: machine code is made for each number, and
// portable Go multiplies by zeros.
func (b *blocks) width(n int) int {
	if b.code != nil {
		return n
	}
	return b.mr
}

// depthOf is the depth of panels for k elements to sum up: all about the same.
func (b *blocks) depthOf(k int64) int64 {
	return roundUp(ceilDiv(k, max(ceilDiv(k, b.depth), 1)), 4)
}

// rowPanels are rows that are cut evenly: the first of them may have one row more. The cut
// depends on rows alone, and with it the order in which an element is summed up.
type rowPanels struct{ rows, n int64 }

func (b *blocks) panelsOf(rows int64) rowPanels { return rowPanels{rows, ceilDiv(rows, int64(b.mr))} }

// start is the first row of a panel.
func (p rowPanels) start(i int64) int64 { return i*(p.rows/p.n) + min(i, p.rows%p.n) }

// size is the rows of a panel.
func (p rowPanels) size(i int64) int64 { return p.start(i+1) - p.start(i) }

// block is panels of rows, and columns, that are packed to some depth.
type block struct {
	rowPanels
	from, to    int64
	cols, depth int
	first       bool // of the blocks along k: C holds nothing yet
}

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
	if kept && t.workers > 1 { // small enough that threads share the work
		if t.panels = max(4, min(cut.panels, ceilDiv(panels, 4*t.workers))); panels < 8*t.workers {
			t.panels = max(panels, 1)
			t.cols = max(min(t.cols, roundUp(ceilDiv(cols, 2*t.workers), int64(cut.nr))), int64(cut.nr))
		}
		t.tiles = batches * ceilDiv(cols, t.cols) * ceilDiv(panels, t.panels)
	}
	if p.table != nil { // there are more by groups
		return t
	}
	if kept {
		t.workers = min(t.workers, t.tiles)
		return t
	}
	if t.tiles < 8 { // few columns: cut rows too, each tile packing B for itself
		t.panels = cut.panels
		if p.b.buf == nil { // which costs more where B is computed
			t.panels = roundUp(ceilDiv(panels, t.workers), cut.panels)
		}
		t.tiles *= ceilDiv(panels, t.panels)
	}
	t.workers = min(t.workers, t.tiles)
	return t
}

// packs are the numbers of elements of A and of B that a worker packs at a time, where all of B
// is packed, or not.
func (p *product) packs(cut *blocks, whole bool) (a, b int64) {
	rows, cols := total(p.m), min(p.tileCols(cut, whole), total(p.n))
	depth := cut.depthOf(total(p.k))
	row := depth + cols // of a thin product, and its sums
	if p.thin(cut, rows) {
		return row, 0
	}
	a, b = min(cut.panels, cut.panelsOf(rows).n)*int64(cut.mr)*depth, roundUp(cols, int64(cut.nr))*depth
	if whole {
		return a, 0
	}
	if p.table != nil {
		a = max(a, row)
	}
	return a, b
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

func roundUp(n, to int64) int64 { return ceilDiv(n, to) * to }
