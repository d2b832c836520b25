package tensor

import (
	"math"
	"testing"
)

// The quick way to f16 agrees with the general one at every value, beside it, and
// halfway between two.
func TestF32ToF16(t *testing.T) {
	check := func(v float32) {
		if got, want := F32ToF16(v), F64ToF16(float64(v)); got != want {
			t.Fatalf("%g: got %#x, want %#x", v, got, want)
		}
	}
	for b := range uint32(1 << 16) {
		v := F16ToF32(uint16(b))
		if v != v {
			continue
		}
		half := math.Float32frombits(math.Float32bits(v) + 1<<12) // halfway where v is normal
		for _, w := range []float32{v, half, v + 0x1p-25, v + 0x1.8p-25, v + 0x1p-26} {
			check(w)
			check(math.Nextafter32(w, float32(math.Inf(1))))
			check(math.Nextafter32(w, float32(math.Inf(-1))))
		}
	}
	for _, v := range []float32{65519, 65520, 65535, 65536, 1e30, -1e30, 1e-30, 0x1p-149} {
		check(v)
	}
	if b := F32ToF16(float32(math.NaN())); F16ToF32(b) == F16ToF32(b) {
		t.Errorf("NaN became %#x", b)
	}
}
