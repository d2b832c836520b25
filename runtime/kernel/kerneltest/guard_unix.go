//go:build unix

package kerneltest

import (
	"syscall"
	"testing"
)

// Guarded gives memory that ends where no memory is: what reads or writes one element too many
// faults.
func Guarded(t testing.TB, n int) ([]byte, func()) {
	t.Helper()
	page := syscall.Getpagesize()
	size := (n+page-1)/page*page + page
	mem, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mprotect(mem[size-page:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return mem[size-page-n : size-page], func() { syscall.Munmap(mem) }
}
