//go:build unix && !linux

package host

import (
	"os/exec"
	"syscall"
)

// leash is nothing here: a plugin outlives a host that is killed.
type leash struct{}

// newLeash prepares a command: it gets a process group of its own.
func newLeash(cmd *exec.Cmd) (*leash, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &leash{}, nil
}

func (*leash) tie(int)  {}
func (*leash) release() {}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
