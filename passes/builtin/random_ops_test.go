package builtin_test

import (
	"fmt"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/irpb"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// families draw operators that the generator's own kinds of statement leave out, and what
// exporters spell out with many.
var families = []func(*generator) *ir.Value{
	(*generator).activation, (*generator).reduce, (*generator).extreme, (*generator).scatterND, (*generator).sequence, (*generator).optional,
	(*generator).types, (*generator).logic, (*generator).pool, (*generator).conv, (*generator).resize, (*generator).einsum, (*generator).norm,
	(*generator).pick, (*generator).split, (*generator).scan, (*generator).recurrent, (*generator).untilEnough, (*generator).quantized,
	(*generator).attention, (*generator).spelledNorm, (*generator).spelledAttention, (*generator).kept,
}

// exact is a value without rounding: operators that jump give the same of it in whatever way
// it is computed.
func (g *generator) exact() *ir.Value {
	x := g.m.Main().Params[g.IntN(len(parameters)-1)] // the last one has no rank
	if g.IntN(3) == 0 {
		return g.op("Transpose", []*ir.Value{x})
	}
	return x
}

// rows is a value [rows, 4].
func (g *generator) rows() *ir.Value {
	x := g.m.Main().Params[0]
	if g.IntN(3) == 0 {
		return g.op(one(g, []string{"Tanh", "Neg", "Relu"}), []*ir.Value{x})
	}
	return x
}

func (g *generator) weight(shape ...int64) *ir.Value { return g.b.Const(g.tensor(shape)) }

func (g *generator) scalar(v float64) *ir.Value {
	x := tensor.New(tensor.F32)
	x.SetFloat(0, v)
	return g.b.Const(x)
}

func (g *generator) toFloat(x *ir.Value) *ir.Value {
	return g.op("Cast", []*ir.Value{x}, "to", tensor.F32)
}

func (g *generator) activation() *ir.Value {
	x := one(g, g.f32)
	switch g.IntN(5) {
	case 0:
		return g.op("Clip", []*ir.Value{x, g.scalar(-1), g.scalar(1.5)})
	case 1:
		return g.op("PRelu", []*ir.Value{x, g.scalar(0.25)})
	case 2: // SiLU, spelled out
		return g.op("Mul", []*ir.Value{x, g.op("Sigmoid", []*ir.Value{x})})
	case 3: // GELU, spelled out
		e := g.op("Add", []*ir.Value{g.op("Erf", []*ir.Value{g.op("Div", []*ir.Value{x, g.scalar(1.4142135)})}), g.scalar(1)})
		return g.op("Mul", []*ir.Value{g.op("Mul", []*ir.Value{x, e}), g.scalar(0.5)})
	}
	return g.op(one(g, []string{"Gelu", "Elu", "HardSwish", "HardSigmoid", "Sigmoid", "Softplus", "Softsign", "Mish", "Selu", "Erf", "Atan"}), []*ir.Value{x})
}

func (g *generator) reduce() *ir.Value {
	x := one(g, g.f32)
	args := []*ir.Value{x}
	if g.IntN(3) > 0 {
		args = append(args, g.b.Ints(int64(g.axis(x))))
	}
	return g.op(one(g, []string{"ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd"}), args, "keepdims", g.IntN(2))
}

// extreme finds the largest.
func (g *generator) extreme() *ir.Value {
	x := g.exact()
	axis := g.axis(x)
	if g.IntN(2) == 0 {
		return g.toFloat(g.op(one(g, []string{"ArgMax", "ArgMin"}), []*ir.Value{x}, "axis", axis, "keepdims", g.IntN(2), "select_last_index", g.IntN(2)))
	}
	out := g.b.OpN(2, "onnx.TopK", []*ir.Value{x, g.b.Ints(int64(1 + g.IntN(2)))}, ir.MakeAttrs("axis", axis, "largest", g.IntN(2)))
	if g.IntN(2) == 0 {
		return out[0]
	}
	return g.toFloat(out[1])
}

func (g *generator) scatterND() *ir.Value {
	how := one(g, []string{"none", "add", "mul", "max", "min"})
	if g.IntN(2) == 0 {
		x := one(g, g.f32)
		at := g.toInt(g.op("Less", []*ir.Value{x, g.op("Neg", []*ir.Value{x})}))
		return g.op("ScatterElements", []*ir.Value{x, at, g.op("Tanh", []*ir.Value{x})}, "axis", g.axis(x), "reduction", how)
	}
	at := g.b.Const(tensor.Of([]int64{0, 0}, 2, 1))
	return g.op("ScatterND", []*ir.Value{g.rows(), at, g.weight(2, 4)}, "reduction", how)
}

func (g *generator) toInt(x *ir.Value) *ir.Value {
	return g.op("Cast", []*ir.Value{x}, "to", tensor.I64)
}

// sequence puts values into a sequence and takes one out, or all.
func (g *generator) sequence() *ir.Value {
	x := one(g, g.f32)
	var s *ir.Value
	switch g.IntN(3) {
	case 0:
		s = g.op("SplitToSequence", []*ir.Value{x, g.b.Const(tensor.Scalar(int64(1 + g.IntN(2))))}, "axis", g.axis(x))
	case 1:
		s = g.op("SequenceConstruct", []*ir.Value{x, one(g, g.f32)})
	default:
		s = g.op("SequenceInsert", []*ir.Value{g.op("SequenceConstruct", []*ir.Value{x}), one(g, g.f32)})
	}
	switch g.IntN(4) {
	case 0:
		return g.op("ConcatFromSequence", []*ir.Value{s}, "axis", 0)
	case 1:
		return g.toFloat(g.op("SequenceLength", []*ir.Value{s}))
	case 2:
		s = g.op("SequenceErase", []*ir.Value{s, g.b.Const(tensor.Scalar(int64(0)))})
	}
	return g.op("SequenceAt", []*ir.Value{s, g.b.Const(tensor.Scalar(int64(-g.IntN(2))))})
}

func (g *generator) optional() *ir.Value {
	o := g.op("Optional", []*ir.Value{one(g, g.f32)})
	if g.IntN(3) == 0 {
		g.flags = append(g.flags, g.op("OptionalHasElement", []*ir.Value{o}))
	}
	return g.op("OptionalGetElement", []*ir.Value{o})
}

// types computes in another element type.
func (g *generator) types() *ir.Value {
	d := one(g, []tensor.DType{tensor.F64, tensor.F16, tensor.BF16, tensor.I64, tensor.I32, tensor.I8, tensor.U8, tensor.U32})
	as := func(x *ir.Value) *ir.Value { return g.op("Cast", []*ir.Value{x}, "to", d) }
	x, y := as(g.exact()), as(g.scalar(float64(1+g.IntN(3))))
	z := g.op(one(g, []string{"Add", "Sub", "Mul", "Max", "Min"}), []*ir.Value{x, y})
	if g.IntN(4) == 0 {
		z = g.op("Mod", []*ir.Value{z, y}, "fmod", 1)
	}
	if d.IsInt() && g.IntN(3) == 0 {
		z = g.op(one(g, []string{"BitwiseAnd", "BitwiseOr", "BitwiseXor"}), []*ir.Value{z, y})
	}
	return g.toFloat(z)
}

func (g *generator) logic() *ir.Value {
	x := g.exact()
	a := g.op(one(g, []string{"Less", "Greater", "Equal", "LessOrEqual"}), []*ir.Value{x, g.scalar(0.25)})
	b := g.op("Not", []*ir.Value{g.op("Greater", []*ir.Value{x, g.scalar(-1)})})
	c := g.op(one(g, []string{"And", "Or", "Xor"}), []*ir.Value{a, b})
	if g.IntN(2) == 0 {
		return g.toFloat(c)
	}
	return g.op("Where", []*ir.Value{c, x, g.op("Abs", []*ir.Value{x})})
}

// signal is a value [1, channels, 2].
func (g *generator) signal() *ir.Value { return g.m.Main().Params[4] }

func (g *generator) pool() *ir.Value {
	x := g.signal()
	switch g.IntN(4) {
	case 0:
		return g.op("MaxPool", []*ir.Value{x}, "kernel_shape", []int64{2}, "pads", []int64{1, 0}, "strides", []int64{1 + g.Int64N(2)})
	case 1:
		return g.op("AveragePool", []*ir.Value{x}, "kernel_shape", []int64{2}, "pads", []int64{1, 1}, "count_include_pad", g.IntN(2))
	}
	return g.op(one(g, []string{"GlobalAveragePool", "GlobalMaxPool"}), []*ir.Value{x})
}

func (g *generator) conv() *ir.Value {
	x := g.op("Unsqueeze", []*ir.Value{g.rows(), g.b.Ints(1)}) // [rows, 1, 4]
	switch g.IntN(3) {
	case 0:
		return g.op("ConvTranspose", []*ir.Value{x, g.weight(1, 2, 3)}, "strides", []int64{1 + g.Int64N(2)})
	case 1:
		y := g.op("Conv", []*ir.Value{x, g.weight(2, 1, 3), g.weight(2)}, "pads", []int64{1, 1})
		return g.op("Conv", []*ir.Value{y, g.weight(2, 1, 2)}, "group", 2, "strides", []int64{2})
	}
	return g.op("Conv", []*ir.Value{x, g.weight(3, 1, 3)}, "pads", []int64{1, 1}, "dilations", []int64{1})
}

func (g *generator) resize() *ir.Value {
	x := g.rows()
	switch g.IntN(6) {
	case 0:
		return g.op("Pad", []*ir.Value{x, g.b.Ints(0, 1, 1, 2), g.scalar(0.5)})
	case 1:
		return g.op("Pad", []*ir.Value{x, g.b.Ints(0, 1, 0, 2)}, "mode", one(g, []string{"reflect", "edge", "wrap"}))
	case 2:
		return g.op("Tile", []*ir.Value{x, g.b.Ints(2, 1+g.Int64N(2))})
	case 3:
		return g.op("Expand", []*ir.Value{x, g.b.Ints(2, 1, 4)})
	case 4:
		return g.op("Resize", []*ir.Value{x, nil, g.b.Const(tensor.Of([]float32{1, 2}, 2))}, "mode", one(g, []string{"nearest", "linear"}))
	}
	return g.op("Slice", []*ir.Value{x, g.b.Ints(3), g.b.Ints(-9), g.b.Ints(1), g.b.Ints(-1 - g.Int64N(2))})
}

func (g *generator) einsum() *ir.Value {
	x, y := g.rows(), g.rows()
	switch g.IntN(4) {
	case 0:
		return g.op("Einsum", []*ir.Value{x, y}, "equation", "ij,kj->ik")
	case 1:
		return g.op("Einsum", []*ir.Value{x}, "equation", "ij->j")
	case 2:
		return g.op("Einsum", []*ir.Value{x, g.weight(4, 3)}, "equation", "...j,jk->...k")
	}
	return g.op("Gemm", []*ir.Value{x, g.weight(3, 4), g.weight(3)}, "transB", 1, "alpha", 0.5)
}

func (g *generator) norm() *ir.Value {
	x := g.rows()
	switch g.IntN(5) {
	case 0:
		return g.op("LayerNormalization", []*ir.Value{x, g.weight(4), g.weight(4)}, "axis", -1)
	case 1:
		return g.op("RMSNormalization", []*ir.Value{x, g.weight(4)}, "axis", -1)
	case 2:
		return g.op("LpNormalization", []*ir.Value{x}, "axis", 1, "p", 1+g.IntN(2))
	case 3:
		return g.op("Hardmax", []*ir.Value{g.exact()}, "axis", 0)
	}
	return g.op("LogSoftmax", []*ir.Value{x}, "axis", g.IntN(2))
}

// pick takes elements by indices, and by what holds.
func (g *generator) pick() *ir.Value {
	x := g.rows()
	switch g.IntN(6) {
	case 0:
		return g.op("GatherND", []*ir.Value{x, g.b.Const(tensor.Of([]int64{0, 1, 0, 3}, 2, 2))})
	case 1:
		return g.op("GatherElements", []*ir.Value{x, g.toInt(g.op("Greater", []*ir.Value{x, g.scalar(0)}))}, "axis", 1)
	case 2:
		return g.op("OneHot", []*ir.Value{g.toInt(g.exact()), g.b.Const(tensor.Scalar(int64(3))), g.b.Const(tensor.Of([]float32{-1, 2}, 2))}, "axis", -1)
	case 3:
		some := g.op("Less", []*ir.Value{g.op("ReduceSum", []*ir.Value{x, g.b.Ints(1)}, "keepdims", 0), g.scalar(0.5)})
		if g.IntN(2) == 0 {
			return g.op("Compress", []*ir.Value{g.m.Main().Params[0], g.op("Less", []*ir.Value{g.op("ReduceMax", []*ir.Value{g.m.Main().Params[0], g.b.Ints(1)}, "keepdims", 0), g.scalar(1)})}, "axis", 0)
		}
		return g.toFloat(some)
	case 4:
		out := g.b.OpN(4, "onnx.Unique", []*ir.Value{g.exact()}, nil)
		if g.IntN(2) == 0 {
			return out[0]
		}
		return g.toFloat(out[3])
	}
	return g.op("Trilu", []*ir.Value{x}, "upper", g.IntN(2))
}

// split has more than one result.
func (g *generator) split() *ir.Value {
	out := g.b.OpN(2, "onnx.Split", []*ir.Value{g.rows()}, ir.MakeAttrs("axis", 1, "num_outputs", 2))
	if g.IntN(2) == 0 {
		return g.op("Concat", []*ir.Value{out[1], out[0]}, "axis", 1)
	}
	return out[g.IntN(2)]
}

// scan adds up rows and gives all sums.
func (g *generator) scan() *ir.Value {
	row := ir.TensorOf(tensor.F32, sym.Const(4))
	body := g.b.Region(func() []*ir.Value {
		sum, x := g.b.Param("", row), g.b.Param("", row)
		next := g.op("Add", []*ir.Value{sum, x})
		return []*ir.Value{next, g.op("Tanh", []*ir.Value{next})}
	})
	out := g.b.OpN(2, "onnx.Scan", []*ir.Value{g.weight(4), g.rows()}, ir.MakeAttrs("num_scan_inputs", 1), body)
	return out[g.IntN(2)]
}

func (g *generator) recurrent() *ir.Value {
	x := g.op("Unsqueeze", []*ir.Value{g.rows(), g.b.Ints(int64(g.IntN(2)))})
	if g.IntN(2) == 0 {
		return g.b.OpN(1, "onnx.GRU", []*ir.Value{x, g.weight(1, 6, 4), g.weight(1, 6, 2)}, ir.MakeAttrs("hidden_size", 2))[0]
	}
	return g.b.OpN(3, "onnx.LSTM", []*ir.Value{x, g.weight(1, 8, 4), g.weight(1, 8, 2)}, ir.MakeAttrs("hidden_size", 2))[g.IntN(3)]
}

// untilEnough is a loop that may end early.
func (g *generator) untilEnough() *ir.Value {
	x := one(g, g.f32)
	body := g.b.Region(func() []*ir.Value {
		i := g.b.Param("", ir.TensorOf(tensor.I64))
		g.b.Param("", ir.TensorOf(tensor.Bool))
		was := g.b.Param("", x.Type)
		on := g.op("Less", []*ir.Value{i, g.b.Const(tensor.Scalar(g.Int64N(3)))})
		return []*ir.Value{on, g.op("Sub", []*ir.Value{was, g.op("Tanh", []*ir.Value{was})})}
	})
	return g.b.OpN(1, "onnx.Loop", []*ir.Value{g.b.Const(tensor.Scalar(int64(4))), one(g, g.flags), x}, nil, body)[0]
}

func (g *generator) quantized() *ir.Value {
	zero := g.b.Const(tensor.Scalar(uint8(100)))
	q := func(x *ir.Value) *ir.Value { return g.op("QuantizeLinear", []*ir.Value{x, g.scalar(0.25), zero}) }
	x := q(g.m.Main().Params[0])
	if g.IntN(2) == 0 {
		return g.op("DequantizeLinear", []*ir.Value{x, g.scalar(0.25), zero})
	}
	return g.toFloat(g.op("MatMulInteger", []*ir.Value{x, q(g.weight(4, 3)), zero, zero}))
}

func (g *generator) attention() *ir.Value {
	x := g.op("Unsqueeze", []*ir.Value{g.rows(), g.b.Ints(0)}) // [1, rows, 4]
	return g.op("Attention", []*ir.Value{x, g.op("Tanh", []*ir.Value{x}), x}, "q_num_heads", 2, "kv_num_heads", 1+g.IntN(2), "is_causal", g.IntN(2))
}

// spelledNorm is a normalisation as exporters write it.
func (g *generator) spelledNorm() *ir.Value {
	x := g.rows()
	mean := func(y *ir.Value) *ir.Value { return g.op("ReduceMean", []*ir.Value{y, g.b.Ints(-1)}) }
	d := x
	if g.IntN(2) == 0 {
		d = g.op("Sub", []*ir.Value{x, mean(x)})
	}
	square := g.op("Mul", []*ir.Value{d, d})
	if g.IntN(2) == 0 {
		square = g.op("Pow", []*ir.Value{d, g.scalar(2)})
	}
	s := g.op("Sqrt", []*ir.Value{g.op("Add", []*ir.Value{mean(square), g.scalar(0.001)})})
	y := g.op("Div", []*ir.Value{d, s})
	if g.IntN(2) == 0 {
		y = g.op("Mul", []*ir.Value{d, g.op("Reciprocal", []*ir.Value{s})})
	}
	return g.op("Mul", []*ir.Value{y, g.weight(4)})
}

// spelledAttention is attention as exporters write it.
func (g *generator) spelledAttention() *ir.Value {
	q, k, v := g.rows(), g.rows(), g.rows()
	s := g.op("Mul", []*ir.Value{g.op("MatMul", []*ir.Value{q, g.op("Transpose", []*ir.Value{k}, "perm", []int64{1, 0})}), g.scalar(0.5)})
	if g.IntN(2) == 0 {
		s = g.op("Where", []*ir.Value{g.op("Less", []*ir.Value{s, g.scalar(3)}), s, g.scalar(-1e4)})
	}
	return g.op("MatMul", []*ir.Value{g.op("Softmax", []*ir.Value{s}, "axis", -1), v})
}

// kept is a size that the data tell, used as one.
func (g *generator) kept() *ir.Value {
	at := g.op("NonZero", []*ir.Value{g.m.Main().Params[2]}) // [1, count]
	n := g.op("Gather", []*ir.Value{g.op("Shape", []*ir.Value{at}), g.b.Const(tensor.Scalar(int64(1)))})
	r := g.op("Range", []*ir.Value{g.b.Const(tensor.Scalar(int64(0))), n, g.b.Const(tensor.Scalar(int64(1)))})
	if g.IntN(2) == 0 {
		return g.toFloat(r)
	}
	g.ints = append(g.ints, g.op("Unsqueeze", []*ir.Value{n, g.b.Ints(0)}))
	return g.op("Gather", []*ir.Value{g.m.Main().Params[2], r})
}

// roundTrips says what is lost of a module in a copy, as text, or as protobuf.
func roundTrips(m *ir.Module) error {
	was := text.String(m)
	same := func(how string, again *ir.Module, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", how, err)
		case text.String(again) != was:
			return fmt.Errorf("%s: it is another module:\n%s", how, text.String(again))
		}
		return ir.Verify(again)
	}
	if err := same("a copy", m.Clone(), nil); err != nil {
		return err
	}
	again, err := text.Parse("m", []byte(was), m.Lookup)
	if err := same("as text", again, err); err != nil {
		return err
	}
	data, arena, err := irpb.Marshal(m)
	if err == nil {
		again, err = irpb.Unmarshal(data, irpb.Options{Arena: arena})
	}
	return same("as protobuf", again, err)
}
