package ir

import (
	"fmt"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Fold rewrites the expressions of a program by what is known of symbols, and of the
// positions along axes: conditions that are decided go away, and so does integer
// arithmetic that comes to something simpler.
func (p *Program) Fold(ctx *sym.Context) {
	for _, s := range p.Stages {
		if foldable(s) {
			f := &folder{ctx: ctx, stage: s, value: map[*Scalar]sym.Expr{}}
			s.Rewrite(f.node)
		}
	}
}

// foldable says whether a stage has something that may be decided: a float alone, read
// at plain positions, has not.
func foldable(s *Stage) bool {
	found := false
	s.Walk(func(x *Scalar) bool {
		switch x.Op {
		case OpBcast, OpGuard, OpSelect:
			found = true
		case OpLit, OpAxis, OpSym, OpLoad:
		default:
			d := x.DType
			if len(x.Args) > 0 && x.Op != OpCast {
				d = x.Args[0].DType
			}
			found = found || d.IsInt() || d == tensor.Bool
		}
		return !found
	})
	return found
}

type folder struct {
	ctx   *sym.Context
	stage *Stage
	inner *sym.Context // knows the extents of axes, too; made when it is needed
	value map[*Scalar]sym.Expr
}

// position is the symbol that stands for the position along an axis: no symbol of a model
// has such a name.
func position(i int) string { return fmt.Sprintf("#%d", i) }

func (f *folder) within() *sym.Context {
	if f.inner == nil {
		f.inner = f.ctx.Clone()
		for i, a := range f.stage.AllAxes() {
			// Where an extent is 0 there is no point: what is concluded holds of none.
			_ = f.inner.AssumeLE(sym.Var(position(i)), a.Extent.Sub(sym.Const(1)))
		}
	}
	return f.inner
}

// symbolic gives an integer node as an expression of symbols and positions, whose value
// does not wrap around.
func (f *folder) symbolic(x *Scalar) (sym.Expr, bool) {
	if !x.DType.IsInt() {
		return sym.Expr{}, false
	}
	if e, ok := f.value[x]; ok {
		return e, e.Err() == nil
	}
	e, ok := f.evaluate(x)
	if ok && e.Size() > 32 {
		ok = false
	}
	if ok && x.DType != tensor.I64 {
		lo, hi := f.within().Bounds(e)
		ok = fitsDType(lo, hi, x.DType)
	}
	if !ok {
		e = sym.Const(1).FloorDiv(sym.Const(0)) // no value
	}
	f.value[x] = e
	return e, ok
}

func (f *folder) evaluate(x *Scalar) (e sym.Expr, ok bool) {
	switch x.Op {
	case OpLit:
		return sym.Const(x.Lit.Int(0)), true
	case OpSym:
		return x.Sym, true
	case OpAxis:
		for i, a := range f.stage.AllAxes() {
			if a == x.Axis {
				return sym.Var(position(i)), true
			}
		}
		return e, false
	case OpCast:
		return f.symbolic(x.Args[0])
	case OpNeg:
		e, ok = f.symbolic(x.Args[0])
		return e.Neg(), ok
	case OpAdd, OpSub, OpMul, OpMin, OpMax, OpDiv, OpFloorDiv, OpMod, OpRem:
	default:
		return e, false
	}
	a, ok1 := f.symbolic(x.Args[0])
	b, ok2 := f.symbolic(x.Args[1])
	if !ok1 || !ok2 {
		return e, false
	}
	switch x.Op {
	case OpAdd:
		e = a.Add(b)
	case OpSub:
		e = a.Sub(b)
	case OpMul:
		e = a.Mul(b)
	case OpMin:
		e = a.Min(b)
	case OpMax:
		e = a.Max(b)
	default:
		if lo, _ := f.within().Bounds(b); lo <= 0 {
			return e, false
		}
		if x.Op == OpDiv || x.Op == OpRem { // these agree with floor semantics on what is not negative
			if lo, _ := f.within().Bounds(a); lo < 0 {
				return e, false
			}
		}
		if x.Op == OpDiv || x.Op == OpFloorDiv {
			e = a.FloorDiv(b)
		} else {
			e = a.Mod(b)
		}
	}
	return e, e.Err() == nil
}

// node folds a node whose operands are folded.
func (f *folder) node(x *Scalar) *Scalar {
	switch {
	case x.Op.Compares() && x.Args[0].DType.IsInt():
		a, ok1 := f.symbolic(x.Args[0])
		b, ok2 := f.symbolic(x.Args[1])
		if ok1 && ok2 {
			if t := f.compare(x.Op, a, b); t != sym.Unknown {
				return boolLit(t == sym.True)
			}
		}
	case x.DType == tensor.Bool && (x.Op == OpAnd || x.Op == OpOr):
		for i, a := range x.Args {
			if b, ok := asBool(a); ok {
				if b == (x.Op == OpOr) {
					return a
				}
				return x.Args[1-i]
			}
		}
	case x.Op == OpNot && x.DType == tensor.Bool:
		if b, ok := asBool(x.Args[0]); ok {
			return boolLit(!b)
		}
	case x.Op == OpSelect || x.Op == OpGuard:
		if b, ok := asBool(x.Args[0]); ok {
			if b {
				return x.Args[1]
			}
			return x.Args[2]
		}
		if x.Args[1] == x.Args[2] {
			return x.Args[1]
		}
	case x.Op == OpBcast:
		return f.bcast(x)
	case x.Op == OpCast && x.DType == tensor.Bool && x.Args[0].DType.IsInt():
		if a, ok := f.symbolic(x.Args[0]); ok {
			if t := f.compare(OpNe, a, sym.Expr{}); t != sym.Unknown {
				return boolLit(t == sym.True)
			}
		}
	case x.Op != OpLit && x.Op != OpAxis && x.Op != OpSym && x.DType.IsInt():
		return f.integer(x)
	}
	return x
}

func (f *folder) compare(op ScalarOp, a, b sym.Expr) sym.Truth {
	ctx := f.ctx
	decide := func() sym.Truth {
		switch op {
		case OpEq:
			return ctx.Equal(a, b)
		case OpNe:
			return negated(ctx.Equal(a, b))
		case OpLe:
			return ctx.LE(a, b)
		case OpLt:
			return ctx.LT(a, b)
		case OpGe:
			return ctx.LE(b, a)
		}
		return ctx.LT(b, a)
	}
	t := decide()
	if t == sym.Unknown {
		ctx = f.within()
		t = decide()
	}
	return t
}

func negated(t sym.Truth) sym.Truth {
	switch t {
	case sym.True:
		return sym.False
	case sym.False:
		return sym.True
	}
	return t
}

// bcast decides whether a dim is repeated.
func (f *folder) bcast(x *Scalar) *Scalar {
	dim, ok1 := x.Args[1].Symbolic()
	extent, ok2 := x.Args[2].Symbolic()
	if !ok1 || !ok2 {
		return x
	}
	switch {
	case f.ctx.Equal(dim, sym.Const(1)) == sym.True:
		return IntLit(0)
	case f.ctx.Equal(dim, extent) == sym.True, f.ctx.LE(sym.Const(2), dim) == sym.True:
		return x.Args[0]
	}
	return x
}

// integer writes integer arithmetic in fewer steps where it comes to that.
func (f *folder) integer(x *Scalar) *Scalar {
	e, ok := f.symbolic(x)
	if !ok {
		return x
	}
	e = f.within().Simplify(e)
	n := f.scalar(e, x.DType)
	if n == nil || nodes(n) >= nodes(x) {
		return x
	}
	f.value[n] = e
	return n
}

func nodes(x *Scalar) int {
	n := 0
	x.Walk(func(*Scalar) bool { n++; return true })
	return n
}

// scalar writes an expression over symbols and positions as a node of type d, nil where it
// has no value.
func (f *folder) scalar(e sym.Expr, d tensor.DType) *Scalar {
	if e.Err() != nil {
		return nil
	}
	if n, ok := e.Int(); ok {
		return Lit(d, 0).withInt(n)
	}
	binary := func(op ScalarOp, of func(a, b sym.Expr) sym.Expr) func(a, b *Scalar) *Scalar {
		return func(a, b *Scalar) *Scalar {
			x, ok1 := a.Symbolic()
			y, ok2 := b.Symbolic()
			if ok1 && ok2 {
				return SymVal(of(x, y))
			}
			return foldInt(op, a, b)
		}
	}
	mul, plus := binary(OpMul, sym.Expr.Mul), binary(OpAdd, sym.Expr.Add)
	return sym.Fold(e, sym.Algebra[*Scalar]{
		Const: IntLit,
		Symbol: func(name string) *Scalar {
			for i, a := range f.stage.AllAxes() {
				if name == position(i) {
					return a.Ix()
				}
			}
			return SymVal(sym.Var(name))
		},
		Add: func(a, b *Scalar) *Scalar {
			if b.Op == OpMul {
				if n, ok := b.Args[0].AsInt(); ok && n == -1 {
					return a.Sub(b.Args[1])
				}
			}
			if _, ok := b.Symbolic(); ok && a.Op == OpAdd { // terms without positions are one
				if _, ok := a.Args[1].Symbolic(); ok {
					return a.Args[0].Add(plus(a.Args[1], b))
				}
			}
			return plus(a, b)
		},
		Mul:      mul,
		FloorDiv: binary(OpFloorDiv, sym.Expr.FloorDiv), Mod: binary(OpMod, sym.Expr.Mod),
		Min: binary(OpMin, sym.Expr.Min), Max: binary(OpMax, sym.Expr.Max),
	}).To(d)
}

func boolLit(b bool) *Scalar {
	v := 0.0
	if b {
		v = 1
	}
	return Lit(tensor.Bool, v)
}

func asBool(x *Scalar) (value, ok bool) {
	if x.Op != OpLit || x.DType != tensor.Bool {
		return false, false
	}
	return x.Lit.Bool(0), true
}

// fitsDType says whether all of lo .. hi are values of an integer type.
func fitsDType(lo, hi int64, d tensor.DType) bool {
	if d == tensor.I64 || d == tensor.Bool {
		return true // dims and what is computed of them trap overflow themselves
	}
	bits := d.Bits()
	if d.IsSigned() {
		return lo >= -1<<(bits-1) && hi < 1<<(bits-1)
	}
	return lo >= 0 && (bits == 64 || hi < 1<<bits)
}
