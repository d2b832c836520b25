package kernel

import (
	"math"

	"github.com/pitopt/pitopt/core/sym"
)

// builder makes the values of a kernel. Equal values are made once where the first one can be
// seen.
type builder struct {
	k      *Kernel
	open   []*scope // the body, and loops around where we are
	consts map[key]*Value
	epoch  int  // what is loaded from temporaries does not change within one
	here   bool // values are made where they are asked for, so that they do not wait in registers
}

// scope is a block in the making.
type scope struct {
	block *Block
	seen  map[key]*Value
	loop  *Loop // nil: the kernel's body
}

type key struct {
	op     Op
	kind   Kind
	n      int64
	args   [4]*Value
	buf    *Buffer
	access Access
	epoch  int
}

func newBuilder(k *Kernel) *builder {
	k.Body = &Block{}
	return &builder{k: k, consts: map[key]*Value{}, open: []*scope{{block: k.Body, seen: map[key]*Value{}}}}
}

func keyOf(v *Value) key {
	x := key{op: v.Op, kind: v.Kind, n: v.N, buf: v.Buf, access: v.Access}
	copy(x.args[:], v.Args)
	return x
}

// depth is how many loops are around the value.
func (b *builder) depth(v *Value) int {
	for d := len(b.open) - 1; d > 0; d-- {
		s := b.open[d]
		if v.Loop == s.loop && (v.Op == OpVar || v.Op == OpCarry) {
			return d
		}
		if s.seen[b.keyed(v)] == v {
			return d
		}
	}
	return 0
}

func (b *builder) keyed(v *Value) key {
	x := keyOf(v)
	if v.Op == OpLoad && v.Buf.Written {
		x.epoch = b.epoch
	}
	switch v.Op {
	case OpEnd, OpStore, OpLoop, OpBarrier: // one is not another
		x.args[3] = v
	}
	return x
}

// emit places a value in the outermost loop where its operands are known.
func (b *builder) emit(v *Value) *Value {
	k := b.keyed(v)
	switch v.Op {
	case OpConst, OpSize, OpLo, OpHi, OpBase:
		if c := b.consts[k]; c != nil {
			return c
		}
		b.consts[k] = v
		return v
	}
	for _, s := range b.open {
		if c := s.seen[k]; c != nil {
			return c
		}
	}
	at := 0
	for _, a := range v.Args {
		at = max(at, b.depth(a))
	}
	if b.here || v.Op == OpStore || v.Op == OpLoad && v.Buf.Written || v.Op == OpLoop || v.Op == OpBarrier {
		at = len(b.open) - 1
	}
	b.k.MayFail = b.k.MayFail || v.Op == OpMust
	s := b.open[at]
	s.seen[k] = v
	s.block.List = append(s.block.List, v)
	return v
}

func (b *builder) op(op Op, kind Kind, args ...*Value) *Value {
	return b.emit(&Value{Op: op, Kind: kind, Args: args})
}

func (b *builder) opN(op Op, kind Kind, n int64, args ...*Value) *Value {
	return b.emit(&Value{Op: op, Kind: kind, N: n, Args: args})
}

// magic is a number whose sum with a smaller one is an integer.
const magic = 0x1.8p23

func (b *builder) int(n int64) *Value { return b.opN(OpConst, Int, n) }
func (b *builder) f32(v float32) *Value {
	return b.opN(OpConst, F32, int64(math.Float32bits(v)))
}
func (b *builder) f64(v float64) *Value {
	return b.opN(OpConst, F64, int64(math.Float64bits(v)))
}
func (b *builder) i32(n int32) *Value { return b.opN(OpConst, I32, int64(uint32(n))) }
func (b *builder) truthOf(v bool) *Value {
	if v {
		return b.opN(OpConst, Mask, 1)
	}
	return b.opN(OpConst, Mask, 0)
}

// size is a symbolic number as a value.
func (b *builder) size(e sym.Expr, kind Kind) *Value {
	if n, ok := e.Int(); ok {
		switch kind {
		case F32:
			return b.f32(float32(n))
		case F64:
			return b.opN(OpConst, F64, int64(math.Float64bits(float64(n))))
		}
		return b.int(n)
	}
	return b.opN(OpSize, kind, b.sizeNumber(e, kind))
}

