package analysis

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Ragged follows a mask [batch, seq] through programs: what is known of elements that belong
// to a position of a sequence where the mask is 0, and where it is not.
//
// What it finds is so where this holds: elements of the mask are 0 or 1, each
// sequence has one that is 1, where First says so its first one, a sequence is at most MaxSeq long, floats that come in are
// at most MaxInput, large constants are what Bounded says, and products of norms what Products does.
type Ragged struct {
	Batch, Seq sym.Expr
	positions  sym.Expr // of all sequences

	ctx    *sym.Context
	values map[*ir.Value]*Rows
	consts map[*ir.Const]Interval
	taken  []Bounded
	first  bool

	made     map[*ir.Value]made // by calls
	products []Product
}

// Bounded is a constant that was not read as a whole: it is taken for granted that absolute values in it are at most Bound.
type Bounded struct {
	Value *ir.Value
	Bound float64
}

// What Ragged takes for granted of what comes in, so that sums have bounds.
const (
	MaxSeq   = 1 << 16
	MaxInput = 1 << 16 // of absolute values of floats

	// MaxTokens is how many tokens a batch has where places of two of them stand for their positions: those of different sequences
	// lie as far apart, and what is proved of positions holds of these.
	MaxTokens = 1 << 22
)

// Slot is a pair of dims of a tensor that run over sequences and positions, or one dim that
// runs over all positions of all sequences, which is both then.
type Slot struct{ Batch, Pos int }

// Flat says that one dim runs over sequences and positions.
func (s Slot) Flat() bool { return s.Batch == s.Pos }

// Token is a position of a sequence, as axes of a stage: two, or one that runs over both.
type Token struct{ Batch, Pos *ir.Axis }

// Rows is what is known of the elements of a tensor: of all, and for each slot of those where
// the mask is 0, and of the others.
type Rows struct {
	Any   Interval
	Slots []SlotRows
	Pairs []PairRows
}

// PairRows is what is known where the mask is 1 at the position that a slot tells, and 0 at that of another one.
type PairRows struct {
	Row, Key Slot
	Is       Interval
}

// SlotRows is what is known by the position that a slot tells.
type SlotRows struct {
	Slot
	Masked, Valid Interval
}

// NewRagged starts with a mask, a value of two dims.
func NewRagged(ctx *sym.Context, mask *ir.Value) *Ragged {
	t, _ := mask.Tensor()
	r := &Ragged{Batch: t.Dims[0], Seq: t.Dims[1], positions: t.Dims[0].Mul(t.Dims[1]), ctx: ctx, values: map[*ir.Value]*Rows{}, consts: map[*ir.Const]Interval{}, made: map[*ir.Value]made{}}
	r.values[mask] = &Rows{Any: Interval{0, 1, false}, Slots: []SlotRows{{Slot{0, 1}, Exactly(0), Exactly(1)}}}
	return r
}

func (r *Ragged) equal(a, b sym.Expr) bool { return a.Equal(b) || r.ctx.Equal(a, b) == sym.True }

// Slots gives the slots of dims.
func (r *Ragged) Slots(dims []sym.Expr) (out []Slot) {
	batch := -1
	for i, d := range dims {
		if r.equal(d, r.Batch) {
			if batch >= 0 {
				return nil // which of them is it?
			}
			batch = i
		}
	}
	for i, d := range dims {
		switch {
		case batch >= 0 && r.equal(d, r.Seq):
			out = append(out, Slot{batch, i})
		case batch < 0 && r.equal(d, r.positions):
			out = append(out, Slot{i, i})
		}
	}
	return out
}

