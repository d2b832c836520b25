package builtin_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// A layer of BERT in the operators that exporters write for it: no operator says softmax,
// attention, normalisation or gelu.
const bertLayer = `module {
  %consts
  func @main(%x: [b, s, 8] f32, %mask: [b, 1, 1, s] f32) -> ([b, s, 8] f32) {
    %q0: [b, s, 8] f32 = onnx.MatMul(%x, @wq)
    %q1: [b, s, 8] f32 = onnx.Add(@bq, %q0)
    %q2: [b, s, 2, 4] f32 = onnx.Reshape(%q1, @heads)
    %q: [b, 2, s, 4] f32 = onnx.Transpose(%q2) {perm = [0, 2, 1, 3]}
    %k0: [b, s, 8] f32 = onnx.MatMul(%x, @wk)
    %k1: [b, s, 8] f32 = onnx.Add(@bk, %k0)
    %k2: [b, s, 2, 4] f32 = onnx.Reshape(%k1, @heads)
    %v0: [b, s, 8] f32 = onnx.MatMul(%x, @wv)
    %v1: [b, s, 8] f32 = onnx.Add(@bv, %v0)
    %v2: [b, s, 2, 4] f32 = onnx.Reshape(%v1, @heads)
    %v: [b, 2, s, 4] f32 = onnx.Transpose(%v2) {perm = [0, 2, 1, 3]}
    %k: [b, 2, 4, s] f32 = onnx.Transpose(%k2) {perm = [0, 2, 3, 1]}
    %s0: [b, 2, s, s] f32 = onnx.MatMul(%q, %k)
    %s1: [b, 2, s, s] f32 = onnx.Div(%s0, @two)
    %s2: [b, 2, s, s] f32 = onnx.Add(%s1, %mask)
    %top: [b, 2, s, 1] f32 = onnx.ReduceMax(%s2, @last)
    %low: [b, 2, s, s] f32 = onnx.Sub(%s2, %top)
    %e: [b, 2, s, s] f32 = onnx.Exp(%low)
    %sum: [b, 2, s, 1] f32 = onnx.ReduceSum(%e, @last)
    %p: [b, 2, s, s] f32 = onnx.Div(%e, %sum)
    %o0: [b, 2, s, 4] f32 = onnx.MatMul(%p, %v)
    %o1: [b, s, 2, 4] f32 = onnx.Transpose(%o0) {perm = [0, 2, 1, 3]}
    %o2: [b, s, 8] f32 = onnx.Reshape(%o1, @together)
    %o3: [b, s, 8] f32 = onnx.MatMul(%o2, @wo)
    %o4: [b, s, 8] f32 = onnx.Add(@bo, %o3)
    %o: [b, s, 8] f32 = onnx.Add(%o4, %x)
    %n0: [b, s, 1] f32 = onnx.ReduceMean(%o, @last)
    %n1: [b, s, 8] f32 = onnx.Sub(%o, %n0)
    %n2: [b, s, 8] f32 = onnx.Pow(%n1, @two)
    %n3: [b, s, 1] f32 = onnx.ReduceMean(%n2, @last)
    %n4: [b, s, 1] f32 = onnx.Add(%n3, @eps)
    %n5: [b, s, 1] f32 = onnx.Sqrt(%n4)
    %n6: [b, s, 8] f32 = onnx.Div(%n1, %n5)
    %n7: [b, s, 8] f32 = onnx.Mul(%n6, @g1)
    %n: [b, s, 8] f32 = onnx.Add(%n7, @bo)
    %f0: [b, s, 16] f32 = onnx.MatMul(%n, @w1)
    %f1: [b, s, 16] f32 = onnx.Add(@b1, %f0)
    %f2: [b, s, 16] f32 = onnx.Div(%f1, @root)
    %f3: [b, s, 16] f32 = onnx.Erf(%f2)
    %f4: [b, s, 16] f32 = onnx.Add(%f3, @one)
    %f5: [b, s, 16] f32 = onnx.Mul(%f1, %f4)
    %f: [b, s, 16] f32 = onnx.Mul(%f5, @half)
    %h0: [b, s, 8] f32 = onnx.MatMul(%f, @w2)
    %h1: [b, s, 8] f32 = onnx.Add(@bo, %h0)
    %h: [b, s, 8] f32 = onnx.Add(%h1, %n)
    %y: [b, s, 8] f32 = onnx.LayerNormalization(%h, @g1, @bo)
    return %y
  }
}`

