package kernel

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// level is a loop over one axis, or over several that lie as one in all that is read and
// written; last says which of the axes of a stage is the innermost of them.
type level struct {
	extent sym.Expr
	last   int
	at     *Value // the position, while it is open
	lo, hi *Value // of lowering.inside
}

// lowering makes the kernel of fused stages.
type lowering struct {
	*fused
	*builder
	buffers   map[*ir.Buffer]*Buffer
	accesses  map[*stage][]analysis.Affine // of what is read and written in memory
	rowLevels []*level
	nests     [][]*level            // of each pass
	now       int                   // the pass that is lowered
	inside    *level                // a loop that is inside of the vectors' one; nil: none is
	values    map[*ir.Buffer]*Value // what is known of the row: one value
	points    map[*ir.Buffer]*Value // what is known of the point
	memo      map[*ir.Scalar]*Value
	stores    []store                      // at the end of the pass's body
	alone     map[*stage]map[*ir.Axis]bool // axes whose positions are asked for
	decides   map[*ir.Buffer]bool          // what tells whether the kernel fails

	// of the stage that is lowered
	st        *stage
	inner     []*level
	red       []*level
	singles   map[*ir.Scalar]*Value
	guard     *Value       // of what is computed, a mask; nil: it is asked for in all lanes
	condition *ir.Scalar   // that it is of
	holds     []*ir.Scalar // what is true where that is asked for
}

type store struct {
	addr, ix, v *Value
	access      Access
	n           int64
}

// kernel makes the kernel, or says why there is none.
func (f *fused) kernel() (k *Kernel, why string) {
	defer func() {
		if r := recover(); r != nil {
			w, ok := r.(refusal)
			if !ok {
				panic(r)
			}
			k, why = nil, string(w)
		}
	}()
	k = f.lower(f.Lanes)
	if f.Wide > 0 && f.Wide != f.Lanes && wide(k.Body) {
		k = f.lower(f.Wide)
	}
	if err := k.Verify(nil); err != nil {
		return nil, fmt.Sprintf("a mistake of the schedule: %v", err) // tests find it: Why knows of nothing
	}
	return k, ""
}

func (f *fused) lower(lanes int) *Kernel {
	k := &Kernel{Name: f.p.Name + "." + f.list[len(f.list)-1].Out().Name, Lanes: lanes}
	l := &lowering{fused: f, builder: newBuilder(k), buffers: map[*ir.Buffer]*Buffer{}, accesses: map[*stage][]analysis.Affine{},
		values: map[*ir.Buffer]*Value{}, alone: map[*stage]map[*ir.Axis]bool{}, decides: map[*ir.Buffer]bool{}}
	l.collect()
	l.emitRows()
	l.shares()
	return k
}

// wide says whether there are lanes of 64 bits.
func wide(b *Block) bool {
	return slices.ContainsFunc(b.List, func(v *Value) bool {
		return v.Kind.Wide() || v.Op == OpLoop && wide(v.Loop.Body) || slices.ContainsFunc(v.Args, func(a *Value) bool { return a.Kind.Wide() })
	})
}

// buffer is the memory of a buffer: its own, or scratch for what does not leave the row.
func (l *lowering) buffer(b *ir.Buffer) *Buffer {
	if m := l.buffers[b]; m != nil {
		return m
	}
	if kinds[b.DType] == None {
		refuse("%s is %s", b.Name, b.DType)
	}
	_, written := l.of[b]
	m := &Buffer{Of: b, DType: b.DType, Len: sym.Prod(b.RoomDims()...), Written: written, Scratch: written && !l.kept(b)}
	if written {
		m.Base = l.list[l.of[b]].Base
	}
	if m.Scratch {
		m.Len = sym.Const(1)
		for _, a := range l.list[l.of[b]].axes[l.rows:] {
			m.Len = m.Len.Mul(a.Extent)
		}
	}
	l.buffers[b] = m
	l.k.Buffers = append(l.k.Buffers, m)
	return m
}

