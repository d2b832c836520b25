package x86

import (
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"unsafe"
)

// TestWindow holds windows of every form against plain loops, with guarded operands, and what lies
// beside the columns of C untouched.
func TestWindow(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(11, 12))
	for _, f := range tiers {
		if f&^here() != 0 {
			t.Logf("code for %s can not run here: its windows are not tested", f)
			continue
		}
		kind, registers := vectors(f)
		lanes := kind.Bits() / 32
		for _, rows := range []int{1, 2, 4, 8} {
			for vectors := 1; rows*vectors <= registers/2; vectors++ {
				checkWindow(t, r, Window{Rows: rows, Vectors: vectors}, f, lanes)
			}
		}
		for _, w := range []Window{{Rows: 3, Vectors: 1}, {Rows: 1}, {Rows: 8, Vectors: 1 + registers/16}} {
			if w.Check(f) == nil {
				t.Errorf("%+v is accepted for %s", w, f)
			}
		}
	}
	if (Window{Rows: 1, Vectors: 1}).Check(0) == nil {
		t.Error("a window for no machine code is accepted")
	}
}

func checkWindow(t *testing.T, r *rand.Rand, w Window, f Features, lanes int) {
	p, err := w.Program(f)
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
	for range 6 {
		taps, turns := 1+r.IntN(26), 1+r.IntN(3)
		count := (w.Vectors-1)*lanes + 1 + r.IntN(lanes)
		rows, pitch, pitchC := turns*w.Rows, w.Vectors*lanes+r.IntN(9), count+r.IntN(4)
		list, weights := make([]int32, taps), guarded(t, taps)
		for i := range list {
			list[i], weights[i] = int32(4*r.IntN(3*pitch)), float32(r.IntN(9)-4)
		}
		b, c := guarded(t, (rows-1)*pitch+3*pitch+w.Vectors*lanes), guarded(t, (rows-1)*pitchC+count)
		for i := range b {
			b[i] = float32(r.IntN(9) - 4)
		}
		want := make([]float32, len(c))
		for i := range c {
			c[i] = 77
			want[i] = 77
			if row, col := i/pitchC, i%pitchC; col < count {
				want[i] = 0
				for k, at := range list {
					want[i] += weights[k] * b[row*pitch+col+int(at)/4]
				}
			}
		}
		args := WindowArgs{Taps: int64(taps), List: unsafe.Pointer(&list[0]), Weights: unsafe.Pointer(&weights[0]), B: unsafe.Pointer(&b[0]), BRow: int64(4 * pitch),
			C: unsafe.Pointer(&c[0]), CRow: int64(4 * pitchC), Turns: int64(turns), Count: int64(count)}
		fn.Call(unsafe.Pointer(&args))
		for i := range c {
			if c[i] != want[i] {
				t.Fatalf("%s for %s, %d taps, %d turns, %d columns: element %d is %g, want %g", code.Name, f, taps, turns, count, i, c[i], want[i])
			}
		}
	}
}
