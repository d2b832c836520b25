package onnx

import (
	"reflect"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// baseOpset is the oldest operator set that is written: most operators have had the form
// that passes see since then.
const baseOpset = 13

// irVersion is the IR version that came with an operator set.
func irVersion(opset int64) int64 {
	for _, row := range [][2]int64{{18, 8}, {20, 9}, {22, 10}, {23, 11}, {24, 12}} {
		if opset <= row[0] {
			return row[1]
		}
	}
	return 13
}

// require makes the operator set of a domain at least v.
func (x *exporter) require(domain string, v int64) { x.opsets[domain] = max(x.opsets[domain], v) }

// needs finds the operator set that a statement needs: one that has the operator in the
// form that passes see, with the attributes and the number of operands that are there.
func (x *exporter) needs(s *ir.Stmt, domain string) {
	versions := schemas[s.Op.Name]
	if len(versions) == 0 { // of a domain that ONNX does not define: what the model imported
		x.require(domain, 1)
		for _, o := range x.m.Meta.Opsets {
			if o.Domain == domain {
				x.require(domain, o.Version)
			}
		}
		return
	}
	x.require(domain, max(versions[0].version, adapters[s.Op.Name].below))
	for i, v := range versions {
		if i > 0 && len(s.Args) > int(versions[i-1].most) {
			x.require(domain, v.version)
		}
		for _, name := range strings.Fields(v.attrs) {
			if s.Attrs.Get(name) != nil {
				x.require(domain, v.version)
			}
		}
	}
}

// needsType requires an operator set that has the element type.
func (x *exporter) needsType(d tensor.DType) {
	switch d {
	case tensor.F8E4M3FN, tensor.F8E4M3FNUZ, tensor.F8E5M2, tensor.F8E5M2FNUZ:
		x.require("", 19)
	case tensor.I4, tensor.U4:
		x.require("", 21)
	case tensor.F4E2M1:
		x.require("", 23)
	case tensor.F8E8M0:
		x.require("", 24)
	case tensor.I2, tensor.U2:
		x.require("", 25)
	}
}

func (x *exporter) needsTypeOf(t ir.Type) {
	switch t := t.(type) {
	case ir.TensorType:
		x.needsType(t.DType)
	case ir.SequenceType:
		x.needsTypeOf(t.Elem)
	case ir.OptionalType:
		x.needsTypeOf(t.Elem)
	}
}

func (x *exporter) info(name string, t ir.Type) *wire.ValueInfo {
	x.needsTypeOf(t)
	return &wire.ValueInfo{Name: name, Type: x.typ(t, name)}
}

// outputType is the type of a result of @main. ONNX wants outputs to have a rank: where
// none is known, that is the one that the model declared. So is the kind: what a loop
// carries may be an optional where the model says what it holds.
func (x *exporter) outputType(i int, r *ir.Value) ir.Type {
	if i >= len(x.m.Meta.Outputs) {
		return r.Type
	}
	declared := x.m.Meta.Outputs[i]
	if o, ok := r.Type.(ir.OptionalType); ok && reflect.TypeOf(o.Elem) == reflect.TypeOf(declared) {
		return o.Elem
	}
	t, ok := r.Tensor()
	if d, ok2 := declared.(ir.TensorType); ok && ok2 && t.Unranked && (d.DType == t.DType || t.DType == tensor.Invalid) {
		return d
	}
	return r.Type
}

// typ writes a type.
func (x *exporter) typ(t ir.Type, name string) *wire.Type {
	switch t := t.(type) {
	case ir.TensorType:
		if t.DType == tensor.Invalid {
			break
		}
		p := &wire.TensorType{ElemType: t.DType.ONNX()}
		if !t.Unranked {
			p.Shape = &wire.Shape{}
			for _, d := range t.Dims {
				p.Shape.Dims = append(p.Shape.Dims, dimProto(d))
			}
		}
		return &wire.Type{Tensor: p}
	case ir.SequenceType:
		return &wire.Type{Sequence: &wire.ElemType{Elem: x.typ(t.Elem, name)}}
	case ir.OptionalType:
		return &wire.Type{Optional: &wire.ElemType{Elem: x.typ(t.Elem, name)}}
	}
	x.strange = diag.New(diag.Unsupported, "%q has type %s, which ONNX does not have", name, t)
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

// sizeOf is where the size of a symbol can be read: a dim of a value.
type sizeOf struct {
	v    *ir.Value
	axis int
	name string // of the 1-element tensor that holds it, once there is one
}

// see makes the symbols that are dims of v known.
func (x *exporter) see(v *ir.Value) {
	t, ok := v.Tensor()
	if !ok {
		return
	}
	for i, d := range t.Dims {
		if s, ok := d.Symbol(); ok && x.sizes[s].v == nil {
			x.sizes[s] = sizeOf{v: v, axis: i}
		}
	}
}

// dims writes a call of a program that computes nothing but dims, as arithmetic on the
// shapes of values.
func (x *exporter) dims(s *ir.Stmt) error {
	p, ok := s.Callee.(*ir.Program)
	if !ok || len(s.Args) > 0 || len(s.Results) != 1 || s.Results[0] == nil {
		return cannotSay(s, "")
	}
	t, _ := s.Results[0].Tensor()
	list, ok := p.EvalSym(sym.NewContext(), nil, nil)
	shape, static := t.Static()
	if !ok || !static {
		return cannotSay(s, "")
	}
	var parts []string
	for _, e := range list[0] {
		e = e.Subst(func(name string) (sym.Expr, bool) {
			i := slices.Index(p.Syms, name)
			if i < 0 {
				return sym.Expr{}, false
			}
			return s.Bind[i], true
		})
		for _, name := range e.Symbols() {
			if x.sizes[name].v == nil {
				return cannotSay(s, ": no value has the dim "+name)
			}
		}
		parts = append(parts, sym.Fold(e, x.arithmetic()))
	}
	if len(parts) == 0 {
		x.main.Initializers = append(x.main.Initializers, wire.NewTensor(x.name(s.Results[0]), tensor.New(t.DType, shape...)))
		return nil
	}
	out := x.name(s.Results[0])
	then := func(wanted bool) string { // the name of a step with another one behind it
		if wanted {
			return unique(x.taken, "dims")
		}
		return out
	}
	reshapes, casts := len(shape) != 1, t.DType != tensor.I64
	name := then(reshapes || casts)
	x.add("Concat", name, parts...).Attributes = []*wire.Attribute{intAttribute("axis", 0)}
	if reshapes {
		const opset = 13 // of Reshape of all types
		x.require("", opset)
		to := unique(x.taken, "shape")
		x.main.Initializers = append(x.main.Initializers, wire.NewTensor(to, tensor.Of(shape, int64(len(shape)))))
		next := then(casts)
		x.add("Reshape", next, name, to)
		name = next
	}
	if casts {
		x.add("Cast", out, name).Attributes = []*wire.Attribute{intAttribute("to", int64(t.DType.ONNX()))}
	}
	return nil
}

func intAttribute(name string, v int64) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrInt, I: v}
}

