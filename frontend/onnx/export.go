package onnx

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/disk"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// What a protobuf message can hold, and how much of weights may lie in the model before
// they go into a file of their own, in bytes.
const (
	maxMessage  = 1<<31 - 1
	maxEmbedded = 1 << 30
)

// Export writes a module as ONNX, equal in meaning: its function @main as the graph,
// constants as initializers, regions as subgraphs, dims that are expressions as the text
// of a dim_param. The operator set is that of the model it came from, or a later one
// where an operator's form needs it. Type assertions are left out. Tensor programs,
// kernels and steps of a machine can not be said in ONNX; a module with them is an
// error, but for programs that compute nothing but dims.
func Export(m *ir.Module) ([]byte, error) {
	x, model, err := export(m)
	if err != nil {
		return nil, err
	}
	if n := x.weights(); n > maxMessage {
		return nil, diag.New(diag.Unsupported, "the weights take %d bytes, a message of ONNX holds %d", n, maxMessage).
			Hint("write to a file; weights then lie beside it")
	}
	return wire.Encode(model), nil
}

// ExportFile writes a module as Export does, to a file that appears whole or not at
// all. Weights of more than 1 GiB go into a file beside it, path.data.
func ExportFile(path string, m *ir.Module) error {
	x, model, err := export(m)
	if err != nil {
		return err
	}
	file, err := disk.Create(path)
	if err != nil {
		return notWritten(err)
	}
	defer file.Close()
	var data *disk.File
	if x.weights() > maxEmbedded {
		if data, err = disk.Create(path + ".data"); err != nil {
			return notWritten(err)
		}
		defer data.Close()
		if err := x.external(data, filepath.Base(path)+".data"); err != nil {
			return notWritten(err)
		}
	}
	if _, err := file.Write(wire.Encode(model)); err != nil {
		return notWritten(err)
	}
	if data != nil {
		if err := data.Commit(); err != nil {
			return notWritten(err)
		}
	}
	if err := file.Commit(); err != nil {
		return notWritten(err)
	}
	return nil
}

func notWritten(err error) error { return diag.New(diag.Run, "the model can not be written: %v", err) }

// External data start at pages, so that a reader can map them; small tensors stay in
// the model.
const (
	pageSize  = 4096
	smallData = 1024
)

// external moves the initializers' data into a file, which the model names as location.
func (x *exporter) external(f io.Writer, location string) error {
	offset := int64(0)
	for _, t := range x.main.Initializers {
		if len(t.RawData) < smallData {
			continue
		}
		if pad := -offset & (pageSize - 1); pad > 0 {
			if _, err := f.Write(make([]byte, pad)); err != nil {
				return err
			}
			offset += pad
		}
		if _, err := f.Write(t.RawData); err != nil {
			return err
		}
		t.DataLocation = 1
		t.ExternalData = []*wire.StringEntry{
			{Key: "location", Value: location},
			{Key: "offset", Value: fmt.Sprint(offset)},
			{Key: "length", Value: fmt.Sprint(len(t.RawData))},
		}
		offset += int64(len(t.RawData))
		t.RawData, t.HasRaw = nil, false
	}
	return nil
}

// weights is how many bytes the initializers take.
func (x *exporter) weights() int64 {
	n := int64(0)
	for _, t := range x.main.Initializers {
		n += int64(len(t.RawData))
		for _, s := range t.StringData {
			n += int64(len(s))
		}
	}
	return n
}

// exporter builds the graph. ONNX wants names to be unique in the whole model, regions
// included.
type exporter struct {
	m       *ir.Module
	main    *wire.Graph
	g       *wire.Graph // the graph that nodes are added to
	names   map[*ir.Value]string
	taken   map[string]bool // names of values
	nodes   map[string]bool // names of nodes
	ints    map[int64]string
	sizes   map[string]sizeOf // of the symbols that are visible
	opsets  map[string]int64
	strange *diag.Error // a type that can not be said
}

