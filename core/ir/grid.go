package ir

import (
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Grid is a tensor whose elements are functions of their index and of symbols: an
// arithmetic progression, a comparison of positions, a list of dims. Who reads it can
// compute what it reads; no memory has to hold it.
type Grid struct {
	Axes []*Axis // one for each dim
	Expr *Scalar // without loads
}

// Limits of grids.
const (
	maxGridNodes = 64      // of an expression that is computed wherever it is read
	maxGridList  = 16      // elements of a list that is
	maxGridConst = 1 << 20 // elements of a constant that is looked at
)

// Grid gives a value as a function of its index where it is one.
func (d *Deducer) Grid(v *Value) (*Grid, bool) {
	if v == nil {
		return nil, false
	}
	if g, ok := d.grids[v]; ok {
		return g, g != nil
	}
	if d.outer != nil && v.Const == nil {
		if g, ok := d.outer.grids[v]; ok && g != nil {
			return g, true
		}
	}
	g := d.gridOf(v)
	if v.Const != nil {
		d.grids[v] = g // others may become one, when more is known
	}
	return g, g != nil
}

func (d *Deducer) gridOf(v *Value) *Grid {
	t, ok := v.Tensor()
	if !ok || t.Unranked || !t.DType.IsInt() && t.DType != tensor.Bool {
		return nil
	}
	if v.Const != nil {
		if g := constGrid(v.Const.Tensor); g != nil {
			return g
		}
	}
	list, ok := d.Known(v)
	if !ok || len(list) == 0 || len(list) > maxGridList {
		return nil
	}
	g := &Grid{Axes: newAxes(t.Dims)}
	g.list(list, t)
	return g
}

// list lets a grid hold the elements of a tensor of static shape, in row-major order.
func (g *Grid) list(list []sym.Expr, t TensorType) {
	element := func(e sym.Expr) *Scalar {
		if n, ok := e.Int(); ok {
			return Lit(t.DType, 0).withValue(n)
		}
		return SymVal(e).To(t.DType)
	}
	flat := IntLit(0)
	for i, a := range g.Axes {
		switch d := t.Dims[i]; {
		case d.IsInt(1):
		case i > 0:
			flat = flat.Mul(SymVal(d)).Add(a.Ix())
		default:
			flat = a.Ix()
		}
	}
	g.Expr = Lit(t.DType, 0)
	for i := len(list) - 1; i >= 0; i-- {
		x := element(list[i])
		if i == len(list)-1 {
			g.Expr = x
		} else {
			g.Expr = Select(flat.Eq(IntLit(int64(i))), x, g.Expr)
		}
	}
}

func (x *Scalar) withValue(n int64) *Scalar {
	if x.DType == tensor.Bool {
		x.Lit.SetBool(0, n != 0)
		return x
	}
	return x.withInt(n)
}

func newAxes(dims []sym.Expr) []*Axis {
	out := make([]*Axis, len(dims))
	for i, d := range dims {
		out[i] = &Axis{Extent: d}
	}
	return out
}

// constGrid recognises a constant whose elements are linear in their index.
func constGrid(t *tensor.Tensor) *Grid {
	n := t.Len()
	if n == 0 || n > maxGridConst {
		return nil
	}
	at := func(i int64) int64 {
		if t.DType() == tensor.Bool {
			if t.Bool(i) {
				return 1
			}
			return 0
		}
		return t.Int(i)
	}
	shape := t.Shape()
	first := at(0)
	steps := make([]int64, len(shape))
	stride := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] > 1 {
			steps[i] = at(stride) - first
		}
		stride *= shape[i]
	}
	if linear := t.DType() == tensor.I64; !linear {
		for _, s := range steps {
			if s != 0 {
				return nil // of other types only what is the same everywhere
			}
		}
	}
	for flat := range n {
		want, rest := first, flat
		for i := len(shape) - 1; i >= 0; i-- {
			want += steps[i] * (rest % shape[i])
			rest /= shape[i]
		}
		if at(flat) != want {
			return nil
		}
	}
	g := &Grid{Axes: newAxes(Consts(shape)), Expr: Lit(t.DType(), 0).withValue(first)}
	for i, s := range steps {
		if s != 0 {
			g.Expr = g.Expr.Add(g.Axes[i].Ix().Mul(IntLit(s)))
		}
	}
	return g
}