// TokenOf gives the token at which a load reads a slot of its buffer.
func (r *Ragged) TokenOf(load *ir.Scalar, s Slot) (t Token, ok bool) {
	if s.Flat() {
		return r.flatToken(load.Args[s.Pos])
	}
	b, ok1 := Bare(load.Args[s.Batch])
	p, ok2 := Bare(load.Args[s.Pos])
	if ok1 && ok2 && b != p && r.equal(b.Extent, r.Batch) && r.equal(p.Extent, r.Seq) {
		return Token{b, p}, true
	}
	q, rest := load.Args[s.Batch], load.Args[s.Pos]
	if q.Op != ir.OpFloorDiv || rest.Op != ir.OpMod {
		return t, false
	}
	a, ok1 := Bare(q.Args[0])
	c, ok2 := Bare(rest.Args[0])
	for _, x := range []*ir.Scalar{q.Args[1], rest.Args[1]} {
		d, ok := x.Symbolic()
		ok1 = ok1 && ok && r.equal(d, r.Seq)
	}
	return Token{a, a}, ok1 && ok2 && a == c && r.equal(a.Extent, r.positions)
}

func (r *Ragged) flatToken(ix *ir.Scalar) (t Token, ok bool) {
	if a, ok := Bare(ix); ok {
		return Token{a, a}, r.equal(a.Extent, r.positions)
	}
	f, ok := AffineOf(ix)
	if !ok || len(f.Terms) != 2 || !f.C.IsInt(0) {
		return t, false
	}
	b, p := f.Terms[0], f.Terms[1]
	if !p.K.IsInt(1) {
		b, p = p, b
	}
	return Token{b.Axis, p.Axis}, p.K.IsInt(1) && r.equal(b.K, r.Seq) && r.equal(b.Axis.Extent, r.Batch) && r.equal(p.Axis.Extent, r.Seq)
}

// PositionOf gives the position that a load reads of each sequence, the axis that counts
// sequences, and the position, where that is the same in all.
func (r *Ragged) PositionOf(load *ir.Scalar, s Slot) (batch *ir.Axis, at sym.Expr, ok bool) {
	if s.Flat() {
		return nil, at, false
	}
	f, ok1 := AffineOf(load.Args[s.Pos])
	b, ok2 := Bare(load.Args[s.Batch])
	return b, f.C, ok1 && ok2 && len(f.Terms) == 0 && r.equal(b.Extent, r.Batch)
}

// Of gives what is known of a value.
func (r *Ragged) Of(v *ir.Value) *Rows {
	if v.Const != nil {
		return &Rows{Any: r.ofConst(v)}
	}
	if have := r.values[v]; have != nil {
		return have
	}
	t, ok := v.Tensor()
	if !ok {
		return &Rows{Any: Interval{math.Inf(-1), math.Inf(1), true}}
	}
	return &Rows{Any: Anything(t.DType)}
}

// Set says what is known of a value. A number that is put in the place of minus infinity where the mask is 0 may as well
// be that: what is proved holds for both.
func (r *Ragged) Set(v *ir.Value, is *Rows) {
	for i := range is.Slots {
		if m := &is.Slots[i].Masked; m.Hi < -lowest && v.Type.(ir.TensorType).DType.IsFloat() {
			m.Lo = math.Inf(-1)
			is.Any.Lo = m.Lo
		}
	}
	r.values[v] = is
}

// lowest is the absolute value of numbers that stand for minus infinity.
const lowest = 1e30

// ofConst looks at a constant, once: at all elements, or at some of a large one.
func (r *Ragged) ofConst(v *ir.Value) Interval {
	have, ok := r.consts[v.Const]
	if ok {
		return have
	}
	t := v.Const.Tensor
	switch d := t.DType(); {
	case t.Len() <= lookedAt:
		have = intervalOf(t)
	case d.IsFloat():
		if bound, ok := likelyBound(t); ok {
			have = Interval{-bound, bound, false}
			r.taken = append(r.taken, Bounded{v, bound})
			break
		}
		have = intervalOf(t)
	case d.Bits() <= 16:
		have = Anything(d)
	default:
		have = intervalOf(t)
	}
	r.consts[v.Const] = have
	return have
}

// Bounded are the constants that were not read as a whole.
func (r *Ragged) Bounded() []Bounded { return r.taken }

// First says that the first position of each sequence was taken for one where the mask is 1.
func (r *Ragged) First() bool { return r.first }

