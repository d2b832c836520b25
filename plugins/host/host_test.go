package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/plugins/host"
)

// binary is the faulty plugin, built once.
var binary string

func TestMain(m *testing.M) {
	if path := os.Getenv("PITOPT_TEST_HOST"); path != "" {
		p, err := host.Open(context.Background(), host.Config{Name: "acme", Path: path})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.PID())
		time.Sleep(time.Hour)
	}
	dir, err := os.MkdirTemp("", "faulty")
	if err == nil {
		binary = filepath.Join(dir, "faulty")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", binary, "./testdata/faulty").CombinedOutput(); err != nil {
			err = fmt.Errorf("%v\n%s", err, out)
		}
	}
	code := 1
	tmp := filepath.Join(dir, "tmp")
	_ = os.Mkdir(tmp, 0o700)
	_ = os.Setenv("TMPDIR", tmp)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
		if left, _ := filepath.Glob(filepath.Join(tmp, "pitopt*")); len(left) > 1 { // one is that of the host that was killed
			fmt.Fprintln(os.Stderr, "left behind:", left)
			code = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// named is the plugin under the name of a fault.
func named(t *testing.T, fault string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fault)
	if err := os.Link(binary, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, cfg host.Config) *host.Plugin {
	t.Helper()
	p, err := host.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func module(t *testing.T, src string, lookup func(string) *ir.OpDef) *ir.Module {
	t.Helper()
	m, err := text.Parse("test", []byte(src), lookup)
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(m); err != nil {
		t.Fatal(err)
	}
	return m
}

const relu = `module "m" {
  dims n in [1, 8]
  const @w: [2] f32 = {1, 2}
  func @main(%x: [n, 2] f32) -> ("y": [n, 2] f32) {
    %0: [n, 2] f32 = onnx.Add(%x, @w)
    %1: [n, 2] f32 = onnx.Relu(%0) @ "relu"
    return %1
  }
}
`

// run runs a pass as a pass manager does.
func run(ctx context.Context, p *host.Plugin, i int, m *ir.Module, options map[string]any) (notes []string, err error) {
	mg := &pass.Manager{Target: target.Interp(), Note: func(name, msg string) { notes = append(notes, name+": "+msg) }}
	err = mg.Run(ctx, m, []pass.Step{{Pass: p.Passes()[i], Options: options}})
	return notes, err
}

func TestGood(t *testing.T) {
	sum := sha256.New()
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	sum.Write(data)
	p := open(t, host.Config{Name: "acme", Path: named(t, "good"), SHA256: map[string]string{runtime.GOOS + "/" + runtime.GOARCH: hex.EncodeToString(sum.Sum(nil))}})
	if p.Title() != "faulty" || p.Version() != "0.1" {
		t.Errorf("it calls itself %q %q", p.Title(), p.Version())
	}
	work := p.Passes()[0]
	if work.Name != "acme/work" || work.Before[0].Pass != "acme/rest" || work.After[0].Pass != "deduce" || work.Options[1].Default != time.Second {
		t.Errorf("pass %+v", work)
	}
	m := module(t, relu, nil)
	// A constant in a file, one in the arena, one in the message.
	file := filepath.Join(t.TempDir(), "weights")
	weights := bytes.Repeat([]byte{1, 2, 3, 4}, 4096)
	if err := os.WriteFile(file, append([]byte("head"), weights...), 0o600); err != nil {
		t.Fatal(err)
	}
	inFile, _ := tensor.FromBytes(tensor.F32, []int64{4096}, weights)
	m.AddConst("file", inFile, &ir.Source{File: file, Offset: 4, Length: int64(len(weights))})
	m.AddConst("arena", tensor.Of(make([]float32, 5000), 5000), nil)
	arena := &m.Consts[2].Tensor.Bytes()[0]
	before := text.String(m)
	notes, err := run(t.Context(), p, 0, m, map[string]any{"times": int64(3), "words": []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "acme/work: times 3, wait 1s, words [a b], target interp"; len(notes) != 1 || notes[0] != want {
		t.Errorf("notes %q", notes)
	}
	if len(m.Consts) != 4 || m.Consts[3].Name != "big" || tensor.Data[float32](m.Consts[3].Tensor)[7] != 42 {
		t.Fatalf("the new constant did not arrive: %d constants", len(m.Consts))
	}
	if &m.Consts[1].Tensor.Bytes()[0] != &inFile.Bytes()[0] || &m.Consts[2].Tensor.Bytes()[0] != arena {
		t.Error("constants that were there already are copies now")
	}
	m.Consts = m.Consts[:3]
	if after := text.String(m); after != before {
		t.Errorf("got\n%s\nwant\n%s", after, before)
	}
	if _, err := run(t.Context(), p, 1, m, nil); err != nil {
		t.Error("a second run:", err)
	}
}

const twice = `module {
  dims n in [1, 8]
  func @main(%x: [n] f32) -> ("y": [n] f32) {
    %0: [n] f32 = acme.Twice(%x)
    return %0
  }
}
`

func TestOperator(t *testing.T) {
	p := open(t, host.Config{Name: "acme", Path: named(t, "good")})
	m := module(t, twice, p.Lookup)
	if _, err := run(t.Context(), p, 1, m, nil); err != nil {
		t.Fatal(err)
	}
	out, err := interp.Run(t.Context(), m, []tensor.Value{tensor.Of([]float32{1, 2, 3}, 3)}, interp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := tensor.Data[float32](out[0].(*tensor.Tensor)); fmt.Sprint(got) != "[2 4 6]" {
		t.Errorf("got %v", got)
	}
	bad := strings.Replace(twice, "%x: [n] f32", "%x: [n] f64", 1)
	if m, err := text.Parse("bad", []byte(bad), p.Lookup); err == nil && ir.Verify(m) == nil {
		t.Error("an operand of another element type is taken")
	}
}

func TestFaults(t *testing.T) {
	const platform = runtime.GOOS + "/" + runtime.GOARCH
	for _, c := range []struct {
		fault   string
		sums    map[string]string
		timeout time.Duration
		code    diag.Code
		want    []string
	}{
		{"missing", nil, 0, diag.Plugin, []string{"there is no file", "build the plugin"}},
		{"folder", nil, 0, diag.Plugin, []string{"is no file"}},
		{"plain", nil, 0, diag.Plugin, []string{"is not executable", "chmod"}},
		{"rubbish", nil, 0, diag.Plugin, []string{"cannot be started"}},
		{"good", map[string]string{platform: strings.Repeat("0", 64)}, 0, diag.Plugin, []string{"the sha256 of", "the pipeline wants 0000"}},
		{"good", map[string]string{"plan9/mips": strings.Repeat("0", 64)}, 0, diag.Plugin, []string{"no sha256 for " + platform, "add"}},
		{"exit", nil, 0, diag.Plugin, []string{"ended at its start (exit status 3)", "no licence found"}},
		{"stdout", nil, 0, diag.Plugin, []string{`"Welcome!"`, "no handshake", "sdk.Serve"}},
		{"version", nil, 0, diag.Plugin, []string{"speaks version 9", "speaks version 1", "newer pitopt"}},
		{"flood", nil, 0, diag.Plugin, []string{`"xxxxx`, "no handshake", "sdk.Serve", "x ..."}},
		{"nowhere", nil, 0, diag.Plugin, []string{"Describe failed", "/nowhere"}},
		{"deaf", nil, time.Second, diag.Plugin, []string{"did not say within 1s that it is ready", "timeout"}},
		{"silent", nil, time.Second, diag.Plugin, []string{"did not say within 1s that it is ready", "timeout"}},
		{"nameless", nil, 0, diag.Plugin, []string{`pass name "acme/"`, "mistake in the plugin"}},
		{"crash", nil, 0, diag.Plugin, []string{"died during Run (exit status 7)", "out of luck", "acme/work", "report"}},
		{"goroutine", nil, 0, diag.Plugin, []string{"died during Run", "far from the pass"}},
		{"panic", nil, 0, diag.Plugin, []string{"p.toml:3:1: acme/work: ", "panicked: in the pass", "testdata/faulty"}},
		{"hang", nil, 3 * time.Second, diag.Plugin, []string{"no answer to Run within 3s", "counting to infinity", "timeout"}},
		{"invalid", nil, 0, diag.Plugin, []string{"gave back an invalid module"}},
		{"torn", nil, 0, diag.Plugin, []string{"the pass left an invalid module"}},
		{"daemon", nil, 0, diag.Plugin, []string{"died during Run (exit status 7)", "out of luck"}},
		{"empty", nil, 0, diag.Plugin, []string{"without a result"}},
		{"malformed", nil, 0, diag.Plugin, []string{"invalid module: this is no module in protobuf form"}},
		{"short", nil, 0, diag.Plugin, []string{"invalid module: 4 bytes of it are missing"}},
		{"long", nil, 0, diag.Plugin, []string{"longer than the result says"}},
		{"early", nil, 0, diag.Plugin, []string{"a chunk before its result"}},
		{"claim", nil, 0, diag.Plugin, []string{"a module of 1125899906842624 bytes; 1 GiB is the limit"}},
		{"message", nil, 0, diag.Plugin, []string{"Run failed", "larger than max"}},
		{"notes", nil, 0, diag.Plugin, []string{"notes take more than 1048576 bytes"}},
		{"fails", nil, 0, diag.Unsupported, []string{`node "node_1" (Relu)`, "acme/work", "cannot do this; do without"}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), c.fault)
			var err error
			switch c.fault {
			case "missing":
			case "folder":
				err = os.Mkdir(path, 0o700)
			case "plain":
				err = os.WriteFile(path, []byte("x"), 0o600)
			case "rubbish":
				err = os.WriteFile(path, []byte("\x00\x01"), 0o700)
			default:
				path = named(t, c.fault)
			}
			if err != nil {
				t.Fatal(err)
			}
			m := module(t, relu, nil)
			before := text.String(m)
			p, err := host.Open(t.Context(), host.Config{Name: "acme", Path: path, SHA256: c.sums, Timeout: c.timeout, Where: "p.toml:3:1"})
			if err == nil {
				_, err = run(t.Context(), p, 0, m, nil)
				p.Close()
				gone(t, p.PID())
			}
			var e *diag.Error
			if !errors.As(err, &e) || e.Code != c.code || e.Way == "" || !strings.Contains(e.Error(), `plugin "acme"`) {
				t.Fatalf("error %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(e.Error(), w) {
					t.Errorf("the error lacks %q: %v", w, e)
				}
			}
			if text.String(m) != before {
				t.Error("the module has changed")
			}
		})
	}
}

// gone fails when a process is still there.
func gone(t *testing.T, pid int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Logf("process %d: whether it is gone is looked up on Linux only", pid)
		return
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Errorf("process %d is still there", pid)
	}
}

// inGroup counts the processes of a process group.
func inGroup(pgid int) (n int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, _ := os.ReadFile(name)
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) > 2 && fields[0] != "Z" && fields[2] == fmt.Sprint(pgid) {
			n++
		}
	}
	return n
}

