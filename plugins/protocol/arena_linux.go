package protocol

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// arenaFile puts slices into a sealed memory file: who maps it can not write to it, and
// it is gone when the last one closes it. The path is good for processes of the same
// user.
func arenaFile(slices [][]byte) (*os.File, string, error) {
	fd, err := unix.MemfdCreate("pitopt-arena", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, "", err
	}
	f := os.NewFile(uintptr(fd), "pitopt-arena")
	for _, b := range slices {
		if _, err := f.Write(b); err != nil {
			_ = f.Close()
			return nil, "", err
		}
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		_ = f.Close()
		return nil, "", err
	}
	return f, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()), nil
}

func closeArena(f *os.File) error { return f.Close() }
