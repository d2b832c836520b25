package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// rewrite puts what goes over packed values into a branch, and the same as it stood into another. It says
// whether that goes.
func (u *unpadding) rewrite() bool {
	inside := u.inside()
	behind := depends(u.f.Stmts, inside)
	var before, dense, after []*ir.Stmt
	for _, s := range u.f.Stmts {
		switch {
		case inside[s]:
			if u.calls[s] == nil && !(s.Kind == ir.OpStmt && s.Op.IsView()) {
				return false // it may tell symbols that somebody needs
			}
			dense = append(dense, s)
		case behind[s]:
			after = append(after, s)
		default:
			before = append(before, s)
		}
	}
	if !visibleInOrder(u.f.Params, slices.Concat(before, dense, after)) {
		return false
	}
	u.branch(before, dense, after)
	return true
}

// depends says which statements are some, or need what one of them gives.
func depends(list []*ir.Stmt, on map[*ir.Stmt]bool) map[*ir.Stmt]bool {
	out := map[*ir.Stmt]bool{}
	for _, s := range list {
		out[s] = on[s]
		s.EachUse(func(v *ir.Value) { out[s] = out[s] || v.Def != nil && out[v.Def] })
	}
	return out
}

// inside gives the statements that go over packed values, and those between them.
func (u *unpadding) inside() map[*ir.Stmt]bool {
	behind := depends(u.f.Stmts, u.stmts)
	needed := map[*ir.Stmt]bool{}
	for _, s := range slices.Backward(u.f.Stmts) {
		if u.stmts[s] || needed[s] {
			s.EachUse(func(v *ir.Value) {
				if v.Def != nil {
					needed[v.Def] = true
				}
			})
		}
	}
	out := map[*ir.Stmt]bool{}
	for _, s := range u.f.Stmts {
		out[s] = u.stmts[s] || behind[s] && needed[s]
	}
	return out
}

// visibleInOrder says whether statements in this order find the symbols that they mention.
func visibleInOrder(params []*ir.Value, list []*ir.Stmt) bool {
	var scope ir.Scope
	scope.Params(params)
	for _, s := range list {
		for _, e := range symbolic(s) {
			if scope.Missing(e) != "" {
				return false
			}
		}
		scope.Results(s.Results)
	}
	return true
}

// branch writes both ways.
func (u *unpadding) branch(before, dense, after []*ir.Stmt) {
	f := u.f
	outs := u.results(dense, after)
	d := ir.NewDeducer(u.m)
	d.Params(f.Params)
	for _, s := range before {
		d.Follow(s)
	}
	f.Stmts = before
	b := d.At(&f.Block, "")
	packed, region := &ir.Block{}, &ir.Block{Stmts: dense}
	var ends [lastEnd + 1]bool
	d.Scope(func() { packed.Results = u.tokensOnly(d.At(packed, ""), dense, outs, &ends) })
	d.Scope(func() {
		inner := d.At(region, "")
		for _, v := range outs {
			if u.packed[v] { // padded rows are zero whichever way is taken
				v = u.call(inner, u.zeroed(v), v, u.mask)
			}
			region.Results = append(region.Results, v)
		}
	})
	ends[firstEnd] = ends[firstEnd] || u.First()
	is, args := u.condition(dense, ends)
	cond := u.bounded(d, b, u.call(b, is, args...))
	choice := &ir.Stmt{Kind: ir.OpStmt, Op: u.m.Lookup("onnx.If"), Node: PaddingNode + u.mask.Name, Args: []*ir.Value{cond}, Regions: []*ir.Block{packed, region}}
	for i, v := range outs {
		n := &ir.Value{Name: v.Name, Type: v.Type, Def: choice, Index: i}
		v.Name = ""
		choice.Results = append(choice.Results, n)
	}
	at := len(f.Stmts)
	f.Stmts = slices.Concat(f.Stmts, []*ir.Stmt{choice}, after)
	for i, v := range outs {
		f.ReplaceUses(at+1, v, choice.Results[i])
	}
	sink(f, at)
}

// bounded is a condition that also asks whether large constants are what they were taken for. They are read in the first run
// that wants to know, and by no other.
func (u *unpadding) bounded(d *ir.Deducer, b *ir.Builder, cond *ir.Value) *ir.Value {
	list := u.Bounded()
	if len(list) == 0 && len(u.Products()) == 0 {
		return cond
	}
	values, bounds := make([]*ir.Value, len(list)), make([]float64, len(list))
	for i, x := range list {
		values[i], bounds[i] = x.Value, x.Bound
	}
	ask, no := &ir.Block{}, &ir.Block{Results: []*ir.Value{b.Const(tensor.Scalar(false))}}
	d.Scope(func() {
		inner := d.At(ask, "")
		holds := inner.Op("pit.Within", values, "bounds", bounds)
		if len(u.Products()) > 0 {
			holds = u.normsHold(inner, holds)
		}
		ask.Results = []*ir.Value{holds}
	})
	return b.OpN(1, "onnx.If", []*ir.Value{cond}, nil, ask, no)[0]
}

