package op

import "github.com/pitopt/pitopt/core/ir"

// Relu is max(x, 0); a NaN stays.
var Relu = unary("onnx.Relu", since(1, 6, 13, 14), signedNums, "max(x, 0)",
	func(c *ir.Call, x *ir.Scalar) *ir.Scalar { return x.Max(x.Const(0)) })
