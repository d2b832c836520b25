package interp

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// alongEach runs a program of one stage along each axis that can be the lane axis, and
// calls check with what results hold then.
func alongEach(t *testing.T, p *ir.Program, args []*tensor.Tensor, check func(results []*tensor.Tensor)) {
	t.Helper()
	c, err := Compile(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Stages[0]
	lanes := []int{-1}
	if len(s.AllAxes()) > 0 {
		lanes = s.newCompiler(acquire()).laneAxes()
	}
	for _, lane := range lanes {
		results := run(t, p, args...) // along the axis that is best
		for _, r := range results {
			clear(r.Bytes())
		}
		k, err := s.newCompiler(acquire()).along(lane)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // what is compiled serves many runs
			err = c.Run(context.Background(), args, results, &memory{}, func(x *Execution, _ int) error { return k.run(x, s, 0, 1) })
			if err != nil {
				t.Fatal(err)
			}
			check(results)
		}
	}
}

// checkReduced reduces x [rows, cols] along its columns.
func checkReduced(t *testing.T, m ir.Monoid, x *tensor.Tensor, wants ...*tensor.Tensor) {
	t.Helper()
	b := newProgram("reduce")
	i, k := ax(x.Shape()[0]), ax(x.Shape()[1])
	exprs := []*ir.Scalar{ir.Load(b.param("X", x.DType(), x.Shape()...), i.Ix(), k.Ix())}
	if m.Inputs() == 2 {
		exprs = append(exprs, k.Ix().To(wants[1].DType()))
	}
	var outs []*ir.Buffer
	for n, w := range wants {
		outs = append(outs, b.out(fmt.Sprintf("Y%d", n), w.DType(), []*ir.Axis{i}))
	}
	b.stage(&ir.Stage{Kind: ir.ReduceStage, Outs: outs, Axes: []*ir.Axis{i}, Red: []*ir.Axis{k}, Monoid: m, Exprs: exprs})
	alongEach(t, b.done(), []*tensor.Tensor{x}, func(got []*tensor.Tensor) {
		for n, w := range wants {
			if err := tensor.Compare(got[n], w, tensor.Tolerance{RTol: 1e-12}); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestMonoids(t *testing.T) {
	f := func(v ...float32) *tensor.Tensor { return tensor.Of(v, 2, int64(len(v)/2)) }
	empty := func(d tensor.DType) *tensor.Tensor { return tensor.New(d, 2, 0) }
	n := float32(nan)
	ninf, pinf := float32(-inf), float32(inf)
	for _, c := range []struct {
		m    ir.Monoid
		x    *tensor.Tensor
		want []*tensor.Tensor
	}{
		{ir.Sum, f(1, 2, 3, 4, 5, 6), []*tensor.Tensor{list[float32](6, 15)}},
		{ir.Sum, empty(tensor.F32), []*tensor.Tensor{list[float32](0, 0)}},
		{ir.Sum, tensor.Of([]int8{100, 100, 1, 2}, 2, 2), []*tensor.Tensor{list[int8](-56, 3)}},
		{ir.Sum, tensor.Of([]complex64{1i, 2, 3, 4i}, 2, 2), []*tensor.Tensor{list(complex64(2+1i), complex64(3+4i))}},
		{ir.Prod, f(1, 2, 3, 4, 5, 6), []*tensor.Tensor{list[float32](6, 120)}},
		{ir.Prod, empty(tensor.I64), []*tensor.Tensor{list[int64](1, 1)}},
		{ir.Max, f(1, n, 3, -4, -5, -6), []*tensor.Tensor{list(n, -4)}},
		{ir.Max, empty(tensor.F32), []*tensor.Tensor{list(ninf, ninf)}},
		{ir.Max, empty(tensor.I16), []*tensor.Tensor{list[int16](math.MinInt16, math.MinInt16)}},
		{ir.Max, empty(tensor.U16), []*tensor.Tensor{list[uint16](0, 0)}},
		{ir.Min, f(1, n, 3, -4, -5, -6), []*tensor.Tensor{list(n, -6)}},
		{ir.Min, empty(tensor.F32), []*tensor.Tensor{list(pinf, pinf)}},
		{ir.Min, empty(tensor.U64), []*tensor.Tensor{list[uint64](math.MaxUint64, math.MaxUint64)}},
		{ir.Min, empty(tensor.I64), []*tensor.Tensor{list[int64](math.MaxInt64, math.MaxInt64)}},
		{ir.And, tensor.Of([]bool{true, false, true, true}, 2, 2), []*tensor.Tensor{list(false, true)}},
		{ir.And, empty(tensor.Bool), []*tensor.Tensor{list(true, true)}},
		{ir.Or, tensor.Of([]bool{true, false, false, false}, 2, 2), []*tensor.Tensor{list(true, false)}},
		{ir.Or, empty(tensor.Bool), []*tensor.Tensor{list(false, false)}},
		{ir.And, tensor.Of([]uint8{12, 10, 255, 7}, 2, 2), []*tensor.Tensor{list[uint8](8, 7)}},
		{ir.Or, tensor.Of([]uint8{12, 10, 1, 2}, 2, 2), []*tensor.Tensor{list[uint8](14, 3)}},
		{ir.ArgMax, f(1, 3, 3, n, 2, n), []*tensor.Tensor{list(3, n), list[int64](1, 0)}},
		{ir.ArgMin, f(1, 3, 1, 4, n, 2), []*tensor.Tensor{list(1, n), list[int32](0, 1)}},
		{ir.ArgMax, f(ninf, ninf, 0, pinf), []*tensor.Tensor{list(ninf, pinf), list[int64](0, 1)}},
		{ir.ArgMin, tensor.Of([]uint8{3, 2, 9, 9}, 2, 2), []*tensor.Tensor{list[uint8](2, 9), list[int64](1, 0)}},
		{ir.MeanVar, f(1, 2, 3, 4, 8, 8, 8, 8), []*tensor.Tensor{list[float32](2.5, 8), list[float32](5, 0)}},
		{ir.MeanVar, empty(tensor.F32), []*tensor.Tensor{list[float32](0, 0), list[float32](0, 0)}},
		{ir.SoftmaxSum, f(0, 0, 0, ninf, 5, ninf), []*tensor.Tensor{list[float32](0, 5), list[float32](3, 1), list[float32](3, 1)}},
		{ir.SoftmaxSum, f(ninf, ninf, 1000, 1000), []*tensor.Tensor{list[float32](ninf, 1000), list[float64](0, 2), list[float64](0, 1)}},
		{ir.SoftmaxSum, f(n, 1, 1, n), []*tensor.Tensor{list(n, n), list(n, n), list(n, n)}},
		{ir.SoftmaxSum, empty(tensor.F64), []*tensor.Tensor{list(-inf, -inf), list(0., 0), list(0., 0)}},
	} {
		t.Run(fmt.Sprint(c.m, c.x.DType(), c.x.Shape()), func(t *testing.T) {
			checkReduced(t, c.m, c.x, c.want...)
		})
	}
}

// Small floats are reduced in f32 and rounded once.
func TestReductionOfSmallFloats(t *testing.T) {
	x := tensor.New(tensor.F16, 2, 300)
	for i := range x.Len() {
		x.SetFloat(i, 0.1)
	}
	w := tensor.New(tensor.F16, 2)
	sum := float32(0)
	for range 300 {
		sum += float32(x.Float(0))
	}
	w.SetFloat(0, float64(sum))
	w.SetFloat(1, float64(sum))
	checkReduced(t, ir.Sum, x, w)
}

// A wide range of scores does not overflow, and the sums are those of the definition.
func TestSoftmaxSumLong(t *testing.T) {
	const n = 1000
	x := tensor.New(tensor.F64, 1, n)
	top := -inf
	for i := range int64(n) {
		v := math.Sin(float64(i)) * 900
		x.SetFloat(i, v)
		top = max(top, v)
	}
	var sum, total float64
	for i := range int64(n) {
		e := math.Exp(x.Float(i) - top)
		sum, total = sum+e, total+e*float64(i)
	}
	checkReduced(t, ir.SoftmaxSum, x, list(top), list(sum), list(total))
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		m                  ir.Monoid
		exclusive, reverse bool
		want               *tensor.Tensor
	}{
		{ir.Sum, false, false, list[int32](1, 3, 6, 10)},
		{ir.Sum, true, false, list[int32](0, 1, 3, 6)},
		{ir.Sum, false, true, list[int32](10, 9, 7, 4)},
		{ir.Sum, true, true, list[int32](9, 7, 4, 0)},
		{ir.Prod, false, false, list[int32](1, 2, 6, 24)},
		{ir.Min, true, false, list[int32](math.MaxInt32, 1, 1, 1)},
	} {
		b := newProgram("scan")
		i := ax(4)
		out := b.out("Y", tensor.I32, []*ir.Axis{i})
		b.stage(&ir.Stage{Kind: ir.ScanStage, Outs: []*ir.Buffer{out}, Axes: []*ir.Axis{i}, ScanAxis: i, Monoid: c.m,
			Exclusive: c.exclusive, Reverse: c.reverse, Exprs: []*ir.Scalar{ir.Load(b.param("X", tensor.I32, 4), i.Ix())}})
		want(t, run(t, b.done(), list[int32](1, 2, 3, 4))[0], c.want)
	}
}

func TestScatter(t *testing.T) {
	base, at := list("a", "b", "c"), list[int64](2, 0, 2)
	b := newProgram("scatter")
	B, I, U := b.param("B", tensor.String, 3), b.param("I", tensor.I64, 3), b.param("U", tensor.String, 3)
	u := ax(3)
	out := b.out("Y", tensor.String, axes(3))
	b.stage(&ir.Stage{Kind: ir.ScatterStage, Outs: []*ir.Buffer{out}, Axes: []*ir.Axis{u}, Monoid: ir.Last, Base: B,
		Index: []*ir.Scalar{ir.Load(I, u.Ix())}, Exprs: []*ir.Scalar{ir.Load(U, u.Ix())}})
	want(t, run(t, b.done(), base, at, list("x", "y", "z"))[0], list("y", "b", "z"))
	want(t, base, list("a", "b", "c"))
}

// Elements of less than a byte are read and written within bytes.
func TestSubByte(t *testing.T) {
	x := tensor.New(tensor.I4, 5)
	w := tensor.New(tensor.I4, 5)
	for i := range int64(5) {
		x.SetInt(i, i-3)
		w.SetInt(i, -(i - 3))
	}
	want(t, apply(t, func(x []*ir.Scalar) *ir.Scalar { return x[0].To(tensor.I8).Neg().To(tensor.I4) }, x), w)
	b := newProgram("max")
	k := ax(5)
	b.reduce("Y", tensor.I4, nil, ir.Max, []*ir.Axis{k}, ir.Load(b.param("X", tensor.I4, 5), k.Ix()))
	got := run(t, b.done(), x)[0]
	if got.Rank() != 0 || got.Int(0) != 1 {
		t.Errorf("got %s", got)
	}
	b = newProgram("none")
	b.reduce("Y", tensor.I4, nil, ir.Max, axes(0), ir.Lit(tensor.I4, 1))
	if got := run(t, b.done())[0]; got.Int(0) != -8 {
		t.Errorf("the maximum of no i4 is %s, want -8", got)
	}
}

func TestRankZeroAndEmpty(t *testing.T) {
	b := newProgram("scalar")
	b.stageMap("Y", tensor.F32, nil, ir.Load(b.param("X", tensor.F32)).Add(ir.Lit(tensor.F32, 1)))
	want(t, run(t, b.done(), tensor.Scalar[float32](2))[0], tensor.Scalar[float32](3))
	b = newProgram("empty")
	as := axes(3, 0, 2)
	b.stageMap("Y", tensor.F32, as, ir.Load(b.param("X", tensor.F32, 3, 0, 2), ir.Ix(as)...))
	want(t, run(t, b.done(), tensor.New(tensor.F32, 3, 0, 2))[0], tensor.New(tensor.F32, 3, 0, 2))
}

// Where quotients and remainders of one position do not belong together, they stay apart.
func TestTakenApart(t *testing.T) {
	for _, cols := range []int64{3, 6, 4} {
		b := newProgram("apart")
		j := ax(12)
		b.stageMap("Y", tensor.F32, []*ir.Axis{j}, ir.Load(b.param("X", tensor.F32, 4, cols), j.Ix().FloorDiv(ir.IntLit(3)), j.Ix().Mod(ir.IntLit(3))))
		x := ramp(4, cols)
		w := tensor.New(tensor.F32, 12)
		for i := range w.Len() {
			tensor.CopyElem(w, i, x, i/3*cols+i%3)
		}
		want(t, run(t, b.done(), x)[0], w)
	}
}

// A reshape costs no division: its address is the flat position.
func TestReshapeIsFlat(t *testing.T) {
	b := newProgram("reshape")
	as := axes(6, 4)
	flat := as[0].Ix().Mul(ir.IntLit(4)).Add(as[1].Ix())
	X := b.param("X", tensor.F32, 2, 4, 3)
	load := ir.Load(X, flat.FloorDiv(ir.IntLit(3)).FloorDiv(ir.IntLit(4)), flat.FloorDiv(ir.IntLit(3)).Mod(ir.IntLit(4)), flat.Mod(ir.IntLit(3)))
	b.stageMap("Y", tensor.F32, as, load)
	x := ramp(2, 4, 3)
	w, _ := x.View(6, 4)
	want(t, run(t, b.done(), x)[0], w)
	code, err := Compile(b.p, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := code.Stages[0].newCompiler(acquire())
	f := c.loadForm(load)
	if len(f.terms) != 2 || f.factor(0) != 4 && f.factor(1) != 4 {
		t.Errorf("the address is %+v", f)
	}
	if k := c.checks(x.Shape(), load.Args); len(k) != 0 {
		t.Errorf("%d indices are checked, all are known to be in range", len(k))
	}
}

// Symbols get numbers when a program is called; one program serves all sizes.
func TestSymbols(t *testing.T) {
	n, m := sym.Var("n"), sym.Var("m")
	X, Y := &ir.Buffer{Name: "X", DType: tensor.F32, Dims: []sym.Expr{n}}, &ir.Buffer{Name: "Y", DType: tensor.F32, Dims: []sym.Expr{sym.Broadcast(n, m)}}
	Z := &ir.Buffer{Name: "Z", DType: tensor.F32, Dims: []sym.Expr{m}}
	a := &ir.Axis{Extent: Y.Dims[0]}
	p := &ir.Program{Name: "add", Syms: []string{"n", "m"}, Params: []*ir.Buffer{X, Z}, Results: []*ir.Buffer{Y}}
	p.Stages = []*ir.Stage{{Kind: ir.MapStage, Outs: []*ir.Buffer{Y}, Axes: []*ir.Axis{a},
		Exprs: []*ir.Scalar{ir.Load(X, ir.Bcast(a.Ix(), n, a.Extent)).Add(ir.Load(Z, ir.Bcast(a.Ix(), m, a.Extent))).Add(ir.SymVal(n.Mul(m)).To(tensor.F32))}}}
	p.NameAxes()
	if err := ir.VerifyProgram(p); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ x, z, want []float32 }{
		{[]float32{1, 2, 3}, []float32{10}, []float32{14, 15, 16}},
		{[]float32{1}, []float32{10, 20}, []float32{13, 23}},
		{[]float32{1, 2}, []float32{10, 20}, []float32{15, 26}},
		{nil, []float32{10}, []float32{}},
	} {
		got, err := RunProgram(context.Background(), p, []int64{int64(len(c.x)), int64(len(c.z))}, []*tensor.Tensor{list(c.x...), list(c.z...)})
		if err != nil {
			t.Fatal(err)
		}
		want(t, got[0], list(c.want...))
	}
	_, err := RunProgram(context.Background(), p, []int64{2, 3}, []*tensor.Tensor{list[float32](1, 2), list[float32](1, 2, 3)})
	if diag.CodeOf(err) != diag.Run {
		t.Errorf("shapes that do not broadcast gave %v", err)
	}
}

// Bad input is an error that says where, never a panic.
func TestProgramErrors(t *testing.T) {
	gather := func(shape ...int64) (*builder, *ir.Axis, *ir.Scalar, *ir.Buffer) {
		b := newProgram("gather")
		X, I := b.param("X", tensor.F32, shape...), b.param("I", tensor.I64, 4)
		i := ax(4)
		return b, i, ir.Load(I, i.Ix()), X
	}
	for _, c := range []struct {
		name string
		make func() (*ir.Program, []*tensor.Tensor)
		want string
	}{
		{"gathered load", func() (*ir.Program, []*tensor.Tensor) {
			b, i, at, X := gather(5)
			b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Load(X, at))
			return b.done(), []*tensor.Tensor{ramp(5), list[int64](0, 4, 5, 1)}
		}, "program @gather, stage Y: index 0 of a load from X is 5, its dim is 5"},
		{"negative", func() (*ir.Program, []*tensor.Tensor) {
			b, i, at, X := gather(2, 5)
			b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Load(X, ir.IntLit(1), at))
			return b.done(), []*tensor.Tensor{ramp(2, 5), list[int64](0, 4, 3, -1)}
		}, "index 1 of a load from X is -1, its dim is 5"},
		{"regular load", func() (*ir.Program, []*tensor.Tensor) {
			b, i, _, X := gather(5)
			b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Load(X, i.Ix().Mul(ir.IntLit(2))))
			return b.done(), []*tensor.Tensor{ramp(5), list[int64](0, 4, 3, 1)}
		}, "index 0 of a load from X is 6, its dim is 5"},
		{"scatter", func() (*ir.Program, []*tensor.Tensor) {
			b, i, at, X := gather(5)
			out := b.out("Y", tensor.F32, axes(5))
			b.stage(&ir.Stage{Kind: ir.ScatterStage, Outs: []*ir.Buffer{out}, Axes: []*ir.Axis{i}, Monoid: ir.Sum, Base: X,
				Index: []*ir.Scalar{at}, Exprs: []*ir.Scalar{ir.Lit(tensor.F32, 1)}})
			return b.done(), []*tensor.Tensor{ramp(5), list[int64](0, 4, 9, 1)}
		}, "index 0 of a scatter to Y is 9, its dim is 5"},
		{"argmax of nothing", func() (*ir.Program, []*tensor.Tensor) {
			b := newProgram("arg")
			i, k := ax(2), ax(0)
			outs := []*ir.Buffer{b.out("Y", tensor.F32, []*ir.Axis{i}), b.out("Z", tensor.I64, []*ir.Axis{i})}
			b.stage(&ir.Stage{Kind: ir.ReduceStage, Outs: outs, Axes: []*ir.Axis{i}, Red: []*ir.Axis{k}, Monoid: ir.ArgMax,
				Exprs: []*ir.Scalar{ir.Lit(tensor.F32, 1), k.Ix()}})
			return b.done(), nil
		}, "argmax over nothing"},
		{"wrong shape", func() (*ir.Program, []*tensor.Tensor) {
			b, i, _, X := gather(5)
			b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Load(X, i.Ix()))
			return b.done(), []*tensor.Tensor{ramp(6), list[int64](0, 0, 0, 0)}
		}, "buffer X of program @gather is f32[5], not f32[6]"},
		{"wrong type", func() (*ir.Program, []*tensor.Tensor) {
			b, i, _, X := gather(4)
			b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Load(X, i.Ix()))
			return b.done(), []*tensor.Tensor{list[int64](0, 0, 0, 0), nil}
		}, "buffer X of program @gather is f32[4], not i64[4]"},
		{"operands missing", func() (*ir.Program, []*tensor.Tensor) {
			b, i, _, X := gather(4)
			b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Load(X, i.Ix()))
			return b.done(), nil
		}, "0 operands for 1 results of program @gather, which takes 2 for 1"},
		{"absurd size", func() (*ir.Program, []*tensor.Tensor) {
			b := newProgram("huge")
			b.stageMap("Y", tensor.F32, axes(1<<40, 1<<40), ir.Lit(tensor.F32, 0))
			return b.done(), nil
		}, "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, args := c.make()
			if err := ir.VerifyProgram(p); err != nil {
				t.Fatal(err)
			}
			_, err := RunProgram(context.Background(), p, nil, args)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if diag.CodeOf(err) != diag.Run {
				t.Errorf("code %d", diag.CodeOf(err))
			}
		})
	}
}

