package kernel

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/core/tensor"
)

// GoLanes is how many lanes kernels are to have that portable Go runs: what finding out what to do costs is divided by them.
const GoLanes = 32

// Compiled is a kernel for portable Go: each operation is a loop over lanes. It gives the bits of Bound.Run, and as machine
// code looks at no bound: what it may read and write is what Bind and Verify say.
type Compiled struct {
	*Kernel
	body          []step
	presets       []step // constants, sizes and ranges, in order
	vectors, ints int
}

// Frame is what a call of compiled kernels works with, on one thread.
type Frame struct {
	memory          []unsafe.Pointer // by buffer
	numbers, ranges []int64
	ints            []int64
	vectors         []vector
	active          int // lanes
	failed          bool
}

// vector has the lanes of a value: of 32 bits each in the first half, or of 64.
type vector [2 * GoLanes]uint32

type step func(f *Frame)

type (
	bits32   = [GoLanes]uint32
	floats32 = [GoLanes]float32
	ints32   = [GoLanes]int32
	bits64   = [GoLanes]uint64
)

func (f *Frame) bits(v int) *bits32     { return (*bits32)(f.vectors[v][:GoLanes]) }
func (f *Frame) floats(v int) *floats32 { return (*floats32)(unsafe.Pointer(&f.vectors[v])) }
func (f *Frame) whole(v int) *ints32    { return (*ints32)(unsafe.Pointer(&f.vectors[v])) }
func (f *Frame) long(v int) *bits64     { return (*bits64)(unsafe.Pointer(&f.vectors[v])) }

// Run computes a piece of the box of a kernel that is bound to sizes; memory is where its buffers lie. It says whether the call has failed
// as OpMust has it.
func (c *Compiled) Run(f *Frame, b *Bound, memory []unsafe.Pointer, ranges []int64) (failed bool) {
	if len(f.vectors) < c.vectors {
		f.vectors = make([]vector, c.vectors)
	}
	if len(f.ints) < c.ints {
		f.ints = make([]int64, c.ints)
	}
	f.memory, f.numbers, f.ranges, f.active, f.failed = memory, b.Numbers, ranges, GoLanes, false
	for _, s := range c.presets {
		s(f)
	}
	for _, s := range c.body {
		s(f)
	}
	f.memory, f.numbers, f.ranges = nil, nil, nil
	return f.failed
}

// Compile makes Go of a kernel of GoLanes lanes, or says why it can not.
func Compile(k *Kernel) (c *Compiled, err error) {
	if k.Lanes != GoLanes || k.Group > 0 {
		return nil, fmt.Errorf("kernel %s has %d lanes and groups of %d vectors: Go runs vectors of %d by themselves", k.Name, k.Lanes, k.Group, GoLanes)
	}
	c = &Compiled{Kernel: k}
	g := &goCompiler{Compiled: c, places: map[*Value]int{}, buffers: map[*Buffer]int{}}
	for i, b := range k.Buffers {
		g.buffers[b] = i
	}
	c.body = g.block(k.Body, nil)
	return c, g.err
}

type goCompiler struct {
	*Compiled
	places  map[*Value]int // registers
	buffers map[*Buffer]int
	free    []int // vectors
	err     error
}

func (g *goCompiler) fail(x *Value) step {
	if g.err == nil {
		g.err = fmt.Errorf("kernel %s: Go has no %s of %s", g.Name, x.Op, x.Kind)
	}
	return nil
}

func single(k Kind) bool { return k == Int || k == Addr }

// take gives a value a register.
func (g *goCompiler) take(x *Value) int {
	var at int
	switch {
	case single(x.Kind):
		at = g.ints
		g.ints++
	case len(g.free) > 0:
		at = g.free[len(g.free)-1]
		g.free = g.free[:len(g.free)-1]
	default:
		at = g.vectors
		g.vectors++
	}
	g.places[x] = at
	return at
}

