package ir

import (
	"slices"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Control says how an operator with regions runs them.
type Control uint8

// The kinds of control.
const (
	NoControl Control = iota // in some way of its own
	Branches                 // operand 0 tells which one: the first where it is true, else the second
	Repeats                  // the only one, again and again: operand i starts as parameter i and goes on as result i-1, from operand 2 on
)

// Region runs f, which walks over region i of a statement: what becomes visible inside is
// not visible after it. In a branch the condition holds, or does not; what a loop carries
// holds what it starts as, where it never changes or by the same amount in each iteration.
func (d *Deducer) Region(s *Stmt, i int, f func()) {
	if s.Kind == OpStmt && s.Op.Control == Repeats {
		d.loop(s, f)
		return
	}
	cond, ok := d.condition(s)
	if !ok {
		d.Scope(f)
		return
	}
	outer := d.M.Syms
	branch := outer.Branch(func(ctx *sym.Context) { assume(ctx, cond, i == 0) })
	d.M.Syms = branch.Context
	d.Scope(f)
	branch.End()
	d.M.Syms = outer
}

// condition is what decides between the branches of a statement, as an expression over
// symbols.
func (d *Deducer) condition(s *Stmt) (*Scalar, bool) {
	if s.Kind != OpStmt || s.Op.Control != Branches || s.Args[0] == nil || s.Args[0].Const != nil {
		return nil, false
	}
	g, ok := d.Grid(s.Args[0])
	if !ok || len(g.uses()) > 0 {
		return nil, false
	}
	return g.Expr, true
}

// assume tells a context that a condition holds, or that it does not. What contradicts is
// left out: nothing runs there.
func assume(ctx *sym.Context, x *Scalar, holds bool) {
	f := &folder{ctx: ctx, stage: &Stage{}, value: map[*Scalar]sym.Expr{}}
	switch {
	case x.Op == OpNot:
		assume(ctx, x.Args[0], !holds)
	case x.DType == tensor.Bool && (x.Op == OpAnd && holds || x.Op == OpOr && !holds):
		assume(ctx, x.Args[0], holds)
		assume(ctx, x.Args[1], holds)
	case x.Op == OpCast && x.DType == tensor.Bool && x.Args[0].DType == tensor.Bool:
		assume(ctx, x.Args[0], holds)
	case x.Op == OpCast && x.DType == tensor.Bool && x.Args[0].DType.IsInt():
		if a, ok := f.symbolic(x.Args[0]); ok {
			compared(ctx, OpNe, a, sym.Expr{}, holds)
		}
	case x.Op.Compares() && x.Args[0].DType.IsInt():
		a, ok1 := f.symbolic(x.Args[0])
		b, ok2 := f.symbolic(x.Args[1])
		if ok1 && ok2 {
			compared(ctx, x.Op, a, b, holds)
		}
	}
}

// Equality gives two integers that are equal if, and only if, branch i of a statement is
// taken, where its condition says that.
func (d *Deducer) Equality(s *Stmt, i int) (a, b sym.Expr, ok bool) {
	x, ok := d.condition(s)
	if !ok {
		return a, b, false
	}
	holds := i == 0
	for x.Op == OpNot || x.Op == OpCast && x.Args[0].DType == tensor.Bool {
		holds = holds != (x.Op == OpNot)
		x = x.Args[0]
	}
	if x.Op != OpEq && x.Op != OpNe || (x.Op == OpEq) != holds || !x.Args[0].DType.IsInt() {
		return a, b, false
	}
	f := &folder{ctx: d.M.Syms, stage: &Stage{}, value: map[*Scalar]sym.Expr{}}
	a, ok1 := f.symbolic(x.Args[0])
	b, ok2 := f.symbolic(x.Args[1])
	return a, b, ok1 && ok2
}

// compared tells a context what a comparison of integers gave.
func compared(ctx *sym.Context, op ScalarOp, a, b sym.Expr, holds bool) {
	if !holds {
		op = map[ScalarOp]ScalarOp{OpEq: OpNe, OpNe: OpEq, OpLt: OpGe, OpGe: OpLt, OpLe: OpGt, OpGt: OpLe}[op]
	}
	one := sym.Const(1)
	switch op {
	case OpEq:
		_ = ctx.AssumeEqual(a, b)
	case OpNe: // says something where one is at most the other
		switch {
		case ctx.LE(a, b) == sym.True:
			_ = ctx.AssumeLE(a.Add(one), b)
		case ctx.LE(b, a) == sym.True:
			_ = ctx.AssumeLE(b.Add(one), a)
		}
	case OpLt:
		_ = ctx.AssumeLE(a.Add(one), b)
	case OpLe:
		_ = ctx.AssumeLE(a, b)
	case OpGt:
		_ = ctx.AssumeLE(b.Add(one), a)
	case OpGe:
		_ = ctx.AssumeLE(b, a)
	}
}

// carried is how many values a loop carries from one iteration to the next.
func carried(s *Stmt, body *Block) int {
	return max(min(len(s.Args)-2, len(body.Params)-2, len(body.Results)-1), 0)
}

// loop runs f inside of a loop: the number of the iteration is from 0 on, and less than the
// trip count.
func (d *Deducer) loop(s *Stmt, f func()) {
	body, name, outer := s.Regions[0], iteration(len(d.iterations)), d.M.Syms
	most, _ := d.Call(s).Trips(body)
	branch := outer.Within(name, most)
	d.M.Syms = branch.Context
	d.iterations = append(d.iterations, most)
	d.Scope(func() {
		d.known[body.Params[0]] = []sym.Expr{sym.Var(name)}
		d.carry(s, body, name)
		f()
	})
	d.iterations = d.iterations[:len(d.iterations)-1]
	branch.End()
	d.M.Syms = outer
}

// progression is a list of integers that starts as one, and that changes in each iteration
// by another one; nil: it does not change.
type progression struct{ start, step []sym.Expr }

// at is the list at the start of an iteration.
func (p *progression) at(n sym.Expr) []sym.Expr {
	if p.step == nil {
		return p.start
	}
	out := make([]sym.Expr, len(p.start))
	for i, e := range p.start {
		out[i] = e.Add(p.step[i].Mul(n))
	}
	return out
}

// carry finds out which of the values that a loop carries hold the same integers in every
// iteration, and which ones a multiple of the iteration's number more. All that start known
// are taken to be the same, until the body gives back something else; then to change by
// what they have changed by; and then to be unknown.
func (d *Deducer) carry(s *Stmt, body *Block, iteration string) {
	held := map[int]*progression{}
	for i := range carried(s, body) {
		if k, ok := d.Known(s.Args[2+i]); ok {
			held[i] = &progression{start: k}
		}
	}
	now := sym.Var(iteration)
	for stable := false; !stable && len(held) > 0; {
		for i, p := range held {
			d.known[body.Params[2+i]] = p.at(now)
		}
		trial := d.trial()
		trial.scope.Params(body.Params)
		trial.contents(body)
		stable = true
		for i, p := range held {
			k, ok := trial.Known(body.Results[1+i])
			if ok && sameList(d.M.Syms, k, p.at(now.Add(sym.Const(1)))) {
				continue
			}
			stable = false
			if step, changes := d.stepOf(p, k, iteration); ok && changes {
				p.step = step
				continue
			}
			delete(held, i)
			delete(d.known, body.Params[2+i])
		}
	}
}

// stepOf is what an iteration has changed a list by that did not change so far, where that
// is the same in each.
func (d *Deducer) stepOf(p *progression, next []sym.Expr, iteration string) ([]sym.Expr, bool) {
	const most = 1 << 31 // so that no number of iterations that runs overflows
	if p.step != nil || len(next) != len(p.start) {
		return nil, false
	}
	step := make([]sym.Expr, len(next))
	for i, e := range next {
		step[i] = d.M.Syms.Simplify(e.Sub(p.start[i]))
		if n, fixed := step[i].Int(); step[i].Err() != nil || fixed && max(n, -n) > most || step[i].Uses(iteration) {
			return nil, false
		}
		for _, s := range step[i].Symbols() {
			if !isLocal(s) && !d.Bound(s) {
				return nil, false
			}
		}
	}
	return step, true
}

// contents follows the contents of a block, whose statements have their types.
func (d *Deducer) contents(b *Block) {
	for _, s := range b.Stmts {
		for i, r := range s.Regions {
			if r != nil {
				d.Region(s, i, func() {
					d.Params(r.Params)
					d.contents(r)
				})
			}
		}
		d.Follow(s)
	}
}

func sameList(ctx *sym.Context, a, b []sym.Expr) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if ctx.Equal(a[i], b[i]) != sym.True {
			return false
		}
	}
	return true
}

