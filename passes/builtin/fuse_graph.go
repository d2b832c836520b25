package builtin

import (
	"container/heap"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/target"
)

// flow is the dataflow graph of a block while its statements are put into groups.
type flow struct {
	m       *ir.Module
	b       *ir.Block
	nodes   []*node
	equal   *equal
	limit   int  // stages of a group
	through bool // products read through views that divide: what could be moved when it is made has been
	target  *target.Target
	sizes   target.Sizes         // that costs are compared at
	pdom    []int                // the immediate post-dominator of each node
	by      map[*ir.Value]*node  // where values of the block come from
	users   map[*ir.Value][]int  // the nodes that read one; len(nodes): the block gives it
	facts   map[*ir.Stage]*facts // of stages of nodes, which stay as they are up to the end
}

// facts are what is asked for of a stage again and again.
type facts struct {
	kind  analysis.Kind
	batch []*ir.Axis        // of a contraction
	sides map[*ir.Axis]side // of a contraction: what its axes are of
	reads []*ir.Buffer
	loads []*ir.Scalar
}

// of gives the facts of a stage.
func (f *flow) of(s *ir.Stage) *facts {
	if x := f.facts[s]; x != nil {
		return x
	}
	x := &facts{kind: analysis.StageKind(s), reads: s.Reads()}
	if x.kind == analysis.Contraction {
		x.sides = map[*ir.Axis]side{}
		batch, a, b := analysis.FactorAxes(s)
		x.batch = batch
		for p, axes := range map[side][]*ir.Axis{whole: batch, left: a, right: b} {
			for _, o := range axes {
				x.sides[o] = p
			}
		}
	}
	s.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpLoad {
			x.loads = append(x.loads, y)
		}
		return true
	})
	f.facts[s] = x
	return x
}

// node is a statement of the block.
type node struct {
	i    int
	stmt *ir.Stmt
	// prog is what the statement computes, in symbols of the function: of a call of a
	// program, or of a view. It is nil for what takes no part in fusion.
	prog  *ir.Program
	kind  analysis.Kind
	view  bool
	group *group
	next  []int // statements that need this one; len(nodes) is the end of the block

	factors map[string]*ir.Value // of a contraction, when they were asked for
}

// group is a set of nodes that become one call, in order.
type group struct {
	nodes []*node
	cost  float64 // what the target takes for it, when that was asked for
	known bool
}

// moves says whether a node puts what it reads into other places, and computes nothing.
func (n *node) moves() bool {
	return len(n.prog.Stages) == 1 && n.prog.Stages[0].Kind == ir.MapStage && n.prog.Stages[0].Exprs[0].Op == ir.OpLoad
}

// newFlow makes the graph of a block.
func newFlow(m *ir.Module, b *ir.Block, e *equal) *flow {
	f := &flow{m: m, b: b, equal: e, by: map[*ir.Value]*node{}, users: map[*ir.Value][]int{}, facts: map[*ir.Stage]*facts{}}
	end := len(b.Stmts)
	edges := make([]map[int]bool, end)
	edge := func(from *node, to int) {
		if from != nil && from.i != to {
			edges[from.i][to] = true
		}
	}
	tellers := map[string]*node{}
	var scope ir.Scope
	scope.Params(b.Params)
	var last *node // with an effect
	d := ir.NewDeducer(m)
	for i, s := range b.Stmts {
		n := &node{i: i, stmt: s}
		f.nodes = append(f.nodes, n)
		edges[i] = map[int]bool{}
		s.EachUse(func(v *ir.Value) {
			edge(f.by[v], i)
			f.users[v] = append(f.users[v], i)
		})
		for _, v := range s.Into {
			edge(f.by[v], i)
		}
		mentions(s, func(e sym.Expr) {
			for _, name := range e.Symbols() {
				edge(tellers[name], i)
			}
		})
		if s.Effect() != ir.Pure {
			edge(last, i)
			edge(n, end)
			last = n
		}
		mark := scope.Mark()
		scope.Results(s.Results)
		told := scope.Since(mark)
		for _, name := range told {
			tellers[name] = n
		}
		for _, v := range s.Results {
			if v != nil {
				f.by[v] = n
			}
		}
		if len(told) == 0 { // what tells a symbol stays
			f.program(n, d)
		}
	}
	for _, v := range b.Results {
		if n := f.by[v]; n != nil {
			edge(n, end)
			f.users[v] = append(f.users[v], end)
		}
	}
	next := make([][]int, end)
	for i, to := range edges {
		for j := range to {
			next[i] = append(next[i], j)
		}
		slices.Sort(next[i])
		f.nodes[i].next = next[i]
	}
	f.pdom = analysis.PostDominators(next)
	return f
}

// program finds out what a statement computes, if it can be part of a group.
func (f *flow) program(n *node, d *ir.Deducer) {
	s := n.stmt
	switch {
	case s.Kind == ir.OpStmt && s.Op.IsView():
		p, _, err := d.Call(s).Program()
		if err != nil || len(p.Params) != 1 {
			return
		}
		n.prog, n.view = p, true
	case s.Kind == ir.CallStmt:
		p, ok := s.Callee.(*ir.Program)
		if !ok || len(s.Results) != len(p.Results) || slices.Contains(s.Results, nil) {
			return
		}
		c := p.Clone(bound(p, s.Bind))
		for i, v := range s.Results { // the call checks a size that is not proved
			if t, ok := v.Tensor(); !ok || !f.sameDims(t.Dims, c.Results[i].Dims) {
				return
			}
		}
		n.prog = c
	default:
		return
	}
	if len(n.prog.Stages) == 0 {
		n.prog = nil
		return
	}
	n.kind = analysis.ProgramKind(n.prog)
	n.group = &group{nodes: []*node{n}}
}