// inMemory says whether a load reads memory: neither what is known of the row nor of the point.
func (l *lowering) inMemory(st *stage, x *ir.Scalar) bool {
	j, ok := l.of[x.Buf]
	if !ok {
		return true
	}
	from := l.list[j]
	_, same := l.place(st, from, x)
	return len(from.axes) > l.rows && !(same && l.passOf(from) == l.passOf(st))
}

func (l *lowering) passOf(st *stage) int { return l.pass[slices.Index(l.list, st)] }

// address is what of where a load reads is linear in the axes, and whether that is all.
func (l *lowering) address(st *stage, b *ir.Buffer, index []*ir.Scalar) (f analysis.Affine, all bool) {
	m := l.buffer(b)
	if m.Scratch {
		row := &ir.Buffer{Name: b.Name, DType: b.DType}
		row.Dims, index = l.dims(st, m, index)
		b = row
	}
	f, rest := flat(b, index)
	return f, len(rest) == 0
}

// outIndex are the indices of what a stage writes.
func outIndex(st *stage) (ix []*ir.Scalar) {
	if st.Kind == ir.ScatterStage {
		return st.Index
	}
	for _, a := range st.Axes {
		ix = append(ix, a.Ix())
	}
	return ix
}

// stored says whether what a stage defines is written to memory.
func (l *lowering) stored(st *stage, b *ir.Buffer) bool {
	if l.kept(b) {
		return true
	}
	for _, to := range l.list {
		found := false
		to.Walk(func(x *ir.Scalar) bool {
			found = found || x.Op == ir.OpLoad && x.Buf == b && l.inMemory(to, x)
			return true
		})
		if found {
			return true
		}
	}
	return false
}

// collect finds what is read and written, which tells which axes may be one loop, and what must hold of
// indices that are linear and read without a condition.
func (l *lowering) collect() {
	type seen struct {
		x       *ir.Scalar
		guarded bool
	}
	for _, st := range l.list {
		l.alone[st] = alone(st)
		held := func(b *ir.Buffer, index []*ir.Scalar) { // by its dims
			for i, ix := range index {
				if g, ok := analysis.AffineOf(ix); ok && !whole(ix, b.Dims[i]) {
					c := rangeOf(g)
					c.Dim, c.Why = b.Dims[i], fmt.Sprintf("index %d of %s", i, b.Name)
					l.check(c)
				}
			}
		}
		done := map[seen]bool{}
		var visit func(x *ir.Scalar, guarded bool)
		visit = func(x *ir.Scalar, guarded bool) {
			if done[seen{x, guarded}] {
				return
			}
			done[seen{x, guarded}] = true
			if x.Op == ir.OpLoad && l.inMemory(st, x) {
				f, _ := l.address(st, x.Buf, x.Args)
				l.accesses[st] = append(l.accesses[st], f)
				if !guarded {
					held(x.Buf, x.Args)
				}
			}
			if x.Op == ir.OpLoad && !l.inMemory(st, x) {
				return
			}
			for i, a := range x.Args {
				visit(a, guarded || x.Op == ir.OpGuard && i > 0)
			}
		}
		for _, e := range append(st.Exprs[:len(st.Exprs):len(st.Exprs)], st.Index...) {
			visit(e, false)
		}
		if st.Kind == ir.ScatterStage {
			held(st.Out(), st.Index)
		}
		for _, b := range st.Outs {
			if l.stored(st, b) {
				f, _ := l.address(st, b, outIndex(st))
				l.accesses[st] = append(l.accesses[st], f)
			}
		}
	}
}

// levels joins axes that are one loop in all accesses; axes(st) are those of a stage.
func (l *lowering) levels(stages []*stage, axes func(*stage) []*ir.Axis) (out []*level) {
	all := axes(stages[0])
	for i := len(all) - 1; i >= 0; i-- {
		if len(out) > 0 && l.joins(stages, axes, i, axes, out[0]) {
			out[0].extent = all[i].Extent.Mul(out[0].extent)
			continue
		}
		out = slices.Insert(out, 0, &level{extent: all[i].Extent, last: i})
	}
	return out
}

