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
	a, b       operand
	out        *tensor.Tensor
	batch      []loop
	m, n       []loop // spatial loops of A alone, of B alone
	k          []loop
	outBatch   []int64 // strides of Out along batch, m, n
	outM, outN []int64
}

// loop is an axis with its extent and the step it takes through A and B.
type loop struct {
	extent int64
	a, b   int64
}

// operand is a factor: its data and the address at the origin of all axes.
type operand struct {
	t    *tensor.Tensor
	base int64
	step map[*ir.Axis]int64
	pad  *padding // nil: loads are never outside
}

// padding says that a load is guarded: outside the operand it counts as 0. lo and size
// are the range of positions along each dim that is read.
type padding struct{ lo, size []int64 }

// match recognises a product.
func match(s *interp.Stage) (*product, bool) {
	if s.Kind != ir.ReduceStage || s.Monoid != ir.Sum || s.Out().DType != tensor.F32 && s.Out().DType != tensor.F64 {
		return nil, false
	}
	e := s.Exprs[0]
	if e.Op != ir.OpMul {
		return nil, false
	}
	p := &product{out: s.Buffer(s.Out())}
	var ok bool
	if p.a, ok = factor(s, e.Args[0]); !ok {
		return nil, false
	}
	if p.b, ok = factor(s, e.Args[1]); !ok || p.b.pad != nil {
		return nil, false
	}
	stride := int64(1)
	strides := make([]int64, len(s.Axes))
	for i := len(s.Axes) - 1; i >= 0; i-- {
		strides[i] = stride
		n, err := s.Axes[i].Extent.Eval(s.Symbol)
		if err != nil {
			return nil, false
		}
		stride *= n
	}
	for i, ax := range s.Axes {
		n, _ := ax.Extent.Eval(s.Symbol)
		l := loop{n, p.a.step[ax], p.b.step[ax]}
		switch inA, inB := uses(p.a, ax), uses(p.b, ax); {
		case inA && !inB:
			p.m, p.outM = append(p.m, l), append(p.outM, strides[i])
		case inB && !inA:
			p.n, p.outN = append(p.n, l), append(p.outN, strides[i])
		default:
			p.batch, p.outBatch = append(p.batch, l), append(p.outBatch, strides[i])
		}
	}
	for _, ax := range s.Red {
		n, err := ax.Extent.Eval(s.Symbol)
		if err != nil {
			return nil, false
		}
		p.k = append(p.k, loop{n, p.a.step[ax], p.b.step[ax]})
	}
	if total(p.k) == 0 || total(p.m) < 1 || total(p.n) < 4 || total(p.m)*total(p.n)*total(p.k) < 512 {
		return nil, false // the closures are as fast
	}
	return p, true
}

func uses(o operand, a *ir.Axis) bool { _, ok := o.step[a]; return ok }

func total(list []loop) int64 {
	n := int64(1)
	for _, l := range list {
		n *= l.extent
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
	o := operand{t: s.Buffer(x.Buf), step: map[*ir.Axis]int64{}}
	if o.t == nil {
		return o, false
	}
	shape := o.t.Shape()
	lo, size := make([]int64, len(shape)), make([]int64, len(shape))
	forms := make([]linear, len(shape))
	inside := true
	for i, ix := range x.Args {
		f, ok := linearOf(s, ix)
		if !ok {
			return o, false
		}
		forms[i] = f
		min, max := f.c, f.c
		for ax, k := range f.k {
			n, err := ax.Extent.Eval(s.Symbol)
			if err != nil || n < 1 {
				return o, false
			}
			if k > 0 {
				max += k * (n - 1)
			} else {
				min += k * (n - 1)
			}
		}
		lo[i], size[i] = min, max-min+1
		inside = inside && min >= 0 && max < shape[i]
	}
	if !inside {
		// A guard that is true just inside the operand makes the border count as 0. Its
		// condition must be about the indices of the load, nothing else.
		if guard == nil || !bordersOnly(s, guard, x) {
			return o, false
		}
		o.pad = &padding{lo, size}
		shape = size
	} else if guard != nil && !bordersOnly(s, guard, x) {
		return o, false
	}
	stride := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		c := forms[i].c
		if o.pad != nil {
			c -= lo[i]
		}
		o.base += c * stride
		for ax, k := range forms[i].k {
			o.step[ax] += k * stride
		}
		stride *= shape[i]
	}
	return o, true
}

// bordersOnly says whether a condition is made of comparisons of the load's own indices
// with 0 and with the extents of their dims, joined by "and": then it holds just inside
// the operand.
func bordersOnly(s *interp.Stage, cond, load *ir.Scalar) bool {
	switch cond.Op {
	case ir.OpAnd:
		return bordersOnly(s, cond.Args[0], load) && bordersOnly(s, cond.Args[1], load)
	case ir.OpGe:
		z, ok := cond.Args[1].AsInt()
		return ok && z == 0 && indexOf(s, cond.Args[0], load.Args) >= 0
	case ir.OpLt:
		i := indexOf(s, cond.Args[0], load.Args)
		bound, ok := linearOf(s, cond.Args[1])
		return i >= 0 && ok && len(bound.k) == 0 && bound.c == s.Buffer(load.Buf).Shape()[i]
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

// linear is c + Σ k·axis.
type linear struct {
	c int64
	k map[*ir.Axis]int64
}

func linearOf(s *interp.Stage, x *ir.Scalar) (linear, bool) {
	switch x.Op {
	case ir.OpLit:
		return linear{c: x.Lit.Int(0)}, true
	case ir.OpSym:
		n, err := x.Sym.Eval(s.Symbol)
		return linear{c: n}, err == nil
	case ir.OpAxis:
		return linear{k: map[*ir.Axis]int64{x.Axis: 1}}, true
	case ir.OpBcast:
		dim, ok := linearOf(s, x.Args[1])
		extent, ok2 := linearOf(s, x.Args[2])
		switch {
		case ok && ok2 && dim.c == extent.c:
			return linearOf(s, x.Args[0])
		case ok && dim.c == 1:
			return linear{}, true
		}
		return linear{}, false // shapes that do not broadcast: the closures say so
	case ir.OpAdd, ir.OpSub, ir.OpMul:
		a, ok := linearOf(s, x.Args[0])
		b, ok2 := linearOf(s, x.Args[1])
		if !ok || !ok2 {
			return linear{}, false
		}
		switch {
		case x.Op == ir.OpAdd:
			return combine(a, b, 1), true
		case x.Op == ir.OpSub:
			return combine(a, b, -1), true
		case len(b.k) == 0:
			return combine(linear{}, a, b.c), true
		case len(a.k) == 0:
			return combine(linear{}, b, a.c), true
		}
	}
	return linear{}, false
}

// combine is a + f·b.
func combine(a, b linear, f int64) linear {
	out := linear{c: a.c + f*b.c, k: map[*ir.Axis]int64{}}
	for ax, k := range a.k {
		out.k[ax] += k
	}
	for ax, k := range b.k {
		out.k[ax] += f * k
	}
	for ax, k := range out.k {
		if k == 0 {
			delete(out.k, ax)
		}
	}
	return out
}
