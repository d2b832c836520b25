package op

import (
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Recurrent layers are a projection of the whole input, hoisted out of time, and a
// Loop over time of what is left. One driver serves all three; a cell says what is
// its own.

// cell is one step of a recurrent layer.
type cell struct {
	gates  int // blocks of hidden_size rows in W, R and in each half of B
	states int // 1: h; 2: h and c
	acts   []string
	// step gives the new states from the projected input x [batch, gates*H] (its bias
	// Wb included, and Rb too unless the cell adds that itself).
	step      func(l *layer, x *ir.Value, states []*ir.Value) []*ir.Value
	ownBias   func(c *ir.Call) bool // whether step adds Rb
	peepholes bool
}

// layer is one direction of a recurrent layer while it is built.
type layer struct {
	c    *ir.Call
	b    *ir.Builder
	h    int64     // hidden size
	r    *ir.Value // R transposed: [H, gates*H]
	rb   *ir.Value // [gates*H]
	p    *ir.Value // peepholes [3H], nil without
	acts []func(*ir.Value) *ir.Value
}

func (l *layer) op(name string, args ...*ir.Value) *ir.Value { return l.b.Op("onnx."+name, args) }

// parts cuts the last axis into n equal pieces.
func (l *layer) parts(x *ir.Value, n int) []*ir.Value {
	return l.b.OpN(n, "onnx.Split", []*ir.Value{x}, ir.MakeAttrs("axis", -1, "num_outputs", n))
}

// like is a scalar constant of x's element type.
func (l *layer) like(v float64) *ir.Value {
	t := tensor.New(l.c.DType(0))
	t.SetFloat(0, v)
	return l.b.Const(t)
}

// clipped applies the attribute clip, which bounds the input of activations.
func (l *layer) clipped(x *ir.Value) *ir.Value {
	if !l.c.HasAttr("clip") {
		return x
	}
	v := l.c.Float("clip")
	return l.op("Clip", x, l.like(-v), l.like(v))
}

func (l *layer) act(i int, x *ir.Value) *ir.Value { return l.acts[i](l.clipped(x)) }

var recurrentAttrs = attrs(attrOpt("activation_alpha", []float64(nil)), attrOpt("activation_beta", []float64(nil)),
	attrOpt("activations", []string(nil)), attrOpt("clip", float64(0)), attr("direction", "forward"),
	attrOpt("hidden_size", int64(0)), attr("layout", 0))

func recurrentIn(extra ...ir.Operand) []ir.Operand {
	list := ops(in("X", "T", floats), in("W", "T", floats), in("R", "T", floats), opt("B", "T", floats),
		opt("sequence_lens", "", []tensor.DType{tensor.I32}), opt("initial_h", "T", floats))
	return append(list, extra...)
}

// RNN is h' = f(x·Wᵀ + h·Rᵀ + Wb + Rb).
var RNN = ir.Register(&ir.OpDef{
	Name: "onnx.RNN", Since: since(1, 7, 14, 22), Doc: "a simple recurrent layer",
	In: recurrentIn(), Out: ops(opt("Y", "T", floats), opt("Y_h", "T", floats)),
	Attrs: recurrentAttrs, Deduce: deduceRecurrent(1, 1),
	Expand: expandRecurrent(cell{gates: 1, states: 1, acts: []string{"Tanh"},
		step: func(l *layer, x *ir.Value, s []*ir.Value) []*ir.Value {
			return []*ir.Value{l.act(0, l.op("Add", x, l.op("MatMul", s[0], l.r)))}
		}}),
})

// GRU has update gate z, reset gate r and hidden gate h, in this order. With
// linear_before_reset the reset gate multiplies h·Rᵀ + Rb instead of h.
var GRU = ir.Register(&ir.OpDef{
	Name: "onnx.GRU", Since: since(1, 3, 7, 14, 22), Doc: "gated recurrent units",
	In: recurrentIn(), Out: ops(opt("Y", "T", floats), opt("Y_h", "T", floats)),
	Attrs: append(attrs(attr("linear_before_reset", 0)), recurrentAttrs...), Deduce: deduceRecurrent(3, 1),
	Expand: expandRecurrent(cell{gates: 3, states: 1, acts: []string{"Sigmoid", "Tanh"},
		ownBias: func(c *ir.Call) bool { return c.Flag("linear_before_reset") },
		step: func(l *layer, x *ir.Value, s []*ir.Value) []*ir.Value {
			h := s[0]
			xs := l.parts(x, 3)
			r := l.parts(l.r, 3)
			var rb []*ir.Value
			linear := l.c.Flag("linear_before_reset")
			if linear && l.rb != nil {
				rb = l.parts(l.rb, 3)
			}
			gate := func(i int) *ir.Value {
				v := l.op("Add", xs[i], l.op("MatMul", h, r[i]))
				if rb != nil {
					v = l.op("Add", v, rb[i])
				}
				return l.act(0, v)
			}
			z, reset := gate(0), gate(1)
			var rec *ir.Value
			if linear {
				rec = l.op("MatMul", h, r[2])
				if rb != nil {
					rec = l.op("Add", rec, rb[2])
				}
				rec = l.op("Mul", reset, rec)
			} else {
				rec = l.op("MatMul", l.op("Mul", reset, h), r[2])
			}
			n := l.act(1, l.op("Add", xs[2], rec))
			return []*ir.Value{l.op("Add", l.op("Mul", l.op("Sub", l.like(1), z), n), l.op("Mul", z, h))}
		}}),
})

// LSTM has input gate i, output gate o, forget gate f and cell gate c, in this order;
// peepholes P are for i, o, f.
var LSTM = ir.Register(&ir.OpDef{
	Name: "onnx.LSTM", Since: since(1, 7, 14, 22), Doc: "long short-term memory",
	In:    recurrentIn(opt("initial_c", "T", floats), opt("P", "T", floats)),
	Out:   ops(opt("Y", "T", floats), opt("Y_h", "T", floats), opt("Y_c", "T", floats)),
	Attrs: append(attrs(attr("input_forget", 0)), recurrentAttrs...), Deduce: deduceRecurrent(4, 2),
	Expand: expandRecurrent(cell{gates: 4, states: 2, acts: []string{"Sigmoid", "Tanh", "Tanh"}, peepholes: true,
		step: func(l *layer, x *ir.Value, s []*ir.Value) []*ir.Value {
			h, c := s[0], s[1]
			g := l.parts(l.op("Add", x, l.op("MatMul", h, l.r)), 4)
			peep := func(v *ir.Value, i int, c *ir.Value) *ir.Value {
				if l.p == nil {
					return v
				}
				return l.op("Add", v, l.op("Mul", l.parts(l.p, 3)[i], c))
			}
			i := l.act(0, peep(g[0], 0, c))
			f := l.op("Sub", l.like(1), i)
			if !l.c.Flag("input_forget") {
				f = l.act(0, peep(g[2], 2, c))
			}
			next := l.op("Add", l.op("Mul", f, c), l.op("Mul", i, l.act(1, g[3])))
			o := l.act(0, peep(g[1], 1, next))
			return []*ir.Value{l.op("Mul", o, l.acts[2](next)), next}
		}}),
})

func directions(c *ir.Call) (int, error) {
	switch c.Str("direction") {
	case "forward", "reverse":
		return 1, nil
	case "bidirectional":
		return 2, nil
	}
	return 0, c.Errorf("direction %q is none of forward, reverse, bidirectional", c.Str("direction"))
}

func deduceRecurrent(gates int64, states int) func(*ir.Call) error {
	return func(c *ir.Call) error {
		dirs, err := directions(c)
		if err != nil {
			return err
		}
		if c.Rank(0) != 3 || c.Rank(1) != 3 || c.Rank(2) != 3 {
			return c.Errorf("X, W and R have ranks %d, %d, %d; they must have 3", c.Rank(0), c.Rank(1), c.Rank(2))
		}
		h := c.Dims(2)[2]
		if n := c.Int("hidden_size"); n > 0 {
			if c.Syms.Equal(h, sym.Const(n)) == sym.False {
				return c.Errorf("hidden_size is %d, R is %s", n, c.Tensor(2))
			}
			h = sym.Const(n)
		}
		for _, i := range []int{1, 2} {
			w := c.Dims(i)
			if c.Syms.Equal(w[0], sym.Const(int64(dirs))) == sym.False || c.Syms.Equal(w[1], h.Mul(sym.Const(gates))) == sym.False {
				return c.Errorf("operand %d is %s, for %d directions and hidden size %s", i, c.Tensor(i), dirs, h)
			}
		}
		seq, batch := c.Dims(0)[0], c.Dims(0)[1]
		d := sym.Const(int64(dirs))
		y, last := []sym.Expr{seq, d, batch, h}, []sym.Expr{d, batch, h}
		if c.Flag("layout") {
			seq, batch = batch, seq
			y, last = []sym.Expr{batch, seq, d, h}, []sym.Expr{batch, d, h}
		}
		c.SetOut(0, c.DType(0), y...)
		for i := range states {
			c.SetOut(1+i, c.DType(0), last...)
		}
		return nil
	}
}

func expandRecurrent(cell cell) func(*ir.Call, *ir.Builder, []*ir.Value) ([]*ir.Value, error) {
	return func(c *ir.Call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		dirs, err := directions(c)
		if err != nil {
			return nil, err
		}
		h, ok := c.Dims(2)[2].Int()
		if n := c.Int("hidden_size"); n > 0 {
			h, ok = n, true
		}
		if !ok {
			return nil, ir.ErrDynamic
		}
		args = append([]*ir.Value(nil), args...)
		for len(args) < 8 {
			args = append(args, nil)
		}
		if c.Flag("layout") { // batch first: time to the front
			for _, i := range []int{0, 5, 6} {
				if args[i] != nil && !(i == 6 && cell.states == 1) {
					args[i] = b.Op("onnx.Transpose", []*ir.Value{args[i]}, "perm", []int{1, 0, 2})
				}
			}
		}
		var ys []*ir.Value
		finals := make([][]*ir.Value, cell.states)
		for d := range dirs {
			l := &layer{c: c, b: b, h: h}
			if l.acts, err = activations(l, cell.acts, d); err != nil {
				return nil, err
			}
			reverse := c.Str("direction") == "reverse" || d == 1
			y, last := l.run(cell, args, d, reverse)
			ys = append(ys, b.Op("onnx.Unsqueeze", []*ir.Value{y, b.Ints(1)}))
			for i, s := range last {
				finals[i] = append(finals[i], b.Op("onnx.Unsqueeze", []*ir.Value{s, b.Ints(0)}))
			}
		}
		out := []*ir.Value{b.Op("onnx.Concat", ys, "axis", 1)}
		for _, f := range finals {
			out = append(out, b.Op("onnx.Concat", f, "axis", 0))
		}
		if c.Flag("layout") {
			out[0] = b.Op("onnx.Transpose", []*ir.Value{out[0]}, "perm", []int{2, 0, 1, 3})
			for i := range finals {
				out[1+i] = b.Op("onnx.Transpose", []*ir.Value{out[1+i]}, "perm", []int{1, 0, 2})
			}
		}
		return out, nil
	}
}

// run builds one direction: Y [seq, batch, H] and the final states [batch, H].
func (l *layer) run(cell cell, args []*ir.Value, d int, reverse bool) (y *ir.Value, finals []*ir.Value) {
	b := l.b
	pick := func(v *ir.Value) *ir.Value {
		if v == nil {
			return nil
		}
		return b.Op("onnx.Gather", []*ir.Value{v, b.Const(tensor.Scalar(int64(d)))}, "axis", 0)
	}
	x, lens := args[0], args[4]
	if reverse {
		x = l.reversed(x, lens)
	}
	transposed := func(v *ir.Value) *ir.Value { return b.Op("onnx.Transpose", []*ir.Value{v}, "perm", []int{1, 0}) }
	l.r = transposed(pick(args[2]))
	proj := l.op("MatMul", x, transposed(pick(args[1])))
	if bias := pick(args[3]); bias != nil {
		halves := l.parts(bias, 2)
		proj, l.rb = l.op("Add", proj, halves[0]), halves[1]
		if cell.ownBias == nil || !cell.ownBias(l.c) {
			proj = l.op("Add", proj, l.rb)
		}
	}
	if cell.peepholes {
		l.p = pick(args[7])
	}
	shape := b.Op("onnx.Shape", []*ir.Value{x})
	at := func(i int64) *ir.Value { return b.Op("onnx.Gather", []*ir.Value{shape, b.Const(tensor.Scalar(i))}) }
	trip := at(0)
	var init []*ir.Value
	for i := range cell.states {
		s := pick(args[5+i])
		if s == nil {
			dims := b.Op("onnx.Concat", []*ir.Value{b.Op("onnx.Unsqueeze", []*ir.Value{at(1), b.Ints(0)}), b.Ints(l.h)}, "axis", 0)
			zero := tensor.New(l.c.DType(0), 1)
			s = b.Op("onnx.ConstantOfShape", []*ir.Value{dims}, "value", zero)
		} else if in, ok := x.Tensor(); ok && !in.Unranked { // one for each of the batch: a state does not broadcast
			state := ir.TensorOf(l.c.DType(0), in.Dims[1], sym.Const(l.h))
			if !b.Proves(s.Type, state) {
				s = b.MatchCast(s, state)
			}
		}
		init = append(init, s)
	}
	if lens != nil {
		lens = b.Op("onnx.Unsqueeze", []*ir.Value{b.Op("onnx.Cast", []*ir.Value{lens}, "to", tensor.I64), b.Ints(1)})
	}
	region := b.Region(func() []*ir.Value {
		t := b.Param("", ir.TensorOf(tensor.I64))
		cond := b.Param("", ir.TensorOf(tensor.Bool))
		var states []*ir.Value
		for _, s := range init {
			states = append(states, b.Param("", s.Type))
		}
		xt := b.Op("onnx.Gather", []*ir.Value{proj, t}, "axis", 0)
		next := cell.step(l, xt, states)
		out := next[0]
		if lens != nil { // past its end a sequence keeps its state, and gives zeros
			live := l.op("Less", t, lens)
			out = l.op("Where", live, out, l.like(0))
			for i := range next {
				next[i] = l.op("Where", live, next[i], states[i])
			}
		}
		return append(append([]*ir.Value{cond}, next...), out)
	})
	res := b.OpN(cell.states+1, "onnx.Loop", append([]*ir.Value{trip, nil}, init...), nil, region)
	y = res[cell.states]
	if reverse {
		y = l.reversed(y, args[4])
	}
	return y, res[:cell.states]
}

// reversed reverses time: each sequence within its own length where lengths are given.
func (l *layer) reversed(x, lens *ir.Value) *ir.Value {
	b := l.b
	if lens != nil {
		n := b.Op("onnx.Cast", []*ir.Value{lens}, "to", tensor.I64)
		return b.Op("onnx.ReverseSequence", []*ir.Value{x, n}, "batch_axis", 1, "time_axis", 0)
	}
	return b.Op("onnx.Slice", []*ir.Value{x, b.Ints(-1), b.Ints(-1 << 62), b.Ints(0), b.Ints(-1)})
}

// activations are the functions of direction d: those named in the attribute, else
// the cell's own. Parameters are taken in order by those that have some.
func activations(l *layer, def []string, d int) ([]func(*ir.Value) *ir.Value, error) {
	names := def
	alpha, beta := l.c.FloatList("activation_alpha"), l.c.FloatList("activation_beta")
	next := func(list *[]float64, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return v
	}
	if given := l.c.StrList("activations"); given != nil {
		if len(given) < (d+1)*len(def) {
			return nil, l.c.Errorf("%d activations, each direction takes %d", len(given), len(def))
		}
		names = given
	} else {
		names = append(append([]string(nil), def...), def...)
	}
	var out []func(*ir.Value) *ir.Value
	for _, name := range names[:(d+1)*len(def)] {
		var as []any
		switch strings.ToLower(name) {
		case "relu", "tanh", "sigmoid", "softsign", "softplus":
		case "leakyrelu":
			as = []any{"alpha", next(&alpha, 0.01)}
		case "thresholdedrelu", "elu":
			as = []any{"alpha", next(&alpha, 1)}
		case "hardsigmoid":
			as = []any{"alpha", next(&alpha, 0.2), "beta", next(&beta, 0.5)}
		case "affine":
			a, s := next(&alpha, 1), next(&beta, 0)
			out = append(out, func(x *ir.Value) *ir.Value { return l.op("Add", l.op("Mul", x, l.like(a)), l.like(s)) })
			continue
		case "scaledtanh":
			a, s := next(&alpha, 1), next(&beta, 1)
			out = append(out, func(x *ir.Value) *ir.Value {
				return l.op("Mul", l.like(a), l.op("Tanh", l.op("Mul", x, l.like(s))))
			})
			continue
		default:
			return nil, l.c.Unsupported("activation %q", name)
		}
		op := map[string]string{"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "softplus": "Softplus",
			"leakyrelu": "LeakyRelu", "thresholdedrelu": "ThresholdedRelu", "elu": "Elu", "hardsigmoid": "HardSigmoid"}[strings.ToLower(name)]
		out = append(out, func(x *ir.Value) *ir.Value { return l.b.Op("onnx."+op, []*ir.Value{x}, as...) })
	}
	return out[d*len(def):], nil
}
