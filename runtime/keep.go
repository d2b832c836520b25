package runtime

import (
	"encoding/binary"
	"math"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/tensor"
)

// Kept is a place for what a device makes of constants once, for all runs of an executable and
// all sizes: weights as its kernels want them.
type Kept struct {
	of     *keeper
	making sync.Mutex
	room   []byte // for it, where it could not be made
	made   atomic.Pointer[tensor.Tensor]
}

// NewKept gives a place with room for so many bytes.
func NewKept(bytes int64) *Kept { return &Kept{of: &keeper{allowed: bytes}} }

// NewKeptIn gives a place whose memory comes from alloc.
func NewKeptIn(alloc func(bytes int64) ([]byte, error)) *Kept {
	return &Kept{of: &keeper{allowed: math.MaxInt64 - keptAnyway, alloc: alloc}}
}

// Get is what was made; nil: nothing yet.
func (k *Kept) Get() *tensor.Tensor { return k.made.Load() }

// Make makes it: n elements that fill writes. Who comes meanwhile waits for it: which zeros a product
// leaves out, and with that bits of a result, goes by what is kept. It is nil where there is no room: then the run does without.
func (k *Kept) Make(d tensor.DType, n int64, fill func(t *tensor.Tensor) error) (*tensor.Tensor, error) {
	k.making.Lock()
	defer k.making.Unlock()
	if t := k.made.Load(); t != nil {
		return t, nil
	}
	size, ok := d.ByteLen(n)
	if !ok || !k.of.take(size) {
		return nil, nil
	}
	var err error
	if int64(len(k.room)) != size {
		k.room, err = k.of.place(size)
	}
	t := new(tensor.Tensor)
	if err == nil {
		err = t.Own(d, []int64{n}, k.room)
	}
	if err == nil {
		err = fill(t)
	}
	if err != nil {
		k.of.take(-size)
		return nil, err
	}
	k.room = nil
	k.made.Store(t)
	return t, nil
}

// keeper has what is kept of an executable: twice what constants that are asked for would take
// in f32, at most, and a little for what is small. A run holds on to the one that it began with.
type keeper struct {
	mu            sync.Mutex
	places        map[string]*Kept
	seen          map[*byte]bool                    // constants
	used, allowed int64                             // bytes
	room          []byte                            // for what comes next
	alloc         func(bytes int64) ([]byte, error) // nil: as place does it
	chunk         int64                             // bytes that were made at a time, last
	outside       []outside
	runs          int  // that hold on to it
	dropped       bool // with the last of these it gives back what is not Go's
}

// outside is memory that is not Go's.
type outside struct {
	free   func()
	forgot goruntime.Cleanup // frees it where nobody does
}

// enter says whether a run may hold on to a keeper. It does so until it leaves.
func (k *keeper) enter() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.dropped {
		k.runs++
	}
	return !k.dropped
}

func (k *keeper) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.runs--
	k.free()
}

// drop lets no other run enter.
func (k *keeper) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropped = true
	k.free()
}

// free gives back what is not Go's, where nobody uses it any more: Go's collector, which does not count it, may be long
// in coming.
func (k *keeper) free() {
	if !k.dropped || k.runs > 0 {
		return
	}
	for _, o := range k.outside {
		o.forgot.Stop()
		o.free()
	}
	k.outside, k.places, k.room = nil, nil, nil
}

// make gives memory that is there as long as the keeper is. A lot of it is not Go's: its collector would come in the
// first run just because weights were packed, and clear what is written right afterwards.
func (k *keeper) make(bytes int64) ([]byte, error) {
	if b, free := tensor.Outside(bytes); b != nil {
		k.outside = append(k.outside, outside{free, goruntime.AddCleanup(k, func(free func()) { free() }, free)})
		return b, nil
	}
	t, err := tensor.Make(tensor.U8, []int64{bytes})
	if err != nil {
		return nil, err
	}
	return t.Bytes(), nil
}

const keptAnyway = 1 << 20

// keptAlways is what is so small that there is room for it: a verdict on a constant would be looked for in each run.
const keptAlways = 16

// What is kept lies side by side in chunks, so that it gets large pages: each chunk four times as large
// as the one before, and with room for two of what it is made for. What a chunk has no room for two of has
// memory of its own.
const leastChunk, mostChunk = 1 << 18, 32 << 20

// place gives memory for so many bytes.
func (k *keeper) place(bytes int64) ([]byte, error) {
	if k.alloc != nil {
		return k.alloc(bytes)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	size := analysis.Aligned(bytes)
	if size > mostChunk/2 {
		return k.make(bytes)
	}
	if size > int64(len(k.room)) {
		k.chunk = max(leastChunk, min(max(4*k.chunk, 2*size), mostChunk))
		var err error
		if k.room, err = k.make(k.chunk); err != nil {
			return nil, err
		}
	}
	b := k.room[:bytes:bytes]
	k.room = k.room[size:]
	return b, nil
}

func (k *keeper) take(bytes int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes > keptAlways && k.used+bytes > k.allowed+keptAnyway {
		return false
	}
	k.used += bytes
	return true
}

// Constants is how many bytes those take in f32 that places of the executable were asked for: what its runs go through, time and again.
func (k *Kept) Constants() int64 {
	k.of.mu.Lock()
	defer k.of.mu.Unlock()
	return k.of.allowed / 2
}

// KeptBytes is what a device has made of constants, and keeps.
func (x *Executable) KeptBytes() int64 {
	k := x.kept.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.used
}

// constant is an operand of the call that is a constant, else nil.
func (s *stmt) constant(i int) *tensor.Tensor {
	if i >= len(s.args) || s.args[i].v == nil || s.args[i].v.Const == nil {
		return nil
	}
	return s.args[i].v.Const.Tensor
}

// Keep is the place for something that is made of constants.
func (l *lent) Keep(args []int, key string) *Kept {
	if l.s == nil {
		return nil
	}
	id := l.mc.key[:0]
	for _, i := range args {
		t := l.s.constant(i)
		if t == nil || len(t.Bytes()) == 0 {
			return nil
		}
		id = binary.LittleEndian.AppendUint64(id, uint64(uintptr(unsafe.Pointer(&t.Bytes()[0]))))
	}
	id = append(id, key...)
	l.mc.key = id
	k := l.mc.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.places[string(id)]; p != nil {
		return p
	}
	if k.places == nil {
		k.places, k.seen = map[string]*Kept{}, map[*byte]bool{}
	}
	for _, i := range args {
		t := l.s.constant(i)
		if at := &t.Bytes()[0]; !k.seen[at] {
			k.seen[at] = true
			k.allowed += 8 * t.Len()
		}
	}
	p := &Kept{of: k}
	k.places[string(id)] = p
	return p
}
