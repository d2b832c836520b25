// Strip-dropout is a plugin of pitopt in a module of its own, with one pass and one
// operator.
//
// Build it and name it in a pipeline file:
//
//	go build -o strip-dropout .
//
//	# pipeline.toml
//	version = 1
//	extends = "default"
//
//	[[plugin]]
//	name = "acme"
//	path = "./strip-dropout"
//
//	[[pass]]
//	name = "acme/strip-dropout"
//	after = "deduce"
//
// `pitopt plugin list -pipeline pipeline.toml` then shows what it has. The pass removes
// Dropout where it does nothing: outside of training. The operator com.example.Square
// is what a model gets that has a node Square of the domain com.example.
package main

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/plugins/sdk"
)

func main() {
	sdk.Serve(sdk.Plugin{
		Name:    "strip-dropout",
		Version: "1.0",
		Passes:  []*pass.Pass{stripDropout},
		Ops:     []sdk.Op{square},
	})
}

var stripDropout = &pass.Pass{
	Name: "strip-dropout",
	Doc: `Removes Dropout that is not in training mode: its result is its operand.
For example %y = onnx.Dropout(%x) goes away, and what used %y uses %x. It stands before
operators become programs, since it looks for the operator.`,
	Before: []pass.Order{pass.Because("legalize", "afterwards there are no operators to look for")},
	Run: func(c *pass.Context, m *ir.Module) error {
		n := 0
		for _, f := range m.Funcs {
			n += strip(&f.Block)
		}
		if n > 0 {
			c.Note("%d dropped", n)
		}
		return nil
	},
}

// strip removes the statements of a block and its regions, and says how many.
func strip(b *ir.Block) (n int) {
	kept := b.Stmts[:0:0]
	for i, s := range b.Stmts {
		for _, r := range s.Regions {
			n += strip(r)
		}
		if !idle(s) {
			kept = append(kept, s)
			continue
		}
		b.ReplaceUses(i+1, s.Results[0], s.Args[0])
		n++
	}
	b.Stmts = kept
	return n
}

// idle says whether a statement is a Dropout that is known to do nothing. One whose mask
// somebody asks for stays.
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

var square = sdk.Op{
	Name: "com.example.Square",
	Doc:  "the square of every element",
	Program: `program @square[n, d](X: [n, d] f32) -> (Y: [n, d] f32) {
  Y[i < n, j < d] = (X[i, j] * X[i, j])
}`,
}
