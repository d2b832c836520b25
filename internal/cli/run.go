package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/frontend/onnx"
)

// runFlags are those of the default action.
type runFlags struct {
	in           *inputFlags
	output       string
	outputFormat string
	emit, file   string
	check        string
	before       string
	after        string
	changed      bool
	dump         string
}

// elide is how many elements of a constant are shown when IR is printed for people.
const elide = 8

// run is the default action: import, pipeline, execute once, print.
func (a *app) run(args []string) error {
	if args[0] == "run" {
		args = args[1:]
	}
	fs := a.begin("run", "model.onnx", "Imports a model, runs the pipeline, executes the result once, and prints what came out.")
	f := &runFlags{in: a.inputFlags()}
	fs.StringVar(&f.output, "output", "", "`DIR` to write outputs to")
	fs.StringVar(&f.outputFormat, "output-format", "npy", "npy or pb")
	fs.StringVar(&f.emit, "emit", "", "ir or onnx: write that instead of executing")
	fs.StringVar(&f.file, "o", "", "`FILE` for -emit; default: stdout")
	fs.StringVar(&f.check, "check", "none", "none, end, or each: compare with the reference interpreter")
	fs.StringVar(&f.before, "print-before", "", "print the IR before `PASS`")
	fs.StringVar(&f.after, "print-after", "", "print the IR after `PASS`")
	fs.BoolVar(&f.changed, "print-changed", false, "print the IR after each pass that changed it")
	fs.StringVar(&f.dump, "dump", "", "write the IR before the pipeline and after each pass to `DIR`")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := one(rest, "model")
	if err != nil {
		return err
	}
	if err := oneOf("check", f.check, "none", "end", "each"); err != nil {
		return err
	}
	if err := oneOf("output-format", f.outputFormat, "npy", "pb"); err != nil {
		return err
	}
	if f.emit != "" {
		if err := oneOf("emit", f.emit, "ir", "onnx"); err != nil {
			return err
		}
	}
	return a.execute(path, f)
}

func oneOf(flag, got string, allowed ...string) error {
	for _, x := range allowed {
		if x == got {
			return nil
		}
	}
	return diag.New(diag.Usage, "-%s is %q", flag, got).Hint("%s", diag.DidYouMean(got, allowed))
}

// passTime is a row of the table of passes.
type passTime struct {
	Name       string  `json:"name"`
	Ms         float64 `json:"ms"`
	Statements int     `json:"statements"`
	Changed    bool    `json:"changed"`
}

func (a *app) execute(path string, f *runFlags) error {
	w := &watcher{a: a, f: f}
	m, err := a.load(path, w.options()...)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, n := range m.Notes() {
		fmt.Fprintf(a.err, "pitopt: note: %s: %s\n", n.Node, n.Msg)
	}
	if f.emit != "" {
		return a.write(m, f)
	}
	if !a.common.json {
		w.table()
	}
	inputs, drawn, err := f.in.values(m.Module(), a.common.seed)
	if err != nil {
		return err
	}
	if len(drawn) > 0 && !a.common.quiet {
		fmt.Fprintf(a.err, "pitopt: drawn inputs: %s\n", strings.Join(drawn, ", "))
	}
	start := time.Now()
	out, err := m.RunValues(a.ctx, inputs)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if f.check != "none" {
		if err := a.checkEnd(path, m, inputs, out); err != nil {
			return err
		}
	}
	if f.output != "" {
		if err := writeOutputs(f.output, f.outputFormat, m, out); err != nil {
			return err
		}
	}
	a.report(m, w, out, took)
	return nil
}

// load loads a model with the shared flags and the plugins of its pipeline.
func (a *app) load(path string, opts ...pitopt.Option) (*pitopt.Model, error) {
	return pitopt.Load(path, append(a.options(), opts...)...)
}

func (a *app) options() []pitopt.Option {
	opts := []pitopt.Option{pitopt.Pipeline(a.common.pipeline), pitopt.Target(a.common.target), pitopt.Seed(a.common.seed), pitopt.WithContext(a.ctx)}
	if a.common.threads >= 0 {
		opts = append(opts, pitopt.Threads(a.common.threads))
	}
	return opts
}

func (a *app) report(m *pitopt.Model, w *watcher, out map[string]tensor.Value, took time.Duration) {
	if a.common.json {
		outputs := []map[string]any{}
		for _, o := range m.Outputs() {
			outputs = append(outputs, map[string]any{"name": o.Name, "value": describe(out[o.Name], -1)})
		}
		a.emit(map[string]any{"kind": "run", "target": m.TargetName(), "import_ms": ms(w.imported), "passes": w.times, "run_ms": ms(took), "outputs": outputs})
		return
	}
	fmt.Fprintf(a.out, "run on %s: %s\n", m.TargetName(), round(took))
	for _, o := range m.Outputs() {
		fmt.Fprintf(a.out, "%s: %s\n", o.Name, describe(out[o.Name], 8))
	}
}

