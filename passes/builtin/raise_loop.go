package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// maxExperts bounds how often the body of a loop is written out to look for experts in it.
const maxExperts = 256

// loop makes one of the experts that a loop goes through: it carries what their rows are put
// onto, and its iteration is the expert.
func (x *expertMerger) loop(b *ir.Builder, s *ir.Stmt) *ir.Value {
	c := x.Call(s)
	trips, ok := c.ConstInts(0)
	body := s.Regions[0]
	always := func(v *ir.Value) bool {
		return v == nil || v.Const != nil && v.Const.Tensor.DType() == tensor.Bool && v.Const.Tensor.Len() == 1 && v.Const.Tensor.Bool(0)
	}
	if !ok || len(s.Args) != 3 || len(s.Results) != 1 || len(body.Params) != 3 || len(body.Results) != 2 || trips[0] < 2 || trips[0] > maxExperts ||
		!always(s.Args[1]) || body.Results[0] != body.Params[1] && !always(body.Results[0]) {
		return nil
	}
	flat := x.withoutEmptyBranch(s, body)
	if last := flat.Results[1].Def; last == nil || combineOf(last) == nil || combineOf(last).onto != body.Params[2] {
		return nil
	}
	reads := 0 // an expert that reads what the ones before it have put there needs them done
	for _, t := range flat.Stmts {
		t.EachUse(func(v *ir.Value) {
			if v == body.Params[2] {
				reads++
			}
		})
	}
	if reads > 1 {
		return nil
	}
	onto := s.Args[2]
	yes := tensor.New(tensor.Bool)
	yes.SetBool(0, true)
	var at, rows []*ir.Value
	var last *combine
	for e := range trips[0] {
		subst := map[*ir.Value]*ir.Value{body.Params[0]: b.Const(tensor.Scalar(e)), body.Params[1]: b.Const(yes), body.Params[2]: onto}
		out := b.Inline(flat, subst)
		if b.Err() != nil || out[1].Def == nil {
			return nil
		}
		if last = combineOf(out[1].Def); last == nil {
			return nil
		}
		at, rows = append(at, last.at), append(rows, last.rows)
	}
	m := x.merge(b, len(rows))
	return m.combined(onto, at, rows, last.reduction, last.once)
}

// withoutEmptyBranch is the body of a loop without a branch, at its end, for the case that
// there are rows to put onto what the loop carries: without any, nothing is put onto it.
func (x *expertMerger) withoutEmptyBranch(loop *ir.Stmt, body *ir.Block) *ir.Block {
	branch := body.Results[1].Def
	if branch == nil || branch.Op != op.If || len(branch.Results) != 1 || body.Stmts[len(body.Stmts)-1] != branch {
		return body
	}
	then, none := branch.Regions[0], branch.Regions[1]
	c := (*combine)(nil)
	if put := then.Results[0].Def; put != nil {
		c = combineOf(put)
	}
	if c == nil || len(none.Stmts) > 0 || none.Results[0] != c.onto {
		return body
	}
	empty := false
	x.Region(loop, 0, func() {
		x.Params(body.Params)
		for _, s := range body.Stmts[:len(body.Stmts)-1] {
			x.Follow(s)
		}
		t, ok := c.at.Tensor()
		x.Region(branch, 1, func() { empty = ok && x.M.Syms.Equal(t.Dims[0], sym.Const(0)) == sym.True })
	})
	if !empty {
		return body
	}
	return &ir.Block{Params: body.Params, Stmts: slices.Concat(body.Stmts[:len(body.Stmts)-1], then.Stmts), Results: []*ir.Value{body.Results[0], then.Results[0]}}
}
