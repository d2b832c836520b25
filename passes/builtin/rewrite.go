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
	subst map[*ir.Value]*ir.Value
	// replace is asked for every statement, its operands substituted and its regions
	// done. It adds what is to stand there to the builder and gives values for the
	// results (nil for those not wanted); ok is false where the statement stays.
	replace func(b *ir.Builder, s *ir.Stmt) (results []*ir.Value, ok bool, err error)
	// keep is called for a statement that stays, before it is followed.
	keep func(d *ir.Deducer, s *ir.Stmt) error
}

func (r *rewriter) module(m *ir.Module) error {
	for _, f := range m.Funcs {
		r.Deducer = ir.NewDeducer(m)
		r.subst = map[*ir.Value]*ir.Value{}
		r.Params(f.Params)
		if err := r.block(&f.Block); err != nil {
			return err
		}
	}
	return nil
}

func (r *rewriter) value(v *ir.Value) *ir.Value {
	for v != nil {
		n, ok := r.subst[v]
		if !ok {
			break
		}
		v = n
	}
	return v
}

func (r *rewriter) block(b *ir.Block) error {
	old := b.Stmts
	b.Stmts = make([]*ir.Stmt, 0, len(old))
	for _, s := range old {
		for i, a := range s.Args {
			s.Args[i] = r.value(a)
		}
		for i, a := range s.Into {
			s.Into[i] = r.value(a)
		}
		for _, region := range s.Regions {
			var err error
			r.Scope(func() {
				r.Params(region.Params)
				err = r.block(region)
			})
			if err != nil {
				return err
			}
		}
		builder := r.At(b, s.Node)
		results, ok, err := r.replace(builder, s)
		if err == nil {
			err = builder.Err()
		}
		if err != nil {
			return err
		}
		if !ok {
			b.Stmts = append(b.Stmts, s)
			if r.keep != nil {
				if err := r.keep(r.Deducer, s); err != nil {
					return err
				}
			}
			r.Follow(s)
			continue
		}
		for i, v := range s.Results {
			if v == nil {
				continue
			}
			n := r.value(results[i])
			if n.Name == "" && n.Def != nil {
				n.Name = v.Name
			}
			r.subst[v] = n
		}
	}
	for i, v := range b.Results {
		b.Results[i] = r.value(v)
	}
	return nil
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

// boundByCalls are the symbols that calls and views evaluate: somebody has to give them
// their values.
func boundByCalls(m *ir.Module) map[string]bool {
	out := map[string]bool{}
	add := func(e sym.Expr) {
		for _, name := range e.Symbols() {
			out[name] = true
		}
	}
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			for _, e := range s.Bind {
				add(e)
			}
			if t, ok := s.Attrs.Get("type").(ir.Type); ok && s.Op != nil && s.Op.IsView() {
				ir.EachDim(t, add)
			}
		})
	}
	return out
}

// removeDead takes out statements without effect whose results nobody reads, programs
// that nobody calls, and constants that nobody reads. A statement also stays where the
// shape of its result alone gives a symbol that somebody reads.
func removeDead(m *ir.Module) {
	for changed := true; changed; {
		changed = false
		n, needed := uses(m), boundByCalls(m)
		var block func(b *ir.Block, outer map[string]bool)
		block = func(b *ir.Block, outer map[string]bool) {
			bound := maps.Clone(outer)
			// bind makes the symbols of a value visible; it says whether that gives a needed one.
			bind := func(v *ir.Value) (gives bool) {
				ir.EachOwnDim(v.Type, func(e sym.Expr) {
					for _, name := range e.Symbols() {
						gives = gives || needed[name] && !bound[name]
						bound[name] = true
					}
				})
				return gives
			}
			for _, p := range b.Params {
				bind(p)
			}
			kept := b.Stmts[:0]
			for _, s := range b.Stmts {
				live := s.Effect() == ir.Ordered
				for i, v := range s.Results {
					if v != nil && n[v] > 0 {
						live = true
					} else if v != nil && s.Kind == ir.OpStmt && len(s.Regions) == 0 && optionalResult(s, i) {
						s.Results[i] = nil
					}
				}
				// A cast is a check: it stays as long as what it casts is read elsewhere.
				if !live && s.Kind == ir.CastStmt {
					live = n[s.Args[0]] > 1
				}
				for _, v := range s.Results {
					if v != nil && bind(v) {
						live = true
					}
				}
				if live {
					for _, r := range s.Regions {
						block(r, bound)
					}
					kept = append(kept, s)
				} else {
					changed = true
				}
			}
			b.Stmts = kept
		}
		for _, f := range m.Funcs {
			block(&f.Block, map[string]bool{})
		}
	}
	called := map[ir.Callee]bool{}
	read := map[*ir.Const]bool{}
	for _, f := range m.Funcs {
		for _, v := range f.Results {
			if v.Const != nil {
				read[v.Const] = true
			}
		}
		f.Walk(func(s *ir.Stmt) {
			if s.Callee != nil {
				called[s.Callee] = true
				if k, ok := s.Callee.(*ir.Kernel); ok {
					called[k.Program] = true
				}
			}
		})
		for _, s := range f.Stmts {
			s.EachUse(func(v *ir.Value) {
				if v.Const != nil {
					read[v.Const] = true
				}
			})
		}
	}
	m.Programs = filter(m.Programs, func(p *ir.Program) bool { return called[p] })
	m.Kernels = filter(m.Kernels, func(k *ir.Kernel) bool { return called[k] })
	m.Consts = filter(m.Consts, func(c *ir.Const) bool { return read[c] })
}

func optionalResult(s *ir.Stmt, i int) bool {
	o, ok := s.Op.Result(i)
	return ok && o.Optional
}

func filter[T any](list []T, keep func(T) bool) []T {
	out := list[:0:0]
	for _, x := range list {
		if keep(x) {
			out = append(out, x)
		}
	}
	return out
}

// visibleDims says whether all symbols of a type are bound at this point.
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
