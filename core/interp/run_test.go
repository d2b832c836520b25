package interp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// The operators of these tests. addOp has a program, doubleOp stands for another
// operator, nonZeroOp has a reference implementation and a size that the data tell.
var (
	addOp = &ir.OpDef{Name: "test.Add", In: []ir.Operand{{Name: "A"}, {Name: "B"}}, Out: []ir.Operand{{Name: "C"}},
		Deduce: func(c *ir.Call) error {
			d := c.Dims(0)
			if len(d) == 1 && d[0].IsInt(1) {
				d = c.Dims(1)
			}
			c.SetOut(0, c.DType(0), d...)
			return nil
		},
		Body: func(c *ir.Call, b *ir.Body) error {
			return b.Elementwise(func(x []*ir.Scalar) []*ir.Scalar { return []*ir.Scalar{x[0].Add(x[1])} })
		}}
	doubleOp = ir.Register(&ir.OpDef{Name: "test.Double", Doc: "x + x", In: []ir.Operand{{Name: "A"}}, Out: []ir.Operand{{Name: "C"}},
		Deduce: func(c *ir.Call) error { c.SetOut(0, c.DType(0), c.Dims(0)...); return nil },
		Expand: func(c *ir.Call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
			r := &ir.Value{}
			b.Add(&ir.Stmt{Kind: ir.OpStmt, Op: addOp, Args: []*ir.Value{args[0], args[0]}, Results: []*ir.Value{r}})
			return []*ir.Value{r}, nil
		}})
	nonZeroOp = kernel("test.NonZero", func(c *ir.Call) error { c.SetOut(0, tensor.I64, c.Fresh(nil)); return nil },
		func(k *ir.KernelCall) ([]tensor.Value, error) {
			at := []int64{}
			for i := range k.Arg(0).Len() {
				if k.Arg(0).Float(i) != 0 {
					at = append(at, i)
				}
			}
			return []tensor.Value{list(at...)}, nil
		})
	uniformOp = func() *ir.OpDef {
		d := kernel("test.Uniform", func(c *ir.Call) error { c.SetOut(0, tensor.F64, sym.Const(1)); return nil },
			func(k *ir.KernelCall) ([]tensor.Value, error) { return []tensor.Value{list(k.Rand.Float64())}, nil })
		d.In, d.Effect = nil, ir.Random
		return d
	}()
	panicOp = kernel("test.Panic", func(c *ir.Call) error { c.SetOut(0, tensor.F32, sym.Const(1)); return nil },
		func(k *ir.KernelCall) ([]tensor.Value, error) { panic("out of order") })
	ifOp   = control("onnx.If", "then_branch", "else_branch")
	loopOp = control("onnx.Loop", "body")
)

func control(name string, regions ...string) *ir.OpDef {
	any := []ir.Operand{{Name: "v", Optional: true, Variadic: true}}
	return &ir.OpDef{Name: name, In: any, Out: any, Regions: regions}
}

func kernel(name string, deduce func(*ir.Call) error, run func(*ir.KernelCall) ([]tensor.Value, error)) *ir.OpDef {
	return &ir.OpDef{Name: name, In: []ir.Operand{{Name: "X"}}, Out: []ir.Operand{{Name: "Y"}}, Deduce: deduce, Kernel: run}
}

func value(name string, d tensor.DType, dims ...sym.Expr) *ir.Value {
	return &ir.Value{Name: name, Type: ir.TensorOf(d, dims...)}
}

// op makes a statement of one result.
func op(def *ir.OpDef, result *ir.Value, args ...*ir.Value) *ir.Stmt {
	return link(&ir.Stmt{Kind: ir.OpStmt, Op: def, Args: args, Results: []*ir.Value{result}})
}

func link(s *ir.Stmt) *ir.Stmt {
	for i, r := range s.Results {
		if r != nil {
			r.Def, r.Index = s, i
		}
	}
	return s
}

// module makes a module of one function.
func module(params []*ir.Value, results []*ir.Value, stmts ...*ir.Stmt) *ir.Module {
	m := ir.NewModule("test")
	for i, p := range params {
		p.Index = i
	}
	m.Funcs = []*ir.Func{{Name: "main", Block: ir.Block{Params: params, Stmts: stmts, Results: results}}}
	return m
}

