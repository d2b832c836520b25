package interp

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// naive evaluates a stage point by point, node by node, straight from the definition.
// It knows i64, f32 and bool.
type naive struct {
	bufs map[*ir.Buffer]*tensor.Tensor
	at   map[*ir.Axis]int64
}

func (e *naive) eval(x *ir.Scalar) any {
	arg := func(i int) any { return e.eval(x.Args[i]) }
	switch x.Op {
	case ir.OpLit:
		switch x.DType {
		case tensor.I64:
			return x.Lit.Int(0)
		case tensor.Bool:
			return x.Lit.Bool(0)
		}
		return float32(x.Lit.Float(0))
	case ir.OpAxis:
		return e.at[x.Axis]
	case ir.OpLoad:
		ix := make([]int64, len(x.Args))
		t := e.bufs[x.Buf]
		for i := range ix {
			ix[i] = arg(i).(int64)
			if ix[i] < 0 || ix[i] >= t.Shape()[i] {
				panic(fmt.Sprintf("index %v of %s", ix, x.Buf.Name))
			}
		}
		if x.DType == tensor.I64 {
			return t.Int(t.At(ix...))
		}
		return float32(t.Float(t.At(ix...)))
	case ir.OpGuard, ir.OpSelect:
		if arg(0).(bool) {
			return arg(1)
		}
		return arg(2)
	case ir.OpCast:
		return float32(arg(0).(int64))
	case ir.OpNeg:
		if v, ok := arg(0).(int64); ok {
			return -v
		}
		return -arg(0).(float32)
	}
	switch a := arg(0).(type) {
	case int64:
		b := arg(1).(int64)
		switch x.Op {
		case ir.OpAdd:
			return a + b
		case ir.OpSub:
			return a - b
		case ir.OpMul:
			return a * b
		case ir.OpFloorDiv:
			return floorDiv(a, b)
		case ir.OpMod:
			return floorMod(a, b)
		case ir.OpDiv:
			if b == 0 {
				return int64(0)
			}
			return a / b
		case ir.OpRem:
			if b == 0 {
				return int64(0)
			}
			return a % b
		case ir.OpLt:
			return a < b
		case ir.OpGe:
			return a >= b
		case ir.OpEq:
			return a == b
		}
	case float32:
		b := arg(1).(float32)
		switch x.Op {
		case ir.OpAdd:
			return a + b
		case ir.OpSub:
			return a - b
		case ir.OpMul:
			return a * b
		case ir.OpMin:
			return min(a, b)
		case ir.OpMax:
			return max(a, b)
		case ir.OpLt:
			return a < b
		}
	case bool:
		b := arg(1).(bool)
		switch x.Op {
		case ir.OpAnd:
			return a && b
		case ir.OpOr:
			return a || b
		}
	}
	panic(x.Op.String())
}

// each visits the points of axes in index order.
func (e *naive) each(axes []*ir.Axis, f func()) {
	if len(axes) == 0 {
		f()
		return
	}
	n, _ := axes[0].Extent.Int()
	for i := range n {
		e.at[axes[0]] = i
		e.each(axes[1:], f)
	}
}

func (e *naive) combine(m ir.Monoid, a, b float32) float32 {
	switch m {
	case ir.Sum:
		return a + b
	case ir.Max:
		return max(a, b)
	}
	return b
}

func (e *naive) here(axes []*ir.Axis) []int64 {
	ix := make([]int64, len(axes))
	for i, a := range axes {
		ix[i] = e.at[a]
	}
	return ix
}

func (e *naive) stage(s *ir.Stage) {
	for _, b := range s.Outs {
		shape := make([]int64, len(b.Dims))
		for i, d := range b.Dims {
			shape[i], _ = d.Int()
		}
		e.bufs[b] = tensor.New(b.DType, shape...)
	}
	out := e.bufs[s.Out()]
	identity := map[ir.Monoid]float32{ir.Max: float32(math.Inf(-1))}[s.Monoid]
	switch s.Kind {
	case ir.MapStage:
		e.each(s.Axes, func() { out.SetFloat(out.At(e.here(s.Axes)...), float64(e.eval(s.Exprs[0]).(float32))) })
	case ir.ReduceStage:
		e.each(s.Axes, func() {
			p := out.At(e.here(s.Axes)...)
			acc, pos, first := identity, int64(0), true
			e.each(s.Red, func() {
				v := e.eval(s.Exprs[0]).(float32)
				if s.Monoid != ir.ArgMax {
					acc = e.combine(s.Monoid, acc, v)
				} else if first || v > acc {
					acc, pos, first = v, e.eval(s.Exprs[1]).(int64), false
				}
			})
			out.SetFloat(p, float64(acc))
			if s.Monoid == ir.ArgMax {
				e.bufs[s.Outs[1]].SetInt(p, pos)
			}
		})
	case ir.ScanStage:
		e.each(s.Axes, func() {
			n, _ := s.ScanAxis.Extent.Int()
			p, acc, own := out.At(e.here(s.Axes)...), identity, e.at[s.ScanAxis]
			for i := range n {
				if s.Reverse {
					i = n - 1 - i
				}
				before := i < own
				if s.Reverse {
					before = i > own
				}
				if before || i == own && !s.Exclusive {
					e.at[s.ScanAxis] = i
					acc = e.combine(s.Monoid, acc, e.eval(s.Exprs[0]).(float32))
				}
			}
			e.at[s.ScanAxis] = own
			out.SetFloat(p, float64(acc))
		})
	case ir.ScatterStage:
		for i := range out.Len() {
			tensor.CopyElem(out, i, e.bufs[s.Base], i)
		}
		e.each(s.Axes, func() {
			ix := make([]int64, len(s.Index))
			for i, x := range s.Index {
				ix[i] = e.eval(x).(int64)
			}
			p := out.At(ix...)
			out.SetFloat(p, float64(e.combine(s.Monoid, float32(out.Float(p)), e.eval(s.Exprs[0]).(float32))))
		})
	}
}

