package runtime

import (
	"math/bits"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
)

// Pool keeps memory between runs, so that a run like the one before takes none from Go.
// Concurrent runs share it. What it keeps and what is in use is together at most what was in
// use at the same time before and a quarter more, so that memory does not grow after the
// largest runs.
type Pool struct {
	mu   sync.Mutex
	free map[int][][]byte // by class, each of the size of its class
	idle int64            // bytes in free
	used int64            // bytes given out
	peak int64            // the most bytes given out at the same time
}

// class is the size class of n bytes: four for each power of two, 64 bytes at least.
func class(n int64) (c int, size int64) {
	n = max(n, 64)
	top := bits.Len64(uint64(n - 1))  // n <= 1<<top
	step := int64(1) << max(top-3, 0) // a quarter of 1<<(top-1)
	size = (n + step - 1) / step * step
	return top*8 + int((size-1)>>max(top-3, 0)&7), size
}

// octave is the distance between the class of a size and that of twice the size.
const octave = 8

// maxClass is above the class of any size.
const maxClass = 64 * octave

// get gives n bytes that may hold anything: what is kept of the class or of one up to twice
// as large, else new memory. Their capacity is the size of a class.
func (p *Pool) get(n int64) ([]byte, error) {
	b, _, err := p.find(n, octave)
	return b, err
}

// lend is get of bytes that come back when the run ends, at the latest: they may be part of
// the largest piece that is kept. All of what is new has pages.
func (p *Pool) lend(n int64) ([]byte, error) {
	b, fresh, err := p.find(n, maxClass)
	if fresh {
		tensor.Touch(b)
	}
	return b, err
}

// find takes what is kept of the class of n bytes or of one that is not further away, the
// smallest one that there is, or new memory.
func (p *Pool) find(n int64, away int) (b []byte, fresh bool, err error) {
	c, size := class(n)
	if b := p.take(c, away); b != nil {
		return b[:n], false, nil
	}
	t, err := tensor.Make(tensor.U8, []int64{size})
	if err != nil {
		return nil, false, diag.As(err, diag.Run)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(size)
	for k := range p.free { // what is kept makes room
		for p.used+p.idle > p.most() && p.pop(k) != nil {
		}
	}
	return t.Bytes()[:n], true, nil
}

// most is what may be kept and in use together.
func (p *Pool) most() int64 { return p.peak + p.peak/4 }

func (p *Pool) count(size int64) {
	p.used += size
	p.peak = max(p.peak, p.used)
}

func (p *Pool) take(c, away int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := c; k <= c+away; k++ {
		if b := p.pop(k); b != nil {
			p.count(int64(len(b)))
			return b
		}
	}
	return nil
}

// pop takes memory of a class out of what is kept.
func (p *Pool) pop(c int) []byte {
	list := p.free[c]
	if len(list) == 0 {
		return nil
	}
	b := list[len(list)-1]
	list[len(list)-1] = nil
	p.free[c] = list[:len(list)-1]
	p.idle -= int64(len(b))
	return b
}

// put takes back what get gave.
func (p *Pool) put(b []byte) {
	b = b[:cap(b)]
	c, size := class(int64(len(b)))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == nil {
		p.free = map[int][][]byte{}
	}
	p.used -= size
	p.idle += size
	p.free[c] = append(p.free[c], b)
}

// leave counts memory as given away for good.
func (p *Pool) leave(size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= size
}

// Trim gives all memory that no run uses back to Go.
func (p *Pool) Trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free, p.idle, p.peak = nil, 0, p.used
}
