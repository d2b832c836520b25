package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
)

// Errorf is an error about the tensor.
func (t *Tensor) Errorf(format string, args ...any) *diag.Error {
	e := diag.New(diag.Malformed, format, args...)
	name := t.Name
	if name == "" {
		name = "(unnamed)"
	}
	e.Msg = fmt.Sprintf("tensor %q: %s", name, e.Msg)
	return e
}

// maxRank bounds the dims of a tensor that no decoder has seen.
const maxRank = 1024

// size checks type and shape and gives the number of elements and, but for strings, of
// bytes.
func (t *Tensor) size() (d tensor.DType, elems, size int64, err error) {
	d, ok := tensor.DTypeFromONNX(t.DataType)
	if !ok {
		return d, 0, 0, t.Errorf("element type %d is none of ONNX's", t.DataType).
			Hint("the file is damaged, or of a version of ONNX that this one does not know")
	}
	if len(t.Dims) > maxRank {
		return d, 0, 0, t.Errorf("a shape of %d dims", len(t.Dims))
	}
	for i, n := range t.Dims {
		if n < 0 {
			return d, 0, 0, t.Errorf("dim %d of shape %v is negative", i, t.Dims)
		}
	}
	elems, ok = tensor.Count(t.Dims)
	if ok {
		size, ok = d.ByteLen(elems)
	}
	if !ok {
		return d, 0, 0, t.Errorf("shape %v is too large", t.Dims)
	}
	if t.Segment != nil {
		return d, 0, 0, t.Errorf("it is a segment of a larger tensor").Hint("store the tensor in one piece, outside the model file if it is large")
	}
	return d, elems, size, nil
}

// torn is the way out where shape and values do not fit each other.
const torn = "the file is damaged, or was not written whole; export it again"

// The fields that values can lie in.
const (
	floatData  = "float_data"
	int32Data  = "int32_data"
	stringData = "string_data"
	int64Data  = "int64_data"
	doubleData = "double_data"
	uint64Data = "uint64_data"
	rawData    = "raw_data"
)

// holder is the typed field that values of an element type lie in.
func holder(d tensor.DType) string {
	switch d {
	case tensor.F32, tensor.C64:
		return floatData
	case tensor.F64, tensor.C128:
		return doubleData
	case tensor.I64:
		return int64Data
	case tensor.U32, tensor.U64:
		return uint64Data
	case tensor.String:
		return stringData
	}
	return int32Data
}

// held says which fields hold values, but for external ones.
func (t *Tensor) held() []string {
	var out []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{rawData, t.HasRaw || len(t.RawData) > 0}, {floatData, len(t.FloatData) > 0}, {int32Data, len(t.Int32Data) > 0},
		{stringData, len(t.StringData) > 0}, {int64Data, len(t.Int64Data) > 0}, {doubleData, len(t.DoubleData) > 0}, {uint64Data, len(t.Uint64Data) > 0},
	} {
		if f.set {
			out = append(out, f.name)
		}
	}
	return out
}

// source is the field that the values lie in. They must lie in one, and in one that is
// made for the type.
func (t *Tensor) source(d tensor.DType, elems int64) (string, error) {
	held, right := t.held(), holder(d)
	switch {
	case len(held) > 1:
		return "", t.Errorf("it has values in %s", strings.Join(held, " and in ")).Hint("a tensor's values lie in one field")
	case len(held) == 1 && (held[0] == right || held[0] == rawData && d != tensor.String):
		return held[0], nil
	case len(held) == 1:
		return "", t.Errorf("values of type %s lie in %s", d, held[0]).Hint("they belong in %s", right)
	case elems > 0:
		return "", t.Errorf("it has no values; shape %v of %s takes %d elements", t.Dims, d, elems).Hint(torn)
	}
	return right, nil
}

// Payload gives the values as dense little-endian bytes, elements of less than a byte
// packed, whatever field they came in. What lies in the file as it is needed is a view
// and must not be written to: raw data, external data, float_data and double_data. f is
// the file that the tensor came from; it may be nil where no data are external. Lengths
// are checked before anything is allocated. Strings have no such form: see Strings.
func (t *Tensor) Payload(f *File) ([]byte, error) {
	d, elems, size, err := t.size()
	if err != nil {
		return nil, err
	}
	if d == tensor.String {
		return nil, t.Errorf("strings have no dense form")
	}
	var b []byte
	switch t.DataLocation {
	case locationExternal:
		b, err = f.external(t, size)
	case locationDefault:
		b, err = t.local(d, elems, size)
	default:
		err = t.Errorf("data location %d is none of ONNX's", t.DataLocation)
	}
	if err != nil {
		return nil, err
	}
	if d == tensor.Bool {
		b = truths(b)
	}
	return b, nil
}