func export(m *ir.Module) (*exporter, *wire.Model, error) {
	f := m.Main()
	if f == nil {
		return nil, nil, diag.New(diag.Unsupported, "the module has no function @main")
	}
	if list := Unsupported(m); len(list) > 0 {
		return nil, nil, ir.UnsupportedError(list[0])
	}
	x := &exporter{m: m, main: &wire.Graph{Name: m.Name}, names: map[*ir.Value]string{}, taken: map[string]bool{}, nodes: map[string]bool{},
		ints: map[int64]string{}, sizes: map[string]sizeOf{}, opsets: map[string]int64{"": baseOpset}}
	x.g = x.main
	if x.g.Name == "" {
		x.g.Name = "main"
	}
	for _, o := range m.Meta.Opsets {
		if o.Domain == "" {
			x.opsets[""] = max(baseOpset, o.Version)
		}
	}
	for _, p := range f.Params {
		x.g.Inputs = append(x.g.Inputs, x.info(x.name(p), p.Type))
		x.see(p)
	}
	for i, r := range f.Results {
		if x.names[r] == "" && r.Def != nil && !x.taken[f.ResultName(i)] {
			x.names[r] = f.ResultName(i)
		}
		x.taken[f.ResultName(i)] = true
	}
	if err := x.block(&f.Block); err != nil {
		return nil, nil, err
	}
	for i, r := range f.Results {
		want := f.ResultName(i)
		if got := x.name(r); got != want { // an input, a constant, or a value under another name too
			x.add("Identity", want, got)
		}
		x.g.Outputs = append(x.g.Outputs, x.info(want, x.outputType(i, r)))
	}
	if x.strange != nil {
		return nil, nil, x.strange
	}
	return x, x.model(), nil
}

func (x *exporter) model() *wire.Model {
	out := &wire.Model{IRVersion: irVersion(x.opsets[""]), ProducerName: "pitopt", Domain: x.m.Meta.Domain, Doc: x.m.Meta.Doc, Graph: x.main}
	for d, v := range x.opsets {
		out.OpsetImport = append(out.OpsetImport, &wire.OperatorSet{Domain: d, Version: v})
	}
	slices.SortFunc(out.OpsetImport, func(a, b *wire.OperatorSet) int { return strings.Compare(a.Domain, b.Domain) })
	for _, p := range x.m.Meta.Props {
		out.MetadataProps = append(out.MetadataProps, &wire.StringEntry{Key: p[0], Value: p[1]})
	}
	return out
}

