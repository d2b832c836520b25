package cpu

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// listAhead is the room behind a list.
const listAhead = x86.TileAhead

// room takes memory for what is gathered.
func (s *sparse) room() (err error) {
	if s.packed, err = take[float32](&s.workspace, s.out, int64(s.plan.packed)); err != nil {
		return err
	}
	lists, err := take[float32](&s.workspace, s.out, int64(s.plan.listed))
	if err != nil {
		return err
	}
	if s.lists = nil; len(lists) > 0 {
		s.lists = unsafe.Slice((*int32)(unsafe.Pointer(&lists[0])), len(lists))
	}
	s.beside = s.resultBeside()
	s.columnStrips()
	most := 0
	for _, c := range s.plan.chunks {
		most = max(most, c.rows)
	}
	for _, w := range s.workers[:s.threads] {
		w.packB, w.compact = nil, nil
		if s.whole == nil && !s.way.wide {
			if w.packB, err = take[float32](&s.workspace, s.out, int64(s.stripCols)*int64(s.depth)); err != nil {
				return err
			}
		}
		if s.plan.sums || !s.beside {
			if w.compact, err = take[float32](&s.workspace, s.out, int64(most)*int64(s.cut.nr)); err != nil {
				return err
			}
		}
	}
	return s.tiles()
}

// tiles makes the code that groups need.
func (s *sparse) tiles() (err error) {
	for i := range s.plan.groups {
		g := &s.plan.groups[i]
		f := &s.code[g.n]
		if f.Addr() != 0 {
			continue
		}
		t := tile{Rows: int(g.n), Cols: s.cut.nr, Weights: s.half, List: s.way.list}
		if s.way.wide {
			t.Cols = s.stripCols
		}
		if *f, err = s.cut.code.code(t); err != nil {
			return err
		}
	}
	return nil
}

// gatherGroups is how many groups are a strip.
const gatherGroups = 16

func (s *sparse) gatherStrips() int { return (len(s.plan.groups) + gatherGroups - 1) / gatherGroups }

// gather packs groups.
func (s *sparse) gather(w *sparseWorker, strip int) error {
	if err := w.ctx.Err(); err != nil {
		return diag.Stopped(err)
	}
	groups := s.plan.groups[strip*gatherGroups : min((strip+1)*gatherGroups, len(s.plan.groups))]
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
		s.place(list, int(g.count), int(g.k0))
	}
	return nil
}

// gatherTerms packs those elements of a row that a list names, as row at of n.
func gatherTerms(to []float32, n, at int, data []float32, row int, places []int, list []int32) {
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
			x |= s.bits.words[int(r)*s.bits.row+word]
		}
		for k := int32(64 * word); x != 0; x &= x - 1 {
			list[at] = k + int32(bits.TrailingZeros64(x))
			at++
		}
	}
}

// place makes of the k in a list where rows of b begin, in bytes, and fills what is ahead of it.
func (s *sparse) place(list []int32, n, k0 int) {
	if s.way.wide {
		for i, k := range list[:n] {
			list[i] = int32(4 * (s.kB[k] - s.kB[0]))
		}
	} else {
		each := int32(s.cut.nr * s.half.Bytes())
		for i, k := range list[:n] {
			list[i] = k * each
		}
	}
	for i := range list[n:] {
		list[n+i] = list[n-1]
	}
}

// widely says whether rows of b can be read where they lie.
func (s *sparse) widely() bool {
	p := s.p
	if s.rows > mostWidely || p.b.buf == nil || p.b.pad != nil || !s.finite || s.depth > 2*mostTerms {
		return false
	}
	if s.cols%(s.cut.nr/2) != 0 || !s.columnsBeside() || !s.resultBeside() {
		return false
	}
	low, high := 0, 0
	for _, k := range s.kB {
		low, high = min(low, k-s.kB[0]), max(high, k-s.kB[0])
	}
	return 4*low >= math.MinInt32 && 4*high <= math.MaxInt32
}

// mostWidely is how many rows are multiplied one by one.
const mostWidely = 64

