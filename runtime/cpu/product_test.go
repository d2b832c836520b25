package cpu

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
)

// heap is memory without bounds that counts what is not given back.
type heap struct {
	live     atomic.Int64
	constant map[int]bool // parameters
	kept     map[string]*runtime.Kept
	room     int64 // for what is made of constants
}

func (h *heap) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	t, err := tensor.Make(d, shape)
	if err != nil {
		return nil, err
	}
	for i := range t.Bytes() { // it may hold anything
		t.Bytes()[i] = 0xff
	}
	h.live.Add(1)
	return t, nil
}

func (h *heap) Free(*tensor.Tensor) { h.live.Add(-1) }

// Workspace gives none: all of it comes from Alloc.
func (h *heap) Workspace(int) ([]byte, error) { return nil, nil }

// Keep has a place where h is told which parameters are constants.
func (h *heap) Keep(params []int, key string) *runtime.Kept {
	for _, i := range params {
		if !h.constant[i] {
			return nil
		}
	}
	if h.kept == nil {
		h.kept = map[string]*runtime.Kept{}
	}
	id := fmt.Sprint(params, key)
	if h.kept[id] == nil {
		h.kept[id] = runtime.NewKept(h.room)
	}
	return h.kept[id]
}

// drawn is a random sum of products: two loads at addresses that are linear in the axes,
// guarded or not, now and then out of range, or computed from such loads: converted, scaled,
// read through an index.
type drawn struct {
	r       *rand.Rand
	p       *ir.Program
	axes    []*ir.Axis
	extents []int64
	short   bool // integers are of 8 and 16 bits in memory
}

func draw(r *rand.Rand) *drawn {
	d := &drawn{r: r, p: &ir.Program{Name: "sum"}, short: r.IntN(2) == 0}
	stage := &ir.Stage{Kind: ir.ReduceStage, Monoid: ir.Sum}
	for range 1 + r.IntN(6) {
		n := []int64{1, 2, 3, 4, 5, 7, 9, 17, 33, 70}[r.IntN(10)]
		ax := &ir.Axis{Extent: sym.Const(n)}
		d.axes, d.extents = append(d.axes, ax), append(d.extents, n)
		if r.IntN(2) == 0 {
			stage.Axes = append(stage.Axes, ax)
		} else {
			stage.Red = append(stage.Red, ax)
		}
	}
	dtype := []tensor.DType{tensor.F32, tensor.F64, tensor.I32}[r.IntN(3)]
	out := &ir.Buffer{Name: "out", DType: dtype}
	for _, a := range stage.Axes {
		out.Dims = append(out.Dims, a.Extent)
	}
	stage.Outs, stage.Exprs = []*ir.Buffer{out}, []*ir.Scalar{d.factor(dtype).Mul(d.factor(dtype))}
	d.p.Results, d.p.Stages = []*ir.Buffer{out}, []*ir.Stage{stage}
	d.p.Finish()
	return d
}

// factor draws a load, or something that is computed from loads.
func (d *drawn) factor(dtype tensor.DType) *ir.Scalar {
	if dtype == tensor.I32 && d.short { // less a zero point or not
		x := d.load([]tensor.DType{tensor.I8, tensor.U8}[d.r.IntN(2)])
		of := x.DType
		switch x = x.To(dtype); d.r.IntN(4) {
		case 0:
			return d.load(tensor.I16).To(dtype)
		case 1:
			return x.Sub(d.load(of).To(dtype))
		case 2:
			return x.Sub(ir.Lit(of, 100).To(dtype))
		}
		return x
	}
	switch d.r.IntN(10) {
	case 0:
		return d.load([]tensor.DType{tensor.F16, tensor.BF16, tensor.I8, tensor.U8, tensor.I4}[d.r.IntN(5)]).To(dtype)
	case 1:
		return d.load(dtype).Sub(ir.Lit(dtype, 2)).Mul(d.load(dtype))
	case 2: // rows through an index
		axis := d.axes[d.r.IntN(len(d.axes))]
		b := &ir.Buffer{Name: fmt.Sprintf("x%d", len(d.p.Params)), DType: dtype, Dims: ir.Consts([]int64{5, d.extents[0]})}
		d.p.Params = append(d.p.Params, b)
		at := &ir.Buffer{Name: fmt.Sprintf("x%d", len(d.p.Params)), DType: tensor.I64, Dims: []sym.Expr{axis.Extent}}
		d.p.Params = append(d.p.Params, at)
		row := ir.Load(at, axis.Ix())
		if d.r.IntN(8) > 0 {
			row = row.Mod(ir.IntLit(5))
		}
		return ir.Load(b, row, d.axes[0].Ix())
	case 3: // by blocks
		axis := d.axes[d.r.IntN(len(d.axes))]
		b := &ir.Buffer{Name: fmt.Sprintf("x%d", len(d.p.Params)), DType: dtype, Dims: []sym.Expr{axis.Extent.CeilDiv(sym.Const(4))}}
		d.p.Params = append(d.p.Params, b)
		return d.load(dtype).Mul(ir.Load(b, axis.Ix().FloorDiv(ir.IntLit(4))))
	}
	return d.load(dtype)
}

