package builtin

import (
	"fmt"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/target"
)

// RemovePadding computes the tokens of a batch that its mask has, and no others.
var RemovePadding = &pass.Pass{
	Name:   "remove-padding",
	Lowers: true,
	Doc: `Computes the tokens of a padded batch that its mask has, and no others.

    %h: [batch, seq, 8] f32 = call @dense(%x)      %p: [2, n] i64 = onnx.NonZero(%mask)
    %m: [batch, seq, 8] f32 = call @mul(%h, %mask) %h: [n, 8] f32 = call @dense_packed(%x, %p)
    %y: [batch, 8] f32 = call @sum(%m)          => %y: [batch, 8] f32 = call @sum_packed(%h, %p)

What is computed of each token by itself is computed of the tokens that the mask has, one behind
the other, from where they are first read to where they are last. What goes over the tokens of a
sequence, as attention and pooling do, goes over those alone: it is proved that the others add
nothing. Attention is so where the target computes its stages together: one by one they would
have a score of each token with those of all sequences. Where a result has padded rows, or
something that they become part of, all stays as it is. With [inputs] the user says of a mask
that padded rows do not matter: then those of results are zero.

What the proof cannot know is looked at in each run: the mask holds 0 and 1, each sequence has a
token, a first token that is read, or that a row of a causal mask may see alone, is one of the
mask's, and so is one that is looked up, as the last one is, where how far two tokens lie apart
counts, as for a relative position bias, those of a sequence lie one behind the other, floats
that come in are not huge, and there is some padding; the first run with some also looks whether
large constants are what a sample of them says, and, where a number such as -10000 masks scores,
whether by the norms of its weights no query and key have a product that the number does not
hide, and of f16 whether nothing is too large for it. Otherwise the model runs as it stands. So
it is in the module twice, in the branches of an If; constants are there once.

It stands after legalize, whose programs say what is computed of each token, after state, which
looks for appends where they were, and before fuse, which joins programs.`,
	After: []pass.Order{pass.Because("legalize", "programs say what is computed of each token"),
		pass.Because("state", "a state is appended to whichever way a run takes")},
	Before: []pass.Order{pass.Because("fuse", "what is computed of tokens is fused afterwards")},
	Options: []pass.Option{{Name: "masks", Kind: pass.Strings, Default: []string(nil),
		Doc: "inputs that are masks, of which padded rows do not matter: those that [inputs] has"}},
	Run: func(c *pass.Context, m *ir.Module) error {
		declared := pass.Get[[]string](c, "masks")
		removeDead(m) // it would be packed as it stands
		for _, v := range m.Main().Params {
			if mayMask(v) && removePadding(c.Target, m, v, slices.Contains(declared, v.Name)) {
				removeDead(m)
			}
		}
		return nil
	},
}

// mayMask says whether a parameter has an element for each position of each sequence.
func mayMask(v *ir.Value) bool {
	t, ok := v.Tensor()
	if !ok || t.Unranked || len(t.Dims) != 2 || t.DType.IsComplex() || t.DType.Bits() < 8 || t.DType.IsFloat() && t.DType.Bits() < 32 {
		return false
	}
	batch, ok := t.Dims[0].Symbol()
	seq, ok2 := t.Dims[1].Symbol()
	return ok && ok2 && batch != seq
}

// demand says which rows of a tensor somebody reads.
type demand uint8

const (
	unread     demand = iota
	validRows         // those that the mask has
	everything        // others, too
)

// unpadding is what is found out about a function for a mask.
type unpadding struct {
	*analysis.Ragged
	target   *target.Target
	m        *ir.Module
	f        *ir.Func
	mask     *ir.Value
	declared bool

	calls  map[*ir.Stmt]*ragged
	wanted map[*ir.Value]demand
	why    map[*ir.Value]string // who reads other rows than those of the mask
	packed map[*ir.Value]bool   // values of which there is a packed form
	stmts  map[*ir.Stmt]bool    // that go over packed values
	share  sharing
	ranges map[joining][]ir.Range

	looks   bool // rows are looked up
	lookups []lookup
	beside  bool // tokens of a sequence are taken to lie one behind the other, so that places tell how far they are apart
}

