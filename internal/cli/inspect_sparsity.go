package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// sparseProduct is a sum of products and what is known of zeros in what it reads.
type sparseProduct struct {
	node, program string
	stage         string // what it defines
	over          string // the sizes that it sums over
	calls         int
	operands      []sparseOperand
	wanted        *analysis.Demand // which part of it is; nil: all
	mask          string           // that it is wanted by
	all           string           // why all of it is computed nevertheless
}

// sparseOperand is one that may be full of zeros.
type sparseOperand struct {
	name   string
	zeros  *analysis.Zeros
	axes   []string // "k 768": the word for it, and its size
	finite bool
	open   string
	why    string // why nothing can be left out after all
	all    string // why runs leave nothing out nevertheless
}

// inspectSparsity tells of the products of a compiled model where there may be many zeros.
func (a *app) inspectSparsity(path string, opts []pitopt.Option) error {
	var list []*sparseProduct
	looked := false
	m, err := pitopt.Load(path, append(opts, pitopt.Target("cpu"), pitopt.Observe(pitopt.Observer{
		Before: func(_ int, s pass.Step, m *ir.Module) error {
			if s.Pass == builtin.PIT && !looked {
				looked = true
				list = sparseProducts(m, builtin.Facts(&pass.Context{Options: s.Options}, m))
			}
			return nil
		},
	}))...)
	if err != nil {
		return err
	}
	defer m.Close()
	if !looked {
		if !a.common.json {
			fmt.Fprintln(a.out, "the pipeline does not look for zeros: it has no pass pit")
		}
		return nil
	}
	dense, calls := 0, 0
	for _, p := range list {
		if len(p.operands) == 0 && p.wanted == nil && !a.common.json {
			dense, calls = dense+1, calls+p.calls
			continue
		}
		if a.common.json {
			operands := []map[string]any{}
			for _, o := range p.operands {
				operands = append(operands, map[string]any{"name": o.name, "source": o.zeros.Kind.String(), "zeros": o.zeros.Why, "at": o.zeros.Node,
					"axes": append([]string{}, o.axes...), "finite": o.finite, "unproved": o.open, "why_not": cmp.Or(o.why, o.all)})
			}
			about := map[string]any{"kind": "product", "node": p.node, "program": p.program, "stage": p.stage, "over": p.over, "calls": p.calls, "operands": operands}
			if d := p.wanted; d != nil {
				about["wanted"] = map[string]any{"by": p.mask, "source": d.Zeros.Kind.String(), "zeros": d.Zeros.Why, "at": d.Zeros.Node, "any": d.Any, "unproved": d.Open, "why_not": p.all}
			}
			a.emit(about)
			continue
		}
		fmt.Fprintf(a.out, "%3d x %s: a sum over %s (%s, stage %s)\n", p.calls, p.node, p.over, p.program, p.stage)
		for _, o := range p.operands {
			fmt.Fprintf(a.out, "      operand %s\n      zeros   %s\n", o.name, o.zeros)
			switch {
			case o.why != "":
				fmt.Fprintf(a.out, "      along   none: %s\n", o.why)
				continue
			case o.finite:
				o.open = "all else is proved to be"
			default:
				o.open = "looked at in each run: " + o.open
			}
			fmt.Fprintf(a.out, "      along   %s\n", strings.Join(o.axes, ", "))
			if o.all != "" {
				fmt.Fprintf(a.out, "      runs    compute all of it: %s\n", o.all)
				continue
			}
			fmt.Fprintf(a.out, "      finite  %s\n", o.open)
		}
		if d := p.wanted; d != nil {
			open := "what is left out makes no difference"
			if !d.Any {
				open = "looked at in each run: " + d.Open
			}
			fmt.Fprintf(a.out, "      wanted  by %s\n      zeros   %s\n", p.mask, d.Zeros)
			if p.all != "" {
				fmt.Fprintf(a.out, "      runs    compute all of it: %s\n", p.all)
				continue
			}
			fmt.Fprintf(a.out, "      finite  %s\n", open)
		}
	}
	if a.common.json {
		return nil
	}
	fmt.Fprintf(a.out, "%s in %s read nothing of which zeros are known\n", count(dense, "other product"), count(calls, "call"))
	return nil
}

// sparseProducts are the products of a module, those of which the same is said together.
func sparseProducts(m *ir.Module, facts *analysis.Facts) (list []*sparseProduct) {
	byText := map[string]*sparseProduct{}
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			c := facts.Call(s)
			if c == nil {
				return
			}
			for _, st := range c.Program.Stages {
				if analysis.StageKind(st) != analysis.Contraction {
					continue
				}
				p := &sparseProduct{node: s.Place(), program: c.Program.Name, stage: st.Out().Name, calls: 1}
				var over []string
				for _, r := range st.Red {
					over = append(over, c.Say(r.Extent).String())
				}
				p.over = strings.Join(over, " x ")
				key := fmt.Sprint(p.program, p.stage, p.over)
				for _, k := range c.Skips(st) {
					o := sparseOperand{name: c.Name(k.Buffer), zeros: k.Zeros, finite: k.Finite, open: k.Open, why: k.Why, all: cpu.LooksAtNone(st, k.Buffer)}
					for _, x := range k.Axes {
						o.axes = append(o.axes, fmt.Sprintf("%s %s", axisWord(st, x), c.Say(x.Extent)))
					}
					p.operands = append(p.operands, o)
					key += fmt.Sprint("|", k.Buffer.Name, o.zeros.Kind, o.axes, o.finite, o.why)
				}
				if p.wanted = c.Demand(st); p.wanted != nil {
					p.mask, p.all = c.Name(p.wanted.Mask), cpu.ComputesAll(st, p.wanted.Mask)
					key += fmt.Sprint("|", p.wanted.Cond, p.wanted.Zeros.Kind, p.wanted.Any)
				}
				if have := byText[key]; have != nil {
					have.calls++
					continue
				}
				byText[key] = p
				list = append(list, p)
			}
		})
	}
	return list
}

// axisWord is what people call an axis of a product: k is summed over, m and n are those of one
// factor, batch those of both.
func axisWord(s *ir.Stage, a *ir.Axis) string {
	both, left, right := analysis.FactorAxes(s)
	for word, axes := range map[string][]*ir.Axis{"k": s.Red, "batch": both, "m": left, "n": right} {
		for _, x := range axes {
			if x == a {
				return word
			}
		}
	}
	return a.Name
}
