package wire

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
)

// Order gives the nodes of a graph so that every value is defined before it is used, as
// ONNX asks for and not every exporter does. Graphs that are sorted already come out as
// they are. outer says which names are visible from around the graph. A name that is
// defined twice, or nowhere, and a cycle are errors; an initializer may be an input too.
func Order(g *Graph, outer func(string) bool) ([]*Node, error) {
	def := make(map[string]int, len(g.Nodes)) // the node that defines a name
	local := starts(g)
	for i, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o == "" {
				continue
			}
			if j, ok := def[o]; ok {
				return nil, diag.New(diag.Malformed, "%q is defined twice in graph %q: by node %q too", o, g.Name, g.Nodes[j].Place()).At(n.Place(), n.OpType)
			}
			if what := local[o]; what != "" {
				return nil, diag.New(diag.Malformed, "%q is defined twice in graph %q: it is an %s too", o, g.Name, what).At(n.Place(), n.OpType)
			}
			def[o] = i
		}
	}
	out := make([]*Node, 0, len(g.Nodes))
	const (
		open = 1 + iota
		done
	)
	state := make([]uint8, len(g.Nodes))
	type frame struct {
		node int
		uses []string
	}
	for start := range g.Nodes {
		if state[start] == done {
			continue
		}
		stack := []frame{{start, Uses(g.Nodes[start])}}
		state[start] = open
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.uses) == 0 {
				state[top.node] = done
				out = append(out, g.Nodes[top.node])
				stack = stack[:len(stack)-1]
				continue
			}
			name := top.uses[0]
			top.uses = top.uses[1:]
			i, ok := def[name]
			switch {
			case !ok:
				if local[name] == "" && !outer(name) {
					n := g.Nodes[top.node]
					return nil, undefined(name, def, local).At(n.Place(), n.OpType)
				}
			case state[i] == open:
				var names []string
				for _, f := range stack {
					if len(names) > 0 || f.node == i {
						names = append(names, fmt.Sprintf("%q", g.Nodes[f.node].Place()))
					}
				}
				return nil, diag.New(diag.Malformed, "graph %q has a cycle through %s", g.Name, someOf(names, ", ")).
					Hint("no order of these nodes can run; whatever wrote the file is at fault")
			case state[i] == 0:
				state[i] = open
				stack = append(stack, frame{i, Uses(g.Nodes[i])})
			}
		}
	}
	return out, nil
}

// someOf joins the first few of a list.
func someOf(list []string, sep string) string {
	if len(list) > 6 {
		list = append(list[:6:6], "...")
	}
	return strings.Join(list, sep)
}

// undefined is the error about a name that nothing defines.
func undefined(name string, def map[string]int, local map[string]string) *diag.Error {
	var names []string
	for n := range def {
		names = append(names, n)
	}
	for n := range local {
		names = append(names, n)
	}
	e := diag.New(diag.Malformed, "%q is used and not defined", name)
	if near := diag.Nearest(name, names); near != "" {
		return e.Hint("did you mean %q?", near)
	}
	return e.Hint("the model lacks a node, an input or an initializer of that name")
}

// starts tells what each name is that a graph has before its nodes run.
func starts(g *Graph) map[string]string {
	out := map[string]string{}
	for _, in := range g.Inputs {
		out[in.Name] = "input"
	}
	for _, t := range g.Initializers {
		out[t.Name] = "initializer"
	}
	for _, t := range g.SparseInitializers {
		if t.Values != nil {
			out[t.Values.Name] = "initializer"
		}
	}
	return out
}

// defines tells what each name is that a graph defines.
func defines(g *Graph) map[string]string {
	out := starts(g)
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			out[o] = "output"
		}
	}
	return out
}

// Place is what errors call a node: its name, else its first output, else its operator.
func (n *Node) Place() string {
	if n.Name != "" {
		return n.Name
	}
	for _, o := range n.Outputs {
		if o != "" {
			return o
		}
	}
	return n.OpType
}

// Uses lists the names a node reads: its inputs, and what its subgraphs take from
// around them.
func Uses(n *Node) []string {
	var out []string
	for _, in := range n.Inputs {
		if in != "" {
			out = append(out, in)
		}
	}
	for _, g := range n.graphs() {
		out = append(out, captures(g)...)
	}
	return out
}

// captures lists the names that a subgraph reads and does not define.
func captures(g *Graph) []string {
	local := defines(g)
	var out []string
	add := func(name string) {
		if name != "" && local[name] == "" {
			out = append(out, name)
		}
	}
	for _, n := range g.Nodes {
		for _, name := range Uses(n) {
			add(name)
		}
	}
	for _, o := range g.Outputs {
		add(o.Name)
	}
	return out
}
