package onnx

import (
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// tensor reads a tensor of the file, once.
func (im *importer) tensor(t *wire.Tensor) (*tensor.Tensor, error) {
	if x := im.tensors[t]; x != nil {
		return x, nil
	}
	x, err := t.Tensor(im.file)
	if err == nil {
		im.tensors[t] = x
	}
	return x, err
}

// constant is a tensor of the file as an operand, with the place of its bytes; the same
// tensor is one constant however often it is read.
func (im *importer) constant(t *wire.Tensor, name string) (*ir.Value, error) {
	if v := im.consts[t]; v != nil {
		return v, nil
	}
	x, err := im.tensor(t)
	if err != nil {
		return nil, err
	}
	var src *ir.Source
	if b := x.Bytes(); len(b) > 0 {
		if file, off, ok := im.file.Source(b); ok {
			src = &ir.Source{File: file, Offset: off, Length: int64(len(b))}
		}
	}
	v := im.m.AddConst(name, x, src)
	im.consts[t] = v
	return v, nil
}

// maxDense bounds what all sparse constants of a model may take as dense ones, in bytes.
const maxDense = 1 << 30

// sparseConstant is a sparse tensor as a dense operand.
func (im *importer) sparseConstant(s *wire.SparseTensor, name string) (*ir.Value, error) {
	if v := im.sparse[s]; v != nil {
		return v, nil
	}
	t, err := im.densify(s)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = s.Values.Name
	}
	im.sparse[s] = im.m.AddConst(name, t, nil)
	return im.sparse[s], nil
}

// densify makes a dense tensor of a sparse one: indices are positions in row-major
// order [nnz], or index tuples [nnz, rank].
func (im *importer) densify(s *wire.SparseTensor) (*tensor.Tensor, error) {
	if s.Values == nil || s.Indices == nil {
		return nil, diag.New(diag.Malformed, "a sparse tensor lacks values or indices")
	}
	v, err := s.Values.Tensor(im.file)
	if err != nil {
		return nil, err
	}
	ix, err := s.Indices.Tensor(im.file)
	if err != nil {
		return nil, err
	}
	n, ok := tensor.Count(s.Dims)
	size, fits := v.DType().ByteLen(n)
	if v.DType() == tensor.String {
		size, fits = 16*n, n < maxDense // the header of a string
	}
	if !ok || !fits || size > maxDense-im.dense || len(s.Dims) > maxRank {
		return nil, s.Values.Errorf("as a dense tensor of shape %v it is too large: all sparse tensors together may take %d bytes", s.Dims, maxDense)
	}
	im.dense += size
	nnz, rank := v.Len(), int64(len(s.Dims))
	tuple := ix.Rank() == 2
	if ix.DType() != tensor.I64 || !tuple && ix.Len() != nnz || tuple && (ix.Shape()[0] != nnz || ix.Shape()[1] != rank) {
		return nil, s.Values.Errorf("indices of shape %v for %d values of a sparse tensor of shape %v", ix.Shape(), nnz, s.Dims)
	}
	out := tensor.New(v.DType(), s.Dims...)
	for i := range nnz {
		flat := int64(0)
		if !tuple {
			flat = ix.Int(i)
		} else {
			for d := range rank {
				p := ix.Int(i*rank + d)
				if p < 0 || p >= s.Dims[d] {
					return nil, s.Values.Errorf("index %d of a dim of %d in a sparse tensor", p, s.Dims[d])
				}
				flat = flat*s.Dims[d] + p
			}
		}
		if flat < 0 || flat >= out.Len() {
			return nil, s.Values.Errorf("index %d in a sparse tensor of %d elements", flat, out.Len())
		}
		tensor.CopyElem(out, flat, v, i)
	}
	return out, nil
}

// constantNode is the module constant that a Constant node is.
func (im *importer) constantNode(n *wire.Node, a attributes) ([]*ir.Value, error) {
	if len(n.Outputs) != 1 {
		return nil, diag.New(diag.Malformed, "a Constant has one output, not %d", len(n.Outputs))
	}
	name := n.Outputs[0]
	one := func(v *ir.Value, err error) ([]*ir.Value, error) { return []*ir.Value{v}, err }
	switch {
	case a.sparse != nil && len(a.plain) == 0:
		return one(im.sparseConstant(a.sparse, name))
	case a.tensor != nil && len(a.plain) == 1 && a.plain[0].Name == "value":
		return one(im.constant(a.tensor, name))
	case len(a.plain) != 1:
		return nil, diag.New(diag.Malformed, "a Constant takes one value, not %d", len(a.plain))
	}
	var t *tensor.Tensor
	switch x := a.plain[0].Value.(type) {
	case int64:
		t = tensor.Scalar(x)
	case float64:
		t = tensor.Scalar(float32(x))
	case string:
		t = tensor.Scalar(x)
	case []int64:
		t = tensor.Of(x)
	case []float64:
		t = floats(x)
	case []string:
		t = tensor.Of(x)
	default:
		return nil, diag.New(diag.Malformed, "a Constant can not be a %T", x)
	}
	return one(im.m.AddConst(name, t, nil), nil)
}

// floats is a 1-D f32 tensor; ONNX's float attributes are f32.
func floats(list []float64) *tensor.Tensor {
	out := make([]float32, len(list))
	for i, f := range list {
		out[i] = float32(f)
	}
	return tensor.Of(out)
}