// of is where a value is; what stands in no block is there from the start.
func (g *goCompiler) of(x *Value) int {
	if at, ok := g.places[x]; ok {
		return at
	}
	n := x.N
	var at int
	if single(x.Kind) {
		at = g.take(x)
	} else {
		at = g.vectors // a register of its own
		g.vectors++
		g.places[x] = at
	}
	splat := func(v func(f *Frame) uint64) step {
		if x.Kind.Wide() {
			return func(f *Frame) { fillLanes(f.long(at)[:], v(f)) }
		}
		return func(f *Frame) { fillLanes(f.bits(at)[:], uint32(v(f))) }
	}
	var s step
	switch {
	case x.Op == OpConst && x.Kind == Int:
		s = func(f *Frame) { f.ints[at] = n }
	case x.Op == OpConst:
		if rows, _ := x.Kind.Fragment(); rows > 0 {
			g.fail(x)
		}
		s = splat(func(*Frame) uint64 { return uint64(n) })
	case x.Op == OpSize && x.Kind == Int:
		s = func(f *Frame) { f.ints[at] = f.numbers[n] }
	case x.Op == OpSize:
		s = splat(func(f *Frame) uint64 { return uint64(f.numbers[n]) })
	case x.Op == OpLo:
		s = func(f *Frame) { f.ints[at] = f.ranges[2*n] }
	case x.Op == OpHi:
		s = func(f *Frame) { f.ints[at] = f.ranges[2*n+1] }
	case x.Op == OpBase:
		s = func(f *Frame) { f.ints[at] = 0 }
	default:
		s = g.fail(x)
	}
	g.presets = append(g.presets, s)
	return at
}

func fillLanes[T any](to []T, v T) {
	for i := range to {
		to[i] = v
	}
}

// uses calls f for all values that one reads, and those that its loop does.
func uses(x *Value, f func(*Value)) {
	for _, a := range x.Args {
		f(a)
	}
	if x.Op != OpLoop {
		return
	}
	l := x.Loop
	f(l.Lo)
	f(l.Hi)
	for _, c := range l.Carries {
		f(c.Init)
		f(c.Out)
	}
	for _, y := range l.Body.List {
		uses(y, f)
	}
}

// block compiles values. A register is free again behind the last use of its value in the block that computes it; those of more are in use at its end.
func (g *goCompiler) block(b *Block, more []Carry) (out []step) {
	last := map[*Value]int{}
	for i, x := range b.List {
		last[x] = i
		if x.Op == OpLoop {
			for _, c := range x.Loop.Carries {
				last[c.End] = i
			}
		}
		uses(x, func(y *Value) {
			if _, ours := last[y]; ours {
				last[y] = i
			}
		})
	}
	for _, c := range more {
		if _, ours := last[c.Out]; ours {
			last[c.Out] = len(b.List)
		}
	}
	ends := make([][]*Value, len(b.List)+1)
	ending := func(x *Value) {
		if i, ok := last[x]; ok && x.Op != OpLoop && x.Kind != None && !single(x.Kind) && !slices.Contains(ends[i], x) {
			ends[i] = append(ends[i], x)
		}
	}
	for _, x := range b.List { // in order: a kernel has the same registers each time
		ending(x)
		if x.Op == OpLoop {
			for _, c := range x.Loop.Carries {
				ending(c.End)
			}
		}
	}
	swapped := false
	for i, x := range b.List {
		switch {
		case swapped:
			swapped = false
		case i+1 < len(b.List) && last[x] == i+1:
			if s := g.folded(x, b.List[i+1]); s != nil {
				out, swapped = append(out, s), true
				continue
			}
			fallthrough
		default:
			if s := g.value(x); s != nil {
				out = append(out, s)
			}
		}
		for _, y := range ends[i] {
			if at, ok := g.places[y]; ok {
				g.free = append(g.free, at)
			}
		}
	}
	for _, y := range ends[len(b.List)] { // what is carried is copied behind the block
		defer func() { g.free = append(g.free, g.places[y]) }()
	}
	return out
}

func (g *goCompiler) value(x *Value) step {
	switch x.Op {
	case OpLoop:
		return g.loop(x.Loop)
	case OpFetch:
		return nil
	case OpBarrier:
		if x.N == 1 {
			return g.fail(x)
		}
		return nil
	case OpLoad, OpStore:
		return g.access(x)
	}
	var a [3]int
	if len(x.Args) > 3 || len(x.Args) < 1 {
		return g.fail(x)
	}
	for i, y := range x.Args {
		a[i] = g.of(y)
	}
	d := g.take(x)
	if x.Op == OpIndex {
		return func(f *Frame) { f.ints[d] = f.ints[a[0]] + f.ints[a[1]] }
	}
	if x.Kind == Int {
		return g.integer(x, d, a)
	}
	return g.lanes(x, d, a)
}

