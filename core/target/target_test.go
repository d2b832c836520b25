package target_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
)

// double is Y[i < n, j < 3] = X[i, j].
func double() *ir.Program {
	n := sym.Var("n")
	x := &ir.Buffer{Name: "X", DType: tensor.F32, Dims: []sym.Expr{n, sym.Const(3)}}
	y := &ir.Buffer{Name: "Y", DType: tensor.F32, Dims: x.Dims}
	i, j := &ir.Axis{Extent: n}, &ir.Axis{Extent: sym.Const(3)}
	p := &ir.Program{Name: "double", Params: []*ir.Buffer{x}, Results: []*ir.Buffer{y}, Stages: []*ir.Stage{
		{Kind: ir.MapStage, Outs: []*ir.Buffer{y}, Axes: []*ir.Axis{i, j}, Exprs: []*ir.Scalar{ir.Load(x, i.Ix(), j.Ix())}}}}
	p.Finish()
	return p
}

func TestChoose(t *testing.T) {
	kernel := func(name, why string, cost float64) target.Kernel {
		return target.Kernel{Name: name, Refuses: func(*ir.Program) string { return why }, Cost: func(*ir.Program, target.Sizes) float64 { return cost }}
	}
	points := func(p *ir.Program, s target.Sizes) float64 { return s.Points(p.Stages[0]) }
	sizes := func(string) int64 { return 5 }
	for _, c := range []struct {
		kernels []target.Kernel
		want    string
		cost    float64
		others  int
	}{
		{nil, "", 15, 0},
		{[]target.Kernel{kernel("a", "it does not", 1)}, "", 15, 1},
		{[]target.Kernel{kernel("a", "", 15)}, "", 15, 1}, // what costs as much is not taken
		{[]target.Kernel{kernel("a", "", 14), kernel("b", "", 20)}, "a", 14, 2},
		{[]target.Kernel{kernel("a", "", 14), kernel("b", "", 3)}, "b", 3, 2},
	} {
		got := (&target.Target{Name: "t", Kernels: c.kernels, Cost: points}).Choose(double(), sizes)
		name := ""
		if got.Kernel != nil {
			name = got.Kernel.Name
		}
		if name != c.want || got.Cost != c.cost || len(got.Others) != c.others {
			t.Errorf("chose %q at %g with %d others, want %q at %g with %d", name, got.Cost, len(got.Others), c.want, c.cost, c.others)
		}
	}
	if got := target.Interp().Choose(double(), sizes); got.Kernel != nil || got.Others != nil {
		t.Errorf("a target without kernels chose %v", got)
	}
}

func TestKernelNames(t *testing.T) {
	name := target.KernelName("cpu", "product", "MatMul.2")
	if got := target.KernelOf("cpu", name); got != "product" {
		t.Errorf("%s is of kernel %q", name, got)
	}
	for _, other := range []string{"cuda.product.MatMul", "product", ""} {
		if got := target.KernelOf("cpu", other); got != "" {
			t.Errorf("%q is of kernel %q", other, got)
		}
	}
}
