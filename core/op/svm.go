package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// SVMRegressor is a sum of kernels between a row and support vectors, or without these a
// linear function; for one class it is the sign of that.
var SVMRegressor = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.SVMRegressor", Since: since(1), Doc: "regression by support vectors",
	In: ops(in("X", "T", featureTypes)), Out: ops(in("Y", "", f32s)),
	Attrs: attrs(attrOpt("coefficients", []float64(nil)), attrOpt("kernel_params", []float64(nil)), attr("kernel_type", "LINEAR"), attr("n_supports", 0),
		attr("one_class", 0), attr("post_transform", "NONE"), attrOpt("rho", []float64(nil)), attrOpt("support_vectors", []float64(nil))),
	Deduce: func(c *call) error {
		if err := checkSupports(c); err != nil {
			return err
		}
		c.SetOut(0, tensor.F32, c.Dims(0)[0], sym.Const(1))
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		if err := checkSupports(c); err != nil {
			return nil, err
		}
		f, wide := feature{c, b}, wideOf(c.DType(0))
		x := f.cast(args[0], wide)
		scalar := func(v float64) *ir.Value { return f.floats([]float64{v}, wide) }
		w := c.FloatList("coefficients")
		if n := c.Int("n_supports"); n > 0 {
			x = f.kernel(x, wide, n)
		}
		y := f.op("MatMul", x, f.floats(w, wide, int64(len(w)), 1))
		y = f.op("Add", y, scalar(c.FloatList("rho")[0]))
		if c.Flag("one_class") {
			y = f.op("Where", f.op("Greater", y, scalar(0)), scalar(1), scalar(-1))
		}
		return []*ir.Value{f.cast(f.transformed(y), tensor.F32)}, nil
	},
})

// kernel is the kernel between rows of x and n support vectors: [rows, n].
func (f feature) kernel(x *ir.Value, wide tensor.DType, n int64) *ir.Value {
	c := f.c
	v := c.FloatList("support_vectors")
	vectors := f.floats(v, wide, n, int64(len(v))/n)
	scalar := func(v float64) *ir.Value { return f.floats([]float64{v}, wide) }
	param := func(i int) float64 {
		if p := c.FloatList("kernel_params"); p != nil {
			return p[i]
		}
		return 0
	}
	if c.Str("kernel_type") == "RBF" { // by differences, which do not cancel like squares
		d := f.op("Sub", f.op("Unsqueeze", x, f.b.Ints(1)), vectors)
		s := f.b.Op("onnx.ReduceSum", []*ir.Value{f.op("Mul", d, d), f.b.Ints(2)}, "keepdims", 0)
		return f.op("Exp", f.op("Mul", s, scalar(-param(0))))
	}
	s := f.b.Op("onnx.Gemm", []*ir.Value{x, vectors}, "transB", 1)
	if c.Str("kernel_type") == "LINEAR" {
		return s
	}
	s = f.op("Add", f.op("Mul", s, scalar(param(0))), scalar(param(1)))
	if c.Str("kernel_type") == "SIGMOID" {
		return f.op("Tanh", s)
	}
	return f.op("Pow", s, scalar(float64(int64(param(2)))))
}

func checkSupports(c *call) error {
	d, n, w, v := c.Dims(0), c.Int("n_supports"), int64(len(c.FloatList("coefficients"))), int64(len(c.FloatList("support_vectors")))
	if len(d) != 2 {
		return c.Errorf("an operand of rank %d, it takes a matrix", len(d))
	}
	features, fits := w, n == 0
	if n > 0 {
		fits = w == n && v%n == 0
		features = v / n
	}
	if !fits || w == 0 || c.Syms.Equal(d[1], sym.Const(features)) == sym.False {
		return c.Errorf("%d support vectors in %d numbers with %d coefficients, for %s features", n, v, w, d[1])
	}
	if len(c.FloatList("rho")) != 1 {
		return c.Errorf("rho has %d entries, it takes 1", len(c.FloatList("rho")))
	}
	if p := c.FloatList("kernel_params"); p != nil && len(p) != 3 {
		return c.Errorf("kernel_params has %d entries, it takes gamma, coef0 and degree", len(p))
	}
	switch k := c.Str("kernel_type"); k {
	case "LINEAR", "POLY", "RBF", "SIGMOID":
	default:
		return c.Errorf("kernel_type %q is none of LINEAR, POLY, RBF, SIGMOID", k)
	}
	return checkTransform(c)
}
