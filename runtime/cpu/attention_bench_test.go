package cpu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// Sequences that lie behind each other, of 12 heads with 64 features: what they take, and what one attention after the
// other takes.
func BenchmarkPackedAttention(b *testing.B) {
	for _, c := range []struct {
		count int
		mean  float64
	}{{1, 512}, {8, 32}, {32, 32}, {128, 10}, {128, 32}, {32, 219}} {
		r := rand.New(rand.NewPCG(1, 2))
		var lengths []int64
		all, squares := int64(0), 0.0
		for range c.count {
			n := max(1, int64(math.Exp(r.NormFloat64()*0.6-0.18)*c.mean))
			if c.count == 1 {
				n = int64(c.mean)
			}
			lengths = append(lengths, n)
			all, squares = all+n, squares+float64(n*n)
		}
		const heads, depth = 12, 64
		run := func(b *testing.B, f attentionForm, lists [][]int64) {
			p := f.program(b, 1)
			d := New(1)
			defer d.Close()
			if d.machine.features == 0 {
				b.Skip("no machine code runs here")
			}
			var binds [][]int64
			var ins, outs [][]*tensor.Tensor
			for _, lengths := range lists {
				n := int64(0)
				for _, l := range lengths {
					n += l
				}
				sizes := map[string]int64{"b": 1, "h": heads, "g": 1, "s": n, "t": n, "d": depth, "e": depth}
				var bind []int64
				for _, s := range p.Syms {
					bind = append(bind, sizes[s])
				}
				var in []*tensor.Tensor
				for _, q := range p.Params {
					var shape []int64
					for _, e := range q.Dims {
						m, _ := e.Eval(func(n string) (int64, bool) { v, ok := sizes[n]; return v, ok })
						shape = append(shape, m)
					}
					x := tensor.New(q.DType, shape...)
					at, i := int64(0), int64(0)
					for _, l := range lengths {
						for range l {
							if q.Name == "start" {
								x.SetInt(i, at)
							} else if q.Name == "end" {
								x.SetInt(i, at+l)
							}
							i++
						}
						at += l
					}
					if q.DType == tensor.F32 {
						for j := range x.Len() {
							x.SetFloat(j, r.NormFloat64())
						}
					}
					in = append(in, x)
				}
				binds, ins = append(binds, bind), append(ins, in)
				outs = append(outs, []*tensor.Tensor{tensor.New(tensor.F32, 1, n, heads, 1, depth)})
			}
			mem := &heap{}
			for b.Loop() {
				for i := range binds {
					if err := d.Run(context.Background(), kernelProduct, p, binds[i], ins[i], outs[i], mem); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(squares*4*depth*heads*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
		}
		name := fmt.Sprintf("%d_of_%g", c.count, c.mean)
		b.Run(name+"/packed", func(b *testing.B) {
			run(b, attentionForm{params: "start: [s] i64, end: [s] i64", x: "select(((m >= start[l]) & (m < end[l])), (score * f32 0.125), f32 -inf)"}, [][]int64{lengths})
		})
		b.Run(name+"/one by one", func(b *testing.B) {
			var lists [][]int64
			for _, l := range lengths {
				lists = append(lists, []int64{l})
			}
			run(b, attentionForm{x: "(score * f32 0.125)"}, lists)
		})
	}
}

// Attention with run-time masks of 12 heads with 64 features: what is reached of the number of times that it has less to do.
func BenchmarkMaskedAttention(b *testing.B) {
	for _, n := range []int64{2048, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { maskedAttention(b, n) })
	}
}

func maskedAttention(b *testing.B, n int64) {
	const heads, depth = 12, 64
	r := rand.New(rand.NewPCG(1, 2))
	chosen := map[[2]int64]bool{}
	for i := range n / 64 {
		for j := range n / 64 {
			chosen[[2]int64{i, j}] = r.IntN(10) == 0
		}
	}
	apart := func(l, m int64) int64 { return max(l-m, m-l) }
	patterns := []struct {
		name string
		show func(l, m int64) bool
	}{
		{"no mask", nil},
		{"nothing masked", func(l, m int64) bool { return true }},
		{"local", func(l, m int64) bool { return apart(l, m) <= 128 }},
		{"global and local", func(l, m int64) bool { return apart(l, m) <= 128 || l < 16 || m < 16 }},
		{"blocks", func(l, m int64) bool { return l/256 == m/256 }},
		{"tenth of 64x64", func(l, m int64) bool { return chosen[[2]int64{l / 64, m / 64}] }},
		{"causal", func(l, m int64) bool { return l >= m }},
		{"dilated", func(l, m int64) bool { return (l-m)%8 == 0 }},
		{"dilated and local", func(l, m int64) bool { return (l-m)%8 == 0 && apart(l, m) <= 512 }},
	}
	for _, f := range []attentionForm{
		{name: "truth", params: "mask: [s, t] bool", x: "select(mask[l, m], (score * f32 0.125), f32 -inf)"},
		{name: "added", params: "mask: [s, t] f32", x: "((score * f32 0.125) + mask[l, m])"},
		{name: "positions", x: "select((((l - m) <= 128) & ((m - l) <= 128)), (score * f32 0.125), f32 -inf)"},
	} {
		dense := 0.0
		for _, pattern := range patterns {
			if f.params == "" && pattern.show != nil && pattern.name != "local" {
				continue
			}
			b.Run(f.name+"/"+pattern.name, func(b *testing.B) {
				p := f.program(b, 1)
				if pattern.show == nil {
					p = attentionForm{x: "(score * f32 0.125)"}.program(b, 1)
				}
				d := New(1)
				defer d.Close()
				sizes := map[string]int64{"b": 1, "h": heads, "g": 1, "s": n, "t": n, "d": depth, "e": depth}
				var bind []int64
				for _, s := range p.Syms {
					bind = append(bind, sizes[s])
				}
				var in []*tensor.Tensor
				covered := 0
				for _, q := range p.Params {
					var shape []int64
					for _, e := range q.Dims {
						m, _ := e.Eval(func(n string) (int64, bool) { v, ok := sizes[n]; return v, ok })
						shape = append(shape, m)
					}
					x := tensor.New(q.DType, shape...)
					for j := range x.Len() {
						switch show := q.Name == "mask" && pattern.show(j/n, j%n); {
						case q.Name != "mask":
							x.SetFloat(j, r.NormFloat64())
						case show:
							covered++
							if q.DType == tensor.Bool {
								x.SetBool(j, true)
							}
						case q.DType == tensor.F32:
							x.SetFloat(j, math.Inf(-1))
						}
					}
					in = append(in, x)
				}
				out := []*tensor.Tensor{tensor.New(tensor.F32, 1, n, heads, 1, depth)}
				needs, err := d.Workspace(kernelProduct, p, bind, func(int) bool { return false })
				if err != nil {
					b.Fatal(err)
				}
				mem := &planned{work: make([]byte, needs[0])}
				ins := [][]*tensor.Tensor{in}
				for mask := len(in) - 1; mask > 2 && len(ins) < 3; { // in turn, so that no run has one in its caches
					more := slices.Clone(in)
					more[mask] = in[mask].Clone()
					ins = append(ins, more)
				}
				for _, in := range ins { // memory that was never touched takes its time
					if err := d.Run(context.Background(), kernelProduct, p, bind, in, out, mem); err != nil {
						b.Fatal(err)
					}
				}
				for i := 0; b.Loop(); i++ {
					if err := d.Run(context.Background(), kernelProduct, p, bind, ins[i%len(ins)], out, mem); err != nil {
						b.Fatal(err)
					}
				}
				ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
				if pattern.show == nil {
					dense = ns
					return
				}
				a := d.attends.Get()
				b.ReportMetric(float64(a.hidden.visited.Load())/float64(max(1, a.hidden.of.Load())), "visited")
				if covered == 0 {
					covered = int(n) * 250
				}
				share := float64(covered) / float64(n*n)
				b.ReportMetric(share, "covered")
				b.ReportMetric(dense/ns*share, "reached")
			})
		}
	}
}
