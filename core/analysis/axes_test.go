package analysis_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// example is a call of an operator, as a program.
type example struct {
	name string
	p    *ir.Program
}

// examples are the programs of op.Examples.
func examples(t testing.TB) (out []example) {
	t.Helper()
	m, err := text.Parse("examples", op.Examples, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := ir.NewDeducer(m)
	d.Params(m.Main().Params)
	n := map[string]int{}
	for _, s := range m.Main().Stmts {
		if err := d.Stmt(s); err != nil {
			t.Fatal(err)
		}
		p, _, err := d.Call(s).Program()
		if err != nil {
			t.Fatalf("%s: %v", s.Op.Name, err)
		}
		n[s.Op.Name]++
		name := s.Op.Name
		if n[name] > 1 {
			name += fmt.Sprint("#", n[name])
		}
		out = append(out, example{name, p})
	}
	return out
}

// Each operator that has a program has an example.
func TestExamples(t *testing.T) {
	have := map[string]bool{}
	for _, e := range examples(t) {
		name, _, _ := strings.Cut(e.name, "#")
		have[name] = true
	}
	for _, d := range ir.Registered() {
		if (d.Body != nil) != have[d.Name] {
			t.Errorf("%s: a program %t, an example %t", d.Name, d.Body != nil, have[d.Name])
		}
	}
}

// drawn runs a program on drawn operands. The symbol n is 5, others are 4.
type drawn struct {
	r    *rand.Rand
	p    *ir.Program
	bind []int64
}

func newDrawn(r *rand.Rand, p *ir.Program) *drawn {
	d := &drawn{r: r, p: p, bind: make([]int64, len(p.Syms))}
	for i, name := range p.Syms {
		d.bind[i], _ = sizeOf(name)
	}
	return d
}

func sizeOf(symbol string) (int64, bool) {
	if symbol == "n" {
		return 5, true
	}
	return 4, true
}

func (d *drawn) size(t testing.TB, x interface {
	Eval(func(string) (int64, bool)) (int64, error)
}) int64 {
	n, err := x.Eval(sizeOf)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// args draws operands: sometimes of few values, so that some are equal.
func (d *drawn) args(t testing.TB) (args []*tensor.Tensor) {
	few := d.r.IntN(2) == 0
	for _, b := range d.p.Params {
		shape := make([]int64, len(b.Dims))
		for i, e := range b.Dims {
			shape[i] = d.size(t, e)
		}
		x := tensor.New(b.DType, shape...)
		for i := range x.Len() {
			switch {
			case b.DType == tensor.Bool:
				x.SetBool(i, d.r.IntN(2) == 0)
			case b.DType == tensor.I64: // mostly an index
				x.SetInt(i, d.r.Int64N(4))
			case b.DType.IsInt() && b.DType.IsSigned():
				x.SetInt(i, d.r.Int64N(7)-3)
			case b.DType.IsInt():
				x.SetInt(i, d.r.Int64N(6))
			case few:
				x.SetFloat(i, float64(d.r.IntN(9)-4)/2)
			default:
				x.SetFloat(i, d.r.NormFloat64())
			}
		}
		if means := meanings[b.Name]; means != nil {
			means(x, d.r)
		}
		args = append(args, x)
	}
	return args
}

// meanings are what parameters of some names hold that any number would be none of.
var meanings = map[string]func(x *tensor.Tensor, r *rand.Rand){
	"rois": func(x *tensor.Tensor, r *rand.Rand) {
		for i := range x.Len() {
			x.SetFloat(i, float64(r.IntN(4))) // an image, and where in it
		}
	},
	"sample_rate":      func(x *tensor.Tensor, _ *rand.Rand) { x.SetInt(0, 16) },
	"lower_edge_hertz": func(x *tensor.Tensor, _ *rand.Rand) { x.SetFloat(0, 0) },
	"upper_edge_hertz": func(x *tensor.Tensor, _ *rand.Rand) { x.SetFloat(0, 8) },
}

func (d *drawn) run(t testing.TB, args []*tensor.Tensor) []*tensor.Tensor {
	out, err := interp.RunProgram(context.Background(), d.p, d.bind, args)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.p)
	}
	return out
}