// joins says whether axis i, outside of a level, is one loop with it.
func (l *lowering) joins(stages []*stage, outer func(*stage) []*ir.Axis, i int, axes func(*stage) []*ir.Axis, in *level) bool {
	for _, st := range stages {
		if l.alone[st][outer(st)[i]] || l.alone[st][axes(st)[in.last]] {
			return false
		}
		for _, f := range l.accesses[st] {
			if !coef(f, outer(st)[i]).Equal(coef(f, axes(st)[in.last]).Mul(in.extent)) {
				return false
			}
		}
	}
	return true
}

func (l *lowering) rowAxes(st *stage) []*ir.Axis { return st.axes[:l.rows] }

// emitRows makes the loops over rows, and in them the passes.
func (l *lowering) emitRows() {
	l.rowLevels = l.levels(l.list, l.rowAxes)
	nests := make([][]*level, len(l.passes))
	l.nests = nests
	for i, p := range l.passes {
		if len(p.extents) > 0 {
			nests[i] = l.levels(p.stages, l.fused.inner)
		}
	}
	// A single pass without reductions over it is cut as well, and is one loop with the rows
	// where it can be.
	p := l.passes[0]
	cut := len(l.passes) == 1 && len(nests[0]) > 0 && !slices.ContainsFunc(p.stages, func(st *stage) bool { return st.along })
	if cut {
		for len(nests[0]) == 1 && len(l.rowLevels) > 0 {
			last := l.rowLevels[len(l.rowLevels)-1]
			if !l.joins(p.stages, l.rowAxes, last.last, l.fused.inner, nests[0][0]) {
				break
			}
			nests[0][0].extent = last.extent.Mul(nests[0][0].extent)
			l.rowLevels = l.rowLevels[:len(l.rowLevels)-1]
		}
	}
	open := 0
	if cut && l.Blocked {
		l.inside = l.turned(p, nests[0])
	}
	for _, r := range l.rowLevels {
		if r == l.inside {
			r.lo, r.hi = l.newRange(r.extent)
			l.k.Inside = len(l.k.Ranges)
			continue
		}
		r.at = l.rangeLoop(r.extent)
		open++
	}
	for i, p := range l.passes {
		l.epoch++
		l.now = i
		if len(l.passes) > 1 { // other lanes read what some have written, and write what others have read
			l.op(OpBarrier, None)
		}
		l.emitPass(p, nests[i], cut)
	}
	for range open {
		l.close()
	}
}

// emitPass makes the loops of a pass.
func (l *lowering) emitPass(p *pass, nest []*level, cut bool) {
	if st := p.stages[0]; st.Kind == ir.ScatterStage {
		l.scatter(st, nest)
		return
	}
	if len(nest) == 0 {
		l.points, l.memo, l.singles, l.stores = map[*ir.Buffer]*Value{}, map[*ir.Scalar]*Value{}, map[*ir.Scalar]*Value{}, nil
		for _, st := range p.stages {
			l.inner = nil
			l.stage(st)
		}
		l.flush()
		l.k.Work.Once += len(l.memo)
		return
	}
	var sums []*stage
	var init []*Value
	for _, st := range p.stages {
		if st.along {
			if finds(st.Stage) {
				l.st, l.inner, nest[0].at = st, nest, l.int(0)
				l.memo, l.singles = map[*ir.Scalar]*Value{}, map[*ir.Scalar]*Value{}
			}
			sums, init = append(sums, st), append(init, l.identity(st)...)
		}
	}
	work := PassWork{Vector: nest[len(nest)-1].extent}
	for _, n := range nest[:len(nest)-1] {
		work.Extents = append(work.Extents, n.extent)
	}
	ends := l.nest(p, nest, 0, sums, init, cut, &work)
	l.k.Work.Passes = append(l.k.Work.Passes, work)
	l.stores = nil
	for _, st := range sums {
		v := ends[:width(st)]
		ends = ends[width(st):]
		for d := l.k.Lanes / 2; d > 0; d /= 2 {
			var other []*Value
			for _, x := range v {
				other = append(other, l.opN(OpSwap, x.Kind, int64(d), x))
			}
			v = l.merge(st, v, other)
		}
		l.inner, l.st = nil, st
		for i, v := range l.result(st, v) {
			l.values[st.Outs[i]] = v
			l.write(st, st.Outs[i], v)
		}
	}
	l.flush()
}

