package pitopt

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
)

// Carried is a state: the output Out of a call is the input In of the next one. Where Axis
// names a dim of the input, it grows along that up to Capacity, from nothing; otherwise it
// is as large as before, and zeros at first.
type Carried struct {
	In, Out, Axis string
	Capacity      int64
}

// Carry is a state of a session: a cache that grows along a dim of its input, or, with the
// axis "" and the capacity 0, a state of one size.
func Carry(in, out, axis string, capacity int64) Carried { return Carried{in, out, axis, capacity} }

// Session runs a model call after call and keeps its states between them. A state that
// grows lies in memory with room for its capacity: a call writes only what is new, and reads
// the rest where it is. Others are handed over. It takes one call at a time; other sessions
// of the model run at the same time, and share code and weights.
type Session struct {
	m *Model
	c *compiled

	mu       sync.Mutex
	states   []*state
	lengths  map[string]int // by axis: the parameter that tells how far storages are filled
	appended int64
}

// state is a state and what it is now.
type state struct {
	Carried
	param, result int
	axis          int          // of Axis in the input; -1: it does not grow
	inPlace       bool         // value is a storage, filled so far
	value         tensor.Value // nil: the session starts
	filled        int64
}

// Session makes a session that carries states: those of the pipeline's [[state]] where none
// are given. What is compiled for it serves all sessions of the model with these states.
func (m *Model) Session(states ...Carried) (*Session, error) {
	if len(states) == 0 {
		for _, s := range m.opts.pipeline.State {
			states = append(states, Carried{s.In, s.Out, s.Axis, s.Capacity})
		}
	}
	for i, s := range states {
		if err := checkCarried(m.module.Main(), s); err != nil {
			return nil, diag.As(err, diag.Usage).In(m.path)
		}
		for _, t := range states[:i] {
			if s.In == t.In || s.Out == t.Out {
				return nil, diag.New(diag.Usage, "the state from %q to %q shares a name with another", s.Out, s.In).In(m.path)
			}
		}
	}
	c, err := m.carrying(states)
	if err != nil {
		return nil, err
	}
	s := &Session{m: m, c: c, lengths: map[string]int{}}
	f := c.module.Main()
	for _, x := range states {
		st := &state{Carried: x, axis: -1}
		st.param = slices.IndexFunc(f.Params, func(p *ir.Value) bool { return p.Name == x.In })
		for i := range f.Results {
			if f.ResultName(i) == x.Out {
				st.result = i
			}
		}
		if x.Axis != "" {
			st.axis = growing(m.typeOf(x.In), x.Axis)
			t, _ := f.Params[st.param].Tensor()
			st.inPlace = !t.Dims[st.axis].Equal(sym.Var(x.Axis))
		}
		s.states = append(s.states, st)
	}
	for i, p := range f.Params[len(m.module.Main().Params):] { // what the pass state put there
		t, _ := p.Tensor()
		name, _ := t.Dims[0].Symbol()
		s.lengths[name] = len(m.module.Main().Params) + i
	}
	return s, nil
}

// carrying gives the model compiled for states.
func (m *Model) carrying(states []Carried) (*compiled, error) {
	m.carriedMu.Lock()
	defer m.carriedMu.Unlock()
	key := fmt.Sprintf("%#v", states)
	if c := m.carried[key]; c != nil {
		return c, nil
	}
	var c compiled
	err := m.running(func() (err error) {
		c, err = m.compile(context.WithoutCancel(m.opts.ctx), Observer{Note: m.opts.observe.Note}, states)
		return err
	})
	if err != nil {
		return nil, err
	}
	if m.carried == nil {
		m.carried = map[string]*compiled{}
	}
	m.carried[key] = &c
	return &c, nil
}

// carry tells the pass that gives states their storages of those that grow.
func carry(steps []pass.Step, states []Carried) {
	var list []string
	for _, s := range states {
		if s.Axis != "" {
			list = append(list, fmt.Sprintf("%s %s %s %d", strconv.Quote(s.In), strconv.Quote(s.Out), strconv.Quote(s.Axis), s.Capacity))
		}
	}
	for i, s := range steps {
		if s.Pass == builtin.State && list != nil {
			options := map[string]any{}
			for k, v := range s.Options {
				options[k] = v
			}
			options["carry"] = list
			steps[i].Options = options
			return
		}
	}
}

// typeOf is the type that the model says an input has.
func (m *Model) typeOf(input string) ir.Type { return typeOf(m.module.Main(), input) }

func typeOf(f *ir.Func, input string) ir.Type {
	for _, p := range f.Params {
		if p.Name == input {
			return p.Type
		}
	}
	return nil
}

// growing finds the dim that is a symbol by itself; -1 where there is none.
func growing(t ir.Type, axis string) int {
	x, _ := t.(ir.TensorType)
	return slices.IndexFunc(x.Dims, func(d sym.Expr) bool { name, ok := d.Symbol(); return ok && name == axis })
}

