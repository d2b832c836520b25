package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Dense experts may also be one product over all of them, whose weights are one tensor, and
// what comes of it a sum over the experts, and over the slots that each has for rows:
//
//	y[t, d] = sum(e, c) w[t, e, c] * expert_e(x)[e, c, d]
//
// Where w is mostly zero, only rows (e, c) are computed that some token asks for, with the same
// care for what is left out. What they are multiplied by is gathered with them, and where
// a row is one of a token, as in y[t, d] = sum(e) w[t, e] * expert_e(x)[e, t, d], it is added there.

// batched makes one of such experts, of which s is the sum; nil where it is none.
func (x *expertMerger) batched(b *ir.Builder, s *ir.Stmt) *ir.Value {
	if len(s.Results) != 1 || s.Results[0] == nil || s.Kind != ir.OpStmt {
		return nil
	}
	v := s.Results[0]
	t, ok := v.Tensor()
	if !ok || t.Unranked || len(t.Dims) != 2 || !t.DType.IsFloat() || t.Dims[1].IsInt(1) {
		return nil
	}
	p := x.batchOf(b, v)
	if p == nil {
		return nil
	}
	root := p.rows(p.experts.v, p.experts.at)
	if root == nil || p.expert < 0 {
		return nil
	}
	finite := func(r analysis.Range) bool { return r.Finite() }
	bound := x.boundOf(p.experts.v, p.cuts(), map[*ir.Value]analysis.Range{}, finite)
	if bound == 0 {
		return nil
	}
	return p.build(root, t, bound)
}

// batch is a weighted sum of what experts make of rows. Positions are symbols: of tokens, of
// features, of experts and their slots.
type batch struct {
	*expertMerger
	b             *ir.Builder
	gate, experts read
	token         sym.Expr
	order         []sym.Expr // positions of rows: experts, slots, and tokens if each has a row of its own
	cone          []*ir.Stmt // that compute what the experts make
	nodes         []*batchNode
	expert        int // of order; -1: it is not known yet

	at   *ir.Value   // which rows there are: [order, rows]
	list []*ir.Value // rows of that
}

// read is an element of a value, by positions.
type read struct {
	v  *ir.Value
	at []sym.Expr
}

// batchNode is how rows of a value are computed.
type batchNode struct {
	read
	kind    batchKind
	op      *ir.Stmt
	args    []*batchNode
	weights *ir.Value // of a product
	turned  int64     // 1: weights have inputs last
	cut     bool      // it is what experts are given, and not made of constants
}

type batchKind uint8

const (
	taken      batchKind = iota // rows of a value that is there
	moved                       // those of its operand
	pointwise                   // by the operator, from rows of its operands
	multiplied                  // by the weights of the expert
)

var featureAt, resultAt = sym.Var("position of a feature"), sym.Var("position of a result") // no symbols of a module

// batchOf reads a value as a sum of products of a weight and what experts make; nil where it is none.
func (x *expertMerger) batchOf(b *ir.Builder, v *ir.Value) *batch {
	e := x.elements()
	r := e.lastStage(v)
	if r == nil || len(r.p.Stages) != 1 || r.s.Kind != ir.ReduceStage || r.s.Monoid != ir.Sum {
		return nil
	}
	at := []sym.Expr{positionOf(0), featureAt}
	for i := range r.s.Red {
		at = append(at, positionOf(i+1))
	}
	term, inner := r.s.Exprs[0], at
	if term.Op == ir.OpLoad { // what was multiplied before
		of, where := r.load(term, at)
		if of == nil || x.uses[of] != 1 {
			return nil
		}
		if r = e.stageOf(of); r == nil || len(r.p.Stages) != 1 {
			return nil
		}
		term, inner = r.s.Exprs[0], where
	}
	if term.Op != ir.OpMul || term.Args[0].Op != ir.OpLoad || term.Args[1].Op != ir.OpLoad {
		return nil
	}
	var factors [2]read
	for i, a := range term.Args {
		factors[i].v, factors[i].at = r.load(a, inner)
		if factors[i].v == nil {
			return nil
		}
	}
	for i, g := range factors {
		y := factors[1-i]
		for g.v != nil && !positions(g.at) { // dims of one position are behind what put them there
			g.v, g.at = e.source(g.v, g.at)
		}
		last := len(y.at) - 1
		if g.v == nil || g.v.Const != nil || y.v.Def == nil || last < 1 || !y.at[last].Equal(featureAt) || !positions(y.at[:last]) || !positions(g.at) || len(g.at) != len(at)-1 {
			continue
		}
		order := slices.Clone(at[2:])
		if slices.ContainsFunc(y.at, at[0].Equal) {
			order = append(order, at[0])
		}
		if len(order) != last || !slices.ContainsFunc(g.at, at[0].Equal) || !x.vanishes(g.v, 0) {
			continue
		}
		return &batch{expertMerger: x, b: b, gate: g, experts: y, token: at[0], order: order, cone: x.coneOf(y.v, nil), expert: -1}
	}
	return nil
}

