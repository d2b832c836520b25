package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
)

// onTerminal runs the program with a terminal of so many columns for its messages, and
// gives its results and what the terminal got.
func onTerminal(t *testing.T, columns uint16, args ...string) (out, screen string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: columns}); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // ends with an error when the other side is closed
		got <- string(b)
	}()
	var results bytes.Buffer
	if code := Main(args, &results, slave); code != 0 {
		t.Errorf("exit code %d", code)
	}
	_ = slave.Close()
	return results.String(), <-got
}

// On a terminal, and there alone, a line tells what is being done; it is gone in the end.
func TestProgress(t *testing.T) {
	const model = "../../examples/encoder/model.onnx"
	pipeline, err := passes.Default().Assemble(builtin.Registry())
	if err != nil {
		t.Fatal(err)
	}
	steps := len(pipeline)
	for _, c := range []struct {
		args []string
		want string // on the terminal
	}{
		{[]string{model}, fmt.Sprintf("\r\033[K3 of %d: simplify\r\033[K4 of %[1]d: decompose", steps)},
		{[]string{model}, "running on cpu\r\033[K"},
		{[]string{"test", "../../examples/encoder"}, "\r\033[K1 of 1: encoder\r\033[K"},
		{[]string{"bench", "-min-time", "0s", model}, "warming up, 1 of 1"},
	} {
		out, screen := onTerminal(t, 80, c.args...)
		if !strings.Contains(screen, c.want) || !strings.HasSuffix(screen, "\r\033[K") || strings.Contains(out, "\r") {
			t.Errorf("%q: the terminal got %q, want %q; results %q", c.args, screen, c.want, out)
		}
		if _, screen := onTerminal(t, 80, append(c.args, "-q")...); screen != "" {
			t.Errorf("%q -q: the terminal got %q", c.args, screen)
		}
		if _, screen := onTerminal(t, 80, append(c.args, "-json")...); strings.Contains(screen, "\033") {
			t.Errorf("%q -json: the terminal got %q", c.args, screen)
		}
	}
	if _, screen := onTerminal(t, 10, model); !strings.Contains(screen, "\r\033[K"+fmt.Sprintf("4 of %d: decompose", steps)[:9]+"\r") {
		t.Errorf("a narrow terminal got %q", screen)
	}
	if _, _, errOut := call("test", "../../examples/encoder"); errOut != "" {
		t.Errorf("without a terminal there is %q", errOut)
	}
}
