package wire

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapOpen maps a whole open file, read-only. The mapping outlives the file.
func mapOpen(f *os.File) ([]byte, func() error, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if st.Size() == 0 {
		return nil, func() error { return nil }, nil
	}
	h, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	defer windows.CloseHandle(h) // the view keeps what it needs
	addr, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ, 0, 0, uintptr(st.Size()))
	if err != nil {
		return nil, nil, err
	}
	// The address is the system's, not of Go's heap, so that it can be a pointer at once.
	b := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), int(st.Size()))
	return b, func() error { return windows.UnmapViewOfFile(addr) }, nil
}

// links is the number of names a file has.
func links(f *os.File) (uint64, error) {
	var info windows.ByHandleFileInformation
	err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info)
	return uint64(info.NumberOfLinks), err
}
