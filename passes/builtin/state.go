package builtin

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// State gives states that grow a storage of their capacity.
var State = &pass.Pass{
	Name:   "state",
	Lowers: true,
	Doc: `Gives states that grow a storage of their capacity, which is appended to in place.

    func @main(%past: [b, p, 8] f32, ...)         func @main(%past: [b, 99, 8] f32, ..., %p: [p, 0] u8)
    %all: [b, p + n, 8] f32 =                     %kept: [b, 99, 8] f32, %all: [p + n, 0] u8 =
      call @Concat[b, p, n](%past, %new)     =>     vm.append(%past, %new, %p) {axis = 1, state = "past"}
    %y: ... = call @f[b, p, n](%x, %all)          %y: ... = call @f[b, p, n](%x, %kept)
    return %y, %all                               return %y, %all

The parameter is the storage then; a parameter without elements, named as the axis, tells how
far it is filled, and what was the state tells how far it is filled afterwards. What reads the
state reads the first part of the storage; only where no program does it gets a copy. A state
that does not come out as itself with something behind it along the axis is left as it is.

A session names the states, and hands each storage to call after call; without one this pass
does nothing.

It stands after legalize: what appends, and what reads, is told by programs.`,
	After:  []pass.Order{pass.Because("legalize", "what appends is told by programs")},
	Before: []pass.Order{pass.Because("fuse", "fusion hides appends among what reads them")},
	Options: []pass.Option{{Name: "carry", Kind: pass.Strings, Default: []string(nil),
		Doc: `states, each "INPUT OUTPUT AXIS CAPACITY"; names that are not one word are quoted`}},
	Run: func(c *pass.Context, m *ir.Module) error {
		w := &stateWriter{c: c, m: m, f: m.Main(), filled: map[string]*ir.Value{}, inRoom: map[*ir.Value]roomy{}, appends: map[*ir.Stmt]appended{}}
		for _, text := range pass.Get[[]string](c, "carry") {
			s, err := parseCarried(text)
			if err == nil {
				err = w.plan(s)
			}
			if err != nil {
				return err
			}
		}
		if len(w.appends) > 0 {
			w.rewrite()
			removeDead(m)
		}
		return nil
	},
}

// carried is an output that is an input of the next call.
type carried struct {
	in, out, axis string
	capacity      int64
}

func parseCarried(text string) (c carried, err error) {
	bad := diag.New(diag.Pipeline, "carry = %q", text).Hint(`write it as "past.0.key present.0.key past_seq 4096"`)
	var words []string
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		word, _, _ := strings.Cut(rest, " ")
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			word = quoted
		}
		rest = rest[len(word):]
		if plain, err := strconv.Unquote(word); err == nil {
			word = plain
		}
		words = append(words, word)
	}
	if len(words) != 4 {
		return c, bad
	}
	n, err := strconv.ParseInt(words[3], 10, 64)
	if err != nil || n < 1 {
		return c, bad
	}
	return carried{words[0], words[1], words[2], n}, nil
}

// stateWriter rewrites main.
type stateWriter struct {
	c *pass.Context
	m *ir.Module
	f *ir.Func

	filled  map[string]*ir.Value    // by axis: the parameter that tells how far storages are filled
	inRoom  map[*ir.Value]roomy     // values that lie in a storage
	appends map[*ir.Stmt]appended   // statements that append
	results map[int]*ir.Value       // of main: values that come out as states
	copies  map[*ir.Value]*ir.Value // of values that lie in a storage, where the walk stands
	share   sharing
	out     []*ir.Stmt // of the block that is rewritten
}

// roomy is a value that is the first part of a storage along an axis.
type roomy struct {
	state   string
	storage *ir.Value
	filled  *ir.Value // how far
	axis    int
}

// appended is an append to the storage of a parameter.
type appended struct {
	carried
	param, added *ir.Value
	axis         int
}

