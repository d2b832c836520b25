package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// side is one of the two ways to run a model that diff compares.
type side struct {
	flag, name string // -a, and what stands behind it: a target, or the file of a pipeline
	m          *pitopt.Model
	of         map[*ir.Stmt]bool // statements of the model; an operator may be run as others
	times      map[string]int    // how often a value was computed
	see        func(id string, s *ir.Stmt, v *ir.Value, x tensor.Value)
}

// layer is a value that both sides compute.
type layer struct {
	Value  string
	Node   string
	Op     string
	Type   string
	MaxAbs float64
	MaxRel float64
	Same   bool // within the tolerance

	v *ir.Value
}

// diff compares two targets or pipelines layer by layer.
func (a *app) diff(args []string) error {
	fs := a.begin("diff", "MODEL", "Runs a model in two ways on the same inputs and compares every value that both compute under one name, in\n"+
		"the order in which the first computes them. It says where the first difference comes from. A way is a target,\n"+
		"or the file of a pipeline. Exit code 7: something differs by more than the tolerance.")
	a.runFlags()
	in := a.inputFlags()
	sides := [2]*side{{flag: "a"}, {flag: "b"}}
	fs.StringVar(&sides[0].name, "a", "cpu", "`TARGET|FILE` the way that is looked at")
	fs.StringVar(&sides[1].name, "b", "interp", "`TARGET|FILE` the way it is held against")
	rtol := fs.Float64("rtol", -1, "`X` relative tolerance; default: that of the element type")
	atol := fs.Float64("atol", -1, "`X` absolute tolerance; default: that of the element type")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := a.one(rest, "model")
	if err != nil {
		return err
	}
	var inputs map[string]tensor.Value
	for _, s := range sides {
		var drawn drawn
		err := a.loadSide(s, path, func(m *ir.Module) (err error) {
			if inputs == nil {
				p, _ := a.findPipeline(path)
				inputs, drawn, err = in.values(m, a.common.seed, p.Target.Memory)
				a.noteDrawn(drawn)
			}
			return err
		})
		if err != nil {
			return err
		}
		defer s.m.Close()
	}
	tol := func(v tensor.Value) tensor.Tolerance {
		t := toleranceOf(v)
		if *rtol >= 0 {
			t.RTol = *rtol
		}
		if *atol >= 0 {
			t.ATol = *atol
		}
		return t
	}
	d := &difference{a: sides[0], b: sides[1], held: map[string]tensor.Value{}, tol: tol, same: map[string]bool{}}
	if err := d.run(a, inputs); err != nil {
		return err
	}
	d.report(a, path)
	if d.first != nil {
		return exitCode(diag.Differ)
	}
	return nil
}

// loadSide compiles a model for a side; imported sees it before.
func (a *app) loadSide(s *side, path string, imported func(*ir.Module) error) error {
	pipeline, target := a.common.pipeline, a.common.target
	if st, err := os.Stat(s.name); err == nil && st.Mode().IsRegular() {
		pipeline = s.name
	} else if err := pitopt.CheckTarget(s.name); err != nil {
		return diag.New(diag.Usage, "-%s: %q is neither a target nor the file of a pipeline", s.flag, s.name).Hint("%s", diag.DidYouMean(s.name, pitopt.Targets()))
	} else {
		target = s.name
	}
	p, err := pitopt.FindPipeline(pipeline, path)
	if err != nil {
		return err
	}
	a.progress("compiling for %s", s.name)
	s.times, s.of = map[string]int{}, map[*ir.Stmt]bool{}
	s.m, err = a.load(path, p, pitopt.Target(target), pitopt.Trace(s.trace), pitopt.Observe(pitopt.Observer{
		Imported: func(m *ir.Module, _ time.Duration) error { return imported(m) },
	}))
	if err != nil {
		return err
	}
	for _, f := range s.m.Module().Funcs {
		f.Walk(func(x *ir.Stmt) { s.of[x] = true })
	}
	return nil
}

// trace hands on the values that a statement has computed. One in a loop is computed more
// than once: each time counts.
func (s *side) trace(x *ir.Stmt, results []tensor.Value) {
	if !s.of[x] || s.see == nil {
		return
	}
	for i, v := range x.Results {
		if v == nil || v.Name == "" || i >= len(results) || tensor.Missing(results[i]) || ir.SameType(v.Type, ir.Storage) {
			continue
		}
		s.times[v.Name]++
		id := v.Name
		if n := s.times[v.Name]; n > 1 {
			id = fmt.Sprintf("%s (time %d)", v.Name, n)
		}
		s.see(id, x, v, results[i])
	}
}

// names are those of the values that a side's module has.
func (s *side) names() map[string]bool {
	out := map[string]bool{}
	for x := range s.of {
		for _, v := range x.Results {
			if v != nil {
				out[v.Name] = true
			}
		}
	}
	return out
}

// difference is the comparison of two sides.
type difference struct {
	a, b   *side
	held   map[string]tensor.Value // what b computed and a has not yet
	tol    func(tensor.Value) tensor.Tolerance
	layers []layer
	same   map[string]bool // by name: every time within the tolerance
	other  int             // values of one name that are no tensors of one type and shape
	first  *layer
	how    string // the first difference in words
}