// columnsBeside and resultBeside say whether columns of b, and of the result, lie side by side.
func (s *sparse) columnsBeside() bool {
	return beside(s.p.n, func(l loop) int64 { return l.b })
}

func (s *sparse) resultBeside() bool {
	return beside(s.p.n, func(l loop) int64 { return l.out })
}

func beside(nest []loop, step func(loop) int64) bool {
	want := int64(1)
	for i := len(nest) - 1; i >= 0; i-- {
		if step(nest[i]) != want {
			return false
		}
		want *= nest[i].extent
	}
	return true
}

// columnStrips cuts the columns: where panels of b are packed in a run, several at a time.
func (s *sparse) columnStrips() {
	unit := s.cut.nr
	if s.way.wide {
		unit = s.wideColumns()
	}
	units := (s.cols + unit - 1) / unit
	each := 8
	if s.way.wide {
		each = 1
	} else if s.threads > 1 {
		each = max(1, min(8, units/(4*s.threads)))
	}
	s.stripCols, s.columnCount = each*unit, (units+each-1)/each
}

// wideColumns are those of a tile of one row.
func (s *sparse) wideColumns() int {
	for n := 8 * s.cut.nr; ; n /= 2 {
		if n <= s.cols && (x86.Tile{Rows: 1, Cols: n, List: true}).Check(s.cut.code.features) == nil || n <= s.cut.nr {
			return n
		}
	}
}

// columns computes a strip of columns.
func (s *sparse) columns(w *sparseWorker, strip int) error {
	n0 := strip * s.stripCols
	cols := min(s.stripCols, s.cols-n0)
	if len(w.colB) < cols {
		w.colB, w.colC = make([]int, s.stripCols), make([]int, s.stripCols)
	}
	addresses(w.colB[:cols], s.p.n, int64(n0), stepB)
	addresses(w.colC[:cols], s.p.n, int64(n0), stepC)
	if s.beside && !s.plan.sums {
		s.clearRows(w, cols)
	}
	if s.way.wide {
		return s.wideStrip(w, cols)
	}
	if err := s.panelsOf(w, n0, cols); err != nil {
		return err
	}
	deep, compact := 0, s.plan.sums || !s.beside
	for i := range s.plan.chunks {
		c := &s.plan.chunks[i]
		s.rowsOf(w, c, compact)
		for j := 0; j < cols; j += s.cut.nr {
			n := min(s.cut.nr, cols-j)
			if compact {
				clear(w.compact[:c.rows*s.cut.nr])
			}
			panel := unsafe.Add(w.panelsB, j/s.cut.nr*w.strideB)
			if err := s.panel(w, c, panel, j, n, compact, &deep); err != nil {
				return err
			}
			if compact {
				s.scatter(w, c, j, n)
			}
		}
	}
	return nil
}

