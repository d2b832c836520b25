package onnx

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// call is a node on its way to a statement. Adapters of old operator versions change
// it in place.
type call struct {
	im      *importer
	node    *wire.Node
	name    string // with namespace
	version int64  // of the imported operator set; then of the operator itself
	args    []*ir.Value
	attrs   ir.Attrs
	graphs  map[string]*wire.Graph
	sc      *scope
}

// attributes are a node's attributes: plain values, graphs, and sparse tensors.
type attributes struct {
	plain  ir.Attrs
	graphs map[string]*wire.Graph
	sparse *wire.SparseTensor
	source *wire.Tensor // of a Constant's value
}

func (im *importer) attributes(n *wire.Node, sc *scope) (attributes, error) {
	out := attributes{graphs: map[string]*wire.Graph{}}
	for _, a := range n.Attributes {
		name := a.Name
		if a.RefAttrName != "" {
			if a = sc.attrs[a.RefAttrName]; a == nil {
				continue // the function's caller left it out
			}
		}
		v, err := im.attribute(a, &out, name)
		if err != nil {
			return out, err
		}
		if v != nil {
			if out.plain.Get(name) != nil {
				return out, diag.New(diag.Malformed, "attribute %q is given twice", name)
			}
			out.plain = out.plain.With(name, v)
		}
	}
	return out, nil
}

// attrType is the attribute's type; before IR version 2 it did not have to say.
func attrType(a *wire.Attribute) wire.AttributeType {
	switch {
	case a.Type != wire.AttrUndefined:
		return a.Type
	case a.T != nil:
		return wire.AttrTensor
	case a.G != nil:
		return wire.AttrGraph
	case len(a.Floats) > 0:
		return wire.AttrFloats
	case len(a.Ints) > 0:
		return wire.AttrInts
	case len(a.Strings) > 0:
		return wire.AttrStrings
	case a.S != nil:
		return wire.AttrString
	case a.F != 0:
		return wire.AttrFloat
	}
	return wire.AttrInt
}

func (im *importer) attribute(a *wire.Attribute, out *attributes, name string) (any, error) {
	switch attrType(a) {
	case wire.AttrFloat:
		return float64(a.F), nil
	case wire.AttrInt:
		return a.I, nil
	case wire.AttrString:
		return string(a.S), nil
	case wire.AttrFloats:
		list := make([]float64, len(a.Floats))
		for i, f := range a.Floats {
			list[i] = float64(f)
		}
		return list, nil
	case wire.AttrInts:
		return append([]int64{}, a.Ints...), nil
	case wire.AttrStrings:
		list := make([]string, len(a.Strings))
		for i, s := range a.Strings {
			list[i] = string(s)
		}
		return list, nil
	case wire.AttrTensor:
		if a.T == nil {
			return nil, diag.New(diag.Malformed, "attribute %q lacks its tensor", name)
		}
		out.source = a.T
		return a.T.Tensor(im.file)
	case wire.AttrGraph:
		if a.G == nil {
			return nil, diag.New(diag.Malformed, "attribute %q lacks its graph", name)
		}
		out.graphs[name] = a.G
		return nil, nil
	case wire.AttrTypeProto:
		t, err := im.valueType(a.TP, name, map[string]bool{})
		return t, err
	case wire.AttrSparseTensor:
		out.sparse = a.SparseTensor
		return nil, nil
	}
	return nil, diag.New(diag.Unsupported, "unsupported attribute %q of type %d", name, a.Type)
}

// constant makes the module constant that a Constant node is.
func (c *call) constant(a attributes) error {
	var t *tensor.Tensor
	var v *ir.Value
	var err error
	switch x := firstValue(a.plain).(type) {
	case *tensor.Tensor:
		v, err = c.im.constant(a.source, c.node.Outputs[0])
	case int64:
		t = tensor.Scalar(x)
	case float64:
		t = tensor.Scalar(float32(x))
	case string:
		t = tensor.Scalar(x)
	case []int64:
		t = tensor.Of(x)
	case []float64:
		list := make([]float32, len(x))
		for i, f := range x {
			list[i] = float32(f)
		}
		t = tensor.Of(list)
	case []string:
		t = tensor.Of(x)
	default:
		if a.sparse == nil || len(c.node.Outputs) != 1 {
			return diag.New(diag.Malformed, "a Constant without a value")
		}
		t, err = c.im.sparse(a.sparse)
	}
	if err != nil {
		return err
	}
	if len(c.node.Outputs) != 1 {
		return diag.New(diag.Malformed, "a Constant has one output, not %d", len(c.node.Outputs))
	}
	if v == nil {
		v = c.im.m.AddConst(c.node.Outputs[0], t, nil)
	}
	c.sc.vals[c.node.Outputs[0]] = v
	return nil
}

