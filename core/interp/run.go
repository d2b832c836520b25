package interp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Options of a run.
type Options struct {
	Seed     uint64 // of random operators that have no seed of their own
	MaxBytes int64  // budget over live tensors, inputs and constants not counted; 0: none

	// Trace is called after each statement with its results, nil for those that
	// nobody asked for. Statements of regions and called functions are traced too.
	Trace func(s *ir.Stmt, results []tensor.Value)
}

// Run runs the function main of a module. inputs are its parameters in order. The
// result may share memory with inputs and constants.
func Run(ctx context.Context, m *ir.Module, inputs []tensor.Value, o Options) ([]tensor.Value, error) {
	f := m.Main()
	if f == nil {
		return nil, diag.New(diag.Run, "the module has no function @main")
	}
	x := &machine{ctx: ctx, Options: o, mem: &memory{budget: o.MaxBytes}, lastUses: map[*ir.Block][][]*ir.Value{}}
	return x.call(m, f, inputs, func(p *ir.Value) string { return fmt.Sprintf("input %q", p.Name) })
}

// machine is one run of a module.
type machine struct {
	Options
	ctx      context.Context
	mem      *memory
	draws    uint64 // random statements so far
	lastUses map[*ir.Block][][]*ir.Value
}

// activation is a block that is being run.
type activation struct {
	m     *ir.Module
	outer *activation // of a region: the block around it
	env   *ir.Env
	vals  map[*ir.Value]tensor.Value
}

func (a *activation) get(v *ir.Value) (tensor.Value, error) {
	if v == nil {
		return nil, nil
	}
	if v.Const != nil {
		return v.Const.Tensor, nil
	}
	for ; a != nil; a = a.outer {
		if x, ok := a.vals[v]; ok {
			return x, nil
		}
	}
	return nil, diag.New(diag.Run, "%%%s has no value here", v.Name)
}

// bind checks values that come in together against types. Symbols that get their values
// by it must keep to what is known of them.
func (a *activation) bind(types []ir.Type, vals []tensor.Value, who func(i int) string) error {
	n := a.env.Len()
	if err := a.env.BindAll(types, vals, who); err != nil {
		return err
	}
	if a.env.Len() == n {
		return nil
	}
	return a.env.Check(a.m.Syms)
}

// call runs a function of m; who names its parameters in messages.
func (x *machine) call(m *ir.Module, f *ir.Func, args []tensor.Value, who func(*ir.Value) string) ([]tensor.Value, error) {
	a := &activation{m: m, env: ir.NewEnv(nil), vals: map[*ir.Value]tensor.Value{}}
	if len(args) != len(f.Params) {
		return nil, diag.New(diag.Run, "%d operands for function @%s, which takes %d", len(args), f.Name, len(f.Params))
	}
	return x.block(a, &f.Block, args, who)
}

