package wire

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
)

// Check holds a model against the rules of structure that ONNX has for every model,
// whatever its operators mean, and tells the first one it breaks:
//
//   - there is a graph, and an operator set is imported, none in two versions;
//   - a function has a name, is there once, and does not call itself;
//   - a node has an operator, and its attributes have a name each of its own;
//   - in a graph a value is defined once: as an input, an initializer (which may be an
//     input too), or an output of a node;
//   - what is read is defined, in the graph or around it, and there is an order in which
//     nodes read only what is there: see Order;
//   - tensors have a type, a shape, and as many bytes of raw data as these take.
//
// Nodes need not be in order. A subgraph may give a name that is visible around it a
// meaning of its own.
func Check(m *Model) error {
	if m.Graph == nil {
		return diag.New(diag.Malformed, "the model has no graph").Hint("the file is no ONNX model, or damaged")
	}
	if err := checkOpsets(m.OpsetImport); err != nil {
		return err
	}
	if len(m.OpsetImport) == 0 && m.IRVersion >= 3 {
		return diag.New(diag.Malformed, "the model imports no operator set").Hint("export it again with opset_import set")
	}
	if err := checkFunctions(m); err != nil {
		return err
	}
	return checkGraph(m.Graph, func(string) bool { return false })
}

func checkOpsets(list []*OperatorSet) error {
	seen := map[string]int64{}
	for _, o := range list {
		domain := domainName(o.Domain)
		if v, ok := seen[domain]; ok && v != o.Version {
			return diag.New(diag.Malformed, "operator set %q is imported in versions %d and %d", domain, v, o.Version)
		}
		seen[domain] = o.Version
	}
	return nil
}

// domainName is a domain by its full name; ONNX's own may be left out.
func domainName(d string) string {
	if d == "" {
		return "ai.onnx"
	}
	return d
}

// functionID is what a call finds a function by.
type functionID struct{ domain, name, overload string }

func checkFunctions(m *Model) error {
	functions := map[functionID]*Function{}
	for i, f := range m.Functions {
		if f.Name == "" {
			return diag.New(diag.Malformed, "function %d has no name", i)
		}
		id := functionID{domainName(f.Domain), f.Name, f.Overload}
		if functions[id] != nil {
			return diag.New(diag.Malformed, "function %q of domain %q is defined twice", f.Name, id.domain)
		}
		functions[id] = f
	}
	for _, f := range m.Functions {
		if err := checkOpsets(f.OpsetImport); err != nil {
			return diag.As(err, diag.Malformed).At(f.Name, "")
		}
		if err := checkGraph(f.body(), func(string) bool { return false }); err != nil {
			return err
		}
	}
	return checkCalls(m.Functions, functions)
}

// body is a function as a graph, for the rules that hold for both.
func (f *Function) body() *Graph {
	g := &Graph{Name: f.Name, Nodes: f.Nodes}
	for _, name := range f.Inputs {
		g.Inputs = append(g.Inputs, &ValueInfo{Name: name})
	}
	for _, name := range f.Outputs {
		g.Outputs = append(g.Outputs, &ValueInfo{Name: name})
	}
	return g
}

// checkCalls looks for functions that call themselves, at once or through others: depth
// first, without recursion of its own.
func checkCalls(list []*Function, functions map[functionID]*Function) error {
	type frame struct {
		f     *Function
		calls []*Function
	}
	enter := func(f *Function) frame {
		var calls []*Function
		walkNodes(f.Nodes, func(n *Node) {
			if g := functions[functionID{domainName(n.Domain), n.OpType, n.Overload}]; g != nil {
				calls = append(calls, g)
			}
		})
		return frame{f, calls}
	}
	open, done := map[*Function]bool{}, map[*Function]bool{}
	for _, f := range list {
		if done[f] {
			continue
		}
		stack := []frame{enter(f)}
		open[f] = true
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.calls) == 0 {
				done[top.f], open[top.f] = true, false
				stack = stack[:len(stack)-1]
				continue
			}
			next := top.calls[0]
			top.calls = top.calls[1:]
			if open[next] {
				first := slices.IndexFunc(stack, func(s frame) bool { return s.f == next })
				var names []string
				for _, s := range stack[first:] {
					names = append(names, s.f.Name)
				}
				return diag.New(diag.Malformed, "function %q calls itself: %s", next.Name, someOf(append(names, next.Name), " calls ")).
					Hint("ONNX has no recursion; use Loop or Scan")
			}
			if !done[next] {
				open[next] = true
				stack = append(stack, enter(next))
			}
		}
	}
	return nil
}

