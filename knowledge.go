package pitopt

import (
	"sort"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/passes"
)

// applyKnowledge tells a module what the pipeline file knows: bounds of symbols and
// types of values.
func applyKnowledge(m *ir.Module, f *passes.File) error {
	symbols := map[string]bool{}
	for _, p := range m.Main().Params {
		ir.EachDim(p.Type, func(e sym.Expr) {
			for _, s := range e.Symbols() {
				symbols[s] = true
			}
		})
	}
	names := make([]string, 0, len(f.Dims))
	for name := range f.Dims {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		d := f.Dims[name]
		if !symbols[name] {
			var have []string
			for s := range symbols {
				have = append(have, s)
			}
			sort.Strings(have)
			return diag.New(diag.Pipeline, "[dims] speaks of %q, which is no symbol of the model's inputs", name).In(f.Name).Hint("%s", diag.DidYouMean(name, have))
		}
		if err := m.Syms.SetRange(name, d.Min, d.Max); err != nil {
			return diag.New(diag.Pipeline, "%v", err).In(f.Name)
		}
		if err := m.Syms.SetMultiple(name, d.Multiple); err != nil {
			return diag.New(diag.Pipeline, "%v", err).In(f.Name)
		}
	}
	if err := checkStates(m, f); err != nil {
		return err
	}
	for _, x := range f.Match {
		if err := insertMatch(m, x); err != nil {
			return diag.As(err, diag.Pipeline).In(x.Where)
		}
	}
	return nil
}

// insertMatch puts a match_cast behind the definition of a value; every later use sees
// the cast.
func insertMatch(m *ir.Module, x passes.Match) error {
	t, err := ir.ParseType(x.Type)
	if err != nil {
		return diag.New(diag.Pipeline, "type %q: %v", x.Type, err).Hint(`write it as "[batch, seq, 768] f32"`)
	}
	f := m.Main()
	var names []string
	for i, s := range f.Stmts {
		for _, v := range s.Results {
			if v == nil {
				continue
			}
			names = append(names, v.Name)
			if v.Name == x.Value {
				cast := matchCast(v, t)
				f.Stmts = append(f.Stmts[:i+1:i+1], append([]*ir.Stmt{cast}, f.Stmts[i+1:]...)...)
				f.ReplaceUses(i+2, v, cast.Results[0])
				return nil
			}
		}
	}
	for _, p := range f.Params {
		names = append(names, p.Name)
		if p.Name == x.Value {
			cast := matchCast(p, t)
			f.Stmts = append([]*ir.Stmt{cast}, f.Stmts...)
			f.ReplaceUses(1, p, cast.Results[0])
			return nil
		}
	}
	return diag.New(diag.Pipeline, "there is no value %q", x.Value).Hint("%s", diag.DidYouMean(x.Value, names))
}

func matchCast(v *ir.Value, t ir.Type) *ir.Stmt {
	r := &ir.Value{Type: t}
	s := &ir.Stmt{Kind: ir.CastStmt, Args: []*ir.Value{v}, Results: []*ir.Value{r}, Node: v.Name}
	r.Def = s
	return s
}
