package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/tensor"
)

// BenchmarkSparse holds products of which terms are left out against the same product without hints, on one
// thread: a fresh pattern in each run, in turns, medians. Looking for zeros, choosing and gathering are part of it.
// It also tells which way was taken in how many runs, and what it was expected to take.
func BenchmarkSparse(b *testing.B) {
	type pattern struct {
		rows, cols int
		left       float64
	}
	type shape struct{ m, k, n int64 }
	var cases []struct {
		shape
		pattern
	}
	add := func(s shape, rows, cols int, left ...float64) {
		for _, l := range left {
			cases = append(cases, struct {
				shape
				pattern
			}{s, pattern{rows, cols, l}})
		}
	}
	grid := shape{2048, 2048, 2048}
	for _, block := range [][2]int{{32, 1}, {1, 64}, {32, 64}} {
		add(grid, block[0], block[1], 1, 0.75, 0.5, 0.1, 0.05, 0.01)
	}
	for _, m := range []int64{1, 8, 64} {
		add(shape{m, 3072, 768}, 1, 1, 1, 0.1, 0.05, 0.01, 0)
	}
	add(shape{512, 768, 3072}, 1, 1<<20, 1, 0.5, 0.25, 0.1, 0.05)
	for _, tier := range tiers(b) {
		for _, c := range cases {
			b.Run(fmt.Sprintf("%s/%dx%dx%d/%dx%d/%g", tier.name, c.m, c.k, c.n, c.rows, c.cols, c.left), func(b *testing.B) {
				if tier.features == 0 {
					b.Skip("without machine code there is one way")
				}
				d := tier.device(1)
				defer d.Close()
				src := fmt.Sprintf("program @p(X: [%d, %d] f32, W: [%d, %d] f32) -> (Y: [%d, %d] f32) {\nY[i < %d, j < %d] = sum(k < %d) (X[i, k] * W[k, j])", c.m, c.k, c.k, c.n, c.m, c.n, c.m, c.n, c.k)
				hinted, plain := sparseProgram(b, src+" sparse(X)\n}"), sparseProgram(b, src+"\n}")
				r := rand.New(rand.NewPCG(1, 2))
				x, w, y := tensor.New(tensor.F32, c.m, c.k), normal(r, c.k, c.n), tensor.New(tensor.F32, c.m, c.n)
				full := normal(r, c.m, c.k)
				h := &planned{heap: heap{constant: map[int]bool{1: true}, room: 1 << 30}, work: make([]byte, 64<<20)}
				run := func(which int) time.Duration {
					p := plain
					if which == 1 {
						p = hinted
					}
					start := time.Now()
					if err := d.Run(context.Background(), kernelProduct, p, nil, []*tensor.Tensor{x, w}, []*tensor.Tensor{y}, h); err != nil {
						b.Fatal(err)
					}
					return time.Since(start)
				}
				taken := map[string]int{}
				var times [2][]time.Duration
				expected := 0.0
				d.decided = func(w way) { taken[w.String()]++; expected = w.ns }
				for b.Loop() {
					copy(tensor.Data[float32](x), tensor.Data[float32](full))
					drawZeros(r, tensor.Data[float32](x), int(c.k), c.rows, c.cols, c.left)
					for i := range 2 {
						times[i] = append(times[i], run(i))
					}
				}
				dense, skipped := median(times[0]), median(times[1])
				b.ReportMetric(float64(dense.Microseconds()), "dense-µs")
				b.ReportMetric(float64(skipped.Microseconds()), "sparse-µs")
				b.ReportMetric(expected/1000, "expected-µs")
				b.ReportMetric(float64(dense)/float64(skipped), "x")
				if os.Getenv("WAYS") != "" {
					b.Log(taken)
				}
			})
		}
	}
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}
