// Package reuse keeps values between uses.
package reuse

import "sync"

// List has values that nobody uses, as many as were in use at the same time. Unlike a
// sync.Pool it keeps them until it is cleared, so that a call like the one before makes none.
type List[T any] struct {
	mu   sync.Mutex
	idle []*T
}

// Get gives a value as Put got it, or a new one.
func (l *List[T]) Get() *T {
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
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = append(l.idle, v)
}

// Clear gives what is kept to Go.
func (l *List[T]) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = nil
}
