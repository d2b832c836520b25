package main

import (
	"math"
	"slices"
	"strings"
)

// target is something that pitopt is to reach.
type target struct {
	group   string
	what    string
	threads int // 0: on each number of them
	of      func(*result) bool
	value   func(*result) []float64 // samples of what counts; nil: the result has none
	mean    bool                    // the geometric mean of all results counts, else the worst of them
	bound   float64
	atMost  bool
}

func ratioTo(rival string) func(*result) []float64 {
	return func(r *result) []float64 { return r.ratios(rival) }
}

// inverse gives pitopt's time in a rival's.
func inverse(rival string) func(*result) []float64 {
	return func(r *result) []float64 {
		x := r.ratios(rival)
		for i := range x {
			x[i] = 1 / x[i]
		}
		return x
	}
}

// ofPeak is the share of the arithmetic that the machine could do, measured beside it.
func ofPeak(r *result) (out []float64) {
	for _, ns := range r.Samples["pitopt"] {
		out = append(out, r.Flops/ns*1e9/r.Values["peak"])
	}
	return out
}

// readShare is how fast products read what they read, in the bandwidth of memory, of a profile.
func readShare(r *result) []float64 {
	if r.Profile == nil {
		return nil
	}
	bytes, ns := 0., 0.
	for _, s := range r.Profile.Stages {
		if strings.HasPrefix(s.By, "tiles") {
			bytes, ns = bytes+s.Bytes, ns+s.NS
		}
	}
	return []float64{bytes / ns * 1e9 / r.Profile.Bandwidth}
}

func values(a, b string) func(*result) []float64 {
	return func(r *result) []float64 {
		if r.Values[a] == 0 || r.Values[b] == 0 {
			return nil
		}
		return []float64{r.Values[a] / r.Values[b]}
	}
}

func named(part string) func(*result) bool {
	return func(r *result) bool { return strings.HasPrefix(r.Name, part) || strings.HasSuffix(r.Name, part) }
}

func rowsAtLeast(n int) func(*result) bool {
	return func(r *result) bool { return rowsIn(r.Name) >= n }
}

func rowsAtMost(n int) func(*result) bool { return func(r *result) bool { return rowsIn(r.Name) <= n } }

