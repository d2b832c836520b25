package x86

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"
)

// TestTilesOfPanels holds tiles that multiply the first columns of a packed panel to tiles of all of it: where an element has one
// sum in both, the bits are the same, and nothing else is read or written.
func TestTilesOfPanels(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(13, 14))
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here: its tiles are not tested", f)
			continue
		}
		kind, _ := vectors(f)
		lanes := kind.Bits() / 32
		for _, rows := range []int{1, 2, 5, 6, 8, 13, 14} {
			for form := range 8 {
				whole := Tile{Rows: rows, Cols: 2 * lanes, Strided: form&1 != 0, Panels: form&2 != 0, Weights: Weights(form % 3), Fetch: form % 3}
				if form == 7 {
					whole.Weights, whole.Strided, whole.Pairs = WeightsF32, false, true
				}
				if whole.Check(f) != nil {
					continue
				}
				half := whole
				half.Cols, half.Of = lanes, whole.Cols
				t.Run(fmt.Sprintf("%s/%+v", f, half), func(t *testing.T) {
					all, _ := compileTile(t, whole, f)
					some, code := compileTile(t, half, f)
					if code.Scratch > 0 {
						t.Errorf("%s spills %d bytes", code.Name, code.Scratch)
					}
					for _, k := range []int{0, 1, 3, 4, 5, 9, 64} {
						for _, count := range []int{1, lanes - 1, lanes} {
							p := newProblem(t, r, whole, f, k, count, k%2 == 0)
							var before [][]float32
							for _, row := range p.rows {
								before = append(before, slices.Clone(row))
							}
							all.Call(unsafe.Pointer(&p.args))
							var want [][]float32
							for i, row := range p.rows {
								want = append(want, slices.Clone(row))
								copy(row, before[i])
							}
							if size := k * whole.Cols * whole.Weights.Bytes() / 4; size > 0 { // the last row of the panel ends with what is multiplied
								own := size - (whole.Cols-half.Cols)*whole.Weights.Bytes()/4
								b := guarded(t, own)
								copy(b, unsafe.Slice((*float32)(p.args.B), own))
								p.args.B = unsafe.Pointer(unsafe.SliceData(b))
							}
							some.Call(unsafe.Pointer(&p.args))
							if !whole.Pairs {
								if err := p.check(); err != nil {
									t.Errorf("%s, k=%d, %d columns: %v", code.Name, k, count, err)
								}
							}
							if !whole.Pairs && !(half.Single(f) && whole.Single(f)) {
								continue
							}
							for i, row := range p.rows {
								if !slices.EqualFunc(row, want[i], sameBits) {
									t.Fatalf("%s, k=%d, %d columns: row %d is %v, want %v", code.Name, k, count, i, row, want[i])
								}
							}
						}
					}
				})
			}
		}
		for _, bad := range []Tile{{Rows: 1, Cols: 2 * lanes, Of: lanes}, {Rows: 1, Cols: 2 * lanes, Of: 4 * lanes, List: true}, {Rows: 1, Cols: 2 * lanes, Of: 4 * lanes, Twin: true}} {
			if bad.Check(f) == nil {
				t.Errorf("%s: %+v is a tile", f, bad)
			}
		}
	}
}

// sameBits compares numbers that may be any bits.
func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
