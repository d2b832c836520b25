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
	{name: "truth, scaled by what is read", params: "mask: [s, t] bool, scale: [] f32", x: "select(mask[l, m], (score * scale[]), f32 -inf)"},
	{name: "truth, safe", params: "mask: [b, h, g, s, t] bool", x: "select(mask[i, j, k, l, m], score, f32 -inf)", safe: true},
	{name: "truth, finite", params: "mask: [b, s, t] bool", x: "select(mask[i, l, m], (score * f32 0.25), f32 -3.4028235e38)"},
	{name: "hides, finite", params: "mask: [t, s] bool", x: "select(mask[m, l], (score * f32 0.25), f32 -1e9)"},
	{name: "added", params: "mask: [b, 1, s, t] f32", x: "((score * f32 0.25) + mask[i, 0, l, m])", safe: true},
	{name: "added, and more where it shows", params: "mask: [s, t] f32", x: "((score * f32 0.25) + mask[l, m])"},
	{name: "added, scaled, with slopes", params: "mask: [h, s, t] f32, slope: [h] f32", x: "((((score / f32 4) + mask[j, l, m]) * f32 2) + (slope[j] * f32((m - l))))"},
	{name: "made of truths", params: "mask: [s, t] bool", x: "(score + ((f32 1 - f32(mask[l, m])) * f32 -3.4028235e38))"},
	{name: "NaN where it shows", params: "mask: [s, t] bool", x: "(score + ((f32 1 - f32(mask[l, m])) * f32 -inf))"},
	{name: "of integers", params: "mask: [s, t] i64", x: "select((mask[l, m] != i64 0), score, f32 -inf)"},
	{name: "and causal", params: "mask: [s, t] bool", x: "select(mask[l, m], (score + select((m <= (l + {t - s})), f32 0, f32 -inf)), f32 -inf)"},
	{name: "of keys", params: "mask: [b, 1, 1, t] bool", x: "select(mask[i, 0, 0, m], (score * f32 0.25), f32 -inf)"},
	{name: "of positions", x: "select(((((l - m) < 20) & ((m - l) < 20)) | (m < 9)), score, f32 -inf)"},
}

// Masks of all patterns in all spellings equal the interpreter's stages, whatever is behind them, and tiles are left
// out where nothing stands against it.
func TestMaskedAttentions(t *testing.T) {
	t.Parallel()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	patterns := []struct {
		name string
		hide int     // 1: some tiles are, 0: it may be, -1: none is
		open float64 // at least such a share of what is computed
		show func(r *rand.Rand, l, m int64) bool
	}{
		{"local", 1, 0, func(_ *rand.Rand, l, m int64) bool { return max(l-m, m-l) < 15 }},
		{"local and global", 1, 0, func(_ *rand.Rand, l, m int64) bool { return max(l-m, m-l) < 15 || m < 3 || l == 7 }},
		{"blocks", 1, .08, func(_ *rand.Rand, l, m int64) bool { return (l/16*7+m/64*5)%4 == 0 || l/16 == m/16 }},
		{"scattered", 0, 0, func(r *rand.Rand, l, m int64) bool { return r.IntN(60) == 0 || l == m }},
		{"nothing masked", -1, .3, func(*rand.Rand, int64, int64) bool { return true }},
		{"rows that are all masked", 0, 0, func(_ *rand.Rand, l, m int64) bool { return l%50 != 8 && m < 30 }},
		{"all masked", 0, 0, func(*rand.Rand, int64, int64) bool { return false }},
		{"NaN behind it", 0, 0, func(_ *rand.Rand, l, m int64) bool { return m%64 < 30 }},
		{"infinite values behind it", -1, 0, func(_ *rand.Rand, l, m int64) bool { return m%64 < 30 }},
		{"scores as low as the mask", 0, 0, func(_ *rand.Rand, l, m int64) bool { return m%128 < 30 }},
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			device, alone := tier.inParts(2), tier.inParts(1)
			r := rand.New(rand.NewPCG(15, 6))
			for i, f := range maskedForms {
				for j, pattern := range patterns {
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
									case show && f.name == "added, and more where it shows":
										x.SetFloat(n, float64(n%3)*-.5)
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
						if of == 0 || pattern.hide > 0 && f.name != "NaN where it shows" && visited > of*9/10 || pattern.hide < 0 && f.params != "" && f.name != "and causal" && visited != of {
							t.Errorf("%d of %d scores were computed", visited, of)
						}
						// What is added to open scores here beside a mask, the mask's tiles do not say.
						slopes := f.name == "added, scaled, with slopes" || f.name == "added, and more where it shows"
						if open := a.hidden.plain.Load(); slopes && open != 0 || !slopes && f.params != "" && f.name != "NaN where it shows" && float64(open) < pattern.open*float64(visited) {
							t.Errorf("of %d scores %d were computed without a look at the mask", visited, open)
						}
					})
				}
			}
		})
	}
}

