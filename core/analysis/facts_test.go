package analysis_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// calling is a module that calls a program with some operands constant, and others inputs.
func calling(p *ir.Program, bind []int64, args []*tensor.Tensor, constant func(i int) bool) (*ir.Module, *ir.Stmt) {
	m := ir.NewModule("test")
	m.Programs = append(m.Programs, p)
	f := &ir.Func{Name: "main"}
	m.Funcs = append(m.Funcs, f)
	s := &ir.Stmt{Kind: ir.CallStmt, Callee: p}
	for _, n := range bind {
		s.Bind = append(s.Bind, sym.Const(n))
	}
	for i, a := range args {
		if constant(i) {
			s.Args = append(s.Args, m.AddConst(fmt.Sprint("c", i), a, nil))
			continue
		}
		v := &ir.Value{Name: fmt.Sprint("x", i), Type: ir.TypeOf(a), Index: len(f.Params)}
		f.Params = append(f.Params, v)
		s.Args = append(s.Args, v)
	}
	for i, b := range p.Results {
		s.Results = append(s.Results, &ir.Value{Name: b.Name, Type: ir.TensorOf(b.DType, b.Dims...), Def: s, Index: i})
	}
	f.Stmts = append(f.Stmts, s)
	f.Results = s.Results
	return m, s
}

// tell makes every buffer that a program defines a result.
func tell(p *ir.Program) *ir.Program {
	q := p.Clone(nil)
	for _, s := range q.Stages {
		for _, b := range s.Outs {
			if !slices.Contains(q.Results, b) {
				q.Results = append(q.Results, b)
			}
		}
	}
	return q
}

// outside gives an element that is not in the range that is claimed.
func outside(x *tensor.Tensor, r analysis.Interval) (float64, bool) {
	if x.DType().IsComplex() || x.DType() == tensor.String {
		return 0, false
	}
	for i := range x.Len() {
		v := x.Float(i)
		if v != v && !r.NaN || v < r.Lo || v > r.Hi {
			return v, true
		}
	}
	return 0, false
}

// spoil puts what is no number, or infinite, or large, into a tensor.
func spoil(x *tensor.Tensor, r *rand.Rand) {
	if !x.DType().IsFloat() || x.Len() == 0 {
		return
	}
	for range 1 + r.IntN(3) {
		v := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 3e38, -3e38, 1e20, 1e-40, math.Copysign(0, -1)}[r.IntN(8)]
		x.SetFloat(r.Int64N(x.Len()), v)
	}
}

// checkRanges holds the ranges of all buffers of a program against what is computed.
func checkRanges(t *testing.T, p *ir.Program, r *rand.Rand, runs int) (finite int) {
	t.Helper()
	d := newDrawn(r, tell(p))
	for run := range runs {
		args := d.args(t)
		if run%3 == 2 {
			for i, b := range d.p.Params {
				if meanings[b.Name] == nil && r.IntN(2) == 0 {
					spoil(args[i], r)
				}
			}
		}
		m, s := calling(d.p, d.bind, args, func(int) bool { return run%2 == 0 || r.IntN(2) == 0 })
		c := analysis.NewFacts(m, 1<<30).Call(s)
		for i, x := range d.run(t, args) {
			b := d.p.Results[i]
			got := c.Range(b)
			if v, bad := outside(x, got); bad {
				t.Errorf("%s has %v, it is said to be in %+v:\n%s", b.Name, v, got, d.p)
				return finite
			}
			if got.Finite() && b.DType.IsFloat() {
				finite++
			}
		}
	}
	return finite
}

// What is computed is in the range that is claimed: of all operators, on operands that may hold
// what is no number, what is infinite, and what overflows.
func TestRangesOfOperators(t *testing.T) {
	finite := 0
	for i, e := range examples(t) {
		t.Run(e.name, func(t *testing.T) {
			finite += checkRanges(t, e.p, rand.New(rand.NewPCG(3, uint64(i))), 12)
		})
	}
	if finite < 500 {
		t.Errorf("%d results are proved finite: too few to say anything", finite)
	}
}

// knownRanges are modules and what is to be proved of their result.
var knownRanges = []struct {
	name, module string
	lo, hi       float64
	nan          bool
}{
	{"softmax of what is finite", `%t: [n, 8] f32 = call @tanh[n](%x)
		%y: [n, 8] f32 = call @softmax[n](%t)`, 0.017, 0.924, true}, // NaN stays NaN in tanh
	{"softmax of an embedding", `%t: [n, 8] f32 = call @gather[n](@table, %i)
		%y: [n, 8] f32 = call @softmax[n](%t)`, 0.046, 0.34, false},
	{"softmax of large numbers", `%t: [n, 8] f32 = call @pick[n](@large, %i)
		%y: [n, 8] f32 = call @softmax[n](%t)`, 0, 1.001, false},
	{"layer norm of what overflows", `%t: [n, 8] f32 = call @pick[n](@large, %i)
		%y: [n, 8] f32 = call @norm[n](%t, @scale)`, -2.84, 2.84, true},
	{"share of a sum that may be zero", `%t: [n, 8] f32 = call @pick[n](@large, %i)
		%y: [n, 8] f32 = call @shares[n](%t)`, 0, 1.001, true},
	{"cut by choices", `%y: [n, 8] f32 = call @cut[n](%x)`, -1, 1, true},
	{"sum that may overflow either way", `%t: [n, 8] f32 = call @pick[n](@large, %i)
		%y: [n, 8] f32 = call @sums[n](%t)`, math.Inf(-1), math.Inf(1), true},
	{"layer norm of an embedding", `%t: [n, 8] f32 = call @gather[n](@table, %i)
		%y: [n, 8] f32 = call @norm[n](%t, @scale)`, -2.84, 2.84, false},
	{"layer norm of an input", `%y: [n, 8] f32 = call @norm[n](%x, @scale)`, -2.84, 2.84, true},
	{"product of a norm and weights", `%t: [n, 8] f32 = call @gather[n](@table, %i)
		%u: [n, 8] f32 = call @norm[n](%t, @scale)
		%y: [n, 8] f32 = call @product[n](%u, @w)`, -16.99, 16.99, false},
	{"sigmoid", `%y: [n, 8] f32 = call @sigmoid[n](%x)`, 0, 1.0001, true},
	{"what is not a number is replaced", `%y: [n, 8] f32 = call @clean[n](%x)`, 0, 1.0001, false},
}

