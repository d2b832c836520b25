package kernel

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
)

// A kernel of several passes over a row waits for memory in the first one, and where it writes; in between it computes
// what is near, while memory rests. So its second pass fetches: what the next row is read from, and what this row is
// written to. A processor sees by itself what comes next within a pass, but not beyond its end.

// fetch is for the lanes at a position of the second pass over rows.
func (l *lowering) fetch(nest []*level) {
	if l.now != 1 || len(l.rowLevels) == 0 {
		return
	}
	for i, p := range l.passes {
		if !slices.EqualFunc(l.nests[i], nest, func(a, b *level) bool { return a.last == b.last && a.extent.Equal(b.extent) }) {
			continue
		}
		for _, st := range p.stages {
			if i <= l.now {
				st.Walk(func(x *ir.Scalar) bool {
					if x.Op == ir.OpLoad && l.inMemory(st, x) && !l.buffer(x.Buf).Written {
						l.fetchAt(st, x.Buf, x.Args, nest, 1)
					}
					return true
				})
			}
			for _, b := range st.Outs {
				if l.stored(st, b) && !l.buffer(b).Scratch {
					l.fetchAt(st, b, outIndex(st), nest, int64(b2i(i <= l.now)))
				}
			}
		}
	}
}

// fetchAt fetches what lies in a vector at a position, some rows on.
func (l *lowering) fetchAt(st *stage, b *ir.Buffer, index []*ir.Scalar, nest []*level, ahead int64) {
	f, all := l.address(st, b, index)
	inner, row := l.fused.inner(st), l.rowLevels[len(l.rowLevels)-1]
	if !all || !coef(f, inner[nest[len(nest)-1].last]).IsInt(1) || coef(f, l.rowAxes(st)[row.last]).IsInt(0) {
		return
	}
	addr := l.emit(&Value{Op: OpBase, Kind: Addr, Buf: l.buffer(b)})
	addr = l.index(addr, l.size(f.C, Int))
	along := func(at *Value, a *ir.Axis) {
		if c := coef(f, a); !c.IsInt(0) {
			addr = l.index(addr, l.mulInt(at, l.size(c, Int)))
		}
	}
	for _, v := range l.rowLevels {
		at := v.at
		if v == row {
			at = l.addInt(at, l.int(ahead))
		}
		along(at, l.rowAxes(st)[v.last])
	}
	for _, v := range nest[:len(nest)-1] {
		along(v.at, inner[v.last])
	}
	l.emit(&Value{Op: OpFetch, Args: []*Value{addr, nest[len(nest)-1].at}, Buf: addr.Buf})
}
