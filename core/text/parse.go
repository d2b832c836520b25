package text

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Parse reads a module from src. lookup finds operators by name; nil stands for
// ir.Lookup, and operators that ir.Lookup does not give go to the module's own. The
// error is a *diag.Error with code Malformed, whose File is name, line and column.
//
// The result is whole, but only ir.Verify says whether it is right.
func Parse(name string, src []byte, lookup func(op string) *ir.OpDef) (*ir.Module, error) {
	if lookup == nil {
		lookup = ir.Lookup
	}
	p := &parser{scanner: scanner{file: name, src: string(src)}, lookup: lookup, m: ir.NewModule(""),
		ops: map[string]*ir.OpDef{}, consts: map[string]*ir.Const{}, callees: map[string]ir.Callee{}}
	p.module()
	if p.err != nil {
		return nil, p.err
	}
	return p.m, nil
}

// ParseType reads one type: [batch, 2*seq] f32, [*] ?, seq([n] i64), optional([] f32),
// storage.
func ParseType(s string) (ir.Type, error) {
	p := &parser{scanner: scanner{file: "type", src: s}, m: ir.NewModule("")}
	t := p.typ(0)
	if p.err == nil && p.peek() != 0 {
		p.fail("unexpected %s behind the type", p.found())
	}
	if p.err != nil {
		return nil, p.err
	}
	return t, nil
}

type parser struct {
	scanner
	lookup func(string) *ir.OpDef
	m      *ir.Module

	ops     map[string]*ir.OpDef // met so far; unknown ones under "version name"
	consts  map[string]*ir.Const
	callees map[string]ir.Callee // functions, programs and kernels have one space of names
	later   []func()             // resolves names of what may be defined further down

	values map[string]*ir.Value // of the function that is read
}

func (p *parser) module() {
	if !p.word("module") {
		p.fail("expected module, found %s", p.found())
	}
	if p.peek() == '"' {
		p.m.Name = p.quoted()
	}
	p.expect("{")
	var ranges, equalities, orders []func() error
	for p.err == nil && !p.take("}") {
		at := p.here()
		switch {
		case p.word("dims"):
			p.commas(func() { ranges = append(ranges, p.dim()) })
		case p.word("where"):
			p.commas(func() {
				if f, equal := p.relation(); equal {
					equalities = append(equalities, f)
				} else {
					orders = append(orders, f)
				}
			})
		case p.word("meta"):
			p.commas(p.metaEntry)
		case p.word("const"):
			p.constant()
		case p.word("func"):
			p.function()
		case p.word("kernel"):
			p.kernel()
		case p.word("program"):
			g := p.program()
			p.define(at, g.Name, g)
			p.m.Programs = append(p.m.Programs, g)
		default:
			p.fail("expected dims, where, meta, const, func, kernel, program or }, found %s", p.found())
		}
	}
	if p.err == nil && p.peek() != 0 {
		p.fail("unexpected %s behind the module", p.found())
	}
	// In the order that they are printed in, whatever the text has: one that those before it
	// prove is dropped, and ranges would prove many.
	for _, f := range slices.Concat(equalities, orders, ranges) {
		if p.err == nil {
			if err := f(); err != nil {
				p.failAt(0, "%v", err)
			}
		}
	}
	for _, f := range p.later {
		if p.err == nil {
			f()
		}
	}
}

// commas reads items separated by commas.
func (p *parser) commas(item func()) {
	for {
		item()
		if p.err != nil || !p.take(",") {
			return
		}
	}
}

// define gives a name its meaning.
func (p *parser) define(at int, name string, c ir.Callee) {
	if p.err == nil && p.callees[name] != nil {
		p.failAt(at, "@%s is defined twice", name)
	}
	p.callees[name] = c
}

func (p *parser) dim() func() error {
	name := p.name()
	lo, hi, mult := int64(0), int64(sym.Inf), int64(1)
	if p.word("in") {
		p.expect("[")
		lo = p.int()
		p.expect(",")
		if !p.take("*") {
			hi = p.int()
		}
		p.expect("]")
	}
	if p.word("multiple") {
		mult = p.int()
	}
	return func() error {
		if err := p.m.Syms.SetRange(name, lo, hi); err != nil {
			return err
		}
		return p.m.Syms.SetMultiple(name, mult)
	}
}

// relation reads an equality, or else what is at most another.
func (p *parser) relation() (assume func() error, equal bool) {
	a := p.expr()
	equal = p.take("==")
	if !equal {
		p.expect("<=")
	}
	b := p.expr()
	return func() error {
		if equal {
			return p.m.Syms.AssumeEqual(a, b)
		}
		return p.m.Syms.AssumeLE(a, b)
	}, equal
}

func (p *parser) metaEntry() {
	switch m := &p.m.Meta; {
	case p.word("opset"):
		domain := p.quoted()
		p.expect("=")
		m.Opsets = append(m.Opsets, ir.Opset{Domain: domain, Version: p.int()})
	case p.word("prop"):
		key := p.quoted()
		p.expect("=")
		m.Props = append(m.Props, [2]string{key, p.quoted()})
	case p.word("ir_version"):
		p.expect("=")
		m.IRVersion = p.int()
	default:
		for _, x := range metaStrings(m) {
			if p.word(x.key) {
				p.expect("=")
				*x.value = p.quoted()
				return
			}
		}
		p.fail("%s is no part of a model's description", p.found())
	}
}