// controlled finds out what the integer results of branches and loops hold: what every
// branch that may be taken gives, and what a loop starts as and never changes.
func (d *Deducer) controlled(s *Stmt) {
	for i, v := range s.Results {
		if v == nil || d.known[v] != nil {
			continue
		}
		var list []sym.Expr
		var ok bool
		switch s.Op.Control {
		case Branches:
			list, ok = d.ofBranches(s, i)
		case Repeats:
			list, ok = d.afterLoop(s, i)
		}
		if ok && d.visible(list) {
			d.known[v] = list
		}
	}
}

// afterLoop is what carried value i of a loop holds after the last iteration: what an
// iteration would start with that has the number of iterations for its own.
func (d *Deducer) afterLoop(s *Stmt, i int) ([]sym.Expr, bool) {
	body, name := s.Regions[0], iteration(len(d.iterations))
	if i >= carried(s, body) {
		return nil, false
	}
	list, ok1 := d.known[body.Params[2+i]]
	next, ok2 := d.Known(body.Results[1+i])
	at := func(n sym.Expr) []sym.Expr {
		out := make([]sym.Expr, len(list))
		for j, e := range list {
			out[j] = e.Subst(func(s string) (sym.Expr, bool) { return n, s == name })
		}
		return out
	}
	if !ok1 || !ok2 || !sameList(d.M.Syms, next, at(sym.Var(name).Add(sym.Const(1)))) {
		return nil, false
	}
	if !slices.ContainsFunc(list, func(e sym.Expr) bool { return e.Uses(name) }) {
		return list, true
	}
	n, ok := d.numberOf(s, body)
	return at(n), ok
}

