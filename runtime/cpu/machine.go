package cpu

import (
	"sync"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// machine is the machine code of a device: micro-kernels that are made when they are first
// used, in memory that goes with the device.
type machine struct {
	features x86.Features // code is made for; nothing: there is none
	refused  error        // why there is none, where the processor could run it
	blocks   *blocks      // that go with it
	arena    x86.Arena

	// Who calls code holds use, so that its memory stays while it runs.
	use    sync.RWMutex
	closed bool

	mu    sync.Mutex
	tiles map[x86.Tile]x86.Func
}

// newMachine makes one for features. Whether the system allows executable memory shows here.
func newMachine(f x86.Features) *machine {
	m := &machine{features: f, tiles: map[x86.Tile]x86.Func{}}
	if f != 0 {
		if _, err := m.tile(x86.Tile{Rows: 1, Cols: panelCols(f)}); err != nil {
			m.features, m.refused = 0, err
			return m
		}
		m.blocks = blocksFor(m)
	}
	return m
}

// enter says whether there is code, which then stays until leave.
func (m *machine) enter() bool {
	m.use.RLock()
	if m.features == 0 || m.closed {
		m.use.RUnlock()
		return false
	}
	return true
}

func (m *machine) leave() { m.use.RUnlock() }

// close gives the memory back when no code runs any more.
func (m *machine) close() {
	m.use.Lock()
	defer m.use.Unlock()
	m.closed = true
	m.arena.Close()
	clear(m.tiles)
}

// tile gives a micro-kernel.
func (m *machine) tile(t x86.Tile) (x86.Func, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.tiles[t]; ok {
		return f, nil
	}
	p, err := t.Program(m.features, nil)
	if err != nil {
		return x86.Func{}, diag.As(err, diag.Run)
	}
	c, err := x86.Compile(p, m.features)
	if err != nil {
		return x86.Func{}, diag.As(err, diag.Run)
	}
	f, err := m.arena.Load(c)
	if err != nil {
		return x86.Func{}, diag.As(err, diag.Run)
	}
	m.tiles[t] = f[0]
	return f[0], nil
}

// panelRows and panelCols are the largest tile of C in registers.
func panelRows(f x86.Features) int {
	if f&x86.V4 != 0 {
		return 14
	}
	return 6
}

func panelCols(f x86.Features) int {
	if f&x86.V4 != 0 {
		return 32
	}
	return 16
}

// Code says what products in f32 run on: the level of the processor that machine code is made for,
// or portable Go, and why where the system refuses executable memory.
func (d *Device) Code() (string, error) {
	switch m := d.machine; {
	case d.err != nil:
		return "", d.err
	case m.features&x86.V4 != 0:
		return "machine code for x86-64-v4", nil
	case m.features != 0:
		return "machine code for x86-64-v3", nil
	case m.refused != nil:
		return "portable Go: " + m.refused.Error(), nil
	}
	return "portable Go", nil
}

// codeLists are what calls of machine code need.
type codeLists struct {
	args  x86.TileArgs
	rows  []unsafe.Pointer // of C
	small []float32        // a tile of C whose columns do not lie side by side
	into  []unsafe.Pointer // its rows
	tiles []x86.Func       // by rows
}

func (l *codeLists) fit(cut *blocks) {
	if n := int(cut.panels) * cut.mr; len(l.rows) < n {
		l.rows = make([]unsafe.Pointer, n)
		l.small = make([]float32, cut.mr*cut.nr)
		l.into = make([]unsafe.Pointer, cut.mr)
		l.tiles = make([]x86.Func, cut.mr+1)
		for i := range l.into {
			l.into[i] = unsafe.Pointer(&l.small[i*cut.nr])
		}
	}
}

// forget drops addresses of tensors.
func (l *codeLists) forget() {
	clear(l.rows)
	l.args = x86.TileArgs{}
}

// multiplyCode adds the products of packed panels to C: T is float32.
func (w *worker[T]) multiplyCode(b block) error {
	count := int(b.start(b.to) - b.start(b.from))
	for i, at := range w.rowC[:count] {
		w.rows[i] = unsafe.Pointer(&w.c[w.batchC+at])
	}
	for i := b.from; i < b.to; i++ {
		n := int(b.size(i))
		if w.tiles[n].Addr() == 0 {
			var err error
			if w.tiles[n], err = w.cut.code.tile(x86.Tile{Rows: n, Cols: w.cut.nr}); err != nil {
				return err
			}
		}
	}
	g := &w.args
	g.K = int64(b.depth)
	for j := 0; j < b.cols; j += w.cut.nr {
		n := min(w.cut.nr, b.cols-j)
		at, beside, cols := w.first+j, w.p.align, []int(nil)
		if !beside {
			cols = w.colC[j : j+n]
			at, beside = cols[0], straight(cols)
		}
		g.B, g.Count = unsafe.Pointer(&w.packB[j*b.depth]), int64(n)
		row := 0
		for i := b.from; i < b.to; i++ {
			n := int(b.size(i))
			f := w.tiles[n]
			g.A = unsafe.Pointer(&w.packA[row*b.depth])
			if beside {
				g.C, g.COffset, g.Accumulate = unsafe.Pointer(&w.rows[row]), 4*int64(at), 0
				if !b.first {
					g.Accumulate = 1
				}
				f.Call(unsafe.Pointer(g))
			} else {
				g.C, g.COffset, g.Accumulate = unsafe.Pointer(&w.into[0]), 0, 0
				f.Call(unsafe.Pointer(g))
				w.scatter(w.rowC[row:row+n], cols, b.first)
			}
			row += n
		}
	}
	return nil
}

// scatter adds a tile to elements of C.
func (w *worker[T]) scatter(rows, cols []int, first bool) {
	for j, col := range cols {
		at := w.batchC + col
		for i, row := range rows {
			v := T(w.small[i*w.cut.nr+j])
			if first {
				w.c[at+row] = v
			} else {
				w.c[at+row] += v
			}
		}
	}
}
