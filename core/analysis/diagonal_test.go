package analysis_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/text"
)

// What is told by the difference of two positions is the same along the diagonal, however it is put together, and nothing else is.
func TestDiagonal(t *testing.T) {
	for _, c := range []struct {
		name, at string // of positions i and j
		is       bool
	}{
		{"difference", "(j - i)", true},
		{"distance", "abs((i - j))", true},
		{"cut off", "max(min((j - i), 2), -2)", true},
		{"chosen", "select(((i - j) < 2), (i - j), 5)", true},
		{"twice", "(((2 * j) - i) - i)", true},
		{"beside a size", "((j - i) + {n})", true},
		{"one number", "3", true},
		{"of the row", "i", false},
		{"sum", "(i + j)", false},
		{"product", "(i * j)", false},
		{"other steps", "((2 * j) - i)", false},
		{"chosen by the key", "select((j < 2), (i - j), 5)", false},
		{"rest", "((j - i) + (i % 2))", false},
	} {
		m, err := text.Parse(c.name, []byte(`module {
  func @main(%table: [9, 2] f32) -> ([1, 2, n, n] f32) {
    %at: [n, n] i64 = call @at[n]()
    %looked: [n, n, 2] f32 = call @look[n](%table, %at)
    %turned: [2, n, n] f32 = call @turn[n](%looked)
    %y: [1, 2, n, n] f32 = vm.view(%turned) {type = type [1, 2, n, n] f32}
    return %y
  }
  program @at[n]() -> (A: [n, n] i64) {
    A[i < n, j < n] = `+c.at+`
  }
  program @look[n](T: [9, 2] f32, A: [n, n] i64) -> (Y: [n, n, 2] f32) {
    Y[i < n, j < n, k < 2] = (T[select((A[i, j] < 0), (A[i, j] + 9), A[i, j]), k] * f32 2)
  }
  program @turn[n](Y: [n, n, 2] f32) -> (Z: [2, n, n] f32) {
    Z[i < 2, j < n, k < n] = Y[j, k, i]
  }
}`), nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		v := m.Main().Results[0]
		if got := analysis.Diagonal(v, 2, 3); got != c.is {
			t.Errorf("%s: along positions: %v", c.name, got)
		}
		if analysis.Diagonal(v, 1, 2) || analysis.Diagonal(v, 2, 2) {
			t.Errorf("%s: along dims of which one is none of positions", c.name)
		}
		if analysis.Diagonal(m.Main().Params[0], 0, 1) {
			t.Errorf("%s: of what comes in", c.name)
		}
	}
}
