package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/disk"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/passes"
)

// elide is how many elements of a constant are shown when IR is printed for people.
const elide = 8

// watcher sees a module while it is compiled: times, printed IR, dumps, and checks.
type watcher struct {
	a        *app
	f        *runOptions
	ctx      context.Context // of the checks; nil: that of the program
	memory   int64           // budget of a check in bytes
	steps    int
	compares bool // some step is to be checked
	silent   bool // no progress and no times: one of many models
	imported time.Duration
	size     int // of the imported module in statements
	times    []passTime
	last     string                  // the IR as text after the step before
	values   map[string]tensor.Value // the inputs, given and drawn
	drawn    drawn
	want     []tensor.Value // what the first module that was checked gives
	held     string         // the module that gives it too, as state has it
	states   []passes.State // of the session that is compiled for
	masks    []string       // of which rows of padding do not matter
	axes     map[string]int // along which they grow
}

// passTime is a row of the table of passes.
type passTime struct {
	Name       string  `json:"name"`
	Ms         float64 `json:"ms"`
	Statements int     `json:"statements"`
	Changed    *bool   `json:"changed,omitempty"` // where the IR was printed
}

func (w *watcher) options() []pitopt.Option {
	return []pitopt.Option{pitopt.Observe(pitopt.Observer{Steps: w.assembled, Imported: w.onImport, Before: w.before, After: w.after,
		Note: func(p, msg string) { w.a.note("%s: %s", p, msg) }})}
}

// assembled checks that the passes to print are in the pipeline.
func (w *watcher) assembled(steps, leftOut []pass.Step) error {
	w.steps, w.compares = len(steps), slices.ContainsFunc(steps, w.checks)
	for _, word := range slices.Concat(w.f.before, w.f.after) {
		if !slices.ContainsFunc(steps, func(s pass.Step) bool { return names(word, s) }) {
			return diag.New(diag.Usage, "there is no pass %q in the pipeline to print the IR of", word).Hint("%s", diag.DidYouMean(word, refs(steps)))
		}
	}
	if len(leftOut) > 0 {
		w.a.note("ONNX is written before %s: left out are %s", leftOut[0].Ref(), strings.Join(refs(leftOut), ", "))
	}
	return nil
}

func refs(steps []pass.Step) []string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = s.Ref()
	}
	return out
}

// names says whether a word names a step: "simplify" all of its pass, "simplify#1" the
// first.
func names(word string, s pass.Step) bool {
	return word == s.Pass.Name || word == s.Ref() || s.Number <= 1 && word == s.Pass.Name+"#1"
}

func (w *watcher) wantsText() bool { return w.f.changed || w.f.dump != "" }

func (w *watcher) onImport(m *ir.Module, took time.Duration) error {
	w.imported, w.size = took, statements(m)
	w.f.trace.compiled("import", took)
	w.inStates(m)
	if w.a.common.verbose {
		w.a.note("import: %s, %d statements", round(took), w.size)
	}
	if w.wantsText() {
		w.last = printed(m)
	}
	if err := w.dump("00-import"); err != nil {
		return err
	}
	if w.f.emit != "" && w.f.emit != "asm" && w.f.emit != "ptx" && !w.compares {
		return nil
	}
	var err error
	if w.values, w.drawn, err = w.f.in.values(m, w.a.common.seed, w.memory); err != nil {
		return err
	}
	w.a.noteDrawn(w.drawn)
	return nil
}

func statements(m *ir.Module) int {
	n := 0
	for _, f := range m.Funcs {
		f.Walk(func(*ir.Stmt) { n++ })
	}
	return n
}

func printed(m *ir.Module) string {
	var b bytes.Buffer
	_ = text.Print(&b, m, text.Options{Elide: elide})
	return b.String()
}

// dump writes the IR as it is, if that is asked for.
func (w *watcher) dump(name string) error {
	if w.f.dump == "" {
		return nil
	}
	if err := os.MkdirAll(w.f.dump, 0o777); err != nil {
		return notWritten("-dump", err)
	}
	if err := disk.Write(filepath.Join(w.f.dump, strings.ReplaceAll(name, "/", "_")+".ir"), []byte(w.last)); err != nil {
		return notWritten("-dump", err)
	}
	return nil
}

func (w *watcher) show(when string, s pass.Step, ir string) {
	w.a.clear()
	fmt.Fprintf(w.a.err, "# %s %s\n%s", when, s.Ref(), ir)
}

func (w *watcher) before(i int, s pass.Step, m *ir.Module) error {
	if !w.silent {
		w.a.progress("%d of %d: %s", i+1, w.steps, s.Ref())
	}
	if slices.ContainsFunc(w.f.before, func(word string) bool { return names(word, s) }) {
		w.show("before", s, printed(m))
	}
	if w.want == nil && w.checks(s) {
		var err error
		w.want, err = w.run(m)
		w.held = state(m)
		return err
	}
	return nil
}

// state tells modules apart: by the text, and by the tensors that constants are.
func state(m *ir.Module) string {
	var b strings.Builder
	b.WriteString(printed(m))
	for _, c := range m.Consts {
		fmt.Fprintf(&b, "%p", c.Tensor)
	}
	return b.String()
}

