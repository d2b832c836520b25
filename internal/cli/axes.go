package cli

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/text"
)

// opsAxes prints the axes of the examples of operators that have a program.
func (a *app) opsAxes() error {
	m, err := text.Parse("examples", op.Examples, nil)
	if err != nil {
		return err
	}
	d := ir.NewDeducer(m)
	d.Params(m.Main().Params)
	for _, s := range m.Main().Stmts {
		if err := d.Stmt(s); err != nil {
			return err
		}
		p, _, err := d.Call(s).Program()
		if err != nil {
			return err
		}
		axes := analysis.Axes(p)
		call := exampleCall(s)
		if a.common.json {
			list := []map[string]any{}
			for _, x := range axes {
				dims := []string{}
				for _, b := range x.Dims {
					dims = append(dims, b.String())
				}
				monoids := []string{}
				for _, m := range x.Monoids {
					monoids = append(monoids, m.String())
				}
				list = append(list, map[string]any{"name": x.Name, "extent": x.Extent.String(), "dims": dims, "permutable": x.Why == "",
					"spatial": x.Spatial, "monoids": monoids, "why": x.Why})
			}
			a.emit(map[string]any{"kind": "axes", "operator": s.Op.Name, "call": call, "axes": list})
			continue
		}
		fmt.Fprintln(a.out, call)
		for _, x := range axes {
			var dims []string
			for _, b := range x.Dims {
				dims = append(dims, b.String())
			}
			name := x.Name
			if e := x.Extent.String(); e != name {
				name += " < " + e
			}
			fmt.Fprintf(a.out, "  %-14s %-24s %s\n", name, strings.Join(dims, " "), x.Rule())
		}
	}
	if a.common.json {
		return nil
	}
	n := map[string]int{}
	for _, d := range ir.Registered() {
		n[meaning(d)]++
	}
	fmt.Fprintf(a.out, "%s have a program; of the others %d are made of operators, %d have a reference implementation, since no program says what\n"+
		"they do, and %d are run by the executor\n", count(n["program"], "operator"), n["operators"], n["reference"], n["executor"])
	return nil
}

// exampleCall shows a call with the types of its operands and results.
func exampleCall(s *ir.Stmt) string {
	list := func(vs []*ir.Value, of func(i int) (ir.Operand, bool)) string {
		var parts []string
		for i, v := range vs {
			if v == nil {
				continue
			}
			o, _ := of(i)
			parts = append(parts, fmt.Sprintf("%s: %s", o.Name, v.Type))
		}
		return strings.Join(parts, ", ")
	}
	attrs := ""
	if len(s.Attrs) > 0 {
		var parts []string
		for _, x := range s.Attrs {
			parts = append(parts, fmt.Sprintf("%s = %v", x.Name, x.Value))
		}
		attrs = " {" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprintf("%s(%s) -> (%s)%s", s.Op.Name, list(s.Args, s.Op.Operand), list(s.Results, s.Op.Result), attrs)
}
