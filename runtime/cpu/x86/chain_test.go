package x86

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// chain is gelu(x*a + b) + r, as a fused elementwise program is: constants in registers as long as
// there are some, several vectors at a time.
type chainArgs struct {
	n          int64 // bytes, a multiple of unroll vectors
	x, a, b, r unsafe.Pointer
	y          unsafe.Pointer
}

func chain(f Features, unroll int) *Prog {
	p := NewProg("chain")
	kind, _ := vectors(f)
	var args chainArgs
	load := func(offset uintptr) Reg {
		r := p.New(GP64)
		p.Emit(MOV, r, arg(offset))
		return r
	}
	n := load(unsafe.Offsetof(args.n))
	x, a, b, r, y := load(unsafe.Offsetof(args.x)), load(unsafe.Offsetof(args.a)), load(unsafe.Offsetof(args.b)), load(unsafe.Offsetof(args.r)), load(unsafe.Offsetof(args.y))
	consts := map[uint32]Reg{}
	constant := func(u uint32) Reg { return consts[u] }
	num := func(v float32) Reg { return constant(math.Float32bits(v)) }
	declare := func(u uint32) {
		if consts[u] == NoReg {
			consts[u] = p.New(kind)
			p.Emit(VBROADCASTSS, consts[u], p.U32(u))
		}
	}
	exponential := []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1}
	erf := []float32{1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592}
	for _, v := range append(append([]float32{0.70710678118, 0.3275911, math.Log2E, -0.693359375, 2.12194440e-4, 0.5, -87}, exponential...), erf...) {
		declare(math.Float32bits(v))
	}
	declare(0x7fffffff)
	declare(0x80000000)
	i, top := p.New(GP64), p.Label("top")
	p.Emit(XOR, i, i)
	p.Align(lineBytes)
	p.Bind(top)
	for u := range unroll {
		at := func(base Reg) Mem { return AtIndex(base, i, 1, u*kind.Bits()/8) }
		op := func(o *Op, args ...Operand) Reg {
			d := p.New(kind)
			p.Emit(o, append([]Operand{d}, args...)...)
			return d
		}
		v, s := op(VMOVUPS, at(x)), op(VMOVUPS, at(a))
		p.Emit(VFMADD213PS, v, s, at(b))
		abs := op(VANDPS, v, constant(0x7fffffff))
		z := op(VMULPS, abs, num(0.70710678118))
		d := op(VMOVAPS, num(1))
		p.Emit(VFMADD231PS, d, z, num(0.3275911))
		t := op(VDIVPS, num(1), d)
		z = op(VMULPS, z, z)
		z = op(VXORPS, z, constant(0x80000000))
		p.Emit(VMAXPS, z, z, num(-87))
		// exp(z) = 2^n * poly(z - n ln 2)
		e := op(VMULPS, z, num(math.Log2E))
		if kind == ZMM {
			p.Emit(VRNDSCALEPS, e, e, Imm(0))
		} else {
			p.Emit(VROUNDPS, e, e, Imm(0))
		}
		p.Emit(VFMADD231PS, z, e, num(-0.693359375))
		p.Emit(VFMADD231PS, z, e, num(2.12194440e-4))
		q := op(VMOVAPS, num(exponential[0]))
		for _, c := range exponential[1:] {
			p.Emit(VFMADD213PS, q, z, num(c))
		}
		if kind == ZMM {
			p.Emit(VSCALEFPS, q, q, e)
		} else {
			k := op(VCVTPS2DQ, e)
			p.Emit(VPSLLD, k, k, Imm(23))
			p.Emit(VPADDD, q, q, k)
		}
		w := op(VMOVAPS, num(erf[0]))
		for _, c := range erf[1:] {
			p.Emit(VFMADD213PS, w, t, num(c))
		}
		w = op(VMULPS, w, t)
		one := op(VMOVAPS, num(1))
		p.Emit(VFNMADD231PS, one, w, q)
		p.Emit(VFMADD231PS, v, abs, one)
		p.Emit(VMULPS, v, v, num(0.5))
		p.Emit(VADDPS, v, v, at(r))
		p.Emit(VMOVUPS, at(y), v)
	}
	p.Emit(ADD, i, Imm(unroll*kind.Bits()/8))
	p.Emit(CMP, i, n)
	p.Emit(JL, top)
	p.Emit(RET)
	return p
}

