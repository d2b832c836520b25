package cpu

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// drawConvolution is the program of a random convolution: up to three spatial dims, groups, strides,
// dilations, borders of which some are cut off.
func drawConvolution(r *rand.Rand) *ir.Program {
	pick := func(list ...int64) int64 { return list[r.IntN(len(list))] }
	x, w := &ir.Buffer{Name: "x", DType: tensor.F32}, &ir.Buffer{Name: "w", DType: tensor.F32}
	y := &ir.Buffer{Name: "y", DType: tensor.F32}
	group, filters, channels := pick(1, 1, 2, 3, 8, 24), pick(1, 1, 1, 2, 3, 5, 17), pick(1, 1, 2, 4, 9)
	axis := func(n int64) *ir.Axis { return &ir.Axis{Extent: sym.Const(n)} }
	n, f, c := axis(pick(1, 1, 2)), axis(group*filters), axis(channels)
	of := f.Ix().FloorDiv(ir.IntLit(filters))
	if filters == 1 {
		of = f.Ix()
	}
	stage := &ir.Stage{Kind: ir.ReduceStage, Monoid: ir.Sum, Outs: []*ir.Buffer{y}, Axes: []*ir.Axis{n, f}, Red: []*ir.Axis{c}}
	xs, ws := []*ir.Scalar{n.Ix(), of.Mul(ir.IntLit(channels)).Add(c.Ix())}, []*ir.Scalar{f.Ix(), c.Ix()}
	x.Dims, w.Dims = ir.Consts([]int64{2, group * channels}), ir.Consts([]int64{group * filters, channels})
	var inside *ir.Scalar
	for d := range 1 + r.IntN(3) {
		out, kernel := pick(1, 2, 3, 7, 8, 15, 16, 17, 31, 40, 65, 130), pick(1, 2, 3, 3, 5)
		if d > 0 {
			out = min(out, 17)
		}
		stride, dilation, before, after := pick(1, 1, 2, 3), pick(1, 1, 2), pick(0, 1, 2, -1), pick(0, 1, 3, -1)
		size := (out-1)*stride + (kernel-1)*dilation + 1 - before - after
		if size < 1 {
			before, after, size = 0, 0, size+before+after
		}
		o, k := axis(out), axis(kernel)
		p := o.Ix().Mul(ir.IntLit(stride)).Add(k.Ix().Mul(ir.IntLit(dilation))).Sub(ir.IntLit(before))
		if r.IntN(8) == 0 { // backwards
			p = ir.IntLit((out-1)*stride + (kernel-1)*dilation - 2*before).Sub(p)
		}
		if p2 := p.Ge(ir.IntLit(0)).And(p.Lt(ir.IntLit(size))); inside == nil {
			inside = p2
		} else {
			inside = inside.And(p2)
		}
		xs, ws = append(xs, p), append(ws, k.Ix())
		x.Dims, w.Dims = append(x.Dims, sym.Const(size)), append(w.Dims, k.Extent)
		stage.Axes, stage.Red = append(stage.Axes, o), append(stage.Red, k)
	}
	stage.Exprs = []*ir.Scalar{ir.Guard(inside, ir.Load(x, xs...), ir.Lit(tensor.F32, 0)).Mul(ir.Load(w, ws...))}
	for _, a := range stage.Axes {
		y.Dims = append(y.Dims, a.Extent)
	}
	p := &ir.Program{Name: "convolution", Params: []*ir.Buffer{x, w}, Results: []*ir.Buffer{y}, Stages: []*ir.Stage{stage}}
	p.Finish()
	return p
}

