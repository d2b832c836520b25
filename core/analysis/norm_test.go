package analysis

import (
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/sym"
)

// Elements of one part of a view are elements of one part of what it is a view of, whatever the shapes are.
func TestPartsBefore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	shape := func(n int64) (dims []int64) {
		for n > 1 {
			d := n
			for d = 1 + rng.Int64N(n); n%d != 0; d = 1 + rng.Int64N(n) {
			}
			dims = append(dims, d)
			n /= d
		}
		return append(dims, 1)
	}
	symbolic := func(dims []int64) (out []sym.Expr) {
		for _, d := range dims {
			out = append(out, sym.Const(d))
		}
		return out
	}
	partOf := func(at int64, dims, parts []int64) (out []int64) {
		for i := len(dims) - 1; i >= 0; i-- {
			out = append(out, at%dims[i]/parts[i])
			at /= dims[i]
		}
		return out
	}
	same := func(a, b []int64) bool {
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	found := 0
	for range 3000 {
		n := []int64{1, 6, 12, 24, 60}[rng.IntN(5)]
		from, to := shape(n), shape(n)
		parts := make([]int64, len(to))
		for i, d := range to {
			for parts[i] = 1 + rng.Int64N(d); d%parts[i] != 0; parts[i] = 1 + rng.Int64N(d) {
			}
		}
		before, ok := partsBefore(symbolic(from), symbolic(to), parts)
		if !ok {
			continue
		}
		found++
		for a := range n {
			for b := range n {
				if same(partOf(a, to, parts), partOf(b, to, parts)) && !same(partOf(a, from, before), partOf(b, from, before)) {
					t.Fatalf("parts %v of %v are %v of %v: %d and %d are of one, and of two", parts, to, before, from, a, b)
				}
			}
		}
	}
	if found < 1000 {
		t.Errorf("%d of 3000 views are followed", found)
	}
}
