package cpu

import (
	"slices"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// lookup is an index of a factor that a table of integers has for each row: which matrix a
// row is multiplied by.
type lookup struct {
	dim   int // of the factor
	buf   *ir.Buffer
	index []linearForm
}

// grouped says whether a factor is B of a product for the rows that look up the same index:
// rows and columns are axes of different factors then.
func grouped(s *ir.Stage, a, b access) bool {
	if b.table == nil || b.buf == nil {
		return false
	}
	row, ok := b.table.row()
	other := func(x *ir.Axis) bool { return x != row && b.along(x) && !a.uses(x) }
	return ok && slices.Contains(s.Axes, row) && a.uses(row) && !b.along(row) && slices.ContainsFunc(s.Axes, other)
}

// row is the one axis that the table goes along.
func (t *lookup) row() (row *ir.Axis, ok bool) {
	for _, f := range t.index {
		for _, term := range f {
			if term.axis != nil && row != nil && term.axis != row {
				return nil, false
			}
			if term.axis != nil {
				row = term.axis
			}
		}
	}
	return row, row != nil
}

// table is a lookup with the sizes of a stage: the entry of row i lies at base + i*step, and
// one more of it is a step of stride through B.
type table struct {
	buf          *ir.Buffer
	base, step   int64
	size, stride int64
}

// at is the lookup with the sizes of a stage, for rows of some number.
func (t *lookup) at(s *interp.Stage, of *ir.Buffer, rows int64) (*table, bool) {
	row, _ := t.row()
	o, ok := loaded(s, access{linear: true, buf: t.buf, index: t.index})
	if !ok || o.pad != nil {
		return nil, false
	}
	out := &table{buf: t.buf, base: o.base, step: o.step[along{row, 1}], size: s.Shape(of)[t.dim], stride: times(s.Room(of)[t.dim+1:]...)}
	return out, out.size > 0 && rows > 0
}

// inside says whether all entries are positions of B; who computes point by point says which
// is not.
func (p *product) inside(x *interp.Execution) bool {
	if p.table == nil {
		return true
	}
	t := x.Tensor(p.table.buf)
	for i := range total(p.m) {
		if g := p.table.entry(t, i); g < 0 || g >= p.table.size {
			return false
		}
	}
	return true
}

func (t *table) entry(of *tensor.Tensor, row int64) int64 { return of.Int(t.base + row*t.step) }

// segment is rows that are multiplied by the same B, which begins at b; its tiles are those
// from tile on.
type segment struct{ from, to, b, tile int64 }

// segments cuts the rows of a product where B changes.
func (p *product) segments(out []segment, x *interp.Execution) []segment {
	rows := total(p.m)
	if p.table == nil {
		return append(out, segment{0, rows, 0, 0})
	}
	t := x.Tensor(p.table.buf)
	for i := int64(0); i < rows; {
		g, from := p.table.entry(t, i), i
		for i++; i < rows && p.table.entry(t, i) == g; i++ {
		}
		out = append(out, segment{from, i, g * p.table.stride, 0})
	}
	return out
}
