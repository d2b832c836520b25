package emit_test

import (
	"math"
	"testing"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// ulps is the distance from what was computed to what is true, in units of the last place of the f32
// nearest to that.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	switch {
	case got == w || got != got && w != w:
		return 0
	case got != got || w != w || math.IsInf(float64(got), 0) || math.IsInf(float64(w), 0):
		return math.Inf(1)
	}
	next := 0x1p-149
	if w != 0 {
		next = math.Ldexp(1, max(math.Ilogb(math.Abs(float64(w)))-23, -149))
	}
	return math.Abs(float64(got)-want) / next
}

// The functions over all kinds of numbers: one in 1021 of all f32, which meets every exponent and
// both signs, and those at the ends.
func TestFunctions(t *testing.T) {
	p := kerneltest.Program(t, kerneltest.Examples["functions"])
	list := []struct {
		name string
		want func(float64) float64
		most float64
	}{{"e", math.Exp, 1}, {"l", math.Log, 0.8}, {"t", math.Tanh, 1.9}, {"f", math.Erf, 1.1}}
	var x []float32
	for bits := uint64(0); bits < 1<<32; bits += 1021 {
		x = append(x, math.Float32frombits(uint32(bits)))
	}
	for _, b := range []uint32{0, 1, 1<<31 | 1, 0x7fffff, 0x800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x42b17218, 0x42b17217, 0xc2cff1b5, 0x3f6b851f} {
		x = append(x, math.Float32frombits(b))
	}
	n := int64(len(x))
	for _, f := range tiers(t) {
		k := kernel.New(p, kernel.Options{Lanes: emit.Lanes(f)}).Groups[0].Kernel
		b, err := k.Bind(func(string) (int64, bool) { return n, true })
		if err != nil {
			t.Fatal(err)
		}
		got := map[string][]float32{}
		var block []int64
		for _, m := range k.Buffers {
			v := x
			if m.Written {
				v = make([]float32, n)
				got[m.Of.Name] = v
			}
			block = append(block, int64(uintptr(unsafe.Pointer(&v[0]))))
		}
		block = append(append(block, b.Numbers...), 0, n)
		codes.of(t, k, f).Call(unsafe.Pointer(&block[0]))
		for _, fn := range list {
			worst, at := 0.0, float32(0)
			for i, v := range x {
				if u := ulps(got[fn.name][i], fn.want(float64(v))); u > worst {
					worst, at = u, v
				}
			}
			t.Logf("%s: %s: %.3f ulp at %g", f, fn.name, worst, at)
			if worst > fn.most {
				t.Errorf("%s: %s is %.3f ulp off at %g, %g is stated", f, fn.name, worst, at, fn.most)
			}
		}
		for i, v := range x { // the zeros' signs
			if y := got["t"][i]; y > 1 || y < -1 {
				t.Errorf("%s: tanh of %g is %g", f, v, y)
			}
			if v == 0 {
				for _, name := range []string{"t", "f"} {
					if math.Signbit(float64(got[name][i])) != math.Signbit(float64(v)) {
						t.Errorf("%s: %s of %g is %g", f, name, v, got[name][i])
					}
				}
			}
		}
	}
}
