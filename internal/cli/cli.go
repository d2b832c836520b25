// Package cli is the command line of pitopt: flags, commands, output, exit codes. One
// file a command.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/pass"
)

// schemaVersion is the version of what -json prints.
const schemaVersion = 1

// app is one call of the program.
type app struct {
	ctx    context.Context
	out    io.Writer // results
	err    io.Writer // everything else
	flags  *flag.FlagSet
	common common
	extra  []*pass.Pass // passes beside the built-in ones and those of plugins
	status bool         // a line of progress stands on the terminal
}

// command is a command of the program.
type command struct {
	name, args, doc string
	run             func(a *app, args []string) error
}

var commands []command

func init() {
	commands = []command{
		{"inspect", "MODEL", "inputs, outputs, symbols, operators, and what is unsupported and where", (*app).inspect},
		{"test", "DIR...", "run cases in ONNX's test layout and compare", (*app).test},
		{"bench", "MODEL", "time a model", (*app).bench},
		{"diff", "MODEL", "two targets or pipelines, layer by layer", (*app).diff},
		{"reduce", "MODEL", "a small module of a model on which a pass goes wrong", (*app).reduce},
		{"passes", "[NAME]", "what passes there are; one in detail", (*app).passes},
		{"ops", "", "what operators there are, and their versions", (*app).ops},
		{"plugin", "list", "plugins of a pipeline, and their passes", (*app).plugin},
		{"tune", "", "measure what tiles of products cost on this machine", (*app).tune},
		{"fmt", "FILE", "a pipeline file in canonical form", (*app).fmt},
		{"version", "", "version and features", (*app).version},
	}
}

// Main runs the program and gives its exit code. A pipeline may name the extra passes
// beside those that are built in.
func Main(args []string, out, errOut io.Writer, extra ...*pass.Pass) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	results := &checked{w: out}
	a := &app{ctx: ctx, out: results, err: errOut, extra: extra}
	a.common.json = wantsJSON(args)
	err := a.dispatch(args)
	a.clear()
	if results.err != nil && (err == nil || ctx.Err() == nil) {
		err = diag.New(diag.Run, "results can not be written: %v", results.err)
	}
	var done exitCode
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &done):
		return int(done)
	case ctx.Err() != nil:
		err = diag.New(diag.Interrupted, "interrupted")
	}
	e := diag.As(err, diag.Run)
	if a.common.json {
		a.emit(map[string]any{"kind": "error", "code": int(e.Code), "file": e.File, "node": e.Node, "op": e.Op, "pass": e.Pass, "message": e.Msg, "hint": e.Way, "detail": e.Detail})
	}
	fmt.Fprintln(errOut, "pitopt:", err)
	return int(e.Code)
}

// checked remembers that a write failed: a full disk must not pass for success.
type checked struct {
	w   io.Writer
	err error
}

func (c *checked) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}

// exitCode ends the program with a code after everything is said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func (a *app) dispatch(args []string) error {
	if len(args) == 0 {
		a.usage(a.err)
		return exitCode(diag.Usage)
	}
	name, rest := args[0], args[1:]
	if name == "help" {
		if len(rest) == 0 {
			return a.run([]string{"-h"})
		}
		name, rest = rest[0], []string{"-h"}
		if !isCommand(name) {
			return diag.New(diag.Usage, "there is no command %q", name).Hint("%s", diag.DidYouMean(name, commandNames()))
		}
	}
	for _, c := range commands {
		if c.name == name {
			return c.run(a, rest)
		}
	}
	return a.run(args)
}

func commandNames() []string {
	var out []string
	for _, c := range commands {
		out = append(out, c.name)
	}
	return out
}

func isCommand(name string) bool { return slices.Contains(commandNames(), name) }

// usage says what the program is for; the flags of the default action follow where they
// are known.
func (a *app) usage(w io.Writer) {
	fmt.Fprint(w, `pitopt compiles and runs ONNX models whose shapes are known only at run time.

    pitopt [flags] MODEL           import, run the pipeline, execute once, print what came out
    pitopt COMMAND [flags] ...     flags and operands come in any order

MODEL is an ONNX model, or a module in the text form of pitopt, whose name ends in .pit.

Commands:
`)
	for _, c := range commands {
		fmt.Fprintf(w, "    %-8s %-8s %s\n", c.name, c.args, c.doc)
	}
	fmt.Fprint(w, `
`+"`pitopt COMMAND -h` lists the flags of a command, `pitopt -h` those of running a model."+`

Exit codes: 0 ok, 1 run failure, 2 usage, 3 pipeline, 4 unsupported operator, 5 verifier, 6 plugin,
7 results differ, 8 malformed model, 130 interrupted
`)
}

// emit prints one line of JSON.
func (a *app) emit(v map[string]any) {
	v["schema"] = schemaVersion
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(fmt.Sprintf(`{"kind":"error","message":%q}`, err))
	}
	fmt.Fprintf(a.out, "%s\n", b)
}

// note tells the user something that is no result.
func (a *app) note(format string, args ...any) {
	if a.common.quiet {
		return
	}
	a.clear()
	fmt.Fprintln(a.err, "pitopt: "+strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"))
}
