package ir_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

func typ(t testing.TB, s string) ir.Type {
	t.Helper()
	out, err := text.ParseType(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// building is a function @main under construction, its parameters named by their types.
func building(t testing.TB, params ...string) (*ir.Module, *ir.Builder, []*ir.Value) {
	t.Helper()
	m := ir.NewModule("test")
	f := &ir.Func{Name: "main"}
	m.Funcs = []*ir.Func{f}
	b := ir.NewBuilder(m, f)
	var vals []*ir.Value
	for _, p := range params {
		ty := typ(t, p)
		ir.EachDim(ty, func(e sym.Expr) {
			for _, s := range e.Symbols() {
				m.Syms.Reserve(s)
			}
		})
		vals = append(vals, b.Param("x", ty))
	}
	return m, b, vals
}

func done(t testing.TB, m *ir.Module, b *ir.Builder, results ...*ir.Value) {
	t.Helper()
	b.Return(results...)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(m); err != nil {
		t.Fatalf("%v\n%s", err, text.String(m))
	}
}

func run(t testing.TB, m *ir.Module, args ...tensor.Value) []tensor.Value {
	t.Helper()
	out, err := interp.Run(context.Background(), m, args, interp.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text.String(m))
	}
	return out
}

func wantType(t testing.TB, v *ir.Value, want string) {
	t.Helper()
	if v.Type.String() != want {
		t.Errorf("the type is %s, want %s", v.Type, want)
	}
}

func TestBuilderDeduces(t *testing.T) {
	m, b, x := building(t, "[batch, 2*seq] f32", "[batch, 1] f32", "[*] f32")
	sum := b.Op("onnx.Add", x[:2])
	wantType(t, sum, "[batch, 2*seq] f32")
	turned := b.Op("onnx.Transpose", []*ir.Value{sum})
	wantType(t, turned, "[2*seq, batch] f32")
	wantType(t, b.Op("onnx.MatMul", []*ir.Value{turned, sum}), "[2*seq, 2*seq] f32")
	wantType(t, b.Op("onnx.Relu", x[2:]), "[*] f32")
	wantType(t, b.Op("onnx.Cast", []*ir.Value{sum}, "to", tensor.F16), "[batch, 2*seq] f16")
	done(t, m, b, turned)
}

// The first error sticks; what follows does nothing, and adds nothing.
func TestBuilderKeepsTheFirstError(t *testing.T) {
	m, b, x := building(t, "[n, 2] f32", "[3] f32")
	b.Node("layer/0")
	bad := b.Op("onnx.MatMul", x)
	if bad == nil || b.Err() == nil || !strings.Contains(b.Err().Error(), `node "layer/0" (MatMul)`) {
		t.Fatalf("got %v", b.Err())
	}
	first := b.Err()
	b.Op("onnx.NoSuch", x)
	b.MatchCast(x[0], x[0].Type)
	if b.Err() != first || len(m.Main().Stmts) != 0 {
		t.Errorf("error %v, %d statements", b.Err(), len(m.Main().Stmts))
	}
	_, b, x = building(t, "[n] f32")
	b.Op("onnx.NoSuch", x)
	if diag.CodeOf(b.Err()) != diag.Unsupported {
		t.Errorf("got %v", b.Err())
	}
}

// What was built since a mark can be taken back, with the error and the symbols.
func TestBuilderGoesBack(t *testing.T) {
	m, b, x := building(t, "[n] f32")
	mark := b.Mark()
	at := b.Op("onnx.NonZero", x)
	u := at.Type.(ir.TensorType).Dims[1].Symbols()[0]
	if !b.Bound(u) {
		t.Errorf("%s has no value behind the statement that tells it", u)
	}
	b.Op("onnx.NoSuch", x)
	b.Reset(mark)
	if b.Err() != nil || len(m.Main().Stmts) != 0 || b.Bound(u) || !b.Bound("n") {
		t.Errorf("error %v, %d statements, %s bound: %v", b.Err(), len(m.Main().Stmts), u, b.Bound(u))
	}
}

func TestNamesAreUnique(t *testing.T) {
	m, b, x := building(t, "[n] f32", "[n] f32")
	y := b.Op("onnx.Add", x)
	b.Rename(y, "x_1")
	if x[0].Name != "x" || x[1].Name != "x_1" || y.Name != "x_1_1" {
		t.Errorf("names are %s, %s, %s", x[0].Name, x[1].Name, y.Name)
	}
	if b.Const(tensor.Scalar(int64(1))).Name == b.Const(tensor.Scalar(int64(2))).Name {
		t.Error("two constants have one name")
	}
	done(t, m, b, y)
}

// Integers that small operators compute of shapes are known as expressions.
func TestContentsAreFollowed(t *testing.T) {
	m, b, x := building(t, "[batch, seq, 8] f32")
	for _, s := range []string{"batch", "seq"} { // or what -1 stands for is not known
		if err := m.Syms.SetRange(s, 1, sym.Inf); err != nil {
			t.Fatal(err)
		}
	}
	shape := b.Op("onnx.Shape", x)
	known := func(v *ir.Value, want string) {
		t.Helper()
		e, ok := b.Known(v)
		if got := ir.ShapeString(e); !ok || got != want {
			t.Errorf("known is %s (%v), want %s", got, ok, want)
		}
	}
	known(shape, "[batch, seq, 8]")
	at := func(i int64) *ir.Value { return b.Op("onnx.Gather", []*ir.Value{shape, b.Ints(i)}) }
	tokens := b.Op("onnx.Mul", []*ir.Value{at(0), at(1)})
	known(tokens, "[batch*seq]")
	known(b.Op("onnx.Div", []*ir.Value{tokens, b.Ints(2)}), "[(batch*seq) // 2]")
	known(b.Op("onnx.Equal", []*ir.Value{at(2), b.Ints(8)}), "[1]")
	target := b.OpN(1, "onnx.Concat", []*ir.Value{tokens, b.Ints(-1)}, ir.MakeAttrs("axis", 0))[0]
	known(target, "[batch*seq, -1]")
	y := b.Op("onnx.Reshape", []*ir.Value{x[0], target})
	wantType(t, y, "[batch*seq, 8] f32")
	known(b.MatchCast(target, typ(t, "[2] i64")), "[batch*seq, -1]")
	if _, ok := b.Known(y); ok {
		t.Error("contents of floats are known")
	}
	undecided := b.Op("onnx.Equal", []*ir.Value{at(0), at(1)})
	if e, ok := b.Known(undecided); ok {
		t.Errorf("whether two symbols are equal is known: %v", e)
	}
	done(t, m, b, y)
	want := tensor.New(tensor.F32, 6, 8)
	if err := tensor.Compare(run(t, m, tensor.New(tensor.F32, 2, 3, 8))[0], want, tensor.Tolerance{}); err != nil {
		t.Error(err)
	}
}

// Dims makes a tensor of dims, computed when it runs.
func TestDims(t *testing.T) {
	m, b, _ := building(t, "[n, m] f32")
	d := b.Dims(sym.Var("n").Mul(sym.Var("m")), sym.Const(3), sym.Var("n"))
	none := b.Dims()
	wantType(t, d, "[3] i64")
	wantType(t, none, "[0] i64")
	done(t, m, b, d, none)
	out := run(t, m, tensor.New(tensor.F32, 2, 5))
	if err := tensor.Compare(out[0], tensor.Of([]int64{10, 3, 2}, 3), tensor.Tolerance{}); err != nil {
		t.Error(err)
	}
}

// A cast asserts a type, gives its symbols values, and is checked when it runs.
func TestMatchCast(t *testing.T) {
	m, b, x := building(t, "[*] f32", "[n] f32")
	y := b.MatchCast(x[0], typ(t, "[n, 2*k] f32"))
	if !b.Bound("k") {
		t.Error("the cast does not tell k")
	}
	size := b.Dims(sym.Var("k"))
	done(t, m, b, y, size)
	n3 := tensor.New(tensor.F32, 3)
	out := run(t, m, tensor.New(tensor.F32, 3, 8), n3)
	if err := tensor.Compare(out[1], tensor.Of([]int64{4}, 1), tensor.Tolerance{}); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		x    *tensor.Tensor
		says string
	}{
		{tensor.New(tensor.F32, 3, 7), "2*k is for no k"},
		{tensor.New(tensor.F32, 4, 8), `"n" is 3`},
		{tensor.New(tensor.F32, 3), "of rank 1"},
	} {
		_, err := interp.Run(context.Background(), m, []tensor.Value{c.x, n3}, interp.Options{})
		if diag.CodeOf(err) != diag.Run || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: got %v, want %q", c.x.Shape(), err, c.says)
		}
	}
}