func firstValue(a ir.Attrs) any {
	for _, x := range a {
		return x.Value
	}
	return nil
}

// since is the version of the operator that an operator set has: the newest one at
// most as new as the set. 0 for an operator that ONNX does not have.
func since(name string, opset int64) int64 {
	v := int64(0)
	for _, n := range schemaVersions[name] {
		if n <= opset {
			v = n
		}
	}
	return v
}

// results is how many results the node asks for: up to the last one that has a name.
func (c *call) results() int {
	n := len(c.node.Outputs)
	for n > 0 && c.node.Outputs[n-1] == "" {
		n--
	}
	return n
}

// emit brings the call to the newest version of its operator and adds the statement.
func (c *call) emit() ([]*ir.Value, error) {
	c.attrs = c.attrs.Without("consumed_inputs") // of opset 1, without meaning
	_, standard := schemaVersions[c.name]
	if standard {
		if c.version = since(c.name, c.version); c.version == 0 {
			return c.unknown()
		}
	}
	def := c.im.m.Lookup(c.name)
	if adapt := adapters[c.name]; adapt != nil {
		out, err := adapt(c)
		if err != nil || out != nil {
			return out, err
		}
		def = c.im.m.Lookup(c.name)
	}
	if def == nil || standard && !slices.Contains(def.Since, c.version) {
		return c.unknown()
	}
	return c.add(def)
}

// unknown stands in for an operator that is not there; its regions are left out.
func (c *call) unknown() ([]*ir.Value, error) {
	return c.statement(ir.Unknown(c.name, c.version), nil)
}

func (c *call) add(def *ir.OpDef) ([]*ir.Value, error) {
	if len(def.Regions) == 0 {
		return c.statement(def, nil)
	}
	for _, name := range def.Regions {
		if c.graphs[name] == nil {
			return nil, diag.New(diag.Malformed, "attribute %q is missing", name)
		}
	}
	regions, err := c.regions(def)
	if err != nil {
		return nil, err
	}
	if def.Expand == nil {
		return c.statement(def, regions)
	}
	// Executors know If and Loop alone: what else has regions is made of these now.
	b := c.im.b
	ic := &ir.Call{Op: def, Node: nodeName(c.node), Attrs: c.attrs, Regions: regions, Syms: c.im.m.Syms, In: make([]ir.Type, len(c.args)),
		Want: make([]bool, c.results()), Out: make([]ir.Type, c.results())}
	for i, a := range c.args {
		if a != nil {
			ic.In[i] = a.Type
		}
	}
	out, err := def.Expand(ic, b, c.args)
	if err == nil {
		err = b.Err()
	}
	return out, err
}

// statement adds the operator with results as the node asks for them.
func (c *call) statement(def *ir.OpDef, regions []*ir.Block) ([]*ir.Value, error) {
	n := c.results()
	out := make([]*ir.Value, n)
	for i := range out {
		if c.node.Outputs[i] != "" {
			out[i] = &ir.Value{Type: ir.UnrankedOf(tensor.Invalid)}
		}
	}
	c.im.b.Add(&ir.Stmt{Kind: ir.OpStmt, Op: def, Args: c.args, Results: out, Attrs: c.attrs, Regions: regions})
	return out, c.im.b.Err()
}

// op adds another operator in front of, or behind, the call.
func (c *call) op(name string, args []*ir.Value, attrs ...any) *ir.Value {
	return c.im.b.Op(name, args, attrs...)
}

