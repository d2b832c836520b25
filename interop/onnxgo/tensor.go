package onnxgo

import (
	"reflect"

	"gorgonia.org/tensor"

	"github.com/pitopt/pitopt/core/diag"
	pt "github.com/pitopt/pitopt/core/tensor"
)

// gorgonia is a tensor of onnx-go and of Gorgonia.
type gorgonia = tensor.Tensor

// dtypes are the element types of both sides, by what Go knows them as.
var dtypes = map[reflect.Kind]pt.DType{
	reflect.Float32: pt.F32, reflect.Float64: pt.F64,
	reflect.Int8: pt.I8, reflect.Int16: pt.I16, reflect.Int32: pt.I32, reflect.Int64: pt.I64, reflect.Int: pt.I64,
	reflect.Uint8: pt.U8, reflect.Uint16: pt.U16, reflect.Uint32: pt.U32, reflect.Uint64: pt.U64, reflect.Uint: pt.U64,
	reflect.Bool: pt.Bool, reflect.String: pt.String, reflect.Complex64: pt.C64, reflect.Complex128: pt.C128,
}

// fromGorgonia views a tensor, or copies it where its elements do not lie in row-major
// order one after the other, or its integers are of the machine's own size (they become
// i64 and u64). Sparse tensors become dense. Masked ones are an error: ONNX has no masks.
func fromGorgonia(t gorgonia) (*pt.Tensor, error) {
	d, err := dense(t)
	if err != nil {
		return nil, err
	}
	dtype, ok := dtypes[d.Dtype().Kind()]
	if !ok {
		return nil, diag.New(diag.Run, "a tensor of %s, which ONNX does not have", d.Dtype())
	}
	shape := make([]int64, len(d.Shape()))
	for i, n := range d.Shape() {
		shape[i] = int64(n)
	}
	n, ok := pt.Count(shape)
	if ok && n == 0 {
		return pt.Make(dtype, shape)
	}
	if !ok || d.MemSize() == 0 {
		return nil, diag.New(diag.Run, "a tensor of shape %v without elements", shape)
	}
	l := layout{shape, d.Strides(), n}
	switch data := elements(d).(type) {
	case []float32:
		return arrange(data, l)
	case []float64:
		return arrange(data, l)
	case []int8:
		return arrange(data, l)
	case []int16:
		return arrange(data, l)
	case []int32:
		return arrange(data, l)
	case []int64:
		return arrange(data, l)
	case []int:
		return arrange(convert[int64](data), l)
	case []uint8:
		return arrange(data, l)
	case []uint16:
		return arrange(data, l)
	case []uint32:
		return arrange(data, l)
	case []uint64:
		return arrange(data, l)
	case []uint:
		return arrange(convert[uint64](data), l)
	case []bool:
		return arrange(data, l)
	case []string:
		return arrange(data, l)
	case []complex64:
		return arrange(data, l)
	case []complex128:
		return arrange(data, l)
	}
	return nil, diag.New(diag.Run, "a tensor of a type of its own, %s", d.Dtype()).Hint("use the type that it is made of")
}

// dense is a tensor whose elements can be looked at.
func dense(t gorgonia) (*tensor.Dense, error) {
	d, _ := t.(*tensor.Dense)
	if s, ok := t.(*tensor.CS); ok && s != nil {
		d = s.Dense()
	}
	switch {
	case d == nil:
		return nil, diag.New(diag.Run, "there is no tensor").Hint("set one with SetInput or SetTensor")
	case d.Dtype().Type == nil:
		return nil, diag.New(diag.Run, "the tensor has no element type").Hint("make it with tensor.New")
	case !d.IsNativelyAccessible():
		return nil, diag.New(diag.Run, "the tensor lies in memory of a device").Hint("copy it to one of the default engine")
	case len(d.Mask()) > 0:
		return nil, diag.New(diag.Run, "the tensor is masked, which ONNX does not know").Hint("fill what is masked, with Filled")
	}
	return d, nil
}

