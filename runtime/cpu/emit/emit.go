// Package emit makes machine code for x86-64 of kernels.
package emit

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// Lanes is how many lanes kernels are to have for a tier: those of the widest vectors of
// f32.
func Lanes(f x86.Features) int {
	switch {
	case f&x86.V4 != 0:
		return 16
	case f&x86.V3 != 0:
		return 8
	}
	return 0
}

// Wide is how many lanes kernels are to have that have vectors of 64 bits (kernel.Options.Wide).
func Wide(f x86.Features) int { return Lanes(f) / 2 }

// Words is how many words the argument block of a kernel's code has: the addresses of its
// buffers, its sizes, lo and hi of each of its ranges, and a word that is not 0 any more behind a call that has
// failed.
func Words(k *kernel.Kernel) int { return len(k.Buffers) + len(k.Sizes) + 2*len(k.Ranges) + 1 }

// Program makes the code of a kernel for a tier.
func Program(k *kernel.Kernel, f x86.Features) (*x86.Prog, error) { return program(k, f, false) }

// Annotated is Program with the kernel's operations as comments before their instructions.
func Annotated(k *kernel.Kernel, f x86.Features) (*x86.Prog, error) { return program(k, f, true) }

func program(k *kernel.Kernel, f x86.Features, annotate bool) (p *x86.Prog, err error) {
	if k.Lanes != Lanes(f) && k.Lanes != Wide(f) {
		return nil, fmt.Errorf("emit: kernel %s has %d lanes, and vectors have %d", k.Name, k.Lanes, Lanes(f))
	}
	if k.Group > 0 {
		return nil, fmt.Errorf("emit: kernel %s is for a group of vectors", k.Name)
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(unsupported)
			if !ok {
				panic(r)
			}
			p, err = nil, fmt.Errorf("emit: kernel %s: %s", k.Name, string(e))
		}
	}()
	e := &emitter{Prog: x86.NewProg(k.Name), k: k, v4: f&x86.V4 != 0, regs: map[*kernel.Value]x86.Reg{}, uses: map[*kernel.Value]int{}, absorbed: map[*kernel.Value]bool{}}
	e.kind, e.wide = vectorOf(32*k.Lanes), vectorOf(64*k.Lanes)
	if annotate {
		var head string
		head, e.line = k.Lines()
		for l := range strings.Lines(head) {
			e.Comment("%s", strings.TrimRight(l, "\n"))
		}
	}
	e.count(k.Body)
	e.absorb(k.Body)
	e.block(k.Body)
	e.Emit(x86.RET)
	return e.Prog, nil
}

type unsupported string

// vectorOf is the kind of a vector of so many bits; none is longer than 512.
func vectorOf(bits int) x86.Kind {
	return map[int]x86.Kind{128: x86.XMM, 256: x86.YMM, 512: x86.ZMM}[bits]
}

type emitter struct {
	*x86.Prog
	k        *kernel.Kernel
	v4       bool
	kind     x86.Kind // of vectors of 32 bits
	wide     x86.Kind // of 64 bits, where there are any
	regs     map[*kernel.Value]x86.Reg
	uses     map[*kernel.Value]int      // that are still to come in the block that defines it; many where it is used in loops
	absorbed map[*kernel.Value]bool     // what the one value that uses it makes
	tail     x86.Reg                    // which lanes there are; NoReg: all
	line     func(*kernel.Value) string // what stands before a value's instructions; nil: nothing
}

// count counts uses. What is used in a loop that does not define it must not be overwritten.
func (e *emitter) count(b *kernel.Block) {
	const many = 1 << 20
	own := map[*kernel.Value]bool{}
	for _, v := range b.List {
		own[v] = true
		for _, a := range v.Args {
			e.uses[a]++
			if !own[a] {
				e.uses[a] += many
			}
		}
		if v.Op == kernel.OpBits { // two names of one register
			e.uses[v] += many
			e.uses[v.Args[0]] += many
		}
		if v.Op == kernel.OpLoop {
			for _, c := range v.Loop.Carries {
				e.uses[c.In] += many
				e.uses[c.Out] += many
				e.uses[c.End] += many
			}
			e.count(v.Loop.Body)
		}
	}
}

