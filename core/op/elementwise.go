package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// binary registers an elementwise operator of two operands of one type.
func binary(name string, versions []int64, types []tensor.DType, doc string, f func(c *ir.Call, x, y *ir.Scalar) *ir.Scalar, as ...ir.AttrDef) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Doc: doc, Since: versions,
		In: ops(in("A", "T", types), in("B", "T", types)), Out: ops(in("C", "T", types)), Attrs: as,
		Deduce: broadcast,
		Body:   elementwise(func(c *ir.Call, x []*ir.Scalar) *ir.Scalar { return f(c, x[0], x[1]) }),
	})
}

// apply makes a binary operator's function of a scalar operation.
func apply(op ir.ScalarOp) func(*ir.Call, *ir.Scalar, *ir.Scalar) *ir.Scalar {
	return func(_ *ir.Call, x, y *ir.Scalar) *ir.Scalar { return ir.Binary(op, x, y) }
}

// compare registers a comparison, whose result is bool.
func compare(name string, versions []int64, types []tensor.DType, doc string, op ir.ScalarOp) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Doc: doc, Since: versions,
		In: ops(in("A", "T", types), in("B", "T", types)), Out: ops(in("C", "", bools)),
		Deduce: broadcastTo(tensor.Bool),
		Body:   elementwise(func(_ *ir.Call, x []*ir.Scalar) *ir.Scalar { return ir.Binary(op, x[0], x[1]) }),
	})
}

// fold registers an elementwise operator of any number of operands.
func fold(name string, versions []int64, types []tensor.DType, doc string, f func(x []*ir.Scalar) *ir.Scalar) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Doc: doc, Since: versions,
		In: ops(variadic("data", "T", types)), Out: ops(in("result", "T", types)),
		Deduce: func(c *ir.Call) error {
			if len(c.In) == 0 {
				return c.Errorf("it needs at least one operand")
			}
			return broadcast(c)
		},
		Body: elementwise(func(_ *ir.Call, x []*ir.Scalar) *ir.Scalar { return f(x) }),
	})
}

func reduceScalars(op ir.ScalarOp) func([]*ir.Scalar) *ir.Scalar {
	return func(x []*ir.Scalar) *ir.Scalar {
		acc := x[0]
		for _, y := range x[1:] {
			acc = ir.Binary(op, acc, y)
		}
		return acc
	}
}

// scalar1 is a unary operator that is one scalar operation.
func scalar1(name string, versions []int64, types []tensor.DType, doc string, op ir.ScalarOp) *ir.OpDef {
	return unary(name, versions, types, doc, func(_ *ir.Call, x *ir.Scalar) *ir.Scalar { return ir.Unary(op, x) })
}

var (
	arithmetic   = since(1, 6, 7, 13, 14)
	logic        = since(1, 7)
	transcendent = since(7, 22)
	hyperbolic   = since(9, 22)
)

// Arithmetic. Integers wrap; an integer division truncates, by zero it gives 0.
var (
	Add = binary("onnx.Add", arithmetic, numeric, "a + b", func(_ *ir.Call, x, y *ir.Scalar) *ir.Scalar { return x.Add(y) })
	Sub = binary("onnx.Sub", arithmetic, numeric, "a - b", func(_ *ir.Call, x, y *ir.Scalar) *ir.Scalar { return x.Sub(y) })
	Mul = binary("onnx.Mul", arithmetic, numeric, "a * b", func(_ *ir.Call, x, y *ir.Scalar) *ir.Scalar { return x.Mul(y) })
	Div = binary("onnx.Div", arithmetic, numeric, "a / b", apply(ir.OpDiv))

	And = binary("onnx.And", logic, bools, "a and b", apply(ir.OpAnd))
	Or  = binary("onnx.Or", logic, bools, "a or b", apply(ir.OpOr))
	Xor = binary("onnx.Xor", logic, bools, "a or b, not both", apply(ir.OpXor))
	Not = scalar1("onnx.Not", since(1), bools, "not x", ir.OpNot)

	BitwiseAnd = binary("onnx.BitwiseAnd", since(18), ints, "bitwise and", apply(ir.OpAnd))
	BitwiseOr  = binary("onnx.BitwiseOr", since(18), ints, "bitwise or", apply(ir.OpOr))
	BitwiseXor = binary("onnx.BitwiseXor", since(18), ints, "bitwise exclusive or", apply(ir.OpXor))
	BitwiseNot = scalar1("onnx.BitwiseNot", since(18), ints, "bitwise complement", ir.OpNot)

	Equal          = compare("onnx.Equal", since(1, 7, 11, 13, 19), anyTensor, "a = b", ir.OpEq)
	Less           = compare("onnx.Less", since(1, 7, 9, 13), numeric, "a < b", ir.OpLt)
	LessOrEqual    = compare("onnx.LessOrEqual", since(12, 16), numeric, "a <= b", ir.OpLe)
	Greater        = compare("onnx.Greater", since(1, 7, 9, 13), numeric, "a > b", ir.OpGt)
	GreaterOrEqual = compare("onnx.GreaterOrEqual", since(12, 16), numeric, "a >= b", ir.OpGe)

	MinOf = fold("onnx.Min", since(1, 6, 8, 12, 13), numeric, "the smallest operand; NaN if there is one", reduceScalars(ir.OpMin))
	MaxOf = fold("onnx.Max", since(1, 6, 8, 12, 13), numeric, "the largest operand; NaN if there is one", reduceScalars(ir.OpMax))
	SumOf = fold("onnx.Sum", since(1, 6, 8, 13), floats, "the sum of the operands", reduceScalars(ir.OpAdd))
	Mean  = fold("onnx.Mean", since(1, 6, 8, 13), floats, "the mean of the operands", func(x []*ir.Scalar) *ir.Scalar {
		return reduceScalars(ir.OpAdd)(x).Div(x[0].Const(float64(len(x))))
	})
)

