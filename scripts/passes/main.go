// Command passes prints docs/passes.md: the built-in passes from their table, the default
// pipeline, and the rules that hold of a module after every pass.
//
//	go run ./scripts/passes > docs/passes.md
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "passes:", err)
		os.Exit(1)
	}
}

func write(w io.Writer) error {
	r := builtin.Registry()
	steps, err := passes.Default().Assemble(r)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("# Passes\n\n" +
		"<!-- made from the pass table by `go run ./scripts/passes > docs/passes.md` -->\n\n" +
		"`pitopt passes` lists them, `pitopt passes NAME` tells of one what stands here. Which of them run, in\n" +
		"which order and with which options, is said in [pipeline.toml](../pipeline.toml). The default pipeline:\n\n")
	for i, s := range steps {
		if i > 0 {
			b.WriteString(" → ")
		}
		fmt.Fprintf(&b, "[%s](#%s)", s.Pass.Name, s.Pass.Name)
	}
	b.WriteString("\n")
	for _, p := range r.Passes() {
		writePass(&b, p)
	}
	b.WriteString("\n## What holds after every pass\n\n" +
		"The verifier runs after each pass, and on what a plugin hands back. Passes and executors rely on these\n" +
		"rules without looking. An error (exit code 5) names the rule that is broken, the pass and the statement.\n\n" +
		"| rule | |\n|---|---|\n")
	for _, r := range ir.Rules {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.Name, r.Doc)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func writePass(b *strings.Builder, p *pass.Pass) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n", p.Name, p.Doc)
	if len(p.Options) > 0 {
		b.WriteString("\n| option | kind | default | |\n|---|---|---|---|\n")
		for _, o := range p.Options {
			kind := string(o.Kind)
			if o.Kind == pass.Enum {
				kind = strings.Join(o.Values, ", ")
			}
			fmt.Fprintf(b, "| `%s` | %s | `%s` | %s |\n", o.Name, kind, passes.DefaultText(o), o.Doc)
		}
	}
	if len(p.After)+len(p.Before) > 0 {
		b.WriteString("\n")
		for _, o := range p.After {
			fmt.Fprintf(b, "- after [%s](#%s): %s\n", o.Pass, o.Pass, o.Reason)
		}
		for _, o := range p.Before {
			fmt.Fprintf(b, "- before [%s](#%s): %s\n", o.Pass, o.Pass, o.Reason)
		}
	}
}
