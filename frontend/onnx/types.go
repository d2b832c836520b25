package onnx

import (
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// maxRank bounds the rank of a declared type.
const maxRank = 1024

// dimRule says whether a named dim may stand as what it says; where it may not, the
// dim becomes a fresh symbol.
type dimRule func(name string, i int, e sym.Expr) bool

// anyDim lets no name stand: dims of elements, of regions, and of stand-ins have
// nothing that binds them.
func anyDim(string, int, sym.Expr) bool { return false }

// inputDims is the rule of the inputs: a name is a symbol, one name is one symbol, and
// an expression stands where inputs can give all its symbols values. All names are
// reserved, so that no fresh symbol takes one.
func (im *importer) inputDims(inputs []*wire.ValueInfo) dimRule {
	var told ir.Scope
	var types []ir.Type
	for _, in := range inputs {
		if in.Type == nil || in.Type.Tensor == nil || in.Type.Tensor.Shape == nil {
			continue
		}
		var t ir.TensorType
		for _, d := range in.Type.Tensor.Shape.Dims {
			if d.HasValue || d.Param == "" {
				continue
			}
			e := sym.ParseDim(d.Param)
			for _, s := range e.Symbols() {
				im.m.Syms.Reserve(s)
			}
			t.Dims = append(t.Dims, e)
		}
		types = append(types, t)
	}
	told.Bind(types...)
	return func(name string, i int, e sym.Expr) bool {
		if s := told.Missing(e); s != "" {
			im.note(name, "dim %d is %s, but no input tells %q; taken as unknown", i, e, s)
			return false
		}
		return true
	}
}

// valueType reads a type. Dims without a name are fresh symbols, and so are names that
// the rule does not let stand.
func (im *importer) valueType(t *wire.Type, name string, rule dimRule) (ir.Type, error) {
	switch {
	case t == nil:
	case t.Tensor != nil:
		d, ok := tensor.DTypeFromONNX(t.Tensor.ElemType)
		if !ok {
			return nil, diag.New(diag.Malformed, "%q has element type %d, which is none of ONNX's", name, t.Tensor.ElemType)
		}
		if t.Tensor.Shape == nil {
			return ir.UnrankedOf(d), nil
		}
		if n := len(t.Tensor.Shape.Dims); n > maxRank {
			return nil, diag.New(diag.Malformed, "%q has rank %d", name, n)
		}
		dims := make([]sym.Expr, len(t.Tensor.Shape.Dims))
		for i, dim := range t.Tensor.Shape.Dims {
			dims[i] = im.dim(dim, name, i, rule)
		}
		return ir.TensorOf(d, dims...), nil
	case t.Sequence != nil:
		e, err := im.valueType(t.Sequence.Elem, name, anyDim)
		return ir.SequenceType{Elem: e}, err
	case t.Optional != nil:
		e, err := im.valueType(t.Optional.Elem, name, anyDim)
		return ir.OptionalType{Elem: e}, err
	case t.Map != nil:
		return ir.OpaqueType{Name: "map"}, nil
	case t.SparseTensor != nil:
		return nil, diag.New(diag.Unsupported, "unsupported: %q is a sparse tensor at run time", name)
	}
	return nil, diag.New(diag.Malformed, "%q has no type", name)
}

func (im *importer) dim(d *wire.Dim, name string, i int, rule dimRule) sym.Expr {
	e := sym.Const(d.Value)
	switch {
	case d.HasValue:
	case d.Param != "":
		e = sym.ParseDim(d.Param)
	default:
		return im.m.Syms.Fresh("d")
	}
	if n, ok := e.Int(); ok {
		if n >= 0 {
			return e
		}
		im.note(name, "dim %d is %d, taken as unknown", i, n)
	} else if rule(name, i, e) {
		return e
	}
	return im.m.Syms.Fresh("d")
}

// compareDeclared notes where a value is declared other than it is.
func (im *importer) compareDeclared(name string, declared *wire.Type, v *ir.Value) {
	if declared == nil || declared.Tensor == nil {
		return
	}
	t, ok := v.Tensor()
	if !ok {
		im.note(name, "the model declares a tensor, it is a %s", v.Type)
		return
	}
	if d, ok := tensor.DTypeFromONNX(declared.Tensor.ElemType); ok && t.DType != tensor.Invalid && d != t.DType {
		im.note(name, "the model declares element type %s, it has %s", d, t.DType)
	}
	if declared.Tensor.Shape == nil || t.Unranked {
		return
	}
	dims := declared.Tensor.Shape.Dims
	if len(dims) != len(t.Dims) {
		im.note(name, "the model declares rank %d, it has type %s", len(dims), t)
		return
	}
	for i, d := range dims {
		if d.HasValue && d.Value >= 0 && im.m.Syms.Equal(t.Dims[i], sym.Const(d.Value)) == sym.False {
			im.note(name, "the model declares dim %d as %d, it is %s", i, d.Value, t.Dims[i])
		}
	}
}

// declare keeps the declared type of an output for who writes the model again.
func (im *importer) declare(o *wire.ValueInfo) {
	t, err := im.valueType(o.Type, o.Name, func(string, int, sym.Expr) bool { return true })
	if err != nil {
		t = ir.UnrankedOf(tensor.Invalid)
	}
	im.m.Meta.Outputs = append(im.m.Meta.Outputs, t)
}

// ofUnknown is what is believed of the result of an operator that is not there: the
// declared element type and rank. Dims are fresh, for nothing checks them.
func (im *importer) ofUnknown(declared *wire.Type, name string) ir.Type {
	if declared != nil {
		if t, err := im.valueType(declared, name, anyDim); err == nil {
			return ir.MapDims(t, func(sym.Expr) sym.Expr { return im.m.Syms.Fresh("d") })
		}
	}
	return ir.UnrankedOf(tensor.Invalid)
}
