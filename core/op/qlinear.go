package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// ONNX Runtime's operators on 8-bit tensors (domain com.microsoft): another operator
// between DequantizeLinear and QuantizeLinear.

// qlinear says how an operator on quantized tensors is made of another one.
type qlinear struct {
	inner  string // the operator, of ONNX
	plain  []int  // operands that it gets as they are
	tensor []int  // operands that are dequantized; scale and zero point stand behind each
	list   bool   // tensor repeats to the last operand
	result int    // the scale of the result; its zero point stands behind it
	form   func(*call) (string, ir.Attrs, error)
}

// operands of an operator on quantized tensors.
func qtriple(name string, zero func(name, tv string, types []tensor.DType) ir.Operand) []ir.Operand {
	return ops(in(name, "T", bytes8), in(name+"_scale", "", f32s), zero(name+"_zero_point", "T", bytes8))
}

func qresult(name string, zero func(name, tv string, types []tensor.DType) ir.Operand) []ir.Operand {
	return ops(in(name+"_scale", "", f32s), zero(name+"_zero_point", "T", bytes8))
}

// tensors are the positions of quantized operands.
func (q qlinear) tensors(c *call) []int {
	if !q.list {
		return q.tensor
	}
	var at []int
	for i := q.tensor[0]; i < len(c.In); i += 3 {
		at = append(at, i)
	}
	return at
}

// call is the inner operator's call in the place of c.
func (q qlinear) call(c *call) (*call, error) {
	name, as, err := q.form(c)
	if err != nil {
		return nil, err
	}
	x := *c
	x.Op, x.Attrs, x.In, x.Out = ir.Lookup("onnx."+name), as, nil, make([]ir.Type, 1)
	at := append(slices.Clone(q.plain), q.tensors(c)...)
	for j, i := range at {
		x.In = append(x.In, c.In[i])
		if j >= len(q.plain) {
			x.In[j] = ir.TensorOf(tensor.F32, c.Dims(i)...)
		}
	}
	x.Known, x.ConstOf = nil, nil // contents of quantized tensors decide no shape
	return &x, nil
}

// register registers the operator.
func (q qlinear) register(name, doc string, operands []ir.Operand, as ...ir.AttrDef) *ir.OpDef {
	if q.form == nil {
		q.form = func(c *call) (string, ir.Attrs, error) { return q.inner, c.Attrs, nil }
	}
	return ir.Register(&ir.OpDef{
		Name: "com.microsoft." + name, Since: since(1), Doc: doc,
		In: operands, Out: ops(in("C", "T", bytes8)), Attrs: as,
		Deduce: func(c *call) error {
			var grain []int
			for _, i := range append(q.tensors(c), q.result-1) {
				grain = append(grain, i+1, i+2)
			}
			if err := single(c, grain...); err != nil {
				return err
			}
			x, err := q.call(c)
			if err != nil {
				return err
			}
			if err := x.Infer(); err != nil {
				return err
			}
			t, _ := x.Out[0].(ir.TensorType)
			c.SetOut(0, c.DType(q.tensors(c)[0]), t.Dims...)
			return nil
		},
		Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
			name, as, err := q.form(c)
			if err != nil {
				return nil, err
			}
			d := c.DType(q.tensors(c)[0])
			// One element is a scalar, whichever rank it has: an axis has nothing to say.
			of := func(i int) *ir.Value {
				if !c.Has(i) {
					return b.Const(tensor.New(d))
				}
				return b.Op("onnx.Reshape", []*ir.Value{args[i], b.Ints()})
			}
			var in []*ir.Value
			for _, i := range q.plain {
				in = append(in, args[i])
			}
			for _, i := range q.tensors(c) {
				in = append(in, b.Op("onnx.DequantizeLinear", []*ir.Value{args[i], of(i + 1), of(i + 2)}))
			}
			y := b.OpN(1, "onnx."+name, in, as)[0]
			return []*ir.Value{b.Op("onnx.QuantizeLinear", []*ir.Value{y, of(q.result), of(q.result + 1)})}, nil
		},
	})
}

