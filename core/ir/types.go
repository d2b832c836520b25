// Package ir is pitopt's intermediate representation: modules that hold graph
// operators, tensor programs and kernels side by side, with symbolic shapes.
//
// A type is a fact that never changes: element type and shape. Whatever else is
// known about a value (contents, zeros, ranges) is analysis and lives in side tables.
package ir

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Type is the type of a value: TensorType, SequenceType, OptionalType or OpaqueType.
type Type interface {
	String() string
	isType()
}

// TensorType is the type of a dense tensor. DType is tensor.Invalid and Unranked is
// set where nothing is known (the result of an operator that pitopt does not know).
type TensorType struct {
	DType    tensor.DType
	Dims     []sym.Expr // nil when Unranked
	Unranked bool
}

// SequenceType is an ONNX sequence: a list of values of one element type.
type SequenceType struct{ Elem Type }

// OptionalType is an ONNX optional: an element, or none. An element by itself counts as an
// optional that holds it: a loop may start from an optional and go on with what it held.
type OptionalType struct{ Elem Type }

// OpaqueType is a type that only a runtime looks into, such as "storage".
type OpaqueType struct{ Name string }

func (TensorType) isType()   {}
func (SequenceType) isType() {}
func (OptionalType) isType() {}
func (OpaqueType) isType()   {}

// Storage is the type of a piece of memory that results are placed in.
var Storage = OpaqueType{"storage"}

// TensorOf makes a ranked tensor type.
func TensorOf(d tensor.DType, dims ...sym.Expr) TensorType {
	return TensorType{DType: d, Dims: dims}
}

// UnrankedOf makes the type of a tensor of which only the element type is known.
func UnrankedOf(d tensor.DType) TensorType { return TensorType{DType: d, Unranked: true} }

// TypeOf gives the exact type of a run-time value. An empty sequence or optional
// has the element type of an unknown tensor.
func TypeOf(v tensor.Value) Type {
	switch v := v.(type) {
	case *tensor.Tensor:
		return TensorOf(v.DType(), Consts(v.Shape())...)
	case *tensor.Sequence:
		if len(v.Elems) == 0 {
			return SequenceType{UnrankedOf(tensor.Invalid)}
		}
		elem := TypeOf(v.Elems[0])
		for _, e := range v.Elems[1:] {
			elem = joinStatic(elem, TypeOf(e))
		}
		return SequenceType{elem}
	case *tensor.Optional:
		if v.Elem == nil {
			return OptionalType{UnrankedOf(tensor.Invalid)}
		}
		return OptionalType{TypeOf(v.Elem)}
	}
	return UnrankedOf(tensor.Invalid)
}

// joinStatic forgets the shape where two exact types differ.
func joinStatic(a, b Type) Type {
	if SameType(a, b) {
		return a
	}
	if x, ok := a.(TensorType); ok {
		return UnrankedOf(x.DType)
	}
	return a
}

// Consts makes constant dims.
func Consts(shape []int64) []sym.Expr {
	dims := make([]sym.Expr, len(shape))
	for i, n := range shape {
		dims[i] = sym.Const(n)
	}
	return dims
}

