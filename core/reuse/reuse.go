// Package reuse keeps values between uses.
package reuse

import (
	"sync"
	"sync/atomic"
)

// List has values that nobody uses, as many as were in use at the same time. Unlike a
// sync.Pool it keeps them until it is cleared, so that a call like the one before makes none.
type List[T any] struct {
	last atomic.Pointer[T] // that was put: mostly it is the one that is asked for next, and no lock is needed
	mu   sync.Mutex
	idle []*T // those before it
}

// Get gives a value as Put got it, or a new one.
func (l *List[T]) Get() *T {
	if v := l.last.Swap(nil); v != nil {
		return v
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle) - 1
	if n < 0 {
		return new(T)
	}
	v := l.idle[n]
	l.idle[n] = nil
	l.idle = l.idle[:n]
	return v
}

// Put keeps a value, which nobody uses any more.
func (l *List[T]) Put(v *T) {
	if v = l.last.Swap(v); v == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = append(l.idle, v)
}

// Clear gives what is kept to Go.
func (l *List[T]) Clear() {
	l.last.Store(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = nil
}
