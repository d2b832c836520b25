package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// mixture is a layer of experts: of an export of a real architecture, where it is cut out
// between two values, or the whole graph. The weights of each are hidden*inner numbers, matrices of
// them for an expert.
type mixture struct {
	graph                  string
	from, to               string // "": it is the whole graph
	hidden, inner, experts int64
	chosen, matrices       int64 // experts for a token; matrices of an expert
	most                   int64 // tokens of an expert; 0: any number
	rank                   int   // of tokens
}

const switchIn, switchOut = "/m/encoder/block.1/layer.1/layer_norm/Mul_1_output_0", "/m/encoder/block.1/layer.1/mlp/Reshape_3_output_0"

// dense are mixtures whose experts all get every token; in gathered ones each gets its own.
var (
	denseMixtures = []mixture{
		{"moe-dense-top1-ts", "", "", 768, 2048, 8, 1, 2, 0, 3},
		{"moe-dense-top2-ts", "", "", 768, 2048, 8, 2, 2, 0, 3},
		{"moe-gshard-dyn", "", "", 768, 3072, 8, 1, 2, 32, 3},
		{"switch-8-masked-ts", switchIn, switchOut, 768, 512, 8, 1, 2, 64, 3},
	}
	gatheredMixtures = []mixture{
		{"moe-script-ts", "", "", 256, 512, 8, 1, 2, 0, 2},
		{"switch-8-allexperts-ts", switchIn, switchOut, 768, 3072, 8, 1, 2, 64, 3},
		{"switch-8-boolput-dyn", "mul_40", "view_12", 768, 512, 8, 1, 2, 64, 3},
		{"switch-16-allexperts-dyn", "mul_40", "view_28", 768, 1024, 16, 1, 2, 64, 3},
		{"switch-64-allexperts-ts", switchIn, switchOut, 768, 256, 64, 1, 2, 64, 3},
		{"mixtral-1l-allexperts-dyn", "mul_97", "view_16", 512, 1792, 8, 2, 3, 0, 3},
		{"mixtral-1l-groupedmm-hf", "mul_54", "view_14", 512, 1792, 8, 2, 3, 0, 3},
	}
)

// mixtures are layers of experts over numbers of tokens.
func mixtures(b *bench, _ *group) ([]workload, error) {
	tokens := []int64{16, 128, 512}
	if b.quick {
		tokens = []int64{9}
	}
	var out []workload
	for _, k := range []int64{1, 2} {
		x := mixture{fmt.Sprintf("com.microsoft.MoE, top-%d", k), "", "", 768, 2048, 8, k, 2, 0, 2}
		if b.quick {
			x.hidden, x.inner, x.experts = 32, 48, 4
		}
		file, err := b.contrib(x)
		if err != nil {
			return nil, err
		}
		out = append(out, x.over(tokens, file, "x")...)
	}
	for _, x := range slices.Concat(denseMixtures, gatheredMixtures) {
		if b.quick {
			b.leave("%s (-quick: it has none as small)", x.graph)
			continue
		}
		file, ok := b.real("PITOPT_ZOO", x.graph)
		if !ok {
			continue
		}
		in := []string{"x"}
		if x.from != "" {
			var err error
			if file, in, err = b.cut(file, x); err != nil {
				return nil, err
			}
		}
		out = append(out, x.over(tokens, file, in...)...)
	}
	return out, nil
}

// over are the workloads of a layer. What it reads beside the tokens are words, of which their number counts.
func (x mixture) over(tokens []int64, file string, in ...string) (out []workload) {
	for _, n := range tokens {
		rows := n * x.chosen
		if x.most > 0 {
			rows = min(rows, x.experts*x.most)
		}
		dims := []int64{1, n, x.hidden}[3-x.rank:]
		one := float64(x.hidden * x.inner * x.matrices)
		var active func(*tensor.Tensor) float64
		if x.most > 0 { // tokens beyond that come back as zeros
			active = func(out *tensor.Tensor) float64 { return 2 * one * float64(kept(out)) }
		}
		out = append(out, workload{name: fmt.Sprintf("%s, %d tokens", x.graph, n), model: file,
			flops: 2 * one * float64(rows), bytes: 4 * one * float64(min(x.experts, rows)), active: active,
			draw: func() (tensors, error) {
				all := words(in[1:], 1, n, true)
				all[in[0]] = normal(rand.New(rand.NewPCG(7, 8)), 1, dims...)
				return all, nil
			}})
	}
	return out
}

// kept counts rows with anything but zeros.
func kept(t *tensor.Tensor) (n int) {
	shape, data := t.Shape(), tensor.Data[float32](t)
	for width := int(shape[len(shape)-1]); len(data) > 0; data = data[width:] {
		if slices.ContainsFunc(data[:width], func(v float32) bool { return v != 0 }) {
			n++
		}
	}
	return n
}

