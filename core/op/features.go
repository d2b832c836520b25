package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Preparation of features, and linear models on them.

var featureTypes = []tensor.DType{tensor.F32, tensor.F64, tensor.I64, tensor.I32}

// wideOf is what features are computed with in: f64 for f64, else f32.
func wideOf(d tensor.DType) tensor.DType {
	if d == tensor.F64 {
		return d
	}
	return tensor.F32
}

// feature makes the operators of a Call easier to write out.
type feature struct {
	c *call
	b *ir.Builder
}

func (f feature) op(name string, args ...*ir.Value) *ir.Value { return f.b.Op("onnx."+name, args) }

func (f feature) cast(x *ir.Value, d tensor.DType) *ir.Value {
	return f.b.Op("onnx.Cast", []*ir.Value{x}, "to", d)
}

// floats is a constant of an element type.
func (f feature) floats(v []float64, d tensor.DType, shape ...int64) *ir.Value {
	t := tensor.New(d, shape...)
	for i, x := range v {
		t.SetFloat(int64(i), x)
	}
	return f.b.Const(t)
}

// perFeature checks an attribute of one number, or one for each position of the last dim.
func perFeature(c *call, name string, n int) error {
	d := c.Dims(0)
	if n == 1 || n > 0 && len(d) > 0 && c.Syms.Equal(d[len(d)-1], sym.Const(int64(n))) != sym.False {
		return nil
	}
	return c.Errorf("%s has %d entries for %s; it takes 1, or one for each position of the last dim", name, n, c.Tensor(0))
}

// Binarizer is 1 above a threshold, else 0.
var Binarizer = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.Binarizer", Since: since(1), Doc: "1 above a threshold, else 0",
	In: ops(in("X", "T", featureTypes)), Out: ops(in("Y", "T", featureTypes)), Attrs: attrs(attr("threshold", 0.0)),
	Deduce: sameAs(0),
	Body: elementwise(func(c *call, x []*scalar) *scalar {
		wide := asFloat(x[0])
		return ir.Select(wide.Gt(wide.Const(c.Float("threshold"))), x[0].Const(1), x[0].Const(0))
	}),
})

// ArrayFeatureExtractor takes positions of the last dim. Of a list it makes a matrix of
// one row.
var ArrayFeatureExtractor = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.ArrayFeatureExtractor", Since: since(1), Doc: "positions of the last dim",
	In: ops(in("X", "T", append(featureTypes[:4:4], tensor.String)), in("Y", "", i64s)), Out: ops(in("Z", "T", append(featureTypes[:4:4], tensor.String))),
	Deduce: func(c *call) error {
		d := c.Dims(0)
		if len(d) == 0 {
			return c.Errorf("a scalar has no features")
		}
		out := slices.Clone(d[:len(d)-1])
		if len(out) == 0 {
			out = append(out, sym.Const(1))
		}
		c.SetOut(0, c.DType(0), append(out, c.Tensor(1).Size())...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		axes := b.Axes(b.Out(0).Dims)
		n := len(axes)
		at := b.LoadIx(b.In(1), unflatten(axes[n-1].Ix(), c.Dims(1))...)
		ix := append(ir.Ix(axes[:n-1]), at)
		b.Map(b.Out(0), axes, ir.Load(b.In(0), ix[len(ix)-c.Rank(0):]...))
		return nil
	},
})

// Scaler is (x - offset) * scale.
var Scaler = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.Scaler", Since: since(1), Doc: "(x - offset) * scale",
	In: ops(in("X", "T", featureTypes)), Out: ops(in("Y", "", f32s)),
	Attrs: attrs(attrOpt("offset", []float64(nil)), attrOpt("scale", []float64(nil))),
	Deduce: func(c *call) error {
		c.SetOut(0, tensor.F32, c.Dims(0)...)
		for _, name := range []string{"offset", "scale"} {
			if v := c.FloatList(name); v != nil {
				if err := perFeature(c, name, len(v)); err != nil {
					return err
				}
			}
		}
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		f, wide := feature{c, b}, wideOf(c.DType(0))
		y := f.cast(args[0], wide)
		for _, s := range [][2]string{{"offset", "Sub"}, {"scale", "Mul"}} {
			switch v := c.FloatList(s[0]); len(v) {
			case 0:
			case 1: // of any rank
				y = f.op(s[1], y, f.floats(v, wide))
			default:
				y = f.op(s[1], y, f.floats(v, wide, int64(len(v))))
			}
		}
		return []*ir.Value{f.cast(y, tensor.F32)}, nil
	},
})

