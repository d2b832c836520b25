package builtin

import (
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
)

// FoldConstants computes now what depends on constants alone.
var FoldConstants = &pass.Pass{
	Name: "fold-constants",
	Doc: `Computes what depends on constants alone, by the reference interpreter.

    %t: [4, 3] f32 = onnx.Transpose(@w)           const @t: [4, 3] f32 = {...}
    %y: [n, 3] f32 = onnx.MatMul(%x, %t)     =>   %y: [n, 3] f32 = onnx.MatMul(%x, @t)

Random and ordered operators are left alone, and so is what fails: it fails when it runs.
A result above max-bytes stays, since it would make the module larger than its weights.

It stands first: what it folds no other pass has to look at.`,
	Options: []pass.Option{{Name: "max-bytes", Kind: pass.Size, Doc: "results larger than this are left for the run", Default: int64(64 << 20)}},
	Run: func(c *pass.Context, m *ir.Module) error {
		limit := pass.Get[int64](c, "max-bytes")
		r := &rewriter{replace: func(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
			return foldStmt(c, b, s, limit)
		}}
		if err := r.module(m); err != nil {
			return err
		}
		removeDead(m)
		return nil
	},
}

func foldStmt(c *pass.Context, b *ir.Builder, s *ir.Stmt, limit int64) ([]*ir.Value, bool, error) {
	if s.Kind != ir.OpStmt || s.Effect() != ir.Pure || len(s.Regions) > 0 || s.Op.IsUnknown() || len(s.Args) == 0 {
		return nil, false, nil
	}
	for _, a := range s.Args {
		if a != nil && a.Const == nil {
			return nil, false, nil
		}
	}
	for _, v := range s.Results {
		if v == nil {
			continue
		}
		t, ok := v.Tensor()
		if !ok {
			return nil, false, nil
		}
		if n, ok := t.Size().Int(); ok && !t.Unranked {
			if size, ok := t.DType.ByteLen(n); !ok || size > limit {
				return nil, false, nil
			}
		}
	}
	// A function of one statement, run by the interpreter.
	one := *s
	one.Args = s.Args
	f := &ir.Func{Name: "main"}
	one.Results = nil
	for i, v := range s.Results {
		if v == nil {
			one.Results = append(one.Results, nil)
			continue
		}
		r := &ir.Value{Type: v.Type, Def: &one, Index: i}
		one.Results = append(one.Results, r)
		f.Results = append(f.Results, r)
	}
	f.Stmts = []*ir.Stmt{&one}
	sub := ir.NewModule("fold")
	sub.Funcs, sub.Ops, sub.Consts, sub.Programs = []*ir.Func{f}, b.M.Ops, b.M.Consts, b.M.Programs
	out, err := interp.Run(c, sub, nil, interp.Options{MaxBytes: 4 * limit})
	if err != nil {
		return nil, false, nil // what fails is left to fail when it runs
	}
	results := make([]*ir.Value, len(s.Results))
	next := 0
	for i, v := range s.Results {
		if v == nil {
			continue
		}
		t, ok := out[next].(*tensor.Tensor)
		next++
		if !ok {
			return nil, false, nil
		}
		if size, _ := t.DType().ByteLen(t.Len()); size > limit {
			return nil, false, nil
		}
		results[i] = b.M.AddConst(v.Name, t, nil)
	}
	return results, true, nil
}
