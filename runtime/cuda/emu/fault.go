package emu

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// Fault is what a kernel did wrong. It is wrapped in the driver.Error of the launch.
type Fault struct {
	Kind   Kind
	Kernel string
	Line   int    // of the text of the module, from 1
	Instr  string // the instruction, as written
	Block  driver.Dim
	Thread driver.Dim // of the first lane that did it
	Msg    string
	// Other is the line of the access that a race is with, else 0.
	Other int
}

// Kind is a class of faults.
type Kind int

// The kinds of faults, each with the result that CUDA has for it.
const (
	OutOfBounds Kind = iota
	Misaligned
	Uninitialised
	Race
	Divergence // an instruction that needs lanes which are elsewhere
	Deadlock
	Budget
	ReadOnly
	Unsupported
	Trapped
)

var kindNames = [...]string{"out of bounds", "misaligned", "uninitialised", "race", "divergence", "deadlock", "budget",
	"read-only", "unsupported", "trap"}

func (k Kind) String() string { return kindNames[k] }

func (k Kind) result() driver.Result {
	switch k {
	case OutOfBounds, ReadOnly:
		return driver.IllegalAddress
	case Misaligned:
		return driver.MisalignedAddress
	case Budget, Deadlock:
		return driver.LaunchTimeout
	case Unsupported:
		return driver.IllegalInstruction
	}
	return driver.LaunchFailed
}

func dim(d driver.Dim) string { return fmt.Sprintf("(%d,%d,%d)", d.X, d.Y, d.Z) }

func (f *Fault) Error() string {
	return fmt.Sprintf("%v: kernel %q, line %d: %s: block %s thread %s: %s",
		f.Kind, f.Kernel, f.Line, f.Instr, dim(f.Block), dim(f.Thread), f.Msg)
}

// sourceLine is a line of a text, shortened.
func sourceLine(text string, line int) string {
	for ; line > 1; line-- {
		_, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return ""
		}
		text = rest
	}
	s, _, _ := strings.Cut(text, "\n")
	if s = strings.TrimSpace(s); len(s) > 200 {
		s = s[:200] + "..."
	}
	return s
}

// fault ends the run of a block: runBlock gets it.
func (w *warp) fault(kind Kind, lane int, format string, args ...any) {
	in := &w.blk.fn.code[w.pc]
	panic(w.newFault(in, kind, lane, format, args...))
}

func (w *warp) newFault(in *instr, kind Kind, lane int, format string, args ...any) *Fault {
	b := w.blk
	return &Fault{Kind: kind, Kernel: b.fn.name, Line: in.line, Instr: sourceLine(b.l.text, in.line),
		Block: b.id, Thread: b.threadDim(w.index*32 + lane), Msg: fmt.Sprintf(format, args...)}
}

func (b *block) threadDim(t int) driver.Dim {
	d := b.l.cfg.Block
	return driver.Dim{X: t % d.X, Y: t / d.X % d.Y, Z: t / d.X / d.Y}
}