// checkCarried says what is wrong with a state of the function main.
func checkCarried(f *ir.Func, s Carried) error {
	var ins, outs []string
	for _, p := range f.Params {
		ins = append(ins, p.Name)
	}
	for i := range f.Results {
		outs = append(outs, f.ResultName(i))
	}
	t := typeOf(f, s.In)
	switch {
	case t == nil:
		return diag.New(diag.Usage, "there is no input %q to carry a state", s.In).Hint("%s", diag.DidYouMean(s.In, ins))
	case !slices.Contains(outs, s.Out):
		return diag.New(diag.Usage, "there is no output %q to carry a state", s.Out).Hint("%s", diag.DidYouMean(s.Out, outs))
	case s.Axis != "" && growing(t, s.Axis) < 0:
		return diag.New(diag.Usage, "input %q, of type %s, has no dim %q to grow along", s.In, t, s.Axis)
	case (s.Axis == "") != (s.Capacity == 0) || s.Capacity < 0:
		return diag.New(diag.Usage, "the state %q has the axis %q and the capacity %d", s.In, s.Axis, s.Capacity).
			Hint("a state that grows has both, another one neither")
	}
	return nil
}

// checkStates says what is wrong with the [[state]] entries of a pipeline.
func checkStates(m *ir.Module, f *passes.File) error {
	for _, s := range f.State {
		if err := checkCarried(m.Main(), Carried{s.In, s.Out, s.Axis, s.Capacity}); err != nil {
			e := diag.As(err, diag.Pipeline)
			return diag.New(diag.Pipeline, "%s", e.Msg).In(s.Where).Hint("%s", e.Way)
		}
	}
	return nil
}

// Run is Run of the model, without the states: inputs are the others, and so are outputs.
// An input that carries a state may be given; the state is that then. After an error
// states are as they were.
func (s *Session) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, err := s.call(ctx, inputs, nil)
	if err != nil {
		return nil, err
	}
	byName := map[string]*tensor.Tensor{}
	for i, v := range out {
		if s.carries(i) {
			continue
		}
		t, ok := v.(*tensor.Tensor)
		if !ok {
			return nil, diag.New(diag.Run, "output %q is no tensor", s.c.module.Main().ResultName(i)).In(s.m.path)
		}
		byName[s.c.module.Main().ResultName(i)] = t
	}
	return byName, nil
}

// RunInto is Run into the caller's tensors, as RunInto of the model has it.
func (s *Session) RunInto(ctx context.Context, inputs, outputs map[string]*tensor.Tensor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.c.module.Main()
	into := make([]*tensor.Tensor, len(f.Results))
	var names []string
	for i := range into {
		if s.carries(i) {
			continue
		}
		names = append(names, f.ResultName(i))
		if into[i] = outputs[f.ResultName(i)]; into[i] == nil {
			return diag.New(diag.Run, "output %q is missing", f.ResultName(i)).In(s.m.path).Hint("its type is %s", f.Results[i].Type)
		}
	}
	if err := stranger(s.m, "output", outputs, names); err != nil {
		return err
	}
	_, err := s.call(ctx, inputs, into)
	return err
}

// carries says whether result i is a state.
func (s *Session) carries(i int) bool {
	return slices.ContainsFunc(s.states, func(st *state) bool { return st.result == i })
}

// call runs the model on inputs and the states, and keeps what these are then.
func (s *Session) call(ctx context.Context, inputs map[string]*tensor.Tensor, into []*tensor.Tensor) ([]tensor.Value, error) {
	args, now, err := s.arguments(inputs)
	if err != nil {
		return nil, diag.As(err, diag.Run).In(s.m.path)
	}
	out, appended, err := s.m.call(ctx, s.c, args, into)
	if err != nil {
		return nil, err
	}
	for i, st := range s.states {
		t, ok := out[st.result].(*tensor.Tensor)
		if st.axis < 0 {
			continue
		}
		n := int64(0)
		switch {
		case ok && st.inPlace:
			n = t.Shape()[0]
		case ok && t.Rank() > st.axis:
			n = t.Shape()[st.axis]
		}
		if now[i].filled = n; n > st.Capacity {
			return nil, diag.New(diag.Run, "the state %q is full: it has room for %d, and is %d now", st.In, st.Capacity, n).In(s.m.path).
				Hint("raise its capacity, or start again with Reset")
		}
	}
	for i, st := range s.states {
		if !st.inPlace {
			now[i].value = out[st.result]
		}
		st.value, st.filled = now[i].value, now[i].filled
	}
	s.appended += appended
	return out, nil
}

