package tensor

import "fmt"

// CastOpts are the options of ONNX Cast.
type CastOpts struct {
	NoSaturate bool   // to an f8 type: what is too large becomes infinity or NaN
	RoundMode  string // to f8e8m0: "up" (the default), "down", "nearest"
}

// Convert is Cast of ONNX 25, between any two types. Where that leaves a choice:
//   - floats to integers truncate; NaN is 0; what does not fit 64 bits is the nearest bound,
//     of which narrower types take the low bits, as of any integer;
//   - integers round once, to nearest even, into every float type;
//   - of complex numbers real types take the real part, and bool whether they are not zero;
//   - strings hold decimal numbers, INF and NaN in any case; one that is none is an error;
//     as bool a string is true unless it is empty.
//
// A tensor that has type d already is returned as it is.
func Convert(t *Tensor, d DType, o CastOpts) (*Tensor, error) {
	switch o.RoundMode {
	case "", "up", "down", "nearest":
	default:
		return nil, fmt.Errorf("round mode %q is none of up, down, nearest", o.RoundMode)
	}
	if t.dtype == d {
		return t, nil
	}
	out, err := Make(d, t.shape)
	if err != nil {
		return nil, err
	}
	switch from := t.dtype; {
	case from == String || d == String:
		return out, convertText(out, t, o)
	case from.IsComplex() && (d.IsComplex() || d == Bool):
		for i := range t.len {
			if z := t.Complex(i); d == Bool {
				out.SetBool(i, z != 0)
			} else {
				out.SetComplex(i, z)
			}
		}
	case halves(out, t):
	case from.IsInt() || from == Bool:
		convertInts(out, t, o)
	default:
		convertFloats(out, t, o)
	}
	return out, nil
}

// block is how many elements go through a buffer at a time: a few pages, so that they stay
// in the first cache.
const block = 512

// convertInts converts integers and truth values by way of int64.
func convertInts(out, t *Tensor, o CastOpts) {
	var ints [block]int64
	var floats [block]float64
	for at := int64(0); at < t.len; at += block {
		v := ints[:min(block, t.len-at)]
		loadInts(t, at, v)
		if d := out.dtype; d.IsInt() || d == Bool {
			storeInts(out, at, v)
			continue
		} else if t.dtype == U64 {
			for i, n := range v {
				floats[i] = UintToFloat(d, uint64(n))
			}
		} else if t.dtype == I64 {
			for i, n := range v {
				floats[i] = IntToFloat(d, n)
			}
		} else {
			convert(floats[:len(v)], v)
		}
		storeFloats(out, at, floats[:len(v)], o)
	}
}

// convertFloats converts floats, of complex numbers the real part, by way of float64.
func convertFloats(out, t *Tensor, o CastOpts) {
	var ints [block]int64
	var floats [block]float64
	for at := int64(0); at < t.len; at += block {
		v := floats[:min(block, t.len-at)]
		loadFloats(t, at, v)
		if d := out.dtype; d.IsInt() {
			for i, x := range v {
				ints[i] = TruncateTo(d, x)
			}
			storeInts(out, at, ints[:len(v)])
		} else {
			storeFloats(out, at, v, o)
		}
	}
}

// halves converts between f32 and the 16-bit floats, which is most of what is converted:
// weights. It says whether it did.
func halves(out, t *Tensor) bool {
	switch [2]DType{t.dtype, out.dtype} {
	case [2]DType{F16, F32}:
		mapTo(Data[float32](out), Data[uint16](t), F16ToF32)
	case [2]DType{BF16, F32}:
		mapTo(Data[float32](out), Data[uint16](t), BF16ToF32)
	case [2]DType{F32, F16}:
		mapTo(Data[uint16](out), Data[float32](t), F32ToF16)
	case [2]DType{F32, BF16}:
		mapTo(Data[uint16](out), Data[float32](t), F32ToBF16)
	default:
		return false
	}
	return true
}

// number is what Go converts to and from.
type number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

func convert[D, S number](dst []D, src []S) {
	for i, v := range src {
		dst[i] = D(v)
	}
}

func mapTo[D, S any](dst []D, src []S, f func(S) D) {
	for i, v := range src {
		dst[i] = f(v)
	}
}

// loadInts gives elements from at on as Int does.
func loadInts(t *Tensor, at int64, out []int64) {
	end := at + int64(len(out))
	switch t.dtype {
	case I8:
		convert(out, Data[int8](t)[at:end])
	case I16:
		convert(out, Data[int16](t)[at:end])
	case I32:
		convert(out, Data[int32](t)[at:end])
	case I64:
		copy(out, Data[int64](t)[at:end])
	case U8:
		convert(out, Data[uint8](t)[at:end])
	case U16:
		convert(out, Data[uint16](t)[at:end])
	case U32:
		convert(out, Data[uint32](t)[at:end])
	case U64:
		convert(out, Data[uint64](t)[at:end])
	default:
		for i := range out {
			out[i] = t.Int(at + int64(i))
		}
	}
}

// storeInts sets elements of an integer or bool type from at on as SetInt does.
func storeInts(t *Tensor, at int64, v []int64) {
	end := at + int64(len(v))
	switch t.dtype {
	case I8:
		convert(Data[int8](t)[at:end], v)
	case I16:
		convert(Data[int16](t)[at:end], v)
	case I32:
		convert(Data[int32](t)[at:end], v)
	case I64:
		copy(Data[int64](t)[at:end], v)
	case U8:
		convert(Data[uint8](t)[at:end], v)
	case U16:
		convert(Data[uint16](t)[at:end], v)
	case U32:
		convert(Data[uint32](t)[at:end], v)
	case U64:
		convert(Data[uint64](t)[at:end], v)
	default:
		for i, n := range v {
			t.SetInt(at+int64(i), n)
		}
	}
}

// loadFloats gives elements from at on as Float does.
func loadFloats(t *Tensor, at int64, out []float64) {
	end := at + int64(len(out))
	switch t.dtype {
	case F32:
		convert(out, Data[float32](t)[at:end])
	case F64:
		copy(out, Data[float64](t)[at:end])
	case F16, BF16:
		for i, b := range Data[uint16](t)[at:end] {
			out[i] = decodeSmall(t.dtype, b)
		}
	default:
		for i := range out {
			out[i] = t.Float(at + int64(i))
		}
	}
}

// storeFloats sets elements of a float, complex or bool type from at on as SetFloat does.
func storeFloats(t *Tensor, at int64, v []float64, o CastOpts) {
	end := at + int64(len(v))
	switch d := t.dtype; d {
	case F32:
		convert(Data[float32](t)[at:end], v)
	case F64:
		copy(Data[float64](t)[at:end], v)
	case F16, BF16:
		bits := Data[uint16](t)[at:end]
		for i, x := range v {
			bits[i] = encodeSmall(d, x, o)
		}
	default:
		for i, x := range v {
			t.setFloat(at+int64(i), x, o)
		}
	}
}
