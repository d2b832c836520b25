// Package onnx brings ONNX models into the IR and back.
package onnx

import (
	"fmt"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op" // the operators
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// What is read: IR versions, and operator sets of the default domain.
const (
	MinIR, MaxIR = 3, 14
	MaxOpset     = 28
)

// Note is something about a model that the user should know and that is no error.
type Note struct{ Node, Msg string }

// Import turns a model into a module. Weights are not copied: constants view the file,
// which must stay open. Operators that are not there are in the module as stand-ins;
// Unsupported lists them.
func Import(f *wire.File) (*ir.Module, []Note, error) {
	im := &importer{file: f, model: f.Model, functions: map[string]*wire.Function{}, opsets: map[string]int64{}, consts: map[*wire.Tensor]*ir.Value{}}
	m, err := im.run()
	if err != nil {
		return nil, nil, diag.As(err, diag.Malformed).In(f.Path)
	}
	return m, im.notes, nil
}

// Unsupported lists the statements whose operator is a stand-in, regions included.
func Unsupported(m *ir.Module) []*ir.Stmt {
	var out []*ir.Stmt
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			if s.Op != nil && s.Op.IsUnknown() {
				out = append(out, s)
			}
		})
	}
	return out
}

type importer struct {
	file      *wire.File
	model     *wire.Model
	m         *ir.Module
	b         *ir.Builder
	functions map[string]*wire.Function // by domain:name:overload
	opsets    map[string]int64
	consts    map[*wire.Tensor]*ir.Value
	notes     []Note
	calls     []string // model-local functions that are being inlined
}

// scope maps names of a graph to values; a subgraph sees the scopes around it.
type scope struct {
	outer *scope
	vals  map[string]*ir.Value
	attrs map[string]*wire.Attribute // of a function's call, for references to them
	local map[string]int64           // operator sets of a function, nil: the model's
}

func (s *scope) get(name string) *ir.Value {
	for ; s != nil; s = s.outer {
		if v := s.vals[name]; v != nil {
			return v
		}
	}
	return nil
}

func (s *scope) child() *scope {
	return &scope{outer: s, vals: map[string]*ir.Value{}, attrs: s.attrs, local: s.local}
}

func (im *importer) note(node, format string, args ...any) {
	im.notes = append(im.notes, Note{node, fmt.Sprintf(format, args...)})
}

func domainOf(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

func (im *importer) run() (*ir.Module, error) {
	model := im.model
	if model.Graph == nil {
		return nil, diag.New(diag.Malformed, "the model has no graph").Hint("the file is no ONNX model, or damaged")
	}
	if model.IRVersion < MinIR || model.IRVersion > MaxIR {
		return nil, diag.New(diag.Unsupported, "unsupported IR version %d", model.IRVersion).Hint("versions %d to %d are read", MinIR, MaxIR)
	}
	im.m = ir.NewModule(model.Graph.Name)
	im.m.Meta = ir.Meta{Producer: model.ProducerName, ProducerVersion: model.ProducerVersion, Domain: model.Domain, Doc: model.Doc, IRVersion: model.IRVersion}
	for _, p := range model.MetadataProps {
		im.m.Meta.Props = append(im.m.Meta.Props, [2]string{p.Key, p.Value})
	}
	for _, o := range model.OpsetImport {
		d := domainOf(o.Domain)
		im.opsets[d] = o.Version
		im.m.Meta.Opsets = append(im.m.Meta.Opsets, ir.Opset{Domain: d, Version: o.Version})
		if d == "" && (o.Version < 1 || o.Version > MaxOpset) {
			return nil, diag.New(diag.Unsupported, "unsupported operator set %d of ai.onnx", o.Version).Hint("sets 1 to %d are read", MaxOpset)
		}
	}
	if _, ok := im.opsets[""]; !ok {
		im.opsets[""] = 1
	}
	for _, fn := range model.Functions {
		key := functionKey(fn.Domain, fn.Name, fn.Overload)
		if im.functions[key] != nil {
			return nil, diag.New(diag.Malformed, "function %s is defined twice", fn.Name)
		}
		im.functions[key] = fn
	}
	main := &ir.Func{Name: "main"}
	im.m.Funcs = []*ir.Func{main}
	im.b = ir.NewBuilder(im.m, main)
	sc := &scope{vals: map[string]*ir.Value{}}
	if err := im.inputs(model.Graph, sc); err != nil {
		return nil, err
	}
	results, err := im.body(model.Graph, sc)
	if err != nil {
		return nil, err
	}
	for i, o := range model.Graph.Outputs {
		im.compareDeclared(o, results[i])
	}
	im.b.Return(results...)
	main.ResultNames = names(model.Graph.Outputs)
	return im.m, nil
}

func names(list []*wire.ValueInfo) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.Name
	}
	return out
}

