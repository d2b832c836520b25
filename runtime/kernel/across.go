package kernel

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Reductions and scans across the vectors: lanes are results, and what each takes comes from one position after the other.
// Where that takes little, several vectors that lie side by side go along together: from position to position a vector by
// itself reads a line of the cache here and one there, and waits for what it has added before.

// each does something for each of the points that go along together.
type each func(f func())

// once is each of the one point that is lowered.
func (l *lowering) once(f func()) { f() }

// abreast says whether several vectors of a pass go along together.
func (l *lowering) abreast(p *pass) bool {
	some := false
	for _, st := range p.stages {
		if st.along || len(st.axes) == l.rows || st.Kind == ir.ScatterStage || finds(st.Stage) {
			return false
		}
		some = some || st.Kind != ir.MapStage && len(st.red) > 0 && !isWindow(st)
	}
	return some && l.nodes(p) <= 2*small
}

// several computes the stages of a pass for vectors from a position on.
func (l *lowering) several(p *pass, nest []*level, at *Value) {
	type point struct {
		at            *Value
		points        map[*ir.Buffer]*Value
		memo, singles map[*ir.Scalar]*Value
	}
	var points []point
	for u := range unroll {
		points = append(points, point{l.addInt(at, l.int(int64(u*l.k.Lanes))), map[*ir.Buffer]*Value{}, map[*ir.Scalar]*Value{}, map[*ir.Scalar]*Value{}})
	}
	each := func(f func()) {
		for _, x := range points {
			nest[len(nest)-1].at, l.points, l.memo, l.singles = x.at, x.points, x.memo, x.singles
			f()
		}
	}
	l.stores = nil
	for _, st := range p.stages {
		l.st, l.inner = st, nest
		switch {
		case st.Kind == ir.MapStage || len(st.red) == 0:
			each(func() { l.stage(st) })
		case st.Kind == ir.ScanStage:
			l.scan(st, each)
		default:
			all := l.across(st, each)
			each(func() {
				l.define(st, all[0])
				all = all[1:]
			})
		}
	}
	l.flush()
}

// afresh forgets what is known of the point: a position of a reduction is another one.
func (l *lowering) afresh() { l.memo, l.singles = map[*ir.Scalar]*Value{}, map[*ir.Scalar]*Value{} }

// across is a reduction one position after the other, for as many points as there are lanes.
func (l *lowering) across(st *stage, each each) (out [][]*Value) {
	if len(st.red) == 0 { // over axes of one position
		each(func() { out = append(out, l.result(st, l.combine(st, l.identity(st), l.operand(st)))) })
		return out
	}
	l.red = l.levels([]*stage{st}, func(st *stage) []*ir.Axis { return st.red })
	memo, singles := l.memo, l.singles
	for _, r := range l.red {
		r.at = l.int(0)
	}
	var v []*Value
	each(func() {
		l.afresh()
		v = append(v, l.identity(st)...)
	})
	w := width(st)
	part := func(v []*Value, i int) []*Value { return v[i*w : (i+1)*w : (i+1)*w] }
	combine := func(v []*Value) (next []*Value) {
		each(func() {
			l.afresh()
			next = append(next, l.combine(st, part(v, len(next)/w), l.operand(st))...)
		})
		return next
	}
	if isWindow(st) {
		for i := range turnsOf(st.red) {
			for j := len(l.red) - 1; j >= 0; j-- {
				extent, _ := l.red[j].extent.Int()
				l.red[j].at = l.int(i % extent)
				i /= extent
			}
			v = combine(v)
		}
		l.acrossWork()
	} else {
		for _, r := range l.red {
			loop, in := l.loop(l.int(0), l.size(r.extent, Int), 1, false, r.extent, v...)
			r.at, v = loop.Var, in
		}
		v = combine(v)
		l.acrossWork()
		for range l.red {
			v = l.close(v...)
		}
	}
	l.memo, l.singles, l.red = memo, singles, nil
	each(func() { out = append(out, l.result(st, part(v, len(out)))) })
	return out
}

// window is how many positions a reduction across lanes may have that is no loop: what one computes of its indices others
// need as well.
const window = 9

// isWindow says whether a stage takes a window. What is much for each position is a loop: code of all of them would be
// long, and registers hold nothing from one to the next.
func isWindow(st *stage) bool {
	n := turnsOf(st.red)
	return st.Kind == ir.ReduceStage && 0 < n && n <= window && nodesOf(st) <= 8*small
}

// turnsOf is how many positions axes have together; 0: that is not known, or more than a window has.
func turnsOf(axes []*ir.Axis) int64 {
	n := int64(1)
	for _, a := range axes {
		extent, ok := a.Extent.Int()
		if !ok || extent > window {
			return 0
		}
		n *= extent
	}
	return n
}

// acrossWork notes what a turn of the loops over l.red takes.
func (l *lowering) acrossWork() {
	work := PassWork{Vector: sym.Const(1), Ops: len(l.memo)}
	for i, n := range slices.Concat(l.inner, l.red) {
		if i == len(l.inner)-1 {
			work.Vector = n.extent
		} else {
			work.Extents = append(work.Extents, n.extent)
		}
	}
	l.k.Work.Passes = append(l.k.Work.Passes, work)
}

// scan writes what a reduction is on its way along the one axis st.red, for as many points as there are lanes.
func (l *lowering) scan(st *stage, each each) {
	if !l.stored(st, st.Out()) { // nobody reads it
		return
	}
	l.red = []*level{{extent: st.red[0].Extent}}
	memo, singles := l.memo, l.singles
	var v, next []*Value
	each(func() {
		l.afresh()
		v = append(v, l.identity(st)...)
	})
	loop, in := l.loop(l.int(0), l.size(st.red[0].Extent, Int), 1, false, st.red[0].Extent, v...)
	l.red[0].at = loop.Var
	if st.Reverse {
		l.red[0].at = l.addInt(l.mulInt(loop.Var, l.int(-1)), l.size(st.red[0].Extent.Sub(sym.Const(1)), Int))
	}
	each(func() {
		l.afresh()
		here := in[len(next) : len(next)+1]
		next = append(next, l.combine(st, here, l.operand(st))...)
		if !st.Exclusive {
			here = next[len(next)-1:]
		}
		l.write(st, st.Out(), l.result(st, here)[0])
	})
	l.flush()
	l.acrossWork()
	l.close(next...)
	l.memo, l.singles, l.red = memo, singles, nil
}
