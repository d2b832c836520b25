package text

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

func (p *parser) function() {
	p.expect("@")
	at := p.here()
	f := &ir.Func{Name: p.name()}
	p.define(at, f.Name, f)
	p.values = map[string]*ir.Value{}
	p.params(&f.Block)
	p.expect("->")
	p.expect("(")
	var types []ir.Type
	typesAt := p.here()
	p.list(")", func() {
		if start := p.here(); p.peek() == '"' { // a name, unless it is a type that is quoted
			name := p.quoted()
			if p.take(":") {
				if len(f.ResultNames) < len(types) {
					p.failAt(start, "a name behind results without")
				}
				f.ResultNames = append(f.ResultNames, name)
			} else {
				p.at = start
			}
		}
		types = append(types, p.typ(0))
	})
	p.expect("{")
	p.body(&f.Block, "return", 0)
	p.expect("}")
	if p.err != nil {
		return
	}
	same := len(types) == len(f.Results)
	for i := 0; same && i < len(types); i++ {
		same = ir.SameType(types[i], f.Results[i].Type)
	}
	if !same {
		p.failAt(typesAt, "the results of @%s are of other number or types than what it returns", f.Name)
	}
	p.m.Funcs = append(p.m.Funcs, f)
}

func (p *parser) params(b *ir.Block) {
	p.expect("(")
	p.list(")", func() {
		v := p.newValue()
		v.Index = len(b.Params)
		b.Params = append(b.Params, v)
	})
}

// newValue is %name: type where the value is defined.
func (p *parser) newValue() *ir.Value {
	at := p.here()
	key, name := p.valueName()
	p.expect(":")
	v := &ir.Value{Name: name, Type: p.typ(0)}
	if p.err == nil && p.values[key] != nil {
		p.failAt(at, "%%%s is defined twice", key)
	}
	p.values[key] = v
	return v
}

// valueName is the name behind a %; name is empty for a number, which key still tells
// apart from all names.
func (p *parser) valueName() (key, name string) {
	p.expect("%")
	if p.at < len(p.src) && isDigit(p.src[p.at]) {
		return "number " + strconv.FormatInt(p.int(), 10), ""
	}
	name = p.name()
	if name == "" {
		p.fail("a value's name is empty")
	}
	return "name " + name, name
}

// value is a use of a value; nil for one that is left out.
func (p *parser) value() *ir.Value {
	if p.word("_") {
		return nil
	}
	at := p.here()
	if p.take("@") {
		name := p.name()
		if c := p.consts[name]; c != nil {
			return c.Value()
		}
		p.failAt(at, "there is no constant @%s", name)
		return nil
	}
	key, _ := p.valueName()
	v := p.values[key]
	if v == nil {
		p.failAt(at, "%%%s is not defined here", key[strings.IndexByte(key, ' ')+1:])
	}
	return v
}

// body reads statements up to the last word and the results behind it.
func (p *parser) body(b *ir.Block, last string, depth int) {
	if depth > maxNesting {
		p.fail("regions nested deeper than %d", maxNesting)
	}
	for p.err == nil && !p.word(last) {
		b.Stmts = append(b.Stmts, p.stmt(depth))
	}
	if p.err == nil && p.peek() != '}' {
		p.commas(func() {
			at := p.here()
			v := p.value()
			if v == nil {
				p.failAt(at, "a result of a block can not be left out")
			}
			b.Results = append(b.Results, v)
		})
	}
}

func (p *parser) stmt(depth int) *ir.Stmt {
	s := &ir.Stmt{}
	if c := p.peek(); c == '%' || p.ident() == "_" {
		p.commas(func() {
			if p.word("_") {
				s.Results = append(s.Results, nil)
				return
			}
			v := p.newValue()
			v.Def, v.Index = s, len(s.Results)
			s.Results = append(s.Results, v)
		})
		p.expect("=")
	}
	p.applied(s)
	p.expect("(")
	p.list(")", func() { s.Args = append(s.Args, p.value()) })
	s.Attrs = p.attrs()
	for p.err == nil && p.take("{") {
		r := &ir.Block{}
		p.params(r)
		p.body(r, "yield", depth+1)
		p.expect("}")
		s.Regions = append(s.Regions, r)
	}
	if p.word("in") {
		p.commas(func() { s.Into = append(s.Into, p.value()) })
		if p.word("with") {
			p.commas(func() { s.Into = append(s.Into, p.value()) })
		}
	}
	if p.take("@") {
		s.Node = p.quoted()
	}
	return s
}

