package ptx

import (
	"fmt"
	"math/bits"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// index is an address some elements on.
func (e *emitter) index(v *kernel.Value) reg {
	r, size := e.new(integer), v.Buf.DType.Bits()/8
	base := e.operand(v.Args[0])
	if n := v.Args[1]; n.Op == kernel.OpConst {
		e.ins("add.s64 %s, %s, %d", r, base, n.N*int64(size))
		return r
	}
	e.ins("add.s64 %s, %s, %s", r, base, e.bytes(e.operand(v.Args[1]), size))
	return r
}

// bytes is a number of elements in bytes.
func (e *emitter) bytes(n reg, size int) reg {
	if size == 1 {
		return n
	}
	r := e.new(integer)
	e.ins("shl.b64 %s, %s, %d", r, n, bits.Len(uint(size))-1)
	return r
}

// place is so many elements, of the lane where they lie one behind the other, in bytes.
type place struct {
	of   *kernel.Value
	size int
	lane bool
	part reg // of a fragment, behind an address
}

// place makes one, once where it is known.
func (e *emitter) place(p place) reg {
	r, ok := e.places[p]
	if !ok {
		r = e.bytes(e.operand(p.of), p.size)
		if p.lane {
			n := e.new(integer)
			e.ins("add.s64 %s, %s, %s", n, r, e.lane(p.size))
			r = n
		}
		e.places[p] = r
	}
	return r
}

// address is where a load or store of the lane is.
func (e *emitter) address(v *kernel.Value) string {
	size := v.Buf.DType.Bits() / 8
	at, ix, disp := e.operand(v.Args[0]), v.Args[1], int64(0)
	if ix.Op == kernel.OpAdd && ix.Args[1].Op == kernel.OpConst {
		disp, ix = ix.Args[1].N, ix.Args[0]
	}
	if ix.Op == kernel.OpConst {
		disp += ix.N
	}
	add := func(n reg) {
		r := e.new(integer)
		e.ins("add.s64 %s, %s, %s", r, at, n)
		at = r
	}
	switch lane := v.Access == kernel.Contiguous; {
	case v.Access == kernel.Listed:
		add(e.listed(v.Args[1], size))
		disp = 0
	case ix.Op != kernel.OpConst:
		add(e.place(place{of: ix, size: size, lane: lane}))
	case lane:
		add(e.lane(size))
	}
	if v.Access == kernel.Strided {
		r := e.new(integer)
		e.ins("mul.lo.s64 %s, %s, %s", r, e.lane(size), e.sizeArg(v.N))
		add(r)
	}
	if disp == 0 {
		return fmt.Sprintf("[%s]", at)
	}
	return fmt.Sprintf("[%s+%d]", at, disp*int64(size))
}

// listed are so many elements in bytes, of which each lane has a number.
func (e *emitter) listed(v *kernel.Value, size int) reg {
	ix := e.register(v)
	if v.Kind == kernel.I64 {
		return e.bytes(ix, size)
	}
	r := e.new(integer)
	e.ins("mul.wide.s32 %s, %s, %d", r, ix, size)
	return r
}

// space is where a buffer lies.
func (e *emitter) space(b *kernel.Buffer) string {
	if b.Scratch && e.Shared {
		return "shared"
	}
	return "global"
}

// memoryTypes are the types of loads and stores, and of the registers for them.
var memoryTypes = map[tensor.DType]struct {
	load, store string
	class       class
	zero        string
}{
	tensor.F32:  {"f32", "f32", float, "mov.f32 %s, 0f00000000"},
	tensor.F64:  {"f64", "f64", double, "mov.f64 %s, 0d0000000000000000"},
	tensor.I64:  {"u64", "u64", integer, "mov.u64 %s, 0"},
	tensor.I32:  {"u32", "u32", word, "mov.b32 %s, 0"},
	tensor.F16:  {"b16", "b16", half, "mov.b16 %s, 0"},
	tensor.BF16: {"u16", "u16", word, "mov.b32 %s, 0"},
	tensor.Bool: {"u8", "u8", word, "mov.b32 %s, 0"},
	tensor.U8:   {"u8", "u8", word, "mov.b32 %s, 0"},
	tensor.I8:   {"s8", "u8", word, "mov.b32 %s, 0"},
}

// guard is the lanes that load or store, "": all. Operand n is a mask, if there is one.
func (e *emitter) guard(v *kernel.Value, n int) reg {
	switch {
	case v.Access == kernel.One:
		return ""
	case len(v.Args) <= n:
		return e.tail
	}
	p := e.operand(v.Args[n])
	if e.tail == "" {
		return p
	}
	both := e.new(predicate)
	e.ins("and.pred %s, %s, %s", both, p, e.tail)
	return both
}

func (e *emitter) load(v *kernel.Value) reg {
	if v.Kind == kernel.FragA || v.Kind == kernel.FragB {
		return e.loadFragment(v)
	}
	m, ok := memoryTypes[v.Buf.DType]
	if !ok {
		panic(unsupported("a load of " + v.Buf.DType.String()))
	}
	x, guard := e.new(m.class), ""
	at := e.address(v)
	if p := e.guard(v, 2); p != "" {
		e.ins(m.zero, x)
		guard = fmt.Sprintf("@%s ", p)
	}
	e.ins("%sld.%s.%s %s, %s", guard, e.space(v.Buf), m.load, x, at)
	e.raw[v] = x
	if m.class == classOf(v.Kind) && v.Buf.DType != tensor.Bool {
		return x
	}
	r := e.new(classOf(v.Kind))
	switch v.Buf.DType {
	case tensor.I32: // as a single integer
		e.ins("cvt.s64.s32 %s, %s", r, x)
	case tensor.F16:
		e.ins("cvt.f32.f16 %s, %s", r, x)
	case tensor.BF16:
		e.ins("shl.b32 %s, %s, 16", x, x)
		e.ins("mov.b32 %s, %s", r, x)
	case tensor.Bool:
		e.ins("setp.ne.u32 %s, %s, 0", r, x)
	default:
		e.ins("cvt.rn.f32.s32 %s, %s", r, x)
	}
	return r
}

func (e *emitter) store(v *kernel.Value) {
	if v.Args[2].Kind == kernel.FragC {
		e.storeFragment(v)
		return
	}
	m, ok := memoryTypes[v.Buf.DType]
	if !ok {
		panic(unsupported("a store of " + v.Buf.DType.String()))
	}
	at, x := e.address(v), e.register(v.Args[2])
	guard := ""
	if v.Access == kernel.One {
		guard = "@%first "
		e.first = true
	} else if p := e.guard(v, 3); p != "" {
		guard = fmt.Sprintf("@%s ", p)
	}
	if of := v.Args[2]; of.Op == kernel.OpLoad && of.Buf.DType == v.Buf.DType && m.class == half { // it is what it was
		e.ins("%sst.%s.%s %s, %s", guard, e.space(v.Buf), m.store, at, e.raw[of])
		return
	}
	t := x
	if m.class != classOf(v.Args[2].Kind) {
		t = e.new(m.class)
	}
	switch v.Buf.DType {
	case tensor.F16:
		e.ins("cvt.rn.f16.f32 %s, %s", t, x)
	case tensor.BF16:
		e.ins("mov.b32 %s, %s", t, x)
		e.ins("shr.u32 %s, %s, 16", t, t)
	case tensor.Bool:
		e.ins("selp.b32 %s, 1, 0, %s", t, x)
	case tensor.U8, tensor.I8:
		e.ins("cvt.rni.s32.f32 %s, %s", t, x)
	}
	e.ins("%sst.%s.%s %s, %s", guard, e.space(v.Buf), m.store, at, t)
}