// A size that the data tell is a new symbol, with a bound where there is one.
func TestDataDependentSizes(t *testing.T) {
	m, b, x := building(t, "[n, m] f32")
	at := b.Op("onnx.NonZero", x)
	dims := at.Type.(ir.TensorType).Dims
	u, bare := dims[1].Symbol()
	if !bare || !b.Bound(u) || !dims[0].IsInt(2) {
		t.Fatalf("the type is %s", at.Type)
	}
	if m.Syms.LE(dims[1], sym.Var("n").Mul(sym.Var("m"))) != sym.True || m.Syms.LE(dims[1], sym.Var("n")) == sym.True {
		t.Errorf("%s is not known to be at most n*m", u)
	}
	again := b.Op("onnx.NonZero", x)
	if ir.SameType(at.Type, again.Type) {
		t.Error("two runs of an operator tell one symbol")
	}
	count := b.Op("onnx.Shape", []*ir.Value{at})
	if known, _ := b.Known(count); ir.ShapeString(known) != "[2, "+u+"]" {
		t.Errorf("the shape is known as %v", known)
	}
	done(t, m, b, at, count)
	out := run(t, m, tensor.Of([]float32{0, 1, 2, 0, 0, 3}, 2, 3))
	if err := tensor.Compare(out[1], tensor.Of([]int64{2, 3}, 2), tensor.Tolerance{}); err != nil {
		t.Error(err)
	}
}