// Imputer puts values in the place of those that are missing: equal to a number, or NaN.
var Imputer = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.Imputer", Since: since(1), Doc: "values for what is missing",
	In: ops(in("X", "T", featureTypes)), Out: ops(in("Y", "T", featureTypes)),
	Attrs: attrs(attrOpt("imputed_value_floats", []float64(nil)), attrOpt("imputed_value_int64s", []int64(nil)), attr("replaced_value_float", 0.0),
		attr("replaced_value_int64", 0)),
	Deduce: func(c *call) error {
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		name, n := "imputed_value_floats", len(c.FloatList("imputed_value_floats"))
		if c.DType(0).IsInt() {
			name, n = "imputed_value_int64s", len(c.IntList("imputed_value_int64s"))
		}
		return perFeature(c, name, n)
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		f, d := feature{c, b}, c.DType(0)
		n := len(c.FloatList("imputed_value_floats"))
		if d.IsInt() {
			n = len(c.IntList("imputed_value_int64s"))
		}
		shape := []int64{int64(n)}
		if n == 1 {
			shape = nil // of any rank
		}
		values, missing := tensor.New(d, shape...), tensor.New(d)
		for i := range int64(n) {
			if d.IsInt() {
				values.SetInt(i, c.IntList("imputed_value_int64s")[i])
			} else {
				values.SetFloat(i, c.FloatList("imputed_value_floats")[i])
			}
		}
		var is *ir.Value
		switch r := c.Float("replaced_value_float"); {
		case d.IsInt():
			missing.SetInt(0, c.Int("replaced_value_int64"))
			is = f.op("Equal", args[0], b.Const(missing))
		case r != r:
			is = f.op("IsNaN", args[0])
		default:
			missing.SetFloat(0, r)
			is = f.op("Equal", args[0], b.Const(missing))
		}
		return []*ir.Value{f.op("Where", is, b.Const(values), args[0])}, nil
	},
})

// Normalizer divides the rows of a matrix, or a list, by their largest element, the sum of
// their absolute values, or the root of the sum of their squares; where that is 0 they
// stay.
var Normalizer = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.Normalizer", Since: since(1), Doc: "divides rows by their norm",
	In: ops(in("X", "T", featureTypes)), Out: ops(in("Y", "", f32s)), Attrs: attrs(attr("norm", "MAX")),
	Deduce: func(c *call) error {
		if n := c.Str("norm"); n != "MAX" && n != "L1" && n != "L2" {
			return c.Errorf("norm %q is none of MAX, L1, L2", n)
		}
		if r := c.Rank(0); r != 1 && r != 2 {
			return c.Errorf("an operand of rank %d, it takes a list or a matrix", r)
		}
		c.SetOut(0, tensor.F32, c.Dims(0)...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		X := b.In(0)
		last := len(X.Dims) - 1
		load := func(ix []*scalar) *scalar { return ir.Load(X, ix...).To(wideOf(X.DType)) }
		m := ir.Sum
		if c.Str("norm") == "MAX" {
			m = ir.Max
		}
		rows, j := b.Axes(X.Dims[:last]), b.Axis(X.Dims[last])
		x := load(append(ir.Ix(rows), j.Ix()))
		switch c.Str("norm") {
		case "L1":
			x = x.Abs()
		case "L2":
			x = x.Mul(x)
		}
		norm := b.Reduced(rows, m, []*ir.Axis{j}, x)
		axes := b.Axes(X.Dims)
		n := ir.Load(norm, ir.Ix(axes[:last])...)
		if c.Str("norm") == "L2" {
			n = n.Sqrt()
		}
		y := load(ir.Ix(axes))
		b.Map(b.Out(0), axes, ir.Select(n.Eq(n.Const(0)), y, y.Div(n)))
		return nil
	},
})

