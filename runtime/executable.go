package runtime

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/reuse"
	"github.com/pitopt/pitopt/core/tensor"
)

// Options of an executable.
type Options struct {
	MaxBytes int64  // budget of a run over its intermediate values and results; 0: none
	Seed     uint64 // of random operators that have no seed of their own

	// Trace is called after each statement with its results, nil for those that nobody asked
	// for, as the interpreter's is. They mean nothing after it returns. Runs at the same time
	// call it at the same time.
	Trace func(s *ir.Stmt, results []tensor.Value)
}

// Executable is a module ready to run on a device. It is loaded once and called with any
// sizes that its symbols allow, from any number of goroutines.
type Executable struct {
	m     *ir.Module
	dev   Device
	opts  Options
	pool  Pool
	funcs map[*ir.Func]*code
	idle  reuse.List[machine]
	kept  atomic.Pointer[keeper]

	mu        sync.Mutex
	instances map[instanceKey]*instance
}

// Load readies a module for a device. The module must be valid, and must not be changed
// afterwards.
func Load(m *ir.Module, dev Device, o Options) (*Executable, error) {
	if m.Main() == nil {
		return nil, diag.New(diag.Run, "the module has no function @main")
	}
	x := &Executable{m: m, dev: dev, opts: o, funcs: map[*ir.Func]*code{}, instances: map[instanceKey]*instance{}}
	x.kept.Store(new(keeper))
	for _, f := range m.Funcs {
		c, err := compile(m, f, dev, o.MaxBytes)
		if err != nil {
			return nil, err
		}
		x.funcs[f] = c
	}
	return x, nil
}

// Stats tells of one run.
type Stats struct {
	PeakBytes int64 // of intermediate values and results at the same time
	Appended  int64 // bytes that were written to storages of states
}

// Run runs @main with inputs in the order of its parameters. Results are the caller's
// alone: they share memory with no input, no constant and no other result.
func (x *Executable) Run(ctx context.Context, inputs []tensor.Value) ([]tensor.Value, error) {
	out, _, err := x.Call(ctx, inputs, nil, nil)
	return out, err
}

// RunInto is Run into the caller's tensors, one for each result and of its type and
// shape. An output may share memory with inputs and with other outputs; one that shares
// none is written while the run goes on. After an error outputs may hold anything. A run of sizes
// that were there before takes nothing from Go, unless it has operators that no program computes.
func (x *Executable) RunInto(ctx context.Context, inputs []tensor.Value, outputs []*tensor.Tensor) error {
	f := x.m.Main()
	for i, t := range outputs {
		if t == nil && i < len(f.Results) {
			return diag.New(diag.Run, "output %q is missing", f.ResultName(i))
		}
	}
	if len(outputs) != len(f.Results) {
		return diag.New(diag.Run, "%d tensors for %d results", len(outputs), len(f.Results))
	}
	_, err := x.run(ctx, inputs, outputs, nil)
	return err
}

// Call is Run, and tells of the run. Results go into the outputs that there are, as RunInto
// has it; where an entry is nil, or there is none, the result is as Run gives it. They are listed
// in results, where that is not nil: what an earlier call put there, and nobody uses any more.
func (x *Executable) Call(ctx context.Context, inputs []tensor.Value, outputs []*tensor.Tensor, results []tensor.Value) ([]tensor.Value, Stats, error) {
	if n := len(x.m.Main().Results); len(results) != n {
		results = make([]tensor.Value, n)
	}
	stats, err := x.run(ctx, inputs, outputs, results)
	if err != nil {
		results = nil
	}
	return results, stats, err
}

// run runs main. Results are the caller's outputs, and, where they are not nil, listed in results.
func (x *Executable) run(ctx context.Context, inputs []tensor.Value, outputs []*tensor.Tensor, results []tensor.Value) (Stats, error) {
	mc := x.begin(ctx)
	var start time.Time
	if mc.recorder != nil {
		start = time.Now()
	}
	defer x.end(mc)
	for i, t := range outputs {
		if t != nil && alone(t, inputs, outputs[:i]) && alone(t, nil, outputs[i+1:]) {
			mc.into = append(mc.into, t)
		} else {
			mc.into = append(mc.into, nil)
		}
	}
	err := mc.enter()
	if err == nil {
		var out []tensor.Value
		if out, err = mc.run(inputs); err == nil {
			err = x.fill(mc, out, outputs, results)
		}
		if e := mc.depart(); err == nil {
			err = e
		}
	}
	if r := mc.recorder; r != nil {
		r.Add(Calls, r.row, "run", start, nil)
	}
	return Stats{mc.mem.peak, mc.appended}, err
}

