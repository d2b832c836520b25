package irpb

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Limits on what is read. Shared nodes of scalar expressions count as often as they
// are reached, since whoever walks an expression reaches them as often.
const (
	maxNesting     = 600 // of messages: a region takes three
	maxScalarDepth = 10000
	maxScalarNodes = 1 << 22 // of all programs together
)

// Options say where Unmarshal finds what is not in the message.
type Options struct {
	Lookup func(op string) *ir.OpDef           // nil: ir.Lookup; what that does not give goes to the module's own operators
	Arena  [][]byte                            // what Marshal gave, or the same bytes elsewhere; tensors keep it
	File   func(src ir.Source) ([]byte, error) // gives bytes of a file, which tensors keep; nil: there are no files
}

// Unmarshal reads a module. It takes any bytes: what comes back without error is whole,
// though only ir.Verify says whether it is right. Errors have code Malformed, or
// Unsupported for an operator that is not there or a message of a newer version.
func Unmarshal(data []byte, o Options) (*ir.Module, error) {
	msg := &Module{}
	if err := (proto.UnmarshalOptions{RecursionLimit: maxNesting}).Unmarshal(data, msg); err != nil {
		return nil, diag.New(diag.Malformed, "this is no module in protobuf form: %v", err)
	}
	switch v := msg.GetVersion(); {
	case v == 0:
		return nil, diag.New(diag.Malformed, "this is no module in protobuf form: it has no version")
	case v > Version:
		return nil, diag.New(diag.Unsupported, "a module in version %d of the protobuf form; this program reads up to version %d", v, Version).
			Hint("update pitopt")
	}
	if o.Lookup == nil {
		o.Lookup = ir.Lookup
	}
	d := &decoder{o: o, m: ir.NewModule(msg.GetName()), exprs: map[string]sym.Expr{}, ops: map[string]*ir.OpDef{}, unknown: map[unknownKey]*ir.OpDef{}}
	d.module(msg)
	if d.err != nil {
		return nil, d.err
	}
	return d.m, nil
}

// decoder reads a module. The first error stays; reading goes on with stand-ins until
// somebody looks.
type decoder struct {
	o       Options
	m       *ir.Module
	err     *diag.Error
	exprs   map[string]sym.Expr // read before
	ops     map[string]*ir.OpDef
	unknown map[unknownKey]*ir.OpDef
	values  []*ir.Value // of the function that is read, from number 1
	scalars int         // nodes of scalar expressions so far
}

// unknownKey tells operators that are not there apart.
type unknownKey struct {
	name    string
	version int64
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = diag.New(diag.Malformed, format, args...)
	}
}

func (d *decoder) module(msg *Module) {
	d.meta(msg.GetMeta())
	d.context(msg)
	for _, c := range msg.GetConstants() {
		t, src := d.tensor(c.GetTensor())
		if d.err != nil {
			return
		}
		d.m.Consts = append(d.m.Consts, &ir.Const{Name: c.GetName(), Tensor: t, Source: src})
	}
	// calls refer to what comes later: make everything, then fill it in
	for _, f := range msg.GetFunctions() {
		d.m.Funcs = append(d.m.Funcs, &ir.Func{Name: f.GetName(), ResultNames: f.GetResultNames()})
	}
	for _, p := range msg.GetPrograms() {
		d.m.Programs = append(d.m.Programs, &ir.Program{Name: p.GetName(), Syms: p.GetSymbols()})
	}
	for _, k := range msg.GetKernels() {
		d.m.Kernels = append(d.m.Kernels, &ir.Kernel{Name: k.GetName(), Attrs: d.attrs(k.GetAttributes()), Program: at(d, "program", d.m.Programs, k.GetProgram())})
	}
	for i, p := range msg.GetPrograms() {
		d.program(d.m.Programs[i], p)
	}
	for i, f := range msg.GetFunctions() {
		d.values = nil
		d.block(&d.m.Funcs[i].Block, f.GetBody())
		if len(f.GetResultNames()) > len(d.m.Funcs[i].Results) {
			d.fail("function %s has more names of results than results", f.GetName())
		}
	}
}

func (d *decoder) meta(m *Meta) {
	out := &d.m.Meta
	out.Producer, out.ProducerVersion, out.Domain, out.Doc = m.GetProducer(), m.GetProducerVersion(), m.GetDomain(), m.GetDoc()
	out.IRVersion = m.GetIrVersion()
	for _, o := range m.GetOpsets() {
		out.Opsets = append(out.Opsets, ir.Opset{Domain: o.GetDomain(), Version: o.GetVersion()})
	}
	for _, p := range m.GetProperties() {
		out.Props = append(out.Props, [2]string{p.GetKey(), p.GetValue()})
	}
	for _, t := range m.GetOutputs() {
		out.Outputs = append(out.Outputs, d.typ(t))
	}
}