// Stmt follows a statement.
func (r *Ragged) Stmt(s *ir.Stmt) {
	switch {
	case s.Kind == ir.CallStmt:
		p, ok := s.Callee.(*ir.Program)
		if !ok {
			return
		}
		r.Call(s, s.Args, Instance(s, p))
	case s.Kind == ir.OpStmt && s.Op.IsView():
		r.view(s)
	case s.Kind == ir.CastStmt:
		r.values[s.Results[0]] = &Rows{Any: r.Of(s.Args[0]).Any}
	}
}

// Call follows a call of a program, with what the call binds in it, and its operands.
func (r *Ragged) Call(s *ir.Stmt, args []*ir.Value, p *ir.Program) *RaggedProgram {
	a := r.Program(args, p)
	for i, v := range s.Results {
		if v != nil {
			b := p.Results[i]
			r.Set(v, a.Rows(b))
			if a.defs[b] != nil {
				r.made[v] = made{a, a.defs[b]}
			}
		}
	}
	return a
}

// Instance is a program with what a call binds its symbols to.
func Instance(s *ir.Stmt, p *ir.Program) *ir.Program {
	return p.Clone(func(name string) (sym.Expr, bool) {
		i := slices.Index(p.Syms, name)
		if i < 0 || i >= len(s.Bind) {
			return sym.Expr{}, false
		}
		return s.Bind[i], true
	})
}

// view follows elements into another shape.
func (r *Ragged) view(s *ir.Stmt) {
	from, to := s.Args[0], s.Results[0]
	out := &Rows{Any: r.Of(from).Any}
	for _, have := range r.Of(from).Slots {
		if at, ok := r.Viewed(from, to, have.Slot); ok {
			out.Slots = append(out.Slots, SlotRows{at, have.Masked, have.Valid})
		}
	}
	for _, have := range r.Of(from).Pairs {
		row, ok := r.Viewed(from, to, have.Row)
		if key, ok2 := r.Viewed(from, to, have.Key); ok && ok2 && row != key {
			out.Pairs = append(out.Pairs, PairRows{row, key, have.Is})
		}
	}
	r.values[to] = out
}

// Viewed says which slot of a view has the positions of a slot of what it is a view of: what is
// between and beside the dims has the same number of elements.
func (r *Ragged) Viewed(from, to *ir.Value, s Slot) (Slot, bool) {
	a, ok := from.Tensor()
	b, ok2 := to.Tensor()
	if !ok || !ok2 || a.Unranked || b.Unranked {
		return s, false
	}
	want := around(a.Dims, s)
	for _, t := range r.Slots(b.Dims) {
		have := around(b.Dims, t)
		if r.equal(want[0], have[0]) && r.equal(want[1], have[1]) && r.equal(want[2], have[2]) && (s.Batch <= s.Pos) == (t.Batch <= t.Pos) {
			return t, true
		}
	}
	return s, false
}

// around is the number of elements in front of, between and behind the dims of a slot.
func around(dims []sym.Expr, s Slot) [3]sym.Expr {
	first, last := min(s.Batch, s.Pos), max(s.Batch, s.Pos)
	out := [3]sym.Expr{sym.Prod(dims[:first]...), sym.Const(1), sym.Prod(dims[last+1:]...)}
	if first < last {
		out[1] = sym.Prod(dims[first+1 : last]...)
	}
	return out
}

// RaggedProgram is what is known of the buffers of a call's program.
type RaggedProgram struct {
	*Ragged
	params []*ir.Buffer
	args   []*ir.Value // of params
	rows   map[*ir.Buffer]*Rows
	defs   map[*ir.Buffer]*ir.Stage
	dots   map[*ir.Stage]*Product // of sums of products of computed vectors; nil where nothing is known
	limit  float64                // of these
	halves map[*ir.Scalar]bool    // conversions to f16: whether they are taken not to overflow
}