// fill brings results to where the caller wants them.
func (x *Executable) fill(mc *machine, out []tensor.Value, outputs []*tensor.Tensor, results []tensor.Value) error {
	for i, o := range outputs {
		if o == nil {
			continue
		}
		t, ok := out[i].(*tensor.Tensor)
		if !ok || t.DType() != o.DType() || !slices.Equal(t.Shape(), o.Shape()) {
			return diag.New(diag.Run, "output %q is %s, the tensor given for it is %s", x.m.Main().ResultName(i), ir.TypeOf(out[i]), ir.TypeOf(o))
		}
	}
	if err := mc.homeAll(out, -1); err != nil {
		return err
	}
	for i := range outputs { // what the copy of another result would write over is saved
		t, ok := out[i].(*tensor.Tensor)
		for j, o := range outputs {
			if ok && i != j && o != nil && !there(t, outputs[i]) && !there(out[j], o) && overlap(t, o) {
				out[i] = t.Clone()
				break
			}
		}
	}
	for i := range results {
		if i < len(outputs) && outputs[i] != nil {
			continue
		}
		old, _ := results[i].(*tensor.Tensor)
		var err error
		if results[i], err = mc.mem.give(out[i], old); err != nil {
			return err
		}
	}
	for i, o := range outputs {
		t, ok := out[i].(*tensor.Tensor)
		if o == nil || !ok {
			continue
		}
		if !there(t, o) {
			copy(o.Bytes(), t.Bytes())
			copy(o.Strings(), t.Strings())
		}
		if results != nil {
			results[i] = o
		}
	}
	return nil
}

// there says whether a result is in the memory of an output already.
func there(v tensor.Value, o *tensor.Tensor) bool {
	t, ok := v.(*tensor.Tensor)
	return ok && o != nil && addressOf(t) == addressOf(o)
}

// alone says whether t shares memory with no value and no other tensor.
func alone(t *tensor.Tensor, values []tensor.Value, others []*tensor.Tensor) bool {
	free := true
	for _, v := range values {
		tensor.Each(v, func(u *tensor.Tensor) { free = free && !overlap(t, u) })
	}
	return free && !slices.ContainsFunc(others, func(u *tensor.Tensor) bool { return overlap(t, u) })
}

// overlap says whether two tensors have memory in common.
func overlap(a, b *tensor.Tensor) bool {
	return a != nil && b != nil && (meet(a.Bytes(), b.Bytes()) || meet(a.Strings(), b.Strings()))
}

func meet[T any](a, b []T) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	at := func(s []T, i int) uintptr { return uintptr(unsafe.Pointer(&s[i])) }
	return at(a, 0) <= at(b, len(b)-1) && at(b, 0) <= at(a, len(a)-1)
}

// begin readies a machine for a run of main.
func (x *Executable) begin(ctx context.Context) *machine {
	mc := x.idle.Get()
	if mc.x == nil {
		mc.x, mc.frames = x, map[*code]*frame{}
		mc.mem = arena{pool: &x.pool, budget: x.opts.MaxBytes, pieces: map[address]piece{}}
		mc.room = mc.mem.room
	}
	if r := RecorderOf(ctx); r != nil {
		ctx, mc.recorder = r.call(ctx)
	}
	mc.ctx, mc.draws, mc.appended = ctx, 0, 0
	for mc.kept = x.kept.Load(); !mc.kept.enter(); {
		mc.kept = x.kept.Load()
	}
	mc.mem.used, mc.mem.peak = 0, 0
	mc.main = mc.frame(x.funcs[x.m.Main()])
	mc.main.main = true
	return mc
}

// end gives back all memory that the run still has, and keeps nothing that is the caller's.
func (x *Executable) end(mc *machine) {
	mc.depart() // of a run that has failed; else it is done
	mc.mem.close()
	if r := mc.recorder; r != nil {
		r.Leave(Calls, r.row)
		mc.recorder = nil
	}
	mc.kept.leave()
	mc.ctx, mc.lent, mc.kernel, mc.called, mc.kept = nil, lent{}, ir.KernelCall{}, ir.Call{}, nil
	for _, f := range mc.ran {
		f.clear()
		f.ran = false
	}
	mc.ran = mc.ran[:0]
	clear(mc.into)
	mc.into = mc.into[:0]
	clear(mc.params[:cap(mc.params)])
	clear(mc.results[:cap(mc.results)])
	clear(mc.args[:cap(mc.args)])
	x.idle.Put(mc)
}

// Trim gives memory that is kept between runs back, and what was made of constants.
func (x *Executable) Trim() {
	x.kept.Swap(new(keeper)).drop() // runs that use something of it go on with it
	x.pool.Trim()
	x.idle.Clear()
}
