package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/target"
)

// Fuse makes one program of programs that read each other.
var Fuse = &pass.Pass{
	Name: "fuse",
	Doc: `Makes one program of programs that read each other.

    %a: [n, 8] f32 = call @matmul[n](%x, @w)
    %b: [n, 8] f32 = call @add[n](%a, %bias)  =>  %c: [n, 8] f32 = call @matmul_add_relu[n](%x, @w, %bias)
    %c: [n, 8] f32 = call @relu[n](%b)

Statements are put into groups along the post-dominators of the dataflow: a program and all
that is made of its result, up to where it comes together again. A group grows from a
contraction, which takes what only moves its operands, the maps behind it, and reductions of
its rows (normalisations); from a reduction, which takes maps on both sides and reductions of
the same rows (softmax); and then from the maps that are left, which go with what needs them.
Contractions whose axes are
batch axes of both factors go together with the reductions between them (attention). Views
between them become index arithmetic, in a factor of a product where that needs no division;
a view that others need, too, stands behind the program.

Contractions that walk over the same factor are one program with several results (the
projections of an attention, the halves of a gate), and so are a map with what it reads point
by point and a reduction with what it sums up, though others read that, too. Where the target
says that what contractions are joined with costs more than by itself, it stays by itself.

In the program of a group, a map is written into the expressions of its readers where each of
its points is computed once, or it is cheap, and into a factor of a product where it only moves
data, whatever the index (rows that are picked are packed), but for one that is looked up for each
term of a sum; sums and products stay stages of their own. A map that computes a factor of one product is written into it where the target says
that this costs less (weights that are dequantised), and is a stage elsewhere. A scan and a scatter take maps on both sides,
and what a product gives; they are stages of their own, and one of them is in a program. Rounding
stays as it is. A value whose type tells a symbol stays alone, and so does a call that checks a
shape.

It stands after legalize: kinds are read from programs.`,
	After:   []pass.Order{pass.Because("legalize", "kinds are read from programs")},
	Options: []pass.Option{{Name: "max-stages", Kind: pass.Int, Doc: "stages of a fused program at most", Default: int64(24)}},
	Run: func(c *pass.Context, m *ir.Module) error {
		removeDead(m)
		e := &equal{m, map[string]*ir.Program{}, map[*ir.Program]*ir.Program{}}
		sizes := typicalSizes(m)
		for _, f := range m.Funcs {
			f.Walk(func(s *ir.Stmt) {
				if p, ok := s.Callee.(*ir.Program); ok {
					s.Callee = e.of(p)
				}
			})
			fuseBlock(c, m, &f.Block, e, sizes)
		}
		removeDead(m)
		return nil
	},
}

// fuseBlock fuses the statements of a block, and of its regions by themselves.
func fuseBlock(c *pass.Context, m *ir.Module, b *ir.Block, e *equal, sizes target.Sizes) {
	for _, s := range b.Stmts {
		for _, r := range s.Regions {
			fuseBlock(c, m, r, e, sizes)
		}
	}
	if slices.ContainsFunc(b.Stmts, func(s *ir.Stmt) bool { return s.Into != nil || s.Op != nil && s.Op.Name == ir.ReleaseName }) {
		return // it is settled where values lie, and for how long
	}
	f := newFlow(m, b, e)
	f.limit, f.target, f.sizes = int(pass.Get[int64](c, "max-stages")), c.Target, sizes
	f.partition()
	var out []*ir.Stmt
	f.schedule(func(g *group, s *ir.Stmt) {
		var views []*ir.Stmt
		if g != nil && len(g.nodes) > 1 {
			s, views = f.write(g)
		}
		out = append(append(out, s), views...)
	})
	b.Stmts = out
}

// partition puts the nodes into groups. A group grows from what is computed most dearly: a
// contraction takes what moves its operands and what is made of its result, then reductions
// do, and then what is left.
func (f *flow) partition() {
	of := func(kinds ...analysis.Kind) (list []*node) {
		for _, n := range f.nodes {
			if n.group != nil && !n.view && slices.Contains(kinds, n.kind) {
				list = append(list, n)
			}
		}
		return list
	}
	maps := of(analysis.Elementwise, analysis.Broadcast, analysis.Injective)
	contractions, reductions := of(analysis.Contraction), of(analysis.Reduction)
	for _, n := range slices.Backward(maps) {
		if p := f.after(n); p != nil && p.kind == analysis.Contraction && n.moves() {
			f.join(n, p)
		}
	}
	f.shareFactors(contractions)
	for _, n := range slices.Backward(contractions) {
		f.extend(n)
	}
	for _, n := range reductions {
		f.extend(n)
	}
	f.through = true
	for _, n := range slices.Backward(maps) {
		if p := f.after(n); p != nil {
			f.join(n, p)
		}
	}
	for _, n := range slices.Concat(contractions, of(analysis.Opaque)) { // those that others stood in the way of, too
		f.extend(n)
	}
	f.shareReads(maps)
	f.shareRows(reductions)
}

// shareFactors makes one group of contractions that walk over the same factor, which is
// then read once: the projections of an attention, the two halves of a gate. They must not
// be far from each other, since all of their results are there as long as one is waited
// for.
func (f *flow) shareFactors(contractions []*node) {
	first := map[string]*node{}
	for _, n := range contractions {
		for key := range factors(n) {
			if a := first[key]; a == nil || n.i-a.i > maxBetween || !f.try(a, n) {
				first[key] = n
			}
		}
	}
}

// shareReads lets a map that reads a value point by point join the group that makes it,
// although others read it, too: it is a result of the program then, beside the map's.
func (f *flow) shareReads(maps []*node) {
	for _, n := range maps {
		for i, v := range n.stmt.Args {
			if f.pointwise(n, i) {
				f.share(n, v)
			}
		}
	}
}

// shareRows lets a reduction join the group that makes what it sums up, although others read
// that, too: a normalisation whose operand is the residual of what is behind it.
func (f *flow) shareRows(reductions []*node) {
	for _, n := range reductions {
		for _, v := range n.stmt.Args {
			if f.share(n, v) {
				break
			}
		}
	}
}

// share joins a node with what makes a value that it reads, through views.
func (f *flow) share(n *node, v *ir.Value) bool {
	list := []*node{n}
	for from := f.by[v]; from != nil && from.group != nil && n.i-from.i <= maxBetween; from = f.by[from.stmt.Args[0]] {
		list = append(list, from)
		if !from.view {
			slices.Reverse(list)
			return f.try(list...)
		}
	}
	return false
}

// pointwise says whether a map reads an operand at just the points that it computes.
func (f *flow) pointwise(n *node, arg int) bool {
	b := n.prog.Params[arg]
	if len(n.prog.Stages) != 1 || !f.sameDims(b.Dims, n.prog.Results[0].Dims) {
		return false
	}
	loads := distinctLoads(n.prog.Stages[0], b)
	return len(loads) == 1 && aligned(loads[0].Args) && readsOnce(n.prog.Stages[0], loads[0])
}

// extend lets a group grow from a node to its post-dominators, one after the other.
func (f *flow) extend(n *node) {
	for p := f.after(n); p != nil && f.join(n, p); p = f.after(n) {
		n = p
	}
}

// join makes one group of two nodes, the second of which post-dominates the first, and all
// between them, where the rules allow it.
func (f *flow) join(n, p *node) bool {
	list, ok := f.between(n.i, p.i)
	return ok && f.try(append(list, n, p)...)
}
