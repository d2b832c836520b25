// Package passes reads pipelines: TOML files that say which passes run, in which order,
// with which options.
package passes

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/pitopt/pitopt/core/diag"
)

//go:embed default.toml
var defaultTOML []byte

// DefaultTOML is the text of the built-in pipeline.
func DefaultTOML() []byte { return append([]byte(nil), defaultTOML...) }

// File is a pipeline file.
type File struct {
	Name    string // path, for messages
	Target  Target
	Dims    map[string]Dim
	Inputs  map[string]Input
	Match   []Match
	State   []State
	Plugins []Plugin
	Passes  []Entry // with those of the file it extends
}

// Target says where a module runs and what it may use.
type Target struct {
	Device  string
	Memory  int64 // bytes; 0: no limit
	Threads int   // 0: all
}

// Dim is what is known of a symbol. Max is math.MaxInt64 where nothing is said.
type Dim struct{ Min, Max, Multiple int64 }

// Input is what is known of an input's values.
type Input struct{ Padding bool }

// Match asserts the type of a value.
type Match struct{ Value, Type, Where string }

// State is a value that a session carries from one call to the next.
type State struct {
	In, Out, Axis string
	Capacity      int64
}

// Plugin is an executable with passes.
type Plugin struct {
	Name, Path string            // Path is relative to the file's folder
	SHA256     map[string]string // by GOOS/GOARCH
	Timeout    time.Duration
	Where      string
}

// Entry is a pass of the pipeline.
type Entry struct {
	Name    string
	Check   string // "", "each"
	Options map[string]any
	Where   string // FILE:LINE:COL
}

// Default is the built-in pipeline.
func Default() *File {
	f, err := Parse("pipeline.toml (built in)", defaultTOML)
	if err != nil {
		panic("passes: the built-in pipeline does not parse: " + err.Error())
	}
	return f
}

// maxFile bounds the size of a pipeline file.
const maxFile = 1 << 20

// Read reads a pipeline file.
func Read(path string) (*File, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxFile {
		err = fmt.Errorf("%d bytes are too many for a pipeline", st.Size())
	}
	var src []byte
	if err == nil {
		src, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, diag.New(diag.Pipeline, "can not be read: %v", err).In(path).Hint("check the path given with -pipeline")
	}
	return Parse(path, src)
}

// Parse reads a pipeline from its text; name is its path, for messages and plugins.
func Parse(name string, src []byte) (*File, error) {
	var doc map[string]any
	if _, err := toml.Decode(string(src), &doc); err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, diag.New(diag.Pipeline, "%s", pe.Message).In(fmt.Sprintf("%s:%d:%d", name, pe.Position.Line, pe.Position.Col))
		}
		return nil, diag.New(diag.Pipeline, "%v", err).In(name)
	}
	r := &reader{name: name, pos: locate(src)}
	f := &File{Name: name, Target: Target{Device: "auto"}, Dims: map[string]Dim{}, Inputs: map[string]Input{}}
	r.file(f, doc)
	if r.err != nil {
		return nil, r.err
	}
	return f, nil
}

// reader turns decoded TOML into a File. The first error stays.
type reader struct {
	name string
	pos  map[string][2]int // of keys, by their path
	err  error
}

func (r *reader) at(path string) string {
	for p := path; p != ""; {
		if at, ok := r.pos[p]; ok {
			return fmt.Sprintf("%s:%d:%d", r.name, at[0], at[1])
		}
		i := strings.LastIndexByte(p, '\x00')
		if i < 0 {
			break
		}
		p = p[:i]
	}
	return r.name
}

func (r *reader) fail(path, format string, args ...any) *diag.Error {
	e := diag.New(diag.Pipeline, format, args...).In(r.at(path))
	if r.err == nil {
		r.err = e
	}
	return e
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "\x00" + key
}

// table is a TOML table that is being read: keys that nobody asked for are errors.
type table struct {
	r    *reader
	path string
	m    map[string]any
	seen []string
}

func (r *reader) table(path string, v any) *table {
	m, ok := v.(map[string]any)
	if !ok {
		r.fail(path, "%s must be a table", last(path)).Hint("write [%s]", last(path))
		m = map[string]any{}
	}
	return &table{r: r, path: path, m: m}
}

func last(path string) string {
	parts := strings.Split(path, "\x00")
	for i := len(parts) - 1; i >= 0; i-- {
		if _, err := strconv.Atoi(parts[i]); err != nil {
			return parts[i]
		}
	}
	return path
}

func (t *table) get(key string) (any, string, bool) {
	t.seen = append(t.seen, key)
	v, ok := t.m[key]
	return v, join(t.path, key), ok
}

func read[T any](t *table, key, kind string, def T) T {
	v, path, ok := t.get(key)
	if !ok {
		return def
	}
	x, ok := v.(T)
	if !ok {
		t.r.fail(path, "%q must be %s, not %v", key, kind, v)
		return def
	}
	return x
}

