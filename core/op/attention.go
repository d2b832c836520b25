package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// heads reads an operand of attention as [batch, head, token, feature]: it has these dims,
// or it is [batch, token, head*feature].
type heads struct {
	batch, count, tokens, features sym.Expr
	flat                           bool
}

func headsOf(c *call, i int, attr string) (h heads, err error) {
	d := c.Dims(i)
	switch n := c.Int(attr); len(d) {
	case 4:
		h = heads{d[0], d[1], d[2], d[3], false}
	case 3:
		if n < 1 || c.Syms.Divides(sym.Const(n), d[2]) == sym.False {
			return h, c.Errorf("%s is %d for an operand %s", attr, n, c.Tensor(i)).Hint("operands of rank 3 take the number of heads, which divides their last dim")
		}
		h = heads{d[0], sym.Const(n), d[1], c.Syms.Simplify(d[2].FloorDiv(sym.Const(n))), true}
	default:
		return h, c.Errorf("operand %d has rank %d, it takes 3 or 4", i, len(d))
	}
	return h, nil
}

// load reads a feature.
func (h heads) load(b *ir.Body, buf *ir.Buffer, batch, head, token, feature *scalar) *scalar {
	if h.flat {
		return b.Load(buf, batch, token, head.Mul(ir.SymVal(h.features)).Add(feature))
	}
	return b.Load(buf, batch, head, token, feature)
}

// attention are the sizes of an Attention.
type attention struct {
	q, k, v heads
	past    sym.Expr // tokens in the cache
	total   sym.Expr // tokens in the cache and new ones
	shared  sym.Expr // query heads to a key head
}

// Operands of Attention.
const (
	attnMask  = 3
	pastKey   = 4
	pastValue = 5
	nonpadLen = 6
)

// Attention is softmax(scale Q K' + mask) V for each head. Query heads may share key
// heads. Keys and values of earlier tokens come from a cache, and go on in it; or K and V
// are the cache, of which the first nonpad_kv_seqlen tokens count. A row of which nothing
// counts is NaN, as softmax has it.
var Attention = attentionOp("onnx.Attention", "scaled dot product attention", since(23, 24))

// PitAttention is Attention as exporters spell it: a masked score is the number masked
// instead of minus infinity, and with safe a weight that is NaN counts 0, so that a row
// of which nothing counts is 0.
var PitAttention = attentionOp("pit.Attention", "Attention with a finite score for what is masked, or weights that are never NaN", nil,
	attr("masked", math.Inf(-1)), attr("safe", 0))

func attentionOp(name, doc string, versions []int64, more ...ir.AttrDef) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Since: versions, Doc: doc,
		In: ops(in("Q", "T1", floats), in("K", "T1", floats), in("V", "T2", floats), opt("attn_mask", "", append(floats[:4:4], tensor.Bool)),
			opt("past_key", "T1", floats), opt("past_value", "T2", floats), opt("nonpad_kv_seqlen", "", i64s)),
		Out: ops(in("Y", "T1", floats), opt("present_key", "T1", floats), opt("present_value", "T2", floats), opt("qk_matmul_output", "T1", floats)),
		Attrs: append(attrs(attr("is_causal", 0), attrOpt("kv_num_heads", int64(0)), attrOpt("q_num_heads", int64(0)), attr("qk_matmul_output_mode", 0),
			attrOpt("scale", 0.0), attr("softcap", 0.0), attrOpt("softmax_precision", int64(0))), more...),
		Deduce: func(c *call) error {
			a, err := attentionOf(c)
			if err != nil {
				return err
			}
			y := []sym.Expr{a.q.batch, a.q.count, a.q.tokens, a.v.features}
			if a.q.flat {
				y = []sym.Expr{a.q.batch, a.q.tokens, a.q.count.Mul(a.v.features)}
			}
			c.SetOut(0, c.DType(0), y...)
			c.SetOut(1, c.DType(1), a.k.batch, a.k.count, a.total, a.k.features)
			c.SetOut(2, c.DType(2), a.v.batch, a.v.count, a.total, a.v.features)
			c.SetOut(3, c.DType(0), a.q.batch, a.q.count, a.q.tokens, a.total)
			return nil
		},
		Body: func(c *call, b *ir.Body) error {
			a, err := attentionOf(c)
			if err != nil {
				return err
			}
			return a.body(c, b)
		},
	})
}

