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

// Aliases maps every value of a block and its regions to the one whose memory it shares:
// itself, or the operand of a view or a cast. A result of another operator may be an
// operand, too, handed on by a kernel; that is for the reader to allow for.
func Aliases(b *ir.Block) map[*ir.Value]*ir.Value {
	root := map[*ir.Value]*ir.Value{}
	for _, p := range b.Params {
		root[p] = p
	}
	get := func(v *ir.Value) *ir.Value {
		if root[v] == nil {
			root[v] = v
		}
		return root[v]
	}
	b.Walk(func(s *ir.Stmt) {
		shares := s.Kind == ir.CastStmt || s.Op != nil && s.Op.View
		for i, v := range s.Results {
			switch {
			case v == nil:
			case shares && i == 0 && s.Args[0] != nil:
				root[v] = get(s.Args[0])
			default:
				root[v] = v
			}
		}
	})
	for _, v := range b.Results {
		get(v)
	}
	return root
}