// joining is what decides which stages of a call's program are computed together.
type joining struct {
	p    *ir.Program
	bind string
	text string // of the stages, where they compute what the program reads
}

// ragged is a call of a program, which has the function's symbols.
type ragged struct {
	*ir.Program
	args   []*ir.Value // of its parameters
	facts  *analysis.RaggedProgram
	packed map[*ir.Buffer]bool
	joined map[*ir.Stage]bool // that the target computes together with others

	refused map[*ir.Stage]bool // that it would not once they are packed
}

// PaddingNode and the name of the mask are the node of what chooses whether a run leaves padding out.
const PaddingNode = "padding of "

// removePadding rewrites main for a mask, where that is sound and saves something.
func removePadding(t *target.Target, m *ir.Module, mask *ir.Value, declared bool) bool {
	u := newUnpadding(t, m, mask, declared)
	return u != nil && u.pays() && u.rewrite()
}

// newUnpadding finds out what a mask saves; it is nil where there is nothing to save.
func newUnpadding(t *target.Target, m *ir.Module, mask *ir.Value, declared bool) *unpadding {
	u := &unpadding{Ragged: analysis.NewRagged(m.Syms, mask), target: t, m: m, f: m.Main(), mask: mask, declared: declared,
		calls: map[*ir.Stmt]*ragged{}, wanted: map[*ir.Value]demand{}, why: map[*ir.Value]string{}, packed: map[*ir.Value]bool{}, stmts: map[*ir.Stmt]bool{}, ranges: map[joining][]ir.Range{}}
	if !u.mayPay() || !declared && u.onlyIndex(mask) {
		return nil
	}
	u.follow()
	if !declared && !u.hides() {
		return nil
	}
	for u.demands(); u.stays(); u.demands() {
	}
	return u
}

// mayPay says whether there is a product of something with rows of tokens at all.
func (u *unpadding) mayPay() bool {
	for _, s := range u.f.Stmts {
		p, ok := s.Callee.(*ir.Program)
		if ok && analysis.ProgramKind(p) == analysis.Contraction && slices.ContainsFunc(s.Results, u.hasRows) {
			return true
		}
	}
	return false
}

// onlyIndex says whether a value is read as an index of others and not else, as ids of tokens are: then nothing that
// is followed depends on what it holds.
func (u *unpadding) onlyIndex(v *ir.Value) bool {
	if slices.Contains(u.f.Results, v) {
		return false
	}
	read := false
	for _, s := range u.f.Stmts {
		used := false
		s.EachUse(func(a *ir.Value) { used = used || a == v })
		if !used {
			continue
		}
		read = true
		p, ok := s.Callee.(*ir.Program)
		switch {
		case s.Kind == ir.OpStmt && s.Op.IsView() && u.onlyIndex(s.Results[0]):
			continue
		case !ok || s.Kind != ir.CallStmt:
			return false
		}
		for i, b := range p.Params {
			if s.Args[i] == v && readsAsNumber(p, b) {
				return false
			}
		}
	}
	return read
}

// readsAsNumber says whether a program reads a buffer elsewhere than in an index.
func readsAsNumber(p *ir.Program, b *ir.Buffer) bool {
	found := slices.Contains(p.Results, b)
	for _, s := range p.Stages {
		found = found || s.Base == b
		for _, x := range slices.Concat(s.Exprs, s.Index) {
			x.Walk(func(y *ir.Scalar) bool {
				found = found || y.Op == ir.OpLoad && y.Buf == b
				return y.Op != ir.OpLoad
			})
		}
	}
	return found
}

func (u *unpadding) hasRows(v *ir.Value) bool {
	if v == nil {
		return false
	}
	t, ok := v.Tensor()
	return ok && !t.Unranked && len(u.Slots(t.Dims)) > 0
}

