package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/runtime"
)

// zeroModels are real models in which zeros come up, or are asked for: activations behind ReLU, weights under masks that
// change from step to step, and each of the models that may have none.
func zeroModels(b *bench, _ *group) (out []workload, err error) {
	if b.quick {
		b.leave("models with zeros (-quick: there is no small one)")
		return nil, nil
	}
	add := func(variable, model, name string, draw func(file string, r *rand.Rand) (tensors, error)) error {
		file, ok := b.real(variable, model)
		if !ok {
			return nil
		}
		plain, err := b.without(file, "pit")
		if err != nil {
			return err
		}
		// Two streams of the same numbers: one for the model, one for what it is held against.
		one, other := rand.New(rand.NewPCG(7, 7)), rand.New(rand.NewPCG(7, 7))
		out = append(out, workload{name: name, model: file, fresh: 3, draw: func() (tensors, error) { return draw(file, one) },
			base: &base{name: "dense", model: plain, draw: func() (tensors, error) { return draw(file, other) }},
			values: func() map[string]float64 {
				return map[string]float64{"share": productsAlone(file, plain, func() (tensors, error) { return draw(file, one) })}
			}})
		return nil
	}
	for _, m := range []struct {
		model string
		sizes map[string]int64
	}{
		{"opt-125m-4l-decode-ts", map[string]int64{"seq": 1, "past_seq": 128}},
		{"opt-125m-4l-prefill-ts", map[string]int64{"seq": 64}},
	} {
		what := fmt.Sprintf("%s, %d tokens", m.model, m.sizes["seq"])
		if past := m.sizes["past_seq"]; past > 0 {
			what += fmt.Sprintf(" past %d", past)
		}
		err = add("PITOPT_ZOO", m.model, what, func(file string, r *rand.Rand) (tensors, error) { return drawText(file, m.sizes, r) })
		if err != nil {
			return nil, err
		}
	}
	for _, p := range []zeroPattern{{rows: 32, cols: 64}, {rows: 32, cols: 1}} {
		for _, left := range []float64{.1, .05} {
			name := fmt.Sprintf("train-masked-mlp-dyn, weights %dx%d, %g %% zeros", p.rows, p.cols, 100-100*left)
			err = add("PITOPT_ZOO", "train-masked-mlp-dyn", name, func(file string, r *rand.Rand) (tensors, error) { return drawStep(file, p, left, r) })
			if err != nil {
				return nil, err
			}
		}
	}
	all, err := allModels(b)
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		plain, err := b.without(w.model, "pit")
		if err != nil {
			return nil, err
		}
		out = append(out, workload{name: w.name, model: w.model, draw: w.draw, base: &base{name: "dense", model: plain, draw: w.draw}})
	}
	return out, nil
}

// productsAlone is how many times as long products take with all their terms as where some are left out, those alone which leave
// some out, by the time lines of calls of a model and of the same without the pass; 0 where there are none.
func productsAlone(file, plain string, draw func() (tensors, error)) float64 {
	const calls = 9
	var times [2]map[string][]float64 // of a stage
	in, err := draw()
	if err != nil {
		return 0
	}
	skips := map[string]bool{}
	for i, path := range []string{file, plain} {
		times[i] = map[string][]float64{}
		m, err := pitopt.Load(path, pitopt.Threads(1))
		if err != nil {
			return 0
		}
		defer m.Close()
		for range calls {
			t := runtime.NewTimeline()
			if _, err := m.Run(runtime.Record(context.Background(), t), in); err != nil {
				return 0
			}
			spans, _ := t.Spans()
			for _, s := range spans {
				if s.Work == nil {
					continue
				}
				stage := s.Work.Node + " " + s.Work.Stages
				times[i][stage] = append(times[i][stage], float64(s.Took))
				if s.Work.Zeros != nil && !strings.HasPrefix(s.Work.Zeros.Way, "dense") {
					skips[stage] = true
				}
			}
		}
	}
	took := [2]float64{}
	for stage := range skips {
		if len(times[1][stage]) > 0 {
			took[0], took[1] = took[0]+median(times[0][stage]), took[1]+median(times[1][stage])
		}
	}
	if took[0] == 0 {
		return 0
	}
	return took[1] / took[0]
}

