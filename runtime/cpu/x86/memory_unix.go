//go:build amd64 && (linux || darwin)

package x86

import "golang.org/x/sys/unix"

var memory = system{
	reserve: func(n int) ([]byte, error) {
		return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	},
	seal:    func(b []byte) error { return unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC) },
	release: unix.Munmap,
}
