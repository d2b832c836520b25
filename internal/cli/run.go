package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
)

// runOptions are the flags of the default action.
type runOptions struct {
	in           *inputFlags
	output       string
	outputFormat string
	emit, file   string
	check        string
	before       []string
	after        []string
	changed      bool
	dump         string
	trace        *trace
}

// run is the default action: import, pipeline, execute once, print.
func (a *app) run(args []string) error {
	fs := a.begin("", "MODEL", "")
	a.runFlags()
	f := &runOptions{in: a.inputFlags()}
	fs.StringVar(&f.output, "output", "", "`DIR` write the outputs there, all or none")
	fs.StringVar(&f.outputFormat, "output-format", "npy", "`npy|pb` as NumPy has them, or as ONNX has")
	fs.StringVar(&f.emit, "emit", "", "`ir|onnx|asm|ptx` write that instead of the outputs: the module as it is compiled or as ONNX, or the machine code or the kernels that a run calls")
	fs.StringVar(&f.file, "o", "", "`FILE` what -emit writes; - and default: stdout")
	fs.StringVar(&f.check, "check", "none", "`none|end|each` compare with the reference interpreter at the end or after each pass")
	list := func(to *[]string) func(string) error {
		return func(s string) error { *to = append(*to, s); return nil }
	}
	fs.Func("print-before", "`PASS` print the IR before it; simplify#2 is the second one of that name; repeatable", list(&f.before))
	fs.Func("print-after", "`PASS` print the IR after it; repeatable", list(&f.after))
	fs.BoolVar(&f.changed, "print-changed", false, "print the IR after each pass that changed it")
	fs.StringVar(&f.dump, "dump", "", "`DIR` write the IR there, as imported and after each pass")
	f.trace = a.traceFlag()
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	if err := f.complete(); err != nil {
		return err
	}
	if err := mistakenCommand(rest); err != nil {
		return err
	}
	path, err := a.one(rest, "model")
	if err != nil {
		return err
	}
	return a.execute(path, f)
}

// mistakenCommand recognises a command among what should be a model: one that is
// misspelled, or does not come first.
func mistakenCommand(operands []string) error {
	if len(operands) == 0 {
		return nil
	}
	if _, err := os.Stat(operands[0]); err == nil && len(operands) == 1 {
		return nil
	}
	for _, c := range operands {
		if isCommand(c) {
			return diag.New(diag.Usage, "%q is a command and not the first word", c).Hint("write it first, or ./%s for a file of that name", c)
		}
	}
	if near := diag.Nearest(operands[0], commandNames()); near != "" {
		return diag.New(diag.Usage, "there is neither a file nor a command %q", operands[0]).Hint("did you mean %q?", near)
	}
	return nil
}

// complete checks that the flags make sense together.
func (f *runOptions) complete() error {
	if err := oneOf("check", f.check, "none", "end", "each"); err != nil {
		return err
	}
	if err := oneOf("output-format", f.outputFormat, "npy", "pb"); err != nil {
		return err
	}
	switch f.emit {
	case "":
		if f.file != "" {
			return diag.New(diag.Usage, "-o is for -emit").Hint("-output DIR writes the outputs of a run")
		}
		return nil
	case "dot":
		return diag.New(diag.Usage, "-emit %s: not in this version", f.emit)
	}
	switch {
	case f.trace.file != "":
		return diag.New(diag.Usage, "-emit writes no time line, so that -trace has nothing to write").Hint("leave one of the two out")
	case f.output != "":
		return diag.New(diag.Usage, "-emit writes no outputs, so that -output has nothing to write").Hint("leave one of the two out")
	case f.check == "end":
		return diag.New(diag.Usage, "-emit makes no run that -check end could compare").Hint("-check each compares every pass")
	}
	if f.file == "-" {
		f.file = ""
	}
	return oneOf("emit", f.emit, "ir", "onnx", "asm", "ptx")
}

