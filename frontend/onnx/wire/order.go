package wire

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
)

// Order gives the nodes of a graph so that every value is defined before it is used.
// Graphs that are sorted already come out as they are. outer says which names are
// visible from around the graph. A name that is defined twice, or nowhere, and a cycle
// are errors.
func Order(g *Graph, outer func(string) bool) ([]*Node, error) {
	def := map[string]int{}
	for i, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o == "" {
				continue
			}
			if j, ok := def[o]; ok {
				return nil, diag.New(diag.Malformed, "nodes %d and %d of graph %q both define %q", j, i, g.Name, o)
			}
			def[o] = i
		}
	}
	local := map[string]bool{}
	for _, in := range g.Inputs {
		local[in.Name] = true
	}
	for _, t := range g.Initializers {
		local[t.Name] = true
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
				if !local[name] && !outer(name) {
					n := g.Nodes[top.node]
					return nil, diag.New(diag.Malformed, "%q is used and not defined", name).At(placeOf(n), n.OpType)
				}
			case state[i] == open:
				var names []string
				for _, f := range stack {
					if len(names) > 0 || f.node == i {
						names = append(names, fmt.Sprintf("%q", placeOf(g.Nodes[f.node])))
					}
				}
				if len(names) > 6 {
					names = append(names[:6], "...")
				}
				return nil, diag.New(diag.Malformed, "graph %q has a cycle through %s", g.Name, strings.Join(names, ", "))
			case state[i] == 0:
				state[i] = open
				stack = append(stack, frame{i, Uses(g.Nodes[i])})
			}
		}
	}
	return out, nil
}

func placeOf(n *Node) string {
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
	for _, a := range n.Attributes {
		if a.G != nil {
			out = append(out, captures(a.G)...)
		}
		for _, g := range a.Graphs {
			out = append(out, captures(g)...)
		}
	}
	return out
}

func captures(g *Graph) []string {
	local := map[string]bool{}
	for _, in := range g.Inputs {
		local[in.Name] = true
	}
	for _, t := range g.Initializers {
		local[t.Name] = true
	}
	for _, t := range g.SparseInitializers {
		if t.Values != nil {
			local[t.Values.Name] = true
		}
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			local[o] = true
		}
	}
	var out []string
	add := func(name string) {
		if name != "" && !local[name] {
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
