package analysis_test

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
)

// sources are stages and what is to be said of zeros in their last result. X and Z are inputs of
// numbers, M of truth values, A of integers; R is what a ReLU has made.
var sources = []struct{ name, stages, want string }{
	{"relu", `Y[i < n, j < 8] = max(X[i, j], f32 0)`, "computed: max(X[i, j], f32 0)"},
	{"relu of a sum", `Y[i < n, j < 8] = max((X[i, j] + Z[i, j]), f32 0)`, "computed: max((X[i, j] + Z[i, j]), f32 0)"},
	{"relu by a choice", `Y[i < n, j < 8] = select((X[i, j] > f32 0), X[i, j], f32 0)`, "computed: select((X[i, j] > f32 0), X[i, j], f32 0)"},
	{"squared relu", `Y[i < n, j < 8] = (max(X[i, j], f32 0) * max(X[i, j], f32 0))`, "computed: (max(X[i, j], f32 0) * max(X[i, j], f32 0))"},
	{"relu6", `Y[i < n, j < 8] = min(max(X[i, j], f32 0), f32 6)`, "computed: min(max(X[i, j], f32 0), f32 6)"},
	{"hard swish", `Y[i < n, j < 8] = (X[i, j] * max(f32 0, min(f32 1, ((X[i, j] * f32 0.16666667) + f32 0.5))))`, "computed: (X[i, j] * max(f32 0, min(f32 1, ..)))"},
	{"threshold", `Y[i < n, j < 8] = select((X[i, j] > f32 1.5), X[i, j], f32 0)`, "computed: select((X[i, j] > f32 1.5), X[i, j], f32 0)"},
	{"shrink", `Y[i < n, j < 8] = select((abs(X[i, j]) < f32 0.5), f32 0, X[i, j])`, "computed: select((abs(..) < f32 0.5), f32 0, X[i, j])"},
	{"what is below another", `Y[i < n, j < 8] = select((X[i, j] >= Z[i, j]), X[i, j], f32 0)`, "computed: select((X[i, j] >= Z[i, j]), X[i, j], f32 0)"},
	{"leaky relu", `Y[i < n, j < 8] = select((X[i, j] > f32 0), X[i, j], (X[i, j] * f32 0.01))`, ""},
	{"gelu", `Y[i < n, j < 8] = ((X[i, j] * f32 0.5) * (f32 1 + erf((X[i, j] * f32 0.70710677))))`, ""},
	{"silu", `Y[i < n, j < 8] = (X[i, j] * (f32 1 / (f32 1 + exp(neg(X[i, j])))))`, ""},
	{"exponential linear unit", `Y[i < n, j < 8] = select((X[i, j] > f32 0), X[i, j], (exp(X[i, j]) - f32 1))`, ""},
	{"clip at 1", `Y[i < n, j < 8] = max(X[i, j], f32 1)`, ""},

	{"behind a transpose", `Y[i < 8, j < n] = R[j, i]`, "computed: max(I[i, j], f32 0)"},
	{"behind rows that are picked", `Y[i < n, j < 8] = R[A[i], j]`, "computed: max(I[i, j], f32 0)"},
	{"joined with others", `Y[i < n, j < 16] = select((j < 8), X[i, j], R[i, (j - 8)])`, "computed: max(I[i, j], f32 0)"},
	{"times a gate that is open", `Y[i < n, j < 8] = (R[i, j] * X[i, j])`, "computed: max(I[i, j], f32 0)"},
	{"scaled, in f16", `T[i < n, j < 8] f16 = f16((R[i, j] * f32 0.5))
		Y[i < n, j < 8] = f32(T[i, j])`, "computed: max(I[i, j], f32 0)"},
	{"with a bias", `Y[i < n, j < 8] = (R[i, j] + f32 1)`, ""},
	{"divided", `Y[i < n, j < 8] = (R[i, j] / X[i, j])`, "computed: max(I[i, j], f32 0)"},
	{"the largest of some", `Y[i < n] = max(k < 8) R[i, k]`, "computed: max(I[i, j], f32 0)"},
	{"a sum", `Y[i < n] = sum(k < 8) R[i, k]`, ""},
	{"a closed gate", `G[i < n] f32 = max(f32 0, min(f32 1, ((X[i, 0] * f32 0.2) + f32 0.5)))
		Y[i < n, j < 8] = (Z[i, j] * G[i])`, "computed: max(f32 0, min(f32 1, (.. + f32 0.5)))"},

	{"a mask of truth values", `Y[i < n, j < 8] = select(M[i, j], X[i, j], f32 0)`, "mask: where %m is false"},
	{"a mask the other way", `Y[i < n, j < 8] = select(M[i, j], f32 0, X[i, j])`, "mask: where %m is true"},
	{"a mask times numbers", `Y[i < n, j < 8] = (X[i, j] * f32(M[i, j]))`, "mask: where %m is false"},
	{"a mask of integers", `Y[i < n, j < 8] = (X[i, j] * f32(A[i]))`, "mask: where %a is 0"},
	{"a mask in numbers", `Y[i < n, j < 8] = (X[i, j] * W[i, j])`, "mask: where %w is 0"},
	{"a mask in numbers, of rows", `Y[i < n, j < 8] = (X[i, j] * V[i])`, "mask: where %v is 0"},
	{"a factor that is no mask", `T[i < n, j < 8] f32 = (X[i, j] * Z[i, j])
		Y[i < n, j < 8] = (T[i, j] + Z[i, j])`, ""},
	{"a mask in numbers, in f16", `Y[i < n, j < 8] = f32(f16((f32(f16(X[i, j])) * f32(f16(W[i, j])))))`, "mask: where %w is 0"},
	{"what is chosen where a mask in numbers is not zero", `Y[i < n, j < 8] = select((W[i, j] == f32 0), f32 0, X[i, j])`, "mask: where %w is 0"},
	{"what is chosen by a mask in numbers", `Y[i < n, j < 8] = select(bool(W[i, j]), X[i, j], f32 0)`, "mask: where %w is 0"},
	{"what is chosen by a comparison of a mask", `Y[i < n, j < 8] = select((W[i, j] > f32 0.5), f32 0, X[i, j])`, "mask: where %w is 1"},
	{"what is divided where it can be", `T[i < n, j < 8] f32 = (X[i, j] + Z[i, j])
		Y[i < n, j < 8] = select((T[i, j] == f32 0), f32 0, (X[i, j] / T[i, j]))`, ""},
	{"one-hot", `Y[i < n, j < 8] = select((A[i] == j), f32 1, f32 0)`, "one-hot: but where %a is the position"},
	{"one-hot of a position that may count from the end", `Y[i < n, j < 8] = select((select((A[i] < 0), (A[i] + 8), A[i]) == j), f32 1, f32 0)`, "one-hot: but where %a is the position"},
	{"a triangle", `Y[i < n, j < n] = select((j <= i), X[i, 0], f32 0)`, "positions: by positions: (j <= i)"},
	{"padding", `Y[i < n, j < 10] = guard((j < 8), X[i, j], f32 0)`, ""},
	{"scattered", `B[i < n] f32 = f32 0
		Y[u < n] = scatter last(B, [A[u]]) X[u, 0]`, "scattered: scattered into zeros"},
	{"scattered into others", `B[i < n] f32 = f32 1
		Y[u < n] = scatter last(B, [A[u]]) X[u, 0]`, ""},

	{"softmax with a mask of -inf", `S[i < n, j < 8] f32 = (X[i, j] + select(M[i, j], f32 0, f32 -inf))` + softmax, "mask: masked by -Inf where %m is false"},
	{"softmax with a mask of the lowest number", `S[i < n, j < 8] f32 = ((X[i, j] * f32 0.125) + ((f32 1 - f32(A[i])) * f32 -3.4028235e+38))` + softmax, "mask: masked by -3.4e+38 where %a is 0"},
	{"softmax with a mask of -10000", `S[i < n, j < 8] f32 = select(M[i, j], f32 -10000, X[i, j])` + softmax, "mask: masked by -1e+04 where %m is true"},
	{"softmax, causal", `S[i < n, j < 8] f32 = select((j <= i), X[i, j], f32 -inf)` + softmax, "positions: masked by -Inf by positions"},
	{"softmax", `S[i < n, j < 8] f32 = X[i, j]` + softmax, ""},

	{"a constant that is pruned", `Y[i < n, j < 8] = C[j]`, "constant: 75% of @c is zero"},
	{"a constant mask", `Y[i < n, j < 8] = (X[i, j] * C[j])`, "constant: 75% of @c is zero"},
	{"rows of an embedding", `Y[i < n, j < 2] = E[A[i], j]`, "constant: 1 of 5 rows of @e are zero"},
}