func functionKey(domain, name, overload string) string {
	return domainOf(domain) + "\x00" + name + "\x00" + overload
}

// inputs makes the parameters of @main. An input that has an initializer is a constant:
// before IR version 4 all initializers had to be listed as inputs.
func (im *importer) inputs(g *wire.Graph, sc *scope) error {
	initial := map[string]bool{}
	for _, t := range g.Initializers {
		initial[t.Name] = true
	}
	for _, t := range g.SparseInitializers {
		if t.Values != nil {
			initial[t.Values.Name] = true
		}
	}
	solvable := im.solvableSymbols(g, initial)
	for i, in := range g.Inputs {
		if initial[in.Name] {
			if im.model.IRVersion >= 4 {
				im.note(in.Name, "input has a default value, which is used")
			}
			continue
		}
		if in.Name == "" {
			return diag.New(diag.Malformed, "input %d has no name", i)
		}
		if sc.vals[in.Name] != nil {
			return diag.New(diag.Malformed, "two inputs have the name %q", in.Name)
		}
		t, err := im.valueType(in.Type, in.Name, solvable)
		if err != nil {
			return err
		}
		sc.vals[in.Name] = im.b.Param(in.Name, t)
	}
	return nil
}

// solvableSymbols finds the symbols that inputs can give a value: those that are a dim
// of their own, or that a dim is linear in.
func (im *importer) solvableSymbols(g *wire.Graph, initial map[string]bool) map[string]bool {
	bare := map[string]bool{}
	var dims []sym.Expr
	for _, in := range g.Inputs {
		if initial[in.Name] || in.Type == nil || in.Type.Tensor == nil || in.Type.Tensor.Shape == nil {
			continue
		}
		for _, d := range in.Type.Tensor.Shape.Dims {
			if d.HasValue || d.Param == "" {
				continue
			}
			e := sym.ParseDim(d.Param)
			if s, ok := e.Symbol(); ok {
				bare[s] = true
			} else {
				dims = append(dims, e)
			}
			for _, s := range e.Symbols() {
				im.m.Syms.Reserve(s)
			}
		}
	}
	for again := true; again; {
		again = false
		for _, e := range dims {
			var open []string
			for _, s := range e.Symbols() {
				if !bare[s] {
					open = append(open, s)
				}
			}
			if len(open) == 1 && linearIn(e, open[0]) {
				bare[open[0]] = true
				again = true
			}
		}
	}
	return bare
}

// linearIn says whether e changes by the same amount with every step of s, whatever
// the other symbols are.
func linearIn(e sym.Expr, s string) bool {
	at := func(n int64) sym.Expr {
		return e.Subst(func(name string) (sym.Expr, bool) { return sym.Const(n), name == s })
	}
	k, ok := at(1).Sub(at(0)).Int()
	return ok && k != 0 && e.Equal(at(0).Add(sym.Var(s).Mul(sym.Const(k))))
}

// valueType reads a type. Unnamed dims become fresh symbols; so do expressions that
// nothing can give a value, when solvable says what can be solved.
func (im *importer) valueType(t *wire.Type, name string, solvable map[string]bool) (ir.Type, error) {
	switch {
	case t == nil:
		return nil, diag.New(diag.Malformed, "%q has no type", name)
	case t.Tensor != nil:
		d, ok := tensor.DTypeFromONNX(t.Tensor.ElemType)
		if !ok {
			return nil, diag.New(diag.Malformed, "%q has element type %d, which is none of ONNX's", name, t.Tensor.ElemType)
		}
		if t.Tensor.Shape == nil {
			return ir.UnrankedOf(d), nil
		}
		dims := make([]sym.Expr, len(t.Tensor.Shape.Dims))
		for i, dim := range t.Tensor.Shape.Dims {
			switch {
			case dim.HasValue && dim.Value >= 0:
				dims[i] = sym.Const(dim.Value)
				continue
			case dim.HasValue:
				im.note(name, "dim %d is %d, taken as unknown", i, dim.Value)
			case dim.Param != "":
				e := sym.ParseDim(dim.Param)
				ok := true
				for _, s := range e.Symbols() {
					ok = ok && (solvable == nil || solvable[s])
				}
				if ok {
					dims[i] = e
					continue
				}
				im.note(name, "dim %d is %s, from which no symbol follows; taken as unknown", i, e)
			}
			dims[i] = im.m.Syms.Fresh("d")
		}
		return ir.TensorOf(d, dims...), nil
	case t.Sequence != nil:
		e, err := im.valueType(t.Sequence.Elem, name, map[string]bool{})
		return ir.SequenceType{Elem: e}, err
	case t.Optional != nil:
		e, err := im.valueType(t.Optional.Elem, name, map[string]bool{})
		return ir.OptionalType{Elem: e}, err
	case t.Map != nil:
		return ir.OpaqueType{Name: "map"}, nil
	case t.SparseTensor != nil:
		return nil, diag.New(diag.Unsupported, "unsupported: %q is a sparse tensor at run time", name)
	}
	return nil, diag.New(diag.Malformed, "%q has no type", name)
}