// unique makes a name that is not taken, and takes it.
func unique(taken map[string]bool, base string) string {
	name := base
	for i := 1; taken[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	taken[name] = true
	return name
}

// name gives a value's name; a constant becomes an initializer when it is first used.
func (x *exporter) name(v *ir.Value) string {
	if n := x.names[v]; n != "" {
		return n
	}
	base := v.Name
	if base == "" {
		base = "v"
	}
	n := unique(x.taken, base)
	x.names[v] = n
	if v.Const != nil {
		x.main.Initializers = append(x.main.Initializers, wire.NewTensor(n, v.Const.Tensor))
		x.needsType(v.Const.Tensor.DType())
	}
	return n
}

// add adds a node of one output by name.
func (x *exporter) add(op, output string, inputs ...string) *wire.Node {
	n := &wire.Node{OpType: op, Inputs: inputs, Outputs: []string{output}}
	x.g.Nodes = append(x.g.Nodes, n)
	return n
}

func (x *exporter) block(b *ir.Block) error {
	for _, s := range b.Stmts {
		var err error
		switch s.Kind {
		case ir.CallStmt:
			err = x.dims(s)
		case ir.CastStmt:
			if from := x.name(s.Args[0]); x.names[s.Results[0]] != "" {
				x.add("Identity", x.names[s.Results[0]], from)
			} else {
				x.names[s.Results[0]] = from
			}
		default:
			err = x.operator(s)
		}
		if err != nil {
			return err
		}
		for _, r := range s.Results {
			if r != nil {
				x.see(r)
			}
		}
	}
	return nil
}

// cannotSay is the error about what ONNX has no words for.
func cannotSay(s *ir.Stmt, why string) error {
	return diag.New(diag.Unsupported, "ONNX can not say %s%s", s.OpName(), why).At(s.Place(), s.OpName()).
		Hint("write ONNX earlier: with a pipeline that has neither legalize nor what follows it")
}

func (x *exporter) operator(s *ir.Stmt) error {
	i := strings.LastIndexByte(s.Op.Name, '.')
	if i < 0 || strings.HasPrefix(s.Op.Name, "vm.") || strings.HasPrefix(s.Op.Name, "pit.") {
		return cannotSay(s, "")
	}
	n := &wire.Node{Domain: s.Op.Name[:i], OpType: s.Op.Name[i+1:]}
	if n.Domain == "onnx" {
		n.Domain = ""
	}
	if s.Node != "" {
		n.Name = unique(x.nodes, s.Node)
	}
	x.needs(s, n.Domain)
	for _, a := range s.Args {
		name := ""
		if a != nil {
			name = x.name(a)
		}
		if s.Op.Name == "onnx.Range" {
			name = x.scalar(a)
		}
		n.Inputs = append(n.Inputs, name)
	}
	for _, a := range s.Attrs {
		p, err := x.attribute(a)
		if err != nil {
			return err
		}
		n.Attributes = append(n.Attributes, p)
	}
	for i, r := range s.Regions {
		g, err := x.region(s.Op.Regions[i], r)
		if err != nil {
			return err
		}
		n.Attributes = append(n.Attributes, &wire.Attribute{Name: s.Op.Regions[i], Type: wire.AttrGraph, G: g})
	}
	for _, r := range s.Results {
		name := ""
		if r != nil {
			name = x.name(r)
			x.needsTypeOf(r.Type)
		}
		n.Outputs = append(n.Outputs, name)
	}
	x.g.Nodes = append(x.g.Nodes, n)
	return nil
}

// scalar is the name of an operand of rank 0. A constant of one element and another rank,
// which stands where ONNX wants a scalar once a conditional has become its branch, is
// written once more.
func (x *exporter) scalar(v *ir.Value) string {
	if v.Const == nil || v.Const.Tensor.Rank() == 0 || v.Const.Tensor.Len() != 1 {
		return x.name(v)
	}
	t, err := v.Const.Tensor.View()
	if err != nil {
		return x.name(v)
	}
	name := unique(x.taken, v.Name+"_scalar")
	x.main.Initializers = append(x.main.Initializers, wire.NewTensor(name, t))
	return name
}

// region writes a subgraph. A subgraph gives what it computes itself, each value once.
func (x *exporter) region(name string, b *ir.Block) (*wire.Graph, error) {
	outer, sizes := x.g, x.sizes
	x.g, x.sizes = &wire.Graph{Name: name}, map[string]sizeOf{}
	defer func() { x.g, x.sizes = outer, sizes }()
	for s, at := range sizes {
		x.sizes[s] = at
	}
	own := map[string]bool{}
	for _, p := range b.Params {
		n := x.name(p)
		own[n] = true
		x.g.Inputs = append(x.g.Inputs, x.info(n, p.Type))
		x.see(p)
	}
	if err := x.block(b); err != nil {
		return nil, err
	}
	for _, n := range x.g.Nodes {
		for _, o := range n.Outputs {
			own[o] = true
		}
	}
	for _, r := range b.Results {
		n := x.name(r)
		if !own[n] {
			inner := unique(x.taken, n+"_out")
			x.add("Identity", inner, n)
			n = inner
		}
		own[n] = false
		x.g.Outputs = append(x.g.Outputs, x.info(n, r.Type))
	}
	return x.g, nil
}

func (x *exporter) attribute(a ir.Attr) (*wire.Attribute, error) {
	p := &wire.Attribute{Name: a.Name}
	switch v := a.Value.(type) {
	case int64:
		p.Type, p.I = wire.AttrInt, v
	case float64:
		p.Type, p.F = wire.AttrFloat, float32(v)
	case string:
		p.Type, p.S = wire.AttrString, []byte(v)
	case []int64:
		p.Type, p.Ints = wire.AttrInts, v
	case []float64:
		p.Type = wire.AttrFloats
		for _, f := range v {
			p.Floats = append(p.Floats, float32(f))
		}
	case []string:
		p.Type = wire.AttrStrings
		for _, s := range v {
			p.Strings = append(p.Strings, []byte(s))
		}
	case *tensor.Tensor:
		p.Type, p.T = wire.AttrTensor, wire.NewTensor("", v)
		x.needsType(v.DType())
	case ir.Type:
		p.Type, p.TP = wire.AttrTypeProto, x.typ(v, a.Name)
	default:
		return nil, diag.New(diag.Unsupported, "ONNX has no attribute of type %T", v)
	}
	return p, nil
}