const softmax = `
		L[i < n] f32 = max(k < 8) S[i, k]
		E1[i < n, j < 8] f32 = exp((S[i, j] - L[i]))
		T[i < n] f32 = sum(k < 8) E1[i, k]
		Y[i < n, j < 8] = (E1[i, j] / T[i])`

// Sources of zeros are found by what programs compute.
func TestZeros(t *testing.T) {
	for _, c := range sources {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			dims := map[bool]string{true: "[n]", false: "[n, 8]"}[!strings.Contains(lastStage(c.stages), ", j <")]
			for from, to := range map[string]string{"Y[i < 8, j < n]": "[8, n]", "Y[i < n, j < 16]": "[n, 16]", "Y[i < n, j < 10]": "[n, 10]", "Y[i < n, j < n]": "[n, n]", "Y[i < n, j < 2]": "[n, 2]"} {
				if strings.Contains(c.stages, from) {
					dims = to
				}
			}
			m := parse(t, `module {
				const @c: [8] f32 = {0, 0, 1, 0, 0, 0, 1, 0}
				const @e: [5, 2] f32 = {1, 2, 0, 0, 3, 4, 5, 6, 7, 8}
				func @main(%x: [n, 8] f32, %z: [n, 8] f32, %m: [n, 8] bool, %a: [n] i64, %w: [n, 8] f32, %v: [n] f32) -> ("y": `+dims+` f32) {
					%r: [n, 8] f32 = call @relu[n](%x)
					%y: `+dims+` f32 = call @p[n](%x, %z, %m, %a, %r, %w, %v, @c, @e)
					return %y
				}
				program @relu[n](I: [n, 8] f32) -> (O: [n, 8] f32) {
					O[i < n, j < 8] = max(I[i, j], f32 0)
				}
				program @p[n](X: [n, 8] f32, Z: [n, 8] f32, M: [n, 8] bool, A: [n] i64, R: [n, 8] f32, W: [n, 8] f32, V: [n] f32, C: [8] f32, E: [5, 2] f32) -> (Y: `+dims+` f32) {
					`+c.stages+`
				}
			}`)
			got := ""
			if z := analysis.NewFacts(m, 1<<20).Zeros(m.Main().Results[0]); z != nil {
				got = z.Kind.String() + ": " + z.Why
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func lastStage(s string) string { return s[strings.LastIndex(s, "Y["):] }
