package passes

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
)

// registry has the passes of the default pipeline, with constraints like theirs, one that
// is not in it with an option of each kind, and a plugin's.
func registry(t testing.TB) *pass.Registry {
	t.Helper()
	run := func(*pass.Context, *ir.Module) error { return nil }
	p := func(name string, opts []pass.Option, after ...pass.Order) *pass.Pass {
		return &pass.Pass{Name: name, Doc: "Does " + name + ".", Run: run, Options: opts, After: after}
	}
	r, err := pass.NewRegistry(
		p("fold-constants", []pass.Option{{Name: "max-bytes", Kind: pass.Size, Doc: "d", Default: int64(1)}}),
		p("deduce", nil),
		p("simplify", nil),
		p("decompose", nil),
		p("raise", nil),
		p("legalize", nil, pass.Because("decompose", "operators made of others have no program")),
		p("state", nil, pass.Because("legalize", "what appends is told by programs")),
		p("remove-padding", []pass.Option{{Name: "masks", Kind: pass.Strings, Doc: "masks", Default: []string(nil)}}),
		p("fuse", nil, pass.Because("legalize", "kinds are read from programs")),
		p("pit", []pass.Option{{Name: "look", Kind: pass.Size, Doc: "d", Default: int64(1)}}),
		p("dispatch", nil), p("plan-memory", nil),
		p("lower", nil),
		p("tile", []pass.Option{
			{Name: "deep", Kind: pass.Bool, Doc: "d", Default: false},
			{Name: "rounds", Kind: pass.Int, Doc: "d", Default: int64(0)},
			{Name: "ratio", Kind: pass.Float, Doc: "d", Default: 0.0},
			{Name: "label", Kind: pass.String, Doc: "d", Default: ""},
			{Name: "limit", Kind: pass.Size, Doc: "d", Default: int64(1)},
			{Name: "patience", Kind: pass.Duration, Doc: "d", Default: time.Second},
			{Name: "order", Kind: pass.Enum, Doc: "d", Default: "rows", Values: []string{"rows", "columns"}},
			{Name: "only", Kind: pass.Strings, Doc: "d", Default: []string(nil)},
		}),
		p("acme/strip-dropout", nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const extended = "version = 1\nextends = \"default\"\n"

func entryText(lines ...string) string { return "[[pass]]\n" + strings.Join(lines, "\n") + "\n" }

func TestAssembleOrder(t *testing.T) {
	r := registry(t)
	standard := "fold-constants deduce simplify decompose simplify raise legalize state remove-padding fuse pit dispatch plan-memory lower"
	for _, c := range []struct{ name, src, want string }{
		{"the default", extended, standard},
		{"nothing at all", "version = 1\n", ""},
		{"exactly what is listed", "version = 1\n" + entryText(`name = "fuse"`) + entryText(`name = "deduce"`) + entryText(`name = "fuse"`), "fuse deduce fuse"},
		{"configured in place", extended + entryText(`name = "fold-constants"`, `max-bytes = "1KiB"`), standard},
		{"removed", extended + entryText(`name = "fuse"`, "remove = true"),
			"fold-constants deduce simplify decompose simplify raise legalize state remove-padding pit dispatch plan-memory lower"},
		{"the first is removed", extended + entryText(`name = "simplify"`, "remove = true"),
			"fold-constants deduce decompose simplify raise legalize state remove-padding fuse pit dispatch plan-memory lower"},
		{"the second is removed", extended + entryText(`name = "simplify#2"`, "remove = true"),
			"fold-constants deduce simplify decompose raise legalize state remove-padding fuse pit dispatch plan-memory lower"},
		{"both are removed", extended + entryText(`name = "simplify"`, "remove = true") + entryText(`name = "simplify#2"`, "remove = true"),
			"fold-constants deduce decompose raise legalize state remove-padding fuse pit dispatch plan-memory lower"},
		{"numbers stay when others go", extended + entryText(`name = "simplify#1"`, "remove = true") + entryText(`name = "tile"`, `after = "simplify#2"`),
			"fold-constants deduce decompose simplify tile raise legalize state remove-padding fuse pit dispatch plan-memory lower"},
		{"after", extended + entryText(`name = "tile"`, `after = "simplify"`),
			"fold-constants deduce simplify tile decompose simplify raise legalize state remove-padding fuse pit dispatch plan-memory lower"},
		{"before", extended + entryText(`name = "tile"`, `before = "simplify#2"`),
			"fold-constants deduce simplify decompose tile simplify raise legalize state remove-padding fuse pit dispatch plan-memory lower"},
		{"before the first and after the last", extended + entryText(`name = "tile"`, `before = "fold-constants"`) + entryText(`name = "tile"`, `after = "lower"`),
			"tile " + standard + " tile"},
		{"one more of a name, which the next entry refers to",
			extended + entryText(`name = "simplify"`, `after = "fuse"`) + entryText(`name = "tile"`, `after = "simplify#3"`),
			"fold-constants deduce simplify decompose simplify raise legalize state remove-padding fuse simplify tile pit dispatch plan-memory lower"},
		{"moved, and found again under its name",
			extended + entryText(`name = "deduce"`, "remove = true") + entryText(`name = "deduce"`, `after = "decompose"`) + entryText(`name = "tile"`, `before = "deduce"`),
			"fold-constants simplify decompose tile deduce simplify raise legalize state remove-padding fuse pit dispatch plan-memory lower"},
		{"behind the entry above",
			extended + "[[plugin]]\nname = \"acme\"\npath = \"p\"\n" + entryText(`name = "fold-constants"`) + entryText(`name = "acme/strip-dropout"`) + entryText(`name = "tile"`),
			"fold-constants acme/strip-dropout tile deduce simplify decompose simplify raise legalize state remove-padding fuse pit dispatch plan-memory lower"},
		{"in the place of the entry above", extended + entryText(`name = "fuse"`, "remove = true") + entryText(`name = "tile"`),
			"fold-constants deduce simplify decompose simplify raise legalize state remove-padding tile pit dispatch plan-memory lower"},
	} {
		f, err := Parse("p.toml", []byte(c.src))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		steps, err := f.Assemble(r)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		names := make([]string, len(steps))
		for i, s := range steps {
			names[i] = s.Pass.Name
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// The default pipeline extended by nothing is the default pipeline.
func TestAssembleDefault(t *testing.T) {
	r := registry(t)
	own, err := Default().Assemble(r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("p.toml", []byte(extended))
	if err != nil {
		t.Fatal(err)
	}
	extended, err := f.Assemble(r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range own {
		if own[i].Where == "" || extended[i].Where != "p.toml:2:11" {
			t.Errorf("step %d is of %q and %q", i, own[i].Where, extended[i].Where)
		}
		own[i].Where, extended[i].Where = "", ""
	}
	if !reflect.DeepEqual(own, extended) {
		t.Errorf("got  %v\nwant %v", extended, own)
	}
}

func TestAssembleOptions(t *testing.T) {
	r := registry(t)
	src := extended + entryText(`name = "fold-constants"`, `check = "each"`) +
		entryText(`name = "tile"`, `check = "none"`, "deep = true", "rounds = -3", "ratio = 2", `label = ""`,
			`limit = "3KB"`, `patience = "1m30s"`, `order = "columns"`, `only = ["a", "b"]`)
	f, err := Parse("p.toml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // assembling leaves the file as it is
		steps, err := f.Assemble(r)
		if err != nil {
			t.Fatal(err)
		}
		if s := steps[0]; !s.Check || s.Where != "p.toml:4:8" || !reflect.DeepEqual(s.Options, map[string]any{"max-bytes": int64(64 << 20)}) {
			t.Errorf("fold-constants is %+v", s)
		}
		want := map[string]any{
			"deep": true, "rounds": int64(-3), "ratio": 2.0, "label": "", "limit": int64(3000),
			"patience": 90 * time.Second, "order": "columns", "only": []string{"a", "b"},
		}
		if s := steps[1]; s.Check || !reflect.DeepEqual(s.Options, want) {
			t.Errorf("tile is %+v, want options %v", s, want)
		}
	}
}

// What the file says arrives in the pass.
func TestAssembledRuns(t *testing.T) {
	var got int64
	r, err := pass.NewRegistry(&pass.Pass{
		Name: "probe", Doc: "Notes its option.",
		Options: []pass.Option{{Name: "limit", Kind: pass.Size, Doc: "d", Default: int64(7)}},
		Run: func(c *pass.Context, _ *ir.Module) error {
			got = pass.Get[int64](c, "limit")
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("p.toml", []byte("version = 1\n[[pass]]\nname = \"probe\"\nlimit = \"2MiB\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := f.Assemble(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := steps[0].Pass.Run(&pass.Context{Context: context.Background(), Options: steps[0].Options}, nil); err != nil || got != 2<<20 {
		t.Errorf("the pass saw %d, %v", got, err)
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		in   any
		want int64 // -1 for an error
	}{
		{"0B", 0}, {"1B", 1}, {"3KB", 3000}, {"3KiB", 3072}, {"64MiB", 64 << 20}, {"4GiB", 4 << 30}, {"2TB", 2e12},
		{"1024TiB", 1 << 50}, {int64(0), 0}, {int64(4096), 4096}, {int64(1 << 50), 1 << 50},
		{"1025TiB", -1}, {"9999999999999999999B", -1}, {"99999999999TiB", -1}, {"", -1}, {"12", -1}, {"MiB", -1}, {"-1MiB", -1},
		{"+1MiB", -1}, {"1.5GiB", -1}, {"4 GiB", -1}, {"4gib", -1}, {"4GiBs", -1}, {"0x4GiB", -1}, {"1_0MiB", -1},
		{int64(-1), -1}, {int64(1<<50 + 1), -1}, {true, -1}, {4.0, -1},
	} {
		got, err := parseSize(c.in)
		if (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("parseSize(%#v) = %d, %v; want %d", c.in, got, err, c.want)
		}
	}
}

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		in   any
		want time.Duration // -1 for an error
	}{
		{"30s", 30 * time.Second}, {"1m30s", 90 * time.Second}, {"0s", 0}, {"1.5h", 90 * time.Minute},
		{"", -1}, {"30", -1}, {"-1s", -1}, {"1 s", -1}, {"1d", -1}, {"99999999999h", -1}, {int64(30), -1}, {false, -1},
	} {
		got, err := parseDuration(c.in)
		if (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("parseDuration(%#v) = %v, %v; want %v", c.in, got, err, c.want)
		}
	}
}

// As many entries as there may be are put together at once, one more is an error.
func TestAssembleManyEntries(t *testing.T) {
	var src strings.Builder
	src.WriteString(extended)
	for range maxEntries {
		src.WriteString("[[pass]]\nname = \"simplify\"\nafter = \"simplify\"\n")
	}
	f, err := Parse("p.toml", []byte(src.String()))
	if err != nil {
		t.Fatal(err)
	}
	steps, err := f.Assemble(registry(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != maxEntries+len(Default().Passes) {
		t.Errorf("%d steps", len(steps))
	}
	src.WriteString("[[pass]]\nname = \"fuse\"\n")
	if _, err := Parse("p.toml", []byte(src.String())); diag.CodeOf(err) != diag.Pipeline {
		t.Errorf("one entry too many gives %v", err)
	}
}
