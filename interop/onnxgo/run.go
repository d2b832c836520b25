package onnxgo

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/owulveryck/onnx-go"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	pt "github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// compiled is the model as it runs.
type compiled struct {
	model   *pitopt.Model
	outputs []*value
}

func (c *compiled) gives(v *value) bool { return slices.Contains(c.outputs, v) }

// Run computes the outputs from the tensors that are set, and puts them into their nodes;
// where it fails the nodes keep what they have. An operator that is not there is an
// *onnx.ErrNotImplemented, all else a diagnostic of package diag. Every Run gives new
// tensors.
//
// What the program never touched is a constant: the first Run compiles it in, and it must
// stay as it is. What it set, or asked for to fill it, is an input, and read by every Run.
func (g *Graph) Run() error {
	if g.err != nil {
		return g.err
	}
	if len(g.nodes) == 0 {
		return diag.New(diag.Usage, "the graph has no operations").Hint("decode a model into it with onnx.NewModel(graph).UnmarshalBinary")
	}
	args := map[string]*pt.Tensor{}
	for _, v := range g.leaves() {
		if !v.touched {
			continue
		}
		t, err := v.input()
		if err != nil {
			return diag.As(err, diag.Run).At(v.name, "")
		}
		if v.widen(t) {
			_ = g.Close()
		}
		args[v.name] = t
	}
	if g.compiled == nil {
		c, err := g.compile()
		if err != nil {
			return asNotImplemented(err)
		}
		g.compiled = c
	}
	results, err := g.compiled.model.Run(context.Background(), args)
	if err != nil {
		return asNotImplemented(err)
	}
	return g.compiled.store(results)
}

// asNotImplemented is an error as onnx-go's users expect it, who look at its type without
// unwrapping it.
func asNotImplemented(err error) error {
	if diag.CodeOf(err) != diag.Unsupported {
		return err
	}
	return &onnx.ErrNotImplemented{Operator: diag.As(err, diag.Unsupported).Op, Message: err.Error()}
}

func (c *compiled) store(results map[string]*pt.Tensor) error {
	tensors := make([]gorgonia, len(c.outputs))
	for i, v := range c.outputs {
		var err error
		if tensors[i], err = toGorgonia(results[v.name]); err != nil {
			return diag.As(err, diag.Run).At(v.name, "")
		}
	}
	for i, v := range c.outputs {
		v.tensor = tensors[i]
	}
	return nil
}

// anySize is a dim that several sizes came for.
const anySize = -1

// widen makes the shape that an input is compiled for one that t has, and says whether it
// was another.
func (v *value) widen(t *pt.Tensor) (changed bool) {
	if v.dims == nil || len(v.dims) != t.Rank() {
		v.dims = append([]int64{}, t.Shape()...)
		return true
	}
	for i, n := range t.Shape() {
		if v.dims[i] != n && v.dims[i] != anySize {
			v.dims[i], changed = anySize, true
		}
	}
	return changed
}

// input is the value's tensor, in the element type that the model declares if all its
// elements are the same in it.
func (v *value) input() (*pt.Tensor, error) {
	t, err := fromGorgonia(v.tensor)
	if err != nil {
		return nil, err
	}
	if v.dtype == pt.Invalid {
		v.dtype = t.DType()
	}
	if v.dtype == t.DType() {
		return t, nil
	}
	if c, ok := exactly(t, v.dtype); ok {
		return c, nil
	}
	return nil, diag.New(diag.Run, "a tensor of %s, not all of whose elements the model's %s has", t.DType(), v.dtype).Hint("convert them")
}

// exactly converts numbers, if each of them is the same in the other type.
func exactly(t *pt.Tensor, d pt.DType) (*pt.Tensor, bool) {
	if d == pt.String || t.DType() == pt.String {
		return nil, false
	}
	c, err := pt.Convert(t, d, pt.CastOpts{})
	if err != nil {
		return nil, false
	}
	back, err := pt.Convert(c, t.DType(), pt.CastOpts{})
	if err != nil || !pt.Equal(back, t) {
		return nil, false
	}
	for i := range t.Len() { // integers that wrapped come back, but with another sign
		if (t.Float(i) < 0) != (c.Float(i) < 0) {
			return nil, false
		}
	}
	return c, true
}

