package builtin

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Bounds of what is fused, in nodes of expressions, in operands, and in statements that are
// looked at between a value and where all that is made of it comes together.
const (
	maxFusedParams = 32
	maxInlined     = 200 // of one producer, over all places that read it
	cheap          = 16  // what may be computed more than once
	maxBetween     = 64
)

// union is a set of nodes that are to become one program.
type union struct {
	*flow
	nodes  []*node // in order
	source map[*ir.Buffer]*ir.Buffer
	maker  map[*ir.Buffer]made
	read   map[*ir.Buffer]int // stages that read a buffer
	cost   float64            // what the target takes for it
	asked  bool               // for that
}

// made tells where a buffer comes from.
type made struct {
	node  *node
	stage *ir.Stage
}

// try makes one group of the groups of some nodes, where the rules allow it.
func (f *flow) try(list ...*node) bool {
	first := f.nodes[list[0].i].group
	if !slices.ContainsFunc(list, func(n *node) bool { return n.group != first }) {
		return true
	}
	seen := map[*group]bool{}
	var set []*node
	for _, n := range list {
		if !seen[n.group] {
			seen[n.group] = true
			set = append(set, n.group.nodes...)
		}
	}
	slices.SortFunc(set, func(a, b *node) int { return a.i - b.i })
	u := f.union(set)
	if u == nil || !u.small() || !u.leaders() || !u.edges() || !u.rows() || !f.convex(set) || !u.pays() {
		return false
	}
	g := &group{nodes: set, cost: u.cost, known: u.asked}
	for _, n := range set {
		n.group = g
	}
	return true
}

// union connects what nodes read with what others of them make; nil where a call checks
// the shape of what it reads, which fusion would lose.
func (f *flow) union(set []*node) *union {
	buffers := 0 // about as many as there are
	for _, n := range set {
		buffers += len(n.prog.Params) + len(n.prog.Stages)
	}
	u := &union{flow: f, nodes: set, source: make(map[*ir.Buffer]*ir.Buffer, buffers), maker: make(map[*ir.Buffer]made, buffers), read: make(map[*ir.Buffer]int, buffers)}
	given := make(map[*ir.Value]*ir.Buffer, len(set))
	for _, n := range set {
		for i, b := range n.prog.Params {
			from := given[n.stmt.Args[i]]
			if from == nil {
				continue
			}
			if !f.sameDims(from.Dims, b.Dims) {
				return nil
			}
			u.source[b] = from
		}
		for _, s := range n.prog.Stages {
			for _, b := range u.of(s).reads {
				if from := u.source[b]; from != nil {
					b = from
				}
				u.read[b]++
			}
			for _, b := range s.Outs {
				u.maker[b] = made{n, s}
			}
		}
		for i, b := range n.prog.Results {
			given[n.stmt.Results[i]] = b
		}
	}
	return u
}

// small bounds a program: its operands, and its stages but for those that disappear in
// the one that reads them.
func (u *union) small() bool {
	args := map[*ir.Value]bool{}
	stages := 0
	for _, n := range u.nodes {
		for i, b := range n.prog.Params {
			if u.source[b] == nil {
				args[n.stmt.Args[i]] = true
			}
		}
		if n.view {
			continue
		}
		for _, s := range n.prog.Stages {
			if s.Kind != ir.MapStage || u.read[s.Out()] != 1 || u.outside(n, s.Out()) {
				stages++
			}
		}
	}
	return len(args) <= maxFusedParams && stages <= u.limit
}

// outside says whether a buffer is a result of a node that somebody outside of the union
// reads.
func (u *union) outside(n *node, b *ir.Buffer) bool {
	for i, r := range n.prog.Results {
		if r == b {
			return slices.ContainsFunc(u.users[n.stmt.Results[i]], func(i int) bool {
				return i >= len(u.flow.nodes) || !slices.Contains(u.nodes, u.flow.nodes[i])
			})
		}
	}
	return false
}

