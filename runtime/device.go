// Package runtime runs lowered modules: a machine that evaluates shapes, checks them,
// allocates from pools under a budget, and calls a device for every program.
package runtime

import (
	"context"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
)

// Device computes tensor programs. It is safe for concurrent use.
type Device interface {
	Target() *target.Target
	// Workspace tells how many bytes each stage of p takes for itself, beside temporaries, as
	// Run computes it;
	// a stage behind the end of the list takes none. bind are the values of p.Syms, or as
	// large as they can get: what a stage takes may be more or less than is told. constant tells
	// which of p.Params are constants.
	Workspace(kernel string, p *ir.Program, bind []int64, constant func(param int) bool) ([]int64, error)
	// Run computes p into results, which have the right types and may hold anything, by the
	// kernel of the target that is named, or stage by stage where kernel is "". bind are the
	// values of p.Syms. Behind the results there may be p's temporaries (p.Temps),
	// nil where they have no memory yet. What a stage writes may lie where something is
	// that no later stage reads, or that it writes over in place (ir.Stage.InPlace): stages
	// run one after the other, and write nothing but what they define. What else is needed
	// comes from mem and goes back to it.
	Run(ctx context.Context, kernel string, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem Memory) error
	Close() error
}

// Memory gives out tensors. What Alloc gives may hold anything; Free takes it back.
type Memory interface {
	Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error)
	Free(t *tensor.Tensor)
	// Workspace is memory for a stage of the program that runs, as much as the device told:
	// nil where nothing is planned.
	Workspace(stage int) ([]byte, error)
	// Keep is the place for what the device makes of parameters of the program that runs, where they
	// are constants; else nil. key says what is made.
	Keep(params []int, key string) *Kept
}

// Divided is a device that leaves some of the work to the host.
type Divided interface {
	Device
	// Division tells what was computed where since the device was made.
	Division() Division
}

// Division is what was computed where.
type Division struct {
	Emulated bool  // the device is a program that does as one
	Device   int64 // stages that the device has computed
	Host     int64 // stages that the host has
	Up, Down int64 // bytes that were copied to the device, and back
	Left     []Left
}

// Left is a stage that is left to the host: so many times, and why.
type Left struct {
	HostStage
	Times int64
}

// HostStage is a stage of a program that has no kernel.
type HostStage struct{ Program, Stage, Why string }
