package kernel

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"

	"github.com/pitopt/pitopt/core/tensor"
)

func floatBits(v float32) uint32 { return math.Float32bits(v) }

// Run evaluates the kernel on a piece of its box, in the order in which values stand. memory is
// that of each buffer. It says what a kernel means, and is made to be plain. failed says that the call has failed
// as OpMust has it.
func (b *Bound) Run(memory [][]byte, ranges []int64) (failed bool, err error) {
	if b.Group > 0 {
		return false, b.group(memory, ranges)
	}
	e := &evaluator{Bound: b, memory: memory, ranges: ranges, vals: map[*Value]val{}, active: b.Lanes}
	err = e.block(b.Body)
	return e.failed, err
}

// group evaluates the vectors of a group, each up to the next barrier.
func (b *Bound) group(memory [][]byte, ranges []int64) (err error) {
	var next []func() (bool, bool)
	for i := range b.Group {
		run := func(yield func(bool) bool) {
			e := &evaluator{Bound: b, memory: memory, ranges: ranges, vals: map[*Value]val{}, active: b.Lanes, vector: int64(i), barrier: func() { yield(true) }}
			if x := e.block(b.Body); x != nil {
				err = x
			}
		}
		more, stop := iter.Pull(iter.Seq[bool](run))
		defer stop()
		next = append(next, more)
	}
	for waiting := b.Group; waiting > 0 && err == nil; {
		waiting = 0
		for _, n := range next {
			if _, more := n(); more {
				waiting++
			}
		}
		if waiting > 0 && waiting < b.Group && err == nil {
			return fmt.Errorf("kernel %s: a barrier that some vectors do not come to", b.Name)
		}
	}
	return err
}

// val is the value of one: an integer, the element of an address, or bits of lanes.
type val struct {
	n     int64
	lanes []uint64
}

type evaluator struct {
	*Bound
	memory [][]byte
	ranges []int64
	vals   map[*Value]val
	active int // lanes
	failed bool

	vector  int64  // of the group
	barrier func() // waits for the others
}

func (e *evaluator) splat(bits uint64) val {
	v := val{lanes: make([]uint64, e.Lanes)}
	for i := range v.lanes {
		v.lanes[i] = bits
	}
	return v
}

func (e *evaluator) get(x *Value) val {
	switch x.Op {
	case OpConst:
		if x.Kind == Int {
			return val{n: x.N}
		}
		if rows, columns := x.Kind.Fragment(); rows > 0 { // zeros
			return val{lanes: make([]uint64, rows*columns)}
		}
		return e.splat(uint64(x.N))
	case OpSize:
		if x.Kind == Int {
			return val{n: e.Numbers[x.N]}
		}
		return e.splat(uint64(e.Numbers[x.N]))
	case OpLo:
		return val{n: e.ranges[2*x.N]}
	case OpHi:
		return val{n: e.ranges[2*x.N+1]}
	case OpBase:
		return val{}
	}
	return e.vals[x]
}

func (e *evaluator) block(b *Block) error {
	for _, x := range b.List {
		switch x.Op {
		case OpLoop:
			if err := e.loop(x.Loop); err != nil {
				return err
			}
			continue
		case OpFetch:
			continue
		case OpBarrier: // an operation is one of all lanes
			if x.N == 1 && e.barrier != nil {
				e.barrier()
			}
			continue
		}
		v, err := e.value(x)
		if err != nil {
			return err
		}
		e.vals[x] = v
	}
	return nil
}

