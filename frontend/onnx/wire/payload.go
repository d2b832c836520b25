package wire

import (
	"encoding/binary"

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
	e.Msg = "tensor \"" + name + "\": " + e.Msg
	return e
}

// DType and number of elements, checked.
func (t *Tensor) size() (tensor.DType, int64, error) {
	d, ok := tensor.DTypeFromONNX(t.DataType)
	if !ok {
		return 0, 0, t.Errorf("element type %d is none of ONNX's", t.DataType)
	}
	n, ok := tensor.Count(t.Dims)
	if !ok || len(t.Dims) > 1024 {
		return 0, 0, t.Errorf("shape %v is no shape", t.Dims)
	}
	if _, ok := d.ByteLen(n); !ok {
		return 0, 0, t.Errorf("shape %v is too large", t.Dims)
	}
	return d, n, nil
}

// Tensor gives the tensor's value. Data that lie in the file as they are in memory are
// not copied: raw data, external data, and the packed f32 and f64 fields. f is the file
// the tensor came from; it may be nil where no data are external. Lengths are checked
// before anything is allocated.
func (t *Tensor) Tensor(f *File) (*tensor.Tensor, error) {
	d, n, err := t.size()
	if err != nil {
		return nil, err
	}
	if t.Segment != nil {
		return nil, t.Errorf("segmented tensors are not supported")
	}
	if d == tensor.String {
		if int64(len(t.StringData)) != n {
			return nil, t.Errorf("%d strings for shape %v, which takes %d", len(t.StringData), t.Dims, n)
		}
		s := make([]string, n)
		for i, b := range t.StringData {
			s[i] = string(b)
		}
		return tensor.FromStrings(t.Dims, s)
	}
	want, _ := d.ByteLen(n)
	b, err := t.bytes(f, d, n, want)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != want {
		return nil, t.Errorf("%d bytes of data for a %s tensor of shape %v, which takes %d", len(b), d, t.Dims, want)
	}
	return tensor.FromBytes(d, t.Dims, b)
}

func (t *Tensor) bytes(f *File, d tensor.DType, n, want int64) ([]byte, error) {
	if t.DataLocation == 1 {
		if f == nil {
			return nil, t.Errorf("its data are external, and there is no file beside which to look")
		}
		return f.external(t, want)
	}
	if t.HasRaw {
		return t.RawData, nil
	}
	switch d {
	case tensor.F32, tensor.C64:
		return t.FloatData, nil
	case tensor.F64, tensor.C128:
		return t.DoubleData, nil
	case tensor.I64:
		return t.unpack(t.Int64Data, "int64_data", n, 8)
	case tensor.U32, tensor.U64:
		return t.unpack(t.Uint64Data, "uint64_data", n, d.Bits()/8)
	}
	if d.IsSmall() { // packed bytes, each in an int32
		return t.unpack(t.Int32Data, "int32_data", want, 1)
	}
	return t.unpack(t.Int32Data, "int32_data", n, d.Bits()/8)
}

// unpack turns packed varints into little-endian integers of size bytes each.
func (t *Tensor) unpack(b []byte, field string, n int64, size int) ([]byte, error) {
	if n > int64(len(b)) { // a varint has at least a byte
		return nil, t.Errorf("%s has fewer elements than shape %v takes", field, t.Dims)
	}
	out := make([]byte, 0, n*int64(size))
	for len(b) > 0 {
		v, k := protowire.ConsumeVarint(b)
		if k < 0 {
			return nil, t.Errorf("%s: %v", field, protowire.ParseError(k))
		}
		b = b[k:]
		if int64(len(out)) >= n*int64(size) {
			return nil, t.Errorf("%s has more elements than shape %v takes", field, t.Dims)
		}
		switch size {
		case 1:
			out = append(out, byte(v))
		case 2:
			out = binary.LittleEndian.AppendUint16(out, uint16(v))
		case 4:
			out = binary.LittleEndian.AppendUint32(out, uint32(v))
		default:
			out = binary.LittleEndian.AppendUint64(out, v)
		}
	}
	return out, nil
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