func (b *builder) sizeNumber(e sym.Expr, kind Kind) int64 {
	for i, s := range b.k.Sizes {
		if s.Kind == kind && s.Expr.Equal(e) {
			return int64(i)
		}
	}
	b.k.Sizes = append(b.k.Sizes, Size{e, kind})
	return int64(len(b.k.Sizes) - 1)
}

// mulInt and addInt fold what is known.
func (b *builder) mulInt(x, y *Value) *Value {
	if x.Op == OpConst {
		x, y = y, x
	}
	if y.Op == OpConst {
		switch {
		case x.Op == OpConst:
			return b.int(x.N * y.N)
		case y.N == 0:
			return y
		case y.N == 1:
			return x
		}
	}
	return b.op(OpMul, Int, x, y)
}

func (b *builder) addInt(x, y *Value) *Value {
	if x.Op == OpConst {
		x, y = y, x
	}
	if y.Op == OpConst {
		switch {
		case x.Op == OpConst:
			return b.int(x.N + y.N)
		case y.N == 0:
			return x
		}
	}
	return b.op(OpAdd, Int, x, y)
}

// index is an address some elements on.
func (b *builder) index(a, n *Value) *Value {
	if n.Op == OpConst && n.N == 0 {
		return a
	}
	return b.emit(&Value{Op: OpIndex, Kind: Addr, Args: []*Value{a, n}, Buf: a.Buf})
}

// loop opens a loop; with close it is placed behind what was made before. Initial values of
// what it carries come in, and its values in the body come out.
func (b *builder) loop(lo, hi *Value, step int64, tail bool, extent sym.Expr, init ...*Value) (l *Loop, carried []*Value) {
	l = &Loop{Lo: lo, Hi: hi, Step: step, Tail: tail, Body: &Block{}, Extent: extent}
	if lo.Op != OpLo {
		b.k.Loops = append(b.k.Loops, extent)
	}
	l.Var = &Value{Op: OpVar, Kind: Int, Loop: l}
	l.End = &Value{Op: OpEnd, Kind: Int, Loop: l, N: -1}
	for i, v := range init {
		c := Carry{Init: v, In: &Value{Op: OpCarry, Kind: v.Kind, Loop: l, N: int64(i)}, End: &Value{Op: OpEnd, Kind: v.Kind, Loop: l, N: int64(i)}}
		l.Carries = append(l.Carries, c)
		carried = append(carried, c.In)
	}
	b.open = append(b.open, &scope{block: l.Body, seen: map[key]*Value{}, loop: l})
	return l, carried
}

// rangeLoop opens a loop over a range that a call gives.
func (b *builder) rangeLoop(extent sym.Expr) *Value {
	lo, hi := b.newRange(extent)
	l, _ := b.loop(lo, hi, 1, false, extent)
	return l.Var
}

func (b *builder) newRange(extent sym.Expr) (lo, hi *Value) {
	n := int64(len(b.k.Ranges))
	b.k.Ranges = append(b.k.Ranges, extent)
	return b.opN(OpLo, Int, n), b.opN(OpHi, Int, n)
}

// close ends the innermost loop, with what goes to the next turn, and gives what it ends with.
func (b *builder) close(out ...*Value) (ends []*Value) {
	s := b.open[len(b.open)-1]
	b.open = b.open[:len(b.open)-1]
	args := []*Value{s.loop.Lo, s.loop.Hi}
	for i := range s.loop.Carries {
		c := &s.loop.Carries[i]
		c.Out = out[i]
		args = append(args, c.Init)
		ends = append(ends, c.End)
	}
	v := &Value{Op: OpLoop, Loop: s.loop, Args: args}
	at := b.open[len(b.open)-1]
	at.block.List = append(at.block.List, v)
	for _, e := range append(ends, s.loop.End) {
		at.seen[b.keyed(e)] = e
	}
	return ends
}
