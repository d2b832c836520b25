package passes

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
)

// everything uses each table and key of the format once.
const everything = `# about the file

version = 1
extends = "default" # from here
[target]
device = "cpu"
memory = "512MiB"
threads = 2
[dims]
batch = { min = 1, max = 64 }
seq = { max = 512, multiple = 8 }
"a b" = {}
[inputs]
attention_mask = { padding = true }
[[match]]
value = "/encoder/Reshape_3_output_0"
type = "[batch, seq, 768] f32"
[[state]]
in = "past.0.key"
out = "present.0.key"
axis = "past_seq"
capacity = 4096
[[plugin]]
name = "acme"
path = "./acme-passes"
sha256 = { "linux/amd64" = "00000000000000000000000000000000000000000000000000000000000000AA" }
timeout = "2m"
[[pass]]
name = "fold-constants"
max-bytes = "1MiB"
[[pass]]
name = "acme/strip-dropout"
check = "each"
ratio = 0.5
count = 3
only = ["a", "b"]
deep = false
[[pass]]
name = "simplify#2"
remove = true
[[pass]]
name = "simplify"
after = "fuse"
`

func TestParseEverything(t *testing.T) {
	got, err := Parse("dir/p.toml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	want := &File{
		Name: "dir/p.toml", Version: 1, Extends: "default", extends: "dir/p.toml:4:11",
		Target: Target{Device: "cpu", Memory: 512 << 20, Threads: 2},
		Dims: map[string]Dim{
			"batch": {1, 64, 1, "dir/p.toml:10:1"},
			"seq":   {0, 512, 8, "dir/p.toml:11:1"},
			"a b":   {0, sym.Inf, 1, "dir/p.toml:12:1"},
		},
		Inputs: map[string]Input{"attention_mask": {true, "dir/p.toml:14:1"}},
		Match:  []Match{{"/encoder/Reshape_3_output_0", "[batch, seq, 768] f32", "dir/p.toml:15:1"}},
		State:  []State{{"past.0.key", "present.0.key", "past_seq", 4096, "dir/p.toml:18:1"}},
		Plugins: []Plugin{{
			Name: "acme", Path: "./acme-passes", Timeout: 2 * time.Minute, Where: "dir/p.toml:23:1",
			SHA256: map[string]string{"linux/amd64": strings.Repeat("0", 62) + "aa"},
		}},
		Passes: []PassEntry{
			{Name: "fold-constants", Where: "dir/p.toml:29:8", Options: map[string]Value{
				"max-bytes": {"1MiB", "dir/p.toml:30:1", "dir/p.toml:30:13"},
			}},
			{Name: "acme/strip-dropout", Check: "each", Where: "dir/p.toml:32:8", Options: map[string]Value{
				"ratio": {0.5, "dir/p.toml:34:1", "dir/p.toml:34:9"},
				"count": {int64(3), "dir/p.toml:35:1", "dir/p.toml:35:9"},
				"only":  {[]string{"a", "b"}, "dir/p.toml:36:1", "dir/p.toml:36:8"},
				"deep":  {false, "dir/p.toml:37:1", "dir/p.toml:37:8"},
			}},
			{Name: "simplify#2", Remove: true, Options: map[string]Value{}, Where: "dir/p.toml:39:8"},
			{Name: "simplify", After: "fuse", Options: map[string]Value{}, Where: "dir/p.toml:42:8", beside: "dir/p.toml:43:9"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Every way to spell a table in TOML is the same pipeline.
func TestParseSpellings(t *testing.T) {
	want, err := Parse("p.toml", []byte("version = 1\n[target]\ndevice = \"cpu\"\nthreads = 10\n[dims.seq]\nmax = 8\n[[plugin]]\nname = \"a\"\npath = \"p\"\n[[pass]]\nname = \"fuse\"\n[[pass]]\nname = \"lower\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{
		"version = 1\ntarget = { device = \"cpu\", threads = 10 }\ndims = { seq = { max = 8 } }\nplugin = [{ name = \"a\", path = \"p\" }]\npass = [{ name = \"fuse\" }, { name = \"lower\" }]\n",
		"version = 1\ntarget.device = 'cpu'\ntarget.threads = 1_0\ndims.seq.max = 8\nplugin = [{ name = '''a''', path = \"p\" }]\n[[pass]]\nname = \"fuse\"\n[[pass]]\nname = \"lower\"\n",
		"\ufeffversion = 0x1\r\n[dims]\r\nseq.max = 0o10\r\n[[pass]]\r\nname = \"fu\\u0073e\"\r\n[target]\r\ndevice = \"cpu\"\r\nthreads = 10\r\n[[plugin]]\r\nname = \"a\"\r\npath = \"p\"\r\n[[pass]]\r\nname = \"lower\"\r\n",
	} {
		got, err := Parse("p.toml", []byte(src))
		if err != nil {
			t.Errorf("%v in:\n%s", err, src)
			continue
		}
		if !reflect.DeepEqual(meaning(got), meaning(want)) {
			t.Errorf("got  %+v\nwant %+v\nfrom:\n%s", got, want, src)
		}
	}
}

// meaning is a file without the places of things.
func meaning(f *File) *File {
	g := *f
	g.extends = ""
	g.Dims, g.Inputs = map[string]Dim{}, map[string]Input{}
	for name, d := range f.Dims {
		d.Where = ""
		g.Dims[name] = d
	}
	for name, in := range f.Inputs {
		in.Where = ""
		g.Inputs[name] = in
	}
	g.Match, g.State, g.Plugins, g.Passes = nil, nil, nil, nil
	for _, m := range f.Match {
		m.Where = ""
		g.Match = append(g.Match, m)
	}
	for _, s := range f.State {
		s.Where = ""
		g.State = append(g.State, s)
	}
	for _, p := range f.Plugins {
		p.Where = ""
		g.Plugins = append(g.Plugins, p)
	}
	for _, e := range f.Passes {
		e.Where, e.beside = "", ""
		opts := map[string]Value{}
		for name, v := range e.Options {
			opts[name] = Value{Any: v.Any}
		}
		e.Options = opts
		g.Passes = append(g.Passes, e)
	}
	return &g
}

func TestDefault(t *testing.T) {
	root, err := os.ReadFile(filepath.Join("..", "pipeline.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(root, DefaultTOML()) {
		t.Error("pipeline.toml at the root is not the text of passes/default.toml; copy it there")
	}
	formatted, err := Format("default.toml", root)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(formatted, root) {
		t.Errorf("the default pipeline is not in canonical form, which is:\n%s", formatted)
	}
	var names []string
	for _, e := range Default().Passes {
		names = append(names, e.Name)
	}
	want := "fold-constants deduce simplify decompose simplify raise legalize state remove-padding fuse pit dispatch plan-memory lower"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the default passes are %s, want %s", got, want)
	}
	bare, err := Parse("p.toml", []byte("version = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if bare.Target != Default().Target {
		t.Errorf("a file without [target] has %+v, the default pipeline %+v", bare.Target, Default().Target)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.toml")
	if err := os.WriteFile(path, []byte("version = 1\n[[plugin]]\nname = \"a\"\npath = \"bin/a\"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.PluginPath(f.Plugins[0]), filepath.Join(dir, "bin", "a"); got != want {
		t.Errorf("PluginPath = %q, want %q", got, want)
	}

	missing := filepath.Join(dir, "none.toml")
	_, err = Read(missing)
	want := missing + ": cannot read the pipeline: no such file or directory; check the path"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, make([]byte, maxFile+2), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Read(big)
	want = big + ": the file is larger than 1024 KiB; a pipeline names passes, dims and values; it holds no data"
	if err == nil || err.Error() != want || diag.CodeOf(err) != diag.Pipeline {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A plugin's path is never a bare name, which would be searched for among the commands.
func TestPluginPath(t *testing.T) {
	sep := string(filepath.Separator)
	for _, c := range []struct{ file, path, want string }{
		{"p.toml", "acme", "." + sep + "acme"},
		{"p.toml", "./acme", "." + sep + "acme"},
		{filepath.Join("d", "p.toml"), "acme", filepath.Join("d", "acme")},
		{filepath.Join("d", "p.toml"), "../acme", "." + sep + "acme"},
		{"p.toml", filepath.Join(sep+"opt", "acme"), filepath.Join(sep+"opt", "acme")},
	} {
		if got := (&File{Name: c.file}).PluginPath(Plugin{Path: c.path}); got != c.want {
			t.Errorf("PluginPath(%q) of %q = %q, want %q", c.path, c.file, got, c.want)
		}
	}
}
