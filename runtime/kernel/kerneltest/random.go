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

// Random is stages over axes of a few sizes, in any order and of any type, that read what is there along the
// axes that they have in common, at positions that are computed or looked up, or where a condition holds. What it
// computes of small whole numbers is exact, unless it has functions.
func Random(r *rand.Rand, functions bool) *ir.Program {
	g := &generator{Rand: r, functions: functions, p: &ir.Program{Name: "random"}}
	if functions {
		g.p.Name = "rounded" // a little off may be a whole number off behind a floor: nothing is exact
	}
	g.dims = []sym.Expr{sym.Var("a"), sym.Var("b"), sym.Var("c"), sym.Const(1), sym.Const(5)}
	for i := range 1 + r.IntN(3) {
		b := &ir.Buffer{Name: fmt.Sprintf("p%d", i), DType: g.someType(), Dims: g.some(3)}
		g.p.Params, g.buffers = append(g.p.Params, b), append(g.buffers, b)
	}
	shape := g.some(3)
	for i := range 1 + r.IntN(7) {
		if r.IntN(3) == 0 {
			shape = g.some(3)
		}
		g.stage(fmt.Sprintf("t%d", i), shape)
	}
	if len(g.p.Results) == 0 {
		g.p.Results = g.buffers[len(g.buffers)-1:]
	}
	g.p.Finish()
	return g.p
}

// generator makes a program.
type generator struct {
	*rand.Rand
	functions bool
	p         *ir.Program
	dims      []sym.Expr
	buffers   []*ir.Buffer
	s         *ir.Stage
}

// some are up to so many dims.
func (g *generator) some(most int) (out []sym.Expr) {
	for range g.IntN(most + 1) {
		out = append(out, g.dims[g.IntN(len(g.dims))])
	}
	return out
}

// someType is f32 more often than not.
func (g *generator) someType() tensor.DType {
	return []tensor.DType{tensor.F32, tensor.F32, tensor.F32, tensor.F32, tensor.F32, tensor.F32, tensor.F32, tensor.I64, tensor.I64,
		tensor.I32, tensor.Bool, tensor.F64, tensor.U8, tensor.I8, tensor.F16, tensor.BF16}[g.IntN(16)]
}

// stage makes a stage whose result has a shape, or the first dims of it.
func (g *generator) stage(name string, shape []sym.Expr) {
	s := &ir.Stage{}
	g.s = s
	out := &ir.Buffer{Name: name, DType: g.someType(), Dims: shape}
	if g.IntN(3) == 0 {
		s.Kind, s.Monoid = ir.ReduceStage, []ir.Monoid{ir.Sum, ir.Max, ir.Min, ir.Prod}[g.IntN(4)]
		switch out.DType {
		case tensor.Bool:
			s.Monoid = []ir.Monoid{ir.And, ir.Or}[g.IntN(2)]
		case tensor.U8, tensor.I8, tensor.F16, tensor.BF16:
			out.DType = tensor.F32
		}
		if n := g.IntN(len(shape) + 1); g.IntN(2) == 0 {
			out.Dims = shape[:n]
			for _, d := range shape[n:] {
				s.Red = append(s.Red, &ir.Axis{Extent: d})
			}
		}
		for _, d := range g.some(1) {
			s.Red = append(s.Red, &ir.Axis{Extent: d})
		}
	}
	for _, d := range out.Dims {
		s.Axes = append(s.Axes, &ir.Axis{Extent: d})
	}
	if g.IntN(8) == 0 && s.Kind == ir.MapStage && len(s.Axes) > 0 && (out.DType == tensor.F32 || out.DType == tensor.I64) {
		s.Kind, s.Monoid, s.ScanAxis = ir.ScanStage, []ir.Monoid{ir.Sum, ir.Max, ir.Min}[g.IntN(3)], s.Axes[g.IntN(len(s.Axes))]
		s.Exclusive, s.Reverse = g.IntN(2) == 0, g.IntN(2) == 0
	}
	s.Outs, s.Exprs = []*ir.Buffer{out}, []*ir.Scalar{g.expr(out.DType, 1+g.IntN(3))}
	g.p.Stages, g.buffers = append(g.p.Stages, s), append(g.buffers, out)
	if g.IntN(3) == 0 {
		g.p.Results = append(g.p.Results, out)
	}
}

// position is an index along a dim, which it is within.
func (g *generator) position(d sym.Expr) *ir.Scalar {
	ix := ir.IntLit(0)
	for _, a := range g.s.AllAxes() {
		if a.Extent.Equal(d) && (ix.Op == ir.OpLit || g.IntN(2) == 0) {
			ix = a.Ix()
			if g.IntN(8) == 0 {
				ix = ir.SymVal(d.Sub(sym.Const(1))).Sub(a.Ix())
			}
		}
	}
	if all := g.s.AllAxes(); len(all) > 0 && g.IntN(12) == 0 {
		a, b := all[g.IntN(len(all))].Ix(), all[g.IntN(len(all))].Ix()
		switch g.IntN(4) {
		case 0: // shifted, and folded back
			return a.Sub(b.Mul(ir.IntLit(2))).Mod(ir.SymVal(d))
		case 1:
			return a.Add(b).FloorDiv(ir.IntLit(3)).Min(ir.SymVal(d.Sub(sym.Const(1))))
		default: // looked up
			return g.expr(tensor.I64, 1).Max(ir.IntLit(0)).Min(ir.SymVal(d.Sub(sym.Const(1))))
		}
	}
	return ix
}

