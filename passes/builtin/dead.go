package builtin

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// removeDead takes out statements without effect of which nobody reads a result, nor a
// symbol that the shape of a result tells; programs that nobody calls, and constants that
// nobody reads.
func removeDead(m *ir.Module) {
	for _, f := range m.Funcs {
		l := &liveness{binders: map[string]*ir.Value{}, needs: map[*ir.Stmt][]*ir.Value{}, around: map[*ir.Stmt]*ir.Stmt{},
			live: map[*ir.Stmt]bool{}, read: map[*ir.Value]bool{}}
		l.block(&f.Block, nil)
		l.mark(f)
		l.sweep(&f.Block)
	}
	called := map[ir.Callee]bool{}
	read := map[*ir.Const]bool{}
	see := func(v *ir.Value) {
		if v.Const != nil {
			read[v.Const] = true
		}
	}
	for _, f := range m.Funcs {
		for _, v := range f.Results {
			see(v)
		}
		for _, s := range f.Stmts {
			s.EachUse(see)
		}
		f.Walk(func(s *ir.Stmt) {
			called[s.Callee] = true
			if k, ok := s.Callee.(*ir.Kernel); ok {
				called[k.Program] = true
			}
		})
	}
	m.Programs = filter(m.Programs, func(p *ir.Program) bool { return called[p] })
	m.Kernels = filter(m.Kernels, func(k *ir.Kernel) bool { return called[k] })
	m.Consts = filter(m.Consts, func(c *ir.Const) bool { return read[c] })
}

// liveness finds the statements of a function that somebody needs.
type liveness struct {
	scope   ir.Scope
	binders map[string]*ir.Value     // the result that tells a symbol, nil for parameters
	needs   map[*ir.Stmt][]*ir.Value // values whose symbols a statement mentions
	around  map[*ir.Stmt]*ir.Stmt    // the statement in whose region one stands
	casts   []*ir.Stmt               // all of them
	live    map[*ir.Stmt]bool
	read    map[*ir.Value]bool
}

// block collects who needs whose symbols.
func (l *liveness) block(b *ir.Block, around *ir.Stmt) {
	mark := l.scope.Mark()
	l.scope.Params(b.Params)
	l.told(mark, nil)
	for _, s := range b.Stmts {
		l.around[s] = around
		if s.Kind == ir.CastStmt {
			l.casts = append(l.casts, s)
		}
		for _, e := range symbolic(s) {
			l.need(s, e)
		}
		for _, r := range s.Regions {
			l.block(r, s)
		}
		for _, v := range s.Results {
			if v == nil {
				continue
			}
			ir.EachOwnDim(v.Type, func(e sym.Expr) {
				if _, bare := e.Symbol(); !bare || s.Kind == ir.CallStmt { // a symbol alone could be told by this result
					l.need(s, e)
				}
			})
		}
		for _, v := range s.Results {
			if v != nil {
				before := l.scope.Mark()
				l.scope.Bind(v.Type)
				l.told(before, v)
			}
		}
	}
	l.scope.Reset(mark)
}

// symbolic gives the expressions that a statement evaluates.
func symbolic(s *ir.Stmt) []sym.Expr {
	if s.Kind != ir.OpStmt {
		return s.Bind
	}
	var out []sym.Expr
	if t, ok := s.Attrs.Get("type").(ir.Type); ok && s.Op.IsView() {
		ir.EachDim(t, func(e sym.Expr) { out = append(out, e) })
	}
	if bytes, ok := s.AllocBytes(); ok {
		out = append(out, bytes)
	}
	return out
}

func (l *liveness) need(s *ir.Stmt, e sym.Expr) {
	for _, name := range e.Symbols() {
		if l.scope.Has(name) {
			l.needs[s] = append(l.needs[s], l.binders[name])
		}
	}
}

// told notes that a value tells the symbols that got values since a mark.
func (l *liveness) told(mark int, by *ir.Value) {
	for _, name := range l.scope.Since(mark) {
		l.binders[name] = by
	}
}

// mark finds what is live: what has an effect, what the function gives, and what live
// statements need. A cast is a check: it is live as long as what it casts is.
func (l *liveness) mark(f *ir.Func) {
	l.effects(&f.Block)
	for _, v := range f.Results {
		l.value(v)
	}
	for changed := true; changed; {
		changed = false
		for _, s := range l.casts {
			if outer := l.around[s]; !l.live[s] && l.read[s.Args[0]] && (outer == nil || l.live[outer]) {
				l.stmt(s)
				changed = true
			}
		}
	}
}

// effects marks the statements of a block that do more than compute. Random ones count:
// without one, those after it would draw other numbers.
func (l *liveness) effects(b *ir.Block) {
	for _, s := range b.Stmts {
		if s.Effect() != ir.Pure {
			l.stmt(s)
		}
	}
}

func (l *liveness) value(v *ir.Value) {
	l.read[v] = true
	if v.Def != nil {
		l.stmt(v.Def)
	}
}

func (l *liveness) stmt(s *ir.Stmt) {
	if l.live[s] {
		return
	}
	l.live[s] = true
	for _, list := range [][]*ir.Value{s.Args, s.Into, l.needs[s]} {
		for _, v := range list {
			if v != nil {
				l.value(v)
			}
		}
	}
	for _, r := range s.Regions {
		l.effects(r)
		for _, v := range r.Results {
			l.value(v)
		}
	}
}

// sweep takes out what is not live, and results that may be left out.
func (l *liveness) sweep(b *ir.Block) {
	b.Stmts = filter(b.Stmts, func(s *ir.Stmt) bool { return l.live[s] })
	for _, s := range b.Stmts {
		for _, r := range s.Regions {
			l.sweep(r)
		}
		if s.Kind != ir.OpStmt || len(s.Regions) > 0 {
			continue
		}
		for i, v := range s.Results {
			if o, ok := s.Op.Result(i); ok && o.Optional && v != nil && !l.read[v] {
				s.Results[i] = nil
			}
		}
	}
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