// results gives what statements compute that is read by others.
func (u *unpadding) results(dense, after []*ir.Stmt) (out []*ir.Value) {
	read := map[*ir.Value]bool{}
	for _, s := range after {
		s.EachUse(func(v *ir.Value) { read[v] = true })
	}
	for _, v := range u.f.Results {
		read[v] = true
	}
	for _, s := range dense {
		for _, v := range s.Results {
			if v != nil && read[v] {
				out = append(out, v)
			}
		}
	}
	return out
}

// call calls a program of one result.
func (u *unpadding) call(b *ir.Builder, p *ir.Program, args ...*ir.Value) *ir.Value {
	p.Finish()
	return u.share.call(b, p, args, &ir.Stmt{})[0]
}

// tokensOnly writes statements for packed values, and gives the results.
func (u *unpadding) tokensOnly(b *ir.Builder, dense []*ir.Stmt, outs []*ir.Value, ends *[lastEnd + 1]bool) (results []*ir.Value) {
	t := u.tokens(b)
	is := map[*ir.Value]*ir.Value{}
	value := func(v *ir.Value) *ir.Value {
		if n := is[v]; n != nil {
			return n
		}
		return v
	}
	made := map[diagonalOf]*ir.Value{}
	t.diagonals = func(v *ir.Value, at diagonal) *ir.Value {
		of := diagonalOf{v, at}
		if made[of] == nil {
			made[of] = u.call(b, u.diagonals(v, at, t.n), value(v))
		}
		return made[of]
	}
	for _, s := range dense {
		if !slices.ContainsFunc(s.Results, func(v *ir.Value) bool { return u.wanted[v] != unread }) {
			continue // what read it computes it, where tokens are gone over
		}
		b.Node(s.Node)
		if u.calls[s] == nil { // a view
			to, _ := s.Results[0].Tensor()
			if u.packed[s.Results[0]] {
				to.Dims = packedDims(to.Dims, u.Slots(to.Dims), t.n)
			}
			is[s.Results[0]] = b.OpN(1, ir.ViewName, []*ir.Value{value(s.Args[0])}, ir.MakeAttrs("type", to))[0]
			continue
		}
		p, args := u.pack(s, t, ends, value)
		out := u.share.call(b, p, args, s)
		for i, v := range s.Results {
			if v != nil {
				is[v] = out[i]
			}
		}
	}
	b.Node("")
	for _, v := range outs {
		n := value(v)
		if u.packed[v] {
			n = u.call(b, u.unpacked(v, n), n, u.mask, t.places())
		}
		results = append(results, n)
	}
	return results
}

// sink moves statements in front of a choice that one of its branches alone needs into that.
func sink(f *ir.Func, at int) {
	choice := f.Stmts[at]
	outside := map[*ir.Value]int{}
	for i, s := range f.Stmts {
		if i != at {
			s.EachUse(func(v *ir.Value) { outside[v]++ })
		}
	}
	for _, v := range slices.Concat(f.Results, choice.Args) {
		outside[v]++
	}
	inside := make([]map[*ir.Value]bool, len(choice.Regions))
	for i, r := range choice.Regions {
		inside[i] = map[*ir.Value]bool{}
		for _, s := range r.Stmts {
			s.EachUse(func(v *ir.Value) { inside[i][v] = true })
		}
		for _, v := range r.Results {
			inside[i][v] = true
		}
	}
	moved := make([][]*ir.Stmt, len(choice.Regions))
	kept := f.Stmts[at:]
	for _, s := range slices.Backward(f.Stmts[:at]) {
		one := -1
		for i := range choice.Regions {
			if slices.ContainsFunc(s.Results, func(v *ir.Value) bool { return inside[i][v] }) {
				if one >= 0 {
					one = len(choice.Regions) // both
					break
				}
				one = i
			}
		}
		alone := one >= 0 && one < len(choice.Regions) && (s.Kind == ir.CallStmt || s.Op != nil && s.Op.IsView()) && s.Effect() == ir.Pure &&
			!slices.ContainsFunc(s.Results, func(v *ir.Value) bool { return outside[v] > 0 })
		if !alone {
			kept = append([]*ir.Stmt{s}, kept...)
			continue
		}
		moved[one] = append(moved[one], s)
		s.EachUse(func(v *ir.Value) {
			outside[v]--
			inside[one][v] = true
		})
	}
	for i, r := range choice.Regions {
		slices.Reverse(moved[i])
		r.Stmts = append(moved[i], r.Stmts...)
	}
	f.Stmts = kept
}
