package x86

import (
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"unsafe"
)

// TestLines holds packing of rows that lie at one distance against a plain loop, with guarded operands.
func TestLines(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(17, 18))
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here: its packing is not tested", f)
			continue
		}
		for _, cols := range []int{8, 16, 32, 64} {
			p, err := Lines{Cols: cols}.Program(f)
			if kind, _ := vectors(f); 32*cols%kind.Bits() != 0 || 32*cols > 8*kind.Bits() {
				if err == nil {
					t.Errorf("%d columns for %s are no mistake", cols, f)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			c, err := Compile(p, f)
			if err != nil {
				t.Fatal(err)
			}
			if c.Scratch > 0 {
				t.Errorf("%s for %s spills %d bytes", c.Name, f, c.Scratch)
			}
			fn := loadCode(t, c)
			for range 40 {
				k, panels := 1+r.IntN(20), 1+r.IntN(4)
				step := panels*cols + r.IntN(10)
				apart := k*cols + r.IntN(10)
				from, to := guarded(t, (k-1)*step+panels*cols), guarded(t, (panels-1)*apart+k*cols)
				for i := range from {
					from[i] = float32(r.Int32N(1 << 20))
				}
				want := make([]float32, len(to))
				for i := range to {
					to[i], want[i] = -1, -1
				}
				for i := range k {
					for j := range panels * cols {
						want[j/cols*apart+i*cols+j%cols] = from[i*step+j]
					}
				}
				args := LinesArgs{K: int64(k), Panels: int64(panels), From: unsafe.Pointer(&from[0]), Step: int64(4 * step), Ahead: int64(4 * r.Int32()),
					To: unsafe.Pointer(&to[0]), Apart: int64(4 * apart)}
				fn.Call(unsafe.Pointer(&args))
				for i := range want {
					if to[i] != want[i] {
						t.Fatalf("%s for %s, %d rows of %d panels: element %d is %g, want %g", c.Name, f, k, panels, i, to[i], want[i])
					}
				}
			}
		}
	}
}
