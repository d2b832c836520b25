package interp

import (
	"context"
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// RunProgram runs a tensor program and gives its results. bind are the values of
// p.Syms, args its parameters in order.
func RunProgram(ctx context.Context, p *ir.Program, bind []int64, args []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return runProgram(ctx, p, bind, args, nil, &memory{}, nil)
}

// RunProgramInto is RunProgram into results of the right types and shapes, which may
// hold anything before.
func RunProgramInto(ctx context.Context, p *ir.Program, bind []int64, args, results []*tensor.Tensor) error {
	if len(results) != len(p.Results) {
		return diag.New(diag.Run, "%d results for program @%s, which has %d", len(results), p.Name, len(p.Results))
	}
	_, err := runProgram(ctx, p, bind, args, results, &memory{}, nil)
	return err
}

// programRun is one run of a program.
type programRun struct {
	p       *ir.Program
	ctx     context.Context
	bind    []int64
	buffers map[*ir.Buffer]*tensor.Tensor
	mem     *memory
	stage   func(*Stage) error // computes a stage; nil: runStage does
}

// runProgram runs a program into results, or into new ones where that is nil.
func runProgram(ctx context.Context, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem *memory, stage func(*Stage) error) (out []*tensor.Tensor, err error) {
	r := &programRun{p: p, ctx: ctx, bind: bind, buffers: map[*ir.Buffer]*tensor.Tensor{}, mem: mem, stage: stage}
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, diag.New(diag.Run, "program @%s failed: %v", p.Name, v)
		}
	}()
	if len(bind) != len(p.Syms) || len(args) != len(p.Params) {
		return nil, diag.New(diag.Run, "%d symbols and %d operands for program @%s, which has %d and %d",
			len(bind), len(args), p.Name, len(p.Syms), len(p.Params))
	}
	for i, b := range p.Params {
		if err := r.give(b, args[i]); err != nil {
			return nil, err
		}
	}
	for i, t := range results {
		if err := r.give(p.Results[i], t); err != nil {
			return nil, err
		}
	}
	return r.run()
}

// give sets a buffer that comes from outside.
func (r *programRun) give(b *ir.Buffer, t *tensor.Tensor) error {
	shape, err := r.shape(b)
	if err != nil {
		return err
	}
	if t == nil || t.DType() != b.DType || !slices.Equal(t.Shape(), shape) {
		return diag.New(diag.Run, "buffer %s of program @%s is %s%v, not %s", b.Name, r.p.Name, b.DType, shape, describe(t))
	}
	r.buffers[b] = t
	return nil
}

func describe(t *tensor.Tensor) string {
	if t == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s%v", t.DType(), t.Shape())
}

func (r *programRun) run() ([]*tensor.Tensor, error) {
	last := lastReads(r.p)
	for i, s := range r.p.Stages {
		for _, b := range s.Outs {
			if err := r.make(b); err != nil {
				return nil, err
			}
		}
		if s.Kind == ir.ScatterStage {
			if base := r.buffers[s.Base]; base != nil {
				copy(r.buffers[s.Out()].Bytes(), base.Bytes())
				copy(r.buffers[s.Out()].Strings(), base.Strings())
			}
		}
		if r.stage != nil {
			if err := r.stage(&Stage{s, r}); err != nil {
				return nil, err
			}
		} else if err := r.runStage(s); err != nil {
			return nil, err
		}
		for _, b := range last[i] {
			r.mem.drop(r.buffers[b])
			delete(r.buffers, b)
		}
	}
	out := make([]*tensor.Tensor, len(r.p.Results))
	for i, b := range r.p.Results {
		if out[i] = r.buffers[b]; out[i] == nil {
			return nil, diag.New(diag.Run, "program @%s does not write its result %s", r.p.Name, b.Name)
		}
	}
	return out, nil
}

// make allocates a buffer unless it was given.
func (r *programRun) make(b *ir.Buffer) error {
	if r.buffers[b] != nil {
		return nil
	}
	shape, err := r.shape(b)
	if err != nil {
		return err
	}
	t, err := r.mem.make(b.DType, shape)
	if err != nil {
		return err
	}
	r.buffers[b] = t
	return nil
}

// shape gives the dims of a buffer.
func (r *programRun) shape(b *ir.Buffer) ([]int64, error) {
	shape := make([]int64, len(b.Dims))
	for i, d := range b.Dims {
		n, err := d.Eval(r.symbol)
		if err != nil {
			return nil, diag.As(err, diag.Run)
		}
		if n < 0 {
			return nil, diag.New(diag.Run, "dim %d of buffer %s of program @%s is %s = %d", i, b.Name, r.p.Name, d, n)
		}
		shape[i] = n
	}
	return shape, nil
}

// symbol gives the value of one of the program's symbols.
func (r *programRun) symbol(name string) (int64, bool) {
	for i, s := range r.p.Syms {
		if s == name {
			return r.bind[i], true
		}
	}
	return 0, false
}

// errorf is an error about a stage.
func (r *programRun) errorf(s *ir.Stage, format string, args ...any) error {
	e := diag.New(diag.Run, format, args...)
	e.Msg = fmt.Sprintf("program @%s, stage %s: %s", r.p.Name, s.Out().Name, e.Msg)
	return e
}

// lastReads tells after which stage each temporary is done with.
func lastReads(p *ir.Program) [][]*ir.Buffer {
	at := map[*ir.Buffer]int{}
	for i, s := range p.Stages {
		for _, b := range s.Outs {
			at[b] = i
		}
		if s.Base != nil {
			at[s.Base] = i
		}
		eachNode(s, func(x *ir.Scalar) {
			if x.Op == ir.OpLoad {
				at[x.Buf] = i
			}
		})
	}
	out := make([][]*ir.Buffer, len(p.Stages))
	for _, b := range p.Temps() {
		out[at[b]] = append(out[at[b]], b)
	}
	return out
}
