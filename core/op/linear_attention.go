package op

import (
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// CausalConvWithState is a depthwise convolution of each channel with the positions up to
// this one. What precedes the first is the state, zeros without one; the last k-1
// positions are the next state.
var CausalConvWithState = ir.Register(&ir.OpDef{
	Name: "onnx.CausalConvWithState", Since: since(27), Doc: "depthwise convolution over earlier positions, with a state",
	In:    ops(in("input", "T", floats), in("weight", "T", floats), opt("bias", "T", floats), opt("past_state", "T", floats)),
	Out:   ops(in("output", "T", floats), in("present_state", "T", floats)),
	Attrs: attrs(attr("activation", "none")),
	Deduce: func(c *call) error {
		x, w := c.Dims(0), c.Dims(1)
		if len(x) != 3 || len(w) != 3 || c.Syms.Equal(x[1], w[0]) == sym.False || c.Syms.Equal(w[1], sym.Const(1)) == sym.False ||
			c.Syms.LE(sym.Const(1), w[2]) == sym.False {
			return c.Errorf("input %s and weight %s, it takes [batch, channels, length] and [channels, 1, k]", c.Tensor(0), c.Tensor(1))
		}
		switch a := c.Str("activation"); a {
		case "none", "silu", "swish":
		default:
			return c.Errorf("activation %q is none of none, silu, swish", a)
		}
		state := []sym.Expr{x[0], x[1], c.Syms.Simplify(w[2].Sub(sym.Const(1)))}
		if c.Has(3) {
			s := c.Dims(3)
			ok := len(s) == 3
			for i := 0; ok && i < 3; i++ {
				ok = c.Syms.Equal(s[i], state[i]) != sym.False
			}
			if !ok {
				return c.Errorf("a state of shape %s, it takes %s", ir.ShapeString(s), ir.ShapeString(state))
			}
		}
		c.SetOut(0, c.DType(0), x...)
		c.SetOut(1, c.DType(0), state...)
		if c.Has(2) {
			return perChannel(c, x[1], 2)
		}
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		X, W := b.In(0), b.In(1)
		before := ir.SymVal(W.Dims[2].Sub(sym.Const(1)))
		// padded reads the state and the input behind it.
		padded := func(n, ch, p *scalar) *scalar {
			x := b.Load(X, n, ch, p.Sub(before))
			x = ir.Guard(p.Ge(before), x, x.Const(0))
			if c.Has(3) {
				x = ir.Guard(p.Lt(before), b.Load(b.In(3), n, ch, p), x)
			}
			return x
		}
		if c.Wants(0) {
			axes, k := b.Axes(X.Dims), b.Axis(W.Dims[2])
			n, ch := axes[0].Ix(), axes[1].Ix()
			sum := b.Reduced(axes, ir.Sum, []*ir.Axis{k}, padded(n, ch, axes[2].Ix().Add(k.Ix())).Mul(b.Load(W, ch, ir.IntLit(0), k.Ix())))
			axes = b.Axes(X.Dims)
			y := ir.Load(sum, ir.Ix(axes)...)
			if c.Has(2) {
				y = y.Add(b.Load(b.In(2), axes[1].Ix()))
			}
			if c.Str("activation") != "none" {
				y = y.Div(y.Const(1).Add(y.Neg().Exp()))
			}
			b.Map(b.Out(0), axes, y)
		}
		if c.Wants(1) {
			axes := b.Axes(b.Out(1).Dims)
			b.Map(b.Out(1), axes, padded(axes[0].Ix(), axes[1].Ix(), axes[2].Ix().Add(ir.SymVal(X.Dims[2]))))
		}
		return nil
	},
})

// LinearAttention keeps, for each key head, a matrix S from keys to values. Each token
// first lets S decay (the gated rules), then adds k v', where the delta rules replace v by
// beta (v - S'k), and reads scale S'q. Query heads may share key heads.
var LinearAttention = ir.Register(&ir.OpDef{
	Name: "onnx.LinearAttention", Since: since(27), Doc: "attention by a state that tokens write and read",
	In: ops(in("query", "T", floats), in("key", "T", floats), in("value", "T", floats), opt("past_state", "S", floats),
		opt("decay", "T", floats), opt("beta", "T", floats)),
	Out: ops(in("output", "T", floats), in("present_state", "S", floats)),
	Attrs: attrs(attr("chunk_size", 64), attrReq("kv_num_heads", int64(0)), attrReq("q_num_heads", int64(0)), attr("scale", 0.0),
		attr("update_rule", "gated_delta")),
	Deduce: func(c *call) error {
		l, err := linearOf(c)
		if err != nil {
			return err
		}
		c.SetOut(0, c.DType(0), l.batch, l.tokens, l.queries.Mul(l.values))
		c.SetOut(1, l.state, l.batch, l.keys, l.features, l.values)
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		l, err := linearOf(c)
		if err != nil {
			return nil, err
		}
		return l.expand(c, b, args), nil
	},
})

// linear are the sizes of a LinearAttention.
type linear struct {
	batch, tokens    sym.Expr
	queries, keys    sym.Expr // heads
	features, values sym.Expr // of a query or key, of a value
	state            tensor.DType
	gated, delta     bool
	shared           sym.Expr // query heads to a key head
}

func linearOf(c *call) (l linear, err error) {
	q, k := c.Int("q_num_heads"), c.Int("kv_num_heads")
	x, y, z := c.Dims(0), c.Dims(1), c.Dims(2)
	if q < 1 || k < 1 || q%k != 0 {
		return l, c.Errorf("%d query heads do not share %d key heads", q, k)
	}
	l.queries, l.keys, l.shared = sym.Const(q), sym.Const(k), sym.Const(q/k)
	divides := func(heads sym.Expr, d []sym.Expr) bool {
		return len(d) == 3 && c.Syms.Divides(heads, d[2]) != sym.False && c.Syms.Equal(d[0], x[0]) != sym.False && c.Syms.Equal(d[1], x[1]) != sym.False
	}
	if !divides(l.queries, x) || !divides(l.keys, y) || !divides(l.keys, z) {
		return l, c.Errorf("queries %s, keys %s and values %s in %d and %d heads", c.Tensor(0), c.Tensor(1), c.Tensor(2), q, k)
	}
	l.batch, l.tokens = x[0], x[1]
	l.features, l.values = c.Syms.Simplify(y[2].FloorDiv(l.keys)), c.Syms.Simplify(z[2].FloorDiv(l.keys))
	if c.Syms.Equal(x[2].FloorDiv(l.queries), l.features) == sym.False {
		return l, c.Errorf("queries have %s features, keys %s", x[2].FloorDiv(l.queries), l.features)
	}
	rule := c.Str("update_rule")
	switch rule {
	case "linear", "gated", "delta", "gated_delta":
	default:
		return l, c.Errorf("update_rule %q is none of linear, gated, delta, gated_delta", rule)
	}
	l.gated, l.delta = strings.HasPrefix(rule, "gated"), strings.HasSuffix(rule, "delta")
	if c.Has(4) != l.gated || c.Has(5) != l.delta {
		return l, c.Errorf("update_rule %s takes decay: %t, beta: %t", rule, l.gated, l.delta)
	}
	// perHead checks an operand of one number for each head, or other many.
	perHead := func(i int, other sym.Expr) error {
		d := c.Dims(i)
		if len(d) != 3 || c.Syms.Equal(d[0], x[0]) == sym.False || c.Syms.Equal(d[1], x[1]) == sym.False ||
			c.Syms.Equal(d[2], l.keys) == sym.False && c.Syms.Equal(d[2], other) == sym.False {
			o, _ := c.Op.Operand(i)
			return c.Errorf("operand %d (%s) has shape %s, it takes [%s, %s, %s or %s]", i, o.Name, ir.ShapeString(d), x[0], x[1], l.keys, other)
		}
		return nil
	}
	if l.gated {
		if err := perHead(4, l.keys.Mul(l.features)); err != nil {
			return l, err
		}
	}
	if l.delta {
		if err := perHead(5, sym.Const(1)); err != nil {
			return l, err
		}
	}
	l.state = c.DType(0)
	if c.Has(3) {
		l.state = c.DType(3)
		want := []sym.Expr{l.batch, l.keys, l.features, l.values}
		d := c.Dims(3)
		ok := len(d) == 4
		for i := 0; ok && i < 4; i++ {
			ok = c.Syms.Equal(d[i], want[i]) != sym.False
		}
		if !ok {
			return l, c.Errorf("a state of shape %s, it takes %s", ir.ShapeString(d), ir.ShapeString(want))
		}
	}
	if s := c.Float("scale"); s != s {
		return l, c.Errorf("scale is NaN")
	}
	return l, nil
}

func (l linear) expand(c *call, b *ir.Builder, args []*ir.Value) []*ir.Value {
	op := func(name string, args ...*ir.Value) *ir.Value { return b.Op("onnx."+name, args) }
	wide := c.DType(0).Compute()
	cast := func(x *ir.Value, d tensor.DType) *ir.Value { return b.Op("onnx.Cast", []*ir.Value{x}, "to", d) }
	// split gives an operand the dims [batch, token, head, rest...], computed with in wide.
	split := func(x *ir.Value, rest ...sym.Expr) *ir.Value {
		dims := append([]sym.Expr{l.batch, l.tokens, l.keys}, rest...)
		return b.Op("onnx.Reshape", []*ir.Value{cast(x, wide), b.Dims(dims...)}, "allowzero", 1)
	}
	unsqueeze := func(x *ir.Value, axis int64) *ir.Value { return op("Unsqueeze", x, b.Ints(axis)) }
	q := split(args[0], l.shared, l.features)
	k := split(args[1], l.features, sym.Const(1))
	v := split(args[2], sym.Const(1), l.values)
	var decay, beta *ir.Value
	if l.gated {
		each := c.Syms.Simplify(c.Dims(4)[2].FloorDiv(l.keys)) // one for all features, or one for each
		decay = op("Exp", split(args[4], each, sym.Const(1)))
	}
	if l.delta {
		beta = unsqueeze(unsqueeze(cast(args[5], wide), 3), 4)
	}
	var state *ir.Value
	if c.Has(3) {
		state = cast(args[3], wide)
	} else {
		zero := tensor.New(wide, 1)
		state = b.Op("onnx.ConstantOfShape", []*ir.Value{b.Dims(l.batch, l.keys, l.features, l.values)}, "value", zero)
	}
	trip := op("Squeeze", b.Dims(l.tokens), b.Ints(0))
	region := b.Region(func() []*ir.Value {
		t := b.Param("", ir.TensorOf(tensor.I64))
		cond := b.Param("", ir.TensorOf(tensor.Bool))
		s := b.Param("", state.Type)
		at := func(x *ir.Value) *ir.Value { return b.Op("onnx.Gather", []*ir.Value{x, t}, "axis", 1) }
		key, value := at(k), at(v)
		next := s
		if l.gated {
			next = op("Mul", next, at(decay))
		}
		if l.delta {
			row := b.Op("onnx.Transpose", []*ir.Value{key}, "perm", []int64{0, 1, 3, 2})
			value = op("Mul", at(beta), op("Sub", value, op("MatMul", row, next)))
		}
		next = op("Add", next, op("Mul", key, value))
		return []*ir.Value{cond, next, op("MatMul", at(q), next)}
	})
	out := b.OpN(2, "onnx.Loop", []*ir.Value{trip, nil, state}, nil, region)
	// The readings come as [token, batch, head, shared, value].
	y := b.Op("onnx.Transpose", []*ir.Value{out[1]}, "perm", []int64{1, 0, 2, 3, 4})
	scale := tensor.New(wide)
	if s := c.Float("scale"); s != 0 {
		scale.SetFloat(0, s)
		y = op("Mul", y, b.Const(scale))
	} else {
		y = op("Div", y, op("Sqrt", cast(op("Squeeze", b.Dims(l.features), b.Ints(0)), wide)))
	}
	y = b.Op("onnx.Reshape", []*ir.Value{y, b.Dims(l.batch, l.tokens, l.queries.Mul(l.values))}, "allowzero", 1)
	return []*ir.Value{cast(y, c.DType(0)), cast(out[0], l.state)}
}
