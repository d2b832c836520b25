package sym

import "sync"

// memo keeps answers of a context that does not change: passes and the verifier ask the
// same of the same dims over and over.
type memo struct {
	mu      sync.Mutex
	answers map[question]any
	equal   map[[2]*poly]Truth // of expressions by where they are: most are asked of the very same again
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

// equalTo remembers whether two expressions are equal.
func (c *Context) equalTo(a, b Expr, compute func() Truth) Truth {
	if c == nil || c.memo == nil {
		return compute()
	}
	m, q := c.memo, [2]*poly{a.p, b.p}
	m.mu.Lock()
	v, ok := m.equal[q]
	m.mu.Unlock()
	if ok {
		return v
	}
	answer := compute()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.equal == nil || len(m.equal) >= maxAnswers {
		m.equal = map[[2]*poly]Truth{}
	}
	m.equal[q] = answer
	return answer
}
