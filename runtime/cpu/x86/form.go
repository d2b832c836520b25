package x86

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Op is an instruction by name, with the forms it has.
type Op struct {
	Name string

	lines []string
	once  sync.Once
	forms []Form
}

// ops is every instruction of the table, in its order.
var ops []*Op

// op enters an instruction into the table. A line is
//
//	operands | fields encoding opcode | features
//
// and stands for one form for each length or width that it can have. An operand is
// alternatives divided by slashes:
//
//	v, vh, vq, vo    a vector of the form's length, half, a quarter, an eighth of it
//	x, y, k          a register of that kind; r8 to r64 general ones; r is r32 and r64
//	m, m32           memory as large as the register before it, or of that many bits
//	b32              an element of that many bits in memory, repeated (EVEX)
//	vm32v, vm64h     memory at the addresses of a vector (v, or half of one), elements of 32 or 64 bits
//	i8, i8s, i32, i64, rel8, rel32    a number; i8s and i32 are extended by their sign
//
// The first operand is written, the others are read; + before one is read and written,
// a dot is read, = is written. In braces: {k} may be masked and keeps what is not written, {z} the same or
// zeroes, {K} must be masked and clears the mask, {c} is masked and zeroes always.
//
// Fields say where each operand goes: R to ModRM.reg, M to ModRM.rm, V to vvvv, I behind
// the instruction, L to the high half of the last byte, O into the opcode. The encoding is
// VEX, EVEX or LEG (none of both), divided by dots from the mandatory prefix, the map, and W (W0,
// W1, WI1: 1 in EVEX, whatever in VEX), and L1. Without one the line stands for VEX, which
// loses masks and broadcasts, with the first feature, and EVEX with the second.
// Behind the opcode: /n is the extension in ModRM.reg, 256+ and 512 limit lengths, d4 and d8 are what
// disp8 counts where that is not the size of the operand, {vex} must stand before the name
// in a listing, {self} depends on nothing where both sources are the same register (and a number,
// if there is one, is 0 or 255); <rax,rdx and >rax,rdx are read and written though they are no operands.
func op(name string, lines ...string) *Op {
	o := &Op{Name: name, lines: lines}
	ops = append(ops, o)
	return o
}

// Forms gives the forms of the instruction, in the order in which they are tried.
func (o *Op) Forms() []Form {
	o.once.Do(func() {
		for _, l := range o.lines {
			o.forms = append(o.forms, parseLine(o, l)...)
		}
	})
	return o.forms
}

type space uint8

const (
	legacy space = iota
	vex
	evex
)

type maskMode uint8

const (
	noMask    maskMode = iota
	merging            // what is not written stays
	zeroing            // that, or it becomes zero
	mustMask           // a gather or scatter: the mask is read and cleared
	condition          // a comparison: what is not compared is zero
)

type immKind uint8

const (
	noImm immKind = iota
	imm8
	imm8s
	imm32
	imm32u // beside an operand of 32 bits: nothing is extended
	imm64
	rel8
	rel32
)

var immKinds = map[string]immKind{"i8": imm8, "i8s": imm8s, "i32": imm32, "i64": imm64, "rel8": rel8, "rel32": rel32}

func (k immKind) bytes() int { return [...]int{0, 1, 1, 4, 4, 8, 1, 4}[k] }

// argSpec is what an operand may be.
type argSpec struct {
	kind  Kind // of a register; NoKind: none
	mem   int  // bits in memory; 0: none
	bcast int  // bits of a repeated element; 0: none
	index Kind // of a vector of addresses; NoKind: plain memory
	imm   immKind
	mask  maskMode
	field byte
	read  bool
	write bool
}

