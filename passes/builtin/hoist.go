package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/sym"
)

// hoist moves out of a loop what is the same in each of its iterations. A loop may have
// none, so only what is proved to come off is moved.
func (x *simplifier) hoist(b *ir.Builder, s *ir.Stmt) {
	if s.Kind != ir.OpStmt || s.Op != op.Loop {
		return
	}
	body, here := s.Regions[0], x.path[len(x.path)-1]
	inside := map[*ir.Value]bool{}
	for _, p := range body.Params {
		inside[p] = true
	}
	body.Stmts = filter(body.Stmts, func(t *ir.Stmt) bool {
		if !slices.ContainsFunc(t.Args, func(v *ir.Value) bool { return inside[v] }) && comesOff(b, t) {
			here.Stmts = append(here.Stmts, t)
			x.Follow(t)
			return false
		}
		for _, v := range t.Results {
			inside[v] = true
		}
		return true
	})
}

// comesOff says whether a statement does nothing but compute, may stand where the builder
// is, and is proved not to fail.
func comesOff(b *ir.Builder, s *ir.Stmt) bool {
	if s.Effect() != ir.Pure || len(s.Regions) > 0 || s.Into != nil || s.Kind == ir.CastStmt {
		return false
	}
	stated := make([]ir.Type, len(s.Results))
	for i, v := range s.Results {
		if v == nil {
			continue
		}
		t, ok := v.Tensor()
		if stated[i] = t; !ok || t.Unranked || !visibleDims(b.Deducer, t.Dims...) || !analysis.Sizes(b.M.Syms, t.Dims) {
			return false
		}
	}
	var p *ir.Program
	switch {
	case s.Kind == ir.CallStmt:
		callee, ok := s.Callee.(*ir.Program)
		if !ok || !visibleDims(b.Deducer, s.Bind...) {
			return false
		}
		p = callee.Clone(bound(callee, s.Bind))
		for i, a := range s.Args {
			if !b.Proves(a.Type, p.Params[i].Passed()) {
				return false
			}
		}
	case s.Op.View:
		in, ok := s.Args[0].Tensor()
		out, ok2 := stated[0].(ir.TensorType)
		return ok && ok2 && !in.Unranked && b.M.Syms.Equal(in.Size(), out.Size()) == sym.True
	default:
		types, err := b.Infer(s)
		if err != nil {
			return false
		}
		c := b.Call(s)
		c.Out = types
		if p, _, err = c.Program(); err != nil || !visibleSyms(b.Deducer, p.Syms) {
			return false
		}
	}
	n := 0
	for _, t := range stated {
		if t == nil && s.Kind == ir.OpStmt {
			continue
		}
		if t != nil && !b.Proves(p.Results[n].Type(), t) {
			return false
		}
		n++
	}
	return analysis.Total(b.M.Syms, p)
}
