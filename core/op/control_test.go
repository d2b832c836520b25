package op_test

import (
	"testing"

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
