package runtime

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// machine is one run.
type machine struct {
	x     *Executable
	ctx   context.Context
	mem   *arena
	draws uint64 // random statements so far
}

// frame is a call of a function: values and symbols by number.
type frame struct {
	c     *code
	vals  []tensor.Value
	slots []int64
	bound []bool
	who   []string // what bound each symbol
}

func (mc *machine) call(c *code, args []tensor.Value, who func(*ir.Value) string) ([]tensor.Value, error) {
	if len(args) != len(c.f.Params) {
		return nil, diag.New(diag.Run, "%d operands for function @%s, which takes %d", len(args), c.f.Name, len(c.f.Params))
	}
	f := &frame{c: c, vals: make([]tensor.Value, len(c.values)), slots: make([]int64, len(c.syms)), bound: make([]bool, len(c.syms)), who: make([]string, len(c.syms))}
	for i, p := range c.f.Params {
		if args[i] == nil {
			return nil, diag.New(diag.Run, "%s is missing", who(p))
		}
		if err := f.bind(p.Type, args[i], who(p)); err != nil {
			return nil, err
		}
		f.vals[c.values[p]] = args[i]
	}
	if err := f.env().Check(mc.x.m.Syms); err != nil {
		return nil, err
	}
	return mc.block(f, &c.f.Block)
}

// env gives the symbols of a frame as an environment, for what is rare: messages, and
// dims that must be solved for a symbol.
func (f *frame) env() *ir.Env {
	e := ir.NewEnv(nil)
	for s, i := range f.c.syms {
		if f.bound[i] {
			e.Set(s, f.slots[i], f.who[i])
		}
	}
	return e
}

// bind checks a value against a type, and gives symbols their values. The common case
// touches slots alone; everything else is left to ir.Env, which says what is wrong.
func (f *frame) bind(t ir.Type, v tensor.Value, who string) error {
	tt, ok := t.(ir.TensorType)
	x, ok2 := v.(*tensor.Tensor)
	if ok && ok2 && (tt.Unranked || len(tt.Dims) == x.Rank()) && (tt.DType == x.DType() || tt.DType == tensor.Invalid) {
		good := true
		for i, d := range tt.Dims {
			n := x.Shape()[i]
			if k, isConst := d.Int(); isConst {
				good = good && k == n
				continue
			}
			if name, bare := d.Symbol(); bare {
				s := f.c.syms[name]
				if !f.bound[s] {
					f.slots[s], f.bound[s], f.who[s] = n, true, fmt.Sprintf("dim %d of %s", i, who)
				}
				good = good && f.slots[s] == n
				continue
			}
			k, err := f.eval(d)
			good = good && err == nil && k == n
		}
		if good {
			return nil
		}
	}
	e := f.env()
	if err := e.Bind(t, v, who); err != nil {
		return err
	}
	for s, i := range f.c.syms {
		if n, ok := e.Lookup(s); ok && !f.bound[i] {
			f.slots[i], f.bound[i], f.who[i] = n, true, who
		}
	}
	return nil
}

// eval computes a symbolic integer of this function.
func (f *frame) eval(e sym.Expr) (int64, error) {
	if n, ok := e.Int(); ok {
		return n, nil
	}
	for _, s := range e.Symbols() {
		if i, ok := f.c.syms[s]; !ok || !f.bound[i] {
			return 0, fmt.Errorf("symbol %q has no value", s)
		}
	}
	if c := f.c.exprs[e.Key()]; c != nil {
		return c.Eval(f.slots)
	}
	return e.Eval(func(s string) (int64, bool) { i, ok := f.c.syms[s]; return f.slots[i], ok })
}

func (f *frame) shape(dims []sym.Expr) ([]int64, error) {
	out := make([]int64, len(dims))
	for i, d := range dims {
		n, err := f.eval(d)
		if err != nil {
			return nil, diag.As(err, diag.Run)
		}
		if n < 0 {
			return nil, diag.New(diag.Run, "dim %d is %s = %d", i, d, n)
		}
		out[i] = n
	}
	return out, nil
}

