package op

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// source is where a random operator draws from: with a seed of its own it draws the same
// each time it runs, without it from the run's.
func source(k *ir.KernelCall) *rand.Rand {
	switch seed := k.Attrs.Get("seed").(type) {
	case float64:
		return rand.New(rand.NewPCG(math.Float64bits(seed), 0))
	case int64:
		return rand.New(rand.NewPCG(uint64(seed), 0))
	}
	return k.Rand
}

var seed = attrOpt("seed", float64(0))

// sampler registers an operator that draws each element of its result by itself.
func sampler(def ir.OpDef, draw func(k *ir.KernelCall, r *rand.Rand, i int64) float64) *ir.OpDef {
	def.Effect = ir.Random
	def.Kernel = func(k *ir.KernelCall) ([]tensor.Value, error) {
		t := k.Out[0].(ir.TensorType)
		shape, _ := t.Static() // exact at run time
		out, err := tensor.Make(t.DType, shape)
		if err != nil {
			return nil, err
		}
		r := source(k)
		for i := range out.Len() {
			if i%4096 == 0 && k.Context.Err() != nil {
				return nil, k.Context.Err()
			}
			out.SetFloat(i, draw(k, r, i))
		}
		return []tensor.Value{out}, nil
	}
	return ir.Register(&def)
}

// shapeAttr is the shape rule of samplers that have their shape in an attribute.
func shapeAttr(c *call) error {
	d, err := dtypeAttr(c, "dtype", floats, tensor.F32)
	if err != nil {
		return err
	}
	shape := c.IntList("shape")
	if _, ok := tensor.Count(shape); !ok {
		return c.Errorf("shape %v can not be", shape)
	}
	c.SetOut(0, d, ir.Consts(shape)...)
	return nil
}

// likeOperand is the shape rule of samplers with the shape of their operand, and its
// element type unless an attribute names another one of types.
func likeOperand(types []tensor.DType) func(*call) error {
	return func(c *call) error {
		d, err := dtypeAttr(c, "dtype", types, c.DType(0))
		if err == nil && !slices.Contains(types, d) {
			err = c.Errorf("attribute dtype is missing: results can not be %s", d)
		}
		c.SetOut(0, d, c.Dims(0)...)
		return err
	}
}

func drawUniform(k *ir.KernelCall, r *rand.Rand, _ int64) float64 {
	low, high := k.Float("low"), k.Float("high")
	return low + (high-low)*r.Float64()
}

func drawNormal(k *ir.KernelCall, r *rand.Rand, _ int64) float64 {
	return k.Float("mean") + k.Float("scale")*r.NormFloat64()
}

var (
	uniform   = attrs(attr("low", 0.0), attr("high", 1.0), seed)
	normal    = attrs(attr("mean", 0.0), attr("scale", 1.0), seed)
	ownShape  = attrs(attr("dtype", int64(tensor.F32.ONNX())), attrReq("shape", []int64(nil)))
	ownDType  = attrs(attrOpt("dtype", int64(0)))
	drawn     = ops(in("output", "", nil))
	pattern   = ops(in("input", "", anyTensor))
	drawTypes = slices.Concat(numeric, bools)

	RandomUniform = sampler(ir.OpDef{Name: "onnx.RandomUniform", Since: since(1, 22), Doc: "uniformly distributed numbers",
		Out: drawn, Attrs: slices.Concat(ownShape, uniform), Deduce: shapeAttr}, drawUniform)
	RandomNormal = sampler(ir.OpDef{Name: "onnx.RandomNormal", Since: since(1, 22), Doc: "normally distributed numbers",
		Out: drawn, Attrs: slices.Concat(ownShape, normal), Deduce: shapeAttr}, drawNormal)
	RandomUniformLike = sampler(ir.OpDef{Name: "onnx.RandomUniformLike", Since: since(1, 22), Doc: "uniformly distributed numbers in the shape of the operand",
		In: pattern, Out: drawn, Attrs: slices.Concat(ownDType, uniform), Deduce: likeOperand(floats)}, drawUniform)
	RandomNormalLike = sampler(ir.OpDef{Name: "onnx.RandomNormalLike", Since: since(1, 22), Doc: "normally distributed numbers in the shape of the operand",
		In: pattern, Out: drawn, Attrs: slices.Concat(ownDType, normal), Deduce: likeOperand(floats)}, drawNormal)
	Bernoulli = sampler(ir.OpDef{Name: "onnx.Bernoulli", Since: since(15, 22), Doc: "1 with the probability that the operand says, else 0",
		In: ops(in("input", "", floats)), Out: drawn, Attrs: append(attrs(seed), ownDType...), Deduce: likeOperand(drawTypes)},
		func(k *ir.KernelCall, r *rand.Rand, i int64) float64 {
			if r.Float64() < k.Arg(0).Float(i) {
				return 1
			}
			return 0
		})
)

