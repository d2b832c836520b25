// Package irpb is the protobuf form of modules: what plugins and caches exchange. Its
// definition, ir.proto, says how it may change.
//
// Constants travel by reference: a place in a file, or an index into an arena, a list
// of byte slices that the two sides share by whatever means they have. Small ones
// stand in the message.
package irpb

import (
	"google.golang.org/protobuf/proto"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Version is the version of the form that Marshal writes, and the newest that
// Unmarshal reads.
const Version = 1

// InlineBytes is the size up to which a tensor stands in the message.
const InlineBytes = 4 << 10

// Marshal gives the module as a message, and the arena that the message refers to:
// the bytes of tensors, without copying them. Constants that lie in files are not in
// the arena. The error, for a module that does not hold together, has code Verifier.
func Marshal(m *ir.Module) (data []byte, arena [][]byte, err error) {
	e := &encoder{arenaIndex: map[*byte]uint32{}, callees: map[ir.Callee]*Call{}, consts: map[*ir.Const]int64{}}
	msg := e.module(m)
	if e.err != nil {
		return nil, nil, e.err
	}
	if data, err = proto.Marshal(msg); err != nil {
		return nil, nil, diag.New(diag.Verifier, "module %q has no protobuf form: %v", m.Name, err)
	}
	return data, e.arena, nil
}

type encoder struct {
	arena      [][]byte
	arenaIndex map[*byte]uint32 // by the first byte
	callees    map[ir.Callee]*Call
	consts     map[*ir.Const]int64
	values     map[*ir.Value]int64 // of the function that is written
	err        error
}

func (e *encoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = diag.New(diag.Verifier, format, args...)
	}
}

func (e *encoder) module(m *ir.Module) *Module {
	out := &Module{Version: Version, Name: m.Name, Meta: &Meta{Producer: m.Meta.Producer, ProducerVersion: m.Meta.ProducerVersion,
		Domain: m.Meta.Domain, Doc: m.Meta.Doc, IrVersion: m.Meta.IRVersion}}
	for _, o := range m.Meta.Opsets {
		out.Meta.Opsets = append(out.Meta.Opsets, &Opset{Domain: o.Domain, Version: o.Version})
	}
	for _, p := range m.Meta.Props {
		out.Meta.Properties = append(out.Meta.Properties, &Property{Key: p[0], Value: p[1]})
	}
	for _, t := range m.Meta.Outputs {
		out.Meta.Outputs = append(out.Meta.Outputs, e.typ(t))
	}
	for _, s := range m.Syms.Symbols() {
		lo, hi := m.Syms.Range(s)
		out.Symbols = append(out.Symbols, &Symbol{Name: s, Low: lo, High: hi, Multiple: m.Syms.Multiple(s)})
	}
	for _, r := range m.Syms.Equalities() {
		out.Relations = append(out.Relations, &Relation{Left: r[0].String(), Right: r[1].String()})
	}
	for _, r := range m.Syms.LEs() {
		out.Relations = append(out.Relations, &Relation{Left: r[0].String(), Right: r[1].String(), LessEqual: true})
	}
	for i, c := range m.Consts {
		e.consts[c] = -int64(i) - 1
		out.Constants = append(out.Constants, &Constant{Name: c.Name, Tensor: e.tensor(c.Tensor, c.Source)})
	}
	for i, f := range m.Funcs {
		e.callees[f] = &Call{Callee: &Call_Function{Function: uint32(i)}}
	}
	for i, p := range m.Programs {
		e.callees[p] = &Call{Callee: &Call_Program{Program: uint32(i)}}
	}
	for i, k := range m.Kernels {
		e.callees[k] = &Call{Callee: &Call_Kernel{Kernel: uint32(i)}}
	}
	for _, f := range m.Funcs {
		e.values = map[*ir.Value]int64{}
		out.Functions = append(out.Functions, &Function{Name: f.Name, Body: e.block(&f.Block), ResultNames: f.ResultNames})
	}
	for _, p := range m.Programs {
		out.Programs = append(out.Programs, e.program(p))
	}
	for _, k := range m.Kernels {
		c := e.callees[k.Program]
		if c == nil {
			e.fail("kernel %s computes no program of the module", k.Name)
		}
		out.Kernels = append(out.Kernels, &Kernel{Name: k.Name, Program: c.GetProgram(), Attributes: e.attrs(k.Attrs)})
	}
	return out
}

