package kernel_test

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// A contraction in tiles: all accesses are proved for all sizes or guarded, and a barrier or a guard
// that is missing is found.
func TestContractions(t *testing.T) {
	o := kernel.Options{Lanes: 32, Blocks: kernel.Blocks{Group: 4, Rows: 4, Columns: 2, Fragments: true}}
	for name, expected := range map[string]int{"matmul": 2, "scores": 2, "matmul16": 4, "scores16": 4} {
		k := kernel.New(kerneltest.Program(t, kerneltest.Examples[name]), o).Groups[0].Kernel
		if k.Group != 4 {
			t.Fatalf("%s is not computed in tiles\n%s", name, k)
		}
		ctx := sym.NewContext()
		for _, s := range []string{"b", "h", "n", "m", "k"} {
			if err := ctx.SetRange(s, 1, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Verify(ctx); err != nil {
			t.Error(err)
		}
		barriers, guards := 0, 0
		var spoil func(b *kernel.Block)
		spoil = func(b *kernel.Block) {
			for _, v := range b.List {
				switch {
				case v.Op == kernel.OpLoop:
					spoil(v.Loop.Body)
				case v.Op == kernel.OpBarrier:
					barriers++
					v.N = 0
					if err := k.Verify(nil); err == nil || !strings.Contains(err.Error(), "no barrier") {
						t.Errorf("%s: a barrier is missing: %v", name, err)
					}
					v.N = 1
				case len(v.Within) > 0:
					guards++
					list := v.Within
					v.Within = list[1:]
					if err := k.Verify(ctx); err == nil || !strings.Contains(err.Error(), "in bounds") {
						t.Errorf("%s: nothing guards an access: %v", name, err)
					}
					v.Within = list
				}
			}
		}
		spoil(k.Body)
		if barriers != expected || guards < 10 {
			t.Errorf("%s: %d barriers, %d guards", name, barriers, guards)
		}
		if err := k.Verify(ctx); err != nil {
			t.Error(err)
		}
	}
}
