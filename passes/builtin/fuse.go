package builtin

import (
	"fmt"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
)

// Fuse makes one program of a chain: a producer whose only reader is another program.
var Fuse = &pass.Pass{
	Name: "fuse",
	Doc: `Makes one program of a chain of programs that read each other.

    %a: [n, 8] f32 = call @matmul[n](%x, @w)
    %b: [n, 8] f32 = call @add[n](%a, %bias)  =>  %c: [n, 8] f32 = call @matmul_add_relu[n](%x, @w, %bias)
    %c: [n, 8] f32 = call @relu[n](%b)

A producer has one reader. A map is written into the expressions of its reader, where each of
its points is read once or it is cheap. A sum or a product of matrices stays a stage of its
own, with the maps behind it in the same program. Scans and scatters stay alone: they depend
on order.

It stands after legalize: kinds are read from programs.`,
	After:   []pass.Order{pass.Because("legalize", "kinds are read from programs")},
	Options: []pass.Option{{Name: "max-stages", Kind: pass.Int, Doc: "stages of a fused program at most", Default: int64(24)}},
	Run: func(c *pass.Context, m *ir.Module) error {
		limit := int(pass.Get[int64](c, "max-stages"))
		for changed := true; changed; {
			changed = false
			n := uses(m)
			for _, f := range m.Funcs {
				if fuseBlock(m, &f.Block, n, limit) {
					changed = true
				}
			}
			removeDead(m)
		}
		share(m)
		return nil
	},
}

// fuseBlock fuses producers into readers of one block, regions included.
func fuseBlock(m *ir.Module, b *ir.Block, n map[*ir.Value]int, limit int) bool {
	changed := false
	inBlock := map[*ir.Stmt]bool{}
	for _, s := range b.Stmts {
		inBlock[s] = true
	}
	gone := map[*ir.Stmt]bool{}
	for i, s := range b.Stmts {
		for _, r := range s.Regions {
			changed = fuseBlock(m, r, n, limit) || changed
		}
		consumer, ok := s.Callee.(*ir.Program)
		if s.Kind != ir.CallStmt || !ok || s.Into != nil {
			continue
		}
		for again := true; again; {
			again = false
			for j, a := range s.Args {
				if a.Def == nil || !inBlock[a.Def] || gone[a.Def] || a.Def.Kind != ir.CallStmt || n[a] != 1 || a.Def.Into != nil || len(a.Def.Results) != 1 {
					continue
				}
				producer, ok := a.Def.Callee.(*ir.Program)
				if !ok || len(producer.Results) != 1 || !sameDims(m.Syms, a, s, j) || !worthFusing(producer, consumer, consumer.Params[j], limit) {
					continue
				}
				fused, bind, args := join(producer, a.Def, consumer, s, j)
				gone[a.Def] = true
				consumer = m.AddProgram(fused)
				s.Callee, s.Bind, s.Args = consumer, bind, args
				if s.Node == "" {
					s.Node = a.Def.Node
				}
				changed, again = true, true
				break
			}
		}
		b.Stmts[i] = s
	}
	b.Stmts = filter(b.Stmts, func(s *ir.Stmt) bool { return !gone[s] })
	return changed
}

// sameDims says whether operand j of a call is proved to have the shape that the program
// declares. Where it is not, the call checks it, and fusion would lose the check.
func sameDims(ctx *sym.Context, operand *ir.Value, call *ir.Stmt, j int) bool {
	p := call.Callee.(*ir.Program)
	t, ok := operand.Tensor()
	if !ok || t.Unranked || len(t.Dims) != len(p.Params[j].Dims) {
		return false
	}
	value := bound(p, call.Bind)
	for i, d := range p.Params[j].Dims {
		if ctx.Equal(t.Dims[i], d.Subst(value)) != sym.True {
			return false
		}
	}
	return true
}

// worthFusing says whether a producer should become part of its reader, by their kinds.
// What is at most injective is written into a reader that reads each of its points once,
// or, where it is cheap, into one that is at most injective itself. A reduction or
// contraction takes readers that are at most injective as its epilogue, where they read
// its result at bare axes.
func worthFusing(producer, consumer *ir.Program, param *ir.Buffer, limit int) bool {
	if len(producer.Stages)+len(consumer.Stages) > limit || len(producer.Params)+len(consumer.Params) > maxFusedParams {
		return false
	}
	reader := analysis.ProgramKind(consumer)
	switch kind := analysis.ProgramKind(producer); {
	case kind == analysis.Opaque:
		return false
	case kind <= analysis.Injective && len(producer.Stages) == 1:
		size, costly := cost(producer.Stages[0].Exprs[0])
		if size*consumer.CountLoads(param) > maxInlined {
			return false
		}
		return readOnce(consumer, param) || reader <= analysis.Injective && !costly && size <= cheap
	}
	return reader <= analysis.Injective && bareReads(consumer, param)
}

// Bounds of what is fused, in nodes of expressions and in operands.
const (
	maxFusedParams = 16
	maxInlined     = 200 // of one producer, over all places that read it
	cheap          = 16  // what may be computed more than once
)

// cost is the number of nodes of an expression, and whether it has divisions or
// transcendental functions among them.
func cost(e *ir.Scalar) (size int, costly bool) {
	e.Walk(func(x *ir.Scalar) bool {
		size++
		switch {
		case x.Op == ir.OpMin || x.Op == ir.OpMax:
		case x.Op >= ir.OpDiv && x.Op <= ir.OpAtan2, x.Op >= ir.OpSqrt && x.Op <= ir.OpErf:
			costly = true
		}
		return true
	})
	return size, costly
}

