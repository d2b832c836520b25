package pitopt_test

import (
	"path/filepath"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
)

// What a sequence holds outlives the memory plan: elements that a loop makes, of sizes
// that grow, are what they were when the sequence is read, while memory is reused around
// them and from run to run.
func TestSequencesKeepTheirElements(t *testing.T) {
	m := ir.NewModule("sequences")
	m.Meta.Opsets = []ir.Opset{{Version: 21}}
	f := &ir.Func{Name: "main", ResultNames: []string{"all", "list", "rest"}}
	m.Funcs = append(m.Funcs, f)
	b := ir.NewBuilder(m, f)
	x := b.Param("x", ir.TensorOf(tensor.F32, sym.Var("n"), sym.Const(3)))
	op := func(name string, args ...*ir.Value) *ir.Value { return b.Op("onnx."+name, args) }
	sums := func(v *ir.Value) *ir.Value { // not elementwise, so that each has memory of its own
		return op("Add", v, b.Op("onnx.ReduceSum", []*ir.Value{v, b.Ints(1)}, "keepdims", 1))
	}
	first := sums(x)
	list := op("SequenceConstruct", first, sums(first))
	region := b.Region(func() []*ir.Value {
		b.Param("i", ir.TensorOf(tensor.I64))
		cond := b.Param("cond", ir.TensorOf(tensor.Bool))
		s := b.Param("s", ir.SequenceType{Elem: ir.UnrankedOf(tensor.F32)})
		last := op("SequenceAt", s, b.Const(tensor.Scalar(int64(-1))))
		twice := b.Op("onnx.Concat", []*ir.Value{last, op("Neg", last)}, "axis", 0)
		return []*ir.Value{op("Identity", cond), op("SequenceInsert", s, op("Mul", twice, b.Const(tensor.Scalar(float32(0.5)))))}
	})
	out := b.OpN(1, "onnx.Loop", []*ir.Value{b.Const(tensor.Scalar(int64(4))), nil, list}, nil, region)[0]
	rest := sums(sums(sums(first)))
	b.Return(b.Op("onnx.ConcatFromSequence", []*ir.Value{out}, "axis", 0), out, rest)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.ExportFile(path, m); err != nil {
		t.Fatal(err)
	}
	load := func(target string) *pitopt.Model {
		m, err := pitopt.Load(path, pitopt.Target(target))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	fast, reference := load("cpu"), load("interp")
	for _, n := range []int64{2, 5, 2, 0, 1} {
		x := tensor.New(tensor.F32, n, 3)
		for i := range x.Len() {
			x.SetFloat(i, float64(i)-2)
		}
		in := map[string]tensor.Value{"x": x}
		want, err := reference.RunValues(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, err := fast.RunValues(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			for name, w := range want {
				if err := tensor.Compare(got[name], w, tensor.DefaultTolerance(tensor.F32)); err != nil {
					t.Errorf("%d rows, %s: %v", n, name, err)
				}
			}
		}
		if all := want["all"].(*tensor.Tensor).Shape(); all[0] != n*(1+1+2+4+8+16) {
			t.Errorf("%d rows: %v", n, all)
		}
	}
}
