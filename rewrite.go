package pitopt

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
)

// addRules reads the files that [[rewrite]] names, and gives what they say to the pass that
// rewrites.
func addRules(steps []pass.Step, f *passes.File, plugins Plugins) error {
	if len(f.Rewrite) == 0 {
		return nil
	}
	operators := ir.NewModule("")
	bring(operators, plugins)
	var texts []string
	for _, r := range f.Rewrite {
		path := f.RewritePath(r)
		src, err := os.ReadFile(path)
		if err != nil {
			var pe *fs.PathError
			if errors.As(err, &pe) {
				err = pe.Err // the path is there already
			}
			return diag.New(diag.Pipeline, "cannot read the rules in %s: %v", path, err).In(r.Where).Hint("check the path")
		}
		if err := builtin.CheckRules(path, src, operators.Lookup); err != nil {
			return err
		}
		texts = append(texts, string(src))
	}
	found := false
	for i, s := range steps {
		if s.Pass != builtin.Raise {
			continue
		}
		options := maps.Clone(s.Options)
		if options == nil {
			options = map[string]any{}
		}
		given, _ := options["rules"].([]string)
		options["rules"] = slices.Concat(given, texts)
		steps[i].Options, found = options, true
	}
	if !found {
		return diag.New(diag.Pipeline, "[[rewrite]] in a pipeline without the pass %q", builtin.Raise.Name).In(f.Rewrite[0].Where).
			Hint("add [[pass]] name = %q", builtin.Raise.Name)
	}
	return nil
}

// bring makes the operators of plugins known to a module that may not have them: rules put
// them in.
func bring(m *ir.Module, plugins Plugins) {
	for _, d := range plugins.ops() {
		if m.Ops == nil {
			m.Ops = map[string]*ir.OpDef{}
		}
		m.Ops[d.Name] = d
	}
}
