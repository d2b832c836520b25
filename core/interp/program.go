package interp

import (
	"context"
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/reuse"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// RunProgram runs a tensor program and gives its results. bind are the values of
// p.Syms, args its parameters in order.
func RunProgram(ctx context.Context, p *ir.Program, bind []int64, args []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return runProgram(ctx, p, bind, args, nil, &memory{})
}

// RunProgramInto is RunProgram into results of the right types and shapes, which may
// hold anything before.
func RunProgramInto(ctx context.Context, p *ir.Program, bind []int64, args, results []*tensor.Tensor) error {
	if len(results) != len(p.Results) {
		return diag.New(diag.Run, "%d results for program @%s, which has %d", len(results), p.Name, len(p.Results))
	}
	_, err := runProgram(ctx, p, bind, args, results, &memory{})
	return err
}

// runProgram runs a program into results, or into new ones where that is nil.
func runProgram(ctx context.Context, p *ir.Program, bind []int64, args, results []*tensor.Tensor, mem Memory) ([]*tensor.Tensor, error) {
	c, err := Compile(p, bind)
	if err != nil {
		return nil, err
	}
	out := make([]*tensor.Tensor, len(p.Results))
	copy(out, results)
	return out, c.Run(ctx, args, out, mem, func(x *Execution, i int) error { return x.Stage(i, 0, 1) })
}

// Code is a program for the values of its symbols, which decide all shapes. It may be run
// by several goroutines at a time.
type Code struct {
	Stages []*Stage

	windows []*Stage // of expressions of these

	p       *ir.Program
	bind    []int64
	buffers []*ir.Buffer
	number  map[*ir.Buffer]int
	shapes  [][]int64
	rooms   [][]int64 // shapes of the tensors that the buffers lie in
	last    [][]int   // temporaries that each stage is the last to read
	joined  []int     // how many stages are computed with each; 0: it alone
	never   []bool    // buffers that are not made with their stages
	idle    reuse.List[Execution]
}

// Compile readies a program for values of p.Syms.
func Compile(p *ir.Program, bind []int64) (*Code, error) {
	if len(bind) != len(p.Syms) {
		return nil, diag.New(diag.Run, "%d values for the symbols of program @%s, which has %d", len(bind), p.Name, len(p.Syms))
	}
	c := &Code{p: p, bind: slices.Clone(bind), number: map[*ir.Buffer]int{}}
	for _, list := range [][]*ir.Buffer{p.Params, p.Results, p.Temps()} {
		for _, b := range list {
			shape, err := c.shape(b, b.Dims)
			if err != nil {
				return nil, err
			}
			room := shape
			if b.Room != nil {
				if room, err = c.room(b, shape); err != nil {
					return nil, err
				}
			}
			c.number[b] = len(c.buffers)
			c.buffers, c.shapes, c.rooms = append(c.buffers, b), append(c.shapes, shape), append(c.rooms, room)
		}
	}
	for _, s := range p.Stages {
		st := &Stage{Stage: s, code: c}
		for _, a := range s.AllAxes() {
			n, err := a.Extent.Eval(c.symbol)
			if err != nil && st.err == nil {
				st.err = diag.As(err, diag.Run)
			}
			st.extents = append(st.extents, n)
		}
		c.Stages = append(c.Stages, st)
	}
	c.lastReads()
	return c, nil
}

// Join says that n stages, from one on, are computed together: what they write is there before
// the first of them is asked for, and the others are not.
func (c *Code) Join(first, n int) {
	if c.joined == nil {
		c.joined = make([]int, len(c.Stages))
	}
	c.joined[first] = n
}

// Inside says that buffers are on the way between stages that are computed together, and not made
// for them. [Execution.Make] makes them where a run computes these stages one by one.
func (c *Code) Inside(list []*ir.Buffer) {
	if c.never == nil {
		c.never = make([]bool, len(c.buffers))
	}
	for _, b := range list {
		c.never[c.number[b]] = true
	}
}

// Bytes is about what the code takes.
func (c *Code) Bytes() int64 {
	n := int64(len(c.buffers)) * nodeBytes
	for _, s := range slices.Concat(c.Stages, c.windows) {
		s.mu.Lock()
		n += s.bytes + nodeBytes
		s.mu.Unlock()
	}
	return n
}

// Execution is one run of a program.
type Execution struct {
	*Code
	ctx     context.Context
	mem     Memory
	tensors []*tensor.Tensor
	own     []bool // made here
}

// Memory gives out tensors. What Alloc gives may hold anything; Free takes it back.
type Memory interface {
	Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error)
	Free(t *tensor.Tensor)
}

// Run runs the program. results are its results, and behind them, where the caller has
// memory for them, its temporaries (ir.Program.Temps); those that are nil are made. What is
// given may be the memory of something else where that is not read any more when the stage
// that writes it runs, or is written over in place (ir.Stage.InPlace). stage computes a stage,
// with Execution.Stage or in another way. What is made comes from mem, and temporaries go
// back to it.
func (c *Code) Run(ctx context.Context, args, results []*tensor.Tensor, mem Memory, stage func(x *Execution, i int) error) (err error) {
	x := c.idle.Get()
	if x.Code == nil {
		*x = Execution{Code: c, tensors: make([]*tensor.Tensor, len(c.buffers)), own: make([]bool, len(c.buffers))}
	}
	x.ctx, x.mem = ctx, mem
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "program @%s failed: %v", c.p.Name, v)
		}
		if err != nil {
			for i, t := range x.tensors {
				if t != nil && x.own[i] {
					mem.Free(t)
				}
			}
		}
		clear(x.tensors)
		clear(x.own)
		x.ctx, x.mem = nil, nil
		c.idle.Put(x)
	}()
	if len(args) != len(c.p.Params) || len(results) != len(c.p.Results) && len(args)+len(results) != len(c.buffers) {
		return diag.New(diag.Run, "%d operands for %d results of program @%s, which takes %d for %d",
			len(args), len(results), c.p.Name, len(c.p.Params), len(c.p.Results))
	}
	for i, t := range args {
		if err := x.give(i, t); err != nil {
			return err
		}
	}
	for i, t := range results {
		if t != nil {
			if err := x.give(len(args)+i, t); err != nil {
				return err
			}
		}
	}
	return x.run(results, stage)
}