// positions says whether all are different positions, none of them a feature's.
func positions(at []sym.Expr) bool {
	for i, p := range at {
		if _, bare := p.Symbol(); !bare || p.Equal(featureAt) || p.Equal(resultAt) || slices.ContainsFunc(at[:i], p.Equal) {
			return false
		}
	}
	return true
}

func (x *expertMerger) elements() elements { return elements{x.Deducer} }

// rows says how the rows of a value at positions are computed; the last one is a feature's.
func (p *batch) rows(v *ir.Value, at []sym.Expr) *batchNode {
	if i := slices.IndexFunc(p.nodes, func(n *batchNode) bool { return n.v == v && slices.EqualFunc(n.at, at, sym.Expr.Equal) }); i >= 0 {
		return p.nodes[i]
	}
	n := p.node(v, at)
	if n != nil {
		n.read = read{v, at}
		p.nodes = append(p.nodes, n)
	}
	return n
}

func (p *batch) node(v *ir.Value, at []sym.Expr) *batchNode {
	fixed := func(e sym.Expr) bool { return e.IsInt(0) || e.Equal(featureAt) }
	if !slices.ContainsFunc(at, func(e sym.Expr) bool { return !fixed(e) }) { // all rows have the same
		return &batchNode{}
	}
	if v.Const == nil && v.Def != nil && slices.Contains(p.cone, v.Def) {
		if n := p.computed(v, at); n != nil {
			return n
		}
	}
	if last := len(at) - 1; !fixed(at[last]) || !positions(slices.DeleteFunc(slices.Clone(at[:last]), fixed)) {
		return nil
	}
	return &batchNode{cut: !p.rangeOf(v, map[*ir.Value]analysis.Range{}).Finite()}
}

// computed says how rows of what an operator gives are computed from those of its operands.
func (p *batch) computed(v *ir.Value, at []sym.Expr) *batchNode {
	r := p.elements().lastStage(v)
	if r == nil || len(r.p.Stages) != 1 {
		return nil
	}
	e := r.s.Exprs[0]
	switch {
	case r.s.Kind == ir.MapStage && e.Op == ir.OpLoad:
		of, where := r.load(e, at)
		if of == nil || !where[len(where)-1].Equal(featureAt) {
			return nil
		}
		if n := p.rows(of, where); n != nil {
			return &batchNode{kind: moved, args: []*batchNode{n}}
		}
	case r.s.Kind == ir.MapStage && p.points.of(v.Def).expr != nil:
		n := &batchNode{kind: pointwise, op: v.Def}
		for i, a := range v.Def.Args {
			j := slices.Index(r.args, i)
			if a == nil || j < 0 {
				return nil
			}
			of, where := r.only(r.p.Params[j], at)
			if of == nil {
				return nil
			}
			arg := p.rows(of, where)
			if arg == nil {
				return nil
			}
			n.args = append(n.args, arg)
		}
		return n
	case r.s.Kind == ir.ReduceStage && r.s.Monoid == ir.Sum && len(r.s.Red) == 1 && e.Op == ir.OpMul && e.Args[0].Op == ir.OpLoad && e.Args[1].Op == ir.OpLoad:
		last := len(at) - 1
		inner := append(append(slices.Clone(at[:last]), resultAt), featureAt)
		for i := range e.Args {
			in, where := r.load(e.Args[i], inner)
			w, by := r.load(e.Args[1-i], inner)
			if in == nil || w == nil || !where[len(where)-1].Equal(featureAt) || slices.ContainsFunc(where, resultAt.Equal) {
				continue
			}
			if n := p.product(v.Def, w, by); n != nil {
				if arg := p.rows(in, where); arg != nil {
					n.args = []*batchNode{arg}
					return n
				}
			}
		}
	}
	return nil
}

