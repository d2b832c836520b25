package pitopt

import (
	"slices"
	"sort"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/passes"
)

// applyKnowledge tells a module what the pipeline file knows: bounds of symbols and
// types of values.
func applyKnowledge(m *ir.Module, f *passes.File) error {
	var inputs []string // symbols
	for _, p := range m.Main().Params {
		ir.EachDim(p.Type, func(e sym.Expr) { inputs = append(inputs, e.Symbols()...) })
	}
	slices.Sort(inputs)
	inputs = slices.Compact(inputs)
	names := make([]string, 0, len(f.Dims))
	for name := range f.Dims {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		d := f.Dims[name]
		if !slices.Contains(inputs, name) {
			return diag.New(diag.Pipeline, "[dims] speaks of %q, which is no symbol of the model's inputs", name).In(f.Name).Hint("%s", diag.DidYouMean(name, inputs))
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
	if err := checkMasks(m, f); err != nil {
		return err
	}
	for _, x := range f.Match {
		if err := insertMatch(m, x, inputs); err != nil {
			return diag.As(err, diag.Pipeline).In(x.Where)
		}
	}
	return nil
}

// checkMasks checks that what [inputs] calls a mask is an input with a row for each sequence.
func checkMasks(m *ir.Module, f *passes.File) error {
	names := make([]string, len(m.Main().Params))
	for i, p := range m.Main().Params {
		names[i] = p.Name
	}
	for name, in := range f.Inputs {
		i := slices.Index(names, name)
		if i < 0 {
			return diag.New(diag.Pipeline, "[inputs] speaks of %q, which is no input of the model", name).In(in.Where).Hint("%s", diag.DidYouMean(name, names))
		}
		t, ok := m.Main().Params[i].Tensor()
		if in.Padding && (!ok || !t.Unranked && len(t.Dims) != 2) {
			return diag.New(diag.Pipeline, "input %q is %s, and no mask of the tokens of a batch", name, m.Main().Params[i].Type).In(in.Where).
				Hint("a mask with padding is [batch, seq]")
		}
	}
	return nil
}

// insertMatch puts a match_cast behind the definition of a value, wherever that is; every
// later use sees the cast. What it says of a value that every run computes holds of the
// symbols everywhere.
func insertMatch(m *ir.Module, x passes.Match, inputs []string) error {
	t, err := ir.ParseType(x.Type)
	if err != nil {
		return diag.New(diag.Pipeline, "type %q: %v", x.Type, err).Hint(`write it as "[batch, seq, 768] f32"`)
	}
	at := &matching{value: x.Value, t: t}
	for _, f := range m.Funcs {
		if !at.block(&f.Block) {
			continue
		}
		if f != m.Main() || at.depth > 1 {
			return nil
		}
		return assertDims(m, at.found, t, inputs)
	}
	return diag.New(diag.Pipeline, "there is no value %q", x.Value).Hint("%s", diag.DidYouMean(x.Value, at.names))
}

// matching looks for a value by name.
type matching struct {
	value string
	t     ir.Type
	names []string  // that were seen
	depth int       // of the block where it was found, 1 for that of a function
	found *ir.Value // nil: not yet
}

// block casts the value in a block, or in a region of its statements, and says whether it
// is there.
func (x *matching) block(b *ir.Block) bool {
	x.depth++
	for _, p := range b.Params {
		if x.is(p) {
			x.cast(b, 0, p)
			return true
		}
	}
	for i, s := range b.Stmts {
		for _, v := range s.Results {
			if v != nil && x.is(v) {
				x.cast(b, i+1, v)
				return true
			}
		}
		for _, r := range s.Regions {
			if r != nil && x.block(r) {
				return true
			}
		}
	}
	x.depth--
	return false
}

func (x *matching) is(v *ir.Value) bool {
	if v.Name != "" {
		x.names = append(x.names, v.Name)
	}
	return v.Name != "" && v.Name == x.value
}

// cast puts the cast in front of statement i.
func (x *matching) cast(b *ir.Block, i int, v *ir.Value) {
	r := &ir.Value{Type: x.t}
	s := &ir.Stmt{Kind: ir.CastStmt, Args: []*ir.Value{v}, Results: []*ir.Value{r}, Node: v.Name}
	r.Def = s
	b.Stmts = slices.Insert(b.Stmts, i, s)
	b.ReplaceUses(i+1, v, r)
	x.found = v
}

// assertDims lets the dims of a value be those that a type says; inputs are the symbols of
// the model's inputs.
func assertDims(m *ir.Module, v *ir.Value, t ir.TensorType, inputs []string) error {
	is, ok := v.Tensor()
	if !ok || is.Unranked || t.Unranked || len(is.Dims) != len(t.Dims) {
		return nil // the cast tells
	}
	for i, d := range is.Dims {
		if name, bare := d.Symbol(); bare && !slices.Contains(inputs, name) {
			continue // the value tells that symbol, and what reads the value sees the cast
		}
		if err := m.Syms.AssumeEqual(d, t.Dims[i]); err != nil {
			return diag.New(diag.Pipeline, "value %q is %s: dim %d can not be %s: %v", v.Name, is, i, t.Dims[i], err)
		}
	}
	return nil
}
