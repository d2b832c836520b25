package cpu

import (
	"math"
	"math/rand/v2"
	"time"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// Tune measures what tiles cost on this machine, on one thread. It takes some seconds.
func (d *Device) Tune() (*TileTable, error) {
	if d.err != nil {
		return nil, d.err
	}
	if !d.machine.enter() {
		return nil, diag.New(diag.Usage, "there is no machine code here, whose tiles could be measured; portable Go has one way to leave out zeros")
	}
	defer d.machine.leave()
	t := *d.builtIn()
	m := &tuning{cut: d.machine.blocks, r: rand.New(rand.NewPCG(1, 2))}
	t.Step, t.List = nil, nil
	m.fill()
	for _, rows := range t.Rows {
		step, err := m.tile(tile{Rows: rows, Cols: m.cut.nr}, tuneDepth, tuneDepth, 1)
		if err != nil {
			return nil, err
		}
		list, err := m.tile(tile{Rows: rows, Cols: m.cut.nr, List: true}, tuneDepth/tuneSkips, tuneDepth, tuneLists)
		if err != nil {
			return nil, err
		}
		t.Step, t.List = append(t.Step, step/tuneDepth), append(t.List, list/(tuneDepth/tuneSkips))
	}
	var err error
	if t.Call, err = m.tile(tile{Rows: 4, Cols: m.cut.nr}, 0, tuneDepth, 1); err != nil {
		return nil, err
	}
	for i := range t.List {
		t.List[i] -= t.Call / (tuneDepth / tuneSkips)
		t.Step[i] -= t.Call / tuneDepth
	}
	ns, err := m.tile(tile{Rows: 1, Cols: m.cut.nr, List: true}, x86.TileAhead, tuneDepth, tuneLists)
	if err != nil {
		return nil, err
	}
	t.Start = max(ns-x86.TileAhead*t.List[0], t.Call)
	const few = 64
	wide := wideColumns(m.cut, math.MaxInt32)
	if ns, err = m.tile(tile{Rows: 1, Cols: wide, List: true}, few, len(m.b)/wide, tuneLists); err != nil {
		return nil, err
	}
	t.Wide = max(ns-t.Start, 0) / few / float64(wide/m.cut.nr)
	if err := m.memory(&t); err != nil {
		return nil, err
	}
	return &t, nil
}

const (
	tuneDepth = 2048    // of a panel that stays in the second-level cache
	tuneSkips = 8       // a list has one of so many rows of it
	tuneLists = 64      // that take turns
	tuneB     = 1 << 21 // elements that do not stay in the second-level cache
)

// tuning measures tiles.
type tuning struct {
	cut  *blocks
	r    *rand.Rand
	a, b []float32
	c    []float32
	rows []unsafe.Pointer
	list []int32 // lists, one behind the other
}

func (m *tuning) fill() {
	m.a, m.b, m.c = make([]float32, tuneDepth*m.cut.mr+1024), make([]float32, tuneB), make([]float32, m.cut.mr*4096+wideColumns(m.cut, math.MaxInt32))
	for i := range m.b {
		m.b[i] = m.r.Float32() - 0.5
	}
	for i := range m.a {
		m.a[i] = m.r.Float32() - 0.5
	}
	for i := range m.cut.mr {
		m.rows = append(m.rows, unsafe.Pointer(&m.c[i*4096]))
	}
}

// best is the least time of a call of f, in nanoseconds, over some runs of some calls.
func best(f func()) float64 {
	f()
	least := time.Hour
	for range 15 {
		calls := 0
		start := time.Now()
		for time.Since(start) < 500*time.Microsecond {
			f()
			calls++
		}
		least = min(least, time.Since(start)/time.Duration(calls))
		if took := time.Since(start); calls > 8 {
			least = min(least, took/time.Duration(calls))
		}
	}
	return float64(least.Nanoseconds())
}

// tile is what a tile takes that goes over so many of some rows of b, which some lists in turn name.
func (m *tuning) tile(t tile, k, rows, lists int) (float64, error) {
	f, err := m.cut.code.code(t)
	if err != nil {
		return 0, err
	}
	skip := rows / max(k, 1)
	m.list = m.list[:0]
	for range lists {
		for i := range k + x86.TileAhead {
			m.list = append(m.list, int32(4*t.Cols*(skip*(i%max(k, 1))+m.r.IntN(skip))))
		}
	}
	g := &x86.TileArgs{K: int64(k), A: unsafe.Pointer(&m.a[0]), B: unsafe.Pointer(&m.b[0]), C: unsafe.Pointer(&m.rows[0]), Count: int64(t.Cols)}
	const calls = 16
	at := 0
	ns := best(func() {
		for range calls {
			g.List = unsafe.Pointer(&m.list[at*(k+x86.TileAhead)])
			at = (at + 1) % lists
			f.Call(unsafe.Pointer(g))
		}
	}) / calls
	return ns, nil
}

// memory measures what moves elements.
func (m *tuning) memory(t *TileTable) error {
	const rows, depth = 64, 1024
	far := make([]float32, 16<<20)
	for i := range far { // what was never written is one page of zeros
		far[i] = 1
	}
	w := &worker[float32]{lists: new(lists), cut: m.cut}
	w.lists.fit(m.cut)
	lines, offs, list := make([]int, m.cut.mr), make([]int, depth), make([]int32, depth/tuneSkips)
	for i := range offs {
		offs[i] = i
	}
	for i := range lines {
		lines[i] = i * depth
	}
	for i := range list {
		list[i] = int32(i * tuneSkips)
	}
	var err error
	ns := best(func() { err = w.pack(m.a[:len(lines)*depth], len(lines), m.b, 0, lines, offs) })
	if err != nil {
		return err
	}
	t.Pack = ns / float64(len(lines)*depth)
	ns = best(func() { gatherTerms(m.a, 4, 1, m.b, depth, offs, list) })
	t.Gather = ns / float64(len(list))
	const compact = 512
	ns = best(func() {
		for i := range compact {
			copy(far[i*depth:][:m.cut.nr], m.a[i*m.cut.nr:])
		}
	})
	t.Sum = ns / float64(compact*m.cut.nr)
	f, err := m.cut.code.code(zeros{})
	if err != nil {
		return err
	}
	words := make([]uint64, len(far)/64)
	const lots, most = 1 << 12, 2 << 20 // what a last-level cache has room for
	at := 0
	ns = best(func() {
		g := &x86.ZerosArgs{Lots: lots, From: unsafe.Pointer(&far[at]), To: unsafe.Pointer(&words[0])}
		f.Call(unsafe.Pointer(g))
		if at += lots * x86.ZerosLot; at+lots*x86.ZerosLot > most {
			at = 0
		}
	})
	t.Far = ns / (4 * lots * x86.ZerosLot)
	t.Wide = max(t.Wide, 0.01)
	for _, x := range []*[]float64{&t.Step, &t.List} {
		for i, v := range *x {
			(*x)[i] = max(v, 0.01)
		}
	}
	return nil
}