// leaders says whether the contractions of the union go together: there is one, or they
// share a factor; or all of them have batch axes and computed factors, so that a batch at a
// time all fits in near memory. Weights would have to be read again for every batch. Of scans
// and scatters there is one.
func (u *union) leaders() bool {
	var lead, ordered []*node
	for _, n := range u.nodes {
		switch n.kind {
		case analysis.Contraction:
			lead = append(lead, n)
		case analysis.Opaque:
			if slices.ContainsFunc(n.prog.Stages, func(s *ir.Stage) bool { return u.of(s).kind == analysis.Contraction }) {
				return false
			}
			ordered = append(ordered, n)
		}
	}
	return len(ordered) <= 1 && (len(lead) <= 1 || u.batched(lead) || siblings(lead))
}

// batched says whether all contractions have batch axes, and factors that are computed.
func (u *union) batched(lead []*node) bool {
	for _, n := range lead {
		for _, s := range n.prog.Stages {
			if u.of(s).kind != analysis.Contraction {
				continue
			}
			if len(u.of(s).batch) == 0 {
				return false
			}
			for _, b := range u.of(s).reads {
				if i := slices.Index(n.prog.Params, b); i >= 0 && n.stmt.Args[i].Const != nil {
					return false
				}
			}
		}
	}
	return len(lead) > 0
}

// siblings says whether contractions have a factor in common that all of them walk over in
// the same way, so that it needs to be read once.
func siblings(lead []*node) bool {
	common := maps.Clone(factors(lead[0]))
	for _, n := range lead[1:] {
		mine := factors(n)
		maps.DeleteFunc(common, func(k string, v *ir.Value) bool { return mine[k] != v })
	}
	return len(common) > 0
}

// factors gives the computed values that a contraction loads as factors, by how it walks
// over them.
func factors(n *node) map[string]*ir.Value {
	if n.factors == nil {
		n.factors = findFactors(n)
	}
	return n.factors
}

func findFactors(n *node) map[string]*ir.Value {
	out := map[string]*ir.Value{}
	i := slices.IndexFunc(n.prog.Stages, func(s *ir.Stage) bool { return analysis.StageKind(s) == analysis.Contraction })
	if i < 0 {
		return out
	}
	s := n.prog.Stages[i]
	a, b, _ := analysis.Factors(s)
	for _, x := range []*ir.Scalar{a, b} {
		x.Walk(func(y *ir.Scalar) bool {
			if i := slices.Index(n.prog.Params, y.Buf); y.Op == ir.OpLoad && i >= 0 && n.stmt.Args[i].Const == nil {
				v := n.stmt.Args[i]
				out[fmt.Sprintf("%p %s", v, walk(s, y))] = v
			}
			return true
		})
	}
	return out
}

// walk writes an index with axes by their places: r0 is the first reduction axis.
func walk(s *ir.Stage, x *ir.Scalar) string {
	var b strings.Builder
	writeWalk(&b, s, x)
	return b.String()
}

func writeWalk(b *strings.Builder, s *ir.Stage, x *ir.Scalar) {
	switch x.Op {
	case ir.OpAxis:
		kind, i := "r", slices.Index(s.Red, x.Axis)
		if i < 0 {
			kind, i = "s", slices.Index(s.Axes, x.Axis)
		}
		b.WriteString(kind)
		b.WriteString(strconv.Itoa(i))
		b.WriteByte('<')
		b.WriteString(x.Axis.Extent.String())
		return
	case ir.OpSym:
		b.WriteString(x.Sym.String())
		return
	case ir.OpLit:
		b.WriteString(x.Lit.Format(1))
		return
	}
	b.WriteString(x.Op.String())
	b.WriteByte('(')
	for i, a := range x.Args {
		if i > 0 {
			b.WriteByte(' ')
		}
		writeWalk(b, s, a)
	}
	b.WriteByte(')')
}

// resolve follows a load through views to the buffer that a stage of another node makes,
// and gives the index there; nil for what comes from outside.
func (u *union) resolve(x *ir.Scalar) (*ir.Buffer, []*ir.Scalar) {
	b, ix := u.source[x.Buf], x.Args
	for b != nil && u.maker[b].node.view {
		l := at(u.maker[b].stage, ix)
		ix = make([]*ir.Scalar, len(l.Args))
		for k, i := range l.Args {
			ix[k] = analysis.SimplifyIndex(u.m.Syms, i)
		}
		b = u.source[l.Buf]
	}
	return b, ix
}