// Sequences that lie behind each other are computed part by part, all heads of one before the next, unless something stands
// against it, which shows in parts that were done.
func TestAttentionParts(t *testing.T) {
	const n, heads, depth = 450, 2, 8
	forms := []attentionForm{
		{name: "selected", params: "start: [s] i64, end: [s] i64", x: "select(((m >= start[l]) & (m < end[l])), (score * f32 0.25), f32 -inf)", safe: true},
		{name: "added", params: "start: [s] i64, end: [s] i64", x: "((score * f32 0.25) + select(((m >= start[l]) & (m < end[l])), f32 0, f32 -inf))"},
		{name: "finite", params: "start: [s] i64, end: [s] i64", x: "((score * f32 0.25) + select(((m >= start[l]) & (m < end[l])), f32 0, f32 -3.4028235e38))"},
	}
	cases := []struct {
		name  string
		spoil func(q, k, v, start, end *tensor.Tensor)
	}{
		{"as it is", func(_, _, _, _, _ *tensor.Tensor) {}},
		{"a value is NaN", func(_, _, v, _, _ *tensor.Tensor) { v.SetFloat(440*heads*depth, math.NaN()) }},
		{"a value of no sequence is infinite", func(_, _, v, _, end *tensor.Tensor) {
			for i := range int64(90) {
				end.SetInt(i, 80)
			}
			v.SetFloat(84*heads*depth, math.Inf(1))
		}},
		{"a key is NaN", func(_, k, _, _, _ *tensor.Tensor) { k.SetFloat(300*heads*depth, math.NaN()) }},
		{"scores are as low as the mask", func(q, k, _, _, _ *tensor.Tensor) {
			q.SetFloat(20*heads*depth, 1e19)
			k.SetFloat(440*heads*depth, 1e19)
		}},
		{"a row has no keys", func(_, _, _, start, end *tensor.Tensor) { end.SetInt(200, start.Int(200)) }},
		{"no row has keys", func(_, _, _, start, end *tensor.Tensor) {
			for i := range int64(n) {
				end.SetInt(i, start.Int(i))
			}
		}},
		{"sequences lie the other way round", func(_, _, _, start, end *tensor.Tensor) {
			for i := range int64(n) {
				start.SetInt(i, n-(i/90+1)*90)
				end.SetInt(i, n-i/90*90)
			}
		}},
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			device := tier.inParts(2)
			for _, f := range forms {
				for _, c := range cases {
					p, mem := f.program(t, 1), &heap{}
					sizes := map[string]int64{"b": 1, "h": heads, "g": 1, "s": n, "t": n, "d": depth, "e": depth}
					var bind []int64
					for _, s := range p.Syms {
						bind = append(bind, sizes[s])
					}
					r := rand.New(rand.NewPCG(3, 4))
					shapes := [][]int64{{1, n, heads, 1, depth}, {1, n, heads, depth}, {1, n, heads, depth}, {n}, {n}}
					var args []*tensor.Tensor
					for i, b := range p.Params {
						x := tensor.New(b.DType, shapes[i]...)
						for j := range x.Len() {
							switch b.Name {
							case "start":
								x.SetInt(j, j/90*90)
							case "end":
								x.SetInt(j, j/90*90+90)
							default:
								x.SetFloat(j, r.NormFloat64())
							}
						}
						args = append(args, x)
					}
					c.spoil(args[0], args[1], args[2], args[3], args[4])
					want, err := interp.RunProgram(context.Background(), p, bind, args)
					if err != nil {
						t.Fatal(err)
					}
					got := tensor.New(tensor.F32, want[0].Shape()...)
					if err := device.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{got}, mem); err != nil {
						t.Fatal(err)
					}
					if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 3e-5, ATol: 3e-5}); err != nil {
						t.Errorf("%s, %s: %v", f.name, c.name, err)
					}
					a := device.attends.Get()
					visited, of := a.hidden.visited.Load(), a.hidden.of.Load()
					device.attends.Put(a)
					if few := visited < of/2; c.name == "as it is" && !few || c.name == "a value is NaN" && few {
						t.Errorf("%s, %s: %d of %d scores were computed", f.name, c.name, visited, of)
					}
				}
			}
		})
	}
}

