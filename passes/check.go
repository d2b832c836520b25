package passes

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
)

// What a file may say at most. Larger numbers are slips, and refusing them here keeps
// sums of them from overflowing later.
const (
	maxEntries = 4096 // of one [[list]]
	maxThreads = 4096
	maxDim     = 1 << 40
	maxTimeout = 24 * time.Hour
	maxText    = 4096 // bytes of a name, path or type
	maxShown   = 64   // bytes of a text in a message
)

const (
	defaultMemory  = 4 << 30
	defaultTimeout = 30 * time.Second
)

// field is a key that a table may have.
type field struct {
	key  string
	read func(*value) error
}

// checker turns the tree of a document into a File.
type checker struct{ *document }

// fields reads the entries of a table, in the order of the source; what is no field goes
// to rest, and is an error where rest is nil. Afterwards the entries stand in the order
// of the fields, which is the canonical one.
func (c checker) fields(t *table, title string, rest func(*entry) error, fields ...field) error {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	for _, e := range t.entries {
		var err error
		switch i := slices.Index(keys, e.key); {
		case i >= 0:
			err = fields[i].read(e.val)
		case rest != nil:
			err = rest(e)
		default:
			err = c.unknownKey(e, title, keys)
		}
		if err != nil {
			return err
		}
	}
	t.sortBy(keys)
	return nil
}

func (c checker) unknownKey(e *entry, title string, keys []string) error {
	err := c.errorf(e.at, "unknown key %q in %s", e.key, title)
	if near := diag.Nearest(e.key, keys); near == "" && slices.Contains([]string{"version", "extends"}, e.key) {
		return err.Hint("it stands at the top, before the first [table]")
	}
	return err.Hint("%s", diag.DidYouMean(e.key, keys))
}

// wrong says that a value is not of the type its key wants.
func (c checker) wrong(key string, v *value, want, example string) error {
	return c.errorf(v.at, "%s = %s is not %s", key, shown(v.any), want).Hint("write %s = %s", key, example)
}

// about makes an error about a value on its own one about the key that has it.
func (c checker) about(key string, v *value, err error) error {
	e := diag.As(err, diag.Pipeline).In(c.place(v.at))
	e.Msg = key + " = " + e.Msg
	return e
}

// shown is a value in a message.
func shown(v any) string {
	switch x := v.(type) {
	case string:
		if len(x) > maxShown {
			return strconv.Quote(x[:maxShown]) + "..."
		}
		return strconv.Quote(x)
	case float64:
		return floatText(x)
	case []string, *array:
		return "[...]"
	case *table:
		return "{...}"
	}
	return fmt.Sprint(v)
}

func (c checker) text(key, example string, to *string) field {
	return field{key, func(v *value) error {
		s, ok := v.any.(string)
		if !ok {
			return c.wrong(key, v, "text in quotes", strconv.Quote(example))
		}
		if s == "" {
			return c.errorf(v.at, "%s is empty", key).Hint("write %s = %q, for example", key, example)
		}
		if len(s) > maxText {
			return c.errorf(v.at, "%s has %d bytes, more than %d", key, len(s), maxText).Hint("write a shorter one")
		}
		*to = s
		return nil
	}}
}

func (c checker) enum(key string, to *string, words ...string) field {
	f := c.text(key, words[0], to)
	read := f.read
	f.read = func(v *value) error {
		if err := read(v); err != nil {
			return err
		}
		if !slices.Contains(words, *to) {
			return c.errorf(v.at, "%s = %s is not known", key, shown(*to)).Hint("%s", diag.DidYouMean(*to, words))
		}
		return nil
	}
	return f
}

func (c checker) boolean(key string, to *bool) field {
	return field{key, func(v *value) error {
		b, ok := v.any.(bool)
		if !ok {
			return c.wrong(key, v, "true or false", "true")
		}
		*to = b
		return nil
	}}
}

