package builtin_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

var update = flag.Bool("update", false, "write what the passes made into the files of testdata")

// TestFiles runs the cases of testdata/*.pit. A file has cases, each of which is
//
//	// case: what it shows
//	// pass: fold-constants
//	// options: max-bytes = 8
//	// target: cpu
//	// note: what the pass says to the user
//	// run: @main([[1, 2]], i64[0] {}) == [[1, 2]], 3
//	// run: @main([1, 2, 3]) fails: what the error says
//	module { ... }
//	// want:
//	module { ... }
//
// More than one pass may be named; they run in that order, each with its defaults unless
// options follow, which are TOML. The target is the interpreter, which has no kernels, unless
// a line names the CPU. A run line is executed by the interpreter on the module
// before and on the one after, and by the CPU on the one after. A value is a number, true or "text", a list in brackets,
// or, where that can not say the shape, a tensor as the text form has it. Instead of
// "want:" a case may end with "fails: what the error says".
//
//	go test ./passes/builtin -run Files -update
//
// writes what the passes made behind "want:".
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.pit")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of cases: %v", err)
	}
	tested := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".pit"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, cases := splitCases(t, string(src))
			out := head
			for i := range cases {
				c := &cases[i]
				t.Run(strings.ReplaceAll(c.title, " ", "_"), func(t *testing.T) { c.run(t) })
				for _, p := range c.passes {
					tested[p.name] = true
				}
				out += c.String()
			}
			if *update && out != string(src) {
				if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	for _, name := range builtin.Registry().Names() {
		if !tested[name] {
			t.Errorf("no case is about the pass %s", name)
		}
	}
}

type fileCase struct {
	title  string
	head   []string // the lines that start with //
	passes []casePass
	target *target.Target
	notes  []string
	runs   []string
	before string
	want   string
	fails  string
}

type casePass struct{ name, options string }

func (c *fileCase) String() string {
	var b strings.Builder
	for _, l := range c.head {
		b.WriteString(l + "\n")
	}
	b.WriteString(strings.TrimRight(c.before, "\n") + "\n")
	if c.fails != "" {
		return b.String() + "// fails: " + c.fails + "\n\n"
	}
	return b.String() + "// want:\n" + c.want
}

// splitCases cuts a file at the lines that start a case; what stands before the first is
// the head.
func splitCases(t *testing.T, src string) (head string, cases []fileCase) {
	var c *fileCase
	inWant := false
	for line := range strings.Lines(src) {
		word, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "// "), ":")
		rest = strings.TrimSpace(rest)
		directive := strings.HasPrefix(line, "// ")
		switch {
		case directive && word == "case":
			cases = append(cases, fileCase{title: rest, target: target.Interp()})
			c, inWant = &cases[len(cases)-1], false
		case c == nil:
			head += line
			continue
		case directive && word == "pass":
			for _, name := range strings.Fields(rest) {
				c.passes = append(c.passes, casePass{name: name})
			}
		case directive && word == "options":
			c.passes[len(c.passes)-1].options = rest
		case directive && word == "target" && rest == "cpu":
			c.target = cpu.New(1).Target()
		case directive && word == "target" && rest == "together": // whatever a program has
			c.target = &target.Target{Name: "together", Threads: 1, Kernels: []target.Kernel{{Name: "together", Staged: true,
				Together: func(p *ir.Program) []ir.Range { return []ir.Range{{First: 0, Last: len(p.Stages) - 1}} }}}}
		case directive && word == "note":
			c.notes = append(c.notes, rest)
		case directive && word == "run":
			c.runs = append(c.runs, rest)
		case directive && word == "want":
			inWant = true
			continue
		case directive && word == "fails":
			c.fails = rest
			continue
		case directive:
			t.Fatalf("case %q: what is %q?", c.title, strings.TrimSpace(line))
		case inWant:
			c.want += line
			continue
		default:
			c.before += line
			continue
		}
		c.head = append(c.head, strings.TrimRight(line, "\n"))
	}
	return head, cases
}

