package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
)

// withPairs computes what a program reads of pairs of tokens where it reads it: a mask that is put together of the batch's and
// of a causal one is then of a row and a key, as if attention compared them itself. args are the program's operands; those
// that it has afterwards are given back.
func (u *unpadding) withPairs(p *ir.Program, args []*ir.Value) []*ir.Value {
	args = slices.Clone(args)
	changed := false
	for i := 0; i < len(p.Params); i++ { // what is computed may read pairs, too
		b := p.Params[i]
		if len(u.Slots(b.Dims)) != 2 || u.told(args[i]) || slices.ContainsFunc(p.Stages, func(s *ir.Stage) bool { return s.Base == b }) {
			continue
		}
		m, from, ok := u.mapOf(args[i])
		if !ok {
			continue
		}
		var tokens []analysis.Token
		for _, slot := range u.Slots(b.Dims) {
			tokens = append(tokens, analysis.TokenAt(m.Stages[0], slot))
		}
		if u.mixes(m.Stages[0], tokens) {
			continue
		}
		is := map[*ir.Buffer]*ir.Buffer{}
		number := map[*ir.Buffer]*ir.Scalar{} // constants that are one number, as what a mask adds is
		for j, q := range m.Params {
			if c := from[j].Const; c != nil && c.Tensor.Len() == 1 {
				number[q] = ir.LitOf(c.Tensor, 0)
				continue
			}
			at := slices.Index(args, from[j])
			if at < 0 {
				at = len(args)
				p.Params, args = append(p.Params, q), append(args, from[j])
			}
			is[q] = p.Params[at]
		}
		m.Stages[0].Rewrite(func(x *ir.Scalar) *ir.Scalar {
			switch {
			case x.Op == ir.OpLoad && number[x.Buf] != nil:
				return number[x.Buf]
			case x.Op == ir.OpLoad && is[x.Buf] != x.Buf:
				return ir.Load(is[x.Buf], x.Args...)
			}
			return x
		})
		changed = true
		for _, s := range p.Stages {
			s.Rewrite(func(x *ir.Scalar) *ir.Scalar {
				if x.Op == ir.OpLoad && x.Buf == b {
					return analysis.SimplifyIndex(u.m.Syms, at(m.Stages[0], x.Args))
				}
				return x
			})
		}
	}
	if changed {
		for _, s := range p.Stages {
			s.Rewrite(nearby)
		}
		dropUnread(p, &args)
		p.Finish()
	}
	return args
}

// mixes says whether a stage reads at an index that may be out of range for two tokens of different sequences, though it is not for
// those of one: one that is made of what is read of both, or that a guard compares before.
func (u *unpadding) mixes(s *ir.Stage, tokens []analysis.Token) (found bool) {
	guarded := false
	s.Walk(func(x *ir.Scalar) bool {
		guarded = guarded || x.Op == ir.OpGuard
		return true
	})
	tokenOf := func(x *ir.Scalar, slot analysis.Slot) (analysis.Token, bool) {
		t, ok := u.TokenOf(x, slot)
		return t, ok && slices.Contains(tokens, t)
	}
	s.Walk(func(x *ir.Scalar) bool {
		if x.Op != ir.OpLoad {
			return true
		}
		own := map[int]bool{} // indices that are a token's
		for _, slot := range u.Slots(x.Buf.Dims) {
			if _, ok := tokenOf(x, slot); ok {
				own[slot.Batch], own[slot.Pos] = true, true
			}
		}
		for i, index := range x.Args {
			if own[i] {
				continue
			}
			of := map[analysis.Token]bool{}
			sequence, reads := false, guarded
			var visit func(y *ir.Scalar, loaded bool)
			visit = func(y *ir.Scalar, loaded bool) {
				switch y.Op {
				case ir.OpLoad:
					loaded = true
					for _, slot := range u.Slots(y.Buf.Dims) {
						if t, ok := tokenOf(y, slot); ok {
							of[t], reads = true, true
							return
						}
					}
				case ir.OpAxis:
					for _, t := range tokens {
						switch y.Axis {
						case t.Pos:
							of[t] = true
						case t.Batch:
							sequence, reads = true, reads || loaded
						}
					}
				}
				for _, a := range y.Args {
					visit(a, loaded)
				}
			}
			visit(index, false)
			found = found || reads && (len(of) > 1 || len(of) == 1 && sequence)
		}
		return !found
	})
	return found
}

// told says whether facts tell what a value is where the mask is not 0: then nobody needs to read it.
func (u *unpadding) told(v *ir.Value) bool {
	return slices.ContainsFunc(u.Of(v).Slots, func(s analysis.SlotRows) bool {
		_, one := s.Valid.Value()
		return one
	})
}

// mapOf is the program that computes each element of a value by itself, with its operands.
func (u *unpadding) mapOf(v *ir.Value) (p *ir.Program, args []*ir.Value, ok bool) {
	if v.Def == nil || v.Def.Kind != ir.CallStmt {
		return nil, nil, false
	}
	if p, ok = v.Def.Callee.(*ir.Program); !ok || len(p.Stages) != 1 {
		return nil, nil, false
	}
	p = analysis.Instance(v.Def, p)
	s := p.Stages[0]
	return p, v.Def.Args, s.Kind == ir.MapStage && len(s.Outs) == 1
}
