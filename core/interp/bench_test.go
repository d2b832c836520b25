package interp

import (
	"context"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// benchmark runs a program and reports how many points a second its stages compute.
func benchmark(b *testing.B, p *ir.Program, points int64, args ...*tensor.Tensor) {
	b.Helper()
	if err := ir.VerifyProgram(p); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := RunProgram(context.Background(), p, nil, args); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(points)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mpoints/s")
}

func BenchmarkContraction(b *testing.B) {
	const n = 256
	x := newProgram("matmul")
	A, B := x.param("A", tensor.F32, n, n), x.param("B", tensor.F32, n, n)
	i, j, k := ax(n), ax(n), ax(n)
	x.reduce("Y", tensor.F32, []*ir.Axis{i, j}, ir.Sum, []*ir.Axis{k}, ir.Load(A, i.Ix(), k.Ix()).Mul(ir.Load(B, k.Ix(), j.Ix())))
	benchmark(b, x.done(), n*n*n, ramp(n, n), ramp(n, n))
}

func BenchmarkContractionTransposed(b *testing.B) {
	const n = 256
	x := newProgram("matmul")
	A, B := x.param("A", tensor.F32, n, n), x.param("B", tensor.F32, n, n)
	i, j, k := ax(n), ax(n), ax(n)
	x.reduce("Y", tensor.F32, []*ir.Axis{i, j}, ir.Sum, []*ir.Axis{k}, ir.Load(A, i.Ix(), k.Ix()).Mul(ir.Load(B, j.Ix(), k.Ix())))
	benchmark(b, x.done(), n*n*n, ramp(n, n), ramp(n, n))
}

// gelu(x + bias): a chain of nine operations, two of them shared.
func BenchmarkElementwise(b *testing.B) {
	const n, m = 512, 768
	x := newProgram("gelu")
	X, B := x.param("X", tensor.F32, n, m), x.param("B", tensor.F32, m)
	i, j := ax(n), ax(m)
	v := ir.Load(X, i.Ix(), j.Ix()).Add(ir.Load(B, j.Ix()))
	c := func(f float64) *ir.Scalar { return ir.Lit(tensor.F32, f) }
	u := v.Mul(v).Mul(v).Mul(c(0.044715)).Add(v).Mul(c(0.7978845608))
	s := u.Mul(u).Add(c(27)).Mul(u).Div(u.Mul(u).Mul(c(9)).Add(c(27))).Min(c(1)).Max(c(-1))
	x.stageMap("Y", tensor.F32, []*ir.Axis{i, j}, v.Mul(c(0.5)).Mul(s.Add(c(1))))
	benchmark(b, x.done(), n*m, ramp(n, m), ramp(m))
}

func BenchmarkConvolution(b *testing.B) {
	const f, c, h, w = 32, 16, 32, 32
	x := newProgram("conv")
	X, W := x.param("X", tensor.F32, c, h, w), x.param("W", tensor.F32, f, c, 3, 3)
	o, r, s := ax(f), ax(h), ax(w)
	k, y, z := ax(c), ax(3), ax(3)
	p, q := r.Ix().Add(y.Ix()).Sub(ir.IntLit(1)), s.Ix().Add(z.Ix()).Sub(ir.IntLit(1))
	in := p.Ge(ir.IntLit(0)).And(p.Lt(ir.IntLit(h))).And(q.Ge(ir.IntLit(0))).And(q.Lt(ir.IntLit(w)))
	e := ir.Guard(in, ir.Load(X, k.Ix(), p, q), ir.Lit(tensor.F32, 0)).Mul(ir.Load(W, o.Ix(), k.Ix(), y.Ix(), z.Ix()))
	x.reduce("Y", tensor.F32, []*ir.Axis{o, r, s}, ir.Sum, []*ir.Axis{k, y, z}, e)
	benchmark(b, x.done(), f*h*w*c*9, ramp(c, h, w), ramp(f, c, 3, 3))
}

func BenchmarkSmall(b *testing.B) {
	x := newProgram("add")
	X, Y := x.param("X", tensor.F32, 4), x.param("Y", tensor.F32, 4)
	i := ax(4)
	x.stageMap("Z", tensor.F32, []*ir.Axis{i}, ir.Load(X, i.Ix()).Add(ir.Load(Y, i.Ix())))
	benchmark(b, x.done(), 4, ramp(4), ramp(4))
}
