package cpu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
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