// On quantized tensors.
var (
	QLinearAdd = qlinear{inner: "Add", tensor: []int{0, 3}, result: 6}.register("QLinearAdd", "sum of quantized tensors",
		slices.Concat(qtriple("A", opt), qtriple("B", opt), qresult("C", opt)))
	QLinearMul = qlinear{inner: "Mul", tensor: []int{0, 3}, result: 6}.register("QLinearMul", "product of quantized tensors",
		slices.Concat(qtriple("A", opt), qtriple("B", opt), qresult("C", opt)))
	QLinearSigmoid = qlinear{inner: "Sigmoid", tensor: []int{0}, result: 3}.register("QLinearSigmoid", "1/(1+exp(-x)) of a quantized tensor",
		slices.Concat(qtriple("X", opt), qresult("Y", opt)))
	QLinearLeakyRelu = qlinear{inner: "LeakyRelu", tensor: []int{0}, result: 3}.register("QLinearLeakyRelu", "x, or alpha*x below 0, of a quantized tensor",
		slices.Concat(qtriple("X", opt), qresult("Y", opt)), attr("alpha", 0.01))
	// QLinearSoftmax is over one axis, or, before operator set 13, over all dims from it on.
	QLinearSoftmax = qlinear{tensor: []int{0}, result: 3, form: func(c *call) (string, ir.Attrs, error) {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err == nil && c.Int("opset") < 13 && a != c.Rank(0)-1 {
			err = c.Unsupported("a softmax over several dims, as operator set %d has it", c.Int("opset"))
		}
		return "Softmax", ir.Attrs{}.With("axis", int64(a)), err
	}}.register("QLinearSoftmax", "softmax of a quantized tensor", slices.Concat(qtriple("X", opt), qresult("Y", in)), attr("axis", -1), attrReq("opset", int64(0)))
	QLinearConcat = qlinear{inner: "Concat", tensor: []int{2}, list: true, result: 0}.register("QLinearConcat", "quantized tensors side by side",
		append(qresult("Y", in), variadic("inputs", "", slices.Concat(bytes8, f32s))), attrReq("axis", int64(0)))
	QLinearWhere = qlinear{inner: "Where", plain: []int{0}, tensor: []int{1, 4}, result: 7}.register("QLinearWhere", "one of two quantized tensors at each position",
		slices.Concat(ops(in("condition", "", bools)), qtriple("X", in), qtriple("Y", in), qresult("Z", in)))
	QLinearAveragePool = qlinear{tensor: []int{0}, result: 3, form: channelsFirst("AveragePool")}.register("QLinearAveragePool", "mean of windows of a quantized tensor",
		slices.Concat(qtriple("X", opt), qresult("Y", opt)), append(slices.Clone(AveragePool.Attrs), attr("channels_last", 0))...)
	QLinearGlobalAveragePool = qlinear{tensor: []int{0}, result: 3, form: channelsFirst("GlobalAveragePool")}.register("QLinearGlobalAveragePool", "mean over all of space of a quantized tensor",
		slices.Concat(qtriple("X", in), qresult("Y", in)), attr("channels_last", 0))
)

// channelsFirst is the form of operators that may also take channels as the last dim.
func channelsFirst(inner string) func(*call) (string, ir.Attrs, error) {
	return func(c *call) (string, ir.Attrs, error) {
		if c.Flag("channels_last") {
			return "", nil, c.Unsupported("channels_last")
		}
		return inner, c.Attrs.Without("channels_last"), nil
	}
}

// dequantizedProduct is the product of quantized matrices, scaled, plus a bias; nil operands are left out.
func dequantizedProduct(b *ir.Builder, x, y, scaleX, scaleY, zeroX, zeroY, bias *ir.Value) []*ir.Value {
	op := func(name string, args ...*ir.Value) *ir.Value { return b.Op("onnx."+name, args) }
	sum := b.Op("onnx.Cast", []*ir.Value{op("MatMulInteger", x, y, zeroX, zeroY)}, "to", tensor.F32)
	out := op("Mul", sum, op("Mul", scaleX, scaleY))
	if bias != nil {
		out = op("Add", out, bias)
	}
	return []*ir.Value{out}
}

// MatMulIntegerToFloat is MatMulInteger times both scales, plus a bias.
var MatMulIntegerToFloat = ir.Register(&ir.OpDef{
	Name: "com.microsoft.MatMulIntegerToFloat", Since: since(1), Doc: "matrix product of 8-bit integers, scaled, plus a bias",
	In: ops(in("A", "T1", bytes8), in("B", "T2", bytes8), in("a_scale", "", f32s), in("b_scale", "", f32s), opt("a_zero_point", "T1", bytes8),
		opt("b_zero_point", "T2", bytes8), opt("bias", "", f32s)),
	Out:    ops(in("Y", "", f32s)),
	Deduce: deduceMatMul(0, 1, func(*call) tensor.DType { return tensor.F32 }),
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		args = append(slices.Clone(args), make([]*ir.Value, 7)...)
		return dequantizedProduct(b, args[0], args[1], args[2], args[3], args[4], args[5], args[6]), nil
	},
})

// DynamicQuantizeMatMul quantizes its left operand by its range, and multiplies.
var DynamicQuantizeMatMul = ir.Register(&ir.OpDef{
	Name: "com.microsoft.DynamicQuantizeMatMul", Since: since(1), Doc: "matrix product whose left operand is quantized by its range",
	In:     ops(in("A", "", f32s), in("B", "T2", bytes8), in("b_scale", "", f32s), opt("b_zero_point", "T2", bytes8), opt("bias", "", f32s)),
	Out:    ops(in("Y", "", f32s)),
	Deduce: deduceMatMul(0, 1, func(*call) tensor.DType { return tensor.F32 }),
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		args = append(slices.Clone(args), make([]*ir.Value, 5)...)
		q := b.OpN(3, "onnx.DynamicQuantizeLinear", args[:1], nil)
		return dequantizedProduct(b, q[0], args[1], q[1], args[2], q[2], args[3], args[4]), nil
	},
})