// compareDeclared warns where a graph's output is declared other than it is.
func (im *importer) compareDeclared(o *wire.ValueInfo, v *ir.Value) {
	if o.Type == nil || o.Type.Tensor == nil || o.Type.Tensor.Shape == nil {
		return
	}
	t, ok := v.Tensor()
	if !ok || t.Unranked {
		return
	}
	declared := o.Type.Tensor.Shape.Dims
	if len(declared) != len(t.Dims) {
		im.note(o.Name, "the model declares rank %d, it has type %s", len(declared), t)
		return
	}
	for i, d := range declared {
		if d.HasValue && d.Value >= 0 && im.m.Syms.Equal(t.Dims[i], sym.Const(d.Value)) == sym.False {
			im.note(o.Name, "the model declares dim %d as %d, it is %s", i, d.Value, t.Dims[i])
		}
	}
}

// body imports initializers and nodes of a graph and gives its outputs.
func (im *importer) body(g *wire.Graph, sc *scope) ([]*ir.Value, error) {
	for _, t := range g.Initializers {
		v, err := im.constant(t, t.Name)
		if err != nil {
			return nil, err
		}
		sc.vals[t.Name] = v
	}
	for _, s := range g.SparseInitializers {
		t, err := im.sparse(s)
		if err != nil {
			return nil, err
		}
		sc.vals[s.Values.Name] = im.m.AddConst(s.Values.Name, t, nil)
	}
	nodes, err := wire.Order(g, func(name string) bool { return sc.get(name) != nil })
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if err := im.node(n, sc); err != nil {
			return nil, diag.As(err, diag.Malformed).At(nodeName(n), n.OpType)
		}
	}
	out := make([]*ir.Value, len(g.Outputs))
	for i, o := range g.Outputs {
		if out[i] = sc.get(o.Name); out[i] == nil {
			return nil, diag.New(diag.Malformed, "output %q of graph %q is not defined", o.Name, g.Name)
		}
	}
	return out, nil
}

func nodeName(n *wire.Node) string {
	if n.Name != "" {
		return n.Name
	}
	for _, o := range n.Outputs {
		if o != "" {
			return o
		}
	}
	return ""
}

