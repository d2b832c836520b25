package emit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
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

// The functions over all kinds of numbers, which meet every exponent and both signs, those at the ends, and those
// nearest to multiples of π/2. What kernel says of errors are the figures here.
func TestFunctions(t *testing.T) {
	list := []struct {
		name string
		want func(float64) float64
		most float64
		odd  bool // zeros have signs
	}{
		{"exp", math.Exp, 1, false}, {"log", math.Log, 0.8, false}, {"tanh", math.Tanh, 1.9, true}, {"erf", math.Erf, 1.1, true},
		{"expm1", math.Expm1, 1.6, true}, {"log1p", math.Log1p, 1, true}, {"sin", math.Sin, 1.1, true}, {"cos", math.Cos, 1.1, false},
		{"tan", math.Tan, 2.8, true}, {"asin", math.Asin, 2.3, true}, {"acos", math.Acos, 1.5, false}, {"atan", math.Atan, 1.6, true},
		{"sinh", math.Sinh, 1.6, true}, {"cosh", math.Cosh, 1.5, false}, {"asinh", math.Asinh, 2, true}, {"acosh", math.Acosh, 2, false}, {"atanh", math.Atanh, 2, true},
	}
	var src, results strings.Builder
	for i, fn := range list {
		fmt.Fprintf(&src, "y%d[i < n] = %s(x[i])\n", i, fn.name)
		fmt.Fprintf(&results, ", y%d: [n] f32", i)
	}
	p := kerneltest.Program(t, fmt.Sprintf("program @functions[n](x: [n] f32) -> (%s) {\n%s}", results.String()[2:], src.String()))
	var x []float32
	step := uint64(16381)
	if testing.Short() {
		step = 65521
	}
	for bits := uint64(0); bits < 1<<32; bits += step {
		x = append(x, math.Float32frombits(uint32(bits)))
	}
	for _, b := range []uint32{0, 1, 1<<31 | 1, 0x7fffff, 0x800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x42b17218, 0x42b17217, 0xc2cff1b5, 0xc2a60d69, 0x3f6b851f,
		0x3f800000, 0xbf800000, 0x3f7fffff, 0xbf7fffff, 0x3f800001, 0x3f000000, 0x3f000001, 0x42b2d4fc, 0x42b2d4fd, 0x4d000000, 0x6c000000, 0x6f800000, 0x3fc90fdb, 0x40490fdb} {
		x = append(x, math.Float32frombits(b))
	}
	for k := 1.0; k < 1<<23; k = math.Ceil(k * 1.01) {
		x = append(x, float32(k*math.Pi/2))
	}
	n := int64(len(x))
	type worst struct {
		ulps float64
		at   float32
	}
	got := map[string]map[string][]float32{}
	for _, f := range tiers(t) {
		got[f.String()] = computed(t, p, f, n, map[string][]float32{"x": x})
	}
	for i, fn := range list {
		most, name := map[string]worst{}, fmt.Sprintf("y%d", i)
		for j, v := range x {
			want := fn.want(float64(v))
			for f, out := range got {
				y := out[name][j]
				if u := ulps(y, want); u > most[f].ulps {
					most[f] = worst{u, v}
				}
				if fn.odd && v == 0 && math.Signbit(float64(y)) != math.Signbit(float64(v)) {
					t.Errorf("%s: %s of %g is %g", f, fn.name, v, y)
				}
				if (y > 1 || y < -1) && (fn.name == "tanh" || fn.name == "sin" || fn.name == "cos") {
					t.Errorf("%s: %s of %g is %g", f, fn.name, v, y)
				}
			}
		}
		for f, w := range most {
			t.Logf("%s: %s: %.3f ulp at %g", f, fn.name, w.ulps, w.at)
			if w.ulps > fn.most {
				t.Errorf("%s: %s is %.3f ulp off at %g, %g is stated", f, fn.name, w.ulps, w.at, fn.most)
			}
		}
	}
}

// computed are the results of a program whose stages go over n elements, by machine code.
func computed(t *testing.T, p *ir.Program, f x86.Features, n int64, in map[string][]float32) map[string][]float32 {
	t.Helper()
	s := kernel.New(p, kernel.Options{Lanes: emit.Lanes(f), Wide: emit.Wide(f), Alone: true})
	out := map[string][]float32{}
	for _, g := range s.Groups {
		b, err := g.Kernel.Bind(func(string) (int64, bool) { return n, true })
		if err != nil {
			t.Fatal(err)
		}
		var block []int64
		for _, m := range g.Kernel.Buffers {
			v := in[m.Of.Name]
			if m.Written {
				v = make([]float32, n)
				out[m.Of.Name] = v
			}
			block = append(block, int64(uintptr(unsafe.Pointer(&v[0]))))
		}
		block = append(append(block, b.Numbers...), 0, n, 0)
		codes.of(t, g.Kernel, f).Call(unsafe.Pointer(&block[0]))
	}
	if len(out) != len(p.Results) {
		t.Fatalf("%d of %d results have kernels: %v", len(out), len(p.Results), s.Refused)
	}
	return out
}

// Powers of what is special by what is special, of bases near 1 and exponents that make them large or tiny all the
// same, and of drawn bits. What is special is Go's, sign included.
func TestPow(t *testing.T) {
	p := kerneltest.Program(t, "program @power[n](x: [n] f32, y: [n] f32) -> (z: [n] f32) {\nz[i < n] = pow(x[i], y[i])\n}")
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	special := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, -1.5, 1 << 23, 1<<23 + 1, 1 << 24, 1<<24 + 2, -1<<23 - 1, -1 << 24, 1e-45, -1e-45, 1e-40, 0x1p-126, -0x1p-126,
		127, 128, -149, -150, 149.5, math.MaxFloat32, -math.MaxFloat32, inf, -inf, nan, 0x1.fffffep-1, 0x1.000002p0, -0x1.fffffep-1, -0x1.000002p0, 1e10, -1e10, 1.0 / 3, 0x1.6a09e6p-1, 0x1.6a09e8p-1}
	var x, y []float32
	for _, a := range special {
		for _, b := range special {
			x, y = append(x, a), append(y, b)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 300000 {
		a, b := math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32())
		switch r.IntN(4) {
		case 0: // a result that is a number
			a = float32(math.Exp(r.NormFloat64() * 20))
			b = float32((r.Float64()*2 - 1) * 105 / math.Log(float64(a)))
		case 1:
			a = float32(1 + r.NormFloat64()*math.Exp(-15*r.Float64()))
			b = float32(r.NormFloat64() * math.Exp(18*r.Float64()))
		case 2:
			a, b = float32(r.NormFloat64()*100), float32(r.IntN(41)-20)
		}
		x, y = append(x, a), append(y, b)
	}
	for _, f := range tiers(t) {
		most, at := 0.0, 0
		for i, z := range computed(t, p, f, int64(len(x)), map[string][]float32{"x": x, "y": y})["z"] {
			want := math.Pow(float64(x[i]), float64(y[i]))
			u := ulps(z, want)
			if math.Signbit(float64(z)) != math.Signbit(want) && want == want {
				u = math.Inf(1)
			}
			if u > most {
				most, at = u, i
			}
		}
		t.Logf("%s: pow: %.3f ulp at %g^%g", f, most, x[at], y[at])
		if most > 0.9 {
			t.Errorf("%s: pow is %.3f ulp off at %g^%g, 0.9 is stated", f, most, x[at], y[at])
		}
	}
}
