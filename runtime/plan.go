package runtime

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// A function's storages, and the workspace of the device for each stage of a program, lie in
// slabs. Those whose sizes have a value from the same moment
// on, in most functions all of them when the parameters are bound, are one group, in which they
// take turns as their lives allow. Offsets are assigned once for each set of
// values of the symbols. Where all sizes have bounds they are one group, which is placed for
// the largest sizes before the first run.

// group is what lies in a slab.
type group struct {
	dev     Device
	shares  []*share
	placer  *analysis.Placer
	n       int   // among those of the function
	symbols []int // that sizes depend on, by number
	end     int   // the last step of all lives
	fixed   *layout

	mu   sync.Mutex
	kept map[string]*layout
}

// share is a share of a slab: a storage, or the workspace of a stage.
type share struct {
	group *group
	at    int // in the group
	life  analysis.Life
	bytes dim   // of a storage
	work  *work // nil: it is a storage
	stage int   // that the workspace is for
}

// work is what decides the workspace of a call.
type work struct {
	kernel  string
	program *ir.Program
	bind    []dim

	constant func(param int) bool
}

// layout is where the shares of a group lie.
type layout struct {
	id             int64
	sizes, offsets []int64
	in             []int  // the slab of each share: 0 the group's own, else one that was in use; nil: its own
	used           []bool // which of those that were in use have a share
	total          int64  // of its own
}

// maxLayouts bounds what a group keeps.
const maxLayouts = 1024

// planner finds the groups of a function while it is compiled.
type planner struct {
	dev      Device
	known    *sym.Context
	budget   int64
	lives    *analysis.Lives
	storages map[*ir.Value]analysis.Life
	shares   map[*ir.Value]*share
	moments  []*block    // the block of each place where symbols get values
	told     map[int]int // the moment at which a symbol got its value
	groups   map[int]*group
}

func newPlanner(known *sym.Context, f *ir.Func, dev Device, budget int64) *planner {
	p := &planner{dev: dev, known: known, budget: budget, lives: analysis.LivesOf(f), shares: map[*ir.Value]*share{}, told: map[int]int{}, groups: map[int]*group{}}
	p.storages = analysis.Storages(p.lives.Placed(f))
	return p
}

// storage notes an allocation.
func (p *planner) storage(v *ir.Value, bytes dim) {
	if life, used := p.storages[v]; used {
		p.shares[v] = p.add(&share{life: life, bytes: bytes}, bytes)
	}
}

// workspace notes what the device may take for the stages of a call, and gives a share for
// each. Where a function has no storages there is no slab to take it from.
func (p *planner) workspace(s *ir.Stmt, kernel string, program *ir.Program, bind []dim) []*share {
	if len(p.storages) == 0 {
		return nil
	}
	w := &work{kernel, program, bind, func(i int) bool { return i < len(s.Args) && s.Args[i] != nil && s.Args[i].Const != nil }}
	out := make([]*share, len(program.Stages))
	together := s.Together()
	for i := range out {
		life := analysis.Life{From: p.lives.Start[s], To: p.lives.Start[s]}
		if together != nil {
			life = analysis.Life{From: life.From + together[i].First, To: life.To + together[i].Last}
		}
		out[i] = p.add(&share{life: life, work: w, stage: i}, bind...)
	}
	return out
}

// add puts a share into the group of the moment at which all that its size depends on has a
// value.
func (p *planner) add(x *share, size ...dim) *share {
	var symbols []int
	for _, d := range size {
		if symbols = append(symbols, d.needs...); d.symbol >= 0 {
			symbols = append(symbols, d.symbol)
		}
	}
	moment := 0
	for _, i := range symbols {
		moment = max(moment, p.told[i])
	}
	g := p.groups[moment]
	if g == nil {
		g = &group{dev: p.dev, kept: map[string]*layout{}}
		p.groups[moment] = g
	}
	x.group, x.at = g, len(g.shares)
	g.shares = append(g.shares, x)
	g.end = max(g.end, x.life.To)
	for _, i := range symbols {
		if !slices.Contains(g.symbols, i) {
			g.symbols = append(g.symbols, i)
		}
	}
	return x
}

// place gives the shares that a call's results and temporaries are placed in; nil entry:
// none. What escapes has memory of its own.
func (p *planner) place(s *ir.Stmt) []*share {
	var out []*share
	for i, st := range s.Into {
		if i < len(s.Results) && s.Results[i] != nil && p.lives.Escapes[s.Results[i]] {
			st = nil
		}
		out = append(out, p.shares[st])
	}
	return out
}

// finish makes the groups ready.
func (p *planner) finish() (out []*group) {
	if g := p.bounded(); g != nil {
		p.groups = map[int]*group{0: g}
	}
	for _, moment := range slices.Sorted(maps.Keys(p.groups)) {
		g := p.groups[moment]
		slices.Sort(g.symbols)
		for i, x := range g.shares {
			x.group, x.at = g, i
		}
		g.ready()
		var last *stmt // of the block in which the sizes are known
		for _, s := range p.moments[moment].stmts {
			if p.lives.Start[s.Stmt] <= g.end {
				last = s
			}
		}
		last.last = append(last.last, g)
		g.n = len(out)
		out = append(out, g)
	}
	return out
}

