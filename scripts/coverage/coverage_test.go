// Package coverage_test measures what the default pipeline makes of real models, and holds
// docs/coverage.md against it.
//
//	go test ./scripts/coverage                     what is counted in modules
//	go test ./scripts/coverage -update             the same, and writes the document
//	go test ./scripts/coverage -cases -timeout 2h  runs cases as well
//
// $PITOPT_ZOO and $PITOPT_MODELS name the folders of the graphs. Rows of graphs that are not
// there stay in the document as they are, and so does what was not measured.
package coverage_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/internal/cli"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

var (
	update = flag.Bool("update", false, "write docs/coverage.md")
	cases  = flag.Bool("cases", false, "run every case on the CPU, one on the interpreter, and check every pass")
)

const document = "../../docs/coverage.md"

const head = `# Coverage

<!-- made by ` + "`go test ./scripts/coverage -cases -update`" + ` -->

What the default pipeline makes of real models: those of ` + "`$PITOPT_MODELS`" + `, and exports of real architectures by both of
PyTorch's exporters (` + "`ts`" + `, ` + "`dyn`" + `) in ` + "`$PITOPT_ZOO`" + `.

- **cpu**: cases that come out right; **interp**: the same of the smallest case, by the reference interpreter. Tolerance: rtol
  1e-3, atol 1e-4, or the tolerance.toml beside a model; rows of a quantized export have a cosine of at least 0.999 with what
  ONNX Runtime makes of the same graph, which differs as much from itself with other optimizations on.
- **each pass**: the interpreter agrees before and after every pass, on small inputs.
- **attention** (softmax-weighted sums), **norms** (LayerNorm, RMSNorm), **gates** (GELU, SiLU), **rotary** embeddings,
  **routing** and **dispatch** of experts, **caches** (keys or values that are appended to): operators in front of legalize,
  caches in front of fuse, of those that the architecture has, counted by hand.
- **calls a layer**: programs and operators that an executable runs, in front of fuse and at the end, for each repetition of
  the model's main block. Branches and loop bodies count once.
- **shape only**: operators and programs left that only compute a shape (analysis.ShapeArithmetic).

`

var columns = []string{"graph", "cpu", "interp", "each pass", "attention", "norms", "gates", "rotary", "routing", "dispatch", "caches", "calls a layer", "shape only"}

// firstCounted is the first column that is counted in modules.
const firstCounted = 4

func TestCoverage(t *testing.T) {
	if f, err := x86.Usable(); err != nil || f == 0 {
		t.Skip("the document is of machine code: portable Go computes attention stage by stage, and so with padding")
	}
	measured := map[string][]string{}
	var names []string
	for _, source := range []struct {
		variable string
		graphs   []graph
	}{{"PITOPT_MODELS", models}, {"PITOPT_ZOO", zoo}} {
		dir := os.Getenv(source.variable)
		if dir == "" {
			t.Logf("%s names no folder: its graphs are left out", source.variable)
		}
		for _, g := range source.graphs {
			for _, name := range g.files() {
				names = append(names, name)
				path := filepath.Join(dir, name)
				if _, err := os.Stat(filepath.Join(path, "model.onnx")); dir != "" && err != nil {
					t.Logf("%s is left out: %v", name, err)
				} else if dir != "" {
					t.Run(name, func(t *testing.T) {
						row := make([]string, len(columns))
						measured[name] = row
						measure(t, g, path, row)
					})
				}
			}
		}
	}
	// What was not measured is as the document has it by now.
	table := rows(t)
	for _, name := range names {
		was := table[name]
		if len(was) != len(columns) {
			was = make([]string, len(columns))
			table[name] = was
		}
		was[0] = name
		for i, cell := range measured[name] {
			if i > 0 && (i >= firstCounted || *cases) {
				was[i] = cell
			}
		}
	}
	var doc bytes.Buffer
	doc.WriteString(head)
	line := func(cells []string) { fmt.Fprintf(&doc, "| %s |\n", strings.Join(cells, " | ")) }
	line(columns)
	fmt.Fprintf(&doc, "|%s\n", strings.Repeat("---|", len(columns)))
	for _, name := range names {
		line(table[name])
	}
	if old, _ := os.ReadFile(document); bytes.Equal(old, doc.Bytes()) {
		return
	}
	if !*update {
		t.Errorf("docs/coverage.md is stale: run go test ./scripts/coverage -update; it would be\n%s", doc.Bytes())
	} else if err := os.WriteFile(document, doc.Bytes(), 0o644); err != nil {
		t.Error(err)
	}
}

