package emu

import (
	"math"
	"strconv"
	"strings"
)

// Limits on what a text may ask for: no kernel that runs comes near.
const (
	maxText   = 32 << 20
	maxDims   = 1 << 30 // bytes of a variable
	maxDepth  = 64      // scopes in one another
	maxRegs   = 1 << 16 // registers that a function uses
	maxInsts  = 1 << 20 // instructions of a function
	maxArgs   = 64
	maxParams = 4096      // bytes
	maxLocal  = 512 << 10 // bytes of local memory of a thread
	maxShared = 1 << 20   // bytes of shared memory, whatever the device
)

func float64bits(v float64) uint64 { return math.Float64bits(v) }

// parser reads a module.
type parser struct {
	toks []token
	pos  int
	mod  *module

	fn     *function // while in a body
	scopes []*scope
	nscope int
}

// scope holds the names declared between braces.
type scope struct {
	id   int
	regs map[string]*reg
	many []regRange
	vars map[string]*variable
}

// regRange is .reg .T %x<n>: registers that get a slot when they are first used.
type regRange struct {
	prefix string
	n      uint64
	typ    typ
}

// parse reads a module of PTX. Its errors are *parseError.
func parse(text string) (*module, error) {
	if len(text) > maxText {
		return nil, errorf(1, "a module of %d bytes: at most %d are read", len(text), maxText)
	}
	toks, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks, mod: &module{byName: map[string]*variable{}, funcs: map[string]*function{}}}
	if err := p.module(); err != nil {
		return nil, err
	}
	return p.mod, nil
}

func (p *parser) peek() *token { return &p.toks[p.pos] }
func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != endOfText {
		p.pos++
	}
	return t
}

func (t token) is(text string) bool { return t.kind == sign && t.text == text }
func (t token) dot(text string) bool {
	return t.kind == dotted && t.text == text
}

func (t token) String() string {
	switch t.kind {
	case endOfText:
		return "the end of the text"
	case dotted:
		return strconv.Quote("." + t.text)
	}
	if len(t.text) > 60 {
		return strconv.Quote(t.text[:60]) + "..."
	}
	return strconv.Quote(t.text)
}