func attentionOf(c *call) (a attention, err error) {
	if a.q, err = headsOf(c, 0, "q_num_heads"); err != nil {
		return
	}
	if a.k, err = headsOf(c, 1, "kv_num_heads"); err != nil {
		return
	}
	if a.v, err = headsOf(c, 2, "kv_num_heads"); err != nil {
		return
	}
	same := func(pairs ...sym.Expr) bool {
		for i := 0; i < len(pairs); i += 2 {
			if c.Syms.Equal(pairs[i], pairs[i+1]) == sym.False {
				return false
			}
		}
		return true
	}
	if a.q.flat != a.k.flat || a.q.flat != a.v.flat || !same(a.q.batch, a.k.batch, a.q.batch, a.v.batch, a.k.count, a.v.count,
		a.k.tokens, a.v.tokens, a.q.features, a.k.features) {
		return a, c.Errorf("queries %s, keys %s and values %s do not fit", c.Tensor(0), c.Tensor(1), c.Tensor(2))
	}
	if c.Syms.Divides(a.k.count, a.q.count) == sym.False {
		return a, c.Errorf("%s query heads do not share %s key heads", a.q.count, a.k.count)
	}
	a.shared = sym.Const(1)
	if c.Syms.Equal(a.q.count, a.k.count) != sym.True { // there may be no heads at all
		a.shared = c.Syms.Simplify(a.q.count.FloorDiv(a.k.count))
	}
	a.total = a.k.tokens
	if c.Has(pastKey) != c.Has(pastValue) {
		return a, c.Errorf("past_key and past_value come together")
	}
	if c.Has(pastKey) {
		k, v := c.Dims(pastKey), c.Dims(pastValue)
		if len(k) != 4 || len(v) != 4 || !same(k[0], a.k.batch, k[1], a.k.count, k[3], a.k.features, v[0], a.v.batch, v[1], a.v.count, v[2], k[2], v[3], a.v.features) {
			return a, c.Errorf("a cache of keys %s and values %s for keys %s and values %s", c.Tensor(pastKey), c.Tensor(pastValue), c.Tensor(1), c.Tensor(2))
		}
		a.past = k[2]
		a.total = c.Syms.Simplify(a.past.Add(a.total))
	}
	if c.Has(nonpadLen) {
		if c.Has(pastKey) || c.Wants(1) || c.Wants(2) {
			return a, c.Errorf("nonpad_kv_seqlen beside a cache of its own")
		}
		if n := c.Dims(nonpadLen); len(n) != 1 || !same(n[0], a.q.batch) {
			return a, c.Errorf("nonpad_kv_seqlen of shape %s for a batch of %s", ir.ShapeString(n), a.q.batch)
		}
	}
	if m := c.Int("qk_matmul_output_mode"); m < 0 || m > 3 {
		return a, c.Errorf("qk_matmul_output_mode is %d, it is 0 to 3", m)
	}
	if s, ok := c.Attrs.Get("scale").(float64); ok && !(s >= 0) || !(c.Float("softcap") >= 0) {
		return a, c.Errorf("scale %g and softcap %g; neither is negative", s, c.Float("softcap"))
	}
	if _, err := dtypeAttr(c, "softmax_precision", floats, c.DType(0)); err != nil {
		return a, err
	}
	return a, a.checkMask(c)
}

// checkMask checks that the mask broadcasts; only its last dim may be shorter.
func (a attention) checkMask(c *call) error {
	if !c.Has(attnMask) {
		return nil
	}
	m := c.Dims(attnMask)
	want := []sym.Expr{a.q.batch, a.q.count, a.q.tokens, a.total}
	ok := len(m) > 0 && len(m) <= 4
	for i := 1; ok && i <= len(m); i++ {
		d, w := m[len(m)-i], want[4-i]
		if i == 1 {
			ok = c.Syms.LE(d, w) != sym.False
		} else {
			ok = c.Syms.Equal(d, w) != sym.False || c.Syms.Equal(d, sym.Const(1)) != sym.False
		}
	}
	if !ok {
		return c.Errorf("a mask of shape %s for scores of shape %s", ir.ShapeString(m), ir.ShapeString(want))
	}
	if d := m[len(m)-1]; c.Syms.Equal(d, sym.Const(1)) == sym.True && c.Syms.Equal(a.total, sym.Const(1)) == sym.False {
		return c.Unsupported("a mask whose last dim is 1 for %s keys: it could be broadcast or filled up", a.total)
	}
	return nil
}

