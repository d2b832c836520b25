package pitopt

import (
	"context"
	"fmt"
	"maps"
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
	of       []int // by parameter, and by result: the state that it is, else -1
	gives    []int
	lengths  []*length
	appended int64

	call         // of the call that goes on
	now  []state // what states are in it
}

// state is a state and what it is now.
type state struct {
	Carried
	param, result int
	axis          int          // of Axis in the input; -1: it does not grow
	inPlace       bool         // value is a storage, filled so far
	steady        bool         // it is as large as before
	value         tensor.Value // nil: the session starts
	filled        int64
	spare         *tensor.Tensor // what it was a call ago, of one that is steady
	given         *tensor.Tensor // what the caller says it is, in this call
}

// length tells how far storages are filled along an axis.
type length struct {
	axis  string
	param int
	value tensor.Tensor
	dims  [2]int64
}

// Session makes a session that carries states: those of the pipeline's [[state]] where none
// are given. What is compiled for it serves all sessions of the model with these states.
func (m *Model) Session(states ...Carried) (*Session, error) {
	if len(states) == 0 {
		states = m.states()
	}
	for i, s := range states {
		if err := checkCarried(m.main(), s); err != nil {
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
	f, count := c.module.Main(), len(m.main().Params)
	s := &Session{m: m, c: c, of: slices.Repeat([]int{-1}, count), gives: slices.Repeat([]int{-1}, len(f.Results)), now: make([]state, len(states))}
	s.args, s.results, s.into = make([]tensor.Value, len(f.Params)), make([]tensor.Value, len(f.Results)), make([]*tensor.Tensor, len(f.Results))
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
		st.steady = st.axis < 0 && ir.SameType(f.Params[st.param].Type, f.Results[st.result].Type)
		s.of[st.param], s.gives[st.result] = len(s.states), len(s.states)
		s.states = append(s.states, st)
	}
	for i, p := range f.Params[count:] { // what the pass state put there
		t, _ := p.Tensor()
		name, _ := t.Dims[0].Symbol()
		s.lengths = append(s.lengths, &length{axis: name, param: count + i})
	}
	return s, nil
}

// states are those of the pipeline.
func (m *Model) states() (out []Carried) {
	for _, s := range m.opts.pipeline.State {
		out = append(out, Carried{s.In, s.Out, s.Axis, s.Capacity})
	}
	return out
}

// carrying gives the model compiled for states.
func (m *Model) carrying(states []Carried) (*compiled, error) {
	if m.face != nil && slices.Equal(states, m.states()) {
		return &m.compiled, nil
	}
	m.carriedMu.Lock()
	defer m.carriedMu.Unlock()
	key := fmt.Sprintf("%#v", states)
	if c := m.carried[key]; c != nil {
		return c, nil
	}
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.mu.RUnlock()
	c, err := m.compile(context.WithoutCancel(m.opts.ctx), Observer{Note: m.opts.observe.Note}, states)
	if err != nil {
		return nil, diag.As(err, diag.Run).In(m.path)
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
	tell(steps, builtin.State, "carry", list)
}

// tell adds to an option of a pass what stands elsewhere than in its entry.
func tell(steps []pass.Step, p *pass.Pass, option string, list []string) {
	for i, s := range steps {
		if s.Pass == p && list != nil {
			options := map[string]any{}
			maps.Copy(options, s.Options)
			options[option] = list
			steps[i].Options = options
			return
		}
	}
}

// typeOf is the type that the model says an input has.
func (m *Model) typeOf(input string) ir.Type { return typeOf(m.main(), input) }

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
	defer s.done()
	if err := s.step(ctx, inputs); err != nil {
		return nil, err
	}
	byName := map[string]*tensor.Tensor{}
	for i, v := range s.results {
		if s.gives[i] >= 0 {
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

// RunInto is Run into the caller's tensors, as RunInto of the model has it. States that are
// appended to in place, and those of one size, take nothing from Go either; a length that no call
// had before is a new size, which programs are made ready for.
func (s *Session) RunInto(ctx context.Context, inputs, outputs map[string]*tensor.Tensor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.done()
	f := s.c.module.Main()
	n := 0
	for i := range s.into {
		if s.gives[i] >= 0 {
			continue
		}
		n++
		if s.into[i] = outputs[f.ResultName(i)]; s.into[i] == nil {
			return diag.New(diag.Run, "output %q is missing", f.ResultName(i)).In(s.m.path).Hint("its type is %s", f.Results[i].Type)
		}
	}
	if len(outputs) > n {
		var names []string
		for i := range s.into {
			if s.gives[i] < 0 {
				names = append(names, f.ResultName(i))
			}
		}
		return stranger(s.m, "output", outputs, names)
	}
	return s.step(ctx, inputs)
}

// done forgets all that is the caller's, and what the call made of states. The tensors that told
// how far storages are filled are there for the next call.
func (s *Session) done() {
	clear(s.args)
	clear(s.into)
	clear(s.now)
	for i, st := range s.gives {
		if st < 0 || !s.states[st].inPlace {
			s.results[i] = nil
		}
	}
}

// step runs the model on inputs and the states, and keeps what these are then.
func (s *Session) step(ctx context.Context, inputs map[string]*tensor.Tensor) error {
	if err := s.arguments(inputs); err != nil {
		return diag.As(err, diag.Run).In(s.m.path)
	}
	for i, st := range s.states { // two tensors take turns
		was, _ := s.now[i].value.(*tensor.Tensor)
		if st.steady && st.spare != nil && was != nil && st.spare.DType() == was.DType() && slices.Equal(st.spare.Shape(), was.Shape()) {
			s.into[st.result] = st.spare
		}
	}
	out, appended, err := s.m.call(ctx, s.c, s.args, s.into, s.results)
	if err != nil {
		return err
	}
	copy(s.results, out)
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
		if s.now[i].filled = n; n > st.Capacity {
			return diag.New(diag.Run, "the state %q is full: it has room for %d, and is %d now", st.In, st.Capacity, n).In(s.m.path).
				Hint("raise its capacity, or start again with Reset")
		}
	}
	for i, st := range s.states {
		now := &s.now[i]
		if !st.inPlace {
			st.spare, _ = st.value.(*tensor.Tensor)
			if now.given == nil {
				st.spare, _ = now.value.(*tensor.Tensor)
			}
			now.value = out[st.result]
		}
		st.value, st.filled = now.value, now.filled
	}
	s.appended += appended
	return nil
}

// arguments puts inputs and states into the order of parameters, and finds what states the call
// starts with.
func (s *Session) arguments(inputs map[string]*tensor.Tensor) error {
	f := s.c.module.Main()
	for i, st := range s.states {
		s.now[i] = *st
	}
	known, start := 0, false
	for i, j := range s.of {
		p := f.Params[i]
		given := inputs[p.Name]
		if given != nil {
			known++
		}
		switch {
		case j < 0 && given == nil:
			return diag.New(diag.Run, "input %q is missing", p.Name).Hint("its type is %s", p.Type)
		case j < 0:
			s.args[i] = given
		case given != nil:
			t, ok := s.m.typeOf(p.Name).(ir.TensorType)
			if !ok || given.DType() != t.DType || !t.Unranked && given.Rank() != t.Rank() {
				return diag.New(diag.Run, "input %q is %s, its type is %s", p.Name, ir.TypeOf(given), s.m.typeOf(p.Name))
			}
			now := &s.now[j]
			now.value, now.filled, now.given = given, 0, given
			if now.axis >= 0 {
				now.filled = given.Shape()[now.axis]
			}
			start = true
		default:
			start = start || s.now[j].value == nil
		}
	}
	if len(inputs) > known {
		var names []string
		for _, p := range s.m.main().Params {
			names = append(names, p.Name)
		}
		if err := stranger(s.m, "input", inputs, names); err != nil {
			return err
		}
	}
	if start {
		if err := s.start(); err != nil {
			return err
		}
	}
	for i := range s.now {
		s.args[s.now[i].param] = s.now[i].value
	}
	for _, l := range s.lengths {
		n := int64(-1)
		for i := range s.now {
			if st := &s.now[i]; st.Axis != l.axis {
				continue
			} else if n < 0 {
				n = st.filled
			} else if st.filled != n {
				return diag.New(diag.Run, "the state %q is %d along %q, another one %d", st.In, st.filled, l.axis, n).
					Hint("states that grow along one dim start alike: give all of them, or none")
			}
		}
		l.dims[0] = n
		if err := l.value.Own(tensor.U8, l.dims[:], []byte{}); err != nil {
			return diag.As(err, diag.Run)
		}
		s.args[l.param] = &l.value
	}
	return nil
}

// start makes what states are that have no value yet, and storages of those that are given. What
// is there already tells sizes.
func (s *Session) start() error {
	f := s.c.module.Main()
	types := make([]ir.Type, len(f.Params))
	for i, j := range s.of {
		if j < 0 {
			types[i] = f.Params[i].Type
			continue
		}
		st := &s.now[j]
		s.args[i] = st.value
		switch {
		case st.value == nil:
		case st.inPlace && st.given == nil:
			types[i] = f.Params[i].Type
		default:
			types[i] = s.m.typeOf(st.In)
		}
	}
	env := ir.NewEnv(nil)
	if err := env.BindAll(types, s.args, func(i int) string { return fmt.Sprintf("input %q", f.Params[i].Name) }); err != nil {
		return err
	}
	for i := range s.now {
		if err := s.startState(&s.now[i], env); err != nil {
			return err
		}
	}
	return nil
}

// startState makes the value of a state that has none, and the storage of one that was given.
func (s *Session) startState(st *state, env *ir.Env) error {
	given := st.given
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

// Rewind takes the states that grow along a dim back to their first n positions, as if what came
// behind had not been: to try another continuation, or a shorter context. States of one size stay
// as they are.
func (s *Session) Rewind(axis string, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.states {
		if st.Axis == axis && axis != "" && (n < 0 || n > st.filled) {
			return diag.New(diag.Usage, "the state %q is %d along %q, and can not be taken back to %d", st.In, st.filled, axis, n).In(s.m.path)
		}
	}
	for _, st := range s.states {
		if st.Axis != axis || axis == "" || st.value == nil {
			continue
		}
		if t, ok := st.value.(*tensor.Tensor); ok && !st.inPlace {
			part, err := t.Prefix(st.axis, n)
			if err != nil {
				return diag.As(err, diag.Run).In(s.m.path)
			}
			st.value = part
		}
		st.filled = n
	}
	return nil
}

// States are what the session carries.
func (s *Session) States() []Carried {
	var out []Carried
	for _, st := range s.states {
		out = append(out, st.Carried)
	}
	return out
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
		st.value, st.filled, st.spare = nil, 0, nil
	}
}