// small is how many nodes a pass may have that is unrolled, so that sums do not wait for
// each other.
const small, unroll = 16, 4

// nest makes the loops of a pass from one on, and gives what the sums are behind it.
func (l *lowering) nest(p *pass, nest []*level, n int, sums []*stage, init []*Value, cut bool, work *PassWork) []*Value {
	level := nest[n]
	lo, hi := l.int(0), l.size(level.extent, Int)
	if cut && n == 0 {
		lo, hi = l.newRange(level.extent)
		l.k.VectorRange = n == len(nest)-1
	}
	if level == l.inside {
		level.lo, level.hi = lo, hi
		if cut && n == 0 {
			l.k.Inside = len(l.k.Ranges)
		}
		return l.nest(p, nest, n+1, sums, init, cut, work)
	}
	if n < len(nest)-1 {
		loop, in := l.loop(lo, hi, 1, false, level.extent, init...)
		level.at = loop.Var
		out := l.nest(p, nest, n+1, sums, in, cut, work)
		return l.close(out...)
	}
	lanes := int64(l.k.Lanes)
	if len(sums) > 0 && len(nest) == 1 && l.nodes(p) <= small {
		all := make([]*Value, 0, unroll*len(init))
		for range unroll {
			all = append(all, init...)
		}
		loop, in := l.loop(lo, hi, unroll*lanes, false, level.extent, all...)
		var out []*Value
		for u := range unroll {
			level.at = l.addInt(loop.Var, l.int(int64(u)*lanes))
			out = append(out, l.body(p, nest, sums, in[u*len(init):(u+1)*len(init)])...)
			l.fetch(nest)
		}
		ends := l.close(out...)
		lo = loop.End
		n := len(init)
		init = nil
		for _, st := range sums {
			at, w := len(init), width(st)
			part := func(u int) []*Value { return ends[u*n+at : u*n+at+w] }
			init = append(init, l.merge(st, l.merge(st, part(0), part(1)), l.merge(st, part(2), part(3)))...)
		}
	}
	if l.inside != nil {
		l.turns(p, nest, lo, hi, work)
		return nil
	}
	if len(sums) == 0 && l.abreast(p) {
		known := len(l.k.Work.Passes) // what the loop by one vector takes is told by that
		loop, _ := l.loop(lo, hi, unroll*lanes, false, level.extent)
		l.several(p, nest, loop.Var)
		l.close()
		lo, l.k.Work.Passes = loop.End, l.k.Work.Passes[:known]
	}
	loop, in := l.loop(lo, hi, lanes, true, level.extent, init...)
	level.at = loop.Var
	out := l.body(p, nest, sums, in)
	l.fetch(nest)
	work.Ops = len(loop.Body.List)
	return l.close(out...)
}

// nodes is about how much a pass computes.
func (l *lowering) nodes(p *pass) (n int) {
	for _, st := range p.stages {
		n += nodesOf(st)
	}
	return n
}

// nodesOf is about how much a stage computes for a point, or a position of a reduction.
func nodesOf(st *stage) (n int) {
	st.Walk(func(x *ir.Scalar) bool {
		n++
		if functions[x.Op] != nil {
			n += small
		}
		return x.Op != ir.OpLoad
	})
	return n
}

