package tensor

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestTouch looks that memory has pages before it is used, and that what is little or empty is left alone.
func TestTouch(t *testing.T) {
	Touch(nil)
	Touch(make([]byte, 100))
	page := unix.Getpagesize()
	all, err := unix.Mmap(-1, 0, 3*hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(all) }()
	if err := unix.Madvise(all[:page], unix.MADV_POPULATE_WRITE); err != nil {
		t.Skipf("the system does not find pages before they are used: %v", err)
	}
	b := all[page+1 : len(all)-5] // pages in part are not touched
	Touch(b)
	resident := make([]byte, len(all)/page)
	if _, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&all[0])), uintptr(len(all)), uintptr(unsafe.Pointer(&resident[0]))); e != 0 {
		t.Fatal(e)
	}
	for i, r := range resident[2 : len(resident)-1] {
		if r&1 == 0 {
			t.Fatalf("page %d of %d is not there", i+2, len(resident))
		}
	}
	for i, x := range all {
		if x != 0 {
			t.Fatalf("byte %d is %d", i, x)
		}
	}
}

// TestLargePages looks that large pages are asked for where one lies in memory as a whole, and nowhere else.
func TestLargePages(t *testing.T) {
	if LargePages(nil) || LargePages(make([]byte, 100)) || LargePages(make([]byte, hugePage-1)) {
		t.Error("there are large pages in memory that is smaller than one")
	}
	all, err := unix.Mmap(-1, 0, 3*hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(all) }()
	if unix.Madvise(all, unix.MADV_HUGEPAGE) != nil {
		t.Skip("the system has none")
	}
	if !LargePages(all[1:]) {
		t.Error("there is none in memory that has room for two")
	}
}
