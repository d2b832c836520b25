package ir

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/tensor"
)

// Attr is a named constant of an operator. Value is one of: int64, float64, string,
// []int64, []float64, []string, *tensor.Tensor, Type.
//
// A float attribute of ONNX is an f32; it is kept as the float64 of the same value.
type Attr struct {
	Name  string
	Value any
}

// Attrs are the attributes of one statement, sorted by name. The zero value is empty.
type Attrs []Attr

// Get gives the attribute's value, nil when it is not there.
func (a Attrs) Get(name string) any {
	for _, x := range a {
		if x.Name == name {
			return x.Value
		}
	}
	return nil
}

// With gives the attributes with one set or replaced; the receiver is not changed.
func (a Attrs) With(name string, value any) Attrs {
	out := make(Attrs, 0, len(a)+1)
	for _, x := range a {
		if x.Name != name {
			out = append(out, x)
		}
	}
	i, _ := slices.BinarySearchFunc(out, name, func(x Attr, n string) int {
		if x.Name < n {
			return -1
		} else if x.Name > n {
			return 1
		}
		return 0
	})
	return slices.Insert(out, i, Attr{name, value})
}

// Without gives the attributes less one; the receiver is not changed.
func (a Attrs) Without(name string) Attrs {
	return slices.DeleteFunc(slices.Clone(a), func(x Attr) bool { return x.Name == name })
}

// MakeAttrs makes attributes from name, value pairs. int and []int are taken as int64.
func MakeAttrs(pairs ...any) Attrs {
	var a Attrs
	for i := 0; i+1 < len(pairs); i += 2 {
		v := pairs[i+1]
		switch x := v.(type) {
		case int:
			v = int64(x)
		case bool:
			v = int64(0)
			if x {
				v = int64(1)
			}
		case []int:
			s := make([]int64, len(x))
			for j, n := range x {
				s[j] = int64(n)
			}
			v = s
		case tensor.DType:
			v = int64(x.ONNX())
		}
		a = a.With(pairs[i].(string), v)
	}
	return a
}

// kindOf names the kind of an attribute's value, "" for what can be none.
func kindOf(value any) string {
	switch value.(type) {
	case int64:
		return "integer"
	case float64:
		return "float"
	case string:
		return "string"
	case []int64:
		return "list of integers"
	case []float64:
		return "list of floats"
	case []string:
		return "list of strings"
	case *tensor.Tensor:
		return "tensor"
	case Type:
		return "type"
	}
	return ""
}

// checkAttrValues says what is wrong with attributes, whatever they are attributes of.
func checkAttrValues(list Attrs) error {
	for i, a := range list {
		if i > 0 && a.Name <= list[i-1].Name {
			return fmt.Errorf("attribute %q stands behind %q", a.Name, list[i-1].Name)
		}
		if t, ok := a.Value.(*tensor.Tensor); kindOf(a.Value) == "" || ok && t == nil {
			return fmt.Errorf("attribute %q is a %T, which no attribute is", a.Name, a.Value)
		}
	}
	return nil
}

// SameAttr says whether two attribute values are equal; tensors by their bits.
func SameAttr(a, b any) bool {
	switch a := a.(type) {
	case []int64:
		b, ok := b.([]int64)
		return ok && slices.Equal(a, b)
	case []float64:
		b, ok := b.([]float64)
		return ok && slices.Equal(a, b)
	case []string:
		b, ok := b.([]string)
		return ok && slices.Equal(a, b)
	case *tensor.Tensor:
		b, ok := b.(*tensor.Tensor)
		return ok && (a == b || tensor.Equal(a, b))
	case Type:
		b, ok := b.(Type)
		return ok && SameType(a, b)
	}
	return a == b
}
