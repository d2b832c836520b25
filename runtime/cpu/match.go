package cpu

import (
	"maps"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// product is a stage that sums products of two loads, Out[b, m, n] = sum(k) A * B, where
// every axis takes part in both addresses linearly: matrix products of any layout,
// batched or not, and convolutions, whose rows are just another way to step through
// the operand. Axes that both factors use are batch (spatial) or k (reduced); those that
// one factor uses are rows m, of A, or columns n, of B.
type product struct {
	a, b  operand
	out   *ir.Buffer
	batch []loop
	m, n  []loop // spatial loops of A alone, of B alone
	k     []loop
}

// loop is an axis with its extent and the step it takes through A, B and Out.
type loop struct {
	extent    int64
	a, b, out int64
}

// operand is a factor: its buffer and the address at the origin of all axes.
type operand struct {
	buf  *ir.Buffer
	base int64
	step map[*ir.Axis]int64
	pad  *padding // nil: loads are never outside
}

// padding says that a load is guarded: outside the operand it counts as 0. lo and size
// are the range of positions along each dim that is read.
type padding struct{ lo, size []int64 }

// match recognises a product.
func match(s *interp.Stage) (*product, bool) {
	if s.Kind != ir.ReduceStage || s.Monoid != ir.Sum || s.Out().DType != tensor.F32 && s.Out().DType != tensor.F64 || s.Exprs[0].Op != ir.OpMul {
		return nil, false
	}
	a, ok := factor(s, s.Exprs[0].Args[0])
	if !ok {
		return nil, false
	}
	b, ok := factor(s, s.Exprs[0].Args[1])
	if !ok {
		return nil, false
	}
	p, ok := nest(s, a, b)
	if ok && (b.pad != nil || a.pad == nil && total(p.n) < nr) { // factors commute
		p, ok = nest(s, b, a)
	}
	if !ok || p.b.pad != nil {
		return nil, false
	}
	work := times(total(p.m), total(p.n), total(p.k))
	small := total(p.n) < nr || work < 512 || total(p.batch) < 1 // the closures are as fast
	return p, !small && times(work, total(p.batch)) < far
}

// nest sorts the axes by the factors that use them.
func nest(s *interp.Stage, a, b operand) (*product, bool) {
	p := &product{a: a, b: b, out: s.Out()}
	stride := int64(1)
	for i := len(s.Axes) - 1; i >= 0; i-- {
		ax := s.Axes[i]
		n, ok := extent(s, ax)
		if !ok || n != s.Shape(p.out)[i] {
			return nil, false
		}
		l := []loop{{n, a.step[ax], b.step[ax], stride}}
		switch inA, inB := uses(a, ax), uses(b, ax); {
		case inA && !inB:
			p.m = append(l, p.m...)
		case inB && !inA:
			p.n = append(l, p.n...)
		default:
			p.batch = append(l, p.batch...)
		}
		stride *= n
	}
	for _, ax := range s.Red {
		n, ok := extent(s, ax)
		if !ok {
			return nil, false
		}
		p.k = append(p.k, loop{n, a.step[ax], b.step[ax], 0})
	}
	return p, true
}

func uses(o operand, a *ir.Axis) bool { _, ok := o.step[a]; return ok }

// extent is the extent of an axis; false for one that is not moderate.
func extent(s *interp.Stage, a *ir.Axis) (int64, bool) {
	n, err := a.Extent.Eval(s.Symbol)
	return n, err == nil && moderate(n)
}

// far bounds the numbers in addresses: with less, nothing on the way overflows.
const far = 1 << 40

func moderate(n int64) bool { return -far <= n && n <= far }

// times is a product of numbers that are not negative, far at most.
func times(list ...int64) int64 {
	p := 1.0
	for _, n := range list {
		p *= float64(n)
	}
	return int64(min(p, far))
}

// total is the number of positions of a nest of loops, far at most.
func total(list []loop) int64 {
	n := int64(1)
	for _, l := range list {
		n = times(n, l.extent)
	}
	return n
}

// factor recognises a load with linear indices, guarded against the border or not, whose
// element type is the one that is summed.
func factor(s *interp.Stage, x *ir.Scalar) (operand, bool) {
	var guard *ir.Scalar
	if x.Op == ir.OpGuard {
		z := x.Args[2]
		if z.Op != ir.OpLit || z.Lit.Float(0) != 0 {
			return operand{}, false
		}
		guard, x = x.Args[0], x.Args[1]
	}
	if x.Op != ir.OpLoad || x.Buf.DType != s.Out().DType {
		return operand{}, false
	}
	o := operand{buf: x.Buf, step: map[*ir.Axis]int64{}}
	shape := s.Shape(o.buf)
	lower, upper := make([]bool, len(shape)), make([]bool, len(shape))
	if guard != nil && !borders(s, guard, x, lower, upper) {
		return o, false
	}
	lo, size := make([]int64, len(shape)), make([]int64, len(shape))
	forms := make([]linear, len(shape))
	inside := true
	for i, ix := range x.Args {
		f, ok := linearOf(s, ix)
		if !ok {
			return o, false
		}
		forms[i] = f
		least, most := f.c, f.c
		for ax, k := range f.k {
			n, ok := extent(s, ax)
			reach, ok2 := mul(k, n-1)
			if !ok || !ok2 || n < 1 {
				return o, false
			}
			least += min(reach, 0)
			most += max(reach, 0)
		}
		if least < 0 && !lower[i] || most >= shape[i] && !upper[i] { // out of range: the closures say so
			return o, false
		}
		lo[i], size[i] = least, most-least+1
		inside = inside && least >= 0 && most < shape[i]
	}
	if !inside {
		if times(size...) > 1<<16+4*times(shape...) {
			return o, false // mostly border: not worth a copy
		}
		o.pad = &padding{lo, size}
	}
	room := s.Room(o.buf)
	if o.pad != nil {
		room = size
	}
	stride := int64(1)
	for i := len(room) - 1; i >= 0; i-- {
		c := forms[i].c
		if o.pad != nil {
			c -= lo[i]
		}
		o.base += c * stride
		for ax, k := range forms[i].k {
			o.step[ax] += k * stride
		}
		stride *= room[i]
	}
	return o, true
}

// borders says whether a condition is made of comparisons of the load's own indices with
// 0 and with the extents of their dims, joined by "and". lower and upper tell which of
// these there are: outside of one of them the condition fails, inside of all it holds.
func borders(s *interp.Stage, cond, load *ir.Scalar, lower, upper []bool) bool {
	switch cond.Op {
	case ir.OpAnd:
		return borders(s, cond.Args[0], load, lower, upper) && borders(s, cond.Args[1], load, lower, upper)
	case ir.OpGe, ir.OpLt:
		i := indexOf(s, cond.Args[0], load.Args)
		bound, ok := linearOf(s, cond.Args[1])
		if i < 0 || !ok || len(bound.k) > 0 {
			return false
		}
		if cond.Op == ir.OpGe {
			lower[i] = true
			return bound.c == 0
		}
		upper[i] = true
		return bound.c == s.Shape(load.Buf)[i]
	}
	return false
}

// indexOf finds the index of a load that is always x.
func indexOf(s *interp.Stage, x *ir.Scalar, index []*ir.Scalar) int {
	want, ok := linearOf(s, x)
	for i, ix := range index {
		if f, ok2 := linearOf(s, ix); ok && ok2 && f.c == want.c && maps.Equal(f.k, want.k) {
			return i
		}
	}
	return -1
}

// linear is c + Σ k·axis. All of its numbers are moderate.
type linear struct {
	c int64
	k map[*ir.Axis]int64
}

func linearOf(s *interp.Stage, x *ir.Scalar) (linear, bool) {
	switch x.Op {
	case ir.OpLit:
		n := x.Lit.Int(0)
		return linear{c: n}, moderate(n)
	case ir.OpSym:
		n, err := x.Sym.Eval(s.Symbol)
		return linear{c: n}, err == nil && moderate(n)
	case ir.OpAxis:
		return linear{k: map[*ir.Axis]int64{x.Axis: 1}}, true
	case ir.OpBcast:
		dim, ok := linearOf(s, x.Args[1])
		extent, ok2 := linearOf(s, x.Args[2])
		switch {
		case !ok || !ok2 || len(dim.k) > 0 || len(extent.k) > 0:
			return linear{}, false
		case dim.c == extent.c:
			return linearOf(s, x.Args[0])
		}
		return linear{}, dim.c == 1 // shapes that do not broadcast: the closures say so
	case ir.OpAdd, ir.OpSub, ir.OpMul:
		a, ok := linearOf(s, x.Args[0])
		b, ok2 := linearOf(s, x.Args[1])
		switch {
		case !ok || !ok2:
			return linear{}, false
		case x.Op == ir.OpAdd:
			return combine(a, b, 1)
		case x.Op == ir.OpSub:
			return combine(a, b, -1)
		case len(b.k) == 0:
			return combine(linear{}, a, b.c)
		case len(a.k) == 0:
			return combine(linear{}, b, a.c)
		}
	}
	return linear{}, false
}

// combine is a + f·b, if that is moderate.
func combine(a, b linear, f int64) (linear, bool) {
	c, good := mul(f, b.c)
	out := linear{c: a.c + c, k: maps.Clone(a.k)}
	for ax, k := range b.k {
		n, ok := mul(f, k)
		if out.k == nil {
			out.k = map[*ir.Axis]int64{}
		}
		out.k[ax] += n
		good = good && ok && moderate(out.k[ax])
		if out.k[ax] == 0 {
			delete(out.k, ax)
		}
	}
	return out, good && moderate(out.c)
}

// mul multiplies moderate numbers; it is false where the product is none.
func mul(a, b int64) (int64, bool) {
	p := float64(a) * float64(b)
	return a * b, -far <= p && p <= far
}
