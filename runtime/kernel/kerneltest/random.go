package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Random is stages over axes of a few sizes, in any order, that read what is there along the
// axes that they have in common. What it computes of small whole numbers is exact, unless
// it has functions.
func Random(r *rand.Rand, functions bool) *ir.Program {
	p := &ir.Program{Name: "random"}
	dims := []sym.Expr{sym.Var("a"), sym.Var("b"), sym.Var("c"), sym.Const(1), sym.Const(5)}
	some := func(most int) (out []sym.Expr) {
		for range r.IntN(most + 1) {
			out = append(out, dims[r.IntN(len(dims))])
		}
		return out
	}
	var buffers []*ir.Buffer
	for i := range 1 + r.IntN(3) {
		b := &ir.Buffer{Name: fmt.Sprintf("p%d", i), DType: tensor.F32, Dims: some(3)}
		p.Params, buffers = append(p.Params, b), append(buffers, b)
	}
	shape := some(3)
	for i := range 1 + r.IntN(7) {
		s := &ir.Stage{}
		if r.IntN(3) == 0 {
			shape = some(3)
		}
		out := &ir.Buffer{Name: fmt.Sprintf("t%d", i), DType: tensor.F32, Dims: shape}
		if r.IntN(3) == 0 {
			s.Kind, s.Monoid = ir.ReduceStage, []ir.Monoid{ir.Sum, ir.Max, ir.Min, ir.Prod}[r.IntN(3)]
			if n := r.IntN(len(shape) + 1); r.IntN(2) == 0 {
				out.Dims = shape[:n]
				for _, d := range shape[n:] {
					s.Red = append(s.Red, &ir.Axis{Extent: d})
				}
			}
			for _, d := range some(1) {
				s.Red = append(s.Red, &ir.Axis{Extent: d})
			}
		}
		for _, d := range out.Dims {
			s.Axes = append(s.Axes, &ir.Axis{Extent: d})
		}
		load := func() *ir.Scalar {
			b := buffers[max(0, len(buffers)-1-r.IntN(3))]
			var index []*ir.Scalar
			for _, d := range b.Dims {
				ix := ir.IntLit(0)
				for _, a := range s.AllAxes() {
					if a.Extent.Equal(d) && (ix.Op == ir.OpLit || r.IntN(2) == 0) {
						ix = a.Ix()
						if r.IntN(8) == 0 {
							ix = ir.SymVal(d.Sub(sym.Const(1))).Sub(a.Ix())
						}
					}
				}
				index = append(index, ix)
			}
			return ir.Load(b, index...)
		}
		var expr func(depth int) *ir.Scalar
		expr = func(depth int) *ir.Scalar {
			if depth == 0 || r.IntN(5) == 0 {
				if r.IntN(5) == 0 {
					return ir.Lit(tensor.F32, float64(r.IntN(5)-2))
				}
				return load()
			}
			a, b := expr(depth-1), expr(depth-1)
			if functions && r.IntN(3) == 0 {
				return ir.Unary([]ir.ScalarOp{ir.OpExp, ir.OpLog, ir.OpTanh, ir.OpErf, ir.OpSqrt}[r.IntN(5)], a)
			}
			switch r.IntN(9) {
			case 0:
				return a.Sub(b)
			case 1:
				return a.Mul(b)
			case 2:
				return a.Min(b)
			case 3:
				return a.Max(b)
			case 4:
				return ir.Unary([]ir.ScalarOp{ir.OpNeg, ir.OpAbs, ir.OpFloor, ir.OpRound}[r.IntN(4)], a)
			case 5:
				c := ir.Binary([]ir.ScalarOp{ir.OpEq, ir.OpNe, ir.OpLt, ir.OpLe, ir.OpGt, ir.OpGe}[r.IntN(6)], a, b)
				switch r.IntN(4) {
				case 0:
					c = c.Not()
				case 1:
					c = c.And(load().Lt(a))
				case 2:
					c = c.Or(b.IsNaN())
				}
				return ir.Select(c, expr(depth-1), b)
			case 6:
				return a.Lt(b).To(tensor.F32)
			}
			return a.Add(b)
		}
		s.Outs, s.Exprs = []*ir.Buffer{out}, []*ir.Scalar{expr(1 + r.IntN(3))}
		p.Stages, buffers = append(p.Stages, s), append(buffers, out)
		if r.IntN(3) == 0 {
			p.Results = append(p.Results, out)
		}
	}
	if len(p.Results) == 0 {
		p.Results = buffers[len(buffers)-1:]
	}
	p.Finish()
	return p
}

// CheckRandom checks a random program for sizes of all kinds, as Check does.
func CheckRandom(t testing.TB, r *rand.Rand, machines []Machine) (groups, compared int) {
	t.Helper()
	p := Random(r, r.IntN(2) == 0)
	if err := ir.VerifyProgram(p); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var bind []int64
		for range p.Syms {
			bind = append(bind, []int64{1, 2, 3, 5, 8, 16, 17, 33, 70}[r.IntN(9)])
		}
		if points(p, bind) > 1<<18 { // minutes for the evaluator
			for i := range bind {
				bind[i] = 1 + bind[i]%7
			}
		}
		whole := r.IntN(2) == 0
		special := 0
		if !whole {
			special = 10
		}
		n, _, m := Check(t, p, bind, r, special, whole, machines)
		groups, compared = groups+n, compared+m
	}
	return groups, compared
}

// points is how many points the largest stage goes over.
func points(p *ir.Program, bind []int64) (most float64) {
	for _, s := range p.Stages {
		n := 1.0
		for _, a := range s.AllAxes() {
			e, err := a.Extent.Eval(func(name string) (int64, bool) {
				i := slices.Index(p.Syms, name)
				return bind[max(i, 0)], i >= 0
			})
			if err != nil {
				return math.Inf(1)
			}
			n *= float64(e)
		}
		most = max(most, n)
	}
	return most
}
