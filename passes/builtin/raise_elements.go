package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// elements follows elements of values to what they are taken from, through whatever moves
// elements, by the programs of operators.
type elements struct{ *ir.Deducer }

// coordinate is a list that is row i of positions that a NonZero gives.
type coordinate struct {
	of *ir.Value
	i  int64
}

// coordinate reads a value as one, through whatever moves elements.
func (x elements) coordinate(v *ir.Value) (c coordinate, ok bool) {
	t, ok := v.Tensor()
	if !ok || t.Unranked || len(t.Dims) != 1 {
		return c, false
	}
	pos := sym.Var("position in a list")
	at := []sym.Expr{pos}
	for v.Def != nil && v.Def.Kind == ir.OpStmt && len(v.Def.Regions) == 0 {
		if v.Def.Op.Name == "onnx.NonZero" {
			i, known := at[0].Int()
			return coordinate{v, i}, known && at[1].Equal(pos)
		}
		if v, at = x.source(v, at); v == nil {
			break
		}
	}
	return c, false
}

// source says which element of which operand an element of a value is, which is nothing else;
// nil where it is no element of one.
func (x elements) source(v *ir.Value, at []sym.Expr) (*ir.Value, []sym.Expr) {
	r := x.stageOf(v)
	if r == nil || r.s.Exprs[0].Op != ir.OpLoad {
		return nil, nil
	}
	return r.load(r.s.Exprs[0], at)
}

// stageOf is what computes a value point by point, nil where that is not so.
func (x elements) stageOf(v *ir.Value) *pointReader {
	r := x.lastStage(v)
	if r == nil || r.s.Kind != ir.MapStage {
		return nil
	}
	return r
}

// lastStage is what gives a value, of the program of its operator; nil where there is none.
func (x elements) lastStage(v *ir.Value) *pointReader {
	if v.Def == nil || v.Def.Kind != ir.OpStmt || len(v.Def.Regions) > 0 {
		return nil
	}
	c := x.Call(v.Def)
	p, args, err := c.Program()
	if err != nil {
		return nil
	}
	out := 0
	for _, r := range v.Def.Results[:v.Index] {
		if r != nil {
			out++
		}
	}
	i := slices.IndexFunc(p.Stages, func(s *ir.Stage) bool { return slices.Contains(s.Outs, p.Results[out]) })
	return &pointReader{x, v.Def, c, p, args, p.Stages[i]}
}

// pointReader follows what a stage reads at a point.
type pointReader struct {
	x    elements
	stmt *ir.Stmt
	c    *ir.Call
	p    *ir.Program
	args []int
	s    *ir.Stage
}

// load gives the operand that a load of the stage at a point reads, and where.
func (r *pointReader) load(l *ir.Scalar, at []sym.Expr) (*ir.Value, []sym.Expr) {
	j := slices.Index(r.p.Params, l.Buf)
	if j < 0 {
		return nil, nil
	}
	index := make([]sym.Expr, len(l.Args))
	for i, e := range l.Args {
		k, ok := r.eval(e, at)
		if !ok {
			return nil, nil
		}
		index[i] = r.x.M.Syms.Simplify(k)
	}
	return r.stmt.Args[r.args[j]], index
}

// eval gives an index at a point.
func (r *pointReader) eval(e *ir.Scalar, at []sym.Expr) (k sym.Expr, ok bool) {
	if k, ok := e.Symbolic(); ok {
		return k, true
	}
	switch e.Op {
	case ir.OpAxis:
		return at[slices.Index(r.s.AllAxes(), e.Axis)], true
	case ir.OpBcast:
		dim, ok := e.Args[1].Symbolic()
		extent, ok2 := e.Args[2].Symbolic()
		switch {
		case ok && dim.IsInt(1):
			return sym.Const(0), true
		case ok && ok2 && r.x.M.Syms.Equal(dim, extent) == sym.True:
			return r.eval(e.Args[0], at)
		}
		return k, false
	}
	list := make([]sym.Expr, len(e.Args))
	for i, a := range e.Args {
		if list[i], ok = r.eval(a, at); !ok {
			return k, false
		}
	}
	switch e.Op {
	case ir.OpAdd:
		return list[0].Add(list[1]), true
	case ir.OpSub:
		return list[0].Sub(list[1]), true
	case ir.OpMul:
		return list[0].Mul(list[1]), true
	case ir.OpFloorDiv:
		return list[0].FloorDiv(list[1]), true
	case ir.OpMod:
		return list[0].Mod(list[1]), true
	case ir.OpLoad: // of a position that is known
		j, i := slices.Index(r.p.Params, e.Buf), int64(0)
		if j < 0 || len(list) > 1 {
			return k, false
		}
		known, ok := r.c.Ints(r.args[j])
		if len(list) == 1 {
			var fixed bool
			i, fixed = list[0].Int()
			ok = ok && fixed
		}
		if ok && i >= 0 && i < int64(len(known)) {
			return known[i], true
		}
	}
	return k, false
}

