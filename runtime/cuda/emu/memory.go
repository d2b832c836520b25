package emu

import (
	"fmt"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// allocation is a piece of the device's memory. It lies in the middle of a slot of its own, so
// that what is before and behind it belongs to nobody, and its address is never given out again.
type allocation struct {
	base     uint64
	data     []byte
	freed    bool
	readOnly bool
	shadow   *shadow // what touched it, while a launch that finds races runs
}

// memory is that of a device, of a limited size.
type memory struct {
	slots       []*allocation // by slot, the first being slot 1
	used, limit int64
}

const poison = 0xFB // fills what holds anything: as f32 a large negative number, as f16 a NaN

func (m *memory) alloc(bytes int64) (*allocation, error) {
	const call = "cuMemAlloc"
	if bytes <= 0 {
		return nil, driver.Errorf(call, driver.InvalidValue, "%d bytes", bytes)
	}
	size := alignUp(bytes, 256)
	if bytes > slotBytes/2 || size > m.limit-m.used {
		return nil, driver.Errorf(call, driver.OutOfMemory, "%d bytes asked for, %d of %d are free", bytes, m.limit-m.used, m.limit)
	}
	a := &allocation{base: uint64(len(m.slots)+1)<<slotBits + slotBytes/2, data: make([]byte, bytes)}
	for i := range a.data {
		a.data[i] = poison
	}
	m.used += size
	m.slots = append(m.slots, a)
	return a, nil
}

func (m *memory) free(p uint64) error {
	const call = "cuMemFree"
	a := m.find(p)
	switch {
	case a == nil || a.base != p:
		return driver.Errorf(call, driver.InvalidValue, "%#x is not the start of an allocation", p)
	case a.freed:
		return driver.Errorf(call, driver.InvalidValue, "%#x was freed before", p)
	}
	m.used -= alignUp(int64(len(a.data)), 256)
	a.data, a.freed, a.shadow = nil, true, nil
	return nil
}

// find gives the allocation in whose slot p is, alive or not; nil if there was none.
func (m *memory) find(p uint64) *allocation {
	i := p>>slotBits - 1
	if i >= uint64(len(m.slots)) {
		return nil
	}
	return m.slots[i]
}

// bytes gives n bytes at p, for a copy.
func (m *memory) bytes(call string, p driver.Ptr, n int64) ([]byte, error) {
	if n < 0 {
		return nil, driver.Errorf(call, driver.InvalidValue, "%d bytes", n)
	}
	if n == 0 {
		return nil, nil
	}
	a := m.find(uint64(p))
	if why := outside(a, uint64(p), uint64(n)); why != "" {
		return nil, driver.Errorf(call, driver.InvalidValue, "%d bytes at %#x: %s", n, uint64(p), why)
	}
	off := uint64(p) - a.base
	return a.data[off : off+uint64(n)], nil
}

// outside says why n bytes at p do not lie in a; "" if they do.
func outside(a *allocation, p, n uint64) string {
	switch {
	case a == nil:
		return "nothing was allocated there"
	case a.freed:
		return "that memory was freed"
	}
	off, size := p-a.base, uint64(len(a.data))
	if off < size && n <= size-off {
		return ""
	}
	if p < a.base {
		return fmt.Sprintf("%d bytes before an allocation of %d", a.base-p, size)
	}
	if off < size {
		return fmt.Sprintf("from byte %d on of an allocation of %d", off, size)
	}
	return fmt.Sprintf("%d bytes behind the end of an allocation of %d", off-size, size)
}
