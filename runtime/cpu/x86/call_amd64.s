//go:build linux || darwin || windows

#include "textflag.h"
#include "funcdata.h"

// func call(code uintptr, args unsafe.Pointer)
//
// The frame is the code's scratch (MaxScratch) and what aligning it to 64 takes. It is no
// NOSPLIT function: the assembler puts a stack check in front, which makes room for the
// frame and lets the scheduler take the goroutine. While the code runs the stack can not
// move: that happens at stack checks of the goroutine itself, or where it is stopped at
// a point that the compiler says is safe, and no instruction here is one.
//
// SP and BP are as Go's ABI0 has them while the code runs, so that what SP points to is the way back
// here: a traceback from a fault or a profile finds the caller. All else may be changed: ABI0
// has no registers that a callee saves, and the compiler's wrapper around
// this function sets up R14 and X15 again.
TEXT ·call(SB), 0, $4160-16
	NO_LOCAL_POINTERS
	MOVQ code+0(FP), AX
	MOVQ args+8(FP), DI
	LEAQ 63(SP), SI
	ANDQ $~63, SI
	CALL AX
	VZEROUPPER
	RET
