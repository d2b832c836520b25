package cli

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/runtime"
)

// trial runs one step of a pipeline on modules and looks whether it goes wrong.
type trial struct {
	a       *app
	ctx     context.Context // of the runs
	file    *passes.File
	ref     string         // of the step
	device  runtime.Device // nil: the interpreter is all there is
	plugins pitopt.Plugins
	started bool // plugins are
	step    pass.Step
	list    []pass.Step

	in    *inputFlags
	given map[string]tensor.Value // inputs from files
	paths map[string]string
	sizes map[string]int64 // of symbols, for inputs that are drawn
	runs  int

	env  *ir.Env                   // of a run: what symbols were,
	held map[string]*tensor.Tensor // and what small tensors of integers held
}

// failure is what a pass did wrong.
type failure struct {
	err   *diag.Error
	kind  string   // the same for failures that are alike
	flags []string // with which pitopt shows it
}

func (a *app) newTrial(p *passes.File, in *inputFlags, params []*ir.Value) (*trial, error) {
	t := &trial{a: a, ctx: a.ctx, file: p, in: in, given: map[string]tensor.Value{}, sizes: maps.Clone(in.dims)}
	var err error
	if t.paths, err = in.paths(params); err != nil {
		return nil, err
	}
	for _, x := range params {
		if path := t.paths[x.Name]; path != "" {
			if t.given[x.Name], err = readInput(x, path); err != nil {
				return nil, err
			}
		}
	}
	t.device, _, err = pitopt.OpenDevice(a.common.target, p.Target.Device, max(a.common.threads, p.Target.Threads))
	return t, err
}

func (t *trial) close() {
	t.plugins.Close()
	if t.device != nil {
		_ = t.device.Close()
	}
}

func (t *trial) manager() *pass.Manager {
	mg := &pass.Manager{Target: target.Interp()}
	if t.device != nil {
		mg.Target = t.device.Target()
	}
	return mg
}

// steps are those of the pipeline. Plugins are started for them, and again when one has
// died.
func (t *trial) steps() ([]pass.Step, error) {
	if t.started {
		return t.list, nil
	}
	t.plugins.Close()
	t.plugins = nil
	var err error
	if t.plugins, err = pitopt.OpenPlugins(t.a.ctx, t.file); err != nil {
		return nil, err
	}
	registry, err := t.plugins.Registry(t.a.ownPasses())
	if err != nil {
		return nil, err
	}
	t.list, err = t.file.Assemble(registry)
	t.started = err == nil
	return t.list, err
}

// test says what goes wrong when the step runs on a module, nil if nothing does. The module
// stays as it is. The error is about the module by itself.
func (t *trial) test(m *ir.Module) (*failure, error) {
	steps, err := t.steps()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(steps, func(s pass.Step) bool { return s.Ref() == t.ref })
	t.step = steps[i]
	after := m.Clone()
	if err := t.manager().Run(t.ctx, after, []pass.Step{t.step}); err != nil {
		if t.ctx.Err() != nil {
			return nil, t.ctx.Err()
		}
		t.started = t.started && diag.CodeOf(err) != diag.Plugin
		e := diag.As(err, diag.Run)
		what := skeleton(e.Msg) + " " + e.Op
		if rule := ir.Broken(err); rule != nil {
			what = rule.Name
		}
		return &failure{err: e, kind: fmt.Sprint(e.Code, " ", what)}, nil
	}
	inputs, err := t.inputs(m)
	if err != nil {
		return nil, err
	}
	run := func(m *ir.Module) ([]tensor.Value, error) {
		return interp.Run(t.ctx, m, inputs, interp.Options{Seed: t.a.common.seed, MaxBytes: t.file.Target.Memory})
	}
	want, err := run(m)
	if err != nil {
		return nil, err
	}
	got, err := run(after)
	if f := t.judge(after, got, want, err, "", "-check", "each"); f != nil || t.device == nil || t.ctx.Err() != nil {
		return f, t.ctx.Err()
	}
	onDevice := func(m *ir.Module) ([]tensor.Value, error) {
		x, err := runtime.Load(m, t.device, runtime.Options{Seed: t.a.common.seed, MaxBytes: t.file.Target.Memory})
		if err != nil {
			return nil, err
		}
		return x.Run(t.ctx, inputs)
	}
	got, err = onDevice(after)
	f := t.judge(after, got, want, err, " on the device", "-check", "end", "-target", t.device.Target().Name)
	if f != nil && t.ctx.Err() == nil {
		got, err := onDevice(m.Clone())
		if t.judge(m, got, want, err, "", "") != nil {
			return nil, t.ctx.Err() // the device does it wrong without the pass, too
		}
	}
	return f, t.ctx.Err()
}

