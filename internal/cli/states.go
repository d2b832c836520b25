package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes"
)

// begin tells which inputs are states that nobody gives: they begin as a session begins. A state
// that grows begins empty, unless a flag says how long it is: it is drawn then.
func (f *inputFlags) begin(m *ir.Module, have map[string]tensor.Value, env *ir.Env) map[string]bool {
	begins := map[string]bool{}
	for _, s := range f.states {
		if _, long := f.dims[s.Axis]; have[s.In] != nil || long && s.Axis != "" {
			continue
		}
		begins[s.In] = true
		if _, told := env.Lookup(s.Axis); s.Axis != "" && !told {
			env.Set(s.Axis, 0, "a state begins empty")
		}
	}
	return begins
}

// call runs a model once: as it is, or, where the pipeline names states, in a session that begins
// with the values of those. Outputs that are states are what these are afterwards.
func (a *app) call(ctx context.Context, m *pitopt.Model, p *passes.File, values map[string]tensor.Value) (map[string]tensor.Value, error) {
	if len(p.State) == 0 {
		return m.RunValues(ctx, values)
	}
	s, err := m.Session()
	if err != nil {
		return nil, err
	}
	return step(ctx, s, values)
}

// step is a call in a session.
func step(ctx context.Context, s *pitopt.Session, values map[string]tensor.Value) (map[string]tensor.Value, error) {
	inputs := map[string]*tensor.Tensor{}
	for name, v := range values {
		t, ok := v.(*tensor.Tensor)
		if !ok {
			return nil, diag.New(diag.Usage, "input %q is no tensor, which a session takes alone", name).Hint("take [[state]] out of the pipeline")
		}
		inputs[name] = t
	}
	got, err := s.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	out := map[string]tensor.Value{}
	for name, t := range got {
		out[name] = t
	}
	for _, st := range s.States() {
		if out[st.Out], err = s.State(st.Out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// callAgain times a call in a session, which begins as the one before it did: what grows is taken
// back to what it was at first.
func (a *app) callAgain(ctx context.Context, m *pitopt.Model, set *timedSet) (time.Duration, error) {
	s, inputs := set.session, map[string]*tensor.Tensor{}
	for name, v := range set.values {
		inputs[name], _ = v.(*tensor.Tensor)
	}
	for _, st := range s.States() {
		if !set.begun {
			continue
		}
		if st.Axis != "" {
			if err := s.Rewind(st.Axis, inputs[st.In].Shape()[axisOf(m, st)]); err != nil {
				return 0, err
			}
		}
		delete(inputs, st.In)
	}
	was, start := s.Appended(), time.Now()
	_, err := s.Run(ctx, inputs)
	took := time.Since(start)
	set.begun, set.appended = true, s.Appended()-was
	return took, set.drawn.blame(err)
}

// axisOf is the dim along which a state grows.
func axisOf(m *pitopt.Model, s pitopt.Carried) int {
	for _, in := range m.Inputs() {
		if in.Name == s.In {
			t, _ := in.Type.(ir.TensorType)
			return growing(t, s.Axis)
		}
	}
	return -1
}

// growing finds the dim that is a symbol by itself.
func growing(t ir.TensorType, axis string) int {
	for i, d := range t.Dims {
		if name, ok := d.Symbol(); ok && name == axis {
			return i
		}
	}
	return -1
}

// room is a state that a module has in a storage, as the pass state makes it.
type room struct {
	axis    int
	storage *tensor.Tensor
}

// inputs gives the values of a module's parameters, of states in storages those and how far they
// are filled; rooms are these states by the name of what comes out.
func (w *watcher) inputs(m *ir.Module) (inputs []tensor.Value, rooms map[string]room, err error) {
	rooms = map[string]room{}
	length := map[string]int64{} // by axis
	for _, p := range m.Main().Params {
		v := w.values[p.Name]
		t, _ := p.Tensor()
		i := slices.IndexFunc(w.states, func(s passes.State) bool { return s.In == p.Name && s.Axis != "" })
		if v == nil && len(rooms) > 0 { // how far storages are filled
			axis, _ := t.Dims[0].Symbol()
			v = tensor.New(tensor.U8, length[axis], 0)
		} else if x, ok := v.(*tensor.Tensor); ok && i >= 0 && growing(t, w.states[i].Axis) < 0 {
			s := w.states[i]
			axis := w.axes[s.In]
			length[s.Axis] = x.Shape()[axis]
			shape := slices.Clone(x.Shape())
			shape[axis] = s.Capacity
			storage, err := tensor.Make(x.DType(), shape)
			if err == nil {
				_, err = tensor.Paste(storage, axis, 0, x)
			}
			if err != nil {
				return nil, nil, diag.As(err, diag.Run)
			}
			rooms[s.Out], v = room{axis, storage}, storage
		}
		inputs = append(inputs, v)
	}
	return inputs, rooms, nil
}

// inStates notes the dims along which states grow, of the model as it was imported.
func (w *watcher) inStates(m *ir.Module) {
	w.axes = map[string]int{}
	for _, p := range m.Main().Params {
		t, _ := p.Tensor()
		for _, s := range w.states {
			if s.In == p.Name && s.Axis != "" {
				w.axes[s.In] = growing(t, s.Axis)
			}
		}
	}
}

// firstSet reads the inputs of a data set before a model is compiled; states without a file begin
// empty.
func (a *app) firstSet(set string, m *ir.Module, states []passes.State, f *testFlags) (map[string]tensor.Value, error) {
	var inputs []pitopt.Value
	for _, p := range m.Main().Params {
		inputs = append(inputs, pitopt.Value{Name: p.Name, Type: p.Type})
	}
	var carried []pitopt.Carried
	for _, s := range states {
		carried = append(carried, pitopt.Carry(s.In, s.Out, s.Axis, s.Capacity))
	}
	values, err := readSet(set, inputs, carried)
	if err != nil || len(values) == len(inputs) {
		return values, err
	}
	begin := &inputFlags{dims: map[string]int64{}, states: states}
	values, _, err = begin.draw(m, values, nil, a.common.seed, f.memory)
	return values, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// numberOf is the N of a folder test_data_set_N, so that those of consecutive calls are in order.
func numberOf(set string) (n int) {
	for _, c := range filepath.Base(set) {
		if c >= '0' && c <= '9' {
			n = n*10 + int(c-'0')
		} else {
			n = 0
		}
	}
	return n
}
