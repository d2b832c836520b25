package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
)

// pattern is which keys a mask leaves a query.
type pattern struct {
	name string
	draw func(r *rand.Rand, n int64) func(q, k int64) bool
}

const block = 64

var patterns = []pattern{
	{"local 256", func(r *rand.Rand, n int64) func(q, k int64) bool {
		at := r.Int64N(64) // no two draws are alike
		return func(q, k int64) bool { return k >= q-96-at && k < q+160-at || k == q }
	}},
	{"global and local 256", func(r *rand.Rand, n int64) func(q, k int64) bool {
		at := r.Int64N(n - 16)
		all := func(i int64) bool { return i >= at && i < at+16 }
		return func(q, k int64) bool { return k >= q-128 && k < q+128 || all(q) || all(k) }
	}},
	{"blocks of 256", func(r *rand.Rand, n int64) func(q, k int64) bool {
		to := r.Perm(int(n / 256))
		return func(q, k int64) bool { return to[q/256%int64(len(to))] == int(k/256) }
	}},
	{"a tenth of 64x64", func(r *rand.Rand, n int64) func(q, k int64) bool {
		blocks := n / block
		chosen := make([]bool, blocks*blocks)
		for i := range blocks {
			chosen[i*blocks+i] = true // no row is without a key
		}
		for left := blocks*blocks/10 - blocks; left > 0; {
			if i := r.Int64N(blocks * blocks); !chosen[i] {
				chosen[i], left = true, left-1
			}
		}
		return func(q, k int64) bool { return chosen[q/block*blocks+k/block] }
	}},
	{"dilated by 8", func(r *rand.Rand, _ int64) func(q, k int64) bool {
		to := r.Perm(8)
		return func(q, k int64) bool { return to[q%8] == int(k%8) }
	}},
	{"dilated by 8, local", func(r *rand.Rand, _ int64) func(q, k int64) bool {
		at := r.Int64N(64)
		return func(q, k int64) bool { return (q-k)%8 == 0 && k >= q-480-at && k <= q+544-at }
	}},
}

// masks is com.microsoft.MultiHeadAttention with masks that come with each call.
func masks(b *bench, _ *group) ([]workload, error) {
	lengths := []int64{2048, 4096}
	if b.quick {
		lengths = []int64{256}
	}
	model := func(masked bool) (string, error) {
		x := newBuilder()
		in := []string{x.input("q", tensor.F32, "batch", "seq", features), x.input("k", tensor.F32, "batch", "seq", features), x.input("v", tensor.F32, "batch", "seq", features)}
		name := "unmasked"
		if masked {
			name = "masked"
			in = append(in, "", "", x.input("mask", tensor.F32, 1, 1, "seq", "seq"))
		}
		x.node("MultiHeadAttention", "out", in, integer("num_heads", heads))
		x.output("out", "batch", "seq", features)
		return b.save(name, x)
	}
	file, err := model(true)
	if err != nil {
		return nil, err
	}
	plain, err := model(false)
	if err != nil {
		return nil, err
	}
	var out []workload
	for _, n := range lengths {
		fresh := 3
		if n > 2048 { // two of them are more than caches hold, and a rival takes seconds for each
			fresh = 2
		}
		unmasked := &base{name: "unmasked", model: plain, draw: func() (tensors, error) { return attended(n, false), nil }}
		for i, p := range patterns {
			r, left, drawn := rand.New(rand.NewPCG(uint64(n), uint64(i))), 0.0, 0.0
			draw := func() (tensors, error) {
				m, show := tensor.New(tensor.F32, 1, 1, n, n), p.draw(r, n)
				data, low := tensor.Data[float32](m), float32(math.Inf(-1))
				for q := range n {
					for k := range n {
						if show(q, k) {
							left++
						} else {
							data[q*n+k] = low
						}
					}
				}
				drawn += float64(n * n)
				in := attended(n, false)
				in["mask"] = m
				return in, nil
			}
			out = append(out, workload{name: fmt.Sprintf("%s, seq %d", p.name, n), model: file, fresh: fresh, base: unmasked, draw: draw,
				values: func() map[string]float64 {
					covered := coveredShare(file, fresh, draw)
					return map[string]float64{"share": left / drawn, "covered": covered}
				}})
		}
	}
	return out, nil
}

// coveredShare is the share of scores that lie in tiles which pitopt computes, of some calls; 0 where it does not say.
func coveredShare(file string, calls int, draw func() (tensors, error)) float64 {
	m, err := pitopt.Load(file, pitopt.Threads(1))
	if err != nil {
		return 0
	}
	defer m.Close()
	sum := 0.
	for range calls {
		in, err := draw()
		if err != nil {
			return 0
		}
		t := runtime.NewTimeline()
		if _, err := m.Run(runtime.Record(context.Background(), t), in); err != nil {
			return 0
		}
		spans, _ := t.Spans()
		share := 1. // of a run that says nothing of what a mask hides
		for _, s := range spans {
			if s.Work != nil && s.Work.Zeros != nil && s.Work.Zeros.Computed > 0 {
				share = s.Work.Zeros.Computed
			}
		}
		sum += share
	}
	return sum / float64(calls)
}

// reachedOf is what is reached of the number of times that there is less to do than without a mask: share names the value that says
// how much there is.
func reachedOf(share string) func(r *result) []float64 {
	return func(r *result) []float64 {
		x := r.ratios("unmasked")
		for i := range x {
			x[i] *= r.Values[share]
		}
		return x
	}
}

// showMasks shows times beside those without a mask.
func showMasks(say sayer, list []*result) {
	say("com.microsoft.MultiHeadAttention of 12 heads with 64 features, with a mask that is added to scores, of 0 and minus infinity, an operand. Three masks of")
	say("a kind are drawn (of seq 4096 two), and no run has that of the run before. Scores that are computed are those that are not masked, and what lies with them in a tile of")
	say("registers. What is reached is the ratio to pitopt without a mask, in what it would be if time went with the share of scores that are not masked, and with that of those which are")
	say("computed: between the two lies what is lost to tiles, and from the second to 1 what looking at the mask takes, and what takes as long whatever is masked.\n")
	say("| mask | not masked | computed | pitopt | ONNX Runtime | ratio | pitopt without a mask | reached | of what is computed |\n|---|---|---|---|---|---|---|---|---|")
	for _, r := range list {
		if f := r.Failed["pitopt"]; f != "" {
			say("| %s | %s | | | | | | | |", r.Name, strings.ReplaceAll(f, "\n", " "))
			continue
		}
		rival, ratio := r.against("ort")
		covered, ofCovered := "", "" // of what was measured before they were said
		if x := r.Values["covered"]; x > 0 {
			covered, ofCovered = fmt.Sprintf("%.1f %%", 100*x), medianOf(reachedOf("covered")(r)).String()
		}
		say("| %s | %.1f %% | %s | %s | %s | %s | %s | %s | %s |", r.Name, 100*r.Values["share"], covered, duration(median(r.Samples["pitopt"])), rival, ratio,
			duration(median(r.Samples["unmasked"])), medianOf(reachedOf("share")(r)), ofCovered)
	}
	say("")
}
