package cli

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes"
)

// passes lists the passes, or tells all about one.
func (a *app) passes(args []string) error {
	a.begin("passes", "[NAME]", "Lists the passes; with a name, tells what it does, its options, and the order it needs.\n"+
		"Those of the pipeline's plugins are among them.")
	a.pipelineFlag()
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	r, done, err := a.registry()
	if err != nil {
		return err
	}
	defer done()
	list := r.Passes()
	if len(rest) > 0 {
		name, err := a.one(rest, "pass")
		if err != nil {
			return err
		}
		p := r.Lookup(name)
		if p == nil {
			return diag.New(diag.Usage, "there is no pass %q", name).Hint("%s", diag.DidYouMean(name, r.Names()))
		}
		list = []*pass.Pass{p}
	}
	width := 16
	for _, p := range list {
		width = max(width, len(p.Name))
	}
	for _, p := range list {
		switch {
		case a.common.json:
			opts := []map[string]any{}
			for _, o := range p.Options {
				opts = append(opts, map[string]any{"name": o.Name, "kind": o.Kind, "doc": o.Doc, "default": o.Default, "values": o.Values})
			}
			a.emit(map[string]any{"kind": "pass", "name": p.Name, "doc": p.Doc, "options": opts, "after": orders(p.After), "before": orders(p.Before)})
		case len(rest) == 0:
			fmt.Fprintf(a.out, "%-*s %s\n", width, p.Name, firstSentence(p.Doc))
		default:
			fmt.Fprintf(a.out, "%s\n\n%s\n", p.Name, p.Doc)
			for _, o := range p.Options {
				fmt.Fprintf(a.out, "\noption %s (%s, default %s): %s", o.Name, o.Kind, passes.DefaultText(o), o.Doc)
			}
			for _, o := range p.After {
				fmt.Fprintf(a.out, "\nafter %s: %s", o.Pass, o.Reason)
			}
			for _, o := range p.Before {
				fmt.Fprintf(a.out, "\nbefore %s: %s", o.Pass, o.Reason)
			}
			fmt.Fprintln(a.out)
		}
	}
	return nil
}

func orders(list []pass.Order) []map[string]any {
	out := []map[string]any{}
	for _, o := range list {
		out = append(out, map[string]any{"pass": o.Pass, "reason": o.Reason})
	}
	return out
}

// ops lists the operators.
func (a *app) ops(args []string) error {
	a.begin("ops", "", "Lists the operators, the versions of ONNX that they cover, and how their meaning is written.\n"+
		"With -axes it tells of each whose meaning is a tensor program, called in a way that is common, which axes may be permuted\n"+
		"or left out in part (PIT axes), why, and why others may not. Nobody wrote that down: it follows from the programs.")
	axes := a.flags.Bool("axes", false, "the axes of operators that have a program, and what may be done along them")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	if err := none(rest); err != nil {
		return err
	}
	if *axes {
		return a.opsAxes()
	}
	for _, d := range ir.Registered() {
		how := meaning(d)
		if a.common.json {
			a.emit(map[string]any{"kind": "operator", "name": d.Name, "versions": d.Since, "doc": d.Doc, "meaning": how, "effect": d.Effect.String()})
			continue
		}
		fmt.Fprintf(a.out, "%-36s %-10s %-28s %s\n", d.Name, how, strings.Trim(fmt.Sprint(d.Since), "[]"), d.Doc)
	}
	return nil
}

// meaning says how the meaning of an operator is written.
func meaning(d *ir.OpDef) string {
	switch {
	case d.Body != nil:
		return "program"
	case d.Expand != nil:
		return "operators"
	case d.Reference():
		return "reference"
	}
	return "executor"
}
