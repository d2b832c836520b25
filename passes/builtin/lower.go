package builtin

import (
	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
)

// Lower spells out what the machine does beside computing.
var Lower = &pass.Pass{
	Name:   "lower",
	Lowers: true,
	Doc: `Spells out every step of a run: values are released where their lives end.

    %b: [n] f32 = call @f[n](%a)             =>   %b: [n] f32 = call @f[n](%a)
                                                  vm.release(%a)

What a region reads is released behind the statement that has the region, what it makes inside.

It stands last: a pass after it would have to keep releases right.`,
	After: []pass.Order{pass.Because("plan-memory", "planned memory is not released one by one"),
		pass.Because("legalize", "operators that become programs have other lives"),
		pass.Because("fuse", "fused values have no lives")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		for _, f := range m.Funcs {
			release(m, &f.Block)
		}
		return nil
	},
}

func release(m *ir.Module, b *ir.Block) {
	last := analysis.LastUses(b)
	ends := map[int][]*ir.Value{}
	for i, s := range b.Stmts { // in order of definition, so that the text is the same each time
		if s.Op != nil && s.Op.Name == ir.ReleaseName {
			return // lowered already
		}
		for _, r := range s.Regions {
			release(m, r)
		}
		for _, v := range s.Results {
			if v == nil || ir.SameType(v.Type, ir.Storage) {
				continue
			}
			at, read := last[v]
			if !read {
				at = i
			}
			ends[at] = append(ends[at], v)
		}
	}
	out := make([]*ir.Stmt, 0, len(b.Stmts))
	for i, s := range b.Stmts {
		out = append(out, s)
		if vs := ends[i]; len(vs) > 0 {
			out = append(out, &ir.Stmt{Kind: ir.OpStmt, Op: m.Lookup(ir.ReleaseName), Args: vs})
		}
	}
	b.Stmts = out
}