// rows are axes over the scores, or what else has a row for each head and token, and the
// batch, head, token and last position that they stand at. Heads that share keys are two
// axes, that of the key head and that within it, so that operands are read at bare axes.
func (a attention) rows(b *ir.Body, last sym.Expr) (axes []*ir.Axis, at [4]*scalar) {
	if a.shared.IsInt(1) {
		axes = b.Axes([]sym.Expr{a.q.batch, a.q.count, a.q.tokens, last})
		return axes, [4]*scalar(ir.Ix(axes))
	}
	axes = b.Axes([]sym.Expr{a.q.batch, a.k.count, a.shared, a.q.tokens, last})
	ix := ir.Ix(axes)
	return axes, [4]*scalar{ix[0], ix[1].Mul(ir.SymVal(a.shared)).Add(ix[2]), ix[3], ix[4]}
}

// inRows is the index of a point in what rows are axes of.
func (a attention) inRows(batch, head, token, last *scalar) []*scalar {
	if a.shared.IsInt(1) {
		return []*scalar{batch, head, token, last}
	}
	n := ir.SymVal(a.shared)
	return []*scalar{batch, head.FloorDiv(n), head.Mod(n), token, last}
}

// masked is score plus the mask at a point of the scores.
func (a attention) masked(c *call, b *ir.Body, score *scalar, at [4]*scalar) (*scalar, error) {
	out := score.Const(math.Inf(-1))
	if c.HasAttr("masked") {
		out = score.Const(c.Float("masked"))
	}
	drop := func(keep *scalar) { score = ir.Select(keep, score, out) }
	key := at[3]
	if c.Has(attnMask) {
		M := b.In(attnMask)
		n := M.Dims[len(M.Dims)-1]
		full := c.Syms.Equal(n, a.total)
		if full != sym.True && c.Syms.Equal(n, sym.Const(1)) != sym.False {
			return nil, ir.ErrDynamic // a last dim of 1 is refused
		}
		extents := []sym.Expr{a.q.batch, a.q.count, a.q.tokens, a.total}
		ix := make([]*scalar, len(M.Dims))
		for i, d := range M.Dims {
			j := i + len(extents) - len(ix)
			ix[i] = ir.Bcast(at[j], d, extents[j])
		}
		ix[len(ix)-1] = key
		m, missing := ir.Load(M, ix...), ir.Lit(tensor.Bool, 0)
		if m.DType != tensor.Bool {
			m, missing = m.To(score.DType), out
		}
		if full != sym.True {
			m = ir.Guard(key.Lt(ir.SymVal(n)), m, missing)
		}
		if m.DType == tensor.Bool {
			drop(m)
		} else {
			score = score.Add(m)
		}
	}
	if c.Flag("is_causal") {
		drop(key.Le(at[2].Add(ir.SymVal(a.past))))
	}
	if c.Has(nonpadLen) {
		drop(key.Lt(ir.Load(b.In(nonpadLen), at[0])))
	}
	return score, nil
}

func (a attention) body(c *call, b *ir.Body) error {
	Q := b.In(0)
	wide := Q.DType.Compute()
	keys, values := a.present(c, b, 1, a.k), a.present(c, b, 2, a.v)
	axes, at := a.rows(b, a.total)
	f := b.Axis(a.q.features)
	q := a.q.load(b, Q, at[0], at[1], at[2], f.Ix())
	k := keys(at[0], axes[1].Ix(), at[3], f.Ix())
	product := b.Reduced(axes, ir.Sum, []*ir.Axis{f}, q.Mul(k))

	scale := ir.SymVal(a.q.features).To(wide).Sqrt()
	scale = scale.Const(1).Div(scale)
	if s, ok := c.Attrs.Get("scale").(float64); ok {
		scale = scale.Const(s)
	}
	capped := func(x *scalar) *scalar {
		if s := c.Float("softcap"); s > 0 {
			return x.Div(x.Const(s)).Tanh().Mul(x.Const(s))
		}
		return x
	}
	mode := c.Int("qk_matmul_output_mode")
	give := func(m int64, from *ir.Buffer, f func(*scalar) *scalar) { // the scores of this mode, where they are wanted
		if c.Wants(3) && mode == m {
			axes := b.Axes([]sym.Expr{a.q.batch, a.q.count, a.q.tokens, a.total})
			ix := ir.Ix(axes)
			b.Map(b.Out(3), axes, f(ir.Load(from, a.inRows(ix[0], ix[1], ix[2], ix[3])...)))
		}
	}
	give(0, product, func(x *scalar) *scalar { return x.Mul(scale) })
	give(1, product, func(x *scalar) *scalar { return capped(x.Mul(scale)) })
	axes, at = a.rows(b, a.total)
	x, err := a.masked(c, b, capped(ir.Load(product, ir.Ix(axes)...).Mul(scale)), at)
	if err != nil {
		return err
	}
	same := func(x *scalar) *scalar { return x }
	score := b.Mapped(axes, x)
	give(2, score, same)

	precision, err := dtypeAttr(c, "softmax_precision", floats, wide)
	if err != nil {
		return err
	}
	var given *ir.Buffer
	if c.Wants(3) && mode == 3 && a.shared.IsInt(1) && c.DType(0) == score.DType {
		given = b.Out(3)
	}
	weight := softmaxRows(b, given, score, precision, c.Flag("safe"))
	if given == nil {
		give(3, weight, same)
	}

	axes, at = a.rows(b, a.v.features)
	t := b.Axis(a.total)
	ix := ir.Ix(axes)
	ix[len(ix)-1] = t.Ix()
	v := values(at[0], axes[1].Ix(), t.Ix(), at[3])
	e := ir.Load(weight, ix...).To(v.DType).Mul(v)
	if !a.q.flat && a.shared.IsInt(1) {
		b.Reduce(b.Out(0), axes, ir.Sum, []*ir.Axis{t}, e)
		return nil
	}
	sum := b.Reduced(axes, ir.Sum, []*ir.Axis{t}, e)
	out := b.Axes(b.Out(0).Dims)
	ix = ir.Ix(out)
	if a.q.flat {
		n := ir.SymVal(a.v.features)
		ix = []*scalar{ix[0], ix[2].FloorDiv(n), ix[1], ix[2].Mod(n)}
	}
	b.Map(b.Out(0), out, ir.Load(sum, a.inRows(ix[0], ix[1], ix[2], ix[3])...))
	return nil
}