// Form is one way to encode an instruction.
type Form struct {
	Op    *Op
	Needs Features

	args   []argSpec
	space  space
	prefix byte // 0, 1: 66, 2: F3, 3: F2
	opmap  byte // 0, 1: 0F, 2: 0F38, 3: 0F3A
	w      bool
	length byte // 0: 128, 1: 256, 2: 512
	code   byte
	digit  int8  // -1: ModRM.reg is an operand
	disp8  int   // what disp8 counts; 0: the size of the operand
	named  bool  // a listing says {vex}
	gather bool  // its registers must differ
	self   bool  // depends on nothing where its sources are the same register
	reads  []Reg // that are no operands
	writes []Reg
	text   string
}

var prefixes = map[string]byte{"NP": 0, "66": 1, "F3": 2, "F2": 3}
var maps = map[string]byte{"0F": 1, "0F38": 2, "0F3A": 3}
var features = func() map[string]Features {
	m := map[string]Features{}
	for i, n := range featureNames {
		m[n] = 1 << i
	}
	return m
}()

// parseLine makes the forms of a line. The table is part of the program: what can not be
// read there is a mistake in it, and the test that reads all of it finds it.
func parseLine(o *Op, line string) []Form {
	bad := func(what string) { panic(fmt.Sprintf("x86: %s: %q: %s", o.Name, line, what)) }
	parts := strings.Split(line, "|")
	if len(parts) != 3 {
		bad("three parts are needed")
	}
	operands, needs := strings.TrimSpace(parts[0]), strings.Fields(parts[2])
	f := Form{Op: o, digit: -1, text: operands}
	enc := strings.Fields(parts[1])
	fields := enc[0]
	if fields == "-" {
		fields = ""
	}
	spaces := []space{vex, evex}
	w := map[space]bool{}
	for _, t := range strings.Split(enc[1], ".") {
		switch t {
		case "VEX":
			spaces = []space{vex}
		case "EVEX":
			spaces = []space{evex}
		case "LEG":
			spaces = []space{legacy}
		case "W0":
		case "W1":
			w[vex], w[evex], w[legacy] = true, true, true
		case "WI1":
			w[evex] = true
		case "L1":
			f.length = 1
		default:
			p, isPrefix := prefixes[t]
			m, isMap := maps[t]
			switch {
			case isPrefix:
				f.prefix = p
			case isMap:
				f.opmap = m
			default:
				bad("encoding " + t)
			}
		}
	}
	c, err := strconv.ParseUint(enc[2], 16, 8)
	if err != nil {
		bad(err.Error())
	}
	f.code = byte(c)
	lengths := []int{128, 256, 512}
	for _, t := range enc[3:] {
		switch {
		case t[0] == '/':
			f.digit = int8(t[1] - '0')
		case t == "256+":
			lengths = lengths[1:]
		case t == "512":
			lengths = lengths[2:]
		case t == "d4" || t == "d8":
			f.disp8 = int(t[1] - '0')
		case t == "{vex}":
			f.named = true
		case t == "{self}":
			f.self = true
		case t[0] == '<':
			f.reads = registersOf(t[1:])
		case t[0] == '>':
			f.writes = registersOf(t[1:])
		default:
			bad("behind the opcode: " + t)
		}
	}
	if len(needs) != len(spaces) {
		bad("a feature for each encoding is needed")
	}
	var specs []string
	if operands != "" {
		specs = strings.Split(operands, ",")
	}
	if len(fields) != len(specs) {
		bad("a field for each operand is needed")
	}
	sized := strings.ContainsRune(operands, 'v')
	var out []Form
	for i, sp := range spaces {
		widths := []int{0}
		switch {
		case sp == legacy && hasAlternative(specs, "r"):
			widths = []int{32, 64}
		case sp != legacy && sized:
			widths = lengths
		}
		for _, width := range widths {
			if sp == vex && width == 512 {
				continue
			}
			g := f
			g.space, g.w = sp, w[sp] || sp == legacy && width == 64
			if g.Needs = features[needs[i]]; g.Needs == 0 && needs[i] != "-" {
				bad("feature " + needs[i])
			}
			if sp == evex {
				g.Needs |= V4
			}
			longest := 0
			for j, s := range specs {
				a, err := parseSpec(strings.TrimSpace(s), width, sp)
				if err != "" {
					bad(err)
				}
				a.field = fields[j]
				if j == 0 && !a.read {
					a.write = true
				} else if !a.write {
					a.read = true
				}
				if a.kind.Class() == Vector {
					longest = max(longest, a.kind.Bits())
				}
				if a.imm == imm32 && (g.args[0].kind == GP32 || g.args[0].mem == 32) {
					a.imm = imm32u
				}
				g.gather = g.gather || j > 0 && a.index != NoKind
				g.args = append(g.args, a)
			}
			switch max(longest, width) {
			case 256:
				g.length = 1
			case 512:
				g.length = 2
			}
			out = append(out, g)
		}
	}
	return out
}

