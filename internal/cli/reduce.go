package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/reduce"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/passes"
)

// reduceFlags are those of `pitopt reduce`.
type reduceFlags struct {
	in   *inputFlags
	pass string
	dir  string
	time time.Duration
}

// reduce makes a small module of a model on which a pass goes wrong.
func (a *app) reduce(args []string) error {
	fs := a.begin("reduce", "MODEL", "Makes a small module of a model on which a pass goes wrong: fails, leaves an invalid module, or changes what\n"+
		"is computed. It takes parts away as long as the same goes wrong, and writes what is left with a pipeline of that\n"+
		"pass. The passes that stand before it run first.")
	a.runFlags()
	f := &reduceFlags{in: a.inputFlags()}
	fs.StringVar(&f.pass, "pass", "", "`PASS` the pass, simplify#2 for the second of a name; default: the first that goes wrong")
	fs.StringVar(&f.dir, "o", "reduced", "`DIR` where the module, the pipeline, and inputs from files are written, all or none")
	fs.DurationVar(&f.time, "time", time.Minute, "`TIME` after which it is content with what it has")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := a.one(rest, "model")
	if err != nil {
		return err
	}
	if f.time <= 0 {
		return diag.New(diag.Usage, "-time is %s", f.time).Hint("write a time such as 30s or 2m")
	}
	if _, err := os.Stat(f.dir); err == nil {
		return diag.New(diag.Usage, "-o: %s is there already", f.dir).Hint("remove it, or choose another folder")
	}
	p, err := a.findPipeline(path)
	if err != nil {
		return err
	}
	m, err := pitopt.Import(path, a.options(p)...)
	if err != nil {
		return err
	}
	defer m.Close()
	t, err := a.newTrial(p, f.in, m.Module().Main().Params)
	if err != nil {
		return err
	}
	defer t.close()
	module, wrong, err := t.find(m.Module(), f.pass, path)
	if err != nil {
		return err
	}
	a.clear()
	a.note("%s goes wrong: %s", t.ref, firstLine(wrong.err.Error()))
	before := statements(module)
	module = t.shrink(module, wrong.kind, f.time)
	if a.ctx.Err() != nil {
		return diag.New(diag.Interrupted, "interrupted")
	}
	return a.writeReduced(t, module, f.dir, before)
}

// find runs the pipeline up to the step that is looked for, or to the first that goes
// wrong, and gives the module that it got.
func (t *trial) find(m *ir.Module, name, path string) (*ir.Module, *failure, error) {
	steps, err := t.steps()
	if err != nil {
		return nil, nil, err
	}
	if name != "" && !slices.ContainsFunc(steps, func(s pass.Step) bool { return names(name, s) }) {
		return nil, nil, diag.New(diag.Usage, "there is no pass %q in the pipeline", name).Hint("%s", diag.DidYouMean(name, refs(steps)))
	}
	if u := onnx.Unsupported(m); len(u) > 0 {
		return nil, nil, diag.As(ir.UnsupportedError(u[0]), diag.Unsupported).In(path)
	}
	for i, s := range steps {
		t.a.progress("%d of %d: %s", i+1, len(steps), s.Ref())
		if name == "" || names(name, s) {
			t.ref = s.Ref()
			wrong, err := t.test(m)
			if err != nil {
				return nil, nil, diag.As(err, diag.Run).In(path).Hint("the model fails without the pass, too; choose other sizes with -dim, or give inputs with -input")
			}
			if wrong != nil {
				return m, wrong, nil
			}
		}
		if steps, err = t.steps(); err != nil {
			return nil, nil, err
		}
		if err := t.manager().Run(t.a.ctx, m, steps[i:i+1]); err != nil {
			return nil, nil, diag.As(err, diag.Run).In(path)
		}
	}
	what := "no pass of the pipeline goes"
	if name != "" {
		what = name + " does not go"
	}
	return nil, nil, diag.New(diag.Run, "%s wrong on this model with these inputs", what).In(path).
		Hint("choose other sizes with -dim, others to draw with -seed, or give inputs with -input")
}

