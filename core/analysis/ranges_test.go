package analysis_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// ranged are programs of X [2, 3] and W [3, 4], and what is known of their results where X
// is from -20 to 30 and W from -2 to 0.5.
var ranged = []struct{ name, stages, want string }{
	{"relu", "Y[i < 2, j < 3] = max(X[i, j], f32 0)", "0 30"},
	{"sigmoid, whose exponential overflows for large numbers", "Y[i < 2, j < 3] = (f32 1 / (f32 1 + exp(neg((X[i, j] * f32 100)))))", "0 1"},
	{"swish", "Y[i < 2, j < 3] = (X[i, j] / (f32 1 + exp(neg((X[i, j] * f32 100)))))", "-20 30"},
	{"gelu by tanh", "Y[i < 2, j < 3] = (X[i, j] * (f32 1 + tanh((X[i, j] + ((X[i, j] * X[i, j]) * (f32 1e30 * X[i, j]))))))", "-40 60"},
	{"product", "Y[i < 2, j < 4] = sum(k < 3) (X[i, k] * W[k, j])", "-180 120"},
	{"infinity less infinity", "Y[i < 2, j < 3] = (exp((X[i, j] * f32 100)) - exp((X[i, j] * f32 99)))", "any"},
	{"zero times infinity", "Y[i < 2, j < 3] = (exp((X[i, j] * f32 100)) * f32 0)", "any"},
	{"a sum that overflows both ways", "Y[i < 2, j < 4] = sum(k < 3) ((X[i, k] * f32 1e37) * W[k, j])", "any"},
	{"a sum that overflows", "Y[i < 2, j < 4] = sum(k < 3) (abs((X[i, k] * f32 1e36)) * abs(W[k, j]))", "0 +Inf"},
	{"zeros", "Y[i < 2, j < 4] = sum(k < 3) ((X[i, k] * f32 0) * W[k, j])", "0 0"},
	{"division by what may be zero", "Y[i < 2, j < 3] = (f32 1 / X[i, j])", "-Inf +Inf"},
	{"square", "Y[i < 2, j < 3] = (X[i, j] * X[i, j])", "0 900"},
	{"odd power", "Y[i < 2, j < 3] = pow(X[i, j], f32 3)", "-8000 27000"},
	{"even power", "Y[i < 2, j < 3] = pow(X[i, j], f32 2)", "0 900"},
	{"root of what may be negative", "Y[i < 2, j < 3] = sqrt(X[i, j])", "any"},
	{"root", "Y[i < 2, j < 3] = sqrt((X[i, j] + f32 21))", "1 7.14"},
	{"selected", "Y[i < 2, j < 3] = select((X[i, j] < f32 0), f32 -7, min(X[i, j], f32 5))", "-7 5"},
	{"rounded to f16", "Y[i < 2, j < 3] = f32(f16((X[i, j] * f32 3000)))", "-Inf +Inf"},
	{"truth values", "Y[i < 2, j < 3] = f32((X[i, j] < f32 3))", "0 1"},
	{"integers", "Y[i < 2, j < 3] = f32((i32(X[i, j]) * i32 3))", "-60 90"},
	{"integers that wrap around", "Y[i < 2, j < 3] = f32((i32(X[i, j]) * i32 2000000000))", "-2147483648 2147483647"},
	{"largest of a row", "Y[i < 2, j < 3] = max(k < 3) X[i, k]", "-20 30"},
	{"normalisation", `m, s[i < 2] f32, f32 = meanvar(k < 3) X[i, k]
		Y[i < 2, j < 3] = ((X[i, j] - m[i]) / sqrt(((s[i] / f32 3) + f32 0.01)))`, "-500 500"},
}

// Ranges are what is expected, and contain what programs compute.
func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range ranged {
		wide := 3
		if strings.Contains(c.stages, "j < 4") {
			wide = 4
		}
		p := program(t, fmt.Sprintf("program @p(X: [2, 3] f32, W: [3, 4] f32) -> (Y: [2, %d] f32) {\n%s\n}", wide, c.stages))
		got := analysis.Ranges(sym.NewContext(), p, []analysis.Range{{Lo: -20, Hi: 30}, {Lo: -2, Hi: 0.5}})[0]
		if c.want == "any" {
			if got.Known() {
				t.Errorf("%s: it is in %v, nothing is to be known", c.name, got)
			}
			continue
		}
		var want analysis.Range
		if _, err := fmt.Sscan(c.want, &want.Lo, &want.Hi); err != nil {
			t.Fatal(err)
		}
		near := func(a, b float64) bool { return a == b || math.Abs(a-b) <= 0.01*math.Abs(b) }
		if !near(got.Lo, want.Lo) || !near(got.Hi, want.Hi) {
			t.Errorf("%s: it is in %v, want %v", c.name, got, want)
		}
		x, w := tensor.New(tensor.F32, 2, 3), tensor.New(tensor.F32, 3, 4)
		for range 200 {
			for i := range tensor.Data[float32](x) {
				tensor.Data[float32](x)[i] = []float32{-20, 30, 0, -20 + 50*r.Float32()}[r.IntN(4)]
			}
			for i := range tensor.Data[float32](w) {
				tensor.Data[float32](w)[i] = []float32{-2, 0.5, -2 + 2.5*r.Float32()}[r.IntN(3)]
			}
			y, err := interp.RunProgram(context.Background(), p, nil, []*tensor.Tensor{x, w})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range tensor.Data[float32](y[0]) {
				if !(float64(v) >= got.Lo && float64(v) <= got.Hi) {
					t.Fatalf("%s: %v is not in %v", c.name, v, got)
				}
			}
		}
	}
}