// regions imports the subgraphs of an operator in the order of its definition.
func (c *call) regions(def *ir.OpDef) ([]*ir.Block, error) {
	switch c.name {
	case "onnx.Loop":
		return c.loopBody(2, func(i int) ir.Type {
			if i == 0 {
				return ir.TensorOf(tensor.I64)
			}
			if len(c.args) > 1 && c.args[1] != nil {
				return c.args[1].Type
			}
			return ir.TensorOf(tensor.Bool)
		}, len(c.args)-2, 1)
	case "onnx.Scan":
		n, _ := c.attrs.Get("num_scan_inputs").(int64)
		states := len(c.args) - int(n)
		return c.loopBody(0, func(i int) ir.Type { return c.sliceType(i - states) }, states, 0)
	}
	var out []*ir.Block
	for _, name := range def.Regions {
		r, err := c.im.graph(c.graphs[name], c.sc, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// sliceType is the type of a slice of scan input i.
func (c *call) sliceType(i int) ir.Type {
	n, _ := c.attrs.Get("num_scan_inputs").(int64)
	arg := c.args[len(c.args)-int(n)+i]
	t, ok := arg.Tensor()
	if !ok || t.Unranked || t.Rank() == 0 {
		return ir.UnrankedOf(t.DType)
	}
	axis := int64(0)
	if list, _ := c.attrs.Get("scan_input_axes").([]int64); i < len(list) {
		axis = list[i]
	}
	if axis < 0 {
		axis += int64(t.Rank())
	}
	if axis < 0 || axis >= int64(t.Rank()) {
		return ir.UnrankedOf(t.DType)
	}
	return ir.TensorOf(t.DType, slices.Delete(slices.Clone(t.Dims), int(axis), int(axis)+1)...)
}

// loopBody imports a body whose parameters lead .. lead+carried-1 are carried from one
// iteration to the next: the type of each is one that the initial value and what the
// body gives both have, found by importing until nothing changes.
func (c *call) loopBody(lead int, other func(i int) ir.Type, carried, firstResult int) ([]*ir.Block, error) {
	body := c.graphs["body"]
	if carried < 0 {
		carried = 0
	}
	types := make([]ir.Type, carried)
	for i := range types {
		arg := c.args[len(c.args)-carried+i]
		if c.name == "onnx.Scan" {
			arg = c.args[i]
		}
		if arg == nil {
			return nil, diag.New(diag.Malformed, "carried value %d is missing", i)
		}
		types[i] = arg.Type
	}
	fresh := func() sym.Expr { return c.im.m.Syms.Fresh("u") }
	for try := 0; ; try++ {
		var region *ir.Block
		var err error
		stable := true
		c.im.b.Try(func() bool {
			region, err = c.im.graph(body, c.sc, func(i int, declared ir.Type) ir.Type {
				if j := i - lead; j >= 0 && j < carried {
					return types[j]
				}
				if t := other(i); t != nil {
					return t
				}
				return declared
			})
			if err != nil {
				return true
			}
			for i := range types {
				if firstResult+i >= len(region.Results) {
					break // deduction says what is wrong
				}
				got := region.Results[firstResult+i].Type
				if ir.SameType(types[i], got) {
					continue
				}
				t, ok := ir.Join(types[i], got, fresh)
				if !ok {
					continue
				}
				if try > 3 {
					if tt, isTensor := t.(ir.TensorType); isTensor {
						t = ir.UnrankedOf(tt.DType)
					}
				}
				if grows(types[i], t) {
					types[i], stable = t, false
				}
			}
			return stable
		})
		if err != nil {
			return nil, err
		}
		if stable {
			return []*ir.Block{region}, nil
		}
	}
}

// grows says whether b says less than a: another rank, or a dim that was fixed and is
// open now. Dims that are symbols of the body itself stay what they are.
func grows(a, b ir.Type) bool {
	x, ok := a.(ir.TensorType)
	y, ok2 := b.(ir.TensorType)
	if !ok || !ok2 {
		return !ir.SameType(a, b)
	}
	if x.Unranked || y.Unranked {
		return x.Unranked != y.Unranked || x.DType != y.DType
	}
	for i, d := range x.Dims {
		if name, bare := d.Symbol(); !d.Equal(y.Dims[i]) && !(bare && len(name) > 1 && name[0] == 'u') {
			return true
		}
	}
	return x.DType != y.DType
}