// absorb finds values that need no instructions of their own: a comparison of floats that is denied, and the halves
// of a word of two words' bits, which AVX-512 takes at once.
func (e *emitter) absorb(b *kernel.Block) {
	for _, v := range b.List {
		if v.Op == kernel.OpLoop {
			e.absorb(v.Loop.Body)
		}
		if v.Op == kernel.OpNot {
			a := v.Args[0]
			if _, compares := predicates[a.Op]; compares && e.uses[a] == 1 && (a.Args[0].Kind == kernel.F32 || a.Args[0].Kind == kernel.F64) {
				e.absorbed[a] = true
			}
		}
		if e.joins(v) {
			e.absorbed[v.Args[0]], e.absorbed[v.Args[1]] = true, true
		}
	}
}

// joins says whether a value is some bits of one word and the others of another one.
func (e *emitter) joins(v *kernel.Value) bool {
	part := func(x *kernel.Value) bool {
		return x.Op == kernel.OpAnd && x.Args[1].Op == kernel.OpConst && e.uses[x] == 1
	}
	return e.v4 && v.Op == kernel.OpOr && v.Kind == kernel.I32 && part(v.Args[0]) && part(v.Args[1]) && uint32(v.Args[0].Args[1].N) == ^uint32(v.Args[1].Args[1].N)
}

// vector is the kind of the register of a vector.
func (e *emitter) vector(k kernel.Kind) x86.Kind {
	switch {
	case k.Wide():
		return e.wide
	case k == kernel.Mask && e.v4:
		return x86.Mask
	}
	return e.kind
}

// slots of the argument block.
func (e *emitter) arg(n int) x86.Mem { return x86.At(x86.ArgBase, 8*n) }

func (e *emitter) sizeArg(n int64) x86.Mem { return e.arg(len(e.k.Buffers) + int(n)) }

func (e *emitter) rangeArg(n int64) x86.Mem {
	return e.arg(len(e.k.Buffers) + len(e.k.Sizes) + int(n))
}

func (e *emitter) block(b *kernel.Block) {
	for _, v := range b.List {
		if e.line != nil {
			e.Comment("%s", e.line(v))
		}
		if e.absorbed[v] {
			continue
		}
		switch v.Op {
		case kernel.OpLoop:
			e.loop(v.Loop)
		case kernel.OpStore:
			e.store(v)
		case kernel.OpBarrier: // an instruction is one of all lanes
		case kernel.OpFetch:
			e.Emit(x86.PREFETCHT0, e.memory(v))
		case kernel.OpMust:
			e.must(v)
		default:
			e.regs[v] = e.value(v)
		}
		for _, a := range v.Args {
			e.uses[a]--
			if e.absorbed[a] {
				for _, of := range a.Args {
					e.uses[of]--
				}
			}
		}
	}
}

// reg is the register of a value; what stands in no block is made here.
func (e *emitter) reg(v *kernel.Value) x86.Reg {
	if r, ok := e.regs[v]; ok {
		return r
	}
	switch v.Kind {
	case kernel.Int, kernel.Addr:
		r := e.New(x86.GP64)
		switch v.Op {
		case kernel.OpConst:
			if v.N == 0 {
				e.Emit(x86.XOR, r.As(x86.GP32), r.As(x86.GP32))
			} else {
				e.Emit(x86.MOV, r, x86.Imm(v.N))
			}
		case kernel.OpSize:
			e.Emit(x86.MOV, r, e.sizeArg(v.N))
		case kernel.OpLo:
			e.Emit(x86.MOV, r, e.rangeArg(2*v.N))
		case kernel.OpHi:
			e.Emit(x86.MOV, r, e.rangeArg(2*v.N+1))
		case kernel.OpBase:
			for i, b := range e.k.Buffers {
				if b == v.Buf {
					e.Emit(x86.MOV, r, e.arg(i))
				}
			}
		}
		return r
	case kernel.Mask:
		return e.constMask(v.N != 0)
	}
	r := e.New(e.vector(v.Kind))
	from, repeat := x86.Operand(nil), x86.VBROADCASTSS
	if v.Kind.Wide() {
		repeat = x86.VBROADCASTSD
	}
	switch {
	case v.Op == kernel.OpSize:
		from = e.sizeArg(v.N)
	case v.N == 0:
		e.Emit(x86.VXORPS, r.As(x86.XMM), r.As(x86.XMM), r.As(x86.XMM))
		return r
	case v.Kind.Wide():
		from = e.U64(uint64(v.N))
	default:
		from = e.U32(uint32(v.N))
	}
	e.Emit(repeat, r, from)
	return r
}

