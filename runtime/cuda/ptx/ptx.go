// Package ptx prints kernels as PTX, the assembly language that the CUDA driver compiles.
//
// A vector is a warp: a lane is a thread, and what is single in a kernel (integers and addresses)
// every thread computes for itself. A piece of the box is for a warp; warps take pieces, one after
// the other, until there are none. Lanes of a last turn that do not exist are threads whose predicate
// is false; those still take part in shuffles, as every loop has the same turns for all of a warp.
//
//   - ptx.go: the entry, its parameters, loops
//   - value.go: operations
//   - memory.go: loads and stores
//   - fragment.go: matrices of tensor cores
//
// Floating-point instructions name their rounding (add.rn and so on), so that the driver's compiler
// contracts none, and denormals are kept. So results have the bits of the kernel's evaluator.
package ptx

import (
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/pitopt/pitopt/runtime/kernel"
)

// Lanes is how many lanes kernels are to have: those of a warp.
const Lanes = 32

// Blocks are the tiles of contractions, a block's.
var Blocks = kernel.Blocks{Group: Warps, Rows: 8, Columns: 2, Fragments: true}

// Major and Minor are the compute capability that a device must have at least: the driver compiles for
// what it has.
const Major, Minor = 8, 0

// Options say how a kernel is printed.
type Options struct {
	Shared bool // temporaries of a row lie in shared memory; otherwise in the memory of the device
}

// Code is a kernel as PTX.
type Code struct {
	Text  string
	Entry string // its name
	Words int    // parameters, each of eight bytes
}

// Warps is how many warps a block has: enough for a multiprocessor to fill itself with blocks, and
// few, so that a block's end waits for little.
const Warps = 4

// blocks is how many a multiprocessor is to hold at least. Without a number the driver's compiler aims for more
// and keeps values on the stack for it.
const blocks = 4

// Print prints a kernel.
func Print(k *kernel.Kernel, o Options) (c *Code, err error) {
	if k.Lanes != Lanes {
		return nil, fmt.Errorf("ptx: kernel %s has %d lanes, and a warp has %d", k.Name, k.Lanes, Lanes)
	}
	if k.Group > 0 && (k.Group != Warps || !o.Shared) {
		return nil, fmt.Errorf("ptx: kernel %s is for groups of %d vectors with scratch in shared memory, and a block has %d warps", k.Name, k.Group, Warps)
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(unsupported)
			if !ok {
				panic(r)
			}
			c, err = nil, fmt.Errorf("ptx: kernel %s: %s", k.Name, string(e))
		}
	}()
	e := &emitter{k: k, Options: o, regs: map[*kernel.Value]reg{}, sizes: map[int64]reg{}, quos: map[int64][2]reg{}, lanes: map[int]reg{}, bounds: map[string]reg{}, places: map[place]reg{}, parts: map[part]reg{}, raw: map[*kernel.Value]reg{}}
	e.params()
	e.indent = 2
	e.piece()
	e.block(k.Body)
	text := e.body.String()
	e.body.Reset()
	name := entryName(k.Name)
	e.head(name)
	e.body.WriteString(text)
	e.foot()
	return &Code{Text: e.body.String(), Entry: name, Words: len(e.names)}, nil
}

// Vectors is how many vectors of a block work on pieces of their own.
func Vectors(k *kernel.Kernel) int {
	if k.Group > 0 {
		return 1
	}
	return Warps
}

// entryName makes a name of PTX of a kernel's.
func entryName(name string) string {
	b := []byte("k_" + name)
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			b[i] = '_'
		}
	}
	return string(b)
}

type unsupported string

// reg is the name of a register.
type reg string

// class is what a register holds.
type class int

const (
	integer   class = iota // 64 bits, addresses too
	word                   // 32 bits
	float                  // f32
	half                   // 16 bits
	double                 // f64
	predicate              // a truth value
	classes
)

var classNames = [classes]struct{ prefix, directive string }{{"%n", ".b64"}, {"%w", ".b32"}, {"%f", ".f32"}, {"%h", ".b16"}, {"%d", ".f64"}, {"%p", ".pred"}}

func classOf(k kernel.Kind) class {
	switch k {
	case kernel.F32:
		return float
	case kernel.F64:
		return double
	case kernel.I32:
		return word
	case kernel.Mask:
		return predicate
	}
	return integer
}

