package passes

import (
	"maps"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/pass"
)

// Assemble gives the steps that the file stands for: every pass is in the registry (those
// of plugins must have been added), every option is one of its pass and of the right
// kind, and the order keeps all constraints.
//
// A file that extends nothing lists its passes. One that extends the default pipeline
// changes it, entry after entry: an entry takes a pass out (remove), or puts one in
// (after, before), or configures the pass of that name. One that names a pass which is
// not in the pipeline, and no place, puts it in behind the pass of the entry before it.
func (f *File) Assemble(r *pass.Registry) ([]pass.Step, error) {
	s := &sequence{registry: r}
	if f.Extends != "" {
		for _, e := range Default().Passes {
			e.Where = f.extends
			if err := s.append(e); err != nil {
				return nil, err
			}
		}
	}
	s.cursor = -1
	for _, e := range f.Passes {
		apply := s.append
		if f.Extends != "" {
			apply = s.change
		}
		if err := apply(e); err != nil {
			return nil, err
		}
	}
	steps := make([]pass.Step, len(s.slots))
	for i, slot := range s.slots {
		steps[i] = slot.Step
	}
	if err := pass.CheckOrder(steps); err != nil {
		return nil, err
	}
	return steps, nil
}

// sequence is a pipeline that is being put together.
type sequence struct {
	registry *pass.Registry
	slots    []*slot
	cursor   int // behind the pass of the last entry; -1 before the first
}

// slot is a step, and who configured it.
type slot struct {
	pass.Step
	configured string // place of the entry that configured it, "" for none
}

func (s *sequence) append(e PassEntry) error {
	s.cursor = len(s.slots)
	return s.insert(e)
}

func (s *sequence) change(e PassEntry) error {
	base, _, _ := strings.Cut(e.Name, "#")
	if _, err := s.lookup(base, e); err != nil {
		return err
	}
	i := s.find(e.Name)
	switch {
	case e.After != "" || e.Before != "":
		j := s.find(e.After + e.Before)
		if j < 0 {
			return s.absent(e.After+e.Before, e.beside)
		}
		if e.After != "" {
			j++
		}
		s.cursor = j
		return s.insert(e)
	case i < 0 && (e.Remove || base != e.Name):
		return s.absent(e.Name, e.Where)
	case e.Remove:
		s.slots = slices.Delete(s.slots, i, i+1)
		s.cursor = i
		return nil
	case i < 0 && s.cursor < 0:
		return diag.New(diag.Pipeline, "pass %q is not in the default pipeline", e.Name).In(e.Where).
			Hint(`say where it goes: after = "legalize", for example, or before`)
	case i < 0:
		return s.insert(e)
	}
	return s.configure(i, e)
}

// insert puts a pass in at the cursor, under the lowest number of its name that is free.
func (s *sequence) insert(e PassEntry) error {
	p, err := s.lookup(e.Name, e)
	if err != nil {
		return err
	}
	opts, err := options(p, e)
	if err != nil {
		return err
	}
	taken := map[int]bool{}
	for _, slot := range s.slots {
		if slot.Pass == p {
			taken[slot.Number] = true
		}
	}
	number := 1
	for taken[number] {
		number++
	}
	step := pass.Step{Pass: p, Number: number, Options: opts, Check: e.Check == "each", Where: e.Where}
	s.slots = slices.Insert(s.slots, s.cursor, &slot{Step: step})
	s.cursor++
	return nil
}

func (s *sequence) configure(i int, e PassEntry) error {
	slot := s.slots[i]
	if slot.configured != "" {
		return diag.New(diag.Pipeline, "pass %q is configured twice", e.Name).In(e.Where).
			Hint(`put the options together with those at %s, or say where one more goes with after or before`, slot.configured)
	}
	opts, err := options(slot.Pass, e)
	if err != nil {
		return err
	}
	maps.Copy(slot.Options, opts)
	if e.Check != "" {
		slot.Check = e.Check == "each"
	}
	slot.Where, slot.configured = e.Where, e.Where
	s.cursor = i + 1
	return nil
}

