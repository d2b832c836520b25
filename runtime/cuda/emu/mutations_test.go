package emu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// errWrong is a result that differs.
var errWrong = errors.New("the result is wrong")

// subject is a kernel that mutations are made of, and a run of it that looks at the result.
type subject struct {
	file string
	run  func(b *bench) error
}

var subjects = map[string]subject{
	"sgemm": {"sgemm.ptx", runSgemm}, "hgemm": {"hgemm.ptx", runHgemm}, "sum": {"sum.ptx", runSum},
}

func runSgemm(b *bench) error {
	const m, n, k = 37, 45, 29
	r := rand.New(rand.NewPCG(3, 4))
	vec := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.IntN(17) - 8)
		}
		return v
	}
	x, y := vec(m*k), vec(k*n)
	pc := b.alloc(4 * m * n)
	err := b.launch("sgemm", driver.Launch{Grid: driver.D((n+15)/16, (m+15)/16), Block: driver.D(16, 16),
		Params: []uint64{uint64(b.put(floats(x...))), uint64(b.put(floats(y...))), uint64(pc), m, n, k}})
	if err != nil {
		return err
	}
	for i, got := range toFloats(b.get(pc, 4*m*n)) {
		var want float32
		for j := range k {
			want += x[i/n*k+j] * y[j*n+i%n]
		}
		if got != want {
			return fmt.Errorf("%w: element %d is %v, not %v", errWrong, i, got, want)
		}
	}
	return nil
}

func runHgemm(b *bench) error {
	const m, n, k = 32, 48, 64
	r := rand.New(rand.NewPCG(5, 6))
	vec := func(n int) ([]float32, []byte) {
		v, data := make([]float32, n), []byte(nil)
		for i := range v {
			v[i] = float32(r.IntN(33)-16) / 4
			data = binary.LittleEndian.AppendUint16(data, tensor.F32ToF16(v[i]))
		}
		return v, data
	}
	x, px := vec(m * k)
	y, py := vec(n * k)
	pc := b.alloc(4 * m * n)
	err := b.launch("hgemm", driver.Launch{Grid: driver.D(n/16, m/16), Block: driver.D(64),
		Params: []uint64{uint64(b.put(px)), uint64(b.put(py)), uint64(pc), n, k}})
	if err != nil {
		return err
	}
	for i, got := range toFloats(b.get(pc, 4*m*n)) {
		var want float32
		for j := range k {
			want += x[i/n*k+j] * y[i%n*k+j]
		}
		if got != want {
			return fmt.Errorf("%w: element %d is %v, not %v", errWrong, i, got, want)
		}
	}
	return nil
}

func runSum(b *bench) error {
	const n = 1000
	v := make([]float32, n)
	want := float32(0)
	for i := range v {
		v[i] = float32(i%7 - 2)
		want += v[i]
	}
	py := b.put(floats(0))
	err := b.launch("sum", driver.Launch{Grid: driver.D((n + 127) / 128), Block: driver.D(128),
		Params: []uint64{uint64(b.put(floats(v...))), uint64(py), n}})
	if err != nil {
		return err
	}
	if got := toFloats(b.get(py, 4))[0]; got != want {
		return fmt.Errorf("%w: %v, not %v", errWrong, got, want)
	}
	return nil
}

// wrong stands for a result that differs, among the kinds of faults.
const wrong Kind = -1