// Program follows a program with operands.
func (r *Ragged) Program(args []*ir.Value, p *ir.Program) *RaggedProgram {
	a := &RaggedProgram{r, p.Params, args, map[*ir.Buffer]*Rows{}, map[*ir.Buffer]*ir.Stage{}, map[*ir.Stage]*Product{}, math.Inf(1), map[*ir.Scalar]bool{}}
	for i, b := range p.Params {
		a.rows[b] = r.Of(args[i])
	}
	for _, st := range p.Stages {
		for _, b := range st.Outs {
			a.defs[b] = st
		}
		a.stage(st)
	}
	a.bound(p)
	return a
}

// Rows is what is known of a buffer.
func (a *RaggedProgram) Rows(b *ir.Buffer) *Rows {
	if have := a.rows[b]; have != nil {
		return have
	}
	return &Rows{Any: Anything(b.DType)}
}

func (a *RaggedProgram) stage(s *ir.Stage) {
	out := s.Out()
	if len(s.Outs) != 1 || s.Kind != ir.MapStage && s.Kind != ir.ReduceStage || out.DType.IsComplex() || out.DType.Bits() == 0 {
		return
	}
	is := &Rows{Any: a.point(s)}
	for _, slot := range a.Slots(out.Dims) {
		t := TokenAt(s, slot)
		is.Slots = append(is.Slots, SlotRows{slot, a.point(s, where{Token: t}), a.point(s, where{Token: t, valid: true})})
	}
	for _, row := range is.Slots {
		for _, key := range is.Slots {
			if row.Slot != key.Slot {
				both := a.point(s, where{Token: TokenAt(s, row.Slot), valid: true}, where{Token: TokenAt(s, key.Slot)})
				is.Pairs = append(is.Pairs, PairRows{row.Slot, key.Slot, both})
			}
		}
	}
	a.rows[out] = is
}

// TokenAt is the token of a slot of what a stage defines.
func TokenAt(s *ir.Stage, slot Slot) Token { return Token{s.Axes[slot.Batch], s.Axes[slot.Pos]} }

// where says that the mask is 0 at a token, or that it is not; and of one that it is the first of its sequence.
type where struct {
	Token
	valid, first bool
}

// point is what a stage makes of a point where something is known of tokens.
func (a *RaggedProgram) point(s *ir.Stage, at ...where) Interval {
	is := a.eval(s, s.Exprs[0], at...)
	if s.Kind == ir.MapStage {
		return is
	}
	some := func(but *ir.Axis) bool { // there is a point to reduce
		return !slices.ContainsFunc(s.Red, func(k *ir.Axis) bool {
			lo, _ := a.ctx.Bounds(k.Extent)
			return k != but && lo < 1
		})
	}
	if key, ok := a.Key(s); ok {
		if masked, valid := a.overKey(s, key, at...); neutral(s, masked, valid) {
			return a.reduced(s, valid, some(key.Pos)) // each sequence has a token
		}
	}
	return a.reduced(s, is, some(nil))
}

// Key is the token that a reduction goes over, the positions of a sequence, where something is read there.
func (a *RaggedProgram) Key(s *ir.Stage) (key Token, ok bool) {
	if s.Kind != ir.ReduceStage {
		return key, false
	}
	n := 0
	s.Walk(func(x *ir.Scalar) bool {
		if x.Op != ir.OpLoad {
			return true
		}
		for _, slot := range a.Slots(x.Buf.Dims) {
			if t, ok := a.TokenOf(x, slot); ok && t != key && slices.Contains(s.Red, t.Pos) && slices.Contains(s.Axes, t.Batch) {
				key = t
				n++
			}
		}
		return true
	})
	return key, n == 1
}

