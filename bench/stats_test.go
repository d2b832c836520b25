package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestMedianInterval(t *testing.T) {
	ranks := func(n int) (lo, hi int) {
		x := make([]float64, n)
		for i := range x {
			x[n-1-i] = float64(i + 1)
		}
		m := medianOf(x)
		return int(m.Low), int(m.High)
	}
	// Ranks as tables of the sign test have them.
	for _, c := range [][3]int{{1, 1, 1}, {5, 1, 5}, {6, 1, 6}, {8, 1, 8}, {9, 2, 8}, {11, 2, 10}, {12, 3, 10}, {15, 4, 12}, {20, 6, 15}, {25, 8, 18}} {
		if lo, hi := ranks(c[0]); lo != c[1] || hi != c[2] {
			t.Errorf("%d values: %d to %d, not %d to %d", c[0], lo, hi, c[1], c[2])
		}
	}
	if m := medianOf([]float64{3, 1, 2, 10}); m.Median != 2.5 {
		t.Errorf("median %v", m.Median)
	}
}

// The interval holds the median of what values are drawn from about as often as it says.
func TestMedianIntervalHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	in := 0
	for range 2000 {
		x := make([]float64, 11)
		for i := range x {
			x[i] = math.Exp(r.NormFloat64())
		}
		if m := medianOf(x); m.Low <= 1 && 1 <= m.High {
			in++
		}
	}
	if in < 1900 {
		t.Errorf("it holds %d of 2000", in)
	}
}

func TestGeomean(t *testing.T) {
	m := geomeanOf([][]float64{{2, 2, 2}, {8, 8, 8}})
	if math.Abs(m.Median-4) > 1e-9 || math.Abs(m.Low-4) > 1e-9 || math.Abs(m.High-4) > 1e-9 {
		t.Errorf("%v", m)
	}
	m = geomeanOf([][]float64{{1, 2, 3, 4, 5, 6, 7, 8, 9}})
	if m.Median != 5 || m.Low >= 5 || m.High <= 5 {
		t.Errorf("%v", m)
	}
}

func TestKept(t *testing.T) {
	x := tensor.New(tensor.F32, 1, 4, 3)
	data := tensor.Data[float32](x)
	data[2], data[9], data[10] = 1, float32(math.Copysign(0, -1)), float32(math.NaN())
	if n := kept(x); n != 2 {
		t.Errorf("%d rows are kept, want 2", n)
	}
	if n := kept(tensor.New(tensor.F32, 0, 3)); n != 0 {
		t.Errorf("%d rows of none are kept", n)
	}
}