// U64 is the memory of a constant.
func (e *emitter) U64(n uint64) x86.Mem { return e.Const(binary.LittleEndian.AppendUint64(nil, n), 8) }

func (e *emitter) constMask(all bool) x86.Reg {
	if e.v4 {
		r := e.New(x86.Mask)
		if all {
			e.Emit(x86.KXNORW, r, r, r)
		} else {
			e.Emit(x86.KXORW, r, r, r)
		}
		return r
	}
	r := e.New(e.kind)
	if all {
		e.Emit(x86.VPCMPEQD, r, r, r)
	} else {
		e.Emit(x86.VPXOR, r, r, r)
	}
	return r
}

// operand is a value as the last operand of an instruction: a constant stays in memory where
// the instruction can repeat it.
func (e *emitter) operand(v *kernel.Value) x86.Operand {
	if _, ok := e.regs[v]; !ok && e.v4 {
		switch {
		case v.Op == kernel.OpConst && v.N != 0 && (v.Kind == kernel.F32 || v.Kind == kernel.I32):
			return e.U32(uint32(v.N)).B()
		case v.Op == kernel.OpConst && v.N != 0 && v.Kind.Wide():
			return e.U64(uint64(v.N)).B()
		case v.Op == kernel.OpSize && (v.Kind == kernel.F32 || v.Kind == kernel.F64):
			return e.sizeArg(v.N).B()
		}
	}
	return e.reg(v)
}

// own is a register with the value that may be overwritten.
func (e *emitter) own(v *kernel.Value) x86.Reg {
	r, ok := e.regs[v]
	if !ok {
		return e.reg(v)
	}
	if e.uses[v] == 1 {
		return r
	}
	c := e.New(e.vector(v.Kind))
	e.Emit(x86.VMOVAPS, c, r)
	return c
}

// loop makes a loop, and with a tail its body once more for the last lanes.
func (e *emitter) loop(l *kernel.Loop) {
	at := e.New(x86.GP64)
	e.Emit(x86.MOV, at, e.reg(l.Lo))
	hi, hiMem := x86.NoReg, x86.Operand(nil)
	switch {
	case l.Hi.Op == kernel.OpSize:
		hiMem = e.sizeArg(l.Hi.N)
	case l.Hi.Op == kernel.OpHi:
		hiMem = e.rangeArg(2*l.Hi.N + 1)
	case l.Hi.Op == kernel.OpConst && l.Hi.N == int64(int32(l.Hi.N)):
		hiMem = x86.Imm(l.Hi.N)
	default:
		hiMem = e.reg(l.Hi)
	}
	carried := make([]x86.Reg, len(l.Carries))
	for i, c := range l.Carries {
		carried[i] = e.New(e.vector(c.In.Kind))
		if from, ok := e.regs[c.Init]; ok {
			e.Emit(x86.VMOVAPS, carried[i], from)
		} else {
			e.Emit(x86.VMOVAPS, carried[i], e.reg(c.Init))
		}
		e.regs[c.In], e.regs[c.End] = carried[i], carried[i]
	}
	e.regs[l.Var], e.regs[l.End] = at, at
	defer e.hold(l)()
	turn := func() {
		e.block(l.Body)
		out := make([]x86.Reg, len(l.Carries))
		for i, c := range l.Carries {
			out[i] = e.reg(c.Out)
			for _, d := range l.Carries[:i] { // what goes to another place before it is read
				if c.Out == d.In {
					r := e.New(e.vector(c.In.Kind))
					e.Emit(x86.VMOVAPS, r, out[i])
					out[i] = r
				}
			}
		}
		for i, r := range out {
			switch {
			case r == carried[i]:
			case e.tail == x86.NoReg:
				e.Emit(x86.VMOVAPS, carried[i], r)
			default:
				e.blend(l.Carries[i].In.Kind, carried[i], r, e.tail)
			}
		}
	}
	top, rest, done := e.Label("loop"), e.Label("rest"), e.Label("done")
	if l.Step == 1 {
		e.Emit(x86.CMP, at, hiMem)
		e.Emit(x86.JGE, done)
		e.Bind(top)
		turn()
		e.Emit(x86.INC, at)
		e.Emit(x86.CMP, at, hiMem)
		e.Emit(x86.JL, top)
		e.Bind(done)
		return
	}
	hi = e.New(x86.GP64) // the last position of a whole turn
	e.Emit(x86.MOV, hi, hiMem)
	e.Emit(x86.SUB, hi, x86.Imm(l.Step))
	e.Emit(x86.CMP, at, hi)
	e.Emit(x86.JG, rest)
	e.Align(16)
	e.Bind(top)
	saved := e.copyUses()
	turn()
	e.Emit(x86.ADD, at, x86.Imm(l.Step))
	e.Emit(x86.CMP, at, hi)
	e.Emit(x86.JLE, top)
	e.Bind(rest)
	if !l.Tail {
		return
	}
	left := e.New(x86.GP64)
	e.Emit(x86.MOV, left, hiMem)
	e.Emit(x86.SUB, left, at)
	e.Emit(x86.JLE, done)
	outer := e.tail
	e.tail = e.lanesBelow(left)
	e.uses = saved
	turn()
	e.tail = outer
	e.Bind(done)
}

