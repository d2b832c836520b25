package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// mostLookedUp bounds the statements that say where a row is looked up.
const mostLookedUp = 32

// looksUp says whether a load reads rows of tokens at indices that are known before any token is gone over, as the last token of
// each sequence is that whose number is the sum of a mask less one, or the last that is no word of padding. A run looks whether
// these are rows that the mask has. What the indices are computed from stays as it is.
func (u *unpadding) looksUp(c *ragged, x *ir.Scalar, slot analysis.Slot) bool {
	from := map[*ir.Value]bool{}
	ok := true
	need := func(v *ir.Value) { ok = ok && u.before(v, from) }
	for _, at := range readAt(x, slot, u.Seq) {
		at.Walk(func(y *ir.Scalar) bool {
			if y.Op == ir.OpLoad {
				i := slices.Index(c.Params, y.Buf)
				if ok = ok && i >= 0; ok {
					need(c.args[i])
				}
			}
			return ok
		})
	}
	if !ok || len(from) == 0 {
		return false
	}
	for v := range from {
		u.want(v, everything, "")
	}
	u.looks = true
	return true
}

// before collects what a value is computed from, and says whether that is little.
func (u *unpadding) before(v *ir.Value, from map[*ir.Value]bool) bool {
	if v.Const != nil || from[v] {
		return true
	}
	from[v] = true
	s := v.Def
	if s == nil {
		return true
	}
	p, _ := s.Callee.(*ir.Program)
	if len(from) > mostLookedUp || s.Effect() != ir.Pure || len(s.Regions) > 0 || p != nil && analysis.ProgramKind(p) == analysis.Contraction {
		return false
	}
	ok := true
	s.EachUse(func(a *ir.Value) { ok = ok && u.before(a, from) })
	return ok
}

// readAt is the sequence and the position at which a load reads a slot.
func readAt(x *ir.Scalar, slot analysis.Slot, seq sym.Expr) []*ir.Scalar {
	if slot.Flat() {
		n := ir.SymVal(seq.Max(sym.Const(1)))
		return []*ir.Scalar{x.Args[slot.Pos].FloorDiv(n), x.Args[slot.Pos].Mod(n)}
	}
	return []*ir.Scalar{x.Args[slot.Batch], x.Args[slot.Pos]}
}

// place is the token at which a load reads that looks up where; it notes what a run is to look at.
func (x *packedStage) place(y *ir.Scalar, slot analysis.Slot) *ir.Scalar {
	l := lookup{index: readAt(y, slot, x.Seq), dims: []sym.Expr{x.Batch, x.Seq}, values: map[*ir.Buffer]*ir.Value{}, token: true}
	var at []*ir.Scalar
	for _, e := range l.index {
		e.Walk(func(z *ir.Scalar) bool {
			if z.Op == ir.OpLoad {
				l.values[z.Buf] = x.ragged.args[slices.Index(x.Params, z.Buf)]
			}
			return true
		})
		at = append(at, x.of(e))
	}
	x.lookups = append(x.lookups, l)
	return ir.Load(x.vector(x.tokens.places(), "place"), at...)
}
