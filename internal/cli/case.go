package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// testCase is a model with its data.
type testCase struct {
	name, model string
	sets        []string
	skip        string // why it can not be run, printed
	light       string // a model of the "light" kind: the file of its output
}

// findCases walks folders down to those that hold a model.onnx.
func findCases(dirs []string) ([]testCase, error) {
	var out []testCase
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err != nil {
			return nil, diag.New(diag.Usage, "%v", withoutPath(err)).In(dir).Hint("check the path")
		}
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !d.IsDir() {
				if strings.HasPrefix(d.Name(), "light_") && strings.HasSuffix(path, ".onnx") {
					out = append(out, testCase{name: strings.TrimSuffix(d.Name(), ".onnx"), model: path, light: strings.TrimSuffix(path, ".onnx") + "_output_0.pb"})
				}
				return nil
			}
			sets, _ := filepath.Glob(filepath.Join(path, "test_data_set_*"))
			model := filepath.Join(path, "model.onnx")
			if _, err := os.Stat(model); err != nil {
				if len(sets) > 0 || isRealCase(path) {
					out = append(out, testCase{name: filepath.Base(path), skip: "there is no model.onnx in it; a suite may have it downloaded"})
					return filepath.SkipDir
				}
				return nil
			}
			slices.SortStableFunc(sets, func(x, y string) int { return cmp.Or(numberOf(x)-numberOf(y), strings.Compare(x, y)) })
			c := testCase{name: filepath.Base(path), model: model, sets: sets}
			out = append(out, c)
			return filepath.SkipDir
		})
		if err != nil {
			return nil, diag.New(diag.Usage, "%v", err)
		}
	}
	if len(out) == 0 {
		return nil, diag.New(diag.Usage, "no model.onnx in %s", strings.Join(dirs, ", ")).
			Hint("a case is a folder with model.onnx and test_data_set_0, which has input_0.pb ... and output_0.pb ...")
	}
	return out, nil
}

// isRealCase recognises the suite's cases that only name a model to download.
func isRealCase(path string) bool {
	data, _ := filepath.Glob(filepath.Join(path, "data.json"))
	return len(data) > 0
}

// runCase runs every data set of a case, and gives the kinds of operators it has.
func (a *app) runCase(ctx context.Context, c testCase, f *testFlags) (ops []string, err error) {
	tol, err := tolerance(c, f)
	if err != nil {
		return nil, err
	}
	p, err := a.findPipeline(c.model)
	if err != nil {
		return nil, err
	}
	shapes := map[string][]int64{} // of a light model's inputs, before they become symbols
	edit := func(m *wire.Model) {
		if c.light != "" {
			inputShapesOf(m, shapes)
		}
		if f.dynamic || f.shared {
			makeDynamic(m, f.shared)
		}
	}
	random := false
	w := &watcher{a: a, ctx: ctx, memory: f.memory, f: &runOptions{check: f.check}, silent: true, states: p.State, masks: p.Masks()}
	opts := append(a.options(p), pitopt.ForSessions(), pitopt.WithContext(ctx), pitopt.Memory(f.memory), pitopt.EditModel(edit), pitopt.Observe(pitopt.Observer{
		Imported: func(m *ir.Module, _ time.Duration) error {
			ops = operators(m)
			m.Main().Walk(func(s *ir.Stmt) { random = random || s.Effect() == ir.Random })
			switch {
			case c.light != "":
				w.values, err = lightInputs(m.Main().Params, shapes)
			case len(c.sets) == 0:
				err = diag.New(diag.Run, "there is no test_data_set_* beside the model")
			case f.check == "each":
				w.inStates(m)
				w.values, err = a.firstSet(c.sets[0], m, p.State, f)
			}
			return err
		},
		Before: w.before, After: w.after,
	}))
	m, err := pitopt.Load(c.model, opts...)
	if err != nil {
		return ops, err
	}
	defer m.Close()
	if c.light != "" {
		return ops, runLight(ctx, m, c.light, w.values, tol)
	}
	var session *pitopt.Session
	if len(p.State) > 0 {
		if session, err = m.Session(); err != nil {
			return ops, err
		}
	}
	for _, set := range c.sets {
		if err := a.runSet(ctx, m, session, set, tol, random); err != nil {
			return ops, err
		}
	}
	return ops, nil
}