func (e *encoder) tensor(t *tensor.Tensor, src *ir.Source) *Tensor {
	out := &Tensor{Dtype: t.DType().ONNX(), Shape: t.Shape()}
	b := t.Bytes()
	switch {
	case t.DType() == tensor.String:
		for _, s := range t.Strings() {
			out.Strings = append(out.Strings, []byte(s))
		}
	case src != nil:
		out.Place = &Tensor_File{File: &File{Name: src.File, Offset: src.Offset, Length: src.Length}}
	case len(b) <= InlineBytes:
		out.Place = &Tensor_Inline{Inline: b}
	default:
		i, ok := e.arenaIndex[&b[0]]
		if !ok || len(e.arena[i]) != len(b) {
			i = uint32(len(e.arena))
			e.arenaIndex[&b[0]] = i
			e.arena = append(e.arena, b)
		}
		out.Place = &Tensor_Arena{Arena: i}
	}
	return out
}

func exprs(list []sym.Expr) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.String()
	}
	return out
}

func (e *encoder) typ(t ir.Type) *Type {
	switch t := t.(type) {
	case ir.TensorType:
		return &Type{Kind: &Type_Tensor{Tensor: &TensorType{Dtype: t.DType.ONNX(), Unranked: t.Unranked, Dims: exprs(t.Dims)}}}
	case ir.SequenceType:
		return &Type{Kind: &Type_Sequence{Sequence: e.typ(t.Elem)}}
	case ir.OptionalType:
		return &Type{Kind: &Type_Optional{Optional: e.typ(t.Elem)}}
	case ir.OpaqueType:
		return &Type{Kind: &Type_Opaque{Opaque: t.Name}}
	}
	e.fail("a value or an element has no type")
	return nil
}

// define gives a value its number.
func (e *encoder) define(v *ir.Value) *Value {
	if v == nil {
		return &Value{LeftOut: true}
	}
	if e.values[v] != 0 {
		e.fail("%%%s is defined twice", v.Name)
	}
	e.values[v] = int64(len(e.values)) + 1
	return &Value{Name: v.Name, Type: e.typ(v.Type)}
}

func (e *encoder) refs(list []*ir.Value) []int64 {
	out := make([]int64, len(list))
	for i, v := range list {
		switch {
		case v == nil:
			continue
		case v.Const != nil:
			out[i] = e.consts[v.Const]
		default:
			out[i] = e.values[v]
		}
		if out[i] == 0 {
			e.fail("%%%s is used where it is not defined", v.Name)
		}
	}
	return out
}

func (e *encoder) block(b *ir.Block) *Block {
	out := &Block{}
	for _, v := range b.Params {
		out.Params = append(out.Params, e.define(v))
	}
	for _, s := range b.Stmts {
		out.Statements = append(out.Statements, e.stmt(s))
	}
	out.Results = e.refs(b.Results)
	return out
}

func (e *encoder) stmt(s *ir.Stmt) *Statement {
	out := &Statement{Args: e.refs(s.Args), Attributes: e.attrs(s.Attrs), Into: e.refs(s.Into), Node: s.Node}
	switch {
	case s.Kind == ir.CastStmt:
		out.Applied = &Statement_MatchCast{MatchCast: true}
	case s.Kind == ir.CallStmt:
		c := e.callees[s.Callee]
		if c == nil {
			e.fail("what a statement calls is not in the module")
		}
		out.Applied = &Statement_Call{Call: &Call{Callee: c.GetCallee(), Bind: exprs(s.Bind)}}
	case s.Op == nil:
		e.fail("a statement applies no operator")
	case s.Op.IsUnknown():
		u := &UnknownOp{Name: s.Op.Name}
		if len(s.Op.Since) > 0 {
			u.Version = s.Op.Since[0]
		}
		out.Applied = &Statement_Unknown{Unknown: u}
	default:
		out.Applied = &Statement_Op{Op: s.Op.Name}
	}
	for _, r := range s.Regions {
		out.Regions = append(out.Regions, e.block(r))
	}
	for _, v := range s.Results {
		out.Results = append(out.Results, e.define(v))
	}
	return out
}

func (e *encoder) attrs(list ir.Attrs) []*Attribute {
	out := make([]*Attribute, len(list))
	for i, a := range list {
		x := &Attribute{Name: a.Name}
		switch v := a.Value.(type) {
		case int64:
			x.Value = &Attribute_Int{Int: v}
		case float64:
			x.Value = &Attribute_Float{Float: v}
		case string:
			x.Value = &Attribute_String_{String_: []byte(v)}
		case []int64:
			x.Value = &Attribute_Ints{Ints: &Ints{Values: v}}
		case []float64:
			x.Value = &Attribute_Floats{Floats: &Floats{Values: v}}
		case []string:
			list := &Strings{}
			for _, s := range v {
				list.Values = append(list.Values, []byte(s))
			}
			x.Value = &Attribute_Strings{Strings: list}
		case *tensor.Tensor:
			x.Value = &Attribute_Tensor{Tensor: e.tensor(v, nil)}
		case ir.Type:
			x.Value = &Attribute_Type{Type: e.typ(v)}
		default:
			e.fail("attribute %s is a %T, which is no kind of attribute", a.Name, v)
		}
		out[i] = x
	}
	return out
}

