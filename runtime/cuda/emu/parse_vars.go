package emu

import (
	"encoding/binary"
	"math"

	"github.com/pitopt/pitopt/core/tensor"
)

// variables reads a declaration of variables up to its semicolon.
func (p *parser) variables(extern bool) ([]*variable, error) {
	v, err := p.variable(extern, true)
	if err != nil {
		return nil, err
	}
	if p.peek().is(",") {
		return nil, errorf(v.line, "several variables in one declaration: write one of each")
	}
	return []*variable{v}, p.expect(";")
}

// variable reads .space .align n .type name[n], with what it starts with where init is set.
func (p *parser) variable(extern, init bool) (*variable, error) {
	t := p.next()
	sp, ok := spaceNames[t.text]
	if t.kind != dotted || !ok {
		return nil, errorf(t.line, "a state space expected, not %v", t)
	}
	v := &variable{space: sp, line: t.line}
	vector := int64(1)
	for v.typ == noType {
		t := p.next()
		if t.kind != dotted {
			return nil, errorf(t.line, "a type expected, not %v", t)
		}
		switch t.text {
		case "align":
			n, err := p.integer("an alignment", 1<<20)
			if err != nil {
				return nil, err
			}
			if n == 0 || n&(n-1) != 0 {
				return nil, errorf(t.line, "an alignment of %d is no power of two", n)
			}
			v.align = int(n)
		case "v2":
			vector = 2
		case "v4":
			vector = 4
		case "ptr", "managed":
		default:
			k, ok := typeNames[t.text]
			if !ok || k == pred {
				return nil, errorf(t.line, "a type expected, not %v", t)
			}
			v.typ = k
		}
	}
	for p.peek().kind == dotted { // .ptr .global .align n, of parameters
		t := p.next()
		switch t.text {
		case "ptr", "global", "const", "shared", "local":
		case "align":
			if _, err := p.integer("an alignment", 1<<20); err != nil {
				return nil, err
			}
		default:
			return nil, errorf(t.line, "the name of a variable expected, not %v", t)
		}
	}
	name, err := p.word("the name of a variable")
	if err != nil {
		return nil, err
	}
	v.name = name.text
	if v.align == 0 {
		v.align = int(vector) * v.typ.bytes()
	}
	v.bytes = vector * int64(v.typ.bytes())
	unsized := false
	for p.accept("[") {
		if p.accept("]") {
			unsized = true
			continue
		}
		n, err := p.integer("the size of an array", maxDims)
		if err != nil {
			return nil, err
		}
		if v.bytes *= int64(n); v.bytes > maxDims {
			return nil, errorf(v.line, "variable %q takes more than %d bytes", v.name, maxDims)
		}
		if err := p.expect("]"); err != nil {
			return nil, err
		}
	}
	if unsized {
		v.bytes = 0
	}
	if init && p.accept("=") {
		if sp != global && sp != constant {
			return nil, errorf(v.line, "variable %q in space %v cannot have a value", v.name, sp)
		}
		if err := p.initial(v, 0); err != nil {
			return nil, err
		}
		if unsized {
			v.bytes = int64(len(v.init))
		}
		if int64(len(v.init)) > v.bytes {
			return nil, errorf(v.line, "variable %q has values of %d bytes, and takes %d", v.name, len(v.init), v.bytes)
		}
		unsized = false
	}
	switch {
	case unsized && sp == shared && extern:
		v.open = true
	case unsized:
		return nil, errorf(v.line, "variable %q has no size", v.name)
	case extern:
		return nil, errorf(v.line, "variable %q is .extern: only shared memory without a size can be", v.name)
	}
	v.atLoad = sp == global || sp == constant
	return v, nil
}

// initial reads the values that a variable starts with.
func (p *parser) initial(v *variable, depth int) error {
	if p.accept("{") {
		if depth > 4 {
			return errorf(v.line, "values of %q are nested too deep", v.name)
		}
		if p.accept("}") {
			return nil
		}
		for {
			if err := p.initial(v, depth+1); err != nil {
				return err
			}
			if p.accept("}") {
				return nil
			}
			if err := p.expect(","); err != nil {
				return err
			}
		}
	}
	if len(v.init) > maxDims/16 {
		return errorf(v.line, "variable %q has too many values", v.name)
	}
	neg := p.accept("-")
	t := p.next()
	n := v.typ.bytes()
	switch {
	case t.kind == number:
		x := t.val
		if neg {
			x = negate(t)
		}
		v.init = append(v.init, binary.LittleEndian.AppendUint64(nil, convertImm(x, t.typ, v.typ))[:n]...)
		return nil
	case t.kind == word && !neg:
		ref := symbolRef{at: len(v.init), name: t.text, size: n, line: t.line}
		if t.text == "generic" && p.accept("(") {
			w, err := p.word("a variable")
			if err != nil {
				return err
			}
			ref.name, ref.gen = w.text, true
			if err := p.expect(")"); err != nil {
				return err
			}
		}
		var err error
		if ref.off, err = p.offset(); err != nil {
			return err
		}
		if n != 8 {
			return errorf(t.line, "the address of %q does not fit %v", ref.name, v.typ)
		}
		v.init = append(v.init, make([]byte, n)...)
		v.refs = append(v.refs, ref)
		return nil
	}
	return errorf(t.line, "a value expected, not %v", t)
}

// convertImm gives the bits, as a register of type to holds them, of a constant that was written as from.
func convertImm(bits uint64, from, to typ) uint64 {
	if !to.float() {
		return bits & to.mask()
	}
	var f float64
	switch from {
	case f32:
		f = float64(math.Float32frombits(uint32(bits)))
		if to == f32 {
			return bits
		}
	case f64:
		f = math.Float64frombits(bits)
	default:
		// The bits of a value of the type.
		return bits & to.mask()
	}
	switch to {
	case f64:
		return math.Float64bits(f)
	case f16:
		return uint64(tensor.F64ToF16(f))
	case bf16:
		return uint64(tensor.F64ToBF16(f))
	}
	return uint64(math.Float32bits(float32(f)))
}
