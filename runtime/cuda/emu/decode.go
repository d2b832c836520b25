package emu

import (
	"fmt"
	"strings"
)

// decoder makes an instr of an inst. Its first error stays.
type decoder struct {
	mod   *module
	f     *function
	in    *inst
	out   *instr
	types []typ
	flags []string // modifiers that are no types, as they are taken
	err   error
	sink  int32 // slot that nobody reads
	sinkP int32
}

// decoders has a function for each instruction, by its name without modifiers.
var decoders map[string]func(d *decoder)

func init() {
	decoders = map[string]func(d *decoder){}
	for _, table := range []map[string]func(d *decoder){dataOps, intOps, floatOps, controlOps, warpOps, atomicOps, matrixOps, asyncOps} {
		for k, v := range table {
			decoders[k] = v
		}
	}
}

// decode decodes all functions of a module.
func (m *module) decode() error {
	for _, f := range m.funcs {
		if err := f.decode(m); err != nil {
			return err
		}
	}
	return nil
}

func (f *function) decode(m *module) error {
	sink, sinkP := int32(-1), int32(-1)
	f.code = make([]instr, len(f.body)+1)
	for i, in := range f.body {
		d := &decoder{mod: m, f: f, in: in, out: &f.code[i], sink: sink, sinkP: sinkP}
		d.out.line, d.out.guard, d.out.member = in.line, -1, -1
		if in.guard != nil {
			d.out.guard, d.out.not = int32(in.guard.slot), in.not
		}
		for _, mod := range in.mods {
			if t, ok := typeNames[mod]; ok {
				d.types = append(d.types, t)
			} else {
				d.flags = append(d.flags, mod)
			}
		}
		dec := decoders[in.op]
		if dec == nil {
			return errorf(in.line, "instruction %.60q is not known", in.name())
		}
		dec(d)
		if d.err == nil && len(d.flags) > 0 {
			d.fail("modifier .%.40s is not known", d.flags[0])
		}
		if d.err != nil {
			return d.err
		}
		sink, sinkP = d.sink, d.sinkP
	}
	// Behind the last instruction the thread is done.
	last := &f.code[len(f.body)]
	*last = instr{kind: exitInstr, guard: -1, member: -1, line: f.line}
	if n := len(f.body); n > 0 {
		last.line = f.body[n-1].line
	}
	order(f.code)
	f.pressure = pressure(f)
	f.body = nil
	return nil
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = errorf(d.in.line, "%.60s: %s", d.in.name(), fmt.Sprintf(format, args...))
	}
}

// take removes a modifier, and says whether it was there.
func (d *decoder) take(flag string) bool {
	for i, f := range d.flags {
		if f == flag {
			d.flags = append(d.flags[:i:i], d.flags[i+1:]...)
			return true
		}
	}
	return false
}

// oneOf takes one of several modifiers; "" if none is there.
func (d *decoder) oneOf(flags ...string) string {
	for _, f := range flags {
		if d.take(f) {
			return f
		}
	}
	return ""
}

// ignore takes modifiers that change nothing here.
func (d *decoder) ignore(flags ...string) {
	for _, f := range flags {
		d.take(f)
	}
}

// typ is the only type, or the n-th of several.
func (d *decoder) typ(n, of int) typ {
	if len(d.types) != of {
		d.fail("%d types, it takes %d", len(d.types), of)
		return b32
	}
	return d.types[n]
}

// among fails unless t is one of the types.
func (d *decoder) among(t typ, types ...typ) {
	for _, x := range types {
		if x == t {
			return
		}
	}
	d.fail("type .%v is not one of its types", t)
}

// operands fails unless there are from lo to hi operands.
func (d *decoder) operands(lo, hi int) bool {
	if n := len(d.in.args); n < lo || n > hi {
		d.fail("%d operands", n)
		return false
	}
	return d.err == nil
}

// needs fails where the target has not got the instruction.
func (d *decoder) needs(sm, version int) {
	if d.mod.sm < sm {
		d.fail("needs .target sm_%d, the module's is sm_%d", sm, d.mod.sm)
	}
	if d.mod.version < version {
		d.fail("needs .version %d.%d, the module's is %d.%d", version/10, version%10, d.mod.version/10, d.mod.version%10)
	}
}

// src is the slot of operand n, which is read as type t.
func (d *decoder) src(n int, t typ) int32 { return d.value(&d.in.args[n], t, false) }

// value is the slot of an operand that is read as type t; a wider register is fine where loose is set.
func (d *decoder) value(o *operand, t typ, loose bool) int32 {
	if o.pair != nil || o.not {
		d.fail("an operand of the form p|q or !p is not for it")
		return 0
	}
	switch o.kind {
	case regOperand:
		if !fits(o.reg.typ, t, loose) {
			d.fail("register %s is .%v, the instruction takes .%v", o.reg.name, o.reg.typ, t)
			return 0
		}
		if t == pred {
			d.fail("a predicate is not for it")
			return 0
		}
		s := int32(o.reg.slot)
		d.reads(s)
		return s
	case immOperand:
		if o.typ.float() && !t.float() && t != b32 && t != b64 && t != b16 {
			d.fail("a floating-point constant for .%v", t)
			return 0
		}
		to := t
		if o.typ.float() && !t.float() {
			to = o.typ
		} else if t.float() && !o.typ.float() && (t == f32 || t == f64) {
			d.fail("an integer constant for .%v", t)
			return 0
		}
		return int32(d.f.constSlot(convertImm(o.imm, o.typ, to) & t.mask()))
	case specialOperand:
		if !fits(o.spec.typ(), t, true) && !(t == u64 || t == s64 || t == b64) {
			d.fail("%s is .%v, the instruction takes .%v", o.name, o.spec.typ(), t)
		}
		return int32(d.f.specialSlot(o.spec))
	case symOperand:
		if t.bytes() != 8 && !(t.bytes() == 4 && (o.sym.space == shared || o.sym.space == local || o.sym.space == param)) || t.float() {
			d.fail("the address of %q does not go into .%v", o.sym.name, t)
			return 0
		}
		return int32(d.f.symbolSlot(symbol{o.sym, o.off}))
	case labelOperand:
		d.fail("%.60q is not declared", o.name)
	default:
		d.fail("an operand of another form is needed")
	}
	return 0
}