func bertLayerModule(t *testing.T) *ir.Module {
	var consts strings.Builder
	r := rand.New(rand.NewPCG(1, 1))
	draw := func(name string, dims ...int) {
		n := 1
		for _, d := range dims {
			n *= d
		}
		values := make([]string, n)
		for i := range values {
			values[i] = fmt.Sprintf("%.3f", r.NormFloat64())
		}
		fmt.Fprintf(&consts, "const @%s: %s f32 = {%s}\n", name, strings.ReplaceAll(fmt.Sprint(dims), " ", ", "), strings.Join(values, ", "))
	}
	for _, w := range []string{"wq", "wk", "wv", "wo"} {
		draw(w, 8, 8)
	}
	draw("w1", 8, 16)
	draw("w2", 16, 8)
	draw("b1", 16)
	for _, b := range []string{"bq", "bk", "bv", "bo", "g1"} {
		draw(b, 8)
	}
	consts.WriteString(`const @heads: [4] i64 = {0, 0, 2, 4}
		const @together: [3] i64 = {0, 0, 8}
		const @last: [1] i64 = {-1}
		const @two: [] f32 = {2}
		const @one: [] f32 = {1}
		const @half: [] f32 = {0.5}
		const @root: [] f32 = {1.4142135}
		const @eps: [] f32 = {1e-5}
	`)
	return parseModule(t, "layer", strings.Replace(bertLayer, "%consts", consts.String(), 1))
}

