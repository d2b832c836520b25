package builtin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// equal keeps one of programs that are equal.
type equal struct {
	m     *ir.Module
	byKey map[string]*ir.Program
	known map[*ir.Program]*ir.Program // that were asked for: many calls are of few programs
}

// of gives the program that stands for one; it adds the first of a kind to the module.
func (e *equal) of(p *ir.Program) *ir.Program {
	if is := e.known[p]; is != nil {
		return is
	}
	key := p.Key()
	if e.byKey[key] == nil {
		if !slices.Contains(e.m.Programs, p) {
			e.m.AddProgram(p)
		}
		e.byKey[key] = p
	}
	e.known[p] = e.byKey[key]
	return e.known[p]
}

// write makes the call of one program of a group, and of its views those that others need.
func (f *flow) write(g *group) (*ir.Stmt, []*ir.Stmt) {
	w := &writer{flow: f, p: &ir.Program{Name: g.name()}, buffers: map[*ir.Value]*ir.Buffer{}}
	for _, n := range g.nodes {
		w.node(n)
	}
	call := &ir.Stmt{Kind: ir.CallStmt, Node: g.nodes[len(g.nodes)-1].stmt.Node}
	var views []*ir.Stmt
	viewed := map[*ir.Value]bool{}
	for _, n := range slices.Backward(g.nodes) {
		if v := n.stmt.Results[0]; n.view && (f.needed(g, v) || viewed[v]) {
			views = append(views, n.stmt)
			viewed[n.stmt.Args[0]] = true
		}
	}
	slices.Reverse(views)
	for _, n := range g.nodes {
		for i, v := range n.stmt.Results {
			if !n.view && (f.needed(g, v) || viewed[v]) {
				v.Def, v.Index = call, len(call.Results)
				call.Results = append(call.Results, v)
				w.p.Results = append(w.p.Results, n.prog.Results[i])
			}
		}
	}
	w.inline()
	w.permute()
	call.Args = w.clean()
	w.p.Finish()
	call.Bind = make([]sym.Expr, len(w.p.Syms))
	for i, s := range w.p.Syms {
		call.Bind[i] = sym.Var(s)
	}
	call.Callee = f.equal.of(w.p)
	return call, views
}