// without is a copy of a model beside which a pipeline stands that leaves a pass out.
func (b *bench) without(file, pass string) (string, error) {
	from := filepath.Dir(file)
	dir := filepath.Join(b.dir, "without-"+pass, filepath.Base(from))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	parts, err := filepath.Glob(filepath.Join(from, "model.onnx*")) // and the data beside it
	if err != nil {
		return "", err
	}
	for _, part := range parts {
		if err := copyFile(filepath.Join(dir, filepath.Base(part)), part); err != nil {
			return "", err
		}
	}
	text := fmt.Sprintf("version = 1\nextends = \"default\"\n[[pass]]\nname = %q\nremove = true\n", pass)
	return filepath.Join(dir, "model.onnx"), os.WriteFile(filepath.Join(dir, "pipeline.toml"), []byte(text), 0o666)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// drawText draws tokens, caches that were filled, and a mask of ones, for one text. Sizes are those of dims with these names;
// a dim that joins two of them is their sum, and the batch is one.
func drawText(file string, sizes map[string]int64, r *rand.Rand) (tensors, error) {
	shapes, err := shapesOf(file, func(dim string, at int) int64 {
		switch n, ok := sizes[dim]; {
		case ok:
			return n
		case at == 0:
			return 1
		}
		return sizes["seq"] + sizes["past_seq"] // all positions
	})
	if err != nil {
		return nil, err
	}
	out := tensors{}
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		shape := shapes[name]
		switch name {
		case "input_ids", "attention_mask":
			t := tensor.New(tensor.I64, shape...)
			for i := range t.Len() {
				if t.SetInt(i, 1); name == "input_ids" {
					t.SetInt(i, r.Int64N(1000))
				}
			}
			out[name] = t
		default:
			out[name] = normal(r, 1, shape...)
		}
	}
	return out, nil
}

// shapesOf are the shapes of a model's inputs, whose dims without a number have what size says of their name and place.
func shapesOf(file string, size func(dim string, at int) int64) (map[string][]int64, error) {
	f, err := wire.Open(file, wire.Limits{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string][]int64{}
	for _, in := range f.Model.Graph.Inputs {
		shape := []int64{}
		for i, d := range in.Type.Tensor.Shape.Dims {
			if d.HasValue {
				shape = append(shape, d.Value)
			} else {
				shape = append(shape, size(d.Param, i))
			}
		}
		out[in.Name] = shape
	}
	return out, nil
}

// drawStep draws what a training step of 256 rows takes: masks leave a part of the blocks of weights.
func drawStep(file string, p zeroPattern, left float64, r *rand.Rand) (tensors, error) {
	shapes, err := shapesOf(file, func(string, int) int64 { return 256 })
	if err != nil {
		return nil, err
	}
	out := tensors{}
	for _, name := range slices.Sorted(maps.Keys(shapes)) { // the same numbers in the same order
		shape := shapes[name]
		if name != "mask1" && name != "mask2" {
			out[name] = normal(r, .05, shape...)
			continue
		}
		out[name] = drawMask(p, left, r, shape)
	}
	return out, nil
}

// drawMask draws a mask of ones that leaves a part of the blocks.
func drawMask(p zeroPattern, left float64, r *rand.Rand, shape []int64) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	for i := int64(0); i < shape[0]; i += p.rows {
		for j := int64(0); j < shape[1]; j += p.cols {
			if r.Float64() >= left {
				continue
			}
			for y := i; y < min(i+p.rows, shape[0]); y++ {
				for x := j; x < min(j+p.cols, shape[1]); x++ {
					tensor.Data[float32](t)[y*shape[1]+x] = 1
				}
			}
		}
	}
	return t
}

// showZeroModels shows times beside those of a pipeline without the pass.
func showZeroModels(say sayer, list []*result) {
	say("Whole models, with the pass pit and without it (dense). OPT has zeros behind its ReLU (the share that its exporter gave it); the training step multiplies its weights by masks, which")
	say("are drawn for each step. The others have few zeros, or none, and show what looking for them costs.\n")
	say("Its products alone are those of which terms were left out, against the same with all terms, by time lines.\n")
	say("| model | pitopt | ONNX Runtime | ratio | dense | ratio | its products alone | error |\n|---|---|---|---|---|---|---|---|")
	for _, r := range list {
		if f := r.Failed["pitopt"]; f != "" {
			say("| %s | %s | | | | | | |", r.Name, f)
			continue
		}
		rival, ratio := r.against("ort")
		alone := ""
		if x := r.Values["share"]; x > 0 {
			alone = fmt.Sprintf("%.2f", x)
		}
		say("| %s | %s | %s | %s | %s | %s | %s | %.1e |", r.Name, duration(median(r.Samples["pitopt"])), rival, ratio, duration(median(r.Samples["dense"])), medianOf(r.ratios("dense")), alone, r.Distance)
	}
	say("")
}
