package builtin_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

var randomModules = flag.Int("modules", 400, "how many random modules there are")

// TestRandomModules holds what passes make of random modules against what they were given:
// the default pipeline pass after pass, and other pipelines that keep all constraints. A
// module is run by the interpreter, and by a device in the end, which unlike the
// interpreter places results in storages. As text and as protobuf a module is the same.
func TestRandomModules(t *testing.T) {
	modules := *randomModules
	if testing.Short() {
		modules = 50
	}
	ran := 0
	seen := map[string]bool{}
	for seed := range uint64(modules) {
		n := checkRandomModule(t, seed)
		ran += n
		if t.Failed() {
			return
		}
		if n > 0 {
			drawModule(seed).m.Main().Walk(func(s *ir.Stmt) { seen[s.OpName()] = true })
		}
	}
	if ran < modules {
		t.Errorf("%d runs of %d modules did not fail: the modules are no good", ran, modules)
	}
	if kinds := len(seen); kinds < min(modules, 400)/5 {
		t.Errorf("%d kinds of operators were in modules that ran: too few", kinds)
	}
}

// FuzzRandomModules is the same from any seed.
func FuzzRandomModules(f *testing.F) {
	for seed := range uint64(10) {
		f.Add(1000 + seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkRandomModule(t, seed) })
}

// sample is a run of the module as it was drawn.
type sample struct {
	args, want []tensor.Value
}

// checkRandomModule draws a module by a seed and gives the number of runs that were
// compared.
func checkRandomModule(t *testing.T, seed uint64) int {
	g := drawModule(seed)
	if err := ir.Verify(g.m); err != nil {
		t.Errorf("seed %d: the module that was drawn: %v\n%s", seed, err, text.String(g.m))
		return 0
	}
	src := text.String(g.m)
	if err := roundTrips(g.m); err != nil {
		t.Errorf("seed %d: %v\nit was\n%s", seed, err, src)
		return 0
	}
	var samples []sample
	for range 3 {
		args := g.inputs()
		if want, err := interp.Run(context.Background(), g.m, args, interp.Options{Seed: seed}); err == nil {
			samples = append(samples, sample{args, want})
		}
	}
	fail := func(what string, err error, m *ir.Module) {
		t.Errorf("seed %d, %s: %v\nit was\n%s\nit is\n%s", seed, what, err, src, text.String(m))
	}
	for variant := range 2 {
		steps := g.pipeline(variant == 0)
		m := drawModule(seed).m
		device := cpu.New(2)
		mg := pass.Manager{Target: device.Target()}
		for i, s := range steps {
			if err := mg.Run(context.Background(), m, []pass.Step{s}); err != nil {
				if len(samples) == 0 && diag.CodeOf(err) == diag.Malformed {
					return 0 // it never runs, and now it is known why
				}
				fail("pass "+s.Ref(), err, m)
				return 0
			}
			if s.Pass == builtin.Fuse {
				if err := withinFacts(m, samples); err != nil {
					fail("facts after "+s.Ref(), err, m)
					return 0
				}
			}
			if variant > 0 && i < len(steps)-1 {
				continue // the default pipeline says which pass it is
			}
			for _, x := range samples {
				got, err := interp.Run(context.Background(), m, x.args, interp.Options{Seed: seed})
				if err := compare(got, x.want, err); err != nil {
					fail("after "+s.Ref(), err, m)
					return 0
				}
			}
		}
		if err := roundTrips(m); err != nil {
			fail("in the end", err, m)
			return 0
		}
		x, err := runtime.Load(m, device, runtime.Options{Seed: seed})
		if err != nil {
			fail("load", err, m)
			return 0
		}
		for _, s := range samples {
			got, err := x.Run(context.Background(), s.args)
			if err := compare(got, s.want, err); err != nil {
				fail("on the device", err, m)
				return 0
			}
		}
	}
	return len(samples)
}

