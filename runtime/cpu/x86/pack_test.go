package x86

import (
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"unsafe"
)

// TestPack holds packing of every number of rows against a plain loop, with guarded operands.
func TestPack(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(9, 10))
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here: its packing is not tested", f)
			continue
		}
		for rows := 1; rows <= 64; rows++ {
			if rows > 18 && rows%16 > 1 && rows%16 < 14 {
				continue
			}
			p, err := Pack{Rows: rows}.Program(f)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Compile(p, f)
			if err != nil {
				t.Fatal(err)
			}
			if c.Scratch > 0 && f&V4 != 0 {
				t.Errorf("%s for %s spills %d bytes", c.Name, f, c.Scratch)
			}
			fn := loadCode(t, c)
			for _, k := range []int{0, 1, 7, 8, 9, 15, 16, 17, 33, 64} {
				const offset = 2
				from := make([]unsafe.Pointer, rows)
				want := make([]float32, k*rows)
				for i := range from {
					row := guarded(t, offset+k)
					for j := range row {
						row[j] = float32(r.Int32N(1 << 20))
						if j >= offset {
							want[(j-offset)*rows+i] = row[j]
						}
					}
					from[i] = unsafe.Pointer(unsafe.SliceData(row))
				}
				to := guarded(t, k*rows)
				args := PackArgs{K: int64(k), From: unsafe.Pointer(&from[0]), Offset: 4 * offset, Ahead: int64(r.Int32()), To: unsafe.Pointer(unsafe.SliceData(to))}
				fn.Call(unsafe.Pointer(&args))
				for i := range want {
					if to[i] != want[i] {
						t.Fatalf("%s for %s, k=%d: element %d of row %d is %g, want %g", c.Name, f, k, i/rows, i%rows, to[i], want[i])
					}
				}
			}
		}
	}
}
