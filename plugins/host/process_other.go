//go:build !unix

package host

import "os/exec"

// leash is nothing here: a plugin outlives a host that is killed.
type leash struct{}

func newLeash(*exec.Cmd) (*leash, error) { return &leash{}, nil }

func (*leash) tie(int)  {}
func (*leash) release() {}

// killGroup has nothing to do: there are no process groups here, and what a plugin has
// started is its own affair.
func killGroup(int) {}
