package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// number is a field number. maxNumber is the largest one that ONNX uses.
type number = protowire.Number

const maxNumber = 26

// message is what decoder and encoder need of a message: its fields by number, nil for
// one that it does not have.
type message interface {
	field(n number) slot
	base() *Message
}

// slot is a field of a message: a place, and how it is read, written and compared.
type slot interface {
	// read takes one occurrence of the field; b is the value without tag and length.
	read(d *decoder, typ protowire.Type, b []byte) error
	empty() bool
	write(e *encoder, b []byte, n number) []byte
	// same says whether was, the same field as the file has it, is equal.
	same(e *encoder, was slot) bool
}

// text is a string for people: kept as it is, UTF-8 or not.
type text struct{ p *string }

func (s text) read(d *decoder, typ protowire.Type, b []byte) error {
	if err := d.want(typ, protowire.BytesType, int64(len(b))); err != nil {
		return err
	}
	*s.p = string(b)
	return nil
}

func (s text) empty() bool                    { return *s.p == "" }
func (s text) same(_ *encoder, was slot) bool { return *s.p == *was.(text).p }

func (s text) write(_ *encoder, b []byte, n number) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), *s.p)
}

// name is a string that something is found by; it has to be UTF-8, as protobuf demands.
type name struct{ p *string }

func (s name) read(d *decoder, typ protowire.Type, b []byte) error {
	if !utf8.Valid(b) {
		return d.errorf("%q is not UTF-8", b[:min(len(b), 64)])
	}
	return text(s).read(d, typ, b)
}

func (s name) empty() bool                                 { return *s.p == "" }
func (s name) same(_ *encoder, was slot) bool              { return *s.p == *was.(name).p }
func (s name) write(e *encoder, b []byte, n number) []byte { return text(s).write(e, b, n) }

// names is a list of names.
type names struct{ p *[]string }

func (s names) read(d *decoder, typ protowire.Type, b []byte) error {
	var v string
	if err := (name{&v}).read(d, typ, b); err != nil {
		return err
	}
	*s.p = append(*s.p, v)
	return d.charge(int64(unsafe.Sizeof(v)))
}

func (s names) empty() bool                    { return len(*s.p) == 0 }
func (s names) same(_ *encoder, was slot) bool { return slices.Equal(*s.p, *was.(names).p) }

func (s names) write(_ *encoder, b []byte, n number) []byte {
	for _, v := range *s.p {
		b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
	}
	return b
}

// data is a view of bytes.
type data struct{ p *[]byte }

func (s data) read(d *decoder, typ protowire.Type, b []byte) error {
	*s.p = b
	return d.want(typ, protowire.BytesType, 0)
}

func (s data) empty() bool                    { return len(*s.p) == 0 }
func (s data) same(_ *encoder, was slot) bool { return bytes.Equal(*s.p, *was.(data).p) }

func (s data) write(_ *encoder, b []byte, n number) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), *s.p)
}

// datas is a list of views.
type datas struct{ p *[][]byte }

func (s datas) read(d *decoder, typ protowire.Type, b []byte) error {
	*s.p = append(*s.p, b)
	return d.want(typ, protowire.BytesType, int64(unsafe.Sizeof(b)))
}

func (s datas) empty() bool { return len(*s.p) == 0 }

func (s datas) same(_ *encoder, was slot) bool {
	return slices.EqualFunc(*s.p, *was.(datas).p, bytes.Equal)
}

func (s datas) write(_ *encoder, b []byte, n number) []byte {
	for _, v := range *s.p {
		b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
	}
	return b
}

// integer is a number or an enumeration.
type integer[T ~int32 | ~int64] struct{ p *T }

func (s integer[T]) read(d *decoder, typ protowire.Type, b []byte) error {
	v, _ := protowire.ConsumeVarint(b)
	*s.p = T(v)
	return d.want(typ, protowire.VarintType, 0)
}

func (s integer[T]) empty() bool                    { return *s.p == 0 }
func (s integer[T]) same(_ *encoder, was slot) bool { return *s.p == *was.(integer[T]).p }