// panelsOf finds panels of b, or packs them.
func (s *sparse) panelsOf(w *sparseWorker, n0, cols int) error {
	nr := s.cut.nr
	w.strideB = nr * s.depth * s.half.Bytes()
	if s.whole != nil {
		matrix := s.p.matrix(s.batch, &segment{}) * int64((s.cols+nr-1)/nr) * int64(w.strideB)
		w.panelsB = unsafe.Pointer(&s.whole[matrix+int64(n0/nr)*int64(w.strideB)])
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
	w.panelsB = unsafe.Pointer(&w.packB[0])
	if !s.finite && !s.finitePanels(w, w.packB[:size]) {
		s.notFinite.Store(true)
	}
	return nil
}

// clearRows makes rows 0 that have nothing.
func (s *sparse) clearRows(w *sparseWorker, cols int) {
	at := w.batchC + w.colC[0]
	for _, r := range s.plan.zero {
		clear(w.c[at+s.rowC[r]:][:cols])
	}
}

// rowsOf finds where the rows of a chunk's groups are written.
func (s *sparse) rowsOf(w *sparseWorker, c *chunk, compact bool) {
	if c.groups == 0 {
		return
	}
	groups := s.plan.groups[c.group : c.group+c.groups]
	last := groups[len(groups)-1]
	order := s.plan.order[groups[0].first : last.first+last.n]
	if len(w.into) < len(order) {
		w.into = make([]unsafe.Pointer, len(order)+len(order)/4)
	}
	for i, r := range order {
		if compact {
			w.into[i] = unsafe.Pointer(&w.compact[(int(r)-c.row)*s.cut.nr])
		} else {
			w.into[i] = unsafe.Pointer(&w.c[w.batchC+s.rowC[r]])
		}
	}
}

// panel multiplies the groups of a chunk by a panel of b.
func (s *sparse) panel(w *sparseWorker, c *chunk, panel unsafe.Pointer, j, cols int, compact bool, deep *int) error {
	g := &w.args
	g.Count, g.COffset, g.Accumulate = int64(cols), 0, 0
	if compact {
		g.Count = int64(s.cut.nr)
		if s.plan.sums {
			g.Accumulate = 1
		}
	} else {
		g.COffset = 4 * int64(w.colC[j])
	}
	groups := s.plan.groups[c.group : c.group+c.groups]
	for i := range groups {
		o := &groups[i]
		if *deep += int(o.count); *deep > someDepth {
			*deep = 0
			if err := w.ctx.Err(); err != nil {
				return diag.Stopped(err)
			}
		}
		g.K, g.A, g.C, g.B = int64(o.count), unsafe.Pointer(&s.packed[o.panel]), unsafe.Pointer(&w.into[o.first-groups[0].first]), panel
		if o.list >= 0 {
			g.List = unsafe.Pointer(&s.lists[o.list])
		} else {
			g.B = unsafe.Add(panel, int(o.k0)*s.cut.nr*s.half.Bytes())
		}
		s.code[o.n].Call(unsafe.Pointer(g))
	}
	return nil
}

// scatter writes rows that were computed beside each other where they belong.
func (s *sparse) scatter(w *sparseWorker, c *chunk, j, cols int) {
	nr, rows := s.cut.nr, s.rowC[c.row:c.row+c.rows]
	if at := w.colC[j : j+cols]; straight(at) {
		for i, r := range rows {
			copy(w.c[w.batchC+r+at[0]:][:cols], w.compact[i*nr:])
		}
		return
	}
	if straight(rows) {
		for i, at := range w.colC[j : j+cols] {
			out := w.c[w.batchC+rows[0]+at:][:len(rows)]
			for r, from := 0, w.compact[i:]; r < len(out); r++ {
				out[r] = from[r*nr]
			}
		}
		return
	}
	for i, at := range w.colC[j : j+cols] {
		for r, row := range rows {
			w.c[w.batchC+row+at] = w.compact[r*nr+i]
		}
	}
}

// wideStrip computes a strip of columns row by row, from rows of b where they lie.
func (s *sparse) wideStrip(w *sparseWorker, cols int) error {
	f := s.code[1]
	if cols < s.stripCols {
		var err error
		if f, err = w.wide(tile{Rows: 1, Cols: cols, List: true}); err != nil {
			return err
		}
	}
	g := &w.args
	g.Count, g.COffset, g.Accumulate = int64(cols), 4*int64(w.colC[0]), 0
	g.B = unsafe.Pointer(&w.b.data[w.batchB+w.colB[0]+s.kB[0]])
	for i := range s.plan.chunks {
		c := &s.plan.chunks[i]
		s.rowsOf(w, c, false)
		for _, o := range s.plan.groups[c.group : c.group+c.groups] {
			if err := w.ctx.Err(); err != nil {
				return diag.Stopped(err)
			}
			g.K, g.A, g.C = int64(o.count), unsafe.Pointer(&s.packed[o.panel]), unsafe.Pointer(&w.into[int(o.first)-int(s.plan.groups[c.group].first)])
			g.List = unsafe.Pointer(&s.lists[o.list])
			f.Call(unsafe.Pointer(g))
		}
	}
	return nil
}