// product says by which weights rows are multiplied: those of their expert, or of all.
func (p *batch) product(s *ir.Stmt, w *ir.Value, at []sym.Expr) *batchNode {
	if !p.rangeOf(w, map[*ir.Value]analysis.Range{}).Finite() {
		return nil
	}
	n := &batchNode{kind: multiplied, op: s, weights: w}
	switch last := len(at) - 1; {
	case last < 1:
		return nil
	case at[last].Equal(featureAt) && at[last-1].Equal(resultAt):
		n.turned = 1
	case !at[last].Equal(resultAt) || !at[last-1].Equal(featureAt):
		return nil
	}
	if len(at) != 3 {
		return nil
	}
	e := slices.IndexFunc(p.order, at[0].Equal)
	if e < 0 || at[0].Equal(p.token) || p.expert >= 0 && p.expert != e {
		return nil
	}
	p.expert = e
	return n
}

// cuts are the values that rows are taken from.
func (p *batch) cuts() (out []*ir.Value) {
	for _, n := range p.nodes {
		if n.cut && !slices.Contains(out, n.v) {
			out = append(out, n.v)
		}
	}
	return out
}

// build adds what takes the place of the sum.
func (p *batch) build(root *batchNode, t ir.TensorType, bound float64) *ir.Value {
	b := p.b
	own := slices.ContainsFunc(p.order, p.token.Equal) // each token has rows of its own
	all := p.order
	if !own {
		all = append(slices.Clone(all), p.token)
	}
	gate := p.inOrder(p.gate, all)
	chosen := b.Op("onnx.Cast", []*ir.Value{gate}, "to", tensor.Bool)
	if !own {
		some := b.Op("onnx.ReduceMax", []*ir.Value{b.Op("onnx.Cast", []*ir.Value{chosen}, "to", tensor.I32), b.Ints(-1)}, "keepdims", int64(0))
		chosen = b.Op("onnx.Cast", []*ir.Value{some}, "to", tensor.Bool)
	}
	for _, n := range p.nodes {
		if !n.cut {
			continue
		}
		u, _ := n.v.Tensor()
		if !u.DType.IsFloat() {
			return nil
		}
		k := tensor.New(u.DType)
		k.SetFloat(0, bound)
		largest := b.Op("onnx.ReduceMax", []*ir.Value{b.Op("onnx.Abs", []*ir.Value{n.v}), b.Ints(-1)}, "keepdims", int64(0))
		within := b.Op("onnx.LessOrEqual", []*ir.Value{largest, b.Const(k)})
		chosen = b.Op("onnx.Or", []*ir.Value{chosen, b.Op("onnx.Not", []*ir.Value{p.inOrder(read{within, n.at[:len(n.at)-1]}, p.order)})})
	}
	p.at = b.Op("onnx.NonZero", []*ir.Value{chosen})
	to, ok := p.at.Tensor()
	if !ok || to.Unranked {
		return nil
	}
	for i := range p.order {
		p.list = append(p.list, b.Op("onnx.Gather", []*ir.Value{p.at, b.Const(tensor.Scalar(int64(i)))}))
	}
	y := p.emit(root, map[*batchNode]*ir.Value{})
	if y == nil {
		return nil
	}
	share := b.Op("onnx.GatherND", []*ir.Value{gate, b.Op("onnx.Transpose", []*ir.Value{p.at}, "perm", []int64{1, 0})})
	if !own {
		return b.Op("onnx.MatMul", []*ir.Value{b.Op("onnx.Transpose", []*ir.Value{share}, "perm", []int64{1, 0}), y})
	}
	y = b.Op("onnx.Mul", []*ir.Value{y, b.Op("onnx.Unsqueeze", []*ir.Value{share, b.Ints(1)})})
	zeros := b.Op("onnx.Expand", []*ir.Value{b.Const(tensor.New(t.DType)), b.Dims(t.Dims...)})
	tokens := p.list[len(p.list)-1]
	return b.Op("onnx.ScatterND", []*ir.Value{zeros, b.Op("onnx.Unsqueeze", []*ir.Value{tokens, b.Ints(1)}), y}, "reduction", "add")
}