// permuted has the first elements along a dim in another order.
func permuted(x *tensor.Tensor, dim int, perm []int) *tensor.Tensor {
	shape := x.Shape()
	if shape[dim] < int64(len(perm)) {
		return x // broadcast over it
	}
	inner := int64(1)
	for _, n := range shape[dim+1:] {
		inner *= n
	}
	y := x.Clone()
	for i := range x.Len() {
		at := i / inner % shape[dim]
		if at < int64(len(perm)) {
			tensor.CopyElem(y, i, x, i+(int64(perm[at])-at)*inner)
		}
	}
	return y
}

// near says whether two results are equal up to rounding.
func near(a, b *tensor.Tensor) bool {
	for i := range a.Len() {
		if a.DType().IsComplex() {
			return false
		}
		x, y := a.Float(i), b.Float(i)
		if x != y && math.IsNaN(x) != math.IsNaN(y) || math.Abs(x-y) > 1e-4*(1+math.Abs(x)) || math.IsInf(x-y, 0) {
			return false
		}
	}
	return true
}

// holds tries what is claimed of an axis once: operands that are permuted along dims give
// results that are.
func (d *drawn) holds(t testing.TB, dims []analysis.BufferDim, size int64) bool {
	perm := d.r.Perm(int(size))
	args := d.args(t)
	want := d.run(t, args)
	for i, b := range d.p.Params {
		for _, x := range dims {
			if x.Buffer == b {
				args[i] = permuted(args[i], x.Dim, perm)
			}
		}
	}
	got := d.run(t, args)
	for i, b := range d.p.Results {
		for _, x := range dims {
			if x.Buffer == b {
				want[i] = permuted(want[i], x.Dim, perm)
			}
		}
		if !near(got[i], want[i]) {
			return false
		}
	}
	return true
}

// touched adds the dims of parameters whose index depends on an axis in another way than by
// being it.
func touched(p *ir.Program, a *analysis.Axis) []analysis.BufferDim {
	out := slices.Clone(a.Dims)
	for _, x := range a.Stages {
		x.Stage.Walk(func(l *ir.Scalar) bool {
			if l.Op != ir.OpLoad || !slices.Contains(p.Params, l.Buf) {
				return true
			}
			for d, ix := range l.Args {
				depends := false
				ix.Walk(func(y *ir.Scalar) bool {
					depends = depends || y.Op == ir.OpAxis && y.Axis == x.Axis
					return y.Op != ir.OpLoad
				})
				if slot := (analysis.BufferDim{Buffer: l.Buf, Dim: d}); depends && !slices.Contains(out, slot) {
					out = append(out, slot)
				}
			}
			return true
		})
	}
	return out
}

// extents are the fewest and the most positions along an axis: a stage may go over a part of
// what it reads.
func extents(t testing.TB, d *drawn, a *analysis.Axis, dims []analysis.BufferDim) (least, most int64) {
	least = d.size(t, a.Extent)
	most = least
	add := func(n int64) {
		if n > 1 {
			least, most = min(least, n), max(most, n)
		}
	}
	for _, x := range a.Stages {
		add(d.size(t, x.Axis.Extent))
	}
	for _, x := range dims {
		add(d.size(t, x.Buffer.Dims[x.Dim]))
	}
	return least, most
}

// checkAxes permutes along every axis of a program: an axis that is claimed stands it, and of
// every other axis there is a counterexample, in whatever of the two ways it is permuted.
func checkAxes(t *testing.T, p *ir.Program, r *rand.Rand) (claimed, not int) {
	d := newDrawn(r, p)
	for _, a := range analysis.Axes(p) {
		if a.Why == "" {
			claimed++
			n, _ := extents(t, d, a, a.Dims)
			for range 4 {
				if !d.holds(t, a.Dims, n) {
					t.Errorf("axis %s is claimed (%s), and permuting it changes results:\n%s", a.Name, a.Rule(), p)
					break
				}
			}
			continue
		}
		not++
		for _, dims := range [][]analysis.BufferDim{a.Dims, touched(p, a)} {
			least, most := extents(t, d, a, dims)
			if len(dims) == 0 || most < 2 {
				continue // nothing could be permuted
			}
			found := false
			for i := 0; i < 300 && !found; i++ {
				found = !d.holds(t, dims, []int64{least, most}[i%2])
			}
			if !found {
				t.Errorf("axis %s is not claimed (%s), and no counterexample was found along %v:\n%s", a.Name, a.Why, dims, p)
			}
		}
	}
	return claimed, not
}