// mutations are mistakes, each in a kernel that is right: old becomes new, where it stands first. Each is
// caught by what is said.
var mutations = []struct {
	name, kernel string
	old, new     string
	caught       []Kind // one of them
}{
	{"no barrier behind the stores", "sgemm", "bar.sync 0;                         // tiles are there", "", []Kind{Race}},
	{"no barrier before the next tile", "sgemm", "bar.sync 0;                         // tiles are read", "", []Kind{Race}},
	{"wrong stride of A", "sgemm", "mad.lo.s32 %r19, %r8, %r3, %r18", "mad.lo.s32 %r19, %r8, %r2, %r18", []Kind{OutOfBounds}},
	{"wrong stride of B", "sgemm", "mad.lo.s32 %r21, %r20, %r2, %r9", "mad.lo.s32 %r21, %r20, %r3, %r9", []Kind{wrong}},
	{"wrong stride of a tile", "sgemm", "shl.b32 %r15, %r5, 6;", "shl.b32 %r15, %r5, 5;", []Kind{wrong}},
	{"off by one in the tail of k", "sgemm", "setp.lt.and.u32 %p5, %r20, %r3, %p2", "setp.le.and.u32 %p5, %r20, %r3, %p2", []Kind{OutOfBounds}},
	{"off by one in the tail of rows", "sgemm", "setp.lt.u32 %p1, %r8, %r1", "setp.le.u32 %p1, %r8, %r1", []Kind{OutOfBounds}},
	{"no predicate on the load", "sgemm", "@%p5 ld.global", "ld.global", []Kind{OutOfBounds}},
	{"no predicate on the store", "sgemm", "@%p6 st.global", "st.global", []Kind{Race}},
	{"a tile too small", "sgemm", ".b8 Bs[1024]", ".b8 Bs[1008]", []Kind{OutOfBounds}},
	{"tiles that overlap", "sgemm", ".b8 As[1024]", ".b8 As[960]", []Kind{Race}},
	{"accumulator not set", "sgemm", "mov.f32 %f1, 0f00000000;", "", []Kind{Uninitialised}},
	{"what is outside not set to zero", "sgemm", "st.shared.f32 [%r14]", "@%p5 st.shared.f32 [%r14]", []Kind{Uninitialised}},
	{"unaligned vector", "sgemm", "[%r15+32]", "[%r15+36]", []Kind{Misaligned}},
	{"divergent barrier", "sgemm", "bar.sync 0;                         // tiles are read", "bar.sync 0; @%p2 bar.sync 0;", []Kind{Divergence}},
	{"a barrier that not all reach", "sgemm", "setp.ge.u32 %p3, %r17, %r3;", "add.s32 %r18, %r3, %r5; setp.ge.u32 %p3, %r17, %r18;", []Kind{Deadlock}},
	{"blocks that write the same", "sgemm", "mad.lo.s32 %r22, %r8, %r2, %r9", "mad.lo.s32 %r22, %r5, %r2, %r9", []Kind{Race}},
	{"a step of k too long", "sgemm", "add.s32 %r17, %r17, 16", "add.s32 %r17, %r17, 17", []Kind{wrong}},
	{"a loop without end", "sgemm", "add.s32 %r17, %r17, 16", "add.s32 %r17, %r17, 0", []Kind{Budget}},

	{"fragments of A swapped", "hgemm", "{%r30, %r31, %r32, %r33}", "{%r30, %r32, %r31, %r33}", []Kind{wrong}},
	{"fragments of B swapped", "hgemm", "{%r34, %r35}", "{%r35, %r34}", []Kind{wrong}},
	{"fragment from the wrong place", "hgemm", "[%r26+272]", "[%r26+264]", []Kind{wrong}},
	{"results stored in the wrong order", "hgemm", "{%f3, %f4};\n\tret", "{%f4, %f3};\n\tret", []Kind{wrong}},
	{"accumulator of mma not set", "hgemm", "mov.f32 %f3, 0f00000000;", "", []Kind{Uninitialised}},
	{"no wait for the copy", "hgemm", "cp.async.wait_group 1;", "", []Kind{Race}},
	{"waits for too few groups", "hgemm", "cp.async.wait_group 1;", "cp.async.wait_group 2;", []Kind{Race}},
	{"copy not committed", "hgemm", "$last:\n\tcp.async.commit_group;", "$last:", []Kind{Race}},
	{"no barrier behind the wait", "hgemm", "bar.sync 0;                         // the tile is there", "", []Kind{Race, Uninitialised}},
	{"no barrier before the buffer is used again", "hgemm", "bar.sync 0;                         // the tile is read", "", []Kind{Race}},
	{"one buffer for both", "hgemm", "xor.b32 %r24, %r23, 512", "xor.b32 %r24, %r23, 0", []Kind{Race}},
	{"copy to an odd place", "hgemm", "shl.b32 %r13, %r8, 4", "shl.b32 %r13, %r8, 3", []Kind{Misaligned}},
	{"mma of half a warp", "hgemm", "mma.sync", "setp.lt.u32 %p3, %r6, 16; @%p3 mma.sync", []Kind{Divergence}},
	{"copies beyond the end", "hgemm", "@%p2 bra $last", "", []Kind{OutOfBounds}},

	{"wrong mask of a shuffle", "sum", "%f1, 4, 31, 0xffffffff", "%f1, 4, 31, 0xffff", []Kind{Divergence}},
	{"wrong distance of a shuffle", "sum", "%f1, 4, 31,", "%f1, 3, 31,", []Kind{wrong}},
	{"shuffles within half a warp", "sum", "%f1, 16, 31,", "%f1, 16, 15,", []Kind{wrong}},
	{"shuffle in a branch", "sum", "shfl.sync.bfly.b32 %f2, %f1, 16", "@%p1 shfl.sync.bfly.b32 %f2, %f1, 16", []Kind{Divergence, Uninitialised}},
	{"no barrier between warps", "sum", "bar.sync 0;", "", []Kind{Race, Uninitialised}},
	{"add without an atomic", "sum", "red.global.add.f32 [%rd2], %f3;", "ld.global.f32 %f4, [%rd2]; add.f32 %f3, %f3, %f4; st.global.f32 [%rd2], %f3;", []Kind{Race}},
}

func testdata(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestKernels runs the kernels that mutations are made of as they are.
func TestKernels(t *testing.T) {
	for name, s := range subjects {
		text := testdata(t, s.file)
		for _, o := range []Options{{}, {Races: true}, {Races: true, Seed: 1}, {Races: true, Seed: 2}, {Seed: 5, Workers: 2}} {
			if err := s.run(load(t, o, text)); err != nil {
				t.Errorf("%s with %+v: %v", name, o, err)
			}
		}
	}
}

// TestMutations makes each mistake, and looks whether the emulator tells.
func TestMutations(t *testing.T) {
	caught := 0
	for _, m := range mutations {
		s := subjects[m.kernel]
		text := testdata(t, s.file)
		mutant := strings.Replace(text, m.old, m.new, 1)
		if mutant == text {
			t.Errorf("%s: %s has no %q", m.name, m.kernel, m.old)
			continue
		}
		err := s.run(load(t, Options{Races: true, Seed: 11, Budget: 1 << 16}, mutant))
		var f *Fault
		switch {
		case err == nil:
			t.Errorf("%s: not caught", m.name)
			continue
		case errors.As(err, &f) && slices.Contains(m.caught, f.Kind), errors.Is(err, errWrong) && slices.Contains(m.caught, wrong):
			caught++
			t.Logf("%-45s %v", m.name, err)
		default:
			t.Errorf("%s: caught, but by: %v", m.name, err)
		}
	}
	if caught < 12 {
		t.Errorf("only %d mutations were caught", caught)
	}
}
