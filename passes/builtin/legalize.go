package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
)

// Legalize turns operators into calls of the tensor programs they stand for.
var Legalize = &pass.Pass{
	Name:   "legalize",
	Lowers: true,
	Doc: `Turns operators into calls of the tensor programs they stand for.

    %y: [n, 8] f32 = onnx.Softmax(%x)        =>   %y: [n, 8] f32 = call @Softmax[n](%x)

Equal operators on equal types share one program. Operators that give another shape become
views, which cost nothing. Operands that are functions of the index, such as ranges and masks
of positions, are computed in the program that reads them. What raise has made of others is
written out first. What is said of a result beyond
what its program computes is checked by a cast. An operator whose program depends on contents that only a run tells stays,
and is instantiated when it runs.

It stands after simplify, since shape arithmetic that vanishes needs no programs, and after
decompose, since what is written out has programs of its own.`,
	After: []pass.Order{pass.Because("simplify", "shape arithmetic that vanishes needs no programs"),
		pass.Because("decompose", "operators made of others have no program of their own")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		if err := writeOut(m); err != nil { // what raise has made of others
			return err
		}
		share := &sharing{}
		r := &rewriter{replace: func(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
			if s.Kind != ir.OpStmt || len(s.Regions) > 0 || s.Op.IsUnknown() || s.Effect() != ir.Pure {
				return nil, false, nil
			}
			if s.Op.Body == nil && !s.Op.View || s.Op.IsView() {
				return nil, false, nil
			}
			types, err := b.InferExact(s)
			if err != nil {
				return nil, false, err
			}
			for i, v := range s.Results {
				if v != nil {
					types[i] = resultType(b.Deducer, v.Type, types[i])
				}
			}
			if s.Op.View && s.Results[0] != nil {
				return legalView(b, s, types[0])
			}
			c := b.Call(s)
			c.Out = types
			p, args, err := c.Program()
			if err != nil {
				return nil, false, nil // the operator stays
			}
			args = b.InlineGrids(p, s, args)
			if !visibleSyms(b.Deducer, p.Syms) {
				return nil, false, nil
			}
			operands := make([]*ir.Value, len(args))
			for i, a := range args {
				operands[i] = s.Args[a]
			}
			out := share.call(b, p, operands, s)
			results := make([]*ir.Value, len(s.Results))
			next := 0
			for i, v := range s.Results {
				if v == nil {
					continue
				}
				results[i] = out[next]
				next++
			}
			return results, true, nil
		}}
		if err := r.module(m); err != nil {
			return err
		}
		removeDead(m)
		return nil
	},
}

// resultType is the type that a program gives a result of: what is stated, but for dims that
// follow from the operands and are not known to be what is stated. A cast checks those.
func resultType(d *ir.Deducer, stated, follows ir.Type) ir.Type {
	a, ok := stated.(ir.TensorType)
	b, ok2 := follows.(ir.TensorType)
	if !ok || !ok2 || a.Unranked || b.Unranked || len(a.Dims) != len(b.Dims) {
		return stated
	}
	dims := slices.Clone(a.Dims)
	for i, e := range b.Dims {
		if visibleDims(d, e) && d.M.Syms.Equal(e, dims[i]) != sym.True {
			dims[i] = e
		}
	}
	return ir.TensorOf(a.DType, dims...)
}

func visibleSyms(d *ir.Deducer, syms []string) bool {
	for _, s := range syms {
		if !d.Bound(s) {
			return false
		}
	}
	return true
}

// legalView makes a view of an operator that only gives another shape, so that nobody
// has to compute the operand that said which.
func legalView(b *ir.Builder, s *ir.Stmt, is ir.Type) ([]*ir.Value, bool, error) {
	t, ok := is.(ir.TensorType)
	if !ok || t.Unranked || !visibleDims(b.Deducer, t.Dims...) {
		return nil, false, nil
	}
	in, ok := s.Args[0].Tensor()
	if !ok || in.Unranked {
		return nil, false, nil
	}
	return b.OpN(1, "vm.view", s.Args[:1], ir.MakeAttrs("type", t)), true, nil
}

// sharing gives equal programs once. Programs are equal when they are written alike,
// symbols renamed by their order.
type sharing struct{ byKey map[string]*ir.Program }

// program gives the program that stands for p, and what a call binds its symbols to where
// p's are those of the function around it.
func (sh *sharing) program(m *ir.Module, p *ir.Program) (*ir.Program, []sym.Expr) {
	bind := make([]sym.Expr, len(p.Syms))
	for i, name := range p.Syms {
		bind[i] = sym.Var(name)
	}
	key := p.Key()
	if sh.byKey == nil {
		sh.byKey = map[string]*ir.Program{}
	}
	shared := sh.byKey[key]
	if shared == nil {
		shared = m.AddProgram(p)
		sh.byKey[key] = shared
	}
	return shared, bind
}

func (sh *sharing) call(b *ir.Builder, p *ir.Program, args []*ir.Value, s *ir.Stmt) []*ir.Value {
	shared, bind := sh.program(b.M, p)
	results := make([]*ir.Value, len(p.Results))
	for i := range results {
		results[i] = &ir.Value{Type: p.Results[i].Type()}
	}
	b.Add(&ir.Stmt{Kind: ir.CallStmt, Callee: shared, Bind: bind, Args: args, Results: results, Node: s.Node})
	return results
}
