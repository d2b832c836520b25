package builtin

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/tensor"
)

// taken is the branch that a conditional always takes; nil where a run decides.
func taken(s *ir.Stmt) *ir.Block {
	if s.Kind != ir.OpStmt || s.Op != op.If || s.Args[0].Const == nil {
		return nil
	}
	cond := s.Args[0].Const.Tensor
	if cond.DType() != tensor.Bool || cond.Len() != 1 {
		return nil // a run says what is wrong
	}
	if cond.Bool(0) {
		return s.Regions[0]
	}
	return s.Regions[1]
}

// unwrap puts the statements of the branch that is taken in the place of a conditional.
// Where a result's type defined symbols, since the branches differ, a cast defines them
// now: what comes after mentions them.
func unwrap(b *ir.Builder, s *ir.Stmt, branch *ir.Block) []*ir.Value {
	results := b.Inline(branch, map[*ir.Value]*ir.Value{})
	for i, r := range s.Results {
		if r == nil || ir.SameType(r.Type, results[i].Type) {
			continue
		}
		t, ok := r.Tensor()
		is, ok2 := results[i].Tensor()
		if !ok || !ok2 || t.Unranked || is.Unranked || visibleDims(b.Deducer, t.Dims...) {
			continue
		}
		results[i] = b.MatchCast(results[i], t)
		for j, d := range t.Dims {
			_ = b.M.Syms.AssumeEqual(d, is.Dims[j]) // a contradiction is told by the cast
		}
	}
	return results[:len(s.Results)]
}