// run runs b and keeps what a has, too; then a, and compares.
func (d *difference) run(a *app, inputs map[string]tensor.Value) error {
	wanted := d.a.names()
	d.b.see = func(id string, _ *ir.Stmt, v *ir.Value, x tensor.Value) {
		if t, ok := x.(*tensor.Tensor); ok && wanted[v.Name] {
			d.held[id] = t.Clone()
		}
	}
	d.a.see = d.compare
	for _, s := range []*side{d.b, d.a} {
		a.progress("running on %s", s.name)
		out, err := s.m.RunValues(a.ctx, inputs)
		if err != nil {
			return diag.As(err, diag.Run).Hint("it is -%s %s that fails", s.flag, s.name)
		}
		for _, o := range s.m.Outputs() { // also those that no statement computes
			if s == d.b {
				d.held["output "+o.Name] = out[o.Name]
			} else {
				d.compare("output "+o.Name, nil, &ir.Value{Name: "output " + o.Name}, out[o.Name])
			}
		}
	}
	a.clear()
	return nil
}

func (d *difference) compare(id string, s *ir.Stmt, v *ir.Value, got tensor.Value) {
	want, ok := d.held[id]
	if !ok {
		return
	}
	delete(d.held, id)
	l := layer{Value: id, v: v, Op: "output"}
	if s != nil {
		l.Node, l.Op = s.Node, strings.TrimPrefix(s.OpName(), "onnx.")
	}
	g, ok := got.(*tensor.Tensor)
	w, ok2 := want.(*tensor.Tensor)
	if ok != ok2 || ok && (g.DType() != w.DType() || !slices.Equal(g.Shape(), w.Shape())) {
		if s != nil { // the passes took the name for something else
			d.other++
			return
		}
	}
	err := tensor.Compare(got, want, d.tol(want))
	l.Same = err == nil
	if ok && ok2 && g.DType() == w.DType() && slices.Equal(g.Shape(), w.Shape()) {
		l.Type = typeText(g)
		l.MaxAbs, l.MaxRel = tensor.Distance(g, w)
	}
	before, seen := d.same[v.Name]
	d.same[v.Name] = l.Same && (before || !seen)
	d.layers = append(d.layers, l)
	if err != nil && d.first == nil {
		d.first, d.how = &l, err.Error()
	}
}

// since gives the statements of a side between values that agree and one that differs.
func (d *difference) since(s *side, name string) (list []*ir.Stmt) {
	need := map[*ir.Value]bool{}
	for _, f := range s.m.Module().Funcs {
		var all []*ir.Stmt
		f.Walk(func(x *ir.Stmt) { all = append(all, x) })
		for _, x := range slices.Backward(all) {
			if !slices.ContainsFunc(x.Results, func(v *ir.Value) bool { return v != nil && (v.Name == name || need[v]) }) {
				continue
			}
			list = append(list, x)
			x.EachUse(func(v *ir.Value) { need[v] = v.Def != nil && !d.same[v.Name] })
		}
	}
	slices.Reverse(list)
	return list
}

func (d *difference) report(a *app, path string) {
	differ := 0
	for _, l := range d.layers {
		if !l.Same {
			differ++
		}
	}
	if a.common.json {
		for _, l := range d.layers {
			a.emit(map[string]any{"kind": "layer", "value": l.Value, "node": l.Node, "op": l.Op, "type": l.Type,
				"max_abs": jsonNumber(l.MaxAbs), "max_rel": jsonNumber(l.MaxRel), "same": l.Same})
		}
		x := map[string]any{"kind": "diff", "model": path, "a": d.a.name, "b": d.b.name, "compared": len(d.layers), "differ": differ, "first": nil}
		if d.first != nil {
			x["first"], x["message"] = d.first.Value, d.how
			x["since_a"], x["since_b"] = places(d.since(d.a, d.first.v.Name)), places(d.since(d.b, d.first.v.Name))
		}
		a.emit(x)
		return
	}
	width, op := len("value"), len("computed by")
	for _, l := range d.layers {
		width, op = max(width, len(l.Value)), max(op, len(l.Op))
	}
	width, op = min(width, 60), min(op, 40)
	fmt.Fprintf(a.out, "  %-*s %-*s %10s %10s\n", width, "value", op, "computed by", "max abs", "max rel")
	for _, l := range d.layers {
		mark := " "
		if !l.Same {
			mark = "*"
		}
		fmt.Fprintf(a.out, "%s %-*s %-*s %10.3g %10.3g\n", mark, width, l.Value, op, l.Op, l.MaxAbs, l.MaxRel)
	}
	fmt.Fprintf(a.out, "%s compared of %s and %s, %d beyond the tolerance\n", count(len(d.layers), "value"), d.a.name, d.b.name, differ)
	if d.first == nil {
		return
	}
	fmt.Fprintf(a.out, "first: %s: %s\n", d.first.Value, d.how)
	for _, s := range []*side{d.a, d.b} {
		if list := places(d.since(s, d.first.v.Name)); len(list) > 0 {
			fmt.Fprintf(a.out, "what it is computed from agrees; in between %s has %s\n", s.name, strings.Join(list, ", "))
		}
	}
}

// jsonNumber is a number also where JSON has none for it.
func jsonNumber(v float64) json.RawMessage { return appendNumber(nil, v, 64) }

// places name statements by node and operator.
func places(list []*ir.Stmt) []string {
	out := []string{}
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q (%s)", s.Place(), strings.TrimPrefix(s.OpName(), "onnx.")))
	}
	return out
}
