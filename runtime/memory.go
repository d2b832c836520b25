package runtime

import (
	"maps"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// MemoryUse tells what the plan of @main takes for some sizes, in bytes, and what it would
// take otherwise. Every piece counts as a multiple of analysis.Align. It is about what is
// planned: operators that run by themselves, and results of the model, have memory of their
// own beside it.
type MemoryUse struct {
	Naive   int64 // every result and every temporary by itself
	Equal   int64 // things of sizes that are proved equal take turns, as in Relax's StaticPlanBlockMemory
	Planned int64 // what a run takes
	Largest int64 // the most that is in use at a step: no plan of these storages takes less
}

// Storage is a storage of the plan of @main.
type Storage struct {
	Bytes    sym.Expr
	From, To int // steps: stages of programs and other statements, counted in order
	Holds    []string
	Offset   int64 // in the slab, where that is known before a run, else -1
}

// Storages lists the storages of @main in the order in which they are first used.
func (x *Executable) Storages() []Storage {
	f := x.m.Main()
	var out []Storage
	at := map[*ir.Value]int{}
	placed := analysis.LivesOf(f).Placed(f)
	lives := analysis.Storages(placed)
	for _, p := range placed {
		i, ok := at[p.Storage]
		if !ok {
			i = len(out)
			at[p.Storage] = i
			bytes, _ := p.Storage.Def.AllocBytes()
			life := lives[p.Storage]
			out = append(out, Storage{Bytes: bytes, From: life.From, To: life.To, Offset: -1})
			if s := x.funcs[f].shares[p.Storage]; s != nil && s.group.fixed != nil {
				out[i].Offset = s.group.fixed.offsets[s.at]
			}
		}
		out[i].Holds = append(out[i].Holds, p.Name)
	}
	slices.SortStableFunc(out, func(a, b Storage) int { return a.From - b.From })
	return out
}

// Memory tells what the plan of @main takes for values of symbols, by name. A symbol that is
// not given counts as large as it can get: without any, the figures are those at the bounds.
func (x *Executable) Memory(values map[string]int64) (MemoryUse, error) {
	f := x.m.Main()
	known := x.m.Syms.Clone()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := known.AssumeEqual(sym.Var(name), sym.Const(values[name])); err != nil {
			return MemoryUse{}, diag.New(diag.Usage, "%v", err)
		}
	}
	var use MemoryUse
	placed := analysis.LivesOf(f).Placed(f)
	sizes, err := sizesOf(known, placed)
	if err != nil {
		return use, err
	}
	for _, n := range sizes {
		use.Naive += analysis.Aligned(n)
	}
	use.Equal = equalOnly(x.m.Syms, placed, sizes)
	return use, x.planned(known, &use)
}

// sizesOf gives sizes in bytes, as large as they can get.
func sizesOf(known *sym.Context, placed []analysis.Placed) ([]int64, error) {
	out, all := make([]int64, len(placed)), int64(0)
	for i, p := range placed {
		n, err := most(known, p.Bytes)
		if err == nil && n > analysis.MaxPlaced-all {
			err = diag.New(diag.Run, "%s of %s bytes: that is too much", p.Name, p.Bytes)
		}
		if err != nil {
			return nil, err
		}
		out[i] = n
		all += n
	}
	return out, nil
}

// most is the largest value of a size.
func most(known *sym.Context, e sym.Expr) (int64, error) {
	_, hi := known.Bounds(e)
	if hi != sym.Inf {
		return hi, nil
	}
	for _, s := range e.Symbols() {
		if _, hi := known.Bounds(sym.Var(s)); hi == sym.Inf {
			return 0, diag.New(diag.Usage, "%s has no bound: symbol %q has none", e, s).Hint("give its value with -dim %s=N, or a bound in [dims] of the pipeline", s)
		}
	}
	return 0, diag.New(diag.Usage, "%s has no bound", e)
}

// equalOnly is what is taken where only things of sizes that are proved equal take turns.
func equalOnly(known *sym.Context, placed []analysis.Placed, sizes []int64) (total int64) {
	type token struct {
		bytes sym.Expr
		until int
	}
	var tokens []*token
	order := make([]int, len(placed))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return placed[a].Life.From - placed[b].Life.From })
	for _, i := range order {
		p, bytes := placed[i], known.Simplify(placed[i].Bytes)
		at := slices.IndexFunc(tokens, func(t *token) bool { return t.until < p.Life.From && t.bytes.Equal(bytes) })
		if at < 0 {
			at = len(tokens)
			tokens = append(tokens, &token{bytes: bytes})
			total += analysis.Aligned(sizes[i])
		}
		tokens[at].until = p.Life.To
	}
	return total
}

// planned adds what the slabs take, and the largest set in use.
func (x *Executable) planned(known *sym.Context, use *MemoryUse) error {
	var all, slabs []analysis.Life
	var sizes, totals []int64
	for _, g := range x.funcs[x.m.Main()].groups {
		l := g.fixed
		if l == nil {
			var err error
			if l, err = g.place(func(d *dim) (int64, error) { return most(known, d.expr) }); err != nil {
				return err
			}
		}
		slab := analysis.Life{From: analysis.Forever, To: g.end}
		for i, s := range g.shares {
			all, sizes = append(all, s.life), append(sizes, l.sizes[i])
			slab.From = min(slab.From, s.life.From)
		}
		slabs, totals = append(slabs, slab), append(totals, l.total)
	}
	use.Largest = analysis.NewPlacer(all).Largest(sizes)
	use.Planned = analysis.NewPlacer(slabs).Largest(totals)
	return nil
}