type emitter struct {
	Options
	k      *kernel.Kernel
	body   strings.Builder
	indent int
	count  [classes]int
	labels int
	names  []string // of parameters
	regs   map[*kernel.Value]reg
	sizes  map[int64]reg    // of floats, made at the start
	quos   map[int64][2]reg // what is divided by a size: times a number, shifted by another
	lanes  map[int]reg      // the lane times so many bytes
	bounds map[string]reg
	places map[place]reg // that the block and those around it know
	parts  map[part]reg  // of fragments
	order  []part
	raw    map[*kernel.Value]reg // what was loaded, before it was converted
	tail   reg                   // which lanes there are; "": all
	first  bool                  // the predicate of lane 0 is used
	roots  bool                  // and what a lane has of kernel.Roots
}

// new takes a register.
func (e *emitter) new(c class) reg {
	e.count[c]++
	return reg(fmt.Sprintf("%s%d", classNames[c].prefix, e.count[c]-1))
}

// ins writes an instruction.
func (e *emitter) ins(format string, args ...any) {
	e.body.WriteString(strings.Repeat("\t", e.indent))
	fmt.Fprintf(&e.body, format, args...)
	e.body.WriteString(";\n")
}

// note writes a comment.
func (e *emitter) note(format string, args ...any) {
	e.body.WriteString(strings.Repeat("\t", e.indent))
	fmt.Fprintf(&e.body, "// "+format+"\n", args...)
}

func (e *emitter) label(what string) string {
	e.labels++
	return fmt.Sprintf("$%s_%d", what, e.labels)
}

func (e *emitter) bind(label string) { fmt.Fprintf(&e.body, "%s:\n", label) }

// The parameters, in the order in which Params gives them: the addresses of buffers (of one that is
// scratch where it begins in a warp's part), sizes, of each range its extent, the step of a piece and the
// number of steps, the first piece of the launch and the end of its pieces, where scratch lies and how much a warp has, and the
// address of a word that is set where the call fails, if it may.
func (e *emitter) params() {
	for i := range e.k.Buffers {
		e.names = append(e.names, fmt.Sprintf("buffer%d", i))
	}
	for i := range e.k.Sizes {
		e.names = append(e.names, fmt.Sprintf("size%d", i))
	}
	for i := range e.k.Ranges {
		e.names = append(e.names, fmt.Sprintf("extent%d", i), fmt.Sprintf("step%d", i), fmt.Sprintf("count%d", i))
	}
	e.names = append(e.names, "first", "pieces", "scratch", "part")
	if e.k.MayFail {
		e.names = append(e.names, "failed")
	}
}

// Params gives the parameters of a launch of the pieces first up to end: where buffers lie, how the box is cut, and
// where scratch of so many bytes a warp lies (Scratch), if it lies in the device's memory, and the word of four bytes
// that a kernel that may fail sets to 1 then.
func Params(c *kernel.Cut, first, end int, buffers []uint64, scratch, failed uint64) []uint64 {
	var out []uint64
	at := int64(0)
	for i, b := range c.Buffers {
		if b.Scratch {
			out = append(out, uint64(at))
			at += rounded(c.Scratch[i])
			continue
		}
		out = append(out, buffers[i])
	}
	for _, n := range c.Numbers {
		out = append(out, uint64(n))
	}
	for i, n := range c.Extents {
		step := c.Step(i)
		out = append(out, uint64(n), uint64(step), uint64((n+step-1)/step))
	}
	if out = append(out, uint64(first), uint64(end), scratch, uint64(at)); c.MayFail {
		out = append(out, failed)
	}
	return out
}

// Scratch is how many bytes of scratch a warp needs.
func Scratch(b *kernel.Bound) (n int64) {
	for _, s := range b.Scratch {
		n += rounded(s)
	}
	return n
}

func rounded(n int64) int64 { return (n + 15) &^ 15 }