func (a *app) execute(path string, f *runOptions) error {
	p, err := a.findPipeline(path)
	if err != nil {
		return err
	}
	a.progress("reading %s", path)
	f.trace.begin(a.common.verbose)
	begun := time.Now()
	w := &watcher{a: a, f: f, memory: p.Target.Memory, states: p.State, masks: p.Masks()}
	f.in.states = p.State
	opts := append(w.options(), pitopt.ForSessions())
	var asm assembly
	switch f.emit {
	case "onnx":
		opts = append(opts, pitopt.GraphLevel())
	case "asm":
		opts = append(opts, pitopt.WatchCode(asm.use), pitopt.Trace(asm.ran))
	}
	m, err := a.load(path, p, opts...)
	if err != nil {
		return err
	}
	defer m.Close()
	a.clear()
	f.trace.compiled("load", time.Since(begun))
	for _, n := range m.Notes() {
		a.note("note: %s: %s", n.Node, n.Msg)
	}
	if f.emit == "ptx" {
		if _, ok := m.PTX(); !ok {
			return diag.New(diag.Usage, "-emit ptx lists no kernels of the target %q", m.TargetName()).Hint("-target cuda and cuda-emu have some")
		}
	}
	if f.emit == "asm" || f.emit == "ptx" {
		if _, err := a.call(a.ctx, m, p, w.values); err != nil {
			return w.drawn.blame(err)
		}
	}
	if f.emit != "" {
		return a.write(m, f, &asm)
	}
	if !a.common.json && !a.common.quiet {
		w.table()
	}
	a.progress("running on %s", m.TargetName())
	start := time.Now()
	out, err := a.call(f.trace.ctx(a), m, p, w.values)
	if err != nil {
		return w.drawn.blame(err)
	}
	took := time.Since(start)
	if err := f.trace.write(); err != nil {
		return err
	}
	if a.common.verbose {
		a.padding(f.trace.Timeline, w.values)
		a.zeros(f.trace.Timeline)
	}
	if f.check != "none" {
		a.progress("running on the reference interpreter")
		if err := a.checkEnd(path, p, m, w.values, out); err != nil {
			return err
		}
		a.note("outputs are those of the reference interpreter")
	}
	files := map[string]string{}
	if f.output != "" {
		if files, err = writeOutputs(f.output, f.outputFormat, m, out); err != nil {
			return err
		}
	}
	a.clear()
	a.report(m, w, out, files, took)
	return nil
}

// findPipeline is the pipeline that the flags choose for a model.
func (a *app) findPipeline(model string) (*passes.File, error) {
	return pitopt.FindPipeline(a.common.pipeline, model)
}

// load loads a model with the shared flags.
func (a *app) load(path string, p *passes.File, opts ...pitopt.Option) (*pitopt.Model, error) {
	return pitopt.Load(path, append(a.options(p), opts...)...)
}

func (a *app) options(p *passes.File) []pitopt.Option {
	opts := []pitopt.Option{pitopt.WithPipeline(p), pitopt.Passes(a.ownPasses()), pitopt.Target(a.common.target), pitopt.Seed(a.common.seed), pitopt.WithContext(a.ctx)}
	if a.common.threads >= 0 {
		opts = append(opts, pitopt.Threads(a.common.threads))
	}
	return opts
}

// ownPasses are those that need no plugin.
func (a *app) ownPasses() *pass.Registry {
	r := builtin.Registry()
	for _, p := range a.extra {
		if err := r.Add(p); err != nil {
			panic(fmt.Sprintf("cli: %v", err)) // a mistake of the program that brings it
		}
	}
	return r
}

func (a *app) report(m *pitopt.Model, w *watcher, out map[string]tensor.Value, files map[string]string, took time.Duration) {
	if a.common.json {
		outputs := []map[string]any{}
		for _, o := range m.Outputs() {
			x := jsonValue(out[o.Name], files[o.Name] == "")
			x["name"] = o.Name
			if files[o.Name] != "" {
				x["file"] = files[o.Name]
			}
			outputs = append(outputs, x)
		}
		run := map[string]any{"kind": "run", "target": m.TargetName(), "import_ms": ms(w.imported), "passes": w.times, "run_ms": ms(took), "outputs": outputs}
		if work, ok := m.Division(); ok {
			run["emulated"], run["device_stages"], run["host_stages"] = work.Emulated, work.Device, work.Host
			run["bytes_to_device"], run["bytes_from_device"] = work.Up, work.Down
		}
		a.emit(run)
		return
	}
	emulated := ""
	if work, ok := m.Division(); ok {
		if work.Emulated {
			emulated = ", emulated"
		}
		a.divided(work)
	}
	fmt.Fprintf(a.out, "run on %s%s: %s\n", m.TargetName(), emulated, round(took))
	for _, o := range m.Outputs() {
		fmt.Fprintf(a.out, "%s: %s\n", o.Name, describe(out[o.Name], 8))
	}
}

// divided tells how the work was divided between the device and the host.
func (a *app) divided(w runtime.Division) {
	a.note("%s ran as kernels, %d on the host", count(int(w.Device), "stage"), w.Host)
	if a.common.verbose {
		a.note("%d bytes were copied to the device beside constants, %d back", w.Up, w.Down)
		for _, l := range w.Left {
			a.note("on the host: %s of @%s, %s: %s", l.Stage, l.Program, count(int(l.Times), "time"), l.Why)
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func round(d time.Duration) string { return fmt.Sprintf("%.2f ms", ms(d)) }
