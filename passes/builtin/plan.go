package builtin

import (
	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
)

// PlanMemory places results in storages that they take turns in.
//
//	%a: [n, 8] f32 = call @f[n](%x)              %s: storage = vm.alloc() {bytes = "32*n"}
//	%b: [n, 8] f32 = call @g[n](%a)       =>     %a: [n, 8] f32 = call @f[n](%x) in %s
//	%c: [n, 8] f32 = call @h[n](%b)              ...
//
// Two results share a storage when their lives do not overlap and their sizes are proved
// equal. What a caller gets is never in a storage.
var PlanMemory = &pass.Pass{
	Name:   "plan-memory",
	Lowers: true,
	Doc: "Places results of programs in storages that they take turns in, where their sizes are proved equal and their " +
		"lives do not overlap. It stands after fuse, which removes most results.",
	After: []pass.Order{pass.Because("fuse", "fusion removes the results that would be planned")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		for _, f := range m.Funcs {
			plan(m, f)
		}
		return nil
	},
}

// storage is a piece of memory while it is planned.
type storage struct {
	bytes sym.Expr
	value *ir.Value
	free  bool
}

func plan(m *ir.Module, f *ir.Func) {
	root := analysis.Aliases(&f.Block)
	last := lastUses(&f.Block, root)
	escapes := map[*ir.Value]bool{}
	for _, r := range f.Results {
		escapes[root[r]] = true
	}
	var stores []*storage
	holds := map[*ir.Value]*storage{}
	endsAt := map[int][]*storage{}
	var out []*ir.Stmt
	for i, s := range f.Stmts {
		if p, ok := s.Callee.(*ir.Program); ok && s.Into == nil {
			for j, v := range s.Results {
				if v == nil || escapes[v] || p.Results[j].DType == 0 || p.Results[j].DType.Bits() == 0 {
					continue
				}
				t, _ := v.Tensor()
				end, used := last[v]
				if !used {
					continue
				}
				// Whole bytes: sub-byte types are rounded up to their Bits/8 per element.
				bytes := m.Syms.Simplify(t.Size().Mul(sym.Const(int64(max(t.DType.Bits(), 8) / 8))))
				st := take(stores, bytes)
				if st == nil {
					st = &storage{bytes: bytes, value: &ir.Value{Name: "", Type: ir.Storage}}
					alloc := &ir.Stmt{Kind: ir.OpStmt, Op: m.Lookup(ir.AllocName), Results: []*ir.Value{st.value}, Attrs: ir.MakeAttrs("bytes", bytes.String())}
					st.value.Def = alloc
					out = append(out, alloc)
					stores = append(stores, st)
				}
				st.free = false
				holds[v] = st
				endsAt[end] = append(endsAt[end], st)
				if s.Into == nil {
					s.Into = make([]*ir.Value, len(s.Results))
				}
				s.Into[j] = st.value
			}
		}
		out = append(out, s)
		for _, st := range endsAt[i] {
			st.free = true
		}
	}
	f.Stmts = out
}

// take finds a free storage of the same size: equal once both are simplified by what is
// known of symbols.
func take(stores []*storage, bytes sym.Expr) *storage {
	for _, st := range stores {
		if st.free && st.bytes.Equal(bytes) {
			return st
		}
	}
	return nil
}

// lastUses gives the statement of the block after which no one reads a value's memory.
// Memory that goes into an operator which may hand it on (one without a program, or with
// regions) lives to the end of the block.
func lastUses(b *ir.Block, root map[*ir.Value]*ir.Value) map[*ir.Value]int {
	last := map[*ir.Value]int{}
	get := func(v *ir.Value) *ir.Value {
		if r := root[v]; r != nil {
			return r
		}
		return v
	}
	for i, s := range b.Stmts {
		mayKeep := s.Kind == ir.OpStmt && !s.Op.View && (s.Op.Body == nil || s.Op.Kernel != nil)
		if _, ok := s.Callee.(*ir.Func); ok {
			mayKeep = true
		}
		s.EachUse(func(v *ir.Value) {
			v = get(v)
			if mayKeep {
				last[v] = len(b.Stmts)
			} else {
				last[v] = max(last[v], i)
			}
		})
	}
	for _, v := range b.Results {
		last[get(v)] = len(b.Stmts)
	}
	return last
}
