package analysis_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// The post-dominator of a node is the first of the nodes without which it does not get to
// the end.
func TestPostDominators(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		end := 1 + r.IntN(12)
		next := make([][]int, end)
		for i := range next {
			for range r.IntN(3) {
				next[i] = append(next[i], i+1+r.IntN(end-i))
			}
		}
		arrives := func(from, without int) bool {
			seen := make([]bool, end+1)
			var visit func(i int) bool
			visit = func(i int) bool {
				if i == without || seen[i] {
					return false
				}
				seen[i] = true
				if i == end || len(next[i]) == 0 {
					return true
				}
				return slices.ContainsFunc(next[i], visit)
			}
			return visit(from)
		}
		for i, got := range analysis.PostDominators(next) {
			want := end
			for j := i + 1; j < end; j++ {
				if !arrives(i, j) {
					want = j
					break
				}
			}
			if got != want {
				t.Fatalf("%v: of %d it is %d, not %d", next, i, got, want)
			}
		}
	}
}

// Quotients and remainders of what was merged from axes are the axes again, and nothing
// else goes away.
func TestSimplifyIndex(t *testing.T) {
	n, m := sym.Var("n"), sym.Var("m")
	ctx := sym.NewContext()
	i, j := &ir.Axis{Name: "i", Extent: n}, &ir.Axis{Name: "j", Extent: m}
	one, k := &ir.Axis{Name: "o", Extent: sym.Const(1)}, &ir.Axis{Name: "k", Extent: sym.Const(6)}
	r := &ir.Axis{Name: "r", Extent: n.Mul(m)}
	flat := i.Ix().Mul(ir.SymVal(m)).Add(j.Ix())
	by := func(n int64) *ir.Scalar { return ir.IntLit(n) }
	for _, c := range []struct {
		what      string
		got, want *ir.Scalar
	}{
		{"(i*m + j)//m", flat.FloorDiv(ir.SymVal(m)), i.Ix()},
		{"(i*m + j)%m", flat.Mod(ir.SymVal(m)), j.Ix()},
		{"(i*m*6 + j*6 + k)//6", flat.Mul(by(6)).Add(k.Ix()).FloorDiv(by(6)), flat},
		{"(i*m*6 + j*6 + k)//(6*m)", flat.Mul(by(6)).Add(k.Ix()).FloorDiv(ir.SymVal(m.Mul(sym.Const(6)))), i.Ix()},
		{"(i*6 + k)%3", i.Ix().Mul(by(6)).Add(k.Ix()).Mod(by(3)), i.Ix().Mul(by(6)).Add(k.Ix()).Mod(by(3))},
		{"(i*m + j)//n", flat.FloorDiv(ir.SymVal(n)), flat.FloorDiv(ir.SymVal(n))},
		{"(i*8 + k + 2)%8", i.Ix().Mul(by(8)).Add(k.Ix()).Add(by(2)).Mod(by(8)), k.Ix().Add(by(2))},
		{"(i*8 + k + 3)%8", i.Ix().Mul(by(8)).Add(k.Ix()).Add(by(3)).Mod(by(8)), i.Ix().Mul(by(8)).Add(k.Ix()).Add(by(3)).Mod(by(8))},
		{"(k - 1)//6", k.Ix().Sub(by(1)).FloorDiv(by(6)), k.Ix().Sub(by(1)).FloorDiv(by(6))},
		{"(i*m + j)//(m*n)", flat.FloorDiv(ir.SymVal(m.Mul(n))), ir.IntLit(0)},
		{"(i*6 + k)//12", i.Ix().Mul(by(6)).Add(k.Ix()).FloorDiv(by(12)), i.Ix().FloorDiv(by(2))},
		{"r//m*m + r%m", r.Ix().FloorDiv(ir.SymVal(m)).Mul(ir.SymVal(m)).Add(r.Ix().Mod(ir.SymVal(m))), r.Ix()},
		{"(r//m*m + r%m)*6 + k", r.Ix().FloorDiv(ir.SymVal(m)).Mul(ir.SymVal(m.Mul(sym.Const(6)))).Add(k.Ix()).Add(r.Ix().Mod(ir.SymVal(m)).Mul(by(6))), r.Ix().Mul(by(6)).Add(k.Ix())},
		{"k//m*m + k%m, where m may be 0", k.Ix().FloorDiv(ir.SymVal(m)).Mul(ir.SymVal(m)).Add(k.Ix().Mod(ir.SymVal(m))), k.Ix().FloorDiv(ir.SymVal(m)).Mul(ir.SymVal(m)).Add(k.Ix().Mod(ir.SymVal(m)))},
		{"(r*6 + k)%(6*m)", r.Ix().Mul(by(6)).Add(k.Ix()).Mod(ir.SymVal(m.Mul(sym.Const(6)))), r.Ix().Mod(ir.SymVal(m)).Mul(by(6)).Add(k.Ix())},
		{"(i*6 + o)//6", i.Ix().Mul(by(6)).Add(one.Ix()).FloorDiv(by(6)), i.Ix()},
	} {
		if got, want := show(analysis.SimplifyIndex(ctx, c.got)), show(c.want); got != want {
			t.Errorf("%s is %s, not %s", c.what, got, want)
		}
	}
}

