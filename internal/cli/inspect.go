package cli

import (
	"fmt"
	"sort"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// inspect tells what a model is without compiling it; it works on models that pitopt
// can not run.
func (a *app) inspect(args []string) error {
	a.begin("inspect", "MODEL", "Tells inputs, outputs, symbols and their constraints, operators, size, and what is unsupported and where.")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := one(rest, "model")
	if err != nil {
		return err
	}
	f, err := wire.Open(path, wire.Limits{})
	if err != nil {
		return err
	}
	defer f.Close()
	m, notes, err := onnx.Import(f)
	if err != nil {
		return err
	}
	bytes := int64(0)
	for _, c := range m.Consts {
		bytes += int64(len(c.Tensor.Bytes()))
	}
	ops := map[string]int{}
	for _, fn := range m.Funcs {
		fn.Walk(func(s *ir.Stmt) { ops[s.OpName()]++ })
	}
	names := make([]string, 0, len(ops))
	for n := range ops {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool {
		if ops[names[i]] != ops[names[j]] {
			return ops[names[i]] > ops[names[j]]
		}
		return names[i] < names[j]
	})
	bad := onnx.Unsupported(m)
	main := m.Main()
	if a.common.json {
		list := func(n int, get func(i int) (string, ir.Type)) []map[string]any {
			out := []map[string]any{}
			for i := range n {
				name, t := get(i)
				out = append(out, map[string]any{"name": name, "type": t.String()})
			}
			return out
		}
		unsupported := []map[string]any{}
		for _, s := range bad {
			unsupported = append(unsupported, map[string]any{"node": s.Place(), "op": s.Op.Name, "version": s.Op.Since[0]})
		}
		a.emit(map[string]any{"kind": "model", "ir_version": m.Meta.IRVersion, "producer": m.Meta.Producer,
			"inputs":  list(len(main.Params), func(i int) (string, ir.Type) { return main.Params[i].Name, main.Params[i].Type }),
			"outputs": list(len(main.Results), func(i int) (string, ir.Type) { return main.ResultName(i), main.Results[i].Type }),
			"symbols": inputSymbols(m), "operators": ops, "constants": len(m.Consts), "constant_bytes": bytes, "unsupported": unsupported})
	} else {
		fmt.Fprintf(a.out, "%s: IR version %d", path, m.Meta.IRVersion)
		for _, o := range m.Meta.Opsets {
			d := o.Domain
			if d == "" {
				d = "ai.onnx"
			}
			fmt.Fprintf(a.out, ", %s %d", d, o.Version)
		}
		if m.Meta.Producer != "" {
			fmt.Fprintf(a.out, ", by %s %s", m.Meta.Producer, m.Meta.ProducerVersion)
		}
		fmt.Fprintln(a.out)
		for _, p := range main.Params {
			fmt.Fprintf(a.out, "input  %s: %s\n", p.Name, p.Type)
		}
		for i, r := range main.Results {
			fmt.Fprintf(a.out, "output %s: %s\n", main.ResultName(i), r.Type)
		}
		for _, s := range inputSymbols(m) {
			lo, hi := m.Syms.Range(s)
			fmt.Fprintf(a.out, "symbol %s: at least %d", sym.Var(s), lo)
			if hi != sym.Inf {
				fmt.Fprintf(a.out, ", at most %d", hi)
			}
			if k := m.Syms.Multiple(s); k > 1 {
				fmt.Fprintf(a.out, ", a multiple of %d", k)
			}
			fmt.Fprintln(a.out)
		}
		fmt.Fprintf(a.out, "constants: %d, %d bytes\n", len(m.Consts), bytes)
		for _, n := range names {
			fmt.Fprintf(a.out, "%6d %s\n", ops[n], n)
		}
		for _, s := range bad {
			fmt.Fprintf(a.out, "unsupported: node %q (%s, version %d)\n", s.Place(), s.Op.Name, s.Op.Since[0])
		}
	}
	for _, n := range notes {
		fmt.Fprintf(a.err, "pitopt: note: %s: %s\n", n.Node, n.Msg)
	}
	if len(bad) > 0 {
		return exitCode(diag.Unsupported)
	}
	return nil
}

// inputSymbols are the symbols of the model's inputs, sorted.
func inputSymbols(m *ir.Module) []string {
	seen := map[string]bool{}
	for _, p := range m.Main().Params {
		ir.EachDim(p.Type, func(e sym.Expr) {
			for _, s := range e.Symbols() {
				seen[s] = true
			}
		})
	}
	out := make([]string, 0, len(seen))
	for s := range seen {
		out = append(out, s)
	}
	sort.Strings(out)
	return out
}
