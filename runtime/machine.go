package runtime

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// machine is one run. Whatever gives a value gives one reference to its memory with it:
// the place that keeps the value has it then, until the value is released or its block
// ends.
type machine struct {
	x        *Executable
	ctx      context.Context
	mem      arena
	main     *frame
	into     []*tensor.Tensor // of RunInto: the caller's memory for the results of main; nil entry: not to be written before the end
	draws    uint64           // random statements so far
	appended int64            // bytes written to storages of states

	params, results []*tensor.Tensor // of the program that is being run
	bind, shape     []int64
	key             []byte
	lent            lent
}

// run runs main.
func (mc *machine) run(inputs []tensor.Value) (out []tensor.Value, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, diag.New(diag.Run, "the run failed: %v", v)
		}
	}()
	return mc.call(mc.main, inputs)
}

// call runs a function, and gives its results.
func (mc *machine) call(f *frame, args []tensor.Value) ([]tensor.Value, error) {
	params := f.c.body.params
	if len(args) != len(params) {
		return nil, diag.New(diag.Run, "%d operands for function @%s, which takes %d", len(args), f.c.f.Name, len(params))
	}
	for i, p := range params {
		if tensor.Missing(args[i]) {
			return nil, diag.New(diag.Run, "%s is missing", f.who(p.v)).Hint("its type is %s", p.v.Type)
		}
		f.vals[p.n] = args[i]
	}
	for n := -1; n != f.told; { // a dim may need a symbol that a later parameter tells
		n = f.told
		for i, p := range params {
			if err := f.bind(p, args[i]); err != nil {
				return nil, err
			}
		}
	}
	return mc.block(f, f.c.body)
}

// block runs the statements of a block whose parameters are set. Afterwards its places
// are empty.
func (mc *machine) block(f *frame, b *block) ([]tensor.Value, error) {
	for _, s := range b.stmts {
		if err := mc.ctx.Err(); err != nil {
			return nil, diag.Stopped(err)
		}
		if err := mc.stmt(f, s); err != nil {
			if s.Kind == ir.CallStmt {
				err = f.env().Explain(f.c.known, s.Stmt, err)
			}
			return nil, diag.As(err, diag.Run).At(s.Place(), strings.TrimPrefix(s.OpName(), "onnx."))
		}
		if mc.x.opts.Trace != nil {
			mc.trace(f, s)
		}
		mc.leave(f, s.last)
	}
	out := make([]tensor.Value, len(b.results))
	for i, r := range b.results {
		if out[i] = f.get(r); out[i] == nil {
			return nil, diag.New(diag.Run, "result %%%s has no value", r.v.Name)
		}
		mc.mem.hold(out[i])
	}
	for _, s := range b.stmts {
		for _, r := range s.results {
			if r != nil {
				mc.release(f, r.n)
			}
		}
	}
	return out, nil
}

func (mc *machine) trace(f *frame, s *stmt) {
	results := make([]tensor.Value, len(s.results))
	for i, r := range s.results {
		if r != nil {
			results[i] = f.vals[r.n]
		}
	}
	mc.x.opts.Trace(s.Stmt, results)
}

// release empties a place.
func (mc *machine) release(f *frame, n int) {
	if v := f.vals[n]; v != nil {
		mc.mem.drop(v)
		f.vals[n] = nil
	}
}

// stmt runs a statement. What panics in it is its failure.
func (mc *machine) stmt(f *frame, s *stmt) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "it failed: %v", v)
		}
	}()
	if s.Op != nil && s.Op.Name == ir.AllocName { // storages get their memory when something is placed in one
		return nil
	}
	if s.Op != nil && s.Op.Name == ir.ReleaseName {
		for _, o := range s.args {
			if o.n >= 0 {
				mc.release(f, o.n)
			}
		}
		return nil
	}
	for _, o := range s.args {
		if o.v != nil && f.get(o) == nil {
			return diag.New(diag.Run, "%%%s has no value here", o.v.Name)
		}
	}
	switch {
	case s.Kind == ir.CastStmt:
		v := f.get(s.args[0])
		mc.mem.hold(v)
		return mc.put(f, s, 0, v)
	case s.program != nil:
		return mc.callProgram(f, s)
	case s.Kind == ir.CallStmt:
		c := mc.x.funcs[s.Callee.(*ir.Func)]
		out, err := mc.call(newFrame(c, nil), f.values(s.args))
		if err != nil {
			return err
		}
		return mc.putAll(f, s, out)
	}
	return mc.operator(f, s)
}