// withinFacts holds what is claimed of the results of a module against what came out of it.
func withinFacts(m *ir.Module, samples []sample) error {
	facts := analysis.NewFacts(m, 1<<20)
	for i, v := range m.Main().Results {
		r := facts.Range(v)
		for _, x := range samples {
			t, ok := x.want[i].(*tensor.Tensor)
			if !ok || t.DType().IsComplex() || t.DType() == tensor.String {
				continue
			}
			for j := range t.Len() {
				if e := t.Float(j); e != e && !r.NaN || e < r.Lo || e > r.Hi {
					return fmt.Errorf("result %d has %v, and is said to be in %+v", i, e, r)
				}
			}
		}
	}
	return nil
}

func compare(got, want []tensor.Value, err error) error {
	if err != nil {
		return err
	}
	for i, w := range want {
		tol := tensor.Tolerance{}
		if x, ok := w.(*tensor.Tensor); ok {
			tol = tensor.DefaultTolerance(x.DType())
		}
		if err := tensor.Compare(got[i], w, tol); err != nil {
			return fmt.Errorf("result %d: %w", i, err)
		}
	}
	return nil
}

// generator draws a module statement by statement. What the builder refuses is taken
// back.
type generator struct {
	*rand.Rand
	m     *ir.Module
	b     *ir.Builder
	f32   []*ir.Value // to compute with, of any rank
	ints  []*ir.Value // 1-D i64: shapes and parts of shapes
	flags []*ir.Value // [] bool
	depth int         // of regions

	// Loops stack parts, and run at least once: of nothing, a stack has the dims that are
	// known of a part, and passes may know more.
	stacks bool
}

// The parameters of every module: f32 tensors, a truth value, and a small number.
var parameters = []string{"[n, 4] f32", "[n, m] f32", "[m] f32", "[2*k, 3] f32", "[1, p, 2] f32", "[*] f32"}

func drawModule(seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 11)), m: ir.NewModule("")}
	g.stacks = g.IntN(2) == 0
	f := &ir.Func{Name: "main"}
	g.m.Funcs = []*ir.Func{f}
	for _, s := range []string{"n", "m", "k", "p"} {
		g.m.Syms.Reserve(s)
		if g.IntN(2) == 0 {
			_ = g.m.Syms.SetRange(s, 1, 4) // nothing contradicts it
		}
	}
	g.b = ir.NewBuilder(g.m, f)
	for i, p := range parameters {
		ty, _ := text.ParseType(p)
		g.f32 = append(g.f32, g.b.Param(fmt.Sprint("x", i), ty))
	}
	g.flags = append(g.flags, g.b.Param("c", ir.TensorOf(tensor.Bool)))
	trips := g.b.Param("trips", ir.TensorOf(tensor.I64))
	for range 2 {
		g.f32 = append(g.f32, g.constant())
	}
	for range 4 + g.IntN(14) {
		g.statement(trips)
	}
	var results []*ir.Value
	for range 1 + g.IntN(3) {
		results = append(results, one(g, g.f32))
	}
	if g.IntN(3) == 0 && len(g.ints) > 0 {
		results = append(results, one(g, g.ints))
	}
	g.b.Return(results...)
	for i := range results { // one value may be two results
		f.ResultNames = append(f.ResultNames, fmt.Sprint("y", i))
	}
	return g
}

func one[T any](g *generator, list []T) T { return list[g.IntN(len(list))] }

// constant is a weight of a drawn shape.
func (g *generator) constant() *ir.Value {
	shape := make([]int64, g.IntN(3))
	for i := range shape {
		shape[i] = one(g, []int64{1, 3, 4, 4})
	}
	return g.b.Const(g.tensor(shape))
}

// tensor has elements from -2 to 2, some of them 0.
func (g *generator) tensor(shape []int64) *tensor.Tensor {
	x := tensor.New(tensor.F32, shape...)
	for i := range x.Len() {
		x.SetFloat(i, float64(g.IntN(17)-8)/4)
	}
	return x
}

// try adds statements, and takes them back where the builder refuses them.
func (g *generator) try(f func() *ir.Value) *ir.Value {
	mark := g.b.Mark()
	f32, ints, flags := g.f32, g.ints, g.flags
	v := f()
	if g.b.Err() != nil {
		g.b.Reset(mark)
		g.f32, g.ints, g.flags = f32, ints, flags
		return nil
	}
	return v
}

