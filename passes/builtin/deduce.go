package builtin

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Deduce makes types as exact as operands and declared facts allow.
var Deduce = &pass.Pass{
	Name: "deduce",
	Doc: "Deduces every type again, with what is known by now: dims that were open become numbers or expressions of " +
		"symbols that are visible. It stands after fold-constants: constants that appeared there decide shapes.",
	After: []pass.Order{pass.Because("fold-constants", "constants that folding finds decide shapes")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		r := &rewriter{
			replace: func(*ir.Builder, *ir.Stmt) ([]*ir.Value, bool, error) { return nil, false, nil },
			keep:    refine,
		}
		return r.module(m)
	},
}

// refine deduces a statement and keeps, of old and new, the type that says more.
func refine(d *ir.Deducer, s *ir.Stmt) error {
	types, err := d.Infer(s)
	if err != nil {
		return err
	}
	for i, v := range s.Results {
		if v != nil {
			v.Type = sharper(d, v.Type, types[i])
		}
	}
	return nil
}

// sharper takes what is new where it is a number or mentions visible symbols alone:
// symbols that deduction just made up say no more than those before them.
func sharper(d *ir.Deducer, old, new ir.Type) ir.Type {
	a, ok := old.(ir.TensorType)
	b, ok2 := new.(ir.TensorType)
	if !ok || !ok2 {
		return old
	}
	if a.DType == tensor.Invalid {
		a.DType = b.DType
	}
	if b.Unranked {
		return a
	}
	known := !a.Unranked && len(a.Dims) == len(b.Dims)
	dims := make([]sym.Expr, len(b.Dims))
	for i, e := range b.Dims {
		dims[i] = e
		fixed := false
		if known {
			_, fixed = a.Dims[i].Int()
		}
		switch {
		case fixed || known && !visibleDims(d, e):
			dims[i] = a.Dims[i]
		case !visibleDims(d, e):
			dims[i] = d.M.Syms.Fresh("u")
		}
	}
	return ir.TensorOf(a.DType, dims...)
}