// overKey is what a reduction over the positions of a sequence goes over where the mask is 0, and where it is 1. The largest
// is no less than what a row has at its own position, where the mask is 1 there: under a window it may see no other. Under a causal
// mask a row may see no other position than the first: where that is needed, the mask is taken to be 1 there.
func (a *RaggedProgram) overKey(s *ir.Stage, key Token, at ...where) (masked, valid Interval) {
	over := func(w where) []where { return append(at[:len(at):len(at)], w) }
	x := s.Exprs[0]
	masked, valid = a.eval(s, x, over(where{Token: key})...), a.eval(s, x, over(where{Token: key, valid: true})...)
	if s.Monoid != ir.Max || len(s.Red) != 1 || neutral(s, masked, valid) && valid.Lo >= -lowest {
		return masked, valid
	}
	x, _ = a.inline(x)
	for _, row := range at {
		if !row.valid || row.Batch != key.Batch || row.Batch == row.Pos {
			continue
		}
		own := a.eval(s, atOwn(x, key.Pos, row.Pos), at...)
		if valid.Lo = max(valid.Lo, own.Lo); neutral(s, masked, valid) && valid.Lo >= -lowest {
			return masked, valid
		}
	}
	if first := a.eval(s, x, over(where{key, true, true})...); first.Lo > valid.Lo && !first.none() {
		valid.Lo, a.first = first.Lo, true
	}
	return masked, valid
}

// atOwn is an expression of a row and a key where the key is the row.
func atOwn(x *ir.Scalar, key, row *ir.Axis) *ir.Scalar {
	return x.Rewrite(func(y *ir.Scalar) *ir.Scalar {
		if y.Op == ir.OpAxis && y.Axis == key {
			return row.Ix()
		}
		if f, ok := AffineOf(y); ok && y.Op != ir.OpAxis && len(f.Terms) == 0 {
			return ir.SymVal(f.C)
		}
		return y
	})
}

// Neutral says whether positions where the mask is 0 change nothing of what a reduction over
// the positions of a sequence gives, where it is 1 for some rows.
func (a *RaggedProgram) Neutral(s *ir.Stage, key Token, rows ...Token) bool {
	var at []where
	for _, t := range rows {
		at = append(at, where{Token: t, valid: true})
	}
	masked, valid := a.overKey(s, key, at...)
	return neutral(s, masked, valid)
}

func neutral(s *ir.Stage, masked, valid Interval) bool {
	if masked.NaN || masked.none() {
		return false
	}
	v, one := masked.Value()
	switch s.Monoid {
	case ir.Sum:
		return one && v == 0
	case ir.Prod:
		return one && v == 1
	case ir.Max:
		return masked.Hi <= valid.Lo
	case ir.Min:
		return masked.Lo >= valid.Hi
	case ir.And:
		return one && v == 1 && s.Out().DType == tensor.Bool
	case ir.Or:
		return one && v == 0
	}
	return false
}

// reduced is what a monoid makes of points that lie in an interval.
func (a *RaggedProgram) reduced(s *ir.Stage, is Interval, some bool) Interval {
	d := s.Out().DType
	n, least := 1.0, 1.0
	for _, k := range s.Red {
		lo, hi := a.extent(k.Extent)
		n, least = n*hi, least*lo
	}
	if some {
		least = max(least, 1)
	}
	switch s.Monoid {
	case ir.Sum:
		if v, ok := is.Value(); ok && v == 0 {
			return is
		}
		if is.none() {
			return Anything(d)
		}
		out := total(d, is, least, n).fit(d)
		for _, bound := range []func(*ir.Stage) (Interval, bool){a.dot, a.mean} {
			if by, ok := bound(s); ok {
				nan := out.NaN && by.NaN
				out = out.within(by.Lo, by.Hi).wider(d)
				out.NaN = nan
			}
		}
		if out.Lo < 1 && a.hasOne(s) { // or it is NaN
			out.Lo = 1
		}
		return out
	case ir.Max, ir.Min, ir.And, ir.Or:
		if d.IsInt() && (s.Monoid == ir.And || s.Monoid == ir.Or) {
			return Anything(d) // of bits
		}
		if some {
			return is
		}
		return is.Or(identityOf(s.Monoid, d))
	}
	return Anything(d)
}

// extent is what the size of an axis is at least and at most.
func (a *RaggedProgram) extent(e sym.Expr) (lo, hi float64) {
	l, h := a.bounds(e)
	return float64(max(l, 0)), min(float64(h), most)
}
