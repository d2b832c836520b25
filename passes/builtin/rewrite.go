package builtin

import (
	"maps"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// rewriter walks a module statement by statement, with deduction at hand, and lets a
// pass put other statements in the place of one.
type rewriter struct {
	*ir.Deducer
	// replace is asked for every statement, its operands substituted and its regions
	// done. It adds what is to stand there to the builder and gives values for the
	// results (nil for those not wanted); ok is false where the statement stays.
	replace func(b *ir.Builder, s *ir.Stmt) (results []*ir.Value, ok bool, err error)
	// keep is called for a statement that stays, before it is followed.
	keep func(b *ir.Builder, s *ir.Stmt) error

	subst ir.Subst
	path  []*ir.Block // the block that is rewritten, behind those around it
	rest  []*ir.Stmt  // what is behind the statement that is asked for, nothing substituted yet
}

func (r *rewriter) module(m *ir.Module) error {
	for _, f := range m.Funcs {
		r.Deducer = ir.NewDeducer(m)
		r.Learns = f == m.Main()
		r.subst = ir.Subst{Values: map[*ir.Value]*ir.Value{}}
		names := make([]string, len(f.Results))
		for i := range names {
			names[i] = f.ResultName(i)
		}
		if err := r.block(&f.Block); err != nil {
			return err
		}
		for i, name := range names {
			if f.ResultName(i) != name { // another value is the result now, by the same name
				f.ResultNames = names
			}
		}
	}
	return nil
}

func (r *rewriter) block(b *ir.Block) error {
	r.path = append(r.path, b)
	defer func() { r.path = r.path[:len(r.path)-1] }()
	for _, p := range b.Params {
		p.Type = r.subst.Type(p.Type)
	}
	r.Params(b.Params)
	old := b.Stmts
	b.Stmts = make([]*ir.Stmt, 0, len(old))
	for at, s := range old {
		known := r.substitute(s)
		for i, region := range s.Regions {
			outer := maps.Clone(r.subst.Syms)
			var err error
			r.Region(s, i, func() { err = r.block(region) })
			if err != nil {
				return err
			}
			r.subst.Syms = outer
		}
		builder := r.At(b, s.Node)
		r.rest = old[at+1:]
		results, ok, err := r.replace(builder, s)
		if err == nil {
			err = builder.Err()
		}
		if err != nil {
			return err
		}
		if !ok {
			if known && r.Check(s) != nil {
				forget(builder, s)
			}
			if r.keep != nil {
				if err := r.keep(builder, s); err != nil {
					return err
				}
			}
			b.Stmts = append(b.Stmts, s)
			r.Follow(s)
			continue
		}
		for i, v := range s.Results {
			if v == nil {
				continue
			}
			n := builder.Replace(&r.subst, v.Type, r.subst.Value(results[i]))
			if n.Name == "" && n.Def != nil {
				n.Name = v.Name
			}
			r.subst.Values[v] = n
		}
		if err := builder.Err(); err != nil {
			return err
		}
	}
	for i, v := range b.Results {
		b.Results[i] = r.subst.Value(v)
	}
	return nil
}

// substitute puts what took the place of values and symbols into a statement, and says
// whether more may be known of its operands or results by that.
func (r *rewriter) substitute(s *ir.Stmt) bool {
	more := len(r.subst.Syms) > 0
	for _, a := range s.Args {
		more = more || r.subst.Value(a) != a
	}
	r.subst.Stmt(s)
	return more
}

// forget hides what is known of the shapes of a statement's operands. By what a pass
// found out it can only fail; it is left to fail when it runs, if it ever does: it may
// stand in a branch that is never taken.
func forget(b *ir.Builder, s *ir.Stmt) {
	for i, a := range s.Args {
		if a == nil {
			continue
		}
		if t, ok := a.Tensor(); ok && !t.Unranked {
			s.Args[i] = b.MatchCast(a, ir.UnrankedOf(t.DType))
		}
	}
}

// splice puts the statements of a region of the statement that is asked for, which are
// done, in its place, and gives the region's results.
func (r *rewriter) splice(region *ir.Block) []*ir.Value {
	here := r.path[len(r.path)-1]
	for _, s := range region.Stmts {
		here.Stmts = append(here.Stmts, s)
		r.Follow(s)
	}
	return region.Results
}

// uses counts how often each value is read, by statements and as a result of a block.
func uses(m *ir.Module) map[*ir.Value]int {
	n := map[*ir.Value]int{}
	for _, f := range m.Funcs {
		for _, s := range f.Stmts {
			s.EachUse(func(v *ir.Value) { n[v]++ })
		}
		f.Walk(func(s *ir.Stmt) {
			for _, v := range s.Into {
				n[v]++
			}
		})
		for _, v := range f.Results {
			n[v]++
		}
	}
	return n
}

// visibleDims says whether all symbols of dims are bound at this point.
func visibleDims(d *ir.Deducer, dims ...sym.Expr) bool {
	for _, e := range dims {
		for _, s := range e.Symbols() {
			if !d.Bound(s) {
				return false
			}
		}
	}
	return true
}
