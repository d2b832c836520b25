package emit_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// kernelOf is the one kernel of a program.
func kernelOf(t *testing.T, src string, f x86.Features) *kernel.Kernel {
	t.Helper()
	s := kernel.New(kerneltest.Program(t, src), kernel.Options{Lanes: emit.Lanes(f), Wide: emit.Wide(f)})
	if len(s.Groups) != 1 {
		t.Fatalf("%d kernels: %v\n%s", len(s.Groups), s.Refused, src)
	}
	return s.Groups[0].Kernel
}

// A constant place that is further on than an instruction can say, and a loop that is longer.
func TestFar(t *testing.T) {
	const far = 600_000_000 // of f32 more than 1<<31 bytes
	for _, f := range tiers(t) {
		k := kernelOf(t, `program @far[n](x: [700000000] f32) -> (y: [n] f32) {
    y[i < n] = (x[(i + 600000000)] + f32 1)
  }`, f)
		b, err := k.Bind(func(string) (int64, bool) { return 20, true })
		if err != nil {
			t.Fatal(err)
		}
		numbers := func() []float32 {
			mem, free := kerneltest.Guarded(t, 80)
			t.Cleanup(free)
			return unsafe.Slice((*float32)(unsafe.Pointer(&mem[0])), 20)
		}
		x, y := numbers(), numbers()
		for i := range x {
			x[i] = float32(i)
		}
		block := make([]uint64, 0, emit.Words(k))
		for _, m := range k.Buffers {
			if m.Written {
				block = append(block, uint64(uintptr(unsafe.Pointer(&y[0]))))
			} else {
				block = append(block, uint64(uintptr(unsafe.Pointer(&x[0])))-4*far)
			}
		}
		for _, n := range append(append([]int64(nil), b.Numbers...), 0, 20) {
			block = append(block, uint64(n))
		}
		block = append(block, 0)
		codes.of(t, k, f).Call(unsafe.Pointer(&block[0]))
		for i := range y {
			if y[i] != x[i]+1 {
				t.Fatalf("%s: element %d is %g, want %g", f, i, y[i], x[i]+1)
			}
		}
		codes.of(t, kernelOf(t, `program @long[n](x: [3000000000, n] f32) -> (y: [n] f32) {
    y[i < n] = sum(k < 3000000000) x[k, i]
  }`, f), f)
	}
}

// The extreme of anything and NaN is NaN, whichever is a constant.
func TestConstantNaN(t *testing.T) {
	for _, op := range []string{"min", "max"} {
		for nan := range 2 {
			p := kerneltest.Program(t, "program @nan[n](x: [n] f32) -> (y: [n] f32) {\n y[i < n] = "+op+"(x[i], x[i])\n}")
			args := p.Stages[0].Exprs[0].Args
			args[nan] = args[nan].Const(math.NaN())
			if _, _, compared := kerneltest.Check(t, p, []int64{20}, rand.New(rand.NewPCG(3, 4)), 5, false, machines(t)); compared == 0 {
				t.Error("nothing is compared")
			}
		}
	}
}

// What no lane asks for is not read, where all lanes would read the same element, too.
func TestNobodyAsks(t *testing.T) {
	p := kerneltest.Program(t, `program @none[n](x: [4, 1] f32) -> (y: [n] f32) {
    y[i < n] = guard((i < 0), x[(900000 - i), i], f32 7)
  }`)
	if _, _, compared := kerneltest.Check(t, p, []int64{20}, rand.New(rand.NewPCG(5, 6)), 0, false, machines(t)); compared == 0 {
		t.Error("nothing is compared")
	}
}

// Transpositions of more turns than a piece has, with ragged ends both ways.
func TestTransposedPieces(t *testing.T) {
	for _, d := range []string{"f32", "i64", "u8", "f16", "bool"} {
		p := kerneltest.Program(t, "program @turned[b, n, m](x: [b, n, m] "+d+") -> (y: [b, m, n] "+d+") {\n y[h < b, i < m, j < n] = x[h, j, i]\n}")
		for _, bind := range [][]int64{{2, 19, 521}, {1, 67, 300}, {3, 1, 257}} {
			if _, refused, compared := kerneltest.Check(t, p, bind, rand.New(rand.NewPCG(7, 8)), 9, false, machines(t)); compared == 0 || refused > 0 {
				t.Errorf("%s: %d results compared, %d refused", d, compared, refused)
			}
		}
	}
	for _, d := range []string{"f32", "f64", "i32"} { // with what is read along the vectors, along the turns, and where they are backwards
		p := kerneltest.Program(t, strings.ReplaceAll(`program @turned[b, n, m](x: [b, n, m] f32, z: [b, m, n] T, c: [m] T, e: [n] T) -> (u: [b, m, n] T, y: [b, m, n] T) {
    u[h < b, i < m, j < n] = (((T(x[h, j, i]) * z[h, i, j]) + c[i]) - e[({n - 1} - j)])
    y[h < b, i < m, j < n] = max(u[h, i, j], T(i))
  }`, "T", d))
		for _, bind := range [][]int64{{2, 19, 521}, {1, 67, 300}, {1, 16, 16}, {3, 1, 257}} {
			if _, refused, compared := kerneltest.Check(t, p, bind, rand.New(rand.NewPCG(7, 8)), 9, false, machines(t)); compared == 0 || refused > 0 {
				t.Errorf("%s: %d results compared, %d refused", d, compared, refused)
			}
		}
	}
}
