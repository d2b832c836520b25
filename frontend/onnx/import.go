// Package onnx brings ONNX models into the IR and back.
package onnx

import (
	"fmt"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op" // the operators
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// What is read: IR versions, and operator sets of the default domain.
const (
	MinIR, MaxIR = 3, 14
	MaxOpset     = 28
)

// Bounds on what a small file may unfold to: functions are inlined at each call, and
// the body of a loop is read again until its types are settled.
const (
	maxNodes = 2_000_000
	maxCalls = 100 // functions inside each other
	maxNotes = 100
)

// Note is something about a model that the user should know and that is no error.
type Note struct{ Node, Msg string }

// Import turns a model into a module. Weights are not copied: constants view the file,
// which must stay open. Every operator comes out in the form of its newest version.
// Operators that are not there are in the module as stand-ins; Unsupported lists them.
//
// An input that has an initializer is a constant. What a model declares of inner values
// and of outputs is compared with what follows from the operators, and where it differs
// that is a note. Operators beside those that are registered come as ops, and the module
// keeps them.
func Import(f *wire.File, ops ...*ir.OpDef) (*ir.Module, []Note, error) {
	if err := wire.Check(f.Model); err != nil {
		return nil, nil, diag.As(err, diag.Malformed).In(f.Path)
	}
	im := &importer{file: f, ops: ops, model: f.Model, functions: map[string]*wire.Function{}, opsets: map[string]int64{},
		tensors: map[*wire.Tensor]*tensor.Tensor{}, consts: map[*wire.Tensor]*ir.Value{}, sparse: map[*wire.SparseTensor]*ir.Value{},
		modern: map[*wire.Node]bool{}, noted: map[Note]bool{}}
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
	ops       []*ir.OpDef
	m         *ir.Module
	b         *ir.Builder
	functions map[string]*wire.Function // by functionKey
	opsets    map[string]int64
	tensors   map[*wire.Tensor]*tensor.Tensor
	consts    map[*wire.Tensor]*ir.Value
	sparse    map[*wire.SparseTensor]*ir.Value
	modern    map[*wire.Node]bool // made by adapters, in the newest form
	dense     int64               // bytes that sparse tensors took so far
	nodes     int                 // imported so far
	calls     []string
	notes     []Note
	noted     map[Note]bool
}

// scope maps names of a graph to values; a subgraph sees the scopes around it.
type scope struct {
	outer    *scope
	vals     map[string]*ir.Value  // nil: an optional input that the caller left out
	used     map[string]bool       // names that something in the graph reads
	declared map[string]*wire.Type // value_info
	call     *inlined
}

// inlined is the call of a model-local function whose body is being imported; its zero
// value stands for the model itself.
type inlined struct {
	path   string // in front of names from the body
	attrs  map[string]given
	opsets map[string]int64
}

// given is an attribute of a call, and the scope that a graph in it sees.
type given struct {
	*wire.Attribute
	sc *scope
}

func newScope(outer *scope, call *inlined) *scope {
	return &scope{outer: outer, vals: map[string]*ir.Value{}, call: call}
}

// lookup finds a name; ok is also true for an input that was left out, which is nil.
func (s *scope) lookup(name string) (v *ir.Value, ok bool) {
	for ; s != nil; s = s.outer {
		if v, ok := s.vals[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *scope) has(name string) bool { _, ok := s.lookup(name); return ok }

func (im *importer) note(node, format string, args ...any) {
	n := Note{node, fmt.Sprintf(format, args...)}
	if im.noted[n] {
		return
	}
	im.noted[n] = true
	switch {
	case len(im.notes) < maxNotes:
		im.notes = append(im.notes, n)
	case len(im.notes) == maxNotes:
		im.notes = append(im.notes, Note{Msg: "there is more of this kind"})
	}
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
	if len(im.ops) > 0 {
		im.m.Ops = map[string]*ir.OpDef{}
		for _, op := range im.ops {
			im.m.Ops[op.Name] = op
		}
	}
	if err := im.meta(); err != nil {
		return nil, err
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
	sc := newScope(nil, &inlined{})
	if err := im.inputs(model.Graph, sc); err != nil {
		return nil, err
	}
	results, err := im.body(model.Graph, sc)
	if err != nil {
		return nil, err
	}
	for i, o := range model.Graph.Outputs {
		im.compareDeclared(o.Name, o.Type, results[i])
		im.declare(o)
		main.ResultNames = append(main.ResultNames, o.Name)
	}
	im.b.Return(results...)
	return im.m, nil
}

func (im *importer) meta() error {
	model := im.model
	im.m.Meta = ir.Meta{Producer: model.ProducerName, ProducerVersion: model.ProducerVersion, Domain: model.Domain, Doc: model.Doc, IRVersion: model.IRVersion}
	for _, p := range model.MetadataProps {
		im.m.Meta.Props = append(im.m.Meta.Props, [2]string{p.Key, p.Value})
	}
	for _, o := range model.OpsetImport {
		d := domainOf(o.Domain)
		im.opsets[d] = o.Version
		im.m.Meta.Opsets = append(im.m.Meta.Opsets, ir.Opset{Domain: d, Version: o.Version})
		if d == "" && (o.Version < 1 || o.Version > MaxOpset) {
			return diag.New(diag.Unsupported, "unsupported operator set %d of ai.onnx", o.Version).Hint("sets 1 to %d are read", MaxOpset)
		}
	}
	if _, ok := im.opsets[""]; !ok {
		im.opsets[""] = 1
	}
	if len(model.TrainingInfo) > 0 {
		im.note("", "the model says how it is trained, which is left out")
	}
	return nil
}

// inputs makes the parameters of @main. Before IR version 4 all initializers had to be
// listed as inputs; since then one that is listed is a default.
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
	var own []*wire.ValueInfo
	defaults := 0
	for i, in := range g.Inputs {
		switch {
		case in.Name == "":
			return diag.New(diag.Malformed, "input %d has no name", i)
		case initial[in.Name]:
			defaults++
		default:
			own = append(own, in)
		}
	}
	if defaults > 0 && im.model.IRVersion >= 4 {
		im.note("", "%d inputs have defaults (initializers), which are taken as constants", defaults)
	}
	rule := im.inputDims(own)
	for _, in := range own {
		if sc.has(in.Name) {
			return diag.New(diag.Malformed, "two inputs have the name %q", in.Name)
		}
		t, err := im.valueType(in.Type, in.Name, rule)
		if err != nil {
			return err
		}
		sc.vals[in.Name] = im.b.Param(in.Name, t)
	}
	return nil
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
		v, err := im.sparseConstant(s, "")
		if err != nil {
			return nil, err
		}
		sc.vals[s.Values.Name] = v
	}
	sc.declared = map[string]*wire.Type{}
	for _, info := range g.ValueInfo {
		sc.declared[info.Name] = info.Type
	}
	outputs := make([]string, len(g.Outputs))
	for i, o := range g.Outputs {
		outputs[i] = o.Name
	}
	if err := im.nodesOf(g, outputs, sc); err != nil {
		return nil, err
	}
	out := make([]*ir.Value, len(outputs))
	for i, name := range outputs {
		if out[i], _ = sc.lookup(name); out[i] == nil {
			return nil, diag.New(diag.Malformed, "output %q of graph %q is not defined", name, g.Name)
		}
	}
	return out, nil
}

// nodesOf imports the nodes of a graph or of a function's body.
func (im *importer) nodesOf(g *wire.Graph, outputs []string, sc *scope) error {
	nodes, err := wire.Order(g, sc.has)
	if err != nil {
		return err
	}
	sc.used = map[string]bool{}
	for _, name := range outputs {
		sc.used[name] = true
	}
	for _, n := range nodes {
		for _, name := range wire.Uses(n) {
			sc.used[name] = true
		}
	}
	for _, n := range nodes {
		if err := im.node(n, sc); err != nil {
			return diag.As(err, diag.Malformed).At(sc.call.path+nodeName(n), n.OpType)
		}
	}
	return nil
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
	return n.OpType
}

// version is the operator set that a node is of.
func (im *importer) version(n *wire.Node, sc *scope) int64 {
	if im.modern[n] {
		return MaxOpset
	}
	domain := domainOf(n.Domain)
	if v, ok := sc.call.opsets[domain]; ok {
		return v
	}
	if v, ok := im.opsets[domain]; ok {
		return v
	}
	return 1
}

func (im *importer) node(n *wire.Node, sc *scope) error {
	if im.nodes++; im.nodes > maxNodes {
		return diag.New(diag.Malformed, "the model unfolds to more than %d nodes", maxNodes)
	}
	args := make([]*ir.Value, len(n.Inputs))
	for i, name := range n.Inputs {
		if name == "" {
			continue
		}
		var ok bool
		if args[i], ok = sc.lookup(name); !ok {
			return diag.New(diag.Malformed, "input %q is not defined", name)
		}
	}
	for len(args) > 0 && args[len(args)-1] == nil {
		args = args[:len(args)-1]
	}
	if fn := im.functions[functionKey(n.Domain, n.OpType, n.Overload)]; fn != nil {
		return im.inline(fn, n, args, sc)
	}
	im.b.Node(sc.call.path + nodeName(n))
	attrs, err := im.attributes(n, sc)
	if err != nil {
		return err
	}
	var results []*ir.Value
	if n.OpType == "Constant" && domainOf(n.Domain) == "" {
		results, err = im.constantNode(n, attrs)
	} else {
		c := &call{im: im, node: n, sc: sc, name: opName(n.Domain, n.OpType), version: im.version(n, sc),
			args: args, attrs: attrs.plain, graphs: attrs.graphs}
		results, err = c.emit()
	}
	if err != nil {
		return err
	}
	for i, name := range n.Outputs {
		if name == "" || i >= len(results) || results[i] == nil {
			continue
		}
		if err := im.define(sc, name, results[i]); err != nil {
			return err
		}
		if results[i].Name == "" {
			im.b.Rename(results[i], sc.call.path+name)
		}
		if t := sc.declared[name]; t != nil {
			im.compareDeclared(name, t, results[i])
		}
	}
	return nil
}

func (im *importer) define(sc *scope, name string, v *ir.Value) error {
	if _, ok := sc.vals[name]; ok {
		return diag.New(diag.Malformed, "%q is defined twice", name)
	}
	sc.vals[name] = v
	return nil
}
