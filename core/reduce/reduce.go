// Package reduce makes a small module of a large one on which something goes wrong: it
// takes parts away, and keeps what is left as long as the same still goes wrong.
package reduce

import (
	"context"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Options say what is looked for.
type Options struct {
	// Fails says whether the same goes wrong on a valid module, which it does not change.
	Fails func(*ir.Module) bool
	// Size is a size for a symbol that nothing tells any more.
	Size func(symbol string) int64
	// Known is what a value held in a run, nil where that is not known. Small integers, such
	// as shapes, become constants of it when what computed them is taken away; all else
	// becomes a parameter.
	Known func(value string) *tensor.Tensor
	// Smaller, if it is set, is called when a smaller module was found that fails.
	Smaller func(*ir.Module)
}

// Module gives a module that is no larger than m, and on which the same goes wrong. It
// ends early, with what it has, when ctx ends.
func Module(ctx context.Context, m *ir.Module, o Options) *ir.Module {
	r := &reducer{Options: o, ctx: ctx, m: m}
	steps := []func(*reducer){(*reducer).about, (*reducer).results, (*reducer).statements, (*reducer).symbols, (*reducer).numbers,
		(*reducer).branches, (*reducer).regions, (*reducer).bypasses, (*reducer).parts, (*reducer).constants, (*reducer).programs, (*reducer).knowledge}
	for before := cost(m) + 1; cost(r.m) < before; {
		before = cost(r.m)
		for _, step := range steps {
			step(r)
		}
	}
	return r.m
}

// cost is how large a module is: what the steps lower. A statement is worth more than the
// parameter that takes its place, a symbol more than any number.
func cost(m *ir.Module) float64 {
	f := m.Main()
	n := float64(10*len(m.Programs) + len(f.Params) + len(f.Results) + nodes(m) + len(m.Meta.Props))
	n += 1e6 * float64(len(symbols(m))+len(m.Syms.Symbols())+len(m.Syms.Equalities())+len(m.Syms.LEs()))
	f.Walk(func(s *ir.Stmt) { n += float64(10 + 2*len(s.Args) + len(s.Results) + len(s.Attrs)) })
	eachExpr(m, func(e sym.Expr) {
		if k, ok := e.Int(); ok {
			n += float64(k) / 1e3
		}
	})
	for _, c := range m.Consts {
		n++
		for _, k := range c.Tensor.Shape() {
			n += float64(k) / 1e3
		}
		if !alike(c.Tensor) {
			n += 0.5
		}
	}
	return n
}

// reducer holds the smallest module so far.
type reducer struct {
	Options
	ctx context.Context
	m   *ir.Module
}

// try makes a change to a copy, and keeps it if the same goes wrong with it. The change
// says whether it was possible, and whether it makes the module smaller is its matter.
func (r *reducer) try(change func(*ir.Module) bool) bool {
	if r.ctx.Err() != nil {
		return false
	}
	m := r.m.Clone()
	if !change(m) {
		return false
	}
	r.settle(m)
	if ir.Verify(m) != nil || !r.Fails(m) {
		return false
	}
	r.m = m
	if r.Smaller != nil {
		r.Smaller(m)
	}
	return true
}

// drop takes ranges of a list of parts away, large ones first. take changes a copy; what
// is in front of lo stays in its place.
func (r *reducer) drop(count func(*ir.Module) int, take func(m *ir.Module, lo, hi int) bool) {
	for size := count(r.m); size > 0; size /= 2 {
		for hi := count(r.m); hi > 0; { // from the end: what is behind need not run then
			lo := max(hi-size, 0)
			r.try(func(m *ir.Module) bool { return take(m, lo, hi) })
			hi = min(lo, count(r.m))
		}
	}
}

// each tries a change of each of a list of parts.
func (r *reducer) each(count func(*ir.Module) int, change func(m *ir.Module, i int) bool) {
	for i := count(r.m) - 1; i >= 0; i-- {
		if i < count(r.m) {
			r.try(func(m *ir.Module) bool { return change(m, i) })
		}
	}
}

// about takes away what the model says of itself.
func (r *reducer) about() {
	r.try(func(m *ir.Module) bool {
		was, name := m.Meta, m.Name
		m.Meta, m.Name = ir.Meta{}, ""
		return name != "" || was.Producer != "" || was.Doc != "" || len(was.Opsets) > 0 || len(was.Props) > 0 || len(was.Outputs) > 0
	})
}

// results takes results away, but for one.
func (r *reducer) results() {
	count := func(m *ir.Module) int { return len(m.Main().Results) }
	r.drop(count, func(m *ir.Module, lo, hi int) bool {
		f := m.Main()
		names := make([]string, len(f.Results))
		for i := range names {
			names[i] = f.ResultName(i)
		}
		if hi-lo == len(names) {
			return false
		}
		f.Results = append(f.Results[:lo:lo], f.Results[hi:]...)
		f.ResultNames = append(names[:lo:lo], names[hi:]...)
		m.Meta.Outputs = nil
		return true
	})
}

// statements takes statements of @main away.
func (r *reducer) statements() {
	count := func(m *ir.Module) int { return len(m.Main().Stmts) }
	r.drop(count, func(m *ir.Module, lo, hi int) bool { return r.cut(m, &m.Main().Block, lo, hi) })
}

// regions takes statements of regions away.
func (r *reducer) regions() {
	for i := 0; i < len(regions(r.m)); i++ {
		count := func(m *ir.Module) int {
			if list := regions(m); i < len(list) {
				return len(list[i].Stmts)
			}
			return 0
		}
		r.drop(count, func(m *ir.Module, lo, hi int) bool { return r.cut(m, regions(m)[i], lo, hi) })
	}
}

// regions are all regions in @main, in order.
func regions(m *ir.Module) (out []*ir.Block) {
	m.Main().Walk(func(s *ir.Stmt) { out = append(out, s.Regions...) })
	return out
}

// branches puts a region in the place of the conditional that has it.
func (r *reducer) branches() {
	for which := range 2 {
		r.each(statements, func(m *ir.Module, i int) bool {
			b, at := find(m, i)
			s := b.Stmts[at]
			if s.OpName() != "onnx.If" {
				return false
			}
			region := s.Regions[which]
			for j, v := range s.Results {
				if v != nil {
					m.Main().ReplaceUses(0, v, region.Results[j])
				}
			}
			b.Stmts = append(b.Stmts[:at:at], append(region.Stmts, b.Stmts[at+1:]...)...)
			return true
		})
	}
}

// bypasses puts an operand in the place of a result of the same type.
func (r *reducer) bypasses() {
	for arg := range 3 {
		r.each(statements, func(m *ir.Module, i int) bool {
			b, at := find(m, i)
			s := b.Stmts[at]
			if arg >= len(s.Args) || s.Args[arg] == nil || len(s.Results) == 0 || s.Results[0] == nil || !ir.SameType(s.Args[arg].Type, s.Results[0].Type) {
				return false
			}
			m.Main().ReplaceUses(0, s.Results[0], s.Args[arg])
			return r.cut(m, b, at, at+1)
		})
	}
}

// parts takes attributes, operands and results away that may be left out.
func (r *reducer) parts() {
	attrs := func(m *ir.Module) (n int) {
		m.Main().Walk(func(s *ir.Stmt) { n += len(s.Attrs) })
		return n
	}
	r.each(attrs, func(m *ir.Module, i int) (done bool) {
		m.Main().Walk(func(s *ir.Stmt) {
			if i >= 0 && i < len(s.Attrs) {
				s.Attrs, done = s.Attrs.Without(s.Attrs[i].Name), true
				i = -1
			}
			i -= len(s.Attrs)
		})
		return done
	})
	r.each(statements, func(m *ir.Module, i int) bool {
		b, at := find(m, i)
		s := b.Stmts[at]
		for j := len(s.Args) - 1; j >= 0 && s.Op != nil; j-- {
			if o, ok := s.Op.Operand(j); ok && s.Args[j] != nil && o.Optional {
				s.Args[j] = nil
				for len(s.Args) > 0 && s.Args[len(s.Args)-1] == nil {
					s.Args = s.Args[:len(s.Args)-1]
				}
				return true
			}
		}
		return false
	})
	r.each(statements, func(m *ir.Module, i int) (done bool) {
		b, at := find(m, i)
		used := uses(m)
		for j, v := range b.Stmts[at].Results {
			if v != nil && !used[v] && j > 0 {
				b.Stmts[at].Results[j], done = nil, true
			}
		}
		return done
	})
}

// statements counts all statements of @main.
func statements(m *ir.Module) (n int) {
	m.Main().Walk(func(*ir.Stmt) { n++ })
	return n
}

// find gives the i-th statement of @main, as Walk has them: its block and its place there.
func find(m *ir.Module, i int) (in *ir.Block, at int) {
	var visit func(b *ir.Block)
	visit = func(b *ir.Block) {
		for j, s := range b.Stmts {
			if i == 0 && in == nil {
				in, at = b, j
			}
			i--
			for _, r := range s.Regions {
				visit(r)
			}
		}
	}
	visit(&m.Main().Block)
	return in, at
}