var otherChoice = sym.Var("position of a choice") // no symbol of a module has such a name

// natural says whether all elements of a value are positions that an operator gives, so that
// none is negative.
func (x elements) natural(v *ir.Value) bool {
	for v != nil && v.Def != nil && v.Def.Kind == ir.OpStmt {
		switch v.Def.Op.Name {
		case "onnx.TopK", "pit.Route":
			return v.Index == 1
		case "onnx.ArgMax", "onnx.ArgMin", "onnx.NonZero":
			return true
		}
		t, ok := v.Tensor()
		if !ok || t.Unranked {
			return false
		}
		at := make([]sym.Expr, len(t.Dims))
		for i := range at {
			at[i] = sym.Var("a position")
		}
		v, _ = x.source(v, at)
	}
	return false
}

// oneOf says whether at most one of the elements of a value is not zero that differ in the
// position of a choice alone: such an element is zero unless the k-th best, at that
// position, is one that does not depend on it.
func (x elements) oneOf(v *ir.Value, at []sym.Expr) bool {
	depends := func(e sym.Expr) bool { return slices.Contains(e.Symbols(), otherChoice.Symbols()[0]) }
	for v.Def != nil && v.Def.Kind == ir.OpStmt {
		c := x.Call(v.Def)
		switch v.Def.Op.Name {
		case "onnx.OneHot":
			values := c.Const(2)
			axis, err := c.Axis(c.Int("axis"), len(at))
			if values == nil || values.Float(0) != 0 || err != nil || depends(at[axis]) {
				return false
			}
			return x.best(v.Def.Args[0], slices.Delete(slices.Clone(at), axis, axis+1))
		case "onnx.Equal":
			r := x.stageOf(v)
			if r == nil || r.s.Exprs[0].Op != ir.OpEq {
				return false
			}
			for i, a := range r.s.Exprs[0].Args {
				if b := r.s.Exprs[0].Args[1-i]; a.Op == ir.OpLoad && b.Op == ir.OpLoad {
					chosen, index := r.load(a, at)
					_, other := r.load(b, at)
					if chosen != nil && other != nil && !slices.ContainsFunc(other, depends) && x.best(chosen, index) {
						return true
					}
				}
			}
			return false
		}
		if next, where := x.source(v, at); next != nil {
			v, at = next, where
			continue
		}
		// Zero where one thing that it reads is zero, whatever else there is.
		r := x.stageOf(v)
		return r != nil && slices.ContainsFunc(analysis.ZeroRules(r.s), func(rule analysis.ZeroRule) bool {
			of, where := r.only(rule.Buffer, at)
			return of != nil && len(rule.Finite) == 0 && x.oneOf(of, where)
		})
	}
	return false
}

// only gives the one element of an operand that the stage reads at a point; nil where it reads
// several.
func (r *pointReader) only(buf *ir.Buffer, at []sym.Expr) (of *ir.Value, where []sym.Expr) {
	one := true
	r.s.Walk(func(e *ir.Scalar) bool {
		if e.Op == ir.OpLoad && e.Buf == buf {
			next, index := r.load(e, at)
			one = one && next != nil && (of == nil || slices.EqualFunc(index, where, sym.Expr.Equal))
			of, where = next, index
		}
		return true
	})
	if !one {
		return nil, nil
	}
	return of, where
}

// best says whether an element of a value is one of the positions that TopK gives, of which
// those for another choice are others.
func (x elements) best(v *ir.Value, at []sym.Expr) bool {
	for v.Def != nil && v.Def.Kind == ir.OpStmt {
		axis := -1
		switch c := x.Call(v.Def); v.Def.Op.Name {
		case "onnx.TopK":
			a, err := c.Axis(c.Int("axis"), len(at))
			if err != nil {
				return false
			}
			axis = a
		case "pit.Route":
			axis = len(at) - 1
		}
		if axis >= 0 {
			return v.Index == 1 && at[axis].Equal(otherChoice)
		}
		if v, at = x.source(v, at); v == nil {
			return false
		}
	}
	return false
}
