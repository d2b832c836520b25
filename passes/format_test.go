package passes

import (
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFormat(t *testing.T) {
	hash := strings.Repeat("0", 64)
	for _, c := range []struct{ name, in, want string }{
		{
			"keys in their order, one way to write each value",
			"extends='default'\nversion=0x1\ntarget={threads=1_0,device='cpu',memory=\"1GiB\"}\n",
			"version = 1\nextends = \"default\"\n\n[target]\ndevice = \"cpu\"\nmemory = \"1GiB\"\nthreads = 10\n",
		},
		{
			"dims keep their order",
			"version = 1\ndims.n.max = 4\n[target]\n[inputs.m]\npadding = true\n[inputs.\"a b\"]\n",
			"version = 1\n\n[target]\n\n[dims]\nn = { max = 4 }\n\n[inputs]\nm = { padding = true }\n\"a b\" = {}\n",
		},
		{
			"lists of tables, options in their order behind the keys of every pass",
			"version = 1\npass = [{z = 1.50, name = 'fuse', a = [ 'x', \"y\" ]}, {check = \"each\", name = \"lower\", b = 1e3}]\n",
			"version = 1\n\n[[pass]]\nname = \"fuse\"\nz = 1.5\na = [\"x\", \"y\"]\n\n[[pass]]\nname = \"lower\"\ncheck = \"each\"\nb = 1000.0\n",
		},
		{
			"tables in their order, and what is empty",
			"version = 1\npass = []\n[inputs]\n[dims]\n[dims.n]\n[target]\n",
			"version = 1\npass = []\n\n[target]\n\n[dims]\nn = {}\n\n[inputs]\n",
		},
		{
			"what is too long for a line",
			"version = 1\n[[plugin]]\nname = \"a\"\npath = \"p\"\nsha256 = { \"linux/amd64\" = \"" + hash + "\", \"darwin/arm64\" = \"" + hash + "\" }\n" +
				"[[pass]]\nname = \"p\"\nonly = [\"" + strings.Repeat("a", 40) + "\", \"" + strings.Repeat("b", 40) + "\", \"" + strings.Repeat("c", 40) + "\"]\n",
			"version = 1\n\n[[plugin]]\nname = \"a\"\npath = \"p\"\n\n[plugin.sha256]\n\"linux/amd64\" = \"" + hash + "\"\n\"darwin/arm64\" = \"" + hash + "\"\n\n" +
				"[[pass]]\nname = \"p\"\nonly = [\n  \"" + strings.Repeat("a", 40) + "\",\n  \"" + strings.Repeat("b", 40) + "\",\n  \"" + strings.Repeat("c", 40) + "\",\n]\n",
		},
		{
			"texts",
			"version = 1\n[[pass]]\nname = \"p\"\na = 'C:\\x'\nb = \"\"\"\ntwo\nlines\\u0001\"\"\"\nc = \"gr\\u00fcn \\\"\\t\\u007f\"\n",
			"version = 1\n\n[[pass]]\nname = \"p\"\na = \"C:\\\\x\"\nb = \"two\\nlines\\u0001\"\nc = \"grün \\\"\\t\\u007F\"\n",
		},
		{
			"comments stay with what they stand at",
			"#head 1\n  # head 2\n\n\n# of version\nversion=1# behind\n# extends = \"default\"\n\n# of target\n# more\n[target]#behind target\n" +
				"# of threads\nthreads=0\n\n# of device\n\ndevice=\"cpu\" # c\n# memory = \"1GiB\"\n\n# aside\n\n# of dims\n[dims] # d\nn={max=1} # n\n# the end\n\n# foot 1\n\n# foot 2",
			"#head 1\n# head 2\n\n# of version\nversion = 1  # behind\n# extends = \"default\"\n\n# of target\n# more\n[target]  #behind target\n" +
				"# of device\n\ndevice = \"cpu\"  # c\n# of threads\nthreads = 0\n# memory = \"1GiB\"\n\n# aside\n\n# of dims\n[dims]  # d\nn = { max = 1 }  # n\n# the end\n\n# foot 1\n\n# foot 2\n",
		},
		{
			"comments inside brackets and braces",
			"version = 1\n[dims]\n# n\nn = { # first\n  max = 4, # four\n  # last\n}\n[[pass]]\nname = \"p\"\nonly = [ # one\n \"a\", # a\n # b 1\n # b 2\n \"b\",\n # tail\n] # behind\n",
			"version = 1\n\n# n\n[dims.n]\n# first\nmax = 4  # four\n# last\n\n[[pass]]\nname = \"p\"\nonly = [\n  # one\n  \"a\",  # a\n  # b 1\n  # b 2\n  \"b\",\n  # tail\n]  # behind\n",
		},
		{
			"comments around a list in brackets",
			"version = 1\n# p\npass = [ # q\n  { name = \"a\" }, # r\n  # s\n  { name = \"b\" },\n  # t\n] # u\n",
			"version = 1\n\n# p\n# u\n# q\n[[pass]]  # r\nname = \"a\"\n\n# s\n[[pass]]\nname = \"b\"\n# t\n",
		},
		{
			"a table becomes one line, its comments stay",
			"version = 1\n[dims]\n\n# n\n[dims.n] # behind\nmax = 4\n\n# m\n[dims.m]\nmin = 1\n",
			"version = 1\n\n[dims]\n# n\nn = { max = 4 }  # behind\n# m\nm = { min = 1 }\n",
		},
	} {
		got, err := Format("p.toml", []byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if string(got) != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		if err := checkFormat([]byte(c.in)); err != "" {
			t.Errorf("%s: %s", c.name, err)
		}
	}
}

// A file that Parse refuses is refused by Format, with the same words.
func TestFormatRefuses(t *testing.T) {
	src := []byte("version = 1\n[target]\ndevise = \"cpu\"\n")
	_, want := Parse("p.toml", src)
	if _, err := Format("p.toml", src); err == nil || err.Error() != want.Error() {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestFormatEverything(t *testing.T) {
	if err := checkFormat([]byte(everything)); err != "" {
		t.Error(err)
	}
}

// checkFormat says what of Format's promises does not hold for a file that parses.
func checkFormat(src []byte) string {
	before, err := Parse("p.toml", src)
	if err != nil {
		return ""
	}
	text, err := Format("p.toml", src)
	if err != nil {
		return "it parses and does not format: " + err.Error()
	}
	after, err := Parse("p.toml", text)
	if err != nil {
		return "its canonical form does not parse: " + err.Error() + "\n" + string(text)
	}
	if !reflect.DeepEqual(meaning(before), meaning(after)) {
		return "its canonical form means something else:\n" + string(text)
	}
	again, err := Format("p.toml", text)
	if err != nil || string(again) != string(text) {
		return "formatting twice gives\n" + string(again) + "\nand not\n" + string(text)
	}
	if a, b := comments(src), comments(text); !slices.Equal(a, b) {
		return "the comments become " + strings.Join(b, "|") + ", they were " + strings.Join(a, "|")
	}
	return ""
}

// comments are all comments of a file that is valid TOML, sorted.
func comments(src []byte) []string {
	d, err := parseTOML("", src)
	if err != nil {
		return []string{err.Error()}
	}
	all := slices.Concat(d.head, d.foot)
	var walk func(v *value)
	walk = func(v *value) {
		all = append(append(all, v.lead...), v.trail)
		switch x := v.any.(type) {
		case *table:
			all = append(all, x.tail...)
			for _, e := range x.entries {
				walk(e.val)
			}
		case *array:
			all = append(all, x.tail...)
			for _, item := range x.items {
				walk(item)
			}
		}
	}
	walk(&value{any: d.root})
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	slices.Sort(all)
	return all
}

// Shuffled lines of a file that has everything: most are no pipeline, the others format.
func TestFormatShuffled(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	pieces := strings.SplitAfter(everything, "\n")
	valid := 0
	for range 3000 {
		lines := slices.Clone(pieces)
		for range 1 + rnd.IntN(6) {
			i := rnd.IntN(len(lines))
			switch rnd.IntN(4) {
			case 0:
				lines = slices.Insert(lines, i, "# note "+string(rune('a'+rnd.IntN(26)))+"\n")
			case 1:
				lines = slices.Insert(lines, i, "\n")
			case 2:
				lines = slices.Delete(lines, i, i+1)
			case 3:
				j := rnd.IntN(len(lines))
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
		src := strings.Join(lines, "")
		if _, err := Parse("p.toml", []byte(src)); err == nil {
			valid++
		}
		if err := checkFormat([]byte(src)); err != "" {
			t.Fatalf("%s\nfrom:\n%s", err, src)
		}
	}
	if valid < 300 {
		t.Errorf("only %d of the files were pipelines", valid)
	}
}

// Files made to cost much are read in bounded time and memory.
func TestParseCost(t *testing.T) {
	fill := func(prefix, unit, suffix string) string {
		n := (maxFile - len(prefix) - len(suffix)) / len(unit)
		return prefix + strings.Repeat(unit, n) + suffix
	}
	for _, c := range []struct{ name, src string }{
		{"nested arrays", fill("version = 1\nx = ", "[", "")},
		{"nested arrays that look closed", fill("version = 1\nx = ", "[\"]\",", "")},
		{"nested tables", fill("version = 1\nx = ", "{a=", "")},
		{"a long key", fill("version = 1\n", "a.", "a = 1\n")},
		{"a long list", fill("version = 1\nx = [", "1,", "]\n")},
		{"a long option", fill("version = 1\n[[pass]]\nname = \"p\"\nx = [", "\"\",", "]\n")},
		{"comments", fill("version = 1\n", "#\n", "")},
		{"empty lines", fill("version = 1\n", "\n", "")},
		{"empty lines and comments", fill("version = 1\n", "#\n\n", "")},
		{"tables of a list", fill("version = 1\n", "[[match]]\n", "")},
		{"tables in one line", fill("version = 1\nmatch = [", "{},", "]\n")},
		{"a long word", fill("version = 1\n[target]\ndevice = \"", "x", "\"\n")},
		{"a long unknown key", fill("version = 1\n", "x", " = 1\n")},
		{"a long number", fill("version = ", "1", "\n")},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := Format(c.name, []byte(c.src))
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 512 || took > 30*time.Second {
			t.Errorf("%s: %d MiB, %v", c.name, used, took)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: a message of %d bytes", c.name, len(err.Error()))
		}
	}
}

// FuzzParse: no text makes Parse or Format panic, and Format keeps its promises.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add(DefaultTOML())
	f.Add([]byte("version = 1\n[dims]\n# n\nn = { # first\n  max = 4, # four\n}\n[[pass]]\nname = \"p\"\nonly = [ # one\n \"a\", # a\n]\n"))
	f.Add([]byte("version = 1\npass = [{name = 'a', x = 1e3}]\ntarget.device = 'cpu'\n"))
	r := registry(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Parse("p.toml", src)
		if err != nil {
			return
		}
		if err := checkFormat(src); err != "" {
			t.Error(err)
		}
		steps, err := p.Assemble(r)
		if err == nil && len(steps) > len(p.Passes)+len(Default().Passes) {
			t.Errorf("%d steps of %d entries", len(steps), len(p.Passes))
		}
	})
}
