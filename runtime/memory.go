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
// planned: what operators compute whose size is not known before, and results of the model,
// have memory of their own beside it.
type MemoryUse struct {
	Naive     int64 // every result and temporary by itself, and the workspace
	Equal     int64 // those of sizes that are proved equal take turns, as in Relax's StaticPlanBlockMemory, and the workspace
	Planned   int64 // what a run takes
	Largest   int64 // the most that is in use at a step: no plan of these storages takes less
	Workspace int64 // the most that the device takes for a stage
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
	value := func(d *dim) (int64, error) { return most(known, d.expr) }
	var use MemoryUse
	var things []thing
	for _, p := range analysis.LivesOf(f).Placed(f) {
		n, err := most(known, p.Bytes)
		if err != nil {
			return use, err
		}
		things = append(things, thing{x.m.Syms.Simplify(p.Bytes).Key(), n, p.Life})
	}
	var shares []analysis.Life
	var sizes []int64
	plan := &sequence{}
	for _, g := range x.funcs[f].inOrder() {
		l, err := plan.place(g, value)
		if err != nil {
			return use, err
		}
		for i, s := range g.shares {
			if s.work != nil {
				use.Workspace = max(use.Workspace, analysis.Aligned(l.sizes[i]))
			}
		}
		if g.fixed != nil {
			l = g.fixed
		}
		for i, s := range g.shares {
			shares, sizes = append(shares, s.life), append(sizes, l.sizes[i])
		}
	}
	for _, t := range things {
		if t.size > analysis.MaxPlaced-use.Naive {
			return use, diag.New(diag.Run, "what the run computes is too large")
		}
		use.Naive += analysis.Aligned(t.size)
	}
	use.Naive += use.Workspace
	use.Equal = equalOnly(things) + use.Workspace
	use.Largest = analysis.NewPlacer(shares).Largest(sizes)
	use.Planned = plan.peak
	return use, nil
}

// inOrder gives the groups of a function in the order in which a run places them.
func (c *code) inOrder() []*group {
	out := slices.Clone(c.groups)
	slices.SortStableFunc(out, func(a, b *group) int { return a.from() - b.from() })
	return out
}

// from is the first step at which something of a group is in use.
func (g *group) from() int {
	from := analysis.Forever
	for _, s := range g.shares {
		from = min(from, s.life.From)
	}
	return from
}

// sequence places groups one after the other, as a run does.
type sequence struct {
	slabs []held
	peak  int64
}

// held is a slab until all that lie in it have left.
type held struct {
	room
	until int
}

func (q *sequence) place(g *group, value func(*dim) (int64, error)) (*layout, error) {
	from := g.from()
	q.slabs = slices.DeleteFunc(q.slabs, func(s held) bool { return s.until < from })
	l, err := g.place(value)
	if err != nil {
		return nil, err
	}
	if g.fixed != nil {
		q.peak = g.fixed.total
		return l, nil
	}
	rooms := make([]room, len(q.slabs))
	for i, s := range q.slabs {
		rooms[i] = s.room
	}
	if err := g.among(l, rooms); err != nil {
		return nil, err
	}
	own, total := held{room{total: l.total}, g.end}, l.total
	for i, s := range g.shares {
		if l.home(i) == 0 {
			own.take(spot{s.life, l.offsets[i], l.sizes[i]})
		}
	}
	for i := range q.slabs {
		q.slabs[i].room = rooms[i]
		if l.used[i] {
			q.slabs[i].until = max(q.slabs[i].until, g.end)
		}
		total += q.slabs[i].total
	}
	q.slabs = append(q.slabs, own)
	q.peak = max(q.peak, total)
	return l, nil
}

// thing is something that has memory while it lives.
type thing struct {
	key  string // things of one key are proved to have one size
	size int64
	life analysis.Life
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
func equalOnly(things []thing) (total int64) {
	things = slices.Clone(things)
	slices.SortStableFunc(things, func(a, b thing) int { return a.life.From - b.life.From })
	until := map[string][]int{} // the last steps of what lies in the tokens of a size
	for _, t := range things {
		list := until[t.key]
		at := slices.IndexFunc(list, func(end int) bool { return end < t.life.From })
		if at < 0 {
			at, list = len(list), append(list, 0)
			total += analysis.Aligned(t.size)
		}
		list[at] = t.life.To
		until[t.key] = list
	}
	return total
}