// follow finds out what is known of all values.
func (u *unpadding) follow() {
	for _, v := range u.f.Params {
		t, ok := v.Tensor()
		if ok && t.DType.IsFloat() && v != u.mask {
			u.Set(v, &analysis.Rows{Any: analysis.Interval{Lo: -analysis.MaxInput, Hi: analysis.MaxInput}})
		}
	}
	for _, s := range u.f.Stmts {
		p, ok := s.Callee.(*ir.Program)
		if !ok || s.Kind != ir.CallStmt {
			u.Stmt(s)
			continue
		}
		call := &ragged{Program: analysis.Instance(s, p), packed: map[*ir.Buffer]bool{}}
		call.args = u.withPairs(call.Program, s.Args)
		call.joined = u.joined(s, call)
		call.facts = u.Call(s, call.args, call.Program)
		u.calls[s] = call
	}
}

// hides says whether anything that goes over the positions of a sequence leaves out those where the mask is 0, or whether nobody
// reads it, as where padding is left to others.
func (u *unpadding) hides() bool {
	read := slices.Contains(u.f.Results, u.mask)
	for _, s := range u.f.Stmts {
		s.EachUse(func(v *ir.Value) { read = read || v == u.mask })
	}
	if !read {
		return true
	}
	for _, c := range u.calls {
		for _, s := range c.Stages {
			key, ok := c.facts.Key(s)
			if !ok {
				continue
			}
			var rows []analysis.Token
			for _, slot := range u.Slots(s.Out().Dims) {
				rows = append(rows, analysis.TokenAt(s, slot))
			}
			if c.facts.Neutral(s, key, rows...) {
				return true
			}
		}
	}
	return false
}

// want notes that somebody reads rows of a value, and of others than those of the mask, who.
func (u *unpadding) want(v *ir.Value, d demand, who string) {
	if v == nil {
		return
	}
	if d == everything && u.wanted[v] != everything {
		u.why[v] = who
	}
	u.wanted[v] = max(u.wanted[v], d)
}

// demands finds out from the results on which rows of each value are read.
func (u *unpadding) demands() {
	clear(u.wanted)
	clear(u.why)
	clear(u.packed)
	u.looks = false
	for i, v := range u.f.Results {
		d := everything
		if t, ok := v.Tensor(); u.declared && ok && !t.Unranked && len(u.Slots(t.Dims)) == 1 {
			d = validRows
		}
		u.want(v, d, fmt.Sprintf("the output %q has them", u.f.ResultName(i)))
	}
	for _, s := range slices.Backward(u.f.Stmts) {
		all, who := unread, ""
		for _, v := range s.Results {
			if all = max(all, u.wanted[v]); u.wanted[v] == everything {
				who = u.why[v]
			}
		}
		own := who == ""
		if own {
			who = fmt.Sprintf("%s (%s) reads them", s.Place(), s.OpName())
		}
		switch {
		case s.Effect() != ir.Pure || len(s.Regions) > 0:
			s.EachUse(func(v *ir.Value) { u.want(v, everything, who) })
		case all == unread:
		case u.calls[s] != nil:
			u.throughCall(s, u.calls[s], who, own)
		case s.Kind == ir.OpStmt && s.Op.IsView() && all == validRows && u.viewed(s):
			u.want(s.Args[0], validRows, "")
			u.packed[s.Results[0]] = true
		default:
			s.EachUse(func(v *ir.Value) { u.want(v, everything, who) })
		}
	}
	// What is a view of what is not packed is not packed.
	for _, s := range u.f.Stmts {
		if s.Kind == ir.OpStmt && s.Op.IsView() && !u.packed[s.Args[0]] {
			delete(u.packed, s.Results[0])
		}
		args := s.Args
		if c := u.calls[s]; c != nil {
			args = c.args
		}
		reads := slices.ContainsFunc(args, func(v *ir.Value) bool { return u.packed[v] })
		writes := slices.ContainsFunc(s.Results, func(v *ir.Value) bool { return u.packed[v] })
		u.stmts[s] = reads || writes
	}
}

// viewed says whether a view has the tokens of what it is a view of, each slot one.
func (u *unpadding) viewed(s *ir.Stmt) bool {
	a, ok := s.Args[0].Tensor()
	b, ok2 := s.Results[0].Tensor()
	if !ok || !ok2 || a.Unranked || b.Unranked {
		return false
	}
	from, to := u.Slots(a.Dims), u.Slots(b.Dims)
	if len(from) != 1 || len(to) != 1 {
		return false
	}
	_, ok = u.Viewed(s.Args[0], s.Results[0], from[0])
	return ok
}