// rows are the rows of the document by graph.
func rows(t *testing.T) map[string][]string {
	data, err := os.ReadFile(document)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if cells := strings.Split(strings.TrimSpace(line), "|"); len(cells) == len(columns)+2 {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			out[cells[1]] = cells[1 : len(cells)-1]
		}
	}
	return out
}

func measure(t *testing.T, g graph, dir string, row []string) {
	if *cases {
		sets := dataSets(t, dir)
		row[1] = runCases(t, g, dir, sets, "cpu")
		row[2] = runCases(t, g, dir, sets[:1], "interp")
		row[3] = checkEach(t, g, dir)
	}
	found, before, after, shapes := count(t, dir)
	for i, n := range []struct{ found, has int }{
		{found.attention, g.has.attention}, {found.norms, g.has.norms}, {found.gates, g.has.gates}, {found.rotary, g.has.rotary},
		{found.routing, g.has.routing}, {found.dispatch, g.has.dispatch}, {found.caches, g.has.caches},
	} {
		row[firstCounted+i] = fmt.Sprintf("%d of %d", n.found, n.has)
		if n.found > n.has {
			t.Errorf("%s: %d found, the architecture has %d", columns[firstCounted+i], n.found, n.has)
		}
		if n.has == 0 {
			row[firstCounted+i] = ""
		}
	}
	layers := float64(g.layers)
	row[len(row)-2] = fmt.Sprintf("%.4g → %.4g", float64(before)/layers, float64(after)/layers)
	row[len(row)-1] = fmt.Sprint(len(shapes))
	for _, s := range shapes {
		t.Errorf("only computes a shape: %s (%s)", s.Place(), s.OpName())
	}
}

// count compiles a model, and counts what is raised, the calls before fuse and at the end,
// and what is left that only computes a shape.
func count(t *testing.T, dir string) (found things, before, after int, shapes []*ir.Stmt) {
	total := time.Duration(0)
	m, err := pitopt.Load(filepath.Join(dir, "model.onnx"), pitopt.WithPipeline(passes.Default()), pitopt.Threads(1), pitopt.Observe(pitopt.Observer{
		Imported: func(_ *ir.Module, took time.Duration) error { total += took; return nil },
		Before: func(_ int, s pass.Step, m *ir.Module) error {
			switch s.Pass.Name {
			case "legalize":
				found = thingsOf(m)
			case "fuse":
				before = calls(m)
				found.caches = max(found.caches, appends(m.Main()))
			}
			return nil
		},
		After: func(_ int, s pass.Step, _ *ir.Module, took time.Duration) error { total += took; return nil },
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	t.Logf("imported and compiled in %s", total.Round(time.Millisecond))
	return found, before, calls(m.Module()), analysis.ShapeArithmetic(m.Module())
}

// thingsOf counts operators of a module by what they are.
func thingsOf(m *ir.Module) things {
	var n things
	groups := map[*ir.Value]bool{} // rows of all experts of a mixture, by expert
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			if s.Op == nil {
				return
			}
			switch s.Op.Name[strings.LastIndex(s.Op.Name, ".")+1:] {
			case "Attention":
				n.attention++
				for i := range s.Args { // a cache of its own
					if o, _ := s.Op.Operand(i); s.Args[i] != nil && strings.HasPrefix(o.Name, "past_") {
						n.caches++
					}
				}
			case "LayerNormalization", "RMSNormalization":
				n.norms++
			case "Gelu", "Swish":
				n.gates++
			case "RotaryEmbedding":
				n.rotary++
			case "GroupedMatMul":
				groups[s.Args[2]] = true
			case "Route":
				n.routing++
			}
		})
	}
	n.dispatch = len(groups)
	return n
}

// appends counts programs that put new words behind those of a cache that comes in, and go out.
func appends(f *ir.Func) int {
	n := 0
	for _, s := range f.Stmts {
		if p, ok := s.Callee.(*ir.Program); ok {
			old, _, _, ok := analysis.Append(p)
			if ok && slices.Contains(f.Params, s.Args[old]) && slices.Contains(f.Results, s.Results[0]) {
				n++
			}
		}
	}
	return n
}