// load draws an operand with a dim for each of a few sums of axes.
func (d *drawn) load(dtype tensor.DType) *ir.Scalar {
	b := &ir.Buffer{Name: fmt.Sprintf("x%d", len(d.p.Params)), DType: dtype}
	d.p.Params = append(d.p.Params, b)
	var index []*ir.Scalar
	var conds []*ir.Scalar
	size := int64(1)
	for range d.r.IntN(4) {
		ix, least, most := ir.IntLit(0), int64(0), int64(0)
		for range 1 + d.r.IntN(2) {
			i := d.r.IntN(len(d.axes))
			k := []int64{1, 1, 1, 1, 2, -1}[d.r.IntN(6)]
			of, last := d.axes[i].Ix(), d.extents[i]-1
			switch run := int64(2 + d.r.IntN(3)); d.r.IntN(8) {
			case 0: // by runs, or within them
				of, last = of.FloorDiv(ir.IntLit(run)), last/run
			case 1:
				of, last = of.Mod(ir.IntLit(run)), min(last, run-1)
			}
			ix = ix.Add(of.Mul(ir.IntLit(k)))
			least, most = least+min(0, k*last), most+max(0, k*last)
		}
		shift, dim := -least, most-least+1
		switch d.r.IntN(24) {
		case 0, 4, 5: // before and behind the operand, guarded on both sides
			shift, dim = shift-1, max(1, dim-3)
			conds = append(conds, ix.Add(ir.IntLit(shift)).Ge(ir.IntLit(0)), ix.Add(ir.IntLit(shift)).Lt(ir.IntLit(dim)))
		case 1: // before it
			shift -= 2
			conds = append(conds, ix.Add(ir.IntLit(shift)).Ge(ir.IntLit(0)))
		case 2: // before it, and guarded behind
			shift, dim = shift-1, dim-1
			conds = append(conds, ix.Add(ir.IntLit(shift)).Lt(ir.IntLit(dim)))
		case 3: // a guard that always holds, and room behind
			dim++
			conds = append(conds, ix.Add(ir.IntLit(shift)).Ge(ir.IntLit(0)))
		}
		dim = max(dim, 0)
		if size*dim > 1<<20 {
			break
		}
		size *= dim
		index, b.Dims = append(index, ix.Add(ir.IntLit(shift))), append(b.Dims, sym.Const(dim))
	}
	x := ir.Load(b, index...)
	if len(conds) == 0 {
		return x
	}
	cond := conds[0]
	for _, c := range conds[1:] {
		cond = cond.And(c)
	}
	return ir.Guard(cond, x, ir.Lit(dtype, 0))
}

func (d *drawn) args() []*tensor.Tensor {
	var out []*tensor.Tensor
	for _, b := range d.p.Params {
		shape, _ := b.Type().Static()
		x := tensor.New(b.DType, shape...)
		for i := range x.Len() {
			x.SetInt(i, d.r.Int64N(7)-3)
			if bits := b.DType.Bits(); d.short && b.DType.IsInt() && bits <= 16 { // any number
				x.SetInt(i, int64(d.r.Uint64()))
			}
		}
		if x.Len() > 0 && b.DType.IsFloat() && d.r.IntN(4) == 0 {
			x.SetFloat(d.r.Int64N(x.Len()), []float64{math.NaN(), math.Inf(1)}[d.r.IntN(2)])
		}
		out = append(out, x)
	}
	return out
}

func (d *drawn) points() float64 {
	n := 1.0
	for _, e := range d.extents {
		n *= float64(e)
	}
	return n
}