// throughCall finds out which rows of its operands a call reads; who reads those of padding, which may be the call itself.
func (u *unpadding) throughCall(s *ir.Stmt, c *ragged, who string, own bool) {
	need := map[*ir.Buffer]demand{}
	for i, v := range s.Results {
		if v != nil {
			need[c.Results[i]] = u.wanted[v]
		}
	}
	for _, st := range slices.Backward(c.Stages) {
		d := validRows // at least: what nobody reads is computed, too
		for _, b := range st.Outs {
			d = max(d, need[b])
		}
		c.packed[st.Out()] = d == validRows && u.packable(c, st)
		st.Walk(func(x *ir.Scalar) bool {
			if x.Op == ir.OpLoad {
				need[x.Buf] = max(need[x.Buf], u.through(c, st, x))
			}
			return true
		})
		if st.Base != nil {
			need[st.Base] = everything
		}
		if st.Wanted != nil {
			st.Wanted.Walk(func(x *ir.Scalar) bool {
				if x.Op == ir.OpLoad {
					need[x.Buf] = everything
				}
				return true
			})
		}
	}
	for i, v := range s.Results {
		u.packed[v] = v != nil && c.packed[c.Results[i]]
	}
	if own && slices.ContainsFunc(c.Stages, c.facts.Shows) {
		who += ", as it is not proved that the mask hides them there"
	}
	for i, b := range c.Params {
		u.want(c.args[i], need[b], who)
	}
}

// joined gives the stages of a call's program that a kernel of the target computes together with others.
func (u *unpadding) joined(s *ir.Stmt, c *ragged) map[*ir.Stage]bool {
	p := c.Program
	of := joining{p: s.Callee.(*ir.Program), bind: fmt.Sprint(s.Bind)}
	if !slices.Equal(c.args, s.Args) {
		of.text = p.String()
	}
	return u.together(of, p)
}

func (u *unpadding) together(of joining, p *ir.Program) map[*ir.Stage]bool {
	ranges, ok := u.ranges[of]
	if !ok {
		for i := range u.target.Kernels {
			if u.target.Kernels[i].Together != nil {
				ranges = append(ranges, u.target.Kernels[i].Together(p)...)
			}
		}
		u.ranges[of] = ranges
	}
	out := map[*ir.Stage]bool{}
	for _, r := range ranges {
		for _, st := range p.Stages[r.First : r.Last+1] {
			out[st] = out[st] || r.Last > r.First
		}
	}
	return out
}

// stays finds calls whose stages over pairs of tokens, or over tokens of each sequence for rows that are none, the target would not
// compute together once they are packed, because of what they read, and says whether there are any: they stay as they are.
func (u *unpadding) stays() (found bool) {
	t := u.sketch()
	for _, s := range u.f.Stmts {
		c := u.calls[s]
		of := func(st *ir.Stage) bool {
			return c.joined[st] && (c.packed[st.Out()] && u.pairs(c, st) || u.crosses(c, st))
		}
		if c == nil || !slices.ContainsFunc(c.Stages, of) {
			continue
		}
		lookups, beside := u.lookups, u.beside
		p, _ := u.pack(s, t, new([lastEnd + 1]bool), func(v *ir.Value) *ir.Value { return v })
		u.lookups = lookups
		joined := u.together(joining{text: p.String()}, p)
		for i, st := range c.Stages {
			if of(st) && !joined[p.Stages[i]] {
				c.joined, c.refused, found, u.beside = nil, c.joined, true, beside
				break
			}
		}
	}
	return found
}