// readSet reads the inputs of a data set. States may have no file.
func readSet(set string, inputs []pitopt.Value, states []pitopt.Carried) (map[string]tensor.Value, error) {
	out := map[string]tensor.Value{}
	for i, in := range inputs {
		path := filepath.Join(set, fmt.Sprintf("input_%d.pb", i))
		if slices.ContainsFunc(states, func(s pitopt.Carried) bool { return s.In == in.Name }) && !exists(path) {
			continue
		}
		v, err := readData(path, in.Type)
		if err != nil {
			return nil, err
		}
		out[in.Name] = v
	}
	return out, nil
}

// readData reads a file of test data.
func readData(path string, t ir.Type) (tensor.Value, error) {
	v, err := onnx.ReadValue(path, t)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, diag.New(diag.Run, "there is no such file").In(path)
	}
	return v, err
}

// runSet runs a model on a data set and compares. In a session states that have no file go on where
// the data set before ended, and what they are then is compared where there is a file for it.
func (a *app) runSet(ctx context.Context, m *pitopt.Model, session *pitopt.Session, set string, tol tensor.Tolerance, random bool) error {
	var states []pitopt.Carried
	run := func(inputs map[string]tensor.Value) (map[string]tensor.Value, error) { return m.RunValues(ctx, inputs) }
	if session != nil {
		states = session.States()
		run = func(inputs map[string]tensor.Value) (map[string]tensor.Value, error) {
			return step(ctx, session, inputs)
		}
	}
	inputs, err := readSet(set, m.Inputs(), states)
	if err != nil {
		return err
	}
	out, err := run(inputs)
	if err != nil {
		if session != nil {
			return diag.As(err, diag.Run).During(filepath.Base(set))
		}
		return err
	}
	for i, o := range m.Outputs() {
		path := filepath.Join(set, fmt.Sprintf("output_%d.pb", i))
		if slices.ContainsFunc(states, func(s pitopt.Carried) bool { return s.Out == o.Name }) && !exists(path) {
			continue
		}
		want, err := readData(path, declaredType(m, i, o.Type))
		if err != nil {
			return err
		}
		compare := tensor.Compare
		if random {
			compare = compareDrawn
		}
		if err := compare(out[o.Name], want, tol); err != nil {
			return diag.New(diag.Differ, "%s: output %q: %v", filepath.Base(set), o.Name, err)
		}
	}
	return nil
}

// declaredType is the type that the model declares output i with, which says what its file
// holds: what was deduced may be an optional where the model says what it holds.
func declaredType(m *pitopt.Model, i int, deduced ir.Type) ir.Type {
	if declared := m.Module().Meta.Outputs; i < len(declared) {
		return declared[i]
	}
	return deduced
}

// compareDrawn compares results of random operators: element type and shape exactly,
// values by their mean, which must be within five standard errors of the other one's.
func compareDrawn(got, want tensor.Value, _ tensor.Tolerance) error {
	g, ok := got.(*tensor.Tensor)
	w, ok2 := want.(*tensor.Tensor)
	if !ok || !ok2 || g.DType() != w.DType() || !slices.Equal(g.Shape(), w.Shape()) {
		return fmt.Errorf("got %v, want something like %v", got, want)
	}
	mean := func(t *tensor.Tensor) (m, se float64) {
		n := float64(t.Len())
		sq := 0.0
		for i := range t.Len() {
			v := t.Float(i)
			m, sq = m+v/n, sq+v*v/n
		}
		return m, math.Sqrt(math.Max(sq-m*m, 0) / n)
	}
	m1, s1 := mean(g)
	m2, s2 := mean(w)
	if math.Abs(m1-m2) > 5*math.Hypot(s1, s2)+1e-6 {
		return fmt.Errorf("drawn values have mean %g, want about %g", m1, m2)
	}
	return nil
}

