package ir

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
)

// Explain adds to the error of a call what its numbers are in the model's words: the dims
// that do not broadcast, the symbols they come from, and who gave these their values. Where
// they would be equal if symbols were multiples of a number, that is the way out. Other
// errors stay as they are.
func (e *Env) Explain(ctx *sym.Context, s *Stmt, err error) error {
	d := diag.As(err, diag.Run)
	p := programOf(s.Callee)
	if s.Kind != CallStmt || p == nil || d.Code != diag.Run {
		return err
	}
	dim, extent, found := e.mismatched(p, s.Bind)
	if !found {
		return err
	}
	n, _ := e.Eval(dim)
	want, _ := e.Eval(extent)
	names := slices.Compact(slices.Sorted(slices.Values(append(dim.Symbols(), extent.Symbols()...))))
	says := diag.New(diag.Run, "the shapes do not broadcast: %s is %d and %s is %d; %s", dim, n, extent, want, e.tellers(dim, extent))
	if k := fitting(ctx, names, dim, extent); k > 1 {
		return says.Hint("the model takes multiples of %d", k)
	}
	return says
}

// Broadcasts gives the dims that a program broadcasts with each other without a proof, in
// the symbols around a call: in each group they must be equal, but for those that are 1.
func (p *Program) Broadcasts(bind []sym.Expr) [][]sym.Expr {
	var order []string
	groups := map[string][]sym.Expr{}
	extents := map[string]sym.Expr{}
	for _, s := range p.Stages {
		s.Walk(func(x *Scalar) bool {
			if x.Op != OpBcast {
				return true
			}
			d, ok1 := x.Args[1].Symbolic()
			extent, ok2 := x.Args[2].Symbolic()
			if !ok1 || !ok2 {
				return true
			}
			d, extent = p.bindDim(d, bind), p.bindDim(extent, bind)
			key := extent.Key()
			if _, ok := extents[key]; !ok {
				order, extents[key] = append(order, key), extent
			}
			if !slices.ContainsFunc(groups[key], d.Equal) {
				groups[key] = append(groups[key], d)
			}
			return true
		})
	}
	var out [][]sym.Expr
	for _, key := range order {
		group := groups[key]
		if len(group) == 1 && !group[0].Equal(extents[key]) { // the others are read without a question
			group = append(group, extents[key])
		}
		if len(group) > 1 {
			out = append(out, group)
		}
	}
	return out
}

// mismatched finds dims of a program that do not broadcast.
func (e *Env) mismatched(p *Program, bind []sym.Expr) (a, b sym.Expr, found bool) {
	for _, group := range p.Broadcasts(bind) {
		for i, d := range group {
			for _, other := range group[:i] {
				n, err1 := e.Eval(d)
				want, err2 := e.Eval(other)
				if err1 == nil && err2 == nil && n != 1 && want != 1 && n != want {
					return other, d, true
				}
			}
		}
	}
	return a, b, false
}

// fitting is the smallest power of two for which two dims are equal where all symbols are
// multiples of it, 0 where none is found.
func fitting(ctx *sym.Context, names []string, a, b sym.Expr) int64 {
	const most = 1 << 10
	for k := int64(2); k <= most; k *= 2 {
		given := ctx.Clone()
		ok := true
		for _, name := range names {
			ok = ok && given.SetMultiple(name, k) == nil
		}
		if ok && given.Equal(a, b) == sym.True {
			return k
		}
	}
	return 0
}