// To look what types follow leaves no trace: not in the statement, not in the symbols.
func TestInferLeavesNoTrace(t *testing.T) {
	m, b, x := building(t, "[n] f32")
	at := b.Op("onnx.NonZero", x)
	s := at.Def
	was, symbols := at.Type, m.Syms.Symbols()
	types, err := b.Infer(s)
	if err != nil || len(types) != 1 || ir.SameType(types[0], was) {
		t.Fatalf("got %v, %v", types, err)
	}
	if at.Type.String() != was.String() || !slices.Equal(m.Syms.Symbols(), symbols) || b.Bound(types[0].(ir.TensorType).Dims[1].Symbols()[0]) {
		t.Errorf("the type is %s, symbols are %v; before %s, %v", at.Type, m.Syms.Symbols(), was, symbols)
	}
	// A dead result takes no symbol either.
	s.Results[0] = nil
	if types, err := b.Infer(s); err != nil || len(types) != 1 {
		t.Errorf("got %v, %v", types, err)
	}
}

// A region sees what is around it; what it defines is not seen behind it.
func TestRegions(t *testing.T) {
	m, b, x := building(t, "[] bool", "[n] f32", "[] i64")
	var inner string
	then := b.Region(func() []*ir.Value {
		at := b.Op("onnx.NonZero", x[1:2])
		inner = at.Type.(ir.TensorType).Dims[1].Symbols()[0]
		return []*ir.Value{b.Op("onnx.Abs", x[1:2]), at}
	})
	if b.Bound(inner) {
		t.Errorf("%s is visible behind the region that tells it", inner)
	}
	otherwise := b.Region(func() []*ir.Value {
		return []*ir.Value{x[1], b.OpN(1, "onnx.Concat", []*ir.Value{b.Op("onnx.NonZero", x[1:2]), b.Const(tensor.New(tensor.I64, 1, 1))}, ir.MakeAttrs("axis", 1))[0]}
	})
	y := b.OpN(2, "onnx.If", x[:1], nil, then, otherwise)
	wantType(t, y[0], "[n] f32")
	if d := y[1].Type.(ir.TensorType).Dims; !d[0].IsInt(1) || d[1].Uses(inner) || !b.Bound(d[1].Symbols()[0]) {
		t.Errorf("the type behind the branches is %s", y[1].Type)
	}
	loop := b.Region(func() []*ir.Value {
		b.Param("i", ir.TensorOf(tensor.I64))
		on := b.Param("on", ir.TensorOf(tensor.Bool))
		was := b.Param("was", typ(t, "[k] f32"))
		if !b.Bound("k") {
			t.Error("the parameter of a region does not tell its symbol")
		}
		longer := b.OpN(1, "onnx.Concat", []*ir.Value{was, b.Const(tensor.New(tensor.F32, 1))}, ir.MakeAttrs("axis", 0))[0]
		wantType(t, longer, "[k + 1] f32")
		return []*ir.Value{on, longer}
	})
	z := b.OpN(1, "onnx.Loop", []*ir.Value{x[2], nil, x[1]}, nil, loop)[0]
	if d := z.Type.(ir.TensorType).Dims[0]; d.Uses("k") || d.Uses("n") || b.Bound("k") {
		t.Errorf("the type behind the loop is %s", z.Type)
	}
	done(t, m, b, y[0], y[1], z)
	out := run(t, m, tensor.Scalar(false), tensor.Of([]float32{-1, 0}, 2), tensor.Scalar(int64(3)))
	for i, want := range []*tensor.Tensor{tensor.Of([]float32{-1, 0}, 2), tensor.Of([]int64{0, 0}, 1, 2), tensor.Of([]float32{-1, 0, 0, 0, 0}, 5)} {
		if err := tensor.Compare(out[i], want, tensor.Tolerance{}); err != nil {
			t.Errorf("result %d: %v", i, err)
		}
	}
}

