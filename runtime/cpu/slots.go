package cpu

import (
	"runtime"
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/kernel"
)

// Slots are what the buffers of kernels are.
const (
	slotScores = iota
	slotM
	slotT
	slotF
	slotBy
	slotL
	slotSums
	slotIota
	slotZeros
	slotA // queries; the result
	slotB // keys; values
	slotShown
	slotLeaf
)

var slots = map[string]int{"s": slotScores, "p": slotScores, "m": slotM, "m1": slotM, "t": slotT, "t1": slotT, "f": slotF, "by": slotBy, "x": slotScores, "l": slotL, "l1": slotL, "o": slotSums, "o1": slotSums,
	"position": slotIota, "z": slotZeros, "q": slotA, "g": slotA, "y": slotA, "k": slotB, "v": slotB, "shown": slotShown}

// slotsOf are those of a kernel's buffers, -1 for scratch.
func slotsOf(t *kernel.Tile, k *kernel.Kernel) (out []int) {
	for _, b := range k.Buffers {
		slot := -1
		for name, s := range slots {
			if t.Named(name) == b.Of {
				slot = s
			}
		}
		if i := slices.Index(t.Leaves, b.Of); i >= 0 {
			slot = slotLeaf + i
		}
		out = append(out, slot)
	}
	return out
}

// call calls a kernel for some rows.
func (w *attender) call(k *codeOf, b *kernel.Bound, rows int) {
	if k.inGo != nil {
		w.callInGo(k, b, rows)
		return
	}
	scratch := unsafe.Pointer(unsafe.SliceData(w.scratch))
	for i, m := range b.Buffers {
		if m.Scratch {
			w.words[i] = int64(uintptr(scratch))
			scratch = unsafe.Add(scratch, roundUp(b.Scratch[i], 64))
			continue
		}
		w.words[i] = int64(uintptr(w.at[k.slots[i]]))
	}
	at := len(b.Buffers) + copy(w.words[len(b.Buffers):], b.Numbers)
	for i, n := range b.Extents {
		w.words[at+2*i], w.words[at+2*i+1] = 0, n
	}
	if b.Kernel.Ranges != nil {
		w.words[at+1] = int64(rows)
	}
	k.fn.Call(unsafe.Pointer(&w.words[0]))
	runtime.KeepAlive(w)
}
