package onnx

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// baseOpset is the operator set that modules are written in, unless they use operators
// that came later: it has every operator in the form that pitopt keeps.
const baseOpset = 21

// irVersions tells which IR version came with an operator set.
func irVersion(opset int64) int64 {
	switch {
	case opset <= 22:
		return 10
	case opset == 23:
		return 11
	case opset == 24:
		return 12
	}
	return 13
}

// Export writes a module as ONNX, equal in meaning. Tensor programs, kernels and steps
// of the machine can not be said in ONNX: a module that has them is an error that says
// which pass to leave out.
func Export(m *ir.Module) ([]byte, error) {
	f := m.Main()
	if f == nil || len(m.Funcs) != 1 {
		return nil, diag.New(diag.Unsupported, "only modules of one function can be written as ONNX")
	}
	x := &exporter{m: m, names: map[*ir.Value]string{}, taken: map[string]bool{}, domains: map[string]int64{"": baseOpset}}
	for i, r := range f.Results {
		x.taken[f.ResultName(i)] = true
		if x.names[r] == "" && r.Const == nil && r.Def != nil {
			x.names[r] = f.ResultName(i)
		}
	}
	g := &wire.Graph{Name: m.Name}
	if g.Name == "" {
		g.Name = "main"
	}
	for _, p := range f.Params {
		g.Inputs = append(g.Inputs, &wire.ValueInfo{Name: x.name(p), Type: typeProto(p.Type)})
	}
	for _, c := range m.Consts {
		g.Initializers = append(g.Initializers, wire.NewTensor(x.name(c.Value()), c.Tensor))
	}
	if err := x.block(g, &f.Block); err != nil {
		return nil, err
	}
	for i, r := range f.Results {
		want := f.ResultName(i)
		if got := x.name(r); got != want { // an input, a constant, or a value under another name too
			g.Nodes = append(g.Nodes, &wire.Node{OpType: "Identity", Inputs: []string{got}, Outputs: []string{want}})
		}
		g.Outputs = append(g.Outputs, &wire.ValueInfo{Name: want, Type: typeProto(r.Type)})
	}
	out := &wire.Model{IRVersion: irVersion(x.domains[""]), ProducerName: "pitopt", Domain: m.Meta.Domain, Doc: m.Meta.Doc, Graph: g}
	for d, v := range x.domains {
		out.OpsetImport = append(out.OpsetImport, &wire.OperatorSet{Domain: d, Version: v})
	}
	sort.Slice(out.OpsetImport, func(i, j int) bool { return out.OpsetImport[i].Domain < out.OpsetImport[j].Domain })
	for _, p := range m.Meta.Props {
		out.MetadataProps = append(out.MetadataProps, &wire.StringEntry{Key: p[0], Value: p[1]})
	}
	return wire.Encode(out), nil
}

type exporter struct {
	m       *ir.Module
	names   map[*ir.Value]string
	taken   map[string]bool
	domains map[string]int64
}

// name gives a value's name, unique in the whole model: subgraphs may not shadow.
func (x *exporter) name(v *ir.Value) string {
	if n := x.names[v]; n != "" {
		return n
	}
	base := v.Name
	if base == "" {
		base = "v"
	}
	n := base
	for i := 1; x.taken[n]; i++ {
		n = fmt.Sprintf("%s_%d", base, i)
	}
	x.taken[n] = true
	x.names[v] = n
	return n
}

func (x *exporter) block(g *wire.Graph, b *ir.Block) error {
	for _, s := range b.Stmts {
		n, err := x.stmt(s)
		if err != nil {
			return err
		}
		if n != nil {
			g.Nodes = append(g.Nodes, n)
		}
	}
	return nil
}

