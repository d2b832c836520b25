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
		dropUnread(p, &args)
		p.Finish()
	}
	return args
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
