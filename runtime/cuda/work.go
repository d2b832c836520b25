package cuda

import (
	"cmp"
	"slices"
	"sync"

	"github.com/pitopt/pitopt/core/ir"
	rt "github.com/pitopt/pitopt/runtime"
)

// work counts what was computed where.
type work struct {
	mu     sync.Mutex
	device int64
	host   map[rt.HostStage]int64
	bytes  [2]int64 // copied to the device, and back
}

func (w *work) up(n int)   { w.copied(0, n) }
func (w *work) down(n int) { w.copied(1, n) }

func (w *work) copied(way, n int) {
	w.mu.Lock()
	w.bytes[way] += int64(n)
	w.mu.Unlock()
}

func (w *work) onDevice(stages int64) {
	w.mu.Lock()
	w.device += stages
	w.mu.Unlock()
}

func (w *work) onHost(p *ir.Program, s *ir.Stage, why string) {
	w.mu.Lock()
	if w.host == nil {
		w.host = map[rt.HostStage]int64{}
	}
	w.host[rt.HostStage{Program: p.Name, Stage: s.Out().Name, Why: why}]++
	w.mu.Unlock()
}

// Division tells what was computed where, since the device was made.
func (d *Device) Division() rt.Division {
	w := &d.work
	w.mu.Lock()
	defer w.mu.Unlock()
	out := rt.Division{Emulated: d.info.Emulated, Device: w.device, Up: w.bytes[0], Down: w.bytes[1]}
	for s, n := range w.host {
		out.Host += n
		out.Left = append(out.Left, rt.Left{HostStage: s, Times: n})
	}
	slices.SortFunc(out.Left, func(a, b rt.Left) int {
		return cmp.Or(cmp.Compare(a.Program, b.Program), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Why, b.Why))
	})
	return out
}