// arguments puts inputs and states into the order of parameters, and gives what states the
// call starts with.
func (s *Session) arguments(inputs map[string]*tensor.Tensor) ([]tensor.Value, []state, error) {
	f := s.c.module.Main()
	args := make([]tensor.Value, len(f.Params))
	types := make([]ir.Type, len(f.Params))
	now := make([]state, len(s.states))
	names := make([]string, 0, len(f.Params))
	of := map[int]int{} // parameter to state
	for i, st := range s.states {
		of[st.param], now[i] = i, *st
	}
	for i, p := range f.Params[:len(s.m.module.Main().Params)] {
		names = append(names, p.Name)
		given := inputs[p.Name]
		j, carried := of[i]
		switch {
		case !carried && given == nil:
			return nil, nil, diag.New(diag.Run, "input %q is missing", p.Name).Hint("its type is %s", p.Type)
		case !carried:
			args[i], types[i] = given, p.Type
		case given != nil:
			t, ok := s.m.typeOf(p.Name).(ir.TensorType)
			if !ok || given.DType() != t.DType || !t.Unranked && given.Rank() != t.Rank() {
				return nil, nil, diag.New(diag.Run, "input %q is %s, its type is %s", p.Name, ir.TypeOf(given), s.m.typeOf(p.Name))
			}
			now[j].value, now[j].filled = given, 0
			if now[j].axis >= 0 {
				now[j].filled = given.Shape()[now[j].axis]
			}
		}
	}
	if err := stranger(s.m, "input", inputs, names); err != nil {
		return nil, nil, err
	}
	for i := range now { // what is there already tells sizes, too
		if st := &now[i]; st.value != nil {
			args[st.param], types[st.param] = st.value, s.m.typeOf(st.In)
			if st.inPlace && inputs[st.In] == nil {
				types[st.param] = f.Params[st.param].Type
			}
		}
	}
	env := ir.NewEnv(nil)
	if err := env.BindAll(types, args, func(i int) string { return fmt.Sprintf("input %q", f.Params[i].Name) }); err != nil {
		return nil, nil, err
	}
	for i := range now {
		if err := s.start(&now[i], env, inputs[now[i].In]); err != nil {
			return nil, nil, err
		}
		args[now[i].param] = now[i].value
	}
	for axis, p := range s.lengths {
		n := int64(-1)
		for i := range now {
			if st := &now[i]; st.Axis != axis {
				continue
			} else if n < 0 {
				n = st.filled
			} else if st.filled != n {
				return nil, nil, diag.New(diag.Run, "the state %q is %d along %q, another one %d", st.In, st.filled, axis, n).
					Hint("states that grow along one dim start alike: give all of them, or none")
			}
		}
		args[p] = tensor.New(tensor.U8, n, 0)
	}
	return args, now, nil
}

// start makes the value of a state that has none, and the storage of one that was given.
func (s *Session) start(st *state, env *ir.Env, given *tensor.Tensor) error {
	if st.value != nil && (given == nil || !st.inPlace) {
		return nil
	}
	t, ok := s.m.typeOf(st.In).(ir.TensorType)
	if !ok || t.Unranked || t.DType == tensor.Invalid {
		return diag.New(diag.Run, "what the state %q is at first is not known: its type is %s", st.In, s.m.typeOf(st.In)).Hint("give the input %q once", st.In)
	}
	shape := make([]int64, len(t.Dims))
	for i, d := range t.Dims {
		n, err := env.Eval(d)
		switch {
		case i == st.axis && st.inPlace:
			shape[i] = st.Capacity
		case i == st.axis:
			shape[i] = 0
		case given != nil:
			shape[i] = given.Shape()[i]
		case err != nil:
			return diag.New(diag.Run, "how large the state %q is at first is not known: no other input tells %s", st.In, d).Hint("give the input %q once", st.In)
		default:
			shape[i] = n
		}
	}
	v, err := tensor.Make(t.DType, shape)
	if err != nil {
		return diag.As(err, diag.Run)
	}
	st.value = v
	if given != nil {
		if given.Shape()[st.axis] > st.Capacity {
			return diag.New(diag.Run, "the state %q is full: it has room for %d, and gets %d", st.In, st.Capacity, given.Shape()[st.axis]).Hint("raise its capacity")
		}
		_, err = tensor.Paste(v, st.axis, 0, given)
	}
	return err
}

// State is a copy of what a state is now, by the name of its input or output. It is nil
// before the first call.
func (s *Session) State(name string) (*tensor.Tensor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, st := range s.states {
		names = append(names, st.In)
		if name != st.In && name != st.Out {
			continue
		}
		t, ok := st.value.(*tensor.Tensor)
		switch {
		case st.value == nil:
			return nil, nil
		case !ok:
			return nil, diag.New(diag.Run, "the state %q is no tensor", name).In(s.m.path)
		case st.inPlace:
			return t.Prefix(st.axis, st.filled)
		}
		return t.Clone(), nil
	}
	return nil, diag.New(diag.Usage, "there is no state %q", name).In(s.m.path).Hint("%s", diag.DidYouMean(name, names))
}

// Length is how far the states that grow along a dim are filled.
func (s *Session) Length(axis string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.states {
		if st.Axis == axis {
			return st.filled
		}
	}
	return 0
}

// Appended is how many bytes were written to the memory of states that grow, all calls
// together.
func (s *Session) Appended() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appended
}

// Reset starts again, as if there had been no call.
func (s *Session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.states {
		st.value, st.filled = nil, 0
	}
}