const programsOfRanges = `
	program @tanh[n](X: [n, 8] f32) -> (Y: [n, 8] f32) {
		Y[i < n, j < 8] = tanh(X[i, j])
	}
	program @sigmoid[n](X: [n, 8] f32) -> (Y: [n, 8] f32) {
		Y[i < n, j < 8] = (f32 1 / (f32 1 + exp(neg(X[i, j]))))
	}
	program @clean[n](X: [n, 8] f32) -> (Y: [n, 8] f32) {
		s[i < n, j < 8] f32 = (f32 1 / (f32 1 + exp(neg(X[i, j]))))
		Y[i < n, j < 8] = select(isnan(s[i, j]), f32 0, s[i, j])
	}
	program @cut[n](X: [n, 8] f32) -> (Y: [n, 8] f32) {
		Y[i < n, j < 8] = select((X[i, j] > f32 1), f32 0, select((X[i, j] < f32 -1), f32 0, X[i, j]))
	}
	program @shares[n](X: [n, 8] f32) -> (Y: [n, 8] f32) {
		s[i < n] f32 = sum(k < 8) abs(min(X[i, k], f32 0))
		Y[i < n, j < 8] = (abs(min(X[i, j], f32 0)) / s[i])
	}
	program @sums[n](X: [n, 8] f32) -> (Y: [n, 8] f32) {
		s[i < n] f32 = sum(k < 8) X[i, k]
		Y[i < n, j < 8] = s[i]
	}
	program @pick[n](T: [8, 8] f32, I: [n] i64) -> (Y: [n, 8] f32) {
		Y[i < n, j < 8] = T[I[i], j]
	}
	program @gather[n](T: [4, 8] f32, I: [n] i64) -> (Y: [n, 8] f32) {
		Y[i < n, j < 8] = T[I[i], j]
	}
	program @softmax[n](X: [n, 8] f32) -> (Y: [n, 8] f32) {
		m[i < n] f32 = max(k < 8) X[i, k]
		e[i < n, j < 8] f32 = exp((X[i, j] - m[i]))
		s[i < n] f32 = sum(k < 8) e[i, k]
		Y[i < n, j < 8] = (e[i, j] / s[i])
	}
	program @norm[n](X: [n, 8] f32, S: [8] f32) -> (Y: [n, 8] f32) {
		t1[i < n] f32 = sum(k < 8) X[i, k]
		t2[i < n] f32 = (t1[i] / f32(8))
		t3[i < n] f32 = sum(k < 8) ((X[i, k] - t2[i]) * (X[i, k] - t2[i]))
		t4[i < n] f32 = (t3[i] / f32(8))
		Y[i < n, j < 8] = (((X[i, j] - t2[i]) * (f32 1 / sqrt((t4[i] + f32 1e-05)))) * S[j])
	}
	program @product[n](X: [n, 8] f32, W: [8, 8] f32) -> (Y: [n, 8] f32) {
		Y[i < n, j < 8] = sum(k < 8) (X[i, k] * W[k, j])
	}
`

func TestKnownRanges(t *testing.T) {
	for _, c := range knownRanges {
		m := parse(t, `module {
			const @table: [4, 8] f32 = {`+numbers(32, 0.5)+`}
			const @large: [8, 8] f32 = {`+numbers(32, 3e38)+`, `+numbers(32, -3e38)+`}
			const @scale: [8] f32 = {`+numbers(8, 0)+`}
			const @w: [8, 8] f32 = {`+numbers(64, 0.25)+`}
			func @main(%x: [n, 8] f32, %i: [n] i64) -> ("y": [n, 8] f32) {
				`+c.module+`
				return %y
			}
			`+programsOfRanges+"}")
		got := analysis.NewFacts(m, 1<<20).Range(m.Main().Results[0])
		if got.NaN != c.nan || math.Abs(got.Lo-c.lo) > 0.01 || math.Abs(got.Hi-c.hi) > 0.01 {
			t.Errorf("%s: %+v, want %v to %v, NaN %t", c.name, got, c.lo, c.hi, c.nan)
		}
	}
}

// numbers are elements of a constant: some of ±0.75 around what is given, which all have it as a mean.
func numbers(n int, mean float64) (s string) {
	for i := range n {
		v := mean + []float64{0.5, -0.5}[i%2]
		if mean == 0 {
			v = 1
		}
		s += fmt.Sprintf("%g, ", v)
	}
	return s[:len(s)-2]
}
