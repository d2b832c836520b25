package interp

import (
	"math"
	"math/cmplx"

	"github.com/pitopt/pitopt/core/ir"
)

// floatFunctions are the functions of one float.
var floatFunctions = map[ir.ScalarOp]func(float64) float64{
	ir.OpSqrt:  math.Sqrt,
	ir.OpExp:   math.Exp,
	ir.OpLog:   math.Log,
	ir.OpLog1p: math.Log1p,
	ir.OpExpm1: math.Expm1,
	ir.OpSin:   math.Sin,
	ir.OpCos:   math.Cos,
	ir.OpTan:   math.Tan,
	ir.OpAsin:  math.Asin,
	ir.OpAcos:  math.Acos,
	ir.OpAtan:  math.Atan,
	ir.OpSinh:  math.Sinh,
	ir.OpCosh:  math.Cosh,
	ir.OpTanh:  math.Tanh,
	ir.OpAsinh: math.Asinh,
	ir.OpAcosh: math.Acosh,
	ir.OpAtanh: math.Atanh,
	ir.OpErf:   math.Erf,
	ir.OpFloor: math.Floor,
	ir.OpCeil:  math.Ceil,
	ir.OpRound: math.RoundToEven,
	ir.OpTrunc: math.Trunc,
}

// floatFunctions2 are the functions of two floats.
var floatFunctions2 = map[ir.ScalarOp]func(a, b float64) float64{
	ir.OpPow:      math.Pow,
	ir.OpAtan2:    math.Atan2,
	ir.OpRem:      math.Mod,
	ir.OpFloorDiv: func(a, b float64) float64 { return math.Floor(a / b) },
	ir.OpMod: func(a, b float64) float64 {
		r := math.Mod(a, b)
		switch {
		case r == 0:
			return math.Copysign(0, b)
		case (r < 0) != (b < 0):
			return r + b
		}
		return r
	},
}

// complexFunctions are the functions of one complex number.
var complexFunctions = map[ir.ScalarOp]func(complex128) complex128{
	ir.OpSqrt:  cmplx.Sqrt,
	ir.OpExp:   cmplx.Exp,
	ir.OpLog:   cmplx.Log,
	ir.OpSin:   cmplx.Sin,
	ir.OpCos:   cmplx.Cos,
	ir.OpTan:   cmplx.Tan,
	ir.OpAsin:  cmplx.Asin,
	ir.OpAcos:  cmplx.Acos,
	ir.OpAtan:  cmplx.Atan,
	ir.OpSinh:  cmplx.Sinh,
	ir.OpCosh:  cmplx.Cosh,
	ir.OpTanh:  cmplx.Tanh,
	ir.OpAsinh: cmplx.Asinh,
	ir.OpAcosh: cmplx.Acosh,
	ir.OpAtanh: cmplx.Atanh,
}
