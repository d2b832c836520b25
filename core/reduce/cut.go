package reduce

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// uses are the values that something reads, by statements and as results of @main.
func uses(m *ir.Module) map[*ir.Value]bool {
	used := map[*ir.Value]bool{}
	see := func(v *ir.Value) { used[v] = true }
	f := m.Main()
	f.Walk(func(s *ir.Stmt) {
		if s.OpName() == ir.ReleaseName {
			return
		}
		s.EachUse(see)
		for _, v := range s.Into {
			used[v] = true
		}
	})
	for _, v := range f.Results {
		see(v)
	}
	return used
}

// cut takes statements out of a block. What others read of their results becomes a
// parameter of @main, or a constant; what only they read becomes a result of @main, so that
// it stays alive.
func (r *reducer) cut(m *ir.Module, b *ir.Block, lo, hi int) bool {
	f := m.Main()
	before := uses(m)
	gone := map[*ir.Value]bool{}
	for _, s := range b.Stmts[lo:hi] {
		for _, v := range s.Results {
			gone[v] = true
		}
	}
	var results []*ir.Value
	var names []string
	for i, v := range f.Results {
		if !gone[v] {
			results, names = append(results, v), append(names, f.ResultName(i))
		}
	}
	f.Results = results
	cut := b.Stmts[lo:hi:hi]
	b.Stmts = append(b.Stmts[:lo:lo], b.Stmts[hi:]...)
	used := uses(m)
	for _, s := range cut {
		for _, v := range s.Results {
			if v != nil && used[v] && !r.replace(m, v) {
				return false
			}
		}
	}
	trimReleases(&f.Block)
	used = uses(m)
	for _, s := range f.Stmts {
		for _, v := range s.Results {
			if v == nil || !before[v] || used[v] || ir.SameType(v.Type, ir.Storage) {
				continue
			}
			f.Results = append(f.Results, v)
			names = append(names, v.Name)
		}
	}
	if len(f.Results) == 0 {
		return false
	}
	// Names of results are those that the caller knows; what was added may have taken one.
	for i, n := range names {
		for k := 1; slices.Contains(names[:i], names[i]) || names[i] == ""; k++ {
			names[i] = fmt.Sprintf("%s_%d", n, k)
		}
	}
	f.ResultNames, m.Meta.Outputs = names, nil
	return true
}

// replace lets a parameter or a constant take the place of a value that is gone.
func (r *reducer) replace(m *ir.Module, v *ir.Value) bool {
	t, ok := v.Tensor()
	if !ok || t.Unranked || t.DType == tensor.Invalid {
		return false
	}
	f := m.Main()
	if x := r.known(v.Name, t); x != nil {
		f.ReplaceUses(0, v, m.AddConst(v.Name, x, nil))
		return true
	}
	p := &ir.Value{Name: v.Name, Type: t, Index: len(f.Params)}
	if p.Name == "" {
		p.Name = fmt.Sprintf("in%d", p.Index)
	}
	f.Params = append(f.Params, p)
	f.ReplaceUses(0, v, p)
	return true
}

// known is what a small tensor of integers held, if its size is still that.
func (r *reducer) known(name string, t ir.TensorType) *tensor.Tensor {
	if !t.DType.IsInt() || r.Known == nil {
		return nil
	}
	x := r.Known(name)
	n, fixed := t.Size().Int()
	if x == nil || x.DType() != t.DType || x.Len() > ir.MaxKnown || fixed && n != x.Len() {
		return nil
	}
	return x
}

// trimReleases takes out of releases what the block does not define any more.
func trimReleases(b *ir.Block) {
	own := map[*ir.Value]bool{}
	for _, s := range b.Stmts {
		for _, r := range s.Regions {
			trimReleases(r)
		}
		for _, v := range s.Results {
			own[v] = true
		}
	}
	for _, v := range b.Results {
		delete(own, v)
	}
	b.Stmts = slices.DeleteFunc(b.Stmts, func(s *ir.Stmt) bool {
		if s.OpName() != ir.ReleaseName {
			return false
		}
		s.Args = slices.DeleteFunc(s.Args, func(v *ir.Value) bool { return !own[v] })
		return len(s.Args) == 0
	})
}

