package testscripts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/frontend/onnx/wire/corpus"
)

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"code":      code,
	"onnx":      writeONNX,
	"model":     writeModel,
	"malformed": writeMalformed,
	"data":      writeData,
	"interrupt": interrupt,
	"sigkill":   sigkill,
	"plugin":    buildPlugin,
	"faulty":    faulty,
	"gone":      gone,
	"spoil":     spoil,
	"readme":    readme,
	"within":    within,
	"bytes":     hasBytes,
	"steady":    steady,
}

// wants ends a script that uses a command wrongly.
func wants(ts *testscript.TestScript, neg, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// code runs a command and holds its exit code against the one that is wanted. What it
// prints is there for stdout, stderr and cmp.
func code(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) >= 2, "code N COMMAND [ARGS]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func writeONNX(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 2, "onnx FILE.ir FILE.onnx")
	m, err := text.Parse(args[0], []byte(ts.ReadFile(args[0])), nil)
	ts.Check(err)
	path := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o777))
	ts.Check(onnx.ExportFile(path, m))
}

func writeModel(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 2, "model NAME FILE.onnx")
	g := models[args[0]]
	if g == nil {
		ts.Fatalf("models_test.go has no %q", args[0])
	}
	m := &wire.Model{IRVersion: 10, OpsetImport: []*wire.OperatorSet{{Version: 21}, {Domain: "com.acme", Version: 1}}, Graph: g()}
	m.Graph.Name = args[0]
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), wire.Encode(m), 0o666))
}

func writeMalformed(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 1, "malformed NAME")
	for _, c := range corpus.Cases() {
		if c.Name == args[0] {
			_, err := c.Write(ts.MkAbs(args[0]))
			ts.Check(err)
			return
		}
	}
	ts.Fatalf("the corpus has no %q", args[0])
}

var tensorText = regexp.MustCompile(`^(\w+)=(\w+)\[([0-9,]*)\]\{(.*)\}$`)

// writeData writes each tensor as NAME.pb, and as NAME.npy where NumPy has its type.
func writeData(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) >= 2, "data DIR NAME=TYPE[DIMS]{ELEMENTS}...")
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	for _, arg := range args[1:] {
		m := tensorText.FindStringSubmatch(arg)
		if m == nil {
			ts.Fatalf("%q is not NAME=TYPE[DIMS]{ELEMENTS}", arg)
		}
		d, ok := tensor.ParseDType(m[2])
		if !ok {
			ts.Fatalf("no element type %q", m[2])
		}
		var shape []int64
		for _, s := range split(m[3]) {
			n, err := strconv.ParseInt(s, 10, 64)
			ts.Check(err)
			shape = append(shape, n)
		}
		x := tensor.New(d, shape...)
		elems := split(m[4])
		if int64(len(elems)) != x.Len() {
			ts.Fatalf("%q has %d elements, its shape %d", arg, len(elems), x.Len())
		}
		for i, s := range elems {
			ts.Check(x.SetText(int64(i), s))
		}
		ts.Check(os.WriteFile(filepath.Join(dir, m[1]+".pb"), onnx.EncodeValue(m[1], x), 0o666))
		var b bytes.Buffer
		if tensor.WriteNPY(&b, x) == nil {
			ts.Check(os.WriteFile(filepath.Join(dir, m[1]+".npy"), b.Bytes(), 0o666))
		}
	}
}

// split takes a list apart at its commas, but for those in parentheses.
func split(s string) []string {
	depth := 0
	return strings.FieldsFunc(s, func(r rune) bool {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		return r == ',' && depth == 0
	})
}

// interrupt presses Ctrl-C when a command has printed what matches. It must end then, with
// exit code 130.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) >= 2, "interrupt REGEXP COMMAND [ARGS]")
	if n := signal(ts, os.Interrupt, args); n != 130 {
		ts.Fatalf("exit code %d, want 130", n)
	}
}

func sigkill(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) >= 2, "sigkill REGEXP COMMAND [ARGS]")
	signal(ts, os.Kill, args)
}

// signal starts a command, waits until it has printed what matches, and sends it a signal.
// It gives the exit code.
func signal(ts *testscript.TestScript, sig os.Signal, args []string) int {
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	path, err := lookPath(ts, args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	r, w := io.Pipe()
	out := &shared{w: w}
	cmd.Stdout, cmd.Stderr = out, out
	ts.Check(cmd.Start())
	seen := make(chan bool, 1)
	go func() {
		s := bufio.NewScanner(r)
		for s.Scan() {
			if re.MatchString(s.Text()) {
				seen <- true
				break
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	const patience = 2 * time.Minute // a broken program, not a slow machine
	select {
	case <-seen:
	case err := <-ended:
		ts.Fatalf("it ended before it printed %q: %v\n%s", args[0], err, out)
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		ts.Fatalf("it did not print %q:\n%s", args[0], out)
	}
	ts.Check(cmd.Process.Signal(sig))
	select {
	case <-ended:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		ts.Fatalf("it went on after the signal %s:\n%s", sig, out)
	}
	ts.Logf("%s", out)
	return cmd.ProcessState.ExitCode()
}

// lookPath finds a program in the PATH of the script.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no program %s", name)
}

// shared takes what two streams of a command print, keeps it, and passes it on.
type shared struct {
	mu   sync.Mutex
	kept bytes.Buffer
	w    io.Writer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.kept.Write(b)
	s.mu.Unlock()
	return s.w.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.String()
}

func hasBytes(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 2, "bytes FILE N")
	if got := len(ts.ReadFile(args[0])); fmt.Sprint(got) != args[1] {
		ts.Fatalf("%s has %d bytes, want %s", args[0], got, args[1])
	}
}

var changing = regexp.MustCompile(` *[0-9]+\.[0-9]+ ms|"(\w*_ms|ms|\w*_ns|peak_rss)":[0-9.]+`)

// digits are more of a fraction than are the same on every machine.
var digits = regexp.MustCompile(`(\.[0-9]{4})[0-9]+`)

// steady writes what was printed to a file, with the times taken out, and fractions cut where
// that is said, so that the rest can be held against a golden.
func steady(ts *testscript.TestScript, neg bool, args []string) {
	cut := len(args) == 3 && args[2] == "cut"
	wants(ts, neg, len(args) == 2 || cut, "steady stdout|stderr FILE [cut]")
	out := changing.ReplaceAllStringFunc(ts.ReadFile(args[0]), func(s string) string {
		if name, _, ok := strings.Cut(s, ":"); ok {
			return name + ":0"
		}
		return " TIME"
	})
	if cut {
		out = digits.ReplaceAllString(out, "$1")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out), 0o666))
}

// spoil writes over the files of a folder: spoil DIR.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, neg, len(args) == 1, "spoil DIR")
	files, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("there is nothing in %s", args[0])
	}
	for _, f := range files {
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), f.Name()), []byte("{}"), 0o666))
	}
}
