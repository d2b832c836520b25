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