// applied reads what a statement applies.
func (p *parser) applied(s *ir.Stmt) {
	at := p.here()
	switch {
	case p.word("match_cast"):
		s.Kind = ir.CastStmt
	case p.word("call"):
		s.Kind = ir.CallStmt
		kernel := p.word("kernel")
		p.expect("@")
		name := p.name()
		if p.take("[") {
			s.Bind = p.exprs()
		}
		p.later = append(p.later, func() {
			c := p.callees[name]
			if _, isKernel := c.(*ir.Kernel); c == nil || isKernel != kernel {
				p.failAt(at, "there is no such thing to call as @%s", name)
				return
			}
			s.Callee = c
		})
	case p.word("unknown"):
		version := p.int()
		s.Op = p.unknown(version, p.name())
	default:
		s.Op = p.operator(at, p.name())
	}
}

// attrs are attributes in braces, if they come next. A brace before a parenthesis
// opens a region.
func (p *parser) attrs() ir.Attrs {
	start := p.here()
	if !p.take("{") {
		return nil
	}
	if p.peek() == '(' {
		p.at = start
		return nil
	}
	var list ir.Attrs
	p.list("}", func() {
		name := p.name()
		p.expect("=")
		list = append(list, ir.Attr{Name: name, Value: p.attr()})
	})
	slices.SortStableFunc(list, func(a, b ir.Attr) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(list); i++ {
		if list[i].Name == list[i-1].Name {
			p.failAt(start, "attribute %s is given twice", list[i].Name)
		}
	}
	return list
}

func (p *parser) attr() any {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '[':
		return p.listAttr()
	}
	id := p.ident()
	next := byte(0)
	if i := p.at + len(id); i < len(p.src) {
		next = p.src[i]
	}
	switch {
	case id == "type":
		p.at += len(id)
		return p.typ(0)
	case next == '[' && (id == "ints" || id == "floats" || id == "strings"):
		p.at += len(id) + 1
		p.expect("]")
		return map[string]any{"ints": []int64{}, "floats": []float64{}, "strings": []string{}}[id]
	case next == '[':
		d := p.dtype()
		p.expect("[")
		shape, ok := ir.TensorOf(d, p.exprs()...).Static()
		if !ok {
			p.fail("the shape of a tensor is not fixed")
		}
		return p.elements(d, shape)
	}
	return p.numberAttr()
}

// numberAttr is an int64, or a float64 where it is written as one.
func (p *parser) numberAttr() any {
	at := p.here()
	t := p.number()
	if n, err := strconv.ParseInt(t, 10, 64); err == nil {
		return n
	}
	var v float64
	var err error
	short, isF32 := strings.CutSuffix(t, "f")
	if isF32 && !strings.HasPrefix(t, "0x") && !strings.HasSuffix(t, "inf") {
		var x float64
		x, err = strconv.ParseFloat(short, 32)
		v = float64(float32(x))
	} else {
		v, err = tensor.ParseFloatText(t)
	}
	if err != nil && p.err == nil {
		p.failAt(at, "%.40q is no number", t)
	}
	return v
}

func (p *parser) listAttr() any {
	start := p.here()
	p.expect("[")
	var ints []int64
	var floats []float64
	var strs []string
	p.list("]", func() {
		if p.peek() == '"' {
			strs = append(strs, p.quoted())
			return
		}
		switch n := p.numberAttr().(type) {
		case int64:
			ints = append(ints, n)
		case float64:
			floats = append(floats, n)
		}
	})
	switch {
	case len(ints) > 0 && len(floats) == 0 && len(strs) == 0:
		return ints
	case len(floats) > 0 && len(ints) == 0 && len(strs) == 0:
		return floats
	case len(strs) > 0 && len(ints) == 0 && len(floats) == 0:
		return strs
	}
	p.failAt(start, "a list has elements of one kind: integers, floats or strings; an empty one is ints[], floats[] or strings[]")
	return nil
}
