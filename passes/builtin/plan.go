package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
)

// PlanMemory places results and temporaries of programs in storages.
var PlanMemory = &pass.Pass{
	Name:   "plan-memory",
	Lowers: true,
	Doc: `Places what programs compute in storages, whose addresses the machine assigns all at once.

    %a: [n] f32 = call @f[n](%x)                  %s: storage = vm.alloc() {bytes = "4*n"}
    %b: [n] f32 = call @g[n](%a)             =>   %a: [n] f32 = call @f[n](%x) in %s
    %c: [n] f32 = call @h[n](%b)                  %b: [n] f32 = call @g[n](%a) in %s
                                                  %c: [n] f32 = call @h[n](%b)

What stages that a kernel computes together (together, in the kernel's attributes) hand to each other
alone has no storage: it is never in memory.

A result takes the storage of an operand that nobody reads afterwards, where the stage that
writes it reads the operand only at the point that it writes; else it gets one of its own. So
do the temporaries of a program, which stand behind "with", and results of operators that are
left, where their sizes are known before. Storages that are not in use at the same time take
turns in the same bytes, whatever their sizes: the machine places them when the symbols of all
sizes have values, and keeps what it found for these values. Sizes that a run tells later are
placed among those that are there. Where all sizes have bounds it
places them once, for the largest sizes, before the first run, if the budget has room.

What a region computes for a result of its statement is written where that result is placed. A
value that a loop carries has two storages, which iterations write in turn; slices that it stacks
are written where the result is, where the number of iterations is known. What a caller gets is
never in a storage.

It stands after fuse, which removes most results.`,
	After: []pass.Order{pass.Because("fuse", "fusion removes the results that would be planned")},
	Run: func(_ *pass.Context, m *ir.Module) error {
		for _, f := range m.Funcs {
			p := &planner{m: m, lives: analysis.LivesOf(f), places: map[*ir.Value]*storage{}}
			p.block(&f.Block)
		}
		return nil
	},
}

// planner places what a function computes.
type planner struct {
	m      *ir.Module
	lives  *analysis.Lives
	scope  ir.Scope
	places map[*ir.Value]*storage // of results
	made   []*storage
}

// storage is a storage that was made.
type storage struct {
	bytes sym.Expr // by what is known of symbols in its simplest form
	block *ir.Block
	value *ir.Value
}

func (p *planner) block(b *ir.Block) {
	mark := p.scope.Mark()
	p.scope.Params(b.Params)
	out := make([]*ir.Stmt, 0, len(b.Stmts))
	for _, s := range b.Stmts {
		for _, r := range s.Regions {
			p.block(r)
		}
		from := len(p.made)
		if prog, ok := s.Staged(); s.Into != nil {
			// it is planned already
		} else if ok {
			p.call(b, s, prog)
		} else {
			p.results(b, s)
		}
		for _, st := range p.made[from:] {
			out = append(out, st.value.Def)
		}
		out = append(out, s)
		p.scope.Results(s.Results)
	}
	b.Stmts = out
	p.scope.Reset(mark)
}

// results places results of what is no program yet, of kernels, and of control flow, as far as
// they are memory of their own and their sizes are known before.
func (p *planner) results(b *ir.Block, s *ir.Stmt) {
	temps, _ := s.Temps()
	into := make([]*ir.Value, len(s.Results)+len(temps))
	owns := s.Owns()
	for i, r := range s.Results {
		if r == nil || !owns[i] || p.lives.Escapes[r] {
			continue
		}
		if bytes, ok := ir.BytesOf(r.Type); ok && p.scope.Missing(bytes) == "" {
			size := p.m.Syms.Simplify(bytes)
			st := p.alloc(b, bytes, size)
			into[i], p.places[r] = st.value, st
			if i < len(temps) { // a loop writes it where the iteration before has not
				into[len(s.Results)+i] = p.alloc(b, bytes, size).value
			}
		}
	}
	p.place(s, into)
}

// alloc makes a storage.
func (p *planner) alloc(b *ir.Block, bytes, size sym.Expr) *storage {
	st := &storage{bytes: size, block: b, value: &ir.Value{Type: ir.Storage}}
	st.value.Def = &ir.Stmt{Kind: ir.OpStmt, Op: p.m.Lookup(ir.AllocName), Results: []*ir.Value{st.value}, Attrs: ir.MakeAttrs("bytes", bytes.String())}
	p.made = append(p.made, st)
	return st
}

// place places what a statement computes, if anything of it has a storage.
func (p *planner) place(s *ir.Stmt, into []*ir.Value) {
	there := func(v *ir.Value) bool { return v != nil }
	if !slices.ContainsFunc(into[len(s.Results):], there) {
		into = into[:len(s.Results)]
	}
	if slices.ContainsFunc(into, there) {
		s.Into = into
	}
}

// call places what a call of a program computes, stage by stage.
func (p *planner) call(b *ir.Block, s *ir.Stmt, prog *ir.Program) {
	temps := prog.Temps()
	into := make([]*ir.Value, len(s.Results)+len(temps))
	inside := map[*ir.Buffer]*storage{} // of temporaries
	together := s.Together()
	var never []*ir.Buffer // in memory
	for i, stage := range prog.Stages {
		if r := together[i]; r.First == i && r.Last > i {
			never = append(never, prog.Inside(r)...)
		}
		for _, buf := range stage.Outs {
			if slices.Contains(never, buf) {
				continue
			}
			slot, result := slices.Index(prog.Results, buf), (*ir.Value)(nil)
			if slot < 0 {
				slot = len(s.Results) + slices.Index(temps, buf)
			} else if result = s.Results[slot]; result == nil || p.lives.Escapes[result] {
				continue
			}
			bytes, ok := ir.BytesOf(s.TypeOf(buf))
			if !ok || p.scope.Missing(bytes) != "" {
				continue
			}
			size := p.m.Syms.Simplify(bytes)
			var st *storage
			if together[i].First == together[i].Last {
				st = p.over(b, s, prog, i, size, inside)
			}
			if st == nil {
				st = p.alloc(b, bytes, size)
			}
			into[slot] = st.value
			if inside[buf] = st; result != nil {
				p.places[result] = st
			}
		}
	}
	p.place(s, into)
}

// over finds the storage of something that a stage of a call reads, that nobody reads
// afterwards, and that the stage may write over.
func (p *planner) over(b *ir.Block, s *ir.Stmt, prog *ir.Program, stage int, bytes sym.Expr, inside map[*ir.Buffer]*storage) *storage {
	step := p.lives.Start[s] + stage
	temps := prog.Temps()
	reads := prog.Stages[stage].Reads()
	for _, buf := range reads {
		if !prog.Stages[stage].InPlace(buf) {
			continue
		}
		var st *storage
		if i := slices.Index(temps, buf); i >= 0 && p.lives.Temps[s][i].To == step {
			st = inside[buf]
		} else if i := slices.Index(prog.Params, buf); i >= 0 {
			roots := p.lives.Roots[s.Args[i]]
			if len(roots) != 1 || p.lives.Results[roots[0]].To != step {
				continue
			}
			alone := !slices.ContainsFunc(reads, func(other *ir.Buffer) bool { // the same memory, read elsewhere
				j := slices.Index(prog.Params, other)
				return j >= 0 && slices.Contains(p.lives.Roots[s.Args[j]], roots[0]) && !prog.Stages[stage].InPlace(other)
			})
			if !alone {
				continue
			}
			st = p.places[roots[0]]
		}
		if st != nil && st.block == b && st.bytes.Equal(bytes) {
			return st
		}
	}
	return nil
}
