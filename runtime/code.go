package runtime

import (
	"slices"
	"sync/atomic"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
)

// code is a function made ready to run: its values and symbols are numbered, so that a
// run keeps them in lists, and symbolic integers are code over the numbers of symbols.
type code struct {
	f       *ir.Func
	target  string
	known   *sym.Context
	body    *block
	values  int
	extra   int // tensors of statements that have no place
	blocks  int
	loops   int
	symbols []string
	rules   []rule
	rulesOf [][]int              // those that speak of a symbol
	landing map[int]landing      // of values, by number
	groups  []*group             // of storages
	shares  map[*ir.Value]*share // storages

	slots   map[string]int
	numbers map[*ir.Value]int
	visible map[int]bool // symbols, where compilation stands
	fresh   []int        // those that became visible in the block that is being compiled
	plan    *planner
	err     error
}

// block is a function's body or a region.
type block struct {
	n       int // among those of the function
	params  []*place
	stmts   []*stmt
	results []operand
	local   []int // symbols that a run of the region binds, and that mean nothing after it
}

// place is where a value is kept, and what it must be like.
type place struct {
	v    *ir.Value
	n    int
	typ  ir.TensorType // where it is a tensor
	dims []dim
}

// operand is a value that is used: a constant, or the value in a place. Of one that is
// left out v is nil.
type operand struct {
	v *ir.Value
	n int // -1: a constant
}

// stmt is a statement made ready.
type stmt struct {
	*ir.Stmt
	args    []operand
	around  []operand    // of an operator that is written out when it runs: what its regions capture
	loop    int          // of a loop: among those of the function
	extra   int          // of a call: the first tensor of results that nobody asked for, and of temps
	into    []*share     // where results, and behind them temporaries, are placed; nil entry: nowhere
	temps   []*ir.Buffer // of a call that places temporaries
	work    []*share     // of a call: workspace of each stage
	last    []*group     // that nothing is in use of afterwards
	results []*place     // nil entry: nobody asked for it
	regions []*block
	owns    []bool                           // of one with regions: results that are memory of their own
	program *ir.Program                      // of a call of a program or kernel
	kernel  string                           // of the target; "": stage by stage
	bind    []dim                            // of such a call
	shapes  [][]dim                          // of such a call: shapes of the program's results and of temps, over its symbols
	shape   []dim                            // of a view
	once    bool                             // of an operator that fills its results, of constants alone
	kept    atomic.Pointer[[]*tensor.Tensor] // what it filled, where that is small
}

// dim is a symbolic integer made ready: a number, a symbol, or code.
type dim struct {
	expr   sym.Expr
	number int64
	symbol int // -1: it is none
	code   *sym.Code
	needs  []int // the symbols of code
}

// rule is something known of symbols: a <= b, or a = b. It is checked when the last of
// its symbols gets a value.
type rule struct {
	a, b  dim
	equal bool
}

// compile makes a function of a module ready.
func compile(m *ir.Module, f *ir.Func, dev Device, budget int64) (*code, error) {
	c := &code{f: f, target: dev.Target().Name, known: m.Syms, landing: map[int]landing{}, slots: map[string]int{}, numbers: map[*ir.Value]int{}, visible: map[int]bool{}, plan: newPlanner(m.Syms, f, dev, budget)}
	c.body = c.block(&f.Block)
	c.land(&f.Block, nil, 0)
	c.know(m.Syms)
	if c.err == nil {
		c.groups = c.plan.finish()
		c.shares = c.plan.shares
	}
	c.numbers, c.visible, c.fresh, c.plan = nil, nil, nil, nil
	return c, c.err
}

// slot numbers a symbol; it is visible from here on.
func (c *code) slot(name string) int {
	i, ok := c.slots[name]
	if !ok {
		i = len(c.symbols)
		c.slots[name] = i
		c.symbols = append(c.symbols, name)
	}
	if !c.visible[i] {
		c.visible[i] = true
		c.fresh = append(c.fresh, i)
		c.plan.told[i] = len(c.plan.moments) - 1
	}
	return i
}

func makeDim(e sym.Expr, slot func(string) int) dim {
	d := dim{expr: e, symbol: -1}
	if n, ok := e.Int(); ok {
		d.number = n
	} else if s, ok := e.Symbol(); ok {
		d.symbol = slot(s)
	} else {
		d.code = e.Compile(slot)
		for _, s := range e.Symbols() {
			d.needs = append(d.needs, slot(s))
		}
	}
	return d
}

func makeDims(list []sym.Expr, slot func(string) int) []dim {
	out := make([]dim, len(list))
	for i, e := range list {
		out[i] = makeDim(e, slot)
	}
	return out
}

func (c *code) place(v *ir.Value) *place {
	if v == nil {
		return nil
	}
	p := &place{v: v, n: c.values}
	c.numbers[v] = p.n
	c.values++
	if t, ok := v.Type.(ir.TensorType); ok {
		p.typ, p.dims = t, makeDims(t.Dims, c.slot)
	} else {
		ir.EachDim(v.Type, func(e sym.Expr) { makeDim(e, c.slot) })
	}
	return p
}

func (c *code) operand(v *ir.Value) operand {
	if v == nil || v.Const != nil {
		return operand{v, -1}
	}
	n, ok := c.numbers[v]
	if !ok && c.err == nil {
		c.err = diag.New(diag.Run, "in @%s: %%%s is used where it is not visible", c.f.Name, v.Name)
	}
	return operand{v, n}
}

func (c *code) operands(list []*ir.Value) []operand {
	out := make([]operand, len(list))
	for i, v := range list {
		out[i] = c.operand(v)
	}
	return out
}

