package cpu

import (
	"unsafe"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// octets are a factor of integers which are elements of 8 bits, less a zero point that all of them share: it is packed from
// where it lies, which takes a fraction of what computing it does.
type octets struct {
	buf    *ir.Buffer
	zero   *ir.Scalar // nil: 0
	base   int64
	batch  []loop // with the steps that they take through buf as those of A
	own, k []loop
}

// octetsOf recognises such a factor; nil: it is computed.
func octetsOf(s *interp.Stage, x *ir.Scalar, batch, own, k []loop) *octets {
	b := &octets{}
	if x.Op == ir.OpSub && shared(x.Args[1]) {
		x, b.zero = x.Args[0], x.Args[1]
	}
	if x.Op != ir.OpCast || x.Args[0].Op != ir.OpLoad || x.Args[0].DType != tensor.U8 && x.Args[0].DType != tensor.I8 {
		return nil
	}
	a := accessOf(x.Args[0])
	if !a.linear {
		return nil
	}
	o, ok := loaded(s, a)
	if !ok || o.pad != nil {
		return nil
	}
	b.buf, b.base = o.buf, o.base
	for i, nest := range [][]loop{batch, own, k} {
		to := []*[]loop{&b.batch, &b.own, &b.k}[i]
		for _, l := range nest {
			if l.runs != 1 {
				return nil
			}
			l.a = o.step[along{l.axis, 1}]
			delete(o.step, along{l.axis, 1})
			*to = append(*to, l)
		}
	}
	for x, step := range o.step { // of one position, or by runs
		if n, ok := extent(s, x.axis); x.runs != 1 || step != 0 && (!ok || n != 1) {
			return nil
		}
	}
	return b
}

// shared says whether a zero point is one number that is there: a literal, or an element of 8 bits.
func shared(x *ir.Scalar) bool {
	if x.Op == ir.OpCast {
		x = x.Args[0]
	}
	if x.Op != ir.OpLoad {
		return x.Op == ir.OpLit && x.DType.IsInt()
	}
	for i, ix := range x.Args {
		n, ok := ix.AsInt()
		dim, ok2 := x.Buf.Dims[i].Int()
		if !ok || !ok2 || n < 0 || n >= dim {
			return false
		}
	}
	return x.DType == tensor.U8 || x.DType == tensor.I8
}

// zeroPoint is its value in a run.
func (b *octets) zeroPoint(run *interp.Execution) int32 {
	x := b.zero
	if x == nil {
		return 0
	}
	if x.Op == ir.OpCast {
		x = x.Args[0]
	}
	if x.Op == ir.OpLit {
		return int32(x.Lit.Int(0))
	}
	t, at := run.Tensor(x.Buf), int64(0)
	for i, ix := range x.Args {
		n, _ := ix.AsInt()
		at = at*t.Shape()[i] + n
	}
	return int32(t.Int(at))
}

// octetSource is where a worker has such a factor from.
type octetSource struct {
	of          *octets // nil: it is none
	data        []byte
	zero        int32
	lines, offs []int
}

func (s *octetSource) open(run *interp.Execution, b *octets) {
	if s.of = b; b != nil {
		s.data, s.zero = run.Tensor(b.buf).Bytes(), b.zeroPoint(run)
	}
}

// fill packs n rows from r0 on, and terms from k0 on, as source.fill does.
func (s *octetSource) fill(to []int32, width, apart int, batch, r0 int64, n int, k0 int64, terms int) {
	if len(s.lines) < n {
		s.lines = make([]int, n)
	}
	if len(s.offs) < terms {
		s.offs = make([]int, terms)
	}
	addresses(s.lines[:n], s.of.own, r0, stepA)
	addresses(s.offs[:terms], s.of.k, k0, stepA)
	base := int(s.of.base)
	for i := len(s.of.batch) - 1; i >= 0; i-- {
		l := &s.of.batch[i]
		base += int(batch % l.extent * l.a)
		batch /= l.extent
	}
	for i, line := range s.lines[:n] {
		at := i/width*apart + i%width
		if s.of.buf.DType == tensor.U8 {
			pairUp(to[at:], width, s.data, base+line, s.offs[:terms], s.zero)
		} else {
			pairUp(to[at:], width, unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(s.data))), len(s.data)), base+line, s.offs[:terms], s.zero)
		}
	}
}

// pairUp puts a row into pairs, every so many words.
func pairUp[B uint8 | int8](to []int32, every int, data []B, at int, offs []int, zero int32) {
	word := func(low, high int32) int32 { return low&0xffff | high<<16 }
	last := len(offs) &^ 1
	if last > 0 && straight(offs) {
		row := data[at+offs[0]:][:last]
		for i, j := 0, 0; i+2 <= len(row); i, j = i+2, j+every {
			to[j] = word(int32(row[i])-zero, int32(row[i+1])-zero)
		}
	} else {
		for i := 0; i < last; i += 2 {
			to[i/2*every] = word(int32(data[at+offs[i]])-zero, int32(data[at+offs[i+1]])-zero)
		}
	}
	if last < len(offs) {
		to[last/2*every] = (int32(data[at+offs[last]]) - zero) & 0xffff
	}
}