// Softmax, attention, normalisations and gelu that are spelled in operators are one program
// each, with what may go with them: a layer is the projections, the attention, its output
// with the residual and a norm, the layer that widens with its gelu, and the one that narrows
// with the residual and a norm.
func TestBertLayer(t *testing.T) {
	before, after := bertLayerModule(t), bertLayerModule(t)
	if _, err := runPasses(after, []casePass{{name: "fold-constants"}, {name: "deduce"}, {name: "simplify"}, {name: "decompose"}, {name: "legalize"}, {name: "fuse"}}); err != nil {
		t.Fatal(err)
	}
	var calls []string
	after.Main().Walk(func(s *ir.Stmt) {
		switch {
		case s.Kind == ir.CallStmt:
			p := s.Callee.(*ir.Program)
			what := ""
			for _, st := range p.Stages {
				if st.Kind == ir.ReduceStage {
					what += " " + st.Monoid.String()
				}
			}
			calls = append(calls, fmt.Sprintf("%d%s", len(p.Results), what))
		case s.Kind != ir.OpStmt || !s.Op.IsView():
			t.Errorf("a statement is left: %s", s.OpName())
		}
	})
	want := []string{"3 sum sum sum", "1 sum max sum sum", "1 sum sum sum", "1 sum", "1 sum sum sum"}
	if got := strings.Join(calls, ", "); got != strings.Join(want, ", ") {
		t.Errorf("results and reductions of the programs are\n%s, not\n%s\n%s", got, strings.Join(want, ", "), text.String(after))
	}
	r := rand.New(rand.NewPCG(2, 2))
	for _, size := range [][2]int64{{1, 1}, {2, 5}, {3, 16}, {0, 4}, {1, 0}} {
		x, mask := tensor.New(tensor.F32, size[0], size[1], 8), tensor.New(tensor.F32, size[0], 1, 1, size[1])
		for i := range x.Len() {
			x.SetFloat(i, r.NormFloat64())
		}
		for i := range mask.Len() {
			if r.IntN(4) == 0 {
				mask.SetFloat(i, -1e9)
			}
		}
		var out [2][]tensor.Value
		for i, m := range []*ir.Module{before, after} {
			var err error
			if out[i], err = interp.Run(context.Background(), m, []tensor.Value{x, mask}, interp.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := compare(out[1], out[0], nil); err != nil {
			t.Errorf("%v: %v", size, err)
		}
	}
}

// What a target computes more slowly when it is joined with a product stays by itself: here
// one whose kernel takes products alone, and what is computed of their points.
func TestFuseAsTargetPays(t *testing.T) {
	const source = `module {
		func @main(%x: [n, 4] f32, %w: [4, 4] f32, %b: [4] f32) -> ([n, 4] f32) {
			%y: [n, 4] f32 = onnx.MatMul(%x, %w)
			%z: [n, 4] f32 = onnx.Add(%y, %b)
			%s: [n, 4] f32 = onnx.Softmax(%z)
			return %s
		}
	}`
	sums := func(p *ir.Program) int {
		return len(slices.DeleteFunc(slices.Clone(p.Stages), func(s *ir.Stage) bool { return s.Kind != ir.ReduceStage }))
	}
	per := func(ns float64) func(*ir.Program, target.Sizes) float64 {
		return func(p *ir.Program, s target.Sizes) (sum float64) {
			for _, x := range p.Stages {
				sum += ns * s.Points(x)
			}
			return sum
		}
	}
	for _, c := range []struct {
		kernels []target.Kernel
		want    string
	}{
		{nil, "MatMul_Add_Softmax"},
		{[]target.Kernel{{Name: "gemm", Cost: per(1), Refuses: func(p *ir.Program) string {
			if sums(p) != 1 {
				return "more than a product"
			}
			return ""
		}}}, "MatMul_Add Softmax"},
	} {
		m := parseModule(t, "pays", source)
		on := &target.Target{Name: "test", Cost: per(10), Kernels: c.kernels}
		if _, err := runPassesFor(on, m, []casePass{{name: "legalize"}, {name: "fuse"}}); err != nil {
			t.Fatal(err)
		}
		var calls []string
		m.Main().Walk(func(s *ir.Stmt) { calls = append(calls, s.Callee.CalleeName()) })
		if got := strings.Join(calls, " "); got != c.want {
			t.Errorf("got %s, not %s\n%s", got, c.want, text.String(m))
		}
	}
}

// TestFuseRandomLayers draws what layers are made of, with heads that are split off, moved
// and put together again, values that several read, and products of one factor, and holds
// the fused module against the module before.
func TestFuseRandomLayers(t *testing.T) {
	modules, fused := 300, 0
	if testing.Short() {
		modules = 50
	}
	for seed := range uint64(modules) {
		before := drawLayers(t, seed)
		after := drawLayers(t, seed)
		if _, err := runPasses(after, []casePass{{name: "fold-constants"}, {name: "deduce"}, {name: "simplify"}, {name: "decompose"}, {name: "legalize"}}); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text.String(before))
		}
		calls := len(after.Main().Stmts)
		if _, err := runPasses(after, []casePass{{name: "fuse"}}); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text.String(after))
		}
		fused += calls - len(after.Main().Stmts)
		x, err := runtime.Load(after, cpu.New(2), runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(seed, 3))
		for _, size := range [][2]int64{{1 + r.Int64N(3), 1 + r.Int64N(6)}, {1, 1}, {r.Int64N(2), 3}} {
			in := tensor.New(tensor.F32, size[0], size[1], 8)
			for i := range in.Len() {
				in.SetFloat(i, r.NormFloat64())
			}
			args := []tensor.Value{in}
			want, err := interp.Run(context.Background(), before, args, interp.Options{})
			if err != nil {
				t.Fatalf("seed %d: before: %v\n%s", seed, err, text.String(before))
			}
			got, err := interp.Run(context.Background(), after, args, interp.Options{})
			if err = compare(got, want, err); err != nil {
				t.Fatalf("seed %d, %v: %v\n%s\n%s", seed, size, err, text.String(before), text.String(after))
			}
			got, err = x.Run(context.Background(), args)
			if err = compare(got, want, err); err != nil {
				t.Fatalf("seed %d, %v: on the device: %v\n%s", seed, size, err, text.String(after))
			}
		}
	}
	if fused < 3*modules {
		t.Errorf("of %d modules %d statements went away: they are no good", modules, fused)
	}
}