// name is made of the names of what is joined, but for what only moves data and the numbers
// that tell names apart, up to 60 bytes.
func (g *group) name() string {
	var all, names []string
	for _, n := range g.nodes {
		if n.view {
			continue
		}
		name := n.stmt.Callee.CalleeName()
		if base := strings.TrimRight(name, "0123456789"); strings.HasSuffix(base, "_") {
			name = strings.TrimRight(base, "_")
		}
		all = append(all, name)
		if !n.moves() {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = all
	}
	name := names[0]
	for _, n := range names[1:] {
		if len(name)+1+len(n) > 60 {
			break
		}
		name += "_" + n
	}
	return name
}

// needed says whether somebody outside of a group reads a value.
func (f *flow) needed(g *group, v *ir.Value) bool {
	return slices.ContainsFunc(f.users[v], func(i int) bool { return i >= len(f.nodes) || f.nodes[i].group != g })
}

// writer writes the program of a group.
type writer struct {
	*flow
	p       *ir.Program
	args    []*ir.Value              // what parameters are
	buffers map[*ir.Value]*ir.Buffer // that stand for a value
	views   []*ir.Stage
}

// node adds the stages of a node, which read the buffers that stand for its operands.
func (w *writer) node(n *node) {
	replace := map[*ir.Buffer]*ir.Buffer{}
	for i, b := range n.prog.Params {
		v := n.stmt.Args[i]
		switch have := w.buffers[v]; {
		case have == nil:
			w.buffers[v] = b
			fallthrough
		case have != nil && !w.sameDims(have.Dims, b.Dims): // the call says that they are
			w.p.Params, w.args = append(w.p.Params, b), append(w.args, v)
		default:
			replace[b] = have
		}
	}
	for _, s := range n.prog.Stages {
		s.Rewrite(func(x *ir.Scalar) *ir.Scalar {
			if x.Op == ir.OpLoad && replace[x.Buf] != nil {
				y := *x
				y.Buf = replace[x.Buf]
				return &y
			}
			return x
		})
		if r := replace[s.Base]; r != nil {
			s.Base = r
		}
		w.p.Stages = append(w.p.Stages, s)
		if n.view {
			w.views = append(w.views, s)
		}
	}
	for i, b := range n.prog.Results {
		w.buffers[n.stmt.Results[i]] = b
	}
}

// readers gives the stages that read a buffer.
func (w *writer) readers(b *ir.Buffer) []*ir.Stage {
	return slices.DeleteFunc(slices.Clone(w.p.Stages), func(s *ir.Stage) bool { return !slices.Contains(s.Reads(), b) })
}

// inline writes maps into the stages that read them: views always, others where all of
// their readers may take them, and no point is computed twice but where that is cheap.
func (w *writer) inline() {
	var out []*ir.Stage
	for _, s := range w.p.Stages {
		if s.Kind != ir.MapStage || len(s.Outs) != 1 || slices.Contains(w.p.Results, s.Out()) {
			out = append(out, s)
			continue
		}
		to := w.readers(s.Out())
		if !slices.Contains(w.views, s) && !w.inlines(s, to) {
			out = append(out, s)
			continue
		}
		for _, r := range to {
			done := map[string]*ir.Scalar{}
			r.Rewrite(func(x *ir.Scalar) *ir.Scalar {
				if x.Op != ir.OpLoad || x.Buf != s.Out() {
					return x
				}
				key := walk(r, x)
				if done[key] == nil {
					done[key] = analysis.SimplifyIndex(w.m.Syms, at(s, x.Args))
				}
				return done[key]
			})
		}
	}
	w.p.Stages = out
}

// inlines says whether a map is to be written into all of its readers.
func (w *writer) inlines(s *ir.Stage, to []*ir.Stage) bool {
	once, packed := true, true
	for i, r := range to {
		loads := distinctLoads(r, s.Out())
		if r.Base == s.Out() {
			return false
		}
		if analysis.StageKind(r) == analysis.Contraction {
			for _, l := range loads {
				if !packs(s, r, l, l.Args) && !(len(to) == 1 && len(loads) == 1 && w.packsComputed(s, r, l)) {
					return false
				}
			}
			once = false
			continue
		}
		if !inlines(s, r, s.Out()) {
			return false
		}
		packed = false
		once = once && i == 0 && len(loads) == 1 && readsOnce(r, loads[0])
	}
	if once || packed {
		return true
	}
	size, costly := cost(s.Exprs[0])
	return !costly && size <= cheap && !slices.ContainsFunc(to, func(r *ir.Stage) bool { return analysis.StageKind(r) == analysis.Reduction })
}

// packsComputed says whether the target takes no longer for a contraction whose factor it
// computes while it packs it than for one that reads it from where it was computed before.
func (w *writer) packsComputed(s, r *ir.Stage, load *ir.Scalar) bool {
	if w.target == nil || w.target.Cost == nil || len(s.Outs) != 1 || guarded(r, load) {
		return false
	}
	with := *r
	with.Rewrite(func(x *ir.Scalar) *ir.Scalar {
		if x.Op == ir.OpLoad && x.Buf == s.Out() {
			return at(s, x.Args)
		}
		return x
	})
	return analysis.StageKind(&with) == analysis.Contraction &&
		w.targetCost(&with) <= w.targetCost(s, r)
}

// permute lets a reduction write its points where a map that only puts them into another
// order would move them.
func (w *writer) permute() {
	var out []*ir.Stage
	for _, s := range w.p.Stages {
		from := w.permuted(s)
		if from == nil {
			out = append(out, s)
			continue
		}
		load := s.Exprs[0]
		axes := make([]*ir.Axis, len(s.Axes))
		for i, ix := range load.Args {
			axes[slices.Index(s.Axes, ix.Axis)] = from.Axes[i]
		}
		from.Outs, from.Axes = s.Outs, axes
	}
	w.p.Stages = out
}

// permuted gives the reduction whose points a stage only puts into another order, for
// nobody else.
func (w *writer) permuted(s *ir.Stage) *ir.Stage {
	x := s.Exprs[0]
	if s.Kind != ir.MapStage || len(s.Outs) != 1 || x.Op != ir.OpLoad || len(x.Args) != len(s.Axes) ||
		slices.Contains(w.p.Params, x.Buf) || slices.Contains(w.p.Results, x.Buf) || len(w.readers(x.Buf)) != 1 {
		return nil
	}
	i := slices.IndexFunc(w.p.Stages, func(r *ir.Stage) bool { return len(r.Outs) == 1 && r.Out() == x.Buf })
	if i < 0 || w.p.Stages[i].Kind != ir.ReduceStage {
		return nil
	}
	seen := map[*ir.Axis]bool{}
	for i, ix := range x.Args {
		if ix.Op != ir.OpAxis || seen[ix.Axis] || w.m.Syms.Equal(ix.Axis.Extent, x.Buf.Dims[i]) != sym.True {
			return nil
		}
		seen[ix.Axis] = true
	}
	return w.p.Stages[i]
}

// clean takes out stages of which nobody reads anything, and parameters, and gives what
// the others are.
func (w *writer) clean() []*ir.Value {
	read := map[*ir.Buffer]bool{}
	for _, b := range w.p.Results {
		read[b] = true
	}
	var stages []*ir.Stage
	for _, s := range slices.Backward(w.p.Stages) {
		if slices.ContainsFunc(s.Outs, func(b *ir.Buffer) bool { return read[b] }) {
			stages = append(stages, s)
			for _, b := range s.Reads() {
				read[b] = true
			}
		}
	}
	slices.Reverse(stages)
	for _, s := range stages {
		share(s)
	}
	w.p.Stages = stages
	var args []*ir.Value
	params := w.p.Params
	w.p.Params = nil
	for i, b := range params {
		if read[b] {
			w.p.Params, args = append(w.p.Params, b), append(args, w.args[i])
		}
	}
	return args
}

// written is how a node is written: nodes of which it is the same compute the same.
type written struct {
	op       ir.ScalarOp
	dtype    tensor.DType
	axis     *ir.Axis
	buf      *ir.Buffer
	sym, lit string
	cast     tensor.CastOpts
	args     [8]*ir.Scalar
}

// share makes one node of nodes of a stage that are written alike, so that they are
// computed once.
func share(s *ir.Stage) {
	nodes := map[written]*ir.Scalar{}
	s.Rewrite(func(x *ir.Scalar) *ir.Scalar {
		w := written{op: x.Op, dtype: x.DType, axis: x.Axis, buf: x.Buf, cast: x.Cast}
		if copy(w.args[:], x.Args) < len(x.Args) {
			return x
		}
		switch x.Op {
		case ir.OpSym:
			w.sym = x.Sym.String()
		case ir.OpLit:
			w.lit = fmt.Sprintf("%x%q", x.Lit.Bytes(), x.Lit.Strings())
		}
		if nodes[w] == nil {
			nodes[w] = x
		}
		return nodes[w]
	})
}

// bound maps a program's symbols to what a call binds them to.
func bound(p *ir.Program, bind []sym.Expr) func(string) (sym.Expr, bool) {
	return func(name string) (sym.Expr, bool) {
		for i, s := range p.Syms {
			if s == name {
				return bind[i], true
			}
		}
		return sym.Expr{}, false
	}
}
