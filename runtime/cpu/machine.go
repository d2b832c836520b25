package cpu

import (
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// machine is the machine code of a device: micro-kernels that are made when they are first
// used, in memory that goes with the device.
type machine struct {
	features x86.Features // code is made for; nothing: there is none
	refused  error        // why there is none, where the processor could run it
	blocks   *blocks      // that go with it
	pairs    *blocks      // for integers
	arena    x86.Arena

	// Who calls code holds use, so that its memory stays while it runs.
	use    sync.RWMutex
	closed bool

	mu    sync.Mutex
	funcs map[coder]x86.Func
}

// newMachine makes one for features. Whether the system allows executable memory shows here.
func newMachine(f x86.Features) *machine {
	m := &machine{features: f, funcs: map[coder]x86.Func{}}
	m.arena.PerfMap = perfMap
	if f != 0 {
		if _, err := m.code(tile{Rows: 1, Cols: panelCols(f)}); err != nil {
			m.features, m.refused = 0, err
			return m
		}
		m.blocks, m.pairs = blocksFor(m), blocksFor(m)
		m.pairs.pairs = true
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
	clear(m.funcs)
}

// coder makes code: a tile, x86.Pack, or another value that tells all of it.
type coder interface {
	Program(x86.Features) (*x86.Prog, error)
}

// tile is a micro-kernel.
type tile x86.Tile

func (t tile) Program(f x86.Features) (*x86.Prog, error) { return x86.Tile(t).Program(f, nil) }

// code gives code, which is made where it is asked for first.
func (m *machine) code(of coder) (x86.Func, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.funcs[of]; ok {
		return f, nil
	}
	p, err := of.Program(m.features)
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
	m.funcs[of] = f[0]
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