func (c checker) integer(key string, lo, hi int64, to *int64) field {
	return field{key, func(v *value) error {
		n, ok := v.any.(int64)
		if !ok {
			return c.wrong(key, v, "an integer", strconv.FormatInt(max(lo, 1), 10))
		}
		if n < lo || n > hi {
			return c.errorf(v.at, "%s = %d is out of range", key, n).Hint("take %d to %d", lo, hi)
		}
		*to = n
		return nil
	}}
}

func (c checker) size(key string, to *int64) field {
	return field{key, func(v *value) error {
		n, err := parseSize(v.any)
		if err != nil {
			return c.about(key, v, err)
		}
		*to = n
		return nil
	}}
}

func (c checker) duration(key string, to *time.Duration) field {
	return field{key, func(v *value) error {
		d, err := parseDuration(v.any)
		if err != nil {
			return c.about(key, v, err)
		}
		if d == 0 || d > maxTimeout {
			return c.errorf(v.at, "%s = %s is out of range", key, shown(v.any)).
				Hint("take more than 0s and at most %dh", int(maxTimeout.Hours()))
		}
		*to = d
		return nil
	}}
}

// table is a field that is a table. The example is one of its keys.
func (c checker) table(key, example string, read func(*table) error) field {
	return field{key, func(v *value) error {
		t, ok := v.any.(*table)
		if a, list := v.any.(*array); list && a.headers {
			return c.errorf(v.at, "%s is one table, not a list of them", key).Hint("write [%s]", key)
		}
		if !ok {
			return c.wrong(key, v, "a table", "{ "+example+" }")
		}
		return read(t)
	}}
}

// list is a field that is a list of tables.
func (c checker) list(key string, read func(*table) error) field {
	return field{key, func(v *value) error {
		a, ok := v.any.(*array)
		if !ok {
			return c.errorf(v.at, "%s is not a list of tables", key).Hint("write [[%s]]", key)
		}
		for i, item := range a.items {
			if i == maxEntries {
				return c.errorf(item.at, "more than %d [[%s]]", maxEntries, key).Hint("leave some out")
			}
			t, ok := item.any.(*table)
			if !ok {
				return c.errorf(item.at, "%s has %s, which is not a table", key, shown(item.any)).
					Hint("write [[%s]] for each, and its keys below", key)
			}
			if err := read(t); err != nil {
				return err
			}
		}
		return nil
	}}
}

// need says that a table lacks a key, if the value read for it is the zero value.
func need[T comparable](c checker, t *table, title, key string, got T, example string) error {
	if got != *new(T) {
		return nil
	}
	return c.errorf(t.at, "%s without %s", title, key).Hint("add %s = %s", key, example)
}

// checkFile gives what a document says, or the first thing that is wrong with it.
func checkFile(d *document) (*File, error) {
	c := checker{d}
	f := &File{
		Name:   d.name,
		Target: Target{Device: "auto", Memory: defaultMemory},
		Dims:   map[string]Dim{},
		Inputs: map[string]Input{},
	}
	var version int64
	if e := d.root.byKey["version"]; e == nil {
		return nil, d.errorf(0, "the file does not say its version").Hint("start it with version = 1")
	}
	err := c.fields(d.root, "the file", nil,
		field{"version", func(v *value) error {
			if n, ok := v.any.(int64); ok && n != 1 {
				return c.errorf(v.at, "version = %d is not known", n).Hint("this pitopt reads version 1")
			}
			return c.integer("version", 1, 1, &version).read(v)
		}},
		field{"extends", func(v *value) error {
			f.extends = d.place(v.at)
			return c.enum("extends", &f.Extends, "default").read(v)
		}},
		c.table("target", `device = "cpu"`, func(t *table) error { return c.target(f, t) }),
		c.table("dims", "seq = { max = 512 }", func(t *table) error { return c.dims(f, t) }),
		c.table("inputs", "mask = { padding = true }", func(t *table) error { return c.inputs(f, t) }),
		c.list("match", func(t *table) error { return c.match(f, t) }),
		c.list("state", func(t *table) error { return c.state(f, t) }),
		c.list("plugin", func(t *table) error { return c.plugin(f, t) }),
		c.list("rewrite", func(t *table) error { return c.rewrite(f, t) }),
		c.list("pass", func(t *table) error { return c.pass(f, t) }),
	)
	if err != nil {
		return nil, err
	}
	f.Version = int(version)
	if err := f.checkPasses(); err != nil {
		return nil, err
	}
	return f, nil
}

