package cli

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/frontend/onnx"
)

// inspection is what inspect tells of a model.
type inspection struct {
	m          *ir.Module
	fileBytes  int64
	weights    int64 // bytes of constants
	operators  map[string]int
	statements int
	symbols    []symbol
	relations  []string   // between symbols: "k <= 4*n"
	bad        []*ir.Stmt // what is unsupported
}

// symbol is a dim with a name, and what is known of it. Symbols that no input has are
// sizes that only a run tells.
type symbol struct {
	Name     string `json:"name"`
	Min      int64  `json:"min"`
	Max      *int64 `json:"max"` // null: no bound
	Multiple int64  `json:"multiple"`
	Input    bool   `json:"input"` // a dim of an input has it
}

// inspect tells what a model is without compiling it; it works on models that pitopt
// can not run.
func (a *app) inspect(args []string) error {
	a.begin("inspect", "MODEL", "Tells inputs, outputs, symbols and their constraints, operators, size, and what is unsupported and where.\n"+
		"What the pipeline knows of dims counts, and so do the operators of its plugins. Exit code 4: something is unsupported.\n"+
		"What needs the model compiled is told by:\n"+
		"  -checks    what could not be proved of its shapes, and is checked in a run\n"+
		"  -memory    what the storages of a run take: if each value had its own, if those of equal sizes took turns, as\n"+
		"             planned, the most that is in use at once, which no plan goes below, and the device's part\n"+
		"  -kernels   which programs go to which kernel of the CPU, at about which cost, and why not to others, and which\n"+
		"             stages do not run as machine code, and why\n"+
		"  -sparsity  in which operands of products there may be many zeros, where these come from, along which axes a run\n"+
		"             may leave them out (k is summed over, m and n are those of one factor), and whether what they are\n"+
		"             multiplied with is proved finite or looked at in each run\n"+
		"  -padding   which inputs are masks of a padded batch, where tokens of padding are not computed, and why they are\n"+
		"             elsewhere")
	a.pipelineFlag()
	memory := a.flags.Bool("memory", false, "the plan of what is computed, at the sizes of -dim and at the bounds of [dims]")
	kernels := a.flags.Bool("kernels", false, "the kernels that programs go to, and why")
	sparsity := a.flags.Bool("sparsity", false, "the products in whose operands there may be many zeros, and why")
	checks := a.flags.Bool("checks", false, "what could not be proved of shapes, and is checked when the model runs")
	padding := a.flags.Bool("padding", false, "where tokens that a mask does not have are not computed, and why they are elsewhere")
	f := &inputFlags{dims: map[string]int64{}}
	a.flags.Func("dim", "`NAME=N` size of a symbolic dim for -memory; repeatable", f.setDim)
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := a.one(rest, "model")
	if err != nil {
		return err
	}
	asked := 0
	for _, told := range []bool{*checks, *memory, *kernels, *sparsity, *padding} {
		if told {
			asked++
		}
	}
	if asked > 1 {
		return diag.New(diag.Usage, "-checks, -memory, -kernels, -sparsity and -padding tell different things").Hint("give one of them at a time")
	}
	p, err := a.findPipeline(path)
	if err != nil {
		return err
	}
	opts := []pitopt.Option{pitopt.WithPipeline(p), pitopt.WithContext(a.ctx), pitopt.ForSessions()}
	if *kernels {
		return a.inspectKernels(path, opts)
	}
	if *sparsity {
		return a.inspectSparsity(path, opts)
	}
	if *memory {
		return a.inspectMemory(path, opts, f.dims)
	}
	if *padding {
		return a.inspectPadding(path, opts)
	}
	if *checks {
		return a.inspectChecks(path, opts)
	}
	m, err := pitopt.Import(path, opts...)
	if err != nil {
		return err
	}
	defer m.Close()
	x := inspectModule(m.Module())
	if st, err := os.Stat(path); err == nil {
		x.fileBytes = st.Size()
	}
	if a.common.json {
		a.emit(x.json())
	} else {
		x.print(a, path)
	}
	for _, n := range m.Notes() {
		a.note("note: %s: %s", n.Node, n.Msg)
	}
	if len(x.bad) > 0 {
		return exitCode(diag.Unsupported)
	}
	return nil
}

