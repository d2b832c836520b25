package emit_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// tiers are those that this machine can run.
func tiers(t testing.TB) (out []x86.Features) {
	f, err := x86.Usable()
	if err != nil {
		t.Fatal(err)
	}
	if f&x86.V4 != 0 {
		out = append(out, f)
	}
	if f&x86.V3 != 0 {
		out = append(out, f&(x86.V3|x86.AVXVNNI))
	}
	if len(out) == 0 {
		t.Skip("no machine code runs here")
	}
	return out
}

// machines are the tiers.
func machines(t testing.TB) (out []kerneltest.Machine) {
	for _, f := range tiers(t) {
		out = append(out, kerneltest.Machine{Name: "machine code (" + f.String() + ")", Options: kernel.Options{Lanes: emit.Lanes(f), Wide: emit.Wide(f), Scatters: true, Blocked: true, Squares: true},
			Run: func(t testing.TB, c *kernel.Cut, memory [][]byte) (failed bool) {
				fn := codes.of(t, c.Kernel, f)
				ranges := make([]int64, 2*len(c.Extents))
				for i := range c.Pieces() {
					c.Piece(i, ranges)
					block := make([]uint64, 0, emit.Words(c.Kernel)+1)
					for _, m := range memory {
						block = append(block, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m)))))
					}
					for _, n := range append(append([]int64(nil), c.Numbers...), ranges...) {
						block = append(block, uint64(n))
					}
					block = append(block, 0)
					fn.Call(unsafe.Pointer(&block[0]))
					failed = failed || block[len(block)-1] != 0
				}
				return failed
			}})
	}
	return out
}

// machine keeps code of kernels by their text, which is all that it depends on.
type machine struct {
	arena x86.Arena
	funcs map[string]x86.Func
}

var codes = machine{funcs: map[string]x86.Func{}}

func (c *machine) of(t testing.TB, k *kernel.Kernel, f x86.Features) x86.Func {
	t.Helper()
	fn, ok := c.funcs[k.String()]
	if ok {
		return fn
	}
	prog, err := emit.Program(k, f)
	if err != nil {
		t.Fatalf("%v\n%s", err, k)
	}
	code, err := x86.Compile(prog, f)
	if err != nil {
		t.Fatalf("%v\n%s", err, k)
	}
	fs, err := c.arena.Load(code)
	if err != nil {
		t.Fatal(err)
	}
	c.funcs[k.String()] = fs[0]
	return fs[0]
}

// All kinds of ragged and empty sizes.
func TestExamples(t *testing.T) {
	all := maps.Clone(kerneltest.Examples)
	maps.Copy(all, kerneltest.Scatters)
	for name, src := range all {
		t.Run(name, func(t *testing.T) {
			p := kerneltest.Program(t, src)
			r := rand.New(rand.NewPCG(1, 2))
			sizes := []int64{1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 65, 100, 130, 0}
			if name == "positions" { // of nothing there is none
				sizes = sizes[:len(sizes)-1]
			}
			for range 24 {
				bind := make([]int64, len(p.Syms))
				for {
					points := int64(1)
					for i := range bind {
						bind[i] = sizes[r.IntN(len(sizes))]
						points *= bind[i]
					}
					if points < 1<<12 { // seconds for the evaluator
						break
					}
				}
				special := 0
				if r.IntN(2) == 0 && name != "layernorm" && name != "embedding" && name != "residual" && name != "norm" {
					special = 20
				}
				groups, refused, compared := kerneltest.Check(t, p, bind, r, special, false, machines(t))
				if refused > 0 || groups == 0 || compared < groups && !slices.Contains(bind, 0) {
					t.Fatalf("%v: %d kernels, %d stages refused, %d results compared", bind, groups, refused, compared)
				}
			}
		})
	}
}

// What goes over the same rows is one kernel.
func TestFused(t *testing.T) {
	for _, name := range []string{"layernorm", "residual", "softmax", "average", "norm", "gelu", "flat"} {
		s := kernel.New(kerneltest.Program(t, kerneltest.Examples[name]), kernel.Options{Lanes: 16})
		if len(s.Groups) != 1 {
			t.Errorf("%s is %d kernels: %v", name, len(s.Groups), s.Refused)
		}
	}
}

// Random programs: machine code of every tier has the bits of the evaluator, and where all is
// exact both have those of the interpreter.
func TestRandom(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	groups, compared := 0, 0
	for seed := range rounds {
		n, m := kerneltest.CheckRandom(t, rand.New(rand.NewPCG(uint64(seed), 7)), machines(t))
		groups, compared = groups+n, compared+m
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d programs, %d runs of kernels, %d results compared with the interpreter's", rounds, groups, compared)
	if n := len(tiers(t)); groups < 3*n*rounds || compared < n*rounds/2 {
		t.Error("that is too few")
	}
}

func FuzzKernels(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		kerneltest.CheckRandom(t, rand.New(rand.NewPCG(seed, 8)), machines(t))
	})
}