func (c checker) target(f *File, t *table) error {
	threads := int64(f.Target.Threads)
	err := c.fields(t, "[target]", nil,
		c.enum("device", &f.Target.Device, Devices...),
		c.size("memory", &f.Target.Memory),
		c.integer("threads", 0, maxThreads, &threads),
	)
	f.Target.Threads = int(threads)
	return err
}

func (c checker) dims(f *File, t *table) error {
	return c.fields(t, "[dims]", func(e *entry) error {
		d := Dim{Max: sym.Inf, Multiple: 1, Where: c.place(e.at)}
		err := c.table(e.key, "max = 512", func(t *table) error {
			return c.fields(t, "dim "+strconv.Quote(e.key), nil,
				c.integer("min", 0, maxDim, &d.Min),
				c.integer("max", 1, maxDim, &d.Max),
				c.integer("multiple", 1, maxDim, &d.Multiple),
			)
		}).read(e.val)
		switch {
		case err != nil:
			return err
		case e.key == "":
			return c.errorf(e.at, "a dim without a name").Hint("name a symbol of the model")
		case d.Min > d.Max:
			return c.errorf(e.val.at, "dim %q: min %d is above max %d", e.key, d.Min, d.Max).Hint("lower min, or raise max")
		case d.Max/d.Multiple*d.Multiple < d.Min:
			return c.errorf(e.val.at, "dim %q: no multiple of %d is in %d to %d", e.key, d.Multiple, d.Min, d.Max).Hint("raise max, or lower min or multiple")
		}
		f.Dims[e.key] = d
		return nil
	})
}

func (c checker) inputs(f *File, t *table) error {
	return c.fields(t, "[inputs]", func(e *entry) error {
		in := Input{Where: c.place(e.at)}
		err := c.table(e.key, "padding = true", func(t *table) error {
			return c.fields(t, "input "+strconv.Quote(e.key), nil, c.boolean("padding", &in.Padding))
		}).read(e.val)
		if err == nil && e.key == "" {
			return c.errorf(e.at, "an input without a name").Hint("name an input of the model")
		}
		f.Inputs[e.key] = in
		return err
	})
}

// needed is a key that a table must have.
type needed struct {
	title, key string
	missing    bool
	example    string
}

// add reads a table of a list into x and puts it behind the others: it has the keys that it
// must have, and none of the others says the same.
func add[T any](c checker, t *table, title string, list *[]T, x *T, fields []field, needs func() []needed, twice func(other *T) *diag.Error) error {
	if err := c.fields(t, title, nil, fields...); err != nil {
		return err
	}
	for _, n := range needs() {
		if err := need(c, t, n.title, n.key, !n.missing, n.example); err != nil {
			return err
		}
	}
	for i := range *list {
		if err := twice(&(*list)[i]); err != nil {
			return err
		}
	}
	*list = append(*list, *x)
	return nil
}

func (c checker) match(f *File, t *table) error {
	m := Match{Where: c.place(t.at)}
	return add(c, t, "[[match]]", &f.Match, &m, []field{
		c.text("value", "/encoder/Reshape_output_0", &m.Value),
		c.text("type", "[batch, 768] f32", &m.Type),
	}, func() []needed {
		return []needed{
			{"a [[match]]", "value", m.Value == "", `"NAME", a value of the model`},
			{"a [[match]]", "type", m.Type == "", `"[batch, 768] f32", for example`},
		}
	}, func(other *Match) *diag.Error {
		if other.Value != m.Value {
			return nil
		}
		return c.errorf(t.at, "a second [[match]] of value %q", m.Value).Hint("keep one; the first is at %s", other.Where)
	})
}

