package pitopt

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
)

// Run runs the model. inputs are by name, one for each input; outputs likewise. Outputs
// are the caller's alone: they share memory with no input, nor with the model, and stay
// valid after Close. A model with inputs or outputs that are sequences or optionals is run
// by RunValues.
func (m *Model) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	args, err := arguments(m, inputs, nil)
	if err != nil {
		return nil, err
	}
	out, _, err := m.call(ctx, &m.compiled, args, nil, nil)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*tensor.Tensor, len(out))
	for i, v := range out {
		name := m.main().ResultName(i)
		t, ok := v.(*tensor.Tensor)
		if !ok {
			return nil, diag.New(diag.Run, "output %q is no tensor", name).In(m.path).Hint("use RunValues")
		}
		byName[name] = t
	}
	return byName, nil
}

// RunValues is Run for values of any type.
func (m *Model) RunValues(ctx context.Context, inputs map[string]tensor.Value) (map[string]tensor.Value, error) {
	args, err := arguments(m, inputs, nil)
	if err != nil {
		return nil, err
	}
	out, _, err := m.call(ctx, &m.compiled, args, nil, nil)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]tensor.Value, len(out))
	for i, v := range out {
		byName[m.main().ResultName(i)] = v
	}
	return byName, nil
}

// call is what a call of the model needs, kept between calls.
type call struct {
	args, results []tensor.Value
	into          []*tensor.Tensor
}

// done forgets all that is the caller's.
func (c *call) done() {
	clear(c.args[:cap(c.args)])
	clear(c.results)
	clear(c.into)
}

// RunInto is Run into the caller's tensors, which must have the types and shapes that come
// out. An output may share memory with inputs and with other outputs; what shares none is
// computed where it is to be. After an error outputs may hold anything. On the target cpu a run of
// sizes that were there before takes nothing from Go, unless it has operators that no program
// computes.
func (m *Model) RunInto(ctx context.Context, inputs, outputs map[string]*tensor.Tensor) (err error) {
	c := m.calls.Get()
	defer m.calls.Put(c)
	defer c.done()
	if c.args, err = arguments(m, inputs, c.args); err != nil {
		return err
	}
	f := m.main()
	if len(c.into) != len(f.Results) {
		c.into, c.results = make([]*tensor.Tensor, len(f.Results)), make([]tensor.Value, len(f.Results))
	}
	for i := range c.into {
		if c.into[i] = outputs[f.ResultName(i)]; c.into[i] == nil {
			return diag.New(diag.Run, "output %q is missing", f.ResultName(i)).In(m.path).Hint("its type is %s", f.Results[i].Type)
		}
	}
	if len(outputs) > len(c.into) {
		var names []string
		for i := range c.into {
			names = append(names, f.ResultName(i))
		}
		return stranger(m, "output", outputs, names)
	}
	_, _, err = m.call(ctx, &m.compiled, c.args, c.into, c.results)
	return err
}

// Memory tells what the plan of a run takes; see runtime.Executable.Memory.
func (m *Model) Memory(dims map[string]int64) (runtime.MemoryUse, error) {
	if m.exec == nil {
		return runtime.MemoryUse{}, m.noPlan()
	}
	use, err := m.exec.Memory(dims)
	if err != nil {
		err = diag.As(err, diag.Run).In(m.path)
	}
	return use, err
}

// Storages lists the storages of the plan of a run.
func (m *Model) Storages() ([]runtime.Storage, error) {
	if m.exec == nil {
		return nil, m.noPlan()
	}
	return m.exec.Storages(), nil
}

func (m *Model) noPlan() error {
	return diag.New(diag.Usage, "the target %s plans no memory", m.target).In(m.path).Hint("choose another in [target] of the pipeline")
}