func (f *frame) get(v *ir.Value) tensor.Value {
	if v == nil {
		return nil
	}
	if v.Const != nil {
		return v.Const.Tensor
	}
	return f.vals[f.c.values[v]]
}

// block runs the statements of a block whose parameters are set.
func (mc *machine) block(f *frame, b *ir.Block) ([]tensor.Value, error) {
	for _, s := range b.Stmts {
		if err := mc.ctx.Err(); err != nil {
			return nil, interrupted(err)
		}
		if err := mc.stmt(f, s); err != nil {
			return nil, diag.As(err, diag.Run).At(s.Place(), strings.TrimPrefix(s.OpName(), "onnx."))
		}
	}
	out := make([]tensor.Value, len(b.Results))
	for i, r := range b.Results {
		if out[i] = f.get(r); out[i] == nil {
			return nil, diag.New(diag.Run, "result %%%s has no value", r.Name)
		}
	}
	return out, nil
}

func interrupted(err error) error {
	return diag.New(diag.Interrupted, "the run was stopped: %v", err)
}

func (mc *machine) stmt(f *frame, s *ir.Stmt) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "it failed: %v", v)
		}
	}()
	if s.Op != nil && s.Op.Name == ir.ReleaseName {
		for _, v := range s.Args {
			if v.Const == nil {
				mc.mem.drop(f.get(v))
				f.vals[f.c.values[v]] = nil
			}
		}
		return nil
	}
	args := make([]tensor.Value, len(s.Args))
	for i, v := range s.Args {
		args[i] = f.get(v)
		if v != nil && args[i] == nil {
			return diag.New(diag.Run, "%%%s has no value here", v.Name)
		}
	}
	var out []tensor.Value
	switch s.Kind {
	case ir.CastStmt:
		out = args
	case ir.CallStmt:
		out, err = mc.callee(f, s, args)
	default:
		out, err = mc.operator(f, s, args)
	}
	if err != nil {
		return err
	}
	for i, r := range s.Results {
		if r == nil {
			continue
		}
		if i >= len(out) || out[i] == nil {
			return diag.New(diag.Run, "it did not give result %d", i)
		}
		who := "%" + r.Name
		if r.Name == "" {
			who = fmt.Sprintf("result %d of %q", i, s.Place())
		}
		if !ir.SameType(r.Type, ir.Storage) {
			if err := f.bind(r.Type, out[i], who); err != nil {
				return err
			}
		}
		f.vals[f.c.values[r]] = out[i]
		mc.mem.hold(out[i])
	}
	return nil
}

func (mc *machine) callee(f *frame, s *ir.Stmt, args []tensor.Value) ([]tensor.Value, error) {
	var p *ir.Program
	switch c := s.Callee.(type) {
	case *ir.Func:
		return mc.call(mc.x.funcs[c], args, func(p *ir.Value) string { return fmt.Sprintf("operand %d (%s)", p.Index, p.Name) })
	case *ir.Program:
		p = c
	case *ir.Kernel:
		p = c.Program
	}
	bind, err := f.shape(s.Bind)
	if err != nil {
		return nil, err
	}
	results := make([]*tensor.Tensor, len(p.Results))
	for i, b := range p.Results {
		shape := make([]int64, len(b.Dims))
		for j, d := range b.Dims {
			n, err := d.Eval(func(name string) (int64, bool) {
				for k, sy := range p.Syms {
					if sy == name {
						return bind[k], true
					}
				}
				return 0, false
			})
			if err != nil || n < 0 {
				return nil, diag.New(diag.Run, "dim %d of %s is %s = %d (%v)", j, b.Name, d, n, err)
			}
			shape[j] = n
		}
		if i < len(s.Into) && s.Into[i] != nil {
			results[i], err = place(f, s.Into[i], b.DType, shape)
		} else {
			results[i], err = mc.mem.Alloc(b.DType, shape)
		}
		if err != nil {
			return nil, err
		}
	}
	return mc.run(p, bind, args, results)
}