// rowsIn is the number that a name of a product begins with.
func rowsIn(name string) (n int) {
	for _, c := range name {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

func all(*result) bool { return true }

var targets = []target{
	{"products", "products, all", 0, all, ratioTo("ort"), true, 1.03, false},
	{"products", "products, the worst", 0, all, ratioTo("ort"), false, .95, false},
	{"products", "products of up to 8 rows, the worst", 0, rowsAtMost(8), ratioTo("ort"), false, 1.05, false},
	{"products", "products of 64 rows and more: share of the machine's peak", 0, rowsAtLeast(64), ofPeak, true, .88, false},
	{"encoders", "encoders, all", 1, all, ratioTo("ort"), true, 1.15, false},
	{"encoders", "encoders, all", 2, all, ratioTo("ort"), true, 1.25, false},
	{"encoders", "encoders, a sentence of 16 words, the worst", 0, named(", 1 x 16"), ratioTo("ort"), false, 1.25, false},
	{"attention", "attention without a mask, the worst", 0, named("no mask"), ratioTo("ort"), false, 1, false},
	{"attention", "attention with a mask, the worst", 0, named("mask"), ratioTo("ort"), false, 1.4, false},
	{"memory", "memory of attention from seq 2048 to 4096: it grows by at most", 0, named("seq 4096"), values("pitopt memory", "pitopt half"), false, 2.2, true},
	{"masks", "attention with a mask that leaves a tenth, the worst", 1, func(r *result) bool { return strings.HasPrefix(r.Name, "a tenth") }, ratioTo("ort"), false, 3.5, false},
	{"masks", "attention with a mask: reached of what it leaves, the worst", 1, all, reachedOf("share"), false, .6, false},
	{"elementwise", "chains of elementwise operators, the worst", 0, all, ratioTo("ort"), false, 2, false},
	{"norms", "LayerNorm and Softmax, 4096 x 768, the worst", 0, named("4096 x 768"), ratioTo("ort"), false, 1, false},
	{"norms", "LayerNorm and Softmax, 64 x 768, the worst", 0, named("64 x 768"), ratioTo("ort"), false, 1.2, false},
	{"decode", "decoding, the worst part", 0, all, ratioTo("ort"), false, 1.1, false},
	{"decode", "decoding: products read at this share of the memory's bandwidth", 0, all, readShare, false, .9, false},
	{"roundrobin", "8 sizes in turn, in the time of each by itself", 0, all, inverse("single"), false, 1.05, true},
	{"first", "first result from the file, in ONNX Runtime's time", 0, all, inverse("ort"), false, .6, true},
	{"first", "peak memory, in ONNX Runtime's", 0, all, values("pitopt peak", "ort peak"), false, 1, true},
	{"binary", "stripped static executable, MB", 0, all, func(r *result) []float64 { return []float64{r.Values["bytes"] / 1e6} }, false, 30, true},
	{"zeromodels", "masked training, 90 % zeros, the worst", 1, named(", 90 % zeros"), ratioTo("ort"), false, 2, false},
	{"zeromodels", "masked training, 95 % zeros, the worst", 1, named(", 95 % zeros"), ratioTo("ort"), false, 3, false},
	{"training", "200 steps of masked training: losses, apart from those of all products", 1, all, func(r *result) []float64 { return []float64{r.Values["apart"]} }, false, 1e-3, true},
	{"zeromodels", "looking for zeros, in the time without, the worst", 1, all, inverse("dense"), false, 1.02, true},
	{"experts", "dense experts, top-1 of 8, of 128 tokens and more, the worst", 0, ofMixtures(denseMixtures[:1], 128), ratioTo("ort"), false, 5, false},
	{"experts", "dense experts, top-2 of 8, of 128 tokens and more, the worst", 0, ofMixtures(denseMixtures[1:2], 128), ratioTo("ort"), false, 2.8, false},
	{"experts", "gathered experts of 128 tokens and more, the worst", 0, ofMixtures(gatheredMixtures, 128), ratioTo("ort"), false, 1.3, false},
	{"experts", "experts of 128 tokens and more, in their bound, the worst", 0, ofMixtures(slices.Concat(denseMixtures, gatheredMixtures), 128), ofBound, false, 1.3, true},
	{"ragged", "batches padded to the cut, the worst", 0, ofLaw(false, "mean 219"), againstPadded("ort-cut"), false, 3.5, false},
	{"ragged", "batches padded to the cut, mean 219, the worst", 0, ofLaw(true, "mean 219"), againstPadded("ort-cut"), false, 2.2, false},
	{"ragged", "batches padded to their longest, the worst", 0, all, againstPadded("ort"), false, 2.2, false},
	{"ragged", "sentences one by one, the worst", 0, ofLaw(false, "mean 219"), againstPadded("ort-one"), false, 1.3, false},
	{"ragged", "sentences one by one, mean 219, the worst", 0, ofLaw(true, "mean 219"), againstPadded("ort-one"), false, 1.1, false},
	{"ragged", "batches sorted by length, the worst", 0, all, againstPadded("ort-sorted"), false, 1.1, false},
	{"avx2", "products on the AVX2 tier (ONNX Runtime has AVX-512), all", 0, all, ratioTo("ort"), true, .8, false},
	{"portable", "minilm_l6 on the portable tier against onnx-gomlx, the worst", 0, all, ratioTo("gomlx"), false, 1, false},
}

// reached gives what a target's value is on some threads; ok is false where nothing of it was measured.
func (t *target) reached(results []*result, threads int) (m interval, ok bool) {
	var lists [][]float64
	for _, r := range results {
		if r.Group == t.group && r.Threads == threads && t.of(r) && (t.threads == 0 || t.threads == threads) {
			if x := t.value(r); len(x) > 0 {
				lists = append(lists, x)
			}
		}
	}
	if len(lists) == 0 {
		return m, false
	}
	if t.mean {
		return geomeanOf(lists), true
	}
	for i, x := range lists {
		v := medianOf(x)
		if worse := v.Median < m.Median != t.atMost; i == 0 || worse {
			m = v
		}
	}
	return m, !math.IsNaN(m.Median)
}

// met says whether a value is what is wanted.
func (t *target) met(m interval) bool {
	if t.atMost {
		return m.Median <= t.bound
	}
	return m.Median >= t.bound
}