// softmaxRows is softmax over the last dim of x, computed in precision d, in a buffer of x's
// type, a new one for nil; where it is safe, what is NaN is 0.
func softmaxRows(b *ir.Body, out, x *ir.Buffer, d tensor.DType, safe bool) *ir.Buffer {
	last := len(x.Dims) - 1
	load := func(axes []*ir.Axis, row []*scalar, j *ir.Axis) *scalar {
		return ir.Load(x, append(slices.Clone(row), j.Ix())...).To(d).To(d.Compute())
	}
	rows, j := b.Axes(x.Dims[:last]), b.Axis(x.Dims[last])
	top := b.Reduced(rows, ir.Max, []*ir.Axis{j}, load(rows, ir.Ix(rows), j))
	all := b.Axes(x.Dims)
	e := b.Mapped(all, load(all, ir.Ix(all[:last]), all[last]).Sub(ir.Load(top, ir.Ix(all[:last])...)).Exp())
	rows, j = b.Axes(x.Dims[:last]), b.Axis(x.Dims[last])
	sum := b.Reduced(rows, ir.Sum, []*ir.Axis{j}, ir.Load(e, append(ir.Ix(rows), j.Ix())...))
	all = b.Axes(x.Dims)
	p := ir.Load(e, ir.Ix(all)...).Div(ir.Load(sum, ir.Ix(all[:last])...)).To(d).To(x.DType)
	if safe {
		p = ir.Select(p.IsNaN(), p.Const(0), p)
	}
	if out == nil {
		return b.Mapped(all, p)
	}
	b.Map(out, all, p)
	return out
}

// present gives what reads keys (operand 1) or values (operand 2) of all tokens, those of
// the cache first, after writing them into the new cache where there is one.
func (a attention) present(c *call, b *ir.Body, i int, h heads) func(batch, head, token, feature *scalar) *scalar {
	buf := b.In(i)
	if !c.Has(pastKey) && !c.Wants(i) {
		return func(batch, head, token, feature *scalar) *scalar { return h.load(b, buf, batch, head, token, feature) }
	}
	all := b.Temp(buf.DType, h.batch, h.count, a.total, h.features)
	if c.Wants(i) {
		all = b.Out(i)
	}
	axes := b.Axes(all.Dims)
	ix := ir.Ix(axes)
	x := h.load(b, buf, ix[0], ix[1], ix[2].Sub(ir.SymVal(a.past)), ix[3])
	if c.Has(pastKey) {
		x = ir.Guard(ix[2].Lt(ir.SymVal(a.past)), b.Load(b.In(i+pastKey-1), ix...), x)
	}
	b.Map(all, axes, x)
	return func(ix0, ix1, ix2, ix3 *scalar) *scalar { return b.Load(all, ix0, ix1, ix2, ix3) }
}