// accept takes the punctuation if it is next.
func (p *parser) accept(text string) bool {
	if p.peek().is(text) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(text string) error {
	if t := p.next(); !t.is(text) {
		return errorf(t.line, "%q expected, not %v", text, t)
	}
	return nil
}

func (p *parser) word(what string) (token, error) {
	t := p.next()
	if t.kind != word {
		return t, errorf(t.line, "%s expected, not %v", what, t)
	}
	return t, nil
}

// integer reads a constant of at most max.
func (p *parser) integer(what string, max uint64) (uint64, error) {
	t := p.next()
	if t.kind != number || t.typ.float() {
		return 0, errorf(t.line, "%s expected, not %v", what, t)
	}
	if t.val > max {
		return 0, errorf(t.line, "%s is %s: at most %d", what, t.text, max)
	}
	return t.val, nil
}

func (p *parser) module() error {
	t := p.next()
	if !t.dot("version") {
		return errorf(t.line, "a module starts with .version, not %v", t)
	}
	t = p.next()
	major, minor, ok := strings.Cut(t.text, ".")
	a, err1 := strconv.ParseUint(major, 10, 8)
	b, err2 := strconv.ParseUint(minor, 10, 8)
	if t.kind != number || !ok || err1 != nil || err2 != nil || b > 9 {
		return errorf(t.line, ".version takes a number such as 7.0, not %v", t)
	}
	p.mod.version = int(10*a + b)
	if t = p.next(); !t.dot("target") {
		return errorf(t.line, ".target expected behind .version, not %v", t)
	}
	for {
		t, err := p.word("a target such as sm_80")
		if err != nil {
			return err
		}
		if sm, ok := strings.CutPrefix(t.text, "sm_"); ok {
			n, err := strconv.ParseUint(strings.TrimRight(sm, "af"), 10, 16)
			if err != nil {
				return errorf(t.line, "a target such as sm_80 expected, not %v", t)
			}
			p.mod.sm = int(n)
		}
		if !p.accept(",") {
			break
		}
	}
	if p.mod.sm == 0 {
		return errorf(t.line, ".target names no sm_")
	}
	for p.peek().kind != endOfText {
		if err := p.top(); err != nil {
			return err
		}
	}
	return nil
}

// top reads a directive of the module.
func (p *parser) top() error {
	t := *p.peek()
	if t.kind != dotted {
		return errorf(t.line, "a directive expected, not %v", t)
	}
	switch t.text {
	case "address_size":
		p.next()
		n, err := p.integer("an address size", 64)
		if err == nil && n != 64 {
			err = errorf(t.line, "addresses of %d bits: only 64 are known", n)
		}
		return err
	case "file", "loc":
		p.skipLine()
		return nil
	case "section":
		for !p.peek().is("{") && p.peek().kind != endOfText {
			p.next()
		}
		return p.skipBraces()
	case "pragma", "alias":
		return p.skipTo(";")
	}
	linkage := map[string]bool{}
	for {
		t := *p.peek()
		if t.kind != dotted {
			return errorf(t.line, "a directive expected, not %v", t)
		}
		switch t.text {
		case "visible", "weak", "common", "extern":
			linkage[t.text] = true
			p.next()
			continue
		case "entry":
			p.next()
			if linkage["extern"] {
				return errorf(t.line, "an entry that is .extern")
			}
			return p.entry()
		case "func":
			return p.skipFunc()
		case "global", "const", "shared":
			vs, err := p.variables(linkage["extern"])
			if err != nil {
				return err
			}
			for _, v := range vs {
				if p.mod.byName[v.name] != nil || p.mod.funcs[v.name] != nil {
					return errorf(v.line, "%q is there already", v.name)
				}
				p.mod.byName[v.name] = v
				p.mod.vars = append(p.mod.vars, v)
			}
			return nil
		}
		return errorf(t.line, "directive %v is not known here", t)
	}
}

func (p *parser) skipLine() {
	line := p.peek().line
	for p.peek().line == line && p.peek().kind != endOfText {
		p.next()
	}
}

func (p *parser) skipTo(text string) error {
	for {
		t := p.next()
		if t.is(text) {
			return nil
		}
		if t.kind == endOfText {
			return errorf(t.line, "%q expected, not %v", text, t)
		}
	}
}

// skipBraces goes behind a pair of braces.
func (p *parser) skipBraces() error {
	line := p.peek().line
	if err := p.expect("{"); err != nil {
		return err
	}
	for depth := 1; depth > 0; {
		t := p.next()
		switch {
		case t.is("{"):
			depth++
		case t.is("}"):
			depth--
		case t.kind == endOfText:
			return errorf(line, "a brace that is not closed")
		}
	}
	return nil
}

// skipFunc goes behind a device function: they are not called here.
func (p *parser) skipFunc() error {
	for {
		t := p.peek()
		switch {
		case t.is(";"):
			p.next()
			return nil
		case t.is("{"):
			return p.skipBraces()
		case t.kind == endOfText:
			return errorf(t.line, "a function has no end")
		}
		p.next()
	}
}

// entry reads a kernel behind .entry.
func (p *parser) entry() error {
	name, err := p.word("the name of an entry")
	if err != nil {
		return err
	}
	if p.mod.funcs[name.text] != nil || p.mod.byName[name.text] != nil {
		return errorf(name.line, "%q is there already", name.text)
	}
	f := &function{name: name.text, line: name.line, labels: map[label]int{},
		consts: map[uint64]int{}, specials: map[special]int{}, syms: map[symbol]int{}, sharedAt: map[*variable]uint64{}}
	p.fn, p.nscope = f, 0
	top := p.push()
	defer func() { p.fn, p.scopes = nil, nil }()
	if p.accept("(") && !p.accept(")") {
		for {
			t := p.next()
			if !t.dot("param") {
				return errorf(t.line, ".param expected, not %v", t)
			}
			p.pos--
			v, err := p.variable(false, false)
			if err != nil {
				return err
			}
			if err := p.declare(top, v); err != nil {
				return err
			}
			if v.bytes == 0 {
				return errorf(v.line, "parameter %q has no size", v.name)
			}
			f.paramBytes = alignUp(f.paramBytes, int64(v.align))
			v.addr = uint64(f.paramBytes)
			f.paramBytes += v.bytes
			if f.paramBytes > maxParams {
				return errorf(v.line, "parameters of more than %d bytes", maxParams)
			}
			f.params = append(f.params, v)
			if p.accept(")") {
				break
			}
			if err := p.expect(","); err != nil {
				return err
			}
		}
	}
	for !p.peek().is("{") {
		t := p.next()
		if t.kind != dotted {
			return errorf(t.line, "the body of %q expected, not %v", f.name, t)
		}
		switch t.text {
		case "maxntid", "reqntid":
			d := [3]int{1, 1, 1}
			for i := range d {
				n, err := p.integer("a number of threads", 1<<20)
				if err != nil {
					return err
				}
				if d[i] = int(n); i == 2 || !p.accept(",") {
					break
				}
			}
			if t.text == "maxntid" {
				f.maxThreads = d
			} else {
				f.reqThreads = d
			}
		case "minnctapersm", "maxnctapersm", "maxnreg":
			if _, err := p.integer("a number", 1<<20); err != nil {
				return err
			}
		case "noreturn":
		case "pragma":
			if err := p.skipTo(";"); err != nil {
				return err
			}
		default:
			return errorf(t.line, "directive %v is not known here", t)
		}
	}
	if err := p.body(); err != nil {
		return err
	}
	p.mod.funcs[f.name] = f
	return nil
}

func alignUp(n, align int64) int64 { return (n + align - 1) / align * align }

func (p *parser) push() *scope {
	s := &scope{id: p.nscope, regs: map[string]*reg{}, vars: map[string]*variable{}}
	p.nscope++
	p.scopes = append(p.scopes, s)
	return s
}

func (p *parser) declare(s *scope, v *variable) error {
	if s.vars[v.name] != nil || s.regs[v.name] != nil {
		return errorf(v.line, "%q is there already", v.name)
	}
	s.vars[v.name] = v
	return nil
}

// body reads statements up to the closing brace, with scopes inside.
func (p *parser) body() error {
	open := p.next()
	depth := 1
	for depth > 0 {
		t := *p.peek()
		switch {
		case t.kind == endOfText:
			return errorf(open.line, "a brace that is not closed")
		case t.is("{"):
			p.next()
			if depth++; depth > maxDepth {
				return errorf(t.line, "scopes more than %d deep", maxDepth)
			}
			p.push()
		case t.is("}"):
			p.next()
			depth--
			p.scopes = p.scopes[:len(p.scopes)-1]
		case t.is(";"):
			p.next()
		case t.kind == dotted:
			if err := p.directive(t); err != nil {
				return err
			}
		case t.kind == word && p.toks[p.pos+1].is(":"):
			p.pos += 2
			l := label{t.text, p.scopes[len(p.scopes)-1].id}
			if _, ok := p.fn.labels[l]; ok {
				return errorf(t.line, "label %q is there already", t.text)
			}
			p.fn.labels[l] = len(p.fn.body)
		default:
			if len(p.fn.body) >= maxInsts {
				return errorf(t.line, "a function of more than %d instructions", maxInsts)
			}
			in, err := p.inst()
			if err != nil {
				return err
			}
			p.fn.body = append(p.fn.body, in)
		}
	}
	return nil
}

// directive reads a declaration in a body.
func (p *parser) directive(t token) error {
	s := p.scopes[len(p.scopes)-1]
	switch t.text {
	case "loc":
		p.skipLine()
		return nil
	case "pragma":
		return p.skipTo(";")
	case "reg":
		return p.registers(s)
	case "shared", "local", "extern":
		extern := t.text == "extern"
		if extern {
			p.next()
		}
		vs, err := p.variables(extern)
		if err != nil {
			return err
		}
		for _, v := range vs {
			if v.space != shared && v.space != local {
				return errorf(v.line, "variable %q in space %v is not known here", v.name, v.space)
			}
			if err := p.declare(s, v); err != nil {
				return err
			}
			p.fn.vars = append(p.fn.vars, v)
			p.place(v)
			if p.fn.localSize > maxLocal || p.fn.sharedSize > maxShared {
				return errorf(v.line, "variable %q: more than %d bytes of local memory, or %d of shared memory", v.name, maxLocal, maxShared)
			}
		}
		return nil
	}
	return errorf(t.line, "directive %v is not known here", t)
}

// place gives shared and local variables their address.
func (p *parser) place(v *variable) {
	f := p.fn
	switch {
	case v.open:
		if f.open == nil || v.align > f.open.align {
			f.open = v
		}
	case v.space == shared:
		f.sharedSize = alignUp(f.sharedSize, int64(v.align))
		f.sharedAt[v] = uint64(f.sharedSize)
		f.sharedSize += v.bytes
	case v.space == local:
		f.localSize = alignUp(f.localSize, int64(v.align))
		v.addr = uint64(f.localSize)
		f.localSize += v.bytes
	}
}

// registers reads .reg .T a, %b<n>;
func (p *parser) registers(s *scope) error {
	p.next()
	t := p.next()
	k, ok := typeNames[t.text]
	if t.kind != dotted || !ok || k == b128 || k == u8 || k == s8 || k == b8 {
		return errorf(t.line, "registers of type %v are not known", t)
	}
	for {
		name, err := p.word("the name of a register")
		if err != nil {
			return err
		}
		if s.regs[name.text] != nil || s.vars[name.text] != nil {
			return errorf(name.line, "%q is there already", name.text)
		}
		if p.accept("<") {
			n, err := p.integer("a number of registers", 1<<32)
			if err != nil {
				return err
			}
			if err := p.expect(">"); err != nil {
				return err
			}
			for _, m := range s.many {
				if m.prefix == name.text {
					return errorf(name.line, "registers %q are there already", name.text)
				}
			}
			s.many = append(s.many, regRange{name.text, n, k})
		} else {
			s.regs[name.text] = &reg{name: name.text, typ: k, slot: -1}
		}
		if p.accept(";") {
			return nil
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
}

// lookup finds a register or a variable by name.
func (p *parser) lookup(name string) (*reg, *variable) {
	for i := len(p.scopes) - 1; i >= 0; i-- {
		s := p.scopes[i]
		if r := s.regs[name]; r != nil {
			return r, nil
		}
		if v := s.vars[name]; v != nil {
			return nil, v
		}
		for _, m := range s.many {
			digits, ok := strings.CutPrefix(name, m.prefix)
			if !ok || digits == "" || len(digits) > 1 && digits[0] == '0' {
				continue
			}
			if n, err := strconv.ParseUint(digits, 10, 64); err == nil && n < m.n {
				r := &reg{name: name, typ: m.typ, slot: -1}
				s.regs[name] = r
				return r, nil
			}
		}
	}
	return nil, p.mod.byName[name]
}

// use gives a register its slot.
func (p *parser) use(r *reg, line int) error {
	if r.slot >= 0 {
		return nil
	}
	f := p.fn
	if r.typ == pred {
		r.slot = f.preds
		f.preds++
		f.prdNames = append(f.prdNames, r.name)
	} else {
		r.slot = f.newSlot(r.name)
	}
	if f.slots+f.preds > maxRegs {
		return errorf(line, "more than %d registers", maxRegs)
	}
	return nil
}

func (f *function) newSlot(name string) int {
	f.regNames = append(f.regNames, name)
	f.slots++
	return f.slots - 1
}

// constSlot is the slot of an immediate.
func (f *function) constSlot(v uint64) int {
	s, ok := f.consts[v]
	if !ok {
		s = f.newSlot("")
		f.consts[v] = s
	}
	return s
}

// symbolSlot is the slot of an address.
func (f *function) symbolSlot(k symbol) int {
	s, ok := f.syms[k]
	if !ok {
		s = f.newSlot("")
		f.syms[k] = s
	}
	return s
}

// addressOf is the address of a variable, in its space; of global memory, once it is loaded.
func (f *function) addressOf(v *variable) uint64 {
	if v.open {
		return uint64(f.openAt())
	}
	if at, ok := f.sharedAt[v]; ok {
		return at
	}
	return v.addr
}

// openAt is where the shared memory starts that a launch adds.
func (f *function) openAt() int64 {
	if f.open == nil {
		return f.sharedSize
	}
	return alignUp(f.sharedSize, int64(f.open.align))
}

func (f *function) specialSlot(k special) int {
	s, ok := f.specials[k]
	if !ok {
		s = f.newSlot("")
		f.specials[k] = s
	}
	return s
}
