package x86

import (
	"math"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"unsafe"
)

// Zeros of both signs are told from what is small, infinite or no number, in guarded memory.
func TestZeros(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(3, 4))
	values := []float32{0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, -1e-40, 1, -1e20, float32(math.Inf(-1)), float32(math.NaN())}
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here: it is not tested", f)
			continue
		}
		load := func(z interface {
			Program(Features) (*Prog, error)
		}) Func {
			p, err := z.Program(f)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Compile(p, f)
			if err != nil {
				t.Fatal(err)
			}
			return loadCode(t, c)
		}
		zeros, finite, within := load(Zeros{}), load(Zeros{Finite: true}), load(Within{})
		const scale = 0x1p70
		for lots := 1; lots <= 5; lots++ {
			for range 20 {
				from := guarded(t, ZerosLot*lots)
				some := 2 + r.IntN(len(values)-1)
				for i := range from {
					from[i] = values[r.IntN(some)]
				}
				words := guarded(t, 2*lots)
				args := ZerosArgs{Lots: int64(lots), From: unsafe.Pointer(unsafe.SliceData(from)), To: unsafe.Pointer(unsafe.SliceData(words))}
				zeros.Call(unsafe.Pointer(&args))
				got := unsafe.Slice((*uint64)(args.To), lots)
				sums := guarded(t, 16)
				args.To = unsafe.Pointer(unsafe.SliceData(sums))
				finite.Call(unsafe.Pointer(&args))
				bound := guarded(t, 16)
				bounded := args
				bounded.To, bounded.Scale = unsafe.Pointer(unsafe.SliceData(bound)), scale
				within.Call(unsafe.Pointer(&bounded))
				all, small := true, true
				for i, x := range from {
					if bit := got[i/64]>>(i%64)&1 == 1; bit != (x != 0) {
						t.Fatalf("%s, %d lots: element %d is %v, and counts as zero: %v", f, lots, i, x, !bit)
					}
					all, small = all && x-x == 0, small && x*scale-x*scale == 0
				}
				sum, over := float32(0), float32(0)
				for i, x := range sums {
					sum, over = sum+x, over+bound[i]
				}
				if (over == 0) != small {
					t.Fatalf("%s, %d lots: all are within the bound: %v, it says %v", f, lots, small, bound)
				}
				if (sum == 0) != all {
					t.Fatalf("%s, %d lots: all are finite: %v, it says %v", f, lots, all, sums)
				}
			}
		}
	}
}
