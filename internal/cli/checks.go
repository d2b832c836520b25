package cli

import (
	"fmt"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes/builtin"
)

// inspectChecks lists what could not be proved of shapes, as it stands behind legalize: the
// passes after it merge what is checked, and move it.
func (a *app) inspectChecks(path string, opts []pitopt.Option) error {
	var list []analysis.Check
	looked := false
	look := func(m *ir.Module) { list, looked = analysis.Checks(m), true }
	m, err := pitopt.Load(path, append(opts, pitopt.Observe(pitopt.Observer{
		After: func(_ int, s pass.Step, m *ir.Module, _ time.Duration) error {
			if s.Pass == builtin.Legalize {
				look(m)
			}
			return nil
		},
	}))...)
	if err != nil {
		return err
	}
	defer m.Close()
	if !looked {
		look(m.Module())
	}
	if a.common.json {
		rows := []map[string]any{}
		for _, c := range list {
			row := map[string]any{"node": c.Stmt.Place(), "op": c.Stmt.OpName(), "is": c.Is, "must_be": c.Must, "or_one": c.OrOne, "why": c.Why}
			if c.Value != "" {
				row["value"] = c.Value
			}
			if c.Dim >= 0 {
				row["dim"] = c.Dim
			}
			rows = append(rows, row)
		}
		a.emit(map[string]any{"kind": "checks", "checks": rows})
		return nil
	}
	for _, c := range list {
		fmt.Fprintf(a.out, "check %s\n", c)
	}
	fmt.Fprintln(a.out, count(len(list), "check"))
	return nil
}
