package builtin

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// tokens are the vectors that tell which tokens are packed, one behind the other.
type tokens struct {
	n sym.Expr // how many there are

	seq, pos   *ir.Value // [n]: which sequence a token is of, and at which position of it
	from, to   *ir.Value // [n]: the first token of its sequence, and the one behind its last
	start, end *ir.Value // [batch]: the same for each sequence

	places    func() *ir.Value                         // [batch, seq]: how many tokens are in front of a position
	diagonals func(v *ir.Value, at diagonal) *ir.Value // what v is by how far places of two tokens lie apart
}

// lookup is where something is read at an index that is looked up. Each index is to be in range, for tokens that the mask does not
// have, too: else the model fails.
type lookup struct {
	index  []*ir.Scalar // over axes of a stage
	dims   []sym.Expr
	values map[*ir.Buffer]*ir.Value // that it reads
	token  bool                     // the indices are a sequence and a position, which is to be of a token that the mask has
}

// packing writes the packed form of a call.
type packing struct {
	*unpadding
	*ragged
	tokens *tokens
	ends   *[lastEnd + 1]bool // that are read

	out     *ir.Program
	args    []*ir.Value
	vectors map[*ir.Value]*ir.Buffer
	buffers map[*ir.Buffer]*ir.Buffer
}

// pack gives the program that goes over tokens, and what it is called with: value gives what stands for operands.
func (u *unpadding) pack(s *ir.Stmt, t *tokens, ends *[lastEnd + 1]bool, value func(*ir.Value) *ir.Value) (*ir.Program, []*ir.Value) {
	c := u.calls[s]
	w := &packing{unpadding: u, ragged: c, tokens: t, ends: ends, vectors: map[*ir.Value]*ir.Buffer{}, buffers: map[*ir.Buffer]*ir.Buffer{}}
	for i, b := range c.Params {
		c.packed[b] = u.packed[c.args[i]]
	}
	w.out = &ir.Program{Name: s.Callee.(*ir.Program).Name + "_packed"}
	for i, b := range c.Params {
		w.out.Params = append(w.out.Params, w.buffer(b))
		w.args = append(w.args, value(c.args[i]))
	}
	for _, st := range c.Stages {
		w.out.Stages = append(w.out.Stages, w.stage(st))
	}
	for _, b := range c.Results {
		w.out.Results = append(w.out.Results, w.buffer(b))
	}
	dropUnread(w.out, &w.args)
	w.out.Finish()
	return w.out, w.args
}

// dropUnread takes out parameters that are not read.
func dropUnread(p *ir.Program, args *[]*ir.Value) {
	read := map[*ir.Buffer]bool{}
	for _, s := range p.Stages {
		for _, b := range s.Reads() {
			read[b] = true
		}
	}
	var params []*ir.Buffer
	var kept []*ir.Value
	for i, b := range p.Params {
		if read[b] {
			params = append(params, b)
			kept = append(kept, (*args)[i])
		}
	}
	p.Params, *args = params, kept
}

// packedDims are dims with tokens in the place of slots.
func packedDims(dims []sym.Expr, slots []analysis.Slot, n sym.Expr) (out []sym.Expr) {
	for i, d := range dims {
		switch {
		case slices.ContainsFunc(slots, func(s analysis.Slot) bool { return s.Pos == i }):
			out = append(out, n)
		case !slices.ContainsFunc(slots, func(s analysis.Slot) bool { return s.Batch == i }):
			out = append(out, d)
		}
	}
	return out
}

func (w *packing) buffer(b *ir.Buffer) *ir.Buffer {
	if b == nil {
		return nil
	}
	n := w.buffers[b]
	if n == nil {
		n = &ir.Buffer{Name: b.Name, DType: b.DType, Dims: b.Dims, Room: b.Room}
		if w.packed(b) {
			n.Dims = packedDims(b.Dims, w.Slots(b.Dims), w.tokens.n)
		}
		if w.crossed(b) {
			n.Dims = slices.Clone(b.Dims)
			n.Dims[w.Slots(b.Dims)[0].Pos] = w.tokens.n
		}
		w.buffers[b] = n
	}
	return n
}

func (w *packing) packed(b *ir.Buffer) bool { return w.ragged.packed[b] }

// crossed says whether a buffer is of all sequences, and of the tokens of all of them, inside an attention of rows that are no tokens.
func (w *packing) crossed(b *ir.Buffer) bool {
	i := slices.IndexFunc(w.Stages, func(s *ir.Stage) bool { return slices.Contains(s.Outs, b) })
	return i >= 0 && w.packed(b) && w.crosses(w.ragged, w.Stages[i])
}