func (e *evaluator) loop(l *Loop) error {
	at, hi := e.get(l.Lo).n, e.get(l.Hi).n
	carried := make([]val, len(l.Carries))
	for i, c := range l.Carries {
		carried[i] = e.get(c.Init)
	}
	outer := e.active
	for ; at+l.Step <= hi || l.Tail && at < hi; at += l.Step {
		if l.Step > 1 {
			e.active = int(min(hi-at, int64(e.Lanes)))
		}
		e.vals[l.Var] = val{n: at}
		for i, c := range l.Carries {
			e.vals[c.In] = carried[i]
		}
		if err := e.block(l.Body); err != nil {
			return err
		}
		for i, c := range l.Carries {
			next := e.get(c.Out)
			if next.lanes != nil && e.active < e.Lanes {
				next.lanes = append(append([]uint64(nil), next.lanes[:e.active]...), carried[i].lanes[e.active:]...)
			}
			carried[i] = next
		}
		e.active = outer
	}
	e.vals[l.End] = val{n: at}
	for i, c := range l.Carries {
		e.vals[c.End] = carried[i]
	}
	return nil
}

// element is the memory of an element.
func (e *evaluator) element(x *Value, i int64) ([]byte, error) {
	for n, b := range e.Buffers {
		if b == x.Buf {
			m, size := e.memory[n], int64(b.DType.Bits())/8
			if i < 0 || (i+1)*size > int64(len(m)) {
				return nil, fmt.Errorf("kernel %s: %s of element %d of %s, which has %d", e.Name, x.Op, i, b.Of.Name, int64(len(m))/size)
			}
			return m[i*size : (i+1)*size], nil
		}
	}
	return nil, fmt.Errorf("kernel %s: a buffer is none of its own", e.Name)
}

func (e *evaluator) value(x *Value) (val, error) {
	args := make([]val, len(x.Args))
	for i, a := range x.Args {
		args[i] = e.get(a)
	}
	switch x.Op {
	case OpIndex:
		return val{n: args[0].n + args[1].n}, nil
	case OpVector:
		return val{n: e.vector}, nil
	case OpMma:
		return mma(args), nil
	case OpLoad, OpStore:
		if x.ofFragment() {
			return e.fragment(x, args)
		}
		return e.access(x, args)
	}
	if x.Kind == Int {
		n, ok := e.integer(x, args)
		if !ok {
			return val{}, fmt.Errorf("kernel %s: %s of integers", e.Name, x.Op)
		}
		return val{n: n}, nil
	}
	if x.Op == OpMust {
		for _, t := range args[0].lanes[:e.active] {
			e.failed = e.failed || t == 0
		}
		return val{}, nil
	}
	out := val{lanes: make([]uint64, e.Lanes)}
	for i := range out.lanes {
		if x.Op == OpSwap {
			out.lanes[i] = args[0].lanes[i^int(x.N)]
			continue
		}
		n := uint64(args[0].n)
		if x.Op == OpLane {
			n += uint64(i)
		}
		if x.Op == OpLane || x.Op == OpSplat {
			if out.lanes[i] = n; x.Kind == I32 {
				out.lanes[i] = uint64(uint32(n))
			}
			continue
		}
		var a [3]uint64
		for j := range args {
			a[j] = args[j].lanes[i]
		}
		if x.Op == OpQuo {
			out.lanes[i] = e.quotient(x, a[0])
			continue
		}
		var ok bool
		if out.lanes[i], ok = lane(x, a); !ok {
			return val{}, fmt.Errorf("kernel %s: %s makes no %s", e.Name, x.Op, x.Kind)
		}
	}
	return out, nil
}

// integer computes a single integer.
func (e *evaluator) integer(x *Value, args []val) (int64, bool) {
	a := args[0].n
	if x.Op == OpQuo {
		return int64(e.quotient(x, uint64(a))), true
	}
	b := args[1].n
	truth := func(v bool) (int64, bool) {
		if v {
			return 1, true
		}
		return 0, true
	}
	switch x.Op {
	case OpAdd:
		return a + b, true
	case OpMul:
		return a * b, true
	case OpClamp:
		if a < 0 || a >= b {
			a = 0
		}
		return a, true
	case OpSelect:
		if a != 0 {
			return b, true
		}
		return args[2].n, true
	case OpBelow:
		return truth(a >= 0 && a < b)
	case OpEq:
		return truth(a == b)
	case OpNe:
		return truth(a != b)
	case OpLt:
		return truth(a < b)
	case OpLe:
		return truth(a <= b)
	case OpGt:
		return truth(a > b)
	case OpGe:
		return truth(a >= b)
	}
	return 0, false
}

