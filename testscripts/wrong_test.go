package testscripts

import (
	"errors"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
)

// wrongPasses are mistakes that a pass can make; pitopt must say which one made it.
var wrongPasses = []*pass.Pass{
	{Name: "swap-operands", Doc: "Swaps the operands of Sub: the module computes something else.", Run: eachSub(func(s *ir.Stmt) {
		s.Args[0], s.Args[1] = s.Args[1], s.Args[0]
	})},
	{Name: "forget-operand", Doc: "Takes an operand of Sub away: the module is not valid.", Run: eachSub(func(s *ir.Stmt) {
		s.Args = s.Args[:1]
	})},
	{Name: "forget-sign", Doc: "Takes Abs for nothing: numbers below 0 show it.", Run: func(_ *pass.Context, m *ir.Module) error {
		f := m.Main()
		f.Stmts = slices.DeleteFunc(f.Stmts, func(s *ir.Stmt) bool {
			idle := s.OpName() == "onnx.Abs"
			if idle {
				f.ReplaceUses(0, s.Results[0], s.Args[0])
			}
			return idle
		})
		return nil
	}},
	{Name: "small-storage", Doc: "Storages get 4 bytes at most: what they are for is only seen on a device.", Run: func(_ *pass.Context, m *ir.Module) error {
		m.Main().Walk(func(s *ir.Stmt) {
			if bytes, ok := s.AllocBytes(); ok {
				s.Attrs = s.Attrs.With("bytes", "min(4, "+bytes.String()+")")
			}
		})
		return nil
	}},
	{Name: "panic", Doc: "Panics.", Run: func(*pass.Context, *ir.Module) error { panic("on purpose") }},
	{Name: "fail", Doc: "Fails.", Run: func(*pass.Context, *ir.Module) error { return errors.New("on purpose") }},
	{Name: "hang", Doc: "Never comes back, whatever it is told.", Run: func(*pass.Context, *ir.Module) error { select {} }},
	{Name: "double-note", Doc: "Changes nothing, and says so twice.", Run: func(c *pass.Context, _ *ir.Module) error {
		c.Note("nothing changed")
		c.Note("really")
		return nil
	}},
}

func eachSub(change func(*ir.Stmt)) func(*pass.Context, *ir.Module) error {
	return func(_ *pass.Context, m *ir.Module) error {
		m.Main().Walk(func(s *ir.Stmt) {
			if s.OpName() == "onnx.Sub" {
				change(s)
			}
		})
		return nil
	}
}