// FeatureVectorizer joins matrices, and lists as rows, side by side.
var FeatureVectorizer = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.FeatureVectorizer", Since: since(1), Doc: "features side by side",
	In: ops(variadic("X", "T1", featureTypes)), Out: ops(in("Y", "", f32s)), Attrs: attrs(attrOpt("inputdimensions", []int64(nil))),
	Deduce: func(c *call) error {
		sizes := c.IntList("inputdimensions")
		if len(c.In) == 0 || sizes != nil && len(sizes) != len(c.In) {
			return c.Errorf("%d operands and %d inputdimensions", len(c.In), len(sizes))
		}
		rows, width := sym.Const(1), sym.Const(0)
		for i := range c.In {
			d := c.Dims(i)
			if len(d) < 1 || len(d) > 2 {
				return c.Errorf("operand %d has rank %d, it takes lists and matrices", i, len(d))
			}
			n := sym.Const(1)
			if len(d) == 2 {
				n = d[0]
			}
			if i > 0 && c.Syms.Equal(rows, n) == sym.False {
				return c.Errorf("operands of %s and %s rows", rows, n)
			}
			if sizes != nil && c.Syms.Equal(d[len(d)-1], sym.Const(sizes[i])) == sym.False {
				return c.Unsupported("%s features of which inputdimensions says %d", d[len(d)-1], sizes[i])
			}
			rows, width = simpler(n, rows), width.Add(d[len(d)-1])
			if i == 0 {
				rows = n
			}
		}
		c.SetOut(0, tensor.F32, rows, width)
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		f := feature{c, b}
		sizes := c.IntList("inputdimensions")
		list := make([]*ir.Value, len(args))
		for i, x := range args {
			if c.Rank(i) == 1 {
				x = f.op("Unsqueeze", x, b.Ints(0))
			}
			if t, ok := x.Tensor(); ok && sizes != nil {
				x = b.MatchCast(x, ir.TensorOf(t.DType, t.Dims[0], sym.Const(sizes[i])))
			}
			list[i] = f.cast(x, tensor.F32)
		}
		return []*ir.Value{b.Op("onnx.Concat", list, "axis", 1)}, nil
	},
})

// OneHotEncoder has a 1 at the place of each element among the categories, else 0.
var OneHotEncoder = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.OneHotEncoder", Since: since(1), Doc: "1 at the place among categories, else 0",
	In: ops(in("X", "T", append(featureTypes[:4:4], tensor.String))), Out: ops(in("Y", "", f32s)),
	Attrs: attrs(attrOpt("cats_int64s", []int64(nil)), attrOpt("cats_strings", []string(nil)), attr("zeros", 1)),
	Deduce: func(c *call) error {
		ints, strs := c.IntList("cats_int64s"), c.StrList("cats_strings")
		if (ints == nil) == (strs == nil) || (c.DType(0) == tensor.String) != (strs != nil) {
			return c.Errorf("it takes one list of categories: cats_strings for strings, cats_int64s for numbers")
		}
		if !c.Flag("zeros") {
			return c.Unsupported("zeros = 0, to fail where an element is of no category")
		}
		c.SetOut(0, tensor.F32, append(slices.Clone(c.Dims(0)), sym.Const(int64(len(ints)+len(strs))))...)
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		f := feature{c, b}
		x, categories := args[0], tensorOf(c.StrList("cats_strings"))
		if c.DType(0) != tensor.String {
			x, categories = f.cast(x, tensor.I64), tensorOf(c.IntList("cats_int64s"))
		}
		x = f.op("Unsqueeze", x, b.Ints(-1))
		return []*ir.Value{f.cast(f.op("Equal", x, b.Const(categories)), tensor.F32)}, nil
	},
})

// linearScores is X times coefficients, one row of them for each of n scores, plus
// intercepts.
func (f feature) linearScores(x *ir.Value, n int64) *ir.Value {
	wide := wideOf(f.c.DType(0))
	w := f.c.FloatList("coefficients")
	y := f.b.Op("onnx.Gemm", []*ir.Value{f.cast(x, wide), f.floats(w, wide, n, int64(len(w))/n)}, "transB", 1)
	if v := f.c.FloatList("intercepts"); len(v) > 0 {
		y = f.op("Add", y, f.floats(v, wide, int64(len(v))))
	}
	return y
}

// checkLinear checks a linear model of n scores on a matrix of features.
func checkLinear(c *call, n int64) error {
	d, w := c.Dims(0), int64(len(c.FloatList("coefficients")))
	if len(d) != 2 {
		return c.Errorf("an operand of rank %d, it takes a matrix", len(d))
	}
	if n < 1 || w == 0 || w%n != 0 || c.Syms.Equal(d[1], sym.Const(w/n)) == sym.False {
		return c.Errorf("%d coefficients for %d scores of %s features", w, n, d[1])
	}
	if v := c.FloatList("intercepts"); len(v) > 0 && int64(len(v)) != n {
		return c.Errorf("%d intercepts for %d scores", len(v), n)
	}
	return checkTransform(c)
}

func checkTransform(c *call) error {
	switch t := c.Str("post_transform"); t {
	case "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO":
		return nil
	case "PROBIT":
		return c.Unsupported("post_transform PROBIT, which others compute by approximations that differ")
	default:
		return c.Errorf("post_transform %q is none of NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT", t)
	}
}

