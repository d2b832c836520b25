package cpu

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// fence is memory with guards behind everything.
type fence struct {
	heap
	t testing.TB
}

func (f *fence) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	f.live.Add(1)
	return f.tensor(d, shape...), nil
}

func (f *fence) tensor(d tensor.DType, shape ...int64) *tensor.Tensor {
	n, _ := tensor.Count(shape)
	size, _ := d.ByteLen(n)
	x, err := tensor.FromBytes(d, shape, guarded(f.t, int(size)))
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

// Products of every layout with ragged sizes, between guards, of numbers of all kinds: the
// interpreter's, within rounding; where sums are exact, exactly.
func TestProductsOfAllValues(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(10, 11))
			device, codes := tier.inParts(1), 0
			for round := range rounds {
				t.Run("", func(t *testing.T) { // which gives the guarded memory back
					if oneProduct(t, r, round, device) {
						codes++
					}
				})
			}
			if codes < rounds/2 {
				t.Errorf("%d of %d are products of the kernel", codes, rounds)
			}
		})
	}
}

// oneProduct draws a product, and says whether the kernel computes it.
func oneProduct(t *testing.T, r *rand.Rand, round int, device *Device) bool {
	mem := &fence{heap{room: 1 << 30, constant: map[int]bool{1: r.IntN(2) == 0}}, t}
	extents := []int64{1 + r.Int64N(2), 1 + r.Int64N([]int64{4, 20, 90}[r.IntN(3)]), 1 + r.Int64N(200), 1 + r.Int64N([]int64{9, 70, 900}[r.IntN(3)])}
	var axes [4]*ir.Axis // batch, m, n, k
	for i, n := range extents {
		axes[i] = &ir.Axis{Extent: sym.Const(n)}
	}
	operand := func(name string, of ...int) (*ir.Buffer, *ir.Scalar) {
		r.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		b := &ir.Buffer{Name: name, DType: tensor.F32}
		var index []*ir.Scalar
		for _, i := range of {
			b.Dims, index = append(b.Dims, axes[i].Extent), append(index, axes[i].Ix())
		}
		return b, ir.Load(b, index...)
	}
	a, loadA := operand("a", 0, 1, 3)
	b, loadB := operand("b", 0, 2, 3)
	order := []int{0, 1, 2}
	r.Shuffle(3, func(i, j int) { order[i], order[j] = order[j], order[i] })
	out := &ir.Buffer{Name: "c", DType: tensor.F32}
	stage := &ir.Stage{Kind: ir.ReduceStage, Monoid: ir.Sum, Outs: []*ir.Buffer{out}, Red: []*ir.Axis{axes[3]}, Exprs: []*ir.Scalar{loadA.Mul(loadB)}}
	for _, i := range order {
		out.Dims, stage.Axes = append(out.Dims, axes[i].Extent), append(stage.Axes, axes[i])
	}
	p := &ir.Program{Name: "p", Params: []*ir.Buffer{a, b}, Results: []*ir.Buffer{out}, Stages: []*ir.Stage{stage}}
	p.Finish()
	var args []*tensor.Tensor
	tolerance := tensor.Tolerance{}
	special := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Copysign(0, -1)), 0, 1e-40, -1e-45}
	for i, b := range p.Params {
		shape, _ := b.Type().Static()
		x := mem.tensor(tensor.F32, shape...)
		data := tensor.Data[float32](x)
		for j := range data {
			switch round % 3 {
			case 0: // sums are exact: of multiples of the least number there is, in part
				data[j] = float32(r.IntN(9) - 4)
				if i == 0 && round%2 == 0 {
					data[j] *= math.SmallestNonzeroFloat32
				}
			case 1:
				data[j] = float32(r.NormFloat64())
			default:
				data[j] = float32(r.NormFloat64())
				if r.IntN(len(data)) < 3 {
					data[j] = special[r.IntN(len(special))]
				}
			}
		}
		args = append(args, x)
	}
	if round%3 > 0 {
		tolerance = tensor.Tolerance{RTol: 1e-5, ATol: 2e-6 * float64(extents[3])}
	}
	want, err := interp.RunProgram(context.Background(), p, nil, args)
	if err != nil {
		t.Fatal(err)
	}
	shape, _ := out.Type().Static()
	for range 2 {
		got := mem.tensor(tensor.F32, shape...)
		if err := device.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, mem); err != nil {
			t.Fatalf("%v\n%s", err, p)
		}
		if err := tensor.Compare(got, want[0], tolerance); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, p)
		}
	}
	c, err := device.codes.get(device, kernelProduct, p, nil)
	return err == nil && slices.ContainsFunc(c.products, func(p *product) bool { return p != nil })
}
