package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pitopt/pitopt/core/diag"
)

// Limits bound what a file may claim. The zero value takes the defaults.
type Limits struct {
	Messages int // messages in all; default 20 million
	Depth    int // nesting of messages; default 200
}

func (l Limits) orDefault() Limits {
	if l.Messages == 0 {
		l.Messages = 20_000_000
	}
	if l.Depth == 0 {
		l.Depth = 200
	}
	return l
}

type messagePtr interface {
	fields() []field
	message() *Message
}

// field ties a field number to a place in a message, with how it is read and written.
type field struct {
	num  protowire.Number
	read func(d *decoder, typ protowire.Type, b []byte) error // b is the value, without tag and length
	show func(b []byte) []byte                                // appends the field if it is set
}

type decoder struct {
	base   []byte // the whole input, for offsets in errors
	budget int
	depth  int
	path   []string // names of the messages around, for errors
}

func (d *decoder) errorf(at []byte, format string, args ...any) error {
	off := len(d.base)
	if len(at) > 0 {
		off = int(uintptr(unsafe.Pointer(&at[0])) - uintptr(unsafe.Pointer(&d.base[0])))
	}
	msg := fmt.Sprintf(format, args...)
	where := ""
	for i := len(d.path) - 1; i >= 0 && where == ""; i-- {
		where = d.path[i]
	}
	if where != "" {
		msg = "in " + where + ": " + msg
	}
	return diag.New(diag.Malformed, "byte %d: %s", off, msg).Hint("the file is damaged or no ONNX model")
}

// decode reads one message. Bulk data view b; names are copied, for they outlive the
// file in errors and symbols.
func (d *decoder) decode(m messagePtr, b []byte) error {
	if d.budget--; d.budget < 0 {
		return d.errorf(b, "more messages than the limit allows")
	}
	if d.depth--; d.depth < 0 {
		return d.errorf(b, "nested deeper than the limit allows")
	}
	defer func() { d.depth++ }()
	d.path = append(d.path, "")
	defer func() { d.path = d.path[:len(d.path)-1] }()
	fs := m.fields()
	msg := m.message()
	msg.raw = b
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return d.errorf(b, "%v", protowire.ParseError(n))
		}
		val := b[n:]
		size := protowire.ConsumeFieldValue(num, typ, val)
		if size < 0 {
			return d.errorf(b, "field %d: %v", num, protowire.ParseError(size))
		}
		f := find(fs, num)
		if f == nil || f.read == nil {
			msg.Unknown = append(msg.Unknown, b[:n+size]...)
			b = val[size:]
			continue
		}
		body := val[:size]
		if typ == protowire.BytesType {
			_, skip := protowire.ConsumeVarint(body)
			body = body[skip:]
		}
		if err := f.read(d, typ, body); err != nil {
			return err
		}
		d.name(m)
		b = val[size:]
	}
	return nil
}

// name notes who is being read, for errors.
func (d *decoder) name(m messagePtr) {
	p := &d.path[len(d.path)-1]
	switch m := m.(type) {
	case *Node:
		if m.Name != "" {
			*p = fmt.Sprintf("node %q", m.Name)
		} else if *p == "" && m.OpType != "" {
			*p = "a node of type " + m.OpType
		}
	case *Tensor:
		if m.Name != "" {
			*p = fmt.Sprintf("tensor %q", m.Name)
		}
	case *Function:
		if m.Name != "" {
			*p = fmt.Sprintf("function %q", m.Name)
		}
	}
}

func find(fs []field, num protowire.Number) *field {
	for i := range fs {
		if fs[i].num == num {
			return &fs[i]
		}
	}
	return nil
}

func wrongType(d *decoder, num protowire.Number, typ protowire.Type, b []byte) error {
	return d.errorf(b, "field %d has wire type %d", num, typ)
}

func strField(num protowire.Number, p *string) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		*p = string(b)
		return nil
	}, func(b []byte) []byte {
		if *p == "" {
			return b
		}
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), *p)
	}}
}

func bytesField(num protowire.Number, p *[]byte) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		*p = b
		return nil
	}, func(b []byte) []byte {
		if len(*p) == 0 {
			return b
		}
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), *p)
	}}
}

func presentBytes(num protowire.Number, p *[]byte, has *bool) field {
	f := bytesField(num, p)
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		*has = true
		return f.read(d, typ, b)
	}, func(b []byte) []byte {
		if !*has && len(*p) == 0 {
			return b
		}
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), *p)
	}}
}

func strsField(num protowire.Number, p *[]string) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		*p = append(*p, string(b))
		return nil
	}, func(b []byte) []byte {
		for _, s := range *p {
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
		}
		return b
	}}
}

func bytesList(num protowire.Number, p *[][]byte) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		*p = append(*p, b)
		return nil
	}, func(b []byte) []byte {
		for _, s := range *p {
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), s)
		}
		return b
	}}
}

func intField[T ~int64 | ~int32](num protowire.Number, p *T) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.VarintType {
			return wrongType(d, num, typ, b)
		}
		v, _ := protowire.ConsumeVarint(b)
		*p = T(v)
		return nil
	}, func(b []byte) []byte {
		if *p == 0 {
			return b
		}
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(int64(*p)))
	}}
}