// registersOf reads the names of general registers.
func registersOf(names string) (rs []Reg) {
	for _, n := range strings.Split(names, ",") {
		for r := RAX; r <= R15; r++ {
			if r.String() == n {
				rs = append(rs, r)
			}
		}
	}
	return rs
}

// hasAlternative tells whether an operand can be what a word says.
func hasAlternative(specs []string, word string) bool {
	for _, s := range specs {
		for _, alt := range strings.Split(strings.Trim(s, " +.="), "/") {
			if alt == word {
				return true
			}
		}
	}
	return false
}

// vectorOf is the kind of a vector register that holds so many bits.
func vectorOf(bits int) Kind {
	switch {
	case bits > 256:
		return ZMM
	case bits > 128:
		return YMM
	}
	return XMM
}

var fixedKinds = map[string]Kind{"x": XMM, "y": YMM, "z": ZMM, "k": Mask, "r8": GP8, "r16": GP16, "r32": GP32, "r64": GP64}
var fractions = map[string]int{"v": 1, "vh": 2, "vq": 4, "vo": 8}

func parseSpec(s string, width int, sp space) (a argSpec, err string) {
	switch s[0] {
	case '+':
		a.read, a.write, s = true, true, s[1:]
	case '.':
		a.read, s = true, s[1:]
	case '=':
		a.write, s = true, s[1:]
	}
	if i := strings.IndexByte(s, '{'); i >= 0 {
		if sp == evex {
			a.mask = map[string]maskMode{"{k}": merging, "{z}": zeroing, "{K}": mustMask, "{c}": condition}[s[i:]]
			if a.mask == noMask {
				return a, "mask " + s[i:]
			}
		}
		s = s[:i]
	}
	size := width
	for _, alt := range strings.Split(s, "/") {
		digits, _ := strconv.Atoi(strings.TrimLeft(alt, "mb"))
		switch {
		case fixedKinds[alt] != NoKind:
			a.kind = fixedKinds[alt]
			size = a.kind.Bits()
		case fractions[alt] != 0:
			size = width / fractions[alt]
			a.kind = vectorOf(size)
		case alt == "r":
			a.kind = GP32
			if width == 64 {
				a.kind = GP64
			}
		case immKinds[alt] != noImm:
			a.imm = immKinds[alt]
		case alt == "m":
			a.mem = size
		case strings.HasPrefix(alt, "vm"):
			a.mem, _ = strconv.Atoi(alt[2:4])
			a.index = vectorOf(width)
			if alt[4:] == "h" {
				a.index = vectorOf(width / 2)
			}
		case alt[0] == 'm' && digits > 0:
			a.mem = digits
		case alt[0] == 'b' && digits > 0:
			if sp == evex {
				a.bcast = digits
			}
		default:
			return a, "operand " + alt
		}
	}
	return a, ""
}

// memBytes is how many bytes of memory the operand is.
func (a *argSpec) memBytes(bcast bool) int {
	if bcast {
		return a.bcast / 8
	}
	return a.mem / 8
}

// exists tells whether there is such a register, and the encoding can name it.
func (r Reg) exists(sp space) bool {
	switch {
	case r.Virtual():
		return true
	case r.Class() == Masks:
		return r.Num() < 8
	case r.Class() == Vector && sp == evex:
		return r.Num() < 32
	}
	return r.Num() < 16
}

