package cpu

import (
	"math"
	"runtime"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// columns is code.
type columns x86.Columns

func (c columns) Program(f x86.Features) (*x86.Prog, error) { return x86.Columns(c).Program(f) }

// packRuns packs columns of B in a panel of some width that lie in runs of elements side by side, if those are long enough:
// all of a matrix' row, or pixels of an image's.
func (w *worker[T]) packRuns(to []T, width int, data []T, base int, lines, offs []int) (done bool, err error) {
	lanes := w.cut.nr / 2
	vectors := width / lanes
	g := &w.strip
	*g = x86.ColumnsArgs{K: int64(len(offs)), List: unsafe.Pointer(&w.list[0])}
	most := 1
	for v := range vectors {
		if n := runsOf(lines[min(v*lanes, len(lines)):min((v+1)*lanes, len(lines))]); n > x86.MostRuns {
			return false, nil
		} else if n > most {
			most = n
		}
	}
	if !w.short || len(offs) != w.lengthB {
		return false, nil
	}
	at := 1 // vectors in a call
	if most*vectors <= x86.MostRuns {
		at = vectors
	}
	f, err := w.strips(columns{Cols: width, Vectors: at, Runs: most})
	if err != nil {
		return false, err
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(data))) + 4*uintptr(base+offs[0])
	for i := range g.From { // a load without lanes takes hundreds of cycles where there is no memory
		g.From[i] = first + 4*uintptr(lines[0])
	}
	for v := 0; v < vectors; v += at {
		clear(g.Lane[:])
		for i := range at {
			run := i*most - 1
			for l := range lanes {
				c := (v+i)*lanes + l
				if c >= len(lines) {
					break
				}
				if l == 0 || lines[c] != lines[c-1]+1 {
					run++
					g.From[run] = first + 4*uintptr(lines[c]-l)
				}
				g.Lane[run] |= 1 << l
			}
		}
		g.To = unsafe.Pointer(&to[v*lanes])
		f.Call(unsafe.Pointer(g))
	}
	runtime.KeepAlive(data)
	return true, nil
}

// shorten makes a list of bytes behind the first address of one of elements; it is false where they
// are too far apart.
func shorten(out []int32, list []int) bool {
	for k, at := range list {
		if at -= list[0]; at < math.MinInt32/4 || at > math.MaxInt32/4 {
			return false
		}
		out[k] = int32(4 * at)
	}
	return true
}

// strips gives code that packs columns.
func (w *worker[T]) strips(c columns) (f x86.Func, err error) {
	at := &w.columns[c.Cols/w.cut.nr][c.Vectors-1][c.Runs-1]
	if at.Addr() == 0 {
		*at, err = w.cut.code.code(c)
	}
	return *at, err
}

// runsOf counts runs of addresses that go up one by one.
func runsOf(list []int) int {
	n := min(1, len(list))
	for i := 1; i < len(list); i++ {
		if list[i] != list[i-1]+1 {
			n++
		}
	}
	return n
}