// arithmetic computes integers as nodes, each a tensor of one element. Division and
// remainder round down, whatever the signs: ONNX's Mod does, its Div does not.
func (x *exporter) arithmetic() sym.Algebra[string] {
	node := func(op string) func(a, b string) string {
		return func(a, b string) string {
			out := unique(x.taken, "dim")
			x.add(op, out, a, b)
			return out
		}
	}
	sub, div, mod := node("Sub"), node("Div"), node("Mod")
	return sym.Algebra[string]{
		Const: x.integer, Symbol: x.size,
		Add: node("Add"), Mul: node("Mul"), Min: node("Min"), Max: node("Max"), Mod: mod,
		FloorDiv: func(a, b string) string { return div(sub(a, mod(a, b)), b) },
	}
}

// integer is an initializer of one element.
func (x *exporter) integer(v int64) string {
	if x.ints[v] == "" {
		x.ints[v] = unique(x.taken, "int")
		x.main.Initializers = append(x.main.Initializers, wire.NewTensor(x.ints[v], tensor.Of([]int64{v})))
	}
	return x.ints[v]
}

// size is a symbol's value, read where it is a dim.
func (x *exporter) size(symbol string) string {
	at := x.sizes[symbol]
	if at.name == "" {
		const opset = 15 // of Shape with start and end
		x.require("", opset)
		at.name = unique(x.taken, "dim")
		x.add("Shape", at.name, x.name(at.v)).Attributes = []*wire.Attribute{intAttribute("start", int64(at.axis)), intAttribute("end", int64(at.axis)+1)}
		x.sizes[symbol] = at
	}
	return at.name
}
