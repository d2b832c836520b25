package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/bench/protocol"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// models are real models on the inputs of their first case, but for the encoder that has groups of its own.
func models(b *bench, _ *group) ([]workload, error) {
	all, err := allModels(b)
	return slices.DeleteFunc(all, func(w workload) bool { return w.name == "minilm_l6" }), err
}

func allModels(b *bench) ([]workload, error) {
	list := [][2]string{}
	dirs, _ := filepath.Glob(filepath.Join(os.Getenv("PITOPT_MODELS"), "*", "model.onnx"))
	for _, d := range dirs {
		list = append(list, [2]string{"PITOPT_MODELS", filepath.Base(filepath.Dir(d))})
	}
	for _, name := range []string{"resnet50-ts", "vit-base-3l-ts", "lstm-tagger-ts"} {
		list = append(list, [2]string{"PITOPT_ZOO", name})
	}
	if b.quick {
		b.leave("models of $PITOPT_MODELS and $PITOPT_ZOO (-quick)")
		list = nil
	}
	var out []workload
	for _, m := range list {
		if file, ok := b.real(m[0], m[1]); ok {
			set := filepath.Join(filepath.Dir(file), "test_data_set_0")
			out = append(out, workload{name: m[1], model: file, profile: []string{"-inputs", set}, draw: func() (tensors, error) { return inputsOf(file, set) }})
		}
	}
	return out, nil
}

// inputsOf reads the inputs of a case.
func inputsOf(model, set string) (tensors, error) {
	f, err := wire.Open(model, wire.Limits{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := tensors{}
	n := 0
	for _, in := range f.Model.Graph.Inputs {
		if slices.ContainsFunc(f.Model.Graph.Initializers, func(t *wire.Tensor) bool { return t.Name == in.Name }) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(set, fmt.Sprintf("input_%d.pb", n)))
		if err != nil {
			return nil, err
		}
		t, err := wire.DecodeTensor(b)
		if err != nil {
			return nil, err
		}
		if out[in.Name], err = t.Tensor(nil); err != nil {
			return nil, err
		}
		n++
	}
	return out, nil
}

// decode makes token after token with a model that has a cache. In turn each engine makes some.
func decode(b *bench, g *group, threads int) error {
	const chunk = 64
	tokens, name := 2048, "llama-4l-decode-ts"
	if b.quick {
		b.leave("%s (-quick: there is no small decoder)", name)
		return nil
	}
	file, ok := b.real("PITOPT_ZOO", name)
	if !ok {
		return nil
	}
	s, words, err := sessionOf(file, tokens)
	if err != nil {
		return err
	}
	p, err := b.newPool(threads, append([]string{"pitopt"}, g.rivals...))
	if err != nil {
		return err
	}
	defer p.close()
	for _, e := range p.engines {
		for _, q := range []protocol.Request{{Op: "load", Model: "m", Path: file}, {Op: "session", Model: "m", Session: s}, {Op: "decode", Model: "m", N: 8}, {Op: "session", Model: "m", Session: s}} {
			if _, err := e.ask(q); err != nil {
				return err
			}
		}
		e.hold()
	}
	step := tokens / 4
	for from := 0; from < tokens; from += step {
		r := &result{Group: g.name, Name: fmt.Sprintf("%s, past %d to %d", name, from, from+step-1), Threads: threads, Samples: map[string][]float64{}}
		for at := from; at < from+step; at += chunk {
			for i := range p.engines {
				e := p.engines[i]
				if at/chunk%2 == 1 {
					e = p.engines[len(p.engines)-1-i]
				}
				ns, err := p.sample(e, protocol.Request{Op: "decode", Model: "m", N: chunk}, r)
				if err != nil {
					return err
				}
				r.Samples[e.key] = append(r.Samples[e.key], ns)
			}
		}
		if from == step {
			r.Profile, err = b.profileOf(threads, file, "-pipeline", b.statesFile(s), "-dim", "batch=1", "-dim", "seq=1", "-dim", fmt.Sprintf("%s=%d", s.Axis, from+step/2), "-dim", fmt.Sprintf("%s=%d", words, from+step/2+1))
			if err != nil {
				return err
			}
		}
		b.add(r)
	}
	return nil
}

// sessionOf finds the inputs and outputs of a decoder: what an output "present" of the same layer carries on.
// words is the dim of its mask.
func sessionOf(file string, tokens int) (s *protocol.Session, words string, err error) {
	f, err := wire.Open(file, wire.Limits{})
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	s = &protocol.Session{Token: "input_ids", Mask: "attention_mask", Capacity: tokens}
	for _, in := range f.Model.Graph.Inputs {
		d := in.Type.Tensor.Shape.Dims
		if in.Name == s.Mask {
			words = d[1].Param
		}
		rest, ok := strings.CutPrefix(in.Name, "past_key_values.")
		if !ok {
			continue
		}
		s.States = append(s.States, [2]string{in.Name, "present." + rest})
		s.Heads, s.Axis, s.Features = int(d[1].Value), d[2].Param, int(d[3].Value)
	}
	return s, words, nil
}

// statesFile writes a pipeline with the states of a session.
func (b *bench) statesFile(s *protocol.Session) string {
	text := "version = 1\nextends = \"default\"\n"
	for _, x := range s.States {
		text += fmt.Sprintf("[[state]]\nin = %q\nout = %q\naxis = %q\ncapacity = %d\n", x[0], x[1], s.Axis, s.Capacity)
	}
	file := filepath.Join(b.dir, "states.toml")
	_ = os.WriteFile(file, []byte(text), 0o666)
	return file
}

// roundRobin holds runs of several sizes one after the other against runs of each by itself.
func roundRobin(b *bench, g *group, threads int) error {
	file, ok := b.real("PITOPT_MODELS", "minilm_l6")
	sizes := [][2]int64{{1, 16}, {1, 128}, {2, 48}, {1, 9}, {4, 16}, {1, 64}, {3, 77}, {1, 32}}
	if b.quick {
		sizes = sizes[3:5]
	}
	if !ok {
		return nil
	}
	names, err := inputNames(file)
	if err != nil {
		return err
	}
	p, err := b.newPool(threads, []string{"pitopt"})
	if err != nil {
		return err
	}
	defer p.close()
	e := p.engines[0]
	if _, err := e.ask(protocol.Request{Op: "load", Model: "m", Path: file}); err != nil {
		return err
	}
	for i, s := range sizes {
		files, err := b.write(words(names, s[0], s[1], b.quick))
		if err != nil {
			return err
		}
		if _, err := p.prepare(e, "m", fmt.Sprint(i), files, preparing(len(sizes))); err != nil {
			return err
		}
	}
	r := &result{Group: g.name, Name: fmt.Sprintf("%d sizes", len(sizes)), Threads: threads, Samples: map[string][]float64{}}
	pass := func(key string, warm, n int) error {
		total := 0.
		for i := range sizes {
			ns, err := p.sample(e, protocol.Request{Op: "run", Model: "m", Set: fmt.Sprint(i), Warm: warm, N: n}, r)
			if err != nil {
				return err
			}
			total += ns
		}
		r.Samples[key] = append(r.Samples[key], total)
		return nil
	}
	for round := range max(b.fewest, b.most) {
		passes := []func() error{func() error { return pass("pitopt", 0, 1) }, func() error { return pass("single", 2, 3) }}
		if round%2 == 1 {
			slices.Reverse(passes)
		}
		for _, f := range passes {
			if err := f(); err != nil {
				return err
			}
		}
	}
	b.add(r)
	return nil
}