func describe(v tensor.Value, max int) string {
	switch v := v.(type) {
	case *tensor.Tensor:
		return v.Format(max)
	case *tensor.Sequence:
		parts := make([]string, len(v.Elems))
		for i, e := range v.Elems {
			parts[i] = describe(e, max)
		}
		return "seq(" + strings.Join(parts, ", ") + ")"
	case *tensor.Optional:
		if v.Elem == nil {
			return "none"
		}
		return "optional(" + describe(v.Elem, max) + ")"
	}
	return fmt.Sprint(v)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func round(d time.Duration) string { return fmt.Sprintf("%.2f ms", ms(d)) }

// watcher sees a module while it is compiled: times, printed IR, dumps, and checks.
type watcher struct {
	a        *app
	f        *runFlags
	imported time.Duration
	times    []passTime
	last     string // the IR as text after the step before
	inputs   []tensor.Value
	want     []tensor.Value
}

func (w *watcher) options() []pitopt.Option {
	return []pitopt.Option{pitopt.Observe(pitopt.Observer{Imported: w.onImport, Before: w.before, After: w.after, Note: func(p, msg string) {
		fmt.Fprintf(w.a.err, "pitopt: %s: %s\n", p, msg)
	}})}
}

func (w *watcher) wantsText() bool { return w.f.changed || w.f.dump != "" }

func (w *watcher) onImport(m *ir.Module, took time.Duration) {
	w.imported = took
	if w.wantsText() {
		w.last = printed(m)
	}
	if w.f.dump != "" {
		w.dumpFile("00-import", w.last)
	}
}

func printed(m *ir.Module) string {
	var b bytes.Buffer
	_ = text.Print(&b, m, text.Options{Elide: elide})
	return b.String()
}

func (w *watcher) dumpFile(name, s string) {
	if err := os.MkdirAll(w.f.dump, 0o777); err == nil {
		err = renameio.WriteFile(filepath.Join(w.f.dump, strings.ReplaceAll(name, "/", "_")+".ir"), []byte(s), 0o666)
		if err == nil {
			return
		}
	}
	fmt.Fprintf(w.a.err, "pitopt: -dump: %s can not be written\n", w.f.dump)
}

func (w *watcher) before(i int, s pass.Step, m *ir.Module) error {
	if w.f.before == s.Pass.Name {
		fmt.Fprintf(w.a.err, "# before %s\n%s", s.Pass.Name, printed(m))
	}
	if w.inputs == nil && w.checks(s) {
		return w.reference(m)
	}
	return nil
}

func (w *watcher) checks(s pass.Step) bool { return w.f.check == "each" || s.Check }

// reference computes what every later module must give, on the inputs of the command
// line or drawn ones.
func (w *watcher) reference(m *ir.Module) error {
	values, _, err := w.f.in.values(m, w.a.common.seed)
	if err != nil {
		return err
	}
	for _, p := range m.Main().Params {
		w.inputs = append(w.inputs, values[p.Name])
	}
	w.want, err = interp.Run(w.a.ctx, m, w.inputs, interp.Options{Seed: w.a.common.seed})
	return err
}

func (w *watcher) after(i int, s pass.Step, m *ir.Module, took time.Duration) error {
	n := 0
	for _, f := range m.Funcs {
		f.Walk(func(*ir.Stmt) { n++ })
	}
	row := passTime{Name: s.Pass.Name, Ms: ms(took), Statements: n}
	if w.wantsText() {
		now := printed(m)
		row.Changed = now != w.last
		if row.Changed && w.f.changed {
			fmt.Fprintf(w.a.err, "# after %s\n%s", s.Pass.Name, now)
		}
		w.last = now
	}
	w.times = append(w.times, row)
	if w.f.after == s.Pass.Name {
		fmt.Fprintf(w.a.err, "# after %s\n%s", s.Pass.Name, printed(m))
	}
	if w.f.dump != "" {
		w.dumpFile(fmt.Sprintf("%02d-%s", i+1, s.Pass.Name), w.last)
	}
	if w.checks(s) {
		got, err := interp.Run(w.a.ctx, m, w.inputs, interp.Options{Seed: w.a.common.seed})
		if err != nil {
			return diag.New(diag.Differ, "after the pass the module fails: %v", err).During(s.Pass.Name)
		}
		for j, want := range w.want {
			if err := tensor.Compare(got[j], want, toleranceOf(want)); err != nil {
				return diag.New(diag.Differ, "the pass changed output %q: %v", m.Main().ResultName(j), err).During(s.Pass.Name).
					Hint("-print-before %s -print-after %s show what it did", s.Pass.Name, s.Pass.Name)
			}
		}
	}
	return nil
}

func toleranceOf(v tensor.Value) tensor.Tolerance {
	if t, ok := v.(*tensor.Tensor); ok {
		return tensor.DefaultTolerance(t.DType())
	}
	return tensor.DefaultTolerance(tensor.F32)
}

// table prints the pipeline with times.
func (w *watcher) table() {
	if w.a.common.quiet {
		return
	}
	fmt.Fprintf(w.a.out, "%-16s %10s %10s\n", "pass", "time", "statements")
	fmt.Fprintf(w.a.out, "%-16s %10s\n", "import", round(w.imported))
	for _, t := range w.times {
		fmt.Fprintf(w.a.out, "%-16s %7.2f ms %10d\n", t.Name, t.Ms, t.Statements)
	}
}

// checkEnd compares with the reference interpreter on the module as it was imported.
func (a *app) checkEnd(path string, m *pitopt.Model, inputs map[string]tensor.Value, out map[string]tensor.Value) error {
	ref, err := pitopt.Load(path, append(a.options(), pitopt.Target("interp"))...)
	if err != nil {
		return err
	}
	defer ref.Close()
	want, err := ref.RunValues(a.ctx, inputs)
	if err != nil {
		return err
	}
	for _, o := range m.Outputs() {
		if err := tensor.Compare(out[o.Name], want[o.Name], toleranceOf(want[o.Name])); err != nil {
			return diag.New(diag.Differ, "output %q is not what the reference interpreter gives: %v", o.Name, err).In(path)
		}
	}
	fmt.Fprintln(a.err, "pitopt: outputs are those of the reference interpreter")
	return nil
}

// writeOutputs writes all outputs or none: to a new folder beside the one asked for,
// then file by file in place of what was there.
func writeOutputs(dir, format string, m *pitopt.Model, out map[string]tensor.Value) error {
	type file struct {
		name string
		data []byte
	}
	var files []file
	for i, o := range m.Outputs() {
		if format == "pb" {
			files = append(files, file{fmt.Sprintf("output_%d.pb", i), onnx.EncodeValue(o.Name, out[o.Name])})
			continue
		}
		t, ok := out[o.Name].(*tensor.Tensor)
		if !ok {
			return diag.New(diag.Run, "output %q is no tensor", o.Name).Hint("write it with -output-format pb")
		}
		var b bytes.Buffer
		if err := tensor.WriteNPY(&b, t); err != nil {
			return diag.New(diag.Run, "output %q: %v", o.Name, err)
		}
		files = append(files, file{safeName(o.Name, i) + ".npy", b.Bytes()})
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return diag.New(diag.Run, "-output: %v", err)
	}
	var pending []*renameio.PendingFile
	defer func() {
		for _, p := range pending {
			_ = p.Cleanup()
		}
	}()
	for _, f := range files {
		p, err := renameio.NewPendingFile(filepath.Join(dir, f.name), renameio.WithPermissions(0o666))
		if err == nil {
			pending = append(pending, p)
			_, err = p.Write(f.data)
		}
		if err != nil {
			return diag.New(diag.Run, "-output: %v", err)
		}
	}
	for _, p := range pending {
		if err := p.CloseAtomicallyReplace(); err != nil {
			return diag.New(diag.Run, "-output: %v", err)
		}
	}
	return nil
}

// safeName makes a file name of an output's name, which may be anything.
func safeName(name string, i int) string {
	s := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	if s != name || strings.Trim(s, ".") == "" {
		s = fmt.Sprintf("%d_%s", i, s)
	}
	return s
}

// write is -emit.
func (a *app) write(m *pitopt.Model, f *runFlags) error {
	var b bytes.Buffer
	switch f.emit {
	case "ir":
		if err := text.Print(&b, m.Module(), text.Options{}); err != nil {
			return err
		}
	case "onnx":
		data, err := onnx.Export(m.Module())
		if err != nil {
			return err
		}
		b.Write(data)
	}
	if f.file == "" {
		_, err := a.out.Write(b.Bytes())
		return err
	}
	if err := renameio.WriteFile(f.file, b.Bytes(), 0o666); err != nil {
		return diag.New(diag.Run, "-o: %v", err)
	}
	return nil
}
