// Package guards has a device for tests: what its runs read and write lies between pages that can not be touched. An
// access one element behind a buffer, or one before it, is an error of the run.
package guards

import (
	"context"
	"runtime/debug"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
)

// Side is where a buffer touches its guard.
type Side int

const (
	Behind Side = iota // its last byte is the last one of a page
	Before             // its first byte is the first one of a page
)

// Device is another device with guards around all memory that it gives to a run: operands, results, temporaries,
// workspaces, and what is made of constants. A run gets copies, so results share memory with nothing. An access that
// hits a guard in a goroutine of the device ends the process, one in that of the caller is the run's error.
type Device struct {
	runtime.Device
	Side Side
	// Short, where it is set, says whether the guard begins at the last element of a buffer instead of behind it:
	// a test of the guards. The name is that of a buffer of the program, "workspace", or "kept".
	Short func(name string) bool

	mu   sync.Mutex
	kept map[*runtime.Kept]*runtime.Kept
}

// New puts guards around the runs of a device.
func New(d runtime.Device, side Side) *Device { return &Device{Device: d, Side: side} }

// Run runs the device on copies.
func (g *Device) Run(ctx context.Context, kernel string, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem runtime.Memory) (err error) {
	m := &memory{g: g, of: mem, places: map[*tensor.Tensor][]byte{}}
	defer m.close()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "program @%s failed between guards: %v", p.Name, v)
		}
	}()
	buffers := append(append([]*ir.Buffer{}, p.Params...), p.Results...)
	buffers = append(buffers, p.Temps()...)
	copies := make([]*tensor.Tensor, len(args)+len(results))
	for i, t := range append(append([]*tensor.Tensor{}, args...), results...) {
		if copies[i], err = m.copy(buffers[i].Name, t); err != nil {
			return err
		}
	}
	if err := g.Device.Run(ctx, kernel, p, bind, copies[:len(args)], copies[len(args):], m); err != nil {
		return err
	}
	for i, t := range results[:len(p.Results)] { // temporaries may lie where a result is
		if t != nil && t != copies[len(args)+i] {
			copy(t.Bytes(), copies[len(args)+i].Bytes())
		}
	}
	return nil
}

// memory gives a run memory with guards.
type memory struct {
	g  *Device
	of runtime.Memory

	mu     sync.Mutex
	places map[*tensor.Tensor][]byte
}

// close gives back what the run has not.
func (m *memory) close() {
	for _, b := range m.places {
		release(b)
	}
}

// copy is a tensor with a guard; itself where it has no bytes.
func (m *memory) copy(name string, t *tensor.Tensor) (*tensor.Tensor, error) {
	if t == nil || t.DType() == tensor.String {
		return t, nil
	}
	c, err := m.tensor(name, t.DType(), t.Shape())
	if err == nil && !m.g.short(name) {
		copy(c.Bytes(), t.Bytes())
	}
	return c, err
}

func (m *memory) tensor(name string, d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	n, _ := tensor.Count(shape)
	size, ok := d.ByteLen(n)
	if !ok {
		return nil, diag.New(diag.Run, "a %s of shape %v does not fit memory", d, shape)
	}
	all, b, err := m.g.bytes(name, size, int64(max(1, d.Bits()/8)))
	if err != nil {
		return nil, err
	}
	t, err := tensor.FromBytes(d, shape, b)
	if err != nil {
		release(all)
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.places[t] = all
	return t, nil
}

// Alloc gives a tensor with a guard.
func (m *memory) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	if d == tensor.String {
		return m.of.Alloc(d, shape)
	}
	return m.tensor("workspace", d, shape)
}

// Free takes it back: from then on it can not be touched.
func (m *memory) Free(t *tensor.Tensor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.places[t]
	if !ok {
		m.of.Free(t)
		return
	}
	delete(m.places, t)
	release(b)
}

// Workspace gives none, so that each part of it comes from Alloc and has a guard of its own.
func (m *memory) Workspace(int) ([]byte, error) { return nil, nil }

// Keep has a place of its own for each of the executable's. Its memory stays until the process ends: runs go on with
// what an executable has forgotten.
func (m *memory) Keep(params []int, key string) *runtime.Kept {
	k := m.of.Keep(params, key)
	if k == nil {
		return nil
	}
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	if m.g.kept == nil {
		m.g.kept = map[*runtime.Kept]*runtime.Kept{}
	}
	if m.g.kept[k] == nil {
		m.g.kept[k] = runtime.NewKeptIn(func(size int64) ([]byte, error) {
			_, b, err := m.g.bytes("kept", size, 4)
			return b, err
		})
	}
	return m.g.kept[k]
}

func (g *Device) short(name string) bool { return g.Short != nil && g.Short(name) }

// bytes gives memory for size bytes, and all that belongs to it. elem is the size of an element.
func (g *Device) bytes(name string, size, elem int64) (all, b []byte, err error) {
	beyond := int64(0)
	if g.short(name) {
		beyond = min(elem, size)
	}
	return reserve(size, beyond, g.Side)
}

// Bytes gives memory with a guard, which stays until the process ends.
func Bytes(size int64, side Side) []byte { return Short(size, 0, side) }

// Short is Bytes whose guard begins so many bytes early.
func Short(size, beyond int64, side Side) []byte {
	_, b, err := reserve(size, beyond, side)
	if err != nil {
		panic(err)
	}
	return b
}