// contrib writes a layer as ONNX Runtime has it.
func (b *bench) contrib(m mixture) (string, error) {
	x := newBuilder()
	x.input("x", tensor.F32, "n", int(m.hidden))
	x.node("MatMul", "router", []string{"x", x.weights("wr", m.hidden, m.experts)})
	x.node("MoE", "y", []string{"x", "router", x.weights("w1", m.experts, m.inner, m.hidden), "", x.weights("w2", m.experts, m.hidden, m.inner)},
		integer("k", m.chosen), integer("normalize_routing_weights", m.chosen-1))
	x.output("y", "n", int(m.hidden))
	return b.save(fmt.Sprintf("moe-%d", m.chosen), x)
}

// cut writes what a model computes between two values as a model, and tells its inputs.
func (b *bench) cut(file string, x mixture) (out string, in []string, err error) {
	f, err := wire.Open(file, wire.Limits{})
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	g := f.Model.Graph
	by := map[string]*wire.Node{}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			by[o] = n
		}
	}
	nodes, read := map[*wire.Node]bool{}, map[string]bool{}
	var need func(name string)
	need = func(name string) {
		if read[name] {
			return
		}
		read[name] = true
		if n := by[name]; n != nil && name != x.from {
			nodes[n] = true
			for _, i := range n.Inputs {
				need(i)
			}
		}
	}
	if need(x.to); !read[x.from] || by[x.to] == nil {
		return "", nil, fmt.Errorf("%s: %s is not computed from %s", file, x.to, x.from)
	}
	part := &wire.Graph{Name: x.graph, Inputs: []*wire.ValueInfo{info(x.from, tensor.F32, []dim{"batch", "seq", int(x.hidden)})},
		Outputs: []*wire.ValueInfo{info(x.to, tensor.F32, []dim{"batch", "seq", int(x.hidden)})}}
	for _, n := range g.Nodes {
		if nodes[n] {
			part.Nodes = append(part.Nodes, n)
		}
	}
	data := map[string]bool{}
	for _, t := range g.Initializers {
		if !read[t.Name] {
			continue
		}
		part.Initializers = append(part.Initializers, t)
		for _, e := range t.ExternalData {
			if e.Key == "location" {
				data[e.Value] = true
			}
		}
	}
	in = []string{x.from}
	for _, i := range g.Inputs { // of which the sizes are read
		if read[i.Name] {
			part.Inputs, in = append(part.Inputs, i), append(in, i.Name)
		}
	}
	dir, err := os.MkdirTemp(b.dir, x.graph)
	if err != nil {
		return "", nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(data)) { // engines take no data from elsewhere
		content, err := os.ReadFile(filepath.Join(filepath.Dir(file), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), content, 0o666)
		}
		if err != nil {
			return "", nil, err
		}
	}
	out = filepath.Join(dir, "model.onnx")
	m := &wire.Model{IRVersion: f.Model.IRVersion, ProducerName: "pitopt bench", Graph: part, OpsetImport: f.Model.OpsetImport, Functions: f.Model.Functions}
	return out, in, os.WriteFile(out, wire.Encode(m), 0o666)
}

// ofBound is pitopt's time in what arithmetic, or reading the weights once, takes at least.
func ofBound(r *result) (out []float64) {
	bound := max(r.Flops/r.Values["peak"], r.Bytes/r.Values["bandwidth"]) * 1e9
	for _, ns := range r.Samples["pitopt"] {
		out = append(out, ns/bound)
	}
	return out
}

// showMixtures shows times beside what they are at least.
func showMixtures(say sayer, list []*result) {
	say("The layer alone: routing, experts, and what puts tokens back. The bound is the arithmetic of the experts that tokens go to at the peak that")
	say("is measured beside, or reading the weights of these once, whichever takes longer. Dense spellings give every expert every token. Tokens that")
	say("a full expert drops, which come back as zeros, are not counted.\n")
	say("| layer | pitopt | ONNX Runtime | ratio | bound | pitopt's time in the bound |\n|---|---|---|---|---|---|")
	for _, r := range list {
		if f := r.Failed["pitopt"]; f != "" {
			say("| %s | %s | | | | |", r.Name, strings.ReplaceAll(f, "\n", " "))
			continue
		}
		rival, ratio := r.against("ort")
		x := ofBound(r)
		say("| %s | %s | %s | %s | %s | %s |", r.Name, duration(median(r.Samples["pitopt"])), rival, ratio, duration(median(r.Samples["pitopt"])/median(x)), medianOf(x))
	}
	say("")
}

// ofMixtures chooses layers of a list over at least so many tokens.
func ofMixtures(list []mixture, least int) func(*result) bool {
	return func(r *result) bool {
		name, rest, _ := strings.Cut(r.Name, ", ")
		n := 0
		_, _ = fmt.Sscanf(rest, "%d tokens", &n)
		return n >= least && slices.ContainsFunc(list, func(x mixture) bool { return x.graph == name })
	}
}
