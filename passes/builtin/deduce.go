package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
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
branch its condition holds. Where branches give tensors of different rank, and what stands
behind is proved to fail for one of them, the results have the rank that the other one gives.

It stands after fold-constants, whose constants decide shapes, and before simplify, which
reads them.`,
	After: []pass.Order{pass.Because("fold-constants", "constants that folding finds decide shapes")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		r := &rewriter{}
		r.replace = r.decide
		r.keep = r.refine
		return r.module(m)
	},
}

// decide finds a branch that can not be taken, where branches give tensors of different rank:
// what stands behind them is proved to fail then. Where the other one is taken if a dim has
// some size, a cast says that, and there is no branch:
//
//	%y: [*] f32 = onnx.If(%c) { ()                %v: [n, 1] f32 = match_cast(%x)
//	  %a: [n] f32 = onnx.Squeeze(%x, @1)          %y: [n] f32 = onnx.Squeeze(%v, @1)
//	  yield %a                              =>    %z: [n, 3] f32 = onnx.Gemm(%y, @w)
//	} { ()
//	  yield %x
//	}
//	%z: [*] f32 = onnx.Gemm(%y, @w)
//
// Otherwise what the branch gives is cast to what the other one gives, which fails, too, and so
// the results have one rank.
func (r *rewriter) decide(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
	if s.Kind != ir.OpStmt || s.Op.Control != ir.Branches || !ranksDiffer(s) {
		return nil, false, nil
	}
	if _, decided := r.Taken(s); decided {
		return nil, false, nil
	}
	var fails [2]bool
	for i := range fails {
		fails[i] = r.Fails(s, i, r.rest, r.path[len(r.path)-1].Results, r.subst.Value)
	}
	if fails[0] == fails[1] {
		return nil, false, nil
	}
	fits := 0
	if fails[0] {
		fits = 1
	}
	if r.assert(b, s, fits) {
		return r.splice(s.Regions[fits])[:len(s.Results)], true, nil
	}
	return nil, false, r.unify(s, s.Regions[fits].Results, s.Regions[1-fits])
}

// assert casts a tensor that a branch reads to a type that it has if, and only if, the branch
// is taken.
func (r *rewriter) assert(b *ir.Builder, s *ir.Stmt, branch int) bool {
	x, y, ok := r.Equality(s, branch)
	if !ok {
		return false
	}
	region := s.Regions[branch]
	for _, v := range (&ir.Stmt{Regions: []*ir.Block{region}}).Captured() {
		t, _ := v.Tensor()
		for i, e := range t.Dims {
			if !e.Equal(x) {
				x, y = y, x
			}
			if !e.Equal(x) || !visibleDims(r.Deducer, y) {
				continue
			}
			dims := slices.Clone(t.Dims)
			dims[i] = y
			cast := ir.Subst{Values: map[*ir.Value]*ir.Value{v: b.MatchCast(v, ir.TensorOf(t.DType, dims...))}}
			for _, t := range region.Stmts {
				cast.Stmt(t)
			}
			for i, v := range region.Results {
				region.Results[i] = cast.Value(v)
			}
			return true
		}
	}
	return false
}

// unify casts what a branch that can not be taken gives to what another one gives.
func (r *rewriter) unify(s *ir.Stmt, like []*ir.Value, other *ir.Block) error {
	b := r.At(other, s.Node)
	for i := range s.Results {
		t, ok := like[i].Tensor()
		is, ok2 := other.Results[i].Tensor()
		if !ok || !ok2 || t.Unranked || !is.Unranked && len(is.Dims) == len(t.Dims) {
			continue
		}
		open := b.MatchCast(other.Results[i], ir.UnrankedOf(is.DType)) // a cast that can only fail is none
		other.Results[i] = b.MatchCast(open, ir.MapDims(t, func(e sym.Expr) sym.Expr {
			if !visibleDims(r.Deducer, e) {
				return r.M.Syms.Fresh("u")
			}
			return e
		}))
	}
	return b.Err()
}

// ranksDiffer says whether a result has another rank in each branch.
func ranksDiffer(s *ir.Stmt) bool {
	for i, v := range s.Results {
		if v == nil || len(s.Regions) != 2 {
			continue
		}
		a, ok := s.Regions[0].Results[i].Tensor()
		b, ok2 := s.Regions[1].Results[i].Tensor()
		if ok && ok2 && !a.Unranked && !b.Unranked && len(a.Dims) != len(b.Dims) {
			return true
		}
	}
	return false
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