// values gives the values of operands in a list of its own.
func (f *frame) values(args []operand) []tensor.Value {
	out := make([]tensor.Value, len(args))
	for i, o := range args {
		out[i] = f.get(o)
	}
	return out
}

// put keeps result i of a statement, or gives it up where nobody asked for it.
func (mc *machine) put(f *frame, s *stmt, i int, v tensor.Value) error {
	if i >= len(s.results) || s.results[i] == nil {
		mc.mem.drop(v)
		return nil
	}
	if tensor.Missing(v) {
		return diag.New(diag.Run, "it did not give result %d", i)
	}
	r := s.results[i]
	if err := f.bind(r, v); err != nil {
		return err
	}
	f.vals[r.n] = v
	return nil
}

// putAll keeps all results of a statement.
func (mc *machine) putAll(f *frame, s *stmt, out []tensor.Value) error {
	for i, v := range out {
		if err := mc.put(f, s, i, v); err != nil {
			return err
		}
	}
	for i := len(out); i < len(s.results); i++ {
		if s.results[i] != nil {
			return diag.New(diag.Run, "it did not give result %d", i)
		}
	}
	return nil
}

// callProgram runs the program of a call.
func (mc *machine) callProgram(f *frame, s *stmt) error {
	var err error
	if mc.bind, err = f.evalAll(s.bind, mc.bind[:0]); err != nil {
		return err
	}
	mc.params, mc.results = mc.params[:0], mc.results[:0]
	for i, o := range s.args {
		if err := mc.param(s.program, i, f.get(o)); err != nil {
			return err
		}
	}
	for i := range s.shapes {
		b := s.buffer(i)
		mc.shape = mc.shape[:0]
		for j := range s.shapes[i] {
			d := &s.shapes[i][j]
			n, err := d.eval(mc.bind)
			if err == nil && n < 0 {
				err = diag.New(diag.Run, "dim %d of %s is %s = %d", j, b.Name, d.expr, n)
			}
			if err != nil {
				return diag.As(err, diag.Run)
			}
			mc.shape = append(mc.shape, n)
		}
		var t *tensor.Tensor
		if i < len(s.program.Results) || s.into[i] != nil {
			if t, err = mc.alloc(f, s, i, b.DType, mc.shape); err != nil {
				return err
			}
		}
		mc.results = append(mc.results, t)
	}
	return mc.compute(f, s, s.kernel, s.program, mc.bind)
}

// buffer gives result i of the program of a call, or, behind those, a temporary that is
// placed.
func (s *stmt) buffer(i int) *ir.Buffer {
	if i < len(s.program.Results) {
		return s.program.Results[i]
	}
	return s.temps[i-len(s.program.Results)]
}

// param appends an operand to those of the program that is to run.
func (mc *machine) param(p *ir.Program, i int, v tensor.Value) error {
	t, ok := v.(*tensor.Tensor)
	if !ok {
		return diag.New(diag.Run, "operand %d of program @%s is no tensor", i, p.Name)
	}
	mc.params = append(mc.params, t)
	return nil
}

// compute runs a program on the device, and keeps its results.
func (mc *machine) compute(f *frame, s *stmt, kernel string, p *ir.Program, bind []int64) error {
	for _, t := range mc.results { // the bits behind the last element are 0, as everywhere
		if t != nil && t.DType().IsSmall() && t.Len() > 0 {
			b := t.Bytes()
			b[len(b)-1] = 0
		}
	}
	mc.lent = lent{arena: &mc.mem, mc: mc, f: f}
	if p == s.program {
		mc.lent.s = s
	}
	if err := mc.x.dev.Run(mc.ctx, kernel, p, bind, mc.params, mc.results, &mc.lent); err != nil {
		return err
	}
	mc.results = mc.results[:len(p.Results)] // temporaries are done with
	n := 0
	for i, r := range s.results {
		if r == nil && p != s.program { // an instance computes only what is asked for
			continue
		}
		if err := mc.put(f, s, i, mc.results[n]); err != nil {
			return err
		}
		n++
	}
	for ; n < len(mc.results); n++ {
		mc.mem.drop(mc.results[n])
	}
	return nil
}