// shrink reduces the sizes that are drawn, the module, and the sizes again.
func (t *trial) shrink(m *ir.Module, kind string, limit time.Duration) *ir.Module {
	ctx, cancel := context.WithTimeout(t.a.ctx, limit)
	defer cancel()
	t.ctx = ctx
	defer func() { t.ctx = t.a.ctx }()
	fails := func(m *ir.Module) bool {
		t.runs++
		wrong, err := t.test(m)
		return err == nil && wrong != nil && wrong.kind == kind
	}
	t.smallSizes(m, fails)
	t.trace(m)
	m = reduce.Module(ctx, m, reduce.Options{
		Fails: fails,
		Size:  t.size,
		Known: t.known,
		Smaller: func(m *ir.Module) {
			t.a.progress("%s in %s", count(statements(m), "statement"), count(t.runs, "run"))
		},
	})
	t.smallSizes(m, fails)
	return m
}

// smallSizes draws smaller sizes as long as the same goes wrong.
func (t *trial) smallSizes(m *ir.Module, fails func(*ir.Module) bool) {
	try := func(sizes map[string]int64) bool {
		was := t.sizes
		t.sizes = maps.Clone(was)
		maps.Copy(t.sizes, sizes)
		if t.ctx.Err() == nil && fails(m) {
			return true
		}
		t.sizes = was
		return false
	}
	names := inputSymbols(m)
	ones := map[string]int64{}
	for _, s := range names {
		ones[s] = 1
	}
	if len(names) == 0 || try(ones) {
		return
	}
	for _, s := range names {
		for n := int64(1); n < min(t.sizes[s], 4); n++ {
			if try(map[string]int64{s: n}) {
				break
			}
		}
	}
}

// writeReduced writes the reproducer, and tells of it.
func (a *app) writeReduced(t *trial, m *ir.Module, dir string, before int) error {
	wrong, err := t.test(m)
	if err == nil && wrong != nil {
		// What is written is read back: a file on which nothing goes wrong serves nobody.
		var again *ir.Module
		if again, err = text.Parse("module.pit", []byte(text.String(m)), m.Lookup); err == nil {
			var same *failure
			if same, err = t.test(again); err == nil && (same == nil || same.kind != wrong.kind) {
				err = errors.New("read from its text, nothing goes wrong with it")
			}
		}
	}
	if err != nil {
		return diag.New(diag.Run, "the small module does not reproduce it: %v", err).During(t.ref)
	}
	files, flags := t.inputFiles(m, dir)
	command := "pitopt " + strings.Join(append(append(wrong.flags, flags...), filepath.Join(dir, "module.pit")), " ")
	head := fmt.Sprintf("# %s goes wrong on this module:\n#     %s\n# Again, with pipeline.toml beside it:\n#     %s\n", t.ref, firstLine(wrong.err.Error()), command)
	files = append(files, outputFile{name: "module.pit", data: []byte(head + text.String(m))}, outputFile{name: "pipeline.toml", data: []byte(t.pipelineText())})
	if err := writeFolder(dir, files); err != nil {
		return err
	}
	a.clear()
	if a.common.json {
		a.emit(map[string]any{"kind": "reduced", "pass": t.ref, "code": int(wrong.err.Code), "message": wrong.err.Error(), "dir": dir, "command": command,
			"statements": statements(m), "statements_before": before, "runs": t.runs})
		return nil
	}
	fmt.Fprintf(a.out, "%s goes wrong on %s, of %d: %s\nwritten to %s; again: %s\n", t.ref, count(statements(m), "statement"), before,
		firstLine(wrong.err.Error()), dir, command)
	return nil
}

// pipelineText is a pipeline of the pass that goes wrong, with its plugin.
func (t *trial) pipelineText() string {
	var b strings.Builder
	b.WriteString("version = 1\n")
	if plugin, _, ok := strings.Cut(t.step.Pass.Name, "/"); ok {
		for _, p := range t.file.Plugins {
			if p.Name == plugin {
				path := t.file.PluginPath(p)
				if abs, err := filepath.Abs(path); err == nil {
					path = abs
				}
				fmt.Fprintf(&b, "\n[[plugin]]\nname = %q\npath = %q\ntimeout = %q\n", p.Name, path, p.Timeout)
			}
		}
	}
	fmt.Fprintf(&b, "\n[[pass]]\nname = %q\n", t.step.Pass.Name)
	for _, o := range t.step.Pass.Options {
		if v, ok := t.step.Options[o.Name]; ok {
			o.Default = v
			fmt.Fprintf(&b, "%s = %s\n", o.Name, passes.DefaultText(o))
		}
	}
	return b.String()
}
