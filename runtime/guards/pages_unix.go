//go:build linux || darwin

package guards

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pitopt/pitopt/core/diag"
)

// Works says whether there are guards on this system.
const Works = true

// reserve gives size bytes between two pages that can not be touched. So many bytes lie beyond.
func reserve(size, beyond int64, side Side) (all, b []byte, err error) {
	page := int64(unix.Getpagesize())
	room := (size + page - 1) / page * page
	all, err = unix.Mmap(-1, 0, int(room+2*page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, diag.New(diag.Run, "%d bytes between guards: %v", size, err)
	}
	for _, g := range [][]byte{all[:page], all[page+room:]} {
		if err := unix.Mprotect(g, unix.PROT_NONE); err != nil {
			_ = unix.Munmap(all)
			return nil, nil, diag.New(diag.Run, "guards: %v", err)
		}
	}
	at := page + room - size + beyond
	if side == Before {
		at = page - beyond
	}
	if size == 0 {
		return all, []byte{}, nil
	}
	return all, unsafe.Slice(&all[at], size), nil
}

func release(all []byte) { _ = unix.Munmap(all) }