// Multinomial draws class numbers for each row of logarithms of probabilities, which need
// not add up to 1.
var Multinomial = ir.Register(&ir.OpDef{
	Name: "onnx.Multinomial", Since: since(7, 22), Doc: "class numbers drawn by logarithms of probabilities", Effect: ir.Random,
	In: ops(in("input", "", floats)), Out: ops(in("output", "", indices)),
	Attrs: attrs(attr("dtype", int64(tensor.I32.ONNX())), attr("sample_size", 1), seed),
	Deduce: func(c *call) error {
		n := c.Int("sample_size")
		if c.Rank(0) != 2 || n < 0 {
			return c.Errorf("%d draws from classes of shape %s", n, ir.ShapeString(c.Dims(0)))
		}
		d, err := dtypeAttr(c, "dtype", indices, tensor.I32)
		c.SetOut(0, d, c.Dims(0)[0], sym.Const(n))
		return err
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x, t := k.Arg(0), k.Out[0].(ir.TensorType)
		shape, _ := t.Static()
		out, err := tensor.Make(t.DType, shape)
		if err != nil {
			return nil, err
		}
		classes := x.Shape()[1]
		if classes == 0 && out.Len() > 0 {
			return nil, k.Errorf("there are no classes to draw from")
		}
		r := source(k)
		upTo := make([]float64, classes) // probability, not normalised, of this class and those before
		for row := range shape[0] {
			top := math.Inf(-1)
			for j := range classes {
				top = max(top, x.Float(row*classes+j))
			}
			sum := 0.0
			for j := range upTo {
				sum += math.Exp(x.Float(row*classes+int64(j)) - top)
				upTo[j] = sum
			}
			for i := range shape[1] {
				j, _ := slices.BinarySearchFunc(upTo, r.Float64()*sum, func(p, u float64) int {
					if p <= u { // class j has [upTo[j-1], upTo[j])
						return -1
					}
					return 1
				})
				out.SetInt(row*shape[1]+i, int64(min(j, len(upTo)-1)))
			}
		}
		return []tensor.Value{out}, nil
	},
})

// Dropout gives its operand, and a mask of ones; in training mode it zeroes elements with
// probability ratio and scales up what is left.
var Dropout = ir.Register(&ir.OpDef{
	Name: "onnx.Dropout", Since: since(1, 6, 7, 10, 12, 13, 22), Doc: "its operand; in training with random zeros", Effect: ir.Random,
	In:    ops(in("data", "T", slices.Concat(floats, floats8)), opt("ratio", "T1", slices.Concat(floats, floats8)), opt("training_mode", "", bools)),
	Out:   ops(in("output", "T", slices.Concat(floats, floats8)), opt("mask", "", bools)),
	Attrs: attrs(attrOpt("seed", int64(0))),
	Deduce: func(c *call) error {
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		c.SetOut(1, tensor.Bool, c.Dims(0)...)
		return single(c, 1, 2)
	},
	Body: func(c *call, b *ir.Body) error {
		if c.Has(2) {
			switch training := c.Const(2); {
			case training == nil:
				return ir.ErrDynamic
			case training.Bool(0):
				return ir.ErrNoProgram
			}
		}
		for i, f := range []func([]*scalar) *scalar{
			func(ix []*scalar) *scalar { return ir.Load(b.In(0), ix...) },
			func([]*scalar) *scalar { return ir.Lit(tensor.Bool, 1) },
		} {
			if c.Wants(i) {
				axes := b.Axes(c.Dims(0))
				b.Map(b.Out(i), axes, f(ir.Ix(axes)))
			}
		}
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x, ratio := k.Arg(0), 0.5
		if t := k.Arg(1); t != nil {
			ratio = t.Float(0)
		}
		if !(ratio >= 0 && ratio < 1) {
			return nil, k.Errorf("ratio is %g, it must be in [0, 1)", ratio)
		}
		y, err := tensor.Make(x.DType(), x.Shape())
		if err != nil {
			return nil, err
		}
		mask, err := tensor.Make(tensor.Bool, x.Shape())
		if err != nil {
			return nil, err
		}
		r := source(k)
		for i := range x.Len() {
			if i%4096 == 0 && k.Context.Err() != nil {
				return nil, k.Context.Err()
			}
			if r.Float64() >= ratio {
				mask.SetBool(i, true)
				y.SetFloat(i, x.Float(i)/(1-ratio))
			}
		}
		return []tensor.Value{y, mask}, nil
	},
})
