package ir

import (
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// ScalarOp is the kind of a scalar expression node.
type ScalarOp uint8

// Scalar operations. Arithmetic takes operands of one type and gives that type; it
// is defined for f32, f64, the integers (wrapping), c64 and c128 where it makes
// sense. The small float types occur in loads and casts alone: arithmetic on them
// is arithmetic in f32 between casts.
const (
	OpLit   ScalarOp = iota // a literal: Lit
	OpAxis                  // the position along Axis, i64
	OpSym                   // the value of Sym, i64
	OpLoad                  // Buf[Args...], Args are i64
	OpBcast                 // Args[0], or 0 where Args[1] is 1 and Args[2] is not: see Bcast
	OpGuard                 // Args[0] ? Args[1] : Args[2]; Args[1] is not evaluated where Args[0] is false
	OpCast                  // Args[0] converted to DType as ONNX Cast does, under CastOpts

	OpAdd
	OpSub
	OpMul
	OpDiv      // integers: towards zero; by zero gives 0
	OpFloorDiv // integers, towards minus infinity; by zero gives 0
	OpMod      // sign of the divisor; by zero gives 0 for integers
	OpRem      // sign of the dividend (C's fmod)
	OpPow
	OpMin // NaN if either is
	OpMax // NaN if either is
	OpAtan2

	OpNeg
	OpAbs
	OpSqrt
	OpExp
	OpLog
	OpLog1p
	OpExpm1
	OpSin
	OpCos
	OpTan
	OpAsin
	OpAcos
	OpAtan
	OpSinh
	OpCosh
	OpTanh
	OpAsinh
	OpAcosh
	OpAtanh
	OpErf
	OpFloor
	OpCeil
	OpRound // half to even
	OpTrunc
	OpIsNaN // gives bool

	OpAnd // bool and integers, bitwise
	OpOr
	OpXor
	OpNot
	OpShl // by at least the width gives 0
	OpShr // logical on unsigned, arithmetic on signed

	OpEq // comparisons give bool
	OpNe
	OpLt
	OpLe
	OpGt
	OpGe

	OpSelect // Args[0] ? Args[1] : Args[2], all evaluated

	OpComplex // (re, im): f32 to c64, f64 to c128
	OpReal
	OpImag

	numScalarOps
)

var scalarNames = [numScalarOps]string{
	OpLit: "lit", OpAxis: "axis", OpSym: "sym", OpLoad: "load", OpBcast: "bcast", OpGuard: "guard", OpCast: "cast",
	OpAdd: "add", OpSub: "sub", OpMul: "mul", OpDiv: "div", OpFloorDiv: "floordiv", OpMod: "mod", OpRem: "rem",
	OpPow: "pow", OpMin: "min", OpMax: "max", OpAtan2: "atan2", OpNeg: "neg", OpAbs: "abs", OpSqrt: "sqrt",
	OpExp: "exp", OpLog: "log", OpLog1p: "log1p", OpExpm1: "expm1", OpSin: "sin", OpCos: "cos", OpTan: "tan",
	OpAsin: "asin", OpAcos: "acos", OpAtan: "atan", OpSinh: "sinh", OpCosh: "cosh", OpTanh: "tanh",
	OpAsinh: "asinh", OpAcosh: "acosh", OpAtanh: "atanh", OpErf: "erf", OpFloor: "floor", OpCeil: "ceil",
	OpRound: "round", OpTrunc: "trunc", OpIsNaN: "isnan", OpAnd: "and", OpOr: "or", OpXor: "xor", OpNot: "not",
	OpShl: "shl", OpShr: "shr", OpEq: "eq", OpNe: "ne", OpLt: "lt", OpLe: "le", OpGt: "gt", OpGe: "ge",
	OpSelect: "select", OpComplex: "complex", OpReal: "real", OpImag: "imag",
}

func (o ScalarOp) String() string { return scalarNames[o] }

// ScalarOpByName finds an operation by the name String gives.
func ScalarOpByName(name string) (ScalarOp, bool) {
	for i, n := range scalarNames {
		if n == name {
			return ScalarOp(i), true
		}
	}
	return 0, false
}

// Arity is the number of operands; -1 for a load, which has one for each dim.
func (o ScalarOp) Arity() int {
	switch {
	case o <= OpSym:
		return 0
	case o == OpLoad:
		return -1
	case o == OpBcast || o == OpGuard || o == OpSelect:
		return 3
	case o == OpCast || o >= OpNeg && o <= OpIsNaN || o == OpNot || o == OpReal || o == OpImag:
		return 1
	}
	return 2
}

// Compares says whether the operation takes two operands of one type and gives bool.
func (o ScalarOp) Compares() bool { return o >= OpEq && o <= OpGe }

// Scalar is a node of a scalar expression: what one point of a stage computes.
// Nodes are immutable and may be shared.
type Scalar struct {
	Op    ScalarOp
	DType tensor.DType
	Args  []*Scalar

	Lit  *tensor.Tensor  // OpLit: rank 0
	Axis *Axis           // OpAxis
	Sym  sym.Expr        // OpSym
	Buf  *Buffer         // OpLoad
	Cast tensor.CastOpts // OpCast
}

// Axis is a loop of a stage: it runs over 0 .. Extent-1.
type Axis struct {
	Name   string // unique in its stage
	Extent sym.Expr
}

// Ix is the position along the axis, as an i64 expression.
func (a *Axis) Ix() *Scalar { return &Scalar{Op: OpAxis, DType: tensor.I64, Axis: a} }

// SymVal is a symbolic integer as an i64 expression.
func SymVal(e sym.Expr) *Scalar {
	if n, ok := e.Int(); ok {
		return IntLit(n)
	}
	return &Scalar{Op: OpSym, DType: tensor.I64, Sym: e}
}

// IntLit is an i64 literal.
func IntLit(n int64) *Scalar { return Lit(tensor.I64, float64(n)).withInt(n) }

func (x *Scalar) withInt(n int64) *Scalar { x.Lit.SetInt(0, n); return x }

// Lit is a literal of any numeric type or bool, v rounded to that type.
func Lit(d tensor.DType, v float64) *Scalar {
	t := tensor.New(d)
	switch {
	case d == tensor.Bool:
		t.SetBool(0, v != 0)
	case d.IsComplex():
		t.SetComplex(0, complex(v, 0))
	case d.IsInt():
		t.SetInt(0, int64(v))
	default:
		t.SetFloat(0, v)
	}
	return &Scalar{Op: OpLit, DType: d, Lit: t}
}

// LitOf is the literal that element i of t is.
func LitOf(t *tensor.Tensor, i int64) *Scalar {
	l := tensor.New(t.DType())
	switch d := t.DType(); {
	case d == tensor.String:
		l.SetStr(0, t.Str(i))
	case d == tensor.Bool:
		l.SetBool(0, t.Bool(i))
	case d.IsComplex():
		l.SetComplex(0, t.Complex(i))
	case d.IsInt():
		l.SetInt(0, t.Int(i))
	default:
		l.SetFloat(0, t.Float(i))
	}
	return &Scalar{Op: OpLit, DType: t.DType(), Lit: l}
}

// Load reads buf at an index of one i64 expression for each dim.
func Load(buf *Buffer, index ...*Scalar) *Scalar {
	return &Scalar{Op: OpLoad, DType: buf.DType, Buf: buf, Args: index}
}

// Bcast is ix, or 0 where dim is 1 and extent is not: how an operand of extent dim is read
// where ix runs over a dim of that extent, over which it may be broadcast. A run in which
// dim is neither 1 nor the extent ends with an error. Dims that decide it fold it.
func Bcast(ix *Scalar, dim, extent sym.Expr) *Scalar {
	if dim.IsInt(1) {
		return IntLit(0)
	}
	if n, ok := dim.Int(); dim.Equal(extent) || ok && n != 1 {
		return ix
	}
	return &Scalar{Op: OpBcast, DType: tensor.I64, Args: []*Scalar{ix, SymVal(dim), SymVal(extent)}}
}

// Symbolic gives the value of a node that is a symbolic integer or an i64 literal.
func (x *Scalar) Symbolic() (sym.Expr, bool) {
	if x.Op == OpSym {
		return x.Sym, true
	}
	n, ok := x.AsInt()
	return sym.Const(n), ok
}

// Guard is load where cond holds; elsewhere els, and load is not evaluated.
func Guard(cond, load, els *Scalar) *Scalar {
	return &Scalar{Op: OpGuard, DType: load.DType, Args: []*Scalar{cond, load, els}}
}

// Select is a where cond holds, else b.
func Select(cond, a, b *Scalar) *Scalar {
	return &Scalar{Op: OpSelect, DType: a.DType, Args: []*Scalar{cond, a, b}}
}

// Cast converts x as ONNX Cast does; to its own type it is x.
func Cast(x *Scalar, d tensor.DType, o tensor.CastOpts) *Scalar {
	if x.DType == d {
		return x
	}
	return &Scalar{Op: OpCast, DType: d, Args: []*Scalar{x}, Cast: o}
}

// To is Cast with the default options.
func (x *Scalar) To(d tensor.DType) *Scalar { return Cast(x, d, tensor.CastOpts{}) }

// Unary applies an operation of one operand.
func Unary(op ScalarOp, x *Scalar) *Scalar {
	d := x.DType
	switch op {
	case OpIsNaN:
		d = tensor.Bool
	case OpReal, OpImag:
		d = realOf(d)
	case OpAbs:
		d = realOf(d)
	}
	return &Scalar{Op: op, DType: d, Args: []*Scalar{x}}
}

// Binary applies an operation of two operands.
func Binary(op ScalarOp, x, y *Scalar) *Scalar {
	d := x.DType
	switch {
	case op.Compares():
		d = tensor.Bool
	case op == OpComplex && d == tensor.F64:
		d = tensor.C128
	case op == OpComplex:
		d = tensor.C64
	}
	return &Scalar{Op: op, DType: d, Args: []*Scalar{x, y}}
}

func realOf(d tensor.DType) tensor.DType {
	switch d {
	case tensor.C64:
		return tensor.F32
	case tensor.C128:
		return tensor.F64
	}
	return d
}

// Lit is a literal of x's type.
func (x *Scalar) Const(v float64) *Scalar { return Lit(x.DType, v) }

// The arithmetic reads better as methods.

func (x *Scalar) Add(y *Scalar) *Scalar      { return foldInt(OpAdd, x, y) }
func (x *Scalar) Sub(y *Scalar) *Scalar      { return foldInt(OpSub, x, y) }
func (x *Scalar) Mul(y *Scalar) *Scalar      { return foldInt(OpMul, x, y) }
func (x *Scalar) Div(y *Scalar) *Scalar      { return Binary(OpDiv, x, y) }
func (x *Scalar) FloorDiv(y *Scalar) *Scalar { return Binary(OpFloorDiv, x, y) }
func (x *Scalar) Mod(y *Scalar) *Scalar      { return Binary(OpMod, x, y) }
func (x *Scalar) Min(y *Scalar) *Scalar      { return Binary(OpMin, x, y) }
func (x *Scalar) Max(y *Scalar) *Scalar      { return Binary(OpMax, x, y) }
func (x *Scalar) Pow(y *Scalar) *Scalar      { return Binary(OpPow, x, y) }
func (x *Scalar) And(y *Scalar) *Scalar      { return Binary(OpAnd, x, y) }
func (x *Scalar) Or(y *Scalar) *Scalar       { return Binary(OpOr, x, y) }
func (x *Scalar) Eq(y *Scalar) *Scalar       { return Binary(OpEq, x, y) }
func (x *Scalar) Ne(y *Scalar) *Scalar       { return Binary(OpNe, x, y) }
func (x *Scalar) Lt(y *Scalar) *Scalar       { return Binary(OpLt, x, y) }
func (x *Scalar) Le(y *Scalar) *Scalar       { return Binary(OpLe, x, y) }
func (x *Scalar) Gt(y *Scalar) *Scalar       { return Binary(OpGt, x, y) }
func (x *Scalar) Ge(y *Scalar) *Scalar       { return Binary(OpGe, x, y) }
func (x *Scalar) Neg() *Scalar               { return Unary(OpNeg, x) }
func (x *Scalar) Abs() *Scalar               { return Unary(OpAbs, x) }
func (x *Scalar) Exp() *Scalar               { return Unary(OpExp, x) }
func (x *Scalar) Log() *Scalar               { return Unary(OpLog, x) }
func (x *Scalar) Sqrt() *Scalar              { return Unary(OpSqrt, x) }
func (x *Scalar) Tanh() *Scalar              { return Unary(OpTanh, x) }
func (x *Scalar) Erf() *Scalar               { return Unary(OpErf, x) }
func (x *Scalar) Floor() *Scalar             { return Unary(OpFloor, x) }
func (x *Scalar) Ceil() *Scalar              { return Unary(OpCeil, x) }
func (x *Scalar) Not() *Scalar               { return Unary(OpNot, x) }
func (x *Scalar) IsNaN() *Scalar             { return Unary(OpIsNaN, x) }

// AsInt gives the value of an i64 literal.
func (x *Scalar) AsInt() (int64, bool) {
	if x.Op == OpLit && x.DType == tensor.I64 {
		return x.Lit.Int(0), true
	}
	return 0, false
}

// foldInt keeps index arithmetic small: it folds i64 literals and drops x+0, x-0, x*1, and
// sizes and positions times 0.
func foldInt(op ScalarOp, x, y *Scalar) *Scalar {
	if x.DType == tensor.I64 {
		a, aok := x.AsInt()
		b, bok := y.AsInt()
		switch {
		case aok && bok && op == OpAdd:
			return IntLit(a + b)
		case aok && bok && op == OpSub:
			return IntLit(a - b)
		case aok && bok && op == OpMul:
			return IntLit(a * b)
		case bok && b == 0 && (op == OpAdd || op == OpSub), bok && b == 1 && op == OpMul:
			return x
		case aok && a == 0 && op == OpAdd, aok && a == 1 && op == OpMul:
			return y
		case aok && a == 0 && op == OpMul && (y.Op == OpSym || y.Op == OpAxis):
			return x
		case bok && b == 0 && op == OpMul && (x.Op == OpSym || x.Op == OpAxis):
			return y
		}
	}
	return Binary(op, x, y)
}

// Walk visits x and everything below it, parents first, each node once however often it
// is used; below a node for which f returns false it does not go.
func (x *Scalar) Walk(f func(*Scalar) bool) {
	var seen made[bool]
	x.walk(f, &seen)
}

func (x *Scalar) walk(f func(*Scalar) bool, seen *made[bool]) {
	if _, ok := seen.get(x); ok {
		return
	}
	seen.put(x, true)
	if f(x) {
		for _, a := range x.Args {
			a.walk(f, seen)
		}
	}
}

// Rewrite replaces nodes bottom-up: f gets each node with its operands already
// replaced, and gives what stands in its place. A node that is used several times is
// replaced once, and stays shared.
func (x *Scalar) Rewrite(f func(*Scalar) *Scalar) *Scalar {
	var done made[*Scalar]
	return x.rewrite(f, &done)
}

func (x *Scalar) rewrite(f func(*Scalar) *Scalar, done *made[*Scalar]) *Scalar {
	if r, ok := done.get(x); ok {
		return r
	}
	n := x
	for i, a := range x.Args {
		if r := a.rewrite(f, done); r != a {
			if n == x {
				c := *x
				c.Args = append([]*Scalar(nil), x.Args...)
				n = &c
			}
			n.Args[i] = r
		}
	}
	r := f(n)
	done.put(x, r)
	return r
}

// made is what was made of scalars. The first ones lie in a list, which most expressions fit into, and which takes no
// memory from Go.
type made[T any] struct {
	n    int
	of   [24]*Scalar
	is   [24]T
	more map[*Scalar]T
}

func (m *made[T]) get(x *Scalar) (v T, ok bool) {
	for i, y := range m.of[:m.n] {
		if x == y {
			return m.is[i], true
		}
	}
	v, ok = m.more[x]
	return v, ok
}

func (m *made[T]) put(x *Scalar, v T) {
	if m.n < len(m.of) {
		m.of[m.n], m.is[m.n] = x, v
		m.n++
		return
	}
	if m.more == nil {
		m.more = map[*Scalar]T{}
	}
	m.more[x] = v
}
