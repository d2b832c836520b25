package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Steps of optimizers: a learning rate R, the number of updates so far T, then tensors,
// their gradients, and their states, each list as long as the others. Results are the new
// tensors and states.

var wideFloats = []tensor.DType{tensor.F32, tensor.F64}

// optimizer registers the step of an optimizer with so many states. step gets the learning
// rate and the number of updates in f64, a tensor's element, its gradient (that of the
// regularization added) and its states; it gives the new element and states.
func optimizer(name, doc string, states int, as []ir.AttrDef, step func(c *call, r, t, x, g *scalar, s []*scalar) []*scalar) *ir.OpDef {
	lists := states + 2 // of operands
	return ir.Register(&ir.OpDef{
		Name: "ai.onnx.preview.training." + name, Since: since(1), Doc: doc,
		In:  ops(in("R", "", wideFloats), in("T", "", i64s), variadic("inputs", "", wideFloats)),
		Out: ops(variadic("outputs", "", wideFloats)), Attrs: as,
		Deduce: func(c *call) error {
			if m := c.Str("mode"); c.HasAttr("mode") && m != "standard" && m != "nesterov" {
				return c.Errorf("mode %q is neither standard nor nesterov", m)
			}
			n := (len(c.In) - 2) / lists
			if n < 1 || len(c.In) != 2+n*lists || len(c.Out) > n*(states+1) {
				return c.Errorf("%d operands and %d results, it takes %d and gives %d for each tensor", len(c.In)-2, len(c.Out), lists, states+1)
			}
			for i := 2; i < len(c.In); i++ {
				of := 2 + (i-2)%n
				same := c.Has(i) && c.DType(i) == c.DType(of) && c.Rank(i) == c.Rank(of)
				for j := 0; same && j < c.Rank(i); j++ {
					same = c.Syms.Equal(c.Dims(i)[j], c.Dims(of)[j]) != sym.False
				}
				if !same {
					return c.Errorf("operand %d is %s, it belongs to a tensor %s", i, c.Tensor(i), c.Tensor(of))
				}
			}
			for i := range c.Out {
				c.SetOut(i, c.DType(2+i%n), c.Dims(2+i%n)...)
			}
			return single(c, 0, 1)
		},
		Body: func(c *call, b *ir.Body) error {
			n := (len(c.In) - 2) / lists
			for i := range c.Out {
				if !c.Wants(i) {
					continue
				}
				axes := b.Axes(b.Out(i).Dims)
				at := func(list int) *scalar { return b.Load(b.In(2+list*n+i%n), ir.Ix(axes)...) }
				x := at(0)
				g := x.Const(c.Float("norm_coefficient")).Mul(x).Add(at(1))
				s := make([]*scalar, states)
				for j := range s {
					s[j] = at(2 + j)
				}
				f64 := func(e *scalar) *scalar { return e.To(tensor.F64) }
				b.Map(b.Out(i), axes, step(c, f64(loadSingle(b, 0)), f64(loadSingle(b, 1)), x, g, s)[i/n])
			}
			return nil
		},
	})
}

var Adagrad = optimizer("Adagrad", "a step of ADAGRAD", 1,
	attrs(attr("decay_factor", 0.0), attr("epsilon", 1e-6), attr("norm_coefficient", 0.0)),
	func(c *call, r, t, x, g *scalar, s []*scalar) []*scalar {
		r = r.Div(r.Const(1).Add(t.Mul(t.Const(c.Float("decay_factor"))))).To(x.DType)
		h := s[0].Add(g.Mul(g))
		return []*scalar{x.Sub(r.Mul(g).Div(h.Sqrt().Add(h.Const(c.Float("epsilon"))))), h}
	})

var Adam = optimizer("Adam", "a step of ADAM", 2,
	attrs(attr("alpha", 0.9), attr("beta", 0.999), attr("epsilon", 1e-6), attr("norm_coefficient", 0.0), attr("norm_coefficient_post", 0.0)),
	func(c *call, r, t, x, g *scalar, s []*scalar) []*scalar {
		k := x.Const
		alpha, beta := c.Float("alpha"), c.Float("beta")
		v := k(alpha).Mul(s[0]).Add(k(1 - alpha).Mul(g))
		h := k(beta).Mul(s[1]).Add(k(1 - beta).Mul(g.Mul(g)))
		one := t.Const(1)
		corrected := r.Mul(one.Sub(t.Const(beta).Pow(t)).Sqrt()).Div(one.Sub(t.Const(alpha).Pow(t)))
		r = ir.Select(t.Gt(t.Const(0)), corrected, r).To(x.DType)
		x = x.Sub(r.Mul(v.Div(h.Sqrt().Add(k(c.Float("epsilon"))))))
		return []*scalar{k(1 - c.Float("norm_coefficient_post")).Mul(x), v, h}
	})

// Momentum takes the whole gradient in the first step.
var Momentum = optimizer("Momentum", "a step of gradient descent with momentum", 1,
	attrs(attrReq("alpha", 0.0), attrReq("beta", 0.0), attrReq("mode", ""), attrReq("norm_coefficient", 0.0)),
	func(c *call, r, t, x, g *scalar, s []*scalar) []*scalar {
		alpha := x.Const(c.Float("alpha"))
		beta := ir.Select(t.Gt(t.Const(0)), x.Const(c.Float("beta")), x.Const(1))
		v := alpha.Mul(s[0]).Add(beta.Mul(g))
		step := v
		if c.Str("mode") == "nesterov" {
			step = g.Add(alpha.Mul(v))
		}
		return []*scalar{x.Sub(r.To(x.DType).Mul(step)), v}
	})