// Random convolutions: the same as the interpreter's, on all tiers, with any number of threads.
func TestRandomConvolutions(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	var devices []*Device
	for _, tier := range tiers(t) {
		devices = append(devices, tier.device(1), tier.inParts(3))
	}
	rounds, direct, blocks, banded := 400, 0, 0, 0
	if testing.Short() {
		rounds = 100
	}
	for range rounds {
		p := drawConvolution(r)
		if err := ir.VerifyProgram(p); err != nil {
			t.Fatal(err)
		}
		var args []*tensor.Tensor
		for _, b := range p.Params {
			shape, _ := b.Type().Static()
			a := tensor.New(b.DType, shape...)
			for i := range a.Len() {
				a.SetInt(i, r.Int64N(7)-3)
			}
			args = append(args, a)
		}
		if c, err := interp.Compile(p, nil); err != nil || c.Stages[0].Points() > 1<<20 {
			continue
		}
		want, err := interp.RunProgram(context.Background(), p, nil, args)
		if err != nil {
			t.Fatal(err)
		}
		for _, device := range devices {
			h := &heap{constant: map[int]bool{1: r.IntN(2) == 0}, room: 1 << 20}
			shape, _ := p.Results[0].Type().Static()
			got, _ := h.Alloc(tensor.F32, shape)
			if err := device.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
				t.Fatalf("%v\n%s", err, p)
			}
			if h.live.Load() != 1 {
				t.Fatalf("%d tensors were not given back:\n%s", h.live.Load()-1, p)
			}
			if err := tensor.Compare(got, want[0], tensor.Tolerance{}); err != nil {
				t.Fatalf("code for %q, %d threads: %v\n%s", device.machine.features, device.threads, err, p)
			}
			c, err := device.codes.get(device, kernelProduct, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			switch g := c.products[0]; {
			case g != nil && g.direct != nil:
				direct++
				if g.direct.pieces > 1 {
					banded++
				}
			case g != nil:
				blocks++
			}
		}
	}
	t.Logf("%d convolutions were computed directly, %d of them in bands; %d in blocks", direct, banded, blocks)
	if n := rounds * len(devices); blocks < n/10 || len(devices) > 2 && (direct < n/20 || banded < n/100) {
		t.Error("that is too few")
	}
}

// What is not a plane by itself is packed.
func TestWhatIsComputedDirectly(t *testing.T) {
	for _, c := range []struct {
		filters, channels, columns int64
		direct                     bool
	}{{1, 1, 400, true}, {4, 1, 400, true}, {5, 1, 400, false}, {1, 8, 400, true}, {1, 1 << 11, 40, false}, {1, 1, 1 << 20, true}} {
		x, w, y := &ir.Buffer{Name: "x", DType: tensor.F32, Dims: ir.Consts([]int64{c.channels, c.columns + 2})}, &ir.Buffer{Name: "w", DType: tensor.F32, Dims: ir.Consts([]int64{c.filters, c.channels, 3})},
			&ir.Buffer{Name: "y", DType: tensor.F32, Dims: ir.Consts([]int64{c.filters, c.columns})}
		f, o, ch, k := &ir.Axis{Extent: y.Dims[0]}, &ir.Axis{Extent: y.Dims[1]}, &ir.Axis{Extent: w.Dims[1]}, &ir.Axis{Extent: w.Dims[2]}
		p := &ir.Program{Name: "p", Params: []*ir.Buffer{x, w}, Results: []*ir.Buffer{y}, Stages: []*ir.Stage{{Kind: ir.ReduceStage, Monoid: ir.Sum, Outs: []*ir.Buffer{y},
			Axes: []*ir.Axis{f, o}, Red: []*ir.Axis{ch, k}, Exprs: []*ir.Scalar{ir.Load(x, ch.Ix(), o.Ix().Add(k.Ix())).Mul(ir.Load(w, f.Ix(), ch.Ix(), k.Ix()))}}}}
		p.Finish()
		code, err := interp.Compile(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		g, ok := match(code.Stages[0])
		if !ok {
			t.Fatalf("%+v is no product", c)
		}
		d := g.direct
		if (d != nil) != c.direct {
			t.Errorf("%+v: computed directly is %t", c, d != nil)
		}
		if d != nil && d.elements > directCopy+directSlack {
			t.Errorf("%+v: a copy of %d elements", c, d.elements)
		}
	}
}