// integer computes a single integer.
func (g *goCompiler) integer(x *Value, d int, a [3]int) step {
	n := x.N
	truth := func(is func(a, b int64) bool) step {
		return func(f *Frame) {
			if f.ints[d] = 0; is(f.ints[a[0]], f.ints[a[1]]) {
				f.ints[d] = 1
			}
		}
	}
	switch x.Op {
	case OpQuo:
		return func(f *Frame) { f.ints[d] = int64(quotientBy(f.numbers[n], uint64(f.ints[a[0]]))) }
	case OpAdd:
		return func(f *Frame) { f.ints[d] = f.ints[a[0]] + f.ints[a[1]] }
	case OpMul:
		return func(f *Frame) { f.ints[d] = f.ints[a[0]] * f.ints[a[1]] }
	case OpClamp:
		return func(f *Frame) {
			v := f.ints[a[0]]
			if v < 0 || v >= f.ints[a[1]] {
				v = 0
			}
			f.ints[d] = v
		}
	case OpSelect:
		return func(f *Frame) {
			if f.ints[a[0]] != 0 {
				f.ints[d] = f.ints[a[1]]
			} else {
				f.ints[d] = f.ints[a[2]]
			}
		}
	case OpBelow:
		return truth(func(a, b int64) bool { return a >= 0 && a < b })
	case OpEq:
		return truth(func(a, b int64) bool { return a == b })
	case OpNe:
		return truth(func(a, b int64) bool { return a != b })
	case OpLt:
		return truth(func(a, b int64) bool { return a < b })
	case OpLe:
		return truth(func(a, b int64) bool { return a <= b })
	case OpGt:
		return truth(func(a, b int64) bool { return a > b })
	case OpGe:
		return truth(func(a, b int64) bool { return a >= b })
	}
	return g.fail(x)
}

// loop compiles a loop. What is carried stays in one register, which is that of its end.
func (g *goCompiler) loop(l *Loop) step {
	lo, hi, at := g.of(l.Lo), g.of(l.Hi), g.take(l.Var)
	type carry struct {
		from, to, next, held int
		kind                 Kind
	}
	carries := make([]carry, len(l.Carries))
	for i, c := range l.Carries {
		carries[i] = carry{from: g.of(c.Init), kind: c.In.Kind}
		carries[i].to = g.take(c.In)
		g.places[c.End] = carries[i].to
	}
	g.places[l.End] = at
	body := g.block(l.Body, l.Carries)
	for i, c := range l.Carries { // next values are copied together, by way of another register where one is still to be read
		carries[i].next = g.of(c.Out)
		carries[i].held = carries[i].next
	}
	for i := range carries {
		for j := range carries {
			if i != j && single(carries[i].kind) == single(carries[j].kind) && carries[i].next == carries[j].to {
				g.free = nil // none that is still to be read
				carries[i].held = g.take(&Value{Kind: carries[i].kind})
			}
		}
	}
	width, tail := l.Step, l.Tail
	move := func(f *Frame, k Kind, to, from, n int) {
		switch {
		case to == from:
		case single(k):
			f.ints[to] = f.ints[from]
		case k.Wide():
			copy(f.long(to)[:n], f.long(from)[:n])
		default:
			copy(f.bits(to)[:n], f.bits(from)[:n])
		}
	}
	return func(f *Frame) {
		for i := range carries {
			c := &carries[i]
			move(f, c.kind, c.to, c.from, GoLanes)
		}
		v, end, outer := f.ints[lo], f.ints[hi], f.active
		for ; v+width <= end || tail && v < end; v += width {
			if width > 1 {
				f.active = int(min(end-v, GoLanes))
			}
			f.ints[at] = v
			for _, s := range body {
				s(f)
			}
			for i := range carries {
				c := &carries[i]
				move(f, c.kind, c.held, c.next, GoLanes)
			}
			for i := range carries {
				c := &carries[i]
				move(f, c.kind, c.to, c.held, f.active)
			}
			f.active = outer
		}
		f.ints[at] = v
	}
}

