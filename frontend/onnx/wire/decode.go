package wire

import (
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pitopt/pitopt/core/diag"
)

// Limits bound what a file may claim. A zero takes the default.
type Limits struct {
	Nodes  int   // nodes in all graphs and functions; default 1 million
	Depth  int   // nesting of messages, three to a subgraph; default 200
	Rank   int   // dims of a tensor or of a shape; default 1024
	Memory int64 // bytes of structs, names and lists; default 4 MiB and 32 for each byte of the file, 1 GiB at most
}

func (l Limits) orDefault(size int) Limits {
	if l.Nodes == 0 {
		l.Nodes = 1_000_000
	}
	if l.Depth == 0 {
		l.Depth = 200
	}
	if l.Rank == 0 {
		l.Rank = 1024
	}
	if l.Memory == 0 {
		l.Memory = min(4<<20+32*int64(size), 1<<30)
	}
	return l
}

// Decode reads a model, which views b: b must stay as it is while the model is used.
// Errors name the node, tensor or value they are in, and the byte.
func Decode(b []byte, lim Limits) (*Model, error) {
	if len(b) == 0 {
		return nil, diag.New(diag.Malformed, "the file is empty").Hint("it should be an ONNX model")
	}
	m := new(Model)
	return m, decode(m, b, lim)
}

// DecodeTensor reads a TensorProto, as test data hold it. Like Decode, it views b, and so
// do the others.
func DecodeTensor(b []byte) (*Tensor, error) {
	m := new(Tensor)
	return m, decode(m, b, Limits{})
}

// DecodeSequence reads a SequenceProto.
func DecodeSequence(b []byte) (*Sequence, error) {
	m := new(Sequence)
	return m, decode(m, b, Limits{})
}

// DecodeOptional reads an OptionalProto.
func DecodeOptional(b []byte) (*Optional, error) {
	m := new(Optional)
	return m, decode(m, b, Limits{})
}

func decode(m message, b []byte, lim Limits) error {
	d := &decoder{start: b, left: lim.orDefault(len(b))}
	m.base().raw = slices.Clip(b)
	return d.decode(m, b)
}

type decoder struct {
	start []byte    // the whole input
	at    []byte    // the field being read, and what follows it
	left  Limits    // what is left of the limits
	path  []message // the message being read is the last one
	flat  bool      // leave the messages in it unread
}

// decode reads fields into m until b is used up.
func (d *decoder) decode(m message, b []byte) error {
	if len(d.path) == d.left.Depth {
		return d.errorf("nested deeper than %d messages", d.left.Depth)
	}
	if _, ok := m.(*Node); ok {
		if d.left.Nodes--; d.left.Nodes < 0 {
			return d.errorf("there are more nodes than the limit allows")
		}
	}
	d.path = append(d.path, m)
	oneof, _ := m.(interface{ choose(number) })
	for len(b) > 0 {
		d.at = b
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return d.errorf("no field begins here (%v)", protowire.ParseError(n))
		}
		value, size, err := d.value(num, typ, b[n:])
		if err != nil {
			return err
		}
		if f := m.field(num); f == nil {
			unknown := &m.base().Unknown
			*unknown = append(*unknown, b[:n+size]...)
			err = d.charge(int64(n + size))
		} else {
			if oneof != nil {
				oneof.choose(num)
			}
			err = f.read(d, typ, value)
		}
		if err != nil {
			return err
		}
		if rank(m) > d.left.Rank {
			d.at = b
			return d.errorf("a shape of more than %d dims", d.left.Rank)
		}
		b = b[n+size:]
	}
	d.path = d.path[:len(d.path)-1]
	return nil
}

// inner reads a message in the present one.
func (d *decoder) inner(m message, b []byte) error {
	if d.flat {
		return nil
	}
	return d.decode(m, b)
}

// value finds the end of a field's value. size counts the length in front of it too.
func (d *decoder) value(num number, typ protowire.Type, b []byte) (value []byte, size int, err error) {
	switch typ {
	case protowire.BytesType:
		length, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, 0, d.errorf("the length can not be read (%v)", protowire.ParseError(n))
		}
		if length > uint64(len(b)-n) {
			return nil, 0, d.errorf("a length of %d bytes where %d are left", length, len(b)-n)
		}
		size = n + int(length)
		return b[n:size:size], size, nil
	case protowire.StartGroupType, protowire.EndGroupType:
		return nil, 0, d.errorf("a group, which ONNX does not have")
	}
	size = protowire.ConsumeFieldValue(num, typ, b)
	if size < 0 {
		return nil, 0, d.errorf("the value can not be read (%v)", protowire.ParseError(size))
	}
	return b[:size:size], size, nil
}

