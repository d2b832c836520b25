package cpu

import (
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// A few rows that have something here and there are multiplied one by one: terms of a row are listed, and rows of b
// that these name are read where they lie. A tile has many columns then, so what comes from beyond the caches comes
// in long pieces, and no row reads what only another one has terms for. A glance is enough to choose that: what it takes
// is counted exactly as rows are listed.

// mostWidely is how many rows are multiplied one by one.
const mostWidely = 64

// widely says whether rows of b can be read where they lie. Whether b is finite weights tells of constants.
func (s *sparse) widely() bool {
	p := s.p
	if s.rows > mostWidely || p.b.buf == nil || p.b.pad != nil || !s.finite && (s.weighed || p.kept == nil) || s.depth > 2*mostTerms ||
		p.gatherRows() < s.rows || s.cols%(s.cut.nr/2) != 0 || !s.beside || !beside(p.n, func(l loop) int64 { return l.b }) {
		return false
	}
	reach := int64(0)
	for _, l := range p.k {
		if l.list != nil {
			return false
		}
		reach += (l.extent - 1) * max(l.b, -l.b)
	}
	return 4*reach <= math.MaxInt32
}

// wideColumns are those of a tile of one row.
func (s *sparse) wideColumns() int {
	for n := 8 * s.cut.nr; ; n /= 2 {
		if n <= s.cols && (x86.Tile{Rows: 1, Cols: n, List: true}).Fits(s.cut.code.features) || n <= s.cut.nr {
			return n
		}
	}
}

// count says what it takes to multiply the rows of a batch one by one; all of the product is computed where that is as fast.
func (s *sparse) count() {
	ones := 0
	for _, x := range s.bits.bits {
		ones += bits.OnesCount64(x)
	}
	n := float64(ones)
	s.share = n / max(float64(s.rows)*float64(s.depth), 1)
	s.way.ns = s.table.wideCost(s, n, min(1, n/max(float64(s.depth), 1)))
	if s.batch == 0 && s.way.ns > s.dense*chosenBelow {
		s.way = way{dense: true, ns: s.dense}
	}
}

// singly computes a batch row by row.
func (s *sparse) singly(rec *rt.Recorder, name string) (err error) {
	if s.kB = s.kB[:0]; s.strideB == 0 {
		s.kB = placesOf(s.kB, s.p.k, stepB)
	}
	s.counts = slices.Grow(s.counts[:0], s.rows)[:s.rows]
	s.each = int(s.p.gatherRow())
	if err := s.inStrips(rec, name, rowLists, s.rows); err != nil {
		return err
	}
	s.stripCols = s.wideColumns()
	s.columnCount = (s.cols + s.stripCols - 1) / s.stripCols
	for i, cols := range []int{s.stripCols, s.cols % s.stripCols} {
		if cols == 0 {
			continue
		}
		if s.single[i], err = s.workers[0].wide(tile{Rows: 1, Cols: cols, List: true}); err != nil {
			return err
		}
	}
	return s.inStrips(rec, name, rowSums, s.rows*s.columnCount)
}

// room of a row: its terms, and where the rows of b that they are multiplied by begin.
func (s *sparse) listed(r int) (values []float32, list []int32) {
	row := s.gathered[r*s.each : (r+1)*s.each]
	return row[:s.depth], unsafe.Slice((*int32)(unsafe.Pointer(&row[s.depth])), s.each-s.depth)
}

// listRow lists the terms of a row.
func (s *sparse) listRow(w *sparseWorker, r int) error {
	if err := w.ctx.Err(); err != nil {
		return diag.Stopped(err)
	}
	values, list := s.listed(r)
	n, row := 0, s.baseA()+s.rowA[r]
	for i, x := range s.bits.of(r) {
		for ; x != 0; x &= x - 1 {
			k := 64*i + bits.TrailingZeros64(x)
			if list[n] = int32(k); s.alongK {
				values[n] = s.dataA[row+k]
			} else {
				values[n] = s.dataA[row+s.kA[k]] // which may lie before it
			}
			n++
		}
	}
	if s.counts[r] = int32(n); n == 0 {
		return nil
	}
	for i, k := range list[:n] {
		if s.strideB != 0 {
			list[i] = int32(4 * s.strideB * int(k))
		} else {
			list[i] = int32(4 * s.kB[k])
		}
	}
	for i := range list[n : n+listAhead] {
		list[n+i] = list[n-1]
	}
	return nil
}

// addRow computes a strip of columns of a row.
func (s *sparse) addRow(w *sparseWorker, strip int) error {
	if err := w.ctx.Err(); err != nil {
		return diag.Stopped(err)
	}
	r, n0 := strip/s.columnCount, strip%s.columnCount*s.stripCols
	cols, out := min(s.stripCols, s.cols-n0), w.c[w.batchC+s.rowC[r]:]
	if s.counts[r] == 0 {
		clear(out[n0:][:cols])
		return nil
	}
	f := s.single[0]
	if cols < s.stripCols {
		f = s.single[1]
	}
	values, list := s.listed(r)
	w.rows[0] = unsafe.Pointer(&out[0])
	g := &w.args
	g.Count, g.COffset, g.Accumulate = int64(cols), 4*int64(n0), 0
	g.K, g.A, g.C = int64(s.counts[r]), unsafe.Pointer(&values[0]), unsafe.Pointer(&w.rows[0])
	g.B, g.List = unsafe.Pointer(&w.b.data[w.batchB+n0]), unsafe.Pointer(&list[0])
	f.Call(unsafe.Pointer(g))
	return nil
}