// block runs a block with its parameters bound.
func (x *machine) block(a *activation, b *ir.Block, args []tensor.Value, who func(*ir.Value) string) ([]tensor.Value, error) {
	types := make([]ir.Type, len(b.Params))
	for i, p := range b.Params {
		if tensor.Missing(args[i]) {
			return nil, diag.New(diag.Run, "%s is missing", who(p))
		}
		types[i], a.vals[p] = p.Type, args[i]
	}
	if err := a.bind(types, args, func(i int) string { return who(b.Params[i]) }); err != nil {
		return nil, err
	}
	last := x.lastUsesOf(b)
	defer func() { // what is left when a statement fails
		for _, s := range b.Stmts {
			for _, r := range s.Results {
				if v, ok := a.vals[r]; ok {
					x.mem.drop(v)
				}
			}
		}
	}()
	for i, s := range b.Stmts {
		if err := x.stmt(a, s); err != nil {
			if s.Kind == ir.CallStmt {
				err = a.env.Explain(a.m.Syms, s, err)
			}
			return nil, diag.As(err, diag.Run).At(s.Place(), strings.TrimPrefix(s.OpName(), "onnx."))
		}
		for _, v := range last[i] {
			if v.Def != nil {
				x.mem.drop(a.vals[v])
			}
			delete(a.vals, v)
		}
	}
	out := make([]tensor.Value, len(b.Results))
	for i, r := range b.Results {
		v, err := a.get(r)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// lastUsesOf tells which values of a block are not used any more after each statement.
func (x *machine) lastUsesOf(b *ir.Block) [][]*ir.Value {
	if out, ok := x.lastUses[b]; ok {
		return out
	}
	at := map[*ir.Value]int{}
	var order []*ir.Value
	own := func(v *ir.Value, i int) {
		if v != nil {
			at[v] = i
			order = append(order, v)
		}
	}
	for _, p := range b.Params {
		own(p, 0)
	}
	for i, s := range b.Stmts {
		s.EachUse(func(v *ir.Value) {
			if _, ok := at[v]; ok {
				at[v] = i
			}
		})
		for _, r := range s.Results {
			own(r, i)
		}
	}
	for _, r := range b.Results {
		delete(at, r)
	}
	out := make([][]*ir.Value, len(b.Stmts))
	for _, v := range order {
		if i, ok := at[v]; ok && i < len(out) {
			out[i] = append(out[i], v)
		}
	}
	x.lastUses[b] = out
	return out
}

// stmt runs a statement and binds its results. What panics in it is its failure.
func (x *machine) stmt(a *activation, s *ir.Stmt) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "it failed: %v", v)
		}
	}()
	if err := x.ctx.Err(); err != nil {
		return diag.Stopped(err)
	}
	args := make([]tensor.Value, len(s.Args))
	for i, v := range s.Args {
		if args[i], err = a.get(v); err != nil {
			return err
		}
	}
	var out []tensor.Value
	switch s.Kind {
	case ir.OpStmt:
		out, err = x.operator(a, s, args)
	case ir.CallStmt:
		out, err = x.callee(a, s, args)
	case ir.CastStmt:
		out = args
	}
	if err != nil {
		return err
	}
	if len(out) < len(s.Results) {
		return diag.New(diag.Run, "it gave %d results, %d are asked for", len(out), len(s.Results))
	}
	out = slices.Clone(out[:len(s.Results)]) // it may be the list of a sequence
	for i, r := range s.Results {
		if r == nil {
			out[i] = nil
			continue
		}
		if out[i] == nil {
			return diag.New(diag.Run, "it did not give result %d", i)
		}
		if r.Type != nil {
			if err := a.bind([]ir.Type{r.Type}, out[i:i+1], func(int) string { return resultName(s, i) }); err != nil {
				return err
			}
		}
		a.vals[r] = out[i]
		x.mem.hold(out[i])
	}
	if err := x.mem.room(0); err != nil {
		return err
	}
	if x.Trace != nil {
		x.Trace(s, out)
	}
	return nil
}

func resultName(s *ir.Stmt, i int) string {
	if name := s.Results[i].Name; name != "" {
		return fmt.Sprintf("%%%s", name)
	}
	return fmt.Sprintf("result %d of %q", i, s.Place())
}