func (p *parser) constant() {
	p.expect("@")
	at, name := p.here(), p.name()
	p.expect(":")
	typeAt := p.here()
	t, ok := p.typ(0).(ir.TensorType)
	shape, static := t.Static()
	if p.err == nil && (!ok || !static || t.DType == tensor.Invalid) {
		p.failAt(typeAt, "a constant is a tensor of known element type and size")
	}
	p.expect("=")
	x := p.elements(t.DType, shape)
	if p.err == nil && p.consts[name] != nil {
		p.failAt(at, "constant @%s is defined twice", name)
	}
	if p.err != nil {
		return
	}
	c := &ir.Const{Name: name, Tensor: x}
	p.consts[name] = c
	p.m.Consts = append(p.m.Consts, c)
}

// elements reads a tensor's elements in braces.
func (p *parser) elements(d tensor.DType, shape []int64) *tensor.Tensor {
	p.expect("{")
	if p.take("...") {
		p.fail("the elements of this tensor were left out when it was printed; print the module in full")
	}
	n, ok := tensor.Count(shape)
	if ok && n > int64(len(p.src)-p.at)/2+1 { // an element takes a byte and a comma
		ok = false
	}
	if p.err == nil && !ok {
		p.fail("shape %v has more elements than are here", shape)
	}
	if p.err != nil {
		return nil
	}
	t, err := tensor.Make(d, shape)
	if err != nil {
		p.fail("%v", err)
		return nil
	}
	for i := range n {
		if i > 0 {
			p.expect(",")
		}
		at := p.here()
		text := p.element(d)
		if p.err != nil {
			return nil
		}
		if err := t.SetText(i, text); err != nil {
			p.failAt(at, "%v", err)
			return nil
		}
	}
	p.expect("}")
	return t
}

// element is one element as it is written.
func (p *parser) element(d tensor.DType) string {
	switch {
	case d == tensor.String:
		return p.quotedText()
	case d.IsComplex():
		p.expect("(")
		re := p.number()
		p.expect(",")
		im := p.number()
		p.expect(")")
		return "(" + re + "," + im + ")"
	}
	return p.number()
}

// typ is a type.
func (p *parser) typ(depth int) ir.Type {
	if depth > maxNesting {
		p.fail("types nested deeper than %d", maxNesting)
	}
	if p.err != nil {
		return nil
	}
	if p.take("[") {
		var t ir.TensorType
		if p.take("*") {
			p.expect("]")
			t.Unranked = true
		} else {
			t.Dims = p.exprs()
			for _, e := range t.Dims {
				for _, s := range e.Symbols() {
					p.m.Syms.Reserve(s)
				}
			}
		}
		if !p.take("?") {
			t.DType = p.dtype()
		}
		return t
	}
	quoted := p.peek() == '"'
	name := p.name()
	if !quoted && (name == "seq" || name == "optional") && p.take("(") {
		elem := p.typ(depth + 1)
		p.expect(")")
		if name == "seq" {
			return ir.SequenceType{Elem: elem}
		}
		return ir.OptionalType{Elem: elem}
	}
	return ir.OpaqueType{Name: name}
}

func (p *parser) dtype() tensor.DType {
	id := p.ident()
	d, ok := tensor.ParseDType(id)
	if !ok {
		p.fail("expected an element type, found %s", p.found())
		return tensor.Invalid
	}
	p.at += len(id)
	return d
}

func (p *parser) kernel() {
	p.expect("@")
	at := p.here()
	k := &ir.Kernel{Name: p.name()}
	p.expect("=")
	p.expect("@")
	programAt, name := p.here(), p.name()
	k.Attrs = p.attrs()
	p.define(at, k.Name, k)
	p.m.Kernels = append(p.m.Kernels, k)
	p.later = append(p.later, func() {
		g, ok := p.callees[name].(*ir.Program)
		if !ok {
			p.failAt(programAt, "there is no program @%s", name)
		}
		k.Program = g
	})
}

// operator finds an operator that must be there.
func (p *parser) operator(at int, name string) *ir.OpDef {
	if d := p.ops[name]; d != nil || p.err != nil {
		return d
	}
	d := p.lookup(name)
	if d == nil {
		p.failAt(at, "there is no operator %s", ir.QuoteName(name))
		_ = p.err.Hint("write \"unknown\", its version and its name for one that is not there")
		return nil
	}
	if ir.Lookup(name) != d {
		if p.m.Ops == nil {
			p.m.Ops = map[string]*ir.OpDef{}
		}
		p.m.Ops[name] = d
	}
	p.ops[name] = d
	return d
}

// unknown is the stand-in for an operator that is not there, one for each version.
func (p *parser) unknown(version int64, name string) *ir.OpDef {
	key := fmt.Sprint(version, " ", name)
	if p.ops[key] == nil {
		p.ops[key] = ir.Unknown(name, version)
	}
	return p.ops[key]
}
