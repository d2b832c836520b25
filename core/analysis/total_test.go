package analysis_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/sym"
)

// What is proved to compute its results from any operands, and what may fail.
func TestTotal(t *testing.T) {
	for _, c := range []struct {
		name, program string
		total         bool
	}{
		{"map", `program @p[n](X: [n, 4] f32) -> (Y: [4, n] f32) { Y[i < 4, j < n] = X[j, i] }`, true},
		{"two in a row", `program @p[a, b](X: [a, 4] f32, Z: [b, 4] f32) -> (Y: [a + b, 4] f32) {
			Y[i < a + b, j < 4] = guard((i < {a}), X[i, j], Z[(i - {a}), j])
		}`, true},
		{"two in a row, the wrong way round", `program @p[a, b](X: [a, 4] f32, Z: [b, 4] f32) -> (Y: [a + b, 4] f32) {
			Y[i < a + b, j < 4] = guard((i < {b}), X[i, j], Z[(i - {a}), j])
		}`, false},
		{"border", `program @p[n](X: [n] f32) -> (Y: [n + 2] f32) {
			Y[i < n + 2] = guard((((i - 1) >= 0) & ((i - 1) < {n})), X[(i - 1)], f32 0)
		}`, true},
		{"border of one side", `program @p[n](X: [n] f32) -> (Y: [n + 2] f32) {
			Y[i < n + 2] = guard(((i - 1) >= 0), X[(i - 1)], f32 0)
		}`, false},
		{"outside of the range", `program @p[n](X: [n] f32) -> (Y: [n + 2] f32) {
			Y[i < n + 2] = guard((((i - 1) < 0) | ((i - 1) >= {n})), f32 0, X[(i - 1)])
		}`, true},
		{"rows that an index tells", `program @p[n, k](X: [n, 4] f32, I: [k] i64) -> (Y: [k, 4] f32) { Y[i < k, j < 4] = X[I[i], j] }`, false},
		{"regrouped", `program @p[n](X: [n, 4] f32) -> (Y: [4*n] f32) { Y[i < 4*n] = X[(i // 4), (i % 4)] }`, true},
		{"the dim broadcasts", `program @p[n](X: [1] f32, Z: [n] f32) -> (Y: [n] f32) { Y[i < n] = (X[bcast(i, {1}, {n})] + Z[bcast(i, {n}, {n})]) }`, true},
		{"the dim may broadcast", `program @p[n, m](X: [m] f32, Z: [n] f32) -> (Y: [n] f32) { Y[i < n] = (X[bcast(i, {m}, {n})] + Z[i]) }`, false},
		{"sum of none", `program @p[n](X: [n] f32) -> (Y: [] f32) { Y[] = sum(i < n) X[i] }`, true},
		{"place of the greatest of none", `program @p[n](X: [n] f32) -> (Y: [] f32, Z: [] i64) { Y, Z[] = argmax(i < n) X[i], i }`, false},
		{"place of the greatest of three", `program @p[n](X: [n, 3] f32) -> (Y: [n] f32, Z: [n] i64) { Y, Z[j < n] = argmax(i < 3) X[j, i], i }`, true},
		{"scatter of all", `program @p[n](X: [n] f32, U: [n] f32) -> (Y: [n] f32) { Y[i < n] = scatter sum(X, [i]) U[i] }`, true},
		{"scatter to what an index tells", `program @p[n, k](X: [n] f32, I: [k] i64) -> (Y: [n] f32) { Y[i < k] = scatter last(X, [I[i]]) f32 0 }`, false},
		{"text", `program @p[n](X: [n] str) -> (Y: [n] f32) { Y[i < n] = f32(X[i]) }`, false},
		{"a size that may be negative", `program @p[n](X: [n] f32) -> (Y: [n - 2] f32) { Y[i < n - 2] = X[i] }`, false},
		{"a size that may be none", `program @p[n, k](X: [n] f32) -> (Y: [n // k] f32) { Y[i < n // k] = f32 0 }`, false},
	} {
		if got := analysis.Total(sym.NewContext(), program(t, c.program)); got != c.total {
			t.Errorf("%s: total is %v, want %v", c.name, got, c.total)
		}
	}
}
