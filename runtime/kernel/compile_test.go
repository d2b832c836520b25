package kernel_test

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// inGo runs kernels as portable Go.
func inGo() []kerneltest.Machine {
	frame := new(kernel.Frame)
	return []kerneltest.Machine{{Name: "Go", Options: kernel.Options{Lanes: kernel.GoLanes, Scatters: true, Blocked: true},
		Run: func(t testing.TB, c *kernel.Cut, memory [][]byte) (failed bool) {
			t.Helper()
			k, err := kernel.Compile(c.Kernel)
			if err != nil {
				t.Fatal(err)
			}
			var at []unsafe.Pointer
			for _, m := range memory {
				at = append(at, unsafe.Pointer(unsafe.SliceData(m)))
			}
			ranges := make([]int64, 2*len(c.Extents))
			for i := range c.Pieces() {
				c.Piece(i, ranges)
				failed = k.Run(frame, c.Bound, at, ranges) || failed
			}
			return failed
		}}}
}

// Kernels in Go have the bits of the evaluator.
func TestCompiled(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	sizes := []int64{1, 3, 31, 32, 33, 70}
	for name, src := range kerneltest.Examples {
		p := kerneltest.Program(t, src)
		for range 4 {
			bind := make([]int64, len(p.Syms))
			for points := int64(1 << 20); points > 1<<12; {
				points = 1
				for i := range bind {
					bind[i] = sizes[r.IntN(len(sizes))]
					points *= bind[i]
				}
			}
			if groups, _, compared := kerneltest.Check(t, p, bind, r, 0, false, inGo()); groups == 0 || compared < groups {
				t.Fatalf("%s %v: %d kernels, %d results compared", name, bind, groups, compared)
			}
		}
	}
	groups := 0
	for seed := range 60 {
		n, _ := kerneltest.CheckRandom(t, rand.New(rand.NewPCG(uint64(seed), 9)), inGo())
		if groups += n; t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if groups < 100 {
		t.Errorf("only %d kernels", groups)
	}
}

// A kernel of other lanes, and one for a group of vectors, are none for Go.
func TestCompiledRefuses(t *testing.T) {
	p := kerneltest.Program(t, kerneltest.Examples["softmax"])
	k := kernel.New(p, kernel.Options{Lanes: 16}).Groups[0].Kernel
	if _, err := kernel.Compile(k); err == nil {
		t.Error("a kernel of 16 lanes was compiled")
	}
}