// call runs what is compiled. Results go into the tensors that there are in into; others
// are the caller's alone, and made with what is in results from an earlier call. appended are
// bytes that were written to storages of states.
func (m *Model) call(ctx context.Context, c *compiled, args []tensor.Value, into []*tensor.Tensor, results []tensor.Value) (out []tensor.Value, appended int64, err error) {
	if err := m.enter(); err != nil {
		return nil, 0, err
	}
	defer m.mu.RUnlock()
	if c.exec != nil {
		var stats runtime.Stats
		out, stats, err = c.exec.Call(ctx, args, into, results)
		appended = stats.Appended
	} else {
		out, err = m.interpret(ctx, c, args, into)
	}
	if err != nil {
		return nil, 0, diag.As(err, diag.Run).In(m.path)
	}
	return out, appended, nil
}

// interpret is call on the target interp.
func (m *Model) interpret(ctx context.Context, c *compiled, args []tensor.Value, into []*tensor.Tensor) ([]tensor.Value, error) {
	if r := runtime.RecorderOf(ctx); r != nil {
		row := r.Enter(runtime.Calls)
		defer func(start time.Time) {
			r.Add(runtime.Calls, row, "run", start, nil)
			r.Leave(runtime.Calls, row)
		}(time.Now())
	}
	out, err := interp.Run(ctx, c.module, args, interp.Options{Seed: m.opts.seed, MaxBytes: m.opts.memory, Trace: m.opts.trace})
	if err != nil {
		return nil, err
	}
	for i, v := range out {
		out[i] = clone(v)
	}
	for i, o := range into {
		if o == nil {
			continue
		}
		t, ok := out[i].(*tensor.Tensor)
		if !ok || t.DType() != o.DType() || !slices.Equal(t.Shape(), o.Shape()) {
			return nil, diag.New(diag.Run, "output %q is %s, the tensor given for it is %s", c.module.Main().ResultName(i), ir.TypeOf(out[i]), ir.TypeOf(o))
		}
		copy(o.Bytes(), t.Bytes())
		copy(o.Strings(), t.Strings())
	}
	return out, nil
}

// enter keeps the model from being closed until mu is unlocked; an error: it is closed.
func (m *Model) enter() error {
	m.mu.RLock()
	if m.closed {
		m.mu.RUnlock()
		return diag.New(diag.Run, "the model is closed").In(m.path)
	}
	return nil
}

// clone copies a value: the interpreter's results may be inputs and constants.
func clone(v tensor.Value) tensor.Value {
	switch v := v.(type) {
	case *tensor.Tensor:
		return v.Clone()
	case *tensor.Sequence:
		out := &tensor.Sequence{Elems: make([]tensor.Value, len(v.Elems))}
		for i, e := range v.Elems {
			out.Elems[i] = clone(e)
		}
		return out
	case *tensor.Optional:
		if v.Elem != nil {
			return &tensor.Optional{Elem: clone(v.Elem)}
		}
	}
	return v
}

// arguments puts inputs into the model's order, in the place of what is in args.
func arguments[V tensor.Value](m *Model, inputs map[string]V, args []tensor.Value) ([]tensor.Value, error) {
	if m.face != nil {
		return nil, diag.New(diag.Usage, "the model is compiled for sessions").In(m.path).Hint("run it in one, or leave out the option ForSessions")
	}
	params := m.main().Params
	args = args[:0]
	for _, p := range params {
		v, ok := inputs[p.Name]
		if !ok || tensor.Missing(v) {
			return nil, diag.New(diag.Run, "input %q is missing", p.Name).In(m.path).Hint("its type is %s", p.Type)
		}
		args = append(args, v)
	}
	if len(inputs) > len(params) {
		var names []string
		for _, p := range params {
			names = append(names, p.Name)
		}
		return nil, stranger(m, "input", inputs, names)
	}
	return args, nil
}

// stranger is an error about a name that the model does not have.
func stranger[V any](m *Model, kind string, given map[string]V, names []string) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(names, name) {
			return diag.New(diag.Run, "there is no %s %q", kind, name).In(m.path).Hint("%s", diag.DidYouMean(name, names))
		}
	}
	return nil
}