// InlineGrids lets the program of a statement compute what it reads of operands that are
// grids, and folds what becomes of it. args tells which operand each parameter is; what is
// left of the parameters, and of args, is given back.
func (d *Deducer) InlineGrids(p *Program, s *Stmt, args []int) []int {
	return d.inlineGrids(p, s, args, func(g *Grid) bool { return !g.usesLocal() })
}

func (d *Deducer) inlineGrids(p *Program, s *Stmt, args []int, which func(*Grid) bool) []int {
	inlined := false
	for i, b := range p.Params {
		if g, ok := d.Grid(s.Args[args[i]]); ok && which(g) && p.inline(b, g) {
			inlined = true
		}
	}
	if !inlined && len(p.Params) > 0 {
		return args
	}
	p.Fold(d.M.Syms)
	return p.dropUnread(args)
}

// dropUnread takes out parameters that nobody reads, and their places in args.
func (p *Program) dropUnread(args []int) []int {
	read := map[*Buffer]bool{}
	for _, s := range p.Stages {
		for _, b := range s.Reads() {
			read[b] = true
		}
	}
	var params []*Buffer
	var kept []int
	for i, b := range p.Params {
		if read[b] {
			params, kept = append(params, b), append(kept, args[i])
		}
	}
	p.Params = params
	p.Syms = p.symsOf()
	p.NameAxes()
	return kept
}

// inline computes a parameter where it is read. Where a load checks that a dim is
// broadcast rightly, and the grid does not look at that index, it stays.
func (p *Program) inline(b *Buffer, g *Grid) bool {
	used := g.uses()
	for _, s := range p.Stages {
		ok := s.Base != b
		s.Walk(func(x *Scalar) bool {
			if x.Op == OpLoad && x.Buf == b {
				for i, ix := range x.Args {
					ok = ok && (ix.Op != OpBcast || used[g.Axes[i]])
				}
			}
			return ok
		})
		if !ok {
			return false
		}
	}
	for _, s := range p.Stages {
		s.Rewrite(func(x *Scalar) *Scalar {
			if x.Op != OpLoad || x.Buf != b {
				return x
			}
			return g.at(x.Args)
		})
	}
	return true
}

// uses tells which axes the elements depend on.
func (g *Grid) uses() map[*Axis]bool {
	out := map[*Axis]bool{}
	g.Expr.Walk(func(x *Scalar) bool {
		if x.Op == OpAxis {
			out[x.Axis] = true
		}
		return true
	})
	return out
}

// usesLocal says whether elements depend on local symbols, which no program may mention.
func (g *Grid) usesLocal() bool {
	found := false
	g.Expr.Walk(func(x *Scalar) bool {
		found = found || x.Op == OpSym && usesLocal(x.Sym)
		return !found
	})
	return found
}

// at is the element at an index.
func (g *Grid) at(ix []*Scalar) *Scalar {
	return g.Expr.Rewrite(func(x *Scalar) *Scalar {
		if x.Op == OpAxis {
			for i, a := range g.Axes {
				if a == x.Axis {
					return ix[i]
				}
			}
		}
		return x
	})
}

// grid is the result of a program as a function of its index, where it is one: the program
// is one map, and reads nothing.
func (p *Program) grid() *Grid {
	if len(p.Params) > 0 || len(p.Stages) != 1 || p.Stages[0].Kind != MapStage {
		return nil
	}
	s := p.Stages[0]
	nodes, fits := 0, true
	s.Walk(func(x *Scalar) bool {
		nodes++
		fits = fits && nodes <= maxGridNodes && (x.DType.IsInt() || x.DType == tensor.Bool)
		return fits
	})
	if !fits {
		return nil
	}
	return &Grid{Axes: s.Axes, Expr: s.Exprs[0]}
}
