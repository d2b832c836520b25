package runtime

import (
	"slices"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
)

// arena is the memory of one run: it counts against the budget, and knows how many
// values share each piece. What it does not know is a caller's or a constant's.
type arena struct {
	pool   *Pool
	budget int64 // 0: none
	mu     sync.Mutex
	used   int64
	peak   int64
	pieces map[address]piece
	slabs  [][]byte         // that are in use
	idle   []*tensor.Tensor // that Alloc gave and Free took back
	abroad Abroad           // what the run has on the device; nil: nothing
}

// address is where the elements of a tensor begin. It is zero for a tensor without any.
type address struct {
	bytes *byte
	strs  *string
}

type piece struct {
	b    []byte // of the pool; nil for what an operator made itself, and for strings
	size int64
	refs int
}

func addressOf(t *tensor.Tensor) address {
	switch {
	case len(t.Bytes()) > 0:
		return address{bytes: &t.Bytes()[0]}
	case len(t.Strings()) > 0:
		return address{strs: &t.Strings()[0]}
	}
	return address{}
}

// sizeOf is the memory of a tensor; of strings, that of their headers and bytes.
func sizeOf(t *tensor.Tensor) int64 {
	n := int64(len(t.Bytes()))
	for _, s := range t.Strings() {
		n += stringHeader + int64(len(s))
	}
	return n
}

const stringHeader = 16

// Alloc makes a tensor with one reference. Over the budget it is refused before memory is
// touched. Free takes it back.
func (a *arena) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	var t *tensor.Tensor
	a.mu.Lock()
	if n := len(a.idle) - 1; n >= 0 {
		t, a.idle = a.idle[n], a.idle[:n]
	}
	a.mu.Unlock()
	if t == nil {
		t = new(tensor.Tensor)
	}
	return a.allocAs(t, d, shape)
}

// Free gives up the reference that Alloc gave, and the tensor.
func (a *arena) Free(t *tensor.Tensor) {
	a.drop(t)
	t.Disown()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle = append(a.idle, t)
}

// allocAs is Alloc of a tensor that is nobody else's, or, of one that strings or no elements make,
// of another.
func (a *arena) allocAs(t *tensor.Tensor, d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	n, ok := tensor.Count(shape)
	size, ok2 := d.ByteLen(n)
	if d == tensor.String && ok {
		size, ok2 = n*stringHeader, n < 1<<56
	}
	if !ok || !ok2 {
		return nil, diag.New(diag.Run, "a tensor of shape %v is too large", shape)
	}
	if size == 0 && d != tensor.String {
		return t, t.Own(d, shape, []byte{})
	}
	if d == tensor.String {
		if err := a.reserve(size); err != nil {
			return nil, err
		}
		t, err := tensor.Make(d, shape)
		if err != nil {
			a.unreserve(size)
			return nil, diag.As(err, diag.Run)
		}
		a.own(t, piece{size: size, refs: 1})
		return t, nil
	}
	if err := a.reserve(size); err != nil {
		return nil, err
	}
	b, err := a.pool.get(size)
	if err != nil {
		a.unreserve(size)
		return nil, err
	}
	if err := t.Own(d, shape, b); err != nil {
		a.pool.put(b)
		a.unreserve(size)
		return nil, diag.As(err, diag.Run)
	}
	a.over(b)
	clearTail(t)
	a.own(t, piece{b: b, size: size, refs: 1})
	return t, nil
}

// slab gives memory that what is planned lies in. No value begins a reference to it: what
// lies there is known to the plan alone, and copied where a caller is to get it.
func (a *arena) slab(size int64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	if err := a.reserve(size); err != nil {
		return nil, err
	}
	b, err := a.pool.lend(size)
	if err != nil {
		a.unreserve(size)
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slabs = append(a.slabs, b)
	return b, nil
}

// giveBack takes what slab gave.
func (a *arena) giveBack(b []byte) {
	if len(b) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.slabs, func(s []byte) bool { return &s[0] == &b[0] })
	a.slabs = slices.Delete(a.slabs, i, i+1)
	a.used -= int64(len(b))
	a.pool.put(b)
}

// reserve counts size bytes as used.
func (a *arena) reserve(size int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.fits(size); err != nil {
		return err
	}
	a.count(size)
	return nil
}

func (a *arena) count(size int64) {
	a.used += size
	a.peak = max(a.peak, a.used)
}

// room says whether the budget has room for so many bytes more.
func (a *arena) room(size int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fits(size)
}

