package op

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

type (
	call   = ir.Call
	scalar = ir.Scalar
)

func sigmoid(x *scalar) *scalar { return x.Const(1).Div(x.Const(1).Add(x.Neg().Exp())) }

// softplus is log(1 + exp(x)), computed so that it does not overflow.
func softplus(x *scalar) *scalar {
	return x.Max(x.Const(0)).Add(ir.Unary(ir.OpLog1p, x.Abs().Neg().Exp()))
}

// Activations: elementwise functions with parameters in attributes.
var (
	Relu = unary("onnx.Relu", since(1, 6, 13, 14), signedNums, "max(x, 0)",
		func(_ *call, x *scalar) *scalar { return x.Max(x.Const(0)) })
	LeakyRelu = unary("onnx.LeakyRelu", since(1, 6, 16), floats, "x, or alpha*x below 0",
		func(c *call, x *scalar) *scalar {
			return ir.Select(x.Lt(x.Const(0)), x.Mul(x.Const(c.Float("alpha"))), x)
		}, attr("alpha", 0.01))
	Elu = unary("onnx.Elu", since(1, 6, 22), floats, "x, or alpha*(exp(x)-1) below 0",
		func(c *call, x *scalar) *scalar {
			return ir.Select(x.Lt(x.Const(0)), x.Exp().Sub(x.Const(1)).Mul(x.Const(c.Float("alpha"))), x)
		}, attr("alpha", 1.0))
	Selu = unary("onnx.Selu", since(1, 6, 22), floats, "gamma * elu(x, alpha)",
		func(c *call, x *scalar) *scalar {
			a, g := x.Const(c.Float("alpha")), x.Const(c.Float("gamma"))
			return ir.Select(x.Gt(x.Const(0)), x, x.Exp().Mul(a).Sub(a)).Mul(g)
		}, attr("alpha", 1.67326319217681884765625), attr("gamma", 1.05070102214813232421875))
	Celu = unary("onnx.Celu", since(12), floats, "max(0,x) + min(0, alpha*(exp(x/alpha)-1))",
		func(c *call, x *scalar) *scalar {
			a := x.Const(c.Float("alpha"))
			return x.Max(x.Const(0)).Add(x.Div(a).Exp().Sub(x.Const(1)).Mul(a).Min(x.Const(0)))
		}, attr("alpha", 1.0))
	HardSigmoid = unary("onnx.HardSigmoid", since(1, 6, 22), floats, "alpha*x + beta, between 0 and 1",
		func(c *call, x *scalar) *scalar {
			return x.Mul(x.Const(c.Float("alpha"))).Add(x.Const(c.Float("beta"))).Min(x.Const(1)).Max(x.Const(0))
		}, attr("alpha", 0.2), attr("beta", 0.5))
	HardSwish = unary("onnx.HardSwish", since(14, 22), floats, "x * hardsigmoid(x, 1/6, 1/2)",
		func(_ *call, x *scalar) *scalar {
			return x.Mul(x.Mul(x.Const(1.0 / 6)).Add(x.Const(0.5)).Min(x.Const(1)).Max(x.Const(0)))
		})
	Sigmoid  = unary("onnx.Sigmoid", since(1, 6, 13), floats, "1/(1+exp(-x))", func(_ *call, x *scalar) *scalar { return sigmoid(x) })
	Softplus = unary("onnx.Softplus", since(1, 22), floats, "log(1+exp(x))", func(_ *call, x *scalar) *scalar { return softplus(x) })
	Softsign = unary("onnx.Softsign", since(1, 22), floats, "x/(1+|x|)",
		func(_ *call, x *scalar) *scalar { return x.Div(x.Const(1).Add(x.Abs())) })
	ThresholdedRelu = unary("onnx.ThresholdedRelu", since(10, 22), floats, "x above alpha, else 0",
		func(c *call, x *scalar) *scalar { return ir.Select(x.Gt(x.Const(c.Float("alpha"))), x, x.Const(0)) }, attr("alpha", 1.0))
	Mish = unary("onnx.Mish", since(18, 22), floats, "x * tanh(softplus(x))",
		func(_ *call, x *scalar) *scalar { return x.Mul(softplus(x).Tanh()) })
	Swish = unary("onnx.Swish", since(24), floats, "x * sigmoid(alpha*x)",
		func(c *call, x *scalar) *scalar { return x.Mul(sigmoid(x.Mul(x.Const(c.Float("alpha"))))) }, attr("alpha", 1.0))
	Gelu = unary("onnx.Gelu", since(20), floats, "x * Φ(x); by tanh where approximate says so",
		func(c *call, x *scalar) *scalar {
			half := x.Mul(x.Const(0.5))
			if c.Str("approximate") == "tanh" {
				inner := x.Add(x.Mul(x).Mul(x).Mul(x.Const(0.044715))).Mul(x.Const(math.Sqrt(2 / math.Pi)))
				return half.Mul(x.Const(1).Add(inner.Tanh()))
			}
			return half.Mul(x.Const(1).Add(x.Mul(x.Const(math.Sqrt(0.5))).Erf()))
		}, attr("approximate", "none"))
	Shrink = unary("onnx.Shrink", since(9), numeric, "x-bias above lambd, x+bias below -lambd, else 0",
		func(c *call, x *scalar) *scalar {
			// Bounds are compared as floats: they need not fit an integer type.
			wide := x
			if !x.DType.IsFloat() {
				wide = x.To(tensor.F64)
			}
			l, b := c.Float("lambd"), wide.Const(c.Float("bias"))
			above := ir.Select(wide.Gt(wide.Const(l)), wide.Sub(b), wide.Const(0))
			return ir.Select(wide.Lt(wide.Const(-l)), wide.Add(b), above).To(x.DType)
		}, attr("bias", 0.0), attr("lambd", 0.5))
)

// PRelu is x, or slope*x below 0; the slope broadcasts to x.
var PRelu = ir.Register(&ir.OpDef{
	Name: "onnx.PRelu", Since: since(1, 6, 7, 9, 16), Doc: "x, or slope*x below 0",
	In:  ops(in("X", "T", numeric), in("slope", "T", numeric)),
	Out: ops(in("Y", "T", numeric)),
	Deduce: func(c *call) error {
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		return broadcastsTo(c, 1, c.Dims(0))
	},
	Body: elementwise(func(_ *call, x []*scalar) *scalar {
		return ir.Select(x[0].Lt(x[0].Const(0)), x[0].Mul(x[1]), x[0])
	}),
})
