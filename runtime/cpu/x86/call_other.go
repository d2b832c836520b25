//go:build !amd64 || !(linux || darwin || windows)

package x86

import "unsafe"

// callable tells whether there is a trampoline.
const callable = false

// call can not be reached: without a trampoline no arena loads code.
func call(uintptr, unsafe.Pointer) { panic("x86: machine code can not be called here") }