func (g *generator) statement(trips *ir.Value) {
	switch n := g.IntN(32); {
	case n >= 20:
		g.keep(g.try(func() *ir.Value { return one(g, families)(g) }))
	case n < 6:
		g.keep(g.try(g.elementwise))
	case n < 10:
		g.keep(g.try(g.movement))
	case n < 13:
		g.keep(g.try(g.reduction))
	case n < 15:
		g.shape()
	case n < 16:
		g.keep(g.try(g.dataDependent))
	case n < 17:
		g.keep(g.try(g.cast))
	case n < 18:
		g.keep(g.try(g.random))
	case g.depth < 2 && n < 19:
		g.keep(g.try(func() *ir.Value { return g.branch(trips) }))
	case g.depth < 2:
		g.keep(g.try(func() *ir.Value { return g.loop(trips) }))
	}
}

func (g *generator) keep(v *ir.Value) {
	if v != nil {
		g.f32 = append(g.f32, v)
	}
}

func (g *generator) op(name string, args []*ir.Value, attrs ...any) *ir.Value {
	return g.b.OpN(1, "onnx."+name, args, ir.MakeAttrs(attrs...))[0]
}

func (g *generator) elementwise() *ir.Value {
	x, y := one(g, g.f32), one(g, g.f32)
	switch g.IntN(9) {
	case 0:
		return g.op(one(g, []string{"Abs", "Neg", "Relu", "Tanh", "Identity"}), []*ir.Value{x})
	case 1:
		return g.op("Cast", []*ir.Value{g.op("Cast", []*ir.Value{x}, "to", one(g, []tensor.DType{tensor.F16, tensor.I32, tensor.F32}))}, "to", tensor.F32)
	case 2:
		return g.op("Where", []*ir.Value{g.op("Less", []*ir.Value{x, y}), x, y})
	case 3: // the same twice
		return g.op("Add", []*ir.Value{g.op("Abs", []*ir.Value{x}), g.op("Abs", []*ir.Value{x})})
	case 4, 5: // what others have too, inside and outside of regions
		return g.op(one(g, []string{"Abs", "Tanh"}), g.m.Main().Params[:1])
	}
	return g.op(one(g, []string{"Add", "Sub", "Mul", "Max", "Min"}), []*ir.Value{x, y})
}

func (g *generator) axis(x *ir.Value) int { // also of what has no rank yet
	t, _ := x.Tensor()
	return g.IntN(max(len(t.Dims), 1))
}

func (g *generator) movement() *ir.Value {
	x := one(g, g.f32)
	t, _ := x.Tensor()
	switch g.IntN(8) {
	case 0:
		if t.Unranked || g.IntN(3) == 0 {
			return g.op("Transpose", []*ir.Value{x})
		}
		return g.op("Transpose", []*ir.Value{x}, "perm", g.Perm(len(t.Dims)))
	case 1:
		if t.Unranked {
			return g.op("Transpose", []*ir.Value{x})
		}
		y := g.op("Transpose", []*ir.Value{x}, "perm", g.Perm(len(t.Dims)))
		return g.op("Transpose", []*ir.Value{y}, "perm", g.Perm(len(t.Dims)))
	case 2:
		y := g.op("Abs", []*ir.Value{x})
		return g.op("ScatterElements", []*ir.Value{y, g.op("Cast", []*ir.Value{g.op("Less", []*ir.Value{x, y})}, "to", tensor.I64), x}, "axis", g.axis(x), "reduction", one(g, []string{"none", "add"}))
	case 3:
		return g.op("Reshape", []*ir.Value{x, one(g, append(g.ints, g.b.Ints(-1), g.b.Ints(0, -1)))})
	case 4:
		return g.op("Unsqueeze", []*ir.Value{x, g.b.Ints(0)})
	case 5:
		return g.op("Concat", []*ir.Value{x, one(g, []*ir.Value{x, one(g, g.f32)})}, "axis", g.axis(x))
	case 6:
		from := g.b.Ints(int64(g.IntN(2)))
		if g.IntN(3) == 0 && len(g.ints) > 0 {
			from = one(g, g.ints)
		}
		return g.op("Slice", []*ir.Value{x, from, g.b.Ints(int64(1 + g.IntN(4))), g.b.Ints(int64(g.axis(x)))})
	}
	return g.op("Gather", []*ir.Value{x, g.b.Const(tensor.Of([]int64{0, 0}, 2))}, "axis", g.axis(x))
}

