package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/pitopt/pitopt"
)

const (
	trainingSteps = 200 // masked weights are trained so long
	trainingScale = 4.  // is what rows are about: the loss falls by a part of it at the rate that is in the model
)

// trainMasked trains with masks that change from step to step, once with the default pipeline and once without the pass pit, so that
// all of each product is computed: from the same weights, with the same masks and rows.
func trainMasked(b *bench, g *group, threads int) error {
	if b.quick {
		b.leave("train-masked-mlp-dyn (-quick: there is no small one)")
		return nil
	}
	file, ok := b.real("PITOPT_ZOO", "train-masked-mlp-dyn")
	if !ok {
		return nil
	}
	plain, err := b.without(file, "pit")
	if err != nil {
		return err
	}
	for _, p := range []zeroPattern{{rows: 32, cols: 64}, {rows: 32, cols: 1}} {
		const left = .1
		name := fmt.Sprintf("weights %dx%d, %g %% zeros", p.rows, p.cols, 100-100*left)
		if b.match != nil && !b.match.MatchString(name) {
			continue
		}
		losses, err := train(file, p, left, threads)
		if err != nil {
			return err
		}
		dense, err := train(plain, p, left, threads)
		if err != nil {
			return err
		}
		r := &result{Group: g.name, Name: name, Threads: threads, Samples: map[string][]float64{}, Values: map[string]float64{
			"first": losses[0], "last": losses[trainingSteps-1], "dense last": dense[trainingSteps-1]}}
		for i, x := range losses {
			// A loss that is no number is as far as can be.
			away := math.Abs(x-dense[i]) / math.Abs(dense[i])
			if away != away {
				away = math.Inf(1)
			}
			r.Values["apart"] = max(r.Values["apart"], away)
		}
		b.say("%s: loss %.6g to %.6g, dense to %.6g, apart by %.1e at most", name, r.Values["first"], r.Values["last"], r.Values["dense last"], r.Values["apart"])
		b.add(r)
	}
	return nil
}

// train gives the loss of each step.
func train(file string, p zeroPattern, left float64, threads int) (losses []float64, err error) {
	m, err := pitopt.Load(file, pitopt.Threads(threads))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	r := rand.New(rand.NewPCG(11, 12))
	in, err := drawStep(file, p, left, r)
	if err != nil {
		return nil, err
	}
	in["x"], in["y"] = normal(r, trainingScale, in["x"].Shape()...), normal(r, 1, in["y"].Shape()...)
	for step := range trainingSteps {
		if step > 0 {
			for _, name := range []string{"mask1", "mask2"} {
				in[name] = drawMask(p, left, r, in[name].Shape())
			}
		}
		out, err := m.Run(context.Background(), in)
		if err != nil {
			return nil, err
		}
		losses = append(losses, out["loss"].Float(0))
		for _, name := range []string{"w1", "b1", "w2", "b2"} {
			in[name] = out["new."+name]
		}
	}
	return losses, nil
}

// showTraining shows losses.
func showTraining(say sayer, list []*result) {
	say("The training step of an MLP 1024-4096-1024 whose weights are multiplied by masks that are drawn for each of %d steps, of 256 rows: with the pass pit, and without it, so that", trainingSteps)
	say("all of each product is computed. Both begin with the same weights and have the same masks. How far losses are apart is the largest part of a loss, over all steps.\n")
	say("| masks | first loss | last loss | last loss, dense | apart |\n|---|---|---|---|---|")
	for _, r := range list {
		say("| %s | %.6g | %.6g | %.6g | %.1e |", r.Name, r.Values["first"], r.Values["last"], r.Values["dense last"], r.Values["apart"])
	}
	say("")
}
