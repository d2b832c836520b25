package cpu

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
)

// A mask that hides tiles, in every spelling.
var maskedForms = []attentionForm{
	{name: "truth", params: "mask: [s, t] bool", x: "select(mask[l, m], (score * f32 0.25), f32 -inf)"},
	{name: "truth, safe", params: "mask: [b, h, g, s, t] bool", x: "select(mask[i, j, k, l, m], score, f32 -inf)", safe: true},
	{name: "truth, finite", params: "mask: [b, s, t] bool", x: "select(mask[i, l, m], (score * f32 0.25), f32 -3.4028235e38)"},
	{name: "hides, finite", params: "mask: [t, s] bool", x: "select(mask[m, l], (score * f32 0.25), f32 -1e9)"},
	{name: "added", params: "mask: [b, 1, s, t] f32", x: "((score * f32 0.25) + mask[i, 0, l, m])", safe: true},
	{name: "added, scaled, with slopes", params: "mask: [h, s, t] f32, slope: [h] f32", x: "((((score / f32 4) + mask[j, l, m]) * f32 2) + (slope[j] * f32((m - l))))"},
	{name: "made of truths", params: "mask: [s, t] bool", x: "(score + ((f32 1 - f32(mask[l, m])) * f32 -3.4028235e38))"},
	{name: "of integers", params: "mask: [s, t] i64", x: "select((mask[l, m] != i64 0), score, f32 -inf)"},
	{name: "and causal", params: "mask: [s, t] bool", x: "select(mask[l, m], (score + select((m <= (l + {t - s})), f32 0, f32 -inf)), f32 -inf)"},
	{name: "of positions", x: "select(((((l - m) < 20) & ((m - l) < 20)) | (m < 9)), score, f32 -inf)"},
}

// Masks of all patterns in all spellings equal the interpreter's stages, whatever is behind them, and tiles are left
// out where nothing stands against it.
func TestMaskedAttentions(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	patterns := []struct {
		name string
		hide int // 1: some tiles are, 0: it may be, -1: none is
		show func(r *rand.Rand, l, m int64) bool
	}{
		{"local", 1, func(_ *rand.Rand, l, m int64) bool { return max(l-m, m-l) < 15 }},
		{"local and global", 1, func(_ *rand.Rand, l, m int64) bool { return max(l-m, m-l) < 15 || m < 3 || l == 7 }},
		{"blocks", 1, func(_ *rand.Rand, l, m int64) bool { return (l/16*7+m/64*5)%4 == 0 || l/16 == m/16 }},
		{"scattered", 0, func(r *rand.Rand, l, m int64) bool { return r.IntN(60) == 0 || l == m }},
		{"nothing masked", -1, func(*rand.Rand, int64, int64) bool { return true }},
		{"rows that are all masked", 0, func(_ *rand.Rand, l, m int64) bool { return l%50 != 8 && m < 30 }},
		{"all masked", 0, func(*rand.Rand, int64, int64) bool { return false }},
		{"NaN behind it", 0, func(_ *rand.Rand, l, m int64) bool { return m%64 < 30 }},
		{"infinite values behind it", -1, func(_ *rand.Rand, l, m int64) bool { return m%64 < 30 }},
		{"scores as low as the mask", 0, func(_ *rand.Rand, l, m int64) bool { return m%128 < 30 }},
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			device, alone := tier.inParts(2), tier.inParts(1)
			r := rand.New(rand.NewPCG(15, 6))
			for i, f := range maskedForms {
				for j, pattern := range patterns {
					if device.machine.features == 0 && (i+j)%4 != 0 {
						continue // stages one by one, as the interpreter has them
					}
					t.Run(f.name+"/"+pattern.name, func(t *testing.T) {
						p, mem := f.program(t, (i+j)%3), &fence{heap{}, t}
						s := []int64{130, 171}[r.IntN(2)]
						sizes := map[string]int64{"b": 1 + r.Int64N(2), "h": 1 + r.Int64N(2), "g": 1 + r.Int64N(2), "s": s, "t": s + r.Int64N(2)*129, "d": 16, "e": 8}
						var bind []int64
						for _, n := range p.Syms {
							bind = append(bind, sizes[n])
						}
						var args []*tensor.Tensor
						for _, b := range p.Params {
							var shape []int64
							for _, e := range b.Dims {
								n, _ := e.Eval(func(n string) (int64, bool) { v, ok := sizes[n]; return v, ok })
								shape = append(shape, n)
							}
							x := mem.tensor(b.DType, shape...)
							for n := range x.Len() {
								v := r.NormFloat64()
								if b.Name == "mask" {
									last := shape[len(shape)-1]
									l, m := n/last%shape[len(shape)-2], n%last
									if f.name == "hides, finite" {
										l, m = m, l
									}
									show := pattern.show(r, l, m)
									switch {
									case b.DType == tensor.Bool:
										x.SetBool(n, show)
									case b.DType.IsInt():
										x.SetInt(n, map[bool]int64{true: 1}[show])
									case show:
										x.SetFloat(n, 0)
									case f.safe:
										x.SetFloat(n, math.Inf(-1))
									default:
										x.SetFloat(n, []float64{-3.4e38, -1e5}[n&1])
									}
									continue
								}
								x.SetFloat(n, v)
								if key := n * sizes["t"] / x.Len(); b.Name == "k" && pattern.name == "NaN behind it" && key%64 == 40 && len(shape) == 4 && shape[0] == 1 {
									x.SetFloat(n, math.NaN())
								}
								if pattern.name == "scores as low as the mask" && b.Name != "v" {
									x.SetFloat(n, v*1e3)
								}
								if pattern.name == "infinite values behind it" && b.Name == "v" && n%31 == 0 {
									x.SetFloat(n, math.Inf(1))
								}
							}
							args = append(args, x)
						}
						want, err := interp.RunProgram(context.Background(), p, bind, args)
						if err != nil {
							t.Fatal(err)
						}
						got := mem.tensor(tensor.F32, want[0].Shape()...)
						if err := device.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{got}, mem); err != nil {
							t.Fatal(err)
						}
						if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 3e-5, ATol: 3e-5}); err != nil {
							t.Errorf("%v: %v", sizes, err)
						}
						if device.machine.features == 0 {
							return
						}
						if pattern.hide > 0 {
							one := mem.tensor(tensor.F32, want[0].Shape()...)
							if err := alone.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{one}, mem); err != nil {
								t.Fatal(err)
							}
							if !bytes.Equal(got.Bytes(), one.Bytes()) {
								t.Errorf("one thread gives other bits than two")
							}
						}
						a := device.attends.Get()
						defer device.attends.Put(a)
						visited, of := a.hidden.visited.Load(), a.hidden.of.Load()
						if of == 0 || pattern.hide > 0 && visited > of*9/10 || pattern.hide < 0 && f.params != "" && f.name != "and causal" && visited != of {
							t.Errorf("%d of %d scores were computed", visited, of)
						}
					})
				}
			}
		})
	}
}
