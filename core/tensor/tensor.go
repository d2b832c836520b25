package tensor

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"unsafe"
)

// Value is what flows at run time: *Tensor, *Sequence or *Optional.
type Value interface{ isValue() }

// Sequence is a list of values; it is not changed once it is made.
type Sequence struct{ Elems []Value }

// Optional holds a value, or none (nil).
type Optional struct{ Elem Value }

// Missing says whether there is no value: v is nil, or a nil pointer of one of the types.
func Missing(v Value) bool {
	switch v := v.(type) {
	case *Tensor:
		return v == nil
	case *Sequence:
		return v == nil
	case *Optional:
		return v == nil
	}
	return v == nil
}

// Each calls f with the tensors of a value, those of the parts of a sequence or an optional one after the other.
func Each(v Value, f func(*Tensor)) {
	switch v := v.(type) {
	case *Tensor:
		if v != nil {
			f(v)
		}
	case *Sequence:
		for _, e := range v.Elems {
			Each(e, f)
		}
	case *Optional:
		Each(v.Elem, f)
	}
}

func (*Tensor) isValue()   {}
func (*Sequence) isValue() {}
func (*Optional) isValue() {}

// Tensor is a dense tensor in row-major order over somebody's memory, little-endian as
// the machines that this package runs on. Elements of less than a byte are packed, the
// first one in the lowest bits. Strings lie in a slice of their own.
//
// Several goroutines may read a tensor at a time.
type Tensor struct {
	dtype DType
	shape []int64
	len   int64
	data  []byte
	strs  []string
}

// Elem is a Go type that can view elements.
type Elem interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool | complex64 | complex128 | string
}

// Count is the number of elements of a shape; false for a negative dim or overflow.
func Count(shape []int64) (int64, bool) {
	n := int64(1)
	zero := false
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d == 0 {
			zero = true
			continue
		}
		if n > math.MaxInt64/d {
			return 0, false
		}
		n *= d
	}
	if zero {
		return 0, true
	}
	return n, true
}

// align is the alignment of storage that New makes: a cache line, and the widest vector.
const align = 64

// maxBytes bounds what Make allocates. A shape from outside can ask for more than any
// machine has, and Go ends the process where an allocation fails.
const maxBytes = min(1<<40, math.MaxInt-hugePage)

func alloc(n int64) []byte {
	if n == 0 {
		return []byte{}
	}
	to := int64(align)
	if n >= fewPages {
		to = hugePage
	}
	b := make([]byte, n+to-1)
	off := int64(-uintptr(unsafe.Pointer(&b[0])) & uintptr(to-1))
	b = b[off : off+n : off+n]
	if to == hugePage {
		largePages(b)
	}
	return b
}

// sizeOf gives the number of elements of a tensor and the bytes they take.
func sizeOf(d DType, shape []int64) (n, size int64, err error) {
	if d == Invalid || d >= numDTypes {
		return 0, 0, fmt.Errorf("a tensor of shape %v has no element type", shape)
	}
	for _, dim := range shape {
		if dim < 0 {
			return 0, 0, fmt.Errorf("shape %v has the negative dim %d", shape, dim)
		}
	}
	n, ok := Count(shape)
	size, ok2 := d.ByteLen(n)
	if !ok || !ok2 {
		return 0, 0, fmt.Errorf("a %s tensor of shape %v is larger than 2^62 bits", d, shape)
	}
	return n, size, nil
}

// Make makes a tensor of zeros, or empty strings. A negative dim and more than 2^40
// bytes are errors; a memory budget is the caller's concern.
func Make(d DType, shape []int64) (*Tensor, error) {
	n, size, err := sizeOf(d, shape)
	if err != nil {
		return nil, err
	}
	if size > maxBytes || d == String && n > maxBytes/int64(unsafe.Sizeof("")) {
		return nil, fmt.Errorf("a %s tensor of shape %v does not fit memory", d, shape)
	}
	t := newTensor(Tensor{dtype: d, len: n}, shape)
	if d == String {
		t.strs = make([]string, n)
	} else {
		t.data = alloc(size)
	}
	return t, nil
}

// newTensor is t with a copy of a shape, which as a rule lies beside it: a run makes many
// tensors.
func newTensor(t Tensor, shape []int64) *Tensor {
	h := &struct {
		Tensor
		dims [4]int64
	}{Tensor: t}
	if len(shape) > len(h.dims) {
		h.shape = slices.Clone(shape)
	} else {
		h.shape = h.dims[:copy(h.dims[:], shape):len(shape)]
	}
	return &h.Tensor
}

// New is Make for shapes that are known to be right; it panics on others.
func New(d DType, shape ...int64) *Tensor {
	t, err := Make(d, shape)
	if err != nil {
		panic("tensor: " + err.Error())
	}
	return t
}

// FromBytes makes a tensor over memory, whose length must be what the shape needs. The
// memory may lie at any address. It is not copied, unless a machine that faults on
// unaligned loads needs it; every byte of a bool tensor must be 0 or 1.
func FromBytes(d DType, shape []int64, b []byte) (*Tensor, error) {
	n, b, err := over(d, shape, b)
	if err != nil {
		return nil, err
	}
	return newTensor(Tensor{dtype: d, len: n, data: b}, shape), nil
}

// over gives the number of elements of a tensor over memory, and the memory.
func over(d DType, shape []int64, b []byte) (int64, []byte, error) {
	n, size, err := sizeOf(d, shape)
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("%d bytes do not hold a tensor: %w", len(b), err)
	case d == String:
		return 0, nil, fmt.Errorf("strings are no array of bytes; use FromStrings")
	case size != int64(len(b)):
		return 0, nil, fmt.Errorf("%d bytes do not hold a %s tensor of shape %v, which takes %d", len(b), d, shape, size)
	}
	if !unalignedLoads && len(b) > 0 && uintptr(unsafe.Pointer(&b[0]))%8 != 0 {
		b = append(alloc(size)[:0], b...)
	}
	return n, b, nil
}

