package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Where something is known of two tokens of a sequence by how far they lie apart, as a relative position bias and a window are, places
// of packed tokens tell that as well as positions do, if the tokens of a sequence lie one behind the other: a run looks whether they do.

// diagonal is dims of a value that tell positions of a row and of a key.
type diagonal struct{ row, key int }

// diagonalOf is what there is a value of.
type diagonalOf struct {
	v *ir.Value
	diagonal
}

// diagonalAt says where a load reads something by how far the row and the key lie apart.
func (x *packedStage) diagonalAt(y *ir.Scalar) (at diagonal, ok bool) {
	i := slices.Index(x.Params, y.Buf)
	here := x.tokensHere()
	if x.in == nil || i < 0 || len(here) != 2 || slices.ContainsFunc(here, func(t analysis.Token) bool { return t.Batch == t.Pos }) {
		return at, false
	}
	dim := [2]int{-1, -1}
	for j, t := range here {
		for k, a := range y.Args {
			if b, bare := analysis.Bare(a); bare && b == t.Pos && y.Buf.Dims[k].Equal(x.Seq) {
				dim[j] = k
				break
			}
		}
		if dim[j] < 0 {
			return at, false
		}
	}
	for k, a := range y.Args {
		if k != dim[0] && k != dim[1] && slices.ContainsFunc(here, func(t analysis.Token) bool { return goesBy(a, t.Pos) || goesBy(a, t.Batch) }) {
			return at, false
		}
	}
	at = diagonal{dim[0], dim[1]}
	return at, analysis.Diagonal(x.ragged.args[i], at.row, at.key)
}

// goesBy says whether an expression mentions an axis.
func goesBy(x *ir.Scalar, a *ir.Axis) (found bool) {
	x.Walk(func(y *ir.Scalar) bool {
		found = found || y.Op == ir.OpAxis && y.Axis == a
		return !found
	})
	return found
}

// apart is what stands for a load by how far the row and the key lie apart. There is room in front for as many rows as there are.
func (x *packedStage) apart(y *ir.Scalar, at diagonal) *ir.Scalar {
	x.beside = true
	v := x.tokens.diagonals(x.ragged.args[slices.Index(x.Params, y.Buf)], at)
	t, _ := v.Tensor()
	here := x.tokensHere()
	var index []*ir.Scalar
	for k, a := range y.Args {
		if k != at.row && k != at.key {
			index = append(index, x.of(a))
		}
	}
	by := x.token[here[1].Pos].Ix().Sub(x.token[here[0].Pos].Ix()).Add(ir.SymVal(x.tokens.n.Mul(sym.Const(2)).Sub(sym.Const(1))))
	return ir.Load(x.vector(v, "apart"), append(index, by)...).To(t.DType)
}

// difference is what stands for a number that is made of how far a row and a key lie apart; nil: it is another one, or an index
// that something is read at: places of two sequences may lie further apart than there is anything.
func (x *packedStage) difference(y *ir.Scalar) *ir.Scalar {
	here := x.tokensHere()
	if x.in == nil || x.index > 0 || y.DType != tensor.I64 || slices.ContainsFunc(here, func(t analysis.Token) bool { return t.Batch == t.Pos }) {
		return nil
	}
	f, ok := analysis.AffineOf(y)
	if !ok {
		return nil
	}
	out := ir.SymVal(f.C)
	by := [2]sym.Expr{sym.Const(0), sym.Const(0)}
	for _, t := range f.Terms {
		i := slices.IndexFunc(here, func(h analysis.Token) bool { return h.Pos == t.Axis })
		if i < 0 {
			out = out.Add(x.position(t.Axis).Mul(ir.SymVal(t.K)))
			continue
		}
		by[i] = t.K
	}
	if by[0].IsInt(0) || !by[0].Add(by[1]).IsInt(0) {
		return nil
	}
	x.beside = true
	row, key := x.token[here[0].Pos].Ix(), x.token[here[1].Pos].Ix()
	switch {
	case by[0].IsInt(1):
		return row.Sub(key).Add(out)
	case by[1].IsInt(1):
		return key.Sub(row).Add(out)
	}
	return row.Sub(key).Mul(ir.SymVal(by[0])).Add(out)
}

// nearby is an expression in which comparisons of how far two positions lie apart either way are two comparisons: kernels of
// attention see where such hold.
func nearby(x *ir.Scalar) *ir.Scalar {
	if x.Op < ir.OpLt || x.Op > ir.OpGe || x.Args[0].DType != tensor.I64 {
		return x
	}
	a, b, op := x.Args[0], x.Args[1], x.Op
	if b.Op == ir.OpAbs { // the other way round
		a, b = b, a
		op = [...]ir.ScalarOp{ir.OpGt, ir.OpGe, ir.OpLt, ir.OpLe}[op-ir.OpLt]
	}
	if a.Op != ir.OpAbs {
		return x
	}
	d := a.Args[0]
	if _, ok := analysis.AffineOf(d); !ok {
		return x
	}
	one, other := ir.Binary(op, d, b), ir.Binary(op, ir.IntLit(0).Sub(d), b)
	if op == ir.OpLt || op == ir.OpLe {
		return one.And(other)
	}
	return one.Or(other)
}

// diagonals gives what a value is by how far two tokens lie apart, with the key's place less the row's counted from one less than twice
// the number of tokens on. No two tokens of a sequence lie further apart than the most that it has: of others there is what is there,
// which the mask hides as it does that.
func (u *unpadding) diagonals(v *ir.Value, at diagonal, n sym.Expr) *ir.Program {
	t, _ := v.Tensor()
	p := u.program("diagonals")
	x := p.param("X", v)
	var i []*ir.Axis
	for k, d := range t.Dims {
		if k != at.row && k != at.key {
			i = append(i, &ir.Axis{Extent: d})
		}
	}
	by := &ir.Axis{Extent: n.Mul(sym.Const(3))}
	most := ir.SymVal(u.Seq.Sub(sym.Const(1)))
	away := by.Ix().Sub(ir.SymVal(n.Mul(sym.Const(2)).Sub(sym.Const(1)))).Min(most).Max(ir.IntLit(0).Sub(most))
	var index []*ir.Scalar
	for k := range t.Dims {
		switch k {
		case at.row:
			index = append(index, ir.IntLit(0).Sub(away).Max(ir.IntLit(0)))
		case at.key:
			index = append(index, away.Max(ir.IntLit(0)))
		default:
			index = append(index, i[len(index)-less(at, k)].Ix())
		}
	}
	return p.gives(p.each("D", append(i, by), ir.Load(x, index...)))
}

// less is how many of the two dims are in front of one.
func less(at diagonal, k int) (n int) {
	for _, d := range []int{at.row, at.key} {
		if d < k {
			n++
		}
	}
	return n
}

// begins counts in each sequence the tokens that have none in front of them.
func (p parts) begins(mask *ir.Buffer) *ir.Buffer {
	b, s := axesOf(p.u.Batch), axesOf(p.u.Seq)
	i, j := b[0].Ix(), s[0].Ix()
	first := j.Eq(ir.IntLit(0))
	before := ir.Guard(first, ir.Lit(tensor.Bool, 0), has(mask, i, j.Sub(ir.IntLit(1))))
	return p.over("begins", b, ir.Sum, s, has(mask, i, j).And(before.Not()).To(tensor.I64))
}
