package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// RotaryEmbedding turns pairs of a token's features by the angles of its position, whose
// cosines and sines are given. X is [batch, heads, tokens, features], or, with heads in an
// attribute, [batch, tokens, heads*features]. A pair is a feature of the first half and
// that of the second, or two that stand side by side; features from rotary_embedding_dim
// on stay. Where every example has the same positions, the angles may come once.
var RotaryEmbedding = ir.Register(&ir.OpDef{
	Name: "onnx.RotaryEmbedding", Since: since(23), Doc: "turns pairs of features by the angles of positions",
	In:    ops(in("X", "T", floats), in("cos_cache", "T", floats), in("sin_cache", "T", floats), opt("position_ids", "", i64s)),
	Out:   ops(in("Y", "T", floats)),
	Attrs: attrs(attr("interleaved", 0), attrOpt("num_heads", int64(0)), attr("rotary_embedding_dim", 0)),
	Deduce: func(c *call) error {
		r, err := rotaryOf(c)
		if err != nil {
			return err
		}
		x := c.Dims(0)
		lead := []sym.Expr{x[0], r.tokens}
		if c.Has(3) {
			if p := c.Dims(3); len(p) != 2 || c.Syms.Equal(p[0], lead[0]) == sym.False || c.Syms.Equal(p[1], lead[1]) == sym.False {
				return c.Errorf("position_ids of shape %s, it takes %s", ir.ShapeString(p), ir.ShapeString(lead))
			}
			lead = nil // any number of positions
		}
		for i := 1; i <= 2; i++ {
			d := c.Dims(i)
			ok := len(d) == 2 && c.Has(3) || len(d) == 3 && !c.Has(3)
			ok = ok && c.Syms.Equal(d[len(d)-1], r.half) != sym.False
			for j := range lead {
				ok = ok && (c.Syms.Equal(d[j], lead[j]) != sym.False || j == 0 && c.Syms.Equal(d[0], sym.Const(1)) != sym.False)
			}
			if !ok {
				o, _ := c.Op.Operand(i)
				return c.Errorf("operand %d (%s) has shape %s for %s pairs of %s", i, o.Name, ir.ShapeString(d), r.half, c.Tensor(0)).
					Hint("with position_ids it takes [positions, pairs], without [batch or 1, tokens, pairs]")
			}
		}
		c.SetOut(0, c.DType(0), x...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		r, err := rotaryOf(c)
		if err != nil {
			return err
		}
		X := b.In(0)
		axes := b.Axes(X.Dims)
		ix := ir.Ix(axes)
		last := len(ix) - 1
		token, feature, before := ix[2*last-4], ix[last], ir.IntLit(0) // before: the features of the heads before
		if last == 2 {
			token = ix[1]
			n := ir.SymVal(r.features)
			feature = ix[2].Mod(n)
			before = ix[2].FloorDiv(n).Mul(n)
		}
		half := ir.SymVal(r.half)
		pair, second := feature, feature.Ge(half)
		partner := ir.Select(second, feature.Sub(half), feature.Add(half))
		if c.Flag("interleaved") {
			pair, second = feature.FloorDiv(ir.IntLit(2)), feature.Mod(ir.IntLit(2)).Eq(ir.IntLit(1))
			partner = ir.Select(second, feature.Sub(ir.IntLit(1)), feature.Add(ir.IntLit(1)))
		} else {
			pair = ir.Select(second, feature.Sub(half), feature)
		}
		angle := func(i int) *scalar {
			if c.Has(3) {
				at := wrapped(c, b, 3, []*scalar{ix[0], token}, c.Dims(i)[0])
				return b.Load(b.In(i), at, pair)
			}
			cache := b.In(i)
			return b.Load(cache, ir.Bcast(ix[0], cache.Dims[0], X.Dims[0]), token, pair)
		}
		x := b.Load(X, ix...)
		other := append([]*scalar(nil), ix...)
		other[last] = before.Add(partner)
		y := b.Load(X, other...)
		cos, sin := angle(1), angle(2)
		turned := x.Mul(cos).Add(y.Mul(ir.Select(second, sin, sin.Neg())))
		b.Map(b.Out(0), axes, ir.Guard(feature.Lt(half.Add(half)), turned, x))
		return nil
	},
})

// rotary are the sizes of a RotaryEmbedding.
type rotary struct{ tokens, features, half sym.Expr }

func rotaryOf(c *call) (r rotary, err error) {
	x, heads := c.Dims(0), c.Int("num_heads")
	switch len(x) {
	case 4:
		r.tokens, r.features = x[2], x[3]
	case 3:
		if heads < 1 || c.Syms.Divides(sym.Const(heads), x[2]) == sym.False {
			return r, c.Errorf("%d heads of %s", heads, c.Tensor(0)).Hint("an operand of rank 3 takes attribute num_heads, which divides its last dim")
		}
		r.tokens, r.features = x[1], c.Syms.Simplify(x[2].FloorDiv(sym.Const(heads)))
	default:
		return r, c.Errorf("an operand of rank %d, it takes 3 or 4", len(x))
	}
	turned := r.features
	if n := c.Int("rotary_embedding_dim"); n != 0 {
		turned = sym.Const(n)
		if n < 0 || c.Syms.LE(turned, r.features) == sym.False {
			return r, c.Errorf("rotary_embedding_dim is %d of %s features", n, r.features)
		}
	}
	if c.Syms.Divides(sym.Const(2), turned) == sym.False {
		return r, c.Errorf("%s features are no pairs", turned)
	}
	r.half = c.Syms.Simplify(turned.FloorDiv(sym.Const(2)))
	return r, nil
}

// PitRotaryEmbedding is RotaryEmbedding as exporters spell it: a pair is a feature of the
// first half and that of the second, or with interleaved two that stand beside each other.
// Cosines and sines, which broadcast to X, are there for each feature, or for each pair.
var PitRotaryEmbedding = ir.Register(&ir.OpDef{
	Name: "pit.RotaryEmbedding", Doc: "turns pairs of features by angles that are given for each feature",
	In:    ops(in("X", "T", floats), in("cos", "T", floats), in("sin", "T", floats)),
	Out:   ops(in("Y", "T", floats)),
	Attrs: attrs(attr("interleaved", 0), attr("for_pairs", 0)),
	Deduce: func(c *ir.Call) error {
		x := c.Dims(0)
		if len(x) == 0 || c.Syms.Divides(sym.Const(2), x[len(x)-1]) == sym.False {
			return c.Errorf("the features of %s are no pairs", c.Tensor(0))
		}
		c.SetOut(0, c.DType(0), x...)
		if c.Flag("for_pairs") {
			x = slices.Clone(x)
			x[len(x)-1] = c.Syms.Simplify(x[len(x)-1].FloorDiv(sym.Const(2)))
		}
		for i := 1; i <= 2; i++ {
			if err := broadcastsTo(c, i, x); err != nil {
				return err
			}
		}
		return nil
	},
	Body: func(c *ir.Call, b *ir.Body) error {
		X := b.In(0)
		axes := b.Axes(X.Dims)
		last := len(axes) - 1
		pairs := c.Syms.Simplify(X.Dims[last].FloorDiv(sym.Const(2)))
		feature, half, two := axes[last].Ix(), ir.SymVal(pairs), ir.IntLit(2)
		at := func(f *scalar) *scalar {
			ix := ir.Ix(axes)
			ix[last] = f
			return b.Load(X, ix...)
		}
		first, to, pair := feature.Lt(half), half, ir.Select(feature.Lt(half), feature, feature.Sub(half))
		if c.Flag("interleaved") {
			first, to, pair = feature.Mod(two).Eq(ir.IntLit(0)), ir.IntLit(1), feature.FloorDiv(two)
		}
		turned := ir.Guard(first, at(feature.Add(to)).Neg(), at(feature.Sub(to)))
		angle := func(i int) *scalar {
			ix := ir.BcastIx(b.In(i), axes)
			if n := len(ix) - 1; n >= 0 && c.Flag("for_pairs") {
				ix[n] = ir.Bcast(pair, b.In(i).Dims[n], pairs)
			}
			return b.Load(b.In(i), ix...)
		}
		b.Map(b.Out(0), axes, at(feature).Mul(angle(1)).Add(turned.Mul(angle(2))))
		return nil
	},
})