// empties waits until a process group is empty.
func empties(t *testing.T, pgid int) {
	t.Helper()
	for start := time.Now(); inGroup(pgid) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatal("a process is still there")
		}
	}
}

// TestGroup looks for what a plugin has started itself.
func TestGroup(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are looked up in /proc")
	}
	p := open(t, host.Config{Name: "acme", Path: named(t, "child")})
	if n := inGroup(p.PID()); n != 2 {
		t.Fatalf("%d processes, want the plugin and its child", n)
	}
	p.Close()
	empties(t, p.PID())
}

// TestHostKilled kills a host so that it can not clean up; its plugin ends all the same,
// and what that has started.
func TestHostKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a plugin with its host")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PITOPT_TEST_HOST="+named(t, "child"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscan(out, &pid)
	n := inGroup(pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || n != 2 {
		t.Fatalf("%d processes, want the plugin and its child (%v)", n, err)
	}
	empties(t, pid)
}

// TestFrozen closes a plugin that does not listen.
func TestFrozen(t *testing.T) {
	p := open(t, host.Config{Name: "acme", Path: named(t, "frozen")})
	if _, err := run(t.Context(), p, 0, module(t, relu, nil), nil); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); runtime.GOOS == "linux"; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil || time.Since(start) > 10*time.Second {
			t.Fatalf("it does not stop: %s (%v)", stat, err)
		}
		if strings.Contains(string(stat), ") T ") {
			break
		}
	}
	done := make(chan struct{})
	go func() { p.Close(); close(done) }()
	select {
	case <-done:
		gone(t, p.PID())
	case <-time.After(time.Minute):
		t.Fatal("Close waits for ever")
	}
}