func presentInt(num protowire.Number, p *int64, has *bool) field {
	f := intField(num, p)
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		*has = true
		return f.read(d, typ, b)
	}, func(b []byte) []byte {
		if !*has {
			return b
		}
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(*p))
	}}
}

func floatField(num protowire.Number, p *float32) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.Fixed32Type {
			return wrongType(d, num, typ, b)
		}
		*p = math.Float32frombits(binary.LittleEndian.Uint32(b))
		return nil
	}, func(b []byte) []byte {
		if *p == 0 && !math.Signbit(float64(*p)) {
			return b
		}
		return protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), math.Float32bits(*p))
	}}
}

func floatsField(num protowire.Number, p *[]float32) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.Fixed32Type && typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		if len(b)%4 != 0 {
			return d.errorf(b, "field %d: %d bytes are no list of f32", num, len(b))
		}
		for ; len(b) > 0; b = b[4:] {
			*p = append(*p, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		return nil
	}, func(b []byte) []byte {
		for _, v := range *p { // proto2: not packed
			b = protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), math.Float32bits(v))
		}
		return b
	}}
}

func intsField(num protowire.Number, p *[]int64) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.VarintType && typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		for len(b) > 0 {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return d.errorf(b, "field %d: %v", num, protowire.ParseError(n))
			}
			*p = append(*p, int64(v))
			b = b[n:]
		}
		return nil
	}, func(b []byte) []byte {
		for _, v := range *p { // proto2: not packed
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
		}
		return b
	}}
}

// packing is the encoding of a packed field's elements.
type packing uint8

const (
	varint packing = iota
	fixed32
	fixed64
)

// packed keeps a repeated number as its packed bytes. One that comes unpacked, or in
// pieces, is put together, which copies it.
func packed(num protowire.Number, p *[]byte, kind packing) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		size := map[packing]int{fixed32: 4, fixed64: 8, varint: 1}[kind]
		elem := map[packing]protowire.Type{fixed32: protowire.Fixed32Type, fixed64: protowire.Fixed64Type, varint: protowire.VarintType}[kind]
		if typ != elem && typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		if len(b)%size != 0 || kind == varint && len(b) > 0 && b[len(b)-1] >= 0x80 {
			return d.errorf(b, "field %d: %d bytes end within an element", num, len(b))
		}
		if len(*p) == 0 {
			*p = slices.Clip(b) // so that an append does not write into the file
		} else {
			*p = append(*p, b...)
		}
		return nil
	}, func(b []byte) []byte {
		if len(*p) == 0 {
			return b
		}
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), *p)
	}}
}

// one is a message field; one that comes twice is merged as protobuf says, by reading
// both into the same message.
func one[M any, P interface {
	*M
	messagePtr
}](num protowire.Number, p *P) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		twice := *p != nil
		if !twice {
			*p = new(M)
		}
		err := d.decode(*p, b)
		if twice {
			(*p).message().Touch()
		}
		return err
	}, func(b []byte) []byte {
		if *p == nil {
			return b
		}
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), encode(*p))
	}}
}

// many is a repeated message field.
func many[M any, P interface {
	*M
	messagePtr
}](num protowire.Number, p *[]P) field {
	return field{num, func(d *decoder, typ protowire.Type, b []byte) error {
		if typ != protowire.BytesType {
			return wrongType(d, num, typ, b)
		}
		m := P(new(M))
		*p = append(*p, m)
		return d.decode(m, b)
	}, func(b []byte) []byte {
		for _, m := range *p {
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), encode(m))
		}
		return b
	}}
}

func encode(m messagePtr) []byte {
	msg := m.message()
	if msg.raw != nil {
		return msg.raw
	}
	b := []byte{}
	for _, f := range m.fields() {
		b = f.show(b)
	}
	return append(b, msg.Unknown...)
}

func decodeAll[M any, P interface {
	*M
	messagePtr
}](b []byte, lim Limits) (P, error) {
	lim = lim.orDefault()
	d := &decoder{base: b, budget: lim.Messages, depth: lim.Depth}
	m := P(new(M))
	if err := d.decode(m, b); err != nil {
		return nil, err
	}
	return m, nil
}

// Decode reads a model, which views b: b must stay as it is while the model is used.
func Decode(b []byte, lim Limits) (*Model, error) {
	if len(b) == 0 {
		return nil, diag.New(diag.Malformed, "the file is empty")
	}
	return decodeAll[Model](b, lim)
}

// DecodeTensor reads a TensorProto, as test data hold it.
func DecodeTensor(b []byte) (*Tensor, error) { return decodeAll[Tensor](b, Limits{}) }

// DecodeSequence reads a SequenceProto.
func DecodeSequence(b []byte) (*Sequence, error) { return decodeAll[Sequence](b, Limits{}) }

// DecodeOptional reads an OptionalProto.
func DecodeOptional(b []byte) (*Optional, error) { return decodeAll[Optional](b, Limits{}) }

// Encode writes a message: a *Model, *Tensor, *Sequence or *Optional.
func Encode(m messagePtr) []byte { return encode(m) }