// Random sums of products: the same as the interpreter's, errors included, and the same
// bits with any number of threads. Many of them must be recognised.
func TestRandomProducts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	var devices []*Device
	for _, tier := range tiers(t) {
		for threads := 1; threads <= 3; threads++ {
			devices = append(devices, tier.inParts(threads))
		}
	}
	matched, padded, computed, short, inPlace, failed, total := 0, 0, 0, 0, 0, 0, 0
	rounds := 1500
	if testing.Short() {
		rounds = 600
	}
	for range rounds {
		d := draw(r)
		if d.points() > 1<<17 || ir.VerifyProgram(d.p) != nil {
			continue
		}
		args := d.args()
		want, wantErr := interp.RunProgram(context.Background(), d.p, nil, args)
		if analysis.Total(sym.NewContext(), d.p) {
			if total++; wantErr != nil {
				t.Fatalf("proved not to fail, and yet %v:\n%s", wantErr, d.p)
			}
		}
		for _, device := range devices {
			h := &heap{constant: map[int]bool{}, room: 1 << 20}
			for i := range d.p.Params {
				h.constant[i] = r.IntN(2) == 0
			}
			shape, _ := d.p.Results[0].Type().Static()
			got, _ := h.Alloc(d.p.Results[0].DType, shape)
			err := device.Run(context.Background(), kernelProduct, d.p, nil, args, []*tensor.Tensor{got}, h)
			if h.live.Load() != 1 {
				t.Fatalf("%d tensors were not given back:\n%s", h.live.Load()-1, d.p)
			}
			if wantErr != nil || err != nil {
				failed++
				// Which of the points that fail is named depends on who comes first.
				if err == nil || wantErr == nil || !strings.Contains(err.Error(), "of a load from") || !strings.Contains(wantErr.Error(), "of a load from") {
					t.Fatalf("got the error %v, want %v:\n%s", err, wantErr, d.p)
				}
				continue
			}
			// Whole numbers: the order of the sum does not matter.
			if err := tensor.Compare(got, want[0], tensor.Tolerance{}); err != nil {
				t.Fatalf("code for %q, %d threads: %v\n%s", device.machine.features, device.threads, err, d.p)
			}
		}
		if c, err := interp.Compile(d.p, nil); err == nil {
			for _, s := range c.Stages {
				if p, ok := match(s); ok {
					matched++
					if p.a.pad != nil || p.b.pad != nil {
						padded++
					}
					if p.a.buf == nil || p.b.buf == nil {
						computed++
					}
					if p.short {
						short++
						if p.a.octets != nil || p.b.octets != nil {
							inPlace++
						}
					}
				}
			}
		}
	}
	t.Logf("%d products were recognised, %d of them with borders, %d with computed factors, %d with short ones, %d of octets; %d runs failed as they should, %d were proved not to", matched, padded, computed, short, inPlace, failed, total)
	if matched < rounds/20 || total < rounds/20 || padded < rounds/150 || computed < rounds/20 || short < rounds/60 || inPlace < rounds/100 || failed < rounds/100 {
		t.Error("that is too few")
	}
}

// With numbers that are not whole the bits depend on sizes alone.
func TestThreadsGiveTheSameBits(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) { threadsGiveTheSameBits(t, tier) })
	}
}