func parseModule(t *testing.T, name, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse(name, []byte(src), nil)
	if err == nil {
		err = ir.Verify(m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (c *fileCase) run(t *testing.T) {
	before := parseModule(t, "before", c.before)
	for _, r := range c.runs {
		execute(t, before, interpreted(before), r, "before")
	}
	after := parseModule(t, "before", c.before)
	notes, err := runPassesFor(c.target, after, c.passes)
	if c.fails != "" {
		if err == nil || !strings.Contains(err.Error(), c.fails) {
			t.Errorf("got error %v, want one that says %q", err, c.fails)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(notes, c.notes) {
		t.Errorf("notes are %q, want %q", notes, c.notes)
	}
	for _, r := range c.runs {
		execute(t, after, interpreted(after), r, "after")
		if x, err := runtime.Load(after, cpu.New(1), runtime.Options{}); err != nil {
			t.Error(err)
		} else {
			execute(t, after, x.Run, r, "on the CPU")
		}
	}
	got := text.String(after)
	if again := text.String(parseModule(t, "after", got)); again != got {
		t.Errorf("what is printed reads back as another module:\n%s\n%s", got, again)
	}
	switch {
	case got == strings.TrimRight(c.want, "\n")+"\n":
	case *update:
		c.want = got + "\n"
	default:
		t.Errorf("got:\n%s\nwant:\n%s\n`go test ./passes/builtin -run Files -update` takes what it got", got, c.want)
	}
}

// runPasses runs passes through the pipeline file and the manager, as a user's do.
func runPasses(m *ir.Module, list []casePass) (notes []string, err error) {
	return runPassesFor(target.Interp(), m, list)
}

func runPassesFor(on *target.Target, m *ir.Module, list []casePass) (notes []string, err error) {
	var b strings.Builder
	b.WriteString("version = 1\n")
	for _, p := range list {
		fmt.Fprintf(&b, "[[pass]]\nname = %q\n%s\n", p.name, p.options)
	}
	f, err := passes.Parse("options", []byte(b.String()))
	if err != nil {
		return nil, err
	}
	steps, err := f.Assemble(builtin.Registry())
	if err != nil {
		return nil, err
	}
	mg := pass.Manager{Target: on, Note: func(_, msg string) { notes = append(notes, msg) }}
	return notes, mg.Run(context.Background(), m, steps)
}

// A runner runs a module.
type runner func(ctx context.Context, args []tensor.Value) ([]tensor.Value, error)

func interpreted(m *ir.Module) runner {
	return func(ctx context.Context, args []tensor.Value) ([]tensor.Value, error) {
		return interp.Run(ctx, m, args, interp.Options{})
	}
}

// execute runs a run line on a module.
func execute(t *testing.T, m *ir.Module, run runner, line, which string) {
	t.Helper()
	v := &valueReader{src: strings.TrimPrefix(line, "@main")}
	var args []tensor.Value
	var fails string
	err := v.list("(", ")", func() error {
		i := len(args)
		if i >= len(m.Main().Params) {
			return fmt.Errorf("operand %d of a function that takes %d", i, len(m.Main().Params))
		}
		tt, ok := m.Main().Params[i].Tensor()
		if !ok {
			return fmt.Errorf("operand %d is no tensor", i)
		}
		x, err := v.value(tt.DType)
		args = append(args, x)
		return err
	})
	if err == nil {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(v.src), "fails:"); ok {
			fails = strings.TrimSpace(rest)
		} else if _, ok := strings.CutPrefix(strings.TrimSpace(v.src), "=="); !ok {
			err = fmt.Errorf("neither == nor fails: %s", v.src)
		}
	}
	if err != nil {
		t.Fatalf("run line %q: %v", line, err)
	}
	got, err := run(context.Background(), args)
	if fails != "" {
		if err == nil || !strings.Contains(err.Error(), fails) {
			t.Errorf("%s %s: got %v, error %v", which, line, got, err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s %s: %v", which, line, err)
		return
	}
	v.take("==")
	for i := range got {
		if i > 0 && !v.take(",") {
			t.Fatalf("run line %q: %d results, and then %q", line, i, v.src)
		}
		g, ok := got[i].(*tensor.Tensor)
		if !ok {
			t.Fatalf("run line %q: result %d is no tensor", line, i)
		}
		w, err := v.value(g.DType())
		if err != nil {
			t.Fatalf("run line %q: %v", line, err)
		}
		if err := tensor.Compare(g, w, tensor.DefaultTolerance(g.DType())); err != nil {
			t.Errorf("%s %s: result %d: %v", which, line, i, err)
		}
	}
	if v.peek() != 0 {
		t.Fatalf("run line %q: more than %d results", line, len(got))
	}
}

// valueReader reads the values of run lines.
type valueReader struct{ src string }

func (v *valueReader) peek() byte {
	v.src = strings.TrimLeft(v.src, " ")
	if v.src == "" {
		return 0
	}
	return v.src[0]
}

func (v *valueReader) take(s string) bool {
	v.peek()
	rest, ok := strings.CutPrefix(v.src, s)
	if ok {
		v.src = rest
	}
	return ok
}

// list reads items between brackets.
func (v *valueReader) list(open, end string, item func() error) error {
	if !v.take(open) {
		return fmt.Errorf("expected %s before %q", open, v.src)
	}
	for first := true; !v.take(end); first = false {
		if !first && !v.take(",") {
			return fmt.Errorf("expected , before %q", v.src)
		}
		if err := item(); err != nil {
			return err
		}
	}
	return nil
}

func (v *valueReader) word() string {
	if v.peek() == '"' {
		if i := strings.IndexByte(v.src[1:], '"'); i >= 0 {
			w := v.src[:i+2]
			v.src = v.src[i+2:]
			return w
		}
	}
	i := strings.IndexAny(v.src, " ,[](){}")
	if i < 0 {
		i = len(v.src)
	}
	w := v.src[:i]
	v.src = v.src[i:]
	return w
}

// value reads a tensor, of element type d unless it says its own.
func (v *valueReader) value(d tensor.DType) (*tensor.Tensor, error) {
	var elems []string
	var shape []int64
	elem := func() error { elems = append(elems, v.word()); return nil }
	if c := v.peek(); c >= 'a' && c <= 'z' && strings.Contains(v.src, "{") { // f32[0, 3] {}
		rest := v.src
		if own, ok := tensor.ParseDType(v.word()); ok {
			d = own
			err := v.list("[", "]", func() error {
				var n int64
				_, err := fmt.Sscan(v.word(), &n)
				shape = append(shape, n)
				return err
			})
			if err == nil {
				err = v.list("{", "}", elem)
			}
			return fill(d, shape, elems, err)
		}
		v.src = rest
	}
	var level func(depth int) error
	level = func(depth int) error {
		if v.peek() != '[' {
			if depth != len(shape) {
				return fmt.Errorf("lists of different depth")
			}
			return elem()
		}
		n, open := int64(0), depth == len(shape) && len(elems) == 0
		if open {
			shape = append(shape, 0)
		} else if depth >= len(shape) {
			return fmt.Errorf("lists of different depth")
		}
		if err := v.list("[", "]", func() error { n++; return level(depth + 1) }); err != nil {
			return err
		}
		if !open && shape[depth] != n {
			return fmt.Errorf("lists of different length")
		}
		shape[depth] = n
		return nil
	}
	err := level(0)
	return fill(d, shape, elems, err)
}

func fill(d tensor.DType, shape []int64, elems []string, err error) (*tensor.Tensor, error) {
	if err != nil {
		return nil, err
	}
	t, err := tensor.Make(d, shape)
	if err != nil {
		return nil, err
	}
	if t.Len() != int64(len(elems)) {
		return nil, fmt.Errorf("%d elements for shape %v", len(elems), shape)
	}
	for i, e := range elems {
		if err := t.SetText(int64(i), e); err != nil {
			return nil, err
		}
	}
	return t, nil
}
