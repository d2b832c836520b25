// Package pass says what a pass is, keeps the registry of passes with their order
// constraints, and runs a list of them over a module with verification, timing,
// dumps and comparison.
package pass

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/target"
)

// Pass is a transformation of a module. It is a value; nothing in it knows of files,
// timing, dumps or plugins.
type Pass struct {
	Name    string // lower-case words joined by "-"; a plugin's pass is "plugin/name"
	Doc     string // first line: what it does; then an example and why it stands where it stands
	Options []Option
	After   []Order // passes that must stand before it where both are in a pipeline
	Before  []Order
	// Lowers says that the pass leaves the level of graph operators: what it makes of
	// them, tensor programs, kernels or steps of a machine, ONNX has no words for.
	Lowers bool
	Run    func(*Context, *ir.Module) error
}

// Order is an order constraint with its reason, which an error about it quotes.
type Order struct{ Pass, Reason string }

// Because makes an order constraint.
func Because(pass, reason string) Order { return Order{pass, reason} }

// Kind is the kind of value that an option takes.
type Kind string

// The kinds of options and the Go type that Context.Option gives for them.
const (
	Bool     Kind = "bool"     // bool
	Int      Kind = "int"      // int64
	Float    Kind = "float"    // float64
	String   Kind = "string"   // string
	Size     Kind = "size"     // int64 bytes, written "64MiB"
	Duration Kind = "duration" // time.Duration, written "30s"
	Enum     Kind = "enum"     // string, one of Values
	Strings  Kind = "strings"  // []string
)

// Option is an option of a pass.
type Option struct {
	Name    string
	Kind    Kind
	Doc     string
	Default any
	Values  []string // of an Enum
}

// Context is what a running pass gets beside the module.
type Context struct {
	context.Context
	Target  *target.Target
	Options map[string]any // complete: defaults filled in
	Note    func(format string, args ...any)
}

// Option gives the value of an option; the pass table guarantees its type.
func Get[T any](c *Context, name string) T {
	v, _ := c.Options[name].(T)
	return v
}

// Registry is a set of passes with a table order that keeps every constraint.
type Registry struct{ passes []*Pass }

// NewRegistry checks the passes: names, docs, and that the constraints among them
// have no circle.
func NewRegistry(passes ...*Pass) (*Registry, error) {
	r := &Registry{}
	for _, p := range passes {
		if err := r.Add(p); err != nil {
			return nil, err
		}
	}
	return r, r.checkCircles()
}

// Add puts one more pass in.
func (r *Registry) Add(p *Pass) error {
	switch {
	case !validName(p.Name):
		return fmt.Errorf("pass name %q: lower-case words joined by \"-\", at most one \"/\"", p.Name)
	case p.Doc == "" || p.Run == nil:
		return fmt.Errorf("pass %s lacks doc or function", p.Name)
	case r.Lookup(p.Name) != nil:
		return fmt.Errorf("pass %s is there twice", p.Name)
	}
	for _, list := range [][]Order{p.After, p.Before} {
		for _, o := range list {
			if o.Reason == "" {
				return fmt.Errorf("pass %s: its constraint on %s has no reason", p.Name, o.Pass)
			}
		}
	}
	r.passes = append(r.passes, p)
	return nil
}

func validName(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts) > 2 {
		return false
	}
	for _, p := range parts {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || p[0] == '-' || p[len(p)-1] == '-' {
			return false
		}
	}
	return true
}

// Lookup finds a pass by name, nil when there is none.
func (r *Registry) Lookup(name string) *Pass {
	for _, p := range r.passes {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Passes gives all passes in the order they were added.
func (r *Registry) Passes() []*Pass { return slices.Clone(r.passes) }

// Names gives all names, sorted.
func (r *Registry) Names() []string {
	out := make([]string, len(r.passes))
	for i, p := range r.passes {
		out[i] = p.Name
	}
	sort.Strings(out)
	return out
}

func (r *Registry) checkCircles() error {
	state := map[string]int{}
	var visit func(p *Pass) error
	after := func(p *Pass) []string {
		var out []string
		for _, o := range p.After {
			out = append(out, o.Pass)
		}
		for _, q := range r.passes {
			for _, o := range q.Before {
				if o.Pass == p.Name {
					out = append(out, q.Name)
				}
			}
		}
		return out
	}
	visit = func(p *Pass) error {
		if state[p.Name] == 1 {
			return fmt.Errorf("the order constraints of pass %s go in a circle", p.Name)
		}
		if state[p.Name] == 2 {
			return nil
		}
		state[p.Name] = 1
		for _, name := range after(p) {
			if q := r.Lookup(name); q != nil {
				if err := visit(q); err != nil {
					return err
				}
			}
		}
		state[p.Name] = 2
		return nil
	}
	for _, p := range r.passes {
		if err := visit(p); err != nil {
			return err
		}
	}
	return nil
}

// Step is a pass in a pipeline, with its options.
type Step struct {
	Pass    *Pass
	Number  int // which of the steps of its pass it is; 0 and 1 are the first
	Options map[string]any
	Check   bool   // compare with the reference after this pass
	Where   string // place in the pipeline file, for messages
}

// Ref is how a pipeline refers to the step: "simplify", "simplify#2".
func (s Step) Ref() string {
	if s.Number <= 1 {
		return s.Pass.Name
	}
	return fmt.Sprintf("%s#%d", s.Pass.Name, s.Number)
}

// CheckOrder says whether a list of steps keeps every constraint. A pass may stand
// more than once; the first place of the one that goes first counts, so that a pass
// may run again later.
func CheckOrder(steps []Step) error {
	first := map[string]int{}
	for i, s := range steps {
		if _, ok := first[s.Pass.Name]; !ok {
			first[s.Pass.Name] = i
		}
	}
	for i, s := range steps {
		if first[s.Pass.Name] != i {
			continue
		}
		for _, o := range s.Pass.After {
			if j, ok := first[o.Pass]; ok && j > i {
				return orderError(s, o.Pass, "after", o.Reason)
			}
		}
		for _, o := range s.Pass.Before {
			if j, ok := first[o.Pass]; ok && j < i {
				return orderError(s, o.Pass, "before", o.Reason)
			}
		}
	}
	return nil
}

func orderError(s Step, other, how, reason string) error {
	return diag.New(diag.Pipeline, "pass %q must stand %s %q: %s", s.Pass.Name, how, other, reason).
		In(s.Where).Hint("move the entry, or leave one of the two out")
}