// divides says whether an index has quotients or remainders in it.
func divides(index []*ir.Scalar) bool {
	found := false
	for _, x := range index {
		x.Walk(func(y *ir.Scalar) bool {
			found = found || y.Op == ir.OpFloorDiv || y.Op == ir.OpMod
			return !found
		})
	}
	return found
}

// edges says whether each of the nodes may read what others of them make. Unless all
// contractions are batched, none of them needs what is made of another one, of a reduction, or
// in an order.
func (u *union) edges() bool {
	batched := u.batchedAll()
	late := map[*ir.Buffer]bool{} // made of what sums up, scans and scatters
	for _, n := range u.nodes {
		if n.view {
			continue
		}
		for _, s := range n.prog.Stages {
			if base := u.source[s.Base]; s.Base != nil && base != nil && (u.maker[base].node.view || u.of(u.maker[base].stage).kind > analysis.Injective) {
				return false
			}
			kind := u.of(s).kind
			waits := kind >= analysis.Reduction
			for _, x := range u.of(s).loads {
				b, ix := u.resolve(x)
				if kind >= analysis.Contraction && divides(ix) && !divides(x.Args) && !u.moved(b, s, x, ix) || b != nil && !u.edge(u.maker[b].stage, s, x, ix) {
					return false
				}
				if b == nil {
					b = x.Buf
				}
				if late[b] && kind == analysis.Contraction && u.maker[b].node != n && !batched {
					return false
				}
				waits = waits || late[b]
			}
			for _, b := range s.Outs {
				late[b] = waits
			}
		}
	}
	return true
}

// moved says whether a contraction reads a buffer in the places that it was moved from: through
// views as well, heads that were repeated for their queries, for example.
func (u *union) moved(b *ir.Buffer, to *ir.Stage, load *ir.Scalar, ix []*ir.Scalar) bool {
	return u.through && b != nil && u.of(to).kind == analysis.Contraction && packs(u.maker[b].stage, to, load, ix)
}

// edge says whether a stage may load what another one makes at an index.
func (u *union) edge(from, to *ir.Stage, load *ir.Scalar, ix []*ir.Scalar) bool {
	made, reads := u.of(from).kind, u.of(to).kind
	switch {
	case made == analysis.Opaque && reads > analysis.Injective:
		return false
	case reads >= analysis.Contraction && made <= analysis.Injective:
		return true // written into it, or a stage of its own
	case reads <= analysis.Injective && made <= analysis.Injective && inlines(from, to, load.Buf):
		return true
	}
	return aligned(ix)
}

func (u *union) batchedAll() bool {
	var lead []*node
	for _, n := range u.nodes {
		if n.kind == analysis.Contraction {
			lead = append(lead, n)
		}
	}
	return u.batched(lead)
}

// packs says whether a contraction may read through what a stage moves: runtimes pack the
// operands of products, and look up where a row of them lies. What is looked up for each term of a
// row's sum would be looked up for each row again. ix is where in the stage it reads.
func packs(from, to *ir.Stage, load *ir.Scalar, ix []*ir.Scalar) bool {
	return len(from.Outs) == 1 && from.Kind == ir.MapStage && from.Exprs[0].Op == ir.OpLoad && !guarded(to, load) && !looksUp(from, to.Red, ix)
}

// looksUp says whether a stage looks up what it moves along some axes of the one that loads it, at a point of it.
func looksUp(from *ir.Stage, along []*ir.Axis, point []*ir.Scalar) bool {
	found := false
	for _, ix := range at(from, point).Args {
		ix.Walk(func(x *ir.Scalar) bool {
			if x.Op == ir.OpLoad {
				x.Walk(func(y *ir.Scalar) bool {
					found = found || y.Op == ir.OpAxis && slices.Contains(along, y.Axis)
					return !found
				})
			}
			return !found
		})
	}
	return found
}

