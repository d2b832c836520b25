package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
)

// Deduce makes types as exact as operands and declared facts allow.
var Deduce = &pass.Pass{
	Name: "deduce",
	Doc: `Deduces every type again, with what is known by now.

    %y: [r, c] f32 = onnx.Reshape(%x, @shape)     %y: [2*n, 2] f32 = onnx.Reshape(%x, @shape)
    %s: [2] i64 = call @sizes[r, c]()        =>   %s: [2] i64 = call @sizes[2*n, 2]()

A dim that was open becomes a number, or an expression of symbols that have a value there,
and so does its symbol wherever it is used. A size that the data tell keeps its symbol. In a
branch its condition holds.

It stands after fold-constants, whose constants decide shapes, and before simplify, which
reads them.`,
	After: []pass.Order{pass.Because("fold-constants", "constants that folding finds decide shapes")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		r := &rewriter{replace: func(*ir.Builder, *ir.Stmt) ([]*ir.Value, bool, error) { return nil, false, nil }}
		r.keep = r.refine
		return r.module(m)
	},
}

// refine deduces a statement and keeps, of old and new, the types that say more. Where
// they contradict each other, the statement can only fail: that is an error of the model,
// unless it stands in a region, which may never run.
func (r *rewriter) refine(b *ir.Builder, s *ir.Stmt) error {
	if s.Kind != ir.OpStmt {
		if r.Check(s) != nil {
			forget(b, s)
		}
		return nil // what a call or a cast gives is what it says
	}
	types, err := r.Infer(s)
	for i, v := range s.Results {
		if err == nil && v != nil && !r.Compatible(v.Type, types[i]) {
			err = diag.New(diag.Malformed, "result %d is %s, but %s follows from the operands", i, v.Type, types[i]).At(s.Place(), s.OpName())
		}
	}
	if err != nil && len(r.path) > 1 {
		forget(b, s)
		types, err = r.Infer(s)
	}
	if err != nil {
		return err
	}
	for i, v := range s.Results {
		if v != nil {
			v.Type = r.sharper(v.Type, types[i])
		}
	}
	return nil
}

// sharper takes of a new type what is a number or mentions visible symbols alone: symbols
// that deduction just made up say no more than those before them. Symbols that the old
// type defined stand for what is known now.
func (r *rewriter) sharper(old, now ir.Type) ir.Type {
	a, ok := old.(ir.TensorType)
	b, ok2 := now.(ir.TensorType)
	if !ok || !ok2 {
		return old
	}
	if a.DType == tensor.Invalid {
		a.DType = b.DType
	}
	if b.Unranked {
		return a
	}
	dims := slices.Clone(b.Dims)
	if a.Unranked || len(a.Dims) != len(b.Dims) {
		for i, e := range dims {
			if !visibleDims(r.Deducer, e) {
				dims[i] = r.M.Syms.Fresh("u")
			}
		}
		return ir.TensorOf(a.DType, dims...)
	}
	for i, e := range dims {
		o := a.Dims[i]
		_, fixed := o.Int()
		_, bare := o.Symbol()
		if fixed || !visibleDims(r.Deducer, e) || !bare && !visibleDims(r.Deducer, o) { // the last tells a symbol
			dims[i] = o
		}
	}
	t := ir.TensorOf(a.DType, dims...)
	r.subst.Define(r.Deducer, a, t)
	return t
}
