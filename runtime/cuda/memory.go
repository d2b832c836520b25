package cuda

import (
	"fmt"
	"math/bits"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// block is memory of the device.
type block struct {
	at   driver.Ptr
	size int64 // of its class
}

// pool keeps memory of the device between runs.
type pool struct {
	ctx  driver.Context
	mu   sync.Mutex
	free map[int64][]driver.Ptr // by size
}

// classSize is the size of the class of so many bytes: four for each power of two, 256 bytes at least.
func classSize(n int64) int64 {
	n = max(n, 256)
	step := int64(1) << max(bits.Len64(uint64(n-1))-3, 0)
	return (n + step - 1) / step * step
}

// get gives so many bytes, which hold anything.
func (p *pool) get(n int64) (block, error) {
	size := classSize(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if list := p.free[size]; len(list) > 0 {
		p.free[size] = list[:len(list)-1]
		return block{list[len(list)-1], size}, nil
	}
	at, err := p.ctx.Alloc(size)
	if driver.ResultOf(err) == driver.OutOfMemory {
		if err := p.drop(); err != nil {
			return block{}, err
		}
		at, err = p.ctx.Alloc(size)
	}
	if err != nil {
		return block{}, diag.As(fmt.Errorf("%d bytes on the device: %w", n, err), diag.Run)
	}
	return block{at, size}, nil
}

// drop gives back what nobody uses.
func (p *pool) drop() error {
	for size, list := range p.free {
		for _, at := range list {
			if err := p.ctx.Free(at); err != nil {
				return wrap(err)
			}
		}
		delete(p.free, size)
	}
	return nil
}

// put takes memory back.
func (p *pool) put(b block) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == nil {
		p.free = map[int64][]driver.Ptr{}
	}
	p.free[b.size] = append(p.free[b.size], b.at)
}

// constants are those that are on the device, for as long as it is open. They are told by where they lie
// on the host, where they stay for as long.
type constants struct {
	d  *Device
	mu sync.Mutex
	at map[constant]driver.Ptr
}

type constant struct {
	first *byte
	bytes int
}

// get is where a constant is; it is copied where it is not there yet.
func (c *constants) get(data []byte, s driver.Stream) (driver.Ptr, error) {
	key := constant{&data[0], len(data)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.at[key]; ok {
		return p, nil
	}
	m, err := c.d.pool.get(int64(len(data)))
	if err != nil {
		return 0, err
	}
	if err := c.d.ctx.HtoD(m.at, data, s); err != nil {
		return 0, wrap(err)
	}
	if err := c.d.ctx.Synchronize(s); err != nil { // other streams read it
		return 0, wrap(err)
	}
	if c.at == nil {
		c.at = map[constant]driver.Ptr{}
	}
	c.at[key] = m.at
	return m.at, nil
}
