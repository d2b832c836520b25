package cpu

import (
	"context"
	"sync"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// chain is Y[i, j] = sum(k) X[i, k]*X[j, k] + X[i, 0] and Z = Y / the sum of its row.
func chain() *ir.Program {
	n, k := sym.Var("n"), sym.Var("k")
	X := &ir.Buffer{Name: "X", DType: tensor.F32, Dims: []sym.Expr{n, k}}
	buf := func(name string, dims ...sym.Expr) *ir.Buffer {
		return &ir.Buffer{Name: name, DType: tensor.F32, Dims: dims}
	}
	G, R, Z := buf("G", n, n), buf("R", n), buf("Z", n, n)
	axis := func(e sym.Expr) *ir.Axis { return &ir.Axis{Extent: e} }
	i, j, l := axis(n), axis(n), axis(k)
	p := &ir.Program{Name: "chain", Params: []*ir.Buffer{X}, Results: []*ir.Buffer{Z}}
	p.Stages = append(p.Stages, &ir.Stage{Kind: ir.ReduceStage, Outs: []*ir.Buffer{G}, Axes: []*ir.Axis{i, j}, Red: []*ir.Axis{l}, Monoid: ir.Sum,
		Exprs: []*ir.Scalar{ir.Load(X, i.Ix(), l.Ix()).Mul(ir.Load(X, j.Ix(), l.Ix()))}})
	i, j = axis(n), axis(n)
	p.Stages = append(p.Stages, &ir.Stage{Kind: ir.ReduceStage, Outs: []*ir.Buffer{R}, Axes: []*ir.Axis{i}, Red: []*ir.Axis{j}, Monoid: ir.Sum,
		Exprs: []*ir.Scalar{ir.Load(G, i.Ix(), j.Ix())}})
	i, j = axis(n), axis(n)
	p.Stages = append(p.Stages, &ir.Stage{Kind: ir.MapStage, Outs: []*ir.Buffer{Z}, Axes: []*ir.Axis{i, j},
		Exprs: []*ir.Scalar{ir.Load(G, i.Ix(), j.Ix()).Div(ir.Load(R, i.Ix()))}})
	p.Finish()
	return p
}

func whole(n, k int64, seed int) *tensor.Tensor {
	t := tensor.New(tensor.F32, n, k)
	for i := range t.Len() {
		t.SetFloat(i, float64((int(i)*7+seed)%11+1))
	}
	return t
}

// bindOf gives the values of the program's symbols in their order.
func bindOf(p *ir.Program, n, k int64) []int64 {
	var out []int64
	for _, s := range p.Syms {
		out = append(out, map[string]int64{"n": n, "k": k}[s])
	}
	return out
}

// A program is made ready once for each set of sizes, whatever it runs on.
func TestCodesAreKept(t *testing.T) {
	p, d, h := chain(), inParts(2), &heap{}
	run := func(n, k int64, seed int) {
		t.Helper()
		x := whole(n, k, seed)
		want, err := interp.RunProgram(context.Background(), p, bindOf(p, n, k), []*tensor.Tensor{x})
		if err != nil {
			t.Fatal(err)
		}
		got := tensor.New(tensor.F32, n, n)
		if err := d.Run(context.Background(), kernelProduct, p, bindOf(p, n, k), []*tensor.Tensor{x}, []*tensor.Tensor{got}, h); err != nil {
			t.Fatal(err)
		}
		if err := tensor.Compare(got, want[0], tensor.Tolerance{}); err != nil {
			t.Fatal(err)
		}
	}
	run(20, 9, 0)
	c, err := d.codes.get(d, kernelProduct, p, bindOf(p, 20, 9))
	if err != nil {
		t.Fatal(err)
	}
	bytes := c.Bytes()
	for seed := range 5 {
		run(20, 9, seed)
		run(3, 4, seed)
	}
	if again, _ := d.codes.get(d, kernelProduct, p, bindOf(p, 20, 9)); again != c || len(d.codes.byID) != 2 {
		t.Errorf("%d programs were made ready, for 2 sets of sizes", len(d.codes.byID))
	}
	// Threads that meet in a stage have copies of it of their own; how many meet is chance.
	if c.Bytes() > 2*bytes {
		t.Errorf("%d bytes after the first run, %d after six", bytes, c.Bytes())
	}
	if err := d.Close(); err != nil || len(d.codes.byID) != 0 {
		t.Errorf("%v; %d programs are kept by a device that is closed", err, len(d.codes.byID))
	}
}

// What is kept is bounded, and what was used last stays.
func TestCodesAreBounded(t *testing.T) {
	p, d, h := chain(), inParts(1), &heap{}
	d.codes.limit = 1 << 20
	for n := int64(1); n <= 300; n++ {
		got := tensor.New(tensor.F32, n, n)
		if err := d.Run(context.Background(), kernelProduct, p, bindOf(p, n, 2), []*tensor.Tensor{whole(n, 2, 1)}, []*tensor.Tensor{got}, h); err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, c := range d.codes.byID {
			total += c.Bytes()
		}
		if total > 2*d.codes.limit {
			t.Fatalf("%d bytes are kept", total)
		}
	}
	if n := len(d.codes.byID); n == 300 || n < 20 {
		t.Errorf("%d of 300 are kept", n)
	}
	n := len(d.codes.byID)
	if _, err := d.codes.get(d, kernelProduct, p, bindOf(p, 300, 2)); err != nil || len(d.codes.byID) != n {
		t.Errorf("%v; the latest is not kept", err)
	}
}

// Callers at the same time share what is made ready, and nothing that they compute.
func TestCodesAreShared(t *testing.T) {
	p, d := chain(), inParts(2)
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			h := &heap{}
			for round := range 20 {
				n := int64(10 + round%3)
				x := whole(n, 5, caller+round)
				want, _ := interp.RunProgram(context.Background(), p, bindOf(p, n, 5), []*tensor.Tensor{x})
				got := tensor.New(tensor.F32, n, n)
				if err := d.Run(context.Background(), kernelProduct, p, bindOf(p, n, 5), []*tensor.Tensor{x}, []*tensor.Tensor{got}, h); err != nil {
					t.Error(err)
					return
				}
				if err := tensor.Compare(got, want[0], tensor.Tolerance{}); err != nil {
					t.Errorf("caller %d, round %d: %v", caller, round, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if len(d.codes.byID) != 3 {
		t.Errorf("%d programs were made ready, for 3 sets of sizes", len(d.codes.byID))
	}
}
