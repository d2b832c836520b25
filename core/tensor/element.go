package tensor

import (
	"encoding/binary"
	"math"
	"strconv"
)

var le = binary.LittleEndian

// bitsOf gives the bit pattern of element i of a type of at most 64 bits.
func (t *Tensor) bitsOf(i int64) uint64 {
	switch t.dtype.Bits() {
	case 2:
		return uint64(t.data[i/4]>>(2*(i%4))) & 3
	case 4:
		return uint64(t.data[i/2]>>(4*(i%2))) & 15
	case 8:
		return uint64(t.data[i])
	case 16:
		return uint64(le.Uint16(t.data[2*i:]))
	case 32:
		return uint64(le.Uint32(t.data[4*i:]))
	}
	return le.Uint64(t.data[8*i:])
}

func (t *Tensor) setBits(i int64, b uint64) {
	switch t.dtype.Bits() {
	case 2:
		s := 2 * (i % 4)
		t.data[i/4] = t.data[i/4]&^(3<<s) | byte(b&3)<<s
	case 4:
		s := 4 * (i % 2)
		t.data[i/2] = t.data[i/2]&^(15<<s) | byte(b&15)<<s
	case 8:
		t.data[i] = byte(b)
	case 16:
		le.PutUint16(t.data[2*i:], uint16(b))
	case 32:
		le.PutUint32(t.data[4*i:], uint32(b))
	default:
		le.PutUint64(t.data[8*i:], b)
	}
}

// Int gives element i as an int64: integers exactly (u64 by its bits), truth values as
// 0 or 1, floats truncated as TruncateTo has it, of complex numbers the real part. Strings
// are not numbers: they need Convert, which can say so.
func (t *Tensor) Int(i int64) int64 {
	d := t.dtype
	switch {
	case d.IsInt():
		b := t.bitsOf(i)
		if d.IsSigned() {
			s := 64 - d.Bits()
			return int64(b<<s) >> s
		}
		return int64(b)
	case d == Bool:
		if t.data[i] != 0 {
			return 1
		}
		return 0
	}
	return TruncateTo(I64, t.Float(i))
}

// Uint is Int for unsigned elements.
func (t *Tensor) Uint(i int64) uint64 { return uint64(t.Int(i)) }

// Float gives element i as a float64: exact but for integers beyond 2^53, which round to
// nearest. Of complex numbers it is the real part; of a string that is no number, NaN.
func (t *Tensor) Float(i int64) float64 {
	switch d := t.dtype; {
	case d == F32:
		return float64(math.Float32frombits(uint32(t.bitsOf(i))))
	case d == F64:
		return math.Float64frombits(t.bitsOf(i))
	case d.IsFloat():
		return decodeSmall(d, uint16(t.bitsOf(i)))
	case d == U64:
		return float64(t.Uint(i))
	case d.IsComplex():
		return real(t.Complex(i))
	case d == String:
		v, err := parseNumber(t.strs[i], F64)
		if err != nil {
			return math.NaN()
		}
		return v
	}
	return float64(t.Int(i))
}

// Complex gives element i as a complex number.
func (t *Tensor) Complex(i int64) complex128 {
	switch t.dtype {
	case C64:
		return complex(float64(math.Float32frombits(le.Uint32(t.data[8*i:]))), float64(math.Float32frombits(le.Uint32(t.data[8*i+4:]))))
	case C128:
		return complex(math.Float64frombits(le.Uint64(t.data[16*i:])), math.Float64frombits(le.Uint64(t.data[16*i+8:])))
	}
	return complex(t.Float(i), 0)
}

// Bool says whether element i is not zero, or not the empty string.
func (t *Tensor) Bool(i int64) bool {
	switch {
	case t.dtype == Bool:
		return t.data[i] != 0
	case t.dtype.IsInt():
		return t.Int(i) != 0
	case t.dtype.IsComplex():
		return t.Complex(i) != 0
	case t.dtype == String:
		return t.strs[i] != ""
	}
	return t.Float(i) != 0
}

// Str gives element i of a string tensor, or its text.
func (t *Tensor) Str(i int64) string {
	if t.dtype == String {
		return t.strs[i]
	}
	return t.elem(i)
}

// SetInt stores an integer: wrapped into integer types, rounded once into floats, as text
// into strings.
func (t *Tensor) SetInt(i int64, v int64) {
	switch {
	case t.dtype.IsInt():
		t.setBits(i, uint64(v))
	case t.dtype == Bool:
		t.SetBool(i, v != 0)
	case t.dtype == String:
		t.strs[i] = strconv.FormatInt(v, 10)
	default:
		t.SetFloat(i, IntToFloat(t.dtype, v))
	}
}

// SetFloat stores a float rounded to nearest even, as Convert does without options; into
// integers it truncates.
func (t *Tensor) SetFloat(i int64, v float64) { t.setFloat(i, v, CastOpts{}) }

func (t *Tensor) setFloat(i int64, v float64, o CastOpts) {
	switch d := t.dtype; {
	case d == F32:
		le.PutUint32(t.data[4*i:], math.Float32bits(float32(v)))
	case d == F64:
		le.PutUint64(t.data[8*i:], math.Float64bits(v))
	case d.IsFloat():
		t.setBits(i, uint64(encodeSmall(d, v, o)))
	case d == Bool:
		t.SetBool(i, v != 0)
	case d.IsComplex():
		t.SetComplex(i, complex(v, 0))
	case d == String:
		t.strs[i] = formatNumber(v, F64)
	default:
		t.setBits(i, uint64(TruncateTo(d, v)))
	}
}

// SetComplex stores a complex number; into a real type its real part.
func (t *Tensor) SetComplex(i int64, v complex128) {
	switch t.dtype {
	case C64:
		le.PutUint32(t.data[8*i:], math.Float32bits(float32(real(v))))
		le.PutUint32(t.data[8*i+4:], math.Float32bits(float32(imag(v))))
	case C128:
		le.PutUint64(t.data[16*i:], math.Float64bits(real(v)))
		le.PutUint64(t.data[16*i+8:], math.Float64bits(imag(v)))
	default:
		t.SetFloat(i, real(v))
	}
}

// SetBool stores a truth value.
func (t *Tensor) SetBool(i int64, v bool) {
	n := int64(0)
	if v {
		n = 1
	}
	if t.dtype == Bool {
		t.data[i] = byte(n)
	} else {
		t.SetInt(i, n)
	}
}

// SetStr stores a string in a string tensor.
func (t *Tensor) SetStr(i int64, s string) { t.strs[i] = s }

// CopyElem copies element j of src to element i of dst, of the same element type.
func CopyElem(dst *Tensor, i int64, src *Tensor, j int64) {
	switch {
	case dst.dtype == String:
		dst.strs[i] = src.strs[j]
	case dst.dtype == C128:
		copy(dst.data[16*i:16*i+16], src.data[16*j:])
	default:
		dst.setBits(i, src.bitsOf(j))
	}
}
