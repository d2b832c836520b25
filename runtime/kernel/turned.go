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
	vectors, lanes := nest[len(nest)-1], int64(l.k.Lanes)
	if st, x := l.transposes(p, nest); x != nil {
		loop, _ := l.loop(lo, hi, lanes, false, vectors.extent)
		vectors.at = loop.Var
		squares, _ := l.loop(l.inside.lo, l.inside.hi, lanes, false, l.inside.extent)
		l.inside.at = squares.Var
		l.square(p, nest, st, x)
		l.close()
		rest, _ := l.loop(squares.End, l.inside.hi, 1, false, l.inside.extent)
		l.inside.at = rest.Var
		l.body(p, nest, nil, nil)
		l.close()
		l.close()
		lo = loop.End
	}
	loop, _ := l.loop(lo, hi, lanes, true, vectors.extent)
	vectors.at = loop.Var
	turn, _ := l.loop(l.inside.lo, l.inside.hi, 1, false, l.inside.extent)
	l.inside.at = turn.Var
	l.body(p, nest, nil, nil)
	work.Ops = len(turn.Body.List)
	l.close()
	l.close()
}

// Where a processor exchanges lanes easily, a square of elements, as many as there are lanes both ways, is loaded as it lies and
// transposed in registers: that takes a few instructions for a vector, and a vector of elements that lie apart takes one for each.

// transposes finds the one load of a pass that reads along the loop inside of the vectors' one, and the stage that it is of. nil: there
// is none, or several, whose squares would not fit the registers, or the pass computes so much that code of a square would be long.
func (l *lowering) transposes(p *pass, nest []*level) (of *stage, load *ir.Scalar) {
	if !l.Squares || l.nodes(p) > small {
		return nil, nil
	}
	for _, v := range []*level{l.inside, nest[len(nest)-1]} {
		if n, known := v.extent.Int(); known && n < int64(l.k.Lanes) {
			return nil, nil
		}
	}
	n := 0
	for _, st := range p.stages {
		conditional := map[*ir.Scalar]bool{}
		st.Walk(func(x *ir.Scalar) bool {
			if x.Op == ir.OpGuard {
				for _, side := range x.Args[1:] {
					side.Walk(func(y *ir.Scalar) bool {
						conditional[y] = true
						return true
					})
				}
			}
			return true
		})
		axes, turning := l.fused.inner(st), l.turning(st, nest)
		st.Walk(func(x *ir.Scalar) bool {
			if x.Op != ir.OpLoad || !l.inMemory(st, x) {
				return true
			}
			f, all := l.address(st, x.Buf, x.Args)
			if c := coef(f, axes[nest[len(nest)-1].last]); c.IsInt(0) || c.IsInt(1) || !coef(f, turning).IsInt(1) {
				return true
			}
			if n++; all && !conditional[x] && kinds[x.Buf.DType] != Mask {
				of, load = st, x
			}
			return true
		})
	}
	if n != 1 {
		return nil, nil
	}
	return of, load
}

// turning is the axis of a stage that the loop inside of the vectors' one goes along.
func (l *lowering) turning(st *stage, nest []*level) *ir.Axis {
	if slices.Contains(nest, l.inside) {
		return l.fused.inner(st)[l.inside.last]
	}
	return l.rowAxes(st)[l.inside.last]
}

// square computes a pass for as many turns as there are lanes, from where the loops stand. x is the load that is transposed.
func (l *lowering) square(p *pass, nest []*level, of *stage, x *ir.Scalar) {
	l.st, l.inner, l.points, l.memo, l.singles = of, nest, map[*ir.Buffer]*Value{}, map[*ir.Scalar]*Value{}, map[*ir.Scalar]*Value{}
	first := l.at(x.Buf, x.Args)
	step := l.emit(&Value{Op: OpSize, Kind: Int, N: first.n})
	rows := make([]*Value, l.k.Lanes)
	for i, at := 0, first.addr; i < len(rows); i++ {
		rows[i] = l.emit(&Value{Op: OpLoad, Kind: kinds[x.Buf.DType], Args: []*Value{at, l.int(0)}, Buf: at.Buf})
		at = l.index(at, step)
	}
	rows = l.transpose(rows)
	turn := l.inside.at
	for i := range rows {
		l.inside.at = l.addInt(turn, l.int(int64(i)))
		l.points, l.memo, l.singles, l.stores = map[*ir.Buffer]*Value{}, map[*ir.Scalar]*Value{x: rows[i]}, map[*ir.Scalar]*Value{}, nil
		for _, st := range p.stages {
			l.inner = nest
			l.stage(st)
		}
		l.flush()
	}
}

// transpose gives the columns of a square whose rows are vectors. Two rows that differ in one bit of their number exchange halves: the
// lanes in which the bit is set of the first one, and those in which it is not of the second one.
func (l *lowering) transpose(rows []*Value) []*Value {
	rows = slices.Clone(rows)
	kind := rows[0].Kind
	for d := 1; d < len(rows); d *= 2 {
		bit := l.op(OpAnd, I32, l.op(OpLane, I32, l.int(0)), l.i32(int32(d)))
		second := l.op(OpNe, Mask, bit, l.i32(0))
		for i := range rows {
			if i&d != 0 {
				continue
			}
			a, b := rows[i], rows[i|d]
			crossed := l.opN(OpSwap, kind, int64(d), l.op(OpSelect, kind, second, a, b))
			rows[i], rows[i|d] = l.op(OpSelect, kind, second, crossed, a), l.op(OpSelect, kind, second, b, crossed)
		}
	}
	return rows
}