// Static gives the shape as numbers when every dim is a constant.
func (t TensorType) Static() ([]int64, bool) {
	if t.Unranked {
		return nil, false
	}
	out := make([]int64, len(t.Dims))
	for i, d := range t.Dims {
		n, ok := d.Int()
		if !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// Rank is the number of dims; -1 when it is not known.
func (t TensorType) Rank() int {
	if t.Unranked {
		return -1
	}
	return len(t.Dims)
}

// nothingKnown: the result of an operator that is not there, of any kind.
func (t TensorType) nothingKnown() bool { return t.Unranked && t.DType == tensor.Invalid }

// Size is the number of elements, the product of the dims.
func (t TensorType) Size() sym.Expr { return sym.Prod(t.Dims...) }

func (t TensorType) String() string {
	d := t.DType.String()
	if t.DType == tensor.Invalid {
		d = "?"
	}
	if t.Unranked {
		return "[*] " + d
	}
	return ShapeString(t.Dims) + " " + d
}

// ShapeString prints dims as the text form does: [batch, 2*seq].
func ShapeString(dims []sym.Expr) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, e := range dims {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(e.String())
	}
	b.WriteByte(']')
	return b.String()
}

func (t SequenceType) String() string { return "seq(" + t.Elem.String() + ")" }
func (t OptionalType) String() string { return "optional(" + t.Elem.String() + ")" }
func (t OpaqueType) String() string   { return t.Name }

// SameType says whether two types are written alike: dims equal in normal form.
func SameType(a, b Type) bool {
	switch a := a.(type) {
	case TensorType:
		b, ok := b.(TensorType)
		return ok && a.DType == b.DType && a.Unranked == b.Unranked && SameDims(a.Dims, b.Dims)
	case SequenceType:
		b, ok := b.(SequenceType)
		return ok && SameType(a.Elem, b.Elem)
	case OptionalType:
		b, ok := b.(OptionalType)
		return ok && SameType(a.Elem, b.Elem)
	case OpaqueType:
		return a == b
	}
	return a == nil && b == nil
}

// SameDims says whether two shapes are equal in normal form.
func SameDims(a, b []sym.Expr) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// EachDim calls f for every dim of t, those of nested types included.
func EachDim(t Type, f func(sym.Expr)) {
	switch t := t.(type) {
	case TensorType:
		for _, d := range t.Dims {
			f(d)
		}
	case SequenceType:
		EachDim(t.Elem, f)
	case OptionalType:
		EachDim(t.Elem, f)
	}
}

// EachOwnDim calls f for every dim of a tensor. What a sequence or an optional holds has
// sizes of its own: a symbol there that nothing else binds stands for another size in
// each element, and is not visible outside.
func EachOwnDim(t Type, f func(sym.Expr)) {
	if t, ok := t.(TensorType); ok {
		EachDim(t, f)
	}
}

// MapDims gives t with every dim replaced by what f makes of it.
func MapDims(t Type, f func(sym.Expr) sym.Expr) Type {
	switch t := t.(type) {
	case TensorType:
		dims := make([]sym.Expr, len(t.Dims))
		for i, d := range t.Dims {
			dims[i] = f(d)
		}
		return TensorType{DType: t.DType, Dims: dims, Unranked: t.Unranked}
	case SequenceType:
		return SequenceType{MapDims(t.Elem, f)}
	case OptionalType:
		return OptionalType{MapDims(t.Elem, f)}
	}
	return t
}

// Join is the most exact type that both types are: dims that differ become what
// fresh gives; other ranks make it unranked. It fails where element types or
// kinds of value differ. A type of which nothing is known may be any kind of value.
func Join(a, b Type, fresh func() sym.Expr) (Type, bool) {
	if o, ok := b.(OptionalType); ok {
		if _, ok := a.(OptionalType); !ok {
			b, a = a, o
		}
	}
	if t, ok := b.(TensorType); ok && t.nothingKnown() {
		if _, ok := a.(TensorType); !ok {
			return b, true
		}
	}
	switch a := a.(type) {
	case TensorType:
		b, ok := b.(TensorType)
		if !ok {
			return a, a.nothingKnown()
		}
		d := a.DType
		if d == tensor.Invalid {
			d = b.DType
		} else if b.DType != tensor.Invalid && b.DType != d {
			return nil, false
		}
		if a.Unranked || b.Unranked || len(a.Dims) != len(b.Dims) {
			return UnrankedOf(d), true
		}
		dims := make([]sym.Expr, len(a.Dims))
		for i := range dims {
			if dims[i] = a.Dims[i]; !dims[i].Equal(b.Dims[i]) {
				dims[i] = fresh()
			}
		}
		return TensorOf(d, dims...), true
	case SequenceType:
		if b, ok := b.(SequenceType); ok {
			if e, ok := Join(a.Elem, b.Elem, fresh); ok {
				return SequenceType{e}, true
			}
		}
	case OptionalType:
		elem := b
		if o, ok := b.(OptionalType); ok {
			elem = o.Elem
		}
		if e, ok := Join(a.Elem, elem, fresh); ok {
			return OptionalType{e}, true
		}
	case OpaqueType:
		if a == b {
			return a, true
		}
	}
	return nil, false
}

// ParseType reads a tensor type as String writes it: [batch, 2*seq, 768] f32, or [*] f32.
func ParseType(s string) (TensorType, error) {
	s = strings.TrimSpace(s)
	end := strings.LastIndexByte(s, ']')
	if !strings.HasPrefix(s, "[") || end < 0 {
		return TensorType{}, fmt.Errorf("%q does not start with dims in brackets", s)
	}
	name := strings.TrimSpace(s[end+1:])
	d, ok := tensor.ParseDType(name)
	if !ok && name != "?" {
		return TensorType{}, fmt.Errorf("%q is no element type", name)
	}
	inner := strings.TrimSpace(s[1:end])
	switch inner {
	case "*":
		return UnrankedOf(d), nil
	case "":
		return TensorOf(d), nil
	}
	t := TensorOf(d)
	depth, start, quoted := 0, 0, false
	for i := 0; i <= len(inner); i++ {
		if i < len(inner) {
			switch c := inner[i]; {
			case c == '\\' && quoted:
				i++
				continue
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '(':
				depth++
			case c == ')':
				depth--
			}
			if quoted || depth > 0 || inner[i] != ',' {
				continue
			}
		}
		e, err := sym.Parse(inner[start:i])
		if err != nil {
			return TensorType{}, err
		}
		t.Dims = append(t.Dims, e)
		start = i + 1
	}
	return t, nil
}