// inOrder gives what is read of a value dims along positions, of which those it has not are 1.
func (p *batch) inOrder(r read, order []sym.Expr) *ir.Value {
	var perm, missing, ones []int64
	for i, e := range order {
		if j := slices.IndexFunc(r.at, e.Equal); j >= 0 {
			perm = append(perm, int64(j))
		} else {
			missing = append(missing, int64(i))
		}
	}
	for j, e := range r.at { // dims of one position
		if e.IsInt(0) {
			ones = append(ones, int64(len(perm)))
			perm = append(perm, int64(j))
		}
	}
	v := r.v
	if !slices.IsSorted(perm) {
		v = p.b.Op("onnx.Transpose", []*ir.Value{v}, "perm", perm)
	}
	if len(ones) > 0 {
		v = p.b.Op("onnx.Squeeze", []*ir.Value{v, p.b.Ints(ones...)})
	}
	if len(missing) > 0 {
		v = p.b.Op("onnx.Unsqueeze", []*ir.Value{v, p.b.Ints(missing...)})
	}
	return v
}

// emit adds what computes the rows of a node, as a matrix or a row that stands for all.
func (p *batch) emit(n *batchNode, made map[*batchNode]*ir.Value) *ir.Value {
	if made[n] == nil {
		made[n] = p.emitted(n, made)
	}
	return made[n]
}

func (p *batch) emitted(n *batchNode, made map[*batchNode]*ir.Value) *ir.Value {
	args := make([]*ir.Value, len(n.args))
	for i, a := range n.args {
		if args[i] = p.emit(a, made); args[i] == nil {
			return nil
		}
	}
	switch n.kind {
	case taken:
		return p.take(n)
	case moved:
		return args[0]
	case multiplied:
		p.b.Node(n.op.Node)
		return p.b.Op("pit.GroupedMatMul", []*ir.Value{args[0], n.weights, p.list[p.expert]}, "transB", n.turned)
	}
	p.b.Node(n.op.Node)
	return p.b.OpN(1, n.op.Op.Name, args, n.op.Attrs)[0]
}

// take gives rows of a value that is there.
func (p *batch) take(n *batchNode) *ir.Value {
	b := p.b
	t, _ := n.v.Tensor()
	var dims []sym.Expr // but those of one position
	var lists []*ir.Value
	for i, e := range n.at[:max(len(n.at)-1, 0)] {
		if j := slices.IndexFunc(p.order, e.Equal); j >= 0 {
			dims, lists = append(dims, t.Dims[i]), append(lists, p.list[j])
		}
	}
	if len(t.Dims) > 0 {
		dims = append(dims, t.Dims[len(t.Dims)-1])
	}
	v := n.v
	if len(dims) != len(t.Dims) {
		v = b.Op("onnx.Reshape", []*ir.Value{v, b.Dims(dims...)}, "allowzero", int64(1))
	}
	switch len(lists) {
	case 0:
		return v
	case 1:
		return b.Op("onnx.Gather", []*ir.Value{v, lists[0]})
	}
	for i, l := range lists {
		lists[i] = b.Op("onnx.Unsqueeze", []*ir.Value{l, b.Ints(1)})
	}
	return b.Op("onnx.GatherND", []*ir.Value{v, b.Op("onnx.Concat", lists, "axis", 1)})
}
