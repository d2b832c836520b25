package interp

import (
	"math"

	"github.com/pitopt/pitopt/core/tensor"
)

// cells gives access to the elements of a tensor, kept as T. Which tensor that is may
// change, its element type does not.
type cells[T tensor.Elem] struct {
	direct []T // the elements themselves, where they are stored as they are kept
	coded  *codec[T]
	bits16 []uint16       // of 2-byte floats
	bits8  []uint8        // of 1-byte floats
	t      *tensor.Tensor // of everything else
}

// codec reads and writes elements that are stored in another form.
type codec[T tensor.Elem] struct {
	get func(c *cells[T], i int64) T
	set func(c *cells[T], i int64, v T)

	gather func(out []T, c *cells[T], at, step int64) // nil: by get
}

// newCells is access to tensors of a type, to none at first. T is what elements of the type
// are kept as (see classOf).
func newCells[T tensor.Elem](d tensor.DType) *cells[T] {
	c := &cells[T]{}
	c.coded, _ = codecOf(d).(*codec[T])
	return c
}

// cellsOf opens a tensor.
func cellsOf[T tensor.Elem](t *tensor.Tensor) *cells[T] {
	c := newCells[T](t.DType())
	c.bind(t)
	return c
}

// bind makes t the tensor; nil for none.
func (c *cells[T]) bind(t *tensor.Tensor) {
	c.direct, c.bits16, c.bits8, c.t = nil, nil, nil, nil
	switch {
	case t == nil:
	case c.coded == nil:
		c.direct = tensor.Data[T](t)
	case t.DType().IsSmall():
		c.t = t
	case t.DType().Bits() == 16:
		c.bits16 = tensor.Data[uint16](t)
	default:
		c.bits8 = tensor.Data[uint8](t)
	}
}

// codecOf is the *codec of a type whose elements are stored in another form than they are
// kept in, else nil.
func codecOf(d tensor.DType) any {
	switch {
	case d == tensor.F16:
		return &codec[float32]{
			func(c *cells[float32], i int64) float32 { return tensor.F16ToF32(c.bits16[i]) },
			func(c *cells[float32], i int64, v float32) { c.bits16[i] = tensor.F32ToF16(v) },
			gatherF16,
		}
	case d == tensor.BF16:
		return &codec[float32]{
			func(c *cells[float32], i int64) float32 { return tensor.BF16ToF32(c.bits16[i]) },
			func(c *cells[float32], i int64, v float32) { c.bits16[i] = tensor.F32ToBF16(v) },
			func(out []float32, c *cells[float32], at, step int64) {
				for i := range out {
					out[i] = tensor.BF16ToF32(c.bits16[at+int64(i)*step])
				}
			},
		}
	case d.IsFloat() && d.Bits() <= 8:
		return smallFloats(d)
	case d.IsSmall() && d.IsSigned():
		return smallInts[int8]()
	case d.IsSmall():
		return smallInts[uint8]()
	}
	return nil
}

// gatherF16 converts f16: normal numbers have another bias in their exponents.
func gatherF16(out []float32, c *cells[float32], at, step int64) {
	for i := range out {
		b := uint32(c.bits16[at+int64(i)*step])
		if e := b >> 10 & 31; e-1 < 30 {
			out[i] = math.Float32frombits(b&0x8000<<16 | (b&0x7fff+112<<10)<<13)
		} else {
			out[i] = tensor.F16ToF32(uint16(b))
		}
	}
}

// smallFloats is for f8 and f4 types. Values are of the type already: an infinity stays
// one.
func smallFloats(d tensor.DType) *codec[float32] {
	if d.IsSmall() {
		return &codec[float32]{
			func(c *cells[float32], i int64) float32 { return float32(c.t.Float(i)) },
			func(c *cells[float32], i int64, v float32) { c.t.SetFloat(i, float64(v)) },
			nil,
		}
	}
	var values [256]float32
	for b := range values {
		values[b] = tensor.SmallToF32(d, uint8(b))
	}
	return &codec[float32]{
		func(c *cells[float32], i int64) float32 { return values[c.bits8[i]] },
		func(c *cells[float32], i int64, v float32) {
			c.bits8[i] = tensor.F32ToSmall(d, v, tensor.CastOpts{NoSaturate: true})
		},
		nil,
	}
}

func smallInts[T int8 | uint8]() *codec[T] {
	return &codec[T]{
		func(c *cells[T], i int64) T { return T(c.t.Int(i)) },
		func(c *cells[T], i int64, v T) { c.t.SetInt(i, int64(v)) },
		nil,
	}
}

func (c *cells[T]) get(i int64) T {
	if c.coded != nil {
		return c.coded.get(c, i)
	}
	return c.direct[i]
}

func (c *cells[T]) set(i int64, v T) {
	if c.coded != nil {
		c.coded.set(c, i, v)
		return
	}
	c.direct[i] = v
}

// gather reads n elements that lie step apart; out is where to put them if they can
// not be had in place.
func (c *cells[T]) gather(at, step int64, out []T) []T {
	switch {
	case c.coded != nil && c.coded.gather != nil:
		c.coded.gather(out, c, at, step)
	case c.coded != nil:
		for i := range out {
			out[i] = c.coded.get(c, at+int64(i)*step)
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
	if c.coded != nil {
		for i, p := range at {
			out[i] = c.coded.get(c, p)
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
	case c.coded != nil:
		for i, x := range v {
			c.coded.set(c, at+int64(i)*step, x)
		}
	case step == 1 || len(v) == 1:
		copy(c.direct[at:], v)
	default:
		for i, x := range v {
			c.direct[at+int64(i)*step] = x
		}
	}
}