func (g *generator) reduction() *ir.Value {
	x := one(g, g.f32)
	switch g.IntN(5) {
	case 0:
		return g.op("Softmax", []*ir.Value{x}, "axis", g.axis(x))
	case 1:
		return g.op("MatMul", []*ir.Value{x, one(g, g.f32)})
	case 2:
		return g.op("MatMul", []*ir.Value{x, g.op("Transpose", []*ir.Value{x})})
	case 3:
		return g.op("CumSum", []*ir.Value{x, g.b.Const(tensor.Scalar(int64(g.axis(x))))})
	}
	return g.op("ReduceSum", []*ir.Value{x, g.b.Ints(int64(g.axis(x)))}, "keepdims", g.IntN(2))
}

// shape computes with shapes.
func (g *generator) shape() {
	v := g.try(func() *ir.Value {
		switch {
		case len(g.ints) == 0 || g.IntN(3) == 0:
			return g.op("Shape", []*ir.Value{one(g, g.f32)})
		case g.IntN(3) == 0:
			return g.op("Concat", []*ir.Value{one(g, g.ints), g.b.Ints(int64(1 + g.IntN(2)))}, "axis", 0)
		case g.IntN(3) == 0:
			return g.op("Mul", []*ir.Value{one(g, g.ints), g.b.Ints(int64(1 + g.IntN(3)))})
		case g.IntN(3) == 0:
			v := one(g, g.ints)
			return g.op("Unsqueeze", []*ir.Value{g.op("ReduceProd", []*ir.Value{v}, "keepdims", 0), g.b.Ints(0)})
		}
		return g.op("Gather", []*ir.Value{one(g, g.ints), g.b.Ints(0)})
	})
	if v == nil {
		return
	}
	g.ints = append(g.ints, v)
	if g.IntN(2) == 0 {
		if c := g.try(func() *ir.Value {
			first := g.op("Gather", []*ir.Value{v, g.b.Const(tensor.Scalar(int64(0)))})
			return g.op(one(g, []string{"Equal", "Less"}), []*ir.Value{first, g.b.Const(tensor.Scalar(int64(4)))})
		}); c != nil {
			g.flags = append(g.flags, c)
		}
	}
}

// dataDependent has a size that the data tell.
func (g *generator) dataDependent() *ir.Value {
	x := one(g, g.f32)
	at := g.op("NonZero", []*ir.Value{x})
	if g.IntN(2) == 0 {
		g.ints = append(g.ints, g.op("Shape", []*ir.Value{at}))
	}
	if g.IntN(3) == 0 {
		at = g.op("NonZero", []*ir.Value{x}) // again
	}
	if t, _ := x.Tensor(); len(t.Dims) == 1 {
		return g.op("Gather", []*ir.Value{x, g.op("Squeeze", []*ir.Value{at, g.b.Ints(0)})})
	}
	return g.op("Cast", []*ir.Value{at}, "to", tensor.F32)
}

// cast asserts what is so anyway, and names sizes.
func (g *generator) cast() *ir.Value {
	x := one(g, g.f32)
	t, _ := x.Tensor()
	dims := make([]sym.Expr, len(t.Dims))
	for i, d := range t.Dims {
		if dims[i] = d; g.IntN(2) == 0 {
			dims[i] = g.m.Syms.Fresh("q")
		}
	}
	if t.Unranked {
		return g.b.MatchCast(x, ir.TensorOf(tensor.F32, g.m.Syms.Fresh("q"), g.m.Syms.Fresh("q")))
	}
	y := g.b.MatchCast(x, ir.TensorOf(tensor.F32, dims...))
	if g.IntN(2) == 0 {
		g.ints = append(g.ints, g.b.Dims(dims...))
	}
	return y
}

func (g *generator) random() *ir.Value {
	x := []*ir.Value{one(g, g.f32)}
	if g.IntN(3) == 0 {
		return g.op("Sub", []*ir.Value{g.op("RandomNormalLike", x), g.op("RandomNormalLike", x)})
	}
	return g.op(one(g, []string{"RandomUniformLike", "RandomNormalLike"}), x)
}

