package onnx

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// call is a node on its way to a statement. Adapters of old operator versions change
// it in place.
type call struct {
	im      *importer
	node    *wire.Node
	sc      *scope
	name    string // with namespace
	version int64  // of the imported operator set; then of the operator itself
	args    []*ir.Value
	attrs   ir.Attrs
	graphs  map[string]subgraph
}

// subgraph is a graph attribute and the scope that it sees.
type subgraph struct {
	*wire.Graph
	sc *scope
}

// attributes are a node's attributes: plain values, graphs, and where a Constant's
// value comes from.
type attributes struct {
	plain  ir.Attrs
	graphs map[string]subgraph
	sparse *wire.SparseTensor
	tensor *wire.Tensor
}

// opName is the operator's name with its namespace.
func opName(domain, op string) string {
	if d := domainOf(domain); d != "" {
		return d + "." + op
	}
	return "onnx." + op
}

func (im *importer) attributes(n *wire.Node, sc *scope) (attributes, error) {
	out := attributes{graphs: map[string]subgraph{}}
	seen := map[string]bool{}
	for _, a := range n.Attributes {
		name := a.Name
		if seen[name] {
			return out, diag.New(diag.Malformed, "attribute %q is given twice", name)
		}
		seen[name] = true
		from := sc
		if a.RefAttrName != "" {
			g, ok := sc.call.attrs[a.RefAttrName]
			if !ok {
				continue // the function's caller left it out
			}
			a, from = g.Attribute, g.sc
		}
		v, err := im.attribute(a, name, from, &out)
		if err != nil {
			return out, err
		}
		if v != nil {
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

// attribute gives a plain value, or puts a graph or sparse tensor into out.
func (im *importer) attribute(a *wire.Attribute, name string, sc *scope, out *attributes) (any, error) {
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
		out.tensor = a.T
		t, err := im.tensor(a.T)
		if err != nil {
			return nil, err
		}
		return t, nil
	case wire.AttrGraph:
		if a.G == nil {
			return nil, diag.New(diag.Malformed, "attribute %q lacks its graph", name)
		}
		out.graphs[name] = subgraph{a.G, sc}
		return nil, nil
	case wire.AttrTypeProto:
		return im.valueType(a.TP, name, anyDim)
	case wire.AttrSparseTensor:
		if a.SparseTensor == nil {
			return nil, diag.New(diag.Malformed, "attribute %q lacks its sparse tensor", name)
		}
		out.sparse = a.SparseTensor
		return nil, nil
	}
	return nil, diag.New(diag.Unsupported, "unsupported attribute %q of type %d", name, a.Type)
}

// since is the version of the operator that an operator set has: the newest one at
// most as new as the set. 0 for an operator that ONNX does not have.
func since(name string, opset int64) int64 {
	v := int64(0)
	for _, s := range schemas[name] {
		if s.version <= opset {
			v = s.version
		}
	}
	return v
}

// emit brings the call to the newest version of its operator and adds the statement.
// An operator, a version or a form of one that is not there is a stand-in.
func (c *call) emit() ([]*ir.Value, error) {
	c.attrs = c.attrs.Without("consumed_inputs") // of opset 1, without meaning
	if schemas[c.name] != nil {
		if v := since(c.name, c.version); v != 0 {
			c.version = v
		}
	}
	plain, mark := *c, c.im.b.Mark()
	plain.args = slices.Clone(c.args)
	out, err := c.translate()
	if diag.CodeOf(err) != diag.Unsupported {
		return out, err
	}
	c.im.b.Reset(mark)
	if e := diag.As(err, diag.Unsupported); e != errNoOperator {
		c.im.note(c.sc.call.path+nodeName(c.node), "%s", e.Msg)
	}
	return plain.standIn()
}

// errNoOperator says that the operator, or its version, is not there.
var errNoOperator = diag.New(diag.Unsupported, "unsupported operator")

func (c *call) translate() ([]*ir.Value, error) {
	if a, ok := adapters[c.name]; ok && c.version < a.below {
		if out, err := a.adapt(c); err != nil || out != nil {
			return out, err
		}
		if err := c.im.b.Err(); err != nil {
			return nil, err
		}
		c.version = max(c.version, since(c.name, a.below))
	}
	def := c.im.m.Lookup(c.name)
	if def == nil || schemas[c.name] != nil && !slices.Contains(def.Since, c.version) {
		return nil, errNoOperator
	}
	if len(def.Regions) == 0 {
		return c.statement(def, nil)
	}
	regions, err := c.regions(def)
	if err != nil {
		return nil, err
	}
	if def.Expand == nil {
		return c.statement(def, regions)
	}
	return c.expand(def, regions)
}

// expand replaces an operator with regions by what it stands for: executors know If
// and Loop alone.
func (c *call) expand(def *ir.OpDef, regions []*ir.Block) ([]*ir.Value, error) {
	results := c.results(def)
	ic := &ir.Call{Op: def, Node: nodeName(c.node), Attrs: c.attrs, Regions: regions, Syms: c.im.m.Syms, Bound: c.im.b.Bound,
		In: make([]ir.Type, len(c.args)), Want: make([]bool, len(results)), Out: make([]ir.Type, len(results))}
	for i, a := range c.args {
		if a != nil {
			ic.In[i] = a.Type
		}
	}
	for i, r := range results {
		ic.Want[i] = r != nil
	}
	out, err := def.Expand(ic, c.im.b, c.args)
	if err == nil {
		err = c.im.b.Err()
	}
	return out, err
}

// standIn is a statement of an unknown operator; its regions are left out.
func (c *call) standIn() ([]*ir.Value, error) {
	out, err := c.statement(ir.Unknown(c.name, c.version), nil)
	if err != nil {
		return nil, err
	}
	for i, r := range out {
		if r != nil {
			r.Type = c.im.ofUnknown(c.sc.declared[c.node.Outputs[i]], c.node.Outputs[i])
			c.im.b.Follow(r.Def)
		}
	}
	return out, nil
}

// wants says whether the node names result i and something reads it.
func (c *call) wants(i int) bool {
	return i < len(c.node.Outputs) && c.node.Outputs[i] != "" && c.sc.used[c.node.Outputs[i]]
}

// results are the values that the node defines: nil for those without a name, and for
// optional ones that nothing reads, which are left off at the end.
func (c *call) results(def *ir.OpDef) []*ir.Value {
	read := slices.ContainsFunc(c.node.Outputs, func(name string) bool { return c.sc.used[name] })
	out := make([]*ir.Value, len(c.node.Outputs))
	for i, name := range c.node.Outputs {
		if r, _ := def.Result(i); name != "" && (!r.Optional || !read || c.wants(i)) {
			out[i] = &ir.Value{Type: ir.UnrankedOf(tensor.Invalid)}
		}
	}
	for n := len(out); n > 0 && out[n-1] == nil; n-- {
		if r, ok := def.Result(n - 1); ok && !r.Optional {
			break
		}
		out = out[:n-1]
	}
	return out
}

// statement adds the operator with results as the node asks for them.
func (c *call) statement(def *ir.OpDef, regions []*ir.Block) ([]*ir.Value, error) {
	out := c.results(def)
	c.im.b.Add(&ir.Stmt{Kind: ir.OpStmt, Op: def, Args: c.args, Results: out, Attrs: c.attrs, Regions: regions})
	return out, c.im.b.Err()
}