// sameDims says whether dims are proved to be equal.
func (f *flow) sameDims(a, b []sym.Expr) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if f.m.Syms.Equal(a[i], b[i]) != sym.True {
			return false
		}
	}
	return true
}

// mentions visits the symbolic integers of a statement and its regions.
func mentions(s *ir.Stmt, visit func(sym.Expr)) {
	for _, e := range symbolic(s) {
		visit(e)
	}
	for _, v := range s.Results {
		if v != nil {
			ir.EachDim(v.Type, visit)
		}
	}
	for _, r := range s.Regions {
		for _, p := range r.Params {
			ir.EachDim(p.Type, visit)
		}
		for _, t := range r.Stmts {
			mentions(t, visit)
		}
	}
}

// between gives the nodes on the ways from a to b, without these two; ok is false where
// one takes no part in fusion, or there are many.
func (f *flow) between(a, b int) (list []*node, ok bool) {
	seen := map[int]bool{a: true, b: true}
	todo := slices.Clone(f.nodes[a].next)
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[i] {
			continue
		}
		seen[i] = true
		if i >= len(f.nodes) || len(seen) > maxBetween {
			return nil, false
		}
		n := f.nodes[i]
		if n.group == nil {
			return nil, false
		}
		list = append(list, n)
		todo = append(todo, n.next...)
	}
	return list, true
}

// after is the immediate post-dominator of a node, views passed over; nil where that is the
// end of the block or takes no part in fusion.
func (f *flow) after(n *node) *node {
	i := f.pdom[n.i]
	for i < len(f.nodes) && f.nodes[i].view {
		i = f.pdom[i]
	}
	if i >= len(f.nodes) || f.nodes[i].group == nil {
		return nil
	}
	return f.nodes[i]
}

// convex says whether nodes can become one statement: nothing outside needs one of them
// and is needed by another. Groups that there are count as one statement already.
func (f *flow) convex(set []*node) bool {
	in := map[int]bool{}
	last := 0
	for _, n := range set {
		in[n.i] = true
		last = max(last, n.i)
	}
	for again := true; again; { // how far one may come back from
		again = false
		for _, n := range f.nodes[:last+1] {
			if n.group == nil || in[n.i] {
				continue
			}
			if end := n.group.nodes[len(n.group.nodes)-1].i; end > last {
				last, again = end, true
			}
		}
	}
	seen := map[int]bool{}
	var todo []int
	for _, n := range set {
		for _, j := range n.next {
			if !in[j] {
				todo = append(todo, j)
			}
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[i] || i > last || i >= len(f.nodes) {
			continue
		}
		if in[i] {
			return false
		}
		members := []*node{f.nodes[i]}
		if g := f.nodes[i].group; g != nil {
			members = g.nodes
		}
		for _, n := range members {
			seen[n.i] = true
			todo = append(todo, n.next...)
		}
	}
	return true
}

// schedule puts the statements into an order in which everything is there when it is
// needed: a group stands where its last node stood, or as early as what is behind it needs.
// emit is called for each group and each statement that is in none.
func (f *flow) schedule(emit func(*group, *ir.Stmt)) {
	type unit struct {
		nodes []*node
		wait  int
	}
	units := map[*node]*unit{} // by each of its nodes
	ready := &byIndex{}
	at := map[int]*unit{} // by the last node
	for _, n := range f.nodes {
		if units[n] != nil {
			continue
		}
		u := &unit{nodes: []*node{n}}
		if n.group != nil {
			u.nodes = n.group.nodes
		}
		for _, k := range u.nodes {
			units[k] = u
		}
		at[u.nodes[len(u.nodes)-1].i] = u
	}
	each := func(u *unit, visit func(*unit)) { // units that wait for u
		seen := map[*unit]bool{u: true}
		for _, n := range u.nodes {
			for _, j := range n.next {
				if j < len(f.nodes) && !seen[units[f.nodes[j]]] {
					seen[units[f.nodes[j]]] = true
					visit(units[f.nodes[j]])
				}
			}
		}
	}
	for _, u := range at {
		each(u, func(v *unit) { v.wait++ })
	}
	for i, u := range at {
		if u.wait == 0 {
			heap.Push(ready, i)
		}
	}
	for ready.Len() > 0 {
		u := at[heap.Pop(ready).(int)]
		emit(u.nodes[0].group, u.nodes[0].stmt)
		each(u, func(v *unit) {
			if v.wait--; v.wait == 0 {
				heap.Push(ready, v.nodes[len(v.nodes)-1].i)
			}
		})
	}
}

// byIndex is a heap of statements, the first in the block on top.
type byIndex []int

func (h byIndex) Len() int           { return len(h) }
func (h byIndex) Less(i, j int) bool { return h[i] < h[j] }
func (h byIndex) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byIndex) Push(x any)        { *h = append(*h, x.(int)) }
func (h *byIndex) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
