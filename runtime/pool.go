package runtime

import (
	"math/bits"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
)

// Pool keeps memory between runs, so that a run like the one before allocates nothing.
// Concurrent runs share it. It holds at most what its runs used at the same time.
type Pool struct {
	mu   sync.Mutex
	free map[int][][]byte // by class
}

// class is the size class of n bytes: four for each power of two, 64 bytes at least.
func class(n int64) (c int, size int64) {
	n = max(n, 64)
	top := bits.Len64(uint64(n - 1))  // n <= 1<<top
	step := int64(1) << max(top-3, 0) // a quarter of 1<<(top-1)
	size = (n + step - 1) / step * step
	return top*8 + int((size-1)>>max(top-3, 0)&7), size
}

func (p *Pool) get(n int64) []byte {
	c, size := class(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if list := p.free[c]; len(list) > 0 {
		b := list[len(list)-1]
		p.free[c] = list[:len(list)-1]
		return b[:n]
	}
	return tensor.New(tensor.U8, size).Bytes()[:n]
}

func (p *Pool) put(b []byte) {
	if cap(b) == 0 {
		return
	}
	c, size := class(int64(cap(b)))
	if size != int64(cap(b)) {
		return // not one of ours
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == nil {
		p.free = map[int][][]byte{}
	}
	p.free[c] = append(p.free[c], b[:cap(b)])
}

// Trim gives all memory that no run uses back to Go.
func (p *Pool) Trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = nil
}

// arena is the memory of one run: it counts against the budget, and knows how many
// values share each piece.
type arena struct {
	pool   *Pool
	budget int64 // 0: none
	mu     sync.Mutex
	used   int64
	peak   int64
	owned  map[*byte]*piece
}

type piece struct {
	b    []byte
	refs int
}

func base(t *tensor.Tensor) *byte {
	if b := t.Bytes(); len(b) > 0 {
		return &b[0]
	}
	return nil
}

// Alloc makes a tensor; over the budget it is refused before memory is touched.
func (a *arena) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	n, ok := tensor.Count(shape)
	size, ok2 := d.ByteLen(n)
	if !ok || !ok2 {
		return nil, diag.New(diag.Run, "a tensor of shape %v is too large", shape)
	}
	if d == tensor.String || size == 0 {
		t, err := tensor.Make(d, shape)
		if err != nil {
			return nil, diag.As(err, diag.Run)
		}
		return t, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fits(size); err != nil {
		return nil, err
	}
	b := a.pool.get(size)
	a.used += size
	a.peak = max(a.peak, a.used)
	a.owned[&b[0]] = &piece{b: b}
	return tensor.FromBytes(d, shape, b)
}

// room says whether the budget has room for so many bytes more.
func (a *arena) room(size int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fits(size)
}

func (a *arena) fits(size int64) error {
	if a.budget > 0 && size > a.budget-a.used {
		return diag.New(diag.Run, "the run needs more than its budget of %d bytes: %d are in use, %d more are needed", a.budget, a.used, size).
			Hint("raise `memory` in [target] of the pipeline, or use smaller inputs")
	}
	return nil
}

// Free gives a tensor of Alloc back.
func (a *arena) Free(t *tensor.Tensor) {
	p := base(t)
	if p == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.release(p)
}

func (a *arena) release(p *byte) {
	if x := a.owned[p]; x != nil {
		delete(a.owned, p)
		a.used -= int64(len(x.b))
		a.pool.put(x.b)
	}
}

// hold says that one more value uses the memory of v.
func (a *arena) hold(v tensor.Value) {
	a.mu.Lock()
	defer a.mu.Unlock()
	eachTensor(v, func(t *tensor.Tensor) {
		if x := a.owned[base(t)]; x != nil {
			x.refs++
		}
	})
}

// drop says that one value less does; the last one gives the memory back.
func (a *arena) drop(v tensor.Value) {
	a.mu.Lock()
	defer a.mu.Unlock()
	eachTensor(v, func(t *tensor.Tensor) {
		if x := a.owned[base(t)]; x != nil {
			if x.refs--; x.refs <= 0 {
				a.release(base(t))
			}
		}
	})
}

// close ends the run: all memory goes back to the pool but what results hold, which is
// the caller's from now on.
func (a *arena) close(results []tensor.Value) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range results {
		eachTensor(v, func(t *tensor.Tensor) { delete(a.owned, base(t)) })
	}
	for p := range a.owned {
		a.release(p)
	}
}

func eachTensor(v tensor.Value, f func(*tensor.Tensor)) {
	switch v := v.(type) {
	case *tensor.Tensor:
		if v != nil {
			f(v)
		}
	case *tensor.Sequence:
		for _, e := range v.Elems {
			eachTensor(e, f)
		}
	case *tensor.Optional:
		eachTensor(v.Elem, f)
	}
}
