package emu

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// launch is a run of a function.
type launch struct {
	fn          *function
	text        string
	cfg         driver.Launch
	opts        *Options
	info        *driver.Info
	mem         *memory
	params      []byte
	sharedBytes int
	number      int
	races       *races
	budget      atomic.Int64
	atomicMu    sync.Mutex
}

func dimOf(i int, g driver.Dim) driver.Dim {
	return driver.Dim{X: i % g.X, Y: i / g.X % g.Y, Z: i / g.X / g.Y}
}

// spend takes n instructions from what the launch may run.
func (l *launch) spend(w *warp, n int64) {
	if l.budget.Add(-n) >= 0 {
		return
	}
	pc := w.pc
	if w.mask == 0 && len(w.others) > 0 {
		pc = w.others[0].pc
	}
	panic(w.newFault(&l.fn.code[min(pc, len(l.fn.code)-1)], Budget, 0, "the launch has run its %d instructions: does it end?", l.opts.Budget))
}

// run runs all blocks: in a row where races between them are looked for, else side by side.
func (l *launch) run() (Counters, *Fault) {
	l.budget.Store(l.opts.Budget)
	n := l.cfg.Grid.Count()
	sum := Counters{Launches: 1}
	workers := min(n, l.opts.Workers)
	if workers <= 0 {
		workers = min(n, runtime.GOMAXPROCS(0))
	}
	if l.races != nil {
		workers = 1
	}
	if workers == 1 {
		b := newBlock(l)
		var perm *permutation
		if l.opts.Seed != 0 {
			perm = newPermutation(n, rand.New(rand.NewPCG(l.opts.Seed, 0)))
		}
		for i := range n {
			if f := b.run(perm.at(i)); f != nil {
				sum.add(&b.stats)
				return sum, f
			}
		}
		sum.add(&b.stats)
		return sum, nil
	}
	var next atomic.Int64
	var failed atomic.Pointer[Fault]
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b := newBlock(l)
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					break
				}
				if f := b.run(i); f != nil {
					failed.CompareAndSwap(nil, f)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(&b.stats)
		}()
	}
	wg.Wait()
	return sum, failed.Load()
}

// permutation is an order of n blocks: without a list, for there may be many.
type permutation struct{ n, step, start int }

func newPermutation(n int, r *rand.Rand) *permutation {
	p := &permutation{n: n, step: 1, start: r.IntN(n)}
	for range 16 {
		if s := 1 + r.IntN(n); gcd(s, n) == 1 {
			p.step = s
			break
		}
	}
	return p
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (p *permutation) at(i int) int {
	if p == nil {
		return i
	}
	return int((uint64(p.start) + uint64(i)%uint64(p.n)*uint64(p.step)) % uint64(p.n))
}