func runModule(t *testing.T, m *ir.Module, args ...tensor.Value) []tensor.Value {
	t.Helper()
	m.Ops = map[string]*ir.OpDef{} // those that are not registered
	m.Main().Walk(func(s *ir.Stmt) {
		if s.Op != nil && ir.Lookup(s.Op.Name) == nil {
			m.Ops[s.Op.Name] = s.Op
		}
	})
	if err := ir.Verify(m); err != nil {
		t.Fatal(err)
	}
	out, err := Run(context.Background(), m, args, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var n = sym.Var("n")

func TestStatements(t *testing.T) {
	x := value("x", tensor.F32, n)
	s, d, nz := value("s", tensor.F32, n), value("d", tensor.F32, n), value("nz", tensor.I64, sym.Var("u"))
	two := value("two", tensor.I64, sym.Var("u"))
	m := module([]*ir.Value{x}, []*ir.Value{d, two})
	one := m.AddConst("one", list[float32](1), nil)
	m.Main().Stmts = []*ir.Stmt{op(addOp, s, one, x), op(doubleOp, d, s), op(nonZeroOp, nz, d), op(addOp, two, nz, nz)}
	out := runModule(t, m, list[float32](-1, 0, 4))
	want(t, out[0].(*tensor.Tensor), list[float32](0, 2, 10))
	want(t, out[1].(*tensor.Tensor), list[int64](2, 4))
}

func TestCalls(t *testing.T) {
	b := newProgram("scale", "k")
	k := sym.Var("k")
	X, Y := &ir.Buffer{Name: "X", DType: tensor.F32, Dims: []sym.Expr{k}}, &ir.Buffer{Name: "Y", DType: tensor.F32, Dims: []sym.Expr{k}}
	a := &ir.Axis{Extent: k}
	b.p.Params, b.p.Results = []*ir.Buffer{X}, []*ir.Buffer{Y}
	b.stage(&ir.Stage{Kind: ir.MapStage, Outs: []*ir.Buffer{Y}, Axes: []*ir.Axis{a}, Exprs: []*ir.Scalar{ir.Load(X, a.Ix()).Mul(ir.SymVal(k).To(tensor.F32))}})
	p := b.done()

	x, y, z, c := value("x", tensor.F32, n), value("y", tensor.F32, n), value("z", tensor.F32, n), value("c", tensor.F32, sym.Const(3))
	fx, fy := value("fx", tensor.F32, sym.Var("r")), value("fy", tensor.F32, sym.Var("r"))
	m := module([]*ir.Value{x}, []*ir.Value{c})
	m.Programs = []*ir.Program{p}
	m.Kernels = []*ir.Kernel{{Name: "cpu.scale", Program: p}}
	f := &ir.Func{Name: "f", Block: ir.Block{Params: []*ir.Value{fx}, Results: []*ir.Value{fy}, Stmts: []*ir.Stmt{op(doubleOp, fy, fx)}}}
	m.Funcs = append(m.Funcs, f)
	w := value("w", tensor.F32, n)
	m.Main().Stmts = []*ir.Stmt{
		link(&ir.Stmt{Kind: ir.CallStmt, Callee: p, Bind: []sym.Expr{n}, Args: []*ir.Value{x}, Results: []*ir.Value{y}}),
		link(&ir.Stmt{Kind: ir.CallStmt, Callee: m.Kernels[0], Bind: []sym.Expr{n}, Args: []*ir.Value{y}, Results: []*ir.Value{z}}),
		link(&ir.Stmt{Kind: ir.CallStmt, Callee: f, Args: []*ir.Value{z}, Results: []*ir.Value{w}}),
		link(&ir.Stmt{Kind: ir.CastStmt, Args: []*ir.Value{w}, Results: []*ir.Value{c}}),
	}
	want(t, runModule(t, m, list[float32](1, 2, 3))[0].(*tensor.Tensor), list[float32](18, 36, 54))
	_, err := Run(context.Background(), m, []tensor.Value{list[float32](1, 2)}, Options{})
	if err == nil || !strings.Contains(err.Error(), `node "c" (match_cast): dim 0 of %c is 2 (shape [2]), the model fixes it at 3`) {
		t.Errorf("got %v", err)
	}
}

func TestIf(t *testing.T) {
	c, x := value("c", tensor.Bool), value("x", tensor.F32, n)
	d, y := value("d", tensor.F32, n), value("y", tensor.F32, n)
	s := op(ifOp, y, c)
	s.Regions = []*ir.Block{{Stmts: []*ir.Stmt{op(doubleOp, d, x)}, Results: []*ir.Value{d}}, {Results: []*ir.Value{x}}}
	m := module([]*ir.Value{c, x}, []*ir.Value{y}, s)
	want(t, runModule(t, m, tensor.Scalar(true), list[float32](1, 2))[0].(*tensor.Tensor), list[float32](2, 4))
	want(t, runModule(t, m, tensor.Scalar(false), list[float32](1, 2))[0].(*tensor.Tensor), list[float32](1, 2))
}

// loop carries a doubling value, stops when the body's condition says so, and stacks
// what it is at each step.
func loop(trips, cond *ir.Value) (*ir.Module, *ir.Value) {
	x, limit := value("x", tensor.I64, n), value("limit", tensor.I64)
	i, keep, v := value("i", tensor.I64), value("keep", tensor.Bool), value("v", tensor.I64, sym.Var("k"))
	w, go_ := value("w", tensor.I64, sym.Var("k")), value("go", tensor.Bool)
	last, all := value("last", tensor.I64, n), value("all", tensor.I64, sym.Var("steps"), n)
	less := &ir.OpDef{Name: "test.FirstBelow", In: []ir.Operand{{Name: "A"}, {Name: "B"}}, Out: []ir.Operand{{Name: "C"}},
		Deduce: func(c *ir.Call) error { c.SetOut(0, tensor.Bool); return nil },
		Body: func(c *ir.Call, b *ir.Body) error {
			b.Map(b.Out(0), nil, b.Load(b.In(0), ir.IntLit(0)).Lt(b.Load(b.In(1))))
			return nil
		}}
	for j, p := range []*ir.Value{i, keep, v} {
		p.Index = j
	}
	body := &ir.Block{Params: []*ir.Value{i, keep, v}, Stmts: []*ir.Stmt{op(doubleOp, w, v), op(less, go_, w, limit)}, Results: []*ir.Value{go_, w, w}}
	s := link(&ir.Stmt{Kind: ir.OpStmt, Op: loopOp, Args: []*ir.Value{trips, cond, x}, Results: []*ir.Value{last, all}, Regions: []*ir.Block{body}})
	params := []*ir.Value{x, limit}
	for _, p := range []*ir.Value{trips, cond} {
		if p != nil {
			params = append(params, p)
		}
	}
	return module(params, []*ir.Value{last, all}, s), x
}

func TestLoop(t *testing.T) {
	trips, cond := value("trips", tensor.I64), value("cond", tensor.Bool)
	x := list[int64](1, 10)
	for _, c := range []struct {
		name        string
		trips, cond *ir.Value
		args        []tensor.Value
		last, all   *tensor.Tensor
	}{
		{"until the condition fails", nil, nil, []tensor.Value{tensor.Scalar[int64](5)}, list[int64](8, 80), tensor.Of([]int64{2, 20, 4, 40, 8, 80}, 3, 2)},
		{"for a number of trips", trips, nil, []tensor.Value{tensor.Scalar[int64](100), tensor.Scalar[int64](2)}, list[int64](4, 40), tensor.Of([]int64{2, 20, 4, 40}, 2, 2)},
		{"not at all", trips, cond, []tensor.Value{tensor.Scalar[int64](100), tensor.Scalar[int64](2), tensor.Scalar(false)}, x, nil},
		{"no trip", trips, cond, []tensor.Value{tensor.Scalar[int64](100), tensor.Scalar[int64](0), tensor.Scalar(true)}, x, nil},
		{"a negative number of trips", trips, nil, []tensor.Value{tensor.Scalar[int64](100), tensor.Scalar[int64](-1)}, x, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := loop(c.trips, c.cond)
			if c.all == nil { // the slices' own dim is not known: 0
				m.Main().Stmts[0].Results[1].Type = ir.TensorOf(tensor.I64, sym.Var("steps"), sym.Var("any"))
				c.all = tensor.New(tensor.I64, 0, 0)
			}
			out := runModule(t, m, append([]tensor.Value{x}, c.args...)...)
			want(t, out[0].(*tensor.Tensor), c.last)
			want(t, out[1].(*tensor.Tensor), c.all)
		})
	}
}

// A loop's body may define sizes anew in each iteration, and stacks only equal shapes.
func TestLoopShapes(t *testing.T) {
	trips, x := value("trips", tensor.I64), value("x", tensor.F32, n)
	grow := kernel("test.Grow", func(c *ir.Call) error { c.SetOut(0, tensor.F32, c.Dims(0)[0].Add(sym.Const(1))); return nil },
		func(k *ir.KernelCall) ([]tensor.Value, error) {
			return []tensor.Value{tensor.New(tensor.F32, k.Arg(0).Len()+1)}, nil
		})
	build := func(scan bool) *ir.Module {
		k := sym.Var("k")
		i, keep, v, w := value("i", tensor.I64), value("keep", tensor.Bool), value("v", tensor.F32, k), value("w", tensor.F32, k.Add(sym.Const(1)))
		for j, p := range []*ir.Value{i, keep, v} {
			p.Index = j
		}
		results := []*ir.Value{value("last", tensor.F32, sym.Var("m"))}
		body := &ir.Block{Params: []*ir.Value{i, keep, v}, Stmts: []*ir.Stmt{op(grow, w, v)}, Results: []*ir.Value{keep, w}}
		if scan {
			body.Results = append(body.Results, w)
			results = append(results, value("all", tensor.F32, sym.Var("a"), sym.Var("b")))
		}
		s := link(&ir.Stmt{Kind: ir.OpStmt, Op: loopOp, Args: []*ir.Value{trips, nil, x}, Results: results, Regions: []*ir.Block{body}})
		return module([]*ir.Value{trips, x}, results, s)
	}
	args := []tensor.Value{tensor.Scalar[int64](3), ramp(2)}
	want(t, runModule(t, build(false), args...)[0].(*tensor.Tensor), tensor.New(tensor.F32, 5))
	_, err := Run(context.Background(), build(true), args, Options{})
	if err == nil || !strings.Contains(err.Error(), "a scan output is f32[3] in iteration 0 and f32[4] in iteration 1") {
		t.Errorf("got %v", err)
	}
}

func TestStackWithinBytes(t *testing.T) {
	a, b := tensor.New(tensor.U4, 3), tensor.New(tensor.U4, 3)
	w := tensor.New(tensor.U4, 2, 3)
	for i := range int64(3) {
		a.SetInt(i, i+1)
		b.SetInt(i, i+4)
		w.SetInt(i, i+1)
		w.SetInt(3+i, i+4)
	}
	x := &machine{mem: &memory{}}
	got, err := x.stack([]*tensor.Tensor{a, b})
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, w)
}

