package cpu

import (
	"slices"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// lookup is an index of a factor that each row computes, of a table most often: which matrix a
// row is multiplied by, or where it lies.
type lookup struct {
	dim  int // of the factor
	expr *ir.Scalar
	row  *ir.Axis // the one axis in it
}

// lookupOf recognises an index that goes along one axis, in whatever way.
func lookupOf(x *ir.Scalar) (*lookup, bool) {
	l, one := &lookup{expr: x}, true
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpAxis {
			one = one && (l.row == nil || l.row == y.Axis)
			l.row = y.Axis
		}
		return one
	})
	return l, one && l.row != nil && x.DType == tensor.I64
}

// grouped says whether a factor is B of a product for the rows that look up the same index:
// rows and columns are axes of different factors then.
func grouped(s *ir.Stage, a, b access) bool {
	if b.table == nil || b.buf == nil {
		return false
	}
	row := b.table.row
	other := func(x *ir.Axis) bool { return x != row && b.along(x) && !a.uses(x) }
	return slices.Contains(s.Axes, row) && a.uses(row) && !b.along(row) && slices.ContainsFunc(s.Axes, other)
}

// gathered says whether rows of a are looked up, of those that look up b.
func gathered(a, b access) bool {
	return a.table != nil && a.buf != nil && len(a.guards) == 0 && a.table.row == b.table.row && !a.along(a.table.row)
}

// table is a lookup with the sizes of a stage: one more is a step of stride through the factor.
type table struct {
	window       *interp.Window[int64]
	size, stride int64
}

// at is the lookup with the sizes of a stage; nil where there is nothing to look up.
func (t *lookup) at(s *interp.Stage, of *ir.Buffer) *table {
	size := s.Shape(of)[t.dim]
	if n, ok := extent(s, t.row); !ok || n == 0 || size == 0 {
		return nil
	}
	axes := []*ir.Axis{t.row}
	return &table{interp.NewWindow[int64](s, t.expr, axes, axes), size, times(s.Room(of)[t.dim+1:]...)}
}

// lookups are what the rows of a product look up.
type lookups struct{ of, from entries }

// look computes them, and says whether all are positions; who computes point by point says which is not.
func (p *product) look(x *interp.Execution, to *lookups) bool {
	rows := total(p.m)
	return p.table.fill(x, rows, &to.of) && p.from.fill(x, rows, &to.from)
}

// entries are those of a table.
type entries struct {
	list []int64
	box  [1]interp.Span
	emit func(at []int64, lane int, values []int64) // e.put
}

func (e *entries) put(at []int64, _ int, values []int64) { copy(e.list[at[0]:], values) }

func (t *table) fill(x *interp.Execution, rows int64, to *entries) bool {
	if t == nil {
		return true
	}
	if to.emit == nil {
		to.emit = to.put
	}
	to.list = slices.Grow(to.list[:0], int(rows))[:rows]
	to.box[0] = interp.Span{Lo: 0, Hi: rows}
	v, err := t.window.Open(x)
	if err != nil {
		return false
	}
	defer v.Close()
	if v.Each(to.box[:], to.emit) != nil {
		return false
	}
	for _, e := range to.list {
		if e < 0 || e >= t.size {
			return false
		}
	}
	return true
}

// segment is rows that are multiplied by the same B, which begins at b; its tiles are those
// from tile on, and have cols columns. The rows behind are multiplied by next.
type segment struct{ from, to, b, tile, cols, next int64 }

// segmentCols is the columns of a tile of so many rows, where all rows together have those of t. A few rows take more of them, if they
// are packed: a tile is worth what it costs to begin one, and what it reads comes one behind the other for longer.
func (p *product) segmentCols(cut *blocks, t tiling, rows int64, kept bool) int64 {
	if !kept {
		return t.cols
	}
	enough := roundUp(leastTile/max(rows*cut.along(total(p.k)), 1), int64(cut.nr))
	return max(t.cols, min(enough, p.tileCols(cut, kept)))
}

// segments cuts the rows of a product where B changes.
func (p *product) segments(out []segment, looked *lookups) []segment {
	rows := total(p.m)
	if p.table == nil {
		return append(out, segment{to: rows})
	}
	list := looked.of.list
	for i := int64(0); i < rows; {
		g, from := list[i], i
		for i++; i < rows && list[i] == g; i++ {
		}
		b := g * p.table.stride
		if n := len(out); n > 0 {
			out[n-1].next = b
		}
		out = append(out, segment{from: from, to: i, b: b, next: b})
	}
	return out
}
