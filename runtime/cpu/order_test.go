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

// Masks that leave something in every tile, and yet fall into classes of rows that want the same keys, are computed in an
// order in which tiles are hidden as a whole, unless something stands against it; results are the interpreter's.
func TestScatteredMasks(t *testing.T) {
	t.Parallel()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	low := func(v float64) func(l, m int64) float64 { return func(_, _ int64) float64 { return v } }
	forms := []struct {
		attentionForm
		low func(l, m int64) float64 // what is added where it hides
	}{
		{attentionForm{name: "truth", params: "mask: [s, t] bool", x: "select(mask[l, m], (score * f32 0.25), f32 -inf)"}, nil},
		{attentionForm{name: "truth, safe, of batches", params: "mask: [b, s, t] bool, scale: [] f32", x: "select(mask[i, l, m], (score * scale[]), f32 -inf)", safe: true}, nil},
		{attentionForm{name: "finite", params: "mask: [s, t] bool", x: "select(mask[l, m], (score * f32 -0.25), f32 -3.4028235e38)"}, nil},
		{attentionForm{name: "capped, of heads", params: "mask: [h, s, t] bool", x: "select(mask[j, l, m], (tanh((score / f32 3)) * f32 3), f32 -1e9)"}, nil},
		{attentionForm{name: "added", params: "mask: [b, 1, s, t] f32", x: "((score / sqrt(f32({d}))) + mask[i, 0, l, m])", safe: true}, low(math.Inf(-1))},
		{attentionForm{name: "added, finite", params: "mask: [s, t] f32", x: "(((score / f32 4) + mask[l, m]) * f32 2)"}, func(l, m int64) float64 { return []float64{-3.4028235e38, -1e5}[(l+m)&1] }},
		{attentionForm{name: "and causal", params: "mask: [s, t] bool", x: "select(mask[l, m], (score + select((m <= (l + {t - s})), f32 0, f32 -inf)), f32 -inf)"}, nil},
	}
	dilated := func(d, window int64) func(r []int, l, m int64) bool {
		return func(_ []int, l, m int64) bool { return (l-m)%d == 0 && (window == 0 || max(l-m, m-l) < window*d) }
	}
	global := func(d, window int64) func(r []int, l, m int64) bool {
		return func(r []int, l, m int64) bool {
			return dilated(d, window)(r, l, m) || l%97 == 5 || m%89 == 11
		}
	}
	patterns := []struct {
		name string
		most float64 // of scores are computed; 0: about all, 1: whatever comes of it
		show func(r []int, l, m int64) bool
	}{
		{"every second", .62, dilated(2, 0)},
		{"every third", .55, dilated(3, 0)},
		{"every fourth", .42, dilated(4, 0)},
		{"every eighth", .36, dilated(8, 0)},
		{"every fourth, near", .3, dilated(4, 12)},
		{"every eighth, near", .3, dilated(8, 12)},
		{"every fourth, and global", .75, global(4, 0)},
		{"every eighth, near, and global", .75, global(8, 12)},
		{"classes drawn", .5, func(r []int, l, m int64) bool { return r[l]%5 == r[m]%5 }},
		{"classes, and rows that are all masked", 1, func(r []int, l, m int64) bool { return l%50 != 8 && r[l]%5 == r[m]%5 }},
		{"any", 0, func(r []int, l, m int64) bool { return l == m || (r[l]*31+r[m]*17)%97 < 4 }},
	}
	spoils := []struct {
		name  string
		whole bool // all is computed
		spoil func(q, k, v *tensor.Tensor)
	}{
		{"", false, func(_, _, _ *tensor.Tensor) {}},
		{"an infinite value", true, func(_, _, v *tensor.Tensor) {
			for i := range v.Len() / 64 {
				v.SetFloat(64*i+i%64, math.Inf(1))
			}
		}},
		{"a key that is NaN", false, func(_, k, _ *tensor.Tensor) { k.SetFloat(k.Len()/2, math.NaN()) }},
		{"scores as low as the mask", false, func(q, k, _ *tensor.Tensor) {
			for _, x := range []*tensor.Tensor{q, k} {
				for i := range x.Len() {
					x.SetFloat(i, math.Round(x.Float(i))*1e3) // sums of them are exact
				}
			}
		}},
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			device, alone := tier.inParts(2), tier.inParts(1)
			r := rand.New(rand.NewPCG(8, 15))
			for i, f := range forms {
				for j, pattern := range patterns {
					spoil := spoils[0]
					if (i+j)%3 == 2 {
						spoil = spoils[1+r.IntN(3)]
					}
					t.Run(f.name+"/"+pattern.name+"/"+spoil.name, func(t *testing.T) {
						p, mem := f.program(t, (i+j)%3), &fence{heap{}, t}
						s := 190 + r.Int64N(50)
						sizes := map[string]int64{"b": 1, "h": 1, "g": 1, "s": s, "t": s + r.Int64N(2)*37, "d": 16, "e": []int64{8, 40}[r.IntN(2)]}
						sizes[[]string{"b", "h", "g"}[r.IntN(3)]] = 2
						if i == 0 && j == 3 {
							sizes["t"] = 4200 // more than are looked at by a call
						}
						var bind []int64
						for _, n := range p.Syms {
							bind = append(bind, sizes[n])
						}
						classes := make([]int, 4400)
						for i := range classes {
							classes[i] = r.IntN(1 << 20)
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
								if b.Name != "mask" {
									x.SetFloat(n, r.NormFloat64())
									continue
								}
								l, m := n/sizes["t"]%s, n%sizes["t"]
								show := pattern.show(classes[n/sizes["t"]/s:], l, m)
								switch {
								case b.DType == tensor.Bool:
									x.SetBool(n, show)
								case !show:
									x.SetFloat(n, f.low(l, m))
								}
							}
							args = append(args, x)
						}
						spoil.spoil(args[0], args[1], args[2])
						want, err := interp.RunProgram(context.Background(), p, bind, args)
						if err != nil {
							t.Fatal(err)
						}
						run := func(d *Device) *tensor.Tensor {
							got := mem.tensor(tensor.F32, want[0].Shape()...)
							if err := d.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{got}, mem); err != nil {
								t.Fatal(err)
							}
							return got
						}
						got, one := run(device), run(alone)
						if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 3e-5, ATol: 3e-5}); err != nil {
							t.Errorf("%v: %v", sizes, err)
						}
						if !bytes.Equal(got.Bytes(), one.Bytes()) {
							t.Errorf("one thread gives other bits than two")
						}
						if n := mem.live.Load(); n != 0 {
							t.Errorf("%d tensors are not given back", n)
						}
						a := device.attends.Get()
						visited, of := float64(a.hidden.visited.Load()), float64(a.hidden.of.Load())
						device.attends.Put(a)
						few := visited <= pattern.most*of
						if spoil.name == "" && (!few && pattern.most > 0 || pattern.most == 0 && visited < .65*of && f.name != "and causal") || spoil.whole && visited != of && f.name != "and causal" {
							t.Errorf("%.2f of all scores were computed", visited/of)
						}
					})
				}
			}
		})
	}
}