// head writes what stands before the body.
func (e *emitter) head(name string) {
	b := &e.body
	for line := range strings.Lines(e.k.String()) {
		b.WriteString("// " + line)
	}
	fmt.Fprintf(b, "\n.version 7.0\n.target sm_%d%d\n.address_size 64\n\n", Major, Minor)
	if e.Shared && e.k.HasScratch() {
		b.WriteString(".extern .shared .align 16 .b8 temporaries[];\n\n")
	}
	if e.roots {
		b.WriteString(".const .align 4 .f32 roots[16] = {")
		comma := ""
		for _, r := range kernel.Roots {
			fmt.Fprintf(b, "%s0f%08X", comma, math.Float32bits(r))
			comma = ", "
		}
		b.WriteString("};\n\n")
	}
	fmt.Fprintf(b, ".visible .entry %s(\n", name)
	for i, n := range e.names {
		comma := ","
		if i == len(e.names)-1 {
			comma = ""
		}
		fmt.Fprintf(b, "\t.param .u64 %s%s%s\n", n, comma, e.about(i))
	}
	fmt.Fprintf(b, ")\n.maxntid %d, %d, 1\n.minnctapersm %d\n{\n", Lanes, Warps, blocks)
	for c, n := range e.count {
		if n > 0 {
			fmt.Fprintf(b, "\t.reg %s %s<%d>;\n", classNames[c].directive, classNames[c].prefix, n)
		}
	}
	b.WriteString("\t.reg .b32 %lane, %warp, %piece, %stride, %pieces, %low, %row, %column;\n\t.reg .b64 %which;\n\t.reg .pred %more, %first;\n")
	if e.roots {
		b.WriteString("\t.reg .f32 %root;\n\t.reg .b64 %table;\n")
	}
	fmt.Fprintf(b, "\t.reg .b64 %%arg<%d>;\n", len(e.names))
	e.indent = 1
	for i, n := range e.names {
		e.ins("ld.param.u64 %%arg%d, [%s]", i, n)
	}
	for i, m := range e.k.Buffers {
		if !m.Scratch {
			e.ins("cvta.to.global.u64 %%arg%d, %%arg%d", i, i)
		}
	}
	if e.k.MayFail {
		e.ins("cvta.to.global.u64 %s, %s", e.arg("failed"), e.arg("failed"))
	}
	e.ins("mov.u32 %%lane, %%tid.x")
	e.ins("mov.u32 %%warp, %%tid.y")
	if e.first {
		e.ins("setp.eq.u32 %%first, %%lane, 0")
	}
	if e.roots {
		e.ins("and.b32 %%low, %%lane, 15")
		e.ins("mul.wide.u32 %%which, %%low, 4")
		e.ins("mov.u64 %%table, roots")
		e.ins("add.u64 %%which, %%which, %%table")
		e.ins("ld.const.f32 %%root, [%%which]")
	}
	for _, size := range []int{1, 2, 4, 8} {
		if r, ok := e.lanes[size]; ok {
			e.ins("mul.wide.u32 %s, %%lane, %d", r, size)
		}
	}
	e.fragmentParts()
	for i := range e.k.Sizes {
		if r, ok := e.sizes[int64(i)]; ok {
			if t := e.sizeArg(int64(i)); e.k.Sizes[i].Kind == kernel.F64 {
				e.ins("mov.b64 %s, %s", r, t)
			} else {
				e.ins("cvt.u32.u64 %%low, %s", t)
				e.ins("mov.b32 %s, %%low", r)
			}
		}
		if q, ok := e.quos[int64(i)]; ok {
			e.ins("mov.b64 {%s, %s}, %s", q[0], q[1], e.sizeArg(int64(i)))
		}
	}
	e.note("the first piece of the warp, or of the block where its warps are a group")
	e.ins("mov.u32 %%piece, %%ctaid.x")
	e.ins("mov.u32 %%stride, %%nctaid.x")
	if e.k.Group == 0 {
		e.ins("mad.lo.u32 %%piece, %%piece, %d, %%warp", Warps)
		e.ins("mul.lo.u32 %%stride, %%stride, %d", Warps)
	}
	e.ins("cvt.u32.u64 %%pieces, %s", e.arg("pieces"))
	e.scratch()
	e.ins("cvt.u32.u64 %%low, %s", e.arg("first"))
	e.ins("add.u32 %%piece, %%piece, %%low")
	e.ins("setp.ge.u32 %%more, %%piece, %%pieces")
	e.ins("@%%more bra $done")
	e.bind("$next")
}