// guarded says whether a load stands under a guard, which tells by the load's own index
// where there is nothing.
func guarded(s *ir.Stage, load *ir.Scalar) bool {
	found := false
	s.Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpGuard {
			x.Walk(func(y *ir.Scalar) bool {
				found = found || y == load
				return !found
			})
		}
		return !found
	})
	return found
}

// at is the expression of a stage at a point.
func at(s *ir.Stage, point []*ir.Scalar) *ir.Scalar {
	return s.Exprs[0].Rewrite(func(x *ir.Scalar) *ir.Scalar {
		if x.Op == ir.OpAxis {
			if i := slices.Index(s.Axes, x.Axis); i >= 0 {
				return point[i]
			}
		}
		return x
	})
}

// inlines says whether a map may be written into the expression of a stage that loads it:
// where each of its points is computed once at most, or it is cheap.
func inlines(from, to *ir.Stage, b *ir.Buffer) bool {
	size, costly := cost(from.Exprs[0])
	loads := distinctLoads(to, b)
	if len(from.Outs) != 1 || size*len(loads) > maxInlined {
		return false
	}
	if len(loads) == 1 && readsOnce(to, loads[0]) {
		return true
	}
	return analysis.StageKind(to) <= analysis.Injective && !costly && size <= cheap
}

// distinctLoads gives the loads of a buffer that differ in their index.
func distinctLoads(s *ir.Stage, b *ir.Buffer) []*ir.Scalar {
	var out []*ir.Scalar
	seen := map[string]bool{}
	s.Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpLoad && x.Buf == b {
			if key := walk(s, x); !seen[key] {
				seen[key] = true
				out = append(out, x)
			}
		}
		return true
	})
	return out
}

// readsOnce says whether a stage loads each point once at most: all of its axes tell
// points apart.
func readsOnce(s *ir.Stage, load *ir.Scalar) bool {
	digits := map[*ir.Axis][]analysis.Digit{}
	for _, ix := range load.Args {
		if d, ok := analysis.DigitOf(ix); ok {
			digits[d.Axis] = append(digits[d.Axis], d)
			continue
		}
		f, ok := analysis.AffineOf(ix)
		if !ok || !f.Injective() {
			return false
		}
		for _, t := range f.Terms {
			digits[t.Axis] = append(digits[t.Axis], analysis.Digit{Axis: t.Axis, P: sym.Const(1), Upper: true})
		}
	}
	for _, a := range s.AllAxes() {
		if !analysis.Spelled(digits[a]) && !a.Extent.IsInt(1) {
			return false
		}
	}
	return true
}

// aligned says whether a buffer is read where the point that is computed lies: each index
// is an axis of its own, broadcast or not, a digit of one that was merged, or counts through
// several, as one that was merged from them.
func aligned(index []*ir.Scalar) bool {
	seen := map[*ir.Axis]bool{}
	digits := map[*ir.Axis][]analysis.Digit{}
	for _, ix := range index {
		if a, ok := analysis.Bare(ix); ok {
			if seen[a] && !a.Extent.IsInt(1) {
				return false
			}
			seen[a] = true
			continue
		}
		if d, ok := analysis.DigitOf(ix); ok {
			if slices.ContainsFunc(digits[d.Axis], func(e analysis.Digit) bool { return e.P.Equal(d.P) }) {
				return false
			}
			digits[d.Axis] = append(digits[d.Axis], d)
			continue
		}
		f, ok := analysis.AffineOf(ix)
		if !ok || !f.C.IsInt(0) {
			return false
		}
		unit := len(f.Terms) == 0
		for _, t := range f.Terms {
			if n, ok := t.K.Int(); seen[t.Axis] || ok && n < 1 {
				return false
			}
			unit = unit || t.K.IsInt(1)
			seen[t.Axis] = true
		}
		if !unit {
			return false
		}
	}
	for a := range digits {
		if seen[a] {
			return false
		}
	}
	return true
}

// origin tells where an axis comes from: a node that has a point for each position along
// it, which side says of what.
type origin struct {
	node int
	side side
}

// side is a set of sides of a node's axes.
type side uint8

const (
	whole side = 0 // the rows of a reduction, and the batches of a contraction
	left  side = 1 // the axes that a contraction's first factor alone has
	right side = 2
)