// vector is one of the vectors as a parameter.
func (w *packing) vector(v *ir.Value, name string) *ir.Buffer {
	b := w.vectors[v]
	if b == nil {
		t, _ := v.Tensor()
		b = &ir.Buffer{Name: name, DType: t.DType, Dims: t.Dims}
		w.vectors[v] = b
		w.out.Params = append(w.out.Params, b)
		w.args = append(w.args, v)
	}
	return b
}

func (w *packing) seqOf(token *ir.Scalar) *ir.Scalar {
	return ir.Load(w.vector(w.tokens.seq, "seq_of"), token)
}
func (w *packing) posOf(token *ir.Scalar) *ir.Scalar {
	return ir.Load(w.vector(w.tokens.pos, "pos_of"), token)
}
func (w *packing) startOf(seq *ir.Scalar) *ir.Scalar {
	return ir.Load(w.vector(w.tokens.start, "start"), seq)
}
func (w *packing) endOf(seq *ir.Scalar) *ir.Scalar {
	return ir.Load(w.vector(w.tokens.end, "end"), seq)
}

// packedStage writes a stage.
type packedStage struct {
	*packing
	s     *ir.Stage
	rows  []analysis.Token             // of what is defined, where that is packed
	key   analysis.Token               // what is gone over, where that is packed
	cross analysis.Token               // what keys are in an attention of rows that are no tokens
	axes  map[*ir.Axis]*ir.Axis        // that are there still
	token map[*ir.Axis]*ir.Axis        // by position: the axis over tokens
	in    *ir.Scalar                   // the row and the key, or both rows, are of one sequence; nil: there is but one
	has   *ir.Scalar                   // there is a token: a key counts the tokens of a sequence
	done  [2]map[*ir.Scalar]*ir.Scalar // outside of indices that something is read at, and in them
	index int                          // 1: in one
}

func (w *packing) stage(s *ir.Stage) *ir.Stage {
	n := *s
	x := &packedStage{packing: w, s: s, rows: tokensOf(w.unpadding, w.ragged, s), axes: map[*ir.Axis]*ir.Axis{}, token: map[*ir.Axis]*ir.Axis{}, done: [2]map[*ir.Scalar]*ir.Scalar{{}, {}}}
	n.Outs = nil
	for _, b := range s.Outs {
		n.Outs = append(n.Outs, w.buffer(b))
	}
	n.Base = w.buffer(s.Base)
	if key, ok := w.facts.Key(s); ok && x.readsPacked(key) {
		x.key = key
	}
	if w.crosses(w.ragged, s) {
		if x.cross = x.key; len(x.rows) == 1 {
			x.cross = x.rows[0]
		}
		x.rows, x.key = nil, analysis.Token{}
	}
	over := func(list []*ir.Axis) (out []*ir.Axis) {
		for _, a := range list {
			switch {
			case slices.ContainsFunc(x.tokensHere(), func(t analysis.Token) bool { return t.Pos == a }):
				x.token[a] = &ir.Axis{Extent: w.tokens.n}
				out = append(out, x.token[a])
			case slices.ContainsFunc(x.rows, func(t analysis.Token) bool { return t.Batch == a }):
			default:
				x.axes[a] = &ir.Axis{Extent: a.Extent}
				out = append(out, x.axes[a])
			}
		}
		return out
	}
	n.Axes, n.Red = over(s.Axes), over(s.Red)
	if s.ScanAxis != nil {
		n.ScanAxis = x.axes[s.ScanAxis]
	}
	switch here := x.tokensHere(); {
	case len(here) == 2:
		row, key := x.token[here[0].Pos].Ix(), x.token[here[1].Pos].Ix()
		x.in = key.Ge(ir.Load(w.vector(w.tokens.from, "from"), row)).And(key.Lt(ir.Load(w.vector(w.tokens.to, "to"), row)))
	case x.cross.Pos != nil:
		key, seq := x.token[x.cross.Pos].Ix(), x.axes[x.cross.Batch].Ix()
		x.in = key.Ge(x.startOf(seq)).And(key.Lt(x.packing.endOf(seq)))
	case x.key.Pos != nil && len(x.rows) == 0:
		x.has = x.at().Lt(w.endOf(x.axes[x.key.Batch].Ix()))
	}
	each := func(list []*ir.Scalar) (out []*ir.Scalar) {
		for _, e := range list {
			out = append(out, x.of(e))
		}
		return out
	}
	n.Exprs, n.Index = each(s.Exprs), each(s.Index)
	if x.has != nil {
		if e := n.Exprs[0]; e.Op == ir.OpGuard && e.Args[0] == x.has {
			n.Exprs[0] = ir.Guard(x.has, e.Args[1], neutralOf(s.Monoid, e.DType))
		} else {
			n.Exprs[0] = ir.Select(x.has, e, neutralOf(s.Monoid, e.DType))
		}
	}
	return &n
}

