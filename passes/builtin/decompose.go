package builtin

import (
	"errors"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
)

// Decompose writes out operators that are made of others.
var Decompose = &pass.Pass{
	Name: "decompose",
	Doc: `Writes out operators that are made of others: recurrent layers, scans and the like.

                                                  %t: [] i64 = onnx.Gather(%shape, @0)
    %y, %h = onnx.RNN(%x, @w, @r)            =>   %h, %y = onnx.Loop(%t, _, %h0) { (%i, %on, %was)
                                                    ... onnx.MatMul, onnx.Add, onnx.Tanh ...
                                                  }

An operator that needs a size which only a run tells stays as it is, and is written out when
it runs. What is made of constants alone then, and is no larger than they are, is computed:
weights of recurrent layers are taken apart, and turned.

It stands after deduce: how an operator is written out may depend on its shapes.`,
	After: []pass.Order{pass.Because("deduce", "how an operator is written out may depend on its shapes")},
	Run: func(c *pass.Context, m *ir.Module) error {
		composed := hasComposed(m)
		if err := writeOut(m); err != nil {
			return err
		}
		if composed {
			r := &rewriter{replace: func(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
				return foldStmt(c, b, s, constantBytes(s))
			}}
			if err := r.module(m); err != nil {
				return err
			}
		}
		removeDead(m) // programs and constants of what was given up
		return nil
	},
}

// writeOut puts others in the place of operators that are made of them.
func writeOut(m *ir.Module) error {
	for changed := true; changed && hasComposed(m); { // what is written out may be made of others again
		changed = false
		r := &rewriter{replace: func(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
			if s.Kind != ir.OpStmt || s.Op.Expand == nil || !ranked(s) {
				return nil, false, nil
			}
			if s.Op.Body != nil {
				if _, _, err := b.Call(s).Program(); err == nil {
					return nil, false, nil
				}
			}
			c := b.Call(s)
			mark := b.Mark()
			results, err := s.Op.Expand(c, b, s.Args)
			if errors.Is(err, ir.ErrDynamic) {
				b.Reset(mark)
				return nil, false, nil
			}
			changed = true
			return results, true, err
		}}
		if err := r.module(m); err != nil {
			return err
		}
	}
	return nil
}

// constantBytes is what a statement's constant operands take.
func constantBytes(s *ir.Stmt) (n int64) {
	for _, a := range s.Args {
		if a != nil && a.Const != nil {
			if t, ok := a.Tensor(); ok {
				if elems, ok := t.Size().Int(); ok {
					size, _ := t.DType.ByteLen(elems)
					n += size
				}
			}
		}
	}
	return n
}

// hasComposed says whether a module has operators that are made of others.
func hasComposed(m *ir.Module) (has bool) {
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) { has = has || s.Op != nil && s.Op.Expand != nil })
	}
	return has
}

// ranked says whether all tensors among the operands have a rank and an element type.
func ranked(s *ir.Stmt) bool {
	for _, a := range s.Args {
		if a == nil {
			continue
		}
		if t, ok := a.Tensor(); ok && (t.Unranked || t.DType == 0) {
			return false
		}
	}
	return true
}