// operator runs an operator: its program, the function it stands for, or its reference
// implementation, whichever fits operands of just these shapes and contents.
func (x *machine) operator(a *activation, s *ir.Stmt, args []tensor.Value) ([]tensor.Value, error) {
	switch s.Op.Name {
	case "onnx.If":
		return x.runIf(a, s, args)
	case "onnx.Loop":
		return x.runLoop(a, s, args)
	case ir.ViewName:
		return viewAs(a, s, args[0])
	case ir.AllocName: // results have memory of their own here
		return []tensor.Value{&tensor.Optional{}}, nil
	case ir.AppendName:
		room, filled, _, err := ir.Append(s, args)
		if err != nil {
			return nil, err
		}
		return []tensor.Value{room, tensor.New(tensor.U8, filled, 0)}, nil
	case ir.ReleaseName: // lives are known from the block
		return nil, nil
	}
	if len(s.Regions) > 0 {
		for _, v := range s.Captured() {
			c, err := a.get(v)
			if err != nil {
				return nil, err
			}
			args = append(args, c)
		}
	}
	in, err := ir.Instantiate(s, args)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Program != nil:
		params := make([]tensor.Value, len(in.Args))
		for i, n := range in.Args {
			params[i] = args[n]
		}
		got, err := x.program(in.Program, nil, params)
		if err != nil {
			return nil, err
		}
		out := make([]tensor.Value, len(s.Results))
		for i, r := range s.Results {
			if r != nil {
				out[i], got = got[0], got[1:]
			}
		}
		return out, nil
	case in.Func != nil:
		var given []tensor.Value
		for _, v := range args {
			if v != nil {
				given = append(given, v)
			}
		}
		out, err := x.call(in.Module, in.Func, given, func(p *ir.Value) string { return fmt.Sprintf("operand %d", p.Index) })
		x.forget(&in.Func.Block)
		return out, err
	}
	k := &ir.KernelCall{Call: in.Call, Context: x.ctx, Args: args, Room: x.mem.room}
	if s.Op.Effect != ir.Pure {
		x.draws++
		k.Rand = rand.New(rand.NewPCG(x.Seed, x.draws))
	}
	if s.Op.Fill != nil {
		return x.fill(s, in, k)
	}
	if err := k.NeedResults(); err != nil {
		return nil, err
	}
	return k.Run()
}

// fill runs a kernel that writes results which are there.
func (x *machine) fill(s *ir.Stmt, in *ir.Instance, k *ir.KernelCall) ([]tensor.Value, error) {
	out, filled := make([]tensor.Value, len(s.Results)), make([]*tensor.Tensor, len(s.Results))
	for i, r := range s.Results {
		if r == nil {
			continue
		}
		shape, err := k.Shape([]int64{}, in.Out[i])
		if err != nil {
			return nil, err
		}
		t, err := x.mem.Alloc(in.Out[i].DType, shape)
		if err != nil {
			return nil, err
		}
		defer x.mem.drop(t) // the statement will hold it
		filled[i], out[i] = t, t
	}
	return out, k.Fill(filled)
}

// viewAs gives the operand of a view the shape of the result's type.
func viewAs(a *activation, s *ir.Stmt, v tensor.Value) ([]tensor.Value, error) {
	x, ok := v.(*tensor.Tensor)
	t, isTensor := s.Attrs.Get("type").(ir.TensorType)
	if !ok || !isTensor {
		return nil, diag.New(diag.Run, "a view of what is no tensor")
	}
	shape, err := a.env.Shape(t.Dims)
	if err != nil {
		return nil, err
	}
	y, err := x.View(shape...)
	if err != nil {
		return nil, err
	}
	return []tensor.Value{y}, nil
}

// forget drops what is known of a function that was made for one statement.
func (x *machine) forget(b *ir.Block) {
	delete(x.lastUses, b)
	for _, s := range b.Stmts {
		for _, r := range s.Regions {
			x.forget(r)
		}
	}
}

// callee runs a call statement.
func (x *machine) callee(a *activation, s *ir.Stmt, args []tensor.Value) ([]tensor.Value, error) {
	var p *ir.Program
	switch c := s.Callee.(type) {
	case *ir.Func:
		return x.call(a.m, c, args, func(p *ir.Value) string { return fmt.Sprintf("operand %d (%s)", p.Index, p.Name) })
	case *ir.Program:
		p = c
	case *ir.Kernel:
		p = c.Program
	}
	bind, err := a.env.Shape(s.Bind)
	if err != nil {
		return nil, err
	}
	return x.program(p, bind, args)
}

func (x *machine) program(p *ir.Program, bind []int64, args []tensor.Value) ([]tensor.Value, error) {
	params := make([]*tensor.Tensor, len(args))
	for i, v := range args {
		t, ok := v.(*tensor.Tensor)
		if !ok {
			return nil, diag.New(diag.Run, "operand %d of program @%s is no tensor", i, p.Name)
		}
		params[i] = t
	}
	got, err := runProgram(x.ctx, p, bind, params, nil, x.mem)
	if err != nil {
		return nil, err
	}
	out := make([]tensor.Value, len(got))
	for i, t := range got {
		x.mem.drop(t) // the statement will hold it
		out[i] = t
	}
	return out, nil
}
