// Command dims compares the shapes that pitopt deduces with those that another tool knows.
//
// Its operand is a file of one JSON object a line: a model, and what the other tool knows of
// its values. Declared shapes are taken out of the model, as they were for the other tool; the
// pipeline is deduction alone. It prints every
// dim that the other one knows and pitopt does not, or knows differently, and ends with exit
// code 1 where there is one. scripts/checkshapes runs it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/passes"
)

// known is what the other tool knows of a model.
type known struct {
	Model  string
	Error  string
	Values map[string][]any // a number, a name, or null for each dim
}

type tally struct{ models, refused, unloaded, agree, sharper, deficits int }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dims:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("it takes one file")
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		return err
	}
	defer f.Close()
	pipeline, err := passes.Parse("deduction", []byte("version = 1\n[[pass]]\nname = \"deduce\"\n"))
	if err != nil {
		return err
	}
	var t tally
	lines := bufio.NewScanner(f)
	const longest = 64 << 20
	lines.Buffer(nil, longest)
	for lines.Scan() {
		var k known
		if err := json.Unmarshal(lines.Bytes(), &k); err != nil {
			return err
		}
		t.models++
		if k.Error != "" {
			t.refused++
			continue
		}
		m, err := pitopt.Load(k.Model, pitopt.WithPipeline(pipeline), pitopt.Target("interp"), pitopt.EditModel(func(w *wire.Model) { undeclare(w.Graph) }))
		if err != nil {
			t.unloaded++
			continue
		}
		t.compare(&k, m.Module())
		if err := m.Close(); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	fmt.Printf("%d models, %d refused by the other tool, %d not loaded here: %d dims agree, %d are known better here, %d worse\n",
		t.models, t.refused, t.unloaded, t.agree, t.sharper, t.deficits)
	if t.deficits > 0 {
		return fmt.Errorf("%d dims are known worse", t.deficits)
	}
	return nil
}

// undeclare takes shapes that a model declares of its results, and in between, out of it.
func undeclare(g *wire.Graph) {
	for _, o := range g.Outputs {
		if o.Type != nil && o.Type.Tensor != nil {
			o.Type.Tensor.Shape = nil
		}
	}
	g.ValueInfo = nil
	for _, n := range g.Nodes {
		for _, a := range n.Attributes {
			if a.G != nil {
				undeclare(a.G)
			}
			for _, sub := range a.Graphs {
				undeclare(sub)
			}
		}
	}
}

// compare counts the dims that the other tool knows.
func (t *tally) compare(k *known, m *ir.Module) {
	main := m.Main()
	types := map[string]ir.Type{}
	for _, s := range main.Stmts {
		for _, r := range s.Results {
			if r != nil {
				types[r.Name] = r.Type
			}
		}
	}
	for _, c := range m.Consts {
		types[c.Name] = c.Value().Type
	}
	for i, r := range main.Results {
		types[main.ResultName(i)] = r.Type
	}
	names := make([]string, 0, len(k.Values))
	for name := range k.Values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		ours, there := types[name]
		if !there {
			continue // nobody asks for it, or it has another name here
		}
		tt, _ := ours.(ir.TensorType)
		for i, d := range k.Values[name] {
			want, ok := dimOf(d)
			if !ok {
				continue
			}
			if tt.Unranked || i >= len(tt.Dims) {
				t.worse(k, name, i, d, ours)
				continue
			}
			_, fixed := tt.Dims[i].Int()
			switch _, number := d.(float64); {
			case m.Syms.Equal(tt.Dims[i], want) == sym.True:
				t.agree++
			case fixed && !number:
				t.sharper++
			default:
				t.worse(k, name, i, d, ours)
			}
		}
	}
}

func (t *tally) worse(k *known, name string, i int, d any, ours ir.Type) {
	t.deficits++
	fmt.Printf("%s: dim %d of %q is %v, here it is %v\n", k.Model, i, name, d, ours)
}

func dimOf(d any) (sym.Expr, bool) {
	switch d := d.(type) {
	case float64:
		return sym.Const(int64(d)), true
	case string:
		return sym.ParseDim(d), true
	}
	return sym.Expr{}, false
}