// context takes equalities, then what is at most another, then ranges, whatever the order
// in the message: one that those before it prove is dropped, and Marshal writes this order.
func (d *decoder) context(msg *Module) {
	check := func(err error) {
		if err != nil {
			d.fail("%v", err)
		}
	}
	for _, lessEqual := range []bool{false, true} {
		assume := d.m.Syms.AssumeEqual
		if lessEqual {
			assume = d.m.Syms.AssumeLE
		}
		for _, r := range msg.GetRelations() {
			if r.GetLessEqual() == lessEqual {
				check(assume(d.expr(r.GetLeft()), d.expr(r.GetRight())))
			}
		}
	}
	for _, s := range msg.GetSymbols() {
		check(d.m.Syms.SetRange(s.GetName(), s.GetLow(), s.GetHigh()))
		if k := s.GetMultiple(); k != 0 {
			check(d.m.Syms.SetMultiple(s.GetName(), k))
		}
	}
}

// at gives the i-th of a list, a zero value when there is none.
func at[T any](d *decoder, what string, list []T, i uint32) (x T) {
	if int64(i) >= int64(len(list)) {
		d.fail("%s %d of %d", what, i, len(list))
		return x
	}
	return list[i]
}

func (d *decoder) expr(s string) sym.Expr {
	e, ok := d.exprs[s]
	if ok || d.err != nil {
		return e
	}
	e, err := sym.Parse(s)
	if err != nil {
		d.fail("%v", err)
	}
	for _, name := range e.Symbols() {
		d.m.Syms.Reserve(name)
	}
	d.exprs[s] = e
	return e
}

func (d *decoder) exprList(list []string) (out []sym.Expr) {
	for _, s := range list {
		out = append(out, d.expr(s))
	}
	return out
}

// dtype reads an element type; 0, the unknown one, only where it may stand.
func (d *decoder) dtype(n int32, unknown bool) tensor.DType {
	if n == 0 && unknown {
		return tensor.Invalid
	}
	t, ok := tensor.DTypeFromONNX(n)
	if !ok {
		d.fail("there is no element type %d", n)
	}
	return t
}

// tensor reads a tensor, and where it lies if that is a file. It gives nil just when
// there is an error.
func (d *decoder) tensor(t *Tensor) (*tensor.Tensor, *ir.Source) {
	dt := d.dtype(t.GetDtype(), false)
	if d.err != nil {
		return nil, nil
	}
	var b []byte
	var src *ir.Source
	var err error
	switch place := t.GetPlace().(type) {
	case *Tensor_Inline:
		b = place.Inline
	case *Tensor_Arena:
		b = at(d, "arena", d.o.Arena, place.Arena)
	case *Tensor_File:
		src = &ir.Source{File: place.File.GetName(), Offset: place.File.GetOffset(), Length: place.File.GetLength()}
		if d.o.File == nil {
			d.fail("a constant lies in file %q, which is not at hand here", src.File)
			return nil, nil
		}
		if b, err = d.o.File(*src); err != nil {
			d.fail("a constant in file %q: %v", src.File, err)
		}
	}
	if d.err != nil {
		return nil, nil
	}
	var out *tensor.Tensor
	if dt == tensor.String {
		strs := make([]string, len(t.GetStrings()))
		for i, s := range t.GetStrings() {
			strs[i] = string(s)
		}
		out, err = tensor.FromStrings(t.GetShape(), strs)
	} else {
		out, err = tensor.FromBytes(dt, t.GetShape(), b)
	}
	if err != nil {
		d.fail("%v", err)
		return nil, nil
	}
	return out, src
}

// typ reads a type, which must be there. Its depth is bounded by that of the message.
func (d *decoder) typ(t *Type) ir.Type {
	switch k := t.GetKind().(type) {
	case *Type_Tensor:
		out := ir.TensorType{DType: d.dtype(k.Tensor.GetDtype(), true), Unranked: k.Tensor.GetUnranked(), Dims: d.exprList(k.Tensor.GetDims())}
		if out.Unranked && len(out.Dims) > 0 {
			d.fail("an unranked tensor type has dims")
		}
		return out
	case *Type_Sequence:
		return ir.SequenceType{Elem: d.typ(k.Sequence)}
	case *Type_Optional:
		return ir.OptionalType{Elem: d.typ(k.Optional)}
	case *Type_Opaque:
		return ir.OpaqueType{Name: k.Opaque}
	}
	d.fail("a type is missing")
	return nil
}

