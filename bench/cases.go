package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

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
}

// groups in the order in which they are measured and shown.
var groups = []*group{
	{name: "products", title: "Products with constant weights", rivals: []string{"ort", "openvino"}, run: listed(products)},
	{name: "encoders", title: "Encoders", rivals: []string{"ort", "ort-opt", "openvino"}, run: listed(encoders)},
}

// listed runs the workloads of a list.
func listed(list func(*bench, *group) ([]workload, error)) func(*bench, *group, int) error {
	return func(b *bench, g *group, threads int) error {
		all, err := list(b, g)
		if err != nil {
			return err
		}
		for i := range all {
			all[i].group = g.name
		}
		p, err := b.newPool(threads, append([]string{"pitopt"}, g.rivals...))
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

// real finds a model of a folder of test cases; where there is none, that is said and left out.
func (b *bench) real(variable, name string) (string, bool) {
	dir := os.Getenv(variable)
	file := filepath.Join(dir, name, "model.onnx")
	if dir != "" {
		if _, err := os.Stat(file); err == nil {
			return file, true
		}
	}
	b.say("left out: %s ($%s has no such model)", name, variable)
	return "", false
}

// encoders are sentence encoders over batches and lengths, each by one executable.
func encoders(b *bench, _ *group) ([]workload, error) {
	batches, lengths := []int64{1, 8}, []int64{16, 64, 128, 512}
	models := [][2]string{{"PITOPT_MODELS", "minilm_l6"}, {"PITOPT_ZOO", "bert-base-4l-ts"}}
	if b.quick {
		batches, lengths = []int64{2}, []int64{9}
	}
	var out []workload
	for _, m := range models {
		file, ok := b.real(m[0], m[1])
		if b.quick {
			file, ok = filepath.Join(b.root, "examples", "encoder", "model.onnx"), m == models[0]
		}
		if !ok {
			continue
		}
		names, err := inputNames(file)
		if err != nil {
			return nil, err
		}
		for _, n := range batches {
			for _, l := range lengths {
				out = append(out, workload{name: fmt.Sprintf("%s, %d x %d", m[1], n, l), model: file,
					draw: func() (tensors, error) { return words(names, n, l, b.quick), nil }})
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