// plan finds where a state is appended to, and makes the parameter its storage.
func (w *stateWriter) plan(s carried) error {
	var ins, outs []string
	var param *ir.Value
	for _, p := range w.f.Params {
		if ins = append(ins, p.Name); p.Name == s.in {
			param = p
		}
	}
	result := -1
	for i := range w.f.Results {
		if outs = append(outs, w.f.ResultName(i)); outs[i] == s.out {
			result = i
		}
	}
	switch {
	case param == nil:
		return diag.New(diag.Pipeline, "there is no input %q to carry a state", s.in).Hint("%s", diag.DidYouMean(s.in, ins))
	case result < 0:
		return diag.New(diag.Pipeline, "there is no output %q to carry a state", s.out).Hint("%s", diag.DidYouMean(s.out, outs))
	}
	t, ok := param.Tensor()
	axis := -1
	for i, d := range t.Dims {
		if name, bare := d.Symbol(); bare && name == s.axis {
			axis = i
		}
	}
	if !ok || axis < 0 {
		return diag.New(diag.Pipeline, "input %q, of type %s, has no dim %q to grow along", s.in, param.Type, s.axis)
	}
	v := w.f.Results[result]
	for v.Def != nil && v.Def.Kind == ir.CastStmt {
		v = v.Def.Args[0]
	}
	at, ok := w.appendTo(v, param, axis)
	if _, again := w.appends[v.Def]; !ok || again {
		w.c.Note("the state %q is not appended to in place: output %q is not the input with something behind it along %q", s.in, s.out, s.axis)
		return nil
	}
	at.carried = s
	w.appends[v.Def] = at
	if w.results == nil {
		w.results = map[int]*ir.Value{}
	}
	w.results[result] = w.f.Results[result]
	if w.filled[s.axis] == nil {
		p := &ir.Value{Name: w.freeName(s.axis), Type: ir.TensorOf(tensor.U8, sym.Var(s.axis), sym.Const(0)), Index: len(w.f.Params)}
		w.f.Params = append(w.f.Params, p)
		w.filled[s.axis] = p
	}
	w.inRoom[param] = roomy{s.in, param, w.filled[s.axis], axis}
	return nil
}

// freeName is a name that no parameter has.
func (w *stateWriter) freeName(want string) string {
	name := want
	for i := 1; slices.ContainsFunc(w.f.Params, func(p *ir.Value) bool { return p.Name == name }); i++ {
		name = fmt.Sprintf("%s_%d", want, i)
	}
	return name
}

// appendTo says whether a value is a parameter with something behind it along an axis.
func (w *stateWriter) appendTo(v, param *ir.Value, axis int) (at appended, ok bool) {
	s := v.Def
	if s == nil || s.Kind != ir.CallStmt || s.Into != nil || !slices.Contains(w.f.Stmts, s) {
		return at, false
	}
	p, ok := s.Callee.(*ir.Program)
	if !ok {
		return at, false
	}
	old, added, along, ok := analysis.Append(p)
	if !ok || along != axis || s.Args[old] != param || s.Args[added] == param {
		return at, false
	}
	t, _ := param.Tensor()
	for i, d := range p.Params[old].Dims { // what the call checks would be lost
		if w.m.Syms.Equal(d.Subst(bound(p, s.Bind)), t.Dims[i]) != sym.True {
			return at, false
		}
	}
	return appended{param: param, added: s.Args[added], axis: axis}, true
}

// rewrite writes main anew.
func (w *stateWriter) rewrite() {
	f := w.f
	names := make([]string, len(f.Results))
	for i := range names {
		names[i] = f.ResultName(i)
	}
	f.ResultNames = names
	is := map[*ir.Value]ir.TensorType{} // what the parameters were
	for _, a := range w.appends {
		t, _ := a.param.Tensor()
		is[a.param] = t
		dims := slices.Clone(t.Dims)
		dims[a.axis] = sym.Const(a.capacity)
		storage := &ir.Value{Name: a.param.Name, Type: ir.TensorOf(t.DType, dims...), Index: a.param.Index}
		f.Params[a.param.Index] = storage
		w.inRoom[a.param] = roomy{a.in, storage, w.inRoom[a.param].filled, a.axis}
	}
	w.block(&f.Block, w.results)
}

