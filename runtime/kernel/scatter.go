package kernel

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// A scatter goes along the axes that stand in its index by themselves, the innermost of them by vectors, as a map does; and at each
// point of them along the others, one position after the other. So what comes to one place comes in the order of
// the stage, whatever the pieces of the box: a row that is put somewhere is put there as a whole.

// scattered are the axes of a scatter at whose positions it writes to different places, and others.
func scattered(s *ir.Stage) (own, others []*ir.Axis) {
	for _, a := range s.Axes {
		if slices.ContainsFunc(s.Index, func(x *ir.Scalar) bool { return x.Op == ir.OpAxis && x.Axis == a }) {
			own = append(own, a)
		} else {
			others = append(others, a)
		}
	}
	return own, others
}

// refusesScatter says what of a scatter there is no schedule for: lanes go along the last dim, and what is looked up is the
// same for all of them.
func refusesScatter(s *ir.Stage) string {
	const none = "a scatter has no schedule"
	last := len(s.Index) - 1
	if last < 0 || s.Index[last].Op != ir.OpAxis || s.Index[last].Axis.Extent.IsInt(1) || slices.Contains(s.Reads(), s.Out()) {
		return none
	}
	own, _ := scattered(s)
	if lane := s.Index[last].Axis; own[len(own)-1] != lane || slices.ContainsFunc(s.Index[:last], func(x *ir.Scalar) bool { return !alike(x, lane) }) {
		return none
	}
	for _, x := range s.Index[:last] {
		found := false // of no kind, or an operation that there is none of
		x.Walk(func(y *ir.Scalar) bool {
			found = found || refusesNode(y) != ""
			return !found
		})
		if found {
			return none
		}
	}
	d := s.Exprs[0].DType
	switch s.Monoid {
	case ir.Last:
	case ir.Sum, ir.Prod, ir.Max, ir.Min:
		if k := kinds[d]; k == None || k == Mask || k == F32 && d != tensor.F32 {
			return "a scatter of " + d.String()
		}
	default:
		return none
	}
	return ""
}

// alike says whether an index is a single number for all positions of an axis that single makes.
func alike(x *ir.Scalar, lane *ir.Axis) bool {
	if _, ok := x.Symbolic(); ok {
		return true
	}
	ok := false
	switch x.Op {
	case ir.OpAxis:
		return x.Axis != lane
	case ir.OpAdd, ir.OpSub, ir.OpMul, ir.OpMin, ir.OpMax:
		ok = x.DType == tensor.I64
	case ir.OpSelect:
		ok = true
	case ir.OpAnd, ir.OpOr:
		ok = x.DType == tensor.Bool
	case ir.OpFloorDiv, ir.OpMod:
		return x.DType == tensor.I64 && placed(x) && alike(x.Args[0], lane)
	case ir.OpCast:
		return x.DType == tensor.I64 && x.Args[0].DType == tensor.I32 && x.Args[0].Op == ir.OpLoad && alike(x.Args[0], lane)
	case ir.OpLoad:
		ok = x.DType == tensor.I64 || x.DType == tensor.I32
	default:
		ok = x.Op.Compares() && x.Args[0].DType == tensor.I64
	}
	return ok && !slices.ContainsFunc(x.Args, func(y *ir.Scalar) bool { return !alike(y, lane) })
}

// scatter makes the loops of a scatter: over the pieces of a row outside, then what comes one after the other.
func (l *lowering) scatter(st *stage, nest []*level) {
	if len(nest) != 1 {
		refuse("a scatter has no schedule")
	}
	l.st, l.inner = st, nest
	l.memo, l.singles, l.points, l.stores = map[*ir.Scalar]*Value{}, map[*ir.Scalar]*Value{}, map[*ir.Buffer]*Value{}, nil
	lo, hi := l.newRange(nest[0].extent)
	l.k.VectorRange = true
	loops := 1
	if len(st.red) > 0 {
		l.red = l.levels([]*stage{st}, func(st *stage) []*ir.Axis { return st.red })
		for _, r := range l.red {
			loop, _ := l.loop(l.int(0), l.size(r.extent, Int), 1, false, r.extent)
			r.at = loop.Var
			loops++
		}
	}
	loop, _ := l.loop(lo, hi, int64(l.k.Lanes), true, nest[0].extent)
	nest[0].at = loop.Var
	b := st.Out()
	p := l.at(b, st.Index)
	if p.access != Contiguous || p.mask != nil {
		refuse("a scatter has no schedule")
	}
	v := l.own(l.value(st.Exprs[0]), st.Exprs[0])
	if st.Monoid != ir.Last {
		was := l.emit(&Value{Op: OpLoad, Kind: kinds[b.DType], Args: []*Value{p.addr, p.ix}, Buf: p.addr.Buf, Access: Contiguous})
		l.op(OpBarrier, None)
		v = l.plain(st, was, v)
	}
	l.stores = append(l.stores, store{p.addr, p.ix, v, p.access, p.n})
	l.flush()
	if st.Monoid != ir.Last {
		l.op(OpBarrier, None)
	}
	l.acrossWork()
	for range loops {
		l.close()
	}
	l.red = nil
}
