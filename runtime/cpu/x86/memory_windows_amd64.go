package x86

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

var memory = system{
	reserve: func(n int) ([]byte, error) {
		p, err := windows.VirtualAlloc(0, uintptr(n), windows.MEM_COMMIT|windows.MEM_RESERVE, windows.PAGE_READWRITE)
		if err != nil {
			return nil, err
		}
		// The memory is not Go's, so its address may become a pointer.
		return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), n), nil
	},
	seal: func(b []byte) error {
		var before uint32
		return windows.VirtualProtect(uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), windows.PAGE_EXECUTE_READ, &before)
	},
	release: func(b []byte) error {
		return windows.VirtualFree(uintptr(unsafe.Pointer(&b[0])), 0, windows.MEM_RELEASE)
	},
}