// place is a tensor in a storage.
func place(f *frame, st *ir.Value, d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	mem, ok := f.get(st).(*tensor.Tensor)
	n, _ := tensor.Count(shape)
	size, ok2 := d.ByteLen(n)
	if !ok || !ok2 || size > mem.Len() {
		return nil, diag.New(diag.Run, "a %s%v does not fit its storage", d, shape)
	}
	return tensor.FromBytes(d, shape, mem.Bytes()[:size])
}

func (mc *machine) run(p *ir.Program, bind []int64, args []tensor.Value, results []*tensor.Tensor) ([]tensor.Value, error) {
	params := make([]*tensor.Tensor, len(args))
	for i, v := range args {
		t, ok := v.(*tensor.Tensor)
		if !ok {
			return nil, diag.New(diag.Run, "operand %d of program @%s is no tensor", i, p.Name)
		}
		params[i] = t
	}
	if err := mc.x.dev.Run(mc.ctx, p, bind, params, results, mc.mem); err != nil {
		return nil, err
	}
	out := make([]tensor.Value, len(results))
	for i, t := range results {
		out[i] = t
	}
	return out, nil
}

// operator runs what stayed an operator: views and control flow here, anything else by
// the instance for just these operands.
func (mc *machine) operator(f *frame, s *ir.Stmt, args []tensor.Value) ([]tensor.Value, error) {
	switch s.Op.Name {
	case "onnx.If":
		return mc.runIf(f, s, args)
	case "onnx.Loop":
		return mc.runLoop(f, s, args)
	case ir.ViewName:
		t, ok := s.Attrs.Get("type").(ir.TensorType)
		x, ok2 := args[0].(*tensor.Tensor)
		if !ok || !ok2 {
			return nil, diag.New(diag.Run, "a view of what is no tensor")
		}
		shape, err := f.shape(t.Dims)
		if err != nil {
			return nil, err
		}
		y, err := x.View(shape...)
		return []tensor.Value{y}, err
	case ir.AllocName:
		e, err := sym.Parse(s.Attrs.Get("bytes").(string))
		if err != nil {
			return nil, err
		}
		n, err := f.eval(e)
		if err != nil {
			return nil, err
		}
		t, err := mc.mem.Alloc(tensor.U8, []int64{n})
		return []tensor.Value{t}, err
	}
	in, err := mc.x.instance(s, args)
	if err != nil {
		return nil, err
	}
	if s.Op.View && in.Program != nil { // the same memory under the shape that was deduced
		shape, ok := in.Out[0].Static()
		if x, isTensor := args[0].(*tensor.Tensor); ok && isTensor {
			y, err := x.View(shape...)
			return []tensor.Value{y}, err
		}
	}
	switch {
	case in.Program != nil:
		return mc.instanceProgram(s, in, args)
	case in.Func != nil:
		var given []tensor.Value
		for _, v := range args {
			if v != nil {
				given = append(given, v)
			}
		}
		return mc.call(compile(in.Module, in.Func), given, func(p *ir.Value) string { return fmt.Sprintf("operand %d", p.Index) })
	}
	call := *in.Call
	k := &ir.KernelCall{Call: &call, Context: mc.ctx, Args: args}
	if s.Op.Effect != ir.Pure {
		mc.draws++
		k.Rand = rand.New(rand.NewPCG(mc.x.opts.Seed, mc.draws))
	}
	if err := mc.mem.room(k.ResultBytes()); err != nil {
		return nil, err
	}
	return s.Op.Kernel(k)
}

func (mc *machine) instanceProgram(s *ir.Stmt, in *ir.Instance, args []tensor.Value) ([]tensor.Value, error) {
	params := make([]tensor.Value, len(in.Args))
	for i, n := range in.Args {
		params[i] = args[n]
	}
	results := make([]*tensor.Tensor, len(in.Program.Results))
	for i, t := range in.Out {
		shape, ok := t.Static()
		if !ok {
			return nil, diag.New(diag.Run, "result %d has type %s when all operands are known", i, t)
		}
		var err error
		if results[i], err = mc.mem.Alloc(t.DType, shape); err != nil {
			return nil, err
		}
	}
	got, err := mc.run(in.Program, nil, params, results)
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
}