func (c checker) rewrite(f *File, t *table) error {
	r := Rewrite{Where: c.place(t.at)}
	return add(c, t, "[[rewrite]]", &f.Rewrite, &r, []field{c.text("file", "rules.pit", &r.File)}, func() []needed {
		return []needed{{"a [[rewrite]]", "file", r.File == "", `"rules.pit", for example`}}
	}, func(other *Rewrite) *diag.Error {
		if other.File != r.File {
			return nil
		}
		return c.errorf(t.at, "a second [[rewrite]] with the file %q", r.File).Hint("keep one; the first is at %s", other.Where)
	})
}

func (c checker) state(f *File, t *table) error {
	s := State{Where: c.place(t.at)}
	return add(c, t, "[[state]]", &f.State, &s, []field{
		c.text("in", "past.0.key", &s.In),
		c.text("out", "present.0.key", &s.Out),
		c.text("axis", "past_seq", &s.Axis),
		c.integer("capacity", 1, maxDim, &s.Capacity),
	}, func() []needed {
		return []needed{
			{"a [[state]]", "in", s.In == "", `"NAME", an input of the model`},
			{"a [[state]]", "out", s.Out == "", `"NAME", an output of the model`},
			{"a [[state]] with a capacity and", "axis", s.Capacity != 0 && s.Axis == "", `"NAME", the dim that grows`},
			{"a [[state]] with an axis and", "capacity", s.Axis != "" && s.Capacity == 0, "4096, for example"},
		}
	}, func(other *State) *diag.Error {
		if other.In != s.In && other.Out != s.Out {
			return nil
		}
		return c.errorf(t.at, "the state from %q to %q shares a name with another", s.Out, s.In).
			Hint("an input or output carries one state; the other is at %s", other.Where)
	})
}

