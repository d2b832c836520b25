package sym

import "sync"

// memo keeps answers of a context that does not change: passes and the verifier ask the
// same of the same dims over and over.
type memo struct {
	mu      sync.Mutex
	answers map[question]any
}

type question struct{ what, key string }

// maxAnswers bounds a memo.
const maxAnswers = 1 << 14

// remember answers a question about e, by compute where it was not asked before.
func remember[T any](c *Context, what string, e Expr, compute func() T) T {
	if c == nil || c.memo == nil {
		return compute()
	}
	m, q := c.memo, question{what, e.Key()}
	m.mu.Lock()
	v, ok := m.answers[q]
	m.mu.Unlock()
	if ok {
		return v.(T)
	}
	answer := compute() // without the lock: it asks, too
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil || len(m.answers) >= maxAnswers {
		m.answers = map[question]any{}
	}
	m.answers[q] = answer
	return answer
}