// blend moves the lanes of a mask.
func (e *emitter) blend(k kernel.Kind, to, from, mask x86.Reg) {
	switch {
	case e.v4 && k.Wide():
		e.Emit(x86.VMOVAPD, to.K(mask), from)
	case e.v4:
		e.Emit(x86.VMOVAPS, to.K(mask), from)
	case k.Wide():
		e.Emit(x86.VBLENDVPD, to, to, from, e.widen(mask))
	default:
		e.Emit(x86.VBLENDVPS, to, to, from, mask)
	}
}

// copyUses keeps the counts for making a body once more.
func (e *emitter) copyUses() map[*kernel.Value]int {
	m := make(map[*kernel.Value]int, len(e.uses))
	for v, n := range e.uses {
		m[v] = n
	}
	return m
}

// lanesBelow is a mask of the first n lanes.
func (e *emitter) lanesBelow(n x86.Reg) x86.Reg {
	if e.v4 {
		all, m := e.New(x86.GP64), e.New(x86.Mask)
		e.Emit(x86.MOV, all, x86.Imm(-1))
		e.Emit(x86.BZHI, all, all, n)
		e.Emit(x86.KMOVW, m, all.As(x86.GP32))
		return m
	}
	m := e.New(e.kind)
	e.Emit(x86.VMOVD, m.As(x86.XMM), n.As(x86.GP32))
	e.Emit(x86.VPBROADCASTD, m, m.As(x86.XMM))
	e.Emit(x86.VPCMPGTD, m, m, e.iota())
	return m
}

// memory is the memory of a load or store.
func (e *emitter) memory(v *kernel.Value) x86.Mem {
	size := v.Buf.DType.Bits() / 8
	base, ix := e.reg(v.Args[0]), v.Args[1]
	if v.Access == kernel.Listed {
		return x86.At(base, 0)
	}
	disp := 0
	if ix.Op == kernel.OpAdd && ix.Args[1].Op == kernel.OpConst {
		disp, ix = int(ix.Args[1].N)*size, ix.Args[0]
	}
	if ix.Op == kernel.OpConst {
		return x86.At(base, disp+int(ix.N)*size)
	}
	return x86.AtIndex(base, e.reg(ix), size, disp)
}

// steps is the vector of lane numbers times a size. Steps of 2^27 elements and more do not fit;
// Bind's caller makes sure that there are none.
func (e *emitter) steps(n int64) x86.Reg {
	ix := e.New(e.kind)
	e.Emit(x86.VPBROADCASTD, ix, e.sizeArg(n))
	e.Emit(x86.VPMULLD, ix, ix, e.iota())
	return ix
}

// iota is the numbers of the lanes.
func (e *emitter) iota() x86.Mem {
	n := make([]uint32, e.k.Lanes)
	for i := range n {
		n[i] = uint32(i)
	}
	return e.U32(n...)
}