func (c *code) block(b *ir.Block) *block {
	out := &block{n: c.blocks}
	c.blocks++
	c.plan.moments = append(c.plan.moments, out)
	for _, p := range b.Params {
		out.params = append(out.params, c.place(p))
	}
	for _, s := range b.Stmts {
		t := c.stmt(s)
		out.stmts = append(out.stmts, t)
		c.plan.moments = append(c.plan.moments, out)
		for _, r := range s.Results {
			t.results = append(t.results, c.place(r))
		}
	}
	out.results = c.operands(b.Results)
	return out
}

// region compiles a block whose symbols are its own, those aside that are visible before.
func (c *code) region(b *ir.Block) *block {
	fresh := c.fresh
	c.fresh = nil
	out := c.block(b)
	out.local = c.fresh
	for _, i := range c.fresh {
		delete(c.visible, i)
	}
	c.fresh = fresh
	return out
}

func (c *code) stmt(s *ir.Stmt) *stmt {
	out := &stmt{Stmt: s, args: c.operands(s.Args), into: c.plan.place(s), bind: makeDims(s.Bind, c.slot)}
	if len(s.Regions) > 0 {
		out.owns = s.Owns()
	}
	for _, r := range s.Regions {
		out.regions = append(out.regions, c.region(r))
		if s.Op.Control == ir.Branches {
			c.land(r, out, 0)
		} else if s.Op.Control == ir.Repeats {
			c.land(r, out, 1)
		}
	}
	if len(s.Regions) > 0 && s.Op != nil && s.Op.Expand != nil {
		out.around = c.operands(s.Captured())
	}
	switch callee := s.Callee.(type) {
	case *ir.Program:
		out.program = callee
	case *ir.Kernel:
		out.program, out.kernel = callee.Program, target.KernelOf(c.target, callee.Name)
	}
	out.extra = c.extra
	c.extra += len(s.Results)
	if s.Op != nil && s.Op.Name == "onnx.Loop" {
		out.loop = c.loops
		c.loops++
		c.extra += 2 * len(s.Regions[0].Results)
	}
	if p := out.program; p != nil {
		c.extra += len(p.Temps())
		out.work = c.plan.workspace(s, out.kernel, p, out.bind)
		if len(out.into) > len(s.Results) {
			out.temps = p.Temps()
		}
		for _, b := range slices.Concat(p.Results, out.temps) {
			out.shapes = append(out.shapes, makeDims(b.Dims, func(name string) int {
				i := slices.Index(p.Syms, name)
				if i < 0 && c.err == nil {
					c.err = diag.New(diag.Run, "program @%s does not declare its symbol %q", p.Name, name)
				}
				return i
			}))
		}
	}
	if s.Op != nil {
		out.once = s.Op.Fill != nil && s.Effect() == ir.Pure && !slices.ContainsFunc(s.Args, func(v *ir.Value) bool { return v != nil && v.Const == nil })
		switch s.Op.Name {
		case ir.ViewName:
			if t, ok := s.Attrs.Get("type").(ir.TensorType); ok {
				out.shape = makeDims(t.Dims, c.slot)
			}
		case ir.AllocName:
			text, _ := s.Attrs.Get("bytes").(string)
			e, err := sym.Parse(text)
			if err != nil && c.err == nil {
				c.err = diag.New(diag.Run, "the size of a storage, %q: %v", text, err)
			}
			c.plan.storage(s.Results[0], makeDim(e, c.slot))
		}
	}
	return out
}

// landing is where the memory of a value becomes that of a result: of the statement that has the
// region which computes it, or, where s is nil, of the function.
type landing struct {
	s      *stmt
	result int
}

// land finds the values of a block whose memory is that of a result: computed where that is to be,
// they are there without a copy. Result i of the block is result i-skip of its statement.
func (c *code) land(b *ir.Block, s *stmt, skip int) {
	for i, v := range ir.Landing(b) {
		if i < skip || v == nil || s != nil && (i-skip >= len(s.Results) || s.Results[i-skip] == nil || !s.owns[i-skip]) {
			continue
		}
		c.landing[c.numbers[v]] = landing{s, i - skip}
	}
}

// know makes rules of what is known of the function's symbols.
func (c *code) know(ctx *sym.Context) {
	c.rulesOf = make([][]int, len(c.symbols))
	add := func(a, b sym.Expr, equal bool) {
		var of []int
		for _, e := range []sym.Expr{a, b} {
			for _, s := range e.Symbols() {
				i, ok := c.slots[s]
				if !ok {
					return // of another function
				}
				of = append(of, i)
			}
		}
		slices.Sort(of)
		for _, i := range slices.Compact(of) {
			c.rulesOf[i] = append(c.rulesOf[i], len(c.rules))
		}
		slot := func(s string) int { return c.slots[s] }
		c.rules = append(c.rules, rule{makeDim(a, slot), makeDim(b, slot), equal})
	}
	for _, name := range c.symbols {
		s := sym.Var(name)
		lo, hi := ctx.Range(name)
		if lo > 0 {
			add(sym.Const(lo), s, false)
		}
		if hi != sym.Inf {
			add(s, sym.Const(hi), false)
		}
		if k := ctx.Multiple(name); k > 1 {
			add(s.Mod(sym.Const(k)), sym.Const(0), true)
		}
	}
	for _, eq := range ctx.Equalities() {
		add(eq[0], eq[1], true)
	}
	for _, le := range ctx.LEs() {
		add(le[0], le[1], false)
	}
}
