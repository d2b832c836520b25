// Command gomlx runs models with onnx-gomlx on GoMLX's backend in pure Go, as the driver in the folder
// above says. It is a module of its own: what it needs is for nobody else.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gomlx/gomlx/backends"
	_ "github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	mlctx "github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/onnx-gomlx/onnx"
	"github.com/gomlx/onnx-gomlx/onnx/parser"
	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/bench/protocol"
	"github.com/pitopt/pitopt/core/tensor"
	pitonnx "github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// model is a model that was loaded, with inputs and results by set.
type model struct {
	onnx.Model
	exec *mlctx.Exec
	in   map[string][]any
	out  map[string][]*tensors.Tensor
}

type worker struct {
	backend backends.Backend
	models  map[string]*model
}

func main() {
	out := os.Stdout
	os.Stdout = os.Stderr // what libraries print
	w := &worker{models: map[string]*model{}}
	var err error
	if w.backend, err = backends.NewWithConfig("go"); err == nil { // as many workers as it has cores
		err = protocol.Serve(os.Stdin, out, "onnx-gomlx 0.4.2 on GoMLX's backend in Go", w.do)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (w *worker) do(r *protocol.Request) (a protocol.Answer, err error) {
	defer func() { // the library tells errors by panics
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
	}()
	if r.Op == "load" {
		start := time.Now()
		m, err := w.load(r.Path)
		if err != nil {
			return a, err
		}
		w.models[r.Model] = m
		a.NS = time.Since(start).Nanoseconds()
		return a, nil
	}
	m := w.models[r.Model]
	if m == nil {
		return a, fmt.Errorf("%s: there is no model %q", r.Op, r.Model)
	}
	switch r.Op {
	case "inputs":
		return a, m.inputs(r.Set, r.Files)
	case "run":
		sets := append([]string{r.Set}, r.More...)
		if _, err := m.run(sets, r.Warm); err != nil {
			return a, err
		}
		a.NS, err = m.run(sets, r.N)
		return a, err
	case "write":
		a.Outputs, err = m.write(r.Set, r.Dir)
		return a, err
	case "drop":
		delete(w.models, r.Model)
		return a, nil
	}
	return a, fmt.Errorf("there is no request %q", r.Op)
}

// simpler writes a model as pitopt does before it lowers it. onnx-gomlx broadcasts no scalars where
// exporters compute shapes, and has no Flatten of all dims, which is a Reshape here.
func simpler(path string) ([]byte, error) {
	p, err := pitopt.Load(path, pitopt.GraphLevel(), pitopt.Target("interp"))
	if err != nil {
		return nil, err
	}
	defer p.Close()
	b, err := pitonnx.Export(p.Module())
	if err != nil {
		return nil, err
	}
	m, err := wire.Decode(b, wire.Limits{})
	if err != nil {
		return nil, err
	}
	ranks := map[string]int{}
	for _, in := range m.Graph.Inputs {
		ranks[in.Name] = len(in.Type.Tensor.Shape.Dims)
	}
	for _, n := range m.Graph.Nodes {
		if n.OpType == "Cast" {
			ranks[n.Outputs[0]] = ranks[n.Inputs[0]]
		}
		if n.OpType != "Flatten" || len(n.Attributes) != 1 || ranks[n.Inputs[0]] == 0 || n.Attributes[0].I != int64(ranks[n.Inputs[0]]) {
			continue
		}
		shape := wire.NewTensor(n.Outputs[0]+"_shape", tensor.Of([]int64{-1, 1}, 2))
		m.Graph.Initializers = append(m.Graph.Initializers, shape)
		n.OpType, n.Inputs, n.Attributes = "Reshape", append(n.Inputs, shape.Name), nil
	}
	return wire.Encode(m), nil
}

func (w *worker) load(path string) (*model, error) {
	b, err := simpler(path)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(b)
	if err != nil {
		return nil, err
	}
	m := &model{Model: parsed, in: map[string][]any{}, out: map[string][]*tensors.Tensor{}}
	ctx := mlctx.New()
	if err := m.VariablesToContext(ctx); err != nil {
		return nil, err
	}
	names, _ := m.Inputs()
	m.exec, err = mlctx.NewExecAny(w.backend, ctx, func(ctx *mlctx.Context, in []*graph.Node) []*graph.Node {
		byName := map[string]*graph.Node{}
		for i, n := range names {
			byName[n] = in[i]
		}
		return m.CallGraph(ctx, in[0].Graph(), byName)
	})
	return m, err
}

func (m *model) inputs(set string, files map[string]string) error {
	names, _ := m.Inputs()
	var in []any
	for _, n := range names {
		f, err := os.Open(files[n])
		if err != nil {
			return err
		}
		t, err := tensor.ReadNPY(f, 1<<32)
		f.Close()
		if err != nil {
			return err
		}
		dims := make([]int, t.Rank())
		for i, d := range t.Shape() {
			dims[i] = int(d)
		}
		switch t.DType() {
		case tensor.I64:
			in = append(in, tensors.FromFlatDataAndDimensions(tensor.Data[int64](t), dims...))
		case tensor.F32:
			in = append(in, tensors.FromFlatDataAndDimensions(tensor.Data[float32](t), dims...))
		default:
			return fmt.Errorf("input %q is %s", n, t.DType())
		}
	}
	m.in[set] = in
	return nil
}

func (m *model) run(sets []string, n int) (int64, error) {
	start := time.Now()
	for range n {
		for _, set := range sets {
			for _, t := range m.out[set] {
				t.FinalizeAll()
			}
			var err error
			if m.out[set], err = m.exec.Exec(m.in[set]...); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(start).Nanoseconds(), nil
}

func (m *model) write(set, dir string) (int, error) {
	for i, t := range m.out[set] {
		data, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return 0, err
		}
		shape := []int64{}
		for _, d := range t.Shape().Dimensions {
			shape = append(shape, int64(d))
		}
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)+".npy"))
		if err != nil {
			return 0, err
		}
		if err := tensor.WriteNPY(f, tensor.Of(data, shape...)); err != nil {
			return 0, err
		}
		if err := f.Close(); err != nil {
			return 0, err
		}
	}
	return len(m.out[set]), nil
}
