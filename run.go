package pitopt

import (
	"context"
	"maps"
	"slices"

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
	args, err := arguments(m, inputs)
	if err != nil {
		return nil, err
	}
	out, _, err := m.call(ctx, &m.compiled, args, nil)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*tensor.Tensor, len(out))
	for i, v := range out {
		name := m.module.Main().ResultName(i)
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
	args, err := arguments(m, inputs)
	if err != nil {
		return nil, err
	}
	out, _, err := m.call(ctx, &m.compiled, args, nil)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]tensor.Value, len(out))
	for i, v := range out {
		byName[m.module.Main().ResultName(i)] = v
	}
	return byName, nil
}

// RunInto is Run into the caller's tensors, which must have the types and shapes that come
// out. An output may share memory with inputs and with other outputs; what shares none is
// computed where it is to be. After an error outputs may hold anything.
func (m *Model) RunInto(ctx context.Context, inputs, outputs map[string]*tensor.Tensor) error {
	args, err := arguments(m, inputs)
	if err != nil {
		return err
	}
	f := m.module.Main()
	into := make([]*tensor.Tensor, len(f.Results))
	for i := range into {
		if into[i] = outputs[f.ResultName(i)]; into[i] == nil {
			return diag.New(diag.Run, "output %q is missing", f.ResultName(i)).In(m.path).Hint("its type is %s", f.Results[i].Type)
		}
	}
	if len(outputs) > len(into) {
		var names []string
		for i := range into {
			names = append(names, f.ResultName(i))
		}
		return stranger(m, "output", outputs, names)
	}
	_, _, err = m.call(ctx, &m.compiled, args, into)
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
// are the caller's alone. appended are bytes that were written to storages of states.
func (m *Model) call(ctx context.Context, c *compiled, args []tensor.Value, into []*tensor.Tensor) (out []tensor.Value, appended int64, err error) {
	err = m.running(func() (err error) {
		if c.exec != nil {
			var stats runtime.Stats
			out, stats, err = c.exec.Call(ctx, args, into)
			appended = stats.Appended
			return err
		}
		out, err = interp.Run(ctx, c.module, args, interp.Options{Seed: m.opts.seed, MaxBytes: m.opts.memory, Trace: m.opts.trace})
		for i, v := range out {
			out[i] = clone(v)
		}
		for i, o := range into {
			if err != nil || o == nil {
				continue
			}
			t, ok := out[i].(*tensor.Tensor)
			if !ok || t.DType() != o.DType() || !slices.Equal(t.Shape(), o.Shape()) {
				return diag.New(diag.Run, "output %q is %s, the tensor given for it is %s", c.module.Main().ResultName(i), ir.TypeOf(out[i]), ir.TypeOf(o)).In(m.path)
			}
			copy(o.Bytes(), t.Bytes())
			copy(o.Strings(), t.Strings())
		}
		return err
	})
	return out, appended, err
}

// running runs f, during which the model can not be closed.
func (m *Model) running(f func() error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return diag.New(diag.Run, "the model is closed").In(m.path)
	}
	if err := f(); err != nil {
		return diag.As(err, diag.Run).In(m.path)
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

// arguments puts inputs into the model's order.
func arguments[V tensor.Value](m *Model, inputs map[string]V) ([]tensor.Value, error) {
	params := m.module.Main().Params
	args := make([]tensor.Value, len(params))
	for i, p := range params {
		v, ok := inputs[p.Name]
		if args[i] = v; !ok || tensor.Missing(v) {
			return nil, diag.New(diag.Run, "input %q is missing", p.Name).In(m.path).Hint("its type is %s", p.Type)
		}
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
