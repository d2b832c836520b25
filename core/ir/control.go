package ir

import (
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
// and never changes holds what it starts as.
func (d *Deducer) Region(s *Stmt, i int, f func()) {
	if s.Kind == OpStmt && s.Op.Control == Repeats {
		d.Scope(func() { d.carry(s, s.Regions[0]); f() })
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

// carry finds out which of the values that a loop carries hold the same integers in every
// iteration: all that start known are taken to, until the body gives back something else.
func (d *Deducer) carry(s *Stmt, body *Block) {
	var held []int
	for i := range carried(s, body) {
		if k, ok := d.Known(s.Args[2+i]); ok {
			d.known[body.Params[2+i]] = k
			held = append(held, i)
		}
	}
	for len(held) > 0 {
		trial := &Deducer{M: d.M, known: map[*Value][]sym.Expr{}, grids: map[*Value]*Grid{}, outer: d, scope: d.scope.clone()}
		trial.scope.Params(body.Params)
		trial.contents(body)
		var still []int
		for _, i := range held {
			if k, ok := trial.Known(body.Results[1+i]); ok && sameList(d.M.Syms, k, d.known[body.Params[2+i]]) {
				still = append(still, i)
			} else {
				delete(d.known, body.Params[2+i])
			}
		}
		if len(still) == len(held) {
			return
		}
		held = still
	}
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
			body := s.Regions[0]
			if i < carried(s, body) {
				if list, ok = d.known[body.Params[2+i]]; ok { // it is what every iteration starts with
					k, known := d.Known(body.Results[1+i])
					ok = known && sameList(d.M.Syms, k, list)
				}
			}
		}
		if ok && d.visible(list) {
			d.known[v] = list
		}
	}
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

func (d *Deducer) visible(list []sym.Expr) bool {
	for _, e := range list {
		if d.scope.Missing(e) != "" {
			return false
		}
	}
	return true
}
