package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
)

// PlanMemory places results in storages that they take turns in.
var PlanMemory = &pass.Pass{
	Name:   "plan-memory",
	Lowers: true,
	Doc: `Places results of programs in storages that they take turns in.

    %a: [n] f32 = call @f[n](%x)                  %s: storage = vm.alloc() {bytes = "4*n"}
    %b: [n] f32 = call @g[n](%a)             =>   %a: [n] f32 = call @f[n](%x) in %s
    %c: [n] f32 = call @h[n](%b)                  ...
                                                  %c: [n] f32 = call @h[n](%b) in %s

Two results share a storage where their sizes are proved equal and their lives do not overlap.
A view is alive as long as what it views; what an operator may hand on is taken to live to the
end. What a caller gets is never in a storage.

It stands after fuse, which removes most results.`,
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
	escapes := escaping(f, root)
	var stores []*storage
	endsAt := map[int][]*storage{}
	var out []*ir.Stmt
	for i, s := range f.Stmts {
		if _, ok := s.Callee.(*ir.Program); ok && s.Into == nil {
			for j, v := range s.Results {
				if v == nil || escapes[v] {
					continue
				}
				end, read := last[v]
				bytes, ok := bytesOf(v)
				if !read || !ok {
					continue
				}
				size := m.Syms.Simplify(bytes)
				st := take(stores, size)
				if st == nil { // its symbols are those of the value; size may have others
					st = &storage{bytes: size, value: &ir.Value{Type: ir.Storage}}
					st.value.Def = &ir.Stmt{Kind: ir.OpStmt, Op: m.Lookup(ir.AllocName), Results: []*ir.Value{st.value}, Attrs: ir.MakeAttrs("bytes", bytes.String())}
					out = append(out, st.value.Def)
					stores = append(stores, st)
				}
				st.free = false
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

// bytesOf is the size of a tensor; elements below a byte are counted as one, strings have
// none.
func bytesOf(v *ir.Value) (sym.Expr, bool) {
	t, ok := v.Tensor()
	bits := t.DType.Bits()
	if !ok || t.Unranked || bits == 0 {
		return sym.Expr{}, false
	}
	return t.Size().Mul(sym.Const(int64(max(bits, 8) / 8))), true
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

// escaping gives the values whose memory the caller may get: what the function gives,
// and what an operator may hand on as something that it gives.
func escaping(f *ir.Func, root map[*ir.Value]*ir.Value) map[*ir.Value]bool {
	out := map[*ir.Value]bool{}
	for _, r := range f.Results {
		out[root[r]] = true
	}
	for _, s := range slices.Backward(f.Stmts) {
		if s.MayHandOn() && slices.ContainsFunc(s.Results, func(r *ir.Value) bool { return r != nil && out[root[r]] }) {
			s.EachUse(func(v *ir.Value) { out[root[v]] = true })
		}
	}
	return out
}

// lastUses gives the statement of the block after which no one reads a value's memory.
// Memory that an operator may hand on lives to the end of the block.
func lastUses(b *ir.Block, root map[*ir.Value]*ir.Value) map[*ir.Value]int {
	last := map[*ir.Value]int{}
	get := func(v *ir.Value) *ir.Value {
		if r := root[v]; r != nil {
			return r
		}
		return v
	}
	for i, s := range b.Stmts {
		s.EachUse(func(v *ir.Value) {
			if v = get(v); s.MayHandOn() {
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
