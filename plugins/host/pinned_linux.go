package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// pinned makes the command of an executable and gives the digest of its bytes. What
// runs is a sealed copy that was made while hashing: nobody can swap the file between
// the two. The copy is closed with the closer, after the start.
func pinned(path string) (cmd *exec.Cmd, digest string, copied io.Closer, err error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, "", nil, err
	}
	defer in.Close()
	fd, err := unix.MemfdCreate("pitopt-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all of them may be run
		fd, err = unix.MemfdCreate("pitopt-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, "", nil, err
	}
	f := os.NewFile(uintptr(fd), "pitopt-plugin")
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), in); err != nil {
		return nil, "", nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, "", nil, err
	}
	// A file open for writing can not be run: the plugin gets one that is not.
	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, "", nil, err
	}
	_ = f.Close()
	cmd = exec.Command("/proc/self/fd/3") // as the child numbers its files; a script's interpreter opens it again
	cmd.Args = []string{path}
	cmd.ExtraFiles = []*os.File{ro}
	return cmd, hex.EncodeToString(sum.Sum(nil)), ro, nil
}
