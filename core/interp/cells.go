package interp

import "github.com/pitopt/pitopt/core/tensor"

// cells gives access to the elements of a tensor, kept as T.
type cells[T any] struct {
	direct []T // the elements themselves; nil where they are stored in another form
	get    func(i int64) T
	set    func(i int64, v T)
}

// cellsOf opens a tensor whose elements are kept as T (see compiler.compile).
func cellsOf[T any](t *tensor.Tensor) cells[T] {
	var all any
	switch t.DType() {
	case tensor.Bool:
		all = direct(tensor.Data[bool](t))
	case tensor.String:
		all = direct(tensor.Data[string](t))
	case tensor.F32:
		all = direct(tensor.Data[float32](t))
	case tensor.F64:
		all = direct(tensor.Data[float64](t))
	case tensor.C64:
		all = direct(tensor.Data[complex64](t))
	case tensor.C128:
		all = direct(tensor.Data[complex128](t))
	case tensor.I8:
		all = direct(tensor.Data[int8](t))
	case tensor.I16:
		all = direct(tensor.Data[int16](t))
	case tensor.I32:
		all = direct(tensor.Data[int32](t))
	case tensor.I64:
		all = direct(tensor.Data[int64](t))
	case tensor.U8:
		all = direct(tensor.Data[uint8](t))
	case tensor.U16:
		all = direct(tensor.Data[uint16](t))
	case tensor.U32:
		all = direct(tensor.Data[uint32](t))
	case tensor.U64:
		all = direct(tensor.Data[uint64](t))
	case tensor.F16:
		bits := tensor.Data[uint16](t)
		all = cells[float32]{
			get: func(i int64) float32 { return tensor.F16ToF32(bits[i]) },
			set: func(i int64, v float32) { bits[i] = tensor.F32ToF16(v) },
		}
	case tensor.BF16:
		bits := tensor.Data[uint16](t)
		all = cells[float32]{
			get: func(i int64) float32 { return tensor.BF16ToF32(bits[i]) },
			set: func(i int64, v float32) { bits[i] = tensor.F32ToBF16(v) },
		}
	default:
		switch {
		case !t.DType().IsInt():
			all = smallFloats(t)
		case t.DType().IsSigned():
			all = smallInts[int8](t)
		default:
			all = smallInts[uint8](t)
		}
	}
	return all.(cells[T])
}

// smallFloats opens f8 and f4 types. Values are of the type already: an infinity stays
// one.
func smallFloats(t *tensor.Tensor) cells[float32] {
	d := t.DType()
	if d.IsSmall() {
		return cells[float32]{
			get: func(i int64) float32 { return float32(t.Float(i)) },
			set: func(i int64, v float32) { t.SetFloat(i, float64(v)) },
		}
	}
	bits := tensor.Data[uint8](t)
	var values [256]float32
	for b := range values {
		values[b] = tensor.SmallToF32(d, uint8(b))
	}
	return cells[float32]{
		get: func(i int64) float32 { return values[bits[i]] },
		set: func(i int64, v float32) { bits[i] = tensor.F32ToSmall(d, v, tensor.CastOpts{NoSaturate: true}) },
	}
}

func smallInts[T int8 | uint8](t *tensor.Tensor) cells[T] {
	return cells[T]{
		get: func(i int64) T { return T(t.Int(i)) },
		set: func(i int64, v T) { t.SetInt(i, int64(v)) },
	}
}

func direct[T any](data []T) cells[T] {
	return cells[T]{
		direct: data,
		get:    func(i int64) T { return data[i] },
		set:    func(i int64, v T) { data[i] = v },
	}
}

// gather reads n elements that lie step apart; out is where to put them if they can
// not be had in place.
func (c *cells[T]) gather(at, step int64, out []T) []T {
	switch {
	case c.direct == nil:
		for i := range out {
			out[i] = c.get(at + int64(i)*step)
		}
	case step == 1 || len(out) == 1:
		return c.direct[at : at+int64(len(out))]
	default:
		for i := range out {
			out[i] = c.direct[at+int64(i)*step]
		}
	}
	return out
}

// pick reads elements at any places.
func (c *cells[T]) pick(at []int64, out []T) []T {
	out = out[:len(at)]
	if c.direct == nil {
		for i, p := range at {
			out[i] = c.get(p)
		}
		return out
	}
	for i, p := range at {
		out[i] = c.direct[p]
	}
	return out
}

// put writes elements to places that lie step apart.
func (c *cells[T]) put(at, step int64, v []T) {
	switch {
	case c.direct == nil:
		for i, x := range v {
			c.set(at+int64(i)*step, x)
		}
	case step == 1 || len(v) == 1:
		copy(c.direct[at:], v)
	default:
		for i, x := range v {
			c.direct[at+int64(i)*step] = x
		}
	}
}