// calls counts what an executable runs: programs, kernels and operators, but for those that
// compute nothing.
func calls(m *ir.Module) int {
	n := 0
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			_, function := s.Callee.(*ir.Func)
			if s.Kind == ir.CastStmt || function || s.Op != nil && (s.Op.View || s.Op.Name == ir.AllocName || s.Op.Name == ir.ReleaseName) {
				return
			}
			n++
		})
	}
	return n
}

// dataSets are the data sets of a graph, that with the smallest inputs first.
func dataSets(t *testing.T, dir string) []string {
	sets, err := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if err != nil || len(sets) == 0 {
		t.Fatalf("no test_data_set_* in %s", dir)
	}
	size := map[string]int64{}
	for _, set := range sets {
		for _, path := range entries(t, set) {
			if st, err := os.Stat(path); err == nil && strings.HasPrefix(filepath.Base(path), "input_") {
				size[set] += st.Size()
			}
		}
	}
	slices.SortStableFunc(sets, func(a, b string) int { return cmp.Compare(size[a], size[b]) })
	return sets
}

// runCases runs data sets of a graph, and says how many come out right. What a quantized
// export is compared with is what ONNX Runtime makes of it (ort_output_*.pb): its output_*.pb
// are those of the model before it was quantized.
func runCases(t *testing.T, g graph, dir string, sets []string, target string) string {
	m, err := pitopt.Load(filepath.Join(dir, "model.onnx"), pitopt.WithPipeline(passes.Default()), pitopt.Target(target), pitopt.Memory(8<<30))
	if err != nil {
		t.Error(err)
		return fmt.Sprintf("0 of %d", len(sets))
	}
	defer m.Close()
	tol, outputs := tensor.Tolerance{RTol: 1e-3, ATol: 1e-4}, "output"
	if g.quantized {
		tol, outputs = tensor.Tolerance{Cosine: 0.999}, "ort_output"
	}
	if _, err := toml.DecodeFile(filepath.Join(dir, "tolerance.toml"), &tol); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	right := 0
	for _, set := range sets {
		if err := runCase(m, set, outputs, tol); err != nil {
			t.Errorf("%s on %s: %v", filepath.Base(set), target, err)
		} else {
			right++
		}
	}
	return fmt.Sprintf("%d of %d", right, len(sets))
}

func runCase(m *pitopt.Model, set, outputs string, tol tensor.Tolerance) error {
	inputs := map[string]tensor.Value{}
	for i, in := range m.Inputs() {
		v, err := onnx.ReadValue(filepath.Join(set, fmt.Sprintf("input_%d.pb", i)), in.Type)
		if err != nil {
			return err
		}
		inputs[in.Name] = v
	}
	got, err := m.RunValues(context.Background(), inputs)
	if err != nil {
		return err
	}
	for i, o := range m.Outputs() {
		want, err := onnx.ReadValue(filepath.Join(set, fmt.Sprintf("%s_%d.pb", outputs, i)), o.Type)
		if err != nil {
			return err
		}
		if err := tensor.Compare(got[o.Name], want, tol); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	return nil
}

// checkEach runs a graph with every pass checked, on inputs that are drawn with the graph's
// dims, or on its data sets.
func checkEach(t *testing.T, g graph, dir string) string {
	args := []string{"test", "-check", "each", "-atol", "1e-4", "-memory", "8GiB", "-timeout", "30m", dir}
	if g.dims != nil {
		args = []string{"-q", "-check", "each", filepath.Join(dir, "model.onnx")}
		for _, d := range g.dims {
			args = append(args, "-dim", d)
		}
	}
	if g.quantized { // a sum in another order rounds to the next step here and there, on a device with vectors
		args = append(args, "-target", "interp")
	}
	var out, errs bytes.Buffer
	if cli.Main(args, &out, &errs) == 0 {
		return "agrees"
	}
	t.Errorf("%s: %s%s", args, out.Bytes(), errs.Bytes())
	return "differs"
}

func entries(t *testing.T, dir string) []string {
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(list) == 0 {
		t.Fatalf("nothing in %s", dir)
	}
	return list
}