// Random operators follow the seed and their own order.
func TestSeed(t *testing.T) {
	a, b := value("a", tensor.F64, sym.Const(1)), value("b", tensor.F64, sym.Const(1))
	m := module(nil, []*ir.Value{a, b}, op(uniformOp, a), op(uniformOp, b))
	draw := func(seed uint64) [2]float64 {
		out, err := Run(context.Background(), m, nil, Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return [2]float64{out[0].(*tensor.Tensor).Float(0), out[1].(*tensor.Tensor).Float(0)}
	}
	first := draw(1)
	if first != draw(1) || first == draw(2) || first[0] == first[1] {
		t.Errorf("seed 1 gave %v, then %v; seed 2 gave %v", first, draw(1), draw(2))
	}
	if want := rand.New(rand.NewPCG(1, 1)).Float64(); first[0] != want {
		t.Errorf("got %v, want %v", first[0], want)
	}
}

// Values are dropped after their last use, so a chain needs two at a time.
func TestBudget(t *testing.T) {
	x := value("x", tensor.F32, n)
	m := module([]*ir.Value{x}, nil)
	at := x
	for i := range 10 {
		v := value(fmt.Sprintf("v%d", i), tensor.F32, n)
		m.Main().Stmts = append(m.Main().Stmts, op(addOp, v, at, at))
		at = v
	}
	m.Main().Results = []*ir.Value{at}
	if _, err := Run(context.Background(), m, []tensor.Value{ramp(1000)}, Options{MaxBytes: 8000}); err != nil {
		t.Error(err)
	}
	_, err := Run(context.Background(), m, []tensor.Value{ramp(1000)}, Options{MaxBytes: 7999})
	if err == nil || diag.CodeOf(err) != diag.Run || !strings.Contains(err.Error(), "budget of 7999 bytes: 4000 are in use, 4000 more are needed; raise") {
		t.Errorf("got %v", err)
	}
}

func TestTrace(t *testing.T) {
	c, x := value("c", tensor.Bool), value("x", tensor.F32, n)
	d, y := value("d", tensor.F32, n), value("y", tensor.F32, n)
	s := op(ifOp, y, c)
	s.Regions = []*ir.Block{{Stmts: []*ir.Stmt{op(doubleOp, d, x)}, Results: []*ir.Value{d}}, {Results: []*ir.Value{x}}}
	m := module([]*ir.Value{c, x}, []*ir.Value{y}, s)
	var seen []string
	_, err := Run(context.Background(), m, []tensor.Value{tensor.Scalar(true), list[float32](1)}, Options{
		Trace: func(s *ir.Stmt, out []tensor.Value) { seen = append(seen, fmt.Sprint(s.OpName(), " ", out[0])) }})
	if want := "test.Add f32[1] {2} test.Double f32[1] {2} onnx.If f32[1] {2}"; err != nil || strings.Join(seen, " ") != want {
		t.Errorf("got %q (%v), want %q", seen, err, want)
	}
}

func TestRunErrors(t *testing.T) {
	x, y := value("x", tensor.F32, n), value("y", tensor.F32, n)
	one := value("p", tensor.F32, sym.Const(1))
	two := module([]*ir.Value{x, y}, []*ir.Value{x})
	if err := two.Syms.SetRange("n", 1, 4); err != nil {
		t.Fatal(err)
	}
	panics := module([]*ir.Value{x}, []*ir.Value{one}, &ir.Stmt{Kind: ir.OpStmt, Op: panicOp, Args: []*ir.Value{x}, Results: []*ir.Value{one}, Node: "/layer/0"})
	unknown := module([]*ir.Value{x}, []*ir.Value{one}, op(ir.Unknown("acme.Magic", 3), one, x))
	cond := value("c", tensor.Bool, sym.Const(2))
	branch := op(ifOp, value("z", tensor.F32, n), cond)
	branch.Regions = []*ir.Block{{Results: []*ir.Value{x}}, {Results: []*ir.Value{x}}}
	for _, c := range []struct {
		m    *ir.Module
		args []tensor.Value
		code diag.Code
		want string
	}{
		{ir.NewModule("none"), nil, diag.Run, "no function @main"},
		{two, []tensor.Value{ramp(2)}, diag.Run, "1 operands for function @main, which takes 2"},
		{two, []tensor.Value{ramp(2), nil}, diag.Run, `input "y" is missing`},
		{two, []tensor.Value{ramp(2), ramp(3)}, diag.Run, `dim 0 of input "y" is 3 (shape [3]), but "n" is 2, bound by dim 0 of input "x"`},
		{two, []tensor.Value{ramp(5), ramp(5)}, diag.Run, `"n" is 5, bound by dim 0 of input "x", but it must be in [1, 4]`},
		{two, []tensor.Value{list[int32](1), ramp(1)}, diag.Run, `input "x" has element type i32`},
		{panics, []tensor.Value{ramp(2)}, diag.Run, `node "/layer/0" (test.Panic): it failed: out of order`},
		{unknown, []tensor.Value{ramp(2)}, diag.Unsupported, "unsupported operator acme.Magic, version 3"},
		{module([]*ir.Value{cond, x}, []*ir.Value{branch.Results[0]}, branch), []tensor.Value{list(true, false), ramp(1)}, diag.Run, "(If): the condition must be one truth value"},
	} {
		_, err := Run(context.Background(), c.m, c.args, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || diag.CodeOf(err) != c.code {
			t.Errorf("got %v (code %d), want %q (code %d)", err, diag.CodeOf(err), c.want, c.code)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, panics, []tensor.Value{ramp(2)}, Options{}); diag.CodeOf(err) != diag.Interrupted {
		t.Errorf("got %v", err)
	}
}