// access compiles loads and stores.
func (g *goCompiler) access(x *Value) step {
	if x.ofFragment() {
		return g.fail(x)
	}
	base, index, buf := g.of(x.Args[0]), g.of(x.Args[1]), g.buffers[x.Buf]
	size := int64(x.Buf.DType.Bits()) / 8
	args, mask, from := x.Args[2:], -1, -1
	if x.Op == OpStore {
		from, args = g.of(args[0]), args[1:]
	}
	if len(args) > 0 {
		mask = g.of(args[0])
	}
	dtype, n := x.Buf.DType, x.N
	get, put := reader(dtype), writer(dtype)
	wide := x.Kind.Wide()
	if x.Op == OpStore {
		wide = x.Args[2].Kind.Wide()
	}
	if x.Access == One {
		at := func(f *Frame) unsafe.Pointer { return unsafe.Add(f.memory[buf], size*(f.ints[base]+f.ints[index])) }
		switch {
		case x.Op == OpStore && wide:
			return func(f *Frame) { put(at(f), f.long(from)[0]) }
		case x.Op == OpStore:
			return func(f *Frame) { put(at(f), uint64(f.bits(from)[0])) }
		}
		d := g.take(x)
		switch {
		case x.Kind == Int && dtype == tensor.I32:
			return func(f *Frame) { f.ints[d] = int64(int32(get(at(f)))) }
		case x.Kind == Int:
			return func(f *Frame) { f.ints[d] = int64(get(at(f))) }
		case wide:
			return func(f *Frame) { fillLanes(f.long(d)[:], get(at(f))) }
		}
		return func(f *Frame) { fillLanes(f.bits(d)[:], uint32(get(at(f)))) }
	}
	direct := x.Access == Contiguous && mask < 0 && (dtype == tensor.F32 || dtype == tensor.I32) && !wide
	beside := func(f *Frame) []uint32 {
		return unsafe.Slice((*uint32)(unsafe.Add(f.memory[buf], size*(f.ints[base]+f.ints[index]))), f.active)
	}
	if direct && x.Op == OpStore {
		return func(f *Frame) { copy(beside(f), f.bits(from)[:]) }
	}
	if direct {
		d := g.take(x)
		return func(f *Frame) {
			to := f.bits(d)
			clear(to[copy(to[:], beside(f)):])
		}
	}
	list := x.Args[1].Kind
	offset := func(f *Frame, i int) int64 { // bytes
		switch {
		case x.Access == Strided:
			return size * (f.ints[base] + f.ints[index] + int64(i)*f.numbers[n])
		case x.Access == Contiguous:
			return size * (f.ints[base] + f.ints[index] + int64(i))
		case list == I32:
			return size * (f.ints[base] + int64(f.whole(index)[i]))
		}
		return size * (f.ints[base] + int64(f.long(index)[i]))
	}
	if x.Op == OpStore {
		return func(f *Frame) {
			for i := range f.active {
				if mask >= 0 && f.bits(mask)[i] == 0 {
					continue
				}
				v := uint64(f.bits(from)[i])
				if wide {
					v = f.long(from)[i]
				}
				put(unsafe.Add(f.memory[buf], offset(f, i)), v)
			}
		}
	}
	d := g.take(x)
	return func(f *Frame) {
		if wide {
			clear(f.long(d)[:])
		} else {
			clear(f.bits(d)[:])
		}
		for i := range f.active {
			if mask >= 0 && f.bits(mask)[i] == 0 {
				continue
			}
			v := get(unsafe.Add(f.memory[buf], offset(f, i)))
			if wide {
				f.long(d)[i] = v
			} else {
				f.bits(d)[i] = uint32(v)
			}
		}
	}
}

// reader and writer are read and write of an element where it lies.
func reader(d tensor.DType) func(unsafe.Pointer) uint64 {
	switch d {
	case tensor.F32, tensor.I32:
		return func(p unsafe.Pointer) uint64 { return uint64(*(*uint32)(p)) }
	case tensor.F64, tensor.I64:
		return func(p unsafe.Pointer) uint64 { return *(*uint64)(p) }
	case tensor.Bool:
		return func(p unsafe.Pointer) uint64 { return uint64(*(*uint8)(p)) }
	case tensor.U8:
		return func(p unsafe.Pointer) uint64 { return uint64(floatBits(float32(*(*uint8)(p)))) }
	case tensor.I8:
		return func(p unsafe.Pointer) uint64 { return uint64(floatBits(float32(*(*int8)(p)))) }
	case tensor.F16:
		return func(p unsafe.Pointer) uint64 { return uint64(floatBits(tensor.F16ToF32(*(*uint16)(p)))) }
	case tensor.BF16:
		return func(p unsafe.Pointer) uint64 { return uint64(*(*uint16)(p)) << 16 }
	}
	size := d.Bits() / 8
	return func(p unsafe.Pointer) uint64 { return read(d, unsafe.Slice((*byte)(p), size)) }
}

func writer(d tensor.DType) func(unsafe.Pointer, uint64) {
	switch d {
	case tensor.F32, tensor.I32:
		return func(p unsafe.Pointer, v uint64) { *(*uint32)(p) = uint32(v) }
	case tensor.F64, tensor.I64:
		return func(p unsafe.Pointer, v uint64) { *(*uint64)(p) = v }
	case tensor.Bool:
		return func(p unsafe.Pointer, v uint64) { *(*uint8)(p) = uint8(v) }
	}
	size := d.Bits() / 8
	return func(p unsafe.Pointer, v uint64) { write(d, unsafe.Slice((*byte)(p), size), v) }
}
