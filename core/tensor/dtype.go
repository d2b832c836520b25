// Package tensor holds the element types of ONNX and the values that flow at run
// time: dense tensors over somebody's memory, sequences and optionals.
package tensor

// DType is an element type.
type DType uint8

// The element types of ONNX. Invalid stands for one that is not known.
const (
	Invalid DType = iota
	F32
	F64
	F16
	BF16
	F8E4M3FN
	F8E4M3FNUZ
	F8E5M2
	F8E5M2FNUZ
	F8E8M0
	F4E2M1
	I8
	I16
	I32
	I64
	U8
	U16
	U32
	U64
	I4
	U4
	I2
	U2
	Bool
	String
	C64
	C128
	numDTypes
)

var dtypes = [numDTypes]struct {
	name string
	bits int
	onnx int32 // TensorProto.DataType
}{
	Invalid: {"invalid", 0, 0}, F32: {"f32", 32, 1}, F64: {"f64", 64, 11}, F16: {"f16", 16, 10}, BF16: {"bf16", 16, 16},
	F8E4M3FN: {"f8e4m3fn", 8, 17}, F8E4M3FNUZ: {"f8e4m3fnuz", 8, 18}, F8E5M2: {"f8e5m2", 8, 19}, F8E5M2FNUZ: {"f8e5m2fnuz", 8, 20},
	F8E8M0: {"f8e8m0", 8, 24}, F4E2M1: {"f4e2m1", 4, 23}, I8: {"i8", 8, 3}, I16: {"i16", 16, 5}, I32: {"i32", 32, 6}, I64: {"i64", 64, 7},
	U8: {"u8", 8, 2}, U16: {"u16", 16, 4}, U32: {"u32", 32, 12}, U64: {"u64", 64, 13}, I4: {"i4", 4, 22}, U4: {"u4", 4, 21},
	I2: {"i2", 2, 26}, U2: {"u2", 2, 25}, Bool: {"bool", 8, 9}, String: {"str", 0, 8}, C64: {"c64", 64, 14}, C128: {"c128", 128, 15},
}

// String is the name of the type in texts: f32, i64, f8e4m3fn, str.
func (d DType) String() string {
	if d >= numDTypes {
		d = Invalid
	}
	return dtypes[d].name
}

// Bits is the size of an element; 0 for strings.
func (d DType) Bits() int { return dtypes[d].bits }

// ONNX is the number of the type in TensorProto.DataType.
func (d DType) ONNX() int32 { return dtypes[d].onnx }

// ParseDType finds a type by the name String gives.
func ParseDType(name string) (DType, bool) {
	for d := F32; d < numDTypes; d++ {
		if dtypes[d].name == name {
			return d, true
		}
	}
	return Invalid, false
}

// DTypeFromONNX finds a type by its number in TensorProto.DataType.
func DTypeFromONNX(n int32) (DType, bool) {
	for d := F32; d < numDTypes; d++ {
		if dtypes[d].onnx == n {
			return d, true
		}
	}
	return Invalid, false
}

// DTypes gives all element types.
func DTypes() []DType {
	out := make([]DType, 0, numDTypes-1)
	for d := F32; d < numDTypes; d++ {
		out = append(out, d)
	}
	return out
}

// IsFloat says whether d is one of the floating point types, the small ones included.
func (d DType) IsFloat() bool { return d >= F32 && d <= F4E2M1 }

// IsInt says whether d is one of the integer types, sub-byte ones included.
func (d DType) IsInt() bool { return d >= I8 && d <= U2 }

// IsSigned says whether d is a signed integer or a float.
func (d DType) IsSigned() bool {
	switch d {
	case I8, I16, I32, I64, I4, I2:
		return true
	}
	return d.IsFloat()
}

// IsComplex says whether d is complex.
func (d DType) IsComplex() bool { return d == C64 || d == C128 }

// IsSmall says whether several elements share a byte.
func (d DType) IsSmall() bool { return d.Bits() > 0 && d.Bits() < 8 }

// Compute is the type that arithmetic on d happens in: f32 for the small floats, a
// byte for sub-byte integers, d itself otherwise.
func (d DType) Compute() DType {
	switch {
	case d.IsFloat() && d != F64:
		return F32
	case d == I4 || d == I2:
		return I8
	case d == U4 || d == U2:
		return U8
	}
	return d
}

// ByteLen is the size of a dense array of n elements, sub-byte ones packed and rounded
// up to a byte, strings not counted; false when n is negative or the size overflows.
func (d DType) ByteLen(n int64) (int64, bool) {
	bits := int64(d.Bits())
	if n < 0 || bits > 0 && n > (1<<62)/bits {
		return 0, false
	}
	return (n*bits + 7) / 8, true
}
