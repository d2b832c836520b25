// Package target says what a target offers, as data: its kernels, what they compute, and
// what they cost. Runtimes publish it; passes and plugins receive it and depend on nothing
// else of a runtime.
package target

import (
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Target is a device as passes see it.
type Target struct {
	Name    string // "cpu", "interp", ...
	Threads int
	Kernels []Kernel
	// Cost is about how long a call of a program takes, in nanoseconds, that no kernel
	// computes; nil for a target without kernels.
	Cost func(*ir.Program, Sizes) float64
	// Loops says why a stage that no kernel takes does not run as machine code, "" if it
	// does; nil for a target without machine code.
	Loops func(*ir.Stage) string
	// BoundedResult is the largest storage, in bytes, that a result whose size the data
	// tell may take in full; a larger one is counted first.
	BoundedResult int64
}

// Kernel is a way of a target to compute programs.
type Kernel struct {
	Name string
	// Staged says that the kernel runs a program stage after stage (ir.StagedAttr).
	Staged bool
	// Takes says of a staged kernel whether it computes a stage itself; others are computed as
	// they are without it.
	Takes func(*ir.Stage) bool
	// Together gives the ranges of stages that a staged kernel computes as one
	// (ir.TogetherAttr); nil: none.
	Together func(*ir.Program) []ir.Range
	// Refuses says why the kernel does not compute a program, "" if it does. It knows the
	// program and no sizes.
	Refuses func(*ir.Program) string
	// Cost is about how long a call takes, in nanoseconds.
	Cost func(*ir.Program, Sizes) float64
}

// Sizes gives the values of a program's symbols, or what they may be about.
type Sizes func(symbol string) int64

// Eval is the value of an expression under sizes; 1 where it has none.
func (s Sizes) Eval(e sym.Expr) float64 {
	n, err := e.Eval(func(name string) (int64, bool) { return s(name), true })
	if err != nil {
		return 1
	}
	return float64(n)
}

// Points is how often the expressions of a stage are evaluated.
func (s Sizes) Points(x *ir.Stage) float64 {
	n := 1.0
	for _, a := range x.AllAxes() {
		n *= max(s.Eval(a.Extent), 0)
	}
	return n
}

// Choice says how a target computes a program best.
type Choice struct {
	Kernel *Kernel // nil: stage by stage
	Cost   float64 // nanoseconds
	Others []Other // the ways that were not taken
}

// Other is a kernel that was not chosen.
type Other struct {
	Kernel string // "": stage by stage
	Cost   float64
	Why    string // it does not compute the program; "": it costs more
}

// Choose takes of the ways to compute a program the one that costs least: one of the
// kernels, or stage by stage.
func (t *Target) Choose(p *ir.Program, s Sizes) Choice {
	if t.Cost == nil {
		return Choice{}
	}
	best := Choice{Cost: t.Cost(p, s)}
	for i := range t.Kernels {
		k := &t.Kernels[i]
		if why := k.Refuses(p); why != "" {
			best.Others = append(best.Others, Other{Kernel: k.Name, Why: why})
			continue
		}
		cost := k.Cost(p, s)
		if cost >= best.Cost {
			best.Others = append(best.Others, Other{Kernel: k.Name, Cost: cost})
			continue
		}
		lost := Other{Cost: best.Cost}
		if best.Kernel != nil {
			lost.Kernel = best.Kernel.Name
		}
		best.Kernel, best.Cost, best.Others = k, cost, append(best.Others, lost)
	}
	return best
}

// KernelName is the name that a module has for a kernel of a target that computes a
// program: "cpu.product.MatMul".
func KernelName(target, kernel, program string) string {
	return target + "." + kernel + "." + program
}

// KernelOf is the kernel that a name of KernelName speaks of; "" for a name of another
// target.
func KernelOf(target, name string) string {
	rest, ok := strings.CutPrefix(name, target+".")
	if !ok {
		return ""
	}
	kernel, _, _ := strings.Cut(rest, ".")
	return kernel
}

// Interp is the reference interpreter as a target: it has no kernels.
func Interp() *Target { return &Target{Name: "interp", Threads: 1} }
