package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pitopt/pitopt/bench/protocol"
)

// engine is a worker process, pinned to cores. It is stopped while others run, so that none spins
// in their time.
type engine struct {
	key     string // pitopt, or of a rival
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	out     *bufio.Reader
	stderr  *os.File
	stopped bool
}

// errMissing says that a rival is not installed, or not asked for.
var errMissing = errors.New("it is not here")

// errEnded says that a worker has ended, and can answer no more.
var errEnded = errors.New("the worker ended")

// startEngine starts a worker on as many cores as threads. env is added to its environment.
func (b *bench) startEngine(key string, threads int, env ...string) (*engine, error) {
	args, err := b.command(key, threads)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(b.dir, fmt.Sprintf("%s-%d.log", key, threads)))
	if err != nil {
		return nil, err
	}
	e := &engine{key: key, stderr: log}
	e.cmd = exec.Command("taskset", append([]string{"-c", b.coresFor(threads)}, args...)...)
	e.cmd.Env = append(append(os.Environ(), "BENCH_DIR="+b.dir), env...)
	e.cmd.Stderr = log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // one that is stopped would stay for good
	if e.stdin, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	e.out = bufio.NewReaderSize(out, 1<<20)
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	a, err := e.answer()
	if err != nil {
		e.close()
		return nil, err
	}
	b.titles[key] = a.Engine
	return e, nil
}

// command is how the worker of an engine is called.
func (b *bench) command(key string, threads int) ([]string, error) {
	n := strconv.Itoa(threads)
	switch {
	case b.missing[key] != "":
		return nil, errMissing
	case key == "pitopt":
		return []string{b.worker, "-threads", n}, nil
	case key == "gomlx":
		return []string{b.gomlx, "-threads", n}, nil
	}
	return []string{b.python, b.script, key, n}, nil
}

// coresFor lists the last cores of those that may be used.
func (b *bench) coresFor(threads int) string {
	return strings.Join(b.cores[max(0, len(b.cores)-threads):], ",")
}

func (e *engine) close() {
	_ = e.signal(syscall.SIGCONT)
	_ = e.stdin.Close()
	_ = e.cmd.Wait()
	_ = e.stderr.Close()
}

func (e *engine) signal(s syscall.Signal) error { return syscall.Kill(e.cmd.Process.Pid, s) }

// hold stops the process where it is.
func (e *engine) hold() {
	if !e.stopped && e.signal(syscall.SIGSTOP) == nil {
		e.stopped = true
	}
}

// ask sends a request and waits for its answer.
func (e *engine) ask(r protocol.Request) (protocol.Answer, error) {
	if e.stopped {
		if err := e.signal(syscall.SIGCONT); err != nil {
			return protocol.Answer{}, err
		}
		e.stopped = false
	}
	line, err := json.Marshal(r)
	if err != nil {
		return protocol.Answer{}, err
	}
	if _, err := e.stdin.Write(append(line, '\n')); err != nil {
		return protocol.Answer{}, e.died(err)
	}
	return e.answer()
}

func (e *engine) answer() (a protocol.Answer, err error) {
	line, err := e.out.ReadBytes('\n')
	if err != nil {
		return a, e.died(err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("%s answers %q", e.key, line)
	}
	if a.Error != "" {
		return a, fmt.Errorf("%s: %s", e.key, a.Error)
	}
	return a, nil
}

// died tells what a worker wrote last.
func (e *engine) died(err error) error {
	b, _ := os.ReadFile(e.stderr.Name())
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return fmt.Errorf("%s: %w (%v): %s", e.key, errEnded, err, strings.TrimSpace(string(b)))
}

// waited is how long threads of the process were ready to run and had no core, in ns.
func (e *engine) waited() int64 {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", e.cmd.Process.Pid))
	total := int64(0)
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			var on, waits int64
			if n, _ := fmt.Sscan(string(b), &on, &waits); n == 2 {
				total += waits
			}
		}
	}
	return total
}