// find gives the place of what a name refers to, -1 if that is not there.
func (s *sequence) find(ref string) int {
	ref = strings.TrimSuffix(ref, "#1")
	return slices.IndexFunc(s.slots, func(s *slot) bool { return strings.HasPrefix(ref, s.Pass.Name) && s.Ref() == ref })
}

func (s *sequence) absent(ref, where string) error {
	refs := make([]string, len(s.slots))
	for i, slot := range s.slots {
		refs[i] = slot.Ref()
	}
	return diag.New(diag.Pipeline, "there is no pass %q in the pipeline", ref).In(where).
		Hint("%s", diag.DidYouMean(ref, refs))
}

func (s *sequence) lookup(name string, e PassEntry) (*pass.Pass, error) {
	if p := s.registry.Lookup(name); p != nil {
		return p, nil
	}
	err := diag.New(diag.Pipeline, "unknown pass %q", name).In(e.Where)
	if near := diag.Nearest(name, s.registry.Names()); near != "" {
		return nil, err.Hint("did you mean %q?", near)
	}
	return nil, err.Hint(`"pitopt passes" lists what there is`)
}

// options checks and converts the options of an entry.
func options(p *pass.Pass, e PassEntry) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(e.Options)) {
		v := e.Options[name]
		i := slices.IndexFunc(p.Options, func(o pass.Option) bool { return o.Name == name })
		if i < 0 {
			return nil, unknownOption(p, name, v)
		}
		x, err := convert(p.Options[i], v)
		if err != nil {
			return nil, err
		}
		out[name] = x
	}
	return out, nil
}

func unknownOption(p *pass.Pass, name string, v Value) error {
	err := diag.New(diag.Pipeline, "pass %q has no option %q", p.Name, name).In(v.Key)
	var own []string
	for _, o := range p.Options {
		own = append(own, o.Name)
	}
	if near := diag.Nearest(name, append(own, pass.Keys...)); near != "" {
		return err.Hint("did you mean %q?", near)
	}
	if len(own) == 0 {
		return err.Hint("it has none; take the line out")
	}
	return err.Hint("%s", diag.DidYouMean(name, own))
}

// kinds says for each kind of option how a value of it is written and read.
var kinds = map[pass.Kind]struct {
	example string
	read    func(any) (any, error)
}{
	pass.Bool:     {`true`, as[bool]("true or false")},
	pass.Int:      {`8`, as[int64]("an integer")},
	pass.Float:    {`0.5`, number},
	pass.String:   {`"text"`, as[string]("text in quotes")},
	pass.Enum:     {`"text"`, as[string]("text in quotes")},
	pass.Strings:  {`["one", "two"]`, as[[]string]("a list of text")},
	pass.Size:     {`"64MiB"`, func(v any) (any, error) { return parseSize(v) }},
	pass.Duration: {`"30s"`, func(v any) (any, error) { return parseDuration(v) }},
}

// as takes a value that TOML gives in the right type already.
func as[T any](want string) func(any) (any, error) {
	return func(v any) (any, error) {
		if x, ok := v.(T); ok {
			return x, nil
		}
		return nil, diag.New(diag.Pipeline, "%s is not %s", shown(v), want)
	}
}

func number(v any) (any, error) {
	if n, ok := v.(int64); ok {
		return float64(n), nil
	}
	return as[float64]("a number")(v)
}

// convert gives the value of an option in the Go type of its kind.
func convert(o pass.Option, v Value) (any, error) {
	k, known := kinds[o.Kind]
	if !known {
		return nil, diag.New(diag.Pipeline, "option %q is of a kind %q that a pipeline file cannot write", o.Name, o.Kind).In(v.Key).
			Hint("take the line out")
	}
	x, err := k.read(v.Any)
	if err == nil && o.Kind == pass.Enum && !slices.Contains(o.Values, x.(string)) {
		err = diag.New(diag.Pipeline, "%s is not known", shown(x)).Hint("%s", diag.DidYouMean(x.(string), o.Values))
	}
	if err != nil {
		e := diag.As(err, diag.Pipeline).In(v.Where).Hint("write %s = %s, for example", o.Name, k.example)
		e.Msg = o.Name + " = " + e.Msg
		return nil, e
	}
	return x, nil
}