// TestNoisy has a plugin print where the handshake was, and more than a pipe holds.
func TestNoisy(t *testing.T) {
	p := open(t, host.Config{Name: "acme", Path: named(t, "noisy")})
	if _, err := run(t.Context(), p, 0, module(t, relu, nil), nil); err != nil {
		t.Error(err)
	}
}

// TestLongFolder has a temporary folder whose name no socket can have.
func TestLongFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	open(t, host.Config{Name: "acme", Path: named(t, "good")}).Close()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%s is left behind", left[0].Name())
	}
}

func TestInterruptedStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	start := time.Now()
	_, err := host.Open(ctx, host.Config{Name: "acme", Path: named(t, "silent")})
	if diag.CodeOf(err) != diag.Interrupted || time.Since(start) > 10*time.Second {
		t.Errorf("error %v after %v", err, time.Since(start))
	}
}

func TestInterrupted(t *testing.T) {
	p := open(t, host.Config{Name: "acme", Path: named(t, "hang")})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if _, err := run(ctx, p, 0, module(t, relu, nil), nil); diag.CodeOf(err) != diag.Interrupted {
		t.Errorf("error %v", err)
	}
}

func TestTwoPlugins(t *testing.T) {
	path := named(t, "good")
	_, err := host.OpenAll(t.Context(), []host.Config{{Name: "a", Path: path}, {Name: "b", Path: path}})
	if diag.CodeOf(err) != diag.Plugin || !strings.Contains(err.Error(), "acme.Twice") {
		t.Errorf("two of one operator: %v", err)
	}
	list, err := host.OpenAll(t.Context(), []host.Config{{Name: "a", Path: path}, {Name: "b", Path: named(t, "other")}})
	if err != nil {
		t.Fatal(err)
	}
	defer host.CloseAll(list)
	m := module(t, twice, list[0].Lookup)
	if _, err := run(t.Context(), list[1], 1, m, nil); err != nil {
		t.Errorf("a pass over a module with an operator of another plugin: %v", err)
	}
}