// body computes the stages of a pass for the lanes at a position, and gives what the sums are
// with them.
func (l *lowering) body(p *pass, nest []*level, sums []*stage, in []*Value) (out []*Value) {
	l.points, l.memo, l.singles, l.stores = map[*ir.Buffer]*Value{}, map[*ir.Scalar]*Value{}, map[*ir.Scalar]*Value{}, nil
	for _, st := range p.stages {
		l.inner = nest
		if slices.Contains(sums, st) {
			l.st = st
			out = append(out, l.combine(st, in[len(out):len(out)+width(st)], l.operand(st))...)
			continue
		}
		l.stage(st)
	}
	l.flush()
	return out
}

// flush writes what the body has to write, when all is read.
func (l *lowering) flush() {
	for _, s := range l.stores {
		l.emit(&Value{Op: OpStore, Args: []*Value{s.addr, s.ix, s.v}, Buf: s.addr.Buf, Access: s.access, N: s.n})
	}
	l.stores = nil
}

// stage computes what a stage defines at the point.
func (l *lowering) stage(st *stage) {
	l.st = st
	var all []*Value // of a reduction
	switch {
	case st.Kind == ir.ScanStage && len(st.red) > 0:
		l.scan(st, l.once)
		return
	case st.Kind == ir.ScanStage && st.Exclusive:
		all = l.result(st, l.identity(st))
	case st.Kind != ir.MapStage:
		all = l.across(st, l.once)[0]
	}
	l.define(st, all)
}

// define computes what a stage defines at the point; all is what a reduction is, or nil.
func (l *lowering) define(st *stage, all []*Value) {
	for i, b := range st.Outs {
		var v *Value
		if all != nil {
			v = all[i]
		} else {
			v = l.own(l.value(st.Exprs[i]), st.Exprs[i])
		}
		if len(st.axes) == l.rows {
			l.values[b] = v
		} else {
			l.points[b] = v
		}
		l.write(st, b, v)
	}
}

// write notes that a value goes to memory.
func (l *lowering) write(st *stage, b *ir.Buffer, v *Value) {
	if !l.stored(st, b) {
		return
	}
	p := l.at(b, outIndex(st))
	l.stores = append(l.stores, store{p.addr, p.ix, v, p.access, p.n})
}

// shares finds which buffers may lie where one that is written does: they are read only where
// it is written, not after.
func (l *lowering) shares() {
	type access struct {
		f    analysis.Affine
		all  bool // of the address
		st   *stage
		pass int
	}
	reads := map[*ir.Buffer][]access{}
	for _, st := range l.list {
		st.Walk(func(x *ir.Scalar) bool {
			if x.Op == ir.OpLoad && l.inMemory(st, x) {
				f, all := l.address(st, x.Buf, x.Args)
				reads[x.Buf] = append(reads[x.Buf], access{f, all, st, l.passOf(st)})
			}
			return true
		})
	}
	for _, w := range l.k.Buffers {
		if !w.Written || w.Scratch || w.Base != nil {
			continue
		}
		to := l.list[l.of[w.Of]]
		f, _ := l.address(to, w.Of, outIndex(to))
		for _, r := range l.k.Buffers {
			if r.Written || r.Scratch || r.DType.Bits() != w.DType.Bits() || l.decides[r.Of] {
				continue
			}
			ok := true
			for _, a := range reads[r.Of] {
				ok = ok && a.all && a.pass <= l.passOf(to) && l.sameForm(a.f, a.st, f, to)
			}
			if ok {
				w.Shares = append(w.Shares, r)
			}
		}
	}
}

// sameForm says whether two stages of one nest go over the same addresses in the same way.
func (l *lowering) sameForm(f analysis.Affine, a *stage, g analysis.Affine, b *stage) bool {
	x, y := append(slices.Clone(l.rowAxes(a)), l.fused.inner(a)...), append(slices.Clone(l.rowAxes(b)), l.fused.inner(b)...)
	if !f.C.Equal(g.C) || len(x) != len(y) || len(f.Terms) > len(x) {
		return false
	}
	for i := range x {
		if !x[i].Extent.Equal(y[i].Extent) || !coef(f, x[i]).Equal(coef(g, y[i])) {
			return false
		}
	}
	return true
}
