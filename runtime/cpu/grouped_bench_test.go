package cpu

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/tensor"
)

// BenchmarkGroupedProducts gives GFLOP/s and GB/s of rows that are multiplied by constant matrices of eight
// groups, as many of each, which together are more than caches hold.
func BenchmarkGroupedProducts(b *testing.B) {
	const groups, depth, cols = 8, 768, 2048
	for _, tier := range tiers(b) {
		if tier.features == 0 {
			continue
		}
		for _, each := range []int64{1, 2, 4, 8, 14, 16, 28, 32, 64} {
			b.Run(fmt.Sprintf("%s/%d", tier.name, each), func(b *testing.B) {
				d := tier.device(1)
				defer d.Close()
				rows := groups * each
				p := groupedProgram(rows, depth, cols, groups, false, false, false, false)
				h := &planned{heap: heap{constant: map[int]bool{1: true}, room: 1 << 30}}
				sizes, err := d.Workspace(kernelProduct, p, nil, func(i int) bool { return h.constant[i] })
				if err != nil {
					b.Fatal(err)
				}
				h.work = make([]byte, sizes[0])
				at := tensor.New(tensor.I64, 2, rows)
				for i := range rows {
					tensor.Data[int64](at)[rows+i] = i / each
				}
				args, results := []*tensor.Tensor{random(rows, depth), random(groups, depth, cols), at}, []*tensor.Tensor{random(rows, cols)}
				run := func() {
					if err := d.Run(context.Background(), kernelProduct, p, nil, args, results, h); err != nil {
						b.Fatal(err)
					}
				}
				run()
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				least := time.Hour
				for b.Loop() {
					start := clock()
					run()
					least = min(least, clock()-start)
				}
				ns := float64(least.Nanoseconds())
				b.ReportMetric(2*float64(rows)*depth*cols/ns, "GFLOP/s")
				b.ReportMetric(4*groups*depth*cols/ns, "GB/s")
			})
		}
	}
}
