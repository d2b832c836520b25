// Strip-dropout is a plugin of pitopt: a pass and an operator.
package main

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/plugins/sdk"
)

func main() {
	sdk.Serve(sdk.Plugin{
		Name:    "strip-dropout",
		Version: "1.0",
		Passes: []*pass.Pass{{
			Name: "strip-dropout",
			Doc: `Removes Dropout that is not in training mode: its result is its operand.
For example %y = onnx.Dropout(%x) goes away, and what used %y uses %x.`,
			Before: []pass.Order{pass.Because("legalize", "afterwards there are no operators to look for")},
			Run: func(c *pass.Context, m *ir.Module) error {
				n := 0
				for _, f := range m.Funcs {
					n += strip(&f.Block)
				}
				c.Note("%d removed", n)
				return nil
			},
		}},
		Ops: []sdk.Op{{
			Name: "com.example.Square",
			Doc:  "the square of every element",
			Program: `program @square[n, d](X: [n, d] f32) -> (Y: [n, d] f32) {
  Y[i < n, j < d] = (X[i, j] * X[i, j])
}`,
		}},
	})
}

// strip removes what is idle from a block and its regions, and counts it.
func strip(b *ir.Block) (n int) {
	for i, s := range b.Stmts {
		for _, r := range s.Regions {
			n += strip(r)
		}
		if idle(s) {
			b.ReplaceUses(i+1, s.Results[0], s.Args[0])
			n++
		}
	}
	b.Stmts = slices.DeleteFunc(b.Stmts, idle)
	return n
}

// idle says whether a statement is a Dropout that does nothing, and whose mask nobody uses.
func idle(s *ir.Stmt) bool {
	if s.Op == nil || s.Op.Name != "onnx.Dropout" || s.Results[0] == nil || len(s.Results) > 1 && s.Results[1] != nil {
		return false
	}
	if len(s.Args) < 3 || s.Args[2] == nil {
		return true // the third operand, training_mode, is false where it is left out
	}
	training := s.Args[2].Const
	return training != nil && tensor.Ints(training.Tensor)[0] == 0
}