// crosses says whether a stage is one of an attention whose keys are tokens, and whose rows are not, as a decoder's are to what
// was encoded. Each row then goes over the tokens of its sequence among all.
func (u *unpadding) crosses(c *ragged, s *ir.Stage) bool {
	if !c.joined[s] {
		return false
	}
	keyed := false
	for _, o := range c.Stages {
		if !c.joined[o] {
			continue
		}
		slots := u.Slots(o.Out().Dims)
		if u.pairs(c, o) || len(slots) > 0 && (slots[0].Flat() || !c.packed[o.Out()]) {
			return false
		}
		if key, ok := c.facts.Key(o); ok && len(slots) == 0 {
			if !c.facts.Neutral(o, key) {
				return false
			}
			keyed = true
		}
	}
	_, ok := c.facts.Key(s)
	return keyed && (ok || len(u.Slots(s.Out().Dims)) == 1)
}

// pairs says whether a stage goes over pairs of tokens.
func (u *unpadding) pairs(c *ragged, s *ir.Stage) bool {
	n := len(u.Slots(s.Out().Dims))
	if _, ok := c.facts.Key(s); ok {
		n++
	}
	return n > 1
}

// packable says whether a stage can go over the tokens alone. One that goes over pairs of them would go over those of
// different sequences, too, and there are many more of these: it can where the target computes it together with others,
// as those of an attention, whose keys it finds by where a sequence begins and ends.
func (u *unpadding) packable(c *ragged, s *ir.Stage) bool {
	if len(s.Outs) != 1 || s.Kind != ir.MapStage && s.Kind != ir.ReduceStage || len(s.Sparse) > 0 || s.Wanted != nil || c.refused[s] {
		return false
	}
	var tokens []analysis.Token
	for _, slot := range u.Slots(s.Out().Dims) {
		tokens = append(tokens, analysis.TokenAt(s, slot))
	}
	rows := len(tokens)
	if key, ok := c.facts.Key(s); ok {
		tokens = append(tokens, key)
	}
	return rows > 0 && (len(tokens) == 1 || len(tokens) == 2 && c.joined[s] && !u.mixes(s, tokens))
}

// through says which rows a load in a stage reads.
func (u *unpadding) through(c *ragged, s *ir.Stage, x *ir.Scalar) demand {
	rows := tokensOf(u, c, s)
	key, keyed := c.facts.Key(s)
	for _, slot := range u.Slots(x.Buf.Dims) {
		t, ok := u.TokenOf(x, slot)
		switch {
		case ok && slices.Contains(rows, t):
		case ok && keyed && t == key && c.facts.Neutral(s, key, rows...):
		default:
			if end, _ := u.endOf(x, slot); end == noEnd && !(len(rows) == 0 && !keyed && u.looksUp(c, x, slot)) {
				return everything
			}
		}
	}
	return validRows
}

// end is an end of a sequence.
type end uint8

const (
	noEnd end = iota
	firstEnd
	lastEnd
)

// endOf says at which end of each sequence a load reads, and the axis of sequences.
func (u *unpadding) endOf(x *ir.Scalar, slot analysis.Slot) (end, *ir.Axis) {
	batch, at, ok := u.PositionOf(x, slot)
	switch {
	case !ok:
	case at.IsInt(0):
		return firstEnd, batch
	case u.m.Syms.Equal(at.Add(sym.Const(1)), u.Seq) == sym.True:
		return lastEnd, batch
	}
	return noEnd, nil
}

// tokensOf are the tokens of what a stage defines, where that is packed.
func tokensOf(u *unpadding, c *ragged, s *ir.Stage) (out []analysis.Token) {
	if c.packed[s.Out()] {
		for _, slot := range u.Slots(s.Out().Dims) {
			out = append(out, analysis.TokenAt(s, slot))
		}
	}
	return out
}

// pays says whether most products of rows of tokens are of fewer of them. Where few are, as the values of a last
// attention whose result is read whole, what is left out costs less than to go over the others in parts.
func (u *unpadding) pays() bool {
	fewer, all := u.products()
	return fewer > 0 && 2*fewer >= all
}

// products counts the sums of products of rows of tokens: those that go over the mask's alone, and all.
func (u *unpadding) products() (fewer, all int) {
	for _, c := range u.calls {
		for _, s := range c.Stages {
			if analysis.StageKind(s) == analysis.Contraction && len(u.Slots(s.Out().Dims)) > 0 {
				all++
				if c.packed[s.Out()] {
					fewer++
				}
			}
		}
	}
	return fewer, all
}

