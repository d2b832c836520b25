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

	"golang.org/x/term"

	"github.com/pitopt/pitopt/core/diag"
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
}

// common are the flags that most commands share.
type common struct {
	pipeline string
	target   string
	threads  int
	seed     uint64
	json     bool
	quiet    bool
	verbose  bool
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
		{"passes", "[NAME]", "what passes there are; one in detail", (*app).passes},
		{"ops", "", "what operators there are, and their versions", (*app).ops},
		{"plugin", "list", "plugins of a pipeline, and their passes", (*app).plugin},
		{"fmt", "FILE", "a pipeline file in canonical form", (*app).fmt},
		{"version", "", "version and features", (*app).version},
	}
}

// Not here yet: their names answer so instead of being taken for a file.
var later = []string{"diff", "reduce", "tune"}

// Main runs the program and gives its exit code.
func Main(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	a := &app{ctx: ctx, out: out, err: errOut}
	err := a.dispatch(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		return 0
	}
	var done exitCode
	if errors.As(err, &done) {
		return int(done)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(errOut, "pitopt: interrupted")
		return int(diag.Interrupted)
	}
	if a.common.json {
		e := diag.As(err, diag.Run)
		a.emit(map[string]any{"kind": "error", "code": int(e.Code), "file": e.File, "node": e.Node, "op": e.Op, "pass": e.Pass, "message": e.Msg, "hint": e.Way})
	}
	fmt.Fprintln(errOut, "pitopt:", err)
	return int(diag.CodeOf(err))
}

// exitCode ends the program with a code after everything is said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func (a *app) dispatch(args []string) error {
	if len(args) == 0 {
		a.usage(a.err)
		return exitCode(diag.Usage)
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		a.usage(a.out)
		return nil
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(a, args[1:])
		}
	}
	if slices.Contains(later, args[0]) {
		return diag.New(diag.Usage, "%s: not in this version", args[0])
	}
	return a.run(args)
}

func (a *app) usage(w io.Writer) {
	fmt.Fprint(w, `pitopt compiles and runs ONNX models whose shapes are known only at run time.

    pitopt [flags] model.onnx          import, run the pipeline, execute once, print what came out
    pitopt COMMAND [flags] ...

Commands:
`)
	for _, c := range commands {
		fmt.Fprintf(w, "    %-8s %-8s %s\n", c.name, c.args, c.doc)
	}
	fmt.Fprint(w, "\n`pitopt COMMAND -h` lists the flags of a command, `pitopt run -h` those of running a model.\n")
}

// begin makes a command's flag set with the flags that commands share.
func (a *app) begin(name, args, doc string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	c := &a.common
	fs.StringVar(&c.pipeline, "pipeline", "", "`FILE` with the pipeline; default: pipeline.toml beside the model or here, else the one built in")
	fs.StringVar(&c.target, "target", "", "auto, cpu or interp; overrides the pipeline")
	fs.IntVar(&c.threads, "threads", -1, "`N` threads; 0: all; overrides the pipeline")
	fs.Uint64Var(&c.seed, "seed", 0, "seed `N` of drawn inputs and random operators")
	fs.BoolVar(&c.json, "json", false, "results as NDJSON")
	fs.BoolVar(&c.quiet, "q", false, "no progress")
	fs.BoolVar(&c.verbose, "v", false, "say more")
	a.flags = fs
	fs.Usage = func() {
		fmt.Fprintf(a.out, "usage: pitopt %s [flags] %s\n\n%s\n\n", name, args, doc)
		fs.SetOutput(a.out)
		fs.PrintDefaults()
		fs.SetOutput(io.Discard)
	}
	return fs
}

// parse reads flags and operands in any order.
func (a *app) parse(args []string) ([]string, error) {
	var rest []string
	for {
		if err := a.flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, a.flagError(err)
		}
		args = a.flags.Args()
		if len(args) == 0 {
			return rest, nil
		}
		if n := len(rest); n > 0 && rest[n-1] == "--" {
			return append(rest[:n-1], args...), nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}

func (a *app) flagError(err error) error {
	e := diag.New(diag.Usage, "%s", strings.TrimPrefix(err.Error(), "flag: "))
	const unknown = "flag provided but not defined: -"
	if name, ok := strings.CutPrefix(err.Error(), unknown); ok {
		var names []string
		a.flags.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
		e = diag.New(diag.Usage, "there is no flag -%s", name)
		if n := diag.Nearest(strings.TrimLeft(name, "-"), names); n != "" {
			return e.Hint("did you mean -%s?", n)
		}
		return e.Hint("`pitopt %s -h` lists the flags", a.flags.Name())
	}
	return e
}

// one takes the single operand of a command.
func one(args []string, what string) (string, error) {
	if len(args) != 1 {
		return "", diag.New(diag.Usage, "one %s is needed, %d are given", what, len(args))
	}
	return args[0], nil
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

// terminal says whether progress is seen by a person.
func (a *app) terminal() bool {
	f, ok := a.err.(*os.File)
	return ok && !a.common.quiet && !a.common.json && term.IsTerminal(int(f.Fd()))
}