// settle brings a module that was changed into order: what nothing reads or calls goes
// away, and symbols that nothing tells become numbers.
func (r *reducer) settle(m *ir.Module) {
	f := m.Main()
	used := uses(m)
	f.Params = slices.DeleteFunc(f.Params, func(p *ir.Value) bool { return !used[p] })
	for i, p := range f.Params {
		p.Index = i
	}
	m.Consts = slices.DeleteFunc(m.Consts, func(c *ir.Const) bool { return !r.reads(m, used, c) })
	called := map[ir.Callee]bool{f: true}
	var see func(b *ir.Block)
	see = func(b *ir.Block) {
		b.Walk(func(s *ir.Stmt) {
			if s.Callee == nil || called[s.Callee] {
				return
			}
			called[s.Callee] = true
			switch c := s.Callee.(type) {
			case *ir.Func:
				see(&c.Block)
			case *ir.Kernel:
				called[c.Program] = true
			}
		})
	}
	see(&f.Block)
	m.Funcs = slices.DeleteFunc(m.Funcs, func(g *ir.Func) bool { return !called[g] })
	m.Kernels = slices.DeleteFunc(m.Kernels, func(k *ir.Kernel) bool { return !called[k] })
	m.Programs = slices.DeleteFunc(m.Programs, func(p *ir.Program) bool { return !called[p] })
	if open := untold(m); len(open) > 0 {
		with := map[string]sym.Expr{}
		for _, s := range open {
			with[s] = sym.Const(r.Size(s))
		}
		substitute(m, with)
	}
}

// reads says whether something reads a constant.
func (r *reducer) reads(m *ir.Module, used map[*ir.Value]bool, c *ir.Const) bool {
	if used[c.Value()] {
		return true
	}
	found := false
	for _, f := range m.Funcs {
		if f == m.Main() {
			continue
		}
		see := func(v *ir.Value) { found = found || v == c.Value() }
		for _, s := range f.Stmts {
			s.EachUse(see)
		}
		for _, v := range f.Results {
			see(v)
		}
	}
	return found
}

// eachExpr visits the symbolic integers of @main.
func eachExpr(m *ir.Module, visit func(sym.Expr)) {
	f := m.Main()
	for _, p := range f.Params {
		ir.EachDim(p.Type, visit)
	}
	f.Walk(func(s *ir.Stmt) {
		for _, r := range s.Regions {
			for _, p := range r.Params {
				ir.EachDim(p.Type, visit)
			}
		}
		for _, v := range s.Results {
			if v != nil {
				ir.EachDim(v.Type, visit)
			}
		}
		for _, e := range s.Bind {
			visit(e)
		}
		for _, a := range s.Attrs {
			if t, ok := a.Value.(ir.Type); ok {
				ir.EachDim(t, visit)
			}
		}
		if bytes, ok := s.AllocBytes(); ok {
			visit(bytes)
		}
	})
}

// symbols are those that @main mentions, in order.
func symbols(m *ir.Module) (out []string) {
	seen := map[string]bool{}
	eachExpr(m, func(e sym.Expr) {
		for _, s := range e.Symbols() {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	})
	return out
}

// untold are the symbols that no value tells.
func untold(m *ir.Module) []string {
	var told ir.Scope
	f := m.Main()
	told.Params(f.Params)
	f.Walk(func(s *ir.Stmt) {
		for _, r := range s.Regions {
			told.Params(r.Params)
		}
		told.Results(s.Results)
		for _, v := range s.Results { // what a sequence holds has sizes of its own
			if v != nil {
				if _, ok := v.Tensor(); !ok {
					ir.EachDim(v.Type, func(e sym.Expr) { told.Bind(ir.TensorOf(tensor.I64, e)) })
				}
			}
		}
	})
	return slices.DeleteFunc(symbols(m), told.Has)
}

// substitute puts expressions in the place of symbols, everywhere in @main.
func substitute(m *ir.Module, with map[string]sym.Expr) {
	x := &ir.Subst{Syms: with}
	f := m.Main()
	for _, p := range f.Params {
		p.Type = x.Type(p.Type)
	}
	f.Walk(func(s *ir.Stmt) {
		x.Stmt(s)
		for _, r := range s.Regions {
			for _, p := range r.Params {
				p.Type = x.Type(p.Type)
			}
		}
	})
}