// constant is a tensor of the file as an operand; the same tensor is one constant.
func (im *importer) constant(t *wire.Tensor, name string) (*ir.Value, error) {
	if v := im.consts[t]; v != nil {
		return v, nil
	}
	x, err := t.Tensor(im.file)
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

// maxDense bounds what a sparse constant may take when it is made dense, in elements.
const maxDense = 1 << 28

// sparse makes a dense tensor of a sparse one: indices are positions in row-major
// order [nnz], or index tuples [nnz, rank].
func (im *importer) sparse(s *wire.SparseTensor) (*tensor.Tensor, error) {
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
	if n, ok := tensor.Count(s.Dims); !ok || n > maxDense {
		return nil, s.Values.Errorf("sparse tensor of shape %v is too large", s.Dims)
	}
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

// opName is the operator's name with its namespace.
func opName(domain, op string) string {
	if d := domainOf(domain); d != "" {
		return d + "." + op
	}
	return "onnx." + op
}

func (im *importer) version(sc *scope, domain string) int64 {
	if sc.local != nil {
		if v, ok := sc.local[domain]; ok {
			return v
		}
	}
	if v, ok := im.opsets[domain]; ok {
		return v
	}
	return 1
}

func (im *importer) node(n *wire.Node, sc *scope) error {
	args := make([]*ir.Value, len(n.Inputs))
	for i, name := range n.Inputs {
		if name == "" {
			continue
		}
		if args[i] = sc.get(name); args[i] == nil {
			return diag.New(diag.Malformed, "input %q is not defined", name)
		}
	}
	for len(args) > 0 && args[len(args)-1] == nil {
		args = args[:len(args)-1]
	}
	if fn := im.functions[functionKey(n.Domain, n.OpType, n.Overload)]; fn != nil {
		return im.inline(fn, n, args, sc)
	}
	im.b.Node(nodeName(n))
	attrs, err := im.attributes(n, sc)
	if err != nil {
		return err
	}
	c := &call{im: im, node: n, name: opName(n.Domain, n.OpType), version: im.version(sc, domainOf(n.Domain)), args: args, attrs: attrs.plain, graphs: attrs.graphs, sc: sc}
	if n.OpType == "Constant" && domainOf(n.Domain) == "" {
		return c.constant(attrs)
	}
	results, err := c.emit()
	if err != nil {
		return err
	}
	for i, name := range n.Outputs {
		if name == "" || i >= len(results) || results[i] == nil {
			continue
		}
		if sc.vals[name] != nil {
			return diag.New(diag.Malformed, "%q is defined twice", name)
		}
		if results[i].Name == "" && results[i].Const == nil && results[i].Def != nil {
			im.b.Rename(results[i], name)
		}
		sc.vals[name] = results[i]
	}
	return nil
}

// inline puts a model-local function's body in the place of its call.
func (im *importer) inline(fn *wire.Function, n *wire.Node, args []*ir.Value, sc *scope) error {
	key := functionKey(fn.Domain, fn.Name, fn.Overload)
	for _, k := range im.calls {
		if k == key {
			return diag.New(diag.Malformed, "function %s calls itself", fn.Name)
		}
	}
	if len(args) > len(fn.Inputs) || len(n.Outputs) > len(fn.Outputs) {
		return diag.New(diag.Malformed, "function %s is called with %d inputs and %d outputs, it has %d and %d", fn.Name, len(args), len(n.Outputs), len(fn.Inputs), len(fn.Outputs))
	}
	im.calls = append(im.calls, key)
	defer func() { im.calls = im.calls[:len(im.calls)-1] }()
	in := &scope{vals: map[string]*ir.Value{}, attrs: map[string]*wire.Attribute{}, local: map[string]int64{}}
	for _, o := range fn.OpsetImport {
		in.local[domainOf(o.Domain)] = o.Version
	}
	absent := map[string]bool{}
	for i, name := range fn.Inputs {
		if i < len(args) && args[i] != nil {
			in.vals[name] = args[i]
		} else {
			absent[name] = true
		}
	}
	for _, a := range fn.AttributeProtos {
		in.attrs[a.Name] = a
	}
	for _, a := range n.Attributes {
		if a.RefAttrName != "" { // passed on from a function around this one
			if outer := sc.attrs[a.RefAttrName]; outer != nil {
				in.attrs[a.Name] = outer
			}
			continue
		}
		in.attrs[a.Name] = a
	}
	g := &wire.Graph{Nodes: fn.Nodes, Name: fn.Name}
	nodes, err := wire.Order(g, func(name string) bool { return in.get(name) != nil || absent[name] })
	if err != nil {
		return err
	}
	for _, x := range nodes {
		if len(absent) > 0 { // an operand that was left out is left out inside too
			y := *x
			y.Inputs = append([]string(nil), x.Inputs...)
			for i, name := range y.Inputs {
				if absent[name] {
					y.Inputs[i] = ""
				}
			}
			x = &y
		}
		if err := im.node(x, in); err != nil {
			return diag.As(err, diag.Malformed).At(nodeName(n)+"/"+nodeName(x), x.OpType)
		}
	}
	for i, name := range n.Outputs {
		if name == "" {
			continue
		}
		v := in.get(fn.Outputs[i])
		if v == nil {
			return diag.New(diag.Malformed, "output %q of function %s is not defined", fn.Outputs[i], fn.Name)
		}
		sc.vals[name] = v
	}
	return nil
}

// graph imports a subgraph as a region.
func (im *importer) graph(g *wire.Graph, sc *scope, params func(i int, declared ir.Type) ir.Type) (*ir.Block, error) {
	var err error
	r := im.b.Region(func() []*ir.Value {
		in := sc.child()
		for i, p := range g.Inputs {
			var t ir.Type = ir.UnrankedOf(tensor.Invalid)
			if p.Type != nil && (p.Type.Tensor != nil || p.Type.Sequence != nil || p.Type.Optional != nil) {
				if t, err = im.regionType(p); err != nil {
					return nil
				}
			}
			if params != nil {
				t = params(i, t)
			}
			in.vals[p.Name] = im.b.Param(p.Name, t)
		}
		var results []*ir.Value
		results, err = im.body(g, in)
		return results
	})
	return r, err
}

// regionType is the declared type of a subgraph's input. Its symbols are its own.
func (im *importer) regionType(p *wire.ValueInfo) (ir.Type, error) {
	return im.valueType(p.Type, p.Name, map[string]bool{})
}
