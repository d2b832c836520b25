package ir

import "github.com/pitopt/pitopt/core/tensor"

// family is a set of kinds of element types that operations are defined for.
type family uint8

const (
	floatTypes family = 1 << iota
	intTypes
	boolTypes
	complexTypes
	stringTypes

	anyTypes = floatTypes | intTypes | boolTypes | complexTypes | stringTypes
)

func familyOf(d tensor.DType) family {
	switch {
	case d.IsFloat():
		return floatTypes
	case d.IsInt():
		return intTypes
	case d.IsComplex():
		return complexTypes
	case d == tensor.Bool:
		return boolTypes
	case d == tensor.String:
		return stringTypes
	}
	return 0
}

// takes says whether the operation is defined for operands of a type. What gives a
// result of another type is told by the verifier.
func (o ScalarOp) takes(d tensor.DType) bool {
	var of family
	switch o {
	case OpAdd, OpSub, OpMul, OpDiv, OpPow, OpNeg, OpAbs:
		of = floatTypes | intTypes | complexTypes
	case OpFloorDiv, OpMod, OpRem, OpFloor, OpCeil, OpRound, OpTrunc:
		of = floatTypes | intTypes
	case OpMin, OpMax:
		of = floatTypes | intTypes | boolTypes
	case OpAtan2, OpLog1p, OpExpm1, OpErf, OpComplex:
		of = floatTypes
	case OpSqrt, OpExp, OpLog, OpSin, OpCos, OpTan, OpAsin, OpAcos, OpAtan, OpSinh, OpCosh, OpTanh, OpAsinh, OpAcosh, OpAtanh:
		of = floatTypes | complexTypes
	case OpAnd, OpOr, OpXor, OpNot:
		of = intTypes | boolTypes
	case OpShl, OpShr:
		of = intTypes
	case OpLt, OpLe, OpGt, OpGe:
		of = floatTypes | intTypes | stringTypes
	case OpReal, OpImag:
		of = complexTypes
	default:
		of = anyTypes
	}
	return of&familyOf(d) != 0
}

// takes says whether the monoid is defined for expressions of these types.
func (m Monoid) takes(exprs []*Scalar) bool {
	var of family
	switch m {
	case Sum, Prod:
		of = floatTypes | intTypes | complexTypes
	case Max, Min:
		of = floatTypes | intTypes | boolTypes
	case And, Or:
		of = intTypes | boolTypes
	case ArgMax, ArgMin:
		of = floatTypes | intTypes
		if d := exprs[1].DType; d != tensor.I64 && d != tensor.I32 { // the position
			return false
		}
	case MeanVar:
		of = floatTypes
	case SoftmaxSum:
		of = floatTypes
		if familyOf(exprs[1].DType) != floatTypes { // the value that goes with the score
			return false
		}
	default:
		of = anyTypes
	}
	return of&familyOf(exprs[0].DType) != 0
}