// about says what a parameter is.
func (e *emitter) about(i int) string {
	if i < len(e.k.Buffers) {
		b := e.k.Buffers[i]
		return fmt.Sprintf(" // %s: %s[%s]", b.Of.Name, b.DType, b.Len)
	}
	if i -= len(e.k.Buffers); i < len(e.k.Sizes) {
		return fmt.Sprintf(" // %s", e.k.Sizes[i].Expr)
	}
	return ""
}

// scratch makes addresses of the buffers that are scratch, in the warp's part.
func (e *emitter) scratch() {
	if !e.k.HasScratch() {
		return
	}
	e.note("the scratch of the warp")
	base, part := e.arg("scratch"), e.arg("part")
	if e.Shared {
		e.ins("mov.u64 %s, temporaries", base)
		if e.k.Group > 0 {
			e.ins("mov.u64 %%which, 0") // the warps share it
		} else {
			e.ins("cvt.u64.u32 %%which, %%warp")
		}
	} else {
		e.ins("cvta.to.global.u64 %s, %s", base, base)
		e.ins("cvt.u64.u32 %%which, %%piece")
	}
	e.ins("mad.lo.s64 %s, %%which, %s, %s", base, part, base)
	for i, m := range e.k.Buffers {
		if m.Scratch {
			e.ins("add.s64 %%arg%d, %%arg%d, %s", i, i, base)
		}
	}
}

// foot writes what stands behind the body.
func (e *emitter) foot() {
	e.indent = 1
	e.note("the next piece of the warp")
	e.ins("add.u32 %%piece, %%piece, %%stride")
	e.ins("setp.lt.u32 %%more, %%piece, %%pieces")
	e.ins("@%%more bra $next")
	e.bind("$done")
	e.ins("ret")
	e.body.WriteString("}\n")
}

// arg is the register of a parameter.
func (e *emitter) arg(name string) reg {
	for i, n := range e.names {
		if n == name {
			return reg(fmt.Sprintf("%%arg%d", i))
		}
	}
	panic("ptx: there is no parameter " + name)
}

func (e *emitter) sizeArg(n int64) reg { return e.arg(fmt.Sprintf("size%d", n)) }

// piece makes lo and hi of each range of the warp's piece. The innermost range runs fastest.
func (e *emitter) piece() {
	n := len(e.k.Ranges)
	if n == 0 {
		return
	}
	e.note("the ranges of the piece")
	rest := e.new(word)
	e.ins("mov.u32 %s, %%piece", rest)
	for i := n - 1; i >= 0; i-- {
		count, at := e.new(word), rest
		if i > 0 {
			at = e.new(word)
			next := e.new(word)
			e.ins("cvt.u32.u64 %s, %s", count, e.arg(fmt.Sprintf("count%d", i)))
			e.ins("div.u32 %s, %s, %s", next, rest, count)
			e.ins("mul.lo.u32 %s, %s, %s", at, next, count)
			e.ins("sub.u32 %s, %s, %s", at, rest, at)
			rest = next
		}
		step := e.arg(fmt.Sprintf("step%d", i))
		e.ins("cvt.u64.u32 %s, %s", e.bound(kernel.OpLo, i), at)
		e.ins("mul.lo.s64 %s, %s, %s", e.bound(kernel.OpLo, i), e.bound(kernel.OpLo, i), step)
		e.ins("add.s64 %s, %s, %s", e.bound(kernel.OpHi, i), e.bound(kernel.OpLo, i), step)
		e.ins("min.s64 %s, %s, %s", e.bound(kernel.OpHi, i), e.bound(kernel.OpHi, i), e.arg(fmt.Sprintf("extent%d", i)))
	}
}

// bound is lo or hi of a range.
func (e *emitter) bound(op kernel.Op, i int) reg {
	key := fmt.Sprintf("%s%d", op, i)
	r, ok := e.bounds[key]
	if !ok {
		r = e.new(integer)
		e.bounds[key] = r
	}
	return r
}

func (e *emitter) block(b *kernel.Block) {
	for _, v := range b.List {
		switch v.Op {
		case kernel.OpLoop:
			e.loop(v.Loop)
		case kernel.OpStore:
			e.store(v)
		case kernel.OpFetch: // other warps compute meanwhile
		case kernel.OpBarrier:
			if v.N == 1 && e.k.Group > 0 {
				e.ins("bar.sync 0")
			} else {
				e.ins("bar.warp.sync -1")
			}
		case kernel.OpMust:
			e.must(v)
		default:
			e.regs[v] = e.value(v)
		}
	}
}