// MaskUse says what remove-padding makes of an input that may be a mask.
type MaskUse struct {
	Mask            string
	Declared        bool     // in [inputs]
	Products, Total int      // sums of products of rows of tokens: those that go over the mask's alone, and all
	From, To        string   // the nodes of the first and the last statement that goes over the mask's alone
	Checked         []string // what is looked at in each run
	Why             string   // rows of padding are computed in the first product that does not
}

// MaskUses tells of the inputs of a module that is ready for remove-padding; masks are those that
// [inputs] has.
func MaskUses(t *target.Target, m *ir.Module, masks []string) (out []MaskUse) {
	for _, v := range m.Main().Params {
		declared := slices.Contains(masks, v.Name)
		is := MaskUse{Mask: v.Name, Declared: declared}
		if !mayMask(v) {
			if is.Why = "it is " + v.Type.String() + ", and a mask is [batch, seq], whose dims are symbols, of truth values, integers, or floats of 32 bits"; declared {
				out = append(out, is)
			}
			continue
		}
		u, asked := newUnpadding(t, m, v, declared), &unpadding{Ragged: analysis.NewRagged(m.Syms, v), m: m, f: m.Main()}
		switch x, _ := v.Tensor(); {
		case u != nil:
			out = append(out, u.use())
		case !asked.mayPay() && (declared || !x.DType.IsFloat() && !asked.onlyIndex(v)):
			is.Why = "no product has a row for each of its positions, as those of a cache have none: all rows that there are count"
			out = append(out, is)
		}
	}
	return out
}

func (u *unpadding) use() MaskUse {
	is := MaskUse{Mask: u.mask.Name, Declared: u.declared}
	is.Products, is.Total = u.products()
	for _, s := range u.f.Stmts {
		if c := u.calls[s]; c != nil {
			for _, st := range c.Stages {
				if analysis.StageKind(st) == analysis.Contraction && len(u.Slots(st.Out().Dims)) > 0 && !c.packed[st.Out()] && is.Why == "" {
					if is.Why = u.why[s.Results[0]]; is.Why == "" {
						is.Why = fmt.Sprintf("%s (%s) goes over pairs of tokens, which kernels do not compute together once they are packed", s.Place(), s.OpName())
					}
				}
			}
		}
	}
	if !u.pays() {
		is.Products = 0
	}
	if is.Products == 0 {
		return is
	}
	for _, s := range u.f.Stmts {
		if u.stmts[s] {
			if is.From == "" {
				is.From = s.Place()
			}
			is.To = s.Place()
		}
	}
	is.Checked = []string{"elements are 0 or 1", "each sequence has a token", fmt.Sprintf("one of %d positions is padding", leastPadding)}
	if u.First() {
		is.Checked = append(is.Checked, "each sequence begins with one")
	}
	if u.beside {
		is.Checked = append(is.Checked, "tokens of a sequence lie one behind the other")
	}
	if u.looks {
		is.Checked = append(is.Checked, "a row that is looked up is one of a token")
	}
	for _, v := range u.floats(u.f.Stmts) {
		is.Checked = append(is.Checked, fmt.Sprintf("%s is at most %d", v.Name, analysis.MaxInput))
	}
	scores, halves, least := 0, 0, math.Inf(1)
	for _, p := range u.Products() {
		if p.Half {
			halves++
		} else {
			scores, least = scores+1, min(least, p.Most)
		}
	}
	if scores > 0 {
		is.Checked = append(is.Checked, fmt.Sprintf("by the norms of weights no score is beyond what the mask hides (%d sums of products of at most %.0f, once)", scores, least))
	}
	if halves > 0 {
		is.Checked = append(is.Checked, fmt.Sprintf("by the norms of weights nothing that becomes f16 is too large (%d values, once)", halves))
	}
	if n := len(u.Bounded()); n > 0 {
		is.Checked = append(is.Checked, fmt.Sprintf("no weight is far larger than a sample says (%d tensors, once)", n))
	}
	return is
}