// tokensHere are the tokens that become axes over all tokens: those of what is defined, and of what is gone over for
// each of them.
func (x *packedStage) tokensHere() []analysis.Token {
	if x.cross.Pos != nil {
		return []analysis.Token{x.cross}
	}
	if len(x.rows) == 1 && x.key.Pos != nil {
		return append(x.rows[:1:1], x.key)
	}
	return x.rows
}

// at is the token that a key of a sequence is, where keys count the tokens of one.
func (x *packedStage) at() *ir.Scalar {
	return x.startOf(x.axes[x.key.Batch].Ix()).Add(x.axes[x.key.Pos].Ix())
}

// neutralOf is what changes nothing of what a monoid gives.
func neutralOf(m ir.Monoid, d tensor.DType) *ir.Scalar {
	x := ir.Lit(d, 0)
	switch {
	case m == ir.Prod || m == ir.And && d == tensor.Bool || m == ir.Min && d == tensor.Bool:
		return ir.Lit(d, 1)
	case m == ir.And:
		x.Lit.SetInt(0, -1)
	case (m == ir.Max || m == ir.Min) && d.IsFloat():
		return ir.Lit(d, math.Inf(map[ir.Monoid]int{ir.Max: -1, ir.Min: 1}[m]))
	case m == ir.Max && d.IsSigned():
		x.Lit.SetInt(0, -1<<(d.Bits()-1))
	case m == ir.Min && d.IsSigned():
		x.Lit.SetInt(0, 1<<(d.Bits()-1)-1)
	case m == ir.Min && d.IsInt():
		x.Lit.SetInt(0, -1)
	}
	return x
}

// readsPacked says whether something packed is read at a token.
func (x *packedStage) readsPacked(t analysis.Token) (found bool) {
	x.s.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpLoad && x.packed(y.Buf) {
			for _, slot := range x.Slots(y.Buf.Dims) {
				at, ok := x.TokenOf(y, slot)
				found = found || ok && at == t
			}
		}
		return !found
	})
	return found
}

// of is what stands for an expression.
func (x *packedStage) of(y *ir.Scalar) *ir.Scalar {
	done := x.done[x.index]
	n := done[y]
	if n == nil {
		n = x.node(y)
		done[y] = n
	}
	return n
}

func (x *packedStage) node(y *ir.Scalar) *ir.Scalar {
	switch y.Op {
	case ir.OpAxis:
		return x.position(y.Axis)
	case ir.OpLoad:
		was := x.index
		defer func() { x.index = was }()
		x.index = 1
		return x.load(y)
	case ir.OpBcast:
		dim, _ := y.Args[1].Symbolic()
		extent, _ := y.Args[2].Symbolic()
		return ir.Bcast(x.of(y.Args[0]), dim, extent)
	}
	if len(y.Args) == 0 {
		return y
	}
	if d := x.difference(y); d != nil {
		return d
	}
	n := *y
	if n.Args = x.inOrder(y); n.Args == nil {
		for _, a := range y.Args {
			n.Args = append(n.Args, x.of(a))
		}
	}
	for i, a := range n.Args { // what the mask multiplied by
		if n.Op == ir.OpMul && a.Op == ir.OpLit && n.DType.IsFloat() && a.Lit.Float(0) == 1 {
			return n.Args[1-i]
		}
	}
	return &n
}

// inOrder gives what stands for the operands of a comparison of the positions of two tokens, as a causal mask is; nil: it is
// none. Tokens of a sequence lie behind each other in the order of their positions; what is said of those of
// different sequences makes no difference.
func (x *packedStage) inOrder(y *ir.Scalar) (out []*ir.Scalar) {
	if x.in == nil || y.Op < ir.OpEq || y.Op > ir.OpGe || slices.ContainsFunc(x.tokensHere(), func(t analysis.Token) bool { return t.Batch == t.Pos }) {
		return nil
	}
	for _, a := range y.Args {
		if a.Op != ir.OpAxis || x.token[a.Axis] == nil {
			return nil
		}
		out = append(out, x.token[a.Axis].Ix())
	}
	return out
}

// position is where along an axis a point lies.
func (x *packedStage) position(a *ir.Axis) *ir.Scalar {
	for _, t := range x.tokensHere() {
		if over := x.token[t.Pos]; t.Batch == a || t.Pos == a {
			switch {
			case a == x.cross.Batch:
				return x.axes[a].Ix()
			case t.Batch == t.Pos:
				return x.seqOf(over.Ix()).Mul(ir.SymVal(x.Seq)).Add(x.posOf(over.Ix()))
			case t.Batch == a:
				return x.seqOf(over.Ix())
			}
			return x.posOf(over.Ix())
		}
	}
	if a == x.key.Pos {
		return ir.Guard(x.has, x.posOf(x.at()), ir.IntLit(0))
	}
	return x.axes[a].Ix()
}

