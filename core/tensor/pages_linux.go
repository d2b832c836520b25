package tensor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Large pages, and how much memory is worth a word with the system.
const (
	hugePage = 2 << 20
	fewPages = 2 * hugePage
)

// largePages asks for large pages for memory that begins with one: streams of weights are up to a
// fifth faster, and first touched in fewer faults. What the system makes of it is its own affair.
func largePages(b []byte) {
	_ = unix.Madvise(b[:len(b)&^(hugePage-1)], unix.MADV_HUGEPAGE)
}

// LargePages asks for large pages for those that lie in b as a whole, and says whether the system knows of them.
func LargePages(b []byte) bool {
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (hugePage - 1))
	n := (len(b) - off) &^ (hugePage - 1)
	return n > 0 && unix.Madvise(b[off:off+n], unix.MADV_HUGEPAGE) == nil
}

// Touch has the system find pages for all of what is new memory, by one call of it: while a page is found, which takes a
// large one some 100 µs, a thread that is in code can not be stopped for Go's collector, and one that calls the system need not be.
// Where the system does not know of it, or it is little, pages are found as they are used.
func Touch(b []byte) {
	page := uintptr(unix.Getpagesize())
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (page - 1))
	if n := (len(b) - off) &^ int(page-1); n >= hugePage {
		_ = unix.Madvise(b[off:off+n], unix.MADV_POPULATE_WRITE)
	}
}

// Outside gives memory that Go's collector neither counts nor clears, zero and in large pages, and what gives it back.
// It is nil where it is so little that Go's does, or the system has none.
func Outside(n int64) (b []byte, free func()) {
	if n < fewPages || n > maxBytes {
		return nil, nil
	}
	all, err := unix.Mmap(-1, 0, int(n+hugePage), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, nil
	}
	off := int64(-uintptr(unsafe.Pointer(&all[0])) & (hugePage - 1))
	b = all[off : off+n : off+n]
	largePages(all[off:])
	return b, func() { _ = unix.Munmap(all) }
}