// compile makes an ONNX model of the graph and loads it, so that old forms of operators
// are understood and everything is checked as in a file.
func (g *Graph) compile() (*compiled, error) {
	model := &wire.Graph{Name: "onnx-go"}
	for _, n := range g.nodes {
		model.Nodes = append(model.Nodes, g.withoutStandIn(n))
	}
	lastDeclared := g.lastDeclared()
	for _, v := range g.leaves() {
		switch {
		case v.touched:
			model.Inputs = append(model.Inputs, v.info())
		case v.tensor == nil: // the importer says who reads it
		case v.declared == 1 && v.id < lastDeclared:
			return nil, diag.New(diag.Run, "input %q has no tensor yet", v.name).
				Hint("set it with SetInput, or with SetTensor on the node that GetNodeByName gives: SetInput counts inputs that are weights, too")
		default:
			t, err := fromGorgonia(v.tensor)
			if err != nil {
				return nil, diag.As(err, diag.Malformed).At(v.name, "")
			}
			model.Initializers = append(model.Initializers, wire.NewTensor(v.name, t))
		}
	}
	c := &compiled{outputs: g.outputs()}
	for _, v := range c.outputs {
		model.Outputs = append(model.Outputs, &wire.ValueInfo{Name: v.name})
	}
	b := wire.Encode(&wire.Model{IRVersion: 8, ProducerName: "onnx-go", Graph: model, OpsetImport: opsets(model.Nodes, g.opset)})
	var err error
	c.model, err = pitopt.LoadBytes("onnx-go model", b, g.opts...)
	return c, err
}

// withoutStandIn takes away the input that onnx-go makes up for operations that have
// none: one that nothing defines, named after the operation.
func (g *Graph) withoutStandIn(n *wire.Node) *wire.Node {
	if len(n.Inputs) != 1 || !strings.HasSuffix(n.Inputs[0], "/input") {
		return n
	}
	if v := g.values[n.Inputs[0]]; v.computed || v.tensor != nil {
		return n
	}
	return &wire.Node{OpType: n.OpType, Domain: n.Domain, Attributes: n.Attributes, Outputs: n.Outputs}
}

// info declares an input.
func (v *value) info() *wire.ValueInfo {
	shape := &wire.Shape{}
	for _, n := range v.dims {
		shape.Dims = append(shape.Dims, &wire.Dim{HasValue: n != anySize, Value: max(n, 0)})
	}
	return &wire.ValueInfo{Name: v.name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: v.dtype.ONNX(), Shape: shape}}}
}

// leaves are the values that operations read and none computes, in the order of their IDs.
func (g *Graph) leaves() []*value {
	return g.where(func(v *value) bool { return v.read && !v.computed })
}

// outputs are the values that a Run fetches. onnx-go does not say which of the values that
// the model declares are its outputs: it takes those that no operation reads, or if there
// are none such all that are declared, or if nothing is declared all that no operation
// reads; and what the program asked for.
func (g *Graph) outputs() []*value {
	declared := func(v *value) bool { return v.declared > 0 }
	unread := func(v *value) bool { return !v.read }
	for _, is := range []func(v *value) bool{
		func(v *value) bool { return declared(v) && unread(v) },
		declared,
		unread,
	} {
		if list := g.where(func(v *value) bool { return v.computed && is(v) }); len(list) > 0 {
			return g.where(func(v *value) bool { return v.computed && (is(v) || v.fetched) })
		}
	}
	return g.where(func(v *value) bool { return v.computed })
}

// lastDeclared is the ID of the last result whose type the model declares. A leaf before it
// that had just one tensor was never more than declared, and has the empty placeholder that
// onnx-go makes for it: weights that are not declared come after. Where the model declares
// no result this is -1, and placeholders can not be told from weights.
func (g *Graph) lastDeclared() int64 {
	last := int64(-1)
	for _, v := range g.values {
		if v.computed && v.declared > 0 {
			last = max(last, v.id)
		}
	}
	return last
}

// where lists values in the order of their IDs.
func (g *Graph) where(is func(*value) bool) []*value {
	var list []*value
	for _, v := range g.values {
		if is(v) {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b *value) int { return cmp.Compare(a.id, b.id) })
	return list
}
