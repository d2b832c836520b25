package interp

import (
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// maxLanes is the largest block of points that a closure computes at once: small
// enough that the intermediate results of a stage stay in the first-level cache.
const maxLanes = 256

// frame is where the evaluation of a stage stands.
type frame struct {
	at   []int64 // position along each axis; along the lane axis, that of lane 0
	tick uint64  // changes whenever at does: what was computed under another tick is stale
	next uint64  // the last tick given out
	err  error   // the first out-of-range access
}

func (f *frame) step() {
	f.next++
	f.tick = f.next
}

// fail keeps the first error.
func (f *frame) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// lanes computes a node for n lanes from the frame's position on. What it returns is
// to be read only, and holds until it is called again.
//
// A node that is the same for all lanes is called with n = 1.
type lanes[T any] func(f *frame, n int) []T

// compiler turns the expressions of one stage into closures.
type compiler struct {
	*Stage
	axisIndex map[*ir.Axis]int
	lane      int // the lane axis, -1 for a stage without axes
	width     int // lanes in a block

	atoms   []atom
	atomIDs map[any]int
	forms   map[*ir.Scalar]form // of i64 nodes
	loads   map[*ir.Scalar]form // addresses of loads

	vary  map[*ir.Scalar]bool
	nodes []*ir.Scalar // each once
	uses  map[*ir.Scalar]int
	scope *scope
	err   error

	bound   []binding // what the closures read and write
	bytes   int64     // that the closures keep
	scratch *scratch  // for values on their way
	cursor  cursor
}

// binding says that some cells are those of a buffer.
type binding struct {
	buffer int
	cells  interface{ bind(*tensor.Tensor) }
}

// access gives the cells of a buffer; which tensor it is says each run.
func access[T tensor.Elem](c *compiler, b *ir.Buffer) *cells[T] {
	to := newCells[T](b.DType)
	c.bound = append(c.bound, binding{c.code.number[b], to})
	return to
}

// scope holds the closures that are evaluated for the same lanes. What a guard guards
// is evaluated for some of the lanes only and has a scope of its own, so that buffers
// do not mix.
type scope struct {
	nodes map[*ir.Scalar]any
	atoms map[int]lanes[int64]
}

func newScope() *scope {
	return &scope{nodes: map[*ir.Scalar]any{}, atoms: map[int]lanes[int64]{}}
}

func (s *Stage) newCompiler(mem *scratch) *compiler {
	c := &compiler{Stage: s, axisIndex: map[*ir.Axis]int{}, atomIDs: map[any]int{},
		forms: map[*ir.Scalar]form{}, loads: map[*ir.Scalar]form{}, vary: map[*ir.Scalar]bool{}, scope: newScope(), err: s.err, scratch: mem}
	for i, a := range s.AllAxes() {
		c.axisIndex[a] = i
	}
	c.uses = eachNode(s.Stage, func(x *ir.Scalar) { c.nodes = append(c.nodes, x) })
	return c
}

// eachNode visits every node of a stage once, however often it is used, and gives the
// number of uses.
func eachNode(s *ir.Stage, f func(*ir.Scalar)) map[*ir.Scalar]int {
	uses := map[*ir.Scalar]int{}
	var visit func(x *ir.Scalar)
	visit = func(x *ir.Scalar) {
		if uses[x]++; uses[x] == 1 {
			f(x)
			for _, a := range x.Args {
				visit(a)
			}
		}
	}
	for _, e := range s.Exprs {
		visit(e)
	}
	for _, e := range s.Index {
		visit(e)
	}
	return uses
}

// fail keeps the first mistake.
func (c *compiler) fail(format string, args ...any) {
	if c.err == nil {
		c.err = c.errorf(format, args...)
	}
}

// eval gives the value of a symbolic integer.
func (c *compiler) eval(e sym.Expr) int64 {
	n, err := e.Eval(c.Symbol)
	if err != nil && c.err == nil {
		c.err = diag.As(err, diag.Run)
	}
	return n
}

// varies says whether a node differs between lanes.
func (c *compiler) varies(x *ir.Scalar) bool {
	v, ok := c.vary[x]
	if !ok {
		if x.DType == tensor.I64 {
			v = c.formVaries(c.formOf(x))
		} else {
			v = c.argsVary(x)
		}
		c.vary[x] = v
	}
	return v
}

func (c *compiler) argsVary(x *ir.Scalar) bool {
	for _, a := range x.Args {
		if c.varies(a) {
			return true
		}
	}
	return false
}

// node gives the closure of a node whose class keeps elements as T.
func node[T tensor.Elem](c *compiler, x *ir.Scalar) lanes[T] {
	fn, ok := c.scope.nodes[x]
	if !ok {
		fn = classOf(x.DType).node(c, x)
		if typed, ok := fn.(lanes[T]); ok && c.uses[x] > 1 && x.Op != ir.OpLit { // a literal has any number of lanes
			fn = once(typed)
		}
		c.scope.nodes[x] = fn
	}
	typed, ok := fn.(lanes[T])
	if !ok {
		c.fail("%s of type %s stands where another type belongs", x.Op, x.DType)
		return none[T]()
	}
	return typed
}

// none stands in for a node that failed to compile; it is never run.
func none[T tensor.Elem]() lanes[T] {
	return func(_ *frame, n int) []T { return make([]T, n) }
}

// once lets a node that is used several times be computed once for each position.
func once[T tensor.Elem](fn lanes[T]) lanes[T] {
	var tick uint64
	var v []T
	return func(f *frame, n int) []T {
		if tick != f.tick {
			v = fn(f, n)
			tick = f.tick
		}
		return v
	}
}

// operand is a node as operand of another one: what is the same for all lanes is
// computed once and repeated.
func operand[T tensor.Elem](c *compiler, x *ir.Scalar) lanes[T] {
	fn := node[T](c, x)
	if c.varies(x) || x.Op == ir.OpLit {
		return fn
	}
	out := room[T](c)
	return func(f *frame, n int) []T {
		v := fn(f, 1)
		if n == 1 {
			return v
		}
		fill(out[:n], v[0])
		return out[:n]
	}
}

func fill[T tensor.Elem](out []T, v T) {
	for i := range out {
		out[i] = v
	}
}

// common compiles what means the same for every class of elements, nil for the rest.
func common[T tensor.Elem](c *compiler, x *ir.Scalar) lanes[T] {
	switch x.Op {
	case ir.OpLit:
		out := literal[T](x.Lit)
		return func(_ *frame, n int) []T { return out[:n] }
	case ir.OpLoad:
		return load[T](c, x)
	case ir.OpGuard:
		return guard[T](c, x)
	case ir.OpSelect:
		cond, a, b, out := operand[bool](c, x.Args[0]), operand[T](c, x.Args[1]), operand[T](c, x.Args[2]), room[T](c)
		return func(f *frame, n int) []T {
			cond, a, b, out := cond(f, n), a(f, n), b(f, n), out[:n]
			for i := range out {
				if cond[i] {
					out[i] = a[i]
				} else {
					out[i] = b[i]
				}
			}
			return out
		}
	case ir.OpCast:
		if x.Args[0].DType == x.DType {
			return operand[T](c, x.Args[0])
		}
		if x.DType == tensor.String || x.Args[0].DType == tensor.String {
			return castText[T](c, x)
		}
	}
	return nil
}

// guard evaluates each side for the runs of lanes that it is taken for.
func guard[T tensor.Elem](c *compiler, x *ir.Scalar) lanes[T] {
	if !c.varies(x.Args[0]) {
		cond, a, b := node[bool](c, x.Args[0]), operand[T](c, x.Args[1]), operand[T](c, x.Args[2])
		return func(f *frame, n int) []T {
			if cond(f, 1)[0] {
				return a(f, n)
			}
			return b(f, n)
		}
	}
	cond, out, lane := node[bool](c, x.Args[0]), room[T](c), c.lane
	outer := c.scope
	c.scope = newScope()
	a := operand[T](c, x.Args[1])
	c.scope = newScope()
	b := operand[T](c, x.Args[2])
	c.scope = outer
	return func(f *frame, n int) []T {
		on := cond(f, n)
		tick := f.tick
		for lo := 0; lo < n; {
			hi, side := lo+1, b
			if on[lo] {
				side = a
			}
			for hi < n && on[hi] == on[lo] {
				hi++
			}
			f.at[lane] += int64(lo)
			f.step()
			copy(out[lo:hi], side(f, hi-lo))
			f.at[lane] -= int64(lo)
			lo = hi
		}
		f.tick = tick
		return out[:n]
	}
}

// map1 applies a function of one operand to every lane.
func map1[T, A tensor.Elem](c *compiler, a lanes[A], op func(A) T) lanes[T] {
	out := room[T](c)
	return func(f *frame, n int) []T {
		a, out := a(f, n), out[:n]
		for i := range out {
			out[i] = op(a[i])
		}
		return out
	}
}

// zip computes a block from two: kernel has the loop.
func zip[T, A tensor.Elem](c *compiler, x *ir.Scalar, kernel func(out []T, a, b []A)) lanes[T] {
	a, b, out := operand[A](c, x.Args[0]), operand[A](c, x.Args[1]), room[T](c)
	return func(f *frame, n int) []T {
		kernel(out[:n], a(f, n), b(f, n))
		return out[:n]
	}
}

// each makes a kernel of a function of two operands.
func each[T, A tensor.Elem](op func(a, b A) T) func(out []T, a, b []A) {
	return func(out []T, a, b []A) {
		for i := range out {
			out[i] = op(a[i], b[i])
		}
	}
}
