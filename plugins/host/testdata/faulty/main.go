// Faulty is a plugin with the fault that its file name says, for tests. As "good" it has
// none; as "other" neither, and its operator has another name.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/plugins/sdk"
)

func main() {
	fault := filepath.Base(os.Args[0])
	if describe, ok := raw[fault]; ok {
		serveRaw(describe)
		return
	}
	switch fault {
	case "exit":
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	case "stdout":
		fmt.Fprintln(stdout, "Welcome!")
	case "flood":
		fmt.Fprint(stdout, strings.Repeat("x", 4<<20))
	case "version":
		fmt.Fprintln(stdout, "1|9|unix|/nowhere|grpc|")
		time.Sleep(time.Hour)
	case "nowhere":
		fmt.Fprintln(stdout, "1|1|unix|/nowhere|grpc|")
		time.Sleep(time.Hour)
	case "deaf":
		path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "deaf")
		if _, err := net.Listen("unix", path); err != nil {
			panic(err)
		}
		fmt.Fprintln(stdout, "1|1|unix|"+path+"|grpc|")
		time.Sleep(time.Hour)
	case "silent":
		time.Sleep(time.Hour)
	case "child", "family": // one that holds nothing of its parent's but the pipes
		start(exec.Command("sh", "-c", "exec 3<&- 4<&-; exec sleep 1000"))
	case "daemon":
		daemon := exec.Command("sleep", "5")
		daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		start(daemon)
	}
	domain := "acme"
	if fault == "other" {
		domain = "other"
	}
	sdk.Serve(sdk.Plugin{Name: "faulty", Version: "0.1", Passes: []*pass.Pass{{
		Name: "work",
		Doc:  "Does what the file name says.",
		Options: []pass.Option{
			{Name: "times", Kind: pass.Int, Doc: "how often", Default: int64(1)},
			{Name: "wait", Kind: pass.Duration, Doc: "how long", Default: time.Second},
			{Name: "words", Kind: pass.Strings, Doc: "which", Default: []string(nil)},
		},
		After:  []pass.Order{pass.Because("deduce", "types are needed")},
		Before: []pass.Order{pass.Because("rest", "that comes last")},
		Run:    func(c *pass.Context, m *ir.Module) error { return work(fault, c, m) },
	}, {
		Name: "rest",
		Doc:  "Does nothing.",
		Run:  func(*pass.Context, *ir.Module) error { return nil },
	}}, Ops: []sdk.Op{{
		Name:    domain + ".Twice",
		Doc:     "its operand twice",
		Program: `program @twice[n](X: [n] f32) -> (Y: [n] f32) { Y[i < n] = (X[i] * f32 2) }`,
	}}})
}

// stdout is the real one.
var stdout = os.NewFile(1, "stdout")

func start(child *exec.Cmd) {
	child.Stdout, child.Stderr = stdout, os.NewFile(2, "stderr")
	if err := child.Start(); err != nil {
		panic(err)
	}
}

func work(fault string, c *pass.Context, m *ir.Module) error {
	fmt.Println("printed on stdout, which is harmless by now")
	switch fault {
	case "crash", "daemon":
		fmt.Fprintln(os.Stderr, "out of luck")
		os.Exit(7)
	case "goroutine":
		go func() { panic("far from the pass") }()
		time.Sleep(time.Hour)
	case "panic":
		panic("in the pass")
	case "hang", "family":
		c.Note("counting")
		fmt.Fprintln(os.Stderr, "counting to infinity")
		for {
			time.Sleep(time.Hour)
		}
	case "noisy": // on both, from code that does not know os.Stdout, and without an end of line
		fmt.Fprint(stdout, strings.Repeat("o", 4<<20))
		fmt.Fprint(os.Stderr, strings.Repeat("e", 4<<20))
	case "frozen":
		time.AfterFunc(100*time.Millisecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) })
	case "invalid":
		m.Main().Stmts[1].Results[0].Type = ir.UnrankedOf(tensor.I64)
	case "torn":
		m.Main().Stmts = nil
	case "fails":
		return diag.New(diag.Unsupported, "cannot do this").At("node_1", "Relu").Hint("do without")
	case "good":
		c.Note("times %d, wait %v, words %v, target %s", pass.Get[int64](c, "times"), pass.Get[time.Duration](c, "wait"), pass.Get[[]string](c, "words"), c.Target.Name)
		big := make([]float32, 3<<20/4)
		big[7] = 42
		m.AddConst("big", tensor.Of(big, int64(len(big))), nil)
	}
	return nil
}