// load is what stands for a load.
func (x *packedStage) load(y *ir.Scalar) *ir.Scalar {
	for i, a := range y.Args {
		x.lookedUp(a, y.Buf.Dims[i])
	}
	if at, ok := x.diagonalAt(y); ok {
		return x.apart(y, at)
	}
	slots := x.Slots(y.Buf.Dims)
	facts := x.facts.Rows(y.Buf)
	index := make([]*ir.Scalar, len(y.Args))
	pairs := 0 // tokens of those here that it is read at
	var apart *float64
	guarded := false
	for _, slot := range slots {
		t, ok := x.TokenOf(y, slot)
		row := ok && slices.Contains(x.tokensHere(), t)
		key := ok && t == x.key
		if row {
			pairs++
		}
		guarded = guarded || key && x.has != nil
		for _, f := range facts.Slots {
			if f.Slot != slot || !row && !key {
				continue
			}
			narrower := f.Masked.Lo > facts.Any.Lo || f.Masked.Hi < facts.Any.Hi || facts.Any.NaN && !f.Masked.NaN
			differs := x.in != nil && narrower && (key || len(x.rows) == 2 || x.cross.Pos != nil)
			if differs {
				apart = &f.Masked.Lo
			}
			if v, one := f.Valid.Value(); one && math.Abs(v) < 1<<53 && narrower {
				switch {
				case differs && y.DType == tensor.Bool && v == 1 && f.Masked.Lo == 0:
					return x.in
				case differs:
					return ir.Select(x.in, literal(y.DType, v), literal(y.DType, f.Masked.Lo))
				}
				return literal(y.DType, v)
			}
		}
		if !x.packed(y.Buf) {
			if row && !slot.Flat() { // of the token that is read, which may be of another sequence than the row
				token := x.token[t.Pos].Ix()
				index[slot.Pos] = x.posOf(token)
				if index[slot.Batch] == nil {
					index[slot.Batch] = x.seqOf(token)
				}
			}
			continue
		}
		switch {
		case row:
			index[slot.Pos] = x.token[t.Pos].Ix()
		case key:
			index[slot.Pos] = x.at()
		default:
			end, batch := x.unpadding.endOf(y, slot)
			if end == noEnd {
				index[slot.Pos] = x.place(y, slot)
				break
			}
			x.ends[end] = true
			seq := x.position(batch)
			if index[slot.Pos] = x.startOf(seq); end == lastEnd {
				index[slot.Pos] = x.packing.endOf(seq).Sub(ir.IntLit(1))
			}
		}
	}
	var at []*ir.Scalar
	for i, a := range y.Args {
		switch {
		case index[i] != nil:
			at = append(at, index[i])
		case x.packed(y.Buf) && !x.crossed(y.Buf) && slices.ContainsFunc(slots, func(s analysis.Slot) bool { return s.Batch == i }):
		default:
			at = append(at, x.of(a))
		}
	}
	n := ir.Load(x.buffer(y.Buf), at...)
	switch {
	case guarded:
		return ir.Guard(x.has, n, ir.Lit(y.DType, 0))
	case apart != nil && !(x.packed(y.Buf) && pairs == 2) && !x.crossed(y.Buf):
		return ir.Select(x.in, n, literal(y.DType, *apart))
	}
	return n
}

// lookedUp notes an index that reads what comes in.
func (x *packedStage) lookedUp(index *ir.Scalar, dim sym.Expr) {
	l := lookup{index: []*ir.Scalar{index}, dims: []sym.Expr{dim}, values: map[*ir.Buffer]*ir.Value{}}
	known, moves := true, false
	index.Walk(func(y *ir.Scalar) bool {
		moves = moves || y.Op == ir.OpAxis
		if y.Op == ir.OpLoad {
			i := slices.Index(x.Params, y.Buf)
			if known = known && i >= 0 && x.ragged.args[i].Def == nil; known {
				l.values[y.Buf] = x.ragged.args[i]
			}
		}
		known = known && (y.Op != ir.OpAxis || slices.ContainsFunc(x.rows, func(t analysis.Token) bool { return t.Batch == y.Axis || t.Pos == y.Axis }))
		return known
	})
	if known && moves && len(l.values) > 0 && !slices.ContainsFunc(x.lookups, func(m lookup) bool { return m.index[0] == index }) {
		x.lookups = append(x.lookups, l)
	}
}

// literal is a number that is known to be one of the type.
func literal(d tensor.DType, v float64) *ir.Scalar {
	if d.IsInt() {
		x := ir.Lit(d, 0)
		x.Lit.SetInt(0, int64(v))
		return x
	}
	return ir.Lit(d, v)
}