func (s integer[T]) write(_ *encoder, b []byte, n number) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(int64(*s.p)))
}

// float is a single-precision number.
type float struct{ p *float32 }

func (s float) read(d *decoder, typ protowire.Type, b []byte) error {
	if err := d.want(typ, protowire.Fixed32Type, 0); err != nil {
		return err
	}
	*s.p = math.Float32frombits(binary.LittleEndian.Uint32(b))
	return nil
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

func (s float) empty() bool                    { return sameBits(*s.p, 0) }
func (s float) same(_ *encoder, was slot) bool { return sameBits(*s.p, *was.(float).p) }

func (s float) write(_ *encoder, b []byte, n number) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(b, n, protowire.Fixed32Type), math.Float32bits(*s.p))
}

// floats is a list of numbers; as proto2 has it, it is written unpacked.
type floats struct{ p *[]float32 }

func (s floats) read(d *decoder, typ protowire.Type, b []byte) error {
	if err := d.want(elementOr(typ, protowire.Fixed32Type), protowire.Fixed32Type, int64(len(b))); err != nil {
		return err
	}
	if len(b)%4 != 0 {
		return d.errorf("%d bytes can not hold numbers of 4 bytes each", len(b))
	}
	*s.p = slices.Grow(*s.p, len(b)/4)
	for ; len(b) > 0; b = b[4:] {
		*s.p = append(*s.p, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return nil
}

func (s floats) empty() bool { return len(*s.p) == 0 }

func (s floats) same(_ *encoder, was slot) bool {
	return slices.EqualFunc(*s.p, *was.(floats).p, sameBits)
}

func (s floats) write(_ *encoder, b []byte, n number) []byte {
	for _, v := range *s.p {
		b = protowire.AppendFixed32(protowire.AppendTag(b, n, protowire.Fixed32Type), math.Float32bits(v))
	}
	return b
}

// integers is a list of numbers; as proto2 has it, it is written unpacked.
type integers struct{ p *[]int64 }

func (s integers) read(d *decoder, typ protowire.Type, b []byte) error {
	n, err := d.varints(typ, b)
	if err == nil {
		err = d.charge(8 * int64(n))
	}
	if err != nil {
		return err
	}
	*s.p = slices.Grow(*s.p, n)
	for len(b) > 0 {
		v, k := protowire.ConsumeVarint(b)
		*s.p = append(*s.p, int64(v))
		b = b[k:]
	}
	return nil
}

func (s integers) empty() bool                    { return len(*s.p) == 0 }
func (s integers) same(_ *encoder, was slot) bool { return slices.Equal(*s.p, *was.(integers).p) }

func (s integers) write(_ *encoder, b []byte, n number) []byte {
	for _, v := range *s.p {
		b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
	}
	return b
}

// packed32, packed64 and packedVarints keep a list of numbers as its packed bytes, a
// view. One that comes unpacked or in pieces is put together, which copies it.
type (
	packed32      struct{ p *[]byte }
	packed64      struct{ p *[]byte }
	packedVarints struct{ p *[]byte }
)

func (s packed32) read(d *decoder, typ protowire.Type, b []byte) error {
	return d.gather(s.p, typ, protowire.Fixed32Type, 4, b)
}

func (s packed64) read(d *decoder, typ protowire.Type, b []byte) error {
	return d.gather(s.p, typ, protowire.Fixed64Type, 8, b)
}

// The varints themselves are looked at when the tensor is read: they may be many.
func (s packedVarints) read(d *decoder, typ protowire.Type, b []byte) error {
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		return d.errorf("a list of integers ends within one")
	}
	return d.gather(s.p, typ, protowire.VarintType, 1, b)
}

func (s packed32) empty() bool      { return len(*s.p) == 0 }
func (s packed64) empty() bool      { return len(*s.p) == 0 }
func (s packedVarints) empty() bool { return len(*s.p) == 0 }

func (s packed32) same(_ *encoder, was slot) bool { return bytes.Equal(*s.p, *was.(packed32).p) }
func (s packed64) same(_ *encoder, was slot) bool { return bytes.Equal(*s.p, *was.(packed64).p) }
func (s packedVarints) same(_ *encoder, was slot) bool {
	return bytes.Equal(*s.p, *was.(packedVarints).p)
}

func (s packed32) write(e *encoder, b []byte, n number) []byte      { return data(s).write(e, b, n) }
func (s packed64) write(e *encoder, b []byte, n number) []byte      { return data(s).write(e, b, n) }
func (s packedVarints) write(e *encoder, b []byte, n number) []byte { return data(s).write(e, b, n) }

// elementOr is the wire type of an element, for a list that comes packed too.
func elementOr(typ, element protowire.Type) protowire.Type {
	if typ == protowire.BytesType {
		return element
	}
	return typ
}

// given is a field that a flag says is there, even if it is zero.
type given struct {
	slot
	has *bool
}

func (s given) read(d *decoder, typ protowire.Type, b []byte) error {
	*s.has = true
	return s.slot.read(d, typ, b)
}

func (s given) empty() bool { return !*s.has && s.slot.empty() }

func (s given) same(e *encoder, was slot) bool {
	w := was.(given)
	return *s.has == *w.has && s.slot.same(e, w.slot)
}

// present is a field that is there only if a flag says so.
type present given

func (s present) read(d *decoder, typ protowire.Type, b []byte) error {
	return given(s).read(d, typ, b)
}
func (s present) empty() bool                    { return !*s.has }
func (s present) same(e *encoder, was slot) bool { return given(s).same(e, given(was.(present))) }

// pointer is *M, as a message.
type pointer[M any] interface {
	*M
	message
}

// single is a message. One that comes twice is merged as protobuf says, by reading both
// into the same message; the bytes of both, one after the other, mean the same.
type single[M any, P pointer[M]] struct{ p *P }

func one[M any, P pointer[M]](p *P) slot { return single[M, P]{p} }

func (s single[M, P]) read(d *decoder, typ protowire.Type, b []byte) error {
	size := int64(unsafe.Sizeof(*new(M)))
	if *s.p != nil {
		size = int64(len(b))
	}
	if err := d.want(typ, protowire.BytesType, size); err != nil {
		return err
	}
	if *s.p == nil {
		*s.p = new(M)
		(*s.p).base().raw = b
	} else {
		raw := &(*s.p).base().raw
		*raw = append(*raw, b...)
	}
	return d.inner(*s.p, b)
}

func (s single[M, P]) empty() bool { return *s.p == nil }

func (s single[M, P]) same(e *encoder, was slot) bool {
	a, b := *s.p, *was.(single[M, P]).p
	if a == nil || b == nil {
		return a == b
	}
	return e.unchanged(a, b)
}

func (s single[M, P]) write(e *encoder, b []byte, n number) []byte {
	return e.inner(protowire.AppendTag(b, n, protowire.BytesType), *s.p)
}

// several is a list of messages.
type several[M any, P pointer[M]] struct{ p *[]P }

func list[M any, P pointer[M]](p *[]P) slot { return several[M, P]{p} }

func (s several[M, P]) read(d *decoder, typ protowire.Type, b []byte) error {
	if err := d.want(typ, protowire.BytesType, int64(unsafe.Sizeof(*new(M))+unsafe.Sizeof(new(M)))); err != nil {
		return err
	}
	m := P(new(M))
	m.base().raw = b
	*s.p = append(*s.p, m)
	return d.inner(m, b)
}

func (s several[M, P]) empty() bool { return len(*s.p) == 0 }

func (s several[M, P]) same(e *encoder, was slot) bool {
	return slices.EqualFunc(*s.p, *was.(several[M, P]).p, func(a, b P) bool { return e.unchanged(a, b) })
}

func (s several[M, P]) write(e *encoder, b []byte, n number) []byte {
	for _, m := range *s.p {
		b = e.inner(protowire.AppendTag(b, n, protowire.BytesType), m)
	}
	return b
}
