package onnxgo

import (
	"maps"
	"slices"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// attributes are an operation's attributes, in the order of their names. What onnx-go
// hands over is float32, int64, string, lists of these, and tensors; a kind that is none
// of them is an error of onnx-go's own type.
func attributes(o onnx.Operation) ([]*wire.Attribute, error) {
	var list []*wire.Attribute
	for _, name := range slices.Sorted(maps.Keys(o.Attributes)) {
		a := &wire.Attribute{Name: name}
		switch v := o.Attributes[name].(type) {
		case float32:
			a.Type, a.F = wire.AttrFloat, v
		case int64:
			a.Type, a.I = wire.AttrInt, v
		case string:
			a.Type, a.S = wire.AttrString, []byte(v)
		case []float32:
			a.Type, a.Floats = wire.AttrFloats, v
		case []int64:
			a.Type, a.Ints = wire.AttrInts, v
		case []string:
			a.Type = wire.AttrStrings
			for _, s := range v {
				a.Strings = append(a.Strings, []byte(s))
			}
		case tensor.Tensor:
			t, err := fromGorgonia(v)
			if err != nil {
				return nil, notImplemented(o.Name, name, v.Dtype(), err.Error())
			}
			a.Type, a.T = wire.AttrTensor, wire.NewTensor(name, t)
		default:
			return nil, notImplemented(o.Name, name, v, "neither a number, a string, a list of these, nor a tensor")
		}
		list = append(list, a)
	}
	return list, nil
}

func notImplemented(op, attr string, value any, why string) error {
	return &onnx.ErrNotImplemented{Operator: op, AttributeName: attr, AttributeValue: value, Message: why}
}
