package wire

import (
	"bytes"
	"math"
	"reflect"

	"google.golang.org/protobuf/encoding/protowire"
)

// Encode writes a message: a *Model, *Tensor, *Sequence, *Optional or a part of one.
// What differs nowhere from what was read is written as it was read. The bytes are new:
// they view no file.
func Encode(m message) []byte {
	e := &encoder{changed: map[*Message]bool{}}
	return e.append(make([]byte, 0, len(m.base().raw)+512), m)
}

type encoder struct {
	changed map[*Message]bool // so that each message is compared once
}

// append writes the fields of m.
func (e *encoder) append(b []byte, m message) []byte {
	if !e.isChanged(m) {
		return append(b, m.base().raw...)
	}
	for n := number(1); n <= maxNumber; n++ {
		if f := m.field(n); f != nil && !f.empty() {
			b = f.write(e, b, n)
		}
	}
	return append(b, m.base().Unknown...)
}

// inner writes m with its length in front. One byte is kept for the length, and what
// follows is moved where it takes more.
func (e *encoder) inner(b []byte, m message) []byte {
	at := len(b)
	b = e.append(append(b, 0), m)
	size := uint64(len(b) - at - 1)
	if extra := protowire.SizeVarint(size) - 1; extra > 0 {
		b = append(b, make([]byte, extra)...)
		copy(b[at+1+extra:], b[at+1:])
	}
	protowire.AppendVarint(b[:at], size)
	return b
}

// isChanged says whether a message, or one in it, differs from the bytes it came from:
// it is compared with a second reading of them.
func (e *encoder) isChanged(m message) bool {
	base := m.base()
	if base.raw == nil {
		return true
	}
	changed, known := e.changed[base]
	if !known {
		was := reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
		d := &decoder{start: base.raw, flat: true, left: Limits{Nodes: 1, Depth: 1, Rank: math.MaxInt, Memory: math.MaxInt64}}
		changed = d.decode(was, base.raw) != nil || !e.same(m, was)
		e.changed[base] = changed
	}
	return changed
}

// same says whether the fields of m are those of was, whose inner messages were not read.
func (e *encoder) same(m, was message) bool {
	for n := number(1); n <= maxNumber; n++ {
		if f := m.field(n); f != nil && !f.same(e, was.field(n)) {
			return false
		}
	}
	return bytes.Equal(m.base().Unknown, was.base().Unknown)
}

// unchanged says whether an inner message stands where was, not read, stood.
func (e *encoder) unchanged(m, was message) bool {
	return bytes.Equal(m.base().raw, was.base().raw) && !e.isChanged(m)
}
