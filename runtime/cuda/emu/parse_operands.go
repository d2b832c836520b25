package emu

import "math"

// inst reads an instruction up to its semicolon.
func (p *parser) inst() (*inst, error) {
	in := &inst{line: p.peek().line}
	if p.accept("@") {
		in.not = p.accept("!")
		t, err := p.word("a predicate")
		if err != nil {
			return nil, err
		}
		r, _ := p.lookup(t.text)
		if r == nil || r.typ != pred {
			return nil, errorf(t.line, "%v is no predicate", t)
		}
		if err := p.use(r, t.line); err != nil {
			return nil, err
		}
		in.guard = r
	}
	t, err := p.word("an instruction")
	if err != nil {
		return nil, err
	}
	in.op = t.text
	for p.peek().kind == dotted && p.peek().glue {
		in.mods = append(in.mods, p.next().text)
	}
	for i := len(p.scopes) - 1; i >= 0; i-- {
		in.scope = append(in.scope, p.scopes[i].id)
	}
	if p.accept(";") {
		return in, nil
	}
	for {
		o, err := p.operand(0)
		if err != nil {
			return nil, err
		}
		if len(in.args) >= maxArgs {
			return nil, errorf(in.line, "more than %d operands", maxArgs)
		}
		in.args = append(in.args, o)
		if p.accept(";") {
			return in, nil
		}
		if err := p.expect(","); err != nil {
			return nil, err
		}
	}
}

// operand reads one operand, or a pair such as p|q.
func (p *parser) operand(depth int) (operand, error) {
	o, err := p.simple(depth)
	if err != nil {
		return o, err
	}
	if p.accept("|") {
		q, err := p.simple(depth)
		if err != nil {
			return o, err
		}
		o.pair = &q
	}
	return o, nil
}

func (p *parser) simple(depth int) (operand, error) {
	t := *p.peek()
	switch {
	case t.is("{"):
		p.next()
		if depth > 0 {
			return operand{}, errorf(t.line, "a vector in a vector")
		}
		o := operand{kind: vecOperand}
		for {
			x, err := p.operand(depth + 1)
			if err != nil {
				return o, err
			}
			if o.vec = append(o.vec, x); len(o.vec) > maxArgs {
				return o, errorf(t.line, "more than %d operands", maxArgs)
			}
			if p.accept("}") {
				return o, nil
			}
			if err := p.expect(","); err != nil {
				return o, err
			}
		}
	case t.is("["):
		p.next()
		base, err := p.simple(1)
		if err != nil {
			return operand{}, err
		}
		o := operand{kind: memOperand, base: &base}
		switch base.kind {
		case regOperand:
			if base.not {
				return o, errorf(t.line, "an address is no predicate")
			}
			if base.reg.typ == pred || base.reg.typ.float() {
				return o, errorf(t.line, "%s is no address: its type is %v", base.reg.name, base.reg.typ)
			}
			if o.off, err = p.offset(); err != nil {
				return o, err
			}
		case symOperand:
			o.off, base.off = base.off, 0
		case immOperand:
		default:
			return o, errorf(t.line, "an address starts with a register or a variable")
		}
		return o, p.expect("]")
	case t.is("!"):
		p.next()
		o, err := p.simple(1)
		if err == nil && (o.kind != regOperand || o.reg.typ != pred) {
			err = errorf(t.line, "! stands before a predicate")
		}
		o.not = true
		return o, err
	case t.is("("):
		p.next()
		if depth > 2 {
			return operand{}, errorf(t.line, "constant expressions are not known")
		}
		o, err := p.simple(depth + 1)
		if err == nil && o.kind != immOperand {
			err = errorf(t.line, "calls and constant expressions are not known")
		}
		if err != nil {
			return o, err
		}
		return o, p.expect(")")
	case t.is("-"):
		p.next()
		n := p.next()
		if n.kind != number {
			return operand{}, errorf(t.line, "a number expected behind -, not %v", n)
		}
		return operand{kind: immOperand, imm: negate(n), typ: n.typ}, nil
	case t.kind == number:
		p.next()
		return operand{kind: immOperand, imm: t.val, typ: t.typ}, nil
	case t.kind == word:
		p.next()
		return p.named(t)
	}
	return operand{}, errorf(t.line, "an operand expected, not %v", t)
}

func negate(t token) uint64 {
	switch t.typ {
	case f32:
		return t.val ^ 1<<31
	case f64:
		return t.val ^ 1<<63
	}
	return -t.val
}

// offset reads + n or - n behind a base.
func (p *parser) offset() (int64, error) {
	neg := false
	switch {
	case p.accept("+"):
		neg = p.accept("-")
	case p.accept("-"):
		neg = true
	default:
		return 0, nil
	}
	line := p.peek().line
	v, err := p.integer("an offset", math.MaxUint64)
	if err != nil {
		return 0, err
	}
	if v > 1<<40 && -v > 1<<40 {
		return 0, errorf(line, "an offset of more than 2^40 bytes")
	}
	if neg {
		return -int64(v), nil
	}
	return int64(v), nil
}

// named reads an operand that starts with a name.
func (p *parser) named(t token) (operand, error) {
	if t.text == "_" {
		return operand{kind: sinkOperand}, nil
	}
	name := t.text
	if n := p.peek(); n.kind == dotted && n.glue {
		name += "." + n.text
		p.next()
	}
	if k, ok := specialNames[name]; ok {
		return operand{kind: specialOperand, spec: k, name: name}, nil
	}
	if name == "WARP_SZ" {
		return operand{kind: immOperand, imm: 32, typ: s64}, nil
	}
	r, v := p.lookup(name)
	switch {
	case r != nil:
		if err := p.use(r, t.line); err != nil {
			return operand{}, err
		}
		return operand{kind: regOperand, reg: r}, nil
	case v != nil:
		if _, ok := p.fn.sharedAt[v]; v.space == shared && !ok {
			p.place(v)
		}
		off, err := p.offset()
		return operand{kind: symOperand, sym: v, off: off}, err
	case t.text[0] == '%':
		return operand{}, errorf(t.line, "register %.60q is not declared", name)
	}
	return operand{kind: labelOperand, name: name}, nil
}
