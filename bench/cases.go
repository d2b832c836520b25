package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// group is workloads that one table shows.
type group struct {
	name    string
	title   string
	rivals  []string
	threads []int // nil: those that are asked for
	run     func(b *bench, g *group, threads int) error
	show    func(say sayer, list []*result) // nil: as a table of times
	series  []series                        // what its plot has; nil: ratios of rivals' times
	unit    string                          // of that; "": time
	sparse  bool                            // it is shown in sparsity.md
}

// groups in the order in which they are measured and shown.
var groups []*group

func init() {
	groups = []*group{
		{name: "products", title: "Products with constant weights", rivals: []string{"ort", "openvino"}, run: listed(products)},
		{name: "encoders", title: "Encoders", rivals: []string{"ort", "ort-opt", "openvino"}, run: listed(encoders)},
		{name: "attention", title: "Attention", rivals: []string{"ort"}, run: listed(attention)},
		{name: "memory", title: "Memory of attention by length", rivals: []string{"ort"}, threads: []int{1}, run: memoryBySeq, show: showMemory, series: []series{{"ort", "ONNX Runtime", values("ort memory", "pitopt memory")}}, unit: "memory"},
		{name: "masks", title: "Attention with masks", rivals: []string{"ort"}, run: listed(masks), show: showMasks, series: ratiosTo("ort", "unmasked"), sparse: true},
		{name: "elementwise", title: "Chains of elementwise operators", rivals: []string{"ort", "openvino"}, run: listed(elementwise)},
		{name: "norms", title: "Normalisation and softmax", rivals: []string{"ort", "openvino"}, run: listed(normalisations)},
		{name: "decode", title: "Decoding in a session", rivals: []string{"ort"}, run: decode},
		{name: "models", title: "Other models", rivals: []string{"ort", "openvino"}, run: listed(models)},
		{name: "roundrobin", title: "Sizes in turn", threads: []int{1}, run: roundRobin},
		{name: "first", title: "First result from the file, and memory", rivals: []string{"ort", "openvino"}, threads: []int{1}, run: firstResults, show: showFirst},
		{name: "binary", title: "Size of the executable", threads: []int{1}, run: binarySize, show: showBinary},
		{name: "sparsity", title: "Products with blocks of zeros", rivals: sparsePeers, threads: []int{1}, run: listed(sparsity(zeroBlocks)), show: showSparsity, series: ratiosTo(append([]string{"dense"}, sparsePeers...)...), sparse: true},
		{name: "zeros", title: "Products with rows of zeros, and with single ones", rivals: sparsePeers, threads: []int{1}, run: listed(sparsity(zeroRows)), show: showSparsity, series: ratiosTo(append([]string{"dense"}, sparsePeers...)...), sparse: true},
		{name: "zeromodels", title: "Models with zeros", rivals: []string{"ort"}, run: listed(zeroModels), show: showZeroModels, series: ratiosTo("ort", "dense"), sparse: true},
		{name: "training", title: "Training with masks", threads: []int{1}, run: trainMasked, show: showTraining, sparse: true},
		{name: "experts", title: "Mixtures of experts", rivals: []string{"ort"}, run: listed(mixtures), show: showMixtures, sparse: true},
		{name: "ragged", title: "Padded batches", rivals: []string{"ort"}, run: ragged, show: showRagged, series: paddedWays, sparse: true},
		{name: "avx2", title: "The AVX2 tier", rivals: []string{"ort"}, threads: []int{1}, run: listed(products, "PITOPT_CPU=avx2")},
		{name: "portable", title: "The portable tier", rivals: []string{"gomlx"}, threads: []int{1}, run: listed(sentences, "PITOPT_CPU=portable")},
	}
}

// listed runs the workloads of a list.
func listed(list func(*bench, *group) ([]workload, error), env ...string) func(*bench, *group, int) error {
	return func(b *bench, g *group, threads int) error {
		all, err := list(b, g)
		if err != nil {
			return err
		}
		if b.match != nil {
			all = slices.DeleteFunc(all, func(w workload) bool { return !b.match.MatchString(w.name) })
		}
		for i := range all {
			all[i].group = g.name
		}
		p, err := b.newPool(threads, append([]string{"pitopt"}, g.rivals...), env...)
		if err != nil {
			return err
		}
		defer p.close()
		return p.run(all)
	}
}

// save writes a model that a builder made.
func (b *bench) save(name string, x *builder) (string, error) {
	file := filepath.Join(b.dir, name+".onnx")
	return file, os.WriteFile(file, x.encode(), 0o666)
}