// give sets a buffer that comes from outside.
func (x *Execution) give(i int, t *tensor.Tensor) error {
	b := x.buffers[i]
	if t == nil || t.DType() != b.DType || !slices.Equal(t.Shape(), x.rooms[i]) {
		return diag.New(diag.Run, "buffer %s of program @%s is %s%v, not %s", b.Name, x.p.Name, b.DType, x.rooms[i], describe(t))
	}
	x.tensors[i] = t
	return nil
}

func describe(t *tensor.Tensor) string {
	if t == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s%v", t.DType(), t.Shape())
}

func (x *Execution) run(results []*tensor.Tensor, stage func(x *Execution, i int) error) error {
	for i := 0; i < len(x.Stages); {
		end := i + 1
		if x.joined != nil {
			end = max(end, i+x.joined[i])
		}
		for _, s := range x.Stages[i:end] {
			if err := x.ready(s); err != nil {
				return err
			}
		}
		if err := stage(x, i); err != nil {
			return err
		}
		for ; i < end; i++ {
			for _, b := range x.last[i] {
				if x.own[b] {
					x.mem.Free(x.tensors[b])
				}
				x.tensors[b] = nil
			}
		}
	}
	for i, b := range x.p.Results {
		if results[i] = x.Tensor(b); results[i] == nil {
			return diag.New(diag.Run, "program @%s does not write its result %s", x.p.Name, b.Name)
		}
	}
	return nil
}

// ready makes what a stage defines; a scatter starts with its base.
func (x *Execution) ready(s *Stage) error {
	for _, b := range s.Outs {
		if i := x.number[b]; x.never == nil || !x.never[i] {
			if err := x.make(i); err != nil {
				return err
			}
		}
	}
	if s.Kind == ir.ScatterStage {
		if base, out := x.Tensor(s.Base), x.Tensor(s.Out()); base != nil && !same(base, out) {
			copy(out.Bytes(), base.Bytes())
			copy(out.Strings(), base.Strings())
		}
	}
	return nil
}

// same says whether two tensors are the same memory.
func same(a, b *tensor.Tensor) bool {
	return len(a.Bytes()) > 0 && len(b.Bytes()) > 0 && &a.Bytes()[0] == &b.Bytes()[0]
}

// make allocates a buffer unless it was given.
func (x *Execution) make(i int) (err error) {
	if x.tensors[i] == nil {
		x.tensors[i], err = x.mem.Alloc(x.buffers[i].DType, x.shapes[i])
		x.own[i] = err == nil
	}
	return err
}

// Make makes what some stages define that is not there.
func (x *Execution) Make(stages []*Stage) error {
	for _, s := range stages {
		for _, b := range s.Outs {
			if err := x.make(x.number[b]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Tensor gives the tensor of a buffer: of a parameter, of a result, or of a stage before.
func (x *Execution) Tensor(b *ir.Buffer) *tensor.Tensor { return x.tensors[x.number[b]] }

// Context is the run's.
func (x *Execution) Context() context.Context { return x.ctx }

// Stage computes part of parts of stage i; 0 of 1 is all of it. It may be called from
// several goroutines for different parts.
func (x *Execution) Stage(i, part, parts int) error { return x.Stages[i].run(x, part, parts) }

// room gives the dims of the tensor that a buffer is the first part of.
func (c *Code) room(b *ir.Buffer, shape []int64) ([]int64, error) {
	room, err := c.shape(b, b.Room)
	for i := range room {
		if err == nil && room[i] < shape[i] {
			err = diag.New(diag.Run, "buffer %s of program @%s is %v in room for %v", b.Name, c.p.Name, shape, room)
		}
	}
	return room, err
}

// shape gives dims of a buffer.
func (c *Code) shape(b *ir.Buffer, dims []sym.Expr) ([]int64, error) {
	shape := make([]int64, len(dims))
	for i, d := range dims {
		n, err := d.Eval(c.symbol)
		if err != nil {
			return nil, diag.As(err, diag.Run)
		}
		if n < 0 {
			return nil, diag.New(diag.Run, "dim %d of buffer %s of program @%s is %s = %d", i, b.Name, c.p.Name, d, n)
		}
		shape[i] = n
	}
	return shape, nil
}

// symbol gives the value of one of the program's symbols.
func (c *Code) symbol(name string) (int64, bool) {
	for i, s := range c.p.Syms {
		if s == name {
			return c.bind[i], true
		}
	}
	return 0, false
}

// lastReads finds after which stage each temporary is done with.
func (c *Code) lastReads() {
	at := map[*ir.Buffer]int{}
	for i, s := range c.p.Stages {
		for _, b := range s.Outs {
			at[b] = i
		}
		for _, b := range s.Reads() {
			at[b] = i
		}
	}
	c.last = make([][]int, len(c.p.Stages))
	for _, b := range c.p.Temps() {
		c.last[at[b]] = append(c.last[at[b]], c.number[b])
	}
}
