// Package onnxgo makes pitopt a backend of github.com/owulveryck/onnx-go. A program that
// runs models through onnx-go with Gorgonia changes one line:
//
//	backend := gorgonnx.NewGraph()   // before
//	backend := onnxgo.NewGraph()     // after
//
// onnx-go decodes the model into the graph, operation by operation; the first Run compiles
// it, and runs are on the CPU. Shapes may change from run to run: a dim that comes with a
// second size becomes a symbol, so that a graph is compiled anew once for each such dim
// and not for each size.
//
// What onnx-go does not hand on can not be had here: names of dims, subgraphs, f16 and
// external data. [pitopt.Load] reads models with all of these. Operator sets are lost, too,
// and guessed: see [Graph.SetOpset]; and so are domains: an operator is ONNX's own or, if
// there is none of its name, of ai.onnx.ml.
//
// A program that also has a gorgonia.org/tensor newer than the v0.9.3 of this module needs
// go4.org/unsafe/assume-no-moving-gc v0.0.0-20231121144256-b99613f794b6 in its go.mod, for
// older versions of that end the program when it starts with a newer Go.
package onnxgo

import (
	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	frontend "github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

var _ backend.ComputationBackend = (*Graph)(nil)

// Graph is a backend for onnx.NewModel. The model's values are its nodes, and an edge
// leads from what an operation gives to what it takes, as onnx-go has it.
//
// As onnx-go's models, a graph is for one goroutine at a time.
type Graph struct {
	// The edges serve those who walk the graph. One that leads from a node to itself, or
	// again to the same node as in Mul(x, x), is not among them.
	*simple.WeightedDirectedGraph

	opts     []pitopt.Option
	opset    int64             // 0: to be guessed
	values   map[string]*value // by name
	nodes    []*wire.Node      // the operations so far
	inputs   []*Node           // of the operation that is being decoded
	err      error             // of SetWeightedEdge, which can not return it
	compiled *compiled         // by the last Run; nil when it does not hold any more
}

// NewGraph makes an empty graph. The options are those of [pitopt.Load]; without them the
// model is compiled with the pipeline that Load would choose.
func NewGraph(opts ...pitopt.Option) *Graph {
	return &Graph{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(0, 0), opts: opts, values: map[string]*value{}}
}

// SetOpset tells the set of ONNX's own operators that the model is of; 0 lets it be guessed
// again. onnx-go does not hand it on, so a guess is made from the form of the operations:
// how many inputs they have, and which attributes. It is the newest set up to 12 that all
// of them fit, else the oldest one after. 12 is the last set in which operators of one
// form mean what they mean to onnx-go's own backends; of those that most models have,
// Softmax, LogSoftmax and Hardmax changed in 13 (they are over one axis since then, the
// last one if none is given, and were over all from axis on, 1 if none is given).
//
// So a model of set 13 or newer needs SetOpset where it takes one of these over another
// axis than the last and has no operation whose form tells; one older than 7 where its
// PRelu has slopes by channel.
func (g *Graph) SetOpset(version int64) {
	g.opset = version
	_ = g.Close()
}

// Close gives up what the last Run compiled; the next one compiles it again. On the CPU
// that is memory alone, and a program made for Gorgonia, which has no such method, loses
// nothing by never calling it.
func (g *Graph) Close() error {
	c := g.compiled
	g.compiled = nil
	if c == nil {
		return nil
	}
	return c.model.Close()
}

// NewNode makes a node that is not in the graph yet. Its ID is the next one: onnx-go
// takes it that those of the inputs count from 0.
func (g *Graph) NewNode() graph.Node {
	return &Node{id: g.WeightedDirectedGraph.NewNode().ID(), graph: g, value: &value{}}
}

// SetWeightedEdge makes e.To an input of the operation that gives e.From, which is the one
// that ApplyOperation is called with next; the weight is the input's position. An operation
// with several results has each of its edges from each of them.
func (g *Graph) SetWeightedEdge(e graph.WeightedEdge) {
	to, ok := e.To().(*Node)
	i := e.Weight()
	if !ok || to == nil || i != float64(int(i)) || i < 0 || i > maxInputs {
		if g.err == nil {
			g.err = diag.New(diag.Malformed, "an edge to %T of weight %g is no input of an operation", e.To(), i).Hint("nodes come from NewNode, weights are positions")
		}
		return
	}
	for len(g.inputs) <= int(i) {
		g.inputs = append(g.inputs, nil)
	}
	g.inputs[int(i)] = to
	if e.From().ID() != to.ID() {
		g.WeightedDirectedGraph.SetWeightedEdge(e)
	}
}

// maxInputs bounds the position that an edge may claim.
const maxInputs = 1 << 20

// ApplyOperation adds an operation whose results are the nodes, and whose inputs are what
// edges led to since the last one. Whether there is such an operator is found out by Run,
// when all are known.
func (g *Graph) ApplyOperation(o onnx.Operation, results ...graph.Node) error {
	inputs := g.inputs
	g.inputs = nil
	n := &wire.Node{OpType: o.Name, Domain: frontend.DomainOf(o.Name)}
	for _, in := range inputs {
		name := ""
		if in != nil {
			name = in.value.name
			in.value.read = true
		}
		n.Inputs = append(n.Inputs, name)
	}
	for i, r := range results {
		node, ok := r.(*Node)
		if !ok || node == nil {
			return diag.New(diag.Malformed, "result %d of %s is a %T", i, o.Name, r).Hint("nodes come from NewNode")
		}
		node.value.computed = node.value.name != ""
		n.Outputs = append(n.Outputs, node.value.name)
	}
	attrs, err := attributes(o)
	if err != nil {
		return err
	}
	n.Attributes = attrs
	g.nodes = append(g.nodes, n)
	return g.Close()
}