// products are [m, k] x [k, n] with constant weights.
func products(b *bench, _ *group) ([]workload, error) {
	rows := []int64{1, 8, 64, 128, 512}
	sizes := [][2]int64{{768, 768}, {768, 3072}, {3072, 768}, {384, 384}, {384, 1536}}
	if b.quick {
		rows, sizes = []int64{1, 5}, [][2]int64{{64, 96}}
	}
	var out []workload
	add := func(k, n int64, rows []int64) error {
		x := newBuilder()
		x.input("a", tensor.F32, "m", int(k))
		x.node("MatMul", "c", []string{"a", x.weights("w", k, n)})
		x.output("c", "m", int(n))
		file, err := b.save(fmt.Sprintf("product-%dx%d", k, n), x)
		for _, m := range rows {
			out = append(out, workload{name: fmt.Sprintf("%d x (%d x %d)", m, k, n), model: file,
				flops: 2 * float64(m) * float64(k) * float64(n), bytes: 4 * float64(m*k+k*n+m*n),
				draw: func() (tensors, error) { return tensors{"a": normal(rand.New(rand.NewPCG(7, 8)), 1, m, k)}, nil }})
		}
		return err
	}
	for _, s := range sizes {
		if err := add(s[0], s[1], rows); err != nil {
			return nil, err
		}
	}
	if !b.quick {
		return out, add(1024, 1024, []int64{1024})
	}
	return out, nil
}

// real finds a model of a folder of test cases; where there is none, that is said and left out. In
// a hurry a small encoder stands for all of them.
func (b *bench) real(variable, name string) (string, bool) {
	if b.quick {
		b.leave("%s (-quick: a small encoder stands for it)", name)
		return filepath.Join(b.root, "examples", "encoder", "model.onnx"), true
	}
	dir := os.Getenv(variable)
	file := filepath.Join(dir, name, "model.onnx")
	if dir != "" {
		if _, err := os.Stat(file); err == nil {
			return file, true
		}
	}
	b.leave("%s ($%s has no such model)", name, variable)
	return "", false
}

// encoders are sentence encoders over batches and lengths, each by one executable.
func encoders(b *bench, _ *group) ([]workload, error) {
	batches, lengths := []int64{1, 8}, []int64{16, 64, 128, 512}
	models := [][2]string{{"PITOPT_MODELS", "minilm_l6"}, {"PITOPT_ZOO", "bert-base-4l-ts"}}
	if b.quick {
		batches, lengths, models = []int64{2}, []int64{9}, models[:1]
	}
	var out []workload
	for _, m := range models {
		file, ok := b.real(m[0], m[1])
		if !ok {
			continue
		}
		names, err := inputNames(file)
		if err != nil {
			return nil, err
		}
		for _, n := range batches {
			for _, l := range lengths {
				w := workload{name: fmt.Sprintf("%s, %d x %d", m[1], n, l), model: file, draw: func() (tensors, error) { return words(names, n, l, b.quick), nil }}
				if n == 1 && (l == 16 || l == 128) {
					w.profile = []string{"-dim", fmt.Sprint("batch=", n), "-dim", fmt.Sprint("seq=", l)}
				}
				out = append(out, w)
			}
		}
	}
	return out, nil
}

func inputNames(file string) ([]string, error) {
	f, err := wire.Open(file, wire.Limits{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	for _, i := range f.Model.Graph.Inputs {
		out = append(out, i.Name)
	}
	return out, nil
}

// words are ids of a batch of sentences, all of one length, with the other inputs of an encoder.
func words(names []string, batch, length int64, small bool) tensors {
	r := rand.New(rand.NewPCG(9, 10))
	out := tensors{}
	for _, name := range names {
		t := tensor.New(tensor.I64, batch, length)
		for i := range batch * length {
			switch {
			case name == "attention_mask":
				t.SetInt(i, 1)
			case name == "input_ids" && small:
				t.SetInt(i, r.Int64N(50))
			case name == "input_ids":
				t.SetInt(i, 1000+r.Int64N(7000)) // all of them have 8,192 words
			}
		}
		out[name] = t
	}
	return out
}

// sentences are some of the encoder that needs nothing but the basic operators.
func sentences(b *bench, g *group) ([]workload, error) {
	all, err := encoders(b, g)
	keep := []string{"minilm_l6, 1 x 16", "minilm_l6, 1 x 64", "minilm_l6, 1 x 128", "minilm_l6, 8 x 16", "minilm_l6, 2 x 9"}
	all = slices.DeleteFunc(all, func(w workload) bool { return !slices.Contains(keep, w.name) })
	for i := range all {
		all[i].profile = nil
	}
	return all, err
}
