package onnx

import (
	"os"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// ReadValue reads a value from a file as ONNX's test data hold it: a TensorProto, or,
// where t says so, a SequenceProto or an OptionalProto.
func ReadValue(path string, t ir.Type) (tensor.Value, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.New(diag.Run, "%v", err)
	}
	v, err := DecodeValue(b, t)
	if err != nil {
		return nil, diag.As(err, diag.Malformed).In(path)
	}
	return v, nil
}

// DecodeValue is ReadValue of bytes.
func DecodeValue(b []byte, t ir.Type) (tensor.Value, error) {
	switch t.(type) {
	case ir.SequenceType:
		s, err := wire.DecodeSequence(b)
		if err != nil {
			return nil, err
		}
		return sequence(s)
	case ir.OptionalType:
		o, err := wire.DecodeOptional(b)
		if err != nil {
			return nil, err
		}
		return optional(o)
	}
	p, err := wire.DecodeTensor(b)
	if err != nil {
		return nil, err
	}
	return p.Tensor(nil)
}

func sequence(s *wire.Sequence) (tensor.Value, error) {
	out := &tensor.Sequence{}
	for _, t := range s.Tensors {
		x, err := t.Tensor(nil)
		if err != nil {
			return nil, err
		}
		out.Elems = append(out.Elems, x)
	}
	for _, n := range s.Sequences {
		x, err := sequence(n)
		if err != nil {
			return nil, err
		}
		out.Elems = append(out.Elems, x)
	}
	for _, o := range s.Optionals {
		x, err := optional(o)
		if err != nil {
			return nil, err
		}
		out.Elems = append(out.Elems, x)
	}
	return out, nil
}

func optional(o *wire.Optional) (tensor.Value, error) {
	var elem tensor.Value
	var err error
	switch {
	case o.Tensor != nil:
		elem, err = o.Tensor.Tensor(nil)
	case o.Sequence != nil:
		elem, err = sequence(o.Sequence)
	case o.Optional != nil:
		elem, err = optional(o.Optional)
	}
	if err != nil {
		return nil, err
	}
	return &tensor.Optional{Elem: elem}, nil
}

// The element types of SequenceProto and OptionalProto.
const (
	elemTensor   = 1
	elemSequence = 3
	elemOptional = 5
)

// EncodeValue writes a value as ReadValue reads it.
func EncodeValue(name string, v tensor.Value) []byte {
	switch v := v.(type) {
	case *tensor.Sequence:
		return wire.Encode(sequenceProto(name, v))
	case *tensor.Optional:
		return wire.Encode(optionalProto(name, v))
	}
	return wire.Encode(wire.NewTensor(name, v.(*tensor.Tensor)))
}

func sequenceProto(name string, s *tensor.Sequence) *wire.Sequence {
	p := &wire.Sequence{Name: name, ElemType: elemTensor}
	for _, e := range s.Elems {
		switch e := e.(type) {
		case *tensor.Tensor:
			p.Tensors = append(p.Tensors, wire.NewTensor("", e))
		case *tensor.Sequence:
			p.ElemType = elemSequence
			p.Sequences = append(p.Sequences, sequenceProto("", e))
		case *tensor.Optional:
			p.ElemType = elemOptional
			p.Optionals = append(p.Optionals, optionalProto("", e))
		}
	}
	return p
}

func optionalProto(name string, o *tensor.Optional) *wire.Optional {
	p := &wire.Optional{Name: name}
	switch e := o.Elem.(type) {
	case *tensor.Tensor:
		p.ElemType, p.Tensor = elemTensor, wire.NewTensor("", e)
	case *tensor.Sequence:
		p.ElemType, p.Sequence = elemSequence, sequenceProto("", e)
	case *tensor.Optional:
		p.ElemType, p.Optional = elemOptional, optionalProto("", e)
	}
	return p
}