// What a guard excludes is not evaluated, in lanes and in single points.
func TestGuard(t *testing.T) {
	for _, n := range []int64{1, 700} {
		b := newProgram("pad")
		i := ax(n + 4)
		at := i.Ix().Sub(ir.IntLit(2))
		in := at.Ge(ir.IntLit(0)).And(at.Lt(ir.IntLit(n)))
		b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Guard(in, ir.Load(b.param("X", tensor.F32, n), at), ir.Lit(tensor.F32, 9)))
		x := ramp(n)
		w := tensor.New(tensor.F32, n+4)
		for i := range n + 4 {
			if w.SetFloat(i, 9); i >= 2 && i < n+2 {
				tensor.CopyElem(w, i, x, i-2)
			}
		}
		want(t, run(t, b.done(), x)[0], w)
	}
}

func TestProgramInto(t *testing.T) {
	b := newProgram("neg")
	i := ax(3)
	b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Load(b.param("X", tensor.F32, 3), i.Ix()).Neg())
	p, out := b.done(), list[float32](7, 7, 7)
	if err := RunProgramInto(context.Background(), p, nil, []*tensor.Tensor{list[float32](1, 2, 3)}, []*tensor.Tensor{out}); err != nil {
		t.Fatal(err)
	}
	want(t, out, list[float32](-1, -2, -3))
	err := RunProgramInto(context.Background(), p, nil, []*tensor.Tensor{list[float32](1, 2, 3)}, []*tensor.Tensor{ramp(4)})
	if err == nil || !strings.Contains(err.Error(), "buffer Y of program @neg is f32[3], not f32[4]") {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	b := newProgram("long")
	i, k := ax(1), ax(1<<40)
	b.reduce("Y", tensor.I64, []*ir.Axis{i}, ir.Sum, []*ir.Axis{k}, k.Ix())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := RunProgram(ctx, b.done(), nil, nil)
	if diag.CodeOf(err) != diag.Interrupted {
		t.Fatalf("got %v", err)
	}
}

// Shared nodes are computed once: without that every doubling would double the work.
func TestSharing(t *testing.T) {
	b := newProgram("shared")
	i := ax(2)
	v := ir.Load(b.param("X", tensor.I32, 2), i.Ix())
	for range 100 {
		v = v.Add(v)
	}
	b.stageMap("Y", tensor.I32, []*ir.Axis{i}, v)
	b.p.NameAxes()
	got, err := RunProgram(context.Background(), b.p, nil, []*tensor.Tensor{list[int32](1, 3)})
	if err != nil {
		t.Fatal(err)
	}
	want(t, got[0], list[int32](0, 0))
}

// A literal serves a node that all lanes have in common and one that they have not.
func TestSharedLiteral(t *testing.T) {
	b := newProgram("literal")
	i := ax(3)
	two := ir.Lit(tensor.F32, 2)
	x := ir.Load(b.param("X", tensor.F32, 3), i.Ix())
	b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Select(x.Lt(two.Neg()), two, x.Add(two)))
	want(t, run(t, b.done(), list[float32](-3, 0, 1))[0], list[float32](2, 2, 3))
}