func (w *watcher) checks(s pass.Step) bool { return w.f.check == "each" || s.Check }

// run gives what a module computes on the inputs, by the reference interpreter.
func (w *watcher) run(m *ir.Module) ([]tensor.Value, error) {
	ctx := w.ctx
	if ctx == nil {
		ctx = w.a.ctx
	}
	inputs, rooms, err := w.inputs(m)
	if err != nil {
		return nil, err
	}
	out, err := interp.Run(ctx, m, inputs, interp.Options{Seed: w.a.common.seed, MaxBytes: w.memory})
	for i := range out {
		x, ok := rooms[m.Main().ResultName(i)]
		filled, _ := out[i].(*tensor.Tensor)
		if err != nil || !ok || filled == nil {
			continue
		}
		if out[i], err = x.storage.Prefix(x.axis, filled.Shape()[0]); err != nil {
			return nil, diag.As(err, diag.Run)
		}
	}
	return out, err
}

func (w *watcher) after(i int, s pass.Step, m *ir.Module, took time.Duration) error {
	w.f.trace.compiled(s.Ref(), took)
	n := statements(m)
	row := passTime{Name: s.Ref(), Ms: ms(took), Statements: n}
	if w.wantsText() {
		now := printed(m)
		changed := now != w.last
		row.Changed = &changed
		if changed && w.f.changed {
			w.show("after", s, now)
		}
		w.last = now
	}
	w.times = append(w.times, row)
	if w.a.common.verbose && !w.silent {
		w.a.note("%s: %s, %d statements", s.Ref(), round(took), n)
	}
	if slices.ContainsFunc(w.f.after, func(word string) bool { return names(word, s) }) {
		w.show("after", s, printed(m))
	}
	if err := w.dump(fmt.Sprintf("%02d-%s", i+1, s.Pass.Name)); err != nil {
		return err
	}
	if w.checks(s) {
		return w.compare(s, m)
	}
	return nil
}

// compare runs the module after a step, and holds its results against the reference. What
// no step has changed is not run again.
func (w *watcher) compare(s pass.Step, m *ir.Module) error {
	now := state(m)
	if now == w.held {
		return nil
	}
	got, err := w.run(m)
	if err != nil {
		if diag.CodeOf(err) == diag.Interrupted {
			return err
		}
		return diag.New(diag.Differ, "after the pass the module fails: %v", err).During(s.Ref()).
			Hint("-print-before %s -print-after %s show what it did", s.Ref(), s.Ref())
	}
	for j, want := range w.want {
		got, want := withoutPadding(w.masks, m.Main(), w.values, j, got[j]), withoutPadding(w.masks, m.Main(), w.values, j, want)
		if err := tensor.Compare(got, want, toleranceOf(want)); err != nil {
			return diag.New(diag.Differ, "the pass changed output %q: %v", m.Main().ResultName(j), err).During(s.Ref()).
				Hint("-print-before %s -print-after %s show what it did", s.Ref(), s.Ref())
		}
	}
	w.held = now
	return nil
}

func toleranceOf(v tensor.Value) tensor.Tolerance {
	switch v := v.(type) {
	case *tensor.Tensor:
		return tensor.DefaultTolerance(v.DType())
	case *tensor.Sequence:
		if len(v.Elems) > 0 {
			return toleranceOf(v.Elems[0])
		}
	case *tensor.Optional:
		if v.Elem != nil {
			return toleranceOf(v.Elem)
		}
	}
	return tensor.Tolerance{}
}

// table prints the pipeline with times.
func (w *watcher) table() {
	width := len("import")
	for _, t := range w.times {
		width = max(width, len(t.Name))
	}
	fmt.Fprintf(w.a.out, "%-*s %13s %12s\n", width, "pass", "time", "statements")
	for _, t := range append([]passTime{{Name: "import", Ms: ms(w.imported), Statements: w.size}}, w.times...) {
		fmt.Fprintf(w.a.out, "%-*s %10.2f ms %12d\n", width, t.Name, t.Ms, t.Statements)
	}
}

// checkEnd compares with what the model computes as it was imported.
func (a *app) checkEnd(path string, p *passes.File, m *pitopt.Model, inputs, out map[string]tensor.Value) error {
	ref, err := pitopt.Import(path, a.options(p)...)
	if err != nil {
		return err
	}
	defer ref.Close()
	want, err := ref.RunValues(a.ctx, inputs)
	if err != nil {
		return err
	}
	for i, o := range m.Outputs() {
		f := ref.Module().Main()
		got, want := withoutPadding(p.Masks(), f, inputs, i, out[o.Name]), withoutPadding(p.Masks(), f, inputs, i, want[o.Name])
		if err := tensor.Compare(got, want, toleranceOf(want)); err != nil {
			return diag.New(diag.Differ, "output %q is not what the reference interpreter gives: %v", o.Name, err).In(path).
				Hint("-check each tells whether a pass is to blame")
		}
	}
	return nil
}