// block rewrites a block. states are results that tell how far a storage is filled.
func (w *stateWriter) block(b *ir.Block, states map[int]*ir.Value) {
	outer, copies := w.out, w.copies
	w.out, w.copies = nil, maps.Clone(copies)
	if w.copies == nil {
		w.copies = map[*ir.Value]*ir.Value{}
	}
	for _, s := range b.Stmts {
		w.stmt(s)
	}
	for i, v := range b.Results {
		if states[i] != nil {
			b.Results[i] = w.inRoom[v].filled
		} else {
			b.Results[i] = w.dense(v, "a result")
		}
	}
	b.Stmts = w.out
	w.out, w.copies = outer, copies
}

func (w *stateWriter) emit(s *ir.Stmt) {
	for i, r := range s.Results {
		if r != nil {
			r.Def, r.Index = s, i
		}
	}
	w.out = append(w.out, s)
}

func (w *stateWriter) stmt(s *ir.Stmt) {
	if a, ok := w.appends[s]; ok {
		w.append(s, a)
		return
	}
	if len(s.Args) == 1 && s.Args[0] != nil {
		if x, ok := w.inRoom[s.Args[0]]; ok {
			if s.Kind == ir.CastStmt && w.cast(s, x) || s.Kind == ir.OpStmt && s.Op.IsView() && w.view(s, x) {
				return
			}
		}
	}
	p, isProgram := s.Callee.(*ir.Program)
	reads := map[int]roomy{}
	for i, v := range s.Args {
		x, ok := w.inRoom[v]
		if ok && isProgram && !slices.ContainsFunc(p.Stages, func(st *ir.Stage) bool { return st.Base == p.Params[i] }) {
			reads[i] = x
		} else {
			s.Args[i] = w.dense(v, reader(s))
		}
	}
	if len(reads) > 0 {
		w.read(s, p, reads)
	}
	for _, r := range s.Regions {
		w.block(r, nil)
	}
	w.emit(s)
}

// append writes an append in the place of s.
func (w *stateWriter) append(s *ir.Stmt, a appended) {
	was := s.Results[0]
	t, _ := was.Tensor()
	x := w.inRoom[a.param]
	kept := &ir.Value{Type: x.storage.Type}
	filled := &ir.Value{Name: was.Name, Type: ir.TensorOf(tensor.U8, t.Dims[a.axis], sym.Const(0))}
	w.emit(&ir.Stmt{Kind: ir.OpStmt, Op: w.m.Lookup(ir.AppendName), Node: s.Node, Args: []*ir.Value{x.storage, w.dense(a.added, "an append"), x.filled},
		Results: []*ir.Value{kept, filled}, Attrs: ir.MakeAttrs("axis", int64(a.axis), "state", a.in)})
	w.inRoom[was] = roomy{a.in, kept, filled, a.axis}
}

// cast asserts of how far the storage is filled what is asserted of a value in it.
func (w *stateWriter) cast(s *ir.Stmt, x roomy) bool {
	is, _ := s.Args[0].Tensor()
	t, ok := s.Results[0].Tensor()
	if !ok || t.Unranked || len(t.Dims) != len(is.Dims) || t.DType != is.DType {
		return false
	}
	for i, d := range t.Dims {
		if i != x.axis && w.m.Syms.Equal(d, is.Dims[i]) != sym.True {
			return false
		}
	}
	w.inRoom[s.Results[0]] = roomy{x.state, x.storage, w.assert(x.filled, t.Dims[x.axis], s.Node), x.axis}
	return true
}

// assert is how far a storage is filled, once that is checked to be n.
func (w *stateWriter) assert(filled *ir.Value, n sym.Expr, node string) *ir.Value {
	if t, _ := filled.Tensor(); w.m.Syms.Equal(t.Dims[0], n) == sym.True {
		return filled
	}
	v := &ir.Value{Type: ir.TensorOf(tensor.U8, n, sym.Const(0))}
	w.emit(&ir.Stmt{Kind: ir.CastStmt, Args: []*ir.Value{filled}, Results: []*ir.Value{v}, Node: node})
	return v
}