func gelu(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }

// TestChain holds a fused chain against its formula: with more constants than AVX2 has registers.
func TestChain(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here", f)
			continue
		}
		for unroll := 1; unroll <= 4; unroll++ {
			c, err := Compile(chain(f, unroll), f)
			if err != nil {
				t.Fatal(err)
			}
			fn := loadCode(t, c)
			kind, _ := vectors(f)
			n := 4 * unroll * kind.Bits() / 32
			var in [4][]float32
			for i := range in {
				in[i] = guarded(t, n)
				for j := range in[i] {
					in[i][j] = float32(2 * r.NormFloat64())
				}
			}
			y := guarded(t, n)
			p := func(i int) unsafe.Pointer { return unsafe.Pointer(&in[i][0]) }
			args := chainArgs{int64(4 * n), p(0), p(1), p(2), p(3), unsafe.Pointer(&y[0])}
			fn.Call(unsafe.Pointer(&args))
			for j := range y {
				want := gelu(float64(in[0][j])*float64(in[1][j])+float64(in[2][j])) + float64(in[3][j])
				if d := math.Abs(float64(y[j]) - want); !(d <= 2e-6*(1+math.Abs(want))) {
					t.Fatalf("%s, %d at a time: y[%d] is %g, want %g\n%s", f, unroll, j, y[j], want, c.Listing())
				}
			}
			t.Logf("%s, %d at a time: %d bytes of scratch", f, unroll, c.Scratch)
		}
	}
}

// BenchmarkChain is the chain over 64 x 768, in the caches.
func BenchmarkChain(b *testing.B) {
	for _, f := range tiers {
		if f&^here() != 0 {
			b.Logf("code for %s can not run here", f)
			continue
		}
		for _, unroll := range []int{1, 2, 4} {
			start := time.Now()
			c, err := Compile(chain(f, unroll), f)
			compile := time.Since(start)
			if err != nil {
				b.Fatal(err)
			}
			fn := loadCode(b, c)
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(f.String(), " ", "+"), unroll), func(b *testing.B) {
				const rows, n = 64, 768
				x, r, y := alignedFloats(rows*n), alignedFloats(rows*n), alignedFloats(rows*n)
				s, t := alignedFloats(n), alignedFloats(n)
				fastest := math.Inf(1)
				for b.Loop() {
					start := time.Now()
					for i := range rows {
						args := chainArgs{4 * n, unsafe.Pointer(&x[i*n]), unsafe.Pointer(&s[0]), unsafe.Pointer(&t[0]), unsafe.Pointer(&r[i*n]), unsafe.Pointer(&y[i*n])}
						fn.Call(unsafe.Pointer(&args))
					}
					fastest = min(fastest, time.Since(start).Seconds())
				}
				b.ReportMetric(1e9*fastest/rows/n, "ns/element")
				b.ReportMetric(float64(compile.Microseconds()), "µs-to-compile")
				b.ReportMetric(float64(c.Scratch), "bytes-of-scratch")
			})
		}
	}
}

// BenchmarkCompileChain is the time from the chain to its bytes.
func BenchmarkCompileChain(b *testing.B) {
	n := 0
	for b.Loop() {
		p := chain(V3|V4, 2)
		if _, err := Compile(p, V3|V4); err != nil {
			b.Fatal(err)
		}
		n = len(p.Insts)
	}
	b.ReportMetric(float64(n), "instructions")
}
