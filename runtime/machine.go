package runtime

import (
	"context"
	"math/rand/v2"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/reuse"
	"github.com/pitopt/pitopt/core/tensor"
)

// machine is one run. Whatever gives a value gives one reference to its memory with it:
// the place that keeps the value has it then, until the value is released or its block
// ends.
type machine struct {
	x        *Executable
	ctx      context.Context
	recorder *Recorder // nil: nobody asks
	mem      arena
	main     *frame
	frames   map[*code]*frame
	ran      []*frame         // in this run
	into     []*tensor.Tensor // of RunInto: the caller's memory for the results of main; nil entry: not to be written before the end
	draws    uint64           // random statements so far
	appended int64            // bytes written to storages of states

	params, results []*tensor.Tensor // of the program that is being run
	counted         []int64          // a shape of which a dim was counted
	args            []tensor.Value   // of a statement
	bind, shape     []int64
	key             []byte
	kernel          ir.KernelCall // of the operator that is being run, and its call
	called          ir.Call
	room            func(bytes int64) error // of mem
	lent            lent
	memories        reuse.List[memory]
	kept            *keeper
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

// call runs a function, and gives its results, which are good until it is called again.
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
// are empty. The results are good until the block runs again.
func (mc *machine) block(f *frame, b *block) ([]tensor.Value, error) {
	for _, s := range b.stmts {
		if err := mc.ctx.Err(); err != nil {
			return nil, diag.Stopped(err)
		}
		if err := mc.record(f, s); err != nil {
			if s.Kind == ir.CallStmt {
				err = f.env().Explain(f.c.known, s.Stmt, err)
			}
			return nil, diag.As(err, diag.Run).At(s.Place(), strings.TrimPrefix(s.OpName(), "onnx."))
		}
		if mc.x.opts.Trace != nil {
			if err := mc.trace(f, s); err != nil {
				return nil, err
			}
		}
		mc.leave(f, s.last)
	}
	out := f.gives[b.n]
	if out == nil {
		out = make([]tensor.Value, len(b.results))
		f.gives[b.n] = out
	}
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

func (mc *machine) trace(f *frame, s *stmt) error {
	results := make([]tensor.Value, len(s.results))
	for i, r := range s.results {
		if r != nil {
			results[i] = f.vals[r.n]
		}
	}
	if err := mc.homeAll(results, -1); err != nil {
		return err
	}
	mc.x.opts.Trace(s.Stmt, results)
	return nil
}

// release empties a place.
func (mc *machine) release(f *frame, n int) {
	if v := f.vals[n]; v != nil {
		mc.mem.drop(v)
		f.vals[n] = nil
	}
}

// record runs a statement, and tells the timeline of it where there is one.
func (mc *machine) record(f *frame, s *stmt) error {
	if mc.recorder == nil {
		return mc.stmt(f, s)
	}
	return mc.recorder.statement(s.Stmt, func() error { return mc.stmt(f, s) })
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
		mc.args = f.values(s.args, mc.args[:0])
		out, err := mc.call(mc.frame(c), mc.args)
		if err != nil {
			return err
		}
		return mc.putCalled(f, s, out)
	}
	return mc.operator(f, s)
}

// values appends the values of operands to a list.
func (f *frame) values(args []operand, list []tensor.Value) []tensor.Value {
	for _, o := range args {
		list = append(list, f.get(o))
	}
	return list
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

// putCalled keeps what a function gave, whose tensors are others when it is called again.
func (mc *machine) putCalled(f *frame, s *stmt, out []tensor.Value) error {
	for i, v := range out {
		if t, ok := v.(*tensor.Tensor); ok && t != nil && i < len(s.results) && s.results[i] != nil {
			h := f.head(s, i)
			if err := h.OwnView(t, t.Shape()); err != nil {
				return err
			}
			out[i] = h
		}
	}
	return mc.putAll(f, s, out)
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
	for _, t := range mc.results {
		if t != nil {
			clearTail(t)
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
// it is placed, or where the memory of what it becomes is.
func (mc *machine) alloc(f *frame, s *stmt, i int, d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	t := f.head(s, i)
	if i < len(s.into) && s.into[i] != nil {
		return t, mc.within(f, s.into[i], t, d, shape)
	}
	if i < len(s.results) && s.results[i] != nil {
		if ok, err := mc.landed(f, s.results[i].n, t, d, shape); ok || err != nil {
			return t, err
		}
	}
	return mc.mem.allocAs(t, d, shape)
}

// landed makes t a tensor over the memory of a result that value n becomes; false where there is
// none yet.
func (mc *machine) landed(f *frame, n int, t *tensor.Tensor, d tensor.DType, shape []int64) (bool, error) {
	for {
		l, ok := f.c.landing[n]
		switch {
		case !ok:
			return false, nil
		case l.s == nil: // the caller's, unless its shape is another one, which is said at the end
			if f != mc.main || l.result >= len(mc.into) || mc.into[l.result] == nil {
				return false, nil
			}
			o := mc.into[l.result]
			if n, _ := tensor.Count(shape); o.DType() != d || o.Len() != n {
				return false, nil
			}
			return true, t.OwnView(o, shape)
		case l.s.Op.Control == ir.Repeats:
			return mc.landedInLoop(f, l, t, d, shape)
		case l.result < len(l.s.into) && l.s.into[l.result] != nil:
			return true, mc.within(f, l.s.into[l.result], t, d, shape)
		}
		n = l.s.results[l.result].n
	}
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
		for i, v := range out {
			if i < len(s.into) && s.into[i] != nil {
				if out[i], err = mc.settle(f, s.into[i], f.head(s, i), v); err != nil {
					return err
				}
			}
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
		mc.args = f.values(s.args, mc.args[:0])
		if err := mc.homeAll(mc.args, -1); err != nil {
			return err
		}
		room, filled, written, err := ir.Append(s.Stmt, mc.args)
		if err != nil {
			return err
		}
		mc.appended += written
		mc.mem.over(room.Bytes())
		mc.mem.hold(room)
		if err := mc.put(f, s, 0, room); err != nil {
			return err
		}
		mc.shape = append(mc.shape[:0], filled, 0)
		t := f.head(s, 1)
		if err := t.Own(tensor.U8, mc.shape, []byte{}); err != nil {
			return err
		}
		return mc.put(f, s, 1, t)
	}
	mc.args = f.values(s.around, f.values(s.args, mc.args[:0]))
	args := mc.args
	if err := mc.homeAll(args, ir.MaxKnown); err != nil { // contents tell the instance
		return err
	}
	in, err := mc.instance(s.Stmt, args)
	if err != nil {
		return err
	}
	switch {
	case s.Op.View && in.Program != nil: // the same memory under the shape that was deduced
		if in.shapes[0] == nil {
			return diag.New(diag.Run, "the result has type %s when all operands are known", in.Out[0])
		}
		return mc.view(f, s, args[0], in.shapes[0])
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
		out, err := mc.call(mc.frame(in.code), given)
		if err != nil {
			return err
		}
		return mc.putCalled(f, s, out)
	}
	if err := mc.homeAll(args, -1); err != nil {
		return err
	}
	mc.called = *in.Call
	mc.kernel = ir.KernelCall{Call: &mc.called, Context: mc.ctx, Args: args[:len(s.args)], Room: mc.room}
	k := &mc.kernel
	if s.Op.Fill != nil {
		return mc.fill(f, s, in, k)
	}
	for i, v := range args { // a result may hold it, and so longer than it is what it is here
		if t, ok := v.(*tensor.Tensor); ok {
			var err error
			if args[i], err = t.View(t.Shape()...); err != nil {
				return err
			}
		}
	}
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
	y := f.head(s, 0)
	if err := y.OwnView(x, shape); err != nil {
		return err
	}
	mc.mem.hold(y)
	return mc.put(f, s, 0, y)
}

// fill runs a kernel that writes results which are there.
func (mc *machine) fill(f *frame, s *stmt, in *instance, k *ir.KernelCall) error {
	mc.results = mc.results[:0]
	for i, r := range s.results {
		if r == nil {
			mc.results = append(mc.results, nil)
			continue
		}
		shape := in.shapes[i]
		if shape == nil {
			var err error
			if shape, err = k.Shape(mc.counted[:0], in.Out[i]); err != nil {
				return err
			}
			mc.counted = shape
		}
		t, err := mc.alloc(f, s, i, in.Out[i].DType, shape)
		if err != nil {
			return err
		}
		mc.mem.over(t.Bytes())
		clearTail(t)
		mc.results = append(mc.results, t)
	}
	if kept := s.kept.Load(); kept != nil {
		for i, t := range mc.results {
			if t != nil {
				copy(t.Bytes(), (*kept)[i].Bytes())
			}
		}
	} else if err := k.Fill(mc.results); err != nil {
		return err
	} else if s.once {
		s.keep(mc.results)
	}
	for i, t := range mc.results {
		if t != nil {
			if err := mc.put(f, s, i, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep copies what an operator makes of constants alone, so that no other run does: sizes are those of the constants.
func (s *stmt) keep(results []*tensor.Tensor) {
	list := make([]*tensor.Tensor, len(results))
	for i, t := range results {
		if t != nil {
			if t.DType() == tensor.String || len(t.Bytes()) > keptOnce {
				return
			}
			list[i] = t.Clone()
		}
	}
	s.kept.Store(&list)
}

// keptOnce is up to what size a result of constants is kept, in bytes.
const keptOnce = 1 << 12

// clearTail makes the bits behind the last element 0, as they are everywhere.
func clearTail(t *tensor.Tensor) {
	if t.DType().IsSmall() && t.Len() > 0 {
		b := t.Bytes()
		b[len(b)-1] = 0
	}
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
		if in.shapes[n] == nil {
			return diag.New(diag.Run, "result %d has type %s when all operands are known", i, in.Out[n])
		}
		t, err := mc.alloc(f, s, i, in.Out[n].DType, in.shapes[n])
		if err != nil {
			return err
		}
		mc.results = append(mc.results, t)
		n++
	}
	return mc.compute(f, s, in.kernel, in.Program, nil)
}
