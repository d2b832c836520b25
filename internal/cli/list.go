package cli

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes"
)

// passes lists the passes, or tells all about one.
func (a *app) passes(args []string) error {
	a.begin("passes", "[NAME]", "Lists the passes; with a name, tells what it does, its options, and the order it needs.")
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
		name, err := one(rest, "pass")
		if err != nil {
			return err
		}
		p := r.Lookup(name)
		if p == nil {
			return diag.New(diag.Usage, "there is no pass %q", name).Hint("%s", diag.DidYouMean(name, r.Names()))
		}
		list = []*pass.Pass{p}
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
			fmt.Fprintf(a.out, "%-16s %s\n", p.Name, firstSentence(p.Doc))
		default:
			fmt.Fprintf(a.out, "%s\n\n%s\n", p.Name, p.Doc)
			for _, o := range p.Options {
				fmt.Fprintf(a.out, "\noption %s (%s, default %v): %s", o.Name, o.Kind, o.Default, o.Doc)
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
	a.begin("ops", "", "Lists the operators, the versions of ONNX that they cover, and how their meaning is written.")
	if _, err := a.parse(args); err != nil {
		return err
	}
	for _, d := range ir.Registered() {
		how := "executor"
		switch {
		case d.Body != nil:
			how = "program"
		case d.Expand != nil:
			how = "operators"
		case d.Kernel != nil:
			how = "reference"
		}
		if a.common.json {
			a.emit(map[string]any{"kind": "operator", "name": d.Name, "versions": d.Since, "doc": d.Doc, "meaning": how, "effect": d.Effect.String()})
			continue
		}
		fmt.Fprintf(a.out, "%-36s %-10s %-28s %s\n", d.Name, how, strings.Trim(fmt.Sprint(d.Since), "[]"), d.Doc)
	}
	return nil
}

// fmt writes a pipeline file in canonical form.
func (a *app) fmt(args []string) error {
	fs := a.begin("fmt", "FILE", "Writes a pipeline file in canonical form: what it says stays the same.")
	check := fs.Bool("check", false, "only say whether the file is in canonical form")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := one(rest, "file")
	if err != nil {
		return err
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return diag.New(diag.Usage, "%v", err)
	}
	if _, err := passes.Parse(path, src); err != nil {
		return err
	}
	out, err := passes.Format(path, src)
	if err != nil {
		return err
	}
	switch {
	case string(out) == string(src):
		return nil
	case *check:
		fmt.Fprintf(a.out, "%s is not in canonical form\n", path)
		return exitCode(1)
	}
	if err := renameio.WriteFile(path, out, 0o666); err != nil {
		return diag.New(diag.Run, "%v", err)
	}
	return nil
}

// version tells what this binary is.
func (a *app) version(args []string) error {
	a.begin("version", "", "Tells version, Go version, platform, and the targets that the binary has.")
	if _, err := a.parse(args); err != nil {
		return err
	}
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	targets := pitopt.Targets()
	sort.Strings(targets)
	if a.common.json {
		a.emit(map[string]any{"kind": "version", "version": v, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "targets": targets})
		return nil
	}
	fmt.Fprintf(a.out, "pitopt %s, %s %s/%s, targets: %s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH, strings.Join(targets, ", "))
	return nil
}
