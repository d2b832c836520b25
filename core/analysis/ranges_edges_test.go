package analysis_test

import (
	"math"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// edges are programs of which a bound is easily got wrong, and values that they may give.
var edges = []struct {
	name, program string
	params        []analysis.Range
	values        []float64
}{
	{"integers of 64 bits that wrap by one", `program @p(X: [] i64) -> (Y: [] i64) { Y[] = (max(X[], i64 0) + i64 1) }`,
		[]analysis.Range{analysis.Any}, []float64{math.MinInt64, 1}},
	{"the least integer has no opposite", `program @p(X: [] i64) -> (Y: [] i64) { Y[] = abs(X[]) }`,
		[]analysis.Range{analysis.Any}, []float64{math.MinInt64, 0}},
	{"floats that no integer is", `program @p(X: [] f64) -> (Y: [] i64) { Y[] = i64(abs(X[])) }`,
		[]analysis.Range{{Lo: 0, Hi: 0x1p63}}, []float64{math.MinInt64, 0}},
	{"a sum that wraps by one", `program @p(X: [2] i64) -> (Y: [] i64) { Y[] = sum(k < 2) max(X[k], i64 0) }`,
		[]analysis.Range{{Lo: 0, Hi: 0x1p62}}, []float64{math.MinInt64, 1}},
	{"what is put onto a large number is rounded as that is", `program @p(X: [] f32, I: [] i64) -> (Y: [1] f32) { b[i < 1] f32 = f32 -1e10; Y[i < 1] = scatter sum(b, [0]) X[] }`,
		[]analysis.Range{{Lo: 0, Hi: 513}}, []float64{-1e10 + 1024}},
	{"minus zero to a negative power", `program @p(X: [] f32) -> (Y: [] f32) { Y[] = pow(max(X[], f32 0), f32 -1) }`,
		[]analysis.Range{{Lo: -1, Hi: 1}}, []float64{math.Inf(-1), 1}},
	{"a denormal f16", `program @p(X: [] f32) -> (Y: [] f32) { Y[] = f32(f16(X[])) }`,
		[]analysis.Range{{Lo: 1.49e-7, Hi: 1.5e-7}}, []float64{0x1p-23}},
	{"bits that are joined", `program @p(X: [2] i32) -> (Y: [] i32) { Y[] = or(k < 2) X[k] }`,
		[]analysis.Range{{Lo: 1, Hi: 2}}, []float64{3}},
	{"integers next to each other that are one float", `program @p(X: [] f32) -> (Y: [] f32) { Y[] = select((i64 9007199254740993 == i64 9007199254740992), f32 1, f32 2) }`,
		[]analysis.Range{{Lo: 5, Hi: 6}}, []float64{2}},
}

func TestRangesOfEdges(t *testing.T) {
	for _, c := range edges {
		p := program(t, strings.NewReplacer(" { ", " {\n", " }", "\n}", "; ", "\n").Replace(c.program))
		got := analysis.Ranges(sym.NewContext(), p, c.params)[0]
		for _, v := range c.values {
			if got.Known() && (v < got.Lo || v > got.Hi) {
				t.Errorf("%s: %v is not in %v", c.name, v, got)
			}
		}
	}
}

// A sum along a diagonal is none of those along a dim of the constant.
func TestRangeOfDiagonal(t *testing.T) {
	m := parse(t, `module {
		const @one: [3, 3] f32 = {1, 0, 0, 0, 1, 0, 0, 0, 1}
		func @main(%i: [n] i64) -> ([] f32) {
			%x: [3] f32 = call @ones()
			%y: [] f32 = call @trace(%x, @one)
			return %y
		}
		program @ones() -> (Y: [3] f32) {
			Y[i < 3] = f32 1
		}
		program @trace(X: [3] f32, W: [3, 3] f32) -> (Y: [] f32) {
			Y[] = sum(k < 3) (X[k] * W[k, k])
		}
	}`)
	if got := analysis.NewFacts(m, 1<<20).Range(m.Main().Results[0]); got.Hi < 3 {
		t.Errorf("it is 3, and said to be in %+v", got)
	}
}

// The mean of nothing is zero.
func TestRangeOfMean(t *testing.T) {
	m := parse(t, `module {
		func @main(%x: [n] f32) -> ([] f32) {
			%y: [] f32, %z: [] f32 = call @mean[n](%x)
			return %y
		}
		program @mean[n](X: [n] f32) -> (Y: [] f32, Z: [] f32) {
			t[i < n] f32 = max(X[i], f32 5)
			Y, Z[] = meanvar(k < n) t[k]
		}
	}`)
	if got := analysis.NewFacts(m, 1<<20).Range(m.Main().Results[0]); got.Lo > 0 {
		t.Errorf("it may be 0, and is said to be in %+v", got)
	}
}

// Rules of what a row has to do with its largest element, or its squares, are of one row, and not of a part of it.
func TestRaggedPartsOfRows(t *testing.T) {
	for name, stages := range map[string]string{
		"largest of a part": `m[i < b, j < s] f32 = max(k < 4) X[i, j, k]
			Y[i < b, j < s, l < 8] = (X[i, j, l] - m[i, j])`,
		"squares of a part": `m[i < b, j < s] f32 = sum(k < 4) (X[i, j, k] * X[i, j, k])
			Y[i < b, j < s, l < 8] = (X[i, j, l] / sqrt((m[i, j] + f32 1)))`,
		"overflow both ways": `m[i < b, j < s] f32 = sum(k < 8) ((X[i, j, k] * f32 1e36) - f32 1)
			Y[i < b, j < s, l < 8] = select(isnan(m[i, j]), f32 100, f32 0)`,
		"joined bits": `m[i < b, j < s] i64 = or(k < 8) (i64 1 + i64((X[i, j, k] > f32 0)))
			Y[i < b, j < s, l < 8] = f32((i64 40 * i64((m[i, j] > i64 2))))`,
		"exponentials, the largest of which is behind those that are added": `m[i < b, j < s] f32 = max(k < 8) X[i, j, k]
			z[i < b, j < s] f32 = sum(k < 4) exp((X[i, j, k] - m[i, j]))
			Y[i < b, j < s, l < 8] = (f32 20 / (z[i, j] + f32 0.5))`,
	} {
		m := parse(t, `module {
			func @main(%x: [b, s, 8] f32, %mask: [b, s] i64) -> ([b, s, 8] f32) {
				%y: [b, s, 8] f32 = call @p[b, s](%x)
				return %y
			}
			program @p[b, s](X: [b, s, 8] f32) -> (Y: [b, s, 8] f32) {
				`+stages+`
			}
		}`)
		f := m.Main()
		r := analysis.NewRagged(m.Syms, f.Params[1])
		r.Set(f.Params[0], &analysis.Rows{Any: analysis.Interval{Lo: -100, Hi: 100}})
		s := f.Stmts[0]
		p := s.Callee.(*ir.Program)
		if got := r.Program(s.Args, p).Rows(p.Results[0]).Any; got.Hi < 15 && !got.NaN {
			t.Errorf("%s: it may be larger than 15, and is said to be in %+v", name, got)
		}
	}
}

// The term of a factor that is zero is one where the other factor is finite, though a mask that both have may be all that is known to
// be zero; and where what a mask is multiplied with in its own factor is finite.
func TestSkipsOfBothFactors(t *testing.T) {
	for name, x := range map[string]struct {
		term   string
		finite bool
	}{
		"both":                        {"(select(K[k], X[i, k], f32 0) * select(K[k], W[k, j], f32 0))", false},
		"both, the first not finite":  {"(select(K[k], X[i, k], f32 0) * select(K[k], C[k, j], f32 0))", false},
		"both, the second not finite": {"(select(K[k], select((X[i, k] > f32 0), f32 3, f32 -1), f32 0) * select(K[k], W[k, j], f32 0))", false},
		"the second":                  {"(X[i, k] * select(K[k], C[k, j], f32 0))", false},
		"numbers":                     {"((f32(M[i, k]) * X[i, k]) * C[k, j])", false},
		"a choice":                    {"(select(M[i, k], X[i, k], f32 0) * C[k, j])", true},
		"by an input":                 {"(select(M[i, k], X[i, k], f32 0) * W[k, j])", false},
		"no number":                   {"((f32(M[i, k]) * tanh(X[i, k])) * C[k, j])", false}, // X may be NaN
		"bounded":                     {"((f32(M[i, k]) * select((X[i, k] > f32 0), f32 3, f32 -1)) * C[k, j])", true},
	} {
		m := parse(t, `module {
			const @c: [3, 2] f32 = {1, 2, 3, 4, 5, 6}
			func @main(%x: [n, 3] f32, %w: [3, 2] f32, %m: [n, 3] bool, %k: [3] bool) -> ([n, 2] f32) {
				%y: [n, 2] f32 = call @p[n](%x, %w, @c, %m, %k)
				return %y
			}
			program @p[n](X: [n, 3] f32, W: [3, 2] f32, C: [3, 2] f32, M: [n, 3] bool, K: [3] bool) -> (Y: [n, 2] f32) {
				Y[i < n, j < 2] = sum(k < 3) `+x.term+`
			}
		}`)
		s := m.Main().Stmts[0]
		skips := analysis.NewFacts(m, 1<<20).Call(s).Skips(s.Callee.(*ir.Program).Stages[0])
		if len(skips) != 1 || skips[0].Why != "" {
			t.Errorf("%s: there is one mask, not %d: %+v", name, len(skips), skips)
			continue
		}
		if skips[0].Finite != x.finite {
			t.Errorf("%s: all else is said to be finite: %t (%s)", name, skips[0].Finite, skips[0].Open)
		}
	}
}
