package analysis

import "github.com/pitopt/pitopt/core/ir"

// LastUses gives, for each value that a statement of the block or of its regions reads, the
// index of the block's last statement that does; len(b.Stmts) for what the block gives.
func LastUses(b *ir.Block) map[*ir.Value]int {
	last := map[*ir.Value]int{}
	for i, s := range b.Stmts {
		s.EachUse(func(v *ir.Value) { last[v] = i })
	}
	for _, v := range b.Results {
		last[v] = len(b.Stmts)
	}
	return last
}
