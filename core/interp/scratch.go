package interp

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/pitopt/pitopt/core/tensor"
)

// scratch is memory for the values of lanes on their way. All stages that are compiled for
// it use the same bytes, from the first one on, so that what is kept of a stage is small,
// and what runs finds warm memory. Of these stages one may run at a time.
type scratch struct {
	busy   atomic.Bool
	chunks [][]byte
}

// chunkBytes is the size of a chunk, 256 lanes of 64 nodes of 16 bytes.
const chunkBytes = 256 << 10

var scratches struct {
	sync.Mutex
	list []*scratch // as many as stages ever ran at the same time
}

// acquire gives a scratch that nobody uses.
func acquire() *scratch {
	scratches.Lock()
	defer scratches.Unlock()
	for _, s := range scratches.list {
		if s.tryAcquire() {
			return s
		}
	}
	s := &scratch{}
	s.busy.Store(true)
	scratches.list = append(scratches.list, s)
	return s
}

func (s *scratch) tryAcquire() bool { return s.busy.CompareAndSwap(false, true) }
func (s *scratch) release()         { s.busy.Store(false) }

// cursor is where the memory of a stage ends in its scratch.
type cursor struct {
	chunk, at int
}

// take gives n bytes behind the cursor. They hold anything.
func (s *scratch) take(c *cursor, n int) []byte {
	const align = 64
	if n = (n + align - 1) &^ (align - 1); c.at+n > chunkBytes {
		*c = cursor{c.chunk + 1, 0}
	}
	for len(s.chunks) <= c.chunk {
		b := make([]byte, chunkBytes+align)
		off := int(-uintptr(unsafe.Pointer(&b[0])) & (align - 1))
		s.chunks = append(s.chunks, b[off:off+chunkBytes])
	}
	b := s.chunks[c.chunk][c.at : c.at+n : c.at+n]
	c.at += n
	return b
}

// room makes a list with an element for each lane, which holds anything.
func room[T tensor.Elem](c *compiler) []T {
	var v T
	if _, text := any(v).(string); text { // pointers do not lie among bytes
		return kept[T](c)
	}
	b := c.scratch.take(&c.cursor, c.width*int(unsafe.Sizeof(v)))
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), c.width)
}

// kept makes a list with an element for each lane, which holds zeros, and what is written
// to it, whatever other stages do.
func kept[T tensor.Elem](c *compiler) []T {
	var v T
	c.bytes += int64(c.width) * int64(unsafe.Sizeof(v))
	return make([]T, c.width)
}

// literals are lanes of literals, which all stages share.
var literals struct {
	sync.Mutex
	lanes map[literalKey]any
}

type literalKey struct {
	d     tensor.DType
	value string
}

// maxLiterals bounds what is kept: 16 MiB of the largest elements.
const maxLiterals = 4096

// literal gives maxLanes times the value of a tensor of one element. They are read only.
func literal[T tensor.Elem](v *tensor.Tensor) []T {
	key := literalKey{v.DType(), string(v.Bytes())}
	if v.DType() == tensor.String {
		key.value = v.Str(0)
	}
	literals.Lock()
	defer literals.Unlock()
	if out, ok := literals.lanes[key].([]T); ok {
		return out
	}
	if literals.lanes == nil || len(literals.lanes) >= maxLiterals {
		literals.lanes = map[literalKey]any{}
	}
	out := make([]T, maxLanes)
	fill(out, cellsOf[T](v).get(0))
	literals.lanes[key] = out
	return out
}