// drawer draws random stages over a few buffers.
type drawer struct {
	*rand.Rand
	floats, ints []*ir.Buffer
	axes         []*ir.Axis
	shared       []*ir.Scalar
}

func (d *drawer) dim() int64 {
	return []int64{1, 2, 3, 5, 8, 300}[d.IntN(6)]
}

func dims(b *ir.Buffer) []int64 {
	s, _ := b.Type().Static()
	return s
}

// index is any i64 expression.
func (d *drawer) index(depth int) *ir.Scalar {
	small := func() *ir.Scalar { return ir.IntLit(int64(d.IntN(9)) - 3) }
	if depth == 0 || d.IntN(4) == 0 {
		if len(d.axes) == 0 || d.IntN(4) == 0 {
			return small()
		}
		return d.axes[d.IntN(len(d.axes))].Ix()
	}
	a, b := d.index(depth-1), d.index(depth-1)
	switch d.IntN(9) {
	case 0, 1:
		return a.Add(b)
	case 2:
		return a.Sub(b)
	case 3:
		return a.Mul(small())
	case 4:
		return a.FloorDiv(small())
	case 5:
		return a.Mod(small())
	case 6:
		return ir.Binary([]ir.ScalarOp{ir.OpDiv, ir.OpRem, ir.OpMul}[d.IntN(3)], a, b)
	case 7:
		return a.Neg()
	}
	return d.load(d.ints[d.IntN(len(d.ints))], depth-1)
}

// load reads a buffer at an index that is brought into range by remainders, or by
// itself under a guard, or as a flat position taken apart, not always by the right dims.
func (d *drawer) load(b *ir.Buffer, depth int) *ir.Scalar {
	shape := dims(b)
	ix := make([]*ir.Scalar, len(shape))
	how := d.IntN(3)
	if how == 0 {
		flat := d.index(depth)
		for i := len(shape) - 1; i >= 0; i-- {
			n := shape[i]
			if d.IntN(4) == 0 {
				n = 1 + d.Int64N(n)
			}
			ix[i] = flat.Mod(ir.IntLit(n))
			flat = flat.FloorDiv(ir.IntLit(n))
		}
		return ir.Load(b, ix...)
	}
	in := ir.Lit(tensor.Bool, 1)
	for i, n := range shape {
		ix[i] = d.index(depth)
		if how == 1 {
			ix[i] = ix[i].Mod(ir.IntLit(n))
		} else {
			in = in.And(ix[i].Ge(ir.IntLit(0))).And(ix[i].Lt(ir.IntLit(n)))
		}
	}
	if how == 1 {
		return ir.Load(b, ix...)
	}
	return ir.Guard(in, ir.Load(b, ix...), ir.Lit(b.DType, 7))
}

// value is any f32 expression.
func (d *drawer) value(depth int) *ir.Scalar {
	if len(d.shared) > 0 && d.IntN(5) == 0 {
		return d.shared[d.IntN(len(d.shared))]
	}
	if depth == 0 {
		return d.load(d.floats[d.IntN(len(d.floats))], d.IntN(3))
	}
	a, b := d.value(depth-1), d.value(depth-1)
	var v *ir.Scalar
	switch d.IntN(8) {
	case 0:
		v = a.Add(b)
	case 1:
		v = a.Mul(ir.Lit(tensor.F32, 0.5)).Sub(b)
	case 2:
		v = a.Min(b)
	case 3:
		v = a.Max(b)
	case 4:
		v = ir.Select(a.Lt(b), b, a)
	case 5:
		v = ir.Guard(d.index(2).Lt(d.index(1)), a, b)
	case 6:
		v = d.index(2).Mod(ir.IntLit(11)).To(tensor.F32)
	default:
		v = a.Neg()
	}
	d.shared = append(d.shared, v)
	return v
}