func (t *table) str(key, def string) string          { return read(t, key, "a string", def) }
func (t *table) integer(key string, def int64) int64 { return read(t, key, "an integer", def) }
func (t *table) boolean(key string) bool             { return read(t, key, "true or false", false) }

func (t *table) size(key string, def int64) int64 {
	v, path, ok := t.get(key)
	if !ok {
		return def
	}
	n, err := parseSize(v)
	if err != nil {
		t.r.fail(path, "%q: %v", key, err).Hint(`write a number of bytes, or a size such as "512MiB"`)
	}
	return n
}

func (t *table) duration(key string, def time.Duration) time.Duration {
	v, path, ok := t.get(key)
	if !ok {
		return def
	}
	s, _ := v.(string)
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		t.r.fail(path, "%q must be a duration, not %v", key, v).Hint(`write "30s" or "2m"`)
	}
	return d
}

// list gives the tables of an array of tables.
func (t *table) list(key string) []*table {
	v, path, ok := t.get(key)
	if !ok {
		return nil
	}
	items, ok := v.([]map[string]any)
	if !ok {
		t.r.fail(path, "%s must be a list of tables", key).Hint("write [[%s]]", key)
		return nil
	}
	out := make([]*table, len(items))
	for i, m := range items {
		out[i] = t.r.table(join(path, strconv.Itoa(i)), m)
	}
	return out
}

// done complains about keys that nobody asked for.
func (t *table) done() {
	keys := make([]string, 0, len(t.m))
	for k := range t.m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
next:
	for _, k := range keys {
		for _, s := range t.seen {
			if s == k {
				continue next
			}
		}
		t.r.fail(join(t.path, k), "unknown key %q", k).Hint("%s", diag.DidYouMean(k, t.seen))
	}
}

var units = map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

// parseSize reads a size: bytes as a number, or a string with a unit.
func parseSize(v any) (int64, error) {
	if n, ok := v.(int64); ok {
		if n < 0 {
			return 0, fmt.Errorf("%d is no size", n)
		}
		return n, nil
	}
	s, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("%v is no size", v)
	}
	digits := strings.TrimRight(s, "BKMGTi ")
	unit, ok := units[strings.TrimSpace(s[len(digits):])]
	x, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(x >= 0) || x*float64(unit) > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is no size", s)
	}
	return int64(x * float64(unit)), nil
}

var devices = []string{"auto", "cpu", "cuda", "cuda-emu", "interp"}

func (r *reader) file(f *File, doc map[string]any) {
	t := r.table("", doc)
	if v := t.integer("version", 0); v != 1 && r.err == nil {
		r.fail("version", "version is %d, this pitopt reads version 1", v).Hint("start the file with version = 1")
	}
	switch ext := t.str("extends", ""); ext {
	case "":
	case "default":
		d := Default()
		f.Target, f.Passes = d.Target, d.Passes
	default:
		r.fail("extends", "extends is %q", ext).Hint(`only "default" can be extended`)
	}
	if v, path, ok := t.get("target"); ok {
		tt := r.table(path, v)
		f.Target.Device = tt.str("device", f.Target.Device)
		known := false
		for _, d := range devices {
			known = known || d == f.Target.Device
		}
		if !known {
			r.fail(join(path, "device"), "unknown device %q", f.Target.Device).Hint("%s", diag.DidYouMean(f.Target.Device, devices))
		}
		f.Target.Memory = tt.size("memory", f.Target.Memory)
		n := tt.integer("threads", int64(f.Target.Threads))
		if n < 0 || n > 4096 {
			r.fail(join(path, "threads"), "threads is %d", n).Hint("0 takes all that the machine has")
		}
		f.Target.Threads = int(n)
		tt.done()
	}
	r.dims(f, t)
	if v, path, ok := t.get("inputs"); ok {
		for name, x := range r.table(path, v).m {
			it := r.table(join(path, name), x)
			f.Inputs[name] = Input{Padding: it.boolean("padding")}
			it.done()
		}
	}
	for _, m := range t.list("match") {
		e := Match{Value: m.str("value", ""), Type: m.str("type", ""), Where: r.at(m.path)}
		if e.Value == "" || e.Type == "" {
			r.fail(m.path, "a [[match]] needs value and type")
		}
		f.Match = append(f.Match, e)
		m.done()
	}
	for _, s := range t.list("state") {
		e := State{In: s.str("in", ""), Out: s.str("out", ""), Axis: s.str("axis", ""), Capacity: s.integer("capacity", 0)}
		if e.In == "" || e.Out == "" || e.Axis == "" || e.Capacity < 1 {
			r.fail(s.path, "a [[state]] needs in, out, axis and a positive capacity")
		}
		f.State = append(f.State, e)
		s.done()
	}
	r.plugins(f, t)
	r.entries(f, t)
	t.done()
}

