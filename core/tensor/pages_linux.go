package tensor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of large pages, and few of them are not worth a word with the system.
const (
	hugePage = 2 << 20
	fewPages = 2 * hugePage
)

// largePages asks for large pages where memory has room for some: streams of weights are up to
// a fifth faster, and first touched in fewer faults. What the system makes of it is its own affair.
func largePages(b []byte) {
	if len(b) < fewPages {
		return
	}
	at := uintptr(unsafe.Pointer(&b[0]))
	from, to := (at+hugePage-1)&^(hugePage-1), (at+uintptr(len(b)))&^(hugePage-1)
	if from < to {
		_ = unix.Madvise(b[from-at:to-at], unix.MADV_HUGEPAGE)
	}
}