// load reads one of the last buffers, as some type.
func (g *generator) load(d tensor.DType) *ir.Scalar {
	b := g.buffers[max(0, len(g.buffers)-1-g.IntN(3))]
	var index []*ir.Scalar
	for _, d := range b.Dims {
		index = append(index, g.position(d))
	}
	x := ir.Load(b, index...)
	if n := len(b.Dims); n > 0 && len(g.s.AllAxes()) > 0 && g.IntN(8) == 0 { // a window, with a border
		i := g.IntN(n)
		all := g.s.AllAxes()
		at := all[g.IntN(len(all))].Ix().Sub(ir.IntLit(int64(g.IntN(3))))
		index[i] = at
		in := at.Ge(ir.IntLit(0)).And(at.Lt(ir.SymVal(b.Dims[i])))
		x = ir.Guard(in, ir.Load(b, index...), ir.Lit(b.DType, float64(g.IntN(2))))
	}
	return g.as(x, d)
}

// as converts, by way of f32 where there is no other.
func (g *generator) as(x *ir.Scalar, d tensor.DType) *ir.Scalar {
	if (d == tensor.F16 || d == tensor.BF16) && x.DType != d {
		x = x.To(tensor.F32)
	}
	return x.To(d)
}

func (g *generator) expr(d tensor.DType, depth int) *ir.Scalar {
	if depth == 0 || g.IntN(5) == 0 {
		if g.IntN(5) == 0 {
			return ir.Lit(d, float64(max(0, g.IntN(5)-2)))
		}
		if all := g.s.AllAxes(); d == tensor.I64 && len(all) > 0 && g.IntN(4) == 0 {
			return all[g.IntN(len(all))].Ix()
		}
		return g.load(d)
	}
	switch d {
	case tensor.U8, tensor.I8, tensor.F16, tensor.BF16:
		return g.as(g.expr(tensor.F32, depth), d)
	case tensor.Bool:
		of := []tensor.DType{tensor.F32, tensor.F32, tensor.I64, tensor.I32, tensor.F64, tensor.U8}[g.IntN(6)]
		a, b := g.expr(of, depth-1), g.expr(of, depth-1)
		c := ir.Binary([]ir.ScalarOp{ir.OpEq, ir.OpNe, ir.OpLt, ir.OpLe, ir.OpGt, ir.OpGe}[g.IntN(6)], a, b)
		switch g.IntN(5) {
		case 0:
			return c.Not()
		case 1:
			return c.And(g.load(d))
		case 2:
			return ir.Binary(ir.OpXor, c, g.load(of).Lt(a))
		case 3:
			if of.IsFloat() {
				return c.Or(b.IsNaN())
			}
		}
		return c
	}
	if g.IntN(8) == 0 {
		return g.as(g.expr(g.someType(), depth-1), d)
	}
	a, b := g.expr(d, depth-1), g.expr(d, depth-1)
	if g.IntN(6) == 0 {
		return ir.Select(g.expr(tensor.Bool, depth-1), a, b)
	}
	if d == tensor.I64 || d == tensor.I32 {
		ops := []ir.ScalarOp{ir.OpAdd, ir.OpAdd, ir.OpSub, ir.OpMul, ir.OpMin, ir.OpMax, ir.OpAnd, ir.OpOr, ir.OpXor}
		if d == tensor.I32 {
			ops = append(ops, ir.OpDiv, ir.OpFloorDiv, ir.OpMod, ir.OpRem)
		}
		if g.IntN(5) == 0 {
			return ir.Unary([]ir.ScalarOp{ir.OpNeg, ir.OpAbs, ir.OpNot}[g.IntN(3)], a)
		}
		return ir.Binary(ops[g.IntN(len(ops))], a, b)
	}
	if g.functions && g.IntN(3) == 0 {
		if d == tensor.F64 {
			return ir.Unary(ir.OpSqrt, a)
		}
		if g.IntN(4) == 0 {
			return ir.Binary(ir.OpPow, a, ir.Lit(d, []float64{3, 0.5, -1, 1.5, 0, -2}[g.IntN(6)]))
		}
		return ir.Unary([]ir.ScalarOp{ir.OpExp, ir.OpLog, ir.OpTanh, ir.OpErf, ir.OpSqrt}[g.IntN(5)], a)
	}
	switch g.IntN(7) {
	case 0:
		return a.Sub(b)
	case 1:
		return a.Mul(b)
	case 2:
		return a.Min(b)
	case 3:
		return a.Max(b)
	case 4:
		return ir.Unary([]ir.ScalarOp{ir.OpNeg, ir.OpAbs, ir.OpFloor, ir.OpRound, ir.OpTrunc, ir.OpCeil}[g.IntN(6)], a)
	}
	return a.Add(b)
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