// inside builds a region of a few statements; what it defines is not seen behind it.
func (g *generator) inside(trips *ir.Value, f func() []*ir.Value) *ir.Block {
	f32, ints, flags := g.f32, g.ints, g.flags
	g.depth++
	r := g.b.Region(func() []*ir.Value {
		head := f()
		for range g.IntN(4) {
			g.statement(trips)
		}
		return head
	})
	g.depth--
	r.Results = append(r.Results, g.f32[len(g.f32)-1]) // the last that was made, or one from outside
	g.f32, g.ints, g.flags = f32[:len(f32):len(f32)], ints[:len(ints):len(ints)], flags[:len(flags):len(flags)]
	return r
}

func (g *generator) branch(trips *ir.Value) *ir.Value {
	cond := one(g, g.flags)
	if g.IntN(4) == 0 {
		cond = g.b.Const(tensor.Scalar(g.IntN(2) == 0))
	}
	nothing := func() []*ir.Value { return nil }
	return g.b.OpN(1, "onnx.If", []*ir.Value{cond}, nil, g.inside(trips, nothing), g.inside(trips, nothing))[0]
}

// loop carries a value that every iteration changes, and may stack others.
func (g *generator) loop(trips *ir.Value) *ir.Value {
	x := one(g, g.f32)
	body := g.inside(trips, func() []*ir.Value {
		i := g.b.Param("", ir.TensorOf(tensor.I64))
		on := g.b.Param("", ir.TensorOf(tensor.Bool))
		was := g.b.Param("", x.Type)
		g.f32 = append(g.f32, was, g.op("Cast", []*ir.Value{i}, "to", tensor.F32))
		return []*ir.Value{on, g.op("Tanh", []*ir.Value{was})}
	})
	if !g.stacks {
		body.Results = body.Results[:2]
		return g.b.OpN(1, "onnx.Loop", []*ir.Value{trips, nil, x}, nil, body)[0]
	}
	out := g.b.OpN(2, "onnx.Loop", []*ir.Value{trips, nil, x}, nil, body)
	g.keep(out[0])
	return out[1]
}

// inputs draws operands of the module.
func (g *generator) inputs() []tensor.Value {
	size := map[string]int64{}
	for _, s := range []string{"n", "m", "k", "p"} {
		lo, hi := g.m.Syms.Range(s)
		size[s] = lo + g.Int64N(min(hi, 4)-lo+1)
	}
	var out []tensor.Value
	for _, p := range g.m.Main().Params {
		t, _ := p.Tensor()
		shape := []int64{1 + g.Int64N(2), 1 + g.Int64N(3)} // where there is no rank
		if !t.Unranked {
			shape = make([]int64, len(t.Dims))
			for i, d := range t.Dims {
				shape[i], _ = d.Eval(func(s string) (int64, bool) { return size[s], true })
			}
		}
		switch t.DType {
		case tensor.Bool:
			out = append(out, tensor.Scalar(g.IntN(2) == 0))
		case tensor.I64:
			trips := g.Int64N(4)
			if g.stacks {
				trips = max(trips, 1)
			}
			out = append(out, tensor.Scalar(trips))
		default:
			out = append(out, g.tensor(shape))
		}
	}
	return out
}

// pipeline is the default one, or one of passes that are left out and come again.
func (g *generator) pipeline(usual bool) []pass.Step {
	steps, err := passes.Default().Assemble(builtin.Registry())
	if err != nil {
		panic(err) // tested elsewhere
	}
	if usual {
		return steps
	}
	var out []pass.Step
	for _, s := range steps {
		if g.IntN(4) == 0 && s.Pass.Name != "lower" {
			continue
		}
		out = append(out, s)
		for g.IntN(3) == 0 && s.Pass.Name != "plan-memory" && s.Pass.Name != "lower" {
			again := one(g, out) // storages and releases are for the end: passes do not move them
			if again.Pass.Name != "plan-memory" {
				out = append(out, again)
			}
		}
	}
	return out
}
