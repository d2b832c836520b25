package cpu

import (
	"math"
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// codeLists are what calls of machine code need.
type codeLists struct {
	args  x86.TileArgs
	rows  []unsafe.Pointer    // of C
	small []float32           // a tile of C whose columns do not lie side by side
	into  []unsafe.Pointer    // its rows
	tiles [2][3][3][]x86.Func // by whether A is read where it lies, reach, what B is, and rows
	packs []x86.Func          // by rows
	rowsB x86.Func            // packs rows of B
	from  []unsafe.Pointer    // that are packed
	wider map[tile]x86.Func
	list  []int32 // where rows of B begin, in bytes behind the first of kB
	short bool    // they can be told so

	packing x86.PackArgs
	lines   x86.LinesArgs
	strip   x86.ColumnsArgs
	columns [2][2][x86.MostRuns]x86.Func // by whether the panel is whole, vectors and runs
}

// someDepth is how deep calls are together that take 100 to 200 µs: so often is looked whether the run is to stop.
const someDepth = 64 * 768

// widest is the columns of the widest tile.
const widest = 128

func (l *codeLists) fit(cut *blocks) {
	if n := int(cut.panels) * cut.mr; len(l.rows) < n {
		l.rows = make([]unsafe.Pointer, n)
		l.small = make([]float32, cut.mr*widest)
		l.into = make([]unsafe.Pointer, cut.mr)
		for i := range l.tiles {
			for j := range l.tiles[i] {
				for k := range l.tiles[i][j] {
					l.tiles[i][j][k] = make([]x86.Func, cut.mr+1)
				}
			}
		}
		l.packs = make([]x86.Func, max(cut.mr, cut.nr)+1)
		l.from = make([]unsafe.Pointer, len(l.packs))
		l.wider = map[tile]x86.Func{}
		l.list = make([]int32, cut.deepest()+x86.TileAhead)
		for i := range l.into {
			l.into[i] = unsafe.Pointer(&l.small[i*widest])
		}
	}
}

// forget drops addresses of tensors.
func (l *codeLists) forget() {
	clear(l.rows)
	clear(l.from)
	l.args, l.packing, l.lines, l.strip = x86.TileArgs{}, x86.PackArgs{}, x86.LinesArgs{}, x86.ColumnsArgs{}
}

// begin readies code for a block.
func (w *worker[T]) begin(b block) error {
	w.args.K = int64(b.depth)
	fetchers, reach := w.fetchers(b)
	for i := b.from; i < b.to; i += b.alike(i) {
		rows := int(b.size(i))
		if err := w.ready(near, rows); err != nil {
			return err
		}
		if i-b.from < fetchers {
			if err := w.ready(reach, rows); err != nil {
				return err
			}
		}
		if w.wholeA != nil {
			if err := w.ready(fetching, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

// reach is how far a tile looks.
type reach int

const (
	near     reach = iota
	fetching       // Tile.Fetch, for what comes next: some of it
	seeing         // and all of a panel of B
)

// ready makes code where there is none yet.
func (w *worker[T]) ready(r reach, rows int) (err error) {
	if f := w.made(r, rows); f.Addr() == 0 {
		*f, err = w.cut.code.code(w.panelTile(r, rows))
	}
	return err
}

// panelTile is a tile of a panel of B.
func (w *worker[T]) panelTile(r reach, rows int) tile {
	lines := [...]int{near: 0, fetching: 1, seeing: w.linesB()}[r]
	return tile{Rows: rows, Cols: w.cut.nr, Pairs: w.cut.pairs, Weights: w.half, Strided: w.lies, Panels: true, Fetch: lines}
}

// slimTile is a tile of half a panel of B; all of B is packed for any number of rows.
func (w *worker[T]) slimTile(r reach, rows int) (x86.Func, error) {
	t := w.panelTile(r, rows)
	if t.Cols /= 2; w.whole != nil {
		t.Of = w.cut.nr
	}
	return w.wide(t)
}

// made is the place of a tile's code.
func (w *worker[T]) made(f reach, rows int) *x86.Func {
	lies := 0
	if w.lies {
		lies = 1
	}
	return &w.tiles[lies][f][w.half][rows]
}

// linesB is how many lines of the cache a panel of B has for each k.
func (w *worker[T]) linesB() int { return w.cut.nr * w.half.Bytes() / x86.TileFetch }

// fetchers is how many tiles of a panel of B fetch the next one, and how: each a line for each k, or a single one all of it. A few
// rows leave the processor time to see by itself what comes next: prefetches would only take loads away from it. What was packed
// just now is near.
func (w *worker[T]) fetchers(b block) (int64, reach) {
	switch {
	case w.whole == nil || b.to-b.from < 2 && b.size(b.from) <= thirstyRows:
		return 0, near
	case b.to-b.from < 2:
		return 1, seeing
	}
	return int64(w.linesB()), fetching
}

// thirstyRows are so few that a tile of them waits for B rather than for its multiplications.
const thirstyRows = 2

// multiplyCode adds the products of packed panels to C: T is float32.
func (w *worker[T]) multiplyCode(b block) error {
	if err := w.begin(b); err != nil {
		return err
	}
	fetchers, reach := w.fetchers(b)
	deep := 0
	twin := tile{Rows: 1, Cols: 2 * w.cut.nr, Weights: w.half, Twin: true}
	two := w.whole != nil && !w.cut.pairs && b.start(b.to)-b.start(b.from) == 1 && x86.Tile(twin).Fits(w.cut.code.features)
	w.args.Apart = int64(w.strideB)
	for j := 0; j < b.cols; j += w.cut.nr {
		if deep += int(b.to-b.from) * b.depth; deep > someDepth {
			deep = 0
			if err := w.ctx.Err(); err != nil {
				return diag.Stopped(err)
			}
		}
		n := min(w.cut.nr, b.cols-j)
		w.args.B = unsafe.Add(w.panelsB, j/w.cut.nr*w.strideB)
		w.args.Fetch = uintptr(w.args.B) + uintptr(w.strideB)
		if j+w.cut.nr >= b.cols && w.nextB != 0 {
			w.args.Fetch = w.nextB
		}
		if two && j+w.cut.nr < b.cols { // a row waits for B: two panels come faster at once
			f, err := w.wide(twin)
			if err != nil {
				return err
			}
			w.call(b, f, 0, 1, 1, j, min(twin.Cols, b.cols-j))
			deep, j = deep+b.depth, j+w.cut.nr
			continue
		}
		row := 0
		for i := b.from; i < b.to; {
			rows, panels := int(b.size(i)), min(b.alike(i), b.to-i)
			r := near
			switch {
			case w.wholeA != nil && j == 0: // all of A is on its way from beyond
				r, panels = fetching, 1
				w.args.Fetch = uintptr(unsafe.Pointer(&w.blockA[row*b.depth])) + uintptr(4*rows*b.depth)
			case i-b.from < fetchers:
				r, panels = reach, min(panels, fetchers-(i-b.from))
			}
			f := *w.made(r, rows)
			if w.slim && n <= w.cut.nr/2 {
				var err error
				if f, err = w.slimTile(r, rows); err != nil {
					return err
				}
			}
			w.call(b, f, row, rows, int(panels), j, n)
			w.args.Fetch += uintptr(x86.TileFetch*b.depth) * uintptr(panels)
			row, i = row+rows*int(panels), i+panels
		}
	}
	return nil
}

// call computes tiles of C: some panels of rows from row on, and cols columns from j on.
func (w *worker[T]) call(b block, f x86.Func, row, rows, panels, j, cols int) {
	g := &w.args
	if g.Count, g.Panels = int64(cols), int64(panels); w.lies {
		g.A = unsafe.Pointer(&w.blockA[w.firstA+row*w.strideA])
	} else {
		g.A = unsafe.Pointer(&w.blockA[row*b.depth])
	}
	at, beside := w.first+j, w.p.align
	if !beside {
		at, beside = w.colC[j], straight(w.colC[j:j+cols])
	}
	if beside {
		g.C, g.COffset, g.Accumulate = unsafe.Pointer(&w.rows[row]), 4*int64(at), 0
		if b.k0 > 0 {
			g.Accumulate = 1
		}
		f.Call(unsafe.Pointer(g))
		return
	}
	if panels > 1 {
		for i := range panels {
			w.call(b, f, row+i*rows, rows, 1, j, cols)
		}
		return
	}
	g.C, g.COffset, g.Accumulate = unsafe.Pointer(&w.into[0]), 0, 0
	f.Call(unsafe.Pointer(g))
	for c, col := range w.colC[j : j+cols] {
		at := w.batchC + col
		for i, r := range w.rowC[row : row+rows] {
			v := *(*T)(unsafe.Pointer(&w.small[i*widest+c])) // as machine code has left it
			if b.k0 == 0 {
				w.c[at+r] = v
			} else {
				w.c[at+r] += v
			}
		}
	}
}

// listed says whether machine code reads the rows of B where they lie: they are read so few times
// that packing them would cost more. Bits depend on that: it is decided by sizes and layouts.
func (w *worker[T]) listed(s *segment, cols int) bool {
	if w.cut.code == nil || w.constant || w.b.computed() || s.to-s.from > 2*int64(w.cut.mr) || !straight(w.colB[:cols]) {
		return false
	}
	reach := int64(0)
	for _, l := range w.p.k {
		if reach += (l.extent - 1) * max(l.b, -l.b); l.list != nil {
			reach += slices.Max(l.list)
		}
	}
	return 4*reach <= math.MaxInt32
}

// multiplyListed adds the products of packed panels of A and rows of B to C. Columns at the end that
// fill no vector are packed: nothing behind them may be read.
func (w *worker[T]) multiplyListed(b block) error {
	if err := w.begin(b); err != nil {
		return err
	}
	w.args.List = unsafe.Pointer(&w.list[0])
	lanes := w.cut.nr / 2
	for j := 0; j < b.cols; {
		if b.cols-j < lanes {
			if err := w.pack(w.packB, w.cut.nr, w.b.data, w.batchB, w.colB[j:b.cols], w.kB[:b.depth]); err != nil {
				return err
			}
			w.args.B = unsafe.Pointer(&w.packB[0])
		} else {
			w.args.B = unsafe.Pointer(&w.b.data[w.batchB+w.colB[j]+w.kB[0]])
		}
		width := min(widest, (b.cols-j)/lanes*lanes)
		for i := b.from; i < b.to; i++ {
			width = w.cut.code.widthFor(int(b.size(i)), width)
		}
		row := 0
		for i := b.from; i < b.to; i++ {
			rows := int(b.size(i))
			if width == 0 {
				w.call(b, *w.made(near, rows), row, rows, 1, j, b.cols-j)
			} else {
				f, err := w.wide(tile{Rows: rows, Cols: width, List: true})
				if err != nil {
					return err
				}
				w.call(b, f, row, rows, 1, j, width)
			}
			row += rows
		}
		if width == 0 {
			break
		}
		j += width
	}
	return nil
}

func (w *worker[T]) wide(t tile) (f x86.Func, err error) {
	f, ok := w.wider[t]
	if !ok {
		if f, err = w.cut.code.code(t); err == nil {
			w.wider[t] = f
		}
	}
	return f, err
}

// widthFor is the columns of a tile of so many rows, width at most: a power of two of vectors.
func (m *machine) widthFor(rows, width int) int {
	lanes := panelCols(m.features) / 2
	n := lanes
	for 2*n <= width && (x86.Tile{Rows: rows, Cols: 2 * n, List: true}).Fits(m.features) {
		n *= 2
	}
	return min(n, width)
}

// pack packs rows in a panel of some width: by machine code, which transposes them in registers,
// where their elements lie side by side. Then columns that are missing hold anything.
func (w *worker[T]) pack(to []T, width int, data []T, base int, lines, offs []int) error {
	to = to[:width*len(offs)] // machine code does not look
	if w.cut.code != nil && (width == w.cut.nr || w.slim && width == w.cut.nr/2) {
		if done, err := w.packRuns(to, width, data, base, lines, offs); done || err != nil {
			return err
		}
	}
	if w.cut.code == nil || len(lines) == 1 || len(offs) == 0 || straight(lines) || !straight(offs) {
		pack(to, width, data, base, lines, offs)
		return nil
	}
	return w.transpose(to, width, data, base+offs[0], lines, len(offs))
}

// transpose packs rows, or columns, whose elements lie side by side, by machine code.
func (w *worker[T]) transpose(to []T, width int, data []T, base int, lines []int, depth int) error {
	to = to[:width*depth] // machine code does not look
	if w.packs[width].Addr() == 0 {
		var err error
		if w.packs[width], err = w.cut.code.code(x86.Pack{Rows: width}); err != nil {
			return err
		}
	}
	for i := range width {
		w.from[i] = unsafe.Pointer(&data[base+lines[min(i, len(lines)-1)]])
	}
	ahead := 4 * 64 // bytes; of rows that are shorter, what is packed next
	if depth <= ahead/4 && len(lines) > 1 {
		ahead = 4 * (lines[1] - lines[0]) * len(lines)
	}
	w.packing = x86.PackArgs{K: int64(depth), From: unsafe.Pointer(&w.from[0]), Ahead: int64(ahead), To: unsafe.Pointer(&to[0])}
	w.packs[width].Call(unsafe.Pointer(&w.packing))
	return nil
}

// lines is code.
type lines x86.Lines

func (l lines) Program(f x86.Features) (*x86.Prog, error) { return x86.Lines(l).Program(f) }

// Rows that are packed are fetched so many before, and so many numbers are packed in a call.
const (
	linesAhead  = 12
	linesInCall = 1 << 15
)

// packRows packs rows of B, which begin at base+offs[k], in panels, which begin apart elements one after the other.
func (w *worker[T]) packRows(to []T, apart, base int, offs []int, cols int) error {
	data, nr := w.b.data, w.cut.nr
	panels := cols / nr
	step := 0
	if len(offs) > 1 {
		step = offs[1] - offs[0]
	}
	if w.cut.code == nil || panels == 0 || !steady(offs, step) {
		packRows(to, nr, apart, data, base, offs, cols)
		return nil
	}
	if whole := panels * nr; whole < cols {
		packRows(to[panels*apart:], nr, apart, data, base+whole, offs, cols-whole)
	}
	if w.rowsB.Addr() == 0 {
		var err error
		if w.rowsB, err = w.cut.code.code(lines{Cols: nr}); err != nil {
			return err
		}
	}
	some := max(1, linesInCall/(panels*nr))
	for k := 0; k < len(offs); k += some {
		n := min(some, len(offs)-k)
		from, last := base+offs[k], base+offs[k+n-1]
		_, _, _ = data[from:][:panels*nr], data[last:][:panels*nr], to[k*nr:][:(panels-1)*apart+n*nr] // machine code does not look
		w.lines = x86.LinesArgs{K: int64(n), Panels: int64(panels), From: unsafe.Pointer(&data[from]), Step: int64(4 * step), Ahead: int64(4 * linesAhead * step),
			To: unsafe.Pointer(&to[k*nr]), Apart: int64(4 * apart)}
		w.rowsB.Call(unsafe.Pointer(&w.lines))
	}
	return nil
}

// steady says whether addresses go up by step from one to the next.
func steady(list []int, step int) bool {
	for i, at := range list {
		if at != list[0]+i*step {
			return false
		}
	}
	return true
}