func inspectModule(m *ir.Module) *inspection {
	x := &inspection{m: m, operators: map[string]int{}, bad: onnx.Unsupported(m)}
	for _, c := range m.Consts {
		x.weights += int64(len(c.Tensor.Bytes()))
		for _, s := range c.Tensor.Strings() {
			x.weights += int64(len(s))
		}
	}
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			x.operators[s.OpName()]++
			x.statements++
		})
	}
	inputs := inputSymbols(m)
	seen := map[string]bool{}
	add := func(s string, input bool) {
		if seen[s] {
			return
		}
		seen[s] = true
		lo, hi := m.Syms.Range(s)
		out := symbol{Name: sym.Var(s).String(), Min: lo, Multiple: m.Syms.Multiple(s), Input: input}
		if hi != sym.Inf {
			out.Max = &hi
		}
		x.symbols = append(x.symbols, out)
	}
	for _, s := range inputs {
		add(s, true)
	}
	for _, r := range m.Main().Results {
		ir.EachDim(r.Type, func(e sym.Expr) {
			for _, s := range e.Symbols() {
				add(s, false)
			}
		})
	}
	relate := func(list [][2]sym.Expr, how string) {
		for _, r := range list {
			if slices.ContainsFunc(append(r[0].Symbols(), r[1].Symbols()...), func(s string) bool { return seen[s] }) {
				x.relations = append(x.relations, fmt.Sprintf("%s %s %s", r[0], how, r[1]))
			}
		}
	}
	relate(m.Syms.Equalities(), "==")
	relate(m.Syms.LEs(), "<=")
	return x
}

// names are the operators, the most frequent ones first.
func (x *inspection) names() []string {
	out := make([]string, 0, len(x.operators))
	for n := range x.operators {
		out = append(out, n)
	}
	sort.Slice(out, func(i, j int) bool {
		if a, b := x.operators[out[i]], x.operators[out[j]]; a != b {
			return a > b
		}
		return out[i] < out[j]
	})
	return out
}

func (x *inspection) json() map[string]any {
	type value struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	main := x.m.Main()
	inputs, outputs, unsupported := []value{}, []value{}, []map[string]any{}
	for _, p := range main.Params {
		inputs = append(inputs, value{p.Name, p.Type.String()})
	}
	for i, r := range main.Results {
		outputs = append(outputs, value{main.ResultName(i), r.Type.String()})
	}
	for _, s := range x.bad {
		unsupported = append(unsupported, map[string]any{"node": s.Place(), "op": s.Op.Name, "version": s.Op.Since[0]})
	}
	opsets := map[string]int64{}
	for _, o := range x.m.Meta.Opsets {
		opsets[domainName(o.Domain)] = o.Version
	}
	return map[string]any{"kind": "model", "ir_version": x.m.Meta.IRVersion, "opsets": opsets,
		"producer": x.m.Meta.Producer, "producer_version": x.m.Meta.ProducerVersion,
		"inputs": inputs, "outputs": outputs, "symbols": append([]symbol{}, x.symbols...), "constraints": append([]string{}, x.relations...), "operators": x.operators, "statements": x.statements,
		"constants": len(x.m.Consts), "constant_bytes": x.weights, "file_bytes": x.fileBytes, "unsupported": unsupported}
}

func domainName(domain string) string {
	if domain == "" {
		return "ai.onnx"
	}
	return domain
}

func (x *inspection) print(a *app, path string) {
	main := x.m.Main()
	fmt.Fprintf(a.out, "%s: %s", path, size(x.fileBytes))
	if n := x.m.Meta.IRVersion; n > 0 { // a module in the text form may be of no model
		fmt.Fprintf(a.out, ", IR version %d", n)
	}
	for _, o := range x.m.Meta.Opsets {
		fmt.Fprintf(a.out, ", %s %d", domainName(o.Domain), o.Version)
	}
	if by := strings.TrimSpace(x.m.Meta.Producer + " " + x.m.Meta.ProducerVersion); by != "" {
		fmt.Fprintf(a.out, ", by %s", by)
	}
	fmt.Fprintln(a.out)
	for _, p := range main.Params {
		fmt.Fprintf(a.out, "input  %s: %s\n", p.Name, p.Type)
	}
	for i, r := range main.Results {
		fmt.Fprintf(a.out, "output %s: %s\n", main.ResultName(i), r.Type)
	}
	for _, s := range x.symbols {
		fmt.Fprintf(a.out, "symbol %s\n", s)
	}
	for _, r := range x.relations {
		fmt.Fprintf(a.out, "constraint %s\n", r)
	}
	fmt.Fprintf(a.out, "%s, %s\n%s of %s\n", count(len(x.m.Consts), "constant"), size(x.weights), count(x.statements, "operator"), count(len(x.operators), "kind"))
	for _, n := range x.names() {
		fmt.Fprintf(a.out, "%6d %s\n", x.operators[n], n)
	}
	for _, s := range x.bad {
		fmt.Fprintf(a.out, "unsupported: node %q (%s, version %d)\n", s.Place(), strings.TrimPrefix(s.Op.Name, "onnx."), s.Op.Since[0])
	}
}

func (s symbol) String() string {
	text := fmt.Sprintf("%s: %d or more", s.Name, s.Min)
	if s.Max != nil {
		text = fmt.Sprintf("%s: %d to %d", s.Name, s.Min, *s.Max)
	}
	if s.Multiple > 1 {
		text += fmt.Sprintf(", a multiple of %d", s.Multiple)
	}
	if !s.Input {
		text += ", told by the run"
	}
	return text
}

// size shows bytes to people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// count is "1 constant", "2 constants".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
