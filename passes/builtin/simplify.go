package builtin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Simplify removes what does nothing and what is computed twice.
var Simplify = &pass.Pass{
	Name: "simplify",
	Doc: `Removes dead code, what changes nothing, what is computed twice, and shape arithmetic.

    %s: [3] i64 = onnx.Shape(%x)
    %b: [1] i64 = onnx.Slice(%s, @0, @1)          %t: [2] i64 = call @dims[batch, seq]()
    %t: [2] i64 = onnx.Concat(%b, %l)        =>   %y: [batch, 2*seq] f32 = onnx.Reshape(%x, %t)
    %y: ... = onnx.Reshape(%x, %t)

Integer tensors whose contents are known become constants, or are computed from symbols in
one step; that is read, too, in the place of what branches and loops give. Operators that give an operand back, casts to a type that is proved, and branches
that are never taken go away; transposes in a row become one. What every iteration of a loop
computes alike is computed once before it, where that is proved not to fail: the loop may have
no iteration. What tells a symbol that
somebody uses stays, and so does what draws random numbers: those that are drawn after it
would change.

It stands after deduce: what is known follows from types. The default pipeline has it once
more behind decompose, for what that writes out.`,
	After: []pass.Order{pass.Because("deduce", "what contents are known follows from types")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		x := &simplifier{seen: map[string][]computed{}}
		x.replace = x.stmt
		if err := x.module(m); err != nil {
			return err
		}
		removeDead(m)
		return nil
	},
}

type simplifier struct {
	rewriter
	seen map[string][]computed // statements by what they compute
}

// computed is a statement and the block that it stands in.
type computed struct {
	s  *ir.Stmt
	in *ir.Block
}

func (x *simplifier) stmt(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
	if i, ok := x.Taken(s); ok {
		return x.splice(s.Regions[i])[:len(s.Results)], true, nil
	}
	x.hoist(b, s)
	x.readKnown(b, s)
	if s.Effect() != ir.Pure || len(s.Regions) > 0 || s.Into != nil {
		return nil, false, nil
	}
	if s.Kind == ir.CastStmt && x.proved(s) {
		return s.Args, true, nil
	}
	if s.Kind == ir.OpStmt && len(s.Results) == 1 && s.Results[0] != nil {
		if results, ok := x.operator(b, s); ok {
			return results, true, nil
		}
	}
	if same := x.before(s); same != nil {
		return same.Results, true, nil
	}
	return nil, false, nil
}

// proved says whether a cast asserts what is known, once symbols that it defines stand
// for the dims that they have. Where something is known of such a symbol, the cast
// checks that.
func (x *simplifier) proved(s *ir.Stmt) bool {
	is, ok := s.Args[0].Tensor()
	says, ok2 := s.Results[0].Tensor()
	if !ok || !ok2 {
		return ir.SameType(s.Args[0].Type, s.Results[0].Type)
	}
	defined := map[string]sym.Expr{}
	for i, d := range says.Dims {
		name, bare := d.Symbol()
		if !bare || x.Bound(name) || is.Unranked || i >= len(is.Dims) || slices.Contains(x.M.Syms.Symbols(), name) {
			continue
		}
		if _, known := defined[name]; !known {
			defined[name] = is.Dims[i]
		}
	}
	return x.Proves(is, ir.MapDims(says, func(e sym.Expr) sym.Expr {
		return e.Subst(func(name string) (sym.Expr, bool) { d, ok := defined[name]; return d, ok })
	}))
}

// before gives an earlier statement that computes the same, and every result of it that
// is asked for; else it remembers this one. What a region computes is not seen outside.
func (x *simplifier) before(s *ir.Stmt) *ir.Stmt {
	if s.Kind == ir.OpStmt && s.Op.Name == ir.AllocName {
		return nil // each is a memory of its own
	}
	key := stmtKey(s)
	for _, c := range x.seen[key] {
		if slices.Contains(x.path, c.in) && covers(c.s, s) {
			return c.s
		}
	}
	x.seen[key] = append(x.seen[key], computed{s, x.path[len(x.path)-1]})
	return nil
}

// covers says whether a has every result that b is asked for.
func covers(a, b *ir.Stmt) bool {
	for i, v := range b.Results {
		if v != nil && (i >= len(a.Results) || a.Results[i] == nil) {
			return false
		}
	}
	return true
}

// operator simplifies an operator of one result.
func (x *simplifier) operator(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool) {
	r := s.Results[0]
	if t, _ := r.Tensor(); s.Op.View && !t.Unranked && s.Args[0] != nil && x.Proves(s.Args[0].Type, t) {
		return s.Args[:1], true
	}
	mergeTransposes(s)
	if cut, ok := noOp(b, s); ok {
		return []*ir.Value{cut}, true
	}
	// Contents that are known need no operators to compute them.
	b.Contents(s)
	v, ok := x.written(b, r)
	return []*ir.Value{v}, ok
}

// written is a constant, or a value that is computed from symbols, in the place of one whose
// contents are known.
func (x *simplifier) written(b *ir.Builder, v *ir.Value) (*ir.Value, bool) {
	known, ok := b.Known(v)
	t, _ := v.Tensor()
	shape, static := t.Static()
	switch {
	case !ok || !static || !visibleDims(b.Deducer, known...):
		return nil, false
	case allInts(known):
		return b.M.AddConst(v.Name, constOf(t.DType, shape, known), nil), true
	}
	return b.Holding(t, known)
}