func (a *arena) fits(size int64) error {
	if size > 0 && a.budget > 0 && size > a.budget-a.used {
		return diag.New(diag.Run, "the run needs more than its budget of %d bytes: %d are in use, %d more are needed", a.budget, a.used, size).
			Hint("raise `memory` in [target] of the pipeline, or use smaller inputs")
	}
	return nil
}

// unreserve counts size bytes as not used any more.
func (a *arena) unreserve(size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used -= size
}

func (a *arena) own(t *tensor.Tensor, p piece) {
	if m := addressOf(t); m != (address{}) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.pieces[m] = p
	}
}

// hold counts one more reference to the memory of v.
func (a *arena) hold(v tensor.Value) {
	a.mu.Lock()
	defer a.mu.Unlock()
	tensor.Each(v, func(t *tensor.Tensor) {
		if p, ok := a.pieces[addressOf(t)]; ok {
			p.refs++
			a.pieces[addressOf(t)] = p
		}
	})
}

// drop counts one reference less; the last one gives the memory back.
func (a *arena) drop(v tensor.Value) {
	a.mu.Lock()
	defer a.mu.Unlock()
	tensor.Each(v, func(t *tensor.Tensor) { a.dropPiece(addressOf(t)) })
}

// dropAt is drop of a tensor that begins at b.
func (a *arena) dropAt(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dropPiece(address{bytes: &b[0]})
}

// dropPiece counts one reference less to memory that the run has.
func (a *arena) dropPiece(m address) {
	p, ok := a.pieces[m]
	if !ok {
		return
	}
	if p.refs--; p.refs > 0 {
		a.pieces[m] = p
		return
	}
	a.forget(m, p)
	if p.b != nil {
		a.pool.put(p.b)
	}
}

func (a *arena) forget(m address, p piece) {
	delete(a.pieces, m)
	a.used -= p.size
}

// adopt counts one reference to what an operator gave: memory that it made itself, or
// that of an operand.
func (a *arena) adopt(v tensor.Value, args []tensor.Value) (err error) {
	var theirs map[address]bool
	a.mu.Lock()
	defer a.mu.Unlock()
	tensor.Each(v, func(t *tensor.Tensor) {
		m := addressOf(t)
		if p, ok := a.pieces[m]; ok {
			p.refs++
			a.pieces[m] = p
			return
		}
		if theirs == nil {
			theirs = map[address]bool{{}: true}
			for _, arg := range args {
				tensor.Each(arg, func(t *tensor.Tensor) { theirs[addressOf(t)] = true })
			}
		}
		if theirs[m] || err != nil { // what is an operand's and not known is a caller's, or a constant's
			return
		}
		p := piece{size: sizeOf(t), refs: 1}
		if err = a.fits(p.size); err == nil {
			a.count(p.size)
			a.pieces[m] = p
		}
	})
	return err
}

// give makes a result the caller's alone: memory of the run is given away, and what a
// caller, a constant or another result has is copied. Old may be a tensor to make it with.
func (a *arena) give(v tensor.Value, old *tensor.Tensor) (tensor.Value, error) {
	switch v := v.(type) {
	case *tensor.Tensor:
		own := func() (tensor.Value, error) {
			if old == nil {
				return v.View(v.Shape()...)
			}
			return old, old.OwnView(v, v.Shape())
		}
		m := addressOf(v)
		if m == (address{}) {
			return own()
		}
		a.mu.Lock()
		p, ok := a.pieces[m]
		if ok {
			delete(a.pieces, m) // its size stays counted
			if p.b != nil {
				a.pool.leave(int64(cap(p.b)))
			}
		}
		a.mu.Unlock()
		if ok {
			return own()
		}
		if err := a.reserve(sizeOf(v)); err != nil {
			return nil, err
		}
		return v.Clone(), nil
	case *tensor.Sequence:
		out := &tensor.Sequence{Elems: make([]tensor.Value, len(v.Elems))}
		for i, e := range v.Elems {
			var err error
			if out.Elems[i], err = a.give(e, nil); err != nil {
				return nil, err
			}
		}
		return out, nil
	case *tensor.Optional:
		if v.Elem == nil {
			return v, nil
		}
		e, err := a.give(v.Elem, nil)
		return &tensor.Optional{Elem: e}, err
	}
	return v, nil
}

// close ends the run: all memory that is left goes back to the pool.
func (a *arena) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pieces {
		if p.b != nil {
			a.pool.put(p.b)
		}
	}
	clear(a.pieces)
	for _, b := range a.slabs {
		a.pool.put(b)
	}
	clear(a.slabs)
	a.slabs = a.slabs[:0]
}
