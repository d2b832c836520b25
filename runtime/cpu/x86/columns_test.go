package x86

import (
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"unsafe"
)

// TestColumns holds packing of columns in runs against a plain loop; memory before and behind what a run
// reads can not be touched.
func TestColumns(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(13, 14))
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here: its packing is not tested", f)
			continue
		}
		kind, _ := vectors(f)
		lanes := kind.Bits() / 32
		for _, c := range []Columns{{32, 2, 1}, {32, 2, 2}, {32, 2, 3}, {32, 1, 4}, {32, 1, 5}, {32, 1, 6}, {32, 1, 7}, {16, 1, 1}, {48, 3, 2}} {
			p, err := c.Program(f)
			if err != nil {
				t.Fatal(err)
			}
			code, err := Compile(p, f)
			if err != nil {
				t.Fatal(err)
			}
			if code.Scratch > 0 {
				t.Errorf("%s for %s spills %d bytes", code.Name, f, code.Scratch)
			}
			fn := loadCode(t, code)
			for _, k := range []int{0, 1, 3, 4, 5, 8, 19} {
				list := make([]int32, k+1)
				for i := range list {
					list[i] = 4 * r.Int32N(20)
				}
				args := ColumnsArgs{K: int64(k), List: unsafe.Pointer(&list[0])}
				want := make([]float32, k*c.Cols)
				for i := range want {
					want[i] = -1
				}
				for v := range c.Vectors {
					for i := range k {
						clear(want[i*c.Cols+v*lanes:][:lanes])
					}
					lane := 0
					for s := range c.Runs {
						n := r.IntN(lanes - lane + 1)
						data := guarded(t, 20+max(n, 1)) // the last one that a run reads may be the last there is
						for i := range data {
							data[i] = float32(r.IntN(1 << 20))
						}
						at := v*c.Runs + s
						args.From[at] = uintptr(unsafe.Pointer(&data[0])) - uintptr(4*lane)
						for l := range n {
							args.Lane[at] |= 1 << (lane + l)
							for i := range k {
								want[i*c.Cols+v*lanes+lane+l] = data[int(list[i])/4+l]
							}
						}
						lane += n
					}
				}
				to := guarded(t, max(1, k*c.Cols))
				for i := range to {
					to[i] = -1
				}
				args.To = unsafe.Pointer(&to[0])
				fn.Call(unsafe.Pointer(&args))
				for i := range want {
					if to[i] != want[i] {
						t.Fatalf("%s for %s, k=%d: column %d of row %d is %g, want %g", code.Name, f, k, i%c.Cols, i/c.Cols, to[i], want[i])
					}
				}
			}
		}
		if (Columns{Cols: 32, Vectors: 2, Runs: 4}).Check(f) == nil || (Columns{Cols: lanes, Vectors: 2, Runs: 1}).Check(f) == nil {
			t.Errorf("too many runs, or too wide a vector, are accepted for %s", f)
		}
	}
}
