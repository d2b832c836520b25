package passes

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
)

const v1 = "version = 1\n" // line 1 of most files here

// What a user reads: FILE:LINE:COL: what is wrong; what to do.
func TestErrors(t *testing.T) {
	r := registry(t)
	hash := strings.Repeat("a", 64)
	for _, c := range []struct{ src, want string }{
		// TOML itself.
		{v1 + "[target]\ndevice = cpu # fast\n", `3:10: not valid TOML: unexpected character U+0063 'c' at start of value; text stands in double quotes: "cpu"`},
		{v1 + "[[pass]\nname = \"fuse\"\n", `x`},
		{v1 + "[target\n", `x`},
		{v1 + "device\n", `x`},
		{v1 + "x = \"open\n", `x`},
		{v1 + "x = 12s\n", `x`},
		{v1 + "x = [1,\n", `x`},
		{v1 + "x = \"\xff\"\n", `x`},
		{v1 + "version = 2\n", `x`},
		{v1 + "[target]\n[dims]\n[target]\n", `x`},
		{v1 + "target.device = \"cpu\"\n[target]\nthreads = 1\n", `x`},
		{v1 + "target = {}\n[target.x]\n", `x`},
		{v1 + "[[pass]]\nname = \"fuse\"\n[pass]\n", `x`},
		{v1 + "pass = []\n[[pass]]\n", `x`},
		{v1 + "[pass]\n[[pass]]\n", `x`},
		{v1 + "x = 99999999999999999999\n", `x`},
		{v1 + "x = 1e999\n", `x`},
		{v1 + "x = " + strings.Repeat("[", 17) + strings.Repeat("]", 17) + "\n", `x`},
		{v1 + strings.Repeat("a.", 16) + "a = 1\n", `x`},
		{v1 + "x = " + strings.Repeat("[", 20000) + "\n", `x`},

		// The file.
		{"", `x`},
		{"extends = \"default\"\n", `x`},
		{"version = 2\n", `x`},
		{"version = \"1\"\n", `x`},
		{"version = 1.0\n", `x`},
		{v1 + "extends = \"defualt\"\n", `x`},
		{v1 + "extends = \"./base.toml\"\n", `x`},
		{v1 + "extends = true\n", `x`},
		{v1 + "extend = \"default\"\n", `x`},
		{v1 + "colour = 1\n", `x`},
		{v1 + "[targets]\n", `x`},
		{v1 + "[[passes]]\nname = \"fuse\"\n", `x`},
		{v1 + "[target]\nextends = \"default\"\n", `x`},
		{v1 + "[pass]\nname = \"fuse\"\n", `x`},
		{v1 + "[[target]]\n", `x`},
		{v1 + "target = \"cpu\"\n", `x`},
		{v1 + "pass = [\"fuse\", \"lower\"]\n", `x`},
		{v1 + "pass = \"fuse\"\n", `x`},

		// [target].
		{v1 + "[target]\ndevise = \"cpu\"\n", `x`},
		{v1 + "[target]\ncolour = \"red\"\n", `x`},
		{v1 + "[target]\ndevice = \"gpu\"\n", `x`},
		{v1 + "[target]\ndevice = \"tpu-v5\"\n", `x`},
		{v1 + "[target]\ndevice = 1\n", `x`},
		{v1 + "[target]\ndevice = \"\"\n", `x`},
		{v1 + "[target]\nmemory = \"4GIB\"\n", `x`},
		{v1 + "[target]\nmemory = \"lots\"\n", `x`},
		{v1 + "[target]\nmemory = \"9999TiB\"\n", `x`},
		{v1 + "[target]\nmemory = -1\n", `x`},
		{v1 + "[target]\nmemory = true\n", `x`},
		{v1 + "[target]\nthreads = -1\n", `x`},
		{v1 + "[target]\nthreads = 100000\n", `x`},
		{v1 + "[target]\nthreads = \"4\"\n", `x`},
		{v1 + "[target]\nthreads = 1.5\n", `x`},

		// [dims].
		{v1 + "[dims]\nseq = 512\n", `x`},
		{v1 + "[dims]\nseq = { maximum = 512 }\n", `x`},
		{v1 + "[dims]\nseq = { mx = 512 }\n", `x`},
		{v1 + "[dims]\nseq = { min = -1 }\n", `x`},
		{v1 + "[dims]\nseq = { max = 0 }\n", `x`},
		{v1 + "[dims]\nseq = { min = 9, max = 8 }\n", `x`},
		{v1 + "[dims]\nseq = { multiple = 0 }\n", `x`},
		{v1 + "[dims.seq]\nmin = 1\nmax = 7\nmultiple = 8\n", `x`},
		{v1 + "[dims]\nseq = { max = 9223372036854775807 }\n", `x`},
		{v1 + "[dims]\n\"\" = { max = 1 }\n", `x`},
		{v1 + "[dims]\nseq = { max = 1 }\nseq = { max = 2 }\n", `x`},

		// [inputs].
		{v1 + "[inputs]\nmask = { paddding = true }\n", `x`},
		{v1 + "[inputs]\nmask = { padding = \"yes\" }\n", `x`},
		{v1 + "[inputs]\nmask = true\n", `x`},
		{v1 + "[inputs]\n\"\" = {}\n", `x`},

		// [[match]].
		{v1 + "[[match]]\ntype = \"[n] f32\"\n", `x`},
		{v1 + "[[match]]\nvalue = \"v\"\n", `x`},
		{v1 + "[[match]]\nvalue = \"v\"\ntyp = \"[n] f32\"\n", `x`},
		{v1 + "[[match]]\nvalue = \"v\"\ntype = \"a\"\n[[match]]\nvalue = \"v\"\ntype = \"b\"\n", `x`},

		// [[state]].
		{v1 + "[[state]]\n", `x`},
		{v1 + "[[state]]\nin = \"i\"\n", `x`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\n", `x`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\naxis = \"a\"\n", `x`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\naxis = \"a\"\ncapacity = 0\n", `x`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\naxis = 1\ncapacity = 1\n", `x`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\naxis = \"a\"\ncapacity = 1\n[[state]]\nin = \"i\"\nout = \"p\"\naxis = \"a\"\ncapacity = 1\n", `x`},

		// [[plugin]].
		{v1 + "[[plugin]]\npath = \"p\"\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\n", `x`},
		{v1 + "[[plugin]]\nname = \"Acme Inc\"\npath = \"p\"\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = \"30\"\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = 30\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = \"0s\"\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = \"-3s\"\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = \"9999h\"\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\nsha265 = {}\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\nsha256 = \"" + hash + "\"\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\nsha256 = { linux = \"" + hash + "\" }\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\nsha256 = { \"linux/amd64\" = \"abc\" }\n", `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\n[[plugin]]\nname = \"acme\"\npath = \"q\"\n", `x`},

		// [[pass]] by itself.
		{v1 + entryText(`max-bytes = "1MiB"`), `x`},
		{v1 + entryText(`name = "Fuse All"`), `x`},
		{v1 + entryText(`name = "fuse#0"`), `x`},
		{v1 + entryText(`name = 3`), `x`},
		{extended + entryText(`name = "fuse"`, `remove = "yes"`), `x`},
		{extended + entryText(`name = "fuse"`, `check = "always"`), `x`},
		{extended + entryText(`name = "fuse"`, `check = "eahc"`), `x`},
		{extended + entryText(`name = "tile"`, `after = "simplify fuse"`), `x`},
		{extended + entryText(`name = "tile"`, `only = ["a", 1]`), `x`},
		{extended + entryText(`name = "tile"`, `only = { a = 1 }`), `x`},
		{extended + entryText(`name = "tile"`, `ratio = nan`), `x`},
		{extended + entryText(`name = "tile"`, `patience = 1979-05-27`), `x`},

		// [[pass]] among the others.
		{v1 + entryText(`name = "acme/strip-dropout"`), `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\n" + entryText(`name = "acne/strip-dropout"`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `before = "lower"`), `x`},
		{v1 + entryText(`name = "fuse"`, "remove = true"), `x`},
		{v1 + entryText(`name = "fuse"`, `after = "legalize"`), `x`},
		{v1 + entryText(`name = "fuse#2"`), `x`},
		{extended + entryText(`name = "fuse"`, "remove = true", `check = "each"`), `x`},
		{extended + entryText(`name = "simplify#2"`, `after = "fuse"`), `x`},

		// Assembling.
		{extended + entryText(`name = "simplfy"`), `x`},
		{extended + entryText(`name = "quantize"`), `x`},
		{v1 + entryText(`name = "fuze"`), `x`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\n" + entryText(`name = "acme/strip-droput"`), `x`},
		{extended + entryText(`name = "tile"`), `x`},
		{extended + entryText(`name = "tile"`, `after = "legalise"`), `x`},
		{extended + entryText(`name = "tile"`, `before = "simplify#3"`), `x`},
		{extended + entryText(`name = "tile"`, `before = "tile"`), `x`},
		{extended + entryText(`name = "tile"`, "remove = true"), `x`},
		{extended + entryText(`name = "simplify#3"`), `x`},
		{extended + entryText(`name = "fuse"`, "remove = true") + entryText(`name = "plan-memory"`, `after = "fuse"`), `x`},
		{extended + entryText(`name = "fuse"`, `check = "each"`) + entryText(`name = "fuse"`, `check = "none"`), `x`},
		{extended + entryText(`name = "fold-constants"`, `max-byte = "1MiB"`), `x`},
		{extended + entryText(`name = "fold-constants"`, `limit = "1MiB"`), `x`},
		{extended + entryText(`name = "fuse"`, `befor = "lower"`), `x`},
		{extended + entryText(`name = "fuse"`, `depth = 3`), `x`},
		{extended + entryText(`name = "fold-constants"`, `max-bytes = "1MIB"`), `x`},
		{extended + entryText(`name = "fold-constants"`, `max-bytes = true`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `deep = 1`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `rounds = "3"`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `ratio = "half"`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `label = 1`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `only = "a"`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `label = ["a"]`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `patience = "soon"`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `order = "column"`), `x`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `order = "diagonal"`), `x`},
		{v1 + entryText(`name = "fuse"`) + entryText(`name = "legalize"`), `x`},
		{extended + entryText(`name = "legalize"`, "remove = true") + entryText(`name = "legalize"`, `after = "fuse"`), `x`},
	} {
		f, err := Parse("p.toml", []byte(c.src))
		if err == nil {
			_, err = f.Assemble(r)
		}
		if err == nil {
			t.Errorf("no error from:\n%s", c.src)
			continue
		}
		if diag.CodeOf(err) != diag.Pipeline {
			t.Errorf("%v: code %d", err, diag.CodeOf(err))
		}
		if got := strings.TrimPrefix(err.Error(), "p.toml:"); got != c.want {
			t.Errorf("from:\n%.200s\ngot  %s\nwant %s", c.src, got, c.want)
		}
	}
}