// TensorProto.DataLocation.
const (
	locationDefault  = 0
	locationExternal = 1
)

// local gives values that are in the message itself.
func (t *Tensor) local(d tensor.DType, elems, size int64) ([]byte, error) {
	field, err := t.source(d, elems)
	if err != nil {
		return nil, err
	}
	var b []byte
	switch field {
	case rawData:
		b = t.RawData
	case floatData:
		b = t.FloatData
	case doubleData:
		b = t.DoubleData
	case int64Data:
		return t.unpack(t.Int64Data, field, d, elems, 64)
	case uint64Data:
		return t.unpack(t.Uint64Data, field, d, elems, d.Bits())
	default:
		if d.IsSmall() { // each integer is a packed byte
			return t.unpack(t.Int32Data, field, d, size, 8)
		}
		return t.unpack(t.Int32Data, field, d, elems, d.Bits())
	}
	if int64(len(b)) != size {
		return nil, t.Errorf("%s has %d bytes, shape %v of %s takes %d", field, len(b), t.Dims, d, size).Hint(torn)
	}
	return b, nil
}

// unpack turns n varints into little-endian integers of so many bits each.
func (t *Tensor) unpack(b []byte, field string, d tensor.DType, n int64, bits int) ([]byte, error) {
	count := int64(0)
	for _, c := range b {
		if c < 0x80 { // the last byte of a varint
			count++
		}
	}
	if count != n {
		return nil, t.Errorf("%s has %d integers, shape %v of %s takes %d", field, count, t.Dims, d, n).Hint(torn)
	}
	out := make([]byte, 0, n*int64(bits)/8)
	for i := int64(0); len(b) > 0; i++ {
		v, k := protowire.ConsumeVarint(b)
		if k < 0 {
			return nil, t.Errorf("%s: integer %d can not be read (%v)", field, i, protowire.ParseError(k))
		}
		b = b[k:]
		if field == int32Data {
			v = uint64(int32(v))
		}
		if high := int64(v) >> (bits - 1); bits < 64 && high != 0 && high != -1 && high != 1 { // neither signed nor unsigned
			return nil, t.Errorf("%s: integer %d is %d, which does not fit %s", field, i, int64(v), d)
		}
		switch bits {
		case 8:
			out = append(out, byte(v))
		case 16:
			out = binary.LittleEndian.AppendUint16(out, uint16(v))
		case 32:
			out = binary.LittleEndian.AppendUint32(out, uint32(v))
		default:
			out = binary.LittleEndian.AppendUint64(out, v)
		}
	}
	return out, nil
}

// truths makes every byte that is not zero a 1: programs take a bool for just these two.
func truths(b []byte) []byte {
	if !slices.ContainsFunc(b, func(c byte) bool { return c > 1 }) {
		return b
	}
	out := make([]byte, len(b))
	for i, c := range b {
		if c != 0 {
			out[i] = 1
		}
	}
	return out
}

// Strings gives the values of a tensor of strings. ONNX asks for UTF-8 in them and other
// runtimes do not insist; neither does this.
func (t *Tensor) Strings() ([]string, error) {
	d, elems, _, err := t.size()
	if err != nil {
		return nil, err
	}
	if d != tensor.String || t.DataLocation != locationDefault {
		return nil, t.Errorf("it holds no strings of its own")
	}
	if _, err := t.source(d, elems); err != nil {
		return nil, err
	}
	if int64(len(t.StringData)) != elems {
		return nil, t.Errorf("%s has %d strings, shape %v takes %d", stringData, len(t.StringData), t.Dims, elems).Hint(torn)
	}
	out := make([]string, elems)
	for i, b := range t.StringData {
		out[i] = string(b)
	}
	return out, nil
}

// Tensor gives the tensor's value, over Payload or Strings.
func (t *Tensor) Tensor(f *File) (*tensor.Tensor, error) {
	d, _ := tensor.DTypeFromONNX(t.DataType)
	if d == tensor.String {
		s, err := t.Strings()
		if err != nil {
			return nil, err
		}
		return tensor.FromStrings(t.Dims, s)
	}
	b, err := t.Payload(f)
	if err != nil {
		return nil, err
	}
	return tensor.FromBytes(d, t.Dims, b)
}

// NewTensor is the message for a tensor, its data as raw_data.
func NewTensor(name string, t *tensor.Tensor) *Tensor {
	m := &Tensor{Name: name, Dims: t.Shape(), DataType: t.DType().ONNX()}
	if t.DType() == tensor.String {
		for _, s := range t.Strings() {
			m.StringData = append(m.StringData, []byte(s))
		}
		return m
	}
	m.RawData, m.HasRaw = t.Bytes(), true
	return m
}