// A block that is inlined keeps its symbols apart from those of the copy: parameters have
// other sizes, and what the data tell is told anew.
func TestInline(t *testing.T) {
	m, b, x := building(t, "[n] f32", "[5] f32", "[*] f32")
	body := b.Region(func() []*ir.Value {
		p := b.Param("p", typ(t, "[k] f32"))
		at := b.Op("onnx.NonZero", []*ir.Value{p})
		count := b.Dims(at.Type.(ir.TensorType).Dims[1], sym.Var("k"))
		flat := b.Op("vm.view", []*ir.Value{p}, "type", typ(t, "[1, k] f32"))
		inner := b.Region(func() []*ir.Value { return []*ir.Value{b.Op("onnx.Abs", []*ir.Value{flat})} })
		same := b.Region(func() []*ir.Value { return []*ir.Value{flat} })
		return []*ir.Value{count, b.OpN(1, "onnx.If", []*ir.Value{b.Const(tensor.Scalar(true))}, nil, inner, same)[0]}
	})
	var results []*ir.Value
	for i, want := range []string{"[1, n] f32", "[1, 5] f32"} {
		out := b.Inline(body, map[*ir.Value]*ir.Value{body.Params[0]: x[i]})
		wantType(t, out[1], want)
		results = append(results, out...)
	}
	ranked := b.Inline(body, map[*ir.Value]*ir.Value{body.Params[0]: x[2]}) // needs a cast: the block has a rank
	results = append(results, ranked...)
	done(t, m, b, results...)
	a := tensor.Of([]float32{0, -3, 4}, 3)
	five := tensor.Of([]float32{0, 0, 0, -3, 0}, 5)
	out := run(t, m, a, five, five)
	for i, want := range []*tensor.Tensor{tensor.Of([]int64{2, 3}, 2), tensor.Of([]float32{0, 3, 4}, 1, 3),
		tensor.Of([]int64{1, 5}, 2), tensor.Of([]float32{0, 0, 0, 3, 0}, 1, 5), tensor.Of([]int64{1, 5}, 2)} {
		if err := tensor.Compare(out[i], want, tensor.Tolerance{}); err != nil {
			t.Errorf("result %d: %v", i, err)
		}
	}
}

