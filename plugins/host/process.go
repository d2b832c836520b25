package host

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process runs a plugin's executable for go-plugin. Unlike go-plugin's own runner it
// gives the plugin no stdin, has it in a process group of its own and ends the whole
// group, and keeps how it ended.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr io.ReadCloser
	ended          chan struct{} // closed when the process has been waited for
	wait           sync.Once
	err            error

	mu     sync.Mutex
	killed bool
}

func newProcess(cmd *exec.Cmd) (p *process, err error) {
	p = &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdin = nil // go-plugin passes on the host's
	group(cmd)
	if p.stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	p.stderr, err = cmd.StderrPipe()
	return p, err
}

// Start starts the process on a goroutine of its own: where the system ends a child
// with the thread that started it, that must be none that the caller locked.
func (p *process) Start(context.Context) error {
	done := make(chan error)
	go func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.killed {
			done <- os.ErrProcessDone
			return
		}
		done <- p.cmd.Start()
	}()
	return <-done
}

func (p *process) Wait(context.Context) error {
	p.wait.Do(func() {
		p.err = p.cmd.Wait()
		killGroup(p.cmd.Process.Pid) // what the plugin started, too
		close(p.ended)
	})
	<-p.ended
	return p.err
}

// Kill ends the process group; what has not started yet will not.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.cmd.Process == nil {
		return nil
	}
	killGroup(p.cmd.Process.Pid)
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// state says how the process ended, "" when it has not within the time.
func (p *process) state(within time.Duration) string {
	select {
	case <-p.ended:
		return p.cmd.ProcessState.String()
	case <-time.After(within):
		return ""
	}
}

func (p *process) Stdout() io.ReadCloser           { return p.stdout }
func (p *process) Stderr() io.ReadCloser           { return p.stderr }
func (p *process) Name() string                    { return p.cmd.Path }
func (p *process) Diagnose(context.Context) string { return "" }

func (p *process) ID() string {
	if p.cmd.Process == nil {
		return ""
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// allowed are the variables of the environment that a plugin gets.
var allowed = []string{
	"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "TZ", "USER",
	"SystemRoot", "TEMP", "TMP", "USERPROFILE",
}

func environment() []string {
	env := []string{}
	for _, name := range allowed {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// tail keeps the last lines that were written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const (
	tailBytes = 8 << 10
	tailLines = 16
)

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b...)
	if n := len(t.data) - tailBytes; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.data)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
