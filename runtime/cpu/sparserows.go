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
// that these name are read where they lie, or in all panels of a strip of columns at once. A tile has many columns then, so much of
// what comes from beyond the caches is on its way at a time, and no row reads what only another one has terms for. A glance is enough to choose
// that: what it takes is counted exactly as rows are listed.

// mostWidely is how many rows are multiplied one by one.
const mostWidely = 64

// widely says whether rows can be multiplied one by one. Whether b is finite weights tells of constants, and packing of what is computed.
func (s *sparse) widely() bool {
	p := s.p
	finite := s.finite || !s.weighed && p.kept != nil || s.constant && s.whole == nil && p.b.buf == nil
	return finite && s.rows <= mostWidely && s.depth <= 2*mostTerms && p.gatherRows() >= s.rows && s.beside &&
		(p.rowsLie(s.cut) || p.kept != nil && (s.constant || !s.weighed))
}

// rowsLie says whether rows of b can be read where they lie. Otherwise panels of it are, if it is made of constants.
func (p *product) rowsLie(cut *blocks) bool {
	if p.b.buf == nil || p.b.pad != nil || total(p.n)%int64(cut.nr/2) != 0 || !beside(p.n, func(l loop) int64 { return l.b }) {
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
func wideColumns(cut *blocks, cols int64) int {
	for n := 8 * cut.nr; ; n /= 2 {
		if int64(n) <= cols && (x86.Tile{Rows: 1, Cols: n, List: true, Weights: x86.WeightsF16}).Fits(cut.code.features) || n <= cut.nr {
			return n
		}
	}
}

// unite finds how many rows name most of what they all do.
func (s *sparse) unite() {
	s.first = 0
	if !s.far {
		return
	}
	s.union, s.sofar = slices.Grow(s.union[:0], s.bits.row)[:s.bits.row], slices.Grow(s.sofar[:0], s.rows)[:s.rows]
	clear(s.union)
	named := 0
	for r := range s.rows {
		for i, x := range s.bits.of(r) {
			named += bits.OnesCount64(x &^ s.union[i])
			s.union[i] |= x
		}
		s.sofar[r] = named
	}
	s.first, _ = slices.BinarySearch(s.sofar, int(mostNamed*float64(named)))
	s.first++
}

// mostNamed is which part of what rows name is fetched from memory by tiles for that: most of what later rows read is near by then.
const mostNamed = 0.9

// count says what it takes to multiply the rows of a batch one by one; all of the product is computed where that is as fast.
func (s *sparse) count() {
	ones := 0
	for _, x := range s.bits.bits {
		ones += bits.OnesCount64(x)
	}
	n := float64(ones)
	s.share = n / max(float64(s.rows)*float64(s.depth), 1)
	s.way.ns = s.table.wideCost(s, n)
	if s.batch == 0 && s.way.ns > s.dense*chosenBelow {
		s.way = way{dense: true, ns: s.dense}
	}
}

// singly computes a batch row by row. Where b comes from memory, rows go through a strip of its columns one after the other: what one
// has fetched is near for the others.
func (s *sparse) singly(rec *rt.Recorder, name string) (err error) {
	t := tile{Rows: 1, List: true}
	s.kB, s.eachB, s.inPanels = s.kB[:0], 4*s.strideB, !s.p.rowsLie(s.cut)
	switch {
	case s.inPanels:
		s.eachB, t.Weights, t.Spread = s.cut.nr*s.half.Bytes(), s.half, s.cut.nr*s.half.Bytes()*s.depth
	case s.strideB == 0:
		s.kB = placesOf(s.kB, s.p.k, stepB)
	}
	s.fetches, s.each = false, int(s.p.gatherRow())
	s.stripCols = wideColumns(s.cut, int64(s.cols))
	s.columnCount = (s.cols + s.stripCols - 1) / s.stripCols
	s.counts = slices.Grow(s.counts[:0], s.rows)[:s.rows]
	if err := s.inStrips(rec, name, rowLists, s.rows); err != nil {
		return err
	}
	for i, cols := range []int{s.stripCols, s.cols % s.stripCols} {
		for r := range s.single {
			if cols == 0 || reach(r) == fetching && !s.far {
				continue
			}
			if t.Cols, t.Far = cols, reach(r) == fetching; s.inPanels {
				t.Cols = int(roundUp(int64(cols), int64(s.cut.nr)))
			}
			if s.single[r][i], err = s.workers[0].wide(t); err != nil {
				return err
			}
		}
	}
	switch {
	case s.inPanels && s.whole == nil: // a strip is packed once
		s.rowParts = 1
	case s.far:
		s.rowParts = min(s.threads, s.rows)
	default:
		s.rowParts = s.rows
	}
	return s.inStrips(rec, name, rowSums, s.columnCount*s.rowParts)
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
		if len(s.kB) == 0 {
			list[i] = int32(s.eachB * int(k))
		} else {
			list[i] = int32(4 * s.kB[k])
		}
	}
	for i := range list[n : n+listAhead] {
		list[n+i] = list[n-1]
	}
	return nil
}

// addRows computes a strip of columns of a part of the rows.
func (s *sparse) addRows(w *sparseWorker, strip int) error {
	part, n0 := strip/s.columnCount, strip%s.columnCount*s.stripCols
	cols, width := min(s.stripCols, s.cols-n0), 0
	if cols < s.stripCols {
		width = 1
	}
	g := &w.args
	g.Count, g.COffset, g.Accumulate, g.C = int64(cols), 4*int64(n0), 0, unsafe.Pointer(&w.rows[0])
	if s.inPanels {
		if s.whole == nil {
			w.room(cols)
			addresses(w.colB[:cols], s.p.n, int64(n0), stepB)
		}
		if err := s.panelsOf(w, n0, cols); err != nil {
			return err
		}
		g.B = w.panelsB
	} else {
		g.B = unsafe.Pointer(&w.b.data[w.batchB+n0])
	}
	r0 := part * s.rows / s.rowParts
	for r := r0; r < (part+1)*s.rows/s.rowParts; r++ {
		if err := w.ctx.Err(); err != nil {
			return diag.Stopped(err)
		}
		out, n := w.c[w.batchC+s.rowC[r]:], s.counts[r]
		if n == 0 {
			clear(out[n0:][:cols])
			continue
		}
		values, list := s.listed(r)
		w.rows[0] = unsafe.Pointer(&out[0])
		g.K, g.A, g.List = int64(n), unsafe.Pointer(&values[0]), unsafe.Pointer(&list[0])
		how := near
		if r-r0 < s.first {
			how = fetching
		}
		s.single[how][width].Call(unsafe.Pointer(g))
	}
	return nil
}