// A query against a cache goes over the keys that its length says, unless what lies behind them makes a difference.
func TestDecodeUpToALength(t *testing.T) {
	const keys, heads = 700, 2
	for _, tier := range tiers(t) {
		device := tier.inParts(2)
		if device.machine.features == 0 {
			continue // few rows are stages one by one there
		}
		for _, f := range []attentionForm{
			{name: "minus infinity", params: "length: [b] i64", x: "select((m < length[i]), (score * f32 0.25), f32 -inf)"},
			{name: "safe", params: "length: [b] i64", x: "select((m < length[i]), (score * f32 0.25), f32 -inf)", safe: true},
			{name: "finite", params: "length: [b] i64", x: "select((m < length[i]), score, f32 -1e9)"},
		} {
			for _, c := range []struct {
				name   string
				rows   int64
				depth  int64 // of values
				length [2]int64
				spoil  func(k, v *tensor.Tensor)
				few    bool
			}{
				{"a row", 1, 32, [2]int64{100, 130}, func(_, _ *tensor.Tensor) {}, true},
				{"rows of odd values", 3, 48, [2]int64{5, 97}, func(_, _ *tensor.Tensor) {}, true},
				{"a key behind it is NaN", 1, 32, [2]int64{100, 130}, func(k, _ *tensor.Tensor) { k.SetFloat(600*16, math.NaN()) }, true},
				{"a value behind it is NaN", 1, 32, [2]int64{100, 130}, func(_, v *tensor.Tensor) {
					for i := range int64(2 * heads) {
						v.SetFloat((i*keys+600)*32+i, math.NaN())
					}
				}, false},
				{"the last value is infinite", 2, 16, [2]int64{100, 130}, func(_, v *tensor.Tensor) {
					for i := range int64(2 * heads) {
						v.SetFloat((i+1)*keys*16-1, math.Inf(1))
					}
				}, false},
				{"no keys", 1, 32, [2]int64{0, 0}, func(_, _ *tensor.Tensor) {}, f.name != "finite"},
				{"all keys", 1, 32, [2]int64{700, 700}, func(_, _ *tensor.Tensor) {}, false},
			} {
				p, mem := f.program(t, 0), &fence{heap{}, t}
				sizes := map[string]int64{"b": 2, "h": heads, "g": 1, "s": c.rows, "t": keys, "d": 16, "e": c.depth}
				var bind []int64
				for _, s := range p.Syms {
					bind = append(bind, sizes[s])
				}
				r := rand.New(rand.NewPCG(3, 4))
				var args []*tensor.Tensor
				for i, shape := range [][]int64{{2, heads, 1, c.rows, 16}, {2, heads, keys, 16}, {2, heads, keys, c.depth}, {2}} {
					x := mem.tensor(p.Params[i].DType, shape...)
					for j := range x.Len() {
						if i == 3 {
							x.SetInt(j, c.length[j])
						} else {
							x.SetFloat(j, r.NormFloat64())
						}
					}
					args = append(args, x)
				}
				c.spoil(args[1], args[2])
				want, err := interp.RunProgram(context.Background(), p, bind, args)
				if err != nil {
					t.Fatal(err)
				}
				got := mem.tensor(tensor.F32, want[0].Shape()...)
				if err := device.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{got}, mem); err != nil {
					t.Fatal(err)
				}
				if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 3e-5, ATol: 3e-5}); err != nil {
					t.Errorf("%s, %s, %s: %v", tier.name, f.name, c.name, err)
				}
				a := device.attends.Get()
				visited, of := a.hidden.visited.Load(), a.hidden.of.Load()
				device.attends.Put(a)
				if few := visited < of/3; of == 0 || few != c.few {
					t.Errorf("%s, %s, %s: %d of %d scores were computed", tier.name, f.name, c.name, visited, of)
				}
			}
		}
	}
}

// A run with masks takes nothing from Go, whatever the masks, once there was one with these sizes, and code for the
// numbers of rows that blocks have.
func TestMaskedAttentionAllocatesNothing(t *testing.T) {
	for _, tier := range tiers(t) {
		device := tier.device(1)
		f := attentionForm{params: "mask: [s, t] f32, start: [s] i64, end: [s] i64", x: "select(((m >= start[l]) & (m < end[l])), (score + mask[l, m]), f32 -inf)"}
		p := f.program(t, 1)
		const n, heads, depth = 300, 3, 16
		sizes := map[string]int64{"b": 1, "h": heads, "g": 1, "s": n, "t": n, "d": depth, "e": depth}
		var bind []int64
		for _, s := range p.Syms {
			bind = append(bind, sizes[s])
		}
		needs, err := device.Workspace(kernelProduct, p, bind, func(int) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		mem := &planned{work: make([]byte, needs[0])}
		args := []*tensor.Tensor{random(1, n, heads, 1, depth), random(1, n, heads, depth), random(1, n, heads, depth),
			tensor.New(tensor.F32, n, n), tensor.New(tensor.I64, n), tensor.New(tensor.I64, n)}
		results := []*tensor.Tensor{tensor.New(tensor.F32, 1, n, heads, 1, depth)}
		round := int64(0)
		run := func() {
			round++
			for i := range int64(n) {
				size := []int64{n, 90, 7, 33}[round%4]
				args[4].SetInt(i, i/size*size)
				args[5].SetInt(i, i/size*size+size)
			}
			for i := range int64(n * n) {
				hide := i / 40 % (round%3 + 1) / 2
				if round%3 == 1 { // rows and keys are put in another order
					hide = min(1, (i/n+3*(i%n))%4)
				}
				args[3].SetFloat(i, []float64{0, math.Inf(-1)}[hide])
			}
			if err := device.Run(context.Background(), kernelProduct, p, bind, args, results, mem); err != nil {
				t.Fatal(err)
			}
		}
		for range 12 {
			run()
		}
		if got := testing.AllocsPerRun(12, run); got != 0 {
			t.Errorf("%s: %v allocations a run", tier.name, got)
		}
	}
}