// stage draws a stage into new buffers.
func (d *drawer) stage(x *builder, n int) *ir.Stage {
	s := &ir.Stage{Kind: ir.StageKind(d.IntN(4)), Axes: make([]*ir.Axis, d.IntN(4))}
	if s.Kind == ir.ScanStage && len(s.Axes) == 0 {
		s.Kind = ir.MapStage
	}
	for i := range s.Axes {
		s.Axes[i] = ax(d.dim())
		if size, _ := s.Axes[i].Extent.Int(); size > 8 && i > 0 {
			s.Axes[i] = ax(int64(d.IntN(3)))
		}
	}
	s.Monoid = []ir.Monoid{ir.Sum, ir.Max}[d.IntN(2)]
	switch s.Kind {
	case ir.MapStage:
		s.Monoid = ir.NoMonoid
	case ir.ReduceStage:
		s.Red = []*ir.Axis{ax(d.dim() % 50), ax(d.dim())}[:1+d.IntN(2)]
		if size, _ := s.Red[0].Extent.Int(); size > 0 && d.IntN(3) == 0 {
			s.Monoid = ir.ArgMax
		}
	case ir.ScanStage:
		s.ScanAxis, s.Exclusive, s.Reverse = s.Axes[d.IntN(len(s.Axes))], d.IntN(2) == 0, d.IntN(2) == 0
	case ir.ScatterStage:
		s.Monoid = []ir.Monoid{ir.Sum, ir.Max, ir.Last}[d.IntN(3)]
	}
	d.axes, d.shared = s.AllAxes(), nil
	s.Exprs = []*ir.Scalar{d.value(d.IntN(4))}
	name := fmt.Sprintf("t%d", n)
	if s.Kind == ir.ScatterStage {
		s.Base = d.floats[d.IntN(len(d.floats))]
		for _, size := range dims(s.Base) {
			s.Index = append(s.Index, d.index(2).Mod(ir.IntLit(size)))
		}
		s.Outs = []*ir.Buffer{{Name: name, DType: tensor.F32, Dims: s.Base.Dims}}
	} else {
		s.Outs = []*ir.Buffer{x.out(name, tensor.F32, s.Axes)}
		x.p.Results = x.p.Results[:len(x.p.Results)-1]
	}
	if s.Monoid == ir.ArgMax {
		s.Exprs = append(s.Exprs, d.index(2))
		s.Outs = append(s.Outs, &ir.Buffer{Name: name + "at", DType: tensor.I64, Dims: s.Outs[0].Dims})
	}
	x.p.Results = append(x.p.Results, s.Outs...)
	return s
}

// TestAgainstNaive draws programs and compares every buffer with what the definition
// says, bit by bit; those of one stage along every axis that can be the lane axis.
func TestAgainstNaive(t *testing.T) {
	for seed := range uint64(600) {
		d := &drawer{Rand: rand.New(rand.NewPCG(seed, 0))}
		x := newProgram("drawn")
		e := &naive{bufs: map[*ir.Buffer]*tensor.Tensor{}, at: map[*ir.Axis]int64{}}
		var args []*tensor.Tensor
		for i := range 4 {
			shape := make([]int64, d.IntN(3))
			for j := range shape {
				shape[j] = 1 + d.Int64N(6)
			}
			b := x.param(fmt.Sprintf("P%d", i), []tensor.DType{tensor.F32, tensor.I64}[i%2], shape...)
			v := tensor.New(b.DType, shape...)
			for j := range v.Len() {
				v.SetInt(j, d.Int64N(19)-9)
			}
			if i%2 == 0 {
				d.floats = append(d.floats, b)
			} else {
				d.ints = append(d.ints, b)
			}
			e.bufs[b] = v
			args = append(args, v)
		}
		for n := range 1 + d.IntN(3) {
			s := d.stage(x, n)
			x.stage(s)
			e.stage(s)
			if size, _ := s.Out().Type().Size().Int(); size > 0 {
				d.floats = append(d.floats, s.Out())
			}
		}
		p := x.done()
		if err := ir.VerifyProgram(p); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := RunProgram(context.Background(), p, nil, args)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		check := func(p *ir.Program, got []*tensor.Tensor) {
			for i, b := range p.Results {
				if !tensor.Equal(got[i], e.bufs[b]) {
					t.Fatalf("seed %d: %s is %s, want %s", seed, b.Name, got[i].Format(20), e.bufs[b].Format(20))
				}
			}
		}
		check(p, got)
		if len(p.Stages) == 1 {
			alongEach(t, p, args, func(got []*tensor.Tensor) { check(p, got) })
		}
	}
}