// Digits tell the positions of an axis apart where they are all there.
func TestDigits(t *testing.T) {
	m := sym.Var("m")
	a := &ir.Axis{Name: "a", Extent: m.Mul(sym.Const(12))}
	x, by := a.Ix(), func(e sym.Expr) *ir.Scalar { return ir.SymVal(e) }
	four, three := sym.Const(4), sym.Const(3)
	for _, c := range []struct {
		what  string
		index []*ir.Scalar
		want  bool
	}{
		{"a", []*ir.Scalar{x}, true},
		{"a//4, a%4", []*ir.Scalar{x.FloorDiv(by(four)), x.Mod(by(four))}, true},
		{"a%4, a//4%3, a//12", []*ir.Scalar{x.Mod(by(four)), x.FloorDiv(by(four)).Mod(by(three)), x.FloorDiv(by(sym.Const(12)))}, true},
		{"a%4, a//4%(3*m)", []*ir.Scalar{x.Mod(by(four)), x.FloorDiv(by(four)).Mod(by(m.Mul(three)))}, true},
		{"a%4, a//4%3", []*ir.Scalar{x.Mod(by(four)), x.FloorDiv(by(four)).Mod(by(three))}, false},
		{"a%4, a//3", []*ir.Scalar{x.Mod(by(four)), x.FloorDiv(by(three))}, false},
		{"a//4", []*ir.Scalar{x.FloorDiv(by(four))}, false},
	} {
		var digits []analysis.Digit
		for _, ix := range c.index {
			d, ok := analysis.DigitOf(ix)
			if !ok {
				t.Errorf("%s is no digit", c.what)
			}
			digits = append(digits, d)
		}
		if got := analysis.Spelled(digits); got != c.want {
			t.Errorf("%s tells positions apart: %t, not %t", c.what, got, c.want)
		}
	}
	if _, ok := analysis.DigitOf(x.Mod(by(four)).FloorDiv(by(three))); ok {
		t.Error("(a%4)//3 is a digit")
	}
}

// show writes an index as a stage that loads nothing but it.
func show(x *ir.Scalar) string {
	out := &ir.Buffer{Name: "Y", DType: x.DType}
	p := &ir.Program{Name: "p", Results: []*ir.Buffer{out}, Stages: []*ir.Stage{{Kind: ir.MapStage, Outs: []*ir.Buffer{out}, Exprs: []*ir.Scalar{x}}}}
	return p.String()
}

// The axes of a product are of both factors, or of one.
func TestFactorAxes(t *testing.T) {
	p := program(t, `program @p[b, n, m](A: [b, n, 4] f32, B: [b, 4, m] f32) -> (Y: [b, m, n] f32) {
		Y[i < b, j < m, k < n] = sum(l < 4) (A[i, k, l] * B[i, l, j])
	}`)
	axes := p.Stages[0].Axes
	both, left, right := analysis.FactorAxes(p.Stages[0])
	if !slices.Equal(both, axes[:1]) || !slices.Equal(left, axes[2:]) || !slices.Equal(right, axes[1:2]) {
		t.Errorf("got %d, %d and %d axes", len(both), len(left), len(right))
	}
	q := program(t, `program @q[n](A: [n, 4] f32) -> (Y: [n] f32) {
		Y[i < n] = sum(l < 4) A[i, l]
	}`)
	if both, left, right := analysis.FactorAxes(q.Stages[0]); both != nil || left != nil || right != nil {
		t.Errorf("a sum has %d, %d and %d", len(both), len(left), len(right))
	}
}
