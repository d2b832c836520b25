// Package target says what a target offers, as data: its kernels and capabilities.
// Runtimes publish it; passes and plugins receive it and depend on nothing else of a
// runtime.
package target

import "github.com/pitopt/pitopt/core/ir"

// Target is a device as passes see it.
type Target struct {
	Name    string // "cpu", "interp", ...
	Threads int
	Kernels []Kernel
	// BoundedResult is the largest storage, in bytes, that a result whose size the data
	// tell may take in full; a larger one is counted first.
	BoundedResult int64
}

// Kernel is something a target runs faster than the program it stands for.
type Kernel struct {
	Name string
	// Applies says whether the kernel computes the program; Cost estimates a call in
	// nanoseconds for given values of its symbols.
	Applies func(*ir.Program) bool
	Cost    func(p *ir.Program, syms map[string]int64) float64
}

// Interp is the reference interpreter as a target: it has no kernels.
func Interp() *Target { return &Target{Name: "interp", Threads: 1} }
