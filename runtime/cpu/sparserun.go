package cpu

import (
	"math/bits"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// listAhead is the room behind a list.
const listAhead = x86.TileAhead

// ready finds what workers need for the way that was chosen.
func (s *sparse) ready() error {
	if s.kA = s.kA[:0]; !s.alongK || !s.way.list {
		s.kA = placesOf(s.kA, s.p.k, stepA)
		if s.p.a.buf == nil {
			for i := range s.kA {
				s.kA[i] = i
			}
		}
	}
	return s.tiles()
}

// tiles makes the code that groups need, the way that was chosen.
func (s *sparse) tiles() (err error) {
	s.code = [2][16]x86.Func{}
	for i := range s.plan.groups {
		n := s.plan.groups[i].n
		if s.code[near][n].Addr() != 0 {
			continue
		}
		t := tile{Rows: int(n), Cols: s.cut.nr, Weights: s.half, List: s.way.list}
		for r := range s.code {
			if t.Fetch = 0; reach(r) == fetching && s.fetches {
				t.Fetch = 1
			}
			if s.code[r][n], err = s.workers[0].wide(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// gatherGroups is how many groups are a strip.
const gatherGroups = 16

func (s *sparse) gatherStrips() int { return (len(s.portion.groups) + gatherGroups - 1) / gatherGroups }

// gather packs groups.
func (s *sparse) gather(w *sparseWorker, strip int) error {
	if err := w.ctx.Err(); err != nil {
		return diag.Stopped(err)
	}
	groups := s.portion.groups[strip*gatherGroups : min((strip+1)*gatherGroups, len(s.portion.groups))]
	base := s.baseA()
	for i := range groups {
		g := &groups[i]
		rows, n := s.plan.order[g.first:g.first+g.n], int(g.n)
		to := s.packed[g.panel:][:n*int(g.count)]
		if g.list < 0 {
			lines := w.rowA[:n]
			for j, r := range rows {
				lines[j] = s.rowA[r]
			}
			if err := w.pack(to, n, s.dataA, base, lines, s.kA[g.k0:g.k0+g.count]); err != nil {
				return err
			}
			continue
		}
		list := s.lists[g.list : g.list+int(g.count)+listAhead]
		s.terms(list, rows, int(g.k0))
		for j, r := range rows {
			gatherTerms(to, n, j, s.dataA, base+s.rowA[r], s.kA, list[:g.count])
		}
		s.place(list, int(g.count))
	}
	return nil
}

// gatherTerms packs those elements of a row that a list names, as row at of n. Without places they lie side by side.
func gatherTerms(to []float32, n, at int, data []float32, row int, places []int, list []int32) {
	if len(places) == 0 {
		for _, k := range list {
			to[at] = data[row+int(k)]
			at += n
		}
		return
	}
	for _, k := range list {
		to[at] = data[row+places[k]]
		at += n
	}
}

// terms lists the k of a block in which one of some rows has something.
func (s *sparse) terms(list []int32, rows []int32, k0 int) {
	at := 0
	for word := k0 / 64; word < (min(k0+s.way.depth, s.depth)+63)/64; word++ {
		x := uint64(0)
		for _, r := range rows {
			x |= s.bits.bits[int(r)*s.bits.row+word]
		}
		for k := int32(64 * word); x != 0; x &= x - 1 {
			list[at] = k + int32(bits.TrailingZeros64(x))
			at++
		}
	}
}

// place makes of the k in a list where rows of b begin, in bytes, and fills what is ahead of it.
func (s *sparse) place(list []int32, n int) {
	each := int32(s.cut.nr * s.half.Bytes())
	for i, k := range list[:n] {
		list[i] = k * each
	}
	for i := range list[n:] {
		list[n+i] = list[n-1]
	}
}

// columnStrips cuts the columns: as many panels of b as stay near.
func (s *sparse) columnStrips() {
	unit := s.cut.nr
	units, each := (s.cols+unit-1)/unit, s.p.stripPanels(s.cut)
	if s.rows == 1 && s.whole != nil && !s.compact() && !s.fetches {
		each = units // nothing of b is read twice
	}
	if s.threads > 1 {
		each = max(1, min(each, units/(4*s.threads)))
	}
	each = min(each, units)
	s.stripCols, s.columnCount = each*unit, (units+each-1)/each
}

// columns computes a strip of columns.
func (s *sparse) columns(w *sparseWorker, strip int) error {
	n0 := strip * s.stripCols
	cols := min(s.stripCols, s.cols-n0)
	w.room(cols)
	some := func(all bool) int { // columns beside each other follow from the first one
		if all {
			return cols
		}
		return 1
	}
	addresses(w.colB[:some(s.whole == nil)], s.p.n, int64(n0), stepB)
	addresses(w.colC[:some(!s.beside)], s.p.n, int64(n0), stepC)
	if s.beside {
		s.clearRows(w, cols)
	}
	if err := s.panelsOf(w, n0, cols); err != nil {
		return err
	}
	for i := range s.portion.chunks {
		c := &s.portion.chunks[i]
		s.intoRows(w, c)
		if s.compact() {
			n := c.slots
			if !s.beside {
				n = c.rows
			}
			clear(w.compact[:n*s.stripCols])
		}
		if err := s.groups(w, c, cols); err != nil {
			return err
		}
		if s.compact() {
			s.scatter(w, c, cols)
		}
	}
	return nil
}

// room is for the addresses of some columns.
func (w *sparseWorker) room(cols int) {
	if len(w.colB) < cols {
		w.colB, w.colC = make([]int, cols), make([]int, cols)
	}
}

// panelsOf finds panels of b, or packs them.
func (s *sparse) panelsOf(w *sparseWorker, n0, cols int) error {
	nr := s.cut.nr
	w.strideB = nr * s.depth * s.half.Bytes()
	if s.whole != nil {
		matrix := s.p.matrix(s.batch, &segment{}) * int64((s.cols+nr-1)/nr) * int64(w.strideB)
		at := matrix + int64(n0/nr)*int64(w.strideB)
		w.panelsB, w.left = unsafe.Pointer(&s.whole[at]), 0
		if next := at + int64(s.threads*s.stripCols/nr*w.strideB); s.fetches && next < int64(len(s.whole)) {
			w.args.Fetch, w.left = uintptr(unsafe.Pointer(&s.whole[next])), min(s.stripCols/nr*w.strideB, len(s.whole)-int(next))
		}
		return nil
	}
	size := (cols + nr - 1) / nr * nr * s.depth
	for k0 := 0; k0 < s.depth; k0 += int(s.cut.depth) {
		if err := w.ctx.Err(); err != nil {
			return diag.Stopped(err)
		}
		b := block{k0: int64(k0), depth: min(int(s.cut.depth), s.depth-k0)}
		w.depthB(&b)
		if err := w.fillB(w.packB[k0*nr:], nr*s.depth, s.batch, int64(n0), cols, b.k0, b.depth); err != nil {
			return err
		}
	}
	w.panelsB, w.left = unsafe.Pointer(&w.packB[0]), 0
	if !s.finite && !s.finitePanels(w, w.packB[:size]) {
		s.notFinite.Store(true)
	}
	return nil
}

// clearRows makes rows 0 that have nothing.
func (s *sparse) clearRows(w *sparseWorker, cols int) {
	at := w.batchC + w.colC[0]
	for _, c := range s.portion.chunks {
		for _, r := range s.plan.zero[c.zero : c.zero+c.zeros] {
			clear(w.c[at+s.rowC[r]:][:cols])
		}
	}
}

// intoRows finds where the rows of a chunk's groups are written.
func (s *sparse) intoRows(w *sparseWorker, c *chunk) {
	if c.groups == 0 || w.placed == c {
		return
	}
	w.placed = c
	groups := s.plan.groups[c.group : c.group+c.groups]
	last := groups[len(groups)-1]
	order := s.plan.order[groups[0].first : last.first+last.n]
	if len(w.into) < len(order) {
		w.into = make([]unsafe.Pointer, len(order)+len(order)/4)
	}
	for i, r := range order {
		switch {
		case !s.compact():
			w.into[i] = unsafe.Pointer(&w.c[w.batchC+s.rowC[r]])
		case s.beside:
			w.into[i] = unsafe.Pointer(&w.compact[int(s.plan.slots[r])*s.stripCols])
		default:
			w.into[i] = unsafe.Pointer(&w.compact[(int(r)-c.row)*s.stripCols])
		}
	}
}

// groups multiplies the groups of a chunk by the panels of a strip.
func (s *sparse) groups(w *sparseWorker, c *chunk, cols int) error {
	groups := s.plan.groups[c.group : c.group+c.groups]
	g, nr, compact := &w.args, s.cut.nr, s.compact()
	if g.Accumulate = 0; s.plan.sums {
		g.Accumulate = 1
	}
	for i, deep, each := 0, 0, s.cut.nr*s.half.Bytes(); i < len(groups); i++ {
		o := &groups[i]
		g.K, g.A, g.C = int64(o.count), unsafe.Pointer(&s.packed[o.panel]), unsafe.Pointer(&w.into[o.first-groups[0].first])
		first := w.panelsB
		if o.list >= 0 {
			g.List = unsafe.Pointer(&s.lists[o.list])
		} else {
			first = unsafe.Add(first, int(o.k0)*each)
		}
		r := near
		if w.left > 0 {
			r = fetching
		}
		f := s.code[r][o.n]
		for j := 0; j < cols; j += nr {
			if deep += int(o.count); deep > someDepth {
				deep = 0
				if err := w.ctx.Err(); err != nil {
					return diag.Stopped(err)
				}
			}
			g.B = unsafe.Add(first, j/nr*w.strideB)
			if g.Count, g.COffset = int64(nr), 4*int64(j); !compact {
				g.Count, g.COffset = int64(min(nr, cols-j)), 4*int64(w.colC[0]+j)
			}
			f.Call(unsafe.Pointer(g))
			if r == fetching {
				g.Fetch += uintptr(x86.TileFetch * int(o.count))
				w.left -= x86.TileFetch * int(o.count)
			}
		}
	}
	return nil
}

// scatter writes rows that were put together beside each other where they belong.
func (s *sparse) scatter(w *sparseWorker, c *chunk, cols int) {
	width := s.stripCols
	if s.beside {
		for i, r := range s.plan.some[c.slot : c.slot+c.slots] {
			copy(w.c[w.batchC+s.rowC[r]+w.colC[0]:][:cols], w.compact[i*width:])
		}
		return
	}
	rows := s.rowC[c.row : c.row+c.rows]
	if straight(rows) {
		for i, at := range w.colC[:cols] {
			out := w.c[w.batchC+rows[0]+at:][:len(rows)]
			for r, from := 0, w.compact[i:]; r < len(out); r++ {
				out[r] = from[r*width]
			}
		}
		return
	}
	for i, at := range w.colC[:cols] {
		for r, row := range rows {
			w.c[w.batchC+row+at] = w.compact[r*width+i]
		}
	}
}
