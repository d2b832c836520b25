// Package pass says what a pass is, keeps the registry of passes with their order
// constraints, and runs a list of them over a module with verification, timing,
// dumps and comparison.
package pass

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

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

// The kinds of options and the Go type that Get gives for them.
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

// Get gives the value of an option, whose type Registry.Add and whoever reads options see
// to; it is the zero value for an option that the pass does not have.
func Get[T any](c *Context, name string) T {
	v, _ := c.Options[name].(T)
	return v
}

// Registry is a set of passes with a table order that keeps every constraint.
type Registry struct{ passes []*Pass }

// NewRegistry is a registry of passes, each checked as Add does.
func NewRegistry(passes ...*Pass) (*Registry, error) {
	r := &Registry{}
	for _, p := range passes {
		if err := r.Add(p); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Add puts one more pass in. It refuses one whose name, doc, options or constraints are
// not in order, or whose constraints and those of the passes that are there go in a
// circle.
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
	for i, o := range p.Options {
		if err := o.check(); err != nil {
			return fmt.Errorf("pass %s: option %q %w", p.Name, o.Name, err)
		}
		if slices.ContainsFunc(p.Options[:i], func(x Option) bool { return x.Name == o.Name }) {
			return fmt.Errorf("pass %s: option %q is there twice", p.Name, o.Name)
		}
	}
	with := &Registry{append(r.passes[:len(r.passes):len(r.passes)], p)}
	if circle := with.circle(); circle != nil {
		return fmt.Errorf("order constraints go in a circle: %s", strings.Join(circle, " after "))
	}
	*r = *with
	return nil
}

// Keys are what a pipeline file says of any pass; no option has such a name.
var Keys = []string{"name", "remove", "after", "before", "check"}

// check says what is wrong with an option.
func (o Option) check() error {
	if !validName(o.Name) || strings.Contains(o.Name, "/") {
		return errors.New("has a name that is not lower-case words joined by \"-\"")
	}
	if slices.Contains(Keys, o.Name) {
		return errors.New("has a name that means something else in a pipeline file")
	}
	if o.Doc == "" {
		return errors.New("has no doc")
	}
	ok := false
	switch o.Kind {
	case Bool:
		_, ok = o.Default.(bool)
	case Int, Size:
		_, ok = o.Default.(int64)
	case Float:
		_, ok = o.Default.(float64)
	case String:
		_, ok = o.Default.(string)
	case Duration:
		_, ok = o.Default.(time.Duration)
	case Strings:
		_, ok = o.Default.([]string)
	case Enum:
		v, isText := o.Default.(string)
		ok = isText && slices.Contains(o.Values, v)
	default:
		return fmt.Errorf("is of a kind that there is not: %q", o.Kind)
	}
	if !ok {
		return fmt.Errorf("is of kind %q, its default is %#v", o.Kind, o.Default)
	}
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

// circle gives passes each of which must stand after the next one, the last being the
// first again; nil where there are none.
func (r *Registry) circle() []string {
	after := map[string][]string{}
	for _, p := range r.passes {
		for _, o := range p.After {
			after[p.Name] = append(after[p.Name], o.Pass)
		}
		for _, o := range p.Before {
			after[o.Pass] = append(after[o.Pass], p.Name)
		}
	}
	done := map[string]bool{}
	var path []string
	var visit func(name string) []string
	visit = func(name string) []string {
		if i := slices.Index(path, name); i >= 0 {
			return append(slices.Clone(path[i:]), name)
		}
		if done[name] {
			return nil
		}
		done[name] = true
		path = append(path, name)
		for _, next := range after[name] {
			if circle := visit(next); circle != nil {
				return circle
			}
		}
		path = path[:len(path)-1]
		return nil
	}
	for _, p := range r.passes {
		if circle := visit(p.Name); circle != nil {
			return circle
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