// readKnown lets a statement read the contents of what branches and loops give where they
// are known, so that nothing has to give it.
func (x *simplifier) readKnown(b *ir.Builder, s *ir.Stmt) {
	for i, v := range s.Args {
		if v == nil || v.Def == nil || v.Def.Kind != ir.OpStmt || v.Def.Op.Control == ir.NoControl {
			continue
		}
		n, ok := x.written(b, v)
		if !ok {
			continue
		}
		if s.Args[i] = n; n.Def != nil {
			if same := x.before(n.Def); same != nil {
				s.Args[i] = same.Results[0]
			}
		}
	}
}

func constOf(d tensor.DType, shape []int64, list []sym.Expr) *tensor.Tensor {
	c := tensor.New(d, shape...)
	for i, e := range list {
		n, _ := e.Int()
		if d == tensor.Bool {
			c.SetBool(int64(i), n != 0)
		} else {
			c.SetInt(int64(i), n)
		}
	}
	return c
}

func allInts(list []sym.Expr) bool {
	for _, e := range list {
		if _, ok := e.Int(); !ok {
			return false
		}
	}
	return true
}

// noOp recognises operators that give an operand back: their program reads each point of
// an operand of the same shape at that point, once what is known of the others is written
// into it. No operator is named: the program says it.
func noOp(b *ir.Builder, s *ir.Stmt) (*ir.Value, bool) {
	if !slices.ContainsFunc(s.Args, func(v *ir.Value) bool { return mayBe(v, s.Results[0]) }) {
		return nil, false
	}
	c := b.Call(s)
	p, args, err := c.Program()
	if err != nil {
		return nil, false
	}
	args = b.InlineGrids(p, s, args)
	if len(p.Stages) != 1 || p.Stages[0].Kind != ir.MapStage {
		return nil, false
	}
	st := p.Stages[0]
	e := st.Exprs[0]
	if e.Op != ir.OpLoad || len(e.Args) != len(st.Axes) {
		return nil, false
	}
	for i, ix := range e.Args {
		if ix.Op != ir.OpAxis || ix.Axis != st.Axes[i] || b.M.Syms.Equal(e.Buf.Dims[i], st.Axes[i].Extent) != sym.True {
			return nil, false
		}
	}
	for i, param := range p.Params {
		if param == e.Buf {
			return s.Args[args[i]], true
		}
	}
	return nil, false
}

// mayBe says whether two values can be of one type, by what is plain to see.
func mayBe(v, r *ir.Value) bool {
	if v == nil || r == nil {
		return false
	}
	a, ok := v.Tensor()
	b, ok2 := r.Tensor()
	if !ok || !ok2 || a.Unranked || b.Unranked {
		return ok == ok2
	}
	if a.DType != b.DType || len(a.Dims) != len(b.Dims) {
		return false
	}
	for i, d := range a.Dims {
		x, known := d.Int()
		if y, ok := b.Dims[i].Int(); known && ok && x != y {
			return false
		}
	}
	return true
}

// stmtKey is equal for statements that compute the same.
func stmtKey(s *ir.Stmt) string {
	var k strings.Builder
	fmt.Fprintf(&k, "%d %s", s.Kind, s.OpName())
	for _, a := range s.Args {
		if a != nil && a.Const != nil && a.Const.Tensor.Len() <= ir.MaxKnown { // exporters write small ones many times
			fmt.Fprintf(&k, " %s%q%x", a.Type, a.Const.Tensor.Strings(), a.Const.Tensor.Bytes())
		} else {
			fmt.Fprintf(&k, " %p", a)
		}
	}
	for _, e := range s.Bind {
		fmt.Fprintf(&k, " [%s]", e.Key())
	}
	for _, a := range s.Attrs {
		switch v := a.Value.(type) {
		case *tensor.Tensor:
			fmt.Fprintf(&k, " %s=%p", a.Name, v)
		case ir.Type:
			fmt.Fprintf(&k, " %s=%s", a.Name, v)
		default:
			fmt.Fprintf(&k, " %s=%#v", a.Name, v)
		}
	}
	if s.Kind == ir.CastStmt {
		fmt.Fprintf(&k, " %s", s.Results[0].Type)
	}
	return k.String()
}

// mergeTransposes makes one transpose of two in a row.
func mergeTransposes(s *ir.Stmt) {
	perm, ok := transposition(s)
	if !ok || s.Args[0].Def == nil {
		return
	}
	first, ok := transposition(s.Args[0].Def)
	if !ok || len(first) != len(perm) {
		return
	}
	both := make([]int64, len(perm))
	for i, p := range perm {
		both[i] = first[p]
	}
	s.Attrs = s.Attrs.With("perm", both)
	s.Args = []*ir.Value{s.Args[0].Def.Args[0]}
}

// transposition gives the permutation of a transpose.
func transposition(s *ir.Stmt) ([]int64, bool) {
	if s.Kind != ir.OpStmt || s.Op.Name != "onnx.Transpose" {
		return nil, false
	}
	if perm, ok := s.Attrs.Get("perm").([]int64); ok {
		return perm, true
	}
	t, ok := s.Args[0].Tensor()
	if !ok || t.Unranked {
		return nil, false
	}
	perm := make([]int64, t.Rank())
	for i := range perm {
		perm[i] = int64(len(perm) - 1 - i)
	}
	return perm, true
}
