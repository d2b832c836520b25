package interp

import (
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
)

// memory counts the bytes of live tensors against a budget. A tensor that several
// values hold counts once.
type memory struct {
	budget int64 // 0: none
	used   int64
	held   map[*tensor.Tensor]int
}

// Alloc makes a tensor of zeros and holds it; over the budget it is refused before
// any memory is touched.
func (m *memory) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	n, ok := tensor.Count(shape)
	size, ok2 := d.ByteLen(n)
	if d == tensor.String {
		size, ok2 = n*stringHeader, n < 1<<56
	}
	if !ok || !ok2 {
		return nil, diag.New(diag.Run, "a tensor of shape %v is too large", shape)
	}
	if err := m.room(size); err != nil {
		return nil, err
	}
	t, err := tensor.Make(d, shape)
	if err != nil {
		return nil, diag.As(err, diag.Run)
	}
	m.hold(t)
	return t, nil
}

// Free gives up what Alloc holds.
func (m *memory) Free(t *tensor.Tensor) { m.drop(t) }

func (m *memory) room(size int64) error {
	if m.budget > 0 && size > m.budget-m.used {
		return diag.New(diag.Run, "the run needs more than its budget of %d bytes: %d are in use, %d more are needed", m.budget, m.used, size).
			Hint("raise `memory` in [target] of the pipeline, or use smaller inputs")
	}
	return nil
}

// hold counts a value; drop takes it back.
func (m *memory) hold(v tensor.Value) {
	tensor.Each(v, func(t *tensor.Tensor) {
		if m.held == nil {
			m.held = map[*tensor.Tensor]int{}
		}
		if m.held[t]++; m.held[t] == 1 {
			m.used += size(t)
		}
	})
}

func (m *memory) drop(v tensor.Value) {
	tensor.Each(v, func(t *tensor.Tensor) {
		switch m.held[t] {
		case 0:
		case 1:
			delete(m.held, t)
			m.used -= size(t)
		default:
			m.held[t]--
		}
	})
}

// size is the memory of a tensor; of strings, that of their headers and bytes.
func size(t *tensor.Tensor) int64 {
	n := int64(len(t.Bytes()))
	for _, s := range t.Strings() {
		n += stringHeader + int64(len(s))
	}
	return n
}

const stringHeader = 16
