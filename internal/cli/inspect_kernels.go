package cli

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// dispatched is a program, and how the target computes it.
type dispatched struct {
	program string
	calls   int
	best    target.Choice // of the first call; costs are those of all calls
	slow    []slowStage
}

// slowStage is a stage that does not run as machine code.
type slowStage struct{ name, why string }

// slowStages finds those of a program that a target has machine code for.
func slowStages(t *target.Target, p *ir.Program, k *target.Kernel) (out []slowStage) {
	for _, s := range p.Stages {
		if t.Loops == nil || k != nil && k.Takes != nil && k.Takes(s) {
			continue
		}
		if why := t.Loops(s); why != "" {
			out = append(out, slowStage{s.Out().Name, why})
		}
	}
	return out
}

// inspectKernels tells which programs of a compiled model go to which kernel, and why.
func (a *app) inspectKernels(path string, opts []pitopt.Option) error {
	device := cpu.New(0)
	defer device.Close()
	var list []*dispatched
	look := func(m *ir.Module) {
		list = nil
		byName := map[string]*dispatched{}
		t := device.Target()
		builtin.EachDispatch(t, m, func(_ *ir.Stmt, p *ir.Program, best target.Choice) {
			d := byName[p.Name]
			if d == nil {
				d = &dispatched{program: p.Name, best: best, slow: slowStages(t, p, best.Kernel)}
				byName[p.Name] = d
				list = append(list, d)
			} else {
				d.best.Cost += best.Cost
				for i := range d.best.Others {
					if i < len(best.Others) {
						d.best.Others[i].Cost += best.Others[i].Cost
					}
				}
			}
			d.calls++
		})
	}
	m, err := pitopt.Load(path, append(opts, pitopt.Target("cpu"), pitopt.Observe(pitopt.Observer{
		Before: func(_ int, s pass.Step, m *ir.Module) error {
			if s.Pass == builtin.Dispatch {
				look(m)
			}
			return nil
		},
	}))...)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, d := range list {
		kernel := ""
		if d.best.Kernel != nil {
			kernel = d.best.Kernel.Name
		}
		if a.common.json {
			others := []map[string]any{}
			for _, o := range d.best.Others {
				others = append(others, map[string]any{"kernel": o.Kernel, "cost_ns": o.Cost, "why": o.Why})
			}
			closures := []map[string]any{}
			for _, s := range d.slow {
				closures = append(closures, map[string]any{"stage": s.name, "why": s.why})
			}
			a.emit(map[string]any{"kind": "program", "name": d.program, "calls": d.calls, "kernel": kernel, "cost_ns": d.best.Cost, "others": others, "closures": closures})
			continue
		}
		var others []string
		for _, o := range d.best.Others {
			name := o.Kernel
			if name == "" {
				name = "stage by stage"
			}
			if o.Why != "" {
				others = append(others, name+": "+o.Why)
			} else {
				others = append(others, fmt.Sprintf("%s: about %s", name, nanos(o.Cost)))
			}
		}
		how := "stage by stage"
		if kernel != "" {
			how = "cpu." + kernel
		}
		fmt.Fprintf(a.out, "%3d x %s: %s, about %s (%s)\n", d.calls, d.program, how, nanos(d.best.Cost), strings.Join(others, "; "))
		for _, s := range d.slow {
			fmt.Fprintf(a.out, "      %s runs on closures: %s\n", s.name, s.why)
		}
	}
	if len(list) == 0 && !a.common.json {
		fmt.Fprintln(a.out, "the pipeline gives no programs to kernels")
	}
	return nil
}

// nanos shows an estimate of nanoseconds.
func nanos(n float64) string { return fmt.Sprintf("%.2g ms", n/1e6) }