// drawLayers draws a function of x: [b, s, 8].
func drawLayers(t *testing.T, seed uint64) *ir.Module {
	r := rand.New(rand.NewPCG(seed, 7))
	m := ir.NewModule("")
	f := &ir.Func{Name: "main"}
	m.Funcs = []*ir.Func{f}
	b := ir.NewBuilder(m, f)
	ty, err := text.ParseType("[b, s, 8] f32")
	if err != nil {
		t.Fatal(err)
	}
	weight := func(dims ...int64) *ir.Value {
		w := tensor.New(tensor.F32, dims...)
		for i := range w.Len() {
			w.SetFloat(i, r.NormFloat64()/3)
		}
		return b.Const(w)
	}
	flat := []*ir.Value{b.Param("x", ty)} // [b, s, 8]
	var heads, rows []*ir.Value           // [b, 2, s, 4], [b, s, 1]
	pick := func(list []*ir.Value) *ir.Value { return list[len(list)-1-r.IntN(min(len(list), 4))] }
	op := func(name string, args []*ir.Value, attrs ...any) *ir.Value { return b.Op("onnx."+name, args, attrs...) }
	args := func(v ...*ir.Value) []*ir.Value { return v }
	for range 6 + r.IntN(14) {
		x := pick(flat)
		switch r.IntN(12) {
		case 0:
			flat = append(flat, op("MatMul", args(x, weight(8, 8))))
		case 1:
			flat = append(flat, op("Add", args(x, weight(8))))
		case 2:
			flat = append(flat, op([]string{"Add", "Mul", "Sub"}[r.IntN(3)], args(x, pick(flat))))
		case 3:
			flat = append(flat, op([]string{"Tanh", "Relu", "Sigmoid", "Abs"}[r.IntN(4)], args(x)))
		case 4:
			rows = append(rows, op([]string{"ReduceMean", "ReduceMax", "ReduceSum"}[r.IntN(3)], args(x, b.Ints(-1))))
		case 5:
			if len(rows) > 0 {
				flat = append(flat, op([]string{"Sub", "Mul", "Add"}[r.IntN(3)], args(x, pick(rows))))
			}
		case 6, 7:
			split := op("Reshape", args(x, b.Ints(0, 0, 2, 4)))
			heads = append(heads, op("Transpose", args(split), "perm", []int64{0, 2, 1, 3}))
		case 8:
			if len(heads) > 1 {
				k := op("Transpose", args(pick(heads)), "perm", []int64{0, 1, 3, 2})
				scores := op("Mul", args(op("MatMul", args(pick(heads), k)), weight()))
				heads = append(heads, op("MatMul", args(op("Softmax", args(scores)), pick(heads))))
			}
		case 9:
			if len(heads) > 0 {
				o := op("Transpose", args(pick(heads)), "perm", []int64{0, 2, 1, 3})
				flat = append(flat, op("Reshape", args(o, b.Ints(0, 0, 8))))
			}
		case 10: // as one list of tokens
			two := op("Reshape", args(x, b.Ints(-1, 8)))
			y := op("Gemm", args(two, weight(8, 8), weight(8)))
			flat = append(flat, op("Reshape", args(y, op("Shape", args(x)))))
		case 11:
			half := op("Slice", args(x, b.Ints(0), b.Ints(4), b.Ints(2)))
			other := op("Slice", args(x, b.Ints(4), b.Ints(8), b.Ints(2)))
			flat = append(flat, op("Concat", args(op("Neg", args(other)), half), "axis", 2))
		}
	}
	results := []*ir.Value{flat[len(flat)-1]}
	for _, list := range [][]*ir.Value{flat, heads, rows} {
		if len(list) > 0 && r.IntN(2) == 0 {
			results = append(results, pick(list))
		}
	}
	b.Return(results...)
	for i := range results {
		f.ResultNames = append(f.ResultNames, fmt.Sprint("y", i))
	}
	if err := b.Err(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return m
}
