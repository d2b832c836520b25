package x86

import (
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"
)

// TestTwinTiles holds tiles of two panels of B to tiles of one: the bits are the same, whole or ragged, and nothing else is
// written.
func TestTwinTiles(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const f = V3 | V4
	if f&^here() != 0 {
		t.Skipf("code for %s can not run here", Features(f))
	}
	r := rand.New(rand.NewPCG(11, 12))
	for _, weights := range []Weights{WeightsF32, WeightsF16, WeightsBF16} {
		one := Tile{Rows: 1, Cols: 32, Weights: weights}
		twin := Tile{Rows: 1, Cols: 64, Weights: weights, Twin: true}
		single, _ := compileTile(t, one, f)
		both, code := compileTile(t, twin, f)
		if code.Scratch > 0 {
			t.Errorf("%s spills %d bytes", code.Name, code.Scratch)
		}
		for _, k := range []int{0, 1, 3, 4, 5, 9, 384} {
			for _, count := range []int{33, 47, 48, 49, 64} {
				for _, accumulate := range []bool{false, true} {
					left, right := newProblem(t, r, one, f, k, 32, accumulate), newProblem(t, r, one, f, k, count-32, accumulate)
					size := k * 32 * weights.Bytes() / 4
					panels := guarded(t, 2*size+40) // with something between them
					b := func(p *problem) []float32 { return unsafe.Slice((*float32)(p.args.B), size) }
					copy(panels, b(left))
					copy(panels[size+40:], b(right))
					c := slices.Concat(left.rows[0], right.rows[0][columnOffset:])
					row := guarded(t, len(c))
					copy(row, c)
					to := unsafe.Pointer(unsafe.SliceData(row))
					args := left.args
					args.B, args.Apart = unsafe.Pointer(unsafe.SliceData(panels)), int64(4*(size+40))
					args.C, args.Count = unsafe.Pointer(&to), int64(count)
					right.args.A = left.args.A
					single.Call(unsafe.Pointer(&left.args))
					single.Call(unsafe.Pointer(&right.args))
					both.Call(unsafe.Pointer(&args))
					if want := slices.Concat(left.rows[0], right.rows[0][columnOffset:]); !slices.Equal(row, want) {
						t.Fatalf("weights %d, k=%d, %d columns, accumulate=%t: %v, want %v", weights, k, count, accumulate, row, want)
					}
				}
			}
		}
	}
	for _, bad := range []Tile{{Rows: 1, Cols: 48, Twin: true}, {Rows: 1, Cols: 64, Twin: true, List: true}} {
		if bad.Check(f) == nil {
			t.Errorf("%+v is a tile", bad)
		}
	}
	if (Tile{Rows: 1, Cols: 32, Twin: true}).Fits(V3) {
		t.Error("sums of two panels fit the registers of AVX2")
	}
}
