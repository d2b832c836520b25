package kernel

import (
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// What divides the same number again and again, as views of views do, is looked through once: otherwise the work
// doubles with each of them, and this does not end.
func TestSpansOfChains(t *testing.T) {
	i := &ir.Axis{Extent: sym.Var("n")}
	x := i.Ix()
	for k := range int64(20) {
		m := ir.SymVal(sym.Var("m").Add(sym.Const(k)))
		x = x.FloorDiv(m).Mul(m).Add(x.Mod(m))
	}
	from, to := &ir.Buffer{Name: "x", DType: tensor.F32, Dims: []sym.Expr{sym.Var("n")}}, &ir.Buffer{Name: "y", DType: tensor.F32, Dims: []sym.Expr{sym.Var("n")}}
	s := &ir.Stage{Kind: ir.MapStage, Outs: []*ir.Buffer{to}, Axes: []*ir.Axis{i}, Exprs: []*ir.Scalar{ir.Load(from, x)}}
	if why := Why(s); why != "" {
		t.Errorf("a chain of quotients has no kernel: %s", why)
	}
	p := &ir.Program{Name: "p", Params: []*ir.Buffer{from}, Results: []*ir.Buffer{to}, Stages: []*ir.Stage{s}}
	p.Finish()
	New(p, Options{Lanes: 8, Wide: 4})
}