// view makes a view of a value in a storage one of the storage. It can where the axis stays
// a dim of its own, with as many elements before it and behind it.
func (w *stateWriter) view(s *ir.Stmt, x roomy) bool {
	is, _ := s.Args[0].Tensor()
	t, ok := s.Results[0].Tensor()
	room, _ := x.storage.Tensor()
	if !ok || t.Unranked {
		return false
	}
	equal := func(a, b []sym.Expr) bool { return w.m.Syms.Equal(sym.Prod(a...), sym.Prod(b...)) == sym.True }
	for i, d := range t.Dims {
		if w.m.Syms.Equal(d, is.Dims[x.axis]) == sym.True && equal(t.Dims[:i], is.Dims[:x.axis]) && equal(t.Dims[i+1:], is.Dims[x.axis+1:]) {
			dims := slices.Clone(t.Dims)
			dims[i] = room.Dims[x.axis]
			v := &ir.Value{Type: ir.TensorOf(t.DType, dims...)}
			w.emit(&ir.Stmt{Kind: ir.OpStmt, Op: s.Op, Node: s.Node, Args: []*ir.Value{x.storage}, Results: []*ir.Value{v}, Attrs: ir.MakeAttrs("type", v.Type)})
			w.inRoom[s.Results[0]] = roomy{x.state, v, x.filled, i}
			return true
		}
	}
	return false
}

// read lets a program read values where they lie in storages. What its call would have
// checked of their dims is checked of how far the storages are filled.
func (w *stateWriter) read(s *ir.Stmt, p *ir.Program, from map[int]roomy) {
	q := p.Clone(bound(p, s.Bind))
	for _, i := range slices.Sorted(maps.Keys(from)) {
		x := from[i]
		b := q.Params[i]
		w.assert(x.filled, b.Dims[x.axis], s.Node)
		room, _ := x.storage.Tensor()
		b.Room = slices.Clone(b.Dims)
		b.Room[x.axis] = room.Dims[x.axis]
		s.Args[i] = x.storage
	}
	q.Finish()
	s.Callee, s.Bind = w.share.program(w.m, q)
}

// reader names a statement that reads a state.
func reader(s *ir.Stmt) string { return fmt.Sprintf("%s at %q", s.OpName(), s.Place()) }

// dense gives a value in a storage as a tensor of its own, for what takes no less.
func (w *stateWriter) dense(v *ir.Value, reader string) *ir.Value {
	x, ok := w.inRoom[v]
	if !ok {
		return v
	}
	if c := w.copies[v]; c != nil {
		return c
	}
	w.c.Note("the state %q is copied for %s", x.state, reader)
	t, _ := v.Tensor()
	room, _ := x.storage.Tensor()
	in := &ir.Buffer{Name: "X", DType: t.DType, Dims: t.Dims, Room: room.Dims}
	out := &ir.Buffer{Name: "Y", DType: t.DType, Dims: t.Dims}
	st := &ir.Stage{Kind: ir.MapStage, Outs: []*ir.Buffer{out}}
	for _, d := range t.Dims {
		st.Axes = append(st.Axes, &ir.Axis{Extent: d})
	}
	st.Exprs = []*ir.Scalar{ir.Load(in, ir.Ix(st.Axes)...)}
	p := &ir.Program{Name: "prefix", Params: []*ir.Buffer{in}, Results: []*ir.Buffer{out}, Stages: []*ir.Stage{st}}
	p.Finish()
	c := &ir.Value{Type: t}
	s := &ir.Stmt{Kind: ir.CallStmt, Args: []*ir.Value{x.storage}, Results: []*ir.Value{c}, Node: v.Name}
	s.Callee, s.Bind = w.share.program(w.m, p)
	w.emit(s)
	w.copies[v] = c
	return c
}