func (e *encoder) program(p *ir.Program) *Program {
	q := &programEncoder{encoder: e, name: p.Name, bufs: map[*ir.Buffer]uint32{}}
	out := &Program{Name: p.Name, Symbols: p.Syms, Params: q.buffers(p.Params), Results: q.buffers(p.Results), Temporaries: q.buffers(p.Temps())}
	for _, s := range p.Stages {
		out.Stages = append(out.Stages, q.stage(s))
	}
	return out
}

// programEncoder writes one program.
type programEncoder struct {
	*encoder
	name  string
	bufs  map[*ir.Buffer]uint32
	axes  map[*ir.Axis]uint32 // of the stage that is written
	nodes map[*ir.Scalar]uint32
}

func (q *programEncoder) buffers(list []*ir.Buffer) []*Buffer {
	var out []*Buffer
	for _, b := range list {
		if _, ok := q.bufs[b]; ok {
			q.fail("in program @%s: buffer %s is defined twice", q.name, b.Name)
		}
		q.bufs[b] = uint32(len(q.bufs))
		out = append(out, &Buffer{Name: b.Name, Dtype: b.DType.ONNX(), Dims: exprs(b.Dims), Room: exprs(b.Room)})
	}
	return out
}

func (q *programEncoder) buffer(b *ir.Buffer) uint32 {
	i, ok := q.bufs[b]
	if !ok {
		q.fail("in program @%s: a stage uses a buffer that is not the program's", q.name)
	}
	return i
}

func (q *programEncoder) stage(s *ir.Stage) *Stage {
	q.axes, q.nodes = map[*ir.Axis]uint32{}, map[*ir.Scalar]uint32{}
	out := &Stage{Kind: Stage_Kind(s.Kind), Monoid: s.Monoid.String(), Exclusive: s.Exclusive, Reverse: s.Reverse}
	for _, b := range s.Outs {
		out.Outs = append(out.Outs, q.buffer(b))
	}
	out.Axes, out.Reduced = q.loops(s.Axes), q.loops(s.Red)
	if s.ScanAxis != nil {
		out.ScanAxis = q.axis(s.ScanAxis)
	}
	if s.Base != nil {
		out.Base = q.buffer(s.Base)
	}
	for _, x := range s.Index {
		out.Index = append(out.Index, q.scalar(out, x))
	}
	for _, x := range s.Exprs {
		out.Exprs = append(out.Exprs, q.scalar(out, x))
	}
	for _, h := range s.Sparse {
		out.Sparse = append(out.Sparse, &Sparse{Buffer: q.buffer(h.Buffer), Finite: h.Finite})
	}
	if s.Wanted != nil {
		out.Wanted, out.Any = q.scalar(out, s.Wanted)+1, s.Any
	}
	return out
}

func (q *programEncoder) loops(list []*ir.Axis) []*Axis {
	var out []*Axis
	for _, a := range list {
		q.axes[a] = uint32(len(q.axes))
		out = append(out, &Axis{Name: a.Name, Extent: a.Extent.String()})
	}
	return out
}

func (q *programEncoder) axis(a *ir.Axis) uint32 {
	i, ok := q.axes[a]
	if !ok {
		q.fail("in program @%s: a stage uses an axis that is not its own", q.name)
	}
	return i
}

// scalar gives the number of a node, which it adds to the stage unless it is there.
func (q *programEncoder) scalar(s *Stage, x *ir.Scalar) uint32 {
	if i, ok := q.nodes[x]; ok {
		return i
	}
	out := &Scalar{Op: x.Op.String(), Dtype: x.DType.ONNX(), NoSaturate: x.Cast.NoSaturate, RoundMode: x.Cast.RoundMode}
	for _, a := range x.Args {
		out.Args = append(out.Args, q.scalar(s, a))
	}
	switch x.Op {
	case ir.OpLit:
		out.Literal = q.tensor(x.Lit, nil)
	case ir.OpAxis:
		out.Axis = q.axis(x.Axis)
	case ir.OpSym:
		out.Symbolic = x.Sym.String()
	case ir.OpLoad:
		out.Buffer = q.buffer(x.Buf)
	}
	i := uint32(len(s.Nodes))
	s.Nodes = append(s.Nodes, out)
	q.nodes[x] = i
	return i
}
