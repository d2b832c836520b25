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
	// Run computes p into results, which have the right types and may hold anything.
	// bind are the values of p.Syms. Temporaries come from mem and go back to it.
	Run(ctx context.Context, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem Memory) error
	Close() error
}

// Memory gives out tensors. What Alloc gives may hold anything; Free takes it back.
type Memory interface {
	Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error)
	Free(t *tensor.Tensor)
}