// masks tells whether a register can choose elements: k0 stands for no mask there.
func (r Reg) masks() bool { return r.Kind() == Mask && r.exists(evex) && (r.Virtual() || r.Num() > 0) }

// takes tells whether an operand can stand where a says.
func (a *argSpec) takes(o Operand, sp space) bool {
	switch o := o.(type) {
	case Reg:
		return o.Kind() == a.kind && a.kind != NoKind && a.mask != mustMask && o.exists(sp)
	case Masked:
		if o.Reg.Kind() != a.kind || !o.Reg.exists(sp) || !o.Mask.masks() {
			return false
		}
		return a.mask == zeroing || a.mask != noMask && !o.Zero
	case Mem:
		if !o.valid(a.index, sp) {
			return false
		}
		if o.Mask != NoReg {
			if a.mask == noMask || a.mask == condition || !o.Mask.masks() {
				return false
			}
		} else if a.mask == mustMask && a.kind == NoKind {
			return false
		}
		if o.Bcast {
			return a.bcast != 0 && o.Mask == NoReg
		}
		return a.mem != 0
	case Imm:
		switch a.imm {
		case imm8:
			return o >= -128 && o <= 255
		case imm8s:
			return o >= -128 && o <= 127
		case imm32:
			return o >= -1<<31 && o < 1<<31
		case imm32u:
			return o >= -1<<31 && o < 1<<32
		case imm64:
			return true
		}
	case Label:
		return a.imm == rel8 || a.imm == rel32
	}
	return false
}

// valid tells whether the address can be encoded, with an index of a kind of vector or,
// for none, a plain one.
func (m Mem) valid(index Kind, sp space) bool {
	if m.Disp != int64(int32(m.Disp)) {
		return false
	}
	if m.sym != 0 {
		return m.Base == NoReg && m.Index == NoReg && index == NoKind
	}
	if m.Base != NoReg && (m.Base.Kind() != GP64 || !m.Base.exists(sp)) {
		return false
	}
	switch m.Scale {
	case 0, 1, 2, 4, 8:
	default:
		return false
	}
	switch {
	case m.Index == NoReg:
		return index == NoKind && m.Scale <= 1
	case !m.Index.exists(sp):
		return false
	case index != NoKind:
		return m.Index.Kind() == index
	}
	return m.Index.Kind() == GP64 && m.Index != RSP
}

// match tells whether the operands are those of the form.
func (f *Form) match(args []Operand) bool {
	if len(args) != len(f.args) {
		return false
	}
	for i := range f.args {
		if !f.args[i].takes(args[i], f.space) {
			return false
		}
	}
	return true
}

// distinct tells what a gather may not: destination, addresses and mask are to differ.
func distinct(args []Operand) error {
	var seen []Reg
	for _, a := range args {
		r := NoReg
		switch o := a.(type) {
		case Mem:
			r = o.Index.whole()
		case Reg:
			r = o.whole()
		case Masked:
			r = o.Reg.whole()
		}
		if slices.Contains(seen, r) {
			return fmt.Errorf("a gather's destination, addresses and mask are to be different registers")
		}
		seen = append(seen, r)
	}
	return nil
}

// find gives the first form that takes the operands on a processor with f.
func (o *Op) find(args []Operand, f Features) (*Form, error) {
	forms := o.Forms()
	var other *Form
	for i := range forms {
		g := &forms[i]
		if !g.match(args) {
			continue
		}
		if g.Needs&^f != 0 {
			other = g
			continue
		}
		if g.gather {
			return g, distinct(args)
		}
		return g, nil
	}
	if other != nil {
		return nil, fmt.Errorf("it needs %s, and code is made for %s", other.Needs, f)
	}
	var have []string
	for i := range forms {
		if t := forms[i].text; len(have) == 0 || have[len(have)-1] != t {
			have = append(have, t)
		}
	}
	return nil, fmt.Errorf("no form takes these operands; there is: %s", strings.Join(have, "; "))
}