// Pow raises to a power of another type, perhaps; it is computed in f64 where the base
// is an integer and the exponent is not, and for pairs of integers exactly.
var Pow = ir.Register(&ir.OpDef{
	Name: "onnx.Pow", Since: since(1, 7, 12, 13, 15), Doc: "a to the power of b, in the type of a",
	In:     ops(in("X", "T", numeric), in("Y", "T1", numeric)),
	Out:    ops(in("Z", "T", numeric)),
	Deduce: broadcast,
	Body: elementwise(func(c *ir.Call, x []*ir.Scalar) *ir.Scalar {
		a, b := x[0], x[1]
		wide := a.DType
		if a.DType.IsInt() && !b.DType.IsInt() {
			wide = tensor.F64
		}
		return a.To(wide).Pow(b.To(wide)).To(a.DType)
	}),
})

// Mod has the sign of the divisor, or with fmod=1 that of the dividend.
var Mod = binary("onnx.Mod", since(10, 13), numeric, "remainder", func(c *ir.Call, x, y *ir.Scalar) *ir.Scalar {
	if c.Flag("fmod") {
		return ir.Binary(ir.OpRem, x, y)
	}
	return x.Mod(y)
}, attr("fmod", 0))

// BitShift shifts unsigned integers.
var BitShift = ir.Register(&ir.OpDef{
	Name: "onnx.BitShift", Since: since(11), Doc: "bit shift",
	In: ops(in("X", "T", unsigned), in("Y", "T", unsigned)), Out: ops(in("Z", "T", unsigned)),
	Attrs: attrs(attrReq("direction", "")),
	Deduce: func(c *ir.Call) error {
		if d := c.Str("direction"); d != "LEFT" && d != "RIGHT" {
			return c.Errorf("direction %q is neither LEFT nor RIGHT", d)
		}
		return broadcast(c)
	},
	Body: elementwise(func(c *ir.Call, x []*ir.Scalar) *ir.Scalar {
		if c.Str("direction") == "LEFT" {
			return ir.Binary(ir.OpShl, x[0], x[1])
		}
		return ir.Binary(ir.OpShr, x[0], x[1])
	}),
})

// Where takes x where the condition holds, else y.
var Where = ir.Register(&ir.OpDef{
	Name: "onnx.Where", Since: since(9, 16), Doc: "x where the condition holds, else y",
	In:  ops(in("condition", "", bools), in("X", "T", anyTensor), in("Y", "T", anyTensor)),
	Out: ops(in("output", "T", anyTensor)),
	Deduce: func(c *ir.Call) error {
		dims, err := broadcastDims(c, present(c)...)
		if err != nil {
			return err
		}
		c.SetOut(0, c.DType(1), dims...)
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		axes := b.Axes(b.Out(0).Dims)
		at := func(i int) *ir.Scalar { return ir.Load(b.In(i), ir.BcastIx(b.In(i), axes)...) }
		b.Map(b.Out(0), axes, ir.Select(at(0), at(1), at(2)))
		return nil
	},
})

// asFloat is x as a float: what integers are computed with where they have no function
// of their own.
func asFloat(x *ir.Scalar) *ir.Scalar {
	if x.DType.IsInt() {
		return x.To(tensor.F64)
	}
	return x
}

