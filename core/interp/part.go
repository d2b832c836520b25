package interp

import (
	"context"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Stage is a stage of a program that is being run by somebody else's rules: a runtime
// that has a faster way for some stages, and more threads for the others.
type Stage struct {
	*ir.Stage
	run *programRun
}

// Buffer gives the tensor of a buffer: of a parameter, an earlier stage, or this one.
func (s *Stage) Buffer(b *ir.Buffer) *tensor.Tensor { return s.run.buffers[b] }

// Symbol gives the value of a symbol in this run.
func (s *Stage) Symbol(name string) (int64, bool) { return s.run.symbol(name) }

// Context is the run's.
func (s *Stage) Context() context.Context { return s.run.ctx }

// Parts says whether the stage may be cut into parts that run at the same time: every
// point is then computed as it would be in one piece, so the bits are the same.
func (s *Stage) Parts() bool {
	if s.Kind != ir.MapStage && s.Kind != ir.ReduceStage || len(s.Axes) == 0 {
		return false
	}
	for _, b := range s.Outs {
		if b.DType.IsSmall() { // neighbours share a byte
			return false
		}
	}
	return true
}

// Run computes part of parts of the stage; Run(0, 1) is all of it. It may be called
// from several goroutines for different parts.
func (s *Stage) Run(part, parts int) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "program @%s failed: %v", s.run.p.Name, v)
		}
	}()
	c := s.run.newCompiler(s.Stage)
	if c.err == nil {
		c.checkShapes()
	}
	if c.err != nil {
		return c.err
	}
	return c.runAlong(c.bestLane(), part, parts)
}

// cut restricts a runner to a part of the points: a range of the spatial axis with the
// largest extent, the lane axis last. It is false for a part without points.
func (c *compiler) cut(r *runner, part, parts int) bool {
	split := -1
	for i := range c.stage.Axes {
		if i != c.lane && c.extent[i] >= int64(parts) && (split < 0 || c.extent[i] > c.extent[split]) {
			split = i
		}
	}
	if split < 0 && c.lane >= 0 && c.lane < len(c.stage.Axes) {
		split = c.lane
	}
	if split < 0 {
		return part == 0
	}
	n := c.extent[split]
	r.split = split
	r.lo, r.hi = n*int64(part)/int64(parts), n*int64(part+1)/int64(parts)
	return r.lo < r.hi
}

// RunStages runs a program stage by stage as stage says, which must compute each stage
// it is given. alloc makes temporaries, and results where results is nil; free takes each
// temporary back after the stage that reads it last. After an error some are not given back.
func RunStages(ctx context.Context, p *ir.Program, bind []int64, args, results []*tensor.Tensor,
	alloc func(tensor.DType, []int64) (*tensor.Tensor, error), free func(*tensor.Tensor), stage func(*Stage) error) ([]*tensor.Tensor, error) {
	return runProgram(ctx, p, bind, args, results, &memory{alloc: alloc, free: free}, stage)
}
