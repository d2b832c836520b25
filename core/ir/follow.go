package ir

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
)

// Fails says whether what stands behind a statement with branches is proved to fail where
// branch i is taken: rest are the statements behind it in its block, results what the block
// gives. value tells what took the place of a value in them.
func (d *Deducer) Fails(s *Stmt, i int, rest []*Stmt, results []*Value, value func(*Value) *Value) bool {
	outer := d.M.Syms
	cond, ok := d.condition(s)
	branch := outer.Branch(func(ctx *sym.Context) {
		if ok {
			assume(ctx, cond, i == 0)
		}
	})
	d.M.Syms = branch.Context
	defer func() { d.M.Syms = outer }()
	t := &future{Deducer: d.trial(), value: value, now: map[*Value]*Value{}}
	t.contents(s.Regions[i])
	for j, v := range s.Results {
		if v != nil {
			t.now[v] = s.Regions[i].Results[j]
		}
	}
	return t.fails(needed(rest, results))
}

// trial is a deducer that goes on from here, and is thrown away.
func (d *Deducer) trial() *Deducer {
	return &Deducer{M: d.M, known: map[*Value][]sym.Expr{}, grids: map[*Value]*Grid{}, outer: d, scope: d.scope.clone(), iterations: d.iterations, regions: d.regions}
}

// needed leaves out statements that nothing needs: they would not run.
func needed(list []*Stmt, results []*Value) []*Stmt {
	read := map[*Value]bool{}
	for _, v := range results {
		read[v] = true
	}
	var out []*Stmt
	for _, s := range slices.Backward(list) {
		if s.Effect() == Pure && !slices.ContainsFunc(s.Results, func(v *Value) bool { return v != nil && read[v] }) {
			continue
		}
		for _, v := range slices.Concat(s.Args, s.Captured()) {
			read[v] = true
		}
		out = append(out, s)
	}
	slices.Reverse(out)
	return out
}

// future deduces statements for operands that say more than those in the module.
type future struct {
	*Deducer
	value func(*Value) *Value
	now   map[*Value]*Value // what stands for values
}

func (t *future) at(v *Value) *Value {
	if v = t.value(v); v == nil {
		return nil
	}
	if n, ok := t.now[v]; ok {
		return n
	}
	return v
}

// fails says whether one of the statements is proved to.
func (t *future) fails(list []*Stmt) bool {
	for _, s := range list {
		n := *s
		n.Args, n.Results = make([]*Value, len(s.Args)), make([]*Value, len(s.Results))
		changed := false
		for i, a := range s.Args {
			n.Args[i] = t.at(a)
			changed = changed || n.Args[i] != a
		}
		if i, ok := t.Taken(&n); ok {
			if t.fails(s.Regions[i].Stmts) {
				return true
			}
			for j, v := range s.Results {
				if v != nil {
					t.now[v] = t.at(s.Regions[i].Results[j])
				}
			}
			continue
		}
		types := make([]Type, len(s.Results))
		if changed && s.Kind == OpStmt && len(s.Regions) == 0 {
			var err error
			if types, err = t.infer(&n, false, false); err != nil {
				return diag.CodeOf(err) == diag.Malformed
			}
		}
		for i, v := range s.Results {
			if v == nil {
				continue
			}
			n.Results[i] = &Value{Type: v.Type, Def: &n, Index: i}
			if tt, ok := types[i].(TensorType); ok && !tt.Unranked {
				n.Results[i].Type = tt
			}
			t.now[v] = n.Results[i]
		}
		if len(s.Regions) > 0 {
			t.scope.Results(n.Results)
			continue
		}
		t.Follow(&n)
	}
	return false
}