// Axes are what they are said to be, of all operators that have a program.
func TestAxes(t *testing.T) {
	claimed, not := 0, 0
	for i, e := range examples(t) {
		t.Run(e.name, func(t *testing.T) {
			c, n := checkAxes(t, e.p, rand.New(rand.NewPCG(7, uint64(i))))
			claimed, not = claimed+c, not+n
		})
	}
	if claimed < 300 || not < 100 {
		t.Errorf("%d axes are claimed, %d are not: too few to say anything", claimed, not)
	}
}

// An axis goes through the stages of a fused program.
func TestAxesOfFusedPrograms(t *testing.T) {
	p := program(t, `program @mlp[m, k, h, o](X: [m, k] f32, W: [k, h] f32, B: [h] f32, V: [h, o] f32, G: [o] f32) -> (Y: [m, o] f32) {
		a[i < m, j < h] f32 = sum(l < k) (X[i, l] * W[l, j])
		r[i < m, j < h] f32 = max((a[i, j] + B[j]), f32 0)
		b[i < m, j < o] f32 = sum(l < h) (r[i, l] * V[l, j])
		s[i < m] f32 = sum(j < o) (b[i, j] * b[i, j])
		Y[i < m, j < o] = ((b[i, j] / sqrt((s[i] + f32 1))) * G[j])
	}`)
	want := map[string]string{"m": "spatial", "k": "sum commutes", "h": "sum commutes", "o": "spatial, sum commutes"}
	for _, a := range analysis.Axes(p) {
		if a.Rule() != want[a.Name] {
			t.Errorf("axis %s: %s, want %s", a.Name, a.Rule(), want[a.Name])
		}
		delete(want, a.Name)
	}
	if len(want) > 0 {
		t.Errorf("these axes are missing: %v", want)
	}
	checkAxes(t, p, rand.New(rand.NewPCG(1, 2)))

	// A stage that reads a row by its place fixes the axis for all that it goes through.
	p = program(t, `program @first[m, k](X: [m, k] f32) -> (Y: [m, k] f32) {
		e[i < m, j < k] f32 = exp(X[i, j])
		Y[i < m, j < k] = (e[i, j] - e[0, j])
	}`)
	a := analysis.Axes(p)
	if len(a) != 2 || a[0].Why != "e is read at 0" || len(a[0].Stages) != 2 || a[1].Why != "" {
		t.Errorf("rows: %s, columns: %s", a[0].Rule(), a[1].Rule())
	}
	checkAxes(t, p, rand.New(rand.NewPCG(1, 2)))
}

// Indices that are no bare position, and reductions that go by order, as no operator's example has them.
func TestAxesOfIndices(t *testing.T) {
	for _, x := range []struct{ src, axis, why string }{
		{"program @second[n](X: [2*n, 3] f32) -> (Y: [n, 3] f32) {\nY[i < n, j < 3] = X[(2 * i), j]\n}", "n", "i is in (2 * i)"},
		{"program @next[n](X: [n + 1, 3] f32) -> (Y: [n, 3] f32) {\nY[i < n, j < 3] = X[(i + 1), j]\n}", "n", "i is in (i + 1)"},
		{"program @back[n](X: [n, 3] f32) -> (Y: [n, 3] f32) {\nY[i < n, j < 3] = X[(({n} - 1) - i), j]\n}", "n", "X is read at (({n} - 1) - i)"},
		{"program @diagonal[n](X: [n, n] f32, V: [n] f32) -> (Y: [n] f32) {\nY[i < n] = (X[i, i] * V[(i // 2)])\n}", "n", "V is read at (i // 2)"},
		{"program @first[n](X: [n, 6] f32, P: [n, 6] i64) -> (Y: [n] f32, I: [n] i64) {\nY, I[i < n] = argmax(j < 6) X[i, j], P[i, j]\n}", "j", "argmax keeps the first of equals"},
		{"program @each[n](X: [n, 1] f32, V: [n] f32) -> (Y: [n] f32) {\nY[i < n] = (X[i, 0] * V[i])\n}", "n", ""},
	} {
		p := program(t, x.src)
		why := "there is no such axis"
		for _, a := range analysis.Axes(p) {
			if a.Extent.IsInt(1) {
				t.Errorf("@%s has an axis of one position: %s", p.Name, a.Rule())
			}
			if a.Name == x.axis {
				why = a.Why
			}
		}
		if why != x.why {
			t.Errorf("axis %s of @%s: %q, want %q", x.axis, p.Name, why, x.why)
		}
		checkAxes(t, p, rand.New(rand.NewPCG(3, 4)))
	}
}
