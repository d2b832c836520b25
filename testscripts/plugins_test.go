package testscripts

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// goEnv is what a script needs to build Go programs as its user does.
var goEnv = sync.OnceValue(func() map[string]string {
	env := map[string]string{}
	out, err := exec.Command("go", "env", "-json", "GOCACHE", "GOFLAGS", "GOMODCACHE", "GOPROXY", "GOSUMDB").Output()
	if err != nil || json.Unmarshal(out, &env) != nil {
		panic(fmt.Sprintf("go env: %v", err))
	}
	return env
})

// built are the plugins that were built, by their folder: each once.
var built struct {
	sync.Mutex
	files map[string]string
	dir   string // removed when the scripts have run
}

func buildPlugin(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 2, "plugin DIR FILE")
	built.Lock()
	defer built.Unlock()
	file := built.files[args[0]]
	if file == "" {
		file = filepath.Join(built.dir, fmt.Sprint(len(built.files)))
		cmd := exec.Command("go", "build", "-o", file, ".")
		cmd.Dir = filepath.Join(ts.Getenv("ROOT"), args[0])
		out, err := cmd.CombinedOutput()
		if err != nil {
			ts.Fatalf("%v\n%s", err, out)
		}
		built.files[args[0]] = file
	}
	// The link has the name that the script wants, and the plugin sees.
	ts.Check(os.Link(file, ts.MkAbs(args[1])))
}

func faulty(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 1, "faulty FAULT")
	buildPlugin(ts, false, []string{"plugins/host/testdata/faulty", args[0]})
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".toml"), fmt.Appendf(nil, `version = 1
extends = "default"
[[plugin]]
name = "acme"
path = "./%s"
timeout = "3s"
[[pass]]
name = "acme/work"
after = "deduce"
`, args[0]), 0o666))
}

// gone looks for processes that run in the folder of the script.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 0, "gone")
	if runtime.GOOS != "linux" {
		ts.Logf("gone: processes are looked up in /proc, which this system has not")
		return
	}
	work := ts.Getenv("WORK")
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		left := ""
		links, _ := filepath.Glob("/proc/[0-9]*/cwd")
		for _, link := range links {
			if dir, err := os.Readlink(link); err == nil && (dir == work || strings.HasPrefix(dir, work+"/")) {
				cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
				left += fmt.Sprintf("%s %q\n", filepath.Dir(link), cmdline)
			}
		}
		if left == "" {
			return
		}
		if time.Since(start) > 10*time.Second {
			ts.Fatalf("left behind:\n%s", left)
		}
	}
}

// readme writes the blocks of code of a section to DIR/1, DIR/2, and so on.
func readme(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 2, "readme SECTION DIR")
	text := ts.ReadFile(filepath.Join(ts.Getenv("ROOT"), "README.md"))
	_, text, ok := strings.Cut(text, "\n## "+args[0]+"\n")
	if !ok {
		ts.Fatalf("README.md has no section %q", args[0])
	}
	text, _, _ = strings.Cut(text, "\n## ")
	dir := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o777))
	var blocks []string
	inside := false
	for line := range strings.Lines(text) {
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented && !inside:
			blocks, inside = append(blocks, code), true
		case indented:
			blocks[len(blocks)-1] += code
		case line == "\n" && inside:
			blocks[len(blocks)-1] += line // within a block, or behind it
		default:
			inside = false
		}
	}
	for i, b := range blocks {
		ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprint(i+1)), []byte(strings.TrimRight(b, "\n")+"\n"), 0o666))
	}
}

func within(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 2, "within FILE OTHER")
	other := slices.Collect(strings.Lines(ts.ReadFile(args[1])))
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if !slices.Contains(other, line) {
			ts.Fatalf("%s has no line %q", args[1], line)
		}
	}
}