// rows says whether reductions stay within what others give a point of: the rows that one
// has summed up are not summed up again, and of what a contraction makes either rows are
// summed up or columns, so that it is computed row by row, or column by column. Where all
// contractions have batch axes, what belongs to one batch is enough.
func (u *union) rows() bool {
	type origins map[origin]bool
	rows := map[*ir.Buffer][]origins{}
	reduced := map[int]side{} // of what contractions make
	batched := u.batchedAll()
	for _, n := range u.nodes {
		if n.view {
			continue
		}
		for _, s := range n.prog.Stages {
			along := map[*ir.Axis]origins{}
			ok := true
			for _, x := range u.of(s).loads {
				b, ix := u.resolve(x)
				if b == nil {
					b, ix = x.Buf, x.Args
				}
				for d, from := range rows[b] {
					ix[d].Walk(func(y *ir.Scalar) bool {
						if y.Op != ir.OpAxis {
							return true
						}
						if along[y.Axis] == nil {
							along[y.Axis] = origins{}
						}
						for o := range from {
							along[y.Axis][o] = true
							if o.node != n.i && slices.Contains(s.Red, y.Axis) {
								reduced[o.node] |= o.side
								ok = ok && o.side != whole && reduced[o.node] != left|right
							}
						}
						return true
					})
				}
			}
			if !ok {
				return false
			}
			if s.Kind == ir.ScatterStage {
				continue
			}
			dims := make([]origins, len(s.Axes))
			for d, a := range s.Axes {
				dims[d] = origins{}
				maps.Copy(dims[d], along[a])
				switch u.of(s).kind {
				case analysis.Contraction:
					if p, ok := u.of(s).sides[a]; ok && (p == whole || !batched) {
						dims[d][origin{n.i, p}] = true
					}
				case analysis.Reduction:
					dims[d][origin{n.i, whole}] = true
				}
			}
			for _, b := range s.Outs {
				rows[b] = dims
			}
		}
	}
	return true
}

// pays says whether the target takes no longer for what contractions are joined with than
// for each group by itself.
func (u *union) pays() bool {
	if u.target == nil || u.target.Cost == nil || !slices.ContainsFunc(u.nodes, func(n *node) bool { return n.kind == analysis.Contraction }) {
		return true
	}
	apart := 0.0
	seen := map[*group]bool{}
	for _, n := range u.nodes {
		g := n.group
		if seen[g] {
			continue
		}
		if seen[g] = true; !g.known {
			g.cost, g.known = u.flow.cost(g.nodes), true
		}
		apart += g.cost
	}
	u.cost, u.asked = u.flow.cost(u.nodes), true
	return u.cost <= apart
}

// cost is about what the target takes for a program of some nodes.
func (f *flow) cost(list []*node) float64 {
	var stages []*ir.Stage
	for _, n := range list {
		if !n.view {
			stages = append(stages, n.prog.Stages...)
		}
	}
	if len(stages) == 0 {
		return 0
	}
	return f.targetCost(stages...)
}

// targetCost is about what the target takes for a call of a program of some stages, in nanoseconds.
func (f *flow) targetCost(stages ...*ir.Stage) float64 {
	return f.target.Choose(&ir.Program{Stages: stages}, f.sizes).Cost
}

// cost is the number of nodes of an expression as it is written, and whether it has
// divisions or transcendental functions among them.
func cost(e *ir.Scalar) (size int, costly bool) {
	sizes := map[*ir.Scalar]int{}
	var count func(x *ir.Scalar) int
	count = func(x *ir.Scalar) int {
		if n, ok := sizes[x]; ok {
			return n
		}
		n := 1
		for _, a := range x.Args {
			n = min(n+count(a), 1<<20)
		}
		switch {
		case x.Op == ir.OpMin || x.Op == ir.OpMax:
		case x.Op >= ir.OpDiv && x.Op <= ir.OpAtan2, x.Op >= ir.OpSqrt && x.Op <= ir.OpErf:
			costly = true
		}
		sizes[x] = n
		return n
	}
	return count(e), costly
}
