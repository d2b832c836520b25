package x86

import "unsafe"

// Func is code that lies in an [Arena] and can be called.
type Func struct {
	Name string

	addr    uintptr
	watched *watched // nil: nobody does
}

// watched is code whose calls somebody is told of.
type watched struct {
	code *Code
	tell func(*Code)
}

// Addr is where the code lies.
func (f Func) Addr() uintptr { return f.addr }

// Call runs the code with the address of its argument block, by the rules of docs/abi.md.
// All that the block points to must be reachable for the garbage collector: the block's type
// has pointers where it holds addresses, or the caller keeps them alive. The arena must
// be open. A fault in the code is a fault of the caller's: a run-time panic, or with
// debug.SetPanicOnFault one for every address.
//
// The goroutine can be preempted when a call starts and not before it ends, so one call
// is to take less than 200 µs.
func (f Func) Call(args unsafe.Pointer) {
	if f.watched != nil {
		f.watched.tell(f.watched.code)
	}
	call(f.addr, args)
}