// quotient is what OpQuo gives.
func (e *evaluator) quotient(x *Value, a uint64) uint64 {
	return quotientBy(e.Numbers[x.N], a)
}

// quotientBy divides by a Divisor.
func quotientBy(divisor int64, a uint64) uint64 {
	d := uint64(divisor)
	return uint64(uint32(a)) * uint64(uint32(d)) >> (d >> 32)
}

func (e *evaluator) access(x *Value, args []val) (val, error) {
	at, step := args[0].n, int64(1)
	switch x.Access {
	case Strided:
		step = e.Numbers[x.N]
	case One:
		m, err := e.element(x, at+args[1].n)
		switch {
		case err != nil:
			return val{}, err
		case x.Op == OpStore:
			write(x.Buf.DType, m, args[2].lanes[0])
			return val{}, nil
		case x.Kind == Int:
			v := int64(read(x.Buf.DType, m))
			if x.Buf.DType == tensor.I32 {
				v = int64(int32(v))
			}
			return val{n: v}, nil
		}
		return e.splat(read(x.Buf.DType, m)), nil
	}
	out := val{lanes: make([]uint64, e.Lanes)}
	for i := range e.active {
		if n := len(args); (x.Op == OpLoad && n == 3 || n == 4) && args[n-1].lanes[i] == 0 {
			continue
		}
		off := args[1].n + int64(i)*step
		if x.Access == Listed {
			off = int64(args[1].lanes[i])
			if x.Args[1].Kind == I32 {
				off = int64(int32(off))
			}
		}
		m, err := e.element(x, at+off)
		switch {
		case err != nil:
			return val{}, err
		case x.Op == OpLoad:
			out.lanes[i] = read(x.Buf.DType, m)
		default:
			write(x.Buf.DType, m, args[2].lanes[i])
		}
	}
	return out, nil
}

// read gives the bits that an element has as a lane.
func read(d tensor.DType, m []byte) uint64 {
	t, err := tensor.FromBytes(d, []int64{1}, m)
	switch {
	case err != nil:
		panic(err)
	case d == tensor.F32 || d == tensor.I32:
		return uint64(binary.LittleEndian.Uint32(m))
	case d == tensor.F64 || d == tensor.I64:
		return binary.LittleEndian.Uint64(m)
	case d == tensor.Bool:
		return uint64(t.Int(0))
	case d.IsInt():
		return uint64(floatBits(float32(t.Int(0))))
	}
	return uint64(floatBits(float32(t.Float(0))))
}

func write(d tensor.DType, m []byte, bits uint64) {
	t, err := tensor.FromBytes(d, []int64{1}, m)
	switch {
	case err != nil:
		panic(err)
	case d == tensor.F32 || d == tensor.I32:
		binary.LittleEndian.PutUint32(m, uint32(bits))
	case d == tensor.F64 || d == tensor.I64:
		binary.LittleEndian.PutUint64(m, bits)
	case d == tensor.Bool:
		t.SetBool(0, bits != 0)
	case d.IsInt():
		t.SetInt(0, int64(math.Float32frombits(uint32(bits))))
	default:
		t.SetFloat(0, float64(math.Float32frombits(uint32(bits))))
	}
}

// fma32 is x*y + z, rounded once: the sum in f64 is rounded to odd, so that rounding it to f32
// rounds what it stands for.
func fma32(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z) // exact
	s := p + c
	if math.IsInf(s, 0) || s != s {
		return float32(s)
	}
	b := s - p
	rest := (p - (s - b)) + (c - b)
	if bits := math.Float64bits(s); rest != 0 && bits&1 == 0 {
		if (rest > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}