// inputShapesOf notes the shapes of a graph's inputs that are numbers.
func inputShapesOf(m *wire.Model, shapes map[string][]int64) {
	if m.Graph == nil {
		return
	}
	for _, in := range m.Graph.Inputs {
		if in.Type == nil || in.Type.Tensor == nil || in.Type.Tensor.Shape == nil {
			continue
		}
		shape := []int64{}
		for _, d := range in.Type.Tensor.Shape.Dims {
			shape = append(shape, d.Value)
		}
		shapes[in.Name] = shape
	}
}

// lightInputs are the inputs of a model without data: arange(n)/n, as ONNX's own runner
// makes them.
func lightInputs(params []*ir.Value, shapes map[string][]int64) (map[string]tensor.Value, error) {
	inputs := map[string]tensor.Value{}
	for _, in := range params {
		t, ok := in.Tensor()
		shape := shapes[in.Name]
		if !ok || shape == nil {
			return nil, diag.New(diag.Run, "input %q of type %s can not be made up", in.Name, in.Type)
		}
		x := tensor.New(t.DType, shape...)
		for i := range x.Len() {
			x.SetFloat(i, float64(float32(i)/float32(x.Len())))
		}
		inputs[in.Name] = x
	}
	return inputs, nil
}

// runLight runs a model without data, and compares with the file of its output.
func runLight(ctx context.Context, m *pitopt.Model, output string, inputs map[string]tensor.Value, tol tensor.Tolerance) error {
	out, err := m.RunValues(ctx, inputs)
	if err != nil {
		return err
	}
	o := m.Outputs()[0]
	want, err := readData(output, o.Type)
	if err != nil {
		return err
	}
	if err := tensor.Compare(out[o.Name], want, tol); err != nil {
		return diag.New(diag.Differ, "output %q: %v", o.Name, err)
	}
	return nil
}

// operators lists the kinds of operators of a module.
func operators(m *ir.Module) []string {
	seen := map[string]bool{}
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			if s.Op != nil {
				seen[s.Op.Name] = true
			}
		})
	}
	out := make([]string, 0, len(seen))
	for n := range seen {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// tolerance is that of the flags, or of a tolerance.toml beside the model.
func tolerance(c testCase, f *testFlags) (tensor.Tolerance, error) {
	tol := tensor.Tolerance{RTol: f.rtol, ATol: f.atol}
	path := filepath.Join(filepath.Dir(c.model), "tolerance.toml")
	var file struct{ RTol, ATol, Mean, Cosine *float64 }
	md, err := toml.DecodeFile(path, &file)
	if os.IsNotExist(err) {
		return tol, nil
	}
	if err != nil {
		return tol, diag.New(diag.Usage, "%v", err).In(path)
	}
	if u := md.Undecoded(); len(u) > 0 {
		return tol, diag.New(diag.Usage, "unknown key %q", u[0]).In(path).Hint("it can set rtol, atol, mean and cosine")
	}
	for _, x := range []struct {
		from *float64
		to   *float64
	}{{file.RTol, &tol.RTol}, {file.ATol, &tol.ATol}, {file.Mean, &tol.Mean}, {file.Cosine, &tol.Cosine}} {
		if x.from != nil {
			if math.IsNaN(*x.from) || *x.from < 0 {
				return tol, diag.New(diag.Usage, "a tolerance of %g", *x.from).In(path)
			}
			*x.to = *x.from
		}
	}
	return tol, nil
}

// makeDynamic makes every dim of the graph's inputs a symbol: each its own, or equal
// sizes the same. What the model declares of other values no longer holds then.
func makeDynamic(m *wire.Model, shared bool) {
	if m.Graph == nil {
		return
	}
	n := 0
	for _, in := range m.Graph.Inputs {
		if in.Type == nil || in.Type.Tensor == nil || in.Type.Tensor.Shape == nil {
			continue
		}
		for _, d := range in.Type.Tensor.Shape.Dims {
			if !d.HasValue {
				continue
			}
			name := fmt.Sprintf("dyn%d", n)
			n++
			if shared {
				name = fmt.Sprintf("size%d", d.Value)
			}
			d.HasValue, d.Value, d.Param = false, 0, name
		}
	}
	for _, o := range m.Graph.Outputs {
		if o.Type != nil && o.Type.Tensor != nil {
			o.Type.Tensor.Shape = nil
		}
	}
	m.Graph.ValueInfo = nil
}