// unalignedLoads says that the machine loads words from any address. Weights in a model
// file lie at odd addresses as a rule, and are not to be copied for that.
const unalignedLoads = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" || runtime.GOARCH == "386" ||
	runtime.GOARCH == "ppc64le" || runtime.GOARCH == "wasm"

// FromStrings makes a tensor over a slice of strings.
func FromStrings(shape []int64, s []string) (*Tensor, error) {
	if n, ok := Count(shape); !ok || n != int64(len(s)) {
		return nil, fmt.Errorf("%d strings do not fill shape %v", len(s), shape)
	}
	return newTensor(Tensor{dtype: String, len: int64(len(s)), strs: s}, shape), nil
}

func dtypeOf[T Elem]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return F32
	case float64:
		return F64
	case int8:
		return I8
	case int16:
		return I16
	case int32:
		return I32
	case int64:
		return I64
	case uint8:
		return U8
	case uint16:
		return U16
	case uint32:
		return U32
	case uint64:
		return U64
	case bool:
		return Bool
	case complex64:
		return C64
	case complex128:
		return C128
	}
	return String
}

// Of makes a tensor over the caller's slice, without copying it; without a shape it is
// a list. It panics when the length is not the shape's.
func Of[T Elem](data []T, shape ...int64) *Tensor {
	if len(shape) == 0 {
		shape = []int64{int64(len(data))}
	}
	var t *Tensor
	var err error
	if s, ok := any(data).([]string); ok {
		t, err = FromStrings(shape, s)
	} else {
		b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data))*unsafe.Sizeof(*new(T)))
		t, err = FromBytes(dtypeOf[T](), shape, b)
	}
	if err != nil {
		panic("tensor: " + err.Error())
	}
	return t
}

// Scalar makes a rank-0 tensor.
func Scalar[T Elem](v T) *Tensor {
	t := Of([]T{v})
	t.shape = []int64{}
	return t
}

// Data views the elements without copying: what is written to the slice is in the
// tensor. T must be the element type; uint16 also views f16 and bf16, uint8 every type
// of a byte or less (its length is then that of the packed bytes). It panics otherwise.
func Data[T Elem](t *Tensor) []T {
	want := dtypeOf[T]()
	ok := want == t.dtype || want == U16 && (t.dtype == F16 || t.dtype == BF16) || want == U8 && t.dtype != String && t.dtype.Bits() <= 8
	if !ok {
		panic(fmt.Sprintf("tensor: a %s tensor viewed as %s", t.dtype, want))
	}
	if want == String {
		return any(t.strs).([]T)
	}
	n := uintptr(len(t.data)) / unsafe.Sizeof(*new(T))
	if n == 0 {
		return []T{}
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&t.data[0])), n)
}

// DType is the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Shape is the shape; it must not be changed.
func (t *Tensor) Shape() []int64 { return t.shape }

// Rank is the number of dims.
func (t *Tensor) Rank() int { return len(t.shape) }

// Len is the number of elements.
func (t *Tensor) Len() int64 { return t.len }

// Bytes is the memory; nil for strings.
func (t *Tensor) Bytes() []byte { return t.data }

// Strings are the elements of a string tensor.
func (t *Tensor) Strings() []string { return t.strs }

// View gives the same elements another shape.
func (t *Tensor) View(shape ...int64) (*Tensor, error) {
	if n, ok := Count(shape); !ok || n != t.len {
		return nil, fmt.Errorf("%d elements do not fill shape %v", t.len, shape)
	}
	return newTensor(*t, shape), nil
}

// Clone copies the tensor.
func (t *Tensor) Clone() *Tensor {
	c := New(t.dtype, t.shape...)
	copy(c.data, t.data)
	copy(c.strs, t.strs)
	return c
}

// At is the row-major position of an index, which has as many parts as there are dims.
func (t *Tensor) At(idx ...int64) int64 {
	flat := int64(0)
	for i, n := range t.shape {
		flat = flat*n + idx[i]
	}
	return flat
}

// Ints gives all elements of an integer tensor.
func Ints(t *Tensor) []int64 {
	out := make([]int64, t.len)
	loadInts(t, 0, out)
	return out
}

// String shows element type, shape and the first elements.
func (t *Tensor) String() string { return t.Format(8) }

// Format shows element type, shape and at most max elements; all of them for max < 0.
func (t *Tensor) Format(max int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s {", t.dtype, strings.ReplaceAll(fmt.Sprint(t.shape), " ", ", "))
	for i := range t.len {
		if i > 0 {
			b.WriteString(", ")
		}
		if max >= 0 && i >= int64(max) {
			b.WriteString("...")
			break
		}
		b.WriteString(t.elem(i))
	}
	b.WriteByte('}')
	return b.String()
}

// elem shows one element.
func (t *Tensor) elem(i int64) string {
	switch {
	case t.dtype == String:
		return fmt.Sprintf("%q", t.strs[i])
	case t.dtype == Bool:
		return fmt.Sprint(t.Bool(i))
	case t.dtype == U64:
		return fmt.Sprint(t.Uint(i))
	case t.dtype.IsInt():
		return fmt.Sprint(t.Int(i))
	case t.dtype.IsComplex():
		return fmt.Sprint(t.Complex(i))
	}
	return formatShort(t.Float(i), t.dtype)
}