// Functions of one real number.
var (
	Neg        = scalar1("onnx.Neg", since(1, 6, 13), signedNums, "-x", ir.OpNeg)
	Abs        = scalar1("onnx.Abs", since(1, 6, 13), numeric, "|x|", ir.OpAbs)
	Sqrt       = scalar1("onnx.Sqrt", since(1, 6, 13), floats, "square root", ir.OpSqrt)
	Exp        = scalar1("onnx.Exp", since(1, 6, 13), floats, "e to the power of x", ir.OpExp)
	Log        = scalar1("onnx.Log", since(1, 6, 13), floats, "natural logarithm", ir.OpLog)
	Sin        = scalar1("onnx.Sin", transcendent, floats, "sine", ir.OpSin)
	Cos        = scalar1("onnx.Cos", transcendent, floats, "cosine", ir.OpCos)
	Tan        = scalar1("onnx.Tan", transcendent, floats, "tangent", ir.OpTan)
	Asin       = scalar1("onnx.Asin", transcendent, floats, "arc sine", ir.OpAsin)
	Acos       = scalar1("onnx.Acos", transcendent, floats, "arc cosine", ir.OpAcos)
	Atan       = scalar1("onnx.Atan", transcendent, floats, "arc tangent", ir.OpAtan)
	Sinh       = scalar1("onnx.Sinh", hyperbolic, floats, "hyperbolic sine", ir.OpSinh)
	Cosh       = scalar1("onnx.Cosh", hyperbolic, floats, "hyperbolic cosine", ir.OpCosh)
	Tanh       = scalar1("onnx.Tanh", since(1, 6, 13), floats, "hyperbolic tangent", ir.OpTanh)
	Asinh      = scalar1("onnx.Asinh", hyperbolic, floats, "inverse hyperbolic sine", ir.OpAsinh)
	Acosh      = scalar1("onnx.Acosh", hyperbolic, floats, "inverse hyperbolic cosine", ir.OpAcosh)
	Atanh      = scalar1("onnx.Atanh", hyperbolic, floats, "inverse hyperbolic tangent", ir.OpAtanh)
	Erf        = unary("onnx.Erf", since(9, 13), numeric, "error function", func(_ *ir.Call, x *ir.Scalar) *ir.Scalar { return asFloat(x).Erf().To(x.DType) })
	Floor      = scalar1("onnx.Floor", since(1, 6, 13), floats, "rounded down", ir.OpFloor)
	Ceil       = scalar1("onnx.Ceil", since(1, 6, 13), floats, "rounded up", ir.OpCeil)
	Round      = scalar1("onnx.Round", since(11, 22), floats, "rounded, halves to even", ir.OpRound)
	Reciprocal = unary("onnx.Reciprocal", since(1, 6, 13), floats, "1/x", func(_ *ir.Call, x *ir.Scalar) *ir.Scalar { return x.Const(1).Div(x) })
	Sign       = unary("onnx.Sign", since(9, 13), numeric, "-1, 0 or 1", func(_ *ir.Call, x *ir.Scalar) *ir.Scalar {
		s := ir.Select(x.Gt(x.Const(0)), x.Const(1), x.Const(0))
		if !x.DType.IsSigned() {
			return s
		}
		s = ir.Select(x.Lt(x.Const(0)), x.Const(-1), s)
		if x.DType.IsFloat() {
			s = ir.Select(x.IsNaN(), x, s)
		}
		return s
	})
)

// predicate registers a unary operator with a bool result.
func predicate(name string, versions []int64, doc string, f func(c *ir.Call, x *ir.Scalar) *ir.Scalar, as ...ir.AttrDef) *ir.OpDef {
	types := slices.Concat(floats, floats8)
	return ir.Register(&ir.OpDef{
		Name: name, Doc: doc, Since: versions,
		In: ops(in("X", "T1", types)), Out: ops(in("Y", "", bools)), Attrs: as,
		Deduce: broadcastTo(tensor.Bool),
		Body:   elementwise(func(c *ir.Call, x []*ir.Scalar) *ir.Scalar { return f(c, x[0]) }),
	})
}

var (
	IsNaN = predicate("onnx.IsNaN", since(9, 13, 20), "whether x is not a number", func(_ *ir.Call, x *ir.Scalar) *ir.Scalar { return x.IsNaN() })
	IsInf = predicate("onnx.IsInf", since(10, 20), "whether x is infinite", func(c *ir.Call, x *ir.Scalar) *ir.Scalar {
		pos, neg := x.Eq(x.Const(math.Inf(1))), x.Eq(x.Const(math.Inf(-1)))
		switch p, n := c.Flag("detect_positive"), c.Flag("detect_negative"); {
		case p && n:
			return pos.Or(neg)
		case p:
			return pos
		case n:
			return neg
		}
		return ir.Lit(tensor.Bool, 0)
	}, attr("detect_negative", 1), attr("detect_positive", 1))
)

