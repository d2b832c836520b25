//go:build linux || darwin || windows

package x86

import "unsafe"

// callable tells whether there is a trampoline.
const callable = true

// call runs the code at an address. The stack check at its start is where the goroutine
// can be preempted, and where its stack grows.
//
//go:noescape
func call(code uintptr, args unsafe.Pointer)