// alloc makes the memory of result i of a statement, or, behind those, of a temporary: where
// it is placed, or the caller's where it is to become a result of main.
func (mc *machine) alloc(f *frame, s *stmt, i int, d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	if i < len(s.into) && s.into[i] != nil {
		return mc.within(f, s.into[i], d, shape)
	}
	if f == mc.main && len(mc.into) > 0 && i < len(s.results) && s.results[i] != nil {
		if r, ok := f.c.landing[s.results[i].n]; ok && r < len(mc.into) && mc.into[r] != nil {
			t := mc.into[r]
			n, _ := tensor.Count(shape)
			switch {
			case t.DType() != d || t.Len() != n: // said at the end
			case slices.Equal(t.Shape(), shape):
				return t, nil
			default:
				return t.View(shape...)
			}
		}
	}
	return mc.mem.Alloc(d, shape)
}

// operator runs what stayed an operator: views and control flow here, anything else by
// the instance for just these operands.
func (mc *machine) operator(f *frame, s *stmt) error {
	switch s.Op.Name {
	case "onnx.If":
		out, err := mc.runIf(f, s)
		if err != nil {
			return err
		}
		return mc.putAll(f, s, out)
	case "onnx.Loop":
		out, err := mc.runLoop(f, s)
		if err != nil {
			return err
		}
		return mc.putAll(f, s, out)
	case ir.ViewName:
		var err error
		if mc.shape, err = f.evalAll(s.shape, mc.shape[:0]); err != nil {
			return err
		}
		return mc.view(f, s, f.get(s.args[0]), mc.shape)
	case ir.AppendName:
		out, written, err := ir.Append(s.Stmt, f.values(s.args))
		if err != nil {
			return err
		}
		mc.appended += written
		mc.mem.hold(out[0])
		if err := mc.put(f, s, 0, out[0]); err != nil {
			return err
		}
		return mc.put(f, s, 1, out[1])
	}
	args := append(f.values(s.args), f.values(s.around)...)
	in, err := mc.x.instance(s.Stmt, args)
	if err != nil {
		return err
	}
	switch {
	case s.Op.View && in.Program != nil: // the same memory under the shape that was deduced
		shape, ok := in.Out[0].Static()
		if !ok {
			return diag.New(diag.Run, "the result has type %s when all operands are known", in.Out[0])
		}
		return mc.view(f, s, args[0], shape)
	case in.Program != nil:
		mc.params, mc.results = mc.params[:0], mc.results[:0]
		for i, n := range in.Args {
			if err := mc.param(in.Program, i, args[n]); err != nil {
				return err
			}
		}
		return mc.runInstance(f, s, in)
	case in.code != nil:
		given := args[:0]
		for _, v := range args {
			if v != nil {
				given = append(given, v)
			}
		}
		out, err := mc.call(newFrame(in.code, nil), given)
		if err != nil {
			return err
		}
		return mc.putAll(f, s, out)
	}
	call := *in.Call
	k := &ir.KernelCall{Call: &call, Context: mc.ctx, Args: args[:len(s.args)], Room: mc.mem.room}
	if s.Op.Effect != ir.Pure {
		mc.draws++
		k.Rand = rand.New(rand.NewPCG(mc.x.opts.Seed, mc.draws))
	}
	if err := k.NeedResults(); err != nil {
		return err
	}
	out, err := k.Run()
	if err != nil {
		return err
	}
	for _, v := range out {
		if err := mc.mem.adopt(v, args); err != nil {
			return err
		}
	}
	return mc.putAll(f, s, out)
}

func (mc *machine) view(f *frame, s *stmt, v tensor.Value, shape []int64) error {
	x, ok := v.(*tensor.Tensor)
	if !ok {
		return diag.New(diag.Run, "a view of what is no tensor")
	}
	y, err := x.View(shape...)
	if err != nil {
		return err
	}
	mc.mem.hold(y)
	return mc.put(f, s, 0, y)
}

// runInstance runs the program of an operator, which has the parameters already.
func (mc *machine) runInstance(f *frame, s *stmt, in *instance) error {
	n := 0
	for i, r := range s.results {
		if r == nil {
			continue
		}
		if n >= len(in.Out) {
			return diag.New(diag.Run, "it did not give result %d", i)
		}
		shape, ok := in.Out[n].Static()
		if !ok {
			return diag.New(diag.Run, "result %d has type %s when all operands are known", i, in.Out[n])
		}
		t, err := mc.alloc(f, s, i, in.Out[n].DType, shape)
		if err != nil {
			return err
		}
		mc.results = append(mc.results, t)
		n++
	}
	return mc.compute(f, s, in.kernel, in.Program, nil)
}