// Clip bounds x; either bound may be left out. Where they cross the upper one wins.
var Clip = ir.Register(&ir.OpDef{
	Name: "onnx.Clip", Since: since(1, 6, 11, 12, 13), Doc: "x bounded by min and max",
	In:  ops(in("input", "T", numeric), opt("min", "T", numeric), opt("max", "T", numeric)),
	Out: ops(in("output", "T", numeric)),
	Deduce: func(c *ir.Call) error {
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		return single(c, 1, 2)
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		axes := b.Axes(b.Out(0).Dims)
		x := b.Load(b.In(0), ir.Ix(axes)...)
		if c.Has(1) {
			x = x.Max(loadSingle(b, 1))
		}
		if c.Has(2) {
			x = x.Min(loadSingle(b, 2))
		}
		b.Map(b.Out(0), axes, x)
		return nil
	},
})

// Identity gives its operand, whatever it is.
var Identity = ir.Register(&ir.OpDef{
	Name: "onnx.Identity", Since: since(1, 13, 14, 16, 19, 21, 23, 24, 25), Doc: "its operand",
	In: ops(ir.Operand{Name: "input"}), Out: ops(ir.Operand{Name: "output"}),
	View: true, AnyRank: true,
	Deduce: func(c *ir.Call) error {
		c.SetOutType(0, c.In[0])
		return nil
	},
	Body:   viewBody,
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) { return []tensor.Value{k.Args[0]}, nil },
})

var castAttrs = attrs(attr("saturate", 1), attr("round_mode", "up"))

// castTo is the program of a conversion.
func castTo(c *ir.Call, b *ir.Body, d tensor.DType) error {
	axes := b.Axes(b.Out(0).Dims)
	x := ir.Load(b.In(0), ir.Ix(axes)...)
	b.Map(b.Out(0), axes, ir.Cast(x, d, castOpts(c)))
	return nil
}

// cast sets the type of a conversion's result.
func cast(c *ir.Call, d tensor.DType) {
	if c.Tensor(0).Unranked || d == tensor.Invalid {
		c.SetOutType(0, ir.UnrankedOf(d))
		return
	}
	c.SetOut(0, d, c.Dims(0)...)
}

func castOpts(c *ir.Call) tensor.CastOpts {
	return tensor.CastOpts{NoSaturate: !c.Flag("saturate"), RoundMode: c.Str("round_mode")}
}

// Cast converts to another element type; strings are parsed and formatted.
var Cast = ir.Register(&ir.OpDef{
	Name: "onnx.Cast", Since: since(1, 6, 9, 13, 19, 21, 23, 24, 25), Doc: "conversion to another element type",
	In: ops(in("input", "", anyTensor)), Out: ops(in("output", "", anyTensor)),
	Attrs: append(attrs(attrReq("to", int64(0))), castAttrs...),
	Deduce: func(c *ir.Call) error {
		d, ok := tensor.DTypeFromONNX(int32(c.Int("to")))
		if !ok {
			return c.Errorf("element type %d is none of ONNX's", c.Int("to"))
		}
		cast(c, d)
		return nil
	},
	AnyRank: true,
	Body:    func(c *ir.Call, b *ir.Body) error { return castTo(c, b, b.Out(0).DType) },
})

// CastLike converts to the element type of operand 1.
var CastLike = ir.Register(&ir.OpDef{
	Name: "onnx.CastLike", Since: since(15, 19, 21, 23, 24, 25), Doc: "conversion to the element type of another tensor",
	In: ops(in("input", "", anyTensor), in("target_type", "T2", anyTensor)), Out: ops(in("output", "T2", anyTensor)),
	Attrs: castAttrs,
	Deduce: func(c *ir.Call) error {
		cast(c, c.DType(1))
		return nil
	},
	AnyRank: true,
	Body:    func(c *ir.Call, b *ir.Body) error { return castTo(c, b, c.DType(1)) },
})

// BitCast takes the bits of each element as another element type of the same size.
var BitCast = ir.Register(&ir.OpDef{
	Name: "onnx.BitCast", Since: since(26), Doc: "the same bits as another element type",
	In: ops(in("input", "", notString)), Out: ops(in("output", "", notString)),
	Attrs: attrs(attrReq("to", int64(0))),
	Deduce: func(c *ir.Call) error {
		d, ok := tensor.DTypeFromONNX(int32(c.Int("to")))
		if !ok || d.Bits() != c.DType(0).Bits() {
			return c.Errorf("element type %d is none of the size of %s", c.Int("to"), c.DType(0))
		}
		c.SetOut(0, d, c.Dims(0)...)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x := k.Arg(0)
		y, err := tensor.FromBytes(k.Out[0].(ir.TensorType).DType, x.Shape(), x.Bytes())
		return []tensor.Value{y}, err
	},
})

var notString = slices.DeleteFunc(slices.Clone(anyTensor), func(d tensor.DType) bool { return d == tensor.String })
