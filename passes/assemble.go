package passes

import (
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/pass"
)

// Assemble turns the entries of a file into steps: every pass must be in the registry,
// its options must be its own, and the order must keep the constraints.
func (f *File) Assemble(r *pass.Registry) ([]pass.Step, error) {
	var steps []pass.Step
	for _, e := range f.Passes {
		p := r.Lookup(e.Name)
		if p == nil {
			err := diag.New(diag.Pipeline, "unknown pass %q", e.Name).In(e.Where)
			if plugin, _, ok := strings.Cut(e.Name, "/"); ok && !f.hasPlugin(plugin) {
				return nil, err.Hint("no [[plugin]] of this file is named %q", plugin)
			}
			return nil, err.Hint("%s", diag.DidYouMean(e.Name, r.Names()))
		}
		opts := map[string]any{}
		for name, v := range e.Options {
			i := slices.IndexFunc(p.Options, func(o pass.Option) bool { return o.Name == name })
			if i < 0 {
				var names []string
				for _, o := range p.Options {
					names = append(names, o.Name)
				}
				return nil, diag.New(diag.Pipeline, "pass %q has no option %q", e.Name, name).In(e.Where).
					Hint("%s", diag.DidYouMean(name, append(names, "after", "before", "remove", "check")))
			}
			x, err := convert(p.Options[i], v)
			if err != nil {
				return nil, diag.New(diag.Pipeline, "option %q of pass %q: %v", name, e.Name, err).In(e.Where)
			}
			opts[name] = x
		}
		steps = append(steps, pass.Step{Pass: p, Options: opts, Check: e.Check == "each", Where: e.Where})
	}
	return steps, pass.CheckOrder(steps)
}

func (f *File) hasPlugin(name string) bool {
	return slices.ContainsFunc(f.Plugins, func(p Plugin) bool { return p.Name == name })
}

// convert checks a TOML value against the kind of an option.
func convert(o pass.Option, v any) (any, error) {
	wrong := diag.New(diag.Pipeline, "it takes a %s, not %v", o.Kind, v)
	switch o.Kind {
	case pass.Bool:
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case pass.Int:
		if n, ok := v.(int64); ok {
			return n, nil
		}
	case pass.Float:
		switch n := v.(type) {
		case float64:
			return n, nil
		case int64:
			return float64(n), nil
		}
	case pass.String:
		if s, ok := v.(string); ok {
			return s, nil
		}
	case pass.Enum:
		if s, ok := v.(string); ok {
			if slices.Contains(o.Values, s) {
				return s, nil
			}
			return nil, diag.New(diag.Pipeline, "%q is none of its values", s).Hint("%s", diag.DidYouMean(s, o.Values))
		}
	case pass.Size:
		n, err := parseSize(v)
		if err == nil {
			return n, nil
		}
	case pass.Duration:
		if s, ok := v.(string); ok {
			if d, err := time.ParseDuration(s); err == nil && d >= 0 {
				return d, nil
			}
		}
	case pass.Strings:
		if list, ok := v.([]any); ok {
			out := make([]string, len(list))
			for i, x := range list {
				s, ok := x.(string)
				if !ok {
					return nil, wrong
				}
				out[i] = s
			}
			return out, nil
		}
	}
	return nil, wrong
}
