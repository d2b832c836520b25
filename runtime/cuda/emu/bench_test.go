package emu

import (
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// BenchmarkProduct is a product of 256 x 256 x 256 by tiles of 16 x 16, with and without looking for races.
func BenchmarkProduct(b *testing.B) {
	for _, o := range []struct {
		name string
		Options
	}{{"races", Options{Races: true}}, {"one worker", Options{Workers: 1}}, {"all workers", Options{}}} {
		b.Run(o.name, func(b *testing.B) {
			t := load(b, o.Options, testdata(b, "sgemm.ptx"))
			const n = 256
			v := floats(normals(rand.New(rand.NewPCG(1, 2)), n*n)...)
			x, y, z := t.put(v), t.put(v), t.alloc(4*n*n)
			cfg := driver.Launch{Grid: driver.D(n/16, n/16), Block: driver.D(16, 16),
				Params: []uint64{uint64(x), uint64(y), uint64(z), n, n, n}}
			for b.Loop() {
				t.run("sgemm", cfg)
			}
			b.ReportMetric(2*n*n*n*float64(b.N)/b.Elapsed().Seconds()/1e6, "MFLOP/s")
			all, _ := t.c.Counters()
			b.ReportMetric(float64(all.Instructions)/b.Elapsed().Seconds()/1e6, "Minst/s")
		})
	}
}
