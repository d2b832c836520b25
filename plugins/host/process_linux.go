package host

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// leash ends a process group when the host ends, however that comes: by Close, by a
// crash, by SIGKILL. It is a pipe that nobody writes to. Its write end is the host's
// alone, and its read end is open in the plugin; when the write end closes, the kernel
// sends the signal that was asked for to the group that owns the read end. The death
// signal of prctl(2) would reach the plugin and not what the plugin has started.
type leash struct{ r, w *os.File }

// newLeash prepares a command: it gets a process group of its own, and the pipe.
func newLeash(cmd *exec.Cmd) (*leash, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles = append(cmd.ExtraFiles, r)
	return &leash{r, w}, nil
}

// tie names the group. Where the kernel has no such signals, the plugin outlives a host
// that is killed.
func (l *leash) tie(pid int) {
	fd := l.r.Fd()
	_, _ = unix.FcntlInt(fd, unix.F_SETOWN, -pid)
	_, _ = unix.FcntlInt(fd, unix.F_SETSIG, int(unix.SIGKILL))
	if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err == nil {
		_, _ = unix.FcntlInt(fd, unix.F_SETFL, flags|unix.O_ASYNC)
	}
	_ = l.r.Close()
}

// release ends the group.
func (l *leash) release() {
	_ = l.r.Close()
	_ = l.w.Close()
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
