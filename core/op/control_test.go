package op_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// What runs regions, and what executors do themselves, says sizes as the regions and
// attributes do.
func TestTypesOfRegions(t *testing.T) {
	m := ir.NewModule("test")
	b := ir.NewBuilder(m, &ir.Func{Name: "main"})
	n, k := sym.Var("n"), sym.Var("k")
	x := b.Param("x", ir.TensorOf(tensor.F32, n, k))
	cond := b.Param("cond", ir.TensorOf(tensor.Bool))
	seq := b.Param("seq", ir.SequenceType{Elem: ir.TensorOf(tensor.F32, n)})
	relu := func(x *ir.Value) []*ir.Value { return []*ir.Value{b.Op("onnx.Relu", []*ir.Value{x})} }
	body := func(given []ir.Type, f func(p []*ir.Value) []*ir.Value) *ir.Block {
		return b.Region(func() []*ir.Value {
			var p []*ir.Value
			for _, t := range given {
				p = append(p, b.Param("", t))
			}
			return f(p)
		})
	}
	branch := func() *ir.Block { return body(nil, func([]*ir.Value) []*ir.Value { return relu(x) }) }
	row := ir.TensorOf(tensor.F32, k)
	for _, c := range []struct {
		name    string
		args    []*ir.Value
		attrs   ir.Attrs
		regions []*ir.Block
		want    []string
	}{
		{"onnx.If", []*ir.Value{cond}, nil, []*ir.Block{branch(), branch()}, []string{"[n, k] f32"}},
		{"onnx.Loop", []*ir.Value{b.Const(tensor.Scalar(int64(3))), nil, x}, nil, []*ir.Block{body([]ir.Type{ir.TensorOf(tensor.I64), ir.TensorOf(tensor.Bool), ir.TensorOf(tensor.F32, n, k)},
			func(p []*ir.Value) []*ir.Value { return []*ir.Value{p[1], relu(p[2])[0], relu(x)[0]} })}, []string{"[n, k] f32", "[3, n, k] f32"}},
		{"onnx.Scan", []*ir.Value{x}, attrs("num_scan_inputs", 1), []*ir.Block{body([]ir.Type{row}, func(p []*ir.Value) []*ir.Value { return relu(p[0]) })}, []string{"[n, k] f32"}},
		{"onnx.SequenceMap", []*ir.Value{seq}, nil, []*ir.Block{body([]ir.Type{ir.TensorOf(tensor.F32, sym.Var("e"))}, func(p []*ir.Value) []*ir.Value { return relu(p[0]) })}, []string{"seq([u0] f32)"}},
		{"vm.view", []*ir.Value{x}, attrs("type", ir.TensorOf(tensor.F32, n.Mul(k))), nil, []string{"[k*n] f32"}},
		{"vm.alloc", nil, attrs("bytes", "4*n"), nil, []string{"storage"}},
		{"vm.release", []*ir.Value{x}, nil, nil, nil},
		{"ai.onnx.preview.FlexAttention", []*ir.Value{b.Param("q", ir.TensorOf(tensor.F32, n, sym.Const(2), k, n)), b.Param("keys", ir.TensorOf(tensor.F32, n, sym.Const(2), n, n)), b.Param("v", ir.TensorOf(tensor.F32, n, sym.Const(2), n, k))},
			nil, []*ir.Block{nil, nil}, []string{"[n, 2, k, k] f32"}},
	} {
		out := b.OpN(len(c.want), c.name, c.args, c.attrs, c.regions...)
		if err := b.Err(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for i, v := range out {
			if got := v.Type.String(); got != c.want[i] {
				t.Errorf("%s: result %d is %s, want %s", c.name, i, got, c.want[i])
			}
		}
	}
}

func expr(t *testing.T, s string) sym.Expr {
	t.Helper()
	e, err := sym.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// loopCall is a loop over a cache that grows or shrinks and a list that is counted up, which
// may end early.
type loopCall struct {
	start, grows string // rows of the cache, and how many are appended; "-1": one is cut off
	first, step  string // what is counted
	trip         string
	early        bool // ends in iteration 2
	stacked      bool // what is counted, too
}

// What a loop changes by the same amount in each iteration is, after it, what it was and that
// times the number of iterations; what is said of sizes and contents is so for all values.
func TestLoopsAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	said := map[string]int{}
	for range 120 {
		l := loopCall{
			start: oneOf(r, "n", "n+3", "4", "2*m"), grows: oneOf(r, "1", "k", "2", "0", "k+1", "-1"),
			first: oneOf(r, "0", "n", "7", "m-1"), step: oneOf(r, "1", "k", "-2", "0", "n+1"),
			trip: oneOf(r, "m", "3", "0", "n+1", "m-2"), early: r.IntN(3) == 0, stacked: r.IntN(2) == 0,
		}
		for range 6 {
			l.check(t, map[string]int64{"n": r.Int64N(5), "m": r.Int64N(4), "k": r.Int64N(3)}, said)
		}
	}
	for _, what := range []string{"dim", "contents", "bound"} {
		if said[what] < 100 {
			t.Errorf("something is said of %d cases of %s", said[what], what)
		}
	}
	t.Log(said)
}

func (l loopCall) check(t *testing.T, symbols map[string]int64, said map[string]int) {
	t.Helper()
	m := ir.NewModule("test")
	f := &ir.Func{Name: "main"}
	m.Funcs = append(m.Funcs, f)
	b := ir.NewBuilder(m, f)
	n, k, rows := sym.Var("n"), sym.Var("k"), sym.Var("rows")
	two := sym.Const(2)
	sizes := b.Param("sizes", ir.TensorOf(tensor.U8, n, sym.Var("m"), k, sym.Const(0)))
	inputs := []tensor.Value{tensor.New(tensor.U8, symbols["n"], symbols["m"], symbols["k"], 0)}
	_ = sizes
	scalar := func(s string) *ir.Value {
		v, _ := b.Holding(ir.TensorOf(tensor.I64), []sym.Expr{expr(t, s)})
		return v
	}
	zeros := func(s string) *ir.Value {
		return b.Op("onnx.ConstantOfShape", []*ir.Value{b.Dims(expr(t, s), two)})
	}
	cache, first := zeros(l.start), scalar(l.first)
	var inner []*ir.Value // a list as long as the number of the iteration
	body := b.Region(func() []*ir.Value {
		i, on := b.Param("i", ir.TensorOf(tensor.I64)), b.Param("on", ir.TensorOf(tensor.Bool))
		c, x := b.Param("cache", ir.TensorOf(tensor.F32, rows, two)), b.Param("count", ir.TensorOf(tensor.I64))
		if l.grows == "-1" {
			c = b.Op("onnx.Slice", []*ir.Value{c, b.Ints(1), b.Ints(1 << 62), b.Ints(0)})
		} else {
			c = b.Op("onnx.Concat", []*ir.Value{c, zeros(l.grows)}, "axis", 0)
		}
		inner = []*ir.Value{b.Op("onnx.Range", []*ir.Value{b.Const(tensor.Scalar(int64(0))), i, b.Const(tensor.Scalar(int64(1)))})}
		x = b.Op("onnx.Add", []*ir.Value{x, scalar(l.step)})
		if l.early {
			on = b.Op("onnx.Less", []*ir.Value{i, b.Const(tensor.Scalar(int64(2)))})
		}
		return []*ir.Value{on, c, x, b.Op("onnx.Identity", []*ir.Value{x}), b.Op("onnx.ReduceSum", []*ir.Value{inner[0]}, "keepdims", 0)}
	})
	out := b.OpN(4, "onnx.Loop", []*ir.Value{scalar(l.trip), nil, cache, first}, nil, body)
	if l.stacked {
		b.Return(out...)
	} else {
		r := f.Stmts[len(f.Stmts)-1].Results
		r[2], r[3] = nil, nil
		b.Return(out[0], out[1])
	}
	if err := b.Err(); err != nil {
		t.Fatalf("%+v: %v", l, err)
	}
	d := ir.NewDeducer(m)
	d.Params(f.Params)
	var inside sym.Expr // the length of inner, as a pass deduces it
	var walk func(block *ir.Block)
	walk = func(block *ir.Block) {
		for _, s := range block.Stmts {
			for i, r := range s.Regions {
				d.Region(s, i, func() { d.Params(r.Params); walk(r) })
			}
			if s.Kind == ir.OpStmt {
				if err := d.Stmt(s); err != nil {
					t.Fatalf("%+v: %v", l, err)
				}
			} else {
				d.Follow(s)
			}
			if len(s.Results) > 0 && s.Results[0] == inner[0] {
				inside = inner[0].Type.(ir.TensorType).Dims[0]
			}
		}
	}
	walk(&f.Block)
	if err := ir.Verify(m); err != nil {
		t.Fatalf("%+v: %v", l, err)
	}
	got, err := interp.Run(context.Background(), m, inputs, interp.Options{})
	at := func(s string) int64 {
		v, err := expr(t, s).Eval(func(name string) (int64, bool) { n, ok := symbols[name]; return n, ok })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	steps, count, length := int64(0), at(l.first), at(l.start) // brute force
	for steps < at(l.trip) && (!l.early || steps < 3) {
		steps, count, length = steps+1, count+at(l.step), max(length+at(l.grows), 0)
	}
	if err != nil {
		if l.grows == "-1" && at(l.start) < steps {
			return // it says that a dim is less than 0
		}
		t.Fatalf("%+v at %v: %v", l, symbols, err)
	}
	if x := got[0].(*tensor.Tensor); x.Shape()[0] != length || got[1].(*tensor.Tensor).Int(0) != count {
		t.Fatalf("%+v at %v: %d rows, and %d counted; want %d and %d", l, symbols, x.Shape()[0], got[1].(*tensor.Tensor).Int(0), length, count)
	}
	env := ir.NewEnv(nil)
	for i, v := range out {
		if i < len(got) {
			if err := env.BindAll([]ir.Type{ir.TensorOf(tensor.U8, n, sym.Var("m"), k, sym.Const(0)), v.Type}, []tensor.Value{inputs[0], got[i]}, func(int) string { return "x" }); err != nil {
				t.Fatalf("%+v at %v: %v", l, symbols, err)
			}
		}
	}
	if err := env.Check(m.Syms); err != nil {
		t.Fatalf("%+v at %v: %v", l, symbols, err)
	}
	e := out[0].Type.(ir.TensorType).Dims[0]
	if v, err := env.Eval(e); err != nil || v != length {
		t.Fatalf("%+v at %v: %s rows, which is %d, %v; there are %d", l, symbols, e, v, err, length)
	}
	if _, bare := e.Symbol(); !bare {
		said["dim"]++
	}
	if list, ok := d.Known(out[1]); ok {
		said["contents"]++
		if v, err := env.Eval(list[0]); err != nil || v != count {
			t.Fatalf("%+v at %v: %s is counted, which is %d, %v; it is %d", l, symbols, list[0], v, err, count)
		}
	}
	if _, hi := m.Syms.Bounds(inside); hi < 3 {
		said["bound"]++
		if at(l.trip) > hi+1 && !l.early {
			t.Fatalf("%+v at %v: a list of at most %d in the last iteration", l, symbols, hi)
		}
	}
}
