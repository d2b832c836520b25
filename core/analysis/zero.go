package analysis

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// ZeroRule says that where a stage reads a zero from Buffer, the point it computes is zero
// (of a map), or adds nothing (of a sum): provided that what it reads from Finite at that
// point is finite, since zero times infinity is not zero.
type ZeroRule struct {
	Buffer *ir.Buffer
	Finite []*ir.Buffer
}

// ZeroRules finds the rules of a stage by evaluating its expression with the loads of one
// buffer replaced by zero. Nobody writes such a rule down.
func ZeroRules(s *ir.Stage) []ZeroRule {
	if s.Kind != ir.MapStage && (s.Kind != ir.ReduceStage || s.Monoid != ir.Sum) {
		return nil
	}
	var rules []ZeroRule
	for _, b := range s.Reads() {
		e := &zeroEval{buf: b, done: map[*ir.Scalar]folded{}}
		if v := e.eval(s.Exprs[0]); v.known && v.value == 0 {
			rules = append(rules, ZeroRule{b, v.finite})
		}
	}
	return rules
}

// folded is what is known of a node once a buffer reads as zero. finite are the buffers
// that must be finite for it to hold.
type folded struct {
	known  bool
	value  float64 // a truth value is 0 or 1
	finite []*ir.Buffer
}

type zeroEval struct {
	buf  *ir.Buffer
	done map[*ir.Scalar]folded
}

func (e *zeroEval) eval(x *ir.Scalar) folded {
	v, ok := e.done[x]
	if !ok {
		v = e.fold(x)
		e.done[x] = v
	}
	return v
}

func (e *zeroEval) fold(x *ir.Scalar) folded {
	if x.DType.IsComplex() || x.DType == tensor.String {
		return folded{}
	}
	switch x.Op {
	case ir.OpLit:
		return folded{known: true, value: x.Lit.Float(0)}
	case ir.OpLoad:
		return folded{known: x.Buf == e.buf}
	case ir.OpAxis, ir.OpSym, ir.OpBcast:
		return folded{}
	case ir.OpGuard, ir.OpSelect:
		return e.choice(x)
	}
	args := make([]folded, len(x.Args))
	out := folded{known: true}
	for i, a := range x.Args {
		args[i] = e.eval(a)
		out.known = out.known && args[i].known
		out.finite = union(out.finite, args[i].finite)
	}
	if !out.known {
		return e.absorb(x, args)
	}
	switch x.Op {
	case ir.OpCast:
		out.value = args[0].value
		if x.DType != tensor.Bool && x.DType != tensor.F32 && x.DType != tensor.F64 && out.value != 0 || x.DType == tensor.F8E8M0 {
			return folded{} // rounding, wrapping; f8e8m0 has no zero
		}
		if x.DType == tensor.Bool && out.value != 0 {
			out.value = 1
		}
		return out
	}
	if len(args) == 1 {
		out.value, out.known = unaryOf(x.Op, args[0].value)
	} else {
		out.value, out.known = binaryOf(x.Op, args[0].value, args[1].value, x.DType.IsFloat())
	}
	if out.value != out.value {
		return folded{}
	}
	return out
}

// choice is known where both branches are the same, or the condition is known.
func (e *zeroEval) choice(x *ir.Scalar) folded {
	c, a, b := e.eval(x.Args[0]), e.eval(x.Args[1]), e.eval(x.Args[2])
	switch {
	case c.known && c.value != 0:
		return folded{a.known, a.value, union(c.finite, a.finite)}
	case c.known:
		return folded{b.known, b.value, union(c.finite, b.finite)}
	}
	return folded{a.known && b.known && a.value == b.value, a.value, union(a.finite, b.finite)}
}

// absorb is what one known operand says alone: zero times something finite, and false.
func (e *zeroEval) absorb(x *ir.Scalar, args []folded) folded {
	if x.Op != ir.OpMul && x.Op != ir.OpAnd {
		return folded{}
	}
	for i, a := range args {
		if !a.known || a.value != 0 {
			continue
		}
		out := folded{known: true, finite: a.finite}
		other := x.Args[1-i]
		if x.DType.IsFloat() {
			if !loadsOnly(other) {
				return folded{} // it may be infinite although what it reads is finite
			}
			out.finite = union(out.finite, []*ir.Buffer{loadOf(other)})
		}
		return out
	}
	return folded{}
}

// loadsOnly says whether a factor is a load, converted or not, so that it is finite when
// what it reads is.
func loadsOnly(x *ir.Scalar) bool { return loadOf(x) != nil }

func loadOf(x *ir.Scalar) *ir.Buffer {
	switch {
	case x.Op == ir.OpCast && x.Args[0].DType.IsFloat() && x.DType.Bits() >= x.Args[0].DType.Bits():
		return loadOf(x.Args[0])
	case x.Op == ir.OpGuard && x.Args[2].Op == ir.OpLit && !math.IsInf(x.Args[2].Lit.Float(0), 0):
		return loadOf(x.Args[1])
	case x.Op == ir.OpLoad:
		return x.Buf
	}
	return nil
}

func union(a, b []*ir.Buffer) []*ir.Buffer {
	for _, x := range b {
		if !slices.Contains(a, x) {
			a = append(a[:len(a):len(a)], x)
		}
	}
	return a
}

// unaryOf computes an operation whose operand is known; false for those that need not be
// followed.
func unaryOf(op ir.ScalarOp, v float64) (float64, bool) {
	if f := unaries[op]; f != nil {
		return f(v), true
	}
	return 0, false
}

var unaries = map[ir.ScalarOp]func(float64) float64{
	ir.OpNeg: func(v float64) float64 { return -v }, ir.OpAbs: math.Abs, ir.OpSqrt: math.Sqrt, ir.OpExp: math.Exp,
	ir.OpLog: math.Log, ir.OpLog1p: math.Log1p, ir.OpExpm1: math.Expm1, ir.OpSin: math.Sin, ir.OpCos: math.Cos,
	ir.OpTan: math.Tan, ir.OpAsin: math.Asin, ir.OpAcos: math.Acos, ir.OpAtan: math.Atan, ir.OpSinh: math.Sinh,
	ir.OpCosh: math.Cosh, ir.OpTanh: math.Tanh, ir.OpAsinh: math.Asinh, ir.OpAcosh: math.Acosh, ir.OpAtanh: math.Atanh,
	ir.OpErf: math.Erf, ir.OpFloor: math.Floor, ir.OpCeil: math.Ceil, ir.OpRound: math.RoundToEven, ir.OpTrunc: math.Trunc,
	ir.OpIsNaN: func(v float64) float64 { return truth(v != v) },
}

func binaryOf(op ir.ScalarOp, a, b float64, float bool) (float64, bool) {
	switch op {
	case ir.OpAdd:
		return a + b, true
	case ir.OpSub:
		return a - b, true
	case ir.OpMul:
		return a * b, true
	case ir.OpDiv:
		if float {
			return a / b, true
		}
		return 0, a == 0 // integers: zero by anything is zero
	case ir.OpPow:
		return math.Pow(a, b), float
	case ir.OpMin:
		return math.Min(a, b), true
	case ir.OpMax:
		return math.Max(a, b), true
	case ir.OpEq:
		return truth(a == b), true
	case ir.OpNe:
		return truth(a != b), true
	case ir.OpLt:
		return truth(a < b), true
	case ir.OpLe:
		return truth(a <= b), true
	case ir.OpGt:
		return truth(a > b), true
	case ir.OpGe:
		return truth(a >= b), true
	}
	return 0, false
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
