package kernel

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
)

// A map that reads along another loop than that of the vectors, as a transposition does, takes a line of the cache for each
// lane and uses one element of it. So the loop along which it reads goes inside of the vectors' one: turn after turn
// has the next elements of the same lines. What is written then is a vector here and a vector there, in other lines
// each; that a piece has not too many turns (Bound.Cut) lets the next vector find those lines near.

// turned is the loop that goes inside of the vectors' one of a pass, the last of a nest: the one along which most loads lie
// side by side that lie apart along the vectors. nil: none does.
func (l *lowering) turned(p *pass, nest []*level) (best *level) {
	if slices.ContainsFunc(p.stages, func(st *stage) bool { return st.Kind != ir.MapStage }) {
		return nil
	}
	vectors, most := nest[len(nest)-1], 0
	try := func(v *level, axes func(*stage) []*ir.Axis) {
		n := 0
		for _, st := range p.stages {
			for _, f := range l.accesses[st] {
				c := coef(f, l.fused.inner(st)[vectors.last])
				if !c.IsInt(0) && !c.IsInt(1) && coef(f, axes(st)[v.last]).IsInt(1) {
					n++
				}
			}
		}
		if n > most {
			best, most = v, n
		}
	}
	for _, v := range l.rowLevels {
		try(v, l.rowAxes)
	}
	for _, v := range nest[:len(nest)-1] {
		try(v, l.fused.inner)
	}
	return best
}

// turns makes the loop of the vectors with that inside.
func (l *lowering) turns(p *pass, nest []*level, lo, hi *Value, work *PassWork) {
	vectors := nest[len(nest)-1]
	loop, _ := l.loop(lo, hi, int64(l.k.Lanes), true, vectors.extent)
	vectors.at = loop.Var
	turn, _ := l.loop(l.inside.lo, l.inside.hi, 1, false, l.inside.extent)
	l.inside.at = turn.Var
	l.body(p, nest, nil, nil)
	work.Ops = len(turn.Body.List)
	l.close()
	l.close()
}
