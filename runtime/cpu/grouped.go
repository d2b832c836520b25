package cpu

import (
	"slices"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// lookup is an index of a factor that a table of integers has for each row: which matrix a
// row is multiplied by, or where it lies.
type lookup struct {
	dim   int // of the factor
	buf   *ir.Buffer
	index []linearForm
	wraps *sym.Expr // what is added to entries that count from the end, which is to be the dim; nil: none does
}

// lookupOf recognises an index that is looked up.
func lookupOf(x *ir.Scalar) (*lookup, bool) {
	load := func(x *ir.Scalar) *ir.Scalar {
		for x.Op == ir.OpCast && x.Args[0].DType.IsInt() {
			x = x.Args[0]
		}
		if x.Op != ir.OpLoad {
			return nil
		}
		return x
	}
	out := &lookup{}
	at := load(x)
	if x.Op == ir.OpSelect && x.Args[0].Op == ir.OpLt && x.Args[1].Op == ir.OpAdd { // i < 0 ? i + dim : i
		zero, ok := x.Args[0].Args[1].Symbolic()
		dim, ok2 := x.Args[1].Args[1].Symbolic()
		if at = load(x.Args[2]); at == nil || !ok || !ok2 || !zero.IsInt(0) || !sameLoad(at, load(x.Args[0].Args[0])) || !sameLoad(at, load(x.Args[1].Args[0])) {
			return nil, false
		}
		out.wraps = &dim
	}
	if at == nil {
		return nil, false
	}
	out.buf = at.Buf
	for _, ix := range at.Args {
		f, ok := linear(ix)
		if !ok {
			return nil, false
		}
		out.index = append(out.index, f)
	}
	return out, true
}

// sameLoad says whether loads are known to read the same element.
func sameLoad(a, b *ir.Scalar) bool {
	if a == b || b == nil {
		return a == b
	}
	same := func(x, y *ir.Scalar) bool {
		f, ok := linear(x)
		g, ok2 := linear(y)
		return ok && ok2 && slices.EqualFunc(f, g, func(s, t term) bool {
			return s.axis == t.axis && s.runs.Equal(t.runs) && s.coef.Equal(t.coef) && len(s.under) == 0 && len(t.under) == 0
		})
	}
	return a.Buf == b.Buf && slices.EqualFunc(a.Args, b.Args, same)
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

// gathered says whether rows of a are looked up, of those that look up b.
func gathered(a, b access) bool {
	if a.table == nil || a.buf == nil || len(a.guards) > 0 {
		return false
	}
	row, ok := a.table.row()
	of, _ := b.table.row()
	return ok && row == of && !a.along(row)
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
	wraps        bool // entries may count from the end
}

// at is the lookup with the sizes of a stage; nil where there is none.
func (t *lookup) at(s *interp.Stage, of *ir.Buffer) *table {
	row, _ := t.row()
	o, ok := loaded(s, access{linear: true, buf: t.buf, index: t.index})
	if !ok || o.pad != nil {
		return nil
	}
	out := &table{buf: t.buf, base: o.base, step: o.step[along{row, 1}], size: s.Shape(of)[t.dim], stride: times(s.Room(of)[t.dim+1:]...), wraps: t.wraps != nil}
	if out.wraps {
		if n, err := t.wraps.Eval(s.Symbol); err != nil || n != out.size {
			return nil
		}
	}
	if out.size == 0 {
		return nil
	}
	return out
}

// inside says whether all entries of tables are positions; who computes point by point says which
// is not.
func (p *product) inside(x *interp.Execution) bool {
	for _, t := range []*table{p.table, p.from} {
		if t == nil {
			continue
		}
		of := x.Tensor(t.buf)
		for i := range total(p.m) {
			if g := t.entry(of, i); g < 0 || g >= t.size {
				return false
			}
		}
	}
	return true
}

func (t *table) entry(of *tensor.Tensor, row int64) int64 {
	i := of.Int(t.base + row*t.step)
	if t.wraps && i < 0 {
		i += t.size
	}
	return i
}

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