// transformed applies the post_transform to rows of scores.
func (f feature) transformed(x *ir.Value) *ir.Value {
	switch f.c.Str("post_transform") {
	case "SOFTMAX":
		return f.op("Softmax", x)
	case "LOGISTIC":
		return f.op("Sigmoid", x)
	case "SOFTMAX_ZERO": // scores that are 0 stay about that, whatever the others are
		t, _ := x.Tensor()
		scalar := func(v float64) *ir.Value { return f.floats([]float64{v}, t.DType) }
		top := f.b.Op("onnx.ReduceMax", []*ir.Value{x, f.b.Ints(-1)}, "keepdims", 1)
		zero := f.op("LessOrEqual", f.op("Abs", x), scalar(1e-7))
		e := f.op("Where", zero, f.op("Mul", x, f.op("Exp", f.op("Neg", top))), f.op("Exp", f.op("Sub", x, top)))
		sum := f.b.Op("onnx.ReduceSum", []*ir.Value{e, f.b.Ints(-1)}, "keepdims", 1)
		return f.op("Where", f.op("Equal", sum, scalar(0)), scalar(0.5), f.op("Div", e, sum))
	}
	return x
}

// LinearRegressor is X times the coefficients of each target, plus its intercept.
var LinearRegressor = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.LinearRegressor", Since: since(1), Doc: "linear regression",
	In: ops(in("X", "T", featureTypes)), Out: ops(in("Y", "", f32s)),
	Attrs: attrs(attrOpt("coefficients", []float64(nil)), attrOpt("intercepts", []float64(nil)), attr("post_transform", "NONE"), attr("targets", 1)),
	Deduce: func(c *call) error {
		if err := checkLinear(c, c.Int("targets")); err != nil {
			return err
		}
		c.SetOut(0, tensor.F32, c.Dims(0)[0], sym.Const(c.Int("targets")))
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		f := feature{c, b}
		return []*ir.Value{f.cast(f.transformed(f.linearScores(args[0], c.Int("targets"))), tensor.F32)}, nil
	},
})

// LinearClassifier gives the label of the best score, and all scores. Of two classes one
// score may be given: the other one's is its negative.
var LinearClassifier = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.LinearClassifier", Since: since(1), Doc: "linear classification",
	In: ops(in("X", "T1", featureTypes)), Out: ops(in("Y", "", labelTypes[:2]), in("Z", "", f32s)),
	Attrs: attrs(attrOpt("classlabels_ints", []int64(nil)), attrOpt("classlabels_strings", []string(nil)), attrReq("coefficients", []float64(nil)),
		attrOpt("intercepts", []float64(nil)), attr("multi_class", 0), attr("post_transform", "NONE")),
	Deduce: func(c *call) error {
		labels, rows, err := classesOf(c)
		if err != nil {
			return err
		}
		if err := checkLinear(c, rows); err != nil {
			return err
		}
		c.SetOut(0, labels.DType(), c.Dims(0)[0])
		c.SetOut(1, tensor.F32, c.Dims(0)[0], sym.Const(labels.Len()))
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		labels, rows, err := classesOf(c)
		if err != nil {
			return nil, err
		}
		f := feature{c, b}
		x := f.linearScores(args[0], rows)
		if rows == 1 {
			x = b.Op("onnx.Concat", []*ir.Value{f.op("Neg", x), x}, "axis", 1)
		}
		x = f.transformed(x)
		best := b.Op("onnx.ArgMax", []*ir.Value{x}, "axis", 1, "keepdims", 0)
		return []*ir.Value{f.op("Gather", b.Const(labels), best), f.cast(x, tensor.F32)}, nil
	},
})

// classesOf are the labels of a classifier's classes, and the number of scores that it
// computes: one for each, or one for two.
func classesOf(c *call) (*tensor.Tensor, int64, error) {
	ints, strs := c.IntList("classlabels_ints"), c.StrList("classlabels_strings")
	if (len(ints) == 0) == (len(strs) == 0) {
		return nil, 0, c.Errorf("it takes one list of labels")
	}
	labels := tensorOf(ints)
	if len(strs) > 0 {
		labels = tensorOf(strs)
	}
	n := labels.Len()
	if n == 1 {
		return nil, 0, c.Unsupported("one class")
	}
	if d := c.Dims(0); n == 2 && len(d) == 2 {
		switch w := int64(len(c.FloatList("coefficients"))); c.Syms.Equal(d[1], sym.Const(w)) {
		case sym.True:
			return labels, 1, nil
		case sym.Unknown: // which one it is follows from the number of intercepts
			if len(c.FloatList("intercepts")) == 1 {
				return labels, 1, nil
			} else if len(c.FloatList("intercepts")) == 0 {
				return nil, 0, c.Unsupported("two classes, an unknown number of features and no intercepts")
			}
		}
	}
	return labels, n, nil
}