// numberOf is how many iterations a loop has had, where something tells.
func (d *Deducer) numberOf(s *Stmt, body *Block) (n sym.Expr, ok bool) {
	if most, exact := d.Call(s).Trips(body); exact {
		return *most, true
	}
	for _, r := range s.Results[min(carried(s, body), len(s.Results)):] {
		if r == nil {
			continue
		}
		if t, _ := r.Tensor(); len(t.Dims) > 0 { // a slice for each
			return t.Dims[0], true
		}
	}
	return n, false
}

// ofBranches is what result i holds whichever branch is taken.
func (d *Deducer) ofBranches(s *Stmt, i int) ([]sym.Expr, bool) {
	var list []sym.Expr
	taken, decided := d.Taken(s)
	for j, r := range s.Regions {
		if r == nil || i >= len(r.Results) {
			return nil, false
		}
		if decided && j != taken {
			continue
		}
		k, ok := d.Known(r.Results[i])
		if !ok || list != nil && !sameList(d.M.Syms, list, k) {
			return nil, false
		}
		list = k
	}
	return list, list != nil
}

// Taken is the branch that a statement always takes, where that is known.
func (d *Deducer) Taken(s *Stmt) (int, bool) {
	if s.Kind != OpStmt || s.Op.Control != Branches {
		return 0, false
	}
	k, ok := d.Known(s.Args[0])
	if !ok || len(k) != 1 {
		return 0, false
	}
	n, ok := k[0].Int()
	if n == 0 {
		return 1, ok
	}
	return 0, ok
}

// visible says whether a list says something here: its symbols have values, or are those of
// iterations around.
func (d *Deducer) visible(list []sym.Expr) bool {
	for _, e := range list {
		for _, s := range e.Symbols() {
			if !isLocal(s) && !d.Bound(s) {
				return false
			}
		}
	}
	return true
}