// readOnce says whether every stage that reads param reads each point at most once: with
// indices that are different axes of the stage, all of its axes among them.
func readOnce(p *ir.Program, param *ir.Buffer) bool {
	readers := 0
	for _, s := range p.Stages {
		ok, found := true, false
		if s.Base == param {
			return false
		}
		s.Walk(func(x *ir.Scalar) bool {
			if x.Op == ir.OpLoad && x.Buf == param {
				found = true
				seen := map[*ir.Axis]bool{}
				for _, ix := range x.Args {
					if ix.Op != ir.OpAxis || seen[ix.Axis] {
						ok = false
						return false
					}
					seen[ix.Axis] = true
				}
				ok = ok && len(seen) == len(s.AllAxes())
			}
			return true
		})
		if found {
			readers++
		}
		if !ok {
			return false
		}
	}
	return readers == 1
}

// bareReads says whether param is read at bare axes alone.
func bareReads(p *ir.Program, param *ir.Buffer) bool {
	ok := true
	for _, s := range p.Stages {
		ok = ok && s.Base != param
		s.Walk(func(x *ir.Scalar) bool {
			if x.Op == ir.OpLoad && x.Buf == param {
				for _, ix := range x.Args {
					ok = ok && ix.Op == ir.OpAxis
				}
			}
			return true
		})
	}
	return ok
}

// join writes producer and consumer as one program; param j of the consumer is what the
// producer gives. Symbols of both are those of the function around them.
func join(producer *ir.Program, ps *ir.Stmt, consumer *ir.Program, cs *ir.Stmt, j int) (*ir.Program, []sym.Expr, []*ir.Value) {
	p := producer.Clone(bound(producer, ps.Bind))
	c := consumer.Clone(bound(consumer, cs.Bind))
	out := &ir.Program{Name: fusedName(producer.Name, consumer.Name)}
	var args []*ir.Value
	byValue := map[*ir.Value]*ir.Buffer{}
	replace := map[*ir.Buffer]*ir.Buffer{}
	param := func(b *ir.Buffer, v *ir.Value) {
		if same := byValue[v]; same != nil && ir.SameDims(same.Dims, b.Dims) {
			replace[b] = same
			return
		}
		byValue[v] = b
		out.Params = append(out.Params, b)
		args = append(args, v)
	}
	for i, b := range p.Params {
		param(b, ps.Args[i])
	}
	for i, b := range c.Params {
		if i != j {
			param(b, cs.Args[i])
		}
	}
	given := p.Results[0]
	last := p.Stages[len(p.Stages)-1]
	out.Stages = append(out.Stages, p.Stages...)
	out.Stages = append(out.Stages, c.Stages...)
	out.Results = c.Results
	if last.Kind == ir.MapStage && last.Out() == given {
		out.Stages = append(p.Stages[:len(p.Stages)-1:len(p.Stages)-1], c.Stages...)
		for _, s := range c.Stages {
			s.Rewrite(func(x *ir.Scalar) *ir.Scalar {
				if x.Op != ir.OpLoad || x.Buf != c.Params[j] {
					return x
				}
				return last.Exprs[0].Rewrite(func(y *ir.Scalar) *ir.Scalar {
					if y.Op == ir.OpAxis {
						for k, a := range last.Axes {
							if a == y.Axis {
								return x.Args[k]
							}
						}
					}
					return y
				})
			})
		}
	} else {
		replace[c.Params[j]] = given
	}
	for _, s := range out.Stages {
		s.Rewrite(func(x *ir.Scalar) *ir.Scalar {
			if x.Op == ir.OpLoad && replace[x.Buf] != nil {
				y := *x
				y.Buf = replace[x.Buf]
				return &y
			}
			return x
		})
		if r := replace[s.Base]; r != nil {
			s.Base = r
		}
	}
	out.Finish()
	// A parameter that nobody reads any more is not passed.
	read := map[*ir.Buffer]bool{}
	for _, s := range out.Stages {
		for _, b := range s.Reads() {
			read[b] = true
		}
	}
	var params []*ir.Buffer
	var kept []*ir.Value
	for i, b := range out.Params {
		if read[b] {
			params, kept = append(params, b), append(kept, args[i])
		}
	}
	out.Params = params
	out.Finish()
	bind := make([]sym.Expr, len(out.Syms))
	for i, s := range out.Syms {
		bind[i] = sym.Var(s)
	}
	return out, bind, kept
}

// bound maps a program's symbols to what a call binds them to.
func bound(p *ir.Program, bind []sym.Expr) func(string) (sym.Expr, bool) {
	return func(name string) (sym.Expr, bool) {
		for i, s := range p.Syms {
			if s == name {
				return bind[i], true
			}
		}
		return sym.Expr{}, false
	}
}

func fusedName(a, b string) string {
	name := fmt.Sprintf("%s_%s", a, b)
	if len(name) > 60 {
		name = name[:57] + "..."
	}
	return name
}

// share makes one of programs that are equal.
func share(m *ir.Module) {
	byKey := map[string]*ir.Program{}
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			p, ok := s.Callee.(*ir.Program)
			if !ok {
				return
			}
			key := p.Key()
			if byKey[key] == nil {
				byKey[key] = p
			}
			s.Callee = byKey[key]
		})
	}
	removeDead(m)
}
