package tensor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// NumPy's .npy format, versions 1 to 3 (numpy/lib/format.py tells it all). It is read
// here and not by a library since f16 and limits on what a header claims are needed.

var npyTypes = map[DType]string{F32: "f4", F64: "f8", F16: "f2", I8: "i1", I16: "i2", I32: "i4", I64: "i8", U8: "u1", U16: "u2", U32: "u4",
	U64: "u8", Bool: "b1", C64: "c8", C128: "c16"}

var npyMagic = []byte("\x93NUMPY")

// WriteNPY writes a tensor as .npy. Types that NumPy does not have are an error.
func WriteNPY(w io.Writer, t *Tensor) error {
	code, ok := npyTypes[t.dtype]
	if !ok {
		return fmt.Errorf(".npy has no element type %s; write a TensorProto instead (-output-format pb)", t.dtype)
	}
	order := "<"
	if t.dtype.Bits() == 8 {
		order = "|"
	}
	dims := make([]string, len(t.shape))
	for i, n := range t.shape {
		dims[i] = strconv.FormatInt(n, 10)
	}
	shape := strings.Join(dims, ", ")
	if len(dims) == 1 {
		shape += ","
	}
	header := fmt.Sprintf("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }", order, code, shape)
	pad := 64 - (len(npyMagic)+4+len(header)+1)%64
	header += strings.Repeat(" ", pad%64) + "\n"
	var b bytes.Buffer
	b.Write(npyMagic)
	b.Write([]byte{1, 0, byte(len(header)), byte(len(header) >> 8)})
	b.WriteString(header)
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	_, err := w.Write(t.data)
	return err
}

var npyHeader = regexp.MustCompile(`^\s*\{\s*'descr'\s*:\s*'([<>|=]?)([a-z]\d+)'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,\s*'shape'\s*:\s*\(([0-9, ]*)\)\s*,?\s*\}\s*$`)

// maxNPYHeader bounds the header; real ones have some hundred bytes.
const maxNPYHeader = 1 << 16

// ReadNPY reads a .npy file. limit is the number of bytes there can be at most: a header
// that claims more is an error before anything is allocated.
func ReadNPY(r io.Reader, limit int64) (*Tensor, error) {
	var pre [8]byte
	if _, err := io.ReadFull(r, pre[:]); err != nil || !bytes.Equal(pre[:6], npyMagic) {
		return nil, fmt.Errorf("not a .npy file")
	}
	size := make([]byte, 2)
	if pre[6] >= 2 {
		size = make([]byte, 4)
	}
	if pre[6] < 1 || pre[6] > 3 {
		return nil, fmt.Errorf(".npy version %d", pre[6])
	}
	if _, err := io.ReadFull(r, size); err != nil {
		return nil, fmt.Errorf("the header is cut off")
	}
	n := int64(binary.LittleEndian.Uint16(size))
	if len(size) == 4 {
		n = int64(binary.LittleEndian.Uint32(size))
	}
	if n > maxNPYHeader || n > limit {
		return nil, fmt.Errorf("a header of %d bytes", n)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("the header is cut off")
	}
	m := npyHeader.FindSubmatch(header)
	if m == nil {
		return nil, fmt.Errorf("header %.80q is not understood", header)
	}
	if string(m[1]) == ">" {
		return nil, fmt.Errorf("big-endian data; save them with .astype('<%s')", m[2])
	}
	d := Invalid
	for k, v := range npyTypes {
		if v == string(m[2]) {
			d = k
		}
	}
	if d == Invalid {
		return nil, fmt.Errorf("element type %q", m[2])
	}
	var shape []int64
	for _, f := range strings.FieldsFunc(string(m[4]), func(c rune) bool { return c == ',' || c == ' ' }) {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("dim %q", f)
		}
		shape = append(shape, v)
	}
	count, ok := Count(shape)
	bytes, ok2 := d.ByteLen(count)
	if !ok || !ok2 || bytes > limit {
		return nil, fmt.Errorf("the header claims shape %v of %s, more than there is", shape, d)
	}
	fortran := string(m[3]) == "True" && len(shape) > 1
	t, err := Make(d, shape)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r, t.data); err != nil {
		return nil, fmt.Errorf("shape %v of %s takes %d bytes, the file ends before", shape, d, bytes)
	}
	if !fortran {
		return t, nil
	}
	out := New(d, shape...)
	at := make([]int64, len(shape))
	for i := range count { // i counts with the first index fastest
		CopyElem(out, out.At(at...), t, i)
		for k := range at {
			if at[k]++; at[k] < shape[k] {
				break
			}
			at[k] = 0
		}
	}
	return out, nil
}