// judge compares what a module gave after the step with what it gave before.
func (t *trial) judge(m *ir.Module, got, want []tensor.Value, err error, where string, flags ...string) *failure {
	if t.a.common.seed != 0 {
		flags = append(flags, "-seed", fmt.Sprint(t.a.common.seed))
	}
	if err != nil {
		e := diag.New(diag.Differ, "after the pass the module fails%s: %v", where, err).During(t.ref)
		return &failure{err: e, kind: fmt.Sprint("fails", where, " ", skeleton(diag.As(err, diag.Run).Msg)), flags: flags}
	}
	for i, w := range want {
		if err := tensor.Compare(got[i], w, toleranceOf(w)); err != nil {
			e := diag.New(diag.Differ, "the pass changed output %q%s: %v", m.Main().ResultName(i), where, err).During(t.ref)
			return &failure{err: e, kind: "differs" + where, flags: flags}
		}
	}
	return nil
}

// particulars are what differs between messages that say the same: names, numbers, lists.
var particulars = regexp.MustCompile(`"[^"]*"|[%@][^\s,;:()]+|\[[^\]]*\]|-?\d[\d.e+-]*`)

func skeleton(msg string) string { return particulars.ReplaceAllString(firstLine(msg), "_") }

// inputs are those of the module: from files where they were given, drawn otherwise. Sizes
// that are drawn stay what they are.
func (t *trial) inputs(m *ir.Module) ([]tensor.Value, error) {
	names := inputSymbols(m)
	in := inputFlags{dims: maps.Clone(t.sizes)}
	maps.DeleteFunc(in.dims, func(s string, _ int64) bool { return !slices.Contains(names, s) })
	have := map[string]tensor.Value{}
	for _, p := range m.Main().Params {
		if v := t.given[p.Name]; v != nil {
			have[p.Name] = v
		}
	}
	for i, s := range names {
		if _, ok := in.dims[s]; !ok && len(have) == 0 {
			n := chooseSize(m, s, i)
			if was, ok := t.env.Lookup(s); ok {
				n = was
			}
			in.dims[s], t.sizes[s] = n, n
		}
	}
	values, _, err := in.draw(m, have, t.paths, t.a.common.seed, t.file.Target.Memory)
	if err != nil {
		return nil, err
	}
	var list []tensor.Value
	for _, p := range m.Main().Params {
		list = append(list, values[p.Name])
	}
	return list, nil
}

// trace runs a module and notes what symbols were and what small tensors of integers held.
// One that fails tells what it came to.
func (t *trial) trace(m *ir.Module) {
	t.env, t.held = ir.NewEnv(nil), map[string]*tensor.Tensor{}
	inputs, err := t.inputs(m)
	if err != nil {
		return
	}
	see := func(v *ir.Value, x tensor.Value) {
		if v == nil || tensor.Missing(x) {
			return
		}
		if _, ok := v.Tensor(); ok {
			_ = t.env.Bind(v.Type, x, "the run") // of what runs more than once, the first time
		}
		if x, ok := x.(*tensor.Tensor); ok && x.DType().IsInt() && x.Len() <= ir.MaxKnown {
			t.held[v.Name] = x.Clone()
		}
	}
	for i, p := range m.Main().Params {
		see(p, inputs[i])
	}
	_, _ = interp.Run(t.ctx, m, inputs, interp.Options{Seed: t.a.common.seed, MaxBytes: t.file.Target.Memory,
		Trace: func(s *ir.Stmt, results []tensor.Value) {
			for i, v := range s.Results {
				if i < len(results) {
					see(v, results[i])
				}
			}
		}})
}

// size is what a symbol was, or a small size.
func (t *trial) size(symbol string) int64 {
	if n, ok := t.sizes[symbol]; ok {
		return n
	}
	if n, ok := t.env.Lookup(symbol); ok {
		return n
	}
	return 2
}

func (t *trial) known(value string) *tensor.Tensor { return t.held[value] }

// inputFiles are the inputs that were given and that the module still has, and the flags
// with which pitopt runs it on the same inputs.
func (t *trial) inputFiles(m *ir.Module, dir string) (files []outputFile, flags []string) {
	for i, p := range m.Main().Params {
		if v := t.given[p.Name]; v != nil {
			files = append(files, outputFile{name: fmt.Sprintf("input_%d.pb", i), data: onnx.EncodeValue(p.Name, v)})
		}
	}
	if len(files) > 0 {
		flags = append(flags, "-inputs", filepath.Clean(dir))
	}
	for _, s := range inputSymbols(m) {
		if n, ok := t.sizes[s]; ok {
			flags = append(flags, "-dim", fmt.Sprintf("%s=%d", s, n))
		}
	}
	return files, flags
}
