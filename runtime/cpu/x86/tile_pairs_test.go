package x86

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"unsafe"
)

// TestTilesOfPairs holds tiles of integers against plain sums of the whole range of i16, which wrap, with
// and without an instruction for them.
func TestTilesOfPairs(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(9, 10))
	for _, f := range []Features{V3, V3 | AVXVNNI, V3 | V4, V3 | V4 | VNNI} {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here: its tiles are not tested", f)
			continue
		}
		for _, size := range tileSizes(f) {
			tile := Tile{Rows: size[0], Cols: size[1], Pairs: true, Fetch: r.IntN(3)}
			if tile.Check(f) != nil {
				continue // without the instruction a product takes one more register
			}
			t.Run(fmt.Sprintf("%s/%+v", f, tile), func(t *testing.T) {
				fn, code := compileTile(t, tile, f)
				if code.Scratch > 0 {
					t.Errorf("%s spills %d bytes", code.Name, code.Scratch)
				}
				for _, k := range []int{0, 1, 3, 4, 5, 9, 64} {
					for _, accumulate := range []int64{0, 1} {
						checkPairs(t, r, fn, tile, k, accumulate)
					}
				}
			})
		}
	}
}

func checkPairs(t *testing.T, r *rand.Rand, fn Func, tile Tile, k int, accumulate int64) {
	t.Helper()
	words := func(n int) []int32 {
		s := guarded(t, n)
		return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(s))), n)
	}
	draw := func(n int) []int32 {
		s := words(n)
		for i := range s {
			s[i] = int32(r.Uint32())
			if r.IntN(8) == 0 {
				s[i] = -1 << 31 // and 0
			}
			if r.IntN(8) == 0 {
				s[i] = -0x7FFF8000 // twice the least
			}
		}
		return s
	}
	count := 1 + r.IntN(tile.Cols)
	if k%2 == 0 {
		count = tile.Cols
	}
	a, b := draw(k*tile.Rows), draw(k*tile.Cols)
	half := func(w int32, i int) int32 { return int32(int16(w >> (16 * i))) }
	pointers := make([]unsafe.Pointer, tile.Rows)
	var rows, want [][]int32
	for i := range tile.Rows {
		row := draw(columnOffset + count)
		pointers[i] = unsafe.Pointer(unsafe.SliceData(row))
		w := append([]int32(nil), row...)
		for j := range count {
			sum := w[columnOffset+j] * int32(accumulate)
			for l := range k {
				for h := range 2 {
					sum += half(a[l*tile.Rows+i], h) * half(b[l*tile.Cols+j], h)
				}
			}
			w[columnOffset+j] = sum
		}
		rows, want = append(rows, row), append(want, w)
	}
	args := TileArgs{K: int64(k), A: unsafe.Pointer(unsafe.SliceData(a)), B: unsafe.Pointer(unsafe.SliceData(b)), C: unsafe.Pointer(&pointers[0]),
		COffset: 4 * columnOffset, Count: int64(count), Accumulate: accumulate, Fetch: uintptr(unsafe.Pointer(unsafe.SliceData(b)))}
	fn.Call(unsafe.Pointer(&args))
	for i := range rows {
		for j := range rows[i] {
			if rows[i][j] != want[i][j] {
				t.Fatalf("%+v, k=%d, %d columns, accumulate=%d: C[%d, %d] is %d, want %d", tile, k, count, accumulate, i, j-columnOffset, rows[i][j], want[i][j])
			}
		}
	}
}