// loop makes a loop. Its turns are the same for all threads of a warp.
func (e *emitter) loop(l *kernel.Loop) {
	at, more := e.new(integer), e.new(predicate)
	hi := e.operand(l.Hi)
	last := hi // the loop goes on below
	carried := make([]reg, len(l.Carries))
	for i, c := range l.Carries {
		carried[i] = e.result(c.In.Kind)
		e.move(c.In.Kind, carried[i], e.operand(c.Init))
		e.regs[c.In], e.regs[c.End] = carried[i], carried[i]
	}
	tail := ""
	if l.Tail {
		tail = ", the last turn may be shorter"
	}
	e.note("for %s .. %s step %d%s", e.operand(l.Lo), hi, l.Step, tail)
	e.ins("mov.u64 %s, %s", at, e.operand(l.Lo))
	e.regs[l.Var], e.regs[l.End] = at, at
	if l.Step > 1 && !l.Tail { // whole turns alone
		last = e.new(integer)
		e.ins("sub.s64 %s, %s, %d", last, e.copied(hi), l.Step-1)
	}
	top, done := e.label("loop"), e.label("done")
	e.ins("setp.ge.s64 %s, %s, %s", more, at, last)
	e.ins("@%s bra %s", more, done)
	e.bind(top)
	e.indent++
	outer, places := e.tail, e.places
	e.places = maps.Clone(places)
	if l.Tail {
		e.tail = e.below(at, hi)
	}
	e.block(l.Body)
	e.carry(l, carried)
	e.tail, e.places = outer, places
	e.ins("add.s64 %s, %s, %d", at, at, l.Step)
	e.ins("setp.lt.s64 %s, %s, %s", more, at, last)
	e.ins("@%s bra %s", more, top)
	e.indent--
	e.bind(done)
}

// below is the lanes l with at+l < hi.
func (e *emitter) below(at, hi reg) reg {
	p, n := e.new(predicate), e.new(integer)
	e.ins("add.s64 %s, %s, %s", n, at, e.lane(1))
	e.ins("setp.lt.s64 %s, %s, %s", p, n, hi)
	return p
}

// carry gives what a loop carries to its next turn; lanes that there are not keep what they have.
func (e *emitter) carry(l *kernel.Loop, carried []reg) {
	out := make([]reg, len(l.Carries))
	for i, c := range l.Carries {
		out[i] = e.operand(c.Out)
		for _, d := range l.Carries { // what goes to another place before it is read
			if c.Out == d.In && d.In != c.In {
				r := e.result(c.In.Kind)
				e.move(c.In.Kind, r, out[i])
				out[i] = r
			}
		}
	}
	for i, c := range l.Carries {
		switch kind := c.In.Kind; {
		case out[i] == carried[i]:
		case e.tail == "" || kind == kernel.Int || kind == kernel.Addr:
			e.move(kind, carried[i], out[i])
		case kind == kernel.Mask:
			e.chooseMask(carried[i], e.tail, out[i], carried[i])
		default:
			e.ins("@%s %s %s, %s", e.tail, moves[kind], carried[i], out[i])
		}
	}
}

var moves = map[kernel.Kind]string{kernel.Int: "mov.u64", kernel.Addr: "mov.u64", kernel.F32: "mov.f32", kernel.F64: "mov.f64", kernel.I64: "mov.u64", kernel.I32: "mov.b32", kernel.Mask: "mov.pred"}

func (e *emitter) move(k kernel.Kind, to, from reg) {
	if k == kernel.FragC {
		for i, r := range to.list() {
			e.ins("mov.f32 %s, %s", r, from.list()[i])
		}
		return
	}
	e.ins("%s %s, %s", moves[k], to, from)
}

// copied is an operand as a register, if it is a number.
func (e *emitter) copied(r reg) reg {
	if strings.HasPrefix(string(r), "%") {
		return r
	}
	c := e.new(integer)
	e.ins("mov.u64 %s, %s", c, r)
	return c
}

// lane is the number of the lane times size.
func (e *emitter) lane(size int) reg {
	r, ok := e.lanes[size]
	if !ok {
		r = e.new(integer)
		e.lanes[size] = r
	}
	return r
}
