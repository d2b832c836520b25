package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/passes"
)

// testFlags are those of `pitopt test`.
type testFlags struct {
	rtol, atol      float64
	dynamic, shared bool
	jobs            int
	timeout         time.Duration
	memory          int64
	check           string
}

func (a *app) test(args []string) error {
	fs := a.begin("test", "DIR...", "Runs cases in ONNX's layout (model.onnx, test_data_set_*/input_*.pb and output_*.pb) through the\n"+
		"pipeline and compares. A folder without model.onnx is searched. What is unsupported counts as failed.\n"+
		"A tolerance.toml beside a model sets its rtol, atol, mean or cosine. With [[state]] in the pipeline the data\n"+
		"sets of a case are calls of one session, in the order of their numbers: a state without a file goes on where\n"+
		"the set before ended, and is compared where there is a file for its output. Exit code 7: a case failed.")
	a.runFlags()
	f := &testFlags{memory: 1 << 30}
	fs.Float64Var(&f.rtol, "rtol", 1e-3, "`X` relative tolerance")
	fs.Float64Var(&f.atol, "atol", 1e-7, "`X` absolute tolerance")
	fs.BoolVar(&f.dynamic, "dynamic", false, "make all dims of graph inputs distinct symbols")
	fs.BoolVar(&f.shared, "shared", false, "make all dims of graph inputs symbols, equal sizes the same")
	fs.IntVar(&f.jobs, "j", 1, "`N` how many cases at the same time")
	fs.DurationVar(&f.timeout, "timeout", 2*time.Minute, "`TIME` after which a case is stopped, and has failed")
	fs.Func("memory", "`SIZE` budget of a run, over which a case has failed (default 1GiB)", func(s string) error {
		n, err := passes.ParseSize(s)
		if err != nil || n == 0 {
			return errors.New(`a size such as "512MiB"`)
		}
		f.memory = n
		return nil
	})
	fs.StringVar(&f.check, "check", "none", "`none|each` compare every pass with the reference interpreter")
	dirs, err := a.parse(args)
	if err != nil {
		return err
	}
	switch {
	case len(dirs) == 0:
		return diag.New(diag.Usage, "no folder is given").Hint("`pitopt test -h` shows how to call it")
	case f.jobs < 1:
		return diag.New(diag.Usage, "-j is %d", f.jobs).Hint("one case at a time is the least")
	case f.timeout <= 0:
		return diag.New(diag.Usage, "-timeout is %s", f.timeout).Hint("write a time such as 30s or 2m")
	case f.dynamic && f.shared:
		return diag.New(diag.Usage, "-dynamic and -shared are two ways to make dims symbols").Hint("leave one of the two out")
	}
	if err := oneOf("check", f.check, "none", "each"); err != nil {
		return err
	}
	if err := a.checkPipeline(); err != nil {
		return err
	}
	cases, err := findCases(dirs)
	if err != nil {
		return err
	}
	return a.runCases(cases, f)
}

// checkPipeline finds what is wrong with the pipeline of the flags, which would be wrong
// with every case.
func (a *app) checkPipeline() error {
	if a.common.pipeline == "" {
		return nil
	}
	p, err := a.findPipeline("")
	if err != nil {
		return err
	}
	r, done, err := a.registry()
	if err != nil {
		return err
	}
	defer done()
	_, err = p.Assemble(r)
	return err
}

type caseResult struct {
	c    testCase
	err  error
	took time.Duration
	ops  []string
}

// runCases runs cases, several at a time, and reports each in its turn.
func (a *app) runCases(cases []testCase, f *testFlags) error {
	// The budget of a run bounds what is alive; this keeps what is not yet collected near it.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 * f.memory * int64(f.jobs)))
	next := make(chan int)
	results := make([]chan caseResult, len(cases))
	for i := range results {
		results[i] = make(chan caseResult, 1)
	}
	var wg sync.WaitGroup
	for range f.jobs {
		wg.Go(func() {
			for i := range next {
				results[i] <- a.guarded(cases[i], f)
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for i := range cases {
			select {
			case next <- i:
			case <-a.ctx.Done():
				return
			}
		}
	})
	var t tally
	for i, c := range results {
		a.progress("%d of %d: %s", i+1, len(cases), cases[i].name)
		select {
		case r := <-c:
			if a.ctx.Err() == nil {
				a.reportCase(r, &t)
			}
		case <-a.ctx.Done():
		}
		if a.ctx.Err() != nil {
			break
		}
	}
	a.clear()
	if a.ctx.Err() != nil {
		return diag.New(diag.Interrupted, "interrupted")
	}
	wg.Wait()
	if a.common.json {
		a.emit(map[string]any{"kind": "total", "passed": t.passed, "failed": t.failed, "skipped": t.skipped})
	} else {
		fmt.Fprintf(a.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	}
	if t.failed > 0 {
		return exitCode(diag.Differ)
	}
	return nil
}

// grace is how long a case that was told to stop may take to do so.
const grace = 2 * time.Second

// guarded runs a case and comes back in time, whatever the case does: one that does not
// stop when it is told to is left behind.
func (a *app) guarded(c testCase, f *testFlags) caseResult {
	start := time.Now()
	r := caseResult{c: c}
	if c.skip != "" {
		return r
	}
	ctx, cancel := context.WithTimeout(a.ctx, f.timeout)
	defer cancel()
	done := make(chan caseResult, 1)
	go func() {
		r := r
		defer func() {
			if p := recover(); p != nil {
				r.err = diag.New(diag.Run, "panic: %v\n%s", p, debug.Stack())
			}
			done <- r
		}()
		r.ops, r.err = a.runCase(ctx, c, f)
	}()
	select {
	case r = <-done:
	case <-ctx.Done():
		select {
		case r = <-done:
		case <-time.After(grace):
			r.err = errors.New("it does not stop")
		}
	}
	switch e := diag.As(r.err, diag.Run); {
	case e != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.err = diag.New(diag.Run, "took longer than %s", f.timeout).Hint("-timeout gives it more time")
	case e != nil && strings.Contains(e.Way, "`memory`"): // the pipeline's budget does not count here
		e.Way = "-memory gives it more"
		r.err = e
	}
	r.took = time.Since(start)
	return r
}

// tally counts cases.
type tally struct{ passed, failed, skipped int }

// reportCase tells of a case: a line where it failed, was skipped, or all is asked for.
func (a *app) reportCase(r caseResult, t *tally) {
	status, line := "passed", ""
	switch {
	case r.c.skip != "":
		status, line = "skipped", fmt.Sprintf("SKIP %s: %s", r.c.name, r.c.skip)
		t.skipped++
	case r.err != nil:
		status, line = "failed", fmt.Sprintf("FAIL %s: %s", r.c.name, firstLine(r.err.Error()))
		t.failed++
	default:
		if t.passed++; a.common.verbose {
			line = fmt.Sprintf("ok   %s %s", r.c.name, round(r.took))
		}
	}
	switch {
	case a.common.json:
		x := map[string]any{"kind": "case", "name": r.c.name, "status": status, "ms": ms(r.took), "ops": append([]string{}, r.ops...)}
		if r.err != nil {
			x["code"], x["message"] = int(diag.CodeOf(r.err)), r.err.Error()
		}
		if r.c.skip != "" {
			x["message"] = r.c.skip
		}
		a.emit(x)
	case line != "":
		a.clear()
		fmt.Fprintln(a.out, line)
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