func TestEffects(t *testing.T) {
	m := parse(t, `module {
  func @main(%c: [] bool, %x: [n] f32) -> ([n] f32) {
    %pure: [n] f32 = onnx.Abs(%x)
    %draw: [n] f32 = onnx.RandomNormalLike(%x)
    %i: [n] f32 = onnx.If(%c) { ()
      %j: [n] f32 = onnx.If(%c) { ()
        %d: [n] f32 = onnx.RandomNormalLike(%x)
        yield %d
      } { ()
        yield %x
      }
      yield %j
    } { ()
      yield %x
    }
    %p: [n] f32 = onnx.If(%c) { ()
      yield %pure
    } { ()
      yield %x
    }
    %f: [n] f32 = call @draws(%x)
    %g: [n] f32 = call @double[n](%x)
    %u: [n] f32 = unknown 1 acme.Log(%x)
    vm.release(%pure)
    return %x
  }
  func @draws(%y: [k] f32) -> ([k] f32) {
    %z: [k] f32 = onnx.RandomNormalLike(%y)
    return %z
  }
  program @double[m](X: [m] f32) -> (Y: [m] f32) {
    Y[i < m] = (X[i] * f32 2)
  }
}`)
	for result, want := range map[string]ir.Effect{"pure": ir.Pure, "draw": ir.Random, "i": ir.Random, "j": ir.Random,
		"p": ir.Pure, "f": ir.Random, "g": ir.Pure, "u": ir.Ordered} {
		if got := stmt(m, result).Effect(); got != want {
			t.Errorf("%%%s is %s, want %s", result, got, want)
		}
	}
	stmts := m.Main().Stmts
	if got := stmts[len(stmts)-1].Effect(); got != ir.Ordered {
		t.Errorf("a release is %s", got)
	}
}

// What a statement reads includes what its regions read and give.
func TestEachUse(t *testing.T) {
	m := parse(t, whole)
	read := func(result string) []string {
		var names []string
		stmt(m, result).EachUse(func(v *ir.Value) { names = append(names, v.Name) })
		return names
	}
	if got, want := read("i"), []string{"p", "m", "r", "x"}; !slices.Equal(got, want) {
		t.Errorf("the conditional reads %v, want %v", got, want)
	}
	if got, want := read("w"), []string{"trips", "i", "was", "on", "is"}; !slices.Equal(got, want) {
		t.Errorf("the loop reads %v, want %v", got, want)
	}
	for result, want := range map[string]bool{"a": false, "v": false, "m": false, "i": true, "w": true, "d": false, "e": false, "g": true} {
		if got := stmt(m, result).MayHandOn(); got != want {
			t.Errorf("%%%s may hand on: %v", result, got)
		}
	}
}

// BenchmarkVerify is of a module as large as a real one: the time for a statement must not
// grow with their number.
func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, build, x := building(b, "[batch, seq, 64] f32", "[64] f32", "[] bool")
			y := x[0]
			for i := range n {
				switch i % 10 {
				case 0:
					inner := build.Region(func() []*ir.Value { return []*ir.Value{build.Op("onnx.Relu", []*ir.Value{y})} })
					outer := build.Region(func() []*ir.Value { return []*ir.Value{y} })
					y = build.OpN(1, "onnx.If", x[2:], nil, inner, outer)[0]
				case 5:
					y = build.Op("onnx.Softmax", []*ir.Value{y}, "axis", -1)
				default:
					y = build.Op("onnx.Add", []*ir.Value{y, x[1]})
				}
			}
			done(b, m, build, y)
			for b.Loop() {
				if err := ir.Verify(m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/statement")
		})
	}
}