func threadsGiveTheSameBits(t *testing.T, tier tier) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, size := range [][4]int64{{1, 600, 1030}, {130, 270, 9}, {67, 300, 520}, {3, 5, 2000}, {67, 300, 520, 1}, {200, 270, 40, 1}, {2, 300, 600, 1}} {
		m, k, n, computed := size[0], size[1], size[2], size[3] == 1
		d := tensor.F32
		if computed {
			d = tensor.F16
		}
		a, b := &ir.Buffer{Name: "a", DType: d, Dims: ir.Consts([]int64{m, k})}, &ir.Buffer{Name: "b", DType: d, Dims: ir.Consts([]int64{k, n})}
		i, j, l := &ir.Axis{Extent: sym.Const(m)}, &ir.Axis{Extent: sym.Const(n)}, &ir.Axis{Extent: sym.Const(k)}
		out := &ir.Buffer{Name: "c", DType: tensor.F32, Dims: ir.Consts([]int64{m, n})}
		soft := &ir.Buffer{Name: "s", DType: tensor.F32, Dims: ir.Consts([]int64{m})}
		p := &ir.Program{Name: "p", Params: []*ir.Buffer{a, b}, Results: []*ir.Buffer{out, soft}, Stages: []*ir.Stage{
			{Kind: ir.ReduceStage, Monoid: ir.Sum, Outs: []*ir.Buffer{out}, Axes: []*ir.Axis{i, j}, Red: []*ir.Axis{l},
				Exprs: []*ir.Scalar{ir.Load(a, i.Ix(), l.Ix()).To(tensor.F32).Mul(ir.Load(b, l.Ix(), j.Ix()).To(tensor.F32))}},
		}}
		i2, j2 := &ir.Axis{Extent: sym.Const(m)}, &ir.Axis{Extent: sym.Const(n)}
		p.Stages = append(p.Stages, &ir.Stage{Kind: ir.ReduceStage, Monoid: ir.Sum, Outs: []*ir.Buffer{soft}, Axes: []*ir.Axis{i2}, Red: []*ir.Axis{j2},
			Exprs: []*ir.Scalar{ir.Unary(ir.OpTanh, ir.Load(out, i2.Ix(), j2.Ix()))}})
		p.Finish()
		args := []*tensor.Tensor{tensor.New(d, m, k), tensor.New(d, k, n)}
		for _, x := range args {
			for i := range x.Len() {
				x.SetFloat(i, r.NormFloat64())
			}
		}
		var first []*tensor.Tensor
		for _, d := range []*Device{tier.inParts(1), tier.inParts(2), tier.inParts(3), tier.inParts(7), tier.device(2)} {
			got := []*tensor.Tensor{tensor.New(tensor.F32, m, n), tensor.New(tensor.F32, m)}
			if err := d.Run(context.Background(), kernelProduct, p, nil, args, got, &heap{}); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = got
				want, err := interp.RunProgram(context.Background(), p, nil, args)
				if err == nil {
					err = tensor.Compare(got[0], want[0], tensor.Tolerance{RTol: 1e-4, ATol: 1e-3})
				}
				if err != nil {
					t.Errorf("%v: %v", size, err)
				}
			}
			if !sameBits(got[0], first[0]) || !sameBits(got[1], first[1]) {
				t.Errorf("%v: other bits with %d threads than with one", size, d.threads)
			}
		}
	}
}

// Memory that a product can not have is an error, and what it has goes back.
func TestProductWithoutMemory(t *testing.T) {
	m, k, n := int64(40), int64(300), int64(50)
	d := &drawn{p: &ir.Program{Name: "p"}}
	a, b := &ir.Buffer{Name: "a", DType: tensor.F32, Dims: ir.Consts([]int64{m, k - 1})}, &ir.Buffer{Name: "b", DType: tensor.F32, Dims: ir.Consts([]int64{k, n})}
	i, j, l := &ir.Axis{Extent: sym.Const(m)}, &ir.Axis{Extent: sym.Const(n)}, &ir.Axis{Extent: sym.Const(k)}
	out := &ir.Buffer{Name: "c", DType: tensor.F32, Dims: ir.Consts([]int64{m, n})}
	shifted := l.Ix().Sub(ir.IntLit(1))
	d.p.Params, d.p.Results = []*ir.Buffer{a, b}, []*ir.Buffer{out}
	d.p.Stages = []*ir.Stage{{Kind: ir.ReduceStage, Monoid: ir.Sum, Outs: []*ir.Buffer{out}, Axes: []*ir.Axis{i, j}, Red: []*ir.Axis{l},
		Exprs: []*ir.Scalar{ir.Guard(shifted.Ge(ir.IntLit(0)), ir.Load(a, i.Ix(), shifted), ir.Lit(tensor.F32, 0)).Mul(ir.Load(b, l.Ix(), j.Ix()))}}}
	d.p.Finish()
	args := []*tensor.Tensor{tensor.New(tensor.F32, m, k-1), tensor.New(tensor.F32, k, n)}
	for allowed := range int64(10) {
		h := &scarce{left: allowed}
		err := inParts(3).Run(context.Background(), kernelProduct, d.p, nil, args, []*tensor.Tensor{tensor.New(tensor.F32, m, n)}, h)
		// A border, and two packed blocks for the one tile that there is.
		if want := allowed < 3; (err != nil) != want || want && !errors.Is(err, errScarce) {
			t.Errorf("%d tensors: %v", allowed, err)
		}
		if h.live.Load() != 0 {
			t.Errorf("%d tensors: %d were not given back", allowed, h.live.Load())
		}
	}
}

var errScarce = errors.New("no more memory")

type scarce struct {
	heap
	left int64
}

func (s *scarce) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	if s.left--; s.left < 0 {
		return nil, errScarce
	}
	return s.heap.Alloc(d, shape)
}