func (d *decoder) reads(s int32) {
	for _, r := range d.out.reads {
		if r == s {
			return
		}
	}
	d.out.reads = append(d.out.reads, s)
}

// dst is the slot of operand n, which is written as type t.
func (d *decoder) dst(n int, t typ) int32 { return d.result(&d.in.args[n], t, false) }

// result is the slot of an operand that is written as type t.
func (d *decoder) result(o *operand, t typ, loose bool) int32 {
	switch o.kind {
	case sinkOperand:
		if d.sink < 0 {
			d.sink = int32(d.f.newSlot("_"))
		}
		return d.sink
	case regOperand:
		if o.not || o.pair != nil {
			d.fail("a result of the form p|q or !p is not for it")
			return 0
		}
		if !fits(o.reg.typ, t, loose) || t == pred {
			d.fail("register %s is .%v, the instruction gives .%v", o.reg.name, o.reg.typ, t)
			return 0
		}
		s := int32(o.reg.slot)
		d.out.writes = append(d.out.writes, s)
		return s
	}
	d.fail("a result goes into a register")
	return 0
}

// width is the mask of the register that an operand names, for results that are narrower.
func width(o *operand) uint64 {
	if o.kind == regOperand {
		return o.reg.typ.mask()
	}
	return ^uint64(0)
}

// predicate is a predicate that is read, and whether it counts negated.
func (d *decoder) predicate(o *operand) (int32, bool) {
	if o.kind != regOperand || o.reg.typ != pred || o.pair != nil {
		d.fail("a predicate is needed")
		return 0, false
	}
	s := int32(o.reg.slot)
	d.out.preads = append(d.out.preads, s)
	return s, o.not
}

// predResult is a predicate that is written.
func (d *decoder) predResult(o *operand) int32 {
	switch {
	case o.kind == sinkOperand:
		if d.sinkP < 0 {
			d.sinkP = int32(d.f.preds)
			d.f.preds++
			d.f.prdNames = append(d.f.prdNames, "_")
		}
		return d.sinkP
	case o.kind == regOperand && o.reg.typ == pred && !o.not:
		s := int32(o.reg.slot)
		d.out.pwrites = append(d.out.pwrites, s)
		return s
	}
	d.fail("a result that is a predicate is needed")
	return 0
}

// address is the base slot and the offset of a memory operand.
func (d *decoder) address(o *operand) (base int32, off uint64) {
	if o.kind != memOperand {
		d.fail("an address in [] is needed")
		return 0, 0
	}
	b := o.base
	switch b.kind {
	case regOperand:
		if n := b.reg.typ.bytes(); n != 4 && n != 8 {
			d.fail("register %s is .%v: no address", b.reg.name, b.reg.typ)
			return 0, 0
		}
		s := int32(b.reg.slot)
		d.reads(s)
		return s, uint64(o.off)
	case symOperand:
		return int32(d.f.symbolSlot(symbol{b.sym, o.off})), 0
	case immOperand:
		return int32(d.f.constSlot(b.imm)), 0
	}
	d.fail("an address starts with a register or a variable")
	return 0, 0
}

// space takes the state space from the modifiers, and checks that a variable is in it.
func (d *decoder) space(o *operand) space {
	sp := generic
	for _, n := range []string{"global", "shared", "shared::cta", "local", "param", "param::entry", "const"} {
		if d.take(n) {
			sp = spaceNames[n]
		}
	}
	if o.kind == memOperand && o.base.kind == symOperand && o.base.sym.space != sp {
		d.fail("variable %q is in space %v, the instruction is for %v", o.base.sym.name, o.base.sym.space, sp)
	}
	if o.kind == memOperand && o.base.kind == regOperand && o.base.reg.typ.bytes() == 4 && (sp == generic || sp == global || sp == constant) {
		d.fail("register %s is .%v: addresses of space %v have 64 bits", o.base.reg.name, o.base.reg.typ, sp)
	}
	return sp
}

// findLabel gives the instruction that a label stands before.
func (d *decoder) findLabel(o *operand) int32 {
	if o.kind != labelOperand {
		d.fail("a label is needed")
		return 0
	}
	for _, s := range d.in.scope {
		if at, ok := d.f.labels[label{o.name, s}]; ok {
			return int32(at)
		}
	}
	d.fail("no label %.60q", o.name)
	return 0
}

// hint says whether a modifier is about caches alone.
func hint(flag string) bool {
	return strings.HasPrefix(flag, "L1::") || strings.HasPrefix(flag, "L2::")
}

// hints takes modifiers about caches.
func (d *decoder) hints(also ...string) {
	d.ignore(also...)
	for i := len(d.flags) - 1; i >= 0; i-- {
		if hint(d.flags[i]) {
			d.take(d.flags[i])
		}
	}
}