// elements are the tensor's memory as a slice; a tensor of shape () or (1) gives its one
// element itself.
func elements(d *tensor.Dense) any {
	data := d.Data()
	v := reflect.ValueOf(data)
	if v.Kind() == reflect.Slice {
		return data
	}
	one := reflect.MakeSlice(reflect.SliceOf(v.Type()), 1, 1)
	one.Index(0).Set(v)
	return one.Interface()
}

func convert[To, From int | uint | int64 | uint64](data []From) []To {
	out := make([]To, len(data))
	for i, v := range data {
		out[i] = To(v)
	}
	return out
}

// layout is where the n elements of a shape lie.
type layout struct {
	shape   []int64
	strides []int // other than one for each dim: the elements lie in order
	n       int64
}

// inOrder says whether elements lie in row-major order one after the other.
func (l layout) inOrder() bool {
	if len(l.strides) != len(l.shape) {
		return true
	}
	next := int64(1)
	for i := len(l.shape) - 1; i >= 0; i-- {
		if l.shape[i] != 1 && int64(l.strides[i]) != next {
			return false
		}
		next *= l.shape[i]
	}
	return true
}

// within says whether all elements lie in a slice of size elements.
func (l layout) within(size int) bool {
	last := l.n - 1
	if !l.inOrder() {
		last = 0
		for i, n := range l.shape {
			if l.strides[i] < 0 {
				return false
			}
			last += (n - 1) * int64(l.strides[i])
		}
	}
	return last < int64(size)
}

// arrange makes a tensor of elements: over them where they lie in order.
func arrange[T pt.Elem](data []T, l layout) (*pt.Tensor, error) {
	if !l.within(len(data)) {
		return nil, diag.New(diag.Run, "a tensor of shape %v and strides %v over %d elements", l.shape, l.strides, len(data))
	}
	if len(l.shape) == 0 {
		return pt.Scalar(data[0]), nil
	}
	if l.inOrder() {
		return pt.Of(data[:l.n:l.n], l.shape...), nil
	}
	out := make([]T, 0, l.n)
	index := make([]int64, len(l.shape))
	at := 0
	for {
		out = append(out, data[at])
		i := len(index) - 1
		for ; i >= 0; i-- { // count on: the last dim is the fastest
			if index[i]++; index[i] < l.shape[i] {
				at += l.strides[i]
				break
			}
			at -= int(l.shape[i]-1) * l.strides[i]
			index[i] = 0
		}
		if i < 0 {
			return pt.Of(out, l.shape...), nil
		}
	}
}

// toGorgonia copies a tensor, so that what a program does to a result changes neither
// weights nor inputs.
func toGorgonia(t *pt.Tensor) (gorgonia, error) {
	switch t.DType() {
	case pt.F32:
		return copied[float32](t), nil
	case pt.F64:
		return copied[float64](t), nil
	case pt.I8:
		return copied[int8](t), nil
	case pt.I16:
		return copied[int16](t), nil
	case pt.I32:
		return copied[int32](t), nil
	case pt.I64:
		return copied[int64](t), nil
	case pt.U8:
		return copied[uint8](t), nil
	case pt.U16:
		return copied[uint16](t), nil
	case pt.U32:
		return copied[uint32](t), nil
	case pt.U64:
		return copied[uint64](t), nil
	case pt.Bool:
		return copied[bool](t), nil
	case pt.String:
		return copied[string](t), nil
	case pt.C64:
		return copied[complex64](t), nil
	case pt.C128:
		return copied[complex128](t), nil
	}
	return nil, diag.New(diag.Run, "a result of %s, which Gorgonia's tensors do not have", t.DType()).Hint("cast it in the model, to f32 for example")
}

func copied[T pt.Elem](t *pt.Tensor) gorgonia {
	shape := make([]int, t.Rank())
	for i, n := range t.Shape() {
		shape[i] = int(n)
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(append(make([]T, 0, max(t.Len(), 1)), pt.Data[T](t)...)))
}