func (x *exporter) stmt(s *ir.Stmt) (*wire.Node, error) {
	n := &wire.Node{Name: s.Node}
	for _, a := range s.Args {
		if a == nil {
			n.Inputs = append(n.Inputs, "")
		} else {
			n.Inputs = append(n.Inputs, x.name(a))
		}
	}
	for _, r := range s.Results {
		if r == nil {
			n.Outputs = append(n.Outputs, "")
		} else {
			n.Outputs = append(n.Outputs, x.name(r))
		}
	}
	if s.Kind == ir.CastStmt { // a check, which ONNX does not have
		n.OpType = "Identity"
		return n, nil
	}
	if s.Kind == ir.CallStmt || strings.HasPrefix(s.Op.Name, "vm.") {
		return nil, diag.New(diag.Unsupported, "ONNX can not say %s", s.OpName()).At(s.Place(), s.OpName()).
			Hint("write ONNX before legalize: a pipeline of fold-constants, deduce and simplify alone")
	}
	i := strings.LastIndexByte(s.Op.Name, '.')
	n.Domain, n.OpType = s.Op.Name[:i], s.Op.Name[i+1:]
	if n.Domain == "onnx" {
		n.Domain = ""
	}
	if first := slices.Min(append(s.Op.Since, 1<<30)); n.Domain == "" {
		if first < 1<<30 {
			x.domains[""] = max(x.domains[""], first)
		}
	} else if x.domains[n.Domain] == 0 {
		x.domains[n.Domain] = 1
		for _, o := range x.m.Meta.Opsets {
			if o.Domain == n.Domain {
				x.domains[n.Domain] = o.Version
			}
		}
	}
	for _, a := range s.Attrs {
		p, err := attributeProto(a)
		if err != nil {
			return nil, err
		}
		n.Attributes = append(n.Attributes, p)
	}
	for i, r := range s.Regions {
		g := &wire.Graph{Name: s.Op.Regions[i]}
		for _, p := range r.Params {
			g.Inputs = append(g.Inputs, &wire.ValueInfo{Name: x.name(p), Type: typeProto(p.Type)})
		}
		if err := x.block(g, r); err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, v := range r.Results {
			name := x.name(v)
			if v.Def == nil || seen[name] || !definedIn(r, v) { // a subgraph gives what it computes
				own := x.name(&ir.Value{Name: name + "_out"})
				g.Nodes = append(g.Nodes, &wire.Node{OpType: "Identity", Inputs: []string{name}, Outputs: []string{own}})
				name = own
			}
			seen[name] = true
			g.Outputs = append(g.Outputs, &wire.ValueInfo{Name: name, Type: typeProto(v.Type)})
		}
		n.Attributes = append(n.Attributes, &wire.Attribute{Name: s.Op.Regions[i], Type: wire.AttrGraph, G: g})
	}
	return n, nil
}

func definedIn(b *ir.Block, v *ir.Value) bool { return slices.Contains(b.Stmts, v.Def) }

func attributeProto(a ir.Attr) (*wire.Attribute, error) {
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
	case ir.Type:
		p.Type, p.TP = wire.AttrTypeProto, typeProto(v)
	default:
		return nil, diag.New(diag.Unsupported, "ONNX has no attribute of type %T", v)
	}
	return p, nil
}

// typeProto writes a type; dims that are expressions become the text of their dim_param.
func typeProto(t ir.Type) *wire.Type {
	switch t := t.(type) {
	case ir.TensorType:
		p := &wire.TensorType{ElemType: t.DType.ONNX()}
		if !t.Unranked {
			p.Shape = &wire.Shape{}
			for _, d := range t.Dims {
				p.Shape.Dims = append(p.Shape.Dims, dimProto(d))
			}
		}
		return &wire.Type{Tensor: p}
	case ir.SequenceType:
		return &wire.Type{Sequence: &wire.ElemType{Elem: typeProto(t.Elem)}}
	case ir.OptionalType:
		return &wire.Type{Optional: &wire.ElemType{Elem: typeProto(t.Elem)}}
	}
	return &wire.Type{}
}

func dimProto(d sym.Expr) *wire.Dim {
	if n, ok := d.Int(); ok {
		return &wire.Dim{HasValue: true, Value: n}
	}
	if s, ok := d.Symbol(); ok {
		return &wire.Dim{Param: s}
	}
	return &wire.Dim{Param: d.String()}
}
