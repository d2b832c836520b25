package kernel

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/pitopt/pitopt/core/tensor"
)

func floatBits(v float32) uint32 { return math.Float32bits(v) }

// Run evaluates the kernel on a piece of its box, in the order in which values stand. memory is
// that of each buffer. It says what a kernel means, and is made to be plain.
func (b *Bound) Run(memory [][]byte, ranges []int64) error {
	e := &evaluator{Bound: b, memory: memory, ranges: ranges, vals: map[*Value]val{}, active: b.Lanes}
	return e.block(b.Body)
}

// val is the value of one: an integer, the element of an address, or bits of lanes.
type val struct {
	n     int64
	lanes []uint32
}

type evaluator struct {
	*Bound
	memory [][]byte
	ranges []int64
	vals   map[*Value]val
	active int // lanes
}

func (e *evaluator) splat(bits uint32) val {
	v := val{lanes: make([]uint32, e.Lanes)}
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
		return e.splat(uint32(x.N))
	case OpSize:
		if x.Kind == Int {
			return val{n: e.Numbers[x.N]}
		}
		return e.splat(uint32(e.Numbers[x.N]))
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
		case OpBarrier: // an operation is one of all lanes
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
				next.lanes = append(append([]uint32(nil), next.lanes[:e.active]...), carried[i].lanes[e.active:]...)
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
	case OpLoad, OpStore:
		return e.access(x, args)
	}
	if x.Kind == Int {
		switch x.Op {
		case OpAdd:
			return val{n: args[0].n + args[1].n}, nil
		case OpMul:
			return val{n: args[0].n * args[1].n}, nil
		}
		return val{}, fmt.Errorf("kernel %s: %s of integers", e.Name, x.Op)
	}
	out := val{lanes: make([]uint32, e.Lanes)}
	for i := range out.lanes {
		if x.Op == OpSwap {
			out.lanes[i] = args[0].lanes[i^int(x.N)]
			continue
		}
		var a [3]uint32
		for j := range args {
			a[j] = args[j].lanes[i]
		}
		var ok bool
		if out.lanes[i], ok = lane(x, a); !ok {
			return val{}, fmt.Errorf("kernel %s: %s makes no %s", e.Name, x.Op, x.Kind)
		}
	}
	return out, nil
}

func (e *evaluator) access(x *Value, args []val) (val, error) {
	at, step := args[0].n+args[1].n, int64(1)
	switch x.Access {
	case Strided:
		step = e.Numbers[x.N]
	case One:
		m, err := e.element(x, at)
		switch {
		case err != nil:
			return val{}, err
		case x.Op == OpLoad:
			return e.splat(read(x.Buf.DType, m)), nil
		}
		write(x.Buf.DType, m, args[2].lanes[0])
		return val{}, nil
	}
	out := val{lanes: make([]uint32, e.Lanes)}
	for i := range e.active {
		m, err := e.element(x, at+int64(i)*step)
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
func read(d tensor.DType, m []byte) uint32 {
	t, err := tensor.FromBytes(d, []int64{1}, m)
	switch {
	case err != nil:
		panic(err)
	case d == tensor.F32:
		return binary.LittleEndian.Uint32(m)
	case d == tensor.Bool:
		return uint32(t.Int(0))
	case d.IsInt():
		return floatBits(float32(t.Int(0)))
	}
	return floatBits(float32(t.Float(0)))
}

func write(d tensor.DType, m []byte, bits uint32) {
	t, err := tensor.FromBytes(d, []int64{1}, m)
	switch {
	case err != nil:
		panic(err)
	case d == tensor.F32:
		binary.LittleEndian.PutUint32(m, bits)
	case d == tensor.Bool:
		t.SetBool(0, bits != 0)
	case d.IsInt():
		t.SetInt(0, int64(math.Float32frombits(bits)))
	default:
		t.SetFloat(0, float64(math.Float32frombits(bits)))
	}
}

// lane computes one lane.
func lane(x *Value, a [3]uint32) (uint32, bool) {
	truth := func(v bool) uint32 {
		if v {
			return 1
		}
		return 0
	}
	if x.Op == OpSelect {
		if a[0] != 0 {
			return a[1], true
		}
		return a[2], true
	}
	of := x.Kind
	if len(x.Args) > 0 {
		of = x.Args[0].Kind
	}
	f, g, h := math.Float32frombits(a[0]), math.Float32frombits(a[1]), math.Float32frombits(a[2])
	switch of {
	case F32:
		var r float32
		switch x.Op {
		case OpAdd:
			r = f + g
		case OpSub:
			r = f - g
		case OpMul:
			r = f * g
		case OpDiv:
			r = f / g
		case OpFma:
			r = fma32(f, g, h)
		case OpNeg:
			return a[0] ^ 1<<31, true
		case OpAbs:
			return a[0] &^ (1 << 31), true
		case OpSqrt:
			r = float32(math.Sqrt(float64(f)))
		case OpLesser:
			r = g
			if f < g {
				r = f
			}
		case OpGreater:
			r = g
			if f > g {
				r = f
			}
		case OpFloor:
			r = float32(math.Floor(float64(f)))
		case OpCeil:
			r = float32(math.Ceil(float64(f)))
		case OpRound:
			r = float32(math.RoundToEven(float64(f)))
		case OpTrunc:
			r = float32(math.Trunc(float64(f)))
		case OpHalf:
			r = float32(tensor.RoundTo(tensor.F16, float64(f), tensor.CastOpts{}))
		case OpScale:
			r = float32(math.Ldexp(float64(f), int(int32(a[1]))))
		case OpEq:
			return truth(f == g), true
		case OpNe:
			return truth(f != g), true
		case OpLt:
			return truth(f < g), true
		case OpLe:
			return truth(f <= g), true
		case OpGt:
			return truth(f > g), true
		case OpGe:
			return truth(f >= g), true
		case OpBits:
			return a[0], true
		case OpNear:
			n := math.RoundToEven(float64(f))
			if !(n >= math.MinInt32 && n <= math.MaxInt32) {
				return 1 << 31, true
			}
			return uint32(int32(n)), true
		default:
			return 0, false
		}
		return math.Float32bits(r), true
	case I32:
		switch x.Op {
		case OpAdd:
			return a[0] + a[1], true
		case OpSub:
			return a[0] - a[1], true
		case OpMul:
			return a[0] * a[1], true
		case OpAnd:
			return a[0] & a[1], true
		case OpOr:
			return a[0] | a[1], true
		case OpXor:
			return a[0] ^ a[1], true
		case OpShl:
			return a[0] << x.N, true
		case OpShr:
			return a[0] >> x.N, true
		case OpSar:
			return uint32(int32(a[0]) >> x.N), true
		case OpEq:
			return truth(a[0] == a[1]), true
		case OpNe:
			return truth(a[0] != a[1]), true
		case OpLt:
			return truth(int32(a[0]) < int32(a[1])), true
		case OpLe:
			return truth(int32(a[0]) <= int32(a[1])), true
		case OpGt:
			return truth(int32(a[0]) > int32(a[1])), true
		case OpGe:
			return truth(int32(a[0]) >= int32(a[1])), true
		case OpFloat:
			return math.Float32bits(float32(int32(a[0]))), true
		case OpBits:
			return a[0], true
		}
	case Mask:
		switch x.Op {
		case OpAnd:
			return a[0] & a[1], true
		case OpOr:
			return a[0] | a[1], true
		case OpXor, OpNe:
			return a[0] ^ a[1], true
		case OpNot:
			return 1 - a[0], true
		case OpEq:
			return 1 - a[0] ^ a[1], true
		}
	}
	return 0, false
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