func (r *reader) dims(f *File, t *table) {
	v, path, ok := t.get("dims")
	if !ok {
		return
	}
	for name, x := range r.table(path, v).m {
		p := join(path, name)
		dt := r.table(p, x)
		d := Dim{Min: dt.integer("min", 0), Max: dt.integer("max", math.MaxInt64), Multiple: dt.integer("multiple", 1)}
		switch {
		case d.Min < 0 || d.Max < 0:
			r.fail(p, "dim %q: a size is not negative", name)
		case d.Min > d.Max:
			r.fail(p, "dim %q: min %d is above max %d", name, d.Min, d.Max)
		case d.Multiple < 1:
			r.fail(p, "dim %q: multiple is %d", name, d.Multiple).Hint("it must be at least 1")
		}
		f.Dims[name] = d
		dt.done()
	}
}

func (r *reader) plugins(f *File, t *table) {
	seen := map[string]bool{}
	for _, p := range t.list("plugin") {
		e := Plugin{Name: p.str("name", ""), Path: p.str("path", ""), Timeout: p.duration("timeout", 30*time.Second), Where: r.at(p.path), SHA256: map[string]string{}}
		if v, path, ok := p.get("sha256"); ok {
			for k, x := range r.table(path, v).m {
				s, _ := x.(string)
				if len(s) != 64 || strings.Trim(strings.ToLower(s), "0123456789abcdef") != "" {
					r.fail(path, "sha256 of %s is no hash of 64 hexadecimal digits", k)
				}
				e.SHA256[k] = strings.ToLower(s)
			}
		}
		switch {
		case e.Name == "" || strings.Trim(e.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
			r.fail(p.path, "plugin name %q", e.Name).Hint("lower-case letters, digits and -")
		case e.Path == "":
			r.fail(p.path, "plugin %q has no path", e.Name)
		case seen[e.Name]:
			r.fail(p.path, "plugin %q is there twice", e.Name)
		}
		seen[e.Name] = true
		f.Plugins = append(f.Plugins, e)
		p.done()
	}
}

// entries reads [[pass]]. Those of the file that is extended are there already.
func (r *reader) entries(f *File, t *table) {
	base := len(f.Passes)
	for _, p := range t.list("pass") {
		name, remove := p.str("name", ""), p.boolean("remove")
		after, before := p.str("after", ""), p.str("before", "")
		e := Entry{Name: name, Check: p.str("check", ""), Options: map[string]any{}, Where: r.at(p.path)}
		if name == "" {
			r.fail(p.path, "a [[pass]] needs a name")
			return
		}
		if e.Check != "" && e.Check != "each" && e.Check != "none" {
			r.fail(join(p.path, "check"), "check is %q", e.Check).Hint(`it is "each" or "none"`)
		}
		for k, v := range p.m {
			switch k {
			case "name", "remove", "after", "before", "check":
			default:
				e.Options[k] = v
			}
		}
		i := indexOf(f.Passes, name)
		switch {
		case after != "" && before != "":
			r.fail(p.path, "pass %q stands both after and before something", name).Hint("say one of them")
		case after != "" || before != "":
			anchor := after + before
			j := indexOf(f.Passes, anchor)
			if j < 0 {
				r.fail(p.path, "there is no pass %q in the pipeline to stand beside", anchor).Hint("%s", diag.DidYouMean(anchor, entryNames(f.Passes)))
				return
			}
			if after != "" {
				j++
			}
			f.Passes = append(f.Passes[:j:j], append([]Entry{e}, f.Passes[j:]...)...)
		case remove:
			if i < 0 {
				r.fail(p.path, "there is no pass %q to remove", name).Hint("%s", diag.DidYouMean(name, entryNames(f.Passes)))
				return
			}
			for ; i >= 0; i = indexOf(f.Passes, name) { // wherever it stands
				f.Passes = append(f.Passes[:i:i], f.Passes[i+1:]...)
			}
		case base > 0 && i >= 0:
			for j := range f.Passes {
				if f.Passes[j].Name != name {
					continue
				}
				merged := map[string]any{}
				for k, v := range f.Passes[j].Options {
					merged[k] = v
				}
				for k, v := range e.Options {
					merged[k] = v
				}
				f.Passes[j].Options, f.Passes[j].Where = merged, e.Where
				if e.Check != "" {
					f.Passes[j].Check = e.Check
				}
			}
		case base > 0:
			r.fail(p.path, "pass %q is not in the default pipeline", name).Hint(`say where it stands: after = "legalize", or before`)
			return
		default:
			f.Passes = append(f.Passes, e)
		}
	}
}

func indexOf(list []Entry, name string) int {
	for i, e := range list {
		if e.Name == name {
			return i
		}
	}
	return -1
}

func entryNames(list []Entry) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.Name
	}
	return out
}

// PluginPath is where a plugin's executable lies.
func (f *File) PluginPath(p Plugin) string {
	if filepath.IsAbs(p.Path) {
		return p.Path
	}
	return filepath.Join(filepath.Dir(f.Name), p.Path)
}