// define reads a value and gives it the next number; nil for one that is left out.
func (d *decoder) define(v *Value, def *ir.Stmt, index int) *ir.Value {
	if v.GetLeftOut() {
		return nil
	}
	out := &ir.Value{Name: v.GetName(), Type: d.typ(v.GetType()), Def: def, Index: index}
	d.values = append(d.values, out)
	return out
}

// refs reads references to values defined before; 0 is nil.
func (d *decoder) refs(list []int64) []*ir.Value {
	var out []*ir.Value
	for _, n := range list {
		var v *ir.Value
		switch {
		case n > 0 && n <= int64(len(d.values)):
			v = d.values[n-1]
		case n < 0 && n >= -int64(len(d.m.Consts)):
			v = d.m.Consts[-n-1].Value()
		case n != 0:
			d.fail("value %d is used before it is defined", n)
		}
		out = append(out, v)
	}
	return out
}

func (d *decoder) block(out *ir.Block, b *Block) {
	for i, p := range b.GetParams() {
		v := d.define(p, nil, i)
		if v == nil {
			d.fail("a parameter is left out")
		}
		out.Params = append(out.Params, v)
	}
	for _, s := range b.GetStatements() {
		if d.err != nil {
			return
		}
		out.Stmts = append(out.Stmts, d.stmt(s))
	}
	out.Results = d.refs(b.GetResults())
	for _, r := range out.Results {
		if r == nil {
			d.fail("a result of a block is left out")
		}
	}
}

func (d *decoder) stmt(s *Statement) *ir.Stmt {
	out := &ir.Stmt{Args: d.refs(s.GetArgs()), Into: d.refs(s.GetInto()), Attrs: d.attrs(s.GetAttributes()), Node: s.GetNode()}
	switch a := s.GetApplied().(type) {
	case *Statement_Op:
		out.Op = d.operator(a.Op)
	case *Statement_Unknown:
		key := unknownKey{a.Unknown.GetName(), a.Unknown.GetVersion()}
		if d.unknown[key] == nil {
			d.unknown[key] = ir.Unknown(key.name, key.version)
		}
		out.Op = d.unknown[key]
	case *Statement_Call:
		out.Kind = ir.CallStmt
		out.Bind = d.exprList(a.Call.GetBind())
		switch c := a.Call.GetCallee().(type) {
		case *Call_Function:
			out.Callee = at(d, "function", d.m.Funcs, c.Function)
		case *Call_Program:
			out.Callee = at(d, "program", d.m.Programs, c.Program)
		case *Call_Kernel:
			out.Callee = at(d, "kernel", d.m.Kernels, c.Kernel)
		default:
			d.fail("a call calls nothing")
		}
	case *Statement_MatchCast:
		out.Kind = ir.CastStmt
	default:
		d.fail("a statement applies nothing")
	}
	for _, r := range s.GetRegions() {
		b := &ir.Block{}
		d.block(b, r)
		out.Regions = append(out.Regions, b)
	}
	for i, r := range s.GetResults() {
		out.Results = append(out.Results, d.define(r, out, i))
	}
	return out
}

func (d *decoder) operator(name string) *ir.OpDef {
	if op := d.ops[name]; op != nil {
		return op
	}
	op := d.o.Lookup(name)
	if op == nil {
		if d.err == nil {
			d.err = diag.New(diag.Unsupported, "there is no operator %q", name)
		}
		return nil
	}
	if ir.Lookup(name) != op {
		if d.m.Ops == nil {
			d.m.Ops = map[string]*ir.OpDef{}
		}
		d.m.Ops[name] = op
	}
	d.ops[name] = op
	return op
}

func (d *decoder) attrs(list []*Attribute) ir.Attrs {
	var out ir.Attrs
	for _, a := range list {
		out = append(out, ir.Attr{Name: a.GetName(), Value: d.attr(a)})
	}
	slices.SortStableFunc(out, func(a, b ir.Attr) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(out); i++ {
		if out[i].Name == out[i-1].Name {
			d.fail("attribute %q is given twice", out[i].Name)
		}
	}
	return out
}

func (d *decoder) attr(a *Attribute) any {
	switch v := a.GetValue().(type) {
	case *Attribute_Int:
		return v.Int
	case *Attribute_Float:
		return v.Float
	case *Attribute_String_:
		return string(v.String_)
	case *Attribute_Ints:
		return v.Ints.GetValues()
	case *Attribute_Floats:
		return v.Floats.GetValues()
	case *Attribute_Strings:
		strs := make([]string, len(v.Strings.GetValues()))
		for i, s := range v.Strings.GetValues() {
			strs[i] = string(s)
		}
		return strs
	case *Attribute_Tensor:
		t, _ := d.tensor(v.Tensor)
		return t
	case *Attribute_Type:
		return d.typ(v.Type)
	}
	d.fail("attribute %q has no value", a.GetName())
	return nil
}
