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
		{v1 + "[[pass]\nname = \"fuse\"\n", `2:7: not valid TOML: expected ']]' to close array table name; see https://toml.io/en/v1.0.0`},
		{v1 + "[target\n", `2:8: not valid TOML: expected ']' to close table name; see https://toml.io/en/v1.0.0`},
		{v1 + "device\n", `2:7: not valid TOML: expected '=' after key; see https://toml.io/en/v1.0.0`},
		{v1 + "x = \"open\n", `2:10: not valid TOML: basic strings cannot have new lines; see https://toml.io/en/v1.0.0`},
		{v1 + "x = 12s\n", `2:7: not valid TOML: strings must be quoted; text stands in double quotes: "12s"`},
		{v1 + "x = [1,\n", `2:8: not valid TOML: array is incomplete; see https://toml.io/en/v1.0.0`},
		{v1 + "x = \"\xff\"\n", `2:6: not valid TOML: invalid UTF-8 character in basic string; see https://toml.io/en/v1.0.0`},
		{v1 + "version = 2\n", `2:1: "version" is set again; it was set in line 1; keep one of the two`},
		{v1 + "[target]\n[dims]\n[target]\n", `4:1: "target" is set again; it was set in line 2; put its keys together`},
		{v1 + "target.device = \"cpu\"\n[target]\nthreads = 1\n", `3:1: "target" is set again; it was set in line 2; put its keys together`},
		{v1 + "target = {}\n[target.x]\n", `3:2: "target" is set again; it was set in line 2; put all of its keys into the braces`},
		{v1 + "[[pass]]\nname = \"fuse\"\n[pass]\n", `4:1: [pass] after [[pass]]; write [[pass]] throughout`},
		{v1 + "pass = []\n[[pass]]\n", `3:1: "pass" is set again; it was set in line 2; write [[pass]] throughout`},
		{v1 + "[pass]\n[[pass]]\n", `3:1: "pass" is set again; it was set in line 2; write [[pass]] throughout`},
		{v1 + "x = 99999999999999999999\n", `2:5: the number 99999999999999999999 does not fit 64 bits; write a smaller one`},
		{v1 + "x = 1e999\n", `2:5: the number 1e999 does not fit 64 bits; write a smaller one`},
		{v1 + "x = " + strings.Repeat("[", 17) + strings.Repeat("]", 17) + "\n", `2:5: values nested more than 16 deep; no key of a pipeline needs more than 2`},
		{v1 + strings.Repeat("a.", 16) + "a = 1\n", `2:33: a key of more than 16 parts; no key of a pipeline has more than 3`},
		{v1 + "x = " + strings.Repeat("[", 20000) + "\n", `2:10005: not valid TOML: arrays and inline tables are nested more than the maximum of 10000 levels deep; see https://toml.io/en/v1.0.0`},

		// The file.
		{"", `1:1: the file does not say its version; start it with version = 1`},
		{"extends = \"default\"\n", `1:1: the file does not say its version; start it with version = 1`},
		{"version = 2\n", `1:11: version = 2 is not known; this pitopt reads version 1`},
		{"version = \"1\"\n", `1:11: version = "1" is not an integer; write version = 1`},
		{"version = 1.0\n", `1:11: version = 1.0 is not an integer; write version = 1`},
		{v1 + "extends = \"defualt\"\n", `2:11: extends = "defualt" is not known; did you mean "default"?`},
		{v1 + "extends = \"./base.toml\"\n", `2:11: extends = "./base.toml" is not known; there is only "default"`},
		{v1 + "extends = true\n", `2:11: extends = true is not text in quotes; write extends = "default"`},
		{v1 + "extend = \"default\"\n", `2:1: unknown key "extend" in the file; did you mean "extends"?`},
		{v1 + "colour = 1\n", `2:1: unknown key "colour" in the file; there are "version", "extends", "target", "dims", "inputs", "match", "state", "plugin", "rewrite" and "pass"`},
		{v1 + "[targets]\n", `2:1: unknown key "targets" in the file; did you mean "target"?`},
		{v1 + "[[passes]]\nname = \"fuse\"\n", `2:1: unknown key "passes" in the file; did you mean "pass"?`},
		{v1 + "[target]\nextends = \"default\"\n", `3:1: unknown key "extends" in [target]; it stands at the top, before the first [table]`},
		{v1 + "[pass]\nname = \"fuse\"\n", `2:1: pass is not a list of tables; write [[pass]]`},
		{v1 + "[[target]]\n", `2:1: target is one table, not a list of them; write [target]`},
		{v1 + "target = \"cpu\"\n", `2:10: target = "cpu" is not a table; write target = { device = "cpu" }`},
		{v1 + "pass = [\"fuse\", \"lower\"]\n", `2:9: pass has "fuse", which is not a table; write [[pass]] for each, and its keys below`},
		{v1 + "pass = \"fuse\"\n", `2:8: pass is not a list of tables; write [[pass]]`},

		// [target].
		{v1 + "[target]\ndevise = \"cpu\"\n", `3:1: unknown key "devise" in [target]; did you mean "device"?`},
		{v1 + "[target]\ncolour = \"red\"\n", `3:1: unknown key "colour" in [target]; there are "device", "memory" and "threads"`},
		{v1 + "[target]\ndevice = \"gpu\"\n", `3:10: device = "gpu" is not known; did you mean "cpu"?`},
		{v1 + "[target]\ndevice = \"tpu-v5\"\n", `3:10: device = "tpu-v5" is not known; there are "auto", "cpu", "cuda", "cuda-emu" and "interp"`},
		{v1 + "[target]\ndevice = 1\n", `3:10: device = 1 is not text in quotes; write device = "auto"`},
		{v1 + "[target]\ndevice = \"\"\n", `3:10: device is empty; write device = "auto", for example`},
		{v1 + "[target]\nmemory = \"4GIB\"\n", `3:10: memory = "4GIB" is no size; did you mean "4GiB"?`},
		{v1 + "[target]\nmemory = \"lots\"\n", `3:10: memory = "lots" is no size; write a size such as "512MiB" or "4GiB"`},
		{v1 + "[target]\nmemory = \"9999TiB\"\n", `3:10: memory = "9999TiB" is out of range; sizes are 0B to 1024TiB`},
		{v1 + "[target]\nmemory = -1\n", `3:10: memory = -1 is out of range; sizes are 0B to 1024TiB`},
		{v1 + "[target]\nmemory = true\n", `3:10: memory = true is no size; write a size such as "512MiB" or "4GiB"`},
		{v1 + "[target]\nthreads = -1\n", `3:11: threads = -1 is out of range; take 0 to 4096`},
		{v1 + "[target]\nthreads = 100000\n", `3:11: threads = 100000 is out of range; take 0 to 4096`},
		{v1 + "[target]\nthreads = \"4\"\n", `3:11: threads = "4" is not an integer; write threads = 1`},
		{v1 + "[target]\nthreads = 1.5\n", `3:11: threads = 1.5 is not an integer; write threads = 1`},

		// [dims].
		{v1 + "[dims]\nseq = 512\n", `3:7: seq = 512 is not a table; write seq = { max = 512 }`},
		{v1 + "[dims]\nseq = { maximum = 512 }\n", `3:9: unknown key "maximum" in dim "seq"; there are "min", "max" and "multiple"`},
		{v1 + "[dims]\nseq = { mx = 512 }\n", `3:9: unknown key "mx" in dim "seq"; did you mean "max"?`},
		{v1 + "[dims]\nseq = { min = -1 }\n", `3:15: min = -1 is out of range; take 0 to 1099511627776`},
		{v1 + "[dims]\nseq = { max = 0 }\n", `3:15: max = 0 is out of range; take 1 to 1099511627776`},
		{v1 + "[dims]\nseq = { min = 9, max = 8 }\n", `3:7: dim "seq": min 9 is above max 8; lower min, or raise max`},
		{v1 + "[dims]\nseq = { multiple = 0 }\n", `3:20: multiple = 0 is out of range; take 1 to 1099511627776`},
		{v1 + "[dims.seq]\nmin = 1\nmax = 7\nmultiple = 8\n", `2:1: dim "seq": no multiple of 8 is in 1 to 7; raise max, or lower min or multiple`},
		{v1 + "[dims]\nseq = { max = 9223372036854775807 }\n", `3:15: max = 9223372036854775807 is out of range; take 1 to 1099511627776`},
		{v1 + "[dims]\n\"\" = { max = 1 }\n", `3:1: a dim without a name; name a symbol of the model`},
		{v1 + "[dims]\nseq = { max = 1 }\nseq = { max = 2 }\n", `4:1: "seq" is set again; it was set in line 3; keep one of the two`},

		// [inputs].
		{v1 + "[inputs]\nmask = { paddding = true }\n", `3:10: unknown key "paddding" in input "mask"; did you mean "padding"?`},
		{v1 + "[inputs]\nmask = { padding = \"yes\" }\n", `3:20: padding = "yes" is not true or false; write padding = true`},
		{v1 + "[inputs]\nmask = true\n", `3:8: mask = true is not a table; write mask = { padding = true }`},
		{v1 + "[inputs]\n\"\" = {}\n", `3:1: an input without a name; name an input of the model`},

		// [[match]].
		{v1 + "[[match]]\ntype = \"[n] f32\"\n", `2:1: a [[match]] without value; add value = "NAME", a value of the model`},
		{v1 + "[[match]]\nvalue = \"v\"\n", `2:1: a [[match]] without type; add type = "[batch, 768] f32", for example`},
		{v1 + "[[match]]\nvalue = \"v\"\ntyp = \"[n] f32\"\n", `4:1: unknown key "typ" in [[match]]; did you mean "type"?`},
		{v1 + "[[match]]\nvalue = \"v\"\ntype = \"a\"\n[[match]]\nvalue = \"v\"\ntype = \"b\"\n", `5:1: a second [[match]] of value "v"; keep one; the first is at p.toml:2:1`},

		// [[rewrite]].
		{v1 + "[[rewrite]]\n", `2:1: a [[rewrite]] without file; add file = "rules.pit", for example`},
		{v1 + "[[rewrite]]\nfiles = \"a\"\n", `3:1: unknown key "files" in [[rewrite]]; did you mean "file"?`},
		{v1 + "[[rewrite]]\nfile = 3\n", `3:8: file = 3 is not text in quotes; write file = "rules.pit"`},
		{v1 + "[[rewrite]]\nfile = \"a\"\n[[rewrite]]\nfile = \"a\"\n", `4:1: a second [[rewrite]] with the file "a"; keep one; the first is at p.toml:2:1`},
		// [[state]].
		{v1 + "[[state]]\n", `2:1: a [[state]] without in; add in = "NAME", an input of the model`},
		{v1 + "[[state]]\nin = \"i\"\n", `2:1: a [[state]] without out; add out = "NAME", an output of the model`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\ncapacity = 9\n", `2:1: a [[state]] with a capacity and without axis; add axis = "NAME", the dim that grows`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\naxis = \"a\"\n", `2:1: a [[state]] with an axis and without capacity; add capacity = 4096, for example`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\naxis = \"a\"\ncapacity = 0\n", `6:12: capacity = 0 is out of range; take 1 to 1099511627776`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\naxis = 1\ncapacity = 1\n", `5:8: axis = 1 is not text in quotes; write axis = "past_seq"`},
		{v1 + "[[state]]\nin = \"i\"\nout = \"o\"\naxis = \"a\"\ncapacity = 1\n[[state]]\nin = \"i\"\nout = \"p\"\naxis = \"a\"\ncapacity = 1\n", `7:1: the state from "p" to "i" shares a name with another; an input or output carries one state; the other is at p.toml:2:1`},

		// [[plugin]].
		{v1 + "[[plugin]]\npath = \"p\"\n", `2:1: a [[plugin]] without name; add name = "acme", for example; its passes are then "acme/..."`},
		{v1 + "[[plugin]]\nname = \"acme\"\n", `2:1: plugin "acme" without path; add path = "./acme-passes", for example, relative to this file`},
		{v1 + "[[plugin]]\nname = \"Acme Inc\"\npath = \"p\"\n", `3:8: "Acme Inc" is no name for a plugin; use lower-case letters and digits, and "-" between them`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = \"30\"\n", `5:11: timeout = "30" is no duration; write a duration such as "30s" or "2m"`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = 30\n", `5:11: timeout = 30 is no duration; write a duration such as "30s" or "2m"`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = \"0s\"\n", `5:11: timeout = "0s" is out of range; take more than 0s and at most 24h`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = \"-3s\"\n", `5:11: timeout = "-3s" is no duration; write a duration such as "30s" or "2m"`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\ntimeout = \"9999h\"\n", `5:11: timeout = "9999h" is out of range; take more than 0s and at most 24h`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\nsha265 = {}\n", `5:1: unknown key "sha265" in [[plugin]]; did you mean "sha256"?`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\nsha256 = \"" + hash + "\"\n", `5:10: sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" is not a table; write sha256 = { "linux/amd64" = "..." }`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\nsha256 = { linux = \"" + hash + "\" }\n", `5:12: "linux" is no platform; write "linux/amd64", with GOOS and GOARCH of the executable`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\nsha256 = { \"linux/amd64\" = \"abc\" }\n", `5:28: the sha256 for linux/amd64 is not 64 hexadecimal digits; take what sha256sum prints for the executable`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\n[[plugin]]\nname = \"acme\"\npath = \"q\"\n", `5:1: a second plugin "acme"; rename one; the first is at p.toml:2:1`},

		// [[pass]] by itself.
		{v1 + entryText(`max-bytes = "1MiB"`), `2:1: a [[pass]] without name; add name = "simplify", for example; "pitopt passes" lists them`},
		{v1 + entryText(`name = "Fuse All"`), `3:8: "Fuse All" is no name of a pass; names are like "fold-constants", "acme/strip-dropout", or "simplify#2" for the second of a name`},
		{v1 + entryText(`name = "fuse#0"`), `3:8: "fuse#0" is no name of a pass; names are like "fold-constants", "acme/strip-dropout", or "simplify#2" for the second of a name`},
		{v1 + entryText(`name = 3`), `3:8: name = 3 is not text in quotes; write name = "simplify"`},
		{extended + entryText(`name = "fuse"`, `remove = "yes"`), `5:10: remove = "yes" is not true or false; write remove = true`},
		{extended + entryText(`name = "fuse"`, `check = "always"`), `5:9: check = "always" is not known; there are "each" and "none"`},
		{extended + entryText(`name = "fuse"`, `check = "eahc"`), `5:9: check = "eahc" is not known; did you mean "each"?`},
		{extended + entryText(`name = "tile"`, `after = "simplify fuse"`), `5:9: "simplify fuse" is no name of a pass; names are like "fold-constants", "acme/strip-dropout", or "simplify#2" for the second of a name`},
		{extended + entryText(`name = "tile"`, `only = ["a", 1]`), `5:14: the list only has 1, which is not text; put quotes around it`},
		{extended + entryText(`name = "tile"`, `only = { a = 1 }`), `5:8: only = {...} is nothing that an option takes; options are true or false, numbers, text, or lists of text`},
		{extended + entryText(`name = "tile"`, `ratio = nan`), `5:9: ratio = nan is not finite; write a number`},
		{extended + entryText(`name = "tile"`, `patience = 1979-05-27`), `5:12: patience = 1979-05-27 is nothing that an option takes; options are true or false, numbers, text, or lists of text`},

		// [[pass]] among the others.
		{v1 + entryText(`name = "acme/strip-dropout"`), `3:8: pass "acme/strip-dropout" is of a plugin "acme", which the file does not name; add a [[plugin]] with name = "acme" and its path`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\n" + entryText(`name = "acne/strip-dropout"`), `6:8: pass "acne/strip-dropout" is of a plugin "acne", which the file does not name; did you mean "acme"?`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `before = "lower"`), `4:8: pass "tile" has both after and before; keep one of them`},
		{v1 + entryText(`name = "fuse"`, "remove = true"), `3:8: pass "fuse" has remove, but the file extends nothing; add extends = "default" at the top, or list the passes in the order in which they run`},
		{v1 + entryText(`name = "fuse"`, `after = "legalize"`), `3:8: pass "fuse" has after or before, but the file extends nothing; add extends = "default" at the top, or list the passes in the order in which they run`},
		{v1 + entryText(`name = "fuse#2"`), `3:8: pass "fuse#2" has a number, but the file extends nothing; add extends = "default" at the top, or list the passes in the order in which they run`},
		{extended + entryText(`name = "fuse"`, "remove = true", `check = "each"`), `4:8: pass "fuse" is removed and configured; an entry with remove has a name and nothing else`},
		{extended + entryText(`name = "simplify#2"`, `after = "fuse"`), `4:8: pass "simplify#2" has both a number and a place; a number means the one that is there already; write "simplify" to put in one more`},

		// Assembling.
		{extended + entryText(`name = "simplfy"`), `4:8: unknown pass "simplfy"; did you mean "simplify"?`},
		{extended + entryText(`name = "quantize"`), `4:8: unknown pass "quantize"; "pitopt passes" lists what there is`},
		{v1 + entryText(`name = "fuze"`), `3:8: unknown pass "fuze"; did you mean "fuse"?`},
		{v1 + "[[plugin]]\nname = \"acme\"\npath = \"p\"\n" + entryText(`name = "acme/strip-droput"`), `6:8: unknown pass "acme/strip-droput"; did you mean "acme/strip-dropout"?`},
		{extended + entryText(`name = "tile"`), `4:8: pass "tile" is not in the default pipeline; say where it goes: after = "legalize", for example, or before`},
		{extended + entryText(`name = "tile"`, `after = "legalise"`), `5:9: there is no pass "legalise" in the pipeline; did you mean "legalize"?`},
		{extended + entryText(`name = "tile"`, `before = "simplify#3"`), `5:10: there is no pass "simplify#3" in the pipeline; did you mean "simplify#2"?`},
		{extended + entryText(`name = "tile"`, `before = "tile"`), `5:10: there is no pass "tile" in the pipeline; there are "fold-constants", "deduce", "simplify", "decompose", "simplify#2", "raise", "legalize", "state", "remove-padding", "fuse", "pit", "dispatch", "plan-memory" and "lower"`},
		{extended + entryText(`name = "tile"`, "remove = true"), `4:8: there is no pass "tile" in the pipeline; there are "fold-constants", "deduce", "simplify", "decompose", "simplify#2", "raise", "legalize", "state", "remove-padding", "fuse", "pit", "dispatch", "plan-memory" and "lower"`},
		{extended + entryText(`name = "simplify#3"`), `4:8: there is no pass "simplify#3" in the pipeline; did you mean "simplify#2"?`},
		{extended + entryText(`name = "fuse"`, "remove = true") + entryText(`name = "plan-memory"`, `after = "fuse"`), `8:9: there is no pass "fuse" in the pipeline; there are "fold-constants", "deduce", "simplify", "decompose", "simplify#2", "raise", "legalize", "state", "remove-padding", "pit", "dispatch", "plan-memory" and "lower"`},
		{extended + entryText(`name = "fuse"`, `check = "each"`) + entryText(`name = "fuse"`, `check = "none"`), `7:8: pass "fuse" is configured twice; put the options together with those at p.toml:4:8, or say where one more goes with after or before`},
		{extended + entryText(`name = "fold-constants"`, `max-byte = "1MiB"`), `5:1: pass "fold-constants" has no option "max-byte"; did you mean "max-bytes"?`},
		{extended + entryText(`name = "fold-constants"`, `limit = "1MiB"`), `5:1: pass "fold-constants" has no option "limit"; there is only "max-bytes"`},
		{extended + entryText(`name = "fuse"`, `befor = "lower"`), `5:1: pass "fuse" has no option "befor"; did you mean "before"?`},
		{extended + entryText(`name = "fuse"`, `depth = 3`), `5:1: pass "fuse" has no option "depth"; it has none; take the line out`},
		{extended + entryText(`name = "fold-constants"`, `max-bytes = "1MIB"`), `5:13: max-bytes = "1MIB" is no size; did you mean "1MiB"?`},
		{extended + entryText(`name = "fold-constants"`, `max-bytes = true`), `5:13: max-bytes = true is no size; write a size such as "512MiB" or "4GiB"`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `deep = 1`), `6:8: deep = 1 is not true or false; write deep = true, for example`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `rounds = "3"`), `6:10: rounds = "3" is not an integer; write rounds = 8, for example`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `ratio = "half"`), `6:9: ratio = "half" is not a number; write ratio = 0.5, for example`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `label = 1`), `6:9: label = 1 is not text in quotes; write label = "text", for example`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `only = "a"`), `6:8: only = "a" is not a list of text; write only = ["one", "two"], for example`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `label = ["a"]`), `6:9: label = [...] is not text in quotes; write label = "text", for example`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `patience = "soon"`), `6:12: patience = "soon" is no duration; write a duration such as "30s" or "2m"`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `order = "column"`), `6:9: order = "column" is not known; did you mean "columns"?`},
		{extended + entryText(`name = "tile"`, `after = "fuse"`, `order = "diagonal"`), `6:9: order = "diagonal" is not known; there are "rows" and "columns"`},
		{v1 + entryText(`name = "fuse"`) + entryText(`name = "legalize"`), `3:8: pass "fuse" must stand after "legalize": kinds are read from programs; move the entry, or leave one of the two out`},
		{extended + entryText(`name = "legalize"`, "remove = true") + entryText(`name = "legalize"`, `after = "fuse"`), `2:11: pass "state" must stand after "legalize": what appends is told by programs; move the entry, or leave one of the two out`},
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