var wireTypes = map[protowire.Type]string{protowire.VarintType: "varint", protowire.Fixed32Type: "32 bits",
	protowire.Fixed64Type: "64 bits", protowire.BytesType: "bytes"}

// want checks the wire type of a field and takes bytes from the budget, before the caller
// allocates them.
func (d *decoder) want(typ, want protowire.Type, bytes int64) error {
	if typ != want {
		return d.errorf("wire type %d (%s) where %d (%s) is right", typ, wireTypes[typ], want, wireTypes[want])
	}
	return d.charge(bytes)
}

func (d *decoder) charge(bytes int64) error {
	if d.left.Memory -= bytes; d.left.Memory < 0 {
		return d.errorf("the structure takes more memory than the limit allows")
	}
	return nil
}

// varints checks a list of integers, packed or one of them, and counts it.
func (d *decoder) varints(typ protowire.Type, b []byte) (int, error) {
	if err := d.want(elementOr(typ, protowire.VarintType), protowire.VarintType, 0); err != nil {
		return 0, err
	}
	count := 0
	for ; len(b) > 0; count++ {
		_, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return 0, d.errorf("integer %d of a list can not be read (%v)", count, protowire.ParseError(n))
		}
		b = b[n:]
	}
	return count, nil
}

// gather adds a piece to a packed list whose elements have so many bytes, or at least as
// many; the first piece is not copied.
func (d *decoder) gather(p *[]byte, typ, element protowire.Type, size int, b []byte) error {
	cost := 0
	if all := len(*p) + len(b); len(*p) > 0 && all > cap(*p) {
		cost = all
	}
	if err := d.want(elementOr(typ, element), element, int64(cost)); err != nil {
		return err
	}
	if len(b)%size != 0 {
		return d.errorf("%d bytes can not hold numbers of %d bytes each", len(b), size)
	}
	if len(*p) == 0 {
		*p = b
	} else {
		*p = append(*p, b...)
	}
	return nil
}

// errorf is an error about the field being read: it tells the byte, the field, and the
// closest things around it that have a name.
func (d *decoder) errorf(format string, args ...any) error {
	inside := d.path[len(d.path)-1]
	where := fmt.Sprintf("byte %d: ", len(d.start)-len(d.rest()))
	if num, _, n := protowire.ConsumeTag(d.at); n > 0 {
		where += fmt.Sprintf("field %d of %s: ", num, reflect.TypeOf(inside).Elem().Name())
	}
	e := diag.New(diag.Malformed, "%s%s", where, fmt.Sprintf(format, args...)).
		Hint("the file is damaged, cut short, or no ONNX model")
	named := false
	for _, m := range slices.Backward(d.path) {
		if n, ok := m.(*Node); ok {
			return e.At(n.Place(), n.OpType)
		}
		if what := called(m); what != "" && !named {
			e.Msg, named = what+": "+e.Msg, true
		}
	}
	return e
}

// rest is what is left of the input at the field being read.
func (d *decoder) rest() []byte {
	if len(d.at) == 0 {
		return d.start
	}
	return d.start[uintptr(unsafe.Pointer(&d.at[0]))-uintptr(unsafe.Pointer(&d.start[0])):]
}

// called is a message by its name, "" where it has none.
func called(m message) string {
	kind, name := "", ""
	switch m := m.(type) {
	case *Tensor:
		kind, name = "tensor", m.Name
	case *ValueInfo:
		kind, name = "value", m.Name
	case *Attribute:
		kind, name = "attribute", m.Name
	case *Function:
		kind, name = "function", m.Name
	case *Graph:
		kind, name = "graph", m.Name
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%s %q", kind, name)
}

func rank(m message) int {
	switch m := m.(type) {
	case *Tensor:
		return len(m.Dims)
	case *SparseTensor:
		return len(m.Dims)
	case *Shape:
		return len(m.Dims)
	}
	return 0
}