var (
	pluginName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	passName   = regexp.MustCompile(`^([a-z0-9]+(?:-[a-z0-9]+)*/)?[a-z0-9]+(?:-[a-z0-9]+)*(#[1-9][0-9]{0,3})?$`)
	platform   = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+$`)
	sha256Hex  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

func (c checker) plugin(f *File, t *table) error {
	p := Plugin{Where: c.place(t.at), Timeout: defaultTimeout, SHA256: map[string]string{}}
	if err := c.fields(t, "[[plugin]]", nil,
		c.text("name", "acme", &p.Name),
		c.text("path", "./acme-passes", &p.Path),
		c.duration("timeout", &p.Timeout),
		c.table("sha256", `"linux/amd64" = "..."`, func(t *table) error { return c.sha256(&p, t) }),
	); err != nil {
		return err
	}
	if err := need(c, t, "a [[plugin]]", "name", p.Name, `"acme", for example; its passes are then "acme/..."`); err != nil {
		return err
	}
	if !pluginName.MatchString(p.Name) {
		return c.errorf(t.byKey["name"].val.at, "%s is no name for a plugin", shown(p.Name)).Hint(`use lower-case letters and digits, and "-" between them`)
	}
	if err := need(c, t, "plugin "+strconv.Quote(p.Name), "path", p.Path, `"./acme-passes", for example, relative to this file`); err != nil {
		return err
	}
	for _, other := range f.Plugins {
		if other.Name == p.Name {
			return c.errorf(t.at, "a second plugin %q", p.Name).Hint("rename one; the first is at %s", other.Where)
		}
	}
	f.Plugins = append(f.Plugins, p)
	return nil
}

func (c checker) sha256(p *Plugin, t *table) error {
	return c.fields(t, "sha256", func(e *entry) error {
		if !platform.MatchString(e.key) {
			return c.errorf(e.at, "%s is no platform", shown(e.key)).Hint(`write "linux/amd64", with GOOS and GOARCH of the executable`)
		}
		var sum string
		if err := c.text(e.key, "64 hexadecimal digits", &sum).read(e.val); err != nil {
			return err
		}
		if !sha256Hex.MatchString(sum) {
			return c.errorf(e.val.at, "the sha256 for %s is not 64 hexadecimal digits", e.key).Hint("take what sha256sum prints for the executable")
		}
		p.SHA256[e.key] = strings.ToLower(sum)
		return nil
	})
}

func (c checker) pass(f *File, t *table) error {
	e := PassEntry{Options: map[string]Value{}}
	if err := c.fields(t, "[[pass]]", func(o *entry) error { return c.option(&e, o) },
		c.text("name", "simplify", &e.Name),
		c.boolean("remove", &e.Remove),
		c.text("after", "legalize", &e.After),
		c.text("before", "fuse", &e.Before),
		c.enum("check", &e.Check, "each", "none"),
	); err != nil {
		return err
	}
	if err := need(c, t, "a [[pass]]", "name", e.Name, `"simplify", for example; "pitopt passes" lists them`); err != nil {
		return err
	}
	for _, ref := range []struct {
		key, name string
		where     *string
	}{{"name", e.Name, &e.Where}, {"after", e.After, &e.beside}, {"before", e.Before, &e.beside}} {
		if ref.name == "" {
			continue
		}
		at := t.byKey[ref.key].val.at
		if !passName.MatchString(ref.name) {
			return c.errorf(at, "%s is no name of a pass", shown(ref.name)).
				Hint(`names are like "fold-constants", "acme/strip-dropout", or "simplify#2" for the second of a name`)
		}
		*ref.where = c.place(at)
	}
	f.Passes = append(f.Passes, e)
	return nil
}

// option takes an option of a pass as it is written; Assemble knows what the pass takes.
func (c checker) option(e *PassEntry, o *entry) error {
	v := Value{Key: c.place(o.at), Where: c.place(o.val.at)}
	switch x := o.val.any.(type) {
	case bool, int64, string:
		v.Any = x
	case float64:
		if x-x != 0 {
			return c.errorf(o.val.at, "%s = %s is not finite", o.key, shown(x)).Hint("write a number")
		}
		v.Any = x
	case *array:
		list := make([]string, 0, len(x.items))
		for _, item := range x.items {
			s, ok := item.any.(string)
			if !ok {
				return c.errorf(item.at, "the list %s has %s, which is not text", o.key, shown(item.any)).Hint("put quotes around it")
			}
			list = append(list, s)
		}
		v.Any = list
	default:
		return c.errorf(o.val.at, "%s = %s is nothing that an option takes", o.key, shown(x)).
			Hint("options are true or false, numbers, text, or lists of text")
	}
	e.Options[o.key] = v
	return nil
}

// checkPasses checks what the entries of passes say among each other and of the rest of
// the file.
func (f *File) checkPasses() error {
	plugins := make([]string, len(f.Plugins))
	for i, p := range f.Plugins {
		plugins[i] = p.Name
	}
	for _, e := range f.Passes {
		fail := func(format string, args ...any) *diag.Error {
			return diag.New(diag.Pipeline, format, args...).In(e.Where)
		}
		base, number, _ := strings.Cut(e.Name, "#")
		plugin, _, isPlugin := strings.Cut(base, "/")
		beside := e.After != "" || e.Before != ""
		switch {
		case isPlugin && !slices.Contains(plugins, plugin):
			if near := diag.Nearest(plugin, plugins); near != "" {
				return fail("pass %q is of a plugin %q, which the file does not name", e.Name, plugin).Hint("did you mean %q?", near)
			}
			return fail("pass %q is of a plugin %q, which the file does not name", e.Name, plugin).
				Hint("add a [[plugin]] with name = %q and its path", plugin)
		case e.After != "" && e.Before != "":
			return fail("pass %q has both after and before", e.Name).Hint("keep one of them")
		case f.Extends == "" && (e.Remove || beside || number != ""):
			what := "after or before"
			if e.Remove {
				what = "remove"
			} else if !beside {
				what = "a number"
			}
			return fail("pass %q has %s, but the file extends nothing", e.Name, what).
				Hint(`add extends = "default" at the top, or list the passes in the order in which they run`)
		case e.Remove && (beside || e.Check != "" || len(e.Options) > 0):
			return fail("pass %q is removed and configured", e.Name).Hint("an entry with remove has a name and nothing else")
		case beside && number != "":
			return fail("pass %q has both a number and a place", e.Name).
				Hint("a number means the one that is there already; write %q to put in one more", base)
		}
	}
	return nil
}
