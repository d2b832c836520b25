package emit

import (
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// Loads and stores. Lanes that lie side by side are one access of a vector, with a mask where not all are there;
// others of four and eight bytes are gathered and scattered by the processor, where it can. All else goes lane
// by lane through scratch memory: smaller elements that do not lie side by side, and in AVX2, which has
// masks and gathers for four and eight bytes alone and no scatter.

// Scratch memory holds the elements of a vector and, behind them, where they lie.
const (
	scratchElements = 0
	scratchPlaces   = 64
	scratchBytes    = 128
)

func (e *emitter) scratch(at int) x86.Mem {
	e.Scratch = max(e.Scratch, scratchBytes)
	return x86.At(x86.ScratchBase, at)
}

// load loads a vector, or a single integer.
func (e *emitter) load(v *kernel.Value) x86.Reg {
	d := v.Buf.DType
	if v.Kind == kernel.Int {
		r := e.New(x86.GP64)
		if d == tensor.I32 {
			e.Emit(x86.MOVSXD, r, e.memory(v))
		} else {
			e.Emit(x86.MOV, r, e.memory(v))
		}
		return r
	}
	mask := e.tail
	if len(v.Args) == 3 {
		mask = e.both(mask, e.reg(v.Args[2]))
	}
	size := d.Bits() / 8
	switch {
	case v.Access == kernel.One:
		return e.repeated(d, e.memory(v))
	case v.Access == kernel.Contiguous && (mask == x86.NoReg || e.v4 || size >= 4):
		return e.decode(d, e.memory(v), mask)
	case v.Access == kernel.Strided && size == 4 && e.k.Sizes[v.N].Expr.IsInt(2) && (mask == x86.NoReg || e.v4):
		return e.everySecond(e.memory(v), mask)
	case (v.Access == kernel.Strided || v.Access == kernel.Listed) && size >= 4:
		return e.gather(v, mask)
	}
	zero := e.New(x86.XMM)
	e.Emit(x86.VXORPS, zero, zero, zero)
	for at := 0; mask != x86.NoReg && at < max(16, size*e.k.Lanes); at += 16 {
		e.Emit(x86.VMOVUPS, e.scratch(scratchElements+at), zero)
	}
	e.eachLane(v, mask, func(lane x86.Reg, at x86.Mem) {
		t := e.New(x86.GP64)
		e.move(size, t, at, true)
		e.move(size, t, x86.AtIndex(x86.ScratchBase, lane, size, scratchElements), false)
	})
	return e.decode(d, e.scratch(scratchElements), x86.NoReg)
}

// move moves an element from or to memory.
func (e *emitter) move(size int, r x86.Reg, m x86.Mem, load bool) {
	part := r.As(map[int]x86.Kind{1: x86.GP8, 2: x86.GP16, 4: x86.GP32, 8: x86.GP64}[size])
	switch {
	case !load:
		e.Emit(x86.MOV, m, part)
	case size == 1:
		e.Emit(x86.MOVZX, r.As(x86.GP32), m)
	case size == 2: // of memory, MOVZX takes a byte
		high := e.New(x86.GP64)
		e.Emit(x86.MOVZX, r.As(x86.GP32), m)
		e.Emit(x86.MOVZX, high.As(x86.GP32), m.Plus(1))
		e.Emit(x86.SHL, high.As(x86.GP32), x86.Imm(8))
		e.Emit(x86.OR, r.As(x86.GP32), high.As(x86.GP32))
	default:
		e.Emit(x86.MOV, part, m)
	}
}

// both is two masks, either of which may be none: all lanes.
func (e *emitter) both(a, b x86.Reg) x86.Reg {
	switch {
	case a == x86.NoReg:
		return b
	case b == x86.NoReg:
		return a
	case e.v4:
		r := e.New(x86.Mask)
		e.Emit(x86.KANDW, r, a, b)
		return r
	}
	r := e.New(e.kind)
	e.Emit(x86.VPAND, r, a, b)
	return r
}

// maskBits are the lanes of a mask as bits.
func (e *emitter) maskBits(mask x86.Reg) x86.Reg {
	r := e.New(x86.GP64)
	switch all := x86.Imm(1<<e.k.Lanes - 1); {
	case mask == x86.NoReg:
		e.Emit(x86.MOV, r.As(x86.GP32), all)
	case e.v4:
		e.Emit(x86.KMOVW, r.As(x86.GP32), mask)
		e.Emit(x86.AND, r.As(x86.GP32), all)
	default:
		e.Emit(x86.VMOVMSKPS, r.As(x86.GP32), mask)
	}
	return r
}

// eachLane makes a loop over the lanes of a mask; body gets the number of a lane, and its element.
func (e *emitter) eachLane(v *kernel.Value, mask x86.Reg, body func(lane x86.Reg, at x86.Mem)) {
	bits, lane := e.maskBits(mask), e.New(x86.GP64)
	m, size := e.memory(v), v.Buf.DType.Bits()/8
	base := e.New(x86.GP64)
	e.Emit(x86.LEA, base, m)
	offset := lane
	switch v.Access {
	case kernel.Listed:
		e.Emit(x86.VMOVUPS, e.scratch(scratchPlaces), e.reg(v.Args[1]))
		offset = e.New(x86.GP64)
	case kernel.Strided:
		offset = e.New(x86.GP64)
	}
	top, done := e.Label("lane"), e.Label("lanes")
	e.Emit(x86.TEST, bits.As(x86.GP32), bits.As(x86.GP32))
	e.Emit(x86.JE, done)
	e.Bind(top)
	e.Emit(x86.TZCNT, lane.As(x86.GP32), bits.As(x86.GP32))
	switch v.Access {
	case kernel.Listed:
		if v.Args[1].Kind == kernel.I64 {
			e.Emit(x86.MOV, offset, x86.AtIndex(x86.ScratchBase, lane, 8, scratchPlaces))
		} else {
			e.Emit(x86.MOVSXD, offset, x86.AtIndex(x86.ScratchBase, lane, 4, scratchPlaces))
		}
	case kernel.Strided:
		e.Emit(x86.MOV, offset, lane)
		e.Emit(x86.IMUL, offset, e.sizeArg(v.N))
	}
	body(lane, x86.AtIndex(base, offset, size, 0))
	e.Emit(x86.BLSR, bits.As(x86.GP32), bits.As(x86.GP32))
	e.Emit(x86.JNE, top)
	e.Bind(done)
}

// repeated loads one element for all lanes.
func (e *emitter) repeated(d tensor.DType, m x86.Mem) x86.Reg {
	r := e.New(e.kind)
	switch d {
	case tensor.F32, tensor.I32:
		e.Emit(x86.VBROADCASTSS, r, m)
	case tensor.F64, tensor.I64:
		r = e.New(e.wide)
		e.Emit(x86.VBROADCASTSD, r, m)
	case tensor.F16:
		h := e.New(half(e.kind))
		e.Emit(x86.VPBROADCASTW, h, m)
		e.Emit(x86.VCVTPH2PS, r, h)
	case tensor.BF16:
		h := e.New(e.kind)
		e.Emit(x86.VPBROADCASTW, h, m)
		e.Emit(x86.VPSLLD, r, h, x86.Imm(16))
	default:
		b := e.New(x86.XMM)
		e.Emit(x86.VPBROADCASTB, b, m)
		if d == tensor.I8 {
			e.Emit(x86.VPMOVSXBD, r, b)
		} else {
			e.Emit(x86.VPMOVZXBD, r, b)
		}
		return e.ofInts(d, r)
	}
	return r
}

func half(k x86.Kind) x86.Kind { return max(k-1, x86.XMM) }

// ofInts makes what a byte is in lanes of the integers that it holds.
func (e *emitter) ofInts(d tensor.DType, r x86.Reg) x86.Reg {
	if d != tensor.Bool {
		f := e.New(e.kind)
		e.Emit(x86.VCVTDQ2PS, f, r)
		return f
	}
	if e.v4 {
		k := e.New(x86.Mask)
		e.Emit(x86.VPTESTMD, k, r, r)
		return k
	}
	zero, m := e.New(e.kind), e.New(e.kind)
	e.Emit(x86.VPXOR, zero, zero, zero)
	e.Emit(x86.VPCMPGTD, m, r, zero)
	return m
}

// decode loads elements that lie side by side; those that a mask leaves out are not read, and zero. In AVX2
// there are masks for four and eight bytes.
func (e *emitter) decode(d tensor.DType, m x86.Mem, mask x86.Reg) x86.Reg {
	r := e.New(e.kind)
	wide := d == tensor.F64 || d == tensor.I64
	if wide {
		r = e.New(e.wide)
	}
	var into x86.Operand = r
	if mask != x86.NoReg && e.v4 {
		into = r.Z(mask)
	}
	switch d {
	case tensor.F32, tensor.I32:
		if mask != x86.NoReg && !e.v4 {
			e.Emit(x86.VMASKMOVPS, r, mask, m)
		} else {
			e.Emit(x86.VMOVUPS, into, m)
		}
	case tensor.F64, tensor.I64:
		if mask != x86.NoReg && !e.v4 {
			e.Emit(x86.VMASKMOVPD, r, e.widen(mask), m)
		} else {
			e.Emit(x86.VMOVUPD, into, m)
		}
	case tensor.F16:
		e.Emit(x86.VCVTPH2PS, into, m)
	case tensor.BF16:
		e.Emit(x86.VPMOVZXWD, into, m)
		s := e.New(e.kind)
		e.Emit(x86.VPSLLD, s, r, x86.Imm(16))
		return s
	default: // bytes
		op := x86.VPMOVZXBD
		if d == tensor.I8 {
			op = x86.VPMOVSXBD
		}
		e.Emit(op, into, m)
		return e.ofInts(d, r)
	}
	return r
}

// everySecond loads every second element of four bytes: two vectors that lie side by side but for one element, so that
// nothing is read behind the last lane's, have them at even and at odd places.
func (e *emitter) everySecond(m x86.Mem, mask x86.Reg) x86.Reg {
	first, second := e.New(e.kind), e.New(e.kind)
	n := e.k.Lanes
	from, into := m.Plus(4*(n-1)), [2]x86.Operand{first, second}
	if mask != x86.NoReg { // a bit of an element for each lane
		bits, some := e.New(x86.GP64), e.New(x86.GP64)
		e.Emit(x86.KMOVW, bits.As(x86.GP32), mask)
		for i, r := range []x86.Reg{first, second} {
			k, places := e.New(x86.Mask), e.New(x86.GP64)
			e.Emit(x86.MOV, places.As(x86.GP32), x86.Imm(0x5555<<i))
			if i == 1 {
				e.Emit(x86.SHR, bits.As(x86.GP32), x86.Imm(n/2))
			}
			e.Emit(x86.PDEP, some.As(x86.GP32), bits.As(x86.GP32), places.As(x86.GP32))
			e.Emit(x86.KMOVW, k, some.As(x86.GP32))
			into[i] = r.Z(k)
		}
	}
	e.Emit(x86.VMOVUPS, into[0], m)
	e.Emit(x86.VMOVUPS, into[1], from)
	if e.v4 {
		places := make([]uint32, n)
		for i := range places {
			places[i] = uint32(2*i + i/(n/2)) // of both, of which the second one follows n places on
		}
		at := e.New(e.kind)
		e.Emit(x86.VMOVUPS, at, e.U32(places...))
		e.Emit(x86.VPERMI2PS, at, first, second)
		return at
	}
	pairs, r := e.New(e.kind), e.New(e.kind)
	e.Emit(x86.VSHUFPS, pairs, first, second, x86.Imm(0xD8))
	if e.kind != x86.YMM {
		return pairs
	}
	e.Emit(x86.VPERMPD, r, pairs, x86.Imm(0xD8))
	return r
}

// gather loads elements of four or eight bytes from where lanes say.
func (e *emitter) gather(v *kernel.Value, mask x86.Reg) x86.Reg {
	d := v.Buf.DType
	wide := d.Bits() == 64
	r, kind, scale := e.New(e.kind), kernel.F32, uint8(4)
	if wide {
		r, kind, scale = e.New(e.wide), kernel.F64, 8
	}
	m := e.memory(v)
	if m.Index != x86.NoReg {
		panic(unsupported("a gather with an index"))
	}
	g := x86.Mem{Base: m.Base, Scale: scale, Disp: m.Disp}
	long := false
	if v.Access == kernel.Strided {
		g.Index = e.steps(v.N)
	} else {
		g.Index, long = e.reg(v.Args[1]), v.Args[1].Kind == kernel.I64
	}
	var op *x86.Op
	switch {
	case wide && long:
		op = x86.VGATHERQPD
	case wide:
		op = x86.VGATHERDPD
	case long:
		op = x86.VGATHERQPS
	default:
		op = x86.VGATHERDPS
	}
	e.Emit(x86.VXORPS, r.As(x86.XMM), r.As(x86.XMM), r.As(x86.XMM))
	if e.v4 {
		k := e.constMask(true)
		if mask != x86.NoReg {
			e.Emit(x86.KMOVW, k, mask)
		}
		e.Emit(op, r.K(k), g)
		return r
	}
	k := e.New(e.vector(kind))
	switch {
	case mask == x86.NoReg:
		e.Emit(x86.VPCMPEQD, k, k, k)
	case wide:
		e.Emit(x86.VMOVAPS, k, e.widen(mask))
	default:
		e.Emit(x86.VMOVAPS, k, mask)
	}
	e.Emit(op, r, g, k)
	return r
}

// store stores a vector.
func (e *emitter) store(v *kernel.Value) {
	d, size := v.Buf.DType, v.Buf.DType.Bits()/8
	r := e.encode(d, e.reg(v.Args[2]))
	switch {
	case v.Access == kernel.One:
		m := e.memory(v)
		switch size {
		case 8:
			e.Emit(x86.VMOVSD, m, r.As(x86.XMM))
		case 4:
			e.Emit(x86.VMOVSS, m, r.As(x86.XMM))
		default:
			t := e.New(x86.GP64)
			e.Emit(x86.VMOVD, t.As(x86.GP32), r.As(x86.XMM))
			e.move(size, t, m, false)
		}
	case v.Access == kernel.Contiguous && e.tail == x86.NoReg:
		e.put(size, e.memory(v), r)
	case v.Access == kernel.Contiguous && (e.v4 || size >= 4):
		e.putSome(size, e.memory(v), r)
	case v.Access == kernel.Strided && e.v4 && size >= 4:
		m := e.memory(v)
		if m.Index != x86.NoReg {
			panic(unsupported("a strided store with an index"))
		}
		k := e.constMask(true)
		if e.tail != x86.NoReg {
			e.Emit(x86.KMOVW, k, e.tail)
		}
		s := x86.Mem{Base: m.Base, Index: e.steps(v.N), Scale: uint8(size), Disp: m.Disp, Mask: k}
		if size == 8 {
			e.Emit(x86.VSCATTERDPD, s, r)
		} else {
			e.Emit(x86.VSCATTERDPS, s, r)
		}
	default:
		e.put(size, e.scratch(scratchElements), r)
		e.eachLane(v, e.tail, func(lane x86.Reg, at x86.Mem) {
			t := e.New(x86.GP64)
			e.move(size, t, x86.AtIndex(x86.ScratchBase, lane, size, scratchElements), true)
			e.move(size, t, at, false)
		})
	}
}

// encode makes elements of a vector, at its start.
func (e *emitter) encode(d tensor.DType, r x86.Reg) x86.Reg {
	t := e.New(e.kind)
	switch d {
	case tensor.F32, tensor.I32, tensor.F64, tensor.I64:
		return r
	case tensor.F16:
		h := e.New(half(e.kind))
		e.Emit(x86.VCVTPS2PH, h, r, x86.Imm(0))
		return h
	case tensor.BF16:
		e.Emit(x86.VPSRLD, t, r, x86.Imm(16))
		return e.narrow(t, 2)
	case tensor.Bool:
		if e.v4 {
			e.Emit(x86.VBROADCASTSS, t.Z(r), e.U32(1))
		} else {
			e.Emit(x86.VPSRLD, t, r, x86.Imm(31))
		}
	case tensor.U8, tensor.I8:
		c := e.New(e.kind)
		e.Emit(x86.VCVTPS2DQ, c, r)
		if e.v4 {
			t = c
			break
		}
		e.Emit(x86.VPAND, t, c, e.reg(&kernel.Value{Op: kernel.OpConst, Kind: kernel.I32, N: 255}))
	default:
		panic(unsupported("a store of " + d.String()))
	}
	return e.narrow(t, 1)
}

// narrow cuts integers of 32 bits to some bytes. In AVX2 they are as many already.
func (e *emitter) narrow(r x86.Reg, size int) x86.Reg {
	if e.v4 {
		n := e.New(half(e.kind))
		if size == 2 {
			e.Emit(x86.VPMOVDW, n, r)
		} else {
			n = n.As(half(half(e.kind)))
			e.Emit(x86.VPMOVDB, n, r)
		}
		return n
	}
	n, upper := e.New(x86.XMM), r.As(x86.XMM)
	if e.kind == x86.YMM {
		upper = e.New(x86.XMM)
		e.Emit(x86.VEXTRACTI128, upper, r, x86.Imm(1))
	}
	e.Emit(x86.VPACKUSDW, n, r.As(x86.XMM), upper)
	if size == 1 {
		b := e.New(x86.XMM)
		e.Emit(x86.VPACKUSWB, b, n, n)
		return b
	}
	return n
}

// put stores all elements side by side.
func (e *emitter) put(size int, m x86.Mem, r x86.Reg) {
	switch size * e.k.Lanes {
	case 4:
		e.Emit(x86.VMOVD, m, r.As(x86.XMM))
	case 8:
		e.Emit(x86.VMOVQ, m, r.As(x86.XMM))
	case 16:
		e.Emit(x86.VMOVUPS, m, r.As(x86.XMM))
	case 32:
		e.Emit(x86.VMOVUPS, m, r.As(x86.YMM))
	default:
		e.Emit(x86.VMOVUPS, m, r)
	}
}

// putSome stores the elements of the last lanes that there are.
func (e *emitter) putSome(size int, m x86.Mem, r x86.Reg) {
	switch {
	case e.v4:
		op := map[int]*x86.Op{1: x86.VMOVDQU8, 2: x86.VMOVDQU16, 4: x86.VMOVUPS, 8: x86.VMOVUPD}[size]
		e.Emit(op, m.K(e.tail), r)
	case size == 8:
		e.Emit(x86.VMASKMOVPD, m, e.widen(e.tail), r)
	default:
		e.Emit(x86.VMASKMOVPS, m, e.tail, r)
	}
}

// widen is a mask of lanes of 32 bits as one of lanes of 64 bits: in AVX2.
func (e *emitter) widen(mask x86.Reg) x86.Reg {
	r := e.New(e.wide)
	e.Emit(x86.VPMOVSXDQ, r, mask)
	return r
}

// shorten is a mask of lanes of 64 bits as one of lanes of 32 bits: in AVX2.
func (e *emitter) shorten(mask x86.Reg) x86.Reg {
	upper, r := e.New(x86.XMM), e.New(x86.XMM)
	e.Emit(x86.VEXTRACTI128, upper, mask, x86.Imm(1))
	e.Emit(x86.VSHUFPS, r, mask.As(x86.XMM), upper, x86.Imm(0x88))
	return r
}

// half rounds to f16.
func (e *emitter) half(v *kernel.Value) x86.Reg {
	h, r := e.New(half(e.kind)), e.New(e.kind)
	e.Emit(x86.VCVTPS2PH, h, e.reg(v.Args[0]), x86.Imm(0))
	e.Emit(x86.VCVTPH2PS, r, h)
	return r
}
