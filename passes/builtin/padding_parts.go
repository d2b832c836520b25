package builtin

import (
	"slices"
	"sync"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// leastPadding is the part of a batch that is to be padding, one of so many tokens: below it the model runs as it
// stands, since to find the tokens would cost what is saved.
const leastPadding = 32

// parts makes programs by hand.
type parts struct {
	*ir.Program
	u *unpadding
}

func (u *unpadding) program(name string) parts { return parts{&ir.Program{Name: name}, u} }

func (p parts) param(name string, v *ir.Value) *ir.Buffer {
	t, _ := v.Tensor()
	b := &ir.Buffer{Name: name, DType: t.DType, Dims: t.Dims}
	p.Params = append(p.Params, b)
	return b
}

func (p parts) stage(s *ir.Stage, name string, axes []*ir.Axis, e *ir.Scalar) *ir.Buffer {
	dims := make([]sym.Expr, len(axes))
	for i, a := range axes {
		dims[i] = a.Extent
	}
	out := &ir.Buffer{Name: name, DType: e.DType, Dims: dims}
	s.Outs, s.Axes, s.Exprs = []*ir.Buffer{out}, axes, []*ir.Scalar{e}
	p.Stages = append(p.Stages, s)
	return out
}

func (p parts) each(name string, axes []*ir.Axis, e *ir.Scalar) *ir.Buffer {
	return p.stage(&ir.Stage{}, name, axes, e)
}

func (p parts) over(name string, axes []*ir.Axis, m ir.Monoid, red []*ir.Axis, e *ir.Scalar) *ir.Buffer {
	return p.stage(&ir.Stage{Kind: ir.ReduceStage, Monoid: m, Red: red}, name, axes, e)
}

func (p parts) gives(list ...*ir.Buffer) *ir.Program {
	p.Results = list
	return p.Program
}

func axesOf(dims ...sym.Expr) []*ir.Axis {
	out := make([]*ir.Axis, len(dims))
	for i, d := range dims {
		out[i] = &ir.Axis{Extent: d}
	}
	return out
}

// has says whether the mask has a token.
func has(mask *ir.Buffer, at ...*ir.Scalar) *ir.Scalar {
	x := ir.Load(mask, at...)
	if x.DType == tensor.Bool {
		return x
	}
	return x.Ne(x.Const(0))
}

// count is the number of tokens of each sequence.
func (p parts) count(mask *ir.Buffer) *ir.Buffer {
	b, s := axesOf(p.u.Batch), axesOf(p.u.Seq)
	return p.over("count", b, ir.Sum, s, has(mask, b[0].Ix(), s[0].Ix()).To(tensor.I64))
}

// sketch are tokens that nothing finds yet, to see what becomes of a call.
func (u *unpadding) sketch() *tokens {
	n := sym.Var("tokens")
	vector := func(d sym.Expr) *ir.Value {
		return &ir.Value{Type: ir.TensorType{DType: tensor.I64, Dims: []sym.Expr{d}}}
	}
	t := &tokens{n: n, seq: vector(n), pos: vector(n), from: vector(n), to: vector(n), start: vector(u.Batch), end: vector(u.Batch)}
	t.places = func() *ir.Value {
		return &ir.Value{Type: ir.TensorType{DType: tensor.I64, Dims: []sym.Expr{u.Batch, u.Seq}}}
	}
	t.diagonals = func(v *ir.Value, at diagonal) *ir.Value {
		is, _ := v.Tensor()
		p := u.diagonals(v, at, n)
		return &ir.Value{Type: ir.TensorType{DType: is.DType, Dims: p.Results[0].Dims}}
	}
	return t
}

// tokens writes what finds the tokens.
func (u *unpadding) tokens(b *ir.Builder) *tokens {
	list := b.Op("onnx.NonZero", []*ir.Value{u.mask})
	lt, _ := list.Tensor()
	t := &tokens{n: lt.Dims[1]}
	t.places = sync.OnceValue(func() *ir.Value { return u.call(b, u.places(), u.mask, t.start) })

	p := u.program("sequences")
	counts := p.count(p.param("mask", u.mask))
	i := axesOf(u.Batch)
	ends := p.stage(&ir.Stage{Kind: ir.ScanStage, Monoid: ir.Sum, ScanAxis: i[0]}, "end", i, ir.Load(counts, i[0].Ix()))
	i = axesOf(u.Batch)
	starts := p.each("start", i, ir.Load(ends, i[0].Ix()).Sub(ir.Load(counts, i[0].Ix())))
	p.gives(starts, ends).Finish()
	found := u.share.call(b, p.Program, []*ir.Value{u.mask}, &ir.Stmt{})
	t.start, t.end = found[0], found[1]

	p = u.program("tokens")
	rows, from, to := p.param("list", list), p.param("start", t.start), p.param("end", t.end)
	seq := func(r *ir.Axis) *ir.Scalar { return ir.Load(rows, ir.IntLit(0), r.Ix()) }
	each := func(name string, e func(r *ir.Axis) *ir.Scalar) *ir.Buffer {
		r := axesOf(t.n)
		return p.each(name, r, e(r[0]))
	}
	p.gives(each("seq_of", seq), each("pos_of", func(r *ir.Axis) *ir.Scalar { return ir.Load(rows, ir.IntLit(1), r.Ix()) }),
		each("from", func(r *ir.Axis) *ir.Scalar { return ir.Load(from, seq(r)) }),
		each("to", func(r *ir.Axis) *ir.Scalar { return ir.Load(to, seq(r)) })).Finish()
	found = u.share.call(b, p.Program, []*ir.Value{list, t.start, t.end}, &ir.Stmt{})
	t.seq, t.pos, t.from, t.to = found[0], found[1], found[2], found[3]
	return t
}

// condition says whether what the proof rests on is so, and tokens are fewer than positions.
func (u *unpadding) condition(dense []*ir.Stmt, ends [lastEnd + 1]bool) (is *ir.Program, args []*ir.Value) {
	p := u.program("padded")
	mask := p.param("mask", u.mask)
	args = []*ir.Value{u.mask}
	counts := p.count(mask)
	i := axesOf(u.Batch)
	least := p.over("least", nil, ir.Min, i, ir.Load(counts, i[0].Ix()))
	i = axesOf(u.Batch)
	all := p.over("all", nil, ir.Sum, i, ir.Load(counts, i[0].Ix()))
	holds := ir.Load(least).Ge(ir.IntLit(1))
	and := func(x *ir.Scalar) { holds = holds.And(x) }
	positions := ir.SymVal(u.Batch.Mul(u.Seq))
	and(ir.Load(all).Mul(ir.IntLit(leastPadding)).Le(positions.Mul(ir.IntLit(leastPadding - 1))))
	and(ir.SymVal(u.Seq).Le(ir.IntLit(analysis.MaxSeq)))
	if mask.DType != tensor.Bool {
		i := axesOf(u.Batch, u.Seq)
		x := ir.Load(mask, ir.Ix(i)...)
		and(ir.Load(p.over("is_mask", nil, ir.And, i, x.Eq(x.Const(0)).Or(x.Eq(x.Const(1))))))
	}
	if u.beside {
		and(ir.Load(all).Le(ir.IntLit(analysis.MaxTokens)))
		begins, i := p.begins(mask), axesOf(u.Batch)
		and(ir.Load(p.over("beside", nil, ir.And, i, ir.Load(begins, i[0].Ix()).Le(ir.IntLit(1)))))
	}
	for e, at := range [...]*ir.Scalar{firstEnd: ir.IntLit(0), lastEnd: ir.SymVal(u.Seq.Sub(sym.Const(1)))} {
		if at != nil && ends[e] {
			i := axesOf(u.Batch)
			x := ir.Guard(ir.SymVal(u.Seq).Ge(ir.IntLit(1)), ir.Load(mask, i[0].Ix(), at), ir.Lit(mask.DType, 0))
			if x.DType != tensor.Bool {
				x = x.Ne(x.Const(0))
			}
			and(ir.Load(p.over([...]string{firstEnd: "has_first", lastEnd: "has_last"}[e], nil, ir.And, i, x)))
		}
	}
	for _, l := range u.lookups {
		axes := map[*ir.Axis]*ir.Axis{}
		var over []*ir.Axis
		params := map[*ir.Buffer]*ir.Buffer{}
		within := ir.Lit(tensor.Bool, 1)
		var at, reads []*ir.Scalar // reads: what an index reads is there, which a guard may say
		for i, index := range l.index {
			x := index.Rewrite(func(y *ir.Scalar) *ir.Scalar {
				switch y.Op {
				case ir.OpAxis:
					if axes[y.Axis] == nil {
						axes[y.Axis] = &ir.Axis{Extent: y.Axis.Extent}
						over = append(over, axes[y.Axis])
					}
					return axes[y.Axis].Ix()
				case ir.OpLoad:
					if params[y.Buf] == nil {
						params[y.Buf] = p.param(y.Buf.Name, l.values[y.Buf])
						args = append(args, l.values[y.Buf])
					}
					for j, a := range y.Args {
						if k, ok := analysis.Bare(a); !ok || u.m.Syms.Equal(k.Extent, y.Buf.Dims[j]) != sym.True {
							reads = append(reads, a.Ge(ir.IntLit(0)).And(a.Lt(ir.SymVal(y.Buf.Dims[j]))))
						}
					}
					return ir.Load(params[y.Buf], y.Args...)
				}
				return y
			})
			at = append(at, x)
			is := x.Ge(ir.IntLit(0)).And(x.Lt(ir.SymVal(l.dims[i])))
			if i == 0 {
				within = is
			} else {
				within = within.And(is)
			}
		}
		if l.token {
			x := ir.Guard(within, ir.Load(mask, at...), ir.Lit(mask.DType, 0))
			if within = x; x.DType != tensor.Bool {
				within = x.Ne(x.Const(0))
			}
		}
		for _, is := range slices.Backward(reads) {
			within = ir.Guard(is, within, ir.Lit(tensor.Bool, 0))
		}
		and(ir.Load(p.over("within", nil, ir.And, over, within)))
	}
	for _, v := range u.floats(dense) {
		b := p.param("x", v)
		args = append(args, v)
		i := axesOf(b.Dims...)
		x := ir.Load(b, ir.Ix(i)...).To(b.DType.Compute())
		small := x.Abs().Le(x.Const(analysis.MaxInput))
		if n := len(i) - 1; n > 0 { // row by row, which kernels go over
			rows := p.over("small_row", i[:n], ir.And, i[n:], small)
			i = axesOf(b.Dims[:n]...)
			small = ir.Load(rows, ir.Ix(i)...)
		}
		and(ir.Load(p.over("small", nil, ir.And, i, small)))
	}
	return p.gives(p.each("C", nil, holds)), args
}

// floats are floats that come in, on which some statements depend.
func (u *unpadding) floats(list []*ir.Stmt) (out []*ir.Value) {
	needed := map[*ir.Value]bool{}
	need := func(s *ir.Stmt) { s.EachUse(func(v *ir.Value) { needed[v] = true }) }
	for _, s := range list {
		need(s)
	}
	for _, s := range slices.Backward(u.f.Stmts) {
		if slices.ContainsFunc(s.Results, func(v *ir.Value) bool { return needed[v] }) {
			need(s)
		}
	}
	for _, v := range u.f.Params {
		if t, ok := v.Tensor(); ok && needed[v] && v != u.mask && t.DType.IsFloat() {
			out = append(out, v)
		}
	}
	return out
}

// places gives for each position how many tokens are in front of it.
func (u *unpadding) places() *ir.Program {
	p := u.program("places")
	mask := p.param("mask", u.mask)
	start := &ir.Buffer{Name: "start", DType: tensor.I64, Dims: []sym.Expr{u.Batch}}
	p.Params = append(p.Params, start)
	i := axesOf(u.Batch, u.Seq)
	rank := p.stage(&ir.Stage{Kind: ir.ScanStage, Monoid: ir.Sum, ScanAxis: i[1], Exclusive: true}, "rank", i, has(mask, ir.Ix(i)...).To(tensor.I64))
	i = axesOf(u.Batch, u.Seq)
	return p.gives(p.each("place", i, ir.Load(start, i[0].Ix()).Add(ir.Load(rank, ir.Ix(i)...))))
}

// positionIn is the sequence and the position of a point of a value, which has one slot.
func (u *unpadding) positionIn(v *ir.Value, i []*ir.Axis) (slot analysis.Slot, at []*ir.Scalar) {
	t, _ := v.Tensor()
	slot = u.Slots(t.Dims)[0]
	if slot.Flat() {
		n := ir.SymVal(u.Seq)
		return slot, []*ir.Scalar{i[slot.Pos].Ix().FloorDiv(n), i[slot.Pos].Ix().Mod(n)}
	}
	return slot, []*ir.Scalar{i[slot.Batch].Ix(), i[slot.Pos].Ix()}
}

// zeroed gives a value with zeros where the mask has no token.
func (u *unpadding) zeroed(v *ir.Value) *ir.Program {
	t, _ := v.Tensor()
	p := u.program("zero_padding")
	x, mask := p.param("X", v), p.param("mask", u.mask)
	i := axesOf(t.Dims...)
	_, at := u.positionIn(v, i)
	return p.gives(p.each("Y", i, ir.Select(has(mask, at...), ir.Load(x, ir.Ix(i)...), ir.Lit(t.DType, 0))))
}

// unpacked gives the packed form of a value in the shape of the value, with zeros where the mask has no token.
func (u *unpadding) unpacked(v, packed *ir.Value) *ir.Program {
	t, _ := v.Tensor()
	p := u.program("unpack")
	x, mask := p.param("X", packed), p.param("mask", u.mask)
	place := &ir.Buffer{Name: "place", DType: tensor.I64, Dims: []sym.Expr{u.Batch, u.Seq}}
	p.Params = append(p.Params, place)
	i := axesOf(t.Dims...)
	slot, at := u.positionIn(v, i)
	var index []*ir.Scalar
	for j, a := range i {
		switch {
		case j == slot.Pos:
			index = append(index, ir.Load(place, at...))
		case j != slot.Batch:
			index = append(index, a.Ix())
		}
	}
	return p.gives(p.each("Y", i, ir.Guard(has(mask, at...), ir.Load(x, index...), ir.Lit(t.DType, 0))))
}
