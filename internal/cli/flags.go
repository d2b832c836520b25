package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
)

// common are the flags that several commands share.
type common struct {
	pipeline string
	target   string
	threads  int // -1: as the pipeline says
	seed     uint64
	json     bool
	quiet    bool
	verbose  bool
}

// Flags of later versions, by command; "" is the default action. They answer so.
var laterFlags = map[string][]string{
	"":      {"report"},
	"bench": {"bound", "arch"},
}

// begin makes a command's flag set, with the flags that every command has.
func (a *app) begin(name, args, doc string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	c := &a.common
	fs.BoolVar(&c.json, "json", c.json, "results as NDJSON")
	fs.BoolVar(&c.quiet, "q", false, "nothing beside results and errors")
	fs.BoolVar(&c.verbose, "v", false, "say more")
	a.flags = fs
	fs.Usage = func() {
		if name == "" {
			a.usage(a.out)
			fmt.Fprint(a.out, "\nFlags of running a model:\n")
		} else {
			fmt.Fprintf(a.out, "usage: %s\n\n%s\n\nFlags:\n", strings.TrimSpace(fmt.Sprintf("pitopt %s [flags] %s", name, args)), doc)
		}
		printFlags(a.out, fs)
	}
	return fs
}

// pipelineFlag is for commands that read a pipeline.
func (a *app) pipelineFlag() {
	a.flags.StringVar(&a.common.pipeline, "pipeline", "", "`FILE` the pipeline; default: pipeline.toml beside the model or here, else the one built in")
}

// runFlags are for commands that run a model.
func (a *app) runFlags() {
	a.pipelineFlag()
	c := &a.common
	c.threads = -1
	a.flags.StringVar(&c.target, "target", "", "`auto|"+strings.Join(pitopt.Targets(), "|")+"` where it runs; overrides the pipeline")
	a.flags.Func("threads", "`N` how many work on a run, 0: all; overrides the pipeline", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return errors.New("a number of threads; 0 takes all processors")
		}
		c.threads = n
		return nil
	})
	a.flags.Uint64Var(&c.seed, "seed", 0, "`N` seeds drawn inputs and random operators")
}

// parse reads flags and operands in any order. -x and --x are the same, and so are -x=y
// and -x y; behind -- there are only operands.
func (a *app) parse(args []string) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			rest = append(rest, args...)
			break
		}
		name, isFlag := flagName(arg)
		if !isFlag {
			rest = append(rest, arg)
			continue
		}
		name, value, given := strings.Cut(name, "=")
		if name == "h" || name == "help" {
			a.flags.Usage()
			return nil, flag.ErrHelp
		}
		f := a.flags.Lookup(name)
		if f == nil {
			return nil, a.unknownFlag(name)
		}
		if !given {
			switch {
			case isBool(f):
				value = "true"
			case len(args) == 0:
				what, _ := flag.UnquoteUsage(f)
				return nil, diag.New(diag.Usage, "-%s needs a value", name).Hint("write -%s %s", name, what)
			default:
				value, args = args[0], args[1:]
			}
		}
		if err := f.Value.Set(value); err != nil {
			return nil, diag.New(diag.Usage, "-%s: %q is not %s", name, value, wanted(f, err))
		}
	}
	return rest, pitopt.CheckTarget(a.common.target)
}

// flagName takes the dashes off; "-" and the empty word are operands.
func flagName(arg string) (string, bool) {
	name, ok := strings.CutPrefix(arg, "-")
	return strings.TrimPrefix(name, "-"), ok && name != ""
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// wanted says what a flag takes; err is what its value said of another one.
func wanted(f *flag.Flag, err error) string {
	if g, ok := f.Value.(flag.Getter); ok {
		switch g.Get().(type) {
		case bool:
			return "true or false"
		case int, int64:
			return "a whole number"
		case uint, uint64:
			return "a whole number from 0"
		case float64:
			return "a number"
		case time.Duration:
			return "a time such as 500ms or 2m"
		}
	}
	return err.Error()
}

// wantsJSON looks for -json before flags are read, so that an error on the way is JSON,
// too.
func wantsJSON(args []string) bool {
	for _, arg := range args {
		name, ok := flagName(arg)
		name, value, given := strings.Cut(name, "=")
		switch {
		case arg == "--":
			return false
		case ok && name == "json":
			b, err := strconv.ParseBool(value)
			return !given || err == nil && b
		}
	}
	return false
}

func (a *app) unknownFlag(name string) error {
	command := a.flags.Name()
	if slices.Contains(laterFlags[command], name) {
		return diag.New(diag.Usage, "-%s: not in this version", name)
	}
	var names []string
	a.flags.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	e := diag.New(diag.Usage, "there is no flag -%s", name)
	if n := diag.Nearest(name, names); n != "" {
		return e.Hint("did you mean -%s?", n)
	}
	return e.Hint("`%s -h` lists the flags", strings.TrimSpace("pitopt "+command))
}

// printFlags lists flags in two columns.
func printFlags(w io.Writer, fs *flag.FlagSet) {
	const widest = 24
	fs.VisitAll(func(f *flag.Flag) {
		what, doc := flag.UnquoteUsage(f)
		if strings.HasPrefix(f.Usage, "`") { // it stands on the left
			doc = strings.TrimSpace(strings.TrimPrefix(doc, what))
		}
		left := "-" + f.Name
		if what != "" && !isBool(f) {
			left += " " + what
		}
		if d := f.DefValue; d != "" && d != "0" && d != "false" {
			doc += " (default " + d + ")"
		}
		if len(left) > widest {
			fmt.Fprintf(w, "  %s\n  %*s  %s\n", left, widest, "", doc)
			return
		}
		fmt.Fprintf(w, "  %-*s  %s\n", widest, left, doc)
	})
}

// one takes the single operand of a command.
func (a *app) one(args []string, what string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	e := diag.New(diag.Usage, "one %s is needed, %d are given", what, len(args))
	if len(args) == 0 {
		e = diag.New(diag.Usage, "no %s is given", what)
	}
	return "", e.Hint("`%s -h` shows how to call it", strings.TrimSpace("pitopt "+a.flags.Name()))
}

// none refuses operands.
func none(args []string) error {
	if len(args) > 0 {
		return diag.New(diag.Usage, "%q is too much: the command takes no operands", args[0])
	}
	return nil
}

func oneOf(flag, got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return diag.New(diag.Usage, "-%s is %q", flag, got).Hint("%s", diag.DidYouMean(got, allowed))
}