// bounded places everything in one slab, as large as it can get, where all sizes have
// bounds; nil where they do not, or where the budget leaves little beside such a slab.
func (p *planner) bounded() *group {
	g := &group{dev: p.dev}
	for _, moment := range slices.Sorted(maps.Keys(p.groups)) {
		g.shares = append(g.shares, p.groups[moment].shares...)
		g.end = max(g.end, p.groups[moment].end)
	}
	g.ready()
	l, err := g.place(func(d *dim) (int64, error) { return most(p.known, d.expr) })
	if err != nil || len(g.shares) == 0 || p.budget > 0 && l.total > p.budget/2 {
		return nil
	}
	g.fixed = l
	return g
}

// ready finds which shares are in use at the same time.
func (g *group) ready() {
	if g.placer != nil {
		return
	}
	lives := make([]analysis.Life, len(g.shares))
	for i, x := range g.shares {
		lives[i] = x.life
	}
	g.placer = analysis.NewPlacer(lives)
}

// place places the shares of a group, whose sizes value tells.
func (g *group) place(value func(*dim) (int64, error)) (*layout, error) {
	l := &layout{id: layoutIDs.Add(1), sizes: make([]int64, len(g.shares)), offsets: make([]int64, len(g.shares))}
	var of *work
	var needs []int64
	for i, x := range g.shares {
		var err error
		switch {
		case x.work == nil:
			l.sizes[i], err = value(&x.bytes)
		case x.work != of:
			of = x.work
			needs, err = g.workspace(of, value)
			fallthrough
		default:
			if x.stage < len(needs) {
				l.sizes[i] = needs[x.stage]
			}
		}
		if err != nil {
			return nil, diag.As(err, diag.Run)
		}
	}
	var ok bool
	if l.total, ok = g.placer.Place(l.sizes, l.offsets); !ok {
		return nil, diag.New(diag.Run, "what the run computes is too large: storages of %v bytes", l.sizes)
	}
	return l, nil
}

// workspace is what the device takes for the stages of a call.
func (g *group) workspace(w *work, value func(*dim) (int64, error)) ([]int64, error) {
	bind := make([]int64, len(w.bind))
	for i := range bind {
		n, err := value(&w.bind[i])
		if err != nil {
			return nil, err
		}
		bind[i] = n
	}
	needs, err := g.dev.Workspace(w.kernel, w.program, bind, w.constant)
	if err != nil { // the run of the program will say so
		return nil, nil
	}
	return needs, nil
}

// layout gives the layout of a group for the values that a frame has.
func (mc *machine) layout(f *frame, g *group) (*layout, error) {
	if g.fixed != nil {
		return g.fixed, nil
	}
	key := mc.key[:0]
	for _, i := range g.symbols {
		key = binary.AppendVarint(key, f.slots[i])
	}
	key = f.surroundings(key)
	mc.key = key
	g.mu.Lock()
	l := g.kept[string(key)]
	g.mu.Unlock()
	if l != nil {
		return l, nil
	}
	l, err := g.place(func(d *dim) (int64, error) { return d.eval(f.slots) })
	if err == nil {
		err = g.among(l, f.rooms())
	}
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if other := g.kept[string(key)]; other != nil { // another run was faster: a layout has one number
		return other, nil
	}
	if len(g.kept) >= maxLayouts {
		clear(g.kept)
	}
	g.kept[string(key)] = l
	return l, nil
}

// within makes t a tensor in a share of a slab.
func (mc *machine) within(f *frame, x *share, t *tensor.Tensor, d tensor.DType, shape []int64) error {
	s, err := mc.slab(f, x.group)
	if err != nil {
		return err
	}
	n, ok := tensor.Count(shape)
	size, ok2 := d.ByteLen(n)
	if !ok || !ok2 || size > s.layout.sizes[x.at] {
		return diag.New(diag.Run, "a %s%v does not fit its storage of %d bytes", d, shape, s.layout.sizes[x.at])
	}
	return t.Own(d, shape, s.bytes(x, size))
}

// settle brings a value to where it is placed, and gives the tensor t over it.
func (mc *machine) settle(f *frame, x *share, t *tensor.Tensor, v tensor.Value) (tensor.Value, error) {
	was, ok := v.(*tensor.Tensor)
	if !ok {
		return nil, diag.New(diag.Run, "what is placed is no tensor")
	}
	from := was.Bytes() // t may be the same tensor
	if err := mc.within(f, x, t, was.DType(), was.Shape()); err != nil {
		return nil, err
	}
	if b := t.Bytes(); len(b) > 0 && &b[0] != &from[0] {
		if a := mc.mem.abroad; a != nil {
			if err := a.Home(from); err != nil {
				return nil, err
			}
			a.Over(b)
		}
		copy(b, from)
		mc.mem.dropAt(from)
	}
	return t, nil
}

// lent is the memory that a call of a program gives the device.
type lent struct {
	*arena
	mc *machine
	f  *frame
	s  *stmt // nil: none that was planned
}

// Workspace is what was planned for a stage.
func (l *lent) Workspace(stage int) ([]byte, error) {
	if l.s == nil || stage >= len(l.s.work) {
		return nil, nil
	}
	x := l.s.work[stage]
	s, err := l.mc.slab(l.f, x.group)
	if err != nil {
		return nil, err
	}
	return s.bytes(x, s.layout.sizes[x.at]), nil
}