// walkNodes visits nodes and those of the graphs in them.
func walkNodes(nodes []*Node, visit func(*Node)) {
	for _, n := range nodes {
		visit(n)
		for _, g := range n.graphs() {
			walkNodes(g.Nodes, visit)
		}
	}
}

// graphs are the subgraphs of a node.
func (n *Node) graphs() []*Graph {
	var out []*Graph
	for _, a := range n.Attributes {
		if a.G != nil {
			out = append(out, a.G)
		}
		out = append(out, a.Graphs...)
	}
	return out
}

// checkGraph checks a graph and those in it. outer says which names are visible from
// around it.
func checkGraph(g *Graph, outer func(string) bool) error {
	if err := checkInputs(g); err != nil {
		return err
	}
	if err := checkInitializers(g); err != nil {
		return err
	}
	if _, err := Order(g, outer); err != nil {
		return err
	}
	defined := defines(g)
	visible := func(name string) bool { return defined[name] != "" || outer(name) }
	for _, o := range g.Outputs {
		if o.Name == "" || !visible(o.Name) {
			return diag.New(diag.Malformed, "output %q of graph %q is not defined", o.Name, g.Name).
				Hint("the model lacks a node, an input or an initializer of that name")
		}
	}
	for _, n := range g.Nodes {
		if err := checkNode(n, visible); err != nil {
			return diag.As(err, diag.Malformed).At(n.Place(), n.OpType)
		}
	}
	return nil
}

func checkInputs(g *Graph) error {
	seen := map[string]bool{}
	for i, in := range g.Inputs {
		if in.Name == "" {
			return diag.New(diag.Malformed, "input %d of graph %q has no name", i, g.Name)
		}
		if seen[in.Name] {
			return diag.New(diag.Malformed, "two inputs of graph %q have the name %q", g.Name, in.Name)
		}
		seen[in.Name] = true
	}
	return nil
}

func checkInitializers(g *Graph) error {
	named, all := slices.Clone(g.Initializers), slices.Clone(g.Initializers)
	for _, s := range g.SparseInitializers {
		if s.Values == nil || s.Indices == nil {
			return diag.New(diag.Malformed, "a sparse initializer of graph %q lacks its values or indices", g.Name)
		}
		named = append(named, s.Values)
		all = append(all, s.Values, s.Indices)
	}
	seen := map[string]bool{}
	for _, t := range named {
		if t.Name == "" {
			return diag.New(diag.Malformed, "an initializer of graph %q has no name", g.Name)
		}
		if seen[t.Name] {
			return t.Errorf("there are two initializers of this name in graph %q", g.Name)
		}
		seen[t.Name] = true
	}
	for _, t := range all {
		if err := t.check(); err != nil {
			return err
		}
	}
	return nil
}

func checkNode(n *Node, visible func(string) bool) error {
	if n.OpType == "" {
		return diag.New(diag.Malformed, "the node has no operator")
	}
	seen := map[string]bool{}
	for _, a := range n.Attributes {
		if a.Name == "" {
			return diag.New(diag.Malformed, "an attribute has no name")
		}
		if seen[a.Name] {
			return diag.New(diag.Malformed, "attribute %q is given twice", a.Name)
		}
		seen[a.Name] = true
		tensors := slices.Clone(a.Tensors)
		if a.T != nil {
			tensors = append(tensors, a.T)
		}
		for _, t := range tensors {
			if err := t.check(); err != nil {
				return err
			}
		}
	}
	for _, g := range n.graphs() {
		if err := checkGraph(g, visible); err != nil {
			return err
		}
	}
	return nil
}

// check is what can be said of a tensor without reading its values.
func (t *Tensor) check() error {
	d, elems, size, err := t.size()
	if err != nil || t.DataLocation == locationExternal {
		return err
	}
	field, err := t.source(d, elems)
	if err == nil && field == rawData {
		_, err = t.local(d, elems, size)
	}
	return err
}
