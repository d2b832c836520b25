package host

import (
	"bufio"
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
// group, shows go-plugin the first line of stdout alone, and keeps how it ended.
type process struct {
	cmd            *exec.Cmd
	leash          *leash
	stdout, stderr io.ReadCloser
	first          *io.PipeReader // the first line of stdout
	rest           io.Writer      // gets what follows it
	ended          chan struct{}  // closed when the process is gone, and its group with it
	read           chan struct{}  // closed when all that it wrote has been read
	forwarded      chan struct{}  // closed when stdout has been read

	mu     sync.Mutex
	line   string // the first line of stdout
	killed bool
	reaped bool // its number may be another process's
	status *os.ProcessState
}

const (
	// settle is how long what a plugin wrote may take to arrive after its answer, which
	// comes by another way.
	settle = 200 * time.Millisecond
	// linger is how long that may take after its end.
	linger = time.Second
)

// lineBytes bounds the first line of stdout. A handshake has less than a thousand.
const lineBytes = 32 << 10

func newProcess(cmd *exec.Cmd, rest io.Writer) (p *process, err error) {
	p = &process{cmd: cmd, rest: rest, ended: make(chan struct{}), read: make(chan struct{}), forwarded: make(chan struct{})}
	cmd.Stdin = nil // go-plugin passes on the host's
	if p.leash, err = newLeash(cmd); err != nil {
		return nil, err
	}
	if p.stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	p.stderr, err = cmd.StderrPipe()
	return p, err
}

// Start starts the process, unless it was killed before.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return os.ErrProcessDone
	}
	if err := p.cmd.Start(); err != nil {
		p.leash.release()
		return err
	}
	p.leash.tie(p.cmd.Process.Pid)
	first, w := io.Pipe()
	p.first = first
	go p.forward(w)
	go p.reap()
	return nil
}

// forward reads stdout. What follows its first line comes from somebody who does not
// know that this is no place to print to.
func (p *process) forward(w *io.PipeWriter) {
	defer close(p.forwarded)
	r := bufio.NewReaderSize(p.stdout, lineBytes)
	line, err := r.ReadSlice('\n')
	p.mu.Lock()
	p.line = string(line)
	p.mu.Unlock()
	_, _ = w.Write(line)
	_ = w.Close()
	if err == nil || errors.Is(err, bufio.ErrBufferFull) {
		_, _ = io.Copy(p.rest, r)
	}
}

// reap waits for the process and ends what it started.
func (p *process) reap() {
	state, _ := p.cmd.Process.Wait() // cmd.Wait would wait for the pipes, which others may hold
	p.mu.Lock()
	killGroup(p.cmd.Process.Pid)
	p.reaped, p.status = true, state
	p.mu.Unlock()
	p.leash.release()
	close(p.ended)
	select {
	case <-p.read:
	case <-time.After(linger): // somebody who left the group holds the pipes
	}
	_ = p.stdout.Close()
	_ = p.stderr.Close()
}

// Wait is called by go-plugin when it has read what the pipes had.
func (p *process) Wait(context.Context) error {
	<-p.ended
	<-p.forwarded
	close(p.read)
	return nil
}

// Kill ends the process group; what has not started yet will not.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.cmd.Process == nil || p.reaped {
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
		return p.status.String()
	case <-time.After(within):
		return ""
	}
}

// settled waits for what the process wrote.
func (p *process) settled() {
	patience := settle
	select {
	case <-p.ended:
		patience = 2 * linger
	default:
	}
	select {
	case <-p.read:
	case <-time.After(patience):
	}
}

// firstLine is the first line of stdout, "" when there is none yet.
func (p *process) firstLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line
}

func (p *process) Stdout() io.ReadCloser           { return p.first }
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
	lineShown = 200
)

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b[max(0, len(b)-tailBytes):]...)
	if n := len(t.data) - tailBytes; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.data)), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, l := range lines {
		if len(l) > lineShown {
			lines[i] = l[:lineShown] + " ..."
		}
	}
	return strings.ToValidUTF8(strings.Join(lines, "\n"), "?")
}
