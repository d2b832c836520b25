package builtin

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Simplify removes what does nothing and what is computed twice.
//
//	%s: [2] i64 = onnx.Shape(%x)
//	%n: [] i64 = onnx.Gather(%s, @0)           =>   %y: [batch, seq, 64] f32 = onnx.Reshape(%x, %dims)
//	%d: [3] i64 = onnx.Concat(%n1, ...)             where %dims: [3] i64 = call @dims[batch, seq]()
//	%y: ... = onnx.Reshape(%x, %d)
var Simplify = &pass.Pass{
	Name: "simplify",
	Doc: "Removes dead code, operators that change nothing, branches that are never taken, and what is computed twice; integer tensors whose contents " +
		"are known become constants, or are computed from symbols in one step. It stands after deduce, which finds out " +
		"what is known.",
	After: []pass.Order{pass.Because("deduce", "what contents are known follows from types")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		r := &rewriter{replace: simplifyStmt}
		if err := r.module(m); err != nil {
			return err
		}
		for _, f := range m.Funcs {
			mergeEqual(&f.Block, nil, map[*ir.Value]*ir.Value{})
		}
		mergeTransposes(m)
		removeDead(m)
		return nil
	},
}

func simplifyStmt(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
	if branch := taken(s); branch != nil {
		return unwrap(b, s, branch), true, nil
	}
	if s.Kind != ir.OpStmt || s.Effect() != ir.Pure || len(s.Regions) > 0 || len(s.Results) != 1 || s.Results[0] == nil {
		return nil, false, nil
	}
	r := s.Results[0]
	if s.Op.View && s.Args[0] != nil && sameProved(b.M.Syms, s.Args[0].Type, r.Type) {
		return s.Args[:1], true, nil
	}
	if cut, ok := noOp(b, s); ok {
		return []*ir.Value{cut}, true, nil
	}
	// Contents that are known need no operators to compute them.
	b.Contents(s)
	known, ok := b.Known(r)
	t, _ := r.Tensor()
	if !ok || t.DType != tensor.I64 && !allInts(known) || !visibleDims(b.Deducer, known...) {
		return nil, false, nil
	}
	if allInts(known) {
		shape, ok := t.Static()
		if !ok {
			return nil, false, nil
		}
		c := tensor.New(t.DType, shape...)
		for i, e := range known {
			n, _ := e.Int()
			c.SetInt(int64(i), n)
		}
		return []*ir.Value{b.M.AddConst(r.Name, c, nil)}, true, nil
	}
	if t.Rank() != 1 {
		return nil, false, nil
	}
	return []*ir.Value{b.Dims(known...)}, true, nil
}

func allInts(list []sym.Expr) bool {
	for _, e := range list {
		if _, ok := e.Int(); !ok {
			return false
		}
	}
	return true
}

func sameProved(ctx *sym.Context, a, b ir.Type) bool {
	x, ok := a.(ir.TensorType)
	y, ok2 := b.(ir.TensorType)
	if !ok || !ok2 {
		return ir.SameType(a, b) && ok == ok2
	}
	if x.DType != y.DType || x.Unranked || y.Unranked || len(x.Dims) != len(y.Dims) {
		return false
	}
	for i := range x.Dims {
		if ctx.Equal(x.Dims[i], y.Dims[i]) != sym.True {
			return false
		}
	}
	return true
}

// noOp recognises operators that give an operand back: movement whose program reads
// each point of an operand of the same shape at that point. No operator is named: the
// program says it.
func noOp(b *ir.Builder, s *ir.Stmt) (*ir.Value, bool) {
	c := b.Call(s)
	p, args, err := c.Program()
	if err != nil || len(p.Stages) != 1 || p.Stages[0].Kind != ir.MapStage {
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

// mergeEqual makes one of statements that are the same: operator or callee, operands,
// attributes. What a region computes is not seen outside.
func mergeEqual(b *ir.Block, outer []map[string]*ir.Stmt, subst map[*ir.Value]*ir.Value) {
	here := map[string]*ir.Stmt{}
	scopes := append(outer[:len(outer):len(outer)], here)
	kept := b.Stmts[:0]
	for _, s := range b.Stmts {
		for i, a := range s.Args {
			if n := subst[a]; n != nil {
				s.Args[i] = n
			}
		}
		for _, r := range s.Regions {
			mergeEqual(r, scopes, subst)
		}
		if s.Effect() != ir.Pure || len(s.Regions) > 0 || s.Into != nil {
			kept = append(kept, s)
			continue
		}
		key := stmtKey(s)
		var same *ir.Stmt
		for _, sc := range scopes {
			if x := sc[key]; x != nil {
				same = x
			}
		}
		if same == nil || !covers(same, s) {
			here[key] = s
			kept = append(kept, s)
			continue
		}
		for i, v := range s.Results {
			if v != nil {
				subst[v] = same.Results[i]
			}
		}
	}
	b.Stmts = kept
	for i, v := range b.Results {
		if n := subst[v]; n != nil {
			b.Results[i] = n
		}
	}
}

func covers(a, b *ir.Stmt) bool {
	if len(a.Results) < len(b.Results) {
		return false
	}
	for i, v := range b.Results {
		if v != nil && (a.Results[i] == nil || !ir.SameType(a.Results[i].Type, v.Type)) {
			return false
		}
	}
	return true
}

func stmtKey(s *ir.Stmt) string {
	var k strings.Builder
	fmt.Fprintf(&k, "%d %s", s.Kind, s.OpName())
	for _, a := range s.Args {
		fmt.Fprintf(&k, " %p", a)
	}
	for _, e := range s.Bind {
		fmt.Fprintf(&k, " [%s]", e.Key())
	}
	for _, a := range s.Attrs {
		if t, ok := a.Value.(*tensor.Tensor); ok {
			fmt.Fprintf(&k, " %s=%p", a.Name, t)
		} else {
			fmt.Fprintf(&k, " %s=%#v", a.Name, a.Value)
		}
	}
	if s.Kind == ir.CastStmt {
		fmt.Fprintf(&k, " %s", s.Results[0].Type)
	}
	return k.String()
}

// mergeTransposes makes one transpose of two in a row; one that permutes nothing is a
// no-op that the next run takes out.
func mergeTransposes(m *ir.Module) {
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
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
		})
	}
}

func transposition(s *ir.Stmt) ([]int64, bool) {
	if s.Kind != ir.OpStmt || s.Op.Name != "onnx.Transpose" {
		return nil, false
	}
	perm, ok := s.Attrs.Get("perm").([]int64)
	return perm, ok
}
